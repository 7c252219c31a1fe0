"""What retrieval and the passages say about whether a question can be answered: numbers for one logistic model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
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
_CLOSE: Final = 6  # the best passage is compared with the next five
_NEUTRAL: Final = 0.5  # where there is nothing to tell: no long name, or one document only
_LONG_NAME: Final = re.compile(r"\b[A-Z][\w-]*(?:\s+(?:(?:of|and|for|the)\s+)?[A-Z][\w-]*)+")
_YES_OR_NO: Final = re.compile(
    r"\s*(?:can|could|is|are|do|does|did|must|should|will|would|may|has|have)\b", re.IGNORECASE
)
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
    names_asked: float
    long_names_held: float
    numbers_asked: float
    yes_or_no: float
    document_share: float
    second_score: float
    sentence_cosine_gap: float
    coverage_gap: float

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
    """The signals of one question and what was retrieved for it, best first; at least one passage and one evidence.

    Some look at the question only. They cannot tell whether it is answered; they say how far to trust what can: a
    question full of names has more words that any passage about its subject holds.
    """
    asked = read_question(question)
    weights = {stem(word): rarity(word) for word in tokens(question)}
    cosines = sorted((each.dense for each in passages if each.dense is not None), reverse=True) or [0.0]
    present = [frozenset(stems(f"{each.title} {each.section} {each.text}")) for each in passages]
    union = frozenset().union(*present)
    covered = [coverage(asked.terms, weights, each) for each in present]
    sentences = [frozenset(stems(each.read)) for each in ranked]
    missing = [weights.get(term, 1.0) for term, others in asked.terms.items() if not {term, *others} & union]
    heads = " ".join(f"{each.passage.title} {each.passage.section}" for each in evidence)
    everything = f"{heads} {' '.join(each.text for each in evidence)}"
    return Signals(
        best_cosine=cosines[0],
        mean_cosine=sum(cosines[:3]) / len(cosines[:3]),
        lexical_per_term=max((each.lexical or 0.0 for each in passages), default=0.0)
        / max(1.0, sum(weights.get(each, 1.0) for each in asked.terms)),
        passage_coverage=max(covered[:_LOOKED_AT], default=0.0),
        union_coverage=coverage(asked.terms, weights, union),
        sentence_coverage=max((coverage(asked.terms, weights, each) for each in sentences), default=0.0),
        sentence_cosine=max((each.cosine for each in ranked), default=0.0),
        sentence_score=ranked[0].score if ranked else 0.0,
        rarest_missing=max(missing, default=0.0),
        names_missing=_share_missing(asked.names, lambda: frozenset(tokens(everything))),
        names_untitled=_share_missing(asked.names, lambda: frozenset(tokens(heads))),
        periods_missing=_share_missing(asked.periods, lambda: periods(everything)),
        sections_missing=_share_missing(
            asked.sections, lambda: references(heads) | frozenset(_DOTTED.findall(everything))
        ),
        agreement=_agreement(passages),
        score_gap=passages[0].score - passages[min(4, len(passages) - 1)].score,
        type_found=max((answers_type(asked.types, each.said) for each in ranked[:5]), default=0.0),
        terms=math.log1p(len(asked.terms)),
        names_asked=math.log1p(len(asked.names)),
        long_names_held=_long_names_held(question, present[covered.index(max(covered))]),
        numbers_asked=float(any(each[0].isdigit() for each in tokens(question))),
        yes_or_no=float(_YES_OR_NO.match(question) is not None),
        document_share=_document_share(passages),
        second_score=passages[min(1, len(passages) - 1)].score,
        sentence_cosine_gap=_gap([each.cosine for each in ranked], _LOOKED_AT),
        coverage_gap=_gap(covered, _CLOSE),
    )


def _long_names_held(question: str, present: Collection[str]) -> float:
    """The share of names of several words ("Listed Entity") whose stems the passage that covers most holds, all."""
    names = [set(stems(each)) for each in _LONG_NAME.findall(question)]
    several = [each for each in names if len(each) > 1]
    return sum(each <= set(present) for each in several) / len(several) if several else _NEUTRAL


def _document_share(passages: Sequence[Passage]) -> float:
    """The share of the best five passages that are from one document: a matter is at home somewhere, or nowhere.

    Neutral where all passages are from one document, since perhaps no other was searched.
    """
    if len({each.document_id for each in passages}) == 1:
        return _NEUTRAL
    best = [each.document_id for each in passages[:_LOOKED_AT]]
    return max(Counter(best).values()) / len(best)


def _gap(values: Sequence[float], among: int) -> float:
    """How far the highest value lies above the mean of the next ones, `among` values in all; 0 when it is alone."""
    highest, *others = sorted(values, reverse=True)[:among] or [0.0]
    return max(0.0, highest - sum(others) / len(others)) if others else 0.0


def _agreement(passages: Sequence[Passage]) -> float:
    """1 when both searches put the same passage first, 0.5 when the other one's first is in the best three."""
    by_dense = sorted(passages, key=lambda each: -(each.dense or 0.0))
    by_lexical = sorted(passages, key=lambda each: -(each.lexical or 0.0))
    if by_dense[0] is by_lexical[0]:
        return 1.0
    return 0.5 if by_dense[0] in by_lexical[:3] or by_lexical[0] in by_dense[:3] else 0.0


def _share_missing(wanted: frozenset[str], read: Callable[[], frozenset[str]]) -> float:
    """`read` takes milliseconds over all passages, and most questions want nothing of it."""
    return len(wanted - read()) / len(wanted) if wanted else 0.0
