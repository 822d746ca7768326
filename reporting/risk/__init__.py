"""Estimators of market risk: pure functions of samples, without a page, a day or a currency.

A sample of outcomes holds what today's positions would have won (positive) or lost on each day of
the window. Losses are positive in everything that is returned. Floats are used within; amounts that
leave are whole units (cents), so that what is printed does not depend on the order of a sum, which
differs from one processor to the next.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: int64, or Python's integers as objects where those would overflow.
Wholes = npt.NDArray[Any]

#: The levels of confidence, as exact decimals.
LEVELS = ("0.95", "0.975", "0.99")
#: Below this a float holds every whole number, and a sum of some is one.
EXACT_BELOW = 2.0**53


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
    return np.array([int(x) for x in rounded], dtype=object)


def apportioned(parts: Floats, total: int) -> Wholes:
    """``parts`` as whole numbers that sum to ``total``, by largest remainder.

    Each part is rounded down and what is left goes, one unit each, to the largest remainders; of
    equal ones to the first. ``total`` is the sum of the parts but for rounding; where floats are
    too coarse for that, the rest is spread evenly.
    """
    if not len(parts):
        if total:
            raise ValueError(f"no parts to give {total} to")
        return np.zeros(0, dtype=np.int64)
    down = np.floor(parts)
    found = whole(down)
    each, rest = divmod(total - int(found.sum()), len(parts))
    if each:
        found = found + each
    if rest:
        # Noise of the last bits must not decide between equal remainders.
        remainders = np.round(parts - down, 6)
        found[np.argsort(-remainders, kind="stable")[:rest]] += 1
    return found
