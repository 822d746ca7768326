"""Histories with known truth, and the samples that a collector would have taken of them.

What happened to a host is drawn first. A state (up or down) lasts at least one scrape interval:
what is shorter can go unseen, which no bound contains; :func:`undetected` draws exactly that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TextIO

import numpy as np
import numpy.typing as npt

from reporting.periods import calendar_day

Interval = tuple[int, int]
Ints = npt.NDArray[np.int64]

HOUR_MS = 3_600_000
#: Every host lives this long before and after its day, if it does.
AROUND_MS = 2 * HOUR_MS
#: Requests a second of a host that counts them; errors a day, rare.
RATE, ERRORS_A_DAY = 20, 4
#: Scrapes of every other host come late by up to this share of their interval.
LATE = 0.08

#: What happens to a host: see :func:`_drawn`.
KINDS = (
    "steady",
    "outages",
    "flapping",
    "gaps",
    "vanished",
    "returned",
    "away all day",
    "born",
    "restarts",
)


@dataclass(frozen=True)
class Host:
    """One host around one day; spans are half-open, in milliseconds since 1970.

    ``down``: there and scraped, but not serving. ``gone``: not there (vanished or not yet born).
    ``unseen``: not looked at. ``restarts`` begin its counters at 0; while it does not serve
    nothing is counted. ``errors`` are the moments of requests that failed. Scrapes come up to
    ``late_ms`` late.
    """

    name: str
    kind: str
    day: date
    zone: str
    tau_ms: int
    phase_ms: int
    late_ms: int = 0
    down: tuple[Interval, ...] = ()
    gone: tuple[Interval, ...] = ()
    unseen: tuple[Interval, ...] = ()
    restarts: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
    counts: bool = False

    @property
    def window(self) -> Interval:
        """The calendar day in the host's own zone."""
        found = calendar_day(self.day, self.zone)
        return found.start_ms, found.end_ms

    def up_ms(self) -> int:
        """How long it was really up in its window."""
        return self.up_between(*self.window)

    def up_between(self, start: int, end: int) -> int:
        """How long it was really up in ``[start, end)``."""
        off = _united((*self.down, *self.gone))
        return end - start - sum(_overlap(span, (start, end)) for span in off)

    def total(self) -> int:
        """Requests that it really had in its window."""
        served = self.served(np.array(self.window, dtype=np.int64))
        return int(served[1] - served[0])

    def bad(self) -> int:
        """Requests that really failed in its window."""
        start, end = self.window
        return sum(start <= at < end for at in self.errors)

    def served(self, at: Ints) -> Ints:
        """Requests up to each moment of ``at``: an even stream while it is up, else none."""
        off = _united((*self.down, *self.gone))
        lost = np.zeros(len(at), dtype=np.int64)
        for lo, hi in off:
            lost += np.clip(at, lo, hi) - lo
        start = self.window[0] - AROUND_MS
        return (at - start - lost) * RATE // 1000

    def scrapes(self) -> Ints:
        """When it was scraped."""
        start, end = self.window
        first = start - AROUND_MS + (self.phase_ms - start + AROUND_MS) % self.tau_ms
        at = np.arange(first, end + AROUND_MS, self.tau_ms, dtype=np.int64)
        if self.late_ms:
            # A stream of its own, so that what is drawn elsewhere does not move it.
            at = at + np.random.RandomState(self.phase_ms % 2**32).randint(0, self.late_ms, len(at))
        return at[~_inside(at, (*self.gone, *self.unseen))]


def write(file: TextIO, hosts: Sequence[Host]) -> int:
    """The samples of all ``hosts`` as OpenMetrics; returns how many."""
    written = 0
    file.write("# TYPE up gauge\n")
    for host in hosts:
        at = host.scrapes()
        up = ~_inside(at, host.down)
        written += _series(file, f'up{{job="{host.name}",instance="{host.name}:9000"}}', at, up)
    file.write("# TYPE http_requests counter\n")
    for host in hosts:
        if not host.counts:
            continue
        at = host.scrapes()
        at = at[~_inside(at, host.down)]  # a scrape that failed has no counters
        good, bad = _counted(host, at)
        labels = f'job="{host.name}",instance="{host.name}:9000"'
        written += _series(file, f'http_requests_total{{{labels},code="200"}}', at, good)
        # A code has no series before its first request of that kind.
        seen = bad > 0
        series = f'http_requests_total{{{labels},code="500"}}'
        written += _series(file, series, at[seen], bad[seen])
    file.write("# EOF\n")
    return written


def _counted(host: Host, at: Ints) -> tuple[Ints, Ints]:
    """What both counters show at each scrape: the requests since the last restart."""
    errors = np.array(sorted(host.errors), dtype=np.int64)
    total = host.served(at)
    bad = np.searchsorted(errors, at, side="right").astype(np.int64)
    restarts = np.array([0, *sorted(host.restarts)], dtype=np.int64)
    since = restarts[np.searchsorted(restarts, at, side="right") - 1]
    alive = since > 0
    total = total - np.where(alive, host.served(since), 0)
    bad = bad - np.where(alive, np.searchsorted(errors, since, side="left"), 0)
    return total - bad, bad


def _series(file: TextIO, name: str, at: Ints, values: npt.NDArray[np.generic]) -> int:
    texts = values.astype(np.int64).tolist()
    stamped = zip(at.tolist(), texts, strict=True)
    file.write("".join([f"{name} {v} {t // 1000}.{t % 1000:03d}\n" for t, v in stamped]))
    return len(texts)


# -- drawing -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """One day of hosts: how many of each scrape interval, and when nobody was looking."""

    day: date
    zone: str
    hosts: dict[int, int]
    counting: dict[int, int]
    collector: tuple[Interval, ...] = field(default=())


def draw(plan: Plan, seed: int) -> list[Host]:
    """The hosts of one day: every kind in turn, everything else by chance."""
    chance = random.Random(f"{seed}/{plan.day}")
    hosts = []
    for tau_s, number in plan.hosts.items():
        # The kinds go round by interval, so that few hosts of one interval are not all steady.
        first = chance.randrange(len(KINDS))
        for i in range(number):
            kind = KINDS[(first + i) % len(KINDS)]
            name = f"d{plan.day:%m%d}_{tau_s}s_{i:02d}"
            counts = i < plan.counting.get(tau_s, 0)
            hosts.append(_drawn(chance, name, kind, plan, tau_s * 1000, counts))
    return hosts


def _drawn(chance: random.Random, name: str, kind: str, plan: Plan, tau: int, counts: bool) -> Host:
    window = calendar_day(plan.day, plan.zone)
    start, end = window.start_ms, window.end_ms
    # One in five is scraped exactly at the window's edges.
    phase = start % tau if chance.random() < 0.2 else chance.randrange(tau)
    late = int(tau * LATE) if chance.random() < 0.5 else 0
    shortest = tau + late
    whole = (start - AROUND_MS, end + AROUND_MS)
    at = chance.randrange(start + HOUR_MS, end - HOUR_MS)
    down: tuple[Interval, ...] = ()
    gone: tuple[Interval, ...] = ()
    unseen: tuple[Interval, ...] = ()
    restarts: tuple[int, ...] = ()
    if kind in ("outages", "gaps", "vanished"):
        lengths = [_length(chance, shortest, 2 * HOUR_MS) for _ in range(chance.randint(1, 6))]
        down = _spread(chance, (start - HOUR_MS, end + HOUR_MS), lengths, shortest)
    if kind == "flapping":
        down = _flaps(chance, at, shortest)
    if kind == "gaps":
        lengths = [_length(chance, 2 * tau, 40 * tau) for _ in range(chance.randint(1, 5))]
        unseen = _spread(chance, (start - 10 * tau, end + 10 * tau), lengths, 3 * tau)
    if kind == "vanished":
        gone = ((at, whole[1]),)
    if kind == "returned":
        gone = ((at, min(at + _length(chance, 20 * tau, 6 * HOUR_MS), end + HOUR_MS)),)
        restarts = (gone[0][1],)
    if kind == "away all day":
        gone = ((start - chance.randrange(HOUR_MS, AROUND_MS), whole[1]),)
    if kind == "born":
        gone = ((whole[0], at),)
        restarts = (at,)
    if kind == "restarts":
        restarts = tuple(sorted(chance.randrange(start, end) for _ in range(chance.randint(1, 3))))
    # A host that was down may come back with its counters at 0, or not.
    restarts += tuple(hi for _, hi in down if chance.random() < 0.5)
    host = Host(
        name, kind, plan.day, plan.zone, tau, phase, late, down, gone,
        (*unseen, *plan.collector), tuple(sorted(restarts)), counts=counts,
    )  # fmt: skip
    if not counts:
        return host
    errors = _errors(chance, host, whole)
    return Host(**{**vars(host), "errors": errors})


def _errors(chance: random.Random, host: Host, whole: Interval) -> tuple[int, ...]:
    """Rare errors at random moments in which the host serves."""
    errors = []
    at = whole[0]
    while True:
        at += 1 + int(chance.expovariate(ERRORS_A_DAY / (24 * HOUR_MS)))
        if at >= whole[1]:
            return tuple(errors)
        if not any(lo <= at < hi for lo, hi in (*host.down, *host.gone)):
            errors.append(at)


def _length(chance: random.Random, shortest: int, longest: int) -> int:
    """Short ones are as likely as long ones, by order of magnitude."""
    ratio = longest / shortest
    return int(shortest * ratio ** chance.random()) if ratio > 1 else shortest


def _spread(
    chance: random.Random, within: Interval, lengths: Sequence[int], apart: int
) -> tuple[Interval, ...]:
    """Spans of these ``lengths`` at random places, at least ``apart`` from each other."""
    free = within[1] - within[0] - sum(lengths) - apart * len(lengths)
    assert free > 0, f"{len(lengths)} spans do not fit into {within}"
    cuts = sorted(chance.randrange(free) for _ in lengths)
    at, spans, used = within[0], [], 0
    for cut, length in zip(cuts, lengths, strict=True):
        at += cut - used
        used = cut
        spans.append((at, at + length))
        at += length + apart
    return tuple(spans)


def _flaps(chance: random.Random, at: int, shortest: int) -> tuple[Interval, ...]:
    """Up and down in turn, each for one to four intervals."""
    spans = []
    for _ in range(chance.randint(10, 60)):
        length = chance.randint(shortest, 4 * shortest)
        spans.append((at, at + length))
        at += length + chance.randint(shortest, 4 * shortest)
    return tuple(spans)


def undetected(
    name: str, day: date, zone: str, tau_ms: int, share: float, number: int, seed: int
) -> Host:
    """A host with ``number`` outages of ``share`` of an interval each, at random offsets."""
    chance = random.Random(f"{seed}/{name}")
    window = calendar_day(day, zone)
    lengths = [round(tau_ms * share)] * number
    down = _spread(chance, (window.start_ms, window.end_ms), lengths, 4 * tau_ms)
    return Host(name, "short", day, zone, tau_ms, chance.randrange(tau_ms), down=down)


def _inside(at: Ints, spans: Sequence[Interval]) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(at), dtype=np.bool_)
    for lo, hi in spans:
        found |= (at >= lo) & (at < hi)
    return found


def _united(spans: Sequence[Interval]) -> Iterator[Interval]:
    """The same time as ``spans``, each moment once."""
    ordered = sorted(spans)
    if not ordered:
        return
    lo, hi = ordered[0]
    for start, end in ordered[1:]:
        if start > hi:
            yield lo, hi
            lo, hi = start, end
        else:
            hi = max(hi, end)
    yield lo, hi


def _overlap(span: Interval, window: Interval) -> int:
    return max(0, min(span[1], window[1]) - max(span[0], window[0]))
