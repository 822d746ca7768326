"""Historical VaR: the rank by exact rationals, gaps of the history, and what can't be estimated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book import EMPTY_BOOK, Beside, BookDay
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
from reporting.page import Section, Verdict
from reporting.periods import day_span
from reporting.risk.historical import historical as of_outcomes

from ..book.drawn import (
    MONDAY,
    Fill,
    Instrument,
    action,
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
CCC = Instrument("CCC")


def book_of(fills: Sequence[Fill], marks: Mapping[str, str]) -> BookDay:
    return trade(
        EMPTY_BOOK, instruments_frame(AAA, BBB, CCC), fills_frame(fills), marks_frame(marks),
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


def page(day: Any) -> Section:
    context = Context(span=day_span(MONDAY), zone="UTC", base="USD", targets={})
    return section(VarFact(days=(day,)), [(MONDAY, VarFact(days=(day,)))], context)


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


FLAT = Missing(why=Why.NO_TRADES, detail="no position is open at the close")


def test_a_hedge_takes_away_the_risk() -> None:
    # Of one strategy in two accounts: no position of it is left, and nothing to estimate.
    fills = [Fill("1", 1, "3", "90"), Fill("2", -1, "3", "90", account="acc2")]
    day = day_of(estimate(fills, {"AAA": HALVED}))
    assert (day.positions, day.levels, day.unestimated, day.gross) == ((), (), FLAT, 0)
    # Of two strategies: the whole has no risk, which is measured, and each of them has its own.
    fills = [Fill("1", 1, "3", "90"), Fill("2", -1, "3", "90", strategy="carry")]
    day = day_of(estimate(fills, {"AAA": HALVED}))
    assert [x.var for x in day.levels] == [0, 0, 0]
    alone = {s.name: s.alone_var for s in day.shares if s.kind == "strategy"}
    assert alone == {"trend": 150, "carry": 300}


def test_a_flat_book_has_no_estimate_and_that_is_no_gap() -> None:
    day = day_of(estimate([], {"AAA": HALVED}))
    assert (day.levels, day.left_out, day.unestimated) == ((), (), FLAT)
    assert (day.gross, day.net, day.is_flat, day.is_whole) == (0, 0, True, True)
    assert day.at("0.99") == FLAT
    found = page(day)
    assert found.verdict is None
    assert {f.id: f.value for f in found.figures}["var.var_99"] == FLAT


@pytest.mark.parametrize("odd", ["0", "-10", "NaN"])
def test_a_price_that_gives_no_return_leaves_its_instrument_out(odd: str) -> None:
    fills = [Fill("1", 1, "3", "90"), Fill("2", 1, "1", "90", "BBB")]
    series = {"AAA": HALVED, "BBB": ["5", "5", odd, "5", "5", "5"]}
    day = day_of(estimate(fills, series, fx={"EUR": ["1"] * 6}))
    if odd == "NaN":  # no number is no mark: the two returns beside it are not there for anybody
        assert (day.left_out, day.observations) == ((), 3)
    else:
        assert [(x.instrument, x.value) for x in day.left_out] == [("BBB", 5)]
        assert "0 or below" in day.left_out[0].reason.detail
        assert (day.observations, day.gross) == (5, 305)
        assert [level.var for level in day.levels] == [150, 150, 150]


def test_too_short_a_history_is_missing() -> None:
    day = day_of(estimate([Fill("1", 1, "3", "90")], {"AAA": HALVED}, least=6))
    assert day.unestimated is not None
    assert (day.levels, day.unestimated.why) == ((), Why.TOO_SHORT)
    assert "AAA.S (5 of the 6 returns that are needed)" in day.unestimated.detail
    # What is held is known all the same.
    assert (day.gross, day.net, [p.value for p in day.positions]) == (300, 300, [300])
    assert page(day).verdict is Verdict.UNKNOWN
    assert "history too short" in page(day).summary
    assert [t.id for t in page(day).tables] == ["var_left_out", "var_exposure"]
    assert {f.id: f.value for f in page(day).figures}["var.observations"] == day.unestimated
    # One such close among others leaves the whole period open, and its row empty.
    other = day_of(estimate([Fill("1", 1, "3", "90")], {"AAA": HALVED}))
    days = merge([(MONDAY, VarFact(days=(day,))), (MONDAY, VarFact(days=(other,)))])
    context = Context(span=day_span(MONDAY), zone="UTC", base="USD", targets={})
    both = section(days, [(MONDAY, days)], context)
    assert both.verdict is Verdict.UNKNOWN
    (by_day,) = [t for t in both.tables if t.id == "var_by_day"]
    assert isinstance(by_day.rows[0][1], Missing)
    assert by_day.total is not None
    assert by_day.total[1] == Money(amount=Decimal(150), currency="USD")
    assert day_of(estimate([Fill("1", 1, "3", "90")], {"AAA": HALVED}, least=5)).levels


def test_one_short_history_leaves_its_own_instrument_out_and_nothing_else() -> None:
    fills = [Fill("1", 1, "3", "90"), Fill("2", -1, "2", "90", "BBB"),
             Fill("3", -1, "1", "90", "BBB", strategy="carry")]  # fmt: skip
    series: dict[str, Sequence[str | None]] = {"AAA": HALVED, "BBB": [*[None] * 4, "10", "20"]}
    day = day_of(estimate(fills, series, fx={"EUR": ["1.1"] * 6}, least=5))
    alone = day_of(estimate(fills[:1], {"AAA": HALVED}, least=5))
    assert (day.observations, day.levels, day.outcomes, day.estimates) == (
        5, alone.levels, alone.outcomes, alone.estimates,
    )  # fmt: skip
    short = Missing(why=Why.TOO_SHORT, detail="1 of the 5 returns that are needed")
    assert [(x.strategy, x.agent, x.instrument, x.value, x.reason) for x in day.left_out] == [
        ("carry", "alpha", "BBB", -22, short), ("trend", "alpha", "BBB", -44, short),
    ]  # fmt: skip
    # Exposure is of both: 300 long, 3 × 20 × 1.1 short; components are of what VaR covers.
    assert (day.gross, day.net) == (366, 234)
    assert sum(p.value for p in day.positions) == 234
    assert {s.name for s in day.shares if s.kind != "agent"} == {"AAA", "trend"}
    assert not day.is_whole

    found = page(day)
    assert found.verdict is Verdict.UNKNOWN
    assert "without BBB.S (-66.00 USD)" in found.summary
    assert any("BBB.S (-66.00 USD: 1 of the 5 returns" in note for note in found.notes)
    figures = {f.id: f for f in found.figures}
    assert figures["var.var_99"].note == "without BBB.S (-66.00 USD)"
    assert figures["var.gross"].value == Money(amount=Decimal(366), currency="USD")
    tables = {t.id: t for t in found.tables}
    assert [row[3] for row in tables["var_left_out"].rows] == [
        Money(amount=Decimal(-44), currency="USD"), Money(amount=Decimal(-22), currency="USD"),
    ]  # fmt: skip
    total = tables["var_exposure"].total
    assert total is not None
    assert total[3] == Money(amount=Decimal(366), currency="USD")


def test_a_broken_history_gives_way_to_those_that_have_returns_in_common() -> None:
    # AAA has all five returns, BBB the last two, CCC the first three: BBB has fewest, CCC is kept.
    fills = [Fill(str(i), 1, "1", "90", name) for i, name in enumerate(("AAA", "BBB", "CCC"))]
    series: dict[str, Sequence[str | None]] = {
        "AAA": HALVED, "BBB": [*[None] * 3, "5", "5", "5"], "CCC": [*["7"] * 4, None, "7"],
    }  # fmt: skip
    marks = {"AAA": "100", "BBB": "5", "CCC": "7"}
    day = day_of(estimate(fills, series, marks=marks, fx={"EUR": ["1"] * 6}, least=2))
    assert day.observations == 3
    (gone,) = day.left_out
    assert (gone.instrument, gone.value) == ("BBB", 5)
    assert gone.reason.detail == "0 of the 2 returns in common with others that are needed"


def test_a_mark_of_0_at_the_close_is_an_open_position() -> None:
    fills = [Fill("1", 1, "3", "90"), Fill("2", 1, "1", "90", "BBB")]
    series = {"AAA": HALVED, "BBB": ["5", "5", "5", "5", "5", "0"]}
    day = day_of(estimate(fills, series, fx={"EUR": ["1"] * 6}))
    assert [(x.instrument, x.value) for x in day.left_out] == [("BBB", 0)]
    assert (day.observations, day.gross) == (5, 300)


def test_only_the_window_counts() -> None:
    day = day_of(estimate([Fill("1", 1, "3", "90")], {"AAA": HALVED}, window=3))
    # The halving is four returns back: the worst of the last three is −10 %.
    assert day.observations == 3
    assert [level.var for level in day.levels] == [30] * 3


def test_an_instrument_without_history_is_left_out_and_named() -> None:
    fills = [Fill("1", 1, "3", "90"), Fill("2", 1, "5", "90", "BBB")]
    fx = {"EUR": ["1.1"] * 6}
    day = day_of(estimate(fills, {"AAA": HALVED}, marks={"AAA": "100", "BBB": "100"}, fx=fx))
    assert [x.instrument for x in day.left_out] == ["BBB"]
    assert (day.net, day.levels[-1].var) == (850, 150)  # 300, and 5 × 100 × 1.1
    assert any("BBB.S (550.00 USD: no history" in note for note in page(day).notes)


def test_what_has_no_mark_is_in_no_exposure_and_named() -> None:
    fills = [Fill("1", 1, "3", "90"), Fill("2", 1, "5", "90", "BBB")]
    day = day_of(estimate(fills, {"AAA": HALVED}, fx={"EUR": ["1.1"] * 6}))
    (gone,) = day.left_out
    # Of one that has netted its position over two accounts nothing is left out.
    more = [*fills, Fill("3", 1, "2", "90", "BBB", strategy="carry"),
            Fill("4", -1, "2", "90", "BBB", "acc2", strategy="carry")]  # fmt: skip
    assert day_of(estimate(more, {"AAA": HALVED}, fx={"EUR": ["1.1"] * 6})).left_out == (gone,)
    assert gone.value == gone.reason == Missing(why=Why.NO_MARK)
    assert (day.gross, [p.instrument for p in day.positions]) == (300, ["AAA"])
    assert "without BBB.S (no mark)" in page(day).summary


def test_a_fee_in_a_currency_without_a_rate_leaves_no_position_out() -> None:
    day = day_of(estimate([Fill("1", 1, "3", "90", fee="1", fee_currency="CHF")], {"AAA": HALVED}))
    assert (day.left_out, day.net) == ((), 300)


@pytest.mark.parametrize(
    ("marks", "rates"),
    [({}, {"EUR": ["1.1"] * 6}), ({"BBB": "100"}, {}), ({"BBB": "100"}, {"EUR": ["1.1"] * 6})],
    ids=["no mark", "no rate", "no history"],
)
def test_a_book_of_which_nothing_can_be_estimated_is_a_gap(
    marks: dict[str, str], rates: dict[str, list[str]]
) -> None:
    # A position is open: "no position" would be untrue, and would pass as no gap.
    day = day_of(estimate([Fill("1", 1, "5", "90", "BBB")], {"AAA": HALVED}, marks=marks, fx=rates))
    assert day.levels == () and not day.is_flat
    assert day.unestimated is not None
    assert day.unestimated.why in (Why.NO_DATA, Why.NO_MARK)
    assert "BBB.S" in day.unestimated.detail


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
    day = day_of(estimate([Fill("1", 1, "3", "90")], {}, marks={"AAA": "100"}))
    assert (day.levels, day.gross) == ((), 300)
    assert day.unestimated is not None and day.unestimated.why is Why.NO_DATA


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


# Methods, components and clean P&L -------------------------------------------------------------


def rows(series: Sequence[str]) -> list[Fraction]:
    """Returns of a series of prices, in fractions."""
    prices = [Fraction(p) for p in series]
    return [b / a - 1 for a, b in pairwise(prices)]


def walk(seed: int, n: int = 151) -> list[str]:
    steps = np.random.default_rng(seed).standard_t(4, size=n - 1) / 60
    return [f"{p:.4f}" for p in 100 * np.cumprod(np.concatenate([[1.0], 1 + steps]))]


SERIES = {"AAA": walk(1), "BBB": walk(2)}
FX = {"EUR": walk(3)}
BOOK = [
    Fill("1", 1, "300", "90"),
    Fill("2", -1, "100", "90", strategy="carry", agent="beta"),
    Fill("3", 1, "50", "90", "BBB", strategy="carry", agent="alpha"),
    Fill("4", -1, "20", "90", "BBB", "acc2", strategy="carry", agent="beta"),
]


def big_day() -> Any:
    return day_of(estimate(BOOK, SERIES, fx=FX, least=100))


def test_the_outcomes_are_what_the_positions_would_have_made() -> None:
    day = big_day()
    fx = [Fraction(x) for x in FX["EUR"]]
    in_usd = [str(Fraction(p) * x) for p, x in zip(SERIES["BBB"], fx, strict=True)]
    aaa = 200 * Fraction(SERIES["AAA"][-1])
    bbb = 30 * Fraction(in_usd[-1])
    expected = [a * aaa + b * bbb for a, b in zip(rows(SERIES["AAA"]), rows(in_usd), strict=True)]
    assert len(day.outcomes) == day.observations == 150
    for outcome, amount in zip(day.outcomes, expected, strict=True):
        assert abs(Fraction(outcome.amount) - amount) <= Fraction("0.00501")
    assert [o.day for o in day.outcomes] == [MONDAY - timedelta(149 - i) for i in range(150)]
    # From what is sealed alone an auditor gets the same VaR and ES: 150 × 1 % is a day and a half.
    worst = sorted(o.amount for o in day.outcomes)
    level = day.at("0.99")
    assert level.var == -worst[1]
    assert level.es == (-(worst[0] + worst[1] / 2) / Decimal("1.5")).quantize(Decimal("0.01"))


def test_components_of_each_kind_sum_to_the_total_to_the_cent() -> None:
    day = big_day()
    var, es = day.at("0.99").var, day.at("0.975").es
    for kind in ("strategy", "agent", "instrument"):
        shares = [s for s in day.shares if s.kind == kind]
        assert len(shares) == 2
        assert sum(s.part_var for s in shares) == var
        assert sum(s.part_es for s in shares) == es
        normal = {
            (e.level, name): getattr(e, name)
            for e in day.estimates
            if e.method == "normal"
            for name in ("var", "es")
        }
        assert sum(s.normal_var for s in shares) == normal["0.99", "var"]
        assert sum(s.normal_es for s in shares) == normal["0.975", "es"]
        assert sum(s.exposure for s in shares) == sum(p.value for p in day.positions)


def test_alone_and_added_are_the_var_of_other_books() -> None:
    day = big_day()
    of = {(s.kind, s.name): s for s in day.shares}
    only = day_of(estimate(BOOK[2:], {"BBB": SERIES["BBB"]}, fx=FX, least=100))
    rest = day_of(estimate(BOOK[:2], {"AAA": SERIES["AAA"]}, least=100))
    bbb = of["instrument", "BBB"]
    assert (bbb.alone_var, bbb.alone_es) == (only.at("0.99").var, only.at("0.975").es)
    assert bbb.added_var == day.at("0.99").var - rest.at("0.99").var
    assert bbb.added_es == day.at("0.975").es - rest.at("0.975").es
    trend = day_of(estimate(BOOK[:1], {"AAA": SERIES["AAA"]}, least=100))
    assert of["strategy", "trend"].alone_var == trend.at("0.99").var
    assert of["agent", "alpha"].gross == sum(
        abs(p.value) for p in day.positions if p.agent == "alpha"
    )
    # Alone, and with nothing else in the book, is the component and what is added.
    (whole,) = [s for s in only.shares if s.kind == "strategy"]
    assert whole.part_es == whole.added_es == whole.alone_es == only.at("0.975").es


def test_every_method_has_an_answer_at_every_level_or_says_why() -> None:
    day = big_day()
    assert {(e.method, e.level) for e in day.estimates} == {
        (m, x)
        for m in ("normal", "cornish_fisher", "ewma", "filtered")
        for x in ("0.95", "0.975", "0.99")
    }
    found = [e for e in day.estimates if not isinstance(e.var, Missing)]
    assert len(found) >= 9
    assert all(e.es >= e.var for e in found)
    # One crash among calm days: no expansion of a normal quantile fits that.
    crash = ["100"] * 150 + ["40"] + ["40.01", "40"] * 20
    odd = day_of(estimate([Fill("1", 1, "3", "90")], {"AAA": crash}))
    (expanded,) = [e for e in odd.estimates if (e.method, e.level) == ("cornish_fisher", "0.99")]
    assert isinstance(expanded.var, Missing)
    assert "skewness" in expanded.var.detail
    # Prices that never move: VaR is 0, which is measured, and nothing can be rescaled.
    still = day_of(estimate([Fill("1", 1, "3", "90")], {"AAA": ["100"] * 120}))
    assert {x.var for x in still.levels} == {0}
    assert all(isinstance(e.var, Missing) for e in still.estimates if e.method == "filtered")


def test_marks_from_before_a_split_count_in_units_of_today() -> None:
    # Two for one on Sunday: 200 becomes 100, and that is no loss of half.
    prices = {"AAA": ["200", "202", "200", "100", "101"]}
    marks = history(prices, 250, 2)
    marks.table["marked_at"] = [at(d, 72_000) for d in marks.table["day"]]
    split = {"instrument_id": "AAA", "ratio": Decimal(2), "effective_at": at(MONDAY - timedelta(1))}
    frames = {
        "book": book_of([Fill("1", 1, "3", "90")], {"AAA": "101"}),
        "mark_history": marks, "fx_history": table_frame([]),
        "fx_rates": table_frame([], base="USD"), "split_history": table_frame([split]),
    }  # fmt: skip
    day = day_of(of_day(trading_day(), frames))
    # 303 × (200/202 − 1) = −3.
    assert [level.var for level in day.levels] == [3, 3, 3]
    unadjusted = day_of(of_day(trading_day(), {**frames, "split_history": table_frame([])}))
    assert unadjusted.levels[0].var > 150


TUESDAY = MONDAY + timedelta(1)


def clean(
    fills: Sequence[Fill],
    prices: Mapping[str, str],
    *,
    splits: Sequence[Mapping[str, Any]] = (),
    marked_at: Any = None,
    **more: Any,
) -> Any:
    """Clean P&L of :func:`clean_day`."""
    return clean_day(fills, prices, splits=splits, marked_at=marked_at, **more).clean


def clean_day(
    fills: Sequence[Fill],
    prices: Mapping[str, str],
    *,
    splits: Sequence[Mapping[str, Any]] = (),
    marked_at: Any = None,
    **more: Any,
) -> Any:
    """A Tuesday that opened with Monday's book (marked at 100), after ``fills``.

    A euro was worth 1.1 at the opening and is worth 1.2 at the close.
    """
    monday = book_of(BOOK[:1] + BOOK[2:3], {"AAA": "100", "BBB": "100"})
    marks = marks_frame(prices, marked_at or at(TUESDAY, 72_000))
    second = trade(
        monday.closing, instruments_frame(AAA, BBB), fills_frame(fills), marks,
        epoch_ms(at(TUESDAY)), beside=Beside(actions=table_frame(splits)),
    )  # fmt: skip
    frames = {
        "book": second, "mark_history": history(SERIES, 250, 2), "fx_history": fx_history(FX),
        "fx_rates": rates_frame({"EUR": "1.2"}), "fx_open": rates_frame({"EUR": "1.1"}), **more,
    }  # fmt: skip
    return day_of(of_day(trading_day(), frames))


def test_clean_pnl_is_that_of_the_opening_positions_at_closing_marks() -> None:
    marks = {"AAA": "110", "BBB": "90"}
    # 300 × (110 − 100), and 50 × (90 × 1.2 − 100 × 1.1) = 50 × −2.
    assert clean([], marks) == 3000 - 100
    # What is traded in the session, and its fees, do not count.
    sold = Fill("9", -1, "250", "500", fee="77", when=at(TUESDAY, 9))
    opened = Fill("8", 1, "5", "90", "BBB", agent="gamma", when=at(TUESDAY, 9))
    assert clean([sold, opened], marks) == 3000 - 100


def test_clean_pnl_of_a_session_that_ends_flat() -> None:
    out = [
        Fill("7", -1, "300", "500", when=at(TUESDAY, 9)),
        Fill("8", -1, "50", "80", "BBB", strategy="carry", when=at(TUESDAY, 9)),
    ]
    marks = {"AAA": "110", "BBB": "90"}
    day = clean_day(out, marks)
    assert day.is_flat and day.positions == ()
    assert day.clean == 3000 - 100
    # A short history of the estimates changes nothing of it.
    short = history({"AAA": SERIES["AAA"][-3:]}, 250, 100)
    assert clean([], marks, mark_history=short) == 3000 - 100


def test_clean_pnl_of_a_session_that_opened_flat_is_0() -> None:
    day = day_of(estimate([Fill("1", 1, "3", "90")], {"AAA": HALVED}))
    assert day.clean == 0


def test_clean_pnl_of_a_split_is_in_new_units() -> None:
    split = action("s", "split", "2", at(TUESDAY, 9))
    # 600 × 55 − 300 × 100, and 50 × 100 × (1.2 − 1.1).
    assert clean([], {"AAA": "55", "BBB": "100"}, splits=[split]) == 3000 + 500
    # A mark from before the split is of the old units.
    old = {"AAA": "110", "BBB": "100"}
    assert clean([], old, splits=[split], marked_at=at(TUESDAY, 5)) == 3000 + 500


@pytest.mark.parametrize(
    ("marks", "more", "why"),
    [
        ({"AAA": "110"}, {}, Why.NO_MARK),
        ({"AAA": "110", "BBB": "90"}, {"fx_open": rates_frame({"GBP": "1"})}, Why.NO_DATA),
        ({"AAA": "110", "BBB": "90"}, {"fx_open": Missing(why=Why.UNREACHABLE)}, Why.UNREACHABLE),
    ],
    ids=["no mark", "no opening rate", "no rates at all"],
)
def test_clean_pnl_without_a_mark_or_a_rate_is_missing(
    marks: dict[str, str], more: dict[str, Any], why: Why
) -> None:
    found = clean([], marks, **more)
    assert isinstance(found, Missing)
    assert found.why is why


def test_a_day_that_was_sealed_by_older_code_still_loads() -> None:
    old: dict[str, Any] = {
        "days": [
            {
                "day": "2026-03-02", "base": "USD", "observations": 250, "first": "2025-03-03",
                "last": "2026-03-02", "gross": "10", "net": "10", "left_out": [],
                "levels": [{"level": "0.95", "var": "1", "es": "2"},
                           {"level": "0.99", "var": "3", "es": "4"}],
            }
        ]
    }  # fmt: skip
    fact = VarFact.model_validate(old, strict=False)
    (day,) = fact.days
    assert isinstance(day.clean, Missing)
    assert isinstance(day.at("0.975"), Missing)
    # Names of what was left out were all that was sealed of it.
    named = VarFact.model_validate(
        {"days": [{**old["days"][0], "left_out": ["BBB"]}]}, strict=False
    )
    assert [(x.instrument, isinstance(x.value, Missing)) for x in named.days[0].left_out] == [
        ("BBB", True)
    ]
    assert VarFact.model_validate_json(named.model_dump_json(), strict=False) == named
    context = Context(span=day_span(MONDAY), zone="UTC", base="USD", targets={})
    both = merge([(MONDAY, fact), (TUESDAY, VarFact(days=(big_day(),)))])
    for whole in (fact, both):
        found = section(whole, [(MONDAY, fact)], context)
        assert {f.id for f in found.figures} >= {"var.var_95", "var.var_99", "var.gross"}
    (note,) = [n for n in section(fact, [(MONDAY, fact)], context).notes if "not measured" in n]
    assert "components" in note


def test_the_page_of_one_close() -> None:
    fact = VarFact(days=(big_day(),))
    context = Context(span=day_span(MONDAY), zone="UTC", base="USD", targets={})
    found = section(fact, [(MONDAY, fact)], context)
    tables = {t.id: t for t in found.tables}
    assert list(tables) == ["var_methods", "var_components", "var_exposure"]
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows)
    keys = [c.key for c in tables["var_methods"].columns]
    historical_row = dict(zip(keys, tables["var_methods"].rows[0], strict=True))
    one, ten = historical_row["var_99"], historical_row["var_99_10d"]
    assert isinstance(one, Money) and isinstance(ten, Money)
    # √10 = 3.16227766…
    assert abs(ten.amount - one.amount * Decimal("3.16227766017")) < Decimal("0.01")
    assert len(tables["var_components"].rows) == 6
    total = tables["var_exposure"].total
    assert total is not None
    net = total[4]
    assert isinstance(net, Money)
    assert net.amount.quantize(Decimal("0.01")) == fact.days[0].net


@pytest.mark.parametrize(
    ("quantity", "price"), [("0.00000001", "0.00000000001"), ("1000000000000", "1000000000")]
)
def test_the_smallest_and_the_largest_positions(quantity: str, price: str) -> None:
    series = [str(Decimal(price) * Decimal(p)) for p in HALVED]
    fills = [Fill("1", 1, quantity, price), Fill("2", 1, quantity, price, agent="beta")]
    day = day_of(estimate(fills, {"AAA": series}))
    value = 2 * Decimal(quantity) * Decimal(price) * 100
    # The worst day halves it: 10²³ dollars are 10²⁵ cents, beyond 64 bits; floats have 15 digits.
    found = day.at("0.99")
    assert abs(found.var - value / 2) <= max(value / 10**14, Decimal("0.005"))
    for kind in ("strategy", "agent", "instrument"):
        shares = [s for s in day.shares if s.kind == kind]
        assert sum(s.part_var for s in shares) == found.var
        assert sum(s.part_es for s in shares) == day.at("0.975").es
    assert sum(p.value for p in day.positions) == value
    context = Context(span=day_span(MONDAY), zone="UTC", base="USD", targets={})
    assert section(VarFact(days=(day,)), [(MONDAY, VarFact(days=(day,)))], context).tables
