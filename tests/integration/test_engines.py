"""What every engine promises, with a tiny Mistral on the processor."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from llama_index.llms.huggingface import HuggingFaceLLM

from rag.errors import Busy, ModelError, QuestionError
from rag.models.engine import Decoding, Engine, Finished, Generation, GenerationRequest, Piece
from rag.models.engine_llm import MistralLLM
from rag.models.engines.loading import LoadedModel, Quantization, load_model
from rag.models.engines.opening import Backend, EngineOptions, open_engine
from rag.models.engines.slots import SlotsEngine

OPTIONS = EngineOptions(
    slots=4, queue_limit=8, context_window=300, quantization="none", device="cpu", precision="float32", chunk_tokens=16
)
BACKENDS: tuple[Backend, ...] = ("slots", "continuous", "static")
PROMPTS = [f"{'The bank answers. ' * n}What does the {word} cost?" for n in (0, 3, 7) for word in ("card", "€ account")]

Open = Callable[..., Engine]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each of the back ends."""
    name: Backend = request.param
    return name


@pytest.fixture
async def start(tiny_mistral: Path, backend: Backend) -> AsyncIterator[Open]:
    """`start(slots=2)`: an engine of this back end over the tiny model, closed after the test."""
    opened: list[Engine] = []

    def begin(**options: Any) -> Engine:
        opened.append(open_engine(tiny_mistral, replace(OPTIONS, backend=backend, **options)))
        return opened[-1]

    yield begin
    for each in opened:
        await each.close()


def ask(engine: Engine, prompt: str = PROMPTS[0], **decoding: Any) -> Generation:
    """One request."""
    return engine.submit(GenerationRequest(prompt, Decoding(**decoding)))


async def finish(generation: Generation) -> tuple[str, Finished]:
    """The whole text, and how it ended."""
    text = ""
    async for event in generation:
        if isinstance(event, Finished):
            return text, event
        text += event.text
    raise AssertionError("a generation must end with Finished")


async def first_piece(generation: Generation) -> Piece:
    """Wait until it has begun."""
    async for event in generation:
        assert isinstance(event, Piece), event
        return event
    raise AssertionError("nothing came")


def plain(loaded: LoadedModel, prompt: str, tokens: int) -> str:
    """What `generate` says, alone. The engine leaves an incomplete last character out."""
    ids = torch.tensor([loaded.prompt_tokens(prompt)])
    with torch.inference_mode():
        output = loaded.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, pad_token_id=0
        )
    return loaded.decode(output[0, ids.shape[1] :].tolist()).removesuffix("�")


@pytest.mark.proves("AISVS 5.3.1")
@pytest.mark.parametrize("quantization", ["none", "nf4"])
async def test_concurrent_greedy_texts_are_those_of_generate_alone(start: Open, quantization: Quantization) -> None:
    engine = start(quantization=quantization)
    lengths = [8 + 5 * n for n in range(len(PROMPTS))]
    asked = [ask(engine, prompt, max_tokens=n) for prompt, n in zip(PROMPTS, lengths, strict=True)]
    texts = [text for text, _ in await asyncio.gather(*map(finish, asked))]
    loaded = engine.loaded  # type: ignore[attr-defined] # what these engines have beyond the contract
    assert texts == [plain(loaded, prompt, n) for prompt, n in zip(PROMPTS, lengths, strict=True)]


async def test_concurrent_greedy_texts_are_those_of_llamaindex_huggingface(start: Open) -> None:
    engine = start()
    loaded: LoadedModel = engine.loaded  # type: ignore[attr-defined]
    peer = HuggingFaceLLM(
        model=loaded.model, tokenizer=loaded.tokenizer, context_window=300, max_new_tokens=24,
        generate_kwargs={"do_sample": False, "pad_token_id": 0}, is_chat_model=False,
    )  # fmt: skip
    expected = []
    for prompt in PROMPTS:
        alone = loaded.tokenizer.decode(loaded.prompt_tokens(prompt)).removeprefix("<s>")  # its tokeniser adds one
        expected.append(peer.complete(alone, formatted=True).text.removesuffix("�"))
    ours = MistralLLM(engine=engine, decoding=Decoding(max_tokens=24))
    answers = await asyncio.gather(*(ours.acomplete(prompt) for prompt in PROMPTS))
    assert [each.text for each in answers] == expected


async def test_usage_says_what_was_computed_and_shared(start: Open) -> None:
    engine = start(slots=1)
    _, first = await finish(ask(engine, PROMPTS[-1], max_tokens=4))
    _, second = await finish(ask(engine, PROMPTS[-2], max_tokens=4))
    assert first.usage.prompt_tokens == engine.count_tokens(PROMPTS[-1])
    assert (first.usage.cached_tokens, first.usage.completion_tokens) == (0, 4)
    if engine.name == "slots":
        assert second.usage.cached_tokens > 50
    assert (first.reason, engine.stats().completed, engine.stats().running) == ("length", 2, 0)


async def test_a_cancelled_generation_gives_its_slot_to_the_next_one(start: Open) -> None:
    engine = start(slots=1)
    long = ask(engine, max_tokens=250)
    await first_piece(long)
    waiting = ask(engine, PROMPTS[1], max_tokens=5)
    long.cancel()
    _, cancelled = await finish(long)
    _, next_one = await finish(waiting)
    assert (cancelled.reason, next_one.reason) == ("cancelled", "length")
    assert cancelled.usage.completion_tokens < 250
    assert (engine.stats().cancelled, engine.stats().completed) == (1, 1)


async def test_cancelling_while_waiting_is_an_end_too(start: Open) -> None:
    engine = start(slots=1)
    running, waiting = ask(engine, max_tokens=200), ask(engine, max_tokens=200)
    waiting.cancel()
    waiting.cancel()
    assert (await finish(waiting))[1].reason == "cancelled"
    running.cancel()


async def test_a_full_queue_is_busy(start: Open) -> None:
    engine = start(slots=1, queue_limit=1)
    asked = [ask(engine, max_tokens=200), ask(engine, max_tokens=200)]
    with pytest.raises(Busy, match="queue is full"):
        ask(engine)
    for each in asked:
        each.cancel()
    assert (await finish(ask(engine, max_tokens=2)))[1].reason == "length"


@pytest.mark.proves("AISVS 2.1.4")
async def test_a_prompt_longer_than_the_window_is_the_users_error(start: Open) -> None:
    engine = start()
    with pytest.raises(QuestionError, match="too many for a window of 300"):
        ask(engine, "fee " * 300)
    assert engine.stats().waiting == 0


async def test_a_prompt_that_just_fits_is_generated_to_the_end_of_the_window(start: Open) -> None:
    engine = start()
    room = engine.context_window - engine.count_tokens(PROMPTS[4])
    _, finished = await finish(ask(engine, PROMPTS[4], max_tokens=room))
    assert finished.usage.completion_tokens == room
    with pytest.raises(QuestionError):
        ask(engine, PROMPTS[4], max_tokens=room + 1)


@pytest.mark.proves("LLM10", "AISVS 7.1.2")
async def test_a_deadline_ends_a_request_and_frees_its_slot(start: Open) -> None:
    engine = start(slots=1)
    running = ask(engine, max_tokens=200)
    late = engine.submit(GenerationRequest(PROMPTS[0], Decoding(max_tokens=200), deadline_seconds=0.0))
    _, finished = await finish(late)
    assert (finished.reason, finished.detail) == ("deadline", "not finished within 0 s")
    running.cancel()
    assert (await finish(ask(engine, max_tokens=2)))[1].reason == "length"


@pytest.mark.proves("AISVS 7.1.2")
async def test_generation_ends_before_a_stop_string_across_the_borders_of_tokens(start: Open) -> None:
    engine = start()
    text, _ = await finish(ask(engine, PROMPTS[2], max_tokens=40))
    middle = len(text) // 2
    for start_at, width in ((middle, 6), (middle + 1, 3), (middle - 3, 9)):
        stop = text[start_at : start_at + width]
        stopped, finished = await finish(ask(engine, PROMPTS[2], max_tokens=40, stop=("never", stop)))
        assert stopped == text[: text.index(stop)]
        assert finished.reason == "stop"


async def test_a_seed_repeats_whatever_else_is_generated(start: Open, backend: Backend) -> None:
    engine = start()
    if backend == "continuous":
        with pytest.raises(QuestionError, match="greedily only"):
            ask(engine, temperature=1.5, seed=7)
        return
    alone, _ = await finish(ask(engine, max_tokens=20, temperature=1.5, top_p=0.95, seed=7))
    others = [ask(engine, prompt, max_tokens=20, temperature=1.5) for prompt in PROMPTS[:2]]
    again, other = await asyncio.gather(
        finish(ask(engine, max_tokens=20, temperature=1.5, top_p=0.95, seed=7)),
        finish(ask(engine, max_tokens=20, temperature=1.5, top_p=0.95, seed=8)),
    )
    await asyncio.gather(*map(finish, others))
    assert again[0] == alone != other[0]


async def test_after_closing_nothing_can_be_submitted_and_what_ran_is_cancelled(start: Open) -> None:
    engine = start()
    running = ask(engine, max_tokens=200)
    await engine.close()
    assert (await finish(running))[1].reason == "cancelled"
    with pytest.raises(ModelError, match="closed"):
        ask(engine)


class Broken:
    """A model that works until `fault` is set; then each call does that."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.fault: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, **inputs: Any) -> Any:
        if self.fault is not None:
            self.fault()
        return self._model(**inputs)


@pytest.fixture
def broken(tiny_mistral: Path) -> tuple[SlotsEngine, Broken]:
    """An engine whose model can be broken."""
    loaded = load_model(tiny_mistral, "none", "cpu", "float32")
    model = Broken(loaded.model)
    return SlotsEngine(replace(loaded, model=model), 2, 2, 300), model


async def test_a_crash_fails_all_requests_and_later_ones_are_refused(broken: tuple[SlotsEngine, Broken]) -> None:
    engine, model = broken
    both_submitted = threading.Event()

    def crash() -> None:
        assert_set(both_submitted)
        raise RuntimeError("CUDA error: device-side assert triggered")

    model.fault = crash
    asked = [ask(engine), ask(engine, PROMPTS[1])]
    both_submitted.set()
    for _, finished in await asyncio.gather(*map(finish, asked)):
        assert finished.reason == "failed"
        assert "slots stopped: RuntimeError: CUDA error" in finished.detail
    with pytest.raises(ModelError, match="restart the service"):
        ask(engine)
    assert engine.stats().failed == 2
    await engine.close()


async def test_a_model_that_hangs_is_ended_by_the_deadline_between_tokens(broken: tuple[SlotsEngine, Broken]) -> None:
    engine, model = broken
    go_on = threading.Event()
    generation = engine.submit(GenerationRequest(PROMPTS[0], Decoding(max_tokens=200), token_deadline_seconds=0.2))
    await first_piece(generation)
    model.fault = lambda: assert_set(go_on)
    _, finished = await finish(generation)
    assert (finished.reason, finished.detail) == ("deadline", "no token within 0.2 s")
    model.fault = None
    go_on.set()
    assert (await finish(ask(engine, max_tokens=3)))[1].reason == "length"
    await engine.close()


def assert_set(event: threading.Event) -> None:
    """Wait, but not for ever."""
    assert event.wait(timeout=60)
