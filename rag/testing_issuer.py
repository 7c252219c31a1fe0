"""An identity provider for tests: discovery and keys over HTTP on this machine, and tokens, good and bad ones."""

from __future__ import annotations

import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey


def rsa_key(bits: int = 2048) -> RSAPrivateKey:
    """A new RSA key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def ec_key() -> EllipticCurvePrivateKey:
    """A new key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def public_entry(key: PrivateKey, key_id: str) -> dict[str, Any]:
    """The public half as a JWK."""
    if isinstance(key, RSAPrivateKey):
        entry = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        entry = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return entry | {"kid": key_id, "use": "sig"}


class FakeIssuer:
    """Serves `/.well-known/openid-configuration` and `/jwks` while it is entered; `published` are its keys by id.

    `delay_seconds` makes it slow, `status` makes it answer with errors; `asked` are the paths that were requested.
    """

    def __init__(self, audience: str = "banksight-api") -> None:
        self.audience = audience
        self.keys: dict[str, PrivateKey] = {"rsa-1": rsa_key(), "ec-1": ec_key()}
        self.published = {name: public_entry(key, name) for name, key in self.keys.items()}
        self.asked: list[str] = []
        self.status = 200
        self.delay_seconds = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeIssuer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Go down: nobody listens any more."""
        self._server.shutdown()
        self._server.server_close()

    def publish(self, key_id: str, key: PrivateKey) -> None:
        """Sign with this key too from now on, and publish it."""
        self.keys[key_id] = key
        self.published[key_id] = public_entry(key, key_id)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good access token for an analyst, changed; a claim that is None is left out."""
        now = int(time.time())
        good = {
            "iss": self.url, "aud": self.audience, "sub": "ada", "exp": now + 300, "nbf": now, "iat": now,
            "jti": uuid.uuid4().hex, "roles": ["analyst"], "clearances": [],
        }  # fmt: skip
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(
        self, key_id: str = "rsa-1", *, header: dict[str, Any] | None = None, key: Any = None, **changes: Any
    ) -> str:
        """A signed token; `key` signs instead of the one with this id, `header` changes the header."""
        signer = key if key is not None else self.keys[key_id]
        algorithm = "ES256" if isinstance(signer, EllipticCurvePrivateKey) else "RS256"
        head = {"kid": key_id, "typ": "at+jwt", "alg": algorithm} | (header or {})
        given = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(self.claims(**changes), signer, algorithm=head["alg"], headers=given)

    def _document(self, path: str) -> Any:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}
        return {"keys": list(self.published.values())}

    def _handler(issuer) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the request's handler below
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                time.sleep(issuer.delay_seconds)
                body = json.dumps(issuer._document(self.path)).encode()
                try:
                    self.send_response(issuer.status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    return  # the caller did not wait

            def log_message(self, *_: Any) -> None:
                return None

        return Handler
