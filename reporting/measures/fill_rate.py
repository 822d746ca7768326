"""The three fill rates, always together: in full, in part or full, and by quantity.

An order is a chain of cancel/replace; it counts on the business day on which its last order became
final, so that days merge without counting anything twice. Rejected orders never reached a market:
they are counted apart, by reason. Quantities are summed by instrument, never across units.

Source: measures.md "Fill rate".
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ..model import EXACT, Count, Exact, Frame, Frames, Missing, Ratio, Shown, Value, Why
from ..page import Column, Figure, Section, Table, Target, Verdict, text
from ..periods import TradingDay
from . import Context, Measure


class FillRateCell(Value):
    """Orders done of one strategy × agent × account × instrument; rejects in rows of their own."""

    strategy: str
    agent: str
    account: str
    instrument: str
    symbol: str
    reject_reason: str
    orders: int
    orders_full: int
    orders_any: int
    ordered: Exact
    filled: Exact

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same cell on another day."""
        return (self.strategy, self.agent, self.account, self.instrument, self.reject_reason)


class FillRateFact(Value):
    """Counts and quantities; the rates are derived. ``working`` is as of the last day's end."""

    cells: tuple[FillRateCell, ...]
    working: int

    @property
    def accepted(self) -> tuple[FillRateCell, ...]:
        """Cells of orders that were not rejected."""
        return tuple(c for c in self.cells if not c.reject_reason)


def of_day(day: TradingDay, frames: Frames) -> FillRateFact | Missing:
    """Orders done in the session; none at all is ``no orders``, not 100 %."""
    orders, working, instruments = frames["orders"], frames["working"], frames["instruments"]
    for frame in (orders, working, instruments):
        if isinstance(frame, Missing):
            return frame
    assert isinstance(orders, Frame) and isinstance(working, Frame)
    assert isinstance(instruments, Frame)
    if orders.table.empty:
        return Missing(why=Why.NO_ORDERS, detail=f"no order became final on {day.day}")
    symbol = {row["instrument_id"]: row["symbol"] for row in instruments.table.to_dict("records")}
    found = [
        FillRateCell(
            strategy=row["strategy"],
            agent=row["agent"],
            account=row["account_id"],
            instrument=row["instrument_id"],
            symbol=symbol.get(row["instrument_id"], row["instrument_id"]),
            reject_reason=row["reject_reason"],
            orders=int(row["orders"]),
            orders_full=int(row["orders_full"]),
            orders_any=int(row["orders_any"]),
            ordered=row["ordered"],
            filled=row["filled"],
        )
        for row in orders.table.to_dict("records")
    ]
    # The source's collation is its own; ours is the same everywhere.
    return FillRateFact(
        cells=tuple(sorted(found, key=lambda c: c.key)),
        working=int(working.table["orders"].iloc[0]),
    )


def merge(days: Sequence[tuple[Any, FillRateFact]]) -> FillRateFact:
    """Counts and quantities add up by cell; orders still working are those of the last day."""
    merged: dict[tuple[str, ...], FillRateCell] = {}
    for _, fact in days:
        for cell in fact.cells:
            seen = merged.get(cell.key)
            merged[cell.key] = cell if seen is None else _joined(seen, cell)
    return FillRateFact(
        cells=tuple(merged[key] for key in sorted(merged)), working=days[-1][1].working
    )


def _joined(a: FillRateCell, b: FillRateCell) -> FillRateCell:
    return b.model_copy(
        update={
            "orders": a.orders + b.orders,
            "orders_full": a.orders_full + b.orders_full,
            "orders_any": a.orders_any + b.orders_any,
            "ordered": EXACT.add(a.ordered, b.ordered),
            "filled": EXACT.add(a.filled, b.filled),
        }
    )


def by_instrument(fact: FillRateFact) -> dict[str, Ratio]:
    """Σ filled / Σ ordered of each instrument's accepted orders."""
    found: dict[str, Ratio] = {}
    for cell in fact.accepted:
        so_far = found.get(cell.instrument, Ratio(numerator=Decimal(0), denominator=Decimal(0)))
        found[cell.instrument] = Ratio(
            numerator=EXACT.add(so_far.numerator, cell.filled),
            denominator=EXACT.add(so_far.denominator, cell.ordered),
        )
    return found


def in_full(cells: Sequence[FillRateCell]) -> Ratio:
    """Orders filled in full over orders."""
    return _share(sum(c.orders_full for c in cells), sum(c.orders for c in cells))


def in_part(cells: Sequence[FillRateCell]) -> Ratio:
    """Orders with any fill over orders."""
    return _share(sum(c.orders_any for c in cells), sum(c.orders for c in cells))


def _share(part: int, whole: int) -> Ratio:
    return Ratio(numerator=Decimal(part), denominator=Decimal(whole))


def verdict_of(ratio: Ratio, target: Target | None) -> Verdict | None:
    """Whether the share, in per cent, meets its target; 0/0 is unknown."""
    if target is None:
        return None
    if ratio.fraction is None:
        return Verdict.UNKNOWN
    pct = ratio.fraction * 100
    met = pct > target.value if target.comparator == "gt" else pct >= target.value
    return Verdict.MET if met else Verdict.MISSED


def section(
    fact: FillRateFact | Missing,
    days: Sequence[tuple[Any, FillRateFact | Missing]],
    context: Context,
) -> Section:
    """The three rates with their target, by instrument, and rejects by reason."""
    if isinstance(fact, Missing):
        return Section(id="fill_rate", title=FILL_RATE.title, summary=f"No fill rate: {fact}.")
    target = context.targets.get("fill_rate_pct")
    accepted = fact.accepted
    full, some = in_full(accepted), in_part(accepted)
    rejected = sum(c.orders for c in fact.cells if c.reject_reason)
    verdict = verdict_of(full, target)
    return Section(
        id="fill_rate",
        title=FILL_RATE.title,
        summary=f"{full.numerator} of {full.denominator} orders were filled in full, "
        f"{some.numerator} at least in part; {rejected} were rejected.",
        verdict=verdict,
        figures=(
            Figure(
                id="fill_rate.full",
                label="Orders filled in full",
                value=full,
                target=target,
                verdict=verdict,
            ),
            Figure(id="fill_rate.any", label="Orders with any fill", value=some),
            Figure(
                id="fill_rate.orders",
                label="Orders done",
                value=Count(value=sum(c.orders for c in accepted), unit="orders"),
            ),
            Figure(
                id="fill_rate.rejected",
                label="Rejected",
                value=Count(value=rejected, unit="orders"),
            ),
            Figure(
                id="fill_rate.working",
                label="Still working at the end",
                value=Count(value=fact.working, unit="orders"),
            ),
        ),
        tables=(_table(fact), _rejects(fact)),
        notes=(
            "A cancel/replace chain is one order, counted on the day its last order became final. "
            "Quantity filled over quantity ordered is by instrument: units are never mixed.",
        ),
    )


def _table(fact: FillRateFact) -> Table:
    rows: list[tuple[Shown, ...]] = []
    quantity = by_instrument(fact)
    symbols = {c.instrument: c.symbol for c in fact.accepted}
    for name in sorted(quantity, key=lambda n: symbols[n]):
        cells = [c for c in fact.accepted if c.instrument == name]
        rows.append(
            (
                text(symbols[name]),
                Count(value=sum(c.orders for c in cells)),
                in_full(cells),
                in_part(cells),
                quantity[name],
            )
        )
    return Table(
        id="fill_rate_by_instrument",
        title="Fill rates by instrument",
        columns=(
            Column(key="instrument", label="Instrument", align="left"),
            Column(key="orders", label="Orders"),
            Column(key="full", label="In full"),
            Column(key="any", label="Any fill"),
            Column(key="quantity", label="By quantity"),
        ),
        rows=tuple(rows),
        total=(
            text("All orders"),
            Count(value=sum(c.orders for c in fact.accepted)),
            in_full(fact.accepted),
            in_part(fact.accepted),
            Missing(why=Why.NOT_MEASURED, detail="units differ"),
        ),
    )


def _rejects(fact: FillRateFact) -> Table:
    reasons: dict[str, int] = {}
    for cell in fact.cells:
        if cell.reject_reason:
            reasons[cell.reject_reason] = reasons.get(cell.reject_reason, 0) + cell.orders
    return Table(
        id="fill_rate_rejects",
        title="Rejects by reason",
        columns=(
            Column(key="reason", label="Reason", align="left"),
            Column(key="orders", label="Orders"),
        ),
        rows=tuple(
            (text(reason), Count(value=n))
            for reason, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        ),
        total=(text("Total"), Count(value=sum(reasons.values()))),
    )


FILL_RATE: Measure[FillRateFact] = Measure(
    name="fill_rate",
    title="Fill rate",
    unit="%",
    every_day=False,
    reads=("orders", "working", "instruments"),
    fact=FillRateFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="orders in full / orders, any fill / orders, Σ filled / Σ ordered",
)
