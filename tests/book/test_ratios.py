"""Splits in whole numbers, 1 for 3 among them, against plain fractions."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book import EMPTY_BOOK, Beside, Book, BookDay
from reporting.book.ratios import split_ratio
from reporting.book.session import trade
from reporting.model import epoch_ms

from .drawn import (
    MONDAY,
    Fill,
    Instrument,
    action,
    at,
    fills_frame,
    instruments_frame,
    marks_frame,
    table_frame,
)
from .test_events import buy, carried, foots, lots, sell

RATIOS = [(1, 3), (3, 1), (2, 7), (7, 3), (1, 10)]


def split(new: int, old: int, price: str | None = None, name: str = "s") -> dict[str, Any]:
    """A split of the tenth second, with what is paid for one unit in lieu of fractions."""
    amount = None if price is None else Decimal(price)
    whole = {"ratio_new": Decimal(new), "ratio_old": Decimal(old), "amount": amount}
    return {**action(name, "split", None, at(MONDAY, 10)), **whole}


def run(
    fills: list[Fill], opening: Book = EMPTY_BOOK, actions: list[dict[str, Any]] | None = None,
    mark: str = "20", marked_at: datetime | None = None,
) -> BookDay:  # fmt: skip
    """A session of an instrument of which whole units are traded; all its sums foot."""
    day = trade(
        opening,
        instruments_frame(Instrument("AAA", tick="0.01", lot="1")),
        fills_frame(fills),
        marks_frame({"AAA": mark}, marked_at or at(MONDAY, 72_000)),
        epoch_ms(at(MONDAY)),
        beside=Beside(actions=table_frame(actions or [])),
    )
    foots(day)
    return day


def trunc(number: Fraction) -> int:
    return number.numerator // number.denominator if number > 0 else -(-number // 1)


def newest(bought: list[tuple[int, int]], ratio: Fraction, units: Fraction) -> Fraction:
    """What the newest ``units`` after the split cost; ``bought`` is (quantity, price) in order."""
    cost = Fraction(0)
    for quantity, price in reversed(bought):
        some = min(units, quantity * ratio)
        cost += some / ratio * price
        units -= some
    return cost


LOTS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 40)), min_size=1, max_size=6)


@settings(deadline=None, max_examples=30)
@pytest.mark.parametrize(("new", "old"), RATIOS)
@pytest.mark.parametrize("side", [1, -1])
@given(bought=LOTS, over=st.booleans())
def test_an_account_keeps_whole_units_and_is_paid_for_the_rest(
    new: int, old: int, side: int, bought: list[tuple[int, int]], over: bool
) -> None:
    """``over``: the lots are from the session before, on whose morrow no fill comes at all."""
    fills = [
        Fill(f"f{n}", side, str(q), str(p), when=at(MONDAY, n)) for n, (q, p) in enumerate(bought)
    ]
    actions = [split(new, old, "12.34")]
    day = run([], opening=carried(run(fills)), actions=actions) if over else run(
        fills, actions=actions
    )  # fmt: skip
    ratio, held = Fraction(new, old), sum(q for q, _ in bought)
    kept = trunc(held * ratio)
    rest = held * ratio - kept
    (cell,) = day.cells
    assert cell.position_close == side * kept
    paid = Decimal(round(rest * 1234)) / 100
    spent = 0 if over else sum(q * p for q, p in bought)
    assert cell.cash_close - cell.cash_open == side * (paid - spent)
    cost = newest(bought, ratio, rest)
    assert abs(Fraction(side * paid) - side * cost - Fraction(cell.realised)) <= Fraction(1, 2)
    assert sum(c for _, c in lots(day)) == side * sum(q * p for q, p in bought) - (
        side * paid - cell.realised
    )
    assert not day.findings


@settings(deadline=None, max_examples=40)
@given(
    held=st.lists(st.integers(-40, 40).filter(bool), min_size=1, max_size=5),
    ratio=st.sampled_from(RATIOS),
)
def test_cells_of_an_account_share_its_units_and_its_money(
    held: list[int], ratio: tuple[int, int]
) -> None:
    fills = [
        Fill(f"f{n}", 1 if q > 0 else -1, str(abs(q)), "7", strategy=f"s{n}", when=at(MONDAY, n))
        for n, q in enumerate(held)
    ]
    day = run(fills, actions=[split(*ratio, "3")])  # foots, by cell and by account
    exact = sum(held) * Fraction(*ratio)
    assert sum(c.position_close for c in day.cells) == trunc(exact)
    for c, q in zip(sorted(day.cells, key=lambda c: c.strategy), held, strict=True):
        assert abs(Fraction(c.position_close) - q * Fraction(*ratio)) < 1


def test_without_a_price_a_fraction_closes_at_nothing_and_is_an_error() -> None:
    day = run([buy("1", "100", "30")], actions=[split(1, 3)])
    assert (day.cells[0].position_close, lots(day)) == (33, [(33, 2970)])
    assert day.cells[0].realised == -30  # a third of a new unit, one old one
    (finding,) = day.findings
    assert (finding.severity, finding.samples) == ("error", ("s / acc1",))
    # 99 leave nothing, and nothing is asked.
    assert not run([buy("1", "99", "30")], actions=[split(1, 3)]).findings


def test_what_has_an_end_is_kept_as_ever() -> None:
    day = run([buy("1", "5", "30")], actions=[split(3, 2)])
    assert (day.cells[0].position_close, day.findings) == (Decimal("7.5"), ())
    paid = run([buy("1", "5", "30")], actions=[split(3, 2, "20")])
    assert (paid.cells[0].position_close, paid.cells[0].cash_close) == (7, -150 + 10)


def test_a_mark_from_before_is_three_times_as_much_after_one_for_three() -> None:
    before: BookDay = run(
        [buy("1", "99", "30")], actions=[split(1, 3)], mark="31", marked_at=at(MONDAY, 5)
    )
    assert (before.marks[0].price, before.cells[0].value_close) == (93, 33 * 93)
    tuesday = run([sell("2", "33", "94")], opening=carried(before), mark="31",
                  marked_at=at(MONDAY, 5))  # fmt: skip
    assert tuesday.cells[0].realised == 33 * 94 - 99 * 30


@pytest.mark.parametrize(
    ("row", "ratio"),
    [
        ({"ratio": Decimal(2)}, (2, 1)),
        ({"ratio": None, "ratio_new": Decimal(1), "ratio_old": Decimal(3)}, (1, 3)),
        ({"ratio": Decimal("0.3333"), "ratio_new": Decimal(1), "ratio_old": Decimal(3)}, (1, 3)),
        ({"ratio": Decimal("0.34"), "ratio_new": Decimal(1), "ratio_old": Decimal(4)}, None),
        ({"ratio": None, "ratio_new": Decimal(1), "ratio_old": None}, None),
        ({"ratio": None, "ratio_new": Decimal(1), "ratio_old": Decimal(0)}, None),
        ({"ratio": None, "ratio_new": Decimal("1.5"), "ratio_old": Decimal(2)}, None),
        ({"ratio": None, "ratio_new": Decimal("NaN"), "ratio_old": Decimal(2)}, None),
    ],
)
def test_a_ratio_is_two_whole_numbers_or_a_decimal(
    row: dict[str, Any], ratio: tuple[int, int] | None
) -> None:
    assert split_ratio(row) == ratio
