"""What of the configuration may change while a service runs, and what would need a restart."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from rag.errors import ConfigurationError
from rag.operations.logging_setup import OURS
from rag.query.prompting import prompt_version, read_templates
from rag.settings import Section, Settings

logger = logging.getLogger(__name__)

# Sections, and single keys of others. Everything else is built into engines, stores and servers when they open.
CHANGEABLE: Final = frozenset(
    {"admission", "limits", "contacts", "refusal", "prompts", "question", "logging.level",
     "server.deadline_seconds", "server.heartbeat_seconds", "server.max_concurrency",
     "retrieval.top_k", "retrieval.max_top_k", "generation.passage_tokens", "generation.rewrite_seconds"}
)  # fmt: skip
_LOOK_EVERY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Reload:
    """What a reload did: keys that count from now on, keys that count after a restart, and the prompt in use."""

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]
    prompt_version: str


def merge_changes(old: Settings, new: Settings) -> tuple[Settings, tuple[str, ...], tuple[str, ...]]:
    """`old` with what of `new` may change, the keys that did, and those that differ but need a restart.

    Raises `ConfigurationError` where the two together make no valid configuration.
    """
    changed: list[str] = []
    later: list[str] = []
    updates: dict[str, Any] = {}
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if not isinstance(before, Section):
            later += [name] if before != after else []
            continue
        found = {
            key: value for key in type(before).model_fields if (value := getattr(after, key)) != getattr(before, key)
        }
        taken = {key: value for key, value in found.items() if {name, f"{name}.{key}"} & CHANGEABLE}
        changed += [f"{name}.{key}" for key in taken]
        later += [f"{name}.{key}" for key in found if key not in taken]
        updates |= {name: before.model_copy(update=taken)} if taken else {}
    merged = old.model_copy(update=updates)
    try:
        Settings.model_validate(merged.model_dump())
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ConfigurationError(f"what may change now does not fit what needs a restart: {reason}") from error
    return merged, tuple(changed), tuple(later)


class Reloading:
    """Re-reads configuration and templates, and hands on what may change. The processes of one service tell each other.

    They do so by the time of a file in the data folder, at which each looks once a second while it is asked things.
    """

    def __init__(self, settings: Settings, load: Callable[[], Settings], apply: Callable[[Settings], None]) -> None:
        self.settings = settings
        self._load = load
        self._apply = apply
        self._lock = threading.Lock()
        self._shared = settings.server.workers > 1
        self._marker = settings.data_dir / "reloaded"
        self._seen = _changed_at(self._marker)
        self._looked = time.monotonic()

    def current(self) -> Settings:
        """The settings that count now."""
        if self._shared and time.monotonic() - self._looked > _LOOK_EVERY_SECONDS:
            self._looked = time.monotonic()
            if _changed_at(self._marker) != self._seen:
                threading.Thread(target=self._follow, name="reload", daemon=True).start()
        return self.settings

    def reload(self) -> Reload:
        """Read everything again. Raises `ConfigurationError`, and then nothing has changed."""
        with self._lock:
            found = self._reload()
            if self._shared:
                self._marker.touch()
                self._seen = _changed_at(self._marker)
        return found

    def _reload(self) -> Reload:
        merged, changed, later = merge_changes(self.settings, self._load())
        read_templates(merged.prompts_dir)
        before = prompt_version()
        self._apply(merged)
        self.settings = merged
        for name in OURS:
            logging.getLogger(name).setLevel(merged.logging.level)
        now = prompt_version()
        changed += ("prompts",) if now != before and "prompts.folder" not in changed else ()
        logger.warning("configuration reloaded: %s changed, %s need a restart", list(changed), list(later))
        return Reload(changed, later, now)

    def _follow(self) -> None:
        """Another process of this service was told to reload."""
        with self._lock:
            seen = _changed_at(self._marker)
            if seen == self._seen:
                return
            self._seen = seen
            try:
                self._reload()
            except ConfigurationError:
                logger.exception("another process reloaded its configuration, and this one could not")


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
