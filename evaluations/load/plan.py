"""What the process with the virtual users is told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from evaluations.load.exchange import Place


@dataclass(frozen=True, slots=True)
class Plan:
    """`users` against `place` for `seconds`. They come within `ramp_seconds` and think `think_seconds` on average.

    `mix` is a `Mix` as JSON, `questions` are by file and rank. `pause_seconds`: how long who never
    thinks waits after a failure.
    """

    place: Place
    users: int
    seconds: float
    think_seconds: float
    ramp_seconds: float
    mix: str
    questions: list[list[str]]
    seed: int = 0
    pause_seconds: float = 0.1

    def to_json(self) -> str:
        """For a file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """What `to_json` wrote."""
        told: dict[str, Any] = json.loads(text)
        return cls(**told | {"place": Place(**told["place"])})
