"""Reciprocal rank fusion, the usual way to merge two rankings."""

from __future__ import annotations

from collections.abc import Sequence

CONSTANT = 60


def reciprocal_ranks(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Both rankings as one by the sum of 1 / (60 + rank), as Cormack, Clarke and Büttcher (2009) propose."""
    sums: dict[str, float] = {}
    for ranking in (first, second):
        for rank, each in enumerate(ranking, 1):
            sums[each] = sums.get(each, 0.0) + 1 / (CONSTANT + rank)
    return sorted(sums, key=lambda each: (-sums[each], each))
