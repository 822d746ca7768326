"""Up and down: the samples of 0/1 series, for the uptime measure.

They are read in two steps. A screen of three grouped range queries finds the series that were up
without a gap; they need nothing more. The others are fetched as raw samples, since ``increase``,
``avg_over_time`` and the five-minute lookback of ``query_range`` hide exactly the gaps that an
availability figure has to show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...model import Coverage, Finding, Frame, Missing, Why, Window
from ...periods import calendar_day
from ...policy.indicators import Objective, State
from .client import MAX_POINTS, Client, QueryFailed, Series, halves

#: Label that tells the answers of one grouped query apart.
TARGET_LABEL = "reporting_target"
#: Selectors in one grouped query: keeps its text and the server's work per query bounded.
GROUP = 100
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
    slice_ms = _slice_ms(target)
    screen = [form.format(target.query) for _, form in _screens(slice_ms)]
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
    slice/interval samples, all of them 1, and if the last sample before each of its ends has the
    same phase: since a scrape never comes early, a gap would leave too few samples or shift the
    phase, whereas counts alone (of an hour or of a minute) let a gap of nearly two intervals pass.
    """
    texts: list[str] = []
    total = up = slices = 0
    lengths: set[str] = set()
    by_window = sorted((t for t in targets if t.plain), key=lambda t: (t.start_ms, t.end_ms))
    for _, group in groupby(by_window, key=lambda t: (t.start_ms, t.end_ms)):
        wanted = list(group)
        slice_ms = _slice_ms(wanted[0])
        if not slice_ms:
            continue
        marks = slice_marks(wanted[0].start_ms, wanted[0].end_ms, slice_ms)
        closed = client.ranges_closed()
        answers = {}
        failed: set[str] = set()
        for name, form in _screens(slice_ms):
            able = [t for t in wanted if t.id not in failed]
            answers[name], unable = _grouped(client, form, able, marks, slice_ms, texts)
            failed |= unable
        slices += len(marks) - 1
        lengths.add(str(slice_ms // 1000))
        for target in wanted:
            count, up_sum, at = (answers[n].get(target.id, []) for n in ("count", "sum", "last"))
            if len(count) != 1 or len(up_sum) != 1 or len(at) != 1:
                continue
            total += sum(int(v) for v in count[0].values())
            up += sum(int(v) for v in up_sum[0].values())
            wanted_sum = count[0] if target.success else dict.fromkeys(count[0], 0.0)
            if up_sum[0] != wanted_sum:
                continue
            interval = steady_interval(marks, slice_ms, closed, count[0], at[0])
            if interval:
                target.clean, target.seen_before = True, True
                target.interval_ms = interval
                target.samples = (target.end_ms - target.start_ms) // interval
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


def _slice_ms(target: Target) -> int:
    return slice_length(target.start_ms, target.end_ms)


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


def _screens(slice_ms: int) -> tuple[tuple[str, str], ...]:
    span = f"{slice_ms // 1000}s"
    return (
        ("count", f"count_over_time({{}}[{span}])"),
        ("sum", f"sum_over_time({{}}[{span}])"),
        ("last", "timestamp({})"),
    )


def _grouped(
    client: Client,
    form: str,
    targets: Sequence[Target],
    marks: Sequence[int],
    step_ms: int,
    texts: list[str],
) -> tuple[dict[str, list[dict[int, float]]], set[str]]:
    """Ask ``form`` of every target at ``marks``: (target -> series of mark -> value, failed)."""
    series: dict[str, list[dict[int, float]]] = {}
    failed: set[str] = set()

    def ask(group: Sequence[Target]) -> None:
        text = either(form, ((t.id, t.query) for t in group))
        for item in client.range(text, marks[0], marks[-1], step_ms):
            points = dict(zip(item.at_ms.tolist(), item.value.tolist(), strict=True))
            series.setdefault(item.labels.get(TARGET_LABEL, ""), []).append(points)
        texts.append(text)

    # A target that the screen can't judge is fetched raw, which says what is wrong with it.
    for start in range(0, len(targets), GROUP):
        halves(ask, targets[start : start + GROUP], lambda target, _: failed.add(target.id))
    return series, failed


# -- raw samples -------------------------------------------------------------------------------


def _raw_text(target: Target) -> str:
    span = f"{target.end_ms - target.start_ms + 2 * MARGIN_MS}ms"
    if target.plain:
        return f"{target.query}[{span}]"
    return f"({target.query})[{span}:{STEP_MS // 1000}s]"


def _raw(client: Client, targets: Sequence[Target], findings: list[Finding]) -> Frame:
    """Raw samples of ``targets``; completes their interval, seen_before and ambiguous."""
    frames: list[pd.DataFrame] = []
    texts = []
    up_read = 0
    for target in targets:
        text = _raw_text(target)
        texts.append(text)
        try:
            series = [s for s in client.query(text, target.end_ms + MARGIN_MS) if len(s.at_ms)]
        except QueryFailed as error:
            target.failed = str(error)
            findings.append(_query_failed(target, error))
            continue
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
        asked = [t for t in targets if not t.failed]
        control["samples_counted"] = str(_control(client, asked, findings))
        texts += _mark_seen_before(client, [t for t in asked if not t.seen_before], findings)
    return Frame(table, client.coverage("up_raw", "\n".join(texts), len(table), control))


def _control(client: Client, targets: Sequence[Target], findings: list[Finding]) -> int:
    """The server's own count of what was just read, to reconcile with."""
    counted: dict[str, int] = {}
    wanted = [t for t in targets if t.plain and not t.ambiguous]

    def ask(group: Sequence[Target]) -> None:
        span = f"{group[0].end_ms - group[0].start_ms + 2 * MARGIN_MS}ms"
        text = either(f"count_over_time({{}}[{span}])", ((t.id, t.query) for t in group))
        answer = client.query(text, group[0].end_ms + MARGIN_MS)
        counted.update(dict.fromkeys((t.id for t in group), 0))
        counted.update({s.labels[TARGET_LABEL]: int(s.value[0]) for s in answer})

    for group in _groups(wanted):
        halves(ask, group, lambda target, error: findings.append(_uncounted(target, error)))
    read = sum(t.read for t in wanted if t.id in counted)
    if sum(counted.values()) != read:
        findings.append(
            Finding(
                check="uptime.control_total",
                severity="error",
                count=1,
                detail=f"Prometheus counts {sum(counted.values())} samples where {read} were "
                "read; expected the same: samples were written or deleted meanwhile",
                samples=tuple(t.id for t in wanted if counted.get(t.id, t.read) != t.read)[:5],
            )
        )
    return sum(counted.values())


def _mark_seen_before(
    client: Client, targets: Sequence[Target], findings: list[Finding]
) -> list[str]:
    """Find which of ``targets`` had samples before the window: lost, not unborn."""
    by_id = {t.id: t for t in targets}
    texts = []

    def ask(group: Sequence[Target]) -> None:
        form = f"present_over_time({{}}[{SEEN_WITHIN}])"
        text = either(form, ((t.id, t.query) for t in group))
        for item in client.query(text, group[0].start_ms):
            by_id[item.labels[TARGET_LABEL]].seen_before = True
        texts.append(text)

    def failed(target: Target, error: QueryFailed) -> None:
        target.seen_before = True  # lost is the harder verdict of the two
        findings.append(_history_unknown(target, error))

    for group in _groups([t for t in targets if t.plain]):
        halves(ask, group, failed)
    return texts


def _groups(targets: Iterable[Target]) -> Iterable[list[Target]]:
    """Targets of one window, at most GROUP at a time."""
    ordered = sorted(targets, key=lambda t: (t.start_ms, t.end_ms))
    for _, same in groupby(ordered, key=lambda t: (t.start_ms, t.end_ms)):
        members = list(same)
        for start in range(0, len(members), GROUP):
            yield members[start : start + GROUP]


# -- shared with the other readers -------------------------------------------------------------


def either(form: str, selectors: Iterable[tuple[str, str]]) -> str:
    """One query that asks ``form`` of every (id, selector) and labels the answers with the id."""
    return "\nor ".join(
        f'label_replace({form.format(selector)}, "{TARGET_LABEL}", "{name}", "", "")'
        for name, selector in selectors
    )


def steady_interval(
    marks: Sequence[int],
    slice_ms: int,
    closed: bool,
    count: Mapping[int, float],
    last: Mapping[int, float],
) -> int:
    """The scrape interval (ms) of a series without a gap over all slices, else 0.

    ``count`` maps the end of each slice to its number of samples, ``last`` each mark to the time
    (s) of the last sample up to it.
    """
    first = marks[1]
    if first not in count or marks[0] not in last:
        return 0
    before = {mark: round(last[mark] * 1000) for mark in marks if mark in last}
    interval = 0
    for previous, mark in pairwise(marks):
        if mark not in count or mark not in before:
            return 0
        # A closed range also holds a sample exactly at its left end.
        n = int(count[mark]) - (1 if closed and before[previous] == previous else 0)
        if n < 1 or slice_ms % n:
            return 0
        interval = interval or slice_ms // n
        drift = abs(before[mark] - before[previous] - slice_ms)
        late = mark - before[mark]
        if slice_ms // n != interval or drift > interval // 10 or late >= interval:
            return 0
    return interval if interval <= MAX_INTERVAL_MS else 0


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
        "config/objectives. Its whole window is reported as unknown",
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
