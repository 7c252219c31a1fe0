"""One process owns a data folder: embedded Chroma serves stale results, in silence, to a second one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from filelock import FileLock, Timeout

from rag.errors import ConfigurationError, DataFolderInUse


class Ownership:
    """A lock on the data folder that the operating system drops when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, made now when it is not there. Raises `DataFolderInUse`, `ConfigurationError`."""
        self._note = folder / "owner.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / "owner.lock")
            self._lock.acquire(timeout=1)  # somebody may be asking who the owner is
            self._write("")
        except Timeout as error:
            pid, url = _read(self._note)
            owner = f"the BankSight that serves {url}" if url else f"process {pid}"
            raise DataFolderInUse(
                f"the data folder {folder} is in use by {owner}; stop that, or set BANKSIGHT_DATA_DIR", url
            ) from error
        except OSError as error:
            raise ConfigurationError(
                f"the data folder {folder} cannot be written ({error.strerror or error}); "
                "give this user the right to write there, or set BANKSIGHT_DATA_DIR to another folder"
            ) from error

    def announce(self, url: str) -> None:
        """Tell others at which HTTP address the owner does their work for them."""
        self._write(url)

    def release(self) -> None:
        """Give the folder back."""
        self._note.unlink(missing_ok=True)
        self._lock.release()

    def _write(self, url: str) -> None:
        temporary = self._note.with_suffix(".incoming")
        temporary.write_text(json.dumps({"pid": os.getpid(), "url": url}), encoding="utf-8")
        temporary.replace(self._note)


def owner_of(folder: Path) -> str | None:
    """The HTTP address of the process that owns the folder; empty when it has none, None when nobody owns it."""
    if not folder.is_dir():
        return None
    lock = FileLock(folder / "owner.lock")
    try:
        with lock.acquire(timeout=0):
            return None
    except Timeout:
        return _read(folder / "owner.json")[1]
    except OSError:
        return None


def _read(note: Path) -> tuple[int, str]:
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        return int(content["pid"]), str(content["url"])
    except (OSError, ValueError, KeyError):
        return 0, ""
