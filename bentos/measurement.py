"""Counts, times, traces and logs requests by route template, so that an id in a path becomes neither label nor name."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Receive, Scope, Send

from bentos.admission import PROBES
from bentos.spans import Traced
from rag.operations import telemetry

logger = logging.getLogger(__name__)


class Measurement(Traced):
    """The outermost layer of the API: what it measures includes every refusal."""

    def __init__(self, app: ASGIApp, log_requests: bool = False) -> None:  # noqa: FBT001 - passed by name
        super().__init__(app)
        self.log_requests = log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        with telemetry.HTTP_OPEN.track_inprogress():
            await super().__call__(scope, receive, send)

    def route(self, scope: Scope) -> str:
        """`/v1/documents/{document_id}` for a request to one document; `unmatched` where no route was reached."""
        return str(getattr(scope.get("route"), "path", "")) or "unmatched"  # BentoML mounts us at an empty path

    def finished(self, method: str, route: str, status: int, seconds: float) -> None:
        """See `Traced`. Probes are logged where they fail."""
        telemetry.HTTP_REQUESTS.labels(method, route, str(status)).inc()
        telemetry.HTTP_SECONDS.labels(method, route).observe(seconds)
        if self.log_requests and (status >= 400 or route not in PROBES):
            fields = {"method": method, "route": route, "status": status, "seconds": round(seconds, 4)}
            logger.info("request", extra=fields)
