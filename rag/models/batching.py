"""From texts to padded batches of word pieces: cut to 256, each text once, sorted by length, with little padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rag.models.onnx_file import MAX_LENGTH
from rag.models.weights import Weights

_UNENCODABLE = "replace"
_PASS_PIECES = 16  # word pieces, padding included, that cost as much as a pass of its own: about 10 on our machines


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Word piece ids and mask, both int64[texts, pieces], of the texts with the numbers `rows`."""

    rows: NDArray[np.int64]
    ids: NDArray[np.int64]
    mask: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Word pieces of distinct texts; `unique[numbers[i]]` are those of text `i`."""

    unique: list[list[int]]
    numbers: NDArray[np.int64]


def load_tokenizer(weights: Weights) -> Tokenizer:
    """The model's tokeniser, which neither pads nor cuts."""
    tokenizer = Tokenizer.from_file(str(weights.tokenizer_file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def load_cutting_tokenizer(weights: Weights) -> Tokenizer:
    """The same, but texts are cut after 256 word pieces, [CLS] and [SEP] included."""
    tokenizer = load_tokenizer(weights)
    tokenizer.enable_truncation(max_length=MAX_LENGTH)
    return tokenizer


def tokenise(tokenizer: Tokenizer, texts: Sequence[str]) -> Pieces:
    """Word pieces of `texts`. Texts that differ only in what the model does not see share one entry.

    Lone surrogates, which broken files bring, are read as question marks.
    """
    readable = [text.encode("utf-8", _UNENCODABLE).decode("utf-8") for text in texts]
    known: dict[tuple[int, ...], int] = {}
    encoded = tokenizer.encode_batch_fast(readable)
    numbers = [known.setdefault(tuple(each.ids), len(known)) for each in encoded]
    return Pieces([list(ids) for ids in known], np.asarray(numbers, dtype=np.int64))


def plan_batches(unique: Sequence[list[int]], max_texts: int, max_pieces: int) -> Iterator[Batch]:
    """Batches of texts of similar length, longest first, cut where that makes all of them cheapest together.

    A batch holds at most `max_texts` texts and at most `max_pieces` word pieces with padding, but always one text.
    """
    order = np.argsort([-len(ids) for ids in unique], kind="stable")
    start = 0
    for count in _cheapest([len(unique[row]) for row in order], max_texts, max_pieces):
        yield _pad(unique, order[start : start + count], len(unique[order[start]]))
        start += count


def _cheapest(lengths: Sequence[int], max_texts: int, max_pieces: int) -> list[int]:
    """How many texts each batch takes of texts with these falling lengths: fewest passes and least padding together.

    By dynamic programming from the end, where `cost[i]` is what all from text `i` on cost at least.
    """
    cost = [0] * (len(lengths) + 1)
    best = [1] * len(lengths)
    for start in range(len(lengths) - 1, -1, -1):
        longest = lengths[start]
        most = min(max_texts, max(1, max_pieces // longest), len(lengths) - start)
        costs = [count * longest + cost[start + count] for count in range(1, most + 1)]
        least = min(costs)
        best[start] = most - costs[::-1].index(least)  # the larger batch where two cost the same
        cost[start] = _PASS_PIECES + least
    counts, start = [], 0
    while start < len(lengths):
        counts.append(best[start])
        start += best[start]
    return counts


def _pad(unique: Sequence[list[int]], rows: NDArray[np.int64], longest: int) -> Batch:
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        pieces = unique[row]
        ids[place, : len(pieces)] = pieces
        mask[place, : len(pieces)] = 1
    return Batch(rows, ids, mask)
