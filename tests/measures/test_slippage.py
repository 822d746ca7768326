"""Slippage against arrival: positive is cost to us, weighted by notional, coverage always said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.facts import fact_from
from reporting.measures import Context
from reporting.measures.slippage import (
    SLIPPAGE,
    SlippageFact,
    bps,
    coverage,
    fees_of,
    merge,
    of_day,
    section,
    verdict_of,
)
from reporting.model import EXACT, Bps, Frame, Missing, Ratio, Why
from reporting.page import Target, Verdict
from reporting.periods import day_span
from reporting.seal import canonical

from ..book import executed as e
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


# All benchmarks ------------------------------------------------------------------------------


def full(story: e.Story, day: Any = None, rates: Frame | None = None) -> SlippageFact | Missing:
    """A fact as the close makes it: of the executions of a story."""
    made = e.executed(story, day)
    frames = {
        "slippage": Frame(made.slippage, e.coverage(len(made.slippage))),
        "instruments": instruments_frame(*story.instruments),
        "execution": made.day,
        **({"fx_rates": rates} if rates else {}),
    }
    return of_day(day or e.days_from(), frames)


NOON = 12 * 3_600
STORY = e.Story(
    fills=[
        e.Execution("1", "o", e.us(NOON + 1), 1, "300", "40.05", fee="10"),
        e.Execution("2", "o", e.us(NOON + 2), 1, "400", "40.05", fee="7"),
        e.Execution("3", None, e.us(1), 1, "1", "40.00"),
    ],
    orders=[
        e.Order("o", 1, "1000", e.us(NOON), e.us(NOON + 9), "cancelled", "40.00", "40.04"),
    ],
    quotes=[e.Quote(e.us(NOON), "40.03", "40.05"), e.Quote(e.us(NOON + 8), "40.07", "40.09")],
)


def rows_of(found: Any, table: str) -> dict[str, list[Any]]:
    (one,) = (t for t in found.tables if t.id == table)
    return {row[0].text: list(row) for row in one.rows}


def test_every_benchmark_has_a_row_with_mean_median_p95_cost_and_coverage() -> None:
    fact = full(STORY)
    rows = rows_of(page(fact), "slippage_by_benchmark")
    assert list(rows) == [
        "Decision price", "Arrival price", "Mid at the fill", "Mid 1 s after the fill",
        "Mid 10 s after the fill", "Mid 60 s after the fill",
    ]  # fmt: skip
    _, currency, mean, median, p95, cost, notional, covered = rows["Arrival price"]
    assert (currency.text, cost.amount, notional.amount) == ("USD", 700 * Decimal("0.01"), 28_028)
    assert mean.value == Fraction(7, 28_028) * 10_000
    # All of it is at 0.01 / 40.04, 2.4975 bps; a bucket is an eighth of a bp wide there.
    assert median == p95 and abs(median.value - Decimal("2.4975")) < Decimal("0.07")
    assert covered == Ratio(numerator=Decimal(2), denominator=Decimal(3))
    assert rows["Mid at the fill"][7].numerator == 2
    # One second after each fill a quote followed within a minute; ten seconds after, none did.
    assert rows["Mid 1 s after the fill"][7].numerator == 2
    assert rows["Mid 10 s after the fill"][7].numerator == 0
    assert isinstance(rows["Mid 10 s after the fill"][2], Missing)


def test_both_splits_of_the_shortfall_and_its_figure() -> None:
    found = page(full(STORY))
    rows = rows_of(found, "slippage_shortfall")
    money = {name: (row[1].amount, row[3].amount) for name, row in rows.items()}
    assert money == {
        "Delay": (28, 40), "Trading": (7, 7), "Opportunity": (24, 12), "Fees": (17, 17),
        "Total": (76, 76),
    }  # fmt: skip
    (figure,) = (f for f in found.figures if f.id == "slippage.shortfall_bps.USD")
    assert figure.value == Bps(cost=Decimal(76), notional=Decimal(40_000))
    assert figure.value.value == 19  # reference-numbers.json: total_bps 19.0


def test_what_the_ledger_has_not_is_one_line_and_no_row() -> None:
    found = page(full(replace(STORY, quotes=None)))
    assert list(rows_of(found, "slippage_by_benchmark")) == ["Decision price", "Arrival price"]
    assert not any(t.id == "slippage_shortfall" for t in found.tables)
    lines = [note for note in found.notes if "not measured" in note]
    assert len(lines) == 2 and all(line.count("Mid at the fill") <= 1 for line in lines)
    assert any(line.startswith("Interval VWAP: not measured") for line in lines)


def test_medians_differ_from_means() -> None:
    fills = [e.Execution(str(n), "o", e.us(NOON + n), 1, "1", "100") for n in range(9)]
    fills.append(e.Execution("9", "o", e.us(NOON + 9), 1, "1", "110"))
    order = e.Order("o", 1, "10", e.us(NOON), e.us(NOON + 99), "filled", None, "100")
    rows = rows_of(page(full(e.Story(fills, [order]))), "slippage_by_benchmark")
    _, _, mean, median, p95, *_ = rows["Arrival price"]
    assert (mean.value, median.value) == (Fraction(10, 1000) * 10_000, 0)
    assert abs(p95.value - 1000) <= Decimal("0.031") * 1000


def test_a_day_sealed_before_still_loads_and_says_what_it_lacks() -> None:
    old = known([Execution(1, "1", "101", "100")])
    raw = old.model_dump(mode="json", exclude_defaults=True)
    assert set(raw) == {"cells"} and "benchmarks" not in raw["cells"][0]
    loaded = fact_from(SLIPPAGE, raw)
    assert loaded == old
    alone = page(loaded)
    assert not any(t.id == "slippage_by_benchmark" for t in alone.tables)
    new = full(STORY)
    assert isinstance(new, SlippageFact)
    both = page(merge([(MONDAY, loaded), (MONDAY + timedelta(1), new)]))
    assert any("Of 4 fills 1 are of days sealed before" in note for note in both.notes)
    assert rows_of(both, "slippage_by_benchmark")["Decision price"][7] == Ratio(
        numerator=Decimal(2), denominator=Decimal(4)
    )


def test_the_distribution_and_the_hours_are_drawn_from_all_of_the_notional() -> None:
    charts = {c.id: c for c in page(full(STORY)).charts}
    bars = dict(
        zip(charts["slippage.distribution"].labels, charts["slippage.distribution"].bars.values,
            strict=True)
    )  # fmt: skip
    assert bars["2…5"] == 100 and sum(bars.values()) == 100
    assert set(charts) == {"slippage.distribution"}  # one hour alone is no course of a day


def rates_frame(*rows: tuple[str, str, str]) -> Frame:
    """(base, quote, rate) of closing rates into USD."""
    frame = table_frame(
        [
            {"base": a, "quote": b, "rate": Decimal(rate), "source": "ECB", "fixed_at": FIXED}
            for a, b, rate in rows
        ]
    )
    return Frame(frame.table, e.coverage(len(rows), base="USD"))


FIXED = datetime(2026, 3, 2, 15, tzinfo=UTC)


def paid_in(currency: str, *rates: tuple[str, str, str]) -> Any:
    """The page of STORY with its fees of 17 in another currency."""
    fills = [replace(f, fee_currency=currency) for f in STORY.fills]
    fact = full(replace(STORY, fills=fills), rates=rates_frame(*rates))
    assert isinstance(fact, SlippageFact)
    assert fact_from(SLIPPAGE, fact.model_dump(mode="json")) == fact
    return page(fact)


def test_fees_in_another_currency_are_in_the_total_at_the_days_rate_with_its_source() -> None:
    found = paid_in("EUR", ("EUR", "USD", "1.25"), ("EUR", "CHF", "7"), ("CHF", "USD", "9"))
    rows = rows_of(found, "slippage_shortfall")
    assert rows["Fees"][1].amount == rows["Fees"][3].amount == 17 * Decimal("1.25")
    # 28 + 7 + 24 of the published example, and the fees.
    assert rows["Total"][1].amount == rows["Total"][3].amount == 59 + Decimal("21.25")
    (figure,) = (f for f in found.figures if f.id == "slippage.shortfall_bps.USD")
    assert figure.value.cost == 59 + Decimal("21.25")
    note = next(note for note in found.notes if "17 EUR" in note)
    assert "1.25 USD for 1 EUR (ECB, 2026-03-02T15:00:00+00:00)" in note and "CHF" not in note


@pytest.mark.parametrize("rates", [(), (("USD", "EUR", "0.8"),), (("EUR", "CHF", "2"),)])
def test_without_a_rate_the_shortfalls_total_is_missing_and_says_why(rates: Any) -> None:
    found = paid_in("EUR", *rates)
    rows = rows_of(found, "slippage_shortfall")
    assert rows["Trading"][1].amount == 7
    for line in ("Fees", "Total"):
        for at in (1, 2, 3, 4):
            assert isinstance(rows[line][at], Missing)
            assert rows[line][at].detail == "no rate for fees of 17 EUR"
    (figure,) = (f for f in found.figures if f.id == "slippage.shortfall_bps.USD")
    assert isinstance(figure.value, Missing) and "17 EUR" in figure.value.detail


def test_a_fee_into_a_currency_that_is_not_the_base_goes_by_both_rates() -> None:
    story = e.Story(
        fills=[
            e.Execution("1", "o", e.us(2), 1, "1", "20", "BBB", fee="3", fee_currency="USD"),
            e.Execution("2", "o", e.us(3), 1, "1", "20", "BBB", fee="2", fee_currency="CHF"),
            e.Execution("3", "o", e.us(3), 1, "1", "20", "BBB", fee="1", fee_currency="EUR"),
        ],
        orders=[e.Order("o", 1, "3", e.us(1), e.us(9), "filled", "20", "20", instrument="BBB")],
    )
    fact = full(story, rates=rates_frame(("EUR", "USD", "1.2"), ("CHF", "USD", "1.1")))
    assert isinstance(fact, SlippageFact)
    # 3 / 1.2 = 2.5, and 2 × 1.1 / 1.2 = 1.8333…
    assert fees_of(fact.shortfall) == 1 + Decimal("2.5") + Decimal("1.8333333333")
    assert [(r.currency, r.base) for r in fact.fee_rates] == [("CHF", "USD"), ("EUR", "USD")]


def test_a_day_with_a_rate_does_not_hide_one_without() -> None:
    fills = [replace(f, fee_currency="EUR") for f in STORY.fills]
    story = replace(STORY, fills=fills)
    known_, lacking = (
        full(story, rates=rates_frame(*rows)) for rows in ([("EUR", "USD", "1.25")], [])
    )
    assert isinstance(known_, SlippageFact) and isinstance(lacking, SlippageFact)
    week = merge([(MONDAY, known_), (MONDAY + timedelta(1), lacking)])
    assert [(f.amount, f.worth) for c in week.shortfall for f in c.fees_apart] == [
        (17, Decimal("21.25")), (17, None),
    ]  # fmt: skip
    assert isinstance(fees_of(week.shortfall), Missing)
    both = merge([(MONDAY, known_), (MONDAY + timedelta(1), known_)])
    assert fees_of(both.shortfall) == 2 * Decimal("21.25")
    assert len(both.fee_rates) == 1


def test_by_agent_size_and_hour_slippage_stands_in_one_table() -> None:
    story = e.Story(
        fills=[
            e.Execution("1", "o", e.us(NOON + 1), 1, "2", "101"),
            e.Execution("2", "p", e.us(NOON + 3_601), 1, "10", "100.5", agent="beta"),
            e.Execution("3", None, e.us(NOON), 1, "1", "100", agent="gamma"),
            e.Execution("4", "q", e.us(NOON), -1, "1", "21", instrument="BBB"),
        ],
        orders=[
            e.Order("o", 1, "2", e.us(NOON), e.us(NOON + 9), "filled", None, "100"),
            e.Order("p", 1, "10", e.us(NOON), e.us(NOON + 9), "filled", None, "100", agent="beta"),
            e.Order("q", -1, "1", e.us(NOON), e.us(NOON + 9), "filled", None, "20",
                    instrument="BBB"),
        ],
    )  # fmt: skip
    fact = full(story)
    assert isinstance(fact, SlippageFact)
    (table,) = (t for t in page(fact).tables if t.id == "slippage_cuts")
    shown = [
        (*(cell.text for cell in row[:3]), row[3].value, getattr(row[4], "value", None))
        for row in table.rows
    ]
    assert shown == [
        ("Agent", "alpha", "USD", 1, 100),
        ("Agent", "alpha", "EUR", 1, -500),
        ("Agent", "beta", "USD", 1, 50),
        ("Agent", "gamma", "USD", 0, None),
        ("Size", "below 1,000", "USD", 1, 100),
        ("Size", "1,000 to 10,000", "USD", 1, 50),
        ("Size", "1,000 to 10,000", "EUR", 1, -500),
        ("Hour", "12", "USD", 1, 100),
        ("Hour", "12", "EUR", 1, -500),
        ("Hour", "13", "USD", 1, 50),
    ]
    assert isinstance(table.rows[3][5], Missing)  # no arrival price is no cost of 0
    old = fact_from(SLIPPAGE, fact.model_dump(mode="json", exclude={"sizes"}))
    assert not any(t.id == "slippage_cuts" for t in page(old).tables)
    week = page(merge([(MONDAY, old), (MONDAY + timedelta(1), fact)]))
    assert any("By size are 3 of 6 fills" in note for note in week.notes)


def test_a_session_of_ended_orders_alone_has_their_shortfall_and_unknown_slippage() -> None:
    fact = full(replace(STORY, fills=[]))
    assert isinstance(fact, SlippageFact) and fact.cells == ()
    found = page(fact, {"slippage_bps": target("2")})
    assert found.verdict is Verdict.UNKNOWN
    # 1000 × (40.08 − 40.00), by whichever split.
    assert rows_of(found, "slippage_shortfall")["Total"][1].amount == 80


@settings(deadline=None, max_examples=15)
@given(e.stories(days=3))
def test_merge_of_full_days_is_the_period(story: e.Story) -> None:
    dates = [MONDAY + timedelta(n) for n in range(3)]
    days = [(day, full(story, e.days_from(day))) for day in dates]
    facts = [(day, fact) for day, fact in days if isinstance(fact, SlippageFact)]
    whole = full(story, e.days_from(MONDAY, 3))
    if isinstance(whole, Missing):
        assert not facts
    else:
        assert canonical(merge(facts)) == canonical(whole)
        assert canonical(merge([(MONDAY, merge(facts[:1])), *facts[1:]])) == canonical(whole)
        assert fact_from(SLIPPAGE, whole.model_dump(mode="json")) == whole
