"""What an answer depends on besides question, asker and corpus: the engine, its weights, settings and rules."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from rag.errors import ConfigurationError
from rag.models.manifest import manifest_of
from rag.settings import Settings

_SECTIONS: Final = ("question", "retrieval", "verification", "streaming", "refusal", "contacts")
_OWN_WEIGHTS: Final = frozenset({"mistral", "huggingface"})


def conditions_of(settings: Settings, encoder: str) -> str:
    """A digest, the same on all nodes with the same software, models and settings. `encoder` is its fingerprint."""
    generation = settings.generation.model_dump(mode="json", exclude={"openai_compatible": {"api_key"}})
    facts: dict[str, Any] = {
        "software": _software(),
        "encoder": encoder,
        "generation": generation,
        "weights": _weights(settings),
        "collections": {name: each.model_dump(mode="json") for name, each in settings.collections.items()},
        **{name: getattr(settings, name).model_dump(mode="json") for name in _SECTIONS},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _weights(settings: Settings) -> dict[str, str]:
    """The pinned digests of the model that runs here; none for an engine without weights, or on another's server."""
    chosen = settings.generation
    if not _OWN_WEIGHTS & {chosen.engine, *chosen.fallback}:
        return {}
    try:
        return manifest_of(chosen.mistral.model).digests
    except ConfigurationError:  # a folder, whose name is among the settings
        return {}


@cache
def _software() -> str:
    """A digest of the code, templates and fitted models that make an answer of passages."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file() and "__pycache__" not in each.parts):
        digest.update(f"{path.relative_to(folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
