"""Verifying an audit log of 1,000,000 entries, against hashing the same bytes alone.

    python benchmarks/audit.py [--entries 1000000] [--runs 5] [--json]

Hashing alone is one `hashlib.sha256` for each entry, held in memory. Verifying recomputes the leaf,
the link of the chain and the node of the tree of every entry, from an exported file and from the
database, and compares them with a signed checkpoint. All of it is timed in the same run, in turn.

Then a checkpoint of that log with 1,000 entries more, by reading those, and by reading everything.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from reporting.pipeline import Service, auditing  # noqa: E402
from reporting.postgres import database, migrate, start_embedded  # noqa: E402
from reporting.seal import new_key  # noqa: E402
from reporting.settings import load  # noqa: E402

#: Entries between two checkpoints.
NEW = 1_000

#: Entries as a close writes them, appended by the log's own rules but in one statement.
FILL = """
    with body as (
        select n, convert_to(
            '{"actor":"reporting_app","at":"'
            || to_char(timestamp '2025-01-01' + n * interval '1 s', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
            || '","body":{"by":"reporting","day":"2025-12-05",'
            '"digest":"' || encode(sha256(n::text::bytea), 'hex') || '","known_at":'
            '"2025-12-06T06:00:00+00:00","policy":"' || encode(sha256('p'), 'hex')
            || '","previous":"' || encode(sha256((n - 1)::text::bytea), 'hex')
            || '","reason":"late ledger events",'
            '"revision":2,"version":"0.1.0"},"event":"day restated","seq":' || n || '}', 'UTF8') e
        from generate_series(1, %(entries)s) n
    ),
    leaf as materialized (select n, e, sha256('\\x00'::bytea || e) h from body)
    select n, e, h from leaf order by n
"""


def fill(url: str, entries: int) -> None:
    """Write the log as a superuser: a million appends, each locked, would take an hour."""
    store = database(url, "store")
    with store.transaction() as session:
        session.script(
            f"""
            do $do$
            declare
                last_hash bytea := decode(repeat('00', 32), 'hex');
                this_hash bytea;
                r record;
            begin
                for r in {FILL % {"entries": entries}} loop
                    this_hash := sha256('\\x02'::bytea || last_hash || r.h);
                    insert into audit.log values (r.n, r.e, last_hash, r.h, this_hash);
                    last_hash := this_hash;
                end loop;
            end $do$
            """
        )
        session.script("analyze audit.log")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that one run takes, and of processor time with its children's."""
    before, began = os.times(), time.perf_counter()
    work()
    seconds, after = time.perf_counter() - began, os.times()
    return seconds, sum(after[:4]) - sum(before[:4])


def measure(entries: int, runs: int) -> dict[str, object]:
    """Medians of all three and their ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = start_embedded(folder / "postgres")
        url = server.database_url("store")
        migrate(database(url, "store"))
        fill(url, entries)
        key = folder / "key.pem"
        key.write_bytes(new_key())
        settings = load(
            store_url=url,
            ledger_url=url,
            reports_dir=folder / "reports",
            var_dir=folder,
            checkpoint_key_file=key,
        )
        service = Service(settings)
        auditing.checkpoint_now(service)
        export = folder / "export"
        export_s, _ = timed(lambda: auditing.export_log(service, export))
        held = (export / auditing.LOG).read_bytes().splitlines()

        def alone() -> None:
            sha256 = hashlib.sha256
            for entry in held:
                sha256(entry).digest()

        def from_file() -> None:
            found = auditing.verify_file(export / auditing.LOG)
            assert found.ok and found.report.size == entries and found.signed == 1, found

        def from_database() -> None:
            found = auditing.verify_log(service)
            assert found.ok and found.report.size == entries + 1 and found.signed == 1, found

        took: dict[str, list[tuple[float, float]]] = {"hash": [], "file": [], "database": []}
        for _ in range(runs):
            for name, work in (("hash", alone), ("file", from_file), ("database", from_database)):
                took[name].append(timed(work))
        with service.store.writing() as writer:
            for number in range(NEW):
                writer.log("tick", {"number": number})
        grown: dict[str, list[tuple[float, float]]] = {"new": [], "whole": []}
        for _ in range(runs):
            grown["new"].append(timed(lambda: auditing.checkpoint(service)))
            grown["whole"].append(timed(lambda: auditing.checkpoint(service, whole=True)))
        assert auditing.checkpoint(service).size == entries + 1 + NEW
    wall = {name: [seconds for seconds, _ in each] for name, each in took.items()}
    cpu = {name: median(cpu for _, cpu in each) for name, each in took.items()}

    def ratio(name: str) -> float:
        """Of each run with the hashing beside it: the machine is as busy for both."""
        return median(a / b for a, b in zip(wall[name], wall["hash"], strict=True))

    return {
        "entries": entries,
        "mean_bytes": round(sum(map(len, held)) / entries),
        "cores": len(os.sched_getaffinity(0)),
        "runs": runs,
        **{f"{name}_s": round(median(each), 3) for name, each in wall.items()},
        **{f"{name}_cpu_s": round(each, 3) for name, each in cpu.items()},
        "file_ratio": round(ratio("file"), 2),
        "database_ratio": round(ratio("database"), 2),
        "checkpoint_s": round(median(s for s, _ in grown["new"]), 3),
        "whole_checkpoint_s": round(median(s for s, _ in grown["whole"]), 2),
        "export_s": round(export_s, 2),
    }


def main() -> None:
    """Print the figures for people, or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args()
    result = measure(given.entries, given.runs)
    if given.json:
        print(json.dumps(result))
        return
    print(
        f"{result['entries']} entries of {result['mean_bytes']} bytes, {result['cores']} cores, "
        f"median of {result['runs']}"
    )
    print(f"hashing alone            {result['hash_s']} s ({result['hash_cpu_s']} s of processor)")
    for name, words in (("file", "an exported file "), ("database", "the database     ")):
        print(
            f"verify {words} {result[f'{name}_s']} s ({result[f'{name}_cpu_s']} s of processor, "
            f"without the server's), ratio {result[f'{name}_ratio']}"
        )
    print(
        f"checkpoint of {NEW} more  {result['checkpoint_s']} s; with all of the log read again "
        f"{result['whole_checkpoint_s']} s; export {result['export_s']} s"
    )


if __name__ == "__main__":
    main()
