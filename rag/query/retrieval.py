"""From a question to passages: two searches over what the principal may read, fused into one ranking."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from rag.domain import Passage, Principal, SearchFilter
from rag.governance.access import LiveDocuments, still_readable
from rag.ingestion.splitting import is_intact
from rag.models.microbatching import Microbatcher
from rag.query.figures import where_it_stands
from rag.query.fusion import Candidates, Scores, fused, ranked
from rag.query.names import matches
from rag.query.patience import PatientVectors
from rag.query.remembering import Remembered
from rag.query.similarity import Encoder
from rag.settings import CollectionSettings, RetrievalSettings
from rag.storage.catalog import Catalog
from rag.storage.lexical import LexicalIndex
from rag.storage.records import StoredChunk
from rag.storage.registry import Registry
from rag.storage.vectors import Vector, VectorIndex

logger = logging.getLogger(__name__)

_WIDEN = 4  # how much more is taken each time when too many candidates may not be seen
_WIDEST = 6_400  # candidates from each search; beyond that every visible document is looked at instead
_COMPARED_ONE_BY_ONE = 5_000  # chunks of documents that a filter names, which is faster than widening
_TOGETHER = 8  # questions in one search; more gain little, and the first of them would wait for longer
_AT_ONCE = 2  # such searches; while the model computes for one, the other looks into the stores
_VECTORS = 20_000  # kept in memory, 768 bytes each
_TEXTS = 20_000  # kept in memory, about 2 kB each


Hit = tuple[str, float]  # chunk id and score


@dataclass(frozen=True, slots=True)
class _Asked:
    """One search: the question, words that may help it, and where to look for whom."""

    question: str
    hints: str
    scopes: tuple[str, ...]
    principal: Principal
    narrow: SearchFilter
    top_k: int
    limit: int  # candidates from each search, at first
    few: bool  # the filter names so few documents that every chunk of theirs is compared

    @property
    def embedded(self) -> str:
        """The text whose vector is searched with."""
        return f"{self.question} {self.hints}" if self.hints else self.question


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Raw scores by chunk id: the cosine of every candidate, BM25 of those that the lexical search found."""

    cosines: dict[str, float]
    lexical: dict[str, float]


class Searcher:
    """Finds passages for a principal; there is no way to search without one. Safe for several threads.

    What may not be seen is filtered before the ranking: by collection inside both searches, by document, day and
    filter right after them, with more candidates asked for until `top_k` are visible or there are none left.
    """

    def __init__(
        self,
        embedding: Encoder,
        vectors: VectorIndex | PatientVectors,
        lexical: LexicalIndex,
        catalog: Catalog,
        registry: Registry,
        settings: RetrievalSettings,
        collections: Mapping[str, CollectionSettings],
    ) -> None:
        self._embedding = embedding
        self._vectors = vectors
        self._lexical = lexical
        self._catalog = catalog
        self._registry = registry
        self._live = LiveDocuments(registry)
        self._settings = settings
        self._own_weights = {name: collection.dense_weight for name, collection in collections.items()}
        self._known_vectors: Remembered[Vector] = Remembered(_VECTORS)
        self._known_texts: Remembered[StoredChunk] = Remembered(_TEXTS)
        self._questions: Microbatcher[_Asked, list[Passage]] = Microbatcher(
            self._found, _TOGETHER, threads=_AT_ONCE, size=lambda asked: len(asked.embedded)
        )

    def search(self, question: str, principal: Principal, narrow: SearchFilter, top_k: int) -> list[Passage]:
        """The best `top_k` passages, best first; fewer only when the principal may see fewer that were found.

        A blank question finds nothing. Raises `StorageUnavailable`, `IndexMismatch` or `ModelError`.
        """
        return self.search_each([(question, top_k)], principal, narrow)[0]

    def search_each(
        self, questions: Sequence[tuple[str, int]], principal: Principal, narrow: SearchFilter
    ) -> list[list[Passage]]:
        """As `search`, for several questions with the number of passages for each; cheaper than one by one."""
        asked = [self._asked(question, principal, narrow, top_k) for question, top_k in questions]
        found = iter(self._found([each for each in asked if each]) if any(asked) else ())
        return [next(found) if each else [] for each in asked]

    async def asearch(self, question: str, principal: Principal, narrow: SearchFilter, top_k: int) -> list[Passage]:
        """As `search`, in a thread; questions that wait at the same time are searched together."""
        asked = self._asked(question, principal, narrow, top_k)
        return await self._questions.run(asked) if asked else []

    def words_only_since(self, moment: float) -> bool:
        """Whether a search went without Chroma since then, by `time.perf_counter`."""
        return isinstance(self._vectors, PatientVectors) and self._vectors.missed_since(moment)

    def _asked(self, question: str, principal: Principal, narrow: SearchFilter, top_k: int) -> _Asked | None:
        """What there is to search for, and where; None when there is nothing or nowhere."""
        scopes = self._catalog.scopes(principal, narrow)
        if not question.strip() or not scopes or top_k < 1:
            return None
        hints = where_it_stands(question) if self._settings.figure_hints == "on" else ""
        limit = max(self._settings.candidates, top_k)
        few = bool(narrow.document_ids) and self._size(narrow.document_ids) <= _COMPARED_ONE_BY_ONE
        return _Asked(question, hints, tuple(scopes), principal, narrow, top_k, limit, few)

    def _found(self, together: Sequence[_Asked]) -> list[list[Passage]]:
        """The passages for each question, all of them embedded and looked up in Chroma together."""
        vectors = self._embedding.embed([asked.embedded for asked in together])
        near = self._near(together, vectors)
        found = []
        for asked, vector, hits in zip(together, vectors, near, strict=True):
            candidates = self._described(self._candidates(asked, vector, hits), asked.question)
            scores = fused(candidates, self._settings.name_weight)
            passages = self._passages(candidates, scores, asked.top_k)
            found.append(still_readable(passages, asked.principal, self._live))
        return found

    def _near(self, together: Sequence[_Asked], vectors: Vector) -> list[list[Hit]]:
        """For each question the chunks nearest to it, except where every chunk of a few documents will be compared."""
        near: list[list[Hit]] = [[] for _ in together]
        alike: dict[tuple[tuple[str, ...], int], list[int]] = {}
        for place, asked in enumerate(together):
            if not asked.few:
                alike.setdefault((asked.scopes, asked.limit), []).append(place)
        for (scopes, limit), places in alike.items():
            for place, hits in zip(places, self._vectors.query_many(scopes, vectors[places], limit), strict=True):
                near[place] = hits
        return near

    def _candidates(self, asked: _Asked, vector: Vector, near: list[Hit]) -> _Candidates:
        """The visible candidates of both searches, each with its cosine; asked wider until there are enough."""
        limit = asked.limit
        if asked.few:
            return self._among(asked.narrow.document_ids, asked, vector, limit)
        while limit <= _WIDEST:
            worded = self._lexical.search(
                asked.question, asked.scopes, limit, asked.narrow.document_ids, hints=asked.hints
            )
            dense, lexical = self._visible(near[:limit], asked), self._visible(worded, asked)
            exhausted = len(near) < limit and len(worded) < limit
            if exhausted or len(dense.keys() | lexical.keys()) >= asked.top_k:
                return _Candidates({**self._cosines(lexical.keys() - dense.keys(), vector), **dense}, lexical)
            limit *= _WIDEN
            near = self._vectors.query(asked.scopes, vector, limit)
        return self._among(self._catalog.visible_ids(asked.principal, asked.narrow), asked, vector, limit)

    def _among(self, document_ids: Iterable[str], asked: _Asked, vector: Vector, limit: int) -> _Candidates:
        """Candidates from these documents alone. Every chunk of theirs is compared, so none is missed."""
        seen = sorted(self._catalog.visible_among(document_ids, asked.principal, asked.narrow))
        if not seen:
            return _Candidates({}, {})
        lexical = dict(self._lexical.search(asked.question, asked.scopes, limit, seen, hints=asked.hints))
        cosines = self._cosines(self._lexical.chunks(seen, asked.scopes), vector)
        nearest = sorted(cosines, key=lambda chunk_id: (-cosines[chunk_id], chunk_id))[:limit]
        return _Candidates({each: cosines[each] for each in (*nearest, *lexical) if each in cosines}, lexical)

    def _size(self, document_ids: Iterable[str]) -> int:
        """How many chunks these documents have."""
        documents = (self._catalog.document(document_id) for document_id in document_ids)
        return sum(document.chunks for document in documents if document)

    def _visible(self, hits: Sequence[Hit], asked: _Asked) -> dict[str, float]:
        documents = [_document_of(chunk_id) for chunk_id, _ in hits]
        seen = self._catalog.visible_among(dict.fromkeys(documents), asked.principal, asked.narrow)
        return {chunk_id: score for (chunk_id, score), each in zip(hits, documents, strict=True) if each in seen}

    def _cosines(self, chunk_ids: Iterable[str], vector: Vector) -> dict[str, float]:
        """Cosines of chunks that only the lexical search found; their vectors are remembered between questions."""
        wanted = sorted(chunk_ids)
        known = self._known_vectors.get(self._catalog.snapshot, wanted, self._read_vectors)
        if not known:
            return {}
        rows = np.concatenate(list(known.values())).reshape(len(known), -1)  # half the time of np.stack
        cosines = rows.astype(np.float32) @ vector
        return dict(zip(known, cosines.tolist(), strict=True))

    def _read_vectors(self, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        pairs = [(self._catalog.scope(_document_of(chunk_id)), chunk_id) for chunk_id in chunk_ids]
        return {chunk_id: row.astype(np.float16) for chunk_id, row in self._vectors.vectors(pairs).items()}

    def _described(self, found: _Candidates, question: str) -> Candidates:
        ids = sorted(found.cosines.keys() | found.lexical.keys())
        documents = [_document_of(chunk_id) for chunk_id in ids]
        titles = {}
        weights = {}
        for document_id in dict.fromkeys(documents):
            document = self._catalog.document(document_id)
            titles[document_id] = document.title if document else ""
            weights[document_id] = self._own_weights.get(
                document.collection if document else "", self._settings.dense_weight
            )
        names = matches(question, titles)
        floor = min(found.cosines.values(), default=0.0)
        return Candidates(
            ids=ids,
            cosines=np.array([found.cosines.get(chunk_id, floor) for chunk_id in ids], dtype=np.float64),
            lexical=np.array([found.lexical.get(chunk_id, 0.0) for chunk_id in ids], dtype=np.float64),
            weights=np.array([weights[document_id] for document_id in documents], dtype=np.float64),
            names=np.array([names[document_id] for document_id in documents], dtype=np.float64),
        )

    def _passages(self, candidates: Candidates, scores: Scores, top_k: int) -> list[Passage]:
        """The best ones with their texts. A chunk that vanished meanwhile, or was damaged, is left out."""
        order = ranked(candidates.ids, scores, top_k)
        best = [candidates.ids[position] for position in order]
        stored = self._known_texts.get(self._catalog.snapshot, best, self._texts)
        return [
            self._passage(stored[candidates.ids[position]], candidates, position, float(scores[position]))
            for position in order
            if candidates.ids[position] in stored
        ]

    def _texts(self, chunk_ids: Sequence[str]) -> dict[str, StoredChunk]:
        """The chunks as the registry holds them; nobody is told what it does not hold as it was read."""
        stored = self._registry.passages(chunk_ids)
        for chunk in [each for each in stored.values() if not is_intact(each)]:
            logger.error("chunk %s is damaged in the registry; run `banksight index check --repair`", chunk.chunk_id)
            del stored[chunk.chunk_id]
        return stored

    def _passage(self, chunk: StoredChunk, candidates: Candidates, position: int, score: float) -> Passage:
        lexical = float(candidates.lexical[position])
        return Passage(
            chunk_id=chunk.chunk_id,
            document_id=chunk.document_id,
            title=chunk.title,
            section=chunk.section,
            page=chunk.page,
            page_label=chunk.page_label,
            start=chunk.start,
            end=chunk.end,
            text=chunk.text,
            score=score,
            dense=float(candidates.cosines[position]),
            lexical=lexical if lexical > 0 else None,
            collection=self._catalog.collection(chunk.document_id),
        )


def _document_of(chunk_id: str) -> str:
    return chunk_id.partition("-")[0]


class HybridRetriever(BaseRetriever):
    """A `Searcher` bound to one principal and filter, as a LlamaIndex retriever."""

    def __init__(self, searcher: Searcher, principal: Principal, narrow: SearchFilter, top_k: int) -> None:
        super().__init__()
        self._searcher = searcher
        self._principal = principal
        self._narrow = narrow
        self._top_k = top_k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(self._searcher.search(query_bundle.query_str, self._principal, self._narrow, self._top_k))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(await self._searcher.asearch(query_bundle.query_str, self._principal, self._narrow, self._top_k))


def _nodes(passages: Sequence[Passage]) -> list[NodeWithScore]:
    """Passages as LlamaIndex nodes; the id is the chunk's, the score is the fused one."""
    return [NodeWithScore(node=_node(passage), score=passage.score) for passage in passages]


def _node(passage: Passage) -> TextNode:
    metadata: dict[str, Any] = {
        "document_id": passage.document_id,
        "title": passage.title,
        "section": passage.section,
        "page": passage.page,
        "page_label": passage.page_label,
        "start": passage.start,
        "end": passage.end,
        "collection": passage.collection,
    }
    return TextNode(id_=passage.chunk_id, text=passage.text, metadata=metadata)
