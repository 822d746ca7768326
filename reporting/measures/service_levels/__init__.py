"""Service levels: counted events, values over time and latencies of each objective.

Three kinds of indicator become sufficient statistics that add up over days:

- *counts* (counters): increments from the raw deltas of neighbouring samples. A value that falls is
  a reset, and the new value is what was counted since. A series that begins although its target was
  being scraped began from 0, at the scrape before; otherwise what its first sample already held is
  doubtful. Events between the two samples around a window's edge are split linearly, and the other
  split is what is doubtful about it.
- *threshold* and *share* (values): a sample owns the time to the midpoints of its neighbours, or
  half an interval next to a gap of more than one and a half; the rest is unknown. Exactly as in the
  uptime measure, of which this is the generalisation from {0, 1} to [0, 1].
- rates of counters against a threshold: increments per slice of time.

What sampling can't see, no bound contains: a change that is undone between two samples of a value.
Counters have no such limit, they lose nothing but what a restart forgets.

Everything is an integer: milliseconds, and 10^-9 of an event or of a unit. References: Beyer et
al., "The Site Reliability Workbook" (2018), chapter 2 (events and time slices); the OpenSLO
specification v1 (Occurrences, Timeslices, RatioTimeslices); Masson, Rim and Lee, "DDSketch" (2019)
for the sketch; the project's measures.md, "SLA uptime and objectives".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model import Frame, Frames, Missing, Why
from ...periods import TradingDay
from .. import Measure
from .counters import NEIGHBOURS
from .counts import RATE_SLICE_MS, of_counters, of_sums
from .facts import (
    SAME,
    SUMMED,
    Doubt,
    Events,
    Histogram,
    Level,
    OwnedTime,
    ServiceLevelsFact,
    Slices,
    Values,
    merge,
)
from .owned import SKETCH_BASE, of_values, sketch_key
from .page import CROSS_CHECK_PCT, DETECTION, ERRORS, METHOD, NAME, Days, section
from .readings import (
    Stats,
    histogram_mean,
    mean_rate_per_s,
    percentile,
    quantile_estimate,
    share_of,
    values_stats,
)
from .series import NANO, Floats, Ints, Series, Times, Window, unmeasured

__all__ = [
    "CROSS_CHECK_PCT",
    "DETECTION",
    "ERRORS",
    "METHOD",
    "NAME",
    "NANO",
    "NEIGHBOURS",
    "QUERIES",
    "RATE_SLICE_MS",
    "SAME",
    "SAMPLES",
    "SERIES",
    "SERVICE_LEVELS",
    "SKETCH_BASE",
    "SUMMED",
    "Days",
    "Doubt",
    "Events",
    "Floats",
    "Histogram",
    "Ints",
    "Level",
    "OwnedTime",
    "ServiceLevelsFact",
    "Slices",
    "Stats",
    "Times",
    "Values",
    "histogram_mean",
    "mean_rate_per_s",
    "merge",
    "of_day",
    "percentile",
    "quantile_estimate",
    "section",
    "share_of",
    "sketch_key",
    "values_stats",
]

QUERIES, SERIES, SAMPLES = "level_queries", "level_series", "level_samples"


def of_day(day: TradingDay, frames: Frames) -> ServiceLevelsFact | Missing:
    """Every objective of the three frames, each over its own window."""
    tables = []
    for name in (QUERIES, SERIES, SAMPLES):
        frame = frames[name]
        if isinstance(frame, Missing):
            return frame
        assert isinstance(frame, Frame)
        tables.append(frame.table)
    queries, series, samples = tables
    by_objective: dict[str, list[Series]] = {}
    runs = _runs(samples["series"].to_numpy())
    at = samples["at_ms"].to_numpy(dtype=np.int64)
    values = samples["value"].to_numpy(dtype=np.float64)
    for row in series.to_dict("records"):
        where = runs.get(int(row["series"]), slice(0, 0))
        found = Series.of(row, at[where], values[where])
        by_objective.setdefault(str(row["objective"]), []).append(found)
    levels = [_level(row, by_objective.get(row["objective"], ())) for row in _rows(queries)]
    return ServiceLevelsFact(
        start_ms=min((x.start_ms for x in levels), default=day.window.start_ms),
        end_ms=max((x.end_ms for x in levels), default=day.window.end_ms),
        levels=tuple(sorted(levels, key=lambda x: x.id)),
    )


def _rows(table: Any) -> Iterator[Mapping[str, Any]]:
    yield from table.to_dict("records")


def _runs(ids: npt.NDArray[Any]) -> dict[int, slice]:
    """Where the samples of each series stand; those of one series stand together."""
    if not len(ids):
        return {}
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
    edges = [*starts.tolist(), len(ids)]
    return {int(ids[lo]): slice(lo, hi) for lo, hi in pairwise(edges)}


def _level(row: Mapping[str, Any], series: Sequence[Series]) -> Level:
    slice_target = row["slice_target"]
    window = Window(
        int(row["start_ms"]),
        int(row["end_ms"]),
        int(row["slice_ms"]),
        Decimal(slice_target) if slice_target else None,
    )
    main = [s for s in series if s.role in ("numerator", "total", "value")]
    base: dict[str, Any] = {
        "id": str(row["objective"]),
        "title": str(row["title"]),
        "kind": row["kind"],
        "start_ms": window.start,
        "end_ms": window.end,
        "window_ms": window.length,
        "budgeting": row["budgeting"],
        "slice_ms": window.slice_ms,
        "no_data": row["no_data"],
        "scale": Decimal(row["scale"] or 1),
        "comparator": str(row["comparator"]),
        "value": Decimal(row["value"]) if row["value"] else None,
        "interval_ms": max((s.interval for s in main), default=0),
        "series": len(main),
        "samples": sum(s.counted(window.start, window.end) for s in main),
    }
    missing = _missing(row, main, window)
    if missing:
        return Level(**base, **unmeasured(row, window), missing=missing)
    if row["kind"] == "counts" and not row["monotonic"]:
        return Level(**base, **of_sums(row, series, window))
    if row["kind"] == "counts" or row["rate"]:
        return Level(**base, **of_counters(row, series, window, base))
    return Level(**base, **of_values(row, main, window, base))


def _missing(row: Mapping[str, Any], main: Sequence[Series], window: Window) -> Missing | None:
    """Why this objective has no figure, if it has none."""
    if row["missing"]:
        reason = str(row["missing"])
        return Missing(why=Why.EMPTY if reason == "no series" else Why.NO_DATA, detail=reason)
    needed = "total" if row["kind"] == "counts" else "value"
    found = [s for s in main if s.role == needed and len(s.at)]
    if row["kind"] == "counts" or row["rate"]:
        found = [s for s in found if np.isfinite(s.value).any()]
    if not found:
        return Missing(why=Why.EMPTY, detail=f"no sample of its {needed}")
    if row["kind"] == "share":
        if len(found) > 1:
            return Missing(
                why=Why.NO_DATA, detail=f"several series: {len(found)} where one share is meant"
            )
        inside = (found[0].at >= window.start) & (found[0].at < window.end)
        values = found[0].value[inside]
        odd = values[~(np.isnan(values) | ((values >= 0) & (values <= 1)))]
        if len(odd):
            return Missing(
                why=Why.NO_DATA,
                detail=f"{len(odd)} samples such as {float(odd[0]):.6g} are no share; expected "
                "values from 0 to 1: correct the query in config/objectives",
            )
    return None


SERVICE_LEVELS = Measure[ServiceLevelsFact](
    name=NAME,
    title="Service levels",
    unit="%",
    every_day=True,
    reads=(QUERIES, SERIES, SAMPLES),
    fact=ServiceLevelsFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="The Site Reliability Workbook (2018), chapter 2: good events of all events and good "
    "time slices of all; OpenSLO v1 budgeting methods; counters from raw deltas",
)
