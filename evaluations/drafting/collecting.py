"""Questions that went wrong in production, as drafts: with consent only, and without personal data.

A line of the export is a JSON object: question, status (answered, partial, refused, escalated), rating (up, down or
null), consent (true when the person agreed that the question may be kept for this), and optionally reason and comment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from evaluations.drafting.review import Draft
from rag.errors import ConfigurationError
from rag.governance.privacy import scrub


class Feedback(BaseModel):
    """One line of the export."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    question: str
    status: Literal["answered", "partial", "refused", "escalated"]
    rating: Literal["up", "down"] | None = None
    consent: bool = False
    reason: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Collected:
    """The drafts, and how many lines gave none: `without_consent`, or because nothing was wrong (`fine`)."""

    drafts: tuple[Draft, ...]
    without_consent: int
    fine: int


def collect(path: Path) -> Collected:
    """Drafts from an export. Raises `ConfigurationError` with line and reason; nothing is taken from a broken file."""
    drafts = []
    without_consent = fine = 0
    for each in _read(path):
        why = _why(each)
        if not why:
            fine += 1
        elif not each.consent:
            without_consent += 1
        else:
            drafts.append(Draft(" ".join(scrub(each.question).split()), why=scrub(why)))
    return Collected(tuple(drafts), without_consent, fine)


def _why(each: Feedback) -> str:
    if each.rating == "down":
        return f"thumbs down: {each.comment or each.status}"
    if each.status in ("refused", "partial") and each.rating != "up" and each.reason != "small_talk":
        return f"unanswered: {each.reason or each.status}"
    return ""


def _read(path: Path) -> Iterator[Feedback]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the export {path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield Feedback.model_validate(json.loads(line))
        except (ValueError, ValidationError) as error:
            raise ConfigurationError(f"{path} line {number}: {_first(error)}") from error


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}"
    return f"this is not JSON: {error}"
