"""An engine without a model, for load tests: the pace, slots, queue and faults of a real one, and a usable answer."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from rag.errors import Full, ModelError, QuestionError
from rag.models.engine import (
    EngineStats,
    Finished,
    FinishReason,
    GenerationRequest,
    Piece,
    Usage,
)
from rag.query.prompting import NOT_IN_THE_DOCUMENTS, escape_markers, parse_prompt, single_line
from rag.query.segments import segments
from rag.query.words import stems

Fault = Literal["none", "crash", "hang", "garbage"]

_TOKEN: Final = re.compile(r"\s*\S{1,5}")  # about what a tokeniser of English makes
_SENTENCES: Final = 3
_SHORTEST: Final = 5  # words of a sentence that is worth quoting
_NEVER: Final = 3600.0  # seconds: far beyond any deadline
_GARBAGE: Final = (
    "",
    "the the the the " * 200,
    "Certainly. Here is what I know about that from my own memory.",
    "It is set out in the documents. [97] And elsewhere. [98]",
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one request is generated. Zero `first_token_seconds` and a high rate make tests quick."""

    first_token_seconds: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares of the requests, 0..1, that end in each way; which ones they are follows from `seed`."""

    crash: float = 0.0
    hang: float = 0.0
    garbage: float = 0.0
    seed: int = 0


@dataclass(slots=True, eq=False)
class _Simulated:
    """One request. See `Generation`."""

    request: GenerationRequest
    text: str
    fault: Fault
    prompt_tokens: int
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[Piece | Finished] = field(default_factory=asyncio.Queue)
    task: asyncio.Task[None] | None = None
    submitted: float = field(default_factory=time.perf_counter)
    queued_seconds: float = 0.0
    first_token_seconds: float | None = None
    generated: int = 0

    async def __aiter__(self) -> AsyncIterator[Piece | Finished]:
        while True:
            event = await self.events.get()
            yield event
            if isinstance(event, Finished):
                return

    def cancel(self) -> None:
        """See `Generation`."""
        if self.task is not None and not self.task.done() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.task.cancel)

    def say(self, text: str) -> None:
        """The next token."""
        self.generated += 1
        if self.first_token_seconds is None:
            self.first_token_seconds = self.elapsed()
        self.events.put_nowait(Piece(text, self.generated))

    def elapsed(self) -> float:
        """Seconds since it was submitted."""
        return time.perf_counter() - self.submitted

    def end(self, reason: FinishReason, detail: str = "") -> None:
        """The last event."""
        usage = Usage(self.prompt_tokens, 0, self.generated)
        finished = Finished(reason, usage, self.queued_seconds, self.first_token_seconds, self.elapsed(), detail)
        self.events.put_nowait(finished)


class SimulatedEngine:
    """See `Engine`. Its text quotes the sentences of the prompt's passages that are closest to the question."""

    name = "simulated"
    model_name = "simulated"
    context_window = 32_768

    def __init__(self, pace: Pace, faults: Faults = Faults(), slots: int = 32, queue_limit: int = 64) -> None:
        self._pace = pace
        self._faults = faults
        self._chance = random.Random(faults.seed)  # noqa: S311 - repeatable on purpose
        self._slots, self._queue_limit = slots, queue_limit
        self._free = asyncio.Semaphore(slots)
        self._open: set[_Simulated] = set()
        self._running = 0
        self._closed = False
        self._ended: dict[str, int] = {"completed": 0, "cancelled": 0, "failed": 0}
        self._prompt_tokens = self._completion_tokens = 0

    def count_tokens(self, prompt: str) -> int:
        """See `Engine`."""
        return len(_TOKEN.findall(prompt))

    def submit(self, request: GenerationRequest) -> _Simulated:
        """See `Engine`."""
        if self._closed:
            raise ModelError("the simulated engine was closed")
        tokens = self.count_tokens(request.prompt)
        if tokens + request.decoding.max_tokens > self.context_window:
            raise QuestionError(f"the prompt has {tokens} tokens, too many for a window of {self.context_window}")
        if len(self._open) >= self._slots + self._queue_limit:
            raise Full("the engine's queue is full; try again in a moment", retry_after=self._patience())
        if not self._open:
            self._free = asyncio.Semaphore(self._slots)  # it belongs to one event loop, and this may be another one
        fault = self._draw()
        text = self._chance.choice(_GARBAGE) if fault == "garbage" else answer_to(request.prompt)
        generation = _Simulated(request, text, fault, tokens, asyncio.get_running_loop())
        self._open.add(generation)
        generation.task = asyncio.create_task(self._run(generation))
        return generation

    def stats(self) -> EngineStats:
        """See `Engine`."""
        return EngineStats(
            running=self._running, waiting=len(self._open) - self._running,
            slots=self._slots, queue_limit=self._queue_limit, **self._ended,
            prompt_tokens=self._prompt_tokens, cached_tokens=0, completion_tokens=self._completion_tokens,
        )  # fmt: skip

    async def close(self) -> None:
        """See `Engine`."""
        self._closed = True
        here = asyncio.get_running_loop()
        for generation in list(self._open):
            generation.cancel()
        await asyncio.gather(*(each.task for each in self._open if each.loop is here and each.task is not None))

    def _draw(self) -> Fault:
        """What becomes of the next request. One number is drawn for each, so that the order decides alone."""
        drawn = self._chance.random()
        for fault, share in (("crash", self._faults.crash), ("hang", self._faults.hang)):
            if drawn < share:
                return fault  # type: ignore[return-value] # the literals above
            drawn -= share
        return "garbage" if drawn < self._faults.garbage else "none"

    def _patience(self) -> int:
        """Whole seconds until about one slot is free again."""
        return max(1, round(self._pace.first_token_seconds + 60 / self._pace.tokens_per_second))

    async def _run(self, generation: _Simulated) -> None:
        request = generation.request
        reason: FinishReason = "failed"
        detail = ""
        try:
            async with asyncio.timeout(None if generation.fault == "hang" else request.deadline_seconds):
                async with self._free:
                    self._running += 1
                    generation.queued_seconds = generation.elapsed()
                    try:
                        reason = await self._generate(generation)
                    finally:
                        self._running -= 1
        except TimeoutError:
            reason, detail = "deadline", f"not finished within {request.deadline_seconds:g} s"
        except asyncio.CancelledError:
            reason = "cancelled"
        except _CrashError:
            detail = "the simulated engine crashed, as it was told to"
        self._open.discard(generation)
        self._prompt_tokens += generation.prompt_tokens
        self._completion_tokens += generation.generated
        outcome = {"stop": "completed", "length": "completed", "cancelled": "cancelled"}.get(reason, "failed")
        self._ended[outcome] += 1
        generation.end(reason, detail)

    async def _generate(self, generation: _Simulated) -> FinishReason:
        decoding = generation.request.decoding
        pieces = _TOKEN.findall(_until_stop(generation.text, decoding.stop))
        limited = pieces[: decoding.max_tokens]
        breaks_at = self._chance.randrange(max(1, len(limited))) if generation.fault in ("crash", "hang") else -1
        await asyncio.sleep(self._pace.first_token_seconds)
        began = time.perf_counter()
        for number, piece in enumerate(limited):
            if number == breaks_at:
                await self._break(generation.fault)
            generation.say(piece)
            due = began + (number + 1) / self._pace.tokens_per_second
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        return "length" if len(limited) < len(pieces) else "stop"

    async def _break(self, fault: Fault) -> None:
        if fault == "crash":
            raise _CrashError
        await asyncio.sleep(_NEVER)  # keeps its slot, and no deadline of its own ends it: the worst that engines do


class _CrashError(Exception):
    """What a broken engine raises inside."""


def _until_stop(text: str, stop: tuple[str, ...]) -> str:
    return text[: min([position for each in stop if (position := text.find(each)) >= 0], default=len(text))]


@lru_cache(maxsize=1024)
def answer_to(prompt: str) -> str:
    """An answer as a good model would give it: sentences of the passages, as they are, each with its marker."""
    try:
        asked = parse_prompt(prompt)
    except ValueError:
        return "This prompt holds no numbered passages, so there is nothing to quote."
    wanted = set(stems(asked.question))
    found: list[tuple[int, int, str]] = []
    for number, passage in enumerate(asked.passages, start=1):
        for each in segments(passage.text):
            words = single_line(passage.text[each.start : each.end])
            if each.kind == "sentence" and len(words.split()) >= _SHORTEST:
                found.append((len(wanted & set(stems(words))), number, words))
    best = sorted(found, key=lambda each: -each[0])[:_SENTENCES]
    return " ".join(f"{escape_markers(words)} [{number}]" for _, number, words in best) or NOT_IN_THE_DOCUMENTS
