"""The marks that value the closing positions: stale, missing, or beyond what their past explains.

A mark is outlying where its move from the session before is farther from the median of the
instrument's own trailing returns than k of their median absolute deviations, k from policy. Both
are robust: the outliers that are looked for do not widen the limit themselves. See Rousseeuw and
Croux (1993), "Alternatives to the median absolute deviation". The move under test is not among
the returns, and a split is no move. Fewer than 20 of them are too short a history, which is said
and not judged.

Where several sources have a mark of the session, one of them values the position (the hierarchy in
config/policy.toml, as in IFRS 13; SEC rule 2a-5 asks that pricing sources be tested): another that
is farther from it than policy allows makes the mark outlying too.

The facts of several days stay a series.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..book import BookDay, MarkBeside, MarkUsed
from ..book.instruments import in_units_of_today
from ..model import (
    EXACT,
    WIDE,
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
from ..numerals import numeral
from ..page import Attention, Column, Figure, Section, Table, text
from ..periods import TradingDay, previous_session, sessions_between
from . import Context, Measure

#: The threshold: how many median absolute deviations a move may be from the median.
FACTOR = "mark_outlier_mad"
DEFAULT_FACTOR = Decimal(8)
#: The threshold: how far another source's mark of the session may be from the one used.
DISAGREEMENT = "mark_disagreement_bps"
DEFAULT_DISAGREEMENT_BPS = Decimal(100)
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
    """The mark of one position at one close; ``value`` is what it touches, gross over accounts.

    ``beside`` has other sources' marks of the session.
    """

    instrument: str
    symbol: str
    currency: Currency
    state: State
    marked_at: str
    price: Exact | None
    value: Exact | None
    move: Move | Missing
    source: str = ""
    beside: tuple[MarkBeside, ...] = ()

    def farthest(self) -> MarkBeside | None:
        """The mark of another source that differs most."""
        price = self.price
        if not self.beside or price is None:
            return None
        return max(self.beside, key=lambda m: abs(EXACT.subtract(m.price, price)))

    def disagrees(self, limit_bps: Decimal) -> bool:
        """Whether another source's mark is farther from the one used than ``limit_bps``."""
        far = self.farthest()
        if far is None or self.price is None:
            return False
        apart = EXACT.abs(EXACT.subtract(far.price, self.price))
        most = EXACT.multiply(limit_bps, EXACT.abs(self.price))
        return EXACT.multiply(apart, Decimal(10_000)) > most


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
        source=mark.source,
        beside=mark.beside,
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
    return Decimal(number).quantize(STEP, context=WIDE)


def merge(days: Sequence[tuple[Any, MarksFact]]) -> MarksFact:
    """The series of the days is kept."""
    return MarksFact(days=tuple(d for _, fact in days for d in fact.days))


def factor_of(context: Context) -> Decimal:
    """How many median absolute deviations policy allows."""
    target = context.targets.get(FACTOR)
    return DEFAULT_FACTOR if target is None else target.value


def disagreement_of(context: Context) -> Decimal:
    """How far policy allows another source's mark to be from the one used, in basis points."""
    target = context.targets.get(DISAGREEMENT)
    return DEFAULT_DISAGREEMENT_BPS if target is None else target.value


def disagreeing(fact: MarksFact, limit_bps: Decimal) -> list[tuple[date, CheckedMark]]:
    """Marks that another source of their session disagrees with, the newest day first."""
    found = [(d.day, m) for d in fact.days for m in d.marks if m.disagrees(limit_bps)]
    return sorted(found, key=lambda x: (-x[0].toordinal(), x[1].instrument))


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
    limit_bps = disagreement_of(context)
    far = outlying(fact, factor)
    apart = disagreeing(fact, limit_bps)
    doubtful = [(last.day, m, None) for m in last.marks if m.state != "fresh"]
    unjudged = [m for m in last.marks if m.state == "fresh" and isinstance(m.move, Missing)]
    return Section(
        id=MARKS.name,
        title=MARKS.title,
        summary=_summary(last, len(doubtful), len(far), len(unjudged), len(apart)),
        figures=(
            _count("stale", "Stale marks", sum(m.state == "stale" for m in last.marks)),
            _count("missing", "Missing marks", sum(m.state == "missing" for m in last.marks)),
            _count("outlying", "Outlying marks", len(far)),
            _count("disagreeing", "Marks that another source disagrees with", len(apart)),
            _count("unjudged", "Marks without enough history", len(unjudged)),
        ),
        tables=(
            *(
                [_table([*doubtful, *far, *((last.day, m, None) for m in unjudged)], factor)]
                if doubtful or far or unjudged
                else []
            ),
            *([_apart_table(apart, limit_bps)] if apart else []),
        ),
        notes=(
            f"Outlying: the move from the session before is farther from the median of the "
            f"instrument's trailing returns than {numeral(plain(factor))} median absolute "
            f"deviations; judged from {LEAST_RETURNS} returns on; or another source's mark of the "
            f"session is more than {numeral(plain(limit_bps))} bps from it. A stale mark is from "
            "before the session. "
            "The value touched is gross: that of every account without its sign, added up.",
        ),
    )


def _count(key: str, label: str, number: int) -> Figure:
    return Figure(id=f"{MARKS.name}.{key}", label=label, value=Count(value=number))


def _summary(last: MarksDay, doubtful: int, far: int, unjudged: int, apart: int) -> str:
    words = [
        f"{number} {what}"
        for number, what in (
            (doubtful, "stale or missing"), (far, "outlying"),
            (apart, "disagreed with by another source"), (unjudged, "not judged"),
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
            text(mark.source),
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
            Column(key="source", label="Source", align="left"),
            Column(key="marked_at", label="Marked at", align="left", shown=False),
            Column(key="instrument", label="Identifier", align="left", shown=False),
        ),
        rows=tuple(row(*each) for each in rows),
        top=10,
    )


def _apart_table(rows: Sequence[tuple[date, CheckedMark]], limit_bps: Decimal) -> Table:
    found = []
    for day, mark in rows:
        far = mark.farthest()
        assert far is not None and mark.price is not None
        # Beside a price of 0 nothing is so many basis points away.
        apart: Shown = Missing(why=Why.NO_DATA, detail="the mark used is 0")
        if mark.price:
            size = (far.price - mark.price) / abs(mark.price) * 10_000
            apart = Number(value=size.quantize(Decimal("0.01"), context=WIDE), unit="bps")
        value: Shown = Missing(why=Why.NO_MARK)
        if mark.value is not None:
            value = Money(amount=mark.value, currency=mark.currency)
        found.append(
            (
                text(mark.symbol),
                text(day.isoformat()),
                text(mark.source),
                Number(value=mark.price, unit=mark.currency),
                text(far.source),
                Number(value=far.price, unit=mark.currency),
                apart,
                Number(value=limit_bps, unit="bps"),
                value,
                text(far.marked_at),
                text(mark.instrument),
            )
        )
    return Table(
        id="marks_disagreeing",
        title="Outlying: marks of several sources that disagree",
        columns=(
            Column(key="symbol", label="Instrument", align="left"),
            Column(key="day", label="Close of", align="left"),
            Column(key="source", label="Source", align="left"),
            Column(key="price", label="Price"),
            Column(key="other", label="Other source", align="left"),
            Column(key="other_price", label="Its price"),
            Column(key="apart", label="Apart"),
            Column(key="limit", label="Limit"),
            Column(key="value", label="Value touched"),
            Column(key="marked_at", label="Other marked at", align="left", shown=False),
            Column(key="instrument", label="Identifier", align="left", shown=False),
        ),
        rows=tuple(found),
        top=10,
    )


def _percent(fraction: Decimal) -> Number:
    """Two decimals of a percent: a move is read at a glance, the fact has it in full."""
    return Number(
        value=EXACT.multiply(fraction, Decimal(100)).quantize(Decimal("0.01"), context=WIDE),
        unit="%",
    )


def attention(fact: MarksFact | Missing, context: Context) -> list[Attention]:
    """A line for each outlying mark of the last close, the farthest first, at most three."""
    if isinstance(fact, Missing):
        return []
    factor, last = factor_of(context), fact.days[-1].day
    far = [(m, move) for day, m, move in outlying(fact, factor) if day == last]
    found = [
        Attention(
            severity="warning",
            text=f"The mark of {m.symbol} moved {numeral(move.size * 100, '+.2f')} % in one "
            f"session, beyond {numeral(plain(factor))} MAD of its past "
            f"({numeral(move.limit(factor) * 100, '.2f')} %)"
            + (
                f"; it values {numeral(m.value, ',.0f')} {m.currency}."
                if m.value is not None
                else "."
            ),
            section=MARKS.name,
        )
        for m, move in far[:3]
    ]
    for day, m in disagreeing(fact, disagreement_of(context)):
        other = m.farthest()
        if day == last and other is not None and m.price is not None:
            words = (
                f"The marks of {m.symbol} disagree: {numeral(plain(m.price))} by "
                f"{m.source or 'no source'}, {numeral(plain(other.price))} by "
                f"{other.source or 'no source'}."
            )
            found.append(Attention(severity="warning", text=words, section=MARKS.name))
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
