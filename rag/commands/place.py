"""Where a command does its work: in this process, or in the one that owns the data folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from rag.errors import DataFolderInUse
from rag.settings import Settings, load_settings
from rag.storage.ownership import owner_of

if TYPE_CHECKING:
    from rag.bootstrap import Workspace
    from rag.ingestion.job_queue import JobQueue
    from rag.nodes import Access
    from rag.remote import RemoteWorkspace


KEY_VARIABLE = "BANKSIGHT_API_KEY"  # with which commands sign in at a running BankSight


@contextmanager
def workspace_or_remote(
    settings: Settings | None = None, access: Access = "write"
) -> Iterator[Workspace | RemoteWorkspace]:
    """The workspace itself, or the API of the process that has it open. Raises what `open_workspace` raises.

    With `read`, which is enough to label and delete, no other process matters where a worker does the writing.
    """
    settings = settings or load_settings()
    if access == "read" and settings.ingestion.serving == "worker":
        with opened(settings, access) as workspace:
            yield workspace
        return
    url = owner_of(settings.data_dir)
    if url:
        from rag.remote import RemoteWorkspace  # noqa: PLC0415

        with RemoteWorkspace(url, os.environ.get(KEY_VARIABLE, "")) as remote:
            yield remote
        return
    if url is not None:
        raise DataFolderInUse(
            f"the data folder {settings.data_dir} is in use by another BankSight command; wait until that has ended"
        )
    with opened(settings) as workspace:
        yield workspace


@contextmanager
def jobs_of_worker(settings: Settings) -> Iterator[JobQueue]:
    """What has `banksight worker` do something, which holds the right to write. Raises `StorageUnavailable`."""
    from rag.ingestion.job_queue import JobQueue  # noqa: PLC0415
    from rag.storage.database import open_database  # noqa: PLC0415
    from rag.storage.job_table import JobTable  # noqa: PLC0415

    database = open_database(settings.database_url, "require")
    try:
        yield JobQueue(JobTable(database))
    finally:
        database.dispose()


@contextmanager
def opened(settings: Settings, access: Access = "write") -> Iterator[Workspace]:
    """The workspace, closed at the end."""
    from rag.bootstrap import open_workspace  # noqa: PLC0415  seconds of imports that `--help` must not pay

    workspace = open_workspace(settings, access=access)
    try:
        yield workspace
    finally:
        workspace.close()


def print_json(content: Any) -> None:
    """Machine-readable output: one JSON document on standard output."""
    click.echo(json.dumps(content, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
