"""`python -m evaluations.backup_drill`: backups taken while documents are written; each is restored and compared.

Prints how many of them were whole, how many were of different moments, what a backup, a proof and a rebuilt index cost.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from rag.bootstrap import Workspace, open_workspace
from rag.errors import BankSightError
from rag.operations import backup as backups
from rag.operations.backup_snapshot import take_snapshot
from rag.settings import Settings, load_settings

_DOCUMENTS = 12


def main() -> int:
    """Exit code 1 when a backup was not whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backups", type=int, default=50)
    wanted = parser.parse_args().backups
    with tempfile.TemporaryDirectory() as name:
        settings = _settings(Path(name))
        with _opened(settings) as workspace, _writing(workspace, Path(name) / "sources"):
            started, processor = time.monotonic(), time.process_time()
            saved = [backups.create(settings, lambda: take_snapshot(workspace), _quiet, _quiet) for _ in range(wanted)]
            took = time.monotonic() - started
        whole, moments, proving = 0, set(), 0.0
        for each in saved:
            try:
                proof = backups.verify(settings, each, _opened, _quiet)
            except BankSightError as error:
                click.echo(f"{each}: {error}")
            else:
                whole, proving = whole + 1, proving + proof.seconds
                moments.add(proof.facts.snapshot)
        click.echo(f"{whole} of {wanted} backups restored and agreed; they are of {len(moments)} moments")
        click.echo(
            f"one backup took {took / wanted:.2f} s beside the writer; one recovery {proving / max(whole, 1):.2f} s"
        )
        shutil.rmtree(settings.data_dir / "chroma")
        with _opened(settings) as workspace:
            started = time.monotonic()
            workspace.check("repair")
            chunks, took = workspace.registry.totals()["chunks"], time.monotonic() - started
            click.echo(f"the vectors of {chunks} chunks were made anew in {took:.2f} s")
        click.echo(f"processor time of this process: {time.process_time() - processor:.0f} s")
    return 0 if whole == wanted else 1


def _settings(home: Path) -> Settings:
    (home / "sources").mkdir()
    (home / "password").write_text("of one run")
    for number in range(_DOCUMENTS):
        _write(home / "sources", number, 0)
    repository = {"repository": str(home / "backups"), "password_file": str(home / "password")}
    source = {"name": "papers", "collection": "rules", "root": str(home / "sources")}
    return load_settings("test", overrides={"data_dir": str(home / "data"), "sources": [source], "backup": repository})


def _write(folder: Path, number: int, turn: int) -> None:
    lines = [
        f"Clause {line} of note {number}: fee {line + turn} applies to account type {line * 7}." for line in range(30)
    ]
    (folder / f"note-{number}.txt").write_text("\n\n".join(lines))


@contextmanager
def _writing(workspace: Workspace, sources: Path) -> Iterator[None]:
    """Documents change, go and come in another thread."""
    stop = threading.Event()

    def work() -> None:
        turn = 0
        while not stop.wait(0.3):  # a lock is not fair: whoever takes it again at once starves others
            turn += 1
            _write(sources, turn % _DOCUMENTS, turn)
            (sources / f"note-{(turn * 3) % _DOCUMENTS}.txt").unlink(missing_ok=True)
            workspace.ingest()

    workspace.ingest()
    writer = threading.Thread(target=work)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


@contextmanager
def _opened(settings: Settings) -> Iterator[Workspace]:
    workspace = open_workspace(settings)
    try:
        yield workspace
    finally:
        workspace.close()


def _quiet(_: object) -> None:
    """Progress that nobody watches."""


if __name__ == "__main__":
    raise SystemExit(main())
