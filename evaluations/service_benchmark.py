"""How fast the running service is, how soon it is there and what memory it takes, next to the plain way.

    python -m evaluations.service_benchmark [--folder var/benchmark]

Both servers search the same chunks and vectors with the same encoder, on the same machine, in turns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from statistics import median

import click

from evaluations.benchmark_corpus import BenchmarkCorpus, prepare, questions
from evaluations.http_load import Load, Target, many_callers, one_caller
from evaluations.servers import Memory, Server, free_ports, memory, posts, running
from evaluations.timing import percentile, table

CALLERS = 32
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server did in all rounds together: seconds of each request, and per round requests and CPU seconds."""

    single: tuple[float, ...]
    rates: tuple[float, ...]
    crowded: tuple[float, ...]
    cpu_per_request: tuple[float, ...]


def measure(servers: Sequence[Server], rounds: int, seconds: float) -> list[Figures]:
    """Search on the servers, in turns: one caller, then 32. No question is asked of a server twice."""
    measured = [_Measured(server) for server in servers]
    for _ in range(rounds):
        for each in measured:
            each.turn(seconds)
    return [each.figures() for each in measured]


class _Measured:
    """A server with the loads that it had so far."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._fresh = _endless_bodies()
        self._single: list[Load] = []
        self._crowd: list[Load] = []
        self._cpu: list[float] = []

    def turn(self, seconds: float) -> None:
        target = Target(self._server.port, "/v1/search")
        one_caller(target, list(islice(self._fresh, 20)))
        self._single.append(one_caller(target, list(islice(self._fresh, 300))))
        before = self._server.cpu_seconds()
        load = many_callers(target, self._fresh, CALLERS, seconds)
        self._cpu.append((self._server.cpu_seconds() - before) / len(load.latencies))
        self._crowd.append(load)

    def figures(self) -> Figures:
        return Figures(
            single=tuple(chain.from_iterable(load.latencies for load in self._single)),
            rates=tuple(load.rate for load in self._crowd),
            crowded=tuple(chain.from_iterable(load.latencies for load in self._crowd)),
            cpu_per_request=tuple(self._cpu),
        )


def _endless_bodies() -> Iterator[dict[str, object]]:
    """Search requests that are all different, so that no cache answers."""
    for number in count(1):
        for question in questions():
            yield {"query": f"{question} Case {number}.", "top_k": 8}


def search_table(ours: Figures, plain: Figures) -> str:
    """Latency of one caller; rate, processor time and latency with 32, with the ratio of the rates."""
    rows: list[tuple[str, ...]] = [
        ("/v1/search", "p50 ms", "p95 ms", f"req/s, {CALLERS} callers", "p95 ms", "CPU ms each", "ratio")
    ]
    for name, figures in (("plain FastAPI + VectorStoreIndex", plain), ("BankSight", ours)):
        rate = median(figures.rates)
        milliseconds = [
            f"{1000 * value:.1f}"
            for value in (
                percentile(figures.single, 0.5),
                percentile(figures.single, 0.95),
                percentile(figures.crowded, 0.95),
                median(figures.cpu_per_request),
            )
        ]
        ratio = f"{rate / median(plain.rates):.1f}"
        rows.append((name, *milliseconds[:2], f"{rate:.1f}", *milliseconds[2:], ratio))
    return table(rows)


def memory_table(processes: Sequence[Memory]) -> str:
    """Memory per process and in total."""
    rows = [("memory of banksight up", "resident MiB", "proportional MiB")]
    rows += [(each.name, f"{each.rss / MIB:.0f}", f"{each.pss / MIB:.0f}") for each in processes]
    total = (sum(each.rss for each in processes), sum(each.pss for each in processes))
    return table([*rows, ("all processes", f"{total[0] / MIB:.0f}", f"{total[1] / MIB:.0f}")])


def run(corpus: BenchmarkCorpus, rounds: int, seconds: float) -> None:
    """Start both servers, measure, print."""
    api, ui, peer = free_ports(3)
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
    plain_answers = posts(peer, "/v1/search", {"query": first})
    started = time.perf_counter()
    with running(
        [sys.executable, "-m", "rag.cli", "up"], environment, posts(api, "/v1/ask", {"question": first})
    ) as up:
        click.echo(f"first answer after banksight up: {time.perf_counter() - started:.1f} s\n")
        with running([*plain, str(peer)], {}, plain_answers) as other:
            ours, theirs = measure([Server(api, up), Server(peer, other)], rounds, seconds)
        click.echo(search_table(ours, theirs) + "\n")
        asked = one_caller(
            Target(api, "/v1/ask"), [{"question": question, "fresh": True} for question in others]
        ).latencies
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
