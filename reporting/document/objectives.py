"""Every objective over the period: measured, judged, and what is left of its error budget.

The only place where the facts of up/down states, of counted events and values, and the figures of
the other sections meet the catalogue of what was promised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from ..analysis import significant
from ..levels import Budget, Share, budget, composite, judge, window_of
from ..measures import Measure
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
from ..numerals import numeral, ours
from ..page import Column, Figure, Section, Table, Target, Verdict, text
from ..periods import Span, calendar_day, days_between
from ..policy import Policy
from ..policy.indicators import (
    Counts,
    Objective,
    ReportFigure,
    State,
    Threshold,
    latency_bound_ms,
    latency_scale,
    promise,
)
from .history import BY_NAME, NO_GAP, Dated, Facts

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
    told: bool = False  # the figure that it judges has its verdict in its own section already

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
    ledger = Ledger(policy, facts, span)
    found = [_standing(o, ledger, figures) for o in policy.objectives if not o.composite]
    return (*found, *_composites(policy.objectives, ledger))


@dataclass(frozen=True)
class _Measured:
    """The merged facts of one objective over some days, and on how many of them it has any.

    ``unseen_ms`` is the time of those days that nothing is known of: a day that is not sealed, or
    on which the source was away.
    """

    fact: TargetUptime | Level | Missing
    days: int
    unseen_ms: int

    @cached_property
    def seen(self) -> Share | Missing:
        """The share of good of the days that there are."""
        return self._share(0)

    @cached_property
    def share(self) -> Share | Missing:
        """The share of good of all days; one that nobody saw may have been anything."""
        return self._share(self.unseen_ms) if self.unseen_ms else self.seen

    def _share(self, unseen_ms: int) -> Share | Missing:
        if isinstance(self.fact, Missing):
            return self.fact
        measure: Any = availability if isinstance(self.fact, TargetUptime) else share_of
        found = measure(self.fact, unseen_ms)
        return found if isinstance(found, Missing) else Share(*found)

    @property
    def verdict_without(self) -> Verdict | None:
        """The verdict where there is no share: None if it is known that nothing happened."""
        if isinstance(self.fact, TargetUptime):
            idle = self.fact.planned.window_ms == self.fact.window_ms
        else:
            idle = isinstance(self.fact, Level) and not self.fact.unknown_ms
        return None if idle else Verdict.UNKNOWN


class _Since(NamedTuple):
    """A measure's merged items by id from a day on, on how many days each was measured, why there
    is none at all, and the days without a fact."""

    items: Mapping[str, Any]
    days: Mapping[str, int]
    absent: Missing | None
    unseen: Sequence[date]


class Ledger:
    """What the facts say of each objective; what is merged is merged once."""

    def __init__(self, policy: Policy, facts: Facts, span: Span) -> None:
        self.policy, self.facts, self.span = policy, facts, span
        self.since = lru_cache(maxsize=None)(self._merge)

    def measured(self, objective: Objective, first: date) -> _Measured:
        """What is known of one objective from ``first`` to the end of the period."""
        state = isinstance(objective.indicator, State)
        since = self.since(UPTIME.name if state else SERVICE_LEVELS.name, first)
        name = self.policy.measured_as(objective)
        fact = since.items.get(name)
        if fact is None:
            fact = since.absent or Missing(
                why=Why.NOT_MEASURED, detail="no day of the period was sealed with this objective"
            )
        elif isinstance(fact, Level) and fact.missing is not None:
            fact = fact.missing
        windows = (calendar_day(day, objective.zone) for day in since.unseen)
        unseen_ms = sum(w.end_ms - w.start_ms for w in windows)
        return _Measured(fact, since.days.get(name, 0), unseen_ms)

    def course(self, objective: Objective, first: date) -> list[tuple[date, Share | Missing, int]]:
        """Day by day from ``first``, the share of good since then and on how many days it rests.

        Of the days that have a fact of the objective; each is added to the sum of those before.
        """
        state = isinstance(objective.indicator, State)
        measure: Any = UPTIME if state else SERVICE_LEVELS
        name = self.policy.measured_as(objective)
        kind = "targets" if state else "levels"
        found: list[tuple[date, Share | Missing, int]] = []
        so_far, covered = None, 0
        for day, fact in self.facts.since(measure.name, first):
            own = [] if isinstance(fact, Missing) else [i for i in _items(fact) if i.id == name]
            if not own:
                continue
            alone = fact.model_copy(update={kind: tuple(own)})
            so_far = alone if so_far is None else measure.merge([(first, so_far), (day, alone)])
            covered += not _is_left_out(own[0])
            (item,) = _items(so_far)
            gone = item.missing if isinstance(item, Level) else None
            found.append((day, gone or _Measured(item, covered, 0).seen, covered))
        return found

    def unseen(self, name: str) -> list[date]:
        """Days of the period that lack a fact of the measure ``name``."""
        return _unseen(self.facts.since(name, self.span.first), self.span.first, self.span.last)

    def _merge(self, name: str, first: date) -> _Since:
        measure: Any = UPTIME if name == UPTIME.name else SERVICE_LEVELS
        pairs = self.facts.since(name, first)
        unseen = _unseen(pairs, first, self.span.last)
        present = [(day, fact) for day, fact in pairs if not isinstance(fact, Missing)]
        if not present:
            return _Since({}, {}, pairs[-1][1] if pairs else None, unseen)
        days = Counter(
            item.id for _, fact in present for item in _items(fact) if not _is_left_out(item)
        )
        items = {item.id: item for item in _items(measure.merge(present))}
        return _Since(items, days, None, unseen)


def _is_left_out(item: Any) -> bool:
    """Whether a day in which nothing was read has no part in the share of the days."""
    return isinstance(item, Level) and item.missing is not None and item.no_data == "exclude"


def _unseen(pairs: Dated, first: date, last: date) -> list[date]:
    """The days from ``first`` to ``last`` of which there is no fact, though there should be."""
    found = {d for d, fact in pairs if not isinstance(fact, Missing) or fact.why in NO_GAP}
    return [day for day in days_between(first, last) if day not in found]


def _items(fact: Any) -> Sequence[Any]:
    return fact.targets if hasattr(fact, "targets") else fact.levels  # type: ignore[no-any-return]


def _standing(objective: Objective, ledger: Ledger, figures: Mapping[str, Figure]) -> Standing:
    if isinstance(objective.indicator, ReportFigure):
        return _of_figure(objective, objective.indicator, ledger, figures)
    period = ledger.measured(objective, ledger.span.first)
    share = period.share
    measured, what = _value(objective, period)
    if objective.goal is None:
        return Standing(objective, measured, what, share, None, None)
    if isinstance(share, Missing):
        return Standing(objective, measured, what, share, period.verdict_without, share)
    verdict = judge(share, objective.goal, strict=objective.strict)
    return Standing(objective, measured, what, share, verdict, _budget(objective, period, ledger))


def _budget(objective: Objective, period: _Measured, ledger: Ledger) -> Budget | Missing:
    """The budget by the days that there are: ``covered`` says how many."""
    first, _ = window_of(objective.window, ledger.span.last)
    window = ledger.measured(objective, first)
    for share in (window.seen, period.seen):
        if isinstance(share, Missing):
            return share
    assert isinstance(window.seen, Share) and isinstance(period.seen, Share)
    return budget(objective, window.seen, period.seen, window.days, ledger.span.last)


def _composites(objectives: Sequence[Objective], ledger: Ledger) -> list[Standing]:
    """One standing for each composite: the weighted mean of its parts against that of the goals."""
    groups: dict[str, list[Objective]] = {}
    for objective in objectives:
        if objective.composite:
            groups.setdefault(objective.slo, []).append(objective)
    return [_composite(parts, ledger) for parts in groups.values()]


def _composite(parts: Sequence[Objective], ledger: Ledger) -> Standing:
    weights = sum((Fraction(p.weight) for p in parts), Fraction(0))
    goal = sum((Fraction(p.weight) * Fraction(p.goal or 0) for p in parts), Fraction(0)) / weights
    whole = _renamed(parts[0], goal)
    first, _ = window_of(whole.window, ledger.span.last)
    periods = [ledger.measured(part, ledger.span.first) for part in parts]
    windows = [ledger.measured(part, first) for part in parts]
    share, seen, of_window = (
        _weighted(parts, shares)
        for shares in (
            [p.share for p in periods],
            [p.seen for p in periods],
            [w.seen for w in windows],
        )
    )
    if isinstance(share, Missing):
        return Standing(whole, share, COMPOSITE, share, Verdict.UNKNOWN, share)
    assert whole.goal is not None
    verdict = judge(share, whole.goal, strict=whole.strict)
    left: Budget | Missing
    if isinstance(seen, Missing):
        left = seen
    elif isinstance(of_window, Missing):
        left = of_window
    else:
        left = budget(whole, of_window, seen, max(w.days for w in windows), ledger.span.last)
    return Standing(whole, band(share), COMPOSITE, share, verdict, left)


def _weighted(parts: Sequence[Objective], shares: Sequence[Share | Missing]) -> Share | Missing:
    """The weighted mean of the parts' shares, or why one of them is not there."""
    found = []
    for part, share in zip(parts, shares, strict=True):
        if isinstance(share, Missing):
            return share
        found.append((part.weight, share))
    return composite(found)


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


def _value(objective: Objective, period: _Measured) -> tuple[Shown, str]:
    """The indicator's own value over the period, and what it is."""
    fact = period.fact
    if isinstance(fact, Missing):
        return fact, ""
    if isinstance(fact, TargetUptime):
        share = period.share
        return (share, "") if isinstance(share, Missing) else (band(share), "availability")
    of = objective.indicator
    if isinstance(of, Counts):
        if fact.histogram is not None and latency_bound_ms(of) is not None:
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
    name = f"p{numeral(plain(share * 100))}"
    if isinstance(found, Missing):
        return found, name
    assert isinstance(objective.indicator, Counts)
    scale = latency_scale(objective.indicator)
    low, high = found
    milliseconds = [None if x is None else numeral(plain(x * scale)) for x in (low, high)]
    if high is None:
        return text(f"above {milliseconds[0]} ms"), name
    return (
        Number(value=high * scale, unit="ms"),
        f"{name}, in the bucket {milliseconds[0]} to {milliseconds[1]} ms",
    )


def _of_figure(
    objective: Objective, of: ReportFigure, ledger: Ledger, figures: Mapping[str, Figure]
) -> Standing:
    note = f"figure {of.figure}"
    measure = BY_NAME.get(of.figure.partition(".")[0])
    figure = figures.get(of.figure)
    shown = _no_figure(of, measure, ledger) if figure is None else figure.value
    number = _number(shown)
    verdict: Verdict | None = None
    share: Share | Missing = Missing(why=Why.NO_DATA, detail="nothing happened to be judged")
    if objective.goal is None:
        share = Missing(why=Why.NOT_MEASURED)
    elif isinstance(number, Missing):
        share, verdict = number, None if number.why in NO_GAP else Verdict.UNKNOWN
    elif number is not None:
        met = COMPARE[of.comparator](number, Fraction(of.value))
        share = Share(Fraction(int(met)), Fraction(int(met)))
        verdict = Verdict.MET if met else Verdict.MISSED
        if measure and ledger.unseen(measure.name) and (met or isinstance(shown, Ratio | Bps)):
            verdict = Verdict.UNKNOWN  # a day that nobody saw may turn a share either way
    told = figure is not None and figure.verdict is not None
    return Standing(objective, shown, note, share, verdict, None, told)


def _no_figure(of: ReportFigure, measure: Measure[Any] | None, ledger: Ledger) -> Missing:
    """Why the report does not have a figure."""
    fact = None if measure is None else ledger.facts.merged(measure)
    if isinstance(fact, Missing):
        return fact
    return Missing(why=Why.NOT_MEASURED, detail=f"the report has no figure {of.figure}")


def _number(value: Shown) -> Fraction | Missing | None:
    """A figure's value as one exact number in the unit of its kind: %, bps, s, currency.

    None where nothing happened: 0/0, or words instead of a number ("no critical alert fired").
    """
    match value:
        case Missing():
            return value
        case Ratio():
            return None if value.fraction is None else value.fraction * 100
        case Bps():
            return value.value
        case Money():
            return Fraction(value.amount)
        case Count():
            return Fraction(value.value)
        case Number():
            return Fraction(value.value)
        case Duration():
            return Fraction(value.ms, 1000)
    return None


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
    open_ = len(judged) - met - len(missed)
    words = f"{met} of {len(judged)} promises kept"
    if missed:
        words += f"; missed: {', '.join(s.objective.title for s in missed)}"
    share: Shown = Ratio(numerator=Decimal(met), denominator=Decimal(met + len(missed)))
    if open_ == len(judged):
        share = Missing(why=Why.NO_DATA, detail="no promise can be judged")
    kept = Figure(
        id="service_levels.kept",
        label="Promises kept, availability included",
        value=share,
        note=f"{met} kept, {len(missed)} missed" + (f", {open_} not known" if open_ else ""),
    )
    return section.model_copy(
        update={
            "summary": words + ".",
            "verdict": worst(s.verdict for s in shown),
            "figures": (
                kept,
                *(
                    _figure(s)
                    for s in shown
                    if s.verdict in (Verdict.MISSED, Verdict.UNKNOWN) and not s.told
                ),
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
    value = standing.measured
    if isinstance(standing.objective.indicator, Threshold) and isinstance(standing.share, Share):
        value = band(standing.share)  # a mean within its bound says nothing of the time beyond it
    return Figure(
        id=f"service_levels.{standing.id}",
        label=standing.objective.title,
        value=value,
        verdict=standing.verdict,
        note=promise(standing.objective),
    )


COLUMNS = (
    Column(key="objective", label="Objective", align="left"),
    Column(key="promise", label="Promise", align="left"),
    Column(key="measured", label="Measured"),
    Column(key="what", label="Which is", align="left"),
    Column(key="share", label="Share of good"),
    Column(key="verdict", label="Verdict", align="left"),
    Column(key="left", label="Budget left"),
    Column(key="burn", label="Burn rate"),
    Column(key="lasts", label="Lasts until", align="left"),
    Column(key="covered", label="Days of the window known", align="left", shown=False),
    Column(key="detail", label="In detail", align="left", shown=False),
)


def _table(system: str, rows: Sequence[Standing]) -> Table:
    return Table(
        id=f"objectives_{system}",
        title=system.replace("_", " ").capitalize(),
        whole=True,
        columns=COLUMNS,
        rows=tuple(_row(s) for s in rows),
        top=40,
    )


def _row(s: Standing) -> tuple[Shown, ...]:
    share: Shown = text("")
    tracked = s.objective.goal is None and isinstance(s.objective.indicator, Threshold)
    told = tracked or isinstance(s.objective.indicator, ReportFigure)
    if isinstance(s.share, Share) and not told:
        share = band(s.share)
    what, _, detail = s.what.partition(", ")
    if isinstance(s.objective.indicator, ReportFigure):
        what, detail = "figure", s.what
    return (
        text(s.objective.title),
        text(promise(s.objective)),
        s.measured,
        text(what),
        share,
        text(s.verdict.value if s.verdict else ""),
        *budget_cells(s),
        text(detail),
    )


def budget_cells(s: Standing) -> tuple[Shown, Shown, Shown, Shown]:
    """Budget left, burn rate, the day on which it ends, and on how many days that rests."""
    if s.budget is None:
        return text(""), text(""), text(""), text("")
    if isinstance(s.budget, Missing):
        return s.budget, text(""), text(""), text("")
    known = text(f"{s.budget.covered} of {s.budget.elapsed}")
    return left_of(s.budget), _burn(s.budget), text(lasts(s.budget)), known


def left_of(b: Budget) -> Shown:
    """The part of the budget that is left; the unfavourable bound is never rounded up."""
    return band(Share(b.left_low, b.left_high), places=4)


def _burn(b: Budget) -> Shown:
    high = Decimal(-((-b.burn_high * 100).__floor__())).scaleb(-2)
    low = Decimal((b.burn_low * 100).__floor__()).scaleb(-2)
    if low == high:
        return Number(value=high)
    return Text(text=ours(f"{plain(low)} to {plain(high)}"))


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
