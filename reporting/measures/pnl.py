"""Profit and loss, first in first out, to the last unit.

Per account × instrument the lots give realised and unrealised P&L; per strategy × agent × account ×
instrument the own cash and the own position at the mark give the result. Both foot to one total:

    realised + change of unrealised − fees + FX  =  change of cash + change of market value

Native amounts merge over days by keeping the first opening and the last closing. In base currency
the result is Σ V₁·fx₁ − V₀·fx₀ with V = cash + market value; it splits into what was earned in
the currency, at the closing rate, and FX on what had been earned before: V₀·(fx₁ − fx₀).

Source of the definitions: measures.md "P&L"; clean P&L as in Basel MAR32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from ..book import BookDay, Cell, Holding, MarkUsed
from ..model import (
    EXACT,
    Count,
    Currency,
    Exact,
    Frame,
    Frames,
    Missing,
    Moment,
    Money,
    Number,
    Shown,
    Text,
    Value,
    Why,
)
from ..page import BarsChart, Column, Figure, Line, Point, Section, Table, Verdict, text
from ..periods import TradingDay
from . import Context, Measure


class FxRate(Value):
    """Worth of one unit of ``currency`` in base, at the period's start and end."""

    currency: Currency
    open: Exact | None
    close: Exact | None
    source: str


class PnlFact(Value):
    """Sufficient statistics of P&L; every figure is derived from them."""

    base: Currency
    cells: tuple[Cell, ...]
    holdings: tuple[Holding, ...]
    fx: tuple[FxRate, ...]
    marks: tuple[MarkUsed, ...]
    fills: int


class Totals(Value):
    """P&L in base currency. ``identity_gap`` is the cash identity's difference: always 0."""

    realised: Exact
    unrealised: Exact
    fees: Exact
    fx: Exact
    net: Exact
    cash_change: Exact
    value_change: Exact
    identity_gap: Exact
    unvalued: tuple[str, ...] = ()

    @property
    def gross(self) -> Decimal:
        """Before fees, without FX on earlier results."""
        return EXACT.add(self.realised, self.unrealised)


def of_day(day: TradingDay, frames: Frames) -> PnlFact | Missing:
    """P&L of one session from its :class:`BookDay`, opening rates and closing rates."""
    book = frames["book"]
    opening_fx, closing_fx = frames["fx_open"], frames["fx_rates"]
    if isinstance(book, Missing):
        return book
    assert isinstance(book, BookDay) and isinstance(closing_fx, Frame)
    base = str(closing_fx.coverage.control["base"])
    first = rates(opening_fx.table, base) if isinstance(opening_fx, Frame) else {}
    last = rates(closing_fx.table, base)
    # Every quoted currency, used or not: one that is first traded later in a period has to have
    # the period's opening rate.
    currencies = sorted({c.currency for c in book.cells} | {*first} | {*last})
    return PnlFact(
        base=base,
        cells=book.cells,
        holdings=book.holdings,
        fx=tuple(
            FxRate(
                currency=c,
                open=Decimal(1) if c == base else first.get(c, (None, ""))[0],
                close=Decimal(1) if c == base else last.get(c, (None, ""))[0],
                source="base currency" if c == base else last.get(c, (None, ""))[1],
            )
            for c in currencies
        ),
        marks=book.marks,
        fills=book.fills,
    )


def rates(table: Any, base: str) -> dict[str, tuple[Decimal, str]]:
    """Worth of one unit of each currency in ``base``, with source and time, from a rates table.

    An inverse pair is not inverted: 1/rate is no exact decimal, so the ledger has to give the pair
    that is needed.
    """
    return {
        row["base"]: (row["rate"], f"{row['source']}, {row['fixed_at'].isoformat()}")
        for row in table.to_dict("records")
        if row["quote"] == base
    }


def merge(days: Sequence[tuple[Any, PnlFact]]) -> PnlFact:
    """One fact over consecutive sessions: flows add up, openings are first, closings are last."""
    facts = [fact for _, fact in days]
    return PnlFact(
        base=facts[-1].base,
        cells=_merged((c for f in facts for c in f.cells), _join_cells),
        holdings=_merged((h for f in facts for h in f.holdings), _join_holdings),
        fx=_merged_fx(facts),
        marks=facts[-1].marks,
        fills=sum(f.fills for f in facts),
    )


def _merged(rows: Iterable[Any], join: Callable[[Any, Any], Any]) -> tuple[Any, ...]:
    merged: dict[tuple[str, ...], Any] = {}
    for row in rows:
        merged[row.key] = join(merged[row.key], row) if row.key in merged else row
    return tuple(merged[key] for key in sorted(merged))


def _join_cells(a: Cell, b: Cell) -> Cell:
    return b.model_copy(
        update={
            "fills": a.fills + b.fills,
            "bought": EXACT.add(a.bought, b.bought),
            "sold": EXACT.add(a.sold, b.sold),
            "realised": EXACT.add(a.realised, b.realised),
            "fees": EXACT.add(a.fees, b.fees),
            "cash_open": a.cash_open,
            "value_open": a.value_open,
        }
    )


def _join_holdings(a: Holding, b: Holding) -> Holding:
    return b.model_copy(
        update={
            "realised": EXACT.add(a.realised, b.realised),
            "cost_open": a.cost_open,
            "value_open": a.value_open,
            "position_open": a.position_open,
        }
    )


def _merged_fx(facts: Sequence[PnlFact]) -> tuple[FxRate, ...]:
    merged: dict[str, FxRate] = {}
    for fact in facts:
        for rate in fact.fx:
            first = merged.get(rate.currency, rate)
            merged[rate.currency] = rate.model_copy(update={"open": first.open})
    return tuple(merged[c] for c in sorted(merged))


def totals(fact: PnlFact, cells: Sequence[Cell] | None = None) -> Totals | Missing:
    """P&L in base over ``cells`` (all of the fact's if None); Missing where a rate is.

    A cell without a mark can not be valued: it is left out of every sum, whole, and named in
    ``unvalued``.
    """
    whole = cells is None
    chosen = fact.cells if cells is None else cells
    fx = {rate.currency: rate for rate in fact.fx}
    unvalued = sorted({c.instrument for c in fact.cells if _unvalued(c)})
    realised = fees = on_fx = cash = value = unrealised = Decimal(0)
    for cell in chosen:
        if cell.instrument in unvalued:
            continue
        rate = fx[cell.currency]
        before = EXACT.add(cell.cash_open, cell.value_open or Decimal(0))
        if rate.close is None or (rate.open is None and before):
            return Missing(why=Why.NO_DATA, detail=f"no rate {cell.currency}/{fact.base}")
        opening = rate.open if rate.open is not None else rate.close
        realised = EXACT.add(realised, EXACT.multiply(cell.realised, rate.close))
        fees = EXACT.add(fees, EXACT.multiply(cell.fees, rate.close))
        d_cash = EXACT.subtract(cell.cash_close, cell.cash_open)
        d_value = EXACT.subtract(cell.value_close or Decimal(0), cell.value_open or Decimal(0))
        cash = EXACT.add(cash, EXACT.multiply(d_cash, rate.close))
        value = EXACT.add(value, EXACT.multiply(d_value, rate.close))
        on_fx = EXACT.add(on_fx, EXACT.multiply(before, EXACT.subtract(rate.close, opening)))
    # What cash and value say; by lots the same must come out, which is the cash identity.
    by_cash = EXACT.add(cash, value)
    unrealised = EXACT.subtract(EXACT.add(by_cash, fees), realised)
    gap = Decimal(0)
    if whole:
        by_lots = _unrealised_by_lots(fact, unvalued)
        gap = EXACT.subtract(unrealised, by_lots)
    return Totals(
        realised=realised,
        unrealised=unrealised,
        fees=fees,
        fx=on_fx,
        net=EXACT.add(by_cash, on_fx),
        cash_change=cash,
        value_change=value,
        identity_gap=gap,
        unvalued=tuple(unvalued),
    )


def _unvalued(row: Cell | Holding) -> bool:
    return row.value_open is None or row.value_close is None


def _unrealised_by_lots(fact: PnlFact, unvalued: Sequence[str]) -> Decimal:
    """Change of (market value − FIFO cost) over all holdings, in base at closing rates."""
    close = {rate.currency: rate.close for rate in fact.fx}
    total = Decimal(0)
    for h in fact.holdings:
        rate = close[h.currency]
        if h.instrument in unvalued or rate is None:
            continue
        after = EXACT.subtract(h.value_close or Decimal(0), h.cost_close)
        before = EXACT.subtract(h.value_open or Decimal(0), h.cost_open)
        total = EXACT.add(total, EXACT.multiply(EXACT.subtract(after, before), rate))
    return total


def section(
    fact: PnlFact | Missing, days: Sequence[tuple[Any, PnlFact | Missing]], context: Context
) -> Section:
    """Headline, identity, breakdowns and, over several days, the daily series."""
    if isinstance(fact, Missing):
        return Section(id="pnl", title=PNL.title, summary=f"P&L is missing: {fact}.")
    total = totals(fact)
    if isinstance(total, Missing):
        return Section(id="pnl", title=PNL.title, summary=f"P&L in base is missing: {total}.")
    series = daily_net(days)
    figures = _figures(fact, total, series)
    charts = (_chart(series, fact.base),) if len(series) > 1 else ()
    direction = "gained" if total.net >= 0 else "lost"
    return Section(
        id="pnl",
        title=PNL.title,
        summary=f"The book {direction} money net of fees; the cash identity holds to the last unit."
        if not total.identity_gap
        else "The cash identity does not hold: see the difference below.",
        verdict=Verdict.MISSED if total.identity_gap else None,
        figures=figures,
        charts=charts,
        tables=(
            _identity_table(fact, total),
            *(_by(fact, name, label) for name, label in BREAKDOWNS),
            _cells_table(fact),
            _marks_table(fact),
            _fx_table(fact),
        ),
        notes=_notes(fact, total),
    )


BREAKDOWNS = (
    ("strategy", "strategy"),
    ("agent", "agent"),
    ("account", "account"),
    ("symbol", "instrument"),
)


def daily_net(days: Sequence[tuple[date, PnlFact | Missing]]) -> list[Point]:
    """Net P&L in base of each session, gaps kept."""
    points = []
    for day, fact in days:
        total = fact if isinstance(fact, Missing) else totals(fact)
        points.append(Point(day=day, value=total if isinstance(total, Missing) else total.net))
    return points


def _money(fact: PnlFact, amount: Decimal) -> Money:
    return Money(amount=amount, currency=fact.base)


def _figures(fact: PnlFact, total: Totals, series: list[Point]) -> tuple[Figure, ...]:
    def figure(key: str, label: str, amount: Decimal, **more: Any) -> Figure:
        return Figure(id=f"pnl.{key}", label=label, value=_money(fact, amount), **more)

    return (
        figure("net", "Net P&L", total.net, series=tuple(series)),
        figure("gross", "Gross P&L", total.gross),
        figure("realised", "Realised (FIFO)", total.realised),
        figure("unrealised", "Change of unrealised", total.unrealised),
        figure("fees", "Fees", total.fees),
        figure("fx", "FX on earlier results", total.fx),
        Figure(id="pnl.fills", label="Fills", value=Count(value=fact.fills, unit="fills")),
        Figure(
            id="pnl.positions",
            label="Open positions at the close",
            value=Count(value=len(fact.marks), unit="positions"),
        ),
    )


def _identity_table(fact: PnlFact, total: Totals) -> Table:
    def row(label: str, amount: Decimal) -> tuple[Shown, ...]:
        return (text(label), _money(fact, amount))

    return Table(
        id="pnl_identity",
        title="Cash identity",
        columns=(
            Column(key="item", label="", align="left"),
            Column(key="amount", label="Amount"),
        ),
        rows=(
            row("Realised P&L (FIFO)", total.realised),
            row("+ Change of unrealised P&L", total.unrealised),
            row("− Fees", EXACT.minus(total.fees)),
            row(
                "= Change of cash and market value",
                EXACT.add(total.cash_change, total.value_change),
            ),
            row("   of which cash", total.cash_change),
            row("   of which market value", total.value_change),
            row("+ FX on earlier results", total.fx),
            row("Difference, lots against cash (must be 0)", total.identity_gap),
        ),
        total=row("Net P&L", total.net),
        note="The unrealised side is computed twice, from lots and from cash; both must agree.",
    )


PNL_COLUMNS = (
    Column(key="net", label="Net"),
    Column(key="gross", label="Gross"),
    Column(key="realised", label="Realised"),
    Column(key="fees", label="Fees"),
    Column(key="fx", label="FX"),
    Column(key="fills", label="Fills"),
)


def _pnl_row(fact: PnlFact, cells: Sequence[Cell]) -> tuple[Shown, ...]:
    total = totals(fact, cells)
    fills = Count(value=sum(c.fills for c in cells))
    if isinstance(total, Missing):
        return (total, total, total, total, total, fills)
    if cells and all(c.instrument in total.unvalued for c in cells):
        missing = Missing(why=Why.NO_MARK, detail="never marked")
        return (missing, missing, missing, missing, missing, fills)
    amounts = (total.net, total.gross, total.realised, total.fees, total.fx)
    return (*(_money(fact, amount) for amount in amounts), fills)


def _by(fact: PnlFact, name: str, label: str) -> Table:
    groups: dict[str, list[Cell]] = {}
    for cell in fact.cells:
        groups.setdefault(getattr(cell, name), []).append(cell)
    rows = [(text(key), *_pnl_row(fact, cells)) for key, cells in groups.items()]
    return Table(
        id=f"pnl_by_{label}",
        title=f"P&L by {label}",
        columns=(Column(key=label, label=label.capitalize(), align="left"), *PNL_COLUMNS),
        rows=tuple(sorted(rows, key=_biggest_first)),
        total=(text("Total"), *_pnl_row(fact, fact.cells)),
    )


def _biggest_first(row: tuple[Shown, ...]) -> tuple[Any, ...]:
    net = row[1]
    name = row[0].text if isinstance(row[0], Text) else ""
    return (1, 0, name) if not isinstance(net, Money) else (0, EXACT.minus(net.amount), name)


def _cells_table(fact: PnlFact) -> Table:
    """Everything, by strategy × agent × instrument × account, cells that did nothing left out."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for c in fact.cells:
        groups.setdefault((c.strategy, c.agent, c.symbol, c.account), []).append(c)
    rows = []
    for key, cells in sorted(groups.items()):
        rows.append((*map(text, key), *_pnl_row(fact, cells)))
    return Table(
        id="pnl_cells",
        title="P&L by strategy, agent, instrument and account",
        columns=(
            Column(key="strategy", label="Strategy", align="left"),
            Column(key="agent", label="Agent", align="left"),
            Column(key="instrument", label="Instrument", align="left"),
            Column(key="account", label="Account", align="left"),
            *PNL_COLUMNS,
        ),
        rows=tuple(rows),
        total=(text("Total"), text(""), text(""), text(""), *_pnl_row(fact, fact.cells)),
        top=15,
    )


def _marks_table(fact: PnlFact) -> Table:
    rows = []
    for m in sorted(fact.marks, key=lambda m: (not m.stale, m.price is not None, m.symbol)):
        missing = Missing(why=Why.NO_MARK, detail="never marked")
        rows.append(
            (
                text(m.symbol),
                text("missing" if m.price is None else "stale" if m.stale else "fresh"),
                missing if m.price is None else Number(value=m.price, unit=m.currency),
                missing if m.value is None else Money(amount=m.value, currency=m.currency),
                text(m.source),
                Moment(at=datetime.fromisoformat(m.marked_at)) if m.marked_at else missing,
            )
        )
    return Table(
        id="pnl_marks",
        title="Marks of the closing positions",
        columns=(
            Column(key="instrument", label="Instrument", align="left"),
            Column(key="state", label="Mark", align="left"),
            Column(key="price", label="Price"),
            Column(key="value", label="Value touched"),
            Column(key="source", label="Source", align="left"),
            Column(key="marked_at", label="Marked at", align="left"),
        ),
        rows=tuple(rows),
    )


def _fx_table(fact: PnlFact) -> Table:
    missing = Missing(why=Why.NO_DATA, detail="no rate")
    used = {c.currency for c in fact.cells}
    return Table(
        id="pnl_fx",
        title=f"Rates to {fact.base}",
        columns=(
            Column(key="currency", label="Currency", align="left"),
            Column(key="open", label="Opening rate"),
            Column(key="close", label="Closing rate"),
            Column(key="source", label="Source and time", align="left"),
        ),
        rows=tuple(
            (
                text(r.currency),
                missing if r.open is None else Number(value=r.open),
                missing if r.close is None else Number(value=r.close),
                text(r.source),
            )
            for r in fact.fx
            if r.currency in used
        ),
    )


def _chart(series: Sequence[Point], base: str) -> BarsChart:
    running = Decimal(0)
    cumulative: list[Decimal | None] = []
    for point in series:
        if isinstance(point.value, Missing):
            cumulative.append(None)
        else:
            running = EXACT.add(running, point.value)
            cumulative.append(running)
    values = tuple(None if isinstance(p.value, Missing) else p.value for p in series)
    known = [v for v in values if v is not None]
    alt = "No session has a P&L."
    if known:
        alt = (
            f"{len(known)} sessions; best {max(known):.2f}, worst {min(known):.2f}, "
            f"sum {running:.2f} {base}."
        )
    return BarsChart(
        id="pnl_daily",
        title="Net P&L per session and cumulative",
        alt=alt,
        unit=base,
        labels=tuple(p.day.isoformat() for p in series),
        bars=Line(label="Net P&L", values=values),
        lines=(Line(label="Cumulative", values=tuple(cumulative)),),
    )


def _notes(fact: PnlFact, total: Totals) -> tuple[str, ...]:
    notes = [
        "Lots: first in, first out by account and instrument; realised P&L stands with the "
        "strategy whose fill closes the lot. Positive fees are cost.",
        f"Native amounts are translated to {fact.base} at the closing rate; FX on earlier results "
        "is the change of that rate on everything earned before and kept in the currency.",
    ]
    if total.unvalued:
        notes.append(f"Left out, because no mark was ever recorded: {', '.join(total.unvalued)}.")
    return tuple(notes)


PNL: Measure[PnlFact] = Measure(
    name="pnl",
    title="Profit and loss",
    unit="money",
    every_day=False,
    reads=("book", "fx_rates"),
    fact=PnlFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="FIFO lots; cash identity (measures.md, P&L)",
)
