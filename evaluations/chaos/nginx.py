"""BankSight's own proxy on this machine, with the configuration that `banksight proxy` makes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from evaluations.chaos.calling import Entry
from evaluations.chaos.processes import Child
from evaluations.servers import free_ports
from rag.proxy.placing import command, folder_of, update
from rag.settings import Settings, load_settings

API_HOST, UI_HOST = "api.bank.test", "chat.bank.test"


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for both names that nobody but its own file vouches for, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = f"subjectAltName=DNS:{API_HOST},DNS:{UI_HOST}"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=bank.test", "-addext", names, "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@dataclass
class Nginx:
    """nginx over a list of nodes in a file, as autoscaling writes it."""

    folder: Path
    settings: Settings
    nodes: Path
    child: Child
    https_port: int
    http_port: int

    @property
    def api(self) -> Entry:
        """Where callers of the API call."""
        return Entry(f"https://127.0.0.1:{self.https_port}", API_HOST, certificate=self.settings.proxy.certificate)

    def list_nodes(self, ports: Sequence[int]) -> str:
        """Write the list and update; what came of it."""
        self.nodes.write_text("".join(f"127.0.0.1:{port}\n" for port in ports))
        return update(self.settings)

    def reload(self) -> None:
        """Let nginx read its configuration once more."""
        subprocess.run(command(folder_of(self.settings), "-s", "reload"), check=True, capture_output=True)


def open_nginx(
    folder: Path,
    api: Sequence[int],
    *,
    supervised: bool = False,
    queue_seconds: float | None = None,
    **proxy: Any,
) -> Nginx:
    """nginx, running, over nodes on these ports; `proxy` overrides settings of that section.

    `supervised`: under `banksight proxy run`, which looks for nodes every second. `queue_seconds`: how long the nodes
    may let a question wait for its turn, if not as configured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = make_certificate(folder)
    https_port, http_port = free_ports(2)
    nodes = folder / "nodes"
    ours = {
        "folder": str(folder / "nginx"), "user": "root", "api_host": API_HOST, "ui_host": UI_HOST,
        "https_port": https_port, "http_port": http_port, "certificate": str(certificate),
        "certificate_key": str(key), "api_nodes": [f"file:{nodes}"],
        "ui_nodes": [f"127.0.0.1:{port}" for port in api],
    }  # fmt: skip
    overrides: dict[str, Any] = {"data_dir": str(folder), "proxy": ours | proxy}
    if queue_seconds is not None:
        overrides["admission"] = {"queue_seconds": queue_seconds}
    settings = load_settings("test", environment={}, overrides=overrides)
    nodes.write_text("".join(f"127.0.0.1:{port}\n" for port in api))
    update(settings)
    place = folder_of(settings)
    start = command(place, "-g", "daemon off;")
    environment = {}
    if supervised:
        start = [sys.executable, "-m", "rag.cli", "proxy", "run", "--every", "1"]
        environment = {f"BANKSIGHT__PROXY__{key.upper()}": json.dumps(value) for key, value in (ours | proxy).items()}
        environment |= {"BANKSIGHT_PROFILE": "test", "BANKSIGHT_DATA_DIR": str(folder)}
    child = Child("nginx", start, lambda: answers(f"http://127.0.0.1:{http_port}"), folder / "log", environment)
    child.start()
    return Nginx(place, settings, nodes, child, https_port, http_port)


def answers(url: str, status: int | None = None) -> bool:
    """Whether a GET is answered by now, and with that status where one is named."""
    try:
        response = httpx.get(url, timeout=2, trust_env=False)
    except httpx.HTTPError:
        return False
    return status is None or response.status_code == status
