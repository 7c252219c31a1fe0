"""Ranking quality over ids. Pure functions: what was returned, best first, against what is relevant.

`relevant` is a set of ids that are all equally relevant, or ids with their grade, where 0 and less mean not relevant.
An empty result scores 0, and so does a question without a relevant id. An id that is returned twice counts once, at
its first place. The ideal comes from the labels, not from what was found. Ranks decide, never scores, so ties are
whatever order the ranking gave. Definitions: Järvelin and Kekäläinen 2002 for nDCG, with the grade as gain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set

Relevant = Set[str] | Mapping[str, float]


def ndcg_at_k(ranking: Sequence[str], relevant: Relevant, k: int) -> float:
    """Discounted gain of the first k over the best possible, 0..1; discount 1 / log2(rank + 1)."""
    gains = _gains(relevant)
    best = sorted(gains.values(), reverse=True)[: max(k, 0)]
    ideal = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(best, 1))
    found = sum(gains[each] / math.log2(rank + 1) for rank, each in _hits(ranking, gains, k))
    return found / ideal if ideal else 0.0


def recall_at_k(ranking: Sequence[str], relevant: Relevant, k: int) -> float:
    """The share of relevant ids among the first k, 0..1."""
    gains = _gains(relevant)
    return len(_hits(ranking, gains, k)) / len(gains) if gains else 0.0


def map_at_k(ranking: Sequence[str], relevant: Relevant, k: int) -> float:
    """The precision at the rank of each relevant id within the first k, summed, over all relevant ids, 0..1."""
    gains = _gains(relevant)
    found = _hits(ranking, gains, k)
    return sum(number / rank for number, (rank, _) in enumerate(found, 1)) / len(gains) if gains else 0.0


def mrr_at_k(ranking: Sequence[str], relevant: Relevant, k: int) -> float:
    """One over the rank of the first relevant id within the first k, else 0."""
    return next((1 / rank for rank, _ in _hits(ranking, _gains(relevant), k)), 0.0)


def hit_at_k(ranking: Sequence[str], relevant: Relevant, k: int) -> float:
    """1 when a relevant id is among the first k, else 0."""
    return 1.0 if _hits(ranking, _gains(relevant), k) else 0.0


def _gains(relevant: Relevant) -> Mapping[str, float]:
    if isinstance(relevant, Mapping):
        return {each: grade for each, grade in relevant.items() if grade > 0}
    return dict.fromkeys(relevant, 1.0)


def _hits(ranking: Sequence[str], gains: Mapping[str, float], k: int) -> list[tuple[int, str]]:
    """The relevant ids within the first k distinct ones, with their 1-based ranks."""
    distinct = list(dict.fromkeys(ranking))[: max(k, 0)]
    return [(rank, each) for rank, each in enumerate(distinct, 1) if each in gains]
