"""What a caller reads when something is wrong."""

from __future__ import annotations

import logging

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field

from bentos import problems
from bentos.problems import Problem, problem_from
from rag.errors import (
    BankSightError,
    Busy,
    ConfigurationError,
    Full,
    IndexMismatch,
    ModelError,
    NotFound,
    QuestionError,
    StorageUnavailable,
    UploadRejected,
    WeightsRejected,
)


class Body(BaseModel):
    question: str = Field(max_length=5)
    top_k: int = 1


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    problems.install(app)
    raised: dict[str, Exception] = {
        "question": QuestionError("too long"),
        "missing": NotFound("gone"),
        "busy": Busy("wait", retry_after=7),
        "full": Full("wait", retry_after=7),
        "secret": RuntimeError("password=hunter2"),
    }

    @app.post("/v1/ask")
    @app.post("/v1/embeddings")
    def ask(body: Body) -> str:
        raise raised[body.question[:8]] if body.question in raised else KeyError(body.question)

    @app.get("/raise/{name}")
    def fail(name: str) -> str:
        raise raised[name]

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (QuestionError("x"), 422),
        (NotFound("x"), 404),
        (UploadRejected("x", 415), 415),
        (UploadRejected("x", 413), 413),
        (Busy("x"), 503),
        (Full("x"), 429),
        (StorageUnavailable("x"), 503),
        (ModelError("x"), 503),
        (WeightsRejected("x"), 503),
        (ConfigurationError("x"), 503),
        (IndexMismatch("x"), 503),
        (BankSightError("x"), 500),
        (TimeoutError(), 504),
        (ValueError("x"), 500),
    ],
)
def test_every_kind_of_error_has_its_status(error: Exception, status: int) -> None:
    assert problem_from(error).status == status


def test_problem_document_has_the_members_of_rfc_9457(client: TestClient) -> None:
    response = client.get("/raise/missing")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "urn:banksight:problem:not_found",
        "title": "Not Found",
        "status": 404,
        "detail": "gone",
        "instance": "/raise/missing",
    }


@pytest.mark.parametrize(("name", "status"), [("busy", 503), ("full", 429)])
def test_busy_and_full_say_when_to_try_again(client: TestClient, name: str, status: int) -> None:
    response = client.get(f"/raise/{name}")
    assert (response.status_code, response.headers["retry-after"]) == (status, "7")


@pytest.mark.proves("ASVS 16.3.4", "ASVS 16.5.1", "ASVS 16.5.4")
def test_unexpected_error_shows_an_incident_id_that_the_log_has_and_nothing_else(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "bentos.problems"):
        response = client.get("/raise/secret")
    assert response.status_code == 500
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text
    incident = response.json()["detail"].rsplit(" ", 1)[-1].rstrip(".")
    assert f"incident {incident}" in caplog.text


@pytest.mark.proves("ASVS 16.5.1")
def test_validation_names_the_field_and_never_repeats_the_value(client: TestClient) -> None:
    response = client.post("/v1/ask", json={"question": "my secret account number", "top_k": "many"})
    document = response.json()
    assert response.status_code == 422
    assert document["detail"] == "question: String should have at most 5 characters. (1 more under errors.)"
    assert [each["field"] for each in document["errors"]] == ["question", "top_k"]
    assert "secret" not in response.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_body_that_is_no_json_object_is_refused_with_a_sentence(client: TestClient, body: bytes) -> None:
    response = client.post("/v1/ask", content=body, headers={"content-type": "application/json"})
    assert response.status_code in (400, 422)
    assert response.json()["detail"]


def test_openai_routes_use_openai_s_shape_and_400(client: TestClient) -> None:
    response = client.post("/v1/embeddings", json={"question": "far too long"})
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "question", "invalid_request")


def test_unknown_route_and_method_are_problem_documents(client: TestClient) -> None:
    unknown, method = client.get("/nowhere"), client.put("/v1/ask")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:banksight:problem:unknown_route")
    assert (method.status_code, method.headers["allow"]) == (405, "POST")


def test_openai_error_kinds_follow_the_status() -> None:
    kinds = {status: Problem(status, "x", "y").openai_document()["error"]["type"] for status in (400, 403, 429, 503)}
    assert kinds == {
        400: "invalid_request_error",
        403: "permission_error",
        429: "rate_limit_error",
        503: "server_error",
    }
