"""What the UI adds to Chainlit's server to protect its users. Background: Chainlit accepts sockets from any origin,
sends no security headers, and publishes routes that BankSight does not use."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.guests import LOOPBACK

CLOSED_PATHS = frozenset({"/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"})
CLOSED_PREFIXES = (
    *("/mcp", "/copilot", "/project/share", "/project/thread/share", "/project/element"),
    *("/auth/jwt", "/auth/oauth"),
)
READING = frozenset({"GET", "HEAD", "OPTIONS"})
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def content_security_policy(page: str) -> str:
    """A policy under which this page works and nothing can be loaded from, or sent to, another host."""
    digests = (hashlib.sha256(script.encode()).digest() for script in _INLINE_SCRIPT.findall(page))
    scripts = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' {scripts} 'wasm-unsafe-eval'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def same_origin(origin: str | None, environ: dict[str, Any]) -> bool:
    """True when a socket is opened by a page of this host. Proxies name the host in `X-Forwarded-Host`."""
    if not origin:
        return True  # not a browser
    hosts = (environ.get("HTTP_HOST", ""), environ.get("HTTP_X_FORWARDED_HOST", "").split(",")[0].strip())
    return urlsplit(origin).netloc.lower() in {host.lower() for host in hosts if host}


def _from_our_page(headers: Headers) -> bool:
    """False when a browser says that another site sent a request that changes something."""
    environ = {"HTTP_HOST": headers.get("host", ""), "HTTP_X_FORWARDED_HOST": headers.get("x-forwarded-host", "")}
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none") and same_origin(
        headers.get("origin"), environ
    )


def _needs_secure_cookies(scope: Scope) -> bool:
    """True but for plain HTTP on this machine itself, where some browsers drop cookies that are `Secure`."""
    headers = Headers(scope=scope)
    encrypted = "https" in (scope.get("scheme"), headers.get("x-forwarded-proto", "").split(",")[0].strip())
    host = urlsplit(f"//{headers.get('host', '')}").hostname
    return encrypted or host not in LOOPBACK


def _secured(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    cookie = name.lower() == b"set-cookie" and b"; secure" not in value.lower()
    return name, value + b"; Secure" if cookie else value


class Protection:
    """ASGI middleware: security headers on every response, and 404 for routes that are not ours to offer."""

    def __init__(self, app: ASGIApp, policy: str, open_paths: frozenset[str] = frozenset()) -> None:
        """`open_paths` are routes of ours below a closed prefix."""
        self._app = app
        self._open = open_paths
        self._headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Opener-Policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, except HTTP requests to closed paths."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._is_closed(scope["path"]):
            await PlainTextResponse("Not found", status_code=404)(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"] == "/project/file":
            await PlainTextResponse("Uploads are off", status_code=404)(scope, receive, send)
        elif scope["method"] not in READING and not _from_our_page(Headers(scope=scope)):
            await PlainTextResponse("Only the chat's own page may do this", status_code=403)(scope, receive, send)
        else:
            await self._app(scope, receive, self._with_headers(send, secure=_needs_secure_cookies(scope)))

    def _is_closed(self, path: str) -> bool:
        return path not in self._open and (path in CLOSED_PATHS or path.startswith(CLOSED_PREFIXES))

    def _with_headers(self, send: Send, *, secure: bool) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                if secure:
                    message["headers"] = [_secured(*each) for each in message["headers"]]
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        return sending
