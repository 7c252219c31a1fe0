"""The contract of what generates text: many requests at the same time, each a stream of text that can be cancelled.

    Engine.submit(request) ─► Generation ─► Piece, Piece, …, Finished

Back ends live beside this file in `rag/models/engines/`; LlamaIndex `LLM`s over them are what the pipeline sees.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

FinishReason = Literal["stop", "length", "cancelled", "deadline", "failed"]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How tokens are chosen. `temperature` 0 is greedy: the same text whatever else is generated at the same time.

    Generation ends before the first of the `stop` strings, which is not part of the text. `seed` makes sampling
    repeatable.
    """

    max_tokens: int = 120
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One request. `prompt` is the user's message; the engine puts it into the chat template of its model.

    `deadline_seconds` limits the whole, waiting included; `token_deadline_seconds` the time from one token to the next,
    and, once the request runs, to the first.
    """

    prompt: str
    decoding: Decoding = field(default_factory=Decoding)
    deadline_seconds: float = 30.0
    token_deadline_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Piece:
    """The next part of the text: whole characters only. `tokens` have been generated so far."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. `cached_tokens` of the prompt did not have to be computed, because earlier requests shared them."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of every generation that was not closed by its consumer. Times are seconds since it was submitted."""

    reason: FinishReason
    usage: Usage
    queued_seconds: float = 0.0
    first_token_seconds: float | None = None
    total_seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine does now, and has done since it started."""

    running: int
    waiting: int
    slots: int
    queue_limit: int
    completed: int
    cancelled: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class Generation(Protocol):
    """One request on its way. Iterating ends after `Finished`."""

    def __aiter__(self) -> AsyncIterator[Piece | Finished]:
        """Pieces, and then `Finished`. With reason `failed` or `deadline`, `detail` is a sentence for the operator.

        Raises `Busy`, before the first piece, when a server elsewhere is asked and its queue is full.
        """

    def cancel(self) -> None:
        """Give the slot back within one step. Idempotent; from any thread. Iteration ends with `cancelled`."""


class Engine(Protocol):
    """Generates for many at once."""

    @property
    def name(self) -> str:
        """The back end: `slots`, `continuous`, `static`, `openai_compatible` or `simulated`."""

    @property
    def model_name(self) -> str:
        """The model, as answers name it."""

    @property
    def context_window(self) -> int:
        """Tokens that prompt and completion may have together."""

    def count_tokens(self, prompt: str) -> int:
        """Tokens of the prompt in the model's chat template."""

    def submit(self, request: GenerationRequest) -> Generation:
        """Begin, on the running event loop. Raises `Busy` when the queue is full, `QuestionError` for a prompt that
        does not fit the window, and `ModelError` when the engine is not running.
        """

    def stats(self) -> EngineStats:
        """What it does now."""

    async def close(self) -> None:
        """Cancel everything, end threads, give memory back."""
