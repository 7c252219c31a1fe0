"""Keys and values of all slots, allocated once, in the form in which transformers' models write and read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rag.errors import ModelError


class SlotCache:
    """One tensor (slots, key-value heads, window, head size) per layer for keys, and one for values.

    `written[slot]` are the tokens whose keys and values the slot holds, also after its request ended: a later request
    that begins with the same tokens copies them instead of computing them.
    """

    is_compileable = False

    def __init__(self, config: Any, slots: int, window: int, device: Any, dtype: Any) -> None:
        import torch  # noqa: PLC0415 - seconds to import

        heads = config.num_key_value_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (slots, heads, window, size)
        try:
            self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_hidden_layers)]
            self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_hidden_layers)]
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            raise ModelError(
                f"the memory of {device} does not suffice for {slots} slots of {window} tokens: set fewer slots"
            ) from error
        self.written: list[list[int]] = [[] for _ in range(slots)]
        self._rows = slice(0, 0)
        self._index: Any = None
        self._positions: Any = None
        self._length = 0

    @property
    def memory_bytes(self) -> int:
        """What all slots take, used or not."""
        return sum(each.numel() * each.element_size() for each in (*self.keys, *self.values))

    def aim(self, rows: slice, positions: Any, length: int) -> None:
        """The next forward pass writes `rows` at `positions` (rows, tokens) and reads their first `length` tokens."""
        import torch  # noqa: PLC0415

        self._rows, self._positions, self._length = rows, positions, length
        self._index = torch.arange(rows.start, rows.stop, device=positions.device)[:, None]

    def update(self, keys: Any, values: Any, layer: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Called by each layer, with (rows, heads, tokens, size). The keys and values to attend to."""
        self.keys[layer][self._index, :, self._positions] = keys.transpose(1, 2)
        self.values[layer][self._index, :, self._positions] = values.transpose(1, 2)
        return self.keys[layer][self._rows, :, : self._length], self.values[layer][self._rows, :, : self._length]

    def get_seq_length(self, *_: Any) -> int:
        """Part of what models ask a cache. Positions are always given, so nothing depends on it."""
        return self._length

    def copy(self, source: int, target: int, length: int) -> None:
        """Let `target` begin with the first `length` tokens of `source`."""
        if source != target:
            for each in (*self.keys, *self.values):
                each[target, :, :length] = each[source, :, :length]
        self.written[target] = self.written[source][:length]

    def missing(self, prompt: tuple[int, ...]) -> int:
        """How many tokens of `prompt` must be computed: those that no slot holds, and always the last one."""
        return len(prompt) - self._find(prompt, 0)[1]

    def share(self, prompt: tuple[int, ...], target: int) -> int:
        """Copy into `target` what any slot holds of the beginning of `prompt`. The number of tokens."""
        source, length = self._find(prompt, target)
        self.copy(source, target, length)
        return length

    def _find(self, prompt: tuple[int, ...], preferred: int) -> tuple[int, int]:
        """The slot that holds most of the beginning of `prompt`, and how many tokens.

        The last token of a prompt is always computed, because its scores are wanted.
        """
        best, length = preferred, 0
        for slot, tokens in enumerate(self.written):
            shared = common(tokens, prompt)
            if shared > length or (shared == length and slot == preferred):
                best, length = slot, shared
        return best, min(length, len(prompt) - 1)


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    for position, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return position
    return min(len(first), len(second))
