"""Is a question about what banks and their documents are about, is it chit-chat, or is it about something else?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Scope = Literal["in_scope", "chitchat", "out_of_scope"]

MODEL_FILE: Final = "scope.json"
OFF_TOPIC_REPLY: Final = (
    "I answer questions about the bank's documents, and this seems to be about something else. "
    "If it is not, name the document, the product or the rule that you mean."
)


@dataclass(frozen=True, slots=True)
class ScopeModel:
    """A logistic model over the vector of a question, fitted by `python -m evaluations.fit_scope` and shipped as data.

    `weights` is float64[labels, dimensions]; `threshold` is the probability of `in_scope` from which a question is.
    """

    labels: tuple[Scope, ...]
    weights: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    threshold: float

    def probabilities(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64[questions, labels] of unit vectors float32[questions, dimensions]; each row adds up to 1."""
        logits = vectors.astype(np.float64) @ self.weights.T + self.intercepts
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def decide(self, vector: NDArray[np.float32]) -> Scope:
        """The scope of one question. In doubt it is in scope: a wrong refusal costs more than a search."""
        found = dict(zip(self.labels, self.probabilities(vector[None, :])[0], strict=True))
        if found["in_scope"] >= self.threshold:
            return "in_scope"
        return "chitchat" if found["chitchat"] > found["out_of_scope"] else "out_of_scope"


@lru_cache(maxsize=1)
def shipped_scope_model() -> ScopeModel:
    """The model in the package."""
    stored = json.loads((files("rag.query") / MODEL_FILE).read_text(encoding="utf-8"))
    return ScopeModel(
        tuple(stored["labels"]), np.array(stored["weights"]), np.array(stored["intercepts"]), stored["threshold"]
    )
