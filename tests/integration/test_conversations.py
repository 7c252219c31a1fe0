"""Conversations of the chat in SQLite and PostgreSQL: kept whole, ended whole, and nobody's but their owner's."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, func, select

from ui.history.database import VERSIONS, HistoryUnavailable, open_database
from ui.history.schema import elements, feedbacks, metadata, steps, threads, users
from ui.history.store import ConversationStore
from ui.person import NotTheirs

ANN, BOB = "ann", "bob"


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    sqlite = f"sqlite:///{tmp_path / 'conversations.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> ConversationStore:
    store = ConversationStore(engine)
    for person in (ANN, BOB):
        store.ensure_user(person)
    return store


def step(thread: str, kind: str = "user_message", **fields: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "threadId": thread, "type": kind, "output": "text", **fields}


def said(store: ConversationStore, person: str, thread: str) -> dict[str, dict[str, Any]]:
    """A question with its run, search, answer and thumb."""
    asked = step(thread, createdAt="2026-01-01T00:00:00Z")
    run = step(thread, "run", parentId=asked["id"], createdAt="2026-01-01T00:00:01Z")
    search = step(thread, "tool", parentId=run["id"], createdAt="2026-01-01T00:00:02Z", tags=["a"])
    search["autoCollapse"] = True
    answer = step(
        thread, "assistant_message", parentId=run["id"], createdAt="2026-01-01T00:00:03Z", metadata={"n": [1]}
    )
    for each in (asked, run, search, answer):
        store.save(person, steps, each)
    store.save_feedback(person, run["id"], 0, "wrong page")
    return {"asked": asked, "run": run, "search": search, "answer": answer}


def count(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        tables = (users, threads, steps, elements, feedbacks)
        return [connection.execute(select(func.count()).select_from(each)).scalar_one() for each in tables]


def test_the_migrations_make_the_tables_of_the_code(engine: Engine) -> None:
    with engine.connect() as connection:
        seen = MigrationContext.configure(connection, opts={"version_table": VERSIONS})
        assert compare_metadata(seen, metadata) == []


FIELDS = """
import json
from chainlit.element import ElementDict
from chainlit.step import StepDict
from chainlit.types import ThreadDict
from chainlit.user import PersistedUser
named = {"steps": StepDict, "elements": ElementDict, "threads": ThreadDict}
fields = {name: sorted(each.__annotations__) for name, each in named.items()}
print(json.dumps(fields | {"users": sorted(PersistedUser.__dataclass_fields__)}))
"""
NO_COLUMNS = {
    "steps": {"feedback"},  # a table of its own
    "elements": set(),
    "threads": {"steps", "elements", "userIdentifier"},
    "users": {"display_name", "metadata"},  # what the sign-in says, each time
}


def test_every_field_of_chainlits_dictionaries_has_a_column(tmp_path: Path) -> None:
    # In a process of its own: importing Chainlit warns, and writes into its folder.
    command = [sys.executable, "-W", "ignore", "-c", FIELDS]
    said = subprocess.run(
        command, cwd=tmp_path, env={"CHAINLIT_APP_ROOT": str(tmp_path)}, capture_output=True, check=True
    )
    fields = json.loads(said.stdout.splitlines()[-1])
    for name, without in NO_COLUMNS.items():
        assert set(fields[name]) - without == set(metadata.tables[name].c.keys())


def test_a_field_of_a_later_chainlit_is_refused_and_not_lost(store: ConversationStore) -> None:
    with pytest.raises(KeyError, match="mood"):
        store.save(ANN, steps, step("t", mood="new"))


def test_a_conversation_comes_back_as_it_was(store: ConversationStore) -> None:
    parts = said(store, ANN, "t")
    store.save_thread(ANN, "t", {"name": "Deadlines", "metadata": {"chat_profile": None}, "tags": None})
    thread = store.thread(ANN, "t")
    assert thread is not None
    assert (thread["name"], thread["userIdentifier"]) == ("Deadlines", ANN)
    assert [each["id"] for each in thread["steps"]] == [each["id"] for each in parts.values()]
    run, search, answer = thread["steps"][1:]
    assert (run["feedback"]["value"], run["feedback"]["comment"]) == (0, "wrong page")
    assert (search["tags"], search["autoCollapse"]) == (["a"], True)
    assert answer["metadata"] == {"n": [1]}


@pytest.mark.proves("LLM02", "ASVS 8.2.2")
def test_what_another_person_owns_looks_absent_and_cannot_be_changed(store: ConversationStore) -> None:
    parts = said(store, ANN, "t")
    element = {"id": "e", "threadId": "t", "type": "text", "name": "n"}
    store.save(ANN, elements, element)
    before = store.thread(ANN, "t")
    assert before is not None
    opinion = before["steps"][1]["feedback"]["id"]

    assert store.thread(BOB, "t") is None
    assert store.element(BOB, "t", "e") is None
    assert store.threads_of(BOB, 10, None, None, None) == ([], False)
    for reach in (
        lambda: store.save_thread(BOB, "t", {"name": "mine"}),
        lambda: store.delete_thread(BOB, "t"),
        lambda: store.save(BOB, steps, step("t")),
        lambda: store.save(BOB, steps, {**parts["answer"], "threadId": "bobs", "output": "forged"}),
        lambda: store.save(BOB, elements, {**element, "threadId": "bobs"}),
        lambda: store.save_feedback(BOB, parts["run"]["id"], 1, None),
        lambda: store.delete_feedback(BOB, opinion),
    ):
        with pytest.raises(NotTheirs):
            reach()
    store.delete_step(BOB, parts["answer"]["id"])
    store.delete_element(BOB, "e")
    assert store.thread(ANN, "t") == before


def test_a_person_without_a_row_owns_nothing(store: ConversationStore) -> None:
    with pytest.raises(NotTheirs):
        store.save_thread("nobody", "t", {"name": "x"})


def test_deleting_a_conversation_deletes_all_that_is_in_it(store: ConversationStore, engine: Engine) -> None:
    said(store, ANN, "t")
    store.save(ANN, elements, {"id": "e", "threadId": "t", "type": "text"})
    said(store, BOB, "other")
    store.delete_thread(ANN, "t")
    assert count(engine) == [2, 1, 4, 0, 1]


@pytest.mark.proves("GDPR 17", "SOC 2 C1.2")
def test_deleting_a_person_deletes_all_their_conversations(store: ConversationStore, engine: Engine) -> None:
    said(store, ANN, "t")
    said(store, ANN, "u")
    said(store, BOB, "other")
    assert store.delete_user(ANN) == 2
    assert count(engine) == [1, 1, 4, 0, 1]


@pytest.mark.proves("ASVS 14.2.7", "GDPR 5(1)(e)")
def test_guests_whose_session_is_over_are_deleted_and_nobody_else(store: ConversationStore, engine: Engine) -> None:
    store.ensure_user("guest-1")
    said(store, "guest-1", "t")
    said(store, ANN, "u")
    store.delete_users("guest-", "2020-01-01T00:00:00Z")
    assert count(engine)[:2] == [3, 2]
    store.delete_users("guest-", "9999-01-01T00:00:00Z")
    assert count(engine)[:2] == [2, 1]


def test_an_answer_takes_its_run_and_its_search_with_it(store: ConversationStore) -> None:
    parts = said(store, ANN, "t")
    store.delete_step(ANN, parts["answer"]["id"])
    thread = store.thread(ANN, "t")
    assert thread is not None
    assert [each["id"] for each in thread["steps"]] == [parts["asked"]["id"]]


def test_an_answer_has_one_thumb_which_can_be_changed_and_taken_back(store: ConversationStore, engine: Engine) -> None:
    parts = said(store, ANN, "t")
    first = store.save_feedback(ANN, parts["run"]["id"], 1, None)
    assert store.save_feedback(ANN, parts["run"]["id"], 0, "no") == first
    assert count(engine)[4] == 1
    store.delete_feedback(ANN, first)
    assert count(engine)[4] == 0


def test_lists_are_paged_searched_and_filtered_by_either_thumb(store: ConversationStore) -> None:
    for number in range(5):
        store.save_thread(ANN, f"t{number}", {"name": f"Question {number}"})
    store.save(ANN, steps, step("t1", output="About 100% fees"))
    first, more = store.threads_of(ANN, 3, None, None, None)
    rest, end = store.threads_of(ANN, 3, first[-1]["id"], None, None)
    assert [each["id"] for each in first + rest] == ["t4", "t3", "t2", "t1", "t0"]
    assert (more, end) == (True, False)
    assert [each["id"] for each in store.threads_of(ANN, 9, None, "100% FEES", None)[0]] == ["t1"]
    assert [each["id"] for each in store.threads_of(ANN, 9, None, "question 2", None)[0]] == ["t2"]
    assert store.threads_of(ANN, 9, None, "%", None)[0] == store.threads_of(ANN, 9, None, "100%", None)[0]
    said(store, ANN, "t3")
    assert [each["id"] for each in store.threads_of(ANN, 9, None, None, 0)[0]] == ["t3"]
    assert store.threads_of(ANN, 9, None, None, 1)[0] == []


def test_a_signed_out_token_stays_signed_out_until_it_expires(store: ConversationStore) -> None:
    store.sign_out("a", expires_at=100, at=50)
    store.sign_out("a", expires_at=100, at=50)
    assert store.is_signed_out("a")
    assert not store.is_signed_out("b")
    store.sign_out("b", expires_at=300, at=200)
    assert not store.is_signed_out("a")


def test_an_address_that_is_none_says_what_to_do() -> None:
    with pytest.raises(HistoryUnavailable, match="BANKSIGHT_UI_DATABASE_URL"):
        open_database("conversations.db")


def test_a_database_that_cannot_be_opened_says_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnavailable, match="cannot be opened"):
        open_database(f"sqlite:///{tmp_path / 'absent' / 'conversations.db'}")
