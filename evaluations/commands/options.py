"""What several commands share: where runs are, and how figures are printed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from evaluations.datasets.loading import ROOT
from evaluations.runs.store import RunStore

RUNS: Final = ROOT / "var" / "evaluation-runs"
CORPORA: Final = ROOT / "var" / "evaluation-corpora"


def runs_option(command: Any) -> Any:
    """`--runs FOLDER`: where runs are kept."""
    return click.option(
        "--runs", type=click.Path(path_type=Path, file_okay=False), default=RUNS, envvar="BANKSIGHT_EVALUATION_RUNS",
        help="Where runs are kept; also BANKSIGHT_EVALUATION_RUNS.  [default: var/evaluation-runs]",
    )(command)  # fmt: skip


@contextmanager
def opened_store(folder: Path) -> Iterator[RunStore]:
    """The runs below a folder, closed at the end."""
    store = RunStore.open(folder)
    try:
        yield store
    finally:
        store.close()
