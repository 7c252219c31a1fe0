"""`banksight load` with its real virtual users, against a node that costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluations.chaos.nginx import answers
from evaluations.chaos.processes import Child
from evaluations.load.commands import load as load_command
from evaluations.load.exchange import Place
from evaluations.load.mix import load_mix, load_questions
from evaluations.load.plan import Plan
from evaluations.load.running import Load, carry_out
from evaluations.servers import free_ports

pytestmark = pytest.mark.network_allowed


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "evaluations.chaos.stub_node", str(port), "--seconds", "0.05"]
    log = tmp_path_factory.mktemp("node") / "log"
    node = Child("node", command, lambda: answers(f"http://127.0.0.1:{port}/readyz", 200), log)
    node.start()
    yield f"http://127.0.0.1:{port}"
    node.stop()


def test_a_load_is_told_in_all_forms(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told, page = tmp_path / "told.json", tmp_path / "page.html"
    options = ["--users", "5", "--think", "0.1", "--duration", "2", "--json", str(told), "--report", str(page)]
    assert load_command.main([url, *options], standalone_mode=False) == 0
    found: dict[str, Any] = json.loads(told.read_text())
    figures = found["figures"]
    assert figures["results"]["answered"] > 0
    assert figures["first_words"]["p50"] < figures["whole_made"]["p50"]
    assert "Slowest stage: outside the pipeline" in capsys.readouterr().out
    assert page.read_text().startswith("<!doctype html>")


def _plan(url: str, seconds: float) -> Plan:
    mix = load_mix()
    return Plan(Place(url, timeout=5), 3, seconds, 0.1, 0, mix.model_dump_json(), load_questions(mix, 0))


def test_ctrl_c_ends_a_load_and_keeps_what_was_done(url: str) -> None:
    def press_when_something_was_done(load: Load) -> None:
        if len(load.samples) > 2:
            raise KeyboardInterrupt

    load = carry_out(_plan(url, 60), press_when_something_was_done)
    assert load.cut
    assert load.seconds < 60
    assert {sample.result for sample in load.samples} <= {"answered", "stopped", "searched"}


def test_a_service_that_is_not_there_gives_errors_with_a_reason() -> None:
    (port,) = free_ports(1)
    load = carry_out(_plan(f"http://127.0.0.1:{port}", 1))
    assert load.samples
    assert {sample.result for sample in load.samples} == {"error"}
    assert "Connection refused" in load.samples[0].detail


def test_only_the_process_of_the_virtual_users_imports_locust() -> None:
    """gevent replaces sockets and threads of whoever imports it."""
    code = (
        "import sys, evaluations.load.commands, evaluations.load.running, evaluations.load.showing; "
        "print(sorted({'locust', 'gevent'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
