"""The application of a service, for BentoML to mount before it exists, and layers around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class Entrance:
    """Passes every request on to the application, which is made when the service starts.

    BentoML matches a plain ASGI callable like this one for every path that is not its own, so that unknown routes get
    our problem documents too.
    """

    def __init__(self) -> None:
        self.application: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.application is None:
            raise RuntimeError("a request came before the service was started")
        await self.application(scope, receive, send)


def traced(app: ASGIApp) -> ASGIApp:
    """A layer for BentoML's services: see `bentos/spans.py`, which only workers import."""
    from bentos.spans import Traced  # noqa: PLC0415

    return Traced(app)


def internal_paths(app: ASGIApp) -> ASGIApp:
    """A layer for BentoML's services: see `bentos/internal.py`, which only workers import."""
    from bentos.internal import InternalPaths  # noqa: PLC0415

    return InternalPaths(app)
