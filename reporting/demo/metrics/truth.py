"""What really happened in the demo's history, drawn from a seed, in milliseconds since 1970."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

from ...model import epoch_ms
from ...periods import calendar_day, days_between, local_midnight

ZONE = "America/New_York"
FIRST_DAY, LAST_DAY = date(2025, 10, 31), date(2025, 12, 7)
#: The first complete day is preceded by some history, as on a system that runs already.
LEAD = timedelta(hours=2)
#: The demo's present: a few hours after the last complete day.
TAIL = timedelta(hours=6)
#: The whole history: all that is drawn lies within.
START_MS, END_MS = (
    epoch_ms(local_midnight(FIRST_DAY, ZONE) - LEAD),
    epoch_ms(local_midnight(LAST_DAY + timedelta(1), ZONE) + TAIL),
)

#: Every target by id: seconds between scrapes, as config/objectives asks for them.
INTERVAL_S = {
    "prometheus": 15,
    "grafana": 15,
    "alertmanager": 15,
    "health_check_api": 15,
    "elasticsearch": 15,
    "execution_engine": 30,
    "data_pipeline": 30,
    "strategic": 30,
    "tactical": 30,
    "risk": 30,
    "node_exporter": 60,
    "blackbox_exporter": 60,
    "custom_exporters": 60,
    "pagerduty": 60,
    "slack": 60,
    "email": 60,
    "logstash": 60,
    "kibana": 60,
    "fluentd": 60,
    "redis": 60,
    "postgresql": 60,
    "nginx": 60,
    "docker": 60,
    "alerting_api": 60,
}
PROBED = ("pagerduty", "slack", "email")

#: Services with a request counter, and their mean requests a minute.
REQUESTS_PER_MINUTE = {"health_check_api": 240, "execution_engine": 90, "data_pipeline": 600}
COUNTER_INTERVAL_S = 60
#: Minutes between two errors, on average: rare, so that most errors are on a new series.
ERROR_EVERY_MIN = 4_000
RESTARTS = 3

Interval = tuple[int, int]


@dataclass(frozen=True)
class TargetTruth:
    """What really happened to one target, in milliseconds since 1970; spans are half-open.

    ``down``: not serving while it was scraped. ``gone``: no longer there, and no longer scraped.
    ``unborn``: not there yet. ``days``: up and down time of each local calendar day, where gone
    and unborn count as down.
    """

    interval_ms: int
    offset_ms: int
    down: tuple[Interval, ...] = ()
    gone: tuple[Interval, ...] = ()
    unborn: tuple[Interval, ...] = ()
    days: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def up_ms(self, start_ms: int, end_ms: int) -> int:
        """The time that it was really up within ``[start_ms, end_ms)``."""
        off = sum(
            max(0, min(end, end_ms) - max(start, start_ms))
            for start, end in (*self.down, *self.gone, *self.unborn)
        )
        return end_ms - start_ms - off


@dataclass(frozen=True)
class CounterTruth:
    """The events that one service really counted, whatever its counters could show.

    ``errors_ms`` are the moments of its errors, ``resets_ms`` those of its restarts; ``days`` the
    requests and errors of each local calendar day.
    """

    errors_ms: tuple[int, ...]
    resets_ms: tuple[int, ...]
    days: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class AlertTruth:
    """One episode of an alert: when its rule first held, fired, was told of, and held no more.

    ``firing_ms`` and ``notified_ms`` are 0 where it was over before its rule's ``for``.
    ``false_positive``: nothing was wrong.
    """

    alertname: str
    severity: str
    channels: tuple[str, ...]
    active_ms: int
    firing_ms: int
    resolved_ms: int
    notified_ms: int
    false_positive: bool = False


@dataclass(frozen=True)
class Storage:
    """A disk that fills evenly: used at ``at_ms``, more each day, full at ``full_ms``."""

    at_ms: int
    used_bytes: int
    bytes_per_day: int
    allocated_bytes: int
    full_ms: int


@dataclass(frozen=True)
class Truth:
    """The whole history: its bounds, when nobody was looking, and every target and counter.

    ``stories`` are the spans in which something planted happened, by name (see :mod:`.stories`).
    ``levels`` are the events of each local calendar day, by series, as they really were: also
    those that no scrape could see.
    """

    seed: int
    zone: str
    start_ms: int
    end_ms: int
    collector_gaps: tuple[Interval, ...]
    targets: Mapping[str, TargetTruth]
    counters: Mapping[str, CounterTruth]
    samples: int = 0
    stories: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)
    pipeline_restarts_ms: tuple[int, ...] = ()
    storage: Storage | None = None
    alerts: tuple[AlertTruth, ...] = ()
    levels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """As JSON, the same bytes for the same truth."""
        path.write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")

    @classmethod
    def read(cls, path: Path) -> Truth:
        """What :meth:`write` wrote."""
        data = json.loads(path.read_text())
        targets = {
            key: TargetTruth(
                **{
                    **value,
                    **{name: _pairs(value[name]) for name in ("down", "gone", "unborn")},
                }
            )
            for key, value in data.pop("targets").items()
        }
        counters = {
            key: CounterTruth(tuple(value["errors_ms"]), tuple(value["resets_ms"]), value["days"])
            for key, value in data.pop("counters").items()
        }
        gaps = _pairs(data.pop("collector_gaps"))
        stories = {key: _pairs(value) for key, value in data.pop("stories").items()}
        restarts = tuple(data.pop("pipeline_restarts_ms"))
        storage = data.pop("storage")
        alerts = tuple(
            AlertTruth(**{**value, "channels": tuple(value["channels"])})
            for value in data.pop("alerts")
        )
        return cls(
            **data,
            collector_gaps=gaps,
            targets=targets,
            counters=counters,
            stories=stories,
            pipeline_restarts_ms=restarts,
            storage=Storage(**storage) if storage else None,
            alerts=alerts,
        )


def draw_states(seed: int) -> Truth:
    """What was up and what was counted, drawn from ``seed``, without the stories of services."""
    chance = random.Random(seed)
    start, end = START_MS, END_MS
    # 99.9 % of November allows 43 minutes: this one breaks the month.
    grafana = outage(chance, date(2025, 11, 12), (10, 14), (47, 58))
    # 99.5 % of a day allows 7 minutes, of a week 50: a bad Friday in a good enough week.
    elastic = outage(chance, date(2025, 12, 5), (11, 15), (16, 24))
    collector = outage(chance, date(2025, 11, 18), (2, 5), (18, 31))
    vanishes = outage(chance, date(2025, 11, 20), (9, 16), (1, 2))[0]
    is_born = outage(chance, date(2025, 11, 6), (8, 17), (1, 2))[0]
    down = {"grafana": (grafana,), "elasticsearch": (elastic,)}
    gone = {"custom_exporters": ((vanishes, end),)}
    unborn = {"alerting_api": ((start, is_born),)}
    targets = {}
    for name, interval_s in INTERVAL_S.items():
        offset = chance.randrange(interval_s * 1000)
        target = TargetTruth(
            interval_ms=interval_s * 1000,
            offset_ms=offset,
            down=down.get(name, ()),
            gone=gone.get(name, ()),
            unborn=unborn.get(name, ()),
        )
        targets[name] = replace(target, days=dict(_days(target)))
    counters = {name: _counter(chance, name, start, end) for name in REQUESTS_PER_MINUTE}
    return Truth(seed, ZONE, start, end, (collector,), targets, counters)


def _counter(chance: random.Random, name: str, start: int, end: int) -> CounterTruth:
    resets = tuple(sorted(chance.randrange(start, end) for _ in range(RESTARTS)))
    errors = []
    at = start
    while True:
        at += int(chance.expovariate(1 / (ERROR_EVERY_MIN * 60_000))) + 1
        if at >= end:
            break
        errors.append(at)
    days = {}
    for day, lo, hi in day_windows():
        requests = requests_between(name, lo, hi)
        days[day] = {"requests": requests, "errors": sum(lo <= at < hi for at in errors)}
    return CounterTruth(tuple(errors), resets, days)


def requests_between(name: str, since: int, at: int) -> int:
    """Requests served in ``[since, at)``: an even stream, so that any span is known exactly."""
    rate = REQUESTS_PER_MINUTE[name]
    return at * rate // 60_000 - since * rate // 60_000


def outage(
    chance: random.Random, day: date, hours: tuple[int, int], minutes: tuple[int, int]
) -> Interval:
    """A span at a random moment of ``day`` between two local hours, of a random length."""
    midnight = epoch_ms(local_midnight(day, ZONE))
    start = midnight + chance.randrange(hours[0] * 3_600_000, hours[1] * 3_600_000)
    return start, start + chance.randrange(minutes[0] * 60_000, minutes[1] * 60_000)


def _days(target: TargetTruth) -> Iterator[tuple[str, Mapping[str, int]]]:
    for day, lo, hi in day_windows():
        up = target.up_ms(lo, hi)
        yield day, {"window_ms": hi - lo, "up_ms": up, "down_ms": hi - lo - up}


def day_windows() -> Iterator[tuple[str, int, int]]:
    """Each local calendar day of the history: ISO date, start, end."""
    for day in days_between(FIRST_DAY, LAST_DAY):
        window = calendar_day(day, ZONE)
        yield day.isoformat(), window.start_ms, window.end_ms


def cut(start: int, end: int, holes: Iterable[Interval]) -> Iterator[tuple[int, int, bool]]:
    """``[start, end)`` in pieces: outside of all holes (True) and inside of one (False)."""
    at = start
    for lo, hi in sorted(holes):
        lo, hi = max(lo, at), min(hi, end)
        if lo >= hi:
            continue
        if at < lo:
            yield at, lo, True
        yield lo, hi, False
        at = hi
    if at < end:
        yield at, end, True


def next_scrape(at: int, interval: int, offset: int) -> int:
    """The first scrape at or after ``at``; scrapes keep their phase over gaps."""
    return at + (offset - at) % interval


def _pairs(value: Sequence[Sequence[int]]) -> tuple[Interval, ...]:
    return tuple((lo, hi) for lo, hi in value)
