"""Regression and anomalies: what is slower, or does less, than in the days before.

A period of several days is compared with the trailing days by the rank-sum test (Mann and Whitney
1947) and told as the shift of Hodges and Lehmann (1963) with the interval of Moses (Hollander and
Wolfe 1999, 4.1 to 4.3). A single day is told by its modified z-score 0.6745 (x − median) / MAD
(Iglewicz and Hoaglin 1993, "How to Detect and Handle Outliers"). Weekdays are compared with
weekdays and weekends with weekends where there are enough of them; U is then summed over both
(van Elteren's stratification without weights; Lehmann 1975, 3.3). Many objectives are looked at,
so the p of all are adjusted together (Benjamini and Hochberg 1995).

A change counts where it is both shown (adjusted p ≤ 5 %) and large enough to matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, groupby, pairwise
from statistics import NormalDist, median
from typing import Literal

from ..model import Count, Missing, Number, Shown, Why, plain
from ..numerals import numeral
from ..page import Attention, Column, Figure, Line, LinesChart, Point, Section, Table, text
from . import LEVEL, LEVEL_WORDS, listed, measured, number, significant, to_places
from .student import quantile, tail

#: Fewer trailing days than this are no history.
LEAST_DAYS = 7
#: Days of the same kind (weekday, weekend) that make a comparison within the kind possible.
LEAST_OF_KIND = 7
#: A smaller change is no alarm however certain it is.
LEAST_EFFECT_PCT = Decimal(5)
#: The false discovery rate.
RATE = 0.05
#: Iglewicz and Hoaglin's limit for a modified z-score.
OUTLIER = 3.5
#: Φ⁻¹(3/4): the MAD of a normal distribution in standard deviations.
MAD_OF_NORMAL = 0.6745
#: √(π/2), which makes the mean absolute deviation a standard deviation where the MAD is 0.
MEAN_AD_TO_SIGMA = 1.253314
#: Charts of what changed, at most; the table has all.
MOST_CHARTS = 6

Kind = Literal["latency", "throughput"]
KINDS: tuple[Kind, ...] = ("latency", "throughput")
Outcome = Literal["regression", "improvement", "no change"]


@dataclass(frozen=True)
class Watched:
    """A statistic that is watched: daily latency (p95, in ms) or throughput (per second).

    ``trailing`` are the days before the period (28, say), ``period`` those of it, both in order;
    a Missing day is left out. ``kind`` tells which direction is a regression: up for a latency,
    down for a throughput.
    """

    id: str
    title: str
    kind: Kind
    unit: str
    trailing: tuple[Point, ...]
    period: tuple[Point, ...]

    def __post_init__(self) -> None:
        days = [p.day for p in (*self.trailing, *self.period)]
        if any(later <= day for day, later in pairwise(days)):
            raise ValueError(
                f"{self.id}: trailing days and period must be in order and apart, each day once"
            )


@dataclass(frozen=True)
class Contrast:
    """How the period differs from the trailing days, in the statistic's unit.

    ``shift`` is the effect with its interval ``low`` to ``high``, None where so few days have
    none. ``p`` is two-sided and of this objective alone. ``score`` is the modified z-score of a
    single day, None for several days and where the trailing days are all alike.
    """

    method: str
    days_before: int
    days_now: int
    before: float
    now: float
    shift: float
    low: float | None
    high: float | None
    p: float
    score: float | None = None

    @property
    def effect_pct(self) -> float | None:
        """The shift in percent of the trailing median, None where that is 0."""
        return 100 * self.shift / abs(self.before) if self.before else None


@dataclass(frozen=True)
class Comparison:
    """One objective's test and its p, adjusted for all that were tested with it."""

    watched: Watched
    test: Contrast | Missing
    adjusted_p: float | None
    outcome: Outcome | None

    @property
    def words(self) -> str:
        """ "slower by 1.2 ms (+24.0 %)", "no change", or why nothing can be said."""
        if isinstance(self.test, Missing):
            return str(self.test)
        if self.outcome == "no change":
            return "no change"
        return change_words(self.watched, self.test.shift, self.test.effect_pct)


@dataclass(frozen=True)
class Anomaly:
    """A day of the period that lies far from the trailing days of its kind.

    ``score`` is None where the trailing days are all alike, so that any difference is one.
    """

    watched: Watched
    day: date
    value: Decimal
    median: float
    score: float | None
    effect_pct: float | None


# --- estimators ----------------------------------------------------------------------------


def modified_z(value: float, trailing: Sequence[float]) -> float | None:
    """Iglewicz and Hoaglin's score of ``value`` against ``trailing`` (at least one).

    0.6745 (x − median) / MAD. Where the MAD is 0 (half the days or more are equal), the mean
    absolute deviation takes its place: (x − median) / (1.253314 MeanAD). None if that is 0 too.
    """
    middle = median(trailing)
    deviations = [abs(x - middle) for x in trailing]
    mad = median(deviations)
    if mad:
        return MAD_OF_NORMAL * (value - middle) / mad
    mean = math.fsum(deviations) / len(deviations)
    return (value - middle) / (MEAN_AD_TO_SIGMA * mean) if mean else None


@dataclass(frozen=True)
class RankSum:
    """A rank-sum test: ``u`` counts the pairs in which "now" is the larger one, ties as a half."""

    u: float
    p: float
    exact: bool
    shift: float
    low: float | None
    high: float | None


def rank_sum(
    strata: Iterable[tuple[Sequence[float], Sequence[float]]], level: float = LEVEL
) -> RankSum:
    """Mann–Whitney test of (before, now) samples, stratified, with the Hodges–Lehmann shift.

    The p is two-sided: exact without ties, else by the normal approximation with the correction
    for ties and continuity (Hollander and Wolfe 1999, 4.1). ``shift`` is the median of all
    differences now − before within strata; its interval runs from the k-th smallest to the k-th
    largest of them, with k the largest such that P(U ≤ k − 1) ≤ (1 − level)/2. None where even
    k = 1 is too much. With ties the interval is wider than need be, never narrower.
    Raises ``ValueError`` where no stratum has both samples.
    """
    both = [(before, now) for before, now in strata if before and now]
    if not both:
        raise ValueError("a rank-sum test needs at least one value on either side")
    differences = sorted(y - x for before, now in both for x in before for y in now)
    pairs = len(differences)
    wins = sum(d > 0 for d in differences)
    draws = sum(d == 0 for d in differences)
    u = wins + draws / 2
    cumulated = _null(tuple(sorted((len(before), len(now)) for before, now in both)))
    ties = [
        [len(list(group)) for _, group in groupby(sorted((*before, *now)))] for before, now in both
    ]
    exact = all(t == 1 for groups in ties for t in groups)
    if exact:
        # P(U ≥ u) = P(U ≤ pairs − u) by symmetry.
        p = float(min(Fraction(1), 2 * Fraction(cumulated[min(wins, pairs - wins)], cumulated[-1])))
    else:
        p = _normal_p(u, pairs, both, ties)
    beyond = Fraction(1 - level).limit_denominator(10**6) / 2
    k = sum(Fraction(c, cumulated[-1]) <= beyond for c in cumulated)
    return RankSum(
        u=u,
        p=p,
        exact=exact,
        shift=median(differences),
        low=differences[k - 1] if k else None,
        high=differences[pairs - k] if k else None,
    )


def _normal_p(
    u: float,
    pairs: int,
    both: Sequence[tuple[Sequence[float], Sequence[float]]],
    ties: Sequence[Sequence[int]],
) -> float:
    variance = 0.0
    for (before, now), groups in zip(both, ties, strict=True):
        m, n, total = len(before), len(now), len(before) + len(now)
        tied = sum(t**3 - t for t in groups) / (total * (total - 1))
        variance += m * n / 12 * (total + 1 - tied)
    if not variance:
        return 1.0  # all values are equal
    z = (abs(u - pairs / 2) - 0.5) / math.sqrt(variance)
    return min(1.0, 2 * NormalDist().cdf(-z))


@lru_cache(maxsize=64)
def _null(sizes: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """How many arrangements have U ≤ u, for u = 0, 1, …, over strata of these sizes together."""
    counts = [1]
    for m, n in sizes:
        own = _arrangements(m, n)
        summed = [0] * (len(counts) + len(own) - 1)
        for i, a in enumerate(counts):
            for j, b in enumerate(own):
                summed[i + j] += a * b
        counts = summed
    return tuple(accumulate(counts))


def _arrangements(m: int, n: int) -> list[int]:
    """Arrangements by U: the coefficients of the Gaussian binomial ∏ (1 − qⁿ⁺ⁱ)/(1 − qⁱ), i ≤ m."""
    counts = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for power in range(m * n, n + i - 1, -1):
            counts[power] -= counts[power - n - i]
        for power in range(i, m * n + 1):
            counts[power] += counts[power - i]
    return counts


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Each p adjusted for all: the smallest rate of false discoveries at which it is one.

    min over j ≥ i of p₍ⱼ₎ m / j, in the order given.
    """
    order = sorted(range(len(ps)), key=lambda i: ps[i], reverse=True)
    adjusted, least = [0.0] * len(ps), 1.0
    for above, index in enumerate(order):
        least = min(least, ps[index] * len(ps) / (len(ps) - above))
        adjusted[index] = least
    return adjusted


def single_day(value: float, trailing: Sequence[float]) -> Contrast:
    """A single day against ``trailing`` (at least one): its score, p and interval by Student's t.

    The MAD estimates the spread as well as 0.37 times as many days' standard deviation would
    (its efficiency, Rousseeuw and Croux 1993), hence that many degrees of freedom; it is corrected
    for few days by n/(n − 0.8) (Croux and Rousseeuw 1992). The median's own variance, π/2 of the
    mean's, adds to the day's. Where all trailing days are alike, p is what ranks alone allow.
    """
    n = len(trailing)
    middle, score = median(trailing), modified_z(value, trailing)
    freedom = max(1.0, 0.37 * (n - 1))
    wide = math.sqrt(1 + math.pi / (2 * n)) * n / (n - 0.8)
    low = high = None
    if score is None:
        p = 1.0 if value == middle else 1 / (n + 1)
    else:
        p = 2 * tail(abs(score) / wide, freedom)
        if score:
            sigma = (value - middle) / score
            margin = quantile(LEVEL, freedom) * wide * sigma
            low, high = value - middle - margin, value - middle + margin
    return Contrast(
        method="modified z-score",
        days_before=n,
        days_now=1,
        before=middle,
        now=value,
        shift=value - middle,
        low=low,
        high=high,
        p=p,
        score=score,
    )


# --- comparisons ---------------------------------------------------------------------------


def compare(
    series: Sequence[Watched], least_effect_pct: Decimal = LEAST_EFFECT_PCT
) -> tuple[Comparison, ...]:
    """Every objective's period against its trailing days, with p adjusted over all of them."""
    tests = [_test(s) for s in series]
    adjusted = iter(benjamini_hochberg([t.p for t in tests if isinstance(t, Contrast)]))
    found = []
    for watched, test in zip(series, tests, strict=True):
        if isinstance(test, Missing):
            found.append(Comparison(watched, test, None, None))
            continue
        p = next(adjusted)
        matters = p <= RATE and _is_large(test.shift, test.effect_pct, least_effect_pct)
        worse = (test.shift > 0) == (watched.kind == "latency")
        outcome: Outcome = "no change"
        if matters:
            outcome = "regression" if worse else "improvement"
        found.append(Comparison(watched, test, p, outcome))
    return tuple(found)


def anomalies(
    series: Sequence[Watched], least_effect_pct: Decimal = LEAST_EFFECT_PCT
) -> tuple[Anomaly, ...]:
    """Days of the period whose modified z-score is beyond 3.5, and that matter."""
    found = []
    for watched in series:
        trailing = measured(watched.trailing)
        if len(trailing) < LEAST_DAYS:
            continue
        for day, value in measured(watched.period):
            own = _of_kind(trailing, day)
            middle, score = median(own), modified_z(float(value), own)
            away = float(value) - middle
            effect = 100 * away / abs(middle) if middle else None
            far = abs(score) > OUTLIER if score is not None else bool(away)
            if far and _is_large(away, effect, least_effect_pct):
                found.append(Anomaly(watched, day, value, middle, score, effect))
    return tuple(found)


def _is_large(shift: float, effect_pct: float | None, least: Decimal) -> bool:
    """Whether a change matters; where nothing was before, any change does."""
    return bool(shift) if effect_pct is None else abs(effect_pct) >= least


def _is_weekend(day: date) -> bool:
    return day.weekday() >= 5


def _of_kind(trailing: Sequence[tuple[date, Decimal]], day: date) -> list[float]:
    """The trailing days that ``day`` is compared with: its own kind if there are enough."""
    own = [float(v) for d, v in trailing if _is_weekend(d) == _is_weekend(day)]
    return own if len(own) >= LEAST_OF_KIND else [float(v) for _, v in trailing]


def _test(watched: Watched) -> Contrast | Missing:
    trailing, period = measured(watched.trailing), measured(watched.period)
    if not period:
        return Missing(why=Why.NO_DATA, detail="no day of the period was measured")
    if len(trailing) < LEAST_DAYS:
        return Missing(
            why=Why.TOO_SHORT, detail=f"{len(trailing)} trailing days, {LEAST_DAYS} are needed"
        )
    if len(period) == 1:
        day, value = period[0]
        return single_day(float(value), _of_kind(trailing, day))

    kinds = sorted({_is_weekend(day) for day, _ in period})
    strata = [
        (
            [float(v) for d, v in trailing if _is_weekend(d) == kind],
            [float(v) for d, v in period if _is_weekend(d) == kind],
        )
        for kind in kinds
    ]
    if any(len(before) < LEAST_OF_KIND for before, _ in strata):
        strata = [([float(v) for _, v in trailing], [float(v) for _, v in period])]
    result = rank_sum(strata)
    before = [x for own, _ in strata for x in own]
    return Contrast(
        method=f"rank sum, {'exact' if result.exact else 'normal'}",
        days_before=len(before),
        days_now=len(period),
        before=median(before),
        now=median(float(v) for _, v in period),
        shift=result.shift,
        low=result.low,
        high=result.high,
        p=result.p,
    )


# --- words and sections --------------------------------------------------------------------


def change_words(watched: Watched, shift: float, effect_pct: float | None) -> str:
    """ "slower by 1.2 ms (+24.0 %)"; "less by 12 /s (−20.0 %)"."""
    amount = f"{numeral(plain(significant(abs(shift), 3)))} {watched.unit}"
    share = "" if effect_pct is None else f" ({_pct(effect_pct)})"
    return f"{_direction(watched, shift)} by {amount}{share}"


def _direction(watched: Watched, shift: float) -> str:
    up, down = ("slower", "faster") if watched.kind == "latency" else ("more", "less")
    return up if shift > 0 else down


def _pct(effect_pct: float) -> str:
    return f"{numeral(to_places(effect_pct), '+')} %".replace("-", "−")


def regression_section(
    series: Sequence[Watched], least_effect_pct: Decimal = LEAST_EFFECT_PCT
) -> Section:
    """Every watched objective against its trailing days, and the period's anomalous days.

    A figure is for what changed; the tables have all that were compared, and a note names those
    that could not be.
    """
    compared = compare(series, least_effect_pct)
    odd = anomalies(series, least_effect_pct)
    tested = [c for c in compared if isinstance(c.test, Contrast)]
    changed = [c for c in tested if c.outcome in ("regression", "improvement")]
    return Section(
        id="regression",
        title="Regression and anomalies",
        summary=_summary(compared, odd),
        figures=tuple(_figures(compared, tested, changed)),
        tables=tuple(_tables(tested, odd)),
        charts=tuple(_chart(c.watched) for c in changed[:MOST_CHARTS]),
        notes=_notes(compared, tested, least_effect_pct),
    )


def _figures(
    compared: Sequence[Comparison], tested: Sequence[Comparison], changed: Sequence[Comparison]
) -> Iterator[Figure]:
    if not compared:
        return
    why = next((c.test.why for c in compared if isinstance(c.test, Missing)), Why.NO_DATA)
    worse = sum(c.outcome == "regression" for c in changed)
    yield Figure(
        id="regression.found",
        label="Regressions found",
        value=Count(value=worse, unit=f"of {len(tested)}")
        if tested
        else Missing(why=why, detail="nothing could be compared"),
    )
    for c in changed:
        assert isinstance(c.test, Contrast)
        yield Figure(
            id=f"regression.{c.watched.id}",
            label=_name(c.watched),
            value=_effect(c.test.effect_pct),
            note=c.words,
        )


def _name(watched: Watched) -> str:
    """ "Orders: throughput"; "Order latency" says what it is."""
    title = watched.title
    return title if watched.kind in title.lower() else f"{title}: {watched.kind}"


def _not_compared(compared: Sequence[Comparison]) -> dict[str, list[str]]:
    """The objectives that could not be compared, by reason."""
    why: dict[str, list[str]] = {}
    for c in compared:
        if isinstance(c.test, Missing):
            why.setdefault(str(c.test), []).append(c.watched.title)
    return why


def regression_attention(
    series: Sequence[Watched], least_effect_pct: Decimal = LEAST_EFFECT_PCT
) -> tuple[Attention, ...]:
    """A warning for each regression; a note for each objective with anomalous days beside it."""
    compared = compare(series, least_effect_pct)
    found = [
        Attention(
            severity="warning",
            text=f"{c.watched.title}: {c.words} than in the {c.test.days_before} days before.",
            section="regression",
        )
        for c in compared
        if c.outcome == "regression" and isinstance(c.test, Contrast)
    ]
    told = {c.watched.id for c in compared if c.outcome in ("regression", "improvement")}
    odd = [a for a in anomalies(series, least_effect_pct) if a.watched.id not in told]
    for name, group in groupby(odd, key=lambda a: a.watched.id):
        days = list(group)
        words = listed([f"{a.day} {_shift_words(a)}" for a in days])
        found.append(
            Attention(
                severity="note",
                text=f"{days[0].watched.title}: unusual on {words}.",
                section="regression",
            )
        )
        told.add(name)
    return tuple(found)


def _shift_words(anomaly: Anomaly) -> str:
    away = float(anomaly.value) - anomaly.median
    return change_words(anomaly.watched, away, anomaly.effect_pct)


def _summary(compared: Sequence[Comparison], odd: Sequence[Anomaly]) -> str:
    if not compared:
        return "No latency or throughput is watched."
    tested = [c for c in compared if c.outcome is not None]
    if not tested:
        why = _not_compared(compared)
        because = f" ({next(iter(why))})" if len(why) == 1 else ""
        return f"Nothing could be compared with the days before{because}."
    worse = [f"{c.watched.title} ({c.words})" for c in compared if c.outcome == "regression"]
    answer = f"Worse than before: {listed(worse)}." if worse else "No regression is shown"
    if not worse:
        answer += f" in {len(tested)} objectives."
    if len(tested) < len(compared):
        answer += f" {len(compared) - len(tested)} could not be compared."
    if odd:
        names = listed(sorted({a.watched.title for a in odd}))
        answer += f" Unusual days: {names}."
    return answer


#: What is done with one day, and with several.
METHODS = {
    True: "The day is judged by its modified z-score (Iglewicz and Hoaglin); the interval of the "
    "change is as wide as usual days differ.",
    False: "The period's days are compared with the trailing ones by the rank-sum test of Mann and "
    "Whitney; the change is the shift of Hodges and Lehmann, not the difference of the medians.",
}


def _notes(
    compared: Sequence[Comparison], tested: Sequence[Comparison], least_effect_pct: Decimal
) -> tuple[str, ...]:
    why = _not_compared(compared)
    listed_ = tuple(f"Not compared ({reason}): {', '.join(of)}." for reason, of in why.items())
    if not tested:
        # One reason for all of them is in the summary.
        return listed_ if len(why) > 1 else ()
    single = {isinstance(c.test, Contrast) and c.test.days_now == 1 for c in tested}
    return (
        *listed_,
        " ".join(METHODS[one] for one in sorted(single, reverse=True))
        + f" The CSV has the {LEVEL_WORDS} interval. Weekdays are compared with weekdays and "
        "weekends with weekends where there are enough.",
        f"A change counts where it is at least {numeral(plain(least_effect_pct))} % and its p, "
        f"adjusted over all objectives (Benjamini and Hochberg), is at most {numeral(RATE)}. "
        "p is rounded up. Days are taken as independent; where they follow each other, it is too "
        "small. "
        f"An unusual day has a score beyond ±{numeral(OUTLIER)}.",
    )


def _p(p: float) -> Number:
    """Rounded up to four decimals: never told as smaller than it is, and never as 0."""
    return Number(value=Decimal(max(1, math.ceil(Fraction(p) * 10_000))).scaleb(-4))


def _effect(effect_pct: float | None) -> Shown:
    if effect_pct is None:
        return Missing(why=Why.NO_DATA, detail="the trailing median is 0")
    return Number(value=to_places(effect_pct), unit="%")


def _tables(compared: Sequence[Comparison], odd: Sequence[Anomaly]) -> Iterator[Table]:
    """One of what was compared and one of unusual days for each kind: a table has one unit."""
    for kind in KINDS:
        if own := [c for c in compared if c.watched.kind == kind]:
            yield _table(kind, own)
        if days := [a for a in odd if a.watched.kind == kind]:
            yield _anomaly_table(kind, days)


def _table(kind: str, compared: Sequence[Comparison]) -> Table:
    columns = [
        Column(key="objective", label="Objective", align="left"),
        Column(key="before", label="Before, median"),
        Column(key="now", label="Now, median"),
        Column(key="shift", label="Change"),
        Column(key="effect", label="Effect"),
        Column(key="adjusted_p", label="p, adjusted"),
        Column(key="outcome", label="In words", align="left"),
        Column(key="low", label="Change at least", shown=False),
        Column(key="high", label="Change at most", shown=False),
        Column(key="p", label="p", shown=False),
        Column(key="method", label="Method", align="left", shown=False),
    ]
    return Table(
        id=f"regression_{kind}",
        title=f"{kind.capitalize()} against the trailing days",
        columns=tuple(columns),
        rows=tuple(_row(c) for c in compared),
    )


def _row(compared: Comparison) -> tuple[Shown, ...]:
    watched, test = compared.watched, compared.test
    assert isinstance(test, Contrast) and compared.adjusted_p is not None
    few = Missing(why=Why.TOO_SHORT, detail="too few days for an interval")
    alike = Missing(why=Why.NOT_MEASURED, detail="the trailing days do not vary")
    no_interval = alike if test.days_now == 1 else few
    unit = watched.unit
    score = "" if test.score is None else f" {numeral(plain(significant(test.score, 3)))}"
    return (
        text(watched.title),
        number(test.before, unit),
        number(test.now, unit),
        Number(value=_as_fine(test.shift, test.before, test.now), unit=unit),
        _effect(test.effect_pct),
        _p(compared.adjusted_p),
        text(_direction(watched, test.shift) if compared.outcome != "no change" else "no change"),
        no_interval if test.low is None else number(test.low, unit, 3),
        no_interval if test.high is None else number(test.high, unit, 3),
        _p(test.p),
        text(f"{test.method}{score}; {test.days_now} against {test.days_before} days"),
    )


def _as_fine(shift: float, before: float, now: float) -> Decimal:
    """A shift with the decimals that four significant digits of the larger median have."""
    leading = max(significant(before).adjusted(), significant(now).adjusted())
    return to_places(shift, max(0, 3 - leading))


def _anomaly_table(kind: str, odd: Sequence[Anomaly]) -> Table:
    columns = [
        Column(key="objective", label="Objective", align="left"),
        Column(key="day", label="Day", align="left"),
        Column(key="value", label="Value"),
        Column(key="median", label="Usual (median)"),
        Column(key="effect", label="Effect"),
        Column(key="score", label="Modified z-score"),
    ]
    alike = Missing(why=Why.NOT_MEASURED, detail="the trailing days do not vary")
    rows: list[tuple[Shown, ...]] = [
        (
            text(a.watched.title),
            text(a.day.isoformat()),
            number(a.value, a.watched.unit),
            number(a.median, a.watched.unit),
            _effect(a.effect_pct),
            alike if a.score is None else number(a.score, digits=3),
        )
        for a in odd
    ]
    return Table(
        id=f"anomalies_{kind}",
        title=f"Unusual days of {kind}",
        columns=tuple(columns),
        rows=tuple(rows),
        note="Each day of the period against the trailing days of its kind.",
    )


def _chart(watched: Watched) -> LinesChart:
    """The trailing days and the period's, with the trailing median."""
    before = [v for _, v in measured(watched.trailing)]
    points = (*watched.trailing, *watched.period)
    middle = significant(median(before))
    first = len(watched.trailing)
    return LinesChart(
        id=f"regression_{watched.id}",
        title=f"{watched.title}: {watched.kind} by day",
        alt=f"{watched.title}, {watched.kind} in {watched.unit}, from {points[0].day} to "
        f"{points[-1].day}; the {len(watched.period)} days of the period are marked",
        unit=watched.unit,
        labels=tuple(p.day.isoformat() for p in points),
        lines=(
            Line(
                label=watched.kind,
                values=tuple(None if isinstance(p.value, Missing) else p.value for p in points),
            ),
            Line(label="median of the days before", values=(middle,) * len(points)),
        ),
        marked=tuple(
            i for i, p in enumerate(points) if i >= first and not isinstance(p.value, Missing)
        ),
        marked_label="this period",
    )
