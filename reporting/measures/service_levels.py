"""Service levels: counted events, values over time and latencies of each objective.

Three kinds of indicator become sufficient statistics that add up over days:

- *counts* (counters): increments from the raw deltas of neighbouring samples. A value that falls is
  a reset, and the new value is what was counted since. A series that begins although its target was
  being scraped began from 0, at the scrape before; otherwise what its first sample already held is
  doubtful. Events between the two samples around a window's edge are split linearly, and the other
  split is what is doubtful about it.
- *threshold* and *share* (values): a sample owns the time to the midpoints of its neighbours, or
  half an interval next to a gap of more than one and a half; the rest is unknown. Exactly as in the
  uptime measure, of which this is the generalisation from {0, 1} to [0, 1].
- rates of counters against a threshold: increments per slice of time.

What sampling can't see, no bound contains: a change that is undone between two samples of a value.
Counters have no such limit, they lose nothing but what a restart forgets.

Everything is an integer: milliseconds, and 10^-9 of an event or of a unit. References: Beyer et
al., "The Site Reliability Workbook" (2018), chapter 2 (events and time slices); the OpenSLO
specification v1 (Occurrences, Timeslices, RatioTimeslices); Masson, Rim and Lee, "DDSketch" (2019)
for the sketch; the project's measures.md, "SLA uptime and objectives".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..model import (
    EXACT,
    Band,
    Count,
    Duration,
    Exact,
    Frame,
    Frames,
    Missing,
    Number,
    Ratio,
    Shown,
    Value,
    Why,
    exact_sum,
    plain,
)
from ..page import Column, Figure, Section, Table, text
from ..periods import TradingDay, calendar_day
from . import Context as Page
from . import Measure

NAME = "service_levels"
QUERIES, SERIES, SAMPLES = "level_queries", "level_series", "level_samples"
#: All amounts of events and of values are whole multiples of 1 / NANO.
NANO = 1_000_000_000
#: Slices by which a rate is judged where its objective has none of its own.
RATE_SLICE_MS = 300_000
#: Ratio of neighbouring buckets of the sketch: a percentile is within half of 1 % of a true value.
SKETCH_BASE = 1.01
#: A difference to the server's own increase() that is worth a note, in percent.
CROSS_CHECK_PCT = Decimal("0.1")
#: Intervals on each side of a restart that say how much it can have lost. Two: as many as the
#: margin around a window has of the slowest scrapes that are usual, so that both days agree.
NEIGHBOURS = 2

Ints = npt.NDArray[Any]  # int64, or Python integers where those would overflow
Times = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


# -- the facts ---------------------------------------------------------------------------------


class Doubt(Value):
    """How far the counted good and bad events may be from the true ones, each."""

    good: Exact = Decimal(0)
    bad: Exact = Decimal(0)

    def __add__(self, other: Doubt) -> Doubt:
        return Doubt(good=EXACT.add(self.good, other.good), bad=EXACT.add(self.bad, other.bad))


class Events(Value):
    """Events counted; the true number of good ones is within ``doubtful`` of ``good``.

    ``inner`` is what restarts and unexplained births leave open; ``first`` and ``last`` what may
    lie on the other side of the window's edges, which vanishes where two windows adjoin.
    """

    good: Exact
    total: Exact
    inner: Doubt = Doubt()
    first: Doubt = Doubt()
    last: Doubt = Doubt()

    @property
    def bad(self) -> Decimal:
        """Events that were not good."""
        return EXACT.subtract(self.total, self.good)

    @property
    def doubtful(self) -> Decimal:
        """Bound of the error of ``good``."""
        return (self.inner + self.first + self.last).good

    @property
    def doubtful_bad(self) -> Decimal:
        """Bound of the error of ``bad``; that of ``total`` is the sum of both."""
        return (self.inner + self.first + self.last).bad


class OwnedTime(Value):
    """Time in which a value was good or bad, owned by samples as in the uptime measure (ms).

    ``share_ms`` is the sum of share × time; for thresholds that is ``good_ms``. For shares
    ``good_ms`` is the time at a share of 1. ``empty_ms`` is owned by samples that are not a number:
    a ratio of nothing to nothing, which is no traffic. Doubtful is what may be less or more.
    """

    good_ms: int
    bad_ms: int
    unknown_ms: int
    doubtful_good_ms: Exact
    doubtful_bad_ms: Exact
    share_ms: Exact
    empty_ms: int = 0


class Slices(Value):
    """Time slices by outcome; ``empty`` had no traffic, ``share_sum`` adds the shares of good."""

    good: int
    bad: int
    empty: int
    unknown: int
    share_sum: Exact


class Values(Value):
    """Values over time: weighted by the time that each sample owns, percentiles from a sketch.

    ``sketch`` maps a bucket (see :func:`sketch_key`) to the milliseconds at values in it.
    """

    samples: int
    weight_ms: int
    weighted_sum: Exact
    lowest: Exact
    highest: Exact
    first: Exact
    last: Exact
    sketch: dict[str, int]


class Histogram(Value):
    """Increments of each bucket in the window, not cumulative; ``bounds`` are the upper ones."""

    bounds: tuple[str, ...]
    counts: tuple[Exact, ...]
    total: Exact  # sum of the observed values, 0 where there is no _sum series


class Level(Value):
    """One objective between two instants, as sufficient statistics.

    Only what the indicator has is there. ``window_ms`` is the time measured, ``unknown_ms`` the
    part of it without data. ``resets`` counts restarts of targets; ``births`` series that began in
    the window, ``births_inferred`` those of them that are taken to have begun from 0.
    ``cross_check_pct`` is the difference of our count to the server's ``increase()`` in percent, of
    the worst day. ``missing`` is set where nothing could be measured.
    """

    id: str
    title: str
    kind: Literal["counts", "threshold", "share"]
    start_ms: int
    end_ms: int
    window_ms: int
    unknown_ms: int = 0
    budgeting: Literal["occurrences", "timeslices", "ratio_timeslices"] = "occurrences"
    slice_ms: int = 0
    no_data: Literal["exclude", "down", "flag"] = "flag"
    scale: Exact = Decimal(1)
    interval_ms: int = 0
    series: int = 0
    samples: int = 0
    resets: int = 0
    births: int = 0
    births_inferred: int = 0
    comparator: str = ""
    value: Exact | None = None
    events: Events | None = None
    time: OwnedTime | None = None
    slices: Slices | None = None
    values: Values | None = None
    histogram: Histogram | None = None
    cross_check_pct: Exact | None = None
    missing: Missing | None = None


class ServiceLevelsFact(Value):
    """All objectives that are read from Prometheus and are no plain up/down state."""

    start_ms: int
    end_ms: int
    levels: tuple[Level, ...]


# -- one day -----------------------------------------------------------------------------------


def of_day(day: TradingDay, frames: Frames) -> ServiceLevelsFact | Missing:
    """Every objective of the three frames, each over its own window."""
    tables = []
    for name in (QUERIES, SERIES, SAMPLES):
        frame = frames[name]
        if isinstance(frame, Missing):
            return frame
        assert isinstance(frame, Frame)
        tables.append(frame.table)
    queries, series, samples = tables
    by_objective: dict[str, list[_Series]] = {}
    runs = _runs(samples["series"].to_numpy())
    at = samples["at_ms"].to_numpy(dtype=np.int64)
    values = samples["value"].to_numpy(dtype=np.float64)
    for row in series.to_dict("records"):
        where = runs.get(int(row["series"]), slice(0, 0))
        found = _Series.of(row, at[where], values[where])
        by_objective.setdefault(str(row["objective"]), []).append(found)
    levels = [_level(row, by_objective.get(row["objective"], ())) for row in _rows(queries)]
    return ServiceLevelsFact(
        start_ms=min((x.start_ms for x in levels), default=day.window.start_ms),
        end_ms=max((x.end_ms for x in levels), default=day.window.end_ms),
        levels=tuple(sorted(levels, key=lambda x: x.id)),
    )


def _rows(table: Any) -> Iterator[Mapping[str, Any]]:
    yield from table.to_dict("records")


def _runs(ids: npt.NDArray[Any]) -> dict[int, slice]:
    """Where the samples of each series stand; those of one series stand together."""
    if not len(ids):
        return {}
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
    edges = [*starts.tolist(), len(ids)]
    return {int(ids[lo]): slice(lo, hi) for lo, hi in pairwise(edges)}


@dataclass(frozen=True)
class _Series:
    """One fetched series with its samples; ``target`` is who was scraped for it."""

    role: str
    target: tuple[str, str]
    le: str
    interval: int
    clean: bool
    seen_before: bool
    up_before: bool
    at: Times
    value: Floats

    @classmethod
    def of(cls, row: Mapping[Any, Any], at: Times, value: Floats) -> _Series:
        labels = json.loads(row["labels"]) if row["labels"] else {}
        return cls(
            role=str(row["role"]),
            target=(str(labels.get("job", "")), str(labels.get("instance", ""))),
            le=str(row["le"]),
            interval=int(row["interval_ms"]),
            clean=bool(row["clean"]),
            seen_before=bool(row["seen_before"]),
            up_before=bool(row["up_before"]),
            at=at,
            value=value,
        )

    @property
    def is_born(self) -> bool:
        """Whether its first sample is its first ever."""
        return not self.clean and (not self.seen_before or self.up_before)

    def counted(self, start: int, end: int) -> int:
        """Samples in the window; of a clean series not all of them were sent."""
        if self.clean and self.interval:
            return (end - start) // self.interval
        return int(np.searchsorted(self.at, end) - np.searchsorted(self.at, start))


@dataclass(frozen=True)
class _Window:
    """What of an objective's row all kinds need."""

    start: int
    end: int
    slice_ms: int
    slice_target: Decimal | None

    @property
    def length(self) -> int:
        return self.end - self.start

    def edges(self, slice_ms: int) -> Times:
        """Edges of the slices, multiples from the window's start; the last may be shorter."""
        return np.append(np.arange(self.start, self.end, slice_ms), self.end)

    def slices(self) -> int:
        return -(-self.length // self.slice_ms) if self.slice_ms else 0


def _level(row: Mapping[str, Any], series: Sequence[_Series]) -> Level:
    slice_target = row["slice_target"]
    window = _Window(
        int(row["start_ms"]),
        int(row["end_ms"]),
        int(row["slice_ms"]),
        Decimal(slice_target) if slice_target else None,
    )
    main = [s for s in series if s.role in ("numerator", "total", "value")]
    base: dict[str, Any] = {
        "id": str(row["objective"]),
        "title": str(row["title"]),
        "kind": row["kind"],
        "start_ms": window.start,
        "end_ms": window.end,
        "window_ms": window.length,
        "budgeting": row["budgeting"],
        "slice_ms": window.slice_ms,
        "no_data": row["no_data"],
        "scale": Decimal(row["scale"] or 1),
        "comparator": str(row["comparator"]),
        "value": Decimal(row["value"]) if row["value"] else None,
        "interval_ms": max((s.interval for s in main), default=0),
        "series": len(main),
        "samples": sum(s.counted(window.start, window.end) for s in main),
    }
    missing = _missing(row, main, window)
    if missing:
        return Level(**base, **_unmeasured(row, window), missing=missing)
    if row["kind"] == "counts" and not row["monotonic"]:
        return Level(**base, **_sums(row, series, window))
    if row["kind"] == "counts" or row["rate"]:
        return Level(**base, **_counts(row, series, window, base))
    return Level(**base, **_values(row, main, window, base))


def _missing(row: Mapping[str, Any], main: Sequence[_Series], window: _Window) -> Missing | None:
    """Why this objective has no figure, if it has none."""
    if row["missing"]:
        reason = str(row["missing"])
        return Missing(why=Why.EMPTY if reason == "no series" else Why.NO_DATA, detail=reason)
    needed = "total" if row["kind"] == "counts" else "value"
    found = [s for s in main if s.role == needed and len(s.at)]
    if row["kind"] == "counts" or row["rate"]:
        found = [s for s in found if np.isfinite(s.value).any()]
    if not found:
        return Missing(why=Why.EMPTY, detail=f"no sample of its {needed}")
    if row["kind"] == "share":
        if len(found) > 1:
            return Missing(
                why=Why.NO_DATA, detail=f"several series: {len(found)} where one share is meant"
            )
        inside = (found[0].at >= window.start) & (found[0].at < window.end)
        values = found[0].value[inside]
        odd = values[~(np.isnan(values) | ((values >= 0) & (values <= 1)))]
        if len(odd):
            return Missing(
                why=Why.NO_DATA,
                detail=f"{len(odd)} samples such as {float(odd[0]):.6g} are no share; expected "
                "values from 0 to 1: correct the query in config/objectives",
            )
    return None


def _unmeasured(row: Mapping[str, Any], window: _Window) -> dict[str, Any]:
    """All of the window unknown, in the fields that the kind adds up over days."""
    made: dict[str, Any] = {"unknown_ms": window.length}
    if row["kind"] == "counts" or row["rate"]:
        made["events"] = Events(good=Decimal(0), total=Decimal(0))
    if row["kind"] != "counts":
        made["time"] = _time(0, 0, 0, window.length)
    if window.slice_ms:
        made["slices"] = Slices(
            good=0, bad=0, empty=0, unknown=window.slices(), share_sum=Decimal(0)
        )
    return made


# -- counters ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Counter:
    """A counter as a curve that only rises: ``rise[i]`` from sample i-1 to sample i, of 1 / unit.

    ``restarts`` are indices at which the value fell. ``born_at`` is when it began, if it did, with
    ``born_with`` what its first sample held unless it is known to have begun from 0.
    """

    series: _Series
    at: Times
    unit: int
    rise: Ints
    reached: Ints
    restarts: tuple[int, ...]
    joints: frozenset[int]  # indices of samples that were put in: there was none, it stood at 0
    births: tuple[tuple[int, bool], ...]  # instant, and whether inferred to begin from 0
    doubtful_birth: tuple[int, int] | None  # instant and nano of a first sample of unknown origin
    interval: int

    @classmethod
    def of(cls, series: _Series, siblings: Sequence[_Series], fallback_ms: int) -> _Counter:
        finite = np.isfinite(series.value)
        at, value = series.at, series.value
        if not finite.all():
            at, value = at[finite], value[finite]
        interval = series.interval or fallback_ms
        units, unit = _whole(value)
        births: list[tuple[int, bool]] = []
        doubtful = None
        put: list[tuple[int, int]] = []  # position and instant of the samples to put in
        if len(at) and not series.clean:
            first = int(at[0])
            scraped = _scraped_before(first, series, siblings, interval)
            if scraped is None and series.up_before and interval:
                scraped = first - interval
            if scraped is not None:
                put.append((0, scraped))
                births.append((first, True))
            elif series.is_born:
                births.append((first, False))
                doubtful = (first, int(units[0]) * (NANO // unit))
            # Absent from a scrape that was made of its target: it did not exist, and began anew.
            for i in np.flatnonzero(2 * np.diff(at) > 3 * interval).tolist() if interval else ():
                again = int(at[i + 1])
                scraped = _scraped_before(again, series, siblings, interval)
                if scraped is not None and scraped > int(at[i]):
                    put.append((i + 1, scraped))
                    births.append((again, True))
        joints: frozenset[int] = frozenset()
        if put:
            where = [position for position, _ in put]
            at = np.insert(at, where, [instant for _, instant in put])
            units = np.insert(units, where, 0)
            joints = frozenset(position + n for n, position in enumerate(where))
        rise = np.zeros_like(units)
        if len(units):
            step = np.diff(units)
            rise[1:] = np.where(step < 0, units[1:], step)
            fell = (np.flatnonzero(step < 0) + 1).tolist()
        else:
            fell = []
        return cls(
            series=series,
            at=at,
            unit=unit,
            rise=rise,
            reached=np.cumsum(rise),
            restarts=tuple(i for i in fell if i not in joints),
            joints=joints,
            births=tuple(births),
            doubtful_birth=doubtful,
            interval=interval,
        )

    def upto(self, edge: int) -> int:
        """Events before ``edge`` since the first sample, in nano; linear between samples."""
        j = int(np.searchsorted(self.at, edge))
        if not j:
            return 0
        scale = NANO // self.unit
        found = int(self.reached[j - 1]) * scale
        if j < len(self.at):
            before = int(self.at[j - 1])
            part = int(self.rise[j]) * scale * (edge - before)
            found += _half_even(part, int(self.at[j]) - before)
        return found

    def between(self, start: int, end: int) -> int:
        """Events in ``[start, end)``, in nano; those of adjoining windows add up exactly."""
        return self.upto(end) - self.upto(start)

    def straddling(self, edge: int) -> tuple[tuple[int, int], int, int] | None:
        """The samples around ``edge``, events between them and those before it, in nano."""
        j = int(np.searchsorted(self.at, edge))
        if not 0 < j < len(self.at) or self.at[j] == edge:
            return None
        scale = NANO // self.unit
        split = self.upto(edge) - int(self.reached[j - 1]) * scale
        return (int(self.at[j - 1]), int(self.at[j])), int(self.rise[j]) * scale, split

    def lost(self, i: int) -> int:
        """Most events that the restart before sample i can have forgotten, in nano.

        Nobody saw them: as many as at the highest rate around for the whole interval, and at
        least one.
        """
        fell = {*self.restarts, *self.joints}
        most = 1
        length = int(self.at[i] - self.at[i - 1])
        for k in range(max(1, i - NEIGHBOURS), min(len(self.at), i + NEIGHBOURS + 1)):
            if k not in fell:
                took = int(self.at[k] - self.at[k - 1])
                most = max(most, -(-int(self.rise[k]) * length // (took * self.unit)))
        return most * NANO

    def per_slice(self, edges: Times) -> Floats:
        """Events in each slice: differences of whole sums are exact, whatever those stand at."""
        j = np.searchsorted(self.at, edges)
        before = np.maximum(j - 1, 0)
        after = np.minimum(j, len(self.at) - 1)
        inside = (j > 0) & (j < len(self.at))
        lasted = np.where(inside, self.at[after] - self.at[before], 1)
        part = np.where(inside, (edges - self.at[before]) / lasted, 0.0)
        part *= self.rise[after].astype(np.float64)
        whole = np.diff(np.where(j > 0, self.reached[before], 0)).astype(np.float64)
        found: Floats = (whole + np.diff(part)) / self.unit
        return found

    def gaps(self) -> list[tuple[int, int]]:
        """Where it is known how much was counted but not when."""
        if self.series.clean or not self.interval:
            return []
        long = np.flatnonzero(2 * np.diff(self.at) > 3 * self.interval).tolist()
        # Before a sample that was put in, the series did not exist: that it counted 0 is known.
        return [(int(self.at[i]), int(self.at[i + 1])) for i in long if i + 1 not in self.joints]

    def span(self, start: int) -> tuple[int, int]:
        """From when to when it is known what was counted."""
        from_zero = bool(self.births) and self.births[0][1] and 0 in self.joints
        return (min(start, int(self.at[0])) if from_zero else int(self.at[0]), int(self.at[-1]))


def _whole(value: Floats) -> tuple[Ints, int]:
    """The values as integers, and of what unit: 1 where all are whole, else 10^-9, half to even."""
    if not len(value):
        return np.zeros(0, dtype=np.int64), 1
    whole = np.floor(value)
    if bool((whole == value).all()):
        if float(np.abs(value).max()) < 2.0**62:
            return value.astype(np.int64), 1
        return np.array([int(v) for v in value.tolist()], dtype=object), 1
    nano = np.rint((value - whole) * NANO)
    if float(np.abs(value).max()) < 2.0**33:
        return whole.astype(np.int64) * NANO + nano.astype(np.int64), NANO
    made = [int(w) * NANO + int(n) for w, n in zip(whole.tolist(), nano.tolist(), strict=True)]
    return np.array(made, dtype=object), NANO


def _scraped_before(
    at: int, series: _Series, siblings: Sequence[_Series], interval: int
) -> int | None:
    """When its target was last scraped within one and a half intervals before ``at``, if it was.

    Series of one scrape have the same instants: a sibling without a sample at ``at`` is somebody
    else's, whatever its labels say.
    """
    latest = None
    for other in siblings:
        if other is series or not len(other.at) or other.at[0] >= at:
            continue
        j = int(np.searchsorted(other.at, at))
        previous = int(other.at[j - 1])
        together = j < len(other.at) and int(other.at[j]) == at
        if other.clean and not together and j < len(other.at) and other.interval:
            # It was scraped throughout, and not all of it was sent: its phase tells.
            off = (at - previous) % other.interval
            together = min(off, other.interval - off) <= other.interval // 4
            previous = at - other.interval
        if together and 2 * (at - previous) <= 3 * interval:
            latest = previous if latest is None else max(latest, previous)
    return latest


def _half_even(numerator: int, denominator: int) -> int:
    """``numerator / denominator`` to the nearest integer, a half to the even one."""
    found, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and found % 2):
        found += 1
    return found


def _exact(nano: int) -> Decimal:
    return EXACT.scaleb(Decimal(nano), -9)


def _counts(
    row: Mapping[str, Any], series: Sequence[_Series], window: _Window, base: Mapping[str, Any]
) -> dict[str, Any]:
    """Events, slices and histogram of counters; a rate is all events and their number by slice."""
    is_rate = row["kind"] != "counts"
    by_target: dict[tuple[str, str], list[_Series]] = {}
    for one in series:
        by_target.setdefault(one.target, []).append(one)
    interval = max((s.interval for s in series), default=0)
    made = [(s.role, _Counter.of(s, by_target[s.target], interval)) for s in series if len(s.at)]
    totals = [c for role, c in made if role == ("value" if is_rate else "total") and len(c.at)]
    parts = totals if is_rate else [c for role, c in made if role == "numerator" and len(c.at)]
    main = totals if is_rate else [*parts, *totals]
    start, end = window.start, window.end
    events = _events(parts, totals, is_rate or bool(row["numerator_good"]), start, end)
    unknown = _outside([c.span(start) for c in main], start, end)
    births = {
        (id(c.series), at): known for c in main for at, known in c.births if start <= at < end
    }
    restarts = {
        (c.series.target, int(c.at[i])) for c in main for i in c.restarts if start <= c.at[i] < end
    }
    found: dict[str, Any] = {
        "events": events,
        "unknown_ms": sum(hi - lo for lo, hi in unknown),
        "births": len(births),
        "births_inferred": sum(births.values()),
        "resets": len(restarts),
        "histogram": _histogram(made, start, end),
    }
    if not (births or restarts or unknown):
        found["cross_check_pct"] = _cross_check(str(row["increase"]), events.total)
    blurred = [*unknown, *(gap for c in main for gap in c.gaps())]
    if is_rate:
        found |= _rates(totals, blurred, window, base)
    elif window.slice_ms:
        found["slices"] = _ratio_slices(parts, totals, bool(row["numerator_good"]), blurred, window)
    return found


def _events(
    parts: Sequence[_Counter], totals: Sequence[_Counter], is_good: bool, start: int, end: int
) -> Events:
    """Good of all events; what is not in the numerator is the other kind."""
    part = sum(c.between(start, end) for c in parts)
    total = sum(c.between(start, end) for c in totals)
    inner = _Open.restarts(parts, totals, start, end) + _Open.births(parts, totals, start, end)
    first = _Open.edge(parts, totals, start)
    last = (
        _Open.edge(parts, totals, end)
        + _Open.restarts(parts, totals, end, None)
        + _Open.births(parts, totals, end, None)
    )
    return Events(
        good=_exact(part if is_good else total - part),
        total=_exact(total),
        inner=inner.doubt(is_good),
        first=first.doubt(is_good),
        last=last.doubt(is_good),
    )


class _Open(NamedTuple):
    """What may be wrong about the events of the numerator, and about all others, in nano."""

    part: int
    rest: int

    def __add__(self, other: object) -> _Open:
        assert isinstance(other, _Open)
        return _Open(self.part + other.part, self.rest + other.rest)

    def doubt(self, is_good: bool) -> Doubt:
        part, rest = _exact(self.part), _exact(self.rest)
        return Doubt(good=part, bad=rest) if is_good else Doubt(good=rest, bad=part)

    @classmethod
    def edge(cls, parts: Sequence[_Counter], totals: Sequence[_Counter], edge: int) -> _Open:
        """Events between the samples around an edge may all lie on either side of it.

        Those of one pair of samples are taken together: what total and numerator share is no
        doubt about the rest.
        """
        groups: dict[tuple[int, int], list[int]] = {}
        for which, counters in enumerate((parts, totals)):
            for counter in counters:
                found = counter.straddling(edge)
                if found:
                    sums = groups.setdefault(found[0], [0, 0, 0, 0])
                    sums[2 * which] += found[1]
                    sums[2 * which + 1] += found[2]
        part = rest = 0
        for all_part, split_part, all_total, split_total in groups.values():
            part += max(split_part, all_part - split_part)
            split = split_total - split_part
            rest += max(abs(split), abs(all_total - all_part - split))
        return cls(part, rest)

    @classmethod
    def restarts(
        cls, parts: Sequence[_Counter], totals: Sequence[_Counter], start: int, end: int | None
    ) -> _Open:
        """Events that restarts have forgotten: any of them may have been of either kind.

        With ``end`` None those whose first sample lies after the edge ``start``, and who may yet
        have happened before it.
        """
        lost: dict[tuple[tuple[str, str], int], list[int]] = {}
        for which, counters in enumerate((parts, totals)):
            for counter in counters:
                for i in counter.restarts:
                    at = int(counter.at[i])
                    if start <= at < end if end is not None else counter.at[i - 1] < start <= at:
                        sums = lost.setdefault((counter.series.target, at), [0, 0])
                        sums[which] += counter.lost(i)
        most = sum(total or part for part, total in lost.values())
        return cls(most, most)

    @classmethod
    def births(
        cls, parts: Sequence[_Counter], totals: Sequence[_Counter], start: int, end: int | None
    ) -> _Open:
        """What first samples of unknown origin held may have happened here or long ago."""
        held: dict[tuple[tuple[str, str], int], list[int]] = {}
        for which, counters in enumerate((parts, totals)):
            for counter in counters:
                if counter.doubtful_birth is None:
                    continue
                at, nano = counter.doubtful_birth
                early = 2 * at - 3 * counter.interval < 2 * start <= 2 * at
                if start <= at < end if end is not None else early:
                    held.setdefault((counter.series.target, at), [0, 0])[which] += nano
        return cls(
            sum(part for part, _ in held.values()),
            sum(abs(total - part) for part, total in held.values()),
        )


def _outside(spans: Iterable[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """The time of the window that is in none of ``spans``."""
    found = []
    reached = start
    for lo, hi in sorted(spans):
        if lo > reached and lo > start:
            found.append((reached, min(lo, end)))
        reached = max(reached, hi)
        if reached >= end:
            break
    if reached < end:
        found.append((reached, end))
    return [(lo, hi) for lo, hi in found if lo < hi]


def _cross_check(increase: str, ours: Decimal) -> Decimal | None:
    """How far the server's extrapolated increase() is from our count, in percent."""
    try:
        theirs = Decimal(increase) if increase else None
    except ArithmeticError:
        return None
    if theirs is None or not theirs.is_finite():
        return None
    larger = max(abs(ours), abs(theirs))
    if not larger:
        return Decimal(0)
    ratio = Context(prec=40).divide(abs(ours - theirs) * 100, larger)
    return ratio.quantize(Decimal("0.0001"), rounding=ROUND_HALF_EVEN)


def _touched(blurred: Iterable[tuple[int, int]], edges: Times) -> npt.NDArray[np.bool_]:
    """Which slices a stretch without data touches."""
    touched = np.zeros(len(edges) - 1, dtype=np.bool_)
    for lo, hi in blurred:
        first = int(np.searchsorted(edges, lo, side="right")) - 1
        touched[max(first, 0) : max(int(np.searchsorted(edges, hi)), 0)] = True
    return touched


def _ratio_slices(
    parts: Sequence[_Counter],
    totals: Sequence[_Counter],
    is_good: bool,
    blurred: Sequence[tuple[int, int]],
    window: _Window,
) -> Slices:
    """Good of all events in each slice, against the slice's own target."""
    edges = window.edges(window.slice_ms)
    part, total = (
        np.sum([c.per_slice(edges) for c in counters], axis=0) if counters else np.zeros(1)
        for counters in (parts, totals)
    )
    good = part if is_good else total - part
    # A billionth of an event is nothing: what is left of differences of split events.
    empty = total <= 0.5 / NANO
    share = np.rint(np.clip(good / np.where(empty, 1, total), 0, 1) * NANO).astype(np.int64)
    return _slices(share, np.broadcast_to(empty, share.shape), _touched(blurred, edges), window)


def _slices(
    share: Ints, empty: npt.NDArray[np.bool_], unknown: npt.NDArray[np.bool_], window: _Window
) -> Slices:
    """Count the slices by outcome; ``share`` is of good in each, in nano."""
    known = ~(empty | unknown)
    wanted = 1 if window.slice_target is None else window.slice_target
    met = known & (share >= int(EXACT.multiply(Decimal(wanted), Decimal(NANO))))
    return Slices(
        good=int(met.sum()),
        bad=int(known.sum() - met.sum()),
        empty=int((empty & ~unknown).sum()),
        unknown=int(unknown.sum()),
        share_sum=_exact(int(share[known].sum())),
    )


def _rates(
    totals: Sequence[_Counter],
    blurred: Sequence[tuple[int, int]],
    window: _Window,
    base: Mapping[str, Any],
) -> dict[str, Any]:
    """A counter's increase per second, slice by slice, against its threshold."""
    edges = window.edges(window.slice_ms or RATE_SLICE_MS)
    events = np.sum([c.per_slice(edges) for c in totals], axis=0)
    lengths = np.diff(edges)
    unknown = _touched(blurred, edges)
    rate = _Quantised.of(events * 1000 / lengths * float(base["scale"]))
    good = rate.holds(base["comparator"], base["value"]) & ~unknown
    known_ms, good_ms = int(lengths[~unknown].sum()), int(lengths[good].sum())
    share = np.where(good, NANO, 0)
    found: dict[str, Any] = {
        "time": _time(good_ms, good_ms * NANO, known_ms - good_ms, window.length - known_ms),
        "values": _spread(rate, np.where(unknown, 0, lengths), int((~unknown).sum())),
    }
    if window.slice_ms:
        always = _Window(window.start, window.end, window.slice_ms, None)
        found["slices"] = _slices(share, np.zeros_like(unknown), unknown, always)
    return found


def _histogram(made: Sequence[tuple[str, _Counter]], start: int, end: int) -> Histogram | None:
    """What fell into each bucket, from the increments of the cumulative ones."""
    reached: dict[str, int] = {}
    total = 0
    for role, counter in made:
        if role == "bucket":
            le = counter.series.le
            reached[le] = reached.get(le, 0) + counter.between(start, end)
        elif role == "sum":
            total += counter.between(start, end)
    if not reached:
        return None
    bounds = sorted(reached, key=float)
    below = [0, *(reached[le] for le in bounds)]
    return Histogram(
        bounds=tuple(bounds),
        counts=tuple(_exact(b - a) for a, b in pairwise(below)),
        total=_exact(total),
    )


def _sums(row: Mapping[str, Any], series: Sequence[_Series], window: _Window) -> dict[str, Any]:
    """Counts of which each sample is a number of its own: events since the sample before it.

    The first sample after an edge speaks of both its sides, and is doubtful on both.
    """
    start, end = window.start, window.end
    sums = {"numerator": 0, "total": 0}
    open_first: dict[tuple[int, int], list[int]] = {}
    open_last: dict[tuple[int, int], list[int]] = {}
    spans = []
    gaps: list[tuple[int, int]] = []
    edges = window.edges(window.slice_ms) if window.slice_ms else None
    sliced = {role: np.zeros(len(edges) - 1 if edges is not None else 0) for role in sums}
    for one in series:
        if one.role not in sums:
            continue
        finite = np.isfinite(one.value)
        at = one.at[finite]
        units, unit = _whole(one.value[finite])
        lo, hi = (int(np.searchsorted(at, edge)) for edge in (start, end))
        sums[one.role] += int(units[lo:hi].sum()) * (NANO // unit) if hi > lo else 0
        which = 0 if one.role == "numerator" else 1
        for j, doubts in ((lo, open_first), (hi, open_last)):
            if 0 < j < len(at) and at[j] != (start if doubts is open_first else end):
                pair = (int(at[j - 1]), int(at[j]))
                doubts.setdefault(pair, [0, 0])[which] += int(units[j]) * (NANO // unit)
        if edges is not None and hi > lo:
            place = np.searchsorted(edges, at[lo:hi], side="right") - 1
            weights = units[lo:hi].astype(np.float64) / unit
            sliced[one.role] += np.bincount(place, weights, minlength=len(edges) - 1)
        if one.role == "total" and len(at) and one.interval:
            spans.append((int(at[0]) - one.interval, int(at[-1])))
            long = np.flatnonzero(2 * np.diff(at) > 3 * one.interval).tolist()
            gaps += [(int(at[i]), int(at[i + 1]) - one.interval) for i in long]
    is_good = bool(row["numerator_good"])
    unknown = [*_outside(spans, start, end), *_clipped(gaps, start, end)]
    part, total = sums["numerator"], sums["total"]

    def doubt(found: Mapping[tuple[int, int], Sequence[int]]) -> Doubt:
        return _Open(
            sum(n for n, _ in found.values()), sum(abs(t - n) for n, t in found.values())
        ).doubt(is_good)

    made: dict[str, Any] = {
        "events": Events(
            good=_exact(part if is_good else total - part),
            total=_exact(total),
            first=doubt(open_first),
            last=doubt(open_last),
        ),
        "unknown_ms": sum(hi - lo for lo, hi in unknown),
    }
    if edges is not None:
        good = sliced["numerator"] if is_good else sliced["total"] - sliced["numerator"]
        empty = sliced["total"] <= 0.5 / NANO
        share = np.clip(good / np.where(empty, 1, sliced["total"]), 0, 1)
        nano = np.rint(share * NANO).astype(np.int64)
        made["slices"] = _slices(nano, empty, _touched(unknown, edges), window)
    return made


def _clipped(
    intervals: Iterable[tuple[int, int]], start: int, end: int
) -> Iterator[tuple[int, int]]:
    for lo, hi in intervals:
        if max(lo, start) < min(hi, end):
            yield max(lo, start), min(hi, end)


# -- values over time --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Quantised:
    """Values to 10^-9, half to even: ``whole`` + ``nano`` / 10^9; what is infinite stays apart."""

    value: Floats
    whole: Times
    nano: Times

    @classmethod
    def of(cls, value: Floats) -> _Quantised:
        # Past 2^62 there is no reading a gauge; the sum below would overflow.
        held = np.clip(np.where(np.isnan(value), 0.0, value), -(2.0**62), 2.0**62)
        floor = np.floor(held)
        nano = np.rint((held - floor) * NANO).astype(np.int64)
        carry = nano == NANO
        return cls(value, floor.astype(np.int64) + carry, np.where(carry, 0, nano))

    def holds(self, comparator: str, bound: Decimal) -> npt.NDArray[np.bool_]:
        """Where ``value comparator bound``."""
        wanted = EXACT.multiply(bound, Decimal(NANO)).to_integral_value(ROUND_HALF_EVEN)
        whole, nano = divmod(int(wanted), NANO)
        same = (self.whole == whole) & (self.nano == nano)
        less = (self.whole < whole) | ((self.whole == whole) & (self.nano < nano))
        outcomes: dict[str, npt.NDArray[np.bool_]] = {
            "lt": less,
            "le": less | same,
            "gt": ~(less | same),
            "ge": ~less,
        }
        return outcomes[comparator]

    def exact(self, i: int) -> Decimal:
        return _exact(int(self.whole[i]) * NANO + int(self.nano[i]))


def _values(
    row: Mapping[str, Any], main: Sequence[_Series], window: _Window, base: Mapping[str, Any]
) -> dict[str, Any]:
    """Time owned by the samples of a value, good or bad or to a share of both."""
    at, raw, interval = _summed([s for s in main if s.role == "value" and len(s.at)])
    if not len(at):
        return _unmeasured(row, window)
    quantised = _Quantised.of(raw * float(base["scale"]))
    empty = np.isnan(raw)
    if row["kind"] == "share":
        share = np.rint(np.clip(np.nan_to_num(raw), 0, 1) * NANO).astype(np.int64)
        if not row["success"]:
            share = NANO - share
    else:
        share = np.where(quantised.holds(base["comparator"], base["value"]), NANO, 0)
    owned = _Owned.of(at, share, empty, interval)
    weights = owned.clipped(owned.start, owned.end, window.start, window.end)
    known = np.where(empty, 0, weights)
    known_ms, empty_ms = int(known.sum()), int(weights.sum() - known.sum())
    share_nano = int((known * share).sum())
    good_ms = int(known[share == NANO].sum())
    low, high = owned.doubts(window.start, window.end)
    time = _time(
        good_ms,
        share_nano,
        known_ms - good_ms,
        window.length - known_ms - empty_ms,
        low=low,
        high=high,
        empty_ms=empty_ms,
    )
    inside = int(np.count_nonzero(np.isfinite(raw) & (at >= window.start) & (at < window.end)))
    finite = np.where(np.isfinite(raw), known, 0)
    found: dict[str, Any] = {
        "time": time,
        "unknown_ms": time.unknown_ms,
        "values": _spread(quantised, finite, inside),
    }
    if window.slice_ms:
        edges = window.edges(window.slice_ms)
        lengths = np.diff(edges)
        held, with_traffic, good = owned.upto(edges)
        unknown = held != lengths
        none = with_traffic == 0
        ratio = good / np.where(none, 1, with_traffic) / NANO
        nano = np.rint(ratio * NANO).astype(np.int64)
        found["slices"] = _slices(nano, none & ~unknown, unknown, window)
    return found


def _time(
    good_ms: int,
    share_nano: int,
    bad_ms: int,
    unknown_ms: int,
    *,
    low: int = 0,
    high: int = 0,
    empty_ms: int = 0,
) -> OwnedTime:
    return OwnedTime(
        good_ms=good_ms,
        bad_ms=bad_ms,
        unknown_ms=unknown_ms,
        doubtful_good_ms=_exact(low),
        doubtful_bad_ms=_exact(high),
        share_ms=_exact(share_nano),
        empty_ms=empty_ms,
    )


def _summed(series: Sequence[_Series]) -> tuple[Times, Floats, int]:
    """The sum of the series at the samples of the one that has most; none where one is late.

    A series that has not begun or has ended adds nothing, as in PromQL's ``sum``; one that is only
    missing some samples would make the sum too low, so that there is none at that time.
    """
    interval = max(s.interval for s in series)
    if len(series) == 1:
        return series[0].at, series[0].value, interval
    lead = max(series, key=lambda s: len(s.at))
    total = np.zeros(len(lead.at))
    usable = np.ones(len(lead.at), dtype=np.bool_)
    for one in series:
        j = np.searchsorted(one.at, lead.at, side="right") - 1
        seen = one.at[np.maximum(j, 0)]
        begun = (j >= 0) & (lead.at <= one.at[-1] + 3 * interval // 2)
        total += np.where(begun, one.value[np.maximum(j, 0)], 0)
        usable &= ~begun | (2 * (lead.at - seen) <= 3 * interval)
    return lead.at[usable], total[usable], interval


@dataclass(frozen=True)
class _Owned:
    """Which time each sample owns, and to what share it was good (nano)."""

    at: Times
    start: Times
    end: Times
    share: Ints
    empty: npt.NDArray[np.bool_]
    joined: npt.NDArray[np.bool_]  # sample i to sample i + 1

    @classmethod
    def of(cls, at: Times, share: Ints, empty: npt.NDArray[np.bool_], interval: int) -> _Owned:
        if not interval:  # a single sample says nothing about time
            return cls(at, at, at, share, empty, np.zeros(max(len(at) - 1, 0), dtype=np.bool_))
        half = interval // 2
        joined = 2 * np.diff(at) <= 3 * interval
        middle = (at[:-1] + at[1:]) // 2
        start, end = at - half, at + half
        start[1:] = np.where(joined, middle, start[1:])
        end[:-1] = np.where(joined, middle, end[:-1])
        return cls(at, start, end, share, empty, joined)

    @staticmethod
    def clipped(lo: Times, hi: Times, start: int, end: int) -> Times:
        """The lengths of the intervals within the window."""
        lengths: Times = np.maximum(np.minimum(hi, end) - np.maximum(lo, start), 0)
        return lengths

    def doubts(self, start: int, end: int) -> tuple[int, int]:
        """How much less and how much more the share of time may be, in nano-milliseconds.

        Between two samples the value may already, or still, have been the other one's; next to
        unknown time it may have been any. Samples without traffic doubt nothing of their own.
        """
        low = high = 0
        alone = np.concatenate(([True], ~self.joined | self.empty[1:] | self.empty[:-1], [True]))
        edges: tuple[tuple[Ints, npt.NDArray[np.bool_], Times], ...] = (
            (
                np.concatenate((self.share[:1], self.share[:-1])),
                alone[:-1],
                self.clipped(self.start, self.at, start, end),
            ),
            (
                np.concatenate((self.share[1:], self.share[-1:])),
                alone[1:],
                self.clipped(self.at, self.end, start, end),
            ),
        )
        for other, any_value, lengths in edges:
            lengths = np.where(self.empty, 0, lengths)
            least = np.where(any_value, 0, np.minimum(other, self.share))
            most = np.where(any_value, NANO, np.maximum(other, self.share))
            low += int(((self.share - least) * lengths).sum())
            high += int(((most - self.share) * lengths).sum())
        return low, high

    def upto(self, edges: Times) -> tuple[Times, Times, Times]:
        """Owned time, that with traffic, and share × time (nano), of each slice."""
        j = np.searchsorted(self.start, edges)  # samples that own something before the edge
        last = np.maximum(j - 1, 0)
        short = np.where(j > 0, np.maximum(self.end[last] - edges, 0), 0)
        lengths = self.end - self.start
        traffic = (~self.empty).astype(np.int64)
        found = []
        for weight in (np.ones_like(traffic), traffic, traffic * self.share):
            reached = np.concatenate(([0], np.cumsum(lengths * weight)))
            found.append(np.diff(reached[j] - short * weight[last]))
        return found[0], found[1], found[2]


def sketch_key(value: float) -> str:
    """The bucket of a value: ``0``; ``p`` or ``n`` (negative) and k for (1.01^(k-1), 1.01^k]."""
    if not value:
        return "0"
    k = int(np.ceil(np.log(abs(value)) / np.log(SKETCH_BASE)))
    return f"{'p' if value > 0 else 'n'}{k}"


def _sketch_value(key: str) -> float:
    """A value within half of 1 % of all values in the bucket."""
    if key == "0":
        return 0.0
    middle = 2 * SKETCH_BASE ** int(key[1:]) / (1 + SKETCH_BASE)
    return float(middle if key[0] == "p" else -middle)


def _spread(values: _Quantised, weights: Times, samples: int) -> Values | None:
    """Sums, extremes and the sketch of values that own time."""
    held = np.flatnonzero(weights)
    if not len(held):
        return None
    value, weight = values.value[held], weights[held]
    whole, nano = values.whole[held], values.nano[held]
    if float(np.abs(value).max()) * float(weight.sum()) < 2.0**62:
        total = int((whole * weight).sum())
    else:
        total = sum(w * n for w, n in zip(whole.tolist(), weight.tolist(), strict=True))
    below = EXACT.add(Decimal(total), _exact(int((nano * weight).sum())))
    size = np.abs(value)
    log = np.log(np.where(size > 0, size, 1)) / np.log(SKETCH_BASE)
    # Three kinds of buckets in one number: sign, and k shifted into what is never reached.
    code = np.where(size > 0, np.sign(value) * (np.ceil(log) + 1e6), 0).astype(np.int64)
    codes, place = np.unique(code, return_inverse=True)
    summed = np.bincount(place, weight.astype(np.float64))  # exact: below 2^53 milliseconds
    keys = [
        "0" if not c else f"{'p' if c > 0 else 'n'}{abs(c) - 1_000_000}" for c in codes.tolist()
    ]
    order = np.lexsort((nano, whole))
    return Values(
        samples=samples,
        weight_ms=int(weight.sum()),
        weighted_sum=below,
        lowest=values.exact(int(held[order[0]])),
        highest=values.exact(int(held[order[-1]])),
        first=values.exact(int(held[0])),
        last=values.exact(int(held[-1])),
        sketch={k: int(w) for k, w in sorted(zip(keys, summed.tolist(), strict=True))},
    )


# -- several days ------------------------------------------------------------------------------


def merge(days: Sequence[tuple[Any, ServiceLevelsFact]]) -> ServiceLevelsFact:
    """Add up each objective; what was doubtful at an inner midnight is not any more."""
    facts = [fact for _, fact in days]
    by_id: dict[str, list[Level]] = {}
    for fact in facts:
        for level in fact.levels:
            by_id.setdefault(level.id, []).append(level)
    return ServiceLevelsFact(
        start_ms=min(fact.start_ms for fact in facts),
        end_ms=max(fact.end_ms for fact in facts),
        levels=tuple(_sum(by_id[key]) for key in sorted(by_id)),
    )


#: The fields of a level that add up over days.
SUMMED = ("window_ms", "unknown_ms", "samples", "resets", "births", "births_inferred")
#: The fields without which two days of an objective do not speak of the same thing.
SAME = ("kind", "budgeting", "slice_ms")


def _sum(parts: Sequence[Level]) -> Level:
    last = parts[-1]
    measured = [part for part in parts if part.missing is None]
    missing = None if measured else last.missing
    for name in SAME:
        if len({getattr(part, name) for part in measured}) > 1:
            was = ", then ".join(dict.fromkeys(str(getattr(part, name)) for part in measured))
            missing = Missing(
                why=Why.NOT_MEASURED,
                detail=f"the objective's {name} changed within the period: {was}; see its days",
            )
    checks = [p.cross_check_pct for p in parts if p.cross_check_pct is not None]
    return last.model_copy(
        update={
            **{name: sum(getattr(part, name) for part in parts) for name in SUMMED},
            "start_ms": parts[0].start_ms,
            "interval_ms": max(part.interval_ms for part in parts),
            "series": max(part.series for part in parts),
            "events": _sum_events(parts),
            "time": _sum_time([p.time for p in parts if p.time]),
            "slices": _sum_slices([p.slices for p in parts if p.slices]),
            "values": _sum_values([p.values for p in parts if p.values]),
            "histogram": _sum_histograms([p.histogram for p in parts if p.histogram]),
            "cross_check_pct": max(checks, default=None),
            "missing": missing,
        }
    )


def _sum_events(parts: Sequence[Level]) -> Events | None:
    counted = [(part, part.events) for part in parts if part.events]
    if not counted:
        return None
    inner = Doubt()
    for _, events in counted:
        inner += events.inner
    for (part, events), (following, next_events) in pairwise(counted):
        adjoin = part.end_ms == following.start_ms and not (part.missing or following.missing)
        if not adjoin:
            inner += events.last + next_events.first
    return Events(
        good=exact_sum(events.good for _, events in counted),
        total=exact_sum(events.total for _, events in counted),
        inner=inner,
        first=counted[0][1].first,
        last=counted[-1][1].last,
    )


def _sum_time(parts: Sequence[OwnedTime]) -> OwnedTime | None:
    if not parts:
        return None
    return OwnedTime(
        good_ms=sum(t.good_ms for t in parts),
        bad_ms=sum(t.bad_ms for t in parts),
        unknown_ms=sum(t.unknown_ms for t in parts),
        doubtful_good_ms=exact_sum(t.doubtful_good_ms for t in parts),
        doubtful_bad_ms=exact_sum(t.doubtful_bad_ms for t in parts),
        share_ms=exact_sum(t.share_ms for t in parts),
        empty_ms=sum(t.empty_ms for t in parts),
    )


def _sum_slices(parts: Sequence[Slices]) -> Slices | None:
    if not parts:
        return None
    return Slices(
        good=sum(s.good for s in parts),
        bad=sum(s.bad for s in parts),
        empty=sum(s.empty for s in parts),
        unknown=sum(s.unknown for s in parts),
        share_sum=exact_sum(s.share_sum for s in parts),
    )


def _sum_values(parts: Sequence[Values]) -> Values | None:
    if not parts:
        return None
    sketch: dict[str, int] = {}
    for part in parts:
        for key, ms in part.sketch.items():
            sketch[key] = sketch.get(key, 0) + ms
    return Values(
        samples=sum(v.samples for v in parts),
        weight_ms=sum(v.weight_ms for v in parts),
        weighted_sum=exact_sum(v.weighted_sum for v in parts),
        lowest=min(v.lowest for v in parts),
        highest=max(v.highest for v in parts),
        first=parts[0].first,
        last=parts[-1].last,
        sketch=dict(sorted(sketch.items())),
    )


def _sum_histograms(parts: Sequence[Histogram]) -> Histogram | None:
    """Bucket by bucket; where the bounds changed, by those that all have in common."""
    if not parts:
        return None
    if len({h.bounds for h in parts}) == 1:
        columns = zip(*(h.counts for h in parts), strict=True)
        return Histogram(
            bounds=parts[0].bounds,
            counts=tuple(exact_sum(column) for column in columns),
            total=exact_sum(h.total for h in parts),
        )
    common = set.intersection(*({float(le) for le in h.bounds} for h in parts))
    if not common:
        return None
    names = {float(le): le for le in parts[0].bounds}
    bounds = sorted(common)
    counts = [Decimal(0)] * len(bounds)
    for part in parts:
        for le, count in zip(part.bounds, part.counts, strict=True):
            wider = next((n for n, bound in enumerate(bounds) if float(le) <= bound), None)
            if wider is not None:
                counts[wider] = EXACT.add(counts[wider], count)
    return Histogram(
        bounds=tuple(names[bound] for bound in bounds),
        counts=tuple(counts),
        total=exact_sum(h.total for h in parts),
    )


# -- what a level says -------------------------------------------------------------------------


def share_of(level: Level, unsealed_ms: int = 0) -> tuple[Fraction, Fraction] | Missing:
    """The least and the greatest share of good, by the objective's method and no-data policy.

    Time without data is left out (exclude), bad (down), or anything (flag); events that it may have
    held are taken to be as frequent as in the rest. ``unsealed_ms`` is time of the period that no
    sealed day speaks of: it may have been anything, whatever the policy. No traffic is Missing.
    """
    if level.missing:
        return level.missing
    low: Fraction
    high: Fraction
    if level.budgeting != "occurrences" and level.slices:
        found = level.slices
        known = Fraction(found.good + found.bad)
        good = Fraction(found.share_sum) if level.budgeting == "ratio_timeslices" else None
        low = high = Fraction(found.good) if good is None else good
        unknown = Fraction(found.unknown)
        unsealed = Fraction(unsealed_ms, level.slice_ms)
    elif level.kind == "counts" and level.events:
        events = level.events
        unknown, unsealed = Fraction(level.unknown_ms), Fraction(unsealed_ms)
        known = Fraction(level.window_ms) - unknown if events.total > 0 else Fraction(0)
        low, high = (bound * known for bound in _event_bounds(events))
    elif level.time:
        time = level.time
        known = Fraction(time.good_ms + time.bad_ms)
        low = Fraction(time.share_ms) - Fraction(time.doubtful_good_ms)
        high = Fraction(time.share_ms) + Fraction(time.doubtful_bad_ms)
        unknown, unsealed = Fraction(time.unknown_ms), Fraction(unsealed_ms)
    else:
        return Missing(why=Why.NO_DATA, detail="neither events nor time were measured")
    if not known and not unsealed:
        if not unknown:
            return Missing(why=Why.NO_DATA, detail="no traffic")
        if level.no_data == "exclude":
            return Missing(why=Why.NO_DATA, detail="no data at any time")
        if level.kind == "counts" and level.unknown_ms < level.window_ms:
            return Missing(why=Why.NO_DATA, detail="no traffic while there was data")
    whole = known + unsealed + (0 if level.no_data == "exclude" else unknown)
    open_ended = unsealed + (unknown if level.no_data == "flag" else 0)
    return max(low, Fraction(0)) / whole, (min(high, known) + open_ended) / whole


def _event_bounds(events: Events) -> tuple[Fraction, Fraction]:
    """Least and greatest share of good events: their doubts at their worst, both at once."""
    good, bad = Fraction(events.good), Fraction(events.bad)
    doubt_good, doubt_bad = Fraction(events.doubtful), Fraction(events.doubtful_bad)
    least, most = max(good - doubt_good, Fraction(0)), good + doubt_good
    fewest, worst = max(bad - doubt_bad, Fraction(0)), max(bad, Fraction(0)) + doubt_bad
    return (
        least / (least + worst) if least + worst else Fraction(0),
        most / (most + fewest) if most + fewest else Fraction(1),
    )


def percentile(
    histogram: Histogram, q: Fraction | Decimal
) -> tuple[Decimal, Decimal | None] | Missing:
    """The bucket that holds the ``q`` quantile (0 < q <= 1), in the unit of the bounds.

    The quantile is the ⌈q·n⌉-th smallest of n observations; the bucket's edges are the error. The
    upper one is None in the last bucket, and the lower one 0 in the first.
    """
    counts = [max(Fraction(count), Fraction(0)) for count in histogram.counts]
    total = sum(counts)
    if not total:
        return Missing(why=Why.NO_DATA, detail="no observation")
    # Events at the window's edges are split: n is seldom whole, and the rank need not be.
    wanted = Fraction(q) * total
    reached = Fraction(0)
    lower = Decimal(0)
    for le, count in zip(histogram.bounds, counts, strict=True):
        reached += count
        upper = None if float(le) == float("inf") else Decimal(le)
        if reached >= wanted and count:
            return lower, upper
        if upper is not None:
            lower = upper
    return lower, None


def quantile_estimate(histogram: Histogram, q: Fraction | Decimal) -> Decimal | Missing:
    """A point for the ``q`` quantile, for trends: linear within its bucket, to 10^-9.

    As Prometheus' ``histogram_quantile``: no more than a guess inside the bounds that
    :func:`percentile` states, and the lower bound where it lies in the last bucket.
    """
    found = percentile(histogram, q)
    if isinstance(found, Missing):
        return found
    lower, upper = found
    if upper is None:
        return lower
    counts = [max(Fraction(count), Fraction(0)) for count in histogram.counts]
    at = next(n for n, le in enumerate(histogram.bounds) if Decimal(le) == upper)
    into = (Fraction(q) * sum(counts) - sum(counts[:at])) / counts[at]
    return _rounded(Fraction(lower) + (Fraction(upper) - Fraction(lower)) * into)


def histogram_mean(histogram: Histogram) -> Decimal | Missing:
    """The mean of the observations, to 10^-9, where there is a sum of them."""
    counted = exact_sum(histogram.counts)
    if not counted or not histogram.total:
        return Missing(why=Why.NO_DATA, detail="no observation or no _sum series")
    return _rounded(Fraction(histogram.total) / Fraction(counted))


def mean_rate_per_s(level: Level) -> Decimal | Missing:
    """Events per second of the time with data, times the objective's scale, to 10^-9."""
    if level.missing:
        return level.missing
    known_ms = level.window_ms - level.unknown_ms
    if level.events is None or not known_ms:
        return Missing(why=Why.NO_DATA, detail="no events were counted")
    scale = Fraction(level.scale) if level.kind == "threshold" else 1
    return _rounded(Fraction(level.events.total) * 1000 * scale / known_ms)


class Stats(NamedTuple):
    """Values over time in their own unit; percentiles within half of 1 %."""

    mean: Decimal
    p50: Decimal
    p95: Decimal
    p99: Decimal
    lowest: Decimal
    highest: Decimal


def values_stats(level: Level) -> Stats | Missing:
    """Mean, percentiles and extremes of a value over the time that it is known for."""
    if level.missing:
        return level.missing
    values = level.values
    if values is None:
        return Missing(why=Why.NO_DATA, detail="no value over time was measured")
    ordered = sorted((_sketch_value(key), ms) for key, ms in values.sketch.items())
    reached = np.cumsum([ms for _, ms in ordered])
    p50, p95, p99 = (
        _sketched(values, ordered, int(np.searchsorted(reached, q * values.weight_ms)))
        for q in (0.5, 0.95, 0.99)
    )
    mean = _rounded(Fraction(values.weighted_sum) / values.weight_ms)
    return Stats(mean, p50, p95, p99, values.lowest, values.highest)


def _sketched(values: Values, ordered: Sequence[tuple[float, int]], place: int) -> Decimal:
    """The value of the bucket at ``place``, within the extremes that are known exactly."""
    found = _rounded(Fraction(Decimal(f"{ordered[min(place, len(ordered) - 1)][0]:.9g}")))
    return min(max(found, values.lowest), values.highest)


def _rounded(value: Fraction, places: str = "0.000000001") -> Decimal:
    context = Context(prec=80, rounding=ROUND_HALF_EVEN)
    quotient = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    return quotient.quantize(Decimal(places), rounding=ROUND_HALF_EVEN, context=context)


# -- the page ----------------------------------------------------------------------------------

Days = Sequence[tuple[Any, ServiceLevelsFact | Missing]]

METHOD = (
    "Events are counted from raw samples of counters: a restart adds what it counted since, events "
    "around midnight are split by time, and both bounds of a share hold what may lie on the other "
    "side, what restarts forgot, and time without data. A value owns the time to the midpoints "
    "of its neighbours; more than one and a half scrape intervals apart, the rest is unknown."
)
DETECTION = (
    "Detection limit: counters miss nothing between two scrapes but what a restart forgets. A "
    "value or a ratio read at scrapes can't show a change that is undone within one interval."
)
ERRORS = (
    "A percentile of a histogram is printed as its bucket, in the histogram's own unit; one of a "
    "value is weighted by time and within half of 1 % of the true one."
)


def section(fact: ServiceLevelsFact | Missing, days: Days, page: Page) -> Section:
    """What was measured of each objective; verdicts and budgets are not this section's.

    Days that are Missing may have been anything, of every objective.
    """
    if isinstance(fact, Missing):
        return Section(id=NAME, title="Service levels", summary=f"Not known: {fact}.")
    unsealed_ms = sum(
        _length_ms(day, page.zone) for day, value in days if isinstance(value, Missing)
    )
    measured = [level for level in fact.levels if level.missing is None]
    absent = len(fact.levels) - len(measured)
    summary = f"{len(measured)} of {len(fact.levels)} objectives measured"
    if absent:
        names = ", ".join(level.title for level in fact.levels if level.missing)
        summary += f"; not measured: {names}"
    return Section(
        id=NAME,
        title="Service levels",
        summary=summary + ".",
        figures=tuple(
            Figure(
                id=f"{NAME}.{level.id}",
                label=level.title,
                value=_band(level, unsealed_ms),
                note=_bounds_note(level),
            )
            for level in fact.levels
        ),
        tables=(_table(fact.levels, unsealed_ms),),
        notes=tuple(_notes(fact.levels, unsealed_ms)),
    )


def _length_ms(day: Any, zone: str) -> int:
    at = day.day if isinstance(day, TradingDay) else day
    window = calendar_day(at, zone)
    return window.end_ms - window.start_ms


def _band(level: Level, unsealed_ms: int) -> Shown:
    share = share_of(level, unsealed_ms)
    if isinstance(share, Missing):
        return share
    low, high = share
    return Band(low=_ratio(low, ROUND_FLOOR), high=_ratio(high, ROUND_CEILING))


def _ratio(share: Fraction, rounding: str) -> Ratio:
    """A share to 10^-12; a bound is rounded away from the other one."""
    context = Context(prec=60, rounding=rounding)
    quotient = context.divide(Decimal(share.numerator), Decimal(share.denominator))
    exact = quotient.quantize(Decimal("0.000000000001"), rounding=rounding)
    return Ratio(numerator=exact, denominator=Decimal(1))


def _bounds_note(level: Level) -> str:
    """How time without data was judged, where there was any."""
    if level.missing or not level.unknown_ms:
        return ""
    words = {
        "exclude": "left out",
        "down": "counted as bad",
        "flag": "within both bounds",
    }
    return f"time without data is {words[level.no_data]}"


def _table(levels: Sequence[Level], unsealed_ms: int) -> Table:
    columns = (
        Column(key="objective", label="Objective", align="left"),
        Column(key="measured", label="Measured", align="left"),
        Column(key="share", label="Good", shown=False),
        Column(key="p50", label="p50", shown=False),
        Column(key="p95", label="p95"),
        Column(key="p99", label="p99"),
        Column(key="mean", label="Mean"),
        Column(key="rate", label="Per second"),
        Column(key="unknown", label="No data"),
        Column(key="interval", label="Scraped every", shown=False),
        Column(key="restarts", label="Restarts"),
        Column(key="births", label="New series", shown=False),
        Column(key="cross_check", label="Against increase()"),
    )
    return Table(
        id=NAME,
        title="What was measured",
        columns=columns,
        rows=tuple(_row(level, unsealed_ms) for level in levels),
        top=20,
        note="The difference to the server's extrapolating increase() is told where no series "
        "began or restarted",
    )


def _row(level: Level, unsealed_ms: int) -> tuple[Shown, ...]:
    if level.missing:
        rest = (text(""),) * 11
        return (text(level.title), level.missing, *rest)
    check = level.cross_check_pct
    return (
        text(level.title),
        text(_measured(level)),
        _band(level, unsealed_ms),
        *_percentiles(level),
        _mean(level),
        _rate(level),
        Duration(ms=level.unknown_ms + unsealed_ms),
        Duration(ms=level.interval_ms) if level.interval_ms else text("not known"),
        Count(value=level.resets),
        Count(value=level.births),
        text("") if check is None else Number(value=check, unit="%"),
    )


def _measured(level: Level) -> str:
    """The sufficient statistics in words: what the share is made of."""
    if level.budgeting != "occurrences" and level.slices:
        found = level.slices
        words = f"{found.good:,} of {found.good + found.bad:,} slices good"
        others = [(found.empty, "without traffic"), (found.unknown, "unknown")]
        return ", ".join([words, *(f"{n:,} {what}" for n, what in others if n)])
    if level.kind == "counts" and level.events:
        good, total = (_events_words(n) for n in (level.events.good, level.events.total))
        doubt = exact_sum([level.events.doubtful, level.events.doubtful_bad])
        words = f"{good} of {total} events good"
        return f"{words}, {_events_words(doubt)} doubtful" if doubt else words
    if level.time and level.values:
        return f"{level.values.samples:,} samples"
    return "no value"


def _events_words(number: Decimal) -> str:
    """Whole events; what the split at midnight left over is rounded for the eye."""
    return f"{number.to_integral_value(ROUND_HALF_EVEN):,}"


def _percentiles(level: Level) -> Iterator[Shown]:
    stats = values_stats(level)
    for q, name in ((50, "p50"), (95, "p95"), (99, "p99")):
        if level.histogram:
            found = percentile(level.histogram, Fraction(q, 100))
            if isinstance(found, Missing):
                yield text("no traffic")
                continue
            low, high = found
            yield text(f"{plain(low)} to {plain(high)}" if high else f"over {plain(low)}")
        elif isinstance(stats, Stats):
            yield Number(value=_short(getattr(stats, name)))
        else:
            yield text("")


def _mean(level: Level) -> Shown:
    if level.histogram:
        mean = histogram_mean(level.histogram)
        return text("") if isinstance(mean, Missing) else Number(value=_short(mean))
    stats = values_stats(level)
    return text("") if isinstance(stats, Missing) else Number(value=_short(stats.mean))


def _rate(level: Level) -> Shown:
    rate = mean_rate_per_s(level)
    return text("") if isinstance(rate, Missing) else Number(value=_short(rate))


def _short(number: Decimal) -> Decimal:
    """Four significant digits, and all digits before the point."""
    digits = max(0, 3 - number.adjusted()) if number else 0
    return number.quantize(Decimal(1).scaleb(-min(digits, 9)), rounding=ROUND_HALF_EVEN)


def _notes(levels: Sequence[Level], unsealed_ms: int) -> Iterator[str]:
    yield METHOD
    yield DETECTION
    yield ERRORS
    if unsealed_ms:
        yield "Days that were not sealed are in the upper bound only, whatever the policy."
    inferred = [level for level in levels if level.births_inferred]
    if inferred:
        yield (
            "Series that began while their target was being scraped are taken to begin from 0: "
            + ", ".join(f"{x.births_inferred} of {x.title}" for x in inferred)
            + "."
        )
    open_births = [level for level in levels if level.births > level.births_inferred]
    if open_births:
        yield (
            "Of series whose target began with them it is not known when the first value was "
            "counted; it is in no count and in the bounds: "
            + ", ".join(f"{x.births - x.births_inferred} of {x.title}" for x in open_births)
            + "."
        )
    restarted = [level for level in levels if level.resets]
    if restarted:
        yield (
            "Restarts forget what was counted since the last scrape; the bounds hold as much as "
            "was counted in the busiest interval around: "
            + ", ".join(f"{x.resets} of {x.title}" for x in restarted)
            + "."
        )
    off = [x for x in levels if x.cross_check_pct and x.cross_check_pct > CROSS_CHECK_PCT]
    if off:
        yield (
            f"More than {CROSS_CHECK_PCT} % from the server's own increase(), which extrapolates: "
            + ", ".join(f"{x.title} by {plain(x.cross_check_pct or Decimal(0))} %" for x in off)
            + "."
        )


SERVICE_LEVELS = Measure[ServiceLevelsFact](
    name=NAME,
    title="Service levels",
    unit="%",
    every_day=True,
    reads=(QUERIES, SERIES, SAMPLES),
    fact=ServiceLevelsFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="The Site Reliability Workbook (2018), chapter 2: good events of all events and good "
    "time slices of all; OpenSLO v1 budgeting methods; counters from raw deltas",
)
