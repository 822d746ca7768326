"""What has been sealed and issued, and the log of it: append-only, in PostgreSQL.

The role that the service runs as may add rows and may not change any; the audit log takes entries
through one function only (sql/migrations).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd

from .errors import SourceUnavailable, ValidationFailed
from .measures.incidents import LATER, NO_SOURCE, Incident
from .model import Coverage, Frame, Missing, Why, Window, epoch_ms
from .page import Checkpoint
from .postgres import (
    Database,
    Session,
    newest_version,
    queries,
    refusal_raised,
    schema_version,
)
from .runs import Queue
from .seal import GENESIS, PART, LogEntry, LogPart, Stored, canonical, part_of, part_of_rows

BATCH = 10_000
ROW = 8 + 3 * 32  # bytes of a log entry's number and hashes
LEAVES = 1 << 18  # leaf hashes that are read at once: 8 MiB
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Incidents are read for so long after the window: one of an alert is opened a little after it.
INCIDENT_MARGIN = timedelta(hours=1)


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

    @property
    def name(self) -> str:
        """As the log and a purge call it."""
        return f"{self.day}/r{self.revision}"


@dataclass(frozen=True)
class ReportRow:
    """One revision of one issued report; ``body`` is its Document as canonical JSON.

    It is empty where the report was purged.
    """

    kind: str
    period: str
    revision: int
    digest: str
    body: bytes
    provenance: bytes
    issued_at: datetime
    reason: str

    @property
    def name(self) -> str:
        """As the log and a purge call it."""
        return f"{self.kind}/{self.period}/r{self.revision}"


@dataclass(frozen=True)
class SignOffRow:
    """Who stands for one revision of a report; ``person`` is the operating system's user."""

    kind: str
    period: str
    revision: int
    role: str
    person: str
    name: str
    note: str
    at: datetime

    @property
    def report(self) -> str:
        """The revision as the log calls it."""
        return f"{self.kind}/{self.period}/r{self.revision}"


@dataclass(frozen=True)
class HoldRow:
    """A legal hold on a report or on the days from ``first`` to ``last``, and its release."""

    entry: int
    kind: str | None
    period: str | None
    first: date | None
    last: date | None
    reason: str
    person: str
    at: datetime
    released_at: datetime | None
    released_by: str | None
    released_because: str | None

    @property
    def on(self) -> str:
        """What is held, in words."""
        return f"{self.kind}/{self.period}" if self.kind else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class RecordRow:
    """Something that has a body; ``record`` is a report's kind, sealed_day or closing_book."""

    record: str
    name: str
    since: datetime


@dataclass(frozen=True)
class PurgedRow:
    """What has no body any more; ``name`` as in :class:`RecordRow`."""

    record: str
    name: str
    digest: str
    reason: str
    class_: str
    until: date
    person: str
    at: datetime

    @property
    def words(self) -> str:
        """When and by whom."""
        return f"purged on {self.at.date()} by {self.person}: {self.reason}"


class Store:
    """Reads of the store; writes happen inside :meth:`writing`, all or nothing."""

    def __init__(self, database: Database, actor: str = "") -> None:
        """``actor`` is who runs the command, for the log; "" leaves it out."""
        self._database = database
        self._actor = actor
        self._queries = {**queries("store"), **queries("incidents")}
        self._queues = queries("runs")

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """One transaction: what is sealed or issued, and the log entry that says so."""
        with self._database.transaction() as session:
            yield Writer(session, self._queries, self._actor, self._queues)

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

    def superseded(self, first: date, last: date) -> list[SealedRow]:
        """The revisions but the newest one of the days from ``first`` to ``last``, in order."""
        return [SealedRow(**r) for r in self._rows("superseded_days", first=first, last=last)]

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

    def signed_parts(self, kind: str, period: str, revision: int) -> dict[str, bytes]:
        """What was kept of a report's signature, by file name; empty where it has none."""
        rows = self._rows("signed_parts", kind=kind, period=period, revision=revision)
        return {row["name"]: bytes(row["body"]) for row in rows}

    def report_index(self) -> list[dict[str, Any]]:
        """Kind, period, newest revision and time of issue of every report."""
        return self._rows("report_index")

    def sign_offs(self, kind: str = "", period: str = "") -> list[SignOffRow]:
        """The sign-offs of every revision of one report, or of all."""
        rows = self._rows("sign_offs", kind=kind, period=period)
        return [SignOffRow(**row) for row in rows]

    def open_for_review(self) -> list[dict[str, Any]]:
        """The newest revision of every report that not both have signed off, and who has."""
        return self._rows("open_for_review")

    def reviews(self, first: date, last: date, by: datetime) -> tuple[tuple[str, int], ...]:
        """The daily reports of a span as they were at a moment, and how many signed each."""
        rows = self._rows("reviews", first=first, last=last, by=by)
        return tuple((row["report"], row["people"]) for row in rows)

    def holds(self) -> list[HoldRow]:
        """Every legal hold, those that were released too."""
        return [HoldRow(**row) for row in self._rows("holds")]

    def records(self) -> list[RecordRow]:
        """Everything that retention is about and that has not been purged."""
        return [RecordRow(**row) for row in self._rows("records")]

    def kept(self, items: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], str]:
        """Why each of some records is kept whatever its class says; "" where it may go."""
        rows = self._rows("kept", items=json.dumps(items))
        return {(row["record"], row["name"]): row["because"] for row in rows}

    def purged(self) -> dict[tuple[str, str], PurgedRow]:
        """What was purged, by record and name."""
        rows = [
            PurgedRow(**{("class_" if k == "class" else k): v for k, v in row.items()})
            for row in self._rows("purged")
        ]
        return {(row.record, row.name): row for row in rows}

    def purge(self, items: Sequence[Mapping[str, str]], reason: str, person: str) -> int:
        """Empty the bodies of ``items``, all or none, with their entries in the log; how many.

        Only for the role that may; :class:`ValidationFailed` where the database refuses.
        """
        given = {"items": json.dumps(items), "reason": reason, "person": person}
        with self._database.transaction() as session, refusal_raised():
            purged: int = session.rows(self._queries["purge"], **given)[0]["purged"]
            return purged

    def checkpoint(self) -> Checkpoint:
        """Size and chain hash of the audit log; the genesis hash while it is empty."""
        rows = self._rows("log_head")
        if not rows:
            return Checkpoint(size=0, chain_hash=GENESIS.hex())
        return Checkpoint(size=rows[0]["seq"], chain_hash=rows[0]["chain_hash"].hex())

    def log_size(self) -> int:
        """How many entries the audit log should have: the number of its last one.

        :class:`ValidationFailed` where it has one before the first.
        """
        first, last = self._rows("log_span")[0].values()
        if first is not None and first < 1:
            raise ValidationFailed(
                f"the audit log has an entry {first}; expected 1 as the first: it was changed"
            )
        return last or 0

    def log_parts(self, first: int, last: int, wanted: Collection[int] = ()) -> Iterator[LogPart]:
        """Entries ``first`` to ``last`` of the audit log, hashed; see :func:`part_of`."""
        with self._database.snapshot() as session:
            while first <= last:
                end = min(first - 1 - (first - 1) % PART + PART, last)
                yield self._log_part(session, first, end, wanted)
                first = end + 1

    def _log_part(
        self, session: Session, first: int, last: int, wanted: Collection[int]
    ) -> LogPart:
        count = last - first + 1
        blocks = session.binary_rows(self._queries["log_part"], first=first, last=last)
        joined = b"\n".join([block for block, _ in blocks])
        entries = joined.split(b"\n")
        columns = b"".join([hashes for _, hashes in blocks])
        if len(entries) == count and len(columns) == ROW * count:
            table = np.frombuffer(columns, np.uint8).reshape(count, ROW)
            numbers = np.arange(first, last + 1, dtype=">i8").tobytes()
            if table[:, :8].tobytes() == numbers:
                hashes = (table[:, at : at + 32].tobytes() for at in (8, 40, 72))
                return part_of(first, entries, wanted, Stored(*hashes), joined)
        # Something is missing or is no hash: row by row it can be named.
        rows = session.rows(self._queries["log_range"], first=first, last=last)
        return part_of_rows(first, last, [LogEntry(**row) for row in rows], wanted)

    def log_lines(self, size: int) -> Iterator[bytes]:
        """The first ``size`` entries as they are, each on a line of its own, in pieces."""
        with self._database.snapshot() as session:
            for first in range(1, size + 1, PART):
                last = min(first + PART - 1, size)
                blocks = session.binary_rows(self._queries["log_part"], first=first, last=last)
                yield from (joined + b"\n" for joined, _ in blocks)

    def log_leaves(self, size: int) -> Iterator[bytes]:
        """Leaf hashes of the first ``size`` entries as stored, streamed."""
        for first in range(1, size + 1, LEAVES):
            with self._database.snapshot() as session:
                last = min(first + LEAVES - 1, size)
                rows = session.binary_rows(self._queries["log_leaves"], first=first, last=last)
            column = rows[0][0]
            if len(column) != 32 * (last - first + 1):
                raise ValidationFailed(
                    f"the audit log has not all of the entries {first} to {last}: it was changed; "
                    "`reporting audit verify` says more"
                )
            yield from (column[at : at + 32] for at in range(0, len(column), 32))

    def log_entry(self, seq: int) -> LogEntry | None:
        """One entry of the audit log."""
        rows = self._rows("log_range", first=seq, last=seq)
        return LogEntry(**rows[0]) if rows else None

    def issued_entries(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number and body of each entry that says that a report was issued, the newest first."""
        for row in self._rows("issued_in_log"):
            yield row["seq"], json.loads(row["entry"])["body"]

    def key_changes(self) -> list[tuple[int, bytes]]:
        """Number and text of each entry that says that the key of checkpoints changed, in order."""
        return [(row["seq"], bytes(row["entry"])) for row in self._rows("key_changes")]

    def may_append(self) -> bool:
        """Whether the role that we run as may write to the audit log; an auditor's may not."""
        return bool(self._rows("may_append")[0]["may"])

    def configuration(self) -> dict[str, Any]:
        """What the log last said of the configuration in use; empty where it never did."""
        return _configuration(self._rows("configuration_entry"))

    def log(self) -> Iterator[LogEntry]:
        """Every entry of the audit log in order, streamed in batches."""
        after = 0
        while rows := self._rows("log_entries", after=after, most=BATCH):
            for row in rows:
                yield LogEntry(**row)
            after = rows[-1]["seq"]

    def incidents(self, window: Window, known_at: datetime) -> Frame | Missing:
        """Incidents opened or open in ``window`` (and an hour after) as known at ``known_at``.

        A row an incident, columns as the fields of :class:`Incident`. Missing where no import
        covers the whole window: to know of an incident is not to know of all.
        """
        asked = {"since": window.start, "until": window.end, "known_at": known_at}
        with self._database.snapshot() as session:
            imports = session.rows(self._queries["incident_coverage"], **asked)
            rows = session.rows(
                self._queries["incidents"], **asked | {"until": window.end + INCIDENT_MARGIN}
            )
        reached = window.start
        for each in imports:
            if each["covers_from"] <= reached:
                reached = max(reached, each["covers_until"])
        if not imports:
            return NO_SOURCE
        if reached < window.end:
            return Missing(
                why=Why.NOT_MEASURED,
                detail=f"incidents are known in full until {reached.isoformat()} only: import "
                "them, or say that there were none (reporting incidents)",
            )
        found = [_incident(row) for row in rows]
        sql = self._queries["incidents"].sql
        coverage = Coverage(
            source="incidents",
            query="incidents",
            query_digest=sha256(sql.encode()).hexdigest(),
            rows=len(found),
            control={"imports": str(len(imports))},
        )
        # Objects, or pandas would turn absent times into floats.
        fields = list(Incident.model_fields)
        table = pd.DataFrame(
            [[getattr(i, name) for name in fields] for i in found], columns=fields, dtype=object
        )
        return Frame(table, coverage)

    def incidents_between(
        self, since: datetime, until: datetime, known_at: datetime
    ) -> list[Incident]:
        """Incidents opened or open between two instants, whether all are known or not."""
        rows = self._rows("incidents", since=since, until=until, known_at=known_at)
        return [_incident(row) for row in rows]

    def record_incidents(
        self,
        event: str,
        source: str,
        incidents: Sequence[Incident],
        now: datetime,
        *,
        digest: str = "",
        covers: Window | None = None,
        note: Mapping[str, str] | None = None,
    ) -> int:
        """Append what differs from what is recorded, with its entry in the audit log; how many.

        ``covers`` says for which time these and those recorded before are all there were;
        ``digest`` is of what was read.
        """
        with self.writing() as writer:
            added = writer.add_incidents(incidents, now)
            if covers is not None:
                writer.add_incident_import(source, now, len(incidents), digest, covers)
            body = {"source": source, "read": len(incidents), "added": added, "digest": digest}
            body |= {"recorded_at": now.isoformat(), **(note or {})}
            if covers is not None:
                body |= {"from": covers.start.isoformat(), "until": covers.end.isoformat()}
            writer.log(event, body)
        return added

    def first_incident_change(self, after: datetime, until: datetime) -> datetime | None:
        """The first instant whose day may differ by what was recorded in ``(after, until]``."""
        found: datetime | None = self._rows("first_incident_change", after=after, until=until)[0][
            "at"
        ]
        return found

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

    def __init__(
        self,
        session: Session,
        named: Mapping[str, Any],
        actor: str = "",
        queues: Mapping[str, Any] | None = None,
    ) -> None:
        self._session = session
        self._queries = named
        self._actor = actor
        #: The service's queues, in the same transaction.
        self.queue = Queue(session, queues or {})

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

    def add_signed_parts(self, row: ReportRow, parts: Mapping[str, bytes]) -> None:
        """Keep what signing a report added: it can not be made again."""
        of = {"kind": row.kind, "period": row.period, "revision": row.revision}
        for name, body in parts.items():
            self._session.run(self._queries["add_signed_part"], **of, name=name, body=body)

    def add_sign_off(
        self, row: ReportRow, role: str, person: str, name: str, note: str
    ) -> datetime:
        """A person stands for a revision; when, by the server's clock.

        :class:`ValidationFailed` where the database refuses: the same role twice, a reviewer who
        prepared it, a revision that is superseded.
        """
        of = {"kind": row.kind, "period": row.period, "revision": row.revision}
        given = {"role": role, "person": person, "name": name, "note": note, "digest": row.digest}
        with refusal_raised():
            at: datetime = self._session.rows(self._queries["add_sign_off"], **of, **given)[0]["at"]
        return at

    def add_hold(self, person: str, reason: str, **on: Any) -> int:
        """A hold on ``kind`` and ``period`` or on ``first`` to ``last``, or what ``releases`` one.

        Returns the number of the entry.
        """
        empty = dict.fromkeys(("releases", "kind", "period", "first", "last"))
        given = {**empty, **on, "person": person, "reason": reason}
        with refusal_raised():
            entry: int = self._session.rows(self._queries["add_hold"], **given)[0]["entry"]
        return entry

    def add_incidents(self, incidents: Sequence[Incident], recorded_at: datetime) -> int:
        """Append a version of each incident that differs from the newest one; how many did."""
        known: dict[tuple[str, str], Incident] = {}
        for source in {i.source for i in incidents}:
            ids = [i.id for i in incidents if i.source == source]
            rows = self._session.rows(self._queries["newest_incidents"], source=source, ids=ids)
            known |= {(source, row["id"]): _incident(row) for row in rows}
        changed = [i for i in incidents if known.get((i.source, i.id)) != i]
        for incident in changed:
            fields = incident.model_dump()
            times = {
                f"{name.removesuffix('_ms')}_at": _at(fields.pop(name))
                for name in ("opened_ms", *LATER)
            }
            self._session.run(
                self._queries["add_incident"], recorded_at=recorded_at, **fields, **times
            )
        return len(changed)

    def add_incident_import(
        self, source: str, imported_at: datetime, rows: int, digest: str, covers: Window
    ) -> None:
        """Say that every incident of ``covers`` is recorded from now on."""
        self._session.run(
            self._queries["add_incident_import"],
            source=source,
            imported_at=imported_at,
            rows=rows,
            digest=digest,
            covers_from=covers.start,
            covers_until=covers.end,
        )

    def configuration(self) -> dict[str, Any]:
        """As :meth:`Store.configuration`; nobody else can append until this transaction ends."""
        self._session.rows(self._queries["lock_log"])
        return _configuration(self._session.rows(self._queries["configuration_entry"]))

    def locked_size(self) -> int:
        """How many entries the log has; nobody else can append until this transaction ends."""
        self._session.rows(self._queries["lock_log"])
        return self._session.rows(self._queries["log_span"])[0]["last"] or 0

    def log(self, event: str, body: Mapping[str, Any]) -> Checkpoint:
        """Append to the audit log; the log's new head.

        The database adds its clock and the role; who ran the command is added here.
        """
        body = {"by": self._actor, **body} if self._actor else body
        rows = self._session.rows(
            self._queries["append_log"], event=event, body=canonical(body).decode("utf-8")
        )
        return Checkpoint(size=rows[0]["seq"], chain_hash=rows[0]["chain_hash"].hex())

    def _once(self, name: str, taken: str, row: SealedRow | ReportRow) -> None:
        if not self._session.run(self._queries[name], **vars(row)):
            raise SourceUnavailable(f"{taken} by another process; run the command again to compare")


def _configuration(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rows[0]["entry"])["body"] if rows else {}
    return found


def _at(ms: int | None) -> datetime | None:
    return None if ms is None else EPOCH + timedelta(milliseconds=ms)


def _incident(row: Mapping[str, Any]) -> Incident:
    fields = dict(row)
    for name in ("opened_ms", *LATER):
        at = fields.pop(f"{name.removesuffix('_ms')}_at")
        fields[name] = None if at is None else epoch_ms(at)
    return Incident.model_validate(fields)
