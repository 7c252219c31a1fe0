"""Documents in question: what is suspicious about one, before anything of it can be found.

A document is held back when it holds text that its readers do not see, characters that nobody sees, orders to a
language model, or long encoded blocks. People with the role operator look at it and release or reject it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from connectors.base import SourceDocument
from rag.query.injection import suspicious

Reason = Literal["hidden_text", "invisible_characters", "orders", "encoded"]

_LETTERS: Final = 12  # of hidden text in a document: fewer are stray marks of a program, and no sentence
_EXCERPTS: Final = 20  # of one document
_LONGEST: Final = 300  # characters of an excerpt
# One rule of the screening takes any word with capitals and digits for a code that a model is to say, as in "Form 10-Q
# includes". Masking such a sentence costs little; holding a whole report back needs a second sign.
_NEEDS_ANOTHER: Final = ("a code to say",)

_HOW: Final = {
    "white": "white on white", "invisible": "transparent", "tiny": "too small to be read",
    "off_page": "beside the page", "hidden_run": "marked as hidden", "not_shown": "not shown by browsers",
}  # fmt: skip
# Doubles of ASCII, except behind a flag emoji, where three of them name a country; supplementary variation selectors,
# which can carry bytes; overrides of the direction of writing, with which text reads otherwise than it is stored.
_NEVER_NEEDED: Final = re.compile(
    "(?<!\U0001f3f4)(?<![\U000e0020-\U000e007f])[\U000e0020-\U000e007f]{2,}|[\U000e0100-\U000e01ef]{4,}|[\u202d\u202e]"
)
_ZERO_WIDTH_IN_WORD: Final = re.compile("[A-Za-z]+(?:[\u200b-\u200d\u2060-\u2064\ufeff]+[A-Za-z]+)+")
_BROKEN_WORDS: Final = 5  # so many words with characters of no width inside: web pages have one or two from long links
_BASE64: Final = re.compile(
    r"(?<![A-Za-z0-9+/=_.%-])(?=[^\s]*[a-z])(?=[^\s]*[A-Z])(?=[^\s]*\d)[A-Za-z0-9+/]{200,}={0,2}"
)
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{2}[ :]?){128,}(?![0-9A-Za-z])")


@dataclass(frozen=True, slots=True)
class Found:
    """Something in question. `page` is 1-based; 0 where the parser does not know it, or for the title."""

    reason: Reason
    page: int
    excerpt: str


@dataclass(frozen=True, slots=True)
class Held:
    """A document that is held back, and why."""

    document: SourceDocument
    found: tuple[Found, ...]


def examine(document: SourceDocument) -> tuple[Found, ...]:
    """What is in question about a document, most serious first; empty for nearly all. Reads all of its text once."""
    found = [*_concealed(document)]
    for number, text in ((0, document.title), *((page.number, page.text) for page in document.pages)):
        found += (Found(reason, number, visible(excerpt)) for reason, excerpt in _in_text(text))
    order = ("orders", "hidden_text", "invisible_characters", "encoded")
    return tuple(sorted(found, key=lambda each: order.index(each.reason))[:_EXCERPTS])


def sentence(found: Sequence[Found]) -> str:
    """Why a document is held back, for the report of an ingestion. Nothing of its text is in it."""
    words = {
        "orders": "orders to a language model", "hidden_text": "text that readers do not see",
        "invisible_characters": "invisible characters", "encoded": "long encoded blocks",
    }  # fmt: skip
    reasons = " and ".join(dict.fromkeys(words[each.reason] for each in found))
    return f"held back: it has {reasons}; look at it with `banksight quarantine show`, then release or reject it"


def _concealed(document: SourceDocument) -> Iterator[Found]:
    standing = [each for each in document.concealed if each.how != "not_shown"]
    counts = sum(character.isalpha() for each in standing for character in each.text) >= _LETTERS
    for each in document.concealed:
        if (counts and each.how != "not_shown") or any(_is_order(each.text)):
            yield Found("hidden_text", each.page, visible(f"({_HOW[each.how]}) {each.text}"))


def _in_text(text: str) -> Iterator[tuple[Reason, str]]:
    for excerpt in _is_order(text):
        yield "orders", excerpt
    if not text.isascii():
        yield from (("invisible_characters", _around(text, match)) for match in _NEVER_NEEDED.finditer(text))
        broken = list(_ZERO_WIDTH_IN_WORD.finditer(text))
        if len(broken) >= _BROKEN_WORDS:
            yield "invisible_characters", _around(text, broken[0])
    for pattern in (_BASE64, _HEX):
        yield from (("encoded", match.group()) for match in pattern.finditer(text))


def _is_order(text: str) -> Iterable[str]:
    """The sentences of a text that are certainly orders to a language model."""
    for each in suspicious(text):
        if set(each.reasons) - set(_NEEDS_ANOTHER):
            yield text[each.start : each.end]


def _around(text: str, match: re.Match[str]) -> str:
    return text[max(0, match.start() - 60) : match.end() + 60]


def visible(text: str) -> str:
    """Text that cannot play the same trick on its reader: what is invisible is written as its code point."""
    flat = " ".join(text.split())
    return "".join(each if each.isprintable() else f"<U+{ord(each):04X}>" for each in flat)[:_LONGEST]
