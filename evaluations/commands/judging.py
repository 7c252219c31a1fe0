"""`banksight evaluate judge` and `judge-check`: a model's opinion on answers, and what that opinion is worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, track

from evaluations.commands.engines import open_engine_llm
from evaluations.commands.options import opened_store, runs_option
from evaluations.gate.judged import CHECKS, PREFIX
from evaluations.judge.checking import JudgeCheck, check, labelled_cases, read_check, write_check
from evaluations.judge.opinions import Judge, VoteCache
from evaluations.judge.rubrics import RUBRICS
from evaluations.runs.records import ItemRecord, ItemScores
from evaluations.runs.whole import read_whole
from rag.models.llms import close_llm
from rag.settings import load_settings

_RUBRIC = click.Choice(sorted(RUBRICS))
_REPEATS = click.option("--repeats", default=3, show_default=True, type=click.IntRange(1, 15), help="Votes a case.")
_WORKERS = click.option("--workers", default=4, show_default=True, type=click.IntRange(1, 64), help="Cases at once.")


@click.command("judge-check")
@click.argument("rubric", type=_RUBRIC)
@click.option("--limit", type=click.IntRange(10), help="Only the first cases; such a check opens no gate.")
@_REPEATS
@_WORKERS
@runs_option
def judge_check(*, rubric: str, limit: int | None, repeats: int, workers: int, runs: Path) -> int:
    """Measure the configured model against people's labels for a RUBRIC. Only then its figures may decide a gate."""
    cases = list(labelled_cases(rubric))[:limit]
    llm = open_engine_llm(load_settings())
    try:
        with VoteCache(runs / "judge-votes.sqlite") as cache, Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task(rubric, total=len(cases))
            asked = Judge(llm, RUBRICS[rubric], cache, repeats=repeats)
            found = check(asked, cases, lambda done: bar.update(task, completed=done), workers=workers)
    finally:
        close_llm(llm)
    if limit is None:
        write_check(found, runs / CHECKS)
    click.echo(_told(found))
    return 0 if found.fit_for_gates else 1


@click.command()
@click.argument("run")
@click.argument("rubric", type=_RUBRIC)
@_REPEATS
@runs_option
def judge(*, run: str, rubric: str, repeats: int, runs: Path) -> None:
    """Let the configured model judge every answer of RUN by a RUBRIC, and add that to the run's scores."""
    metric = f"{PREFIX}{rubric}"
    llm = open_engine_llm(load_settings())
    try:
        with opened_store(runs) as store, VoteCache(runs / "judge-votes.sqlite") as cache:
            whole = read_whole(store, run)
            asked = Judge(llm, RUBRICS[rubric], cache, repeats=repeats)
            records = {(each.item, each.repeat): each for each in whole.items}
            judged = [
                _judged(each, records[each.item, each.repeat], asked, metric)
                for each in track(whole.scores, rubric, console=Console(stderr=True))
            ]
            store.put_scores(whole.info.id, judged)
    finally:
        close_llm(llm)
    values = [each.metrics[metric] for each in judged]
    click.echo(f"{metric} of {whole.info.id}: {sum(values) / len(values):.4f} over {len(values):,} items")
    found = read_check(rubric, asked.fingerprint, runs / CHECKS)
    if found is None:
        click.echo(f"this judge was never checked: see `banksight evaluate judge-check {rubric}`", err=True)
    else:
        corrected = found.agreement.corrected(sum(values) / len(values))
        click.echo(f"corrected for what the judge gets wrong on people's labels: {corrected:.4f}")


def _judged(scores: ItemScores, record: ItemRecord, asked: Judge, metric: str) -> ItemScores:
    """The scores with the judge's yes as 1; a failed item, a no and no valid opinion are 0."""
    produced = record.produced
    case = {
        "question": record.question,
        "answer": produced.text,
        "passages": "\n\n".join(each.quote for each in produced.citations)
        or "\n\n".join(each.text for each in produced.passages if each.in_prompt),
    }
    value = 1.0 if record.state == "ok" and asked.ask(case).verdict == "yes" else 0.0
    return replace(
        scores, metrics={**scores.metrics, metric: value}, detail={**scores.detail, metric: asked.fingerprint}
    )


def _told(found: JudgeCheck) -> str:
    of = found.agreement
    return (
        f"{found.rubric}: {of.cases} cases, {of.base_rate:.0%} yes by people\n"
        f"  kappa {of.kappa.mean:.3f} [{of.kappa.low:.3f}, {of.kappa.high:.3f}], sensitivity {of.sensitivity:.3f}, "
        f"specificity {of.specificity:.3f}\n"
        f"  {of.invalid} invalid verdicts, votes agree {of.steadiness:.0%}\n"
        f"  {'fit to decide in a gate' if found.fit_for_gates else 'not fit to decide in a gate'}"
    )
