"""Fill rates: three figures together, rejects apart, and no orders is no 100 %."""

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
from reporting.measures.fill_rate import (
    FILL_RATE,
    FillRateFact,
    by_instrument,
    in_full,
    in_part,
    merge,
    of_day,
    section,
    verdict_of,
)
from reporting.model import Count, Missing, Ratio, Why
from reporting.page import Target, Verdict
from reporting.periods import day_span
from reporting.seal import canonical

from ..book.drawn import MONDAY, Instrument, instruments_frame, table_frame, trading_day


@dataclass(frozen=True)
class Order:
    """One order chain that became final."""

    ordered: str
    filled: str
    instrument: str = "AAA"
    strategy: str = "trend"
    reject: str = ""


def cells(orders: Sequence[Order]) -> list[dict[str, Any]]:
    """What fill_rate_cells selects: sums by strategy, instrument and reject reason."""
    groups: dict[tuple[str, str, str], list[Order]] = {}
    for order in orders:
        groups.setdefault((order.strategy, order.instrument, order.reject), []).append(order)
    return [
        {
            "strategy": strategy,
            "agent": "alpha",
            "account_id": "acc1",
            "instrument_id": instrument,
            "reject_reason": reject,
            "orders": len(group),
            "orders_full": sum(Decimal(o.filled) >= Decimal(o.ordered) for o in group),
            "orders_any": sum(Decimal(o.filled) > 0 for o in group),
            "ordered": sum((Decimal(o.ordered) for o in group), Decimal(0)),
            "filled": sum((Decimal(o.filled) for o in group), Decimal(0)),
        }
        for (strategy, instrument, reject), group in sorted(groups.items())
    ]


def fact_of(
    orders: Sequence[Order], working: int = 0, day: date = MONDAY
) -> FillRateFact | Missing:
    return of_day(
        trading_day(day),
        {
            "orders": table_frame(cells(orders)),
            "working": table_frame([{"orders": working}]),
            "instruments": instruments_frame(Instrument("AAA"), Instrument("BBB")),
        },
    )


def known(orders: Sequence[Order], working: int = 0, day: date = MONDAY) -> FillRateFact:
    fact = fact_of(orders, working, day)
    assert isinstance(fact, FillRateFact)
    return fact


def target(value: str, comparator: Any = "gt") -> Target:
    return Target(id="fill_rate_pct", comparator=comparator, value=Decimal(value), unit="%")


def page(fact: FillRateFact | Missing, targets: dict[str, Target] | None = None) -> Any:
    context = Context(span=day_span(MONDAY), zone="UTC", base="USD", targets=targets or {})
    return section(fact, [(MONDAY, fact)], context)


DRAWN = [
    Order("100", "100"),
    Order("100", "100"),
    Order("100", "25"),
    Order("100", "0"),
    Order("0.5", "0.5", instrument="BBB"),
    Order("1000", "0", reject="limit"),
    Order("1000", "0", reject="limit"),
    Order("1000", "0", reject="halted"),
]


def test_the_three_rates_and_the_rejects_apart() -> None:
    fact = known(DRAWN, working=2)
    assert in_full(fact.accepted).fraction == Fraction(3, 5)
    assert in_part(fact.accepted).fraction == Fraction(4, 5)
    assert {k: v.fraction for k, v in by_instrument(fact).items()} == {
        "AAA": Fraction(100 + 100 + 25 + 0, 400),
        "BBB": Fraction(1),
    }
    found = page(fact)
    figures = {f.id: f.value for f in found.figures}
    assert figures["fill_rate.full"] == Ratio(numerator=Decimal(3), denominator=Decimal(5))
    assert figures["fill_rate.any"] == Ratio(numerator=Decimal(4), denominator=Decimal(5))
    assert figures["fill_rate.rejected"] == Count(value=3, unit="orders")
    assert figures["fill_rate.working"] == Count(value=2, unit="orders")
    rejects = next(t for t in found.tables if t.id == "fill_rate_rejects")
    assert [(r[0].text, r[1].value) for r in rejects.rows] == [("limit", 2), ("halted", 1)]
    assert rejects.total[1] == Count(value=3)


def test_units_are_never_mixed() -> None:
    table = next(t for t in page(known(DRAWN)).tables if t.id == "fill_rate_by_instrument")
    assert [row[0].text for row in table.rows] == ["AAA.S", "BBB.S"]
    assert sum(row[1].value for row in table.rows) == table.total[1].value == 5
    assert isinstance(table.total[4], Missing)


def test_no_order_is_no_hundred_per_cent() -> None:
    fact = fact_of([])
    assert isinstance(fact, Missing)
    assert fact.why is Why.NO_ORDERS
    assert page(fact).verdict is None


def test_only_rejects_is_unknown() -> None:
    fact = known([Order("10", "0", reject="limit")])
    assert in_full(fact.accepted).fraction is None
    assert by_instrument(fact) == {}
    found = page(fact, {"fill_rate_pct": target("95")})
    assert found.verdict is Verdict.UNKNOWN
    assert found.figures[0].verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("full", "orders", "comparator", "verdict"),
    [
        (96, 100, "gt", Verdict.MET),
        (95, 100, "gt", Verdict.MISSED),  # above 95 %, not at least
        (95, 100, "ge", Verdict.MET),
        (950_001, 1_000_000, "gt", Verdict.MET),
        (949_999, 1_000_000, "ge", Verdict.MISSED),
        (0, 0, "gt", Verdict.UNKNOWN),
    ],
)
def test_the_boundary_of_the_target(
    full: int, orders: int, comparator: str, verdict: Verdict
) -> None:
    share = Ratio(numerator=Decimal(full), denominator=Decimal(orders))
    assert verdict_of(share, target("95", comparator)) is verdict
    assert verdict_of(share, None) is None


def test_orders_of_no_known_instrument_keep_their_identifier() -> None:
    fact = of_day(
        trading_day(),
        {
            "orders": table_frame(cells([Order("1", "1", instrument="ZZZ")])),
            "working": table_frame([{"orders": 0}]),
            "instruments": table_frame([]),
        },
    )
    assert isinstance(fact, FillRateFact)
    assert fact.cells[0].symbol == "ZZZ"


def test_a_missing_source_stays_missing() -> None:
    gone = Missing(why=Why.UNREACHABLE, detail="no answer")
    frames = dict.fromkeys(("orders", "working", "instruments"), gone)
    assert of_day(trading_day(), frames) == gone


def test_the_collation_of_the_source_does_not_matter() -> None:
    rows = cells([Order("1", "1", strategy="B"), Order("1", "1", strategy="a")])
    frames = {
        "working": table_frame([{"orders": 0}]),
        "instruments": instruments_frame(Instrument("AAA")),
    }
    one, other = (
        of_day(trading_day(), {**frames, "orders": table_frame(order)})
        for order in (rows, rows[::-1])
    )
    assert one == other


# The merge law -------------------------------------------------------------------------------

ORDERS = st.lists(
    st.builds(
        Order,
        ordered=st.sampled_from(["1", "10", "0.5", "1000000000.00000001"]),
        filled=st.sampled_from(["0", "0.5", "1", "10", "1000000000.00000001"]),
        instrument=st.sampled_from(["AAA", "BBB"]),
        strategy=st.sampled_from(["trend", "hedge"]),
        reject=st.sampled_from(["", "", "", "limit"]),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(ORDERS, min_size=1, max_size=4))
def test_merge_of_days_is_the_day_of_all_rows(days: list[list[Order]]) -> None:
    facts = [
        (MONDAY + timedelta(i), known(orders, i, MONDAY + timedelta(i)))
        for i, orders in enumerate(days)
    ]
    whole = known([o for orders in days for o in orders], working=len(days) - 1)
    assert canonical(merge(facts)) == canonical(whole)


@settings(deadline=None, max_examples=30)
@given(ORDERS, ORDERS, ORDERS)
def test_merge_is_associative(a: list[Order], b: list[Order], c: list[Order]) -> None:
    first, second, third = ((MONDAY, known(orders)) for orders in (a, b, c))
    left = merge([(MONDAY, merge([first, second])), third])
    right = merge([first, (MONDAY, merge([second, third]))])
    assert canonical(left) == canonical(right) == canonical(merge([first, second, third]))


def test_the_average_of_daily_rates_is_another_number() -> None:
    monday = known([Order("1", "1")])  # 1 of 1
    tuesday = known([Order("1", "1"), *[Order("1", "0")] * 8])  # 1 of 9
    month = merge([(MONDAY, monday), (MONDAY + timedelta(1), tuesday)])
    assert in_full(month.accepted).fraction == Fraction(1 + 1, 1 + 9)
    assert (Fraction(1, 1) + Fraction(1, 9)) / 2 != Fraction(2, 10)


def test_the_measure_names_its_parts() -> None:
    assert FILL_RATE.reads == ("orders", "working", "instruments", "execution")
    assert FILL_RATE.every_day is False
