"""Values over time: which time each sample owns, exact sums, and a sketch of percentiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model import EXACT
from .facts import Values
from .series import (
    NANO,
    Floats,
    Ints,
    Series,
    Times,
    Window,
    from_nano,
    owned_time,
    slices_by_outcome,
    unmeasured,
)

#: Ratio of neighbouring buckets of the sketch: a percentile is within half of 1 % of a true value.
SKETCH_BASE = 1.01


@dataclass(frozen=True)
class Quantised:
    """Values to 10^-9, half to even: ``whole`` + ``nano`` / 10^9; what is infinite stays apart."""

    value: Floats
    whole: Times
    nano: Times

    @classmethod
    def of(cls, value: Floats) -> Quantised:
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
        return from_nano(int(self.whole[i]) * NANO + int(self.nano[i]))


def of_values(
    row: Mapping[str, Any], main: Sequence[Series], window: Window, base: Mapping[str, Any]
) -> dict[str, Any]:
    """Time owned by the samples of a value, good or bad or to a share of both."""
    at, raw, interval = _summed([s for s in main if s.role == "value" and len(s.at)])
    if not len(at):
        return unmeasured(row, window)
    quantised = Quantised.of(raw * float(base["scale"]))
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
    time = owned_time(
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
        "values": spread(quantised, finite, inside),
    }
    if window.slice_ms:
        edges = window.edges(window.slice_ms)
        lengths = np.diff(edges)
        held, with_traffic, good = owned.upto(edges)
        unknown = held != lengths
        none = with_traffic == 0
        ratio = good / np.where(none, 1, with_traffic) / NANO
        nano = np.rint(ratio * NANO).astype(np.int64)
        found["slices"] = slices_by_outcome(nano, none & ~unknown, unknown, window)
    return found


def _summed(series: Sequence[Series]) -> tuple[Times, Floats, int]:
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


def sketch_value(key: str) -> float:
    """A value within half of 1 % of all values in the bucket."""
    if key == "0":
        return 0.0
    middle = 2 * SKETCH_BASE ** int(key[1:]) / (1 + SKETCH_BASE)
    return float(middle if key[0] == "p" else -middle)


def spread(values: Quantised, weights: Times, samples: int) -> Values | None:
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
    below = EXACT.add(Decimal(total), from_nano(int((nano * weight).sum())))
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
