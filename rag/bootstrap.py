"""The only place that wires objects together: settings in, a `Workspace` out. `rag/nodes.py` opens its stores."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Literal

from rag.domain import Document, DocumentOutcome, DocumentPage, IngestReport, Principal, SearchFilter
from rag.errors import Busy, ConfigurationError, IndexMismatch, NotAllowed, NotFound
from rag.governance.access import LiveDocuments
from rag.governance.audit_lines import digest
from rag.governance.erasure import erase, open_places
from rag.governance.exporting import PersonalData, open_personal_data
from rag.governance.identity import Authentication, local_principal, open_authentication
from rag.governance.privacy_guard import GuardedAnswers, open_answers
from rag.governance.receipts import Receipts, note_configuration, open_receipts
from rag.governance.recorded_sign_in import recorded_authentication
from rag.ingestion import pipeline, removing, uploads
from rag.ingestion.identity import Remembering, remember
from rag.ingestion.job_queue import JobQueue
from rag.ingestion.run import Progress, Rules, Source, Stores
from rag.ingestion.sources import opened_sources
from rag.ingestion.splitting import split
from rag.models.embedding import MiniLM, open_embedding
from rag.models.engine import Engine
from rag.models.llms import close_llm, open_llm
from rag.models.places import verified_folder
from rag.nodes import Access, open_stores
from rag.operations.consistency import Consistency, check
from rag.operations.recorded import note_ingested
from rag.query.caching import open_cached_answers
from rag.query.entailment import LLMEntailment
from rag.query.patience import patient
from rag.query.pipeline import QueryPipeline
from rag.query.prompting import read_templates, use_templates
from rag.query.remembering import RememberedPages
from rag.query.retrieval import Searcher
from rag.query.similarity import SentenceVectors
from rag.settings import Settings
from rag.storage.catalog import Catalog
from rag.storage.database import open_database
from rag.storage.disputes import Disputes
from rag.storage.lease import WriterLease
from rag.storage.ownership import Ownership
from rag.storage.redis_connection import RedisConnection, open_redis
from rag.storage.registry import Registry

_PATIENCE_SECONDS = 2.0


@dataclass(slots=True)
class Workspace:
    """Everything that a process needs to ingest and to answer. Close it when done."""

    settings: Settings
    ends: ExitStack
    stores: Stores
    embedding: MiniLM
    bulk: MiniLM  # for ingestion
    sentences: MiniLM  # for comparing sentences with a question
    searcher: Searcher
    pipeline: QueryPipeline
    answers: GuardedAnswers  # the pipeline, behind earlier answers, with receipts, under privacy policies
    receipts: Receipts
    personal: PersonalData
    redis: RedisConnection | None
    authentication: Authentication
    opened_at: float
    writing: threading.Lock
    disputes: Disputes
    lease: WriterLease | None = None  # of the one process that writes, where there are many
    requests: JobQueue | None = None  # where this process only reads: what it asks that one for

    @property
    def registry(self) -> Registry:
        """The SQL registry."""
        return self.stores.registry

    @property
    def catalog(self) -> Catalog:
        """Who may see what, in memory."""
        return self.stores.catalog

    def principal(self) -> Principal:
        """The one person of identity mode `none`, and the owner of the machine at its command line."""
        return local_principal(self.settings)

    def reconfigure(self, settings: Settings) -> None:
        """Use what of these settings may change while a service runs: see `rag.operations.reloading`."""
        use_templates(read_templates(settings.prompts_dir))
        self.settings = settings
        self.answers.reconfigure(settings, self.embedding.fingerprint)

    def warm_up(self) -> None:
        """Load what is loaded on first use, so that the first question does not wait for it."""
        self.sentences.embed(["ready"])
        self.searcher.search("ready", self.principal(), SearchFilter(), 1)

    def ingest(
        self,
        sources: Sequence[str] | None = None,
        progress: Callable[[Progress], None] = lambda _: None,
        stop: threading.Event | None = None,
        *,
        mass_delete: Literal["refuse", "allow"] = "refuse",
        retry: Literal["changed", "failed"] = "changed",
    ) -> IngestReport:
        """Make the corpus equal to these sources, or to all. Raises `ConfigurationError` for an unknown name."""
        with opened_sources(self.settings, sources) as opened:
            report = self.ingest_from(opened, progress, stop, mass_delete=mass_delete, retry=retry)
        if sources is None and not report.failed and not (stop and stop.is_set()):
            note_ingested(self.registry)
        return report

    def ingest_from(
        self,
        opened: Sequence[Source],
        progress: Callable[[Progress], None] = lambda _: None,
        stop: threading.Event | None = None,
        *,
        mass_delete: Literal["refuse", "allow"] = "refuse",
        retry: Literal["changed", "failed"] = "changed",
    ) -> IngestReport:
        """Make the corpus equal to sources that the settings need not know, and that the caller closes."""
        self._require_writer()
        encoder = self.bulk
        with self.writing:
            return pipeline.ingest(
                opened, self.stores, encoder, self._rules(encoder),
                progress=progress, stop=stop, mass_delete=mass_delete, retry=retry,
            )  # fmt: skip

    def add_upload(
        self,
        name: str,
        content: bytes,
        *,
        principal: Principal,
        title: str = "",
        collection: str = "",
        access: Sequence[str] = (),
        effective_from: date | None = None,
        effective_to: date | None = None,
    ) -> Document:
        """Store an uploaded file as a source document, pending; `ingest(["uploads"])` makes it searchable.

        The same name in the same collection again is a new version of that document. Raises `UploadRejected`, and
        `NotAllowed` for people of another tenant: what is ingested here belongs to the tenant of the settings.
        """
        if principal.tenant != self.settings.tenant:
            raise NotAllowed("documents of your tenant are not kept here; ask your administrator where they are")
        upload = uploads.Upload(
            name, content, title, collection or uploads.DEFAULT_COLLECTION, tuple(access), effective_from, effective_to
        )
        known = {source.collection for source in self.settings.sources} | {uploads.DEFAULT_COLLECTION}
        most = self.settings.server.max_upload_bytes
        with self.receipts.action("upload", principal, sha256=digest(content), size=len(content)) as outcome:
            stored = uploads.store(upload, principal, self.settings.files_dir, most, known)
            self.personal.uploaders.note(stored, principal)
            outcome["document_id"] = stored.id
        return stored

    def documents(self, principal: Principal) -> list[Document]:
        """The documents that this principal may know of, by title.

        Operators see the names of all that failed or are held back, and nobody else sees what is held back.
        """
        operator = _is_operator(principal)
        return [
            each
            for each in self.registry.documents()
            if (principal.may_read(each.tenant, each.access) and (operator or each.state != "quarantined"))
            or (operator and each.state in ("failed", "quarantined") and each.tenant == principal.tenant)
        ]

    def document(self, document_id: str, principal: Principal) -> Document:
        """One document. Raises `NotFound`, also for one that the principal may not know of."""
        document = self.registry.document(document_id)
        hidden = document.state == "quarantined" and not _is_operator(principal)
        if hidden or not principal.may_read(document.tenant, document.access):
            raise NotFound(f"there is no document {document_id!r}; `banksight documents list` shows those there are")
        return document

    def page(self, document_id: str, number: int, principal: Principal) -> DocumentPage:
        """One page as it was indexed. Raises `NotFound`."""
        self.document(document_id, principal)
        return self.registry.page(document_id, number)

    def original(self, document_id: str, principal: Principal) -> tuple[Path, str]:
        """The file as it came, and its media type. Raises `NotFound`."""
        document = self.document(document_id, principal)
        return self.stores.originals.path(document.content_hash), document.media_type

    def delete_document(self, document_id: str, principal: Principal) -> Document:
        """Delete a document everywhere. Its source file stays, unless it was uploaded, but is not ingested again.

        Raises `NotFound`, and `Busy` while documents are being ingested.
        """
        document = self.document(document_id, principal)
        with self.receipts.action("deletion", principal, **_named(document)):
            if self.requests:
                whose = {"subject": principal.subject, "tenant": principal.tenant}
                self.requests.do_soon("delete", document_id, **whose, seconds=_PATIENCE_SECONDS)
                self.catalog.refresh()
            else:
                with self._alone():
                    removing.delete(document, self.stores, self.settings.files_dir)
        return document

    def label_document(self, document_id: str, access: Iterable[str], principal: Principal) -> Document:
        """Make these the labels that people added to a document, besides its source's; counts everywhere at once.

        Raises `NotFound`. The labels stay when the document is read again, or vanishes and comes back.
        """
        added = sorted(access)
        with self.receipts.action(
            "labelling", principal, **_named(self.document(document_id, principal)), hidden={"access": added}
        ):
            self.registry.set_added_labels(document_id, added, principal.subject)
        self.catalog.refresh()
        return self.registry.document(document_id)

    def delete_asked_for(self, document_id: str) -> IngestReport:
        """Do the job that `delete_document` in another process asked for, which had looked whether it may."""
        started = time.monotonic()
        with self.writing:
            document = self.registry.document(document_id)
            removing.delete(document, self.stores, self.settings.files_dir)
        outcome = DocumentOutcome(document.id, document.uri, "deleted", pages=document.pages, chunks=document.chunks)
        return IngestReport((outcome,), self.catalog.snapshot, time.monotonic() - started, 0, 0, 0)

    def erase_asked_for(self, erasure_id: str) -> IngestReport:
        """Erase a person everywhere, as `PersonalData.erasures` was asked to; the certificate is there afterwards."""
        self._require_writer()
        started = time.monotonic()
        places = open_places(self.personal, self.stores, self.settings, self.answers.forget)
        with self.writing:
            erase(erasure_id, places)
        return IngestReport((), self.catalog.refresh(), time.monotonic() - started, 0, 0, 0)

    def restore_document(self, document_id: str, principal: Principal) -> Document:
        """Let the next ingestion take a deleted document in again."""
        document = self.document(document_id, principal)
        self._require_writer()
        if document.state != "excluded":
            raise NotFound(f"document {document_id!r} was not deleted, so there is nothing to restore")
        with self._alone(), self.receipts.action("restoration", principal, **_named(document)):
            removing.remove_documents([document], self.stores)
        return document

    def _require_writer(self) -> None:
        if self.requests:
            raise ConfigurationError("this process only reads; `banksight worker` and `banksight ingest` write")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait a moment for whoever writes now. Raises `Busy`: an ingestion can take minutes."""
        if not self.writing.acquire(timeout=_PATIENCE_SECONDS):
            raise Busy("documents are being ingested now; try again when that has ended", retry_after=10)
        try:
            yield
        finally:
            self.writing.release()

    def check(self, repair: Literal["report", "repair"] = "report") -> Consistency:
        """Compare registry, Chroma, lexical index and originals id by id, and repair on request."""
        self._require_writer()
        with self.writing:
            return check(self.stores, self.embedding, repair)

    def rebuild(self) -> None:
        """Forget the whole index, so that the next ingestion makes it anew with this encoder. Sources stay."""
        self._require_writer()
        with self.writing:
            removing.remove_documents(self.registry.documents(), self.stores)
            self.stores.vectors.clear()
            self.stores.lexical.clear()
            remember(self.registry, self.embedding.fingerprint, self.settings.splitting, "replace")

    def uptime_seconds(self) -> float:
        """Seconds since this workspace was opened."""
        return time.monotonic() - self.opened_at

    def close(self) -> None:
        """Close the engines and every store, and give the data folder back."""
        for llm in self.pipeline.engines:
            close_llm(llm)
        self.authentication.close()
        self.ends.close()

    def _rules(self, encoder: MiniLM) -> Rules:
        settings = self.settings
        return Rules(
            tenant=settings.tenant,
            split=partial(split, tokenizer=encoder.tokenizer, settings=settings.splitting),
            window_chunks=settings.ingestion.window_chunks,
            readers=settings.parsing.workers,
            mass_delete_share=settings.ingestion.mass_delete_share,
            mass_delete_floor=settings.ingestion.mass_delete_floor,
            quarantine=settings.ingestion.quarantine,
        )


def _is_operator(principal: Principal) -> bool:
    return bool({"operator", "admin"} & principal.roles)


def open_workspace(
    settings: Settings,
    *,
    access: Access = "write",
    url: str = "",
    check_encoder: Literal["match", "ignore"] = "match",
    embedding: MiniLM | None = None,
    generator: Engine | None = None,
) -> Workspace:
    """Open everything: to write, as the owner of the data folder, or, where `ingestion.serving` is `worker`, to read.

    `url` is where this process serves HTTP, so that commands find it. `embedding` embeds questions and `generator`
    generates, where that is not to happen in this process. Raises `DataFolderInUse`, `ConfigurationError`,
    `IndexMismatch`, `StorageUnavailable`, `Busy` or `ModelError`, and then leaves everything as it was.
    """
    with ExitStack() as undo:
        use_templates(read_templates(settings.prompts_dir))
        ownership = Ownership(settings.data_dir) if access == "write" else None
        if ownership:
            undo.callback(ownership.release)
        database = open_database(settings.database_url, "upgrade" if access == "write" else "require")
        undo.callback(database.dispose)
        bulk = open_embedding(settings.embedding, settings.data_dir / "models", "bulk")
        sentences = embedding or bulk  # many texts at once: the bulk encoder is the faster one
        embedding = embedding or open_embedding(settings.embedding, settings.data_dir / "models", "query")
        _require_same_vectors(embedding, bulk)
        mode: Remembering = "leave" if check_encoder == "ignore" else "keep" if access == "write" else "compare"
        identify = partial(remember, encoder=embedding.fingerprint, splitting=settings.splitting, mode=mode)
        opened = open_stores(settings, access, database, embedding.fingerprint, identify, undo)
        stores, registry = opened.stores, opened.stores.registry
        questions = SentenceVectors(embedding)
        searcher = Searcher(
            questions, patient(stores.vectors, sentences, registry, settings.storage), stores.lexical, stores.catalog,
            registry, settings.retrieval, settings.collections,
        )  # fmt: skip
        answering = _open_pipeline(searcher, stores, SentenceVectors(sentences, beside=questions), settings, generator)
        receipts = open_receipts(settings, database)
        undo.callback(receipts.close)
        authentication = recorded_authentication(open_authentication(settings, database), receipts)
        redis = open_redis(settings.redis)
        if redis:
            undo.callback(redis.close)
        disputes = Disputes(database, settings.cache.ttl_seconds * (1 + settings.cache.ttl_jitter))
        cached = open_cached_answers(
            answering, stores, redis, embedding.fingerprint, settings, opened.corpus, disputes.hold
        )
        answers = open_answers(cached, receipts, settings, embedding.fingerprint)
        note_configuration(settings, receipts, registry)
        if ownership:
            ownership.announce(url)
        return Workspace(
            settings, undo.pop_all(), stores, embedding, bulk, sentences, searcher, answering, answers, receipts,
            open_personal_data(database, receipts, settings), redis, authentication, time.monotonic(),
            threading.Lock(), disputes, opened.lease, JobQueue(registry.jobs) if access == "read" else None,
        )  # fmt: skip


def _named(document: Document) -> dict[str, str]:
    return {"document_id": document.id, "content_sha256": document.content_hash}


def _open_pipeline(
    searcher: Searcher, stores: Stores, sentences: SentenceVectors, settings: Settings, generator: Engine | None
) -> QueryPipeline:
    chosen = settings.generation
    weights = partial(verified_folder, settings=settings)
    engines = [open_llm(name, chosen, sentences, weights, generator) for name in (chosen.engine, *chosen.fallback)]
    return QueryPipeline(
        searcher=searcher,
        llm=engines[0],
        fallback=engines[1:],
        embedding=sentences,
        catalog=stores.catalog,
        settings=settings,
        page=RememberedPages(stores.registry.page, lambda: stores.catalog.snapshot).page,
        live=LiveDocuments(stores.registry),
        words_only_since=searcher.words_only_since,
        entailment=LLMEntailment(engines[0]) if settings.verification.judge == "engine" else None,
    )


def _require_same_vectors(embedding: MiniLM, bulk: MiniLM) -> None:
    if bulk.fingerprint != embedding.fingerprint:
        raise IndexMismatch(
            f"the bulk encoder ({bulk.backend}) and the query encoder ({embedding.backend}) make different "
            "vectors; set embedding.bulk_backend to auto"
        )
