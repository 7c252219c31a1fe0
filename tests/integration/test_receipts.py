"""Receipts of a real small workspace: one for each answer and action, and answers that can be given again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from rag.bootstrap import Workspace, open_workspace
from rag.domain import Answer, Principal, SearchFilter
from rag.errors import Full, NotFound, QuestionError, StorageUnavailable
from rag.governance.audit_lines import audit_keys
from rag.governance.audit_verifying import verify
from rag.governance.replaying import replay
from rag.operations import turns
from rag.query.events import AskRequest, SentenceReleased, Turn
from rag.settings import load_settings

QUESTION = "How long does an institution have to determine whether an error occurred?"
PERSON = Principal("maria.rossi@bank.example", clearances=frozenset({"user:maria.rossi"}))
WORDS = ("liability", "notice", "error", "fee", "overdraft", "branch", "hours", "loss", "investigation", "account")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    root = tmp_path_factory.mktemp("receipts")
    source = root / "source"
    source.mkdir()
    (source / "transfers.md").write_text(
        "# Electronic transfers\n\n## § 11 Errors\n\nA financial institution shall determine whether an error occurred "
        "within 10 business days of receiving a notice of error.\n\n## § 6 Liability\n\nA consumer who gives notice "
        "within two business days after learning of the loss is liable for at most $50.\n",
        encoding="utf-8",
    )
    (source / "hours.txt").write_text("Branches open at 9:00 and close at 16:30 on business days.\n", encoding="utf-8")
    overrides: dict[str, Any] = {
        "data_dir": str(root / "data"),
        "sources": [{"name": "rules", "collection": "rules", "root": str(source)}],
    }
    opened = open_workspace(load_settings("test", environment={}, overrides=overrides))
    try:
        assert not opened.ingest().failed
        yield opened
    finally:
        opened.close()


def ask(workspace: Workspace, question: str, principal: Principal = PERSON, **more: Any) -> Answer:
    return asyncio.run(workspace.answers.ask(AskRequest(question, **more), principal))


def bodies(workspace: Workspace, receipt_id: str) -> dict[str, dict[str, Any]]:
    return {each.kind: each.body for each in workspace.receipts.find(receipt_id)}


def trail(workspace: Workspace) -> bytes:
    return b"".join(each.read_bytes() for each in workspace.settings.audit_dir.rglob("*.jsonl"))


@pytest.mark.proves("AISVS 12.1.1", "AISVS 12.1.4", "PCI DSS 10.2.1", "GDPR 5(2)", "ISO A.8.15")
def test_an_answer_names_its_receipt_which_says_what_it_rests_on(workspace: Workspace) -> None:
    answer = ask(workspace, QUESTION)
    body = bodies(workspace, answer.receipt_id)["answer"]
    assert answer.status == body["status"] == "answered"
    assert body["answer_id"] == answer.id
    assert {each[0] for each in body["citations"]} == {each.document_id for each in answer.citations}
    assert body["passages"]
    assert all(len(chunk) > 16 and len(sha256) == 64 for chunk, sha256 in body["passages"])


def test_an_answer_from_the_cache_has_a_receipt_of_its_own_with_the_same_passages(workspace: Workspace) -> None:
    first, second = ask(workspace, QUESTION, fresh=True), ask(workspace, QUESTION)
    assert second.cached
    assert first.receipt_id != second.receipt_id
    one, two = (bodies(workspace, each.receipt_id)["answer"] for each in (first, second))
    assert two["cached"]
    assert one["passages"] == two["passages"]


@pytest.mark.proves("AISVS 12.1.2")
@pytest.mark.parametrize("question", ["Hello!", "What is the melting point of tungsten?"])
def test_a_refusal_has_a_receipt(workspace: Workspace, question: str) -> None:
    answer = ask(workspace, question)
    assert bodies(workspace, answer.receipt_id)["answer"]["status"] == answer.status == "refused"


@pytest.mark.proves("ASVS 14.2.4", "ASVS 16.2.5", "GDPR 5(1)(c)", "ISO A.5.34", "ISO A.8.11")
def test_the_trail_holds_neither_name_nor_question_nor_label_in_the_clear(workspace: Workspace) -> None:
    ask(workspace, "What is the liability of Zebedee Quux?", history=(Turn("user", "about Xanthippe"),))
    written = trail(workspace)
    for word in (b"maria", b"rossi", b"Zebedee", b"Xanthippe", b"liability of"):
        assert word not in written


@pytest.mark.proves("PCI DSS 10.2.2")
def test_a_question_that_fails_is_recorded_as_failed(workspace: Workspace) -> None:
    before = trail(workspace)
    with pytest.raises(QuestionError):
        ask(workspace, " ")
    with pytest.raises(QuestionError):
        ask(workspace, QUESTION, narrow=SearchFilter(collections=("nowhere",)))
    workspace.receipts.record("export", None)  # so that what nobody waits for is written too
    lines = trail(workspace).removeprefix(before).splitlines()
    ends = [json.loads(line)["record"]["body"] for line in lines]
    assert [each.get("status") for each in ends].count("failed") == 2


def test_who_is_turned_away_at_the_door_has_no_receipt_and_what_is_known_passes_it(workspace: Workspace) -> None:
    came = []

    async def door() -> None:
        came.append(1)
        raise Full("all places are taken")

    ask(workspace, QUESTION)
    before = trail(workspace)
    with turns.kept_by(door):
        assert ask(workspace, QUESTION).cached
        assert ask(workspace, "Somebody stole my card, what do I do?").status == "escalated"
        known = trail(workspace)
        assert came == []
        with pytest.raises(Full):
            ask(workspace, QUESTION, fresh=True)
    assert len(known.removeprefix(before).splitlines()) == 4
    assert (trail(workspace), came) == (known, [1])


def test_an_answer_that_nobody_waits_for_any_more_is_recorded_as_broken_off(workspace: Workspace) -> None:
    async def leave() -> None:
        async with aclosing(workspace.answers.stream(AskRequest(QUESTION, fresh=True), PERSON)) as events:
            async for event in events:
                if isinstance(event, SentenceReleased):
                    return

    before = trail(workspace)
    asyncio.run(leave())
    workspace.receipts.record("export", None)
    kinds = [json.loads(each)["record"] for each in trail(workspace).removeprefix(before).splitlines()]
    assert [each["kind"] for each in kinds] == ["question", "answer", "export"]
    assert kinds[1]["body"] == {"status": "broken_off"}


@pytest.mark.proves("AISVS 12.5.4", "PCI DSS 10.2.1")
def test_uploads_deletions_and_restorations_have_receipts(workspace: Workspace) -> None:
    before = trail(workspace)
    stored = workspace.add_upload("note.txt", b"Saturday is no business day.\n", principal=workspace.principal())
    workspace.ingest(["uploads"])
    workspace.delete_document(stored.id, workspace.principal())
    lines = [json.loads(each)["record"] for each in trail(workspace).removeprefix(before).splitlines()]
    assert [each["kind"] for each in lines] == ["upload", "upload", "deletion", "deletion"]
    assert lines[1]["body"] == {"outcome": "done", "document_id": stored.id}
    assert lines[2]["body"]["document_id"] == stored.id


@pytest.mark.proves("ASVS 16.5.3", "PCI DSS 10.7.2")
def test_an_answer_that_cannot_be_recorded_is_not_given(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workspace.receipts.writer._files, "append", full)
    with pytest.raises(StorageUnavailable, match="cannot be recorded"):
        ask(workspace, QUESTION)
    with pytest.raises(StorageUnavailable, match="cannot be recorded"):
        workspace.add_upload("other.txt", b"This must not be stored.\n", principal=workspace.principal())
    assert not list((workspace.settings.data_dir / "uploads").rglob("other.txt*"))


@pytest.mark.proves("GDPR 5(2)", "ISO A.5.28")
def test_two_hundred_answers_can_be_given_again(workspace: Workspace) -> None:
    asked = [f"{QUESTION[:-1]}, in matter {number}?" for number in range(100)]
    asked += [f"What do the documents say about {one} and {two}?" for one in WORDS for two in WORDS]
    answers = [ask(workspace, each) for each in asked]
    assert len(answers) == 200
    assert len({each.status for each in answers}) > 1
    differing = [found for each in answers if not (found := replay(workspace, each.receipt_id)).same]
    assert differing == []


def test_a_replay_says_which_document_changed(workspace: Workspace) -> None:
    answer = ask(workspace, "When do branches open on business days?")
    assert answer.status == "answered"
    source = Path(workspace.settings.sources[0].root) / "hours.txt"
    before = source.read_text(encoding="utf-8")
    source.write_text("Branches open at 8:00 and close at 18:00 on business days.\n", encoding="utf-8")
    workspace.ingest(["rules"])
    told = " ".join(replay(workspace, answer.receipt_id).differences)
    assert f"document {answer.citations[0].document_id} has another version since" in told
    assert "the answer is another" in told
    source.write_text(before, encoding="utf-8")
    workspace.ingest(["rules"])


@pytest.mark.proves("GDPR 17", "SOC 2 C1.2")
def test_an_erased_person_is_nobody_in_the_trail_and_the_trail_still_holds(workspace: Workspace) -> None:
    answer = ask(workspace, QUESTION, Principal("erased"))
    assert workspace.receipts.subjects.erase("default", "erased")
    with pytest.raises(NotFound, match="was erased"):
        replay(workspace, answer.receipt_id)
    assert bodies(workspace, answer.receipt_id)["answer"]["status"] == "answered"
    assert workspace.receipts.subjects.pseudonym_of("default", "erased") is None


def test_the_whole_trail_is_as_it_was_written(workspace: Workspace) -> None:
    settings = workspace.settings
    found = verify(settings.audit_dir, settings.anchor_dir, audit_keys("", settings.data_dir))
    assert found.records
    assert found.faults == []


def test_the_database_may_be_postgresql(postgres_url: str, make_settings: Callable[..., Any]) -> None:
    from rag.governance.receipts import open_receipts  # noqa: PLC0415
    from rag.storage.database import open_database  # noqa: PLC0415

    settings = make_settings()
    database = open_database(postgres_url)
    receipts = open_receipts(settings, database)
    try:
        one = receipts.subjects.of(PERSON)
        assert open_receipts(settings, database).subjects.of(PERSON) == one
        assert receipts.subjects.by_pseudonym(one.pseudonym) == one
    finally:
        receipts.close()
        database.dispose()
