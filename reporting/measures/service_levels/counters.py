"""A counter as a curve that only rises: deltas of its samples, restarts and births."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .series import NANO, Floats, Ints, Series, Times

#: Intervals on each side of a restart that say how much it can have lost. Two: as many as the
#: margin around a window has of the slowest scrapes that are usual, so that both days agree.
NEIGHBOURS = 2


@dataclass(frozen=True)
class Counter:
    """A counter as a curve that only rises: ``rise[i]`` from sample i-1 to sample i, of 1 / unit.

    ``restarts`` are indices at which the value fell. ``born_at`` is when it began, if it did, with
    ``born_with`` what its first sample held unless it is known to have begun from 0.
    """

    series: Series
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
    def of(cls, series: Series, siblings: Sequence[Series], fallback_ms: int) -> Counter:
        finite = np.isfinite(series.value)
        at, value = series.at, series.value
        if not finite.all():
            at, value = at[finite], value[finite]
        interval = series.interval or fallback_ms
        units, unit = in_units(value)
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


def in_units(value: Floats) -> tuple[Ints, int]:
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
    at: int, series: Series, siblings: Sequence[Series], interval: int
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
