"""What a scrape reads from the store, and whether the service is ready."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any

from ..errors import UsageError
from ..metrics import Duration, Scheduled, Snapshot
from ..periods import LAST_YEAR
from ..policy.schedule import expected
from ..runs import Runs
from .auditing import witnessed
from .service import Service

#: So far the next due time is looked for: a quarter and its business days.
AHEAD = timedelta(days=110)


def snapshot(service: Service, runs: Runs) -> Snapshot:
    """Everything that metrics say of the store, of about one instant."""
    now = runs.clock()
    counted = {row["report"]: row for row in runs.read("run_counts")}
    mails = runs.read("mail_counts")[0]
    alive = runs.read("alive")[0]
    due = next_due(service, now)
    names = dict.fromkeys((*(s.name for s in service.schedule.reports), *counted))
    return Snapshot(
        reports=tuple(_scheduled(name, counted.get(name, {}), due.get(name)) for name in names),
        outbox={s: mails[s] for s in ("queued", "sending", "sent", "failed", "unknown")},
        oldest_queued_s=mails["oldest_queued_s"],
        last_failed=mails["last_failed"],
        sends={s: mails[f"tries_{s}"] for s in ("sent", "temporary", "permanent", "unknown")},
        leases=alive["leases"],
        replicas=alive["replicas"],
        audit_entries=alive["audit_entries"],
        witnessed_entries=witnessed(service),
        calendars={s.calendar: date(LAST_YEAR, 12, 31) for s in service.schedule.reports}
        or {service.settings.calendar: date(LAST_YEAR, 12, 31)},
    )


def next_due(service: Service, now: datetime) -> dict[str, datetime]:
    """When each scheduled report is due next; nothing where the calendar ends before."""
    found: dict[str, datetime] = {}
    with suppress(UsageError):  # what lies beyond the known years nobody can tell
        for run in expected(service.schedule, now, now + AHEAD):
            found.setdefault(run.name, run.due_at)
    return found


def _scheduled(name: str, row: Mapping[str, Any], due: datetime | None) -> Scheduled:
    states = ("expected", "working", "incomplete", "issued", "missed", "failed")
    return Scheduled(
        name,
        last_issued=row.get("last_issued_at"),
        last_complete=row.get("last_complete_at"),
        next_due=due,
        overdue_s=max(row.get("overdue_s", 0.0), 0.0),
        past_deadline=row.get("past_deadline", 0),
        runs={state: row.get(state, 0) for state in states},
        durations={
            "close": Duration(row.get("closes", 0), row.get("closing_s", 0.0)),
            "issue": Duration(row.get("issues", 0), row.get("issuing_s", 0.0)),
        },
    )


def not_ready(service: Service) -> str | None:
    """Why the service can't work, or None: store, its schema, schedule and policy."""
    try:
        if problem := service.store.check():
            return problem
        _ = service.schedule, service.policy
    except Exception as error:  # whatever it is, it is said and not raised
        return str(error).splitlines()[0]
    return None
