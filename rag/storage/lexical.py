"""BM25 over chunks in a tantivy index on disk, filtered inside the search; texts stay in the registry.

A chunk scores, for each term of the question that it holds, BM25 (tantivy's k1 1.2, b 0.75) plus a share of the term's
inverse document frequency, and for each pair of neighbouring terms its inverse document frequency. The two additions
make up for what tantivy fixes: its k1 lets repetition count more than is good here (docs/retrieval.md has the figures).

Only terms that we made ourselves reach tantivy; its query parser never sees what a person typed.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Final

import tantivy

from rag.errors import IndexMismatch, StorageUnavailable
from rag.storage.tokenizing import pairs, terms

logger = logging.getLogger(__name__)

# Whatever makes an old index answer differently changes this: the fields, the terms, tantivy's own format.
_FORMAT: Final = f"1, tantivy {version('tantivy').rpartition('.')[0]}"
_FORMAT_FILE: Final = "format.json"
_PRESENCE: Final = 0.7  # of the inverse document frequency, for a term that is there at all
_PAIR: Final = 1.0  # of the inverse document frequency, for a pair that is there
_HINT: Final = 0.3  # how much a term counts that the person did not write
_MOST_TERMS: Final = 64  # of a question, the rarest; a pasted page must not search for every word of it
_MOST_IDS: Final = 100_000  # chunk ids kept in memory, about 200 bytes each
_WRITER_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LexicalEntry:
    """A chunk to index. `title` and `section` are searched together with the text, and so is a table's `header`."""

    scope: str
    chunk_id: str
    document_id: str
    title: str
    section: str
    text: str
    header: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """One committed state of the index, which scopes were found to be all that it holds, and ids that were read."""

    searcher: Any
    everything: dict[tuple[str, ...], bool] = field(default_factory=dict)
    chunk_ids: dict[tuple[int, int], str] = field(default_factory=dict)

    def chunk_id(self, address: Any) -> str:
        """The chunk at an address; read from the index, which takes 5 microseconds, the first times only."""
        key = (address.segment_ord, address.doc)
        known = self.chunk_ids.get(key)
        if known is None:
            if len(self.chunk_ids) >= _MOST_IDS:
                self.chunk_ids.clear()
            known = self.chunk_ids[key] = str(self.searcher.doc(address)["chunk"][0])
        return known


class LexicalIndex:
    """The index in one folder. Any number of threads may search; writing is one at a time.

    Another process sees a commit at its next search. Killed at any moment, what the last `apply` committed is there.
    """

    def __init__(self, folder: Path) -> None:
        """Open, or make, the index. Raises `IndexMismatch` when it is damaged or of another version."""
        self._folder = folder
        self._writing = threading.Lock()
        self._index = _open(folder)
        self._writer: Any = None
        self._seen = self._commit_stamp()
        self._view = _View(self._index.searcher())

    def apply(self, add: Sequence[LexicalEntry], remove: Iterable[tuple[str, str]]) -> None:
        """Remove `(scope, chunk id)` pairs and write entries, all in one durable commit. Raises `StorageUnavailable`.

        An entry whose pair is there already replaces it; a pair that is both removed and added is there afterwards.
        """
        gone = list(remove)
        if not add and not gone:
            return
        newest = {(entry.scope, entry.chunk_id): entry for entry in add}
        conditions = [("key", _key(*pair)) for pair in {**dict.fromkeys(gone), **newest}]
        self._commit(conditions, list(newest.values()))

    def replace(self, document_ids: Sequence[str], entries: Sequence[LexicalEntry]) -> None:
        """Let these be all entries of these documents, in one durable commit. Raises `StorageUnavailable`."""
        self._commit([("document", each) for each in document_ids], entries)

    def count(self) -> int:
        """How many chunks are indexed."""
        self._refresh()
        return int(self._view.searcher.num_docs)

    def search(
        self,
        question: str,
        scopes: Sequence[str],
        limit: int,
        document_ids: Sequence[str] = (),
        *,
        hints: str = "",
    ) -> list[tuple[str, float]]:
        """The best `limit` chunk ids of these scopes with their scores (> 0), best first, equal ones by id.

        `document_ids`, where given, restricts the search to them. `hints` are words that may help and count less than
        those of the question. A question without a searchable word finds nothing.
        """
        if not scopes or limit < 1:
            return []
        self._refresh()
        view = self._view
        searcher = view.searcher
        wanted = self._wanted(searcher, question, hints)
        if wanted is None:
            return []
        conditions = [(tantivy.Occur.Must, wanted)]
        if not self._is_everything(view, tuple(scopes)):
            conditions.append((tantivy.Occur.Must, self._any_of("scope", scopes)))
        if document_ids:
            conditions.append((tantivy.Occur.Must, self._any_of("document", document_ids)))
        hits = searcher.search(tantivy.Query.boolean_query(conditions), limit, count=False).hits
        best: dict[str, float] = {}
        for score, address in hits:
            chunk_id = view.chunk_id(address)
            best[chunk_id] = max(score, best.get(chunk_id, 0.0))
        return sorted(best.items(), key=lambda hit: (-hit[1], hit[0]))

    def chunks(self, document_ids: Sequence[str], scopes: Sequence[str]) -> list[str]:
        """The ids of all chunks of these documents in these scopes, in no order."""
        conditions = (("document", document_ids), ("scope", scopes))
        must = [(tantivy.Occur.Must, self._any_of(field, values)) for field, values in conditions]
        return [str(stored["chunk"][0]) for stored in self._all(tantivy.Query.boolean_query(must))]

    def ids(self) -> set[tuple[str, str]]:
        """Every `(scope, chunk id)` that is indexed."""
        return {(stored["scope"][0], stored["chunk"][0]) for stored in self._all(tantivy.Query.all_query())}

    def clear(self) -> None:
        """Remove everything, in one commit."""
        with self._writing:
            writer = self._open_writer()
            writer.delete_all_documents()
            writer.commit()
            self._reload()

    def rewrite(self, batches: Iterable[Sequence[LexicalEntry]]) -> None:
        """Let these be all entries, in one commit, in new files; the old ones, with all that was ever deleted, go.

        Raises `StorageUnavailable`.
        """
        with self._writing:
            try:
                writer = self._open_writer()
                writer.delete_all_documents()
                for entry in chain.from_iterable(batches):
                    writer.add_document(_document(entry))
                writer.commit()
                self._reload()
                writer.garbage_collect_files()  # the commit's own one spares what the view before still held
            except (ValueError, OSError) as error:
                self._abandon_writer()
                raise StorageUnavailable(
                    f"the lexical index in {self._folder} could not be rewritten: {error}; check the disk and try again"
                ) from error

    def close(self) -> None:
        """Finish merges and release the writer's lock."""
        with self._writing:
            if self._writer is not None:
                writer, self._writer = self._writer, None
                writer.wait_merging_threads()

    def _all(self, query: Any) -> Iterator[Any]:
        """The stored fields of everything that fits."""
        self._refresh()
        searcher = self._view.searcher
        if searcher.num_docs:
            for _, address in searcher.search(query, searcher.num_docs, count=False).hits:
                yield searcher.doc(address)

    def _commit(self, gone: Sequence[tuple[str, str]], entries: Sequence[LexicalEntry]) -> None:
        """Delete what has these terms, `(field, term)`, then add the entries."""
        with self._writing:
            try:
                writer = self._open_writer()
                for field_name, term in gone:
                    writer.delete_documents_by_term(field_name, term)
                for entry in entries:
                    writer.add_document(_document(entry))
                writer.commit()
            except (ValueError, OSError) as error:
                self._abandon_writer()
                raise StorageUnavailable(
                    f"the lexical index in {self._folder} could not be written: {error}; check the disk "
                    "and run the command again"
                ) from error
            self._reload()

    def _open_writer(self) -> Any:
        if self._writer is None:
            self._writer = self._index.writer(heap_size=_WRITER_BYTES, num_threads=1)
        return self._writer

    def _abandon_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.rollback()
            except (ValueError, OSError):
                logger.warning("the lexical index could not be rolled back; its last commit still stands")

    def _refresh(self) -> None:
        """Take over what another process committed."""
        stamp = self._commit_stamp()
        if stamp != self._seen:
            self._reload()

    def _reload(self) -> None:
        self._seen = self._commit_stamp()
        self._index.reload()
        self._view = _View(self._index.searcher())

    def _is_everything(self, view: _View, scopes: tuple[str, ...]) -> bool:
        """True when no chunk stands outside these scopes; then the condition, a third of a search, can be left out."""
        if scopes not in view.everything:
            inside = view.searcher.search(self._any_of("scope", scopes), 1, count=True).count
            view.everything[scopes] = inside == view.searcher.num_docs
        return view.everything[scopes]

    def _commit_stamp(self) -> int:
        return (self._folder / "meta.json").stat().st_mtime_ns

    def _any_of(self, field: str, values: Sequence[str]) -> Any:
        """A condition on a field that adds nothing to the score."""
        return tantivy.Query.const_score_query(
            tantivy.Query.term_set_query(self._index.schema, field, list(values)), 0.0
        )

    def _wanted(self, searcher: Any, question: str, hints: str) -> Any | None:
        """What to search for, or None when nothing of it is in the index."""
        asked = terms(question)
        weights = {**dict.fromkeys(terms(hints), _HINT), **dict.fromkeys(asked, 1.0)}
        clauses = []
        for term, rarity in _rarest(searcher, "words", weights):
            query = self._term("words", term)
            clauses.append(tantivy.Query.boost_query(query, weights[term]))
            clauses.append(tantivy.Query.const_score_query(query, _PRESENCE * weights[term] * rarity))
        if not clauses:
            return None
        phrases = _rarest(searcher, "pairs", dict.fromkeys(pairs(asked), 1.0))
        clauses.extend(
            tantivy.Query.const_score_query(self._term("pairs", pair), _PAIR * worth) for pair, worth in phrases
        )
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, clause) for clause in clauses])

    def _term(self, field: str, value: str) -> Any:
        return tantivy.Query.term_query(self._index.schema, field, value)


def _rarest(searcher: Any, field: str, weights: Mapping[str, float]) -> list[tuple[str, float]]:
    """The terms that are in the index at all with their inverse document frequency, the rarest first, not too many."""
    found = [(term, _rarity(searcher, field, term)) for term in weights]
    found.sort(key=lambda each: (-each[1] * weights[each[0]], each[0]))
    return [each for each in found if each[1] > 0][:_MOST_TERMS]


def _rarity(searcher: Any, field: str, term: str) -> float:
    """BM25's inverse document frequency, as tantivy computes it; 0 for a term that is nowhere."""
    frequency = searcher.doc_freq(field, term)
    total = max(searcher.num_docs, frequency)  # tantivy counts deleted chunks in frequencies until it merges
    return math.log(1 + (total - frequency + 0.5) / (frequency + 0.5)) if frequency else 0.0


def _open(folder: Path) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / _FORMAT_FILE
    remedy = f"remove the folder {folder} and run `banksight index check --repair`, which makes it anew"
    found = _read_format(marker)
    has_index = (folder / "meta.json").exists()
    if found is None and has_index:
        raise IndexMismatch(f"the lexical index does not say which version made it; {remedy}")
    if found not in (None, _FORMAT):
        raise IndexMismatch(f"the lexical index is of version {found}, and this installation needs {_FORMAT}; {remedy}")
    try:
        index = tantivy.Index(_schema(), path=str(folder), reuse=True)
        index.reload()
    except (ValueError, OSError) as error:
        raise IndexMismatch(f"the lexical index cannot be read: {error}; {remedy}") from error
    if found is None:
        marker.write_text(json.dumps({"format": _FORMAT}), encoding="utf-8")
    return index


def _read_format(marker: Path) -> str | None:
    try:
        return str(json.loads(marker.read_text(encoding="utf-8"))["format"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return "unreadable"


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("key", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("scope", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("document", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("chunk", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("words", tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("pairs", tokenizer_name="whitespace", index_option="basic")
    return builder.build()


def _document(entry: LexicalEntry) -> Any:
    """Title, section, header and text are one run of terms, but no pair reaches from one into the next."""
    parts = [terms(part) for part in (entry.title, entry.section, entry.header, entry.text) if part]
    phrases = dict.fromkeys(pair for part in parts for pair in pairs(part))
    return tantivy.Document(
        key=_key(entry.scope, entry.chunk_id),
        scope=entry.scope,
        document=entry.document_id,
        chunk=entry.chunk_id,
        words=" ".join(term for part in parts for term in part),
        pairs=" ".join(phrases),
    )


def _key(scope: str, chunk_id: str) -> str:
    return f"{scope}\x1f{chunk_id}"
