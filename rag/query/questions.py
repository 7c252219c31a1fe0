"""What counts as a question: the check at the door, and the form in which questions are compared and searched."""

from __future__ import annotations

import unicodedata
from typing import Final

from rag.errors import QuestionError

# Format characters that languages need: joiners of Indic and Persian scripts and of emoji.
_JOINERS: Final = frozenset("\u200c\u200d")
_WHITE: Final = frozenset("\t\n\r\v\f\x85\u2028\u2029")


def clean_question(question: str, max_characters: int) -> str:
    """The question in Unicode NFC without invisible characters and outer white space.

    Raises `QuestionError` when nothing is left to ask, or when it is longer than `max_characters`.
    """
    if len(question) > max_characters:
        raise QuestionError(
            f"The question has {len(question):,} characters and at most {max_characters:,} are allowed; shorten it."
        )
    visible = "".join(_visible(each) for each in unicodedata.normalize("NFC", question))
    cleaned = "\n".join(" ".join(line.split()) for line in visible.split("\n")).strip()
    if not any(each.isalnum() for each in cleaned):
        raise QuestionError("The question is empty; ask something in words.")
    return cleaned


def _visible(character: str) -> str:
    if character in _WHITE:
        return "\n" if character in "\n\u2028\u2029" else " "
    category = unicodedata.category(character)
    invisible = category in ("Cc", "Cf", "Cs", "Co", "Cn") and character not in _JOINERS
    return "" if invisible else character
