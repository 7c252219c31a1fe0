"""Each guard, taken away alone, lets `World` find a leak; else the guard, or the search for leaks, is worth nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

import bentos.routes.jobs
import rag.query.pipeline
import rag.query.retrieval
from rag.bootstrap import Workspace
from rag.domain import Passage, Principal
from rag.query.caching import CachedAnswers
from rag.storage.catalog import Catalog


def _sweep(world: Any) -> list[str]:
    """What leaks in the few states in which each guard is the one that matters."""
    people = [world.people[0], world.people[3]]
    public = world.papers[0]
    leaks = world.leaks(people)
    with world.stale_catalog():
        world.add_labels(public, frozenset("a"))
        leaks += world.leaks(people)
    world.add_labels(public, frozenset())
    world.catalog.refresh()
    with world.unfinished_relabel(public, frozenset("b")):
        leaks += world.leaks(people)
    world.relabel(public, frozenset())
    return leaks


def _all_scopes(self: Catalog, *_: Any) -> list[str]:
    return sorted(self._current().by_scope)


def _all_collections(self: Catalog, *_: Any) -> list[str]:
    return sorted({each.collection for some in self._current().by_scope.values() for each in some})


def _no_look(passages: Sequence[Passage], *_: Any) -> list[Passage]:
    return list(passages)


GUARDS: dict[str, tuple[Any, str, Any]] = {
    "the scopes that a search asks": (Catalog, "scopes", _all_scopes),
    "the catalog's word on each document": (
        Catalog,
        "visible_among",
        lambda self, ids, *_: {each for each in ids if self.document(each)},
    ),
    "the last look at the registry": (rag.query.retrieval, "still_readable", _no_look),
    "the names of collections": (Catalog, "collections", _all_collections),
    "one document": (Workspace, "document", lambda self, each, _: self.registry.document(each)),
    "the list of documents": (Workspace, "documents", lambda self, _: self.registry.documents()),
}


def test_with_all_guards_nothing_leaks(world: Any) -> None:
    world.settle()
    assert _sweep(world) == []


@pytest.mark.proves("AISVS 5.2.2", "SOC 2 CC6.1", "ISO A.8.29")
@pytest.mark.parametrize("guard", GUARDS)
def test_without_this_guard_something_leaks(world: Any, guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, name, allow = GUARDS[guard]
    with monkeypatch.context() as patch:
        patch.setattr(place, name, allow)
        leaks = _sweep(world)
    world.settle()
    assert leaks, f"nothing leaks without {guard}: it guards nothing, or this search for leaks is blind"


def _asked_while_it_is_revoked(world: Any) -> str:
    """What somebody gets whose documents all get a label between the search and the answer."""
    person = world.people[0]
    searcher = world.workspace.searcher
    search = type(searcher).search_each

    def then_revoke(self: Any, *arguments: Any) -> list[list[Passage]]:
        found = search(self, *arguments)
        world.add_labels(world.papers[0], frozenset("a"))
        return found

    async def ask() -> str:
        async with world.caller(person) as client:
            return (await client.post("/v1/ask", json={"question": world.question})).text

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(searcher), "search_each", then_revoke)
        text = asyncio.run(ask())
    world.add_labels(world.papers[0], frozenset())
    world.catalog.refresh()
    return text


@pytest.mark.proves("AISVS 5.2.4", "ASVS 8.3.2")
def test_an_answer_that_is_being_written_says_nothing_of_what_was_revoked(world: Any) -> None:
    assert world.papers[0].canary not in _asked_while_it_is_revoked(world)


def test_without_the_look_at_each_sentence_it_would(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rag.query.pipeline, "may_read_all", lambda *_: True)
    assert world.papers[0].canary in _asked_while_it_is_revoked(world)


@pytest.mark.proves("LLM02", "ASVS 8.3.2")
@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "unguarded"])
def test_a_kept_answer_is_not_given_to_who_lost_access(
    world: Any, monkeypatch: pytest.MonkeyPatch, *, guarded: bool
) -> None:
    """The catalog is a moment old, so the answer has the same name as before; the look at its documents decides."""
    paper = world.papers[0]

    async def always(*_: Any) -> bool:
        return True

    if not guarded:
        monkeypatch.setattr(CachedAnswers, "_holds", always)
    with world.stale_catalog():
        assert world.leaks([world.people[0]], asking=True) == []
        world.add_labels(paper, frozenset("a"))
        leaks = world.leaks([world.people[0]], asking=True)
    world.settle()
    assert bool(leaks) != guarded


class TestUploads:
    """What somebody uploads can neither be more closed than they are themselves nor replace what they cannot read."""

    @staticmethod
    async def _upload(world: Any, person: Principal, name: str, **form: Any) -> httpx.Response:
        async with world.caller(person) as client:
            return await client.post("/v1/documents", files={"file": (name, b"A plain text.")}, data=form)

    @pytest.mark.proves("ASVS 8.2.2")
    async def test_labels_that_the_uploader_does_not_hold_are_refused(self, world: Any) -> None:
        assert (await self._upload(world, world.people[0], "labelled.txt", access=["a"])).status_code == 422
        assert (await self._upload(world, world.people[3], "labelled.txt", access=["a"])).status_code == 202

    async def test_a_file_that_the_uploader_may_not_read_is_not_replaced(self, world: Any) -> None:
        assert (await self._upload(world, world.people[3], "theirs.txt", access=["a"])).status_code == 202
        refused = await self._upload(world, world.people[0], "theirs.txt")
        assert (refused.status_code, "not yours to replace" in refused.json()["detail"]) == (422, True)

    @pytest.mark.proves("ASVS 8.4.1")
    async def test_people_of_another_tenant_cannot_put_documents_into_this_one(self, world: Any) -> None:
        assert (await self._upload(world, world.people[7], "foreign.txt")).status_code == 403

    @pytest.mark.proves("ASVS 8.2.2")
    async def test_a_job_is_its_starter_s_alone(self, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        job = (await self._upload(world, world.people[0], "mine.txt")).json()["id"]

        async def seen() -> list[int]:
            transport = httpx.ASGITransport(app=world.app)
            codes = []
            for person in (0, 1, 4):
                headers = {"authorization": f"Bearer {person}"}
                async with httpx.AsyncClient(
                    transport=transport, base_url="http://localhost", headers=headers
                ) as client:
                    codes.append((await client.get(f"/v1/jobs/{job}")).status_code)
            return codes

        assert await seen() == [200, 404, 404]
        monkeypatch.setattr(bentos.routes.jobs, "_may_see", lambda *_: True)
        assert await seen() == [200, 200, 200]
