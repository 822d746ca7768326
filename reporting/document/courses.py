"""How things went from day to day: the result, the error budgets, the latencies.

Charts only. Each is drawn from the sealed facts that the figures beside it rest on, so that a line
ends where the figure stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction

from ..analysis import significant
from ..analysis.performance import cumulative, drawdown
from ..levels import Budget, Share, budget, window_of
from ..measures.service_levels import quantile_estimate
from ..model import EXACT, Missing, exact_sum, plain
from ..numerals import numeral
from ..page import Line, LinesChart, Point, Section
from ..periods import days_between
from ..policy.indicators import Counts, Objective, latency_bound_ms, latency_scale
from .analyses import Levels
from .objectives import Ledger, Standing

#: Lines that one chart can carry and still be told apart, in grey too.
MOST_LINES = 3
HUNDRED = Decimal(100)


def with_charts(section: Section, *charts: LinesChart | None) -> Section:
    """The section with those charts that there are, before its own."""
    drawn = tuple(chart for chart in charts if chart is not None)
    return section.model_copy(update={"charts": (*drawn, *section.charts)})


# --- the result --------------------------------------------------------------------------------


def with_course(section: Section, net: Sequence[Point], base: str) -> Section:
    """The P&L section with the whole book's course behind its other charts' first."""
    chart = course_chart(net, base, id="pnl_course")
    if chart is None:
        return section
    charts = [*section.charts]
    charts.insert(1, chart)
    return section.model_copy(update={"charts": tuple(charts)})


def course_chart(net: Sequence[Point], base: str, *, id: str) -> LinesChart | None:
    """Cumulative net P&L, and below it how far it stood under its highest point so far.

    ``net`` has each session's net P&L in ``base``, in order; a session without one is a gap. None
    for less than two known sessions: a point has no course.
    """
    known = [(p.day, p.value) for p in net if not isinstance(p.value, Missing)]
    if len(known) < 2:
        return None
    sums = cumulative([value for _, value in known])
    course = dict(zip((day for day, _ in known), sums, strict=True))
    days = [p.day for p in net]
    highs = dict(zip(course, _highs(sums), strict=True))
    fall = drawdown(known)
    first, last = days[0], days[-1]
    deepest = (
        f"deepest drawdown {_whole(fall.amount, base)}, on {fall.trough}"
        if fall.trough
        else "never below its high point"
    )
    number = f"{len(known)} session{'' if len(known) == 1 else 's'}"
    return LinesChart(
        id=id,
        title=f"Cumulative net P&L and drawdown, {len(days)} sessions",
        alt=(
            f"{number} from {first} to {last}; cumulative net P&L {_whole(sums[-1], base)} at the "
            f"end, between {_whole(min(sums), base)} and {_whole(max(sums), base)}; {deepest}."
        ),
        unit=base,
        labels=tuple(day.isoformat() for day in days),
        lines=(Line(label="Cumulative net P&L", values=tuple(course.get(day) for day in days)),),
        below=Line(
            label="Below its highest point",
            values=tuple(
                EXACT.subtract(course[day], highs[day]) if day in course else None for day in days
            ),
        ),
        marked=(days.index(fall.trough),) if fall.trough else (),
        marked_label="deepest drawdown",
    )


def _highs(sums: Sequence[Decimal]) -> list[Decimal]:
    """The highest of all so far; the course begins at 0."""
    found, high = [], Decimal(0)
    for total in sums:
        high = max(high, total)
        found.append(high)
    return found


def _whole(amount: Decimal, currency: str) -> str:
    return f"{numeral(amount, ',.0f')} {currency}".replace("-", "−")


# --- error budgets -----------------------------------------------------------------------------


def budget_chart(found: Sequence[Standing], ledger: Ledger) -> LinesChart | None:
    """What was left of the error budgets that are furthest spent, day by day of their windows.

    By the unfavourable bounds: what is not known counts as spent. Budgets of which nothing is
    spent are not drawn, and neither are composites, which have no facts of their own. None where
    none is left to draw.
    """
    spent = [
        (s, s.budget)
        for s in found
        if isinstance(s.budget, Budget) and s.budget.left_low < 1 and not _is_composite(s, ledger)
    ]
    if not spent:
        return None
    worst = sorted(spent, key=lambda pair: (pair[1].left_low, pair[0].id))[:MOST_LINES]
    last = ledger.span.last
    days = list(days_between(min(b.first for _, b in worst), last))
    lines = tuple(
        Line(label=s.objective.title, values=_left(s.objective, days, ledger)) for s, _ in worst
    )
    if len(days) < 2 or not any(v is not None for line in lines for v in line.values):
        return None
    ends = "; ".join(f"{s.objective.title} {numeral(_percent(b.left_low))} %" for s, b in worst)
    return LinesChart(
        id="budget_burndown",
        title="Error budgets that are furthest spent, by day of their window",
        alt=(
            f"Of {len(spent)} budgets that were touched the {len(worst)} with least left on "
            f"{last}: {ends}. Unfavourable bounds; 0 is spent."
        ),
        unit="% left",
        labels=tuple(day.isoformat() for day in days),
        lines=lines,
        floor=-HUNDRED,
    )


def _is_composite(standing: Standing, ledger: Ledger) -> bool:
    return all(standing.objective.id != o.id for o in ledger.policy.objectives)


def _left(objective: Objective, days: Sequence[date], ledger: Ledger) -> tuple[Decimal | None, ...]:
    """Per cent left at the end of each day, counted from the first day of today's window."""
    first, _ = window_of(objective.window, days[-1])
    left = {
        day: _percent(budget(objective, share, share, covered, day).left_low)
        for day, share, covered in ledger.course(objective, first)
        if isinstance(share, Share)
    }
    return tuple(left.get(day) for day in days)


def _percent(share: Fraction) -> Decimal:
    """Rounded down: what is left is never flattered."""
    return Decimal((share * 10_000).__floor__()).scaleb(-2)


# --- latency -----------------------------------------------------------------------------------


def latency_chart(
    objectives: Sequence[Objective], levels: Levels, first: date
) -> LinesChart | None:
    """The latencies nearest to their targets, or furthest over, as a share of them.

    Of each day from ``first`` on: the percentile that the goal asks for, over the bound that it
    has to keep; 100 % is the target. One scale for all, since their bounds differ. None where no
    objective promises a latency, or only one day is known.
    """
    drawn = []
    for o in objectives:
        bound = latency_bound_ms(o.indicator) if isinstance(o.indicator, Counts) else None
        if o.goal is None or bound is None:
            continue
        values = [_of_target(o, level, bound) for _, level in levels.of(o.id, first)]
        known = [v for v in values if v is not None]
        if len(known) > 1:
            drawn.append((max(known), o, bound, tuple(values)))
    if not drawn:
        return None
    nearest = sorted(drawn, key=lambda one: (-one[0], one[1].id))[:MOST_LINES]
    # The days before any of them was measured are no gap: nothing had been promised yet.
    begun = min(next(i for i, v in enumerate(values) if v is not None) for *_, values in nearest)
    nearest = [(high, o, bound, values[begun:]) for high, o, bound, values in nearest]
    days = [day for day, _ in levels.of(nearest[0][1].id, first)][begun:]
    named = [
        f"{o.title} (p{numeral(plain((o.goal or 0) * HUNDRED))} within {numeral(plain(bound))} ms)"
        for _, o, bound, _ in nearest
    ]
    highest = "; ".join(
        f"{name} at most {numeral(plain(high))} %"
        for name, (high, *_) in zip(named, nearest, strict=True)
    )
    return LinesChart(
        id="latency_target",
        title="Latency against target",
        alt=(
            f"{len(days)} days from {days[0]} to {days[-1]}, the {len(nearest)} of {len(drawn)} "
            f"latencies nearest to their target or over it: {highest}. 100 % is the target."
        ),
        unit="% of target",
        labels=tuple(day.isoformat() for day in days),
        lines=(
            *(Line(label=o.title, values=values) for _, o, _, values in nearest),
            Line(label="target", values=(HUNDRED,) * len(days)),
        ),
    )


def _of_target(objective: Objective, level: object, bound: Decimal) -> Decimal | None:
    histogram = getattr(level, "histogram", None)
    if histogram is None or not exact_sum(histogram.counts):
        return None
    assert objective.goal is not None and isinstance(objective.indicator, Counts)
    found = quantile_estimate(histogram, objective.goal)
    if isinstance(found, Missing):
        return None
    share = Fraction(found) * latency_scale(objective.indicator) / Fraction(bound)
    return significant(float(share * 100), 4)
