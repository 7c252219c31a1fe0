"""Access tokens: the good ones sign in, and each kind of bad one gets the same 401, on every route."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from fastapi import FastAPI

from bentos.application import create_app
from bentos.opening import Opening
from bentos.principals import all_routes, stated
from rag.domain import Principal
from rag.errors import NotSignedIn, StorageUnavailable
from rag.governance.identity import Authenticator, Grants
from rag.governance.keys import KeyStore
from rag.governance.signing_keys import SigningKeys
from rag.governance.tokens import TokenVerifier, subject_key
from rag.settings import OidcSettings, Settings, load_settings
from rag.storage.database import open_database
from rag.testing_issuer import FakeIssuer, ec_key, public_entry, rsa_key


def now() -> int:
    """Seconds, when a test runs: it may be collected many minutes before."""
    return int(time.time())


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as issuer:
        yield issuer


def _settings(provider: FakeIssuer, **oidc: Any) -> Settings:
    chosen = {"issuer": provider.url, "audience": provider.audience} | oidc
    return load_settings("test", environment={}, overrides={"identity": {"mode": "oidc", "oidc": chosen}})


def _oidc(issuer: FakeIssuer, **oidc: Any) -> OidcSettings:
    return _settings(issuer, **oidc).identity.oidc


def _verifier(issuer: FakeIssuer, clock: Clock | None = None, **oidc: Any) -> TokenVerifier:
    settings = _oidc(issuer, **oidc)
    return TokenVerifier(settings, "default", SigningKeys(settings, clock or Clock()))


@pytest.fixture(scope="module")
def grants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grants]:
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('tokens') / 'registry.sqlite3'}")
    yield Grants(KeyStore(database, b"p" * 64))
    database.dispose()


@pytest.fixture(scope="module")
def signed(opening: Opening, issuer: FakeIssuer, grants: Grants) -> FastAPI:
    """The API with tokens of the fake issuer, over the workspace of all tests here."""
    settings = _settings(issuer)
    workspace = replace(opening.workspace(), settings=settings, authentication=Authenticator(grants, _verifier(issuer)))
    return create_app(Opening(settings, lambda: (workspace, opening.jobs())).start().wait())


def _caller(app: FastAPI, token: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {token}".encode("latin-1")}
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


async def _me(app: FastAPI, token: str) -> httpx.Response:
    async with _caller(app, token) as caller:
        return await caller.get("/v1/me")


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def _unsigned(issuer: FakeIssuer, algorithm: str) -> str:
    return f"{_encoded({'alg': algorithm, 'typ': 'at+jwt', 'kid': 'rsa-1'})}.{_encoded(issuer.claims())}."


def _signed_with_the_public_key(issuer: FakeIssuer) -> str:
    """HS256, where the secret is what everybody may read: the published key in PEM."""
    public = issuer.keys["rsa-1"].public_key()
    secret = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    body = f"{_encoded({'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'rsa-1'})}.{_encoded(issuer.claims())}"
    signature = hmac.HMAC(secret, hashes.SHA256())
    signature.update(body.encode())
    return f"{body}.{base64.urlsafe_b64encode(signature.finalize()).decode().rstrip('=')}"


def _tampered(issuer: FakeIssuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{_encoded(issuer.claims(roles=['admin']))}.{signature}"


def _pointing_elsewhere(issuer: FakeIssuer, **header: Any) -> str:
    """Signed with a stranger's key, whose place or value the header gives."""
    return issuer.token(key=rsa_key(), header=header)


STRANGER = rsa_key()
REQUIRED = ("exp", "nbf", "iat", "iss", "aud", "sub")
BAD: dict[str, Any] = {
    "expired": lambda i: i.token(exp=now() - 31),
    "not yet valid": lambda i: i.token(nbf=now() + 60),
    "issued in the future": lambda i: i.token(iat=now() + 60),
    "for another audience": lambda i: i.token(aud="chat"),
    "of another issuer": lambda i: i.token(iss="https://elsewhere.example"),
    **{f"without {name}": lambda i, name=name: i.token(**{name: None}) for name in REQUIRED},
    "with a subject that is no text": lambda i: i.token(sub=7),
    "forged under a known key id": lambda i: i.token(key=STRANGER),
    "forged with EC under an RSA key's id": lambda i: i.token("rsa-1", key=ec_key()),
    "of an unknown key id": lambda i: i.token(header={"kid": "nobody"}),
    "without a key id": lambda i: i.token(header={"kid": None}),
    "none": lambda i: _unsigned(i, "none"),
    "None": lambda i: _unsigned(i, "None"),
    "HS256 with the public key": _signed_with_the_public_key,
    "PS256": lambda i: i.token(header={"alg": "PS256"}),
    "RS512": lambda i: i.token(header={"alg": "RS512"}),
    "an id token by type": lambda i: i.token(header={"typ": "JWT"}),
    "an id token by its nonce": lambda i: i.token(nonce="n"),
    "an id token by its hash": lambda i: i.token(at_hash="h"),
    "a refresh token": lambda i: i.token(typ="Refresh"),
    "tampered with": _tampered,
    "with jku": lambda i: _pointing_elsewhere(i, jku="http://127.0.0.1:9/jwks"),
    "with x5u": lambda i: _pointing_elsewhere(i, x5u="http://127.0.0.1:9/certificate"),
    "with jwk": lambda i: _pointing_elsewhere(i, jwk=public_entry(STRANGER, "rsa-1")),
    "with a critical header": lambda i: i.token(header={"crit": ["exp"], "exp": 1}),
    "cut": lambda i: i.token()[:-20],
    "too long": lambda i: i.token(padding="x" * 20_000),
    "nothing": lambda _: "",
    "no token": lambda _: "a.b.c",
    "bytes": lambda _: "\xff.\xfe.\xfd",
}


@pytest.mark.proves("ASVS 9.1.1", "ASVS 9.1.2", "ASVS 9.1.3", "ASVS 9.2.1", "ASVS 9.2.2", "ASVS 9.2.3", "ISO A.8.5")
@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_gets_the_same_401_as_every_other_one(signed: FastAPI, issuer: FakeIssuer, kind: str) -> None:
    response = await _me(signed, BAD[kind](issuer))
    assert response.status_code == 401, kind
    assert response.headers["www-authenticate"] == 'Bearer realm="BankSight", error="invalid_token"'
    assert response.json()["detail"] == str(NotSignedIn(presented=True))


@pytest.mark.proves("SOC 2 CC6.1", "ISO A.8.5")
async def test_every_route_refuses_every_bad_token(signed: FastAPI, issuer: FakeIssuer) -> None:
    tokens = [make(issuer) for make in BAD.values()]
    tried = 0
    async with _caller(signed, "") as caller:
        for route in all_routes(signed):
            if stated(route) == "anyone":
                continue
            path = route.path.replace("{number}", "1").replace("{model:path}", "banksight")
            path = path.replace("{document_id}", "0" * 16).replace("{job_id}", "0" * 32)
            for method in route.methods or ():
                for token in tokens:
                    response = await caller.request(
                        method, path, headers={"authorization": f"Bearer {token}".encode("latin-1")}
                    )
                    assert response.status_code == 401, (method, path)
                    tried += 1
    assert tried > 500


@pytest.mark.parametrize("key_id", ["rsa-1", "ec-1"])
async def test_a_good_token_signs_in(signed: FastAPI, issuer: FakeIssuer, key_id: str) -> None:
    response = await _me(signed, issuer.token(key_id, sub="grace", clearances=["hr"]))
    assert response.json() == {
        "subject": "grace", "tenant": "default", "roles": ["analyst", "user"], "clearances": ["hr"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "claims",
    [
        lambda: {"exp": now() - 5},
        lambda: {"nbf": now() + 10},
        lambda: {"iat": now() + 10},
        lambda: {"aud": ["x", "banksight-api"]},
    ],
)
async def test_clocks_may_differ_a_little_and_audiences_may_be_many(
    signed: FastAPI, issuer: FakeIssuer, claims: Callable[[], dict[str, Any]]
) -> None:
    assert (await _me(signed, issuer.token(**claims()))).status_code == 200


async def test_claims_are_found_by_path_and_translated(issuer: FakeIssuer) -> None:
    verifier = _verifier(
        issuer, tenant_claim="bank.branch", roles_claim="realm_access.roles", clearances_claim="https://bank/groups",
        roles={"kb-readers": "user", "kb-admins": "admin"}, clearances={"hr-team": "hr"},
    )  # fmt: skip
    token = issuer.token(
        bank={"branch": "north"},
        realm_access={"roles": ["kb-readers", "admin"]},
        **{"https://bank/groups": "hr-team x"},
    )
    assert (await verifier.verify(token)).principal == Principal("ada", "north", frozenset({"user"}), frozenset({"hr"}))


@pytest.mark.parametrize(
    "claims", [{}, {"bank": "north"}, {"bank": {"branch": "../x"}}, {"bank": {"branch": ["north"]}}]
)
async def test_a_token_without_a_tenant_does_not_get_the_default_one(
    issuer: FakeIssuer, claims: dict[str, Any]
) -> None:
    with pytest.raises(NotSignedIn):
        await _verifier(issuer, tenant_claim="bank.branch").verify(issuer.token(**claims))


async def test_a_role_or_label_of_the_wrong_kind_gives_nothing(issuer: FakeIssuer) -> None:
    token = await _verifier(issuer).verify(issuer.token(roles={"admin": True}, clearances=[["hr"], 7]))
    assert (token.principal.roles, token.principal.clearances) == (frozenset(), frozenset())


async def test_signing_out_ends_this_token_and_no_other(signed: FastAPI, issuer: FakeIssuer) -> None:
    mine, other = issuer.token(), issuer.token()
    async with _caller(signed, mine) as caller:
        assert (await caller.post("/v1/logout")).status_code == 204
    assert [(await _me(signed, token)).status_code for token in (mine, other)] == [401, 200]


async def test_a_token_without_jti_is_signed_out_by_subject_and_time(signed: FastAPI, issuer: FakeIssuer) -> None:
    mine, later = (issuer.token(jti=None, iat=now() - age) for age in (5, 4))
    async with _caller(signed, mine) as caller:
        assert (await caller.post("/v1/logout")).status_code == 204
    assert [(await _me(signed, token)).status_code for token in (mine, later)] == [401, 200]


@pytest.mark.proves("SOC 2 CC6.2", "ISO A.5.18")
async def test_a_person_is_signed_out_everywhere_and_may_sign_in_again(
    signed: FastAPI, issuer: FakeIssuer, grants: Grants
) -> None:
    moment = now()
    grants.store.sign_out(subject_key("eve"), moment, moment + 3600)
    grants.refresh("now")
    codes = [
        (await _me(signed, issuer.token(sub="eve", iat=at))).status_code for at in (moment - 9, moment, moment + 1)
    ]
    assert codes == [401, 401, 200]
    assert (await _me(signed, issuer.token(sub="ada", iat=moment - 9))).status_code == 200


async def test_keys_count_beside_tokens(signed: FastAPI, grants: Grants) -> None:
    _, shown = grants.store.create("robot", Principal("robot", roles=frozenset({"operator"})), 3600)
    grants.refresh("now")
    assert (await _me(signed, shown)).json()["subject"] == "robot"


async def test_a_rotated_key_counts_after_the_cooldown_and_strangers_cause_no_more_questions() -> None:
    clock = Clock()
    with FakeIssuer() as issuer:
        verifier = _verifier(issuer, clock)
        await verifier.verify(issuer.token())
        issuer.publish("rsa-2", rsa_key())
        for number in range(20):
            with pytest.raises(NotSignedIn):
                await verifier.verify(issuer.token(header={"kid": f"guess-{number}"}))
        assert issuer.asked.count("/jwks") == 1
        clock.now += 30
        assert (await verifier.verify(issuer.token("rsa-2"))).principal.subject == "ada"
        assert issuer.asked.count("/jwks") == 2


async def test_a_withdrawn_key_stops_counting_when_the_keys_are_fetched_again() -> None:
    clock = Clock()
    with FakeIssuer() as issuer:
        verifier = _verifier(issuer, clock)
        await verifier.verify(issuer.token())
        del issuer.published["rsa-1"]
        clock.now += 300
        with pytest.raises(NotSignedIn):
            await verifier.verify(issuer.token())


@pytest.mark.proves("ASVS 16.5.2")
async def test_known_keys_count_while_the_issuer_is_down_and_unknown_ones_are_401() -> None:
    clock = Clock()
    with FakeIssuer() as issuer:
        verifier = _verifier(issuer, clock)
        await verifier.verify(issuer.token())
        issuer.status = 500
        clock.now += 86_400
        await verifier.verify(issuer.token())
        issuer.published, issuer.status = {}, 200
        clock.now += 60
        await verifier.verify(issuer.token())  # an issuer that publishes nothing is broken, not ours to believe
    clock.now += 60
    await verifier.verify(issuer.token("ec-1"))
    with pytest.raises(NotSignedIn):
        await verifier.verify(issuer.token(header={"kid": "new"}))


@pytest.mark.proves("ASVS 16.5.3")
async def test_an_issuer_that_was_never_reached_is_503_and_is_asked_again_soon() -> None:
    clock = Clock()
    with FakeIssuer() as issuer:
        verifier = _verifier(issuer, clock)
        issuer.status = 503
        with pytest.raises(StorageUnavailable):
            await verifier.verify(issuer.token())
        issuer.status = 200
        clock.now += 2
        await verifier.verify(issuer.token())


async def test_a_slow_issuer_is_not_waited_for_beyond_the_timeout() -> None:
    clock = Clock()
    with FakeIssuer() as issuer:
        verifier = _verifier(issuer, clock, timeout_seconds=0.2)
        await verifier.verify(issuer.token())
        issuer.delay_seconds = 0.5
        clock.now += 400
        assert (await verifier.verify(issuer.token())).principal.subject == "ada", "the keys known before still count"


@pytest.mark.parametrize(
    "entry",
    [
        public_entry(rsa_key(1024), "weak"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "weak"},
        public_entry(rsa_key(), "weak") | {"use": "enc"},
        public_entry(rsa_key(), "weak") | {"alg": "PS512"},
        {"kty": "RSA", "kid": "weak"},
    ],
    ids=["short", "symmetric", "for encryption", "for another algorithm", "broken"],
)
async def test_a_published_key_that_is_not_fit_is_left_out(entry: dict[str, Any]) -> None:
    with FakeIssuer() as issuer:
        issuer.published["weak"] = entry
        verifier = _verifier(issuer)
        with pytest.raises(NotSignedIn):
            await verifier.verify(jwt.encode(issuer.claims(), rsa_key(), "RS256", {"kid": "weak", "typ": "at+jwt"}))
        await verifier.verify(issuer.token())


async def test_a_discovery_document_of_another_issuer_is_not_believed() -> None:
    with FakeIssuer() as issuer:
        settings = _oidc(issuer).model_copy(update={"issuer": f"{issuer.url}/"})
        with pytest.raises(StorageUnavailable):
            await TokenVerifier(settings, "default").verify(issuer.token())


@pytest.mark.proves("ASVS 12.3.1")
@pytest.mark.parametrize("url", ["http://bank.example", "ftp://bank.example", "http://localhost:1@evil.example"])
def test_an_issuer_without_encryption_is_refused(issuer: FakeIssuer, url: str) -> None:
    with pytest.raises(Exception, match="must begin with https"):
        _settings(issuer, issuer=url)
