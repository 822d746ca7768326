"""500 reports due at the same minute, 200 recipients each: the service against rendering alone.

One `reporting serve` with two workers on a PostgreSQL and a relay of its own (both with fsync and
real sockets; the relay counts and keeps nothing). The reports are of 84 days, each for six
audiences; the first audience of a day issues its report, the others find it as it was issued.
Beside it, in the same run, two processes do nothing but render the same documents, each once.
While the service works, /livez and /readyz are asked ten times a second, and the memory of all its
processes is added up once a second.

    python benchmarks/load.py [--reports 500] [--recipients 200] [--attach] [--quick] [--json]
    python benchmarks/load.py --catch-up 30     # so many days that nobody closed, then a start

--quick is 20 reports for 50 recipients. Catching up is closing and issuing each day in order, with
nobody there; nothing but the service's own start is done.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.torture.sealing import days_between, seal, settings_of  # noqa: E402
from tests.torture.world import (  # noqa: E402
    ZONE,
    Postgres,
    children_of,
    free_port,
    make_ledger,
    yesterday,
)

AUDIENCES = 6
DUE = clock(0, 30)
WORKERS = 2
PAGE = os.sysconf("SC_PAGE_SIZE")


# ---- the relay ----------------------------------------------------------------------------------


async def _sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything; SMTP as far as a client needs it."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        writer.write(b"220 sink\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                writer.write(b"250-sink\r\n250 SIZE 33554432\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 OK\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 OK\r\n")
            await writer.drain()
    writer.close()


def relay(port: int) -> None:
    """Serve until killed."""

    async def serve() -> None:
        server = await asyncio.start_server(_sink, "127.0.0.1", port, limit=1 << 25)
        await server.serve_forever()

    asyncio.run(serve())


# ---- what is watched ----------------------------------------------------------------------------


@dataclass
class Watch:
    """Answers of the health checks in seconds, and memory in bytes, while the service works."""

    pid: int
    port: int
    answers: list[float] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    peak_bytes: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def start(self) -> list[threading.Thread]:
        """Both in threads of their own."""
        threads = [threading.Thread(target=work) for work in (self._ask, self._weigh)]
        for thread in threads:
            thread.start()
        return threads

    def _ask(self) -> None:
        number = 0
        while not self.done.wait(0.1):
            number += 1
            path = ("livez", "readyz")[number % 2]
            began = time.monotonic()
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{self.port}/{path}", timeout=10
                ) as answer:
                    answer.read()
            except (urllib.error.URLError, OSError) as error:
                self.bad.append(f"{path}: {error}")
            self.answers.append(time.monotonic() - began)

    def _weigh(self) -> None:
        while not self.done.wait(1.0):
            total = 0
            for pid in (self.pid, *children_of(self.pid)):
                with suppress(OSError, IndexError):
                    total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
            self.peak_bytes = max(self.peak_bytes, total)

    def p99_s(self) -> float:
        """What 99 of 100 answers took at most."""
        ordered = sorted(self.answers)
        return ordered[int(len(ordered) * 0.99)] if ordered else float("nan")


@contextmanager
def serving(folder: Path, settings: dict[str, str]) -> Iterator[Watch]:
    """A real `reporting serve`, watched from its first answer on."""
    port = free_port()
    environ = {f"REPORTING_{k.upper()}": v for k, v in settings.items()}
    environ |= {"REPORTING_HTTP_PORT": str(port), "PYTHONPATH": str(ROOT)}
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "reporting", "serve"],
            env={**os.environ, **environ}, cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    watch = Watch(process.pid, port)
    threads: list[threading.Thread] = []
    try:
        while True:
            assert process.poll() is None, (folder / "serve.log").read_text()[-2000:]
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5).close()
                break
            time.sleep(0.05)
        threads = watch.start()
        yield watch
    finally:
        watch.done.set()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        for thread in threads:
            thread.join()


# ---- the load -----------------------------------------------------------------------------------


def schedule(reports: int, recipients: int, attach: bool) -> str:
    """Reports of different days that are all due today at one minute; they differ in due_after."""
    lines = ['catch_up = "9 days"']
    for audience in range(1, min(AUDIENCES, reports) + 1):
        for n in range(1, recipients + 1):
            name = f"p{audience}-{n}"
            lines += ["[[recipient]]", f'name = "{name}"', f'address = "{name}@example.test"',
                      'class = "internal"']  # fmt: skip
    for number in range(reports):
        days, audience = number // AUDIENCES + 1, number % AUDIENCES + 1
        names = [f"p{audience}-{n}" for n in range(1, recipients + 1)]
        lines += [
            "[[report]]",
            f'name = "d{days}-a{audience}"',
            'kind = "daily"',
            'due_time = "00:30"',
            f'due_after = "{days} session"',
            'deadline = "12 hours"',
            f"attach = {str(attach).lower()}",
            f"recipients = {json.dumps(names)}",
        ]
    return "\n".join(lines) + "\n"


def rendered(bodies: list[bytes]) -> int:
    """Render documents, one after the other; how many files."""
    from reporting.page import Document  # noqa: PLC0415
    from reporting.pipeline.issuing import files_of  # noqa: PLC0415

    return sum(len(files_of(Document.model_validate_json(body))) for body in bodies)


def rendering_alone_s(bodies: list[bytes]) -> float:
    """The same by as many processes as the service has workers; seconds."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(WORKERS) as pool:
        pool.map(rendered, [bodies[:1]] * WORKERS)  # imports, fonts
        began = time.monotonic()
        pool.map(rendered, [[body] for body in bodies], chunksize=1)
        return time.monotonic() - began


def say(words: str) -> None:
    """How far it is, for who watches."""
    if sys.stderr.isatty():
        print(f"\r{words}", end="", file=sys.stderr, flush=True)


def load(made: World, reports: int, recipients: int, attach: bool) -> dict[str, Any]:
    """All due at once, until all is issued and mailed; figures."""
    postgres, folder = made.postgres, made.folder
    now = datetime.now(UTC)
    due = now.astimezone(ZoneInfo(ZONE)).replace(hour=0, minute=30, second=0, microsecond=0)
    if due > now:
        due -= timedelta(1)
    store = "load"
    postgres.run(f"create database {store} template sealed")
    postgres.run(
        "insert into reporting.reconciled (until) values (%s)", store, due - timedelta(minutes=1)
    )
    (folder / "schedule.toml").write_text(schedule(reports, recipients, attach))
    settings = made.settings(store)
    counts = """select (select count(*) from reporting.run where state = 'issued'),
        (select count(*) from reporting.outbox where state = 'sent'),
        (select count(*) from reporting.run), (select count(*) from reporting.outbox),
        (select count(*) from reporting.run where state in ('failed', 'missed'))"""
    issued_s = 0.0
    began = time.monotonic()
    with serving(folder, settings) as watch:
        while True:
            issued, sent, runs, mails, failed = postgres.run(counts, store)[0]
            if issued == reports and not issued_s:
                issued_s = time.monotonic() - began
            if issued == reports and sent == reports * recipients:
                break
            assert not failed, (folder / "serve.log").read_text()[-2000:]
            say(f"{time.monotonic() - began:6.0f} s: {issued} of {runs} issued, {sent} of {mails}")
            time.sleep(1.0)
        all_s = time.monotonic() - began
    bodies = [bytes(row[0]) for row in postgres.run(
        "select body from reporting.issued_report order by period desc", store)]  # fmt: skip
    alone_s = rendering_alone_s(bodies)
    return {
        "reports": reports,
        "mails": reports * recipients,
        "seconds": round(all_s, 1),
        "reports_per_min": round(60 * reports / issued_s, 1),
        "mails_per_s": round(reports * recipients / all_s, 1),
        "rendering_alone_s": round(alone_s, 1),
        "rendering_alone_reports_per_min": round(60 * len(bodies) / alone_s, 1),
        "documents": len(bodies),
        "ratio_to_rendering": round(all_s / alone_s, 2),
        "peak_rss_mib": round(watch.peak_bytes / 2**20),
        "health_asked": len(watch.answers),
        "health_p99_ms": round(1000 * watch.p99_s()),
        "health_max_ms": round(1000 * max(watch.answers, default=0.0)),
        "health_not_ok": watch.bad[:5],
    }


def catch_up(made: World, days: int) -> dict[str, Any]:
    """A service that was away for ``days`` days is started; figures."""
    postgres, folder = made.postgres, made.folder
    store = "away"
    postgres.run(f"create database {store} template open")
    first = yesterday(1, DUE) - timedelta(days)  # the days from it to the day before yesterday
    since = datetime(first.year, first.month, first.day, 20, tzinfo=UTC)
    postgres.run("insert into reporting.reconciled (until) values (%s)", store, since)
    (folder / "schedule.toml").write_text(
        'catch_up = "60 days"\n[[report]]\nname = "daily"\nkind = "daily"\ndue_time = "00:30"\n'
        'due_after = "1 session"\ndeadline = "4 hours"\nrecipients = ["desk"]\n'
        '[[recipient]]\nname = "desk"\naddress = "desk@example.test"\nclass = "internal"\n'
    )
    began = time.monotonic()
    with serving(folder, made.settings(store)) as watch:
        while True:
            open_, issued = postgres.run(
                "select count(*) filter (where state = 'expected'), count(revision) from "
                "reporting.run", store)[0]  # fmt: skip
            unsent = postgres.run(
                "select count(*) from reporting.outbox where state <> 'sent'", store
            )[0][0]
            if issued and not open_ and not unsent:
                break
            say(f"{time.monotonic() - began:6.0f} s: {issued} issued, {open_} to come")
            time.sleep(1.0)
        all_s = time.monotonic() - began
    entries = [
        json.loads(bytes(row[0])) for row in postgres.run(
            "select entry from audit.log order by seq", store)
    ]  # fmt: skip
    closed = [e["body"]["day"] for e in entries if e["event"] == "day sealed"]
    reports = [e["body"]["report"] for e in entries if e["event"] == "report issued"]
    return {
        "days_closed": len(closed),
        "reports": len(reports),
        "seconds": round(all_s, 1),
        "closed_in_order": closed == sorted(closed),
        "issued_in_order": reports == sorted(reports),
        "each_once": len(set(reports)) == len(reports),
        "peak_rss_mib": round(watch.peak_bytes / 2**20),
        "health_p99_ms": round(1000 * watch.p99_s()),
    }


@dataclass
class World:
    """A server with sealed days, a relay, a folder."""

    folder: Path
    postgres: Postgres
    smtp: int

    def settings(self, store: str) -> dict[str, str]:
        """Of the service."""
        return {
            **settings_of(self.postgres, store, self.folder),
            "reports_dir": str(self.folder / store),
            "workers": str(WORKERS),
            "tick_s": "1",
            "lease_s": "60",
            "smtp_host": "127.0.0.1",
            "smtp_port": str(self.smtp),
            "smtp_security": "none",
            "smtp_sender": "Reports <reports@example.test>",
            "mail_domain": "reports.example.test",
            "log_level": "warning",
        }


@contextmanager
def world(days: int, unsealed: int) -> Iterator[World]:
    """``days`` days of facts, of which the store ``open`` lacks the last ``unsealed``."""
    folder = Path(tempfile.mkdtemp(prefix="load-"))
    folder.chmod(0o755)
    postgres = Postgres(folder / "postgres")
    smtp = free_port()
    sink = multiprocessing.get_context("spawn").Process(target=relay, args=(smtp,), daemon=True)
    try:
        postgres.init()
        postgres.start()
        sink.start()
        make_ledger(postgres, "ledger", yesterday(days, DUE), yesterday(1, DUE))
        seal(postgres, folder, days_between(yesterday(days, DUE), yesterday(1, DUE)), unsealed)
        yield World(folder, postgres, smtp)
    finally:
        sink.kill()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--reports", type=int, default=500)
    parser.add_argument("--recipients", type=int, default=200)
    parser.add_argument("--attach", action="store_true", help="with the PDF, 0.3 MB a mail")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--catch-up", type=int, default=0, metavar="DAYS")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    reports, recipients = (20, 50) if asked.quick else (asked.reports, asked.recipients)
    if asked.catch_up:
        with world(asked.catch_up + 3, asked.catch_up) as made:
            found = catch_up(made, asked.catch_up)
    else:
        with world(-(-reports // AUDIENCES) + 2, 2) as made:
            found = load(made, reports, recipients, asked.attach)
    if asked.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name.replace('_', ' '):32} {value}")


if __name__ == "__main__":
    main()
