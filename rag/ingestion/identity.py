"""What an index was made with: an index never mixes vectors of two encoders or chunks of two splittings."""

from __future__ import annotations

from typing import Final

from rag.settings import SplittingSettings

# Whatever makes the same page give other chunks changes this; indexes then ask to be rebuilt.
SPLITTING_VERSION: Final = "2"


def index_identity(encoder: str, splitting: SplittingSettings) -> dict[str, str]:
    """Keys and values of the registry's state table. `encoder` is its fingerprint."""
    cut = f"{SPLITTING_VERSION}, {splitting.window_tokens} tokens, {splitting.overlap_tokens} of overlap"
    return {"encoder": encoder, "splitting": cut}
