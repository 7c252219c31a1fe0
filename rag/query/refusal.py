"""Whether to answer at all, decided before anything is generated, and what is said instead."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

from rag.domain import Passage
from rag.query.signals import Signals

MODEL_FILE: Final = "answerability.json"
_SHOWN_SECTIONS: Final = 3


@dataclass(frozen=True, slots=True)
class AnswerabilityModel:
    """A logistic model over `Signals`, fitted by `python -m evaluations.fit_refusal` and shipped as data."""

    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    threshold: float

    def probability(self, signals: Signals) -> float:
        """The calibrated probability, 0..1, that the passages answer the question."""
        standard = zip(signals.values(), self.means, self.scales, self.weights, strict=True)
        logit = self.intercept + sum(weight * (value - mean) / scale for value, mean, scale, weight in standard)
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))


@lru_cache(maxsize=1)
def shipped_model() -> AnswerabilityModel:
    """The model in the package. Raises `ValueError` when it was fitted for other signals."""
    stored = json.loads((files("rag.query") / MODEL_FILE).read_text(encoding="utf-8"))
    if tuple(stored["signals"]) != Signals.names():
        raise ValueError(f"{MODEL_FILE} was fitted for other signals; run python -m evaluations.fit_refusal")
    columns = (tuple(stored["means"]), tuple(stored["scales"]), tuple(stored["weights"]))
    return AnswerabilityModel(*columns, stored["intercept"], stored["threshold"])


def refusal_text(passages: Sequence[Passage], documents: int, collections: Sequence[str], contact: str) -> str:
    """What is said when the documents do not answer: what was searched, what came closest, what to do next.

    It names titles of documents and sections only; it states nothing that they say.
    """
    where = f"{documents} document{'' if documents == 1 else 's'}"
    names = f" ({', '.join(collections)})" if collections else ""
    if documents == 0:
        return f"I cannot answer this: there are no documents that I may search for you. {contact}"
    text = f"The documents do not answer this question. I searched {where}{names}."
    closest = list(dict.fromkeys(_heading(each) for each in passages))[:_SHOWN_SECTIONS]
    if closest:
        text += f" The closest sections are about something else: {'; '.join(closest)}."
    return f"{text} Try other words, or name the product, rule, company or period that you mean. {contact}"


def _heading(passage: Passage) -> str:
    section = passage.section.split(" > ")[-1].strip()
    return f"“{section}” in {passage.title}" if section and section != passage.title else f"{passage.title}"
