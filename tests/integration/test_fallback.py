"""When the model is down, slow or talks nonsense, the documents are quoted instead, with a notice, not for a cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseAsyncGen
from llama_index.core.llms import LLM

from rag.bootstrap import Workspace, open_workspace
from rag.domain import Answer
from rag.errors import Busy, ModelError, ModelTimeout
from rag.models.engine_llm import SimulatedLLM
from rag.models.engines.simulated import Faults, Pace, SimulatedEngine
from rag.query.events import AskRequest, StageFinished
from rag.query.pipeline import QueryPipeline
from rag.settings import load_settings
from rag.testing import ScriptedLLM

CORPUS = {
    "transfers.md": "# Electronic transfers\n\n## § 11 Procedures for resolving errors\n\nA financial institution "
    "shall determine whether an error occurred within 10 business days of receiving a notice of error. It shall report "
    "the results to the consumer within three business days after completing its investigation.\n",
    "opening-hours.txt": "Branches open at 9:00 and close at 16:30 on business days. They stay closed on holidays.\n",
}
QUESTION = "Within how many business days shall an institution determine whether an error occurred?"
TRUE = (
    "A financial institution shall determine whether an error occurred within 10 business days of receiving a notice "
    "of error. [1]"
)
LIMITS = {"first_token_seconds": 0.3, "token_seconds": 0.3, "deadline_seconds": 1.0, "breaker_failures": 2}


class Stalling(ScriptedLLM):
    """Says something, then nothing any more."""

    async def astream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponseAsyncGen:  # noqa: FBT001
        text = self.script.next(prompt)

        async def stream() -> AsyncGenerator[CompletionResponse, None]:
            if text:
                yield CompletionResponse(text=text, delta=text)
            await asyncio.sleep(3600)

        return stream()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    root = tmp_path_factory.mktemp("fallback")
    (root / "corpus").mkdir()
    for name, text in CORPUS.items():
        (root / "corpus" / name).write_text(text, encoding="utf-8")
    overrides: dict[str, Any] = {
        "data_dir": str(root / "data"),
        "sources": [{"name": "rules", "root": str(root / "corpus")}],
        "generation": {"engine": "simulated", "fallback": ["extractive"], **LIMITS}
        | {"simulated": {"tokens_per_second": 100_000, "first_token_seconds": 0}},
    }
    opened = open_workspace(load_settings("test", environment={}, overrides=overrides))
    try:
        assert not opened.ingest().failed
        yield opened
    finally:
        opened.close()


def answering(workspace: Workspace, llm: LLM, *, fallback: bool = True) -> QueryPipeline:
    return QueryPipeline(
        searcher=workspace.searcher,
        llm=llm,
        fallback=workspace.pipeline.engines[1:] if fallback else (),
        embedding=workspace.embedding,
        catalog=workspace.catalog,
        settings=workspace.settings,
        page=workspace.registry.page,
    )


def ask(workspace: Workspace, pipeline: QueryPipeline | None = None) -> Answer:
    return asyncio.run((pipeline or workspace.pipeline).ask(AskRequest(QUESTION), workspace.principal()))


def test_a_healthy_engine_answers_itself_with_its_counts_and_times(workspace: Workspace) -> None:
    answer = ask(workspace)
    assert (answer.status, answer.engine, answer.model) == ("answered", "simulated", "simulated")
    assert (answer.degraded, answer.notice, answer.cacheable) == ("", "", True)
    assert "within 10 business days" in answer.text
    assert answer.tokens["prompt"] > 50
    assert answer.tokens["completion"] > 10
    assert 0 < answer.timings["first_token"] <= answer.timings["total"]


@pytest.mark.proves("AISVS 7.1.1", "ASVS 16.5.2")
@pytest.mark.parametrize(
    ("llm", "degraded"),
    [
        (ScriptedLLM.of(RuntimeError("CUDA error: out of memory")), "failed"),
        (ScriptedLLM.of(ModelError("the engine is not running")), "failed"),
        (ScriptedLLM.of(ModelTimeout("too late")), "slow"),
        (Stalling.of(""), "slow"),
        (Stalling.of("It is set ou"), "slow"),
        (ScriptedLLM.of(""), "empty"),
        (ScriptedLLM.of(" \n \n"), "empty"),
        (ScriptedLLM.of("the the the " * 300), "looping"),
        (ScriptedLLM.of("In my opinion you should simply wait."), "unsupported"),
        (ScriptedLLM.of("It takes 10 business days. [97] Or more. [98]"), "unsupported"),
        (ScriptedLLM.of("The bank pays every customer $900 on Sundays. [1]"), "unsupported"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_down_slow_or_nonsense_is_replaced_by_quotations_with_a_notice(
    workspace: Workspace, llm: LLM, degraded: str
) -> None:
    answer = ask(workspace, answering(workspace, llm))
    assert (answer.status, answer.engine, answer.degraded) == ("answered", "extractive", degraded)
    assert answer.notice.endswith("so this answer only quotes the documents.")
    assert not answer.cacheable
    assert "within 10 business days" in answer.text
    assert answer.citations
    assert "abandoned" in answer.timings
    assert all(check.supported for check in answer.checks)


def test_what_was_released_stays_when_the_engine_dies_in_the_middle(workspace: Workspace) -> None:
    answer = ask(workspace, answering(workspace, Stalling.of(f"{TRUE} The second sentence never e")))
    assert (answer.status, answer.reason, answer.degraded) == ("partial", "broken_off", "slow")
    assert answer.engine == "scripted"
    assert answer.text.startswith("A financial institution shall determine")
    assert "second sentence" not in answer.text
    assert "broke off" in answer.notice
    assert not answer.cacheable


def test_a_model_that_says_it_is_not_in_the_documents_is_believed(workspace: Workspace) -> None:
    answer = ask(workspace, answering(workspace, ScriptedLLM.of("NOT IN THE DOCUMENTS")))
    assert (answer.status, answer.engine, answer.degraded) == ("refused", "scripted", "")


def test_without_a_fallback_a_dead_engine_is_an_error_and_nonsense_a_refusal(workspace: Workspace) -> None:
    with pytest.raises(ModelError, match="answering engine failed"):
        ask(workspace, answering(workspace, ScriptedLLM.of(RuntimeError("dead")), fallback=False))
    with pytest.raises(ModelTimeout, match="took too long"):
        ask(workspace, answering(workspace, Stalling.of(""), fallback=False))
    refused = ask(workspace, answering(workspace, ScriptedLLM.of(""), fallback=False))
    assert (refused.status, refused.degraded, refused.cacheable) == ("refused", "empty", False)
    assert refused.notice == "The language model gave no usable answer."


def test_a_full_queue_is_told_to_the_caller(workspace: Workspace) -> None:
    with pytest.raises(Busy) as refused:
        ask(workspace, answering(workspace, ScriptedLLM.of(Busy("the queue is full", retry_after=7))))
    assert refused.value.retry_after == 7


def test_a_dead_engine_costs_its_time_limit_twice_and_not_every_time(workspace: Workspace) -> None:
    llm = Stalling.of("", "", "", "", "")
    pipeline = answering(workspace, llm)
    answers = [ask(workspace, pipeline) for _ in range(4)]
    assert [each.degraded for each in answers] == ["slow", "slow", "unavailable", "unavailable"]
    assert len(llm.script.prompts) == 2
    assert answers[-1].timings["abandoned"] < LIMITS["first_token_seconds"]


def test_the_stream_says_at_once_that_another_engine_takes_over(workspace: Workspace) -> None:
    async def stages() -> list[dict[str, Any]]:
        pipeline = answering(workspace, ScriptedLLM.of(""))
        stream = pipeline.stream(AskRequest(QUESTION), workspace.principal())
        return [e.detail async for e in stream if isinstance(e, StageFinished) and e.stage == "generate"]

    assert asyncio.run(stages()) == [
        {"engine": "scripted", "trouble": "empty"},
        {"engine": "extractive", "trouble": None},
    ]


async def test_under_load_with_faults_every_question_gets_an_answer(workspace: Workspace) -> None:
    engine = SimulatedEngine(Pace(0.01, 2000), Faults(crash=0.1, garbage=0.2, seed=3), slots=8, queue_limit=100)
    settings = workspace.settings.generation.model_copy(update={"breaker_failures": 1000, "deadline_seconds": 20.0})
    patient = workspace.settings.model_copy(update={"generation": settings.model_copy(
        update={"first_token_seconds": 20.0, "token_seconds": 20.0})})  # fmt: skip
    pipeline = QueryPipeline(
        searcher=workspace.searcher, llm=SimulatedLLM(engine=engine), fallback=workspace.pipeline.engines[1:],
        embedding=workspace.embedding, catalog=workspace.catalog, settings=patient, page=workspace.registry.page,
    )  # fmt: skip
    answers = await asyncio.gather(*(pipeline.ask(AskRequest(QUESTION), workspace.principal()) for _ in range(40)))
    assert all(each.status in ("answered", "partial") and "10 business days" in each.text for each in answers)
    assert {each.engine for each in answers} == {"simulated", "extractive"}
    assert engine.stats().running == engine.stats().waiting == 0
