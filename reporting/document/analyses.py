"""What several days say together: capacity, regressions and anomalies, improvement.

Daily values are taken from sealed facts here; the statistics over them are pure functions of
:mod:`reporting.analysis`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ..analysis import significant
from ..analysis.change import Day, Kpi
from ..analysis.shift import Watched
from ..analysis.trend import Resource, Use
from ..measures.alerts import responses
from ..measures.incidents import handling
from ..measures.service_levels import Level, mean_rate_per_s, quantile_estimate, values_stats
from ..measures.slippage import SlippageFact, bps
from ..model import EXACT, Missing, Ratio, Why
from ..page import Point
from ..periods import Span
from ..policy.indicators import Counts, Objective
from ..policy.operations import Improvement
from .history import Facts

#: What a period is compared with: four weeks, so that every weekday counts alike.
TRAILING_DAYS = 28
#: How far back a trend of use is drawn from.
CAPACITY_DAYS = 90
NO_BASELINE = Missing(
    why=Why.NOT_MEASURED, detail="no baseline period is configured in the operations file"
)


class Levels:
    """The daily levels of every objective, by id, over all days that a report rests on."""

    def __init__(self, facts: Facts) -> None:
        self.days: list[tuple[date, dict[str, Level] | Missing]] = [
            (day, fact if isinstance(fact, Missing) else {x.id: x for x in fact.levels})
            for day, fact in facts.since("service_levels", date.min)
        ]

    def of(self, objective: str, first: date) -> list[tuple[date, Level | Missing]]:
        """(day, level or Missing) of one objective from ``first`` on."""
        found: list[tuple[date, Level | Missing]] = []
        for day, levels in self.days:
            if day < first:
                continue
            if isinstance(levels, Missing):
                found.append((day, levels))
                continue
            level = levels.get(objective)
            if level is None:
                gone = Missing(why=Why.NOT_MEASURED, detail="no objective on this day")
                found.append((day, gone))
            else:
                found.append((day, level if level.missing is None else level.missing))
        return found


def resources(objectives: Sequence[Objective], levels: Levels, span: Span) -> list[Resource]:
    """The resources that have an allocation, with their use of each day."""
    first = span.last - timedelta(CAPACITY_DAYS - 1)
    return [
        Resource(
            id=o.id.removeprefix("capacity_"),
            title=o.title,
            unit=o.unit,
            allocated=o.allocated,
            days=tuple((day, _use(level)) for day, level in levels.of(o.id, first)),
        )
        for o in objectives
        if o.allocated is not None
    ]


def _use(level: Level | Missing) -> Use | Missing:
    stats = level if isinstance(level, Missing) else values_stats(level)
    if isinstance(stats, Missing):
        return stats
    return Use(mean=significant(stats.mean), p95=significant(stats.p95), highest=stats.highest)


def watched(objectives: Sequence[Objective], levels: Levels, span: Span) -> list[Watched]:
    """The objectives whose latency or throughput is compared with the four weeks before."""
    found = []
    for o in objectives:
        if not o.watch:
            continue
        days = levels.of(o.id, span.first - timedelta(TRAILING_DAYS))
        points = [Point(day=day, value=_watched(o, level)) for day, level in days]
        found.append(
            Watched(
                id=o.id,
                title=o.title,
                kind=o.watch,
                unit="ms" if o.watch == "latency" and isinstance(o.indicator, Counts) else o.unit,
                trailing=tuple(p for p in points if p.day < span.first),
                period=tuple(p for p in points if p.day >= span.first),
            )
        )
    return found


def _watched(objective: Objective, level: Level | Missing) -> Decimal | Missing:
    """The day's 95th percentile in ms, or its events per second."""
    if isinstance(level, Missing):
        return level
    if objective.watch == "throughput":
        rate = mean_rate_per_s(level)
        return rate if isinstance(rate, Missing) else significant(rate, 6)
    if isinstance(objective.indicator, Counts):
        if level.histogram is None:
            return Missing(why=Why.NOT_MEASURED, detail="no histogram")
        # A point, for comparing days only: bounds would hide what is smaller than a bucket.
        estimate = quantile_estimate(level.histogram, Fraction(95, 100))
        return estimate if isinstance(estimate, Missing) else significant(estimate * 1000, 6)
    stats = values_stats(level)
    return stats if isinstance(stats, Missing) else significant(stats.p95, 6)


# -- improvement ---------------------------------------------------------------------------------


def kpis(
    improvements: Sequence[Improvement],
    objectives: Sequence[Objective],
    facts: Facts,
    levels: Levels,
    span: Span,
) -> list[Kpi]:
    """Each improvement goal with the daily values of its baseline and of the period."""
    daily = _Daily(objectives, facts, levels)
    found = []
    for goal in improvements:
        if goal.reason:
            gone = Missing(why=Why.NOT_MEASURED, detail=goal.reason)
            found.append(Kpi(goal.id, goal.goal_pct, gone, gone))
            continue
        baseline: tuple[Day, ...] | Missing = NO_BASELINE
        if goal.baseline is not None:
            baseline = daily.between(goal, goal.baseline.first, goal.baseline.last)
        now = daily.between(goal, span.first, span.last)
        how = f"1 / {goal.figure}" if goal.inverse else goal.figure
        found.append(Kpi(goal.id, goal.goal_pct, baseline, now, measured_by=how))
    return found


class _Daily:
    """A figure's numerator and denominator of each day, by the figure's id."""

    def __init__(self, objectives: Sequence[Objective], facts: Facts, levels: Levels) -> None:
        self.facts, self.levels = facts, levels
        # By the figure's id, or as the operator calls the target that it answers.
        self.capacity = {
            name: o
            for o in objectives
            if o.allocated is not None
            for name in (f"capacity.{o.id.removeprefix('capacity_')}", *o.answers)
        }

    def between(self, goal: Improvement, first: date, last: date) -> tuple[Day, ...] | Missing:
        """The days from ``first`` to ``last``; Missing where none of them was sealed."""
        reader = self._reader(goal.figure)
        if reader is None:
            return Missing(why=Why.NOT_MEASURED, detail=f"{goal.figure} has no daily values")
        days = [(day, value) for day, value in reader(first) if day <= last]
        if not days:
            detail = f"no day from {first} to {last} is sealed"
            return Missing(why=Why.NOT_SEALED, detail=detail)
        return tuple((day, _turned(value) if goal.inverse else value) for day, value in days)

    def _reader(self, figure: str) -> Callable[[date], list[tuple[date, Ratio | Missing]]] | None:
        name, _, key = figure.partition(".")
        if figure in self.capacity:
            return lambda first: self._capacity(self.capacity[figure], first)
        if name == "service_levels":
            return lambda first: [(d, _mean_latency(x)) for d, x in self.levels.of(key, first)]
        of: Callable[[Any], Ratio | Missing] | None = {
            "slippage": lambda fact: _slippage(fact, key),
            "alerts": lambda fact: responses(fact, key),
            "incidents": lambda fact: handling(fact, key),
        }.get(name)
        if of is None:
            return None
        return lambda first: [
            (day, fact if isinstance(fact, Missing) else of(fact))
            for day, fact in self.facts.since(name, first)
        ]

    def _capacity(self, objective: Objective, first: date) -> list[tuple[date, Ratio | Missing]]:
        assert objective.allocated is not None
        found: list[tuple[date, Ratio | Missing]] = []
        for day, level in self.levels.of(objective.id, first):
            use = _use(level)
            found.append(
                (day, use)
                if isinstance(use, Missing)
                else (day, Ratio(numerator=use.mean, denominator=objective.allocated))
            )
        return found


def _turned(value: Ratio | Missing) -> Ratio | Missing:
    """One over a ratio: speed from time."""
    if isinstance(value, Missing):
        return value
    return Ratio(numerator=value.denominator, denominator=value.numerator)


def _mean_latency(level: Level | Missing) -> Ratio | Missing:
    if isinstance(level, Missing):
        return level
    if level.histogram is None or level.events is None or not level.events.total:
        return Missing(why=Why.NO_DATA, detail="no latency was observed")
    if not level.histogram.total:
        return Missing(why=Why.NOT_MEASURED, detail="no sum of the latencies")
    return Ratio(numerator=level.histogram.total, denominator=level.events.total)


def _slippage(fact: SlippageFact, currency: str) -> Ratio | Missing:
    found = bps(c for c in fact.cells if c.currency == currency)
    if not found.notional:
        return Missing(why=Why.NO_TRADES, detail=f"no {currency} notional")
    return Ratio(numerator=EXACT.multiply(found.cost, Decimal(10_000)), denominator=found.notional)
