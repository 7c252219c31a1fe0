"""The virtual users, as a Locust scenario in a process of its own: `python -m evaluations.load.scenario PLAN`.

PLAN is a file with a `Plan` as JSON. Every request becomes one line of JSON on standard output (`Sample`), until the
time is over or SIGTERM comes. Nothing else may import this module: Locust replaces sockets and threads when imported.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gevent
import gevent.event
from locust import User, events, task
from locust.env import Environment

from evaluations.load.exchange import Line, Sample
from evaluations.load.mix import Mix
from evaluations.load.person import Person
from evaluations.load.plan import Plan


def main(path: str) -> None:
    """Run the plan."""
    logging.getLogger("locust").setLevel(logging.ERROR)
    run(Plan.from_json(Path(path).read_text(encoding="utf-8")))


def run(plan: Plan) -> None:
    """Start the users in even steps, and stop all of them at the end; answers that are under way are not counted."""
    over = gevent.event.Event()
    environment = Environment(user_classes=[_user_class(plan, over)], events=events)
    environment.events.request.add_listener(_write)  # type: ignore[no-untyped-call]
    runner = environment.create_local_runner()
    gevent.signal_handler(signal.SIGTERM, over.set)
    runner.start(plan.users, spawn_rate=plan.users / plan.ramp_seconds if plan.ramp_seconds else plan.users)
    over.wait(plan.seconds)
    over.set()  # from here on connections are cut, and what comes of that is no figure
    runner.quit()


def _user_class(plan: Plan, over: gevent.event.Event) -> type[User]:
    mix = Mix.model_validate_json(plan.mix)
    began = time.perf_counter()

    class Visitor(User):
        """Thinks, does something, remembers it."""

        number = 0

        def __init__(self, environment: Environment) -> None:
            super().__init__(environment)
            Visitor.number += 1
            self.person = Person(mix, plan.questions, f"{plan.seed}-{Visitor.number}", plan.think_seconds)
            self.line = Line(plan.place)

        def on_start(self) -> None:
            """Come at any time of a think time, not all at once."""
            gevent.sleep(self.person.arrive())

        def on_stop(self) -> None:
            """Hang up."""
            self.line.close()

        def wait_time(self) -> float:
            """Locust sleeps so long after each task."""
            return self.person.think()

        @task
        def act(self) -> None:
            """One action of the mix."""
            action = self.person.next()
            sample, text = self.line.carry_out(action, time.perf_counter() - began)
            if over.is_set():
                return
            if text:
                self.person.heard(action.body["question"], text)
            self.environment.events.request.fire(
                request_type="POST", name=action.kind, response_time=1000 * sample.total, response_length=len(text),
                exception=sample.detail if sample.result == "error" else None, context={"sample": sample},
            )  # fmt: skip
            if sample.result in {"busy", "error"} and not plan.think_seconds:
                gevent.sleep(plan.pause_seconds)  # who does not think would ask a server that is away in a tight loop

    return Visitor


def _write(context: dict[str, Any], **_: Any) -> None:
    sample: Sample = context["sample"]
    sys.stdout.write(json.dumps(asdict(sample)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
