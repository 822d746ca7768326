"""What a series of daily results says of the size of the bets: Kelly's fraction, and drawdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ..model import EXACT


def kelly(returns: Sequence[float]) -> float | None:
    """The f ≥ 0 that maximises the mean of log(1 + f r); None where there is no largest one.

    Kelly (1956), "A new interpretation of information rate". ``returns`` are on capital, so 1 is
    the size at which they were made. The mean is concave in f: its derivative, the mean of
    r/(1 + f r), is bisected to the last bit between 0 and where the worst return costs everything.
    Without a loss more would always be better: None. Without a gain on average it is 0.
    """
    if not returns:
        raise ValueError("no returns")
    worst = min(returns)
    if worst >= 0:
        return None if max(returns) > 0 else 0.0
    if math.fsum(returns) <= 0:
        return 0.0
    low, high = 0.0, -1 / worst
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return low
        # At or beyond ruin the mean is minus infinity: too much.
        growing = all(1 + middle * r > 0 for r in returns) and (
            math.fsum(r / (1 + middle * r) for r in returns) > 0
        )
        low, high = (middle, high) if growing else (low, middle)


def kelly_approximation(returns: Sequence[float]) -> float | None:
    """μ/σ² (n − 1), the limit of Kelly's fraction for small returns; None without spread."""
    n = len(returns)
    if n < 2:
        return None
    mean = math.fsum(returns) / n
    variance = math.fsum((r - mean) ** 2 for r in returns) / (n - 1)
    return mean / variance if variance else None


@dataclass(frozen=True)
class Drawdown:
    """How far a running sum is, and was, below its highest point before; amounts ≥ 0, exact.

    ``peak`` is the day after which the present drawdown began, None for the start of the series;
    ``sessions`` how many have passed since then. ``deepest_from`` and ``deepest_on`` are peak and
    trough of the largest drawdown.
    """

    current: Decimal
    sessions: int
    peak: date | None
    largest: Decimal
    deepest_from: date | None
    deepest_on: date | None


def drawdown(days: Sequence[tuple[date, Decimal]]) -> Drawdown:
    """Drawdown of the running sum of daily results, from 0 before the first day."""
    height = top = largest = Decimal(0)
    peak: date | None = None
    since = 0
    deepest_from: date | None = None
    deepest_on: date | None = None
    for day, result in days:
        height = EXACT.add(height, result)
        since += 1
        if height >= top:
            top, peak, since = height, day, 0
        depth = EXACT.subtract(top, height)
        if depth > largest:
            largest, deepest_from, deepest_on = depth, peak, day
    return Drawdown(EXACT.subtract(top, height), since, peak, largest, deepest_from, deepest_on)
