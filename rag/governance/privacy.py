"""Personal data in text: found by pattern and checksum, and taken out. Linear in the length of the text.

Digits are looked for as people write and hide them: full-width, with invisible characters, in groups. What is found is
given in the positions of the original text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import phonenumbers
from stdnum import iban, luhn
from stdnum.us import ssn

Kind = Literal["account", "card", "email", "iban", "ip", "phone", "ssn"]

_GAP: Final = r"[ .\-/]?"
_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,5}")
_IBAN: Final = re.compile(r"\b[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}")
_CARD: Final = re.compile(rf"(?<!\d)\d(?:{_GAP}\d){{11,18}}(?!\d)")
_SSN: Final = re.compile(r"(?<!\d)\d{3}[ \-]\d{2}[ \-]\d{4}(?!\d)")
_IP: Final = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
_ACCOUNT: Final = re.compile(
    r"(?i)\b(?:account|acct|customer|client|reference)\.?(?: (?:no|number|id))?\.?[ :#]{1,3}(\d{6,18})\b"
)
# Beginnings and lengths of the schemes' card numbers, ISO/IEC 7812.
_SCHEMES: Final = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|4[4-9]\d|5\d\d)\d{12}|35\d{14}|(?:2131|1800)\d{11}|62\d{14,17}"
    r"|(?:5018|5020|5038|6304|6390|67[56]\d)\d{8,15}"
)


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Characters `start` to `end` of the text hold something of this kind."""

    kind: Kind
    start: int
    end: int


def find(text: str, region: str = "US") -> list[PersonalData]:
    """Everything found, in order, without overlaps: a checksummed number wins over what merely looks like a phone's.

    `region` is where a phone number without a country code belongs, ISO 3166 alpha-2.
    """
    plain, places = _plain(text)
    taken: list[PersonalData] = []
    for detect in _DETECTORS:
        taken += [each for each in detect(plain) if not _overlaps(each, taken)]
    taken += [each for each in _phones(plain, region) if not _overlaps(each, taken)]
    found = [PersonalData(each.kind, places[each.start], places[each.end - 1] + 1) for each in taken]
    return sorted(found, key=lambda each: each.start)


def scrub(text: str, region: str = "US") -> str:
    """The text with `[card]`, `[email]` and so on in the place of personal data."""
    pieces = []
    end = 0
    for each in find(text, region):
        pieces += [text[end : each.start], f"[{each.kind}]"]
        end = each.end
    return "".join([*pieces, text[end:]])


def _plain(text: str) -> tuple[str, list[int]]:
    """The text without invisible characters and with ordinary digits; and where each character of it came from."""
    characters, places = [], []
    for place, character in enumerate(text):
        if unicodedata.category(character) in ("Cf", "Mn"):
            continue
        for made in unicodedata.normalize("NFKC", character):
            characters.append("-" if unicodedata.category(made) == "Pd" else made)
            places.append(place)
    return "".join(characters), places


def _overlaps(one: PersonalData, others: list[PersonalData]) -> bool:
    return any(one.start < other.end and other.start < one.end for other in others)


def _matches(
    kind: Kind, pattern: re.Pattern[str], holds: Callable[[str], bool]
) -> Callable[[str], Iterator[PersonalData]]:
    def detect(text: str) -> Iterator[PersonalData]:
        for match in pattern.finditer(text):
            group = match.re.groups  # the number alone, where the pattern also holds the words before it
            if holds(match[group]):
                yield PersonalData(kind, *match.span(group))

    return detect


def _ibans(text: str) -> Iterator[PersonalData]:
    """The pattern may run on into the next word, so the longest beginning with a right checksum counts."""
    for match in _IBAN.finditer(text):
        for end in range(match.end(), match.start() + 14, -1):
            if text[end - 1] != " " and iban.is_valid(text[match.start() : end]):
                yield PersonalData("iban", match.start(), end)
                break


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return bool(_SCHEMES.fullmatch(digits)) and bool(luhn.is_valid(digits))


def _is_ssn(text: str) -> bool:
    return bool(ssn.is_valid(re.sub(r"\D", "-", text)))


def _is_ip(text: str) -> bool:
    return all(int(part) <= 255 for part in text.split("."))


def _phones(text: str, region: str) -> Iterator[PersonalData]:
    for match in phonenumbers.PhoneNumberMatcher(text, region):
        yield PersonalData("phone", match.start, match.end)


_DETECTORS: Final[tuple[Callable[[str], Iterator[PersonalData]], ...]] = (
    _matches("email", _EMAIL, lambda _: True),
    _ibans,
    _matches("card", _CARD, _is_card),
    _matches("ssn", _SSN, _is_ssn),
    _matches("ip", _IP, _is_ip),
    _matches("account", _ACCOUNT, lambda _: True),
)
