"""Who gets in: the checks before any route runs, as plain ASGI layers because each costs microseconds that way.

`Doorkeeper` protects the mode without sign-in. A web page that somebody visits could otherwise talk to the API on
their own machine: through a name that it points at 127.0.0.1 (DNS rebinding, stopped by checking `Host`), or by posting
blindly (cross-site request forgery, stopped by checking `Origin` and `Sec-Fetch-Site` on all but plain reads).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.problems import Problem, respond

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PROBES = frozenset({"/livez", "/readyz", "/healthz", "/health", "/metrics"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses, and for in-process and Unix-socket peers, which have no address."""
    if not host or host in ("localhost", "testclient"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


class Doorkeeper:
    """Refuses strangers: peers beyond this machine, names that are not ours, and other web sites' requests."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str], peers: str) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)
        self.origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self.loopback_only = peers == "loopback"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._objection(scope) if scope["type"] == "http" else None
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await respond(problem, Request(scope))(scope, receive, send)

    def _objection(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        if self.loopback_only and not is_loopback((scope.get("client") or ("",))[0]):
            return Problem(
                403,
                "not_local",
                "Nobody signs in here, so only this machine may call; "
                "where a gateway signs people in, the operator can set identity.peers to private_network.",
            )
        if scope["path"] not in PROBES and _host_name(headers.get("host", "")) not in self.hosts:
            return Problem(
                421,
                "unknown_host",
                "This server does not go by that name; the operator can add it to server.allowed_hosts.",
            )
        if scope["method"] not in _SAFE_METHODS and not self._same_origin(headers):
            return Problem(
                403,
                "cross_origin",
                "Another web site may not do this; the operator can add it to server.allowed_origins.",
            )
        return None

    def _same_origin(self, headers: Headers) -> bool:
        """Programs send no Origin. A browser always does when it posts from one site to another."""
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        return origin.lower() in self.origins or urlsplit(origin.lower()).netloc == headers.get("host", "").lower()


def _host_name(header: str) -> str:
    """`localhost:3000` as `localhost`, `[::1]:3000` as `::1`."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


class BodyLimit:
    """Stops reading a request body at its limit, with 413, whatever Content-Length claims."""

    def __init__(self, app: ASGIApp, default: int, uploads: int) -> None:
        self.app = app
        self.default = default
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _SAFE_METHODS:
            await self.app(scope, receive, send)
            return
        limit = self.uploads if scope["path"] == "/v1/documents" else self.default
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > limit:
            await respond(_too_large(limit), Request(scope))(scope, receive, send)
            return
        await self.app(scope, _counting(receive, limit), send)


def _counting(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            # FastAPI passes this type through while it reads a body; others would become "malformed".
            raise HTTPException(413, _too_large(limit).detail)
        return message

    return counted


def _too_large(limit: int) -> Problem:
    return Problem(413, "too_large", f"The request is larger than the {limit // 1024:,} KiB allowed here; send less.")
