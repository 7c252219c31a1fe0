"""What sidecar files say about documents: labels, dates, titles. Wrong ones close a document, they never open it.

`<name>.meta.yaml` beside a file speaks for that file; `_folder.yaml` for everything in its folder and below:

    title: Fee schedule 2025        # sidecar only
    access: [branch, hr]            # a reader must hold all of them
    effective_from: 2025-01-01
    effective_to: 2025-12-31
    supersedes: ../2024/fees.pdf    # sidecar only; relative to the file's folder

Labels add up from the root's folder file to the sidecar: one nearer to the document can add a label and never drop
one. For dates the nearest file that names one wins.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import yaml

from connectors.base import UNKNOWN_ACCESS, DocumentMetadata

FOLDER_FILE = "_folder.yaml"
SIDECAR_SUFFIX = ".meta.yaml"
LARGEST_SIDECAR = 65_536  # bytes
_FOLDER_KEYS = frozenset({"access", "effective_from", "effective_to"})
_SIDECAR_KEYS = _FOLDER_KEYS | {"title", "supersedes"}
# The C loader where it was built: 13,000 sidecars take seconds with it and a minute without.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Declared:
    """What is said about a document or a folder so far. `problem` is "" or what is wrong, for the operator."""

    metadata: DocumentMetadata = field(default_factory=DocumentMetadata)
    problem: str = ""

    def closed(self, problem: str) -> Declared:
        """The same with a problem, unless there is one already: nobody may read what it speaks for."""
        return Declared(DocumentMetadata(access=(UNKNOWN_ACCESS,)), self.problem or problem)


def is_sidecar(name: str) -> bool:
    """True for the name of a sidecar or folder file, also under the spellings that are refused."""
    lowered = name.lower()
    return lowered in ("_folder.yaml", "_folder.yml") or lowered.endswith((".meta.yaml", ".meta.yml"))


@dataclass(frozen=True, slots=True)
class FolderNames:
    """The names in a folder, and those of sidecars among them by their lower case: what is meant is told from these."""

    all: frozenset[str]
    sidecars: dict[str, str]

    @classmethod
    def of(cls, names: Iterable[str]) -> FolderNames:
        """From the names of a folder's entries."""
        everything = frozenset(names)
        return cls(everything, {name.lower(): name for name in everything if is_sidecar(name)})

    def misnamed_folder_file(self) -> str:
        """The name that somebody meant as a folder file and that would not be read, or ""."""
        return self.sidecars.get("_folder.yaml") or self.sidecars.get("_folder.yml") or ""

    def misnamed_sidecar(self, name: str) -> str:
        """The name that somebody meant as the sidecar of `name` and that would not be read, or "".

        `fees.meta.yaml` beside `fees.pdf` is one, unless there is a file `fees` too, which it then belongs to.
        """
        stem = name.rpartition(".")[0]
        owners = (name, stem) if stem and stem not in self.all else (name,)
        meant = (f"{owner}{suffix}".lower() for owner in owners for suffix in (".meta.yaml", ".meta.yml"))
        return next((self.sidecars[each] for each in meant if each in self.sidecars), "")


def folder_file(above: Declared, path: str, content: bytes) -> Declared:
    """What holds in a folder: what held above it, and what its `_folder.yaml` (at `path`, for messages) adds."""
    return _extend(above, path, content, _FOLDER_KEYS)


def sidecar(folder: Declared, path: str, content: bytes) -> Declared:
    """What holds for a file: what holds in its folder, and what its sidecar (at `path`) adds.

    `supersedes` comes out as a POSIX path relative to the root.
    """
    return _extend(folder, path, content, _SIDECAR_KEYS)


class _Wrong(Exception):
    """A key and what is wrong with it; `line` is 1-based."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _extend(above: Declared, path: str, content: bytes, known: frozenset[str]) -> Declared:
    if above.problem:
        return above
    try:
        values = _read(content, known, path)
        metadata = replace(above.metadata, **values)
        if metadata.effective_from and metadata.effective_to and metadata.effective_from > metadata.effective_to:
            raise _Wrong(1, "effective_from is after effective_to")
    except _Wrong as wrong:
        return above.closed(f"{path}, line {wrong.line}: {wrong}; correct it, until then nobody can read the document.")
    labels = dict.fromkeys((*above.metadata.access, *metadata.access))
    return Declared(replace(metadata, access=tuple(labels)))


def _read(content: bytes, known: frozenset[str], path: str) -> dict[str, Any]:
    """The checked values of a sidecar file. Raises `_Wrong`."""
    values: dict[str, Any] = {}
    for line, key, value in _entries(content):
        if key not in known:
            raise _Wrong(line, f"{key!r} is not one of {', '.join(sorted(known))}")
        if key in values:
            raise _Wrong(line, f"{key} is there twice")
        try:
            values[key] = _CHECKS[key](value, path)
        except ValueError as error:
            raise _Wrong(line, f"{key} {error}") from None
    return values


def _entries(content: bytes) -> list[tuple[int, str, Any]]:
    """`(line, key, value)` of the one mapping that a sidecar file holds."""
    if len(content) > LARGEST_SIDECAR:
        raise _Wrong(1, f"the file is larger than {LARGEST_SIDECAR} bytes")
    try:
        loader = _Loader(content)
        node = loader.get_single_node()
        if node is None:
            return []
        if not isinstance(node, yaml.MappingNode):
            raise _Wrong(node.start_mark.line + 1, "the file is not a list of `key: value` lines")
        return [
            (key.start_mark.line + 1, str(loader.construct_object(key)), loader.construct_object(value, deep=True))
            for key, value in node.value
        ]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _Wrong(line, "the file is not valid YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        raise _Wrong(1, "the file is not valid YAML in UTF-8") from None


def _check_labels(value: object, _path: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(label, str) and _is_label(label) for label in value):
        raise ValueError("must be a list of labels, like [branch, hr]")
    return tuple(value)


def _is_label(label: str) -> bool:
    return label == label.strip() != "" and label.isprintable() and label != UNKNOWN_ACCESS


def _check_text(value: object, _path: str) -> str:
    line = " ".join(value.split()) if isinstance(value, str) else ""
    if not line or not line.isprintable():
        raise ValueError("must be a text")
    return line


def _check_date(value: object, _path: str) -> date:
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("must be a day, like 2025-01-31")
    return value


def _check_superseded(value: object, path: str) -> str:
    """The path of the replaced file, relative to the root, from one relative to the folder of the sidecar."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("must be the path of a file")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), value))
    if target.startswith(("/", "../")) or target in ("..", ".") or "\\" in target:
        raise ValueError("must be the path of a file below the source's root, relative to this one")
    if target + SIDECAR_SUFFIX == path:
        raise ValueError("names the document itself")
    return target


_CHECKS: dict[str, Callable[[object, str], Any]] = {
    "title": _check_text,
    "access": _check_labels,
    "effective_from": _check_date,
    "effective_to": _check_date,
    "supersedes": _check_superseded,
}
