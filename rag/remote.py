"""The API of a running BankSight, as the command line uses it while another process owns the data folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, cast

import httpx

from rag.errors import (
    BankSightError,
    Busy,
    ConfigurationError,
    NotAllowed,
    NotFound,
    QuestionError,
    StorageUnavailable,
)

_ERRORS: dict[int, type[BankSightError]] = {403: NotAllowed, 404: NotFound, 422: QuestionError, 429: Busy, 503: Busy}
_COPY_SECONDS = 1800  # for the copy of a corpus; by far more than one of 100,000 chunks should take
_FINISHED = ("succeeded", "failed", "cancelled")


class RemoteWorkspace:
    """Asks the process that owns the data folder to do the work. Answers are JSON documents of the HTTP API."""

    def __init__(self, url: str, key: str = "") -> None:
        """`key` signs in; empty where nobody needs to."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(60, connect=3)
        self._client = httpx.Client(base_url=url, timeout=timeout, trust_env=False, headers=headers)

    def __enter__(self) -> RemoteWorkspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """An answer."""
        return self._call("POST", "/v1/ask", json=dict(request))

    def documents(self) -> list[dict[str, Any]]:
        """Every document that may be seen."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self._call("GET", "/v1/documents", params={"limit": 100} | ({"cursor": cursor} if cursor else {}))
            found += page["documents"]
            cursor = page.get("next_cursor")
            if not cursor:
                return found

    def document(self, document_id: str) -> dict[str, Any]:
        """One document."""
        return self._call("GET", f"/v1/documents/{document_id}")

    def delete_document(self, document_id: str) -> dict[str, Any]:
        """Delete a document everywhere."""
        return self._call("DELETE", f"/v1/documents/{document_id}")

    def label_document(self, document_id: str, access: Sequence[str]) -> dict[str, Any]:
        """Say which labels a document has besides those of its source."""
        return self._call("PUT", f"/v1/documents/{document_id}/labels", json={"access": list(access)})

    def held_document(self, document_id: str) -> dict[str, Any]:
        """Why a document is held back."""
        return self._call("GET", f"/v1/documents/{document_id}/quarantine")

    def release_document(self, document_id: str) -> dict[str, Any]:
        """Let the next ingestion take in a document that is held back."""
        return self._call("POST", f"/v1/documents/{document_id}/release")

    def snapshot(self) -> None:
        """Have the corpus copied to where `banksight backup` finds it. Raises `Busy` during an ingestion."""
        self._call("POST", "/v1/admin/snapshot", timeout=httpx.Timeout(_COPY_SECONDS, connect=3))

    def ingest(self, sources: Sequence[str] | None, follow: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Run an ingestion job to its end. `follow` gets the job document twice a second."""
        job = self._call("POST", "/v1/jobs", json={"kind": "ingest", "sources": list(sources) if sources else None})
        try:
            while job["state"] not in _FINISHED:
                follow(job)
                time.sleep(0.5)
                job = self._call("GET", f"/v1/jobs/{job['id']}")
        except KeyboardInterrupt:
            self._call("DELETE", f"/v1/jobs/{job['id']}")
            raise
        return job

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise StorageUnavailable(
                f"the running BankSight at {self._client.base_url} does not answer ({error}); "
                "wait until it has started, or stop it"
            ) from error
        if response.is_success:
            return cast("dict[str, Any]", response.json())
        if response.status_code == 401:
            raise ConfigurationError(
                f"the running BankSight at {self._client.base_url} does not know who you are; set BANKSIGHT_API_KEY "
                "to a key that counts (`banksight keys create` makes one)"
            )
        raise _ERRORS.get(response.status_code, ConfigurationError)(_detail(response))


def _detail(response: httpx.Response) -> str:
    try:
        problem = response.json()
        return str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, AttributeError):
        return f"the running BankSight answered with status {response.status_code}"
