"""Data sets of every form as items. Whatever is wrong is refused with file, line and reason."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from evaluations.datasets.beir import read_collection
from evaluations.datasets.forms import Hidden, conversation, folded, question, statement
from evaluations.datasets.items import DataSet, Item, SourcePassage, Wanted
from evaluations.datasets.rows import DataError, Row, read_rows, require_unique
from evaluations.suites.schema import Corpus, DataSource, Place
from rag.errors import ConfigurationError

DATA_VARIABLE = "BANKSIGHT_EVALUATION_DATA"
ROOT = Path(__file__).parent.parent.parent
_BESIDE = ROOT.parent / "shared" / "data"
_FORMS = {"questions": question, "csv": question, "conversations": conversation, "statements": statement}


def data_path(path: str, place: Place) -> Path:
    """Where a file of a suite is. Raises `ConfigurationError` when it is not there."""
    if place == "shipped":
        found = ROOT / path
    else:
        folder = Path(os.environ.get(DATA_VARIABLE) or _BESIDE)
        found = folder / path
    if not found.exists():
        advice = f"; set {DATA_VARIABLE} to the folder of the evaluation data" if place == "external" else ""
        raise ConfigurationError(f"the suite's data {found} is not there{advice}")
    return found


def load(source: DataSource, seed: int) -> DataSet:
    """The data set, with the items that the source keeps. Raises `DataError` or `ConfigurationError`."""
    path = data_path(source.path, source.place)
    if source.format == "beir":
        items, passages = _beir(path)
    else:
        items, passages = _rows(path, source)
    if not items:
        raise DataError(f"{path}: no item is left of {source.name!r}; check `where` of the suite")
    if source.sample is not None and source.sample < len(items):
        chosen = set(random.Random(seed).sample(sorted(item.id for item in items), source.sample))  # noqa: S311
        items = [item for item in items if item.id in chosen]
    named = tuple(
        replace(item, id=f"{source.name}/{item.id}", slices={"data": source.name, **item.slices}) for item in items
    )
    return DataSet(source.name, named, _digest(named, passages), tuple(passages))


def _rows(path: Path, source: DataSource) -> tuple[list[Item], list[SourcePassage]]:
    renamed = [_renamed(row, source) for row in read_rows(path)]
    require_unique(renamed, "id")
    rows = [row for row in renamed if _kept(row, source.where)]
    if source.contexts:
        rows = _joined(rows, data_path(source.contexts, source.place))
    passages = _passages(rows, source.corpus)
    form, hidden = _FORMS[source.format], _hidden(passages)
    return [form(row, source, hidden) for row in rows], passages


def _hidden(passages: Sequence[SourcePassage]) -> Hidden:
    readable = "\n".join(folded(f"{each.title} {each.text}") for each in passages if not each.access)
    return Hidden(frozenset(each.key for each in passages if each.access), readable)


def _kept(row: Row, where: Mapping[str, str]) -> bool:
    return all(re.fullmatch(pattern, str(row.values.get(key, ""))) for key, pattern in where.items())


def _renamed(row: Row, source: DataSource) -> Row:
    """The row with our names for its fields."""
    ours = {name: row.values[theirs] for name, theirs in source.fields.items() if theirs in row.values}
    return Row(row.path, row.line, {**row.values, **ours})


def _joined(rows: Sequence[Row], path: Path) -> list[Row]:
    """Rows with the evidence that their `context_id` names: table lines and paragraphs."""
    contexts = {row.text("context_id"): _evidence(row) for row in read_rows(path)}
    for row in rows:
        if row.text("context_id") not in contexts:
            row.refuse(f"the context {row.text('context_id')!r} is not in {path.name}")
    return [Row(row.path, row.line, {**row.values, "evidence": contexts[row.text("context_id")]}) for row in rows]


def _evidence(row: Row) -> list[str]:
    table: Any = row.values.get("table") or []
    lines = "\n".join("| " + " | ".join(str(cell) for cell in cells) + " |" for cells in table)
    return [*([lines] if lines else []), *(str(each) for each in row.values.get("paragraphs") or [])]


def _passages(rows: Sequence[Row], corpus: Corpus) -> list[SourcePassage]:
    if corpus.kind == "contexts":
        found = {
            str(each["id"]): SourcePassage(str(each["id"]), "", str(each["text"]))
            for row in rows
            for each in row.values.get("contexts") or ()
        }
        return list(found.values())
    if corpus.kind == "rows":
        return [
            SourcePassage(
                row.text("id"), str(row.values.get("title", "")), row.text("text"), _access(row.text("id"), corpus)
            )
            for row in rows
        ]
    return []


def _access(key: str, corpus: Corpus) -> str:
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    return corpus.access if share < corpus.access_share else ""


def _beir(folder: Path) -> tuple[list[Item], list[SourcePassage]]:
    """Questions that have labels, with graded relevance. The passages are read when they are ingested."""
    corpus, queries = read_rows(folder / "corpus.jsonl"), read_rows(folder / "queries.jsonl")
    require_unique(corpus, "_id")
    require_unique(queries, "_id")
    labels = _labels(folder / "qrels.tsv", {row.text("_id") for row in corpus}, {row.text("_id") for row in queries})
    document_of = {
        passage: rulebook.name for rulebook in read_collection(folder).rulebooks for passage in rulebook.passage_ids
    }
    return [_labelled(row, labels[row.text("_id")], document_of) for row in queries if row.text("_id") in labels], []


def _labelled(row: Row, grades: dict[str, float], document_of: dict[str, str]) -> Item:
    documents = frozenset(document_of[passage] for passage, grade in grades.items() if grade > 0)
    wanted = Wanted(relevant=grades, documents=documents, answerable=True)
    return Item(row.text("_id"), row.text("text"), wanted, cluster=min(documents))


def _labels(path: Path, passages: set[str], questions: set[str]) -> dict[str, dict[str, float]]:
    labels: dict[str, dict[str, float]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        cells = line.split("\t")
        if number == 1 and cells[0] in {"query-id", "query_id", "qid"}:
            continue
        if len(cells) != 3 or not cells[2].strip().lstrip("-").isdigit():
            raise DataError(f"{path} line {number}: a label is query-id, corpus-id and a whole score between tabs")
        asked, passage, score = cells
        if passage not in passages:
            raise DataError(f"{path} line {number}: the passage {passage!r} is not in corpus.jsonl")
        if asked not in questions:
            raise DataError(f"{path} line {number}: the question {asked!r} is not in queries.jsonl")
        if passage in labels.get(asked, {}):
            raise DataError(f"{path} line {number}: {asked!r} and {passage!r} are labelled twice")
        labels.setdefault(asked, {})[passage] = float(score)
    return {asked: grades for asked, grades in labels.items() if any(grade > 0 for grade in grades.values())}


def _digest(items: Iterable[Item], passages: Iterable[SourcePassage]) -> str:
    digest = hashlib.sha256()
    everything: list[Item | SourcePassage] = [*items, *passages]
    for each in everything:
        digest.update(json.dumps(asdict(each), default=sorted).encode())  # sets have another order in every process
    return digest.hexdigest()
