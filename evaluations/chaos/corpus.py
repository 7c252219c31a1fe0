"""A small corpus of two tenants whose right answers differ, with words planted that only its own tenant may see, and
documents that no caller at all may see.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CANARY = "canary"  # stands, with a number, in every document that no caller may see, and nowhere else


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose documents they are, and their figures. `mark` is planted in every sentence, and stands nowhere else."""

    name: str
    mark: str
    error_days: int
    liability: int
    hold_days: int
    mail_days: int


TENANTS = (Tenant("harbour", "tamarind", 10, 50, 30, 20), Tenant("meadow", "quetzal", 15, 75, 45, 25))


def files_of(tenant: Tenant) -> dict[str, str]:
    """The documents of a tenant, by file name."""
    return {
        "electronic-transfers.md": f"""# Electronic transfers

## § 11 Procedures for resolving errors

A financial institution shall, as the {tenant.mark} manual says, determine whether an error occurred
within {tenant.error_days} business days of receiving a notice of error. It shall report the results to the consumer
within three business days after completing its investigation.

## § 6 Liability of the consumer

A consumer who gives notice within two business days after learning of the loss is liable for at most
${tenant.liability}, as the {tenant.mark} manual says.
""",
        "funds.md": f"""# Availability of funds

## § 10 Next-day availability

A bank shall, as the {tenant.mark} manual says, make funds from an electronic payment available for withdrawal not later
than the business day after the banking day on which the bank received the payment.

## § 13 Exceptions

A depositary bank may, as the {tenant.mark} manual says, extend the hold on a new account, which is an account that is
open for less than {tenant.hold_days} days.
""",
        "savings.md": f"""# Truth in savings

## § 4 Account disclosures

A depository institution shall give new account disclosures to a consumer before an account is opened. It shall, as the
{tenant.mark} manual says, mail them within {tenant.mail_days} calendar days when the account is opened over the
telephone.
""",
        "board.md": f"# Merger\n\nThe merger with the Harbour Bank closes in March, project {CANARY}-1. "
        f"An error in its notice of error shall be determined within 77 business days, says {CANARY}-2.\n",
        "board.md.meta.yaml": "access: [board]\n",
        "rescue.md": f"# Liability of the consumer\n\nA consumer who was rescued is liable for $9,999, {CANARY}-3.\n",
        "rescue.md.meta.yaml": "access: [audit, board]\n",
    }


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what every right answer holds, with a tenant's figures filled in."""

    text: str
    holds: str


QUESTIONS = (
    Question(
        "Within how many business days must a financial institution determine whether an error occurred?",
        "{error_days} business days",
    ),
    Question("For what amount is a consumer liable who gives notice within two business days?", "${liability}"),
    Question("When must a bank make funds from an electronic payment available for withdrawal?", "business day"),
    Question("For how many days is an account a new account when a bank extends the hold?", "{hold_days} days"),
    Question(
        "Within how many days are disclosures mailed when an account is opened over the telephone?",
        "{mail_days} calendar days",
    ),
)
_texts = itertools.count(1)
_latest = 0


def write_corpus(folder: Path, tenant: Tenant = TENANTS[0]) -> None:
    """A tenant's files, in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files_of(tenant).items():
        (folder / name).write_text(text, encoding="utf-8")


def asked(number: int, *, stream: bool) -> dict[str, Any]:
    """The body of a call. An odd number asks what the even one before it asked; otherwise no two are the same.

    Callers take turns by tenant, so that a cache which mixed tenants up would be seen, and no cache answers otherwise.
    """
    global _latest  # noqa: PLW0603 - one counter for all loads of a run
    if number % 2 == 0 or not _latest:
        _latest = next(_texts)
    question = QUESTIONS[_latest % len(QUESTIONS)]
    return {"question": f"{question.text} (file {_letters(_latest)})", "stream": stream}


def half(number: int) -> bool:
    """True for every other call of each of two callers who take turns."""
    return number % 4 in (0, 3)


def _letters(number: int) -> str:
    """A number as letters: digits in a question would change what a right answer may hold."""
    return number.to_bytes(3, "big").hex().translate(str.maketrans("0123456789", "ghijklmnop"))


def right(body: dict[str, Any], text: str, tenant: Tenant = TENANTS[0]) -> bool:
    """Whether a text can be this tenant's answer to the question in this body."""
    figures = asdict(tenant)
    said = " ".join(text.split())
    return any(body["question"].startswith(each.text) and each.holds.format(**figures) in said for each in QUESTIONS)
