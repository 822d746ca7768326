"""What Prometheus remembers of alerts: its own ``ALERTS`` series and Alertmanager's counters.

``ALERTS`` and ``ALERTS_FOR_STATE`` have a sample at every evaluation of a rule for as long as its
condition holds, and none otherwise. Raw samples are read, since a range query would show each of
them again for five minutes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median_low

import numpy as np
import pandas as pd

from ...model import Coverage, Frame, Missing, Why, Window
from ...policy.operations import Alert
from .client import LAST_MS, MAX_COUNT, Client, QueryFailed, Series

#: Rules are evaluated at least this often; samples further apart are not of one stretch.
MAX_INTERVAL_MS = 300_000
#: Samples are read from this long before the window, and for so long after the last response
#: target of an alert that fires at its end: what else was told about then decides what is known.
MARGIN_MS = 3 * MAX_INTERVAL_MS
#: What is assumed where an alert left a single sample: Prometheus' default evaluation interval.
DEFAULT_INTERVAL_MS = 60_000
#: How far back to look for any trace of a rule.
SEEN_WITHIN = "1y"
RULES, EPISODES, NOTIFICATIONS = "alerts", "alert_episodes", "notifications"
COLUMNS = {
    EPISODES: (
        *("alertname", "severity", "labels", "active_at_ms", "active_known", "pending_at_ms"),
        *("firing_from_after_ms", "firing_from_ms", "firing_to_ms", "firing_to_by_ms", "begins"),
        *("ongoing_at_start", "ongoing_at_end"),
    ),
    NOTIFICATIONS: ("integration", "after_ms", "by_ms", "count"),
}


def read_alerts(
    client: Client, rules: Sequence[Alert], window: Window
) -> dict[str, Frame | Missing]:
    """What the alerts measure reads about ``window``: three frames by name.

    ``alerts`` has a row a rule: id, alertname, title, severity, channels (with commas),
    response_s, seen (whether the server has any sample of it within a year before the end).

    ``alert_episodes`` has a row for each stretch of firing without a gap: alertname, severity,
    labels (the others, canonical JSON), active_at_ms (when the condition first held, in whole
    seconds; active_known is False where only samples tell), pending_at_ms (first pending sample,
    0: none), firing_from_ms (first firing sample; it began to fire after firing_from_after_ms),
    firing_to_ms (last firing sample; it had ended by firing_to_by_ms, the next evaluation),
    begins (this is where the activation began to fire, and that was seen), ongoing_at_start and
    ongoing_at_end of the window.

    ``notifications`` has a row for each rise of a channel's counter: integration, after_ms, by_ms
    (the samples around it), count; and one row a channel with count 0 and by_ms its last sample.

    All are Missing where the server does not answer one of the queries.
    """
    try:
        return _read(client, rules, window)
    except QueryFailed as error:
        gone = Missing(why=Why.NO_DATA, detail=f"alerts can't be read from Prometheus: {error}")
        return dict.fromkeys((RULES, EPISODES, NOTIFICATIONS), gone)


def _read(client: Client, rules: Sequence[Alert], window: Window) -> dict[str, Frame | Missing]:
    names = "|".join(rule.alertname for rule in rules)
    start, end = _reach(rules, window)
    span = f"{end - start}ms"
    asked = [f'{m}{{alertname=~"{names}"}}[{span}]' for m in ("ALERTS", "ALERTS_FOR_STATE")]
    states, since = (client.query(text, end) for text in asked)
    rows = [
        row
        for life in _lives(states, since)
        for row in life.rows(window, start, _common_interval(states))
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS[EPISODES]))
    table = table.sort_values(["firing_from_ms", "alertname", "labels"], ignore_index=True)
    samples = sum(len(series.at_ms) for series in states)
    text = "\n".join(asked)
    return {
        RULES: _rules(client, rules, names, window),
        EPISODES: Frame(
            table, client.coverage(EPISODES, text, len(table), {"samples_read": str(samples)})
        ),
        NOTIFICATIONS: _notifications(client, rules, window),
    }


def _reach(rules: Sequence[Alert], window: Window) -> tuple[int, int]:
    """From when to when is read."""
    grace = max((rule.response_s for rule in rules), default=0) * 1000
    return window.start_ms - MARGIN_MS, window.end_ms + grace + MARGIN_MS


def _rules(client: Client, rules: Sequence[Alert], names: str, window: Window) -> Frame:
    text = f'count by (alertname) (last_over_time(ALERTS{{alertname=~"{names}"}}[{SEEN_WITHIN}]))'
    seen = {series.labels.get("alertname", "") for series in client.query(text, window.end_ms)}
    table = pd.DataFrame(
        [
            {
                "id": rule.id,
                "alertname": rule.alertname,
                "title": rule.title,
                "severity": rule.severity,
                "channels": ",".join(rule.channels),
                "response_s": rule.response_s,
                "seen": rule.alertname in seen,
            }
            for rule in rules
        ]
    )
    coverage: Coverage = client.coverage(RULES, text, len(table), {"seen": str(len(seen))})
    return Frame(table, coverage)


def _common_interval(states: Sequence[Series]) -> int:
    """The evaluation interval as all alerts together show it."""
    gaps = [
        b - a for s in states for a, b in pairwise(s.at_ms.tolist()) if b - a <= MAX_INTERVAL_MS
    ]
    return int(median_low(gaps)) if gaps else DEFAULT_INTERVAL_MS


@dataclass
class _Life:
    """All samples of one alert with one set of labels: state by time, and since when."""

    alertname: str
    severity: str
    labels: str
    firing: dict[int, bool] = field(default_factory=dict)
    since: dict[int, int] = field(default_factory=dict)

    def rows(self, window: Window, read_from: int, common: int) -> Iterator[tuple[object, ...]]:
        """A row for each stretch of firing."""
        times = sorted(self.firing)
        gaps = [b - a for a, b in pairwise(times) if b - a <= MAX_INTERVAL_MS]
        interval = int(median_low(gaps)) if gaps else common
        for activation in self._activations(times, interval):
            since = self.since.get(activation[0])
            active = activation[0] if since is None else since
            pending = [at for at in activation if not self.firing[at]]
            fired = [at for at in activation if self.firing[at]]
            for number, stretch in enumerate(_stretches(fired, interval)):
                first, last = stretch[0], stretch[-1]
                before = [at for at in activation if at < first]
                # Seen to begin: what came before is known, back to when the condition held.
                begins = number == 0 and (bool(before) or active > read_from + interval)
                yield (
                    self.alertname,
                    self.severity,
                    self.labels,
                    active,
                    since is not None,
                    pending[0] if pending else 0,
                    # Without a pending sample it fired as soon as its condition was seen to hold;
                    # the condition itself began at some time since the evaluation before.
                    before[-1] if before else min(max(active, first - interval), first),
                    first,
                    last,
                    last + interval,
                    begins,
                    first <= window.start_ms < last + interval,
                    first < window.end_ms <= last + interval,
                )

    def _activations(self, times: Sequence[int], interval: int) -> Iterator[list[int]]:
        """Samples of one activation: the same since, or close together where there is none."""
        current: list[int] = []
        for at in times:
            if current:
                same = self.since.get(at) == self.since.get(current[-1])
                unknown = at not in self.since
                if not same or (unknown and 2 * (at - current[-1]) > 3 * interval):
                    yield current
                    current = []
            current.append(at)
        if current:
            yield current


def _stretches(times: Sequence[int], interval: int) -> Iterator[list[int]]:
    current: list[int] = []
    for at in times:
        if current and 2 * (at - current[-1]) > 3 * interval:
            yield current
            current = []
        current.append(at)
    if current:
        yield current


def _lives(states: Sequence[Series], since: Sequence[Series]) -> list[_Life]:
    lives: dict[str, _Life] = {}
    for series in states:
        labels = {k: v for k, v in series.labels.items() if k not in ("__name__", "alertstate")}
        life = lives.setdefault(_canonical(labels), _life(labels))
        firing = series.labels.get("alertstate") == "firing"
        for at in series.at_ms.tolist():
            life.firing[at] = firing or life.firing.get(at, False)
    for series in since:
        labels = {k: v for k, v in series.labels.items() if k != "__name__"}
        known = lives.get(_canonical(labels))
        if known is not None:
            for at, value in zip(series.at_ms.tolist(), series.value.tolist(), strict=True):
                if abs(value) < LAST_MS / 1000:  # else no time
                    known.since[at] = round(value) * 1000
    return [lives[key] for key in sorted(lives)]


def _life(labels: Mapping[str, str]) -> _Life:
    others = {k: v for k, v in labels.items() if k not in ("alertname", "severity")}
    return _Life(labels.get("alertname", ""), labels.get("severity", ""), _canonical(others))


def _canonical(labels: Mapping[str, str]) -> str:
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# -- notifications -------------------------------------------------------------------------------


def _notifications(client: Client, rules: Sequence[Alert], window: Window) -> Frame:
    channels = sorted({channel for rule in rules for channel in rule.channels})
    start, end = _reach(rules, window)
    either = "|".join(channels)
    text = f'alertmanager_notifications_total{{integration=~"{either}"}}[{end - start}ms]'
    series = client.query(text, end)
    rows: list[tuple[str, int, int, int]] = []
    last: dict[str, int] = {}
    for each in series:
        channel = each.labels.get("integration", "")
        counts = np.abs(each.value) < MAX_COUNT
        at, value = each.at_ms[counts].tolist(), [round(v) for v in each.value[counts].tolist()]
        if not at:
            continue
        last[channel] = max(last.get(channel, 0), at[-1])
        if value[0] and at[0] > start + MAX_INTERVAL_MS:  # born within: it rose before its sample
            rows.append((channel, start, at[0], value[0]))
        for (a, before), (b, now) in pairwise(zip(at, value, strict=True)):
            rise = now - before if now >= before else now  # a reset starts over from 0
            if rise:
                rows.append((channel, a, b, rise))
    rows.sort(key=lambda row: (row[2], row[0], row[1]))
    looked = [(channel, at, at, 0) for channel, at in sorted(last.items())]
    table = pd.DataFrame([*rows, *looked], columns=list(COLUMNS[NOTIFICATIONS]))
    control = {"series": str(len(series)), "rises": str(len(rows))}
    return Frame(table, client.coverage(NOTIFICATIONS, text, len(table), control))
