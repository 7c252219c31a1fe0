"""What all routes share: their dependencies, and the error responses that the OpenAPI document promises for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from bentos.opening import Opening
from bentos.principals import Caller
from bentos.problems import MEDIA_TYPE, Problem
from rag.domain import Principal, SearchFilter
from rag.settings import Settings

if TYPE_CHECKING:
    from bentos.opening import Jobs as AnyJobs
    from rag.bootstrap import Workspace
else:  # FastAPI looks at them; importing them takes seconds in which the server can already answer
    Workspace = AnyJobs = Any

_MEANINGS = {
    400: "The body cannot be read",
    401: "Nobody is signed in, or the key or token does not count",
    403: "Refused: your roles do not cover this, or another web site or machine called",
    404: "There is no such thing, or you may not know of it",
    405: "The route does not take this method",
    406: "The page can be had as JSON or HTML only",
    409: "What was found cannot be used, and nothing was changed",
    413: "Too large",
    415: "This type of file is not accepted",
    421: "The server does not go by this name",
    422: "The request cannot be processed as it stands; `detail` says why",
    429: "Full, or more than this caller's share; see Retry-After",
    500: "Something unexpected; `detail` has an incident id",
    503: "Not ready, or stopping; see Retry-After",
    504: "No answer within the deadline",
}
_ALWAYS = (401, 403, 421, 422, 429, 500, 503)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route: the ones named here and those that every route may give."""
    schema = {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: schema}}
        for status in sorted({*_ALWAYS, *statuses})
    }


async def _workspace(request: Request) -> Workspace:
    opening: Opening = request.app.state.opening
    return opening.workspace()


async def _jobs(request: Request) -> AnyJobs:
    opening: Opening = request.app.state.opening
    return opening.jobs()


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


OpenWorkspace = Annotated[Workspace, Depends(_workspace)]
Jobs = Annotated[AnyJobs, Depends(_jobs)]
TheSettings = Annotated[Settings, Depends(_settings)]


async def _consented(workspace: OpenWorkspace, caller: Caller) -> None:
    if workspace.settings.consent.required:
        await asyncio.to_thread(workspace.personal.consents.require, caller)


needs_consent: Any = Depends(_consented)
"""A dependency of routes that take in what a person asks: 403 before they agreed to what the configuration says."""


async def known_parameters_only(request: Request) -> None:
    """Refuse query parameters that the route does not know: a misspelt one must not be ignored in silence."""
    if not request.scope["query_string"]:
        return
    unknown = set(request.query_params) - _parameters(request.scope["route"].dependant)
    if unknown:
        name = min(unknown)
        raise Problem(
            422, "unknown_parameter", f"This route has no query parameter {name[:80]!r}; remove it.", param=name
        )


def _parameters(dependant: Dependant) -> set[str]:
    own = {field.alias for field in dependant.query_params}
    return own.union(*(_parameters(each) for each in dependant.dependencies))


def checked_filter(narrow: SearchFilter, workspace: Workspace, caller: Principal) -> SearchFilter:
    """The filter, refused with `QuestionError` here, before a stream begins, when a collection in it cannot be read."""
    workspace.catalog.scopes(caller, narrow)
    return narrow
