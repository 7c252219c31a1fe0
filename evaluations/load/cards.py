"""How fast a card generates: a roofline of memory and arithmetic, whose weak points are its assumptions.

Mistral-7B in 4 bit. One decode step reads the weights once and every sequence's keys and values, and takes no less than
a floor that launching its kernels costs; below a batch of 8 on a V100 bitsandbytes reads the 4.14 GB as they are, from
there on it unpacks all weights to 16 bit first. A prompt is arithmetic: 14 GFLOP for each of its tokens, during which
nothing is decoded. Estimates, no measurement: no such card was at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KV_BYTES: Final = 2 * 32 * 8 * 128 * 2  # of one token: keys and values, layers, heads, width, float16
_FLOP_PER_TOKEN: Final = 14e9
_PACKED: Final = 4.14e9  # bytes: nf4 weights, embedding and head in float16
_UNPACKED: Final = 31.8e9  # bytes moved where every layer is unpacked first


@dataclass(frozen=True, slots=True)
class Card:
    """One node's engine. `bandwidth` in bytes/s and `flops` are what is reached, not what the data sheet says.

    `fused_below`: the batch from which weights are unpacked. `flops` None: prompts cost only `first_seconds`, and
    nobody waits for those of others.
    """

    name: str
    slots: int
    floor_seconds: float
    bandwidth: float | None = None
    flops: float | None = None
    fused_below: int = 65
    first_seconds: float = 0.0

    def step_seconds(self, batch: int, context: float) -> float:
        """One more token for each of `batch` sequences of `context` tokens on average."""
        if self.bandwidth is None:
            return self.floor_seconds
        weights = _PACKED if batch < self.fused_below else _UNPACKED
        return max(self.floor_seconds, (weights + batch * context * KV_BYTES) / self.bandwidth)

    def prompt_seconds(self, tokens: float) -> float:
        """The time that the card is busy with a prompt alone."""
        return tokens * _FLOP_PER_TOKEN / self.flops if self.flops else 0.0

    def answer_seconds(self, prompt: float, output: float) -> float:
        """From slot to end with all slots busy: its own tokens, and a prompt for each slot."""
        decoding = output * self.step_seconds(self.slots, prompt + output / 2)
        return self.first_seconds + decoding + self.prompt_seconds(prompt) * self.slots

    def answers_per_second(self, prompt: float, output: float) -> float:
        """The most that one card sustains."""
        return self.slots / self.answer_seconds(prompt, output)


_V100_BANDWIDTH, _T4_BANDWIDTH = 0.8 * 900e9, 0.75 * 320e9
_V100_FLOPS, _T4_FLOPS = 60e12, 25e12
CARDS: Final = {
    "v100": Card("V100, nf4, 7 slots", 7, 0.028, _V100_BANDWIDTH, _V100_FLOPS, fused_below=8),
    "v100-24": Card("V100, nf4, 24 slots", 24, 0.028, _V100_BANDWIDTH, _V100_FLOPS, fused_below=8),
    "v100-int4": Card("V100, fast int4 engine, 16 slots", 16, 0.012, _V100_BANDWIDTH, _V100_FLOPS),
    "t4": Card("T4, nf4, 16 slots", 16, 0.028, _T4_BANDWIDTH, _T4_FLOPS),
}


def simulated(tokens_per_second: float, slots: int, first_seconds: float) -> Card:
    """What the `simulated` engine does: every stream at one pace, whatever the others do."""
    return Card(f"simulated, {tokens_per_second:g} tokens/s", slots, 1 / tokens_per_second, first_seconds=first_seconds)
