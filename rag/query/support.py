"""How likely cited sentences say what a statement says: a small fitted model over four signals, no language model.

Words and vectors see whether a statement leaves its sources; they hardly see a false detail in a true frame. Numbers
are therefore traced besides (`number_grounding`), and a judge may be asked besides (`entailment`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from functools import lru_cache
from importlib.resources import files
from typing import Final

from rag.query.numbers import Number, agree, numbers
from rag.query.similarity import Encoder
from rag.query.words import STOP_WORDS, stems, tokens

MODEL_FILE: Final = "support.json"
_TOGETHER: Final = 3  # cited sentences that may say a statement together
_COMPARED: Final = 8  # sentences with the most shared words are compared by their vectors: each new vector takes time
_NAME: Final = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w'’&-]*")  # not the first word of a sentence


@dataclass(frozen=True, slots=True)
class SupportSignals:
    """What the cited sentences have in common with a statement; all 0..1, and 1 for names or numbers where none are."""

    cosine: float  # the best of the sentences that share the most words
    coverage: float  # share of the content words in the three sentences that together hold the most
    names: float  # share of the names in any sentence
    numbers: float  # share of the numbers in any sentence

    @classmethod
    def labels(cls) -> tuple[str, ...]:
        """The names of the signals, in the order of `values`."""
        return tuple(each.name for each in fields(cls))

    def values(self) -> tuple[float, ...]:
        """The signals as a row."""
        return astuple(self)


@dataclass(frozen=True, slots=True)
class SupportModel:
    """A logistic model over `SupportSignals`, fitted by `python -m evaluations.fit_support` and shipped as data."""

    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    threshold: float

    def probability(self, signals: SupportSignals) -> float:
        """The probability, 0..1, that the sentences support the statement."""
        standard = zip(signals.values(), self.means, self.scales, self.weights, strict=True)
        logit = self.intercept + sum(weight * (value - mean) / scale for value, mean, scale, weight in standard)
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))


@lru_cache(maxsize=1)
def shipped_model() -> SupportModel:
    """The model in the package. Raises `ValueError` when it was fitted for other signals."""
    stored = json.loads((files("rag.query") / MODEL_FILE).read_text(encoding="utf-8"))
    if tuple(stored["signals"]) != SupportSignals.labels():
        raise ValueError(f"{MODEL_FILE} was fitted for other signals; run python -m evaluations.fit_support")
    columns = (tuple(stored["means"]), tuple(stored["scales"]), tuple(stored["weights"]))
    return SupportModel(*columns, stored["intercept"], stored["threshold"])


def measure_support(statement: str, sentences: Sequence[str], encoder: Encoder) -> SupportSignals:
    """The signals for a statement and the sentences that it cites. Without sentences all are 0."""
    if not sentences:
        return SupportSignals(0.0, 0.0, 0.0, 0.0)
    wanted = set(content_stems(statement))
    held = [set(stems(sentence)) for sentence in sentences]
    by_words = sorted(range(len(sentences)), key=lambda index: -len(wanted & held[index]))
    compared = [sentences[index] for index in by_words[:_COMPARED]]
    vectors = encoder.embed([statement, *compared])
    return SupportSignals(
        cosine=max(0.0, float((vectors[1:] @ vectors[0]).max())),
        coverage=_coverage(wanted, held),
        names=_share_of_names(statement, sentences),
        numbers=_share_of_numbers(statement, sentences),
    )


def content_stems(statement: str) -> list[str]:
    """The stems of what a statement says besides its numbers; of a bare number, the number."""
    words = statement
    for each in reversed(numbers(statement)):
        words = f"{words[: each.start]} {words[each.end :]}"
    return stems(words) or stems(statement)


def _coverage(wanted: set[str], held: Sequence[set[str]]) -> float:
    """The share of `wanted` in the sentences that, one after the other, add the most to it."""
    missing = set(wanted)
    for _ in range(_TOGETHER):
        missing -= max(held, key=lambda words: len(missing & words))
    return 1 - len(missing) / len(wanted) if wanted else 0.0


def _share_of_names(statement: str, sentences: Sequence[str]) -> float:
    names = {match.group().lower() for match in _NAME.finditer(statement)} - STOP_WORDS
    if not names:
        return 1.0
    present = {word for sentence in sentences for word in tokens(sentence)}
    return sum(1 for name in names if set(tokens(name)) <= present) / len(names)


def _share_of_numbers(statement: str, sentences: Sequence[str]) -> float:
    stated = numbers(statement)
    present = [each for sentence in sentences for each in numbers(sentence)]
    return sum(1 for number in stated if _stands(number, present)) / len(stated) if stated else 1.0


def _stands(number: Number, present: Sequence[Number]) -> bool:
    """Whether the number is among them; where they have no scale word, their table may state one."""
    year = f"{number.value:.0f}-"
    return any(
        agree(number, each, number.scale, each.scale or number.scale)
        or (number.kind == "year" and each.period.startswith(year))
        for each in present
    )
