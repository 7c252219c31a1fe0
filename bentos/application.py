"""The HTTP API as a FastAPI application: routes, errors and the layers that every request passes."""

from __future__ import annotations

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
from bentos.principals import current_principal, refuse_unprotected
from bentos.routes import ask, documents, jobs, openai, operations, search
from bentos.schemas import ProblemDocument

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
        return document


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
        telemetry={"tracing": False},
        dependencies=[Depends(known_parameters_only)],
        separate_input_output_schemas=False,
    )
    app.state.opening = opening
    app.state.settings = settings
    for module in (ask, search, documents, jobs, openai, operations):
        app.include_router(module.router)
    problems.install(app)
    reference.install(app)
    # The last one added is the first that a request meets.
    server = settings.server
    app.add_middleware(
        BackPressure,
        settings=lambda: app.state.settings,
        identify=current_principal,
        engine_slots=opening.engine_slots,
        redis=opening.redis,
        draining=draining,
    )
    app.add_middleware(BodyLimit, default=_MAX_JSON_BYTES, uploads=server.max_upload_bytes + _MULTIPART_BYTES)
    app.add_middleware(
        Doorkeeper,
        hosts={*LOOPBACK_NAMES, server.host, *server.allowed_hosts},
        origins=server.allowed_origins,
        peers=settings.identity.peers,
    )
    if settings.metrics.readers == "private_network":
        app.add_middleware(InternalPaths)
    app.add_middleware(Measurement, log_requests=settings.logging.requests == "each")
    return app


def _version() -> str:
    try:
        return version("banksight")
    except PackageNotFoundError:  # a bento carries the packages, not the distribution
        return "0"
