"""The whole product under load on this machine, next to what the capacity model says.

    python -m evaluations.load_benchmark --load NODES:USERS:THINK

nginx, the nodes, Redis, Chroma and a language model's server without a model (40 tokens/s for each stream) run; the
virtual users are those of `banksight load`. All of it shares this machine's cores, so processor time per answer is the
figure to look at where other work keeps them busy; it is what all processes of a kind took, divided by the answers.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import click
import psutil

from evaluations.chaos.corpus import asked
from evaluations.chaos.environment import source_of
from evaluations.chaos.processes import Child
from evaluations.chaos.stack import Stack, running_stack
from evaluations.http_load import Target, many_callers, one_caller
from evaluations.load.capacity import Outcome, Traffic, simulate
from evaluations.load.cards import simulated
from evaluations.load.exchange import Place
from evaluations.load.figures import OUTSIDE, Figures, figures
from evaluations.load.mix import Mix, load_questions
from evaluations.load.node import Work
from evaluations.load.plan import Plan
from evaluations.load.running import carry_out
from evaluations.load.showing import verdict
from evaluations.processor_stages import watched
from evaluations.runs.machine import machine
from evaluations.servers import Server, free_ports, posts, running
from evaluations.timing import table

_TOKENS_PER_SECOND: Final = 40.0
_FIRST_SECONDS: Final = 0.1
_WARM_USERS: Final = 4
_QUESTIONS: Final = 5000
_IDLE_SECONDS: Final = 8
_STAGES: Final = (12, 1.0, 20.0)  # people, seconds to think, seconds: the load of the look at the stages
_LIST_SECONDS: Final = 4  # until the proxy has read the list of nodes again


@dataclass(frozen=True, slots=True)
class Measured:
    """A load that was measured, the processor seconds of each kind of process in it, and the load average after it."""

    found: Figures
    processor: dict[str, float]
    load_average: float


def measure(stack: Stack, nodes: int, users: int, think: float, seconds: float, mix: Mix) -> Measured:
    """So many users against so many of the stack's nodes."""
    stack.nginx.nodes.write_text("".join(f"127.0.0.1:{port}\n" for port in stack.ports[:nodes]), encoding="utf-8")
    time.sleep(_LIST_SECONDS)
    entry = stack.nginx.api
    place = Place(
        f"https://{entry.host}", timeout=40, connect=entry.url.removeprefix("https://"), certificate=entry.certificate
    )
    before = _processor(stack)
    plan = Plan(place, users, seconds, think, min(5.0, seconds / 4), mix.model_dump_json(), load_questions(mix, 0))
    load = carry_out(plan)
    after = _processor(stack)
    return Measured(
        figures(load.samples, load.seconds), {name: after[name] - before[name] for name in before}, os.getloadavg()[0]
    )


def stages(stack: Stack, mix: Mix) -> list[tuple[str, ...]]:
    """Processor milliseconds of an answer of one node by the part of the product that takes them.

    Only a heading where py-spy is not installed. The look itself costs time, so this load is one of its own.
    """
    users, think, seconds = _STAGES
    worker = max(stack.nodes[0].tree(), key=lambda process: process.cpu_times().user)
    with watched(worker.pid) as seconds_of:
        done = measure(stack, 1, users, think, seconds, mix)
    answers = _answered(done)
    parts = [(part, f"{1000 * took / answers:.1f}") for part, took in seconds_of().items()]
    return [
        ("part of an answer", "processor ms"),
        *parts,
        ("all nodes", f"{1000 * done.processor['node'] / answers:.1f}"),
    ]


def predicted(measured: Measured, nodes: int, users: int, think: float, slots: int) -> Outcome:
    """The same by the model, which is told how long a slot was taken: the product gives a slot to the whole pipeline.

    What it has to find is how many come, how long they wait for a slot, and how many are turned away.
    """
    found = measured.found
    outside = sum(stage.times.mean for stage in found.stages if stage.name in (OUTSIDE, "queue"))
    slot = max(0.1, found.whole_made.mean - outside)
    work = Work(0.0, (slot - _FIRST_SECONDS) * _TOKENS_PER_SECOND, own_seconds=0.0)
    card = simulated(_TOKENS_PER_SECOND, slots, _FIRST_SECONDS)
    return simulate(Traffic(users, think, found.cached_share), card, nodes, work)


def _processor(stack: Stack) -> dict[str, float]:
    found: defaultdict[str, float] = defaultdict(float)
    for child in stack.children:
        found[child.name.split()[0]] += _seconds(child)
    return found


def _seconds(child: Child) -> float:
    total = 0.0
    for process in child.tree():
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def write_mix(folder: Path) -> Mix:
    """Questions whose answers the small corpus holds, none from the cache; new ones each time, hardly one twice."""
    path = folder / "questions.jsonl"
    texts = [str(asked(0, stream=True)["question"]) for _ in range(_QUESTIONS)]
    path.write_text("".join(json.dumps({"question": each}) + "\n" for each in texts), encoding="utf-8")
    return Mix(questions={str(path): 1}, zipf=0, fresh=1, weights={"ask": 1})


def idle_cost(stack: Stack) -> str:
    """What all processes take while nobody asks: it is in every figure per answer, the more the fewer ask."""
    before = _processor(stack)
    time.sleep(_IDLE_SECONDS)
    after = _processor(stack)
    taken = ", ".join(f"{name} {1000 * (after[name] - before[name]) / _IDLE_SECONDS:.0f} ms" for name in before)
    return f"processor time per second while nobody asks: {taken}"


def plain_cost(stack: Stack, answers: int, callers: int) -> str:
    """Processor time of an answer by the plain way: its server and what it asks of Chroma, a few callers at once."""
    (port,) = free_ports(1)
    chroma_port = int(stack.chroma.command[-1])
    command = [sys.executable, "-m", "evaluations.peers.plain_answers", str(source_of(stack.folder)), str(chroma_port)]
    warm = [asked(0, stream=False) for _ in range(5)]
    target = Target(port, "/v1/ask")
    with running([*command, str(stack.llm_port), str(port)], {}, posts(port, "/v1/ask", warm[0])) as process:
        one_caller(target, warm)
        server = Server(port, process)
        before = server.cpu_seconds(), _seconds(stack.chroma)
        bodies = (asked(0, stream=False) for _ in count())
        load = many_callers(target, bodies, callers, answers / callers)
        found = len(load.latencies)
        own, chroma = server.cpu_seconds() - before[0], _seconds(stack.chroma) - before[1]
    return f"plain way, {found} answers: server {1000 * own / found:.1f} ms, chroma {1000 * chroma / found:.1f} ms"


@click.command()
@click.option("--plain/--no-plain", default=True, help="Also FastAPI with LlamaIndex's chat engine.")
@click.option("--stages/--no-stages", "by_stage", default=True, help="Also what part of an answer costs what.")
@click.option("--nodes", "most", default=3, show_default=True, type=click.IntRange(1, 10), help="Nodes to start.")
@click.option("--slots", default=8, show_default=True, help="Questions that a node works on at the same time.")
@click.option("--seconds", default=20.0, show_default=True, help="Seconds of each load.")
@click.option("--load", "loads", multiple=True, default=("3:30:10", "1:16:3"), help="NODES:USERS:THINK, several times.")
def main(plain: bool, by_stage: bool, most: int, slots: int, seconds: float, loads: tuple[str, ...]) -> None:  # noqa: FBT001 - click
    """Print what was measured, what the model says, and processor time per answer."""
    rows: list[tuple[str, ...]] = [
        ("nodes, users, think", "", "answers/s", "p50 s", "p95 s", "turned away", "failed", "generate p95 s")
    ]
    costs: list[tuple[str, ...]] = [
        ("processor ms per answer", "nodes", "nginx", "chroma", "redis", "llm's server", "load average")
    ]
    os.environ["BANKSIGHT__ADMISSION__SLOTS"] = str(slots)
    place = tempfile.TemporaryDirectory(prefix="banksight-load-")
    with place as folder, running_stack(Path(folder), most) as stack:
        click.echo(f"{machine()}; {most} nodes run\n")
        measure(stack, most, _WARM_USERS, 0.1, 5, write_mix(Path(folder)))
        click.echo(idle_cost(stack) + "\n")
        for given in loads:
            nodes, users = (int(each) for each in given.split(":")[:2])
            think = float(given.split(":")[2])
            done = measure(stack, nodes, users, think, seconds, write_mix(Path(folder)))
            name = f"{nodes}, {users}, {think:g} s"
            rows += _both(name, done, predicted(done, nodes, users, think, slots))
            costs.append(_cost(name, done))
            _tell_stages(name, done)
        if by_stage:
            click.echo(table(stages(stack, write_mix(Path(folder)))) + "\n")
        if plain:
            click.echo(plain_cost(stack, 60, 3) + "\n")
    click.echo(table(rows) + "\n\n" + table(costs))


def _tell_stages(name: str, done: Measured) -> None:
    click.echo(f"{name}: {verdict(done.found)}")
    for stage in done.found.stages:
        click.echo(f"  {stage.name}: mean {stage.times.mean:.3f} p95 {stage.times.p95:.3f}")
    click.echo(f"  {done.found.results} {done.found.errors}\n")


def _both(name: str, done: Measured, model: Outcome) -> list[tuple[str, ...]]:
    """The rows of what was measured and of what the model says."""
    found = done.found
    away = found.results.get("busy", 0) / max(1, found.requests)
    generate = next((each.times.p95 for each in found.stages if each.name == "generate"), 0.0)
    measured = Outcome(found.answers, found.whole.p50, found.whole.p95, away)
    return [
        (*_row(name, "measured", measured), str(found.failed), f"{generate:.2f}"),
        (*_row("", "model", model), "", ""),
    ]


def _row(name: str, what: str, outcome: Outcome) -> tuple[str, ...]:
    return (
        name,
        what,
        f"{outcome.answers:.2f}",
        f"{outcome.p50:.2f}",
        f"{outcome.p95:.2f}",
        f"{outcome.turned_away:.1%}",
    )


def _cost(name: str, done: Measured) -> tuple[str, ...]:
    answers = _answered(done)
    kinds = ("node", "nginx", "chroma", "redis", "llm")
    return (name, *(f"{1000 * done.processor[kind] / answers:.1f}" for kind in kinds), f"{done.load_average:.1f}")


def _answered(done: Measured) -> int:
    return max(1, sum(count for result, count in done.found.results.items() if result not in {"busy", "error"}))


if __name__ == "__main__":
    main()
