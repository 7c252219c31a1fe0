"""What is remembered between searches, and what is forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from rag.query.remembering import Remembered


class _Store:
    """Gives each key in upper case, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def read(self, keys: Sequence[str]) -> dict[str, str]:
        self.asked += keys
        return {key: key.upper() for key in keys}


def test_of_too_many_things_the_newer_half_is_kept() -> None:
    store, known = _Store(), Remembered[str](4)
    for key in "abcde":
        known.get(1, [key], store.read)
    store.asked.clear()
    assert known.get(1, ["d", "e", "a"], store.read) == {"d": "D", "e": "E", "a": "A"}
    assert store.asked == ["a"]


def test_nothing_is_kept_of_an_older_corpus() -> None:
    store, known = _Store(), Remembered[str](4)
    known.get(1, ["a"], store.read)
    known.get(2, ["a"], store.read)
    assert store.asked == ["a", "a"]
