"""Speed of the text engines, next to one request after the other and to static batches: `make bench-llm`.

Random weights, so that no download is needed; speed does not depend on what the weights say. On a CUDA card the shape
is that of Mistral-7B in 4 bit; on a processor a small one in float32, with fewer and shorter requests, so that the
figures compare engines and say nothing about a real model. Where others use the processor, compare by CPU seconds.
"""

from __future__ import annotations

import asyncio
import copy
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import psutil
import torch

from rag.models.engine import Decoding, Engine, Finished, GenerationRequest
from rag.models.engines.continuous import ContinuousEngine
from rag.models.engines.loading import LoadedModel, Quantization, load_model
from rag.models.engines.slots import SlotsEngine
from rag.models.engines.static import StaticEngine
from rag.testing_models import Shape, make_tiny_mistral

MISTRAL_7B: Final = Shape(4096, 32, 32, 8, 14336, 512, 32768, 32768)
SMALL: Final = Shape(512, 8, 8, 2, 1792, 512, 4096, 8192)
WEIGHTS_OF_A_LAYER: Final = 9  # of attention 4, of the feed-forward network 3, of norms 2
# GB/s, from the makers' data sheets; by the beginning of the name that the driver gives.
BANDWIDTH: Final = {"Tesla V100": 900, "Tesla T4": 320, "NVIDIA A100-SXM4-80GB": 2039, "NVIDIA H100 80GB HBM3": 3350}


@dataclass(frozen=True, slots=True)
class Load:
    """Requests that arrive together. Lengths in tokens."""

    prompt: int
    new: int
    together: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What one load took, in seconds: on the clock, of all processors, to each first token, and to each end."""

    wall: float
    cpu: float
    tokens: int
    first: tuple[float, ...]
    finished: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Useful tokens per second: those that were asked for, not padding."""
        return self.tokens / self.wall


@click.command()
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda")
@click.option("--seconds", default=240.0, show_default=True, help="start no further measurement after this long")
@click.option("--together", type=int, multiple=True, help="only the loads of so many requests at once; repeatable")
def main(device: str, seconds: float, together: tuple[int, ...]) -> None:
    """Print the tables in Markdown."""
    torch.set_grad_enabled(False)
    began = time.perf_counter()
    cuda = torch.cuda.is_available() if device == "auto" else device.startswith("cuda")
    with tempfile.TemporaryDirectory() as folder:
        size: tuple[Shape, Quantization, str] = (MISTRAL_7B, "nf4", "cuda") if cuda else (SMALL, "none", "cpu")
        loaded, load_seconds = _load(Path(folder), *size)
    click.echo(_machine(loaded, cuda, load_seconds))
    loads = _loads(cuda)
    if not together:
        _mixed(loaded, loads[1], 8)
    click.echo(_header(cuda))
    for load in [each for each in loads if not together or each.together in together]:
        for engine_name in ("one by one", "static", "continuous", "slots"):
            if time.perf_counter() - began > seconds:
                click.echo(f"\nStopped after {seconds:g} s; what is not in the table was not measured.")
                return
            if engine_name == "one by one" and not cuda and load.together > 8:
                continue  # the rate is that of fewer requests, and the wait grows with their number
            if engine_name == "static" and load.together == 1:
                continue  # a batch of one is one by one
            measured = _measure(loaded, engine_name, [(load.prompt, load.new)] * load.together)
            click.echo(_row(load, engine_name, measured, _share(load, measured, loaded) if cuda else None))


def _loads(cuda: bool) -> list[Load]:  # noqa: FBT001 - whether a card is there
    """From light to heavy, so that the time goes out where it is missed least. The processor's are a tenth."""
    lengths = ((400, 80), (1500, 150)) if cuda else ((60, 12), (150, 20))
    return [Load(*each, together) for together in (1, 8, 32, 64) for each in lengths]


def _load(folder: Path, shape: Shape, quantization: Quantization, device: str) -> tuple[LoadedModel, float]:
    """One layer is written, loaded (and quantised) as any model is; the others are clones with memory of their own.

    Also the seconds from the files to the last clone. A real model takes longer: all its layers are read from the disk.
    """
    make_tiny_mistral(folder / "random", shape=replace(shape, layers=1))
    began = time.perf_counter()
    loaded = load_model(folder / "random", quantization, device)
    layers = loaded.model.model.layers
    for number in range(1, shape.layers):
        clone = copy.deepcopy(layers[0])
        clone.self_attn.layer_idx = number
        layers.append(clone)
    places = {each.weight.data_ptr() for layer in layers for each in layer.modules() if hasattr(each, "weight")}
    if len(places) != shape.layers * WEIGHTS_OF_A_LAYER:
        raise AssertionError("every layer must have weights of its own, as in a real model")
    loaded.model.config.num_hidden_layers = shape.layers
    # A random model may say at any time that it has finished: without tokens of the end every length is the asked one.
    return replace(loaded, end_tokens=frozenset()), time.perf_counter() - began


def _open(loaded: LoadedModel, name: str, slots: int, window: int) -> Engine:
    if name == "one by one":
        return StaticEngine(loaded, 1, 1000, window)
    if name == "static":
        return StaticEngine(loaded, slots, 1000, window)
    return (SlotsEngine if name == "slots" else ContinuousEngine)(loaded, slots, 1000, window)


def _measure(loaded: LoadedModel, name: str, lengths: Sequence[tuple[int, int]], slots: int = 32) -> Measured:
    """All requests at once. Their prompts share nothing but the template, so that nobody is helped by it."""
    prompts = [_prompt(loaded, prompt, number) for number, (prompt, _) in enumerate(lengths)]
    window = max(prompt + new for prompt, new in lengths) + 32
    engine = _open(loaded, name, min(slots, len(lengths)), window)

    async def one(prompt: str, new: int) -> Finished:
        generation = engine.submit(GenerationRequest(prompt, Decoding(max_tokens=new), 3600.0, 3600.0))
        async for event in generation:
            if isinstance(event, Finished):
                return event
        raise AssertionError("a generation must end with Finished")

    async def everything() -> tuple[list[Finished], float, float]:
        await one("warm up", 2)
        began, cpu = time.perf_counter(), time.process_time()
        ended = await asyncio.gather(*(one(p, new) for p, (_, new) in zip(prompts, lengths, strict=True)))
        took = time.perf_counter() - began, time.process_time() - cpu
        await engine.close()
        return ended, *took

    ended, wall, cpu = asyncio.run(everything())
    tokens = sum(each.usage.completion_tokens for each in ended)
    if tokens != sum(new for _, new in lengths):
        raise AssertionError(f"{name} made {tokens} tokens: {[each.detail for each in ended if each.detail]}")
    first = tuple(each.first_token_seconds or 0.0 for each in ended)
    return Measured(wall, cpu, tokens, first, tuple(each.total_seconds for each in ended))


def _prompt(loaded: LoadedModel, tokens: int, number: int) -> str:
    """Words of a number's own order, as many as make about `tokens`."""
    words = ["fee", "bank", "error", "account", "day", "branch", "overdraft", "business", "monthly", "closed"]
    chance = random.Random(number)  # noqa: S311 - repeatable on purpose
    text = " ".join(chance.choice(words) for _ in range(tokens))
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"][: tokens - 6]
    return f"{number} {loaded.decode(ids)}"


def _header(cuda: bool) -> str:  # noqa: FBT001
    names = ["prompt + new", "together", "engine", "useful tokens/s", "per CPU s", "first token p50 / p95, s"]
    names += ["mean to the end, s", *(["of the bandwidth limit while decoding"] if cuda else [])]
    return f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}"


def _row(load: Load, name: str, measured: Measured, share: str | None) -> str:
    """`share` is the last cell of a card's table; None is for a processor's, which lacks it."""
    p50, p95 = np.percentile(measured.first, [50, 95])
    cells = [f"{load.prompt} + {load.new}", f"{load.together}", name, f"{measured.rate:.1f}"]
    cells += [f"{measured.tokens / measured.cpu:.1f}", f"{p50:.2f} / {p95:.2f}", f"{np.mean(measured.finished):.2f}"]
    return f"| {' | '.join(cells if share is None else [*cells, share])} |"


def _share(load: Load, measured: Measured, loaded: LoadedModel) -> str:
    """The share of the bandwidth limit: a step reads all weights but the embedding, and the cache, once."""
    bandwidth = _bandwidth(torch.cuda.get_device_name())
    if load.together not in (1, 32) or bandwidth is None:
        return "-"
    config = loaded.model.config
    embedding = loaded.model.model.embed_tokens.weight
    weights = loaded.memory_bytes - embedding.numel() * embedding.element_size()
    per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * embedding.element_size()
    step = (weights + load.together * (load.prompt + load.new / 2) * per_token) / (bandwidth * 1e9)
    decoding = measured.wall - max(measured.first)
    return f"{step * (load.new - 1) / max(decoding, 1e-9):.0%}"


def _bandwidth(name: str) -> int | None:
    return next((BANDWIDTH[each] for each in BANDWIDTH if name.startswith(each)), None)


def _mixed(loaded: LoadedModel, load: Load, slots: int) -> None:
    """Lengths that differ, as those of answers do: what a static batch loses by waiting for its longest."""
    chance = random.Random(0)  # noqa: S311 - repeatable on purpose
    lengths = [(load.prompt // 2, chance.randrange(load.new // 5, load.new * 3)) for _ in range(24)]
    rates = {name: _measure(loaded, name, lengths, slots) for name in ("static", "continuous", "slots")}
    click.echo(
        f"\nMixed lengths, {len(lengths)} requests of {load.prompt // 2} + {load.new // 5} to {load.new * 3 - 1} "
        f"tokens, {slots} slots:\n"
    )
    click.echo(
        "| engine | useful tokens/s | per CPU s | times static by CPU | mean to the end, s |\n|---|---|---|---|---|"
    )
    for name, each in rates.items():
        ratio = (each.tokens / each.cpu) / (rates["static"].tokens / rates["static"].cpu)
        click.echo(
            f"| {name} | {each.rate:.1f} | {each.tokens / each.cpu:.1f} | {ratio:.2f} | {np.mean(each.finished):.2f} |"
        )


def _machine(loaded: LoadedModel, cuda: bool, load_seconds: float) -> str:  # noqa: FBT001
    config: Any = loaded.model.config
    shape = (
        f"{config.num_hidden_layers} layers of {config.hidden_size}, {config.num_attention_heads} heads, "
        f"{config.num_key_value_heads} for keys and values, {config.vocab_size} tokens"
    )
    memory = (
        f"weights {loaded.memory_bytes / 2**20:.0f} MiB, in {load_seconds:.1f} s (one layer read from the disk and the "
        "others cloned in memory, so not the time to load a real model)"
    )
    if cuda:
        where = f"{torch.cuda.get_device_name()}, {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB used at most"
    else:
        busy = psutil.getloadavg()[0]
        where = (
            f"no GPU: {torch.get_num_threads()} threads of {psutil.cpu_count()} processors, load average {busy:.1f}; "
            f"{psutil.Process().memory_info().rss / 2**20:.0f} MiB resident"
        )
    return f"Random weights, {shape}, {'nf4' if cuda else 'float32'}, {memory}. {where}."


if __name__ == "__main__":
    main()
