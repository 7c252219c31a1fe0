"""While Chroma is away nobody waits for it, and it is found again without a question that waits."""

from __future__ import annotations

import threading
from typing import Any, cast

import numpy as np

from rag.errors import StorageUnavailable
from rag.query.patience import PatientVectors
from rag.storage.vectors import VectorIndex

VECTOR = np.zeros(384, dtype=np.float32)


class Index:
    """Answers as it is told to: with an error, not before it is released, or at once."""

    def __init__(self) -> None:
        self.mode = "good"
        self.released = threading.Event()
        self.answered = threading.Semaphore(0)

    def query(self, *_: Any) -> list[tuple[str, float]]:
        try:
            if self.mode == "down":
                raise StorageUnavailable("down")
            if self.mode == "frozen":
                self.released.wait(10)
            return [("chunk", 1.0)]
        finally:
            self.answered.release()


def patient_over(index: Index, seconds: float) -> PatientVectors:
    return PatientVectors(cast("VectorIndex", index), cast("Any", None), lambda _: {}, seconds)


def test_after_a_failure_a_trial_costs_no_question_anything_and_brings_the_search_back() -> None:
    index = Index()
    vectors = patient_over(index, 5)
    index.mode = "down"
    assert vectors.query(["scope"], VECTOR, 1) == []
    index.mode = "frozen"
    vectors._breaker._next_trial = 0.0  # a second later
    assert vectors.query(["scope"], VECTOR, 1) == [], "the trial hangs, and the question does not"
    index.released.set()
    assert index.answered.acquire(timeout=5)
    assert index.answered.acquire(timeout=5)
    while vectors._breaker.is_open:  # the trial is judged by the thread that ends it
        threading.Event().wait(0.005)
    assert vectors.query(["scope"], VECTOR, 1) == [("chunk", 1.0)]


def test_a_trial_that_comes_too_late_is_none() -> None:
    index = Index()
    vectors = patient_over(index, 0.01)
    index.mode = "down"
    vectors.query(["scope"], VECTOR, 1)
    index.mode = "frozen"
    vectors._breaker._next_trial = 0.0
    vectors.query(["scope"], VECTOR, 1)
    threading.Event().wait(0.05)
    index.released.set()
    vectors._threads.shutdown(wait=True)
    assert vectors._breaker.is_open
