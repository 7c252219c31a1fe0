"""What making follow-ups stand alone does for finding their passages (MTRAG's form).

    python -m evaluations.rewriting_benchmark [--data FOLDER]

Tasks with a conversation and reference passages. All passages of all tasks are the pool; a passage is found when MiniLM
ranks it among the first five for the question. No engine is asked: the figures are those of the rules.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from evaluations.retrieval_benchmark import BESIDE, CACHE, DATA_VARIABLE
from evaluations.timing import table
from rag.models.embedding import open_embedding
from rag.query.events import Turn
from rag.query.rewriting import stand_alone
from rag.settings import load_settings

_FOUND_WITHIN: Final = 5

Form = Callable[[str, Sequence[Turn]], str]


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A question, what was said before it, and the ids of its reference passages."""

    question: str
    history: tuple[Turn, ...]
    references: frozenset[str]


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help=f"Default: {DATA_VARIABLE}, then shared/data beside us.")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, help="Where the exported encoder is kept.")
def main(data: Path | None, cache: Path) -> None:
    """Print one table: all follow-ups, and those that the rules change."""
    file = (data or Path(os.environ.get(DATA_VARIABLE) or BESIDE)) / "mtrag" / "un_tasks.jsonl"
    follow_ups, pool = read_tasks(file)
    changed = [each for each in follow_ups if stand_alone(each.question, each.history) != each.question]
    encoder = open_embedding(load_settings("laptop", environment={}).embedding, cache / "models", "bulk")
    ids, vectors = list(pool), encoder.embed(list(pool.values()))
    rows = [("questions", "form", f"recall@{_FOUND_WITHIN}")]
    for name, tasks in (("follow-ups", follow_ups), ("changed by the rules", changed)):
        for form, written in FORMS.items():
            texts = [written(each.question, each.history) for each in tasks]
            best = (-(encoder.embed(texts) @ vectors.T)).argsort(axis=1)[:, :_FOUND_WITHIN]
            found = [{ids[index] for index in row} for row in best]
            recall = [len(each.references & got) / len(each.references) for each, got in zip(tasks, found, strict=True)]
            rows.append((f"{len(tasks)} {name}", form, f"{sum(recall) / len(tasks):.3f}"))
    click.echo(table(rows))


def _all_said(question: str, history: Sequence[Turn]) -> str:
    return " ".join([*(each.content for each in history if each.role == "user"), question])


FORMS: Mapping[str, Form] = {
    "as asked": lambda question, _: question,
    "by the rules": stand_alone,
    "all questions of the conversation": _all_said,
}


def read_tasks(file: Path) -> tuple[list[FollowUp], dict[str, str]]:
    """The tasks that have something before them and reference passages, and the passages of all tasks by their id."""
    follow_ups, pool = [], {}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        pool.update({each["id"]: each["text"] for each in row["contexts"]})
        *before, last = row["turns"]
        history = tuple(Turn("user" if each["speaker"] == "user" else "assistant", each["text"]) for each in before)
        if history and row["contexts"]:
            references = frozenset(each["id"] for each in row["contexts"])
            follow_ups.append(FollowUp(last["text"], history, references))
    return follow_ups, pool


if __name__ == "__main__":
    main()
