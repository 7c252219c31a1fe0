"""`banksight worker`: the one process that writes, for any number of API processes that read."""

from __future__ import annotations

import logging
import signal
import threading
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Final

import click

from rag.errors import Busy, ConfigurationError, DataFolderInUse, StorageUnavailable
from rag.governance.roles import for_roles
from rag.settings import Settings, load_settings

if TYPE_CHECKING:
    from rag.bootstrap import Workspace

logger = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 3.0
_LOOK_EVERY_SECONDS: Final = 0.5


@for_roles("operator")
@click.command()
def worker() -> int:
    """Ingest and delete what API processes ask for, until SIGTERM or Ctrl-C (needs ingestion.serving: worker).

    Run one on each of two machines: the second takes over within seconds when the first dies, and does again what was
    cut off. Exit code 1 means that another worker has taken over, because this one was frozen.
    """
    from rag.operations.logging_setup import open_logging  # noqa: PLC0415

    settings = load_settings()
    if settings.ingestion.serving != "worker":
        raise ConfigurationError("ingestion.serving is in_process: the API itself ingests; set it to worker everywhere")
    open_logging(settings, "worker")
    stop = threading.Event()

    def ask(_: int, __: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    workspace = _opened(settings, stop)
    if workspace is None:
        return 0
    try:
        return _work(workspace, stop)
    finally:
        workspace.close()


def _opened(settings: Settings, stop: threading.Event) -> Workspace | None:
    """The workspace, as soon as no other process writes and the stores are there; None when asked to stop before."""
    from rag.bootstrap import open_workspace  # noqa: PLC0415 - seconds of imports that `--help` must not pay

    while not stop.is_set():
        try:
            return open_workspace(settings)
        except (Busy, DataFolderInUse, StorageUnavailable) as error:
            logger.warning("standing by, trying again in %.0f s: %s", _RETRY_SECONDS, error)
            stop.wait(_RETRY_SECONDS)
    return None


def _work(workspace: Workspace, stop: threading.Event) -> int:
    from rag.governance.erasure_records import take_up  # noqa: PLC0415
    from rag.ingestion.jobs import JobRunner  # noqa: PLC0415
    from rag.operations.backup_snapshot import snapshot_asked_for  # noqa: PLC0415

    jobs = JobRunner(
        workspace.ingest, workspace.registry.jobs, delete=workspace.delete_asked_for,
        snapshot=partial(snapshot_asked_for, workspace), erase=workspace.erase_asked_for,
    )  # fmt: skip
    jobs.start()
    take_up(workspace.personal.erasures, jobs)
    click.echo("BankSight worker: ready", err=True)
    try:
        while not stop.wait(_LOOK_EVERY_SECONDS):
            if not jobs.alive or (workspace.lease and workspace.lease.lost):
                logger.error("the worker ends, because it cannot go on writing; start it again")
                return 1
    finally:
        jobs.close()
    return 0
