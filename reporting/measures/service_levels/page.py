"""The section of a report: what was measured of each objective, in a table and with notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any

from ...model import Band, Count, Duration, Missing, Number, Ratio, Shown, exact_sum, plain
from ...numerals import numeral, ours
from ...page import Column, Figure, Section, Table, text
from ...periods import day_length_ms
from .. import Context as Page
from .facts import Level, ServiceLevelsFact
from .readings import Stats, histogram_mean, mean_rate_per_s, percentile, share_of, values_stats

NAME = "service_levels"
#: A difference to the server's own increase() that is worth a note, in percent.
CROSS_CHECK_PCT = Decimal("0.1")

Days = Sequence[tuple[Any, ServiceLevelsFact | Missing]]

METHOD = (
    "Events are counted from raw samples of counters: a restart adds what it counted since, events "
    "around midnight are split by time, and both bounds of a share hold what may lie on the other "
    "side, what restarts forgot, and time without data. A value owns the time to the midpoints "
    "of its neighbours; more than one and a half scrape intervals apart, the rest is unknown."
)
DETECTION = (
    "Detection limit: counters miss nothing between two scrapes but what a restart forgets. A "
    "value or a ratio read at scrapes can't show a change that is undone within one interval."
)
ERRORS = (
    "A percentile of a histogram is printed as its bucket, in the histogram's own unit; one of a "
    "value is weighted by time and within half of 1 % of the true one."
)


def section(fact: ServiceLevelsFact | Missing, days: Days, page: Page) -> Section:
    """What was measured of each objective; verdicts and budgets are not this section's.

    Days that are Missing may have been anything, of every objective.
    """
    if isinstance(fact, Missing):
        return Section(id=NAME, title="Service levels", summary=f"Not known: {fact}.")
    unsealed_ms = sum(
        day_length_ms(day, page.zone) for day, value in days if isinstance(value, Missing)
    )
    measured = [level for level in fact.levels if level.missing is None]
    absent = len(fact.levels) - len(measured)
    summary = f"{len(measured)} of {len(fact.levels)} objectives measured"
    if absent:
        names = ", ".join(level.title for level in fact.levels if level.missing)
        summary += f"; not measured: {names}"
    return Section(
        id=NAME,
        title="Service levels",
        summary=summary + ".",
        figures=tuple(
            Figure(
                id=f"{NAME}.{level.id}",
                label=level.title,
                value=_band(level, unsealed_ms),
                note=_bounds_note(level),
            )
            for level in fact.levels
        ),
        tables=(_table(fact.levels, unsealed_ms),),
        notes=tuple(_notes(fact.levels, unsealed_ms)),
    )


def _band(level: Level, unsealed_ms: int) -> Shown:
    share = share_of(level, unsealed_ms)
    if isinstance(share, Missing):
        return share
    low, high = share
    return Band(low=_ratio(low, ROUND_FLOOR), high=_ratio(high, ROUND_CEILING))


def _ratio(share: Fraction, rounding: str) -> Ratio:
    """A share to 10^-12; a bound is rounded away from the other one."""
    context = Context(prec=60, rounding=rounding)
    quotient = context.divide(Decimal(share.numerator), Decimal(share.denominator))
    exact = quotient.quantize(Decimal("0.000000000001"), rounding=rounding)
    return Ratio(numerator=exact, denominator=Decimal(1))


def _bounds_note(level: Level) -> str:
    """How time without data was judged, where there was any."""
    if level.missing or not level.unknown_ms:
        return ""
    words = {
        "exclude": "left out",
        "down": "counted as bad",
        "flag": "within both bounds",
    }
    return f"time without data is {words[level.no_data]}"


def _table(levels: Sequence[Level], unsealed_ms: int) -> Table:
    columns = (
        Column(key="objective", label="Objective", align="left"),
        Column(key="measured", label="Measured", align="left"),
        Column(key="share", label="Good", shown=False),
        Column(key="p50", label="p50", shown=False),
        Column(key="p95", label="p95"),
        Column(key="p99", label="p99"),
        Column(key="mean", label="Mean"),
        Column(key="rate", label="Per second"),
        Column(key="unknown", label="No data"),
        Column(key="interval", label="Scraped every", shown=False),
        Column(key="restarts", label="Restarts"),
        Column(key="births", label="New series", shown=False),
        Column(key="cross_check", label="Against increase()"),
    )
    return Table(
        id=NAME,
        title="What was measured",
        columns=columns,
        rows=tuple(_row(level, unsealed_ms) for level in levels),
        top=0,  # a reader who asks for them takes the CSV
        note="The difference to the server's extrapolating increase() is told where no series "
        "began or restarted",
    )


def _row(level: Level, unsealed_ms: int) -> tuple[Shown, ...]:
    if level.missing:
        rest = (text(""),) * 11
        return (text(level.title), level.missing, *rest)
    check = level.cross_check_pct
    return (
        text(level.title),
        text(_measured(level)),
        _band(level, unsealed_ms),
        *_percentiles(level),
        _mean(level),
        _rate(level),
        Duration(ms=level.unknown_ms + unsealed_ms),
        Duration(ms=level.interval_ms) if level.interval_ms else text("not known"),
        Count(value=level.resets),
        Count(value=level.births),
        text("") if check is None else Number(value=check, unit="%"),
    )


def _measured(level: Level) -> str:
    """The sufficient statistics in words: what the share is made of."""
    if level.budgeting != "occurrences" and level.slices:
        found = level.slices
        words = f"{numeral(found.good, ',')} of {numeral(found.good + found.bad, ',')} slices good"
        others = [(found.empty, "without traffic"), (found.unknown, "unknown")]
        return ", ".join([words, *(f"{numeral(n, ',')} {what}" for n, what in others if n)])
    if level.kind == "counts" and level.events:
        good, total = (_events_words(n) for n in (level.events.good, level.events.total))
        doubt = exact_sum([level.events.doubtful, level.events.doubtful_bad])
        words = f"{good} of {total} events good"
        return f"{words}, {_events_words(doubt)} doubtful" if doubt else words
    if level.time and level.values:
        return f"{numeral(level.values.samples, ',')} samples"
    return "no value"


def _events_words(number: Decimal) -> str:
    """Whole events; what the split at midnight left over is rounded for the eye."""
    return numeral(number.to_integral_value(ROUND_HALF_EVEN), ",")


def _percentiles(level: Level) -> Iterator[Shown]:
    stats = values_stats(level)
    for q, name in ((50, "p50"), (95, "p95"), (99, "p99")):
        if level.histogram:
            found = percentile(level.histogram, Fraction(q, 100))
            if isinstance(found, Missing):
                yield text("no traffic")
                continue
            low, high = found
            yield text(ours(f"{plain(low)} to {plain(high)}" if high else f"over {plain(low)}"))
        elif isinstance(stats, Stats):
            yield Number(value=_short(getattr(stats, name)))
        else:
            yield text("")


def _mean(level: Level) -> Shown:
    if level.histogram:
        mean = histogram_mean(level.histogram)
        return text("") if isinstance(mean, Missing) else Number(value=_short(mean))
    stats = values_stats(level)
    return text("") if isinstance(stats, Missing) else Number(value=_short(stats.mean))


def _rate(level: Level) -> Shown:
    rate = mean_rate_per_s(level)
    return text("") if isinstance(rate, Missing) else Number(value=_short(rate))


def _short(number: Decimal) -> Decimal:
    """Four significant digits, and all digits before the point."""
    digits = max(0, 3 - number.adjusted()) if number else 0
    return number.quantize(Decimal(1).scaleb(-min(digits, 9)), rounding=ROUND_HALF_EVEN)


def _notes(levels: Sequence[Level], unsealed_ms: int) -> Iterator[str]:
    yield METHOD
    yield DETECTION
    yield ERRORS
    if unsealed_ms:
        yield "Days that were not sealed are in the upper bound only, whatever the policy."
    inferred = [level for level in levels if level.births_inferred]
    if inferred:
        yield (
            "Series that began while their target was being scraped are taken to begin from 0: "
            + ", ".join(f"{x.births_inferred} of {x.title}" for x in inferred)
            + "."
        )
    open_births = [level for level in levels if level.births > level.births_inferred]
    if open_births:
        yield (
            "Of series whose target began with them it is not known when the first value was "
            "counted; it is in no count and in the bounds: "
            + ", ".join(f"{x.births - x.births_inferred} of {x.title}" for x in open_births)
            + "."
        )
    restarted = [level for level in levels if level.resets]
    if restarted:
        yield (
            "Restarts forget what was counted since the last scrape; the bounds hold as much as "
            "was counted in the busiest interval around: "
            + ", ".join(f"{x.resets} of {x.title}" for x in restarted)
            + "."
        )
    off = [x for x in levels if x.cross_check_pct and x.cross_check_pct > CROSS_CHECK_PCT]
    if off:
        yield (
            f"More than {numeral(CROSS_CHECK_PCT)} % from the server's own increase(), which "
            "extrapolates: "
            + ", ".join(
                f"{x.title} by {numeral(plain(x.cross_check_pct or Decimal(0)))} %" for x in off
            )
            + "."
        )
