"""Historical VaR and expected shortfall, and what each position adds to them.

VaR is the ⌈n(1−α)⌉-th largest loss, with n(1−α) an exact rational; ES is the tail mean with the
fractional weight of Acerbi and Tasche (2002), "On the coherence of expected shortfall".

The scenario of VaR is the day whose loss it is: the component of a position is its own loss on that
day, and the components sum to VaR. Components of ES are the means over the tail's days with the
same weights (Tasche 1999, "Risk contributions and performance measurement": conditional
expectations are Euler's contributions where the estimate is homogeneous of degree one).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import Floats, Tail, Wholes, apportioned, whole


class Scenarios(NamedTuple):
    """The days of a tail, the worst first: their rows, and how many they are, n(1 − α).

    The last row is the scenario of VaR; it counts for what the others leave of ``size``. Of days
    with equal losses the earlier one is taken first.
    """

    rows: npt.NDArray[np.intp]
    size: Fraction

    def mean(self, worst: Floats) -> Any:
        """The weighted mean over the tail of rows (m, …), in their order.

        Of whole numbers it is the same on every processor: their sum is exact in any order.
        """
        last = float(self.size - (len(self.rows) - 1))
        return (worst[:-1].sum(axis=0) + worst[-1] * last) / float(self.size)


class Parts(NamedTuple):
    """VaR and ES in whole units, with the components of each, which sum to them exactly."""

    var: int
    es: int
    var_parts: Wholes
    es_parts: Wholes


def scenarios(losses: Floats, level: str) -> Scenarios:
    """The tail of a sample of losses (n,) at ``level`` such as "0.99".

    Raises ``ValueError`` if the sample is too small to hold one loss of the tail.
    """
    n = len(losses)
    size, rank = _size(n, level)
    least = np.partition(losses, n - rank)[n - rank]
    beyond = np.flatnonzero(losses > least)
    beyond = beyond[np.argsort(-losses[beyond], kind="stable")]
    equal = np.flatnonzero(losses == least)[: rank - len(beyond)]
    return Scenarios(np.concatenate([beyond, equal]), size)


def _size(n: int, level: str) -> tuple[Fraction, int]:
    size = n * (1 - Fraction(level))
    if size <= 0:
        raise ValueError(f"a sample of {n} has no tail at {level}")
    return size, math.ceil(size)


def historical(losses: Floats, level: str) -> Tail:
    """VaR and ES of a sample of losses (n,), positive is loss."""
    found = scenarios(losses, level)
    worst = losses[found.rows]
    return Tail(float(worst[-1]), float(found.mean(worst)))


def components(returns: Floats, values: Floats, level: str) -> Parts:
    """VaR and ES of positions ``values`` (k,) over ``returns`` (n, k), with their components.

    ``values`` are in the unit that the results are whole numbers of. One product of the matrix and
    one partition; the components read the rows of the tail only.
    """
    losses = np.rint(-(returns @ values))
    found = scenarios(losses, level)
    return parts(returns[found.rows] * values, losses[found.rows], found)


def parts(outcomes: Floats, losses: Floats, of: Scenarios) -> Parts:
    """Components over the days of a tail, in its order: ``outcomes`` (m, k) of the parts,
    ``losses`` (m,) of the whole, in whole units."""
    var, es = (int(x) for x in whole(np.array([losses[-1], of.mean(losses)])))
    return Parts(
        var=var,
        es=es,
        var_parts=apportioned(-outcomes[-1], var),
        es_parts=apportioned(-of.mean(outcomes), es),
    )


def each(losses: Floats, level: str) -> tuple[Floats, Floats]:
    """VaR and ES of every column of ``losses`` (n, k), each a sample of its own."""
    n, k = losses.shape
    size, rank = _size(n, level)
    if not k:
        return np.zeros(0), np.zeros(0)
    # The least of the tail, and in whatever order the others.
    worst = np.partition(losses, n - rank, axis=0)[n - rank :]
    others = worst[1:].sum(axis=0)
    return worst[0], (others + worst[0] * float(size - (rank - 1))) / float(size)
