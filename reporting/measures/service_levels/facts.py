"""The facts of service levels, sufficient statistics of each objective, and how days add up."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal

from ...model import EXACT, Exact, Missing, Value, Why, exact_sum

#: The fields of a level that add up over days.
SUMMED = ("window_ms", "unknown_ms", "samples", "resets", "births", "births_inferred")
#: The fields without which two days of an objective do not speak of the same thing.
SAME = ("kind", "budgeting", "slice_ms")


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
