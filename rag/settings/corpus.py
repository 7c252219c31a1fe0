"""Where documents come from, how they are read, indexed and found."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from rag.settings.section import Section


class SourceSettings(Section):
    """One source of documents."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    kind: Literal["filesystem"] = "filesystem"
    collection: str = Field(default="default", pattern=r"^[a-z0-9][a-z0-9_-]{0,30}$")
    root: Path
    include: tuple[str, ...] = ("**/*",)
    exclude: tuple[str, ...] = ()


class CollectionSettings(Section):
    """What a suite tunes for one body of documents."""

    dense_weight: float = Field(ge=0, le=1)


class ParsingSettings(Section):
    """Limits under which hostile files are parsed."""

    timeout_seconds: float = Field(gt=0)
    memory_mib: int = Field(gt=0)
    max_bytes: int = Field(gt=0)
    max_pages: int = Field(gt=0)
    max_characters: int = Field(gt=0)
    workers: int = Field(ge=1)


class SplittingSettings(Section):
    """Sizes of chunks in word pieces of the embedding model."""

    window_tokens: int = Field(ge=32, le=256)
    overlap_tokens: int = Field(ge=0)

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> SplittingSettings:
        if self.overlap_tokens * 2 > self.window_tokens:
            raise ValueError("overlap_tokens must be at most half of window_tokens")
        return self


class EmbeddingSettings(Section):
    """Which encoder, on which back end."""

    model: str
    weights_dir: str
    graph_dir: str
    query_backend: Literal["onnx", "sentence_transformers"]
    bulk_backend: Literal["auto", "openvino", "onnx", "sentence_transformers"]
    threads: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    batch_pieces: int = Field(ge=256)
    max_text_characters: int = Field(ge=1)
    serving: Literal["in_process", "service"]
    max_batch_latency_ms: int = Field(gt=0)


class ModelsSettings(Section):
    """Where the files of models are kept, and where they are pulled from."""

    cache_dir: str
    endpoint: str = Field(pattern=r"^https?://")


class StorageSettings(Section):
    """Where the registry and the vectors live."""

    database_url: str
    chroma: Literal["embedded", "server"]
    chroma_host: str
    chroma_port: int
    chroma_timeout_seconds: float = Field(gt=0)
    files_dir: str


class IngestionSettings(Section):
    """Which process ingests, how it batches, and when it stops to ask."""

    serving: Literal["in_process", "worker"]
    window_chunks: int = Field(ge=1, le=5000)
    mass_delete_share: float = Field(gt=0, le=1)
    mass_delete_floor: int = Field(ge=0)
    quarantine: Literal["hold", "off"]


class RetrievalSettings(Section):
    """How many candidates, how many passages, and the weight of a collection that has none of its own."""

    candidates: int = Field(ge=10, le=1000)
    top_k: int = Field(ge=1)
    max_top_k: int = Field(ge=1)
    dense_weight: float = Field(ge=0, le=1)
    name_weight: float = Field(ge=0, le=1)
    figure_hints: Literal["on", "off"]
