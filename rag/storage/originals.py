"""The documents as they came, so that a citation opens exactly the file that was read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rag.errors import NotFound


class Originals:
    """Original bytes by their SHA-256, in two levels of folders; a write is all or nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, content_hash: str, content: bytes) -> None:
        """Keep `content`, whose SHA-256 is `content_hash`.

        A killed process leaves all or nothing. Losing power may lose a file; `banksight index check` finds that.
        """
        path = self._place(content_hash)
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".incoming-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)

    def path(self, content_hash: str) -> Path:
        """Where the bytes are. Raises `NotFound`."""
        path = self._place(content_hash)
        if not content_hash or not path.is_file():
            raise NotFound("the original of this document is not stored; run `banksight index check --repair`")
        return path

    def is_whole(self, content_hash: str) -> bool:
        """True when the file is there with exactly the bytes that were read. Reads all of it."""
        try:
            with self._place(content_hash).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == content_hash
        except OSError:
            return False

    def keep_only(self, content_hashes: Iterable[str]) -> int:
        """Delete what no document refers to, half-written files included. Returns how many files went."""
        wanted = set(content_hashes)
        gone = 0
        for path in self._folder.glob("*/*"):
            if path.name not in wanted:
                path.unlink(missing_ok=True)
                gone += 1
        return gone

    def discard(self, content_hashes: Iterable[str]) -> None:
        """Delete these; ones that are not there do not matter."""
        for content_hash in content_hashes:
            with contextlib.suppress(FileNotFoundError):
                self._place(content_hash).unlink()

    def _place(self, content_hash: str) -> Path:
        return self._folder / content_hash[:2] / content_hash
