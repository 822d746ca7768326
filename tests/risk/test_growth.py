"""Kelly's fraction against scipy's minimiser, drawdown by hand, exposures and shocks."""

from __future__ import annotations

import math
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from reporting.risk.exposure import concentration, exposure, netted, shocked
from reporting.risk.growth import drawdown, kelly, kelly_approximation

DAY = date(2026, 3, 2)


def series(*amounts: str) -> list[tuple[date, Decimal]]:
    return [(DAY + timedelta(i), Decimal(a)) for i, a in enumerate(amounts)]


# Kelly ----------------------------------------------------------------------------------------


def test_the_coin_of_kelly() -> None:
    # Even money, 60 % to win: f = 2p − 1 = 0.2 (Kelly 1956).
    assert kelly([1, 1, 1, -1, -1]) == pytest.approx(0.2, abs=1e-12)
    # Two to one at 50 %: p − q/b = 0.5 − 0.5/2 = 0.25.
    assert kelly([2, -1]) == pytest.approx(0.25, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.0005, 0.01))
def test_kelly_against_a_minimiser(seed: int, mean: float) -> None:
    returns = np.random.default_rng(seed).standard_t(5, size=120) / 100 + mean
    found = kelly([float(r) for r in returns])
    if returns.mean() <= 0:
        assert found == 0
        return
    assert found is not None
    most = -1 / returns.min()
    best = optimize.minimize_scalar(
        lambda f: -np.log1p(f * returns).mean(), bounds=(0, most * (1 - 1e-9)), method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    assert found == pytest.approx(best.x, rel=1e-4, abs=1e-5)
    # Neither a little more nor a little less is better.
    growth = [np.log1p(f * returns).mean() for f in (found * 0.999, found, found * 1.0005)]
    assert growth[1] == max(growth)


def test_kelly_where_there_is_none() -> None:
    assert kelly([0.01, 0.02]) is None  # no loss: more is always better
    assert kelly([0.0, 0.0]) == 0
    assert kelly([-0.01, 0.005]) == 0  # no gain: stay away
    with pytest.raises(ValueError, match="no returns"):
        kelly([])


def test_the_approximation_of_kelly() -> None:
    # Mean 0.01; deviations ±0.02: variance 2 × 0.0004 / 1.
    assert kelly_approximation([0.03, -0.01]) == pytest.approx(0.01 / 0.0008)
    assert kelly_approximation([0.01]) is None
    assert kelly_approximation([0.5, 0.5]) is None
    small = [x / 1000 for x in (3, -2, 1, -1, 2)]
    assert kelly(small) == pytest.approx(kelly_approximation(small), rel=0.3)


# Drawdown -------------------------------------------------------------------------------------


def test_drawdown_by_hand() -> None:
    # 10, 4, 6, 12, 9, 5, 8: deepest 12 − 5 = 7; now 12 − 8 = 4, three sessions after the peak.
    found = drawdown(series("10", "-6", "2", "6", "-3", "-4", "3"))
    assert (found.current, found.sessions, found.peak) == (4, 3, DAY + timedelta(3))
    assert (found.largest, found.deepest_from, found.deepest_on) == (
        7, DAY + timedelta(3), DAY + timedelta(5),
    )  # fmt: skip


def test_a_series_that_only_falls_is_down_from_its_start() -> None:
    found = drawdown(series("-1", "-2"))
    assert (found.current, found.sessions, found.peak) == (3, 2, None)
    assert (found.largest, found.deepest_from) == (3, None)
    assert drawdown([]).largest == 0
    assert drawdown(series("1", "0")).sessions == 0  # at its highest again


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-100, 100), max_size=60))
def test_drawdown_by_the_definition(amounts: list[int]) -> None:
    heights = [0]
    for a in amounts:
        heights.append(heights[-1] + a)
    depths = [max(heights[: i + 1]) - h for i, h in enumerate(heights)]
    found = drawdown(series(*map(str, amounts)))
    assert (found.largest, found.current) == (max(depths), depths[-1])
    # Since the last time that the sum stood at its maximum.
    last = max(i for i, h in enumerate(heights) if h == max(heights))
    assert found.sessions == len(heights) - 1 - last


# Exposure -------------------------------------------------------------------------------------


def test_exposure_nets_an_instrument_first() -> None:
    held = [("AAA", "100"), ("BBB", "-40"), ("AAA", "-30")]
    values = netted(held, lambda p: p[0], lambda p: Decimal(p[1]))
    assert values == {"AAA": 70, "BBB": -40}
    found = exposure(values.values())
    assert (found.long, found.short, found.gross, found.net) == (70, 40, 110, 30)


def test_concentration() -> None:
    found = concentration({"AAA": Decimal(70), "BBB": Decimal(-30)})
    assert found is not None
    assert (found.largest, found.value, found.gross) == ("AAA", 70, 100)
    assert found.herfindahl == Fraction(70**2 + 30**2, 100**2)
    even = concentration({str(i): Decimal(-5) for i in range(4)})
    assert even is not None
    assert (even.largest, even.herfindahl) == ("0", Fraction(1, 4))
    assert concentration({"AAA": Decimal(0)}) is None
    assert concentration({}) is None


def test_shocks_follow_one_another() -> None:
    # −10 % of the price and −20 % of the currency: 0.9 × 0.8 = 0.72, a loss of 28 %.
    assert shocked(Decimal(200), [Decimal(-10), Decimal(-20)]) == 56
    assert shocked(Decimal(-200), [Decimal(-10)]) == -20  # a short gains
    assert shocked(Decimal("0.01"), [Decimal("0.001")]) == Decimal("-0.0000001")
    assert math.isclose(shocked(Decimal(5), []), 0)
