"""Many texts at once, for evaluation runs: nobody reads along, and everything has to come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from rag.errors import Busy, ModelError
from rag.models.engine import Decoding, Engine, GenerationRequest, Piece

_LONGEST_PAUSE: Final = 5  # seconds between two tries when the queue is full of other requests


async def complete_all(engine: Engine, prompts: Sequence[str], decoding: Decoding, seconds: float) -> list[str]:
    """The text for each prompt, in their order; at most `engine.stats().slots` of them are in the engine at a time.

    Raises `ModelError` with the sentence of the first that failed, and cancels the others.
    """
    free = asyncio.Semaphore(engine.stats().slots)

    async def one(prompt: str) -> str:
        async with free:
            return await _complete(engine, GenerationRequest(prompt, decoding, seconds, seconds))

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(each)) for each in prompts]
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return [each.result() for each in tasks]


async def _complete(engine: Engine, request: GenerationRequest) -> str:
    while True:
        try:
            generation = engine.submit(request)
            break
        except Busy as full:
            await asyncio.sleep(min(full.retry_after, _LONGEST_PAUSE))
    text = ""
    try:
        async for event in generation:
            if isinstance(event, Piece):
                text += event.text
            elif event.reason not in ("stop", "length"):
                raise ModelError(event.detail or f"the generation ended with {event.reason}")
    finally:
        generation.cancel()
    return text
