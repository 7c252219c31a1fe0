"""From question to cited answer or refusal, through MiniLM, Chroma, the lexical index and the registry."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest

from rag.bootstrap import Workspace, open_workspace
from rag.domain import Answer, Passage, Principal, SearchFilter
from rag.errors import ModelError, QuestionError
from rag.query.cutting import estimate_tokens
from rag.query.entailment import LLMEntailment
from rag.query.events import (
    AskRequest,
    CitationReleased,
    Completed,
    DraftWritten,
    Event,
    SentenceReleased,
    StageFinished,
    Turn,
)
from rag.query.pipeline import QueryPipeline
from rag.query.prompting import parse_prompt, prompt_version
from rag.settings import Settings, load_settings
from rag.testing import ScriptedLLM

BANK = Path(__file__).parents[2] / "sample_bank"
SOURCES = {
    "regulations": ["regulation-e-1005-electronic-fund-transfers.md", "regulation-dd-1030-truth-in-savings.md"],
    "filings": ["2023 Q3 AAPL.pdf", "2023 Q3 AAPL.pdf.meta.yaml"],
}
DEADLINES = "What are the error-resolution deadlines for an unauthorised electronic transfer?"
STOP = "How do I stop a preauthorized payment?"
PARAPHRASE = (
    "You can stop a preauthorized payment by notifying the institution three business days before the scheduled "
    "date of the transfer. [1]"
)
MARKER = re.compile(r"\[(\d+)\]")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    root = tmp_path_factory.mktemp("answers")
    for folder, names in SOURCES.items():
        (root / folder).mkdir()
        for name in names:
            copyfile(BANK / folder / name, root / folder / name)
    sources = [{"name": name, "collection": name, "root": str(root / name)} for name in SOURCES]
    overrides: dict[str, Any] = {"data_dir": str(root / "data"), "sources": sources}
    opened = open_workspace(load_settings("test", environment={}, overrides=overrides))
    try:
        assert not opened.ingest().failed
        yield opened
    finally:
        opened.close()


def ask(workspace: Workspace, question: str, *history: str, pipeline: QueryPipeline | None = None) -> Answer:
    turns = tuple(Turn("user", each) for each in history)
    return asyncio.run((pipeline or workspace.pipeline).ask(AskRequest(question, turns), workspace.principal()))


def events(workspace: Workspace, question: str, pipeline: QueryPipeline | None = None) -> list[Event]:
    async def collect() -> list[Event]:
        stream = (pipeline or workspace.pipeline).stream(AskRequest(question), workspace.principal())
        return [event async for event in stream]

    return asyncio.run(collect())


def scripted(
    workspace: Workspace,
    *replies: str | Exception,
    searcher: Any = None,
    settings: Settings | None = None,
    judged: bool = False,
) -> tuple[QueryPipeline, ScriptedLLM]:
    engine = ScriptedLLM.of(*replies)
    pipeline = QueryPipeline(
        searcher=searcher or workspace.searcher,
        llm=engine,
        embedding=workspace.embedding,
        catalog=workspace.catalog,
        settings=settings or workspace.settings,
        page=workspace.registry.page,
        entailment=LLMEntailment(engine) if judged else None,
    )
    return pipeline, engine


def assert_every_sentence_is_cited_exactly(answer: Answer, workspace: Workspace) -> None:
    assert answer.status == "answered"
    assert [each.marker for each in answer.citations] == list(range(1, len(answer.citations) + 1))
    for cited in answer.citations:
        page = workspace.registry.page(cited.document_id, cited.page)
        assert page.text[cited.start : cited.end] == cited.quote
        assert cited.url == f"/v1/documents/{cited.document_id}/pages/{cited.page}?start={cited.start}&end={cited.end}"
    blocks = [line for line in answer.text.split("\n") if line.strip() and not re.match(r"\| \||\|---", line)]
    assert all(MARKER.search(line) for line in blocks)
    assert {int(number) for number in MARKER.findall(answer.text)} == {each.marker for each in answer.citations}
    assert all(check.supported and check.markers for check in answer.checks)


@pytest.mark.proves("LLM09", "AISVS 7.4.1", "AISVS 7.4.3", "SOC 2 PI1.3")
@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (DEADLINES, "within 10 business days"),
        (STOP, "at least three business days before the scheduled date"),
        ("What does annual percentage yield mean?", "total amount of interest paid on an account"),
        ("How long must a gift card remain valid before it expires?", "five years"),
        ("What was Apple's effective tax rate in the third quarter of 2023?", "12.5 %"),
        ("How much did Apple spend on research and development in the third quarter of 2023?", "7,442"),
    ],
)
def test_an_answer_holds_what_was_asked_and_every_sentence_opens_its_words(
    workspace: Workspace, question: str, expected: str
) -> None:
    answer = ask(workspace, question)
    assert_every_sentence_is_cited_exactly(answer, workspace)
    assert expected in answer.text
    assert (answer.engine, answer.model, answer.prompt_version) == ("extractive", "none", prompt_version())
    assert answer.confidence >= 0.4
    assert answer.snapshot == workspace.catalog.snapshot
    assert {"check", "rewrite", "retrieve", "decide", "generate", "verify", "total"} <= answer.timings.keys()


def test_british_spelling_finds_the_american_rule(workspace: Workspace) -> None:
    british, american = (
        ask(workspace, f"Who is liable for an {each} electronic fund transfer?")
        for each in ("unauthorised", "unauthorized")
    )
    assert british.citations[0].quote == american.citations[0].quote


@pytest.mark.proves("LLM09", "AISVS 7.2.2")
@pytest.mark.parametrize(
    "question",
    [
        "What was Microsoft's revenue in Q3 2023?",
        "What was Intel's gross margin in Q3 2023?",
    ],
)
def test_what_the_documents_do_not_answer_is_refused_plainly_and_cites_nothing(
    workspace: Workspace, question: str
) -> None:
    answer = ask(workspace, question)
    assert (answer.status, answer.reason) == ("refused", "not_in_documents")
    assert answer.text.startswith(
        "The documents do not answer this question. I searched 3 documents (filings, regulations)."
    )
    assert workspace.settings.refusal.contact in answer.text
    assert not answer.citations
    assert not MARKER.search(answer.text)


@pytest.mark.parametrize(
    ("question", "topic"), [("Hi, someone stole my card!", "lost_card"), ("Let me talk to a person", "person")]
)
def test_what_needs_a_person_gets_the_configured_text_without_a_search_or_a_model(
    workspace: Workspace, question: str, topic: str
) -> None:
    happened = events(workspace, question)
    assert [type(each) for each in happened] == [StageFinished, SentenceReleased, Completed]
    answer = ask(workspace, question)
    assert (answer.status, answer.reason, answer.citations) == ("escalated", topic, ())
    assert answer.text == workspace.settings.contacts.text(topic)
    assert not answer.cacheable


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("Who won the world cup in 2022?", "off_topic"),
        ("How do I bake bread?", "off_topic"),
        ("What is the capital of Australia?", "off_topic"),
        ("tell me a joke about cats", "small_talk"),
    ],
)
def test_chit_chat_and_other_subjects_get_one_fixed_sentence(workspace: Workspace, question: str, reason: str) -> None:
    answer = ask(workspace, question)
    assert (answer.status, answer.reason, answer.citations) == ("refused", reason, ())
    assert "documents" in answer.text
    assert "I searched" not in answer.text


@pytest.mark.parametrize("question", ["Hello!", "thanks a lot", "Who are you?"])
def test_small_talk_gets_one_fixed_sentence_without_a_search(workspace: Workspace, question: str) -> None:
    answer = ask(workspace, question)
    assert (answer.status, answer.reason, answer.searched_question) == ("refused", "small_talk", "")
    assert "retrieve" not in answer.timings


def test_a_follow_up_is_searched_with_what_it_lacks(workspace: Workspace) -> None:
    answer = ask(workspace, "Can it be confirmed in writing?", "What is a stop-payment order?")
    assert answer.searched_question == "Can a stop-payment order be confirmed in writing?"
    assert answer.question == "Can it be confirmed in writing?"
    assert_every_sentence_is_cited_exactly(answer, workspace)


@pytest.mark.parametrize("question", ["", "\u200b", "x" * 4001])
def test_what_is_no_question_is_an_error_of_the_person_who_asks(workspace: Workspace, question: str) -> None:
    with pytest.raises(QuestionError):
        ask(workspace, question)


def test_the_stream_says_every_stage_then_citations_before_their_sentences_then_the_answer(
    workspace: Workspace,
) -> None:
    found = events(workspace, STOP)
    stages = [event.stage for event in found if isinstance(event, StageFinished)]
    assert stages == ["check", "rewrite", "retrieve", "decide", "generate", "verify"]
    sentences = [event for event in found if isinstance(event, SentenceReleased)]
    last = found[-1]
    assert isinstance(last, Completed)
    assert "".join(event.text for event in sentences) == last.answer.text
    assert [event.index for event in sentences] == list(range(len(sentences)))
    known: set[int] = set()
    for event in found:
        if isinstance(event, CitationReleased):
            known.add(event.citation.marker)
        elif isinstance(event, SentenceReleased):
            assert {int(number) for number in MARKER.findall(event.text)} <= known


def test_asking_twice_gives_the_same_answer(workspace: Workspace) -> None:
    assert ask(workspace, STOP).text == ask(workspace, STOP).text


@pytest.mark.proves("ASVS 8.4.1")
def test_nothing_is_found_for_a_principal_of_another_tenant(workspace: Workspace) -> None:
    stranger = Principal("stranger", tenant="other")
    answer = asyncio.run(workspace.pipeline.ask(AskRequest(STOP), stranger))
    assert (answer.status, answer.citations) == ("refused", ())
    assert "there are no documents that I may search for you" in answer.text


def test_only_the_collection_asked_for_is_searched(workspace: Workspace) -> None:
    request = AskRequest(STOP, narrow=SearchFilter(collections=("filings",)))
    answer = asyncio.run(workspace.pipeline.ask(request, workspace.principal()))
    assert all("10-Q" in each.title for each in answer.citations)
    assert answer.status == "refused"
    assert "I searched 1 document (filings)." in answer.text


@pytest.mark.proves("LLM09", "AISVS 7.4.3", "AISVS 12.3.2")
def test_an_engine_that_paraphrases_keeps_only_what_its_citations_carry(workspace: Workspace) -> None:
    reply = (
        "You can stop a preauthorized payment by notifying the institution three business days before the scheduled "
        "date of the transfer. [1] The institution pays you $900. [1] This has no marker.\nAsk again later. [44]"
    )
    pipeline, engine = scripted(workspace, reply)
    answer = ask(workspace, STOP, pipeline=pipeline)
    assert (answer.status, answer.reason, answer.engine) == ("partial", "sentences_withheld", "scripted")
    assert "three business days before the scheduled date" in answer.text
    assert not any(word in answer.text for word in ("$900", "no marker", "later"))
    assert [check.supported for check in answer.checks] == [True, False, False, False]
    assert all(not check.text for check in answer.checks if not check.supported)
    assert [STOP in prompt for prompt in engine.script.prompts] == [True]


@pytest.mark.proves("LLM09", "AISVS 7.2.2")
@pytest.mark.parametrize("reply", ["NOT IN THE DOCUMENTS", "", "It is $12 in every case. [3]", "Trust me."])
def test_when_nothing_is_left_to_say_the_answer_is_a_refusal(workspace: Workspace, reply: str) -> None:
    pipeline, _ = scripted(workspace, reply)
    answer = ask(workspace, STOP, pipeline=pipeline)
    assert answer.status == "refused"
    assert reply == "" or reply not in answer.text
    assert not answer.citations


@pytest.mark.proves("LLM09", "AISVS 7.1.1")
def test_a_sentence_without_a_marker_is_withheld_even_before_one_that_stands(workspace: Workspace) -> None:
    reply = f"All fees are waived on Sundays. {PARAPHRASE} Also free of charge. [1][77]"
    pipeline, _ = scripted(workspace, reply)
    found = events(workspace, STOP, pipeline)
    answer = found[-1].answer if isinstance(found[-1], Completed) else None
    assert answer is not None
    assert [each.supported for each in answer.checks] == [False, True, False]
    assert "Sundays" not in answer.text
    assert [
        each.detail["unknown_markers"] for each in found if isinstance(each, StageFinished) and each.stage == "verify"
    ] == [1]


@pytest.mark.parametrize("release", ["sentence", "token"])
def test_a_draft_is_shown_only_where_configured_and_never_becomes_part_of_the_answer(
    workspace: Workspace, release: str
) -> None:
    settings = workspace.settings.model_copy(
        update={"streaming": workspace.settings.streaming.model_copy(update={"release": release})}
    )
    reply = f"{PARAPHRASE} The bank pays $900 on Sundays. [1]"
    pipeline, _ = scripted(workspace, reply, settings=settings)
    found = events(workspace, STOP, pipeline)
    drafts = "".join(each.text for each in found if isinstance(each, DraftWritten))
    assert drafts == (reply if release == "token" else "")
    released = [each.text for each in found if isinstance(each, SentenceReleased)]
    answer = found[-1].answer if isinstance(found[-1], Completed) else None
    assert answer is not None
    assert "".join(released) == answer.text
    assert "$900" not in answer.text
    if release == "token":
        first_draft = next(index for index, each in enumerate(found) if isinstance(each, DraftWritten))
        first_sentence = next(index for index, each in enumerate(found) if isinstance(each, SentenceReleased))
        assert first_draft < first_sentence


def test_a_judge_that_denies_everything_leaves_a_refusal(workspace: Workspace) -> None:
    pipeline, engine = scripted(workspace, PARAPHRASE, "No.", judged=True)
    answer = ask(workspace, STOP, pipeline=pipeline)
    assert (answer.status, answer.reason) == ("refused", "unsupported")
    assert len(engine.script.prompts) == 2


def test_a_failing_engine_is_reported_as_such(workspace: Workspace) -> None:
    pipeline, _ = scripted(workspace, RuntimeError("out of memory"))
    with pytest.raises(ModelError, match="answering engine failed"):
        ask(workspace, STOP, pipeline=pipeline)


def test_closing_the_stream_ends_the_work_at_the_next_stage(workspace: Workspace) -> None:
    class Recording:
        searched: list[str] = []  # noqa: RUF012 - one list for this test

        def search_each(
            self, questions: Sequence[tuple[str, int]], principal: Principal, narrow: SearchFilter
        ) -> list[list[Passage]]:
            self.searched += [question for question, _ in questions]
            return workspace.searcher.search_each(questions, principal, narrow)

    recording = Recording()
    pipeline, engine = scripted(workspace, "never said", searcher=recording)

    async def leave_after_the_check() -> None:
        async with aclosing(pipeline.stream(AskRequest(STOP), workspace.principal())) as stream:
            async for event in stream:
                if isinstance(event, StageFinished) and event.stage == "rewrite":
                    return

    asyncio.run(leave_after_the_check())
    assert recording.searched == []
    assert engine.script.prompts == []


def test_a_model_reads_the_best_sentences_within_its_budget_and_cites_the_page_they_stand_on(
    workspace: Workspace,
) -> None:
    pipeline, engine = scripted(workspace, "NOT IN THE DOCUMENTS")
    answer = asyncio.run(pipeline.ask(AskRequest(DEADLINES), workspace.principal()))
    prompt = parse_prompt(engine.script.prompts[0])
    assert answer.status == "refused"
    assert len(prompt.passages) < workspace.settings.retrieval.top_k
    assert (
        estimate_tokens("".join(each.text for each in prompt.passages)) <= workspace.settings.generation.passage_tokens
    )
    number, said = next(
        (index, line)
        for index, passage in enumerate(prompt.passages, start=1)
        for line in passage.text.split("\n")
        if "10 business days" in line
    )
    engine.queue([f"{said} [{number}]"])
    answer = asyncio.run(pipeline.ask(AskRequest(DEADLINES), workspace.principal()))
    assert answer.status == "answered"
    assert_every_sentence_is_cited_exactly(answer, workspace)
    assert "10 business days" in answer.citations[0].quote


def test_a_model_makes_a_follow_up_stand_alone_and_the_form_searched_for_is_shown(workspace: Workspace) -> None:
    alone = "Can the error-resolution deadlines for an unauthorised electronic transfer be extended?"
    pipeline, engine = scripted(workspace, alone, "NOT IN THE DOCUMENTS")
    request = AskRequest("Can they be extended?", (Turn("user", DEADLINES), Turn("assistant", "10 business days. [1]")))

    async def stages() -> list[StageFinished]:
        return [
            each async for each in pipeline.stream(request, workspace.principal()) if isinstance(each, StageFinished)
        ]

    rewritten = next(each for each in asyncio.run(stages()) if each.stage == "rewrite")
    assert rewritten.detail == {"searched_question": alone, "by": "engine"}
    assert parse_prompt(engine.script.prompts[1]).question == alone
