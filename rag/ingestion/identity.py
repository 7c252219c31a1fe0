"""What an index was made with: an index never mixes vectors of two encoders or chunks of two splittings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from rag.errors import IndexMismatch
from rag.settings import SplittingSettings

if TYPE_CHECKING:
    from rag.storage.registry import Registry

Remembering = Literal["keep", "compare", "replace", "leave"]

# Whatever makes the same page give other chunks changes this; indexes then ask to be rebuilt.
SPLITTING_VERSION: Final = "2"


def index_identity(encoder: str, splitting: SplittingSettings) -> dict[str, str]:
    """Keys and values of the registry's state table. `encoder` is its fingerprint."""
    cut = f"{SPLITTING_VERSION}, {splitting.window_tokens} tokens, {splitting.overlap_tokens} of overlap"
    return {"encoder": encoder, "splitting": cut}


def remember(registry: Registry, encoder: str, splitting: SplittingSettings, mode: Remembering) -> None:
    """An index never mixes vectors of two encoders or chunks of two splittings. Raises `IndexMismatch`.

    `keep` writes down what makes an index that is empty, `compare` writes nothing, `leave` does not even look.
    """
    for key, value in index_identity(encoder, splitting).items():
        stored = registry.value(key)
        if mode == "replace" or (mode == "keep" and (stored is None or not registry.totals()["chunks"])):
            registry.set_value(key, value)
        elif mode != "leave" and stored not in (None, value):
            raise IndexMismatch(
                f"this index was made with {key} {stored}, and this installation has {value}; "
                "run `banksight ingest --rebuild` to make it anew, or start the version that made it"
            )
