"""The values that everything is made of: exact, strict, canonical, and missing with a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from reporting.model import (
    EXACT,
    Bps,
    Missing,
    Money,
    Ratio,
    Shown,
    Why,
    Window,
    epoch_ms,
    exact_sum,
    plain,
)
from reporting.page import Figure


def usd(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="USD")


@pytest.mark.parametrize("amount", [0.1, 1, "1", True, Decimal("NaN"), Decimal("Infinity"), None])
def test_money_is_decimal_and_nothing_else(amount: object) -> None:
    with pytest.raises(ValidationError):
        Money(amount=amount, currency="USD")  # type: ignore[arg-type]


@pytest.mark.parametrize("currency", ["usd", "US", "USDT", "", "U$D", "USD\n"])
def test_a_currency_is_three_capitals(currency: str) -> None:
    with pytest.raises(ValidationError):
        Money(amount=Decimal(1), currency=currency)


def test_money_adds_up_in_one_currency() -> None:
    assert usd("0.1") + usd("0.2") == usd("0.3")
    assert usd("0.1") - usd("0.3") == -usd("0.2")
    for other in (Money(amount=Decimal(1), currency="EUR"), Decimal(1), 1):
        with pytest.raises(TypeError):
            usd("1") + other  # type: ignore[operator]
        with pytest.raises(TypeError):
            usd("1") - other  # type: ignore[operator]


def test_values_are_frozen_and_know_their_fields() -> None:
    with pytest.raises(ValidationError):
        usd("1").amount = Decimal(2)  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Money(amount=Decimal(1), currency="USD", rounded=True)  # type: ignore[call-arg]


def test_money_is_a_string_in_json() -> None:
    assert usd("1234567890123456789012345678901.50").model_dump_json() == (
        '{"kind":"money","amount":"1234567890123456789012345678901.5","currency":"USD"}'
    )


@pytest.mark.parametrize(
    ("value", "spelling"),
    [
        ("0", "0"), ("-0", "0"), ("0.00", "0"), ("-0.00", "0"), ("0E+3", "0"), ("-0E-7", "0"),
        ("1.50", "1.5"), ("1E+3", "1000"), ("100", "100"), ("-100.0", "-100"),
        ("1E-9", "0.000000001"),
        ("10", "10"), ("0.10", "0.1"),
    ],
)  # fmt: skip
def test_equal_numbers_have_one_spelling(value: str, spelling: str) -> None:
    assert plain(Decimal(value)) == spelling


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=8), st.integers(0, 9))
def test_plain_round_trips_and_ignores_trailing_zeros(value: Decimal, zeros: int) -> None:
    padded = Decimal(format(value, "f") + "0" * zeros)
    assert plain(padded) == plain(value)
    assert Decimal(plain(value)) == value
    assert "E" not in plain(value)


@pytest.mark.parametrize("why", list(Why))
def test_missing_goes_through_json_with_its_reason(why: Why) -> None:
    shown = TypeAdapter(Shown)
    missing = Missing(why=why, detail="for a test")
    body = shown.dump_json(missing)
    assert shown.validate_json(body) == missing
    assert f'"why":"{why.value}"'.encode() in body
    assert str(missing) == f"{why.value}: for a test"


def test_a_figure_of_nothing_is_not_a_number() -> None:
    figure = Figure(id="x", label="x", value=Missing(why=Why.NO_DATA))
    assert Figure.model_validate_json(figure.model_dump_json()) == figure
    with pytest.raises(ValidationError):
        Figure(id="x", label="x", value=None)  # type: ignore[arg-type]


def test_no_traffic_is_not_a_share() -> None:
    assert Ratio(numerator=Decimal(0), denominator=Decimal(0)).fraction is None
    assert Ratio(numerator=Decimal(1), denominator=Decimal(3)).fraction == Fraction(1, 3)
    assert Bps(cost=Decimal(0), notional=Decimal(0)).value is None
    assert Bps(cost=Decimal(3), notional=Decimal(20_000)).value == Fraction(3, 2)


def test_exact_refuses_to_round() -> None:
    with pytest.raises(Inexact):
        EXACT.divide(Decimal(1), Decimal(3))
    with pytest.raises(Inexact):
        EXACT.add(Decimal(10**100), Decimal("0.1"))
    assert EXACT.divide(Decimal(1), Decimal(8)) == Decimal("0.125")


def test_exact_sum_keeps_more_than_28_digits() -> None:
    big, small = Decimal("1e30"), Decimal("1e-10")
    assert sum([big, small, -big]) == 0  # what the default context makes of it
    assert exact_sum([big, small, -big]) == small
    assert exact_sum([]) == 0


@settings(deadline=None)
@given(st.lists(st.decimals(-(10**20), 10**20, places=18), max_size=20))
def test_exact_sum_equals_fractions(values: list[Decimal]) -> None:
    assert Fraction(exact_sum(values)) == sum(map(Fraction, values))


def test_a_window_is_aware_ordered_and_whole() -> None:
    start = datetime(2026, 3, 8, tzinfo=UTC)
    window = Window(start=start, end=start + timedelta(hours=23))
    assert window.end_ms - window.start_ms == 23 * 3_600_000
    with pytest.raises(ValidationError):
        Window(start=start, end=start)
    with pytest.raises(ValidationError):
        Window(start=start.replace(tzinfo=None), end=start.replace(tzinfo=None) + timedelta(1))


@settings(deadline=None)
@given(st.datetimes(), st.integers(-14 * 60, 14 * 60))
def test_epoch_ms_is_exact_before_and_after_1970(local: datetime, minutes: int) -> None:
    aware = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    seconds = (local.toordinal() - 719_163) * 86_400 - minutes * 60
    seconds += (local.hour * 60 + local.minute) * 60 + local.second
    assert epoch_ms(aware) == seconds * 1_000 + local.microsecond // 1_000
