"""What the sample firm did: orders, their chains, executions, and what became known late.

Each desk moves a position per instrument from target to target, so there are longs, shorts and
flips through zero. All quantities are drawn as whole lots and all prices as whole ticks; the
desks count in units from before the split, and what they send is in those of the session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, time
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random
from typing import Any

from .market import (
    BY_CODE,
    EARLY_CLOSES,
    EXPIRING,
    INSTRUMENTS,
    LISTED,
    RENAMED,
    RENAMED_ON,
    STALE_MARK,
    Instrument,
    Market,
    close_ms,
    is_listed,
    local_day,
    local_ms,
    normal,
    open_ms,
    split_ratio,
)
from .rows import Child, ChildEvent, ClosingPrice, EcbFixing, Execution, Parent, Security

#: A session with marks and no trade, order or completion.
QUIET = date(2025, 10, 13)
#: A venue fails and many orders end without their fills.
OUTAGE = date(2025, 12, 3)
REJECTS = (
    "price outside collar",
    "insufficient margin",
    "instrument halted",
    "size above limit",
    "duplicate order",
)

_MINUTE = 60_000


@dataclass(frozen=True)
class Desk:
    """A strategy in one account: what it trades, how often and how large.

    ``low`` and ``high`` bound its targets, in currency units of market value.
    """

    strategy: str
    agent: str
    book: str
    codes: tuple[str, ...]
    orders_a_day: int
    low: int
    high: int


_ALL = tuple(one.code for one in INSTRUMENTS)
_STOCKS = tuple(one.code for one in INSTRUMENTS if one.multiplier == 1)
#: The strategic desks hold a large long book overnight, so that its moves make the day's P&L.
#: mean-reversion trades in the same accounts and instruments as they do.
DESKS = (
    Desk("trend", "strategic", "MAIN-1", _STOCKS[:8], 10, 2_600_000, 3_200_000),
    Desk("value", "strategic", "MAIN-1", _STOCKS[5:], 8, 1_900_000, 2_300_000),
    Desk("mean-reversion", "tactical", "MAIN-1", _STOCKS[::3], 24, -90_000, 90_000),
    Desk("mean-reversion", "tactical", "FAST-2", _STOCKS, 42, -140_000, 140_000),
    Desk("market-making", "tactical", "FAST-2", _ALL, 60, -280_000, 280_000),
    Desk("hedge-overlay", "risk", "HEDGE-3", ("GRVZ5",), 5, -4_200_000, -2_600_000),
)


#: The hedge's future that is held until it expires: what was traded in it, in signed lots.
_ROLL = Desk("hedge-overlay", "risk", "HEDGE-3", (EXPIRING.code,), 0, 0, 0)
_ROLL_ORDERS = (
    (date(2025, 9, 3), time(11, 5), -9),
    (date(2025, 9, 9), time(14, 20), -4),
    (date(2025, 9, 16), time(10, 45), 6),
)


@dataclass
class _Plan:
    """One chain about to be simulated."""

    desk: Desk
    one: Instrument
    session: date
    at: int
    lots: int  # signed
    large: bool  # a position being built: nothing unusual happens to it


class _Trading:
    """The state of the simulation; ``run`` fills the lists of rows."""

    def __init__(self, dice: Random, market: Market, mark: str = "") -> None:
        """``mark`` tells the identifiers of one simulation from those of another."""
        self.dice = dice
        self.market = market
        self.mark = mark
        self.sessions = tuple(day for day in market.sessions if day != QUIET)
        self.held: dict[tuple[Desk, str], int] = {}
        self.parents: list[Parent] = []
        self.children: list[Child] = []
        self.events: list[ChildEvent] = []
        self.executions: list[Execution] = []

    def run(self) -> None:
        for session in self.sessions:
            for plan in sorted(self.plans(session), key=lambda plan: plan.at):
                self.trade(plan)

    def roll(self) -> None:
        """The orders in the future that expires."""
        for session, clock, lots in _ROLL_ORDERS:
            at = local_ms(session, clock)
            self.trade(_Plan(_ROLL, EXPIRING, session, at, lots, large=True))

    # -- what is wanted ----------------------------------------------------------------------

    def plans(self, session: date) -> Iterator[_Plan]:
        """The day's orders; targets are drawn when the day is planned."""
        first = session == self.sessions[0]
        share = 0.5 if session in EARLY_CLOSES else 1.0
        for desk in DESKS:
            codes: list[str] = []
            if first and desk.agent != "tactical":
                codes += desk.codes
            count = round(desk.orders_a_day * share * (0.85 + 0.3 * self.dice.random()))
            codes += [self.pick(desk.codes) for _ in range(count)]
            for code in codes:
                yield from self.plan(desk, BY_CODE[code], session)

    def plan(self, desk: Desk, one: Instrument, session: date) -> Iterator[_Plan]:
        """An order that moves ``desk`` towards a new target, unless it is there already."""
        close = self.market.closes[one.code][session]
        lot_value = float(one.price(close) * one.lot * one.multiplier)
        target = round((desk.low + (desk.high - desk.low) * self.dice.random()) / lot_value)
        held = self.held.get((desk, one.code), 0)
        if target == held:
            return
        self.held[desk, one.code] = target
        opens, closes = open_ms(session), close_ms(session)
        at = opens + self.below(closes - opens - 10 * _MINUTE)
        if self.chance(0.012):  # outside the regular hours
            evening, morning = closes + 15 * _MINUTE, local_ms(session, time(7, 30))
            at = (evening if self.chance(0.5) else morning) + self.below(100 * _MINUTE)
        large = abs(target - held) * lot_value > 1_000_000
        yield _Plan(desk, one, session, at, target - held, large)

    # -- what happens to it ------------------------------------------------------------------

    def trade(self, plan: _Plan) -> None:
        """Send one chain of orders and let it end in one of the ways an order can end."""
        parent_id = f"P{self.mark}{len(self.parents) + 1:06d}"
        direction = "BUY" if plan.lots > 0 else "SELL"
        desk = plan.desk
        self.parents.append(
            Parent(
                parent_id,
                desk.strategy,
                desk.agent,
                desk.book,
                plan.one.code,
                direction,
                None,
                None,
            )
        )
        fate = 1.0 if plan.large else self.dice.random()
        if plan.session == OUTAGE and self.chance(0.2):
            fate = 0.02 + 0.028 * self.dice.random()  # unfilled or filled in part
        wanted = abs(plan.lots)
        if fate < 0.020:
            self.reject(plan, parent_id, wanted)
        elif fate < 0.032:
            self.fill_in_part(plan, parent_id, wanted, 0)
        elif fate < 0.048 and wanted > 1:
            self.fill_in_part(plan, parent_id, wanted, 1 + self.below(wanted - 1))
        elif fate < 0.066 and wanted > 1:
            self.work_overnight(plan, parent_id, wanted)
        elif fate < 0.160 and wanted > 1:
            self.amend(plan, parent_id, wanted)
        else:
            child = self.send(plan, parent_id, None, wanted, plan.at)
            last, entered = self.fill(plan, child, wanted, plan.at, plan.session)
            self.event(child, "DONE", last, entered=entered)

    def reject(self, plan: _Plan, parent_id: str, wanted: int) -> None:
        """The market never took it: one version only."""
        child = self.send(plan, parent_id, None, wanted, plan.at, working=False)
        self.event(child, "REJ", plan.at + 1 + self.below(40), self.pick(REJECTS))
        self.missed(plan, wanted)

    def fill_in_part(self, plan: _Plan, parent_id: str, wanted: int, lots: int) -> None:
        """Ends unfilled, or filled in part: cancelled by us, or expired at the close."""
        child = self.send(plan, parent_id, None, wanted, plan.at)
        last = plan.at
        if lots:
            last, _ = self.fill(plan, child, lots, plan.at, plan.session)
        closes = close_ms(plan.session)
        if last < closes - 5 * _MINUTE and self.chance(0.5):
            self.event(child, "EXP", closes)
        else:
            self.event(child, "CXL", last + 20_000 + self.below(4 * _MINUTE))
        self.missed(plan, wanted - lots)

    def work_overnight(self, plan: _Plan, parent_id: str, wanted: int) -> None:
        """Partly filled late in the session; the rest is filled on the next one, if there is."""
        plan.at = close_ms(plan.session) - (5 + self.below(55)) * _MINUTE
        child = self.send(plan, parent_id, None, wanted, plan.at)
        today = self.below(wanted)
        if today:
            self.fill(plan, child, today, plan.at, plan.session)
        later = [day for day in self.sessions if day > plan.session]
        if not later:  # still working when the demo's present comes
            self.missed(plan, wanted - today)
            return
        at = open_ms(later[0]) + self.below(90 * _MINUTE)
        last, entered = self.fill(plan, child, wanted - today, at, later[0])
        self.event(child, "DONE", last, entered=entered)

    def amend(self, plan: _Plan, parent_id: str, wanted: int) -> None:
        """A chain of two or three orders; each one's size is the total wanted for the chain."""
        orders = 3 if self.chance(0.25) else 2
        total, done, at = wanted, 0, plan.at
        child = self.send(plan, parent_id, None, total, at)
        for _ in range(orders - 1):
            part = self.below(max((total - done) // 2, 1))
            if part:
                at, _ = self.fill(plan, child, part, at, plan.session)
                done += part
            at += 5_000 + self.below(_MINUTE)
            self.event(child, "AMENDED", at)
            total = max(done + 1, round(total * (0.8 + 0.4 * self.dice.random())))
            child = self.send(plan, parent_id, child, total, at)
        last, entered = self.fill(plan, child, total - done, at, plan.session)
        self.event(child, "DONE", last, entered=entered)
        self.missed(plan, wanted - total)

    # -- rows --------------------------------------------------------------------------------

    def send(
        self,
        plan: _Plan,
        parent_id: str,
        amends: str | None,
        lots: int,
        at: int,
        working: bool = True,
    ) -> str:
        """A new child; now and then the mid at its sending was not captured."""
        child_id = f"C{self.mark}{len(self.children) + 1:06d}"
        ticks = self.market.mid_ticks(plan.one.code, at, plan.session)
        mid = None if self.chance(0.03) else plan.one.price(ticks)
        size = plan.one.size(lots * split_ratio(plan.one.code, plan.session))
        self.children.append(Child(child_id, parent_id, amends, size, at, mid))
        if working:
            self.event(child_id, "WORKING", at)
        return child_id

    def event(
        self, child: str, state: str, at: int, reason: str | None = None, entered: int = 0
    ) -> None:
        """A state of an order, recorded moments later (or with its last fill).

        That it is in the market is known at once: a later state has a later ``entered_at``.
        """
        known = entered or at + 30 + self.below(900 if state != "WORKING" else 20)
        self.events.append(ChildEvent(child, state, reason, at, known))

    def fill(self, plan: _Plan, child: str, lots: int, at: int, session: date) -> tuple[int, int]:
        """Fill ``lots`` in a few executions from ``at`` on; when the last was, and was known."""
        count = min(lots, 1 + self.below(4) + (self.below(4) if self.chance(0.4) else 0))
        count = min(lots, count * 3) if plan.large else count
        cuts = sorted({self.below(lots) for _ in range(count - 1)} - {0})
        entered = at
        for low, high in zip([0, *cuts], [*cuts, lots], strict=True):
            if low and self.chance(0.06):
                pass  # the same millisecond as the one before: only the id tells their order
            else:
                at += 40 + self.below(25_000)
            entered = max(entered, at + 30 + self.below(1_500))
            self.execute(plan, child, high - low, at, entered, session)
        return at, entered

    def execute(
        self, plan: _Plan, child: str, lots: int, at: int, entered: int, session: date
    ) -> None:
        """One execution near the mid of its moment, about one basis point to our cost."""
        one, side = plan.one, 1 if plan.lots > 0 else -1
        mid = self.market.mid_ticks(one.code, at, session)
        away_bps = 1.0 + 1.4 * normal(self.dice)
        ticks = max(1, round(mid * (1 + side * away_bps / 10_000)))
        venue = self.pick(("ARX", "BLUX", "CROSS", "MAKR"))
        lots *= split_ratio(one.code, session)
        fee, currency = _fee(one, lots, ticks, venue)
        self.executions.append(
            Execution(
                "", child, at, one.size(lots), one.price(ticks), venue, fee, currency, "N", None,
                entered,
            )
        )  # fmt: skip

    def missed(self, plan: _Plan, lots: int) -> None:
        """What was not filled is still to be had: the desk's position did not move so far."""
        sign = 1 if plan.lots > 0 else -1
        self.held[plan.desk, plan.one.code] -= sign * lots

    # -- dice --------------------------------------------------------------------------------

    def chance(self, share: float) -> bool:
        return self.dice.random() < share

    def below(self, bound: int) -> int:
        """A whole number from 0 to ``bound`` - 1; 0 where the bound is not above 1."""
        return int(self.dice.random() * bound)

    def pick(self, choices: tuple[str, ...]) -> str:
        return choices[self.below(len(choices))]


def _fee(one: Instrument, lots: int, ticks: int, venue: str) -> tuple[Decimal, str]:
    """What an execution costs: by contract, by value, or a rebate; CROSS always bills in USD."""
    size = one.size(lots)
    notional = size * one.price(ticks) * one.multiplier
    cent = Decimal("0.01")
    if one.multiplier > 1:
        return lots * Decimal("1.18"), "USD"
    if venue == "MAKR":
        return 0 - (notional / 50_000).quantize(cent, ROUND_HALF_EVEN), one.ccy
    if venue == "CROSS":
        return (Decimal("0.10") + notional / 40_000).quantize(cent, ROUND_HALF_EVEN), "USD"
    if one.ccy == "USD":
        return (size * Decimal("0.0035")).quantize(Decimal("0.0001"), ROUND_HALF_EVEN), "USD"
    return (notional / 25_000).quantize(cent, ROUND_HALF_EVEN), "EUR"


# -- what became known late -------------------------------------------------------------------


@dataclass(frozen=True)
class _Late:
    """A planted change of one execution, recorded at a wall-clock time in New York."""

    name: str
    executed_on: date
    entered_on: date
    entered_at: time


_LATE = (
    _Late("price_correction", date(2025, 9, 17), date(2025, 9, 18), time(14)),
    _Late("quantity_correction", date(2025, 10, 7), date(2025, 10, 9), time(11, 30)),
    _Late("late_fill_over_month_end", date(2025, 10, 30), date(2025, 11, 3), time(9)),
    _Late("same_day_correction", date(2025, 11, 5), date(2025, 11, 5), time(17)),
    _Late("bust", date(2025, 11, 12), date(2025, 11, 14), time(10, 15)),
    _Late("price_correction_november", date(2025, 11, 24), date(2025, 11, 25), time(12)),
    _Late("last_week_correction", date(2025, 12, 2), date(2025, 12, 4), time(10)),
)


def _plant_late(
    executions: list[Execution], events: list[ChildEvent], firm_children: list[Child]
) -> dict[str, Any]:
    """Append corrections and a bust and delay one fill; returns what was planted, by name."""
    planted: dict[str, Any] = {}
    chained = {child.amends for child in firm_children} | {
        child.child_id for child in firm_children if child.amends
    }
    by_child: dict[str, list[int]] = {}
    for index, row in enumerate(executions):
        by_child.setdefault(row.child_id, []).append(index)
    for late in _LATE:
        # A plain order filled by at least two executions at different times, around midday.
        noon, hour = local_ms(late.executed_on, time(12)), 60 * _MINUTE
        child, indices = next(
            (child, indices)
            for child, indices in by_child.items()
            if child not in chained
            and noon <= executions[indices[0]].executed_at < noon + hour
            and len({executions[index].executed_at for index in indices}) == len(indices) >= 2
            and executions[indices[-1]].px * executions[indices[-1]].size > 5_000
        )
        index = indices[-1]
        old = executions[index]
        entered = local_ms(late.entered_on, late.entered_at)
        facts: dict[str, Any] = {
            "fill": old.exec_id,
            "order": child,
            "session": late.executed_on.isoformat(),
            "recorded_at_ms": entered,
        }
        planted[late.name] = facts
        if late.name.startswith("late_fill"):
            executions[index] = old._replace(entered_at=entered)
            for place, event in enumerate(events):
                if event.child_id == child and event.state == "DONE":
                    events[place] = event._replace(entered_at=entered)
            continue
        new = old._replace(
            exec_id=f"E{len(executions) + 1:06d}", ref_exec_id=old.exec_id, entered_at=entered
        )
        if late.name == "bust":
            new = new._replace(exec_type="B", commission=Decimal(0))
        elif late.name.startswith("quantity"):
            new = new._replace(exec_type="C", size=_half_lots(old.size))
        elif late.name.startswith("last_week"):  # both, so that the next day changes too
            new = new._replace(exec_type="C", size=_half_lots(old.size), px=_moved(old.px))
        else:
            new = new._replace(exec_type="C", px=_moved(old.px))
        facts |= {"correction": new.exec_id, "before": _terms(old), "after": _terms(new)}
        executions.append(new)
    return planted


def _half_lots(size: Decimal) -> Decimal:
    """About half of a quantity, on the same lot (its last digit's place) and above zero."""
    step = Decimal((0, (1,), int(size.as_tuple().exponent)))
    return max((size / 2).quantize(step, ROUND_HALF_EVEN), step)


def _moved(px: Decimal) -> Decimal:
    """About two per cent up, in hundreds of the price's last decimal place.

    A hundred of those are a whole number of ticks for every instrument of the sample.
    """
    step = Decimal((0, (1,), int(px.as_tuple().exponent)))
    return px + max(round(px / step / 5_000), 1) * 100 * step


def _terms(row: Execution) -> dict[str, str]:
    return {"kind": row.exec_type, "quantity": format(row.size, "f"), "price": format(row.px, "f")}


# -- all desks --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trades:
    """The rows that trading leaves, in the order in which they became known."""

    parents: tuple[Parent, ...]
    children: tuple[Child, ...]
    child_events: tuple[ChildEvent, ...]
    executions: tuple[Execution, ...]


def trade(seed: int, market: Market) -> tuple[Trades, dict[str, Any]]:
    """What all desks did, and the facts planted in it."""
    book = _Trading(Random(f"trading/{seed}"), market)
    book.run()
    executions = _numbered(book.executions, "")
    planted = _plant_late(executions, book.events, book.children)
    roll = _Trading(Random(f"roll/{seed}"), market, "F")
    roll.roll()
    executions += _numbered(roll.executions, "F")
    children = (*book.children, *roll.children)
    parents = (*book.parents, *roll.parents)
    trades = Trades(
        parents=tuple(_decided(Random(f"decisions/{seed}"), parents, children, market)),
        children=children,
        child_events=tuple(sorted(book.events + roll.events, key=lambda row: row.entered_at)),
        executions=tuple(sorted(executions, key=lambda row: row.entered_at)),
    )
    return trades, planted


def _numbered(executions: Iterable[Execution], mark: str) -> list[Execution]:
    """In order of time, with identifiers in that order."""
    rows = sorted(executions, key=lambda row: row.executed_at)
    return [row._replace(exec_id=f"E{mark}{n:06d}") for n, row in enumerate(rows, 1)]


def _decided(
    dice: Random, parents: Iterable[Parent], children: Iterable[Child], market: Market
) -> Iterator[Parent]:
    """Each parent with when it was decided and the mid of that moment; either may be unknown."""
    first: dict[str, int] = {}
    for child in children:
        first.setdefault(child.parent_id, child.sent_at)
    for parent in parents:
        at = first[parent.parent_id] - 200 - int(dice.random() * 2_801)
        captured, kept = dice.random() >= 0.03, dice.random() >= 0.01
        ticks = market.mid_ticks(parent.code, at, local_day(at))
        mid = BY_CODE[parent.code].price(ticks) if captured and kept else None
        yield parent._replace(decided_at=at if kept else None, mid_when_decided=mid)


def securities(market: Market) -> Iterator[Security]:
    """One version of each instrument, and a second one of the one that was renamed."""
    known = local_ms(market.history[0], time(6))
    for one in LISTED:
        yield Security(one.code, one.label, one.ccy, one.multiplier, one.tick, one.lot, known)
    one = BY_CODE[RENAMED]
    yield Security(
        one.code, f"{one.label} Group", one.ccy, one.multiplier, one.tick, one.lot,
        local_ms(RENAMED_ON, time(6)),
    )  # fmt: skip


def closing_prices(market: Market) -> Iterator[ClosingPrice]:
    for day in market.history:
        at = close_ms(day)
        for minute, one in enumerate(LISTED):
            if (one.code, day) != STALE_MARK and is_listed(one.code, day):
                price = one.price(market.close_ticks(one.code, day))
                yield ClosingPrice(one.code, price, one.source, at, at + (3 + minute) * _MINUTE)


def ecb_fixings(market: Market) -> Iterator[EcbFixing]:
    for day in market.history:
        at = local_ms(day, time(16), "Europe/Berlin")
        yield EcbFixing("USD", market.eurusd[day], at, at + 5 * _MINUTE)
