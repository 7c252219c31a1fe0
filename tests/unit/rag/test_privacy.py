"""Personal data in text: found however the digits are written, and only where the checksum holds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.governance.privacy import find, scrub


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("My card 4111 1111 1111 1111 is lost", "My card [card] is lost"),
        ("card 5555-5555-5555-4444.", "card [card]."),
        ("４１１１１１１１１１１１１１１１ stolen", "[card] stolen"),
        ("4111\u200b1111\u200b1111\u200b1111", "[card]"),
        ("pay GB82 WEST 1234 5698 7654 32 today", "pay [iban] today"),
        ("write to jane.doe+x@bank.example now", "write to [email] now"),
        ("SSN 536-90-4399", "SSN [ssn]"),
        ("call +44 20 7946 0958", "call [phone]"),
        ("from 10.1.200.255", "from [ip]"),
        ("account number: 00123456, please", "account number: [account], please"),
    ],
)
def test_personal_data_is_taken_out(text: str, scrubbed: str) -> None:
    assert scrub(text) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112 has a wrong checksum",
        "the fee is $1,234,567.89 in 2019",
        "12 CFR 1005.11(c)(2)(ii) and § 1026.36(a)",
        "version 999.1.2.300",
        "between 2019-11-30 and 2020-01-31",
        "DE00 1234 5678 9012 3456 00",
    ],
)
def test_figures_of_a_bank_are_left_alone(text: str) -> None:
    assert scrub(text) == text


@given(st.text(max_size=200))
def test_what_is_found_lies_in_the_text_in_order_and_apart(text: str) -> None:
    found = find(text)
    assert all(0 <= each.start < each.end <= len(text) for each in found)
    assert all(one.end <= two.start for one, two in pairwise(found))


@given(before=st.text(alphabet="abc é–\u200b", max_size=20), after=st.text(alphabet="xyz ,\u200d", max_size=20))
def test_positions_are_those_of_the_original_text(before: str, after: str) -> None:
    (found,) = find(f"{before} 4111111111111111 {after}")
    assert f"{before} 4111111111111111 {after}"[found.start : found.end] == "4111111111111111"
