"""Slippage against the arrival price, weighted by notional; positive is cost to us.

    slippage_bps = Σ side × (price − arrival) × quantity × multiplier
                   ─────────────────────────────────────────────────── × 10,000
                         Σ arrival × quantity × multiplier

Both sums are kept exactly, by currency of the notional. Fills whose order has no arrival price are
not in the figure; their share is printed as coverage. Source: Kissell, "The Science of Algorithmic
Trading" (2013), arrival cost; Perold (1988).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from ..model import (
    EXACT,
    Bps,
    Count,
    Currency,
    Exact,
    Frame,
    Frames,
    Missing,
    Money,
    Ratio,
    Shown,
    Value,
    Why,
    exact_sum,
)
from ..page import Column, Figure, Section, Table, Target, Verdict, text
from ..periods import TradingDay
from . import Context, Measure


class SlippageCell(Value):
    """Sums of one strategy × agent × account × instrument × venue, in the notional's currency."""

    strategy: str
    agent: str
    account: str
    instrument: str
    symbol: str
    currency: Currency
    venue: str
    fills: int
    fills_covered: int
    notional: Exact
    cost: Exact
    arrival_notional: Exact

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same cell on another day."""
        return (
            self.strategy, self.agent, self.account, self.instrument, self.currency, self.venue,
        )  # fmt: skip


class SlippageFact(Value):
    """Costs and notionals by cell; the basis points are derived."""

    cells: tuple[SlippageCell, ...]


def of_day(day: TradingDay, frames: Frames) -> SlippageFact | Missing:
    """Sums over the session's fills; a session without fills is ``no trades``."""
    cells, instruments = frames["slippage"], frames["instruments"]
    for frame in (cells, instruments):
        if isinstance(frame, Missing):
            return frame
    assert isinstance(cells, Frame) and isinstance(instruments, Frame)
    if cells.table.empty:
        return Missing(why=Why.NO_TRADES, detail=f"no fill on {day.day}")
    symbol = dict(zip(instruments.table["instrument_id"], instruments.table["symbol"], strict=True))
    found = [
        SlippageCell(
            strategy=row["strategy"],
            agent=row["agent"],
            account=row["account_id"],
            instrument=row["instrument_id"],
            symbol=symbol.get(row["instrument_id"], row["instrument_id"]),
            currency=row["currency"],
            venue=row["venue"],
            fills=int(row["fills"]),
            fills_covered=int(row["fills_covered"]),
            notional=row["notional"],
            cost=row["cost"],
            arrival_notional=row["arrival_notional"],
        )
        for row in cells.table.to_dict("records")
    ]
    # The source's collation is its own; ours is the same everywhere.
    return SlippageFact(cells=tuple(sorted(found, key=lambda c: c.key)))


def merge(days: Sequence[tuple[Any, SlippageFact]]) -> SlippageFact:
    """Every column adds up."""
    merged: dict[tuple[str, ...], SlippageCell] = {}
    for _, fact in days:
        for cell in fact.cells:
            seen = merged.get(cell.key)
            merged[cell.key] = cell if seen is None else _joined(seen, cell)
    return SlippageFact(cells=tuple(merged[key] for key in sorted(merged)))


def _joined(a: SlippageCell, b: SlippageCell) -> SlippageCell:
    return b.model_copy(
        update={
            "fills": a.fills + b.fills,
            "fills_covered": a.fills_covered + b.fills_covered,
            "notional": EXACT.add(a.notional, b.notional),
            "cost": EXACT.add(a.cost, b.cost),
            "arrival_notional": EXACT.add(a.arrival_notional, b.arrival_notional),
        }
    )


def bps(cells: Iterable[SlippageCell]) -> Bps:
    """Cost over arrival notional; the caller keeps to one currency."""
    cost = notional = Decimal(0)
    for cell in cells:
        cost = EXACT.add(cost, cell.cost)
        notional = EXACT.add(notional, cell.arrival_notional)
    return Bps(cost=cost, notional=notional)


def coverage(cells: Iterable[SlippageCell]) -> Ratio:
    """Fills with an arrival price over all fills."""
    covered = fills = 0
    for cell in cells:
        covered += cell.fills_covered
        fills += cell.fills
    return Ratio(numerator=Decimal(covered), denominator=Decimal(fills))


def verdict_of(measured: Bps, target: Target | None) -> Verdict | None:
    """Whether the slippage stays below its target; without notional it is unknown."""
    if target is None:
        return None
    if measured.value is None:
        return Verdict.UNKNOWN
    inclusive = target.comparator == "le"
    met = measured.value <= target.value if inclusive else measured.value < target.value
    return Verdict.MET if met else Verdict.MISSED


def section(
    fact: SlippageFact | Missing,
    days: Sequence[tuple[Any, SlippageFact | Missing]],
    context: Context,
) -> Section:
    """The figure of each currency with its coverage, then by instrument, strategy and venue."""
    if isinstance(fact, Missing):
        return Section(id="slippage", title=SLIPPAGE.title, summary=f"No slippage: {fact}.")
    target = context.targets.get("slippage_bps")
    currencies = sorted({c.currency for c in fact.cells}, key=lambda c: (c != context.base, c))
    figures = []
    verdicts = []
    for currency in currencies:
        cells = [c for c in fact.cells if c.currency == currency]
        measured = bps(cells)
        verdict = verdict_of(measured, target)
        verdicts.append(verdict)
        figures.append(
            Figure(
                id=f"slippage.{currency}",
                label=f"Slippage, {currency} notional",
                value=measured,
                target=target,
                verdict=verdict,
            )
        )
    covered = coverage(fact.cells)
    missed = any(v is Verdict.MISSED for v in verdicts)
    unknown = any(v is Verdict.UNKNOWN for v in verdicts)
    return Section(
        id="slippage",
        title=SLIPPAGE.title,
        summary=f"Against arrival, {covered.numerator} of {covered.denominator} fills are covered.",
        verdict=None
        if target is None
        else Verdict.MISSED
        if missed
        else Verdict.UNKNOWN
        if unknown
        else Verdict.MET,
        figures=(
            *figures,
            Figure(id="slippage.coverage", label="Fills with an arrival price", value=covered),
        ),
        tables=tuple(_by(fact, name, label) for name, label in BREAKDOWNS),
        notes=(
            "Positive basis points are cost to us, weighted by notional at the arrival price of the"
            " order chain. Currencies are never added up.",
        ),
    )


BREAKDOWNS = (("symbol", "instrument"), ("strategy", "strategy"), ("venue", "venue"))


def _by(fact: SlippageFact, name: str, label: str) -> Table:
    groups: dict[tuple[str, str], list[SlippageCell]] = {}
    for cell in fact.cells:
        groups.setdefault((cell.currency, getattr(cell, name)), []).append(cell)
    rows: list[tuple[Shown, ...]] = []
    for (currency, key), cells in sorted(groups.items(), key=lambda g: (g[0][1], g[0][0])):
        notional = exact_sum(c.notional for c in cells)
        cost = exact_sum(c.cost for c in cells)
        measured = bps(cells)
        rows.append(
            (
                text(key),
                Count(value=sum(c.fills for c in cells)),
                Money(amount=notional, currency=currency),
                measured
                if measured.value is not None
                else Missing(why=Why.NO_DATA, detail="no arrival price"),
                Money(amount=cost, currency=currency),
                coverage(cells),
            )
        )
    return Table(
        id=f"slippage_by_{label}",
        title=f"Slippage by {label}",
        columns=(
            Column(key=label, label=label.capitalize(), align="left"),
            Column(key="fills", label="Fills"),
            Column(key="notional", label="Notional"),
            Column(key="slippage", label="Slippage"),
            Column(key="cost", label="Cost"),
            Column(key="coverage", label="Coverage"),
        ),
        rows=tuple(rows),
    )


SLIPPAGE: Measure[SlippageFact] = Measure(
    name="slippage",
    title="Slippage",
    unit="bps",
    every_day=False,
    reads=("slippage", "instruments"),
    fact=SlippageFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="notional-weighted arrival cost (Kissell 2013; Perold 1988)",
)
