"""A span for each request that a service serves, as part of the caller's trace."""

from __future__ import annotations

import time

from opentelemetry.trace import Span, Status, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.operations.tracing import serving

_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNREAD = 499  # the caller left before the answer began, as nginx counts it


class Traced:
    """A span for each request, part of the caller's trace. For services that only our own processes call."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = _UNREAD

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with serving(_trace_headers(scope)) as span:
            try:
                await self.app(scope, receive, noting)
            finally:
                method = scope["method"] if scope["method"] in _KNOWN_METHODS else "other"
                route = self.route(scope)
                _describe(span, method, route, status)
                self.finished(method, route, status, time.perf_counter() - started)

    def route(self, scope: Scope) -> str:
        """What the request is called: its path, of which such a service has a few."""
        return str(scope["path"])

    def finished(self, method: str, route: str, status: int, seconds: float) -> None:
        """Called for every request, `seconds` after it began, when its last byte is out or its caller gone."""


def _describe(span: Span, method: str, route: str, status: int) -> None:
    """Name and status of a request's span, by the conventions for HTTP."""
    if not span.is_recording():
        return
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))


def _trace_headers(scope: Scope) -> dict[str, str]:
    """The headers by which a caller says which trace its request belongs to."""
    wanted = (b"traceparent", b"tracestate")
    return {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in wanted}
