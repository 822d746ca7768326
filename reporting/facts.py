"""The facts of one day: its frames through the book and through every measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .book import Book, BookDay
from .book.session import trade
from .measures import Measure
from .measures.fill_rate import FILL_RATE
from .measures.pnl import PNL
from .measures.slippage import SLIPPAGE
from .measures.uptime import UPTIME
from .measures.var import VAR
from .model import Frame, Frames, Missing, Value, Why
from .periods import TradingDay

#: In the order in which a report shows them.
MEASURES: tuple[Measure[Any], ...] = (PNL, VAR, SLIPPAGE, FILL_RATE, UPTIME)


def book_of(day: TradingDay, frames: Frames, opening: Book | Missing) -> BookDay | Missing:
    """The session's book; Missing where the ledger or the opening book is."""
    if isinstance(opening, Missing):
        return opening
    needed = [frames[name] for name in ("instruments", "fills", "marks")]
    for frame in needed:
        if isinstance(frame, Missing):
            return frame
    instruments, fills, marks = needed
    assert isinstance(instruments, Frame) and isinstance(fills, Frame) and isinstance(marks, Frame)
    assert day.trading is not None
    return trade(opening, instruments, fills, marks, day.trading.start_ms)


def facts_of(day: TradingDay, frames: Frames) -> dict[str, Value | Missing]:
    """One fact, or the reason why there is none, for every measure."""
    return {measure.name: _fact(measure, day, frames) for measure in MEASURES}


def _fact(measure: Measure[Any], day: TradingDay, frames: Frames) -> Value | Missing:
    if not measure.every_day and not day.is_session:
        return Missing(why=Why.NO_SESSION, detail=f"{day.day}: {day.note}")
    for name in measure.reads:
        if name not in frames:
            return Missing(why=Why.NOT_MEASURED, detail=f"no source of {name} is configured")
        frame = frames[name]
        if isinstance(frame, Missing):
            return frame
    found: Value | Missing = measure.of_day(day, frames)
    return found


def fact_from(measure: Measure[Any], sealed: Mapping[str, Any]) -> Any:
    """A sealed fact, or Missing, back from its JSON."""
    if sealed.get("kind") == "missing":
        return Missing.model_validate(sealed, strict=False)
    return measure.fact.model_validate(sealed, strict=False)
