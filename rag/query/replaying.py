"""An answer as it is kept, and how it is told again: the same events, with what belongs to the new question."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from pydantic import TypeAdapter, ValidationError

from rag.domain import Answer
from rag.query.events import CitationReleased, Completed, Event, SentenceReleased, StageFinished

_TOLD_AGAIN: Final = ("retrieve", "verify")  # stages whose details say what was read; the others did not happen again

Kept = StageFinished | SentenceReleased | CitationReleased


@dataclass(frozen=True, slots=True)
class Entry:
    """A kept answer, the events that led to it, and the content hash of every cited document by its id."""

    answer: Answer
    events: tuple[Kept, ...]
    versions: dict[str, str]


def entry_of(answer: Answer, events: Sequence[Event], versions: Mapping[str, str]) -> Entry:
    """What is kept of an answer that came with these events."""
    kept = [each for each in events if isinstance(each, SentenceReleased | CitationReleased) or _told_again(each)]
    return Entry(answer, tuple(each for each in kept if isinstance(each, Kept)), dict(versions))


def to_bytes(entry: Entry) -> bytes:
    """JSON."""
    return _adapter().dump_json(entry)


def from_bytes(content: bytes) -> Entry | None:
    """The entry; None for what no version of this software with the same fields wrote."""
    try:
        return _adapter().validate_json(content)
    except ValidationError:
        return None


def replay(entry: Entry, question: str, searched: str, seconds: float) -> Iterator[Event]:
    """The events of a kept answer for this question. `seconds` is what it took to find it."""
    yield StageFinished("check", seconds)
    if searched != question:
        yield StageFinished("rewrite", 0.0, {"searched_question": searched, "by": "rules"})
    for event in entry.events:
        yield replace(event, seconds=0.0) if isinstance(event, StageFinished) else event
    yield Completed(
        replace(
            entry.answer,
            id=uuid.uuid4().hex,
            question=question,
            searched_question=searched,
            cached=True,
            timings={"cache": seconds, "total": seconds},
            tokens={},
        )
    )


def _told_again(event: Event) -> bool:
    return isinstance(event, StageFinished) and event.stage in _TOLD_AGAIN


@cache
def _adapter() -> TypeAdapter[Entry]:
    return TypeAdapter(Entry)
