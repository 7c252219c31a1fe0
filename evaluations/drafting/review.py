"""The review file: a spreadsheet in which a person accepts, corrects or leaves drafts.

It is a data file as it stands: a suite takes the accepted rows with `format: csv` and `where: {accept: "yes"}`.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag.errors import ConfigurationError

NEAR: Final = 0.93  # cosine of MiniLM from which two questions count as near-duplicates
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute instead of show

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Draft:
    """One row. `accept` is for the person; lists stand between bars; `pages` are `file page`.

    `why` says where the draft comes from, `near_duplicate_of` which earlier row or item asks nearly the same.
    """

    question: str
    answers: str = ""
    pages: str = ""
    answerable: str = ""
    why: str = ""
    near_duplicate_of: str = ""
    accept: str = ""

    @property
    def id(self) -> str:
        """The same question always has the same id."""
        return "draft-" + hashlib.sha256(" ".join(self.question.lower().split()).encode()).hexdigest()[:12]


COLUMNS: Final = ("accept", "id", "question", "answers", "pages", "answerable", "why", "near_duplicate_of")


def add_drafts(path: Path, drafts: Sequence[Draft], embed: Embed, known: Sequence[tuple[str, str]] = ()) -> int:
    """Add the drafts that are new to the review file, near-duplicates flagged. Returns how many were added.

    `known` are id and question of items that exist already. Rows that are there stay as a person left them. Raises
    `ConfigurationError` for a file that is no review file.
    """
    there = read_rows(path) if path.exists() else []
    ids = {row["id"] for row in there}
    new = list({each.id: each for each in drafts if each.id not in ids}.values())
    flagged = _flagged(new, [*known, *((row["id"], row["question"]) for row in there)], embed)
    _write(path, [*there, *(_row(each) for each in flagged)])
    return len(flagged)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a review file. Raises `ConfigurationError` with line and reason."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ConfigurationError(f"{path} is no review file: the column {missing[0]!r} is missing")
            return [{name: row.get(name) or "" for name in COLUMNS} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"the review file {path} cannot be read: {error}; save it as CSV in UTF-8") from error


def _row(draft: Draft) -> dict[str, str]:
    return {"id": draft.id, **{name: _harmless(value) for name, value in asdict(draft).items()}}


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: questions come from strangers."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """All rows to a new file that then takes the place of the old one."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("w", encoding="utf-8-sig", newline="") as file:  # Excel knows UTF-8 by its mark
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        raise ConfigurationError(f"the review file {path} cannot be written ({error.strerror})") from error


def _flagged(new: Sequence[Draft], known: Sequence[tuple[str, str]], embed: Embed) -> list[Draft]:
    """The drafts, each with the id of the first earlier question that is nearly the same."""
    if not new:
        return []
    names = [*(key for key, _ in known), *(each.id for each in new)]
    vectors = embed([*(question for _, question in known), *(each.question for each in new)])
    flagged = []
    for place, draft in enumerate(new, len(known)):
        near = np.flatnonzero(vectors[:place] @ vectors[place] >= NEAR)
        flagged.append(replace(draft, near_duplicate_of=names[near[0]]) if len(near) else draft)
    return flagged
