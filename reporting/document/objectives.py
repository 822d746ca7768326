"""Every objective over the period: measured, judged, and what is left of its error budget.

The only place where the facts of up/down states, of counted events and values, and the figures of
the other sections meet the catalogue of what was promised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

from ..analysis import significant
from ..levels import Budget, Share, budget, composite, judge, window_of
from ..measures.service_levels import (
    SERVICE_LEVELS,
    Level,
    mean_rate_per_s,
    percentile,
    share_of,
    values_stats,
)
from ..measures.uptime import UPTIME, TargetUptime, availability
from ..model import (
    Band,
    Bps,
    Count,
    Duration,
    Missing,
    Money,
    Number,
    Ratio,
    Shown,
    Text,
    Why,
    plain,
)
from ..page import Column, Figure, Section, Table, Target, Verdict, text
from ..periods import Span
from ..policy import Policy
from ..policy.indicators import (
    Counts,
    Objective,
    ReportFigure,
    State,
    Threshold,
    latency_bound_s,
    promise,
)
from .history import Facts

COMPARE = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}
#: What is measured of a composite.
COMPOSITE = "weighted mean of its parts"
RANK = {Verdict.MISSED: 0, Verdict.UNKNOWN: 1, Verdict.MET: 2}


@dataclass(frozen=True)
class Standing:
    """One objective over the report's period.

    ``measured`` is the indicator's own value and ``what`` says which; ``share`` is the share of
    good. ``verdict`` is None for what is only tracked, ``budget`` for what has none.
    """

    objective: Objective
    measured: Shown
    what: str
    share: Share | Missing
    verdict: Verdict | None
    budget: Budget | Missing | None

    @property
    def id(self) -> str:
        """The objective's id."""
        return self.objective.id


def standings(
    policy: Policy, facts: Facts, span: Span, figures: Mapping[str, Figure]
) -> tuple[Standing, ...]:
    """Where each objective stands, in the order of the catalogue.

    ``figures`` are those of the report's other sections, by id.
    """
    ledger = _Ledger(policy, facts, span)
    found = [_standing(o, ledger, figures) for o in policy.objectives if not o.composite]
    return (*found, *_composites(policy.objectives, ledger))


@dataclass(frozen=True)
class _Measured:
    """The merged facts of one objective over some days, and on how many of them it has any."""

    fact: TargetUptime | Level | Missing
    days: int

    @property
    def share(self) -> Share | Missing:
        """The share of good."""
        if isinstance(self.fact, Missing):
            return self.fact
        found = (
            availability(self.fact) if isinstance(self.fact, TargetUptime) else share_of(self.fact)
        )
        return found if isinstance(found, Missing) else Share(*found)


class _Ledger:
    """Merged facts by objective and by first day, each merged once."""

    def __init__(self, policy: Policy, facts: Facts, span: Span) -> None:
        self.policy, self.facts, self.span = policy, facts, span
        self.unsealed = len(_days(span)) - sum(d.day >= span.first for d in facts.days)
        self._merged: dict[tuple[str, date], tuple[dict[str, Any], dict[str, int], Any]] = {}

    def measured(self, objective: Objective, first: date) -> _Measured:
        """What is known of one objective from ``first`` to the end of the period."""
        state = isinstance(objective.indicator, State)
        by_id, days, absent = self._since(UPTIME.name if state else SERVICE_LEVELS.name, first)
        name = self.policy.measured_as(objective)
        fact = by_id.get(name)
        if fact is None:
            fact = absent or Missing(
                why=Why.NOT_MEASURED, detail="no day of the period was sealed with this objective"
            )
        elif isinstance(fact, Level) and fact.missing is not None:
            fact = fact.missing
        return _Measured(fact, days.get(name, 0))

    def _since(self, name: str, first: date) -> tuple[dict[str, Any], dict[str, int], Any]:
        key = name, first
        if key not in self._merged:
            self._merged[key] = self._merge(name, first)
        return self._merged[key]

    def _merge(self, name: str, first: date) -> tuple[dict[str, Any], dict[str, int], Any]:
        measure: Any = UPTIME if name == UPTIME.name else SERVICE_LEVELS
        pairs = self.facts.since(name, first)
        present = [(day, fact) for day, fact in pairs if not isinstance(fact, Missing)]
        if not present:
            return {}, {}, pairs[-1][1] if pairs else None
        merged = measure.merge(present)
        days: dict[str, int] = {}
        for _, fact in present:
            for item in _items(fact):
                if not (isinstance(item, Level) and item.missing is not None):
                    days[item.id] = days.get(item.id, 0) + 1
        return {item.id: item for item in _items(merged)}, days, None


def _items(fact: Any) -> Sequence[Any]:
    return fact.targets if hasattr(fact, "targets") else fact.levels  # type: ignore[no-any-return]


def _days(span: Span) -> range:
    return range(span.first.toordinal(), span.last.toordinal() + 1)


def _standing(objective: Objective, ledger: _Ledger, figures: Mapping[str, Figure]) -> Standing:
    if isinstance(objective.indicator, ReportFigure):
        return _of_figure(objective, objective.indicator, figures)
    period = ledger.measured(objective, ledger.span.first)
    share = period.share
    measured, what = _value(objective, period.fact)
    if objective.goal is None:
        return Standing(objective, measured, what, share, None, None)
    if isinstance(share, Missing):
        return Standing(objective, measured, what, share, _without(share), share)
    verdict = judge(share, objective.goal, strict=objective.strict)
    if ledger.unsealed and verdict is Verdict.MET:
        verdict = Verdict.UNKNOWN  # what happened on a day that nobody sealed is not known
    return Standing(objective, measured, what, share, verdict, _budget(objective, share, ledger))


def _without(why: Missing) -> Verdict | None:
    """The verdict on what has no share: nothing happened to judge, or nobody knows."""
    return None if why.why is Why.NO_DATA else Verdict.UNKNOWN


def _budget(objective: Objective, share: Share, ledger: _Ledger) -> Budget | Missing:
    first, _ = window_of(objective.window, ledger.span.last)
    window = ledger.measured(objective, first)
    if isinstance(window.share, Missing):
        return window.share
    return budget(objective, window.share, share, window.days, ledger.span.last)


def _composites(objectives: Sequence[Objective], ledger: _Ledger) -> list[Standing]:
    """One standing for each composite: the weighted mean of its parts against that of the goals."""
    groups: dict[str, list[Objective]] = {}
    for objective in objectives:
        if objective.composite:
            groups.setdefault(objective.slo, []).append(objective)
    return [_composite(parts, ledger) for parts in groups.values()]


def _composite(parts: Sequence[Objective], ledger: _Ledger) -> Standing:
    weights = sum((Fraction(p.weight) for p in parts), Fraction(0))
    goal = sum((Fraction(p.weight) * Fraction(p.goal or 0) for p in parts), Fraction(0)) / weights
    whole = _renamed(parts[0], goal)
    shares: list[tuple[Decimal, Share]] = []
    windows: list[tuple[Decimal, Share]] = []
    covered = []
    first, _ = window_of(whole.window, ledger.span.last)
    for part in parts:
        share = ledger.measured(part, ledger.span.first).share
        window = ledger.measured(part, first)
        of_window = window.share
        if isinstance(share, Missing) or isinstance(of_window, Missing):
            gone = share if isinstance(share, Missing) else of_window
            assert isinstance(gone, Missing)
            return Standing(whole, gone, "", gone, Verdict.UNKNOWN, gone)
        shares.append((part.weight, share))
        windows.append((part.weight, of_window))
        covered.append(window.days)
    share = composite(shares)
    assert whole.goal is not None
    verdict = judge(share, whole.goal, strict=whole.strict)
    if ledger.unsealed and verdict is Verdict.MET:
        verdict = Verdict.UNKNOWN
    left = budget(whole, composite(windows), share, min(covered), ledger.span.last)
    return Standing(whole, band(share), COMPOSITE, share, verdict, left)


def _renamed(part: Objective, goal: Fraction) -> Objective:
    """The composite as an objective of its own, with the weighted goal."""
    exact = Decimal(goal.numerator) / Decimal(goal.denominator)
    title = part.title.split(":")[0]
    return replace(part, id=part.slo.replace("-", "_"), title=title, goal=exact, composite=False)


# -- values --------------------------------------------------------------------------------------


def band(share: Share, places: int = 6) -> Shown:
    """A share as its two bounds, rounded away from each other, or as one ratio where they agree."""
    one = 10**places
    low, high = (share.low * one).__floor__(), -((-share.high * one).__floor__())
    ratios = [Ratio(numerator=Decimal(x), denominator=Decimal(one)) for x in (low, high)]
    return ratios[0] if low == high else Band(low=ratios[0], high=ratios[1])


def _value(objective: Objective, fact: TargetUptime | Level | Missing) -> tuple[Shown, str]:
    """The indicator's own value over the period, and what it is."""
    if isinstance(fact, Missing):
        return fact, ""
    if isinstance(fact, TargetUptime):
        share = _Measured(fact, 0).share
        return (share, "") if isinstance(share, Missing) else (band(share), "availability")
    of = objective.indicator
    if isinstance(of, Counts):
        if fact.histogram is not None and latency_bound_s(of) is not None:
            return _latency(objective, fact)
        if fact.events is None or not fact.events.total:
            return Missing(why=Why.NO_DATA, detail="no traffic"), ""
        good = fact.events.good if of.good else fact.events.total - fact.events.good
        ratio = Ratio(numerator=good, denominator=fact.events.total)
        return ratio, "good of all" if of.good else "bad of all"
    if isinstance(of, Threshold) and of.query.rate:
        rate = mean_rate_per_s(fact)
        if isinstance(rate, Missing):
            return rate, ""
        return Number(value=significant(rate, 5), unit=objective.unit or "/s"), "mean"
    stats = values_stats(fact)
    if isinstance(stats, Missing):
        return stats, ""
    return Number(value=significant(stats.mean, 5), unit=objective.unit), "mean"


def _latency(objective: Objective, level: Level) -> tuple[Shown, str]:
    """The percentile of the goal as the upper bound of its bucket, in milliseconds."""
    assert level.histogram is not None
    share = objective.goal if objective.goal is not None else Decimal("0.95")
    found = percentile(level.histogram, share)
    name = f"p{plain(share * 100)}"
    if isinstance(found, Missing):
        return found, name
    low, high = found
    milliseconds = [None if x is None else plain(x * 1000) for x in (low, high)]
    if high is None:
        return Missing(why=Why.NO_DATA, detail=f"{name} above {milliseconds[0]} ms"), name
    return (
        Number(value=high * 1000, unit="ms"),
        f"{name}, in the bucket {milliseconds[0]} to {milliseconds[1]} ms",
    )


def _of_figure(objective: Objective, of: ReportFigure, figures: Mapping[str, Figure]) -> Standing:
    figure = figures.get(of.figure)
    if figure is None:
        gone = Missing(why=Why.NOT_MEASURED, detail=f"the report has no figure {of.figure}")
        verdict = None if objective.goal is None else Verdict.UNKNOWN
        return Standing(objective, gone, of.figure, gone, verdict, None)
    number = _number(figure.value)
    note = f"figure {of.figure}"
    if isinstance(number, Missing):
        verdict = None if objective.goal is None else _without(number)
        return Standing(objective, number, note, number, verdict, None)
    if objective.goal is None:
        return Standing(objective, figure.value, note, Missing(why=Why.NOT_MEASURED), None, None)
    met = COMPARE[of.comparator](number, Fraction(of.value))
    share = Share(Fraction(int(met)), Fraction(int(met)))
    verdict = Verdict.MET if met else Verdict.MISSED
    return Standing(objective, figure.value, note, share, verdict, None)


def _number(value: Shown) -> Fraction | Missing:
    """A figure's value as one exact number in the unit of its kind: %, bps, s, currency."""
    found: Fraction | None = None
    match value:
        case Missing():
            return value
        case Ratio():
            found = None if value.fraction is None else value.fraction * 100
        case Bps():
            found = value.value
        case Money():
            found = Fraction(value.amount)
        case Count():
            found = Fraction(value.value)
        case Number():
            found = Fraction(value.value)
        case Duration():
            found = Fraction(value.ms, 1000)
        case Text():
            return Missing(why=Why.NO_DATA, detail=value.text)
    if found is None:
        return Missing(why=Why.NO_DATA, detail="nothing to divide by")
    return found


# -- the page ------------------------------------------------------------------------------------

NOTES = (
    "A share of good is a band: at least what is known to be good, at most that and what is not "
    "known. A promise is met by the lower bound and missed by the upper one.",
    "Error budget left: of all that may go wrong in the objective's window, the part that has not. "
    "Burn rate: 1 spends the whole budget in exactly one window; it is that of this report's "
    "period. Lasts until: the first day on which nothing would be left at that rate.",
    "A latency is the upper bound of the histogram bucket that the percentile lies in.",
)


def with_standings(section: Section, found: Sequence[Standing]) -> Section:
    """The measured service levels with every promise judged, a table for each system.

    Components' availability is judged in the uptime section; all promises are counted here.
    """
    shown = [s for s in found if not isinstance(s.objective.indicator, State)]
    judged = [s for s in found if s.verdict is not None]
    met = sum(s.verdict is Verdict.MET for s in judged)
    missed = [s for s in judged if s.verdict is Verdict.MISSED]
    systems = dict.fromkeys(s.objective.system for s in shown)
    words = f"{met} of {len(judged)} promises kept"
    if missed:
        words += f"; missed: {', '.join(s.objective.title for s in missed)}"
    kept = Figure(
        id="service_levels.kept",
        label="Promises kept, availability included",
        value=Ratio(numerator=Decimal(met), denominator=Decimal(len(judged))),
        note=f"{met} of {len(judged)}",
    )
    return section.model_copy(
        update={
            "summary": words + ".",
            "verdict": worst(s.verdict for s in shown),
            "figures": (
                kept,
                *(_figure(s) for s in shown if s.verdict in (Verdict.MISSED, Verdict.UNKNOWN)),
            ),
            "tables": (
                *(
                    _table(system, [s for s in shown if s.objective.system == system])
                    for system in systems
                ),
                *section.tables,
            ),
            "notes": (*NOTES, *section.notes),
        }
    )


def worst(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    """The worst of several verdicts; None where there is none."""
    present = [v for v in verdicts if v is not None]
    return min(present, key=RANK.__getitem__) if present else None


def _figure(standing: Standing) -> Figure:
    return Figure(
        id=f"service_levels.{standing.id}",
        label=standing.objective.title,
        value=standing.measured,
        verdict=standing.verdict,
        note=promise(standing.objective),
    )


COLUMNS = (
    Column(key="objective", label="Objective", align="left"),
    Column(key="promise", label="Promise", align="left"),
    Column(key="measured", label="Measured"),
    Column(key="share", label="Share of good"),
    Column(key="verdict", label="Verdict", align="left"),
    Column(key="left", label="Budget left"),
    Column(key="burn", label="Burn rate"),
    Column(key="lasts", label="Lasts until", align="left"),
)


def _table(system: str, rows: Sequence[Standing]) -> Table:
    return Table(
        id=f"objectives_{system}",
        title=system.replace("_", " ").capitalize(),
        columns=COLUMNS,
        rows=tuple(_row(s) for s in rows),
        top=40,
    )


def _row(s: Standing) -> tuple[Shown, ...]:
    share: Shown = text("")
    if isinstance(s.share, Share) and not isinstance(s.objective.indicator, ReportFigure):
        share = band(s.share)
    return (
        text(s.objective.title),
        text(promise(s.objective)),
        s.measured,
        share,
        text(s.verdict.value if s.verdict else ""),
        *budget_cells(s),
    )


def budget_cells(s: Standing) -> tuple[Shown, Shown, Shown]:
    """Budget left, burn rate and the day on which it ends, as table cells."""
    if s.budget is None:
        return text(""), text(""), text("")
    if isinstance(s.budget, Missing):
        return s.budget, text(""), text("")
    return left_of(s.budget), _burn(s.budget), text(lasts(s.budget))


def left_of(b: Budget) -> Shown:
    """The part of the budget that is left; the unfavourable bound is never rounded up."""
    return band(Share(b.left_low, b.left_high), places=4)


def _burn(b: Budget) -> Shown:
    high = Decimal(-((-b.burn_high * 100).__floor__())).scaleb(-2)
    low = Decimal((b.burn_low * 100).__floor__()).scaleb(-2)
    if low == high:
        return Number(value=high)
    return Text(text=f"{plain(low)} to {plain(high)}")


def lasts(b: Budget) -> str:
    """When the budget ends, in words."""
    if b.is_spent:
        return "spent"
    if b.left_low <= 0:
        return "may be spent"
    if b.exhausted is None:
        return "lasts"
    return b.exhausted.isoformat()


def promised(s: Standing) -> Target | None:
    """The promise of an availability as a figure's target."""
    if s.objective.goal is None:
        return None
    return Target(
        id=s.id,
        comparator="gt" if s.objective.strict else "ge",
        value=s.objective.goal * 100,
        unit="%",
        source=f"objective {s.id}",
    )


def rounded(share: Fraction, rounding: str) -> Decimal:
    """A share in percent with three decimals."""
    exact = share * 100_000
    whole = exact.__floor__() if rounding == ROUND_FLOOR else -((-exact).__floor__())
    assert rounding in (ROUND_FLOOR, ROUND_CEILING)
    return Decimal(whole).scaleb(-3)
