"""Signing in to the chat at a real OpenID provider, which asks for PKCE and nonce, and out of it."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from playwright.sync_api import expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from rag.governance.tokens import TokenVerifier
from rag.settings import load_settings

CLIENT, SECRET, AUDIENCE = "the-chat", "known to chat and provider", "the-api"
DOCUMENT = "/documents/0a1b2c3d4e5f6071/content"
LIFETIME = 20  # of an access token: less than the chat keeps in hand, so that each question needs a new one


def refused(error: str) -> Response:
    return JSONResponse({"error": error}, status_code=400)


@dataclass
class IdentityProvider:
    """Authorization code flow as a bank's provider does it: PKCE and nonce are demanded, a code is good once, and a
    refresh token that comes twice ends the whole grant. Its page signs in whoever's name is clicked."""

    issuer: str
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    revoked: list[str] = field(default_factory=list)
    about_ids: dict[str, Any] = field(default_factory=dict)  # what the next id token says otherwise
    unsigned: bool = False

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.metadata),
                Route("/keys", lambda _: JSONResponse({"keys": [self.key.as_dict(private=False)]})),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/revoke", self.revoke, methods=["POST"]),
            ]
        )

    async def metadata(self, _: Request) -> Response:
        places = {"authorization": "authorize", "token": "token", "revocation": "revoke"}
        return JSONResponse(
            {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}/keys",
                "id_token_signing_alg_values_supported": ["RS256", "none"],
                **{f"{name}_endpoint": f"{self.issuer}/{path}" for name, path in places.items()},
            }
        )

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        if asked["client_id"] != CLIENT or asked.get("code_challenge_method") != "S256" or not asked.get("nonce"):
            return refused("invalid_request")
        if "as" not in asked:
            people = [f'<a href="?{urlencode({**asked, "as": name})}">{name}</a>' for name in ("Ann", "Bob")]
            return HTMLResponse(f"<!doctype html><title>Bank</title><h1>Who are you?</h1>{' '.join(people)}")
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.issuer}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", status_code=302)

    async def token(self, request: Request) -> Response:
        given = dict(parse_qsl((await request.body()).decode()))
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".replace(" ", "+").encode()).decode()
        plain = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if request.headers.get("authorization") not in (f"Basic {basic}", f"Basic {plain}"):
            return refused("invalid_client")
        if given["grant_type"] == "refresh_token":
            return self.renewed(given["refresh_token"])
        asked = self.codes.pop(given["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(given["code_verifier"].encode()).digest()).rstrip(b"=")
        if (
            asked is None
            or asked["code_challenge"] != challenge.decode()
            or asked["redirect_uri"] != given["redirect_uri"]
        ):
            return refused("invalid_grant")
        person = asked["as"].lower()
        identity = {"sub": person, "aud": CLIENT, "nonce": asked["nonce"], "name": f"{asked['as']} Example"}
        claims = self.claims(**identity | self.about_ids)
        header = {"alg": "RS256", "kid": "one", "typ": "JWT"}
        signed = jwt.encode(header, claims, self.key)
        if self.unsigned:
            header_of_none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
            signed = f"{header_of_none}.{signed.split('.')[1]}."
        return JSONResponse({**self.grant(person), "id_token": signed})

    def renewed(self, refresh_token: str) -> Response:
        person = self.refresh_tokens.pop(refresh_token, None)
        if person is None:
            if refresh_token in self.used:  # stolen, or used twice
                self.refresh_tokens.clear()
            return refused("invalid_grant")
        self.used.add(refresh_token)
        return JSONResponse(self.grant(person))

    async def revoke(self, request: Request) -> Response:
        token = dict(parse_qsl((await request.body()).decode()))["token"]
        self.revoked.append(token)
        self.refresh_tokens.pop(token, None)
        return Response()

    def grant(self, person: str) -> dict[str, Any]:
        header = {"alg": "RS256", "kid": "one", "typ": "at+jwt"}
        access = jwt.encode(header, self.claims(sub=person, aud=AUDIENCE, jti=secrets.token_hex(8)), self.key)
        refresh = secrets.token_urlsafe()
        self.refresh_tokens[refresh] = person
        return {"access_token": access, "token_type": "Bearer", "expires_in": LIFETIME, "refresh_token": refresh}

    def claims(self, **more: Any) -> dict[str, Any]:
        now = int(time.time())
        return {"iss": self.issuer, "iat": now, "nbf": now, "exp": now + LIFETIME, "roles": ["user"], **more}


@pytest.fixture(scope="module")
def provider(serve_here) -> Iterator[IdentityProvider]:
    """On another site than the chat: `localhost`, where the chat is `127.0.0.1`."""
    with serve_here(lambda url: IdentityProvider(url.replace("127.0.0.1", "localhost"))) as running:
        yield running


@pytest.fixture(scope="module")
def openid_url(provider: IdentityProvider, api, ui_with) -> Iterator[str]:
    """A UI where people sign in there, in front of an API that checks access tokens as the product does."""
    settings = load_settings("test", environment={"OIDC_ISSUER": provider.issuer, "OIDC_AUDIENCE": AUDIENCE})
    api.verifier = TokenVerifier(settings.identity.oidc, "bank")
    given = {"LOGIN": "oidc", "OIDC_ISSUER": provider.issuer, "OIDC_CLIENT": CLIENT, "OIDC_SECRET": SECRET}
    with ui_with(given) as url:
        yield url
    api.verifier = None


def signing_in(url: str, name: str) -> tuple[httpx.Client, str]:
    """A browser that was at the provider, and the address that it was sent back to."""
    client = httpx.Client(base_url=url, trust_env=False)
    there = client.get("/auth/oauth/bank").headers["location"]
    answer = httpx.get(f"{there}&as={name}", trust_env=False)
    return client, answer.headers["location"]


def signed_in(url: str, name: str) -> httpx.Client:
    client, back = signing_in(url, name)
    assert client.get(back).headers["location"] == "/login/callback?success=True"
    return client


def test_somebody_signs_in_there_asks_with_their_token_and_signs_out(visit_of, openid_url, provider, api) -> None:
    chat = visit_of(openid_url)
    page = chat.page
    page.goto(openid_url)
    page.get_by_role("button", name="Sign in with your organisation").click()
    page.get_by_role("link", name="Ann").click()
    page.wait_for_selector("#chat-input")
    assert all(address.startswith(provider.issuer) for address in chat.foreign)
    chat.foreign.clear()
    questions = ("What is the deadline, first token?", "What is the deadline, second token?")
    for number, question in enumerate(questions, start=1):
        chat.ask(question)
        expect(page.get_by_role("button", name="[1] Regulation E · § 1005.11")).to_have_count(number)
    tokens = [api.callers[question].removeprefix("Bearer ") for question in questions]
    subjects = [jwt.decode(each, provider.key).claims["sub"] for each in tokens]
    assert subjects == ["ann", "ann"]
    assert tokens[0] != tokens[1]

    user = page.evaluate("fetch('/user').then((answer) => answer.json())")
    assert (user["identifier"], user["display_name"]) == ("bank/ann", "Ann Example")
    [cookie] = [each for each in page.context.cookies() if each["name"] == "access_token"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert all(each not in page.evaluate("document.documentElement.outerHTML") for each in tokens)
    thread = page.url.rpartition("/")[2]
    with closing(signed_in(openid_url, "Bob")) as bob:
        assert bob.get("/user").json()["identifier"] == "bank/bob"
        assert bob.get(f"/project/thread/{thread}").status_code == 404

    page.click("#user-nav-button")
    page.get_by_role("menuitem", name="Sign out").click()
    page.wait_for_url("**/login")
    with httpx.Client(base_url=openid_url, trust_env=False, cookies={"access_token": cookie["value"]}) as thief:
        assert thief.get("/user").status_code == 401
        assert thief.get(f"/project/thread/{thread}").status_code == 401
    assert len(provider.revoked) == 1
    assert [jwt.decode(each, provider.key).claims["sub"] for each in api.ended] == ["ann"]


def test_a_code_counts_only_in_the_browser_that_asked_for_it_and_only_once(openid_url) -> None:
    client, back = signing_in(openid_url, "Ann")
    with closing(client), httpx.Client(base_url=openid_url, trust_env=False) as another:
        assert another.get(back).headers["location"] == "/login?error=oauthSignin"
        assert another.get("/user").status_code == 401
        assert client.get(back).headers["location"] == "/login/callback?success=True"
        assert client.get(back).headers["location"] == "/login?error=oauthSignin"


@pytest.mark.parametrize(
    "wrong", [{"nonce": "another"}, {"aud": "another"}, {"iss": "http://localhost:1"}, {"exp": 1}, "unsigned"]
)
def test_an_id_token_that_is_not_for_this_sign_in_lets_nobody_in(openid_url, provider, wrong) -> None:
    client, back = signing_in(openid_url, "Ann")
    provider.unsigned, provider.about_ids = wrong == "unsigned", {} if wrong == "unsigned" else wrong
    try:
        with closing(client):
            assert client.get(back).headers["location"] == "/login?error=oauthSignin"
            assert client.get("/user").status_code == 401
    finally:
        provider.unsigned, provider.about_ids = False, {}


@pytest.mark.parametrize(
    "change", [{"iss": "https://another.example"}, {"state": "another"}, {"error": "access_denied"}]
)
def test_an_answer_that_is_not_the_providers_lets_nobody_in(openid_url, change) -> None:
    client, back = signing_in(openid_url, "Ann")
    asked = dict(parse_qsl(urlsplit(back).query)) | change
    with closing(client):
        assert client.get("/auth/oauth/bank/callback", params=asked).headers["location"] == "/login?error=oauthSignin"
        assert client.get("/user").status_code == 401


def test_many_requests_at_once_renew_the_tokens_one_after_the_other(openid_url, provider) -> None:
    with closing(signed_in(openid_url, "Bob")) as bob, ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: bob.get(DOCUMENT).status_code, range(6)))
        assert answers == [200] * 6
        assert provider.refresh_tokens != {}  # they would be gone if one had come twice


def test_a_session_ends_when_the_provider_renews_its_tokens_no_more(openid_url, provider) -> None:
    with closing(signed_in(openid_url, "Bob")) as bob:
        provider.refresh_tokens.clear()
        assert bob.get("/user").status_code == 200
        assert bob.get(DOCUMENT).status_code == 401
        assert bob.get("/user").status_code == 401


def test_only_these_two_of_chainlits_ways_are_open(openid_url) -> None:
    for path in ("/auth/oauth/google", "/auth/oauth/bank/callback/more", "/auth/jwt"):
        assert httpx.get(f"{openid_url}{path}", trust_env=False).status_code == 404
    assert (
        httpx.post(f"{openid_url}/login", data={"username": "a", "password": "b"}, trust_env=False).status_code == 400
    )
    assert httpx.post(f"{openid_url}/auth/header", trust_env=False).status_code == 400
