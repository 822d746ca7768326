"""Marks: stale and missing with what they touch, and moves that the past does not explain."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book import EMPTY_BOOK, BookDay
from reporting.book.session import trade
from reporting.measures import Context
from reporting.measures.marks import (
    FACTOR,
    LEAST_RETURNS,
    MARKS,
    MarksFact,
    Move,
    attention,
    merge,
    of_day,
    outlying,
    section,
)
from reporting.model import Frame, Frames, Missing, Money, Number, Text, Why, epoch_ms
from reporting.page import Section, Target
from reporting.periods import day_span

from ..book.drawn import (
    MONDAY,
    Fill,
    Instrument,
    at,
    fills_frame,
    instruments_frame,
    marks_frame,
    table_frame,
    trading_day,
)

TODAY = MONDAY
EIGHT = Decimal(8)


def book(marks: Mapping[str, str], *names: str, stale: bool = False) -> BookDay:
    """Ten of each instrument, bought at 1."""
    held = names or tuple(marks)
    when = at(TODAY) - timedelta(seconds=1) if stale else at(TODAY, 72_000)
    return trade(
        EMPTY_BOOK,
        instruments_frame(*map(Instrument, held)),
        fills_frame([Fill(n, 1, "10", "1", n) for n in held]),
        marks_frame(marks, when),
        epoch_ms(at(TODAY)),
    )


def history(**prices: Sequence[str | None]) -> Any:
    """One price a day up to today; None is a day without one."""
    return table_frame(
        [
            {"instrument_id": name, "day": TODAY - timedelta(len(of) - 1 - n), "price": Decimal(p)}
            for name, of in prices.items()
            for n, p in enumerate(of)
            if p is not None
        ]
    )


def frames(of: BookDay, past: Any) -> Frames:
    return {"book": of, "mark_history": past}


def fact(of: BookDay, past: Any) -> MarksFact:
    found = of_day(trading_day(), frames(of, past))
    assert isinstance(found, MarksFact)
    return found


def move(*prices: str | None) -> Move | Missing:
    today = prices[-1] or "1"
    return fact(book({"AAA": today}), history(AAA=prices)).days[0].marks[0].move


def context(factor: str = "") -> Context:
    target = Target(id=FACTOR, comparator="le", value=Decimal(factor or 0), unit="MAD")
    targets = {FACTOR: target} if factor else {}
    return Context(span=day_span(TODAY), zone="UTC", base="USD", targets=targets)


def page(found: Any, factor: str = "") -> Section:
    return section(found, [(TODAY, found)], context(factor))


def rows(found: Any, factor: str = "") -> list[tuple[Any, ...]]:
    """Instrument, state, move, limit and value of each row on the page."""
    (table,) = page(found, factor).tables
    keys = [c.key for c in table.columns]
    made = [dict(zip(keys, row, strict=True)) for row in table.rows]
    return [
        (r["symbol"].text, r["state"].text, r["move"], r["limit"], r["value"])  # type: ignore[union-attr]
        for r in made
    ]


def zigzag(returns: int) -> list[str]:
    """Prices that go up and down by one percent of 100 in turn: ±0.01 and ∓1/101."""
    return ["100" if n % 2 == 0 else "101" for n in range(returns + 1)]


def test_a_split_is_no_move() -> None:
    """From 100 to 50.5 with two for one: 50.5 against 50, as other returns of the past."""
    past = history(AAA=[*zigzag(30), "50.5"])
    told = past.table.assign(marked_at=[at(day, 72_000) for day in past.table["day"]])
    split = {"instrument_id": "AAA", "ratio": Decimal(2), "effective_at": at(TODAY)}
    given = frames(book({"AAA": "50.5"}), Frame(told, past.coverage))
    for splits, size, is_far in (([split], "0.01", False), ([], "-0.495", True)):
        found = of_day(trading_day(), {**given, "split_history": table_frame(splits)})
        assert isinstance(found, MarksFact)
        of_today = found.days[0].marks[0].move
        assert isinstance(of_today, Move)
        assert of_today.size == Decimal(size)  # 50.5/50 - 1, and 50.5/100 - 1
        assert bool(outlying(found, EIGHT)) is is_far


# Moves ---------------------------------------------------------------------------------------


def test_a_move_is_told_beside_the_returns_before_it() -> None:
    # Twenty returns: +1/100 ten times, −1/101 ten times. Their median is (1/100 − 1/101)/2, and
    # each is as far from it as any other: (1/100 + 1/101)/2.
    found = move(*zigzag(20), "120")
    middle = (Fraction(1, 100) - Fraction(1, 101)) / 2
    spread = (Fraction(1, 100) + Fraction(1, 101)) / 2
    assert isinstance(found, Move)
    assert found.returns == 20
    assert found.size == Decimal("0.2")  # 120/100 − 1: the last of the zigzag is 100
    assert abs(Fraction(found.median) - middle) < Fraction(1, 10**8)
    assert abs(Fraction(found.mad) - spread) < Fraction(1, 10**8)


@pytest.mark.parametrize(("price", "far"), [("107.9", False), ("108.1", True), ("92", True)])
def test_beyond_eight_median_absolute_deviations_is_outlying(price: str, far: bool) -> None:
    # 8 × 0.00995 = 0.0796 around 0.00005: from −7.96 % to +7.97 %.
    found = move(*zigzag(20), price)
    assert isinstance(found, Move) and found.is_outlying(EIGHT) is far


def test_the_move_itself_is_not_among_its_past() -> None:
    # With the jump among them the MAD of three returns would not be 0.
    flat = ["100"] * 21
    found = move(*flat, "100.01")
    assert isinstance(found, Move)
    assert (found.median, found.mad) == (0, 0) and found.is_outlying(EIGHT)
    same = move(*flat, "100")
    assert isinstance(same, Move) and not same.is_outlying(EIGHT)


def test_past_outliers_do_not_widen_the_limit_much() -> None:
    jumped = [*zigzag(20), "300", *zigzag(20)]
    found = move(*jumped, "120")
    assert isinstance(found, Move) and found.mad < Decimal("0.011") and found.is_outlying(EIGHT)


def test_fewer_than_twenty_returns_are_too_short_a_history() -> None:
    assert LEAST_RETURNS == 20
    short = move(*zigzag(19), "200")
    assert isinstance(short, Missing) and short.why is Why.TOO_SHORT
    assert isinstance(move(*zigzag(20), "200"), Move)
    alone = fact(book({"AAA": "1"}), table_frame([])).days[0].marks[0].move
    assert isinstance(alone, Missing) and alone.why is Why.TOO_SHORT


def test_a_session_without_a_mark_costs_both_its_returns() -> None:
    with_gap = [*zigzag(22), None, "100", "101"]
    found = move(*with_gap)
    assert isinstance(found, Move)
    assert found.returns == 22  # the two around the gap are none; 101/100 is the move itself
    assert found.size == Decimal("0.01")
    gone = move(*zigzag(30), None, "101")
    assert isinstance(gone, Missing) and gone.why is Why.NO_MARK


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 10**6), min_size=23, max_size=40), st.integers(1, 20))
def test_it_is_the_definition(prices: list[int], factor: int) -> None:
    found = move(*map(str, prices))
    assert isinstance(found, Move)
    returns = [Fraction(b, a) - 1 for a, b in itertools.pairwise(prices)]
    *past, last = returns
    middle = median(past)
    spread = median([abs(r - middle) for r in past])
    near = Fraction(1, 10**7) * max(1, abs(last), abs(middle), spread)
    assert abs(Fraction(found.size) - last) < near
    assert abs(Fraction(found.median) - middle) < near
    assert abs(Fraction(found.mad) - spread) < near
    gap = abs(last - middle) - factor * spread
    if abs(gap) > 30 * near:
        assert found.is_outlying(Decimal(factor)) is (gap > 0)


# Extreme prices ------------------------------------------------------------------------------


def test_tiny_and_huge_prices_move_alike() -> None:
    tiny = move(*(f"{p}e-11" for p in zigzag(20)), "120e-11")
    huge = move(*(f"{p}e9" for p in zigzag(20)), "120e9")
    assert tiny == huge == move(*zigzag(20), "120")


# States --------------------------------------------------------------------------------------


def test_stale_missing_outlying_and_unjudged_marks_are_listed_with_what_they_touch() -> None:
    marks = {"FAR": "120", "NEW": "7", "OK": "101"}
    made = book(marks, "FAR", "GONE", "NEW", "OK")
    found = fact(made, history(FAR=[*zigzag(20), "120"], OK=[*zigzag(20), "101"], NEW=["7"]))
    listed = rows(found)
    assert [(name, state) for name, state, *_ in listed] == [
        ("GONE.S", "missing"), ("FAR.S", "outlying"), ("NEW.S", "not judged"),
    ]  # fmt: skip
    assert listed[1][2] == Number(value=Decimal("20.00"), unit="%")
    assert listed[1][3] == Number(value=Decimal("7.96"), unit="%")
    # 10 × 120.
    assert listed[1][4] == Money(amount=Decimal(1200), currency="USD")
    assert isinstance(listed[0][4], Missing) and isinstance(listed[2][2], Missing)
    assert page(found).summary == (
        "Of 4 marks at the close of 2026-03-02: 1 stale or missing, 1 outlying, 1 not judged."
    )
    values = {f.id: f.value.value for f in page(found).figures}  # type: ignore[union-attr]
    assert values == {
        "marks.stale": 0, "marks.missing": 1, "marks.outlying": 1, "marks.unjudged": 1,
        "marks.disagreeing": 0,
    }  # fmt: skip


def test_a_stale_mark_did_not_move() -> None:
    found = fact(book({"AAA": "120"}, stale=True), history(AAA=[*zigzag(20), None]))
    assert [(name, state, value) for name, state, _, _, value in rows(found)] == [
        ("AAA.S", "stale", Money(amount=Decimal(1200), currency="USD"))
    ]
    assert outlying(found, EIGHT) == []


def test_policy_says_how_far_is_far() -> None:
    found = fact(book({"AAA": "120"}), history(AAA=[*zigzag(20), "120"]))
    assert [r[1] for r in rows(found, "20")] == ["outlying"]  # 20 × 0.995 % = 19.9 %
    assert page(found, "21").tables == ()
    assert attention(found, context("21")) == []
    (line,) = attention(found, context())
    assert line.text == (
        "The mark of AAA.S moved +20.00 % in one session, beyond 8 MAD of its past (7.96 %); it "
        "values 1,200 USD."
    )


def test_when_nothing_is_held_nothing_is_checked() -> None:
    found = fact(book({}, *()), table_frame([]))
    assert page(found).summary == "No position was open at the close of 2026-03-02."


def test_outliers_of_every_day_are_told_the_rest_of_the_last_day() -> None:
    first = fact(book({"AAA": "120"}), history(AAA=[*zigzag(20), "120"]))
    later = first.days[0].model_copy(update={"day": date(2026, 3, 3), "marks": ()})
    whole = merge([(TODAY, first), (date(2026, 3, 3), MarksFact(days=(later,)))])
    (table,) = section(whole, [], context()).tables
    assert [row[2] for row in table.rows] == [Text(text="2026-03-02")]
    assert attention(whole, context()) == []  # told when it happened
    assert MARKS.fact.model_validate(whole.model_dump(mode="json"), strict=False) == whole


def test_a_missing_fact_says_why() -> None:
    gone = Missing(why=Why.UNREACHABLE, detail="x")
    assert "source unreachable" in page(gone).summary and page(gone).figures == ()
    assert of_day(trading_day(), {"book": gone, "mark_history": gone}) == gone
