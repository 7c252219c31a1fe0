"""Choosing the next token from the scores of all tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rag.models.engine import Decoding


@dataclass(slots=True)
class Sampler:
    """Draws as `decoding` says: temperature, then the smallest set of tokens with a probability of at least `top_p`.

    (Holtzman and others, 2020, "The Curious Case of Neural Text Degeneration".) Each request has its own random
    numbers, so that a seed repeats whatever else is generated.
    """

    decoding: Decoding
    generator: Any = None  # torch.Generator

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is taken."""
        return self.decoding.temperature <= 0.0

    def draw(self, scores: Any) -> int:
        """One token. `scores` are logits, shape (vocabulary,)."""
        import torch  # noqa: PLC0415 - seconds to import

        if self.greedy:
            return int(scores.argmax())
        if self.generator is None:
            self.generator = torch.Generator()
            if self.decoding.seed is None:
                self.generator.seed()
            else:
                self.generator.manual_seed(self.decoding.seed)
        scaled = scores.float().cpu() / self.decoding.temperature
        probabilities, tokens = scaled.softmax(dim=-1).sort(descending=True)
        before = probabilities.cumsum(dim=-1) - probabilities
        probabilities[before >= self.decoding.top_p] = 0.0
        if not bool(probabilities[0] > 0):
            probabilities[0] = 1.0  # top_p 0 leaves the most probable one
        return int(tokens[int(torch.multinomial(probabilities, 1, generator=self.generator))])


def next_tokens(scores: Any, samplers: list[Sampler]) -> list[int]:
    """The next token of each row. `scores`: logits, shape (rows, vocabulary). The greedy ones are taken at once."""
    chosen: list[int] = scores.argmax(dim=-1).tolist()
    return [
        token if sampler.greedy else sampler.draw(scores[row])
        for row, (token, sampler) in enumerate(zip(chosen, samplers, strict=True))
    ]
