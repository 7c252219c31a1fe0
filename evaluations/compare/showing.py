"""A comparison and a trend as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evaluations.compare.comparing import Compared
from evaluations.report.document import Difference

_TONES = {"better": "green", "worse": "red", "cannot tell": "yellow", "same": "dim"}
_BARS = "▁▂▃▄▅▆▇█"
_REGRESSED = 10


def compared_as_text(found: Compared) -> RenderableType:
    """Metrics, slices that moved, and the items that got worse most."""
    parts: list[RenderableType] = [Text(f"{found.before} → {found.after}, {found.items:,} items", style="bold")]
    if found.note:
        parts.append(Text(found.note, style="yellow"))
    parts.append(_table("metric", [(each.metric, each) for each in found.differences]))
    moved = [each for each in found.slices if each.finding in ("better", "worse")]
    if moved:
        parts.append(Text("\nSlices that moved"))
        parts.append(_table("slice, metric", [(f"{each.slice}, {each.metric}", each) for each in moved]))
    unsure = [each for each in found.differences if each.finding == "cannot tell"]
    if unsure:
        parts.append(Text("\nCannot tell: the difference may be chance. The suite would find, four times in five,"))
        parts += [Text(f"  {each.metric}: a true difference of {each.detectable:.4f} or more") for each in unsure]
    if found.regressed:
        parts.append(Text(f"\n{len(found.regressed):,} items got worse in some metric, the worst first"))
        for each in found.regressed[:_REGRESSED]:
            values = ", ".join(f"{name} {one:.3f} → {two:.3f}" for name, (one, two) in each.values.items())
            parts.append(Text(f"  {each.id}: {values}"))
        parts.append(Text("The report shows them side by side: banksight evaluate report AFTER --against BEFORE"))
    return Group(*parts)


def _table(heading: str, rows: Sequence[tuple[str, Difference]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(heading, no_wrap=True)
    for name in ("before", "after", "difference", "95 % interval", "p", "better / same / worse"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("finding", no_wrap=True)
    for name, each in rows:
        table.add_row(
            name,
            f"{each.before:.4f}",
            f"{each.after:.4f}",
            f"{each.mean:+.4f}",
            f"{each.low:+.4f} … {each.high:+.4f}",
            f"{each.p_value:.3f}",
            f"{each.wins} / {each.ties} / {each.losses}",
            Text(each.finding, style=_TONES[each.finding]),
        )
    return table


def trend_as_text(runs: Sequence[str], rows: Mapping[str, Sequence[float | None]], notes: Sequence[str]) -> Group:
    """Every metric over the runs, oldest first. A run whose data differ from the last one's is noted, never joined."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("metric", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in runs:
        table.add_column(name, justify="right")
    for metric, values in rows.items():
        table.add_row(metric, sparkline(values), *("–" if each is None else f"{each:.4f}" for each in values))
    return Group(table, *(Text(each, style="yellow") for each in notes))


def sparkline(values: Sequence[float | None]) -> str:
    """One character a value, from the smallest to the greatest of them; a blank where there is none."""
    there = [each for each in values if each is not None]
    if not there:
        return ""
    low, span = min(there), max(there) - min(there)
    steps = len(_BARS) - 1
    return "".join(
        " " if each is None else _BARS[round((each - low) / span * steps) if span else steps // 2] for each in values
    )
