"""Callers who come whether or not the last one was served, and what each of them got."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from evaluations.chaos.callers import Caller, Watch, in_turn
from evaluations.chaos.corpus import TENANTS, Tenant

Result = Literal["good", "degraded", "refused", "error", "hang"]
HANG_SECONDS = 40.0  # beyond every deadline that the product has
_RETRY_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Reply:
    """One call. `began` is in seconds since the load began, `seconds` to the last byte, `first` to the first one.

    `connecting` is the part of `seconds` before the request was sent. `searching` is the server's word for how long its
    search took. `leaked`: something stood in it that this tenant may not see.
    """

    began: float
    seconds: float
    first: float
    status: int
    result: Result
    detail: str
    node: str = ""
    text: str = ""
    leaked: bool = False
    cacheable: bool = True
    tenant: Tenant = TENANTS[0]
    connecting: float = 0.0
    searching: float = 0.0

    @property
    def ended(self) -> float:
        """When the last byte came, in seconds since the load began."""
        return self.began + self.seconds


@dataclass(frozen=True, slots=True)
class Entry:
    """Where callers call: `url` is what they connect to, `host` the name they ask for. `callers` take turns; without
    them, `key` is what everybody signs in with.
    """

    url: str
    host: str = "localhost"
    path: str = "/v1/ask"
    certificate: str = ""
    key: str = ""
    callers: tuple[Caller, ...] = ()
    watch: Watch = field(default_factory=Watch)

    def client(self) -> httpx.AsyncClient:
        """A client that opens a connection for every call, as a new browser does."""
        context: ssl.SSLContext | bool = False
        if self.certificate:
            context = ssl.create_default_context(cafile=self.certificate)
        limits = httpx.Limits(max_keepalive_connections=0, max_connections=2000)
        return httpx.AsyncClient(
            base_url=self.url, verify=context, limits=limits, timeout=HANG_SECONDS, trust_env=False,
            headers={"Host": self.host} | ({"Authorization": f"Bearer {self.key}"} if self.key else {}),
        )  # fmt: skip


async def call(
    client: httpx.AsyncClient, entry: Entry, body: dict[str, Any], began: float = 0.0, caller: Caller | None = None
) -> Reply:
    """Ask once; a stream when the body says so. Never raises for what the other side does."""
    caller = caller or in_turn(entry.callers, 0)
    started = time.perf_counter()
    first = sent = 0.0
    status = 0
    content = bytearray()
    headers = caller.headers | ({"Accept": "text/event-stream"} if body.get("stream") else {})

    async def note(event: str, _: object) -> None:
        nonlocal sent
        if event == "http11.send_request_headers.started":
            sent = time.perf_counter() - started

    extensions = {"sni_hostname": entry.host, "trace": note}
    try:
        async with (
            asyncio.timeout(HANG_SECONDS),
            client.stream("POST", entry.path, json=body, headers=headers, extensions=extensions) as response,
        ):
            status = response.status_code
            async for chunk in response.aiter_bytes():
                first = first or time.perf_counter() - started
                content += chunk
            result, detail, answer = _judged(response, bytes(content), bool(body.get("stream")))
    except (TimeoutError, httpx.TimeoutException) as error:
        result, detail, answer = "hang", type(error).__name__, {}
    except (httpx.HTTPError, ssl.SSLError, OSError) as error:
        result, detail, answer = "error", f"{type(error).__name__}: {error}", {}
    return Reply(
        began=began,
        seconds=time.perf_counter() - started,
        first=first,
        status=status,
        result=result,
        detail=detail,
        node=str(answer.get("node", "")),
        text=str(answer.get("text", "")),
        leaked=entry.watch.note(caller, bytes(content), str(answer.get("receipt_id", ""))),
        cacheable=bool(answer.get("cacheable", True)),
        tenant=caller.tenant,
        connecting=sent,
        searching=float((answer.get("timings") or {}).get("retrieve", 0.0)),
    )


def _judged(response: httpx.Response, content: bytes, stream: bool) -> tuple[Result, str, dict[str, Any]]:  # noqa: FBT001
    status = response.status_code
    if status in _RETRY_STATUSES and "retry-after" in response.headers:
        return "refused", str(status), {}
    if status != httpx.codes.OK:
        return "error", f"{status} {content[:200].decode(errors='replace')}", {}
    if stream:
        events = dict(_events(content.decode(errors="replace")))
        if "done" not in events:
            if "error" in events:
                return "refused", f"stream: {events['error'][:200]}", {}
            return "error", "the stream was cut", {}
        answer = json.loads(events["answer"])
    else:
        answer = json.loads(content)
    notice = str(answer.get("notice") or "")
    return ("degraded" if notice else "good"), notice[:80], answer


def _events(text: str) -> Sequence[tuple[str, str]]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], fields.get("data", "")))
    return found


async def open_loop(entry: Entry, body: Callable[[int], dict[str, Any]], rate: float, seconds: float) -> list[Reply]:
    """`rate` new callers a second for `seconds`, in even steps; all replies, in the order of the calls."""
    began = time.perf_counter()
    calls = []
    async with entry.client() as client:
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            at = time.perf_counter() - began
            caller = in_turn(entry.callers, number)
            calls.append(asyncio.ensure_future(call(client, entry, body(number), at, caller)))
        return list(await asyncio.gather(*calls))


def counted(replies: Sequence[Reply]) -> Counter[str]:
    """How many got what."""
    return Counter(reply.result for reply in replies)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
