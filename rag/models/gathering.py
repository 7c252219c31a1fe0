"""Merges texts that threads bring one by one, at the same time, into one forward pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Encode = Callable[[Sequence[list[int]]], NDArray[np.float32]]


@dataclass(slots=True, eq=False)
class _Text:
    """A text's word pieces, and what became of it. `turn` is set when it is done, or when it is its turn to lead."""

    ids: list[int]
    turn: threading.Event = field(default_factory=threading.Event)
    vector: NDArray[np.float32] | None = None
    error: BaseException | None = None


class Gathering:
    """`encode` for many threads: while passes run, later texts wait, and those of like length go together.

    A network reads all its weights in every pass, so four questions in one pass cost each three quarters of what one
    alone costs; padding would eat that up. Nobody waits for company: a text leaves at once while a pass is free.
    """

    def __init__(self, encode: Encode, passes: int, most: int) -> None:
        """At most `passes` run at the same time, with at most `most` texts each."""
        self._encode = encode
        self._most = most
        self._free = passes
        self._waiting: list[_Text] = []
        self._lock = threading.Lock()

    def encode(self, ids: list[int]) -> NDArray[np.float32]:
        """The vector float32[384] of one text's word pieces. Raises what its pass raised."""
        mine = _Text(ids)
        with self._lock:
            leads = self._free > 0
            if leads:
                self._free -= 1
            else:
                self._waiting.append(mine)
        if not leads:
            mine.turn.wait()
        if mine.vector is None and mine.error is None:
            self._lead(mine)
        if mine.error is not None:
            raise mine.error
        assert mine.vector is not None  # noqa: S101 - one of both was set
        return mine.vector

    def _lead(self, mine: _Text) -> None:
        """Run one pass for this text and those like it that wait, then hand the pass to whoever waits longest."""
        together = [mine, *self._companions(mine)]
        try:
            for each, vector in zip(together, self._encode([each.ids for each in together]), strict=True):
                each.vector = vector
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must not wait for ever
            for each in together:
                each.error = error
        finally:
            with self._lock:
                following = self._waiting.pop(0) if self._waiting else None
                self._free += following is None
        for each in (*together[1:], *([following] if following else ())):
            each.turn.set()

    def _companions(self, mine: _Text) -> list[_Text]:
        length = len(mine.ids)
        with self._lock:
            like = [each for each in self._waiting if abs(len(each.ids) - length) * 8 <= length][: self._most - 1]
            self._waiting = [each for each in self._waiting if each not in like]
        return like
