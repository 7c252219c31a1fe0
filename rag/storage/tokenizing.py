"""Text as the lexical index sees it: the same terms from documents and from questions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from rag.query.words import stem

_LONGEST_TERM = 48  # characters; nobody types more, and random strings would fill the dictionary
# A dotted reference such as 5.1.1 or 1005.6 is one term; so is each character of a script without spaces.
_TERM: Final = re.compile(
    "[0-9]+(?:[.,][0-9]+)+"
    "|[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]"
    "|[^\\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+"
)
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
# Words of grammar and of asking. Negations and modal verbs too: rules are so full of them that they tell nothing.
_GRAMMAR: Final = """
    a about also an and any are as at be been between but by can could do does did during example explain for from
    had has have he her his how i if in into is it its may must no not of on or our please provide s shall she should
    so such t than that the their them then there these they this those to under was we were what when where which
    while who whom why will with within would you your
"""
_STOP_WORDS: Final = frozenset(_GRAMMAR.split())


def terms(text: str) -> list[str]:
    """The terms of `text` in order: lower case, without accents, stop words left out, words of one family as one."""
    return [
        stem(word) if word.isalpha() else word.replace(",", "")
        for word in _TERM.findall(_plain(text))
        if len(word) <= _LONGEST_TERM and word not in _STOP_WORDS
    ]


def pairs(found: Sequence[str]) -> list[str]:
    """Each two neighbouring terms as one, such as "unauthor_transfer": a phrase tells more than scattered words."""
    return [f"{first}_{second}" for first, second in pairwise(found)]


def _plain(text: str) -> str:
    """Lower case, without accents and invisible characters."""
    lowered = text.lower()
    if lowered.isascii():
        return lowered
    decomposed = unicodedata.normalize("NFKD", _INVISIBLE.sub("", lowered))
    return unicodedata.normalize("NFC", "".join(each for each in decomposed if unicodedata.category(each) != "Mn"))
