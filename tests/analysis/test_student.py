"""Student's t against the printed tables, closed forms and scipy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reporting.analysis.student import quantile, tail


@pytest.mark.parametrize(
    ("level", "freedom", "expected"),
    [
        # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
        (0.95, 1, 12.706),
        (0.95, 3, 3.182),
        (0.95, 10, 2.228),
        (0.95, 27, 2.052),
        (0.99, 5, 4.032),
        (0.90, 20, 1.725),
    ],
)
def test_quantiles_are_those_of_the_printed_table(
    level: float, freedom: int, expected: float
) -> None:
    assert quantile(level, freedom) == pytest.approx(expected, abs=0.0005)


def test_one_and_two_degrees_of_freedom_have_closed_forms() -> None:
    assert tail(1.0, 1) == pytest.approx(1 / 2 - math.atan(1) / math.pi, rel=1e-13)  # Cauchy
    assert tail(1.0, 2) == pytest.approx(1 / 2 - 1 / (2 * math.sqrt(1 + 2)), rel=1e-13)


@settings(deadline=None)
@given(st.floats(-40, 40), st.floats(0.5, 500))
def test_the_tail_is_scipys(t: float, freedom: float) -> None:
    assert tail(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=1e-9, abs=1e-15)


@settings(deadline=None)
@given(st.floats(0.5, 0.999), st.floats(1, 200))
def test_the_quantile_is_scipys(level: float, freedom: float) -> None:
    assert quantile(level, freedom) == pytest.approx(
        stats.t.ppf((1 + level) / 2, freedom), rel=1e-8
    )


def test_nothing_lies_beyond_infinity() -> None:
    assert (tail(math.inf, 3), tail(-math.inf, 3)) == (0, 1)


def test_what_is_no_level_or_no_freedom_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        quantile(1, 3)
    with pytest.raises(ValueError, match="above 0, got 0"):
        tail(1, 0)
