"""Records of daily P&L: against arithmetic by hand, numpy, scipy and formulas written anew."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reporting.analysis.performance import (
    Drawdown,
    Sharpe,
    cumulative,
    drawdown,
    hit_rate,
    profit_factor,
    shares,
    sharpe,
)
from reporting.model import Missing, Ratio, Why

from .days import day

D = Decimal
money = st.decimals(-1_000_000, 1_000_000, places=4)
records = st.lists(money, min_size=20, max_size=80).filter(lambda nets: len(set(nets)) > 1)
#: Sizes that a book may have, from fractions of a cent to the whole world's money.
scales = st.sampled_from(["0.00000000001", "0.37", "3", "1000000000"]).map(D)


def net(*amounts: str | int) -> list[Decimal]:
    return [D(a) for a in amounts]


def sharpe_of(nets: list[Decimal], least: int = 2) -> Sharpe:
    found = sharpe(nets, least)
    assert isinstance(found, Sharpe), found
    return found


# Shares, hit rate, profit factor -----------------------------------------------------------------


def test_shares_are_parts_of_their_sum() -> None:
    found = shares({"a": D(30), "b": D("10.5"), "c": D(0)})
    whole = D("40.5")  # 30 + 10.5 + 0
    assert found == {
        "a": Ratio(numerator=D(30), denominator=whole),
        "b": Ratio(numerator=D("10.5"), denominator=whole),
        "c": Ratio(numerator=D(0), denominator=whole),
    }


def test_losses_have_shares_of_the_loss() -> None:
    found = shares({"a": D(-30), "b": D(-10)})
    assert not isinstance(found, Missing)
    assert [r.fraction for r in found.values()] == [Fraction(3, 4), Fraction(1, 4)]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"a": D(30), "b": D(-10)}, "mixed signs"),
        ({"a": D(10), "b": D(-10)}, "mixed signs"),
        ({"a": D(0), "b": D(0)}, "the total is 0"),
        ({}, "the total is 0"),
    ],
)
def test_a_total_that_is_no_whole_has_no_shares(parts: dict[str, Decimal], reason: str) -> None:
    assert shares(parts) == Missing(why=Why.NOT_MEASURED, detail=reason)


@given(st.dictionaries(st.text(max_size=3), st.decimals(0, 10**12, places=8), max_size=9))
def test_shares_foot_to_the_whole(parts: dict[str, Decimal]) -> None:
    found = shares(parts)
    if not isinstance(found, Missing):
        assert sum(r.fraction or 0 for r in found.values()) == 1


def test_hit_rate_counts_what_won_or_lost() -> None:
    # 2 of 3; the session with exactly 0 did neither.
    assert hit_rate(net(5, "-0.01", 0, 7)) == Ratio(numerator=D(2), denominator=D(3))


def test_profit_factor_is_gains_over_losses() -> None:
    assert profit_factor(net(5, -2, 7, "-0.5", 0)) == Fraction(5 + 7) / (2 + Fraction(1, 2))


def test_only_losses_are_a_factor_of_zero_and_no_loss_is_none() -> None:
    assert profit_factor(net(-1, -2)) == 0
    assert profit_factor(net(1, 2)) == Missing(why=Why.NO_DATA, detail="no losing session")


@pytest.mark.parametrize("nets", [[], net(0, 0)])
def test_nothing_won_or_lost_is_no_rate_and_no_factor(nets: list[Decimal]) -> None:
    missing = Missing(why=Why.NO_DATA, detail="nothing won or lost")
    assert hit_rate(nets) == profit_factor(nets) == missing


# Drawdown ----------------------------------------------------------------------------------------


def days_of(*amounts: int) -> list[tuple[object, Decimal]]:
    return [(day(i), D(a)) for i, a in enumerate(amounts)]


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        # Cumulative 5 2 6 1 4: from 6 down to 1.
        ((5, -3, 4, -5, 3), Drawdown(D(5), day(2), day(3))),
        # −2 −5 −1: from the start, at 0.
        ((-2, -3, 4), Drawdown(D(5), None, day(1))),
        # 1 0 2 1: two of 1, the first is told.
        ((1, -1, 2, -1), Drawdown(D(1), day(0), day(1))),
        ((1, 0, 2), Drawdown(D(0), None, None)),
        ((), Drawdown(D(0), None, None)),
    ],
)
def test_the_deepest_fall(amounts: tuple[int, ...], expected: Drawdown) -> None:
    assert drawdown(days_of(*amounts)) == expected  # type: ignore[arg-type]


@given(st.lists(money, max_size=40))
def test_no_pair_of_days_fell_deeper(nets: list[Decimal]) -> None:
    levels = [Fraction(0)]
    for x in nets:
        levels.append(levels[-1] + Fraction(x))
    falls = [levels[i] - levels[j] for i in range(len(levels)) for j in range(i, len(levels))]
    found = drawdown([(day(i), x) for i, x in enumerate(nets)])
    assert Fraction(found.amount) == max(falls)
    assert [Fraction(x) for x in cumulative(nets)] == levels[1:]


# The Sharpe ratio --------------------------------------------------------------------------------


def test_four_sessions_by_hand() -> None:
    # Mean (1 + 2 + 3 + 6) / 4 = 3; squares of deviations 4 + 1 + 0 + 9 = 14.
    found = sharpe_of(net(1, 2, 3, 6))
    ratio = 3 / math.sqrt(14 / 3)
    assert found.daily == pytest.approx(ratio, rel=1e-14)
    # Mertens: skewness (−8 − 1 + 0 + 27) / 4 / 3.5^1.5, kurtosis (16 + 1 + 0 + 81) / 4 / 3.5².
    skew, kurt = 18 / 4 / 3.5**1.5, 98 / 4 / 3.5**2
    variance = (1 + ratio**2 / 2 - skew * ratio + (kurt - 3) / 4 * ratio**2) / 4
    assert found.error_independent == pytest.approx(math.sqrt(variance), rel=1e-13)
    # One cosine, cos(π (t + ½) / 4), of the influences; one degree of freedom: t = 12.7062.
    influences = [u - ratio / 2 * (u * u - 1) for u in (x / math.sqrt(3.5) for x in (-2, -1, 0, 3))]
    projection = math.sqrt(2 / 4) * sum(
        math.cos(math.pi * (t + 0.5) / 4) * x for t, x in enumerate(influences)
    )
    assert found.error == pytest.approx(abs(projection) / math.sqrt(4), rel=1e-12)
    assert found.high - found.daily == pytest.approx(12.7062 * found.error, rel=1e-5)
    assert found.daily - found.low == pytest.approx(12.7062 * found.error, rel=1e-5)


@settings(deadline=None, max_examples=60)
@given(records)
def test_the_ratio_and_mertens_error_are_numpys_and_scipys(nets: list[Decimal]) -> None:
    found = sharpe_of(nets)
    x = np.array([float(v) for v in nets])
    ratio = x.mean() / x.std(ddof=1)
    skew, excess = stats.skew(x), stats.kurtosis(x)
    variance = (1 + ratio**2 / 2 - skew * ratio + excess / 4 * ratio**2) / len(x)
    assert found.daily == pytest.approx(ratio, rel=1e-6, abs=1e-9)
    assert found.error_independent == pytest.approx(math.sqrt(max(variance, 0)), rel=1e-4, abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(records)
def test_the_robust_error_is_lo_s_with_cosines(nets: list[Decimal]) -> None:
    """Lo's g'Σg with g = (1/σ, −SR/2σ²) and Σ the long-run covariance of (x, (x − μ)²)."""
    found = sharpe_of(nets)
    x = np.array([float(v) for v in nets])
    n, sigma = len(x), x.std()
    many = max(1, round(0.4 * n ** (2 / 3)))
    moments = np.stack([x - x.mean(), (x - x.mean()) ** 2 - sigma**2])
    cosines = [np.cos(np.pi * j * (np.arange(n) + 0.5) / n) for j in range(1, many + 1)]
    sums = np.stack([moments @ c for c in cosines]) * math.sqrt(2 / n)
    covariance = sums.T @ sums / many
    slope = np.array([1 / sigma, -x.mean() / x.std(ddof=1) / (2 * sigma**2)])
    variance = slope @ covariance @ slope / n
    assert found.error == pytest.approx(math.sqrt(variance), rel=1e-4, abs=1e-6)
    margin = stats.t.ppf(0.975, many) * found.error
    assert (found.low, found.high) == pytest.approx(
        (found.daily - margin, found.daily + margin), rel=1e-6, abs=1e-9
    )


@settings(deadline=None, max_examples=40)
@given(records, scales)
def test_the_size_of_the_book_changes_nothing(nets: list[Decimal], scale: Decimal) -> None:
    small, big = sharpe_of(nets), sharpe_of([x * scale for x in nets])
    assert big.daily == small.daily
    assert big.error == small.error
    assert hit_rate([x * scale for x in nets]) == hit_rate(nets)
    assert profit_factor([x * scale for x in nets]) == profit_factor(nets)


@settings(deadline=None, max_examples=40)
@given(records, st.randoms(use_true_random=False))
def test_the_order_of_days_matters_to_the_robust_error_alone(
    nets: list[Decimal], random: object
) -> None:
    shuffled = list(nets)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = sharpe_of(nets), sharpe_of(shuffled)
    assert one.daily == other.daily
    assert one.error_independent == other.error_independent
    assert hit_rate(nets) == hit_rate(shuffled)
    assert profit_factor(nets) == profit_factor(shuffled)


def test_days_that_follow_each_other_widen_the_robust_error() -> None:
    trending = [D(x) for x in [3, 3, 4, 4, 5, 5, 4, 4, 3, 3] + [-2, -2, -1, -1, -2, -2, -3, -3] * 2]
    found = sharpe_of(trending)
    assert found.error > 1.5 * found.error_independent


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Autocorrelated days with fat tails, 400 series of 60: Mertens' interval would hold 88 %."""
    random, held, series, truth = np.random.default_rng(7), 0, 400, 0.1
    for _ in range(series):
        shocks = random.standard_t(5, 90) / math.sqrt(5 / 3)
        x = np.zeros(90)
        for t in range(1, 90):
            x[t] = 0.2 * x[t - 1] + shocks[t]
        nets = [D(str(round(v, 6))) for v in x[30:] + truth / math.sqrt(1 - 0.2**2)]
        found = sharpe_of(nets)
        held += found.low <= truth <= found.high
    # 95 % ± three standard deviations of a share of 400.
    assert held / series == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / series))


def test_a_short_history_and_one_that_never_changes_have_no_ratio() -> None:
    short = Missing(why=Why.TOO_SHORT, detail="19 of 20 sessions")
    assert sharpe(net(*range(19))) == short
    assert isinstance(sharpe(net(*range(20))), Sharpe)
    assert sharpe(net(*[7] * 30)) == Missing(why=Why.NO_DATA, detail="the P&L never changes")


def test_a_large_mean_loses_no_digit_of_a_small_deviation() -> None:
    # 10¹⁸ + (−1, 0, 1) and so on: in floats all of these are one number.
    nets = [D(10**18) + D(i % 3 - 1) for i in range(30)]
    # Ten times (−1, 0, 1): squares sum to 20.
    assert sharpe_of(nets).daily == pytest.approx(1e18 / math.sqrt(20 / 29), rel=1e-12)
