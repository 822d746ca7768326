"""P&L: the cash identity to the last unit, tables that foot, and days that telescope in base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book import EMPTY_BOOK, Book, BookDay
from reporting.book.session import trade
from reporting.measures import Context
from reporting.measures.pnl import (
    BREAKDOWNS,
    PnlFact,
    Totals,
    daily_net,
    merge,
    of_day,
    section,
    totals,
)
from reporting.model import Missing, Money, Why, epoch_ms
from reporting.page import Section, Table, Verdict
from reporting.periods import day_span
from reporting.seal import canonical

from ..book.drawn import (
    MONDAY,
    Fill,
    Instrument,
    Oracle,
    at,
    fills_frame,
    instruments_frame,
    marks_frame,
    on,
    rates_frame,
    trading_day,
)

AAA = Instrument("AAA", tick="0.00000001", lot="0.25")
BBB = Instrument("BBB", currency="EUR", multiplier="50", tick="0.00000001", lot="0.25")
KINDS = {"AAA": AAA, "BBB": BBB}
MARKS = {"AAA": "21", "BBB": "100"}
EUR = {"EUR": "1.10"}


def close(
    fills: Sequence[Fill],
    *,
    marks: Mapping[str, str] = MARKS,
    fx_open: Mapping[str, str] = EUR,
    fx_close: Mapping[str, str] = EUR,
    opening: Book = EMPTY_BOOK,
    day: date = MONDAY,
) -> tuple[BookDay, PnlFact]:
    """One session through the book and the measure."""
    book = trade(
        opening, instruments_frame(AAA, BBB), fills_frame(fills), marks_frame(marks),
        epoch_ms(at(MONDAY)),
    )  # fmt: skip
    frames = {"book": book, "fx_open": rates_frame(fx_open), "fx_rates": rates_frame(fx_close)}
    fact = of_day(trading_day(day), frames)
    assert isinstance(fact, PnlFact)
    return book, fact


def total_of(fact: PnlFact) -> Totals:
    total = totals(fact)
    assert isinstance(total, Totals)
    return total


def page(fact: PnlFact | Missing, days: Any = None) -> Section:
    context = Context(span=day_span(MONDAY), zone="UTC", base="USD", targets={})
    return section(fact, days or [(MONDAY, fact)], context)


def table(found: Section, name: str) -> Table:
    return next(t for t in found.tables if t.id == name)


# By hand -------------------------------------------------------------------------------------


def test_the_published_fifo_example() -> None:
    # reference-numbers.json "fifo_small".
    fills = [Fill("1", 1, "100", "10"), Fill("2", 1, "100", "20"), Fill("3", -1, "100", "21")]
    total = total_of(close(fills)[1])
    assert total.realised == 1100
    assert total.unrealised == 100 * (21 - 20)
    assert total.net == total.gross == 1100 + 100


def test_fees_are_between_gross_and_net() -> None:
    fills = [Fill("1", 1, "10", "20", fee="1.25"), Fill("2", -1, "10", "22", fee="0.75")]
    total = total_of(close(fills)[1])
    assert total.gross == 10 * (22 - 20)
    assert total.fees == Decimal("1.25") + Decimal("0.75")
    assert total.net == 20 - 2


def test_the_multiplier_and_the_rate_of_another_currency() -> None:
    fills = [Fill("1", 1, "2", "98", instrument="BBB", fee="3", fee_currency="EUR")]
    total = total_of(close(fills, fx_open={"EUR": "1.05"})[1])
    assert total.unrealised == 2 * (100 - 98) * 50 * Decimal("1.10")
    assert total.fees == 3 * Decimal("1.10")
    assert total.fx == 0  # nothing had been earned before: the opening rate touches nothing
    assert total.net == Decimal("1.10") * (200 - 3)


def test_a_fee_in_another_currency_than_the_trade() -> None:
    fills = [Fill("1", 1, "1", "21", fee="2", fee_currency="EUR")]
    total = total_of(close(fills)[1])
    assert (total.gross, total.fees, total.net) == (0, Decimal("2.20"), Decimal("-2.20"))


def test_fx_on_what_was_earned_before() -> None:
    # Monday earns 2 × (100 − 98) × 50 = 200 EUR at 1.10; on Tuesday the mark rises by 1 and the
    # euro to 1.20: 100 EUR are earned at 1.20, and the 200 from before gain 0.10 each.
    monday, _ = close([Fill("1", 1, "2", "98", instrument="BBB")])
    _, fact = close(
        [],
        marks={"AAA": "21", "BBB": "101"},
        fx_close={"EUR": "1.20"},
        opening=monday.closing,
        day=MONDAY + timedelta(1),
    )
    total = total_of(fact)
    assert total.unrealised == 2 * 1 * 50 * Decimal("1.20")
    assert total.fx == 200 * (Decimal("1.20") - Decimal("1.10"))
    assert total.net == 300 * Decimal("1.20") - 200 * Decimal("1.10")


@pytest.mark.parametrize("side", ["open", "close"])
def test_a_missing_rate_is_missing_and_not_zero(side: str) -> None:
    monday, _ = close([Fill("1", 1, "2", "98", instrument="BBB")])
    _, fact = close([], opening=monday.closing, **{f"fx_{side}": {}})  # type: ignore[arg-type]
    total = totals(fact)
    assert isinstance(total, Missing)
    assert "EUR/USD" in total.detail
    assert [p.value for p in daily_net([(MONDAY, fact)])] == [total]
    assert page(fact).figures == ()
    assert page(fact).verdict is not Verdict.MET


def test_the_opening_rate_of_nothing_is_not_needed() -> None:
    _, fact = close([Fill("1", 1, "2", "98", instrument="BBB")], fx_open={})
    assert total_of(fact).net == 200 * Decimal("1.10")


def test_an_unmarked_instrument_is_left_out_whole_and_named() -> None:
    fills = [
        Fill("1", 1, "10", "20"),
        Fill("2", 1, "2", "98", instrument="BBB", fee="5", fee_currency="USD"),
        Fill("3", -1, "1", "99", instrument="BBB"),
    ]
    _, fact = close(fills, marks={"AAA": "21"})
    total = total_of(fact)
    assert total.unvalued == ("BBB",)
    assert (total.realised, total.unrealised, total.fees) == (0, 10, 0)
    assert total.identity_gap == 0
    found = page(fact)
    by = {row[0].text: row[1] for row in table(found, "pnl_by_instrument").rows}  # type: ignore[union-attr]
    assert by["AAA.S"] == Money(amount=Decimal(10), currency="USD")
    assert isinstance(by["BBB.S"], Missing)
    assert any("BBB" in note for note in found.notes)


def test_a_session_before_any_trade_has_earned_nothing() -> None:
    _, fact = close([])
    assert total_of(fact).net == 0
    total = table(page(fact), "pnl_by_strategy").total
    assert total is not None
    assert total[1] == Money(amount=Decimal(0), currency="USD")


def test_an_inverse_pair_is_not_taken_for_the_rate() -> None:
    book, _ = close([Fill("1", 1, "2", "98", instrument="BBB")])
    inverse = rates_frame({"USD": "0.9"}, base="EUR")
    inverse.coverage.control["base"] = "USD"  # type: ignore[index]
    fact = of_day(trading_day(), {"book": book, "fx_open": inverse, "fx_rates": inverse})
    assert isinstance(fact, PnlFact)
    assert isinstance(totals(fact), Missing)


def test_a_missing_book_stays_missing() -> None:
    gone = Missing(why=Why.UNREACHABLE, detail="no answer")
    assert of_day(trading_day(), {"book": gone, "fx_open": gone, "fx_rates": gone}) == gone
    assert page(gone).verdict is None


def test_a_broken_identity_is_seen() -> None:
    _, fact = close([Fill("1", 1, "100", "10"), Fill("2", -1, "40", "12")])
    (holding,) = fact.holdings
    broken = fact.model_copy(
        update={"holdings": (holding.model_copy(update={"cost_close": holding.cost_close + 1}),)}
    )
    assert total_of(broken).identity_gap == 1
    assert page(broken).verdict is Verdict.MISSED


# By property ---------------------------------------------------------------------------------

FILLS = st.lists(
    st.builds(
        Fill,
        fill_id=st.just(""),
        side=st.sampled_from([1, -1]),
        quantity=st.sampled_from(["1", "2", "0.25", "10"]),
        price=st.sampled_from(["9.875", "10", "11.0625", "10.00000001"]),
        instrument=st.sampled_from(["AAA", "BBB"]),
        account=st.sampled_from(["acc1", "acc2"]),
        strategy=st.sampled_from(["trend", "hedge"]),
        agent=st.sampled_from(["alpha", "beta"]),
        fee=st.sampled_from(["0", "0.01", "-0.005"]),
        fee_currency=st.sampled_from(["USD", "EUR", "GBP"]),
        when=st.integers(0, 3).map(lambda s: at(MONDAY, s)),
    ),
    max_size=10,
).map(lambda fills: [replace(f, fill_id=f"{i:02d}") for i, f in enumerate(fills)])
PRICES = st.fixed_dictionaries(
    {"AAA": st.sampled_from(["8", "10.5", "12"]), "BBB": st.sampled_from(["9.75", "10", "14.125"])}
)
RATES = st.fixed_dictionaries(
    {"EUR": st.sampled_from(["1.05", "1.1", "1.20003"]), "GBP": st.sampled_from(["1.25", "1.3"])}
)
DAYS = st.lists(st.tuples(FILLS, PRICES, RATES), min_size=1, max_size=4)
OPENING_RATES = {"EUR": "1.07", "GBP": "1.28"}


def closed(days: Sequence[tuple[list[Fill], dict[str, str], dict[str, str]]]) -> list[Any]:
    """(day, fact) of consecutive sessions, each opening with the book and rates of the last."""
    book, rates, facts = EMPTY_BOOK, OPENING_RATES, []
    for i, (fills, marks, fx) in enumerate(days):
        day = MONDAY + timedelta(i)
        traded, fact = close(
            on(day, fills, f"{i}-"), marks=marks, fx_open=rates, fx_close=fx, opening=book, day=day
        )
        # What is carried and what is merged goes through JSON, as it does in the store.
        book, rates = Book.model_validate_json(canonical(traded.closing)), fx
        facts.append((day, PnlFact.model_validate_json(canonical(fact))))
    return facts


def at_once(days: Sequence[tuple[list[Fill], dict[str, str], dict[str, str]]]) -> PnlFact:
    """All rows as one session, with the first opening and the last closing."""
    fills = [
        f for i, (rows, _, _) in enumerate(days) for f in on(MONDAY + timedelta(i), rows, f"{i}-")
    ]
    _, marks, fx = days[-1]
    return close(fills, marks=marks, fx_open=OPENING_RATES, fx_close=fx)[1]


@settings(deadline=None, max_examples=60)
@given(DAYS)
def test_merge_of_days_is_the_day_of_all_rows(days: Any) -> None:
    merged, whole = merge(closed(days)), at_once(days)
    # Part by part, so that a failure is short.
    for part in PnlFact.model_fields:
        if part != "explained":  # each session's own, at its own rates: it adds up, see below
            assert getattr(merged, part) == getattr(whole, part), part


@settings(deadline=None, max_examples=60)
@given(DAYS)
def test_net_telescopes_while_rates_change(days: Any) -> None:
    facts = closed(days)
    merged = total_of(merge(facts))
    daily = [total_of(fact) for _, fact in facts]
    assert Fraction(merged.net) == sum(Fraction(t.net) for t in daily)
    assert merged.identity_gap == 0
    assert all(t.identity_gap == 0 for t in daily)


@settings(deadline=None, max_examples=60)
@given(DAYS)
def test_net_equals_the_oracle(days: Any) -> None:
    facts = closed(days)
    oracle = Oracle(KINDS)
    worth = Fraction(0)  # an empty book
    for i, ((fills, marks, fx), (day, fact)) in enumerate(zip(days, facts, strict=True)):
        oracle.trade(on(day, fills, f"{i}-"))
        now = oracle.worth(marks, {"USD": "1", **fx})
        assert Fraction(total_of(fact).net) == now - worth
        worth = now
    last = total_of(merge(facts))
    assert Fraction(last.net) == worth
    rates = {"USD": "1", **days[-1][2]}
    realised = sum(gain * Fraction(rates[key[4]]) for key, gain in oracle.realised.items())
    fees = sum(fee * Fraction(rates[key[4]]) for key, fee in oracle.fees.items())
    assert Fraction(last.realised) == realised
    assert Fraction(last.fees) == fees
    parts = (last.realised, last.unrealised, -last.fees, last.fx)
    assert sum(map(Fraction, parts)) == Fraction(last.net)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(FILLS, PRICES, RATES), min_size=3, max_size=3))
def test_merge_is_associative(days: Any) -> None:
    first, second, third = closed(days)
    left = merge([(MONDAY, merge([first, second])), third])
    right = merge([first, (MONDAY, merge([second, third]))])
    assert canonical(left) == canonical(right) == canonical(merge([first, second, third]))


@settings(deadline=None, max_examples=40)
@given(DAYS)
def test_every_table_foots_to_the_total(days: Any) -> None:
    facts = closed(days)
    fact = merge(facts)
    total, found = total_of(fact), page(fact, facts)
    expected = [total.net, total.gross, total.realised, total.fees, total.fx]
    for name in (*(f"pnl_by_{label}" for _, label in BREAKDOWNS), "pnl_cells"):
        rows = table(found, name)
        assert rows.total is not None
        lead = [c.key for c in rows.columns].index("net")
        for i, amount in enumerate(expected):
            cells: list[Any] = [row[lead + i] for row in rows.rows]
            assert sum(Fraction(c.amount) for c in cells) == Fraction(amount)
            assert rows.total[lead + i] == Money(amount=amount, currency="USD")
        counts: list[Any] = [row[lead + 5] for row in rows.rows]
        assert sum(c.value for c in counts) == fact.fills
    figures: dict[str, Any] = {f.id: f.value for f in found.figures}
    assert figures["pnl.net"].amount == total.net
    assert found.verdict is not Verdict.MISSED


def test_the_sum_at_opening_rates_would_be_another_number() -> None:
    days = [
        ([Fill("1", 1, "2", "98", instrument="BBB")], MARKS, {"EUR": "1.10", "GBP": "1.3"}),
        ([], MARKS, {"EUR": "1.30", "GBP": "1.3"}),
    ]
    facts = closed(days)
    # 200 EUR were earned on Monday at 1.10 and are worth 1.30 on Tuesday.
    assert [total_of(f).net for _, f in facts] == [Decimal("220"), Decimal("40")]
    assert total_of(merge(facts)).net == 260
    assert 200 * Decimal("1.07") != 260


def test_a_gap_stays_a_gap_in_the_series() -> None:
    _, fact = close([Fill("1", 1, "10", "20")])
    gone = Missing(why=Why.UNREACHABLE)
    days = [(MONDAY, fact), (MONDAY + timedelta(1), gone), (MONDAY + timedelta(2), fact)]
    chart = page(fact, days).charts[0]
    assert chart.bars.values == (10, None, 10)  # type: ignore[union-attr]
    assert chart.lines[0].values == (10, None, 20)  # type: ignore[union-attr]
