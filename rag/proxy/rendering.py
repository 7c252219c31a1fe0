"""The files of `configs/deploy/nginx` with the settings filled in."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from rag.errors import ConfigurationError
from rag.proxy.nodes import Node
from rag.settings import Settings

TEMPLATES = Path(__file__).parents[2] / "configs" / "deploy" / "nginx"
_BLANK = re.compile(r"@([a-z_]+)@")
_SPARE_SECONDS = 2  # the API's own word that its deadline passed comes before the proxy's
_MULTIPART_BYTES = 64 * 1024  # what a form adds to the file in it
_JSON_BYTES = 1024 * 1024  # as the API itself


def rendered(
    settings: Settings, folder: Path, api: Sequence[Node], ui: Sequence[Node], down: Collection[Node]
) -> dict[str, str]:
    """File name to text. `down` are nodes that get nothing for now. Raises `ConfigurationError`."""
    require_usable(settings)
    blanks = _blanks(settings, folder) | {
        "api_nodes": _lines(f"server {node}{_state(node, down)};" for node in api),
        "ui_nodes": _lines(f"server {node}{_state(node, down)};" for node in ui),
    }
    return {path.name: _filled(path.read_text(encoding="utf-8"), blanks) for path in sorted(TEMPLATES.glob("*.conf"))}


def require_usable(settings: Settings) -> None:
    """Raise `ConfigurationError` for settings with which the proxy cannot do its work."""
    proxy, server = settings.proxy, settings.server
    for key in ("certificate", "certificate_key"):
        path = getattr(proxy, key)
        if not path or not Path(path).is_file():
            raise ConfigurationError(f"proxy.{key} is {path or 'not set'}, which is no file; the proxy speaks TLS only")
    if proxy.api_host == proxy.ui_host:
        raise ConfigurationError("proxy.api_host and proxy.ui_host must differ: cookies of the chat are not the API's")
    if proxy.read_seconds < 3 * server.heartbeat_seconds:
        raise ConfigurationError(
            f"proxy.read_seconds is {proxy.read_seconds}, but streams are silent for up to server.heartbeat_seconds "
            f"({server.heartbeat_seconds:g}); let it be three times as much or more"
        )


def _blanks(settings: Settings, folder: Path) -> dict[str, str]:
    proxy, server = settings.proxy, settings.server
    public_port = "" if proxy.https_port == 443 else f":{proxy.https_port}"
    ours = [f"https://{proxy.api_host}{public_port}", *server.allowed_origins]
    return {
        "user": f"user {proxy.user};" if proxy.user else "",
        "folder": str(folder),
        "error_log": proxy.error_log or f"{folder}/error.log",
        "access_log": proxy.access_log or f"{folder}/access.log",
        "acme_folder": proxy.acme_folder or f"{folder}/acme",
        "certificate": proxy.certificate,
        "certificate_key": proxy.certificate_key,
        "api_host": proxy.api_host,
        "ui_host": proxy.ui_host,
        "api_origins": _lines(f'"{origin}" 0;' for origin in ours),
        "ui_origins": _lines([f'"https://{proxy.ui_host}{public_port}" 0;']),
        "https_port": str(proxy.https_port),
        "http_port": str(proxy.http_port),
        "public_port": public_port,
        "connect_seconds": str(proxy.connect_seconds),
        "read_seconds": str(proxy.read_seconds),
        "events_seconds": f"{math.ceil(settings.admission.queue_seconds + proxy.read_seconds)}",
        "client_seconds": str(proxy.client_seconds),
        "heartbeat_seconds": f"{server.heartbeat_seconds:g}",
        "answer_seconds": f"{server.deadline_seconds + _SPARE_SECONDS:.0f}",
        "shutdown_seconds": f"{server.deadline_seconds + 2 * _SPARE_SECONDS:.0f}",
        "max_json_bytes": str(_JSON_BYTES),
        "max_upload_bytes": str(server.max_upload_bytes + _MULTIPART_BYTES),
        "requests_per_second": str(proxy.requests_per_second),
        "request_burst": str(proxy.request_burst),
        "connections": str(proxy.connections),
        "unlimited": _lines((f"{network} 0;" for network in proxy.unlimited), indent=8),
        "real_address": _real_address(proxy.trusted_proxies),
    }


def _real_address(trusted: Sequence[object]) -> str:
    """Behind another proxy the caller's address is the one that it names."""
    if not trusted:
        return ""
    lines = [f"set_real_ip_from {network};" for network in trusted]
    return _lines([*lines, "real_ip_header X-Forwarded-For;", "real_ip_recursive on;"])


def _state(node: Node, down: Collection[Node]) -> str:
    return " down" if node in down else " max_fails=2 fail_timeout=1s"


def _lines(lines: Iterable[str], indent: int = 4) -> str:
    return "\n".join(" " * indent + line for line in lines)


def _filled(template: str, blanks: Mapping[str, str]) -> str:
    return _BLANK.sub(lambda blank: blanks.get(blank[1], blank[0]), template)
