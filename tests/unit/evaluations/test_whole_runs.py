"""From stored runs to comparison, decision and report: only what is whole counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evaluations.compare.comparing import RunsDiffer, compare
from evaluations.gate.deciding import Baseline, Candidate, decide
from evaluations.gate.policy import Floor, NonInferiority, Policy
from evaluations.report.building import CAUSE, WANTED, Reported, build
from evaluations.report.document import Direction
from evaluations.runs.records import Fingerprints, ItemRecord, ItemScores, Produced, RetrievedPassage
from evaluations.runs.store import RunStore
from evaluations.runs.whole import WholeRun, read_whole, scored_run
from rag.errors import ConfigurationError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    opened = RunStore.open(tmp_path)
    yield opened
    opened.close()


def direction_of(metric: str) -> Direction:
    return "lower" if metric.startswith("wrong") else "higher"


def stored(store: RunStore, values: list[float], *, data: str = "d1", state: str = "complete") -> str:
    info = store.create("smoke", Fingerprints("s1", data), "pipeline", len(values))
    for number, value in enumerate(values):
        passage = RetrievedPassage("doc", "Fees", 2, "the fee is 5 dollars", 0.9)
        produced = Produced(
            f"answer {number}", "answered", passages=(passage,), timings={"total": 0.1}, confidence=value
        )
        store.append_item(info.id, ItemRecord(f"q{number}", 0, "ok", f"question {number}", {"half": "ab"[number % 2]},
                                              produced=produced))  # fmt: skip
    store.put_scores(
        info.id,
        [
            ItemScores(
                f"q{n}", 0, {"correct": v, "wrongly_refused": 1 - v}, {WANTED: "5", CAUSE: "" if v else "not used"}
            )
            for n, v in enumerate(values)
        ],
    )
    if state == "complete":
        store.finish(info.id, "complete")
    else:
        store.release(info.id)
    return info.id


def candidate(whole: WholeRun) -> Candidate:
    return Candidate(scored_run(whole, direction_of), whole.digest, whole.info.suite, {"data": "d1"})


def baseline(store: RunStore, values: list[float], **approved: str) -> Baseline:
    whole = read_whole(store, stored(store, values))
    decision = {
        "verdict": "pass",
        "scores_digest": whole.digest,
        "decided_at": "2999-01-01T00:00:00+00:00",
        **approved,
    }
    return Baseline(scored_run(whole, direction_of), whole.digest, decision)


NO_WORSE = Policy(non_inferiority=(NonInferiority(metric="correct", margin=0.05),))


def test_a_run_that_was_cut_is_no_run_to_decide_on(store: RunStore) -> None:
    with pytest.raises(ConfigurationError, match="not complete"):
        read_whole(store, stored(store, [1.0], state="running"))


def test_a_run_without_a_score_for_every_item_is_refused(store: RunStore) -> None:
    run_id = stored(store, [1.0, 0.0])
    store.put_scores(run_id, [ItemScores("q0", 0, {"correct": 1.0})])
    with pytest.raises(ConfigurationError, match="score it again"):
        read_whole(store, run_id)


def test_repeats_of_an_item_are_averaged(store: RunStore) -> None:
    info = store.create("smoke", Fingerprints("s1", "d1"), "pipeline", 2)
    for repeat in (0, 1):
        store.append_item(info.id, ItemRecord("q0", repeat, "ok", "?"))
    store.put_scores(info.id, [ItemScores("q0", 0, {"correct": 1.0}), ItemScores("q0", 1, {"correct": 0.0})])
    store.finish(info.id, "complete")
    (item,) = scored_run(read_whole(store, info.id), direction_of).items
    assert item.values == {"correct": 0.5}


def test_a_floor_over_a_slice_counts_only_its_items(store: RunStore) -> None:
    whole = read_whole(store, stored(store, [1.0, 0.0] * 20))
    policy = Policy(
        floors=(
            Floor(metric="correct", slice="half=a", at_least=1.0),
            Floor(metric="correct", slice="half=b", at_least=1.0),
        )
    )
    decision = decide(policy, candidate(whole), None, approver="Ana")
    assert [each.outcome for each in decision.checked] == ["pass", "fail"]
    assert decision.content["scores_digest"] == whole.digest


def test_an_equal_run_is_not_inferior(store: RunStore) -> None:
    whole = read_whole(store, stored(store, [1.0, 0.0] * 20))
    decision = decide(NO_WORSE, candidate(whole), baseline(store, [1.0, 0.0] * 20), approver="Ana")
    assert decision.verdict == "pass"


def test_a_clearly_worse_run_fails_against_its_baseline(store: RunStore) -> None:
    whole = read_whole(store, stored(store, [0.0] * 40))
    assert decide(NO_WORSE, candidate(whole), baseline(store, [1.0] * 40), approver="Ana").verdict == "fail"


@pytest.mark.parametrize(
    ("approved", "reason"),
    [
        ({"verdict": "fail"}, "was not approved"),
        ({"decided_at": "2020-01-01T00:00:00+00:00"}, "days old"),
        ({"scores_digest": "0" * 64}, "changed after it was approved"),
    ],
)
def test_a_baseline_that_does_not_hold_leaves_the_gate_undecided(
    store: RunStore, approved: dict[str, str], reason: str
) -> None:
    whole = read_whole(store, stored(store, [1.0] * 10))
    decision = decide(NO_WORSE, candidate(whole), baseline(store, [1.0] * 10, **approved), approver="Ana")
    assert decision.verdict == "inconclusive"
    assert reason in decision.checked[0].reason


def test_a_baseline_on_other_data_is_refused(store: RunStore) -> None:
    whole = read_whole(store, stored(store, [1.0] * 10, data="d2"))
    with pytest.raises(RunsDiffer, match="different data"):
        decide(NO_WORSE, candidate(whole), baseline(store, [1.0] * 10), approver="Ana")


def reported(whole: WholeRun) -> Reported:
    return Reported(
        "Smoke", whole.info, whole.items, whole.scores, scored_run(whole, direction_of), correct="correct"
    )  # fmt: skip


def test_the_report_shows_scores_causes_confidence_and_the_worst_items(store: RunStore) -> None:
    document = build(reported(read_whole(store, stored(store, [1.0] * 15 + [0.0] * 5))))
    assert {score.metric: score.mean for score in document.scores} == {"correct": 0.75, "wrongly_refused": 0.25}
    assert document.causes == {"not used": 5}
    assert [each.items for each in document.calibration] == [5, 15]
    assert document.risk_coverage[-1].risk == 0.25
    assert {each.said for each in document.worst} == {f"answer {number}" for number in range(15, 20)}
    assert document.worst[0].wanted == "5"
    assert [each.name for each in document.slices] == ["half=a", "half=b"]


def test_the_report_says_when_the_run_was_cut(store: RunStore) -> None:
    whole = read_whole(store, stored(store, [1.0] * 5))
    cut = replace(reported(whole), info=replace(whole.info, state="interrupted"))
    assert build(cut).state == "partial"


def test_the_report_shows_regressed_items_side_by_side(store: RunStore) -> None:
    before, after = (read_whole(store, stored(store, values)) for values in ([1.0] * 6, [1.0] * 5 + [0.0]))
    compared = compare(scored_run(before, direction_of), scored_run(after, direction_of), resamples=100)
    document = build(reported(after), (reported(before), compared))
    assert document.comparison is not None
    (regression,) = document.comparison.regressions
    assert (regression.before.values["correct"], regression.after.values["correct"]) == (1.0, 0.0)
