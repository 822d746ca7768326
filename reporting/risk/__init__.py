"""Estimators of market risk: pure functions of samples, without a page, a day or a currency.

A sample of outcomes holds what today's positions would have won (positive) or lost on each day of
the window. Losses are positive in everything that is returned. Floats are used within; amounts that
leave are whole units (cents), so that what is printed does not depend on the order of a sum, which
differs from one processor to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: int64, or Python's integers as objects where those would overflow.
Wholes = npt.NDArray[Any]

#: The levels of confidence, as exact decimals.
LEVELS = ("0.95", "0.975", "0.99")


class Tail(NamedTuple):
    """Value at risk and expected shortfall, in the unit of the sample."""

    var: float
    es: float


def whole(amounts: Floats) -> Wholes:
    """``amounts`` rounded half-even to whole numbers; raises ``ValueError`` if one is no number."""
    if not np.isfinite(amounts).all():
        raise ValueError("an amount is infinite or not a number")
    rounded = np.rint(amounts)
    if float(np.abs(rounded).sum()) < 2.0**62:
        return rounded.astype(np.int64)
    large: Wholes = np.vectorize(int, otypes=[object])(rounded)
    return large


def apportioned(parts: Floats, totals: Sequence[int]) -> Wholes:
    """``parts`` (r, k) as whole numbers of which each row sums to its total, by largest remainder.

    Each part is rounded down and what is left goes, one unit each, to the largest remainders of its
    row; of equal ones to the first. A total is the sum of its parts but for rounding; where floats
    are too coarse for that, the rest is spread evenly.
    """
    k = parts.shape[1]
    down = np.floor(parts)
    # With such a sum of squares neither a part nor the sum of a row needs more than 63 bits; one
    # that is not a number is not below the bound.
    found = down.astype(np.int64) if np.vdot(down, down) < 2.0**104 and k < 2**20 else whole(down)
    left = [total - int(sum_) for total, sum_ in zip(totals, found.sum(axis=1), strict=True)]
    if not k:
        if any(left):
            raise ValueError(f"no parts to give {totals} to")
        return found
    # One whole number has a remainder and, below it, the place: sorting those is several times
    # faster than an argsort. The remainder is cut where the noise of last bits would decide.
    bits = (k - 1).bit_length()
    kind, width = (np.int32, 30) if bits <= 14 else (np.int64, 60)
    remainders = ((parts - down) * float(1 << min(width - bits, 20))).astype(kind)
    keys = (remainders << bits) + _places(k, kind)
    ordered = np.sort(keys, axis=1)
    least = []
    for row, missing in enumerate(left):
        each, rest = divmod(missing, k)
        if each:
            found[row] += each
        least.append(ordered[row, k - rest] if rest else ordered[row, -1] + 1)
    found += keys >= np.array(least)[:, None]
    return found


@lru_cache(maxsize=16)
def _places(k: int, kind: Any) -> Wholes:
    return np.arange(k - 1, -1, -1, dtype=kind)
