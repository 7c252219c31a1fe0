"""Documents that change while people ask, and a disk that is full while documents come in."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import httpx

from evaluations.chaos.callers import Caller
from evaluations.chaos.corpus import TENANTS, write_corpus
from evaluations.chaos.disks import mounted, unmount
from evaluations.chaos.environment import source_of
from evaluations.chaos.lone import ROOT, Lone
from evaluations.chaos.rows import Load, LoneRow, Outcome, Plan, Row, under_load
from evaluations.chaos.stack import Stack

_GRACE = 1.0  # seconds after which nobody may see what was


def ingest(port: int, operator: Caller) -> None:
    """Have the worker ingest, and wait for the end. Raises `RuntimeError` when it does not succeed."""
    url = f"http://127.0.0.1:{port}/v1/jobs"
    with httpx.Client(headers=operator.headers, timeout=30, trust_env=False) as client:
        job = client.post(url, json={"kind": "ingest"}).raise_for_status().json()
        while job["finished_at"] is None:
            time.sleep(0.05)
            job = client.get(f"{url}/{job['id']}").raise_for_status().json()
    if job["state"] != "succeeded":
        raise RuntimeError(f"the ingestion ended as {job['state']}: {job}")


async def _while_asked(stack: Stack, plan: Plan, name: str, old: str, new: str) -> tuple[Load, float]:
    """Load while a file of the first tenant changes; and when the change had been acknowledged."""
    path = source_of(stack.folder) / name
    done = 0.0
    began = time.perf_counter()

    def change() -> None:
        nonlocal done
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        ingest(stack.ports[0], stack.operator)
        done = time.perf_counter() - began

    load = await under_load(stack.entry, plan.rate, plan.seconds(25), change)
    return load, done


async def swap(stack: Stack, plan: Plan) -> Outcome:
    """F18"""
    load, _ = await _while_asked(stack, plan, "electronic-transfers.md", "within 10 business", "within 12 business")
    mine = [reply for reply in load.replies if reply.tenant == TENANTS[0]]
    texts = [reply.text for reply in mine if reply.result in ("good", "degraded")]
    mixed = sum("10 business" in text and "12 business" in text for text in texts)
    passed = not load.lost and not mixed and not load.leaks
    _restore(stack)
    return Outcome(passed, f"{len(texts)} answers to {len(mine)} callers, {mixed} mix two versions", load.figures())


async def revoked(stack: Stack, plan: Plan) -> Outcome:
    """F19"""
    load, done = await _while_asked(stack, plan, "electronic-transfers.md", "within 10 business", "within 12 business")
    later = [each for each in load.replies if each.began >= done + _GRACE and each.tenant == TENANTS[0]]
    stale = sum("10 business" in reply.text for reply in later)
    (source_of(stack.folder) / "electronic-transfers.md.meta.yaml").write_text("access: [board]\n")
    await asyncio.to_thread(ingest, stack.ports[0], stack.operator)
    hidden = await under_load(stack.entry, plan.rate, 8, lambda: None, at=1)
    seen = sum("12 business" in each.text or "$50" in each.text for each in hidden.replies if each.began >= _GRACE)
    _restore(stack)
    passed = bool(later) and not stale and not seen and not load.lost and not load.leaks and not hidden.leaks
    return Outcome(passed, f"{stale} of {len(later)} answers old after a change, {seen} after access was taken away")


def _restore(stack: Stack) -> None:
    source = source_of(stack.folder)
    (source / "electronic-transfers.md.meta.yaml").unlink(missing_ok=True)
    write_corpus(source)
    ingest(stack.ports[0], stack.operator)


def killed_ingestions(folder: Path, plan: Plan) -> Outcome:
    """F16"""
    tests = ["tests/integration/test_ingestion_crash.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return Outcome(ended.returncode == 0, (ended.stdout.strip().splitlines() or ["nothing"])[-1])


def disk_full(folder: Path, plan: Plan) -> Outcome:
    """F20"""
    place = folder / "small-disk"
    if not mounted(place, "6m"):
        return Outcome(None, "a small file system can be mounted by root only")
    try:
        return _on_small_disk(place)
    finally:
        unmount(place)


def _on_small_disk(place: Path) -> Outcome:
    lone = Lone(place)
    lone.prepare()
    ballast = place / "ballast"
    ballast.write_bytes(b"x" * (6 * 2**20 - 400_000))
    full = lone.command("ingest")
    ballast.unlink()
    again, check = lone.command("ingest"), lone.command("index", "check")
    passed = full.code in (1, 3) and not full.crashed and again.code == check.code == 0
    later = f"with space: ingest {again.code}, index check {check.code}"
    said = full.sentence.replace(str(place), "…")
    return Outcome(passed, f"full: exit {full.code}, {said!r}; {later}")


ROWS = (
    LoneRow(
        "F16",
        "kill -9 of the ingestion at every step",
        "nothing lost, twice, or half there",
        killed_ingestions,
    ),
    Row("F18", "a new version of a document during load", "no answer mixes two versions", swap),
    Row("F19", "a document changed, then hidden, during load", "after 1 s nobody sees what was", revoked),
    LoneRow("F20", "disk full during ingestion", "a clear refusal; nothing broken with space again", disk_full),
)
