"""A snapshot in which nothing is missing, in numbers that can be told apart."""

from __future__ import annotations

from datetime import UTC, date, datetime

from reporting.metrics import Duration, Observed, Scheduled, Snapshot

AT = datetime(2026, 11, 20, 11, 30, tzinfo=UTC)

WHOLE = Snapshot(
    reports=(
        Scheduled(
            "daily",
            last_issued=AT,
            last_complete=datetime(2026, 11, 19, 11, 30, tzinfo=UTC),
            next_due=datetime(2026, 11, 23, 11, 30, tzinfo=UTC),
            overdue_s=61.5,
            past_deadline=2,
            runs={"issued": 40, "missed": 3, "failed": 1},
            durations={"close": Duration(44, 120.25), "issue": Duration(43, 80.5)},
        ),
        Scheduled("weekly"),
    ),
    outbox={"sent": 800, "queued": 5, "unknown": 1},
    oldest_queued_s=17.5,
    last_failed=datetime(2026, 11, 18, tzinfo=UTC),
    sends={"sent": 800, "temporary": 9},
    leases=1,
    replicas=3,
    audit_entries=1_000,
    witnessed_entries=998,
    calendars={"XNYS": date(2027, 12, 31)},
)


def whole() -> Observed:
    """A process that has ticked and whose store says all of this."""
    observed = Observed("0.1.0", "replica-1")
    observed.collector(lambda: WHOLE)
    observed.ticked(AT)
    observed.audited()
    return observed
