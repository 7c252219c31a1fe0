"""What a question asks for: the kind of answer, the names and the periods that a passage must be about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from rag.query.words import STOP_WORDS, also_called, stem, tokens

AnswerType = Literal["time", "money", "percent", "number", "person", "definition", "reason", "duty"]

_NUMBER: Final = (
    "(?:one|two|three|four|five|six|seven|eight|nine|ten|fifteen|twenty|thirty|forty|forty-five|sixty|ninety|\\d+)"
)
# What a question looks like that asks for this kind of answer …
_ASKS: Final[dict[AnswerType, str]] = {
    "time": r"\b(?:deadlines?|when|how (?:long|soon|quickly|fast|early|late|often)|time (?:limits?|frames?|periods?)"
    r"|how many (?:\w+ )?(?:days|weeks|months|years)|by what date|timing|due)\b",
    "money": r"\b(?:how much|liab(?:le|ility)|amounts?|costs?|fees?|charges?|price|revenues?|sales|income|profit"
    r"|spen[dt]|expenses?|cash|debt|maximum|minimum|limits?|threshold|inventor(?:y|ies)|capital|losses)\b",
    "percent": r"%|\b(?:percent(?:age)?|rates?|proportion|share of|margin|ratio)\b"
    r"|\bhow much did .* (?:grow|increase|decrease)\b",
    "number": r"\bhow many\b|\bnumber of\b",
    "person": r"^\s*(?:who|whose|whom)\b|\bwho (?:is|are|must|may|can|should)\b",
    "definition": r"^\s*what (?:is|are)(?: an?| the)?"
    r" (?:(?!deadline|limit|rule|requirement|fee|amount|rate)[\w'-]+ ?){1,4}\?*\s*$|^\s*define\b"
    r"|\b(?:definition|meaning|mean|counts? as|considered|qualif(?:y|ies) as|defined)\b",
    "reason": r"\b(?:why|reasons?|drivers?|drove|driven|factors?|causes?|caused|contribut\w+|due to)\b",
    "duty": r"\b(?:must|need to|ha(?:s|ve) to|required?|requirements?|allowed|permitted|can|may|could|prohibited"
    r"|forbidden|obliged|obligations?|mandatory|should|rules?)\b",
}
# … and what a sentence looks like that gives it.
_ANSWERS: Final[dict[AnswerType, str]] = {
    "time": rf"\b{_NUMBER}[- ](?:business |calendar |consecutive )?(?:minute|hour|day|week|month|year)s?\b"
    r"|\b(?:promptly|immediately|no later than|at least annually|not later than)\b",
    "money": r"[$€£]\s?\d|\b\d[\d,.]* (?:million|billion|dollars)\b",
    "percent": r"\d\s?%|\bpercent\b",
    "number": rf"\b{_NUMBER}\b",
    "person": r"\b\w+ (?:shall|must|may|is|are)\b",
    "definition": r"\b(?:means|the term|is defined|does not include|refers to|includes?)\b",
    "reason": r"\b(?:due (?:primarily |mainly )?to|because|driven|reflect(?:s|ing|ed)|as a result|partially offset"
    r"|caused|primarily)\b",
    "duty": r"\b(?:must|shall|may(?: not)?|required|prohibited|permitted|need not|is not)\b",
}
_TYPES: Final = tuple(
    (name, re.compile(_ASKS[name], re.IGNORECASE), re.compile(_ANSWERS[name], re.IGNORECASE)) for name in _ASKS
)
_FOCUS: Final = re.compile(
    r"^\s*(?:what|which)\s+(?:is|are|was|were)\s+(?:the\s+)?(.+?)"
    r"(?=\s+(?:for|in|on|of|to|when|if|that|does|do|did|must|can|may|should|is|are|was|were|under|by|at|during|after"
    r"|before)\b|[?.]|$)",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"(?<![.?!]\s)(?<!^)\b(?:[A-Z][A-Za-z]*[a-z][A-Za-z]*|[A-Z]{3,})(?:['’]s)?\b")
_YEAR: Final = re.compile(r"\b(?:19|20)\d\d\b")
_QUARTER: Final = re.compile(r"\bQ([1-4])\b|\b(first|second|third|fourth) (?:fiscal )?quarter\b", re.IGNORECASE)
_QUARTER_OF_YEAR: Final = re.compile(
    r"\b(?:Q([1-4])|(first|second|third|fourth) (?:fiscal )?quarter)(?:\s+of)?(?:\s+fiscal)?(?:\s+year)?\s+"
    r"((?:19|20)\d\d)\b",
    re.IGNORECASE,
)
_QUARTER_END: Final = re.compile(
    r"\bquarter(?:ly period)? ended\s+([A-Z][a-z]{2,8})\.?\s+(\d{1,2}),\s+((?:19|20)\d\d)", re.IGNORECASE
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ORDINALS: Final = {"first": "1", "second": "2", "third": "3", "fourth": "4"}
_SECTION: Final = re.compile(r"(?:§+|section|rule|part|article)\s*(\d+(?:\.\d+)*)|\b(\d{2,4}\.\d+)\b", re.IGNORECASE)
_REGULATION: Final = re.compile(r"\b[Rr]egulation\s+([A-Z]{1,2})\b")
_NO_NAMES: Final = (
    "i q1 q2 q3 q4 gaap form sec llc inc usd us regulation rule section part article act what how which who when"
)
_NOT_NAMES: Final = frozenset(_NO_NAMES.split())


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, read.

    `terms` are the stems of its content words, each with the stems of what it is also called; `focus` are
    those of the thing asked for, as in "what is [the deadline] for …"; `names` are lower-case
    words; `periods` are years ("2023"), quarters ("q3") and quarters of a year ("q3 2023").
    """

    text: str
    terms: Mapping[str, frozenset[str]]
    focus: frozenset[str]
    types: frozenset[AnswerType]
    names: frozenset[str]
    periods: frozenset[str]
    sections: frozenset[str]


@lru_cache(maxsize=256)
def read_question(text: str) -> Asked:
    """What `text` asks for. Words of a name count as terms, too."""
    return Asked(
        text=text,
        terms=_terms(text),
        focus=_focus(text),
        types=_types(text),
        names=_names(text),
        periods=periods(text),
        sections=references(text),
    )


def _types(text: str) -> frozenset[AnswerType]:
    found = {name for name, asks, _ in _TYPES if asks.search(text)}
    if found & {"time", "percent", "number", "definition"} or "how much" in text.lower():
        found.discard("duty")  # "how long do I have to" asks for a time
    return frozenset(found)


def _terms(text: str) -> dict[str, frozenset[str]]:
    """The content words, each with what it is also called; "good faith estimate" is also called GFE."""
    words = tokens(text)
    called = {word: also_called(word) for word in words if word not in STOP_WORDS}
    for length in (3, 4):
        for start in range(len(words) - length + 1):
            phrase = words[start : start + length]
            if all(word in called for word in phrase):
                acronym = stem("".join(word[0] for word in phrase))
                called.update({word: called[word] | {acronym} for word in phrase})
    return {stem(word): others for word, others in called.items()}


def _focus(text: str) -> frozenset[str]:
    match = _FOCUS.match(text)
    return frozenset(stem(word) for word in tokens(match[1]) if word not in STOP_WORDS) if match else frozenset()


def answers_type(types: frozenset[AnswerType], sentence: str) -> float:
    """The share, 0..1, of the expected kinds of answer that `sentence` could be; 0.5 when none is expected."""
    expected = [answers for name, _, answers in _TYPES if name in types]
    if not expected:
        return 0.5
    return sum(1 for answers in expected if answers.search(sentence)) / len(expected)


def periods(text: str) -> frozenset[str]:
    """The years, the quarters and the quarters of a year that `text` names, "quarter ended July 30, 2023" included.

    A quarter counts for the calendar quarter whose end is nearest; companies with other fiscal years name theirs.
    """
    named = {f"q{digit or _ORDINALS[word.lower()]}" for digit, word in _QUARTER.findall(text)}
    for digit, word, year in _QUARTER_OF_YEAR.findall(text):
        named.add(f"q{digit or _ORDINALS[word.lower()]} {year}")
    for month, day, year in _QUARTER_END.findall(text):
        named |= _calendar_quarter(month, int(day), year)
    return frozenset(_YEAR.findall(text)) | named


def _calendar_quarter(month: str, day: int, year: str) -> set[str]:
    """The quarter whose end is nearest to this day: July 30 and September 30 end the second and the third."""
    months = _MONTHS.index(month[:3].lower()) + day / 31  # since the year began
    quarter = round(months / 3) or 4
    return {f"q{quarter}", f"q{quarter} {int(year) - (months < 1.5)}"}


def references(text: str) -> frozenset[str]:
    """What `text` refers to by number or letter: sections and rules ("1005.6") and regulations ("regulation z")."""
    numbers = {first or second for first, second in _SECTION.findall(text)}
    return frozenset(numbers | {f"regulation {letter.lower()}" for letter in _REGULATION.findall(text)})


def _names(text: str) -> frozenset[str]:
    found = {match.group().removesuffix("'s").removesuffix("’s").lower() for match in _NAME.finditer(text)}
    first = re.match(r"\s*([A-Z][A-Za-z]+)(?:['’]s)\b", text)  # "Apple's revenue in …"
    if first:
        found.add(first[1].lower())
    return frozenset(name for name in found if name not in _NOT_NAMES and name not in STOP_WORDS)


def mentions(names: frozenset[str], text: str) -> bool:
    """True when any of the names occurs in `text`, or there is none to look for."""
    if not names:
        return True
    wanted = {stem(name) for name in names}
    return any(stem(word) in wanted for word in tokens(text))
