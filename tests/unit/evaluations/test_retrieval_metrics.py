"""Retrieval metrics against hand-made cases and against ir_measures."""

from __future__ import annotations

import math

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, R, Success, nDCG

from evaluations.metrics.retrieval import hit_at_k, map_at_k, mrr_at_k, ndcg_at_k, recall_at_k
from evaluations.peers.reciprocal_ranks import reciprocal_ranks

METRICS = (ndcg_at_k, recall_at_k, map_at_k, mrr_at_k, hit_at_k)
IDS = st.sampled_from([f"d{number}" for number in range(30)])


@pytest.mark.parametrize("metric", METRICS)
def test_an_empty_result_scores_zero(metric) -> None:  # type: ignore[no-untyped-def]
    assert metric([], {"a"}, 10) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_a_question_without_a_relevant_id_scores_zero(metric) -> None:  # type: ignore[no-untyped-def]
    assert metric(["a"], set(), 10) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_a_repeated_id_counts_once_and_takes_no_second_place(metric) -> None:  # type: ignore[no-untyped-def]
    assert metric(["x", "x", "a"], {"a", "b"}, 2) == metric(["x", "a"], {"a", "b"}, 2)


def test_the_ideal_comes_from_the_labels_and_not_from_what_was_found() -> None:
    assert ndcg_at_k(["a"], {"a", "b"}, 10) == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_what_comes_after_k_does_not_count() -> None:
    ranking = ["x", "y", "a"]
    assert [metric(ranking, {"a"}, 2) for metric in METRICS] == [0.0] * 5
    assert mrr_at_k(ranking, {"a"}, 3) == 1 / 3


@settings(deadline=None)
@given(
    ranking=st.lists(IDS, max_size=40),
    grades=st.dictionaries(IDS, st.integers(0, 3), min_size=1).filter(lambda grades: any(grades.values())),
    k=st.integers(1, 12),
)
def test_they_agree_with_ir_measures_over_graded_labels_and_repeated_and_empty_results(
    ranking: list[str], grades: dict[str, int], k: int
) -> None:
    distinct = list(dict.fromkeys(ranking))  # the reference takes a mapping, so it cannot be given a repeated id
    run = {"q": {each: float(len(distinct) - place) for place, each in enumerate(distinct)}}
    theirs = ir_measures.calc_aggregate([nDCG @ k, R @ k, AP @ k, RR @ k, Success @ k], {"q": grades}, run)
    labels = {each: float(grade) for each, grade in grades.items()}
    assert theirs[nDCG @ k] == pytest.approx(ndcg_at_k(ranking, labels, k), abs=1e-9)
    assert theirs[R @ k] == pytest.approx(recall_at_k(ranking, labels, k), abs=1e-9)
    assert theirs[AP @ k] == pytest.approx(map_at_k(ranking, labels, k), abs=1e-9)
    assert theirs[RR @ k] == pytest.approx(mrr_at_k(ranking, labels, k), abs=1e-9)
    assert theirs[Success @ k] == pytest.approx(hit_at_k(ranking, labels, k), abs=1e-9)


@given(ranking=st.lists(IDS, max_size=30), relevant=st.sets(IDS), k=st.integers(0, 12))
def test_a_set_means_that_all_are_equally_relevant(ranking: list[str], relevant: set[str], k: int) -> None:
    graded = dict.fromkeys(relevant, 1.0) | dict.fromkeys({"d1", "d2"} - relevant, 0.0)
    assert all(metric(ranking, relevant, k) == metric(ranking, graded, k) for metric in METRICS)


@settings(deadline=None)
@given(scores=st.dictionaries(IDS, st.integers(0, 2), min_size=1), relevant=st.sets(IDS, min_size=1))
def test_equal_scores_count_in_the_order_that_the_ranking_gives_them(
    scores: dict[str, int], relevant: set[str]
) -> None:
    order = sorted(scores, key=lambda each: (scores[each], each), reverse=True)  # trec_eval's order of ties
    run = {"q": {each: float(score) for each, score in scores.items()}}
    theirs = ir_measures.calc_aggregate([nDCG @ 10], {"q": dict.fromkeys(relevant, 1)}, run)
    assert theirs[nDCG @ 10] == pytest.approx(ndcg_at_k(order, relevant, 10), abs=1e-9)


def test_reciprocal_ranks_prefer_what_both_rankings_have() -> None:
    assert reciprocal_ranks(["a", "b"], ["c", "b"]) == ["b", "a", "c"]
