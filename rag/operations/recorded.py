"""What commands leave behind for the server to show: a command ends long before Prometheus asks.

One small file for each metric in `<folder>/metrics`, as node_exporter's text files are; whoever writes last, wins.
What a process of another machine did stands in the registry, where every node finds it.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from rag.storage.registry import Registry

INGESTED: Final = "corpus_ingested_timestamp_seconds"
BACKED_UP: Final = "backup_completed_timestamp_seconds"
DRILLED: Final = "recovery_drill_timestamp_seconds"
DRILL_SECONDS: Final = "recovery_drill_seconds"
AUDIT_INTACT: Final = "audit_chain_intact"
AUDIT_VERIFIED: Final = "audit_verified_timestamp_seconds"

RECORDED: Final = {
    INGESTED: "When an ingestion last ended with every document searchable.",
    BACKED_UP: "When the newest backup that was verified was made.",
    DRILLED: "When a backup was last restored against the clock.",
    DRILL_SECONDS: "How long that took, from fetching the backup to a corpus that answers.",
    AUDIT_INTACT: "1 where the audit trail's chain was whole when it was last verified, else 0.",
    AUDIT_VERIFIED: "When the audit trail was last verified.",
}
_FOLDER: Final = "metrics"
_INGESTED_AT: Final = "ingested_at"  # key of the registry's state table


def record(folder: Path, name: str, value: float) -> None:
    """Keep a value for the next time that Prometheus asks. `name` is one of `RECORDED`.

    `folder` is the data folder, or, for what counts for all machines, the folder of files.
    """
    if name not in RECORDED:
        raise KeyError(f"{name} is no metric that commands record; add it to RECORDED")
    folder = folder / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    incoming = folder / f"{name}.incoming"
    incoming.write_text(f"{value!r}\n", encoding="ascii")
    incoming.replace(folder / name)


def recorded(folder: Path) -> dict[str, float]:
    """The values that were recorded in a folder, by name; what never was is absent."""
    found: dict[str, float] = {}
    for name in RECORDED:
        try:
            value = float((folder / _FOLDER / name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if math.isfinite(value):
            found[name] = value
    return found


def note_ingested(registry: Registry) -> None:
    """Remember for all nodes that an ingestion of all sources ended now with every document searchable."""
    registry.set_value(_INGESTED_AT, repr(time.time()))


def registered(registry: Registry) -> dict[str, float]:
    """The values that all nodes share, by name; none while the registry does not answer. Blocks."""
    with suppress(SQLAlchemyError):
        at = registry.value(_INGESTED_AT)
        return {INGESTED: float(at)} if at else {}
    return {}
