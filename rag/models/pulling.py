"""Bring a pinned model to this machine: resumable, safe against a kill at any instant and against two pullers at once.

A file gets its name only when all its bytes are on disk and hashed; until then it is `<name>.part`, which a later pull
continues. So a reader never sees half a file, and a folder is complete as soon as its last file has its name.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from filelock import FileLock, Timeout

from rag.errors import ConfigurationError, ModelError, StorageUnavailable, WeightsRejected
from rag.models.checking import check, check_file
from rag.models.fetching import Interrupted, Source
from rag.models.manifest import Manifest, PinnedFile

logger = logging.getLogger(__name__)

_ATTEMPTS: Final = 5  # in a row that bring no byte
_LONGEST_PAUSE: Final = 16.0  # seconds
_SPARE_BYTES: Final = 64 * 1024**2  # left free on the disk
_UNKNOWN_SIZE: Final = 64 * 1024**2  # most bytes of a file whose size is not on record; those are small text files


class Watch(Protocol):
    """Is told how a pull goes on."""

    def waiting(self) -> None:
        """Another process pulls the same model; this one waits for it."""

    def begin(self, files: tuple[PinnedFile, ...], present: int) -> None:
        """These files are fetched; `present` bytes of them are here already."""

    def advance(self, file: PinnedFile, count: int) -> None:
        """So many bytes more of this file; negative when bytes were thrown away."""


def pull(
    manifest: Manifest, folder: Path, source: Source, watch: Watch, pause: Callable[[float], None] = time.sleep
) -> tuple[PinnedFile, ...]:
    """Make `folder` the pinned model, and return the files that were fetched: none when it was already.

    Files that are as pinned are kept, also in a read-only folder. A wrong one is replaced once the right one is here.

    Raises:
        ConfigurationError: something is missing and the folder cannot be written.
        StorageUnavailable: the disk has no room.
        ModelError: the source does not answer or lacks a file; what has arrived stays for the next pull.
        WeightsRejected: the source has other bytes, or something in the folder does not belong there.
    """
    if not (faults := check(folder, manifest)):
        return ()
    with _writing(folder), _only_one(folder, watch):
        needed = tuple(file for file in manifest.files if check_file(folder / file.name, file))
        _require_room(folder, needed)
        watch.begin(needed, sum(_size(_part(folder, file)) for file in needed))
        for file in needed:
            _pull_file(file, folder, source, watch, pause)
    if faults := check(folder, manifest):
        raise WeightsRejected(f"{folder} is not the pinned model: {'; '.join(map(str, faults))}")
    return needed


def _pull_file(file: PinnedFile, folder: Path, source: Source, watch: Watch, pause: Callable[[float], None]) -> None:
    part = _part(folder, file)
    part.parent.mkdir(parents=True, exist_ok=True)
    begun_before = _size(part) > 0
    _receive(file, part, source, watch, pause)
    if begun_before and _digest(part) != file.sha256:
        logger.info("the part of %s that was here cannot be continued; it is fetched anew", file.name)
        _discard(part, file, watch)
        _receive(file, part, source, watch, pause)
    if (found := _digest(part)) != file.sha256:
        _discard(part, file, watch)
        raise WeightsRejected(
            f"{file.name} from {source.shown} is not the pinned file: expected SHA-256 {file.sha256}, found {found}; "
            "it was thrown away; take another source, and find out who changed it"
        )
    part.chmod(0o644)
    part.replace(folder / file.name)
    _sync(part.parent)


def _receive(file: PinnedFile, part: Path, source: Source, watch: Watch, pause: Callable[[float], None]) -> None:
    """All bytes into the part, over as many connections as it takes."""
    if file.size is not None and _size(part) > file.size:
        _discard(part, file, watch)
    idle = 0
    while file.size is None or _size(part) < file.size or not part.exists():
        before = _size(part)
        try:
            _append(file, part, source, watch)
            if file.size is None or _size(part) == file.size:
                return
            trouble = f"ended after {_size(part):,} of {file.size:,} bytes"
        except Interrupted as error:
            trouble = str(error)
        idle = 0 if _size(part) > before else idle + 1
        if idle == _ATTEMPTS:
            raise ModelError(
                f"{source.shown} does not deliver {file.name} ({trouble}): look after the network, or take another "
                "source; the next pull goes on where this one stopped"
            )
        logger.info("%s: %s; asking again", file.name, trouble)
        pause(min(_LONGEST_PAUSE, 0.5 * 2**idle))


def _append(file: PinnedFile, part: Path, source: Source, watch: Watch) -> None:
    offset = _size(part)
    limit = _UNKNOWN_SIZE if file.size is None else file.size
    with source.read(file.name, offset) as (begin, chunks), part.open("ab") as out:
        if begin < offset:
            out.truncate(begin)
            watch.advance(file, begin - offset)
        room = limit - begin
        try:
            for chunk in chunks:
                if len(chunk) > room:
                    raise WeightsRejected(
                        f"{file.name} from {source.shown} has more than the pinned {limit:,} bytes: take another source"
                    )
                room -= out.write(chunk)
                watch.advance(file, len(chunk))
        finally:  # also what arrived before the connection broke
            out.flush()
            os.fsync(out.fileno())


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Translates what the disk says."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageUnavailable(
                f"the disk of {folder} is full: make room and pull again; it goes on where it stopped"
            ) from error
        raise ConfigurationError(
            f"{folder} cannot be written ({error.strerror}) and lacks files of the model: "
            "pull as somebody who may write there, or set CACHE_DIR to another folder"
        ) from error


@contextmanager
def _only_one(folder: Path, watch: Watch) -> Iterator[None]:
    """The kernel drops the lock of a process that is killed, so that nobody has to clean up."""
    lock = FileLock(folder / ".pull.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        watch.waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _require_room(folder: Path, needed: tuple[PinnedFile, ...]) -> None:
    missing = sum((file.size or 0) - min(file.size or 0, _size(_part(folder, file))) for file in needed)
    free = shutil.disk_usage(folder).free
    if free < missing + _SPARE_BYTES:
        raise StorageUnavailable(
            f"{folder} needs {(missing + _SPARE_BYTES) / 1e9:,.2f} GB more and its disk has {free / 1e9:,.2f} GB free: "
            "make room, or set CACHE_DIR to a folder on another disk"
        )


def _part(folder: Path, file: PinnedFile) -> Path:
    return folder / f"{file.name}.part"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _discard(part: Path, file: PinnedFile, watch: Watch) -> None:
    watch.advance(file, -_size(part))
    part.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    """A name survives a power cut only when its folder was written too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
