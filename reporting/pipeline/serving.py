"""Expected runs, written down and worked off: close, issue and queue the mails of each.

The schedule says what is expected, PostgreSQL who does it and whether it is done; nothing is kept
in a process. Every function may be killed at any point: what it had not committed is done again by
whoever takes the run after the lease has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from email.utils import parseaddr
from functools import partial
from time import perf_counter
from typing import Any

from ..deliver import message_id
from ..errors import (
    EngineUnavailable,
    LeaseLost,
    NotReady,
    ReportingError,
    SigningUnavailable,
    SourceUnavailable,
    UsageError,
)
from ..model import Why
from ..page import Document, Status
from ..policy.schedule import Run, Scheduled, expected
from ..runs import Expected, Lease, Queue, Runs, Taken
from ..seal import SealedDay
from ..store import Writer
from .closing import INCOMPLETE, close, lacked
from .issuing import issue
from .readiness import readiness
from .service import Service, sealed_day

#: How long to wait before looking again at what is not ready, and after a failure (doubled).
LOOK_AGAIN_S, RETRY_S, RETRY_AT_MOST_S = 30.0, 15.0, 900.0
#: What is away now and may be there the next time: no number of tries makes it a failure.
PASSING = (SourceUnavailable, EngineUnavailable, SigningUnavailable)
#: A run that fails this often is failed; what only has to wait is not counted.
ATTEMPTS = 5
#: So often a source may fail past the deadline before the report is issued without it.
PATIENCE = 3
#: How long after the deadline a mail is tried, at least.
MAIL_S = timedelta(hours=4)
#: What was issued with gaps is looked at again after as long as it has been open, at most this.
GAPS_AT_MOST_S = 6 * 3600.0
#: So long all replicas have to have the same schedule before runs are withdrawn or moved by it:
#: while they get another one, or a file is half written, one may know what others do not.
AGREED_S = 120.0
#: Why a run is missed from the first.
TOO_OLD = "not issued within the time for catching up"
TOO_LATE = "the schedule came to expect it when its deadline was over"


@dataclass(frozen=True)
class Reconciled:
    """What one look at the schedule and the clock changed."""

    at: datetime
    expected: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    reopened: int = 0
    unknown: tuple[str, ...] = ()
    resent: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()  # mails that killed whoever made them, or that nobody wants now


@dataclass(frozen=True)
class Worked:
    """What became of a run: issued, incomplete, waits, failed, lost (to another holder)."""

    key: str
    outcome: str
    because: str = ""
    report: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    bug: Exception | None = None  # of ours: what nobody foresaw


def runs_of(service: Service, holder: str) -> Runs:
    """The queues of the service's store as ``holder`` sees them."""
    return Runs(service.store_database, holder, service.settings.lease_s)


def reconcile(service: Service, runs: Runs) -> Reconciled:
    """Write down what has fallen due since the last time, whoever looked then.

    Nothing was expected before the service first looked, or of a report before it was in the
    schedule; `reporting backfill` is for that. What a changed schedule would have expected before
    now is still made within its deadline, and missed after it.
    """
    schedule = service.schedule
    with service.store.writing() as writer:
        queue = writer.queue
        now = queue.clock()
        since = queue.reconciled()
        too_old = now - schedule.catch_up
        due = expected(schedule, min(since or too_old, too_old), now)
        open_ = [run for run in due if run.due_at > too_old]
        added: list[str] = []
        missed: dict[str, str] = {}  # and why

        def write(run: Run, missed_because: str) -> None:
            state = "missed" if missed_because else "expected"
            if queue.expect(as_expected(run), state, because=missed_because):
                if missed_because:
                    missed[run.key] = missed_because
                else:
                    added.append(run.key)

        began = queue.scheduled(schedule.names, since or now)
        for run in due:
            if since is not None and run.due_at > since:
                write(run, TOO_OLD if run.due_at < too_old else "")
        missed |= dict.fromkeys(queue.miss(too_old), TOO_OLD)
        withdrawn: list[str] = []
        dismissed: tuple[str, ...] = ()
        if queue.agreed_s(service.agreement) >= max(AGREED_S, 3 * service.settings.tick_s):
            # A closure may be announced when its session's run is due already.
            withdrawn = queue.withdraw(too_old, now, [run.key for run in open_])
            for key in withdrawn:
                writer.log("run withdrawn", {"run": key, "schedule": schedule.digest})
            for key in queue.reschedule({run.key: as_expected(run) for run in open_}, too_old):
                writer.log("run moved", {"run": key, "schedule": schedule.digest})
            gone = queue.dismiss([person.name for person in schedule.recipients])
            dismissed = _logged(writer, "mail failed", gone)
        for key in queue.restore([run.key for run in open_]):
            writer.log("run expected again", {"run": key, "schedule": schedule.digest})
            added.append(key)
        # So may a session, or an earlier due time: nothing is lost between two looks.
        before = [run for run in open_ if began[run.name] < run.due_at <= (since or now)]
        lost = queue.not_written([as_expected(run) for run in before])
        for run in (run for run in before if run.key in lost):
            write(run, TOO_LATE if run.deadline_at < now else "")
        for key, because in missed.items():
            writer.log("run missed", {"run": key, "because": because})
        queue.reconciled_to(now)
        unknown = _logged(writer, "mail outcome unknown", queue.settle())
        failed = _logged(writer, "mail failed", queue.give_up())
        resent = _logged(writer, "mail sent again", queue.resend_unknown())
        reopened = queue.reopen(too_old, schedule.names)
        queue.tally("unknown", len(unknown))
    return Reconciled(
        now,
        tuple(added),
        tuple(missed),
        tuple(withdrawn),
        reopened,
        unknown,
        resent,
        (*failed, *dismissed),
    )


def _logged(writer: Writer, event: str, rows: list[dict[str, Any]]) -> tuple[str, ...]:
    for row in rows:
        report = f"{row['kind']}/{row['period']}/r{row['revision']}"
        of = {"report": report, "recipient": row["recipient"], "message_id": row["message_id"]}
        writer.log(event, {**of, "because": row["words"]})
    return tuple(f"{row['kind']}/{row['period']} to {row['recipient']}" for row in rows)


def as_expected(run: Run) -> Expected:
    """A run of the schedule as the queues hold it."""
    return Expected(
        key=run.key,
        report=run.name,
        kind=run.kind,
        period=run.period_label,
        day=run.day,
        first=run.first,
        last=run.last,
        due_at=run.due_at,
        deadline_at=run.deadline_at,
    )


def work(service: Service, runs: Runs) -> Worked | None:
    """Take the run that has been due for longest and do it; None where nothing is to be done.

    Where the schedule or the policy can't be read nothing is taken: that is no fault of a run.
    """
    service.configured()
    run = runs.take(service.schedule.names)
    if run is None:
        return None
    lease = Lease(run.key, run.fence, True)
    stages: dict[str, float] = {}
    try:
        with kept(runs, partial(runs.renew, lease)):
            return _do(service, runs, run, lease, stages)
    except LeaseLost as error:
        return Worked(run.key, "lost", str(error))
    except NotReady as error:
        # Past its deadline what is not there keeps a report waiting three times, then it is a gap.
        late = runs.clock() >= run.deadline_at
        return _back(runs, run, str(error), counted=late)
    except PASSING as error:
        return _back(runs, run, str(error), after_s=_after_s(run.attempts + 1))
    except Exception as error:
        # A report that can't be made stops no other; a bug of ours shows as a failed run.
        ours = not isinstance(error, ReportingError)
        words = repr(error) if ours else str(error)
        usage = isinstance(error, UsageError)
        failed = run.failures + 1 >= ATTEMPTS or usage
        if failed:
            with service.store.writing() as writer:
                writer.log("run failed", {"run": run.key, "because": words[:500]})
        state = "failed" if failed else None
        after_s = _after_s(run.failures + 1)
        back = _back(runs, run, words[:500], after_s=after_s, state=state, failed=True)
        return replace(back, bug=error) if ours else back


def _after_s(attempts: int) -> float:
    return min(RETRY_S * 2.0 ** min(attempts - 1, 20), RETRY_AT_MOST_S)


def _back(
    runs: Runs,
    run: Taken,
    because: str,
    *,
    counted: bool = True,
    after_s: float = LOOK_AGAIN_S,
    state: str | None = None,
    seen: str | None = None,
    failed: bool = False,
) -> Worked:
    ours = runs.put_back(
        run,
        after_s=after_s,
        because=because,
        state=state,
        seen=seen,
        counted=counted,
        failed=failed,
    )
    outcome = "lost" if not ours else "failed" if state == "failed" else "waits"
    return Worked(run.key, outcome, because)


def _do(service: Service, runs: Runs, run: Taken, lease: Lease, stages: dict[str, float]) -> Worked:
    """Close what is not closed, issue, and queue the mails: the last two in one transaction."""
    now = runs.clock()
    ready = readiness(service, run.last, now, run.seen)
    late = now >= run.deadline_at
    # After a time down everything may be there, past every deadline: then gaps come last.
    gaps = late and (bool(ready.lacks) or run.attempts >= PATIENCE)
    if ready.lacks and (not late or run.state == "incomplete" or now < service.end_of(run.last)):
        return _back(
            runs, run, ready.lacks, counted=False, after_s=_pause(run, now), seen=ready.seen
        )
    began = perf_counter()
    if _to_close(service, run):
        closing = runs.close_lease()
        if closing is None:
            return _back(runs, run, "another run is closing days", counted=False, after_s=1.0)
        try:
            with kept(runs, partial(runs.renew, closing)):
                now = runs.clock()
                closed = []
                for day in [*_days_with_gaps(service, run), run.last]:
                    closed += close(service, day, now, allow_gaps=gaps, lease=closing)
        finally:
            runs.leave(closing)
        stages["close"] = perf_counter() - began
        changed = any(c.outcome != "unchanged" for c in closed)
        if run.state == "incomplete" and run.revision is not None and not changed:
            over = now >= run.due_at + service.schedule.catch_up
            return _back(
                runs,
                run,
                "its gaps are still there",
                counted=False,
                after_s=_pause(run, now),
                state="issued" if over else None,
            )
    began = perf_counter()
    now = runs.clock()

    def also(writer: Writer, document: Document) -> None:
        stages["issue"] = perf_counter() - began
        _finish(service, writer.queue, run, lease, document, now, stages)

    issued = issue(
        service,
        run.kind,
        run.day,
        now,
        reason=_reason(service, run),
        allow_gaps=gaps,
        also=also,
    )
    outcome = "incomplete" if issued.document.status is Status.INCOMPLETE else "issued"
    return Worked(run.key, outcome, "", issued.document.id, stages)


def _pause(run: Taken, now: datetime) -> float:
    """Seconds until the next look: soon at first, rarely at what has been open for long."""
    open_s = (now - run.due_at).total_seconds()
    return min(max(open_s / 20, LOOK_AGAIN_S), GAPS_AT_MOST_S)


def _to_close(service: Service, run: Taken) -> bool:
    """Whether days are to be sealed first, or looked at again for what came late."""
    row = service.store.day(run.last)
    if row is None or sealed_day(row).flash or run.state == "incomplete":
        return True
    known = service.store.known_until()
    return known is None or known < run.due_at


def _days_with_gaps(service: Service, run: Taken) -> list[date]:
    """Days but the last that were sealed without a source, of a report that was issued so."""
    if run.state != "incomplete":
        return []
    rows = service.store.days(run.first, run.last - timedelta(days=1))
    return [row.day for row in rows if _with_gaps(sealed_day(row))]


def _with_gaps(day: SealedDay) -> bool:
    facts = (f for f in day.facts.values() if isinstance(f, Mapping))
    return lacked(day, *INCOMPLETE) or any(f.get("why") == Why.UNREACHABLE for f in facts)


def _reason(service: Service, run: Taken) -> str:
    """Why there is another revision, where the restated days themselves may not say it."""
    if run.state != "incomplete" or run.revision is None:
        return run.reason
    return f"what was missing in r{run.revision} is there now"


def _finish(
    service: Service,
    queue: Queue,
    run: Taken,
    lease: Lease,
    document: Document,
    now: datetime,
    stages: Mapping[str, float],
) -> None:
    """The run's end and its mails, in the transaction that issues the report."""
    gaps = document.status is Status.INCOMPLETE
    again = now + timedelta(seconds=LOOK_AGAIN_S * 2)
    state = "incomplete" if gaps and now < run.due_at + service.schedule.catch_up else "issued"
    because = "issued with gaps" if gaps else ""
    recipients = scheduled_named(service, run.report).recipients
    queue.finish(lease, state, document.revision, now, again, because, stages, recipients)
    if not run.quiet:
        queue_mails(service, queue, run.report, document, run.deadline_at, now)


def queue_mails(
    service: Service,
    queue: Queue,
    report: str,
    document: Document,
    deadline_at: datetime,
    now: datetime,
) -> int:
    """One row for each recipient of the scheduled report named ``report``; how many are new."""
    scheduled = scheduled_named(service, report)
    domain = mail_domain(service)
    people = [service.schedule.recipient(name) for name in scheduled.recipients]
    return queue.add_mails(
        # The schedule was refused otherwise: it knows them all.
        [(each, message_id(document.id, each.name, domain)) for each in people if each],
        kind=document.kind.value,
        period=document.period.label,
        revision=document.revision,
        unknown=scheduled.unknown,
        attach=scheduled.attach,
        give_up_at=max(deadline_at, now + MAIL_S),
    )


def mail_domain(service: Service) -> str:
    """What follows the @ in Message-IDs: as set, or the sender's."""
    settings = service.settings
    sender = parseaddr(settings.smtp_sender or "")[1].rpartition("@")[2]
    return settings.mail_domain or sender or "reporting.invalid"


def scheduled_named(service: Service, name: str) -> Scheduled:
    """The scheduled report ``name``; :class:`UsageError` where the schedule has none."""
    for scheduled in service.schedule.reports:
        if scheduled.name == name:
            return scheduled
    known = ", ".join(service.schedule.names) or "none at all"
    raise UsageError(
        f"the schedule has no report {name!r}; it has {known} (REPORTING_SCHEDULE_FILE)"
    )


@contextmanager
def kept(runs: Runs, renewed: Callable[[], bool]) -> Iterator[None]:
    """Renew a lease while something is worked on; a thread, since rendering takes its time.

    Losing it is noticed by the write that shows it: nothing here interrupts the work.
    """
    done = threading.Event()

    def renew() -> None:
        while not done.wait(runs.lease_s / 3):
            try:
                if not renewed():
                    return
            except SourceUnavailable:
                continue  # the next one may reach it; until then the lease runs down

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


# ---- by hand ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filled:
    """A run that a backfill would do, or did queue."""

    key: str
    state: str  # how it stood before: "never" where it was not written down
    due_at: datetime


def backfill(
    service: Service,
    first: date,
    last: date,
    mode: str,
    *,
    kind: str = "",
    mail: bool = False,
    reason: str = "",
    dry_run: bool = False,
) -> list[Filled]:
    """Expect the runs of periods that end between two days again, in order; nothing is mailed.

    ``mode``: missing (never issued: not written down, or missed), failed, or all (issued ones too,
    which makes a revision only where something changed, with ``reason`` where no restated day gives
    one). With ``mail`` their mails are queued.
    """
    if last < first:
        raise UsageError(
            f"--to {last} is before --from {first}; expected the same day or a later one"
        )
    runs = runs_of(service, "backfill")
    now = runs.clock()
    schedule = service.schedule
    since = service.end_of(first) - timedelta(days=2)
    wanted = [
        run
        for run in expected(schedule, since, now)
        if first <= run.last and run.day <= last and kind in ("", run.kind)
    ]
    have = {row["key"]: row for row in runs.runs(since, now)}
    found = []
    for run in wanted:
        row = have.get(run.key)
        state = row["state"] if row else "never"
        missing = state == "missed" or (state == "never" and not _issued(service, run))
        on_its_way = state in ("expected", "incomplete")
        if (
            (mode == "all" and not on_its_way)
            or (mode == "missing" and missing)
            or (mode == "failed" and state == "failed")
        ):
            found.append((run, Filled(run.key, state, run.due_at)))
    if not dry_run and found:
        with service.store.writing() as writer:
            for run, _ in found:
                writer.queue.expect(as_expected(run), quiet=not mail, by_hand=True)
            keys = [filled.key for _, filled in found if filled.state != "never"]
            writer.queue.redo(keys, not mail, "expected again by hand", reason)
            writer.log(
                "backfill",
                {"from": first.isoformat(), "to": last.isoformat(), "mode": mode, "mail": mail,
                 "runs": len(found), "reason": reason},
            )  # fmt: skip
    return [filled for _, filled in found]


def waive(service: Service, key: str, reason: str) -> None:
    """A report that was missed or that failed is not wanted any more; the log says who says so.

    :class:`UsageError` where it is neither.
    """
    with service.store.writing() as writer:
        if not writer.queue.waive(key, f"waived: {reason}"[:500]):
            raise UsageError(
                f"{key!r} is no run that was missed or has failed; `reporting status` lists them"
            )
        writer.log("run waived", {"run": key, "reason": reason})


def _issued(service: Service, run: Run) -> bool:
    return service.store.report(run.kind, run.period_label) is not None
