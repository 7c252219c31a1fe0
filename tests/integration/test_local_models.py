"""Choosing a model in this process by configuration: through the real pipeline, with a tiny Mistral."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.llms import LLM

from rag.bootstrap import Workspace, open_workspace
from rag.errors import ConfigurationError, ModelError
from rag.models.engine_llm import EngineLLM
from rag.models.llms import close_llm, open_llm, open_named
from rag.query.events import AskRequest
from rag.settings import EngineName, Settings
from rag.testing_models import Shape, make_tiny_mistral

QUESTION = "Within how many business days shall an institution determine whether an error occurred?"
PLAIN = {"quantization": "none", "device": "cpu", "precision": "float32", "slots": 2, "context_window": 4096}
PATIENT = {"first_token_seconds": 25.0, "token_seconds": 25.0, "deadline_seconds": 25.0, "max_tokens": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Mistral with a window that our prompts fit."""
    return make_tiny_mistral(tmp_path_factory.mktemp("models") / "tiny", shape=Shape(window=4096))


@pytest.fixture
def local(make_settings: Callable[..., Settings], corpus_folder: Path) -> Callable[..., Settings]:
    """`local("mistral")`: settings that choose a model in this process."""

    def choose(engine: EngineName, **generation: Any) -> Settings:
        source = {"name": "rules", "kind": "filesystem", "collection": "regulations", "root": str(corpus_folder)}
        chosen = {"engine": engine, "mistral": PLAIN, **PATIENT, **generation}
        return make_settings(sources=[source], generation=chosen)

    return choose


@pytest.fixture
def opened(local: Callable[..., Settings], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`opened("mistral", ["extractive"])`: a workspace with it. The weights are random, so no digest is pinned."""
    monkeypatch.setattr("rag.bootstrap.verified_folder", lambda *_, **__: folder)
    workspaces: list[Workspace] = []

    def begin(engine: EngineName, fallback: list[EngineName]) -> Workspace:
        workspaces.append(open_workspace(local(engine, fallback=fallback)))
        workspaces[-1].ingest()
        return workspaces[-1]

    yield begin
    for each in workspaces:
        each.close()


@pytest.mark.parametrize("engine", ["mistral", "huggingface"])
def test_a_chosen_model_is_asked_and_its_noise_is_replaced_by_quotations(opened: Any, engine: EngineName) -> None:
    workspace = opened(engine, ["extractive"])
    answer = asyncio.run(workspace.pipeline.ask(AskRequest(QUESTION), workspace.principal()))
    assert [each.class_name() for each in workspace.pipeline.engines] == [engine, "extractive"]
    assert "10 business days" in answer.text
    assert (answer.engine, answer.degraded, answer.cacheable) == ("extractive", "unsupported", False)


def test_a_model_that_stopped_is_replaced_by_quotations(opened: Any) -> None:
    workspace = opened("mistral", ["extractive"])
    llm = workspace.pipeline.engines[0]
    assert isinstance(llm, EngineLLM)
    asyncio.run(llm.engine.close())
    answer = asyncio.run(workspace.pipeline.ask(AskRequest(QUESTION), workspace.principal()))
    assert (answer.engine, answer.degraded, answer.cacheable) == ("extractive", "failed", False)


def test_weights_that_are_not_here_end_the_opening_with_what_to_do(local: Callable[..., Settings]) -> None:
    with pytest.raises(ModelError, match=r"banksight models pull mistralai/Mistral-7B-Instruct-v0\.3"):
        open_workspace(local("mistral"))


def test_a_model_without_pinned_files_is_refused(local: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigurationError):
        open_workspace(local("mistral", mistral=PLAIN | {"model": "somebody/else"}))


def test_engines_that_do_not_generate_for_many_are_not_opened_as_such(local: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigurationError, match="extractive"):
        open_named("extractive", local("extractive").generation, lambda _: Path())


async def test_huggingface_writes_what_our_engine_writes(local: Callable[..., Settings], folder: Path) -> None:
    texts = []
    for name in ("huggingface", "mistral"):
        llm = open_llm(name, local(name).generation, None, lambda _: folder)  # type: ignore[arg-type] # no encoder
        streamed = [each async for each in await llm.astream_complete("What does the card cost?")]
        assert (await llm.acomplete("What does the card cost?")).text == streamed[-1].text
        texts.append("".join(each.delta or "" for each in streamed))
        await asyncio.to_thread(close_llm, llm)
    assert texts[0] == texts[1]
    assert texts[0]


async def test_huggingface_stops_when_nobody_reads_on(local: Callable[..., Settings], folder: Path) -> None:
    llm = huggingface(local, folder, max_tokens=3000)
    async with aclosing(await llm.astream_complete("What does the card cost?")) as stream:  # type: ignore[type-var]
        await anext(stream)
    for _ in range(200):
        if not generating():
            break
        await asyncio.sleep(0.05)
    assert not generating()


async def test_huggingface_says_that_its_model_failed(
    local: Callable[..., Settings], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = huggingface(local, folder)

    def broken(**_: Any) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(llm._loaded.model, "generate", broken)  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="RuntimeError"):
        await llm.acomplete("What does the card cost?")


def test_nothing_heavy_is_imported_unless_it_is_chosen() -> None:
    code = "import sys, rag.models.llms; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def huggingface(local: Callable[..., Settings], folder: Path, **generation: Any) -> LLM:
    return open_llm("huggingface", local("huggingface", **generation).generation, None, lambda _: folder)  # type: ignore[arg-type]


def generating() -> bool:
    return any(
        "generate" in getattr(getattr(each, "_target", None), "__qualname__", "") for each in threading.enumerate()
    )
