"""The facts of one day: its frames through the book and through every measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .book import Beside, Book, Method
from .book.execution import market_of
from .book.parts import PART, Run, Sources, worked_through
from .book.statements import statements
from .measures import Measure
from .measures.alerts import ALERTS
from .measures.fill_rate import FILL_RATE
from .measures.incidents import INCIDENTS
from .measures.marks import MARKS
from .measures.pnl import PNL
from .measures.reconciliation import RECONCILIATION
from .measures.service_levels import SERVICE_LEVELS
from .measures.slippage import SLIPPAGE
from .measures.uptime import UPTIME
from .measures.var import VAR
from .model import Frame, Frames, Missing, Value, Why
from .periods import TradingDay

#: In the order in which a report shows them.
MEASURES: tuple[Measure[Any], ...] = (
    PNL,
    MARKS,
    RECONCILIATION,
    VAR,
    SLIPPAGE,
    FILL_RATE,
    UPTIME,
    SERVICE_LEVELS,
    ALERTS,
    INCIDENTS,
)

NOT_READ = Missing(why=Why.NOT_MEASURED, detail="the source does not give it")


def worked_out(
    day: TradingDay,
    frames: Frames,
    opening: Book | Missing,
    method: Method = "fifo",
    *,
    run: Run = map,
    part_fills: int = PART,
) -> dict[str, Frame | Value]:
    """What the measures read beside the ledger's own frames: the book and the executions.

    Each is Missing where what it is worked out from is. ``method`` is how the book keeps its lots.
    ``run`` works the session out, some ``part_fills`` fills at a time.
    """
    assert day.trading is not None
    found: dict[str, Frame | Value] = {}
    needed = [frames[n] for n in ("instruments", "fills", "marks", "order_rows", "earlier_fills")]
    for frame in needed:
        if isinstance(frame, Missing):
            return dict.fromkeys(("book", "slippage", "orders", "execution"), frame)
    instruments, fills, marks, orders, earlier = (f for f in needed if isinstance(f, Frame))
    market = market_of(day, *(frames.get(name, NOT_READ) for name in ("quotes", "market_trades")))
    book, made = worked_through(
        day,
        opening,
        Sources(instruments, fills, marks, orders, earlier, _beside(frames)),
        market,
        method=method,
        size=part_fills,
        run=run,
    )
    found["book"] = book
    found["slippage"] = Frame(made.slippage, fills.coverage, made.findings)
    found["execution"] = made.day
    found["orders"] = Frame(made.orders, orders.coverage)
    for name in ("reported_positions", "reported_cash"):
        stated = frames.get(name)
        if isinstance(stated, Frame):
            found[name] = statements(stated)
    return found


def _beside(frames: Frames) -> Beside:
    """What happens to the book beside fills."""
    names = {
        "actions": "corporate_actions",
        "flows": "cash_flows",
        "fee_items": "fee_items",
        "replaced": "replaced_fills",
        "correcting": "correcting_fills",
    }
    given = {field: frames.get(name) for field, name in names.items()}
    return Beside(**{k: v for k, v in given.items() if isinstance(v, Frame | Missing)})


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
