"""What an objective is: what is measured, by which method, and what was promised of it.

Nothing here knows the file format; :mod:`reporting.policy.openslo` reads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from ..model import EXACT, plain
from ..numerals import numeral

Comparator = Literal["lt", "le", "gt", "ge"]
#: How time without data is judged: left out, counted as bad, or printed as both bounds.
NoData = Literal["exclude", "down", "flag"]


@dataclass(frozen=True)
class Query:
    """One PromQL query, with what is known of its shape.

    ``text`` is the query as written. ``selector`` is the plain series selector in it where its
    shape is one of ``x{…}``, ``sum(x{…})``, ``rate(x{…}[5m])``, ``sum(rate(x{…}[5m]))``, each
    also as ``<number> * …``; None for any other expression, which the server evaluates at steps.
    ``summed`` says that several series are meant; otherwise more than one is an error. ``rate``
    says that the selector is a counter whose increase per second is meant. ``scale`` is the factor.
    """

    text: str
    selector: str | None
    summed: bool = False
    rate: bool = False
    scale: Decimal = Decimal(1)


@dataclass(frozen=True)
class State:
    """A 0/1 series that says whether a target is up (``success``) or down (not ``success``)."""

    query: Query
    success: bool = True


@dataclass(frozen=True)
class Share:
    """A ratio that the server computes: a value between 0 and 1 over time, of good or of bad."""

    query: Query
    success: bool = True


@dataclass(frozen=True)
class Counts:
    """Events counted: ``numerator`` of ``total``; ``good`` says which kind the numerator counts.

    ``monotonic``: the series are counters; otherwise each sample is a number of its own.
    ``histogram`` selects all buckets where the numerator is one bucket of a histogram, so that
    percentiles can be told beside the share.
    """

    numerator: Query
    total: Query
    good: bool = True
    monotonic: bool = True
    histogram: str | None = None


@dataclass(frozen=True)
class Threshold:
    """A value over time that is good while ``comparator value`` holds for it."""

    query: Query
    comparator: Comparator
    value: Decimal


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report itself (``fill_rate.full``), one occurrence a period."""

    figure: str
    comparator: Comparator
    value: Decimal


Indicator = State | Share | Counts | Threshold | ReportFigure


@dataclass(frozen=True)
class Occurrences:
    """Good events of all events (for values over time: good time of all time)."""


@dataclass(frozen=True)
class Timeslices:
    """Good slices of all slices; a slice is good where its share of good is at least ``target``."""

    slice_ms: int
    target: Decimal


@dataclass(frozen=True)
class RatioTimeslices:
    """The mean over all slices of the share of good in each."""

    slice_ms: int


Budgeting = Occurrences | Timeslices | RatioTimeslices


@dataclass(frozen=True)
class CalendarWindow:
    """Calendar periods of ``count`` units, counted from ``start``, in the objective's zone."""

    count: int
    unit: Literal["day", "week", "month", "quarter", "year"]
    start: date


@dataclass(frozen=True)
class RollingWindow:
    """The last ``days`` days."""

    days: int


@dataclass(frozen=True)
class Objective:
    """One target and what was promised of it.

    ``id`` names it in figures: ``grafana``, ``strategic_inference_latency``. It is the document's
    metadata.name with ``-`` as ``_`` and, where the document has several objectives, ``_`` and the
    number of the objective (1 …) at its end. ``slo`` is that name without the number; objectives of
    a composite share it. ``system`` is the file's stem, ``component`` the service that it is of.
    ``goal`` is the share of good that was promised (0.999), None if it is only tracked; ``strict``
    says that the goal itself is a miss. ``unit`` is of the indicator's own value (ms, %, /s).
    ``answers`` are the operator's targets that it answers for, as paths
    (``agents.strategic.inference_p95_ms``). ``allocated`` is the capacity of which it is the use.
    ``watch`` names which of its own statistics is compared with its trailing period, and in which
    direction a change is a regression.
    """

    id: str
    slo: str
    title: str
    system: str
    component: str
    indicator: Indicator
    budgeting: Budgeting
    goal: Decimal | None
    strict: bool
    window: CalendarWindow | RollingWindow
    zone: str
    no_data: NoData
    composite: bool = False
    weight: Decimal = Decimal(1)
    unit: str = ""
    description: str = ""
    answers: tuple[str, ...] = ()
    allocated: Decimal | None = None
    watch: Literal["", "latency", "throughput"] = ""


COMPARED = {"lt": "below", "le": "at most", "gt": "above", "ge": "at least"}
_OF_MILLISECONDS = re.compile(r"_(milliseconds|millis|ms)_bucket")
_LE = re.compile(r'[{,]\s*le\s*=\s*"([^"]+)"')


def percent(share: Decimal) -> str:
    """A share in percent, without an exponent or trailing zeros: 0.9990 is "99.9"."""
    return plain(EXACT.multiply(share, Decimal(100)))


def latency_scale(indicator: Counts) -> int:
    """Milliseconds in one unit of the histogram: its name says if it is of milliseconds.

    Else it is of seconds, the base unit that Prometheus' naming conventions ask for.
    """
    return 1 if _OF_MILLISECONDS.search(indicator.histogram or "") else 1000


def latency_bound_ms(indicator: Counts) -> Decimal | None:
    """The upper bound of the bucket that counts as good, in ms; None for other counts."""
    found = _LE.search(indicator.numerator.text) if indicator.histogram else None
    if not found or found[1] == "+Inf":
        return None
    return EXACT.multiply(Decimal(found[1]), Decimal(latency_scale(indicator)))


def promise(objective: Objective) -> str:
    """What was promised, in the operator's words: "95 % within 8 ms", "errors below 2 %"."""
    of = objective.indicator
    if objective.goal is None:
        return "tracked"
    more = "above" if objective.strict else "at least"
    match of:
        case ReportFigure():
            return f"{COMPARED[of.comparator]} {numeral(plain(of.value))} {objective.unit}".strip()
        case Threshold():
            share = numeral(percent(objective.goal))
            bound = f"{COMPARED[of.comparator]} {numeral(plain(of.value))} {objective.unit}".strip()
            return f"{bound}, {share} % of the time"
        case Counts():
            within = latency_bound_ms(of)
            if within is not None:
                than = "more than " if objective.strict else ""
                return (
                    f"{than}{numeral(percent(objective.goal))} % within {numeral(plain(within))} ms"
                )
            if not of.good:
                less = "below" if objective.strict else "at most"
                return f"{less} {numeral(percent(1 - objective.goal))} %"
    return f"{more} {numeral(percent(objective.goal))} %"
