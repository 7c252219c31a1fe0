"""Answers judged wrong are remembered for all processes, for as long as kept answers live, and not without bound."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from rag.storage import disputes
from rag.storage.database import open_database
from rag.storage.disputes import Disputes


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_database(f"sqlite:///{tmp_path}/registry.sqlite3")
    yield opened
    opened.dispose()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_judgement_counts_in_every_process_and_ends_with_its_time(engine: Engine) -> None:
    time = 1000.0
    here, there = (Disputes(engine, 60, lambda: time) for _ in range(2))
    here.add(digest("It costs $5."))
    assert here.hold("It costs $5.")
    assert there.hold("It costs $5.")
    assert not there.hold("It costs $6.")
    time += 61
    assert not Disputes(engine, 60, lambda: time).hold("It costs $5.")


def test_the_newest_judgements_are_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disputes, "_MOST", 2)
    time = iter(range(100))
    mine = Disputes(engine, 60, lambda: float(next(time)))
    for text in ("first", "second", "third"):
        mine.add(digest(text))
    assert [mine.hold(text) for text in ("first", "second", "third")] == [False, True, True]


def test_without_the_registry_what_was_known_still_counts(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disputes, "_LOOK_EVERY_SECONDS", 0.0)
    mine = Disputes(engine, 60)
    mine.add(digest("It costs $5."))
    assert mine.hold("It costs $5.")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE state")
    assert mine.hold("It costs $5.")
