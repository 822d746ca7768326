"""Charts of how things went: the result, error budgets, latencies; worked out by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal as D

from reporting.document.analyses import Levels
from reporting.document.courses import budget_chart, course_chart, latency_chart
from reporting.document.objectives import Ledger, standings
from reporting.model import Missing, Why
from reporting.page import LinesChart, Point
from reporting.periods import Span, day_span
from reporting.policy.indicators import Objective, RollingWindow

from .days import (
    GOOD,
    LATENCY,
    absent,
    counted,
    day,
    facts_of,
    histogram,
    level,
    levels,
    objective,
    policy,
    sealed,
    state,
    target,
    uptime,
)

GONE = Missing(why=Why.NOT_SEALED)


# --- the result --------------------------------------------------------------------------------


def course(*net: str | None) -> LinesChart | None:
    points = [
        Point(day=day(n), value=GONE if value is None else D(value)) for n, value in enumerate(net)
    ]
    return course_chart(points, "USD", id="pnl_course")


def test_a_drawdown_hangs_under_the_highest_point_so_far() -> None:
    found = course("-2", "5", "4", "-3", None, "-1")
    assert found is not None and found.below is not None
    assert found.lines[0].values == (D(-2), D(3), D(7), D(4), None, D(3))
    # The course begins at 0, which is its first high point.
    assert found.below.values == (D(-2), D(0), D(0), D(-3), None, D(-4))
    assert found.marked == (5,)
    assert found.alt.endswith("deepest drawdown 4 USD, on 2026-03-07.")


def test_a_point_has_no_course() -> None:
    assert course("5") is None
    assert course("5", None) is None
    never = course("5", "6")
    assert never is not None and never.alt.endswith("never below its high point.")


# --- error budgets -----------------------------------------------------------------------------


def burned(days: list[object], *objectives: Objective, span: Span | None = None) -> LinesChart:
    facts, over = facts_of(days), span or day_span(days[-1].sealed.day)  # type: ignore[arg-type,attr-defined]
    made = policy(*objectives)
    found = standings(made, facts, over, {})
    chart = budget_chart(found, Ledger(made, facts, over))
    assert chart is not None
    # A line ends where the table's figure stands, rounded down.
    for line in chart.lines:
        (of,) = [s for s in found if s.objective.title == line.label]
        assert line.values[-1] == D((of.budget.left_low * 10_000).__floor__()).scaleb(-2)  # type: ignore[union-attr]
    return chart


def test_a_budget_burns_down_from_the_first_day_of_its_window() -> None:
    week = RollingWindow(10)
    bad = (0, 100, 0)  # of 1,000 events a day
    days = [
        sealed(day(n), {"service_levels": levels(day(n), counted("x", day(n), 1000 - b, 1000))})
        for n, b in enumerate(bad)
    ]
    chart = burned(days, objective("x", GOOD, "0.9", window=week))
    # A tenth of ten days' 10,000 events may be bad: 1,000, of which the second day took 100.
    shown = dict(zip(chart.labels, chart.lines[0].values, strict=True))
    assert [shown[day(n).isoformat()] for n in range(3)] == [D(100), D(90), D(90)]
    # The window began seven days before the first that is sealed.
    assert len(chart.labels) == 10
    assert chart.lines[0].values[:7] == (None,) * 7


def test_only_the_furthest_spent_are_drawn_and_untouched_ones_never() -> None:
    names = ("a", "b", "c", "d", "e")
    days = [
        sealed(
            day(n),
            {
                "service_levels": levels(
                    day(n), *(counted(x, day(n), 1000 - 10 * i, 1000) for i, x in enumerate(names))
                )
            },
        )
        for n in range(2)
    ]
    chart = burned(days, *(objective(x, GOOD, "0.9") for x in names))
    assert [line.label for line in chart.lines] == ["E", "D", "C"]
    assert chart.alt.startswith("Of 4 budgets that were touched the 3 with least left")


def test_unknown_time_counts_as_spent() -> None:
    days = [
        sealed(day(n), {"uptime": uptime(day(n), target("web", lost=8_640_000))}) for n in (0, 1)
    ]
    chart = burned(days, objective("web", state(), "0.5", window=RollingWindow(2)))
    # A tenth of each day is not known; half of all time may be down: a tenth of the budget a day.
    assert chart.lines[0].values == (D(90), D(80))


# --- latency -----------------------------------------------------------------------------------


def latencies(*counts: dict[str, int] | None) -> LinesChart | None:
    days = [
        sealed(
            day(n),
            {
                "service_levels": levels(
                    day(n),
                    absent("slow", day(n), GONE)
                    if c is None
                    else level("slow", day(n), "counts", histogram=histogram(c)),
                )
            },
        )
        for n, c in enumerate(counts)
    ]
    of = (objective("slow", LATENCY, "0.5"), objective("other", GOOD))
    return latency_chart(of, Levels(facts_of(days)), date(2026, 1, 1))


def test_a_latency_is_told_as_a_share_of_its_target() -> None:
    # Within 8 ms: half of 100 lie at 4 ms of a bucket that ends at 8 ms, or twice as high.
    low, high = {"0.008": 100, "+Inf": 0}, {"0.008": 0, "0.016": 100, "+Inf": 0}
    found = latencies(None, low, None, high)
    assert found is not None
    # What was before the first measured day is no gap.
    assert found.labels[0] == day(1).isoformat()
    assert found.lines[0].values == (D("50.00"), None, D("150.0"))
    assert found.lines[1].values == (D(100),) * 3
    assert "Slow (p50 within 8 ms) at most 150" in found.alt


def test_without_two_days_there_is_no_chart() -> None:
    assert latencies({"0.008": 100, "+Inf": 0}) is None
    assert latencies(None, None) is None
