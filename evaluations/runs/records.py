"""What a run leaves behind: how it was made, what was produced for each item, and how that was scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

RunState = Literal["running", "interrupted", "complete"]
ItemState = Literal["ok", "failed"]


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Digests and versions of everything that decides a figure; two runs with equal ones are comparable.

    `snapshot` is the indexed corpus, `model` the files of encoder and generator, `decoding` the engine with its
    sampling settings. Empty where the target does not tell.
    """

    suite: str
    data: str
    snapshot: str = ""
    prompt: str = ""
    model: str = ""
    decoding: str = ""
    code: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run of a suite. Times are ISO 8601 in UTC; `planned` counts items times repeats.

    `left_out` are metrics of the suite that the target gives no material for.
    """

    id: str
    suite: str
    fingerprints: Fingerprints
    target: str
    planned: int
    started: str
    finished: str = ""
    state: RunState = "running"
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetrievedPassage:
    """A passage that came back, best first in its list; `in_prompt` when the answer was made from it.

    `key` is the id that the data set's labels use for the place (a BEIR passage, `file page`), where it is known.
    """

    document_id: str
    title: str
    page: int
    text: str
    score: float
    key: str = ""
    document_key: str = ""
    in_prompt: bool = True


@dataclass(frozen=True, slots=True)
class CitedQuote:
    """A citation of the answer. `key` and `document_key` as in `RetrievedPassage`."""

    document_id: str
    title: str
    page: int
    quote: str
    key: str = ""
    document_key: str = ""
    marker: str = ""


@dataclass(frozen=True, slots=True)
class Produced:
    """What the target gave back: `status` is that of `rag.domain.Answer` or, for a mere search, `searched`.

    `timings` are seconds by stage with `total` always there, `tokens` counts by kind, `confidence` 0..1 or None.
    """

    text: str = ""
    status: str = ""
    reason: str = ""
    passages: tuple[RetrievedPassage, ...] = ()
    citations: tuple[CitedQuote, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """One item of one repeat. A failed one has the reason in `failure`, and still counts in every metric.

    `cluster` names what makes items depend on each other: a document, a conversation. `slices` is name to value.
    `in_corpus` says whether the target had one of the wanted documents at all; None where that is not known.
    """

    item: str
    repeat: int
    state: ItemState
    question: str
    slices: dict[str, str] = field(default_factory=dict)
    cluster: str = ""
    failure: str = ""
    produced: Produced = field(default_factory=Produced)
    in_corpus: bool | None = None


@dataclass(frozen=True, slots=True)
class ItemScores:
    """The metrics of one item and repeat, never NaN. `detail` says why: cause of an error, what was wanted."""

    item: str
    repeat: int
    metrics: dict[str, float]
    detail: dict[str, str] = field(default_factory=dict)
