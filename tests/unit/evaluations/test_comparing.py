"""Comparing runs: aligned by item, refused when they cannot be, and honest about what cannot be told."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluations.compare.comparing import Compared, RunsDiffer, ScoredItem, ScoredRun, compare
from evaluations.report.document import Difference, Direction

HIGHER: dict[str, Direction] = {"ndcg@10": "higher"}


def run(name: str, values: list[float], *, data: str = "d1", metric: str = "ndcg@10", groups: int = 0) -> ScoredRun:
    items = tuple(
        ScoredItem(
            f"q{i}", f"c{i % groups}" if groups else f"q{i}", {"kind": "odd" if i % 2 else "even"}, {metric: value}
        )
        for i, value in enumerate(values)
    )
    return ScoredRun(name, data, {metric: "higher"}, items)


def only(found: Compared) -> Difference:
    (difference,) = found.differences
    return difference


def test_a_clear_gain_is_found_with_its_interval_and_counts() -> None:
    rng = np.random.default_rng(1)
    before = rng.uniform(0.2, 0.6, 200)
    after = before + rng.uniform(0.0, 0.2, 200)
    found = only(compare(run("a", before.tolist()), run("b", after.tolist()), resamples=500))
    assert found.finding == "better"
    assert found.low < found.mean < found.high
    assert math.isclose(found.mean, float((after - before).mean()))
    assert found.wins == 200


def test_a_metric_where_less_is_better_is_turned() -> None:
    directions: dict[str, Direction] = {"wrong": "lower"}
    before = replace(run("a", [1.0] * 40, metric="wrong"), directions=directions)
    after = replace(run("b", [0.0] * 40, metric="wrong"), directions=directions)
    found = only(compare(before, after, resamples=200))
    assert (found.finding, found.mean, found.before, found.after) == ("better", 1.0, 1.0, 0.0)


def test_noise_cannot_be_told_and_the_detectable_effect_is_stated() -> None:
    rng = np.random.default_rng(2)
    found = only(compare(run("a", rng.random(30).tolist()), run("b", rng.random(30).tolist()), resamples=500))
    assert found.finding == "cannot tell"
    assert found.detectable > abs(found.mean)


def test_equal_runs_are_the_same() -> None:
    found = compare(run("a", [0.5] * 10), run("b", [0.5] * 10), resamples=100)
    assert (only(found).finding, only(found).p_value, found.regressed) == ("same", 1.0, ())


def test_whole_conversations_count_as_one_observation() -> None:
    before, after = [0.0] * 60, [1.0 if i % 6 < 4 else 0.0 for i in range(60)]
    alone = only(compare(run("a", before), run("b", after), resamples=2000))
    together = only(compare(run("a", before, groups=6), run("b", after, groups=6), resamples=2000))
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert together.p_value > alone.p_value


def test_pass_or_fail_uses_mcnemars_exact_p() -> None:
    found = only(compare(run("a", [0.0] * 8 + [1.0] * 2), run("b", [1.0] * 8 + [1.0] * 2), resamples=100))
    assert math.isclose(found.p_value, 2 * 0.5**8)


def test_p_values_are_adjusted_over_all_metrics() -> None:
    def two(name: str, values: list[float]) -> ScoredRun:
        items = tuple(ScoredItem(f"q{i}", f"q{i}", {}, {"m1": v, "m2": 0.5}) for i, v in enumerate(values))
        return ScoredRun(name, "d1", {"m1": "higher", "m2": "higher"}, items)

    found = compare(two("a", [0.0] * 8), two("b", [1.0] * 8), resamples=100)
    assert math.isclose(found.differences[0].p_value, 2 * 2 * 0.5**8)


def test_slices_are_told_apart() -> None:
    after = [1.0 if i % 2 else 0.0 for i in range(60)]
    found = compare(run("a", [0.0] * 60), run("b", after), resamples=500)
    assert {each.slice: each.finding for each in found.slices} == {"kind=even": "same", "kind=odd": "better"}


def test_regressed_items_come_worst_first() -> None:
    found = compare(run("a", [1.0, 0.5, 0.2]), run("b", [0.9, 0.0, 0.4]), resamples=100)
    assert [each.id for each in found.regressed] == ["q1", "q0"]
    assert found.regressed[0].values == {"ndcg@10": (0.5, 0.0)}


def test_a_slow_item_does_not_count_for_more_than_a_wrong_one() -> None:
    def timed(name: str, rows: list[tuple[float, float]]) -> ScoredRun:
        items = tuple(ScoredItem(f"q{i}", f"q{i}", {}, {"right": r, "seconds": s}) for i, (r, s) in enumerate(rows))
        return ScoredRun(name, "d1", {"right": "higher", "seconds": "lower"}, items)

    before = timed("a", [(1.0, 2.0), (1.0, 2.0), (1.0, 1.0)])
    after = timed("b", [(1.0, 11.0), (0.0, 4.0), (1.0, 1.0)])
    assert [each.id for each in compare(before, after, resamples=100).regressed] == ["q1", "q0"]


def test_a_metric_that_applies_to_some_items_is_compared_over_those() -> None:
    before, after = run("a", [0.5] * 4), run("b", [0.5] * 4)
    extra = {"f1": "higher", **HIGHER}

    def with_f1(scored: ScoredRun, value: float) -> ScoredRun:
        items = (replace(scored.items[0], values={**scored.items[0].values, "f1": value}), *scored.items[1:])
        return replace(scored, items=items, directions=extra)

    found = compare(with_f1(before, 0.0), with_f1(after, 1.0), resamples=100)
    by_name = {each.metric: each for each in found.differences}
    assert by_name["f1"].wins + by_name["f1"].ties + by_name["f1"].losses == 1
    assert by_name["ndcg@10"].ties == 4


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (run("a", [1.0]), run("b", [1.0], data="d2"), "different data"),
        (run("a", [1.0, 1.0]), run("b", [1.0]), "only one of the runs"),
        (run("a", [1.0]), run("b", [1.0], metric="recall@10"), "no metric in common"),
    ],
)
def test_runs_that_do_not_fit_are_refused(before: ScoredRun, after: ScoredRun, says: str) -> None:
    with pytest.raises(RunsDiffer, match=says):
        compare(before, after, resamples=10)


def test_a_metric_that_only_one_run_has_is_named_and_not_compared() -> None:
    both = run("a", [0.5] * 6)
    more = tuple(replace(each, values={**each.values, "recall@10": 1.0}) for each in both.items)
    found = compare(ScoredRun("a", "d1", {**HIGHER, "recall@10": "higher"}, more), run("b", [0.6] * 6), resamples=200)
    assert found.note == "not compared, because only a has them: recall@10"
    assert [each.metric for each in found.differences] == ["ndcg@10"]


def test_an_item_scored_in_one_run_only_is_refused() -> None:
    after = run("b", [1.0, 1.0])
    torn = replace(after, items=(after.items[0], replace(after.items[1], values={})))
    with pytest.raises(RunsDiffer, match=r"item 'q1' has ndcg@10 in only one"):
        compare(run("a", [1.0, 1.0]), torn, resamples=10)


def test_different_data_is_compared_when_told_and_noted() -> None:
    found = compare(run("a", [0.0, 0.0]), run("b", [1.0], data="d2"), different_data=True, resamples=10)
    assert found.items == 1
    assert "different data" in found.note
