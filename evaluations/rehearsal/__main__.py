"""`make rehearsal`: the checklists, a load, a kill, a new certificate, a loss and a restore; prints a table.

    python -m evaluations.rehearsal [--keep FOLDER]

Needs the programs below and PostgreSQL, which `make test` installs too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from evaluations.rehearsal.production import production
from evaluations.rehearsal.steps import STEPS, Failed, logs

PROGRAMS: Final = ("nginx", "redis-server", "redis-cli", "prometheus", "promtool", "restic", "curl", "openssl")


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every step ended as it has to; 1 after the first that did not, for later ones need what it makes.

    3 where a program is missing; 130 when interrupted, and then too all that was started is ended.
    """
    parser = argparse.ArgumentParser(prog="make rehearsal", description=__doc__)
    parser.add_argument("--keep", type=Path, help="an empty folder for everything; else a temporary one")
    given = parser.parse_args(arguments)
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if missing := [each for each in PROGRAMS if not shutil.which(each, path=path)]:
        _say(f"not installed: {', '.join(missing)}; install them, as `make test` does")
        return 3
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
        return _rehearse(given.keep.resolve())
    with tempfile.TemporaryDirectory(prefix="banksight-rehearsal-") as folder:
        return _rehearse(Path(folder))


def _rehearse(folder: Path) -> int:
    rows = [("step", "seconds", "what came of it")]
    began, failed = time.monotonic(), ""
    with production(folder) as made:
        for step in STEPS:
            started = time.monotonic()
            try:
                said = step(made)
            except (Failed, RuntimeError, OSError) as error:
                failed = step.__name__
                said = f"FAILED: {error}"
            rows.append((step.__name__, f"{time.monotonic() - started:.0f}", said))
            _say(f"{step.__name__}: {said}")
            if failed:
                _say(logs(folder))
                break
    rows.append(("all", f"{time.monotonic() - began:.0f}", f"stopped at {failed}" if failed else "as it has to be"))
    _say("\n" + "\n".join(f"{name:<12}{seconds:>8}  {said}" for name, seconds, said in rows))
    return 1 if failed else 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
