"""What the service says of itself: Prometheus metrics and two health checks, over HTTP.

The one door of prometheus_client. Nearly every number is counted in the store and handed over as a
:class:`Snapshot` whenever somebody scrapes: work is done in other processes and by other replicas,
and a count of rows survives all of them. So every replica says the same, and a query over several
takes ``max by (…)``, never ``sum``. Only the ticks are the process's own.

No answer waits for the store: whatever is asked of it is asked in a thread of its own and given up
after a moment, or a frozen database would look like a dead service.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from time import monotonic
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

T = TypeVar("T")

#: What is always there, with 0 where the store has none: else the first one would be no increase.
RUN_STATES = ("expected", "working", "incomplete", "issued", "missed", "failed")
MAIL_STATES = ("queued", "sending", "sent", "failed", "unknown")
SEND_OUTCOMES = ("sent", "temporary", "permanent", "unknown")
STAGES = ("close", "issue")

#: Seconds that a scrape waits for the store: less than the scrape's own timeout.
SCRAPE_WAIT_S = 4.0
#: Seconds that a health check waits before it answers from what it last knew.
HEALTH_WAIT_S = 0.25
#: Seconds for which one answer serves everybody who asks.
FRESH_S = 1.0
#: What was known of readiness so long ago is no longer an answer.
STALE_S = 15.0

#: Seconds that a thread computes before another one gets the interpreter.
SWITCH_S = 0.001


# ---- what the store knows -----------------------------------------------------------------------


@dataclass(frozen=True)
class Duration:
    """So many works of one stage, and how long they took together."""

    count: int
    total_s: float


@dataclass(frozen=True)
class Scheduled:
    """One report of the schedule. None is "never", and then there is no such series."""

    name: str  #: as the schedule calls it
    last_issued: datetime | None = None  #: when a revision was last issued, complete or not
    last_complete: datetime | None = None  #: when one without gaps was
    next_due: datetime | None = None  #: the next due instant that is still to come
    #: Seconds since the oldest due instant for which nothing was issued; 0 where nothing is due.
    #: What was given up (``missed``, ``failed``) no longer counts.
    overdue_s: float = 0.0
    #: Runs whose deadline has passed with nothing issued: ``failed`` ones too, ``missed`` ones not.
    past_deadline: int = 0
    #: Runs by state (:data:`RUN_STATES`) as they are now: one that was made up for has moved on.
    runs: Mapping[str, int] = field(default_factory=dict)
    #: By stage (:data:`STAGES`), of all runs.
    durations: Mapping[str, Duration] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """Everything that a scrape reads from the store, of one instant; ages by the store's clock."""

    reports: tuple[Scheduled, ...] = ()
    #: Mails by state (:data:`MAIL_STATES`); one that a later mail replaced or that was settled by
    #: hand no longer counts.
    outbox: Mapping[str, int] = field(default_factory=dict)
    #: Seconds since the oldest mail in state ``queued`` was queued; 0 where there is none.
    oldest_queued_s: float = 0.0
    #: When a mail last became ``failed``; None: never.
    last_failed: datetime | None = None
    #: Attempts at SMTP by outcome (:data:`SEND_OUTCOMES`), ever.
    sends: Mapping[str, int] = field(default_factory=dict)
    leases: int = 0  #: leases that somebody holds and that have not run out
    replicas: int = 0  #: replicas whose sign of life is recent
    audit_entries: int = 0  #: length of the audit log
    #: How many of them the last checkpoint in the witness file covers; None: there is none.
    witnessed_entries: int | None = None
    #: Last day that each calendar knows, overrides included, by the calendar's name.
    calendars: Mapping[str, date] = field(default_factory=dict)


# ---- asking with patience -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Answer(Generic[T]):
    """What somebody said, or why they did not."""

    value: T | None
    error: str | None
    at: float  # monotonic seconds


class _Asked(Generic[T]):
    """Asks in a thread of its own, one question at a time, and waits no longer than it is told.

    A question must end by itself some time: until it does, no other is asked.
    """

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._last: _Answer[T] | None = None
        self._since: float | None = None  # when the open question was asked
        self._changed = threading.Condition()

    def answer(self, wait_s: float, stale_s: float = 0.0) -> _Answer[T]:
        """A fresh answer within ``wait_s``, else the last one if it is at most ``stale_s`` old."""
        begun = monotonic()

        def since(moment: float) -> bool:
            return self._last is not None and self._last.at >= moment

        with self._changed:
            if not since(begun - FRESH_S):
                if self._since is None:
                    threading.Thread(target=self._work, name="asking", daemon=True).start()
                    self._since = begun
                self._changed.wait_for(lambda: since(begun), wait_s)
            if self._last is not None and since(begun - max(stale_s, FRESH_S)):
                return self._last
            waited_s = monotonic() - (self._since or begun)
        return _Answer(None, f"no answer for {waited_s:.1f} s", monotonic())

    def _work(self) -> None:
        value, error = None, None
        try:
            value = self._ask()
        except Exception as failure:
            # Its type alone: a driver's message may carry a URL with its password.
            error = f"asking failed: {type(failure).__name__}"
        with self._changed:
            self._last = _Answer(value, error, monotonic())
            self._since = None
            self._changed.notify_all()


# ---- metrics ------------------------------------------------------------------------------------


class Observed(Collector):
    """The metrics of one process, in a registry of its own."""

    def __init__(self, version: str, replica: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._build = {"version": version, "replica": replica}
        self._ticks = dict.fromkeys(("success", "failure"), 0)
        self._rounds = dict.fromkeys(("success", "failure"), 0)
        self._configured = True
        self._last_tick: datetime | None = None
        self._alive = monotonic()
        self._store: _Asked[Snapshot] | None = None
        self.registry.register(self)

    def collector(self, snapshot: Callable[[], Snapshot]) -> None:
        """Ask ``snapshot`` at every scrape; while it fails or hangs ``reporting_store_up`` is 0.

        It is called in a thread of its own and has to give up by itself: set a statement timeout.
        """
        self._store = _Asked(snapshot)

    def ticked(self, at: datetime, ok: bool = True) -> None:
        """A look at the schedule has ended. One that failed is counted, and a sign of life too.

        While the store is away every look fails, and starting the process anew mends nothing.
        """
        self._ticks["success" if ok else "failure"] += 1
        self._alive = monotonic()
        if ok:
            self._last_tick = at

    def configured(self, ok: bool) -> None:
        """The files of settings, schedule and policy were looked at; whether they make sense."""
        self._configured = ok

    def audited(self, ok: bool = True) -> None:
        """A piece of the audit log was compared with the checkpoints outside the database."""
        self._rounds["success" if ok else "failure"] += 1

    def stuck(self, limit_s: float) -> str | None:
        """Why the process counts as dead: no tick for ``limit_s``, by a clock that nobody sets."""
        age_s = monotonic() - self._alive
        if age_s <= limit_s:
            return None
        return f"the last look at the schedule ended {age_s:.0f} s ago"

    def describe(self) -> list[Metric]:
        """No names yet: registering must not ask the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything there is to say now; what is not known is left out."""
        yield InfoMetricFamily(
            "reporting_build", "Version of the code and name of the replica.", self._build
        )
        ticks = CounterMetricFamily(
            "reporting_ticks", "Looks at the schedule, by how they ended.", labels=["outcome"]
        )
        for outcome, count in self._ticks.items():
            ticks.add_metric([outcome], count)
        yield ticks
        rounds = CounterMetricFamily(
            "reporting_audit_rounds",
            "Pieces of the audit log compared with its checkpoints, by how it ended.",
            labels=["outcome"],
        )
        for outcome, count in self._rounds.items():
            rounds.add_metric([outcome], count)
        yield rounds
        yield GaugeMetricFamily(
            "reporting_configuration_ok",
            "Whether the files of settings, schedule and policy make sense as they are now.",
            value=float(self._configured),
        )
        if self._last_tick is not None:
            yield GaugeMetricFamily(
                "reporting_last_tick_timestamp_seconds",
                "When the schedule was last looked at without an error.",
                value=self._last_tick.timestamp(),
            )
        if self._store is None:
            return
        snapshot = self._store.answer(SCRAPE_WAIT_S).value
        yield GaugeMetricFamily(
            "reporting_store_up",
            "Whether the store answered this scrape.",
            value=0.0 if snapshot is None else 1.0,
        )
        if snapshot is not None:
            yield from _of_reports(snapshot.reports)
            yield from _of_mail(snapshot)
            yield from _of_the_rest(snapshot)


def _of_reports(reports: tuple[Scheduled, ...]) -> Iterator[Metric]:
    for name, words, moment in (
        ("last_issued", "When a revision was last issued, complete or not.", "last_issued"),
        ("last_complete", "When a revision without gaps was last issued.", "last_complete"),
        ("next_due", "The next due instant.", "next_due"),
    ):
        times = GaugeMetricFamily(f"reporting_{name}_timestamp_seconds", words, labels=["report"])
        for report in reports:
            if (at := getattr(report, moment)) is not None:
                times.add_metric([report.name], at.timestamp())
        yield times
    overdue = GaugeMetricFamily(
        "reporting_overdue_seconds",
        "Since the oldest due instant for which nothing was issued; 0 where nothing is due.",
        labels=["report"],
    )
    late = GaugeMetricFamily(
        "reporting_runs_past_deadline",
        "Runs whose deadline has passed with nothing issued, failed ones too, missed ones not.",
        labels=["report"],
    )
    runs = GaugeMetricFamily("reporting_runs", "Runs by state.", labels=["report", "state"])
    durations = SummaryMetricFamily(
        "reporting_run_duration_seconds",
        "How long the stages of all runs took.",
        labels=["report", "stage"],
    )
    for report in reports:
        overdue.add_metric([report.name], report.overdue_s)
        late.add_metric([report.name], report.past_deadline)
        for state, count in _with_zeros(RUN_STATES, report.runs).items():
            runs.add_metric([report.name, state], count)
        for stage, took in report.durations.items():
            durations.add_metric([report.name, stage], took.count, took.total_s)
    yield from (overdue, late, runs, durations)


def _of_mail(snapshot: Snapshot) -> Iterator[Metric]:
    outbox = GaugeMetricFamily("reporting_outbox_mails", "Mails by state.", labels=["state"])
    for state, count in _with_zeros(MAIL_STATES, snapshot.outbox).items():
        outbox.add_metric([state], count)
    sends = CounterMetricFamily(
        "reporting_sends", "Attempts at SMTP by outcome.", labels=["outcome"]
    )
    for outcome, count in _with_zeros(SEND_OUTCOMES, snapshot.sends).items():
        sends.add_metric([outcome], count)
    yield from (outbox, sends)
    yield GaugeMetricFamily(
        "reporting_outbox_oldest_queued_seconds",
        "Age of the oldest mail that waits to be sent; 0 where none waits.",
        value=snapshot.oldest_queued_s,
    )
    if snapshot.last_failed is not None:
        yield GaugeMetricFamily(
            "reporting_last_failed_mail_timestamp_seconds",
            "When a mail was last given up.",
            value=snapshot.last_failed.timestamp(),
        )


def _of_the_rest(snapshot: Snapshot) -> Iterator[Metric]:
    plain: tuple[tuple[str, str, float | None], ...] = (
        ("leases", "Leases that are held and have not run out.", snapshot.leases),
        ("replicas", "Replicas with a recent sign of life.", snapshot.replicas),
        ("audit_entries", "Length of the audit log.", snapshot.audit_entries),
        (
            "audit_witnessed_entries",
            "Entries that the last checkpoint outside the database covers.",
            snapshot.witnessed_entries,
        ),
    )
    for name, words, value in plain:
        if value is not None:
            yield GaugeMetricFamily(f"reporting_{name}", words, value=value)
    known = GaugeMetricFamily(
        "reporting_calendar_known_until_timestamp_seconds",
        "Midnight UTC of the last day that the calendar knows.",
        labels=["calendar"],
    )
    for calendar, day in snapshot.calendars.items():
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        known.add_metric([calendar], midnight.timestamp())
    yield known


def _with_zeros(names: tuple[str, ...], counts: Mapping[str, int]) -> dict[str, int]:
    return {**dict.fromkeys(names, 0), **counts}


# ---- HTTP ---------------------------------------------------------------------------------------


@contextmanager
def serve_http(
    address: str,
    port: int,
    registry: CollectorRegistry,
    live: Callable[[], str | None],
    ready: Callable[[], str | None],
) -> Iterator[int]:
    """Answer ``/metrics``, ``/livez`` and ``/readyz`` until the block ends; gives the port.

    ``live`` and ``ready`` say what is wrong, or None. A health check is answered within
    :data:`HEALTH_WAIT_S`, from what was last known where that is at most :data:`STALE_S` old. Port
    0 takes a free one. Bind to loopback unless who may ask is settled elsewhere: there is no
    password and no TLS. OSError where the port is taken.
    """
    handler = type(
        "Handler",
        (_Handler,),
        {"registry": registry, "checks": {"/livez": _Asked(live), "/readyz": _Asked(ready)}},
    )
    server = _Server((address, port), handler)
    # A request gets the interpreter some ten times from whoever computes in this process, and waits
    # this long for it each time; 5 ms is the default.
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="http", daemon=True
    )
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        sys.setswitchinterval(interval_s)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client that says nothing does not hold up the end
    request_queue_size = 128

    def server_bind(self) -> None:
        """Without asking the network for our own name, which may take it long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no event."""


class _Handler(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    checks: Mapping[str, _Asked[str | None]]
    timeout = 5  # seconds of silence until a client is hung up on

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._reply(HTTPStatus.OK, encode(self.registry), content_type)
        elif path in self.checks:
            answer = self.checks[path].answer(HEALTH_WAIT_S, STALE_S)
            wrong = answer.error or answer.value
            self._say(
                HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK,
                status="unavailable" if wrong else "ok",
                reason=wrong,
                age_seconds=round(monotonic() - answer.at, 1),
            )
        else:
            self._say(
                HTTPStatus.NOT_FOUND,
                status="not found",
                reason="expected /metrics, /livez or /readyz",
            )

    do_HEAD = do_GET

    def _say(self, code: HTTPStatus, **fields: Any) -> None:
        self._reply(code, json.dumps(fields).encode() + b"\n", "application/json")

    def _reply(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Nobody's business."""
        return "reporting"

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is no event."""
