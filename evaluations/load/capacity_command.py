"""`banksight load capacity`: how many nodes a traffic needs, by the capacity model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from evaluations.load.capacity import Outcome, Traffic, nodes_needed, simulate
from evaluations.load.cards import CARDS, Card, simulated
from evaluations.load.node import Work
from evaluations.load.plotting import Series, line_chart, standalone
from evaluations.timing import table

_CHART_USERS: Final = (10, 25, 50, 75, 100, 150, 200, 300, 400, 500)
_CHART_NODES: Final = (1, 2, 3, 5, 10)
_CHART_HIGHEST: Final = 15.0  # seconds: nobody asks how much worse than that
_CHART_AWAY: Final = 0.05  # share turned away at which a line ends


@click.command()
@click.option("--users", default=100, show_default=True, type=click.IntRange(1, 5000), help="People at once.")
@click.option("--think", default=10.0, show_default=True, type=click.FloatRange(0), help="Mean seconds to think.")
@click.option("--cached", default=0.35, show_default=True, type=click.FloatRange(0, 1), help="Share from the cache.")
@click.option("--card", type=click.Choice(["all", *CARDS, "simulated"]), default="all", show_default=True)
@click.option("--tokens-per-second", default=40.0, show_default=True, help="Of each stream of --card simulated.")
@click.option("--slots", default=8, show_default=True, type=click.IntRange(1), help="Of --card simulated.")
@click.option("--prompt", default=700.0, show_default=True, help="Tokens of a prompt that no earlier one shares.")
@click.option("--output", default=120.0, show_default=True, help="Tokens of an answer.")
@click.option("--own", default=0.15, show_default=True, help="Seconds around the engine: search, checks, proxy.")
@click.option("--within", default=5.0, show_default=True, help="Seconds in which 19 of 20 answers must come.")
@click.option("--most", default=10, show_default=True, type=click.IntRange(1, 100), help="Nodes to try at most.")
@click.option(
    "--chart", type=click.Path(path_type=Path, dir_okay=False), help="An SVG with curves to write (a minute)."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="A JSON file to write.")
def capacity(  # noqa: PLR0913, PLR0917 - click hands over every option
    users: int, think: float, cached: float, card: str, tokens_per_second: float, slots: int, prompt: float,
    output: float, own: float, within: float, most: int, chart: Path | None, json_file: Path | None,
) -> int:  # fmt: skip
    """How many nodes a traffic needs, by simulation. The speeds of cards are estimates: see docs/performance.md.

    The exit code is 1 when no number of nodes up to --most is enough on any card.
    """
    work, traffic = Work(prompt, output, own), Traffic(users, think, cached)
    ours = simulated(tokens_per_second, slots, first_seconds=0.1)
    cards = [*CARDS.values()] if card == "all" else [CARDS.get(card, ours)]
    click.echo(
        f"{users} users, {think:g} s to think, {cached:.0%} from the cache, prompts of {prompt:g} tokens, answers of "
        f"{output:g}; enough: p95 within {within:g} s and at most 1 % turned away\n"
    )
    rows: list[tuple[str, ...]] = [
        ("engine of a node", "most answers/s", "nodes", "answers/s", "p50 s", "p95 s", "turned away")
    ]
    found = {}
    for each in cards:
        needed = nodes_needed(traffic, each, work, within, most)
        outcome = simulate(traffic, each, needed or most, work)
        found[each.name] = {"nodes": needed, "outcome": asdict(outcome)}
        rows.append(_row(each, work, needed, most, outcome))
    click.echo(table(rows))
    if json_file is not None:
        told = {"traffic": asdict(traffic), "work": asdict(work), "within": within, "cards": found}
        json_file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if chart is not None:
        chart.write_text(curves(cards, think, cached, work), encoding="utf-8")
        click.echo(f"\nwritten: {chart}")
    return int(all(each["nodes"] is None for each in found.values()))


def curves(
    cards: Sequence[Card], think: float, cached: float, work: Work,
    users: Sequence[int] = _CHART_USERS, nodes: Sequence[int] = _CHART_NODES,
) -> str:  # fmt: skip
    """p95 over users for some numbers of nodes, a picture for each card; a line ends where people are turned away."""
    charts = []
    for card in cards:
        lines = []
        for number in nodes:
            outcomes = ((each, simulate(Traffic(each, think, cached), card, number, work)) for each in users)
            points = []
            for each, outcome in outcomes:
                if outcome.turned_away > _CHART_AWAY:
                    break
                points.append((float(each), outcome.p95))
            lines.append(Series(f"{number} node{'s' if number > 1 else ''}", points))
        charts.append(
            line_chart(
                f"{card.name}: p95 until the answer is whole",
                f"people at once, {think:g} s to think",
                "seconds",
                lines,
                widest=float(users[-1]),
                highest=_CHART_HIGHEST,
            )
        )
    return standalone(charts)


def _row(card: Card, work: Work, needed: int | None, most: int, outcome: Outcome) -> tuple[str, ...]:
    nodes = str(needed) if needed else f"> {most}"
    limit = f"{card.answers_per_second(work.prompt, work.output):.2f}"
    rate = f"{outcome.answers:.2f}"
    return card.name, limit, nodes, rate, f"{outcome.p50:.1f}", f"{outcome.p95:.1f}", f"{outcome.turned_away:.1%}"
