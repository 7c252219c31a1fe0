"""Looks at stacks, counted for the parts of the product."""

from __future__ import annotations

import pytest

from evaluations.processor_stages import NATIVE, OTHER, part_of, seconds_by_part

_LOOP = "run_forever (/usr/lib/python3.11/asyncio/base_events.py:607)"
_SEARCH = "_found (/site/rag/query/retrieval.py:130)"
_FORWARD = "_forward (/site/rag/models/embedding.py:90)"


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        (f"{_LOOP};{_SEARCH}", "search and fusion"),
        (f"{_LOOP};{_SEARCH};{_FORWARD};run (/site/numpy/core.py:1)", "MiniLM"),
        (
            f"{_LOOP};execute (/site/sqlalchemy/engine/base.py:1);dumps (/usr/lib/json/__init__.py:2)",
            "the registry (SQL)",
        ),
        (_LOOP, "event loop and threads"),
        ("main (/somewhere/else.py:1)", OTHER),
    ],
)
def test_innermost_part_of_the_product_counts(stack: str, part: str) -> None:
    assert part_of(stack) == part


def test_seconds_of_a_thread_are_shared_out_by_what_was_seen_in_it() -> None:
    raw = (
        f"thread (0xA): MainThread;{_LOOP} 1\n"
        f"thread (0xA): MainThread;{_SEARCH} 3\n"
        "thread (0xA): MainThread;Runner.run (/usr/lib/python3.11/asyncio/runners.py:118) 96\n"
        f"thread (0xB): asyncio_0;{_SEARCH};{_FORWARD} 7\n"
    )
    found = seconds_by_part(raw, {10: 4.0, 11: 8.0, 12: 0.5})
    assert found == {"MiniLM": 8.0, "search and fusion": 3.0, "event loop and threads": 1.0, NATIVE: 0.5}
    assert next(iter(found)) == "MiniLM"


def test_a_thread_that_was_never_seen_at_work_counts_as_native() -> None:
    assert seconds_by_part("", {10: 1.0}) == {NATIVE: 1.0}
