"""What streams in as CSV is what the driver reads as Python values, to the last digit and byte.

The same rows of a real PostgreSQL are read twice: by :class:`Ledger` in blocks, and row by row by
psycopg2 with its own types for NUMERIC, timestamptz and text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from reporting import postgres
from reporting.book.packed import Packed
from reporting.model import Frame
from reporting.postgres import database, rows_end
from reporting.sources.ledger import FILLS, ORDERS, Ledger

from ..book.drawn import MONDAY, trading_day
from ..line.site import ROOT, WORKER, Server, connected

DAY = trading_day(MONDAY)
assert DAY.trading is not None
START = DAY.trading.start
KNOWN_AT = START + timedelta(days=2)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAME = f"ledger_stream{WORKER}"
PACE: Any = {"max_examples": 25, "deadline": None, "phases": [Phase.explicit, Phase.generate]}


@pytest.fixture(scope="module")
def url(server: Server) -> Iterator[str]:
    """A ledger whose fills and orders are tables of the contract's columns, both empty."""
    server.drop(NAME)
    server.run(f"create database {NAME}")
    contract = (ROOT / "sql" / "ledger" / "contract.sql").read_text("utf-8")
    with connected(server.database(NAME)) as cursor:
        cursor.execute(contract)
        for view in ("fills", "orders"):
            cursor.execute(f"create table {view} as select * from ledger.{view}")
            cursor.execute(f"create or replace view ledger.{view} as select * from public.{view}")
    yield server.database(NAME)
    server.drop(NAME)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows a block, so that what one block teaches the next is tested too."""
    monkeypatch.setattr(postgres, "BLOCK", 300)


def read(url: str, fills: Sequence[dict[str, Any]], orders: Sequence[dict[str, Any]]) -> Any:
    """The frames of ``DAY``, and the rows of the same two queries as the driver gives them."""
    source = database(url, "ledger")
    ledger = Ledger(source, "USD")
    with connected(url) as cursor:
        for table, rows in (("fills", fills), ("orders", orders)):
            cursor.execute(f"truncate {table}")
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                cursor.execute(
                    f"insert into {table} ({', '.join(row)}) values ({marks})", [*row.values()]
                )
    frames, findings = ledger.read(DAY, KNOWN_AT, window=500, minimum=250)
    at = {"start": START, "end": START + timedelta(days=1), "known_at": KNOWN_AT}
    with source.snapshot() as session:
        plain = {n: session.rows(ledger._queries[n], **at) for n in ("fills", "orders")}
    return frames, findings, plain


def told(frame: Frame, columns: Any) -> list[dict[str, Any]]:
    """A frame's rows as a reader of the ledger would write them."""
    table, control = frame.table, frame.coverage.control
    rows: list[dict[str, Any]] = []
    for row in table.to_dict("records"):
        one: dict[str, Any] = {}
        for name in columns:
            value = row[name]
            if f"{name}_known" in row:
                scale = int(control[f"{name}_scale"])
                number = Decimal(int(value)).scaleb(-scale, WIDE)
                assert number == 0 or row[f"{name}_known"]
                one[name] = number if row[f"{name}_known"] else None
            elif name.endswith("_us"):
                one[name] = int(value)
            else:
                one[name] = None if pd.isna(value) else value
        rows.append(one)
    return rows


def expected(row: dict[str, Any], columns: Any) -> dict[str, Any]:
    """A row of the driver's, with what the contract of frames says of nulls."""
    values = [*row.values()]
    found: dict[str, Any] = {}
    for name, value in zip(columns, values, strict=True):
        if isinstance(value, Decimal):
            value = value if value.is_finite() and short(value) else None
        elif isinstance(value, datetime):
            value = (value - EPOCH) // timedelta(microseconds=1)
        elif value is None and name.endswith("_us"):
            value = -1
        elif value is None and name == "side":
            value = 0
        found[name] = value
    return found


def short(number: Decimal) -> bool:
    """Whether it can be reckoned with: below 1e30, and not of a hundred digits."""
    text = format(number, "f")
    return len(text) <= 90 and len(text.partition(".")[0]) <= 31


def ordered(rows: list[dict[str, Any]]) -> list[str]:
    """Rows that are equal, whatever their order and the trailing zeros of their numbers."""
    return sorted(
        repr([(name, digits(v) if isinstance(v, Decimal) else v) for name, v in row.items()])
        for row in rows
    )


def digits(number: Decimal) -> str:
    return format(WIDE.normalize(number), "f") if number else "0"


#: Exact for anything that a NUMERIC column of these tests holds.
WIDE = Context(prec=400)

HOSTILE = st.sampled_from(
    ["", "NA", "NULL", "nan", "null", "\\N", "\\.", '"', '""', "a,b", "a\nb", "\r", "\r\n",
     "\ufeff", "\ufeffx", " ", "\t", "'", "é", "😀", "0", "F0001", "F0002", "F00001", "-1", "1e5"]
)  # fmt: skip
TEXT = HOSTILE | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6
)
MAYBE = st.none() | TEXT
NUMBER = st.one_of(
    st.integers(-(10**6), 10**6).map(lambda n: Decimal(n).scaleb(-2)),
    st.sampled_from(
        [Decimal(text) for text in (
            "0", "-0", "0.00", "1E-11", "-1E-11", "1E+9", "1E-8", "9223372036854775807",
            "9223372036854775808", "-9223372036854775808", "92233720368547758.08", "NaN",
            "Infinity", "-Infinity", "1" * 38, "1" * 39, "-0." + "9" * 40,
            "1" * 60 + "." + "1" * 60,
        )]
    ),
    st.none(),
)  # fmt: skip
MOMENT = st.integers(0, 86_400_000_000 - 1).map(lambda us: START + timedelta(microseconds=us))
FILL = st.fixed_dictionaries(
    {
        "fill_id": st.integers(0, 10**4).map(lambda n: f"F{n:08}") | MAYBE,
        "order_id": st.integers(0, 5).map(lambda n: f"O{n:08}") | MAYBE,
        "account_id": MAYBE, "instrument_id": MAYBE, "strategy": MAYBE, "agent": MAYBE,
        "side": st.sampled_from([1, -1, 0, 32767, None]), "executed_at": MOMENT,
        "quantity": NUMBER, "price": NUMBER, "fee": NUMBER, "fee_currency": MAYBE,
        "venue": MAYBE, "kind": st.just("new"), "recorded_at": st.just(START),
    }
)  # fmt: skip
ORDER = st.fixed_dictionaries(
    {
        "order_id": st.integers(0, 9).map(lambda n: f"O{n:08}") | TEXT,
        "replaces": st.integers(0, 9).map(lambda n: f"O{n:08}") | MAYBE,
        "account_id": MAYBE, "instrument_id": MAYBE, "strategy": MAYBE, "agent": MAYBE,
        "side": st.sampled_from([1, -1]), "quantity": NUMBER, "decision_price": NUMBER,
        "arrival_price": NUMBER, "status": TEXT, "reject_reason": MAYBE,
        "decision_at": MOMENT | st.none(), "placed_at": MOMENT, "done_at": MOMENT | st.none(),
        "recorded_at": st.just(START),
    }
)  # fmt: skip
PLAIN = {
    "fill_id": "F1", "order_id": "O1", "account_id": "A", "instrument_id": "I", "strategy": "s",
    "agent": "a", "side": 1, "executed_at": START, "quantity": Decimal(1), "price": Decimal(1),
    "fee": Decimal(0), "fee_currency": "USD", "venue": "V", "kind": "new", "recorded_at": START,
}  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], **PACE)
@given(st.lists(FILL, max_size=12))
@example([PLAIN | {"price": Decimal(text)} for text in ("1", "1.5", "1.123456789012", "2", "1e30")])
@example(
    [
        PLAIN | {"quantity": Decimal(text), "venue": "a block of its own" * 20}
        for text in ("-9223372036854775808", "0.01")
    ]
)
# 2^90 x 10^38 is 0 in 128 bits.
@example([PLAIN | {"price": price} for price in (Decimal(2**90), Decimal("1E-38"))])
@example([PLAIN | {"fill_id": f"F{n:06}", "account_id": "NA"} for n in range(30)])
@example([PLAIN | {"fill_id": "F000001"}, PLAIN | {"fill_id": None}, PLAIN | {"fill_id": "G1"}])
@example([PLAIN | {"account_id": "\ufeffA"}, PLAIN | {"account_id": '"\n' * 200}, PLAIN])
def test_fills_as_the_driver_reads_them(url: str, fills: list[dict[str, Any]]) -> None:
    frames, findings, plain = read(url, fills, [])
    if not fills:
        return
    frame = frames["fills"]
    assert ordered(told(frame, FILLS)) == ordered([expected(r, FILLS) for r in plain["fills"]])
    assert int(frame.coverage.control["rows"]) == len(fills) == frame.coverage.rows
    ids = [f["fill_id"] for f in fills if f["fill_id"] is not None]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    found = {f.check: f for f in findings}.get("fill identifier used twice")
    assert (found.samples if found else ()) == tuple(twice[:5])
    # Any rows of the frame are what they are in the whole.
    assert isinstance(frame, Packed)
    odd = frame.taken(pd.RangeIndex(1, len(fills), 2).to_numpy())
    assert told(odd, FILLS) == told(frame, FILLS)[1::2]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], **PACE)
@given(st.lists(ORDER, min_size=1, max_size=10))
def test_orders_as_the_driver_reads_them(url: str, orders: list[dict[str, Any]]) -> None:
    frames, _, plain = read(url, [PLAIN], orders)
    found = told(frames["order_rows"], ORDERS)
    assert ordered(found) == ordered([expected(r, ORDERS) for r in plain["orders"]])


def test_orders_of_other_days_come_by_name(url: str) -> None:
    early = START - timedelta(days=3)
    base = {
        "account_id": "A", "instrument_id": "I", "strategy": "s", "agent": "a", "side": 1,
        "quantity": 1, "status": "replaced", "placed_at": early, "done_at": early,
        "recorded_at": early,
    }  # fmt: skip
    orders = [
        base | {"order_id": "first"},
        base | {"order_id": "second", "replaces": "first"},
        base | {"order_id": "third", "replaces": "second", "placed_at": START, "done_at": START},
        # Its newest version is of another day; the day's own query sees the older one.
        base | {"order_id": "old", "done_at": START},
        base | {"order_id": "old", "status": "filled", "recorded_at": START},
        base | {"order_id": "nobody asks for"},
        base | {"order_id": "filled today"},
    ]
    fills = [PLAIN | {"order_id": name} for name in ("filled today", "third", "not there", None)]
    earlier = PLAIN | {"order_id": "old", "executed_at": early, "quantity": Decimal("2.50")}
    frames, _, _ = read(url, [*fills, earlier], orders)
    names = sorted(frames["order_rows"].table["order_id"])
    assert names == ["filled today", "first", "old", "old", "second", "third"]
    (before,) = told(frames["earlier_fills"], ("order_id", "quantity"))
    assert before == {"order_id": "old", "quantity": Decimal("2.5")}


def test_orders_at_work_are_counted_whenever_they_were_placed(url: str) -> None:
    end, hour = START + timedelta(days=1), timedelta(hours=1)

    def order(name: str, placed: datetime, done: datetime | None = None, **more: Any) -> Any:
        """A version of an order, recorded at once."""
        return {
            "order_id": name, "account_id": "A", "instrument_id": "I", "strategy": "s",
            "agent": "a", "side": 1, "quantity": 1, "placed_at": placed, "done_at": done,
            "status": "working" if done is None else "cancelled",
            "recorded_at": placed if done is None else done,
        } | more  # fmt: skip

    at_work = [
        order("of today", START),
        order("of last week", START - timedelta(days=7)),
        order("of a year ago", end - timedelta(days=366)),
        order("done at the end", START - hour, end),
        order("its end was recorded later than the day is known at", START),
        order("its end was recorded later than the day is known at", START, START + hour,
              recorded_at=KNOWN_AT + hour),
        order("done by mistake", START, START + hour),
        order("done by mistake", START, None, recorded_at=START + 2 * hour),
        order("the last of a chain", START, replaces="done"),
        order("of two versions", START - hour),
        order("of two versions", START - hour, recorded_at=START),
        order("replaced after the end", START - hour),
    ]  # fmt: skip
    gone = [
        order("of more than a year ago", end - timedelta(days=366, seconds=1)),
        order("placed at the end", end),
        order("done before the end", START - timedelta(days=7)),
        order("done before the end", START - timedelta(days=7), end - hour),
        order("done", START - hour, START),
        order("replaced and never told so", START - hour),
        order("the next", START, end - hour, replaces="replaced and never told so"),
        order("after the end", end + hour, replaces="replaced after the end"),
        order("not known yet", START, recorded_at=KNOWN_AT + hour),
    ]
    rows = [row if "replaces" in row else {**row, "replaces": None} for row in at_work + gone]
    frames, _, _ = read(url, [PLAIN], rows)
    assert frames["working"].table["orders"].tolist() == [len({r["order_id"] for r in at_work})]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(TEXT, min_size=2, max_size=2), max_size=6), st.data())
def test_a_block_is_cut_where_rows_end(rows: list[list[str]], data: st.DataObject) -> None:
    def text(some: list[list[str]]) -> bytes:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(some)
        return out.getvalue().encode()

    ends = [len(text(rows[:n])) for n in range(len(rows) + 1)]
    cut = data.draw(st.integers(0, ends[-1]))
    assert rows_end(text(rows)[:cut]) == max(end for end in ends if end <= cut)


def test_a_reader_that_gives_up_ends_the_copy(url: str) -> None:
    many = postgres.Query("many", "select n, repeat('x', 100) from generate_series(1, 100000) n")
    with database(url, "ledger").snapshot() as session:
        blocks = session.blocks(many)
        assert next(blocks).startswith(b"1,xxx")
        blocks.close()  # returns: the copying thread has ended


def test_what_the_server_refuses_is_raised_where_it_was_asked(url: str) -> None:
    with database(url, "ledger").snapshot() as session, pytest.raises(Exception, match="division"):
        list(
            session.blocks(
                postgres.Query("broken", "select 1 / (n - 900) from generate_series(1, 1000) n")
            )
        )


def test_a_day_is_not_hashed_to_find_the_few_that_were_replaced(url: str) -> None:
    """Ten million fills in a table of hashes are a gigabyte and nine seconds of the server."""
    named = {"start": START, "end": KNOWN_AT, "known_at": KNOWN_AT}
    sql = Ledger(database(url, "ledger"), "USD")._queries["replaced_fills"].sql
    with connected(url) as cursor:
        cursor.execute("truncate fills")
        cursor.execute(
            "insert into fills (fill_id, order_id, executed_at, recorded_at, kind) "
            "select 'F' || n, 'O' || n, %s, %s, 'new' from generate_series(1, 20000) n",
            (START, START),
        )
        cursor.execute("create index refers on fills (refers_to) where refers_to is not null")
        cursor.execute("analyze fills")
        cursor.execute(f"explain (costs off) {sql}", named)
        plan = [line for (line,) in cursor.fetchall()]
        cursor.execute("drop index refers")
        cursor.execute("truncate fills")
    hashed = [plan[n + 1] for n, line in enumerate(plan) if line.strip() == "->  Hash"]
    assert any(" refers on fills" in line for line in plan)
    assert all(" refers on fills" in line for line in hashed), plan
