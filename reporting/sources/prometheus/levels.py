"""Counters, values over time and server-made ratios, for the service-level measure.

Each selector is asked once, however many objectives use it. Counters are screened first, many in
one query: of a counter without a gap and without a reset only the samples beside the window's two
edges are needed, since its increase is what they differ by. All other series are fetched raw.
What is no plain selector is evaluated by the server at steps, which is said in a note.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from math import isfinite
from typing import NamedTuple

import numpy as np
import pandas as pd

from ...model import Finding, Frame, Missing, plain
from ...periods import calendar_day
from ...policy.indicators import (
    Counts,
    Objective,
    Query,
    RatioTimeslices,
    Share,
    State,
    Threshold,
    Timeslices,
)
from .client import LAST_MS, Client, QueryFailed, Series, counted
from .grouped import Grouped, Item, Key, key_of, with_values
from .states import (
    MARGIN_MS,
    SEEN_WITHIN,
    STEP_MS,
    median_interval,
    over_slices,
    slice_length,
    slice_marks,
    state_queries,
    steady_interval,
    stepped,
)

QUERIES, SERIES, SAMPLES = "level_queries", "level_series", "level_samples"
#: ``le="0.005"`` among the matchers of a selector, with the comma that goes with it.
BUCKET = re.compile(r'\s*,?\s*\ble\s*=\s*"([^"]*)"\s*(,(?=[^}]*\w))?')

QUERY_COLUMNS = {
    "objective": "str",
    "title": "str",
    "kind": "str",
    "start_ms": "int64",
    "end_ms": "int64",
    "comparator": "str",
    "value": "str",
    "scale": "str",
    "rate": "bool",
    "numerator_good": "bool",
    "monotonic": "bool",
    "success": "bool",
    "budgeting": "str",
    "slice_ms": "int64",
    "slice_target": "str",
    "no_data": "str",
    "missing": "str",
    "increase": "str",
}
SERIES_COLUMNS = {
    "objective": "str",
    "role": "str",
    "series": "int64",
    "labels": "str",
    "le": "str",
    "interval_ms": "int64",
    "clean": "bool",
    "seen_before": "bool",
    "up_before": "bool",
}


class _Wanted(NamedTuple):
    """What is to be read: a selector, or an expression (not ``plain``), in one window.

    ``edges``: a counter of which the samples beside the window's edges will do, if it is steady.
    """

    text: str
    plain: bool
    edges: bool
    start_ms: int
    end_ms: int

    @property
    def raw(self) -> str:
        """The query for all samples, margins included, at the window's end plus MARGIN_MS."""
        span_ms = self.end_ms - self.start_ms + 2 * MARGIN_MS
        return f"{self.text}[{span_ms}ms]" if self.plain else stepped(self.text, span_ms)


class _Role(NamedTuple):
    """One part of an objective, and the series of ``wanted`` that play it: all, or one bucket."""

    name: str
    wanted: _Wanted
    le: str = ""
    summed: bool = True


@dataclass
class _Found:
    """One series that was read."""

    labels: Mapping[str, str]
    samples: Series
    interval_ms: int
    clean: bool = False
    seen_before: bool = False
    up_before: bool = False

    @property
    def key(self) -> Key:
        return key_of(self.labels)


@dataclass
class _Read:
    """What came of one _Wanted. ``id`` names it in grouped queries.

    ``selector`` is what is left to be read raw: at first all of it. ``steady`` are the series of
    which two edges will do.
    """

    id: str
    wanted: _Wanted
    selector: str = ""
    found: list[_Found] = field(default_factory=list)
    steady: set[Key] = field(default_factory=set)
    done: bool = False
    failed: QueryFailed | None = None

    def __post_init__(self) -> None:
        self.selector = self.selector or self.wanted.text


def read_levels(
    client: Client, objectives: Sequence[Objective], day: date
) -> dict[str, Frame | Missing]:
    """See :meth:`PrometheusSource.read_levels`."""
    client.begin()
    chosen = sorted(
        (o for o in objectives if isinstance(o.indicator, Counts | Threshold | Share)),
        key=lambda o: o.id,
    )
    roles = {o.id: _roles(o, day) for o in chosen}
    wanted = dict.fromkeys(role.wanted for parts in roles.values() for role in parts)
    reads = {want: _Read(f"q{number}", want) for number, want in enumerate(wanted)}
    control: dict[str, int] = {}
    findings: list[Finding] = []
    texts: list[str] = []
    _read_steady(client, [r for r in reads.values() if r.wanted.edges], control, texts)
    _read_raw(client, [r for r in reads.values() if not r.done], control, findings, texts)
    _mark_births(client, list(reads.values()), findings, texts)
    increases = _increases(client, chosen, day, texts)
    queries: list[dict[str, object]] = []
    series: list[dict[str, object]] = []
    samples = _Samples()
    for objective in chosen:
        missing = _missing(objective, roles[objective.id], reads, findings)
        increase = increases.get(objective.id, "")
        queries.append(_query_row(objective, day, missing, increase))
        if not missing:
            series += _series_rows(objective, roles[objective.id], reads, samples)
    findings += _stepped(chosen, roles)
    text = "\n".join(texts)
    totals = {name: str(number) for name, number in control.items()}
    tables = (
        (QUERIES, _table(queries, QUERY_COLUMNS), tuple(findings)),
        (SERIES, _table(series, SERIES_COLUMNS), ()),
        (SAMPLES, samples.table(), ()),
    )
    return {
        name: Frame(table, client.coverage(name, text, len(table), totals), notes)
        for name, table, notes in tables
    }


def queries_of(objective: Objective, day: date) -> list[str]:
    """The queries about the objective's ``day``, each as it would be sent for it alone.

    What is sent in the end is grouped with those of other objectives; raw samples of a counter
    are fetched only where its screen shows a gap or a reset. Nothing for a figure of the report.
    """
    if isinstance(objective.indicator, State):
        return state_queries(objective, day)
    texts: list[str] = []
    for role in _roles(objective, day):
        wanted = role.wanted
        slice_ms = slice_length(wanted.start_ms, wanted.end_ms)
        if wanted.edges and slice_ms:
            marks = slice_marks(wanted.start_ms, wanted.end_ms, slice_ms)
            texts += [
                over_slices("count_over_time", slice_ms, True).format(wanted.text),
                f"resets({wanted.text}[{marks[-1] - marks[0]}ms])",
                wanted.text,
                f"timestamp({wanted.text})",
            ]
        texts.append(wanted.raw)
    if total := _total(objective, day):
        texts.append(_increase_form(total.start_ms, total.end_ms).format(total.text))
    return list(dict.fromkeys(texts))


# -- what to ask -------------------------------------------------------------------------------


def _roles(objective: Objective, day: date) -> list[_Role]:
    """The parts of an objective: which series it is made of and how they have to be read."""
    window = calendar_day(day, objective.zone)
    indicator = objective.indicator

    def want(text: str, *, plain: bool = True, edges: bool = False) -> _Wanted:
        return _Wanted(text, plain, edges and plain, window.start_ms, window.end_ms)

    def of(query: Query, *, edges: bool = False) -> _Wanted:
        plain = query.selector is not None
        return want(query.selector or query.text, plain=plain, edges=edges)

    if isinstance(indicator, Threshold | Share):
        return [_Role("value", of(indicator.query), summed=indicator.query.summed)]
    if not isinstance(indicator, Counts):
        return []
    sliced = isinstance(objective.budgeting, Timeslices | RatioTimeslices)
    edges = indicator.monotonic and not sliced
    parts = []
    for name, query in (("numerator", indicator.numerator), ("total", indicator.total)):
        base, le = _bucket(query.selector or "")
        if edges and le and indicator.histogram and _same(base, indicator.histogram):
            # The histogram is read as a whole; its bucket need not be read again.
            parts.append(_Role(name, want(indicator.histogram, edges=True), le, query.summed))
        else:
            parts.append(_Role(name, of(query, edges=edges), summed=query.summed))
    if indicator.histogram:
        # Percentiles need the whole day only, even where the share is needed by slices.
        parts.append(_Role("bucket", want(indicator.histogram, edges=indicator.monotonic)))
        summed = indicator.histogram.replace("_bucket", "_sum", 1)
        parts.append(_Role("sum", want(summed, edges=indicator.monotonic)))
    return parts


def _bucket(selector: str) -> tuple[str, str]:
    """A selector without its ``le="…"``, and that bound; the bound is empty without one."""
    found = BUCKET.search(selector)
    if not found:
        return selector, ""
    between = "," if found[0].lstrip().startswith(",") and found[2] else ""
    return selector[: found.start()] + between + selector[found.end() :], found[1]


def _same(one: str, other: str) -> bool:
    """Whether two selectors differ by blanks, commas at the end and empty braces only."""

    def bare(selector: str) -> str:
        return re.sub(r"\s+|,\s*(?=})", "", selector).replace("{}", "")

    return bare(one) == bare(other)


# -- steady counters ---------------------------------------------------------------------------


def _read_steady(
    client: Client, reads: Sequence[_Read], control: dict[str, int], texts: list[str]
) -> None:
    """Read the edges of all counters whose series had neither a gap nor a reset.

    That the phase of their scrapes shifted somewhere in the day does no harm to a count.
    """
    control["series_screened"] = control["series_steady"] = control["samples_in_slices"] = 0
    for (start_ms, end_ms), group in _by_window(reads):
        slice_ms = slice_length(start_ms, end_ms)
        if not slice_ms:
            continue
        marks = slice_marks(start_ms, end_ms, slice_ms)
        asked = Grouped(client, texts)
        form = over_slices("count_over_time", slice_ms, client.ranges_closed())
        counts = asked.range(form, _items(group), marks[1], marks[-1], slice_ms)
        by_interval: dict[int, list[_Read]] = {}
        for read in group:
            series = counts.get(read.id, {})
            # Without a sample in any slice there is nothing to be read.
            read.done = not series and read.id not in asked.failed
            control["series_screened"] += len(series)
            control["samples_in_slices"] += counted(series.values())
            intervals = {key: steady_interval(marks, slice_ms, s) for key, s in series.items()}
            usual = set(intervals.values()) - {0}
            if len(usual) == 1:
                read.steady = {key for key, interval in intervals.items() if interval}
                by_interval.setdefault(usual.pop(), []).append(read)
        able = [read for members in by_interval.values() for read in members]
        span = f"{marks[-1] - marks[0]}ms"
        resets = asked.instant(f"resets({{}}[{span}])", _items(able), marks[-1])
        for read in able:
            never = {key for key, s in resets.get(read.id, {}).items() if not s.value[0]}
            read.steady &= never
        for interval, members in sorted(by_interval.items()):
            _read_edges(asked, [read for read in members if read.steady], interval)
        for read in able:
            odd = set(counts[read.id]) - read.steady
            read.done = not odd
            if odd and read.steady:
                read.selector = _narrowed(read.wanted.text, read.steady, odd)
                if not read.selector:
                    read.selector, read.steady, read.found = read.wanted.text, set(), []
        control["series_steady"] += sum(len(read.found) for read in group)


def _read_edges(asked: Grouped, reads: Sequence[_Read], interval: int) -> None:
    """The last sample up to each edge of the window and the first one after it.

    Asked at the edge and at each half interval up to one and a half after it, at which any sample
    in between shows as the latest one. A series that lacks one of these is steady no more.
    """
    if not reads:
        return
    step = interval // 2
    start_ms, end_ms = reads[0].wanted.start_ms, reads[0].wanted.end_ms
    for edge in (start_ms, end_ms):
        values = asked.range("{}", _items(reads), edge, edge + 3 * step, step)
        times = asked.range("timestamp({})", _items(reads), edge, edge + 3 * step, step)
        for read in reads:
            of_time = times.get(read.id, {})
            for key, series in values.get(read.id, {}).items():
                seen = of_time.get(key)
                if key not in read.steady or seen is None or len(seen.at_ms) != len(series.at_ms):
                    continue
                if not (np.abs(seen.value) < LAST_MS / 1000).all():
                    continue  # no times
                at_ms = np.rint(seen.value * 1000).astype(np.int64)
                at_ms, first = np.unique(at_ms, return_index=True)
                if at_ms[0] <= edge < at_ms[-1] and 2 * (at_ms[1] - at_ms[0]) < 3 * interval:
                    part = Series(_own(series.labels), at_ms, series.value[first])
                    _join(read, key, part, interval)
    for read in reads:
        read.found = [
            found
            for found in read.found
            if found.samples.at_ms[0] <= start_ms and found.samples.at_ms[-1] > end_ms
        ]
        read.steady = {found.key for found in read.found}


def _narrowed(selector: str, steady: set[Key], odd: set[Key]) -> str:
    """The selector of the odd series alone, by a label that no steady one shares with them.

    Empty where there is no such label.
    """
    for label in sorted({name for key in odd | steady for name, _ in key}):
        values, others = ({dict(key).get(label, "") for key in keys} for keys in (odd, steady))
        if not values & others:
            return with_values(selector, label, sorted(values))
    return ""


def _join(read: _Read, key: Key, part: Series, interval: int) -> None:
    """Add the samples at one edge to those at the other."""
    known = next((f for f in read.found if f.key == key), None)
    if known is None:
        read.found.append(_Found(part.labels, part, interval, clean=True, seen_before=True))
    else:
        known.samples = Series(
            part.labels,
            np.concatenate([known.samples.at_ms, part.at_ms]),
            np.concatenate([known.samples.value, part.value]),
        )


def _items(reads: Iterable[_Read]) -> list[Item]:
    return [Item(read.id, read.selector) for read in reads]


# -- raw samples -------------------------------------------------------------------------------


def _read_raw(
    client: Client,
    reads: Sequence[_Read],
    control: dict[str, int],
    findings: list[Finding],
    texts: list[str],
) -> None:
    """All samples of ``reads``, from a margin before the window to one after it."""
    control["samples_read"] = control["samples_counted"] = 0
    for (start_ms, end_ms), group in _by_window(read for read in reads if read.wanted.plain):
        asked = Grouped(client, texts)
        span = end_ms - start_ms + 2 * MARGIN_MS
        answers = asked.raw(_items(group), span, end_ms + MARGIN_MS)
        for read in group:
            _take(read, answers.get(read.id, {}).values(), asked.failed.get(read.id))
        judged = [read for read in group if read.done]
        form = f"count_over_time({{}}[{span}ms])"
        counts = asked.instant(form, _items(judged), end_ms + MARGIN_MS)
        for read in judged:
            if read.id in asked.failed:
                continue
            here = sum(len(s.at_ms) for s in answers.get(read.id, {}).values())
            there = counted(counts.get(read.id, {}).values())
            control["samples_read"] += here
            control["samples_counted"] += there
            if here != there:
                findings.append(_control_total(read, here, there))
    for read in reads:
        if not read.wanted.plain:
            texts.append(read.wanted.raw)
            try:
                _take(read, client.query(read.wanted.raw, read.wanted.end_ms + MARGIN_MS), None)
            except QueryFailed as error:
                _take(read, (), error)


def _take(read: _Read, answer: Iterable[Series], failed: QueryFailed | None) -> None:
    """Keep what came of a read, beside what is known to be steady."""
    read.failed, read.done = failed, failed is None
    for series in answer:
        if len(series.at_ms) and key_of(series.labels) not in read.steady:
            interval = median_interval(series.at_ms)
            before = bool(series.at_ms[0] < read.wanted.start_ms)
            read.found.append(_Found(_own(series.labels), series, interval, seen_before=before))


# -- births ------------------------------------------------------------------------------------


def _mark_births(
    client: Client, reads: Sequence[_Read], findings: list[Finding], texts: list[str]
) -> None:
    """Tell series that begin in the window from those that were there before, and whether the
    target of each new one was already being scraped, so that it began at 0."""
    suspects = [
        read for read in reads if read.wanted.plain and any(not f.seen_before for f in read.found)
    ]
    for (start_ms, _), group in _by_window(suspects):
        asked = Grouped(client, texts)
        seen = asked.instant(f"present_over_time({{}}[{SEEN_WITHIN}])", _items(group), start_ms)
        for read in group:
            known = seen.get(read.id, {})
            for found in read.found:
                # Without an answer nothing is taken for a birth.
                found.seen_before |= found.key in known or read.id in asked.failed
        findings += _history_unknown([r for r in group if r.id in asked.failed])
    _lend_intervals(reads)
    born = [
        (read, found)
        for read in suspects
        for found in read.found
        if not found.seen_before and found.interval_ms and "job" in found.labels
    ]
    if not born:
        return
    at_ms = max(read.wanted.end_ms for read, _ in born) + MARGIN_MS
    # One question a target and moment: all series of a scrape are born together.
    moments = dict.fromkeys(_scraped(found, at_ms) for _, found in born)
    asked = Grouped(client, texts)
    up = asked.instant("count_over_time({})", [Item(text, text) for text in moments], at_ms)
    for _, found in born:
        found.up_before = _scraped(found, at_ms) in up


def _scraped(found: _Found, at_ms: int) -> str:
    """The target's ``up`` in the interval and a half before the series' first sample."""
    labels = [name for name in ("job", "instance") if name in found.labels]
    matchers = ",".join(f"{name}={json.dumps(found.labels[name])}" for name in labels)
    # The range ends a millisecond before the sample.
    span, offset = found.interval_ms * 3 // 2, at_ms - int(found.samples.at_ms[0]) + 1
    return f"up{{{matchers}}}[{span}ms] offset {offset}ms"


def _lend_intervals(reads: Iterable[_Read]) -> None:
    """A series with a single sample has the interval of its target's other series."""
    known: dict[tuple[str, str], int] = {}
    lacking = []
    for read in reads:
        for found in read.found:
            target = (found.labels.get("job", ""), found.labels.get("instance", ""))
            if found.interval_ms:
                known[target] = max(found.interval_ms, known.get(target, 0))
            else:
                lacking.append((found, target))
    for found, target in lacking:
        found.interval_ms = known.get(target, 0)


# -- the server's own increase -----------------------------------------------------------------


def _increases(
    client: Client, objectives: Sequence[Objective], day: date, texts: list[str]
) -> dict[str, str]:
    """The server's increase() of each objective's total over its window, as text."""
    reads = []
    for objective in objectives:
        wanted = _total(objective, day)
        if wanted is not None:
            reads.append(_Read(objective.id, wanted))
    found: dict[str, str] = {}
    for (start_ms, end_ms), group in _by_window(reads):
        form = _increase_form(start_ms, end_ms)
        answers = Grouped(client, texts).instant(form, _items(group), end_ms)
        for name, series in answers.items():
            increase = sum(float(one.value[0]) for one in series.values())
            if isfinite(increase):
                found[name] = repr(increase)
    return found


def _total(objective: Objective, day: date) -> _Wanted | None:
    """The counter of which the server can tell the increase."""
    counts = objective.indicator
    if not isinstance(counts, Counts) or not counts.monotonic or counts.total.selector is None:
        return None
    window = calendar_day(day, objective.zone)
    return _Wanted(counts.total.selector, True, True, window.start_ms, window.end_ms)


def _increase_form(start_ms: int, end_ms: int) -> str:
    return f"increase({{}}[{end_ms - start_ms}ms])"


# -- the frames --------------------------------------------------------------------------------


class _Samples:
    """The samples of all series, each under a number of its own."""

    def __init__(self) -> None:
        self._parts: list[Series] = []

    def add(self, series: Series) -> int:
        """The number of ``series`` from now on."""
        self._parts.append(series)
        return len(self._parts) - 1

    def table(self) -> pd.DataFrame:
        """series, at_ms, value; in order of series and time."""
        if not self._parts:
            return pd.DataFrame({"series": [], "at_ms": [], "value": []}).astype(
                {"series": "int64", "at_ms": "int64", "value": "float64"}
            )
        lengths = [len(part.at_ms) for part in self._parts]
        return pd.DataFrame(
            {
                "series": np.repeat(np.arange(len(lengths), dtype=np.int64), lengths),
                "at_ms": np.concatenate([part.at_ms for part in self._parts]),
                "value": np.concatenate([part.value for part in self._parts]),
            }
        )


def _query_row(objective: Objective, day: date, missing: str, increase: str) -> dict[str, object]:
    window = calendar_day(day, objective.zone)
    indicator, budgeting = objective.indicator, objective.budgeting
    counts = indicator if isinstance(indicator, Counts) else None
    threshold = indicator if isinstance(indicator, Threshold) else None
    share = indicator if isinstance(indicator, Share) else None
    query = counts.numerator if counts else threshold.query if threshold else None
    query = share.query if share else query
    assert query is not None
    slices, by_ratio = isinstance(budgeting, Timeslices), isinstance(budgeting, RatioTimeslices)
    return {
        "objective": objective.id,
        "title": objective.title,
        "kind": "counts" if counts else "threshold" if threshold else "share",
        "start_ms": window.start_ms,
        "end_ms": window.end_ms,
        "comparator": threshold.comparator if threshold else "",
        "value": plain(threshold.value) if threshold else "",
        "scale": plain(query.scale),
        "rate": query.rate,
        "numerator_good": counts.good if counts else True,
        "monotonic": counts.monotonic if counts else False,
        "success": share.success if share else True,
        "budgeting": "timeslices" if slices else "ratio_timeslices" if by_ratio else "occurrences",
        "slice_ms": budgeting.slice_ms
        if isinstance(budgeting, Timeslices | RatioTimeslices)
        else 0,
        "slice_target": plain(budgeting.target) if isinstance(budgeting, Timeslices) else "",
        "no_data": objective.no_data,
        "missing": missing,
        "increase": increase,
    }


def _series_rows(
    objective: Objective,
    roles: Sequence[_Role],
    reads: Mapping[_Wanted, _Read],
    samples: _Samples,
) -> Iterator[dict[str, object]]:
    for role in roles:
        for found in _playing(role, reads):
            labels = found.labels
            yield {
                "objective": objective.id,
                "role": role.name,
                "series": samples.add(found.samples),
                "labels": json.dumps(labels, sort_keys=True, separators=(",", ":")),
                "le": labels.get("le", ""),
                "interval_ms": found.interval_ms,
                "clean": found.clean,
                "seen_before": found.seen_before,
                "up_before": found.up_before,
            }


def _playing(role: _Role, reads: Mapping[_Wanted, _Read]) -> list[_Found]:
    """The series of a role; a bucket is found by its bound, however that is written."""
    found = sorted(reads[role.wanted].found, key=lambda f: f.key)
    if not role.le:
        return found
    exact = [f for f in found if f.labels.get("le") == role.le]
    return exact or [f for f in found if _number(f.labels.get("le", "")) == _number(role.le)]


def _number(bound: str) -> float | None:
    try:
        return float(bound)
    except ValueError:
        return None


def _missing(
    objective: Objective,
    roles: Sequence[_Role],
    reads: Mapping[_Wanted, _Read],
    findings: list[Finding],
) -> str:
    """Why nothing can be said of the objective, or nothing; also tells the findings."""
    reason = ""
    indicator = objective.indicator
    if isinstance(indicator, Counts) and indicator.numerator.scale != indicator.total.scale:
        reason = "numerator and total have different factors"
    for role in roles:
        read = reads[role.wanted]
        needed = role.name in ("numerator", "total", "value")
        if read.failed:
            findings.append(_query_failed(objective, role, read.failed, needed))
            reason = reason or (f"{role.name}: {read.failed}" if needed else "")
            continue
        found = _playing(role, reads)
        if needed and len(found) > 1 and not role.summed:
            findings.append(_several_series(objective, role, found))
            reason = reason or "several series"
        elif role.name in ("total", "value") and not found:
            reason = reason or "no series"
        elif role.le and read.found and not found:
            bounds = sorted({f.labels.get("le", "") for f in read.found})
            reason = reason or f'no bucket le="{role.le}", only {", ".join(bounds)}'
    return reason


def _table(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({name: [row[name] for row in rows] for name in columns}).astype(columns)


# -- small things ------------------------------------------------------------------------------


def _by_window(reads: Iterable[_Read]) -> Iterator[tuple[tuple[int, int], list[_Read]]]:
    """Reads of one window together, since they can be asked at one moment."""

    def window(read: _Read) -> tuple[int, int]:
        return read.wanted.start_ms, read.wanted.end_ms

    for bounds, group in groupby(sorted(reads, key=window), key=window):
        yield bounds, list(group)


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that the series has of its own, but its name."""
    return dict(key_of(labels))


# -- findings ----------------------------------------------------------------------------------


def _query_failed(objective: Objective, role: _Role, error: QueryFailed, needed: bool) -> Finding:
    lost = "It is not measured" if needed else "Its percentiles are not measured"
    return Finding(
        check="levels.query_failed",
        severity="error" if needed else "warning",
        count=1,
        detail=f"{objective.id}: {role.wanted.text} ({role.name}) was not answered: {error}; "
        f"see config/objectives/{objective.system}.yaml, and close the day again with --reread "
        f"while the server has it. {lost}",
        samples=(objective.id,),
    )


def _several_series(objective: Objective, role: _Role, found: Sequence[_Found]) -> Finding:
    return Finding(
        check="levels.several_series",
        severity="error",
        count=len(found),
        detail=f"{objective.id}: {role.wanted.text} ({role.name}) selects {len(found)} series; "
        "expected one: narrow the selector or write sum(...) in "
        f"config/objectives/{objective.system}.yaml. It is not measured",
        samples=tuple(str(dict(f.key)) for f in found[:5]),
    )


def _stepped(
    objectives: Sequence[Objective], roles: Mapping[str, Sequence[_Role]]
) -> list[Finding]:
    names = [o.id for o in objectives if any(not r.wanted.plain for r in roles[o.id])]
    if not names:
        return []
    return [
        Finding(
            check="levels.stepped",
            severity="note",
            count=len(names),
            detail=f"{len(names)} objectives are read by expressions that are no plain selectors: "
            f"the server evaluates them every {STEP_MS // 1000} s and repeats each sample for up "
            "to 5 minutes, which hides shorter gaps",
            samples=tuple(names[:5]),
        )
    ]


def _control_total(read: _Read, here: int, there: int) -> Finding:
    return Finding(
        check="levels.control_total",
        severity="error",
        count=1,
        detail=f"{read.wanted.text}: Prometheus counts {there} samples where {here} were read; "
        "expected the same: samples were written or deleted meanwhile",
    )


def _history_unknown(reads: Sequence[_Read]) -> list[Finding]:
    return [
        Finding(
            check="levels.history_unknown",
            severity="warning",
            count=1,
            detail=f"{read.wanted.text}: whether it had samples before the day could not be "
            "asked; nothing is taken for a new series",
        )
        for read in reads
    ]
