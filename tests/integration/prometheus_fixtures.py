"""Histories for a real Prometheus, told as what really happened and when nobody looked."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reporting.demo.prometheus import find_binary
from reporting.errors import NotReady

VAR = Path(__file__).parents[2] / "var"
Interval = tuple[int, int]


def lacking(*names: str) -> str:
    """Why tests that need these programs can't run here, or nothing."""
    for name in names:
        try:
            find_binary(name, VAR)
        except NotReady as error:
            return str(error)
    return ""


@dataclass(frozen=True)
class Story:
    """One target: when it was really not up, and when no sample was taken of it."""

    tau_ms: int
    phase_ms: int = 0
    down: Sequence[Interval] = ()
    unseen: Sequence[Interval] = ()
    late_ms: int = 0  # scrapes come up to this much late
    # From this moment on scrapes have another phase, as after a restart of the collector.
    shifted: Interval = (1 << 60, 0)
    labels: Sequence[str] = ("",)

    def samples(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Each scrape that happened in ``[start, end)``, with what it saw."""
        chance = random.Random(self.phase_ms)
        at = start + (self.phase_ms - start) % self.tau_ms
        while at < end:
            moved = at + (self.shifted[1] if at >= self.shifted[0] else 0)
            t = moved + (chance.randrange(self.late_ms) if self.late_ms else 0)
            if t < end and not inside(t, self.unseen):
                yield t, 0 if inside(t, self.down) else 1
            at += self.tau_ms

    def true_up_ms(self, start: int, end: int) -> int:
        """How long it was really up."""
        return end - start - sum(max(0, min(b, end) - max(a, start)) for a, b in self.down)


def inside(t: int, spans: Sequence[Interval]) -> bool:
    return any(a <= t < b for a, b in spans)


def write_openmetrics(path: Path, stories: Mapping[str, Story], start: int, end: int) -> None:
    """All samples of all stories as ``up{job="<name>"}``."""
    with path.open("w") as file:
        file.write("# TYPE up gauge\n")
        for name, story in stories.items():
            for extra in story.labels:
                for t, value in story.samples(start, end):
                    stamp = f"{t // 1000}.{t % 1000:03d}"
                    file.write(f'up{{job="{name}"{extra}}} {value} {stamp}\n')
        file.write("# EOF\n")


#: Samples of one series: milliseconds since 1970 and values, in order.
Samples = Sequence[tuple[int, float]]


def scrapes(
    start: int, end: int, tau_ms: int, phase_ms: int = 0, unseen: Sequence[Interval] = ()
) -> list[int]:
    """The moments of all scrapes in ``[start, end)`` that happened."""
    first = start + (phase_ms - start) % tau_ms
    return [t for t in range(first, end, tau_ms) if not inside(t, unseen)]


def write_series(path: Path, families: Mapping[str, tuple[str, Mapping[str, Samples]]]) -> None:
    """OpenMetrics of ``name -> (type, series text -> samples)``."""
    with path.open("w") as file:
        for name, (kind, series) in families.items():
            file.write(f"# TYPE {name} {kind}\n")
            for text, samples in series.items():
                file.writelines(
                    f"{text} {value!r} {t // 1000}.{t % 1000:03d}\n" for t, value in samples
                )
        file.write("# EOF\n")
