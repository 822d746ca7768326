"""The sample ledger of the demo: a firm's own tables as CSV, and the truth about them.

``generate`` writes both from a seed; the same seed gives the same bytes anywhere. The tables are
loaded with COPY into the schema of ``sql/ledger/examples/demo.sql``, whose views fill the ledger
contract. ``truth.json`` was worked out apart from the product, so tests compare against it and
not against the code (its key ``conventions`` says how each number is meant).
"""

from __future__ import annotations

import csv
import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

from ...model import epoch_ms
from .accounts import Custody, commission_items, corporate_events, planted_breaks
from .market import (
    BASE,
    CALENDAR,
    CRASH,
    EXPIRES_ON,
    EXPIRING_CODE,
    FIRST,
    LAST,
    NOW,
    SPLIT_CODE,
    SPLIT_ON,
    SPLIT_RATIO,
    STALE_MARK,
    ZONE,
    Market,
    known_ms,
    market,
)
from .rows import TABLES, Firm
from .tape import Ours, quotes, tape
from .trading import OUTAGE, QUIET, closing_prices, ecb_fixings, securities, trade
from .truth import CONVENTIONS, truth

__all__ = ["BASE", "CALENDAR", "FIRST", "LAST", "NOW", "SEED", "ZONE", "generate", "tables"]

SEED: Final = 20251208

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def generate(out: Path, *, seed: int = SEED) -> None:
    """Write one CSV file a table and ``truth.json`` into ``out``, which is made if need be.

    A CSV file has a header; an empty unquoted field is null; times are ISO 8601 in UTC.
    """
    out.mkdir(parents=True, exist_ok=True)
    with _no_collection():
        prices = market(seed)
        firm, planted = _firm(seed, prices)
        for name, path in tables(out).items():
            _write(path, getattr(firm, name.removeprefix("firm.")))
        answers = {
            "schema": "reporting/demo-truth/v1",
            "seed": seed,
            "calendar": CALENDAR,
            "zone": ZONE,
            "base": BASE,
            "now_ms": epoch_ms(NOW),
            "sessions": [day.isoformat() for day in prices.sessions],
            "conventions": CONVENTIONS,
            "planted": planted,
            "rows": {name: len(getattr(firm, name)) for name in TABLES},
            "totals": _totals(firm),
            **truth(firm, prices.sessions),
        }
    text = json.dumps(answers, ensure_ascii=False, indent=None, separators=(",", ":"))
    (out / "truth.json").write_text(text + "\n", encoding="utf-8")


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the garbage collector: half a million rows hold no cycle, and it would look again
    and again for a quarter of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def tables(out: Path) -> Mapping[str, Path]:
    """Qualified table name to CSV file, in an order in which they can be loaded."""
    return {f"firm.{name}": out / f"{name}.csv" for name in TABLES}


def _firm(seed: int, prices: Market) -> tuple[Firm, dict[str, Any]]:
    """All rows of the firm's tables, and the facts planted in them."""
    trades, late = trade(seed, prices)
    events = corporate_events(prices)
    custody = Custody(seed, prices, trades, events)
    custody.run()
    movements, corrected = custody.recorded()
    ours = Ours(trades.parents, trades.children, trades.child_events, trades.executions)
    items, not_itemised = commission_items(seed, trades.executions)
    top_of_book, planted_quotes = quotes(seed, prices, ours)
    firm = Firm(
        securities=tuple(securities(prices)),
        parents=trades.parents,
        children=trades.children,
        child_events=trades.child_events,
        executions=trades.executions,
        closing_prices=tuple(closing_prices(prices)),
        ecb_fixings=tuple(ecb_fixings(prices)),
        commission_items=items,
        top_of_book=top_of_book,
        tape=tape(seed, prices, ours),
        corporate_events=events,
        cash_movements=movements,
        custody_positions=tuple(custody.positions),
        custody_cash=tuple(custody.balances),
    )
    planted = _planted(late) | planted_quotes | planted_breaks()
    planted |= {"not_itemised": not_itemised, "corrected_flow": corrected}
    return firm, planted


def _planted(late: Mapping[str, Any]) -> dict[str, Any]:
    code, day = STALE_MARK
    return {
        "split": {
            "instrument": SPLIT_CODE,
            "session": SPLIT_ON.isoformat(),
            "ratio": SPLIT_RATIO,
        },
        "expiry": {"instrument": EXPIRING_CODE, "session": EXPIRES_ON.isoformat()},
        "dividends": [
            {"instrument": "BRCH", "session": "2025-10-22"},
            {"instrument": "KIEF", "session": "2025-11-14"},
        ],
        "called_off": {"instrument": "CEDR", "session": "2025-11-19"},
        "stale_mark": {"instrument": code, "session": day.isoformat()},
        "var_exception": {"session": CRASH.isoformat()},
        "no_trades": {"session": QUIET.isoformat()},
        "low_fill_rate": {"session": OUTAGE.isoformat()},
        "late": late,
        "known_at_ms": {day.isoformat(): known_ms(day) for day in (FIRST, LAST)},
    }


def _totals(firm: Firm) -> dict[str, str]:
    """Control totals over the raw rows, whatever their kind."""
    return {
        "executions.size": format(sum((row.size for row in firm.executions), Decimal(0)), "f"),
        "children.total_size": format(
            sum((row.total_size for row in firm.children), Decimal(0)), "f"
        ),
    }


def _write(path: Path, rows: Sequence[Any]) -> None:
    """Rows as CSV, written by column; a field whose name ends in ``_at`` is a time."""
    names = rows[0]._fields
    columns = [
        map(_time if name.endswith("_at") else _field, column)
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(zip(*columns, strict=True))


def _field(value: str | Decimal | None) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else format(value, "f")


def _time(ms: int | None) -> str:
    """Milliseconds since 1970 in ISO 8601."""
    if ms is None:
        return ""
    minute, rest = divmod(ms, 60_000)
    return _minute(minute) + _RESTS[rest]


@cache
def _minute(minutes: int) -> str:
    return (_EPOCH + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:")


#: Every end that a time can have: seconds, thousandths and the zone.
_RESTS = [f"{ms // 1_000:02d}.{ms % 1_000:03d}+00:00" for ms in range(60_000)]
