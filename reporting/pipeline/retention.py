"""Retention: how long what was issued and sealed is kept, legal holds, and the purge.

The policy says from when something may go. The database says what may not go all the same: what is
held, cited by a report that stays, or younger than its own minimum. It empties the bodies; the
files of a report are removed here, after the log says that they will be.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from ..errors import UsageError
from ..page import Kind, Retention
from ..policy.retention import Kept
from ..store import HoldRow, RecordRow
from .auditing import checkpoint_now
from .service import Progress, Service, silent
from .signoff import report_named


@dataclass(frozen=True)
class Retained:
    """One record: its rule, None where none was in force, and why it is kept past its time."""

    record: str
    name: str
    made_on: date
    rule: Kept | None
    past: bool
    because: str

    @property
    def may_go(self) -> bool:
        """Whether its time is over and nothing keeps it."""
        return self.past and not self.because


@dataclass(frozen=True)
class Purged:
    """What a purge emptied and which folders it removed (or would have)."""

    records: tuple[Retained, ...]
    folders: tuple[Path, ...]


def retention_of(service: Service, kind: str, issued_at: datetime) -> Retention | None:
    """The rule that a report issued now prints; None where no line says one."""
    rule = service.policy.retention.of(kind, _day(service, issued_at))
    return Retention(class_=rule.class_, until=rule.until, source=rule.source) if rule else None


def retained(service: Service, now: datetime) -> list[Retained]:
    """Everything that has a body, by record and name, with what will become of it."""
    today, policy, store = _day(service, now), service.policy.retention, service.store
    found: list[tuple[RecordRow, date, Kept | None]] = []
    for row in store.records():
        made_on = _day(service, row.since)
        found.append((row, made_on, policy.of(row.record, made_on)))
    past = [row for row, _, rule in found if rule is not None and rule.until < today]
    kept = store.kept([{"record": row.record, "name": row.name} for row in past]) if past else {}
    return [
        Retained(
            row.record,
            row.name,
            made_on,
            rule,
            (row.record, row.name) in kept,
            kept.get((row.record, row.name), ""),
        )
        for row, made_on, rule in found
    ]


def hold(
    service: Service,
    person: str,
    reason: str,
    *,
    report: str = "",
    first: date | None = None,
    last: date | None = None,
) -> int:
    """Hold a report with every revision and its days, or everything of a span; the hold's number.

    Nothing that is held is purged until the hold is released.
    """
    if not reason.strip():
        raise UsageError("a legal hold needs a reason: --reason 'matter 2026-17'")
    if bool(report) == (first is not None or last is not None) or (first is None) != (last is None):
        raise UsageError("give either --report, or --from with --to")
    on: dict[str, object]
    if report:
        row = report_named(service, report)
        on = {"kind": row.kind, "period": row.period}
    else:
        assert first is not None
        assert last is not None
        if last < first:
            raise UsageError(f"--to {last} is before --from {first}")
        on = {"first": first, "last": last}
    with service.store.writing() as writer:
        number = writer.add_hold(person, reason, **on)
        said = {key: str(value) for key, value in on.items()}
        writer.log("legal hold set", {"hold": number, "reason": reason, "person": person, **said})
    checkpoint_now(service)
    return number


def release(service: Service, number: int, person: str, reason: str) -> HoldRow:
    """End a legal hold; what was held falls back to its class."""
    if not reason.strip():
        raise UsageError("a release needs a reason: --reason 'matter 2026-17 is closed'")
    known = {h.entry: h for h in service.store.holds()}
    found = known.get(number)
    if found is None:
        listed = ", ".join(map(str, known)) or "none"
        raise UsageError(f"there is no hold {number}; there are: {listed}")
    if found.released_at is not None:
        raise UsageError(f"hold {number} was released on {found.released_at.date()} already")
    with service.store.writing() as writer:
        writer.add_hold(person, reason, releases=number)
        writer.log("legal hold released", {"hold": number, "reason": reason, "person": person})
    checkpoint_now(service)
    return found


def purge(
    service: Service,
    now: datetime,
    person: str,
    reason: str,
    *,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Purged:
    """Empty the bodies of everything that is past its time and not kept, and remove its files.

    The rows stay with their digests, revisions and times, and so does the log. A purge that stopped
    before its files were gone removes them when it is run again.
    """
    if not (dry_run or reason.strip()):
        raise UsageError("a purge needs a reason: --reason 'records past their time, 2033'")
    going = [r for r in retained(service, now) if r.may_go]
    names = [(r.record, r.name) for r in going] + list(service.store.purged())
    reports = {name for record, name in names if record in set(Kind)}
    folders = sorted(f for f in (service.settings.reports_dir / n for n in reports) if f.is_dir())
    if dry_run:
        return Purged(tuple(going), tuple(folders))
    if going:
        progress(f"purging {len(going)} records")
        items = [
            {"record": r.record, "name": r.name, "class": r.rule.class_, "until": str(r.rule.until)}
            for r in going
            if r.rule is not None
        ]
        service.purging_store.purge(items, reason, person)
        checkpoint_now(service)
    for folder in folders:
        progress(f"removing {folder}")
        shutil.rmtree(folder)
    return Purged(tuple(going), tuple(folders))


def _day(service: Service, at: datetime) -> date:
    return at.astimezone(ZoneInfo(service.settings.zone)).date()
