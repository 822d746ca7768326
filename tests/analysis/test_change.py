"""Improvement against a baseline: ratio, interval, goal, and all twelve KPIs on the page."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reporting.analysis.change import (
    KPIS,
    Change,
    Day,
    Kpi,
    Mean,
    Outcome,
    improvement_section,
    progress,
    ratio_of_sums,
    relative_change,
)
from reporting.model import Missing, Number, Ratio, Text, Why, exact_sum
from reporting.page import Table

from .days import GAP, day

NO_SOURCE = Missing(why=Why.NOT_MEASURED, detail="no incidents source configured")


def days(values: list[float | None], start: int = 0, of: str = "1") -> tuple[Day, ...]:
    """Daily ratios value × of / of."""
    return tuple(
        (
            day(start + i),
            GAP
            if v is None
            else Ratio(numerator=Decimal(str(v)) * Decimal(of), denominator=Decimal(of)),
        )
        for i, v in enumerate(values)
    )


def wave(level: float, n: int = 28, spread: float = 0.01) -> list[float | None]:
    """Values around ``level`` that no cosine of the variance is blind to."""
    draw = np.random.default_rng(n)
    return [round(level * (1 + spread * float(x)), 6) for x in draw.normal(0, 1, n)]


def kpi(goal: str, baseline: list[float | None], now: list[float | None]) -> Kpi:
    return Kpi("slippage", Decimal(goal), days(baseline), days(now, start=100), unit="bps")


# ---- the estimators -----------------------------------------------------------------------------


def test_the_ratio_is_of_the_sums_and_no_mean_of_ratios() -> None:
    # (1 + 90) / (10 + 100); the mean of 0.1 and 0.9 would be 0.5.
    assert ratio_of_sums(np.array([1.0, 90]), np.array([10.0, 100])).value == (1 + 90) / (10 + 100)


def test_the_variance_is_that_of_the_cosines_by_hand() -> None:
    # Four days, ν = round(0.4 · 4^(2/3)) = round(1.008) = 1. R = 20/40 = 0.5, ȳ = 10,
    # d = (3 − 5, 6 − 5, 4 − 5, 7 − 5)/10; cosines of π/8, 3π/8, 5π/8, 7π/8.
    d = [-0.2, 0.1, -0.1, 0.2]
    projection = math.sqrt(2 / 4) * sum(
        x * math.cos(math.pi * k / 8) for x, k in zip(d, (1, 3, 5, 7), strict=True)
    )

    mean = ratio_of_sums(np.array([3.0, 6, 4, 7]), np.full(4, 10.0))

    assert (mean.value, mean.freedom, mean.days) == (0.5, 1, 4)
    assert mean.variance == pytest.approx(projection**2 / 1 / 4)


@pytest.mark.parametrize(("n", "cosines"), [(14, 2), (28, 4), (60, 6), (90, 8)])
def test_the_number_of_cosines_is_the_recommended_one(n: int, cosines: int) -> None:
    # 0.4 · 14^(2/3) = 2.32, 28: 3.69, 60: 6.13, 90: 8.03
    assert ratio_of_sums(np.ones(n), np.ones(n)).freedom == cosines


def test_fiellers_ends_are_where_the_statistic_is_t() -> None:
    baseline, now = Mean(100.0, 16.0, 6, 60), Mean(70.0, 9.0, 4, 28)
    change = relative_change(baseline, now)
    rho = 0.7
    own, other = 9.0, rho**2 * 16
    t = stats.t.ppf(0.975, (own + other) ** 2 / (own**2 / 4 + other**2 / 6))

    assert change.pct == pytest.approx(-30)
    assert change.low is not None and change.high is not None
    for end in (change.low, change.high):
        at = 1 + end / 100
        assert abs(70 - at * 100) / math.sqrt(9 + at**2 * 16) == pytest.approx(t)
    assert change.low < -30 < change.high


def test_a_baseline_that_is_not_told_from_zero_has_no_interval() -> None:
    change = relative_change(Mean(1.0, 4.0, 6, 60), Mean(2.0, 0.1, 4, 28))
    assert (change.pct, change.low, change.high) == (100, None, None)


def test_constant_periods_change_by_what_they_change() -> None:
    change = relative_change(Mean(4.0, 0.0, 6, 60), Mean(3.0, 0.0, 4, 28))
    assert (change.pct, change.low, change.high) == (-25, -25, -25)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 1000)), min_size=14, max_size=40),
    st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 1000)), min_size=14, max_size=40),
    st.integers(2, 50),
)
def test_units_do_not_matter(
    before: list[tuple[int, int]], after: list[tuple[int, int]], factor: int
) -> None:
    def change(scale: int) -> Change:
        both = [
            ratio_of_sums(*(np.array(x, dtype=float) for x in zip(*pairs, strict=True)))
            for pairs in ([(x * scale, y) for x, y in p] for p in (before, after))
        ]
        return relative_change(*both)

    one, other = change(1), change(factor)
    assert other.pct == pytest.approx(one.pct, rel=1e-9, abs=1e-9)
    if one.low is not None and other.low is not None:
        assert other.low == pytest.approx(one.low, rel=1e-6, abs=1e-6)
        assert one.low <= one.pct <= (one.high or math.inf)


def correlated(
    draw: np.random.Generator, n: int, phi: float, mean: float, spread: float
) -> np.ndarray:
    """An autoregression of order one, begun in its own distribution."""
    noise = draw.normal(0, spread, n)
    out = np.empty(n)
    out[0] = noise[0]
    for i in range(1, n):
        out[i] = phi * out[i - 1] + math.sqrt(1 - phi**2) * noise[i]
    return mean + out


@pytest.mark.parametrize(
    ("phi", "least"),
    # Strong memory costs certainty, as it does with every method: the paper's tables agree.
    [(0.0, 0.925), (0.3, 0.92), (0.5, 0.90)],
)
def test_the_interval_holds_the_true_change_as_often_as_it_says(phi: float, least: float) -> None:
    draw = np.random.default_rng(20251207)
    runs, held = 1000, 0
    for _ in range(runs):
        sizes = [draw.uniform(50, 150, n) for n in (60, 28)]
        rates = [correlated(draw, n, phi, mean, 0.3) for n, mean in ((60, 2.0), (28, 1.5))]
        before, after = (ratio_of_sums(r * s, s) for r, s in zip(rates, sizes, strict=True))
        change = relative_change(before, after)
        assert change.low is not None and change.high is not None
        held += change.low <= -25 <= change.high
    assert least <= held / runs <= 0.975


def test_what_has_no_ratio_is_refused() -> None:
    with pytest.raises(ValueError, match="sum to more than 0, got 0"):
        ratio_of_sums(np.array([1.0]), np.array([0.0]))
    with pytest.raises(ValueError, match="baseline above 0, got -1"):
        relative_change(Mean(-1.0, 1.0, 3, 28), Mean(1.0, 1.0, 3, 28))


# ---- against the goal ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "now", "spread", "outcome"),
    [
        ("-25", 0.60, 0.01, "achieved"),  # −40 % where −25 % was meant
        ("-25", 0.90, 0.01, "not yet"),
        ("-25", 1.40, 0.01, "not yet"),  # the wrong way
        ("-25", 0.75, 0.05, "not decidable"),
        ("15", 1.30, 0.01, "achieved"),
        ("15", 1.05, 0.01, "not yet"),
        ("15", 0.60, 0.01, "not yet"),
        ("15", 1.15, 0.05, "not decidable"),
    ],
)
def test_the_whole_interval_decides(goal: str, now: float, spread: float, outcome: Outcome) -> None:
    found = progress(kpi(goal, wave(4.0, 60, spread), wave(4.0 * now, 28, spread)))
    assert found.outcome == outcome


def test_a_change_that_is_exactly_the_goal_achieves_it() -> None:
    found = progress(kpi("-25", [4.0] * 28, [3.0] * 28))
    assert found.outcome == "achieved"


def test_an_unbounded_interval_decides_nothing() -> None:
    noise: list[float | None] = [0.01 * x for x in range(-9, 9)]
    found = progress(kpi("-25", [*noise, 0.5], wave(5.0)))
    assert isinstance(found.change, Change) and found.change.low is None
    assert found.outcome == "not decidable"


@pytest.mark.parametrize(
    ("baseline", "now", "reason"),
    [
        (wave(4.0, 13), wave(3.0), "baseline has 13 measured days, 14 are needed"),
        (wave(4.0), [*wave(3.0, 13), None], "this period has 13 measured days, 14 are needed"),
        ([-1.0] * 28, wave(3.0), "the baseline is -1 bps: a change in percent of it means nothing"),
        ([0.0] * 28, wave(3.0), "the baseline is 0 bps: a change in percent of it means nothing"),
        ([None] * 28, wave(3.0), "baseline: no answer"),
    ],
)
def test_what_can_not_be_measured_says_why(
    baseline: list[float | None], now: list[float | None], reason: str
) -> None:
    found = progress(kpi("-25", baseline, now))
    assert found.outcome == "not measured"
    assert isinstance(found.change, Missing) and found.change.detail == reason


def test_days_without_traffic_are_no_days_of_zero() -> None:
    with_quiet = (*days(wave(4.0)), (day(50), Ratio(numerator=Decimal(0), denominator=Decimal(0))))
    found = progress(Kpi("slippage", Decimal(-25), with_quiet, days(wave(3.0), start=100)))
    plain = progress(kpi("-25", wave(4.0), wave(3.0)))
    assert isinstance(found.change, Change) and isinstance(plain.change, Change)
    assert found.change.baseline.value == pytest.approx(plain.change.baseline.value)
    empty = tuple((d, Ratio(numerator=Decimal(0), denominator=Decimal(0))) for d, _ in with_quiet)
    nothing = progress(Kpi("slippage", Decimal(-25), empty, with_quiet)).change
    assert nothing == Missing(
        why=Why.NO_DATA, detail="baseline has nothing to divide by on any day"
    )


def test_a_goal_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="slippage: a goal of 0 % has no direction"):
        kpi("0", [], [])


# ---- section ------------------------------------------------------------------------------------


def everything() -> list[Kpi]:
    """All twelve, one of them measured."""
    others = [Kpi(name, Decimal(-10), NO_SOURCE, NO_SOURCE) for name in KPIS if name != "slippage"]
    return [kpi("-25", wave(4.0, 60), wave(2.0)), *others]


def shown(table: Table, row: int = 0) -> dict[str, Any]:
    """One row as the page has it, by column."""
    both = zip(table.columns, table.rows[row], strict=True)
    return {column.key: cell for column, cell in both if column.shown}


def test_all_twelve_appear_measured_or_not() -> None:
    section = improvement_section(everything())
    measured, unseen = section.tables

    assert len(KPIS) == 12
    assert [f.id for f in section.figures] == ["improvement.slippage"]
    assert [row[0] for row in measured.rows] == [Text(text="Slippage")]
    others = [title for name, title in KPIS.items() if name != "slippage"]
    assert [row[0] for row in unseen.rows] == [Text(text=title) for title in others]
    for table in (measured, unseen):
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert section.summary == "1 of 12 goals are achieved (slippage), 11 not measured."


def test_what_is_not_measured_is_one_line_with_its_reason_once() -> None:
    short = Missing(why=Why.TOO_SHORT, detail="baseline has 13 measured days, 14 are needed")
    kpis = [kpi("-25", wave(4.0, 13), wave(3.0)) if k.id == "slippage" else k for k in everything()]
    section = improvement_section(kpis)
    (table,) = section.tables

    assert section.figures == () and section.notes == ()
    assert section.summary == "0 of 12 goals are achieved, 12 not measured."
    assert shown(table, 0) == {
        "kpi": Text(text="Slippage"),
        "goal": Text(text="−25 %"),
        "reason": Text(text=str(short)),
    }
    assert shown(table, 1)["reason"] == Text(text="no incidents source configured")
    # To who reads the facts it is an absence, with the reason.
    assert [row[-1] for row in table.rows] == [short, *[NO_SOURCE] * 11]


def test_an_unbounded_interval_is_said_once_on_the_page() -> None:
    noise: list[float | None] = [0.01 * x for x in range(-9, 9)]
    kpis = [kpi("-25", [*noise, 0.5], wave(5.0)) if k.id == "slippage" else k for k in everything()]
    table = improvement_section(kpis).tables[0]

    assert shown(table)["interval"] == Text(text="unbounded")
    assert not any(isinstance(cell, Missing) for cell in shown(table).values())


def test_where_all_is_measured_there_is_no_table_of_the_rest() -> None:
    kpis = [Kpi(name, Decimal(-25), days(wave(4.0)), days(wave(2.0), start=100)) for name in KPIS]

    assert [t.id for t in improvement_section(kpis).tables] == ["improvement"]


def test_one_that_is_left_out_is_an_error() -> None:
    with pytest.raises(ValueError, match="KPIs downtime_cost are left out"):
        improvement_section([k for k in everything() if k.id != "downtime_cost"])


def test_a_row_has_change_interval_and_days() -> None:
    before, after = wave(4.0, 60), wave(2.0)
    section = improvement_section(everything())
    table = section.tables[0]
    row = dict(zip([c.key for c in table.columns], table.rows[0], strict=True))
    # The figure says change, goal and outcome.
    assert list(shown(table)) == ["kpi", "measured_by", "baseline", "now", "interval", "days"]
    sums = [exact_sum(Decimal(str(x)) for x in values) for values in (before, after)]
    pct = 100 * (sums[1] / 28 / (sums[0] / 60) - 1)

    assert row["goal"] == Number(value=Decimal(-25), unit="%")
    assert row["change"] == Number(value=round(pct, 1), unit="%")
    low, high = row["low"], row["high"]
    assert isinstance(low, Number) and isinstance(high, Number)
    assert low.value <= round(pct, 1) <= high.value < -25
    assert row["interval"] == Text(text=f"{low.value} to {high.value} %".replace("-", "−"))
    assert row["outcome"] == Text(text="achieved")
    assert row["days"] == Text(text=f"{day(0)} to {day(59)} (60 days), now 28 days")


def test_a_goal_that_is_not_reached_is_no_broken_promise() -> None:
    # A verdict would make the whole report's answer "no".
    section = improvement_section(
        [kpi("-60", wave(4.0, 60), wave(2.0)) if k.id == "slippage" else k for k in everything()]
    )
    assert section.figures[0].note.startswith("not yet")
    assert section.verdict is None and {f.verdict for f in section.figures} == {None}
    target = section.figures[0].target
    assert target is not None and target.words() == "at most -60 %"
