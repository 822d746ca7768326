"""Fills, orders, quotes and market trades that a person can read, and what they must come to.

The oracle below goes through them one by one in fractions and shares nothing with the code under
test: no arrays, no searching, no sums by code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from reporting.book.execution import Executions, executions, market_of
from reporting.model import Frame, Missing, Why, Window
from reporting.periods import TradingDay

from .drawn import (
    MONDAY,
    Instrument,
    _category,
    _scale,
    _scaled,
    at,
    coverage,
    instruments_frame,
    microseconds,
)

ZERO_US = microseconds(at(MONDAY))
DAY_US = 86_400_000_000
FINAL = ("filled", "cancelled", "rejected", "expired")
NO_VIEW = Missing(why=Why.NOT_MEASURED, detail="the ledger has no such view")
MARKOUTS = {"markout_1s": 1, "markout_10s": 10, "markout_60s": 60}


def us(seconds: float, day: int = 0) -> int:
    """An instant so many seconds into Monday, or a later day."""
    return ZERO_US + day * DAY_US + round(seconds * 1_000_000)


@dataclass(frozen=True)
class Execution:
    fill_id: str
    order_id: str | None
    when: int
    side: int
    quantity: str
    price: str
    instrument: str = "AAA"
    venue: str = "X"
    fee: str = "0"
    fee_currency: str = "USD"
    agent: str = "alpha"


@dataclass(frozen=True)
class Order:
    order_id: str
    side: int
    quantity: str
    placed: int
    done: int = -1
    status: str = "working"
    decision: str | None = None
    arrival: str | None = None
    replaces: str | None = None
    instrument: str = "AAA"
    agent: str = "alpha"
    reason: str | None = None


@dataclass(frozen=True)
class Quote:
    when: int
    bid: str
    ask: str
    instrument: str = "AAA"
    recorded: int = 0


@dataclass(frozen=True)
class Trade:
    when: int
    price: str
    quantity: str
    instrument: str = "AAA"


@dataclass(frozen=True)
class Story:
    """What happened; quotes and trades are None where the ledger has no such view."""

    fills: Sequence[Execution] = ()
    orders: Sequence[Order] = ()
    quotes: Sequence[Quote] | None = None
    trades: Sequence[Trade] | None = None
    instruments: Sequence[Instrument] = (Instrument("AAA"), Instrument("BBB", "EUR", "50"))
    max_age_s: int = 60


def days_from(first: date = MONDAY, days: int = 1) -> TradingDay:
    """A session of so many UTC days in one."""
    window = Window(start=at(first), end=at(first) + timedelta(days))
    return TradingDay(first, "24/7", "UTC", window, window, "regular session")


def _numbers(values: Sequence[str | None], name: str) -> tuple[dict[str, Any], dict[str, str]]:
    scale = _scale([v for v in values if v is not None])
    columns = {
        name: _scaled([v or "0" for v in values], scale),
        f"{name}_known": np.array([v is not None for v in values], dtype=bool),
    }
    return columns, {f"{name}_scale": str(scale)}


def _frame(rows: int, columns: dict[str, Any], numbers: Mapping[str, Sequence[Any]]) -> Frame:
    control: dict[str, str] = {}
    for name, values in numbers.items():
        found, scale = _numbers(values, name)
        columns |= found
        control |= scale
    return Frame(pd.DataFrame(columns), coverage(rows, **control))


def _times(values: Sequence[int]) -> Any:
    return np.array(values, dtype=np.int64)


def fills_frame(fills: Sequence[Execution]) -> Frame:
    return _frame(
        len(fills),
        {
            "account_id": _category(["acc1"] * len(fills)),
            "instrument_id": _category([f.instrument for f in fills]),
            "strategy": _category(["trend"] * len(fills)),
            "agent": _category([f.agent for f in fills]),
            "side": _times([f.side for f in fills]),
            "fee_currency": _category([f.fee_currency for f in fills]),
            "executed_us": _times([f.when for f in fills]),
            "fill_id": pd.Series([f.fill_id for f in fills], dtype="str"),
            "order_id": _category([f.order_id for f in fills]),
            "venue": _category([f.venue for f in fills]),
        },
        {n: [getattr(f, n) for f in fills] for n in ("quantity", "price", "fee")},
    )


def orders_frame(orders: Sequence[Order]) -> Frame:
    return _frame(
        len(orders),
        {
            "order_id": pd.Series([o.order_id for o in orders], dtype="str"),
            "replaces": pd.Series([o.replaces for o in orders], dtype="str"),
            "account_id": _category(["acc1"] * len(orders)),
            "instrument_id": _category([o.instrument for o in orders]),
            "strategy": _category(["trend"] * len(orders)),
            "agent": _category([o.agent for o in orders]),
            "side": _times([o.side for o in orders]),
            "status": _category([o.status for o in orders]),
            "reject_reason": pd.Series([o.reason for o in orders], dtype="str"),
            "placed_us": _times([o.placed for o in orders]),
            "done_us": _times([o.done for o in orders]),
            "recorded_us": _times([max(o.placed, o.done) for o in orders]),
        },
        {
            "quantity": [o.quantity for o in orders],
            "decision_price": [o.decision for o in orders],
            "arrival_price": [o.arrival for o in orders],
        },
    )


def earlier_frame(fills: Sequence[Execution]) -> Frame:
    """What the query ``earlier_fills`` gives: a row an order, venue and fee currency."""
    groups: dict[tuple[str, str, str], list[Execution]] = defaultdict(list)
    for f in fills:
        if f.order_id is not None:
            groups[f.order_id, f.venue, f.fee_currency].append(f)
    rows = list(groups.values())
    amounts = [sum(Fraction(f.quantity) * Fraction(f.price) for f in g) for g in rows]
    return _frame(
        len(rows),
        {
            "order_id": pd.Series([g[0].order_id for g in rows], dtype="str"),
            "venue": _category([g[0].venue for g in rows]),
            "fee_currency": _category([g[0].fee_currency for g in rows]),
            "first_us": _times([min(f.when for f in g) for g in rows]),
            "last_us": _times([max(f.when for f in g) for g in rows]),
        },
        {
            "quantity": [text(sum(Fraction(f.quantity) for f in g)) for g in rows],
            "amount": [text(a) for a in amounts],
            "fee": [text(sum(Fraction(f.fee) for f in g)) for g in rows],
        },
    )


def text(value: Fraction | int) -> str:
    """A finite decimal."""
    value = Fraction(value)
    digits = 0
    while value.denominator != 1:
        value, digits = value * 10, digits + 1
    sign, whole = ("-" if value < 0 else ""), str(abs(value.numerator)).zfill(digits + 1)
    return sign + (f"{whole[:-digits]}.{whole[-digits:]}" if digits else whole)


def quotes_frame(quotes: Sequence[Quote], max_age_s: int) -> Frame:
    """Usable quotes: what is crossed, the source has counted and left out."""
    good = [q for q in quotes if Fraction(q.bid) <= Fraction(q.ask)]
    mids = [text(Fraction(q.bid) + Fraction(q.ask)) for q in good]
    scale = _scale(mids)
    table = {
        "instrument_id": _category([q.instrument for q in good]),
        "quoted_us": _times([q.when for q in good]),
        "recorded_us": _times([q.recorded for q in good]),
        "mid_doubled": _scaled(mids, scale),
    }
    control = {"mid_scale": str(scale), "max_age_s": str(max_age_s)}
    return Frame(pd.DataFrame(table), coverage(len(good), **control))


def trades_frame(trades: Sequence[Trade]) -> Frame:
    return _frame(
        len(trades),
        {
            "instrument_id": _category([t.instrument for t in trades]),
            "traded_us": _times([t.when for t in trades]),
        },
        {n: [getattr(t, n) for t in trades] for n in ("price", "quantity")},
    )


def executed(story: Story, day: TradingDay | None = None) -> Executions:
    """One session of a story, through the code under test."""
    day = day or days_from()
    start, end = _window(day)
    market = market_of(
        day,
        NO_VIEW if story.quotes is None else quotes_frame(story.quotes, story.max_age_s),
        NO_VIEW if story.trades is None else trades_frame(story.trades),
    )
    return executions(
        day,
        fills_frame([f for f in story.fills if start <= f.when < end]),
        orders_frame(story.orders),
        earlier_frame([f for f in story.fills if f.when < start]),
        instruments_frame(*story.instruments),
        market,
    )


def _window(day: TradingDay) -> tuple[int, int]:
    assert day.trading is not None
    return microseconds(day.trading.start), microseconds(day.trading.end)


# Random stories ------------------------------------------------------------------------------

PRICES = ("100", "100.01", "99.5", "101.123", "0.00000000001", "1000000000")
SECONDS = (0.0, 1.0, 1.000001, 30.0, 60.0, 61.0, 90.0, 3599.999999)


@st.composite
def stories(draw: st.DrawFn, days: int = 1, crossing: bool = False) -> Story:
    """Chains of one to three orders with fills in any order, at equal and at unequal times."""
    price = st.sampled_from(PRICES)
    second = st.sampled_from(SECONDS)
    orders: list[Order] = []
    some: list[Execution] = []
    for n in range(draw(st.integers(0, 4))):
        day, side = draw(st.integers(0, days - 1)), draw(st.sampled_from((1, -1)))
        instrument, agent = draw(st.sampled_from(("AAA", "BBB"))), draw(st.sampled_from("ab"))
        quantity = draw(st.sampled_from(("10", "7.5", "1000000000.00000001")))
        length, before = draw(st.integers(1, 3)), None
        ends = day
        for step in range(length):
            last = step == length - 1
            status = draw(st.sampled_from((*FINAL, "working"))) if last else "replaced"
            # An order ends no earlier than those that it replaced.
            ends += draw(st.integers(0, days - 1 - ends)) if crossing else 0
            order = Order(
                f"{n}-{step}", side, quantity, us(draw(second), day),
                -1 if status == "working" else us(3_600 + draw(second), ends), status,
                draw(st.none() | price), draw(st.none() | price), before, instrument, agent,
            )  # fmt: skip
            before = order.order_id
            orders.append(order)
            for _ in range(draw(st.integers(0, 2))):
                when = us(draw(second), draw(st.integers(day, ends)))
                some.append(
                    Execution(
                        fill_id=f"f{len(some)}",
                        order_id=draw(st.sampled_from((order.order_id, None, "gone"))),
                        when=when,
                        side=side,
                        quantity=draw(st.sampled_from(("1", "2.5", "0.00000001"))),
                        price=draw(price),
                        instrument=instrument,
                        venue=draw(st.sampled_from(("X", ""))),
                        fee=draw(st.sampled_from(("0", "-0.5", "3"))),
                        fee_currency=draw(st.sampled_from(("USD", "EUR"))),
                        agent=agent,
                    )
                )
    names = st.sampled_from(("AAA", "BBB"))
    pairs = st.tuples(second, st.integers(0, days - 1), price, price, names)
    quotes = draw(st.none() | st.lists(st.tuples(pairs, st.integers(0, 2)), max_size=8))
    trades = draw(st.none() | st.lists(pairs, max_size=6)) if not crossing else None
    return Story(
        draw(st.permutations(some)),
        draw(st.permutations(orders)),
        None if quotes is None
        else [Quote(us(s, d), a, b, i, recorded=r) for (s, d, a, b, i), r in quotes],
        None if trades is None else [Trade(us(s, d), a, "2.5", i) for s, d, a, _, i in trades],
    )  # fmt: skip


# The oracle ----------------------------------------------------------------------------------


@dataclass
class Sums:
    fills: int = 0
    cost: Fraction = Fraction(0)
    notional: Fraction = Fraction(0)
    #: (basis points, weight) of every fill.
    points: list[tuple[Fraction, Fraction]] = field(default_factory=list)


class Oracle:
    """Every figure of a session, by looking at everything for everything."""

    def __init__(self, story: Story, day: TradingDay | None = None) -> None:
        self.story = story
        self.start, self.end = _window(day or days_from())
        self.orders = {o.order_id: o for o in story.orders}
        self.kinds = {i.name: i for i in story.instruments}

    def root(self, order_id: str | None) -> Order | None:
        order = self.orders.get(order_id) if order_id is not None else None
        while order is not None and order.replaces in self.orders:
            order = self.orders[order.replaces]
        return order

    def chain(self, root: Order) -> list[Order]:
        return [o for o in self.story.orders if self.root(o.order_id) == root]

    def session_fills(self) -> list[Execution]:
        return [f for f in self.story.fills if self.start <= f.when < self.end]

    def mid(self, instrument: str, when: int) -> Fraction | None:
        """Of the last usable quote at or before an instant, unless it is too old."""
        best = None
        for q in self.story.quotes or ():
            bid, ask = Fraction(q.bid), Fraction(q.ask)
            if q.instrument == instrument and bid <= ask and q.when <= when:
                rank = (q.when, q.recorded, (bid + ask) / 2)
                best = rank if best is None or rank > best else best
        limit = self.story.max_age_s * 1_000_000
        return None if best is None or when - best[0] > limit else best[2]

    def mid_after(self, instrument: str, when: int) -> Fraction | None:
        """The same, where quoting had not stopped by then."""
        limit = self.story.max_age_s * 1_000_000
        usable = [
            q.when - when
            for q in self.story.quotes or ()
            if q.instrument == instrument and Fraction(q.bid) <= Fraction(q.ask)
        ]
        going_on = any(0 <= later <= limit for later in usable)
        return self.mid(instrument, when) if going_on else None

    def vwap(self, root: Order) -> Fraction | None:
        chain = self.chain(root)
        ids = {o.order_id for o in chain}
        ends = [f.when for f in self.session_fills() if f.order_id in ids]
        ends += [o.done for o in chain if self.start <= o.done < self.end]
        if not ends:
            return None
        start = max(root.placed, self.start)
        some = [
            t
            for t in self.story.trades or ()
            if t.instrument == root.instrument and start <= t.when <= max(ends)
            and self.start <= t.when < self.end
        ]  # fmt: skip
        size = sum(Fraction(t.quantity) for t in some)
        if not size:
            return None
        paid = sum(Fraction(t.price) * Fraction(t.quantity) for t in some)
        digits = _scale([i.tick for i in self.story.instruments]) + 4
        return Fraction(round(paid / size * 10**digits), 10**digits)

    def benchmark(self, name: str, fill: Execution) -> Fraction | None:
        if name == "fill_mid":
            return self.mid(fill.instrument, fill.when)
        if name in MARKOUTS:
            return self.mid_after(fill.instrument, fill.when + MARKOUTS[name] * 1_000_000)
        root = self.root(fill.order_id)
        if root is None:
            return None
        if name == "interval_vwap":
            return self.vwap(root)
        price = root.decision if name == "decision" else root.arrival
        return None if price is None else Fraction(price)

    def against(self, name: str) -> dict[tuple[str, str, str], Sums]:
        """Sums by (agent, instrument, venue)."""
        found: dict[tuple[str, str, str], Sums] = defaultdict(Sums)
        for f in self.session_fills():
            price = self.benchmark(name, f)
            if price is None:
                continue
            size = Fraction(f.quantity) * Fraction(self.kinds[f.instrument].multiplier)
            into = found[f.agent, f.instrument, f.venue]
            worse = f.side * (Fraction(f.price) - price)
            into.fills += 1
            into.cost += worse * size
            into.notional += abs(price) * size
            if price:  # a VWAP can round to 0, which weighs nothing
                into.points.append((worse / abs(price) * 10_000, abs(price) * size))
        return found

    def final(self) -> list[tuple[Order, Order, list[Order], list[Execution]]]:
        """(last, root, chain, fills) of the chains that ended in the session."""
        found = []
        for last in self.story.orders:
            if last.status in FINAL and self.start <= last.done < self.end:
                chain, at = [], last
                while True:
                    chain.append(at)
                    if at.replaces not in self.orders:
                        break
                    at = self.orders[str(at.replaces)]
                ids = {o.order_id for o in chain}
                fills = [f for f in self.story.fills if f.order_id in ids and f.when < self.end]
                found.append((last, chain[-1], chain, fills))
        return found

    def shortfall(self) -> dict[tuple[str, str], dict[str, Fraction]]:
        """By (agent, instrument); see the formulas of Perold and of Kissell."""
        found: dict[tuple[str, str], dict[str, Fraction]] = {}
        for last, root, _, fills in self.final():
            if last.status == "rejected":
                continue
            sums = found.setdefault((last.agent, last.instrument), defaultdict(Fraction))
            sums["chains"] += 1
            filled = sum((Fraction(f.quantity) for f in fills), Fraction(0))
            left = Fraction(last.quantity) - filled
            end = self.mid(last.instrument, last.done)
            if root.decision is None or root.arrival is None or (left and end is None):
                continue
            kind = self.kinds[last.instrument]
            per = last.side * Fraction(kind.multiplier)
            pd, pa = Fraction(root.decision), Fraction(root.arrival)
            paid = sum((Fraction(f.quantity) * Fraction(f.price) for f in fills), Fraction(0))
            pn = end if left and end is not None else pd
            sums["covered"] += 1
            sums["notional"] += Fraction(last.quantity) * abs(pd) * Fraction(kind.multiplier)
            sums["delay_perold"] += per * filled * (pa - pd)
            sums["delay_kissell"] += per * Fraction(last.quantity) * (pa - pd)
            sums["trading"] += per * (paid - filled * pa)
            sums["opportunity_perold"] += per * left * (pn - pd)
            sums["opportunity_kissell"] += per * left * (pn - pa)
            for f in fills:
                own = f.fee_currency == kind.currency
                sums["fees" if own else f"fees {f.fee_currency}"] += Fraction(f.fee)
            sums["total"] += per * (paid - filled * pd + left * (pn - pd)) + sum(
                (Fraction(f.fee) for f in fills if f.fee_currency == kind.currency), Fraction(0)
            )
        return found
