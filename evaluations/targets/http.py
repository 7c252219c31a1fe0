"""An endpoint as a target: our API, or whatever speaks OpenAI's chat completions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import httpx

from evaluations.datasets.items import Item
from evaluations.runs.machine import code_version, machine
from evaluations.runs.records import CitedQuote, Fingerprints, Produced, RetrievedPassage
from evaluations.suites.schema import Task
from rag.errors import ConfigurationError

Api = Literal["banksight", "openai"]
KEY_VARIABLE: Final = "BANKSIGHT_EVALUATION_API_KEY"
_TRIES: Final = 4  # while a busy service asks for patience


class HttpTarget:
    """An endpoint at `url`. Our API names its documents at the start, so that labelled places can be found."""

    def __init__(self, url: str, api: Api, task: Task, *, depth: int, model: str, key: str, timeout: float) -> None:
        if task == "search" and api == "openai":
            raise ConfigurationError("OpenAI's API has no search; choose a suite that asks for answers")
        if api == "openai" and not model:
            raise ConfigurationError("an endpoint that speaks OpenAI's API needs the name of a model: give --model")
        base = url.rstrip("/").removesuffix("/v1")
        self.name = f"{base} ({api})"
        self.gives = frozenset({"passages"} if task == "search" else {"answer"})
        self._api, self._task, self._depth, self._model = api, task, depth, model
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._options: dict[str, Any] = {"base_url": base, "headers": headers, "timeout": timeout, "trust_env": False}
        self._stems = self._documents() if api == "banksight" else {}
        self._client: httpx.AsyncClient | None = None

    @property
    def documents(self) -> frozenset[str] | None:
        """See `Target`."""
        return frozenset(self._stems.values()) if self._api == "banksight" else None

    async def produce(self, item: Item) -> Produced:
        """See `Target`."""
        began = time.perf_counter()
        if self._api == "openai":
            answer = await self._post("/v1/chat/completions", _chat(item, self._model))
            produced = _completion(answer)
        elif self._task == "search":
            found = await self._post("/v1/search", {"query": item.question, "top_k": self._depth})
            produced = Produced(status="searched", passages=tuple(self._passage(each) for each in found["passages"]))
        else:
            history = [{"role": role, "content": text} for role, text in item.history]
            produced = self._answer(await self._post("/v1/ask", {"question": item.question, "history": history}))
        produced.timings["total"] = time.perf_counter() - began
        return produced

    def fingerprints(self, suite: str, data: str) -> Fingerprints:
        """See `Target`. What an endpoint does not tell stays empty."""
        return Fingerprints(suite, data, model=self._model, code=code_version(), machine=machine())

    async def _post(self, path: str, content: Mapping[str, Any]) -> Any:
        client = self._client = self._client or httpx.AsyncClient(**self._options)
        for attempt in range(1, _TRIES + 1):
            response = await client.post(path, json=content)
            if response.status_code not in {429, 503} or attempt == _TRIES:
                break
            asked = response.headers.get("Retry-After", "1")
            await asyncio.sleep(min(float(asked) if asked.isdigit() else 1.0, 10.0) * attempt)
        response.raise_for_status()
        return response.json()

    def _documents(self) -> dict[str, str]:
        try:
            with httpx.Client(**self._options) as client:
                documents, cursor = [], ""
                while cursor is not None:
                    response = client.get("/v1/documents", params={"cursor": cursor} if cursor else {})
                    response.raise_for_status()
                    documents += response.json()["documents"]
                    cursor = response.json()["next_cursor"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise ConfigurationError(
                f"no BankSight answers at {self._options['base_url']}: {error or type(error).__name__}; start it with "
                f"`banksight serve`, or give the key in {KEY_VARIABLE}"
            ) from error
        return {each["id"]: Path(each["uri"].removeprefix("file:")).stem for each in documents}

    def _place(self, found: Mapping[str, Any]) -> tuple[str, str]:
        stem = self._stems.get(found["document_id"], "")
        return f"{stem} {found['page']}", stem

    def _passage(self, found: Mapping[str, Any]) -> RetrievedPassage:
        key, document_key = self._place(found)
        return RetrievedPassage(
            found["document_id"], found["title"], found["page"], found["text"], found["score"],
            key, document_key, in_prompt=False,
        )  # fmt: skip

    def _answer(self, answer: Mapping[str, Any]) -> Produced:
        citations = tuple(
            CitedQuote(
                each["document_id"], each["title"], each["page"], each["quote"], *self._place(each), str(each["marker"])
            )
            for each in answer["citations"]
        )
        return Produced(
            answer["text"], answer["status"], answer["reason"], (), citations,
            dict(answer["timings"]), dict(answer["tokens"]), answer["confidence"],
        )  # fmt: skip


def _chat(item: Item, model: str) -> dict[str, Any]:
    turns = [*item.history, ("user", item.question)]
    return {"model": model, "messages": [{"role": role, "content": text} for role, text in turns], "temperature": 0}


def _completion(answer: Mapping[str, Any]) -> Produced:
    usage = answer.get("usage") or {}
    tokens = {name: int(usage[f"{name}_tokens"]) for name in ("prompt", "completion") if f"{name}_tokens" in usage}
    return Produced(str(answer["choices"][0]["message"]["content"] or ""), tokens=tokens)
