"""How orders were executed: fills joined to their order chains, summed exactly by cell.

A chain of cancel/replace is one order. Its arrival price is that of its first order (the root);
it is done when its last order is, and what was filled counts over all of its orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from ..errors import ValidationFailed
from ..model import EXACT, Finding, Frame
from ..periods import TradingDay
from .fifo import Ints, rescale
from .session import CELL, SAMPLES, bookable, grouped, product, sum_by

FINAL = ("filled", "cancelled", "rejected", "expired")
#: A chain longer than this is a circle.
LONGEST_CHAIN = 10_000


@dataclass(frozen=True)
class _Chains:
    """The newest version of every order, with links between them as row numbers; -1 is none."""

    table: pd.DataFrame
    parent: Ints

    def of_fills(self, fills: pd.DataFrame) -> Ints:
        """The row of each fill's order, -1 where the ledger has no such order."""
        column = fills["order_id"]
        rows = pd.Index(self.table["order_id"]).get_indexer(pd.Index(column.cat.categories))
        # A fill without an order id has the code -1, which reads the sentinel at the end.
        return np.asarray(np.append(rows, -1)[column.cat.codes.to_numpy()])

    def root(self) -> Ints:
        """The first order of each order's chain."""
        root = np.arange(len(self.table))
        for _ in range(LONGEST_CHAIN):
            parent = self.parent[root]
            if (parent < 0).all():
                return root
            root = np.where(parent >= 0, parent, root)
        raise ValidationFailed("orders replace each other in a circle; expected chains with a root")

    def with_ancestors(self, own: Ints) -> Ints:
        """Sum of ``own`` over each order and all that it replaced."""
        total, at = own.copy(), self.parent
        for _ in range(LONGEST_CHAIN):
            if (at < 0).all():
                return total
            total = total + np.where(at >= 0, own[at], 0)
            at = np.where(at >= 0, self.parent[at], -1)
        raise ValidationFailed("orders replace each other in a circle; expected chains with a root")


def _chains(orders: Frame) -> _Chains:
    # Versions arrive in any order; the newest one recorded is in force.
    table = orders.table.iloc[np.argsort(orders.table["recorded_us"].to_numpy(), kind="stable")]
    table = table.drop_duplicates("order_id", keep="last").reset_index(drop=True)
    parent = np.full(len(table), -1)
    replacing = np.flatnonzero(table["replaces"].notna().to_numpy())
    if len(replacing):
        index = pd.Index(table["order_id"])
        parent[replacing] = index.get_indexer(pd.Index(table["replaces"].iloc[replacing]))
    return _Chains(table, parent)


@dataclass(frozen=True)
class Executions:
    """Cells of slippage and of order chains, and the number of orders still working."""

    slippage: pd.DataFrame
    orders: pd.DataFrame
    working: int
    findings: tuple[Finding, ...]


def executions(
    day: TradingDay, fills: Frame, orders: Frame, earlier: Frame, instruments: Frame
) -> Executions:
    """Sum the session's fills and the chains that became final in it, by cell.

    ``orders`` has a row a version of every order that was filled, placed or done in the session,
    and of all that they replaced; ``earlier`` the quantity that such orders had filled before it.
    """
    assert day.trading is not None
    start_us, end_us = day.trading.start_ms * 1000, day.trading.end_ms * 1000
    known = set(instruments.table["instrument_id"]) if len(instruments.table) else set()
    # What can't be booked is in no figure; the book's findings say so.
    fills = Frame(bookable(fills.table, known)[0], fills.coverage)
    chains = _chains(orders)
    order_of_fill = chains.of_fills(fills.table)
    table = chains.table
    placed, done = table["placed_us"].to_numpy(), table["done_us"].to_numpy()
    working = (placed >= start_us) & (placed < end_us) & ((done < 0) | (done >= end_us))
    return Executions(
        slippage=_slippage(fills, order_of_fill, chains, orders, instruments),
        orders=_orders(fills, order_of_fill, chains, orders, earlier, (start_us, end_us)),
        working=int(working.sum()),
        findings=_orphans(fills.table, order_of_fill),
    )


def _orphans(fills: pd.DataFrame, order_of_fill: Ints) -> tuple[Finding, ...]:
    lost = order_of_fill < 0
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


SLIPPAGE_CELL = [*CELL, "venue"]


def _slippage(
    fills: Frame, order_of_fill: Ints, chains: _Chains, orders: Frame, instruments: Frame
) -> pd.DataFrame:
    """Fills, notional, cost and arrival notional by cell; amounts in the instrument's currency."""
    table = fills.table
    known = {row["instrument_id"]: row for row in instruments.table.to_dict("records")}
    scale_q, scale_p = (int(fills.coverage.control[f"{n}_scale"]) for n in ("quantity", "price"))
    scale_a = int(orders.coverage.control["arrival_price_scale"])
    scale = max(scale_p, scale_a)
    price = rescale(table["price"].to_numpy(), scale - scale_p)
    # The row -1 of a fill without an order reads the sentinel appended at the end.
    arrivals = rescale(chains.table["arrival_price"].to_numpy(), scale - scale_a)
    root = np.append(chains.root(), -1)[order_of_fill]
    covered = np.append(chains.table["arrival_price_known"].to_numpy(), False)[root]
    arrival = np.where(covered, np.append(arrivals, 0)[root], 0)
    quantity = table["quantity"].to_numpy()
    signed = quantity * table["side"].to_numpy()
    code, cells = grouped(table, SLIPPAGE_CELL)
    sums = {
        "fills": np.ones(len(table), np.int64),
        "fills_covered": covered.astype(np.int64),
        "notional": product(quantity, price),
        "cost": product(signed, np.where(covered, price - arrival, 0)),
        "arrival_notional": product(quantity, arrival),
    }
    totals = {name: sum_by(code, len(cells), values) for name, values in sums.items()}
    rows = []
    for i, key in sorted(enumerate(cells), key=lambda cell: cell[1]):
        instrument = known[key[3]]
        unit = EXACT.scaleb(instrument["multiplier"], -scale_q - scale)
        rows.append(
            {
                **dict(zip(SLIPPAGE_CELL, key, strict=True)),
                "currency": instrument["currency"],
                **{name: int(totals[name][i]) for name in ("fills", "fills_covered")},
                **{
                    name: EXACT.multiply(Decimal(int(totals[name][i])), unit)
                    for name in ("notional", "cost", "arrival_notional")
                },
            }
        )
    return pd.DataFrame(rows)


ORDER_CELL = [*CELL, "reject_reason"]


def _orders(
    fills: Frame,
    order_of_fill: Ints,
    chains: _Chains,
    orders: Frame,
    earlier: Frame,
    window_us: tuple[int, int],
) -> pd.DataFrame:
    """Chains whose last order became final in the window, by cell; rejects by reason."""
    table = chains.table
    scale_o = int(orders.coverage.control["quantity_scale"])
    scale_f = int(fills.coverage.control["quantity_scale"])
    scale_e = int(earlier.coverage.control["quantity_scale"])
    scale = max(scale_o, scale_f, scale_e)
    known = order_of_fill >= 0
    filled = sum_by(
        order_of_fill[known],
        len(table),
        rescale(fills.table["quantity"].to_numpy(), scale - scale_f)[known],
    )
    before = pd.Index(table["order_id"]).get_indexer(pd.Index(earlier.table["order_id"]))
    filled = filled + sum_by(
        before, len(table), rescale(earlier.table["quantity"].to_numpy(), scale - scale_e)
    )
    whole = chains.with_ancestors(filled)
    done = table["done_us"].to_numpy()
    final = table["status"].isin(FINAL).to_numpy()
    final = final & (done >= window_us[0]) & (done < window_us[1])
    last = table[final]
    rejected = (last["status"] == "rejected").to_numpy()
    reason = last["reject_reason"].astype(object).where(last["reject_reason"].notna(), "")
    reason = np.where(rejected, np.where(reason == "", "no reason given", reason), "")
    chosen = last.assign(reject_reason=pd.Categorical(reason))
    wanted = rescale(table["quantity"].to_numpy(), scale - scale_o)[final]
    got = whole[final]
    code, cells = grouped(chosen, ORDER_CELL)
    sums = {
        "orders": np.ones(len(chosen), np.int64),
        "orders_full": (got >= wanted).astype(np.int64),
        "orders_any": (got > 0).astype(np.int64),
        "ordered": wanted,
        "filled": got,
    }
    totals = {name: sum_by(code, len(cells), values) for name, values in sums.items()}
    return pd.DataFrame(
        [
            {
                **dict(zip(ORDER_CELL, key, strict=True)),
                **{n: int(totals[n][i]) for n in ("orders", "orders_full", "orders_any")},
                **{
                    n: EXACT.scaleb(Decimal(int(totals[n][i])), -scale)
                    for n in ("ordered", "filled")
                },
            }
            for i, key in sorted(enumerate(cells), key=lambda cell: cell[1])
        ]
    )
