"""`make chaos`: the fault matrix against the whole product on this machine."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from evaluations.chaos import corpus_rows, engine_rows, node_rows, store_rows
from evaluations.chaos.rows import Outcome, Plan, Row
from evaluations.chaos.soak import soak
from evaluations.chaos.stack import Stack, running_stack
from evaluations.chaos.tripwire import Tripwire

ROWS: tuple[Row, ...] = tuple(
    sorted((*node_rows.ROWS, *store_rows.ROWS, *engine_rows.ROWS, *corpus_rows.ROWS), key=lambda row: int(row.id[1:]))
)

_VERDICT = {True: "ok", False: "**not met**"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen rows; 1 when one did not behave as expected."""
    given = _parsed(arguments)
    rows = [row for row in ROWS if not given.rows or row.id in given.rows.split(",")]
    plan = Plan(given.rate, given.short)
    with tempfile.TemporaryDirectory(prefix="banksight-chaos-") as folder:
        began = time.perf_counter()
        with running_stack(Path(folder), given.nodes) as stack, Tripwire(lambda: stack.children) as tripwire:
            mib = ", ".join(f"{child.name} {child.memory_mib():.0f}" for child in stack.children)
            _say(f"{given.nodes} nodes run after {time.perf_counter() - began:.0f} s; MiB: {mib}")
            found = [_run(row, stack, plan) for row in rows if given.rows or not given.soak]
            if given.soak:
                minutes = asyncio.run(soak(stack, plan, given.soak, given.seed))
                found.append(_told("F31", f"{given.soak:g} minutes of random faults", "99.5 % good", minutes))
            if not given.rows:
                egress = Outcome(
                    not tripwire.strangers,
                    f"{tripwire.looks} looks at the connections of all processes, {len(tripwire.strangers)} strangers",
                    {"strangers": sorted(tripwire.strangers)},
                )
                found.append(_told("F30", "all of the above", "nobody connects beyond this machine", egress))
    _write(given.to, found)
    failed = [str(each["id"]) for each in found if not each["passed"]]
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
        help="F31: random faults for so long; alone, or after --rows",
    )
    parser.add_argument("--nodes", type=int, default=3, help="Assistants; each takes 600 MiB")
    parser.add_argument("--rate", type=float, default=4.0, help="callers a second, where a row says nothing else")
    parser.add_argument("--seed", type=int, default=1, help="of the random faults")
    parser.add_argument("--to", type=Path, default=Path("var/chaos"), help="folder of chaos.json and chaos.md")
    return parser.parse_args(arguments)


def _run(row: Row, stack: Stack, plan: Plan) -> dict[str, object]:
    try:
        outcome = asyncio.run(row.run(stack, plan))
    except Exception as error:  # noqa: BLE001 - a row that breaks is a row that failed; the others still count
        outcome = Outcome(passed=False, measured=f"the row itself broke: {type(error).__name__}: {error}"[:300])
    stack.heal()
    return _told(row.id, row.fault, row.expected, outcome)


def _told(number: str, fault: str, expected: str, outcome: Outcome) -> dict[str, object]:
    _say(f"{'ok  ' if outcome.passed else 'FAIL'} {number:4} {fault}: {outcome.measured}")
    if not outcome.passed and outcome.figures.get("details"):
        _say(f"       {outcome.figures['details']}")
    return {"id": number, "fault": fault, "expected": expected, **asdict(outcome)}


def _write(folder: Path, found: Sequence[dict[str, object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chaos.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    lines = ["| # | fault | expected | measured | |", "|---|---|---|---|---|"]
    for each in found:
        cells = [*(str(each[key]) for key in ("id", "fault", "expected", "measured")), _VERDICT[bool(each["passed"])]]
        lines.append(f"| {' | '.join(cells)} |")
    (folder / "chaos.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
