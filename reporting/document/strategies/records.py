"""Strategies and agents as records: the period's results, and the daily ones behind them.

Both splits are made of the same cells, so each foots to the book's net P&L. Money of the period is
translated at its closing rates, as in the P&L section.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from ...analysis.performance import SESSIONS_A_YEAR, shares
from ...book import Cell
from ...measures.fill_rate import FILL_RATE, FillRateCell, FillRateFact
from ...measures.pnl import NOBODY, PNL, PnlFact, Totals, totals
from ...measures.slippage import SLIPPAGE, SlippageCell, SlippageFact, coverage
from ...model import EXACT, Missing, Ratio, Why, exact_sum
from ...page import Point
from ...seal import digest
from ..history import NO_GAP, Dated, Facts

#: A year of sessions, at most, stands behind what needs a history.
HISTORY = SESSIONS_A_YEAR
#: Agents in the order of their horizon; any other comes after them by name.
AGENTS = ("strategic", "tactical", "risk")
NO_ARRIVAL = Missing(why=Why.NO_DATA, detail="no fill has an arrival price")
NO_FILL = Ratio(numerator=Decimal(0), denominator=Decimal(0))
NO_MARK = Missing(why=Why.NO_MARK, detail="never marked")
#: Signs of a name in a heading or an id, and in a chart's legend.
LONGEST_NAME, LONGEST_KEY = 32, 20

Kind = Literal["strategy", "agent"]
KINDS: tuple[Kind, ...] = ("agent", "strategy")
#: Strategy and agent of a cell.
Pair = tuple[str, str]


def slug(name: str) -> str:
    """A stable id of a name from the ledger, of ``a-z``, ``0-9`` and ``-`` alone.

    It depends on the name only. A plain name (``mean-reversion``) is its own id; any other gets a
    digest, so that two names that read alike (``A B``, ``a_b``) stay apart.
    """
    plain_name = re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) and len(name) <= LONGEST_NAME
    if plain_name and not re.search(r"-[0-9a-f]{12}$", name):
        return name
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", letters)[:LONGEST_NAME].strip("-") or "name"
    return f"{words}-{digest(name.encode('utf-8', 'surrogatepass'))[:12]}"


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """A name for a heading or a legend; an empty one says so."""
    words = name.strip() or NOBODY
    return words if len(words) <= longest else f"{words[: longest - 1]}…"


@dataclass(frozen=True)
class Record:
    """Everything that the report knows of one strategy or one agent, amounts in base.

    ``cells`` are those of the period that have a mark; ``days`` the period's sessions and
    ``history`` the last ones up to its end, each with its net P&L; ``by_instrument`` the nets of
    every instrument and session of the period.

    ``slippage`` is of ``covered`` alone, the fills that have an arrival price: what the others cost
    is not known, and not nothing. ``costs_covered`` is the same share over the whole split, which
    its shares of costs rest on.
    """

    kind: Kind
    name: str
    fact: PnlFact
    cells: tuple[Cell, ...]
    total: Totals | Missing
    fills: int
    days: tuple[Point, ...]
    history: tuple[Point, ...]
    by_instrument: tuple[Decimal, ...]
    trades: tuple[SlippageCell, ...]
    orders: tuple[FillRateCell, ...]
    notional: Decimal | Missing
    slippage: Decimal | Missing
    covered: Ratio
    turnover: Fraction | Missing
    share: Ratio | Missing = NO_MARK
    costs_share: Ratio | Missing = NO_MARK
    costs_covered: Ratio = NO_FILL

    @property
    def id(self) -> str:
        """``strategy.trend``, ``agent.tactical``: what its figures' ids begin with."""
        return f"{self.kind}.{slug(self.name)}"

    @property
    def base(self) -> str:
        """The currency of all its amounts."""
        return self.fact.base

    @property
    def net(self) -> Decimal:
        """Net P&L of the period for ordering, 0 where it is missing."""
        return Decimal(0) if isinstance(self.total, Missing) else self.total.net

    @property
    def rates(self) -> dict[str, Decimal | None]:
        """Worth of one unit of each currency at the period's end, in base."""
        return closing_rates(self.fact)

    @property
    def costs(self) -> Decimal | Missing:
        """Fees and slippage together."""
        if isinstance(self.slippage, Missing):
            return self.slippage
        if isinstance(self.total, Missing):
            return self.total
        return EXACT.add(self.slippage, self.total.fees)


def running(record: Record, days: Sequence[date]) -> tuple[Decimal | None, ...]:
    """The running sum on each of ``days``: 0 before it began, a gap where the P&L is unknown."""
    value = {p.day: p.value for p in record.history}
    out: list[Decimal | None] = []
    total = Decimal(0)
    for day in days:
        net = value.get(day, Decimal(0))
        if isinstance(net, Missing):
            out.append(None)
            continue
        total = EXACT.add(total, net)
        out.append(total)
    return tuple(out)


@dataclass(frozen=True)
class _Known:
    """What both splits are made of.

    ``nets`` has each session's net by strategy × agent, ``marked`` each known fact of the period
    with its cells that have a mark.
    """

    merged: PnlFact
    cells: tuple[Cell, ...]
    marked: Sequence[tuple[PnlFact, tuple[Cell, ...]]]
    period: Dated
    history: Dated
    nets: Mapping[date, dict[Pair, Decimal | Missing] | Missing]
    slippage: SlippageFact | Missing
    fill_rate: FillRateFact | Missing


def records_of(facts: Facts, merged: PnlFact) -> list[Record]:
    """Agents in the order of their horizon, then strategies by name; ``merged`` is the period's."""
    period = facts.of(PNL)
    history = [
        (day, fact)
        for day, fact in facts.since("pnl", date.min)
        if not (isinstance(fact, Missing) and fact.why is Why.NO_SESSION)
    ][-HISTORY:]
    known = _Known(
        merged=merged,
        cells=_marked(merged),
        marked=[(f, _marked(f)) for _, f in period if not isinstance(f, Missing)],
        period=period,
        history=history,
        nets={d: _pairs(f, merged.base) for d, f in {**dict(history), **dict(period)}.items()},
        slippage=facts.merged(SLIPPAGE),
        fill_rate=facts.merged(FILL_RATE),
    )
    found: list[Record] = []
    for kind in KINDS:
        names = {getattr(c, kind) for c in merged.cells}
        records = [_record(kind, name, known) for name in sorted(names, key=_place(kind))]
        found += _with_shares(records)
    return found


def _place(kind: Kind) -> Callable[[str], tuple[int, str]]:
    """Agents by horizon first, everything else by name."""
    known = AGENTS if kind == "agent" else ()
    return lambda name: (known.index(name) if name in known else len(known), name)


def _record(kind: Kind, name: str, known: _Known) -> Record:
    merged, rates = known.merged, closing_rates(known.merged)
    cells = _own(known.cells, kind, name)
    trades = _own(getattr(known.slippage, "cells", ()), kind, name)
    # A session without trade has traded nothing; where it is not known, the notes say so.
    unknown = known.slippage if isinstance(known.slippage, Missing) else None
    unknown = None if unknown is None or unknown.why in NO_GAP else unknown
    notional = unknown or translated(((c.currency, c.notional) for c in trades), rates)
    return Record(
        kind=kind,
        name=name,
        fact=merged,
        cells=cells,
        total=total_of(merged, cells),
        fills=sum(c.fills for c in _own(merged.cells, kind, name)),
        days=_course(kind, name, known.period, known.nets),
        history=_course(kind, name, known.history, known.nets),
        by_instrument=_instrument_days(kind, name, known.marked),
        trades=trades,
        orders=_own(getattr(known.fill_rate, "accepted", ()), kind, name),
        notional=notional,
        slippage=unknown or _slippage(trades, rates),
        covered=coverage(trades),
        turnover=_turnover(notional, _exposures(kind, name, known.marked, rates)),
    )


def _slippage(
    trades: Sequence[SlippageCell], rates: Mapping[str, Decimal | None]
) -> Decimal | Missing:
    """What the covered fills cost; of fills of which none is covered it is not known."""
    covered = coverage(trades)
    if covered.denominator and not covered.numerator:
        return NO_ARRIVAL
    return translated(((c.currency, c.cost) for c in trades), rates)


def _with_shares(records: Sequence[Record]) -> list[Record]:
    """The records of one split with their shares of its net P&L and of its costs."""
    net = _shares({r.name: r.total if isinstance(r.total, Missing) else r.net for r in records})
    costs = _shares({r.name: r.costs for r in records})
    covered = coverage([cell for r in records for cell in r.trades])
    return [
        replace(r, share=net[r.name], costs_share=costs[r.name], costs_covered=covered)
        for r in records
    ]


def _shares(parts: Mapping[str, Decimal | Missing]) -> dict[str, Ratio | Missing]:
    """Shares of a total of which every part is known; else the reason, for every part.

    What was never marked stands in no total.
    """
    in_total = {
        name: part
        for name, part in parts.items()
        if not (isinstance(part, Missing) and part.why is Why.NO_MARK)
    }
    known = {name: p for name, p in in_total.items() if not isinstance(p, Missing)}
    gone = next((p for p in in_total.values() if isinstance(p, Missing)), None)
    found = gone or shares(known)
    return {
        name: found if isinstance(found, Missing) else found.get(name, NO_MARK) for name in parts
    }


def closing_rates(fact: PnlFact) -> dict[str, Decimal | None]:
    """Worth of one unit of each currency at the period's end, in base."""
    return {r.currency: r.close for r in fact.fx}


def _own(rows: Iterable[Any], kind: Kind, name: str) -> tuple[Any, ...]:
    """The rows of one strategy or agent."""
    return tuple(row for row in rows if getattr(row, kind) == name)


def _marked(fact: PnlFact) -> tuple[Cell, ...]:
    """The cells of instruments that have a mark: `totals` leaves the others out, whole."""
    unmarked = {c.instrument for c in fact.cells if c.value_open is None or c.value_close is None}
    return tuple(c for c in fact.cells if c.instrument not in unmarked)


def total_of(fact: PnlFact, marked: tuple[Cell, ...]) -> Totals | Missing:
    """P&L over ``marked`` cells of ``fact``.

    From a fact of these alone: `totals` looks through every cell of the fact that it is given, and
    this is asked for every group of every day.
    """
    if not marked:
        return NO_MARK
    return totals(fact.model_copy(update={"cells": marked, "holdings": ()}), marked)


def _pairs(fact: PnlFact | Missing, base: str) -> dict[Pair, Decimal | Missing] | Missing:
    """A session's net P&L by strategy × agent; a pair that was never marked has none."""
    if isinstance(fact, Missing):
        return fact
    if fact.base != base:
        return Missing(why=Why.NOT_MEASURED, detail=f"the base currency was {fact.base}")
    found: dict[Pair, Decimal | Missing] = {(c.strategy, c.agent): NO_MARK for c in fact.cells}
    for pair, cells in grouped(_marked(fact), lambda c: (c.strategy, c.agent)).items():
        total = total_of(fact, cells)
        found[pair] = total if isinstance(total, Missing) else total.net
    return found


def grouped(rows: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, tuple[Any, ...]]:
    """Rows by ``key``, in their order."""
    groups: dict[Any, list[Any]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return {name: tuple(some) for name, some in groups.items()}


def _course(kind: Kind, name: str, days: Dated, nets: Mapping[date, Any]) -> tuple[Point, ...]:
    """The net P&L of each session since its first one; a session without its cells is no point."""
    at = ("strategy", "agent").index(kind)
    points: list[Point] = []
    for day, _ in days:
        pairs = nets[day]
        if isinstance(pairs, Missing):
            if points:
                points.append(Point(day=day, value=pairs))
            continue
        own = [net for pair, net in pairs.items() if pair[at] == name]
        if own:
            points.append(Point(day=day, value=_sum_of(own)))
    return tuple(points)


def _sum_of(nets: Sequence[Decimal | Missing]) -> Decimal | Missing:
    """The sum of what is marked; Missing where nothing is, or where a rate is missing."""
    gone = [x for x in nets if isinstance(x, Missing)]
    no_rate = [x for x in gone if x.why is not Why.NO_MARK]
    if no_rate or len(gone) == len(nets):
        return [*no_rate, *gone][0]
    return exact_sum(x for x in nets if not isinstance(x, Missing))


def _instrument_days(
    kind: Kind, name: str, marked: Sequence[tuple[PnlFact, tuple[Cell, ...]]]
) -> tuple[Decimal, ...]:
    """The net P&L of each instrument on each session of the period, where it is known."""
    found: list[Decimal] = []
    for fact, cells in marked:
        own = grouped(_own(cells, kind, name), lambda c: c.instrument)
        results = (total_of(fact, some) for some in own.values())
        found += [t.net for t in results if not isinstance(t, Missing)]
    return tuple(found)


def translated(
    amounts: Iterable[tuple[str, Decimal]], rates: Mapping[str, Decimal | None]
) -> Decimal | Missing:
    """The sum in base at the period's closing rates, exactly."""
    total = Decimal(0)
    for currency, amount in amounts:
        rate = rates.get(currency)
        if rate is None:
            return Missing(why=Why.NO_DATA, detail=f"no rate of {currency}")
        total = EXACT.add(total, EXACT.multiply(amount, rate))
    return total


def _exposures(
    kind: Kind,
    name: str,
    marked: Sequence[tuple[PnlFact, tuple[Cell, ...]]],
    rates: Mapping[str, Decimal | None],
) -> list[Decimal | Missing]:
    """Σ |market value| at the close of each known session of the period."""
    return [
        translated(((c.currency, abs(c.value_close)) for c in _own(cells, kind, name)), rates)
        for _, cells in marked
    ]


def _turnover(
    notional: Decimal | Missing, exposures: Sequence[Decimal | Missing]
) -> Fraction | Missing:
    """Traded notional over the mean of the closing exposures, in times."""
    if isinstance(notional, Missing):
        return notional
    gone = next((x for x in exposures if isinstance(x, Missing)), None)
    if gone:
        return gone
    total = exact_sum(x for x in exposures if not isinstance(x, Missing))
    if not total:
        return Missing(why=Why.NO_DATA, detail="no position at any close")
    return Fraction(notional) * len(exposures) / Fraction(total)
