"""How good and how fast the answers over the sample bank are.

    python -m evaluations.answers_benchmark --cache .cache/evaluation [--show]

Own questions of `datasets/answers.jsonl`: each answerable one names what must be quoted. Printed: the share whose
answer quotes it, anywhere and in the leading part; whether every sentence is cited and every quotation stands word for
word on its page; the share of unanswerable questions that are refused; and the time of one answer, alone.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from evaluations.timing import percentile, table
from rag.bootstrap import Workspace, open_workspace
from rag.domain import Answer
from rag.query.events import AskRequest
from rag.settings import load_settings

QUESTIONS: Final = Path(__file__).parent / "datasets" / "answers.jsonl"
_MARKER: Final = re.compile(r"\[\d+\]")
_TABLE_HEAD: Final = re.compile(r"^\| \||^\|---")


@dataclass(frozen=True, slots=True)
class Case:
    """A question, and the patterns that its answer must quote; none where it must be refused."""

    question: str
    quotes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer to a case, and the seconds that it took."""

    case: Case
    answer: Answer
    seconds: float


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="Where the ingested sample bank is kept.")
@click.option("--show", is_flag=True, help="Print every answer.")
def main(cache: Path, show: bool) -> None:  # noqa: FBT001 - click's flag
    """Ask every question twice, and print the figures of the second time."""
    overrides = {"data_dir": str((cache / "bank").resolve())}
    workspace = open_workspace(load_settings("laptop", environment={}, overrides=overrides))
    try:
        workspace.ingest()
        outcomes = asyncio.run(ask_all(workspace, read_cases()))
        if show:
            click.echo("\n".join(_shown(each) for each in outcomes))
        click.echo(report(outcomes, workspace))
    finally:
        workspace.close()


def read_cases() -> list[Case]:
    """The questions that ship with the benchmark."""
    rows = (json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines())
    return [Case(row["question"], tuple(row["quotes"])) for row in rows]


async def ask_all(workspace: Workspace, cases: Sequence[Case]) -> list[Outcome]:
    """One question at a time, in order, so that a time is that of one caller alone."""
    outcomes = []
    for case in cases:
        began = time.perf_counter()
        answer = await workspace.pipeline.ask(AskRequest(case.question), workspace.principal())
        outcomes.append(Outcome(case, answer, time.perf_counter() - began))
    return outcomes


def report(outcomes: Sequence[Outcome], workspace: Workspace) -> str:
    """The figures as a table."""
    answerable = [each for each in outcomes if each.case.quotes]
    strange = [each for each in outcomes if not each.case.quotes]
    answers = [each.answer for each in outcomes if each.answer.status != "refused"]
    cited = [citation for answer in answers for citation in answer.citations]
    exact = sum(workspace.registry.page(c.document_id, c.page).text[c.start : c.end] == c.quote for c in cited)
    seconds = [each.seconds for each in outcomes]
    rows = [
        ("what", "figure"),
        ("answerable: answered", _of(sum(each.answer.status != "refused" for each in answerable), len(answerable))),
        ("answerable: the words are quoted", _of(sum(quotes(each) for each in answerable), len(answerable))),
        ("answerable: … in the leading part", _of(sum(leads(each) for each in answerable), len(answerable))),
        ("unanswerable: refused", _of(sum(each.answer.status == "refused" for each in strange), len(strange))),
        ("answers whose every sentence is cited", _of(sum(map(fully_cited, answers)), len(answers))),
        ("quotations that stand word for word on their page", _of(exact, len(cited))),
        ("citations in an answer, mean", f"{len(cited) / max(1, len(answers)):.1f}"),
        ("one answer, p50", f"{percentile(seconds, 0.5) * 1000:.0f} ms"),
        ("one answer, p95", f"{percentile(seconds, 0.95) * 1000:.0f} ms"),
    ]
    return table(rows)


def quotes(outcome: Outcome) -> bool:
    """True when the answer holds every pattern that it must."""
    text = " ".join(outcome.answer.text.split())
    return all(re.search(pattern, text) for pattern in outcome.case.quotes)


def leads(outcome: Outcome) -> bool:
    """True when what comes before the first supporting quotation holds the first pattern."""
    text = " ".join(outcome.answer.text.split("\n\n- ")[0].split())
    return bool(re.search(outcome.case.quotes[0], text))


def fully_cited(answer: Answer) -> bool:
    """True when every line that states something carries a marker."""
    lines = [line for line in answer.text.split("\n") if line.strip() and not _TABLE_HEAD.match(line)]
    return all(_MARKER.search(line) for line in lines)


def _of(count: int, total: int) -> str:
    return f"{count} of {total}"


def _shown(outcome: Outcome) -> str:
    answer = outcome.answer
    return f"\n## {outcome.case.question}\n({answer.status} {answer.reason}, {answer.confidence:.2f})\n\n{answer.text}"


if __name__ == "__main__":
    main()
