"""From tokens to text, piece by piece: whole characters only, and nothing of a stop string."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_INCOMPLETE: Final = "�"  # what decoders make of the first bytes of a character
_WINDOW: Final = 24  # tokens that are decoded again for the next one; longer only while no character ends
_KEPT: Final = 6


class StreamedText:
    """The text of a growing list of tokens. What is given out is never taken back.

    The pieces together are `decode(tokens)` up to the first of the `stop` strings, without an incomplete character at
    the end.
    """

    def __init__(self, decode: Callable[[list[int]], str], stop: tuple[str, ...] = ()) -> None:
        self._decode = decode
        self._stop = tuple(each for each in stop if each)
        self._tokens: list[int] = []  # the last ones
        self._done = 0  # characters of `decode(_tokens)` that were taken
        self._held = ""  # text that may be the beginning of a stop string
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that is certain now, often nothing. `stopped` is true from the first stop string on."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        whole = text.removesuffix(_INCOMPLETE)
        new, self._done = whole[self._done :], max(self._done, len(whole))
        if whole == text:
            self._slide(text)
        return self._until_stop(new)

    def flush(self) -> str:
        """The text that was held back, at the end of the generation."""
        held, self._held = ("" if self.stopped else self._held), ""
        return held

    def _slide(self, text: str) -> None:
        """Forget tokens, where what is left decodes to the end of the same text."""
        if len(self._tokens) > _WINDOW:
            rest = self._tokens[-_KEPT:]
            shorter = self._decode(rest)
            if shorter and text.endswith(shorter) and not shorter.startswith(_INCOMPLETE):
                self._tokens, self._done = rest, len(shorter)

    def _until_stop(self, new: str) -> str:
        text = self._held + new
        found = [position for each in self._stop if (position := text.find(each)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = self._beginning_of_stop(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _beginning_of_stop(self, text: str) -> int:
        """The length of the longest end of `text` with which a stop string begins."""
        longest = min(len(text), max((len(each) - 1 for each in self._stop), default=0))
        return next((n for n in range(longest, 0, -1) if any(s.startswith(text[-n:]) for s in self._stop)), 0)
