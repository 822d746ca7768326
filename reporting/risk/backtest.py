"""Backtests of VaR: were the losses beyond it as many, and as scattered, as they should be?

Kupiec (1995), "Techniques for verifying the accuracy of risk measurement models"; Christoffersen
(1998), "Evaluating interval forecasts"; Basel Committee (1996), "Supervisory framework for the use
of backtesting". The likelihood ratios are χ² with one or two degrees of freedom, whose tails have
closed forms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Literal, NamedTuple

#: As many exceptions should be expected before a test says anything: those of Basel's 250 sessions
#: at 99 %.
LEAST_EXPECTED = Fraction(5, 2)
#: Basel's window, for which its plus factor is defined.
BASEL_SESSIONS = 250
BASEL_LEVEL = "0.99"
#: Yellow begins where so few exceptions would do with 95 % probability, red with 99.99 %.
YELLOW, RED = Fraction(95, 100), Fraction(9999, 10_000)
PLUS = {5: "0.40", 6: "0.50", 7: "0.65", 8: "0.75", 9: "0.85"}

Zone = Literal["green", "yellow", "red"]


class Ratio(NamedTuple):
    """A likelihood ratio and the probability of one at least as large."""

    statistic: float
    p_value: float


class Light(NamedTuple):
    """Basel's zone, the probability of so many exceptions or fewer, and the addition to the
    multiplier of capital ("" where Basel defines none)."""

    zone: Zone
    cumulative: float
    plus: str


class Transitions(NamedTuple):
    """Pairs of neighbouring sessions: ``n01`` had an exception in the second one only."""

    n00: int
    n01: int
    n10: int
    n11: int


def least_sessions(level: str) -> int:
    """How many sessions a test at ``level`` needs: 250 at 99 %, 100 at 97.5 %, 50 at 95 %."""
    return math.ceil(LEAST_EXPECTED / (1 - Fraction(level)))


def chi2_tail(x: float, freedom: Literal[1, 2]) -> float:
    """P(χ² > x): erfc(√(x/2)) with one degree of freedom, e^(−x/2) with two."""
    if x <= 0:
        return 1.0
    return math.erfc(math.sqrt(x / 2)) if freedom == 1 else math.exp(-x / 2)


def kupiec(observations: int, exceptions: int, level: str) -> Ratio:
    """Proportion of failures: is the share of exceptions 1 − α?"""
    _check(observations, exceptions)
    p = float(1 - Fraction(level))
    misses = observations - exceptions
    seen = exceptions / observations
    statistic = 2 * (_loglik(misses, exceptions, seen) - _loglik(misses, exceptions, p))
    statistic = max(statistic, 0.0)
    return Ratio(statistic, chi2_tail(statistic, 1))


def transitions(hits: Sequence[bool | None]) -> Transitions:
    """Counts over sessions in order; None is a session that could not be tested: no pair has it."""
    counts = {(a, b): 0 for a in (False, True) for b in (False, True)}
    for before, after in pairwise(hits):
        if before is not None and after is not None:
            counts[before, after] += 1
    return Transitions(*(counts[a, b] for a in (False, True) for b in (False, True)))


def independence(of: Transitions) -> Ratio:
    """Christoffersen: is an exception as likely after an exception as after none?"""
    n00, n01, n10, n11 = of
    total = sum(of)
    if not total:
        raise ValueError("no two sessions follow each other")
    together = (n01 + n11) / total
    after_none = n01 / (n00 + n01) if n00 + n01 else 0.0
    after_one = n11 / (n10 + n11) if n10 + n11 else 0.0
    statistic = 2 * (
        _loglik(n00, n01, after_none)
        + _loglik(n10, n11, after_one)
        - _loglik(n00 + n10, n01 + n11, together)
    )
    statistic = max(statistic, 0.0)
    return Ratio(statistic, chi2_tail(statistic, 1))


def conditional_coverage(proportion: Ratio, independent: Ratio) -> Ratio:
    """Both at once: the sum of the two ratios, with two degrees of freedom."""
    statistic = proportion.statistic + independent.statistic
    return Ratio(statistic, chi2_tail(statistic, 2))


def traffic_light(observations: int, exceptions: int, level: str) -> Light:
    """Basel's three zones, by the exact binomial distribution."""
    _check(observations, exceptions)
    p = 1 - Fraction(level)
    # Whole numbers over one denominator: no float decides between two zones.
    hit, miss, whole = p.numerator, p.denominator - p.numerator, p.denominator
    ways = sum(
        math.comb(observations, k) * hit**k * miss ** (observations - k)
        for k in range(exceptions + 1)
    )
    cumulative = Fraction(ways, whole**observations)
    zone: Zone = "red" if cumulative >= RED else "yellow" if cumulative >= YELLOW else "green"
    plus = ""
    if observations == BASEL_SESSIONS and Fraction(level) == Fraction(BASEL_LEVEL):
        plus = "0" if zone == "green" else "1.00" if zone == "red" else PLUS[exceptions]
    return Light(zone, float(cumulative), plus)


def _check(observations: int, exceptions: int) -> None:
    if not 0 <= exceptions <= observations or not observations:
        raise ValueError(f"{exceptions} exceptions of {observations} sessions can't be")


def _loglik(misses: int, hits: int, p: float) -> float:
    """misses·ln(1 − p) + hits·ln p, where nothing times the logarithm of nothing is nothing."""
    found = 0.0
    if misses:
        found += misses * math.log1p(-p)
    if hits:
        found += hits * math.log(p)
    return found
