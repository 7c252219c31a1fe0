"""Clocks, percentiles and child processes for the benchmarks."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ChildRun:
    """What a child process printed as JSON, and the seconds from its start to its end."""

    report: dict[str, Any]
    seconds: float


def run_child(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> ChildRun:
    """Run a command whose last line of output is one JSON object. Raises `RuntimeError` with its error output."""
    started = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(f"{command[-1]} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
    return ChildRun(json.loads(done.stdout[done.stdout.index("{") :]), seconds)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` (0..1) of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned text; the first row is the heading, the first column is left-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
