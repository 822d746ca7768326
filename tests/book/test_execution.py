"""Fills against every benchmark, and chains against what they wanted: equal to a slow oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book.execution import fills
from reporting.book.execution.merging import joined_days
from reporting.book.execution.orders import local_hours
from reporting.book.execution.sketch import bounds
from reporting.book.execution.values import BENCHMARKS
from reporting.model import Missing
from reporting.seal import canonical

from . import executed as e
from .drawn import MONDAY, Instrument
from .executed import Execution, Oracle, Order, Quote, Story, Trade, executed, stories, us

NOON = 12 * 3_600


def agrees(story: Story, day: Any = None) -> None:
    """Every sum of the code under test is the oracle's, to the last unit."""
    made, oracle = executed(story, day), Oracle(story, day)
    rows = {
        (row["agent"], row["instrument_id"], row["venue"]): row
        for row in made.slippage.to_dict("records")
    }
    assert sum(r["fills"] for r in rows.values()) == len(oracle.session_fills())
    for name in BENCHMARKS:
        wanted = oracle.against(name)
        for key, row in rows.items():
            if name == "arrival":
                got = (row["fills_covered"], row["cost"], row["arrival_notional"])
            else:
                one = [b for b in row["benchmarks"] if b.benchmark == name]
                got = (one[0].fills, one[0].cost, one[0].notional) if one else (0, 0, 0)
            sums = wanted.get(key, e.Sums())
            assert tuple(map(Fraction, got)) == (sums.fills, sums.cost, sums.notional), (name, key)
        sketches_agree(made.day.sketches, name, wanted, oracle)
    shortfall_agrees(made.day.shortfall, oracle)


def sketches_agree(rows: Any, name: str, wanted: dict[Any, e.Sums], oracle: Oracle) -> None:
    """All the weight is there, in buckets that hold what they should."""
    for currency in {i.currency for i in oracle.story.instruments}:
        points = [
            point
            for (_, instrument, _), sums in wanted.items()
            for point in sums.points
            if oracle.kinds[instrument].currency == currency
        ]
        sketch = [r.sketch for r in rows if (r.benchmark, r.currency) == (name, currency)]
        if not points:
            assert not sketch or not sketch[0].total
            continue
        assert Fraction(sketch[0].total) == sum(weight for _, weight in points)
        for share in (Fraction(1, 2), Fraction(19, 20)):
            exact, found = quantile(points, share), sketch[0].quantile(share)
            assert found is not None
            # What the page says: 3.1 % of itself, or 2^-7 near zero; beyond 2^36 only the bound.
            if abs(exact) < 2**36:
                error = max(abs(exact) * Fraction(32, 1000), Fraction(1, 128))
                assert abs(Fraction(found) - exact) <= error


def quantile(points: Sequence[tuple[Fraction, Fraction]], share: Fraction) -> Fraction:
    whole, so_far = sum(w for _, w in points), Fraction(0)
    for value, weight in sorted(points):
        so_far += weight
        if so_far >= whole * share:
            return value
    raise AssertionError("no weight")


def shortfall_agrees(rows: Any, oracle: Oracle) -> None:
    wanted = oracle.shortfall()
    assert {(r.agent, r.instrument) for r in rows} == set(wanted)
    for row in rows:
        sums = wanted[row.agent, row.instrument]
        for name in (
            "chains", "covered", "notional", "delay_perold", "delay_kissell", "trading",
            "opportunity_perold", "opportunity_kissell", "fees",
        ):  # fmt: skip
            assert Fraction(getattr(row, name)) == sums.get(name, 0), (name, row)
        apart = {f"fees {f.currency}": Fraction(f.amount) for f in row.fees_apart}
        assert apart == {k: v for k, v in sums.items() if k.startswith("fees ") and v}
        for split in ("perold", "kissell"):
            names = (f"delay_{split}", "trading", f"opportunity_{split}", "fees")
            assert sum(Fraction(getattr(row, n)) for n in names) == sums.get("total", 0)


# Numbers that are known ----------------------------------------------------------------------


def test_the_published_implementation_shortfall() -> None:
    # reference-numbers.json "implementation_shortfall": 1000 wanted at 40.00, arrived at 40.04,
    # 700 filled at 40.05, the rest cancelled at 40.08, fees 17.
    story = Story(
        fills=[
            Execution("1", "o", us(NOON + 1), 1, "300", "40.05", fee="10"),
            Execution("2", "o", us(NOON + 2), 1, "400", "40.05", fee="7"),
        ],
        orders=[
            Order("o", 1, "1000", us(NOON), us(NOON + 9), "cancelled", "40.00", "40.04"),
        ],
        quotes=[Quote(us(NOON + 8), "40.07", "40.09")],
    )
    (row,) = executed(story).day.shortfall
    assert (row.chains, row.covered, row.notional) == (1, 1, 1000 * 40)
    assert (row.delay_perold, row.trading, row.opportunity_perold, row.fees) == (28, 7, 24, 17)
    assert (row.delay_kissell, row.trading, row.opportunity_kissell) == (40, 7, 12)
    assert 28 + 7 + 24 + 17 == 40 + 7 + 12 + 17 == 76
    agrees(story)


def test_what_was_filled_before_the_session_is_known_with_its_cost() -> None:
    story = Story(
        fills=[
            Execution("1", "o", us(NOON, -1), 1, "300", "40.05", fee="10", venue="Y"),
            Execution("2", "o", us(NOON + 2), 1, "400", "40.05", fee="7"),
        ],
        orders=[
            Order("o", 1, "1000", us(NOON - 9, -1), us(NOON + 9), "cancelled", "40.00", "40.04"),
        ],
        quotes=[Quote(us(NOON + 8), "40.07", "40.09")],
    )
    (row,) = executed(story).day.shortfall
    assert (row.delay_perold, row.trading, row.opportunity_perold, row.fees) == (28, 7, 24, 17)
    agrees(story)
    venues = {g.key: g.filled for g in executed(story).day.groups if g.by == "venue"}
    assert venues == {"Y": 300 * Decimal("40.04"), "X": 400 * Decimal("40.04")}
    took = {
        (r.by, r.agent or r.key, r.to): r.sketch.quantile(Fraction(1, 2))
        for r in executed(story).day.latencies
    }
    size = "10,000 to 100,000"  # 1000 at 40.04
    for cut in (("agent", "alpha"), ("hour", "11"), ("size", size)):
        # Placed nine seconds before noon on Sunday, filled then and on Monday.
        near(took[*cut, "first"], 9_000)
        near(took[*cut, "last"], 86_411_000)
    for venue, ms in (("Y", 9_000), ("X", 86_411_000)):
        near(took["venue", venue, "first"], ms)
        near(took["venue", venue, "last"], ms)
    assert len(took) == 2 * 5


def near(found: Any, exact_ms: int) -> None:
    """Within what the page says: 3.1 % of itself."""
    assert abs(Fraction(found) - exact_ms) <= exact_ms * Fraction(31, 1000), (found, exact_ms)


@pytest.mark.parametrize("days", [1, 30, 365])
def test_an_order_that_lived_for_days_has_its_time_and_not_a_bound(days: int) -> None:
    order = Order("o", 1, "10", us(NOON, -days), us(NOON + 9), "filled", None, "100")
    made = executed(Story([Execution("1", "o", us(NOON), 1, "10", "100")], [order]))
    assert {row.to for row in made.day.latencies} == {"first", "last"}
    for row in made.day.latencies:
        near(row.sketch.quantile(Fraction(1, 2)), days * 86_400_000)


def test_buckets_of_days_sealed_when_the_range_was_shorter_mean_the_same() -> None:
    """433 was the bucket beyond 2^20; the range grew at its far end only."""
    assert bounds(1)[0] == Fraction(1, 128)
    assert bounds(432) == (2**20 * Fraction(31, 32), 2**20)
    assert bounds(433)[0] == 2**20


def test_a_replaced_chain_is_timed_from_the_placing_of_its_first_order() -> None:
    story = Story(
        fills=[
            Execution("1", "b", us(NOON + 3_610), 1, "4", "100", venue="X"),
            Execution("2", "b", us(NOON + 3_700), 1, "6", "100", venue="Y"),
        ],
        orders=[
            Order("a", 1, "10", us(NOON), us(NOON + 3_600), "replaced", None, "100"),
            Order("b", 1, "10", us(NOON + 3_600), us(NOON + 3_700), "filled", None, "7", "a"),
        ],
    )
    took = {
        (r.by, r.agent or r.key, r.to): r.sketch.quantile(Fraction(1, 2))
        for r in executed(story).day.latencies
    }
    size = "1,000 to 10,000"  # 10 at the 100 of the first order's arrival
    for cut in (("agent", "alpha"), ("hour", "12"), ("size", size)):
        near(took[*cut, "first"], 3_610_000)
        near(took[*cut, "last"], 3_700_000)
    near(took["venue", "X", "last"], 3_610_000)
    near(took["venue", "Y", "first"], 3_700_000)
    (hour,) = (g.key for g in executed(story).day.groups if g.by == "hour")
    assert hour == "12"


def test_latencies_are_of_every_cut_what_the_fills_say() -> None:
    """An oracle that looks at one chain after the other."""
    story = Story(
        fills=[
            Execution("1", "a", us(NOON + 1), 1, "4", "101"),
            Execution("2", "a", us(NOON + 9), 1, "1", "101", venue="Y"),
            Execution("3", "b", us(NOON + 3_604), 1, "2", "101", venue="Y", agent="beta"),
            Execution("4", "c", us(NOON + 3_700), 1, "900", "101", agent="beta"),
        ],
        orders=[
            Order("a", 1, "5", us(NOON), us(NOON + 9), "filled", None, "100"),
            Order("b", 1, "2", us(NOON + 3_600), us(NOON + 3_604), "filled", None, "100",
                  agent="beta"),
            Order("c", 1, "900", us(NOON + 3_600), us(NOON + 3_800), "cancelled", None, "100",
                  agent="beta"),
        ],
    )  # fmt: skip
    found = {
        (r.by, r.agent or r.key, r.to): [int(w) for _, w in r.sketch.weights]
        for r in executed(story).day.latencies
    }
    for to in ("first", "last"):
        assert {cut[:2]: sum(n) for cut, n in found.items() if cut[2] == to} == {
            ("agent", "alpha"): 1, ("agent", "beta"): 2,
            ("hour", "12"): 1, ("hour", "13"): 2,
            ("size", "below 1,000"): 2, ("size", "10,000 to 100,000"): 1,
            ("venue", "X"): 2, ("venue", "Y"): 2,
        }  # fmt: skip


def test_hours_and_sizes_of_each_currency_stand_apart() -> None:
    """BBB is in EUR, with a multiplier of 50."""
    story = Story(
        fills=[
            Execution("1", "o", us(NOON + 1), 1, "2", "101"),
            Execution("2", "o", us(NOON + 3_601), 1, "3", "102"),
            Execution("3", "p", us(NOON + 2), -1, "1", "20.5", instrument="BBB"),
            Execution("4", None, us(NOON + 2), 1, "1", "100"),  # of no order: in neither
            Execution("5", "q", us(NOON + 3_602), 1, "1", "103"),
        ],
        orders=[
            Order("o", 1, "5", us(NOON), us(NOON + 9_000), "filled", None, "100"),
            Order("p", -1, "1", us(NOON), us(NOON + 9), "filled", None, "20", instrument="BBB"),
            Order("q", 1, "10", us(NOON), us(NOON + 9_000), "cancelled", None, "100"),
        ],
    )
    day = executed(story).day
    assert [(r.hour, r.currency, r.fills, r.cost, r.notional) for r in day.hours] == [
        (12, "EUR", 1, Decimal("-25"), 1000),  # sold half above: −0.5 × 50
        (12, "USD", 1, 2, 200),
        (13, "USD", 2, 6 + 3, 300 + 100),
    ]
    assert [(r.size, r.currency, r.fills, r.cost, r.notional) for r in day.sizes] == [
        ("1,000 to 10,000", "EUR", 1, Decimal("-25"), 1000),
        ("1,000 to 10,000", "USD", 1, 3, 100),
        ("below 1,000", "USD", 2, 8, 500),
    ]
    joined = joined_days([day, day])
    assert [(r.hour, r.currency, r.cost) for r in joined.hours] == [
        (12, "EUR", -50), (12, "USD", 4), (13, "USD", 18),
    ]  # fmt: skip
    assert [(r.currency, r.fills, r.notional) for r in joined.sizes] == [
        ("EUR", 2, 2000), ("USD", 2, 200), ("USD", 4, 1000),
    ]  # fmt: skip


def test_the_size_of_a_fill_is_what_its_own_order_wanted_at_the_chains_arrival() -> None:
    story = Story(
        fills=[
            Execution("1", "a", us(NOON + 1), 1, "4", "101"),
            Execution("2", "b", us(NOON + 21), 1, "6", "101"),
            Execution("3", "c", us(NOON + 21), 1, "6", "101"),
        ],
        orders=[
            Order("a", 1, "9.99", us(NOON), us(NOON + 20), "replaced", None, "100"),
            Order("b", 1, "10", us(NOON + 20), us(NOON + 70), "filled", None, "1", "a"),
            Order("c", 1, "0", us(NOON + 20), us(NOON + 70), "filled", None, "1"),
        ],
    )
    assert {(r.size, r.fills) for r in executed(story).day.sizes} == {
        ("below 1,000", 1), ("1,000 to 10,000", 1), ("no order quantity", 1),
    }  # fmt: skip


def test_an_overfill_hides_no_unfilled_order() -> None:
    story = Story(
        fills=[
            Execution("1", "a", us(NOON + 1), 1, "15", "100"),
            Execution("2", "c", us(NOON + 1), 1, "7.5", "100"),
        ],
        orders=[
            Order("a", 1, "10", us(NOON), us(NOON + 20), "filled", None, "100"),
            Order("b", 1, "10", us(NOON), us(NOON + 20), "cancelled", None, "100"),
            Order("c", 1, "7", us(NOON), us(NOON + 20), "filled", None, "100"),
        ],
    )
    made = executed(story)
    (row,) = made.orders.to_dict("records")
    assert (row["ordered"], row["filled"]) == (27, 10 + 0 + 7)
    assert (row["overfilled"], row["excess"]) == (2, Decimal("5.5"))
    (finding,) = made.findings
    assert (finding.check, finding.severity, finding.count, finding.samples) == (
        "order filled beyond its quantity", "warning", 2, ("a (15 of 10)", "c (7.5 of 7)"),
    )  # fmt: skip
    for by in ("hour", "size"):
        groups = [g for g in made.day.groups if g.by == by]
        assert (sum(g.filled for g in groups), sum(g.ordered for g in groups)) == (1700, 2700)
    # A venue's is a share of all that was filled.
    assert [g.filled for g in made.day.groups if g.by == "venue"] == [2250]


def test_a_filled_chain_needs_no_mid_at_its_end_and_another_does() -> None:
    orders = [
        Order("full", 1, "10", us(1), us(9), "filled", "100", "101"),
        Order("part", 1, "10", us(1), us(9), "cancelled", "100", "101"),
    ]
    fill = Execution("1", "full", us(2), 1, "10", "102")
    (row,) = executed(Story([fill], orders)).day.shortfall
    assert (row.chains, row.covered, row.notional) == (2, 1, 1000)
    assert row.delay_perold + row.trading == 10 * 1 + 10 * 1
    agrees(Story([fill], orders))


def test_fees_in_another_currency_are_listed_apart() -> None:
    story = Story(
        fills=[
            Execution("1", "o", us(2), -1, "5", "9", fee="1.5"),
            Execution("2", "o", us(3), -1, "5", "9", fee="0.002", fee_currency="BTC"),
        ],
        orders=[Order("o", -1, "10", us(1), us(9), "filled", "10", "10")],
    )
    (row,) = executed(story).day.shortfall
    assert row.fees == Decimal("1.5")
    assert [(f.currency, f.amount) for f in row.fees_apart] == [("BTC", Decimal("0.002"))]
    agrees(story)


# Mids ----------------------------------------------------------------------------------------

ONE = Order("o", 1, "10", us(NOON), us(NOON + 90), "filled", None, "100")


def mid_of(quotes: Sequence[Quote], name: str = "fill_mid", when: int = us(NOON)) -> Any:
    """What a fill of one unit at 100 is compared to, None where there is nothing."""
    fill = Execution("1", "o", when, 1, "1", "100")
    story = Story([fill], [ONE], quotes)
    agrees(story)
    (row,) = executed(story).slippage.to_dict("records")
    return next((b.notional for b in row["benchmarks"] if b.benchmark == name), None)


@pytest.mark.parametrize(
    ("quotes", "mid"),
    [
        ([], None),
        ([Quote(us(NOON), "99", "100")], "99.5"),  # at the very instant
        ([Quote(us(NOON) + 1, "99", "100")], None),  # the fill came first
        ([Quote(us(NOON - 1), "98", "99"), Quote(us(NOON) + 1, "99", "100")], "98.5"),
        ([Quote(us(NOON - 60), "99", "100")], "99.5"),  # sixty seconds old: just in time
        ([Quote(us(NOON - 60) - 1, "99", "100")], None),  # a microsecond too old
        ([Quote(us(NOON), "99", "100", instrument="BBB")], None),
        # At the same instant the last one recorded counts, in whatever order they come.
        ([Quote(us(NOON), "9", "11", recorded=2), Quote(us(NOON), "5", "7", recorded=1)], "10"),
        ([Quote(us(NOON), "5", "7", recorded=1), Quote(us(NOON), "9", "11", recorded=2)], "10"),
        ([Quote(us(NOON), "9", "11", recorded=1), Quote(us(NOON), "5", "7", recorded=2)], "6"),
        # Recorded at once as well, the higher mid: any rule will do that is always the same.
        ([Quote(us(NOON), "9", "11"), Quote(us(NOON), "5", "7")], "10"),
        # A crossed one is no quote: the one before it still stands.
        ([Quote(us(NOON - 9), "9", "11"), Quote(us(NOON), "11", "9")], "10"),
    ],
)
def test_the_mid_is_of_the_last_quote_at_or_before_the_fill(
    quotes: list[Quote], mid: str | None
) -> None:
    found = mid_of(quotes)
    assert found == (None if mid is None else Decimal(mid))


def test_a_markout_reads_the_mid_then_and_is_none_where_quoting_had_stopped() -> None:
    going_on = [Quote(us(NOON), "99", "101"), Quote(us(NOON + 9), "89", "91")]
    assert mid_of(going_on, "markout_1s") == 100
    assert mid_of(going_on, "markout_10s") is None  # the last quote of all is before it
    assert mid_of([*going_on, Quote(us(NOON + 10), "79", "81")], "markout_10s") == 80
    assert mid_of([*going_on, Quote(us(NOON + 70), "79", "81")], "markout_10s") == 90
    # Sixty seconds on, the quote of +9 s is 51 s old, and the next one is 61 s away.
    assert mid_of([*going_on, Quote(us(NOON + 121), "7", "9")], "markout_60s") is None


def test_a_markout_looks_beyond_the_session_and_no_further_than_the_limit() -> None:
    late = us(86_399)
    quotes = [Quote(us(86_390), "99", "101"), Quote(us(86_400 + 58), "9", "11")]
    assert mid_of(quotes, "markout_60s", late) is None
    assert mid_of([*quotes, Quote(us(86_400 + 119), "1", "3")], "markout_60s", late) == 10


@pytest.mark.parametrize("second", [86_400 + 30, 86_400 + 90, 86_400 + 119, 86_399])
def test_the_last_quotes_of_one_instrument_are_not_the_first_of_the_next(second: int) -> None:
    story = Story(
        [Execution("1", None, us(0), 1, "1", "100", instrument="BBB")],
        [],
        [Quote(us(second), "9", "11"), Quote(us(-60) - 1, "9", "11", instrument="BBB")],
    )
    agrees(story)
    (row,) = executed(story).slippage.to_dict("records")
    assert row["benchmarks"] == ()


def test_adverse_is_positive() -> None:
    """We bought, and the mid fell: that is what the markout must call a cost."""
    quotes = [Quote(us(NOON), "99", "101"), Quote(us(NOON + 1), "97", "99")]
    for side, cost in ((1, 2), (-1, -2)):
        story = Story(
            [Execution("1", "o", us(NOON), side, "1", "100")], [replace(ONE, side=side)], quotes
        )
        (row,) = executed(story).slippage.to_dict("records")
        (markout,) = (b for b in row["benchmarks"] if b.benchmark == "markout_1s")
        assert markout.cost == cost


# Interval VWAP -------------------------------------------------------------------------------


def test_the_interval_runs_from_arrival_to_the_last_fill_or_the_end() -> None:
    tape = [
        Trade(us(NOON) - 1, "1", "9"),  # before arrival
        Trade(us(NOON), "100", "1"),
        Trade(us(NOON + 90), "101", "2"),  # when the order was done
        Trade(us(NOON + 90) + 1, "500", "9"),  # after it
        Trade(us(NOON), "7", "9", instrument="BBB"),
    ]
    story = Story([Execution("1", "o", us(NOON + 5), 1, "3", "100")], [ONE], None, tape)
    (row,) = executed(story).slippage.to_dict("records")
    (vwap,) = (b for b in row["benchmarks"] if b.benchmark == "interval_vwap")
    # (100 + 2 × 101) / 3 = 100.666…, to four digits beyond the tick of 0.01.
    assert vwap.notional == 3 * Decimal("100.666667")
    agrees(story)


@pytest.mark.parametrize(("units", "vwap"), [("1", "100"), ("3", "100.000002")])
def test_a_vwap_is_rounded_half_to_even(units: str, vwap: str) -> None:
    # 100 + 0.01 × 1 / 20000 is 100.0000005, and with three units 100.0000015.
    rest = str(20_000 - int(units))
    tape = [Trade(us(NOON), "100", rest), Trade(us(NOON), "100.01", units)]
    story = Story([Execution("1", "o", us(NOON + 5), 1, "1", "100")], [ONE], None, tape)
    (row,) = executed(story).slippage.to_dict("records")
    assert [b.notional for b in row["benchmarks"]] == [Decimal(vwap)]
    agrees(story)


@pytest.mark.parametrize("instrument", ["AAA", "BBB"])
def test_an_order_of_earlier_days_is_compared_to_this_sessions_market(instrument: str) -> None:
    tape = [
        Trade(us(NOON + 7_200), "7", "9"),  # of AAA, which stands before BBB on the line
        Trade(us(NOON, -1), "1", "9", instrument),
        Trade(us(3), "100", "1", instrument),
    ]
    old = replace(ONE, placed=us(NOON, -1), done=-1, status="working", instrument=instrument)
    fill = Execution("1", "o", us(5), 1, "1", "100", instrument)
    (row,) = executed(Story([fill], [old], None, tape)).slippage.to_dict("records")
    assert [b.notional for b in row["benchmarks"]] == [100 if instrument == "AAA" else 100 * 50]
    agrees(Story([fill], [old], None, tape))


# Chains and groups ---------------------------------------------------------------------------


def test_a_chain_is_one_order_by_the_arrival_of_its_first() -> None:
    story = Story(
        fills=[
            Execution("1", "a", us(NOON + 1), 1, "4", "101"),
            Execution("2", "c", us(NOON + 65), 1, "6", "102", venue="Y"),
        ],
        orders=[
            Order("a", 1, "10", us(NOON), us(NOON + 20), "replaced", "99", "100"),
            Order("b", 1, "10", us(NOON + 20), us(NOON + 40), "replaced", "7", "7", "a"),
            Order("c", 1, "10", us(NOON + 40), us(NOON + 70), "filled", "8", "8", "b"),
            Order("x", 1, "10", us(NOON), us(NOON + 1), "rejected", "99", "100", reason="limit"),
        ],
    )
    agrees(story)
    made = executed(story)
    assert made.orders[["reject_reason", "orders", "orders_full", "filled"]].values.tolist() == [
        ["", 1, 1, Decimal(10)],
        ["limit", 1, 0, Decimal(0)],
    ]
    hour, size = (next(g for g in made.day.groups if g.by == by) for by in ("hour", "size"))
    assert (hour.key, hour.agent, hour.currency) == ("12", "alpha", "USD")
    assert size.key == "1,000 to 10,000"  # 10 at 100: a bound belongs to what is above it
    for group in (hour, size):
        assert (group.orders, group.orders_full, group.orders_any) == (1, 1, 1)
        assert (group.replaced, group.replaces, group.cancelled) == (1, 2, 0)
        assert (group.ordered, group.filled) == (1000, 1000)
    venues = [(g.key, g.orders, g.filled) for g in made.day.groups if g.by == "venue"]
    assert venues == [("X", 1, 400), ("Y", 1, 600)]


def test_an_order_that_another_replaced_is_no_order_of_its_own() -> None:
    """Some venues say 'cancelled' of what was replaced."""
    story = Story(
        fills=[Execution("1", "b", us(NOON + 30), 1, "10", "101")],
        orders=[
            Order("a", 1, "10", us(NOON), us(NOON + 20), "cancelled", "99", "100"),
            Order("b", 1, "10", us(NOON + 20), us(NOON + 40), "filled", "99", "100", "a"),
        ],
    )
    made = executed(story)
    assert made.orders[["orders", "orders_full", "ordered", "filled"]].values.tolist() == [
        [1, 1, Decimal(10), Decimal(10)]
    ]


def test_an_order_without_a_quantity_is_a_finding_and_in_no_rate() -> None:
    orders = [
        Order("a", 1, "0", us(NOON), us(NOON + 20), "cancelled", "99", "100"),
        Order("b", 1, "10", us(NOON), us(NOON + 20), "cancelled", "99", "100"),
    ]
    made = executed(Story([], orders))
    assert made.orders[["orders", "orders_full", "ordered"]].values.tolist() == [
        [1, 0, Decimal(10)]
    ]
    (finding,) = made.findings
    assert (finding.check, finding.count, finding.samples) == (
        "order without its quantity", 1, ("a",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("quantity", "size"),
    [
        ("9.99", "below 1,000"),
        ("10", "1,000 to 10,000"),
        ("100", "10,000 to 100,000"),
        ("99.99", "1,000 to 10,000"),
        ("10000000", "1,000,000,000 and more"),
    ],
)
def test_sizes_are_exact_at_their_bounds(quantity: str, size: str) -> None:
    order = Order("o", 1, quantity, us(1), us(2), "cancelled", None, "100")
    (found,) = (g for g in executed(Story((), [order])).day.groups if g.by == "size")
    assert (found.key, found.orders_any) == (size, 0)


def test_the_multiplier_is_in_the_size() -> None:
    order = Order("o", 1, "1", us(1), us(2), "cancelled", None, "20", instrument="BBB")
    (found,) = (g for g in executed(Story((), [order])).day.groups if g.by == "size")
    assert (found.key, found.currency, found.ordered) == ("1,000 to 10,000", "EUR", 1 * 20 * 50)


def test_orders_without_arrival_or_instrument_are_counted_and_have_no_value() -> None:
    orders = [
        Order("a", 1, "5", us(1), us(2), "cancelled"),
        Order("b", 1, "5", us(1), us(2), "cancelled", None, "7", instrument="ZZZ"),
    ]
    made = executed(Story((), orders))
    sizes = [g for g in made.day.groups if g.by == "size"]
    assert [(g.key, g.currency, g.orders, g.valued, g.ordered) for g in sizes] == [
        ("no arrival price", "", 1, 0, 0),
        ("no arrival price", "USD", 1, 0, 0),
    ]


def test_a_fill_before_its_order_is_a_finding_and_in_no_latency() -> None:
    early = Execution("1", "o", us(NOON - 1), 1, "5", "100")
    late = Execution("2", "o", us(NOON + 1), 1, "5", "100", venue="Y")
    made = executed(Story([early, late], [ONE]))
    assert [(f.check, f.count, f.samples) for f in made.findings] == [
        ("fill before its order was placed", 1, ("o",))
    ]
    assert made.day.latencies == ()


def test_a_fill_without_its_order_is_a_finding_and_has_its_mid_all_the_same() -> None:
    fills_ = [
        Execution("1", None, us(NOON), 1, "1", "100"),
        Execution("2", "gone", us(NOON), 1, "1", "100"),
    ]
    story = Story(fills_, [ONE], [Quote(us(NOON), "99", "99")])
    agrees(story)
    made = executed(story)
    assert [(f.check, f.count) for f in made.findings] == [("fill without its order", 2)]
    (row,) = made.slippage.to_dict("records")
    assert (row["fills"], row["fills_covered"]) == (2, 0)


@pytest.mark.parametrize(
    ("zone", "when", "hour"),
    [
        ("UTC", us(NOON), 12),
        ("America/New_York", us(NOON), 7),
        ("America/New_York", us(7 * 3_600 - 1, 6), 1),  # 8 March 2026: the clock leaps to 3
        ("America/New_York", us(7 * 3_600, 6), 3),
        ("Asia/Kathmandu", us(NOON + 15 * 60), 18),  # + 5:45
        ("Asia/Kathmandu", us(NOON + 15 * 60 - 1), 17),
    ],
)
def test_hours_are_local(zone: str, when: int, hour: int) -> None:
    import numpy as np

    assert local_hours(np.array([when]), zone).tolist() == [hour]


def test_a_view_that_the_ledger_has_not_is_named_and_asked_for_nothing() -> None:
    made = executed(Story([Execution("1", "o", us(NOON + 1), 1, "1", "100")], [ONE]))
    assert [name for name, _ in made.day.absent] == ["market_trades", "quotes"]
    assert all(isinstance(why, Missing) for _, why in made.day.absent)
    assert made.day.quote_max_age_s is None
    assert {s.benchmark for s in made.day.sketches} == {"arrival"}


# Extremes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tick", "price", "arrival", "quantity"),
    [
        ("0.00000000000001", "0.00000000001234", "0.00000000001", "100000000000"),
        ("0.01", "1000000000.01", "999999999.99", "0.00000001"),
        ("0.00000001", "1000000000.12345678", "999999999.87654321", "123456789.12345678"),
        ("1", "9223372036854775807", "1", "9223372036854775807"),
        ("0.01", "-37.63", "-36.5", "1000"),
    ],
)
def test_extreme_numbers_are_exact(tick: str, price: str, arrival: str, quantity: str) -> None:
    order = Order("o", -1, quantity, us(NOON), us(NOON + 9), "filled", arrival, arrival)
    story = Story(
        [Execution("1", "o", us(NOON + 1), -1, quantity, price)],
        [order, replace(order, order_id="p", status="cancelled", done=us(NOON + 3))],
        [Quote(us(NOON), arrival, price) if Fraction(arrival) <= Fraction(price)
         else Quote(us(NOON), price, arrival)],
        [Trade(us(NOON), price, quantity), Trade(us(NOON + 1), arrival, "1")],
        (Instrument("AAA", "USD", "1", tick=tick),),
    )  # fmt: skip
    agrees(story)


def test_instruments_of_very_different_prices_on_one_day() -> None:
    story = Story(
        [
            Execution("1", "o", us(NOON + 1), 1, "1", "0.00000000001"),
            Execution("2", "p", us(NOON + 1), -1, "30000", "1000000000", instrument="BBB"),
        ],
        [
            Order("o", 1, "1", us(NOON), us(NOON + 9), "filled", "0.00000000002", "0.00000000003"),
            Order("p", -1, "30001", us(NOON), us(NOON + 9), "expired", "1000000001", "999999999",
                  instrument="BBB"),
        ],
        [Quote(us(NOON), "999999999", "1000000000.5", instrument="BBB")],
        [Trade(us(NOON), "999999999.5", "0.3", instrument="BBB")],
    )  # fmt: skip
    agrees(story)


# Random ledgers ------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(stories())
def test_every_sum_is_the_oracles(story: Story) -> None:
    agrees(story)


@settings(deadline=None, max_examples=8)
@given(stories())
def test_fills_in_parts_are_the_same(story: Story) -> None:
    whole = executed(story)
    part, fills.PART = fills.PART, 2
    try:
        cut = executed(story)
    finally:
        fills.PART = part
    assert canonical(cut.day) == canonical(whole.day)
    assert cut.slippage.equals(whole.slippage)


@settings(deadline=None, max_examples=12)
@given(stories())
def test_a_session_in_parts_joins_to_the_session(story: Story) -> None:
    whole = executed(story)
    parts = [
        executed(
            replace(
                story,
                fills=[f for f in story.fills if f.instrument == name],
                orders=[o for o in story.orders if o.instrument == name],
            )
        )
        for name in ("AAA", "BBB")
    ]
    assert canonical(joined_days([p.day for p in parts])) == canonical(whole.day)


@settings(deadline=None, max_examples=25)
@given(st.booleans().flatmap(lambda crossing: stories(days=3, crossing=crossing)))
def test_days_add_up_to_the_period(story: Story) -> None:
    """Also chains that go over midnight: each counts on the day on which it became final."""
    days = [executed(story, e.days_from(MONDAY + timedelta(n))).day for n in range(3)]
    whole = executed(story, e.days_from(MONDAY, 3)).day
    assert canonical(joined_days(days)) == canonical(whole)
    assert canonical(joined_days(days[::-1])) == canonical(whole)


def test_a_bucket_holds_its_own_middle() -> None:
    story = Story([Execution("1", "o", us(NOON + 1), 1, "1", "100.02")], [ONE])
    (row,) = executed(story).day.sketches
    ((bucket, weight),) = row.sketch.weights
    low, high = bounds(bucket)
    assert low <= 2 < high  # 0.02 / 100 is 2 bps
    assert weight == 100


def test_no_fill_and_no_order_is_nothing() -> None:
    made = executed(Story())
    assert len(made.slippage) == len(made.orders) == 0
    assert made.day.shortfall == made.day.groups == made.day.sketches == ()
