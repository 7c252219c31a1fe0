"""What becomes of personal data in a text: allowed, masked, put under a pseudonym, or the text is refused."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rag.errors import PersonalDataRefused
from rag.governance.privacy import find
from rag.settings.privacy import Kind, Policy

# Digits of a pseudonym as letters, so that none is taken for personal data itself.
_LETTERS: Final = str.maketrans("0123456789", "ghijklmnop")
_CHARACTERS: Final = 8
NAMES: Final[dict[Kind, str]] = {
    "account": "account number", "bic": "bank identifier", "card": "card number", "email": "e-mail address",
    "iban": "account number (IBAN)", "ip": "IP address", "itin": "tax number", "passport": "passport number",
    "phone": "phone number", "resident_id": "resident identity number", "routing": "routing number",
    "ssn": "social security number",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Protected:
    """A text after its policies; what was masked or put under a pseudonym; and what each pseudonym stands for."""

    text: str
    masked: frozenset[Kind] = frozenset()
    pseudonyms: Mapping[str, str] = field(default_factory=dict)
    renamed: frozenset[Kind] = frozenset()

    @property
    def notice(self) -> str:
        """What its author is told; empty where nothing changed."""
        told = []
        if self.masked:
            told.append(f"Your {named(self.masked)} was taken out of the question before it was processed.")
        if self.renamed:
            told.append(f"Your {named(self.renamed)} was processed under a pseudonym.")
        return " ".join(told)

    def revealed(self, text: str) -> str:
        """The text with the asker's own words in the place of their pseudonyms."""
        for pseudonym, words in self.pseudonyms.items():
            text = text.replace(pseudonym, words)
        return text


def is_open(policies: Mapping[Kind, Policy]) -> bool:
    """True where nothing would ever be changed or refused."""
    return all(each == "allow" for each in policies.values())


def protect(text: str, policies: Mapping[Kind, Policy], key: bytes, regions: Sequence[str]) -> Protected:
    """The text as these policies let it through. Raises `PersonalDataRefused` where one of them blocks.

    Under the same key, the same number gets the same pseudonym, however its digits are written.
    """
    if is_open(policies):
        return Protected(text)
    pieces: list[str] = []
    masked, renamed, refused = set(), set(), set()
    pseudonyms: dict[str, str] = {}
    end = 0
    for each in find(text, regions):
        policy = policies.get(each.kind, "allow")
        words = text[each.start : each.end]
        if policy == "block":
            refused.add(each.kind)
        if policy in ("allow", "block"):
            continue
        put = f"[{each.kind}]"
        if policy == "pseudonymise":
            put = _pseudonym(each.kind, words, key)
            pseudonyms[put] = words
            renamed.add(each.kind)
        else:
            masked.add(each.kind)
        pieces += [text[end : each.start], put]
        end = each.end
    if refused:
        raise PersonalDataRefused(
            f"This holds personal data that may not be processed here ({named(refused)}); take it out and ask again."
        )
    return Protected("".join([*pieces, text[end:]]), frozenset(masked), pseudonyms, frozenset(renamed))


def named(kinds: set[Kind] | frozenset[Kind]) -> str:
    """These kinds, as people call them."""
    return ", ".join(sorted({NAMES[each] for each in kinds}))


def _pseudonym(kind: Kind, words: str, key: bytes) -> str:
    plain = "".join(filter(str.isalnum, words)).lower()
    made = hmac.new(key, f"{kind}\0{plain}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    return f"[{kind} {made[:_CHARACTERS].translate(_LETTERS)}]"
