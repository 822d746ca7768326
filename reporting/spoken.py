"""What a chart says to a reader who can't see it: its numbers, in words.

It follows a chart's own sentence (``alt``), which says what the chart shows. Series of up to
:data:`MOST` values are told whole; longer ones by their ends, their lowest and their highest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal

from .model import Missing, plain
from .numerals import numeral
from .page import (
    BarsChart,
    CalendarChart,
    CalendarRow,
    Chart,
    HeatChart,
    Line,
    LinesChart,
    Point,
    TimelineChart,
    TimelineRow,
    Verdict,
)

#: A month of days, with some to spare.
MOST = 35


def numbers_of(chart: Chart) -> str:
    """The numbers of ``chart``, each with what it is of; what is missing is named so."""
    match chart:
        case BarsChart():
            return _told(_series(s, chart.labels, chart.unit) for s in (chart.bars, *chart.lines))
        case LinesChart():
            drawn = (*chart.lines, *([chart.below] if chart.below else []))
            lines = [_series(line, chart.labels, chart.unit) for line in drawn]
            marked = ", ".join(chart.labels[i] for i in chart.marked)
            return _told([*lines, *([f"{chart.marked_label}: {marked}"] if marked else [])])
        case HeatChart():
            return _told(
                _series(Line(label=row.label, values=row.values), chart.labels, chart.unit)
                for row in chart.rows
            )
        case TimelineChart():
            return _told(_stretches(row, chart.states) for row in chart.rows)
        case CalendarChart():
            return _told(map(_days, chart.rows))


def numbers_of_points(points: Sequence[Point]) -> str:
    """The numbers of a sparkline."""
    values = tuple(None if isinstance(p.value, Missing) else p.value for p in points)
    days = [p.day.isoformat() for p in points]
    return _told([_series(Line(label="", values=values), days, "")])


def number(value: Decimal) -> str:
    """At most two decimals from one on, at most three significant digits below."""
    if abs(value) < 1:
        return numeral(plain(value.normalize(Context(prec=3, rounding=ROUND_HALF_EVEN))))
    return numeral(plain(value.quantize(Decimal("0.01"), context=Context(prec=100))))


def _told(sentences: Iterable[str]) -> str:
    return " ".join(f"{s}." for s in sentences if s)


def _series(line: Line, labels: Sequence[str], unit: str) -> str:
    known = [(v, label) for v, label in zip(line.values, labels, strict=True) if v is not None]
    name = ", ".join(w for w in (line.label, unit) if w)
    if not known:
        return f"{name}: not known" if name else "not known"
    if len(line.values) <= MOST:
        told = "; ".join(
            f"{label} {'not known' if v is None else number(v)}"
            for v, label in zip(line.values, labels, strict=True)
        )
        return f"{name}: {told}" if name else told
    (low, lowest), (high, highest) = min(known), max(known)
    told = (
        f"{len(known)} values, first {number(known[0][0])} at {known[0][1]}, last "
        f"{number(known[-1][0])} at {known[-1][1]}, lowest {number(low)} at {lowest}, highest "
        f"{number(high)} at {highest}"
    )
    gaps = len(line.values) - len(known)
    return f"{name}: {told}" + (f", {gaps} not known" if gaps else "")


def _stretches(row: TimelineRow, names: tuple[str, str, str]) -> str:
    told = []
    usual, *others = names
    for state, name in zip(("down", "unknown"), others, strict=True):
        ms = [s.end_ms - s.start_ms for s in row.spans if s.state == state]
        if ms:
            times = "once" if len(ms) == 1 else f"{len(ms)} times"
            told.append(f"{name} {times}, {number(Decimal(sum(ms)) / 1000)} s in all")
    return f"{row.label}: {'; '.join(told) or f'{usual} all the time'}"


def _days(row: CalendarRow) -> str:
    counts = []
    for verdict in Verdict:
        cells = [c for c in row.cells if c.verdict is verdict]
        if not cells:
            continue
        named = ""
        if verdict is not Verdict.MET:
            named = " (" + ", ".join(f"{c.day}{_band(c.low_pct, c.high_pct)}" for c in cells) + ")"
        counts.append(f"{verdict.value} {len(cells)}{named}")
    return f"{row.label}: {', '.join(counts)}"


def _band(low: Decimal | None, high: Decimal | None) -> str:
    if low is None or high is None:
        return ""
    shown = numeral(plain(low))
    return f" {shown} %" if low == high else f" {shown} to {numeral(plain(high))} %"
