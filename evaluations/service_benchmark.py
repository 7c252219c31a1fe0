"""How fast the running service is, how soon it is there and what memory it takes, next to the plain way.

    python -m evaluations.service_benchmark [--folder var/benchmark]

Both servers search the same chunks and vectors with the same encoder, on the same machine, in turns.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import click
import psutil

from evaluations.benchmark_corpus import BenchmarkCorpus, prepare, questions
from evaluations.http_load import Load, Target, many_callers, one_caller
from evaluations.timing import percentile, table

CALLERS = 32
START_SECONDS = 180
STOP_SECONDS = 30
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one process. `rss` counts shared pages in every process, `pss` shares them out; bytes."""

    name: str
    rss: int
    pss: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server did in all rounds together."""

    single: tuple[float, ...]
    rates: tuple[float, ...]
    crowded: tuple[float, ...]


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], answers: Callable[[], bool]
) -> Iterator[psutil.Process]:
    """A server as a child process, from its first answer on; ended in order, with all its children."""
    child = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + START_SECONDS
        while not answers():
            if child.poll() is not None:
                raise RuntimeError(f"{command[-1]} ended with {child.returncode} before it answered")
            if time.monotonic() > until:
                raise RuntimeError(f"{command[-1]} did not answer within {START_SECONDS} s")
            time.sleep(0.05)
        yield psutil.Process(child.pid)
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def memory(root: psutil.Process) -> list[Memory]:
    """Memory of a process and of all below it, largest first."""
    found = []
    for process in [root, *root.children(recursive=True)]:
        usage = process.memory_full_info()
        found.append(Memory(_name(process), usage.rss, usage.pss))
    return sorted(found, key=lambda each: -each.rss)


def _name(process: psutil.Process) -> str:
    words = [word for word in process.cmdline()[1:] if not word.startswith(("{", "/proc"))]
    return " ".join(Path(word).name if "/" in word else word for word in words)[:60] or process.name()


def _posts(port: int, path: str, body: Mapping[str, object]) -> Callable[[], bool]:
    """Whether a POST is answered with 200 by now."""

    def answers() -> bool:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return answers


def _free_ports(number: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def measure(ports: Sequence[int], rounds: int, seconds: float) -> list[Figures]:
    """Search on the servers at these ports, in turns: one caller, then 32."""
    bodies = [{"query": question, "top_k": 8} for question in questions()]
    single: list[list[Load]] = [[] for _ in ports]
    crowd: list[list[Load]] = [[] for _ in ports]
    for _ in range(rounds):
        for number, port in enumerate(ports):
            target = Target(port, "/v1/search")
            one_caller(target, bodies[:20])
            single[number].append(one_caller(target, bodies))
            crowd[number].append(many_callers(target, bodies, CALLERS, seconds))
    return [
        Figures(
            single=tuple(chain.from_iterable(load.latencies for load in single[number])),
            rates=tuple(load.rate for load in crowd[number]),
            crowded=tuple(chain.from_iterable(load.latencies for load in crowd[number])),
        )
        for number in range(len(ports))
    ]


def search_table(ours: Figures, plain: Figures) -> str:
    """Latency of one caller and rate with 32, with the ratio of the rates."""
    rows = [("/v1/search", "p50 ms", "p95 ms", f"req/s with {CALLERS} callers", "p95 ms with them", "ratio")]
    middle = sorted(plain.rates)[len(plain.rates) // 2]
    for name, figures in (("plain FastAPI + VectorStoreIndex", plain), ("BankSight", ours)):
        rate = sorted(figures.rates)[len(figures.rates) // 2]
        milliseconds = [
            f"{1000 * percentile(values, share):.1f}"
            for values, share in ((figures.single, 0.5), (figures.single, 0.95), (figures.crowded, 0.95))
        ]
        rows.append((name, milliseconds[0], milliseconds[1], f"{rate:.1f}", milliseconds[2], f"{rate / middle:.1f}"))
    return table(rows)


def memory_table(processes: Sequence[Memory]) -> str:
    """Memory per process and in total."""
    rows = [("memory of banksight up", "resident MiB", "proportional MiB")]
    rows += [(each.name, f"{each.rss / MIB:.0f}", f"{each.pss / MIB:.0f}") for each in processes]
    total = (sum(each.rss for each in processes), sum(each.pss for each in processes))
    return table([*rows, ("all processes", f"{total[0] / MIB:.0f}", f"{total[1] / MIB:.0f}")])


def run(corpus: BenchmarkCorpus, rounds: int, seconds: float) -> None:
    """Start both servers, measure, print."""
    api, ui, peer = _free_ports(3)
    environment = {
        **corpus.environment,
        "BANKSIGHT__SERVER__PORT": str(api),
        "BANKSIGHT__SERVER__UI_PORT": str(ui),
    }
    first, *others = questions()
    plain = [
        sys.executable,
        "-m",
        "evaluations.peers.plain_search",
        str(corpus.nodes),
        str(corpus.nodes.parent / "plain"),
    ]
    plain_answers = _posts(peer, "/v1/search", {"query": first})
    started = time.perf_counter()
    with running(
        [sys.executable, "-m", "rag.cli", "up"], environment, _posts(api, "/v1/ask", {"question": first})
    ) as up:
        click.echo(f"first answer after banksight up: {time.perf_counter() - started:.1f} s\n")
        with running([*plain, str(peer)], {}, plain_answers):
            ours, theirs = measure([api, peer], rounds, seconds)
        click.echo(search_table(ours, theirs) + "\n")
        asked = one_caller(Target(api, "/v1/ask"), [{"question": question} for question in others]).latencies
        shown = " / ".join(f"{1000 * percentile(asked, share):.0f}" for share in (0.5, 0.95))
        click.echo(f"/v1/ask, extractive, one caller, {len(asked)} questions: p50 / p95 {shown} ms\n")
        click.echo(memory_table(memory(up)))


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var/benchmark"),
    show_default=True,
    help="Where the corpus of the benchmark is kept between runs.",
)
@click.option("--service-rounds", default=3, show_default=True, type=click.IntRange(1), help="Turns of both servers.")
@click.option("--seconds", default=8.0, show_default=True, help="Seconds with 32 callers, per turn and server.")
def main(folder: Path, service_rounds: int, seconds: float) -> None:
    """Measure the running service next to the same route built the plain way."""
    corpus = prepare(folder)
    click.echo(f"{corpus.chunks:,} chunks, {service_rounds} turns\n")
    run(corpus, service_rounds, seconds)


if __name__ == "__main__":
    main()
