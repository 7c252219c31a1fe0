"""Is this machine fit to run BankSight? One finding per line, each with what to do."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version as version_of

from rag.errors import BankSightError
from rag.models.embedding import open_embedding
from rag.models.weights import find_weights
from rag.operations.findings import Finding
from rag.operations.installed import this_machine
from rag.operations.model_findings import card_finding, model_finding
from rag.settings import Settings
from rag.storage.database import open_database
from rag.storage.ownership import owner_of
from rag.storage.registry import Registry

_LEAST_FREE_BYTES = 2 * 1024**3


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, in the order in which a start needs it. Never raises for what it finds."""
    looks: tuple[Callable[[Settings], Finding], ...] = (
        _python, _folder, _disk, _weights, _encoder, _registry, _chroma, _ports, model_finding, _card,
    )  # fmt: skip
    for look in looks:
        try:
            yield look(settings)
        except BankSightError as error:
            yield Finding(look.__name__.strip("_"), "wrong", str(error))


def python_finding() -> Finding:
    """The version of Python that this runs on."""
    shown = ".".join(str(part) for part in sys.version_info[:3])
    fits = sys.version_info[:2] == (3, 11)
    return Finding("python", "ok" if fits else "wrong", shown if fits else f"{shown}; BankSight is tested on 3.11")


def _python(_: Settings) -> Finding:
    return python_finding()


def _folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    url = owner_of(folder)
    if url is not None:
        return Finding("data folder", "ok", f"{folder}, in use by {url or 'another command'}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Finding(
            "data folder", "wrong", f"{folder}: {error.strerror}; make it writable or set BANKSIGHT_DATA_DIR"
        )
    return Finding("data folder", "ok", str(folder))


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(settings.data_dir if settings.data_dir.exists() else settings.root).free
    text = f"{free / 1024**3:.1f} GiB free"
    return Finding("disk", "ok", text) if free > _LEAST_FREE_BYTES else Finding("disk", "wrong", f"{text}; make room")


def _weights(settings: Settings) -> Finding:
    found = find_weights(settings.embedding.weights_dir)
    return Finding("weights", "ok", f"{settings.embedding.model} from {found.source}, digest as pinned")


def _encoder(settings: Settings) -> Finding:
    names = []
    for purpose in ("query", "bulk"):
        encoder = open_embedding(settings.embedding, settings.data_dir / "models", purpose)
        names.append(f"{encoder.backend} for {'questions' if purpose == 'query' else 'ingestion'}")
    return Finding("encoder", "ok", ", ".join(names))


def _registry(settings: Settings) -> Finding:
    registry = Registry(open_database(settings.database_url))
    try:
        totals = registry.totals()
    finally:
        registry.close()
    kind = settings.database_url.split(":", 1)[0]
    documents = sum(number for state, number in totals.items() if state != "chunks")
    text = f"{kind}, {documents:,} documents, {totals['chunks']:,} chunks"
    failed = totals.get("failed", 0)
    if failed:
        return Finding("registry", "note", f"{text}; {failed} failed: see `banksight documents list --state failed`")
    return Finding("registry", "ok", text)


def _chroma(settings: Settings) -> Finding:
    storage = settings.storage
    if storage.chroma == "embedded":
        return Finding("chroma", "ok", f"embedded, version {version_of('chromadb')}")
    with socket.socket() as probe:
        probe.settimeout(storage.chroma_timeout_seconds)
        place = f"{storage.chroma_host}:{storage.chroma_port}"
        try:
            probe.connect((storage.chroma_host, storage.chroma_port))
        except OSError as error:
            return Finding(
                "chroma", "wrong", f"no server at {place} ({error}); start `chroma run` or set VECTOR_DB_HOST"
            )
    return Finding("chroma", "ok", f"server at {place}")


def _ports(settings: Settings) -> Finding:
    server = settings.server
    if owner_of(settings.data_dir):
        return Finding("ports", "ok", f"{server.port} and {server.ui_port}, in use by the running BankSight")
    taken = []
    for host, port in ((server.host, server.port), (server.ui_host, server.ui_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                taken.append(str(port))
    if taken:
        advice = "stop what uses them, or set BANKSIGHT__SERVER__PORT and BANKSIGHT__SERVER__UI_PORT"
        return Finding("ports", "wrong", f"{' and '.join(taken)} taken; {advice}")
    return Finding("ports", "ok", f"{server.port} and {server.ui_port} are free")


def _card(settings: Settings) -> Finding:
    return card_finding(settings, this_machine())
