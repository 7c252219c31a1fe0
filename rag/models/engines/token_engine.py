"""What all engines over a loaded model share: admission, accounts, and a thread that works in steps."""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from functools import lru_cache
from itertools import islice

from rag.errors import Full, ModelError, QuestionError
from rag.models.engine import EngineStats, FinishReason, GenerationRequest
from rag.models.engines.loading import LoadedModel
from rag.models.engines.ticket import Ticket

logger = logging.getLogger(__name__)


class TokenEngine(ABC):
    """See `Engine`. A back end says in `_accept` what happens with a request, and in `_stop` how it ends."""

    name: str

    def __init__(self, loaded: LoadedModel, slots: int, queue_limit: int, context_window: int) -> None:
        self.loaded = loaded
        self.slots, self.queue_limit = slots, queue_limit
        self.context_window = min(context_window, loaded.context_window)
        self._prompt_tokens = lru_cache(maxsize=256)(loaded.prompt_tokens)  # prompts are counted, and then submitted
        self._admission = threading.Lock()
        self._open: set[Ticket] = set()
        self._ended: Counter[str] = Counter()
        self._not_running = ""  # why nothing can be submitted

    @property
    def model_name(self) -> str:
        """See `Engine`."""
        return self.loaded.name

    def count_tokens(self, prompt: str) -> int:
        """See `Engine`."""
        return len(self._prompt_tokens(prompt))

    def submit(self, request: GenerationRequest) -> Ticket:
        """See `Engine`."""
        prompt = self._prompt_tokens(request.prompt)
        wanted = request.decoding.max_tokens
        if len(prompt) + wanted > self.context_window:
            raise QuestionError(
                f"the prompt has {len(prompt)} tokens and up to {wanted} more are wanted, "
                f"too many for a window of {self.context_window}: ask a shorter question, or use fewer passages"
            )
        if wanted < 1:
            raise QuestionError("max_tokens must be at least 1")
        with self._admission:
            if self._not_running:
                raise ModelError(self._not_running)
            if len(self._open) >= self.slots + self.queue_limit:
                raise Full("the engine's queue is full; try again in a moment", retry_after=2)
            ticket = Ticket(request, prompt, self.loaded.end_tokens, self.loaded.decode, self._account)
            self._open.add(ticket)
        self._accept(ticket)
        return ticket

    def stats(self) -> EngineStats:
        """See `Engine`."""
        with self._admission:
            running = sum(each.started for each in self._open)
            ended = self._ended
            return EngineStats(
                running=running, waiting=len(self._open) - running, slots=self.slots, queue_limit=self.queue_limit,
                completed=ended["stop"] + ended["length"], cancelled=ended["cancelled"],
                failed=ended["failed"] + ended["deadline"], prompt_tokens=ended["prompt"],
                cached_tokens=ended["cached"], completion_tokens=ended["completion"],
            )  # fmt: skip

    async def close(self) -> None:
        """See `Engine`."""
        with self._admission:
            self._not_running = self._not_running or "the engine was closed"
            left = list(self._open)
        for each in left:
            each.cancel()
        await asyncio.to_thread(self._stop)

    @abstractmethod
    def _accept(self, ticket: Ticket) -> None:
        """Queue the request."""

    @abstractmethod
    def _stop(self) -> None:
        """End threads, give memory back."""

    def _account(self, ticket: Ticket, reason: FinishReason) -> None:
        with self._admission:
            self._open.discard(ticket)
            self._ended.update({reason: 1, "prompt": len(ticket.prompt), "cached": ticket.cached_tokens})
            self._ended["completion"] += len(ticket.tokens)

    def _die(self, error: BaseException) -> None:
        """Fail everything, now and later."""
        detail = f"the engine {self.name} stopped: {type(error).__name__}: {str(error)[:200] or 'no detail'}"
        logger.error("the engine %s stopped: %s", self.name, type(error).__name__, exc_info=error)
        with self._admission:
            self._not_running = f"{detail}; restart the service"
            left = list(self._open)
        for each in left:
            each.end("failed", detail)


class SteppingEngine(TokenEngine):
    """A thread takes step after step while there is work, and sleeps while there is none."""

    def __init__(self, loaded: LoadedModel, slots: int, queue_limit: int, context_window: int) -> None:
        super().__init__(loaded, slots, queue_limit, context_window)
        self._waiting: deque[Ticket] = deque()
        self._work = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"engine-{self.name}", daemon=True)

    def _accept(self, ticket: Ticket) -> None:
        with self._work:
            self._waiting.append(ticket)
            self._work.notify()

    def _stop(self) -> None:
        with self._work:
            self._stopping = True
            self._work.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=30)  # a step that hangs cannot be ended; the thread is a daemon

    def _next_waiting(self) -> Ticket | None:
        """The oldest request that still wants an answer."""
        with self._work:
            while self._waiting:
                ticket = self._waiting.popleft()
                if not ticket.ended:
                    return ticket
        return None

    def _oldest_waiting(self, most: int) -> list[Ticket]:
        """The requests that would get the next `most` slots. They go on waiting."""
        with self._work:
            return list(islice((each for each in self._waiting if not each.ended), most))

    def _take_waiting(self, ticket: Ticket) -> None:
        """It waits no longer."""
        with self._work:
            self._waiting.remove(ticket)

    def _run(self) -> None:
        import torch  # noqa: PLC0415 - seconds to import

        try:
            with torch.inference_mode():
                while not self._stopping:
                    if not self._step():
                        with self._work:
                            self._work.wait_for(lambda: self._stopping or self._waiting)
        except BaseException as error:  # noqa: BLE001 - whatever ends the thread ends all requests
            self._die(error)
        finally:
            self._release()

    @abstractmethod
    def _step(self) -> bool:
        """Do the next bit of work. False when there is none."""

    def _release(self) -> None:
        """Give memory back, at the end of the thread."""
