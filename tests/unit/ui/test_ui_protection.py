"""Headers, closed routes and the origin of sockets."""

from __future__ import annotations

import base64
import hashlib

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ui.protection import Protection, content_security_policy, same_origin


async def answered(
    path: str,
    headers: dict[str, str] | None = None,
    method: str = "GET",
    base: str = "http://ui",
    sent: dict[str, str] | None = None,
) -> httpx.Response:
    methods = ["GET", "POST", "PUT"]
    inner = Starlette(
        routes=[Route("/{path:path}", lambda _: PlainTextResponse("ok", headers=headers), methods=methods)]
    )
    transport = httpx.ASGITransport(Protection(inner, "default-src 'self'"))
    async with httpx.AsyncClient(transport=transport, base_url=base) as client:
        return await client.request(
            method, path, headers={name.replace("_", "-"): value for name, value in (sent or {}).items()}
        )


async def test_every_response_is_protected_and_a_stricter_policy_stays() -> None:
    response = await answered("/")
    assert response.headers["content-security-policy"] == "default-src 'self'"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    stricter = await answered("/", {"Content-Security-Policy": "sandbox"})
    assert stricter.headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize(
    "path",
    [
        *("/docs", "/redoc", "/openapi.json", "/mcp", "/project/share/x", "/project/thread/share"),
        *("/auth/jwt", "/auth/oauth/x", "/project/element"),
    ],
)
async def test_routes_that_we_do_not_offer_are_not_there(path: str) -> None:
    assert (await answered(path)).status_code == 404
    assert (await answered("/documents/x/content")).status_code == 200


async def test_a_route_of_ours_below_a_closed_prefix_is_open_and_nothing_beside_it() -> None:
    inner = Starlette(routes=[Route("/{path:path}", lambda _: PlainTextResponse("ok"))])
    protected = Protection(inner, "default-src 'self'", frozenset({"/auth/oauth/bank"}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(protected), base_url="http://ui") as client:
        paths = ("/auth/oauth/bank", "/auth/oauth/bank/more", "/auth/oauth/banking", "/auth/oauth")
        assert [(await client.get(path)).status_code for path in paths] == [200, 404, 404, 404]


def test_the_policy_allows_exactly_the_scripts_of_the_page() -> None:
    policy = content_security_policy("<script>one()</script><script src='/a.js'></script><script>two()</script>")
    digests = [base64.b64encode(hashlib.sha256(each).digest()).decode() for each in (b"one()", b"two()")]
    assert f"script-src 'self' 'sha256-{digests[0]}' 'sha256-{digests[1]}' 'wasm-unsafe-eval';" in policy
    assert "http" not in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]


@pytest.mark.proves("ASVS 4.4.2")
@pytest.mark.parametrize(
    ("origin", "host", "forwarded", "allowed"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "", True),
        ("https://chat.bank.example", "ui:8000", "chat.bank.example", True),
        ("https://evil.example", "127.0.0.1:8000", "", False),
        ("http://127.0.0.1:8000.evil.example", "127.0.0.1:8000", "", False),
        ("null", "127.0.0.1:8000", "", False),
        (None, "127.0.0.1:8000", "", True),
    ],
)
def test_sockets_are_opened_by_pages_of_this_host_only(
    origin: str | None, host: str, forwarded: str, *, allowed: bool
) -> None:
    environ = {"HTTP_HOST": host} | ({"HTTP_X_FORWARDED_HOST": forwarded} if forwarded else {})
    assert same_origin(origin, environ) is allowed


@pytest.mark.proves("PCI DSS 6.2.4")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 200),
        ({"origin": "http://ui"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "same-origin", "origin": "http://ui"}, 200),
    ],
)
async def test_only_our_own_page_may_change_something(sent: dict[str, str], status: int) -> None:
    assert (await answered("/feedback", method="PUT", sent=sent)).status_code == status
    assert (await answered("/", sent=sent)).status_code == 200


async def test_nothing_can_be_uploaded() -> None:
    assert (await answered("/project/file", method="POST")).status_code == 404
    assert (await answered("/project/file/x")).status_code == 200


@pytest.mark.parametrize(
    ("base", "sent", "secure"),
    [
        ("http://127.0.0.1:8000", {}, False),
        ("http://localhost", {"x_forwarded_proto": "https"}, True),
        ("https://localhost", {}, True),
        ("http://chat.bank.example", {}, True),
    ],
)
async def test_cookies_are_secure_but_on_this_machine_itself(base: str, sent: dict[str, str], *, secure: bool) -> None:
    response = await answered("/", {"Set-Cookie": "access_token=x; HttpOnly"}, base=base, sent=sent)
    assert response.headers["set-cookie"] == "access_token=x; HttpOnly" + ("; Secure" if secure else "")
