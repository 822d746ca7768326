"""Uptime: how long each target was up, down and unknown, from its samples.

A sample owns the time to the midpoints of its neighbours. Where two neighbours are more than one
and a half scrape intervals apart, each owns half an interval and the rest is unknown: no data is
neither up nor down. Availability is printed as both bounds,

    [(up - doubtful up) / W, (up + unknown + doubtful down) / W],

W being the whole window. Doubtful is the owned time in which the state may already have been the
other one: half the distance of the samples on each side of a change, half an interval next to
unknown time. For evenly spaced samples this is the usual "transitions x interval / 2"; written as
amounts of time it also holds for uneven ones, and it adds up over days.

What sampling can't see, no bound contains: an outage that begins and ends between two samples.
Everything is in whole milliseconds. Reference: Beyer et al., "The Site Reliability Workbook"
(2018), chapter 2, time-based availability = uptime / (uptime + downtime), here with unknown time
kept apart.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from ..errors import ValidationFailed
from ..model import Band, Duration, Frame, Frames, Missing, Moment, Ratio, Shown, Value, Why
from ..page import (
    CalendarCell,
    CalendarChart,
    CalendarRow,
    Chart,
    Column,
    Figure,
    Kind,
    Point,
    Section,
    Span,
    Table,
    Target,
    TimelineChart,
    TimelineRow,
    Verdict,
    text,
)
from ..periods import TradingDay, calendar_day, days_between
from . import Context as Page
from . import Measure

NAME = "uptime"
TARGETS, SAMPLES = "uptime_targets", "uptime_samples"
#: Stretches kept of one target, the longest ones; totals always count all of them.
MAX_STRETCHES = 200
#: A gap is the collector's where at most one in ten of the known targets still has samples.
COLLECTOR_SHARE = 10
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: What a stretch of time was, if not up. All but "down" are kinds of unknown.
State = Literal["down", "collector gap", "target lost", "not born", "several series"]


class Stretch(Value):
    """A span of time in which a target was not known to be up, in milliseconds since 1970."""

    start_ms: int
    end_ms: int
    state: State

    @property
    def length_ms(self) -> int:
        """Its length in milliseconds."""
        return self.end_ms - self.start_ms


class TargetUptime(Value):
    """The time of one target, in whole milliseconds; ``window_ms`` is the sum of its parts.

    ``interval_ms`` is the scrape interval (0: not known; merged: the longest one). ``transitions``
    are the changes between up, down and unknown.
    """

    id: str
    title: str
    window_ms: int
    up_ms: int
    down_ms: int
    collector_gap_ms: int
    target_lost_ms: int
    not_born_ms: int
    several_series_ms: int
    doubtful_up_ms: int
    doubtful_down_ms: int
    transitions: int
    interval_ms: int
    samples: int
    stretches: tuple[Stretch, ...]
    stretches_dropped: int = 0

    @property
    def unknown_ms(self) -> int:
        """Time without data, of all kinds."""
        return (
            self.collector_gap_ms + self.target_lost_ms + self.not_born_ms + self.several_series_ms
        )

    @property
    def low_ms(self) -> int:
        """The least time that it was up."""
        return self.up_ms - self.doubtful_up_ms

    @property
    def high_ms(self) -> int:
        """The most time that it can have been up."""
        return self.up_ms + self.unknown_ms + self.doubtful_down_ms

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.up_ms + self.down_ms + self.unknown_ms != self.window_ms:
            raise ValueError(f"{self.id}: up, down and unknown do not add up to {self.window_ms}")
        return self


class UptimeFact(Value):
    """The uptime of all targets between two instants."""

    start_ms: int
    end_ms: int
    targets: tuple[TargetUptime, ...]


# -- one day -----------------------------------------------------------------------------------


def of_day(day: TradingDay, frames: Frames) -> UptimeFact | Missing:
    """The uptime of the local calendar day, from the two frames of the Prometheus source.

    A target without a sample is unknown throughout, neither up nor down.
    """
    targets, samples = frames[TARGETS], frames[SAMPLES]
    if isinstance(targets, Missing):
        return targets
    if isinstance(samples, Missing):
        return samples
    assert isinstance(targets, Frame) and isinstance(samples, Frame)
    start, end = day.window.start_ms, day.window.end_ms
    by_target = {str(name): rows for name, rows in samples.table.groupby("target")}
    lives = []
    for row in targets.table.to_dict("records"):
        rows = by_target.get(str(row["target"]))
        at = np.array([] if rows is None else rows["at_ms"], dtype=np.int64)
        up = np.array([] if rows is None else rows["up"], dtype=np.bool_)
        lives.append(_Life.of(row, at, up))
    collector = _collector_gaps(lives, start, end)
    facts = [_uptime(life, collector, start, end) for life in lives]
    return UptimeFact(
        start_ms=start, end_ms=end, targets=tuple(sorted(facts, key=lambda fact: fact.id))
    )


Interval = tuple[int, int]
FOREVER = 1 << 60


@dataclass(frozen=True)
class _Piece:
    """Time owned by neighbouring samples of one state; ``first`` and ``last`` are sampled."""

    start: int
    first: int
    last: int
    end: int
    up: bool


@dataclass(frozen=True)
class _Life:
    """All that is known of one target: its pieces in order and the gaps between its samples."""

    id: str
    title: str
    clean: bool
    ambiguous: bool
    seen_before: bool
    interval: int
    clean_samples: int
    at: npt.NDArray[np.int64]
    pieces: tuple[_Piece, ...]
    gaps: tuple[Interval, ...]

    @property
    def born(self) -> int:
        """When it is first known to exist."""
        if self.clean or self.seen_before:
            return -FOREVER
        return int(self.at[0]) if len(self.at) else FOREVER

    @classmethod
    def of(
        cls, row: Mapping[Any, Any], at: npt.NDArray[np.int64], up: npt.NDArray[np.bool_]
    ) -> _Life:
        """Cut the samples into pieces wherever the state changes or the gap is too long."""
        interval = int(row["interval_ms"])
        pieces: list[_Piece] = []
        gaps: list[Interval] = []
        if not row["clean"] and interval and len(at):
            broken = 2 * np.diff(at) > 3 * interval
            cuts = np.flatnonzero(broken | (up[1:] != up[:-1])) + 1
            edges = [0, *(int(cut) for cut in cuts), len(at)]
            half = interval // 2
            for i, j in pairwise(edges):
                first, last = int(at[i]), int(at[j - 1])
                joined_left = i > 0 and not broken[i - 1]
                joined_right = j < len(at) and not broken[j - 1]
                start = (int(at[i - 1]) + first) // 2 if joined_left else first - half
                end = (last + int(at[j])) // 2 if joined_right else last + half
                pieces.append(_Piece(start, first, last, end, bool(up[i])))
                if i and not joined_left:
                    gaps.append((int(at[i - 1]), first))
            before = [(-FOREVER, int(at[0]))] if row["seen_before"] else []
            gaps = [*before, *gaps, (int(at[-1]), FOREVER)]
        elif not row["clean"]:
            gaps = [(-FOREVER, FOREVER)]
        return cls(
            id=str(row["target"]),
            title=str(row["title"]),
            clean=bool(row["clean"]),
            ambiguous=bool(row["ambiguous"]),
            seen_before=bool(row["seen_before"]),
            interval=interval,
            clean_samples=int(row["samples"]),
            at=at,
            pieces=tuple(pieces),
            gaps=tuple(gaps),
        )


def _uptime(life: _Life, collector: Sequence[Interval], start: int, end: int) -> TargetUptime:
    """Clip one life to the window and name its unknown time."""
    owned = [_Piece(-FOREVER, -FOREVER, FOREVER, FOREVER, True)] if life.clean else life.pieces
    time = {True: 0, False: 0}
    doubtful = {True: 0, False: 0}
    stretches: list[Stretch] = []
    edges: list[int] = []
    reached = start
    previous = -FOREVER
    for piece in owned:
        lo, hi = max(piece.start, start), min(piece.end, end)
        # The start of a piece is a change; so is the end of the last one, if time goes unowned.
        edges += [piece.start] if piece.start == previous else [previous, piece.start]
        previous = piece.end
        if lo >= hi:
            continue
        stretches += _unknown(life, collector, reached, lo)
        reached = hi
        time[piece.up] += hi - lo
        doubtful[piece.up] += _overlap(piece.start, piece.first, start, end)
        doubtful[piece.up] += _overlap(piece.last, piece.end, start, end)
        if not piece.up:
            stretches.append(Stretch(start_ms=lo, end_ms=hi, state="down"))
    edges.append(previous)
    stretches += _unknown(life, collector, reached, end)
    unknown: dict[State, int] = {}
    for stretch in stretches:
        unknown[stretch.state] = unknown.get(stretch.state, 0) + stretch.length_ms
    kept, dropped = _longest(stretches)
    counted = int(np.count_nonzero((life.at >= start) & (life.at < end)))
    return TargetUptime(
        id=life.id,
        title=life.title,
        window_ms=end - start,
        up_ms=time[True],
        down_ms=time[False],
        collector_gap_ms=unknown.get("collector gap", 0),
        target_lost_ms=unknown.get("target lost", 0),
        not_born_ms=unknown.get("not born", 0),
        several_series_ms=unknown.get("several series", 0),
        doubtful_up_ms=doubtful[True],
        doubtful_down_ms=doubtful[False],
        transitions=sum(start <= edge < end for edge in edges),
        interval_ms=life.interval,
        samples=life.clean_samples if life.clean else counted,
        stretches=kept,
        stretches_dropped=dropped,
    )


def _unknown(life: _Life, collector: Sequence[Interval], lo: int, hi: int) -> Iterator[Stretch]:
    """Cut the unknown time ``[lo, hi)`` into stretches of one kind."""
    if lo >= hi:
        return
    if life.ambiguous:
        yield Stretch(start_ms=lo, end_ms=hi, state="several series")
        return
    born = min(max(lo, life.born), hi)
    if lo < born:
        yield Stretch(start_ms=lo, end_ms=born, state="not born")
    at = born
    for gap_start, gap_end in collector:
        gap_lo, gap_hi = max(gap_start, at), min(gap_end, hi)
        if gap_lo >= gap_hi:
            continue
        if at < gap_lo:
            yield Stretch(start_ms=at, end_ms=gap_lo, state="target lost")
        yield Stretch(start_ms=gap_lo, end_ms=gap_hi, state="collector gap")
        at = gap_hi
    if at < hi:
        yield Stretch(start_ms=at, end_ms=hi, state="target lost")


def _collector_gaps(lives: Sequence[_Life], start: int, end: int) -> list[Interval]:
    """When nearly all targets that exist had no samples at once: nobody was looking.

    Gaps are widened by the longest interval, so that targets scraped at different rates agree
    on where a common gap begins and ends.
    """
    judged = [life for life in lives if not life.ambiguous]
    widen = max((life.interval for life in judged), default=0)
    events: dict[int, list[int]] = {start: [0, 0], end: [0, 0]}

    def add(at: int, which: int, change: int) -> None:
        events.setdefault(min(max(at, start), end), [0, 0])[which] += change

    for life in judged:
        add(life.born, 0, 1)
        reached = life.born
        for gap_start, gap_end in life.gaps:
            lo, hi = max(gap_start - widen, reached), min(gap_end + widen, FOREVER)
            if lo < hi:
                add(lo, 1, 1)
                add(hi, 1, -1)
                reached = hi
    found: list[Interval] = []
    known = silent = 0
    times = sorted(events)
    for at, until in pairwise(times):
        known += events[at][0]
        silent += events[at][1]
        if known >= 2 and (known - silent) * COLLECTOR_SHARE <= known:
            if found and found[-1][1] == at:
                found[-1] = (found[-1][0], until)
            else:
                found.append((at, until))
    return found


def _overlap(lo: int, hi: int, start: int, end: int) -> int:
    return max(0, min(hi, end) - max(lo, start))


def _longest(stretches: Sequence[Stretch]) -> tuple[tuple[Stretch, ...], int]:
    """The longest stretches in order of time, and how many were left out."""
    if len(stretches) <= MAX_STRETCHES:
        return tuple(stretches), 0
    ranked = sorted(stretches, key=lambda s: (-s.length_ms, s.start_ms))[:MAX_STRETCHES]
    return tuple(sorted(ranked, key=lambda s: s.start_ms)), len(stretches) - MAX_STRETCHES


# -- several days ------------------------------------------------------------------------------


def merge(days: Sequence[tuple[Any, UptimeFact]]) -> UptimeFact:
    """Sum the time of each target; a stretch that goes on over midnight becomes one."""
    facts = [fact for _, fact in days]
    by_id: dict[str, list[TargetUptime]] = {}
    for fact in facts:
        for target in fact.targets:
            by_id.setdefault(target.id, []).append(target)
    return UptimeFact(
        start_ms=min(fact.start_ms for fact in facts),
        end_ms=max(fact.end_ms for fact in facts),
        targets=tuple(_sum(by_id[key]) for key in sorted(by_id)),
    )


#: The fields of a target that add up over days.
SUMMED = (
    "window_ms",
    "up_ms",
    "down_ms",
    "collector_gap_ms",
    "target_lost_ms",
    "not_born_ms",
    "several_series_ms",
    "doubtful_up_ms",
    "doubtful_down_ms",
    "transitions",
    "samples",
)


def _sum(parts: Sequence[TargetUptime]) -> TargetUptime:
    stretches: list[Stretch] = []
    for stretch in (s for part in parts for s in part.stretches):
        last = stretches[-1] if stretches else None
        if last and (last.end_ms, last.state) == (stretch.start_ms, stretch.state):
            stretches[-1] = last.model_copy(update={"end_ms": stretch.end_ms})
        else:
            stretches.append(stretch)
    kept, dropped = _longest(stretches)
    return TargetUptime(
        id=parts[-1].id,
        title=parts[-1].title,
        interval_ms=max(part.interval_ms for part in parts),
        stretches=kept,
        stretches_dropped=dropped + sum(part.stretches_dropped for part in parts),
        **{name: sum(getattr(part, name) for part in parts) for name in SUMMED},
    )


# -- the page ----------------------------------------------------------------------------------

Days = Sequence[tuple[Any, UptimeFact | Missing]]

METHOD = (
    "Availability is a band: at least the time known to be up, at most that and the time without "
    "data. A promise is met by the lower bound and missed by the upper one. An outage shorter "
    "than one scrape interval can pass unseen."
)


def section(fact: UptimeFact | Missing, days: Days, page: Page) -> Section:
    """The availability of every target against its promise, and when it was not up.

    Days that are Missing count as unknown time of every target, so that a gap in our records
    can't be read as a promise kept.
    """
    promises = {
        key.removeprefix("availability."): target
        for key, target in page.targets.items()
        if key.startswith("availability.")
    }
    if isinstance(fact, Missing):
        figures = tuple(_absent(key, promise, fact) for key, promise in sorted(promises.items()))
        return Section(
            id=NAME,
            title="Uptime",
            summary=f"Uptime is not known: {fact}.",
            verdict=Verdict.UNKNOWN,
            figures=figures,
        )
    unsealed = [_date(day) for day, value in days if isinstance(value, Missing)]
    unsealed_ms = sum(_length_ms(day, page.zone) for day in unsealed)
    judged = [_Judged.of(t, promises.get(t.id), unsealed_ms) for t in fact.targets]
    measured = {row.target.id for row in judged}
    not_measured = Missing(why=Why.NOT_MEASURED, detail="no objective reads it from Prometheus")
    figures = (
        *(row.figure(days) for row in judged if row.promise),
        *(
            _absent(key, promise, not_measured)
            for key, promise in sorted(promises.items())
            if key not in measured
        ),
    )
    verdict = _worst(figure.verdict for figure in figures if figure.verdict)
    notes = [METHOD]
    if unsealed:
        listed = ", ".join(day.isoformat() for day in unsealed)
        notes.append(f"Not sealed, so unknown for every target: {listed}.")
    dropped = sum(row.target.stretches_dropped for row in judged)
    if dropped:
        notes.append(
            f"{dropped} shorter stretches are in the totals and in no list or chart "
            f"(the {MAX_STRETCHES} longest of each target are kept)."
        )
    return Section(
        id=NAME,
        title="Uptime",
        summary=_summary(judged, figures),
        verdict=verdict,
        figures=figures,
        tables=(_availability(judged), _stretches(judged)),
        charts=_charts(fact, judged, days, page),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Judged:
    """A target with its promise; ``window_ms`` includes unsealed days, which are unknown."""

    target: TargetUptime
    promise: Target | None
    unsealed_ms: int
    verdict: Verdict | None

    @classmethod
    def of(cls, target: TargetUptime, promise: Target | None, unsealed_ms: int = 0) -> _Judged:
        row = cls(target, promise, unsealed_ms, None)
        return cls(target, promise, unsealed_ms, _judge(row.low, row.high, promise))

    @property
    def window_ms(self) -> int:
        return self.target.window_ms + self.unsealed_ms

    @property
    def low(self) -> Fraction:
        return Fraction(self.target.low_ms, self.window_ms)

    @property
    def high(self) -> Fraction:
        return Fraction(self.target.high_ms + self.unsealed_ms, self.window_ms)

    @property
    def band(self) -> Band:
        whole = Decimal(self.window_ms)
        return Band(
            low=Ratio(numerator=Decimal(self.target.low_ms), denominator=whole),
            high=Ratio(
                numerator=Decimal(self.target.high_ms + self.unsealed_ms), denominator=whole
            ),
        )

    @property
    def words(self) -> str:
        low, high = percent(self.low, ROUND_FLOOR), percent(self.high, ROUND_CEILING)
        return f"{low} %" if low == high else f"{low} to {high} %"

    def figure(self, days: Days) -> Figure:
        return Figure(
            id=f"{NAME}.{self.target.id}",
            label=self.target.title,
            value=self.band,
            target=self.promise,
            verdict=self.verdict,
            series=tuple(_point(day, value, self.target.id) for day, value in days)
            if len(days) > 1
            else (),
        )


def percent(share: Fraction, rounding: str) -> Decimal:
    """``share`` in percent with three decimals; a bound is rounded away from the other one."""
    context = Context(prec=60, rounding=rounding)
    exact = context.divide(Decimal(share.numerator * 100), Decimal(share.denominator))
    return exact.quantize(Decimal("0.001"), rounding=rounding)


def _judge(low: Fraction, high: Fraction, promise: Target | None) -> Verdict | None:
    if promise is None:
        return None
    compare = {"ge": operator.ge, "gt": operator.gt}.get(promise.comparator)
    if compare is None or promise.unit != "%":
        raise ValidationFailed(
            f"{promise.id}: {promise.words()!r} is no availability; expected a percentage to "
            "stay at or above (ge, gt)"
        )
    needed = Fraction(promise.value) / 100
    if compare(low, needed):
        return Verdict.MET
    return Verdict.UNKNOWN if compare(high, needed) else Verdict.MISSED


def _worst(verdicts: Iterable[Verdict]) -> Verdict | None:
    order = (Verdict.MISSED, Verdict.UNKNOWN, Verdict.MET)
    found = set(verdicts)
    return next((verdict for verdict in order if verdict in found), None)


def _absent(key: str, promise: Target, why: Missing) -> Figure:
    return Figure(
        id=f"{NAME}.{key}",
        label=key.replace("_", " "),
        value=why,
        target=promise,
        verdict=Verdict.UNKNOWN,
    )


def _point(day: Any, value: UptimeFact | Missing, target_id: str) -> Point:
    """The lower bound of one day, in percent."""
    at = _date(day)
    if isinstance(value, Missing):
        return Point(day=at, value=value)
    for target in value.targets:
        if target.id == target_id:
            return Point(day=at, value=percent(_Judged.of(target, None).low, ROUND_FLOOR))
    return Point(day=at, value=Missing(why=Why.NOT_MEASURED, detail="no objective on this day"))


def _summary(judged: Sequence[_Judged], figures: Sequence[Figure]) -> str:
    met = sum(figure.verdict is Verdict.MET for figure in figures)
    parts = [f"{met} of {len(figures)} availability targets met"] if figures else []
    for row in judged:
        if row.promise and row.verdict is not Verdict.MET:
            missed = row.verdict is Verdict.MISSED
            verb = "missed" if missed else "may have missed"
            parts.append(f"{row.target.title} {verb} {row.promise.value} % with {row.words}")
    lost = [row.target.title for row in judged if not row.target.up_ms and not row.target.down_ms]
    if lost:
        parts.append(f"no data at all of {', '.join(lost)}")
    if not parts:
        return f"{len(judged)} targets observed; no promise is in force."
    return "; ".join(parts) + "."


def _availability(judged: Sequence[_Judged]) -> Table:
    columns = (
        Column(key="target", label="Target", align="left"),
        Column(key="availability", label="Availability"),
        Column(key="promise", label="Promise", align="left"),
        Column(key="verdict", label="Verdict", align="left"),
        Column(key="up", label="Up"),
        Column(key="down", label="Down"),
        Column(key="unknown", label="Unknown"),
        Column(key="unknown_kind", label="Unknown because", align="left"),
        Column(key="longest_outage", label="Longest outage"),
        Column(key="interval", label="Scraped every"),
    )
    return Table(
        id="uptime_targets",
        title="Availability by target",
        columns=columns,
        rows=tuple(_row(row) for row in judged),
        top=40,
    )


def _row(row: _Judged) -> tuple[Shown, ...]:
    target = row.target
    outages = [s.length_ms for s in target.stretches if s.state == "down"]
    kinds = {
        "collector gap": target.collector_gap_ms,
        "target lost": target.target_lost_ms,
        "not born": target.not_born_ms,
        "several series": target.several_series_ms,
        "day not sealed": row.unsealed_ms,
    }
    return (
        text(target.title),
        row.band,
        text(row.promise.words() if row.promise else "tracked"),
        text(row.verdict.value if row.verdict else ""),
        Duration(ms=target.up_ms),
        Duration(ms=target.down_ms),
        Duration(ms=target.unknown_ms + row.unsealed_ms),
        text(", ".join(kind for kind, ms in kinds.items() if ms)),
        Duration(ms=max(outages)) if outages else text("none"),
        Duration(ms=target.interval_ms) if target.interval_ms else text("not known"),
    )


def _stretches(judged: Sequence[_Judged]) -> Table:
    """Every stretch that was not up, longest first."""
    found = [(s, row.target.title) for row in judged for s in row.target.stretches]
    found.sort(key=lambda item: (-item[0].length_ms, item[0].start_ms, item[1]))
    columns = (
        Column(key="target", label="Target", align="left"),
        Column(key="state", label="State", align="left"),
        Column(key="from", label="From", align="left"),
        Column(key="to", label="To", align="left"),
        Column(key="length", label="Length"),
    )
    rows = tuple(
        (
            text(title),
            text("down" if s.state == "down" else f"unknown: {s.state}"),
            Moment(at=EPOCH + timedelta(milliseconds=s.start_ms)),
            Moment(at=EPOCH + timedelta(milliseconds=s.end_ms)),
            Duration(ms=s.length_ms),
        )
        for s, title in found
    )
    return Table(
        id="uptime_stretches", title="When targets were not up", columns=columns, rows=rows, top=15
    )


def _charts(
    fact: UptimeFact, judged: Sequence[_Judged], days: Days, page: Page
) -> tuple[Chart, ...]:
    if page.span.kind == Kind.DAILY:
        return (_timeline(fact, judged, page),)
    promised = [row for row in judged if row.promise]
    return (_calendar(promised, days, page),) if promised else ()


def _timeline(fact: UptimeFact, judged: Sequence[_Judged], page: Page) -> TimelineChart:
    rows = tuple(
        TimelineRow(
            label=row.target.title,
            spans=tuple(_spans(row.target.stretches, fact.start_ms, fact.end_ms)),
        )
        for row in judged
    )
    return TimelineChart(
        id="uptime_timeline",
        title="Up, down and unknown over the day",
        alt=f"{_counted(judged, 'down')} and {_counted(judged, 'unknown')} at some time, "
        f"of {len(judged)} targets; the table lists when.",
        start_ms=fact.start_ms,
        end_ms=fact.end_ms,
        zone=page.zone,
        rows=rows,
    )


def _counted(judged: Sequence[_Judged], state: str) -> str:
    number = sum(
        bool(row.target.down_ms if state == "down" else row.target.unknown_ms) for row in judged
    )
    return f"{number} {state}"


def _spans(stretches: Sequence[Stretch], start: int, end: int) -> Iterator[Span]:
    """Fill the time between stretches with up; neighbours of one state become one span."""
    at = start
    pending: Span | None = None
    for stretch in stretches:
        state: Literal["down", "unknown"] = "down" if stretch.state == "down" else "unknown"
        if pending and (pending.state, pending.end_ms) == (state, stretch.start_ms):
            pending = Span(state=state, start_ms=pending.start_ms, end_ms=stretch.end_ms)
        else:
            if pending:
                yield pending
            if at < stretch.start_ms:
                yield Span(state="up", start_ms=at, end_ms=stretch.start_ms)
            pending = Span(state=state, start_ms=stretch.start_ms, end_ms=stretch.end_ms)
        at = stretch.end_ms
    if pending:
        yield pending
    if at < end:
        yield Span(state="up", start_ms=at, end_ms=end)


def _calendar(promised: Sequence[_Judged], days: Days, page: Page) -> CalendarChart:
    by_date = {_date(day): value for day, value in days}
    rows = tuple(
        CalendarRow(
            label=row.target.title,
            cells=tuple(
                _cell(day, by_date.get(day), row.target.id, row.promise)
                for day in days_between(page.span.first, page.span.last)
            ),
        )
        for row in promised
    )
    return CalendarChart(
        id="uptime_calendar",
        title="Each day against its target",
        alt=f"A cell a day for {len(rows)} targets: met, missed or unknown.",
        rows=rows,
    )


def _cell(
    day: date, value: UptimeFact | Missing | None, target_id: str, promise: Target | None
) -> CalendarCell:
    if isinstance(value, UptimeFact):
        for target in value.targets:
            if target.id == target_id:
                row = _Judged.of(target, promise)
                return CalendarCell(
                    day=day,
                    low_pct=percent(row.low, ROUND_FLOOR),
                    high_pct=percent(row.high, ROUND_CEILING),
                    verdict=row.verdict or Verdict.UNKNOWN,
                )
    return CalendarCell(day=day, low_pct=None, high_pct=None, verdict=Verdict.UNKNOWN)


def _date(day: Any) -> date:
    """The date of a day given as one or as a TradingDay."""
    found: date = day.day if isinstance(day, TradingDay) else day
    return found


def _length_ms(day: date, zone: str) -> int:
    window = calendar_day(day, zone)
    return window.end_ms - window.start_ms


UPTIME = Measure[UptimeFact](
    name=NAME,
    title="Uptime",
    unit="%",
    every_day=True,
    reads=(TARGETS, SAMPLES),
    fact=UptimeFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="The Site Reliability Workbook (2018), chapter 2: time-based availability, with "
    "unknown time kept apart and printed as both bounds",
)
