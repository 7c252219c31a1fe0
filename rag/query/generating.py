"""What an engine writes, statement by statement, for as long as it is alive, in time and making sense.

An engine that is down, slow or talks nonsense must not cost a question more than its time limit, and a dead one should
not cost every question that. So each has a `Breaker`, and what it did wrong is data: the pipeline then asks the next.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.llms import LLM

from rag.domain import Trouble
from rag.errors import BankSightError, Busy, ModelTimeout
from rag.operations import deadline
from rag.query.breaker import Breaker
from rag.query.events import DraftWritten
from rag.query.looping import LoopDetector
from rag.query.prompting import NOT_IN_THE_DOCUMENTS
from rag.query.statements import Statement, StatementSplitter
from rag.settings import GenerationSettings

logger = logging.getLogger(__name__)

_TO_FALL_BACK_SECONDS: Final = 1.0
_SAME_STATEMENT_TIMES: Final = 3  # the third time that it says the same, it loops
_COSTS_TIME: Final[frozenset[Trouble]] = frozenset({"failed", "slow", "looping"})  # what the breaker counts
_KINDS_OF_TOKENS: Final = {"prompt_tokens": "prompt", "completion_tokens": "completion", "cached_tokens": "cached"}
_NOTICES: Final[dict[Trouble, str]] = {
    "unavailable": "The language model is not available right now",
    "failed": "The language model is not available right now",
    "slow": "The language model took too long",
    "empty": "The language model gave no usable answer",
    "looping": "The language model gave no usable answer",
    "unsupported": "What the language model wrote is not in the documents",
}


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds that an engine has: to its first token, from one to the next, and for everything."""

    first_token: float
    token: float
    total: float


@dataclass(frozen=True, slots=True)
class Writer:
    """An engine that can be asked, its limits, and whether it is worth asking just now."""

    llm: LLM
    limits: TimeLimits
    breaker: Breaker

    @property
    def name(self) -> str:
        """The engine's name, as answers show it."""
        return self.llm.class_name()


@dataclass(slots=True)
class Attempt:
    """What came of asking one engine. `declined`: it said that the documents do not answer.

    `cut_short`: the request's deadline left it less time than its limits.
    """

    writer: Writer
    trouble: Trouble | None = None
    detail: str = ""
    declined: bool = False
    cut_short: bool = False
    statements: int = 0
    seconds: float = 0.0
    first_token_seconds: float | None = None
    tokens: dict[str, int] = field(default_factory=dict)


def writers(engines: Sequence[LLM], settings: GenerationSettings) -> tuple[Writer, ...]:
    """The engines in their order, each with the configured limits and a breaker of its own."""
    limits = TimeLimits(settings.first_token_seconds, settings.token_seconds, settings.deadline_seconds)
    return tuple(
        Writer(each, limits, Breaker(settings.breaker_failures, settings.breaker_rest_seconds)) for each in engines
    )


def notice(trouble: Trouble, outcome: Literal["quoted", "broken_off", "refused"]) -> str:
    """For people: that another engine answered, that the engine did not finish, or that it gave nothing to check."""
    if outcome == "broken_off":
        return "The language model broke off, so this answer may lack something. What is here was checked."
    return f"{_NOTICES[trouble]}{', so this answer only quotes the documents' if outcome == 'quoted' else ''}."


async def write(
    attempt: Attempt, prompt: str, drafts: Literal["hidden", "shown"] = "hidden"
) -> AsyncGenerator[Statement | DraftWritten, None]:
    """The statements of one engine, as soon as each is complete, each different one once; and drafts where shown.

    What goes wrong ends the generator and is told in `attempt.trouble`; raised are `Busy` and cancellation only.
    Closing the generator cancels the engine's work.
    """
    breaker = attempt.writer.breaker
    if not breaker.admits():
        attempt.trouble, attempt.detail = "unavailable", "it failed several times in a row and is given a rest"
        return
    try:
        splitter = StatementSplitter()
        said: Counter[str] = Counter()
        async with aclosing(_deltas(attempt, prompt)) as deltas:
            async for delta in deltas:
                if drafts == "shown":
                    yield DraftWritten(delta)
                for statement in splitter.feed(delta):
                    said[statement.text] += 1
                    if said[statement.text] == _SAME_STATEMENT_TIMES:
                        raise _LoopError
                    if said[statement.text] == 1:
                        yield _counted(statement, attempt)
        for statement in splitter.flush():
            if not said[statement.text]:
                yield _counted(statement, attempt)
    except Busy:
        raise
    except Exception as error:
        attempt.trouble, attempt.detail = _trouble(error), str(error) or type(error).__name__
        known = isinstance(error, BankSightError | TimeoutError | _LoopError)
        logger.warning(
            "engine %s: %s: %s", attempt.writer.name, attempt.trouble, attempt.detail,
            exc_info=None if known else error,
        )  # fmt: skip
    if not attempt.cut_short:  # less time than it is meant to have says nothing about the engine
        (breaker.failed if attempt.trouble in _COSTS_TIME else breaker.succeeded)()


def time_left(total: float) -> float:
    """Seconds that an engine may take: `total`, or what the request's deadline leaves, with a second for a fallback."""
    left = deadline.remaining(total + _TO_FALL_BACK_SECONDS)
    return left - _TO_FALL_BACK_SECONDS if left > _TO_FALL_BACK_SECONDS else left


class _LoopError(Exception):
    def __str__(self) -> str:
        return "it repeated itself"


def _trouble(error: Exception) -> Trouble:
    if isinstance(error, _LoopError):
        return "looping"
    return "slow" if isinstance(error, TimeoutError | ModelTimeout) else "failed"


def _counted(statement: Statement, attempt: Attempt) -> Statement:
    attempt.statements += 1
    attempt.declined = attempt.declined or NOT_IN_THE_DOCUMENTS in statement.text.upper()
    return statement


async def _deltas(attempt: Attempt, prompt: str) -> AsyncGenerator[str, None]:
    """Pieces of text within the limits. Raises `TimeoutError` and what the engine raises."""
    loop = LoopDetector()
    began = time.perf_counter()
    clock = asyncio.get_running_loop().time
    limits = attempt.writer.limits
    left = time_left(limits.total)
    ends = clock() + left
    patience = limits.first_token
    responses: AsyncIterator[CompletionResponse] | None = None
    try:
        while True:
            asked = time.perf_counter()
            try:
                async with asyncio.timeout_at(min(ends, clock() + patience)):
                    responses = responses or await attempt.writer.llm.astream_complete(prompt)
                    response = await anext(responses, None)
            except TimeoutError:
                attempt.cut_short = left < limits.total and clock() >= ends
                raise
            finally:
                attempt.seconds += time.perf_counter() - asked  # not what the consumer takes between two pieces
            if response is None:
                return
            _note(response, attempt)
            if not response.delta:
                continue
            patience = limits.token
            if attempt.first_token_seconds is None:
                attempt.first_token_seconds = time.perf_counter() - began
            if loop.feed(response.delta):
                raise _LoopError
            yield response.delta
    finally:
        await close_stream(responses)


def _note(response: CompletionResponse, attempt: Attempt) -> None:
    """Token counts, under the names by which LlamaIndex's engines give them."""
    for theirs, ours in _KINDS_OF_TOKENS.items():
        count = response.additional_kwargs.get(theirs)
        if isinstance(count, int):
            attempt.tokens[ours] = count


async def close_stream(responses: Any) -> None:
    """End a stream that is not read to its end, so that its engine's work ends too."""
    if hasattr(responses, "aclose"):
        with suppress(Exception):  # the answer is over; an engine that cannot even be closed fails the next one
            await responses.aclose()
