"""What a model consists of: its repository, its revision, and the SHA-256 of every file that may be loaded.

The manifests are `manifests/*.json`. A file without a pinned digest does not exist for us, whoever serves it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from rag.errors import ConfigurationError, WeightsRejected

MISTRAL: Final = "mistralai/Mistral-7B-Instruct-v0.3"
_FOLDER: Final = Path(__file__).parent / "manifests"
DATA_SUFFIXES: Final = frozenset({".safetensors", ".json", ".model", ".txt"})  # formats that cannot run code when read

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class PinnedFile(BaseModel):
    """One file. `name` is its path inside the model's folder; `size` is in bytes, or None where nobody recorded it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sha256: Sha256
    size: int | None = Field(ge=0)

    @field_validator("name")
    @classmethod
    def _data_inside_the_folder(cls, name: str) -> str:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise ValueError(f"{name} lies outside the model's folder")
        if path.suffix not in DATA_SUFFIXES:
            raise ValueError(
                f"{name} is refused: only {', '.join(sorted(DATA_SUFFIXES))} are loaded, because pickles (.bin, .pt) "
                "and scripts (.py) run code"
            )
        return name


class Manifest(BaseModel):
    """One model. `origin` says, for auditors, where the digests come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    license: str
    origin: str
    files: tuple[PinnedFile, ...] = Field(min_length=1)

    @property
    def size(self) -> int:
        """Bytes of all files whose size is on record."""
        return sum(file.size or 0 for file in self.files)

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 by file name."""
        return {file.name: file.sha256 for file in self.files}

    @property
    def folder_name(self) -> str:
        """Where a cache keeps it: one folder per model and revision, so that a new revision replaces nothing."""
        return f"{self.repository.replace('/', '--')}/{self.revision}"


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file. Raises `WeightsRejected` for one that is not valid, or that names a file with code."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WeightsRejected(f"the manifest {path} is not valid: {where}: {first['msg']}; correct it") from error


@cache
def pinned_models() -> tuple[Manifest, ...]:
    """All models with pinned files, by name."""
    manifests = (read_manifest(path) for path in _FOLDER.glob("*.json"))
    return tuple(sorted(manifests, key=lambda manifest: manifest.repository.lower()))


def manifest_of(model: str) -> Manifest:
    """The manifest of a repository, or of its name without the owner; case does not count.

    Raises:
        ConfigurationError: no such model is pinned.
    """
    for manifest in pinned_models():
        if model.lower() in (manifest.repository.lower(), manifest.repository.lower().partition("/")[2]):
            return manifest
    known = ", ".join(manifest.repository for manifest in pinned_models())
    raise ConfigurationError(f"{json.dumps(model)} has no pinned files; models with pinned files are: {known}")
