"""A monthly and a quarterly report, from days of 2,000 and of 1,000,000 fills.

    python benchmarks/periods.py [--small 2000] [--large 1000000] [--runs 5] [--json]

Sealed facts hold sums by cell, not fills: their size depends on how many account × instrument keys
were traded, which are the same 500 in both, and so does the time of a report that is built from
them. A day of each kind is really closed; the sessions of March and of the first quarter of 2025
are then that day under their own dates. Time is from the sealed bytes to the Document, processor
seconds. Aim: the same for both, 1.2 times at most.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from book import BENCH, DAY, NOW, fresh_store, prepare

SPANS = {
    "monthly": (date(2025, 3, 1), date(2025, 3, 31)),
    "quarterly": (date(2025, 1, 1), date(2025, 3, 31)),
}
ISSUED = datetime(2025, 4, 2, 12, tzinfo=UTC)


def sealed(fills: int) -> tuple[str, bytes]:
    """Close a day of so many fills; the store's URL and the sealed bytes."""
    url, server = prepare(fills)
    store = fresh_store(server, f"periods_{fills}")
    command = [sys.executable, __file__, "--child", url, store]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return store, done.stdout


def service_of(ledger: str, store: str) -> Any:
    """The service over these databases."""
    from reporting import pipeline
    from reporting.postgres import database, migrate
    from reporting.settings import load

    migrate(database(store, "store"))
    return pipeline.Service(
        load(ledger_url=ledger, store_url=store, var_dir=BENCH, reports_dir=BENCH)
    )


def child(ledger: str, store: str) -> None:
    """The closing process: the day's sealed bytes on stdout."""
    from reporting import pipeline

    service = service_of(ledger, store)
    pipeline.close(service, DAY, NOW)
    (row,) = service.store.days(DAY, DAY)
    sys.stdout.buffer.write(bytes(row.body))


def seconds(store: str, body: bytes, kind: str) -> tuple[float, int, int]:
    """Processor seconds of one build, its sessions, and the bytes of the Document."""
    from reporting.document import Cited, Issue, build
    from reporting.periods import sessions_between, trading_day
    from reporting.pipeline.issuing import period_of
    from reporting.seal import SealedDay, canonical, digest

    service = service_of(store, store)
    calendar, zone = service.settings.calendar, service.settings.zone
    one = SealedDay.model_validate_json(body)
    bodies = []
    first, last = SPANS[kind]
    for day in sessions_between(first, last, calendar):
        described = trading_day(day, calendar, zone)
        own = {"day": day, "window": described.window, "trading": described.trading}
        own["known_at"] = described.window.end + timedelta(hours=7)
        bodies.append(canonical(one.model_copy(update=own)))
    issue = Issue(
        issuer="Benchmark",
        base=service.settings.base_currency,
        issued_at=ISSUED,
        checkpoint=service.store.checkpoint(),
    )
    span = period_of(service, kind, last)
    policy = service.policy
    start = time.process_time()
    days = [Cited(SealedDay.model_validate_json(b), digest(b), ISSUED) for b in bodies]
    document = build(span, days, [], [], policy, issue)
    taken = time.process_time() - start
    return taken, len(bodies), len(canonical(document))


def main() -> None:
    """Close both days, build both reports of each, print times and sizes."""
    if sys.argv[1:2] == ["--child"]:
        return child(*sys.argv[2:4])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=2_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    closed = {fills: sealed(fills) for fills in (arguments.small, arguments.large)}
    result: dict[str, Any] = {"sealed_bytes": {n: len(body) for n, (_, body) in closed.items()}}
    for kind in SPANS:
        taken: dict[int, list[float]] = {fills: [] for fills in closed}
        for _ in range(arguments.runs):  # in turn, so that both see the same machine
            for fills, (store, body) in closed.items():
                spent, sessions, size = seconds(store, body, kind)
                taken[fills].append(spent)
                result[f"document_bytes_of_{kind}"] = size
        small, large = (min(taken[fills]) for fills in closed)
        result[kind] = {
            "sessions": sessions,
            "small_s": round(small, 3),
            "large_s": round(large, 3),
            "ratio": round(large / small, 2),
        }
    if arguments.json:
        print(json.dumps(result))
        return
    for fills, size in result["sealed_bytes"].items():
        print(f"a sealed day of {fills:,} fills: {size:,} bytes")
    for kind in SPANS:
        found = result[kind]
        print(
            f"{kind}, {found['sessions']} sessions: {found['small_s']} s of days of "
            f"{arguments.small:,} fills, {found['large_s']} s of days of {arguments.large:,}; "
            f"ratio {found['ratio']} (aim: 1.2 or below)"
        )


if __name__ == "__main__":
    main()
