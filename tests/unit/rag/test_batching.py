"""Texts share a pass where that is cheaper than a pass of their own, padding included."""

from __future__ import annotations

import numpy as np
import pytest

from rag.models.batching import plan_batches


def shapes(*lengths: int, max_texts: int = 32, max_pieces: int = 2048) -> list[tuple[int, int]]:
    return [batch.ids.shape for batch in plan_batches([[7] * each for each in lengths], max_texts, max_pieces)]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ((10, 10, 10), [(3, 10)]),
        ((12, 10, 11), [(3, 12)]),  # a pass costs as much as 16 word pieces; 3 of padding do not
        ((60, 8, 8, 8), [(1, 60), (3, 8)]),
        ((64, 60, 20, 18, 16), [(2, 64), (3, 20)]),
        ((), []),
    ],
)
def test_batches_are_cut_where_padding_would_cost_more_than_a_pass(
    lengths: tuple[int, ...], expected: list[tuple[int, int]]
) -> None:
    assert shapes(*lengths) == expected


def test_batches_keep_within_texts_and_pieces_but_hold_at_least_one_text() -> None:
    assert shapes(*[5] * 10, max_texts=4) == [(4, 5), (4, 5), (2, 5)]
    assert shapes(300, 300, max_pieces=256) == [(1, 300), (1, 300)]


def test_every_text_is_in_one_batch_with_its_pieces_and_its_mask() -> None:
    texts = [[row + 1] * (1 + row * 7 % 50) for row in range(100)]
    seen = {}
    for batch in plan_batches(texts, 8, 256):
        for row, ids, mask in zip(batch.rows, batch.ids, batch.mask, strict=True):
            seen[int(row)] = ids[mask == 1].tolist()
            assert not ids[mask == 0].any()
    assert [seen[row] for row in range(100)] == texts
    assert np.array_equal(sorted(seen), range(100))
