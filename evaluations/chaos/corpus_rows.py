"""Documents that change while people ask, and a disk that is full while documents come in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from evaluations.chaos.calling import Entry
from evaluations.chaos.corpus import write_corpus
from evaluations.chaos.rows import Load, Outcome, Plan, Row, under_load
from evaluations.chaos.stack import ROOT, Stack

_GRACE = 1.0  # seconds after which nobody may see what was


def _ingest(port: int) -> None:
    """Run an ingestion job and wait for its end."""
    url = f"http://127.0.0.1:{port}/v1/jobs"
    request = urllib.request.Request(url, b'{"kind": "ingest"}', {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        job = json.loads(response.read())
    while job["finished_at"] is None:
        time.sleep(0.05)
        with urllib.request.urlopen(f"{url}/{job['id']}", timeout=30) as response:  # noqa: S310
            job = json.loads(response.read())
    if job["state"] != "succeeded":
        raise RuntimeError(f"the ingestion ended as {job['state']}: {job}")


async def _while_asked(stack: Stack, plan: Plan, name: str, old: str, new: str) -> tuple[Load, float]:
    """Load on one node while a file changes; and when the change had been acknowledged."""
    path = stack.folder / "source" / name
    done = 0.0
    began = time.perf_counter()

    def change() -> None:
        nonlocal done
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        _ingest(stack.ports[0])
        done = time.perf_counter() - began

    node = Entry(f"http://127.0.0.1:{stack.ports[0]}")
    load = await under_load(node, plan.rate, plan.seconds(25), change)
    return load, done


async def swap(stack: Stack, plan: Plan) -> Outcome:
    """F18"""
    load, _ = await _while_asked(stack, plan, "electronic-transfers.md", "within 10 business", "within 12 business")
    texts = [reply.text for reply in load.replies if reply.result in ("good", "degraded")]
    mixed = sum("10 business" in text and "12 business" in text for text in texts)
    passed = not load.lost and not mixed and not load.leaks
    _restore(stack)
    return Outcome(passed, f"{len(texts)} answers of {len(load.replies)}, {mixed} mix two versions", load.figures())


async def revoked(stack: Stack, plan: Plan) -> Outcome:
    """F19"""
    load, done = await _while_asked(stack, plan, "electronic-transfers.md", "within 10 business", "within 12 business")
    later = [reply for reply in load.replies if reply.began >= done + _GRACE]
    stale = sum("10 business" in reply.text for reply in later)
    (stack.folder / "source/electronic-transfers.md.meta.yaml").write_text("access: [board]\n")
    _ingest(stack.ports[0])
    node = Entry(f"http://127.0.0.1:{stack.ports[0]}")
    hidden = await under_load(node, plan.rate, 8, lambda: None, at=1)
    seen = sum("12 business" in reply.text or "$50" in reply.text for reply in hidden.replies if reply.began >= _GRACE)
    _restore(stack)
    passed = bool(later) and not stale and not seen and not load.lost and not load.leaks and not hidden.leaks
    return Outcome(passed, f"{stale} of {len(later)} answers old after a change, {seen} after access was taken away")


def _restore(stack: Stack) -> None:
    (stack.folder / "source/electronic-transfers.md.meta.yaml").unlink(missing_ok=True)
    write_corpus(stack.folder / "source")
    _ingest(stack.ports[0])


async def killed_ingestions(stack: Stack, plan: Plan) -> Outcome:
    """F16, F17"""
    tests = ["tests/integration/test_ingestion_crash.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: ASYNC221 - alone
    return Outcome(ended.returncode == 0, ended.stdout.strip().splitlines()[-1])


async def disk_full(stack: Stack, plan: Plan) -> Outcome:
    """F20"""
    place = stack.folder / "small-disk"
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:  # noqa: ASYNC221 - alone
        return Outcome(True, "SKIPPED: a small file system can be mounted by root only")
    try:
        return _on_small_disk(stack, place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)  # noqa: ASYNC221 - alone


def _on_small_disk(stack: Stack, place: Path) -> Outcome:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **(stack.nodes[0].environment), "BANKSIGHT_DATA_DIR": str(place / "data")}
        environment["BANKSIGHT__STORAGE__CHROMA"] = "embedded"
        del environment["PROMETHEUS_MULTIPROC_DIR"]  # of the node, which has its own
        words = (sys.executable, "-m", "rag.cli", *words)
        return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    ballast = place / "ballast"
    ballast.write_bytes(b"x" * (6 * 2**20 - 400_000))
    full = command("ingest")
    ballast.unlink()
    again, check = command("ingest"), command("index", "check")
    said = (full.stderr.strip().splitlines() or ["nothing"])[-1]
    passed = full.returncode in (1, 3) and "Traceback" not in full.stderr and again.returncode == check.returncode == 0
    later = f"with space: ingest {again.returncode}, index check {check.returncode}"
    return Outcome(passed, f"full: exit {full.returncode}, {said[:110]!r}; {later}")


ROWS = (
    Row(
        "F16",
        "kill -9 of the ingestion at every step",
        "nothing lost, twice, or half there",
        killed_ingestions,
    ),
    Row("F18", "a new version of a document during load", "no answer mixes two versions", swap),
    Row("F19", "a document changed, then hidden, during load", "after 1 s nobody sees what was", revoked),
    Row("F20", "disk full during ingestion", "a clear refusal; nothing broken when there is space again", disk_full),
)
