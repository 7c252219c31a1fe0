"""A disk of the audit trail that is full, a spool that is full too, and nodes that are killed while they append."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from evaluations.chaos.disks import fill
from evaluations.chaos.lone import ROOT
from evaluations.chaos.rows import Outcome, Plan, Row, under_load
from evaluations.chaos.stack import Stack

_UNTIL_FULL_SECONDS = 25.0  # in which the spool of every node, 32 KiB, is full at any rate that we call with


async def audit_disk_full(stack: Stack, plan: Plan) -> Outcome:
    """F28"""
    if not stack.audit_disk:
        return Outcome(None, "a small file system can be mounted by root only")
    room = 0.0

    def hurt() -> None:
        nonlocal room
        began = time.perf_counter()
        ballast = fill(stack.folder / "audit")
        time.sleep(_UNTIL_FULL_SECONDS)
        ballast.unlink()
        room = time.perf_counter() - began
        time.sleep(8)
        stack.nodes[0].kill()
        stack.nodes[0].start()

    load = await under_load(stack.entry, plan.rate, _UNTIL_FULL_SECONDS + 40, hurt)
    full = [each for each in load.replies if load.fault_began + 3 < each.began < load.fault_began + room]
    spooled = sum(each.result == "good" for each in full)
    closed = sum(each.result == "refused" for each in full)
    back = load.good_after(load.fault_began + room)
    cut = load.cut(load.fault_ended)
    lost = [each for each in load.lost if each not in cut]
    faults, missing = verified(stack)
    passed = bool(spooled and closed) and not lost and load.clean and not faults and not missing
    words = (
        f"{load.words()}; while the disk was full {spooled} answers went to the spool, {closed} callers were then told "
        f"to come back; good {back:.1f} s after there was room; {len(stack.watch.receipts)} receipts of the whole run, "
        f"{missing} without a record, {faults} faults in the chains"
    )
    return Outcome(passed, words, load.figures())


def verified(stack: Stack) -> tuple[int, int]:
    """How many faults `banksight audit verify` finds, and how many receipts that callers hold are not in the trail."""
    environment = {**os.environ, **stack.environment, "BANKSIGHT_DATA_DIR": str(stack.folder / "worker")}
    command = [sys.executable, "-m", "rag.cli", "audit", "verify", "--json"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found = json.loads(ended.stdout) if ended.stdout else {"faults": [ended.stderr]}
    written = "".join(path.read_text(encoding="utf-8") for path in (stack.folder / "audit").glob("*/*.jsonl"))
    return len(found["faults"]), sum(f'"id":"{receipt}"' not in written for receipt in stack.watch.receipts)


ROWS = (
    Row(
        "F28",
        "the audit trail's disk full, then its spool; kill -9",
        "spooled, then nothing answered; every answer recorded",
        audit_disk_full,
    ),
)
