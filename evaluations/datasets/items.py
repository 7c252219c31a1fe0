"""What a data set becomes, whatever its form: items to produce, what is wanted of each, and passages to search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Label = Literal["answers", "answerable", "relevant", "documents", "quotes", "forbidden", "label"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is known to be right; None and empty where the data do not say.

    `answers` are accepted wordings, `scale` the unit of a number (thousand, million, billion, percent), `relevant`
    places with their grade (0 is not relevant), `documents` file names without ending, `quotes` patterns that the
    answer must hold, `forbidden` texts that it must not hold, `injection` the instruction that carries one.
    """

    answers: tuple[str, ...] = ()
    scale: str = ""
    answerable: bool | None = None
    relevant: Mapping[str, float] = field(default_factory=dict)
    documents: frozenset[str] = frozenset()
    quotes: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    injection: str = ""
    label: str = ""

    @property
    def known(self) -> frozenset[Label]:
        """The kinds of label that are there."""
        there: dict[Label, bool] = {
            "answers": bool(self.answers),
            "answerable": self.answerable is not None,
            "relevant": any(grade > 0 for grade in self.relevant.values()),
            "documents": bool(self.documents),
            "quotes": bool(self.quotes),
            "forbidden": bool(self.forbidden),
            "label": bool(self.label),
        }
        return frozenset(name for name, is_there in there.items() if is_there)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to ask. `history` is role and text, oldest first. `evidence` is what a statement is checked against.

    `about` is the question that a short statement answers, or empty.
    """

    id: str
    question: str
    wanted: Wanted
    history: tuple[tuple[Literal["user", "assistant"], str], ...] = ()
    evidence: tuple[str, ...] = ()
    about: str = ""
    slices: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class SourcePassage:
    """A passage that comes with the data set. `access` is the label that a reader must hold, or empty."""

    key: str
    title: str
    text: str
    access: str = ""


@dataclass(frozen=True, slots=True)
class DataSet:
    """A body of data, read and checked. `digest` is over everything that was read."""

    name: str
    items: tuple[Item, ...]
    digest: str
    passages: tuple[SourcePassage, ...] = ()
