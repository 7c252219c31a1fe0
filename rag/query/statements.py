"""Generated text, cut into statements while it streams; each ends with its markers, its line or its table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rag.query.sentences import sentence_spans

MARKER: Final = re.compile(r"(?<!\\)\[(\d{1,3})\]")
_MARKERS_END: Final = re.compile(r"(?<!\\)\[\d{1,3}\](?:\s?\[\d{1,3}\])*[.!?]?(?=\s)")
_TRAILING: Final = re.compile(r"\s?(?<!\\)\[\d{1,3}\](?:\s?\[\d{1,3}\])*[.!?]?\s*$")
_LIST_MARK: Final = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")


@dataclass(frozen=True, slots=True)
class Statement:
    """A piece of generated text. `gap` is the white space and list mark before it; `text` still carries its markers."""

    gap: str
    text: str

    @property
    def markers(self) -> tuple[int, ...]:
        """The markers in the order of their first use."""
        return tuple(dict.fromkeys(int(number) for number in MARKER.findall(self.text)))

    @property
    def is_table(self) -> bool:
        """True for a Markdown table."""
        return self.text.startswith("|")


def sentences_of(statement: Statement) -> list[Statement]:
    """The sentences of a statement, each of which needs markers of its own; a table stays whole."""
    if statement.is_table:
        return [statement]
    trailing = _TRAILING.search(statement.text)
    spans = sentence_spans(statement.text, 0, trailing.start() if trailing else None)
    ends = [*(each.end for each in spans[:-1]), len(statement.text)]
    starts = [each.start for each in spans]
    return [
        Statement(statement.gap if index == 0 else " ", statement.text[start:end])
        for index, (start, end) in enumerate(zip(starts, ends, strict=True))
    ] or [statement]


class StatementSplitter:
    """Feed it text as it comes; it gives back every statement once that is complete."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, delta: str) -> Iterator[Statement]:
        """The statements that `delta` completes."""
        self._text += delta
        while (end := _end_of_statement(self._text)) is not None:
            piece, self._text = self._text[:end], self._text[end:]
            yield _statement(piece)

    def flush(self) -> Iterator[Statement]:
        """What is left when no more text comes."""
        yield from self.feed("\n")
        if self._text.strip():
            yield _statement(self._text.rstrip())
        self._text = ""


def _statement(piece: str) -> Statement:
    body = piece.lstrip()
    gap = piece[: len(piece) - len(body)]
    mark = _LIST_MARK.match(body)
    if mark:
        gap, body = gap + mark.group(), body[mark.end() :]
    return Statement(gap, body)


def _end_of_statement(text: str) -> int | None:
    begin = len(text) - len(text.lstrip())
    if begin == len(text):
        return None
    if text[begin] == "|":
        return _end_of_table(text, begin)
    line_end = text.find("\n", begin)
    match = _MARKERS_END.search(text, begin, line_end + 1 if line_end >= 0 else len(text))
    if match:
        return match.end()
    return line_end if line_end >= 0 else None


def _end_of_table(text: str, begin: int) -> int | None:
    """The end of the last line that starts with a bar, known only once another line has begun or the text is over."""
    position = begin
    while (line_end := text.find("\n", position)) >= 0:
        following = text[line_end + 1 : line_end + 2]
        if following != "|":
            return line_end if following else None
        position = line_end + 1
    return None
