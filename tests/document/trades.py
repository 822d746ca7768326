"""Days of trading written by hand: P&L cells, slippage cells and orders by strategy and agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from reporting.book import Cell
from reporting.document import Cited
from reporting.measures.fill_rate import FillRateCell, FillRateFact
from reporting.measures.pnl import FxRate, PnlFact
from reporting.measures.slippage import SlippageCell, SlippageFact
from reporting.model import Missing, Value

from .days import QUIET, sealed

D = Decimal


@dataclass
class Trade:
    """What one strategy × agent × instrument did in a session: native amounts.

    ``net`` is after ``fees``; ``value`` the position's market value at the close, ``slipped`` the
    cost against arrival, on ``notional``. All of it was earned in the session: what is carried is
    put into ``carried``, the worth before. All fills have an arrival price, and that is the price,
    unless ``covered`` and the ``arrival`` notional say otherwise.
    """

    strategy: str
    agent: str
    instrument: str = "AAA"
    net: str | int = 0
    fees: str | int = 0
    value: str | int | None = 0
    notional: str | int = 0
    slipped: str | int = 0
    currency: str = "USD"
    account: str = "MAIN"
    carried: str | int = 0
    fills: int = 1
    covered: int | None = None
    arrival: str | int | None = None

    def cell(self) -> Cell:
        value = None if self.value is None else D(self.value)
        cash = D(self.carried) + D(self.net) - (value or D(0))
        return Cell(
            strategy=self.strategy, agent=self.agent, account=self.account,
            instrument=self.instrument, symbol=self.instrument, currency=self.currency,
            fills=self.fills, bought=D(0), sold=D(0), realised=D(0), fees=D(self.fees),
            position_close=D(0), cash_open=D(self.carried), cash_close=cash, value_open=D(0),
            value_close=value,
        )  # fmt: skip

    def slippage(self) -> SlippageCell:
        return SlippageCell(
            strategy=self.strategy, agent=self.agent, account=self.account,
            instrument=self.instrument, symbol=self.instrument, currency=self.currency, venue="X",
            fills=self.fills, fills_covered=self.fills if self.covered is None else self.covered,
            notional=D(self.notional), cost=D(self.slipped),
            arrival_notional=D(self.notional if self.arrival is None else self.arrival),
        )  # fmt: skip


def orders(trade: Trade, full: int, of: int, reason: str = "") -> FillRateCell:
    return FillRateCell(
        strategy=trade.strategy, agent=trade.agent, account=trade.account,
        instrument=trade.instrument, symbol=trade.instrument, reject_reason=reason, orders=of,
        orders_full=full, orders_any=full, ordered=D(of), filled=D(full),
    )  # fmt: skip


Rates = Mapping[str, tuple[str | None, str | None]]


def pnl(trades: Sequence[Trade], rates: Rates | None = None) -> PnlFact:
    """The fact of ``trades``; ``rates`` are opening and closing, USD is base."""
    fx = {"USD": ("1", "1"), **(rates or {})}
    return PnlFact(
        base="USD",
        cells=tuple(sorted((t.cell() for t in trades), key=lambda c: c.key)),
        holdings=(),
        fx=tuple(
            FxRate(
                currency=c, open=None if a is None else D(a), close=None if b is None else D(b),
                source="test",
            )
            for c, (a, b) in sorted(fx.items())
        ),
        marks=(),
        fills=sum(t.fills for t in trades),
    )  # fmt: skip


def traded(
    at: date,
    *trades: Trade,
    rates: Rates | None = None,
    done: Sequence[FillRateCell] = (),
    **more: Value | Missing,
) -> Cited:
    """A sealed session."""
    slipped = tuple(t.slippage() for t in trades if D(t.notional))
    facts: dict[str, Value | Missing] = {**QUIET, "pnl": pnl(trades, rates)}
    if slipped:
        facts["slippage"] = SlippageFact(cells=slipped)
    if done:
        facts["fill_rate"] = FillRateFact(cells=tuple(done), working=0)
    return sealed(at, {**facts, **more})


def book(
    first: date, *sessions: Sequence[Trade], rates: Sequence[Rates] | None = None
) -> list[Cited]:
    """Sessions on consecutive days; what was earned before is carried, so that days telescope."""
    worth: dict[tuple[str, ...], Decimal] = {}
    days = []
    for n, trades in enumerate(sessions):
        carried = []
        for t in trades:
            key = (t.strategy, t.agent, t.account, t.instrument)
            carried.append(replace(t, carried=str(worth.get(key, D(0)))))
            worth[key] = worth.get(key, D(0)) + D(t.net)
        fx = rates[n] if rates else None
        days.append(traded(first + timedelta(n), *carried, rates=fx))
    return days
