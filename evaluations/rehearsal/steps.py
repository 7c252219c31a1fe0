"""What is rehearsed, in order. A step says in a sentence what came of it, or raises `Failed` with what went wrong."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from evaluations.chaos.calling import call, counted, open_loop
from evaluations.load.mix import Mix
from evaluations.rehearsal.guide import checks
from evaluations.rehearsal.production import API_HOST, Production, new_certificate

QUESTION: Final = "Within how many business days must an institution determine whether an error occurred?"
QUESTIONS: Final = (QUESTION, "For what amount is a consumer liable who gives notice within two business days?")
HOLDS: Final = "10 business days"
_PATIENCE_SECONDS: Final = 60.0
_REST_SECONDS: Final = 2.0  # until the proxy, which looks every second, sends people to a node that is ready


class Failed(Exception):
    """A step did not end as it has to. The text says what was seen."""


Step = Callable[[Production], str]


def stores(made: Production) -> str:
    """PostgreSQL, Redis, Chroma and Prometheus."""
    children = (made.postgres, made.redis, made.chroma, made.prometheus)
    for child in children:
        child.begin()
    for child in children:
        child.wait()
    return ", ".join(child.name for child in children)


def before(made: Production) -> str:
    """The checklist before a deployment, preflight in it."""
    return _checklist(made, "Before a deployment")


def deployment(made: Production) -> str:
    """Worker, documents, nodes, proxy; and a key for a person."""
    made.worker.start()
    made.command("ingest")
    made.key = json.loads(made.command("keys", "create", "rehearsal", "--role", "analyst", "--json"))["key"]
    for node in made.nodes:
        node.begin()
    for node in made.nodes:
        node.wait()
    made.proxy.start()
    _until(lambda: _up(made) == len(made.nodes), "Prometheus sees all nodes")
    return f"worker, {len(made.nodes)} nodes, proxy; {_answer(made)}"


def after(made: Production) -> str:
    """The checklist after a deployment, a backup that is proved in it."""
    return _checklist(made, "After a deployment")


def load(made: Production) -> str:
    """A short `banksight load` through the proxy."""
    file, mix, questions = (made.folder / name for name in ("load.json", "mix.json", "questions.jsonl"))
    questions.write_text("".join(json.dumps({"question": each}) + "\n" for each in QUESTIONS), encoding="utf-8")
    mix.write_text(Mix(questions={str(questions): 1}, zipf=0, fresh=1, weights={"ask": 1}).model_dump_json())
    certificate = made.environment["TLS_CERTIFICATE"]
    made.command(
        "load", "run", f"https://{API_HOST}", "--users", "6", "--think", "3", "--duration", "20", "--mix", str(mix),
        "--connect", f"127.0.0.1:{made.ports.https}", "--certificate", certificate, "--json", str(file),
    )  # fmt: skip
    figures = json.loads(file.read_text(encoding="utf-8"))["figures"]
    said = ", ".join(f"{number} {what}" for what, number in figures["results"].items())
    if not figures["results"].get("answered"):
        raise Failed(f"nobody got an answer: {said}")
    return f"{figures['requests']} requests: {said}; {figures['answers']:.1f} answers/s"


def kill(made: Production) -> str:
    """kill -9 of a node while people ask; Prometheus sees it, and it comes back."""
    node = made.nodes[0]

    async def asked() -> str:
        calling = asyncio.ensure_future(open_loop(made.entry, _fresh, rate=2, seconds=15))
        await asyncio.sleep(5)
        await asyncio.to_thread(node.kill)
        replies = await calling
        lost = [reply for reply in replies if reply.result in ("error", "hang")]
        if lost:
            raise Failed(f"{len(lost)} of {len(replies)} questions were lost: {lost[0].detail}")
        return ", ".join(f"{number} {what}" for what, number in counted(replies).items())

    said = asyncio.run(asked())
    _until(lambda: _up(made) == len(made.nodes) - 1, "Prometheus sees that a node is gone")
    began = time.monotonic()
    node.start()
    _until(lambda: _up(made) == len(made.nodes), "Prometheus sees the node again")
    return f"{said}, none lost; back after {time.monotonic() - began:.0f} s"


def rotation(made: Production) -> str:
    """A new certificate in the place of the old one."""
    old = _served_certificate(made)
    new_certificate(made.folder)
    _until(lambda: _served_certificate(made) != old, "the proxy serves the new certificate")
    return f"the proxy serves the new one; {_answer(made)}"


def loss(made: Production) -> str:
    """Registry, vectors, files and the folders of worker and nodes are lost, and come back from the backup."""
    for child in (*made.nodes, made.worker):
        child.stop()
    made.lose_everything()
    began = time.monotonic()
    said = made.command("backup", "restore", "latest").strip().splitlines()[0]
    checked = made.command("index", "check").strip().splitlines()[-1]
    made.worker.start()
    for node in made.nodes:
        node.begin()
    for node in made.nodes:
        node.wait()
    return f"{said}; {checked}; {_answer(made)} after {time.monotonic() - began:.0f} s"


def index(made: Production) -> str:
    """A new index beside the live one, and the move to it node by node while people ask."""
    over = made.empty_stores()
    made.command("backup", "restore", "latest", over=over)
    rebuilt = made.command("ingest", "--rebuild", over=over).strip().splitlines()[-1]
    made.another_worker(over).start()
    made.worker.stop()

    async def moved() -> str:
        moving = asyncio.ensure_future(asyncio.to_thread(_move, made, over))
        replies = []
        while not moving.done():
            replies += await open_loop(made.entry, _fresh, rate=1, seconds=5)
        await moving
        lost = [reply for reply in replies if reply.result in ("error", "hang")]
        if lost:
            raise Failed(f"{len(lost)} of {len(replies)} questions were lost: {lost[0].detail}")
        return ", ".join(f"{number} {what}" for what, number in counted(replies).items())

    return f"{rebuilt}; {asyncio.run(moved())} meanwhile, none lost"


def _move(made: Production, over: Mapping[str, str]) -> None:
    """Restart one node after the other with other stores and an empty folder, as the guide says."""
    for node in made.nodes:
        node.stop()
        folder = made.folder / "beside" / node.name.replace(" ", "-")
        node.environment = {**node.environment, **over, "BANKSIGHT_DATA_DIR": str(folder)}
        node.start()
        time.sleep(_REST_SECONDS)


STEPS: Final[tuple[Step, ...]] = (stores, before, deployment, after, load, kill, rotation, loss, index)


def _checklist(made: Production, heading: str) -> str:
    listed = checks(heading)
    environment = made.operators_environment
    for check in listed:
        if said := check.failure(environment):
            raise Failed(f"`{check.command}` said: {said}")
    return f"{len(listed)} of {len(listed)} checks as the guide says"


def _fresh(_: int) -> dict[str, Any]:
    return {"question": QUESTION, "fresh": True}


def _answer(made: Production) -> str:
    """Ask until the proxy has nodes again, which it looks for every second; the answer has to be right."""

    def right() -> bool:
        async def ask() -> bool:
            async with made.entry.client() as client:
                return HOLDS in (await call(client, made.entry, _fresh(0))).text

        return asyncio.run(ask())

    _until(right, f"an answer that holds {HOLDS!r}")
    return "a right answer"


def _up(made: Production) -> int:
    url = f"http://127.0.0.1:{made.ports.prometheus}/api/v1/query"
    found = httpx.get(url, params={"query": 'count(up{job="banksight"} == 1)'}, timeout=5, trust_env=False).json()
    result = found["data"]["result"]
    return int(result[0]["value"][1]) if result else 0


def _served_certificate(made: Production) -> bytes:
    """In DER. The proxy shows it only to who names one of its names; nobody vouches for a new one yet."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    place = ("127.0.0.1", made.ports.https)
    with (
        socket.create_connection(place, timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=API_HOST) as encrypted,
    ):
        return encrypted.getpeercert(binary_form=True) or b""


def _until(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > until:
            raise Failed(f"waited {_PATIENCE_SECONDS:.0f} s in vain: {what}")
        time.sleep(0.5)


def logs(folder: Path) -> str:
    """The last lines of every log, for who looks at a failure."""
    command = ["tail", "-n", "15", *(str(file) for file in sorted(folder.glob("**/*.log")))]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
