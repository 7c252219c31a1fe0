"""What a caller reads when something is wrong: RFC 9457 problem documents, and OpenAI's error shape on its routes.

One table says which error becomes which status. No answer ever holds a stack trace: an unexpected error is logged with
an id, and the caller gets the id.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from rag.errors import (
    BankSightError,
    Busy,
    ConfigurationError,
    ConsentNeeded,
    ConsentOutdated,
    Full,
    ModelError,
    NotAllowed,
    NotFound,
    NotSignedIn,
    QuestionError,
    StorageUnavailable,
    UploadRejected,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
OPENAI_PREFIXES = ("/v1/chat/", "/v1/embeddings", "/v1/models")
_STATUS: tuple[tuple[type[BankSightError], int], ...] = (
    (QuestionError, 422),
    (NotFound, 404),
    (NotSignedIn, 401),
    (NotAllowed, 403),
    (ConsentOutdated, 409),
    (Full, 429),  # not 503, which a proxy takes for a broken node: when all are full it would have none left
    (Busy, 503),
    (StorageUnavailable, 503),
    (ModelError, 503),
    (ConfigurationError, 503),
)
_RETRY_SECONDS = 5


@dataclass(eq=False)
class Problem(Exception):
    """A problem document on its way to the caller. `code` is stable, for programs; `detail` is for people."""

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[Mapping[str, str]] = ()
    param: str | None = None

    def document(self, instance: str) -> dict[str, Any]:
        """The RFC 9457 members, and `errors` where several fields are wrong."""
        body: dict[str, Any] = {
            "type": f"urn:banksight:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        return {**body, "errors": list(self.errors)} if self.errors else body

    def openai_document(self) -> dict[str, Any]:
        """The same in the shape that OpenAI's clients parse."""
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.detail, "type": kind, "param": self.param, "code": self.code}}


def problem_from(error: BaseException) -> Problem:
    """The problem that an error is to a caller. Unknown errors are logged here, with the id that the caller gets."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _from_validation(error)
    if isinstance(error, HTTPException):
        return _from_http(error)
    if isinstance(error, BankSightError):
        return _from_banksight(error)
    if isinstance(error, TimeoutError):
        return Problem(504, "deadline_exceeded", "No answer was found within the time allowed; ask a shorter question.")
    return _unexpected(error)


def _unexpected(error: BaseException) -> Problem:
    incident = uuid.uuid4().hex[:12]
    logger.error("incident %s", incident, exc_info=error)
    return Problem(500, "internal", f"Something unexpected went wrong; give the operator the incident id {incident}.")


def respond(error: BaseException, request: Request) -> Response:
    """The response to an error, in the shape of the route that was called."""
    problem = problem_from(error)
    path = request.scope.get("path", "")
    headers = {**problem.headers, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if path.startswith(OPENAI_PREFIXES):
        status = 400 if problem.status == 422 else problem.status
        return JSONResponse(problem.openai_document(), status, headers)
    return JSONResponse(problem.document(path), problem.status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Every error of `app` becomes a problem document."""

    async def answer(request: Request, error: Exception) -> Response:
        return respond(error, request)

    async def nobody_listens(_request: Request, _error: Exception) -> Response:
        return Response(status_code=499)

    for kind in (Problem, RequestValidationError, HTTPException, BankSightError, TimeoutError, Exception):
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(ClientDisconnect, nobody_listens)


def _from_banksight(error: BankSightError) -> Problem:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if isinstance(error, UploadRejected):
        status = error.status
    wait = error.retry_after if isinstance(error, Busy) else _RETRY_SECONDS
    headers = {"Retry-After": str(wait)} if status in (429, 503) else {}
    if isinstance(error, NotSignedIn):
        wrong = ', error="invalid_token"' if error.presented else ""  # RFC 6750, 3: only where one was sent
        headers = {"WWW-Authenticate": f'Bearer realm="BankSight"{wrong}'}
    missing = error.missing if isinstance(error, ConsentNeeded) else {}
    errors = [{"field": purpose, "message": text} for purpose, text in missing.items()]
    return Problem(status, error.code, str(error), headers, errors)


def _from_http(error: HTTPException) -> Problem:
    codes = {400: "malformed", 404: "unknown_route", 405: "method_not_allowed", 413: "too_large"}
    details = {
        404: "There is no such route; GET / lists them all.",
        405: "This route does not take that method; the Allow header names those that it takes.",
    }
    detail = details.get(error.status_code, str(error.detail))
    return Problem(error.status_code, codes.get(error.status_code, "refused"), detail, dict(error.headers or {}))


def _from_validation(error: RequestValidationError) -> Problem:
    """One readable sentence for the first fault, and all of them (without the values) for programs."""
    faults = [{"field": _place(each["loc"]), "message": _sentence(each)} for each in error.errors()]
    first = faults[0]
    more = f" ({len(faults) - 1} more under errors.)" if len(faults) > 1 else ""
    detail = f"{first['field']}: {first['message']}.{more}" if first["field"] else f"{first['message']}.{more}"
    return Problem(422, "invalid_request", detail, errors=faults, param=first["field"] or None)


def _place(location: Sequence[int | str]) -> str:
    """`("body", "history", 0, "role")` as `history.0.role`."""
    parts = [str(part) for part in location]
    return ".".join(parts[1:] if parts and parts[0] in ("body", "query", "path", "header") else parts)


def _sentence(fault: Mapping[str, Any]) -> str:
    kind, message = str(fault.get("type", "")), str(fault.get("msg", "is not valid"))
    if kind == "json_invalid":
        return "The body is not valid JSON"
    if kind == "extra_forbidden":
        return "is not known here; remove it"
    if kind == "missing" and not _place(fault.get("loc", ())):
        return "A JSON body with Content-Type: application/json is needed"
    return message.removeprefix("Value error, ").rstrip(".")
