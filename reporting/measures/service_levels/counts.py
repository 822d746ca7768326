"""Counted events: good of all and what is doubtful about them, slices, rates and histograms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .counters import Counter, in_units
from .facts import Doubt, Events, Histogram, Slices
from .owned import Quantised, spread
from .series import NANO, Series, Times, Window, from_nano, owned_time, slices_by_outcome

#: Slices by which a rate is judged where its objective has none of its own.
RATE_SLICE_MS = 300_000


def of_counters(
    row: Mapping[str, Any], series: Sequence[Series], window: Window, base: Mapping[str, Any]
) -> dict[str, Any]:
    """Events, slices and histogram of counters; a rate is all events and their number by slice."""
    is_rate = row["kind"] != "counts"
    by_target: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        by_target.setdefault(one.target, []).append(one)
    interval = max((s.interval for s in series), default=0)
    made = [(s.role, Counter.of(s, by_target[s.target], interval)) for s in series if len(s.at)]
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
    parts: Sequence[Counter], totals: Sequence[Counter], is_good: bool, start: int, end: int
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
        good=from_nano(part if is_good else total - part),
        total=from_nano(total),
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
        part, rest = from_nano(self.part), from_nano(self.rest)
        return Doubt(good=part, bad=rest) if is_good else Doubt(good=rest, bad=part)

    @classmethod
    def edge(cls, parts: Sequence[Counter], totals: Sequence[Counter], edge: int) -> _Open:
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
        cls, parts: Sequence[Counter], totals: Sequence[Counter], start: int, end: int | None
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
        cls, parts: Sequence[Counter], totals: Sequence[Counter], start: int, end: int | None
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
    parts: Sequence[Counter],
    totals: Sequence[Counter],
    is_good: bool,
    blurred: Sequence[tuple[int, int]],
    window: Window,
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
    return slices_by_outcome(
        share, np.broadcast_to(empty, share.shape), _touched(blurred, edges), window
    )


def _rates(
    totals: Sequence[Counter],
    blurred: Sequence[tuple[int, int]],
    window: Window,
    base: Mapping[str, Any],
) -> dict[str, Any]:
    """A counter's increase per second, slice by slice, against its threshold."""
    edges = window.edges(window.slice_ms or RATE_SLICE_MS)
    events = np.sum([c.per_slice(edges) for c in totals], axis=0)
    lengths = np.diff(edges)
    unknown = _touched(blurred, edges)
    rate = Quantised.of(events * 1000 / lengths * float(base["scale"]))
    good = rate.holds(base["comparator"], base["value"]) & ~unknown
    known_ms, good_ms = int(lengths[~unknown].sum()), int(lengths[good].sum())
    share = np.where(good, NANO, 0)
    found: dict[str, Any] = {
        "time": owned_time(good_ms, good_ms * NANO, known_ms - good_ms, window.length - known_ms),
        "values": spread(rate, np.where(unknown, 0, lengths), int((~unknown).sum())),
    }
    if window.slice_ms:
        always = Window(window.start, window.end, window.slice_ms, None)
        found["slices"] = slices_by_outcome(share, np.zeros_like(unknown), unknown, always)
    return found


def _histogram(made: Sequence[tuple[str, Counter]], start: int, end: int) -> Histogram | None:
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
        counts=tuple(from_nano(b - a) for a, b in pairwise(below)),
        total=from_nano(total),
    )


def of_sums(row: Mapping[str, Any], series: Sequence[Series], window: Window) -> dict[str, Any]:
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
        units, unit = in_units(one.value[finite])
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
            good=from_nano(part if is_good else total - part),
            total=from_nano(total),
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
        made["slices"] = slices_by_outcome(nano, empty, _touched(unknown, edges), window)
    return made


def _clipped(
    intervals: Iterable[tuple[int, int]], start: int, end: int
) -> Iterator[tuple[int, int]]:
    for lo, hi in intervals:
        if max(lo, start) < min(hi, end):
            yield max(lo, start), min(hi, end)
