"""Whether bytes that stood for a person are still in a file: what an erasure ends with.

What is looked for is taken before anything is deleted: pieces of text from pages, vectors as float32, the wrapped key,
the name. The search reads every byte of every file, whatever the file is of: free pages, logs, orphaned segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from rag.domain import Document
from rag.ingestion.run import Stores
from rag.storage.registry import Pair
from rag.storage.vectors import Vector

_AT_ONCE: Final = 4 * 1024 * 1024  # bytes of a file that are looked at together
_DOCUMENTS: Final = 8  # from which markers are taken, spread over all
_VECTORS: Final = 1  # of each
_TEXT: Final = range(16, 49)  # characters of a piece of text
_NAME: Final = 8  # characters from which on a name is not in files by chance
_FRAGMENT: Final = 8  # bytes of a vector: one in 2^64 is there by chance
_FRAGMENT_EVERY: Final = 96


@dataclass(frozen=True, slots=True)
class Found:
    """What a search saw, and in which files, by how many markers, something was found."""

    files: int
    bytes: int
    found: dict[str, int] = field(default_factory=dict)


def markers_of(documents: Sequence[Document], stores: Stores, own: Callable[[str], list[Pair]]) -> list[bytes]:
    """Pieces of text and of vectors of documents that are indexed. `own` has the chunks of a document that are like no
    other's.
    """
    step = max(1, len(documents) // _DOCUMENTS)
    found: list[bytes] = []
    for document in documents[::step][:_DOCUMENTS]:
        for number in sorted({1, (document.pages + 1) // 2}) if document.pages else ():
            piece = _piece(stores.registry.page(document.id, number).text)
            found += [piece.encode()] if len(piece) in _TEXT else []
        for vector in stores.vectors.vectors(own(document.id)[:_VECTORS]).values():
            found += fragments(vector)
    return list(dict.fromkeys(found))


def fragments(vector: Vector) -> list[bytes]:
    """Pieces of a vector, two numbers each, from all over it.

    Chroma gives vectors back as HNSW made them of length 1, where some numbers differ in the last bit from those in its
    queue, and pages of SQLite cut through them: some short pieces are whole and the same everywhere.
    """
    whole = vector.astype(np.float32).tobytes()
    return [whole[start : start + _FRAGMENT] for start in range(0, len(whole), _FRAGMENT_EVERY)]


def _piece(text: str) -> str:
    """A line from the middle of the text, of bounded length: parsers leave lines as they are."""
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) in range(_TEXT.start, 10_000)]
    if not lines:
        return ""
    line = lines[len(lines) // 2]
    start = max(0, len(line) // 2 - _TEXT.stop // 2)
    return line[start : start + _TEXT.stop - 1]


def name_markers(names: Iterable[str], known: str) -> list[bytes]:
    """Names that would not stand in a file by chance. `known` stands in the configuration."""
    return [name.encode() for name in names if len(name) >= _NAME and name != known]


def search(folders: Iterable[Path], markers: Sequence[bytes], without: Iterable[Path] = ()) -> Found:
    """Look for markers in every file of these folders, but not below those of `without`. Blocks."""
    left_out = [each.resolve() for each in without]
    files = {path.resolve() for folder in folders for path in folder.rglob("*") if path.is_file()}
    size, found = 0, {}
    for path in sorted(files):
        if any(each in path.parents for each in left_out):
            continue
        try:
            size += path.stat().st_size
            count = _in_file(path, markers)
        except FileNotFoundError:  # a temporary file that went meanwhile
            continue
        if count:
            found[str(path)] = count
    return Found(len(files), size, found)


def _in_file(path: Path, markers: Sequence[bytes]) -> int:
    """How many of the markers are in a file."""
    overlap = max(map(len, markers), default=1) - 1
    seen: set[bytes] = set()
    tail = b""
    with path.open("rb") as file:
        while block := file.read(_AT_ONCE):
            whole = tail + block
            seen |= {each for each in markers if each not in seen and each in whole}
            tail = whole[len(whole) - overlap :] if overlap else b""
    return len(seen)
