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
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import Floats, Tail, Wholes, apportioned


class Parts(NamedTuple):
    """VaR and ES in whole units, with the components of each, which sum to them exactly."""

    var: int
    es: int
    var_parts: Wholes
    es_parts: Wholes


class Shape(NamedTuple):
    """What the tail of a sample has at a level, whatever is in it.

    It has ``rank`` days, the last of which counts for ``last``, and all of them together for
    ``size`` = n(1 − α). ``weights`` (2, rank) turn outcomes into losses: VaR's, then ES's.
    """

    rank: int
    last: float
    size: float
    weights: Floats


@lru_cache(maxsize=64)
def shape(n: int, level: str) -> Shape:
    """The tail of a sample of ``n`` at ``level`` such as "0.99".

    Raises ``ValueError`` if the sample is too small to hold one loss of the tail.
    """
    size = n * (1 - Fraction(level))
    if size <= 0:
        raise ValueError(f"a sample of {n} has no tail at {level}")
    rank = math.ceil(size)
    weights = np.zeros((2, rank))
    weights[0, -1] = -1
    weights[1] = float(-1 / size)
    weights[1, -1] = float(-(size - (rank - 1)) / size)
    weights.flags.writeable = False
    return Shape(rank, float(size - (rank - 1)), float(size), weights)


def scenarios(outcomes: Floats, level: str) -> npt.NDArray[np.intp]:
    """The days of the tail, the worst first; of days with equal outcomes the earlier one first.

    The last of them is the scenario of VaR.
    """
    return np.argsort(outcomes, kind="stable")[: shape(len(outcomes), level).rank]


def historical(outcomes: Floats, level: str) -> Tail:
    """VaR and ES of a sample of outcomes (n,).

    Of whole numbers ES is the same on every processor: their sum is exact in any order.
    """
    of = shape(len(outcomes), level)
    return _tail(outcomes[scenarios(outcomes, level)], of)


def _tail(worst: Floats, of: Shape) -> Tail:
    """VaR and ES of the outcomes of a tail, in order."""
    listed = worst.tolist()
    return Tail(-listed[-1], -(sum(listed[:-1]) + listed[-1] * of.last) / of.size)


def components(returns: Floats, values: Floats, level: str) -> Parts:
    """VaR and ES of positions ``values`` (k,) over ``returns`` (n, k), with their components.

    ``values`` are in the unit that the results are whole numbers of. One product of the matrix and
    one sort of the outcomes; the components read the rows of the tail only.
    """
    outcomes = np.rint(returns @ values)
    rows = scenarios(outcomes, level)
    of = shape(len(outcomes), level)
    return _parts(of.weights @ returns.take(rows, axis=0) * values, outcomes[rows], of)


def parts(by_part: Floats, outcomes: Floats, level: str) -> Parts:
    """The same from the outcomes of every part (n, k), which sum to ``outcomes`` (n,), whole."""
    rows = scenarios(outcomes, level)
    of = shape(len(outcomes), level)
    return _parts(of.weights @ by_part[rows], outcomes[rows], of)


def _parts(losses: Floats, worst: Floats, of: Shape) -> Parts:
    tail = _tail(worst, of)
    var, es = round(tail.var), round(tail.es)
    var_parts, es_parts = apportioned(losses, (var, es))
    return Parts(var, es, var_parts, es_parts)


def each(outcomes: Floats, level: str) -> tuple[Floats, Floats]:
    """VaR and ES of every column of ``outcomes`` (n, k), each a sample of its own."""
    of = shape(len(outcomes), level)
    # The best of the tail, and in whatever order the others.
    worst = np.partition(outcomes, of.rank - 1, axis=0)[: of.rank]
    others = worst[:-1].sum(axis=0)
    return -worst[-1], -(others + worst[-1] * of.last) / of.size
