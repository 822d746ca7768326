"""Up and down: the samples of 0/1 series, for the uptime measure.

They are read in two steps. A screen of three grouped range queries finds the series that were up
without a gap; they need nothing more. The others are fetched as raw samples, since ``increase``,
``avg_over_time`` and the five-minute lookback of ``query_range`` hide exactly the gaps that an
availability figure has to show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...model import Coverage, Finding, Frame, Missing, Why, Window
from ...periods import calendar_day
from ...policy.indicators import Objective, State
from .client import MAX_POINTS, Client, QueryFailed, Series, counted
from .grouped import Answers, Grouped, Item

#: Samples further apart than this do not describe a state (Prometheus' own lookback), so that
#: no interval may be longer.
MAX_INTERVAL_MS = 300_000
#: Samples are read from this long before the window to this long after it: who owns the time at
#: its edges, and whether a gap there was everyone's, is decided by the neighbours.
MARGIN_MS = 2 * MAX_INTERVAL_MS
#: Lengths of a slice of the screen; the longest one that divides the window is used.
SLICES_MS = (3_600_000, 1_800_000, 900_000, 300_000, 60_000)
#: How far back to look for a target's earlier life. A server that forgets sooner makes a target
#: that was lost long ago look as if it had not been born.
SEEN_WITHIN = "1y"
#: Step of a subquery: how finely the server is asked to evaluate what is no plain selector.
STEP_MS = 60_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

TARGETS, SAMPLES = "uptime_targets", "uptime_samples"


@dataclass
class Target:
    """One row of ``uptime_targets`` while it is being found out."""

    id: str
    query: str
    title: str
    start_ms: int
    end_ms: int
    no_data: str = "flag"
    success: bool = True
    plain: bool = True
    clean: bool = False
    interval_ms: int = 0
    samples: int = 0
    seen_before: bool = False
    ambiguous: bool = False
    failed: str = ""
    read: int = 0


def read_up(
    client: Client,
    queries: Mapping[str, str],
    window: Window,
    *,
    titles: Mapping[str, str] | None = None,
    screen: bool = True,
) -> dict[str, Frame | Missing]:
    """See :meth:`PrometheusSource.read_up`."""
    names = titles or {}
    start, end = window.start_ms, window.end_ms
    targets = [Target(t, q, names.get(t, t), start, end) for t, q in sorted(queries.items())]
    return _read(client, targets, screen)


def read_states(
    client: Client, objectives: Sequence[Objective], day: date, *, screen: bool = True
) -> dict[str, Frame | Missing]:
    """See :meth:`PrometheusSource.read_states`."""
    targets = []
    for objective in sorted(objectives, key=lambda o: o.id):
        state = objective.indicator
        if not isinstance(state, State):
            continue
        window = calendar_day(day, objective.zone)
        targets.append(
            Target(
                id=objective.id,
                query=state.query.selector or state.query.text,
                title=objective.title,
                start_ms=window.start_ms,
                end_ms=window.end_ms,
                no_data=objective.no_data,
                success=state.success,
                plain=state.query.selector is not None,
            )
        )
    return _read(client, targets, screen)


def state_queries(objective: Objective, day: date) -> list[str]:
    """The queries about a :class:`State` objective's day, each as it would be sent alone."""
    assert isinstance(objective.indicator, State)
    query = objective.indicator.query
    window = calendar_day(day, objective.zone)
    target = Target("", query.selector or query.text, "", window.start_ms, window.end_ms)
    target.plain = query.selector is not None
    slice_ms = slice_length(window.start_ms, window.end_ms)
    screen = [
        over_slices("count_over_time", slice_ms, True).format(target.query),
        over_slices("sum_over_time", slice_ms, True).format(target.query),
        f"timestamp({target.query})",
    ]
    return [*(screen if slice_ms and target.plain else ()), _raw_text(target)]


def _read(client: Client, targets: Sequence[Target], screen: bool) -> dict[str, Frame | Missing]:
    client.begin()
    findings: list[Finding] = []
    screened = _screen(client, targets) if screen else None
    raw = _raw(client, [t for t in targets if not t.clean], findings)
    # Several series of one target are a mistake in its selector, not an empty source.
    if not len(raw.table) and not any(t.clean or t.ambiguous or t.failed for t in targets):
        first = min((t.start_ms for t in targets), default=0)
        last = max((t.end_ms for t in targets), default=0)
        missing = Missing(
            why=Why.EMPTY,
            detail=f"Prometheus has no sample of any of {len(targets)} targets "
            f"from {_iso(first)} to {_iso(last)}",
        )
        return {TARGETS: missing, SAMPLES: missing}
    table = pd.DataFrame(
        {
            "target": [t.id for t in targets],
            "title": [t.title for t in targets],
            "query": [t.query for t in targets],
            "start_ms": np.array([t.start_ms for t in targets], np.int64),
            "end_ms": np.array([t.end_ms for t in targets], np.int64),
            "no_data": [t.no_data for t in targets],
            "clean": [t.clean for t in targets],
            "interval_ms": [t.interval_ms for t in targets],
            "samples": [t.samples for t in targets],
            "seen_before": [t.seen_before for t in targets],
            "ambiguous": [t.ambiguous for t in targets],
        }
    )
    coverage = screened or client.coverage("up_screen", "(no screen: all raw)", 0, {})
    coverage = coverage.model_copy(update={"rows": len(targets)})
    return {TARGETS: Frame(table, coverage, tuple(findings)), SAMPLES: raw}


# -- the screen --------------------------------------------------------------------------------


def _screen(client: Client, targets: Sequence[Target]) -> Coverage | None:
    """Mark the targets that were up without a gap; None where no window has slices.

    The slices end one MAX_INTERVAL after the window and begin before it, so that the neighbours
    of the first and last sample are screened too. A slice is clean if it holds exactly
    slice/interval samples, all of them 1. Counts alone (of an hour or of a minute) let a gap of
    nearly two intervals pass; but a scrape never comes early, so that such a gap shifts the phase
    of all samples after it, which is compared every few slices.
    """
    texts: list[str] = []
    total = up = slices = 0
    lengths: set[str] = set()
    for (start_ms, end_ms), group in _by_window(t for t in targets if t.plain):
        slice_ms = slice_length(start_ms, end_ms)
        if not slice_ms:
            continue
        marks = slice_marks(start_ms, end_ms, slice_ms)
        asked = Grouped(client, texts)
        counts, sums = (
            asked.range(
                over_slices(function, slice_ms, client.ranges_closed()),
                _able(group, asked),
                marks[1],
                marks[-1],
                slice_ms,
            )
            for function in ("count_over_time", "sum_over_time")
        )
        lasts = [
            (mark, asked.instant("timestamp({})", _able(group, asked), mark))
            for mark in phase_marks(marks)
        ]
        slices += len(marks) - 1
        lengths.add(str(slice_ms // 1000))
        for target in group:
            count, up_sum = _only(counts, target), _only(sums, target)
            if count is None or up_sum is None:
                continue
            total += counted([count])
            up += counted([up_sum])
            wanted = count.value if target.success else np.zeros_like(count.value)
            if not np.array_equal(up_sum.value, wanted):
                continue
            interval = steady_interval(marks, slice_ms, count)
            phases = [(mark, _only(answer, target)) for mark, answer in lasts]
            if interval and steady_phase(phases, interval):
                target.clean, target.seen_before = True, True
                target.interval_ms = interval
                target.samples = (end_ms - start_ms) // interval
    if not texts:
        return None
    control = {
        "slice_s": " ".join(sorted(lengths)),
        "slices": str(slices),
        "samples_in_slices": str(total),
        "up_in_slices": str(up),
        "clean": str(sum(t.clean for t in targets)),
    }
    return client.coverage("up_screen", "\n".join(texts), len(targets), control)


def _able(targets: Iterable[Target], asked: Grouped) -> list[Item]:
    """What can still be asked: a target that the screen can't judge is fetched raw, which says
    what is wrong with it."""
    return [Item(t.id, t.query) for t in targets if t.id not in asked.failed]


def _only(answers: Answers, target: Target) -> Series | None:
    """The one series of a target, if it is one."""
    found = list(answers.get(target.id, {}).values())
    return found[0] if len(found) == 1 else None


# -- raw samples -------------------------------------------------------------------------------


def _raw_text(target: Target) -> str:
    """All samples of a target; what is no selector is evaluated at steps."""
    span_ms = target.end_ms - target.start_ms + 2 * MARGIN_MS
    return f"{target.query}[{span_ms}ms]" if target.plain else stepped(target.query, span_ms)


def stepped(expression: str, span_ms: int) -> str:
    """A query for the values of an expression every STEP_MS."""
    return f"({expression})[{span_ms}ms:{STEP_MS // 1000}s]"


def _raw(client: Client, targets: Sequence[Target], findings: list[Finding]) -> Frame:
    """Raw samples of ``targets``; completes their interval, seen_before and ambiguous."""
    texts: list[str] = []
    answers: dict[str, list[Series]] = {}
    for (start_ms, end_ms), group in _by_window(t for t in targets if t.plain):
        asked = Grouped(client, texts)
        items = [Item(t.id, t.query) for t in group]
        found = asked.raw(items, end_ms - start_ms + 2 * MARGIN_MS, end_ms + MARGIN_MS)
        answers |= {name: list(series.values()) for name, series in found.items()}
        for target in group:
            if target.id in asked.failed:
                _fail(target, asked.failed[target.id], findings)
    for target in targets:
        if not target.plain:
            text = _raw_text(target)
            texts.append(text)
            try:
                answers[target.id] = client.query(text, target.end_ms + MARGIN_MS)
            except QueryFailed as error:
                _fail(target, error, findings)
    frames: list[pd.DataFrame] = []
    up_read = 0
    for target in targets:
        series = [s for s in answers.get(target.id, ()) if len(s.at_ms)]
        if len(series) > 1:
            target.ambiguous = True
            findings.append(_ambiguous(target, series))
        if len(series) != 1:
            continue
        if not target.plain:
            findings.append(_stepped(target))
        at_ms, value = series[0].at_ms, series[0].value
        target.read = len(at_ms)
        known = (value == 0) | (value == 1)
        if not known.all():
            findings.append(_not_binary(target, value[~known]))
            at_ms, value = at_ms[known], value[known]
        up = value == (1 if target.success else 0)
        up_read += int(np.count_nonzero(up))
        target.interval_ms = median_interval(at_ms)
        target.seen_before = bool((at_ms < target.start_ms).any())
        frames.append(pd.DataFrame({"target": target.id, "at_ms": at_ms, "up": up}))
    empty = pd.DataFrame({"target": [], "at_ms": [], "up": []}).astype(
        {"target": "str", "at_ms": "int64", "up": "bool"}
    )
    table = pd.concat(frames, ignore_index=True) if frames else empty
    control = {"samples_read": str(len(table)), "up_read": str(up_read)}
    if targets:
        plain = [t for t in targets if t.plain and not t.failed]
        control["samples_counted"] = str(_control(client, plain, findings))
        unseen = [t for t in plain if not t.seen_before]
        _mark_seen_before(client, unseen, findings, texts)
    return Frame(table, client.coverage("up_raw", "\n".join(texts), len(table), control))


def _fail(target: Target, error: QueryFailed, findings: list[Finding]) -> None:
    target.failed = str(error)
    findings.append(_query_failed(target, error))


def _control(client: Client, targets: Sequence[Target], findings: list[Finding]) -> int:
    """The server's own count of what was just read, to reconcile with."""
    wanted = [t for t in targets if not t.ambiguous]
    total = 0
    for (start_ms, end_ms), group in _by_window(wanted):
        asked = Grouped(client, [])
        items = [Item(t.id, t.query) for t in group]
        form = f"count_over_time({{}}[{end_ms - start_ms + 2 * MARGIN_MS}ms])"
        answers = asked.instant(form, items, end_ms + MARGIN_MS)
        for target in group:
            if target.id in asked.failed:
                findings.append(_uncounted(target, asked.failed[target.id]))
                continue
            found = answers.get(target.id, {}).values()
            there = counted(found)
            total += there
            if there != target.read:
                findings.append(_control_total(target, there))
    return total


def _mark_seen_before(
    client: Client, targets: Sequence[Target], findings: list[Finding], texts: list[str]
) -> None:
    """Find which of ``targets`` had samples before the window: lost, not unborn."""
    form = f"present_over_time({{}}[{SEEN_WITHIN}])"
    for (start_ms, _), group in _by_window(targets):
        asked = Grouped(client, texts)
        answers = asked.instant(form, [Item(t.id, t.query) for t in group], start_ms)
        for target in group:
            if target.id in asked.failed:
                target.seen_before = True  # lost is the harder verdict of the two
                findings.append(_history_unknown(target, asked.failed[target.id]))
            elif target.id in answers:
                target.seen_before = True


def _by_window(targets: Iterable[Target]) -> Iterator[tuple[tuple[int, int], list[Target]]]:
    """Targets of one window together, since they can be asked at one moment."""

    def window(target: Target) -> tuple[int, int]:
        return target.start_ms, target.end_ms

    for bounds, group in groupby(sorted(targets, key=window), key=window):
        yield bounds, list(group)


# -- shared with the other readers -------------------------------------------------------------


def slice_length(start_ms: int, end_ms: int) -> int:
    """The slice of a screen of this window; 0 where it can't be cut into few enough slices."""
    length = end_ms - start_ms
    slice_ms = next((s for s in SLICES_MS if length % s == 0), 0)
    if not slice_ms or length // slice_ms + -(-MARGIN_MS // slice_ms) + 1 > MAX_POINTS:
        return 0
    return slice_ms


def slice_marks(start_ms: int, end_ms: int, slice_ms: int) -> list[int]:
    """The ends of all slices of a screen, and the start of the first, in order."""
    slices = (end_ms - start_ms) // slice_ms + -(-MARGIN_MS // slice_ms)
    last = end_ms + MAX_INTERVAL_MS
    return [last - slice_ms * back for back in range(slices, -1, -1)]


def phase_marks(marks: Sequence[int]) -> list[int]:
    """The marks at which phases are compared: every sixth one and the ends.

    Asking at all of them is what costs most: a server looks for each latest sample anew.
    """
    return sorted({marks[0], *marks[-1:0:-6]})


def over_slices(function: str, slice_ms: int, closed: bool) -> str:
    """``function`` over slices without their left end, whatever the server's ranges are."""
    return f"{function}({{}}[{slice_ms - closed}ms])"


def steady_interval(marks: Sequence[int], slice_ms: int, count: Series) -> int:
    """The scrape interval (ms) that gives each slice its number of samples, else 0."""
    if len(count.at_ms) != len(marks) - 1:
        return 0
    n = counted([count]) // len(count.at_ms)
    if n < 1 or slice_ms % n or not (count.value == n).all():
        return 0
    interval = slice_ms // n
    return interval if interval <= MAX_INTERVAL_MS else 0


def steady_phase(lasts: Sequence[tuple[int, Series | None]], interval: int) -> bool:
    """Whether the last samples before some marks, ``timestamp()`` in s, are as far apart as those.

    A scrape comes late by a tenth of its interval at most. (The marks are whole intervals apart.)
    """
    before: list[int] = []
    for mark, last in lasts:
        if last is None or not np.isfinite(last.value[0]):
            return False
        before.append(mark - round(float(last.value[0]) * 1000))
    return max(before) < interval and all(abs(b - a) <= interval // 10 for a, b in pairwise(before))


def median_interval(at_ms: npt.NDArray[np.int64]) -> int:
    """The scrape interval (ms) as the median distance of samples; 0 where there is none."""
    if len(at_ms) < 2:
        return 0
    gaps = np.diff(at_ms)
    lower = (len(gaps) - 1) // 2
    interval = int(np.partition(gaps, lower)[lower])  # of two middle ones the lower: no fractions
    return interval if interval <= MAX_INTERVAL_MS else 0


def _iso(ms: int) -> str:
    return (EPOCH + timedelta(milliseconds=ms)).isoformat()


# -- findings ----------------------------------------------------------------------------------


def _query_failed(target: Target, error: QueryFailed) -> Finding:
    wanted = '; expected a plain selector such as up{job="grafana"}' if error.refused else ""
    return Finding(
        check="uptime.query_failed",
        severity="error",
        count=1,
        detail=f"{target.id}: {target.query} was not answered: {error}{wanted}: see its query in "
        "config/objectives, and close the day again with --reread while the server has it. "
        "Its whole window is reported as unknown",
        samples=(target.id,),
    )


def _ambiguous(target: Target, series: Sequence[Series]) -> Finding:
    labels = tuple(str(dict(sorted(s.labels.items()))) for s in series[:5])
    return Finding(
        check="uptime.several_series",
        severity="error",
        count=len(series),
        detail=f"{target.id}: {target.query} selects {len(series)} series; expected one: narrow "
        "the selector in config/objectives. Its whole window is reported as unknown",
        samples=labels,
    )


def _not_binary(target: Target, values: npt.NDArray[np.float64]) -> Finding:
    return Finding(
        check="uptime.not_binary",
        severity="error",
        count=len(values),
        detail=f"{target.id}: {target.query} has values other than 0 and 1; expected a series "
        "like up or probe_success. Those samples are left out, their time is unknown",
        samples=tuple(f"{v:.15g}" for v in np.unique(values)[:5]),
    )


def _stepped(target: Target) -> Finding:
    return Finding(
        check="uptime.stepped",
        severity="note",
        count=1,
        detail=f"{target.id}: {target.query} is no plain selector, so the server evaluates it "
        f"every {STEP_MS // 1000} s and repeats each sample for up to 5 minutes: shorter gaps are "
        "hidden",
        samples=(target.id,),
    )


def _control_total(target: Target, there: int) -> Finding:
    return Finding(
        check="uptime.control_total",
        severity="error",
        count=1,
        detail=f"{target.id}: Prometheus counts {there} samples where {target.read} were read; "
        "expected the same: samples were written or deleted meanwhile",
        samples=(target.id,),
    )


def _uncounted(target: Target, error: QueryFailed) -> Finding:
    return Finding(
        check="uptime.control_total",
        severity="warning",
        count=1,
        detail=f"{target.id}: the server's own count of its samples could not be had: {error}",
        samples=(target.id,),
    )


def _history_unknown(target: Target, error: QueryFailed) -> Finding:
    return Finding(
        check="uptime.history_unknown",
        severity="warning",
        count=1,
        detail=f"{target.id}: whether it had samples before the day could not be asked: {error}. "
        "Time without data counts as lost, not as before its birth",
        samples=(target.id,),
    )
