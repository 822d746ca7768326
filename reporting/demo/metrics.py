"""Generated history of the monitored system, with the truth beside it.

What happened is drawn first, from a seed: when each target was really down, gone, not yet there,
or merely not looked at. Samples are then taken of that truth, as a collector would have. Tests
compare reported bounds with the truth, never with the code.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TextIO

from ..periods import calendar_day, days_between, local_midnight

ZONE = "America/New_York"
FIRST_DAY, LAST_DAY = date(2025, 10, 31), date(2025, 12, 7)
#: The first complete day is preceded by some history, as on a system that runs already.
LEAD = timedelta(hours=2)
#: The demo's present: a few hours after the last complete day.
TAIL = timedelta(hours=6)
#: What the history is called on disk.
SAMPLES_FILE, TRUTH_FILE = "metrics.om", "metrics-truth.json"
#: Samples rendered at once; keeps memory flat.
CHUNK = 50_000

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
class Truth:
    """The whole history: its bounds, when nobody was looking, and every target and counter."""

    seed: int
    zone: str
    start_ms: int
    end_ms: int
    collector_gaps: tuple[Interval, ...]
    targets: Mapping[str, TargetTruth]
    counters: Mapping[str, CounterTruth]
    samples: int = 0

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
        return cls(**data, collector_gaps=gaps, targets=targets, counters=counters)


def generate(out: Path, *, seed: int) -> Truth:
    """Write the demo's history as OpenMetrics and its truth as JSON into ``out``.

    About three million samples; the same bytes for the same seed. Times are in milliseconds.
    """
    out.mkdir(parents=True, exist_ok=True)
    truth = draw(seed)
    with (out / SAMPLES_FILE).open("w", encoding="ascii", newline="\n") as file:
        samples = write_openmetrics(file, truth)
    truth = replace(truth, samples=samples)
    truth.write(out / TRUTH_FILE)
    return truth


def draw(seed: int) -> Truth:
    """What happened, drawn from ``seed``: the same story every time, at other moments."""
    chance = random.Random(seed)
    start = _ms(local_midnight(FIRST_DAY, ZONE) - LEAD)
    end = _ms(local_midnight(LAST_DAY + timedelta(1), ZONE) + TAIL)
    # 99.9 % of November allows 43 minutes: this one breaks the month.
    grafana = _outage(chance, date(2025, 11, 12), (10, 14), (47, 58))
    # 99.5 % of a day allows 7 minutes, of a week 50: a bad Friday in a good enough week.
    elastic = _outage(chance, date(2025, 12, 5), (11, 15), (16, 24))
    collector = _outage(chance, date(2025, 11, 18), (2, 5), (18, 31))
    vanishes = _outage(chance, date(2025, 11, 20), (9, 16), (1, 2))[0]
    is_born = _outage(chance, date(2025, 11, 6), (8, 17), (1, 2))[0]
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


def write_openmetrics(file: TextIO, truth: Truth) -> int:
    """Sample the truth as a collector would have; returns the number of samples."""
    samples = 0
    for metric, probed in (("up", False), ("probe_success", True)):
        file.write(f"# TYPE {metric} gauge\n")
        for name, target in truth.targets.items():
            if (name in PROBED) != probed:
                continue
            labels = f'job="blackbox",target="{name}"' if probed else f'job="{name}"'
            instance = f'instance="{name}:9000"'
            samples += _write_state(file, f"{metric}{{{labels},{instance}}}", target, truth)
    file.write("# TYPE http_requests counter\n")
    for name, counter in truth.counters.items():
        samples += _write_counters(file, name, counter, truth)
    file.write("# EOF\n")
    return samples


def _write_state(file: TextIO, series: str, target: TargetTruth, truth: Truth) -> int:
    """1 or 0 at every scrape that happened."""
    unseen = (*target.gone, *target.unborn, *truth.collector_gaps)
    written = 0
    for lo, hi, scraped in _cut(truth.start_ms, truth.end_ms, unseen):
        if not scraped:
            continue
        for at, until, is_up in _cut(lo, hi, target.down):
            first = _next_scrape(at, target.interval_ms, target.offset_ms)
            times = range(first, until, target.interval_ms)
            written += len(times)
            # Scrapes are whole seconds apart: the milliseconds never change.
            begin, end = f"{series} {int(is_up)} ", f".{first % 1000:03d}\n"
            seconds = range(first // 1000, -(-(until - first % 1000) // 1000), times.step // 1000)
            for i in range(0, len(seconds), CHUNK):
                file.write("".join([f"{begin}{s}{end}" for s in seconds[i : i + CHUNK]]))
    return written


def _write_counters(file: TextIO, name: str, counter: CounterTruth, truth: Truth) -> int:
    """Requests by code at every scrape; an error's series appears with its first error."""
    target = truth.targets[name]
    step, offset = COUNTER_INTERVAL_S * 1000, target.offset_ms
    unseen = truth.collector_gaps
    good: list[str] = []
    bad: list[str] = []
    labels = f'job="{name}",instance="{name}:9000"'
    ok, failed = (f'http_requests_total{{{labels},code="{code}"}}' for code in (200, 500))
    resets = [*counter.resets_ms, truth.end_ms]
    errors = list(counter.errors_ms)
    life, since, counted = 0, truth.start_ms, 0
    for at in range(_next_scrape(truth.start_ms, step, offset), truth.end_ms, step):
        while at >= resets[life]:
            since, counted, life = resets[life], 0, life + 1
        while errors and errors[0] <= at:
            counted += errors.pop(0) >= since  # an error before a restart is forgotten by it
        if any(lo <= at < hi for lo, hi in unseen):
            continue
        stamp = f"{at // 1000}.{at % 1000:03d}"
        good.append(f"{ok} {_requests(name, since, at)} {stamp}\n")
        if counted:
            bad.append(f"{failed} {counted} {stamp}\n")
    file.write("".join(good))
    file.write("".join(bad))
    return len(good) + len(bad)


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
    for day, lo, hi in _windows():
        requests = _requests(name, lo, hi)
        days[day] = {"requests": requests, "errors": sum(lo <= at < hi for at in errors)}
    return CounterTruth(tuple(errors), resets, days)


def _requests(name: str, since: int, at: int) -> int:
    """Requests served in ``[since, at)``: an even stream, so that any span is known exactly."""
    rate = REQUESTS_PER_MINUTE[name]
    return at * rate // 60_000 - since * rate // 60_000


def _outage(
    chance: random.Random, day: date, hours: tuple[int, int], minutes: tuple[int, int]
) -> Interval:
    """A span at a random moment of ``day`` between two local hours, of a random length."""
    midnight = _ms(local_midnight(day, ZONE))
    start = midnight + chance.randrange(hours[0] * 3_600_000, hours[1] * 3_600_000)
    return start, start + chance.randrange(minutes[0] * 60_000, minutes[1] * 60_000)


def _days(target: TargetTruth) -> Iterator[tuple[str, Mapping[str, int]]]:
    for day, lo, hi in _windows():
        up = target.up_ms(lo, hi)
        yield day, {"window_ms": hi - lo, "up_ms": up, "down_ms": hi - lo - up}


def _windows() -> Iterator[tuple[str, int, int]]:
    for day in days_between(FIRST_DAY, LAST_DAY):
        window = calendar_day(day, ZONE)
        yield day.isoformat(), window.start_ms, window.end_ms


def _cut(start: int, end: int, holes: Iterable[Interval]) -> Iterator[tuple[int, int, bool]]:
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


def _next_scrape(at: int, interval: int, offset: int) -> int:
    """The first scrape at or after ``at``; scrapes keep their phase over gaps."""
    return at + (offset - at) % interval


def _ms(at: datetime) -> int:
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))


def _pairs(value: Sequence[Sequence[int]]) -> tuple[Interval, ...]:
    return tuple((lo, hi) for lo, hi in value)
