"""``reporting serve``, ``backfill``, ``deliver`` and ``waive``: the service, and by hand."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import Annotated, Any
from uuid import uuid4

import typer

from .. import __version__, logs, pipeline
from ..errors import DeliveryFailed, ReportingError, SourceUnavailable, UsageError, ValidationFailed
from ..metrics import Observed, serve_http
from ..pipeline.delivering import Delivered, Delivery
from ..pipeline.serving import Worked
from ..runs import Runs
from ..scheduler import Clock
from ..settings import Settings, host_name, secret_values
from ..workers import Workers
from .shared import DryRunOption, JsonOption, as_of, day_of, open_service, out, plain, print_json

SERVE_EXAMPLES = "Examples: reporting serve\n\nreporting serve --once --json"
BACKFILL_EXAMPLES = (
    "Examples: reporting backfill --from 2025-11-03 --to 2025-11-28 --dry-run\n\n"
    "reporting backfill --from 2025-11-03 --to 2025-11-28 --mode failed --mail"
)
DELIVER_EXAMPLES = (
    "Examples: reporting deliver\n\n"
    "reporting deliver --resend desk --report daily/2025-12-05 --reason 'was on holiday'"
)
WAIVE_EXAMPLES = (
    "Example: reporting waive daily/XNYS/2025-12-05 --reason 'the desk was closed, nobody wants it'"
)
#: A worker ends after so many works, and another takes its place: libraries keep what they load.
WORKS = 500
GRACE_S = 30.0
#: No question of a scrape or a health check to the store takes longer.
ASKED_S = 3.0
#: What is only logged (mails) gets a checkpoint at least so often.
CHECKPOINT_S = 3600.0
OUTCOMES: dict[str, logs.Outcome] = {"sent": "success", "unknown": "unknown"}


def serve(
    once: Annotated[
        bool, typer.Option("--once", help="Do all that is due now, then end; for a cron job.")
    ] = False,
    worker: Annotated[str, typer.Option("--worker", hidden=True)] = "",
    as_json: JsonOption = False,
) -> None:
    """Close, issue and deliver by schedule until stopped; any number may run on one store.

    Answers /metrics, /livez and /readyz. What is expected, done, missed or unknown is in the
    database and in `reporting status`; docs/operating.md says what to do about it.
    """
    service = replace(open_service(), keeps=True)
    settings = service.settings
    replica = settings.replica or host_name()
    _log_by(settings, replica)
    if worker:
        return _worker(service, worker)
    if once:
        return _once(service, f"{replica}/once/{uuid4().hex[:8]}", as_json)
    _supervise(service, replica)
    return None


def _log_by(settings: Settings, replica: str) -> None:
    logs.configure(
        settings.log_format,
        settings.log_level,
        version=__version__,
        replica=replica,
        secrets=secret_values(settings),
    )


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    yield stop


class _Trouble:
    """What goes wrong again and again: told when it begins, when it changes and when it is over."""

    def __init__(self, words: str, over: str, action: str) -> None:
        self._words, self._over, self._action = words, over, action
        self._told: str | None = None

    def tell(self, error: Exception | None) -> None:
        """How it went this time; None: well."""
        now = None if error is None else f"{type(error).__name__}: {error}"
        if now == self._told:
            return
        self._told = now
        if error is None:
            logs.log(self._over, action=self._action, outcome="success")
        else:
            logs.log(self._words, level="error", action=self._action, outcome="failure",
                     error=error)  # fmt: skip


@dataclass(frozen=True)
class _Opened:
    """What a replica works with, by its files as they last made sense."""

    service: pipeline.Service
    files: str  # their digest
    #: Scrapes ask in threads of their own and give up soon, so they have a service of their own.
    asked: pipeline.Service
    runs: Runs
    rounds: pipeline.Rounds


def _opened(service: pipeline.Service, holder: str) -> _Opened:
    """:class:`ReportingError` where a file makes no sense."""
    files = service.files_digest()  # before they are read: what is edited meanwhile is seen later
    asked = replace(service, keeps=False, store_timeout_s=ASKED_S)
    for each in (service, asked):
        each.configured()
    runs = pipeline.runs_of(service, holder)
    return _Opened(service, files, asked, runs, pipeline.Rounds(service))


def _supervise(service: pipeline.Service, replica: str) -> None:
    """The clock, the workers and the health checks of one replica.

    A store that is away or not migrated is waited for. What only a person can mend, such as a
    schedule that makes no sense, ends it at the start, and changes nothing later on.
    """
    settings = service.settings
    session = uuid4().hex[:8]
    try:
        now = _opened(service, f"{replica}/{session}")
    except ReportingError as error:
        logs.log("not ready", level="error", action="start", outcome="failure", error=error)
        raise
    observed = Observed(__version__, replica)
    observed.collector(lambda: pipeline.snapshot(now.asked, pipeline.runs_of(now.asked, "scrape")))
    begun, edited = threading.Event(), threading.Event()
    looking = _Trouble(
        "the schedule could not be looked at", "the schedule is looked at again", "tick"
    )
    reading = _Trouble(
        "the configuration makes no sense and is not used", "the configuration is well", "configure"
    )

    def died(name: str, code: int) -> None:
        level: logs.Level = "info" if code == 0 else "warning"
        logs.log("worker ended", level=level, action="worker", worker=name, code=code)
        with suppress(SourceUnavailable):  # its leases run out by themselves
            now.runs.abandon(name)

    seen = now.files

    def read_again() -> None:
        """Go on with files that were edited; with the old ones while the new make no sense.

        They have to be the same at two looks: a file that is being written may make sense halfway.
        """
        nonlocal now, seen
        try:
            found = replace(open_service(), keeps=True)
            same = found.settings == now.service.settings
            before, seen = seen, found.files_digest()
            if same and seen not in (now.files, before):
                return
            if not same or seen != now.files:
                opened = _opened(found, now.runs.holder)
                # The same store: what was read of its audit log need not be read again.
                old, now = now, replace(opened, rounds=now.rounds) if same else opened
                _log_by(found.settings, replica)
                edited.set()
                logs.log("the configuration was changed", action="configure",
                         schedule=found.schedule.digest, policy=found.policy.digest)  # fmt: skip
                for each in (old.service, old.asked):
                    each.close()
        except Exception as error:
            observed.configured(ok=False)
            reading.tell(error)
        else:
            observed.configured(ok=True)
            reading.tell(None)

    witnessed_at: list[float] = []

    def tick() -> None:
        read_again()
        try:
            if not begun.is_set() and (problem := now.service.store.check()):
                raise SourceUnavailable(problem)
            _look(now.service, now.runs, replica)
            begun.set()
            if not witnessed_at or monotonic() - witnessed_at[-1] > CHECKPOINT_S:
                witnessed_at[:] = [monotonic()]
                _audit(now.service, now.rounds, observed)
        except Exception as error:
            observed.ticked(as_of(""), ok=False)
            looking.tell(error)
        else:
            observed.ticked(as_of(""))
            looking.tell(None)

    clock = Clock(tick, settings.tick_s)
    workers = Workers(
        lambda name: (sys.executable, "-m", "reporting", "serve", "--worker", name),
        settings.workers,
        lambda place, number: f"{replica}/{session}/{place}.{number}",
        died,
    )
    stuck_s = max(10 * settings.tick_s, 120.0)
    with (
        _stopped_by_signals() as stop,
        _answering(service, observed, stuck_s, lambda: pipeline.not_ready(now.asked)) as port,
    ):
        logs.log("serving", action="start", port=port, workers=settings.workers)
        clock.start()
        try:
            while not stop.wait(0.5):
                if edited.is_set():
                    edited.clear()
                    workers.renew()
                if begun.is_set():  # until then they could do nothing but wait
                    workers.tend()
                if clock.tend():
                    logs.log("the clock was set anew", level="warning", action="clock")
        finally:
            clock.stop()
            workers.stop(GRACE_S)
            logs.log("stopped", action="stop")


def _audit(service: pipeline.Service, rounds: pipeline.Rounds, observed: Observed) -> None:
    """A checkpoint where one is wanted, and the next look at old entries of the audit log."""
    try:
        pipeline.catch_up_witness(service)
        rounds.go_on()
    except ValidationFailed as error:
        observed.audited(ok=False)
        logs.log("the audit log is not what its checkpoints say", level="error", action="audit",
                 outcome="failure", error=error)  # fmt: skip
    else:
        observed.audited()


@contextmanager
def _answering(
    service: pipeline.Service,
    observed: Observed,
    stuck_s: float,
    ready: Callable[[], str | None],
) -> Iterator[int]:
    """The health checks and metrics; :class:`UsageError` where their port is taken."""
    address, port = service.settings.http_address, service.settings.http_port
    with ExitStack() as stack:
        try:
            found = stack.enter_context(
                serve_http(address, port, observed.registry, lambda: observed.stuck(stuck_s), ready)
            )
        except OSError as error:
            raise UsageError(
                f"{address}:{port} can't be used for health checks ({error.strerror}); set "
                "REPORTING_HTTP_PORT to another port, or to 0 for any"
            ) from None
        yield found


def _look(service: pipeline.Service, runs: Runs, replica: str) -> None:
    """One look at the schedule, with a line for each thing that changed."""
    runs.seen(replica)
    found = pipeline.reconcile(service, runs)
    for key in found.expected:
        with logs.bound(key):
            logs.log("run expected", action="expect")
    for key in found.missed:
        with logs.bound(key):
            logs.log("run missed", level="error", action="miss", outcome="failure")
    for key in found.withdrawn:
        with logs.bound(key):
            logs.log(
                "run withdrawn: not in the schedule any more", level="warning", action="expect"
            )
    told: tuple[tuple[str, logs.Level, logs.Outcome | None, tuple[str, ...]], ...] = (
        ("mail outcome unknown", "error", "unknown", found.unknown),
        ("mail given up", "error", "failure", found.failed),
        ("mail is sent again", "warning", None, found.resent),
    )
    for words, level, outcome, mails in told:
        for mail in mails:
            report, _, recipient = mail.partition(" to ")
            with _bound_mail(service, report, recipient):
                logs.log(words, level=level, action="deliver", outcome=outcome, mail=mail)
    if found.reopened:
        logs.log("reports of restated days are issued again", action="expect", runs=found.reopened)


@contextmanager
def _bound_mail(service: pipeline.Service, report: str, recipient: str) -> Iterator[None]:
    """Lines about a mail are its run's: ``report`` is daily/2025-12-05, or …/r1."""
    kind, period = report.split("/")[:2]
    with logs.bound(service.schedule.run_of(kind, period, recipient)):
        yield


def _worker(service: pipeline.Service, name: str) -> None:
    """Work off runs and mails until told to stop, until the parent is gone, or for a while.

    With files that make no sense it takes nothing up: it would be the runs and mails that failed.
    """
    if problem := _senseless(lambda: service):
        logs.log("no work is taken up", level="error", action="configure", outcome="failure",
                 error=problem)  # fmt: skip
        raise SystemExit(problem.exit_code)
    runs = pipeline.runs_of(service, name)
    parent = os.getppid()
    store = _Trouble("the store does not answer", "the store answers again", "work")
    with _stopped_by_signals() as stop:
        delivery = Delivery(service, runs, stop.is_set)
        try:
            works = 0
            while works < WORKS and not stop.is_set() and os.getppid() == parent:
                if _one(service, runs, delivery, store):
                    works += 1
                else:
                    stop.wait(_rest_s(service, runs))
                if works == WORKS and _senseless(open_service):
                    works = 0  # whoever came after us would take up nothing
        finally:
            delivery.close()


def _senseless(opened: Callable[[], pipeline.Service]) -> ReportingError | None:
    """What is wrong with the files of a service; where it is nothing, they are read now."""
    try:
        opened().configured()
    except ReportingError as error:
        return error
    return None


def _one(service: pipeline.Service, runs: Runs, delivery: Delivery, store: _Trouble) -> bool:
    """One run and some mails; whether there was anything to do. What fails is logged."""
    busy = False
    with suppress(SourceUnavailable):  # what follows says so
        if not runs.agrees(service.agreement):
            return False  # we have older files than whoever looked last, and are replaced soon
    acts: tuple[Callable[[], bool], ...] = (
        lambda: _work(service, runs),
        lambda: _deliver(delivery),
    )
    for act in acts:
        if delivery.stopping():
            break
        try:
            busy |= act()
        except SourceUnavailable as error:  # asked again every second
            store.tell(error)
        except Exception as error:
            logs.log("work failed", level="error", action="work", outcome="failure", error=error)
        else:
            store.tell(None)
    return busy


def _rest_s(service: pipeline.Service, runs: Runs) -> float:
    try:
        wake_s = runs.next_wake_s(service.schedule.names)
    except SourceUnavailable:
        return 1.0
    # What is due and was not to be had waits for another run of its report.
    return 1.0 if wake_s is None else 0.3 if wake_s <= 0 else min(max(wake_s, 0.1), 1.0)


def _work(service: pipeline.Service, runs: Runs) -> bool:
    worked = pipeline.work(service, runs)
    if worked is None:
        return False
    _say(worked)
    return worked.outcome != "waits"


def _say(worked: Worked) -> None:
    bad = worked.outcome in ("failed", "lost") or worked.bug is not None
    with logs.bound(worked.key):
        logs.log(
            f"run {worked.outcome}",
            level="error" if bad else "info",
            action="run",
            outcome="failure" if bad else "success" if worked.report else None,
            error=worked.bug,
            duration_s=sum(worked.stages.values()) or None,
            report=worked.report or None,
            because=worked.because or None,
        )


def _deliver(delivery: Delivery) -> bool:
    found = delivery.some()
    for sent in found:
        with _bound_mail(delivery.service, sent.report, sent.recipient):
            _say_sent(sent)
    return bool(found)


def _say_sent(sent: Delivered) -> None:
    bad = sent.state in ("failed", "unknown")
    logs.log(
        f"mail {sent.state}",
        level="error" if bad else "warning" if sent.state == "queued" else "info",
        action="deliver",
        outcome="success"
        if sent.state == "sent"
        else "unknown"
        if sent.state == "unknown"
        else "failure",
        report=sent.report,
        recipient=sent.recipient,
        code=sent.code,
        because=sent.words if sent.state != "sent" else None,
    )


def _once(service: pipeline.Service, holder: str, as_json: bool) -> None:
    """One look at the schedule, then everything that is due; exit 5 where a mail did not go."""
    runs = pipeline.runs_of(service, holder)
    looked = pipeline.reconcile(service, runs)
    worked = []
    while (done := pipeline.work(service, runs)) is not None:
        worked.append(done)
        if done.bug is not None:
            _say(done)
    sent = pipeline.deliver(service, runs)
    if as_json:
        print_json(
            expected=looked.expected,
            missed=looked.missed,
            withdrawn=looked.withdrawn,
            runs=[{"run": w.key, "outcome": w.outcome, "report": w.report, "because": w.because}
                  for w in worked],
            mails=[vars(s) for s in sent],
        )  # fmt: skip
    else:
        for key in looked.missed:
            out.print(f"{key}  missed  (reporting backfill makes it, reporting waive gives it up)")
        for w in worked:
            out.print(f"{w.key}  {w.outcome}  {plain(w.report or w.because)}")
        _print_sent(sent)
        if not worked and not sent and not looked.missed:
            out.print("nothing is due")
    _exit_for(sent)
    if looked.missed or any(w.outcome == "failed" for w in worked):
        raise SystemExit(ValidationFailed.exit_code)


def _print_sent(sent: list[Delivered]) -> None:
    for s in sent:
        why = f"  ({plain(s.words)})" if s.state != "sent" else ""
        out.print(f"{s.report} to {s.recipient}  {s.state}{why}")


def _exit_for(sent: list[Delivered]) -> None:
    """5 where a mail did not arrive or may not have, 75 where one waits to be tried again."""
    states = {s.state for s in sent}
    if states & {"failed", "unknown"}:
        raise SystemExit(DeliveryFailed.exit_code)
    if "queued" in states:
        raise SystemExit(SourceUnavailable.exit_code)


def backfill(
    first: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First day.")],
    last: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last day.")],
    mode: Annotated[str, typer.Option(help="missing, failed or all.")] = "missing",
    kind: Annotated[str, typer.Option("--kind", "-k", help="Only this kind of report.")] = "",
    mail: Annotated[
        bool, typer.Option("--mail", help="Mail them too; by default nobody is.")
    ] = False,
    reason: Annotated[
        str, typer.Option("--reason", "-r", help="Why again, where no restated day says it.")
    ] = "",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Expect the reports of past periods: `reporting serve` issues them, oldest first.

    Nothing is mailed without --mail. missing: what was never issued; failed: what failed; all:
    issued ones too, of which only those that changed get a revision.
    """
    if mode not in ("missing", "failed", "all"):
        raise UsageError(f"--mode {mode!r} is not known; expected missing, failed or all")
    if kind and kind not in ("daily", "weekly", "monthly", "quarterly"):
        raise UsageError(
            f"--kind {kind!r} is not known; expected daily, weekly, monthly or quarterly"
        )
    found = pipeline.backfill(
        open_service(),
        day_of(first, "--from"),
        day_of(last, "--to"),
        mode,
        kind=kind,
        mail=mail,
        reason=reason,
        dry_run=dry_run,
    )
    if as_json:
        rows: list[dict[str, Any]] = [vars(f) for f in found]
        return print_json(dry_run=dry_run, mail=mail, runs=rows)
    for each in found:
        out.print(f"{each.key}  {each.state}  due {each.due_at.isoformat()}")
    verb = "would be expected" if dry_run else "are expected now; `reporting serve` issues them"
    out.print(f"{len(found)} reports {verb}")


def deliver(
    to: Annotated[
        str, typer.Option("--resend", metavar="NAME", help="To this recipient again.")
    ] = "",
    arrived: Annotated[
        str, typer.Option("--arrived", metavar="NAME", help="They have it: it is not unknown.")
    ] = "",
    report: Annotated[str, typer.Option("--report", help="daily/2025-12-05, or …/r2.")] = "",
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it is logged.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Send what is due now, or one report to one recipient again, and say what became of it.

    A mail whose outcome is not known is held until it is sent again here; it then says that it may
    be a duplicate.
    """
    service = open_service()
    runs = pipeline.runs_of(service, f"deliver/{uuid4().hex[:8]}")
    if (to and arrived) or bool(to or arrived) != bool(report):
        raise UsageError("--report goes with --resend or --arrived: which report, and whose")
    if reason and not report:
        raise UsageError("--reason goes with --resend or --arrived, and with --report")
    if report and not reason:
        raise UsageError("--reason is missing: why; it goes into the audit log")
    if arrived:
        pipeline.arrived(service, report, arrived, reason)
        return print_json(arrived=arrived) if as_json else out.print(f"{report} reached {arrived}")
    queued = pipeline.resend(service, runs, report, to, reason) if to else None
    sent = pipeline.deliver(service, runs)
    if as_json:
        print_json(queued=queued, mails=[vars(s) for s in sent])
    else:
        if queued:
            out.print(f"{report} to {to}  queued as {plain(queued)}")
        _print_sent(sent)
        if not sent:
            out.print("nothing is due" if not queued else "a worker of the service has taken it")
    _exit_for(sent)


def waive(
    run: Annotated[str, typer.Argument(metavar="RUN", help="As `reporting status` names it.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it is logged.")],
    as_json: JsonOption = False,
) -> None:
    """Give up a report that was missed or that failed: nobody wants it, and no alert speaks of it.

    `reporting backfill` makes such a report instead; a backfill of all makes waived ones too.
    """
    pipeline.waive(open_service(), run, reason)
    return print_json(waived=run) if as_json else out.print(f"{run} is waived")
