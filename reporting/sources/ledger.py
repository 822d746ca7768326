"""The trade ledger, read through the contract views, in one snapshot, read-only.

Fills are streamed through ``COPY … TO STDOUT`` into Arrow, with prices and quantities parsed as
decimals and handed on as integers of a stated scale. Sums that SQL can do are done there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ..model import EXACT, Coverage, Finding, Frame, Frames, Missing, Why, plain
from ..periods import TradingDay
from ..postgres import Database, Query, Session, column_types, queries
from ..resources import resource

SOURCE = "ledger"
FILES = ("pnl", "var", "slippage", "fill_rate")

TEXT = pa.dictionary(pa.int32(), pa.string())
DETAIL = {
    "fill without its order": "the order id is not in ledger.orders",
    "fill of an unknown instrument": "not in ledger.instruments: it can not be booked",
    "fill with quantity or side out of range": "quantity above 0 and side 1 or -1 are expected",
    "fill recorded before it was executed": "recorded_at is earlier than executed_at",
    "fill identifier used twice": "every row of ledger.fills has an identifier of its own",
    "late correction or bust": "applied: the corrected row stands in the place of the first",
}


#: Every frame that a read gives, with the query that it comes from.
FRAMES = {
    "instruments": "instruments",
    "fills": "fills",
    "marks": "marks",
    "fx_rates": "fx_rates",
    "fx_open": "fx_rates",
    "mark_history": "mark_history",
    "fx_history": "fx_history",
    "slippage": "slippage_cells",
    "orders": "fill_rate_cells",
    "working": "orders_working",
}


class Ledger:
    """Reads of one ledger database."""

    frame_names = tuple(FRAMES)

    def __init__(self, source: Database, base: str) -> None:
        self._database = source
        self._base = base
        self._queries: dict[str, Query] = {}
        for name in FILES:
            self._queries |= queries(name)

    def query_texts(self) -> Mapping[str, str]:
        """Every query text by name, for the provenance."""
        return {name: query.sql for name, query in self._queries.items()}

    def read(
        self, day: TradingDay, known_at: datetime, *, window: int, minimum: int
    ) -> tuple[Frames, tuple[Finding, ...]]:
        """All frames of a session as known at ``known_at``, from one snapshot.

        ``window`` and ``minimum`` are the sessions of history that VaR wants and needs. A session
        with neither fills nor orders nor marks of its own is an empty source: Missing.
        """
        assert day.trading is not None
        # Twice the window in calendar days, and a month: holidays can't eat up the history.
        history = day.trading.end - timedelta(days=2 * window + 30)
        at = {
            "start": day.trading.start,
            "end": day.trading.end,
            "known_at": known_at,
            "history_start": history,
            "zone": day.zone,
        }
        base = {"base": self._base}
        control = {
            "fx_rates": base,
            "fx_open": base,
            "mark_history": {"window": str(window), "minimum": str(minimum)},
        }
        with self._database.snapshot() as session:
            frames: dict[str, Frame | Missing] = {}
            for name, query in FRAMES.items():
                if name == "fills":
                    frames[name] = self._fills(session, at)
                    continue
                # Opening rates are those before the session began.
                moment = {**at, "end": at["start"]} if name == "fx_open" else at
                frames[name] = self._frame(session, query, control.get(name, {}), **moment)
            findings = self._checks(session, at)
        if _is_empty(frames, day):
            gone = Missing(why=Why.EMPTY, detail=f"no fill, order or mark for {day.day}")
            return dict.fromkeys(frames, gone), findings
        return frames, findings

    def first_late_event(self, after: datetime, known_at: datetime, before: datetime) -> Any:
        """Earliest business time before ``before`` that was recorded in (after, known_at]."""
        with self._database.snapshot() as session:
            rows = session.rows(
                self._queries["first_late_event"], after=after, known_at=known_at, before=before
            )
        return rows[0]["at"]

    def first_activity(self, known_at: datetime) -> datetime | None:
        """When the first fill was executed or the first order placed, as known at ``known_at``."""
        with self._database.snapshot() as session:
            rows = session.rows(self._queries["first_activity"], known_at=known_at)
        found: datetime | None = rows[0]["at"]
        return found

    def check(self) -> list[str]:
        """What is wrong with the contract views; empty is good."""
        with self._database.snapshot() as session:
            have = column_types(session, "ledger")
        problems = []
        for view, wanted in contract().items():
            if view not in have:
                problems.append(f"view ledger.{view} is missing")
                continue
            found = dict(have[view])
            for column, kind in wanted:
                if column not in found:
                    problems.append(f"ledger.{view} has no column {column}")
                elif found[column] != kind:
                    problems.append(f"ledger.{view}.{column} is {found[column]}, expected {kind}")
        return problems

    def _frame(
        self,
        session: Session,
        name: str,
        control: Mapping[str, str],
        **parameters: Any,
    ) -> Frame:
        query = self._queries[name]
        rows = session.rows(query, **parameters)
        columns = list(rows[0]) if rows else []
        table = pd.DataFrame.from_records(rows, columns=columns)
        return Frame(table, self._coverage(query, len(rows), control))

    def _coverage(self, query: Query, rows: int, control: Mapping[str, str]) -> Coverage:
        return Coverage(
            source=SOURCE,
            query=query.name,
            query_digest=hashlib.sha256(query.sql.encode()).hexdigest(),
            rows=rows,
            control=dict(control),
        )

    def _fills(self, session: Session, at: Mapping[str, Any]) -> Frame:
        """The session's fills, integers for numbers, with the scales among the control totals."""
        query = self._queries["fills"]
        totals = session.rows(self._queries["fills_control"], **at)[0]
        scales = {name: int(totals[f"{name}_scale"]) for name in ("quantity", "price", "fee")}
        table = session.stream(
            query,
            {
                "account_id": TEXT,
                "instrument_id": TEXT,
                "strategy": TEXT,
                "agent": TEXT,
                "side": pa.int64(),
                **{name: pa.decimal128(38, scale) for name, scale in scales.items()},
                "fee_currency": TEXT,
                "executed_us": pa.int64(),
                "fill_id": pa.string(),
            },
            **at,
        )
        frame = table.drop_columns(list(scales)).to_pandas()
        for name, scale in scales.items():
            frame[name] = _integers(table[name], scale)
        control = {
            "rows": str(totals["rows"]),
            "quantity": plain(totals["quantity"]),
            **{f"{name}_scale": str(scale) for name, scale in scales.items()},
        }
        return Frame(frame, self._coverage(query, len(frame), control))

    def _checks(self, session: Session, at: Mapping[str, Any]) -> tuple[Finding, ...]:
        return tuple(
            Finding(
                check=row["check"],
                severity="note" if row["check"].startswith("late") else "warning",
                count=int(row["count"]),
                detail=DETAIL[row["check"]],
                samples=tuple(row["samples"] or ()),
            )
            for row in session.rows(self._queries["checks"], **at)
            if row["count"]
        )


def _integers(column: pa.ChunkedArray, scale: int) -> npt.NDArray[Any]:
    """A decimal128 column (n,) in units of 10^-scale: int64, or Python integers if one won't fit.

    The 128-bit words are read as they lie in Arrow's buffers: no number is converted one by one.
    """
    parts = []
    for chunk in column.chunks:
        filled = chunk.fill_null(Decimal(0)) if chunk.null_count else chunk
        words = np.frombuffer(filled.buffers()[1], dtype=np.int64).reshape(-1, 2)
        words = words[filled.offset : filled.offset + len(filled)]
        if (words[:, 1] != words[:, 0] >> 63).any():
            return np.array(
                [int(EXACT.scaleb(d or Decimal(0), scale)) for d in column.to_pylist()],
                dtype=object,
            )
        parts.append(words[:, 0])
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _is_empty(frames: Mapping[str, Frame | Missing], day: TradingDay) -> bool:
    """Whether the ledger holds nothing at all of this session."""
    assert day.trading is not None
    for name in ("fills", "orders"):
        frame = frames[name]
        if isinstance(frame, Frame) and len(frame.table):
            return False
    marks = frames["marks"]
    assert isinstance(marks, Frame)
    return marks.table.empty or bool((marks.table["marked_at"] < day.trading.start).all())


def contract() -> Mapping[str, list[tuple[str, str]]]:
    """Columns and types of every contract view, read from sql/ledger/contract.sql."""
    names = {"text": "text", "numeric": "numeric", "smallint": "smallint"}
    names["timestamptz"] = "timestamp with time zone"
    views: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for line in (resource("sql") / "ledger" / "contract.sql").read_text("utf-8").splitlines():
        words = line.split()
        if line.startswith("create or replace view ledger."):
            current = views.setdefault(words[4].removeprefix("ledger."), [])
        elif words and words[0].startswith("null::"):
            current.append((words[2].rstrip(","), names[words[0].removeprefix("null::")]))
    return views
