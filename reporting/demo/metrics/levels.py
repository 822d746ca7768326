"""What the services did: decisions, orders, messages, their latencies, and the machines' load.

Every job is scraped each 120 s at a phase of its own. Between two scrapes events flow evenly, so
that the number of events in any span is known. Latencies are log-logistic with shape 6,

    share below x = 1 / (1 + (median / x)^6),   p95 = median * 19^(1/6),

which takes nothing but products and quotients: the same numbers on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

import numpy as np
import numpy.typing as npt

from ...periods import days_between
from .stories import DAY_MS, backup_end
from .truth import (
    END_MS,
    FIRST_DAY,
    LAST_DAY,
    START_MS,
    Interval,
    Truth,
    day_windows,
    next_scrape,
)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

STEP_MS: Final = 120_000
STEP_S: Final = STEP_MS // 1000
#: p95 over median, and mean over median, of the log-logistic of shape 6.
P95, MEAN = 1.6334, 1.0472
MICRO: Final = 1_000_000

AGENT_LE = ("0.001", "0.002", "0.003", "0.005", "0.008", "0.01", "0.025", "0.05", "0.1")
ORDER_LE = ("0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1")
PIPELINE_LE = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1")

#: Decisions a second at night and on top of that at noon; p95 in ms; share that is correct.
AGENTS = {
    "strategic": (75, 25, 6.0, 0.86),
    "tactical": (80, 40, 5.0, 0.84),
    "risk": (60, 20, 3.6, 0.91),
}
MEMORY_BYTES = {"strategic": 1_900_000_000, "tactical": 1_400_000_000, "risk": 900_000_000}
CPU_CORES, MEMORY_TOTAL_BYTES = 8, 16_000_000_000
#: A probe of something that is down runs into this.
PROBE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class _Clock:
    """When one job is scraped, over the whole history, with what the hour means for its load."""

    at: Ints
    noise: np.random.RandomState  # its stream is frozen by NumPy's policy, unlike a Generator's

    @property
    def busy(self) -> Floats:
        """0 at night and on weekends to 1 at noon, by the clock of UTC-5 throughout."""
        local = self.at - 5 * 3_600_000
        hour = (local % DAY_MS) / 3_600_000
        x = (hour - 4) / 16
        weekday = (local // DAY_MS + 3) % 7  # 1970 began on a Thursday
        return np.where(weekday < 5, np.maximum(0.0, 4 * x * (1 - x)), 0.0)

    def around(self, spread: float) -> Floats:
        """A factor at each scrape, evenly drawn from 1 ± spread."""
        return 1 + spread * (2 * self.noise.random_sample(len(self.at)) - 1)

    def within(self, spans: Sequence[Interval]) -> npt.NDArray[np.bool_]:
        """Which scrapes lie in one of ``spans``."""
        found = np.zeros(len(self.at), dtype=np.bool_)
        for lo, hi in spans:
            found |= (self.at >= lo) & (self.at < hi)
        return found

    def share(self, spans: Sequence[Interval]) -> Floats:
        """Which share of the time before each scrape lies in ``spans``."""
        before = self.at - STEP_MS
        total = np.zeros(len(self.at), dtype=np.float64)
        for lo, hi in spans:
            total += np.maximum(0, np.minimum(self.at, hi) - np.maximum(before, lo)) / STEP_MS
        return total

    def blend(self, normal: Floats, other: Floats | float, spans: Sequence[Interval]) -> Floats:
        """``normal`` outside of ``spans`` and ``other`` within, by the share of each step."""
        share = self.share(spans)
        return normal * (1 - share) + other * share


@dataclass(frozen=True)
class _Series:
    """One series over the whole history.

    A counter has ``events``, those of the step that ends at each scrape, in 1/``unit``. A gauge
    has ``values``, shown with so many ``digits``. A counter born late is not there before its
    first event.
    """

    name: str
    at: Ints
    events: Ints | None = None
    unit: int = 1
    values: Floats | Ints | None = None
    digits: int = 0
    resets_ms: tuple[int, ...] = ()
    born_late: bool = False

    def count(self, until_ms: int) -> int:
        """Events from the history's begin to ``until_ms``, flowing evenly between scrapes."""
        assert self.events is not None
        i = int(np.searchsorted(self.at, until_ms, side="right"))
        whole = int(self.events[:i].sum())
        if i == len(self.at):
            return whole
        before = int(self.at[i]) - STEP_MS
        return whole + int(self.events[i]) * max(0, until_ms - before) // STEP_MS

    def shown(self, i: int, j: int) -> list[str | None]:
        """What the scrapes from number i to before j show; None where it is not there yet."""
        if self.values is not None:
            found = self.values[i:j].tolist()
            return [f"{v:.{self.digits}f}" for v in found] if self.digits else list(map(str, found))
        assert self.events is not None
        total = np.cumsum(self.events)
        shown = total.copy()
        for reset in self.resets_ms:
            after = self.at >= reset
            shown[after] = total[after] - self.count(reset)
        if self.unit == MICRO:
            return [f"{v // MICRO}.{v % MICRO:06d}" for v in shown[i:j].tolist()]
        texts: list[str | None] = list(map(str, shown[i:j].tolist()))
        if self.born_late:
            unborn = min(max(int(np.searchsorted(total, 1)) - i, 0), j - i)
            texts[:unborn] = [None] * unborn
        return texts


def write(file: TextIO, truth: Truth) -> int:
    """Every series, one after the other; returns the number of samples."""
    written, family = 0, ""
    stamps: dict[int, list[str]] = {}
    for series in _all(truth):
        kind, name = _family(series)
        if name != family:
            file.write(f"# TYPE {name} {kind}\n")
            family = name
        first = int(series.at[0])
        if first not in stamps:
            stamps[first] = [f" {t // 1000}.{t % 1000:03d}\n" for t in series.at.tolist()]
        i, j = (int(np.searchsorted(series.at, at)) for at in (truth.start_ms, truth.end_ms))
        seen = np.ones(j - i, dtype=np.bool_)
        for lo, hi in truth.collector_gaps:
            seen &= (series.at[i:j] < lo) | (series.at[i:j] >= hi)
        prefix = f"{series.name} "
        lines = [
            f"{prefix}{value}{stamp}"
            for value, stamp, is_seen in zip(
                series.shown(i, j), stamps[first][i:j], seen.tolist(), strict=True
            )
            if is_seen and value is not None
        ]
        file.write("".join(lines))
        written += len(lines)
    return written


def daily(truth: Truth) -> Mapping[str, Mapping[str, int]]:
    """Events of every counter on each local calendar day, as they really were.

    Those between the last scrape before a restart and the restart count, though no scrape saw
    them. The sums of histograms are in microseconds.
    """
    return {
        series.name: {day: series.count(hi) - series.count(lo) for day, lo, hi in day_windows()}
        for series in _all(truth)
        if series.events is not None
    }


def _family(series: _Series) -> tuple[str, str]:
    name = series.name.partition("{")[0]
    if series.events is None:
        return "gauge", name
    for end in ("_bucket", "_count", "_sum"):
        if name.endswith(end):
            return "histogram", name.removesuffix(end)
    return "counter", name.removesuffix("_total")


# -- what there is -------------------------------------------------------------------------------


def _all(truth: Truth) -> Iterator[_Series]:
    chance = random.Random(f"{truth.seed}/levels")

    def clock() -> _Clock:
        first = next_scrape(START_MS, STEP_MS, chance.randrange(STEP_MS))
        noise = np.random.RandomState(chance.getrandbits(32))
        return _Clock(np.arange(first, END_MS, STEP_MS, dtype=np.int64), noise)

    yield from _probes(clock(), truth)
    for name in AGENTS:
        yield from _agent(clock(), name, truth)
    yield from _orders(clock(), truth)
    yield from _pipeline(clock(), truth)
    yield from _machine(clock(), truth)
    yield from _database(clock(), truth)


def _probes(clock: _Clock, truth: Truth) -> Iterator[_Series]:
    """How long each page took; one that is down takes until the probe gives up."""
    for name, base, served_by in (
        ("health_check_api", 0.06, "health_check_api"),
        ("grafana_dashboard", 0.75, "grafana"),
        ("log_search", 0.28, "elasticsearch"),
    ):
        took = base * (1 + 0.4 * clock.busy) * clock.around(0.2)
        took[clock.within(truth.targets[served_by].down)] = PROBE_TIMEOUT_S
        labels = f'job="blackbox",target="{name}",instance="{name}:9000"'
        yield _gauge(f"probe_duration_seconds{{{labels}}}", clock, took, 6)


def _agent(clock: _Clock, name: str, truth: Truth) -> Iterator[_Series]:
    night, noon, p95_ms, accuracy = AGENTS[name]
    labels = f'job="{name}",instance="{name}:9000"'
    rate = (night + noon * clock.busy) * clock.around(0.03)
    if name == "strategic":
        rate = clock.blend(rate, 38 * clock.around(0.05), truth.stories["strategic_dip"])
    decisions = _whole(rate * STEP_S)
    p95 = p95_ms * (1 + 0.08 * clock.busy) * clock.around(0.02)
    if name == "tactical":
        slow = 9.0 * clock.around(0.02)
        p95 = clock.blend(p95, slow, truth.stories["tactical_regression"])
    yield from _latency("agent_inference_duration_seconds", labels, clock, decisions, p95, AGENT_LE)
    drift = truth.stories["model_drift"] if name == "strategic" else ()
    share = clock.blend(np.full(len(clock.at), accuracy), accuracy - 0.03, drift)
    correct = _whole(decisions * share * clock.around(0.01))
    outcomes = f"agent_predictions_total{{{labels},outcome="
    yield _counter(f'{outcomes}"correct"}}', clock, correct)
    yield _counter(f'{outcomes}"wrong"}}', clock, decisions - correct)
    timeouts = _now_and_then(clock, decisions * 0.001)
    kinds = f"agent_errors_total{{{labels},kind="
    yield _counter(f'{kinds}"timeout"}}', clock, timeouts)
    # One in two days: most of these are the first of their series.
    internal = _now_and_then(clock, np.full(len(clock.at), STEP_MS / (2 * DAY_MS)))
    yield _counter(f'{kinds}"internal"}}', clock, internal, born_late=True)
    memory = _whole(MEMORY_BYTES[name] * clock.around(0.01)) // 4096 * 4096
    yield _gauge(f"process_resident_memory_bytes{{{labels}}}", clock, memory)
    if name == "risk":
        yield from _risk(clock, labels, truth)


def _risk(clock: _Clock, labels: str, truth: Truth) -> Iterator[_Series]:
    calculated = f"agent_var_calculations_total{{{labels},result="
    yield _counter(f'{calculated}"ok"}}', clock, np.full(len(clock.at), 2, dtype=np.int64))
    failed = _now_and_then(clock, np.full(len(clock.at), STEP_MS / (6 * DAY_MS)))
    yield _counter(f'{calculated}"failed"}}', clock, failed, born_late=True)
    breach = clock.share(truth.stories["var_breach"])
    warned = _now_and_then(clock, 4 * STEP_MS / DAY_MS * clock.busy + breach)
    yield _counter(f"agent_risk_threshold_alerts_total{{{labels}}}", clock, warned)
    checks = _whole((0.2 + 2 * clock.busy) * clock.around(0.1) * STEP_S)
    refused = np.minimum(checks, _now_and_then(clock, checks * 0.0005))
    checked = f"agent_compliance_checks_total{{{labels},result="
    yield _counter(f'{checked}"pass"}}', clock, checks - refused)
    yield _counter(f'{checked}"fail"}}', clock, refused)
    slow = (clock.at % (9 * DAY_MS)) / (9 * DAY_MS)
    kelly = (0.12 + 0.4 * slow * (1 - slow)) * clock.around(0.05)
    yield _gauge(f"agent_kelly_fraction{{{labels}}}", clock, kelly, 4)


def _orders(clock: _Clock, truth: Truth) -> Iterator[_Series]:
    labels = 'job="execution_engine",instance="execution_engine:9000"'
    rate = (0.1 + 2 * clock.busy) * clock.around(0.08)
    orders = _whole(clock.blend(rate, 0.0, truth.stories["order_stall"]) * STEP_S)
    p95 = 5.5 * (1 + 0.1 * clock.busy) * clock.around(0.04)
    p95 = clock.blend(p95, 30 * clock.around(0.1), truth.stories["order_latency_spike"])
    yield from _latency("execution_order_latency_seconds", labels, clock, orders, p95, ORDER_LE)


def _pipeline(clock: _Clock, truth: Truth) -> Iterator[_Series]:
    """All of its counters start from 0 at every restart."""
    labels = 'job="data_pipeline",instance="data_pipeline:9000"'
    resets = truth.pipeline_restarts_ms
    messages = _whole((1_400 + 250 * clock.busy) * clock.around(0.03) * STEP_S)
    yield _counter(f"pipeline_messages_total{{{labels}}}", clock, messages, resets)
    records = messages * 8
    bursts = (*truth.stories["invalid_burst"], *truth.stories["invalid_flapping"])
    share = clock.blend(0.0004 * clock.around(0.3), 0.04 * clock.around(0.2), bursts)
    invalid = _whole(records * share)
    quality = f"pipeline_records_total{{{labels},quality="
    yield _counter(f'{quality}"valid"}}', clock, records - invalid, resets)
    yield _counter(f'{quality}"invalid"}}', clock, invalid, resets)
    missing = _now_and_then(clock, records * 0.000002)
    yield _counter(f"pipeline_missing_records_total{{{labels}}}", clock, missing, resets)
    p95 = 45.0 * (1 + 0.15 * clock.busy) * clock.around(0.05)
    name = "pipeline_processing_duration_seconds"
    yield from _latency(name, labels, clock, messages, p95, PIPELINE_LE, resets)


def _machine(clock: _Clock, truth: Truth) -> Iterator[_Series]:
    cpu = (0.30 + 0.25 * clock.busy) * clock.around(0.08)
    high = clock.within(truth.stories["cpu_high"])
    cpu[high] = (0.90 * clock.around(0.05))[high]
    memory = _whole(MEMORY_TOTAL_BYTES * 0.60 * clock.around(0.015))
    storage = truth.storage
    assert storage is not None, "stories come with their storage"
    grown = (storage.at_ms - clock.at) * storage.bytes_per_day // DAY_MS
    # Compaction gives some back and takes it again.
    disk = storage.used_bytes - grown + _whole(40_000_000 * clock.around(1.0)) - 40_000_000
    network = _whole((22_000_000 + 18_000_000 * clock.busy) * clock.around(0.15))
    yield _gauge("instance:node_cpu_utilisation:ratio", clock, cpu, 6)
    yield _gauge("instance:node_memory_utilisation:ratio", clock, memory / MEMORY_TOTAL_BYTES, 6)
    yield _gauge(
        "instance:node_filesystem_utilisation:ratio", clock, disk / storage.allocated_bytes, 6
    )
    yield _gauge("instance:node_network_bytes:rate1m", clock, network)
    yield _gauge("instance:node_cpu_cores_used:rate1m", clock, cpu * CPU_CORES, 6)
    yield _gauge("instance:node_memory_used_bytes:sum", clock, memory)
    yield _gauge("instance:node_filesystem_used_bytes:sum", clock, disk)
    load = cpu * CPU_CORES * clock.around(0.2)
    yield _gauge('node_load1{job="node_exporter",instance="node_exporter:9000"}', clock, load, 2)


def _database(clock: _Clock, truth: Truth) -> Iterator[_Series]:
    busy = clock.busy
    connections = (0.22 + 0.25 * busy) * clock.around(0.15)
    longest = (0.4 + 3 * busy) * clock.around(0.8)
    locks = _whole((6 + 40 * busy) * clock.around(0.4))
    lag = (0.03 + 0.3 * busy) * clock.around(0.7)
    missed = {start for start, _ in truth.stories["backup_missed"]}
    ends = [backup_end(day) for day in days_between(FIRST_DAY, LAST_DAY)]
    first = ends[0] - DAY_MS
    done = np.array([first, *(end for end in ends if end not in missed)], dtype=np.int64)
    age = clock.at - done[np.searchsorted(done, clock.at, side="right") - 1]
    yield _gauge("database:connections_used:ratio", clock, connections, 6)
    yield _gauge("database:longest_transaction_seconds:max", clock, longest, 3)
    yield _gauge("database:locks:count", clock, locks)
    yield _gauge("database:replication_lag_seconds:max", clock, lag, 3)
    yield _gauge("database:backup_age_seconds:max", clock, age / 1000, 3)


# -- how it is shaped ----------------------------------------------------------------------------


def _latency(
    name: str,
    labels: str,
    clock: _Clock,
    events: Ints,
    p95_ms: Floats,
    bounds: Sequence[str],
    resets: tuple[int, ...] = (),
) -> Iterator[_Series]:
    """A histogram of ``events`` whose 95th percentile is ``p95_ms``: buckets, count and sum."""
    median_s = p95_ms / 1000 / P95
    for le in bounds:
        x = median_s / float(le)
        within = _whole(events / (1 + x * x * x * x * x * x) + 0.5)
        yield _counter(f'{name}_bucket{{{labels},le="{le}"}}', clock, within, resets)
    yield _counter(f'{name}_bucket{{{labels},le="+Inf"}}', clock, events, resets)
    yield _counter(f"{name}_count{{{labels}}}", clock, events, resets)
    total = _whole(events * (median_s * MEAN) * MICRO)
    yield _Series(f"{name}_sum{{{labels}}}", clock.at, total, MICRO, resets_ms=resets)


def _counter(
    name: str,
    clock: _Clock,
    events: Ints,
    resets: tuple[int, ...] = (),
    *,
    born_late: bool = False,
) -> _Series:
    return _Series(name, clock.at, events, resets_ms=resets, born_late=born_late)


def _gauge(name: str, clock: _Clock, values: Floats | Ints, digits: int = 0) -> _Series:
    return _Series(name, clock.at, values=values, digits=digits)


def _now_and_then(clock: _Clock, expected: npt.NDArray[np.floating[Any]]) -> Ints:
    """Whole numbers that are ``expected`` on average."""
    return _whole(expected + clock.noise.random_sample(len(clock.at)))


def _whole(values: Floats) -> Ints:
    return np.floor(values).astype(np.int64)
