"""What an ingestion run works with: the stores, the rules, the sources, and what it has done so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from connectors.base import Connector, SourceDocument, SourceItem
from connectors.errors import ConnectorError
from rag.domain import DocumentOutcome, Outcome

if TYPE_CHECKING:  # a run that finds nothing to do loads none of them
    from llama_index.core.schema import TextNode

    from rag.storage.catalog import Catalog
    from rag.storage.lexical import LexicalIndex
    from rag.storage.originals import Originals
    from rag.storage.records import Version
    from rag.storage.registry import Registry
    from rag.storage.vectors import VectorIndex

Stage = Literal["listing", "reading", "embedding", "done"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. `done` and `total` count documents that changed; `chunks` what was written so far."""

    stage: Stage
    done: int
    total: int
    pages: int = 0
    chunks: int = 0
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that ingestion writes to."""

    registry: Registry
    vectors: VectorIndex
    lexical: LexicalIndex
    originals: Originals
    catalog: Catalog


@dataclass(frozen=True, slots=True)
class Comparing:
    """Whose documents the sources hold, and when a run stops to ask."""

    tenant: str
    mass_delete_share: float
    mass_delete_floor: int


@dataclass(frozen=True, slots=True)
class Rules(Comparing):
    """These, and how documents become chunks."""

    split: Callable[[SourceDocument], list[TextNode]]
    window_chunks: int
    readers: int
    quarantine: Literal["hold", "off"]


@dataclass(frozen=True, slots=True)
class Source:
    """A connector with the collection that its documents belong to."""

    connector: Connector
    collection: str


@dataclass(slots=True)
class Run:
    """What a run has done so far."""

    outcomes: list[DocumentOutcome] = field(default_factory=list)
    total: int = 0
    done: int = 0
    pages: int = 0
    chunks: int = 0
    embedded: int = 0
    scopes: set[str] = field(default_factory=set)

    def progress(self, stage: Stage, uri: str = "") -> Progress:
        return Progress(stage, self.done, self.total, self.pages, self.chunks, uri)

    def note(self, item: SourceItem, outcome: Outcome, error: ConnectorError | None = None) -> None:
        reason = getattr(error, "reason", "misconfigured") if error else ""
        self.outcomes.append(DocumentOutcome(item.id, item.uri, outcome, reason, str(error or "")))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that was read and split, and is ready to be embedded and written."""

    version: Version
    content: bytes
    nodes: list[TextNode]
    texts: list[str]
    outcome: Outcome
    replaced: str  # content hash of the version before; empty when there was none
