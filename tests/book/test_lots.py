"""Four lot methods: published numbers, a plain reference, beancount, and one total under all."""

from __future__ import annotations

import time
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from beancount import loader
from beancount.core.data import Transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book.fifo import ints, match_fifo, match_fifo_reference
from reporting.book.lots import Lots, left_open, match, opened_lots, written

Row = tuple[int, int, int]  # key, signed quantity, price
METHODS = ("fifo", "lifo", "hifo", "average")


def columns(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    key, quantity, price = (ints([row[i] for row in rows]) for i in range(3))
    return key, quantity, price


# The reference -------------------------------------------------------------------------------


def reference(method: str, rows: list[Row]) -> tuple[list[int], dict[int, list[tuple[int, int]]]]:
    """Realised P&L of each row, and (units, total cost) of what stays open, by key.

    Lots are [units, cost] in order of age; the cost that goes with a part is rounded to the
    nearest whole number, half up.
    """
    realised: list[int] = []
    books: dict[int, tuple[int, list[list[int]]]] = {}
    for key, signed, price in rows:
        side, lots = books.get(key, (0, []))
        size, gain = abs(signed), 0
        while size and lots and side * signed < 0:
            if method == "hifo":
                dearest = max(Fraction(cost, units) for units, cost in lots)
                chosen = [Fraction(cost, units) == dearest for units, cost in lots].index(True)
            else:
                chosen = len(lots) - 1 if method == "lifo" else 0
            units, cost = lots[chosen]
            closed = min(size, units)
            part = int((Fraction(cost * closed, units) + Fraction(1, 2)).__floor__())
            gain += side * (closed * price - part)
            size -= closed
            lots[chosen] = [units - closed, cost - part]
            if units == closed:
                del lots[chosen]
        if size:
            side = 1 if signed > 0 else -1
            if method == "average" and lots:
                lots[0] = [lots[0][0] + size, lots[0][1] + size * price]
            else:
                lots.append([size, size * price])
        books[key] = (side, lots)
        realised.append(gain)
    left = {
        key: [(side * units, side * cost) for units, cost in lots]
        for key, (side, lots) in books.items()
        if lots
    }
    return realised, left


def booked(method: str, rows: list[Row]) -> tuple[list[int], dict[int, list[tuple[int, int]]]]:
    """The same by the code under test."""
    keys, quantity, price = columns(rows)
    matched = match(method, keys, quantity, price)
    return matched.realised.tolist(), standing(left_open(matched, keys, price))


def standing(lots: Lots) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for key, units, cost in zip(
        lots.key.tolist(), lots.units.tolist(), lots.cost().tolist(), strict=True
    ):
        found.setdefault(key, []).append((units, cost))
    return found


# Published numbers ---------------------------------------------------------------------------

SMALL_EXAMPLE = [(0, 100, 10), (0, 100, 20), (0, -100, 21)]


@pytest.mark.parametrize(
    ("method", "realised"),
    [
        ("fifo", 100 * (21 - 10)),  # reference-numbers.json "fifo_small": 1100
        ("lifo", 100 * (21 - 20)),  # and 100
        ("hifo", 100 * (21 - 20)),
        ("average", 100 * 21 - (100 * 10 + 100 * 20) // 2),
    ],
)
def test_the_small_example(method: str, realised: int) -> None:
    assert booked(method, SMALL_EXAMPLE)[0] == [0, 0, realised]


def test_the_published_average_cost() -> None:
    # reference-numbers.json "average_cost_with_fees" (Trading Technologies): realised after fees
    # of 0.0001 of the notional. In units of 1e-10, whole cost is kept and not its quotient.
    unit = 10**10
    fills = [(12, "100.0"), (17, "99.0"), (-9, "101.0"), (-4, "105.0"), (3, "103.0")]
    published = ["-0.12", "-0.28830000", "13.89666207", "36.19948966", "36.16858966"]
    rows = [(0, quantity, int(Decimal(price) * unit)) for quantity, price in fills]
    realised, left = booked("average", rows)
    net, quantities, held = Fraction(0), [], 0
    for gain, (quantity, price), expected in zip(realised, fills, published, strict=True):
        net += Fraction(gain, unit) - Fraction("0.0001") * abs(quantity) * Fraction(price)
        held += quantity
        quantities.append(held)
        assert abs(net - Fraction(expected)) < Fraction(1, 10**8)  # as many decimals as printed
    assert quantities == [12, 29, 20, 16, 19]
    # Nothing is lost: total cost is what was paid less what was allotted to the sales.
    paid = sum(quantity * int(Decimal(price) * unit) for quantity, price in fills)
    assert left == {0: [(19, paid + sum(realised))]}


def test_the_published_fills_by_every_method() -> None:
    rows = [(0, 12, 100), (0, 17, 99), (0, -9, 101), (0, -4, 105), (0, 3, 103)]
    # FIFO: 9 from the first 12, then 3 of it and 1 at 99. LIFO: all 13 from the 17 at 99. HIFO:
    # the first 12 at 100, then 1 at 99.
    assert booked("fifo", rows)[0] == [0, 0, 9 * 1, 3 * 5 + 1 * 6, 0]
    assert booked("lifo", rows)[0] == [0, 0, 9 * 2, 4 * 6, 0]
    assert booked("hifo", rows)[0] == [0, 0, 9 * 1, 3 * 5 + 1 * 6, 0]


def test_equal_prices_close_the_older_first() -> None:
    rows = [(0, 1, 10), (0, 2, 10), (0, -1, 12)]
    assert booked("hifo", rows)[1] == {0: [(2, 20)]}


def test_the_dearest_lot_is_so_by_its_whole_cost() -> None:
    # The newer ten cost 96, the older ten 90, both at a price of 9.
    keys, quantity, price = columns([(0, 10, 9), (0, 10, 9), (0, -10, 12)])
    matched = match("hifo", keys, quantity, price, {1: 6})
    assert matched.realised.tolist() == [0, 0, 10 * 12 - 96]


@pytest.mark.parametrize("method", METHODS)
def test_a_flip_through_zero(method: str) -> None:
    realised, left = booked(method, [(0, 10, 100), (0, -25, 104), (0, 15, 101)])
    assert (realised, left) == ([0, 10 * 4, 15 * 3], {})


# By property ---------------------------------------------------------------------------------


def rows_of(
    quantity: st.SearchStrategy[int], price: st.SearchStrategy[int], size: int = 25
) -> st.SearchStrategy[list[Row]]:
    row = st.tuples(st.integers(0, 2), quantity, price)
    return st.lists(row, max_size=size).map(lambda rows: sorted(rows, key=lambda r: r[0]))


SMALL = st.integers(-5, 5).filter(bool)
#: Quantities to 1e-8 and prices from 1e-11 to 1e9, in units of their own: no int64 holds them.
EXTREME = st.sampled_from([1, -1, 10**8, -(10**8), 10**17, -(10**17), 3 * 10**16])
ANY_PRICE = st.sampled_from([1, 7, 10**11, 10**20, 10**20 - 1])


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=60)
@given(rows=rows_of(SMALL, st.integers(-3, 30)) | rows_of(EXTREME, ANY_PRICE))
def test_every_method_equals_the_reference(method: str, rows: list[Row]) -> None:
    assert booked(method, rows) == reference(method, rows)


@settings(deadline=None, max_examples=60)
@given(rows_of(SMALL, st.integers(-3, 30)) | rows_of(EXTREME, ANY_PRICE), st.integers(0, 50))
def test_realised_and_unrealised_are_the_same_number_by_all(rows: list[Row], mark: int) -> None:
    cash_and_value = sum(q * (mark - p) for _, q, p in rows)
    for method in METHODS:
        realised, left = booked(method, rows)
        unrealised = sum(units * mark - cost for lots in left.values() for units, cost in lots)
        assert sum(realised) + unrealised == cash_and_value


@settings(deadline=None, max_examples=60)
@given(
    rows_of(SMALL, st.integers(0, 30)),
    rows_of(SMALL, st.integers(0, 30)),
    st.sampled_from(METHODS),
    st.sampled_from(METHODS),
)
def test_a_book_that_is_carried_goes_on_where_it_was(
    first: list[Row], second: list[Row], before: str, after: str
) -> None:
    keys, quantity, price = columns(first)
    lots = left_open(match(before, keys, quantity, price), keys, price)
    # As the store has it: a text, read again.
    carried = opened_lots(written(lots).items(), 0, 0)
    assert standing(carried) == standing(lots)
    stream = [(k, u, p) for k, u, p in zip(
        carried.key.tolist(), carried.units.tolist(), carried.price.tolist(), strict=True
    )]  # fmt: skip
    order = sorted(range(len(stream) + len(second)), key=lambda i: (*stream, *second)[i][0])
    rows = [(*stream, *second)[i] for i in order]
    excess = {order.index(i): beside for i, beside in carried.excess.items()}
    matched = match(after, *columns(rows), excess)
    found = standing(left_open(matched, columns(rows)[0], columns(rows)[2]))
    if before == after:
        whole = sorted([*first, *second], key=lambda r: r[0])
        assert found == reference(before, whole)[1]
    # Whatever the methods, no unit and no cost is lost at a change.
    cost = sum(c for lots in standing(carried).values() for _, c in lots)
    paid = cost + sum(q * p for _, q, p in second)
    left = sum(c for lots in found.values() for _, c in lots)
    assert left == paid + sum(matched.realised.tolist())
    units = sum(carried.units.tolist()) + sum(q for _, q, _ in second)
    assert sum(u for lots in found.values() for u, _ in lots) == units
    if after == "average":
        assert all(len(lots) == 1 for lots in found.values())


@settings(deadline=None, max_examples=80)
@given(rows_of(SMALL, st.integers(-3, 30)), st.lists(st.integers(0, 9), min_size=6, max_size=6))
def test_fifo_with_costs_between_units(rows: list[Row], beside: list[int]) -> None:
    # Up to two carried lots a key, of one direction, that cost a little more than units × price.
    excess: dict[int, int] = {}
    for i, row in enumerate(rows):
        start = i == 0 or rows[i - 1][0] != row[0]
        second = i > 0 and i - 1 in excess and i - 2 not in excess and row[1] * rows[i - 1][1] > 0
        if start or (second and rows[i - 1][0] == row[0]):
            excess[i] = beside[len(excess) % 6]
    fast = match_fifo(*columns(rows), excess)
    slow = match_fifo_reference(*columns(rows), excess)
    assert fast.realised.tolist() == slow.realised.tolist()
    assert fast.open_units.tolist() == slow.open_units.tolist()
    assert dict(fast.excess) == dict(slow.excess)
    left = sum(
        u * p + (1 if u > 0 else -1) * fast.excess.get(i, 0)
        for i, (u, (_, _, p)) in enumerate(zip(fast.open_units.tolist(), rows, strict=True))
        if u
    )
    paid = sum(q * p for _, q, p in rows)
    paid += sum(e if rows[i][1] > 0 else -e for i, e in excess.items())
    assert left == paid + sum(fast.realised.tolist())


# Between sessions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lots", "ratio", "after"),
    [
        ("100@30", "2", "200@15"),
        ("100@30", "3", "300@10"),
        ("-100@31", "3", "-300@10+100"),  # 3100 = 300 × 10 + 100
        ("100@7 50@8", "0.1", "10@70 5@80"),
        ("4@3", "1.5", "6@2"),
        ("5@3", "1.5", None),  # 7.5 units
        ("7@9+6", "2", "14@4+13"),  # 69 = 14 × 4 + 13
    ],
)
def test_a_split_keeps_the_total_cost(lots: str, ratio: str, after: str | None) -> None:
    found = opened_lots([(4, lots), (5, "1@1")], 0, 0).split([4], Decimal(ratio))
    assert (None if found is None else written(found)) == (after and {4: after, 5: "1@1"})


def test_finer_units_keep_the_total_cost() -> None:
    # 7 units for 69 in all; ten times finer units of both are 70 for 6900 = 70 × 98 + 40.
    assert written(opened_lots([(0, "7@9+6")], 1, 1)) == {0: "70@98+40"}
    assert written(opened_lots([(0, "-7@9")], 1, 2)) == {0: "-70@900"}


# beancount -----------------------------------------------------------------------------------

START = date(2000, 1, 2)


def beancount_realised(method: str, fills: list[tuple[int, Decimal]]) -> list[Decimal]:
    """Realised P&L of each fill by beancount: Σ −units × (price − cost) over what it reduced.

    Its lots are sorted by date, so each fill has a day and a label of its own; one that flips the
    position is entered as two postings, since a reduction ends at zero.
    """
    lines = [f'2000-01-01 open Assets:Book AAA "{method.upper()}"', "2000-01-01 open Income:Gain"]
    held = 0
    for i, (signed, price) in enumerate(fills):
        closed = min(abs(signed), abs(held)) if held * signed < 0 else 0
        direction = 1 if signed > 0 else -1
        lines.append(f'{START + timedelta(i)} * "fill {i}"')
        if closed:
            lines.append(f"  Assets:Book  {direction * closed} AAA {{}} @ {price} USD")
        if rest := abs(signed) - closed:
            cost = f'{{{price} USD, {START + timedelta(i)}, "lot{i}"}}'
            lines.append(f"  Assets:Book  {direction * rest} AAA {cost} @ {price} USD")
        lines.append("  Income:Gain")
        held += signed
    entries, errors, _ = loader.load_string("\n".join(lines))
    assert not errors, errors
    gains: list[Decimal] = []
    for entry in entries:
        if isinstance(entry, Transaction):
            legs: list[Any] = [p for p in entry.postings if p.cost is not None]
            # What is opened has its own price as cost and adds nothing.
            gains.append(sum((-p.units.number * (p.price.number - p.cost.number) for p in legs),
                             Decimal(0)))  # fmt: skip
    return gains


PRICES = [Decimal(price) for price in ("9.875", "10", "10.25", "11", "14.01")]
FILLS = st.lists(st.tuples(SMALL, st.sampled_from(PRICES)), min_size=1, max_size=14)


@settings(deadline=None, max_examples=60)
@given(FILLS, st.sampled_from(["fifo", "lifo", "hifo"]))
def test_beancount_books_the_same(fills: list[tuple[int, Decimal]], method: str) -> None:
    rows = [(0, quantity, int(price * 1000)) for quantity, price in fills]
    found = [Decimal(gain) / 1000 for gain in booked(method, rows)[0]]
    assert found == beancount_realised(method, fills)


# Size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_million_fills_of_one_instrument(method: str) -> None:
    # Buys at 1, 2, … and sells them all back at 10: whatever the lots, the sum is the same.
    n = 1_000_000 if method == "fifo" else 100_000
    quantity = np.tile(np.array([3, -2, 4, -5], np.int64), n // 4)
    price = np.arange(n, dtype=np.int64) % 1000 + 1
    began = time.perf_counter()
    matched = match(method, np.zeros(n, np.int64), quantity, price)
    took = time.perf_counter() - began
    assert int(matched.realised.sum()) == -int((quantity * price).sum())
    assert not matched.open_units.any()
    assert took < 20  # a second or so; far off only if it grew with the square
