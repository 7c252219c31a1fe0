"""Numbers as banks write them: sign, percent, currency, scale word, basis points, dates, quarters, references."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

Unit = Literal["", "percent", "money"]
Kind = Literal["amount", "year", "period", "reference"]

SCALES: Final = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_SHORT: Final = {"k": 1e3, "m": 1e6, "mn": 1e6, "mm": 1e6, "bn": 1e9, "b": 1e9, "tn": 1e12}
_UNITS: Final = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS: Final = {word: value for value, word in enumerate(f"{_UNITS} sixteen seventeen eighteen nineteen".split())} | {
    word: 10 * value for value, word in enumerate(_TENS.split(), 2)
}
_QUARTERS: Final = {"first": 1, "second": 2, "third": 3, "fourth": 4}
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_YEAR: Final = r"(?:19|20)\d\d"
_SCALE: Final = r"(?:[\s-]?(?P<scale>hundred|thousand|million|billion|trillion)s?\b|\s?(?P<short>k|mn|mm|bn|tn|m|b)\b)?"
_PER: Final = r"(?:[\s-]?(?P<percent>%|per\s?cent\b|percentage\spoints?\b|pct\b)|\s?(?P<bps>bps?\b|basis\spoints?\b))?"
_CURRENCY: Final = r"(?:(?:US|C|A|HK)?[$€£¥]|\b(?:USD|EUR|GBP)\s)"
_DIGITS: Final = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|(?<!\d)\.\d+)"
_WORD: Final = rf"(?:{'|'.join(_TENS.split())})-(?:one|two|three|four|five|six|seven|eight|nine)|{'|'.join(_WORDS)}"


@dataclass(frozen=True, slots=True)
class Number:
    """A number at `start` to `end` of a text.

    `value` is signed and without its scale; a percentage is in percent (25 basis points are 0.25). `scale` is what its
    own scale word says, None where it has none. `step` is the unit of its last printed digit, in the unit of `value`.
    `period` is a date (2019-09-30, 09-30), a quarter (2019-Q3, Q3) or a reference as it is compared; "" for an amount.
    `bracketed`: it stands in brackets of its own, which make it negative in a table and nothing in a sentence.
    """

    start: int
    end: int
    kind: Kind
    value: float = 0.0
    step: float = 1.0
    scale: float | None = None
    unit: Unit = ""
    period: str = ""
    bracketed: bool = False


@lru_cache(maxsize=4096)
def numbers(text: str) -> tuple[Number, ...]:
    """The numbers in `text`, in order. Number words count with a scale, a unit, or something that banks count."""
    found: list[Number] = []
    free = text
    for pattern, read in _READERS:
        for match in pattern.finditer(free):
            number = read(match)
            if number is not None:
                found.append(number)
        for each in found:  # what is read is not read again as something else
            free = free[: each.start] + "\0" * (each.end - each.start) + free[each.end :]
    return tuple(sorted(found, key=lambda each: each.start))


def agree(stated: Number, source: Number, stated_scale: float | None, source_scale: float | None) -> bool:
    """Whether `stated` is `source`, as it is or rounded to the digits that are stated.

    The scales are those that hold for each: its own word or the header of its table, None where nothing says one; a
    scale that only one side has counts as 1 on the other. A positive number may stand for a negative one, as in
    "a loss of 5"; a negative one not for a positive one.
    """
    if stated.kind != source.kind:
        return False
    if stated.kind != "amount":
        return _same_period(stated, source) if stated.period else stated.value == source.value
    if "percent" in (stated.unit, source.unit) and source.unit not in {stated.unit, ""}:
        return False
    if stated.unit == "percent" and source.unit == "" and source_scale not in (None, 1.0):
        return False
    factor = 1.0 if stated.unit == "percent" else (stated_scale or 1.0) / (source_scale or 1.0)
    value, exact = stated.value * factor, source.value
    if value < 0 < exact and not stated.bracketed:
        return False
    tolerance = 0.5 * stated.step * factor
    return abs(abs(value) - abs(exact)) <= tolerance * (1 + 1e-9) + 1e-12 * abs(exact)


def close(stated: Number, value: float) -> bool:
    """Whether `value`, in the unit of `stated`, is what it states: its sign, and its digits with rounding."""
    return abs(stated.value - value) <= 0.5 * stated.step * (1 + 1e-6) + 1e-12 * abs(value)


def _same_period(stated: Number, source: Number) -> bool:
    """2019-Q3 is Q3, and 2019-09-30 is 2019-09, and the other way round: what only one says does not separate them."""
    longer, shorter = sorted((stated.period, source.period), key=len, reverse=True)
    if longer == shorter or stated.kind != "period":
        return longer == shorter
    return longer.endswith(f"-{shorter}") or longer.startswith(f"{shorter}-")


def _date(match: re.Match[str]) -> Number | None:
    month = _MONTHS.index(match["month"][:3].lower()) + 1
    day = f"{month:02d}-{int(match['day']):02d}"
    return Number(*match.span(), "period", period=f"{match['year']}-{day}" if match["year"] else day)


def _month(match: re.Match[str]) -> Number | None:
    month = _MONTHS.index(match["month"][:3].lower()) + 1
    return Number(*match.span(), "period", period=f"{match['year']}-{month:02d}")


def _iso(match: re.Match[str]) -> Number | None:
    return Number(*match.span(), "period", period=match.group())


def _quarter(match: re.Match[str]) -> Number | None:
    quarter = f"Q{match['digit'] or _QUARTERS[match['word'].lower()]}"
    return Number(*match.span(), "period", period=f"{match['year']}-{quarter}" if match["year"] else quarter)


def _reference(match: re.Match[str]) -> Number | None:
    return Number(*match.span(), "reference", period=match["path"].lower())


def _year_or_amount(match: re.Match[str]) -> Number | None:
    bare = not any(match[part] for part in ("money", "sign", "scale", "short", "percent", "bps"))
    if bare and re.fullmatch(_YEAR, match["digits"]):
        start, end = match.span("digits")
        return Number(start, end, "year", value=float(match["digits"]))
    return _amount(match)


def _amount(match: re.Match[str]) -> Number | None:
    digits = match["digits"].replace(",", "")
    value, step = float(digits), 10.0 ** -len(digits.partition(".")[2])
    opened = match["open"] or match["inner"]
    closed = match["close"] or match["after"]
    # "sixty (60) days" and "$5 (5%)" are no negatives, "(60)" and "$(60) million" are: brackets around nothing else.
    bracketed = bool(opened and closed) and not (match["word"] and not match["scale"] and not match["money"])
    minus = bool(match["sign"]) and _is_minus(match)
    start = match.start() if bracketed or not match["open"] else match.end("open")
    if match["sign"] and not minus:
        start = match.end("sign")
    end = match.end() if not match["word"] else match.start("word")
    if not bracketed and match.string[end - 1] == ")":
        end -= 1
    unit: Unit = "percent" if match["percent"] or match["bps"] else "money" if match["money"] else ""
    if match["bps"]:
        value, step = value / 100, step / 100
    signed = -value if minus or bracketed else value
    return Number(start, end, "amount", signed, step, _scale(match), unit, bracketed=bracketed)


def _is_minus(match: re.Match[str]) -> bool:
    """False for the dash in "5 - 3" and "2-10%": a minus follows no number, and a blank after it no word."""
    before = match.string[: match.start("sign")].rstrip()[-1:]
    if match.string[match.end("sign")].isspace():
        return before in "(|$€£:;"
    return before not in {*"0123456789)%"}


def _number_word(match: re.Match[str]) -> Number | None:
    tens, _, ones = match["word"].lower().partition("-")
    value = float(_WORDS[tens] + (_WORDS[ones] if ones else 0))
    unit: Unit = "percent" if match["percent"] or match["bps"] else ""
    hundredth = 0.01 if match["bps"] else 1.0
    return Number(*match.span(), "amount", value * hundredth, hundredth, _scale(match), unit)


def _scale(match: re.Match[str]) -> float | None:
    if match["scale"]:
        return SCALES[match["scale"].lower()]
    return _SHORT[match["short"].lower()] if match["short"] else None


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_READERS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Number | None]], ...]] = (
    (_compiled(rf"\b{_YEAR}-[01]\d-[0-3]\d\b"), _iso),
    (_compiled(rf"\b(?P<month>{_MONTH})\s+(?P<day>\d{{1,2}})(?:,?\s+(?P<year>{_YEAR}))?(?![\d%]|[.,]\d)"), _date),
    (_compiled(rf"\b(?P<day>\d{{1,2}})\s+(?P<month>{_MONTH})(?:,?\s+(?P<year>{_YEAR}))?(?!\w)"), _date),
    (_compiled(rf"\b(?P<month>{_MONTH}),?\s+(?P<year>{_YEAR})\b"), _month),
    (
        _compiled(
            rf"\b(?:Q(?P<digit>[1-4])|(?P<word>first|second|third|fourth)\s(?:fiscal\s)?quarter)"
            rf"(?:\s+(?:of\s+)?(?:fiscal\s+)?(?:year\s+)?(?P<year>{_YEAR}))?\b"
        ),
        _quarter,
    ),
    (
        _compiled(
            r"(?:§+\s?|\b(?:section|sec\.|article|art\.|part|rule|note|item|regulation|chapter|appendix|paragraph)\s)"
            r"(?P<path>\d+(?:[.-]\d+)*(?:\([a-z0-9]+\))*)"
        ),
        _reference,
    ),
    (_compiled(r"(?<![\w.,])(?P<path>\d+\.\d+(?:\.\d+)+)(?!\w)"), _reference),
    (
        _compiled(
            rf"(?<![\w.,])(?:(?P<open>\()\s?)?(?:(?P<sign>[-−–])\s?(?={_CURRENCY}?\s*\.?\d))?(?:(?P<money>{_CURRENCY})\s*)?"
            rf"(?P<inner>\()?(?P<digits>{_DIGITS})(?P<close>\))?{_SCALE}{_PER}(?P<after>\))?(?!\d)(?P<word>\s?[a-z])?"
        ),
        _year_or_amount,
    ),
    (
        _compiled(
            rf"\b(?P<word>{_WORD})(?=[\s-](?:hundred|thousand|million|billion|trillion|percent|per\scent|basis|business"
            rf"|calendar|days?|weeks?|months?|years?)\b){_SCALE}{_PER}"
        ),
        _number_word,
    ),
)
