"""`banksight ingest`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from rag.commands.place import jobs_of_worker, opened, print_json, workspace_or_remote
from rag.errors import Busy, DataFolderInUse
from rag.governance.roles import for_roles
from rag.ingestion.looking import report_if_unchanged
from rag.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.progress import Progress

    from rag import bootstrap
    from rag.domain import IngestReport
    from rag.ingestion.run import Progress as Step

_There = Callable[[Sequence[str] | None, Callable[[dict[str, Any]], None]], dict[str, Any]]


@for_roles("operator")
@click.command()
@click.argument("sources", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--retry-failed", is_flag=True, help="Read documents again that failed before and have not changed.")
@click.option("--allow-mass-delete", is_flag=True, help="Delete documents even when most of a source has vanished.")
@click.option("--rebuild", is_flag=True, help="Forget the index and make it anew, for another encoder or splitting.")
def ingest(
    sources: tuple[str, ...], *, as_json: bool, retry_failed: bool, allow_mass_delete: bool, rebuild: bool
) -> int:
    """Make the corpus equal to its SOURCES (default: all that are configured).

    Unchanged documents cost nothing, vanished ones are deleted, and a broken one is reported without stopping the
    others. Ctrl-C keeps what was written; the next run goes on from there. Where a worker runs, it does the work.
    """
    options: dict[str, Any] = {
        "mass_delete": "allow" if allow_mass_delete else "refuse",
        "retry": "failed" if retry_failed else "changed",
    }
    settings = load_settings()
    if rebuild:
        with opened_for_rebuild(settings) as workspace:
            workspace.rebuild()
            return show(run_here(workspace, sources or None, options), as_json)
    unchanged = report_if_unchanged(settings, sources or None, **options)
    if unchanged:
        return show(unchanged, as_json)
    from rag.remote import RemoteWorkspace  # noqa: PLC0415 - imports that a run without work must not pay

    try:
        with workspace_or_remote(settings) as place:
            if isinstance(place, RemoteWorkspace):
                return _run_there(place.ingest, sources or None, as_json)
            return show(run_here(place, sources or None, options), as_json)
    except (Busy, DataFolderInUse):
        if settings.ingestion.serving != "worker" or retry_failed or allow_mass_delete:
            raise
    from rag.governance.identity import local_principal  # noqa: PLC0415

    with jobs_of_worker(settings) as jobs:
        return _run_there(partial(jobs.ingest, principal=local_principal(settings)), sources or None, as_json)


@contextmanager
def opened_for_rebuild(settings: Settings) -> Iterator[bootstrap.Workspace]:
    """The workspace, even when its index was made by another encoder."""
    from rag.bootstrap import open_workspace  # noqa: PLC0415

    workspace = open_workspace(settings, check_encoder="ignore")
    try:
        yield workspace
    finally:
        workspace.close()


def run_here(
    workspace: bootstrap.Workspace, sources: tuple[str, ...] | None, options: dict[str, Any] | None = None
) -> IngestReport:
    """Ingest in this process, with a progress bar on standard error; Ctrl-C ends it after the window in hand."""
    stop = threading.Event()
    with _interruptible(stop), _bar() as bar:
        task = bar.add_task("Looking for changes", total=None, chunks="")

        def follow(step: Step) -> None:
            words = {"listing": "Looking for changes", "done": "Done"}.get(step.stage, step.stage.capitalize())
            bar.update(task, description=words, completed=step.done, total=step.total, chunks=_amount(step))

        report = workspace.ingest(sources, follow, stop, **(options or {}))
    if stop.is_set():
        click.echo("interrupted: what was written stays, and the next run goes on from there", err=True)
        raise click.exceptions.Exit(130)
    return report


def show(report: IngestReport, as_json: bool) -> int:  # noqa: FBT001  passed on from the option
    """Print the report; returns the exit code."""
    counts = {
        each: report.count(each)
        for each in ("added", "updated", "unchanged", "deleted", "excluded", "quarantined", "failed")
    }
    if as_json:
        print_json({**asdict(report), "counts": counts})
        return 1 if report.failed else 0
    words = ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "no documents found"
    rate = f", {report.pages / report.seconds:.0f} pages/s" if report.pages and report.seconds else ""
    click.echo(f"{words}; {report.chunks:,} chunks of {report.pages:,} pages in {report.seconds:.1f} s{rate}")
    for each in report.failed:
        click.secho(f"  {each.outcome}: {each.uri}: {each.message}", fg="red", err=True)
    return 1 if report.failed else 0


def _run_there(there: _There, sources: tuple[str, ...] | None, as_json: bool) -> int:  # noqa: FBT001
    with _bar() as bar:
        task = bar.add_task("Waiting", total=None, chunks="")

        def follow(job: dict[str, Any]) -> None:
            now = job.get("progress") or {}
            stage = str(now.get("stage", job["state"])).capitalize()
            bar.update(task, description=stage, completed=now.get("done", 0), total=now.get("total") or None)

        job = there(sources, follow)
    if as_json:
        print_json(job)
    else:
        click.echo(f"{job['state']}: {job.get('error') or job.get('report') or ''}")
    for each in job.get("outcomes") or ():
        if each.get("outcome") in ("failed", "quarantined") and not as_json:
            click.secho(f"  {each['outcome']}: {each['uri']}: {each['message']}", fg="red", err=True)
    return 0 if job["state"] == "succeeded" and not _any_failed(job) else 1


def _any_failed(job: dict[str, Any]) -> bool:
    return any(each.get("outcome") in ("failed", "quarantined") for each in job.get("outcomes") or ())


def _amount(step: Step) -> str:
    return f"{step.pages:,} pages, {step.chunks:,} chunks" if step.chunks else ""


def _bar() -> Progress:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[chunks]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


@contextmanager
def _interruptible(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C asks for an orderly end, the second one interrupts."""

    def ask(_: int, __: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


__all__ = ["ingest", "opened", "run_here", "show"]
