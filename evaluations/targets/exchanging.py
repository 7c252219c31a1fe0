"""Requests to an endpoint under evaluation: patient with a busy one, and with one sentence for whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from rag.errors import ConfigurationError, ModelError, ModelTimeout

KEY_VARIABLE: Final = "BANKSIGHT_EVALUATION_API_KEY"
_BUSY: Final = frozenset({429, 503})
_TRIES: Final = 5  # while a busy endpoint asks for patience
_LONGEST_WAIT: Final = 60.0  # seconds, whatever it asks for


class Endpoint:
    """An endpoint at `url`. `timeout` is in seconds, for one try of one request."""

    def __init__(self, url: str, key: str, timeout: float) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = timeout
        self._options: dict[str, Any] = {
            "base_url": self.url, "headers": headers, "timeout": timeout, "trust_env": False,
        }  # fmt: skip
        self._client: httpx.AsyncClient | None = None

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        """What is there, before any item is asked. Raises `ConfigurationError` when nobody answers, or not with JSON.

        An endpoint without this path gives None.
        """
        try:
            with httpx.Client(**self._options) as client:
                response = client.get(path, params=dict(parameters or {}))
                return None if response.status_code in {404, 405} else _content(response)
        except (httpx.HTTPError, httpx.InvalidURL, ModelError, ValueError) as error:
            raise ConfigurationError(
                f"the endpoint {self.url} cannot be evaluated: {str(error) or type(error).__name__}; check that it "
                f"runs, its address, and the key in {KEY_VARIABLE}"
            ) from error

    async def post(self, path: str, content: Mapping[str, Any]) -> Any:
        """The JSON that comes back. Raises `ModelTimeout`, and `ModelError` with what the endpoint said."""
        return _content(await self._patiently(path, content))

    async def events(self, path: str, content: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """All server-sent events with their JSON data, once the last has come. Raises as `post`."""
        response = await self._patiently(path, content)
        _require_success(response)
        found = [event for block in response.text.split("\n\n") if (event := _event(block)) is not None]
        for name, data in found:
            if name == "error":
                raise ModelError(str(data.get("detail") or data))
        return found

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _patiently(self, path: str, content: Mapping[str, Any]) -> httpx.Response:
        """The response; a busy endpoint is asked again after as long as it says."""
        client = self._client = self._client or httpx.AsyncClient(**self._options)
        for attempt in range(_TRIES):
            try:
                async with asyncio.timeout(self._timeout):
                    response = await client.post(path, json=content)
            except (TimeoutError, httpx.TimeoutException) as error:
                raise ModelTimeout(f"no answer within {self._timeout:g} s") from error
            except httpx.HTTPError as error:
                raise ModelError(f"the endpoint cannot be reached: {str(error) or type(error).__name__}") from error
            if response.status_code not in _BUSY or attempt == _TRIES - 1:
                break
            await asyncio.sleep(_asked_to_wait(response.headers.get("Retry-After", ""), 2.0**attempt))
        return response


def _asked_to_wait(header: str, otherwise: float) -> float:
    """Seconds until the next try: Retry-After holds a number of them or a date (RFC 9110, 10.2.3)."""
    if header.strip().isdigit():
        return min(float(header), _LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return otherwise
    return min(max(0.0, (until - datetime.now(UTC)).total_seconds()), _LONGEST_WAIT)


def _content(response: httpx.Response) -> Any:
    _require_success(response)
    try:
        return response.json()
    except ValueError as error:
        raise ModelError(f"the endpoint answered with something else than JSON: {response.text[:100]!r}") from error


def _require_success(response: httpx.Response) -> None:
    if not response.is_success:
        raise ModelError(f"the endpoint answered {response.status_code}: {_reason(response)}")


def _reason(response: httpx.Response) -> str:
    """What a problem document or OpenAI's error says, else the beginning of the text."""
    try:
        told = response.json()
        return str(told.get("detail") or told["error"]["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return " ".join(response.text.split())[:200] or response.reason_phrase


def _event(block: str) -> tuple[str, Any] | None:
    """The name and data of one event; None for a comment, which keeps the connection alive."""
    fields = dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":"))
    return (fields.get("event", "message"), json.loads(fields["data"])) if "data" in fields else None
