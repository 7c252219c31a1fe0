"""Who calls, and whether they may: 401 before anything of a request is read, 403 where a route is for other roles."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from bentos.admission import is_loopback
from bentos.problems import Problem, respond
from rag.domain import Principal
from rag.errors import BankSightError, ConfigurationError
from rag.governance.identity import Authentication
from rag.governance.roles import expanded
from rag.settings import Settings
from rag.settings.identity import Role

Stated = frozenset[Role] | Literal["anyone"]
_STATED: dict[object, Stated] = {}


def refuse_unprotected(settings: Settings) -> None:
    """Raise `ConfigurationError` when everybody on a network would be taken for the one local person."""
    if settings.identity.loopback_only and not is_loopback(settings.server.host):
        raise ConfigurationError(
            f"server.host is {settings.server.host}, which others can reach, but identity.mode is none, so nobody "
            "would sign in; set identity.mode to api_key or oidc, or server.host to 127.0.0.1, or, where a gateway "
            "in front signs people in, identity.peers to private_network"
        )


class Gate:
    """Finds out who calls, for every path but the public ones, before a route or a limit sees the request.

    What comes after finds the `Principal` in `request.state.principal`.
    """

    def __init__(self, app: ASGIApp, authentication: Callable[[], Authentication], public: Collection[str]) -> None:
        self.app = app
        self.authentication = authentication
        self.public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self.public:
            try:
                principal = await self.authentication().principal(Headers(scope=scope).get("authorization"))
            except BankSightError as error:
                await respond(error, Request(scope))(scope, receive, send)
                return
            scope.setdefault("state", {})["principal"] = principal
        await self.app(scope, receive, send)


async def current_principal(request: Request) -> Principal:
    """The caller, as the gate found out."""
    principal: Principal = request.state.principal
    return principal


Caller = Annotated[Principal, Depends(current_principal)]


def requires(*roles: Role) -> Any:
    """A dependency that lets only people with one of these roles use a route, and says so to whoever lists routes."""

    async def check(caller: Caller) -> None:
        _require(caller, frozenset(roles))

    _STATED[check] = frozenset(roles)
    return Depends(check)


def for_anyone() -> Any:
    """A dependency that says that nobody needs to sign in for a route."""

    async def check() -> None:
        return None

    _STATED[check] = "anyone"
    return Depends(check)


async def stated_or_admin(request: Request) -> None:
    """A route that forgot to say whom it is for is for admins only."""
    if stated(request.scope["route"]) is None:
        _require(await current_principal(request), frozenset({"admin"}))


def stated(route: APIRoute) -> Stated | None:
    """Whom a route says that it is for; None when it says nothing."""
    return next((_STATED[each.call] for each in route.dependant.dependencies if each.call in _STATED), None)


def public_paths(app: FastAPI) -> frozenset[str]:
    """The paths that are for anyone. They have no parameters."""
    return frozenset({str(app.openapi_url)} | {each.path for each in all_routes(app) if stated(each) == "anyone"})


def all_routes(app: FastAPI) -> list[APIRoute]:
    """Every route of the API, those of included routers too."""
    originals = (context.original_route for context in iter_route_contexts(app.routes))
    return [route for route in originals if isinstance(route, APIRoute)]


def _require(caller: Principal, roles: frozenset[Role]) -> None:
    if not roles & expanded(caller.roles):
        raise Problem(403, "not_allowed", f"This needs the role {' or '.join(sorted(roles))}; ask your administrator.")
