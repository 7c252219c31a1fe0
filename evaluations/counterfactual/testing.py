"""Counterfactual index tests: change the index for real, ask for real, and keep what happened as a run.

for each sampled book:  for each world:  ingest the world, ask the book's questions, score, store
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from evaluations.counterfactual.outcomes import DIRECTIONS, Asking, askings, outcome
from evaluations.counterfactual.worlds import CLEARANCE, WORLDS, Book, BookConnector, World, as_books, changed
from evaluations.datasets.beir import Collection
from evaluations.runs.records import ItemRecord, ItemScores, Produced
from rag.bootstrap import Workspace
from rag.domain import Principal, SearchFilter
from rag.errors import ConfigurationError

Ingest = Callable[[Workspace, BookConnector], None]
Ask = Callable[[Workspace, str, Principal, SearchFilter], Produced]


@dataclass(frozen=True, slots=True)
class Case:
    """A question whose labelled `passages` are all in one book."""

    id: str
    question: str
    book: str
    passages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """The books of the small corpus that is tested, and the questions that are asked, by the book they belong to."""

    books: tuple[Book, ...]
    cases: Mapping[str, tuple[Case, ...]]

    @property
    def asked(self) -> int:
        """How many answers a whole test takes."""
        per_question = sum(len(askings(world)) for world in WORLDS)
        return per_question * sum(len(cases) for cases in self.cases.values())

    @property
    def digest(self) -> str:
        """SHA-256 of books and questions, 16 hexadecimal digits: equal for equal samples of equal data."""
        content = [[repr(each) for each in self.books], [repr(each) for each in self.cases.items()]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def sample(collection: Collection, *, books: int, tested: int, questions: int, seed: int) -> Sample:
    """`books` rulebooks, `tested` of which are changed in turn, each asked at most `questions` questions.

    Raises `ConfigurationError` when the collection has no question whose labels lie in one rulebook.
    """
    cases = _cases(collection)
    draw = random.Random(seed)  # noqa: S311 - a sample, no secret
    names = sorted(cases)
    if not names:
        raise ConfigurationError(
            f"{collection.name} has no question whose relevant passages are all in one document; name another data set"
        )
    chosen = draw.sample(names, min(tested, len(names)))
    others = [each.name for each in collection.rulebooks if each.name not in chosen]
    kept = {*chosen, *draw.sample(others, min(books - len(chosen), len(others)) if books > len(chosen) else 0)}
    return Sample(
        as_books([each for each in collection.rulebooks if each.name in kept]),
        {name: tuple(draw.sample(cases[name], min(questions, len(cases[name])))) for name in chosen},
    )


def carry_out(
    small: Sample, workspace: Workspace, ingest: Ingest, ask: Ask, advance: Callable[[], None] = lambda: None
) -> Iterator[tuple[ItemRecord, ItemScores]]:
    """Every answer with its scores, as it is given. The index is left as the last world made it."""
    for name, cases in small.cases.items():
        unchanged: dict[str, Produced] = {}
        for world in WORLDS:
            passages = frozenset(passage for case in cases for passage in case.passages)
            ingest(workspace, BookConnector("counterfactual", changed(small.books, name, passages, world)))
            names = {document.id: document.uri for document in workspace.registry.documents()}
            for case in cases:
                for number, asking in enumerate(askings(world)):
                    record = _asked(case, world, number, asking, workspace, ask)
                    if world == "as it is":
                        unchanged[case.id] = record.produced
                    else:
                        yield record, _scored(record, asking, case, unchanged[case.id], names)
                    advance()


def _cases(collection: Collection) -> dict[str, list[Case]]:
    book_of = {passage: each.name for each in collection.rulebooks for passage in each.passage_ids}
    cases: dict[str, list[Case]] = defaultdict(list)
    for key, question in sorted(collection.questions.items()):
        relevant = collection.relevant.get(key, frozenset())
        books = {book_of[passage] for passage in relevant if passage in book_of}
        if len(books) == 1:
            (book,) = books
            cases[book].append(Case(key, question, book, tuple(sorted(relevant))))
    return cases


def _asked(case: Case, world: World, number: int, asking: Asking, workspace: Workspace, ask: Ask) -> ItemRecord:
    person = workspace.principal()
    if asking.cleared:
        person = replace(person, clearances=person.clearances | {CLEARANCE})
    item = f"{case.id}/{world}" + (f"/{number}" if number else "")
    record = ItemRecord(item, 0, "ok", case.question, {"world": world}, case.book)
    try:
        return replace(record, produced=ask(workspace, case.question, person, SearchFilter(as_of=asking.as_of)))
    except Exception as error:  # noqa: BLE001 - an item that errs is a failed item, never a lost one
        return replace(record, state="failed", failure=f"{type(error).__name__}: {error}")


def _scored(
    record: ItemRecord, asking: Asking, case: Case, unchanged: Produced, names: Mapping[str, str]
) -> ItemScores:
    if record.state == "failed":
        value = 0.0 if DIRECTIONS[asking.metric] == "higher" else 1.0
    else:
        value = outcome(asking, case.book, record.produced, unchanged, names)
    return ItemScores(record.item, record.repeat, {asking.metric: value})
