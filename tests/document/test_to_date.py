"""P&L to date: which days count, from when, what a gap does, and that the sums are the whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book import Cell
from reporting.document import Earlier, Excerpt, history_from
from reporting.document.history import Facts
from reporting.document.to_date import ToDate, to_date, with_to_date
from reporting.measures.pnl import FxRate, PnlFact, Totals, merge, totals
from reporting.model import Missing, Money, Why
from reporting.page import Section
from reporting.periods import Span, day_span, month_span, week_span

from .days import sealed, table

CALENDAR = "XNYS"
#: A Wednesday; its week began on Monday, 30 March, its month and quarter on the same day.
TODAY = date(2026, 4, 1)
QUIET = Missing(why=Why.NO_TRADES)
GONE = Missing(why=Why.UNREACHABLE, detail="x")


def fact(
    cash: tuple[str, str], rate: tuple[str | None, str | None] = ("1", "1"), *,
    fees: str = "0", realised: str = "0", currency: str = "EUR",
    value: tuple[str, str | None] = ("0", "0"),
) -> PnlFact:  # fmt: skip
    """One cell whose cash went from one balance to another, at an opening and a closing rate."""
    (cash_open, cash_close), (value_open, value_close) = cash, value
    cell = Cell(
        strategy="s", agent="a", account="acc", instrument="I", symbol="I", currency=currency,
        fills=1, bought=Decimal(0), sold=Decimal(0), realised=Decimal(realised),
        fees=Decimal(fees), position_close=Decimal(0), cash_open=Decimal(cash_open),
        cash_close=Decimal(cash_close), value_open=Decimal(value_open),
        value_close=None if value_close is None else Decimal(value_close),
    )  # fmt: skip
    first, last = (None if r is None else Decimal(r) for r in rate)
    fx = FxRate(currency=currency, open=first, close=last, source="fix")
    return PnlFact(base="USD", cells=(cell,), holdings=(), fx=(fx,), marks=(), fills=1)


def earned(amount: str) -> PnlFact:
    return fact(("0", amount), realised=amount)


def excerpt(at: date, found: PnlFact | Missing | None, *, session: bool = True) -> Excerpt:
    instant = datetime(at.year, at.month, at.day, tzinfo=UTC)
    body = found if isinstance(found, Missing) else json.dumps(found.model_dump(mode="json")) \
        .encode() if found else None  # fmt: skip
    return Excerpt(
        day=at, revision=1, digest=f"digest of {at}", session=session, known_at=instant,
        sealed_at=instant, reason="", facts={} if body is None else {"pnl": body},
    )  # fmt: skip


def known(
    days: Mapping[date, PnlFact | Missing | None],
    *,
    whole_from: date = TODAY,
    began: date | None = None,
) -> Facts:
    """Days from ``whole_from`` are read in full, those before it as excerpts."""
    full = [sealed(d, {} if f is None else {"pnl": f}) for d, f in days.items() if d >= whole_from]
    early = [excerpt(d, f) for d, f in days.items() if d < whole_from]
    own = [c for c in full if c.sealed.day == max(days)]
    before = [c for c in full if c.sealed.day != max(days)]
    earlier = Earlier(began=began or min(days), facts_of=("pnl",), days=tuple(early))
    return Facts(own, before, trail=1, earlier=earlier)


def stretches(facts: Facts, span: Span | None = None) -> dict[str, ToDate]:
    return {s.key: s for s in to_date(facts, span or day_span(TODAY), CALENDAR, "USD")}


# Which days count ----------------------------------------------------------------------------

#: A year's few sessions, each worth a power of two: a sum says which days are in it.
YEAR = {
    date(2025, 12, 31): earned("1"),
    date(2026, 1, 2): earned("2"),
    date(2026, 3, 27): earned("4"),
    date(2026, 3, 30): earned("8"),
    date(2026, 3, 31): earned("16"),
    date(2026, 4, 1): earned("32"),
}


def sums(found: Mapping[str, ToDate]) -> dict[str, Decimal]:
    return {key: s.sum_of("net") for key, s in found.items()}


def test_each_stretch_begins_with_its_own_first_session() -> None:
    expected = {"dtd": 32, "wtd": 8 + 16 + 32, "mtd": 32, "qtd": 32, "ytd": 2 + 4 + 8 + 16 + 32}
    assert sums(stretches(known(YEAR))) == expected
    # Read in full or by excerpts: the same.
    assert sums(stretches(known(YEAR, whole_from=date(2025, 1, 1)))) == expected


def test_a_week_over_new_year_reaches_into_the_old_one() -> None:
    days = {d: f for d, f in YEAR.items() if d <= date(2026, 1, 2)}
    found = stretches(known(days, whole_from=date(2026, 1, 2)), day_span(date(2026, 1, 2)))
    assert sums(found) == {"dtd": 2, "wtd": 1 + 2, "mtd": 2, "qtd": 2, "ytd": 2}
    assert history_from(day_span(date(2026, 1, 2)), CALENDAR) < date(2025, 12, 29)


def test_a_longer_report_counts_to_its_last_session() -> None:
    week = stretches(known(YEAR), week_span(TODAY))  # until Sunday; Friday is Good Friday
    assert {s.last for s in week.values()} == {date(2026, 4, 2)}
    assert [d.isoformat() for d in week["wtd"].missing] == ["2026-04-02"]
    march = {d: f for d, f in YEAR.items() if d < date(2026, 4, 1)}
    found = stretches(known(march, whole_from=date(2026, 3, 1)), month_span(date(2026, 3, 1)))
    assert sums(found) == {"dtd": 16, "wtd": 8 + 16, "mtd": 4 + 8 + 16, "qtd": 30, "ytd": 30}


# From when, and what is missing --------------------------------------------------------------


def page(facts: Facts) -> Section:
    empty = Section(id="pnl", title="P&L")
    return with_to_date(empty, facts, day_span(TODAY), CALENDAR, "USD")


def rows(facts: Facts) -> dict[str, dict[str, Any]]:
    return {r["stretch"].text: r for r in table(page(facts), "pnl_to_date")}  # type: ignore[union-attr]


def test_a_ledger_that_begins_late_is_said_from_which_day_it_counts() -> None:
    begun = {d: YEAR.get(d, QUIET) for d in (date(2026, 3, 30), date(2026, 3, 31), TODAY)}
    found = rows(known(begun))
    assert found["Year"]["net"] == Money(amount=Decimal(56), currency="USD")
    assert found["Year"]["first"].text == "2026-03-30"
    assert found["Month"]["first"].text == "2026-04-01"
    note = page(known(begun)).tables[0].note
    assert "the ledger begins on 2026-03-30, from which year count" in note


def test_a_session_that_is_not_sealed_makes_the_sum_missing_and_is_named() -> None:
    holed = {d: f for d, f in YEAR.items() if d != date(2026, 3, 31)}
    facts = known({**holed, date(2026, 3, 30): earned("8")}, began=date(2026, 3, 30))
    found = rows(facts)
    week = found["Week"]
    assert week["net"] == Missing(why=Why.NOT_SEALED, detail="at least 1 of 3 sessions missing")
    assert week["gross"] == week["fx"] == Missing(why=Why.NOT_SEALED)
    assert week["net_known"] == Money(amount=Decimal(8 + 32), currency="USD")
    assert (week["sessions"].value, week["missing"].value) == (2, 1)
    assert week["missing_days"].text == "2026-03-31"
    assert found["Day"]["net"] == Money(amount=Decimal(32), currency="USD")
    figures = {f.id: f.value for f in page(facts).figures}
    assert isinstance(figures["pnl.net_wtd"], Missing)
    assert figures["pnl.net_mtd"] == Money(amount=Decimal(32), currency="USD")
    assert set(figures) == {f"pnl.net_{k}" for k in ("wtd", "mtd", "qtd", "ytd")}
    assert "not sealed or not known: 2026-03-31" in page(facts).tables[0].note


def test_no_trades_is_nothing_and_no_data_is_a_gap() -> None:
    week = {date(2026, 3, 30): QUIET, date(2026, 3, 31): GONE, TODAY: earned("32")}
    found = stretches(known(week))["wtd"]
    assert (found.counted, found.missing) == (2, (date(2026, 3, 31),))
    for lacking in (
        fact(("0", "1"), ("1", None)),  # no closing rate
        fact(("0", "1"), value=("0", None)),  # never marked
        fact(("0", "1")).model_copy(update={"base": "GBP"}),  # another base then
        None,  # sealed before this was measured
    ):
        gap = stretches(known({**week, date(2026, 3, 31): lacking}))["wtd"]
        assert gap.missing == (date(2026, 3, 31),), lacking


# The sums are the whole ----------------------------------------------------------------------

NUMBERS = st.integers(-(10**6), 10**6).map(lambda n: Decimal(n) / 100)
RATES = st.integers(1, 10**5).map(lambda n: Decimal(n) / 10**4)


@st.composite
def ledgers(draw: st.DrawFn) -> list[PnlFact]:
    """Days of two cells, each opening with what the day before closed with, at that day's rate."""
    days = draw(st.integers(1, 5))
    states = [[tuple(draw(NUMBERS) for _ in range(2)) for _ in range(days + 1)] for _ in range(2)]
    rates = [draw(RATES) for _ in range(days + 1)]
    made = []
    for n in range(days):
        cells = []
        for i, of in enumerate(states):
            (cash_open, value_open), (cash_close, value_close) = of[n], of[n + 1]
            one = fact(
                (str(cash_open), str(cash_close)), fees=str(abs(draw(NUMBERS))),
                realised=str(draw(NUMBERS)), value=(str(value_open), str(value_close)),
            ).cells[0]  # fmt: skip
            cells.append(one.model_copy(update={"instrument": f"I{i}"}))
        fx = FxRate(currency="EUR", open=rates[n], close=rates[n + 1], source="fix")
        made.append(
            PnlFact(base="USD", cells=tuple(cells), holdings=(), fx=(fx,), marks=(), fills=2)
        )
    return made


def of(found: Sequence[PnlFact], name: str) -> Fraction:
    each = [totals(f) for f in found]
    return sum((Fraction(getattr(t, name)) for t in each), Fraction(0))


@settings(deadline=None, max_examples=60)
@given(ledgers())
def test_net_is_the_same_day_by_day_and_over_the_whole_stretch(days: list[PnlFact]) -> None:
    dated = [(TODAY + timedelta(n), f) for n, f in enumerate(days)]
    whole = totals(merge(dated))
    assert isinstance(whole, Totals)
    assert of(days, "net") == Fraction(whole.net)
    # By hand: what everything was worth at the end, less what it was worth at the beginning.
    (first,), (last,) = days[0].fx, days[-1].fx
    worth_then = sum(c.cash_open + (c.value_open or 0) for c in days[0].cells) * (first.open or 0)
    worth_now = sum(c.cash_close + (c.value_close or 0) for c in days[-1].cells) * (last.close or 0)
    assert of(days, "net") == Fraction(worth_now) - Fraction(worth_then)
    # What is earned in the currency and what the rate did are told apart differently.
    assert of(days, "net") == of(days, "gross") - of(days, "fees") + of(days, "fx")


def test_realised_and_fees_stay_as_each_day_reported_them() -> None:
    # 10 EUR earned with a fee of 1 at 1.10, then nothing while the rate goes to 1.20.
    first = fact(("0", "9"), ("1.00", "1.10"), realised="10", fees="1")
    second = fact(("9", "9"), ("1.10", "1.20"))
    monday, tuesday = date(2026, 3, 30), date(2026, 3, 31)
    facts = known({monday: first, tuesday: second, TODAY: QUIET})
    week = rows(facts)["Week"]
    assert week["realised"] == Money(amount=Decimal("11.00"), currency="USD")  # 10 × 1.10
    assert week["fees"] == Money(amount=Decimal("1.10"), currency="USD")
    assert week["fx"] == Money(amount=Decimal("0.90"), currency="USD")  # 9 × 0.10
    assert week["net"] == Money(amount=Decimal("10.80"), currency="USD")  # 9 × 1.20
    whole = totals(merge([(monday, first), (tuesday, second)]))
    assert isinstance(whole, Totals)
    assert (whole.realised, whole.fees, whole.fx, whole.net) == (
        Decimal("12.00"), Decimal("1.20"), 0, Decimal("10.80"),
    )  # fmt: skip


# How far back --------------------------------------------------------------------------------


def test_history_reaches_to_new_year_and_over_two_hundred_and_fifty_sessions() -> None:
    # New York has 251 sessions in 2026, from 2 January on.
    assert history_from(day_span(date(2026, 12, 31)), CALENDAR) == date(2026, 1, 1)
    # 251 sessions: from 31 December 2024 on, New York had 250 sessions in 2025.
    assert history_from(day_span(date(2025, 12, 31)), CALENDAR) == date(2024, 12, 31)
    # Around the clock 251 sessions are 251 days: the year is longer.
    assert history_from(day_span(date(2025, 12, 31)), "24/7") == date(2025, 1, 1)
