"""The alerts that the stories raise, as Prometheus and Alertmanager record them, and incidents.

While an alert is active its rule writes a sample of ``ALERTS`` and of ``ALERTS_FOR_STATE`` at every
evaluation; ``alertmanager_notifications_total`` rises when somebody is told.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TextIO
from zoneinfo import ZoneInfo

from .truth import AlertTruth, Interval, Truth, next_scrape

#: Who tells of the incidents.
INCIDENTS_SOURCE = "incident-log"
#: Rules are evaluated this often.
EVALUATION_MS = 60_000
CRITICAL, WARNING = ("pagerduty", "slack"), ("slack",)
CHANNELS = ("pagerduty", "slack", "email")
MINUTE_MS = 60_000


@dataclass(frozen=True)
class _Rule:
    """An alert, how long its condition must hold, and the stories that make it hold."""

    alertname: str
    for_ms: int
    stories: tuple[str, ...]
    critical: bool = False


RULES = (
    _Rule("TradingEngineDown", 0, ("order_stall",), critical=True),
    _Rule("VarBreach", 0, ("var_breach",), critical=True),
    _Rule("HighErrorRate", MINUTE_MS, ("error_false_alarm",), critical=True),
    _Rule("HighLatency", 2 * MINUTE_MS, ("order_latency_spike", "tactical_regression")),
    _Rule("ResourceUsageHigh", 5 * MINUTE_MS, ("cpu_high",)),
    _Rule("ModelDrift", 10 * MINUTE_MS, ("model_drift",)),
    _Rule("DataQuality", MINUTE_MS, ("invalid_burst", "invalid_flapping")),
    _Rule("PerformanceDegradation", 10 * MINUTE_MS, ("order_latency_spike", "strategic_dip")),
)


def add(truth: Truth) -> Truth:
    """``truth`` with every episode of every alert, in order of time."""
    chance = random.Random(f"{truth.seed}/alerts")
    phase = chance.randrange(EVALUATION_MS)
    episodes = []
    for rule in RULES:
        for story in rule.stories:
            for span in truth.stories[story]:
                delay = chance.randrange(4_000, 9_000)
                episodes.append(_episode(rule, span, phase, delay, truth.end_ms))
    # Over before its rule's time: active, never firing, nobody told.
    start = truth.stories["cpu_high"][0][1] + 3 * 3_600_000
    usage = next(rule for rule in RULES if rule.alertname == "ResourceUsageHigh")
    episodes.append(_episode(usage, (start, start + 3 * MINUTE_MS), phase, 0, truth.end_ms))
    return replace(truth, alerts=tuple(sorted(episodes, key=lambda e: (e.active_ms, e.alertname))))


def _episode(rule: _Rule, span: Interval, phase: int, delay_ms: int, end_ms: int) -> AlertTruth:
    active = next_scrape(span[0], EVALUATION_MS, phase)
    resolved = min(next_scrape(span[1], EVALUATION_MS, phase), end_ms)
    firing = next_scrape(active + rule.for_ms, EVALUATION_MS, phase)
    fired = firing < resolved
    return AlertTruth(
        alertname=rule.alertname,
        severity="critical" if rule.critical else "warning",
        channels=CRITICAL if rule.critical else WARNING,
        active_ms=active,
        firing_ms=firing if fired else 0,
        resolved_ms=resolved,
        notified_ms=firing + delay_ms if fired else 0,
        false_positive="error_false_alarm" in rule.stories,
    )


def write(file: TextIO, truth: Truth) -> int:
    """What the rules and Alertmanager left behind; returns the number of samples."""
    written = 0
    for name in sorted({episode.alertname for episode in truth.alerts}):
        of_name = [episode for episode in truth.alerts if episode.alertname == name]
        written += _write(file, _rule_samples(of_name, truth))
    for channel in CHANNELS:
        written += _write(file, _notifications(channel, truth))
    return written


def _write(file: TextIO, lines: Iterable[str]) -> int:
    kept = list(lines)
    file.write("".join(kept))
    return len(kept)


def _rule_samples(episodes: Sequence[AlertTruth], truth: Truth) -> Iterator[str]:
    """One series after the other, each in order of time."""
    for state in ("pending", "firing", "active since"):
        for e in episodes:
            for at in range(e.active_ms, e.resolved_ms, EVALUATION_MS):
                if not (truth.start_ms <= at < truth.end_ms and _seen(at, truth)):
                    continue
                firing = e.firing_ms and at >= e.firing_ms
                labels = f'alertname="{e.alertname}",severity="{e.severity}"'
                if state == "active since":
                    yield f"ALERTS_FOR_STATE{{{labels}}} {e.active_ms // 1000} {_stamp(at)}\n"
                elif (state == "firing") == bool(firing):
                    yield f'ALERTS{{{labels},alertstate="{state}"}} 1 {_stamp(at)}\n'


def _notifications(channel: str, truth: Truth) -> Iterator[str]:
    """Looked at as often as Alertmanager itself: a response target may be 15 seconds."""
    target = truth.targets["alertmanager"]
    told = _told(truth, channel)
    labels = f'integration="{channel}",job="alertmanager",instance="alertmanager:9000"'
    series = f"alertmanager_notifications_total{{{labels}}}"
    count = 0
    first = next_scrape(truth.start_ms, target.interval_ms, target.offset_ms)
    for at in range(first, truth.end_ms, target.interval_ms):
        while count < len(told) and told[count] <= at:
            count += 1
        if _seen(at, truth):
            yield f"{series} {count} {_stamp(at)}\n"


def _told(truth: Truth, channel: str) -> list[int]:
    """When this channel carried a notification; e-mail reaches the second level of escalation."""
    if channel == "email":
        found = [i.level_2_ms for i in _incidents(truth) if i.level_2_ms]
    else:
        found = [e.notified_ms for e in truth.alerts if channel in e.channels and e.notified_ms]
    return sorted(found)


def _seen(at: int, truth: Truth) -> bool:
    return not any(lo <= at < hi for lo, hi in truth.collector_gaps)


def _stamp(at: int) -> str:
    return f"{at // 1000}.{at % 1000:03d}"


# -- incidents -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Incident:
    """What people wrote down of one incident; a moment that never came is 0."""

    id: str
    priority: str
    title: str
    alert: str
    target: str
    opened_ms: int
    notified_ms: int
    acknowledged_ms: int
    level_1_ms: int
    level_2_ms: int
    level_3_ms: int
    resolved_ms: int
    false_positive: bool
    cause: str


COLUMNS = (
    "source", "id", "priority", "title", "alert", "target", "opened_at", "notified_at",
    "acknowledged_at", "level_1_at", "level_2_at", "level_3_at", "resolved_at",
    "false_positive", "cause",
)  # fmt: skip

#: What is told of a story: priority, title, target, minutes to the acknowledgement and to the
#: second level (0: not reached) and the third, and the cause.
_TOLD: Mapping[str, tuple[str, str, str, int, int, int, str]] = {
    "order_stall": (
        "P1", "Execution engine took no orders", "execution_engine", 3, 0, 0,
        "A venue session was refused after a certificate was renewed; the session was reset.",
    ),
    "var_breach": (
        "P1", "Value at risk above its limit", "risk", 9, 6, 0,
        "A concentrated position was carried into the open; it was reduced.",
    ),
    # A P2 is answered within 30 minutes: this one was not.
    "order_latency_spike": (
        "P2", "Orders are slow", "execution_engine", 41, 33, 0,
        "A full garbage collection every few seconds after the heap had been halved by mistake.",
    ),
    "error_false_alarm": (
        "P2", "Errors above their rate", "health_check_api", 2, 0, 0,
        "Nothing was wrong: retries of a load test were counted as errors.",
    ),
    "invalid_flapping": (
        "P3", "Invalid records come and go", "data_pipeline", 34, 0, 0,
        "A feed handler of one venue restarted in a loop and sent half-written records.",
    ),
    "strategic_dip": (
        "P2", "Strategic agent decides too slowly", "strategic", 12, 0, 0,
        "Its batch queue was throttled by a quota that had been set too low.",
    ),
    "model_drift": (
        "P3", "Inputs of a model drift", "strategic", 55, 0, 0,
        "A vendor changed the unit of one feature; it was mapped back.",
    ),
    "tactical_regression": (
        "P2", "Tactical inference became slow", "tactical", 6, 64, 0,
        "Release 4.12 runs its model without batching; a fix is being made.",
    ),
    "cpu_high": (
        "P3", "Processors above 80 %", "node_exporter", 22, 0, 0,
        "A back-test was started on the production machine.",
    ),
}  # fmt: skip


def incidents_csv(truth: Truth, known_ms: int) -> str:
    """The incidents as known at a moment, as CSV; what had not happened by then is empty.

    Times carry their offset. The columns are those of `reporting incidents import`.
    """
    file = io.StringIO(newline="")
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    for i in _incidents(truth):
        if i.opened_ms > known_ms:
            continue
        moments = (i.opened_ms, i.notified_ms, i.acknowledged_ms)
        levels = (i.level_1_ms, i.level_2_ms, i.level_3_ms, i.resolved_ms)
        times = [_local(at, truth.zone) if 0 < at <= known_ms else "" for at in (*moments, *levels)]
        wrong = "true" if i.false_positive else "false"
        told = (i.priority, i.title, i.alert, i.target)
        rows.writerow((INCIDENTS_SOURCE, i.id, *told, *times, wrong, i.cause))
    return file.getvalue()


def _incidents(truth: Truth) -> list[_Incident]:
    """One for each story that was told of, and for the outages that no alert rule watches."""
    found = []
    episodes = {
        story: next(e for e in truth.alerts if e.alertname == rule.alertname and _within(e, span))
        for rule in reversed(RULES)
        for story in rule.stories
        for span in truth.stories[story][:1]
    }
    for story, (priority, title, target, answered, second, third, cause) in _TOLD.items():
        e = episodes[story]
        over = truth.stories[story][-1][1]
        found.append(
            _Incident(
                id="",
                priority=priority,
                title=title,
                alert=e.alertname,
                target=target,
                opened_ms=e.firing_ms,
                notified_ms=e.notified_ms,
                acknowledged_ms=e.firing_ms + answered * MINUTE_MS,
                level_1_ms=e.notified_ms,
                level_2_ms=e.firing_ms + second * MINUTE_MS if second else 0,
                level_3_ms=e.firing_ms + third * MINUTE_MS if third else 0,
                resolved_ms=over + 2 * MINUTE_MS if over < truth.end_ms else 0,
                false_positive=e.false_positive,
                cause=cause,
            )
        )
    for target, title, cause in (
        ("grafana", "Dashboards were not served", "The disk of their database was full."),
        ("elasticsearch", "Log search was down", "Two nodes ran out of heap during a reindex."),
    ):
        start, end = truth.targets[target].down[0]
        found.append(_by_hand("P2", title, target, start, end, cause))
    start, end = truth.stories["backup_missed"][0]
    cause = "The backup volume was still mounted by the restore test of the day before."
    found.append(_by_hand("P3", "The nightly backup was missed", "postgresql", start, end, cause))
    found.sort(key=lambda incident: incident.opened_ms)
    return [replace(i, id=f"INC-{number:03d}") for number, i in enumerate(found, 1)]


def _by_hand(
    priority: str, title: str, target: str, start_ms: int, end_ms: int, cause: str
) -> _Incident:
    """An incident that people noticed: two minutes to notice, seven to answer."""
    return _Incident(
        id="",
        priority=priority,
        title=title,
        alert="",
        target=target,
        opened_ms=start_ms + 2 * MINUTE_MS,
        notified_ms=start_ms + 2 * MINUTE_MS,
        acknowledged_ms=start_ms + 9 * MINUTE_MS,
        level_1_ms=start_ms + 2 * MINUTE_MS,
        level_2_ms=0,
        level_3_ms=0,
        resolved_ms=end_ms,
        false_positive=False,
        cause=cause,
    )


def _within(episode: AlertTruth, span: Interval) -> bool:
    return bool(span[0] <= episode.active_ms < span[1] and episode.firing_ms)


def _local(at: int, zone: str) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)
    return moment.astimezone(ZoneInfo(zone)).isoformat(timespec="milliseconds")
