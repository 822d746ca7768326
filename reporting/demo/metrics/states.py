"""Samples of what is up and of the requests counted: every scrape that happened."""

from __future__ import annotations

from typing import TextIO

from .truth import (
    COUNTER_INTERVAL_S,
    PROBED,
    CounterTruth,
    TargetTruth,
    Truth,
    cut,
    next_scrape,
    requests_between,
)

#: Samples rendered at once; keeps memory flat.
CHUNK = 50_000


def write(file: TextIO, truth: Truth) -> int:
    """Every state and every counter of requests; returns the number of samples."""
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
    return samples


def _write_state(file: TextIO, series: str, target: TargetTruth, truth: Truth) -> int:
    """1 or 0 at every scrape that happened."""
    unseen = (*target.gone, *target.unborn, *truth.collector_gaps)
    written = 0
    for lo, hi, scraped in cut(truth.start_ms, truth.end_ms, unseen):
        if not scraped:
            continue
        for at, until, is_up in cut(lo, hi, target.down):
            first = next_scrape(at, target.interval_ms, target.offset_ms)
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
    for at in range(next_scrape(truth.start_ms, step, offset), truth.end_ms, step):
        while at >= resets[life]:
            since, counted, life = resets[life], 0, life + 1
        while errors and errors[0] <= at:
            counted += errors.pop(0) >= since  # an error before a restart is forgotten by it
        if any(lo <= at < hi for lo, hi in unseen):
            continue
        stamp = f"{at // 1000}.{at % 1000:03d}"
        good.append(f"{ok} {requests_between(name, since, at)} {stamp}\n")
        if counted:
            bad.append(f"{failed} {counted} {stamp}\n")
    file.write("".join(good))
    file.write("".join(bad))
    return len(good) + len(bad)
