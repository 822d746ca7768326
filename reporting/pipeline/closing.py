"""Close: sources → measures → the sealed facts of one business day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd

from .. import __version__
from ..book import EMPTY_BOOK, Book, BookDay, Method
from ..document import NO_GAP, absence
from ..errors import NotReady, SourceUnavailable, UsageError, ValidationFailed
from ..facts import MEASURES, fact_from, facts_of, worked_out
from ..model import Coverage, Finding, Frame, Missing, Value, Why, Window
from ..periods import (
    TradingDay,
    calendar_day,
    days_between,
    next_session,
    previous_session,
)
from ..policy.maintenance import Occurrence
from ..runs import Lease
from ..seal import SealedDay, canonical, digest
from ..sources.alertmanager import read_alertmanager
from ..sources.incidents import promises
from ..sources.ledger import END_OF_DAY, QUOTE_MAX_AGE_S
from ..store import SealedRow, Writer
from .auditing import checkpoint_now, note_configuration
from .readiness import metrics_lag
from .service import Progress, Service, sealed_day, silent, stored_book

#: Late events are looked for from this long before the last look: a row may have been committed
#: after it with an earlier time of its own.
OVERLAP = timedelta(minutes=15)
#: The check of a day whose metrics had not all arrived.
METRICS_LAG = "uptime.not_complete"
#: What a day was sealed without that may still come.
INCOMPLETE = (END_OF_DAY, METRICS_LAG)


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
    reread: bool = False,
    flash: bool = False,
    lease: Lease | None = None,
    progress: Progress = silent,
) -> list[Closed]:
    """Seal ``day`` and every day before it that is not sealed, and revise what late events change.

    ``now`` is up to when recorded events count. An unreachable source stops the close (exit 75,
    nothing of that day is sealed) unless ``allow_gaps``: then the gap itself is sealed, and closing
    the day again fills it. So it is with a ledger whose end-of-day run has not said that the day is
    complete, and with metrics that lag (exit 3). Metrics of a sealed day are asked for again with
    ``reread`` only, since their source forgets.

    With ``flash`` the newest day may be sealed before it has ended, from what the ledger knows by
    then; metrics and incidents, which are of whole days, are not asked for. A day that was sealed
    so is closed anew, from nothing, by the first close after its end.

    With ``lease`` nothing is sealed that it does not cover: :class:`LeaseLost`.
    """
    end = service.end_of(day)
    early = now < end
    if early and flash:
        _may_flash(service, day, now)
    elif early:
        raise NotReady(
            f"{day} ends at {end.isoformat()}, it is {now.isoformat()}; close it then, or "
            "preliminarily now with --flash"
        )
    if not dry_run:
        note_configuration(service)
    early_day = day if early else None
    closer = _Closer(service, now, reason, allow_gaps, dry_run, reread, early_day, lease)
    todo = {*closer.late_days(), *closer.flash_days(), *closer.unsealed_until(day), day}
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


def _may_flash(service: Service, day: date, now: datetime) -> None:
    """Whether ``day`` can be sealed before its end: a session that has begun, and the newest."""
    described = service.trading_day(day)
    if described.trading is None:
        raise UsageError(f"{day} is no session ({described.note}): there is nothing to flash")
    begins = described.window.start
    if now < begins:
        raise NotReady(f"{day} begins at {begins.isoformat()}, it is {now.isoformat()}")
    newest = max((row["day"] for row in service.store.day_index()), default=day)
    if newest > day:
        raise UsageError(f"{newest} is sealed already, so {day} is over: close it without --flash")


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
    reread: bool = False
    flash: date | None = None  # the day that is sealed before its end
    lease: Lease | None = None
    books: dict[date, Book | Missing] = field(default_factory=dict)
    book_changed: bool = False  # whether the last close revised the closing book of its day
    known_at: datetime | None = None  # until when late events were looked for, if not until now
    pending: list[tuple[SealedDay, bytes]] = field(default_factory=list)
    #: What the lots of a day's opening book were kept by, where the day changed it.
    method_before: dict[date, Method | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.given = self.reason  # what late events give as a reason is not of every day

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

    def flash_days(self) -> list[date]:
        """The newest sealed day, if it was sealed before its end and has ended since."""
        index = self.service.store.day_index()
        row = self.service.store.day(index[-1]["day"]) if index else None
        if row is None or not sealed_day(row).flash or self.now < self.service.end_of(row.day):
            return []
        return [row.day]

    def _first_event_day(self, day: date) -> date | None:
        """The session of the first fill or order ever recorded, if it is not after ``day``."""
        try:
            with _in_words(day):
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
                return next_session(candidate, self.service.calendar)
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
            with _in_words(index[-1]["day"]):
                at = self.service.ledger.first_late_event(after - OVERLAP, self.now, end)
        except SourceUnavailable:
            if self.allow_gaps:
                self.known_at = after  # nobody looked, so the next close looks again
                return []
            raise
        late = set(self._late_incident_days(after))
        if at is not None:
            first = self._session_of(at)
            late |= set(self.sealed_sessions(after=first - timedelta(1)))
        if late and not self.reason:
            what = "ledger events" if at is not None else "incidents"
            self.reason = f"late {what} recorded after {after.isoformat()}"
        return sorted(late)

    def _late_incident_days(self, after: datetime) -> list[date]:
        """Sealed days to do again for incidents recorded since: from the first that they change."""
        at = self.service.store.first_incident_change(after, self.now)
        if at is None:
            return []
        zone = ZoneInfo(self.service.settings.zone)
        first = at.astimezone(zone).date()
        days = (row["day"] for row in self.service.store.day_index() if row["day"] >= first)
        return [d for d in days if self._may_close(d)]

    def sealed_sessions(self, after: date) -> list[date]:
        """Sealed days after ``after`` that are sessions, in order."""
        days = (row["day"] for row in self.service.store.day_index() if row["day"] > after)
        return [d for d in days if self.service.trading_day(d).is_session and self._may_close(d)]

    def _may_close(self, day: date) -> bool:
        """Whether a sealed day can be done again now: a flash has to wait for its day's end."""
        return day == self.flash or self.now >= self.service.end_of(day)

    def close(self, day: date) -> Closed:
        """Read, measure, compare with what is sealed, and append if it differs."""
        before = self.service.store.day(day)
        newest = sealed_day(before) if before else None
        # Nothing of a flash is kept: it was of a part of the day.
        sealed_before = None if newest is None or newest.flash else newest
        described = self.service.trading_day(day)
        if self.now < self.service.end_of(day) and day != self.flash:
            raise NotReady(f"{day} has not ended at {self.now.isoformat()}")
        with _in_words(day):
            frames, sources, findings = self._read(described, sealed_before)
            facts = self._facts(described, frames, sealed_before)
        closing, body = self._closing_book(described, frames.get("book"), sealed_before)
        draft = SealedDay(
            day=day,
            revision=(before.revision + 1) if before else 1,
            reason=self._reason(day, newest),
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
            flash=day == self.flash,
        )
        self.book_changed = sealed_before is not None and sealed_before.closing_book != closing
        gaps = tuple(
            f"{name}: {gone}"
            for name, fact in facts.items()
            if (gone := absence(fact)) and gone.why not in NO_GAP
        )
        gaps += tuple(f"{f.check}: {f.detail}" for f in findings if f.check in INCOMPLETE)
        if newest is not None and before and newest.content() == draft.content():
            return Closed(day, before.revision, "unchanged", "", gaps)
        if self.dry_run:
            return Closed(day, 0, "revised" if before else "sealed", draft.reason, gaps)
        self.pending.append((draft, body))
        outcome = "revised" if before else "sealed"
        return Closed(day, draft.revision, outcome, draft.reason, gaps)

    def _reason(self, day: date, before: SealedDay | None) -> str:
        """Why there is one more revision of ``day``, or "" where it is the first."""
        if before is None:
            return ""
        if before.flash:
            return self.given or ("flash again" if day == self.flash else "final after flash")
        filled = "what it lacked has arrived" if lacked(before, *INCOMPLETE) else "closed again"
        return self.reason or filled

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
        """Append what was closed since the last flush, in one transaction, and checkpoint it."""
        if self.pending:
            with self.service.store.writing() as writer:
                if self.lease is not None:
                    writer.queue.hold(self.lease)
                for draft, body in self.pending:
                    self._append(writer, draft, body)
            checkpoint_now(self.service)
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
                **({"flash": True} if draft.flash else {}),
            },
        )
        if before := self.method_before.get(draft.day):
            writer.log(
                "lot method changed",
                {
                    "day": draft.day.isoformat(),
                    "revision": draft.revision,
                    "from": before,
                    "to": self.service.policy.lot_method(draft.day),
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
            # A flash is of what there is by then.
            findings += [f for f in found if f.check != END_OF_DAY or day.day != self.flash]
        if day.day == self.flash:
            metrics = self._of_whole_days(day)
        else:
            metrics, lagging = self._metrics_frames(day, before)
            metrics |= self._operations_frames(day)
            findings += lagging
        if "uptime_targets" not in metrics and before is not None:
            # Maintenance is taken out when uptime is measured; what was sealed then stays.
            metrics.pop("maintenance", None)
        fills = frames.get("fills")
        if isinstance(fills, Missing) and not self.allow_gaps:
            raise NotReady(
                f"the ledger has {fills.detail}, a session of {day.calendar}; load it and close "
                "the day again, or say --allow-gaps if the session did not take place"
            )
        lacking = [f.detail for f in findings if f.check in INCOMPLETE]
        if lacking and before is None and not self.allow_gaps:
            raise NotReady(
                f"{' and '.join(lacking)}; close the day when it is there, or say --allow-gaps"
            )
        frames |= metrics
        sources = [f.coverage for f in frames.values() if isinstance(f, Frame)]
        if day.is_session:
            method = self.service.policy.lot_method(day.day)
            made = worked_out(
                day,
                frames,
                self._opening(day),
                method,
                run=self.service.engine.map,
                part_fills=self.service.settings.part_fills,
            )
            frames |= made
            if isinstance(made["book"], BookDay):
                findings += made["book"].findings
                self.method_before[day.day] = made["book"].method_before
        findings += [x for f in frames.values() if isinstance(f, Frame) for x in f.findings]
        if before is not None:
            # What is not read again stays with the day, as it was sealed.
            fresh = {(c.source, c.query): c for c in sources}
            again = {_family(c) for c in sources}
            # In the order in which they were sealed: the same reads make the same day.
            kept = [fresh.pop((c.source, c.query), c) for c in before.sources]
            sources = [*kept, *fresh.values()]
            findings += [f for f in before.findings if _family_of(f) not in again]
        findings.sort(key=lambda finding: finding.check)
        return frames, tuple(sources), tuple(findings)

    def _ledger_frames(
        self, day: TradingDay
    ) -> tuple[Mapping[str, Frame | Value], tuple[Finding, ...]]:
        policy = self.service.policy
        age = policy.targets(day.day).get("quote_max_age_s")
        try:
            return self.service.ledger.read(
                day,
                self.now,
                window=int(policy.number("var_window_sessions", day.day)),
                minimum=int(policy.number("var_minimum_sessions", day.day)),
                quote_max_age_s=int(age.value) if age else QUOTE_MAX_AGE_S,
                mark_sources=policy.mark_sources(day.day),
                late_after=self._first_known(day.day),
            )
        except SourceUnavailable as error:
            if not self.allow_gaps:
                raise
            gone = Missing(why=Why.UNREACHABLE, detail=str(error).split(";")[0])
            return dict.fromkeys(self.service.ledger.frame_names, gone), ()

    def _first_known(self, day: date) -> datetime | None:
        """Up to when the ledger was known when the book of the whole day was first sealed."""
        return first_known(map(sealed_day, self.service.store.revisions(day)))

    def _of_whole_days(self, day: TradingDay) -> dict[str, Frame | Value]:
        """For a flash: what is measured over whole days is not there yet."""
        gone = Missing(why=Why.NOT_ENDED, detail=f"{day.day} had not ended at {self.now:%H:%M %Z}")
        names = (name for m in MEASURES if m.every_day for name in m.reads)
        return dict.fromkeys(names, gone)

    def _metrics_frames(
        self, day: TradingDay, before: SealedDay | None
    ) -> tuple[dict[str, Frame | Value], tuple[Finding, ...]]:
        """Metrics of the day; of what is sealed already nothing: their source forgets them.

        What was sealed before all of it had arrived is asked for again.
        """
        source, policy = self.service.prometheus, self.service.policy
        frames: dict[str, Frame | Value] = {}
        if source is None:
            return frames, ()
        objectives = policy.objectives
        reads: dict[str, Callable[[], Mapping[str, Frame | Missing]]] = {
            "uptime": lambda: source.read_states(policy.states(), day.day),
            "service_levels": lambda: source.read_levels(objectives, day.day),
            "alerts": lambda: source.read_alerts(policy.operations.alerts, day.window),
        }
        again = self.reread or lacked(before, METRICS_LAG)
        for measure in MEASURES:
            read = reads.get(measure.name)
            if read is None or (self._is_sealed(measure.name, before) and not again):
                continue
            try:
                frames |= read()
            except SourceUnavailable as error:
                if not self.allow_gaps:
                    raise
                gone = Missing(why=Why.UNREACHABLE, detail=str(error).split(";")[0])
                frames |= dict.fromkeys(measure.reads, gone)
        return frames, self._lagging(day) if frames else ()

    def _lagging(self, day: TradingDay) -> tuple[Finding, ...]:
        """A finding where metrics of a day that was read may still come."""
        source = self.service.prometheus
        assert source is not None
        try:
            words = metrics_lag(self.service, day.day, self.now)
            # Of a day of which it has nothing at all, each measure says so.
            if words and not source.sees(day.window.start, day.window.end):
                return ()
        except SourceUnavailable:
            if not self.allow_gaps:
                raise
            return ()  # each measure says so
        if not words:
            return ()
        return (Finding(check=METRICS_LAG, severity="error", count=1, detail=words),)

    def _is_sealed(self, measure: str, before: SealedDay | None) -> bool:
        """Whether the day has a fact of ``measure`` already."""
        fact = before.facts.get(measure) if before is not None else None
        return fact is not None and fact.get("kind") != "missing"

    def _operations_frames(self, day: TradingDay) -> Mapping[str, Frame | Value]:
        """Incidents as recorded, what was promised of them, maintenance, what is held back."""
        service = self.service
        held: Frame | Missing
        try:
            url = service.address("alertmanager_url")
            held = read_alertmanager(url, day.window, self.now)
        except SourceUnavailable as error:
            if not self.allow_gaps:
                raise
            held = Missing(why=Why.UNREACHABLE, detail=str(error).split(";")[0])
        return {
            "incidents": service.store.incidents(day.window, self.now),
            "incident_targets": promises(service.policy.operations),
            "alertmanager": held,
            "maintenance": self._maintenance(day),
        }

    def _maintenance(self, day: TradingDay) -> Frame:
        """The windows that are planned in the day, in the zone of any objective."""
        policy = self.service.policy
        zones = {day.zone, *(o.zone for o in policy.objectives)}
        windows = [calendar_day(day.day, zone) for zone in zones]
        whole = Window(start=min(w.start for w in windows), end=max(w.end for w in windows))
        rows = policy.maintenance.windows(whole)
        table = pd.DataFrame(rows, columns=list(Occurrence._fields))
        text = table.to_json(orient="records")
        coverage = Coverage(
            source="maintenance",
            query="maintenance",
            query_digest=digest(text.encode()),
            text=text,
            rows=len(rows),
        )
        return Frame(table, coverage)

    def _facts(
        self, day: TradingDay, frames: Mapping[str, Frame | Value], before: SealedDay | None
    ) -> dict[str, Value]:
        """Measured facts; one that is missing now never replaces one that was sealed."""
        facts: dict[str, Value] = dict(facts_of(day, frames))
        if before is None:
            return facts
        for measure in MEASURES:
            if measure.name not in before.facts:
                continue
            sealed = fact_from(measure, before.facts[measure.name])
            gone = facts[measure.name]
            if not _not_measured(gone):
                continue
            # The same gap in other words ("timed out", "refused") is no news.
            if not isinstance(sealed, Missing) or (
                isinstance(gone, Missing) and sealed.why == gone.why
            ):
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
        sealed = sealed_day(row)
        if not sealed.closing_book:
            return Missing(
                why=Why.NO_DATA, detail=f"the book of {earlier} is not known; close it again"
            )
        return Book.model_validate_json(self._stored_book(earlier, sealed.closing_book))

    def _stored_book(self, day: date, wanted: str) -> bytes:
        body = stored_book(self.service.store, wanted)
        if body is None:
            raise ValidationFailed(
                f"the closing book of {day} is missing or was changed in the store; restore it "
                "from a backup"
            )
        return body


@contextmanager
def _in_words(day: date) -> Iterator[None]:
    """What the ledger holds and no figure can, as :class:`ValidationFailed`.

    A row that is wrong by itself is a finding; this is what no check foresees.
    """
    try:
        yield
    except (ArithmeticError, ValueError) as error:
        words = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValidationFailed(
            f"{day} can't be worked out of what the ledger holds: {words}; correct the row, or "
            "record a newer version of it, and close the day again"
        ) from error


def lacked(day: SealedDay | None, *checks: str) -> bool:
    """Whether a day was sealed with one of the findings that say that more may come."""
    return day is not None and any(f.check in checks for f in day.findings)


def first_known(revisions: Iterable[SealedDay]) -> datetime | None:
    """Up to when the ledger was known in the first revision that has the whole day's book.

    None without one: what nobody had counted yet is not late.
    """
    booked = (d for d in revisions if not d.flash and d.facts["pnl"].get("kind") != "missing")
    return next((d.known_at for d in booked), None)


#: Which read a finding is about, by the first part of its check; the others are the ledger's.
FAMILIES = {"uptime": "up", "levels": "level", "alerts": "alert", "incidents": "incident"}


def _family(coverage: Coverage) -> str:
    """What a read belongs to: its findings go and come with it."""
    if coverage.source == "ledger":
        return "ledger"
    known = (f for f in FAMILIES.values() if coverage.query.startswith(f))
    return next(known, coverage.query)


def _family_of(finding: Finding) -> str:
    return FAMILIES.get(finding.check.split(".")[0], "ledger")


def _not_measured(value: object) -> bool:
    """Whether a value is absent because nobody could look, which says nothing about the day."""
    return isinstance(value, Missing) and value.why in (Why.UNREACHABLE, Why.NOT_MEASURED)
