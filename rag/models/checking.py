"""Is a folder exactly the pinned model? Every file is hashed, and whatever else a library might load is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rag.models.manifest import Manifest, PinnedFile
from rag.models.weights import sha256_of

Trouble = Literal["missing", "truncated", "too long", "differs", "unreadable", "runs code", "not pinned"]

_CODE: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py", ".so", ".joblib", ".npy", ".npz"})
# transformers takes up a second weights file, an adapter or a chat template only because it lies in the folder.
_LOADED: Final = frozenset({".safetensors", ".json", ".model", ".jinja", ".h5", ".msgpack", ".gguf", ".onnx"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One file that is not as pinned."""

    file: str
    trouble: Trouble
    detail: str

    def __str__(self) -> str:
        return f"{self.file}: {self.trouble} ({self.detail})"


def check(folder: Path, manifest: Manifest) -> tuple[Fault, ...]:
    """Every file that keeps this folder from being the model; nothing when it is. Reads all bytes, and writes none.

    Several files are hashed at the same time: hashing leaves Python's lock, and a 7B model has 14.5 GB.
    """
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as threads:
        faults = threads.map(lambda file: check_file(folder / file.name, file), manifest.files)
        return tuple(fault for fault in faults if fault) + tuple(_strangers(folder, manifest))


def check_size(path: Path, file: PinnedFile) -> Fault | None:
    """What can be told without reading the file."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return Fault(file.name, "missing", f"no {path}")
    except OSError as error:
        return Fault(file.name, "unreadable", error.strerror or type(error).__name__)
    if file.size is None or size == file.size:
        return None
    return Fault(file.name, "truncated" if size < file.size else "too long", f"{size:,} of {file.size:,} bytes")


def check_file(path: Path, file: PinnedFile) -> Fault | None:
    """What is wrong with one file, or None."""
    if fault := check_size(path, file):
        return fault
    try:
        found = sha256_of(path)
    except OSError as error:
        return Fault(file.name, "unreadable", error.strerror or type(error).__name__)
    return None if found == file.sha256 else Fault(file.name, "differs", f"SHA-256 {found}, pinned {file.sha256}")


def _strangers(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name in manifest.digests or path.is_dir():
            continue
        if path.suffix.lower() in _CODE:
            yield Fault(name, "runs code", "a pickle or a program; remove it from the folder")
        elif path.suffix.lower() in _LOADED:
            yield Fault(name, "not pinned", "a library might load it; remove it from the folder")
