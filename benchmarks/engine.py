"""The parts of a day worked out by one process and by two, and what one part costs.

    python benchmarks/engine.py [--fills 10000000 | --quick] [--runs 3] [--size 250000]
                                [--engine local:2] [--json]

The day is the one of benchmarks/book.py, read once. Its parts are then worked out in turn by one
process (the closing process itself) and by the engine, from dividing to adding up; the engine's
workers are there already, since a close calls them once. Both come to the same book and the same
executions, which is checked. Aim: two processes on two cores 1.7 times as fast as one, or more.

Beside it stands what the machine itself gives: a whole run on each core at the same time, by
processes that share nothing, against one alone. On two cores that do nothing else it is 2 less what
they take from each other: caches, memory, clock.

A part's cost is measured alone: seconds of the processor to make it, to work it out and to unpack
and add up what comes of it, and bytes sent and sent back. docs/scale.md reckons with these.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from book import DAY, NOW, prepare


def measured(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds on the wall, seconds of this process's processor, and what came of it."""
    wall, own = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - wall, time.process_time() - own, found


def costs(session: Any, divided: Any) -> dict[str, float]:
    """What a part costs by itself, on average: seconds of the processor, and bytes."""
    from reporting.book.parts import worked

    rows: list[dict[str, float]] = []
    while True:
        _, made_s, part = measured(lambda: next(divided, None))
        if part is None:
            break
        _, packed_s, sent = measured(partial(pickle.dumps, (worked, part), 5))
        # Its rows are counted where it is unpacked, as a worker does.
        _, worked_s, found = measured(partial(worked, session, pickle.loads(sent)[1]))
        back = pickle.dumps(found, 5)
        _, unpacked_s, _ = measured(partial(pickle.loads, back))
        rows.append({
            "make_s": made_s + packed_s, "work_s": worked_s, "unpack_s": unpacked_s,
            "sent_bytes": len(sent), "back_bytes": len(back),
        })  # fmt: skip
    first, rest = rows[0], rows[1:] or rows
    typical = {name: statistics.fmean(row[name] for row in rest) for name in rows[0]}
    # To find out who is in which part comes before the first one.
    return {"parts": len(rows), "divide_s": first["make_s"] - typical["make_s"], **typical}


def alone(work: Callable[[], Any], _: int) -> float:
    """Seconds on the wall that ``work`` takes, whatever comes of it."""
    return measured(work)[0]


def main() -> None:
    """Measure one process and the engine in turn, then a part alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fills", type=int, default=10_000_000)
    parser.add_argument("--quick", action="store_const", dest="fills", const=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--engine", default="local:2")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    url, _ = prepare(arguments.fills)

    from reporting.book import EMPTY_BOOK
    from reporting.book.execution import market_of
    from reporting.book.parts import Session, Sources, parts, worked_through
    from reporting.engine import engine, forked
    from reporting.periods import trading_day
    from reporting.postgres import database
    from reporting.sources.ledger import Ledger

    size = arguments.size or min(250_000, arguments.fills // 20)
    day = trading_day(DAY, "XNYS", "America/New_York")
    frames, _ = Ledger(database(url, "ledger"), "USD").read(day, NOW, window=500, minimum=250)
    names = ("instruments", "fills", "marks", "order_rows", "earlier_fills")
    sources: Any = Sources(*(frames[name] for name in names))  # type: ignore[arg-type]
    market = market_of(day, frames["quotes"], frames["market_trades"])
    workers = engine(arguments.engine)
    list(workers.map(abs, range(16)))  # they come
    through = partial(worked_through, day, EMPTY_BOOK, sources, market, size=size)
    ones, twos, beside = [], [], []
    for _ in range(arguments.runs):
        one_s, one_cpu, one = measured(partial(through, run=map))
        # As many forks as there are cores, for one thing each.
        cores = range(len(os.sched_getaffinity(0)))
        beside.append(max(forked(partial(alone, partial(through, run=map)), cores)))
        two_s, two_cpu, two = measured(partial(through, run=workers.map))
        assert one[0] == two[0] and one[1].day == two[1].day
        ones.append((one_s, one_cpu))
        twos.append((two_s, two_cpu))
    workers.close()
    session = Session(day, sources.instruments, sources.marks, "fifo")
    part = costs(session, parts(EMPTY_BOOK, sources, market, size))
    one_s, two_s = min(s for s, _ in ones), min(s for s, _ in twos)
    result = {
        "fills": arguments.fills,
        "size": size,
        "engine": arguments.engine,
        "one_s": round(one_s, 2),
        "engine_s": round(two_s, 2),
        "ratio": round(one_s / two_s, 2),
        "machine": round(len(cores) * one_s / min(beside), 2),
        "one_cpu_s": round(min(s for _, s in ones), 2),
        "driver_cpu_s": round(min(s for _, s in twos), 2),
        "load": round(os.getloadavg()[0], 1),
        **{name: round(value, 4) for name, value in part.items()},
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(
        f"{result['parts']} parts of {size:,} fills: {one_s:.2f} s by one process, {two_s:.2f} s "
        f"by {arguments.engine}; ratio {result['ratio']} (aim with two: 1.7 or above), and "
        f"{result['machine']} of whole runs beside each other; the one process needs "
        f"{result['one_cpu_s']} s of the processor, the closing process with workers "
        f"{result['driver_cpu_s']}; machine's load {result['load']}"
    )
    print(
        f"a part: {part['make_s']:.3f} s to make and pack, {part['work_s']:.3f} s to work out, "
        f"{part['unpack_s']:.3f} s to unpack; {part['sent_bytes'] / 1e6:.1f} MB there, "
        f"{part['back_bytes'] / 1e6:.2f} MB back; {part['divide_s']:.2f} s once to divide"
    )


if __name__ == "__main__":
    sys.exit(main())
