"""The health document: whether questions can be answered, and what of the whole is missing."""

from __future__ import annotations

import functools
import shutil
import subprocess
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rag.errors import BankSightError
from rag.models.llms import engine_stats

if TYPE_CHECKING:
    from rag.bootstrap import Workspace


def health_of(workspace: Workspace) -> dict[str, Any]:
    """`status` (ok, degraded, unavailable), `checks`, and `detail`: the first thing that is wrong, in a sentence.

    `engines` has what each engine that generates does now: requests, slots, the queue's limit, tokens.
    `redis` is None where none is configured.
    `gpu_memory_free` is in bytes, summed over all cards; None where there is no card. Blocks: call it in a thread.
    """
    wrong: list[str] = []
    engines = engine_stats(workspace.pipeline.engines)
    chosen = workspace.pipeline.engines[0].class_name()
    loaded = (
        chosen not in engines or engines[chosen].slots > 0
    )  # quoting needs nothing; a Generator that is down has none
    if not loaded:
        wrong.append("The language model's service does not answer; its log says why, and the fallback answers if any.")
    checks: dict[str, Any] = {"llm_loaded": loaded, "engine": chosen}
    checks["engines"] = {name: asdict(stats) for name, stats in engines.items()}
    free = _gpu_memory_free()
    checks |= {"gpu_available": free is not None, "gpu_memory_free": free}
    try:
        checks["database"] = True
        checks["snapshot"] = workspace.registry.snapshot()
    except BankSightError as error:
        checks |= {"database": False, "snapshot": None}
        wrong.append(str(error))
    try:
        checks["vector_db_count"] = workspace.stores.vectors.count()
    except BankSightError as error:
        checks["vector_db_count"] = None
        wrong.append(str(error))
    reachable = workspace.redis.reachable() if workspace.redis else None
    if reachable is False:
        wrong.append("Redis does not answer; questions are answered without what processes share in it.")
    checks |= {"redis": reachable, "uptime_seconds": round(workspace.uptime_seconds(), 1)}
    status = "unavailable" if not checks["database"] else "degraded" if wrong else "ok"
    return {"status": status, "checks": checks, "detail": wrong[0] if wrong else ""}


@functools.cache
def _card_reader() -> str | None:
    """The program that asks the cards; asking it needs no torch in this process."""
    return shutil.which("nvidia-smi")


def _gpu_memory_free() -> int | None:
    program = _card_reader()
    if program is None:
        return None
    command = [program, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
        return sum(int(line) for line in said.split()) * 1024 * 1024
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
