"""The same service with every guard taken away: what the guards cost is the difference.

Signing in and rates are switched off by configuration. What no configuration switches off is replaced here, in the
process that serves: `sitecustomize` calls `take_guards_away` when its interpreter starts. For made-up data only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import rag.bootstrap
import rag.query.pipeline
import rag.query.retrieval
from rag.domain import Passage
from rag.governance import privacy
from rag.storage.catalog import Catalog


def take_guards_away() -> None:
    """No audit, no look for personal data, nobody's rights are asked."""
    replaced: dict[tuple[Any, str], Any] = {
        (rag.bootstrap, "recorded_answers"): lambda answers, *_: answers,
        (privacy, "find"): lambda _: (),
        (rag.query.retrieval, "still_readable"): _all_passages,
        (rag.query.pipeline, "still_readable"): _all_passages,
        (rag.query.pipeline, "may_read_all"): lambda *_: True,
        (Catalog, "visible_among"): lambda _, document_ids, *__: set(document_ids),
    }
    for (place, name), instead in replaced.items():
        getattr(place, name)  # a guard that was renamed must not stay in place unnoticed
        setattr(place, name, instead)


def _all_passages(passages: Sequence[Passage], *_: Iterable[Any]) -> list[Passage]:
    return list(passages)
