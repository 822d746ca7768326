"""A deployment of its own for a test: clones of the demo's databases and a copy of its reports."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg2

from reporting.cli import main
from reporting.demo import story
from reporting.demo.story import Made, closing_time
from reporting.pipeline import Service
from reporting.seal import SealedDay
from reporting.settings import load
from reporting.store import Store

ROOT = Path(__file__).resolve().parents[2]
#: Nothing listens there: the connection is refused at once.
CLOSED = "http://127.0.0.1:1"
CLOSED_DATABASE = "postgresql://reader:hunter2-secret@127.0.0.1:1/ledger"
SECRET = "hunter2-secret"
LAST = date(2025, 12, 7)
#: The worker's name, part of the name of every database it makes; "" where there is only one.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")


def at(text: str) -> datetime:
    """An instant, from its ISO 8601 text."""
    return datetime.fromisoformat(text).astimezone(UTC)


@dataclass(frozen=True)
class Server:
    """The test session's PostgreSQL."""

    url: str  # of the maintenance database, as superuser

    def database(self, name: str, user: str = "postgres") -> str:
        """The URL of one of its databases."""
        return self.url.replace("postgres:@/postgres", f"{user}:@/{name}", 1)

    def run(self, sql: str, database: str = "postgres", user: str = "postgres") -> list[Any]:
        """Rows of a statement, committed by itself."""
        with connected(self.database(database, user)) as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def clone(self, name: str, template: str) -> None:
        """A database that starts as a copy of another.

        Copying its files takes two thirds of the time of logging every page of them.
        """
        self.run(f'create database "{name}" template "{template}" strategy file_copy')

    def drop(self, name: str) -> None:
        """Away with a database, whoever is still connected."""
        self.run(f'drop database if exists "{name}" with (force)')


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A cursor of a connection of its own, committing each statement."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


@dataclass(frozen=True)
class Demo:
    """One run of the demo, never changed by a test."""

    server: Server
    var: Path
    reports: Path
    made: Made

    @property
    def truth(self) -> dict[str, Any]:
        """The right answers about the sample ledger."""
        found: dict[str, Any] = json.loads((self.var / "ledger" / "truth.json").read_bytes())
        return found


@dataclass(frozen=True)
class Site:
    """A service over databases of its own."""

    server: Server
    ledger: str
    store_name: str
    reports: Path
    var: Path
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What the service is given; the store as the role that can't rewrite."""
        return {
            "ledger_url": self.server.database(self.ledger),
            "store_url": self.server.database(self.store_name, "reporting_app"),
            "store_admin_url": self.server.database(self.store_name),
            "issuer": "Sample Trading, operations",
            "calendar": "XNYS",
            "zone": "America/New_York",
            "base_currency": "USD",
            "reports_dir": self.reports,
            "var_dir": self.var,
            "operations_file": story.operations_file(self.var),
            **self.given,
        }

    def service(self, **changed: Any) -> Service:
        """The service, with some settings changed."""
        return Service(load(**{**self.settings, **changed}))

    @property
    def store(self) -> Store:
        """The store, read as the service reads it."""
        return self.service().store

    def ledger_sql(self, sql: str) -> list[Any]:
        """Change or read the firm's tables."""
        assert self.ledger != "ledger", "the demo's own ledger is nobody's to change"
        return self.server.run(sql, self.ledger)

    def store_sql(self, sql: str, user: str = "postgres") -> list[Any]:
        """Change or read the store, as superuser unless said otherwise."""
        return self.server.run(sql, self.store_name, user)

    def rows(self) -> dict[str, int]:
        """Rows of every table of the store; what a command says it runs with is not counted."""
        names = ("reporting.sealed_day", "reporting.closing_book", "reporting.issued_report")
        counted = {name: self.store_sql(f"select count(*) from {name}")[0][0] for name in names}
        logged = """select count(*) from audit.log
            where convert_from(entry, 'UTF8')::json ->> 'event' <> 'configuration changed'"""
        return {**counted, "audit.log": self.store_sql(logged)[0][0]}

    def files(self) -> dict[str, bytes]:
        """Every file of the reports folder but what is kept beside the witness to be quick."""
        return {n: b for n, b in files_of(self.reports).items() if not n.endswith(".jsonl.tree")}

    def environment(self, **changed: Any) -> dict[str, str]:
        """The environment of a command of this site; None takes a setting out."""
        names = {
            f"REPORTING_{name.upper()}": str(value)
            for name, value in {**self.settings, **changed}.items()
            if value is not None
        }
        return {**os.environ, "PYTHONPATH": str(ROOT), **names}

    def command(
        self, *words: str, cwd: Path | None = None, **changed: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run ``reporting …`` to its end, in this process."""
        return command(*words, cwd=cwd or self.var, env=self.environment(**changed))

    def process(
        self, *words: str, cwd: Path | None = None, **changed: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python -m reporting …`` to its end."""
        extra = changed.pop("environ", {})
        return subprocess.run(
            [sys.executable, "-m", "reporting", *words],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=cwd or self.var,
            env={**self.environment(**changed), **extra},
            timeout=120,
            check=False,
        )


def command(*words: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """``python -m reporting …`` without the two seconds in which a process of its own starts.

    The environment is ``env`` alone. What ends a process with a traceback is raised.
    """
    arguments, before = ["reporting", *words], signal.getsignal(signal.SIGTERM)
    output, errors = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, env, clear=True),
        mock.patch.object(sys, "argv", arguments),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:
            signal.signal(signal.SIGTERM, before)
    assert code is None or isinstance(code, int), code
    return subprocess.CompletedProcess(arguments, code or 0, output.getvalue(), errors.getvalue())


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, by its relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def sealed(store: Store, day: date, revision: int | None = None) -> SealedDay:
    """A sealed day; it has to be there."""
    row = store.day(day, revision)
    assert row is not None, f"{day} is not sealed"
    return SealedDay.model_validate_json(row.body)


def facts(store: Store, day: date, revision: int | None = None) -> Mapping[str, Any]:
    """The sealed facts of a day, as JSON."""
    return sealed(store, day, revision).facts


def revisions(store: Store, days: Sequence[date] | None = None) -> dict[date, int]:
    """The newest revision of every sealed day, or of some."""
    return {r["day"]: r["revision"] for r in store.day_index() if not days or r["day"] in days}


def after(day: date, hours: int) -> datetime:
    """Hours after the demo's close of ``day``."""
    closed = closing_time(day)
    return datetime.fromtimestamp(closed.timestamp() + 3600 * hours, UTC)
