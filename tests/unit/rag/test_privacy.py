"""Personal data in text: found however the digits are written, and only where the checksum holds."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
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
        ("Mastercard 2221000000000009", "Mastercard [card]"),
        ("2221 0000 0000 0009", "[card]"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "[card]"),
        ("paid in 2019 4111 1111 1111 1111", "paid in 2019 [card]"),
        ("ITIN 912-90-3456", "ITIN [itin]"),
        ("social security number 536904399", "social security number [ssn]"),
        ("routing number 121000358", "routing number [routing]"),
        ("id 11010519491231002X ok", "id [resident_id] ok"),
        ("SWIFT code: DEUTDEFF500", "SWIFT code: [bic]"),
        ("passport no. X1234567", "passport no. [passport]"),
        ("host 2001:db8::8a2e:370:7334 is down", "host [ip] is down"),
        ("phone: 0490 75 40 81", "phone: [phone]"),
        ("or (877) 322-8228", "or [phone]"),
        ("nobody is answering at 78 651 450 today", "nobody is answering at [phone] today"),
        ("08 8747 6301-Office", "[phone]-Office"),
        ("23 415 88 71 (mobile)", "[phone] (mobile)"),
        ("de89370400440532013000", "[iban]"),
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
        "TRANSFER of 121000358 shares",
        "at 12:30:45 or 1:05",
        "2,023 2,022 2,021 and $2125551234",
        "the passport rule and the swift answer",
        "between 2019-11-30 and 2020-01-31",
        "DE00 1234 5678 9012 3456 00",
        "contact 12345678 and text 2024.11.25",
        "1250000 home loans and 4000000 office leases",
        "0321 456 789 in a table",
    ],
)
def test_figures_of_a_bank_are_left_alone(text: str) -> None:
    assert scrub(text) == text


def test_a_number_without_a_word_is_a_phone_where_it_is_one_in_a_region_of_the_bank() -> None:
    assert scrub("0490 754 081 in a table", ("US", "AU")) == "[phone] in a table"
    assert scrub("0490 754 081 in a table", ("US",)) == "0490 754 081 in a table"


@given(st.text(max_size=200))
def test_what_is_found_lies_in_the_text_in_order_and_apart(text: str) -> None:
    found = find(text)
    assert all(0 <= each.start < each.end <= len(text) for each in found)
    assert all(one.end <= two.start for one, two in pairwise(found))


@given(before=st.text(alphabet="abc é–\u200b", max_size=20), after=st.text(alphabet="xyz ,\u200d", max_size=20))
def test_positions_are_those_of_the_original_text(before: str, after: str) -> None:
    (found,) = find(f"{before} 4111111111111111 {after}")
    assert f"{before} 4111111111111111 {after}"[found.start : found.end] == "4111111111111111"


HOSTILE = [
    "1",
    "4 ",
    "1 ",
    "a@",
    "@",
    "DE00 ",
    "DE89 3704 ",
    "+1 ",
    "(212) 555-",
    "passport ",
    "swift ",
    "1.1.1.",
    "::1:",
    "0-",
]


def _calls(text: str) -> int:
    """How many calls of functions, of ours and of libraries, it takes to look through a text."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        find(text)
    finally:
        sys.setprofile(None)
    return count


@given(st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=4).map("".join))
@settings(max_examples=40, deadline=None)
def test_four_times_the_text_is_no_more_than_about_four_times_the_work(piece: str) -> None:
    find(piece * 100)  # what libraries load on first use is not counted
    short, long = piece * (2000 // len(piece)), piece * (8000 // len(piece))
    assert _calls(long) <= 5 * _calls(short) + 500
