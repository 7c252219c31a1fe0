"""Retrieval data in BEIR's form, and its passages as documents that the ordinary ingestion takes in.

A folder holds `corpus.jsonl` (_id, title, text), `queries.jsonl` (_id, text) and `qrels.tsv` (query-id, corpus-id,
score). Passages of one rulebook are the pages of one document, so that a chunk's page tells its passage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.base import DocumentMetadata, Page, SourceDocument, SourceItem, document_id

_SEPARATOR = " — "  # in titles of cfpb-regs: section heading — regulation


@dataclass(frozen=True, slots=True)
class Rulebook:
    """A document made of passages: page n holds passage n, whose id is `passage_ids[n - 1]`.

    A reader must hold every label in `access`.
    """

    name: str
    title: str
    passage_ids: tuple[str, ...]
    pages: tuple[Page, ...]
    access: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Collection:
    """Rulebooks, questions by id, and for each question the ids of its relevant passages."""

    name: str
    rulebooks: tuple[Rulebook, ...]
    questions: Mapping[str, str]
    relevant: Mapping[str, frozenset[str]]


class RulebookConnector:
    """The rulebooks of a collection as a source of documents."""

    def __init__(self, collection: Collection) -> None:
        self._rulebooks = {rulebook.name: rulebook for rulebook in collection.rulebooks}
        self._source = collection.name

    @property
    def source(self) -> str:
        """The collection's name."""
        return self._source

    def list_items(self) -> Iterator[SourceItem]:
        """One item for each rulebook."""
        for name, rulebook in self._rulebooks.items():
            digest = hashlib.sha256(_content(rulebook)).hexdigest()
            yield SourceItem(
                document_id(self._source, name), name, digest, name, DocumentMetadata(rulebook.title, rulebook.access)
            )

    def read(self, item: SourceItem) -> SourceDocument:
        """The rulebook; its content is its text."""
        rulebook = self._rulebooks[item.location]
        return SourceDocument(
            id=item.id,
            uri=item.uri,
            title=rulebook.title,
            media_type="text/plain",
            fingerprint=item.fingerprint,
            content=_content(rulebook),
            pages=rulebook.pages,
            access=rulebook.access,
        )

    def close(self) -> None:
        """Nothing is open."""


def read_collection(folder: Path) -> Collection:
    """The collection in a folder. Raises `OSError` or `ValueError` for what is not in BEIR's form."""
    questions = {row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl")}
    relevant: dict[str, set[str]] = {question: set() for question in questions}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        question, passage, score = line.split("\t")
        if int(score) > 0 and question in relevant:
            relevant[question].add(passage)
    return Collection(
        name=folder.name,
        rulebooks=tuple(_rulebooks(list(_rows(folder / "corpus.jsonl")))),
        questions=questions,
        relevant={question: frozenset(passages) for question, passages in relevant.items()},
    )


def _rulebooks(rows: list[dict[str, Any]]) -> Iterator[Rulebook]:
    """Passages grouped by rulebook, in the order of the corpus, with the heading that the data give each."""
    grouped: dict[tuple[str, str], list[tuple[dict[str, Any], str]]] = {}
    for row in rows:
        heading, _, title = str(row.get("title", "")).rpartition(_SEPARATOR)
        if "doc" in row:  # a numbered rulebook; the title of its passages is numbers only
            heading, title = "", ""
        grouped.setdefault((str(row.get("doc", "")), title), []).append((row, heading))
    for (number, title), members in grouped.items():
        pages = tuple(_pages(members))
        name = hashlib.sha256(f"{number}\x00{title}".encode()).hexdigest()[:12]
        yield Rulebook(name, title, tuple(str(row["_id"]) for row, _ in members), pages)


def _pages(members: list[tuple[dict[str, Any], str]]) -> Iterator[Page]:
    start = 0
    for number, (row, heading) in enumerate(members, 1):
        text = str(row["text"])
        yield Page(number, text, start, "", ((0, 1, heading),) if heading else ())
        start += len(text) + 1


def _content(rulebook: Rulebook) -> bytes:
    return "\n".join([rulebook.title, *rulebook.access, *(page.text for page in rulebook.pages)]).encode()


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)
