"""A server whose certificate nobody vouches for is not spoken to, wherever its address was configured."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from evaluations.chaos.nginx import make_certificate
from rag.errors import StorageUnavailable
from rag.governance.signing_keys import SigningKeys
from rag.models.fetching import Interrupted, WebSource
from rag.settings import load_settings
from ui.client import ApiClient
from ui.errors import BackendDown
from ui.settings import UiSettings


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """The https address of a server with a certificate of its own making, and what it was asked."""
    asked: list[str] = []

    class Noting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    certificate, key = make_certificate(tmp_path_factory.mktemp("stranger"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Noting)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # handshakes that fail are the point
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def _signing_keys(url: str) -> None:
    oidc: dict[str, Any] = {"issuer": url, "audience": "banksight-api", "jwks_url": f"{url}/keys"}
    settings = load_settings("test", environment={}, overrides={"identity": {"mode": "oidc", "oidc": oidc}})
    with pytest.raises(StorageUnavailable, match="identity provider"):
        SigningKeys(settings.identity.oidc).find("any")


def _weights(url: str) -> None:
    with pytest.raises(Interrupted, match="CERTIFICATE_VERIFY_FAILED"), WebSource(url).read("config.json", 0):
        pass


def _api(url: str) -> None:
    async def ask() -> None:
        client = ApiClient(UiSettings(api_url=url))  # type: ignore[arg-type] # pydantic parses it
        try:
            async for _event in client.ask("What is the fee?"):
                pass
        finally:
            await client.close()

    with pytest.raises(BackendDown):
        asyncio.run(ask())


@pytest.mark.proves("ASVS 12.3.2", "SOC 2 CC6.7")
@pytest.mark.parametrize("call", [_signing_keys, _weights, _api], ids=["identity provider", "weights", "api"])
def test_a_server_that_nobody_vouches_for_hears_nothing(
    stranger: tuple[str, list[str]], call: Callable[[str], None]
) -> None:
    url, asked = stranger
    call(url)
    assert asked == []
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    httpx.get(url, verify=trusting, trust_env=False)  # it would have heard who spoke
    assert asked == ["/"]
    asked.clear()
