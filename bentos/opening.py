"""The workspace of a service: opened in the background, so that the server answers while it is not open yet.

BentoML would otherwise keep callers hanging on an open socket until the service is up, and for ever when it cannot come
up. Here they get 503 with the reason, `/readyz` says no, and `/livez` says that the process is alive.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from rag.errors import BankSightError, Busy, StorageUnavailable
from rag.settings import Settings

if TYPE_CHECKING:
    from rag.bootstrap import Workspace
    from rag.ingestion.job_queue import JobQueue
    from rag.ingestion.jobs import JobRunner
    from rag.models.engine import Engine
    from rag.models.minilm import MiniLM
    from rag.nodes import Access
    from rag.storage.redis_connection import RedisConnection

logger = logging.getLogger(__name__)

Jobs: TypeAlias = "JobRunner | JobQueue"  # of a process that writes, and of one that only reads
State = Literal["opening", "open", "failed", "closed"]
_RETRY_SECONDS = 3.0


def open_workspace_and_jobs(
    settings: Settings, *, url: str = "", embedder: object | None = None, generator_url: str = ""
) -> tuple[Workspace, Jobs]:
    """The workspace, warmed up, and the runner of its jobs, started. Raises as `rag.bootstrap.open_workspace` does.

    `url` is where this process serves HTTP, so that commands find it. `embedder` is the Embedder service as BentoML
    gives it; without one, questions are embedded in this process. At `generator_url` is the Generator service, which
    generates; without one, that happens in this process too. Where a worker ingests, this process only reads.
    """
    # These take seconds to import, in which the server can already answer probes.
    from rag.bootstrap import open_workspace  # noqa: PLC0415
    from rag.governance.erasure_records import take_up  # noqa: PLC0415
    from rag.ingestion.jobs import JobRunner  # noqa: PLC0415
    from rag.operations import telemetry  # noqa: PLC0415

    access: Access = "read" if settings.ingestion.serving == "worker" else "write"
    generator = _generator(generator_url) if generator_url else None
    try:
        embedding = _remote(embedder, settings) if embedder else None
        workspace = open_workspace(settings, access=access, url=url, embedding=embedding, generator=generator)
    except BaseException:
        if generator is not None:
            asyncio.run(generator.close())
        raise
    try:
        workspace.warm_up()
        telemetry.SNAPSHOT.set(workspace.catalog.snapshot)
        if workspace.requests:
            return workspace, workspace.requests
        jobs = JobRunner(workspace.ingest, workspace.registry.jobs, telemetry.ingested, erase=workspace.erase_asked_for)
        jobs.start()
        take_up(workspace.personal.erasures, jobs)
    except BaseException:
        workspace.close()
        raise
    return workspace, jobs


def _remote(embedder: object, settings: Settings) -> MiniLM:
    from bentos.remote_embedding import RemoteMiniLM  # noqa: PLC0415

    return RemoteMiniLM(embedder, settings.embedding)


def _generator(url: str) -> Engine:
    from bentos.remote_generation import RemoteGenerator  # noqa: PLC0415

    return RemoteGenerator(url)


class Opening:
    """A workspace that is being opened, is open, or could not be opened. Safe to use from any thread."""

    def __init__(
        self,
        settings: Settings,
        open_it: Callable[[], tuple[Workspace, Jobs]],
        on_failure: Callable[[BankSightError], None] = lambda _: None,
        load: Callable[[], Settings] | None = None,
    ) -> None:
        """`load` reads the configuration again, for a reload; without it, a reload finds what there is."""
        self.settings = settings
        self.load = load or (lambda: settings)
        self._open_it = open_it
        self._on_failure = on_failure
        self._opened: tuple[Workspace, Jobs] | None = None
        self._failure: BankSightError | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="opening", daemon=True)

    @property
    def state(self) -> State:
        """Where the opening stands."""
        if self._closed.is_set():
            return "closed"
        if self._opened is not None:
            return "open"
        return "failed" if self._failure is not None else "opening"

    def start(self) -> Opening:
        """Begin to open, in the background."""
        self._thread.start()
        return self

    def wait(self) -> Opening:
        """Return when the workspace is open, or raise why it cannot be."""
        self._thread.join()
        self.workspace()
        return self

    def workspace(self) -> Workspace:
        """The open workspace. Raises `Busy` while it opens, and what is wrong when it cannot be opened."""
        return self._both()[0]

    def jobs(self) -> Jobs:
        """The runner of background jobs; raises as `workspace` does."""
        return self._both()[1]

    def engine_slots(self) -> int:
        """How many answers the configured engine writes at the same time; 0 where it does not say."""
        from rag.models.llms import engine_stats  # noqa: PLC0415 - brings LlamaIndex

        if self._opened is None:
            return 0
        return sum(each.slots for each in engine_stats(self._opened[0].pipeline.engines[:1]).values())

    def redis(self) -> RedisConnection | None:
        """What processes share; None where there is none, or not yet."""
        return None if self._opened is None else self._opened[0].redis

    def reconfigure(self, settings: Settings) -> None:
        """Use these settings from now on. Raises as `workspace` does, and then nothing has changed."""
        self.workspace().reconfigure(settings)
        self.settings = settings

    def close(self) -> None:
        """Stop background work and close the workspace, also one that is still opening."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._opened is not None:
            workspace, jobs = self._opened
            jobs.close()
            workspace.close()

    def _both(self) -> tuple[Workspace, Jobs]:
        if self._closed.is_set():
            raise Busy("The service is stopping; try again in a moment.", retry_after=5)
        if self._opened is not None:
            return self._opened
        if self._failure is not None:
            raise self._failure
        raise Busy("The service is starting; try again in a moment.", retry_after=2)

    def _fail(self, error: BankSightError) -> None:
        self._failure = error
        self._on_failure(error)

    def _work(self) -> None:
        """Open; what is not there yet, a store or the Embedder, is tried again; the rest is for the operator."""
        while not self._closed.is_set():
            try:
                self._opened = self._open_it()
            except (StorageUnavailable, Busy) as error:
                logger.warning("not ready, trying again in %.0f s: %s", _RETRY_SECONDS, error)
                self._failure = error
                self._closed.wait(_RETRY_SECONDS)
            except BankSightError as error:
                logger.error("cannot start: %s", error)
                self._fail(error)
                return
            except Exception:
                logger.exception("cannot start")
                self._fail(BankSightError("the service could not start; look at its log"))
                return
            else:
                return
