"""A comparison and a trend as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evaluations.compare.comparing import Compared
from evaluations.report.document import Difference
from evaluations.timing import table

_BARS = "▁▂▃▄▅▆▇█"
_REGRESSED = 10
_HEADING = ("before", "after", "difference", "95 % interval", "p", "better/same/worse", "finding")


def compared_as_text(found: Compared) -> str:
    """Metrics, slices that moved, what cannot be told, and the items that got worse most."""
    parts = [f"{found.before} → {found.after}, {found.items:,} items"]
    if found.note:
        parts.append(found.note)
    parts.append(_table("metric", [(each.metric, each) for each in found.differences]))
    moved = [each for each in found.slices if each.finding in ("better", "worse")]
    if moved:
        parts.append(_table("\nslice, metric", [(f"{each.slice}, {each.metric}", each) for each in moved]))
    unsure = [each for each in found.differences if each.finding == "cannot tell"]
    if unsure:
        parts.append("\nCannot tell: the difference may be chance. Four times in five, this suite would find")
        parts += [f"  {each.metric}: a true difference of {each.detectable:.4f} or more" for each in unsure]
    if found.regressed:
        parts.append(f"\n{len(found.regressed):,} items got worse in some metric, the worst first")
        for regressed in found.regressed[:_REGRESSED]:
            values = ", ".join(f"{name} {one:.3f} → {two:.3f}" for name, (one, two) in regressed.values.items())
            parts.append(f"  {regressed.id}: {values}")
        parts.append(f"Side by side: banksight evaluate report {found.after} --against {found.before}")
    return "\n".join(parts)


def _table(heading: str, rows: Sequence[tuple[str, Difference]]) -> str:
    cells = [
        (
            name,
            f"{each.before:.4f}",
            f"{each.after:.4f}",
            f"{each.mean:+.4f}",
            f"{each.low:+.4f} … {each.high:+.4f}",
            f"{each.p_value:.3f}",
            f"{each.wins}/{each.ties}/{each.losses}",
            each.finding,
        )
        for name, each in rows
    ]
    return table([(heading, *_HEADING), *cells])


def trend_as_text(runs: Sequence[str], rows: Mapping[str, Sequence[float | None]], notes: Sequence[str]) -> str:
    """Every metric over the runs, oldest first. A run whose data differ from the last one's is noted."""
    cells = [
        (metric, sparkline(values), *("–" if each is None else f"{each:.4f}" for each in values))
        for metric, values in rows.items()
    ]
    return "\n".join([table([("metric", "", *runs), *cells]), *notes])


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
