"""What a budget of prompt tokens leaves of what the answer needs.

    python -m evaluations.prompt_budget_benchmark [--data FOLDER] [--cache FOLDER] [--limit 300] [--only NAME]

No model is asked. For every question with labels, the pipeline finds its evidence, and the passages are cut to each
budget. Printed are shares of the questions, or means over them:

- `support`: the labelled answer is inside the prompt. For `bank` (own questions over the sample bank) all patterns that
  an answer must quote; for `obliqa` and `cfpb-regs` at least one whole sentence of a labelled passage; for
  `financebench` all numbers of the labelled answer, of the questions whose answer has numbers.
- `gold sentences`: share of the sentences of the labelled passages that are inside the prompt, whole.
- `citations`: share of the labelled passages or pages of which some sentence is inside, so that they can be cited.
- tokens of the passages, and of the whole prompt, by the estimate that is used where an engine has no tokenizer.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from evaluations.answers_benchmark import read_cases
from evaluations.retrieval_benchmark import BESIDE, CACHE, DATA_VARIABLE, SETS, Task, opened
from evaluations.timing import table
from rag.bootstrap import Workspace, open_workspace
from rag.domain import SearchFilter
from rag.errors import BankSightError
from rag.query.cutting import Cut, cut, estimate_tokens
from rag.query.evidence import Evidence
from rag.query.prompting import Prompt, build_prompt, single_line
from rag.query.segments import segments
from rag.query.similarity import SentenceVectors
from rag.settings import load_settings

BUDGETS: Final = (200, 300, 400, 500, 700, 1000, 1500, 2000)
UNCUT: Final = 1_000_000
BANK: Final = "bank"
_NUMBER: Final = re.compile(r"\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question and its labels: patterns that an answer quotes, sentences that hold it, and the places of those."""

    question: str
    patterns: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    places: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Kept:
    """What a cut leaves for one question; None where the question has no such label."""

    support: float | None
    sentences: float | None
    citations: float | None
    tokens: int
    prompt_tokens: int


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help=f"Default: {DATA_VARIABLE}, then shared/data beside us.")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, help="Where ingested corpora are kept.")
@click.option("--only", multiple=True, type=click.Choice([BANK, *SETS]), help="Only this data set; may be repeated.")
@click.option("--limit", type=click.IntRange(1), default=300, help="So many questions of a set, evenly spread.")
def main(data: Path | None, cache: Path, only: tuple[str, ...], limit: int) -> None:
    """Print one table for each data set."""
    folder = data or Path(os.environ.get(DATA_VARIABLE) or BESIDE)
    if BANK in (only or (BANK,)):
        workspace = open_workspace(
            load_settings("laptop", environment={}, overrides={"data_dir": str((cache / BANK).resolve())})
        )
        try:
            workspace.ingest()
            cases = [Labelled(each.question, each.quotes) for each in read_cases() if each.quotes]
            click.echo(measured(BANK, workspace, spread(cases, limit), None))
        finally:
            workspace.close()
    for name in [each for each in SETS if each in (only or SETS)]:
        with opened(name, folder / name, cache) as task:
            click.echo(measured(name, task.workspace, spread(list(labels(task, folder / name)), limit), task))


def measured(name: str, workspace: Workspace, cases: Sequence[Labelled], task: Task | None) -> str:
    """The table of one data set."""
    encoder, principal = SentenceVectors(workspace.embedding), workspace.principal()
    kept: dict[int, list[Kept]] = {budget: [] for budget in (*BUDGETS, UNCUT)}
    for case in cases:
        evidence = workspace.pipeline.evidence(case.question, principal, SearchFilter())
        whole = Prompt(case.question, tuple(each.for_prompt() for each in evidence))
        for budget, found in kept.items():
            uncut = Cut(whole, tuple(range(len(evidence))))
            short = cut(whole, encoder, budget) if budget != UNCUT else uncut
            found.append(judged(case, short, evidence, task))
    heading = ("budget", "support", "gold sentences", "citations", "passage tokens", "prompt tokens")
    rows = [heading, *(_row("uncut" if budget == UNCUT else f"{budget:,}", each) for budget, each in kept.items())]
    return f"\n{name}: {len(cases)} questions\n{table(rows)}"


def judged(case: Labelled, short: Cut, evidence: Sequence[Evidence], task: Task | None) -> Kept:
    """What of the labels is inside the prompt."""
    texts = [single_line(each.text) for each in short.prompt.passages]
    text = " \n ".join(texts)
    inside = [sentence in text for sentence in case.sentences]
    if case.patterns:
        support: float | None = float(all(re.search(each, text) for each in case.patterns))
    else:
        support = float(any(inside)) if inside else None
    places = {task.place(evidence[index].passage) for index in short.kept} if task else set()
    passages = build_prompt(short.prompt).split("Passages:\n", 1)[1].rsplit("\nQuestion:", 1)[0]
    return Kept(
        support=support,
        sentences=sum(inside) / len(inside) if inside else None,
        citations=len(places & case.places) / len(case.places) if case.places else None,
        tokens=estimate_tokens(passages),
        prompt_tokens=estimate_tokens(build_prompt(short.prompt)),
    )


def labels(task: Task, folder: Path) -> Iterator[Labelled]:
    """The labelled questions of a data set."""
    if SETS[task.name][0] == "filings":
        rows = (json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines())
        for row in rows:
            numbers = dict.fromkeys(each for each in _NUMBER.findall(str(row["answer"])) if len(each) > 1)
            patterns = tuple(rf"(?<![\d.]){re.escape(each)}(?!\d)" for each in numbers)
            yield Labelled(row["question"], patterns, (), task.relevant[row["id"]])
        return
    wanted = frozenset().union(*task.relevant.values())
    gold = dict(_gold_sentences(folder, wanted))
    for key, question in task.questions.items():
        sentences = tuple(each for place in sorted(task.relevant[key]) for each in gold.get(place, ()))
        yield Labelled(question, (), sentences, task.relevant[key])


def _gold_sentences(folder: Path, wanted: frozenset[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["_id"] in wanted:
            text = str(row["text"])
            pieces = [each for each in segments(text) if each.kind not in ("heading", "lead_in")]
            yield row["_id"], tuple(single_line(text[each.start : each.end]) for each in pieces)


def spread(cases: Sequence[Labelled], limit: int) -> list[Labelled]:
    """At most `limit` of the cases, evenly spread over all."""
    step = max(1.0, len(cases) / limit)
    return [cases[int(index * step)] for index in range(min(limit, len(cases)))]


def _row(budget: str, kept: Sequence[Kept]) -> tuple[str, ...]:
    shares = [[each.support for each in kept], [each.sentences for each in kept], [each.citations for each in kept]]
    means = [_mean([value for value in column if value is not None]) for column in shares]
    tokens = [
        f"{sum(column) / len(kept):.0f}" for column in ([k.tokens for k in kept], [k.prompt_tokens for k in kept])
    ]
    return (budget, *means, *tokens)


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f}" if values else "–"


if __name__ == "__main__":
    try:
        main()
    except BankSightError as error:
        sys.exit(f"Error: {error}")
