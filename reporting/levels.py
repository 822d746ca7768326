"""What was promised, what was measured, and what it means for the error budget.

Everything here is a share of good as two bounds, an objective and dates; where the share comes from
(time, events, slices) is the measures' business. Reference: Beyer et al., "The Site Reliability
Workbook" (2018), chapter 2 (error budget) and chapter 5 (burn rate: the speed of consumption, 1
being the speed that spends the whole budget in exactly its window).
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from .page import Verdict
from .policy.indicators import CalendarWindow, Objective, RollingWindow

MONTHS = {"month": 1, "quarter": 3, "year": 12}
#: Beyond this an exhaustion date says nothing.
HORIZON_DAYS = 3_650


@dataclass(frozen=True)
class Share:
    """The share of good, known to lie between two bounds in [0, 1]."""

    low: Fraction
    high: Fraction


def judge(share: Share, goal: Decimal, *, strict: bool) -> Verdict:
    """Met where the lower bound keeps the goal, missed where the upper one does not."""
    needed = Fraction(goal)
    if share.low > needed or (share.low == needed and not strict):
        return Verdict.MET
    if share.high < needed or (share.high == needed and strict):
        return Verdict.MISSED
    return Verdict.UNKNOWN


def composite(parts: list[tuple[Decimal, Share]]) -> Share:
    """The weighted mean of several shares; at least one weight is above 0."""
    total = sum((Fraction(weight) for weight, _ in parts), Fraction(0))
    low = sum((Fraction(weight) * share.low for weight, share in parts), Fraction(0))
    high = sum((Fraction(weight) * share.high for weight, share in parts), Fraction(0))
    return Share(low / total, high / total)


def window_of(window: CalendarWindow | RollingWindow, day: date) -> tuple[date, date]:
    """First and last day of the objective's window that ``day`` lies in or, rolling, ends."""
    if isinstance(window, RollingWindow):
        return day - timedelta(window.days - 1), day
    if window.unit in ("day", "week"):
        length = window.count * (7 if window.unit == "week" else 1)
        first = day - timedelta((day - window.start).days % length)
        return first, first + timedelta(length - 1)
    step = window.count * MONTHS[window.unit]
    months = (day.year - window.start.year) * 12 + day.month - window.start.month
    if day < _months_after(window.start, months):
        months -= 1
    begun = months - months % step
    after = _months_after(window.start, begun + step)
    return _months_after(window.start, begun), after - timedelta(1)


def _months_after(start: date, months: int) -> date:
    """``start`` some months later; a day that the month lacks becomes its last one."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))


@dataclass(frozen=True)
class Budget:
    """How much of what may go wrong in a window has gone wrong.

    ``first`` and ``last`` are the window's days, of which ``covered`` have sealed facts and
    ``elapsed`` had passed. ``left`` is what is left of the budget (1: untouched, below 0:
    overspent) and ``burn`` the burn rate over the report's period, both as two bounds.
    ``exhausted`` is the first day on which the budget is gone at that rate, by the unfavourable
    bounds; None if it lasts the window (or, rolling, as good as for ever).
    """

    first: date
    last: date
    elapsed: int
    covered: int
    left_low: Fraction
    left_high: Fraction
    burn_low: Fraction
    burn_high: Fraction
    exhausted: date | None

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left, even by the favourable bound."""
        return self.left_high <= 0


def budget(
    objective: Objective, window_share: Share, period_share: Share, covered: int, day: date
) -> Budget:
    """The error budget of an objective with a goal, as of the end of ``day``.

    ``window_share`` is the share of good over the ``covered`` sealed days of the window,
    ``period_share`` that of the report's period. What is still to come is taken to have as much
    traffic a day as what was seen.
    """
    assert objective.goal is not None
    allowed = 1 - Fraction(objective.goal)
    first, last = window_of(objective.window, day)
    days = (last - first).days + 1
    spent = Fraction(covered, days) / allowed
    left_low = 1 - (1 - window_share.low) * spent
    left_high = 1 - (1 - window_share.high) * spent
    burn_low, burn_high = ((1 - x) / allowed for x in (period_share.high, period_share.low))
    return Budget(
        first=first,
        last=last,
        elapsed=(day - first).days + 1,
        covered=covered,
        left_low=left_low,
        left_high=left_high,
        burn_low=burn_low,
        burn_high=burn_high,
        exhausted=_exhausted(objective, left_low, burn_high, days, day, last),
    )


def _exhausted(
    objective: Objective, left: Fraction, burn: Fraction, days: int, day: date, last: date
) -> date | None:
    if left <= 0:
        return day
    if burn <= 0:
        return None
    lasts = left * days / burn
    if isinstance(objective.window, RollingWindow):
        # A rolling window regains what it loses sight of: at a burn rate below 1 it never ends.
        if burn <= 1 or lasts > HORIZON_DAYS:
            return None
        return day + timedelta(-(-lasts.numerator // lasts.denominator))
    if lasts > (last - day).days:
        return None
    return day + timedelta(-(-lasts.numerator // lasts.denominator))
