"""Groundedness is judged by the check that answers must pass, with the same encoder."""

from __future__ import annotations

import pytest

from evaluations.metrics.support import groundedness, statement_supported
from evaluations.runs.records import CitedQuote, Produced

RULE = (
    "A financial institution shall determine whether an error occurred within 10 business days of receiving a notice "
    "of error."
)


@pytest.mark.parametrize(
    ("statement", "supported"),
    [
        (RULE, True),
        ("The institution must determine whether an error occurred within 10 business days of the notice.", True),
        ("The institution must determine whether an error occurred within 20 business days of the notice.", False),
        ("Mortgage servicers must keep their records for several years.", False),
    ],
)
def test_a_paraphrase_is_supported_and_another_number_or_subject_is_not(statement: str, *, supported: bool) -> None:
    assert statement_supported(statement, (RULE,)) is supported


def test_an_answer_is_grounded_by_the_share_of_its_statements() -> None:
    text = (
        "The institution must determine whether an error occurred within 10 business days of the notice. [1]\n\n"
        "Mortgage servicers must keep their records for several years. [1]"
    )
    answer = Produced(text, "answered", citations=(CitedQuote("d", "", 1, RULE, marker="1"),))
    assert groundedness(answer) == 0.5
