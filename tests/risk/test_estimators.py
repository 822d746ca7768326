"""VaR, ES and their components: by brute force, by scipy, and by what every risk measure keeps."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from reporting.risk import LEVELS, apportioned, whole
from reporting.risk.historical import components, each, historical, parts, scenarios, shape
from reporting.risk.parametric import (
    RANGE,
    Moments,
    cornish_fisher,
    ewma,
    filtered,
    is_monotone,
    moments,
    normal,
    normal_parts,
    quantile,
    tail_mean,
)

LOSSES = st.lists(st.integers(-1000, 1000), min_size=1, max_size=300)
LEVEL = st.sampled_from(LEVELS)


def brute(losses: list[int], level: str) -> tuple[int, Fraction]:
    """VaR and ES by sorting, in fractions."""
    tail = len(losses) * (1 - Fraction(level))
    worst = sorted(losses, reverse=True)
    weights = [min(max(tail - i, Fraction(0)), Fraction(1)) for i in range(len(worst))]
    es = sum((w * x for w, x in zip(weights, worst, strict=True)), Fraction(0)) / tail
    return worst[math.ceil(tail) - 1], es


# Historical -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(LOSSES, LEVEL)
def test_historical_by_brute_force(losses: list[int], level: str) -> None:
    sample = np.array(losses, dtype=float)
    var, es = brute(losses, level)
    found = historical(-sample, level)
    assert found.var == var
    assert found.es == pytest.approx(float(es), rel=1e-12, abs=1e-9)
    assert found.es >= found.var - 1e-9
    rows = scenarios(-sample, level)
    assert len(set(rows)) == len(rows) == shape(len(losses), level).rank
    assert [losses[i] for i in rows] == sorted(losses, reverse=True)[: len(rows)]
    column = each(-sample[:, None], level)
    assert (column[0][0], column[1][0]) == (var, pytest.approx(float(es), rel=1e-12, abs=1e-9))


@settings(deadline=None, max_examples=50)
@given(LOSSES, LEVEL, st.integers(1, 50), st.integers(-500, 500))
def test_homogeneous_and_invariant_to_cash(
    losses: list[int], level: str, times: int, cash: int
) -> None:
    sample = np.array(losses, dtype=float)
    one, more = historical(-sample, level), historical(-sample * times, level)
    assert more.var == one.var * times
    assert more.es == pytest.approx(one.es * times, rel=1e-12, abs=1e-9)
    less = historical(cash - sample, level)
    assert less.var == one.var - cash
    assert less.es == pytest.approx(one.es - cash, rel=1e-12, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.integers(-1000, 1000)] * 2), min_size=1, max_size=200), LEVEL)
def test_es_of_two_books_is_no_more_than_the_sum(pairs: list[tuple[int, int]], level: str) -> None:
    a, b = np.array(pairs, dtype=float).T
    together = historical(-(a + b), level).es
    assert together <= historical(-a, level).es + historical(-b, level).es + 1e-9


def test_var_is_not_subadditive_which_is_why_es_stands_beside_it() -> None:
    # Each loses 100 on a day of its own: with 40 days at 95 % the second largest loss counts.
    a, b = np.zeros(40), np.zeros(40)
    a[3] = b[7] = 100
    assert historical(-a, "0.95").var + historical(-b, "0.95").var == 0
    assert historical(-(a + b), "0.95").var == 100


def test_of_equal_losses_the_earlier_day_is_the_scenario() -> None:
    losses = np.array([5.0, 9.0, 5.0, 5.0, 9.0] + [0.0] * 55)
    assert list(scenarios(-losses, "0.95")) == [1, 4, 0]


# Components -----------------------------------------------------------------------------------

RETURNS = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).standard_t(3, size=(120, 5)) / 100
)
VALUES = st.lists(st.integers(-(10**9), 10**9), min_size=5, max_size=5)


@settings(deadline=None, max_examples=60)
@given(RETURNS, VALUES, LEVEL)
def test_components_sum_to_the_whole_and_are_the_losses_of_the_tail(
    returns: np.ndarray, values: list[int], level: str
) -> None:
    held = np.array(values, dtype=float)
    found = components(returns, held, level)
    assert found.var == sum(int(x) for x in found.var_parts)
    assert found.es == sum(int(x) for x in found.es_parts)
    # By brute force: days by loss, each position's own loss on them, in fractions.
    by_day = [
        [-Fraction(float(r)) * v for r, v in zip(row, values, strict=True)] for row in returns
    ]
    order = sorted(range(len(by_day)), key=lambda i: (-round(sum(by_day[i])), i))
    tail = len(by_day) * (1 - Fraction(level))
    scenario = by_day[order[math.ceil(tail) - 1]]
    assert all(abs(int(a) - b) <= 1 for a, b in zip(found.var_parts, scenario, strict=True))
    assert abs(found.var - sum(scenario)) <= 1
    weights = [min(max(tail - i, Fraction(0)), Fraction(1)) for i in range(len(order))]
    for part, k in zip(found.es_parts, range(5), strict=True):
        mean = sum(w * by_day[i][k] for w, i in zip(weights, order, strict=True)) / tail
        assert abs(int(part) - mean) <= 1.001


@settings(deadline=None, max_examples=30)
@given(RETURNS, VALUES, LEVEL)
def test_normal_components_are_what_a_little_more_of_each_adds(
    returns: np.ndarray, values: list[int], level: str
) -> None:
    held = np.array(values, dtype=float)
    by_part = returns * held
    found = normal_parts(by_part.sum(axis=1), by_part, level)
    assert (found.var, found.es) == (
        sum(int(x) for x in found.var_parts), sum(int(x) for x in found.es_parts),
    )  # fmt: skip
    for k in range(5):
        step = 1e-4
        more, less = held.copy(), held.copy()
        more[k] *= 1 + step
        less[k] *= 1 - step
        for at in (0, 1):
            up, down = (normal(moments(returns @ v), level)[at] for v in (more, less))
            slope = (up - down) / (2 * step)
            component = int((found.var_parts, found.es_parts)[at][k])
            assert component == pytest.approx(slope, rel=1e-4, abs=2 + 1e-7 * np.abs(held).sum())


def test_parts_of_a_drawn_tail() -> None:
    # 50 days at 95 %: two and a half, with weights 2/5, 2/5, 1/5; the whole loses 30, 20 and 12.
    by_part = np.zeros((50, 2))
    by_part[[7, 3, 40]] = [[-30.0, 0.0], [-25.0, 5.0], [-6.0, -6.0]]
    found = parts(by_part, by_part.sum(axis=1), "0.95")
    assert (found.var, list(found.var_parts)) == (12, [6, 6])
    # 30 × 0.4 + 20 × 0.4 + 12 × 0.2 = 22.4; 12 + 10 + 1.2 = 23.2 and −2 + 1.2 = −0.8.
    assert (found.es, list(found.es_parts)) == (22, [23, -1])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-1e7, 1e7), min_size=1, max_size=40))
def test_what_is_apportioned_sums_and_stays_within_one(amounts: list[float]) -> None:
    total = round(math.fsum(amounts))
    (found,) = apportioned(np.array([amounts]), [total])
    assert sum(int(x) for x in found) == total
    assert all(abs(int(x) - a) <= 1 for x, a in zip(found, amounts, strict=True))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=60))
def test_what_is_apportioned_goes_by_largest_remainder(eighths: list[int]) -> None:
    # In eighths floats are exact, so that a plain sort of fractions says who gets one more.
    amounts = [Fraction(x, 8) for x in eighths]
    total = round(sum(amounts))
    down = [math.floor(a) for a in amounts]
    order = sorted(range(len(amounts)), key=lambda i: (down[i] - amounts[i], i))
    for i in order[: total - sum(down)]:
        down[i] += 1
    both = apportioned(np.array([[float(a) for a in amounts]] * 2), [total, total])
    assert [list(map(int, row)) for row in both] == [down, down]


def given_to(amounts: list[float], total: int) -> list[int]:
    return [int(x) for x in apportioned(np.array([amounts]), [total])[0]]


def test_equal_remainders_go_to_the_first() -> None:
    assert given_to([1 / 3, 1 / 3, 1 / 3], 1) == [1, 0, 0]
    assert given_to([-0.5, -0.5], -1) == [0, -1]
    assert given_to([-1e-20, 0.5], 0) == [0, 0]  # −1e-20 down is −1, with a remainder of 1
    assert given_to([1.0, 1.0], 7) == [4, 3]  # floats too coarse to say
    assert given_to([], 0) == []
    with pytest.raises(ValueError, match="no parts"):
        given_to([], 1)


@pytest.mark.parametrize("many", [2**14, 2**14 + 1, 40_000])
def test_many_parts(many: int) -> None:
    found = given_to([0.25] * many, many // 4)
    assert found == [1] * (many // 4) + [0] * (many - many // 4)


def test_amounts_beyond_sixty_four_bits_stay_whole() -> None:
    huge = [2.0**63, 3.0 * 2**62, -(2.0**61)]
    assert [int(x) for x in whole(np.array(huge))] == [2**63, 3 * 2**62, -(2**61)]
    total = 2**63 + 3 * 2**62 - 2**61 + 2
    assert sum(given_to(huge, total)) == total
    # Each part fits, their sum does not.
    assert given_to([2.0**50] * 2**14, 2**64) == [2**50] * 2**14
    for broken in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not a number"):
            given_to([1.0, broken], 1)


# Parametric -----------------------------------------------------------------------------------

SAMPLES = [
    np.random.default_rng(seed).standard_t(df, size=n) * 1000 + 13
    for seed, df, n in ((1, 3, 250), (2, 5, 100), (3, 30, 500))
]


@pytest.mark.parametrize("sample", SAMPLES, ids=["t3", "t5", "t30"])
def test_moments_against_scipy(sample: np.ndarray) -> None:
    of = moments(sample)
    assert of.mean == pytest.approx(sample.mean(), rel=1e-12)
    assert of.sd == pytest.approx(sample.std(ddof=1), rel=1e-12)
    assert of.skew == pytest.approx(stats.skew(sample), rel=1e-10)
    assert of.kurtosis == pytest.approx(stats.kurtosis(sample), rel=1e-10)


@pytest.mark.parametrize("level", LEVELS)
def test_normal_against_scipy(level: str) -> None:
    of = Moments(12.0, 345.0, 0.0, 0.0)
    z = stats.norm.ppf(1 - float(level))
    assert quantile(level) == pytest.approx(z, rel=1e-13)
    mean, _ = integrate.quad(lambda x: x * stats.norm.pdf(x), -40, z)
    assert tail_mean(level) == pytest.approx(-mean / (1 - float(level)), rel=1e-9)
    found = normal(of, level)
    assert found.var == pytest.approx(-stats.norm.ppf(1 - float(level), 12, 345), rel=1e-12)
    assert found.es == pytest.approx(-12 - 345 * mean / (1 - float(level)), rel=1e-9)
    # Without skewness and excess kurtosis the expansion is the normal distribution.
    assert cornish_fisher(of, level) == pytest.approx(found, rel=1e-14)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("skew", "kurtosis"), [(-0.5, 2.0), (0.3, 1.0), (0.0, 4.0), (-0.8, 3.0)])
def test_cornish_fisher_against_numerical_integration(
    skew: float, kurtosis: float, level: str
) -> None:
    def expanded(z: float) -> float:
        return (
            z + (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * kurtosis / 24
            - (2 * z**3 - 5 * z) * skew**2 / 36
        )  # fmt: skip

    alpha = 1 - float(level)
    z = float(stats.norm.ppf(alpha))
    beyond, _ = integrate.quad(lambda x: expanded(x) * stats.norm.pdf(x), -40, z)
    found = cornish_fisher(Moments(5.0, 100.0, skew, kurtosis), level)
    assert found is not None
    assert found.var == pytest.approx(-5 - 100 * expanded(z), rel=1e-12)
    assert found.es == pytest.approx(-5 - 100 * beyond / alpha, rel=1e-8)
    assert found.es > found.var


@settings(deadline=None, max_examples=100)
@given(st.floats(-3, 3), st.floats(-2, 12))
def test_an_expansion_that_turns_back_is_no_quantile(skew: float, kurtosis: float) -> None:
    of = Moments(0.0, 1.0, skew, kurtosis)
    z = np.linspace(-RANGE, RANGE, 4001)
    at = (
        z + (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * kurtosis / 24
        - (2 * z**3 - 5 * z) * skew**2 / 36
    )  # fmt: skip
    steps = np.diff(at)
    if steps.min() < -1e-9:
        assert not is_monotone(of)
        assert cornish_fisher(of, "0.99") is None
    elif steps.min() > 1e-6:
        assert is_monotone(of)


def test_ewma_by_its_recursion() -> None:
    sample = SAMPLES[0]
    # σ²ₜ = 0.94 σ²ₜ₋₁ + 0.06 r²ₜ from nothing; what nothing weighs, 0.94ⁿ, is divided out.
    variance = 0.0
    for outcome in sample:
        variance = 0.94 * variance + 0.06 * outcome**2
    sd = math.sqrt(variance / (1 - 0.94 ** len(sample)))
    found = ewma(sample, "0.99")
    assert found.var == pytest.approx(stats.norm.ppf(0.99) * sd, rel=1e-12)
    assert found.es == pytest.approx(stats.norm.pdf(stats.norm.ppf(0.01)) / 0.01 * sd, rel=1e-12)


def test_filtered_outcomes_have_todays_volatility() -> None:
    calm, wild = np.tile([1.0, -1.0], 100), np.tile([10.0, -10.0], 100)
    scaled = filtered(np.concatenate([calm, wild]))
    assert scaled is not None
    # The calm days count as if they were wild: 1 in a volatility of 1 is 10 in one of 10.
    assert np.abs(scaled[150:200]).mean() == pytest.approx(10, rel=0.05)
    assert np.abs(scaled[300:]) == pytest.approx(10, rel=0.01)
    assert filtered(np.zeros(10)) is None
    # A sample of one volatility stays what it is.
    steady = filtered(calm)
    assert steady == pytest.approx(calm)


def test_a_sample_without_spread() -> None:
    flat = moments(np.full(250, 0.1))
    assert (flat.sd, flat.skew, flat.kurtosis) == (0, 0, 0)
    assert normal(flat, "0.99") == pytest.approx((-0.1, -0.1))
    with pytest.raises(ValueError, match="no spread"):
        moments(np.array([1.0]))
    found = normal_parts(np.full(9, 5.0), np.tile([2.0, 3.0], (9, 1)), "0.99")
    assert (found.var, list(found.var_parts)) == (-5, [-2, -3])


@settings(deadline=None, max_examples=40)
@given(RETURNS, st.floats(0.01, 100), st.floats(-5, 5), LEVEL)
def test_parametric_estimates_scale_and_shift(
    returns: np.ndarray, times: float, cash: float, level: str
) -> None:
    sample = returns[:, 0] * 100
    one = normal(moments(sample), level)
    assert normal(moments(sample * times + cash), level) == pytest.approx(
        (one.var * times - cash, one.es * times - cash), rel=1e-8, abs=1e-8
    )
    assert ewma(sample * times, level) == pytest.approx(
        tuple(x * times for x in ewma(sample, level)), rel=1e-9
    )
    assert one.es > one.var
