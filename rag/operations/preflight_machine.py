"""Preflight: what this machine has. Versions, ports, memory, disks, folders, weights and cards."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from rag.models.places import verified_folder
from rag.models.weights import find_weights
from rag.operations.doctor import python_finding
from rag.operations.findings import Finding
from rag.operations.installed import this_machine
from rag.operations.model_findings import card_finding, model_finding, needs_a_model
from rag.proxy.placing import folder_of, program
from rag.storage.ownership import owner_of

if TYPE_CHECKING:
    from rag.operations.preflight import Plan

_GIB: Final = 1024**3
_MIB: Final = 1024**2
_LEAST_NGINX: Final = (1, 22)
_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def look_at_versions(plan: Plan) -> Iterator[Finding]:
    """Python, our own, nginx for the proxy, restic where backups are made."""
    yield python_finding()
    yield Finding(
        "banksight", "ok", f"version {version('banksight')}, target {plan.environment.get('BANKSIGHT_TARGET', 'none')}"
    )
    if plan.starts("proxy"):
        said = subprocess.run([program(), "-v"], capture_output=True, text=True, check=False, timeout=10).stderr
        numbers = re.search(r"nginx/(\d+)\.(\d+)", said)
        fits = numbers is not None and (int(numbers[1]), int(numbers[2])) >= _LEAST_NGINX
        text = said.strip().rpartition(": ")[2]
        yield Finding("nginx", "ok" if fits else "wrong", text if fits else f"{text}; install 1.22 or newer")


def look_at_ports(plan: Plan) -> Iterator[Finding]:
    """Whether they can be listened on; what BankSight itself listens on already is well."""
    settings = plan.settings
    wanted: list[tuple[str, int]] = []
    if plan.starts("node") and not owner_of(settings.data_dir):
        wanted += [(settings.server.host, settings.server.port), (settings.server.ui_host, settings.server.ui_port)]
    if plan.starts("proxy") and not _proxy_runs(folder_of(settings)):
        wanted += [("0.0.0.0", settings.proxy.https_port), ("0.0.0.0", settings.proxy.http_port)]  # noqa: S104 - as nginx
    faults = [f"{port} {why}" for host, port in wanted if (why := _why_not(host, port))]
    for text in faults:
        yield Finding("ports", "wrong", text)
    if wanted and not faults:
        yield Finding("ports", "ok", f"{', '.join(str(port) for _, port in wanted)} are free")


def _proxy_runs(folder: Path) -> bool:
    try:
        return psutil.pid_exists(int((folder / "nginx.pid").read_text()))
    except (OSError, ValueError):
        return False


def _why_not(host: str, port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            return (
                "may not be listened on by this user; start as root, or allow it (net.ipv4.ip_unprivileged_port_start)"
            )
        except OSError as error:
            return f"at {host} cannot be had ({error.strerror}); stop what uses it, or set another port"
    return ""


def look_at_memory(plan: Plan) -> Iterator[Finding]:
    """Memory of the machine or of the container, against what a node needs."""
    if not plan.starts("node"):
        return
    settings = plan.settings
    needed = (settings.preflight.node_mib + settings.server.workers * settings.preflight.process_mib) * _MIB
    there = memory_bytes()
    text = f"{there / _GIB:.1f} GiB, {needed / _GIB:.1f} needed ({settings.server.workers} API processes, one Embedder)"
    if there >= needed:
        yield Finding("memory", "ok", text)
    else:
        yield Finding("memory", "wrong", f"{text}; give it more, or lower MAX_WORKERS")


def memory_bytes() -> int:
    """What there is, within the limit of the container that we are in."""
    found = [psutil.virtual_memory().total]
    for path in _LIMITS:
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):
            continue
    return min(found)


def look_at_disk(plan: Plan) -> Iterator[Finding]:
    """Free space and the right to write, in each folder that is written. Nothing is written to find out."""
    settings = plan.settings
    folders = {"data folder": settings.data_dir}
    if plan.starts("node", "worker"):
        folders |= {"files": settings.files_dir, "audit trail": settings.audit_dir}
        folders |= {"logs": settings.log_dir} if settings.log_dir else {}
        if plan.settings.ingestion.serving == "worker" and not settings.storage.files_dir:
            text = "FILES_DIR is empty; with several machines set it to a folder that all of them mount"
            yield Finding("files", "note", text)
    least = settings.preflight.disk_gib
    for name, folder in folders.items():
        there = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(there).free / _GIB
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            yield Finding(name, "wrong", f"{there} cannot be written by this user; give it to them")
        elif free < least:
            yield Finding(name, "wrong", f"{folder}: {free:.1f} GiB free of at least {least:g}; make room")
        else:
            yield Finding(name, "ok", f"{folder}, {free:.0f} GiB free")


def look_at_sources(plan: Plan) -> Iterator[Finding]:
    """The folders that the worker reads documents from."""
    if not plan.starts("worker"):
        return
    sources = plan.settings.sources
    if not sources:
        yield Finding("sources", "note", "none is configured; only uploads will be searchable (sources in the profile)")
    for source in sources:
        if not os.access(source.root, os.R_OK | os.X_OK):
            text = f"{source.name}: {source.root} is no folder that this user can read; correct it or mount it"
            yield Finding("sources", "wrong", text)
        elif not any(source.root.iterdir()):
            text = f"{source.name}: {source.root} is empty; a mount may be missing, and an ingestion would delete"
            yield Finding("sources", "wrong", text)
        else:
            yield Finding("sources", "ok", f"{source.name}: {source.root}")


def look_at_weights(plan: Plan) -> Iterator[Finding]:
    """MiniLM, which every node and the worker need, by digest."""
    if plan.starts("node", "worker"):
        found = find_weights(plan.settings.embedding.weights_dir)
        yield Finding("weights", "ok", f"{plan.settings.embedding.model} from {found.source}, digest as pinned")


def look_at_model(plan: Plan) -> Iterator[Finding]:
    """The language model and the card for it. Where a node is to run one, what doctor calls a note stops it here."""
    if not plan.starts("node"):
        return
    settings = plan.settings
    for finding in (model_finding(settings), card_finding(settings, this_machine())):
        strict = needs_a_model(settings) and finding.verdict == "note"
        yield replace(finding, verdict="wrong") if strict else finding
    if plan.hash_model and needs_a_model(settings):
        folder = verified_folder(settings.generation.mistral.model, settings)
        yield Finding("model", "ok", f"every byte in {folder} is as pinned")
