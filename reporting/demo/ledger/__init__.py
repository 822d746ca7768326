"""The sample ledger of the demo: a firm's own tables as CSV, and the truth about them.

``generate`` writes both from a seed; the same seed gives the same bytes anywhere. The tables are
loaded with COPY into the schema of ``sql/ledger/examples/demo.sql``, whose views fill the ledger
contract. ``truth.json`` was worked out apart from the product, so tests compare against it and
not against the code (its key ``conventions`` says how each number is meant).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from ...model import epoch_ms
from .market import BASE, CALENDAR, CRASH, FIRST, LAST, NOW, STALE_MARK, ZONE, known_ms, market
from .rows import TABLES, Firm
from .trading import OUTAGE, QUIET, trade
from .truth import CONVENTIONS, truth

__all__ = ["BASE", "CALENDAR", "FIRST", "LAST", "NOW", "SEED", "ZONE", "generate", "tables"]

SEED: Final = 20251208

_EPOCH = datetime.fromtimestamp(0, UTC)


def generate(out: Path, *, seed: int = SEED) -> None:
    """Write one CSV file a table and ``truth.json`` into ``out``, which is made if need be.

    A CSV file has a header; an empty unquoted field is null; times are ISO 8601 in UTC.
    """
    prices = market(seed)
    firm, planted = trade(seed, prices)
    out.mkdir(parents=True, exist_ok=True)
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
        "planted": _planted(planted),
        "rows": {name: len(getattr(firm, name)) for name in TABLES},
        "totals": _totals(firm),
        **truth(firm, prices.sessions),
    }
    text = json.dumps(answers, ensure_ascii=False, indent=None, separators=(",", ":"))
    (out / "truth.json").write_text(text + "\n", encoding="utf-8")


def tables(out: Path) -> Mapping[str, Path]:
    """Qualified table name to CSV file, in an order in which they can be loaded."""
    return {f"firm.{name}": out / f"{name}.csv" for name in TABLES}


def _planted(late: Mapping[str, Any]) -> dict[str, Any]:
    code, day = STALE_MARK
    return {
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


def _write(path: Path, rows: tuple[Any, ...]) -> None:
    """Rows as CSV; a field whose name ends in ``_at`` is a time in milliseconds."""
    names = rows[0]._fields
    timed = {index for index, name in enumerate(names) if name.endswith("_at")}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            writer.writerow(
                [
                    _iso(value) if index in timed and value is not None else _field(value)
                    for index, value in enumerate(row)
                ]
            )


def _field(value: str | Decimal | None) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    return "" if value is None else value


def _iso(ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")
