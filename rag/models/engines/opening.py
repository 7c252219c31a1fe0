"""The engine for a model folder on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rag.models.engine import Engine
from rag.models.engines.loading import Precision, Quantization, load_model

Backend = Literal["auto", "slots", "continuous", "static"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a model is run.

    `slots` requests are generated at the same time and `queue_limit` more may wait. `context_window` is the most tokens
    that prompt and completion have together; the cache takes `slots` × `context_window` × the bytes per token of the
    model (128 KiB for Mistral-7B). `device` is `auto`, `cpu`, `cuda` or `cuda:1`. `precision` `auto` is bfloat16 where
    the device has it, else float16 on cards and float32 on processors. At most `chunk_tokens` of prompts are computed
    between two tokens of the others.
    """

    backend: Backend = "auto"
    slots: int = 8
    queue_limit: int = 32
    context_window: int = 4096
    quantization: Quantization = "nf4"
    device: str = "auto"
    precision: Precision = "auto"
    chunk_tokens: int = 512


def open_engine(folder: Path, options: EngineOptions = EngineOptions()) -> Engine:
    """Load the model in `folder` (again at no cost while another engine has it) and start an engine over it.

    Blocks until the model is loaded. `auto` is `slots`, see docs/adr/0008; `continuous` is for Ampere cards and
    later, and decodes greedily only; `static` makes plain batches. Raises `ModelError` with what to do.
    """
    from rag.models.engines.continuous import ContinuousEngine  # noqa: PLC0415 - what is opened decides what is needed
    from rag.models.engines.slots import SlotsEngine  # noqa: PLC0415
    from rag.models.engines.static import StaticEngine  # noqa: PLC0415

    loaded = load_model(folder, options.quantization, options.device, options.precision)
    sizes = (loaded, options.slots, options.queue_limit, options.context_window)
    if options.backend == "static":
        return StaticEngine(*sizes)
    if options.backend == "continuous":
        return ContinuousEngine(*sizes, options.chunk_tokens)
    return SlotsEngine(*sizes, options.chunk_tokens)
