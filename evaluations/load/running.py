"""The process with the virtual users: started, read line by line, ended; what it sent is kept whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from evaluations.load.exchange import Sample
from evaluations.load.plan import Plan
from rag.errors import ConfigurationError

_LOOK_SECONDS: Final = 0.5
_START_SECONDS: Final = 120  # of a process on a busy machine
_END_SECONDS: Final = 15


@dataclass(slots=True)
class Load:
    """What was done. `seconds` is how long the load really lasted, `cut` that somebody ended it before its time."""

    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0
    cut: bool = False


def carry_out(plan: Plan, show: Callable[[Load], None] = lambda _: None) -> Load:
    """All samples; `show` sees them twice a second while they come. Ctrl-C ends the load and gives what there is.

    Raises `ConfigurationError` when the process cannot run.
    """
    load = Load()
    with tempfile.TemporaryDirectory(prefix="banksight-load-") as folder:
        path = Path(folder) / "plan.json"
        path.touch(mode=0o600)  # it holds the key
        path.write_text(plan.to_json(), encoding="utf-8")
        with (Path(folder) / "errors").open("w+b") as errors:
            with subprocess.Popen(
                [sys.executable, "-m", "evaluations.load.scenario", str(path)], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=errors, start_new_session=True, env={**os.environ, "PYTHONUTF8": "1"},
            ) as process:  # fmt: skip
                reader = threading.Thread(target=_read, args=(process, load), name="samples", daemon=True)
                reader.start()
                _watched(process, load, show, plan.seconds + plan.place.timeout + _START_SECONDS)
                reader.join(_END_SECONDS)
            errors.seek(0)
            told = errors.read().decode(errors="replace").strip()
    if process.returncode != 0 and not load.samples and not load.cut:
        raise ConfigurationError(
            f"the virtual users cannot run: {(told.splitlines() or ['no reason given'])[-1]}; "
            'they need Locust: pip install "banksight[eval]"'
        )
    return load


def _watched(process: subprocess.Popen[bytes], load: Load, show: Callable[[Load], None], longest: float) -> None:
    """Return when the process has ended."""
    began = time.monotonic()
    try:
        while process.poll() is None and time.monotonic() - began < longest:
            load.seconds = time.monotonic() - began
            show(load)
            time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        load.cut = True
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    load.seconds = max((sample.began + sample.total for sample in load.samples), default=load.seconds)


def _read(process: subprocess.Popen[bytes], load: Load) -> None:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    for line in process.stdout:
        load.samples.append(Sample(**json.loads(line)))
