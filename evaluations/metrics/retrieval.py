"""Ranking quality over ids. Pure functions: what was returned, best first, against what is relevant (all equally).

An empty result scores 0, and so does a question without a relevant id. An id that is returned twice counts once, at
its first place. The ideal comes from the labels, not from what was found. Ranks decide, never scores, so ties are
whatever order the ranking gave. Definitions: Järvelin and Kekäläinen 2002 for nDCG with binary gains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set


def ndcg_at_k(ranking: Sequence[str], relevant: Set[str], k: int) -> float:
    """Discounted gain of the first k over the best possible, 0..1; discount 1 / log2(rank + 1)."""
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(relevant), k) + 1))
    found = sum(1 / math.log2(rank + 1) for rank in _ranks(ranking, relevant, k))
    return found / ideal if ideal else 0.0


def recall_at_k(ranking: Sequence[str], relevant: Set[str], k: int) -> float:
    """The share of relevant ids among the first k, 0..1."""
    return len(_ranks(ranking, relevant, k)) / len(relevant) if relevant else 0.0


def mrr_at_k(ranking: Sequence[str], relevant: Set[str], k: int) -> float:
    """One over the rank of the first relevant id within the first k, else 0."""
    return next((1 / rank for rank in _ranks(ranking, relevant, k)), 0.0)


def hit_at_k(ranking: Sequence[str], relevant: Set[str], k: int) -> float:
    """1 when a relevant id is among the first k, else 0."""
    return 1.0 if _ranks(ranking, relevant, k) else 0.0


def _ranks(ranking: Sequence[str], relevant: Set[str], k: int) -> list[int]:
    """The 1-based ranks of relevant ids within the first k distinct ones."""
    distinct = list(dict.fromkeys(ranking))[: max(k, 0)]
    return [rank for rank, each in enumerate(distinct, 1) if each in relevant]
