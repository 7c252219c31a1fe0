"""Batched decoding over slots: every step makes one token for each running request, and new ones join between steps.

    waiting ─► prefill, a block per step ─► slot 0…n-1 ─► ended: the last slot moves into the gap

A block is a chunk of one long prompt, or several whole prompts of about the same length in one padded pass.
The slots in use are always the first ones, so that a step reads one contiguous part of the preallocated cache. It needs
no kernels of its own, and so runs on Volta and Turing cards, where packed batches would cost a dense mask.
"""

from __future__ import annotations

from typing import Any, Final

from rag.models.engines.kv_cache import SlotCache, common
from rag.models.engines.loading import LoadedModel
from rag.models.engines.sampling import next_tokens
from rag.models.engines.ticket import Ticket
from rag.models.engines.token_engine import SteppingEngine

MOST_PADDING_LEAVES: Final = 0.75  # the part of a block that must be real tokens; else the others wait for a step
WORTH_WAITING: Final = 32  # tokens that can be copied a step later; fewer are computed in less than a pass of their own


class SlotsEngine(SteppingEngine):
    """See `Engine`. Between two tokens of the others at most `chunk_tokens` of prompts are computed, with padding."""

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
        self._begun: Ticket | None = None  # the one in the slot after them, with a part of its prompt computed
        self._thread.start()

    def _step(self) -> bool:
        self._remove_ended()
        block = self._next_block()
        if block:
            self._prefill(block)
            self._remove_ended()  # who left during the pass has no token to go on from
        if self._decoding:
            self._decode()
        return bool(self._decoding) or self._begun is not None

    def _remove_ended(self) -> None:
        """Give slots back, and close the gaps."""
        for slot in range(len(self._decoding) - 1, -1, -1):
            if self._decoding[slot].ended:
                last = len(self._decoding) - 1
                if slot != last:
                    self._decoding[slot] = self._decoding[last]
                    self._cache.copy(last, slot, len(self._cache.written[last]))
                self._decoding.pop()
                if self._begun is not None:
                    self._cache.copy(last + 1, last, len(self._cache.written[last + 1]))
        if self._begun is not None and self._begun.ended:
            self._begun = None

    def _next_block(self) -> list[Ticket]:
        """Whose prompts the next pass computes, in the slots after those in use.

        The prompt that was begun or has waited longest, so that none is passed over for ever; and of those that would
        get a slot now the nearest to it in length, while rows times width stay within `chunk_tokens`.
        """
        room = self.slots - len(self._decoding)
        first = self._begun or (self._next_waiting() if room else None)
        if first is None:
            return []
        if first is not self._begun:
            self._occupy(first, 0)
        block = [first]
        tokens = width = len(first.prompt) - len(self._cache.written[len(self._decoding)])
        candidates = self._oldest_waiting(room - 1) if width < self._chunk_tokens else []
        for each in sorted(candidates, key=lambda each: abs(self._cache.missing(each.prompt) - width)):
            missing = self._cache.missing(each.prompt)  # again, because those before may have overwritten a slot
            wider, rows = max(width, missing), len(block) + 1
            full = tokens + missing >= MOST_PADDING_LEAVES * rows * wider
            if full and rows * wider <= self._chunk_tokens and not self._worth_waiting(each, missing, block):
                self._take_waiting(each)
                self._occupy(each, len(block))
                block.append(each)
                tokens, width = tokens + missing, wider
        return block

    def _worth_waiting(self, ticket: Ticket, missing: int, block: list[Ticket]) -> bool:
        """Whether the block computes a beginning that `ticket` can copy in the next step."""
        known = len(ticket.prompt) - missing
        return any(common(each.prompt, ticket.prompt) - known >= WORTH_WAITING for each in block)

    def _occupy(self, ticket: Ticket, row: int) -> None:
        """Give the request the slot of this row of the block, with what is known of its prompt."""
        ticket.start()
        ticket.cached_tokens = self._cache.share(ticket.prompt, len(self._decoding) + row)

    def _prefill(self, block: list[Ticket]) -> None:
        """The next chunk of each prompt, in one pass. Who has its whole prompt computed gets its first token.

        Padding is on the left, so that the last scores are those wanted. It is written to the place of the row's next
        token, which is written again before anybody reads it.
        """
        used = len(self._decoding)
        rows = slice(used, used + len(block))
        written = self._cache.written[rows]
        chunks = [
            each.prompt[len(inside) : len(inside) + self._chunk_tokens]
            for each, inside in zip(block, written, strict=True)
        ]
        width = max(map(len, chunks))
        tokens, positions = [], []
        for chunk, inside in zip(chunks, written, strict=True):
            start, end, padding = len(inside), len(inside) + len(chunk), width - len(chunk)
            tokens.append([0] * padding + list(chunk))
            positions.append([end] * padding + list(range(start, end)))
            inside.extend(chunk)
        scores = self._forward(tokens, positions, rows)
        if len(written[0]) < len(block[0].prompt):
            self._begun = block[0]  # alone, because its chunk takes the whole budget
            return
        self._begun = None
        self._decoding.extend(block)
        for ticket, chosen in zip(block, next_tokens(scores, [each.sampler for each in block]), strict=True):
            ticket.push(chosen)

    def _decode(self) -> None:
        """One token for each running request."""
        running = self._decoding
        written = self._cache.written[: len(running)]
        positions = [[len(each)] for each in written]
        for ticket, inside in zip(running, written, strict=True):
            inside.append(ticket.tokens[-1])
        scores = self._forward([[each.tokens[-1]] for each in running], positions, slice(0, len(running)))
        for ticket, chosen in zip(running, next_tokens(scores, [each.sampler for each in running]), strict=True):
            ticket.push(chosen)

    def _forward(self, tokens: list[list[int]], positions: list[list[int]], rows: slice) -> Any:
        """Scores after the last token of each of `rows`, shape (rows, vocabulary). A token sees those before it."""
        import torch  # noqa: PLC0415 - seconds to import

        places = torch.tensor(positions, device=self._device)
        length = max(len(each) for each in self._cache.written[rows])
        visible = torch.arange(length, device=self._device) <= places[..., None]
        self._cache.aim(rows, places, length)
        output = self.loaded.model(
            input_ids=torch.tensor(tokens, device=self._device),
            position_ids=places,
            attention_mask=visible[:, None],
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
