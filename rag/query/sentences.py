"""Sentences of legal text and filings, with their character offsets: `text[each.start:each.end]` is the sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_BOUNDARY: Final = re.compile(r"[.!?](?:[\"”’')\]]{0,3})(?=\s+[\"“‘'(\[]{0,2}(?:[A-Z0-9§]))")
_LAST_WORD: Final = re.compile(r"(\S+)$")
# After these a full stop ends no sentence, whatever follows.
_NEVER: Final = """
    no nos sec secs § art arts par para pars fig figs eq vol pp p cf e.g i.e eg ie viz etc. al vs v mr mrs ms dr prof st
    gen rep sen hon jr sr dept est approx supp stat reg regs fed cir ch cl pt ed eds rev seq ex app jan feb mar apr jun
    jul aug sep sept oct nov dec
"""
# After these it ends one only when the next word opens a sentence.
_SOMETIMES: Final = "inc corp co ltd llc plc u.s u.s.c u.k e.u n.a l.p a.m p.m etc d.c u.n s.a n.v"
_OPENING: Final = """
    a an the in on at as for if when while we our it its this that these those they such each any no all under during
    to by with from there however also upon where what how who you your
"""
_ABBREVIATIONS: Final = frozenset(_NEVER.split())
_DOUBTFUL: Final = frozenset(_SOMETIMES.split())
_OPENERS: Final = frozenset(_OPENING.split())


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of some text."""

    start: int
    end: int


def sentence_spans(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """The sentences in `text[start:end]`, in order, without the white space around them."""
    end = len(text) if end is None else end
    spans, begin = [], start
    for match in _BOUNDARY.finditer(text, start, end):
        if _ends_sentence(text, begin, match):
            spans.append(Span(begin, match.end()))
            begin = match.end()
    spans.append(Span(begin, end))
    return [each for each in (trimmed(text, span) for span in spans) if each.start < each.end]


def trimmed(text: str, span: Span) -> Span:
    """`span` without the white space at its ends."""
    start, end = span.start, span.end
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end)


def _ends_sentence(text: str, begin: int, match: re.Match[str]) -> bool:
    if text[match.start()] != ".":
        return True
    before = _LAST_WORD.search(text[max(begin, match.start() - 40) : match.start()])
    word = before.group(1).lstrip("(\"“‘'[") if before else ""
    following = text[match.end() : match.end() + 40].split(None, 1)
    next_word = following[0].strip("\"“‘'([,").lower() if following else ""
    if word.lower() in _ABBREVIATIONS:
        return False
    if word.lower() in _DOUBTFUL:
        return next_word in _OPENERS
    if re.fullmatch(r"[A-Z]", word):  # an initial, or a letter that numbers something
        return next_word in _OPENERS
    # "1. First item": a number that opens a line is no sentence.
    return not (re.fullmatch(r"\(?(?:\d{1,2}|[ivxlc]{1,5})", word) and text[begin : match.start()].strip() == word)
