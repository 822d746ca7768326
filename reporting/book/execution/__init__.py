"""How orders were executed: fills against every benchmark, chains against what they wanted.

Everything is summed exactly, by cell, so that days merge. The fills are gone through twice, in
parts that need few temporaries: once for what each order got (:mod:`.fills`), then, when it is
known how long each chain was in the market, against the benchmarks (:mod:`.slippage`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from ...model import Finding, Frame, Missing, Value, Why
from ...periods import TradingDay
from ..fifo import Ints
from ..session import SAMPLES, bookable, without_nulls
from .chains import chains_of
from .fills import filled
from .market import Mids, Tape, mids_of, tape_of
from .orders import (
    ORDER_CELL,
    final_chains,
    hours_of_quarters,
    latencies,
    named,
    order_cells,
    order_groups,
    overfilled,
    wanted,
)
from .shortfall import shortfall
from .slippage import SLIPPAGE_CELL, Market, slippage
from .values import ExecutionDay

__all__ = ["ORDER_CELL", "SLIPPAGE_CELL", "Executions", "Market", "executions", "market_of"]


@dataclass(frozen=True)
class Executions:
    """Cells of slippage and of order chains, and what else they add up to."""

    slippage: pd.DataFrame
    orders: pd.DataFrame
    day: ExecutionDay
    findings: tuple[Finding, ...]


def market_of(day: TradingDay, quotes: Frame | Value, trades: Frame | Value) -> Market:
    """The market of a session, from its quotes and market trades or why there are none."""
    assert day.trading is not None
    window = day.trading.start_ms * 1000, day.trading.end_ms * 1000
    mids: Mids | Missing = Missing(why=Why.NOT_MEASURED, detail="no quotes were read")
    tape: Tape | Missing = Missing(why=Why.NOT_MEASURED, detail="no market trades were read")
    if isinstance(quotes, Frame):
        mids = mids_of(quotes, window)
    elif isinstance(quotes, Missing):
        mids = quotes
    if isinstance(trades, Frame):
        tape = tape_of(trades, window)
    elif isinstance(trades, Missing):
        tape = trades
    return Market(mids, tape, window, hours_of_quarters(window, day.zone))


def executions(
    day: TradingDay,
    fills: Frame,
    orders: Frame,
    earlier: Frame,
    instruments: Frame,
    market: Market,
) -> Executions:
    """Sum the session's fills and the chains that became final in it.

    ``orders`` has a row a version of every order that was filled, placed or done in the session,
    and of all that they replaced; ``earlier`` what such orders had filled before it, see
    :func:`.fills.filled`. A session may be worked out in parts, if a fill, its order and what that
    replaced are in the same one: see :func:`.merging.joined_days`. ``market`` is the same for all.
    """
    window = market.window_us
    known = set(instruments.table["instrument_id"]) if len(instruments.table) else set()
    # What can't be booked is in no figure; the book's findings say so.
    fills = Frame(bookable(fills.table, known)[0], fills.coverage)
    table = without_nulls(orders.table, ("strategy", "agent"))
    chains = chains_of(Frame(table, orders.coverage))
    order_of = chains.rows_by_code(fills.table["order_id"])
    got = filled(fills, order_of, chains, earlier, instruments)
    against = slippage(fills, order_of, chains, got, orders, instruments, market)
    final = final_chains(chains, got, orders, instruments, window, day.zone)
    took, early = latencies(final)
    return Executions(
        slippage=against.cells,
        orders=order_cells(final),
        day=ExecutionDay(
            sketches=against.sketches,
            hours=against.hours,
            sizes=against.sizes,
            shortfall=shortfall(final, orders, market.mids),
            groups=order_groups(final),
            latencies=took,
            quote_max_age_s=market.quote_max_age_s,
            absent=market.absent,
        ),
        findings=(
            *_orphans(fills.table, order_of),
            *_unwanted(chains.table),
            *overfilled(final),
            *early,
        ),
    )


def _unwanted(orders: pd.DataFrame) -> Iterator[Finding]:
    nameless = ~named(orders)
    for check, lost, wish in (
        ("order without its quantity", ~wanted(orders) & ~nameless, "a number above 0"),
        ("order without its account or instrument", nameless, "both, and an identifier"),
    ):
        if lost.any():
            yield Finding(
                check=check,
                severity="error",
                count=int(lost.sum()),
                detail=f"in no fill rate and no shortfall; expected {wish}",
                samples=tuple(orders.loc[lost, "order_id"].astype(str).sort_values().head(SAMPLES)),
            )


def _orphans(fills: pd.DataFrame, order_of: Ints) -> tuple[Finding, ...]:
    lost = order_of[fills["order_id"].cat.codes.to_numpy()] < 0
    if not lost.any():
        return ()
    return (
        Finding(
            check="fill without its order",
            severity="warning",
            count=int(lost.sum()),
            detail="booked; its order id is not in ledger.orders, so it has no arrival price",
            samples=tuple(fills.loc[lost, "fill_id"].sort_values().head(SAMPLES)),
        ),
    )
