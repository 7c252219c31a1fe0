"""What retrieval and the passages say about whether a question can be answered: numbers for one logistic model."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Final

from rag.domain import Passage
from rag.query.asked import answers_type, periods, read_question, references
from rag.query.evidence import Evidence
from rag.query.selecting import Candidate
from rag.query.words import coverage, stem, stems, tokens

Rarity = Callable[[str], float]

_DOTTED: Final = re.compile(r"\d+(?:\.\d+)*")
_LOOKED_AT: Final = 5  # passages
_FIRST_WORD: Final = 1996  # BERT's vocabulary: special and single-character pieces come before
_RAREST: Final = 1.3  # weight of a word that the vocabulary does not hold whole


@dataclass(frozen=True, slots=True)
class Signals:
    """Each is 0 or more, and comparable between questions. See `measure` for what they mean."""

    best_cosine: float
    mean_cosine: float
    lexical_per_term: float
    passage_coverage: float
    union_coverage: float
    sentence_coverage: float
    sentence_cosine: float
    sentence_score: float
    rarest_missing: float
    names_missing: float
    names_untitled: float
    periods_missing: float
    sections_missing: float
    agreement: float
    score_gap: float
    type_found: float
    terms: float

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the signals, in order."""
        return tuple(each.name for each in fields(cls))

    def values(self) -> tuple[float, ...]:
        """The signals, in order."""
        return astuple(self)


def rarity_from(tokenizer: Any) -> Rarity:
    """How much a word tells, 0..1.3, from its place in an uncased BERT vocabulary, which is ordered by frequency.

    It needs no corpus, so a word means the same in a bank with ten documents and in one with ten thousand.
    """
    size = math.log(max(2, tokenizer.get_vocab_size() - _FIRST_WORD))

    def rarity(word: str) -> float:
        piece = tokenizer.token_to_id(word)
        if piece is None:
            return _RAREST
        return max(0.05, math.log(max(1, piece - _FIRST_WORD) + 1) / size)

    return rarity


def measure(
    question: str,
    passages: Sequence[Passage],
    evidence: Sequence[Evidence],
    ranked: Sequence[Candidate],
    rarity: Rarity,
) -> Signals:
    """The signals of one question and what was retrieved for it, best first; at least one passage and one evidence."""
    asked = read_question(question)
    weights = {stem(word): rarity(word) for word in tokens(question)}
    cosines = sorted((each.dense for each in passages if each.dense is not None), reverse=True) or [0.0]
    present = [frozenset(stems(f"{each.title} {each.section} {each.text}")) for each in passages[:_LOOKED_AT]]
    union = frozenset().union(*(stems(f"{each.title} {each.section} {each.text}") for each in passages))
    sentences = [frozenset(stems(each.read)) for each in ranked]
    missing = [weights.get(term, 1.0) for term, others in asked.terms.items() if not {term, *others} & union]
    heads = " ".join(f"{each.passage.title} {each.passage.section}" for each in evidence)
    everything = f"{heads} {' '.join(each.text for each in evidence)}"
    return Signals(
        best_cosine=cosines[0],
        mean_cosine=sum(cosines[:3]) / len(cosines[:3]),
        lexical_per_term=max((each.lexical or 0.0 for each in passages), default=0.0)
        / max(1.0, sum(weights.get(each, 1.0) for each in asked.terms)),
        passage_coverage=max((coverage(asked.terms, weights, each) for each in present), default=0.0),
        union_coverage=coverage(asked.terms, weights, union),
        sentence_coverage=max((coverage(asked.terms, weights, each) for each in sentences), default=0.0),
        sentence_cosine=max((each.cosine for each in ranked), default=0.0),
        sentence_score=ranked[0].score if ranked else 0.0,
        rarest_missing=max(missing, default=0.0),
        names_missing=_share_missing(asked.names, frozenset(tokens(everything))),
        names_untitled=_share_missing(asked.names, frozenset(tokens(heads))),
        periods_missing=_share_missing(asked.periods, periods(everything)),
        sections_missing=_share_missing(asked.sections, references(heads) | frozenset(_DOTTED.findall(everything))),
        agreement=_agreement(passages),
        score_gap=passages[0].score - passages[min(4, len(passages) - 1)].score,
        type_found=max((answers_type(asked.types, each.said) for each in ranked[:5]), default=0.0),
        terms=math.log1p(len(asked.terms)),
    )


def _agreement(passages: Sequence[Passage]) -> float:
    """1 when both searches put the same passage first, 0.5 when the other one's first is in the best three."""
    by_dense = sorted(passages, key=lambda each: -(each.dense or 0.0))
    by_lexical = sorted(passages, key=lambda each: -(each.lexical or 0.0))
    if by_dense[0] is by_lexical[0]:
        return 1.0
    return 0.5 if by_dense[0] in by_lexical[:3] or by_lexical[0] in by_dense[:3] else 0.0


def _share_missing(wanted: frozenset[str], present: frozenset[str]) -> float:
    return sum(1 for each in wanted if each not in present) / len(wanted) if wanted else 0.0
