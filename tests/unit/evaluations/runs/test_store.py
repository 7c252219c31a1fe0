from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluations.runs.records import (
    CitedQuote,
    Fingerprints,
    ItemRecord,
    ItemScores,
    Produced,
    RetrievedPassage,
    RunInfo,
)
from evaluations.runs.store import RunStore
from rag.errors import Busy, ConfigurationError, NotFound


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    opened = RunStore.open(tmp_path)
    yield opened
    opened.close()


def _record(item: str, repeat: int = 0, text: str = "4.5 %\nper year – “net”") -> ItemRecord:
    produced = Produced(
        text,
        "answered",
        passages=(RetrievedPassage("d1", "Terms", 3, "a\u2028b", 0.5, "d1 3", "d1"),),
        citations=(CitedQuote("d1", "Terms", 3, "4.5 %"),),
        timings={"total": 0.25},
        tokens={"prompt": 7},
        confidence=0.75,
    )
    return ItemRecord(item, repeat, "ok", "What is the rate?", {"kind": "rate"}, "d1", produced=produced)


def _new(store: RunStore) -> RunInfo:
    return store.create("smoke", Fingerprints("s", "d"), "pipeline", 3)


def _path(folder: Path, run: RunInfo) -> Path:
    return folder / run.id / "items.jsonl"


def test_what_was_appended_comes_back_equal_also_from_another_process(store: RunStore, tmp_path: Path) -> None:
    run = _new(store)
    records = [_record("a"), _record("b"), _record("a", 1)]
    for record in records:
        store.append_item(run.id, record)
    other = RunStore.open(tmp_path)
    assert other.items(run.id) == records
    assert other.runs() == [run]
    other.close()


def test_a_later_record_of_an_item_replaces_the_earlier_one(store: RunStore) -> None:
    run = _new(store)
    store.append_items(run.id, [ItemRecord("a", 0, "failed", "?", failure="timeout"), _record("b"), _record("a")])
    assert [(each.item, each.state) for each in store.items(run.id)] == [("a", "ok"), ("b", "ok")]


@pytest.mark.parametrize("lost", [1, 5, 60])
def test_a_last_line_torn_by_power_loss_is_dropped_and_the_run_goes_on(
    store: RunStore, tmp_path: Path, lost: int
) -> None:
    run = _new(store)
    store.append_items(run.id, [_record("a"), _record("b")])
    path = _path(tmp_path, run)
    path.write_bytes(path.read_bytes()[:-lost])
    assert [each.item for each in store.items(run.id)] == ["a"]
    store.release(run.id)
    store.resume(run.id)
    store.append_item(run.id, _record("c"))
    assert [each.item for each in store.items(run.id)] == ["a", "c"]


def test_a_changed_line_in_the_middle_is_refused_with_file_and_line(store: RunStore, tmp_path: Path) -> None:
    run = _new(store)
    store.append_items(run.id, [_record("a"), _record("b"), _record("c")])
    path = _path(tmp_path, run)
    lines = path.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b"4.5", b"9.5", 1)
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(ConfigurationError, match=r"line 2 of .*items\.jsonl is damaged"):
        store.items(run.id)


def test_the_last_scoring_counts_and_the_earlier_one_stays(store: RunStore, tmp_path: Path) -> None:
    run = _new(store)
    assert store.scores(run.id) == []
    store.put_scores(run.id, [ItemScores("a", 0, {"ndcg": 0.5}, {"cause": "not retrieved"})])
    store.put_scores(run.id, [ItemScores("a", 0, {"ndcg": 1.0})])
    assert store.scores(run.id) == [ItemScores("a", 0, {"ndcg": 1.0})]
    assert len(list((tmp_path / run.id).glob("scores-*.jsonl"))) == 2


def test_a_scoring_cut_before_its_end_is_not_taken_for_a_whole_one(store: RunStore, tmp_path: Path) -> None:
    run = _new(store)
    (tmp_path / run.id / "scores.unfinished").write_bytes(b"half")
    assert store.scores(run.id) == []
    store.put_scores(run.id, [ItemScores("a", 0, {"ndcg": 1.0})])
    assert len(store.scores(run.id)) == 1


def test_two_writers_of_one_run_are_refused_until_the_first_has_ended(store: RunStore, tmp_path: Path) -> None:
    run = _new(store)
    other = RunStore.open(tmp_path)
    with pytest.raises(Busy, match="another process writes"):
        other.resume(run.id)
    finished = store.finish(run.id, "interrupted")
    assert finished.state == "interrupted"
    assert other.resume(run.id).state == "running"
    other.close()


def test_runs_are_found_by_the_beginning_of_their_id_and_by_suite(store: RunStore) -> None:
    run = _new(store)
    assert store.run(run.id[:-2]) == run
    assert store.runs("retrieval") == []
    with pytest.raises(NotFound, match="no run named 'nothing'"):
        store.run("nothing")
    _new(store)
    with pytest.raises(NotFound, match="2 runs named 'smoke'"):
        store.run("smoke")
