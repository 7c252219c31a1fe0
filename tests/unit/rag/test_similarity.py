"""Sentence vectors that are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.query.similarity import SentenceVectors
from rag.testing import WordEncoder


class _Counting(WordEncoder):
    """Keeps what it was asked to compute."""

    tokenizer: Any = None

    def __init__(self) -> None:
        self.computed: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As the other."""
        self.computed += texts
        return super().embed(texts)


def test_each_text_is_computed_once_and_rows_keep_their_order() -> None:
    encoder = _Counting()
    vectors = SentenceVectors(encoder)
    vectors.embed(["fees", "hours"])
    found = vectors.embed(["hours", "limits", "hours"])
    assert encoder.computed == ["fees", "hours", "limits"]
    assert np.array_equal(found, WordEncoder().embed(["hours", "limits", "hours"]))


def test_what_another_one_knows_is_not_computed_again() -> None:
    questions, sentences = _Counting(), _Counting()
    known = SentenceVectors(questions)
    known.embed(["What fees?"])
    SentenceVectors(sentences, beside=known).embed(["What fees?", "Fees are due."])
    assert sentences.computed == ["Fees are due."]


def test_the_least_recently_used_is_forgotten() -> None:
    encoder = _Counting()
    vectors = SentenceVectors(encoder, remembered=2)
    for text in ("a", "b", "a", "c", "b"):
        vectors.embed([text])
    assert encoder.computed == ["a", "b", "c", "b"]
