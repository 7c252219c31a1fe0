"""Which sentences of the passages answer a question, best first."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from rag.query.asked import Asked, answers_type, mentions, periods, read_question
from rag.query.prompting import Prompt, PromptPassage, single_line
from rag.query.segments import Segment, is_run_in_heading, segments
from rag.query.similarity import Encoder, Vectors
from rag.query.words import coverage, stems

CANDIDATES: Final = 24  # sentences that are embedded: the cost of an answer
_LONGEST: Final = 900  # characters of a sentence that can still be read
_SHORTEST_WORDS: Final = 5
# Weights of what speaks for a sentence; chosen by reading answers over the sample bank.
_COSINE, _OWN_WORDS, _CONTEXT_WORDS, _TYPE, _RANK = 0.46, 0.22, 0.10, 0.12, 0.10
_ELSEWHERE: Final = 0.55  # factor for a passage about another company or period, where others are about the right one
_STUB: Final = re.compile(
    r"^(?:see|refer to|as (?:described|discussed|set forth|defined)|for (?:more|additional|further) (?:information|detail)"
    r"|reserved|\[reserved|the following (?:table|discussion)|the accompanying notes|this section (?:applies|sets))\b",
    re.IGNORECASE,
)
_DANGLING: Final = re.compile(
    r"^(?:it|this|these|those|such|they|he|she|in (?:that|this|such) (?:case|event)|however|therefore|accordingly"
    r"|in addition|additionally|moreover|furthermore|also|if so|otherwise|the latter)\b",
    re.IGNORECASE,
)
_COMPLETE: Final = re.compile(r"[.!?][\"”’')\]]*$")


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A quotable piece of passage `number` (from 1). `read` is what it says with what leads into it, on one line."""

    number: int
    position: int
    segment: Segment
    read: str
    score: float = 0.0
    vector: Vectors | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A passage of the prompt, cut into segments."""

    passage: PromptPassage
    segments: tuple[Segment, ...]

    def words(self, segment: Segment) -> str:
        """The words of a segment, verbatim."""
        return self.passage.text[segment.start : segment.end]


def read_passages(prompt: Prompt) -> list[Reading]:
    """The passages of a prompt, cut into segments."""
    return [Reading(passage, tuple(segments(passage.text))) for passage in prompt.passages]


def rank_sentences(prompt: Prompt, readings: Sequence[Reading], encoder: Encoder) -> list[Candidate]:
    """At most 24 candidates, best first, with scores in about 0..1 and their vectors."""
    asked = read_question(prompt.question)
    found = [each for index, reading in enumerate(readings) for each in _candidates(index + 1, reading)]
    if not found:
        return []
    weights = _weights(found)
    place = _places(asked, prompt)
    scored = [replace(each, score=_lexical(asked, each, readings, weights, place)) for each in found]
    best = sorted(scored, key=lambda each: -each.score)[:CANDIDATES]
    vectors = encoder.embed([prompt.question, *(each.read for each in best)])
    cosines = vectors[1:] @ vectors[0]
    final = [
        replace(each, score=each.score + _COSINE * max(0.0, float(cosine)) * place[each.number - 1], vector=vector)
        for each, cosine, vector in zip(best, cosines, vectors[1:], strict=True)
    ]
    return sorted(final, key=lambda each: -each.score)


def _candidates(number: int, reading: Reading) -> list[Candidate]:
    found = []
    for position, segment in enumerate(reading.segments):
        words = single_line(reading.words(segment))
        if _quotable(segment, words):
            lead = reading.segments[segment.lead] if segment.lead is not None else None
            read = f"{single_line(reading.words(lead))} {words}" if lead else words
            found.append(Candidate(number, position, segment, read))
    return found


def _quotable(segment: Segment, words: str) -> bool:
    if segment.kind in ("heading", "lead_in") or len(words) > _LONGEST:
        return False
    if segment.kind == "row":
        return segment.row is not None
    if segment.kind == "item":
        return len(words.split()) >= 2
    whole = bool(_COMPLETE.search(words)) and (words[0].isupper() or not words[0].isalpha())
    long_enough = len(words.split()) >= _SHORTEST_WORDS
    return whole and long_enough and not is_run_in_heading(words) and not (_STUB.match(words) and len(words) < 160)


def _weights(found: Sequence[Candidate]) -> dict[str, float]:
    """How much each stem tells the candidates apart."""
    counts = Counter(each for candidate in found for each in set(stems(candidate.read)))
    return {each: 0.3 + math.log(1 + len(found) / count) for each, count in counts.items()}


def _places(asked: Asked, prompt: Prompt) -> list[float]:
    """For each passage a factor: is it about the company and the period that the question names?"""
    factors = [1.0] * len(prompt.passages)
    heads = [f"{each.title} {each.section}" for each in prompt.passages]
    named = [mentions(asked.names, f"{head} {each.text}") for head, each in zip(heads, prompt.passages, strict=True)]
    titled = [len(asked.periods & periods(head)) for head in heads]
    for index in range(len(factors)):
        if any(named) and not named[index]:
            factors[index] *= _ELSEWHERE
        if max(titled, default=0) > titled[index] and asked.periods:
            factors[index] *= _ELSEWHERE + (1 - _ELSEWHERE) * titled[index] / max(titled)
    return factors


def _lexical(
    asked: Asked, candidate: Candidate, readings: Sequence[Reading], weights: dict[str, float], place: Sequence[float]
) -> float:
    passage = readings[candidate.number - 1].passage
    own = set(stems(candidate.read))
    around = own | set(stems(f"{passage.title} {passage.section}"))
    score = _OWN_WORDS * coverage(asked.terms, weights, own) + _CONTEXT_WORDS * coverage(asked.terms, weights, around)
    score += _TYPE * answers_type(asked.types, candidate.read) + _RANK / (1 + 0.35 * (candidate.number - 1))
    if _DANGLING.match(candidate.read):
        score -= 0.06
    if len(candidate.read) > 420:
        score -= 0.05
    return score * place[candidate.number - 1]


def similarity(a: Candidate, b: Candidate) -> float:
    """Cosine of two ranked candidates."""
    if a.vector is None or b.vector is None:
        return 0.0
    return float(np.dot(a.vector, b.vector))
