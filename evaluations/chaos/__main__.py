"""`make chaos`: the fault matrix against the whole product on this machine."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from evaluations.chaos import (
    audit_rows,
    chroma_rows,
    corpus_rows,
    engine_rows,
    identity_rows,
    node_rows,
    recovery_rows,
    store_rows,
)
from evaluations.chaos.report import Result, keep, read, result, tell, write_into
from evaluations.chaos.rows import LoneRow, Outcome, Plan, Row
from evaluations.chaos.soak import soak
from evaluations.chaos.stack import Stack, running_stack
from evaluations.chaos.tripwire import Tripwire

_PARTS = (
    node_rows, store_rows, engine_rows, corpus_rows, identity_rows, audit_rows, chroma_rows, recovery_rows,
)  # fmt: skip
ROWS: tuple[Row | LoneRow, ...] = tuple(
    sorted((row for part in _PARTS for row in part.ROWS), key=lambda row: int(row.id[1:]))
)
EGRESS = ("F30", "all of these", "nobody connects beyond this machine")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen rows; 1 when one did not behave as expected."""
    given = _parsed(arguments)
    if given.document:
        write_into(given.document, read(given.to))
        return 0
    chosen = [row for row in ROWS if row.id in given.rows.split(",") or not (given.rows or given.soak)]
    plan = Plan(given.rate, given.short, given.seed, 20 if given.short and not given.kills else given.kills or 1000)
    form = f"{'short' if given.short else 'full'}, {date.today():%d %b %Y}"
    lone = [row for row in chosen if isinstance(row, LoneRow)]
    found = [_said(_run_alone(row, plan, form), given.to) for row in lone]
    if given.soak or len(lone) < len(chosen):
        nodes = f"{form}, {given.nodes} nodes, {given.rate:g} calls/s"
        found += _on_the_stack([row for row in chosen if isinstance(row, Row)], plan, nodes, given)
    failed = [each.id for each in found if each.passed is False]
    _say(f"{len(found) - len(failed)} of {len(found)} rows as expected" + f"; not: {', '.join(failed)}" * bool(failed))
    return 1 if failed else 0


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=…", description=__doc__)
    parser.add_argument("--rows", default="", help="only these, as F1,F5")
    parser.add_argument("--short", action="store_true", help="shorter faults and fewer repetitions")
    parser.add_argument(
        "--soak",
        type=float,
        default=0,
        metavar="MINUTES",
        help="F31: random faults for so long; alone, or before --rows",
    )
    parser.add_argument("--nodes", type=int, default=3, help="Assistants; each takes 600 MiB")
    parser.add_argument("--rate", type=float, default=4.0, help="callers a second, where a row says nothing else")
    parser.add_argument("--seed", type=int, default=1, help="of all chance")
    parser.add_argument("--kills", type=int, default=0, help="of Chroma in F17 (default 1000, short 20)")
    parser.add_argument("--to", type=Path, default=Path("var/chaos"), help="folder of chaos.json and chaos.md")
    parser.add_argument("--document", type=Path, help="run nothing; write what was kept into this document's table")
    return parser.parse_args(arguments)


def _on_the_stack(rows: Sequence[Row], plan: Plan, form: str, given: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="banksight-chaos-") as folder:
        began = time.perf_counter()
        with (
            running_stack(Path(folder), given.nodes, "oidc") as stack,
            Tripwire(lambda: stack.children) as tripwire,
        ):
            mib = ", ".join(f"{child.name} {child.memory_mib():.0f}" for child in stack.children)
            _say(f"{given.nodes} nodes run after {time.perf_counter() - began:.0f} s; MiB: {mib}")
            found = []
            if given.soak:
                before = stack.watch.counts()
                minutes = asyncio.run(soak(stack, plan, given.soak))
                stack.heal()
                named = ("F31", f"{given.soak:g} minutes of random faults", "at least 99.5 % good or labelled")
                found.append(_said(result(named, minutes, form, before, stack.watch.counts()), given.to))
            found += [_said(_run(row, stack, plan, form), given.to) for row in rows]
            ran = ", ".join(each.id for each in found)
            egress = Outcome(
                not tripwire.strangers,
                f"during {ran}: {tripwire.looks} looks at the connections of all processes, "
                f"{len(tripwire.strangers)} strangers",
                {"strangers": sorted(tripwire.strangers)},
            )
            return [*found, _said(result(EGRESS, egress, form, {}, {}), given.to)]


def _run(row: Row, stack: Stack, plan: Plan, form: str) -> Result:
    before = stack.watch.counts()
    try:
        outcome = asyncio.run(row.run(stack, plan))
    except Exception as error:  # noqa: BLE001 - a row that breaks is a row that failed; the others still count
        outcome = _broken(error)
    stack.heal()
    return result((row.id, row.fault, row.expected), outcome, form, before, stack.watch.counts())


def _run_alone(row: LoneRow, plan: Plan, form: str) -> Result:
    with tempfile.TemporaryDirectory(prefix="banksight-chaos-") as folder:
        try:
            outcome = row.run(Path(folder), plan)
        except Exception as error:  # noqa: BLE001 - as above
            outcome = _broken(error)
    return result((row.id, row.fault, row.expected), outcome, form, {}, {})


def _broken(error: Exception) -> Outcome:
    return Outcome(passed=False, measured=f"the row itself broke: {type(error).__name__}: {error}"[:300])


def _said(found: Result, folder: Path) -> Result:
    """Told and kept at once: whoever runs all rows waits for long, and may lose the machine."""
    _say(tell(found))
    keep(folder, [found])
    return found


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
