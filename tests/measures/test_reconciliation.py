"""Reconciliation: what is a break, what it is worth, how old it is, and what is no break at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book import EMPTY_BOOK, BookDay, Transfer
from reporting.book.session import trade
from reporting.book.statements import statements
from reporting.facts import facts_of
from reporting.measures import Context
from reporting.measures.reconciliation import (
    NO_STATEMENTS,
    RECONCILIATION,
    TOLERANCE,
    Break,
    ReconciledDay,
    ReconciliationFact,
    Statement,
    aged,
    attention,
    merge,
    of_day,
    section,
)
from reporting.model import Count, Frame, Frames, Missing, Money, Number, Ratio, Text, Why, epoch_ms
from reporting.page import Section, Target, Verdict
from reporting.periods import day_span, week_span

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

EVENING = at(MONDAY, 72_000)
KINDS = (Instrument("AAA"), Instrument("FUT", "EUR", multiplier="50"), Instrument("NEW"))
MARKS = {"AAA": "11", "FUT": "100.5"}
#: 10 AAA bought at 10 with a fee of 1, and 2 FUT sold at 100: −101 USD and +10,000 EUR.
FILLS = (
    Fill("1", 1, "10", "10", fee="1"),
    Fill("2", -1, "2", "100", "FUT", fee_currency="EUR"),
)


def book(fills: Sequence[Fill] = FILLS, marks: Mapping[str, str] = MARKS) -> BookDay:
    frames = instruments_frame(*KINDS), fills_frame(fills), marks_frame(marks)
    return trade(EMPTY_BOOK, *frames, epoch_ms(at(MONDAY)))


def positions(
    *rows: tuple[str, str], when: datetime = EVENING, **more: str
) -> list[dict[str, Any]]:
    return [_row("instrument_id", "quantity", name, n, when, **more) for name, n in rows]


def cash(*rows: tuple[str, str], when: datetime = EVENING, **more: str) -> list[dict[str, Any]]:
    return [_row("currency", "balance", name, n, when, **more) for name, n in rows]


def _row(
    item: str, amount: str, name: str, number: str, when: datetime, account: str = "acc1",
    source: str = "bank",
) -> dict[str, Any]:  # fmt: skip
    return {
        "account_id": account, item: name, amount: Decimal(number), "source": source,
        "stated_at": when,
    }  # fmt: skip


def frames(
    stated: Sequence[Mapping[str, Any]] | Missing,
    balances: Sequence[Mapping[str, Any]] | Missing,
    of: BookDay | None = None,
) -> Frames:
    return {
        "book": of or book(),
        "instruments": instruments_frame(*KINDS),
        "marks": marks_frame(MARKS),
        "reported_positions": stated if isinstance(stated, Missing) else table_frame(stated),
        "reported_cash": balances if isinstance(balances, Missing) else table_frame(balances),
    }


AGREED = positions(("AAA", "10"), ("FUT", "-2"))
BALANCES = cash(("USD", "-101"), ("EUR", "10000.00"))
GONE = Missing(why=Why.NOT_MEASURED, detail="the ledger has no view ledger.reported_cash")


def fact(
    stated: Any = AGREED, balances: Any = BALANCES, of: BookDay | None = None
) -> ReconciliationFact:
    found = of_day(trading_day(), frames(stated, balances, of))
    assert isinstance(found, ReconciliationFact), found
    return found


def breaks(found: ReconciliationFact) -> list[tuple[Any, ...]]:
    return [(b.name, b.ours, b.theirs, b.value) for b in found.days[-1].breaks]


def context(span: Any = None, tolerance: str = "") -> Context:
    target = Target(id=TOLERANCE, comparator="le", value=Decimal(tolerance or 0), unit="")
    targets = {TOLERANCE: target} if tolerance else {}
    return Context(span=span or day_span(MONDAY), zone="UTC", base="USD", targets=targets)


def page(found: Any, tolerance: str = "") -> Section:
    return section(found, [(MONDAY, found)], context(tolerance=tolerance))


# One day -------------------------------------------------------------------------------------


def test_what_is_stated_as_we_have_it_agrees() -> None:
    found = fact()
    assert breaks(found) == []
    assert [(s.kind, s.compared, s.agreed, s.stale) for s in found.days[0].statements] == [
        ("position", 2, 2, False), ("cash", 2, 2, False),
    ]  # fmt: skip
    laid_out = page(found)
    assert laid_out.verdict is Verdict.MET
    values = {f.id: f.value for f in laid_out.figures}
    assert values["reconciliation.positions_matched"] == Ratio(
        numerator=Decimal(2), denominator=Decimal(2)
    )
    assert values["reconciliation.cash_matched"] == Ratio(
        numerator=Decimal(2), denominator=Decimal(2)
    )
    assert values["reconciliation.oldest_break_sessions"] == Count(value=0)
    assert attention(found, [(MONDAY, found)], context()) == []


def test_a_break_is_ours_less_theirs_at_the_mark() -> None:
    # 10 − 7 = 3 AAA at 11; −2 − (−3) = 1 FUT of 50 at 100.5.
    found = fact(positions(("AAA", "7"), ("FUT", "-3")))
    assert breaks(found) == [("AAA.S", 10, 7, 3 * 11), ("FUT.S", -2, -3, Decimal("50") * 100 + 25)]
    assert [b.difference for b in found.days[0].breaks] == [3, 1]
    assert page(found).verdict is Verdict.MISSED


def test_what_only_one_side_has_is_a_break_against_nothing() -> None:
    found = fact(positions(("AAA", "10"), ("NEW", "5"), ("ALIEN", "1")))
    # NEW has no mark and ALIEN is no instrument of ours: a break all the same, worth nobody knows.
    assert breaks(found) == [
        ("ALIEN", 0, 1, None), ("FUT.S", -2, 0, -2 * 50 * Decimal("100.5")), ("NEW.S", 0, 5, None),
    ]  # fmt: skip


def test_flat_on_both_sides_is_nothing_to_compare() -> None:
    flat = book([*FILLS, Fill("3", -1, "10", "12", when=at(MONDAY, 5))])
    found = fact(positions(("FUT", "-2")), cash(("USD", "19"), ("EUR", "10000")), flat)
    assert breaks(found) == []  # −101 + 120 = 19 USD
    assert found.days[0].statements[0].compared == 1


def test_cash_is_what_trading_paid_and_what_was_moved_in() -> None:
    moved = (
        Transfer(account="acc1", currency="USD", balance=Decimal(1000)),
        Transfer(account="acc1", currency="GBP", balance=Decimal("0.05")),
    )
    plain = book()
    closing = plain.closing.model_copy(update={"transfers": moved})
    found = fact(AGREED, BALANCES, plain.model_copy(update={"closing": closing}))
    assert breaks(found) == [("GBP", Decimal("0.05"), 0, Decimal("0.05")), ("USD", 899, -101, 1000)]


def test_each_source_is_compared_by_itself() -> None:
    both = [*AGREED, *positions(("AAA", "9"), source="exchange")]
    found = fact(both)
    assert [(b.source, b.name, b.difference) for b in found.days[0].breaks] == [
        ("exchange", "AAA.S", 1), ("exchange", "FUT.S", -2),
    ]  # fmt: skip


def test_an_old_statement_is_compared_and_proves_nothing() -> None:
    before = at(MONDAY) - timedelta(seconds=1)
    found = fact(positions(("AAA", "10"), ("FUT", "-2"), when=before))
    assert [s.stale for s in found.days[0].statements] == [True, False]
    assert page(found).verdict is Verdict.UNKNOWN
    (line,) = attention(found, [(MONDAY, found)], context())
    assert line.severity == "warning" and "from before the session" in line.text
    at_the_start = fact(positions(("AAA", "10"), ("FUT", "-2"), when=at(MONDAY)))
    assert page(at_the_start).verdict is Verdict.MET


def test_an_account_that_nobody_speaks_of_is_named() -> None:
    two = book([*FILLS, Fill("3", 1, "1", "10", account="acc2")])
    found = fact(AGREED, BALANCES, two)
    assert found.days[0].unstated == (("cash", "acc2"), ("position", "acc2"))
    assert page(found).verdict is Verdict.UNKNOWN
    texts = [a.text for a in attention(found, [(MONDAY, found)], context())]
    assert texts == ["No statement speaks of acc2."]


def test_without_cash_statements_positions_are_compared() -> None:
    found = fact(AGREED, GONE)
    values = {f.id: f.value for f in page(found).figures}
    assert isinstance(values["reconciliation.cash_matched"], Missing)
    assert values["reconciliation.positions_matched"] == Ratio(
        numerator=Decimal(2), denominator=Decimal(2)
    )


@pytest.mark.parametrize(("stated", "balances"), [(GONE, GONE), ([], []), (GONE, [])])
def test_no_statement_at_all_is_missing_and_no_verdict(stated: Any, balances: Any) -> None:
    found = of_day(trading_day(), frames(stated, balances))
    assert found == NO_STATEMENTS
    laid_out = section(found, [], context())
    assert laid_out.verdict is None and laid_out.figures == ()
    assert "no statements" in laid_out.summary


def test_a_book_that_is_not_known_is_the_reason() -> None:
    gone = Missing(why=Why.UNREACHABLE, detail="x")
    made = facts_of(trading_day(), {**frames(AGREED, BALANCES), "book": gone})
    assert made["reconciliation"] == gone


def test_a_tolerance_is_for_cash_only_and_inclusive() -> None:
    near = cash(("USD", "-101.05"), ("EUR", "10000.06"))
    found = fact(positions(("AAA", "9.99"), ("FUT", "-2")), near)

    def rows(tolerance: str) -> list[Any]:
        return [row[2].text for row in page(found, tolerance).tables[0].rows]  # type: ignore[union-attr]

    assert rows("0.05") == ["EUR", "AAA.S"]
    assert rows("0.06") == ["AAA.S"]
    assert rows("") == ["EUR", "USD", "AAA.S"]
    values = {f.id: f.value for f in page(found, "0.05").figures}
    assert values["reconciliation.cash_matched"] == Ratio(
        numerator=Decimal(1), denominator=Decimal(2)
    )


@settings(deadline=None, max_examples=30)
@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(-3, 3), max_size=5),
    st.dictionaries(st.sampled_from("abcde"), st.integers(-3, 3), max_size=5),
)
def test_differences_add_up_to_the_difference_of_the_sides(
    ours: dict[str, int], theirs: dict[str, int]
) -> None:
    kinds = [Instrument(name) for name in "abcde"]
    fills = [
        Fill(name, 1 if n > 0 else -1, str(abs(n)), "1", name) for name, n in ours.items() if n
    ]
    made = trade(
        EMPTY_BOOK, instruments_frame(*kinds), fills_frame(fills), marks_frame({}),
        epoch_ms(at(MONDAY)),
    )  # fmt: skip
    stated = positions(*((name, str(n)) for name, n in theirs.items()))
    found = of_day(trading_day(), frames(stated, GONE, made))
    if not theirs:
        assert found == NO_STATEMENTS
        return
    assert isinstance(found, ReconciliationFact)
    differing = {k: ours.get(k, 0) - theirs.get(k, 0) for k in {*ours, *theirs}}
    assert {b.item: b.difference for b in found.days[0].breaks} == {
        k: n for k, n in differing.items() if n
    }


# Statements as they come ---------------------------------------------------------------------


def test_of_two_lines_about_one_thing_the_last_counts_and_is_found() -> None:
    twice = [*AGREED, *positions(("AAA", "11"))]
    kept = statements(table_frame(twice))
    assert [(r["instrument_id"], r["quantity"]) for r in kept.table.to_dict("records")] == [
        ("FUT", -2), ("AAA", 11),
    ]  # fmt: skip
    (found,) = kept.findings
    assert (found.check, found.severity, found.count) == ("positions stated twice", "warning", 1)
    assert found.samples == ("bank / acc1 / AAA",)


def test_the_same_line_twice_is_a_note() -> None:
    (found,) = statements(table_frame([*BALANCES, *BALANCES[:1]])).findings
    assert (found.check, found.severity, found.count) == ("cash stated twice", "note", 1)


@pytest.mark.parametrize("row", [cash(("usd", "1")), cash(("USDT", "1")), cash(("USD", "NaN"))])
def test_a_line_that_says_nothing_is_left_out_and_found(row: list[dict[str, Any]]) -> None:
    kept = statements(table_frame([*cash(("EUR", "2")), *row]))
    assert kept.table["currency"].tolist() == ["EUR"]
    severity = "warning" if row[0]["balance"].is_finite() else "error"
    assert [f.severity for f in kept.findings] == [severity]


def test_statements_without_rows_stay() -> None:
    empty = table_frame([])
    assert isinstance(empty, Frame) and statements(empty) is empty


# Several days --------------------------------------------------------------------------------


def day(n: int) -> date:
    return MONDAY + timedelta(n)


def one(n: int, *differences: tuple[str, str], stale: bool = False) -> tuple[date, Any]:
    """A session on which items differ by so much."""
    found = tuple(
        Break(
            kind="position", source="bank", account="acc1", item=item, name=item, currency="USD",
            ours=Decimal(much), theirs=Decimal(0), value=Decimal(much) * 2,
        )
        for item, much in differences
    )  # fmt: skip
    stated = Statement(
        kind="position", source="bank", account="acc1", stated_at=at(day(n)), stale=stale,
        compared=9, agreed=9 - len(found),
    )  # fmt: skip
    made = ReconciledDay(day=day(n), statements=(stated,), breaks=found, unstated=())
    return day(n), ReconciliationFact(days=(made,))


def ages(*days: tuple[date, Any]) -> tuple[list[Any], list[Any]]:
    open_, gone = aged(days, Decimal(0))
    return (
        [(a.last.item, a.sessions, a.first, a.at_least) for a in open_],
        [(a.last.item, a.sessions, a.seen) for a in gone],
    )


def test_a_break_ages_by_sessions_while_its_sign_stays() -> None:
    days = [one(0), one(1, ("X", "5")), one(2, ("X", "7")), one(4, ("X", "1"), ("Y", "2"))]
    # X stood on three sessions whatever its size; the calendar day between them is no session.
    assert ages(*days) == ([("X", 3, day(1), False), ("Y", 1, day(4), False)], [])
    assert ages(*days[:1]) == ([], [])


def test_another_sign_is_another_break() -> None:
    days = [one(0), one(1, ("X", "5")), one(2, ("X", "-5"))]
    assert ages(*days) == ([("X", 1, day(2), False)], [("X", 1, day(1))])


def test_one_that_was_gone_begins_anew() -> None:
    days = [one(0, ("X", "1")), one(1), one(2, ("X", "1"))]
    assert ages(*days) == ([("X", 1, day(2), False)], [("X", 1, day(0))])


def test_the_first_day_that_is_known_gives_a_least_age() -> None:
    assert ages(one(0, ("X", "1")), one(1, ("X", "1"))) == ([("X", 2, day(0), True)], [])


def test_a_session_that_nobody_saw_counts_and_ends_nothing() -> None:
    gone: tuple[date, Any] = (day(2), Missing(why=Why.UNREACHABLE))
    weekend: tuple[date, Any] = (day(3), Missing(why=Why.NO_SESSION))
    days = [one(0), one(1, ("X", "1")), gone, weekend, one(4, ("X", "1"))]
    assert ages(*days) == ([("X", 3, day(1), False)], [])


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(-1, 1), min_size=1, max_size=12))
def test_age_is_the_length_of_the_last_run_of_one_sign(signs: list[int]) -> None:
    days = [one(n, *([("X", str(s))] if s else [])) for n, s in enumerate(signs)]
    open_, gone = ages(*days)
    run = 0
    for s in reversed(signs):
        if s != signs[-1]:
            break
        run += 1
    assert [a[1] for a in open_] == ([run] if signs[-1] else [])
    runs = [s for n, s in enumerate(signs) if s and (n == 0 or signs[n - 1] != s)]
    assert len(gone) == len(runs) - bool(signs[-1])


def test_days_are_kept_as_they_are() -> None:
    days = [one(0, ("X", "1")), one(1)]
    assert merge(days) == ReconciliationFact(days=(*days[0][1].days, *days[1][1].days))
    sealed = merge(days).model_dump(mode="json")
    assert RECONCILIATION.fact.model_validate(sealed, strict=False) == merge(days)


def test_a_week_shows_what_is_open_at_its_end_and_what_went_in_it() -> None:
    before = [one(-4, ("OLD", "1"), ("X", "3")), one(-3, ("X", "3"))]
    within = [one(0, ("X", "3"), ("Y", "-4")), one(1, ("Y", "-4"), ("Z", "1"))]
    whole = merge(within)
    laid_out = section(whole, [*before, *within], context(week_span(MONDAY)))
    open_, gone, _ = laid_out.tables
    assert [(r[2], r[8]) for r in open_.rows] == [
        (Text(text="Y"), Count(value=2)), (Text(text="Z"), Count(value=1)),
    ]  # fmt: skip
    # OLD went before the week began; X stood on three sessions, of which one is of the week.
    assert [(r[2], r[8]) for r in gone.rows] == [(Text(text="X"), Count(value=3))]
    values = {f.id: f.value for f in laid_out.figures}
    # Four of 2 × 9 comparisons differ.
    assert values["reconciliation.positions_matched"] == Ratio(
        numerator=Decimal(18 - 4), denominator=Decimal(18)
    )
    (line,) = attention(whole, [*before, *within], context(week_span(MONDAY)))
    # |−4| × 2 + |1| × 2 = 10.
    assert line.text == (
        "2 open breaks with what others state, worth 10.00 USD; the oldest, Y in acc1, has stood "
        "for 2 sessions."
    )
    assert line.severity == "alarm"


def test_amounts_are_shown_in_their_own_kind() -> None:
    found = fact(positions(("AAA", "7"), ("FUT", "-2")), cash(("USD", "0"), ("EUR", "10000")))
    rows = {row[2].text: row for row in page(found).tables[0].rows}  # type: ignore[union-attr]
    assert rows["USD"][6] == Money(amount=Decimal(-101), currency="USD")
    assert rows["AAA.S"][6] == Number(value=Decimal(3))
    assert Fraction(rows["AAA.S"][7].amount) == 33  # type: ignore[union-attr]
