"""What a question is about is a probability from its vector; in doubt it is in scope."""

from __future__ import annotations

import numpy as np
import pytest

from evaluations.fit_scope import Example, fitted, macro_f1, report
from rag.query.scope import ScopeModel, shipped_scope_model


def test_the_shipped_model_gives_shares_for_minilm_vectors() -> None:
    model = shipped_scope_model()
    vectors = np.eye(3, 384, dtype=np.float32)
    shares = model.probabilities(vectors)
    assert shares.shape == (3, 3)
    assert shares.sum(axis=1) == pytest.approx(1.0)
    assert set(model.labels) == {"in_scope", "chitchat", "out_of_scope"}


def test_extreme_vectors_overflow_nothing() -> None:
    shares = shipped_scope_model().probabilities(np.full((1, 384), 1e4, dtype=np.float32))
    assert np.isfinite(shares).all()


@pytest.mark.parametrize(("threshold", "said"), [(0.2, "in_scope"), (0.6, "out_of_scope")])
def test_the_threshold_decides_and_then_the_likelier_of_the_other_two(threshold: float, said: str) -> None:
    shares = np.log([0.4, 0.25, 0.35])
    model = ScopeModel(("in_scope", "chitchat", "out_of_scope"), np.zeros((3, 4)), shares, threshold)
    assert model.decide(np.ones(4, dtype=np.float32)) == said


def test_a_fitted_model_knows_what_it_was_shown() -> None:
    labels = ["in_scope", "chitchat", "out_of_scope"] * 20
    examples = [Example(f"question {number}", label, about_documents=False) for number, label in enumerate(labels)]
    vectors = np.tile(np.eye(3, dtype=np.float32), (20, 1))
    model = fitted(examples, vectors, 0.5)
    assert [model.decide(each) for each in vectors[:3]] == labels[:3]


def test_the_report_counts_errors_of_both_kinds_and_keeps_documents_apart() -> None:
    examples = [
        Example("a", "in_scope", about_documents=False),
        Example("b", "in_scope", about_documents=False),
        Example("c", "chitchat", about_documents=False),
        Example("d", "in_scope", about_documents=True),
    ]
    figures = report(examples, np.array([0.9, 0.1, 0.1, 0.1]), 0.5)
    assert figures["bank_questions_refused"] == 0.5
    assert figures["other_questions_let_through"] == 0.0
    assert figures["document_questions_refused"] == 1.0
    assert figures["macro_f1"] == pytest.approx(2 / 3, abs=1e-4)


def test_macro_f1_of_a_perfect_and_of_a_wrong_answer() -> None:
    truth = np.array([True, False])
    assert (macro_f1(truth, truth), macro_f1(truth, ~truth)) == (1.0, 0.0)
