"""Exact sums of products by group, in 64-bit integers however large the sums become.

A product of two 64-bit integers, summed over millions of rows, need not fit in 64 bits: prices with
8 decimals times quantities with 8 decimals do not. Such products are split into limbs, each of
which sums safely; only the sums, one a group, are put together as Python integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ..fifo import Ints

#: Sums of int64 stay below 2^SAFE_BITS.
SAFE_BITS = 62

Limbs = list[tuple[int, Ints]]
"""(shift, array) pairs: the value of a row is Σ array × 2^shift."""


def bits_of(values: Ints) -> int:
    """Bits of the largest magnitude in ``values`` (int64)."""
    if not len(values):
        return 0
    return max(int(values.max()).bit_length(), int(values.min()).bit_length())


def roomy(values: Ints) -> Ints:
    """The same; as Python integers where a difference of two could leave 64 bits."""
    return values.astype(object) if values.dtype != object and bits_of(values) > 61 else values


def doubled(values: Ints) -> Ints:
    """Twice the values, with room for a difference of two."""
    wide = values.dtype != object and bits_of(values) > 60
    return np.asarray((values.astype(object) if wide else values) * 2)


def limbs_of(values: Ints, rows: int) -> Limbs:
    """``values`` as limbs of which any ``rows`` sum up within 64 bits."""
    if values.dtype == object:
        return [(0, values)]
    bits = bits_of(values)
    if bits + rows.bit_length() <= SAFE_BITS:
        return [(0, values)]
    half = bits // 2
    low = limbs_of(values & ((1 << half) - 1), rows)
    return low + [(shift + half, part) for shift, part in limbs_of(values >> half, rows)]


def products(left: Ints, right: Ints, rows: int) -> Limbs:
    """``left`` × ``right`` elementwise, as limbs of which any ``rows`` sum up within 64 bits."""
    if left.dtype == object or right.dtype == object:
        return [(0, left.astype(object) * right.astype(object))]
    bits_left, bits_right = bits_of(left), bits_of(right)
    if bits_left + bits_right + rows.bit_length() <= SAFE_BITS:
        return [(0, left * right)]
    if bits_left < bits_right:
        left, right, bits_left = right, left, bits_right
    # x = (x >> h) × 2^h + (x & (2^h − 1)), for negative x as well.
    half = bits_left // 2
    low = products(left & ((1 << half) - 1), right, rows)
    high = products(left >> half, right, rows)
    return low + [(shift + half, part) for shift, part in high]


def negated(limbs: Limbs) -> Limbs:
    """Minus the same value."""
    return [(shift, -part) for shift, part in limbs]


def summed(limbs: Limbs, code: Ints, groups: int) -> Ints:
    """Exact sum by ``code`` (n,) into ``groups`` integers; Python's where limbs were needed."""
    total: Ints | None = None
    for shift, part in limbs:
        out = np.zeros(groups, dtype=object if part.dtype == object else np.int64)
        np.add.at(out, code, part)
        if len(limbs) > 1:
            out = out.astype(object) << shift
        total = out if total is None else total + out
    return np.zeros(groups, np.int64) if total is None else total


class ByRow:
    """Exact totals of a fixed number of groups (orders), added to in parts.

    ``rows`` bounds how many rows will be added in all, so that no limb can overflow.
    """

    def __init__(self, groups: int, rows: int) -> None:
        self._groups, self._rows = groups, rows
        self._limbs: dict[int, Ints] = {}

    def add(self, code: Ints, limbs: Limbs) -> None:
        """Add a part; ``code`` may repeat."""
        for shift, part in limbs:
            have = self._limbs.get(shift)
            if have is None:
                have = np.zeros(self._groups, np.int64)
            if part.dtype == object and have.dtype != object:
                have = have.astype(object)
            np.add.at(have, code, part)
            self._limbs[shift] = have

    @property
    def rows(self) -> int:
        """How many rows the limbs of a part must be safe for."""
        return self._rows

    def limbs(self) -> Limbs:
        """The totals, still as limbs."""
        return sorted(self._limbs.items()) or [(0, np.zeros(self._groups, np.int64))]


def together(limbs: Limbs) -> Ints:
    """Each row's value: int64 where one limb holds it, Python integers otherwise."""
    if len(limbs) == 1 and limbs[0][0] == 0:
        return limbs[0][1]
    total: Ints = np.zeros(len(limbs[0][1]), dtype=object)
    for shift, part in limbs:
        total = total + (part.astype(object) << shift)
    return total


class ByGroup:
    """Exact totals of groups that appear as they are met; kept as Python integers."""

    def __init__(self) -> None:
        self._totals: dict[str, Ints] = {}

    def add(self, name: str, groups: Ints, values: Ints) -> None:
        """Add ``values`` to the distinct ``groups``."""
        have = self._totals.get(name, np.zeros(0, dtype=object))
        need = int(groups.max()) + 1 if len(groups) else 0
        if need > len(have):
            have = np.concatenate([have, np.zeros(max(need, 2 * len(have)) - len(have), object)])
        have[groups] += values.astype(object)
        self._totals[name] = have

    def of(self, name: str, group: int) -> int:
        """The total of one group; 0 where nothing was added."""
        have = self._totals.get(name)
        return 0 if have is None or group >= len(have) else int(have[group])

    def all(self, name: str) -> Mapping[int, int]:
        """Every total that is not 0, by group."""
        return dict(self.nonzero(name))

    def nonzero(self, name: str) -> Iterable[tuple[int, int]]:
        """(group, total) of every group whose total is not 0."""
        have = self._totals.get(name, np.zeros(0, dtype=object))
        return [(int(i), int(have[i])) for i in np.flatnonzero(have)]
