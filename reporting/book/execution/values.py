"""What a session's executions add up to, as sealed values: sums by cell, sketches, shortfall.

Amounts are in the currency of the instrument; positive is cost to us.
"""

from __future__ import annotations

from datetime import datetime

from ...model import Currency, Exact, Missing, Value
from .sketch import Sketch

#: Benchmarks in the order of a report, with the words for them.
BENCHMARKS = {
    "decision": "Decision price",
    "arrival": "Arrival price",
    "fill_mid": "Mid at the fill",
    "interval_vwap": "Interval VWAP",
    "markout_1s": "Mid 1 s after the fill",
    "markout_10s": "Mid 10 s after the fill",
    "markout_60s": "Mid 60 s after the fill",
}
MARKOUTS_S = {"markout_1s": 1, "markout_10s": 10, "markout_60s": 60}
#: What a benchmark is read from, where it is not the orders themselves.
NEEDS = {
    "fill_mid": "quotes",
    "interval_vwap": "market_trades",
    **dict.fromkeys(MARKOUTS_S, "quotes"),
}


class BenchmarkSum(Value):
    """Fills that have the benchmark, their cost against it and their notional at it."""

    benchmark: str
    fills: int
    cost: Exact
    notional: Exact


class SketchRow(Value):
    """How the basis points against one benchmark spread, weighted by notional at it."""

    benchmark: str
    currency: Currency
    sketch: Sketch


class HourRow(Value):
    """Cost and notional at arrival of the fills of one hour of the day."""

    hour: int
    currency: Currency
    fills: int
    cost: Exact
    notional: Exact


class SizeRow(Value):
    """The same of the fills of orders of one size: what the order that was filled wanted.

    Sizes are those of :data:`reporting.book.execution.orders.SIZE_NAMES`, at the arrival price.
    """

    size: str
    currency: Currency
    fills: int
    cost: Exact
    notional: Exact


class FeeApart(Value):
    """Fees in a currency that is not the notional's, and what they are worth in that.

    ``worth`` is at the rates of the session of the sums; None where there was none, so that a total
    that needs it is missing.
    """

    currency: str
    amount: Exact
    worth: Exact | None = None

    @property
    def key(self) -> tuple[str, bool]:
        """Fees that may be added up: what has a worth never hides what has none."""
        return (self.currency, self.worth is None)


class FeeRate(Value):
    """A rate at which fees in another currency were translated: 1 ``currency`` in ``base``."""

    currency: str
    base: str
    rate: Exact
    source: str
    fixed_at: datetime


class ShortfallCell(Value):
    """Implementation shortfall of the order chains that became final, of one cell.

    ``chains`` were accepted; of these, ``covered`` have a decision price, an arrival price and, for
    what was not filled, a mid at their end, and are the only ones in the sums. ``notional`` is what
    was ordered at the decision price. Both splits sum to the same total:

    - Perold: ``delay_perold`` + ``trading`` + ``opportunity_perold`` + ``fees``
    - Kissell: ``delay_kissell`` + ``trading`` + ``opportunity_kissell`` + ``fees``
    """

    strategy: str
    agent: str
    account: str
    instrument: str
    currency: Currency
    chains: int
    covered: int
    notional: Exact
    delay_perold: Exact
    delay_kissell: Exact
    trading: Exact
    opportunity_perold: Exact
    opportunity_kissell: Exact
    fees: Exact
    fees_apart: tuple[FeeApart, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same cell on another day."""
        return (self.strategy, self.agent, self.account, self.instrument, self.currency)


class OrderGroup(Value):
    """Accepted order chains of one hour and agent, of one size, or of one venue.

    What a chain got beyond what it ordered is in no ``filled`` but a venue's.

    ``ordered`` and ``filled`` are values at the arrival price, of the ``valued`` chains that have
    one. A chain is in the group of every venue that filled it; there ``filled`` is the value filled
    at the venue, and ``ordered`` that of its chains. An unfilled chain has no venue.
    """

    by: str  # hour | size | venue
    key: str
    agent: str
    currency: str
    orders: int
    orders_full: int
    orders_any: int
    cancelled: int
    replaced: int  # chains with at least one replacement
    replaces: int  # replacements in all
    valued: int
    ordered: Exact
    filled: Exact


class LatencyRow(Value):
    """Milliseconds from placing to the first or to the last fill, a chain each, of one cut.

    By venue the fills are those at the venue, of every chain that has any there.
    """

    to: str  # first | last
    by: str = "agent"  # agent | hour | size | venue
    key: str = ""
    agent: str = ""  # the key where it is by agent, as days sealed before there were others have it
    sketch: Sketch


class ExecutionDay(Value):
    """Everything of a session's executions that is not a cell of slippage or of orders.

    ``absent`` names the views that the ledger does not have, with the reason.
    """

    sketches: tuple[SketchRow, ...]
    hours: tuple[HourRow, ...]
    sizes: tuple[SizeRow, ...]
    shortfall: tuple[ShortfallCell, ...]
    groups: tuple[OrderGroup, ...]
    latencies: tuple[LatencyRow, ...]
    quote_max_age_s: int | None
    absent: tuple[tuple[str, Missing], ...]
