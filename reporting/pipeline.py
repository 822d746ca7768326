"""The story, one short function a verb: close, build, issue, verify, status.

The only module that sees both the sources and the pure core. Time comes in as an argument: ``now``
is what the caller's clock says, and every moment that is printed is recorded when it happens.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from . import __version__, render
from .book import EMPTY_BOOK, Book, BookDay
from .document import NO_GAP, Cited, Issue, build, content
from .errors import NotReady, SourceUnavailable, UsageError, ValidationFailed
from .facts import MEASURES, fact_from, facts_of, worked_out
from .model import Coverage, Finding, Frame, Missing, Value, Why
from .page import Document, Kind
from .periods import (
    Span,
    TradingDay,
    days_between,
    next_session,
    previous_session,
    sessions_between,
    span,
    trading_day,
)
from .policy import Policy, parse_policy
from .postgres import APP_ROLE, Database, Embedded, database, migrate, start_embedded
from .seal import ChainReport, SealedDay, canonical, digest, verify_chain
from .settings import Settings, secret_of
from .sources.ledger import Ledger
from .sources.prometheus import PrometheusSource
from .store import ReportRow, SealedRow, Store, Writer

#: How many sessions before a daily report stand in its sparklines.
TRAIL = 10
WITNESS = "audit-witness.jsonl"
#: Late events are looked for from this long before the last look: a row may have been committed
#: after it with an earlier time of its own.
OVERLAP = timedelta(minutes=15)

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """The progress of a caller that does not want any."""


@dataclass(frozen=True)
class Service:
    """One deployment: its settings, and its sources and store opened when first used."""

    settings: Settings
    open_embedded: Callable[[Path], Embedded] = start_embedded

    @cached_property
    def embedded(self) -> Embedded:
        """The PostgreSQL server of our own, for what has no URL."""
        return self.open_embedded(self.settings.var_dir / "postgres")

    @cached_property
    def store(self) -> Store:
        """The store, migrated if it is our own."""
        return Store(self.store_database)

    @cached_property
    def store_database(self) -> Database:
        """Where the store lives; the embedded one is entered as the role that can't rewrite."""
        url = self.settings.url_of_store
        if url is not None:
            return database(url, "store")
        own = self.embedded.database_url("reporting")
        migrate(database(own, "store"))
        return database(own, "store", role=APP_ROLE)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger behind its contract views."""
        url = self.settings.url_of_ledger or self.embedded.database_url("ledger")
        return Ledger(database(url, "ledger"), self.settings.base_currency)

    @cached_property
    def prometheus(self) -> PrometheusSource | None:
        """The metrics server, or None where none is configured."""
        s = self.settings
        if s.prometheus_url is None:
            return None
        password = secret_of(s.prometheus_password_file)
        return PrometheusSource(
            s.prometheus_url,
            bearer_token=secret_of(s.prometheus_bearer_token_file),
            basic_auth=(s.prometheus_username, password)
            if s.prometheus_username and password
            else None,
            client_cert=str(s.prometheus_client_cert) if s.prometheus_client_cert else None,
            ca_file=str(s.prometheus_ca_file) if s.prometheus_ca_file else None,
            timeout_s=s.prometheus_timeout_s,
        )

    @cached_property
    def policy(self) -> Policy:
        """Thresholds and objectives as configured now."""
        s = self.settings
        try:
            files = sorted(s.objectives_dir.glob("*.yaml"))
            texts = {file.name: file.read_text("utf-8") for file in files}
            return parse_policy(s.policy_file.read_text("utf-8"), texts)
        except ValidationFailed as error:
            raise ValidationFailed(
                f"{error} (REPORTING_POLICY_FILE is {s.policy_file}, REPORTING_OBJECTIVES_DIR is "
                f"{s.objectives_dir})"
            ) from None
        except OSError as error:
            raise UsageError(
                f"the policy can't be read: {error} (REPORTING_POLICY_FILE, "
                "REPORTING_OBJECTIVES_DIR)"
            ) from None

    def trading_day(self, day: date) -> TradingDay:
        """``day`` in the book's calendar."""
        return trading_day(day, self.settings.calendar, self.settings.zone)


# --- close -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Closed:
    """What closing did to one day; ``revision`` 0 means it would be sealed (dry run)."""

    day: date
    revision: int
    outcome: str  # sealed | revised | unchanged
    reason: str
    gaps: tuple[str, ...]


def close(
    service: Service,
    day: date,
    now: datetime,
    *,
    reason: str = "",
    allow_gaps: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> list[Closed]:
    """Seal ``day`` and every day before it that is not sealed, and revise what late events change.

    ``now`` is up to when recorded events count. An unreachable source stops the close (exit 75,
    nothing of that day is sealed) unless ``allow_gaps``: then the gap itself is sealed, and closing
    the day again fills it.
    """
    target = service.trading_day(day)
    if now < target.window.end:
        raise NotReady(
            f"{day} ends at {target.window.end.isoformat()}, it is {now.isoformat()}; close it then"
        )
    closer = _Closer(service, now, reason, allow_gaps, dry_run)
    todo = {*closer.late_days(), *closer.unsealed_until(day), day}
    results = []
    last_sealed = max((row["day"] for row in service.store.day_index()), default=None)
    while todo:
        each = min(todo)
        todo.remove(each)
        progress(f"closing {each}")
        results.append(closer.close(each))
        if closer.book_changed:  # what follows opened with the book that was sealed before
            todo |= set(closer.sealed_sessions(after=each))
        # A restatement is whole or not at all: half of one would never be looked for again.
        if last_sealed is None or not todo or min(todo) > last_sealed:
            closer.flush()
    return results


@dataclass
class _Closer:
    """One run of ``close`` over several days.

    New days are sealed in a transaction of their own, all restated ones together.
    """

    service: Service
    now: datetime
    reason: str
    allow_gaps: bool
    dry_run: bool
    books: dict[date, Book | Missing] = field(default_factory=dict)
    book_changed: bool = False  # whether the last close revised the closing book of its day
    known_at: datetime | None = None  # until when late events were looked for, if not until now
    pending: list[tuple[SealedDay, bytes]] = field(default_factory=list)

    def unsealed_until(self, day: date) -> list[date]:
        """Days after the last sealed one, or from the ledger's first event on, up to ``day``."""
        index = self.service.store.day_index()
        if index:
            first = index[-1]["day"] + timedelta(1)
            sealed = {row["day"] for row in index}
            holes = [d for d in days_between(index[0]["day"], index[-1]["day"]) if d not in sealed]
            return [d for d in [*holes, *days_between(first, day)] if d <= day]
        began = self._first_event_day(day)
        return list(days_between(began, day)) if began else [day]

    def _first_event_day(self, day: date) -> date | None:
        """The session of the first fill or order ever recorded, if it is not after ``day``."""
        try:
            at = self.service.ledger.first_activity(self.now)
        except SourceUnavailable:
            if self.allow_gaps:
                return None
            raise
        return None if at is None else min(self._session_of(at), day)

    def _session_of(self, at: datetime) -> date:
        local = at.astimezone(self.service.trading_day(at.date()).window.start.tzinfo)
        for offset in (-1, 0, 1):
            candidate = local.date() + timedelta(offset)
            window = self.service.trading_day(candidate).window
            if window.start <= at < window.end:
                return next_session(candidate, self.service.settings.calendar)
        raise AssertionError(f"no day holds {at}")

    def late_days(self) -> list[date]:
        """Sealed days to do again: from the first that a late event belongs to."""
        store = self.service.store
        after = store.known_until()
        if after is None or self.now <= after:
            return []
        index = store.day_index()
        end = self.service.trading_day(index[-1]["day"]).window.end
        try:
            at = self.service.ledger.first_late_event(after - OVERLAP, self.now, end)
        except SourceUnavailable:
            if self.allow_gaps:
                self.known_at = after  # nobody looked, so the next close looks again
                return []
            raise
        if at is None:
            return []
        first = self._session_of(at)
        if not self.reason:
            self.reason = f"late ledger events recorded after {after.isoformat()}"
        return self.sealed_sessions(after=first - timedelta(1))

    def sealed_sessions(self, after: date) -> list[date]:
        """Sealed days after ``after`` that are sessions, in order."""
        days = (row["day"] for row in self.service.store.day_index() if row["day"] > after)
        return [d for d in days if self.service.trading_day(d).is_session]

    def close(self, day: date) -> Closed:
        """Read, measure, compare with what is sealed, and append if it differs."""
        before = self.service.store.day(day)
        sealed_before = _sealed(before) if before else None
        described = self.service.trading_day(day)
        if self.now < described.window.end:
            raise NotReady(f"{day} has not ended at {self.now.isoformat()}")
        frames, sources, findings = self._read(described, sealed_before)
        facts = self._facts(described, frames, sealed_before)
        closing, body = self._closing_book(described, frames.get("book"), sealed_before)
        draft = SealedDay(
            day=day,
            revision=(before.revision + 1) if before else 1,
            reason=(self.reason or "closed again") if before else "",
            previous=before.digest if before else "",
            calendar=described.calendar,
            zone=described.zone,
            session=described.is_session,
            note=described.note,
            window=described.window,
            trading=described.trading,
            known_at=self.known_at or self.now,
            policy_digest=self.service.policy.digest,
            facts={name: fact.model_dump(mode="json") for name, fact in facts.items()},
            sources=sources,
            findings=findings,
            closing_book=closing,
        )
        self.book_changed = sealed_before is not None and sealed_before.closing_book != closing
        gaps = tuple(
            f"{name}: {fact}"
            for name, fact in facts.items()
            if isinstance(fact, Missing) and fact.why not in NO_GAP
        )
        if sealed_before is not None and before and sealed_before.content() == draft.content():
            return Closed(day, before.revision, "unchanged", "", gaps)
        if self.dry_run:
            return Closed(day, 0, "revised" if before else "sealed", draft.reason, gaps)
        self.pending.append((draft, body))
        outcome = "revised" if before else "sealed"
        return Closed(day, draft.revision, outcome, draft.reason, gaps)

    def _closing_book(
        self, day: TradingDay, book: Frame | Value | None, before: SealedDay | None
    ) -> tuple[str, bytes]:
        """Digest and bytes of the closing book, both empty where it is not known.

        One that is sealed already is kept while the ledger can't be read.
        """
        if not day.is_session:
            return "", b""
        if isinstance(book, BookDay):
            self.books[day.day] = book.closing
            body = canonical(book.closing)
            return digest(body), body
        opening = self._opening(day)
        if isinstance(book, Missing) and book.why is Why.EMPTY and isinstance(opening, Book):
            # Nothing happened that we know of: the next session opens with the same book.
            self.books[day.day] = opening
            body = canonical(opening)
            return digest(body), body
        if before is not None and before.closing_book and _not_measured(book):
            body = self._stored_book(day.day, before.closing_book)
            self.books[day.day] = Book.model_validate_json(body)
            return before.closing_book, body
        self.books[day.day] = Missing(
            why=Why.NO_DATA, detail=f"the book of {day.day} is not known: {book}"
        )
        return "", b""

    def flush(self) -> None:
        """Append what was closed since the last flush, in one transaction."""
        if self.pending:
            with self.service.store.writing() as writer:
                for draft, body in self.pending:
                    self._append(writer, draft, body)
        self.pending.clear()

    def _append(self, writer: Writer, draft: SealedDay, body: bytes) -> None:
        content_bytes = canonical(draft)
        row = SealedRow(
            day=draft.day,
            revision=draft.revision,
            digest=digest(content_bytes),
            body=content_bytes,
            known_at=draft.known_at,
            sealed_at=self.now,
            reason=draft.reason,
        )
        if body:
            writer.add_book(draft.closing_book, body)
        writer.add_day(row)
        writer.log(
            "day sealed" if draft.revision == 1 else "day restated",
            {
                "day": draft.day.isoformat(),
                "revision": draft.revision,
                "digest": row.digest,
                "previous": draft.previous,
                "known_at": draft.known_at.isoformat(),
                "policy": draft.policy_digest,
                "reason": draft.reason,
                "version": __version__,
            },
        )

    def _read(
        self, day: TradingDay, before: SealedDay | None
    ) -> tuple[dict[str, Frame | Value], tuple[Coverage, ...], tuple[Finding, ...]]:
        """Frames of both sources with their coverage; what was sealed is not asked for again."""
        frames: dict[str, Frame | Value] = {}
        findings: list[Finding] = []
        if day.is_session:
            read, found = self._ledger_frames(day)
            frames |= read
            findings += found
        metrics = self._metrics_frames(day, before)
        fills = frames.get("fills")
        if isinstance(fills, Missing) and not self.allow_gaps:
            raise NotReady(
                f"the ledger has {fills.detail}, a session of {day.calendar}; load it and close "
                "the day again, or say --allow-gaps if the session did not take place"
            )
        frames |= metrics
        sources = [f.coverage for f in frames.values() if isinstance(f, Frame)]
        if day.is_session:
            made = worked_out(day, frames, self._opening(day))
            frames |= made
            if isinstance(made["book"], BookDay):
                findings += made["book"].findings
        findings += [x for f in frames.values() if isinstance(f, Frame) for x in f.findings]
        if before is not None:
            # What is not read again stays with the day, as it was sealed.
            stays = {"ledger": _not_measured(frames.get("fills")), "metrics": not metrics}
            sources += [
                c for c in before.sources if stays["ledger" if c.source == "ledger" else "metrics"]
            ]
            findings += [
                f
                for f in before.findings
                if stays["metrics" if f.check.startswith("uptime.") else "ledger"]
            ]
        return frames, tuple(sources), tuple(findings)

    def _ledger_frames(
        self, day: TradingDay
    ) -> tuple[Mapping[str, Frame | Value], tuple[Finding, ...]]:
        policy = self.service.policy
        try:
            return self.service.ledger.read(
                day,
                self.now,
                window=int(policy.number("var_window_sessions", day.day)),
                minimum=int(policy.number("var_minimum_sessions", day.day)),
            )
        except SourceUnavailable as error:
            if not self.allow_gaps:
                raise
            gone = Missing(why=Why.UNREACHABLE, detail=str(error).split(";")[0])
            return dict.fromkeys(self.service.ledger.frame_names, gone), ()

    def _metrics_frames(
        self, day: TradingDay, before: SealedDay | None
    ) -> Mapping[str, Frame | Value]:
        """Metrics of the day; {} where they are sealed already: their source forgets them."""
        if before is not None and before.facts["uptime"].get("kind") != "missing":
            return {}
        source = self.service.prometheus
        if source is None:
            return {}
        queries = {o.id: o.query for o in self.service.policy.objectives}
        try:
            titles = {o.id: o.title for o in self.service.policy.objectives}
            return source.read_up(queries, day.window, titles=titles)
        except SourceUnavailable as error:
            if not self.allow_gaps:
                raise
            gone = Missing(why=Why.UNREACHABLE, detail=str(error).split(";")[0])
            names = next(m.reads for m in MEASURES if m.name == "uptime")
            return dict.fromkeys(names, gone)

    def _facts(
        self, day: TradingDay, frames: Mapping[str, Frame | Value], before: SealedDay | None
    ) -> dict[str, Value]:
        """Measured facts; one that is missing now never replaces one that was sealed."""
        facts: dict[str, Value] = dict(facts_of(day, frames))
        if before is None:
            return facts
        for measure in MEASURES:
            sealed = fact_from(measure, before.facts[measure.name])
            gone = facts[measure.name]
            if _not_measured(gone) and not isinstance(sealed, Missing):
                facts[measure.name] = sealed
        return facts

    def _opening(self, day: TradingDay) -> Book | Missing:
        """The book that the session opens with: the closing book of the one before."""
        earlier = previous_session(day.day, day.calendar)
        if earlier in self.books:
            return self.books[earlier]
        row = self.service.store.day(earlier)
        if row is None:
            index = self.service.store.day_index()
            if not index or day.day <= index[0]["day"]:
                return EMPTY_BOOK  # the ledger's first session, see unsealed_until
            return Missing(why=Why.NOT_SEALED, detail=f"{earlier} is not sealed")
        sealed = _sealed(row)
        if not sealed.closing_book:
            return Missing(
                why=Why.NO_DATA, detail=f"the book of {earlier} is not known; close it again"
            )
        return Book.model_validate_json(self._stored_book(earlier, sealed.closing_book))

    def _stored_book(self, day: date, wanted: str) -> bytes:
        body = _book(self.service.store, wanted)
        if body is None:
            raise ValidationFailed(
                f"the closing book of {day} is missing or was changed in the store; restore it "
                "from a backup"
            )
        return body


def _not_measured(value: object) -> bool:
    """Whether a value is absent because nobody could look, which says nothing about the day."""
    return isinstance(value, Missing) and value.why in (Why.UNREACHABLE, Why.NOT_MEASURED)


def _sealed(row: SealedRow) -> SealedDay:
    """A sealed day from its row; :class:`ValidationFailed` if its bytes were changed."""
    if digest(row.body) != row.digest:
        raise ValidationFailed(
            f"sealed day {row.day} r{row.revision} does not match its digest {row.digest}: the "
            "store was changed; restore it from a backup"
        )
    return SealedDay.model_validate_json(row.body)


def _book(store: Store, name: str) -> bytes | None:
    """A closing book by its digest; None where it is missing or was changed."""
    body = store.book(name)
    return body if body is not None and digest(body) == name else None


# --- build and issue ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Issued:
    """One issued report; ``outcome`` is issued, regenerated or, for a dry run, would-issue."""

    document: Document
    folder: Path
    outcome: str


def period_of(service: Service, kind: str, day: date) -> Span:
    """The period of a report. A daily one begins after the session before: nothing is left out."""
    found = span(kind, day)
    if kind != Kind.DAILY:
        return found
    described = service.trading_day(day)
    if not described.is_session:
        calendar = service.settings.calendar
        raise UsageError(
            f"{day} is no session: {described.note}; the nearest sessions are "
            f"{previous_session(day, calendar)} and {next_session(day, calendar)}"
        )
    first = previous_session(day, service.settings.calendar) + timedelta(1)
    return Span(found.kind, found.label, found.title, first, found.last)


def draft(
    service: Service,
    kind: str,
    day: date,
    now: datetime,
    *,
    reason: str = "",
    allow_gaps: bool = False,
) -> Document:
    """The Document of a report as of now: revision 1, or the next one after what was issued."""
    period = period_of(service, kind, day)
    end = service.trading_day(period.last).window.end
    if now < end and not allow_gaps:
        raise NotReady(f"{period.label} ends at {end.isoformat()}, it is {now.isoformat()}")
    rows = service.store.days(period.first, period.last)
    days = [Cited(_sealed(row), row.digest, row.sealed_at) for row in rows]
    have = {row.day for row in rows}
    unsealed = [d for d in days_between(period.first, period.last) if d not in have]
    if kind == Kind.DAILY and rows and rows[0].day > period.first:
        # The ledger's first session: nothing was there to be sealed on the days before it.
        unsealed = [d for d in unsealed if d > rows[0].day]
    if not days or (unsealed and not allow_gaps):
        listed = ", ".join(map(str, unsealed[:5])) + (" …" if len(unsealed) > 5 else "")
        raise NotReady(
            f"{kind} {period.label} needs days that are not sealed: {listed}; run "
            f"`reporting close --date {unsealed[-1]}`, or --allow-gaps for an INCOMPLETE report"
        )
    last = service.store.report(kind, period.label)
    previous = Document.model_validate_json(last.body) if last else None
    issue = Issue(
        issuer=service.settings.issuer,
        base=service.settings.base_currency,
        issued_at=now,
        checkpoint=service.store.checkpoint(),
        revision=previous.revision + 1 if previous else 1,
        reason=reason or (_why(previous, days) if previous else ""),
        previous=previous,
    )
    trail = _trail(service, period, 1 if kind != Kind.DAILY else TRAIL)
    return build(period, days, unsealed, trail, service.policy, issue)


def _trail(service: Service, period: Span, sessions: int) -> list[Cited]:
    """The last sealed sessions before the period."""
    calendar = service.settings.calendar
    begin = period.first - timedelta(days=3 * sessions + 10)
    wanted = sessions_between(begin, period.first - timedelta(1), calendar)[-sessions:]
    if not wanted:
        return []
    rows = service.store.days(wanted[0], wanted[-1])
    return [Cited(_sealed(r), r.digest, r.sealed_at) for r in rows if r.day in wanted]


def _why(previous: Document, days: Sequence[Cited]) -> str:
    """The reason that the restated days themselves give, or ""."""
    cited = {c.day: c.revision for c in previous.citations}
    reasons = [
        f"{c.sealed.day} r{c.sealed.revision}: {c.sealed.reason}"
        for c in days
        if c.sealed.revision > cited.get(c.sealed.day, 0) and c.sealed.reason
    ]
    return "; ".join(dict.fromkeys(reasons))


def issue(
    service: Service,
    kind: str,
    day: date,
    now: datetime,
    *,
    reason: str = "",
    allow_gaps: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Issued:
    """Issue a report, or write again, byte for byte, the one whose content has not changed."""
    progress(f"building {kind} {period_of(service, kind, day).label}")
    last = service.store.report(kind, period_of(service, kind, day).label)
    document = draft(service, kind, day, now, reason=reason, allow_gaps=allow_gaps)
    if last is not None:
        issued = Document.model_validate_json(last.body)
        if content(issued) == content(document):
            folder = _folder(service, issued)
            if not dry_run:
                progress(f"writing {issued.id} again")
                _regenerate(service, issued, last.provenance, folder)
            return Issued(issued, folder, "would-regenerate" if dry_run else "regenerated")
        if not document.reason:
            raise UsageError(
                f"{kind} {document.period.label} differs from revision {last.revision}, and no "
                "restated day says why; give the reason: --reason '…' (make report … REASON='…')"
            )
    folder = _folder(service, document)
    if dry_run:
        return Issued(document, folder, "would-issue")
    progress(f"rendering {document.id}")
    files = _render(document)
    provenance = canonical(_provenance(service, document, files))
    row = ReportRow(
        kind=kind,
        period=document.period.label,
        revision=document.revision,
        digest=digest(files["facts.json"]),
        body=files["facts.json"],
        provenance=provenance,
        issued_at=now,
        reason=document.reason,
    )
    with service.store.writing() as writer:
        writer.add_report(row)
        # Files before the commit, and flushed to disk: what the log says was issued is there to be
        # found. After the row: whoever issues the same revision at the same time waits for it.
        _write(folder, {**files, "provenance.json": provenance})
        head = writer.log(
            "report issued",
            {
                "report": document.id,
                "status": document.status.value,
                "facts": row.digest,
                "provenance": digest(provenance),
                "files": {name: digest(body) for name, body in sorted(files.items())},
                "supersedes": document.supersedes,
                "reason": document.reason,
                "signed": document.signed,
            },
        )
    _witness(service, head.size, head.chain_hash)
    return Issued(document, folder, "issued")


def rewrite(
    service: Service,
    kind: str,
    day: date,
    revision: int,
    *,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Issued:
    """Write one issued revision again, byte for byte, whatever was issued or sealed since."""
    label = period_of(service, kind, day).label
    row = service.store.report(kind, label, revision)
    if row is None:
        raise UsageError(
            f"{kind} {label} has no revision {revision}; `reporting status` lists what was issued"
        )
    issued = Document.model_validate_json(row.body)
    folder = _folder(service, issued)
    if dry_run:
        return Issued(issued, folder, "would-regenerate")
    progress(f"writing {issued.id} again")
    _regenerate(service, issued, row.provenance, folder)
    return Issued(issued, folder, "regenerated")


def _folder(service: Service, document: Document) -> Path:
    return service.settings.reports_dir / document.id


def _render(document: Document) -> dict[str, bytes]:
    """Every file of a report but its provenance, by name."""
    html = render.render_html(document)
    return {
        "facts.json": canonical(document),
        "report.html": html,
        "report.pdf": render.render_pdf(html, document),
        **{f"tables/{name}": body for name, body in render.render_tables(document).items()},
    }


def _provenance(service: Service, document: Document, files: Mapping[str, bytes]) -> dict[str, Any]:
    """What the report was made from and with, so that a third party can repeat it."""
    queries = dict(service.ledger.query_texts())
    for row in service.store.days(document.period.first, document.period.last):
        queries |= {c.query_digest: c.text for c in _sealed(row).sources if c.text}
    made = {
        "report": document.id,
        "files": {name: digest(body) for name, body in sorted(files.items())},
        "sealed_days": [
            {"day": c.day.isoformat(), "revision": c.revision, "digest": c.digest}
            for c in document.citations
        ],
        "policy": document.policy_digest,
        "templates": render.template_digest(),
        "code": {"version": __version__, "digest": _code_digest()},
        "native": dict(render.native_versions()),
        "queries": queries,
        "checkpoint_before": document.checkpoint.model_dump(mode="json"),
    }
    return _with_digest(made)


def _with_digest(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance with the digest of the rest of it: a changed byte shows in the folder alone.

    Whoever changes both is found out by the audit log, which knows the digest of the file.
    """
    rest = {key: value for key, value in provenance.items() if key != "digest"}
    return {**rest, "digest": digest(canonical(rest))}


def _code_digest() -> str:
    """SHA-256 over the package's Python sources, by name."""
    package = Path(__file__).parent
    total = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        total.update(path.relative_to(package).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _regenerate(service: Service, document: Document, provenance: bytes, folder: Path) -> None:
    """Write an issued report again and prove that every byte is as it was."""
    recorded = json.loads(provenance)
    files = _render(document)
    wrong = [n for n, want in recorded["files"].items() if digest(files.get(n, b"")) != want]
    if wrong:
        now = {
            "templates": render.template_digest(),
            "code": {"version": __version__, "digest": _code_digest()},
            "native": dict(render.native_versions()),
        }
        changed = [k for k, v in now.items() if recorded[k] != v] or ["nothing that is recorded"]
        raise ValidationFailed(
            f"{document.id} can not be written again byte for byte ({', '.join(wrong)} differ): "
            f"{', '.join(changed)} changed since it was issued; use the version recorded in its "
            "provenance.json"
        )
    _write(folder, {**files, "provenance.json": provenance})
    with service.store.writing() as writer:
        head = writer.log(
            "report regenerated", {"report": document.id, "facts": digest(files["facts.json"])}
        )
    _witness(service, head.size, head.chain_hash)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write every file, each whole or not at all, flushed to disk."""
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


def _witness(service: Service, size: int, chain_hash: str) -> None:
    """Append a checkpoint to the file outside the database that verification compares with."""
    path = service.settings.reports_dir / WITNESS
    path.parent.mkdir(parents=True, exist_ok=True)
    line = canonical({"size": size, "chain_hash": chain_hash}) + b"\n"
    with path.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


# --- verify and status -------------------------------------------------------------------------


@dataclass(frozen=True)
class Verified:
    """One thing that was checked; ``problem`` is empty where it is as it should be."""

    what: str
    problem: str

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem


def verify_folder(folder: Path) -> list[Verified]:
    """Check one issued report from its files alone: digests, canonical facts, re-rendering."""
    name = str(folder)
    try:
        provenance_bytes = (folder / "provenance.json").read_bytes()
        recorded = json.loads(provenance_bytes)
        if canonical(_with_digest(recorded)) != provenance_bytes:
            return [Verified(f"{name}/provenance.json", "does not match its own digest")]
        facts = (folder / "facts.json").read_bytes()
        document = Document.model_validate_json(facts)
    except (OSError, ValueError) as error:
        return [Verified(name, f"is no issued report: {str(error).splitlines()[0]}")]
    results = []
    wanted = dict(recorded["files"])
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    for file, want in sorted(wanted.items()):
        have = digest((folder / file).read_bytes()) if file in present else ""
        problem = "" if have == want else "is missing" if not have else f"has digest {have}"
        results.append(Verified(f"{name}/{file}", problem))
    for file in sorted(present - set(wanted) - {"provenance.json"}):
        results.append(Verified(f"{name}/{file}", "is not part of the report"))
    canonical_problem = "" if canonical(document) == facts else "is not canonical"
    results.append(Verified(f"{name}/facts.json canonical", canonical_problem))
    if recorded["report"] != document.id:
        results.append(Verified(f"{name}/provenance.json", f"speaks of {recorded['report']}"))
    if any(not r.ok for r in results):
        return results
    if recorded["native"] == dict(render.native_versions()) and (
        recorded["templates"] == render.template_digest()
    ):
        again = _render(document)
        differing = [n for n, want in wanted.items() if digest(again.get(n, b"")) != want]
        problem = f"{', '.join(differing)} differ" if differing else ""
        results.append(Verified(f"{name} rendered again from its facts", problem))
    else:
        made = "made with other templates or libraries, so not rendered again"
        results.append(Verified(f"{name}: {made}", ""))
    return results


def verify(service: Service, *, progress: Progress = silent) -> list[Verified]:
    """Check everything: sealed days, the audit chain with its witness, every issued report."""
    store, results = service.store, []
    progress("audit log")
    chain, logged = _walk_log(service)
    results.append(Verified(f"audit log, {chain.size} entries", chain.problem))
    progress("sealed days")
    results += _verify_days(store, logged)
    for name, digests in logged.reports.items():
        kind, period, revision = name.split("/")
        progress(f"report {name}")
        stored = store.report(kind, period, int(revision.removeprefix("r")))
        if stored is None:
            results.append(Verified(name, "is in the audit log and missing in the store"))
        elif (digest(stored.body), digest(stored.provenance)) != digests:
            results.append(Verified(name, "in the store does not match the audit log"))
        folder = service.settings.reports_dir / name
        if not folder.is_dir():
            day = json.loads(stored.body)["period"]["last"] if stored else "…"
            again = f"reporting issue --kind {kind} --date {day} --revision {revision[1:]}"
            results.append(Verified(name, f"has no files in {folder}; `{again}` writes them again"))
            continue
        results += verify_folder(folder)
        for file, want in zip(("facts.json", "provenance.json"), digests, strict=True):
            path = folder / file
            if not path.is_file() or digest(path.read_bytes()) != want:
                results.append(Verified(f"{name}/{file}", "is not what was issued"))
    for entry in store.report_index():
        for number in range(1, entry["revision"] + 1):
            name = f"{entry['kind']}/{entry['period']}/r{number}"
            if name not in logged.reports:
                results.append(Verified(name, "is in the store and not in the audit log"))
    return results


@dataclass
class _Logged:
    """What the audit log says there is: digests by what they are of."""

    days: dict[tuple[str, int], str] = field(default_factory=dict)
    reports: dict[str, tuple[str, str]] = field(default_factory=dict)  # facts, provenance

    def take(self, entry: bytes) -> None:
        """Remember what one entry speaks of."""
        found = json.loads(entry)
        body = found["body"]
        if found["event"] in ("day sealed", "day restated"):
            self.days[body["day"], body["revision"]] = body["digest"]
        elif found["event"] == "report issued":
            self.reports[body["report"]] = (body["facts"], body["provenance"])


def _verify_days(store: Store, logged: _Logged) -> list[Verified]:
    """Every revision of every sealed day and its book: all that the log knows, and nothing else."""
    results, open_ = [], dict(logged.days)
    for index in store.day_index():
        for row in store.revisions(index["day"]):
            name = f"sealed day {row.day} r{row.revision}"
            want = open_.pop((row.day.isoformat(), row.revision), None)
            if want is None:
                results.append(Verified(name, "is not in the audit log"))
            elif not digest(row.body) == row.digest == want:
                results.append(Verified(name, "does not match its digest"))
            elif (book := _sealed(row).closing_book) and _book(store, book) is None:
                results.append(Verified(name, "its closing book is missing or changed"))
    for day, revision in open_:
        problem = "is in the audit log and missing in the store"
        results.append(Verified(f"sealed day {day} r{revision}", problem))
    results.append(Verified(f"sealed days, {len(logged.days)} revisions", ""))
    return results


def _walk_log(service: Service) -> tuple[ChainReport, _Logged]:
    """The chain against every outside checkpoint, and what the log says there is."""
    logged = _Logged()

    def entries() -> Iterator[Any]:
        for entry in service.store.log():
            # An entry that was edited can say anything: the chain names it.
            with suppress(ValueError, KeyError, TypeError):
                logged.take(entry.entry)
            yield entry

    return verify_chain(entries(), _checkpoints(service)), logged


def _checkpoints(service: Service) -> dict[int, str]:
    """Checkpoints kept outside the database: the witness file, and every report's own.

    Where two disagree the witness counts; a report that can't be read is reported by its own check.
    """
    found: dict[int, str] = {}
    witness = service.settings.reports_dir / WITNESS
    if witness.is_file():
        for number, line in enumerate(witness.read_text("utf-8").splitlines(), 1):
            try:
                note = json.loads(line)
                found[int(note["size"])] = str(note["chain_hash"])
            except (ValueError, KeyError, TypeError):
                raise ValidationFailed(
                    f"{witness}, line {number} is no checkpoint: the file was changed; restore it "
                    "from a backup"
                ) from None
    for path in sorted(service.settings.reports_dir.glob("*/*/r*/facts.json")):
        try:
            note = json.loads(path.read_bytes())["checkpoint"]
            found.setdefault(int(note["size"]), str(note["chain_hash"]))
        except (ValueError, KeyError, TypeError):
            continue
    found.pop(0, None)
    return found


def status(service: Service) -> dict[str, Any]:
    """What is sealed and issued, what is open, and the audit log's head; plain data."""
    index = service.store.day_index()
    sealed = [row["day"] for row in index]
    holes = set(days_between(sealed[0], sealed[-1])) - set(sealed) if sealed else set()
    head = service.store.checkpoint()
    known = service.store.known_until()
    return {
        "sealed_days": len(index),
        "first_day": sealed[0].isoformat() if sealed else None,
        "last_day": sealed[-1].isoformat() if sealed else None,
        "unsealed_between": [day.isoformat() for day in sorted(holes)],
        "restated": [
            {"day": row["day"].isoformat(), "revision": row["revision"]}
            for row in index
            if row["revision"] > 1
        ],
        "known_until": known.isoformat() if known else None,
        "reports": [
            {
                "kind": row["kind"],
                "period": row["period"],
                "revision": row["revision"],
                "issued_at": row["issued_at"].isoformat(),
            }
            for row in service.store.report_index()
        ],
        "audit_log": {"size": head.size, "chain_hash": head.chain_hash},
    }


# --- doctor ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One dependency: whether it is well, and how to mend it where it is not."""

    what: str
    ok: bool
    detail: str
    mend: str = ""


def doctor(service: Service, today: date) -> list[Check]:
    """Check every dependency; a failing one never hides the others."""

    def attempt(what: str, check: Callable[[], str], mend: str) -> Check:
        try:
            return Check(what, True, check())
        except Exception as error:  # a doctor reports whatever it finds
            return Check(what, False, str(error).splitlines()[0], mend)

    def contract_holds() -> str:
        if problems := service.ledger.check():
            raise ValidationFailed("; ".join(problems[:4]))
        return "all contract views have their columns and types"

    def migrated() -> str:
        if problem := service.store.check():
            raise ValidationFailed(problem)
        return "schema is the one this version expects"

    def metrics() -> str:
        if service.prometheus is None:
            raise ValidationFailed("REPORTING_PROMETHEUS_URL is not set: uptime is not measured")
        return str(service.prometheus.check())

    def calendar_known() -> str:
        ahead = next_session(today + timedelta(days=365), service.settings.calendar)
        return f"{service.settings.calendar} is known for a year ahead (next: {ahead})"

    def bound() -> str:
        if service.store.may_rewrite():
            raise ValidationFailed("the role of REPORTING_STORE_URL may change what is sealed")
        return "may add and never change"

    return [
        *(Check(c.name, c.ok, c.detail, c.mend) for c in render.check()),
        attempt("policy", lambda: f"digest {service.policy.digest[:12]}", "mend the file named"),
        attempt("store", migrated, "reporting doctor --migrate"),
        attempt("store role", bound, "use reporting_app, which the migration makes"),
        attempt("ledger contract", contract_holds, "see sql/ledger/examples/README.md"),
        attempt("prometheus", metrics, "set REPORTING_PROMETHEUS_URL to a server that answers"),
        attempt("calendar", calendar_known, "update exchange-calendars"),
    ]
