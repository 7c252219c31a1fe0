"""Numbers are read as banks write them, and compared by value, unit, scale, sign and printed digits."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.query.numbers import Number, agree, numbers


def only(text: str) -> Number:
    (number,) = numbers(text)
    return number


@pytest.mark.parametrize(
    ("text", "value", "scale", "unit"),
    [
        ("4.00%", 4.0, None, "percent"),
        ("(26,936)", -26936.0, None, ""),
        ("$ (167) million", -167.0, 1e6, "money"),
        ("-8.11 per cent", -8.11, None, "percent"),
        ("€172m", 172.0, 1e6, "money"),
        ("25 basis points", 0.25, None, "percent"),
        ("US$ 5.5bn", 5.5, 1e9, "money"),
        ("three million", 3.0, 1e6, ""),
        ("within forty-five days", 45.0, None, ""),
        ("a (5) percent", -5.0, None, "percent"),
    ],
)
def test_an_amount_is_read_with_sign_scale_and_unit(text: str, value: float, scale: float | None, unit: str) -> None:
    number = only(text)
    assert number.value == pytest.approx(value)
    assert (number.scale, str(number.unit)) == (scale, unit)


@pytest.mark.parametrize(
    ("text", "kind", "period"),
    [
        ("September 30, 2019", "period", "2019-09-30"),
        ("30 June 2018", "period", "2018-06-30"),
        ("March 2020", "period", "2020-03"),
        ("third quarter of 2018", "period", "2018-Q3"),
        ("Q3", "period", "Q3"),
        ("§ 1026.5(a)", "reference", "1026.5(a)"),
        ("7.2.1", "reference", "7.2.1"),
    ],
)
def test_dates_quarters_and_references_are_no_amounts(text: str, kind: str, period: str) -> None:
    assert (only(text).kind, only(text).period) == (kind, period)


def test_brackets_around_a_repeated_number_make_nothing_negative() -> None:
    assert [each.value for each in numbers("within sixty (60) days")] == [60.0]
    assert [each.value for each in numbers("a range of 2018–2019")] == [2018.0, 2019.0]


@given(st.integers(0, 10**12), st.integers(0, 99))
def test_grouping_and_currency_do_not_change_a_value(whole: int, cents: int) -> None:
    number = only(f"$ {whole:,}.{cents:02d}")
    assert number.value == pytest.approx(whole + cents / 100)
    assert number.unit == "money"


@given(st.integers(1, 10**9))
def test_accountants_brackets_and_a_minus_are_the_same(value: int) -> None:
    assert only(f"({value:,})").value == only(f"-{value:,}").value == -value


@given(st.text(max_size=80))
def test_any_text_is_read_without_an_error_and_in_order(text: str) -> None:
    found = numbers(text)
    assert all(0 <= each.start < each.end <= len(text) for each in found)
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))


@given(st.decimals(min_value="0.01", max_value="99999", places=4), st.integers(0, 3))
def test_a_rounded_number_agrees_with_what_it_was_rounded_from(exact: object, places: int) -> None:
    stated, source = only(f"{float(str(exact)):.{places}f}%"), only(f"{exact}%")
    assert agree(stated, source, None, None)


@given(st.integers(1000, 10**9), st.integers(1, 999))
def test_another_number_does_not_agree(value: int, difference: int) -> None:
    assert not agree(only(f"{value + difference:,}"), only(f"{value:,}"), None, None)


@pytest.mark.parametrize(
    ("stated", "source", "scale", "agrees"),
    [
        ("$1.2 million", "1,234", 1e3, True),
        ("$1.2 billion", "1,234", 1e3, False),
        ("$1,234", "1,234", 1e3, False),
        ("$1,234 thousand", "1,234", 1e3, True),
        ("4%", "4.0", None, True),
        ("4%", "4", 1e6, False),
        ("$4", "4%", None, False),
        ("a loss of 5", "(5)", None, True),
        ("-5", "5", None, False),
        ("Q3", "Q3 2019", None, True),
        ("Q3 2018", "Q3 2019", None, False),
        ("September 2019", "September 30, 2019", None, True),
    ],
)
def test_scale_unit_sign_and_period_must_agree(stated: str, source: str, scale: float | None, agrees: bool) -> None:  # noqa: FBT001
    number = only(stated)
    assert agree(number, only(source), number.scale, scale) is agrees
