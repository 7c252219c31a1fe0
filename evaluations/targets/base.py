"""What a run needs of a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from evaluations.datasets.items import Item
from evaluations.runs.records import Fingerprints, Produced

Place = Callable[[str, int], tuple[str, str]]  # document id and page to the labels' key of page and of document


class Target(Protocol):
    """Gives back something for an item. `gives` holds what it is: see `evaluations.metrics.catalog.Gives`."""

    name: str
    gives: frozenset[str]

    @property
    def documents(self) -> frozenset[str] | None:
        """The documents of the corpus, as labels call them; None when the target does not tell."""

    async def produce(self, item: Item) -> Produced:
        """What comes back for this item. Anything that is raised makes the item a failed one."""

    def fingerprints(self, suite: str, data: str) -> Fingerprints:
        """What decides the figures, as far as the target tells."""

    async def aclose(self) -> None:
        """Let go of what was opened in this event loop."""
