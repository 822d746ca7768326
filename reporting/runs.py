"""What is expected when, who works on it, and what is to be sent: queues in PostgreSQL.

A lease is a holder's name, a fence that grows each time something is taken, and an end by the
server's clock. Whoever was frozen past the end of a lease finds that its writes match no row
(:class:`LeaseLost`) and that somebody else may have taken over. No clock but the server's is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from .errors import LeaseLost
from .policy.schedule import Recipient
from .postgres import Database, Session, queries

#: Only one closes days at a time.
CLOSING = "close"


@dataclass(frozen=True)
class Expected:
    """A run as the schedule expects it; see :class:`reporting.policy.schedule.Run`."""

    key: str
    report: str
    kind: str
    period: str
    day: date
    first: date
    last: date
    due_at: datetime
    deadline_at: datetime


@dataclass(frozen=True)
class Taken(Expected):
    """A run that is ours until its lease ends.

    ``revision`` is the last that it issued, ``reason`` what was said when it was asked for again.
    """

    state: str
    quiet: bool
    attempts: int
    failures: int
    fence: int
    seen: str
    revision: int | None
    reason: str


@dataclass(frozen=True)
class Mail:
    """A mail that is ours until its lease ends."""

    id: int
    kind: str
    period: str
    revision: int
    recipient: str
    address: str
    class_: str
    message_id: str
    unknown: str
    attach: bool
    duplicate: bool
    attempts: int
    give_up_at: datetime
    fence: int
    taken_at: datetime

    @property
    def report(self) -> str:
        """The revision as the log calls it."""
        return f"{self.kind}/{self.period}/r{self.revision}"


@dataclass(frozen=True)
class Lease:
    """What its holder shows with every write; ``name`` is a run's key or :data:`CLOSING`."""

    name: str
    fence: int
    of_run: bool


class Queue:
    """Reads and writes of the queues inside one transaction of the store."""

    def __init__(self, session: Session, named: Mapping[str, Any]) -> None:
        self._session = session
        self._queries = named

    def clock(self) -> datetime:
        """The server's clock."""
        at: datetime = self.rows("clock")[0]["at"]
        return at

    def reconciled(self) -> datetime | None:
        """Up to when expected runs are written down; None where none ever was."""
        rows = self.rows("reconciled")
        return rows[0]["until"] if rows else None

    def reconciled_to(self, until: datetime) -> None:
        """Expected runs are written down up to ``until``."""
        self.run("reconciled_to", until=until)

    def scheduled(self, names: Sequence[str], since: datetime) -> dict[str, datetime]:
        """From which due time on each report of the schedule is expected; of new ones ``since``."""
        self.run("schedule_since", names=list(names), since=since)
        return {row["name"]: row["since"] for row in self.rows("scheduled", names=list(names))}

    def agreed_s(self, schedule: str) -> float:
        """For how long, in seconds, all who looked had this schedule, by its digest and more."""
        rows = self.rows("agreed", schedule=schedule)
        return float(rows[0]["agreed_s"]) if rows else 0.0

    def reschedule(self, runs: Mapping[str, Expected], after: datetime) -> list[str]:
        """Give runs that are not issued the due time and the deadline of ``runs``; their keys.

        Those that were due up to ``after`` stay as they are.
        """
        moved = []
        for row in self.rows("unissued", after=after):
            run = runs.get(row["key"])
            times = (row["due_at"], row["deadline_at"])
            if run is not None and (run.due_at, run.deadline_at) != times:
                of = {"due_at": run.due_at, "deadline_at": run.deadline_at}
                if self.run("reschedule", key=run.key, **of):
                    moved.append(run.key)
        return moved

    def not_written(self, runs: Sequence[Expected]) -> set[str]:
        """Keys of those of ``runs`` that are not written down, in any calendar."""
        if not runs:
            return set()
        rows = self.rows(
            "not_written",
            keys=[run.key for run in runs],
            reports=[run.report for run in runs],
            periods=[run.period for run in runs],
        )
        return {row["key"] for row in rows}

    def expect(
        self,
        run: Expected,
        state: str = "expected",
        quiet: bool = False,
        because: str = "",
        by_hand: bool = False,
    ) -> bool:
        """Write an expected run down; whether it was not yet."""
        given = {name: getattr(run, name) for name in Expected.__dataclass_fields__}
        of = {"state": state, "quiet": quiet, "because": because, "by_hand": by_hand}
        return self.run("expect", **given, **of) == 1

    def miss(self, before: datetime) -> list[str]:
        """Give up runs that were due before; their keys."""
        return [row["key"] for row in self.rows("miss", before=before)]

    def withdraw(self, after: datetime, until: datetime, keys: Sequence[str]) -> list[str]:
        """Give up runs due after ``after``, not later than ``until`` and not among ``keys``."""
        rows = self.rows("withdraw", after=after, until=until, keys=list(keys))
        return [row["key"] for row in rows]

    def restore(self, keys: Sequence[str]) -> list[str]:
        """Expect those of ``keys`` again that were withdrawn; their keys."""
        return [row["key"] for row in self.rows("restore", keys=list(keys))]

    def settle(self) -> list[dict[str, Any]]:
        """Mails that somebody was sending whose lease ended: unknown from now on."""
        return self.rows("settle")

    def give_up(self) -> list[dict[str, Any]]:
        """Mails that are past their time and killed whoever took them: failed from now on."""
        return self.rows("give_up")

    def tally(self, outcome: str, tries: int = 1) -> None:
        """Count attempts that ended: sent, temporary, permanent, unknown. Last in a transaction."""
        if tries:
            self.run("tally", outcome=outcome, tries=tries)

    def resend_unknown(self) -> list[dict[str, Any]]:
        """Queue unknown mails once more where their policy says so."""
        return self.rows("resend_unknown")

    def reopen(self, since: datetime, reports: Sequence[str]) -> int:
        """Expect those of ``reports`` due after ``since`` again whose days were restated."""
        return self.run("reopen", since=since, reports=list(reports))

    def dismiss(self, recipients: Sequence[str]) -> list[dict[str, Any]]:
        """Mails to others than ``recipients``: failed from now on."""
        return self.rows("dismiss", recipients=list(recipients))

    def hold(self, lease: Lease) -> None:
        """Nobody takes it over before this transaction ends; :class:`LeaseLost` if one did."""
        if lease.of_run:
            found = self.rows("hold_run", key=lease.name, fence=lease.fence)
        else:
            found = self.rows("hold_lease", name=lease.name, fence=lease.fence)
        if not found:
            raise LeaseLost(f"the lease of {lease.name} ended before the work was done")

    def finish(
        self,
        lease: Lease,
        state: str,
        revision: int,
        drafted_at: datetime,
        next_at: datetime,
        because: str,
        stages: Mapping[str, float],
        recipients: Sequence[str] = (),
    ) -> None:
        """A run is issued, in full or with gaps; :class:`LeaseLost` if it is not ours any more.

        It stays quiet for its next revision too, unless one of ``recipients`` was sent it before.
        """
        done = self.run(
            "finish_run",
            key=lease.name,
            fence=lease.fence,
            state=state,
            revision=revision,
            drafted_at=drafted_at,
            next_at=next_at,
            because=because,
            closing_s=float(stages.get("close", 0.0)),
            issuing_s=float(stages.get("issue", 0.0)),
            recipients=list(recipients),
        )
        if not done:
            raise LeaseLost(f"the lease of {lease.name} ended before the report was issued")

    def add_mails(self, people: Sequence[tuple[Recipient, str]], **of: Any) -> int:
        """Queue a revision's mail for each of ``people``, with its Message-ID; how many are new.

        ``of`` as the columns of reporting.outbox that they have in common.
        """
        return self.run(
            "add_mails",
            **of,
            recipients=[person.name for person, _ in people],
            addresses=[person.address for person, _ in people],
            classes=[person.class_ for person, _ in people],
            message_ids=[message_id for _, message_id in people],
        )

    def settle_mail(
        self, mail: Mail, state: str, code: int | None, words: str, after_s: float
    ) -> bool:
        """What became of a mail; False where its lease had ended and it is unknown."""
        of = {"id": mail.id, "fence": mail.fence, "state": state}
        return self.run("settle_mail", **of, code=code, words=words, after_s=after_s) == 1

    def resend(self, **of: Any) -> list[dict[str, Any]]:
        """Queue a mail again by hand: kind, period, revision, recipient, give_up_at."""
        return self.rows("resend", **of)

    def redo(self, keys: Sequence[str], quiet: bool, because: str, reason: str) -> int:
        """Expect runs again by hand; how many of them nobody was working on."""
        return self.run("redo", keys=list(keys), quiet=quiet, because=because, reason=reason)

    def waive(self, key: str, because: str) -> bool:
        """A missed or failed run is not wanted any more; False where it is neither."""
        return bool(self.rows("waive", key=key, because=because))

    def rows(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a named query of sql/runs.sql."""
        return self._session.rows(self._queries[name], **parameters)

    def run(self, name: str, /, **parameters: Any) -> int:
        """Run a named statement of sql/runs.sql; how many rows it touched."""
        return self._session.run(self._queries[name], **parameters)


class Runs:
    """The queues of one store, as one holder sees them."""

    def __init__(self, database: Database, holder: str, lease_s: float) -> None:
        """``holder`` names this process among all that work on the store."""
        self._database = database
        self.holder = holder
        self.lease_s = lease_s
        self.named = queries("runs")

    @contextmanager
    def writing(self) -> Iterator[Queue]:
        """One transaction on the queues alone."""
        with self._database.transaction() as session:
            yield Queue(session, self.named)

    def clock(self) -> datetime:
        """The server's clock: the only one that the service goes by."""
        with self.writing() as queue:
            return queue.clock()

    def take(self, reports: Sequence[str]) -> Taken | None:
        """The run of one of ``reports`` that has been due for longest, or None."""
        of = {"holder": self.holder, "lease_s": self.lease_s}
        with self.writing() as queue:
            rows = queue.rows("take_run", reports=list(reports), **of)
        return Taken(**rows[0]) if rows else None

    def close_lease(self) -> Lease | None:
        """The right to close days, or None while somebody else has it."""
        with self.writing() as queue:
            rows = queue.rows("take_lease", name=CLOSING, holder=self.holder, lease_s=self.lease_s)
        return Lease(CLOSING, rows[0]["fence"], False) if rows else None

    def renew(self, lease: Lease) -> bool:
        """Whether it is still ours, then for as long again."""
        with self.writing() as queue:
            if lease.of_run:
                renewed = queue.run(
                    "renew_run", key=lease.name, fence=lease.fence, lease_s=self.lease_s
                )
            else:
                renewed = queue.run(
                    "renew_lease", name=lease.name, fence=lease.fence, lease_s=self.lease_s
                )
        return renewed == 1

    def leave(self, lease: Lease) -> None:
        """Others may have it; nothing where it is not ours any more."""
        with self.writing() as queue:
            queue.run("leave_lease", name=lease.name, fence=lease.fence)

    def put_back(
        self,
        run: Taken,
        *,
        after_s: float,
        because: str,
        state: str | None = None,
        seen: str | None = None,
        counted: bool = True,
        failed: bool = False,
    ) -> bool:
        """A run for later, or failed; False where it is not ours any more.

        ``counted``: it was tried; ``failed``: and it was no outage.
        """
        with self.writing() as queue:
            back = queue.run(
                "put_back",
                key=run.key,
                fence=run.fence,
                after_s=after_s,
                because=because,
                state=state or run.state,
                seen=run.seen if seen is None else seen,
                attempts=int(counted),
                failures=int(failed),
            )
        return back == 1

    def abandon(self, holder: str) -> None:
        """Free what a process held that is known to be dead."""
        with self.writing() as queue:
            for name in ("abandon_runs", "abandon_mails", "abandon_leases"):
                queue.run(name, holder=holder)

    def take_mails(self, most: int) -> list[Mail]:
        """Mails of one report that are due, at most so many."""
        with self.writing() as queue:
            rows = queue.rows("take_mails", holder=self.holder, lease_s=self.lease_s, most=most)
        return [Mail(**{("class_" if k == "class" else k): v for k, v in r.items()}) for r in rows]

    def renew_mails(self, mails: Sequence[Mail]) -> bool:
        """Whether any of them is still ours and to be sent, then for as long again."""
        of = {"ids": [mail.id for mail in mails], "fences": [mail.fence for mail in mails]}
        with self.writing() as queue:
            return queue.run("renew_mails", **of, holder=self.holder, lease_s=self.lease_s) > 0

    def made(self, mails: Sequence[Mail]) -> None:
        """What these carry could be made, and they are no danger to whoever takes them."""
        of = {"ids": [mail.id for mail in mails], "fences": [mail.fence for mail in mails]}
        with self.writing() as queue:
            queue.run("made", **of, holder=self.holder)

    def begin_mail(self, mail: Mail, lease_s: float) -> None:
        """From now on it may have arrived; :class:`LeaseLost` where it is not ours any more."""
        with self.writing() as queue:
            begun = queue.run(
                "begin_mail",
                id=mail.id,
                fence=mail.fence,
                lease_s=lease_s,
                address=mail.address,
                class_=mail.class_,
            )
        if not begun:
            raise LeaseLost(f"the lease of {mail.report} to {mail.recipient} ended")

    def runs(self, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Every run that was due in a span, with how it stands."""
        return self.read("runs", since=since, until=until)

    def mails(self, kind: str = "", period: str = "") -> list[dict[str, Any]]:
        """Every mail of a report, or of all."""
        return self.read("mails", kind=kind, period=period)

    def seen(self, name: str) -> None:
        """A replica's sign of life."""
        with self.writing() as queue:
            queue.run("seen", name=name)

    def agrees(self, schedule: str) -> bool:
        """Whether whoever looked last has this schedule."""
        rows = self.read("agrees", schedule=schedule)
        return not rows or bool(rows[0]["agrees"])

    def next_wake_s(self, reports: Sequence[str]) -> float | None:
        """Seconds until something is due; negative where something is, None where nothing is."""
        found: float | None = self.read("next_wake", reports=list(reports))[0]["after_s"]
        return found

    def read(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a named query of sql/runs.sql, in a snapshot of their own."""
        with self._database.snapshot() as session:
            return session.rows(self.named[name], **parameters)
