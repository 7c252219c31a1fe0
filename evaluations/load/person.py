"""One virtual user: what they do next, and the conversation that they remember."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from evaluations.load.mix import KINDS, Kind, Mix, zipf_weights

_COLLECTION: Final = "load-test"
_SHORTEN: Final = 2000  # characters of an answer that are sent back as history


@dataclass(frozen=True, slots=True)
class Action:
    """A request: where, with what JSON; `upload` instead has a file name and a text."""

    kind: Kind
    path: str
    body: dict[str, Any]


class Person:
    """Draws actions from a mix; the same `seed` draws the same ones."""

    def __init__(self, mix: Mix, questions: Sequence[Sequence[str]], seed: str, think_seconds: float) -> None:
        self._mix, self._questions = mix, questions
        self._chance = Random(seed)  # noqa: S311 - repeatable on purpose
        self._popularity = [zipf_weights(len(each), mix.zipf) for each in questions]
        self._weights = [mix.weights.get(kind, 0.0) for kind in KINDS]
        self._think_seconds = think_seconds
        self._said: list[dict[str, str]] = []
        self._seed, self._uploads = seed, 0

    def think(self) -> float:
        """Seconds until the next action: exponential, so that people come independently of each other."""
        return self._chance.expovariate(1 / self._think_seconds) if self._think_seconds else 0.0

    def arrive(self) -> float:
        """Seconds until the first action: anywhere in a think time."""
        return self._chance.uniform(0, self._think_seconds)

    def next(self) -> Action:
        """What to do now. A follow-up with nothing before it is a question."""
        kind = self._chance.choices(KINDS, self._weights)[0]
        if kind == "follow_up" and not self._said:
            kind = "ask"
        if kind == "upload":
            return self._upload()
        file = self._chance.choices(range(len(self._questions)), list(self._mix.questions.values()))[0]
        question = self._chance.choices(self._questions[file], cum_weights=self._popularity[file])[0]
        if kind == "search":
            return Action(kind, "/v1/search", {"query": question})
        body: dict[str, Any] = {"question": question, "stream": True, "fresh": self._chance.random() < self._mix.fresh}
        if kind == "follow_up":
            body |= {"question": self._chance.choice(self._mix.follow_ups), "history": list(self._said)}
        return Action(kind, "/v1/ask", body)

    def heard(self, question: str, answer: str) -> None:
        """Remember the last exchange, for a follow-up."""
        turns = (("user", question), ("assistant", answer[:_SHORTEN]))
        self._said = [{"role": role, "content": content} for role, content in turns if content]

    def _upload(self) -> Action:
        self._uploads += 1
        name = f"load-test-{self._seed}-{self._uploads}.txt".replace(" ", "-")
        text = f"Notice {self._uploads} of the load test. The branch of this test opens at 9:00 on business days.\n"
        return Action("upload", "/v1/documents", {"name": name, "text": text, "collection": _COLLECTION})
