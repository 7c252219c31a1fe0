"""Paths that are for operators and their machines, not for the public: metrics, and what describes the API.

The proxy refuses them too. This layer holds where somebody forgets that: a request that a proxy passed on says so in
its headers, and whoever comes directly must have an address of a private network or of this machine.
"""

from __future__ import annotations

import ipaddress

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from bentos.admission import is_loopback
from bentos.problems import respond

INTERNAL = frozenset({"/", "/metrics", "/docs.json", "/schema.json"})
_OF_PROXIES = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"via"}
)


class InternalPaths:
    """Answers 404 to everybody who is not on the private network, as if the path did not exist."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in INTERNAL and not came_directly(scope):
            await respond(HTTPException(404), Request(scope))(scope, receive, send)
            return
        await self.app(scope, receive, send)


def came_directly(scope: Scope) -> bool:
    """Whether the request comes from a private address, and from no proxy."""
    if any(name in _OF_PROXIES for name, _ in scope["headers"]):
        return False
    host = (scope.get("client") or ("",))[0]
    if is_loopback(host):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_private
    except ValueError:
        return False
