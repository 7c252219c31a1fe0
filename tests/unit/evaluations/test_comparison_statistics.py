"""Statistics of comparisons, against exact enumeration, SciPy and worked examples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test

from evaluations.compare.statistics import (
    Outcomes,
    detectable_effect,
    holm,
    mcnemar_p_value,
    mean_intervals,
    outcomes,
    permutation_p_values,
    score_interval,
)


def _alone(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_bootstrap_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        sample = rng.normal(0.3, 1.0, (60, 1))
        (interval,) = mean_intervals(sample, _alone(60), resamples=400, seed=trial)
        covered += interval.low <= 0.3 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_items_of_one_conversation_are_drawn_together() -> None:
    values = np.repeat(np.array([[0.0], [1.0]] * 10), 20, axis=0)
    together = [str(number // 20) for number in range(400)]
    (apart,) = mean_intervals(values, _alone(400), resamples=2000)
    (grouped,) = mean_intervals(values, together, resamples=2000)
    assert apart.mean == grouped.mean == 0.5
    assert (grouped.high - grouped.low) > 3 * (apart.high - apart.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(3).random((50, 2))
    assert mean_intervals(values, _alone(50), resamples=500, seed=9) == mean_intervals(
        values, _alone(50), resamples=500, seed=9
    )


def test_permutation_p_agrees_with_full_enumeration() -> None:
    differences = np.array([0.4, 0.1, -0.2, 0.5, 0.3, 0.0, 0.25, -0.1])
    signs = np.array(list(itertools.product((-1, 1), repeat=8)))
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
    (found,) = permutation_p_values(differences[:, None], _alone(8), resamples=40_000)
    assert found == pytest.approx(exact, abs=0.01)


def test_permutation_p_agrees_with_scipy() -> None:
    differences = np.random.default_rng(5).normal(0.15, 1.0, 120)
    reference = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0)
    )
    (found,) = permutation_p_values(differences[:, None], _alone(120), resamples=20_000)
    assert found == pytest.approx(reference.pvalue, abs=0.015)


def test_equal_versions_can_always_be_exchanged() -> None:
    assert permutation_p_values(np.zeros((30, 1)), _alone(30), resamples=500)[0] == 1.0


def test_holm_adjusts_like_the_worked_example_of_the_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_lowers_a_p_value(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(0 <= before <= after <= 1 for before, after in zip(p_values, adjusted, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [after for _, after in pairs] == sorted(adjusted)


def test_mcnemar_is_the_exact_sign_test() -> None:
    assert mcnemar_p_value(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert mcnemar_p_value(0, 0) == 1.0


def test_outcomes_count_better_equal_and_worse() -> None:
    assert outcomes(np.array([0.2, 0.0, -0.1, 0.3])) == Outcomes(wins=2, ties=1, losses=1)


def test_detectable_effect_is_found_in_about_four_of_five_suites() -> None:
    rng = np.random.default_rng(11)
    effect = detectable_effect(rng.normal(0, 1, 5000)[:200], _alone(200))
    found = 0
    for trial in range(150):
        sample = rng.normal(effect, 1.0, (200, 1))
        (interval,) = mean_intervals(sample, _alone(200), resamples=300, seed=trial)
        found += interval.low > 0
    assert 0.68 <= found / 150 <= 0.92


def test_one_conversation_says_nothing_about_the_spread() -> None:
    assert detectable_effect(np.array([0.1, 0.4]), ["one", "one"]) == float("inf")


@pytest.mark.parametrize("values", [np.empty((0, 1)), np.array([[float("nan")]])])
def test_nothing_and_no_number_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"no items|finite"):
        mean_intervals(values, _alone(len(values)), resamples=10)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_items_that_all_agree_still_leave_doubt(value: float) -> None:
    interval = score_interval([value] * 84, _alone(84), resamples=50)
    assert interval.mean == value
    assert interval.high - interval.low == pytest.approx(1 - 0.025 ** (1 / 84))


def test_the_doubt_is_that_of_so_many_conversations_and_not_of_their_turns() -> None:
    together = score_interval([0.0] * 100, [str(number // 20) for number in range(100)], resamples=50)
    assert together.high == pytest.approx(1 - 0.025 ** (1 / 5))


def test_where_items_differ_the_interval_is_the_bootstrap() -> None:
    values = [0.0, 1.0] * 20
    (plain,) = mean_intervals(np.array(values)[:, None], _alone(40), resamples=200)
    assert score_interval(values, _alone(40), resamples=200) == plain
