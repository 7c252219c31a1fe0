"""How much of an answer is carried by what it cites: its sentences and its numbers."""

from __future__ import annotations

from functools import lru_cache

from evaluations.metrics.answers import plain
from evaluations.metrics.decisions import refused
from evaluations.runs.records import Produced
from rag.domain import DocumentPage, Passage
from rag.models.embedding import open_embedding
from rag.query.evidence import Evidence
from rag.query.grounding import SupportCheck, judge
from rag.query.number_grounding import trace
from rag.query.numbers import numbers
from rag.query.similarity import SentenceVectors
from rag.query.statements import Statement, StatementSplitter
from rag.query.support import shipped_model
from rag.settings import load_settings


def statement_supported(text: str, evidence: tuple[str, ...]) -> bool:
    """Whether the texts carry the statement, by the check that answers must pass."""
    markers = "".join(f" [{number}]" for number in range(1, len(evidence) + 1))
    sentence = Statement("", f"{' '.join(text.split())}{markers}")
    return judge(sentence, [as_evidence(each) for each in evidence], "overlap", _check()).supported


def supports(statement: str, evidence: tuple[str, ...], about: str) -> bool:
    """Whether the texts carry the statement. A short answer to `about` is judged by its numbers, if it has any.

    A derived number needs no calculation shown where the question names it, because data sets give results alone.
    """
    if about and numbers(statement):
        return not trace(statement, evidence, context=about, arithmetic="named")[0]
    return statement_supported(statement, evidence)


def groundedness(produced: Produced) -> float:
    """The share of the answer's statements that their citations carry; 1 for a refusal, which states nothing."""
    if refused(produced):
        return 1.0
    splitter = StatementSplitter()
    statements = [*splitter.feed(produced.text), *splitter.flush()]
    if not statements:
        return 0.0
    quotes = {each.marker: each.quote for each in produced.citations}
    supported = 0
    for each in statements:
        cited = tuple(quotes[str(marker)] for marker in each.markers if str(marker) in quotes)
        supported += bool(cited) and statement_supported(plain(each.text), cited)
    return supported / len(statements)


def number_grounding(produced: Produced) -> float:
    """The share of the answer's numbers that trace to what it cites; 1 without numbers and for a refusal."""
    text = plain(produced.text)
    said = len(numbers(text))
    if refused(produced) or not said:
        return 1.0
    missing, _ = trace(text, tuple(each.quote for each in produced.citations))
    return max(0.0, 1 - len(missing) / said)


@lru_cache(maxsize=1)
def _check() -> SupportCheck:
    """The check with the encoder of the configuration, opened when the first statement comes that is no quotation."""
    settings = load_settings()
    encoder = open_embedding(settings.embedding, settings.data_dir / "models", "query")
    return SupportCheck(SentenceVectors(encoder), shipped_model(), settings.verification.arithmetic)


def as_evidence(text: str) -> Evidence:
    """A text as evidence on a page of its own."""
    passage = Passage("c", "d", "", "", 1, "1", 0, len(text), text, 1.0)
    return Evidence(passage, DocumentPage("d", 1, "1", text), 0, len(text), 1.0)
