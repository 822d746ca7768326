"""Capacity: what is used of what is allocated, where that is going, and when it runs out.

The trend is the median of the slopes between all pairs of days (Theil 1950; Sen 1968, "Estimates
of the regression coefficient based on Kendall's tau"), which a third of wild days can not bend.
Its interval is Sen's, by the variance of Kendall's S, as in Gilbert (1987), "Statistical Methods
for Environmental Pollution Monitoring", 16.5. The line through the data has the intercept
median(y − b t) (Conover 1999, 5.5). Days are taken as independent; where one busy week follows
another the true interval is wider.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ..model import EXACT, Missing, Number, Ratio, Shown, Why, exact_sum, plain
from ..numerals import numeral
from ..page import Attention, Column, Figure, Line, LinesChart, Point, Section, Table, text
from . import LEVEL, LEVEL_WORDS, listed, number, significant

#: Fewer measured days than this say nothing of a trend: a week has to be whole.
LEAST_DAYS = 7
#: A date further away than this is not printed: nobody can know it.
HORIZON_DAYS = 365
AHEAD_DAYS = 28
#: Resources that run out within so many days need a person.
SOON_DAYS = 90
#: Charts of what runs out first, at most; the table has all.
MOST_CHARTS = 2


@dataclass(frozen=True)
class Use:
    """How much of a resource was used on one day, in the resource's unit.

    ``p95`` is the level that was exceeded in a twentieth of the day's time.
    """

    mean: Decimal
    p95: Decimal
    highest: Decimal


@dataclass(frozen=True)
class Resource:
    """A resource with its daily use: ``storage``, "Storage", "GB", 500.

    ``days`` are in order of day, without repetition, up to the last day of the report.
    """

    id: str
    title: str
    unit: str
    allocated: Decimal
    days: tuple[tuple[date, Use | Missing], ...]

    def __post_init__(self) -> None:
        if self.allocated <= 0:
            raise ValueError(
                f"{self.id}: allocated must be above 0 {self.unit}, is {self.allocated}"
            )
        days = [day for day, _ in self.days]
        if any(later <= day for day, later in pairwise(days)):
            raise ValueError(f"{self.id}: the days of use must be in order, each once")


@dataclass(frozen=True)
class Slope:
    """A slope per day with the ends of its interval; ``low`` ≤ ``estimate`` ≤ ``high``."""

    estimate: float
    low: float
    high: float


def theil_sen(
    days: npt.NDArray[np.float64], values: npt.NDArray[np.float64], level: float = LEVEL
) -> Slope:
    """Median of the slopes of all pairs, and the slopes that bound it with certainty ``level``.

    ``days`` (n,) are distinct, ``values`` (n,) are of those days. With N' slopes in order and
    C = z √Var(S), the bounds are the (N' − C)/2-th and the ((N' + C)/2 + 1)-th, rounded half-even
    and kept within the slopes that there are (Gilbert 1987, 16.5.1);
    Var(S) = [n(n−1)(2n+5) − Σ t(t−1)(2t+5)]/18 over the groups of t equal values (16.4.2).
    Raises ``ValueError`` where there are fewer than two distinct days.
    """
    n = len(values)
    i, j = np.triu_indices(n, k=1)
    apart = days[j] - days[i]
    if n < 2 or not np.all(apart):
        raise ValueError(f"a slope needs at least two days, each once; got {n} values")
    slopes = np.sort((values[j] - values[i]) / apart)
    _, ties = np.unique(values, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - int(np.sum(ties * (ties - 1) * (2 * ties + 5)))) / 18
    spread = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance)
    lower = max(round((len(slopes) - spread) / 2) - 1, 0)
    upper = min(round((len(slopes) + spread) / 2), len(slopes) - 1)
    return Slope(float(np.median(slopes)), float(slopes[lower]), float(slopes[upper]))


@dataclass(frozen=True)
class Exhaustion:
    """When a line reaches what is allocated.

    ``state`` is "reached" if it is there on the last day already, "on" with the first whole day
    at or above it, "beyond" if that is more than a year away, "never" if the line does not rise.
    """

    state: str
    day: date | None = None

    def words(self) -> str:
        """For the page."""
        if self.day is not None:
            return self.day.isoformat()
        return {"reached": "reached", "beyond": "not within a year", "never": "no growth"}[
            self.state
        ]


@dataclass(frozen=True)
class Forecast:
    """The trend of the days' 95th percentiles and what follows from it.

    ``earliest`` is of the steepest line within the interval, ``latest`` of the flattest, each
    through the middle of the data. ``line`` is the fitted level by day, from the first day of the
    history to ``AHEAD_DAYS`` past the last, or a week past exhaustion if that is later.
    """

    slope: Slope
    exhaustion: Exhaustion
    earliest: Exhaustion
    latest: Exhaustion
    line: tuple[tuple[date, float], ...]

    @property
    def grows(self) -> bool:
        """Whether growth is shown: the whole interval of the slope is above zero."""
        return self.slope.low > 0


def forecast(resource: Resource) -> Forecast | Missing:
    """Trend and exhaustion of ``resource``; Missing where under a week of days was measured."""
    known = [(day, use.p95) for day, use in resource.days if not isinstance(use, Missing)]
    if len(known) < LEAST_DAYS:
        return Missing(
            why=Why.TOO_SHORT, detail=f"{len(known)} measured days, {LEAST_DAYS} are needed"
        )
    first, last = resource.days[0][0], resource.days[-1][0]
    at = np.array([(day - first).days for day, _ in known], dtype=np.float64)
    values = np.array([float(v) for _, v in known])
    slope = theil_sen(at, values)
    now = (last - first).days

    def reaches(per_day: float) -> Exhaustion:
        start = float(np.median(values - per_day * at))
        allocated = float(resource.allocated)
        if start + per_day * now >= allocated:
            return Exhaustion("reached")
        if per_day <= 0:
            return Exhaustion("never")
        after = (allocated - start) / per_day - now
        if after > HORIZON_DAYS:
            return Exhaustion("beyond")
        # A hair above a whole day is that day: 30.000000000000004 comes of binary fractions.
        return Exhaustion("on", last + timedelta(days=math.ceil(round(after, 9))))

    level = float(np.median(values - slope.estimate * at))
    exhaustion = reaches(slope.estimate)
    ahead = 0 if exhaustion.day is None else (exhaustion.day - last).days + 7
    return Forecast(
        slope=slope,
        exhaustion=exhaustion,
        earliest=reaches(slope.high),
        latest=reaches(slope.low),
        line=tuple(
            (first + timedelta(days=d), level + slope.estimate * d)
            for d in range(now + max(AHEAD_DAYS, ahead) + 1)
        ),
    )


def capacity_section(resources: Sequence[Resource], first: date) -> Section:
    """Use, efficiency, trend and exhaustion of each resource.

    ``first`` is the first day of the report's period: use is told over the days from it on, the
    trend over all days that each resource has.
    """
    forecasts = [forecast(r) for r in resources]
    both = list(zip(resources, forecasts, strict=True))
    # Of what was not measured at all the figure has the reason.
    told = [(r, f) for r, f in both if _period(r, first) or isinstance(f, Forecast)]
    return Section(
        id="capacity",
        title="Capacity",
        summary=_summary(both),
        figures=tuple(_figure(r, f, first) for r, f in both),
        tables=(_table(told, first),) if told else (),
        charts=tuple(_chart(r, f) for r, f in _ending(both)[:MOST_CHARTS]),
        notes=(
            "Used is the mean over the report's days, efficiency is used over allocated. Trend "
            "and exhaustion are of the daily 95th percentile: the median slope over all pairs of "
            f"days (Theil and Sen) with its {LEVEL_WORDS} interval (Sen 1968; Gilbert 1987, 16.5), "
            "from whose ends come the dates in brackets. A straight line is assumed, and days "
            "independent of each other; no date is told beyond a year.",
        )
        if told
        else (),
    )


def _ending(
    both: Sequence[tuple[Resource, Forecast | Missing]],
) -> list[tuple[Resource, Forecast]]:
    """What has run out, then what is shown to do so within a year, the first one first."""
    found = [
        (forecast.exhaustion.day or date.min, resource, forecast)
        for resource, forecast in both
        if isinstance(forecast, Forecast)
        and (
            forecast.exhaustion.state == "reached"
            or (forecast.exhaustion.day is not None and forecast.grows)
        )
    ]
    return [(r, f) for _, r, f in sorted(found, key=lambda x: (x[0], x[1].id))]


def capacity_attention(
    resources: Sequence[Resource], within_days: int = SOON_DAYS
) -> tuple[Attention, ...]:
    """What has run out (alarm) or will within ``within_days``, growth being shown (warning)."""
    found = []
    for resource in resources:
        outlook = forecast(resource)
        if isinstance(outlook, Missing):
            continue
        end = outlook.exhaustion
        limit = f"{numeral(plain(resource.allocated))} {resource.unit}"
        if end.state == "reached":
            found.append(
                Attention(
                    severity="alarm",
                    text=f"{resource.title}: all of {limit} is in use.",
                    section="capacity",
                )
            )
        elif (
            end.day is not None
            and outlook.grows
            and (end.day - resource.days[-1][0]).days <= within_days
        ):
            found.append(
                Attention(
                    severity="warning",
                    text=f"{resource.title}: {limit} will be used up on {end.words()} "
                    f"({_interval(outlook)}).",
                    section="capacity",
                )
            )
    return tuple(found)


def _interval(outlook: Forecast) -> str:
    low, high = outlook.earliest.words(), outlook.latest.words()
    return f"earliest {low}, latest {high}" if low != high else f"at either end {low}"


def _summary(both: Sequence[tuple[Resource, Forecast | Missing]]) -> str:
    if not both:
        return "No allocated resource is configured."
    unknown = sum(isinstance(f, Missing) for _, f in both)
    if unknown == len(both):
        return "No trend: every history is too short."
    ending = _ending(both)
    reached = [r.title for r, f in ending if f.exhaustion.state == "reached"]
    if reached:
        return f"Used up: {listed(reached)}."
    rest = f" {unknown} of {len(both)} have too short a history." if unknown else ""
    if not ending:
        return f"Nothing is shown to run out within a year.{rest}"
    resource, outlook = ending[0]
    day = outlook.exhaustion.words()
    return f"{resource.title} runs out first, on {day} ({_interval(outlook)}).{rest}"


def _period(resource: Resource, first: date) -> list[Use]:
    return [use for day, use in resource.days if day >= first and not isinstance(use, Missing)]


def _efficiency(resource: Resource, first: date) -> Ratio | Missing:
    """Mean use over allocated, exactly: Σ of the daily means over n × allocated."""
    used = _period(resource, first)
    if not used:
        absent = [use for day, use in resource.days if day >= first and isinstance(use, Missing)]
        return absent[-1] if absent else Missing(why=Why.NO_DATA, detail="no day was measured")
    return Ratio(
        numerator=exact_sum(use.mean for use in used),
        denominator=EXACT.multiply(resource.allocated, Decimal(len(used))),
    )


def _figure(resource: Resource, outlook: Forecast | Missing, first: date) -> Figure:
    end = f"no trend: {outlook}" if isinstance(outlook, Missing) else outlook.exhaustion.words()
    dated = isinstance(outlook, Forecast) and outlook.exhaustion.day is not None
    return Figure(
        id=f"capacity.{resource.id}",
        label=f"{resource.title}, of {numeral(plain(resource.allocated))} {resource.unit}",
        value=_efficiency(resource, first),
        note=f"runs out {end}" if dated else end,
        series=tuple(
            Point(day=day, value=use if isinstance(use, Missing) else use.mean)
            for day, use in resource.days
        ),
    )


def _table(both: Sequence[tuple[Resource, Forecast | Missing]], first: date) -> Table:
    columns = [
        Column(key="resource", label="Resource", align="left"),
        Column(key="allocated", label="Allocated"),
        Column(key="used_mean", label="Used, mean"),
        Column(key="used_p95", label="p95 of the busiest day"),
        Column(key="used_highest", label="Highest"),
        Column(key="efficiency", label="Efficiency"),
        Column(key="trend", label="Trend per week"),
        Column(key="ends", label="Runs out"),
        Column(key="trend_week", label="Trend per week", shown=False),
        Column(key="trend_low", label="at least", shown=False),
        Column(key="trend_high", label="at most", shown=False),
        Column(key="exhaustion", label="Runs out", align="left", shown=False),
        Column(key="earliest", label="Earliest", align="left", shown=False),
        Column(key="latest", label="Latest", align="left", shown=False),
    ]
    return Table(
        id="capacity",
        title="Use, trend and exhaustion",
        columns=tuple(columns),
        rows=tuple(_row(r, f, first) for r, f in both),
    )


def _row(resource: Resource, outlook: Forecast | Missing, first: date) -> tuple[Shown, ...]:
    efficiency, used, unit = _efficiency(resource, first), _period(resource, first), resource.unit
    none = text("–")  # where the cell before it has the reason
    if isinstance(efficiency, Missing):
        use: list[Shown] = [efficiency, none, none, none]
    else:
        mean = efficiency.fraction
        assert mean is not None  # what is allocated is above 0
        use = [
            number(mean * Fraction(resource.allocated), unit, 3),
            number(max(u.p95 for u in used), unit, 3),
            number(max(u.highest for u in used), unit, 3),
            efficiency,
        ]
    if isinstance(outlook, Missing):
        ahead: list[Shown] = [outlook, none, *([Missing(why=outlook.why)] * 6)]
    else:
        slopes = (outlook.slope.estimate, outlook.slope.low, outlook.slope.high)
        dates = (outlook.exhaustion, outlook.earliest, outlook.latest)
        ahead = [text(_weekly(outlook.slope, unit)), text(_ends(outlook))]
        ahead += [number(x * 7, unit, 3) for x in slopes]
        ahead += [text(x.words()) for x in dates]
    allocated = Number(value=resource.allocated, unit=unit)
    return (text(resource.title), allocated, *use, *ahead)


def _weekly(slope: Slope, unit: str) -> str:
    """ "+12.5 GB (12.1 to 12.9)", "0 GB (−0.2 to 0.3)"."""
    middle, low, high = (significant(x * 7, 2) for x in (slope.estimate, slope.low, slope.high))
    sign = "+" if middle > 0 else ""
    words = f"{sign}{numeral(plain(middle))} {unit}"
    if not low == middle == high:
        words += f" ({numeral(plain(low))} to {numeral(plain(high))})"
    return words.replace("-", "−")


def _ends(outlook: Forecast) -> str:
    """ "2026-02-06 (2026-02-05 to 2026-02-08)", "no growth (2026-11-01 to no growth)"."""
    middle, low, high = (x.words() for x in (outlook.exhaustion, outlook.earliest, outlook.latest))
    return middle if low == middle == high else f"{middle} ({low} to {high})"


def _chart(resource: Resource, outlook: Forecast | Missing) -> LinesChart:
    """History, fitted line and what is allocated.

    The trend comes first where there is one: gaps in a chart's first line are marked as missing,
    and the days to come are no gap.
    """
    used = [(day, None if isinstance(u, Missing) else u.p95) for day, u in resource.days]
    by_day = dict(used)
    # Days that the history skips are gaps as well.
    start, end = used[0][0], used[-1][0]
    days = [start + timedelta(days=d) for d in range((end - start).days + 1)]
    lines: tuple[Line, ...]
    if isinstance(outlook, Missing):
        words = "no trend yet"
        lines = (Line(label="used (p95 of the day)", values=tuple(by_day.get(d) for d in days)),)
    else:
        days = [day for day, _ in outlook.line]
        words = f"runs out: {outlook.exhaustion.words()}"
        fitted = tuple(significant(value, 6) for _, value in outlook.line)
        lines = (
            Line(label="trend", values=fitted),
            Line(label="used (p95 of the day)", values=tuple(by_day.get(d) for d in days)),
        )
    limit = Line(label="allocated", values=(resource.allocated,) * len(days))
    return LinesChart(
        id=f"capacity_{resource.id}",
        title=f"{resource.title}: use and forecast",
        alt=f"{resource.title} used from {start} to {end} of "
        f"{numeral(plain(resource.allocated))} {resource.unit}; {words}",
        unit=resource.unit,
        labels=tuple(day.isoformat() for day in days),
        lines=(*lines, limit),
    )
