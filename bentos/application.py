"""The HTTP API as a FastAPI application: routes, errors and the layers that every request passes."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import Depends, FastAPI

from bentos import problems, reference
from bentos.admission import LOOPBACK_NAMES, BodyLimit, Doorkeeper
from bentos.back_pressure import BackPressure
from bentos.contract import known_parameters_only
from bentos.draining import Draining
from bentos.internal import InternalPaths
from bentos.measurement import Measurement
from bentos.opening import Opening
from bentos.principals import (
    Gate,
    all_routes,
    current_principal,
    public_paths,
    refuse_unprotected,
    stated,
    stated_or_admin,
)
from bentos.routes import admin, ask, documents, feedback, jobs, me, openai, operations, quarantine, receipts, search
from bentos.schemas import ProblemDocument
from rag.governance.identity import Authentication, OnePerson, local_principal
from rag.operations.reloading import Reloading
from rag.settings import Settings

_MAX_JSON_BYTES = 1024 * 1024
_MULTIPART_BYTES = 64 * 1024  # what a form adds to the file in it
_DESCRIPTION = (
    "Answers questions about a bank's own documents with page-exact citations, or says plainly that it cannot. "
    "Errors are problem documents (RFC 9457); routes named after OpenAI's use OpenAI's error shape."
)


class Api(FastAPI):
    """FastAPI with an OpenAPI document that promises our errors, not FastAPI's."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        document["components"]["schemas"]["ProblemDocument"] = ProblemDocument.model_json_schema()
        for path, methods in document["paths"].items():
            if path.startswith(problems.OPENAI_PREFIXES):
                for operation in methods.values():
                    operation["responses"].pop("422", None)
        self._tell_roles(document)
        return document

    def _tell_roles(self, document: dict[str, Any]) -> None:
        """Say of each operation how to sign in, and which roles it is for (`x-roles`)."""
        document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        for route in all_routes(self):
            roles = stated(route) or frozenset({"admin"})
            for method in route.methods or ():
                if route.include_in_schema and roles != "anyone":
                    told = {"security": [{"bearer": []}], "x-roles": sorted(roles)}
                    document["paths"][route.path_format][method.lower()] |= told


def create_app(opening: Opening, draining: Draining | None = None) -> FastAPI:
    """The API over a workspace that is open or opening, until `draining` begins.

    Raises `ConfigurationError` when it would be unprotected.
    """
    settings = opening.settings
    refuse_unprotected(settings)
    app = Api(
        title="BankSight",
        version=_version(),
        description=_DESCRIPTION,
        openapi_url="/docs.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
        dependencies=[Depends(known_parameters_only), Depends(stated_or_admin)],
        separate_input_output_schemas=False,
    )
    app.state.opening = opening
    app.state.settings = settings

    def apply(changed: Settings) -> None:
        opening.reconfigure(changed)
        app.state.settings = changed

    app.state.reloading = Reloading(settings, opening.load, apply)
    for module in (ask, feedback, search, documents, quarantine, jobs, me, openai, operations, admin, receipts):
        app.include_router(module.router)
    problems.install(app)
    reference.install(app)
    # The last one added is the first that a request meets.
    server = settings.server
    app.add_middleware(
        BackPressure,
        settings=app.state.reloading.current,
        identify=current_principal,
        engine_slots=opening.engine_slots,
        redis=opening.redis,
        draining=draining,
    )
    app.add_middleware(BodyLimit, default=_MAX_JSON_BYTES, uploads=server.max_upload_bytes + _MULTIPART_BYTES)
    public = public_paths(app)
    app.add_middleware(Gate, authentication=_authentication(opening), public=public)
    app.add_middleware(
        Doorkeeper,
        hosts={*LOOPBACK_NAMES, server.host, *server.allowed_hosts},
        origins=server.allowed_origins,
        peers="loopback" if settings.identity.loopback_only else "anywhere",
    )
    if settings.hides_internal_paths:
        app.add_middleware(InternalPaths)
    app.add_middleware(Measurement, log_requests=settings.logging.requests == "each")
    return app


def _authentication(opening: Opening) -> Callable[[], Authentication]:
    """What says who calls. Keys are in the workspace, which may not be open yet; one person needs none."""
    if opening.settings.identity.mode == "none":
        person = OnePerson(local_principal(opening.settings))
        return lambda: person
    return lambda: opening.workspace().authentication


def _version() -> str:
    try:
        return version("banksight")
    except PackageNotFoundError:  # a bento carries the packages, not the distribution
        return "0"
