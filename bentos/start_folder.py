"""A folder of one start of the server: BentoML empties the one it keeps metrics in whenever any server starts."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def start_folder(parent: Path) -> Iterator[Path]:
    """An empty folder below `parent` that no other start uses; gone at the end.

    What servers left that were killed is removed: the operating system dropped their locks. Raises `OSError`.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    folder = parent / uuid.uuid4().hex
    with FileLock(_lock_of(folder)):
        folder.mkdir()
        try:
            yield folder
        finally:
            _remove(folder)


def _sweep(parent: Path) -> None:
    for folder in [each for each in parent.iterdir() if each.is_dir()]:
        try:
            with FileLock(_lock_of(folder), timeout=0):
                _remove(folder)
        except Timeout:
            continue  # its server runs


def _remove(folder: Path) -> None:
    """While its lock is held, which goes last."""
    shutil.rmtree(folder, ignore_errors=True)
    _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_suffix(".lock")
