"""Closing a day of 1,000,000 fills, against a bare ``COPY … TO STDOUT`` of the rows it reads.

    python benchmarks/close.py [--fills 1000000] [--runs 3] [--json]

The close does everything: reads the fills and their control totals, checks the contract, books
first in first out over 500 account × instrument keys, sums slippage and fill rates over 250,000
orders, seals the facts and writes the log. The floor is what the server needs to hand over the
rows that the close is made from, fills and orders with the same columns, thrown away as they
arrive. Aim: ratio 2 or below, peak memory of the closing process 600 MiB or below.
"""

from __future__ import annotations

import argparse
import atexit
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

DAY = date(2025, 3, 4)
NOW = datetime(2025, 3, 5, 12, tzinfo=UTC)

DDL = """
create schema ledger;
create table ledger.instruments as
    select 'I' || lpad(i::text, 3, '0') as instrument_id, 'Instrument ' || i as symbol,
           case when i % 5 = 0 then 'EUR' else 'USD' end as currency, 1::numeric as multiplier,
           0.01::numeric as tick, 1::numeric as lot, timestamptz '2024-01-01' as recorded_at
    from generate_series(1, 50) i;
create table ledger.orders as
    select 'O' || lpad(n::text, 9, '0') as order_id, null::text as replaces,
           'A' || n % 10 as account_id,
           'I' || lpad((1 + n / 10 % 50)::text, 3, '0') as instrument_id,
           'strategy-' || n % 10 % 7 as strategy, 'agent-' || n % 10 % 3 as agent,
           (case when hashint8(n) % 2 = 0 then 1 else -1 end)::smallint as side,
           400::numeric as quantity,
           timestamptz '2025-03-04 14:30Z' + n * interval '0.09 s' as placed_at,
           null::timestamptz as decision_at, null::numeric as decision_price,
           100 + (hashint8(n) % 500) * 0.01 as arrival_price, 'filled' as status,
           null::text as reject_reason,
           timestamptz '2025-03-04 14:31Z' + n * interval '0.09 s' as done_at,
           timestamptz '2025-03-04 14:31Z' + n * interval '0.09 s' as recorded_at
    from generate_series(0, {orders} - 1) n;
create table ledger.fills as
    select 'F' || lpad(f::text, 10, '0') as fill_id, o.order_id, o.account_id, o.instrument_id,
           o.strategy, o.agent, o.side, o.placed_at + part * interval '0.011 s' as executed_at,
           100::numeric as quantity, o.arrival_price + (hashint8(f) % 7) * 0.01 as price,
           'V' || part as venue, 0.35::numeric as fee, 'USD' as fee_currency, 'new' as kind,
           null::text as refers_to, o.placed_at + part * interval '0.011 s' as recorded_at
    from (select o.*, row_number() over (order by order_id) as n from ledger.orders o) o
    cross join generate_series(0, 3) part
    cross join lateral (select o.n * 4 + part as f) as id;
create table ledger.marks as
    select i.instrument_id, 100 + (hashint8(d) % 300) * 0.01 as price, 'bench' as source,
           timestamptz '2025-03-04 21:00Z' - d * interval '1 day' as marked_at,
           timestamptz '2025-03-04 21:01Z' - d * interval '1 day' as recorded_at
    from ledger.instruments i, generate_series(0, 400) d;
create table ledger.fx_rates as
    select 'EUR' as base, 'USD' as quote, 1.05 + (hashint8(d) % 20) * 0.001 as rate,
           'bench' as source, timestamptz '2025-03-04 21:00Z' - d * interval '1 day' as fixed_at,
           timestamptz '2025-03-04 21:01Z' - d * interval '1 day' as recorded_at
    from generate_series(0, 400) d;
create index on ledger.fills (executed_at);
create index on ledger.fills (recorded_at);
create index on ledger.fills (order_id);
create index on ledger.fills (refers_to) where refers_to is not null;
create index on ledger.orders (order_id);
create index on ledger.orders (done_at);
create index on ledger.orders (replaces) where replaces is not null;
"""

FLOOR = (
    """copy (
    select account_id, instrument_id, strategy, agent, side, quantity, price, fee, fee_currency,
           executed_at, fill_id, order_id, venue
    from ledger.fills
    where executed_at >= '2025-03-04 05:00Z' and executed_at < '2025-03-05 05:00Z'
) to stdout""",
    """copy (
    select order_id, replaces, account_id, instrument_id, strategy, agent, side, quantity,
           decision_price, arrival_price, status, reject_reason, decision_at, placed_at, done_at,
           recorded_at
    from ledger.orders
    where placed_at >= '2025-03-04 05:00Z' and placed_at < '2025-03-05 05:00Z'
) to stdout""",
)


class Nothing:
    """Where the floor's rows go."""

    def write(self, data: bytes) -> int:
        """Count and forget."""
        return len(data)


def prepare(root: Path, fills: int) -> tuple[str, str]:
    """Start the server, make the ledger; (ledger URL, maintenance URL)."""
    from reporting.postgres import database, start_embedded

    server = start_embedded(root / "postgres")
    url = server.database_url("ledger")
    with database(url, "ledger").transaction() as session:
        session.script(DDL.format(orders=fills // 4))
    with database(url, "ledger").engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.autocommit = True
        with raw.cursor() as cursor:
            cursor.execute("vacuum analyze")
    return url, server.url


def floor(url: str) -> float:
    """Seconds of a bare COPY of the day's rows."""
    from reporting.postgres import database

    with database(url, "ledger").engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        with raw.cursor() as cursor:
            start = time.perf_counter()
            for copy in FLOOR:
                cursor.copy_expert(copy, Nothing())
            return time.perf_counter() - start


def one_close(root: Path, url: str, store: str) -> dict[str, float]:
    """Close the day in a process of its own: seconds of the close, MiB of its peak."""
    command = [sys.executable, __file__, "--child", url, store, str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(url: str, store_url: str, root: str) -> None:
    """The closing process: measures itself, imports not counted in the time."""
    from reporting import pipeline
    from reporting.postgres import database, migrate
    from reporting.settings import load

    migrate(database(store_url, "store"))
    settings = load(ledger_url=url, store_url=store_url, var_dir=Path(root), reports_dir=Path(root))
    service = pipeline.Service(settings)
    assert service.policy and service.store and service.trading_day(DAY)
    start = time.perf_counter()
    closed = pipeline.close(service, DAY, NOW)
    seconds = time.perf_counter() - start
    assert [c.outcome for c in closed] == ["sealed"], closed
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak}))


def main() -> None:
    """Measure floor and close in turn and print their ratio."""
    if sys.argv[1:2] == ["--child"]:
        return child(*sys.argv[2:5])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fills", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="bench-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)  # after the server has stopped
    url, server = prepare(root, arguments.fills)
    from reporting.postgres import Embedded

    floors, closes = [], []
    for run in range(arguments.runs):
        floors.append(floor(url))
        closes.append(one_close(root, url, Embedded(server).database_url(f"store{run}")))
    low = statistics.median(floors)
    taken = statistics.median(c["seconds"] for c in closes)
    peak = max(c["peak_mib"] for c in closes)
    result = {
        "fills": arguments.fills,
        "copy_s": round(low, 3),
        "close_s": round(taken, 3),
        "ratio": round(taken / low, 2),
        "peak_mib": round(peak),
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        print(
            f"close of {result['fills']:,} fills: {taken:.2f} s; bare COPY: {low:.2f} s; "
            f"ratio {result['ratio']} (aim: 2 or below); peak memory {peak:.0f} MiB "
            "(aim: 600 or below)"
        )


if __name__ == "__main__":
    main()
