"""The bank's identity provider: OpenID Connect, authorization code with PKCE and nonce, by Authlib."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl

import httpx2  # what Authlib speaks HTTP with
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response

from ui.settings import UiSettings

NAME = "bank"
LEEWAY_SECONDS = 30  # between the provider's clock and ours
# Asymmetric ones only: what a provider says of others, `none` for one, is not believed.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class NotAccepted(Exception):
    """What the provider sent is not what anybody may be let in for. The text is for the log."""


# What can go wrong on the way to the provider, and with what comes back.
REFUSED = (AuthlibBaseError, JoseError, ValueError, NotAccepted)
UNREACHABLE = httpx2.HTTPError


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a provider gave. `ends` is in seconds since 1970, 0 where the provider does not say."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    ends: int

    @classmethod
    def of(cls, given: dict[str, Any], now: float, before: Self | None = None) -> Self:
        """Of a token response at this time. A provider that sends no new refresh token means the one from before."""
        if not isinstance(access := given.get("access_token"), str) or not access:
            raise NotAccepted("there is no access token")
        seconds = given.get("expires_in")
        ends = int(now) + int(seconds) if isinstance(seconds, int | float | str) and str(seconds).isdecimal() else 0
        return cls(access, str(given.get("refresh_token") or (before.refresh if before else "")), ends)

    @classmethod
    def read(cls, text: str) -> Self:
        """What `text` wrote."""
        return cls(**json.loads(text))

    def text(self) -> str:
        """As a session keeps them."""
        return json.dumps(asdict(self))


class Provider:
    """The provider, as its own metadata describe it. Errors are those of REFUSED and UNREACHABLE."""

    def __init__(self, settings: UiSettings) -> None:
        self._issuer = settings.ui_oidc_issuer
        self._credentials = {
            "client_id": settings.ui_oidc_client,
            "client_secret": settings.ui_oidc_secret.get_secret_value() or None,
        }
        # Proxies of the environment are for the internet, as in `ui.client`.
        self._connection = {"trust_env": False, "timeout": settings.ui_oidc_seconds}
        self._app = OAuth().register(
            name=NAME,
            server_metadata_url=f"{self._issuer.rstrip('/')}/.well-known/openid-configuration",
            authorize_params=dict(parse_qsl(settings.ui_oidc_parameters)),
            client_kwargs={"scope": settings.ui_oidc_scope, "code_challenge_method": "S256", **self._connection},
            **self._credentials,
        )

    async def redirect(self, request: Request, back: str) -> Response:
        """To the provider's page, with state, nonce and PKCE challenge; `back` is where it sends the browser then."""
        await self._metadata()
        response: Response = await self._app.authorize_redirect(request, back)
        return response

    async def tokens(self, request: Request, now: float) -> tuple[Tokens, str]:
        """The tokens that the code of this request is good for, and the person's name, empty where it is not said."""
        await self._metadata()
        if request.query_params.get("iss", self._issuer) != self._issuer:  # RFC 9207
            raise NotAccepted("the answer comes from another provider")
        given: dict[str, Any] = await self._app.authorize_access_token(request, leeway=LEEWAY_SECONDS)
        who = given.get("userinfo")  # the claims of the id token, checked
        if not who:
            raise NotAccepted("there is no id token")
        return Tokens.of(given, now), str(who.get("name") or who.get("preferred_username") or "")[:100]

    async def renewed(self, tokens: Tokens, now: float) -> Tokens:
        """What the refresh token is good for."""
        endpoint = str((await self._metadata())["token_endpoint"])
        async with AsyncOAuth2Client(**self._credentials, **self._connection) as http:
            return Tokens.of(dict(await http.refresh_token(endpoint, refresh_token=tokens.refresh)), now, tokens)

    async def revoke(self, tokens: Tokens) -> None:
        """Tell the provider that the refresh token is not needed any more (RFC 7009), where it wants to know."""
        with suppress(*REFUSED, UNREACHABLE):
            endpoint = (await self._metadata()).get("revocation_endpoint")
            if endpoint and tokens.refresh:
                async with AsyncOAuth2Client(**self._credentials, **self._connection) as http:
                    await http.revoke_token(str(endpoint), tokens.refresh, "refresh_token")

    async def _metadata(self) -> dict[str, Any]:
        metadata: dict[str, Any] = await self._app.load_server_metadata()
        if metadata.get("issuer") != self._issuer:
            raise NotAccepted("the provider calls itself by another name than BANKSIGHT_UI_OIDC_ISSUER")
        offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [each for each in offered if each in ALGORITHMS]
        return metadata
