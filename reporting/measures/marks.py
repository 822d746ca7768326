"""The marks that value the closing positions: stale, missing, or beyond what their past explains.

A mark is outlying where its move from the session before is farther from the median of the
instrument's own trailing returns than k of their median absolute deviations, k from policy. Both
are robust: the outliers that are looked for do not widen the limit themselves. See Rousseeuw and
Croux (1993), "Alternatives to the median absolute deviation". The move under test is not among
the returns, and a split is no move. Fewer than 20 of them are too short a history, which is said
and not judged.

The facts of several days stay a series.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..book import BookDay, MarkUsed
from ..book.instruments import in_units_of_today
from ..model import (
    EXACT,
    Count,
    Currency,
    Exact,
    Frame,
    Frames,
    Missing,
    Money,
    Number,
    Shown,
    Value,
    Why,
    plain,
)
from ..page import Attention, Column, Figure, Section, Table, text
from ..periods import TradingDay, previous_session, sessions_between
from . import Context, Measure

#: The threshold: how many median absolute deviations a move may be from the median.
FACTOR = "mark_outlier_mad"
DEFAULT_FACTOR = Decimal(8)
LEAST_RETURNS = 20
#: Returns are quantised to this on their way out of floats: a ten-thousandth of a basis point.
STEP = Decimal("0.00000001")
State = Literal["fresh", "stale", "missing"]


class Move(Value):
    """One session's return of a mark beside its past: ``median`` and ``mad`` of ``returns`` others.

    As fractions: 0.05 is five percent.
    """

    size: Exact
    median: Exact
    mad: Exact
    returns: int

    def limit(self, factor: Decimal) -> Decimal:
        """How far the move may be from the median."""
        return EXACT.multiply(factor, self.mad)

    def is_outlying(self, factor: Decimal) -> bool:
        """Whether it is farther than that."""
        return abs(EXACT.subtract(self.size, self.median)) > self.limit(factor)


class CheckedMark(Value):
    """The mark of one position at one close; ``value`` is what it touches, over all accounts."""

    instrument: str
    symbol: str
    currency: Currency
    state: State
    marked_at: str
    price: Exact | None
    value: Exact | None
    move: Move | Missing


class MarksDay(Value):
    """The marks of one close."""

    day: date
    marks: tuple[CheckedMark, ...]


class MarksFact(Value):
    """The marks of one or more closes, in order of day."""

    days: tuple[MarksDay, ...]


def of_day(day: TradingDay, frames: Frames) -> MarksFact | Missing:
    """Every mark of the closing book beside the instrument's own history."""
    book, history = frames["book"], frames["mark_history"]
    if isinstance(book, Missing):
        return book
    assert isinstance(book, BookDay) and isinstance(history, Frame)
    # A source without rows gives no columns either.
    table = history.table.reindex(columns=["instrument_id", "day", "price", "marked_at"])
    table = in_units_of_today(table, frames.get("split_history"))
    of_instrument = dict(iter(table.groupby("instrument_id")))
    return MarksFact(
        days=(
            MarksDay(
                day=day.day,
                marks=tuple(
                    _checked(m, of_instrument.get(m.instrument), day)
                    for m in sorted(book.marks, key=lambda m: m.instrument)
                ),
            ),
        )
    )


def _checked(mark: MarkUsed, history: pd.DataFrame | None, day: TradingDay) -> CheckedMark:
    state: State = "missing" if mark.price is None else "stale" if mark.stale else "fresh"
    return CheckedMark(
        instrument=mark.instrument,
        symbol=mark.symbol,
        currency=mark.currency,
        state=state,
        marked_at=mark.marked_at,
        price=mark.price,
        value=mark.value,
        move=_move(history, day)
        if state == "fresh"
        else Missing(why=Why.NO_MARK, detail=f"no mark of {day.day}"),
    )


def _move(history: pd.DataFrame | None, day: TradingDay) -> Move | Missing:
    """The session's return, and the median and MAD of those before it."""
    short = Missing(why=Why.TOO_SHORT, detail=f"fewer than {LEAST_RETURNS} returns")
    if history is None or history.empty:
        return short
    by_day = dict(zip(history["day"], history["price"], strict=True))
    before = previous_session(day.day, day.calendar)
    if day.day not in by_day or not by_day.get(before):
        return Missing(why=Why.NO_MARK, detail=f"no mark of {day.day} beside one of {before}")
    # A return is from one session to the next: where a mark lacks, both its returns do.
    sessions = sessions_between(min(by_day), day.day - timedelta(1), day.calendar)
    prices = np.array([by_day.get(s, np.nan) for s in sessions])
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = prices[1:] / prices[:-1] - 1
    returns = returns[np.isfinite(returns)]
    if len(returns) < LEAST_RETURNS:
        return short
    median = float(np.median(returns))
    return Move(
        size=_quantised(by_day[day.day] / by_day[before] - 1),
        median=_quantised(median),
        mad=_quantised(float(np.median(np.abs(returns - median)))),
        returns=len(returns),
    )


def _quantised(number: float) -> Decimal:
    return Decimal(number).quantize(STEP)


def merge(days: Sequence[tuple[Any, MarksFact]]) -> MarksFact:
    """The series of the days is kept."""
    return MarksFact(days=tuple(d for _, fact in days for d in fact.days))


def factor_of(context: Context) -> Decimal:
    """How many median absolute deviations policy allows."""
    target = context.targets.get(FACTOR)
    return DEFAULT_FACTOR if target is None else target.value


def outlying(fact: MarksFact, factor: Decimal) -> list[tuple[date, CheckedMark, Move]]:
    """Marks beyond their limit, the newest day first, then the farthest beyond."""
    found = [
        (d.day, m, m.move)
        for d in fact.days
        for m in d.marks
        if isinstance(m.move, Move) and m.move.is_outlying(factor)
    ]
    return sorted(found, key=lambda x: (-x[0].toordinal(), -abs(x[2].size), x[1].instrument))


def section(
    fact: MarksFact | Missing, days: Sequence[tuple[Any, MarksFact | Missing]], context: Context
) -> Section:
    """The marks that a person should look at, with the value that each touches."""
    if isinstance(fact, Missing):
        return Section(id=MARKS.name, title=MARKS.title, summary=f"Marks are not known: {fact}.")
    factor, last = factor_of(context), fact.days[-1]
    far = outlying(fact, factor)
    doubtful = [(last.day, m, None) for m in last.marks if m.state != "fresh"]
    unjudged = [m for m in last.marks if m.state == "fresh" and isinstance(m.move, Missing)]
    return Section(
        id=MARKS.name,
        title=MARKS.title,
        summary=_summary(last, len(doubtful), len(far), len(unjudged)),
        figures=(
            _count("stale", "Stale marks", sum(m.state == "stale" for m in last.marks)),
            _count("missing", "Missing marks", sum(m.state == "missing" for m in last.marks)),
            _count("outlying", "Outlying marks", len(far)),
            _count("unjudged", "Marks without enough history", len(unjudged)),
        ),
        tables=(_table([*doubtful, *far, *((last.day, m, None) for m in unjudged)], factor),)
        if doubtful or far or unjudged
        else (),
        notes=(
            f"Outlying: the move from the session before is farther from the median of the "
            f"instrument's trailing returns than {plain(factor)} median absolute deviations; "
            f"judged from {LEAST_RETURNS} returns on. A stale mark is from before the session.",
        ),
    )


def _count(key: str, label: str, number: int) -> Figure:
    return Figure(id=f"{MARKS.name}.{key}", label=label, value=Count(value=number))


def _summary(last: MarksDay, doubtful: int, far: int, unjudged: int) -> str:
    words = [
        f"{number} {what}"
        for number, what in (
            (doubtful, "stale or missing"), (far, "outlying"), (unjudged, "not judged")
        )
        if number
    ]  # fmt: skip
    if not last.marks:
        return f"No position was open at the close of {last.day}."
    if not words:
        return (
            f"All {len(last.marks)} marks are of the session and within what their past explains."
        )
    return f"Of {len(last.marks)} marks at the close of {last.day}: {', '.join(words)}."


def _table(rows: Sequence[tuple[date, CheckedMark, Move | None]], factor: Decimal) -> Table:
    def row(day: date, mark: CheckedMark, move: Move | None) -> tuple[Shown, ...]:
        no_price = Missing(why=Why.NO_MARK, detail="never marked")
        state = "outlying" if move else "not judged" if mark.state == "fresh" else mark.state
        why = mark.move if isinstance(mark.move, Missing) else Missing(why=Why.NO_DATA)
        return (
            text(mark.symbol),
            text(state),
            text(day.isoformat()),
            no_price if mark.price is None else Number(value=mark.price, unit=mark.currency),
            _percent(move.size) if move else why,
            _percent(move.limit(factor)) if move else Missing(why=why.why),
            no_price if mark.value is None else Money(amount=mark.value, currency=mark.currency),
            Count(value=move.returns) if move else text(""),
            text(mark.marked_at),
            text(mark.instrument),
        )

    return Table(
        id="marks_doubtful",
        title="Marks to look at",
        columns=(
            Column(key="symbol", label="Instrument", align="left"),
            Column(key="state", label="Mark", align="left"),
            Column(key="day", label="Close of", align="left"),
            Column(key="price", label="Price"),
            Column(key="move", label="Move"),
            Column(key="limit", label="Limit"),
            Column(key="value", label="Value touched"),
            Column(key="returns", label="Returns", shown=False),
            Column(key="marked_at", label="Marked at", align="left", shown=False),
            Column(key="instrument", label="Identifier", align="left", shown=False),
        ),
        rows=tuple(row(*each) for each in rows),
        top=10,
    )


def _percent(fraction: Decimal) -> Number:
    """Two decimals of a percent: a move is read at a glance, the fact has it in full."""
    return Number(value=EXACT.multiply(fraction, Decimal(100)).quantize(Decimal("0.01")), unit="%")


def attention(fact: MarksFact | Missing, context: Context) -> list[Attention]:
    """A line for each outlying mark of the last close, the farthest first, at most three."""
    if isinstance(fact, Missing):
        return []
    factor, last = factor_of(context), fact.days[-1].day
    far = [(m, move) for day, m, move in outlying(fact, factor) if day == last]
    found = [
        Attention(
            severity="warning",
            text=f"The mark of {m.symbol} moved {move.size * 100:+.2f} % in one session, beyond "
            f"{plain(factor)} MAD of its past ({move.limit(factor) * 100:.2f} %)"
            + (f"; it values {m.value:,.0f} {m.currency}." if m.value is not None else "."),
            section=MARKS.name,
        )
        for m, move in far[:3]
    ]
    if len(far) > 3:
        words = f"{len(far) - 3} more marks are outlying."
        found.append(Attention(severity="warning", text=words, section=MARKS.name))
    return found


MARKS: Measure[MarksFact] = Measure(
    name="marks",
    title="Marks",
    unit="marks",
    every_day=False,
    reads=("book", "mark_history"),
    fact=MarksFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="median absolute deviation, Rousseeuw and Croux (1993)",
)
