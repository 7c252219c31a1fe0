"""Statements that people, or rules over people's answers, labelled as supported by a text or not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Part = Literal["fit", "held out"]


@dataclass(frozen=True, slots=True)
class NumberStatement:
    """A short answer of TAT-QA, with its question and the table and text that it is about."""

    id: str
    context_id: str
    question: str
    statement: str
    context: str
    kind: str
    supported: bool
    part: Part


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of WiCE with the sentences of the page that it cites. Partly supported counts as not supported."""

    id: str
    claim: str
    sentences: tuple[str, ...]
    label: str
    part: Part

    @property
    def supported(self) -> bool:
        """Whether people found everything in it supported."""
        return self.label == "supported"


def number_statements(data: Path) -> list[NumberStatement]:
    """All statements; those about one table are in one part."""
    contexts = {row["context_id"]: _as_text(row) for row in _rows(data / "tatqa" / "contexts.jsonl")}
    return [
        NumberStatement(
            row["id"],
            row["context_id"],
            row["question"],
            row["statement"],
            contexts[row["context_id"]],
            row["kind"],
            row["label"] == "supported",
            part_of(row["context_id"]),
        )
        for row in _rows(data / "tatqa" / "number_statements.jsonl")
    ]


def claims(data: Path) -> list[Claim]:
    """All claims."""
    return [
        Claim(row["id"], row["claim"], tuple(row["evidence"]), row["label"], part_of(row["id"]))
        for row in _rows(data / "wice" / "claims.jsonl")
    ]


def part_of(key: str) -> Part:
    """Whether what has this key is for fitting, by a hash that is independent of the one that cut the data."""
    return "fit" if hashlib.sha1(f"fit:{key}".encode()).digest()[-1] % 2 == 0 else "held out"  # noqa: S324 - a split


def digest(items: Sequence[Claim]) -> str:
    """SHA-256 of the claims and labels that a model was fitted on."""
    lines = "\n".join(f"{each.id}\t{each.label}\t{each.claim}" for each in items)
    return hashlib.sha256(lines.encode()).hexdigest()


def _as_text(row: dict[str, Any]) -> str:
    """The table in Markdown, and the paragraphs below."""
    lines = ["| " + " | ".join(_one_line(cell) for cell in cells) + " |" for cells in row["table"]]
    return "\n".join(lines) + "\n\n" + "\n\n".join(row["paragraphs"])


def _one_line(cell: str) -> str:
    return " ".join(cell.replace("|", "/").split())


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())
