"""VaR and ES from moments, and filtered historical simulation.

Normal, Cornish-Fisher, and normal with an exponentially weighted variance; filtering rescales each
outcome of a sample from the volatility of its own day to today's.

Φ⁻¹ is Wichura's AS 241 (``statistics.NormalDist``), good to the last bit or so.
"""

from __future__ import annotations

import math
from fractions import Fraction
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from . import Floats, Tail, apportioned
from .historical import Parts

NORMAL = NormalDist()
#: RiskMetrics Technical Document (1996): the decay of daily variances.
DECAY = 0.94
#: The expansion has to be increasing between these standard normal quantiles; beyond lies 1e-9 of
#: either tail.
RANGE = 6.0


class Moments(NamedTuple):
    """Mean, standard deviation (n − 1), skewness and excess kurtosis (both of the population)."""

    mean: float
    sd: float
    skew: float
    kurtosis: float


def moments(outcomes: Floats) -> Moments:
    """Moments of a sample (n ≥ 2,); one without spread has neither skewness nor excess kurtosis."""
    n = len(outcomes)
    if n < 2:
        raise ValueError(f"a sample of {n} has no spread")
    mean = math.fsum(outcomes) / n
    centred = outcomes - mean
    square = math.fsum(centred**2)
    # Equal outcomes leave the dust of their mean.
    if square <= n * (1e-14 * max(abs(mean), float(np.abs(outcomes).max()))) ** 2:
        return Moments(mean, 0.0, 0.0, 0.0)
    spread = square / n
    return Moments(
        mean=mean,
        sd=math.sqrt(square / (n - 1)),
        skew=math.fsum(centred**3) / n / spread**1.5,
        kurtosis=math.fsum(centred**4) / n / spread**2 - 3,
    )


def quantile(level: str) -> float:
    """The standard normal quantile of the lower tail: −2.3263 for "0.99"."""
    return NORMAL.inv_cdf(float(1 - Fraction(level)))


def tail_mean(level: str) -> float:
    """φ(z)/(1 − α): how many standard deviations a normal tail lies out on average."""
    return NORMAL.pdf(quantile(level)) / float(1 - Fraction(level))


def normal(of: Moments, level: str) -> Tail:
    """VaR −μ − zσ and ES −μ + σφ(z)/(1 − α), of a normal distribution with these moments."""
    return Tail(
        -of.mean - quantile(level) * of.sd,
        -of.mean + tail_mean(level) * of.sd,
    )


def normal_parts(outcomes: Floats, by_part: Floats, level: str) -> Parts:
    """Normal VaR and ES in whole units with Euler's components: −μₖ − z cov(k, whole)/σ.

    ``by_part`` (n, k) sums to ``outcomes`` (n,) over the parts.
    """
    of = moments(outcomes)
    estimate = normal(of, level)
    means = by_part.mean(axis=0)
    if of.sd:
        slope = (outcomes - of.mean) @ by_part / (len(outcomes) - 1) / of.sd
    else:
        slope = np.zeros(by_part.shape[1])
    totals = (round(estimate.var), round(estimate.es))
    exact = np.array([-means - quantile(level) * slope, -means + tail_mean(level) * slope])
    return Parts(*totals, *apportioned(exact, totals))


def cornish_fisher(of: Moments, level: str) -> Tail | None:
    """VaR and ES after the expansion of the quantile by skewness S and excess kurtosis K.

    z + (z² − 1)S/6 + (z³ − 3z)K/24 − (2z³ − 5z)S²/36 (Cornish and Fisher 1938; Fisher and Cornish
    1960). ES is the mean of that over the tail, in closed form since ∫Heₙφ = −Heₙ₋₁φ:
    φ(z)/(1 − α) × (1 + zS/6 + (z² − 1)K/24 − (2z² − 1)S²/36), as in Maillard (2012), "A user's
    guide to the Cornish Fisher expansion".

    None where it is not a quantile: see :func:`is_monotone`.
    """
    if not is_monotone(of):
        return None
    z, s, k = quantile(level), of.skew, of.kurtosis
    at = z + (z**2 - 1) * s / 6 + (z**3 - 3 * z) * k / 24 - (2 * z**3 - 5 * z) * s**2 / 36
    beyond = 1 + z * s / 6 + (z**2 - 1) * k / 24 - (2 * z**2 - 1) * s**2 / 36
    return Tail(-of.mean - of.sd * at, -of.mean + of.sd * tail_mean(level) * beyond)


def is_monotone(of: Moments) -> bool:
    """Whether the expansion increases with z all over ±:data:`RANGE`, as a quantile has to.

    Its derivative is the parabola (K/8 − S²/6)z² + (S/3)z + 1 − K/8 + 5S²/36.
    """
    a = of.kurtosis / 8 - of.skew**2 / 6
    b = of.skew / 3
    c = 1 - of.kurtosis / 8 + 5 * of.skew**2 / 36
    places = [-RANGE, RANGE]
    if a > 0 and abs(b / (2 * a)) < RANGE:
        places.append(-b / (2 * a))
    return all(a * z**2 + b * z + c > 0 for z in places)


def ewma(outcomes: Floats, level: str, decay: float = DECAY) -> Tail:
    """Normal VaR and ES with mean zero and the exponentially weighted variance of ``outcomes``.

    RiskMetrics Technical Document (1996), 5.2; the weights of the sample are made to sum to 1.
    """
    weights = decay ** np.arange(len(outcomes) - 1, -1, -1, dtype=np.float64)
    sd = math.sqrt(math.fsum(weights * outcomes**2) / math.fsum(weights))
    return Tail(-quantile(level) * sd, tail_mean(level) * sd)


def filtered(outcomes: Floats, decay: float = DECAY) -> Floats | None:
    """``outcomes`` (n,), each rescaled from the volatility of its own day to today's.

    Filtered historical simulation (Hull and White 1998; Barone-Adesi, Giannopoulos and Vosper
    1999): a day's volatility is the exponentially weighted one of the days before it, which starts
    with that of the whole sample. None where the sample has no volatility at all.
    """
    variance = math.fsum(outcomes**2) / len(outcomes)
    if not variance:
        return None
    then = np.empty(len(outcomes))
    for at, outcome in enumerate(outcomes):
        then[at] = variance
        variance = decay * variance + (1 - decay) * float(outcome) ** 2
    return outcomes * np.sqrt(variance / then)
