"""Error budgets: windows, verdicts at the edge, what is left and how long it lasts."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from reporting.levels import Budget, Share, budget, composite, judge, window_of
from reporting.page import Verdict
from reporting.policy.indicators import (
    CalendarWindow,
    Objective,
    Occurrences,
    Query,
    RollingWindow,
    State,
)

MONTH = CalendarWindow(count=1, unit="month", start=date(2025, 1, 1))


def objective(window: CalendarWindow | RollingWindow, goal: str = "0.9") -> Objective:
    return Objective(
        id="x",
        slo="x",
        title="X",
        system="s",
        component="x",
        indicator=State(Query('up{job="x"}', 'up{job="x"}')),
        budgeting=Occurrences(),
        goal=Decimal(goal),
        strict=False,
        window=window,
        zone="UTC",
        no_data="flag",
    )


def share(low: str, high: str | None = None) -> Share:
    return Share(Fraction(low), Fraction(high or low))


@pytest.mark.parametrize(
    ("bounds", "strict", "verdict"),
    [
        (("0.9", "0.9"), False, Verdict.MET),
        (("0.9", "0.9"), True, Verdict.MISSED),
        (("0.91", "1"), True, Verdict.MET),
        (("0.9", "0.95"), True, Verdict.UNKNOWN),
        (("0.89", "0.9"), False, Verdict.UNKNOWN),
        (("0.89", "0.9"), True, Verdict.MISSED),
        (("0.5", "0.8999"), False, Verdict.MISSED),
    ],
)
def test_the_lower_bound_keeps_a_promise_and_the_upper_one_breaks_it(
    bounds: tuple[str, str], strict: bool, verdict: Verdict
) -> None:
    assert judge(share(*bounds), Decimal("0.9"), strict=strict) is verdict


def test_a_composite_is_the_weighted_mean_of_its_parts() -> None:
    found = composite([(Decimal(3), share("0.9")), (Decimal(1), share("0.5", "0.7"))])
    assert found == Share(Fraction(3 * 90 + 50, 400), Fraction(3 * 90 + 70, 400))


@pytest.mark.parametrize(
    ("window", "day", "first", "last"),
    [
        (MONTH, "2025-11-20", "2025-11-01", "2025-11-30"),
        (MONTH, "2024-02-29", "2024-02-01", "2024-02-29"),
        (CalendarWindow(1, "month", date(2020, 1, 21)), "2025-11-20", "2025-10-21", "2025-11-20"),
        (CalendarWindow(1, "month", date(2020, 1, 21)), "2025-11-21", "2025-11-21", "2025-12-20"),
        (CalendarWindow(1, "month", date(2020, 1, 31)), "2025-02-28", "2025-02-28", "2025-03-30"),
        (CalendarWindow(1, "quarter", date(2025, 1, 1)), "2025-11-20", "2025-10-01", "2025-12-31"),
        (CalendarWindow(2, "month", date(2025, 1, 1)), "2025-04-30", "2025-03-01", "2025-04-30"),
        (CalendarWindow(1, "year", date(2000, 1, 1)), "2025-11-20", "2025-01-01", "2025-12-31"),
        (CalendarWindow(1, "week", date(2025, 1, 6)), "2025-11-20", "2025-11-17", "2025-11-23"),
        (CalendarWindow(1, "week", date(2025, 1, 6)), "2024-12-31", "2024-12-30", "2025-01-05"),
        (CalendarWindow(1, "day", date(2025, 1, 1)), "2025-11-20", "2025-11-20", "2025-11-20"),
        (RollingWindow(28), "2025-11-20", "2025-10-24", "2025-11-20"),
    ],
)
def test_every_day_has_its_window(
    window: CalendarWindow | RollingWindow, day: str, first: str, last: str
) -> None:
    found = window_of(window, date.fromisoformat(day))
    assert found == (date.fromisoformat(first), date.fromisoformat(last))


def test_a_months_windows_tile_the_calendar() -> None:
    window = CalendarWindow(1, "month", date(2020, 1, 31))
    day = date(2023, 12, 31)
    for _ in range(40):
        first, last = window_of(window, day)
        assert first <= day <= last
        assert window_of(window, last) == (first, last)
        day = last.fromordinal(last.toordinal() + 1)
        assert window_of(window, day)[0] == day


def a_budget(window: str, period: str, **given: object) -> Budget:
    of = objective(given.get("window", MONTH))  # type: ignore[arg-type]
    return budget(of, share(window), share(period), 10, date(2025, 11, 10))


def test_ten_of_thirty_days_with_five_percent_bad_spend_a_sixth_of_a_ten_percent_budget() -> None:
    found = a_budget("0.95", "0.95")
    assert found.left_low == found.left_high == 1 - Fraction(5, 100) * Fraction(10, 30) * 10
    assert found.burn_low == found.burn_high == Fraction(1, 2)
    assert (found.first, found.last, found.elapsed) == (
        date(2025, 11, 1),
        date(2025, 11, 30),
        10,
    )
    assert found.exhausted is None  # at half speed it lasts the month


def test_a_budget_ends_when_the_burn_rate_has_eaten_what_is_left() -> None:
    # A third of the budget is spent after a third of the month; now it burns four times as fast:
    # two thirds of 30 days, a quarter of that is five days.
    found = a_budget("0.9", "0.6")
    assert found.burn_high == 4
    assert found.exhausted == date(2025, 11, 15)


def test_a_spent_budget_was_exhausted_by_now() -> None:
    found = a_budget("0.5", "1")
    assert found.left_high == 1 - Fraction(5, 10) * Fraction(1, 3) * 10
    assert found.is_spent
    assert found.exhausted == date(2025, 11, 10)


def test_the_unfavourable_bounds_tell_when_it_ends() -> None:
    of = objective(MONTH)
    found = budget(of, share("0.9", "1"), share("0.6", "1"), 10, date(2025, 11, 10))
    assert (found.left_low, found.left_high) == (Fraction(2, 3), 1)
    assert (found.burn_low, found.burn_high) == (0, 4)
    assert found.exhausted == date(2025, 11, 15)


def test_a_rolling_window_that_burns_no_faster_than_it_forgets_never_ends() -> None:
    of = objective(RollingWindow(10))
    slow = budget(of, share("0.95"), share("0.9"), 10, date(2025, 11, 10))
    assert slow.exhausted is None
    fast = budget(of, share("0.95"), share("0.8"), 10, date(2025, 11, 10))
    # Half of ten days' budget is left; at twice the speed it lasts two and a half days.
    assert fast.exhausted == date(2025, 11, 13)


def test_days_that_are_not_sealed_spend_nothing_and_are_counted() -> None:
    of = objective(RollingWindow(20))
    found = budget(of, share("0.9"), share("0.9"), 10, date(2025, 11, 10))
    assert (found.covered, found.elapsed) == (10, 20)
    assert found.left_low == 1 - Fraction(1, 10) * Fraction(10, 20) * 10
