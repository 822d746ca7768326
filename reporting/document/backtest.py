"""Yesterday's VaR against today's P&L."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from ..measures.pnl import PnlFact, daily_net
from ..measures.var import LEVELS, VarFact, plain_pct
from ..model import (
    EXACT,
    Count,
    Exact,
    Missing,
    Value,
)
from ..page import (
    Figure,
    Line,
    LinesChart,
    Section,
    Verdict,
)
from ..periods import previous_session
from .history import Facts


class Backtest(Value):
    """One session's P&L beside the VaR estimated at the close before it."""

    day: date
    net: Exact
    currency: str
    var: tuple[Exact, ...]  # by LEVELS

    def is_exception(self, level: int) -> bool:
        """Whether the loss exceeded the VaR of LEVELS[level]."""
        return EXACT.minus(self.net) > self.var[level]


def backtests(
    pnl: Sequence[tuple[date, PnlFact | Missing]],
    var: Sequence[tuple[date, VarFact | Missing]],
    since: date,
    calendar: str,
) -> tuple[Backtest, ...]:
    """Sessions from ``since`` on that have both a P&L and a VaR of the close before."""
    estimates = dict(var)
    base = {day: fact.base for day, fact in pnl if not isinstance(fact, Missing)}
    found = []
    for point in daily_net(list(pnl)):
        estimate = estimates.get(previous_session(point.day, calendar))
        if point.day < since or not isinstance(estimate, VarFact):
            continue
        if isinstance(point.value, Missing):
            continue
        levels = {x.level: x.var for x in estimate.days[-1].levels}
        found.append(
            Backtest(
                day=point.day,
                net=point.value,
                currency=base[point.day],
                var=tuple(levels[level] for level in LEVELS),
            )
        )
    return tuple(found)


def exceptions(facts: Facts) -> tuple[Backtest, ...]:
    since = facts.days[0].day
    calendar = facts.days[0].calendar
    return backtests(facts.with_trail("pnl"), facts.with_trail("var"), since, calendar)


def with_backtest(section: Section, facts: Facts) -> Section:
    """Add yesterday's VaR against today's P&L to the VaR section."""
    tests = exceptions(facts)
    if not tests:
        note = "No session of the period has both a P&L and a VaR of the close before it."
        return section.model_copy(update={"notes": (*section.notes, note)})
    figures = tuple(
        Figure(
            id=f"var.exceptions_{plain_pct(level)}",
            label=f"Losses beyond VaR {plain_pct(level)} %",
            value=Count(
                value=sum(t.is_exception(i) for t in tests),
                unit=f"of {len(tests)} session{'s' if len(tests) > 1 else ''}",
            ),
            note=", ".join(t.day.isoformat() for t in tests if t.is_exception(i)),
        )
        for i, level in enumerate(LEVELS)
    )
    worst = len(LEVELS) - 1
    hit = any(t.is_exception(worst) for t in tests)
    charts = section.charts
    if len(tests) > 1:
        charts = (*charts, _backtest_chart(tests))
    return section.model_copy(
        update={
            "figures": (*section.figures, *figures),
            "charts": charts,
            "verdict": Verdict.MISSED if hit else Verdict.MET,
        }
    )


def _backtest_chart(tests: Sequence[Backtest]) -> LinesChart:
    marked = tuple(i for i, t in enumerate(tests) if t.is_exception(len(LEVELS) - 1))
    named = ", ".join(tests[i].day.isoformat() for i in marked) or "none"
    return LinesChart(
        id="var_backtest",
        title="Net P&L against the VaR of the close before",
        alt=f"{len(tests)} sessions; losses beyond VaR {plain_pct(LEVELS[-1])} %: {named}.",
        unit=tests[0].currency,
        labels=tuple(t.day.isoformat() for t in tests),
        lines=(
            Line(label="Net P&L", values=tuple(t.net for t in tests)),
            *(
                Line(
                    label=f"−VaR {plain_pct(level)} %",
                    values=tuple(EXACT.minus(t.var[i]) for t in tests),
                )
                for i, level in enumerate(LEVELS)
            ),
        ),
        marked=marked,
        marked_label=f"loss beyond VaR {plain_pct(LEVELS[-1])} %",
    )
