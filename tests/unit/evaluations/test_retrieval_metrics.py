"""Retrieval metrics against hand-made cases and against ir_measures."""

from __future__ import annotations

import math

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import RR, R, Success, nDCG

from evaluations.metrics.retrieval import hit_at_k, mrr_at_k, ndcg_at_k, recall_at_k
from evaluations.peers.reciprocal_ranks import reciprocal_ranks

METRICS = (ndcg_at_k, recall_at_k, mrr_at_k, hit_at_k)
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
    assert [metric(ranking, {"a"}, 2) for metric in METRICS] == [0.0] * 4
    assert mrr_at_k(ranking, {"a"}, 3) == 1 / 3


@settings(deadline=None)
@given(ranking=st.lists(IDS, unique=True, max_size=30), relevant=st.sets(IDS, min_size=1), k=st.integers(1, 12))
def test_they_agree_with_ir_measures(ranking: list[str], relevant: set[str], k: int) -> None:
    run = {"q": {each: float(len(ranking) - place) for place, each in enumerate(ranking)}}
    labels = {"q": dict.fromkeys(relevant, 1)}
    theirs = ir_measures.calc_aggregate([nDCG @ k, R @ k, RR @ k, Success @ k], labels, run)
    assert theirs[nDCG @ k] == pytest.approx(ndcg_at_k(ranking, relevant, k), abs=1e-9)
    assert theirs[R @ k] == pytest.approx(recall_at_k(ranking, relevant, k), abs=1e-9)
    assert theirs[RR @ k] == pytest.approx(mrr_at_k(ranking, relevant, k), abs=1e-9)
    assert theirs[Success @ k] == pytest.approx(hit_at_k(ranking, relevant, k), abs=1e-9)


def test_reciprocal_ranks_prefer_what_both_rankings_have() -> None:
    assert reciprocal_ranks(["a", "b"], ["c", "b"]) == ["b", "a", "c"]
