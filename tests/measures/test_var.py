"""Historical VaR: the rank by exact rationals, gaps of the history, and what can't be estimated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book import EMPTY_BOOK, BookDay
from reporting.book.session import trade
from reporting.measures import Context
from reporting.measures.var import (
    VarFact,
    merge,
    of_day,
    plain_pct,
    section,
)
from reporting.model import Missing, Money, Why, epoch_ms
from reporting.periods import day_span
from reporting.risk.historical import historical as of_outcomes

from ..book.drawn import (
    MONDAY,
    Fill,
    Instrument,
    at,
    fills_frame,
    instruments_frame,
    marks_frame,
    rates_frame,
    table_frame,
    trading_day,
)


def historical(losses: np.ndarray, level: str) -> tuple[float, float]:
    return of_outcomes(-losses, level)


def sample(n: int) -> np.ndarray:
    """Losses n, n − 1, …, 1 in disorder: the k-th largest is n + 1 − k."""
    return np.array([1 + (i * 7919) % n for i in range(n)], dtype=float)


@pytest.mark.parametrize(
    ("n", "level", "rank"),
    [
        (500, "0.99", 5),  # (1 − 0.99) × 500 is 5.000000000000004 in floats: ⌈…⌉ would be 6
        (250, "0.99", 3),  # 2.5
        (251, "0.99", 3),
        (100, "0.99", 1),
        (101, "0.99", 2),  # 1.01
        (500, "0.975", 13),  # 12.5
        (200, "0.975", 5),
        (100, "0.95", 5),
        (250, "0.95", 13),  # 12.5
        (1000, "0.95", 50),
        (1, "0.99", 1),
    ],
)
def test_the_rank_is_exact(n: int, level: str, rank: int) -> None:
    assert sorted(sample(n)) == list(range(1, n + 1))
    var, _ = historical(sample(n), level)
    assert var == n + 1 - rank


def test_the_float_rank_is_wrong() -> None:
    assert math.ceil((1 - 0.99) * 500) == 6  # why the code uses rationals


def test_expected_shortfall_weighs_the_fraction_of_the_tail() -> None:
    # n(1 − α) = 2.5: the two largest whole and half of the third.
    _, es = historical(sample(250), "0.99")
    assert es == pytest.approx((250 + 249 + 0.5 * 248) / 2.5, rel=1e-14)
    # n(1 − α) = 5: five whole, nothing of the sixth.
    _, es = historical(sample(500), "0.99")
    assert es == pytest.approx((500 + 499 + 498 + 497 + 496) / 5, rel=1e-14)
    # Less than one observation in the tail: that one loss.
    assert historical(np.array([3.0, 7.0, 5.0]), "0.99") == (7.0, 7.0)


def test_equal_losses_and_gains() -> None:
    assert historical(np.full(250, 4.0), "0.99") == (4.0, 4.0)
    assert historical(np.full(250, -4.0), "0.99") == (-4.0, -4.0)  # a certain gain
    with pytest.raises(ValueError, match="no tail"):
        historical(np.array([]), "0.99")


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(-1000, 1000), min_size=1, max_size=300), st.sampled_from(["0.95", "0.99"])
)
def test_var_and_es_by_the_definition(losses: list[int], level: str) -> None:
    tail = len(losses) * (1 - Fraction(level))
    worst = sorted(losses, reverse=True)
    weights = [min(max(tail - i, Fraction(0)), Fraction(1)) for i in range(len(losses))]
    es = sum(w * x for w, x in zip(weights, worst, strict=True)) / tail
    var, found = historical(np.array(losses, dtype=float), level)
    # The smallest number that at most n(1 − α) losses exceed.
    assert sum(x > var for x in losses) <= tail
    assert sum(x >= var for x in losses) >= min(tail, 1) and var in losses
    assert sum(x >= var for x in losses) >= tail
    assert found == pytest.approx(float(es), rel=1e-12, abs=1e-9)
    assert found >= var - 1e-9


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 1000), min_size=40, max_size=200))
def test_a_mirrored_sample_has_the_same_var_on_both_sides(half: list[int]) -> None:
    losses = np.array([*half, *(-x for x in half)], dtype=float)
    assert historical(losses, "0.95") == pytest.approx(historical(-losses, "0.95"))


# On a book -----------------------------------------------------------------------------------

AAA, BBB = Instrument("AAA"), Instrument("BBB", currency="EUR")


def book_of(fills: Sequence[Fill], marks: Mapping[str, str]) -> BookDay:
    return trade(
        EMPTY_BOOK, instruments_frame(AAA, BBB), fills_frame(fills), marks_frame(marks),
        epoch_ms(at(MONDAY)),
    )  # fmt: skip


def history(prices: Mapping[str, Sequence[str | None]], window: int, least: int) -> Any:
    """Marks of the days up to Monday, oldest first; None where a day has none."""
    rows = [
        {
            "instrument_id": name,
            "day": MONDAY - timedelta(len(series) - 1 - i),
            "price": Decimal(price),
        }
        for name, series in prices.items()
        for i, price in enumerate(series)
        if price is not None
    ]
    return table_frame(rows, window=str(window), minimum=str(least))


def fx_history(rates: Mapping[str, Sequence[str]]) -> Any:
    rows = [
        {
            "base": name, "quote": "USD", "day": MONDAY - timedelta(len(series) - 1 - i),
            "rate": Decimal(rate),
        }
        for name, series in rates.items()
        for i, rate in enumerate(series)
    ]  # fmt: skip
    return table_frame(rows)


def estimate(
    fills: Sequence[Fill],
    prices: Mapping[str, Sequence[str | None]],
    *,
    marks: Mapping[str, str] | None = None,
    fx: Mapping[str, Sequence[str]] | None = None,
    window: int = 250,
    least: int = 2,
) -> VarFact | Missing:
    fx = fx or {}
    last = {name: str(series[-1]) for name, series in prices.items() if series[-1]}
    return of_day(
        trading_day(),
        {
            "book": book_of(fills, last if marks is None else marks),
            "mark_history": history(prices, window, least),
            "fx_history": fx_history(fx),
            "fx_rates": rates_frame({name: series[-1] for name, series in fx.items()}),
        },
    )


def day_of(fact: VarFact | Missing) -> Any:
    assert isinstance(fact, VarFact)
    (day,) = fact.days
    return day


HALVED = ["100", "200", "100", "110", "99", "100"]  # +100 %, −50 %, +10 %, −10 %, +1.0101 %


def test_a_long_position_loses_when_the_price_falls() -> None:
    day = day_of(estimate([Fill("1", 1, "3", "90")], {"AAA": HALVED}))
    assert day.observations == 5
    assert (day.gross, day.net) == (300, 300)
    for level in day.levels:
        assert level.var == level.es == 300 * Decimal("0.5")
    assert (day.first, day.last) == (MONDAY - timedelta(4), MONDAY)


def test_a_short_position_loses_when_the_price_rises() -> None:
    day = day_of(estimate([Fill("1", -1, "3", "90")], {"AAA": HALVED}))
    assert (day.gross, day.net) == (300, -300)
    assert [level.var for level in day.levels] == [300, 300, 300]


def test_prices_and_rates_move_together() -> None:
    # +10 % in euros while the euro loses 20 %: 1.1 × 0.8 − 1 = −12 % in dollars.
    fx = {"EUR": ["1.25", "1.00", "1.00"]}
    day = day_of(estimate([Fill("1", 1, "1", "90", "BBB")], {"BBB": ["100", "110", "110"]}, fx=fx))
    assert day.net == 110
    assert [level.var for level in day.levels] == [Decimal("13.20")] * 3


def test_a_hedge_takes_away_the_risk() -> None:
    fills = [Fill("1", 1, "3", "90"), Fill("2", -1, "3", "90", account="acc2")]
    found = estimate(fills, {"AAA": HALVED})
    assert isinstance(found, Missing)  # net flat: nothing is at risk, and that is no number
    assert found.why is Why.NO_TRADES


def test_a_flat_book_is_missing() -> None:
    found = estimate([], {"AAA": HALVED})
    assert isinstance(found, Missing)
    assert found.why is Why.NO_TRADES


def test_too_short_a_history_is_missing() -> None:
    found = estimate([Fill("1", 1, "3", "90")], {"AAA": HALVED}, least=6)
    assert isinstance(found, Missing)
    assert found.why is Why.TOO_SHORT
    assert "5 common returns" in found.detail
    assert isinstance(estimate([Fill("1", 1, "3", "90")], {"AAA": HALVED}, least=5), VarFact)


def test_only_the_window_counts() -> None:
    day = day_of(estimate([Fill("1", 1, "3", "90")], {"AAA": HALVED}, window=3))
    # The halving is four returns back: the worst of the last three is −10 %.
    assert day.observations == 3
    assert [level.var for level in day.levels] == [30] * 3


def test_an_instrument_without_history_is_left_out_and_named() -> None:
    fills = [Fill("1", 1, "3", "90"), Fill("2", 1, "5", "90", "BBB")]
    fx = {"EUR": ["1.1"] * 6}
    day = day_of(estimate(fills, {"AAA": HALVED}, marks={"AAA": "100", "BBB": "100"}, fx=fx))
    assert day.left_out == ("BBB",)
    assert day.net == 300
    context = Context(span=day_span(MONDAY), zone="UTC", base="USD", targets={})
    found = section(VarFact(days=(day,)), [(MONDAY, VarFact(days=(day,)))], context)
    assert any("BBB" in note for note in found.notes)


@pytest.mark.parametrize(
    ("marks", "rates"),
    [({}, {"EUR": ["1.1"] * 6}), ({"BBB": "100"}, {}), ({"BBB": "100"}, {"EUR": ["1.1"] * 6})],
    ids=["no mark", "no rate", "no history"],
)
def test_a_book_of_which_nothing_can_be_estimated_is_a_gap(
    marks: dict[str, str], rates: dict[str, list[str]]
) -> None:
    # A position is open: "no position" would be untrue, and would pass as no gap.
    found = estimate([Fill("1", 1, "5", "90", "BBB")], {"AAA": HALVED}, marks=marks, fx=rates)
    assert isinstance(found, Missing)
    assert found.why is Why.NO_DATA
    assert "BBB" in found.detail


def test_a_day_without_a_mark_is_not_a_return_of_zero() -> None:
    # 100, nothing, 80, 80, 64: the gap has no return on either side; then 0 and −20 % on 64.
    day = day_of(
        estimate(
            [Fill("1", 1, "1", "90"), Fill("2", 1, "1", "90", "BBB", "acc2")],
            {
                "AAA": ["100", None, "80", "80", "64"],
                "BBB": ["100", "50", "100", "100", "100"],
            },
            fx={"EUR": ["1", "1", "1", "1", "1"]},
        )
    )
    assert day.observations == 2
    assert [level.var for level in day.levels] == [Decimal(64) * 20 / 100] * 3


def test_a_ledger_of_one_currency_needs_no_rates() -> None:
    day = day_of(
        of_day(
            trading_day(),
            {
                "book": book_of([Fill("1", 1, "3", "90")], {"AAA": "100"}),
                "mark_history": history({"AAA": HALVED}, 250, 2),
                "fx_history": table_frame([]),
                "fx_rates": table_frame([], base="USD"),
            },
        )
    )
    assert day.net == 300


def test_no_mark_at_all_is_missing() -> None:
    found = estimate([Fill("1", 1, "3", "90")], {}, marks={"AAA": "100"})
    assert isinstance(found, Missing)
    assert found.why is Why.NO_DATA


def test_a_missing_source_stays_missing() -> None:
    gone = Missing(why=Why.UNREACHABLE)
    names = ("book", "mark_history", "fx_history", "fx_rates")
    assert of_day(trading_day(), dict.fromkeys(names, gone)) == gone


def test_days_stay_a_series() -> None:
    small = estimate([Fill("1", 1, "1", "90")], {"AAA": HALVED})
    large = estimate([Fill("1", 1, "3", "90")], {"AAA": HALVED})
    assert isinstance(small, VarFact) and isinstance(large, VarFact)
    tuesday = MONDAY + timedelta(1)
    second = VarFact(days=(small.days[0].model_copy(update={"day": tuesday}),))
    merged = merge([(MONDAY, large), (tuesday, second)])
    assert merged.days == (*large.days, *second.days)
    nested = merge([(MONDAY, merge([(MONDAY, large)])), (tuesday, second)])
    assert nested == merged

    context = Context(span=day_span(MONDAY), zone="UTC", base="USD", targets={})
    found = section(merged, [(MONDAY, large), (tuesday, second)], context)
    figures = {f.id: f for f in found.figures}
    assert figures["var.var_99"].value == Money(amount=Decimal(50), currency="USD")  # the last
    assert [p.value for p in figures["var.var_99"].series] == [150, 50]
    by_day = next(t for t in found.tables if t.id == "var_by_day")
    assert by_day.total is not None
    assert by_day.total[1] == Money(amount=Decimal(150), currency="USD")  # the largest


@pytest.mark.parametrize(("level", "pct"), [("0.99", "99"), ("0.975", "97.5"), ("0.9", "90")])
def test_levels_in_words(level: str, pct: str) -> None:
    assert plain_pct(level) == pct
