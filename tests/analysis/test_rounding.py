"""From an estimate to the page: digits that are kept, and lists that fit a sentence."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from reporting.analysis import listed, measured, significant, to_places
from reporting.model import plain

from .days import day, points


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Fraction(1, 3), "0.3333"),
        (123456.0, "123500"),
        (-0.000123456, "-0.0001235"),
        (Decimal("1.0005"), "1"),  # half-even: 1.000, and not 1.001
        (0.0, "0"),
    ],
)
def test_four_significant_digits_are_kept(value: float | Fraction | Decimal, shown: str) -> None:
    assert plain(significant(value)) == shown


def test_a_percentage_has_one_decimal_half_even() -> None:
    assert to_places(Decimal("2.25")) == Decimal("2.2")
    assert to_places(Decimal("-2.35")) == Decimal("-2.4")


def test_a_long_list_is_cut_and_says_so() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b", "c", "d", "e", "f"]) == "a, b, c, d and 2 more"


def test_a_missing_day_is_left_out() -> None:
    assert measured(points([1, None, 3])) == ((day(0), Decimal(1)), (day(2), Decimal(3)))
