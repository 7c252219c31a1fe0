"""Two lists of candidates become one ranking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.query.fusion import Candidates, fused, ranked, share_of_best, spread


def candidates(
    cosines: Sequence[float],
    lexical: Sequence[float],
    weight: float | Sequence[float] = 0.5,
    names: Sequence[float] | None = None,
) -> Candidates:
    count = len(cosines)
    return Candidates(
        ids=[f"d-{n}" for n in range(count)],
        cosines=np.array(cosines, dtype=float),
        lexical=np.array(lexical, dtype=float),
        weights=np.broadcast_to(np.array(weight, dtype=float), (count,)),
        names=np.array(names or [0.0] * count, dtype=float),
    )


def order(found: Candidates, name_weight: float = 0.0) -> list[int]:
    return ranked(found.ids, fused(found, name_weight), len(found.ids))


def test_weight_one_is_the_order_of_cosines_and_weight_zero_that_of_bm25() -> None:
    cosines, lexical = [0.3, 0.9, 0.5], [7.0, 0.0, 3.0]
    assert order(candidates(cosines, lexical, 1.0)) == [1, 2, 0]
    assert order(candidates(cosines, lexical, 0.0)) == [0, 2, 1]


def test_the_sum_uses_distances_and_not_only_ranks() -> None:
    scores = fused(candidates([0.2, 0.6, 0.4], [10.0, 5.0, 1.0]), 0.0)
    assert scores == pytest.approx([0.5 * 0 + 0.5 * 1, 0.5 * 1 + 0.5 * 0.5, 0.5 * 0.5 + 0.5 * 0.1])


def test_each_candidate_counts_with_the_weight_of_its_collection() -> None:
    scores = fused(candidates([1.0, 0.0], [0.0, 4.0], [0.9, 0.2]), 0.0)
    assert scores == pytest.approx([0.9, 0.8])


def test_a_name_in_the_title_lifts_its_document() -> None:
    same = candidates([0.5, 0.5], [2.0, 2.0], names=[0.0, 1.0])
    assert order(same) == [0, 1]
    assert order(same, name_weight=0.2) == [1, 0]


def test_equal_scores_are_ordered_by_id() -> None:
    assert ranked(["b", "c", "a"], np.zeros(3), 2) == [2, 0]


def test_a_question_without_lexical_hits_still_ranks_by_meaning() -> None:
    assert order(candidates([0.1, 0.8], [0.0, 0.0], 0.2)) == [1, 0]


def test_nothing_found_gives_nothing() -> None:
    assert order(candidates([], [])) == []
    assert list(spread(np.array([]))) == list(share_of_best(np.array([]))) == []


def test_equal_cosines_all_count_fully() -> None:
    assert list(spread(np.array([0.4, 0.4]))) == [1.0, 1.0]


SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(SCORES, SCORES, st.floats(0, 1), st.floats(0, 1))
def test_scores_stay_between_zero_and_one(
    cosines: list[float], lexical: list[float], weight: float, name_weight: float
) -> None:
    count = min(len(cosines), len(lexical))
    found = candidates(cosines[:count], lexical[:count], weight, [1.0] * count)
    scores = fused(found, name_weight)
    assert ((scores >= 0) & (scores <= 1 + 1e-12)).all()
