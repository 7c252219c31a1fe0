"""An endpoint as a target: our API, or whatever speaks OpenAI's chat completions."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from evaluations.datasets.items import Item
from evaluations.runs.machine import code_version, machine
from evaluations.runs.records import CitedQuote, Fingerprints, Produced, RetrievedPassage
from evaluations.suites.schema import Suite
from evaluations.targets.exchanging import Endpoint
from rag.errors import ConfigurationError, ModelError

Api = Literal["banksight", "openai"]
_MOST: Final = 50  # passages that BankSight gives for one search, unless its retrieval.max_top_k is another


class HttpTarget:
    """An endpoint at `url`. Our API names its documents at the start, so that labelled places can be found.

    Where the labels of a suite are whole passages (`contexts`, `rows`), the service must hold each in a document of
    its own that is named by the passage's id. A search asks for 50 passages at most. Raises `ConfigurationError` when
    nobody answers.
    """

    def __init__(self, url: str, api: Api, suite: Suite, *, model: str, key: str, timeout: float) -> None:
        if suite.task == "search" and api == "openai":
            raise ConfigurationError("OpenAI's API has no search; choose a suite that asks for answers")
        if api == "openai" and not model:
            raise ConfigurationError("an endpoint that speaks OpenAI's API needs the name of a model: give --model")
        self._endpoint = Endpoint(url, key, timeout)
        self._api, self._model = api, model
        self._searches, self._depth = suite.task == "search", min(suite.depth, _MOST)
        self._by_document = all(each.corpus.kind in {"contexts", "rows"} for each in suite.data)
        self._documents = self._listed() if api == "banksight" else []
        self._stems = {each["id"]: Path(each["uri"].removeprefix("file:")).stem for each in self._documents}
        if api == "openai":
            self._endpoint.get("/v1/models")
        self.name = f"{self._endpoint.url} ({api})"
        answer = {"answer"} if api == "openai" else {"answer", "passages", "citations", "confidence"}
        self.gives = frozenset({"passages"} if self._searches else answer)

    @property
    def documents(self) -> frozenset[str] | None:
        """See `Target`."""
        return frozenset(self._stems.values()) if self._api == "banksight" else None

    async def produce(self, item: Item) -> Produced:
        """See `Target`. The total time is what a caller waits, with the patience that a busy endpoint asked for."""
        began = time.perf_counter()
        if self._api == "openai":
            produced = _completion(await self._endpoint.post("/v1/chat/completions", _chat(item, self._model)))
        elif self._searches:
            found = await self._endpoint.post("/v1/search", {"query": item.question, "top_k": self._depth})
            produced = Produced(status="searched", passages=tuple(self._passage(each) for each in found["passages"]))
        else:
            history = [{"role": role, "content": text} for role, text in item.history]
            asked = {"question": item.question, "history": history, "stream": True, "fresh": True}
            produced = self._answer(await self._endpoint.events("/v1/ask", asked))
        produced.timings["total"] = time.perf_counter() - began
        return produced

    def fingerprints(self, suite: str, data: str) -> Fingerprints:
        """See `Target`. What an endpoint does not tell stays empty."""
        listed = sorted(
            (each["uri"], each["collection"], each["size_bytes"], each["snapshot_added"]) for each in self._documents
        )
        snapshot = hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16] if listed else ""
        return Fingerprints(suite, data, snapshot, model=self._model, code=code_version(), machine=machine())

    async def aclose(self) -> None:
        """See `Target`."""
        await self._endpoint.aclose()

    def _listed(self) -> list[Mapping[str, Any]]:
        documents: list[Mapping[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._endpoint.get("/v1/documents", {"cursor": cursor} if cursor else {})
            if not isinstance(page, dict) or "documents" not in page:
                raise ConfigurationError(
                    f"the endpoint {self._endpoint.url} is no BankSight; give --api openai for what speaks OpenAI's API"
                )
            documents += page["documents"]
            cursor = page["next_cursor"]
        return documents

    def _place(self, found: Mapping[str, Any]) -> tuple[str, str]:
        stem = self._stems.get(found["document_id"], "")
        return stem if self._by_document else f"{stem} {found['page']}", stem

    def _passage(self, found: Mapping[str, Any], *, in_prompt: bool = False) -> RetrievedPassage:
        return RetrievedPassage(
            found["document_id"], found["title"], found["page"], found.get("text", ""), found["score"],
            *self._place(found), in_prompt=in_prompt,
        )  # fmt: skip

    def _answer(self, events: list[tuple[str, Any]]) -> Produced:
        """The answer, with the passages that its stream names: where they stand, not what they say."""
        stages = {data["stage"]: data["detail"] for name, data in events if name == "status"}
        answer = next((data for name, data in events if name == "answer"), None)
        if answer is None:
            raise ModelError("the answer ended before it was complete")
        read = {(each["document_id"], each["page"]) for each in stages.get("verify", {}).get("read", ())}
        passages = tuple(
            self._passage(each, in_prompt=(each["document_id"], each["page"]) in read)
            for each in stages.get("retrieve", {}).get("passages", ())
        )
        citations = tuple(
            CitedQuote(
                each["document_id"], each["title"], each["page"], each["quote"], *self._place(each), str(each["marker"])
            )
            for each in answer["citations"]
        )
        return Produced(
            answer["text"], answer["status"], answer["reason"], passages, citations,
            dict(answer["timings"]), dict(answer["tokens"]), answer["confidence"],
        )  # fmt: skip


def _chat(item: Item, model: str) -> dict[str, Any]:
    turns = [*item.history, ("user", item.question)]
    return {"model": model, "messages": [{"role": role, "content": text} for role, text in turns], "temperature": 0}


def _completion(answer: Mapping[str, Any]) -> Produced:
    """The answer; BankSight's own route also says whether it was refused, others are judged by their words."""
    usage = answer.get("usage") or {}
    tokens = {name: int(usage[f"{name}_tokens"]) for name in ("prompt", "completion") if f"{name}_tokens" in usage}
    text = str(answer["choices"][0]["message"]["content"] or "")
    return Produced(text, status=str(answer.get("status", "")), tokens=tokens)
