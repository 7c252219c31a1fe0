"""Questions while a real Chroma server is frozen: searched by words, in time, labelled, and as before afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evaluations.chaos.processes import Child
from evaluations.chaos.stack import chroma_server
from rag.bootstrap import Workspace, open_workspace
from rag.domain import Answer
from rag.query.events import AskRequest
from rag.query.patience import NOTICE
from rag.settings import Settings

QUESTION = "Within how many business days must a financial institution determine whether an error occurred?"


@pytest.fixture
def chroma(tmp_path: Path, free_port: int) -> Iterator[tuple[Child, int]]:
    server = chroma_server(tmp_path, free_port)
    server.start()
    yield server, free_port
    server.kill()


@pytest.fixture
def workspace(
    chroma: tuple[Child, int], make_settings: Callable[..., Settings], corpus_folder: Path
) -> Iterator[Workspace]:
    source = {"name": "rules", "kind": "filesystem", "collection": "regulations", "root": str(corpus_folder)}
    storage = {"chroma": "server", "chroma_host": "127.0.0.1", "chroma_port": chroma[1]}
    opened = open_workspace(make_settings(sources=[source], storage=storage))
    assert not opened.ingest().failed
    yield opened
    chroma[0].thaw()
    opened.close()


def _ask(workspace: Workspace, question: str = QUESTION) -> Answer:
    return asyncio.run(workspace.pipeline.ask(AskRequest(question, ()), workspace.principal()))


@pytest.mark.proves("ASVS 16.5.2")
def test_a_frozen_chroma_costs_meaning_but_no_answer(workspace: Workspace, chroma: tuple[Child, int]) -> None:
    before = _ask(workspace)
    assert (before.degraded, before.notice) == ("", "")
    chroma[0].freeze()
    during = _ask(workspace, f"{QUESTION} Please.")
    assert "10 business days" in during.text
    assert (during.degraded, during.notice, during.cacheable) == ("words_only", NOTICE, False)
    assert during.confidence == pytest.approx(before.confidence, abs=0.2), "judged by the same signals"
    refused = _ask(workspace, "Which moons of Jupiter have an atmosphere?")
    assert (refused.status, refused.degraded) == ("refused", "words_only")
    chroma[0].thaw()
    until = time.monotonic() + 60
    while _ask(workspace).degraded:
        assert time.monotonic() < until, "the search by meaning did not come back"
        time.sleep(0.2)


def test_a_killed_chroma_is_noticed_at_once_and_found_again(workspace: Workspace, chroma: tuple[Child, int]) -> None:
    _ask(workspace)
    chroma[0].kill()
    assert _ask(workspace).degraded == "words_only"
    chroma[0].start()
    until = time.monotonic() + 60
    while _ask(workspace).degraded:
        assert time.monotonic() < until, "the search by meaning did not come back"
        time.sleep(0.2)
