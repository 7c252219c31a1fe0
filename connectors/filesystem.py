"""Documents from a folder and the folders in it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

from connectors import sidecars
from connectors.base import SourceDocument, SourceItem, document_id
from connectors.errors import SourceMisconfigured, SourceUnavailable, SourceUnreadable
from connectors.globs import PathPatterns
from connectors.parsing import PARSER_VERSION, ParsingSandbox
from connectors.sidecars import Declared, FolderNames

_SCHEME = "file:"
# Skipped: hidden files, what Office leaves beside an open document, what Windows and macOS leave in folders.
_NOISE = re.compile(r"\..*|~\$.*|thumbs\.db|desktop\.ini", re.IGNORECASE | re.DOTALL)
# Encoded in URIs: percent signs, control characters, and bytes of names that are not valid UTF-8.
_UNSPEAKABLE = re.compile("[%\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder during a walk: path relative to the root ("" or ending in a slash), what holds in it, what is in it."""

    path: str
    names: FolderNames
    declared: Declared
    entries: Iterator[os.DirEntry[str]]


class FilesystemConnector:
    """The files below `root` that `include` means and `exclude` does not (see `PathPatterns`).

    **What is listed.** Regular files in the order of their paths, folder by folder. Hidden files and folders, sidecars
    and lock files are skipped, and so are symbolic links, wherever they point: a link in a public folder would give a
    restricted file the labels of the wrong place. `root` itself may be a link. A file of a type that cannot be read is
    listed, so that reading reports it.

    **Fingerprints** are made without opening documents: size, modification and change time (which the system keeps and
    a program cannot set back), title, labels and dates, and the version of the parsers. Listing 10,000 unchanged files
    takes about half a second. The price is that a touched or copied file is read again; its content hash then shows
    that nothing needs to be embedded.

    **URIs** are `file:` and the path relative to `root`, so that they stay when the root moves.

    Sidecars are described in `connectors.sidecars`. A document whose sidecar or folder file is wrong, or stands beside
    it under a name that will not be read, is listed with a `problem`, and `read` raises `SourceMisconfigured`.
    """

    def __init__(
        self,
        source: str,
        root: Path,
        include: Iterable[str],
        exclude: Iterable[str],
        sandbox: ParsingSandbox,
        max_bytes: int,
    ) -> None:
        self._source = source
        self._root = Path(root)
        self._include = PathPatterns(include)
        self._exclude = PathPatterns(exclude)
        self._sandbox = sandbox
        self._max_bytes = max_bytes
        self._listed: dict[str, tuple[int, FolderNames]] = {}  # folder -> when it changed, names in it

    @property
    def source(self) -> str:
        """The configured name of this source."""
        return self._source

    def list_items(self) -> Iterator[SourceItem]:
        """Every document, in the order of paths. Raises `SourceUnavailable` before the first if a folder is unseen."""
        return iter(list(self._walk()))

    def read(self, item: SourceItem) -> SourceDocument:
        """The document with its pages, original bytes, and the metadata that hold now.

        Raises `SourceUnreadable`, `SourceMisconfigured` for its metadata, `SourceUnavailable` where the root is gone.
        """
        path = _path_of(item.location)
        self._names("")  # raises where the root went away, which says nothing about the document
        content, status = self._content(path)
        current = self._item(path, status, self._declared(path))
        if current.problem:
            raise SourceMisconfigured(current.problem)
        parsed = self._sandbox.parse(path.rpartition("/")[2], content)
        metadata = current.metadata
        return SourceDocument(
            id=current.id,
            uri=current.uri,
            title=metadata.title or parsed.title,
            media_type=parsed.media_type,
            fingerprint=current.fingerprint,
            content=content,
            pages=parsed.pages,
            access=metadata.access,
            effective_from=metadata.effective_from,
            effective_to=metadata.effective_to,
            supersedes=metadata.supersedes,
            concealed=parsed.concealed,
        )

    def close(self) -> None:
        """Nothing to end: the sandbox belongs to whoever made it."""

    def _walk(self) -> Iterator[SourceItem]:
        """The items below the root, depth first, in the order of names; without recursion, however deep they lie."""
        pending = [self._open_folder("", Declared())]
        while pending:
            folder = pending[-1]
            entry = next(folder.entries, None)
            if entry is None:
                pending.pop()
                continue
            path = folder.path + entry.name
            if _NOISE.fullmatch(entry.name) or sidecars.is_sidecar(entry.name) or entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(self._open_folder(path + "/", folder.declared))
            elif entry.is_file(follow_symlinks=False) and self._is_meant(path) and (status := _status(entry)):
                yield self._item(path, status, self._file_declared(path, folder.declared, folder.names))

    def _open_folder(self, path: str, above: Declared) -> _Folder:
        """The entries of a folder and what holds in it. Raises `SourceUnavailable`."""
        try:
            with os.scandir(self._root / path) as scan:
                entries = sorted(scan, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            raise self._unavailable(path, error) from error
        names = FolderNames.of(entry.name for entry in entries)
        return _Folder(path, names, self._folder_declared(path, above, names), iter(entries))

    def _unavailable(self, folder: str, error: OSError) -> SourceUnavailable:
        where = f"Folder {_shown(folder.rstrip('/'))}" if folder else "The root folder"
        return SourceUnavailable(
            f"{where} of source {self._source} cannot be listed ({error.strerror}), so nothing was changed; "
            "make it readable or correct the source's root."
        )

    def _is_meant(self, path: str) -> bool:
        readable = path.encode("utf-8", errors="replace").decode()
        return self._include.match(readable) and not self._exclude.match(readable)

    def _folder_declared(self, folder: str, above: Declared, names: FolderNames) -> Declared:
        """What holds in a folder whose entries have these names."""
        if sidecars.FOLDER_FILE in names.all:
            path = folder + sidecars.FOLDER_FILE
            return self._extend(sidecars.folder_file, above, path)
        if wrong := names.misnamed_folder_file():
            return above.closed(f"{_shown(folder + wrong)} is not read; rename it to {sidecars.FOLDER_FILE}.")
        return above

    def _file_declared(self, path: str, folder: Declared, names: FolderNames) -> Declared:
        """What holds for a file in a folder whose entries have these names."""
        parent, _, name = path.rpartition("/")
        if name + sidecars.SIDECAR_SUFFIX in names.all:
            return self._extend(sidecars.sidecar, folder, path + sidecars.SIDECAR_SUFFIX)
        if wrong := names.misnamed_sidecar(name):
            where = _shown(f"{parent}/{wrong}".lstrip("/"))
            return folder.closed(f"{where} is not read; rename it to {_shown(name)}{sidecars.SIDECAR_SUFFIX}.")
        return folder

    def _extend(self, add: Callable[[Declared, str, bytes], Declared], above: Declared, path: str) -> Declared:
        """What a sidecar file adds. One that cannot be read closes what it speaks for."""
        try:
            content = _read_regular(self._root / path, sidecars.LARGEST_SIDECAR)
        except OSError as error:
            return above.closed(f"{_shown(path)} cannot be read ({error.strerror}); make it readable.")
        return add(above, path, content)

    def _declared(self, path: str) -> Declared:
        """What holds for one file now, from the root down."""
        declared, folder, names = Declared(), "", self._names("")
        declared = self._folder_declared("", declared, names)
        for name in path.split("/")[:-1]:
            folder += name + "/"
            names = self._names(folder)
            declared = self._folder_declared(folder, declared, names)
        return self._file_declared(path, declared, names)

    def _names(self, folder: str) -> FolderNames:
        """The names in a folder, listed again only when it changed."""
        try:
            changed = (self._root / folder).stat().st_mtime_ns
            known = self._listed.get(folder)
            if known is None or known[0] != changed:
                known = (changed, FolderNames.of(os.listdir(self._root / folder)))  # noqa: PTH208  names, not paths
                self._listed[folder] = known
        except OSError as error:
            raise self._unavailable(folder, error) from error
        return known[1]

    def _content(self, path: str) -> tuple[bytes, os.stat_result]:
        """A file's bytes, and its state while they were read. Raises `SourceUnreadable`."""
        target = self._root / path
        if not Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(self._root)):
            raise SourceUnreadable("unsafe", f"{_shown(path)} leads out of the source's root; remove the link.")
        try:
            before = target.stat(follow_symlinks=False)
            content = _read_regular(target, self._max_bytes)
            after = target.stat(follow_symlinks=False)
        except OSError as error:
            message = f"The file cannot be opened ({error.strerror}); make it readable, or run again if it was moved."
            raise SourceUnreadable("inaccessible", message) from error
        if len(content) > self._max_bytes:
            message = f"The file is larger than the {self._max_bytes / 2**20:.0f} MiB allowed; split it."
            raise SourceUnreadable("too_large", message)
        if _state(before) != _state(after):
            raise SourceUnreadable("inaccessible", "The file was changed while it was read; run again.")
        return content, after

    def _item(self, path: str, status: os.stat_result, declared: Declared) -> SourceItem:
        metadata = declared.metadata
        if metadata.supersedes:
            metadata = replace(metadata, supersedes=_uri(metadata.supersedes))
        facts = [PARSER_VERSION, *_state(status), *astuple(metadata), declared.problem]
        fingerprint = hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:32]
        uri = _uri(path)
        return SourceItem(document_id(self._source, uri), uri, fingerprint, uri, metadata, declared.problem)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """The state of a listed file, None where it went away meanwhile."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _state(status: os.stat_result) -> tuple[int, int, int]:
    """What changes with a file's content: bytes, and nanoseconds of modification and of any change."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read_regular(path: Path, most_bytes: int) -> bytes:
    """At most `most_bytes` + 1 bytes of a regular file. Raises OSError for everything else; waits for no pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return stream.read(most_bytes + 1)


def _uri(path: str) -> str:
    return _SCHEME + _UNSPEAKABLE.sub(lambda match: "".join(f"%{byte:02X}" for byte in os.fsencode(match[0])), path)


def _shown(path: str) -> str:
    """A path for messages: on one line, whatever its name holds."""
    return _uri(path).removeprefix(_SCHEME)


def _path_of(location: str) -> str:
    """The path relative to the root that a URI stands for. Raises `SourceUnreadable` (unsafe)."""
    path = os.fsdecode(unquote_to_bytes(location.removeprefix(_SCHEME)))
    if not location.startswith(_SCHEME) or path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
        raise SourceUnreadable("unsafe", "The location of the document is not a path below the source's root.")
    return path
