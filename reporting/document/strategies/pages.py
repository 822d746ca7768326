"""A page for one strategy or agent: its figures, its course, and where its result came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from ...book import Cell
from ...measures.pnl import Totals
from ...measures.slippage import SlippageCell
from ...model import Count, Missing, Money, Shown
from ...numerals import numeral
from ...page import Column, Figure, Section, Table, text
from ..courses import course_chart
from .records import Kind, Record, grouped, short, slug, total_of, translated
from .said import money_of, said_of, slippage_of, whole

#: The figures in their order; a page sets them in two columns of equal length.
FIGURES = (
    "net", "share", "gross", "hit_rate", "hit_rate_instruments", "profit_factor", "fill_rate",
    "notional", "turnover",
    "fees", "fees_of_gross", "slippage", "slippage_bps", "costs_share", "sharpe_daily",
    "sharpe_annual", "drawdown",
)  # fmt: skip
#: Rows of a page's tables, all of them together: so many that they stay on one page.
ROWS = 6


def page_of(record: Record) -> Section:
    """The figures, the course, instruments, the other split and execution of one of them."""
    said = said_of(record)
    name = "Strategy" if record.kind == "strategy" else "Agent"
    course = f"{record.kind}_{slug(record.name)}_course"
    chart = course_chart(record.history, record.base, id=course)
    return Section(
        id=f"strategies.{record.id.replace('.', '-')}",
        title=f"{name}: {short(record.name)}",
        summary=_summary(record),
        figures=tuple(
            Figure(
                id=f"{record.id}.{key}",
                label=said[key].label,
                value=said[key].value,
                note=said[key].note,
            )
            for key in FIGURES
        ),
        charts=(chart,) if chart else (),
        tables=tuple(_page_tables(record)),
    )


def _summary(record: Record) -> str:
    if isinstance(record.total, Missing):
        return f"The result in base is missing: {record.total}."
    did = "Gained" if record.net > 0 else "Lost" if record.net < 0 else "Neither gained nor lost"
    amount = f" {whole(abs(record.net), record.base)}" if record.net else ""
    fills = f"{numeral(record.fills, ',')} fill{'' if record.fills == 1 else 's'}"
    return f"{did}{amount} net of fees with {fills}."


def _page_tables(record: Record) -> Iterator[Table]:
    """Where the result came from: the other split where it has several parts, and instruments."""
    stem = f"{record.kind}_{slug(record.name)}"
    other: Kind = "agent" if record.kind == "strategy" else "strategy"
    several = len({getattr(c, other) for c in record.cells})
    if several > 1:
        yield _parts(record, f"{stem}_{other}", other, other, other, ROWS // 2)
    top = ROWS if several < 2 else max(ROWS // 2, ROWS - several)
    yield _parts(record, f"{stem}_instruments", "instrument", "instrument", "symbol", top)


def _parts(record: Record, id: str, label: str, key: str, name: str, top: int) -> Table:
    """The record's result and costs by ``key``, the largest results first; it foots to the record.

    ``name`` is the attribute that is shown.
    """
    trades = grouped(record.trades, lambda c: getattr(c, key))
    rows = []
    for value, cells in grouped(record.cells, lambda c: getattr(c, key)).items():
        total = total_of(record.fact, cells)
        size = Decimal(0) if isinstance(total, Missing) else abs(total.net)
        amounts = _amounts(total, cells, trades.get(value, ()), record)
        rows.append((-size, getattr(cells[0], name), value, amounts))
    rows.sort(key=lambda row: row[:3])
    return Table(
        id=id,
        title=f"P&L and costs by {label}",
        columns=(
            Column(key=label, label=label.capitalize(), align="left"),
            Column(key="net", label="Net"),
            Column(key="gross", label="Gross"),
            Column(key="fees", label="Fees"),
            Column(key="fx", label="FX", shown=False),
            Column(key="fills", label="Fills"),
            Column(key="notional", label="Traded notional"),
            Column(key="slippage", label="Slippage"),
        ),
        rows=tuple((text(shown), *amounts) for _, shown, _, amounts in rows),
        total=(text("Total"), *_amounts(record.total, record.cells, record.trades, record)),
        top=top,
    )


def _amounts(
    total: Totals | Missing, cells: Sequence[Cell], trades: Sequence[SlippageCell], record: Record
) -> tuple[Shown, ...]:
    notional = record.notional
    if not isinstance(notional, Missing):
        notional = translated(((c.currency, c.notional) for c in trades), record.rates)
    return (
        money_of(total, record, lambda t: t.net),
        money_of(total, record, lambda t: t.gross),
        money_of(total, record, lambda t: t.fees),
        money_of(total, record, lambda t: t.fx),
        Count(value=sum(c.fills for c in cells)),
        notional if isinstance(notional, Missing) else Money(amount=notional, currency=record.base),
        slippage_of(record, trades),
    )
