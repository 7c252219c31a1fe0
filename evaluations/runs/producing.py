"""Producing: every item of every repeat is given to the target once, and what came back is kept at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import islice
from typing import Literal

from evaluations.datasets.items import Item
from evaluations.runs.records import ItemRecord, Produced
from evaluations.runs.store import RunStore
from evaluations.targets.base import Target
from rag.errors import StorageUnavailable

Again = Literal["missing", "failed"]
_LONGEST_REASON = 500  # characters of an error message that are kept


def still_to_do(
    items: Sequence[Item], repeats: int, done: Sequence[ItemRecord], again: Again
) -> list[tuple[Item, int]]:
    """What a run still lacks, in order; with `failed` also what failed before."""
    there = {(each.item, each.repeat) for each in done if again == "missing" or each.state == "ok"}
    return [(item, repeat) for repeat in range(repeats) for item in items if (item.id, repeat) not in there]


async def produce(
    store: RunStore,
    run_id: str,
    work: Sequence[tuple[Item, int]],
    target: Target,
    workers: int,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Do this work, `workers` at once. An item that errs is kept as failed with its reason, and the run goes on."""
    async with aclosing(target), aclosing(_records(work, target, workers)) as records:
        async for done in records:
            await asyncio.to_thread(store.append_items, run_id, done)
            for _ in done:
                advance()


async def _records(
    work: Sequence[tuple[Item, int]], target: Target, workers: int
) -> AsyncGenerator[list[ItemRecord], None]:
    """What has ended, as it ends. Others are under way while that is kept, so that nobody waits for the disk."""
    waiting, documents = iter(work), target.documents
    running: set[asyncio.Task[ItemRecord]] = set()

    def keep_busy() -> None:
        for nxt in islice(waiting, workers - len(running)):
            running.add(asyncio.create_task(_record(*nxt, target, documents)))

    try:
        keep_busy()
        while running:
            finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            running -= finished
            keep_busy()
            yield [task.result() for task in finished]
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _record(item: Item, repeat: int, target: Target, documents: frozenset[str] | None) -> ItemRecord:
    known = None if documents is None or not item.wanted.documents else bool(item.wanted.documents & documents)
    record = ItemRecord(item.id, repeat, "ok", item.question, dict(item.slices), item.cluster, in_corpus=known)
    began = time.perf_counter()
    try:
        return replace(record, produced=await target.produce(item))
    except StorageUnavailable:
        raise  # the disk is full or gone: nothing after this would be right
    except Exception as error:  # noqa: BLE001 - whatever went wrong is what the evaluation has to show
        reason = f"{type(error).__name__}: {error}".strip()[:_LONGEST_REASON]
        spent = Produced(timings={"total": time.perf_counter() - began})
        return replace(record, state="failed", failure=reason, produced=spent)
