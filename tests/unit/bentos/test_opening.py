"""A workspace that opens in the background of a server that answers already."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from bentos import opening as module
from bentos.opening import Opening
from rag.errors import BankSightError, Busy, ConfigurationError, StorageUnavailable
from rag.settings import Settings


class Part:
    """A workspace or a runner of jobs that remembers whether it was closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def parts() -> Any:
    return Part(), Part()


def test_callers_are_told_to_wait_while_it_opens(settings: Settings, parts: Any) -> None:
    go = threading.Event()

    def slowly() -> Any:
        go.wait(30)
        return parts

    opening = Opening(settings, slowly).start()
    with pytest.raises(Busy, match="starting") as raised:
        opening.workspace()
    state = opening.state
    go.set()
    opening.wait()
    assert (state, opening.state, raised.value.retry_after) == ("opening", "open", 2)
    assert (opening.workspace(), opening.jobs()) == parts


def test_what_the_operator_must_put_right_is_told_to_every_caller_and_once_to_the_operator(settings: Settings) -> None:
    told: list[BankSightError] = []

    def fail() -> Any:
        raise ConfigurationError("set the folder")

    opening = Opening(settings, fail, told.append).start()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="set the folder"):
            opening.wait()
    assert opening.state == "failed"
    assert [str(error) for error in told] == ["set the folder"]


def test_unexpected_failure_keeps_its_details_in_the_log(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Any:
        raise RuntimeError("password=hunter2")

    opening = Opening(settings, fail).start()
    with pytest.raises(BankSightError) as raised:
        opening.wait()
    assert "hunter2" not in str(raised.value)
    assert "hunter2" in caplog.text


def test_store_that_does_not_answer_yet_is_tried_again(
    settings: Settings, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)
    attempts = 0

    def at_the_third_attempt() -> Any:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise StorageUnavailable("Chroma does not answer")
        return parts

    opening = Opening(settings, at_the_third_attempt).start().wait()
    assert (opening.workspace(), attempts) == (parts[0], 3)


def test_closing_closes_jobs_and_workspace_and_refuses_callers(settings: Settings, parts: Any) -> None:
    opening = Opening(settings, lambda: parts).start().wait()
    opening.close()
    assert (parts[0].closed, parts[1].closed, opening.state) == (True, True, "closed")
    with pytest.raises(Busy, match="stopping"):
        opening.workspace()


def test_closing_while_it_opens_closes_what_was_opened(settings: Settings, parts: Any) -> None:
    go = threading.Event()

    def slowly() -> Any:
        go.wait(30)
        return parts

    opening = Opening(settings, slowly).start()
    threading.Timer(0.05, go.set).start()
    opening.close()
    assert parts[0].closed


def test_closing_before_it_ever_started_is_harmless(settings: Settings, parts: Any) -> None:
    Opening(settings, lambda: parts).close()
    assert not parts[0].closed
