"""The settings of the chaos stack, as environment variables."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from evaluations.chaos.corpus import TENANTS, Tenant
from evaluations.chaos.nginx import API_HOST
from evaluations.chaos.postgres import url_of

_FAKETIME = "usr/lib/*/faketime/libfaketime.so.1"


def movable_clock(clock: Path) -> dict[str, str]:
    """What makes a process read its wall clock's offset, in seconds, from this file; nothing without libfaketime."""
    library = next(iter(sorted(Path("/").glob(_FAKETIME))), None)
    if library is None:
        return {}
    clock.write_text("+0\n")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",  # seconds until a change is seen
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # which no jump of a real clock moves either
        "FAKETIME_DONT_RESET": "1",
    }


def settings_of(folder: Path, sql: int, chroma: int, redis: int, llm: int) -> dict[str, str]:
    """The settings of nodes and worker, which are people of one tenant that nobody asks to sign in."""
    return {
        "BANKSIGHT_PROFILE": "test",
        "BANKSIGHT__TENANT": TENANTS[0].name,
        "BANKSIGHT__SOURCES": sources_of(folder, TENANTS[0]),
        "DATABASE_URL": url_of(sql),
        "FILES_DIR": str(folder / "files"),
        "AUDIT_DIR": str(folder / "audit"),
        "BANKSIGHT__AUDIT__SPOOL_BYTES": "32768",  # F28 fills it
        "AUDIT_SECRET": secrets.token_hex(32),
        "BANKSIGHT__INGESTION__SERVING": "worker",
        "BANKSIGHT__STORAGE__CHROMA": "server",
        "BANKSIGHT__STORAGE__CHROMA_PORT": str(chroma),
        "VECTOR_DB_HOST": "127.0.0.1",
        "REDIS_URL": f"redis://127.0.0.1:{redis}/0",
        "BANKSIGHT__ADMISSION__SLOTS": os.environ.get(
            "BANKSIGHT__ADMISSION__SLOTS", "8"
        ),  # of each node, as of one card
        "CACHE_SECRET": secrets.token_hex(32),
        "BANKSIGHT__LIMITS__USER": "{requests_per_minute: 100000, tokens_per_day: null}",  # asks Redis for every call
        "BANKSIGHT__GENERATION__ENGINE": "openai_compatible",
        "BANKSIGHT__GENERATION__FALLBACK": "[extractive]",
        "BANKSIGHT__GENERATION__BREAKER_REST_SECONDS": "3",  # rows follow each other more quickly than faults do
        "LLM_BASE_URL": f"http://127.0.0.1:{llm}/v1",
        "BANKSIGHT__SERVER__DRAIN_NOTICE_SECONDS": "1.5",
        "BANKSIGHT__SERVER__ALLOWED_HOSTS": f"[{API_HOST}]",
        "NO_PROXY": "*",
    }


def signing_in(issuer: str, keys: str) -> dict[str, str]:
    """The settings with which people of several tenants sign in, by token or by key."""
    return {
        "IDENTITY_MODE": "oidc",
        "OIDC_ISSUER": issuer,
        "OIDC_JWKS_URL": keys,
        "OIDC_AUDIENCE": "banksight-api",
        "BANKSIGHT__IDENTITY__OIDC__TENANT_CLAIM": "tenant",
        "BANKSIGHT__IDENTITY__OIDC__KEYS_SECONDS": "5",  # so that they are asked for while the issuer is away
        "KEY_PEPPER": secrets.token_hex(32),
        "BANKSIGHT__ADMISSION__USER_SLOTS": "2",  # a quarter, as docs/reliability.md advises
    }


def sources_of(folder: Path, tenant: Tenant) -> str:
    place = str(source_of(folder, tenant))
    return repr([{"name": tenant.name, "kind": "filesystem", "collection": "regulations", "root": place}])


def source_of(folder: Path, tenant: Tenant = TENANTS[0]) -> Path:
    """Where the documents of a tenant lie."""
    return folder / ("source" if tenant == TENANTS[0] else f"source-{tenant.name}")


def alone(folder: Path, source: Path) -> dict[str, str]:
    """The settings of a product of one process, with everything in this folder."""
    sources = [{"name": "papers", "kind": "filesystem", "collection": "regulations", "root": str(source)}]
    return {
        "BANKSIGHT_PROFILE": "test",
        "BANKSIGHT_DATA_DIR": str(folder / "data"),
        "BANKSIGHT__SOURCES": repr(sources),
        "BANKSIGHT__EMBEDDING__BULK_BACKEND": "onnx",
        "BACKUP_REPOSITORY": str(folder / "backups"),
        "BACKUP_PASSWORD_FILE": str(folder / "password"),
        "NO_PROXY": "*",
    }
