"""Text that goes round in circles: the way in which small and over-quantised models fail most often."""

from __future__ import annotations

from typing import Final

_LONGEST_PERIOD: Final = 200  # characters
_REPEATED: Final = 200  # characters that must be repetition; a wide Markdown table has fewer
_TIMES: Final = 4
_EVERY: Final = 40  # characters between two looks


class LoopDetector:
    """Feed it text as it comes; `looping` when its end repeats the same characters over and over."""

    def __init__(self) -> None:
        self._tail = ""
        self._unseen = 0
        self.looping = False

    def feed(self, delta: str) -> bool:
        """Take in more text. True as soon as it loops."""
        self._tail = (self._tail + delta)[-_LONGEST_PERIOD * _TIMES :]
        self._unseen += len(delta)
        if self._unseen >= _EVERY:
            self._unseen = 0
            self.looping = self.looping or ends_in_loop(self._tail)
        return self.looping


def ends_in_loop(text: str) -> bool:
    """Whether `text` ends in at least 200 characters that repeat one piece at least four times."""
    for period in range(1, _LONGEST_PERIOD + 1):
        length = max(_REPEATED, period * _TIMES) - period
        if len(text) < length + period:
            return False
        if text[-length:] == text[-length - period : -period]:
            return True
    return False
