"""What happens to a book beside fills: actions, flows, itemised fees, changes of the lot method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book import EMPTY_BOOK, Beside, Book, BookDay, Transfer
from reporting.book.session import trade
from reporting.model import Frame, Missing, epoch_ms
from reporting.seal import canonical

from .drawn import (
    MONDAY,
    Fill,
    Instrument,
    action,
    at,
    fee_item,
    fills_frame,
    flow,
    instruments_frame,
    marks_frame,
    on,
    small_fills,
    table_frame,
)

AAA = Instrument("AAA", tick="0.00000001", lot="0.00000001")
BBB = replace(AAA, name="BBB", currency="EUR", multiplier="50")
TUESDAY = MONDAY + timedelta(1)
METHODS = ("fifo", "lifo", "hifo", "average")
Rows = Sequence[dict[str, Any]]


def run(
    fills: Sequence[Fill] = (),
    *,
    actions: Rows | None = None,
    flows: Rows | None = None,
    fee_items: Rows | None = None,
    replaced: Frame | None = None,
    correcting: Frame | None = None,
    marks: dict[str, str] | None = None,
    marked_at: datetime | None = None,
    opening: Book = EMPTY_BOOK,
    method: Any = "fifo",
) -> BookDay:
    given = {"actions": actions, "flows": flows, "fee_items": fee_items}
    frames: dict[str, Any] = {k: table_frame(v) for k, v in given.items() if v is not None}
    frames |= {k: v for k, v in (("replaced", replaced), ("correcting", correcting)) if v}
    day = trade(
        opening,
        instruments_frame(AAA, BBB),
        fills_frame(fills),
        marks_frame({"AAA": "20", "BBB": "100"} if marks is None else marks, marked_at),
        epoch_ms(at(MONDAY)),
        method=method,
        beside=Beside(**frames),
    )
    foots(day)
    return day


def foots(day: BookDay) -> None:
    """Cash and value by cell say what lots and explanation say, whatever happened."""
    value = {(h.account, h.instrument): Decimal(0) for h in day.holdings}
    for c in day.cells:
        assert c.value_open is not None and c.value_close is not None
        result = c.cash_close - c.cash_open + c.value_close - c.value_open
        beside = c.dividends + c.funding + c.interest + c.charges - c.fees
        moved = [m for m in day.moves if m.key == c.key]
        told = sum((m.carried + m.intraday + m.corrections for m in moved), Decimal(0))  # type: ignore[operator]
        assert result == told + beside
        if (c.account, c.instrument) in value:
            value[c.account, c.instrument] += result - beside
    for h in day.holdings:
        assert h.value_open is not None and h.value_close is not None
        unrealised = (h.value_close - h.cost_close) - (h.value_open - h.cost_open)
        assert h.realised + unrealised == value[h.account, h.instrument]
        positions = [c.position_close for c in day.cells if c.instrument == h.instrument
                     and c.account == h.account]  # fmt: skip
        assert sum(positions) == h.position_close


def carried(day: BookDay) -> Book:
    """The closing book as the store gives it back."""
    return Book.model_validate_json(canonical(day.closing))


def lots(day: BookDay) -> list[tuple[Decimal, Decimal]]:
    """(quantity, total cost without multiplier) of all open lots."""
    found = []
    q, p = day.closing.quantity_scale, day.closing.price_scale
    for row in day.closing.lots:
        for lot in row.lots.split():
            units, cost = lot.split("@")
            paid, _, beside = cost.partition("+")
            total = abs(int(units)) * int(paid) + int(beside or 0)
            total = total if int(units) > 0 else -total
            found.append((Decimal(units).scaleb(-q), Decimal(total).scaleb(-q - p)))
    return found


def buy(name: str, quantity: str, price: str, second: int = 0, **more: Any) -> Fill:
    return Fill(name, 1, quantity, price, when=at(MONDAY, second), **more)


def sell(name: str, quantity: str, price: str, second: int = 0, **more: Any) -> Fill:
    return Fill(name, -1, quantity, price, when=at(MONDAY, second), **more)


# Splits --------------------------------------------------------------------------------------


def test_a_split_between_two_fills() -> None:
    day = run(
        [buy("1", "100", "30", 0), sell("2", "50", "16", 20), buy("3", "10", "14", 10)],
        actions=[action("s", "split", "2", at(MONDAY, 10))],
    )
    # 100 at 30 become 200 at 15; the fill of the split's own instant is after it.
    (cell,) = day.cells
    assert cell.position_close == 2 * 100 + 10 - 50
    assert cell.adjusted == 100
    assert cell.realised == 50 * (16 - 15)
    assert lots(day) == [(150, 150 * 15), (10, 10 * 14)]
    assert (cell.bought, cell.sold) == (110, 50)


def test_three_for_one_keeps_a_cost_that_no_price_has() -> None:
    day = run([buy("1", "100", "31")], actions=[action("s", "split", "3", at(MONDAY, 10))])
    assert lots(day) == [(300, 3100)]
    tuesday = run([sell("2", "100", "12")], opening=carried(day))
    # A third of 3100 to the nearest whole unit; the rest stays.
    assert tuesday.cells[0].realised == 100 * 12 - 1033
    assert lots(tuesday) == [(200, 3100 - 1033)]
    last = run([sell("3", "200", "12")], opening=carried(tuesday))
    assert lots(last) == []
    assert tuesday.cells[0].realised + last.cells[0].realised == 300 * 12 - 3100


def test_a_lot_that_does_not_come_out_whole_gets_finer_units() -> None:
    day = run(
        [buy("1", "5", "30"), sell("2", "0.5", "22", 20)],
        actions=[action("s", "split", "1.5", at(MONDAY, 10))],
    )
    assert day.cells[0].position_close == Decimal("7.5") - Decimal("0.5")
    assert day.cells[0].realised == Decimal("0.5") * 22 - Decimal("0.5") * 20
    coarse = run([buy("1", "5", "30")], actions=[action("s", "split", "1.5", at(MONDAY, 10))])
    assert (coarse.closing.quantity_scale, lots(coarse)) == (1, [(Decimal("7.5"), 150)])


def test_a_reverse_split_of_a_short() -> None:
    day = run([sell("1", "100", "2")], actions=[action("s", "split", "0.1", at(MONDAY, 10))])
    assert lots(day) == [(-10, -200)]
    assert day.cells[0].position_close == -10


def test_a_mark_from_before_a_split_is_adjusted_until_there_is_a_newer_one() -> None:
    split = [action("s", "split", "4", at(MONDAY, 100))]
    before = at(MONDAY, 50)
    day = run([buy("1", "10", "80")], actions=split, marks={"AAA": "84"}, marked_at=before)
    assert day.cells[0].value_close == 40 * 21
    assert day.marks[0].price == 21
    assert day.marks[0].source == "close, adjusted for a split"
    # The day after has no new mark either, and the day after that has.
    tuesday = run([], opening=carried(day), marks={"AAA": "84"}, marked_at=before)
    assert tuesday.cells[0].value_close == 40 * 21
    last = run([], opening=carried(tuesday), marks={"AAA": "22"}, marked_at=at(TUESDAY, 5))
    assert (last.cells[0].value_close, last.closing.splits) == (40 * 22, ())


def test_a_mark_of_the_instant_of_a_split_is_after_it() -> None:
    split = [action("s", "split", "4", at(MONDAY, 100))]
    day = run([buy("1", "10", "80")], actions=split, marks={"AAA": "21"},
              marked_at=at(MONDAY, 100))  # fmt: skip
    assert (day.cells[0].value_close, day.closing.splits) == (40 * 21, ())


# Dividends and expiries ----------------------------------------------------------------------


def test_a_dividend_is_on_what_was_held_just_before() -> None:
    ex = at(MONDAY, 10)
    day = run(
        [
            buy("1", "100", "20", 0),
            sell("2", "30", "20", 0, strategy="hedge"),
            sell("3", "50", "20", 10),
        ],
        actions=[
            action("d", "dividend", "0.25", ex),
            action("e", "dividend", "0.10", ex, currency="EUR"),
        ],
    )
    paid = {(c.strategy, c.currency): c.dividends for c in day.cells}
    # 100 are long and receive, 30 are short and pay; what trades at the instant comes after.
    assert paid == {
        ("trend", "USD"): 25, ("hedge", "USD"): Decimal("-7.5"),
        ("trend", "EUR"): 10, ("hedge", "EUR"): -3,
    }  # fmt: skip
    euro = next(c for c in day.cells if (c.strategy, c.currency) == ("trend", "EUR"))
    assert (euro.cash_close, euro.position_close, euro.value_close) == (10, 0, 0)


def test_a_dividend_and_a_split_of_one_instant() -> None:
    same = at(MONDAY, 10)
    day = run(
        [buy("1", "100", "20")],
        actions=[action("a", "split", "2", same), action("b", "dividend", "1", same)],
    )
    assert day.cells[0].dividends == 100  # on the units of before


def test_an_expiry_closes_at_the_settlement_price_without_a_fee() -> None:
    day = run(
        [
            buy("1", "3", "90", 0, instrument="BBB", fee="2"),
            sell("2", "1", "95", 0, instrument="BBB", strategy="hedge"),
        ],
        actions=[action("x", "expiry", "98.5", at(MONDAY, 50), instrument_id="BBB")],
        marks={},
    )
    cells = {c.strategy: c for c in day.cells if c.currency == "EUR"}
    assert cells["trend"].cash_close == 50 * (3 * (Decimal("98.5") - 90))
    assert cells["hedge"].cash_close == 50 * (95 - Decimal("98.5"))
    assert sum(c.realised for c in cells.values()) == 50 * (1 * 5 + 2 * Decimal("8.5"))
    assert {c.position_close for c in cells.values()} == {0}
    assert sum(c.fees for c in day.cells) == 2
    assert (day.closing.lots, day.marks, day.fills) == ((), (), 2)


def test_what_is_bought_after_an_expiry_stays_open() -> None:
    day = run(
        [buy("1", "3", "90", 0), buy("2", "5", "10", 50)],
        actions=[action("x", "expiry", "98", at(MONDAY, 50))],
    )
    (cell,) = day.cells
    assert (cell.position_close, cell.realised) == (5, 3 * 8)
    assert lots(day) == [(5, 50)]


@pytest.mark.parametrize(
    "row",
    [
        action("x", "spin-off", "1", at(MONDAY, 1)),
        action("x", "split", "2", at(MONDAY, 1), instrument_id="ZZZ"),
        action("x", "split", "2", at(MONDAY, 1), instrument_id=None),
        action("x", "split", "0", at(MONDAY, 1)),
        action("x", "split", "-2", at(MONDAY, 1)),
        action("x", "split", None, at(MONDAY, 1)),
        action("x", "split", "NaN", at(MONDAY, 1)),
        action("x", "split", "0.33333333333333333333", at(MONDAY, 1)),
        action("x", "dividend", None, at(MONDAY, 1)),
        action("x", "dividend", "1", at(MONDAY, 1), currency=None),
        action("x", "dividend", "1", at(MONDAY, 1), currency="usd"),
        action("x", "expiry", None, at(MONDAY, 1)),
    ],
)
def test_an_action_that_can_not_be_booked_is_an_error(row: dict[str, Any]) -> None:
    fills = [buy("1", "100", "20")]
    day = run(fills, actions=[row])
    (finding,) = day.findings
    assert (finding.check, finding.severity) == ("corporate action not booked", "error")
    assert (finding.count, finding.samples) == (1, ("x",))
    assert canonical(day.closing) == canonical(run(fills).closing)


# Flows ---------------------------------------------------------------------------------------


def test_funding_interest_and_charges_are_results_of_a_cell() -> None:
    day = run(
        [buy("1", "1", "20")],
        flows=[
            flow("1", "funding", "-3", instrument_id="AAA"),
            flow("2", "funding", "1", instrument_id="AAA"),
            flow("3", "interest", "5", strategy=None, agent=None, currency="EUR"),
            flow("4", "charge", "-7"),
        ],
    )
    cells = {(c.strategy, c.instrument, c.currency): c for c in day.cells}
    assert set(cells) == {("trend", "AAA", "USD"), ("", "", "EUR"), ("trend", "", "USD")}
    assert cells["trend", "AAA", "USD"].funding == -2
    assert cells["trend", "AAA", "USD"].cash_close == -20 - 2
    assert (cells["", "", "EUR"].interest, cells["", "", "EUR"].cash_close) == (5, 5)
    assert (cells["trend", "", "USD"].charges, cells["trend", "", "USD"].value_close) == (-7, 0)
    # They are carried, and instruments that no one knows are not asked for.
    later = run([], opening=carried(day))
    assert {c.cash_open for c in later.cells} == {-22, 5, -7}


def test_transfers_move_the_account_and_are_no_result() -> None:
    day = run(
        flows=[
            flow("1", "deposit", "1000"),
            flow("2", "withdrawal", "-300"),
            flow("3", "deposit", "50", account_id="acc2", currency="EUR"),
        ]
    )
    assert day.cells == ()
    assert day.transfers == (
        Transfer(account="acc1", currency="USD", balance=Decimal(700)),
        Transfer(account="acc2", currency="EUR", balance=Decimal(50)),
    )
    later = run([], flows=[flow("4", "withdrawal", "-100")], opening=carried(day))
    assert [t.balance for t in later.transfers] == [600, 50]


@pytest.mark.parametrize(
    "row",
    [
        flow("x", "dividend", "5"),
        flow("x", "", "5"),
        flow("x", "funding", "5", account_id=None),
        flow("x", "funding", "5", instrument_id="ZZZ"),
        flow("x", "funding", None),
        flow("x", "funding", "5", currency=None),
    ],
)
def test_a_flow_that_can_not_be_booked_is_an_error(row: dict[str, Any]) -> None:
    day = run([], flows=[row])
    (finding,) = day.findings
    assert (finding.check, finding.severity) == ("cash flow not booked", "error")
    assert finding.samples == ("x",)
    assert (day.cells, day.transfers) == ((), ())


# Fees ----------------------------------------------------------------------------------------


def test_fee_items_add_up_to_the_fees() -> None:
    fills = [buy("1", "1", "20", fee="3"), buy("2", "1", "20", fee="-1", fee_currency="EUR")]
    day = run(
        fills,
        fee_items=[
            fee_item("commission", "2.5"),
            fee_item("tax", "0.5"),
            fee_item("rebate", "-1", currency="EUR"),
        ],
    )
    assert not isinstance(day.fee_items, Missing)
    assert [(i.kind, i.currency, i.amount) for i in day.fee_items] == [
        ("commission", "USD", Decimal("2.5")),
        ("rebate", "EUR", -1),
        ("tax", "USD", Decimal("0.5")),
    ]
    assert day.findings == ()


def test_what_is_not_itemised_is_named() -> None:
    fills = [buy("1", "1", "20", fee="3"), buy("2", "1", "20", fee="2", strategy="hedge")]
    day = run(fills, fee_items=[fee_item("commission", "2.5"), fee_item("odd", "9", currency=None)])
    assert not isinstance(day.fee_items, Missing)
    assert [(i.strategy, i.kind, i.amount) for i in day.fee_items] == [
        ("hedge", "not itemised", 2),
        ("trend", "commission", Decimal("2.5")),
        ("trend", "not itemised", Decimal("0.5")),
        ("trend", "odd", 0),
    ]
    unknown, differing = day.findings
    assert (differing.count, differing.severity) == (2, "warning")
    assert "2.5 USD" in differing.detail
    # Without a currency 9 are 9 of nothing: not known, under their kind.
    assert (unknown.check, unknown.count) == ("fee item without its amount", 1)
    assert [i.unknown for i in day.fee_items] == [0, 0, 0, 1]


def test_items_of_a_fill_that_is_not_booked_are_not_counted() -> None:
    fills = [buy("1", "1", "20", fee="3"), buy("2", "1", "20", fee="2", instrument="ZZZ")]
    items = [fee_item("commission", "3"), fee_item("commission", "2", instrument_id="ZZZ")]
    day = run(fills, fee_items=items)
    assert [f.check for f in day.findings] == ["fill not booked"]
    assert [i.amount for i in day.fee_items] == [3]  # type: ignore[union-attr]


def test_without_the_view_fees_are_not_measured() -> None:
    assert isinstance(run([buy("1", "1", "20", fee="3")]).fee_items, Missing)


# Changes of the lot method -------------------------------------------------------------------


def test_a_change_keeps_the_lots_and_average_pools_them() -> None:
    monday = run([buy("1", "100", "10"), buy("2", "100", "21")])
    lifo = run([sell("3", "50", "30")], opening=carried(monday), method="lifo")
    assert (lifo.method_before, lifo.closing.method) == ("fifo", "lifo")
    assert lots(lifo) == [(100, 1000), (50, 50 * 21)]
    pooled = run([], opening=carried(lifo), method="average")
    assert (pooled.method_before, lots(pooled)) == ("lifo", [(150, 2050)])
    sold = run([sell("4", "50", "30")], opening=carried(pooled), method="average")
    assert sold.method_before is None
    assert sold.cells[0].realised == 50 * 30 - 683  # a third of 2050 to the nearest unit
    back = run([], opening=carried(sold), method="fifo")
    assert (back.method_before, lots(back)) == ("average", [(100, 2050 - 683)])


def test_the_first_session_changes_nothing() -> None:
    assert run([buy("1", "1", "10")], method="hifo").method_before is None


def test_a_book_from_before_there_were_methods_still_loads() -> None:
    old = {
        "quantity_scale": 0, "price_scale": 0,
        "lots": [{"account": "acc1", "instrument": "AAA", "lots": "100@20 5@21"}],
        "cells": [{"strategy": "trend", "agent": "alpha", "account": "acc1", "instrument": "AAA",
                   "currency": "USD", "position": "105", "cash": "-2105", "value": "2100"}],
    }  # fmt: skip
    opening = Book.model_validate_json(canonical(old))
    assert (opening.method, opening.transfers, opening.splits) == ("fifo", (), ())
    assert lots(run([], opening=opening)) == [(100, 2000), (5, 105)]


# Corrections ---------------------------------------------------------------------------------


def test_what_corrections_and_busts_changed() -> None:
    first = buy("1", "10", "18")  # as recorded; corrected to 8 at 19
    gone = sell("2", "5", "21")  # busted
    now = buy("3", "8", "19")
    day = run(
        [now, buy("4", "1", "20")],
        replaced=small_fills([first, gone, gone]),  # a fill may be replaced twice over
        correcting=small_fills([now], "correct"),
    )
    (move,) = day.moves
    # To the mark of 20: as recorded 10 × 2 − 5 × −1 … what is in force 8 × 1.
    assert move.intraday == 10 * (20 - 18) + 5 * (21 - 20)
    assert move.corrections == 8 * (20 - 19) - 10 * (20 - 18) - 5 * (21 - 20)
    assert move.carried == 0


def test_a_correction_around_a_split_is_worth_what_its_units_became() -> None:
    # 8 before the split become 16 at the mark of 20; 8 of its very instant stay 8.
    split = [action("s", "split", "2", at(MONDAY, 10))]
    for second, worth in ((9, 16 * 20), (10, 8 * 20)):
        now = buy("3", "8", "19", second)
        day = run([now], actions=split, correcting=small_fills([now], "correct"))
        assert [(m.intraday, m.corrections) for m in day.moves] == [(0, worth - 8 * 19)]


def test_a_correction_before_an_expiry_is_worth_its_settlement() -> None:
    now = buy("3", "8", "19", 9)
    gone = [action("x", "expiry", "25", at(MONDAY, 10))]
    (move,) = run([now], actions=gone, correcting=small_fills([now], "correct")).moves
    assert (move.intraday, move.corrections) == (0, 8 * (25 - 19))


def test_a_correction_that_was_corrected_never_counted() -> None:
    day = run(
        [buy("3", "8", "19")],
        replaced=small_fills([buy("2", "9", "10")], "correct"),
        correcting=small_fills([buy("3", "8", "19")], "correct"),
    )
    (move,) = day.moves
    assert (move.intraday, move.corrections) == (0, 8)


def test_a_cell_of_which_every_fill_was_busted() -> None:
    day = run([], replaced=small_fills([buy("1", "10", "18")]))
    (move,) = day.moves
    assert (move.intraday, move.corrections) == (20, -20)
    assert [(c.fills, c.cash_close, c.position_close) for c in day.cells] == [(0, 0, 0)]


# By property ---------------------------------------------------------------------------------


@st.composite
def sessions(draw: Any) -> list[tuple[list[Fill], list[dict[str, Any]], dict[str, str]]]:
    """Days of fills and actions whose seconds often meet."""
    days = []
    for n in range(draw(st.integers(1, 3))):
        fills = draw(
            st.lists(
                st.builds(
                    Fill,
                    fill_id=st.just(""),
                    side=st.sampled_from([1, -1]),
                    quantity=st.sampled_from(["1", "2", "3", "10"]),
                    price=st.sampled_from(["9", "10", "11.01"]),
                    instrument=st.sampled_from(["AAA", "BBB"]),
                    account=st.sampled_from(["acc1", "acc2"]),
                    strategy=st.sampled_from(["trend", "hedge"]),
                    fee=st.sampled_from(["0", "0.01"]),
                    when=st.integers(0, 4).map(lambda s: at(MONDAY, s)),
                ),
                max_size=8,
            )
        )
        fills = [replace(f, fill_id=f"{n}{i:02d}") for i, f in enumerate(fills)]
        actions = draw(
            st.lists(
                st.one_of(
                    st.tuples(st.just("split"), st.sampled_from(["2", "3", "0.5", "1.5"])),
                    st.tuples(st.just("dividend"), st.sampled_from(["0.25", "-1"])),
                    st.tuples(st.just("expiry"), st.sampled_from(["10.5", "0"])),
                ).flatmap(
                    lambda x: st.builds(
                        lambda second, name: action(
                            f"{x[0]}{x[1]}", x[0], x[1], at(MONDAY, second), instrument_id=name
                        ),
                        st.integers(0, 4),
                        st.sampled_from(["AAA", "BBB"]),
                    )
                ),
                max_size=3,
            )
        )
        marks = draw(
            st.fixed_dictionaries(
                {"AAA": st.sampled_from(["8", "12.5"]), "BBB": st.sampled_from(["9", "15"])}
            )
        )
        days.append((fills, actions, marks))
    return days


class Plain:
    """Positions and cash by cell, one event at a time, in fractions."""

    def __init__(self) -> None:
        self.position: dict[tuple[str, ...], Fraction] = {}
        self.cash: dict[tuple[str, ...], Fraction] = {}

    def pay(self, key: tuple[str, ...], currency: str, amount: Fraction) -> None:
        at_ = (*key, currency)
        self.cash[at_] = self.cash.get(at_, Fraction(0)) + amount

    def session(self, fills: list[Fill], actions: list[dict[str, Any]]) -> None:
        kinds = {"AAA": AAA, "BBB": BBB}
        rank = {"dividend": 0, "split": 1, "expiry": 2}
        events: list[tuple[Any, ...]] = [
            (a["effective_at"], 0, rank[a["kind"]], a["action_id"], a) for a in actions
        ]
        events += [(f.when, 1, 0, f.fill_id, f) for f in fills]
        for event in sorted(events, key=lambda e: e[:4]):
            what = event[4]
            if isinstance(what, Fill):
                key = (str(what.strategy), str(what.agent), str(what.account), str(what.instrument))
                kind = kinds[key[3]]
                signed = what.side * Fraction(what.quantity)
                self.position[key] = self.position.get(key, Fraction(0)) + signed
                paid = signed * Fraction(what.price) * Fraction(kind.multiplier)
                self.pay(key, kind.currency, -paid)
                self.pay(key, str(what.fee_currency), -Fraction(what.fee))
                continue
            for key, held in self.position.items():
                if key[3] != what["instrument_id"]:
                    continue
                kind = kinds[key[3]]
                if what["kind"] == "split":
                    self.position[key] = held * Fraction(what["ratio"])
                elif what["kind"] == "dividend":
                    self.pay(key, what["currency"], held * Fraction(what["amount"]))
                else:
                    paid = held * Fraction(what["amount"]) * Fraction(kind.multiplier)
                    self.pay(key, kind.currency, paid)
                    self.position[key] = Fraction(0)


@settings(deadline=None, max_examples=40)
@given(sessions(), st.sampled_from(METHODS))
def test_actions_in_any_order_are_those_of_a_plain_account(days: Any, method: str) -> None:
    book, plain = EMPTY_BOOK, Plain()
    for n, (fills, actions, marks) in enumerate(days):
        day_of = MONDAY + timedelta(n)
        moved = [a | {"effective_at": a["effective_at"] + timedelta(n)} for a in actions]
        fills = on(day_of, fills)
        day = run(fills, actions=moved, marks=marks, marked_at=at(day_of, 70_000), opening=book,
                  method=method)  # fmt: skip
        plain.session(fills, moved)
        assert day.findings == ()
        for cell in day.cells:
            assert Fraction(cell.cash_close) == plain.cash.get(cell.key, 0)
            own = cell.currency == {"AAA": "USD", "BBB": "EUR"}[cell.instrument]
            assert Fraction(cell.position_close) == (own and plain.position.get(cell.key[:4], 0))
        book = carried(day)


@settings(deadline=None, max_examples=15)
@given(sessions())
def test_every_method_gives_the_same_result(days: Any) -> None:
    totals = set()
    for method in METHODS:
        book, result = EMPTY_BOOK, Decimal(0)
        for n, (fills, actions, marks) in enumerate(days):
            moved = [a | {"effective_at": a["effective_at"] + timedelta(n)} for a in actions]
            day = run(on(MONDAY + timedelta(n), fills), actions=moved, marks=marks, opening=book,
                      marked_at=at(MONDAY + timedelta(n), 70_000), method=method)  # fmt: skip
            for h in day.holdings:
                assert h.value_close is not None and h.value_open is not None
                result += h.realised
                result += (h.value_close - h.cost_close) - (h.value_open - h.cost_open)
            book = carried(day)
        totals.add(result)
    assert len(totals) == 1


def test_a_window_that_daylight_saving_bends() -> None:
    # New York's 8 March 2026 has 23 hours: 05:00Z to 04:00Z. Instants count, not wall clocks: the
    # split of 06:59:59.999999Z, one microsecond before the clocks jump, splits what was before it.
    jump = datetime(2026, 3, 8, 7, tzinfo=UTC)
    early = replace(buy("1", "10", "30"), when=jump - timedelta(microseconds=2))
    late = replace(buy("2", "10", "15"), when=jump - timedelta(microseconds=1))
    split = action("s", "split", "2", jump - timedelta(microseconds=1))
    day = run([late, early], actions=[split], marked_at=jump)
    assert lots(day) == [(20, 300), (10, 150)]
