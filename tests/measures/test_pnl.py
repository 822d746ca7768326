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

from reporting.book import EMPTY_BOOK, NOTHING_BESIDE, Beside, Book, BookDay
from reporting.book.session import trade
from reporting.measures import Context
from reporting.measures.pnl import (
    BREAKDOWNS,
    COMPONENTS,
    PnlFact,
    Totals,
    daily_net,
    merge,
    of_day,
    section,
    totals,
)
from reporting.model import Missing, Money, Why, epoch_ms
from reporting.page import Section, Table, Target, Verdict
from reporting.periods import day_span
from reporting.seal import canonical

from ..book.drawn import (
    MONDAY,
    Fill,
    Instrument,
    Oracle,
    action,
    at,
    fee_item,
    fills_frame,
    flow,
    instruments_frame,
    marks_frame,
    on,
    rates_frame,
    small_fills,
    table_frame,
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
    method: Any = "fifo",
    beside: Beside = NOTHING_BESIDE,
) -> tuple[BookDay, PnlFact]:
    """One session through the book and the measure."""
    book = trade(
        opening, instruments_frame(AAA, BBB), fills_frame(fills), marks_frame(marks),
        epoch_ms(at(MONDAY)), method=method, beside=beside,
    )  # fmt: skip
    frames = {"book": book, "fx_open": rates_frame(fx_open), "fx_rates": rates_frame(fx_close)}
    fact = of_day(trading_day(day), frames)
    assert isinstance(fact, PnlFact)
    return book, fact


def total_of(fact: PnlFact) -> Totals:
    total = totals(fact)
    assert isinstance(total, Totals)
    return total


def page(fact: PnlFact | Missing, days: Any = None, limit: str | None = None) -> Section:
    targets = {}
    if limit is not None:
        name = "pnl_residual"
        targets[name] = Target(id=name, comparator="le", value=Decimal(limit), unit="base currency")
    context = Context(span=day_span(MONDAY), zone="UTC", base="USD", targets=targets)
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


# Explained -----------------------------------------------------------------------------------


def parts(fact: PnlFact) -> dict[str, Decimal]:
    """The components over all cells."""
    assert not isinstance(fact.explained, Missing)
    names = (*COMPONENTS, "total")
    return {n: sum((getattr(x, n) for x in fact.explained), Decimal(0)) for n in names}


def test_a_day_explained_by_hand() -> None:
    monday, _ = close([Fill("1", 1, "2", "98", instrument="BBB")])  # worth 200 EUR at 100
    first = Fill("2", -1, "1", "103", instrument="BBB")  # as recorded; busted
    now = Fill("4", -1, "1", "104", instrument="BBB", fee="3", fee_currency="USD")
    _, fact = close(
        [now],
        marks={"AAA": "21", "BBB": "101"},
        fx_close={"EUR": "1.20"},
        opening=monday.closing,
        day=MONDAY + timedelta(1),
        beside=Beside(
            actions=table_frame(
                [action("d", "dividend", "4", at(MONDAY, 0), currency="EUR", instrument_id="BBB")]
            ),
            flows=table_frame([flow("f", "funding", "-7"), flow("i", "interest", "2")]),
            replaced=small_fills([first]),
            correcting=small_fills([now], "correct"),
        ),
    )
    rate = Decimal("1.20")
    assert parts(fact) == {
        "carried": 2 * (101 - 100) * 50 * rate,
        "intraday": -1 * (101 - 103) * 50 * rate,
        "corrections": (104 - 103) * 50 * rate,
        "fees": -3,
        "funding": -7 + 2,
        "dividends": 4 * 2 * rate,
        "fx": 200 * (rate - Decimal("1.10")),
        "total": (100 + 150 + 8) * rate + 20 - 3 - 5,
    }
    assert total_of(fact).net == parts(fact)["total"]
    found = page(fact)
    rows = {row[0].text: row[1] for row in table(found, "pnl_explain").rows}  # type: ignore[union-attr]
    assert rows["Residual"] == Money(amount=Decimal(0), currency="USD")
    assert rows["Dividends"] == Money(amount=Decimal("9.6"), currency="USD")
    chart = next(c for c in found.charts if c.id == "pnl_explain")
    shown = [row[1].amount for row in table(found, "pnl_explain").rows[:7]]  # type: ignore[union-attr]
    assert list(chart.bars.values)[:7] == shown == [parts(fact)[name] for name in COMPONENTS]  # type: ignore[union-attr]
    # A waterfall: every bar begins where the one before ended, the last is the net from 0.
    assert list(chart.starts) == [*(sum(shown[:n]) for n in range(7)), 0]  # type: ignore[union-attr]
    assert (chart.labels[-1], chart.bars.values[-1]) == ("Net P&L", total_of(fact).net)  # type: ignore[union-attr]
    assert f"net P&L {total_of(fact).net:.2f} USD" in chart.alt
    identity = {row[0].text for row in table(found, "pnl_identity").rows}  # type: ignore[union-attr]
    assert {"+ Dividends", "+ Funding, interest and charges"} <= identity
    assert total_of(fact).gross == total_of(fact).net + 3 - total_of(fact).fx


def broken(fact: PnlFact, by: str) -> PnlFact:
    """The same with an amount that nobody explains."""
    assert not isinstance(fact.explained, Missing)
    row, *others = fact.explained
    wrong = row.model_copy(update={"intraday": row.intraday - Decimal(by)})
    return fact.model_copy(update={"explained": (wrong, *others)})


@pytest.mark.parametrize(
    ("by", "limit", "verdict"),
    [
        ("0", "0", Verdict.MET),
        ("0.01", "0", Verdict.MISSED),
        ("-0.01", "0", Verdict.MISSED),
        ("0.01", "0.01", Verdict.MET),
        ("0.01", None, Verdict.MISSED),
    ],
)
def test_the_residual_is_shown_and_limited(by: str, limit: str | None, verdict: Verdict) -> None:
    fact = broken(close([Fill("1", 1, "10", "20")])[1], by)
    found = page(fact, limit=limit)
    figure = next(f for f in found.figures if f.id == "pnl.residual")
    assert figure.value == Money(amount=Decimal(by), currency="USD")
    assert figure.verdict is verdict
    assert found.verdict is (Verdict.MISSED if verdict is Verdict.MISSED else None)


def test_a_day_without_an_explanation_makes_none_for_the_period() -> None:
    _, fact = close([Fill("1", 1, "10", "20", fee="1")])
    new = ("explained", "fee_items", "methods", "changes")
    before = {k: v for k, v in fact.model_dump(mode="json").items() if k not in new}
    old = PnlFact.model_validate_json(canonical(before))  # as sealed by older code
    assert (old.method, old.cells) == ("fifo", fact.cells)
    assert isinstance(old.explained, Missing) and isinstance(old.fee_items, Missing)
    merged = merge([(MONDAY, old), (MONDAY + timedelta(1), fact)])
    assert isinstance(merged.explained, Missing)
    found = page(merged)
    assert isinstance(table(found, "pnl_explain").rows[0][1], Missing)
    assert next(f for f in found.figures if f.id == "pnl.residual").verdict is None
    assert [c.id for c in found.charts] == []


def test_a_position_that_had_no_mark_on_a_day_between_is_not_explained() -> None:
    held = [Fill("1", 1, "10", "20"), Fill("2", 1, "2", "98", instrument="BBB")]
    monday, first = close(held, marks={"AAA": "21"})
    tuesday, second = close([], opening=monday.closing, day=MONDAY + timedelta(1))
    # Whole days without a mark at either end are left out of every sum, as before.
    later = {"AAA": "21", "BBB": "101"}
    _, third = close([], marks=later, opening=tuesday.closing, day=MONDAY + timedelta(2))
    merged = merge([(MONDAY + timedelta(i), f) for i, f in enumerate((first, second, third))])
    assert total_of(merged).net == 10 + 330
    found = page(merged)
    rows = {row[0].text: row[1] for row in table(found, "pnl_explain").rows}  # type: ignore[union-attr]
    assert rows["Not explained: no mark"] == Money(amount=Decimal(330), currency="USD")
    assert rows["Residual"] == Money(amount=Decimal(0), currency="USD")
    assert any("BBB" in note for note in found.notes)


# Labels, fees and cents ----------------------------------------------------------------------


def test_figures_say_their_method_and_a_change_is_printed() -> None:
    monday, first = close([Fill("1", 1, "10", "20"), Fill("2", 1, "10", "22")])
    tuesday = MONDAY + timedelta(1)
    _, second = close(
        [Fill("3", -1, "5", "23")], opening=monday.closing, day=tuesday, method="average"
    )
    realised = next(f for f in page(second).figures if f.id == "pnl.realised")
    assert realised.label == "Realised (average cost)"
    assert realised.value == Money(amount=Decimal(5 * (23 - 21)), currency="USD")
    merged = merge([(MONDAY, first), (tuesday, second)])
    assert merged.methods == ("fifo", "average")
    found = page(merged)
    assert "Realised (FIFO, then average cost)" in {f.label for f in found.figures}
    (note,) = [n for n in found.notes if "changed" in n]
    assert "from FIFO to average cost" in note and tuesday.isoformat() in note


def test_fees_by_kind_foot_to_the_fees() -> None:
    fills = [Fill("1", 1, "1", "21", fee="3"), Fill("2", 1, "1", "21", fee="2", fee_currency="EUR")]
    items = [fee_item("commission", "2"), fee_item("tax", "2", currency="EUR")]
    _, fact = close(fills, beside=Beside(fee_items=table_frame(items)))
    fees = table(page(fact), "pnl_fees")
    shown = [(r[0].text, r[1].amount, r[1].currency, r[2].amount) for r in fees.rows]  # type: ignore[union-attr]
    assert shown == [
        ("tax", 2, "EUR", Decimal("2.20")),  # the biggest in base first
        ("commission", 2, "USD", 2),
        ("not itemised", 1, "USD", 1),
    ]
    assert fees.total is not None
    assert fees.total[2] == Money(amount=Decimal("5.20"), currency="USD")
    # A day that was not itemised counts whole beside one that was.
    _, other = close([Fill("3", 1, "1", "21", fee="4")])
    assert isinstance(table(page(other), "pnl_fees").rows[0][1], Missing)
    merged = merge([(MONDAY, other), (MONDAY, fact)])
    assert not isinstance(merged.fee_items, Missing)
    rest = [i.amount for i in merged.fee_items if i.kind == "not itemised"]
    assert rest == [1 + 4]


def test_cents_that_do_not_add_up_are_told() -> None:
    # Three strategies of 0.005 each: 0.00 + 0.00 + 0.00 as shown, 0.02 in all.
    fills = [
        Fill(str(i), 1, "1", "20.995", strategy=name) for i, name in enumerate(("a", "b", "c"))
    ]
    found = page(close(fills)[1])
    note = table(found, "pnl_by_strategy").note
    assert "Net 0.02 USD" in note and "exact" in note
    assert table(found, "pnl_by_account").note == ""
    even = page(close([Fill("1", 1, "1", "20.99")])[1])
    assert table(even, "pnl_by_strategy").note == ""


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


@settings(deadline=None, max_examples=40)
@given(DAYS)
def test_merge_of_days_is_the_day_of_all_rows(days: Any) -> None:
    merged, whole = merge(closed(days)), at_once(days)
    # Part by part, so that a failure is short.
    for part in PnlFact.model_fields:
        if part == "explained":  # each session's own, at its own rates: it adds up, see below
            continue
        one, other = getattr(merged, part), getattr(whole, part)
        if part == "fx":  # the rates of the last session are older than the one session of all
            one, other = ([r.model_copy(update={"stale": False}) for r in x] for x in (one, other))
        assert one == other, part


@settings(deadline=None, max_examples=40)
@given(DAYS)
def test_net_telescopes_while_rates_change(days: Any) -> None:
    facts = closed(days)
    merged = total_of(merge(facts))
    daily = [total_of(fact) for _, fact in facts]
    assert Fraction(merged.net) == sum(Fraction(t.net) for t in daily)
    assert merged.identity_gap == 0
    assert all(t.identity_gap == 0 for t in daily)


@settings(deadline=None, max_examples=40)
@given(DAYS)
def test_the_explanation_adds_up_and_is_that_of_each_fill(days: Any) -> None:
    facts = closed(days)
    held: dict[str, Fraction] = {}
    last: dict[str, str] = {}
    worth: dict[str, Fraction] = {}  # earned and kept so far, by currency
    rates, whole = {"USD": "1", **OPENING_RATES}, dict.fromkeys(COMPONENTS, Fraction(0))
    for (fills, marks, fx), (_, fact) in zip(days, facts, strict=True):
        now = {"USD": "1", **fx}
        told = dict.fromkeys(COMPONENTS, Fraction(0))
        for currency, amount in worth.items():
            told["fx"] += amount * (Fraction(now[currency]) - Fraction(rates[currency]))
        for name, kind in KINDS.items():
            move = Fraction(marks[name]) - Fraction(last.get(name, marks[name]))
            gain = held.get(name, Fraction(0)) * move * Fraction(kind.multiplier)
            told["carried"] += gain * Fraction(now[kind.currency])
            worth[kind.currency] = worth.get(kind.currency, Fraction(0)) + gain
        for f in fills:
            kind, signed = KINDS[str(f.instrument)], f.side * Fraction(f.quantity)
            move = Fraction(marks[kind.name]) - Fraction(f.price)
            gain, fee = signed * move * Fraction(kind.multiplier), Fraction(f.fee)
            told["intraday"] += gain * Fraction(now[kind.currency])
            told["fees"] -= fee * Fraction(now[str(f.fee_currency)])
            for currency, amount in ((kind.currency, gain), (str(f.fee_currency), -fee)):
                worth[currency] = worth.get(currency, Fraction(0)) + amount
            held[kind.name] = held.get(kind.name, Fraction(0)) + signed
        found = {name: Fraction(amount) for name, amount in parts(fact).items()}
        assert found == {**told, "total": sum(told.values())}
        assert sum(told.values()) == Fraction(total_of(fact).net)
        whole = {name: whole[name] + told[name] for name in COMPONENTS}
        last, rates = marks, now
    merged = merge(facts)
    assert {n: Fraction(a) for n, a in parts(merged).items() if n != "total"} == whole
    page_of = page(merged, facts)
    assert next(f for f in page_of.figures if f.id == "pnl.residual").verdict is Verdict.MET
    cells = table(page_of, "pnl_cells")
    assert cells.total is not None
    for i, column in enumerate(cells.columns):
        if not column.shown:
            amounts: list[Any] = [row[i] for row in cells.rows]
            total: Any = cells.total[i]
            assert sum(Fraction(a.amount) for a in amounts) == Fraction(total.amount)


@settings(deadline=None, max_examples=40)
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
