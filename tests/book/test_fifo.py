"""First in, first out: the fast path, the reference and a deque of fractions agree."""

from __future__ import annotations

import ast
from collections import deque
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reporting import book
from reporting.book.fifo import INT64_SAFE, ints, match_fifo, match_fifo_reference, rescale

Row = tuple[int, int, int]  # key, signed quantity, price


def oracle(rows: list[Row]) -> tuple[list[Fraction], list[Fraction]]:
    """Realised P&L of each fill and what of each stays open, by a deque of lots per key."""
    realised: list[Fraction] = []
    left = [Fraction(0)] * len(rows)
    books: dict[int, deque[tuple[int, Fraction]]] = {}
    for i, (key, quantity, price) in enumerate(rows):
        book, rest, gain = books.setdefault(key, deque()), Fraction(quantity), Fraction(0)
        while rest != 0 and book and (left[book[0][0]] > 0) is not (rest > 0):
            lot, paid = book[0]
            units = min(abs(rest), abs(left[lot]))
            side = 1 if left[lot] > 0 else -1
            gain += units * (Fraction(price) - paid) * side
            left[lot] -= side * units
            rest += side * units
            if left[lot] == 0:
                book.popleft()
        if rest != 0:
            left[i] = rest
            book.append((i, Fraction(price)))
        realised.append(gain)
    return realised, left


def columns(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    key, quantity, price = (ints([row[i] for row in rows]) for i in range(3))
    return key, quantity, price


def test_published_example() -> None:
    # reference-numbers.json "fifo_small": buy 100 at 10, buy 100 at 20, sell 100 at 21.
    found = match_fifo(*columns([(0, 100, 10), (0, 100, 20), (0, -100, 21)]))
    assert found.realised.tolist() == [0, 0, 100 * (21 - 10)]  # 1100; last in first out gives 100
    assert found.open_units.tolist() == [0, 100, 0]


def test_published_partial_closes() -> None:
    # reference-numbers.json "average_cost_with_fees" (Trading Technologies), its fills by FIFO:
    # the sales of 9 and 4 come from the first 12 at 100 and one of the 17 at 99.
    found = match_fifo(
        *columns([(0, 12, 100), (0, 17, 99), (0, -9, 101), (0, -4, 105), (0, 3, 103)])
    )
    assert found.realised.tolist() == [0, 0, 9 * (101 - 100), 3 * (105 - 100) + 1 * (105 - 99), 0]
    assert found.open_units.tolist() == [0, 16, 0, 0, 3]


@pytest.mark.parametrize(
    ("rows", "realised", "left"),
    [
        ([], [], []),
        ([(7, 5, 3)], [0], [5]),
        ([(7, -5, 3)], [0], [-5]),
        # Flips: 10 long, sells 25 (closes 10, opens 15 short), buys 15 back.
        ([(0, 10, 100), (0, -25, 104), (0, 15, 101)], [0, 10 * 4, 15 * 3], [0, 0, 0]),
        # Flips the other way.
        ([(0, -10, 100), (0, 25, 96)], [0, 10 * 4], [0, 15]),
        # The second key never sees the lots of the first.
        ([(0, 10, 1), (1, -10, 5), (1, 10, 3)], [0, 0, 10 * 2], [10, 0, 0]),
        # A sale over two lots and a half.
        (
            [(0, 4, 10), (0, 4, 20), (0, 4, 30), (0, -10, 40)],
            [0, 0, 0, 4 * 30 + 4 * 20 + 2 * 10],
            [0, 0, 2, 0],
        ),
        # Negative prices exist (oil on 20 April 2020).
        ([(0, 1, -37), (0, -1, 10)], [0, 47], [0, 0]),
    ],
)
def test_drawn_cases(rows: list[Row], realised: list[int], left: list[int]) -> None:
    for match in (match_fifo, match_fifo_reference):
        found = match(*columns(rows))
        assert found.realised.tolist() == realised
        assert found.open_units.tolist() == left


def rows_of(quantity: st.SearchStrategy[int], price: st.SearchStrategy[int]) -> st.SearchStrategy:
    row = st.tuples(st.integers(0, 3), quantity, price)
    return st.lists(row, max_size=40).map(lambda rows: sorted(rows, key=lambda r: r[0]))


SMALL = st.integers(-5, 5).filter(bool)  # small, so that positions often meet zero
HUGE = st.integers(-(10**17), 10**17).filter(bool)  # 1e9 in units of 1e-8


@settings(deadline=None, max_examples=300)
@given(rows_of(SMALL, st.integers(-3, 30)))
@example([(0, 1, 1), (0, -2, 2), (0, 1, 3)])
def test_fast_equals_reference_equals_oracle(rows: list[Row]) -> None:
    realised, left = oracle(rows)
    for match in (match_fifo, match_fifo_reference):
        found = match(*columns(rows))
        assert found.realised.tolist() == realised
        assert found.open_units.tolist() == left


@settings(deadline=None, max_examples=60)
@given(rows_of(HUGE, st.integers(1, 10**20)))
def test_numbers_beyond_64_bits(rows: list[Row]) -> None:
    # A price of 1e9 in units of 1e-11 is 1e20: no int64 holds it.
    realised, left = oracle(rows)
    found = match_fifo(*columns(rows))
    assert found.realised.tolist() == realised
    assert found.open_units.tolist() == left


@pytest.mark.parametrize("price", [0, 1, 2])
def test_quantities_alone_can_leave_64_bits(price: int) -> None:
    # A price of 0 makes no turnover, yet the running quantity passes 2**63.
    rows = [(0, 2**62, price)] * 3 + [(0, -(2**62), price)] * 2
    realised, left = oracle(rows)
    found = match_fifo(*columns(rows))
    assert found.realised.tolist() == realised
    assert found.open_units.tolist() == left


def test_either_side_of_the_guard_gives_the_same() -> None:
    edge = int(INT64_SAFE) // 4
    for size in (edge // 2, edge - 1, edge, edge + 1):
        rows = [(0, 2, size), (0, -2, size + 3)]
        found = match_fifo(*columns(rows))
        assert found.realised.tolist() == [0, 2 * 3]


@settings(deadline=None, max_examples=100)
@given(rows_of(SMALL, st.integers(1, 30)), st.integers(0, 50))
def test_realised_and_unrealised_are_cash_and_value(rows: list[Row], mark: int) -> None:
    found = match_fifo(*columns(rows))
    cash = -sum(q * p for _, q, p in rows)
    value = sum(q for _, q, _ in rows) * mark
    left = found.open_units.tolist()
    unrealised = sum(units * (mark - p) for units, (_, _, p) in zip(left, rows, strict=True))
    assert sum(found.realised.tolist()) + unrealised == cash + value


@settings(deadline=None, max_examples=100)
@given(rows_of(SMALL, st.integers(1, 30)))
def test_a_flat_position_leaves_no_lot(rows: list[Row]) -> None:
    keys = {key for key, _, _ in rows}
    closing = [(key, -sum(q for k, q, _ in rows if k == key), 7) for key in keys]
    flat = sorted([*rows, *(row for row in closing if row[1])], key=lambda r: r[0])
    assert not any(match_fifo(*columns(flat)).open_units.tolist())


def test_rescale_leaves_64_bits_for_python_integers() -> None:
    assert rescale(ints([3, -4]), 2).tolist() == [300, -400]
    grown = rescale(ints([9 * 10**17]), 3)
    assert grown.dtype == object
    assert grown.tolist() == [9 * 10**20]
    assert rescale(ints([]), 5).tolist() == []


#: What numpy hands to OpenBLAS.
BLAS = {*("dot", "vdot", "inner", "outer", "matmul", "tensordot", "linalg", "corrcoef", "cov")}


def test_no_thread_of_openblas_is_woken_by_the_book() -> None:
    """They go on spinning for 30 ms and more, on the cores on which other parts are worked out."""
    for path in sorted(Path(*book.__path__).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            found = isinstance(node, ast.MatMult) or getattr(node, "attr", "") in BLAS
            assert not found, f"{path.name}: {ast.unparse(node)}"
