"""What has been sealed and issued, and the log of it: append-only, in PostgreSQL.

The role that the service runs as may add rows and may not change any; the audit log takes entries
through one function only (sql/migrations).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from .errors import SourceUnavailable
from .page import Checkpoint
from .postgres import Database, Session, newest_version, queries, schema_version
from .seal import GENESIS, LogEntry, canonical

BATCH = 10_000


@dataclass(frozen=True)
class SealedRow:
    """One revision of one sealed day as stored; ``body`` is its canonical JSON."""

    day: date
    revision: int
    digest: str
    body: bytes
    known_at: datetime
    sealed_at: datetime
    reason: str


@dataclass(frozen=True)
class ReportRow:
    """One revision of one issued report; ``body`` is its Document as canonical JSON."""

    kind: str
    period: str
    revision: int
    digest: str
    body: bytes
    provenance: bytes
    issued_at: datetime
    reason: str


class Store:
    """Reads of the store; writes happen inside :meth:`writing`, all or nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = queries("store")

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """One transaction: what is sealed or issued, and the log entry that says so."""
        with self._database.transaction() as session:
            yield Writer(session, self._queries)

    def day(self, day: date, revision: int | None = None) -> SealedRow | None:
        """The newest revision of a day, or the one that is asked for."""
        if revision is None:
            rows = self._rows("latest_day", day=day)
        else:
            rows = self._rows("day_revision", day=day, revision=revision)
        return SealedRow(**rows[0]) if rows else None

    def days(self, first: date, last: date) -> list[SealedRow]:
        """The newest revision of every sealed day from ``first`` to ``last``."""
        return [SealedRow(**row) for row in self._rows("latest_days", first=first, last=last)]

    def day_index(self) -> list[dict[str, Any]]:
        """Day, revision and known_at of every sealed day, in order."""
        return self._rows("day_index")

    def known_until(self) -> datetime | None:
        """The latest moment up to which the ledger has been taken into account."""
        found: datetime | None = self._rows("known_until")[0]["known_at"]
        return found

    def revisions(self, day: date) -> list[SealedRow]:
        """All revisions of a day, the first one first."""
        return [SealedRow(**row) for row in self._rows("day_revisions", day=day)]

    def book(self, digest: str) -> bytes | None:
        """A closing book's canonical JSON, or None where there is none of that digest."""
        rows = self._rows("closing_book", digest=digest)
        return bytes(rows[0]["body"]) if rows else None

    def report(self, kind: str, period: str, revision: int | None = None) -> ReportRow | None:
        """The newest revision of a report, or the one that is asked for."""
        if revision is None:
            rows = self._rows("latest_report", kind=kind, period=period)
        else:
            rows = self._rows("report_revision", kind=kind, period=period, revision=revision)
        return ReportRow(**rows[0]) if rows else None

    def report_index(self) -> list[dict[str, Any]]:
        """Kind, period, newest revision and time of issue of every report."""
        return self._rows("report_index")

    def checkpoint(self) -> Checkpoint:
        """Size and chain hash of the audit log; the genesis hash while it is empty."""
        rows = self._rows("log_head")
        if not rows:
            return Checkpoint(size=0, chain_hash=GENESIS.hex())
        return Checkpoint(size=rows[0]["seq"], chain_hash=rows[0]["chain_hash"].hex())

    def log(self) -> Iterator[LogEntry]:
        """Every entry of the audit log in order, streamed in batches."""
        after = 0
        while rows := self._rows("log_entries", after=after, most=BATCH):
            for row in rows:
                yield LogEntry(**row)
            after = rows[-1]["seq"]

    def may_rewrite(self) -> bool:
        """Whether the role that we run as could change or remove what was sealed or logged."""
        return bool(self._rows("may_rewrite")[0]["may"])

    def check(self) -> str:
        """ "" if the schema is the one that this code expects, else what to do."""
        have, want = schema_version(self._database), newest_version()
        if have == want:
            return ""
        return f"schema version {have or 'none'}, expected {want}: run `reporting doctor --migrate`"

    def _rows(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        with self._database.snapshot() as session:
            return session.rows(self._queries[name], **parameters)


class Writer:
    """Appends inside one transaction."""

    def __init__(self, session: Session, named: Mapping[str, Any]) -> None:
        self._session = session
        self._queries = named

    def add_day(self, row: SealedRow) -> None:
        """Append a revision of a day; :class:`SourceUnavailable` if another process just did."""
        self._once("add_day", f"{row.day} r{row.revision} has just been sealed", row)

    def add_book(self, digest: str, body: bytes) -> None:
        """Keep a closing book; the same one twice is stored once."""
        self._session.run(self._queries["add_closing_book"], digest=digest, body=body)

    def add_report(self, row: ReportRow) -> None:
        """Append a revision of a report; :class:`SourceUnavailable` if another process just did."""
        name = f"{row.kind}/{row.period}/r{row.revision}"
        self._once("add_report", f"{name} has just been issued", row)

    def log(self, event: str, body: Mapping[str, Any]) -> Checkpoint:
        """Append to the audit log; the log's new head."""
        rows = self._session.rows(
            self._queries["append_log"], event=event, body=canonical(body).decode("utf-8")
        )
        return Checkpoint(size=rows[0]["seq"], chain_hash=rows[0]["chain_hash"].hex())

    def _once(self, name: str, taken: str, row: SealedRow | ReportRow) -> None:
        if not self._session.run(self._queries[name], **vars(row)):
            raise SourceUnavailable(f"{taken} by another process; run the command again to compare")
