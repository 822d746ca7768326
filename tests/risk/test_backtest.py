"""The backtests against published numbers and against scipy's distributions."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reporting.risk.backtest import (
    Transitions,
    chi2_tail,
    conditional_coverage,
    independence,
    kupiec,
    least_sessions,
    traffic_light,
    transitions,
)

# Published numbers ----------------------------------------------------------------------------


def test_the_example_of_mathworks() -> None:
    # Risk Management Toolbox, varbacktest: 1043 sessions, 57 exceptions at 95 %.
    pof = kupiec(1043, 57, "0.95")
    assert (round(pof.statistic, 5), round(pof.p_value, 5)) == (0.46147, 0.49694)
    # 932 pairs without an exception, 53 before one, 53 after one, 4 both.
    cci = independence(Transitions(932, 53, 53, 4))
    assert (round(cci.statistic, 5), round(cci.p_value, 5)) == (0.25866, 0.61104)
    both = conditional_coverage(pof, cci)
    assert (round(both.statistic, 5), round(both.p_value, 5)) == (0.72013, 0.69763)
    light = traffic_light(1043, 57, "0.95")
    assert (light.zone, round(light.cumulative, 5), light.plus) == ("green", 0.77913, "")


BASEL = [8.11, 28.58, 54.32, 75.81, 89.22, 95.88, 98.63, 99.60, 99.89, 99.97, 99.99]
PLUS = ["0"] * 5 + ["0.40", "0.50", "0.65", "0.75", "0.85", "1.00"]


@pytest.mark.parametrize(("exceptions", "cumulative_pct"), list(enumerate(BASEL)))
def test_the_table_of_basel(exceptions: int, cumulative_pct: float) -> None:
    light = traffic_light(250, exceptions, "0.99")
    assert round(light.cumulative * 100, 2) == cumulative_pct
    assert light.zone == ("green" if exceptions < 5 else "yellow" if exceptions < 10 else "red")
    assert light.plus == PLUS[exceptions]


@pytest.mark.parametrize(("observations", "level"), [(249, "0.99"), (251, "0.99"), (250, "0.95")])
def test_basel_has_a_plus_for_its_own_window_only(observations: int, level: str) -> None:
    assert traffic_light(observations, 12, level).plus == ""


#: Exceptions, the fewest and the most, that Kupiec's test does not reject with 95 % confidence.
NOT_REJECTED = {
    "0.01": {250: (1, 6), 255: (1, 6), 510: (2, 10), 1000: (5, 16)},
    "0.025": {255: (3, 11), 510: (7, 20), 1000: (16, 35)},
    "0.05": {255: (7, 20), 510: (17, 35), 1000: (38, 64)},
    "0.075": {255: (12, 27), 510: (28, 50), 1000: (60, 91)},
    "0.10": {255: (17, 35), 510: (39, 64), 1000: (82, 119)},
}


@pytest.mark.parametrize(
    ("p", "n", "region"),
    [(p, n, region) for p, rows in NOT_REJECTED.items() for n, region in rows.items()],
)
def test_the_regions_of_kupiec(p: str, n: int, region: tuple[int, int]) -> None:
    level = str(1 - Decimal(p))
    kept = [x for x in range(n + 1) if kupiec(n, x, level).p_value >= 0.05]
    assert (kept[0], kept[-1]) == region
    assert kept == list(range(region[0], region[1] + 1))


def test_the_ratios_of_kupiec_at_250_sessions() -> None:
    published = [5.0252, 1.1765, 0.1084, 0.0949, 0.7691, 1.9568, 3.5554, 5.4970]
    assert [round(kupiec(250, x, "0.99").statistic, 4) for x in range(8)] == published


# Independent distributions --------------------------------------------------------------------


@pytest.mark.parametrize("x", [0.0, 1e-9, 0.1, 1.0, 3.841458820694124, 5.99, 30.0, 200.0])
def test_tails_of_chi_squared(x: float) -> None:
    for freedom in (1, 2):
        assert chi2_tail(x, freedom) == pytest.approx(stats.chi2.sf(x, freedom), rel=1e-12)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 600), st.sampled_from(["0.95", "0.975", "0.99"]))
def test_light_and_kupiec_against_scipy(data: st.DataObject, n: int, level: str) -> None:
    x = data.draw(st.integers(0, min(n, 40)))
    p = 1 - float(level)
    light = traffic_light(n, x, level)
    assert light.cumulative == pytest.approx(stats.binom.cdf(x, n, p), rel=1e-9)
    best = stats.binom.logpmf(x, n, x / n)
    # The binomial coefficient is in both likelihoods and cancels.
    expected = 2 * (best - stats.binom.logpmf(x, n, p))
    found = kupiec(n, x, level)
    assert found.statistic == pytest.approx(max(expected, 0), rel=1e-7, abs=1e-8)
    assert found.p_value == pytest.approx(stats.chi2.sf(found.statistic, 1), rel=1e-10)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([False, False, False, True, None]), min_size=2, max_size=80))
def test_independence_by_its_likelihoods(hits: list[bool | None]) -> None:
    pairs = [(a, b) for a, b in pairwise(hits) if None not in (a, b)]
    counts = transitions(hits)
    assert sum(counts) == len(pairs)
    if not pairs:
        with pytest.raises(ValueError, match="no two sessions"):
            independence(counts)
        return

    def likelihood(of: list[tuple[bool | None, bool | None]], p: Fraction) -> Fraction:
        result = Fraction(1)
        for _, after in of:
            result *= p if after else 1 - p
        return result

    def share(of: list[tuple[bool | None, bool | None]]) -> Fraction:
        return Fraction(sum(bool(b) for _, b in of), len(of)) if of else Fraction(0)

    calm, struck = [p for p in pairs if not p[0]], [p for p in pairs if p[0]]
    apart = likelihood(calm, share(calm)) * likelihood(struck, share(struck))
    ratio = apart / likelihood(pairs, share(pairs))
    assert independence(counts).statistic == pytest.approx(2 * math.log(ratio), abs=1e-9)


def test_a_session_that_was_not_tested_makes_no_pair() -> None:
    assert tuple(transitions([True, None, True, True, False])) == (0, 0, 1, 1)
    assert tuple(transitions([False, False, True, False])) == (1, 1, 1, 0)


# Edges ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "least"), [("0.99", 250), ("0.975", 100), ("0.95", 50)])
def test_how_many_sessions_a_test_needs(level: str, least: int) -> None:
    assert least_sessions(level) == least


def test_all_or_none_are_exceptions() -> None:
    # ln L is n ln(1 − p) against 0: −2 × 100 × ln 0.99.
    assert kupiec(100, 0, "0.99").statistic == pytest.approx(-200 * math.log(0.99))
    assert kupiec(100, 100, "0.99").statistic == pytest.approx(-200 * math.log(0.01))
    assert traffic_light(100, 100, "0.99").cumulative == 1
    assert independence(transitions([False] * 9)) == (0, 1)
    assert independence(transitions([True] * 9)) == (0, 1)


@pytest.mark.parametrize(("observations", "exceptions"), [(0, 0), (10, 11), (10, -1)])
def test_counts_that_can_not_be(observations: int, exceptions: int) -> None:
    for test in (kupiec, traffic_light):
        with pytest.raises(ValueError, match="can't be"):
            test(observations, exceptions, "0.99")
