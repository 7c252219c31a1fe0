"""A pipeline in this process, as a target: it searches, it answers, or it checks statements."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import aclosing
from typing import Any, Final

from evaluations.datasets.items import Item
from evaluations.metrics.support import supports
from evaluations.runs.machine import code_version, machine
from evaluations.runs.records import CitedQuote, Fingerprints, Produced, RetrievedPassage
from evaluations.suites.schema import Task
from evaluations.targets.base import Place
from rag.bootstrap import Workspace
from rag.domain import Answer, Principal, SearchFilter
from rag.errors import ModelError, NotFound
from rag.query.events import AskRequest, Completed, StageFinished, Turn
from rag.query.prompting import prompt_version

_TEXTS: Final = 20  # passages that are kept with their text; further down only their place counts
_CHARACTERS: Final = 4_000  # of a page, for reading what an answer was made from


class PipelineTarget:
    """A workspace that searches or answers. `place` gives the labels' keys; `depth` is for searches."""

    def __init__(self, workspace: Workspace, place: Place, task: Task, depth: int) -> None:
        self.name = "pipeline"
        self.gives = frozenset({"passages"} if task == "search" else {"passages", "answer", "citations", "confidence"})
        self._workspace, self._place, self._task, self._depth = workspace, place, task, depth
        self._principal = workspace.principal()
        workspace.warm_up()

    @property
    def documents(self) -> frozenset[str]:
        """See `Target`."""
        return frozenset(
            self._place(each.id, 1)[1] for each in self._workspace.registry.documents() if each.state == "indexed"
        )

    async def produce(self, item: Item) -> Produced:
        """See `Target`."""
        if self._task == "search":
            return await self._search(item)
        return await self.ask(_request(item), self._principal)

    def fingerprints(self, suite: str, data: str) -> Fingerprints:
        """See `Target`."""
        settings, registry = self._workspace.settings, self._workspace.registry
        corpus = sorted((each.uri, each.content_hash, each.collection) for each in registry.documents())
        retrieval = [settings.retrieval.model_dump(mode="json"), settings.splitting.model_dump(mode="json")]
        weights = {name: each.model_dump(mode="json") for name, each in settings.collections.items()}
        generation = settings.generation.model_dump(mode="json")
        return Fingerprints(
            suite=suite,
            data=data,
            snapshot=_digest(corpus),
            prompt=prompt_version(),
            model=f"{self._workspace.embedding.fingerprint} {generation['engine']}",
            decoding=_digest([generation, retrieval, weights, settings.refusal.model_dump(mode="json")]),
            code=code_version(),
            machine=machine(),
        )

    async def aclose(self) -> None:
        """See `Target`. The workspace is closed by whoever opened it."""

    async def _search(self, item: Item) -> Produced:
        began = time.perf_counter()
        found = await self._workspace.searcher.asearch(item.question, self._principal, SearchFilter(), self._depth)
        seconds = time.perf_counter() - began
        passages = []
        for rank, each in enumerate(found):
            key, document_key = self._place(each.document_id, each.page)
            text = each.text if rank < _TEXTS else ""
            passages.append(
                RetrievedPassage(
                    each.document_id, each.title, each.page, text, each.score, key, document_key, in_prompt=False
                )
            )
        return Produced(status="searched", passages=tuple(passages), timings={"total": seconds})

    async def ask(self, request: AskRequest, principal: Principal) -> Produced:
        """The answer to this principal, with what was retrieved for it."""
        retrieved: list[dict[str, Any]] = []
        read: list[dict[str, Any]] = []
        async with aclosing(self._workspace.pipeline.stream(request, principal)) as events:
            async for event in events:
                if isinstance(event, StageFinished) and event.stage == "retrieve":
                    retrieved = event.detail["passages"]
                elif isinstance(event, StageFinished) and event.stage == "verify":
                    read = event.detail["read"]
                elif isinstance(event, Completed):
                    return self._produced(event.answer, retrieved, read)
        raise ModelError("the answer ended before it was complete")

    def _produced(self, answer: Answer, retrieved: list[dict[str, Any]], read: list[dict[str, Any]]) -> Produced:
        texts: dict[tuple[str, int], str] = {}
        in_prompt = {(each["document_id"], each["page"]) for each in read}
        passages = []
        for each in retrieved:
            place = (each["document_id"], each["page"])
            text = "" if place in texts or len(texts) >= _TEXTS else self._page(*place)
            texts.setdefault(place, text)
            keys = self._place(*place)
            passages.append(
                RetrievedPassage(
                    each["document_id"], each["title"], each["page"], text, each["score"],
                    *keys, in_prompt=place in in_prompt,
                )
            )  # fmt: skip
        citations = tuple(
            CitedQuote(
                each.document_id, each.title, each.page, each.quote,
                *self._place(each.document_id, each.page), marker=str(each.marker),
            )
            for each in answer.citations
        )  # fmt: skip
        return Produced(
            answer.text, answer.status, answer.reason, tuple(passages), citations,
            dict(answer.timings), dict(answer.tokens), answer.confidence,
        )  # fmt: skip

    def _page(self, document_id: str, page: int) -> str:
        try:
            return self._workspace.registry.page(document_id, page).text[:_CHARACTERS]
        except NotFound:
            return ""


def _request(item: Item) -> AskRequest:
    return AskRequest(item.question, tuple(Turn(role, text) for role, text in item.history))


class CheckTarget:
    """Our check whether given texts support a statement; nothing is searched."""

    def __init__(self) -> None:
        self.name = "check"
        self.gives = frozenset({"verdict"})
        self.documents: frozenset[str] | None = None

    async def produce(self, item: Item) -> Produced:
        """See `Target`."""
        began = time.perf_counter()
        supported = supports(item.question, item.evidence, item.about)
        seconds = time.perf_counter() - began
        return Produced(status="supported" if supported else "unsupported", timings={"total": seconds})

    def fingerprints(self, suite: str, data: str) -> Fingerprints:
        """See `Target`."""
        return Fingerprints(suite, data, code=code_version(), machine=machine())

    async def aclose(self) -> None:
        """See `Target`. Nothing is open."""


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
