"""What all guards together cost: sign-in, rates, access, privacy and audit, in processor time of one question.

    python -m evaluations.guards_benchmark [--rounds 5]

Two services with the same small corpus answer the same questions in turns: one as for a bank, with keys and limits, and
one whose guards were taken away (`evaluations/peers/unguarded.py`). Times are those of all processes of each.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import click

from evaluations.benchmark_corpus import questions
from evaluations.http_load import Target, one_caller
from evaluations.ingestion_benchmark import SAMPLE_BANK
from evaluations.servers import Server, free_ports, running
from evaluations.timing import run_child, table

TARGET_MS: Final = 8.0  # of processor time for each request
_REGULATIONS: Final = 4  # enough for answers with several passages
_QUESTIONS: Final = 60
_GUARDED: Final = {
    "BANKSIGHT__IDENTITY__MODE": "api_key",
    **{f"BANKSIGHT__LIMITS__{who}__REQUESTS_PER_MINUTE": "1000000" for who in ("USER", "KEY", "TENANT")},
    **{f"BANKSIGHT__LIMITS__{who}__TOKENS_PER_DAY": "1000000000" for who in ("USER", "KEY", "TENANT")},
}
_UNGUARDED: Final = "from evaluations.peers.unguarded import take_guards_away\n\ntake_guards_away()\n"
_KINDS: Final = {"answered anew": True, "given again": False}  # by the request's `fresh`


@dataclass(slots=True)
class Turns:
    """One service, and the milliseconds of its processor time for one request, by kind, one figure a turn."""

    server: Server
    key: str = ""
    used: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in _KINDS})

    def turn(self, kind: str, asked: Sequence[str]) -> None:
        """Ask everything once."""
        before = self.server.cpu_seconds()
        bodies = [{"question": each, "fresh": _KINDS[kind]} for each in asked]
        one_caller(Target(self.server.port, "/v1/ask", self.key), bodies)
        self.used[kind].append(1000 * (self.server.cpu_seconds() - before) / len(asked))


@contextmanager
def both_services(folder: Path) -> Iterator[tuple[Turns, Turns]]:
    """The guarded service and the other one, running, over copies of one corpus."""
    documents = folder / "documents"
    documents.mkdir()
    for each in sorted((SAMPLE_BANK / "regulations").glob("*.md"))[:_REGULATIONS]:
        shutil.copy(each, documents)
    source = {"name": "guards", "kind": "filesystem", "root": str(documents)}
    ours = {"BANKSIGHT__SOURCES": json.dumps([source]), "BANKSIGHT_DATA_DIR": str(folder / "guarded")}
    run_child([sys.executable, "-m", "rag.cli", "ingest", "--json"], ours)
    shutil.copytree(folder / "guarded", folder / "unguarded")
    (folder / "sitecustomize.py").write_text(_UNGUARDED, encoding="utf-8")
    ports = free_ports(2)
    bare = ours | {"BANKSIGHT_DATA_DIR": str(folder / "unguarded"), "PYTHONPATH": f"{folder}:{Path.cwd()}"}
    with ExitStack() as stack:
        key = _key(ours)
        guarded = stack.enter_context(_serving(ports[0], ours | _GUARDED))
        unguarded = stack.enter_context(_serving(ports[1], bare))
        yield Turns(guarded, key), Turns(unguarded)


def _key(environment: dict[str, str]) -> str:
    """A new key of an analyst."""
    command = [sys.executable, "-m", "rag.cli", "keys", "create", "benchmark", "--role", "analyst"]
    made = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    found = re.search(r"bsk_\S+\.\S+", made.stdout)
    if found is None:
        raise RuntimeError("`banksight keys create` showed no key")
    return found[0]


@contextmanager
def _serving(port: int, environment: dict[str, str]) -> Iterator[Server]:
    command = [sys.executable, "-m", "rag.cli", "serve", "--port", str(port)]
    with running(command, environment, _ready(port)) as process:
        yield Server(port, process)


def _ready(port: int) -> Callable[[], bool]:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return answers


def figures(guarded: Turns, unguarded: Turns) -> str:
    """Both services by kind of answer, the difference, and whether the target is met."""
    rows = [["processor ms of one request", "guarded", "without", "guards cost"]]
    worst = 0.0
    for kind in _KINDS:
        with_them, without = guarded.used[kind], unguarded.used[kind]
        cost = median(one - other for one, other in zip(with_them, without, strict=True))
        rows.append([kind, *(f"{value:.1f}" for value in (median(with_them), median(without), cost))])
        worst = max(worst, cost)
    verdict = "met" if worst <= TARGET_MS else "MISSED"
    return f"{table(rows)}\n\ntarget: all guards together at most {TARGET_MS:g} ms: {verdict}"


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Turns of both services.")
def main(rounds: int) -> None:
    """Print what the guards cost an answer that is computed, and one that is given again."""
    asked = questions()[:_QUESTIONS]
    with tempfile.TemporaryDirectory() as folder, both_services(Path(folder)) as (guarded, unguarded):
        for each in (guarded, unguarded):
            one_caller(Target(each.server.port, "/v1/ask", each.key), [{"question": text} for text in asked])
        for number in range(rounds):
            for kind in _KINDS:
                for each in (guarded, unguarded)[:: 1 if number % 2 else -1]:
                    each.turn(kind, asked)
        click.echo(figures(guarded, unguarded))


if __name__ == "__main__":
    main()
