"""Regression and anomalies: tests by hand, from the literature, by scipy and by simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import combinations
from statistics import median
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reporting.analysis.shift import (
    Comparison,
    Contrast,
    Watched,
    anomalies,
    benjamini_hochberg,
    compare,
    modified_z,
    rank_sum,
    regression_attention,
    regression_section,
    single_day,
)
from reporting.model import Count, Missing, Number, Text, Why

from .days import day, points

#: Hollander and Wolfe (1999), table 4.1: permeability of the human chorioamnion.
TERM = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
EARLY = [1.15, 0.88, 0.90, 0.74, 1.21]

#: Four quiet weeks of latency around 5 ms: median 5, MAD 0.1.
QUIET = [4.9, 5.0, 5.1, 4.8, 5.2, 5.0, 5.1] * 4


def watched(
    trailing: Sequence[float | None],
    period: Sequence[float | None],
    kind: Literal["latency", "throughput"] = "latency",
    name: str = "tactical",
) -> Watched:
    """From Monday on, one value a day."""
    return Watched(
        id=name,
        title=name.capitalize(),
        kind=kind,
        unit="ms" if kind == "latency" else "/s",
        trailing=points(trailing),
        period=points(period, start=len(trailing)),
    )


def one(series: Watched) -> tuple[Comparison, Contrast]:
    (found,) = compare([series])
    assert isinstance(found.test, Contrast)
    return found, found.test


# ---- the modified z-score -----------------------------------------------------------------------


def test_the_score_is_iglewicz_and_hoaglins() -> None:
    # Median 3; deviations 2 1 0 1 2, their median 1.
    assert modified_z(10, [1, 2, 3, 4, 5]) == pytest.approx(0.6745 * (10 - 3) / 1)
    assert modified_z(1, [1, 2, 3, 4, 5]) == pytest.approx(0.6745 * (1 - 3) / 1)


def test_where_most_days_are_equal_the_mean_deviation_takes_its_place() -> None:
    # Median 3, MAD 0, mean deviation 4/5.
    assert modified_z(5, [3, 3, 3, 3, 7]) == pytest.approx((5 - 3) / (1.253314 * 4 / 5))


def test_days_that_are_all_alike_have_no_score() -> None:
    assert modified_z(5, [3, 3, 3]) is None


# ---- the rank-sum test --------------------------------------------------------------------------


def test_hollander_and_wolfes_example() -> None:
    result = rank_sum([(EARLY, TERM)])

    assert result.u == sum(y > x for x in EARLY for y in TERM) == 35
    assert result.exact
    # The book's one-sided P is .1272; R's wilcox.test has 0.2544 two-sided.
    assert result.p == pytest.approx(2 * 0.1272, abs=5e-5)
    assert result.shift == pytest.approx(0.305)


def test_exact_p_and_interval_are_those_of_all_arrangements() -> None:
    # All 3,003 ways to draw the five early ranks of fifteen, counted.
    u = [
        sum(y > x for x in early for y in set(range(15)) - set(early))
        for early in combinations(range(15), 5)
    ]
    p = 2 * sum(x >= 35 for x in u) / len(u)
    k = next(k for k in range(50) if sum(x <= k for x in u) / len(u) > 0.025)
    differences = sorted(y - x for x in EARLY for y in TERM)

    result = rank_sum([(EARLY, TERM)])

    assert result.p == pytest.approx(p, rel=1e-12)
    assert (result.low, result.high) == (differences[k - 1], differences[-k])


def test_two_strata_are_counted_within_each() -> None:
    weekdays, weekends = ([10, 11, 13], [12, 14]), ([1, 2, 4], [3, 5])
    # Within: 12 beats 10 and 11, 14 all three; 3 beats 1 and 2, 5 all three. 10 pairs of 12.
    u = [
        sum(b > a for a in set(range(5)) - set(now) for b in now)
        for now in combinations(range(5), 2)
    ]
    both = [x + y for x in u for y in u]

    result = rank_sum([weekdays, weekends])

    assert result.u == 10
    assert result.p == pytest.approx(2 * sum(x >= 10 for x in both) / len(both))
    within = [y - x for before, now in (weekdays, weekends) for x in before for y in now]
    assert result.shift == median(within)


VALUES = st.lists(st.integers(0, 10**6), min_size=2, max_size=14, unique=True)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_without_ties_u_and_p_are_scipys(before: list[int], now: list[int]) -> None:
    now = [y + 0.5 for y in now]  # type: ignore[misc]
    theirs = stats.mannwhitneyu(now, before, method="exact")
    result = rank_sum([(before, now)])
    assert result.exact and result.u == theirs.statistic
    assert result.p == pytest.approx(theirs.pvalue, rel=1e-9)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=3, max_size=20),
    st.lists(st.integers(0, 6), min_size=3, max_size=20),
)
def test_with_ties_u_and_p_are_scipys(before: list[int], now: list[int]) -> None:
    before, now = [*before, 3], [*now, 3]  # at least one tie
    theirs = stats.mannwhitneyu(now, before, method="asymptotic", use_continuity=True)
    result = rank_sum([(before, now)])
    assert not result.exact and result.u == theirs.statistic
    if math.isnan(theirs.pvalue):  # all values are equal
        assert result.p == 1
    else:
        assert result.p == pytest.approx(theirs.pvalue, rel=1e-9)


@settings(deadline=None)
@given(VALUES, VALUES, st.integers(-1000, 1000))
def test_moving_now_moves_the_shift_and_its_interval(
    before: list[int], now: list[int], by: int
) -> None:
    here, there = rank_sum([(before, now)]), rank_sum([(before, [y + by for y in now])])
    assert there.shift == here.shift + by
    if here.low is None or here.high is None:
        assert there.low is None and there.high is None
    else:
        assert (there.low, there.high) == (here.low + by, here.high + by)


def test_so_few_days_that_every_interval_would_be_too_sure_have_none() -> None:
    # One day against three: the outermost differences hold the shift in half of all cases.
    result = rank_sum([([1, 2, 3], [9])])
    assert (result.p, result.low, result.high) == (2 / 4, None, None)


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one value on either side"):
        rank_sum([([1, 2], [])])


@pytest.mark.parametrize("sizes", [((28, 7),), ((20, 5), (8, 2))])
def test_the_interval_holds_the_true_shift_as_often_as_it_says(
    sizes: tuple[tuple[int, int], ...],
) -> None:
    draw = np.random.default_rng(20251207)
    runs, held = 800, 0
    for _ in range(runs):
        strata = [
            (
                draw.normal(10 + 5 * i, 1, before).tolist(),
                draw.normal(10.7 + 5 * i, 1, now).tolist(),
            )
            for i, (before, now) in enumerate(sizes)
        ]
        result = rank_sum(strata)
        assert result.low is not None and result.high is not None
        held += result.low <= 0.7 <= result.high
    assert 0.92 <= held / runs <= 0.98  # four standard errors of 800 runs are 3.1 %


# ---- many at once -------------------------------------------------------------------------------


def test_benjamini_and_hochbergs_own_example() -> None:
    # Their table of 15 p (1995, 3.2): four are found at 5 %.
    ps = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240,
          0.4262, 0.5719, 0.6528, 0.7590, 1.0000]  # fmt: skip
    adjusted = benjamini_hochberg(ps)
    assert sum(p <= 0.05 for p in adjusted) == 4
    assert adjusted[0] == pytest.approx(0.0001 * 15 / 1)
    assert adjusted[3] == pytest.approx(0.0095 * 15 / 4)
    # The sixth is taken down to the eighth's: 0.0344 × 15 / 8 < 0.0278 × 15 / 6.
    assert adjusted[5] == pytest.approx(min(0.0298 * 15 / 7, 0.0344 * 15 / 8))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=30))
def test_adjusted_ps_are_scipys(ps: list[float]) -> None:
    theirs = stats.false_discovery_control(ps) if ps else []
    assert benjamini_hochberg(ps) == pytest.approx(list(theirs), rel=1e-12)


# ---- a single day -------------------------------------------------------------------------------


def test_a_single_days_shift_is_from_the_median_and_its_p_is_students() -> None:
    found, test = one(watched(QUIET, [9.0]))

    # Monday: the 20 weekdays, 4.9 5.0 5.1 4.8 5.2 four times over. Median 5.0; deviations
    # 0.1 0 0.1 0.2 0.2, MAD 0.1.
    assert (test.days_before, test.before, test.shift) == (20, 5.0, 4.0)
    score = 0.6745 * 4.0 / 0.1
    assert test.score == pytest.approx(score)
    wide = math.sqrt(1 + math.pi / 2 / 20) * 20 / 19.2
    assert test.p == pytest.approx(2 * stats.t.sf(score / wide, 0.37 * 19))
    margin = stats.t.ppf(0.975, 0.37 * 19) * wide * 0.1 / 0.6745
    assert (test.low, test.high) == pytest.approx((4 - margin, 4 + margin))
    assert found.words == "slower by 4 ms (+80.0 %)"


def test_a_weekend_is_compared_with_weekends() -> None:
    # Throughput halves at weekends: 100 and 50.
    week = [100, 101, 99, 100, 102, 50, 51]
    usual = watched(week * 4 + week[:5], [52], "throughput")  # a Saturday
    found, test = one(usual)
    assert (test.days_before, test.before) == (8, 50.5)
    assert found.outcome == "no change"
    # A weekday with a weekend's throughput is a regression.
    found, test = one(watched(week * 4, [52], "throughput"))
    assert (test.days_before, test.before) == (20, 100)
    assert found.outcome == "regression"
    assert found.words == "less by 48 /s (−48.0 %)"


def test_with_too_few_weekends_all_days_are_compared() -> None:
    week = [100, 101, 99, 100, 102, 50, 51]
    _, test = one(watched(week * 3 + week[:5], [52], "throughput"))
    assert test.days_before == 26  # six weekend days are too few


@pytest.mark.parametrize("n", [8, 20, 28])
def test_a_usual_day_is_called_unusual_no_oftener_than_it_says(n: int) -> None:
    draw = np.random.default_rng(20251207)
    runs, called, held = 2000, 0, 0
    for values in draw.normal(100, 3, (runs, n + 1)).tolist():
        test = single_day(values[n], values[:n])
        called += test.p <= 0.05
        assert test.low is not None and test.high is not None
        held += test.low <= 0 <= test.high
    # Cautious where days are few; four standard errors of 2000 runs are 1.9 %.
    assert 0.02 <= called / runs <= 0.06
    assert 0.94 <= held / runs <= 0.98


def test_trailing_days_that_are_all_alike_allow_what_ranks_allow() -> None:
    found, test = one(watched([5.0] * 28, [9.0]))
    assert test.score is None and test.low is None
    assert test.p == pytest.approx(1 / 21)
    assert [a.score for a in anomalies([found.watched])] == [None]
    _, same = one(watched([5.0] * 28, [5.0]))
    assert same.p == 1 and anomalies([watched([5.0] * 28, [5.0])]) == ()


# ---- several days -------------------------------------------------------------------------------


def test_a_week_that_is_slower_is_a_regression_with_its_effect() -> None:
    week = [x + 1.5 for x in QUIET[:7]]
    found, test = one(watched(QUIET, week))
    assert found.outcome == "regression"
    assert test.shift == pytest.approx(1.5)
    assert (test.days_before, test.days_now) == (28, 7)
    assert found.words == "slower by 1.5 ms (+30.0 %)"


def test_the_same_change_of_throughput_is_an_improvement() -> None:
    week = [x + 1.5 for x in QUIET[:7]]
    found, _ = one(watched(QUIET, week, "throughput"))
    assert found.outcome == "improvement" and found.words == "more by 1.5 /s (+30.0 %)"


def test_faster_is_no_regression() -> None:
    found, _ = one(watched(QUIET, [x - 1.5 for x in QUIET[:7]]))
    assert found.outcome == "improvement" and found.words == "faster by 1.5 ms (−30.0 %)"
    assert regression_attention([found.watched]) == ()


def test_weekends_in_both_do_not_hide_a_change_of_the_weekdays() -> None:
    # Weekdays 100 ± 1, weekends 50 ± 1: 8 less is within the mix's spread, not within a kind's.
    week = [100, 101, 99, 100.5, 99.5, 50, 51]
    trailing = [x + i / 100 for i, x in enumerate(week * 4)]
    now = [x - 8 for x in week]
    found, test = one(watched(trailing, now, "throughput"))
    assert found.outcome == "regression"
    within = [
        y - x
        for kind in (range(5), range(5, 7))
        for x in [v for i, v in enumerate(trailing) if i % 7 in kind]
        for y in [now[i] for i in kind]
    ]
    assert test.shift == pytest.approx(median(within))
    mixed = stats.mannwhitneyu(now, trailing).pvalue
    assert test.p < 0.0002 < 0.01 < mixed


def test_a_week_without_its_weekend_is_not_compared_with_weekends() -> None:
    week = [100, 101, 99, 100, 102, 50, 51]
    _, test = one(watched(week * 4, week[:5], "throughput"))
    assert test.days_before == 20


def test_a_certain_but_small_change_is_no_alarm() -> None:
    # 1 % in four weeks of almost no spread.
    trailing = [100 + i / 1000 for i in range(28)]
    now = [101 + i / 1000 for i in range(28)]
    found, test = one(watched(trailing, now))
    assert found.adjusted_p is not None and found.adjusted_p < 1e-9
    assert found.outcome == "no change"
    assert test.effect_pct == pytest.approx(1, abs=0.01)
    (strict,) = compare([found.watched], Decimal("0.5"))
    assert strict.outcome == "regression"


def test_a_large_change_in_noise_is_no_alarm() -> None:
    trailing = [5, 50, 500, 7, 70, 600, 9] * 4
    found, test = one(watched(trailing, [60, 5, 900]))
    assert found.outcome == "no change"
    assert test.effect_pct is not None and abs(test.effect_pct) > 5


def test_what_one_objective_shows_many_may_not() -> None:
    # A single day that is just significant alone is not among twenty quiet ones.
    odd = watched(QUIET, [5.45])
    found, test = one(odd)
    assert test.p < 0.05 and found.outcome == "regression"
    quiet = [watched(QUIET, [5.0], name=f"quiet{i}") for i in range(20)]
    first, *_ = compare([odd, *quiet])
    assert first.adjusted_p == pytest.approx(min(1, test.p * 21))
    assert first.outcome == "no change"


def test_gaps_are_left_out_and_not_zero() -> None:
    gappy: list[float | None] = list(QUIET)
    gappy[2] = gappy[9] = None
    found, test = one(watched(gappy, [None, 5.0, 5.1, None]))
    assert (test.days_before, test.days_now) == (18, 2)  # weekdays only
    assert found.outcome == "no change"


def test_too_short_a_history_and_no_day_at_all_are_missing() -> None:
    short, none = compare([watched(QUIET[:6], [5.0]), watched(QUIET, [None])])
    assert short.test == Missing(why=Why.TOO_SHORT, detail="6 trailing days, 7 are needed")
    assert none.test == Missing(why=Why.NO_DATA, detail="no day of the period was measured")
    assert short.outcome is none.outcome is None
    assert anomalies([short.watched, none.watched]) == ()


def test_where_nothing_was_before_any_change_matters() -> None:
    found, test = one(watched([0.0] * 27 + [0.001], [3.0] * 7))
    assert test.effect_pct is None and found.outcome == "regression"
    assert found.words == "slower by 3 ms"


def test_days_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="x: trailing days and period must be in order"):
        Watched("x", "X", "latency", "ms", points([1, 2]), points([3], start=1))


# ---- unusual days -------------------------------------------------------------------------------


def test_one_spike_in_a_usual_week_is_an_unusual_day_and_no_regression() -> None:
    week = [*QUIET[:7]]
    week[3] = 12.0
    series = watched(QUIET, week)
    found, _ = one(series)
    (odd,) = anomalies([series])
    assert found.outcome == "no change"
    assert (odd.day, odd.value, odd.median) == (day(28 + 3), Decimal("12.0"), 5.0)
    assert odd.score == pytest.approx(0.6745 * (12 - 5) / 0.1)
    (note,) = regression_attention([series])
    assert note.severity == "note"
    assert note.text == f"Tactical: unusual on {day(31)} slower by 7 ms (+140.0 %)."


# ---- section ------------------------------------------------------------------------------------


def test_the_section_has_every_objective_and_says_what_is_worse() -> None:
    worse = watched(QUIET, [x + 1.5 for x in QUIET[:7]], name="tactical")
    same = watched(QUIET, QUIET[:7], name="risk")
    short = watched(QUIET[:3], [5.0], name="strategic")

    section = regression_section([worse, same, short])

    assert section.summary.startswith(
        "Worse than before: Tactical (slower by 1.5 ms (+30.0 %)). 1 could not be compared."
    )
    figures = {f.id: f for f in section.figures}
    assert figures["regression.found"].value == Count(value=1, unit="of 2")
    assert figures["regression.tactical"].value == Number(value=Decimal("30.0"), unit="%")
    # What has not changed is in the table, what could not be compared in a sentence.
    assert list(figures) == ["regression.found", "regression.tactical"]
    assert section.notes[0] == (
        "Not compared (history too short: 3 trailing days, 7 are needed): Strategic."
    )
    assert [t.id for t in section.tables] == ["regression_latency", "anomalies_latency"]
    table = section.tables[0]
    assert [row[0] for row in table.rows] == [Text(text="Tactical"), Text(text="Risk")]
    assert {len(r) for r in table.rows} == {len(table.columns)}
    assert [c.key for c in table.columns if c.shown] == [
        "objective", "before", "now", "shift", "effect", "adjusted_p", "outcome",
    ]  # fmt: skip
    row = dict(zip([c.key for c in table.columns], table.rows[0], strict=True))
    assert row["before"] == Number(value=Decimal(5), unit="ms")
    assert row["now"] == Number(value=Decimal("6.5"), unit="ms")
    assert row["shift"] == Number(value=Decimal("1.5"), unit="ms")
    assert [r[6] for r in table.rows] == [Text(text="slower"), Text(text="no change")]
    assert [c.id for c in section.charts] == ["regression_tactical"]
    assert regression_attention([worse, same, short])[0].text == (
        "Tactical: slower by 1.5 ms (+30.0 %) than in the 28 days before."
    )


@pytest.mark.parametrize("by", [0.05, 100])
def test_p_is_never_told_as_smaller_than_it_is(by: float) -> None:
    trailing = [5 + i / 100 for i in range(28)]
    series = watched(trailing, [x + by for x in trailing[:14]])
    _, test = one(series)
    table = regression_section([series]).tables[0]
    row = dict(zip([c.key for c in table.columns], table.rows[0], strict=True))
    shown = row["p"]
    assert isinstance(shown, Number)
    assert 0 <= float(shown.value) - test.p < 0.0001
    assert shown.value >= Decimal("0.0001")


@pytest.mark.parametrize(
    ("level", "by", "shown"),
    [
        (7.259, 0.00149, "0.001"),  # four digits of 7.259 are three decimals
        (7.259, 0.00049, "0"),
        (1511, 2.6, "3"),
        (12_080, 42.4, "42"),
        (0.4335, 0.00056, "0.0006"),
    ],
)
def test_a_change_is_told_as_finely_as_the_medians(level: float, by: float, shown: str) -> None:
    series = watched([level] * 28, [level + by] * 7)
    row = regression_section([series]).tables[0].rows[0]

    assert row[3] == Number(value=Decimal(shown), unit="ms")


def test_latency_and_throughput_have_a_table_each() -> None:
    both = [watched(QUIET, [9.0]), watched(QUIET, [1.0], "throughput", "ingest")]
    section = regression_section(both)
    assert [t.id for t in section.tables] == [
        "regression_latency", "anomalies_latency", "regression_throughput", "anomalies_throughput",
    ]  # fmt: skip
    assert [len(t.rows) for t in section.tables] == [1, 1, 1, 1]


def test_the_chart_keeps_gaps_and_marks_the_period() -> None:
    gappy: list[float | None] = list(QUIET)
    gappy[4] = None
    series = watched(gappy, [x + 1.5 for x in QUIET[:7]])
    (chart,) = regression_section([series]).charts
    assert chart.kind == "lines"
    assert chart.lines[0].values[4] is None
    assert chart.marked == tuple(range(28, 35))
    assert set(chart.lines[1].values) == {Decimal(5)}


def test_nothing_to_watch_is_said() -> None:
    assert regression_section([]).summary == "No latency or throughput is watched."
    only_short = regression_section([watched(QUIET[:3], [5.0])])
    assert only_short.summary == (
        "Nothing could be compared with the days before "
        "(history too short: 3 trailing days, 7 are needed)."
    )
    assert [f.id for f in only_short.figures] == ["regression.found"]
    detail = "nothing could be compared"
    assert only_short.figures[0].value == Missing(why=Why.TOO_SHORT, detail=detail)
    unseen = regression_section([watched(QUIET, [None])])
    assert unseen.figures[0].value == Missing(why=Why.NO_DATA, detail=detail)
    assert (only_short.tables, only_short.notes) == ((), ())


def test_each_reason_is_said_once_with_all_that_it_is_of() -> None:
    series = [
        watched(QUIET[:3], [5.0], name="risk"),
        watched(QUIET[:3], [5.0], name="tactical"),
        watched(QUIET, [None], name="strategic"),
        watched(QUIET, [5.0], name="orders"),
    ]

    notes = regression_section(series).notes

    assert notes[:2] == (
        "Not compared (history too short: 3 trailing days, 7 are needed): Risk, Tactical.",
        "Not compared (no data: no day of the period was measured): Strategic.",
    )
    none = regression_section(series[:3])
    assert none.summary == "Nothing could be compared with the days before."
    assert none.notes == notes[:2]


@pytest.mark.parametrize(("days", "method"), [(1, "modified z-score"), (7, "rank-sum test")])
def test_the_method_is_a_note(days: int, method: str) -> None:
    section = regression_section([watched(QUIET, QUIET[:days])])

    (own,) = [note for note in section.notes if "weekdays" in note]
    other = {"modified z-score", "rank-sum test"} - {method}
    assert method in own and not any(name in own for name in other)
