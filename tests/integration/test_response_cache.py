"""Answers given again: to whom, for how long, on several nodes at once, and whatever happens to Redis."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from rag.bootstrap import Workspace, open_workspace
from rag.domain import Answer, Principal, SearchFilter
from rag.errors import ModelError
from rag.query.caching import CachedAnswers, Parts
from rag.query.events import AskRequest, Completed, Event, StageFinished, Turn
from rag.query.run import Standing
from rag.settings import load_settings
from rag.storage.cache import SharedAnswers
from rag.storage.redis_connection import RedisConnection
from rag.storage.sealing import Sealer

QUESTION = "Within how many business days must an institution determine whether an error occurred?"
OTHER = "What is the liability of a consumer who gives notice within two business days?"
UNANSWERABLE = "How many business days does shipping of a passport to Brazil take?"
PERSON = Principal("local", "default", frozenset({"user"}), frozenset())
ROOT = Path(__file__).parents[2]
SECRET = b"4f1c0de98b7a6653" * 4


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    root = tmp_path_factory.mktemp("cache")
    (root / "rules").mkdir()
    (root / "rules" / "transfers.md").write_text(TRANSFERS)
    (root / "rules" / "secret.md").write_text(INTERNAL)
    (root / "rules" / "secret.md.meta.yaml").write_text("access: [staff]\n")
    (root / "rules" / "own.md").write_text(OWN)
    (root / "rules" / "own.md.meta.yaml").write_text("access: ['user:ada']\n")
    overrides: dict[str, Any] = {
        "data_dir": str(root / "data"),
        "sources": [{"name": "rules", "collection": "rules", "root": str(root / "rules")}],
    }
    opened = open_workspace(load_settings("test", environment={}, overrides=overrides))
    try:
        assert not opened.ingest().failed
        yield opened
    finally:
        opened.close()


TRANSFERS = """# Electronic transfers

## § 11 Procedures for resolving errors

An institution must determine whether an error occurred within 10 business days of receiving a notice of error.

## § 6 Liability of the consumer

The liability of a consumer who gives notice within two business days after learning of the loss is at most $50.
"""
INTERNAL = """# Internal limits

## Teller limits

The teller limit for cash withdrawals without a second signature is $2,000 per customer and business day.
"""
OWN = """# Notes of Ada

## Ada's mortgage

The mortgage of Ada has an interest rate of 4.5 percent until March 2031.
"""


class Pipeline:
    """The pipeline of the workspace, counted; it waits before its last event while `hold` is set."""

    def __init__(self, workspace: Workspace) -> None:
        self._inner = workspace.pipeline
        self.calls = 0
        self.hold = threading.Event()
        self.changed: Callable[[Answer], Answer] = lambda answer: answer
        self.before_the_end: Callable[[], object] = lambda: None

    def standing(self, request: AskRequest, principal: Principal) -> Standing | None:
        return self._inner.standing(request, principal)

    async def stream(self, request: AskRequest, principal: Principal) -> AsyncGenerator[Event, None]:
        self.calls += 1
        async with aclosing(self._inner.stream(request, principal)) as events:
            async for event in events:
                while self.hold.is_set():  # noqa: ASYNC110 - set by tests from outside of this loop
                    await asyncio.sleep(0.01)
                if isinstance(event, Completed):
                    self.before_the_end()
                    yield Completed(self.changed(event.answer))
                else:
                    yield event


class Node:
    """A node: a cache of its own in front of a counted pipeline of its own."""

    def __init__(self, workspace: Workspace, url: str = "", **redis: Any) -> None:
        settings = workspace.settings
        chosen = settings.redis.model_dump() | {"url": url, "timeout_seconds": 20, "call_seconds": 20} | redis
        self.redis = RedisConnection(type(settings.redis).model_validate(chosen)) if url else None
        self.pipeline = Pipeline(workspace)
        self.parts = Parts(
            sealer=Sealer(SECRET),
            shared=SharedAnswers(self.redis, flight_seconds=0.6) if self.redis else None,
            corpus=workspace.catalog,
            versions=workspace.registry.live,
            conditions="the same",
            patience_seconds=60,
        )
        self.answers = self.opened()

    def opened(self, **changes: Any) -> CachedAnswers:
        settings = load_settings("test", environment={}).cache.model_copy(update={"flight_seconds": 0.6})
        return CachedAnswers(self.pipeline, replace(self.parts, **changes), settings)  # type: ignore[arg-type]

    async def ask(self, question: str = QUESTION, principal: Principal = PERSON, **request: Any) -> Answer:
        return await self.answers.ask(AskRequest(question, **request), principal)


@pytest.fixture
def node(workspace: Workspace) -> Node:
    return Node(workspace)


@pytest.fixture
def nodes(workspace: Workspace, redis_server: Any) -> Iterator[tuple[Node, Node]]:
    """Two nodes with the same Redis."""
    pair = Node(workspace, redis_server.url), Node(workspace, redis_server.url)
    yield pair
    for each in pair:
        assert each.redis
        each.redis.close()


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


# --- what is the same ---------------------------------------------------------------------------------------------


async def test_the_second_who_asks_gets_the_same_answer_without_an_engine(node: Node) -> None:
    first, second = await node.ask(), await node.ask(f"Hello, {QUESTION.upper()} Thanks!")
    assert (first.status, first.cached, second.cached, node.pipeline.calls) == ("answered", False, True, 1)
    assert (second.text, second.citations, second.checks) == (first.text, first.citations, first.checks)
    assert "10 business days" in second.text
    assert second.question == f"Hello, {QUESTION.upper()} Thanks!"
    assert second.id != first.id
    assert first.timings["cache"] > 0
    assert set(second.timings) == {"cache", "total"}


async def test_the_stream_of_a_given_answer_is_that_of_the_first_one(node: Node) -> None:
    async def told() -> list[Event]:
        return [event async for event in node.answers.stream(AskRequest(QUESTION), PERSON)]

    def shown(events: list[Event]) -> list[Event]:
        return [each for each in events if not isinstance(each, StageFinished | Completed)]

    first, again = await told(), await told()
    assert shown(again) == shown(first)
    stages = [each.stage for each in again if isinstance(each, StageFinished)]
    assert stages == ["check", "retrieve", "verify"]
    assert isinstance(again[-1], Completed)
    assert again[-1].answer.cached


@pytest.mark.proves("LLM02")
@pytest.mark.parametrize(
    ("question", "request_", "person"),
    [
        ("Within how many business days must an institution not determine whether an error occurred?", {}, PERSON),
        (QUESTION.replace("days", "day"), {}, PERSON),
        (QUESTION, {"narrow": SearchFilter(as_of=date(2024, 1, 1))}, PERSON),
        (QUESTION, {"narrow": SearchFilter(collections=("rules",))}, PERSON),
        (QUESTION, {}, replace(PERSON, clearances=frozenset({"staff"}))),
    ],
    ids=["negation", "word", "day", "filter", "rights"],
)
async def test_another_question_day_filter_or_right_is_answered_anew(
    node: Node, question: str, request_: dict[str, Any], person: Principal
) -> None:
    await node.ask()
    assert not (await node.ask(question, person, **request_)).cached


async def test_people_share_answers_when_their_rights_open_the_same_documents(node: Node) -> None:
    await node.ask()
    assert (await node.ask(principal=replace(PERSON, subject="eve", clearances=frozenset({"unused"})))).cached


@pytest.mark.parametrize("change", [{"conditions": "new model"}, {"sealer": Sealer(b"1" * 64)}])
async def test_other_conditions_or_another_secret_find_nothing(nodes: tuple[Node, Node], change: Any) -> None:
    one, other = nodes
    await one.ask()
    other.answers = other.opened(**change)
    assert not (await other.ask()).cached


async def test_a_follow_up_is_kept_as_the_question_that_the_rules_make_of_it(node: Node) -> None:
    turns = (Turn("user", "What must a consumer do about an error in a transfer?"),)
    follow_up = "And within how many business days must an institution determine whether it occurred?"
    first, second = await node.ask(follow_up, history=turns), await node.ask(follow_up, history=turns)
    alone = await node.ask(follow_up)
    assert second.cached == (first.status == "answered")
    assert second.searched_question == first.searched_question
    assert alone.cached == (first.searched_question == alone.searched_question and second.cached)


async def test_a_fresh_answer_is_computed_and_takes_the_place_of_the_kept_one(nodes: tuple[Node, Node]) -> None:
    one, other = nodes
    await one.ask()
    one.pipeline.changed = lambda answer: replace(answer, model="newer")
    assert not (await one.ask(fresh=True)).cached
    assert (await one.ask()).model == "newer"
    assert (await other.ask()).model == "newer"
    assert (one.pipeline.calls, other.pipeline.calls) == (2, 0)


# --- what is never kept -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "question",
    [
        UNANSWERABLE,
        "My card was stolen, what now?",
        "Hello!",
        f"My card is 4111 1111 1111 1111. {QUESTION}",
    ],
    ids=["refused", "escalated", "small talk", "personal data"],
)
async def test_a_question_whose_answer_is_not_for_everybody_is_answered_each_time(node: Node, question: str) -> None:
    first, second = await node.ask(question), await node.ask(question)
    assert not first.cached
    assert not second.cached
    assert node.pipeline.calls == 2


@pytest.mark.proves("ASVS 14.2.2", "PCI DSS 3.4.1")
@pytest.mark.parametrize(
    "change",
    [
        {"status": "partial"}, {"degraded": "slow"}, {"notice": "The engine broke off."}, {"snapshot": -1},
        {"text": "Write to ada@example.com. [1]"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
async def test_an_answer_that_is_not_whole_or_holds_personal_data_is_not_kept(
    nodes: tuple[Node, Node], change: dict[str, Any]
) -> None:
    one, other = nodes
    one.pipeline.changed = lambda answer: replace(answer, **change)
    await one.ask()
    assert not (await one.ask()).cached
    assert not (await other.ask()).cached
    assert one.redis
    assert one.redis.call(lambda client: client.keys("banksight:answer:*"), None) == []


async def test_what_cites_the_documents_of_one_person_is_not_kept(node: Node) -> None:
    ada = replace(PERSON, subject="ada", clearances=frozenset({"user:ada"}))
    answers = [await node.ask("What interest rate does the mortgage of Ada have?", ada) for _ in range(2)]
    assert [(each.status, each.cached) for each in answers] == [("answered", False)] * 2
    assert "4.5 percent" in answers[0].text


async def test_an_answer_during_which_the_corpus_changed_is_not_kept(node: Node, workspace: Workspace) -> None:
    def change() -> None:
        workspace.registry.set_value("snapshot", str(workspace.registry.snapshot() + 1))

    node.pipeline.before_the_end = change
    await node.ask()
    node.pipeline.before_the_end = lambda: None
    assert not (await node.ask()).cached


async def test_an_error_is_raised_to_its_asker_alone(node: Node) -> None:
    def fail(_: Answer) -> Answer:
        raise ModelError("broken")

    node.pipeline.changed = fail
    with pytest.raises(ModelError, match="broken"):
        await node.ask()
    node.pipeline.changed = lambda answer: answer
    assert not (await node.ask()).cached


# --- what is no longer so -----------------------------------------------------------------------------------------


async def test_a_new_snapshot_ends_every_answer(nodes: tuple[Node, Node], workspace: Workspace) -> None:
    one, other = nodes
    await one.ask()
    workspace.registry.set_value("snapshot", str(workspace.registry.snapshot() + 1))
    workspace.catalog.refresh()
    assert not (await one.ask()).cached
    assert (await other.ask()).cached


@pytest.mark.parametrize("change", [{"content_hash": "0" * 64}, {"access": frozenset({"board"})}, None])
async def test_a_cited_document_that_changed_closed_or_went_ends_the_answer(
    nodes: tuple[Node, Node], workspace: Workspace, change: dict[str, Any] | None
) -> None:
    def versions(ids: Any) -> dict[str, Any]:
        found = workspace.registry.live(ids)
        return {key: replace(value, **change) for key, value in found.items()} if change else {}

    one, other = nodes
    alone = Node(workspace)
    await one.ask()
    await alone.ask()
    before = counted("response_cache_rejected_total", reason="outdated")
    for each in (alone, other):  # one has it in memory, one finds it in Redis
        each.answers._parts = replace(each.parts, versions=versions)
        assert not (await each.ask()).cached
    assert counted("response_cache_rejected_total", reason="outdated") == before + 2


@pytest.mark.proves("ASVS 16.3.3")
@pytest.mark.parametrize("damage", ["swapped", "flipped", "garbage"])
async def test_a_forged_value_is_not_given_and_is_counted(nodes: tuple[Node, Node], damage: str) -> None:
    one, other = nodes
    await one.ask()
    await one.ask(OTHER)
    assert one.redis
    client = one.redis.client
    first, second = (key for key in client.scan_iter("banksight:answer:*"))
    values = client.get(first), client.get(second)
    assert isinstance(values[0], bytes)
    forged = {"swapped": values[1], "flipped": values[0][:-1] + bytes([values[0][-1] ^ 1]), "garbage": b"x"}[damage]
    client.set(first, forged)  # type: ignore[arg-type]
    client.set(second, forged)  # type: ignore[arg-type]
    before = counted("response_cache_rejected_total", reason="forged")
    answers = [await other.ask(), await other.ask(OTHER)]
    assert "10 business days" in answers[0].text
    assert "$50" in answers[1].text
    forgeries = 1 if damage == "swapped" else 2  # one of the two was put where it belongs
    assert counted("response_cache_rejected_total", reason="forged") == before + forgeries
    assert other.pipeline.calls == forgeries


@pytest.mark.proves("LLM02", "ASVS 14.2.2", "ISO A.8.24")
async def test_redis_holds_neither_question_nor_answer_in_clear(nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    await one.ask()
    assert one.redis
    client = one.redis.client
    stored = b"".join(key + (client.get(key) or b"") for key in client.scan_iter("*"))  # type: ignore[operator]
    assert len(stored) > 500
    assert b"business" not in stored
    ttl = client.pttl(next(client.scan_iter("banksight:answer:*")))
    assert 3_200_000 < ttl <= 3_960_000  # type: ignore[operator]


# --- many at once -------------------------------------------------------------------------------------------------


async def test_a_hundred_identical_questions_on_two_nodes_make_one_call(nodes: tuple[Node, Node]) -> None:
    found = await asyncio.gather(*(nodes[number % 2].ask() for number in range(100)))
    assert len({answer.text for answer in found}) == 1
    assert sum(not answer.cached for answer in found) == 1
    assert sum(node.pipeline.calls for node in nodes) == 1


def test_threads_with_event_loops_of_their_own_share_one_call(node: Node) -> None:
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(asyncio.run(node.ask()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert node.pipeline.calls == 1


async def running(node: Node) -> None:
    while not node.pipeline.calls:  # noqa: ASYNC110 - the pipeline has no event for it
        await asyncio.sleep(0.01)


async def test_when_the_first_asker_goes_away_one_of_the_others_takes_over(nodes: tuple[Node, Node]) -> None:
    one, other = nodes
    one.pipeline.hold.set()
    first = asyncio.create_task(one.ask())
    await running(one)
    others = [asyncio.create_task(each.ask()) for each in (one, other) for _ in range(5)]
    await asyncio.sleep(0.3)
    one.pipeline.hold.clear()
    first.cancel()
    found = await asyncio.gather(*others)
    assert first.cancelled() or isinstance((await asyncio.gather(first, return_exceptions=True))[0], BaseException)
    assert len({answer.text for answer in found}) == 1
    assert one.pipeline.calls + other.pipeline.calls == 2


LEADER = """
import asyncio, sys
from rag.settings import load_settings
from rag.storage.cache import SharedAnswers
from rag.storage.redis_connection import RedisConnection
settings = load_settings("test", environment={"REDIS_URL": sys.argv[1]}).redis
async def main():
    patient = settings.model_copy(update={"call_seconds": 20, "timeout_seconds": 20})
    shared = SharedAnswers(RedisConnection(patient), 0.6)
    print((await shared.look(sys.argv[2], "token")).state, flush=True)
    while True:
        await shared.renew(sys.argv[2], "token")
        await asyncio.sleep(0.1)
asyncio.run(main())
"""


async def test_a_node_that_is_killed_while_it_answers_costs_one_more_call(
    nodes: tuple[Node, Node], redis_server: Any
) -> None:
    one, other = nodes
    name = one.answers._recognise(AskRequest(QUESTION), PERSON).name  # type: ignore[union-attr]
    command = [sys.executable, "-c", LEADER, redis_server.url, name]
    leader = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=ROOT)
    assert leader.stdout
    assert await leader.stdout.readline() == b"leading\n"
    waiting = [asyncio.create_task(node.ask()) for node in nodes for _ in range(10)]
    await asyncio.sleep(1.0)  # longer than it would be believed without a sign of life
    assert one.pipeline.calls + other.pipeline.calls == 0
    leader.kill()
    await leader.wait()
    found = await asyncio.gather(*waiting)
    assert len({answer.text for answer in found}) == 1
    assert one.pipeline.calls + other.pipeline.calls == 1


async def test_those_who_wait_for_what_is_not_shared_ask_for_themselves(nodes: tuple[Node, Node]) -> None:
    one, other = nodes
    for each in nodes:
        each.pipeline.changed = lambda answer: replace(answer, status="partial")
    one.pipeline.hold.set()
    first = asyncio.create_task(one.ask())
    await running(one)
    others = [asyncio.create_task(each.ask()) for each in nodes for _ in range(3)]
    await asyncio.sleep(0.2)
    one.pipeline.hold.clear()
    found = await asyncio.gather(first, *others)
    assert not any(answer.cached for answer in found)
    assert one.pipeline.calls + other.pipeline.calls == 7


async def test_who_waited_longer_than_they_may_ask_for_themselves(node: Node) -> None:
    node.answers = node.opened(patience_seconds=0.2)
    node.pipeline.hold.set()
    first = asyncio.create_task(node.ask())
    await running(node)
    second = asyncio.create_task(node.ask())
    while node.pipeline.calls < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    node.pipeline.hold.clear()
    assert (await first).text == (await second).text


# --- whatever happens to Redis ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["killed", "frozen", "full", "read-only"])
async def test_whatever_happens_to_redis_questions_are_answered_and_kept_in_the_process(
    workspace: Workspace, redis_server: Any, fault: str
) -> None:
    node = Node(workspace, redis_server.url, timeout_seconds=0.05, call_seconds=0.06)
    with redis_server.client() as client:
        if fault == "killed":
            redis_server.process.kill()
            redis_server.process.wait()
        elif fault == "frozen":
            redis_server.process.send_signal(signal.SIGSTOP)
        elif fault == "full":
            client.config_set("maxmemory", "1")
        else:
            client.replicaof("127.0.0.1", "1")
    first, second = await node.ask(), await node.ask()
    assert (first.status, first.cached, second.cached) == ("answered", False, True)
    assert node.redis
    node.redis.close()


async def test_a_redis_that_lost_everything_starts_over(nodes: tuple[Node, Node]) -> None:
    one, other = nodes
    await one.ask()
    assert one.redis
    one.redis.call(lambda client: client.flushall(), None)
    assert not (await other.ask()).cached
    assert (await other.ask()).cached


async def test_a_reloaded_configuration_gets_answers_of_its_own(workspace: Workspace) -> None:
    question = AskRequest("After which notice is the liability of a consumer at most $50?")
    settings = workspace.settings
    later = settings.model_copy(update={"refusal": settings.refusal.model_copy(update={"threshold": 1.0})})
    try:
        first = [await workspace.answers.ask(question, PERSON) for _ in range(2)]
        workspace.reconfigure(later)
        strict = await workspace.answers.ask(question, PERSON)
    finally:
        workspace.reconfigure(settings)
    again = await workspace.answers.ask(question, PERSON)
    assert [(each.status, each.cached) for each in (*first, strict, again)] == [
        ("answered", False), ("answered", True), ("refused", False), ("answered", True),
    ]  # fmt: skip
