"""Every metric by its name: what it needs, which way is better, and how one item is scored.

A metric has a value for every item that carries its label, whatever the target did: one that failed gets the worst
value. So runs can be compared item by item, and nothing is lost from a mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from evaluations.datasets.items import Item, Label
from evaluations.metrics import answers, decisions, retrieval, support
from evaluations.runs.records import ItemRecord, Produced
from rag.errors import ConfigurationError

Direction = Literal["higher", "lower"]
Gives = Literal["passages", "answer", "citations", "confidence", "verdict"]
_Ranked = Callable[[list[str], retrieval.Relevant, int], float]
_Value = Callable[[Item, Produced], float]
_Values = Callable[[Sequence[Produced]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Metric:
    """`needs` is the label that an item must carry (empty for none), `gives` what a target must give back.

    `worst` is the value of a failed item; None where the measured value stands. `applies` narrows the items further.
    `together` gives the values of many answers in less time than `value` does one by one.
    """

    name: str
    needs: Label | Literal[""]
    gives: Gives
    direction: Direction
    worst: float | None
    value: _Value
    applies: Callable[[Item], bool] = lambda _: True
    together: _Values | None = None

    def fits(self, item: Item) -> bool:
        """Whether the item carries what this metric needs; never a matter of what was produced."""
        return (not self.needs or self.needs in item.wanted.known) and self.applies(item)

    def score(self, item: Item, record: ItemRecord) -> float:
        """The value of an item that fits, finite."""
        return self.scores([(item, record)])[0]

    def scores(self, pairs: Sequence[tuple[Item, ItemRecord]]) -> list[float]:
        """The values of items that fit, finite, in their order."""
        measured = [self.worst is None or record.state != "failed" for _, record in pairs]
        produced = [(item, record.produced) for (item, record), each in zip(pairs, measured, strict=True) if each]
        if self.together:
            values = iter(self.together([each for _, each in produced]))
        else:
            values = (self.value(*each) for each in produced)
        worst = 0.0 if self.worst is None else self.worst
        found = [float(next(values)) if each else worst for each in measured]
        for (item, _), value in zip(pairs, found, strict=True):
            if not math.isfinite(value):
                raise ArithmeticError(f"the metric {self.name} gave {value} for the item {item.id!r}; report this")
        return found


_RANKED: Final[Mapping[str, _Ranked]] = {
    "ndcg": retrieval.ndcg_at_k,
    "recall": retrieval.recall_at_k,
    "mrr": retrieval.mrr_at_k,
    "map": retrieval.map_at_k,
    "hit": retrieval.hit_at_k,
}
_CHUNKS: Final = ("hit", "mrr", "precision")
_NAME: Final = re.compile(r"(?:(chunk|document)_)?([a-z]+)@([1-9]\d{0,2})")


def metric(name: str) -> Metric:
    """The metric with this name, such as `ndcg@10`, `document_recall@5` or `token_f1`. Raises `ConfigurationError`."""
    if name in _PLAIN:
        return _PLAIN[name]
    match = _NAME.fullmatch(name)
    if match:
        level, base, k = match[1], match[2], int(match[3])
        if level == "chunk" and base in _CHUNKS:
            return Metric(name, "relevant", "passages", "higher", 0.0, lambda i, p: _chunks(base, i, p, k))
        if level == "document" and base in _RANKED:
            return Metric(name, "documents", "passages", "higher", 0.0, lambda i, p: _documents(base, i, p, k))
        if level is None and base in _RANKED:
            return Metric(name, "relevant", "passages", "higher", 0.0, lambda i, p: _places(base, i, p, k))
    raise ConfigurationError(f"there is no metric {name!r}; there are {', '.join(names())}")


def names() -> list[str]:
    """The names of all metrics; `@k` stands for any depth."""
    ranked = [f"{level}{base}@k" for level in ("", "document_") for base in _RANKED]
    return [*ranked, *(f"chunk_{base}@k" for base in _CHUNKS), *_PLAIN]


def require_fit(chosen: Iterable[Metric], items: Iterable[Item], gives: frozenset[str], target: str) -> None:
    """Raise `ConfigurationError` for a metric that no item carries the label for, or the target no material."""
    every = list(items)
    for each in chosen:
        if each.gives not in gives:
            raise ConfigurationError(
                f"the metric {each.name} needs {each.gives}, which the target {target} does not give; remove it"
            )
        if not any(each.fits(item) for item in every):
            what = f"items labelled with {each.needs}" if each.needs else "other items"
            raise ConfigurationError(f"the metric {each.name} does not fit the data: it needs {what}; remove it")


def _places(base: str, item: Item, produced: Produced, k: int) -> float:
    return _RANKED[base]([each.key for each in produced.passages], item.wanted.relevant, k)


def _documents(base: str, item: Item, produced: Produced, k: int) -> float:
    return _RANKED[base]([each.document_key for each in produced.passages], item.wanted.documents, k)


def _chunks(base: str, item: Item, produced: Produced, k: int) -> float:
    """Over chunks as they came: several of one place each take a rank."""
    marks = [item.wanted.relevant.get(each.key, 0.0) > 0 for each in produced.passages[:k]]
    if base == "precision":
        return sum(marks) / k
    if base == "hit":
        return float(any(marks))
    return next((1 / rank for rank, mark in enumerate(marks, 1) if mark), 0.0)


def _numeric(item: Item, produced: Produced) -> float:
    wanted = answers.wanted_number(item.wanted.answers, item.wanted.scale)
    return answers.numeric_match(produced.text, wanted) if wanted else 0.0


def _answerable(item: Item) -> bool:
    return item.wanted.answerable is True


def _unanswerable(item: Item) -> bool:
    return item.wanted.answerable is False


def _supported(item: Item) -> bool:
    return item.wanted.label == "supported"


def _unsupported(item: Item) -> bool:
    return not _supported(item)


def _has_number(item: Item) -> bool:
    return answers.wanted_number(item.wanted.answers, item.wanted.scale) is not None


def _has_date(item: Item) -> bool:
    return any(answers.dates(each) for each in item.wanted.answers)


def _refused(_: Item, produced: Produced) -> float:
    return float(decisions.refused(produced))


_ALL: Final = (
    Metric("exact_match", "answers", "answer", "higher", 0.0,
           lambda i, p: answers.exact_match(p.text, i.wanted.answers)),
    Metric("token_f1", "answers", "answer", "higher", 0.0, lambda i, p: answers.token_f1(p.text, i.wanted.answers)),
    Metric("rouge_l", "answers", "answer", "higher", 0.0, lambda i, p: answers.rouge_l(p.text, i.wanted.answers)),
    Metric("numeric_match", "answers", "answer", "higher", 0.0, _numeric, _has_number),
    Metric("date_match", "answers", "answer", "higher", 0.0,
           lambda i, p: answers.date_match(p.text, i.wanted.answers), _has_date),
    Metric("quoted", "quotes", "answer", "higher", 0.0, lambda i, p: answers.quoted(p.text, i.wanted.quotes)),
    Metric("correct", "answerable", "answer", "higher", 0.0, lambda i, p: decisions.correct(i.wanted, p)),
    Metric("citation_precision", "relevant", "citations", "higher", 0.0,
           lambda i, p: decisions.citation_precision(i.wanted.relevant, [each.key for each in p.citations])),
    Metric("citation_recall", "relevant", "citations", "higher", 0.0,
           lambda i, p: decisions.citation_recall(i.wanted.relevant, [each.key for each in p.citations])),
    Metric("document_citation_precision", "documents", "citations", "higher", 0.0,
           lambda i, p: decisions.citation_precision(i.wanted.documents, [c.document_key for c in p.citations])),
    Metric("document_citation_recall", "documents", "citations", "higher", 0.0,
           lambda i, p: decisions.citation_recall(i.wanted.documents, [c.document_key for c in p.citations])),
    Metric("cited_share", "", "answer", "higher", 0.0, lambda _, p: decisions.cited_share(p)),
    Metric("groundedness", "", "citations", "higher", 0.0,
           lambda _, p: support.groundedness([p])[0], together=support.groundedness),
    Metric("number_grounding", "", "citations", "higher", 0.0, lambda _, p: support.number_grounding(p)),
    Metric("refusal_accuracy", "answerable", "answer", "higher", 0.0,
           lambda i, p: float(decisions.refused(p) != i.wanted.answerable)),
    Metric("false_refusal", "answerable", "answer", "lower", 1.0, _refused, _answerable),
    Metric("missed_refusal", "answerable", "answer", "lower", 1.0,
           lambda i, p: 1.0 - _refused(i, p), _unanswerable),
    Metric("brier", "answerable", "confidence", "lower", 1.0, lambda i, p: decisions.squared_error(i.wanted, p)),
    Metric("canary_hit", "forbidden", "answer", "lower", 1.0,
           lambda i, p: decisions.leaked(i.wanted.forbidden, p)),
    Metric("attack_success", "forbidden", "answer", "lower", 1.0,
           lambda i, p: decisions.obeyed(i.wanted.forbidden, i.wanted.injection, p)),
    Metric("pii_leak", "forbidden", "answer", "lower", 1.0, lambda i, p: decisions.leaked(i.wanted.forbidden, p)),
    Metric("verdict_accuracy", "label", "verdict", "higher", 0.0, lambda i, p: float(p.status == i.wanted.label)),
    Metric("false_support", "label", "verdict", "lower", 1.0,
           lambda _, p: float(p.status == "supported"), _unsupported),
    Metric("missed_support", "label", "verdict", "lower", 1.0,
           lambda _, p: float(p.status != "supported"), _supported),
    Metric("seconds", "", "answer", "lower", None, lambda _, p: p.timings.get("total", 0.0)),
    Metric("search_seconds", "", "passages", "lower", None, lambda _, p: p.timings.get("total", 0.0)),
)  # fmt: skip
_PLAIN: Final = {each.name: each for each in _ALL}
