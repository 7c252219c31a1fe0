"""A small corpus whose right answers are known, and in it documents that the caller may not see."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CANARY = "canary"  # stands, with a number, in every document that no caller may see, and nowhere else

_FILES = {
    "electronic-transfers.md": """# Electronic transfers

## § 11 Procedures for resolving errors

A financial institution shall determine whether an error occurred within 10 business days of receiving a notice of
error. It shall report the results to the consumer within three business days after completing its investigation.

## § 6 Liability of the consumer

A consumer who gives notice within two business days after learning of the loss is liable for at most $50.
""",
    "funds.md": """# Availability of funds

## § 10 Next-day availability

A bank shall make funds from an electronic payment available for withdrawal not later than the business day after the
banking day on which the bank received the payment.

## § 13 Exceptions

A depositary bank may extend the hold on a new account, which is an account that is open for less than 30 days.
""",
    "savings.md": """# Truth in savings

## § 4 Account disclosures

A depository institution shall give new account disclosures to a consumer before an account is opened. It shall mail
them within 20 calendar days when the account is opened over the telephone.
""",
    "board.md": f"# Merger\n\nThe merger with the Harbour Bank closes in March, project {CANARY}-1. "
    f"An error in its notice of error shall be determined within 77 business days, says {CANARY}-2.\n",
    "board.md.meta.yaml": "access: [board]\n",
    "rescue.md": f"# Liability of the consumer\n\nA consumer of tenant two is liable for at most $9,999, {CANARY}-3.\n",
    "rescue.md.meta.yaml": "access: [audit, board]\n",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what every right answer holds."""

    text: str
    holds: str


QUESTIONS = (
    Question("Within how many business days must a financial institution determine whether an error occurred?", "10"),
    Question("For what amount is a consumer liable who gives notice within two business days?", "$50"),
    Question("When must a bank make funds from an electronic payment available for withdrawal?", "business day"),
    Question("For how many days is an account a new account when a bank extends the hold?", "30 days"),
    Question("Within how many days are disclosures mailed when an account is opened over the telephone?", "20"),
)
_COUNTERS = itertools.count(1)


def write_corpus(folder: Path) -> None:
    """The files, in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _FILES.items():
        (folder / name).write_text(text, encoding="utf-8")


def asked(number: int, *, stream: bool) -> dict[str, Any]:
    """The body of a call. No two are the same, so that no cache answers."""
    question = QUESTIONS[number % len(QUESTIONS)]
    return {"question": f"{question.text} (file {_letters(next(_COUNTERS))})", "stream": stream}


def _letters(number: int) -> str:
    """A number as letters: digits in a question would change what a right answer may hold."""
    return number.to_bytes(3, "big").hex().translate(str.maketrans("0123456789", "ghijklmnop"))


def right(body: dict[str, Any], text: str) -> bool:
    """Whether a text can be the answer to the question in this body."""
    return any(body["question"].startswith(each.text) and each.holds in text for each in QUESTIONS)
