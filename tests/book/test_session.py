"""One session of the book: what a fill does to lots, cells and cash, exactly and in any order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book import EMPTY_BOOK, Book, BookDay
from reporting.book.session import sum_by, trade
from reporting.model import epoch_ms
from reporting.seal import canonical

from .drawn import (
    MONDAY,
    Fill,
    Instrument,
    Oracle,
    at,
    fills_frame,
    instruments_frame,
    marks_frame,
    on,
)

AAA, BBB = Instrument("AAA"), Instrument("BBB", currency="EUR", multiplier="50", tick="0.25")
TUESDAY = MONDAY + timedelta(1)


def run(
    fills: list[Fill],
    marks: dict[str, str] | None = None,
    opening: Book = EMPTY_BOOK,
    instruments: tuple[Instrument, ...] = (AAA, BBB),
) -> BookDay:
    return trade(
        opening,
        instruments_frame(*instruments),
        fills_frame(fills),
        marks_frame({"AAA": "21", "BBB": "100"} if marks is None else marks),
        epoch_ms(at(MONDAY)),
    )


def buy(fill_id: str, quantity: str, price: str, **more: object) -> Fill:
    return Fill(fill_id, 1, quantity, price, **more)  # type: ignore[arg-type]


def sell(fill_id: str, quantity: str, price: str, **more: object) -> Fill:
    return Fill(fill_id, -1, quantity, price, **more)  # type: ignore[arg-type]


# Drawn by hand -------------------------------------------------------------------------------


def test_one_day_by_hand() -> None:
    day = run([buy("1", "100", "10"), buy("2", "100", "20", fee="1.5"), sell("3", "100", "21")])
    (cell,) = day.cells
    (holding,) = day.holdings
    assert cell.realised == holding.realised == 100 * (21 - 10)
    assert (cell.bought, cell.sold, cell.fills) == (200, 100, 3)
    assert cell.fees == Decimal("1.5")
    assert cell.cash_close == -100 * 10 - 100 * 20 + 100 * 21 - Decimal("1.5")
    assert cell.position_close == holding.position_close == 100
    assert cell.value_close == holding.value_close == 100 * 21
    assert holding.cost_close == 100 * 20
    assert (cell.cash_open, cell.value_open, holding.cost_open) == (0, 0, 0)
    assert [row.lots for row in day.closing.lots] == ["100@20"]
    assert day.marks[0].value == 2100
    assert day.marks[0].symbol == "AAA.S"
    assert day.findings == ()


def test_the_multiplier_is_in_money_and_not_in_quantity() -> None:
    day = run(
        [buy("1", "2", "100.25", instrument="BBB"), sell("2", "1", "101.00", instrument="BBB")]
    )
    (cell,) = day.cells
    assert cell.currency == "EUR"
    assert cell.position_close == 1
    assert cell.realised == Decimal("0.75") * 50
    assert cell.cash_close == (Decimal("-200.50") + 101) * 50
    assert cell.value_close == 100 * 50
    assert day.holdings[0].cost_close == Decimal("100.25") * 50


def test_a_short_and_its_flip() -> None:
    day = run([sell("1", "10", "22"), buy("2", "25", "20")])
    (cell,) = day.cells
    assert cell.realised == 10 * (22 - 20)
    assert cell.position_close == 15
    assert day.closing.lots[0].lots == "15@20"


def test_accounts_keep_their_own_lots_and_strategies_share_them() -> None:
    day = run(
        [
            buy("1", "10", "10", strategy="trend"),
            sell("2", "10", "12", strategy="hedge"),
            buy("3", "10", "11", account="acc2"),
        ]
    )
    realised = {(c.strategy, c.account): c.realised for c in day.cells}
    # The strategy whose fill closes the lot has the realised P&L; each has its own cash.
    assert realised == {("trend", "acc1"): 0, ("hedge", "acc1"): 20, ("trend", "acc2"): 0}
    assert {h.account: h.position_close for h in day.holdings} == {"acc1": 0, "acc2": 10}
    assert [(row.account, row.lots) for row in day.closing.lots] == [("acc2", "10@11")]
    assert [m.value for m in day.marks] == [10 * 21]


def test_a_fee_in_another_currency_is_a_cell_of_its_own() -> None:
    day = run([buy("1", "1", "10", fee="0.30", fee_currency="GBP")])
    cells = {c.currency: c for c in day.cells}
    assert set(cells) == {"USD", "GBP"}
    assert (cells["USD"].fees, cells["USD"].cash_close) == (0, -10)
    gbp = cells["GBP"]
    assert (gbp.fees, gbp.cash_close) == (Decimal("0.3"), Decimal("-0.3"))
    assert (gbp.position_close, gbp.value_close, gbp.fills) == (0, 0, 0)


def test_a_rebate_is_a_negative_fee() -> None:
    (cell,) = run([buy("1", "1", "10", fee="-0.02")]).cells
    assert cell.cash_close == Decimal("-9.98")


def test_a_missing_mark_values_nothing() -> None:
    day = run([buy("1", "5", "10")], marks={})
    assert day.cells[0].value_close is None
    assert day.holdings[0].value_close is None
    (mark,) = day.marks
    assert (mark.price, mark.value, mark.stale) == (None, None, False)
    # A flat position is worth 0 whatever the mark.
    flat = run([buy("1", "5", "10"), sell("2", "5", "11")], marks={})
    assert (flat.cells[0].value_close, flat.marks) == (0, ())


@pytest.mark.parametrize(("before_ms", "stale"), [(1, True), (0, False), (-1, False)])
def test_a_mark_from_before_the_session_is_stale(before_ms: int, stale: bool) -> None:
    day = trade(
        EMPTY_BOOK,
        instruments_frame(AAA),
        fills_frame([buy("1", "5", "10")]),
        marks_frame({"AAA": "21"}, at(MONDAY) - timedelta(milliseconds=before_ms)),
        epoch_ms(at(MONDAY)),
    )
    assert day.marks[0].stale is stale
    assert day.cells[0].value_close == 5 * 21  # it values all the same, and is listed


@pytest.mark.parametrize(
    "bad",
    [
        {"instrument": "ZZZ"},
        {"instrument": None},
        {"account": None},
        {"side": 0},
        {"side": 2},
        {"quantity": "0"},
        {"quantity": "-1"},
        {"fee": "1", "fee_currency": None},
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_fill_that_can_not_be_booked_is_counted(bad: dict[str, object], first: bool) -> None:
    good = [buy("2", "1", "10", instrument="BBB", account="acc2"), buy("3", "1", "11")]
    strange = replace(buy("9", "1", "10"), **bad)  # type: ignore[arg-type]
    day = run([strange, *good] if first else [*good, strange])
    (finding,) = [f for f in day.findings if f.severity == "error"]
    assert (finding.check, finding.count, finding.samples) == ("fill not booked", 1, ("9",))
    assert day.fills == 2
    assert canonical(day.closing) == canonical(run(good).closing)


@pytest.mark.parametrize("first", [True, False])
def test_nothing_said_is_a_group_of_its_own(first: bool) -> None:
    # A ledger without strategies, and fills without fee or fee currency, are no errors.
    silent = buy("1", "1", "10", strategy=None, agent=None, fee_currency=None)
    loud = [
        buy("2", "2", "10", strategy="b", agent="y", fee="1", fee_currency="EUR"),
        buy("3", "3", "10", strategy="a", agent="x", fee="2", fee_currency="USD"),
    ]
    day = run([silent, *loud] if first else [*loud, silent])
    assert day.findings == ()
    found = {(c.strategy, c.agent, c.currency): (c.bought, c.fees) for c in day.cells}
    assert found == {
        ("", "", "USD"): (1, 0),
        ("a", "x", "USD"): (3, 2),
        ("b", "y", "USD"): (2, 0),
        ("b", "y", "EUR"): (0, 1),
    }


@pytest.mark.parametrize(
    ("tick", "price", "off"),
    [
        ("0.01", "10.005", True),
        ("0.01", "10.01", False),
        ("0.25", "100.50", False),
        ("0.25", "100.5", False),  # a tick with more digits than any price of the day
        ("0.25", "100.2", True),
        ("0.25", "100", False),
        ("5", "100", False),
        ("5", "101", True),
    ],
)
def test_a_price_off_its_tick_is_named_and_booked_exactly(tick: str, price: str, off: bool) -> None:
    day = run([buy("1", "1", price)], instruments=(replace(AAA, tick=tick),))
    assert [f.check for f in day.findings] == (["fill price off its tick"] if off else [])
    assert day.cells[0].cash_close == -Decimal(price)


@pytest.mark.parametrize(
    ("lot", "quantity", "off"), [("1", "0.5", True), ("0.5", "2", False), ("100", "150", True)]
)
def test_a_quantity_off_its_lot_is_named(lot: str, quantity: str, off: bool) -> None:
    day = run([buy("1", quantity, "10")], instruments=(replace(AAA, lot=lot),))
    assert [f.check for f in day.findings] == (["fill quantity off its lot"] if off else [])
    assert day.cells[0].position_close == Decimal(quantity)


def test_a_day_without_fills_keeps_the_book_and_revalues_it() -> None:
    opening = run([buy("1", "5", "10")]).closing
    day = run([], marks={"AAA": "30"}, opening=opening)
    (cell,) = day.cells
    assert (cell.value_open, cell.value_close) == (5 * 21, 5 * 30)
    assert (cell.cash_open, cell.cash_close, cell.fills) == (-50, -50, 0)
    assert day.closing.lots == opening.lots


def test_an_empty_book_and_no_fills() -> None:
    day = run([])
    assert (day.cells, day.holdings, day.marks, day.closing.lots) == ((), (), (), ())


def test_sums_beyond_64_bits_are_exact() -> None:
    import numpy as np

    found = sum_by(np.array([0, 0, 1]), 2, np.array([2**62, 2**62, -5]))
    assert found.tolist() == [2**63, -5]


def test_prices_and_quantities_beyond_64_bits() -> None:
    price, quantity = "1000000000.00000000001", "999999999.00000001"
    day = run(
        [buy("1", quantity, price), sell("2", quantity, "1000000000.5")],
        instruments=(Instrument("AAA", tick="0.00000000001", lot="0.00000001"),),
    )
    (cell,) = day.cells
    gain = Fraction(quantity) * (Fraction("1000000000.5") - Fraction(price))
    assert Fraction(cell.realised) == gain
    assert Fraction(cell.cash_close) == gain
    assert day.closing.lots == ()


# By property ---------------------------------------------------------------------------------

#: Two days with different numbers of digits, so that their scales differ.
COARSE = (["1", "2", "3", "10"], ["9", "10", "11", "12.5"])
FINE = (["0.5", "1.25", "2", "3"], ["9.875", "10.0625", "11", "10.00000001"])


def fills_of(digits: tuple[list[str], list[str]]) -> st.SearchStrategy[list[Fill]]:
    quantities, prices = digits
    one = st.builds(
        Fill,
        fill_id=st.just(""),
        side=st.sampled_from([1, -1]),
        quantity=st.sampled_from(quantities),
        price=st.sampled_from(prices),
        instrument=st.sampled_from(["AAA", "BBB"]),
        account=st.sampled_from(["acc1", "acc2"]),
        strategy=st.sampled_from(["trend", "hedge"]),
        agent=st.sampled_from(["alpha", "beta"]),
        fee=st.sampled_from(["0", "0.01", "-0.005"]),
        fee_currency=st.sampled_from(["USD", "EUR"]),
        when=st.integers(0, 3).map(lambda s: at(MONDAY, s)),  # equal times are the rule
    )
    return st.lists(one, max_size=14).map(
        lambda fills: [replace(f, fill_id=f"{i:02d}") for i, f in enumerate(fills)]
    )


FREE = (
    replace(AAA, tick="0.00000001", lot="0.25"),
    replace(BBB, tick="0.00000001", lot="0.25"),
)
MARKS = {"AAA": "10.5", "BBB": "9.75"}


@settings(deadline=None, max_examples=60)
@given(fills_of(FINE), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(fills: list[Fill], random: object) -> None:
    shuffled = list(fills)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert canonical(run(shuffled, MARKS)) == canonical(run(fills, MARKS))


@settings(deadline=None, max_examples=80)
@given(fills_of(FINE))
def test_the_book_equals_the_oracle(fills: list[Fill]) -> None:
    day = run(fills, MARKS, instruments=FREE)
    oracle = Oracle({i.name: i for i in FREE}).trade(fills)
    value = oracle.value(MARKS)
    for cell in day.cells:
        assert Fraction(cell.cash_close) == oracle.cash[cell.key]
        assert Fraction(cell.realised) == oracle.realised.get(cell.key, 0)
        assert Fraction(cell.fees) == oracle.fees.get(cell.key, 0)
        assert Fraction(cell.position_close) == oracle.position.get(cell.key, 0)
        assert cell.value_close is not None
        assert Fraction(cell.value_close) == value.get(cell.key, 0)
    paid = {
        (f.strategy, f.agent, f.account, f.instrument, f.fee_currency)
        for f in fills
        if Fraction(f.fee)
    }
    assert {c.key for c in day.cells} == {*oracle.position, *paid}
    lots = {
        (row.account, row.instrument): [
            (Fraction(int(u), 10**day.closing.quantity_scale),
             Fraction(int(p), 10**day.closing.price_scale))
            for u, p in (lot.split("@") for lot in row.lots.split())
        ]
        for row in day.closing.lots
    }  # fmt: skip
    assert lots == {k: [tuple(lot) for lot in v] for k, v in oracle.lots.items() if v}
    unrealised = sum(Fraction(h.value_close or 0) - Fraction(h.cost_close) for h in day.holdings)
    assert unrealised == oracle.unrealised(MARKS)


@settings(deadline=None, max_examples=80)
@given(fills_of(COARSE), fills_of(FINE), st.booleans())
def test_carrying_the_book_equals_trading_at_once(
    first: list[Fill], second: list[Fill], fine_first: bool
) -> None:
    if fine_first:
        first, second = second, first
    second = on(TUESDAY, second, "t")
    monday = run(first, {"AAA": "8", "BBB": "15"}, instruments=FREE)
    # What is carried goes through JSON, as it does in the store.
    carried = Book.model_validate_json(canonical(monday.closing))
    tuesday = run(second, MARKS, opening=carried, instruments=FREE)
    whole = run([*first, *second], MARKS, instruments=FREE)

    assert canonical(tuesday.closing) == canonical(whole.closing)
    assert tuesday.marks == whole.marks

    one_day = {c.key: c for c in whole.cells}
    assert set(one_day) == {c.key for c in tuesday.cells}
    before = {c.key: c for c in monday.cells}
    for cell in tuesday.cells:
        total, earlier = one_day[cell.key], before.get(cell.key)
        assert cell.cash_close == total.cash_close
        assert cell.value_close == total.value_close
        for flow in ("fills", "bought", "sold", "realised", "fees"):
            so_far = getattr(earlier, flow) if earlier else 0
            assert so_far + getattr(cell, flow) == getattr(total, flow)
        if earlier:
            assert (cell.cash_open, cell.value_open) == (earlier.cash_close, earlier.value_close)

    holdings = {h.key: h for h in monday.holdings}
    after = {h.key: h for h in tuesday.holdings}
    assert {h.key for h in whole.holdings} == {*holdings, *after}
    for total_holding in whole.holdings:
        key = total_holding.key
        parts = [h[key] for h in (holdings, after) if key in h]
        assert sum(p.realised for p in parts) == total_holding.realised
        assert parts[-1].cost_close == total_holding.cost_close
        assert parts[-1].position_close == total_holding.position_close
        if len(parts) == 2:
            assert parts[1].cost_open == parts[0].cost_close
            assert parts[1].value_open == parts[0].value_close
