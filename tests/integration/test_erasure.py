"""Erasing a person: afterwards no byte of theirs is in any file, and everything else is as it was."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tantivy
from click.testing import CliRunner, Result
from sqlalchemy import Engine, insert

from rag.bootstrap import Workspace, open_workspace
from rag.cli import banksight
from rag.domain import Principal
from rag.governance.audit_lines import audit_keys
from rag.governance.audit_verifying import verify
from rag.governance.erasure_certificate import is_genuine
from rag.governance.erasure_proof import fragments, search
from rag.governance.erasure_records import take_up
from rag.ingestion import removing
from rag.ingestion.job_queue import JobQueue
from rag.ingestion.jobs import JobRunner
from rag.query.events import AskRequest
from rag.settings import load_settings
from rag.storage.schema import consents, uploads
from rag.storage.vacuuming import vacuum
from ui.history.database import open_database as open_history
from ui.history.schema import accounts
from ui.history.schema import steps as chat_steps
from ui.history.store import ConversationStore

MARIA = Principal("maria.rossi@bank.example", clearances=frozenset({"team"}))
BOB = Principal("robert.bauer@bank.example", clearances=frozenset({"team"}))
SAID = "The quixotropic marmalade of Zanzibar is served on alternate Thursdays in branch seven."
KEPT = "The lighthouse tariff of Helgoland is nineteen euros for every started month of storage."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("erasure")
    (root / "source").mkdir()
    (root / "source" / "hours.txt").write_text("Branches open at 9:00 and close at 16:30 on business days.\n")
    return root


@pytest.fixture(scope="module")
def workspace(folder: Path) -> Iterator[Workspace]:
    overrides: dict[str, Any] = {
        "data_dir": str(folder / "data"),
        "sources": [{"name": "rules", "collection": "rules", "root": str(folder / "source")}],
    }
    opened = open_workspace(load_settings("test", environment={}, overrides=overrides))
    try:
        assert not opened.ingest().failed
        yield opened
    finally:
        opened.close()


def of_person(workspace: Workspace, principal: Principal, text: str, file: str) -> list[bytes]:
    """Let a person do all that leaves something behind. Returns the bytes to look for."""
    stored = workspace.add_upload(file, f"{text}\n".encode(), principal=principal, access=["team"])
    assert not workspace.ingest(["uploads"]).failed
    asyncio.run(workspace.answers.ask(AskRequest(f"What about {text[:30]}?"), principal))
    row = {"tenant": "default", "subject": principal.subject, "purpose": "service", "version": "1", "given_at": 1}
    with workspace.personal.database.begin() as connection:
        connection.execute(insert(consents).values(row))
    engine = open_history(f"sqlite:///{conversations(workspace)}")
    try:
        talk(engine, f"default/{principal.subject}", text)
    finally:
        engine.dispose()
    pairs = workspace.registry.chunk_pairs_of(stored.id)
    vectors = workspace.stores.vectors.vectors(pairs)
    assert vectors
    key = workspace.receipts.subjects.stored("default", principal.subject)
    assert key
    words = [text[10:50], file, principal.subject, key]
    return [*(each.encode() for each in words), *(piece for each in vectors.values() for piece in fragments(each))]


def conversations(workspace: Workspace) -> Path:
    path = workspace.settings.data_dir / "ui" / "conversations.db"
    path.parent.mkdir(exist_ok=True)
    return path


def talk(engine: Engine, identifier: str, text: str) -> None:
    store = ConversationStore(engine)
    store.ensure_user(identifier)
    row = {"name": identifier.split("/")[1], "passwordHash": "x", "sealed": "x", "createdAt": "x"}
    with engine.begin() as connection:
        connection.execute(insert(accounts).values(failures=0, lockedUntil=0, **row))
    store.save_thread(identifier, f"thread-of-{identifier[-20:]}", {"name": text})
    step = {"id": f"step-of-{identifier[-20:]}", "threadId": f"thread-of-{identifier[-20:]}", "output": text}
    store.save(identifier, chat_steps, {**step, "name": "x", "type": "user_message"})


def places(workspace: Workspace, markers: list[bytes]) -> set[str]:
    """The files, by their place in the data folder, in which a marker stands."""
    root = workspace.settings.data_dir
    found = search([root], markers, [root / "models"]).found
    return {str(Path(each).relative_to(root.resolve())).split("/")[0] for each in found}


def has_word(workspace: Workspace, word: str) -> bool:
    """Whether the files of the lexical index know a word, of documents that were deleted too."""
    index = tantivy.Index.open(str(workspace.settings.data_dir / "lexical"))
    return bool(index.searcher().doc_freq("words", word))


@pytest.fixture(scope="module")
def erased(workspace: Workspace) -> dict[str, Any]:
    """What was found where: before, after an ordinary deletion, and after the erasure; and its certificate."""
    theirs = of_person(workspace, MARIA, SAID, "marmalade-of-maria.txt")
    others = of_person(workspace, BOB, KEPT, "lighthouse-of-bob.txt")
    found: dict[str, Any] = {"others": others, "before": places(workspace, theirs)}
    found["word before"] = has_word(workspace, "quixotrop")
    erasures = workspace.personal.erasures
    found["id"] = erasures.ask("default", MARIA.subject, "operator")
    workspace.erase_asked_for(found["id"])
    found["after"] = places(workspace, theirs)
    found["word after"] = has_word(workspace, "quixotrop")
    found["certificate"] = erasures.certificate(found["id"])
    return found


def test_before_bytes_of_the_person_are_in_every_store(erased: dict[str, Any]) -> None:
    assert erased["before"] >= {"chroma", "originals", "uploads", "ui"}
    assert any(each.startswith("registry") for each in erased["before"])
    assert erased["word before"]


def test_afterwards_they_are_in_no_file(erased: dict[str, Any]) -> None:
    assert erased["after"] == set()
    assert not erased["word after"]


def test_the_certificate_says_what_was_erased_where_and_is_signed(erased: dict[str, Any], workspace: Workspace) -> None:
    told = erased["certificate"]
    assert told["outcome"] == "erased"
    assert told["erased"]["uploads"]["documents"] == 1
    assert told["erased"]["conversations"] == {"conversations": 1}
    assert told["erased"]["records"]["consents"] == 1
    assert told["erased"]["trail"] == {"key": 1}
    assert told["proof"]["markers"] >= 5
    assert told["proof"]["found"] == {}
    assert MARIA.subject not in json.dumps(told)
    public = workspace.receipts.subjects.keys.public
    assert is_genuine(told, public)
    assert not is_genuine({**told, "outcome": "incomplete"}, public)


def test_what_others_have_is_still_there(erased: dict[str, Any], workspace: Workspace) -> None:
    assert {"chroma", "originals", "uploads", "ui"} <= places(workspace, erased["others"])
    assert workspace.check().agrees
    answer = asyncio.run(workspace.answers.ask(AskRequest("What is the lighthouse tariff of Helgoland?"), BOB))
    assert "nineteen euros" in answer.text
    assert [each.name for each in workspace.personal.uploaders.of("default", BOB.subject)] == ["lighthouse-of-bob.txt"]


def test_the_trail_is_as_it_was_written_and_tells_of_the_erasure(erased: dict[str, Any], workspace: Workspace) -> None:
    settings = workspace.settings
    found = verify(settings.audit_dir, settings.anchor_dir, audit_keys("", settings.data_dir))
    assert found.faults == []
    lines = [json.loads(x)["record"] for y in settings.audit_dir.rglob("*.jsonl") for x in y.read_bytes().splitlines()]
    ends = [each["body"] for each in lines if each["kind"] == "erasure" and each["body"].get("outcome") == "done"]
    assert len(ends) == 1


def test_an_erasure_that_is_done_is_not_done_again(erased: dict[str, Any], workspace: Workspace) -> None:
    workspace.erase_asked_for(erased["id"])
    assert workspace.personal.erasures.certificate(erased["id"]) == erased["certificate"]
    assert workspace.personal.erasures.pending() == []


def test_ordinary_deletion_leaves_text_and_vectors_in_files(workspace: Workspace, erased: dict[str, Any]) -> None:
    eve = Principal("evelyn.marsh@bank.example", clearances=frozenset({"team"}))
    text = "Seventeen green umbrellas of Ljubljana were insured against hail for half a year."
    theirs = of_person(workspace, eve, text, "umbrellas-of-eve.txt")
    mine = [each.document_id for each in workspace.personal.uploaders.of("default", eve.subject)]
    removing.remove_documents([workspace.registry.document(each) for each in mine], workspace.stores)
    vacuum(workspace.personal.database)
    assert "chroma" in places(workspace, theirs[4:])
    erasure_id = workspace.personal.erasures.ask("default", eve.subject, "person")
    workspace.erase_asked_for(erasure_id)
    assert places(workspace, theirs) == set()


def test_a_search_finds_what_lies_across_two_blocks_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.governance.erasure_proof._AT_ONCE", 10)
    (tmp_path / "file").write_bytes(b"x" * 7 + b"marker" + b"y" * 20)
    (tmp_path / "other").write_bytes(b"mark er")
    assert search([tmp_path], [b"marker", b"absent"]).found == {str((tmp_path / "file").resolve()): 1}


def test_an_upload_belongs_to_whoever_uploaded_it_last(workspace: Workspace) -> None:
    one, two = Principal("first-uploader"), Principal("second-uploader")
    stored = workspace.add_upload("shared.txt", b"Saturday is no business day.\n", principal=one)
    assert [each.document_id for each in workspace.personal.uploaders.of("default", one.subject)] == [stored.id]
    workspace.add_upload("shared.txt", b"Sunday is no business day.\n", principal=two)
    assert workspace.personal.uploaders.of("default", one.subject) == []
    workspace.ingest(["uploads"])
    workspace.erase_asked_for(workspace.personal.erasures.ask("default", one.subject, "operator"))
    assert workspace.registry.document(stored.id).state == "indexed"


def test_an_erasure_killed_at_any_step_is_finished_by_the_next_start(tmp_path: Path) -> None:
    driver = Path(__file__).with_name("erasure_driver.py")
    done = subprocess.run(
        [sys.executable, str(driver), str(tmp_path)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["killed"] >= 12
    assert told["before"] > 0
    assert told["certificate"]["outcome"] == "erased"
    assert told["after"] == {}
    assert told["agrees"]
    assert told["others"] == "indexed"


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("BANKSIGHT_PROFILE", "test")
    monkeypatch.setenv("BANKSIGHT_DATA_DIR", str(tmp_path / "data"))
    return lambda *arguments: CliRunner().invoke(banksight, arguments)


def test_the_command_erases_and_prints_a_certificate(invoke: Callable[..., Result]) -> None:
    asked = invoke("users", "erase", "nobody.in.particular", "--yes", "--json")
    assert asked.exit_code == 0, asked.output
    told = json.loads(asked.stdout)
    assert told["outcome"] == "erased"
    assert json.loads(invoke("users", "certificate", told["id"]).stdout) == told


def test_the_command_has_a_running_service_do_it(
    invoke: Callable[..., Result], make_settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = open_workspace(make_settings(), url="http://127.0.0.1:1")
    jobs = JobRunner(running.ingest, running.registry.jobs, erase=running.erase_asked_for)
    jobs.start()
    try:
        asked = invoke("users", "erase", "nobody.in.particular", "--yes", "--json")
        assert asked.exit_code == 0, asked.output
        assert json.loads(asked.stdout)["asked_by"] == "operator"
        assert running.personal.erasures.pending() == []
    finally:
        jobs.close()
        running.close()


def test_what_a_killed_command_left_is_queued_once_by_the_next_start(make_settings: Callable[..., Any]) -> None:
    workspace = open_workspace(make_settings())
    try:
        erasures = workspace.personal.erasures
        erasure_id = erasures.ask("default", "somebody", "operator")
        assert erasures.ask("default", "somebody", "person") == erasure_id
        jobs = JobQueue(workspace.registry.jobs)
        take_up(erasures, jobs)
        take_up(erasures, jobs)
        assert [(each.kind, each.document_id, each.subject) for each in jobs.latest(9)] == [("erase", erasure_id, "")]
    finally:
        workspace.close()


def test_the_command_asks_before_it_erases(invoke: Callable[..., Result], tmp_path: Path) -> None:
    assert invoke("users", "erase", "somebody").exit_code == 1
    assert not (tmp_path / "data" / "registry.sqlite3").exists()


def test_vectors_that_stay_are_the_same_after_a_rewrite(workspace: Workspace) -> None:
    vectors = workspace.stores.vectors
    before = {scope: (ids, rows, said) for scope, ids, rows, said in vectors.records()}
    vectors.rewrite()
    after = {scope: (ids, rows, said) for scope, ids, rows, said in vectors.records()}
    assert before.keys() == after.keys()
    for scope, (ids, rows, said) in before.items():
        assert ids == after[scope][0]
        assert np.array_equal(rows, after[scope][1])
        assert said == after[scope][2]


def test_the_registry_may_be_postgresql(postgres_url: str) -> None:
    from rag.storage.database import open_database  # noqa: PLC0415

    database = open_database(postgres_url)
    try:
        with database.begin() as connection:
            row = {"document_id": "0" * 16, "tenant": "default", "subject": "x", "collection": "c", "name": "n"}
            connection.execute(insert(uploads).values(row | {"uploaded_at": 1}))
        vacuum(database)
    finally:
        database.dispose()
