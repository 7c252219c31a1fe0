"""How much of an answer is carried by what it cites: its sentences and its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from evaluations.metrics.answers import plain
from evaluations.metrics.decisions import refused
from evaluations.runs.records import Produced
from rag.domain import DocumentPage, Passage
from rag.models.embedding import open_embedding
from rag.query.evidence import Evidence
from rag.query.grounding import SupportCheck, judge
from rag.query.number_grounding import trace
from rag.query.numbers import numbers
from rag.query.similarity import Encoder, SentenceVectors, Vectors
from rag.query.statements import Statement, StatementSplitter
from rag.query.support import SupportModel, SupportSignals, shipped_model
from rag.settings import Settings, load_settings

Claim = tuple[str, tuple[str, ...]]  # a statement and the texts that it cites
_TOGETHER: Final = 256  # claims whose sentences are given to the encoder in one call; few enough to be remembered


def statement_supported(text: str, evidence: tuple[str, ...]) -> bool:
    """Whether the texts carry the statement, by the check that answers must pass."""
    return supported_among([(text, evidence)]) != set()


def supported_among(claims: Iterable[Claim], model: SupportModel | None = None) -> set[Claim]:
    """Those that their texts carry, each decided as if it came alone; by the shipped model unless one is given.

    The check knows vectors as the cosine of a statement with its sentences, and its model only rises or only falls with
    that. So what passes with the worst cosine, or fails with the best one, needs no vectors; the encoder is asked for
    what is left, for many statements at a time.
    """
    model = model or shipped_model()
    supported, unsure = set(), list[tuple[Claim, list[str]]]()
    for claim in dict.fromkeys(claims):
        worst, best = _extremes(model)
        if _judged(claim, worst, model):
            supported.add(claim)
        elif worst.asked and _judged(claim, best, model):
            unsure.append((claim, worst.asked))
    for start in range(0, len(unsure), _TOGETHER):
        together = unsure[start : start + _TOGETHER]
        _sentences().embed([text for _, texts in together for text in texts])
        supported.update(claim for claim, _ in together if _judged(claim, _sentences(), model))
    return supported


def supports(statement: str, evidence: tuple[str, ...], about: str) -> bool:
    """Whether the texts carry the statement. A short answer to `about` is judged by its numbers, if it has any.

    A derived number needs no calculation shown where the question names it, because data sets give results alone.
    """
    if about and numbers(statement):
        return not trace(statement, evidence, context=about, arithmetic="named")[0]
    return statement_supported(statement, evidence)


def groundedness(answers: Sequence[Produced]) -> list[float]:
    """For each answer the share of its statements that their citations carry; 1 for a refusal, which states nothing."""
    said = [[] if refused(each) else _claims(each) for each in answers]
    supported = supported_among(claim for claims in said for claim in claims if claim[1])
    return [
        1.0 if refused(each) else sum(claim in supported for claim in claims) / len(claims) if claims else 0.0
        for each, claims in zip(answers, said, strict=True)
    ]


def number_grounding(produced: Produced) -> float:
    """The share of the answer's numbers that trace to what it cites; 1 without numbers and for a refusal."""
    text = plain(produced.text)
    said = len(numbers(text))
    if refused(produced) or not said:
        return 1.0
    missing, _ = trace(text, tuple(each.quote for each in produced.citations))
    return max(0.0, 1 - len(missing) / said)


def _claims(produced: Produced) -> list[Claim]:
    splitter = StatementSplitter()
    quotes = {each.marker: each.quote for each in produced.citations}
    return [
        (plain(each.text), tuple(quotes[str(marker)] for marker in each.markers if str(marker) in quotes))
        for each in (*splitter.feed(produced.text), *splitter.flush())
    ]


def _judged(claim: Claim, encoder: Encoder, model: SupportModel) -> bool:
    text, evidence = claim
    markers = "".join(f" [{number}]" for number in range(1, len(evidence) + 1))
    sentence = Statement("", f"{' '.join(text.split())}{markers}")
    check = SupportCheck(encoder, model, _settings().verification.arithmetic)
    return judge(sentence, [as_evidence(each) for each in evidence], "overlap", check).supported


class _Assumed:
    """Stands for the encoder: every sentence has this cosine with the statement. Keeps the texts that it was asked."""

    def __init__(self, cosine: float) -> None:
        self.asked: list[str] = []
        self._sentence = (cosine, (1 - cosine**2) ** 0.5)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The statement, which comes first, and sentences beside it, in a plane."""
        self.asked += texts
        return np.array([(1.0, 0.0), *[self._sentence] * (len(texts) - 1)], dtype=np.float32)


def _extremes(model: SupportModel) -> tuple[_Assumed, _Assumed]:
    """The cosine that speaks most against a statement, and the one that speaks most for it."""
    apart, alike = (model.probability(SupportSignals(cosine, 0.5, 1.0, 1.0)) for cosine in (0.0, 1.0))
    return (_Assumed(0.0), _Assumed(1.0)) if apart <= alike else (_Assumed(1.0), _Assumed(0.0))


@lru_cache(maxsize=1)
def _settings() -> Settings:
    return load_settings()


@lru_cache(maxsize=1)
def _sentences() -> SentenceVectors:
    """The encoder of the configuration, opened when the first statement comes for which it matters."""
    embedding = _settings().embedding
    return SentenceVectors(open_embedding(embedding, _settings().data_dir / "models", "query"))


def as_evidence(text: str) -> Evidence:
    """A text as evidence on a page of its own."""
    passage = Passage("c", "d", "", "", 1, "1", 0, len(text), text, 1.0)
    return Evidence(passage, DocumentPage("d", 1, "1", text), 0, len(text), 1.0)
