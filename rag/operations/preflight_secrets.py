"""Preflight: secrets that are missing, made up or open to others, and settings that do not fit production."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from rag.operations.findings import Finding
from rag.settings.secrecy import is_placeholder

if TYPE_CHECKING:
    from rag.operations.preflight import Plan
    from rag.settings import Settings

_LEAST_CHARACTERS: Final = 12
_LEAST_DIFFERENT: Final = 6
_HERE: Final = ("", "localhost", "127.0.0.1", "::1")
_RANDOM: Final = "take what `openssl rand -hex 32` prints"
_CONTAINER_MARKS: Final = ("/.dockerenv", "/run/.containerenv")
_FILES: Final = (
    "DATABASE_URL", "REDIS_URL", "CACHE_SECRET", "KEY_PEPPER", "AUDIT_SECRET", "LLM_API_KEY",
)  # fmt: skip


def look_at_settings(plan: Plan) -> Iterator[Finding]:
    """Settings that are for a laptop, and names that are examples."""
    settings = plan.settings
    if plan.starts("node", "worker"):
        if not settings.storage.database_url:
            yield Finding("database", "wrong", "DATABASE_URL is empty; give the PostgreSQL that all processes share")
        if settings.identity.mode == "none" and settings.identity.peers == "loopback":
            yield Finding("sign-in", "wrong", "nobody signs in; set IDENTITY_MODE to api_key or oidc")
    if plan.starts("node"):
        host = settings.proxy.api_host
        named = settings.server.allowed_hosts
        if plan.starts("proxy") and host not in named:
            text = f"server.allowed_hosts lacks {host}, so the API refuses what the proxy passes on; add it"
            yield Finding("names", "wrong", text)
        elif not named:
            yield Finding("names", "wrong", "server.allowed_hosts is empty; add the name under which callers come")
    if plan.starts("proxy"):
        for host in (settings.proxy.api_host, settings.proxy.ui_host):
            if host.endswith((".local", ".example", ".test")):
                yield Finding("names", "wrong", f"{host} is an example; set proxy.api_host and proxy.ui_host")
    called = {name: who for name, who in settings.operators.model_dump().items() if who}
    if unnamed := sorted(settings.operators.model_dump().keys() - called.keys()):
        text = f"nobody is named for {', '.join(unnamed).replace('_', ' ')}; set operators.* in the profile"
        yield Finding("contacts", "note", text)
    else:
        said = "; ".join(f"{name.replace('_', ' ')}: {who}" for name, who in called.items())
        yield Finding("contacts", "ok", said)


def look_at_secrets(plan: Plan) -> Iterator[Finding]:
    """Secrets by their content, which is never shown."""
    settings = plan.settings
    if not plan.starts("node", "worker"):
        return
    faults = [fault for fault in _faults(settings) if fault]
    for name, text in faults:
        yield Finding("secrets", "wrong", f"{name} {text}")
    if not faults:
        yield Finding("secrets", "ok", "all that are needed are there, and none is a placeholder")
    if not settings.audit.secret.get_secret_value():
        text = "AUDIT_SECRET is empty, so each data folder makes one of its own, which must be backed up with it"
        yield Finding("secrets", "note", text)


def _faults(settings: Settings) -> Iterator[tuple[str, str] | None]:
    shared = settings.server.workers > 1 or settings.ingestion.serving == "worker"
    if shared and settings.cache.mode == "on":
        yield _random("CACHE_SECRET", settings.cache.secret.get_secret_value(), "answers of one node")
    if shared and settings.identity.mode != "none":
        yield _random("KEY_PEPPER", settings.identity.keys.pepper.get_secret_value(), "keys made at one node")
    if secret := settings.audit.secret.get_secret_value():
        yield _random("AUDIT_SECRET", secret, "")
    if url := settings.storage.database_url:
        yield _password("DATABASE_URL", url)
    if url := settings.redis.url.get_secret_value():
        yield _password("REDIS_URL", url)
    if settings.generation.engine == "openai_compatible":
        key = settings.generation.openai_compatible.api_key.get_secret_value()
        if key and is_placeholder(key):
            yield "LLM_API_KEY", "is a placeholder; put the server's key there"


def _random(name: str, text: str, what: str) -> tuple[str, str] | None:
    if not text:
        return name, f"is empty, so {what} would mean nothing to the others; {_RANDOM}, the same on all nodes"
    if is_placeholder(text) or len(set(text)) < _LEAST_DIFFERENT:
        return name, f"is a placeholder; {_RANDOM}"
    return None


def _password(name: str, url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
        host, password = parts.hostname or "", parts.password or ""
    except ValueError:
        return name, "is no address; correct it (special characters of a password are written as %XX)"
    if not password:
        return None if host in _HERE else (name, f"has no password, and {host} is another machine; set one there")
    if is_placeholder(password) or len(password) < _LEAST_CHARACTERS or len(set(password)) < _LEAST_DIFFERENT:
        return name, f"has a password that can be guessed; {_RANDOM}"
    return None


def look_at_secret_files(plan: Plan) -> Iterator[Finding]:
    """Files with secrets that other people of this machine can read, or that anybody can write."""
    files = _secret_files(plan)
    here = in_container(plan.environment)
    open_ones = [(name, path) for name, path in files.items() if exposed(path)]
    for name, path in open_ones:
        text = f"{name}: everybody on this machine can read {path}; let only its owner: `chmod 600 {path}`"
        yield Finding("secret files", "note" if here else "wrong", text)
    if files and not open_ones:
        yield Finding("secret files", "ok", f"{len(files)}, for their owners only")


def _secret_files(plan: Plan) -> dict[str, Path]:
    settings = plan.settings
    named = {f"{name}_FILE": plan.environment.get(f"{name}_FILE", "") for name in _FILES}
    named["BACKUP_PASSWORD_FILE"] = settings.backup.password_file
    if plan.starts("proxy"):
        named["TLS_CERTIFICATE_KEY"] = settings.proxy.certificate_key
    found = {name: settings.root / Path(text).expanduser() for name, text in named.items() if text}
    return {name: path for name, path in found.items() if path.is_file()}


def exposed(path: Path) -> bool:
    """Whether others than owner and group get at a file: they may read or write it, and may enter all its folders."""
    real = path.resolve()
    if not real.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        return False
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)


def in_container(environment: Mapping[str, str]) -> bool:
    """Whether we run in a container, where there are no other people, and platforms mount secrets as they like."""
    return "KUBERNETES_SERVICE_HOST" in environment or any(Path(mark).exists() for mark in _CONTAINER_MARKS)
