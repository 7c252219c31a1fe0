"""Ingestion, told once: `ingest` is the whole story, and every step is a function in a sibling file.

The order of writes is what makes it crash-safe. The registry's journal names chunks before Chroma and the lexical
index get them; the registry's commit makes them count; only then are old chunks deleted. Killed at any instant, the
next run starts with `recover` and finds in the journal whatever is too much.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

from rag.domain import DocumentOutcome, IngestReport
from rag.ingestion.comparing import compare
from rag.ingestion.reading import prepare, windows
from rag.ingestion.removing import recover, remove_documents, unfinished
from rag.ingestion.run import Progress, Rules, Run, Source, Stores
from rag.ingestion.writing import write
from rag.models.embedding import MiniLM


def ingest(
    sources: Sequence[Source],
    stores: Stores,
    encoder: MiniLM,
    rules: Rules,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: threading.Event | None = None,
    mass_delete: Literal["refuse", "allow"] = "refuse",
    retry: Literal["changed", "failed"] = "changed",
) -> IngestReport:
    """Make the corpus equal to its sources. One broken document never stops the others; the report names it.

    `stop` ends the run after the window in hand; what was written stays, and the next run goes on from there. Raises
    `ConfigurationError` when a source would lose most of its documents and `mass_delete` is `refuse`.
    """
    started = time.monotonic()
    stop = stop or threading.Event()
    run = Run()
    recover(stores)
    plan = compare(sources, stores.registry, rules, run, mass_delete, retry)
    run.total = len(plan.changed)
    progress(run.progress("listing"))
    with unfinished(stores):
        remove_documents(plan.vanished, stores)
        run.outcomes.extend(DocumentOutcome(each.id, each.uri, "deleted") for each in plan.vanished)
        for window in windows(prepare(plan.changed, stores, rules, run, progress, stop), rules.window_chunks):
            progress(run.progress("embedding", window[-1].version.document.uri))
            write(window, stores, encoder, run)
            progress(run.progress("reading"))
        for scope in sorted(run.scopes):
            stores.vectors.relink(scope)
    snapshot = stores.catalog.refresh()
    progress(run.progress("done"))
    return IngestReport(tuple(run.outcomes), snapshot, time.monotonic() - started, run.pages, run.chunks, run.embedded)
