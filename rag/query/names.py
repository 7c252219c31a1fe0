"""Which documents a question names: companies, products and periods that stand in titles.

A question about 3M in 2022 is about the documents of that title, however well another filing fits its words. Only
words written like names count (a capital or a digit), because titles of rulebooks are made of the words of their
subject: there every question would name some document, and ranking would suffer.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

from rag.query.words import STOP_WORDS, stem

_WORD: Final = re.compile(r"[^\W_]+")
_PART: Final = re.compile(r"[^\W\d_]+|\d+")
_SHORT_NAME: Final = re.compile(r"\d{1,2}[a-z]{1,2}|[a-z]\d{1,2}")  # 3m, 10q, q2, g7: whole, unlike fy2022 and 2023q2
_SENTENCE_START: Final = re.compile(r"(?:^|[.!?:;])[\s\"'“‘(]*$")
_YEAR_DIGITS: Final = 4
_LOOK_BACK: Final = 4  # characters in which a sentence's end and an opening quotation mark fit
_POSSESSIVE: Final = re.compile(r"['’]s\b")


def named(question: str) -> frozenset[str]:
    """The names in a question, folded: single words, and neighbours run together, as file names write them."""
    groups: list[list[str]] = [[]]
    for match in _WORD.finditer(_POSSESSIVE.sub("", question)):
        if _is_name(match):
            groups[-1].extend(_parts(match.group()))
        else:
            groups.append([])
    return frozenset(each for group in groups for each in _folded(group))


def _is_name(match: re.Match[str]) -> bool:
    """A word with a digit, in capitals, or with a capital that does not come from the start of a sentence."""
    word = match.group()
    if word.lower() in STOP_WORDS:
        return False
    if word.isupper() or any(map(str.isdigit, word)):
        return True
    before = match.string[max(0, match.start() - _LOOK_BACK) : match.start()]
    return word[0].isupper() and _SENTENCE_START.search(before) is None


@lru_cache(maxsize=65_536)
def title_words(title: str) -> frozenset[str]:
    """The words of a title in the form of `named`."""
    words = [part for word in _WORD.findall(_POSSESSIVE.sub("", title)) for part in _parts(word)]
    return frozenset(_folded([word for word in words if word not in STOP_WORDS]))


def matches(question: str, titles: Mapping[str, str]) -> dict[str, float]:
    """For each document id how well its title bears the names in the question, 0..1; a name in every title is worth 0.

    `titles` are those of the documents between which the ranking has to choose.
    """
    asked = named(question)
    if not asked or len(titles) < 2:
        return dict.fromkeys(titles, 0.0)
    found = {document_id: asked & title_words(title) for document_id, title in titles.items()}
    frequency = Counter(word for words in found.values() for word in words)
    worth = {word: math.log(len(titles) / count) / math.log(len(titles)) for word, count in frequency.items()}
    sums = {key: sum(worth[word] for word in words) for key, words in found.items()}
    full = max(1.0, *sums.values())
    return {key: borne / full for key, borne in sums.items()}


def _parts(word: str) -> list[str]:
    """A word in lower case, cut where letters meet digits: FY2022 holds 2022, and 2023Q2 holds 2023 and q2."""
    low = word.lower()
    if _SHORT_NAME.fullmatch(low):
        return [low]
    parts: list[str] = []
    for part in _PART.findall(low):
        if parts and part.isdigit() and len(part) == 1 and parts[-1] == "q":
            parts[-1] += part
        else:
            parts.append(part)
    return [part for part in parts if part != "fy"]


def _folded(words: Sequence[str]) -> list[str]:
    """Single words and neighbours run together; a bare number counts only as a year, for rules are full of others."""
    single = [stem(word) for word in words if len(word) > 1 and (not word.isdigit() or len(word) == _YEAR_DIGITS)]
    return [*single, *(first + second for first, second in pairwise(words))]
