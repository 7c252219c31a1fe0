"""Where bytes of a model come from: a web server (hub, mirror, object store) or a mounted folder.

A source is not trusted with anything: what it gives counts only once its SHA-256 is the pinned one. So plain HTTPS is
enough for every object store (a public base URL, or one with a signature), and no vendor's client is needed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import httpx

from rag.errors import ConfigurationError, ModelError
from rag.models.manifest import Manifest

_CHUNK: Final = 1 << 20
_TIMEOUT: Final = httpx.Timeout(30, connect=10)  # seconds without a byte; a whole file may take hours
_TRY_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Interrupted(Exception):
    """The connection broke, or the server was busy; the rest can be asked for again."""


class Source(Protocol):
    """Something that has files by name. `shown` names it without secrets."""

    @property
    def shown(self) -> str:
        """For messages and logs."""

    def read(self, name: str, offset: int) -> AbstractContextManager[tuple[int, Iterator[bytes]]]:
        """Where the bytes begin (`offset`, or 0 when the source cannot continue), and the bytes.

        Raises:
            Interrupted: asking again can help.
            ModelError: the source has no such file, or refuses it.
        """


@dataclass(frozen=True, slots=True)
class WebSource:
    """Files under a base URL. A query in it, such as a signature, is kept; a token goes to the first host only."""

    base: str
    token: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """The base URL without user, password and query."""
        parts = urlsplit(self.base)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @contextmanager
    def read(self, name: str, offset: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """See `Source`. Bytes are taken as they are sent: a compressed range could not be continued."""
        logging.getLogger("httpx").setLevel(logging.WARNING)  # its INFO lines hold whole URLs, signatures included
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"  # httpx drops it when redirected to another host
        try:
            with httpx.stream(
                "GET", self._url(name), headers=headers, timeout=_TIMEOUT, follow_redirects=True
            ) as answer:
                begin = self._begin(answer, name, offset)
                yield begin, iter(()) if answer.status_code == 416 else answer.iter_raw()
        except httpx.HTTPError as error:
            raise Interrupted(f"{type(error).__name__} {error}".strip()) from error

    def _url(self, name: str) -> str:
        parts = urlsplit(self.base)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}"))

    def _begin(self, answer: httpx.Response, name: str, offset: int) -> int:
        status = answer.status_code
        if status == 206:
            begin = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
            if not begin or int(begin[1]) != offset:
                raise ModelError(f"{self.shown} answers another range of {name} than was asked for; use another source")
            return offset
        if status == 200:
            return 0
        if status == 416 and offset:  # nothing follows: the part may be the whole; its digest decides
            return offset
        if status in _TRY_AGAIN:
            raise Interrupted(f"HTTP {status}")
        if status in (401, 403):
            advice = "set HF_TOKEN for a gated model, or renew the signature of the URL"
            raise ModelError(f"{self.shown} refuses {name} (HTTP {status}): {advice}")
        raise ModelError(f"{self.shown} has no {name} (HTTP {status}): correct --from, or take another source")


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A mounted folder, such as a network drive or a disk that was carried there."""

    folder: Path

    @property
    def shown(self) -> str:
        """The folder."""
        return str(self.folder)

    @contextmanager
    def read(self, name: str, offset: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """See `Source`."""
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(offset)
                yield offset, _chunks(file)
        except FileNotFoundError as error:
            raise ModelError(f"{self.folder} has no {name}: correct --from, or take another source") from error


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(_CHUNK):
            yield chunk
    except OSError as error:  # a network drive that went away
        raise Interrupted(error.strerror or type(error).__name__) from error


def hub_source(manifest: Manifest, endpoint: str, token: str) -> WebSource:
    """The pinned revision on the hub, or on a mirror that has the hub's paths."""
    return WebSource(f"{endpoint.rstrip('/')}/{manifest.repository}/resolve/{manifest.revision}", token)


def source_at(place: str) -> Source:
    """The source that a person named: an http(s) URL under which the files lie, or a folder.

    Raises:
        ConfigurationError: it is neither.
    """
    if place.startswith(("http://", "https://")):
        return WebSource(place)
    if "://" in place:
        raise ConfigurationError(
            f"{place.partition('://')[0]}:// is not spoken here: give the https:// URL of the object store's folder"
        )
    folder = Path(place).expanduser()
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder}: mount it, or give an https:// URL")
    return FolderSource(folder)
