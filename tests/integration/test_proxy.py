"""A real nginx with the configuration that we make, over nodes that drain, hang and die. See also `make chaos`."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from evaluations.chaos.calling import counted, open_loop
from evaluations.chaos.nginx import API_HOST, UI_HOST, Nginx, answers, open_nginx
from evaluations.chaos.processes import Child
from evaluations.servers import free_ports
from rag.errors import ConfigurationError
from rag.proxy.placing import CURRENT, program, update

HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
HANDSHAKE |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Child]]:
    """Three nodes by their ports."""
    folder = tmp_path_factory.mktemp("nodes")
    found = {port: _node(port, folder) for port in free_ports(3)}
    for node in found.values():
        node.begin()
    for node in found.values():
        node.wait()
    yield found
    for node in found.values():
        node.kill()


def _node(port: int, folder: Path) -> Child:
    command = [sys.executable, "-m", "evaluations.chaos.stub_node", str(port)]
    return Child(f"node {port}", command, lambda: answers(f"http://127.0.0.1:{port}/readyz"), folder / str(port))


@pytest.fixture(scope="module")
def proxy(nodes: dict[int, Child], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """The proxy over them; quick to lose patience, and without limits for callers on this machine."""
    try:
        program()
    except ConfigurationError as error:
        pytest.skip(str(error))
    nginx = open_nginx(tmp_path_factory.mktemp("proxy"), list(nodes), read_seconds=3, queue_seconds=0.5)
    yield nginx
    nginx.child.stop()


@pytest.fixture(scope="module")
def strict_proxy(proxy: Nginx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """One without nodes and with little patience for callers."""
    folder = tmp_path_factory.mktemp("strict")
    nginx = open_nginx(folder, free_ports(1), unlimited=[], requests_per_second=1, request_burst=3, client_seconds=1)
    yield nginx
    nginx.child.stop()


@pytest.fixture
def get(proxy: Nginx) -> Iterator[Any]:
    """`get(path, host, method="POST", headers={…})` through the proxy."""
    context = ssl.create_default_context(cafile=proxy.settings.proxy.certificate)
    with httpx.Client(base_url=proxy.api.url, verify=context, http2=False, trust_env=False) as client:

        def ask(path: str, host: str = API_HOST, method: str = "GET", **more: Any) -> httpx.Response:
            headers = {"Host": host} | more.pop("headers", {})
            client.cookies.clear()
            return client.request(method, path, headers=headers, extensions={"sni_hostname": host}, **more)

        yield ask


def _tls(proxy: Nginx, name: str = API_HOST, protocol: str = "h2", **versions: Any) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=proxy.settings.proxy.certificate)
    context.set_alpn_protocols([protocol])
    for key, value in versions.items():
        setattr(context, key, value)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", proxy.https_port), 10), server_hostname=name)


@pytest.mark.proves("ASVS 12.1.1", "ASVS 12.1.2", "PCI DSS 4.2.1", "ISO A.8.24")
def test_tls_is_1_3_and_http_2_is_spoken(proxy: Nginx) -> None:
    with _tls(proxy) as connection:
        assert (connection.version(), connection.selected_alpn_protocol()) == ("TLSv1.3", "h2")


@pytest.mark.proves("ASVS 12.1.1", "ASVS 12.1.2", "SOC 2 CC6.7")
def test_tls_1_2_is_refused(proxy: Nginx) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol version"):
        _tls(proxy, maximum_version=ssl.TLSVersion.TLSv1_2)


def test_name_that_is_not_ours_gets_no_certificate(proxy: Nginx) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized name"):
        _tls(proxy, "evil.test")


@pytest.mark.proves("ASVS 12.2.1", "PCI DSS 4.2.1")
def test_plain_http_leads_to_https_and_serves_acme_challenges(proxy: Nginx) -> None:
    (proxy.folder / "acme/.well-known/acme-challenge").mkdir(parents=True, exist_ok=True)
    (proxy.folder / "acme/.well-known/acme-challenge/token").write_text("proof")
    plain = f"http://127.0.0.1:{proxy.http_port}"
    moved = httpx.get(f"{plain}/v1/documents?a=b", headers={"Host": API_HOST}, trust_env=False)
    assert moved.status_code == 308
    assert moved.headers["location"] == f"https://{API_HOST}:{proxy.https_port}/v1/documents?a=b"
    assert httpx.get(f"{plain}/.well-known/acme-challenge/token", trust_env=False).text == "proof"


@pytest.mark.parametrize("host", [API_HOST, UI_HOST])
def test_every_answer_carries_security_headers_once(get: Any, host: str) -> None:
    for response in (get("/v1/jobs", host), get("/metrics", host)):
        headers = response.headers
        assert headers.get_list("strict-transport-security") == ["max-age=31536000; includeSubDomains"]
        assert headers.get_list("x-content-type-options") == ["nosniff"]
        assert headers["content-security-policy"] == "frame-ancestors 'self'"
        assert {"referrer-policy", "permissions-policy", "x-request-id"} <= headers.keys()
        assert headers["server"] == "nginx"


@pytest.mark.proves("ASVS 4.1.3")
def test_what_a_caller_claims_of_its_address_does_not_count(get: Any) -> None:
    claims = {"X-Forwarded-For": "10.0.0.1", "X-Real-IP": "10.0.0.1", "X-Forwarded-Proto": "http"}
    claims |= {"X-Forwarded-Host": "evil.test", "Forwarded": "for=10.0.0.1", "X-Request-Id": "mine"}
    response = get("/v1/jobs", headers=claims)
    seen = response.json()["headers"]
    assert (seen["x-forwarded-for"], seen["x-real-ip"], seen["x-forwarded-proto"]) == (
        "127.0.0.1",
        "127.0.0.1",
        "https",
    )
    assert (seen["x-forwarded-host"], seen["host"]) == (API_HOST, API_HOST)
    assert "forwarded" not in seen
    assert seen["x-request-id"] == response.headers["x-request-id"] != "mine"


@pytest.mark.proves("SOC 2 CC6.6")
@pytest.mark.parametrize("path", ["/metrics", "/docs", "/docs.json", "/schema.json", "/readyz", "/"])
def test_what_is_for_operators_is_not_public(get: Any, path: str) -> None:
    response = get(path)
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
    assert response.json()["status"] == 404


@pytest.mark.proves("SOC 2 CC6.6", "PCI DSS 6.2.4")
@pytest.mark.parametrize(("host", "path"), [(API_HOST, "/v1/ask"), (UI_HOST, "/ws/socket.io/")])
def test_pages_of_other_sites_are_refused(get: Any, proxy: Nginx, host: str, path: str) -> None:
    ours, foreign = f"https://{host}:{proxy.https_port}", "https://evil.test"
    refused = get(path, host, "POST", json={}, headers={"Origin": foreign})
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:banksight:problem:cross_origin")
    assert get(path, host, "POST", json={}, headers={"Origin": ours}).status_code == 200


@pytest.mark.proves("LLM10", "ASVS 5.2.1")
def test_body_that_is_too_large_is_refused_and_an_upload_of_that_size_is_not(get: Any) -> None:
    body = b"x" * (1024 * 1024 + 1)
    refused = get("/v1/ask", method="POST", content=body)
    assert (refused.status_code, refused.headers["content-type"]) == (413, "application/problem+json")
    assert refused.json()["type"] == "urn:banksight:problem:too_large"
    assert get("/v1/documents", method="POST", content=body).status_code == 200


@pytest.mark.proves("ASVS 14.2.1", "ASVS 16.2.5")
def test_log_has_no_questions_and_no_probes(get: Any, proxy: Nginx) -> None:
    get("/v1/documents?q=secret-question")
    get("/health?q=probe")
    get("/v1/jobs")
    lines = [json.loads(line) for line in (proxy.folder / "access.log").read_text().splitlines()]
    assert {"/v1/documents", "/v1/jobs"} <= {line["path"] for line in lines}
    assert not [line for line in lines if "secret" in str(line) or "health" in line["path"]]
    assert {line["tls"] for line in lines} == {"TLSv1.3"}


def test_headers_that_come_too_slowly_are_cut_off(strict_proxy: Nginx) -> None:
    with _tls(strict_proxy, protocol="http/1.1") as connection:
        connection.settimeout(30)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert connection.recv(1) == b""


@pytest.mark.proves("ASVS 4.2.1")
@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 60",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
    ],
)
def test_a_message_whose_end_is_in_doubt_reaches_no_node(proxy: Nginx, framing: str) -> None:
    smuggled = f"GET /v1/admin HTTP/1.1\r\nHost: {API_HOST}\r\n\r\n"
    with _tls(proxy, protocol="http/1.1") as connection:
        head = f"POST /v1/ask HTTP/1.1\r\nHost: {API_HOST}\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
        connection.sendall(f"{head}0\r\n\r\n{smuggled}".encode())
        connection.settimeout(30)
        received = b""
        while piece := connection.recv(4096):
            received += piece
    statuses = [int(line.split()[1]) for line in received.splitlines() if line.startswith(b"HTTP/1.1 ")]
    assert statuses in ([400], [501])


def test_events_arrive_while_the_answer_is_still_written(proxy: Nginx) -> None:
    [reply] = asyncio.run(open_loop(proxy.api, lambda _: {"question": "x", "stream": True}, 1, 1))
    assert reply.result == "good"
    assert reply.first < reply.seconds / 2


@pytest.mark.proves("ASVS 4.4.1", "ASVS 4.4.2")
@pytest.mark.parametrize(("origin", "status"), [("https://evil.test", 403), ("", 101)])
def test_sockets_are_passed_on_unless_another_site_opens_them(proxy: Nginx, origin: str, status: int) -> None:
    line = f"Origin: {origin}\r\n" if origin else ""
    head = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
    with _tls(proxy, UI_HOST, "http/1.1") as connection:
        connection.sendall(f"GET /ws/socket.io/ HTTP/1.1\r\nHost: {UI_HOST}\r\n{line}{head}\r\n".encode())
        assert int(connection.recv(4096).split()[1]) == status
        if status == 101:
            connection.sendall(b"ping")
            assert connection.recv(4) == b"ping"


def test_a_browser_stays_with_its_node_and_its_cookies_are_secure(get: Any) -> None:
    first = get("/", UI_HOST)
    cookies = first.headers.get_list("set-cookie")
    node_cookie = next(each for each in cookies if each.startswith("banksight_node="))
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(node_cookie.split("; "))
    assert all("secure" in each.lower() for each in cookies)
    cookie = {"Cookie": node_cookie.split(";", 1)[0]}
    again = [get("/project/settings", UI_HOST, headers=cookie) for _ in range(10)]
    assert {response.json()["node"] for response in again} == {first.json()["node"]}
    assert not any("banksight_node" in str(response.headers.get_list("set-cookie")) for response in again)


def test_browsers_spread_over_the_nodes(get: Any, nodes: dict[int, Child]) -> None:
    seen = {get("/", UI_HOST).json()["node"] for _ in range(40)}
    assert seen == set(nodes)


@pytest.mark.proves("ISO A.8.5")
def test_guessing_passwords_is_slowed_down(get: Any) -> None:
    statuses = [get("/login", UI_HOST, "POST").status_code for _ in range(8)]
    assert statuses[:6] == [200] * 6
    assert 429 in statuses[6:]


def test_no_node_means_a_problem_document_that_says_when_to_come_back(strict_proxy: Nginx) -> None:
    replies = asyncio.run(open_loop(strict_proxy.api, lambda _: {"question": "x"}, 100, 0.1))
    assert {reply.result for reply in replies} == {"refused"}
    assert {reply.status for reply in replies} == {502, 429}, "no node, and more than one address may ask"


def test_configuration_that_nginx_refuses_changes_nothing(proxy: Nginx) -> None:
    before = (proxy.folder / CURRENT).readlink()
    broken = proxy.settings.model_copy(
        update={"proxy": proxy.settings.proxy.model_copy(update={"certificate_key": str(proxy.nodes)})}
    )
    with pytest.raises(ConfigurationError, match="the old one stays"):
        update(broken)
    assert (proxy.folder / CURRENT).readlink() == before
    assert len(list(proxy.folder.glob("conf-*"))) == 1


def test_reloads_and_a_shrinking_list_lose_no_request(proxy: Nginx, nodes: dict[int, Child]) -> None:
    async def changing() -> list[Any]:
        load = asyncio.ensure_future(open_loop(proxy.api, lambda i: {"question": "x", "stream": i % 2 == 0}, 40, 3))
        for number in range(12):
            kept = list(nodes)[: 1 + number % 3]
            assert await asyncio.to_thread(proxy.list_nodes, kept) == "reloaded"
            await asyncio.sleep(0.15)
        return await load

    replies = asyncio.run(changing())
    assert counted(replies) == {"good": 120}, {reply.detail for reply in replies}
    assert {reply.node for reply in replies} == {str(port) for port in nodes}


@pytest.mark.proves("ISO A.8.14")
def test_rolling_restart_and_a_killed_node_lose_no_request(proxy: Nginx, nodes: dict[int, Child]) -> None:
    async def restarting() -> list[Any]:
        load = asyncio.ensure_future(open_loop(proxy.api, lambda _: {"question": "x"}, 50, 9))
        await asyncio.sleep(0.5)
        for node in nodes.values():
            await asyncio.to_thread(node.stop)
            await asyncio.to_thread(node.start)
            await asyncio.sleep(1.1)  # as docs/proxy.md asks: until nginx, too, counts the node as well again
        victim = next(iter(nodes.values()))
        await asyncio.to_thread(victim.kill)
        replies = await load
        await asyncio.to_thread(victim.start)
        return replies

    proxy.list_nodes(list(nodes))
    replies = asyncio.run(restarting())
    assert len(replies) >= 440
    assert counted(replies) == {"good": len(replies)}, {reply.detail for reply in replies}


def test_a_frozen_node_costs_a_stream_one_silence_and_no_answer(proxy: Nginx, nodes: dict[int, Child]) -> None:
    victim = next(iter(nodes.values()))
    proxy.list_nodes(list(nodes))
    victim.freeze()
    try:
        replies = asyncio.run(open_loop(proxy.api, lambda _: {"question": "x", "stream": True}, 10, 2))
    finally:
        victim.thaw()
    assert counted(replies) == {"good": 20}, {reply.detail for reply in replies}
    assert str(next(iter(nodes))) not in {reply.node for reply in replies}


def test_a_stream_that_no_node_begins_ends_in_a_problem_document(proxy: Nginx, nodes: dict[int, Child]) -> None:
    for node in nodes.values():
        node.freeze()
    try:
        [reply] = asyncio.run(open_loop(proxy.api, lambda _: {"question": "x", "stream": True}, 1, 1))
    finally:
        for node in nodes.values():
            node.thaw()
    assert (reply.result, reply.status) == ("refused", 504)


def test_a_node_that_is_not_ready_gets_nothing_after_an_update(proxy: Nginx, nodes: dict[int, Child]) -> None:
    victim = next(iter(nodes.values()))
    victim.kill()
    update(proxy.settings)
    assert " down;" in (proxy.folder / CURRENT / "upstreams.conf").read_text()
    victim.start()
    assert update(proxy.settings) == "reloaded"
    assert " down;" not in (proxy.folder / CURRENT / "upstreams.conf").read_text()


def test_the_command_runs_nginx_until_sigterm(proxy: Nginx, tmp_path: Path) -> None:
    https, http = free_ports(2)
    ours = proxy.settings.proxy
    environment = {
        "BANKSIGHT_DATA_DIR": str(tmp_path), "BANKSIGHT__PROXY__HTTPS_PORT": str(https),
        "BANKSIGHT__PROXY__HTTP_PORT": str(http), "BANKSIGHT__PROXY__USER": "root",
        "BANKSIGHT__PROXY__API_NODES": repr([f"file:{proxy.nodes}"]),
        "TLS_CERTIFICATE": ours.certificate, "TLS_CERTIFICATE_KEY": ours.certificate_key,
    }  # fmt: skip
    child = Child(
        "banksight proxy", [sys.executable, "-m", "rag.cli", "proxy", "run", "--every", "0.2"],
        lambda: answers(f"http://127.0.0.1:{http}", 308), tmp_path / "log", environment,
    )  # fmt: skip
    child.start()
    assert child.process is not None
    child.tell(signal.SIGTERM)
    assert child.process.wait(30) == 0, child.log.read_text()
