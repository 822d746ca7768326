"""Generated history of the monitored system, with the truth beside it.

What happened is drawn first, from a seed: when each target was really down, gone, not yet there,
or merely not looked at; what each service did, how fast, and which alerts that raised. Samples are
then taken of that truth, as a collector would have. Tests compare reports with the truth, never
with the code.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TextIO

from . import alerts, levels, states, stories
from .truth import (
    FIRST_DAY,
    INTERVAL_S,
    LAST_DAY,
    ZONE,
    AlertTruth,
    CounterTruth,
    Storage,
    TargetTruth,
    Truth,
    day_windows,
    draw_states,
)

__all__ = [
    "FIRST_DAY",
    "INCIDENTS_FILE",
    "INTERVAL_S",
    "LAST_DAY",
    "SAMPLES_FILE",
    "TRUTH_FILE",
    "ZONE",
    "AlertTruth",
    "CounterTruth",
    "Storage",
    "TargetTruth",
    "Truth",
    "alerts",
    "day_windows",
    "draw",
    "generate",
    "levels",
    "write_openmetrics",
]

#: What the history is called on disk.
SAMPLES_FILE, TRUTH_FILE, INCIDENTS_FILE = "metrics.om", "metrics-truth.json", "incidents.csv"


def draw(seed: int) -> Truth:
    """What happened, drawn from ``seed``: the same story every time, at other moments."""
    return alerts.add(stories.add(draw_states(seed)))


def generate(out: Path, *, seed: int) -> Truth:
    """Write the demo's history as OpenMetrics, its incidents as CSV and its truth into ``out``.

    About six million samples; the same bytes for the same seed. Times are in milliseconds.
    """
    out.mkdir(parents=True, exist_ok=True)
    truth = draw(seed)
    with (out / SAMPLES_FILE).open("w", encoding="ascii", newline="\n") as file:
        samples = write_openmetrics(file, truth)
    truth = replace(truth, samples=samples, levels=levels.daily(truth))
    truth.write(out / TRUTH_FILE)
    told = alerts.incidents_csv(truth, truth.end_ms)
    (out / INCIDENTS_FILE).write_text(told, "utf-8")
    return truth


def write_openmetrics(file: TextIO, truth: Truth) -> int:
    """Sample the truth as a collector would have; returns the number of samples."""
    samples = states.write(file, truth)
    # A truth of states alone (a benchmark's) has no stories and no alerts.
    if truth.stories:
        samples += levels.write(file, truth)
        samples += alerts.write(file, truth)
    file.write("# EOF\n")
    return samples
