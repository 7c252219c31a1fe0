"""Two lists of candidates become one ranking. Pure functions on arrays; docs/retrieval.md has the measurements.

Both searches are put on one scale per question: cosines from the least to the best candidate (0..1), BM25 as a share
of the best. Reciprocal ranks throw these distances away, and were never best on our data.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Scores = np.ndarray[Any, np.dtype[np.float64]]
_EQUAL = 1e-9  # cosines closer than this are the same


@dataclass(frozen=True, slots=True)
class Candidates:
    """What is known of each candidate, in parallel: raw cosine and BM25 (0: not found), weights and names in 0..1."""

    ids: Sequence[str]
    cosines: Scores
    lexical: Scores
    weights: Scores
    names: Scores


def fused(candidates: Candidates, name_weight: float) -> Scores:
    """A score in 0..1 for each candidate.

    The weighted sum of both searches, plus `name_weight` times how well the document's title bears the names in the
    question.
    """
    weights = candidates.weights
    sums = weights * spread(candidates.cosines) + (1 - weights) * share_of_best(candidates.lexical)
    return np.asarray((sums + name_weight * candidates.names) / (1 + name_weight), dtype=np.float64)


def ranked(ids: Sequence[str], scores: Scores, limit: int) -> list[int]:
    """Positions of the best `limit`, best first; equal scores in the order of their ids.

    So equal questions get equal answers.
    """
    best = heapq.nsmallest(limit, zip((-scores).tolist(), ids, range(len(ids)), strict=True))
    return [position for _, _, position in best]


def spread(values: Scores) -> Scores:
    """Values moved and stretched to 0..1; all 1 where they do not differ."""
    if not len(values):
        return values
    least, most = float(values.min()), float(values.max())
    return (values - least) / (most - least) if most - least > _EQUAL else np.ones_like(values)


def share_of_best(values: Scores) -> Scores:
    """Values as shares of the greatest; all 0 where nothing was found."""
    most = float(values.max()) if len(values) else 0.0
    return values / most if most > 0 else np.zeros_like(values)
