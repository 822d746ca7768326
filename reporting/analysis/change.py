"""Improvement: how far each KPI has come from its baseline period, against its goal.

Both periods are ratios of sums (Σ cost / Σ notional, Σ errors / Σ requests), or means of daily
values; the change is the quotient of the two. A ratio's variance is that of its linearised
residuals (Cochran 1977, "Sampling Techniques", 6.3); days that follow each other are no
independent draws, so their long-run variance is estimated by ν = 0.4 n^(2/3) equally weighted
cosines and judged by Student's t with ν degrees of freedom (Lazarus, Lewis, Stock and Watson 2018,
"HAR Inference: Recommendations for Practice"). The interval of the quotient is Fieller's (1954),
with Welch and Satterthwaite's degrees of freedom. Nothing is drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..model import Missing, Number, Ratio, Shown, Why, plain
from ..numerals import numeral
from ..page import Column, Figure, Section, Table, Target, text
from . import LEVEL, LEVEL_WORDS, listed, number, to_places
from .student import quantile

#: Fewer days than two weeks can't tell one week's course from a change.
LEAST_DAYS = 14

#: The operator's KPIs. Each must appear in every report, measured or not.
KPIS = {
    "execution_speed": "Execution speed",
    "slippage": "Slippage",
    "error_detection_time": "Error detection time",
    "system_reliability": "System reliability",
    "manual_monitoring": "Manual monitoring",
    "incident_response_time": "Incident response time",
    "issue_resolution": "Issue resolution",
    "false_positive_alerts": "False-positive alerts",
    "operating_cost": "Operating cost",
    "resource_utilisation": "Resource utilisation",
    "downtime_cost": "Downtime cost",
    "manual_intervention": "Manual intervention",
}

#: A day's numerator and denominator; the denominator is 1 for a value of its own.
Day = tuple[date, Ratio | Missing]
Outcome = Literal["achieved", "not yet", "not decidable", "not measured"]


@dataclass(frozen=True)
class Kpi:
    """One KPI: its goal in percent against the baseline (its sign is the direction) and its days.

    ``baseline`` and ``now`` are daily ratios in order, or why there are none: no figure is
    configured, no baseline period is. ``measured_by`` says in words what is measured.
    """

    id: str
    goal_pct: Decimal
    baseline: tuple[Day, ...] | Missing
    now: tuple[Day, ...] | Missing
    unit: str = ""
    measured_by: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        if not self.goal_pct:
            raise ValueError(f"{self.id}: a goal of 0 % has no direction; expected −25 or 15, say")

    @property
    def title(self) -> str:
        """For people."""
        return self.label or KPIS.get(self.id, self.id.replace("_", " ").capitalize())


@dataclass(frozen=True)
class Mean:
    """A ratio of sums with the variance of it and its degrees of freedom (0: no variance)."""

    value: float
    variance: float
    freedom: int
    days: int


@dataclass(frozen=True)
class Change:
    """A change in percent of the baseline; ``low`` and ``high`` are None where it is unbounded."""

    pct: float
    low: float | None
    high: float | None
    baseline: Mean
    now: Mean


def ratio_of_sums(
    numerators: npt.NDArray[np.float64], denominators: npt.NDArray[np.float64]
) -> Mean:
    """R = Σx / Σy of n days in order (both (n,), Σy > 0), and its long-run variance.

    With residuals d = (x − R y) / ȳ and projections Λⱼ = √(2/n) Σ dₜ cos(π j (t − ½)/n),
    Var R = Σⱼ Λⱼ² / (ν n), j = 1 … ν, ν = 0.4 n^(2/3) rounded half-even, at least 1.
    Raises ``ValueError`` where Σy is not above 0.
    """
    n = len(numerators)
    total = math.fsum(denominators)
    if total <= 0:
        raise ValueError(f"the denominators of a ratio must sum to more than 0, got {total}")
    ratio = math.fsum(numerators) / total
    residuals = (numerators - ratio * denominators) / (total / n)
    cosines = max(1, round(0.4 * n ** (2 / 3)))
    j, t = np.arange(1, cosines + 1)[:, None], np.arange(n)[None, :]
    projections = math.sqrt(2 / n) * np.cos(math.pi * j * (t + 0.5) / n) @ residuals
    variance = math.fsum(projections**2) / cosines / n
    return Mean(value=ratio, variance=variance, freedom=cosines, days=n)


def relative_change(baseline: Mean, now: Mean, level: float = LEVEL) -> Change:
    """now / baseline − 1 in percent, with Fieller's interval of certainty ``level``.

    The quotients ρ with (R₁ − ρ R₀)² ≤ t² (V₁ + ρ² V₀); t has Welch and Satterthwaite's degrees
    of freedom at the estimate. Unbounded where the baseline is not told from 0 itself.
    Raises ``ValueError`` where the baseline is not above 0: a percentage of it means nothing.
    """
    if baseline.value <= 0:
        raise ValueError(f"a change in percent needs a baseline above 0, got {baseline.value}")
    rho = now.value / baseline.value
    own, other = now.variance, rho * rho * baseline.variance
    change = 100 * (rho - 1)
    if not own + other:
        # Both periods are constant, or the baseline is and now is 0 throughout.
        return Change(change, change, change, baseline, now)
    freedom = (own + other) ** 2 / (own**2 / now.freedom + other**2 / baseline.freedom)
    square = quantile(level, freedom) ** 2
    a = baseline.value**2 - square * baseline.variance
    b = now.value * baseline.value
    c = now.value**2 - square * now.variance
    if a <= 0:
        return Change(change, None, None, baseline, now)
    # b² − a c = t² (R₁² V₀ + R₀² V₁ − t² V₀ V₁), which a > 0 keeps from falling below 0.
    root = math.sqrt(max(b * b - a * c, 0.0))
    return Change(change, 100 * ((b - root) / a - 1), 100 * ((b + root) / a - 1), baseline, now)


@dataclass(frozen=True)
class Progress:
    """A KPI with what became of it; ``change`` is Missing with its reason if not measured."""

    kpi: Kpi
    change: Change | Missing
    outcome: Outcome


def progress(kpi: Kpi) -> Progress:
    """The KPI's change and how it stands to its goal.

    "achieved" where the whole interval is at or beyond the goal, "not yet" where the whole of it
    falls short, "not decidable" where the goal lies within.
    """
    sums = []
    for name, days in (("baseline", kpi.baseline), ("this period", kpi.now)):
        mean = _mean(name, days)
        if isinstance(mean, Missing):
            return Progress(kpi, mean, "not measured")
        sums.append(mean)
    baseline, now = sums
    if baseline.value <= 0:
        amount = f"{numeral(plain(number(baseline.value).value))} {kpi.unit}".strip()
        detail = f"the baseline is {amount}: a change in percent of it means nothing"
        return Progress(kpi, Missing(why=Why.NOT_MEASURED, detail=detail), "not measured")
    change = relative_change(baseline, now)
    goal, outcome = float(kpi.goal_pct), "not decidable"
    if change.low is not None and change.high is not None:
        short, far = (change.low, change.high) if goal > 0 else (-change.high, -change.low)
        if short >= abs(goal):
            outcome = "achieved"
        elif far < abs(goal):
            outcome = "not yet"
    return Progress(kpi, change, outcome)  # type: ignore[arg-type]


def _mean(name: str, days: tuple[Day, ...] | Missing) -> Mean | Missing:
    if isinstance(days, Missing):
        return days
    known = [value for _, value in days if not isinstance(value, Missing)]
    if not known and days and isinstance(days[-1][1], Missing):
        why = days[-1][1]  # every day says why
        return why.model_copy(update={"detail": f"{name}: {why.detail or why.why}"})
    if len(known) < LEAST_DAYS:
        return Missing(
            why=Why.TOO_SHORT,
            detail=f"{name} has {len(known)} measured days, {LEAST_DAYS} are needed",
        )
    above = np.array([float(v.numerator) for v in known])
    below = np.array([float(v.denominator) for v in known])
    if math.fsum(below) <= 0:
        return Missing(why=Why.NO_DATA, detail=f"{name} has nothing to divide by on any day")
    return ratio_of_sums(above, below)


def improvement_section(kpis: Sequence[Kpi]) -> Section:
    """All twelve KPIs, in the order given, with change, interval, goal and what it amounts to.

    Raises ``ValueError`` where one of :data:`KPIS` is left out: what can't be measured is given
    with the Missing that says why.
    """
    dropped = [name for name in KPIS if name not in {k.id for k in kpis}]
    if dropped:
        raise ValueError(
            f"improvement KPIs {', '.join(dropped)} are left out; give each, with Missing days "
            "where nothing measures it"
        )
    known = [progress(k) for k in kpis]
    return Section(
        id="improvement",
        title="Improvement",
        summary=_summary(known),
        figures=tuple(_figure(p, p.change) for p in known if isinstance(p.change, Change)),
        tables=tuple(_tables(known)),
        notes=(
            "The change is this period's ratio of sums over the baseline's, with a "
            f"{LEVEL_WORDS} interval by Fieller; days that follow each other are taken as "
            "correlated (equally weighted cosines, Lazarus and others 2018). Achieved: the whole "
            "interval reaches the goal. Not yet: all of it falls short. Not decidable: the goal "
            "lies within it.",
        )
        if any(isinstance(p.change, Change) for p in known)
        else (),
    )


def _summary(known: Sequence[Progress]) -> str:
    by = {o: [p.kpi.title for p in known if p.outcome == o] for o in ("achieved", "not yet")}
    open_ = sum(p.outcome == "not decidable" for p in known)
    unseen = sum(p.outcome == "not measured" for p in known)
    parts = [f"{len(by['achieved'])} of {len(known)} goals are achieved"]
    if by["achieved"]:
        parts[0] += f" ({listed([t.lower() for t in by['achieved']])})"
    parts += [f"{len(by['not yet'])} not yet"] if by["not yet"] else []
    parts += [f"{open_} can not be decided"] if open_ else []
    parts += [f"{unseen} not measured"] if unseen else []
    return f"{', '.join(parts)}."


def _figure(known: Progress, change: Change) -> Figure:
    """The goal stands beside the change without a verdict: a goal is no promise that was broken."""
    kpi = known.kpi
    return Figure(
        id=f"improvement.{kpi.id}",
        label=f"{kpi.title}: change",
        value=Number(value=to_places(change.pct), unit="%"),
        target=Target(
            id=f"improvement.{kpi.id}",
            comparator="ge" if kpi.goal_pct > 0 else "le",
            value=kpi.goal_pct,
            unit="%",
        ),
        note=known.outcome,
    )


def _tables(known: Sequence[Progress]) -> Iterator[Table]:
    """One of the periods behind each change, and one of what is not measured, with the reason.

    What the figures say of a change (itself, the goal, the outcome) is left to the CSV.
    """
    measured = [_row(p.kpi, p.change, p.outcome) for p in known if isinstance(p.change, Change)]
    if measured:
        columns = [
            Column(key="kpi", label="KPI", align="left"),
            Column(key="goal", label="Goal", shown=False),
            Column(key="change", label="Change", shown=False),
            Column(key="measured_by", label="Measured by", align="left"),
            Column(key="baseline", label="Baseline"),
            Column(key="now", label="Now"),
            Column(key="interval", label="Interval of the change"),
            Column(key="low", label="Change at least", shown=False),
            Column(key="high", label="Change at most", shown=False),
            Column(key="outcome", label="Outcome", align="left", shown=False),
            Column(key="days", label="Days", align="left"),
        ]
        yield Table(
            id="improvement",
            title="Change against the baseline",
            columns=tuple(columns),
            rows=tuple(measured),
        )
    unseen = [(p.kpi, p.change) for p in known if isinstance(p.change, Missing)]
    if unseen:
        columns = [
            Column(key="kpi", label="KPI", align="left"),
            Column(key="goal", label="Goal"),
            Column(key="reason", label="Reason", align="left"),
            Column(key="change", label="Change", shown=False),
        ]
        yield Table(
            id="improvement_not_measured",
            title="Not measured",
            columns=tuple(columns),
            rows=tuple(
                (
                    text(kpi.title),
                    text(f"{numeral(kpi.goal_pct, '+f')} %".replace("-", "−")),
                    text(gone.detail if gone.why is Why.NOT_MEASURED else str(gone)),
                    gone,
                )
                for kpi, gone in unseen
            ),
        )


def _row(kpi: Kpi, change: Change, outcome: Outcome) -> tuple[Shown, ...]:
    unbounded = Missing(why=Why.NOT_MEASURED, detail="unbounded: the baseline may be 0")
    ends = [
        unbounded if x is None else Number(value=to_places(x), unit="%")
        for x in (change.low, change.high)
    ]
    return (
        text(kpi.title),
        Number(value=kpi.goal_pct, unit="%"),
        Number(value=to_places(change.pct), unit="%"),
        text(kpi.measured_by),
        number(change.baseline.value, kpi.unit),
        number(change.now.value, kpi.unit),
        text(_interval(change)),
        *ends,
        text(outcome),
        text(_days(kpi)),
    )


def _interval(change: Change) -> str:
    """ "−13.7 to 22.5 %", "unbounded"."""
    if change.low is None or change.high is None:
        return "unbounded"
    low, high = (numeral(plain(to_places(end))) for end in (change.low, change.high))
    return f"{low} to {high} %".replace("-", "−")


def _days(kpi: Kpi) -> str:
    """ "2025-09-01 to 2025-09-30 (30 days), now 28 days": those that were measured."""
    parts = []
    for days in (kpi.baseline, kpi.now):
        assert not isinstance(days, Missing)  # there is a change
        count = sum(not isinstance(value, Missing) for _, value in days)
        parts.append((f"{days[0][0]} to {days[-1][0]}", f"{count} days"))
    (baseline, many), (_, now) = parts
    return f"{baseline} ({many}), now {now}"
