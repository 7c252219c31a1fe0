"""Plain batches with transformers' `generate`: the reference for the other engines, and a way to work a list off.

The oldest waiting requests make a batch; the next one begins when all of them have ended.
"""

from __future__ import annotations

from typing import Any

from rag.models.engines.loading import LoadedModel
from rag.models.engines.ticket import Ticket
from rag.models.engines.token_engine import SteppingEngine


class StaticEngine(SteppingEngine):
    """See `Engine`. Nothing is shared between prompts, and `slots` is the size of a batch."""

    name = "static"

    def __init__(self, loaded: LoadedModel, slots: int, queue_limit: int, context_window: int) -> None:
        super().__init__(loaded, slots, queue_limit, context_window)
        self._thread.start()

    def _step(self) -> bool:
        batch: list[Ticket] = []
        while len(batch) < self.slots and (ticket := self._next_waiting()) is not None:
            ticket.start()
            batch.append(ticket)
        if batch:
            self._generate(batch)
        return bool(batch)

    def _generate(self, batch: list[Ticket]) -> None:
        import torch  # noqa: PLC0415 - seconds to import

        device = self.loaded.model.device
        width = max(len(each.prompt) for each in batch)
        padded = [[0] * (width - len(each.prompt)) + list(each.prompt) for each in batch]
        seen = [[0] * (width - len(each.prompt)) + [1] * len(each.prompt) for each in batch]
        self.loaded.model.generate(
            torch.tensor(padded, device=device),
            attention_mask=torch.tensor(seen, device=device),
            max_new_tokens=max(each.request.decoding.max_tokens for each in batch),
            do_sample=False,
            eos_token_id=sorted(self.loaded.end_tokens) or None,
            pad_token_id=0,
            logits_processor=[_Choose(batch)],
            stopping_criteria=[_Ended(batch)],
            streamer=_Stream(batch),
        )


class _Stream:
    """Gets the prompts first, and then a token for each row per step."""

    def __init__(self, batch: list[Ticket]) -> None:
        self._batch, self._prompts = batch, True

    def put(self, tokens: Any) -> None:
        if self._prompts:
            self._prompts = False
            return
        for ticket, token in zip(self._batch, tokens.flatten().tolist(), strict=True):
            ticket.push(token)

    def end(self) -> None:
        """Every request has ended by its own rules."""


class _Choose:
    """Leaves greedy rows as they are, and gives the drawn token of the others the only finite score."""

    def __init__(self, batch: list[Ticket]) -> None:
        self._batch = batch

    def __call__(self, _: Any, scores: Any) -> Any:
        sampled = [n for n, each in enumerate(self._batch) if not (each.sampler.greedy or each.ended)]
        if sampled:
            scores = scores.clone()
        for row in sampled:
            drawn = self._batch[row].sampler.draw(scores[row])
            scores[row] = float("-inf")
            scores[row, drawn] = 0.0
        return scores


class _Ended:
    """Which rows want no more tokens."""

    def __init__(self, batch: list[Ticket]) -> None:
        self._batch = batch

    def __call__(self, tokens: Any, *_: Any, **__: Any) -> Any:
        import torch  # noqa: PLC0415

        return torch.tensor([each.ended for each in self._batch], device=tokens.device)
