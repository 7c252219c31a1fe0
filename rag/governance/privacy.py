"""Personal data in text: found by pattern and checksum, and taken out. Linear in the length of the text.

Everything starts from what is rare in ordinary text: a stretch with six digits or more, an `@`, two letters before two
digits, a word such as "passport". Only there are patterns and checksums tried, each in a window of bounded length.
Digits are looked for as people write and hide them: full-width, with invisible characters, in groups. What is found is
given in the positions of the original text.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Final

import phonenumbers
from stdnum import bic, luhn
from stdnum.cn import ric
from stdnum.us import itin, rtn, ssn

from rag.settings.privacy import Kind

_RUN: Final = re.compile(r"[0-9](?:[ .\-/()]{0,3}[0-9]){5,}")
_DIGITS: Final = re.compile(r"[0-9]+")
_LOCAL: Final = re.compile(r"[A-Za-z0-9._%+\-]{1,64}\Z")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,5}")
_IBAN: Final = re.compile(r"(?<=[A-Za-z][A-Za-z])[0-9]{2}(?=[ \-]?[A-Za-z0-9])")
_IPV4_MIDDLE: Final = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.")
_IPV4: Final = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9]|\.[0-9])")
_IPV6_MIDDLE: Final = re.compile(r":[0-9A-Fa-f]{0,4}:")
_IPV6: Final = re.compile(r"(?<![0-9A-Za-z:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z:])")
_BIC: Final = re.compile(r"\b[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?\b")
_PASSPORT: Final = re.compile(r"\b(?=[A-Z0-9]*[0-9]{3})[A-Z]{0,2}[A-Z0-9]{6,9}\b")
_DATE: Final = re.compile(
    r"(?:19|20)[0-9]{2}[.\-/][0-9]{1,2}[.\-/][0-9]{1,2}|[0-9]{1,2}[.\-/][0-9]{1,2}[.\-/](?:19|20)[0-9]{2}"
)
_PHONE_FORM: Final = re.compile(r"\(?[2-9][0-9]{2}\)?[ .\-]{1,2}[2-9][0-9]{2}[ .\-][0-9]{4}")
# Words before a number that say what it is.
_OF_ACCOUNT: Final = re.compile(
    r"(?i)\b(?:account|acct|customer|client|reference)\.?(?: (?:no|number|id))?\.?[ :#]{1,3}\Z"
)
_OF_ROUTING: Final = re.compile(r"(?i)\b(?:routing|aba|rtn)\b[^0-9]{0,25}\Z")
_OF_SSN: Final = re.compile(r"(?i)\b(?:ssn|social security)\b[^0-9]{0,25}\Z")
_OF_PHONE: Final = re.compile(r"(?i)\b(?:phone|telephone|tel|mobile|cell|call|fax|reach|whatsapp|sms)\b[^0-9]{0,40}\Z")
# Words beside a number that is written in groups, as people write phones.
_NEAR_PHONE: Final = re.compile(
    r"(?i)\b(?:answer(?:ing)?|contact|desk|dial|hotline|messages?|office|ring|text(?:ing)?)\b[^0-9]{0,20}\Z"
)
_AFTER_PHONE: Final = re.compile(r"(?i)\A ?[\-(/] ?(?:cell|fax|home|mobile|office|tel(?:ephone)?|work)\b")
_IN_GROUPS: Final = re.compile(r"\(?[0-9]{1,5}(?:[ \-()]{1,3}[0-9]{1,8}){1,6}")
_BLOCK: Final = 4096  # characters that are made plain together
_LOOK_BACK: Final = 60
_WORD_WINDOW: Final = 40  # after "passport" or "SWIFT"
# Beginnings and lengths of the schemes' card numbers, ISO/IEC 7812.
_SCHEMES: Final = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|4[4-9]\d|5\d\d)\d{12}|35\d{14}|(?:2131|1800)\d{11}"
    r"|62\d{14,17}|(?:5018|5020|5038|6304|6390|67[56]\d)\d{8,15}"
)
_FIRST_OF_CARD: Final = re.compile(r"[2-6]|1[ .\-/()]{0,3}8")
_OF_CARD: Final = re.compile(
    r"(?i)card|credit|debit|visa|master|amex|express|maestro|discover|diners|jcb|unionpay|pay|cvv"
)
_CARD_LENGTHS: Final = range(12, 20)
# Lengths of IBANs by country, from the registry of ISO 13616.
_IBAN_LENGTHS: Final = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FI FO GL NL FK", "19": "MK SI", "20": "AT BA EE KZ LT LU XK MN",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST", "26": "IS TR", "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HU LB NI PL SV", "29": "BR EG PS QA UA", "30": "JO KW MU YE", "31": "MT SC",
        "32": "LC", "33": "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Characters `start` to `end` of the text hold something of this kind."""

    kind: Kind
    start: int
    end: int


class _Plain(dict[int, str]):
    """What `str.translate` makes of a character: ordinary digits and hyphens, nothing of invisible ones."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        made = "" if unicodedata.category(character) in ("Cf", "Mn") else _normal(character)
        self[code] = made
        return made


def _normal(character: str) -> str:
    made = []
    for each in unicodedata.normalize("NFKC", character):
        kind = unicodedata.category(each)
        made.append("-" if kind == "Pd" else str(unicodedata.decimal(each)) if kind == "Nd" else each)
    return "".join(made)


_PLAIN: Final = _Plain()


def find(text: str, regions: Sequence[str] = ("US",)) -> list[PersonalData]:
    """Everything found, in order, without overlaps: a checksummed number wins over what merely looks like a phone's.

    `regions` are where phone numbers without a country code belong, ISO 3166 alpha-2.
    """
    blocks = [] if text.isascii() else [text[at : at + _BLOCK].translate(_PLAIN) for at in range(0, len(text), _BLOCK)]
    plain = "".join(blocks) if blocks else text
    taken = _Taken()
    for detect in (_emails, _ibans, _ips, _named):
        for each in detect(plain):
            taken.add(each)
    for run in _RUN.finditer(plain):
        _in_run(plain, run.start(), run.end(), regions, taken)
    found = sorted(taken.found, key=lambda each: each.start)
    if not found or not blocks:
        return found
    place = _places(text, blocks)
    return [PersonalData(each.kind, place(each.start), place(each.end - 1) + 1) for each in found]


def scrub(text: str, regions: Sequence[str] = ("US",)) -> str:
    """The text with `[card]`, `[email]` and so on in the place of personal data."""
    return replaced(text, lambda kind, _: f"[{kind}]", regions)


def replaced(text: str, put: Callable[[Kind, str], str], regions: Sequence[str] = ("US",)) -> str:
    """The text with what `put` makes of kind and words in the place of personal data."""
    pieces = []
    end = 0
    for each in find(text, regions):
        pieces += [text[end : each.start], put(each.kind, text[each.start : each.end])]
        end = each.end
    return "".join([*pieces, text[end:]])


class _Taken:
    """What was found so far. Two things that overlap in a block of 64 characters are compared, others never."""

    def __init__(self) -> None:
        self.found: list[PersonalData] = []
        self._blocks: dict[int, list[PersonalData]] = {}

    def add(self, one: PersonalData) -> bool:
        blocks = range(one.start // 64, (one.end - 1) // 64 + 1)
        for block in blocks:
            if any(one.start < each.end and each.start < one.end for each in self._blocks.get(block, ())):
                return False
        self.found.append(one)
        for block in blocks:
            self._blocks.setdefault(block, []).append(one)
        return True


def _places(text: str, blocks: list[str]) -> Callable[[int], int]:
    """What tells where a character of the plain text came from. Only blocks that are asked for are looked through."""
    starts = list(accumulate(map(len, blocks), initial=0))

    @cache
    def of_block(index: int) -> list[int]:
        found: list[int] = []
        for place, character in enumerate(text[index * _BLOCK : (index + 1) * _BLOCK], index * _BLOCK):
            found += [place] * len(_PLAIN[ord(character)])
        return found

    def place(at: int) -> int:
        index = bisect_right(starts, at) - 1
        return of_block(index)[at - starts[index]]

    return place


def _emails(text: str) -> Iterator[PersonalData]:
    at = text.find("@")
    while at >= 0:
        local = _LOCAL.search(text[max(0, at - 64) : at])
        domain = _DOMAIN.match(text, at + 1)
        if local and domain:
            yield PersonalData("email", at - len(local[0]), domain.end())
        at = text.find("@", at + 1)


def _ibans(text: str) -> Iterator[PersonalData]:
    for match in _IBAN.finditer(text):
        start = match.start() - 2
        length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
        if length is None or (start and text[start - 1].isalnum()):
            continue
        end = start
        kept: list[str] = []
        while end < len(text) and len(kept) < length and (text[end].isalnum() or text[end] in " -"):
            if text[end] not in " -":
                kept.append(text[end])
            end += 1
        if len(kept) == length and not text[end : end + 1].isdigit() and _mod_97("".join(kept).upper()):
            yield PersonalData("iban", start, end)


def _mod_97(number: str) -> bool:
    """ISO 7064, MOD 97-10."""
    if not number.isascii():
        return False
    return int("".join(str(int(each, 36)) for each in number[4:] + number[:4])) % 97 == 1


def _ips(text: str) -> Iterator[PersonalData]:
    for middle, pattern, before in ((_IPV4_MIDDLE, _IPV4, 3), (_IPV6_MIDDLE, _IPV6, 4)):
        end = 0
        for hit in middle.finditer(text):
            if hit.start() < end:
                continue
            for match in pattern.finditer(text, max(end, hit.start() - before), hit.start() + 42):
                if match.start() > hit.start():
                    break
                with suppress(ValueError):
                    ipaddress.ip_address(match[0])
                    yield PersonalData("ip", *match.span())
                    end = match.end()


def _named(text: str) -> Iterator[PersonalData]:
    """What only the word before it tells from any other word."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters grow when lowered; places must stay
        lowered = text
    for word in ("passport", "swift", "bic"):
        at = lowered.find(word)
        while at >= 0:
            after = at + len(word)
            if not lowered[after : after + 1].isalpha() and not (at and lowered[at - 1].isalpha()):
                pattern = _PASSPORT if word == "passport" else _BIC
                match = pattern.search(text, after, after + _WORD_WINDOW)
                if match and (word == "passport" or bic.is_valid(match[0])):
                    yield PersonalData("passport" if word == "passport" else "bic", *match.span())
            at = lowered.find(word, after)


def _in_run(text: str, start: int, end: int, regions: Sequence[str], taken: _Taken) -> None:
    """What stands in a stretch of groups of digits."""
    groups = [match.span() for match in _DIGITS.finditer(text, start, end)]
    _cards(text, groups, taken)
    for index, (first, last) in enumerate(groups):
        _single(text, first, last, taken)
        if index + 2 < len(groups):
            _three(text, groups[index : index + 3], taken)
    _phones(text, groups, regions, taken)


def _cards(text: str, groups: list[tuple[int, int]], taken: _Taken) -> None:
    """Consecutive groups whose digits together are a card's number: the longest from each first one."""
    for index, (start, _) in enumerate(groups):
        if not _FIRST_OF_CARD.match(text, start):
            continue
        digits, best = "", 0
        for first, last in groups[index : index + _CARD_LENGTHS.stop]:
            digits += text[first : min(last, first + _CARD_LENGTHS.stop)]
            if len(digits) >= _CARD_LENGTHS.stop:
                break
            if len(digits) in _CARD_LENGTHS and _is_card(digits, text, start, last):
                best = last
        if best:
            taken.add(PersonalData("card", start, best))


def _is_card(digits: str, text: str, start: int, end: int) -> bool:
    """Whether these digits are a card's.

    A tenth of all numbers has a right checksum, and of those of 16 digits a quarter a scheme's beginning: beginnings
    that are rarer among cards than among numbers count only in groups or near a word.
    """
    if not (_SCHEMES.fullmatch(digits) and luhn.is_valid(digits)):
        return False
    if digits[0] in "345" or end - start > len(digits):
        return True
    return _OF_CARD.search(text[max(0, start - _LOOK_BACK) : end + _LOOK_BACK]) is not None


def _single(text: str, start: int, end: int, taken: _Taken) -> None:
    """A group of digits that is a number on its own."""
    length = end - start
    if length < 6 or length > 18:
        return
    digits, before = text[start:end], text[max(0, start - _LOOK_BACK) : start]
    if length == 18 and ric.is_valid(digits):
        taken.add(PersonalData("resident_id", start, end))
    elif length == 17 and text[end : end + 1] in ("X", "x") and ric.is_valid(f"{digits}X"):
        taken.add(PersonalData("resident_id", start, end + 1))
    elif length == 9 and _OF_ROUTING.search(before) and rtn.is_valid(digits):
        taken.add(PersonalData("routing", start, end))
    elif length == 9 and _OF_SSN.search(before):
        taken.add(PersonalData("itin" if itin.is_valid(digits) else "ssn", start, end))
    elif _OF_ACCOUNT.search(before) and not text[end : end + 1].isalnum():
        taken.add(PersonalData("account", start, end))


def _three(text: str, groups: list[tuple[int, int]], taken: _Taken) -> None:
    """A number written 123-45-6789."""
    (start, one), (two, three), (four, end) = groups
    if (one - start, three - two, end - four) != (3, 2, 4) or (two - one, four - three) != (1, 1):
        return
    if text[one] not in " -" or text[three] not in " -":
        return
    number = f"{text[start:one]}-{text[two:three]}-{text[four:end]}"
    if itin.is_valid(number):
        taken.add(PersonalData("itin", start, end))
    elif ssn.is_valid(number):
        taken.add(PersonalData("ssn", start, end))


def _phones(text: str, groups: list[tuple[int, int]], regions: Sequence[str], taken: _Taken) -> None:
    """Groups that are written as a phone number, with a country code, or after a word that says so."""
    start, end = groups[0][0], groups[-1][1]
    count = sum(last - first for first, last in groups)
    if text[start - 1 : start] == "(" and start:
        start -= 1
    signed = text[start - 1 : start] == "+" if start else False
    if signed:
        start -= 1
    window = text[start:end]
    international = signed or window.startswith(("00", "011"))
    if 7 <= count <= 15 and not _DATE.fullmatch(window):
        before = text[max(0, start - _LOOK_BACK) : start]
        named = _OF_PHONE.search(before) or _AFTER_PHONE.match(text[end : end + _LOOK_BACK])
        grouped = _IN_GROUPS.fullmatch(window) and (
            _NEAR_PHONE.search(before) or (window.lstrip("(")[0] == "0" and _valid(window, regions))
        )
        if named or grouped or (international and _possible(window, regions)):
            taken.add(PersonalData("phone", start, end))
            return
    if text[start - 1 : start] == "$" and start:
        return
    for match in _PHONE_FORM.finditer(window):
        first, last = start + match.start(), start + match.end()
        alone = not text[first - 1 : first].isdigit() and not text[last : last + 1].isdigit()
        if (alone or first == 0) and _valid(match[0], regions):
            taken.add(PersonalData("phone", first, last))


def _possible(number: str, regions: Sequence[str]) -> bool:
    return _any(phonenumbers.is_possible_number, number, regions[:1])


def _valid(number: str, regions: Sequence[str]) -> bool:
    return _any(phonenumbers.is_valid_number, number, regions)


def _any(holds: Callable[[phonenumbers.PhoneNumber], bool], number: str, regions: Sequence[str]) -> bool:
    for region in regions:
        with suppress(phonenumbers.NumberParseException):
            if holds(phonenumbers.parse(number, region)):
                return True
    return False
