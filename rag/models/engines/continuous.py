"""transformers' continuous batching, with what it lacks: stop strings, deadlines, and an end after a cancel.

For Ampere cards and later, where FlashAttention reads packed batches. It decodes greedily only: its sampling has one
seed for all requests, which would not repeat. Repetition penalties of a model's own settings are not applied.
"""

from __future__ import annotations

from typing import Any, Final

from rag.errors import QuestionError
from rag.models.engine import GenerationRequest
from rag.models.engines.loading import LoadedModel
from rag.models.engines.ticket import Ticket
from rag.models.engines.token_engine import SteppingEngine

PAGE_TOKENS: Final = (
    32  # the beginning of a prompt is shared in whole pages; transformers' default of 256 is too coarse
)
_WAIT_SECONDS: Final = 0.02  # for a token, before looking for new requests again


class ContinuousEngine(SteppingEngine):
    """See `Engine`. What was shared of a prompt is not known, so `cached_tokens` stays 0. Close it: its thread is not a
    daemon and would keep the process.
    """

    name = "continuous"

    def __init__(
        self, loaded: LoadedModel, slots: int, queue_limit: int, context_window: int, chunk_tokens: int = 512
    ) -> None:
        super().__init__(loaded, slots, queue_limit, context_window)
        from transformers import ContinuousBatchingConfig, GenerationConfig  # noqa: PLC0415 - seconds to import

        pages = -(-self.context_window // PAGE_TOKENS) + 1
        self._batching: Any = loaded.model.init_continuous_batching(
            generation_config=GenerationConfig(do_sample=False, eos_token_id=sorted(loaded.end_tokens) or -1),
            continuous_batching_config=ContinuousBatchingConfig(
                page_size=PAGE_TOKENS,
                num_blocks=slots * pages,
                max_batch_tokens=max(chunk_tokens, slots),
                max_requests_per_batch=slots,
            ),
        )
        self._running: dict[str, Ticket] = {}
        self._numbered = 0
        self._batching.start()
        self._thread.start()

    def submit(self, request: GenerationRequest) -> Ticket:
        """See `Engine`. Raises `QuestionError` for a temperature above 0."""
        if request.decoding.temperature > 0:
            raise QuestionError(
                "the engine continuous decodes greedily only: set temperature 0, or use the engine slots"
            )
        return super().submit(request)

    def _step(self) -> bool:
        for name in [name for name, each in self._running.items() if each.ended]:
            del self._running[name]
            self._batching.cancel_request(name)  # of one that is done already nothing is left to cancel
        while len(self._running) < self.slots and (ticket := self._next_waiting()) is not None:
            self._add(ticket)
        if self._running and (output := self._batching.get_result(timeout=_WAIT_SECONDS)) is not None:
            self._take(output)
        if not self._batching.is_running():
            raise RuntimeError(f"continuous batching ended: {self._batching.background_thread_status.fatal_error}")
        return bool(self._running)

    def _add(self, ticket: Ticket) -> None:
        self._numbered += 1
        name = f"request-{self._numbered}"
        ticket.start()
        self._running[name] = ticket
        wanted = ticket.request.decoding.max_tokens
        self._batching.add_request(list(ticket.prompt), request_id=name, max_new_tokens=wanted, streaming=True)

    def _take(self, output: Any) -> None:
        """Outputs carry all tokens so far."""
        ticket = self._running.get(output.request_id)
        if ticket is None:  # it was cancelled, and this token was on its way
            return
        for token in output.generated_tokens[len(ticket.tokens) :]:
            ticket.push(token)
        if output.is_finished():
            ticket.end(
                "failed", f"continuous batching failed it: {output.error or 'no detail'}"
            )  # unless it ended well

    def _release(self) -> None:
        if self._batching.is_running():
            self._batching.stop(block=True, timeout=30, hard_stop=True)
