"""Why an item went wrong, without a judge: the first place on the way to the answer where what was needed got lost."""

from __future__ import annotations

from typing import Final, Literal

from evaluations.datasets.items import Item
from evaluations.metrics import answers
from evaluations.metrics.decisions import correct, refused
from evaluations.runs.records import ItemRecord, Produced

Cause = Literal[
    "",
    "failed",
    "not in corpus",
    "not retrieved",
    "cut from the prompt",
    "in the prompt but not used",
    "wrong number",
    "wrongly refused",
    "wrongly answered",
    "wrong",
]
RIGHT: Final = ""


def cause(item: Item, record: ItemRecord) -> Cause:
    """The cause, or `""` for an item that is right.

    A label of pages is looked at before one of documents. An item without a label of places can only be wrongly
    refused, wrongly answered, wrong by its number or simply `wrong`.
    """
    wanted, produced = item.wanted, record.produced
    if record.state == "failed":
        return "failed"
    if produced.status == "searched":
        return _lost(item, record) if _wanted_places(item) else RIGHT
    if wanted.label:
        return RIGHT if produced.status == wanted.label else "wrong"
    if wanted.answerable is None or correct(wanted, produced):
        return RIGHT
    return _of_an_answer(item, record) if wanted.answerable else "wrongly answered"


def _of_an_answer(item: Item, record: ItemRecord) -> Cause:
    """Why an answer is not right to a question that has one."""
    wanted, produced = item.wanted, record.produced
    lost = _lost(item, record) if _wanted_places(item) and produced.passages else RIGHT
    if lost:
        return lost
    if refused(produced):
        return "wrongly refused"
    if answers.wanted_number(wanted.answers, wanted.scale) and answers.numbers(produced.text):
        return "wrong number"
    if _wanted_places(item) and not _wanted_places(item) & _cited(item, produced):
        return "in the prompt but not used"
    return "wrong"


def _lost(item: Item, record: ItemRecord) -> Cause:
    """Where the needed places were lost before the engine wrote anything; `""` when it had one of them."""
    if record.in_corpus is False:
        return "not in corpus"
    produced = record.produced
    by_page = bool(_by_page(item))
    found = [each for each in produced.passages if (each.key if by_page else each.document_key) in _wanted_places(item)]
    if not found:
        return "not retrieved"
    if produced.status != "searched" and not refused(produced) and not any(each.in_prompt for each in found):
        return "cut from the prompt"
    return RIGHT


def _by_page(item: Item) -> frozenset[str]:
    return frozenset(key for key, grade in item.wanted.relevant.items() if grade > 0)


def _wanted_places(item: Item) -> frozenset[str]:
    return _by_page(item) or item.wanted.documents


def _cited(item: Item, produced: Produced) -> frozenset[str]:
    by_page = bool(_by_page(item))
    return frozenset(each.key if by_page else each.document_key for each in produced.citations)
