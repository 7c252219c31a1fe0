"""Looks at stacks, counted for the parts of the product."""

from __future__ import annotations

import pytest

from evaluations.processor_stages import OTHER, part_of, shares

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


def test_shares_of_all_looks_add_up_to_one() -> None:
    found = shares(f"{_LOOP};{_SEARCH} 3\n{_LOOP};{_SEARCH};{_FORWARD} 6\n{_LOOP} 1\n")
    assert found == {"MiniLM": 0.6, "search and fusion": 0.3, "event loop and threads": 0.1}


def test_no_looks_have_no_shares() -> None:
    assert shares("") == {}
