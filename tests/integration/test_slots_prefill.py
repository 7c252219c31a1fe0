"""How the engine of slots computes prompts: several in one pass, never too much at once, nothing twice."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from rag.models.engine import Decoding, Finished, Generation, GenerationRequest
from rag.models.engines.loading import LoadedModel, load_model
from rag.models.engines.slots import SlotsEngine

WINDOW = 300
SHORT = [f"{word} costs what?" for word in ("A card", "An account", "One transfer", "The box")]


class Watched:
    """A model that notes the rows and the width of every pass, and waits before each one while it is held."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.passes: list[tuple[int, int]] = []
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, **inputs: Any) -> Any:
        self.entered.set()
        assert self.go.wait(timeout=60)
        rows, width = inputs["input_ids"].shape
        self.passes.append((rows, width))
        return self._model(**inputs)

    @property
    def prefills(self) -> list[tuple[int, int]]:
        """The passes that were not a step of one token for each."""
        return [(rows, width) for rows, width in self.passes if width > 1]


Start = Callable[..., tuple[SlotsEngine, Watched]]


@pytest.fixture
async def start(tiny_mistral: Path) -> AsyncIterator[Start]:
    """`start(chunk_tokens=64)`: an engine over a watched tiny model, closed after the test."""
    opened: list[SlotsEngine] = []

    def begin(chunk_tokens: int, slots: int = 4) -> tuple[SlotsEngine, Watched]:
        loaded = load_model(tiny_mistral, "none", "cpu", "float32")
        model = Watched(loaded.model)
        opened.append(SlotsEngine(replace(loaded, model=model), slots, 30, WINDOW, chunk_tokens))
        return opened[-1], model

    yield begin
    for each in opened:
        await each.close()


def ask(engine: SlotsEngine, prompt: str, tokens: int) -> Generation:
    """One greedy request."""
    return engine.submit(GenerationRequest(prompt, Decoding(max_tokens=tokens)))


async def finish(generation: Generation) -> tuple[str, Finished]:
    """The whole text, and how it ended."""
    text = ""
    async for event in generation:
        if isinstance(event, Finished):
            return text, event
        text += event.text
    raise AssertionError("a generation must end with Finished")


async def together(
    engine: SlotsEngine, model: Watched, asked: list[tuple[str, int]], ahead: tuple[str, int] = ("Ready?", 1)
) -> list[tuple[str, Finished]]:
    """All of them wait when the engine looks at its queue: another request holds it up until they are there."""
    model.entered.clear()
    model.go.clear()
    first = ask(engine, *ahead)
    assert await asyncio.to_thread(model.entered.wait, 60)
    generations = [ask(engine, *each) for each in asked]
    model.passes.clear()
    model.go.set()
    await finish(first)
    return list(await asyncio.gather(*map(finish, generations)))


def plain(loaded: LoadedModel, prompt: str, tokens: int) -> str:
    """What `generate` says, alone. The engine leaves an incomplete last character out."""
    ids = torch.tensor([loaded.prompt_tokens(prompt)])
    with torch.inference_mode():
        output = loaded.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, pad_token_id=0
        )
    return loaded.decode(output[0, ids.shape[1] :].tolist()).removesuffix("�")


@pytest.mark.parametrize("chunk_tokens", [1, 7, 60, 150, 512])
async def test_any_mixture_of_lengths_says_what_generate_says_alone(start: Start, chunk_tokens: int) -> None:
    engine, model = start(chunk_tokens)
    chance = random.Random(chunk_tokens)
    words = [
        "fee",
        "bank",
        "error",
        "account",
        "day",
        "branch",
        "overdraft",
        "business",
        "monthly",
        "closed",
        "card",
        "€",
    ]
    asked = []
    for number in range(14):
        shared = "The bank answers questions about its accounts. " * chance.choice([0, 0, 3])
        own = " ".join(chance.choice(words) for _ in range(chance.choice([2, 8, 9, 25])))
        asked.append((f"{shared}{number} {own}", chance.randrange(1, 20)))
    texts = [text for text, _ in await together(engine, model, asked)]
    loaded = replace(engine.loaded, model=engine.loaded.model._model)
    assert texts == [plain(loaded, *each) for each in asked]
    assert all(rows * width <= chunk_tokens for rows, width in model.prefills)


async def test_waiting_prompts_of_about_one_length_are_computed_in_one_pass(start: Start) -> None:
    engine, model = start(chunk_tokens=256)
    await together(engine, model, [(prompt, 3) for prompt in SHORT[:3]])
    assert [rows for rows, _ in model.prefills[1:]] == [3]


async def test_a_short_prompt_is_not_padded_to_a_long_one(start: Start) -> None:
    engine, model = start(chunk_tokens=512)
    await together(engine, model, [(SHORT[0], 3), ("overdraft " * 20, 3), (SHORT[1], 3)])
    assert [rows for rows, _ in model.prefills[1:]] == [2, 1]


async def test_a_running_stream_gets_a_token_after_every_block(start: Start) -> None:
    engine, model = start(chunk_tokens=24)
    await together(engine, model, [("overdraft " * 20, 2), *((each, 2) for each in SHORT)], ahead=("Ready?", 60))
    kinds = ["prefill" if width > 1 else "token" for _, width in model.passes]
    assert kinds.count("prefill") > 4
    assert ("prefill", "prefill") not in set(pairwise(kinds))


async def test_a_beginning_that_waiting_prompts_share_is_computed_once(start: Start) -> None:
    engine, model = start(chunk_tokens=512)
    rules = "The bank answers questions about its accounts. " * 4
    ended = await together(engine, model, [(f"{rules}{prompt}", 2) for prompt in SHORT])
    cached = [finished.usage.cached_tokens for _, finished in ended]
    assert cached[0] < 10
    assert min(cached[1:]) > 50
    assert [rows for rows, _ in model.prefills[1:]] == [1, 3]


async def test_leaving_while_the_prompt_is_computed_harms_nobody(start: Start) -> None:
    engine, model = start(chunk_tokens=256)
    model.go.clear()
    leaving = ask(engine, SHORT[0], 50)
    assert await asyncio.to_thread(model.entered.wait, 60)
    leaving.cancel()
    staying = ask(engine, SHORT[1], 5)
    model.go.set()
    assert (await finish(leaving))[1].reason == "cancelled"
    assert (await finish(staying))[1].reason == "length"
