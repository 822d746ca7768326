"""What a level says: the bounds of its share, percentiles, means and rates."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ...model import Missing, Why, exact_sum
from .facts import Events, Histogram, Level, Values
from .owned import sketch_value


def share_of(level: Level, unsealed_ms: int = 0) -> tuple[Fraction, Fraction] | Missing:
    """The least and the greatest share of good, by the objective's method and no-data policy.

    Time without data is left out (exclude), bad (down), or anything (flag); events that it may have
    held are taken to be as frequent as in the rest. ``unsealed_ms`` is time of the period that no
    sealed day speaks of: it may have been anything, whatever the policy. No traffic is Missing.
    """
    if level.missing:
        return level.missing
    low: Fraction
    high: Fraction
    if level.budgeting != "occurrences" and level.slices:
        found = level.slices
        known = Fraction(found.good + found.bad)
        good = Fraction(found.share_sum) if level.budgeting == "ratio_timeslices" else None
        low = high = Fraction(found.good) if good is None else good
        unknown = Fraction(found.unknown)
        unsealed = Fraction(unsealed_ms, level.slice_ms)
    elif level.kind == "counts" and level.events:
        events = level.events
        unknown, unsealed = Fraction(level.unknown_ms), Fraction(unsealed_ms)
        known = Fraction(level.window_ms) - unknown if events.total > 0 else Fraction(0)
        low, high = (bound * known for bound in _event_bounds(events))
    elif level.time:
        time = level.time
        known = Fraction(time.good_ms + time.bad_ms)
        low = Fraction(time.share_ms) - Fraction(time.doubtful_good_ms)
        high = Fraction(time.share_ms) + Fraction(time.doubtful_bad_ms)
        unknown, unsealed = Fraction(time.unknown_ms), Fraction(unsealed_ms)
    else:
        return Missing(why=Why.NO_DATA, detail="neither events nor time were measured")
    if not known and not unsealed:
        if not unknown:
            return Missing(why=Why.NO_DATA, detail="no traffic")
        if level.no_data == "exclude":
            return Missing(why=Why.NO_DATA, detail="no data at any time")
        if level.kind == "counts" and level.unknown_ms < level.window_ms:
            return Missing(why=Why.NO_DATA, detail="no traffic while there was data")
    whole = known + unsealed + (0 if level.no_data == "exclude" else unknown)
    open_ended = unsealed + (unknown if level.no_data == "flag" else 0)
    return max(low, Fraction(0)) / whole, (min(high, known) + open_ended) / whole


def _event_bounds(events: Events) -> tuple[Fraction, Fraction]:
    """Least and greatest share of good events: their doubts at their worst, both at once."""
    good, bad = Fraction(events.good), Fraction(events.bad)
    doubt_good, doubt_bad = Fraction(events.doubtful), Fraction(events.doubtful_bad)
    least, most = max(good - doubt_good, Fraction(0)), good + doubt_good
    fewest, worst = max(bad - doubt_bad, Fraction(0)), max(bad, Fraction(0)) + doubt_bad
    return (
        least / (least + worst) if least + worst else Fraction(0),
        most / (most + fewest) if most + fewest else Fraction(1),
    )


def percentile(
    histogram: Histogram, q: Fraction | Decimal
) -> tuple[Decimal, Decimal | None] | Missing:
    """The bucket that holds the ``q`` quantile (0 < q <= 1), in the unit of the bounds.

    The quantile is the ⌈q·n⌉-th smallest of n observations; the bucket's edges are the error. The
    upper one is None in the last bucket, and the lower one 0 in the first.
    """
    counts = [max(Fraction(count), Fraction(0)) for count in histogram.counts]
    total = sum(counts)
    if not total:
        return Missing(why=Why.NO_DATA, detail="no observation")
    # Events at the window's edges are split: n is seldom whole, and the rank need not be.
    wanted = Fraction(q) * total
    reached = Fraction(0)
    lower = Decimal(0)
    for le, count in zip(histogram.bounds, counts, strict=True):
        reached += count
        upper = None if float(le) == float("inf") else Decimal(le)
        if reached >= wanted and count:
            return lower, upper
        if upper is not None:
            lower = upper
    return lower, None


def quantile_estimate(histogram: Histogram, q: Fraction | Decimal) -> Decimal | Missing:
    """A point for the ``q`` quantile, for trends: linear within its bucket, to 10^-9.

    As Prometheus' ``histogram_quantile``: no more than a guess inside the bounds that
    :func:`percentile` states, and the lower bound where it lies in the last bucket.
    """
    found = percentile(histogram, q)
    if isinstance(found, Missing):
        return found
    lower, upper = found
    if upper is None:
        return lower
    counts = [max(Fraction(count), Fraction(0)) for count in histogram.counts]
    at = next(n for n, le in enumerate(histogram.bounds) if Decimal(le) == upper)
    into = (Fraction(q) * sum(counts) - sum(counts[:at])) / counts[at]
    return _rounded(Fraction(lower) + (Fraction(upper) - Fraction(lower)) * into)


def histogram_mean(histogram: Histogram) -> Decimal | Missing:
    """The mean of the observations, to 10^-9, where there is a sum of them."""
    counted = exact_sum(histogram.counts)
    if not counted or not histogram.total:
        return Missing(why=Why.NO_DATA, detail="no observation or no _sum series")
    return _rounded(Fraction(histogram.total) / Fraction(counted))


def mean_rate_per_s(level: Level) -> Decimal | Missing:
    """Events per second of the time with data, times the objective's scale, to 10^-9."""
    if level.missing:
        return level.missing
    known_ms = level.window_ms - level.unknown_ms
    if level.events is None or not known_ms:
        return Missing(why=Why.NO_DATA, detail="no events were counted")
    scale = Fraction(level.scale) if level.kind == "threshold" else 1
    return _rounded(Fraction(level.events.total) * 1000 * scale / known_ms)


class Stats(NamedTuple):
    """Values over time in their own unit; percentiles within half of 1 %."""

    mean: Decimal
    p50: Decimal
    p95: Decimal
    p99: Decimal
    lowest: Decimal
    highest: Decimal


def values_stats(level: Level) -> Stats | Missing:
    """Mean, percentiles and extremes of a value over the time that it is known for."""
    if level.missing:
        return level.missing
    values = level.values
    if values is None:
        return Missing(why=Why.NO_DATA, detail="no value over time was measured")
    ordered = sorted((sketch_value(key), ms) for key, ms in values.sketch.items())
    reached = np.cumsum([ms for _, ms in ordered])
    p50, p95, p99 = (
        _sketched(values, ordered, int(np.searchsorted(reached, q * values.weight_ms)))
        for q in (0.5, 0.95, 0.99)
    )
    mean = _rounded(Fraction(values.weighted_sum) / values.weight_ms)
    return Stats(mean, p50, p95, p99, values.lowest, values.highest)


def _sketched(values: Values, ordered: Sequence[tuple[float, int]], place: int) -> Decimal:
    """The value of the bucket at ``place``, within the extremes that are known exactly."""
    found = _rounded(Fraction(Decimal(f"{ordered[min(place, len(ordered) - 1)][0]:.9g}")))
    return min(max(found, values.lowest), values.highest)


def _rounded(value: Fraction, places: str = "0.000000001") -> Decimal:
    context = Context(prec=80, rounding=ROUND_HALF_EVEN)
    quotient = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    return quotient.quantize(Decimal(places), rounding=ROUND_HALF_EVEN, context=context)
