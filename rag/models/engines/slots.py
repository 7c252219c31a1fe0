"""Batched decoding over slots: every step makes one token for each running request, and new ones join between steps.

    waiting ─► prefill, a chunk per step ─► slot 0…n-1 ─► ended: the last slot moves into the gap

The slots in use are always the first ones, so that a step reads one contiguous part of the preallocated cache. It needs
no kernels of its own, and so runs on Volta and Turing cards, where packed batches would cost a dense mask.
"""

from __future__ import annotations

from typing import Any

from rag.models.engines.kv_cache import SlotCache
from rag.models.engines.loading import LoadedModel
from rag.models.engines.sampling import next_tokens
from rag.models.engines.ticket import Ticket
from rag.models.engines.token_engine import SteppingEngine


class SlotsEngine(SteppingEngine):
    """See `Engine`. `chunk_tokens` of a prompt are computed between two tokens of the others."""

    name = "slots"

    def __init__(
        self, loaded: LoadedModel, slots: int, queue_limit: int, context_window: int, chunk_tokens: int = 512
    ) -> None:
        super().__init__(loaded, slots, queue_limit, context_window)
        self._chunk_tokens = chunk_tokens
        model = loaded.model
        self._device = model.device
        self._cache = SlotCache(model.config, slots, self.context_window, model.device, _cache_dtype(model))
        self._decoding: list[Ticket] = []  # those in slots 0, 1, …
        self._prefilling: Ticket | None = None  # the one in the slot after them
        self._thread.start()

    def _step(self) -> bool:
        self._remove_ended()
        if self._prefilling is None and len(self._decoding) < self.slots:
            self._admit()
        if self._prefilling is not None:
            self._prefill(self._prefilling)
        if self._decoding:
            self._decode()
        return bool(self._decoding) or self._prefilling is not None

    def _remove_ended(self) -> None:
        """Give slots back, and close the gaps."""
        for slot in range(len(self._decoding) - 1, -1, -1):
            if self._decoding[slot].ended:
                last = len(self._decoding) - 1
                if slot != last:
                    self._decoding[slot] = self._decoding[last]
                    self._cache.copy(last, slot, len(self._cache.written[last]))
                self._decoding.pop()
                if self._prefilling is not None:
                    self._cache.copy(last + 1, last, len(self._cache.written[last + 1]))
        if self._prefilling is not None and self._prefilling.ended:
            self._prefilling = None

    def _admit(self) -> None:
        ticket = self._next_waiting()
        if ticket is not None:
            ticket.start()
            ticket.cached_tokens = self._cache.share(ticket.prompt, len(self._decoding))
            self._prefilling = ticket

    def _prefill(self, ticket: Ticket) -> None:
        """The next chunk of a prompt; after the last one, the request's first token."""
        import torch  # noqa: PLC0415 - seconds to import

        slot = len(self._decoding)
        written = self._cache.written[slot]
        start = len(written)
        chunk = ticket.prompt[start : start + self._chunk_tokens]
        end = start + len(chunk)
        positions = torch.arange(start, end, device=self._device)[None]
        mask = torch.arange(end, device=self._device) <= positions[..., None]
        scores = self._forward([list(chunk)], slice(slot, slot + 1), positions, mask)
        written.extend(chunk)
        if end == len(ticket.prompt):
            ticket.push(next_tokens(scores, [ticket.sampler])[0])
            self._prefilling = None
            self._decoding.append(ticket)

    def _decode(self) -> None:
        """One token for each running request."""
        import torch  # noqa: PLC0415

        running = self._decoding
        written = self._cache.written[: len(running)]
        newest = [[each.tokens[-1]] for each in running]
        positions = torch.tensor([[len(each)] for each in written], device=self._device)
        length = 1 + max(len(each) for each in written)
        mask = torch.arange(length, device=self._device) <= positions[..., None]
        scores = self._forward(newest, slice(0, len(running)), positions, mask)
        tokens = next_tokens(scores, [each.sampler for each in running])
        for ticket, inside, (token,), chosen in zip(running, written, newest, tokens, strict=True):
            inside.append(token)
            ticket.push(chosen)

    def _forward(self, tokens: list[list[int]], rows: slice, positions: Any, mask: Any) -> Any:
        """Scores after the last token, shape (rows, vocabulary). `mask`: (rows, tokens, length), true is visible."""
        import torch  # noqa: PLC0415

        self._cache.aim(rows, positions, mask.shape[-1])
        output = self.loaded.model(
            input_ids=torch.tensor(tokens, device=self._device),
            position_ids=positions,
            attention_mask=mask[:, None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]

    def _release(self) -> None:
        self._cache.keys.clear()
        self._cache.values.clear()


def _cache_dtype(model: Any) -> Any:
    """What attention computes in: 4-bit weights are stored as bytes, but embeddings are not."""
    return model.model.embed_tokens.weight.dtype
