"""`banksight evaluate show`: one run in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from evaluations.commands.options import runs_option
from evaluations.gate.policy import Floor
from evaluations.metrics.aggregates import Figure, figures
from evaluations.runs.records import ItemRecord, ItemScores, RunInfo
from evaluations.runs.running import suite_of
from evaluations.runs.store import RunStore
from evaluations.timing import table


@click.command()
@click.argument("run")
@runs_option
def show(run: str, runs: Path) -> int:
    """Show RUN, named by its id or the beginning of it."""
    store = RunStore.open(runs)
    try:
        info = store.run(run)
        suite = suite_of(store, info.id)
        click.echo(written(store, info, suite.thresholds if suite else ()))
    finally:
        store.close()
    return 0


def written(store: RunStore, info: RunInfo, thresholds: Sequence[Floor]) -> str:
    """The run as text: what it is, all figures, failures with their reasons, thresholds."""
    records, scores = store.items(info.id), store.scores(info.id)
    failed = Counter(each.failure for each in records if each.state == "failed")
    lines = [f"{info.id}: {info.state}, {len(records)} of {info.planned} items, {sum(failed.values())} failed"]
    if info.state != "complete":
        lines.append("This run is not whole: its figures are of the items that were produced, and are no result.")
    if info.left_out:
        lines.append(f"Left out, because {info.target} does not give what they need: {', '.join(info.left_out)}")
    lines += [f"  failed {count}: {reason}" for reason, count in failed.most_common(5)]
    if scores:
        rows = [_cells(each) for each in figures(records, scores)]
        lines.append(table([("figure", "value", "items"), *rows]))
    causes = Counter(each.detail["cause"] for each in scores if each.detail.get("cause"))
    if causes:
        lines.append("what went wrong: " + ", ".join(f"{cause} {count}" for cause, count in causes.most_common()))
    lines += [text for text, _ in verdicts(scores, records, thresholds)]
    return "\n".join(lines)


def verdicts(
    scores: Sequence[ItemScores], records: Sequence[ItemRecord], thresholds: Sequence[Floor]
) -> list[tuple[str, bool]]:
    """Each threshold with whether its mean reached it. A slice is written `name=value`."""
    slices = {(each.item, each.repeat): each.slices for each in records}
    told = []
    for floor in thresholds:
        name, _, value = floor.slice.partition("=")
        values = [
            each.metrics[floor.metric]
            for each in scores
            if floor.metric in each.metrics and (not name or slices[each.item, each.repeat].get(name) == value)
        ]
        if not values:
            told.append((f"missed: {floor.name}: no item carries it", False))
            continue
        mean = sum(values) / len(values)
        low = floor.at_least is None or mean >= floor.at_least
        reached = low and (floor.at_most is None or mean <= floor.at_most)
        asked = f"at least {floor.at_least}" if floor.at_least is not None else f"at most {floor.at_most}"
        told.append((f"{'reached' if reached else 'missed'}: {floor.name}: {mean:.4f}, {asked}", reached))
    return told


def _cells(figure: Figure) -> tuple[str, str, str]:
    return figure.name, f"{figure.value:.4f}", f"{figure.items:,}"
