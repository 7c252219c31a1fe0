"""Policies for personal data at work: what the search, the trail, the asker and an export see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rag.bootstrap import Workspace, open_workspace
from rag.domain import Answer, Principal
from rag.errors import PersonalDataRefused
from rag.governance.exporting import records_of_person
from rag.query.events import AskRequest, CitationReleased, Completed, Event, SentenceReleased, Turn
from rag.settings import load_settings

CARD = "4111 1111 1111 1111"
PERSON = Principal("ada")
BOXES = "Applications for a safe deposit box are taken by telephone at (877) 322-8228 on business days."


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    root = tmp_path_factory.mktemp("guard")
    (root / "source").mkdir()
    (root / "source" / "boxes.txt").write_text(f"{BOXES}\n", encoding="utf-8")
    overrides: dict[str, Any] = {
        "data_dir": str(root / "data"),
        "sources": [{"name": "rules", "collection": "rules", "root": str(root / "source")}],
    }
    opened = open_workspace(load_settings("test", environment={}, overrides=overrides))
    try:
        assert not opened.ingest().failed
        yield opened
    finally:
        opened.close()


@pytest.fixture
def under(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`under(questions={...}, answers={...})`: with these policies from now on."""

    def use(**policies: Any) -> None:
        changed = workspace.settings.privacy.model_copy(update=policies)
        monkeypatch.setattr(workspace.answers, "_settings", changed)

    return use


def ask(workspace: Workspace, question: str, history: tuple[Turn, ...] = ()) -> Answer:
    return asyncio.run(workspace.answers.ask(AskRequest(question, history), PERSON))


def recorded(workspace: Workspace) -> str:
    return json.dumps(list(records_of_person(workspace.receipts, PERSON)))


def test_a_card_in_a_question_reaches_neither_search_nor_receipt_and_the_asker_is_told(workspace: Workspace) -> None:
    answer = ask(
        workspace,
        f"Where are applications for a safe deposit box taken? My number is {CARD}.",
        (Turn("user", f"I have {CARD}"),),
    )
    assert answer.status == "answered"
    assert "card number was taken out" in answer.notice
    assert "[card]" in answer.searched_question
    assert "4111 1111" not in recorded(workspace)
    assert "My number is [card]" in recorded(workspace)


def test_by_default_a_quote_with_a_number_in_it_stays_verbatim(workspace: Workspace) -> None:
    answer = ask(workspace, "At which telephone number are applications for a safe deposit box taken?")
    assert "(877) 322-8228" in answer.text
    (citation,) = answer.citations
    page = workspace.registry.page(citation.document_id, citation.page)
    assert page.text[citation.start : citation.end] == citation.quote
    assert answer.notice == ""


def test_a_blocked_kind_is_refused_before_anything_is_recorded(workspace: Workspace, under: Any) -> None:
    under(questions={"card": "block"})
    before = recorded(workspace)
    with pytest.raises(PersonalDataRefused):
        ask(workspace, f"Is {CARD} stolen?")
    assert recorded(workspace) == before


def test_a_pseudonym_is_recorded_and_the_asker_sees_no_pseudonym(workspace: Workspace, under: Any) -> None:
    under(questions={"card": "pseudonymise"})
    answer = ask(workspace, f"Where in Zanzibar are applications for a safe deposit box taken for {CARD}?")
    assert "under a pseudonym" in answer.notice
    assert "4111 1111" not in recorded(workspace)
    assert "[card " in recorded(workspace)
    assert "[card " not in answer.text


def test_masked_answers_say_so_and_stream_the_same_text(workspace: Workspace, under: Any) -> None:
    under(answers={"phone": "mask"})

    async def told() -> list[Event]:
        asked = AskRequest("At which telephone number are applications for a safe deposit box taken?")
        return [each async for each in workspace.answers.stream(asked, PERSON)]

    events = asyncio.run(told())
    (answer,) = [each.answer for each in events if isinstance(each, Completed)]
    assert "[phone]" in answer.text
    assert "not verbatim" in answer.notice
    assert "".join(each.text for each in events if isinstance(each, SentenceReleased)) == answer.text
    quotes = [each.citation.quote for each in events if isinstance(each, CitationReleased)]
    assert quotes
    assert not any("322-8228" in each for each in (*quotes, answer.text, *(c.text for c in answer.checks)))


def test_an_export_follows_its_own_policies(workspace: Workspace, tmp_path: Path) -> None:
    import zipfile  # noqa: PLC0415
    from dataclasses import replace  # noqa: PLC0415

    from rag.governance.exporting import write_export  # noqa: PLC0415

    ask(workspace, "Is jane.doe@bank.example the right address for lost cards?")
    kept = workspace.personal

    def exported(**policies: Any) -> str:
        privacy = workspace.settings.privacy.model_copy(update={"exports": policies})
        target = tmp_path / "export.zip"
        write_export(target, PERSON, replace(kept, privacy=privacy), lambda _: (tmp_path, ""))
        with zipfile.ZipFile(target) as archive:
            return archive.read("export.json").decode()

    assert "jane.doe@bank.example" in exported()
    assert "jane.doe@bank.example" not in exported(email="mask")
