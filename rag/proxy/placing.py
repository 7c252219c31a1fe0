"""A new configuration takes the place of the old one only when nginx has checked it; nothing is lost meanwhile."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from filelock import FileLock

from rag.errors import ConfigurationError
from rag.proxy.nodes import found, unready
from rag.proxy.rendering import rendered
from rag.settings import Settings

CURRENT = "current"
Outcome = Literal["unchanged", "placed", "reloaded"]


def folder_of(settings: Settings) -> Path:
    """Where the proxy keeps its configuration, logs, process id and temporary files."""
    return settings.root / settings.proxy.folder if settings.proxy.folder else settings.data_dir / "proxy"


def update(settings: Settings) -> Outcome:
    """Look for nodes and make the configuration anew; put it in place, and let a running nginx read it.

    Raises `ConfigurationError` when nginx would not take it, and then leaves everything as it was.
    """
    folder = folder_of(settings)
    for name in ("temp", "acme"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    api, ui = found(settings.proxy.api_nodes), found(settings.proxy.ui_nodes)
    files = rendered(settings, folder, api, ui, unready(api))
    new = folder / f"conf-{_digest(files, settings)}"
    with FileLock(folder / "update.lock"):  # a person's `update` may come while `run` looks for nodes
        return _place(folder, new, files)


def _place(folder: Path, new: Path, files: Mapping[str, str]) -> Outcome:
    if _in_place(folder) == new.name:
        return "unchanged"
    new.mkdir(exist_ok=True)
    for name, text in files.items():
        (new / name).write_text(text, encoding="utf-8")
    try:
        _check(folder, new)
    except ConfigurationError:
        shutil.rmtree(new)
        raise
    _put_in_place(folder, new)
    return "reloaded" if _signal(folder, signal.SIGHUP) else "placed"


def command(folder: Path, *options: str) -> list[str]:
    """nginx with the configuration that is in place."""
    return [program(), "-e", "stderr", "-p", str(folder), "-c", str(folder / CURRENT / "nginx.conf"), *options]


def program() -> str:
    """The path of nginx. Raises `ConfigurationError` when it is not installed."""
    path = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        raise ConfigurationError("nginx is not installed; install Debian's package nginx, version 1.22 or newer")
    return path


def _digest(files: Mapping[str, str], settings: Settings) -> str:
    """Over all texts, and over the certificate: a renewed one must be read too."""
    digest = hashlib.sha256(Path(settings.proxy.certificate).read_bytes())
    for name, text in files.items():
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()[:16]


def _check(folder: Path, new: Path) -> None:
    test = [program(), "-t", "-q", "-e", "stderr", "-p", str(folder), "-c", str(new / "nginx.conf")]
    result = subprocess.run(test, capture_output=True, text=True, check=False, timeout=30)
    if result.returncode:
        reason = next((line for line in result.stderr.splitlines() if "[emerg]" in line), result.stderr.strip())
        raise ConfigurationError(f"nginx refuses the new configuration, and the old one stays: {reason}")


def _in_place(folder: Path) -> str:
    link = folder / CURRENT
    return link.readlink().name if link.is_symlink() else ""


def _put_in_place(folder: Path, new: Path) -> None:
    link = folder / f"{CURRENT}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(new.name)
    link.replace(folder / CURRENT)
    for old in folder.glob("conf-*"):
        if old != new:
            shutil.rmtree(old)


def _signal(folder: Path, number: signal.Signals) -> bool:
    """Whether an nginx runs in this folder, and was told."""
    try:
        pid = int((folder / "nginx.pid").read_text())
        os.kill(pid, number)
    except (OSError, ValueError):  # `nginx -t` leaves an empty file
        return False
    return True
