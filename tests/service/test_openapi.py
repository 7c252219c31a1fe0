"""The API keeps what its OpenAPI document promises, whatever is sent to it: no 5xx, no undocumented answer."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings

from bentos.application import create_app
from bentos.opening import Opening
from rag.settings import load_settings

PROMISES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


def _never() -> Any:
    raise AssertionError("only the document is read")


def _operations() -> list[tuple[str, str]]:
    """Every method of every path, from an application that was never opened."""
    app = create_app(Opening(load_settings("test", environment={}), _never))
    return [(path, method) for path, methods in app.openapi()["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def fuzzed(opening: Opening) -> FastAPI:
    """The application whose every operation is tried."""
    return create_app(opening)


@pytest.mark.proves("ASVS 4.1.1", "PCI DSS 6.2.4", "ISO A.8.29")
@pytest.mark.parametrize(("path", "method"), _operations(), ids=str)
def test_no_request_breaks_a_promise(fuzzed: FastAPI, path: str, method: str) -> None:
    document = schemathesis.openapi.from_asgi("/docs.json", fuzzed, headers={"Host": "localhost"})
    checks = schemathesis.checks.CHECKS.get_by_names(list(PROMISES))

    @settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=document[path][method].as_strategy())
    def attempt(case: Any) -> None:
        response = case.call_and_validate(checks=checks, headers={"Host": "localhost"})
        assert response.status_code < 500

    attempt()


def test_every_error_response_is_documented_as_a_problem_or_in_openai_s_shape(fuzzed: FastAPI) -> None:
    for path, methods in fuzzed.openapi()["paths"].items():
        for operation in methods.values():
            errors = {status: each for status, each in operation["responses"].items() if int(status) >= 400}
            assert {"429", "503"} <= set(errors), path
            kinds = {kind for each in errors.values() for kind in each.get("content", {})}
            openai = path.startswith(("/v1/chat/", "/v1/embeddings", "/v1/models"))
            assert kinds <= {"application/json" if openai else "application/problem+json", "application/json"}, path


def test_every_operation_says_what_it_does(fuzzed: FastAPI) -> None:
    for path, methods in fuzzed.openapi()["paths"].items():
        for method, operation in methods.items():
            assert len(operation.get("description", "")) > 20, (path, method)
