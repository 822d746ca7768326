"""How values are worded: rounded half-even, never across a line that matters, never made up."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting import render
from reporting.model import (
    Band,
    Bps,
    Count,
    Duration,
    Missing,
    Moment,
    Money,
    Number,
    Ratio,
    Shown,
    Text,
    Why,
)
from reporting.page import Target


def words(value: Shown, **options: object) -> str:
    """As a reader sees it; no-break spaces count as spaces."""
    return render.words(value, **options).replace("\u00a0", " ")  # type: ignore[arg-type]


def ratio(numerator: int, denominator: int) -> Ratio:
    return Ratio(numerator=D(numerator), denominator=D(denominator))


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("1234567.891", "1,234,567.89 USD"),
        ("-1234.5", "−1,234.50 USD"),
        ("0.125", "0.12 USD"),  # half goes to the even neighbour, 0.12
        ("0.135", "0.14 USD"),  # and here to 0.14
        ("-0.001", "0.00 USD"),  # a zero has no sign
        ("123456789012345678901234567890.12", "123,456,789,012,345,678,901,234,567,890.12 USD"),
    ],
)
def test_money_has_two_decimals_and_its_currency(amount: str, expected: str) -> None:
    assert words(Money(amount=D(amount), currency="USD")) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ratio(318, 322), "98.76 %"),
        (ratio(0, 322), "0.00 %"),
        (ratio(322, 322), "100.00 %"),
        (ratio(999_996, 1_000_000), "99.9996 %"),
        (ratio(86_399_999, 86_400_000), "99.999999 %"),
        (ratio(1, 1_000_000), "0.0001 %"),
        (ratio(5, 4), "125.00 %"),
        (ratio(0, 0), "— 0 of 0"),
        (ratio(7, 0), "— 7 of 0"),
    ],
)
def test_a_share_never_rounds_to_nothing_or_to_all(value: Ratio, expected: str) -> None:
    assert words(value) == expected


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_what_is_below_all_never_shows_as_all(part: int, rest: int) -> None:
    shown = words(ratio(part, part + rest))
    assert 0 < D(shown.removesuffix(" %")) < 100


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (99_312, 99_351, 100_000, "99.312 – 99.351 %"),
        (86_400, 86_400, 86_400, "100.000 %"),
        (999_996, 1_000_000, 1_000_000, "99.9996 – 100.0000 %"),
        (999_995, 999_996, 1_000_000, "99.9995 – 99.9996 %"),
        (0, 0, 0, "— nothing observed"),
    ],
)
def test_a_band_shows_both_bounds_apart(low: int, high: int, whole: int, expected: str) -> None:
    assert words(Band(low=ratio(low, whole), high=ratio(high, whole))) == expected


def test_rounding_does_not_cross_a_target() -> None:
    target = Target(id="t", comparator="ge", value=D("99.9"), unit="%")
    assert words(ratio(998_996, 1_000_000), target=target) == "99.8996 %"
    slow = Target(id="t", comparator="le", value=D("2.5"), unit="bps")
    # 2.5001 bps is over 2.5 bps, which two decimals would hide.
    assert words(Bps(cost=D("25001"), notional=D("100000000")), target=slow) == "2.5001 bps"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Bps(cost=D(-3), notional=D(8_000)), "−3.75 bps"),
        (Bps(cost=D(0), notional=D(0)), "— nothing traded"),
        (Count(value=1_204, unit="fills"), "1,204 fills"),
        (Count(value=0), "0"),
        (Number(value=D("-1250.50"), unit="lots"), "−1,250.5 lots"),
        (Duration(ms=0), "0 s"),
        (Duration(ms=250), "250 ms"),
        (Duration(ms=1_500), "1.500 s"),
        (Duration(ms=62_000), "1 min 02 s"),
        (Duration(ms=3_725_000), "1 h 02 min 05 s"),
        (Duration(ms=-90_061_000), "−25 h 01 min 01 s"),
        (Missing(why=Why.NO_MARK), "— no mark"),
        (Missing(why=Why.NOT_MEASURED, detail="no quotes"), "— not measured: no quotes"),
        (Text(text="<b>"), "<b>"),
    ],
)
def test_other_values(value: Shown, expected: str) -> None:
    assert words(value) == expected


@pytest.mark.parametrize("why", list(Why))
def test_an_absence_is_never_a_number(why: Why) -> None:
    assert not any(c.isdigit() for c in words(Missing(why=why)))


def test_a_moment_is_in_the_reports_zone_with_its_offset() -> None:
    at = Moment(at=datetime(2025, 11, 2, 5, 30, tzinfo=UTC))
    assert words(at, zone="America/New_York") == "2025-11-02 01:30:00 UTC−04:00"
    later = Moment(at=datetime(2025, 11, 2, 6, 30, tzinfo=UTC))
    assert words(later, zone="America/New_York") == "2025-11-02 01:30:00 UTC−05:00"
    assert words(at) == "2025-11-02 05:30:00 UTC"


def test_a_change_has_its_sign() -> None:
    assert words(Money(amount=D(3), currency="EUR"), signed=True) == "+3.00 EUR"
    assert words(Money(amount=D(0), currency="EUR"), signed=True) == "0.00 EUR"


def test_a_change_is_read_at_a_glance() -> None:
    assert words(Number(value=D("0.510969"), unit="bps"), signed=True) == "+0.51 bps"
    assert words(Number(value=D("-0.000042"), unit="bps"), signed=True) == "−0.00004 bps"
    assert words(Number(value=D("0.510969"), unit="bps")) == "0.510969 bps"


def test_targets_are_worded_alike_however_they_are_spelled() -> None:
    for spelling in ("99.90", "99.9", "9.99E+1"):
        target = Target(id="t", comparator="ge", value=D(spelling), unit="%")
        assert render.target_words(target).replace("\u00a0", " ") == "at least 99.9 %"
