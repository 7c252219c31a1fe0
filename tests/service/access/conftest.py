"""A world of people and papers: everything that can happen to it, everything that can be seen of it, and an oracle."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

import rag.ingestion.removing
import rag.ingestion.uploads
import rag.ingestion.writing
import rag.query.pipeline
import rag.query.retrieval
from bentos.application import create_app
from bentos.opening import Opening, open_workspace_and_jobs
from connectors.base import DocumentMetadata, Page, SourceDocument, SourceItem, document_id
from rag.bootstrap import Workspace
from rag.domain import Principal
from rag.governance.roles import expanded
from rag.ingestion.run import Source
from rag.settings import Settings, load_settings
from rag.storage.catalog import Catalog

Labels = frozenset[str]
QUESTION = "Which fee does the vault rule set for a sealed deposit box?"
SUBSETS = [frozenset(), frozenset("a"), frozenset("b"), frozenset("ab")]
PEOPLE = [
    Principal(f"{tenant}-{''.join(sorted(clearances)) or 'none'}", tenant, expanded(["analyst"]), clearances)
    for tenant in ("north", "south")
    for clearances in SUBSETS
]


@dataclass(slots=True)
class Paper:
    """What the oracle knows of a document."""

    name: str
    tenant: str
    labels: Labels  # of its source
    first: Labels
    added: Labels = frozenset()
    there: bool = True

    @property
    def canary(self) -> str:
        """A word that is in this document and nowhere else: in its title, its text and its file."""
        return "zq" + hashlib.sha256(self.name.encode()).hexdigest()[:10]

    def open_to(self, person: Principal) -> bool:
        """The oracle."""
        return self.there and self.tenant == person.tenant and self.labels | self.added <= person.clearances


class Shelf:
    """The papers of one tenant as a source. `collection` is its name too."""

    def __init__(self, name: str, papers: Sequence[Paper]) -> None:
        self.source = name
        self.papers = papers

    def list_items(self) -> Iterator[SourceItem]:
        for paper in self.papers:
            told = DocumentMetadata(f"Vault rule {paper.canary}", tuple(sorted(paper.labels)))
            digest = hashlib.sha256(repr(told).encode()).hexdigest()
            yield SourceItem(document_id(self.source, paper.name), paper.name, digest, paper.name, told)

    def read(self, item: SourceItem) -> SourceDocument:
        canary = next(each.canary for each in self.papers if each.name == item.location)
        text = f"The vault rule {canary} sets the fee for a sealed deposit box at {len(item.location)} dollars a year."
        return SourceDocument(
            item.id, item.uri, item.metadata.title, "text/plain", item.fingerprint, text.encode(), (Page(1, text, 0),),
            item.metadata.access,
        )  # fmt: skip

    def close(self) -> None:
        return None


class ByNumber:
    """`Authorization: Bearer 3` is the fourth of the people."""

    people = PEOPLE

    async def principal(self, authorization: str | None) -> Principal:
        return self.people[int((authorization or "").removeprefix("Bearer "))]

    async def sign_out(self, authorization: str | None) -> None:
        return None

    def close(self) -> None:
        return None


@dataclass
class World:
    """A workspace with papers of two tenants, everything that can happen to them, and everything that can be seen."""

    opening: Opening
    papers: list[Paper]
    cases: int = 0
    frozen: bool = False
    looks: int = 0
    nothing: dict[str, str] = field(default_factory=dict)  # what each route says of a document that is not there
    people: Sequence[Principal] = tuple(PEOPLE)
    question: str = QUESTION
    subsets: Sequence[Labels] = tuple(SUBSETS)

    def __post_init__(self) -> None:
        self.workspace: Workspace = self.opening.workspace()
        self.workspace = replace(self.workspace, authentication=ByNumber())
        settings = self.workspace.settings.model_copy(update={"identity": _identity()})
        self.workspace.settings = settings
        opened = Opening(settings, lambda: (self.workspace, self.opening.jobs())).start().wait()
        self.app: FastAPI = create_app(opened)
        self.catalog: Catalog = self.workspace.catalog
        self.ids = {paper.name: document_id(paper.tenant, paper.name) for paper in self.papers}
        self.by_id = {self.ids[paper.name]: paper for paper in self.papers}
        for tenant in ("north", "south"):
            self.ingest(tenant)

    # --- what can happen ---------------------------------------------------------------------------------------------

    def ingest(self, tenant: str) -> None:
        """Make the index equal to a tenant's shelf."""
        its = replace(self.workspace, settings=self.workspace.settings.model_copy(update={"tenant": tenant}))
        shelf = Shelf(tenant, [each for each in self.papers if each.tenant == tenant])
        its.ingest_from([Source(shelf, tenant)], mass_delete="allow")

    def relabel(self, paper: Paper, labels: Labels) -> None:
        """The source says other labels."""
        paper.labels = labels
        self.ingest(paper.tenant)

    def add_labels(self, paper: Paper, labels: Labels) -> None:
        """Somebody says which labels the document has besides."""
        paper.added = labels
        self.workspace.registry.set_added_labels(self.ids[paper.name], labels, "operator")

    def remove(self, paper: Paper) -> None:
        """Somebody deletes the document."""
        paper.there = False
        rag.ingestion.removing.exclude_document(
            self.workspace.registry.document(self.ids[paper.name]), self.workspace.stores
        )

    def bring_back(self, paper: Paper) -> None:
        """Somebody restores it."""
        document = self.workspace.registry.document(self.ids[paper.name])
        rag.ingestion.removing.remove_documents([document], self.workspace.stores)
        paper.there = True
        self.ingest(paper.tenant)

    @contextmanager
    def stale_catalog(self) -> Iterator[None]:
        """The moment between a change in the registry and the next look at it."""
        seen = self.catalog.refresh()
        self.frozen = True
        with pytest.MonkeyPatch.context() as patch:
            # The catalog alone is late: what looks at the registry itself sees it as it is.
            patch.setattr(self.catalog, "_registry", SimpleNamespace(snapshot=lambda: seen))
            yield
        self.frozen = False
        self.catalog.refresh()

    @contextmanager
    def unfinished_relabel(self, paper: Paper, labels: Labels) -> Iterator[None]:
        """A run that was killed after its commit: Chroma and the lexical index have the chunks under the old labels."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rag.ingestion.writing, "discard", lambda *_: None)
            self.relabel(paper, labels)
        yield
        rag.ingestion.removing.recover(self.workspace.stores)

    def settle(self) -> None:
        """Everything there, and labels as they were at first."""
        for paper in self.papers:
            if not paper.there:
                self.bring_back(paper)
            self.add_labels(paper, frozenset())
            paper.labels = paper.first
        for tenant in ("north", "south"):
            self.ingest(tenant)
        self.catalog.refresh()

    def caller(self, person: Principal) -> httpx.AsyncClient:
        """Somebody at the API, in this process."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        headers = {"authorization": f"Bearer {PEOPLE.index(person)}"}
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)

    # --- what can be seen --------------------------------------------------------------------------------------------

    def leaks(self, people: Sequence[Principal] = PEOPLE, *, asking: bool = False, every: int = 1) -> list[str]:
        """Everything that these people see and may not, or may see and do not.

        The routes of one document are tried for every `every`th paper, another one each time.
        """
        self.looks += 1
        return asyncio.run(self._leaks(people, asking, self.papers[self.looks % every :: every]))

    async def _leaks(self, people: Sequence[Principal], asking: bool, papers: Sequence[Paper]) -> list[str]:  # noqa: FBT001
        found: list[str] = []
        for person in people:
            async with self.caller(person) as client:
                found += await self._listing(client, person)
                found += await self._search(client, person)
                for paper in papers:
                    found += await self._document(client, person, paper)
                if asking:
                    found += await self._ask(client, person)
        return found

    async def _listing(self, client: httpx.AsyncClient, person: Principal) -> list[str]:
        response = await client.get("/v1/documents")
        named = await client.post("/v1/search", json={"query": QUESTION, "filters": {"collections": ["nowhere"]}})
        other = "south" if person.tenant == "north" else "north"
        told = [f"{person.subject} learns of collection {other}"] if other in named.text else []
        return told + self._compare("list", person, response.text, exact=True, excluded=True)

    async def _search(self, client: httpx.AsyncClient, person: Principal) -> list[str]:
        with self._watched() as touched:
            response = await client.post("/v1/search", json={"query": QUESTION, "top_k": 20})
        told = self._compare("search", person, response.text, exact=not self.frozen)
        view = self.catalog._view.by_scope
        for kind, name in touched:
            if kind == "scope" and self.frozen:
                continue
            open_ = any(person.may_read(d.tenant, d.access) for d in view.get(name, ())) if kind == "scope" else None
            if kind == "chunk" and not self.frozen:
                open_ = self.by_id[name].open_to(person)
            if open_ is False:
                told.append(f"a search of {person.subject} touches {kind} {name}")
        return told

    async def _document(self, client: httpx.AsyncClient, person: Principal, paper: Paper) -> list[str]:
        """Each route of one document; where it may not be known, exactly as if it did not exist."""
        told = []
        known, absent = self.ids[paper.name], "0" * 16
        for path in ("", "/pages/1", "/content"):
            response = await client.get(f"/v1/documents/{known}{path}")
            self.cases += 1
            if paper.open_to(person) != (response.status_code == 200) and paper.there:
                told.append(f"{person.subject} gets {response.status_code} for {paper.name}{path}")
            if response.status_code != 200 and paper.there:
                if path not in self.nothing:
                    self.nothing[path] = (await client.get(f"/v1/documents/{absent}{path}")).text
                if response.text.replace(known, absent) != self.nothing[path]:
                    told.append(f"{person.subject} can tell {paper.name}{path} from what is not there")
            if paper.canary in response.text and not self._may_know(paper, person):
                told.append(f"{person.subject} reads {paper.name}{path}")
        return told

    async def _ask(self, client: httpx.AsyncClient, person: Principal) -> list[str]:
        response = await client.post("/v1/ask", json={"question": QUESTION})
        return self._compare("ask", person, response.text, exact=False)

    def _compare(self, route: str, person: Principal, text: str, *, exact: bool, excluded: bool = False) -> list[str]:
        told = []
        for paper in self.papers:
            self.cases += 1
            open_ = self._may_know(paper, person) if excluded else paper.open_to(person)
            if paper.canary in text and not open_:
                told.append(f"{route} shows {paper.name} to {person.subject}")
            if exact and open_ and paper.canary not in text:
                told.append(f"{route} keeps {paper.name} from {person.subject}")
        return told

    @staticmethod
    def _may_know(paper: Paper, person: Principal) -> bool:
        """Deleted documents stay in the listing, by title, for those who could read them."""
        return replace(paper, there=True).open_to(person)

    @contextmanager
    def _watched(self) -> Iterator[list[tuple[str, str]]]:
        """Which scopes a search asks, and of which documents it reads texts."""
        touched: list[tuple[str, str]] = []
        vectors, registry = self.workspace.searcher._vectors, self.workspace.registry
        query, passages = vectors.query_many, registry.passages

        def watched_query(scopes: Sequence[str], *rest: Any) -> Any:
            touched.extend(("scope", scope) for scope in scopes)
            return query(scopes, *rest)

        def watched_passages(chunk_ids: Sequence[str]) -> Any:
            touched.extend(("chunk", each.split("-", 1)[0]) for each in chunk_ids)
            return passages(chunk_ids)

        self.workspace.searcher._known_texts._things.clear()  # so that every text is read
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(vectors, "query_many", watched_query)
            patch.setattr(registry, "passages", watched_passages)
            yield touched


def _identity() -> Any:
    return load_settings("test", environment={}, overrides={"identity": {"mode": "api_key"}}).identity


@pytest.fixture(scope="module")
def world(make_service_settings: Callable[..., Settings]) -> Iterator[World]:
    settings = make_service_settings(sources=[], tenant="north")
    opening = Opening(settings, lambda: open_workspace_and_jobs(settings)).start().wait()
    shelf = [*SUBSETS, frozenset()]  # two papers of the same labels, so that moving one leaves the place of the other
    papers = [Paper(f"{t}-{number}", t, each, each) for t in ("north", "south") for number, each in enumerate(shelf)]
    yield World(opening, papers)
    opening.close()
