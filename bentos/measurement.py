"""Counts and times requests by route template, so that an id in a path never becomes a label."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.operations import telemetry
from rag.operations.tracing import incoming

_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measurement:
    """The outermost layer: what it measures includes every refusal."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 499  # nobody read the answer

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with incoming(_trace_headers(scope)):
                await self.app(scope, receive, noting)
        finally:
            method = scope["method"] if scope["method"] in _KNOWN_METHODS else "other"
            route = route_template(scope)
            telemetry.HTTP_REQUESTS.labels(method, route, str(status)).inc()
            telemetry.HTTP_SECONDS.labels(method, route).observe(time.perf_counter() - started)


def route_template(scope: Scope) -> str:
    """`/v1/documents/{document_id}` for a request to one document; `unmatched` where no route was reached."""
    return str(getattr(scope.get("route"), "path", "unmatched"))


def _trace_headers(scope: Scope) -> dict[str, str]:
    """The headers by which a caller says which trace its request belongs to."""
    wanted = (b"traceparent", b"tracestate")
    return {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in wanted}
