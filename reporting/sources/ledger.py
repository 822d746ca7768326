"""The trade ledger, read through the contract views, in one snapshot, read-only.

Fills and orders are streamed through ``COPY … TO STDOUT`` into Arrow, their numbers handed on as
integers of a stated scale: summing a million NUMERICs by cell costs the server more than sending
them, and joining and summing integers costs next to nothing (benchmarks/close.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..book.fifo import joined, rescale
from ..errors import SourceUnavailable
from ..model import EXACT, Coverage, Finding, Frame, Frames, Missing, Why, epoch_ms, plain
from ..periods import TradingDay
from ..postgres import Database, Query, Session, column_types, queries
from ..resources import resource
from .ledger_market import MARKET_TRADES, QUOTES, quotes_frame, quotes_window, trades_frame

SOURCE = "ledger"
#: How old a quote may be, where policy does not say.
QUOTE_MAX_AGE_S = 60
FILES = ("pnl", "var", "slippage", "fill_rate", "reconciliation")

TEXT = pa.dictionary(pa.int32(), pa.string())
TIME = pa.timestamp("us", tz="UTC")
FILLS = {
    "account_id": TEXT,
    "instrument_id": TEXT,
    "strategy": TEXT,
    "agent": TEXT,
    "side": pa.int64(),
    "quantity": pa.string(),
    "price": pa.string(),
    "fee": pa.string(),
    "fee_currency": TEXT,
    "executed_us": TIME,
    "fill_id": pa.string(),
    "order_id": pa.string(),
    "venue": TEXT,
}
ORDERS = {
    "order_id": pa.string(),
    "replaces": pa.string(),
    "account_id": TEXT,
    "instrument_id": TEXT,
    "strategy": TEXT,
    "agent": TEXT,
    "side": pa.int64(),
    "quantity": pa.string(),
    "decision_price": pa.string(),
    "arrival_price": pa.string(),
    "status": TEXT,
    "reject_reason": pa.string(),
    "decision_us": TIME,
    "placed_us": TIME,
    "done_us": TIME,
    "recorded_us": TIME,
}
EARLIER = {
    "order_id": pa.string(),
    "venue": TEXT,
    "fee_currency": TEXT,
    "quantity": pa.string(),
    "amount": pa.string(),
    "fee": pa.string(),
    "first_us": TIME,
    "last_us": TIME,
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
    "split_history": "split_history",
    "order_rows": "orders",
    "earlier_fills": "earlier_fills",
    "quotes": "quotes",
    "market_trades": "market_trades",
    "replaced_fills": "replaced_fills",
    "correcting_fills": "correcting_fills",
    "fee_items": "fee_items",
    "corporate_actions": "corporate_actions",
    "cash_flows": "cash_flows",
    "reported_positions": "reported_positions",
    "reported_cash": "reported_cash",
}
#: The view that a firm may leave out, by the frame that reads it.
OPTIONAL = {
    "fee_items": "fees",
    "corporate_actions": "corporate_actions",
    "split_history": "corporate_actions",
    "cash_flows": "cash_flows",
    "reported_positions": "reported_positions",
    "reported_cash": "reported_cash",
}
#: What a report has of each optional view.
ADDS = {
    "fees": "fees by kind",
    "quotes": "costs against mids, markouts and what was left unfilled",
    "market_trades": "costs against the market's VWAP",
    "corporate_actions": "splits, dividends and expiries",
    "cash_flows": "funding, interest, charges, deposits and withdrawals",
    "reported_positions": "reconciliation of positions",
    "reported_cash": "reconciliation of cash",
}
#: The query that finds late events of an optional view, by the view. Quotes and market trades are
#: not among them: they change no position, cash or P&L, only what a cost is compared with, and a
#: firm's tape without an index by recorded_at would be read whole at every close. Late ones count
#: where a day is restated for another reason, as known then; recorded_at keeps both answers.
LATE = {
    "fees": "first_late_fee",
    "corporate_actions": "first_late_action",
    "cash_flows": "first_late_flow",
    # A statement of the close is often sent the morning after.
    "reported_positions": "first_late_positions",
    "reported_cash": "first_late_cash",
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
        self,
        day: TradingDay,
        known_at: datetime,
        *,
        window: int,
        minimum: int,
        quote_max_age_s: int = QUOTE_MAX_AGE_S,
    ) -> tuple[Frames, tuple[Finding, ...]]:
        """All frames of a session as known at ``known_at``, from one snapshot.

        ``window`` and ``minimum`` are the sessions of history that VaR wants and needs; a quote
        older than ``quote_max_age_s`` counts as none. A session with neither fills nor orders nor
        marks of its own is an empty source: Missing.
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
        # Two cores, two jobs: the server streams while we work on what it sent before.
        with ThreadPoolExecutor(1) as worker, self._database.snapshots() as (session, beside):
            small = worker.submit(self._small, beside, at, control)
            streamed = _Columns(FILLS, ("quantity", "price", "fee"))
            for batch in session.batches(self._queries["fills"], FILLS, **at):
                streamed.take(batch)
            order_id = streamed.encode("order_id")
            frames, totals = small.result()
            booked = worker.submit(self._fills, streamed, totals)
            del streamed
            orders = self._orders(session, at, order_id)
            frames |= {
                "order_rows": orders,
                "earlier_fills": self._earlier(session, at, orders),
            }
            frames["fills"], findings = booked.result()
            frames |= self._market(session, at, frames, quote_max_age_s)
        pa.default_memory_pool().release_unused()
        if _is_empty(frames, day):
            gone = Missing(why=Why.EMPTY, detail=f"no fill, order or mark for {day.day}")
            return dict.fromkeys(frames, gone), findings
        return frames, findings

    def _market(
        self,
        session: Session,
        at: Mapping[str, Any],
        frames: Mapping[str, Frame | Missing],
        quote_max_age_s: int,
    ) -> dict[str, Frame | Missing]:
        """Quotes and market trades of what was traded or ordered in the session."""
        traded: set[str] = set()
        for name in ("fills", "order_rows"):
            frame = frames[name]
            assert isinstance(frame, Frame)
            traded |= set(frame.table["instrument_id"].cat.categories)
        have = column_types(session, "ledger")
        found: dict[str, Frame | Missing] = {
            view: Missing(why=Why.NOT_MEASURED, detail=f"the ledger has no view ledger.{view}")
            for view in ("quotes", "market_trades")
        }
        named = {"known_at": at["known_at"], "instruments": sorted(traded)}
        if "quotes" in have:
            query = self._queries["quotes"]
            period = quotes_window(at["start"], at["end"], quote_max_age_s)
            columns = _Columns(QUOTES, ("mid_doubled",))
            for batch in session.batches(query, QUOTES, **named, **period):
                columns.take(batch)
            table, scales = columns.frame()
            coverage = self._coverage(query, len(table), {})
            found["quotes"] = quotes_frame(table, scales, coverage, quote_max_age_s)
        if "market_trades" in have:
            query = self._queries["market_trades"]
            period = {"start": at["start"], "end": at["end"]}
            columns = _Columns(MARKET_TRADES, ("price", "quantity"))
            for batch in session.batches(query, MARKET_TRADES, **named, **period):
                columns.take(batch)
            table, scales = columns.frame()
            coverage = self._coverage(query, len(table), {})
            found["market_trades"] = trades_frame(table, scales, coverage)
        return found

    def first_late_event(self, after: datetime, known_at: datetime, before: datetime) -> Any:
        """Earliest business time before ``before`` that was recorded in (after, known_at]."""
        span = {"after": after, "known_at": known_at, "before": before}
        with self._database.snapshot() as session:
            have = column_types(session, "ledger")
            names = ["first_late_event", *(name for view, name in LATE.items() if view in have)]
            found = [session.rows(self._queries[name], **span)[0]["at"] for name in names]
        return min((at for at in found if at is not None), default=None)

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
        optional = optional_views()
        for view, wanted in contract().items():
            if view not in have:
                if view not in optional:
                    problems.append(f"view ledger.{view} is missing")
                continue
            found = dict(have[view])
            for column, kind in wanted:
                if column not in found:
                    problems.append(f"ledger.{view} has no column {column}")
                elif found[column] != kind:
                    problems.append(f"ledger.{view}.{column} is {found[column]}, expected {kind}")
        return problems

    def absent(self) -> list[str]:
        """The optional views that this ledger does not have."""
        with self._database.snapshot() as session:
            have = column_types(session, "ledger")
        return [view for view in ADDS if view not in have]

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

    def _small(
        self,
        session: Session,
        at: Mapping[str, Any],
        control: Mapping[str, Mapping[str, str]],
    ) -> tuple[dict[str, Frame | Missing], Mapping[str, Any]]:
        """Every frame of few rows, and the control totals of the fills."""
        names = ("instruments", "marks", "fx_rates", "mark_history", "fx_history")
        frames: dict[str, Frame | Missing] = {
            name: self._frame(session, name, control.get(name, {}), **at) for name in names
        }
        # Opening rates are those before the session began.
        opening = {**at, "end": at["start"]}
        frames["fx_open"] = self._frame(session, "fx_rates", control["fx_open"], **opening)
        for name in ("replaced_fills", "correcting_fills"):
            frames[name] = self._frame(session, name, {}, **at)
        have = column_types(session, "ledger")
        for name, view in OPTIONAL.items():
            frames[name] = (
                self._frame(session, name, {}, **at)
                if view in have
                else Missing(why=Why.NOT_MEASURED, detail=f"the ledger has no view ledger.{view}")
            )
        return frames, session.rows(self._queries["fills_control"], **at)[0]

    def _fills(
        self, streamed: _Columns, totals: Mapping[str, Any]
    ) -> tuple[Frame, tuple[Finding, ...]]:
        """The session's fills, integers for numbers, with the scales among the control totals."""
        duplicates = _duplicates(streamed.column("fill_id"))
        frame, scales = streamed.frame()
        control = {"rows": str(totals["rows"]), "quantity": plain(totals["quantity"]), **scales}
        if int(totals["rows"]) != len(frame):
            raise SourceUnavailable(
                f"the ledger counted {totals['rows']} fills and sent {len(frame)}; try again"
            )
        findings = [
            _finding("late correction or bust", "note", totals["late"], totals["late_samples"],
                     "applied: what it corrects or busts is left out"),
            _finding("fill recorded before it was executed", "warning", totals["crossed"],
                     totals["crossed_samples"], "recorded_at is earlier than executed_at"),
            duplicates,
        ]  # fmt: skip
        coverage = self._coverage(self._queries["fills"], len(frame), control)
        return Frame(frame, coverage), tuple(f for f in findings if f.count)

    def _orders(self, session: Session, at: Mapping[str, Any], wanted: pa.Array) -> Frame:
        """The session's orders, then, until none is missing, those that it refers to by id.

        ``wanted`` are the identifiers that the fills name.
        """
        query, by_id = self._queries["orders"], self._queries["orders_by_id"]
        day = session.stream(query, ORDERS, **at)
        old = pc.less(day["placed_us"], pa.scalar(at["start"], TIME))
        asked = pc.unique(day["order_id"].filter(old))
        parts = [day.filter(pc.invert(old))]
        known = pc.unique(parts[0]["order_id"])
        while len(asked := pa.concat_arrays([asked, _lacking(parts[-1], wanted, known)])):
            # Asked for once: what does not exist is a finding.
            ids = {"known_at": at["known_at"], "order_ids": pc.unique(asked).to_pylist()}
            parts.append(session.stream(by_id, ORDERS, **ids))
            known = pa.concat_arrays([known, asked])
            wanted, asked = wanted[:0], asked[:0]
        columns = _Columns(ORDERS, ("quantity", "decision_price", "arrival_price"))
        for part in parts:
            for batch in part.to_batches():
                columns.take(batch)
        frame, scales = columns.frame()
        return Frame(frame, self._coverage(query, len(frame), scales))

    def _earlier(self, session: Session, at: Mapping[str, Any], orders: Frame) -> Frame:
        """What the orders placed before the session had filled before it."""
        query = self._queries["earlier_fills"]
        start_us = epoch_ms(at["start"]) * 1000
        old = orders.table.loc[orders.table["placed_us"] < start_us, "order_id"].unique().tolist()
        columns = _Columns(EARLIER, ("quantity", "amount", "fee"))
        named = {"start": at["start"], "known_at": at["known_at"], "order_ids": old}
        for batch in session.batches(query, EARLIER, **named):
            columns.take(batch)
        frame, scales = columns.frame()
        return Frame(frame, self._coverage(query, len(frame), scales))


def _lacking(orders: pa.Table, wanted: pa.Array, known: pa.Array) -> pa.Array:
    """Identifiers in ``wanted`` or replaced by ``orders`` that are not among ``known``."""
    replaced = pc.unique(orders["replaces"].drop_null())
    needed = pc.unique(pa.concat_arrays([wanted, replaced]))
    return needed.filter(pc.invert(pc.is_in(needed, value_set=known)))


class _Columns:
    """Streamed batches, their decimal texts turned into integers as they arrive.

    Times become microseconds since 1970, a null -1; a null number becomes 0, and its column
    ``<name>_known`` says so.
    """

    def __init__(self, types: Mapping[str, Any], decimals: Sequence[str]) -> None:
        self._plain = pa.schema([(n, t) for n, t in types.items() if n not in decimals])
        self._batches: list[pa.RecordBatch] = []
        self._encoded: dict[str, pa.DictionaryArray] = {}
        self._integers: dict[str, list[tuple[npt.NDArray[Any], int]]] = {n: [] for n in decimals}
        self._known: dict[str, list[npt.NDArray[Any]]] = {n: [] for n in decimals}

    def take(self, batch: pa.RecordBatch) -> None:
        """Add a batch; its texts are not kept."""
        for name, parts in self._integers.items():
            column = batch.column(name)
            parts.append(_integers(column))
            self._known[name].append(column.is_valid().to_numpy(zero_copy_only=False))
        self._batches.append(batch.select(self._plain.names))

    def column(self, name: str) -> pa.ChunkedArray:
        """A column that is no decimal."""
        return pa.Table.from_batches(self._batches, self._plain)[name]

    def encode(self, name: str) -> pa.Array:
        """Keep a text column as codes; its distinct values."""
        self._encoded[name] = self.column(name).combine_chunks().dictionary_encode()
        return self._encoded[name].dictionary

    def frame(self) -> tuple[pd.DataFrame, dict[str, str]]:
        """Everything as one table, and the scale of each decimal column; leaves this empty."""
        table = pa.Table.from_batches(self._batches, self._plain)
        self._batches.clear()
        for at, column in enumerate(table.schema):
            if column.name in self._encoded:
                table = table.set_column(at, column.name, self._encoded.pop(column.name))
            elif column.type == TIME:
                whole = table.column(at).cast(pa.int64()).fill_null(-1)
                table = table.set_column(at, column.name, whole)
        table = table.unify_dictionaries()
        frame = table.to_pandas(split_blocks=True, self_destruct=True)
        del table
        scales = {}
        for name, parts in self._integers.items():
            scale = max((s for _, s in parts), default=0)
            whole_numbers = [rescale(values, scale - s) for values, s in parts]
            frame[name] = joined(whole_numbers)
            frame[f"{name}_known"] = joined(self._known[name]).astype(bool)
            scales[f"{name}_scale"] = str(scale)
            parts.clear()
        return frame, scales


def _integers(texts: pa.Array) -> tuple[npt.NDArray[Any], int]:
    """Decimal texts (n,) as integers in units of 10^-scale: int64, or Python's if one won't fit.

    Arrow parses them; the 128-bit words are read as they lie in its buffers, so that no number is
    converted one by one.
    """
    texts = texts.fill_null("0")
    points = pc.find_substring(texts, ".")
    digits = pc.subtract(pc.subtract(pc.utf8_length(texts), points), 1)
    scale = int(pc.max(pc.if_else(pc.equal(points, -1), 0, digits)).as_py() or 0)
    try:
        column = texts.cast(pa.decimal128(38, scale))
    except pa.ArrowInvalid:  # more than 38 digits
        return _python_integers(texts, scale), scale
    words = np.frombuffer(column.buffers()[1], dtype=np.int64).reshape(-1, 2)
    words = words[column.offset : column.offset + len(column)]
    if (words[:, 1] != words[:, 0] >> 63).any():
        return _python_integers(texts, scale), scale
    return np.ascontiguousarray(words[:, 0]), scale


def _python_integers(texts: pa.Array, scale: int) -> npt.NDArray[Any]:
    values = [int(EXACT.scaleb(Decimal(text), scale)) for text in texts.to_pylist()]
    return np.array(values, dtype=object)


def _finding(check: str, severity: str, count: int, samples: Any, detail: str) -> Finding:
    return Finding(
        check=check,
        severity=severity,  # type: ignore[arg-type]
        count=int(count),
        detail=detail,
        samples=tuple(sorted(samples or ())),
    )


def _duplicates(fill_id: pa.ChunkedArray) -> Finding:
    twice: list[str] = []
    if pc.count_distinct(fill_id).as_py() != len(fill_id):
        counts = fill_id.value_counts()
        twice = [row["values"] for row in counts.to_pylist() if row["counts"] > 1]
    detail = "every row of ledger.fills has an identifier of its own; all were booked"
    return _finding("fill identifier used twice", "error", len(twice), sorted(twice)[:5], detail)


def _is_empty(frames: Mapping[str, Frame | Missing], day: TradingDay) -> bool:
    """Whether the ledger holds nothing at all of this session."""
    assert day.trading is not None
    for name in ("fills", "order_rows", "corporate_actions", "cash_flows"):
        frame = frames[name]
        if isinstance(frame, Frame) and len(frame.table):
            return False
    marks = frames["marks"]
    assert isinstance(marks, Frame)
    return marks.table.empty or bool((marks.table["marked_at"] < day.trading.start).all())


def optional_views() -> frozenset[str]:
    """Views of the contract that a ledger may leave out: those that it comments as optional."""
    lines = (resource("sql") / "ledger" / "contract.sql").read_text("utf-8").splitlines()
    found, optional = set(), False
    for line in lines:
        if line.startswith("create or replace view ledger."):
            if optional:
                found.add(line.split()[4].removeprefix("ledger."))
            optional = False
        optional |= line.startswith("-- optional:")
    return frozenset(found)


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
