"""Fill rates: three figures together, rejects apart, and no orders is no 100 %."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book.execution.values import LatencyRow
from reporting.charts import chart_svg
from reporting.facts import fact_from
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
from reporting.model import Count, Duration, Frame, Missing, Ratio, Why
from reporting.page import Target, Verdict
from reporting.periods import day_span
from reporting.seal import canonical

from ..book import executed as e
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
            "filled": sum((min(map(Decimal, (o.filled, o.ordered))) for o in group), Decimal(0)),
            "overfilled": sum(Decimal(o.filled) > Decimal(o.ordered) for o in group),
            "excess": sum(
                (max(Decimal(o.filled) - Decimal(o.ordered), Decimal(0)) for o in group),
                Decimal(0),
            ),
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


def test_an_overfill_lifts_no_rate_and_has_its_own_figure() -> None:
    fact = known([
        Order("10", "15"), Order("10", "0"), Order("0.5", "0.75", instrument="BBB"),
        Order("1", "9", reject="limit"),
    ])  # fmt: skip
    assert {k: v.fraction for k, v in by_instrument(fact).items()} == {
        "AAA": Fraction(10, 20),
        "BBB": Fraction(1),
    }
    found = page(fact)
    (figure,) = (f for f in found.figures if f.id == "fill_rate.overfilled")
    assert figure.value == Count(value=2, unit="orders")
    assert figure.note == "5 AAA.S, 0.25 BBB.S too much; in no fill rate"
    week = merge([(MONDAY, fact), (MONDAY + timedelta(1), fact)])
    assert [(c.overfilled, c.excess) for c in week.accepted] == [(2, 10), (2, Decimal("0.5"))]
    assert fact_from(FILL_RATE, fact.model_dump(mode="json")) == fact
    assert "fill_rate.overfilled" not in {f.id for f in page(known(DRAWN)).figures}


def test_orders_at_work_are_a_stock() -> None:
    """A week shows its last day's, not a sum."""
    days = [(MONDAY + timedelta(n), known(DRAWN, working=w)) for n, w in enumerate((5, 9, 4))]
    assert merge(days).working == 4
    assert merge([(MONDAY, merge(days[:2])), days[2]]).working == 4


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


# Groups, chains and latencies ----------------------------------------------------------------


def full(story: e.Story, day: Any = None) -> FillRateFact | Missing:
    """A fact as the close makes it: of the executions of a story."""
    made = e.executed(story, day)
    frames = {
        "orders": Frame(made.orders, e.coverage(len(made.orders))),
        "working": table_frame([{"orders": 7}]),
        "instruments": instruments_frame(*story.instruments),
        "execution": made.day,
    }
    return of_day(day or e.days_from(), frames)


NOON = 12 * 3_600
STORY = e.Story(
    fills=[
        e.Execution("1", "a", e.us(NOON + 1), 1, "4", "101"),
        e.Execution("2", "b", e.us(NOON + 16), 1, "6", "102", venue="Y"),
        e.Execution("3", "c", e.us(NOON + 3_602), 1, "5", "100", agent="beta"),
    ],
    orders=[
        e.Order("a", 1, "10", e.us(NOON), e.us(NOON + 9), "replaced", None, "100"),
        e.Order("b", 1, "10", e.us(NOON + 9), e.us(NOON + 20), "filled", None, "100", "a"),
        e.Order("c", 1, "20", e.us(NOON + 3_600), e.us(NOON + 3_700), "cancelled", None, "100",
                agent="beta"),
        e.Order("d", 1, "99", e.us(NOON), e.us(NOON + 1), "rejected", None, "100", reason="limit"),
    ],
)  # fmt: skip


def cuts(found: Any) -> dict[tuple[str, str], dict[str, Any]]:
    (table,) = (t for t in found.tables if t.id == "fill_rate_cuts")
    keys = [c.key for c in table.columns]
    return {(r[0].text, r[1].text): dict(zip(keys, r, strict=True)) for r in table.rows}


def ratio(part: str | int, whole: str | int) -> Ratio:
    return Ratio(numerator=Decimal(part), denominator=Decimal(whole))


def test_by_agent_venue_size_and_hour_the_three_rates_stand_together() -> None:
    rows = cuts(page(full(STORY)))
    assert list(rows) == [
        ("Agent", "alpha"), ("Agent", "beta"), ("Venue", "X"), ("Venue", "Y"),
        ("Size", "1,000 to 10,000"), ("Hour", "12"), ("Hour", "13"),
    ]  # fmt: skip
    three = {k: (r["full"], r["any"], r["value"]) for k, r in rows.items()}
    assert three["Agent", "alpha"] == (ratio(1, 1), ratio(1, 1), ratio(1000, 1000))
    assert three["Agent", "beta"] == (ratio(0, 1), ratio(1, 1), ratio(500, 2000))
    assert three["Size", "1,000 to 10,000"] == (ratio(1, 2), ratio(2, 2), ratio(1500, 3000))
    # A venue's share of what was filled: (4 + 5) and 6 of 15, at 100.
    assert three["Venue", "X"] == (ratio(1, 2), ratio(2, 2), ratio(900, 1500))
    assert three["Venue", "Y"] == (ratio(1, 1), ratio(1, 1), ratio(600, 1500))
    assert three["Hour", "12"] == three["Agent", "alpha"]


def test_by_venue_size_and_hour_too_the_times_to_a_fill_stand() -> None:
    """Chain a-b: 1 s at X, 16 s at Y, placed at 12; order c: 2 s at X, placed at 13."""
    rows = cuts(page(full(STORY)))
    exact_ms = {
        ("Agent", "alpha"): (1_000, 16_000), ("Agent", "beta"): (2_000, 2_000),
        ("Venue", "X"): (1_000, 1_000), ("Venue", "Y"): (16_000, 16_000),
        ("Size", "1,000 to 10,000"): (1_000, 2_000),
        ("Hour", "12"): (1_000, 16_000), ("Hour", "13"): (2_000, 2_000),
    }  # fmt: skip
    assert rows.keys() == exact_ms.keys()
    for cut, (first, last) in exact_ms.items():
        for name, ms in (("first_fill_p50_ms", first), ("last_fill_p50_ms", last)):
            assert abs(rows[cut][name].ms - ms) <= ms * Fraction(32, 1000), (cut, name)
    # Of days sealed before, there are those of agents alone; it is said.
    fact = full(STORY)
    assert isinstance(fact, FillRateFact)
    old = fact.model_copy(update={"latencies": tuple(r for r in fact.latencies if r.agent)})
    week = page(merge([(MONDAY, old), (MONDAY + timedelta(1), fact)]))
    assert any("they are of 2 of 4 such orders" in note for note in week.notes)
    assert not any("such orders" in note for note in page(fact).notes)
    raw = {"to": "first", "agent": "alpha", "sketch": {"weights": [[3, "1"]]}}
    assert LatencyRow.model_validate(raw, strict=False).by == "agent"


def test_an_agent_of_a_venues_name_has_its_own_times() -> None:
    fills = [replace(f, agent="Y") for f in STORY.fills]
    orders = [replace(o, agent="Y") for o in STORY.orders]
    rows = cuts(page(full(replace(STORY, fills=fills, orders=orders))))
    # All first fills after 1 s and 2 s; the one at venue Y after 16 s.
    assert abs(rows["Agent", "Y"]["first_fill_p50_ms"].ms - 1_000) <= 32
    assert abs(rows["Venue", "Y"]["first_fill_p50_ms"].ms - 16_000) <= 512
    assert abs(rows["Venue", "Y"]["first_fill_p95_ms"].ms - 16_000) <= 512
    assert abs(rows["Agent", "Y"]["first_fill_p95_ms"].ms - 2_000) <= 64


def test_chains_and_latencies() -> None:
    found = page(full(STORY))
    figures = {f.id: f for f in found.figures}
    assert figures["fill_rate.value.USD"].value == ratio(1500, 3000)
    assert figures["fill_rate.cancelled"].value == ratio(1, 2)
    assert figures["fill_rate.replaced"].value == ratio(1, 2)
    assert figures["fill_rate.replaced"].note == "1 replacements, 1.00 each"
    # First fills after 1 s and 2 s, last ones after 2 s and 16 s; the lower one is the median.
    for name, exact_ms in (
        ("first_fill_p50_ms", 1_000), ("first_fill_p95_ms", 2_000),
        ("last_fill_p50_ms", 2_000), ("last_fill_p95_ms", 16_000),
    ):  # fmt: skip
        value = figures[f"fill_rate.{name}"].value
        assert isinstance(value, Duration)
        assert abs(value.ms - exact_ms) <= exact_ms * Fraction(32, 1000)
    beta = cuts(found)["Agent", "beta"]
    assert abs(beta["first_fill_p50_ms"].ms - 2_000) <= 64
    assert (beta["cancelled"].value, beta["replaces"].value) == (1, 0)


def test_the_heat_map_shows_every_number_and_marks_what_is_none() -> None:
    (chart,) = page(full(STORY)).charts
    assert chart.labels == ("12", "13")
    assert [(r.label, r.values) for r in chart.rows] == [
        ("alpha", (Decimal(100), None)),
        ("beta", (None, Decimal(0))),
    ]
    svg = chart_svg(chart)
    assert svg == chart_svg(chart)
    assert ">100</text>" in svg and ">0</text>" in svg and ">none</text>" in svg
    assert svg.count("<title>alpha, 13: none</title>") == 1


def test_hostile_names_do_not_leave_their_text() -> None:
    fills = [replace(f, agent='<script>"') for f in STORY.fills]
    orders = [replace(o, agent='<script>"') for o in STORY.orders]
    (chart,) = page(full(replace(STORY, fills=fills, orders=orders))).charts
    assert "<script>" not in chart_svg(chart)


def test_a_day_sealed_before_still_loads_and_says_what_it_lacks() -> None:
    old = known(DRAWN)
    raw = old.model_dump(mode="json", exclude_defaults=True)
    assert set(raw) == {"cells", "working"}
    loaded = fact_from(FILL_RATE, raw)
    assert loaded == old
    alone = page(loaded)
    assert not any(t.id == "fill_rate_cuts" for t in alone.tables) and not alone.charts
    assert "fill_rate.cancelled" not in {f.id for f in alone.figures}
    new = full(STORY)
    assert isinstance(new, FillRateFact)
    both = page(merge([(MONDAY, loaded), (MONDAY + timedelta(1), new)]))
    assert any("Of 7 orders 5 are of days sealed before" in note for note in both.notes)


@settings(deadline=None, max_examples=15)
@given(st.booleans().flatmap(lambda crossing: e.stories(days=3, crossing=crossing)))
def test_merge_of_full_days_is_the_period(story: e.Story) -> None:
    dates = [MONDAY + timedelta(n) for n in range(3)]
    days = [(day, full(story, e.days_from(day))) for day in dates]
    facts = [(day, fact) for day, fact in days if isinstance(fact, FillRateFact)]
    whole = full(story, e.days_from(MONDAY, 3))
    if isinstance(whole, Missing):
        assert not facts
    else:
        assert canonical(merge(facts)) == canonical(whole)
        assert fact_from(FILL_RATE, whole.model_dump(mode="json")) == whole
