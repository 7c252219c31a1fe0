"""Whether an answer says what is wanted, by its words, its numbers and its dates. Pure functions, 0..1.

Words are compared as SQuAD does (Rajpurkar et al. 2016): lower case, no punctuation, no articles. Markers of citations
and Markdown are no words. ROUGE-L is the F-measure over the longest common subsequence (Lin 2004).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

_MARKER: Final = re.compile(r"\s?\[\d{1,3}\]")
_MARKDOWN: Final = re.compile(r"[*_`#|]+")
_ARTICLE: Final = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation + "–—“”‘’…")
_NUMBER: Final = re.compile(
    r"(?P<open>\()?(?P<sign>[-−–])?\s?[$€£¥]?\s?(?P<sign2>[-−])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)\s?(?P<close>\))?"
    r"\s?(?P<scale>%|percent\b|thousand\b|million\b|billion\b|bn\b|mn\b|[kmb]\b)?",
    re.IGNORECASE,
)
_SCALES: Final = {
    "": 1.0, "%": 0.01, "percent": 0.01, "thousand": 1e3, "k": 1e3, "million": 1e6, "mn": 1e6, "m": 1e6,
    "billion": 1e9, "bn": 1e9, "b": 1e9,
}  # fmt: skip
_MONTHS: Final = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_MONTH: Final = "|".join(f"{month}|{month[:3]}\\.?" for month in _MONTHS)
_DATES: Final = (
    re.compile(r"\b(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})\b"),
    re.compile(rf"\b(?P<name>{_MONTH})\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y>\d{{4}})\b", re.IGNORECASE),
    re.compile(rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s+(?P<name>{_MONTH}),?\s+(?P<y>\d{{4}})\b", re.IGNORECASE),
)
TOLERANCE: Final = 0.005  # of the wanted number, for rounding


def plain(text: str) -> str:
    """The text without markers of citations and Markdown, white space folded."""
    return " ".join(_MARKDOWN.sub(" ", _MARKER.sub("", text)).split())


def words(text: str) -> list[str]:
    """The words as they are compared."""
    return _ARTICLE.sub(" ", plain(text).lower().translate(_PUNCTUATION)).split()


def exact_match(answer: str, wanted: Sequence[str]) -> float:
    """1 when the answer is one of those wanted, word for word."""
    said = words(answer)
    return float(any(said == words(each) for each in wanted))


def token_f1(answer: str, wanted: Sequence[str]) -> float:
    """The harmonic mean of precision and recall of words, with the closest of those wanted."""
    said = words(answer)
    return max(
        (_f1(sum((Counter(said) & Counter(each)).values()), said, each) for each in map(words, wanted)), default=0.0
    )


def rouge_l(answer: str, wanted: Sequence[str]) -> float:
    """The F-measure of the longest common subsequence of words, with the closest of those wanted."""
    said = words(answer)
    return max((_f1(_common(said, each), said, each) for each in map(words, wanted)), default=0.0)


def numbers(text: str) -> list[tuple[float, str]]:
    """Every number as it is written, signed, with its scale word in lower case or nothing; (5) is minus 5."""
    found = []
    for match in _NUMBER.finditer(plain(text)):
        value = float(match["digits"].replace(",", ""))
        dash = match["sign"] and (match.start() == 0 or not plain(text)[match.start() - 1].isalnum())
        negative = bool(dash or match["sign2"] or (match["open"] and match["close"]))
        found.append((-value if negative else value, (match["scale"] or "").lower()))
    return found


def wanted_number(wanted: Sequence[str], scale: str) -> tuple[float, str] | None:
    """The number that is wanted, and its scale; None when something else than one number is."""
    if len(wanted) != 1:
        return None
    found = numbers(wanted[0])
    rest = _NUMBER.sub("", plain(wanted[0])).strip(" .$€£¥")
    if len(found) != 1 or rest:
        return None
    return found[0][0], found[0][1] or scale.lower()


def numeric_match(answer: str, wanted: tuple[float, str], tolerance: float = TOLERANCE) -> float:
    """1 when the answer holds the number with its sign and scale.

    A number without a scale word is taken in the wanted scale, as tables head their columns, or as it stands.
    """
    value, scale = wanted
    target = value * _SCALES.get(scale, 1.0)
    for said, own in numbers(answer):
        readings = {said * _SCALES[own]} if own else {said * _SCALES.get(scale, 1.0), said}
        if any(abs(reading - target) <= tolerance * abs(target) for reading in readings):
            return 1.0
    return 0.0


def dates(text: str) -> frozenset[date]:
    """Every full date: 2023-03-31, March 31, 2023 and 31 March 2023."""
    found = set()
    for pattern in _DATES:
        for match in pattern.finditer(text):
            named = match.groupdict().get("name")
            month = [each[:3] for each in _MONTHS].index(named[:3].lower()) + 1 if named else int(match["m"])
            try:
                found.add(datetime(int(match["y"]), month, int(match["d"])).date())
            except ValueError:
                continue  # 31 February
    return frozenset(found)


def date_match(answer: str, wanted: Sequence[str]) -> float:
    """1 when every date of one of those wanted is in the answer."""
    said = dates(answer)
    return float(any(dates(each) <= said for each in wanted if dates(each)))


def quoted(answer: str, patterns: Sequence[str]) -> float:
    """1 when the answer holds every pattern, white space aside."""
    text = " ".join(answer.split())
    return float(all(re.search(pattern, text) for pattern in patterns))


def _f1(common: int, said: Sequence[str], wanted: Sequence[str]) -> float:
    return 2 * common / (len(said) + len(wanted)) if common else float(not said and not wanted)


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence, a row of the table in the bits of one number (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for position, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << position
    everything = (1 << len(first)) - 1
    row = everything
    for word in second:
        both = row & places.get(word, 0)
        row = ((row + both) | (row - both)) & everything
    return len(first) - row.bit_count()
