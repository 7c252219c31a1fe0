"""Preflight: the servers that production needs. Do they answer, are they of the right version, what do they hold?

Each is asked one harmless question, with its own patience; nothing is written anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import httpx
import redis
from packaging.version import InvalidVersion, Version

from rag.errors import NotFound, StorageUnavailable
from rag.operations.backup_recovery import newest_age_seconds
from rag.operations.backup_repository import BackupRepository
from rag.operations.findings import Finding
from rag.proxy.nodes import found, unready
from rag.storage import database

if TYPE_CHECKING:
    from rag.operations.preflight import Plan

_LEAST_POSTGRES: Final = 13  # the oldest that its makers still looked after when this was written
_SECONDS_IN_HOUR: Final = 3600


def look_at_database(plan: Plan) -> Iterator[Finding]:
    """Whether it answers, its version, and whether its schema is that of this software."""
    if not plan.starts("node", "worker"):
        return
    settings = plan.settings
    state = database.look_at_database(settings.database_url, settings.preflight.patience_seconds)
    kind = settings.database_url.split(":", 1)[0].partition("+")[0]
    ours, older = database.schema_revisions()
    if kind != "sqlite" and int(state.server.split(".")[0].split()[0]) < _LEAST_POSTGRES:
        yield Finding("database", "wrong", f"{kind} {state.server}; upgrade it to {_LEAST_POSTGRES} or newer")
    if not state.creatable and state.revision != ours:
        yield Finding(
            "database", "wrong", "this user may make no tables; as its owner: GRANT CREATE ON SCHEMA public TO …"
        )
    if state.revision == ours:
        yield Finding("database", "ok", f"{kind} {state.server}, schema {ours}")
    elif state.revision is None:
        yield Finding(
            "database", "note", f"{kind} {state.server}, empty; `banksight worker` makes the schema at its start"
        )
    elif state.revision in older:
        text = (
            f"schema {state.revision} is older than {ours}; `banksight backup create` with the software that runs now, "
        )
        yield Finding("database", "wrong", f"{text}then start `banksight worker` of this version, which upgrades it")
    else:
        text = f"schema {state.revision} is newer than this software knows ({ours}); deploy the version that made it"
        yield Finding("database", "wrong", text)


def look_at_redis(plan: Plan) -> Iterator[Finding]:
    """Whether it answers and takes our password."""
    url = plan.settings.redis.url.get_secret_value()
    if not plan.starts("node") or not url:
        return
    seconds = plan.settings.preflight.patience_seconds
    try:
        client = redis.Redis.from_url(url, socket_connect_timeout=seconds, socket_timeout=seconds)
        try:
            info: Any = client.info("server")
        finally:
            client.close()
    except (ValueError, redis.AuthenticationError, redis.ResponseError) as error:
        yield Finding("redis", "wrong", f"it refuses us ({error}); correct REDIS_URL and the password in it")
    except redis.RedisError as error:
        yield Finding("redis", "wrong", f"it does not answer ({error}); start it, or correct REDIS_URL")
    else:
        yield Finding("redis", "ok", f"version {info['redis_version']}")


def look_at_chroma(plan: Plan) -> Iterator[Finding]:
    """Whether the server answers."""
    storage = plan.settings.storage
    if not plan.starts("node", "worker") or storage.chroma != "server":
        return
    place = f"http://{storage.chroma_host}:{storage.chroma_port}"
    try:
        _get(plan, f"{place}/api/v2/heartbeat")
    except httpx.HTTPError as error:
        text = f"no server at {place} ({_short(error)}); start `chroma run`, or correct VECTOR_DB_HOST"
        yield Finding("chroma", "wrong", text)
    else:
        yield Finding("chroma", "ok", f"server at {place}; our client is of version {version('chromadb')}")


def look_at_traces(plan: Plan) -> Iterator[Finding]:
    """Whether a collector takes spans: it gets an export with none in it."""
    endpoint = plan.settings.tracing.endpoint.rstrip("/")
    if not plan.starts("node", "worker") or not endpoint:
        return
    url = f"{endpoint}/v1/traces"
    try:
        headers = {"Content-Type": "application/x-protobuf"}
        httpx.post(url, headers=headers, timeout=plan.settings.preflight.patience_seconds).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = f"no collector takes spans at {url} ({_short(error)}); correct OTEL_EXPORTER_OTLP_ENDPOINT"
        yield Finding("traces", "wrong", text)
    else:
        yield Finding("traces", "ok", f"collector at {endpoint}")


def look_at_issuer(plan: Plan) -> Iterator[Finding]:
    """Whether the identity provider publishes its keys under the name that its tokens will carry."""
    identity = plan.settings.identity
    if not plan.starts("node") or identity.mode != "oidc":
        return
    url = f"{identity.oidc.issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        if identity.oidc.jwks_url:
            _get(plan, identity.oidc.jwks_url).json()
            yield Finding("issuer", "ok", f"keys at {identity.oidc.jwks_url}")
            return
        named = _get(plan, url).json()["issuer"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        yield Finding(
            "issuer", "wrong", f"{url} cannot be read ({_short(error)}); correct OIDC_ISSUER, or the way to it"
        )
        return
    if named != identity.oidc.issuer:
        yield Finding("issuer", "wrong", f"{url} calls itself {named}; set OIDC_ISSUER to exactly that")
    else:
        yield Finding("issuer", "ok", named)


def look_at_language_model(plan: Plan) -> Iterator[Finding]:
    """Whether a server that speaks OpenAI's dialect has the model that we ask for."""
    generation = plan.settings.generation
    if not plan.starts("node") or "openai_compatible" not in (generation.engine, *generation.fallback):
        return
    asked = generation.openai_compatible
    key = asked.api_key.get_secret_value()
    try:
        answer = _get(plan, f"{asked.base_url.rstrip('/')}/models", {"Authorization": f"Bearer {key}"} if key else {})
        names = [str(each["id"]) for each in answer.json()["data"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        text = f"{asked.base_url}/models cannot be read ({_short(error)}); correct LLM_BASE_URL and LLM_API_KEY"
        yield Finding("llm server", "wrong", text)
        return
    if asked.model not in names:
        text = f"it has no model {asked.model}, but {', '.join(names) or 'none'}; correct LLM_MODEL"
        yield Finding("llm server", "wrong", text)
    else:
        yield Finding("llm server", "ok", f"{asked.model} at {asked.base_url}")


def look_at_nodes(plan: Plan) -> Iterator[Finding]:
    """Whether the proxy would find nodes. They may be started after it, so one that is not ready is a note."""
    if not plan.starts("proxy"):
        return
    nodes = found(plan.settings.proxy.api_nodes)
    lost = unready(nodes)
    text = f"{len(nodes)} for the API"
    if lost:
        yield Finding("nodes", "note", f"{text}, of which {', '.join(map(str, sorted(lost)))} are not ready (/readyz)")
    else:
        yield Finding("nodes", "ok", text)


def look_at_backups(plan: Plan) -> Iterator[Finding]:
    """Whether backups are set up, the newest is young enough, and this software could restore it."""
    if not plan.starts("worker"):
        return
    settings = plan.settings
    repository = BackupRepository(settings.backup, settings.root)
    try:
        newest = repository.find("latest")
    except NotFound:
        yield _no_backup(plan)
        return
    made_by = newest.facts.get("version", "")
    if _is_newer(made_by, version("banksight")):
        text = f"the newest is of the newer version {made_by}, and cannot be restored by this one; deploy that version"
        yield Finding("backups", "wrong", text)
    hours = newest_age_seconds(newest) / _SECONDS_IN_HOUR
    text = f"the newest, {newest.id}, is {hours:.1f} h old"
    if hours > settings.preflight.backup_hours:
        yield Finding("backups", "wrong", f"{text}; run `banksight backup create`, and see to its timer")
    else:
        yield Finding("backups", "ok", text)


def _no_backup(plan: Plan) -> Finding:
    """Before the first start there is nothing that could have been saved."""
    settings = plan.settings
    try:
        revision = database.look_at_database(settings.database_url, settings.preflight.patience_seconds).revision
    except StorageUnavailable:
        revision = None
    if revision is None:
        return Finding(
            "backups", "note", "none yet; run `banksight backup create` after the first ingestion, then daily"
        )
    return Finding("backups", "wrong", "there is a corpus and no backup of it; run `banksight backup create`")


def _is_newer(one: str, other: str) -> bool:
    try:
        return Version(one) > Version(other)
    except InvalidVersion:
        return False


def _get(plan: Plan, url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    answer = httpx.get(url, headers=headers, timeout=plan.settings.preflight.patience_seconds, follow_redirects=False)
    return answer.raise_for_status()


def _short(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:160]
