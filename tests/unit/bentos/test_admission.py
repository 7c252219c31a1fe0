"""Who gets in before any route runs."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from bentos.admission import BodyLimit, Doorkeeper, is_loopback


async def _length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def _client(app: object, peer: str = "127.0.0.1", base: str = "http://localhost:3000") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=(peer, 4711))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url=base)


def _inner() -> Starlette:
    paths = ("/", "/v1/ask", "/v1/documents", "/health")
    return Starlette(routes=[Route(path, _length, methods=["GET", "POST", "DELETE"]) for path in paths])


def _door(peers: str = "loopback") -> Doorkeeper:
    return Doorkeeper(_inner(), hosts={"localhost", "127.0.0.1"}, origins=["https://chat.example"], peers=peers)


@pytest.mark.parametrize("host", ["", "localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_addresses_are_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["8.8.8.8", "::", "192.168.1.4", "10.0.0.1", "bank.example", "::ffff:10.0.0.1"])
def test_other_addresses_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("path", ["/", "/health"])
async def test_another_machine_is_refused_without_sign_in(path: str) -> None:
    async with _client(_door(), peer="192.168.1.4") as client:
        response = await client.get(path)
    assert (response.status_code, response.json()["type"]) == (403, "urn:banksight:problem:not_local")


async def test_another_machine_is_admitted_on_a_private_network() -> None:
    async with _client(_door("private_network"), peer="192.168.1.4") as client:
        assert (await client.get("/")).status_code == 200


@pytest.mark.proves("SOC 2 CC6.6")
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3000", "localhost.evil.example", "", "[", "a@localhost:1"]
)
async def test_dns_rebinding_is_stopped_by_the_host_header(host: str) -> None:
    async with _client(_door()) as client:
        response = await client.get("/", headers={"host": host})
    assert response.status_code == (421 if host != "a@localhost:1" else 200)


async def test_probes_may_use_any_name() -> None:
    async with _client(_door()) as client:
        assert (await client.get("/health", headers={"host": "10.1.2.3:3000"})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"origin": "http://localhost:3000.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_another_web_site_cannot_change_anything(method: str, headers: dict[str, str]) -> None:
    async with _client(_door()) as client:
        response = await client.request(method, "/v1/ask", headers=headers)
    assert (response.status_code, response.json()["type"]) == (403, "urn:banksight:problem:cross_origin")


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "http://localhost:3000"}, {"origin": "https://chat.example"}, {"sec-fetch-site": "same-origin"}],
)
async def test_programs_our_own_page_and_listed_sites_may_post(headers: dict[str, str]) -> None:
    async with _client(_door()) as client:
        assert (await client.post("/v1/ask", headers=headers)).status_code == 200


async def test_body_beyond_its_declared_limit_is_not_read() -> None:
    app = BodyLimit(_inner(), default=100, uploads=1000)
    async with _client(app) as client:
        refused = await client.post("/v1/ask", content=b"x" * 101)
        accepted = await client.post("/v1/ask", content=b"x" * 100)
        upload = await client.post("/v1/documents", content=b"x" * 1000)
    assert (refused.status_code, accepted.text, upload.text) == (413, "100", "1000")


async def test_chunked_body_without_a_length_is_stopped_at_the_limit() -> None:
    sent = 0

    async def endless() -> Iterator[bytes]:  # type: ignore[misc]
        nonlocal sent
        while sent < 10_000:
            sent += 50
            yield b"x" * 50

    async with _client(BodyLimit(_inner(), default=100, uploads=1000)) as client:
        response = await client.post("/v1/ask", content=endless())
    assert response.status_code == 413
    assert sent <= 200
