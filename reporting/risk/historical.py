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
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import Floats, Tail, Wholes, apportioned, whole


class Scenarios(NamedTuple):
    """The days of a tail, the worst first: their rows, and their weights in ES, summing to 1.

    The last row is the scenario of VaR. Of days with equal losses the earlier one is taken first.
    """

    rows: npt.NDArray[np.intp]
    weights: Floats


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
    tail = n * (1 - Fraction(level))
    if tail <= 0 or n == 0:
        raise ValueError(f"a sample of {n} has no tail at {level}")
    rank = math.ceil(tail)
    least = np.partition(losses, n - rank)[n - rank]
    beyond = np.flatnonzero(losses > least)
    beyond = beyond[np.argsort(-losses[beyond], kind="stable")]
    equal = np.flatnonzero(losses == least)[: rank - len(beyond)]
    weights = np.full(rank, float(1 / tail))
    weights[-1] = float((tail - (rank - 1)) / tail)
    return Scenarios(np.concatenate([beyond, equal]), weights)


def historical(losses: Floats, level: str) -> Tail:
    """VaR and ES of a sample of losses (n,), positive is loss."""
    rows, weights = scenarios(losses, level)
    worst = losses[rows]
    return Tail(float(worst[-1]), float((worst * weights).sum()))


def components(returns: Floats, values: Floats, level: str) -> Parts:
    """VaR and ES of positions ``values`` (k,) over ``returns`` (n, k), with their components.

    ``values`` are in the unit that the results are whole numbers of. One product of the matrix and
    one partition; the components read the rows of the tail only.
    """
    losses = np.rint(-(returns @ values))
    found = scenarios(losses, level)
    return parts(returns[found.rows] * values, losses[found.rows], found.weights)


def parts(outcomes: Floats, losses: Floats, weights: Floats) -> Parts:
    """Components over the days of a tail, in order: ``outcomes`` (m, k) of the parts, ``losses``
    (m,) of the whole, in whole units."""
    var = int(losses[-1])
    es = int(whole(np.array([(losses * weights).sum()]))[0])
    return Parts(
        var=var,
        es=es,
        var_parts=apportioned(-outcomes[-1], var),
        es_parts=apportioned(-(weights @ outcomes), es),
    )


def each(losses: Floats, level: str) -> tuple[Floats, Floats]:
    """VaR and ES of every column of ``losses`` (n, k), each a sample of its own."""
    n, k = losses.shape
    tail = n * (1 - Fraction(level))
    if tail <= 0 or n == 0:
        raise ValueError(f"a sample of {n} has no tail at {level}")
    rank = math.ceil(tail)
    if not k:
        return np.zeros(0), np.zeros(0)
    worst = np.partition(losses, n - rank, axis=0)[n - rank :]
    var = worst[0]
    # The least of the tail has the fractional weight, the others one each.
    es = (worst[1:].sum(axis=0) + var * float(tail - (rank - 1))) / float(tail)
    return var, es
