"""The trade ledger, read through the contract views, in one snapshot, read-only.

Fills and orders are streamed through ``COPY … TO STDOUT`` into Arrow, their numbers handed on as
integers of a stated scale: summing a million NUMERICs by cell costs the server more than sending
them, and joining and summing integers costs next to nothing (benchmarks/book.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..book.packed import Column, Names, Numbers, Packed, Texts, Whole, Words
from ..book.ratios import is_number
from ..errors import SourceUnavailable
from ..model import Coverage, Finding, Frame, Frames, Missing, Why, Window, epoch_ms, plain
from ..periods import TradingDay
from ..postgres import Database, Query, Session, column_types, parsed, queries
from ..resources import resource
from .ledger_market import MARKET_TRADES, QUOTES, quotes_frame, quotes_window, trades_frame
from .ledger_numbers import no_numbers, sound_instruments, sound_marks, sound_rates

SOURCE = "ledger"
#: How old a quote may be, where policy does not say.
QUOTE_MAX_AGE_S = 60
FILES = ("pnl", "var", "slippage", "fill_rate", "reconciliation")

TEXT = pa.dictionary(pa.int32(), pa.string())
TIME = pa.timestamp("us", tz="UTC")
#: What a streamed column becomes.
FILLS: Mapping[str, type[Column]] = {
    "account_id": Words,
    "instrument_id": Words,
    "strategy": Words,
    "agent": Words,
    "side": Whole,
    "quantity": Numbers,
    "price": Numbers,
    "fee": Numbers,
    "fee_currency": Words,
    "executed_us": Whole,
    "fill_id": Names,
    "order_id": Names,
    "venue": Words,
}
ORDERS: Mapping[str, type[Column]] = {
    "order_id": Names,
    "replaces": Texts,
    "account_id": Words,
    "instrument_id": Words,
    "strategy": Words,
    "agent": Words,
    "side": Whole,
    "quantity": Numbers,
    "decision_price": Numbers,
    "arrival_price": Numbers,
    "status": Words,
    "reject_reason": Texts,
    "decision_us": Whole,
    "placed_us": Whole,
    "done_us": Whole,
    "recorded_us": Whole,
}
EARLIER: Mapping[str, type[Column]] = {
    "order_id": Texts,
    "venue": Words,
    "fee_currency": Words,
    "quantity": Numbers,
    "amount": Numbers,
    "fee": Numbers,
    "first_us": Whole,
    "last_us": Whole,
}
#: How far back an order at work is looked for.
LONGEST_WORKING_DAYS = 366
#: What a NUMERIC may be that is no number.
NO_NUMBERS = ("NaN", "Infinity", "-Infinity")
#: So many blocks are taken before what they left of the heap is given back: else a day of ten
#: million fills peaks at half as much again.
TIDY = 16
#: Digits that 128 bits hold.
WORDS_HOLD = 38
#: A number of more characters, or of more before its point, is none: no sum of products of such
#: would come out exactly. The queries of small tables ask the same.
LONGEST_NUMBER, LONGEST_WHOLE = 90, 31
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
    "working": "working",
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
    "end_of_day": "the knowledge that a session's rows are all there",
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


@dataclass(frozen=True)
class RowCounts:
    """Rows of a session's orders and fills, all versions."""

    orders: int
    fills: int


#: The check of a session that its ledger does not know to be complete.
END_OF_DAY = "session not known to be complete"


class Ledger:
    """Reads of one ledger database."""

    frame_names = tuple(FRAMES)

    def __init__(self, source: Database, base: str) -> None:
        self._database = source
        self._base = base
        self._queries: dict[str, Query] = {}
        for name in FILES:
            self._queries |= queries(name)
        # Whether a day is complete is a finding where it is not, and in no figure.
        self._gate = queries("readiness")

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
        mark_sources: Sequence[str] = (),
        late_after: datetime | None = None,
    ) -> tuple[Frames, tuple[Finding, ...]]:
        """All frames of a session as known at ``known_at``, from one snapshot.

        ``window`` and ``minimum`` are the sessions of history that VaR wants and needs; a quote
        older than ``quote_max_age_s`` counts as none; ``mark_sources`` are those of marks, the best
        first. With ``late_after`` the fills that were recorded since are a frame of their own. A
        session with neither fills nor orders nor
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
            "sources": list(mark_sources),
            "late_after": late_after or known_at,
        }
        base = {"base": self._base}
        control = {
            "fx_rates": base,
            "fx_open": base,
            "mark_history": {"window": str(window), "minimum": str(minimum)},
        }
        # Two cores, two jobs: the server streams while we work on what it sent before.
        with ThreadPoolExecutor(1) as worker, self._database.snapshots() as (session, beside):
            small = worker.submit(self._small, beside, day, at, control)
            fills = _Streamed(FILLS)
            for block in session.blocks(self._queries["fills"], **at):
                fills.take(fills.parsed(block))
            fills.packed()
            filled = fills.names("order_id").distinct()
            frames, totals, lacks = small.result()
            booked = worker.submit(self._fills, fills, totals)
            orders = self._orders(session, at, filled)
            frames |= {
                "order_rows": orders,
                "earlier_fills": self._earlier(session, at, orders),
            }
            frames["fills"], findings = booked.result()
            if lacks:
                findings = (Finding(check=END_OF_DAY, severity="error", count=1, detail=lacks),
                            *findings)  # fmt: skip
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
            assert isinstance(frame, Packed)
            instrument = frame.columns["instrument_id"]
            assert isinstance(instrument, Words)
            traded |= instrument.words.keys()
        have = column_types(session, "ledger")
        found: dict[str, Frame | Missing] = {
            view: Missing(why=Why.NOT_MEASURED, detail=f"the ledger has no view ledger.{view}")
            for view in ("quotes", "market_trades")
        }
        named = {"known_at": at["known_at"], "instruments": sorted(traded)}
        if "quotes" in have:
            query = self._queries["quotes"]
            period = quotes_window(at["start"], at["end"], quote_max_age_s)
            read = _streamed(session, query, QUOTES, **named, **period)
            rows, columns, scales = read.packed()
            coverage = self._coverage(query, rows, scales)
            quotes = Packed(columns, coverage, no_numbers("quotes", read.no_numbers))
            found["quotes"] = quotes_frame(quotes, quote_max_age_s)
        if "market_trades" in have:
            query = self._queries["market_trades"]
            period = {"start": at["start"], "end": at["end"]}
            read = _streamed(session, query, MARKET_TRADES, **named, **period)
            rows, columns, scales = read.packed()
            coverage = self._coverage(query, rows, scales)
            trades = Packed(columns, coverage, no_numbers("market_trades", read.no_numbers))
            found["market_trades"] = trades_frame(trades)
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

    def rows_of(self, window: Window, known_at: datetime) -> RowCounts:
        """Rows of orders and of fills of a window, all versions, recorded by ``known_at``."""
        with self._database.snapshot() as session:
            return self._rows_of(session, window, known_at)

    def _rows_of(self, session: Session, window: Window, known_at: datetime) -> RowCounts:
        of = {"since": window.start, "until": window.end, "known_at": known_at}
        return RowCounts(**session.rows(self._gate["rows_of_day"], **of)[0])

    def lacks(self, day: TradingDay, known_at: datetime) -> str | None:
        """What a session lacks by the ledger's own end-of-day run, in words; "" for nothing.

        None where nobody says: without that view, or where it has never said anything, and of days
        before the first that it speaks of.
        """
        with self._database.snapshot() as session:
            return self._lacks(session, column_types(session, "ledger"), day, known_at)

    def _lacks(
        self, session: Session, have: Container[str], day: TradingDay, known_at: datetime
    ) -> str | None:
        assert day.trading is not None
        if "end_of_day" not in have:
            return None
        said = session.rows(self._gate["end_of_day"], day=day.day, known_at=known_at)[0]
        if said["day"] is None:
            if said["began"] is None or day.day < said["began"]:
                return None
            return f"the ledger's end-of-day run has not said that {day.day} is complete"
        wanted = {name: said[name] for name in ("orders", "fills") if said[name] is not None}
        if not wanted:
            return ""
        found = self._rows_of(session, day.trading, known_at)
        short = [
            f"{getattr(found, name)} of {want} {name}"
            for name, want in wanted.items()
            if getattr(found, name) < want
        ]
        return f"the ledger has {' and '.join(short)} of {day.day}" if short else ""

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
                if column not in found and (view, column) in optional_columns():
                    continue
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
        day: TradingDay,
        at: Mapping[str, Any],
        control: Mapping[str, Mapping[str, str]],
    ) -> tuple[dict[str, Frame | Missing], Mapping[str, Any], str | None]:
        """Every frame of few rows, the control totals of the fills, and what the day lacks."""
        names = ("instruments", "marks", "fx_rates", "mark_history", "fx_history")
        frames: dict[str, Frame | Missing] = {
            name: self._frame(session, name, control.get(name, {}), **at) for name in names
        }
        # Opening rates are those before the session began.
        opening = {**at, "end": at["start"]}
        frames["fx_open"] = self._frame(session, "fx_rates", control["fx_open"], **opening)
        start = at["start"]
        for name, sound in (
            ("instruments", sound_instruments),
            ("marks", lambda read: sound_marks(read, start)),
            ("fx_rates", lambda read: sound_rates(read, start)),
            ("fx_open", lambda read: sound_rates(read, start)),
        ):
            read = frames[name]
            assert isinstance(read, Frame)
            frames[name] = sound(read)
        for name in ("replaced_fills", "correcting_fills"):
            frames[name] = self._frame(session, name, {}, **at)
        if at["late_after"] < at["known_at"]:
            late = self._frame(session, "late_fills", {}, **at)
            if len(late.table):  # closing again without any is the same day
                frames["late_fills"] = late
        longest = {"longest": LONGEST_WORKING_DAYS}
        frames["working"] = self._frame(session, "working", {}, **at, **longest)
        have = column_types(session, "ledger")
        for name, view in OPTIONAL.items():
            frames[name] = (
                self._frame(session, name, {}, **at)
                if view in have
                else Missing(why=Why.NOT_MEASURED, detail=f"the ledger has no view ledger.{view}")
            )
        lacks = self._lacks(session, have, day, at["known_at"])
        return frames, session.rows(self._queries["fills_control"], **at)[0], lacks

    def _fills(
        self, streamed: _Streamed, totals: Mapping[str, Any]
    ) -> tuple[Frame, tuple[Finding, ...]]:
        """The session's fills, integers for numbers, with the scales among the control totals."""
        rows, columns, scales = streamed.packed()
        # With a quantity that is no number the total is none either.
        quantity = plain(totals["quantity"]) if is_number(totals["quantity"]) else "NaN"
        control = {"rows": str(totals["rows"]), "quantity": quantity, **scales}
        if int(totals["rows"]) != rows:
            raise SourceUnavailable(
                f"the ledger counted {totals['rows']} fills and sent {rows}; try again"
            )
        twice = streamed.names("fill_id").twice()
        findings = [
            _finding("late correction or bust", "note", totals["late"], totals["late_samples"],
                     "applied: what it corrects or busts is left out"),
            _finding("fill of an unknown kind", "error", totals["strange"],
                     totals["strange_samples"], "booked; expected new, correct or bust"),
            _finding("correction or bust of no fill", "error", totals["loose"],
                     totals["loose_samples"],
                     "refers_to names no fill of the ledger: a bust changed nothing, a correction "
                     "was booked beside whatever it was to correct"),
            _finding("fill corrected or busted more than once", "warning", totals["rivals"],
                     totals["rivals_samples"], "the last one recorded is in force"),
            _finding("fill recorded before it was executed", "warning", totals["crossed"],
                     totals["crossed_samples"], "recorded_at is earlier than executed_at"),
            _finding("fill identifier used twice", "error", len(twice), twice[:5],
                     "every row of ledger.fills has an identifier of its own; all were booked"),
        ]  # fmt: skip
        findings += no_numbers("fills", streamed.no_numbers)
        coverage = self._coverage(self._queries["fills"], rows, control)
        frame = Packed(columns, coverage, coded=("order_id",))
        return frame, tuple(f for f in findings if f.count)

    def _orders(self, session: Session, at: Mapping[str, Any], filled: Names) -> Packed:
        """The session's orders, then, until none is missing, those that it refers to by id.

        ``filled`` are the identifiers that the fills name.
        """
        query, by_id = self._queries["orders"], self._queries["orders_by_id"]
        orders, start = _Streamed(ORDERS), pa.scalar(at["start"], TIME)
        asked: set[str] = set()
        for block in session.blocks(query, **at):
            batch = orders.parsed(block)
            old = pc.fill_null(pc.less(batch["placed_us"], start), True)
            asked |= {*batch["order_id"].filter(old).to_pylist()}
            orders.take(batch.filter(pc.invert(old)))
        known = orders.names("order_id").distinct()
        replaced = Names.of(orders.texts("replaces")).distinct()
        asked |= {*filled.lacking(known), *replaced.lacking(known)}
        seen: set[str] = set()
        while asked:
            named: set[str] = set()
            ids = {"known_at": at["known_at"], "order_ids": sorted(asked)}
            for block in session.blocks(by_id, **ids):
                batch = orders.parsed(block)
                named |= {*batch["replaces"].drop_null().to_pylist()}
                orders.take(batch)
            # Asked for once: what does not exist is a finding.
            seen |= asked
            asked = {*Names.of(pa.array(sorted(named - seen), pa.string())).lacking(known)}
        rows, columns, scales = orders.packed()
        coverage = self._coverage(query, rows, scales)
        return Packed(columns, coverage, no_numbers("orders", orders.no_numbers))

    def _earlier(self, session: Session, at: Mapping[str, Any], orders: Packed) -> Frame:
        """What the orders placed before the session had filled before it."""
        query = self._queries["earlier_fills"]
        start_us = epoch_ms(at["start"]) * 1000
        placed, names = orders.columns["placed_us"], orders.columns["order_id"]
        assert isinstance(placed, Whole) and isinstance(names, Names)
        old = pc.unique(names.texts(np.flatnonzero(placed.at(slice(None)) < start_us)))
        named = {"start": at["start"], "known_at": at["known_at"], "order_ids": old.to_pylist()}
        rows, columns, scales = _streamed(session, query, EARLIER, **named).packed()
        return Packed(columns, self._coverage(query, rows, scales))


def _streamed(
    session: Session, query: Query, kinds: Mapping[str, type[Column]], **parameters: Any
) -> _Streamed:
    """All rows of a query."""
    streamed = _Streamed(kinds)
    for block in session.blocks(query, **parameters):
        streamed.take(streamed.parsed(block))
    return streamed


class _Streamed:
    """Blocks of CSV, made into narrow columns as they arrive.

    A time is microseconds since 1970, a null -1; a side that is null is 0, which is none. A null
    number, and one that is NaN or infinite, becomes 0, and its column ``<name>_known`` says so.
    """

    def __init__(self, kinds: Mapping[str, type[Column]]) -> None:
        self._columns = {name: kind() for name, kind in kinds.items()}
        self._rows = self._blocks = 0
        #: Rows whose number is NaN or infinite, by column, each by the identifier that it has.
        self.no_numbers: dict[str, list[str]] = {}

    def parsed(self, block: bytes) -> pa.Table:
        """The rows of a block, numbers as texts."""
        return parsed(block, {name: _type(name, column) for name, column in self._columns.items()})

    def take(self, batch: pa.Table) -> None:
        """Add parsed rows."""
        for (name, column), chunked in zip(self._columns.items(), batch.columns, strict=True):
            values = chunked.combine_chunks() if chunked.num_chunks != 1 else chunked.chunk(0)
            if isinstance(column, Numbers):
                integers, scale, known = _integers(values)
                column.add(integers, scale, known)
                if np.count_nonzero(known) < len(values) - values.null_count:
                    self._note(name, pc.and_(values.is_valid(), pc.invert(pa.array(known))), batch)
            elif isinstance(column, Whole):
                none = -1 if name.endswith("_us") else 0
                column.add(values.cast(pa.int64()).fill_null(none).to_numpy())
            else:
                column.add(values)
        self._rows += len(batch)
        self._blocks += 1
        if self._blocks % TIDY == 0:
            pa.default_memory_pool().release_unused()

    def _note(self, name: str, which: pa.BooleanArray, batch: pa.Table) -> None:
        known_as = next(n for n in ("fill_id", "order_id", "instrument_id") if n in self._columns)
        bad = batch.filter(which)
        found = bad[known_as].to_pylist()
        if known_as == "instrument_id":  # of several rows: the time tells which one
            when = next(n for n in self._columns if n.endswith("_us"))
            found = [f"{a} / {b}" for a, b in zip(found, bad[when].to_pylist(), strict=True)]
        self.no_numbers.setdefault(name, []).extend(map(str, found))

    def names(self, name: str) -> Names:
        """A column of identifiers, as far as it was taken."""
        column = self._columns[name]
        assert isinstance(column, Names)
        column.packed()
        return column

    def texts(self, name: str) -> pa.LargeStringArray:
        """The texts that a column has, as far as it was taken."""
        column = self._columns[name]
        assert isinstance(column, Texts)
        column.packed()
        return column.present()

    def packed(self) -> tuple[int, dict[str, Column], dict[str, str]]:
        """The number of rows, the columns, and the scale of each that has one."""
        for column in self._columns.values():
            column.packed()
            if self._blocks >= TIDY:  # what it was joined from, before the next one is
                pa.default_memory_pool().release_unused()
        scales = {
            f"{name}_scale": str(column.scale)
            for name, column in self._columns.items()
            if isinstance(column, Numbers)
        }
        return self._rows, self._columns, scales


def _type(name: str, column: Column) -> pa.DataType:
    if isinstance(column, Whole):
        return TIME if name.endswith("_us") else pa.int64()
    return TEXT if isinstance(column, Words) else pa.string()


def _integers(texts: pa.StringArray) -> tuple[npt.NDArray[Any], int, npt.NDArray[np.bool_]]:
    """Decimal texts (n,) as integers in units of 10^-scale, the scale, and which are numbers.

    Integers are int64, or Python's if one won't fit. Arrow parses them, and their 128-bit words are
    read as they lie in its buffers, so that no number is converted one by one.
    """
    known = texts.is_valid().to_numpy(zero_copy_only=False)
    texts = texts.fill_null("0")
    points = pc.find_substring(texts, ".")
    length = pc.binary_length(texts)
    digits = pc.subtract(pc.subtract(length, points), 1)
    scale = int(pc.max(pc.if_else(pc.equal(points, -1), 0, digits)).as_py() or 0)
    # Beyond 38 digits Arrow does not always refuse: it may wrap around and say nothing.
    if int(pc.max(length).as_py() or 0) + scale > WORDS_HOLD:
        return _python_integers(texts, known)
    try:
        column = texts.cast(pa.decimal128(WORDS_HOLD, scale))
    except pa.ArrowInvalid:  # NaN or infinite
        return _python_integers(texts, known)
    words = np.frombuffer(column.buffers()[1], dtype=np.int64).reshape(-1, 2)
    words = words[column.offset : column.offset + len(column)]
    # The least integer of 64 bits counts as too large: it has no absolute value there.
    if (words[:, 1] != words[:, 0] >> 63).any() or (words[:, 0] == np.iinfo(np.int64).min).any():
        return _python_integers(texts, known)
    return np.ascontiguousarray(words[:, 0]), scale, known


def _python_integers(
    texts: pa.StringArray, known: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[Any], int, npt.NDArray[np.bool_]]:
    """The same one by one; what is NaN, infinite or far too long is no number."""
    finite = np.array(
        [
            text not in NO_NUMBERS
            and len(text) <= LONGEST_NUMBER
            and len(text.partition(".")[0]) <= LONGEST_WHOLE
            for text in texts.to_pylist()
        ]
    )
    parts = [
        text.partition(".") if is_number else ("0", "", "")
        for text, is_number in zip(texts.to_pylist(), finite, strict=True)
    ]
    scale = max((len(fraction) for _, _, fraction in parts), default=0)
    values = [int(whole + fraction.ljust(scale, "0")) for whole, _, fraction in parts]
    return np.array(values, dtype=object), scale, known & finite


def _finding(check: str, severity: str, count: int, samples: Any, detail: str) -> Finding:
    return Finding(
        check=check,
        severity=severity,  # type: ignore[arg-type]
        count=int(count),
        detail=detail,
        samples=tuple(sorted(name for name in samples or () if name is not None)),
    )


def _is_empty(frames: Mapping[str, Frame | Missing], day: TradingDay) -> bool:
    """Whether the ledger holds nothing at all of this session."""
    assert day.trading is not None
    for name in ("fills", "order_rows", "corporate_actions", "cash_flows"):
        frame = frames[name]
        if isinstance(frame, Frame) and frame.coverage.rows:
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


def optional_columns() -> frozenset[tuple[str, str]]:
    """Columns that a view may lack: those that the contract comments as optional."""
    lines = (resource("sql") / "ledger" / "contract.sql").read_text("utf-8").splitlines()
    found, view = set(), ""
    for line in lines:
        words = line.split()
        if line.startswith("create or replace view ledger."):
            view = words[4].removeprefix("ledger.")
        elif "-- optional column" in line:
            found.add((view, words[2].rstrip(",")))
    return frozenset(found)


def contract() -> Mapping[str, list[tuple[str, str]]]:
    """Columns and types of every contract view, read from sql/ledger/contract.sql."""
    same = ("text", "numeric", "smallint", "integer", "bigint", "date")
    names = {**dict(zip(same, same, strict=True)), "timestamptz": "timestamp with time zone"}
    views: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for line in (resource("sql") / "ledger" / "contract.sql").read_text("utf-8").splitlines():
        words = line.split()
        if line.startswith("create or replace view ledger."):
            current = views.setdefault(words[4].removeprefix("ledger."), [])
        elif words and words[0].startswith("null::"):
            current.append((words[2].rstrip(","), names[words[0].removeprefix("null::")]))
    return views
