"""A run from its data to its scores, with a target that is as simple as one can be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evaluations.commands.show import written
from evaluations.datasets.items import Item
from evaluations.datasets.loading import DATA_VARIABLE
from evaluations.gate.policy import Floor
from evaluations.runs.producing import still_to_do
from evaluations.runs.records import Fingerprints, Produced, RetrievedPassage
from evaluations.runs.running import carry_out, planned, rescore, start, suite_of
from evaluations.runs.store import RunStore
from evaluations.suites.schema import DataSource, Suite
from rag.errors import ConfigurationError, StorageUnavailable


class Echo:
    """Says the question again. It errs for questions that say so, and can be cut or lose its disk after some items."""

    name = "echo"
    gives = frozenset({"answer"})
    documents: frozenset[str] | None = None

    def __init__(self, cut_after: int | None = None, error: BaseException | None = None) -> None:
        self.asked: list[str] = []
        self._cut_after, self._error = cut_after, error
        self.healthy = False
        self.passages: tuple[RetrievedPassage, ...] = ()

    async def produce(self, item: Item) -> Produced:
        await asyncio.sleep(0)
        if self._cut_after is not None and len(self.asked) == self._cut_after and self._error:
            raise self._error
        self.asked.append(item.question)
        if item.question == "err" and not self.healthy:
            raise TimeoutError("no answer in 5 s")
        return Produced(item.question, "answered", passages=self.passages, timings={"total": 0.5})

    def fingerprints(self, suite: str, data: str) -> Fingerprints:
        return Fingerprints(suite, data)

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    opened = RunStore.open(tmp_path / "runs")
    yield opened
    opened.close()


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    _ask(tmp_path, ["one", "err", "three"])
    source = DataSource(name="q", format="questions", path="q.jsonl", origin="here", licence="ours")
    return Suite(name="mine", title="t", data=(source,), metrics=("token_f1", "seconds"), workers=1)


def _ask(folder: Path, questions: list[str]) -> None:
    rows = [{"id": str(number), "question": each, "answer": each} for number, each in enumerate(questions)]
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _run(suite: Suite, store: RunStore, echo: Echo, resume: str | None = None, again: str = "missing") -> str:
    with planned(suite, Path(), endpoint=lambda: echo, show=lambda _: None) as plan:
        info = start(plan, store, resume, again)  # type: ignore[arg-type]
        begun: list[int] = []

        def begin(total: int) -> Callable[[], None]:
            begun.append(total)
            return lambda: None

        return carry_out(plan, store, info, again, begin).id  # type: ignore[arg-type]


def test_an_item_that_errs_counts_as_a_failure_with_its_reason_and_the_worst_value(
    suite: Suite, store: RunStore
) -> None:
    run = _run(suite, store, Echo())
    assert store.run(run).state == "complete"
    assert [(each.state, each.failure) for each in store.items(run)] == [
        ("ok", ""), ("failed", "TimeoutError: no answer in 5 s"), ("ok", ""),
    ]  # fmt: skip
    assert [each.metrics["token_f1"] for each in store.scores(run)] == [1.0, 0.0, 1.0]
    assert all("seconds" in each.metrics for each in store.scores(run))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StorageUnavailable("the disk is full")])
def test_a_cut_run_is_marked_unscored_and_goes_on_with_what_is_missing(
    suite: Suite, store: RunStore, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        _run(suite, store, Echo(cut_after=2, error=error))
    [info] = store.runs()
    kept = len(store.items(info.id))
    assert (info.state, store.scores(info.id)) == ("interrupted", [])
    assert kept in {1, 2}  # the second may have been cut off on its way to the disk
    echo = Echo()
    assert _run(suite, store, echo, info.id) == info.id
    assert echo.asked == ["err", "three"][kept - 1 :]
    assert len(store.scores(info.id)) == 3


def test_a_complete_run_is_not_run_again_but_its_failed_items_can_be(suite: Suite, store: RunStore) -> None:
    run = _run(suite, store, Echo())
    with pytest.raises(ConfigurationError, match="is complete; give --retry-failed"):
        _run(suite, store, Echo(), run)
    echo = Echo()
    echo.healthy = True
    _run(suite, store, echo, run, "failed")
    assert echo.asked == ["err"]
    assert [each.metrics["token_f1"] for each in store.scores(run)] == [1.0, 1.0, 1.0]


def test_a_run_does_not_go_on_over_other_data(suite: Suite, store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(suite, store, Echo(cut_after=1, error=KeyboardInterrupt()))
    _ask(tmp_path, ["one", "two", "three"])
    with pytest.raises(ConfigurationError, match="cannot go on, because since then data changed"):
        _run(suite, store, Echo(), store.runs()[0].id)


def test_every_repeat_is_produced(suite: Suite, store: RunStore) -> None:
    echo = Echo()
    run = _run(suite.model_copy(update={"repeats": 3, "workers": 4}), store, echo)
    assert len(echo.asked) == 9
    assert {(each.item, each.repeat) for each in store.items(run)} == {
        (f"q/{number}", repeat) for number in range(3) for repeat in range(3)
    }
    assert still_to_do([], 3, store.items(run), "missing") == []


def test_a_complete_run_is_scored_again_with_other_metrics_and_nothing_is_asked(
    suite: Suite, store: RunStore, tmp_path: Path
) -> None:
    run = _run(suite, store, Echo())
    rescore(suite.model_copy(update={"metrics": ("rouge_l",)}), store, run)
    assert [each.metrics for each in store.scores(run)] == [{"rouge_l": 1.0}, {"rouge_l": 0.0}, {"rouge_l": 1.0}]
    _ask(tmp_path, ["other"])
    with pytest.raises(ConfigurationError, match="the data of mine changed since the run"):
        rescore(suite, store, run)


def test_scored_again_a_run_tells_the_same_causes(suite: Suite, store: RunStore, tmp_path: Path) -> None:
    rows = [{"id": each, "question": "?", "answer": "x", "answerable": True, "documents": [each]} for each in "ab"]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    echo = Echo()
    echo.documents = frozenset({"a"})
    echo.passages = (RetrievedPassage("1", "t", 1, "", 1.0),)
    run = _run(suite, store, echo)
    causes = [each.detail["cause"] for each in store.scores(run)]
    assert causes == ["not retrieved", "not in corpus"]
    rescore(suite, store, run)
    assert [each.detail["cause"] for each in store.scores(run)] == causes


def test_an_endpoint_is_judged_without_the_metrics_that_it_gives_nothing_for(suite: Suite, store: RunStore) -> None:
    floors = (Floor(metric="ndcg@10", at_least=0.5), Floor(metric="token_f1", at_least=0.1))
    suite = suite.model_copy(update={"metrics": ("ndcg@10", "token_f1"), "thresholds": floors})
    info = store.run(_run(suite, store, Echo()))
    assert info.left_out == ("ndcg@10",)
    assert {name for each in store.scores(info.id) for name in each.metrics} == {"token_f1"}
    assert "Left out, because echo does not give what they need: ndcg@10" in written(store, info, ())
    kept = suite_of(store, info.id)
    assert kept is not None
    assert [each.metric for each in kept.thresholds] == ["token_f1"]
    with pytest.raises(ConfigurationError, match="gives nothing that the suite mine measures"):
        _run(suite.model_copy(update={"metrics": ("ndcg@10",), "thresholds": ()}), store, Echo())


def test_a_limit_may_leave_out_all_items_that_a_metric_fits(suite: Suite, store: RunStore, tmp_path: Path) -> None:
    rows = [{"id": "a", "question": "?", "answerable": True}, {"id": "b", "question": "?", "answerable": False}]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = suite.model_copy(update={"metrics": ("false_refusal", "missed_refusal")})
    with planned(suite, Path(), limit=1, endpoint=Echo, show=lambda _: None) as plan:
        info = carry_out(plan, store, start(plan, store, None, "missing"), "missing", lambda _: lambda: None)
    assert [each.metrics for each in store.scores(info.id)] == [{"false_refusal": 0.0}]
