"""Where the files of a pinned model lie on this machine, and the one way to a folder that may be loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rag.errors import ModelError, WeightsRejected
from rag.models.checking import Fault, check, check_size
from rag.models.manifest import Manifest, manifest_of
from rag.models.weights import HUB_NAME, hub_cache_folder, package_folder
from rag.settings import Settings

logger = logging.getLogger(__name__)

Kind = Literal["configured folder", "cache", "package", "hub cache"]


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that holds some of the model's files. Nothing is known of their content yet."""

    kind: Kind
    folder: Path


def cache_folder(manifest: Manifest, settings: Settings) -> Path:
    """Where `banksight models pull` puts the model."""
    return settings.weights_cache / manifest.folder_name


def places_with_files(manifest: Manifest, settings: Settings) -> tuple[Place, ...]:
    """Configured folder (MiniLM), cache, package (MiniLM), hub cache: those that hold any of the model's files."""
    return tuple(
        place
        for place in _places(manifest, settings)
        if any((place.folder / file.name).is_file() for file in manifest.files)
    )


def find_place(manifest: Manifest, settings: Settings) -> Place | None:
    """The first place with all files, else the first with any; None when there is none.

    The configured folder is taken even with a part of them: somebody meant that one.
    """
    places = places_with_files(manifest, settings)
    for place in places:
        if place.kind == "configured folder" or not faults_of_size(place, manifest):
            return place
    return places[0] if places else None


def faults_of_size(place: Place, manifest: Manifest) -> tuple[Fault, ...]:
    """The files that are missing or have another size: what can be told at once."""
    faults = (check_size(place.folder / file.name, file) for file in manifest.files)
    return tuple(fault for fault in faults if fault)


def verified_folder(model: str, settings: Settings) -> Path:
    """The folder with the model's files, after the digest of each was found as pinned; safe to load from.

    Reads every byte: 14.5 GB for Mistral-7B, which a load would read anyway. The network is never asked.

    Raises:
        ConfigurationError: the model has no pinned files.
        ModelError: the model is not on this machine.
        WeightsRejected: a file is missing, differs, or lies there without being pinned. The text names each.
    """
    manifest = manifest_of(model)
    place = find_place(manifest, settings)
    if place is None:
        raise ModelError(
            f"the model {manifest.repository} is not on this machine: "
            f"run `banksight models pull {manifest.repository}`, or set CACHE_DIR to a folder that holds it"
        )
    if faults := check(place.folder, manifest):
        raise WeightsRejected(
            f"{manifest.repository} in {place.folder} ({place.kind}) is not the pinned model, and nothing was loaded: "
            + "; ".join(str(fault) for fault in faults)
            + f"; run `banksight models pull {manifest.repository}` to replace what is wrong"
        )
    logger.info("%s is as pinned in %s", manifest.repository, place.kind)
    return place.folder


def _places(manifest: Manifest, settings: Settings) -> Iterator[Place]:
    if manifest.repository == HUB_NAME and settings.embedding.weights_dir:
        yield Place("configured folder", Path(settings.embedding.weights_dir))
    yield Place("cache", cache_folder(manifest, settings))
    if manifest.repository == HUB_NAME and (folder := package_folder()):
        yield Place("package", folder)
    if folder := hub_cache_folder(manifest.repository, manifest.revision):
        yield Place("hub cache", folder)
