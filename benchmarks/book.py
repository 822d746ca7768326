"""Closing a day of 10,000,000 fills, against a bare ``COPY … TO STDOUT`` of the rows it reads.

    python benchmarks/book.py [--fills 10000000 | --quick] [--runs 1] [--engine local:2]
                              [--profile] [--json]

The close does everything: reads the fills and their control totals, checks the contract, books
first in first out over 500 account × instrument keys, sums slippage and fill rates over a quarter
as many orders, seals the facts and writes the log. The floor is what the server needs to hand over
the rows that the close is made from, fills and orders with the same columns, thrown away as they
arrive; both are taken in turn. Aim: ratio 2 or below, peak memory of the closing process 1 GiB or
below. ``--quick`` is 1,000,000 fills. ``--profile`` says where the time goes, and what the floor of
a step is. With ``--engine`` its parts are worked out by others: the steps are of the closing
process only, and a worker's own peak memory is told beside.

What the close cannot be faster than on this machine is told too: the processor's seconds of all who
take part (the closing process, its workers from their start, the server's backends), divided by the
cores. It hardly depends on what else the machine does, the seconds on the wall do.

The ledger is made once, in a server of its own under ``var/bench``, and kept for the next run.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "var" / "bench"
sys.path.insert(0, str(ROOT))

DAY = date(2025, 3, 4)
NOW = datetime(2025, 3, 5, 12, tzinfo=UTC)

DDL = """
create schema ledger;
create unlogged table ledger.instruments as
    select 'I' || lpad(i::text, 3, '0') as instrument_id, 'Instrument ' || i as symbol,
           case when i % 5 = 0 then 'EUR' else 'USD' end as currency, 1::numeric as multiplier,
           0.01::numeric as tick, 1::numeric as lot, timestamptz '2024-01-01' as recorded_at
    from generate_series(1, 50) i;
create unlogged table ledger.orders as
    select 'O' || lpad(n::text, 9, '0') as order_id, null::text as replaces,
           'A' || n % 10 as account_id,
           'I' || lpad((1 + n / 10 % 50)::text, 3, '0') as instrument_id,
           'strategy-' || n % 10 % 7 as strategy, 'agent-' || n % 10 % 3 as agent,
           (case when hashint8(n) % 2 = 0 then 1 else -1 end)::smallint as side,
           400::numeric as quantity,
           timestamptz '2025-03-04 14:30Z' + n * interval '{spacing} s' as placed_at,
           timestamptz '2025-03-04 14:30Z' + n * interval '{spacing} s' as decision_at,
           100 + (hashint8(n) % 500) * 0.01 as decision_price,
           100 + (hashint8(n) % 500) * 0.01 as arrival_price, 'filled' as status,
           null::text as reject_reason,
           timestamptz '2025-03-04 14:31Z' + n * interval '{spacing} s' as done_at,
           timestamptz '2025-03-04 14:31Z' + n * interval '{spacing} s' as recorded_at
    from generate_series(0, {orders} - 1) n;
create unlogged table ledger.fills as
    select 'F' || lpad(f::text, 10, '0') as fill_id, o.order_id, o.account_id, o.instrument_id,
           o.strategy, o.agent, o.side, o.placed_at + part * interval '0.011 s' as executed_at,
           100::numeric as quantity, o.arrival_price + (hashint8(f) % 7) * 0.01 as price,
           'V' || part as venue, 0.35::numeric as fee, 'USD' as fee_currency, 'new' as kind,
           null::text as refers_to, o.placed_at + part * interval '0.011 s' as recorded_at
    from (select o.*, row_number() over (order by order_id) as n from ledger.orders o) o
    cross join generate_series(0, 3) part
    cross join lateral (select o.n * 4 + part as f) as id;
create unlogged table ledger.marks as
    select i.instrument_id, 100 + (hashint8(d) % 300) * 0.01 as price, 'bench' as source,
           timestamptz '2025-03-04 21:00Z' - d * interval '1 day' as marked_at,
           timestamptz '2025-03-04 21:01Z' - d * interval '1 day' as recorded_at
    from ledger.instruments i, generate_series(0, 400) d;
create unlogged table ledger.fx_rates as
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


def prepare(fills: int) -> tuple[str, Any]:
    """Start the server, make the ledger if it is not there yet; its URL, and the server."""
    from reporting.postgres import Query, database, start_embedded

    server = start_embedded(BENCH / "postgres")
    url = server.database_url(f"book_{fills}")
    # Unlogged tables are empty after a server that was killed: the last one of them tells.
    made = Query("made", "select count(*) > 0 as made from made")
    with database(url, "ledger").transaction() as session:
        session.script("create unlogged table if not exists made (at timestamptz)")
        if session.rows(made)[0]["made"]:
            return url, server
        # Five hours of trading, however many orders there are.
        session.script("drop table made; create unlogged table made (at timestamptz)")
        session.script("drop schema if exists ledger cascade")
        session.script(DDL.format(orders=fills // 4, spacing=f"{22_500 / (fills // 4):.9f}"))
    with database(url, "ledger").engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        raw.autocommit = True
        with raw.cursor() as cursor:
            cursor.execute("vacuum analyze")
            cursor.execute("insert into made values (now())")
    return url, server


def fresh_store(server: Any, name: str) -> str:
    """The URL of an empty store; nothing is left of the one before."""
    server.drop_database(name)
    (BENCH / "audit-witness.jsonl").unlink(missing_ok=True)
    return str(server.database_url(name))


def server_s() -> float:
    """The processor's seconds so far of the server's backends that have ended."""
    postmaster = (BENCH / "postgres" / "postmaster.pid").read_text().split()[0]
    time.sleep(0.5)  # those of the last connection end a moment after it
    after_name = Path("/proc", postmaster, "stat").read_text().rpartition(")")[2].split()
    return sum(map(int, after_name[13:15])) / os.sysconf("SC_CLK_TCK")


def floor(url: str) -> list[float]:
    """Seconds of a bare COPY of the day's fills, and of its orders."""
    from reporting.postgres import database

    seconds = []
    with database(url, "ledger").engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        with raw.cursor() as cursor:
            for copy in FLOOR:
                start = time.perf_counter()
                cursor.copy_expert(copy, Nothing())
                seconds.append(time.perf_counter() - start)
    return seconds


def one_close(url: str, store: str, engine: str, profile: bool) -> dict[str, Any]:
    """Close the day in a process of its own: seconds of the close, MiB of its peak."""
    command = [
        sys.executable,
        __file__,
        "--child",
        url,
        store,
        engine,
        "profile" if profile else "",
    ]
    before = server_s()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["server_cpu"] = server_s() - before
    return found


#: Module, function and what it is called in the profile; an indent is part of what is above it.
STEPS = (
    ("reporting.sources.ledger", "Ledger.read", "read the ledger"),
    ("reporting.sources.ledger", "Ledger._small", "  control totals and small frames (beside)"),
    ("reporting.sources.ledger", "_Streamed.parsed", "  parse CSV"),
    ("reporting.sources.ledger", "_Streamed.take", "  decimals to integers, texts to codes"),
    ("reporting.sources.ledger", "Ledger._fills", "  join the fills' columns, duplicates (beside)"),
    ("reporting.sources.ledger", "Ledger._orders", "  orders"),
    ("reporting.pipeline.closing", "worked_out", "work it out"),
    ("reporting.book.parts", "_unpacked", "  a part's rows as a table"),
    ("reporting.book.parts", "_crossed", "  links between parts"),
    ("reporting.book.parts", "trade", "  book"),
    ("reporting.book.session", "_order", "    sort"),
    ("reporting.book.session", "match", "    match lots"),
    ("reporting.book.session", "_cells", "    sums by cell"),
    ("reporting.book.session", "_holdings", "    sums by holding"),
    ("reporting.book.parts", "executions", "  executions"),
    ("reporting.pipeline.closing", "facts_of", "measures"),
)


def timed(spent: dict[str, list[float]]) -> None:
    """Time every step from here on: seconds on the wall, and of its own thread's processor."""
    for module, name, label in STEPS:
        __import__(module)
        holder: Any = sys.modules[module]
        *path, last = name.split(".")
        for step in path:
            holder = getattr(holder, step)
        setattr(holder, last, _timed(getattr(holder, last), spent.setdefault(label, [0.0, 0.0])))


def _timed(function: Callable[..., Any], into: list[float]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **named: Any) -> Any:
        wall, own = time.perf_counter(), time.thread_time()
        try:
            return function(*args, **named)
        finally:
            into[0] += time.perf_counter() - wall
            into[1] += time.thread_time() - own

    return run


def worker_mib(_: int) -> float:
    """The peak memory of the process that is asked; slow enough for each of them to be."""
    time.sleep(0.05)
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def child(url: str, store_url: str, engine: str, profile: str) -> None:
    """The closing process: measures itself, imports not counted in the time."""
    from reporting import pipeline
    from reporting.postgres import database, migrate
    from reporting.settings import load

    migrate(database(store_url, "store"))
    folders = {"var_dir": BENCH, "reports_dir": BENCH}
    settings = load(ledger_url=url, store_url=store_url, engine=engine, **folders)
    service = pipeline.Service(settings)
    assert service.policy and service.store and service.trading_day(DAY)
    spent: dict[str, list[float]] = {}
    if profile:
        timed(spent)
    start, used = time.perf_counter(), time.process_time()
    closed = pipeline.close(service, DAY, NOW)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    assert [c.outcome for c in closed] == ["sealed"], closed
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # Not the largest that the system has on record of its children: a child counts what its parent
    # had when it was started.
    peaks = service.engine.map(worker_mib, range(16)) if engine.startswith("local") else []
    largest = max(peaks, default=0.0)
    service.engine.close()
    found = {"seconds": seconds, "cpu": used, "peak_mib": peak, "steps": spent}
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)  # known once they have ended
    found["worker_mib"] = largest
    found["worker_cpu"] = workers.ru_utime + workers.ru_stime
    print(json.dumps(found))


def main() -> None:
    """Measure floor and close in turn and print their ratio."""
    if sys.argv[1:2] == ["--child"]:
        return child(*sys.argv[2:6])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fills", type=int, default=10_000_000)
    parser.add_argument("--quick", action="store_const", dest="fills", const=1_000_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--engine", default="")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    url, server = prepare(arguments.fills)
    floors, closes, copy_cpu = [], [], []
    for _ in range(arguments.runs):
        before = server_s()
        floors.append(floor(url))
        copy_cpu.append(server_s() - before)
        store = fresh_store(server, "book_store")
        closes.append(one_close(url, store, arguments.engine, arguments.profile))
        floors.append(floor(url))
    low = statistics.median(sum(f) for f in floors)
    taken = statistics.median(c["seconds"] for c in closes)
    cores = len(os.sched_getaffinity(0))
    cpu = {name: min(c[name] for c in closes) for name in ("cpu", "worker_cpu", "server_cpu")}
    result = {
        "fills": arguments.fills,
        "copy_s": round(low, 2),
        "close_s": round(taken, 2),
        "ratio": round(taken / low, 2),
        "close_cpu_s": round(cpu["cpu"], 2),
        "worker_cpu_s": round(cpu["worker_cpu"], 2),
        "server_cpu_s": round(cpu["server_cpu"], 2),
        "copy_cpu_s": round(min(copy_cpu), 2),
        "cores": cores,
        "least_s": round(sum(cpu.values()) / cores, 2),
        "peak_mib": round(max(c["peak_mib"] for c in closes)),
        **({"worker_mib": round(max(c["worker_mib"] for c in closes))} if arguments.engine else {}),
        "load": round(os.getloadavg()[0], 1),
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(
        f"close of {result['fills']:,} fills: {taken:.2f} s; bare COPY: {low:.2f} s; ratio "
        f"{result['ratio']} (aim: 2 or below); peak memory {result['peak_mib']} MiB (aim: 1024 or "
        f"below); machine's load {result['load']}"
    )
    print(
        f"seconds of the processor: closing process {result['close_cpu_s']}, workers "
        f"{result['worker_cpu_s']}, server {result['server_cpu_s']}: with {cores} cores "
        f"{result['least_s']} s or more; the server for the bare COPY {result['copy_cpu_s']}: "
        f"ratio {sum(cpu.values()) / cores / result['copy_cpu_s']:.2f} or more"
    )
    if arguments.engine:
        print(f"parts by {arguments.engine}; peak of a worker {result['worker_mib']} MiB")
    if arguments.profile:
        for name, found in (("fills", 0), ("orders", 1)):
            print(f"{min(f[found] for f in floors):8.2f} s floor: bare COPY of the {name}")
        print(" wall s   cpu s  step")
        for label, (wall, own) in closes[-1]["steps"].items():
            print(f"{wall:7.2f} {own:7.2f}  {label}")


if __name__ == "__main__":
    main()
