"""Which sentences of the passages answer a question, best first."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from rag.query.asked import Asked, answers_type, mentions, periods, read_question
from rag.query.prompting import Prompt, PromptPassage, single_line
from rag.query.segments import Segment, is_run_in_heading, segments
from rag.query.similarity import Encoder
from rag.query.words import coverage, stems, tokens

CANDIDATES: Final = 16  # sentences that are embedded: the cost of an answer
_EMBEDDED: Final = 240  # characters of a sentence that are embedded
_LONGEST: Final = 900  # characters of a sentence that can still be read
_SECTION_SEPARATOR: Final = " > "  # between the headings of a section
_SHORTEST_WORDS: Final = 5
# Weights of what speaks for a sentence; chosen by reading answers over the sample bank.
_COSINE, _OWN_WORDS, _HEADING_WORDS, _CONTEXT_WORDS, _TYPE, _RANK = 0.36, 0.20, 0.12, 0.10, 0.14, 0.08
_FOCUS: Final = 2.0  # weight of the words that say what is asked, against those that say of what
_DEFINES: Final = 0.12  # for the sentence that defines what the question asks the meaning of
_UNCLEAR: Final = 0.06  # against a sentence that leans on one that is not shown, or that is only about a special case
_LONG, _TOO_LONG = 420, 0.05  # characters, and what speaks against a longer sentence
_SHORT, _TOO_SHORT = 8, 0.06  # words
# Factors for a passage about another company or period than the one named, where another passage fits better.
_OTHER_NAME, _OTHER_PERIOD = 0.5, 0.6
_STUB: Final = re.compile(
    r"^(?:see|refer to|as (?:described|discussed|set forth|defined)"
    r"|for (?:more|additional|further) (?:information|detail)|reserved|\[reserved"
    r"|the following (?:table|discussion)|the accompanying notes|this section (?:applies|sets))\b",
    re.IGNORECASE,
)
_DANGLING: Final = re.compile(
    r"^(?:it|this|these|those|such|they|he|she|in (?:that|this|such) (?:case|event)|however|therefore|accordingly"
    r"|in addition|additionally|moreover|furthermore|also|if so|otherwise|the latter|for (?:the )?purposes of"
    r"|notwithstanding|\(the )\b",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"\d[\d,.]*")
_SAME: Final = 0.85  # share of the words of the shorter of two sentences
_COMPLETE: Final = re.compile(r"[.!?][\"”’')\]]*$")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A quotable piece of passage `number` (from 1): its `words`, on one line.

    `said` adds what leads into them, and `read` the titles of the paragraphs around them, too.
    """

    number: int
    position: int
    segment: Segment
    words: str
    said: str
    read: str
    score: float = 0.0
    cosine: float = 0.0


@dataclass(frozen=True, slots=True)
class _Context:
    """The stems of a passage's own heading, and of all that it says."""

    heading: frozenset[str]
    everything: frozenset[str]

    @classmethod
    def of(cls, passage: PromptPassage) -> _Context:
        """The context of a passage."""
        heading = passage.section.rsplit(_SECTION_SEPARATOR, 1)[-1]
        return cls(frozenset(stems(heading)), frozenset(stems(f"{passage.title} {passage.section} {passage.text}")))


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


def rank_sentences(
    prompt: Prompt, readings: Sequence[Reading], encoder: Encoder, beyond: Literal["drop", "keep"] = "drop"
) -> list[Candidate]:
    """At most 16 candidates, best first, with scores in about 0..1.

    With `beyond="keep"` all others follow, in the order of what their words alone say for them.
    """
    asked = read_question(prompt.question)
    found = [each for index, reading in enumerate(readings) for each in _candidates(index + 1, reading)]
    if not found:
        return []
    weights = _weights(found, asked)
    places = _places(asked, prompt)
    contexts = [_Context.of(each) for each in prompt.passages]
    scored = [replace(each, score=_from_words(asked, each, contexts[each.number - 1], weights)) for each in found]
    by_words = sorted(scored, key=lambda each: -each.score * places[each.number - 1])
    best = by_words[:CANDIDATES]
    vectors = encoder.embed([prompt.question, *(each.read[:_EMBEDDED] for each in best)])
    cosines = vectors[1:] @ vectors[0]
    final = [
        replace(
            each,
            score=(each.score + _COSINE * max(0.0, float(cosine))) * places[each.number - 1],
            cosine=float(cosine),
        )
        for each, cosine in zip(best, cosines, strict=True)
    ]
    return sorted(final, key=lambda each: -each.score) + (by_words[CANDIDATES:] if beyond == "keep" else [])


def leans_back(words: str) -> bool:
    """True for a sentence that opens with "it", "however" and the like, and needs the one before it."""
    return _DANGLING.match(words) is not None


def _candidates(number: int, reading: Reading) -> list[Candidate]:
    return [replace(each, number=number) for each in _pieces(reading.passage.text)]


@lru_cache(maxsize=512)  # the decision, the prompt and the next question look at the same passages
def _pieces(text: str) -> tuple[Candidate, ...]:
    """The candidates of a passage with this text, as those of number 0."""
    found, reading = [], segments(text)
    for position, segment in enumerate(reading):
        words = single_line(text[segment.start : segment.end])
        if _quotable(segment, words):
            said = single_line(f"{_led_in(text, reading, segment)} {words}")
            titles = " ".join(text[each.start : each.end] for each in segment.titles)
            found.append(Candidate(0, position, segment, words, said, single_line(f"{titles} {said}")))
    return tuple(found)


def _led_in(text: str, reading: Sequence[Segment], segment: Segment) -> str:
    """What stands before an item or a row and gives it its sense: what leads into it, the head of its group."""
    if segment.lead is not None:
        lead = reading[segment.lead]
        before = text[lead.start : lead.end]
    else:
        before = text[segment.header.start : segment.header.end].split("\n", 1)[0] if segment.header else ""
    return f"{before} {text[segment.group.start : segment.group.end]}" if segment.group else before


def _quotable(segment: Segment, words: str) -> bool:
    if segment.kind in ("heading", "lead_in") or len(words) > _LONGEST:
        return False
    if segment.kind == "row":
        return segment.row is not None
    if segment.kind == "item":
        return len(words.split()) >= 2
    whole = bool(_COMPLETE.search(words)) and (words[0].isupper() or not words[0].isalpha())
    long_enough = len(words.split()) >= _SHORTEST_WORDS
    return whole and long_enough and not is_run_in_heading(words) and not _STUB.match(words)


def _weights(found: Sequence[Candidate], asked: Asked) -> dict[str, float]:
    """How much each stem tells the candidates apart; more for what the question asks than for its circumstances."""
    counts = Counter(each for candidate in found for each in set(stems(candidate.read)))
    weights = {each: 0.3 + math.log(1 + len(found) / count) for each, count in counts.items()}
    return {each: weight * (_FOCUS if each in asked.focus else 1.0) for each, weight in weights.items()}


def _places(asked: Asked, prompt: Prompt) -> list[float]:
    """For each passage a factor: is it about the company and the period that the question names?"""
    heads = [f"{each.title} {each.section}" for each in prompt.passages]
    in_titles = frozenset(name for name in asked.names if any(name in tokens(each.title) for each in prompt.passages))
    named = [mentions(in_titles, each.title) for each in prompt.passages]
    fits = [_period_fit(asked, head, each.text) for head, each in zip(heads, prompt.passages, strict=True)]
    best = max(fits, default=0.0)
    return [
        (1.0 if name or not any(named) else _OTHER_NAME)
        * (1.0 if fit >= best else _OTHER_PERIOD + (1 - _OTHER_PERIOD) * fit / best)
        for name, fit in zip(named, fits, strict=True)
    ]


def _period_fit(asked: Asked, head: str, text: str) -> float:
    """How well a passage fits the periods of the question: by its title, or by what it says."""
    if not asked.periods:
        return 0.0
    title, body = periods(head), periods(text)
    return sum(1.0 if each in title else 0.7 if each in body else 0.0 for each in asked.periods) / len(asked.periods)


def _from_words(asked: Asked, candidate: Candidate, context: _Context, weights: dict[str, float]) -> float:
    """The part of the score that needs no vectors."""
    own = frozenset(stems(candidate.read))
    score = _OWN_WORDS * coverage(asked.terms, weights, own)
    score += _HEADING_WORDS * coverage(asked.terms, weights, context.heading)
    score += _CONTEXT_WORDS * coverage(asked.terms, weights, own | context.everything)
    score += _TYPE * answers_type(asked.types, candidate.said) + _RANK / (1 + 0.35 * (candidate.number - 1))
    score += _DEFINES if _defines(asked, candidate.words) else 0.0
    score -= _UNCLEAR if leans_back(candidate.words) else 0.0
    score -= _TOO_LONG if len(candidate.words) > _LONG else 0.0
    score -= _TOO_SHORT if candidate.segment.kind == "sentence" and len(candidate.words.split()) < _SHORT else 0.0
    return score


def _defines(asked: Asked, sentence: str) -> bool:
    if "definition" not in asked.types:
        return False
    head, means, _ = sentence.partition(" means")
    return bool(means) and asked.terms.keys() <= set(stems(head)) | {"mean", "definit", "defin"} and len(head) < 120


def says_the_same(one: Candidate, other: Candidate) -> bool:
    """True when one of the two holds nearly all words of the other, and both have the same numbers."""
    first, second = set(stems(one.words)), set(stems(other.words))
    shared = len(first & second)
    same_numbers = set(_NUMBER.findall(one.words)) == set(_NUMBER.findall(other.words))
    return same_numbers and shared >= _SAME * max(1, min(len(first), len(second)))
