"""Sentence vectors that are computed once: the decision whether to answer and the engine look at the same sentences."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_REMEMBERED: Final = 8192  # sentences; 1.5 KiB each


class Encoder(Protocol):
    """What turns texts into L2-normalised vectors, `float32[n, d]`, in the same order."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row for each text."""


class SentenceEncoder(Encoder, Protocol):
    """An encoder of sentences that shows its tokenizer, such as `MiniLM` or `SentenceVectors`."""

    @property
    def tokenizer(self) -> Any:
        """A `tokenizers.Tokenizer` over BERT's uncased vocabulary."""


class SentenceVectors:
    """Remembers the vectors of the sentences used last. Thread-safe.

    `beside` is looked into first: another one, whose encoder makes vectors that are as good.
    """

    def __init__(
        self, encoder: SentenceEncoder, remembered: int = _REMEMBERED, beside: SentenceVectors | None = None
    ) -> None:
        self._encoder = encoder
        self._remembered = remembered
        self._beside = beside
        self._known: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the encoder behind."""
        return self._encoder.tokenizer

    def known(self, texts: Sequence[str]) -> dict[str, Vectors]:
        """The vectors of those texts that are remembered."""
        with self._lock:
            return {text: self._known[text] for text in texts if text in self._known}

    def embed(self, texts: Sequence[str]) -> Vectors:
        """`float32[n, d]`, L2-normalised; only texts that are not remembered are computed."""
        rows = (self._beside.known(texts) if self._beside else {}) | self.known(texts)
        new = [text for text in dict.fromkeys(texts) if text not in rows]
        if new:
            rows.update(zip(new, self._encoder.embed(new), strict=True))
        with self._lock:
            for text in texts:
                self._known[text] = rows[text]
                self._known.move_to_end(text)
            while len(self._known) > self._remembered:
                self._known.popitem(last=False)
        return np.stack([rows[text] for text in texts]) if texts else np.zeros((0, 0), dtype=np.float32)
