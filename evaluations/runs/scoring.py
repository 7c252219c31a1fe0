"""Scoring: what was produced against what was wanted, again whenever metrics change, without producing anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from evaluations.attribution import cause
from evaluations.datasets.items import Item
from evaluations.metrics.catalog import Metric
from evaluations.runs.records import ItemRecord, ItemScores

_LONGEST: Final = 2_000  # characters of what was wanted that are kept for reading


def score(
    records: Iterable[ItemRecord],
    items: Mapping[str, Item],
    metrics: Sequence[Metric],
) -> list[ItemScores]:
    """The value of every metric that fits the item, and the cause of what went wrong, for every record.

    A failed item has the worst values.
    """
    pairs = [(items[record.item], record) for record in records]
    values: list[dict[str, float]] = [{} for _ in pairs]
    for each in metrics:
        fitting = [place for place, (item, _) in enumerate(pairs) if each.fits(item)]
        for place, value in zip(fitting, each.scores([pairs[place] for place in fitting]), strict=True):
            values[place][each.name] = value
    return [
        ItemScores(record.item, record.repeat, scored, _detail(item, record))
        for (item, record), scored in zip(pairs, values, strict=True)
    ]


def _detail(item: Item, record: ItemRecord) -> dict[str, str]:
    wanted = item.wanted
    told = {
        "wanted": " | ".join(wanted.answers or wanted.quotes)[:_LONGEST],
        "wanted_keys": "\n".join(key for key, grade in wanted.relevant.items() if grade > 0)[:_LONGEST],
        "wanted_documents": " | ".join(sorted(wanted.documents))[:_LONGEST],
        "answerable": "" if wanted.answerable is None else str(wanted.answerable).lower(),
        "label": wanted.label,
        "cause": cause(item, record),
        "failure": record.failure,
    }
    return {name: value for name, value in told.items() if value}
