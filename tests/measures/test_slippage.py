"""Slippage against arrival: positive is cost to us, weighted by notional, coverage always said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.measures import Context
from reporting.measures.slippage import (
    SlippageFact,
    bps,
    coverage,
    merge,
    of_day,
    section,
    verdict_of,
)
from reporting.model import EXACT, Bps, Missing, Ratio, Why
from reporting.page import Target, Verdict
from reporting.periods import day_span
from reporting.seal import canonical

from ..book.drawn import MONDAY, Instrument, instruments_frame, table_frame, trading_day


@dataclass(frozen=True)
class Execution:
    """One fill with the arrival price of its order, or None."""

    side: int
    quantity: str
    price: str
    arrival: str | None
    instrument: str = "AAA"
    venue: str = "X"
    multiplier: str = "1"
    currency: str = "USD"


def cells(fills: Sequence[Execution]) -> list[dict[str, Any]]:
    """What slippage_cells selects: exact sums by instrument, currency and venue."""
    groups: dict[tuple[str, str, str], list[Execution]] = {}
    for f in fills:
        groups.setdefault((f.instrument, f.currency, f.venue), []).append(f)
    rows = []
    for (instrument, currency, venue), group in sorted(groups.items()):
        notional = cost = arrived = Fraction(0)
        for f in group:
            size = Fraction(f.quantity) * Fraction(f.multiplier)
            notional += size * Fraction(f.price)
            if f.arrival is not None:
                arrived += size * Fraction(f.arrival)
                cost += f.side * size * (Fraction(f.price) - Fraction(f.arrival))
        rows.append(
            {
                "strategy": "trend",
                "agent": "alpha",
                "account_id": "acc1",
                "instrument_id": instrument,
                "currency": currency,
                "venue": venue,
                "fills": len(group),
                "fills_covered": sum(f.arrival is not None for f in group),
                "notional": decimal(notional),
                "cost": decimal(cost),
                "arrival_notional": decimal(arrived),
            }
        )
    return rows


def decimal(value: Fraction) -> Decimal:
    return EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))


def fact_of(fills: Sequence[Execution], day: date = MONDAY) -> SlippageFact | Missing:
    frames = {
        "slippage": table_frame(cells(fills)),
        "instruments": instruments_frame(Instrument("AAA"), Instrument("BBB")),
    }
    return of_day(trading_day(day), frames)


def known(fills: Sequence[Execution]) -> SlippageFact:
    fact = fact_of(fills)
    assert isinstance(fact, SlippageFact)
    return fact


def target(value: str, comparator: Any = "lt") -> Target:
    return Target(id="slippage_bps", comparator=comparator, value=Decimal(value), unit="bps")


def page(fact: SlippageFact | Missing, targets: dict[str, Target] | None = None) -> Any:
    context = Context(span=day_span(MONDAY), zone="UTC", base="USD", targets=targets or {})
    return section(fact, [(MONDAY, fact)], context)


@pytest.mark.parametrize(
    ("side", "price", "expected"),
    [
        (1, "100.02", 2),  # bought above arrival: cost
        (1, "99.98", -2),  # bought below: gain
        (-1, "99.98", 2),  # sold below: cost
        (-1, "100.02", -2),  # sold above: gain
        (1, "100", 0),
    ],
)
def test_positive_is_cost_to_us(side: int, price: str, expected: int) -> None:
    assert bps(known([Execution(side, "7", price, "100")]).cells).value == expected


def test_weighted_by_notional_at_arrival() -> None:
    fact = known([Execution(1, "9", "100.10", "100"), Execution(-1, "1", "50.00", "50.50")])
    cost = Fraction(9) * Fraction("0.10") + Fraction("0.50")
    assert bps(fact.cells).value == cost / (9 * 100 + Fraction("50.50")) * 10_000


def test_the_published_trading_cost() -> None:
    # reference-numbers.json "implementation_shortfall": 700 filled at 40.05 that arrived at
    # 40.04 cost 7 in trading.
    (cell,) = known([Execution(1, "700", "40.05", "40.04")]).cells
    assert cell.cost == 7
    assert cell.arrival_notional == 700 * Decimal("40.04")


def test_fills_without_arrival_are_coverage_and_nothing_else() -> None:
    fact = known([Execution(1, "1", "101", "100"), Execution(1, "999", "500", None)])
    assert bps(fact.cells) == Bps(cost=Decimal(1), notional=Decimal(100))
    assert coverage(fact.cells) == Ratio(numerator=Decimal(1), denominator=Decimal(2))
    assert fact.cells[0].notional == 101 + 999 * 500


def test_no_notional_is_unknown_and_not_zero() -> None:
    fact = known([Execution(1, "1", "101", None)])
    assert bps(fact.cells).value is None
    found = page(fact, {"slippage_bps": target("2")})
    assert found.verdict is Verdict.UNKNOWN
    assert found.figures[0].verdict is Verdict.UNKNOWN
    for table in found.tables:
        assert isinstance(table.rows[0][3], Missing)


def test_no_trades_is_missing() -> None:
    fact = fact_of([])
    assert isinstance(fact, Missing)
    assert fact.why is Why.NO_TRADES


def test_a_missing_source_stays_missing() -> None:
    gone = Missing(why=Why.UNREACHABLE)
    assert of_day(trading_day(), {"slippage": gone, "instruments": gone}) == gone


@pytest.mark.parametrize(
    ("price", "comparator", "verdict"),
    [
        ("100.0199", "lt", Verdict.MET),
        ("100.02", "lt", Verdict.MISSED),  # exactly 2 bps is not below 2
        ("100.02", "le", Verdict.MET),
        ("100.020001", "le", Verdict.MISSED),
        ("99", "lt", Verdict.MET),
    ],
)
def test_the_boundary_of_the_target(price: str, comparator: str, verdict: Verdict) -> None:
    measured = bps(known([Execution(1, "3", price, "100")]).cells)
    assert verdict_of(measured, target("2", comparator)) is verdict
    assert verdict_of(measured, None) is None


def test_currencies_are_never_added_up() -> None:
    fills = [
        Execution(1, "1", "101", "100"),
        Execution(1, "1", "100.01", "100", instrument="BBB", currency="EUR"),
    ]
    found = page(known(fills), {"slippage_bps": target("2")})
    values = {f.id: f.value for f in found.figures}
    assert values["slippage.USD"].value == 100
    assert values["slippage.EUR"].value == 1
    assert [f.verdict for f in found.figures[:2]] == [Verdict.MISSED, Verdict.MET]
    assert found.verdict is Verdict.MISSED


def test_the_collation_of_the_source_does_not_matter() -> None:
    rows = cells([Execution(1, "1", "2", "2", venue="B"), Execution(1, "1", "2", "2", venue="a")])
    frames = {
        "instruments": instruments_frame(Instrument("AAA")),
    }
    one, other = (
        of_day(trading_day(), {**frames, "slippage": table_frame(order)})
        for order in (rows, rows[::-1])
    )
    assert one == other


# The merge law -------------------------------------------------------------------------------

FILLS = st.lists(
    st.builds(
        Execution,
        side=st.sampled_from([1, -1]),
        quantity=st.sampled_from(["1", "0.25", "1000000000.00000001"]),
        price=st.sampled_from(["100", "100.02", "99.987654321"]),
        arrival=st.sampled_from([None, "100", "100.01"]),
        instrument=st.sampled_from(["AAA", "BBB"]),
        venue=st.sampled_from(["X", ""]),
        multiplier=st.just("50"),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(FILLS, min_size=1, max_size=4))
def test_merge_of_days_is_the_day_of_all_rows(days: list[list[Execution]]) -> None:
    facts = [(MONDAY + timedelta(i), known(fills)) for i, fills in enumerate(days)]
    whole = known([f for fills in days for f in fills])
    assert canonical(merge(facts)) == canonical(whole)


@settings(deadline=None, max_examples=30)
@given(FILLS, FILLS, FILLS)
def test_merge_is_associative(a: list[Execution], b: list[Execution], c: list[Execution]) -> None:
    first, second, third = ((MONDAY, known(fills)) for fills in (a, b, c))
    left = merge([(MONDAY, merge([first, second])), third])
    right = merge([first, (MONDAY, merge([second, third]))])
    assert canonical(left) == canonical(right) == canonical(merge([first, second, third]))


def test_the_average_of_daily_figures_is_another_number() -> None:
    monday = known([Execution(1, "1", "101", "100")])  # 100 bps on 100
    tuesday = known([Execution(1, "99", "100", "100")])  # 0 bps on 9,900
    month = merge([(MONDAY, monday), (MONDAY + timedelta(1), tuesday)])
    assert bps(month.cells).value == Fraction(1, 100 + 9_900) * 10_000  # 1 bps, not (100 + 0) / 2
