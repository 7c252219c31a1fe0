"""Opinions of a judge: asked several times, read strictly, and kept under a key of everything that decides them."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from llama_index.core.llms import LLM

from evaluations.judge.rubrics import Rubric
from rag.errors import ConfigurationError

Vote = Literal["yes", "no", "invalid"]

_WORD: Final = re.compile(r"^\W*(yes|no)\b", re.IGNORECASE)
_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS votes (key TEXT PRIMARY KEY, vote TEXT NOT NULL, reply TEXT NOT NULL)"


@dataclass(frozen=True, slots=True)
class Opinion:
    """The votes on one case. A majority of valid votes decides; a tie, or none, is `invalid` and counts as wrong."""

    votes: tuple[Vote, ...]

    @property
    def verdict(self) -> Vote:
        """What the judge thinks."""
        yes, no = self.votes.count("yes"), self.votes.count("no")
        return "invalid" if yes == no else "yes" if yes > no else "no"

    @property
    def agreement(self) -> float:
        """Share of the votes that agree with the verdict, 0..1: how steady the judge is."""
        return self.votes.count(self.verdict) / len(self.votes)


class VoteCache:
    """Votes on disk, one row for each key, for several threads and processes. A vote is never changed."""

    def __init__(self, path: Path) -> None:
        """Raises `ConfigurationError` when the file cannot be used."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._lock = threading.Lock()
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"{path} cannot be used as the judge's cache ({error}); remove it or name another"
            ) from error

    def __enter__(self) -> VoteCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def get(self, key: str) -> Vote | None:
        """The vote under this key."""
        with self._lock:
            row = self._database.execute("SELECT vote FROM votes WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def put(self, key: str, vote: Vote, reply: str) -> None:
        """Keep a vote; the first one under a key stays."""
        with self._lock:
            self._database.execute("INSERT OR IGNORE INTO votes VALUES (?, ?, ?)", (key, vote, reply))


class Judge:
    """Asks a LlamaIndex `LLM`. `model_digest` names the model's bytes; without one, its name must do.

    `options` go with every call, for instance a grammar that allows only yes and no where the server has that.
    """

    def __init__(
        self,
        llm: LLM,
        rubric: Rubric,
        cache: VoteCache,
        *,
        repeats: int = 3,
        model_digest: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.rubric = rubric
        self._llm = llm
        self._cache = cache
        self._repeats = repeats
        self._options = dict(options or {})
        self._model = model_digest or f"{llm.class_name()}:{llm.metadata.model_name}"

    @property
    def fingerprint(self) -> str:
        """What must not change between the check of a judge and its use: model, rubric, options, repeats."""
        return _digest([self._model, self.rubric.digest, self._options, self._repeats])

    def ask(self, case: Mapping[str, str]) -> Opinion:
        """The opinion on one case. Errors of the model are the caller's: they are no opinion and are not kept."""
        prompt = self.rubric.prompt(case)
        return Opinion(tuple(self._vote(prompt, repeat) for repeat in range(self._repeats)))

    def _vote(self, prompt: str, repeat: int) -> Vote:
        key = _digest([self._model, self.rubric.digest, self._options, prompt, repeat])
        kept = self._cache.get(key)
        if kept is not None:
            return kept
        reply = self._llm.complete(prompt, **self._options).text
        vote = read_vote(reply)
        self._cache.put(key, vote, reply)
        return vote


def read_vote(reply: str) -> Vote:
    """`yes` or `no` when the reply begins with that word; anything else is `invalid`, never guessed."""
    match = _WORD.match(reply)
    if match is None:
        return "invalid"
    return "yes" if match[1].lower() == "yes" else "no"


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
