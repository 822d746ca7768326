"""Capacity: slope, interval and date of exhaustion by hand, by scipy and by simulation."""

from __future__ import annotations

import math
from datetime import date, timedelta
from decimal import Decimal
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reporting.analysis.trend import (
    Forecast,
    Resource,
    Use,
    capacity_attention,
    capacity_section,
    forecast,
    theil_sen,
)
from reporting.model import Missing, Number, Ratio, Text, Why
from reporting.page import LinesChart

from .days import GAP, MONDAY, day


def resource(levels: list[float | None], allocated: str = "500", name: str = "storage") -> Resource:
    """Daily p95 as given; the mean is 1 below, the highest 2 above."""
    days = tuple(
        (
            day(i),
            GAP
            if x is None
            else Use(mean=Decimal(str(x)) - 1, p95=Decimal(str(x)), highest=Decimal(str(x)) + 2),
        )
        for i, x in enumerate(levels)
    )
    return Resource(name, name.capitalize(), "GB", Decimal(allocated), days)


# ---- slope --------------------------------------------------------------------------------------


def test_sens_own_example_has_slope_four() -> None:
    # Sen (1968), 6: the slopes of all 21 pairs by hand; the 11th of them in order is 4.
    at = [1, 2, 3, 4, 10, 12, 18]
    y = [9, 15, 19, 20, 45, 55, 78]
    by_hand = sorted([
        6, 10 / 2, 11 / 3, 36 / 9, 46 / 11, 69 / 17,
        4, 5 / 2, 30 / 8, 40 / 10, 63 / 16,
        1, 26 / 7, 36 / 9, 59 / 15,
        25 / 6, 35 / 8, 58 / 14,
        10 / 2, 33 / 8,
        23 / 6,
    ])  # fmt: skip
    assert by_hand[10] == 4

    slope = theil_sen(np.array(at, dtype=float), np.array(y, dtype=float))

    assert slope.estimate == 4
    # Var(S) = 7·6·19/18 = 44.33, C = 1.95996 √44.33 = 13.05; (21 − 13.05)/2 = 3.97 → the 4th,
    # (21 + 13.05)/2 + 1 = 18.03 → the 18th.
    assert (slope.low, slope.high) == (by_hand[3], by_hand[17])


def test_equal_values_narrow_the_variance() -> None:
    # n = 8 with groups of 3 and 2 equal values: Var(S) = (8·7·21 − 3·2·11 − 2·1·9)/18 = 60.667.
    at = np.arange(8, dtype=float)
    y = np.array([1, 1, 1, 2, 3, 3, 5, 6], dtype=float)
    slopes = sorted((y[j] - y[i]) / (j - i) for i in range(8) for j in range(i + 1, 8))
    spread = 1.959964 * math.sqrt(60.667)
    lower, upper = round((28 - spread) / 2), round((28 + spread) / 2) + 1  # 6th and 23rd... by rank

    slope = theil_sen(at, y)

    assert (lower, upper) == (6, 23)
    assert (slope.low, slope.high) == (slopes[lower - 1], slopes[upper - 1])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(-1000, 1000)),
        min_size=7,
        max_size=40,
        unique_by=lambda pair: pair[0],
    )
)
def test_slope_and_interval_are_scipys(pairs: list[tuple[int, int]]) -> None:
    at, y = (np.array(x, dtype=float) for x in zip(*sorted(pairs), strict=True))
    theirs = stats.theilslopes(y, at, alpha=0.95)

    slope = theil_sen(at, y)

    assert slope.estimate == pytest.approx(theirs.slope, abs=1e-12)
    assert slope.low == pytest.approx(theirs.low_slope, abs=1e-12)
    assert slope.high == pytest.approx(theirs.high_slope, abs=1e-12)


def test_a_wild_day_in_ten_does_not_bend_the_slope() -> None:
    at = np.arange(30, dtype=float)
    straight = 2 * at
    wild = straight.copy()
    wild[[4, 15, 26]] = 100_000
    assert theil_sen(at, wild).estimate == 2


@pytest.mark.parametrize("n", [7, 28, 60])
def test_the_interval_holds_the_true_slope_as_often_as_it_says(n: int) -> None:
    draw = np.random.default_rng(20251207)
    at = np.arange(n, dtype=float)
    runs, held = 1000, 0
    for _ in range(runs):
        slope = theil_sen(at, 5 + 0.3 * at + draw.normal(0, 2, n))
        held += slope.low <= 0.3 <= slope.high
    # Four standard errors of 1000 runs are 2.8 %; with 7 days, ranks are coarse: a little wide.
    assert 0.922 <= held / runs <= (0.985 if n == 7 else 0.978)


def test_a_slope_of_one_day_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two days"):
        theil_sen(np.array([1.0]), np.array([1.0]))
    with pytest.raises(ValueError, match="each once"):
        theil_sen(np.array([1.0, 1.0]), np.array([1.0, 2.0]))


# ---- exhaustion ---------------------------------------------------------------------------------


def told(levels: list[float | None], allocated: str = "500") -> Forecast:
    found = forecast(resource(levels, allocated))
    assert isinstance(found, Forecast)
    return found


def test_a_straight_line_runs_out_on_the_day_that_arithmetic_gives() -> None:
    # 380 on the first of 28 days, 2 a day: 434 on the last, 66 more are 33 days.
    outlook = told([380 + 2 * i for i in range(28)])

    assert outlook.exhaustion.day == day(27) + timedelta(days=33)
    assert outlook.earliest == outlook.latest == outlook.exhaustion
    assert outlook.grows


def test_the_day_is_the_first_whole_one_at_or_above() -> None:
    # 1.5 a day from 401.5 on the last day: 98.5 / 1.5 = 65.7 days, so the 66th.
    outlook = told([361 + 1.5 * i for i in range(28)])
    assert 361 + 1.5 * 27 == 401.5
    assert outlook.exhaustion.day == day(27 + 66)


def test_a_gap_is_no_zero_and_does_not_bend_the_line() -> None:
    levels: list[float | None] = [380 + 2 * i for i in range(28)]
    levels[3] = levels[11] = levels[12] = None
    assert told(levels).exhaustion.day == day(27) + timedelta(days=33)


def test_a_wild_day_moves_no_date() -> None:
    levels: list[float | None] = [380 + 2 * i for i in range(28)]
    levels[9] = 5_000
    assert told(levels).exhaustion.day == day(27) + timedelta(days=33)


def test_binary_fractions_cost_no_day() -> None:
    # 0.2 a day from 101.8 on the last day: 1.4 more are 7 days; in floats 7.000000000000014.
    levels = [round(100 + i / 5, 1) for i in range(10)]
    assert told([float(x) for x in levels], "103.2").exhaustion.day == day(9 + 7)


def test_the_interval_of_the_date_comes_of_the_ends_of_the_slopes() -> None:
    levels = [100.0, 103, 104, 108, 109, 113, 113, 117, 119, 120]
    at = list(range(10))
    slopes = sorted((levels[j] - levels[i]) / (j - i) for i in range(10) for j in range(i + 1, 10))
    # Var(S) = (10·9·25 − 2·1·9)/18 = 124, C = 1.95996 √124 = 21.83: the 12th and the 34th of 45.
    low, high = slopes[12 - 1], slopes[34 - 1]

    def reaches(slope: float) -> date:
        start = median(y - slope * t for t, y in zip(at, levels, strict=True))
        return day(math.ceil((200 - start) / slope))

    outlook = told(levels, "200")

    assert (outlook.slope.low, outlook.slope.high) == (low, high)
    assert outlook.earliest.day == reaches(high)
    assert outlook.latest.day == reaches(low)
    assert outlook.earliest.day < outlook.exhaustion.day < outlook.latest.day  # type: ignore[operator]


def test_no_growth_a_year_away_and_reached_are_told_apart() -> None:
    assert told([400 - i for i in range(10)]).exhaustion.words() == "no growth"
    assert told([400.0] * 10).exhaustion.words() == "no growth"
    # 0.1 a day: 100 more are 1,000 days.
    assert told([400 + i / 10 for i in range(10)]).exhaustion.words() == "not within a year"
    assert told([491 + i for i in range(10)]).exhaustion.words() == "reached"
    # On the last of 365 days it is still told, a day later not.
    assert told([500 - 365 - 9 + i for i in range(10)]).exhaustion.day == day(9 + 365)
    assert told([500 - 366 - 9 + i for i in range(10)]).exhaustion.state == "beyond"


def test_under_a_week_of_days_has_no_trend() -> None:
    outlook = forecast(resource([1, 2, 3, None, None, None, 4, 5, 6]))
    assert outlook == Missing(why=Why.TOO_SHORT, detail="6 measured days, 7 are needed")


def test_the_true_date_lies_within_the_interval_as_often_as_it_says() -> None:
    # 300 + 2 t reaches 500 on day 100.
    draw = np.random.default_rng(7)
    runs, held = 400, 0
    for _ in range(runs):
        levels = 300 + 2 * np.arange(42) + draw.normal(0, 6, 42)
        outlook = told([round(float(x), 3) for x in levels])
        assert outlook.earliest.day is not None and outlook.latest.day is not None
        held += outlook.earliest.day <= day(100) <= outlook.latest.day
    # 95 %, a day's rounding on either side on top; three standard errors of 400 runs are 3.3 %.
    assert held / runs >= 0.917


# ---- section ------------------------------------------------------------------------------------


def test_efficiency_is_the_mean_of_the_periods_days_over_allocated() -> None:
    levels: list[float | None] = [380 + 2 * i for i in range(28)]
    levels[26] = None
    section = capacity_section([resource(levels)], first=day(25))

    figure = section.figures[0]

    assert figure.id == "capacity.storage"
    # Days 25 and 27 of the period's three were measured: p95 430 and 434, means one less.
    assert figure.value == Ratio(numerator=Decimal(429 + 433), denominator=Decimal(2 * 500))
    assert len(figure.series) == 28 and figure.series[26].value == GAP


def test_the_table_has_use_trend_and_dates() -> None:
    table = capacity_section([resource([380 + 2 * i for i in range(28)])], first=day(25)).tables[0]
    row = dict(zip([c.key for c in table.columns], table.rows[0], strict=True))

    assert row["allocated"] == Number(value=Decimal(500), unit="GB")
    assert row["used_mean"] == Number(value=Decimal(429 + 431 + 433) / 3, unit="GB")
    assert row["used_p95"] == Number(value=Decimal(434), unit="GB")
    assert row["used_highest"] == Number(value=Decimal(436), unit="GB")
    assert row["trend_week"] == Number(value=Decimal(14), unit="GB")
    runs_out = (day(27) + timedelta(days=33)).isoformat()
    assert row["exhaustion"] == row["earliest"] == row["latest"] == Text(text=runs_out)
    # On the page: trend and date with their intervals in a cell each; here they are points.
    assert (row["trend"], row["ends"]) == (Text(text="+14 GB"), Text(text=runs_out))
    assert [c.key for c in table.columns if c.shown] == [
        "resource", "allocated", "used_mean", "used_p95", "used_highest", "efficiency", "trend",
        "ends",
    ]  # fmt: skip


def test_a_period_without_a_measured_day_is_missing_with_its_reason_and_keeps_its_trend() -> None:
    levels: list[float | None] = [380 + 2 * i for i in range(27)]
    section = capacity_section([resource([*levels, None])], first=day(27))
    assert section.figures[0].value == GAP
    assert section.figures[0].note == f"runs out {day(27) + timedelta(days=33)}"
    row = section.tables[0].rows[0]
    # The reason once.
    assert row[2:6] == (GAP, *[Text(text="–")] * 3) and row[6] == Text(text="+14 GB")


def test_the_chart_goes_on_past_the_end_and_its_future_is_no_gap() -> None:
    levels: list[float | None] = [380 + 2 * i for i in range(28)]
    levels[5] = None
    chart = capacity_section([resource(levels)], first=day(27)).charts[0]
    assert isinstance(chart, LinesChart)
    trend, used, limit = chart.lines

    # It runs out 33 days after the last, and a week more is drawn.
    assert len(chart.labels) == 28 + 33 + 7
    assert chart.labels[0] == MONDAY.isoformat()
    assert None not in trend.values and trend.values[67] == 380 + 2 * 67
    assert used.values[5] is None and used.values[27] == 434 and set(used.values[28:]) == {None}
    assert set(limit.values) == {Decimal(500)}


def test_only_what_runs_out_has_a_chart_the_first_two_of_it() -> None:
    ends = {
        name: resource([500 - left + i - 9 for i in range(10)], name=name)
        for name, left in (("a", 300), ("b", 0), ("c", 50), ("d", 100))
    }
    flat, short = resource([400.0] * 10, name="flat"), resource([1, 2], name="short")
    noisy = resource([480.0, 470, 490, 475, 485, 470, 491, 470, 490, 482], name="noisy")
    assert told([480.0, 470, 490, 475, 485, 470, 491, 470, 490, 482]).exhaustion.day is not None

    section = capacity_section([flat, noisy, *ends.values(), short], first=day(9))
    later = capacity_section([flat, ends["d"], ends["c"]], first=day(9))

    assert [c.id for c in section.charts] == ["capacity_b", "capacity_c"]
    assert [c.id for c in later.charts] == ["capacity_c", "capacity_d"]
    assert capacity_section([flat, noisy, short], first=day(9)).charts == ()
    # The figures have all of them, in the order they are given, the table what was measured.
    assert [f.id for f in section.figures][:3] == [
        "capacity.flat", "capacity.noisy", "capacity.a",
    ]  # fmt: skip
    assert len(section.tables[0].rows) == 6


def test_without_a_trend_the_reason_is_told_once_on_the_page() -> None:
    section = capacity_section([resource([1, 2, 3])], first=day(0))
    columns, row = section.tables[0].columns, section.tables[0].rows[0]
    why = Missing(why=Why.TOO_SHORT, detail="3 measured days, 7 are needed")

    cells = [cell for column, cell in zip(columns, row, strict=True) if column.shown]

    assert cells[6:] == [why, Text(text="–")]
    assert section.figures[0].note == f"no trend: {why}"
    assert not any(isinstance(cell, Missing) for cell in cells[:6])


def test_a_chart_shows_four_weeks_to_come_at_least() -> None:
    soon = capacity_section([resource([400 + 10 * i for i in range(10)])], first=day(9))
    (chart,) = soon.charts
    assert isinstance(chart, LinesChart) and len(chart.labels) == 10 + 28


def test_a_day_that_the_history_skips_is_a_gap_in_the_chart() -> None:
    skipping = resource([380 + 2 * i for i in range(28)])
    skipping = Resource(
        "storage", "Storage", "GB", Decimal(500), skipping.days[:4] + skipping.days[6:]
    )
    section = capacity_section([skipping], first=day(27))
    chart = section.charts[0]
    assert isinstance(chart, LinesChart)
    assert chart.lines[1].values[3:7] == (386, None, None, 392)


def test_what_was_not_measured_at_all_has_its_reason_in_the_figure_only() -> None:
    gone = resource([None, None], name="cpu")

    alone = capacity_section([gone], first=day(0))
    beside = capacity_section([gone, resource([400.0] * 10)], first=day(0))

    assert alone.figures[0].value == GAP
    assert (alone.tables, alone.notes) == ((), ())
    assert [row[0] for row in beside.tables[0].rows] == [Text(text="Storage")]
    assert [f.id for f in beside.figures] == ["capacity.cpu", "capacity.storage"]


def test_the_summary_names_what_runs_out_first() -> None:
    soon, later = resource([400 + i for i in range(10)]), resource([300 + i for i in range(10)])
    later = Resource("memory", "Memory", "GB", Decimal(500), later.days)
    summary = capacity_section([later, soon], first=day(9)).summary
    assert summary.startswith(f"Storage runs out first, on {day(9 + 500 - 409)}")
    assert capacity_section([resource([400.0] * 10)], first=day(9)).summary == (
        "Nothing is shown to run out within a year."
    )
    assert capacity_section([resource([1, 2])], first=day(1)).summary == (
        "No trend: every history is too short."
    )


def test_attention_is_for_what_is_reached_or_runs_out_soon() -> None:
    reached = resource([491 + i for i in range(10)], name="cpu")
    soon = resource([400 + i for i in range(10)])  # 91 more, one a day
    sooner = resource([401 + i for i in range(10)])  # 90
    assert capacity_attention([soon, resource([400.0] * 10), resource([1])]) == ()
    found = capacity_attention([reached, sooner])
    assert [a.severity for a in found] == ["alarm", "warning"]
    assert found[0].text == "Cpu: all of 500 GB is in use."
    assert str(day(9 + 90)) in found[1].text


def test_growth_that_is_not_shown_needs_nobody() -> None:
    levels = [480.0, 470, 490, 475, 485, 470, 491, 470, 490, 482]
    outlook = told(levels)
    assert outlook.slope.low < 0 < outlook.slope.estimate < outlook.slope.high
    assert outlook.exhaustion.day is not None and outlook.exhaustion.day < day(9 + 90)
    assert outlook.latest.words() == "no growth"
    assert capacity_attention([resource(levels)]) == ()


def test_the_trend_is_told_by_the_week_with_its_ends() -> None:
    levels = [100.0, 103, 104, 108, 109, 113, 113, 117, 119, 120]
    slopes = sorted((levels[j] - levels[i]) / (j - i) for i in range(10) for j in range(i + 1, 10))
    section = capacity_section([resource(levels, "200")], first=day(9))
    # The 23rd of 45 is the middle one; the 12th and the 34th are the ends, as above.
    weekly = [Decimal(f"{7 * slopes[k - 1]:.3g}") for k in (23, 12, 34)]
    table = section.tables[0]
    row = dict(zip([c.key for c in table.columns], table.rows[0], strict=True))
    assert [row[key] for key in ("trend_week", "trend_low", "trend_high")] == [
        Number(value=x, unit="GB") for x in weekly
    ]
    middle, low, high = (f"{7 * slopes[k - 1]:.2g}" for k in (23, 12, 34))
    assert row["trend"] == Text(text=f"+{middle} GB ({low} to {high})")
    outlook = told(levels, "200")
    dates = [outlook.exhaustion.day, outlook.earliest.day, outlook.latest.day]
    assert row["ends"] == Text(text="{} ({} to {})".format(*dates))
    assert section.figures[0].note == f"runs out {dates[0]}"


def test_a_falling_use_has_a_minus_and_no_date() -> None:
    levels = [120.0, 119, 117, 113, 113, 109, 108, 104, 103, 100]
    section = capacity_section([resource(levels)], first=day(9))
    table = section.tables[0]
    row = dict(zip([c.key for c in table.columns], table.rows[0], strict=True))

    assert str(row["trend"]).count("−") == 3 and "-" not in row["trend"].text  # type: ignore[union-attr]
    assert row["ends"] == Text(text="no growth")
    assert section.figures[0].note == "no growth"


def test_what_makes_no_resource_is_refused() -> None:
    with pytest.raises(ValueError, match="storage: allocated must be above 0 GB, is 0"):
        resource([1, 2], allocated="0")
    days = resource([1, 2]).days
    with pytest.raises(ValueError, match="in order"):
        Resource("x", "X", "", Decimal(1), days[::-1])
