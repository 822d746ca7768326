"""Strategies and agents: what each contributed, how surely, and at what cost.

Composed of the sealed P&L, slippage and fill rates. Money of the period is translated at its
closing rates, as in the P&L section, so that contributions foot to the book's net. What needs many
days (Sharpe ratio, drawdown) is of the sessions given, up to a year of them; how many there were
is printed. Every measure is there for both splits, by strategy and by agent.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from ..analysis import LEVEL_WORDS, listed, measured, to_places
from ..analysis.performance import (
    LEAST_SESSIONS,
    SESSIONS_A_YEAR,
    Sharpe,
    cumulative,
    drawdown,
    hit_rate,
    profit_factor,
    shares,
    sharpe,
)
from ..book import Cell
from ..measures.fill_rate import FILL_RATE, FillRateCell, FillRateFact, in_full
from ..measures.pnl import PNL, PnlFact, Totals, totals
from ..measures.slippage import SLIPPAGE, SlippageCell, SlippageFact, bps, coverage
from ..model import (
    EXACT,
    Count,
    Missing,
    Money,
    Number,
    Ratio,
    Shown,
    Why,
    exact_sum,
    plain,
)
from ..page import Column, Figure, Line, LinesChart, Point, Section, Table, text
from ..periods import Span
from ..seal import digest
from .history import NO_GAP, Dated, Facts

#: A year of sessions, at most, stands behind what needs a history.
HISTORY = SESSIONS_A_YEAR
#: More strategies than this have no page of their own; the table has them all.
MOST_PAGES = 16
#: Agents side by side on a page; the CSV has them all.
MOST_COLUMNS = 5
#: As many lines as the eye and the palette tell apart.
MOST_LINES = 4
TITLE = "Strategies and agents"
#: Agents in the order of their horizon; any other comes after them by name.
AGENTS = ("strategic", "tactical", "risk")

Kind = Literal["strategy", "agent"]
KINDS: tuple[Kind, ...] = ("agent", "strategy")
NO_MARK = Missing(why=Why.NO_MARK, detail="never marked")
#: Signs of a name in a heading, and in a chart's legend.
LONGEST_NAME, LONGEST_KEY = 32, 20


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


@dataclass(frozen=True)
class Record:
    """Everything that the report knows of one strategy or one agent, amounts in base.

    ``cells`` are those of the period that have a mark; ``days`` the period's sessions and
    ``history`` the last ones up to its end, each with its net P&L; ``by_instrument`` the nets of
    every instrument and session of the period.
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
    turnover: Fraction | Missing
    share: Ratio | Missing = NO_MARK
    costs_share: Ratio | Missing = NO_MARK

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
    def costs(self) -> Decimal | Missing:
        """Fees and slippage together."""
        if isinstance(self.slippage, Missing):
            return self.slippage
        if isinstance(self.total, Missing):
            return self.total
        return EXACT.add(self.slippage, self.total.fees)


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """A name for a heading or a legend; an empty one says so."""
    words = name.strip() or "(no name)"
    return words if len(words) <= longest else f"{words[: longest - 1]}…"


def strategy_sections(facts: Facts, span: Span) -> tuple[Section, ...]:
    """The comparison and, in a report over several days, a page for each agent and strategy."""
    merged = facts.merged(PNL)
    if isinstance(merged, Missing):
        return (Section(id="strategies", title=TITLE, summary=f"P&L is missing: {merged}."),)
    records = records_of(facts, merged)
    overview = _overview(records, facts)
    if span.kind == "daily":
        return (overview,)
    strategies = [r for r in records if r.kind == "strategy"]
    biggest = sorted(strategies, key=lambda r: (-abs(r.net), r.name))[:MOST_PAGES]
    paged = {r.name for r in biggest}
    if len(paged) < len(strategies):
        note = (
            f"A page each for the {MOST_PAGES} strategies with the largest gains and losses; "
            f"the table has all {len(strategies)}."
        )
        overview = overview.model_copy(update={"notes": (note, *overview.notes)})
    return (overview, *(_page(r) for r in records if r.kind == "agent" or r.name in paged))


# -- the records ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Known:
    """What both splits are made of; ``nets`` has each session's net by strategy × agent."""

    merged: PnlFact
    period: Dated
    history: Dated
    nets: Mapping[date, dict[tuple[str, str], Decimal | Missing] | Missing]
    slippage: SlippageFact | Missing
    fill_rate: FillRateFact | Missing

    @property
    def rates(self) -> dict[str, Decimal | None]:
        """Worth of one unit of each currency at the period's end, in base."""
        return {r.currency: r.close for r in self.merged.fx}


def records_of(facts: Facts, merged: PnlFact) -> list[Record]:
    """Agents in the order of their horizon, then strategies by name; ``merged`` is the period's."""
    period = facts.of(PNL)
    history = [
        (day, fact)
        for day, fact in facts.since("pnl", date.min)
        if not (isinstance(fact, Missing) and fact.why is Why.NO_SESSION)
    ][-HISTORY:]
    nets = {
        day: fact if isinstance(fact, Missing) else _nets(fact, lambda c: (c.strategy, c.agent))
        for day, fact in {**dict(history), **dict(period)}.items()
    }
    known = _Known(merged, period, history, nets, facts.merged(SLIPPAGE), facts.merged(FILL_RATE))
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
    merged, rates = known.merged, known.rates
    cells = _own(_marked(merged), kind, name)
    trades = _own(getattr(known.slippage, "cells", ()), kind, name)
    # A session without trade has traded nothing; where it is not known, the notes say so.
    unknown = known.slippage if isinstance(known.slippage, Missing) else None
    unknown = None if unknown is None or unknown.why in NO_GAP else unknown
    notional = unknown or _translated(((c.currency, c.notional) for c in trades), rates)
    return Record(
        kind=kind,
        name=name,
        fact=merged,
        cells=cells,
        total=_total(merged, cells),
        fills=sum(c.fills for c in _own(merged.cells, kind, name)),
        days=_course(kind, name, known.period, known.nets),
        history=_course(kind, name, known.history, known.nets),
        by_instrument=_instrument_days(kind, name, known.period),
        trades=trades,
        orders=_own(getattr(known.fill_rate, "accepted", ()), kind, name),
        notional=notional,
        slippage=unknown or _translated(((c.currency, c.cost) for c in trades), rates),
        turnover=_turnover(notional, _exposures(kind, name, known.period, rates)),
    )


def _with_shares(records: Sequence[Record]) -> list[Record]:
    """The records of one split with their shares of its net P&L and of its costs."""
    net = _shares({r.name: r.total if isinstance(r.total, Missing) else r.net for r in records})
    costs = _shares({r.name: r.costs for r in records})
    return [replace(r, share=net[r.name], costs_share=costs[r.name]) for r in records]


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


def _own(rows: Iterable[Any], kind: Kind, name: str) -> tuple[Any, ...]:
    """The rows of one strategy or agent."""
    return tuple(row for row in rows if getattr(row, kind) == name)


def _marked(fact: PnlFact) -> tuple[Cell, ...]:
    """The cells of instruments that have a mark: `totals` leaves the others out, whole."""
    unmarked = {c.instrument for c in fact.cells if c.value_open is None or c.value_close is None}
    return tuple(c for c in fact.cells if c.instrument not in unmarked)


def _total(fact: PnlFact, marked: tuple[Cell, ...]) -> Totals | Missing:
    """P&L over ``marked`` cells of ``fact``.

    From a fact of these alone: `totals` looks through every cell of the fact that it is given, and
    this is asked for every group of every day.
    """
    if not marked:
        return NO_MARK
    return totals(fact.model_copy(update={"cells": marked, "holdings": ()}), marked)


def _nets(fact: PnlFact, key: Callable[[Cell], Any]) -> dict[Any, Decimal | Missing]:
    """Net P&L of each group of a day's cells; a group that was never marked has none."""
    found: dict[Any, Decimal | Missing] = dict.fromkeys(map(key, fact.cells), NO_MARK)
    for name, cells in _grouped(_marked(fact), key).items():
        total = _total(fact, cells)
        found[name] = total if isinstance(total, Missing) else total.net
    return found


def _grouped(rows: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, tuple[Any, ...]]:
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


def _instrument_days(kind: Kind, name: str, period: Dated) -> tuple[Decimal, ...]:
    """The net P&L of each instrument on each session of the period, where it is known."""
    found: list[Decimal] = []
    for _, fact in period:
        if not isinstance(fact, Missing):
            own = _grouped(_own(_marked(fact), kind, name), lambda c: c.instrument)
            results = (_total(fact, cells) for cells in own.values())
            found += [t.net for t in results if not isinstance(t, Missing)]
    return tuple(found)


def _translated(
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
    kind: Kind, name: str, period: Dated, rates: Mapping[str, Decimal | None]
) -> list[Decimal | Missing]:
    """Σ |market value| at the close of each known session of the period."""
    return [
        _translated(
            ((c.currency, abs(c.value_close)) for c in _own(_marked(fact), kind, name)), rates
        )
        for _, fact in period
        if not isinstance(fact, Missing)
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


# -- what is said of one of them ------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """One measure of one record: its key in ids, its label, its value and what it rests on."""

    key: str
    label: str
    value: Shown
    note: str = ""


def _said(record: Record) -> dict[str, Said]:
    """Every measure of ``record`` by key, in the order of its page."""
    days = [x for _, x in measured(record.days)]
    past = measured(record.history)
    nets = [x for _, x in past]
    ratio = sharpe(nets)
    fall = drawdown(past)
    begin, end = (past[0][0], past[-1][0]) if past else (None, None)
    since = f"{_sessions(len(past))}, {begin} to {end}" if past else "no session"
    before = f"of the last {_sessions(len(past))}: "
    total = record.total
    longer = len(past) > len(days)
    said = [
        Said("net", "Net P&L", _of(total, record, lambda t: t.net), "after fees, with FX"),
        Said("share", "Share of the book's net P&L", record.share),
        Said("gross", "Gross P&L", _of(total, record, lambda t: t.gross), "before fees and FX"),
        Said(
            "hit_rate",
            "Winning sessions",
            hit_rate(days),
            before + _percent(hit_rate(nets)) if longer else "",
        ),
        Said(
            "hit_rate_instruments",
            "Winning instruments, by session",
            hit_rate(record.by_instrument),
            f"{len(record.by_instrument)} results of one instrument in one session",
        ),
        Said(
            "profit_factor",
            "Profit factor",
            _factor(days),
            before + _factor_words(nets) if longer else "",
        ),
        Said("notional", "Traded notional", _money(record.notional, record)),
        Said(
            "turnover",
            "Turnover",
            record.turnover
            if isinstance(record.turnover, Missing)
            else Number(value=to_places(record.turnover, 2), unit="times"),
            "traded notional over the average gross exposure at the close",
        ),
        Said("fill_rate", "Orders filled in full", _filled(record)),
        Said("fees", "Fees", _of(total, record, lambda t: t.fees)),
        Said("fees_of_gross", "Fees of gross P&L", _fees_of_gross(total)),
        Said(
            "slippage",
            "Slippage cost",
            _money(record.slippage, record),
            _covered(record.trades),
        ),
        Said("costs_share", "Share of all costs", record.costs_share, "fees and slippage"),
        Said("sharpe_daily", "Sharpe ratio, daily", _number(ratio, lambda s: s.daily), since),
        Said(
            "sharpe_error",
            "Its standard error",
            _number(ratio, lambda s: s.error),
            _interval(ratio),
        ),
        Said(
            "sharpe_annual",
            f"Sharpe ratio × √{SESSIONS_A_YEAR}",
            _number(ratio, lambda s: s.daily * _YEAR, 2),
            _annual(ratio),
        ),
        Said(
            "drawdown",
            "Deepest drawdown",
            Money(amount=fall.amount, currency=record.base)
            if past
            else Missing(why=Why.NO_DATA, detail="no session"),
            _fall_words(fall.peak, fall.trough, since),
        ),
    ]
    return {s.key: s for s in said}


_YEAR = math.sqrt(SESSIONS_A_YEAR)


def _sessions(number: int) -> str:
    return f"{number} session{'' if number == 1 else 's'}"


def _of(total: Totals | Missing, record: Record, of: Callable[[Totals], Decimal]) -> Shown:
    return total if isinstance(total, Missing) else _money(of(total), record)


def _money(amount: Decimal | Missing, record: Record) -> Money | Missing:
    if isinstance(amount, Missing):
        return amount
    return Money(amount=amount, currency=record.base)


def _percent(share: Ratio | Missing) -> str:
    if isinstance(share, Missing) or share.fraction is None:
        return "none won or lost"
    return f"{plain(to_places(share.fraction * 100))} %"


def _factor(nets: Sequence[Decimal]) -> Number | Missing:
    factor = profit_factor(nets)
    return factor if isinstance(factor, Missing) else Number(value=to_places(factor, 2))


def _factor_words(nets: Sequence[Decimal]) -> str:
    factor = profit_factor(nets)
    return factor.detail if isinstance(factor, Missing) else str(to_places(factor, 2))


def _filled(record: Record) -> Ratio | Missing:
    return in_full(record.orders) if record.orders else Missing(why=Why.NO_ORDERS)


def _fees_of_gross(total: Totals | Missing) -> Ratio | Missing:
    if isinstance(total, Missing):
        return total
    if total.gross <= 0:
        return Missing(why=Why.NOT_MEASURED, detail="no gross gain to pay them from")
    return Ratio(numerator=total.fees, denominator=total.gross)


def _covered(cells: Sequence[SlippageCell]) -> str:
    seen = coverage(cells)
    if seen.fraction is None or seen.fraction == 1:
        return "against arrival; positive is cost"
    return f"against arrival, {_percent(seen)} of fills; positive is cost"


def _number(ratio: Sharpe | Missing, of: Callable[[Sharpe], float], places: int = 3) -> Shown:
    return ratio if isinstance(ratio, Missing) else Number(value=to_places(of(ratio), places))


def _interval(ratio: Sharpe | Missing) -> str:
    if isinstance(ratio, Missing):
        return ""
    low, high, alone = (
        _signed(to_places(x, 3)) for x in (ratio.low, ratio.high, ratio.error_independent)
    )
    return f"{LEVEL_WORDS} interval {low} to {high}; {alone} if days were independent"


def _annual(ratio: Sharpe | Missing) -> str:
    if isinstance(ratio, Missing):
        return ""
    error, low, high = (
        _signed(to_places(x * _YEAR, 2)) for x in (ratio.error, ratio.low, ratio.high)
    )
    return f"standard error {error}; {LEVEL_WORDS} interval {low} to {high}"


def _signed(number: Decimal) -> str:
    return str(number).replace("-", "−")


def _fall_words(peak: date | None, trough: date | None, since: str) -> str:
    if trough is None:
        return f"the cumulative P&L never fell; {since}"
    return f"{peak or 'from the start'} to {trough}; {since}"


# -- the comparison -------------------------------------------------------------------------------

#: Rows of the table of agents, and columns of the table of strategies that a page shows.
COMPARED = (
    "net", "share", "gross", "hit_rate", "hit_rate_instruments", "profit_factor", "notional",
    "turnover", "fill_rate", "fees", "fees_of_gross", "slippage", "costs_share", "sharpe_daily",
    "sharpe_error", "interval", "sharpe_annual", "drawdown",
)  # fmt: skip
SHOWN = (
    "net", "share", "hit_rate", "profit_factor", "turnover", "costs_share", "sharpe_daily",
    "sharpe_error", "drawdown",
)  # fmt: skip


def _overview(records: Sequence[Record], facts: Facts) -> Section:
    agents = [r for r in records if r.kind == "agent"]
    strategies = [r for r in records if r.kind == "strategy"]
    several = max((len(measured(r.days)) for r in records), default=0) > 1
    past = max((len(measured(r.history)) for r in records), default=0)
    compared = {r.id: _compared(r, several) for r in records}
    chart = _agents_chart(agents)
    return Section(
        id="strategies",
        title=TITLE,
        summary=_summary(agents, strategies),
        charts=(chart,) if chart else (),
        tables=(
            _agents_table(agents, compared, several, past),
            _strategies_table(strategies, compared, several, past),
        ),
        notes=(*_gaps(facts), *NOTES),
    )


def _compared(record: Record, several: bool) -> dict[str, Shown]:
    """Each measure; in a daily report hit rate and profit factor are those of the history."""
    said = _said(record)
    values = {key: s.value for key, s in said.items()}
    nets = [x for _, x in measured(record.history)]
    if not several:
        values |= {"hit_rate": hit_rate(nets), "profit_factor": _factor(nets)}
    ratio = sharpe(nets)
    values["interval"] = (
        ratio
        if isinstance(ratio, Missing)
        else text(" to ".join(_signed(to_places(x, 3)) for x in (ratio.low, ratio.high)))
    )
    return values


def _labels(several: bool, past: int) -> dict[str, str]:
    """What the rows and columns are called; those of the history say how long it is."""
    over = _sessions(past)
    days = "" if several else f", {over}"
    return {
        "net": "Net P&L",
        "share": "Share of net",
        "gross": "Gross P&L",
        "hit_rate": f"Winning sessions{days}",
        "hit_rate_instruments": "Winning instruments, by session",
        "profit_factor": f"Profit factor{days}",
        "notional": "Traded notional",
        "turnover": "Turnover",
        "fill_rate": "Orders filled in full",
        "fees": "Fees",
        "fees_of_gross": "Fees of gross P&L",
        "slippage": "Slippage cost",
        "costs_share": "Share of all costs",
        "sharpe_daily": f"Sharpe ratio, daily, {over}",
        "sharpe_error": "Standard error",
        "interval": f"{LEVEL_WORDS} interval",
        "sharpe_annual": f"Sharpe ratio × √{SESSIONS_A_YEAR}",
        "drawdown": f"Deepest drawdown, {over}",
    }


def _agents_table(
    agents: Sequence[Record],
    compared: Mapping[str, Mapping[str, Shown]],
    several: bool,
    past: int,
) -> Table:
    labels = _labels(several, past)
    return Table(
        id="agents_compared",
        title="Agents side by side",
        columns=(
            Column(key="measure", label="", align="left"),
            *(
                Column(key=slug(r.name), label=short(r.name), shown=n < MOST_COLUMNS)
                for n, r in enumerate(agents)
            ),
        ),
        rows=tuple((text(labels[key]), *(compared[r.id][key] for r in agents)) for key in COMPARED),
        whole=True,
        note=f"A page shows {MOST_COLUMNS} agents." if len(agents) > MOST_COLUMNS else "",
    )


def _strategies_table(
    strategies: Sequence[Record],
    compared: Mapping[str, Mapping[str, Shown]],
    several: bool,
    past: int,
) -> Table:
    """A row each, the largest gain first; a column of nothing but one reason is a detail."""
    labels = _labels(several, past)
    order = sorted(strategies, key=lambda r: (isinstance(r.total, Missing), -r.net, r.name))
    keys = [*SHOWN, *(key for key in COMPARED if key not in SHOWN)]
    empty = {
        key for key in keys if all(isinstance(compared[r.id][key], Missing) for r in strategies)
    }
    reasons = {
        labels[key]: str(compared[r.id][key])
        for r in strategies[:1]
        for key in SHOWN
        if key in empty
    }
    return Table(
        id="strategies_compared",
        title="Strategies",
        columns=(
            Column(key="strategy", label="Strategy", align="left"),
            *(
                Column(key=key, label=labels[key], shown=key in SHOWN and key not in empty)
                for key in keys
            ),
        ),
        rows=tuple((text(r.name), *(compared[r.id][key] for key in keys)) for r in order),
        note=" ".join(f"{label}: {why}." for label, why in reasons.items()),
    )


def _agents_chart(agents: Sequence[Record]) -> LinesChart | None:
    """The cumulative P&L of the agents, or of those that moved most."""
    days = sorted({p.day for r in agents for p in r.history})
    if len(days) < 2:
        return None
    drawn = sorted(agents, key=lambda r: -_moved(r))[:MOST_LINES]
    drawn = [r for r in agents if r in drawn]
    lines = [Line(label=short(r.name, LONGEST_KEY), values=_running(r, days)) for r in drawn]
    ends = [
        f"{line.label} {_whole(next(v for v in reversed(line.values) if v is not None), r.base)}"
        for r, line in zip(drawn, lines, strict=True)
        if any(v is not None for v in line.values)
    ]
    rest = len(agents) - len(drawn)
    alt = f"{_sessions(len(days))} from {days[0]} to {days[-1]}; at the end: {', '.join(ends)}."
    if rest:
        alt += f" {rest} more agent{'' if rest == 1 else 's'} moved less and are not drawn."
    return LinesChart(
        id="agents_cumulative",
        title=f"Cumulative net P&L by agent, {_sessions(len(days))}",
        alt=alt,
        unit=agents[0].base,
        labels=tuple(day.isoformat() for day in days),
        lines=tuple(lines),
    )


def _moved(record: Record) -> Decimal:
    return exact_sum(abs(x) for _, x in measured(record.history))


def _running(record: Record, days: Sequence[date]) -> tuple[Decimal | None, ...]:
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


def _whole(amount: Decimal, currency: str) -> str:
    """For a sentence: "−38,328 USD"."""
    return f"{amount:,.0f} {currency}".replace("-", "−")


def _summary(agents: Sequence[Record], strategies: Sequence[Record]) -> str:
    counts = (
        f"{len(strategies)} strateg{'y' if len(strategies) == 1 else 'ies'} and "
        f"{len(agents)} agent{'' if len(agents) == 1 else 's'}"
    )
    known = [r for r in strategies if not isinstance(r.total, Missing)]
    if not known:
        return f"{counts}; no result in base is known."
    best, worst = max(known, key=lambda r: r.net), min(known, key=lambda r: r.net)
    words = (
        [f"{short(best.name)} earned most, {_whole(best.net, best.base)}"] if best.net > 0 else []
    )
    words += (
        [f"{short(worst.name)} lost most, {_whole(worst.net, worst.base)}"] if worst.net < 0 else []
    )
    return f"{counts}. {listed(words) or 'None gained or lost'}."


def _gaps(facts: Facts) -> tuple[str, ...]:
    """What the figures are without, where a session of the period has no such fact."""
    notes = []
    for name, what in (("pnl", "P&L"), ("slippage", "slippage"), ("fill_rate", "fill rates")):
        gone = [
            day
            for day, fact in facts.of(name)
            if isinstance(fact, Missing) and fact.why not in NO_GAP
        ]
        if gone:
            words = listed([day.isoformat() for day in gone])
            notes.append(f"Without the {what} of {words}: not known there.")
    return tuple(notes)


NOTES = (
    "A session wins or loses by its net P&L; one of exactly 0 does neither. Profit factor: gains "
    "over losses. Turnover: traded notional over the average of the sessions' gross market value "
    "at the close. Costs: fees, and slippage against arrival. A share is left out where gains and "
    "losses offset each other: it would be negative or beyond 100 %.",
    f"Sharpe ratio: mean over standard deviation of the daily net P&L, in money and without a "
    f"risk-free rate, from {LEAST_SESSIONS} sessions on. Its standard error is Lo's (2002, "
    "generalised method of moments) with equally weighted cosines for days that hang together, "
    "the interval Student's t (Lazarus and others 2018); for independent days Mertens' (2002). "
    f"× √{SESSIONS_A_YEAR} takes the days of a year as independent. Drawdown: the deepest fall of "
    "the cumulative net P&L from its highest point, which is 0 at the start.",
)


# -- a page each ----------------------------------------------------------------------------------


def _page(record: Record) -> Section:
    """The figures, the course, instruments, the other split and execution of one of them."""
    said = _said(record)
    name = "Strategy" if record.kind == "strategy" else "Agent"
    chart = _course_chart(record)
    return Section(
        id=f"strategies.{record.id.replace('.', '-')}",
        title=f"{name}: {short(record.name)}",
        summary=_page_summary(record, said),
        figures=tuple(
            Figure(id=f"{record.id}.{s.key}", label=s.label, value=s.value, note=s.note)
            for s in said.values()
        ),
        charts=(chart,) if chart else (),
        tables=tuple(_page_tables(record)),
    )


def _page_summary(record: Record, said: Mapping[str, Said]) -> str:
    if isinstance(record.total, Missing):
        return f"The result in base is missing: {record.total}."
    did = "Gained" if record.net > 0 else "Lost" if record.net < 0 else "Neither gained nor lost"
    amount = f" {_whole(abs(record.net), record.base)}" if record.net else ""
    return (
        f"{did}{amount} net of fees with {record.fills:,} fill{'' if record.fills == 1 else 's'}."
    )


def _course_chart(record: Record) -> LinesChart | None:
    """Cumulative net P&L and how far it stood below its highest point so far."""
    known = measured(record.history)
    if len(known) < 2:
        return None
    days = [p.day for p in record.history]
    running = _running(record, days)
    below: list[Decimal | None] = []
    high = Decimal(0)
    for total in running:
        high = high if total is None else max(high, total)
        below.append(None if total is None else EXACT.subtract(total, high))
    fall = drawdown(known)
    sums = cumulative([x for _, x in known])
    deepest = (
        f"deepest drawdown {_whole(fall.amount, record.base)}, on {fall.trough}"
        if fall.trough
        else "never below its high point"
    )
    alt = (
        f"{_sessions(len(known))} from {days[0]} to {days[-1]}; cumulative net P&L "
        f"{_whole(sums[-1], record.base)} at the end, between {_whole(min(sums), record.base)} and "
        f"{_whole(max(sums), record.base)}; {deepest}."
    )
    return LinesChart(
        id=f"{record.kind}_{slug(record.name)}_course",
        title=f"Cumulative net P&L and drawdown, {_sessions(len(days))}",
        alt=alt,
        unit=record.base,
        labels=tuple(day.isoformat() for day in days),
        lines=(
            Line(label="Cumulative net P&L", values=running),
            Line(label="Below its highest point", values=tuple(below)),
        ),
        marked=(days.index(fall.trough),) if fall.trough else (),
        marked_label="deepest drawdown",
    )


def _page_tables(record: Record) -> Iterable[Table]:
    stem = f"{record.kind}_{slug(record.name)}"
    yield _parts(record, f"{stem}_instruments", "instrument", "instrument", "symbol")
    other: Kind = "agent" if record.kind == "strategy" else "strategy"
    if len({getattr(c, other) for c in record.cells}) > 1:
        yield _parts(record, f"{stem}_{other}", other, other, other)
    if record.trades:
        yield _execution(record, f"{stem}_execution")


def _parts(record: Record, id: str, label: str, key: str, name: str) -> Table:
    """The record's P&L by ``key``, the largest gains and losses first; it foots to the record."""
    rates = {r.currency: r.close for r in record.fact.fx}
    trades = _grouped(record.trades, lambda c: getattr(c, key))
    rows = []
    for value, cells in _grouped(record.cells, lambda c: getattr(c, key)).items():
        total = _total(record.fact, cells)
        notional = (
            record.notional
            if isinstance(record.notional, Missing)
            else _translated(((c.currency, c.notional) for c in trades.get(value, ())), rates)
        )
        size = Decimal(0) if isinstance(total, Missing) else abs(total.net)
        rows.append((-size, getattr(cells[0], name), _amounts(total, cells, notional, record)))
    return Table(
        id=id,
        title=f"P&L by {label}",
        columns=(
            Column(key=label, label=label.capitalize(), align="left"),
            Column(key="net", label="Net"),
            Column(key="gross", label="Gross"),
            Column(key="fees", label="Fees"),
            Column(key="fx", label="FX", shown=False),
            Column(key="fills", label="Fills"),
            Column(key="notional", label="Traded notional"),
        ),
        rows=tuple(
            (text(shown), *amounts) for _, shown, amounts in sorted(rows, key=lambda r: r[:2])
        ),
        total=(text("Total"), *_amounts(record.total, record.cells, record.notional, record)),
        top=8,
        note="Largest gains and losses first.",
    )


def _amounts(
    total: Totals | Missing, cells: Sequence[Cell], notional: Decimal | Missing, record: Record
) -> tuple[Shown, ...]:
    return (
        _of(total, record, lambda t: t.net),
        _of(total, record, lambda t: t.gross),
        _of(total, record, lambda t: t.fees),
        _of(total, record, lambda t: t.fx),
        Count(value=sum(c.fills for c in cells)),
        _money(notional, record),
    )


def _execution(record: Record, id: str) -> Table:
    """What its trades cost against arrival, by currency: currencies are never added up."""
    rows: list[tuple[Shown, ...]] = []
    for currency, cells in sorted(_grouped(record.trades, lambda c: c.currency).items()):
        slipped = bps(cells)
        rows.append(
            (
                text(currency),
                Count(value=sum(c.fills for c in cells)),
                Money(amount=exact_sum(c.notional for c in cells), currency=currency),
                slipped
                if slipped.value is not None
                else Missing(why=Why.NO_DATA, detail="no arrival price"),
                Money(amount=exact_sum(c.cost for c in cells), currency=currency),
                coverage(cells),
            )
        )
    return Table(
        id=id,
        title="Execution against arrival",
        columns=(
            Column(key="currency", label="Currency", align="left"),
            Column(key="fills", label="Fills"),
            Column(key="notional", label="Notional"),
            Column(key="slippage", label="Slippage"),
            Column(key="cost", label="Cost"),
            Column(key="coverage", label="Coverage"),
        ),
        rows=tuple(rows),
    )
