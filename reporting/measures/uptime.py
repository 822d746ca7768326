"""Uptime: how long each target was up, down and unknown, from its samples.

A sample owns the time to the midpoints of its neighbours. Where two neighbours are more than one
and a half scrape intervals apart, each owns half an interval and the rest is unknown: no data is
neither up nor down. Availability is printed as both bounds,

    [(up - doubtful up) / W, (up + unknown + doubtful down) / W],

W being the whole window. Doubtful is the owned time in which the state may already have been the
other one: half the distance of the samples on each side of a change, half an interval next to
unknown time. For evenly spaced samples this is the usual "transitions x interval / 2"; written as
amounts of time it also holds for uneven ones, and it adds up over days.

An objective says how its unknown time is judged: *flag* prints both bounds as above, *exclude*
leaves it out of W, *down* counts it as down. Time of maintenance that was planned is set arithmetic
on the same ownership: gross is with it, net is without, and both are kept.

What sampling can't see, no bound contains: an outage that begins and ends between two samples.
Everything is in whole milliseconds. Reference: Beyer et al., "The Site Reliability Workbook"
(2018), chapter 2, time-based availability = uptime / (uptime + downtime), here with unknown time
kept apart.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from ..errors import ValidationFailed
from ..model import Band, Duration, Frame, Frames, Missing, Moment, Ratio, Shown, Value, Why
from ..numerals import numeral, ours
from ..page import (
    Column,
    Figure,
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
from ..periods import TradingDay, date_of, day_length_ms, in_spans
from . import Context as Page
from . import Measure

NAME = "uptime"
TARGETS, SAMPLES = "uptime_targets", "uptime_samples"
#: Planned maintenance; read where it is there, since a site may plan none.
MAINTENANCE = "maintenance"
EVERY_TARGET = "*"
#: Stretches kept of one target, the longest ones; totals always count all of them.
MAX_STRETCHES = 200
#: A gap is the collector's where at most one in ten of the known targets still has samples.
COLLECTOR_SHARE = 10
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: What a stretch of time was, if not up. All but "down" are kinds of unknown.
State = Literal["down", "collector gap", "target lost", "not born", "several series"]
NoData = Literal["exclude", "down", "flag"]


class Stretch(Value):
    """A span of time in which a target was not known to be up, in milliseconds since 1970.

    ``planned``: all of it was maintenance.
    """

    start_ms: int
    end_ms: int
    state: State
    planned: bool = False

    @property
    def length_ms(self) -> int:
        """Its length in milliseconds."""
        return self.end_ms - self.start_ms


class Planned(Value):
    """The part of a target's time that was planned maintenance, in the same terms.

    ``retroactive_ms`` of it was covered only by windows approved after they had begun.
    """

    window_ms: int = 0
    up_ms: int = 0
    down_ms: int = 0
    unknown_ms: int = 0
    doubtful_up_ms: int = 0
    doubtful_down_ms: int = 0
    retroactive_ms: int = 0


class TargetUptime(Value):
    """The time of one target, in whole milliseconds; ``window_ms`` is the sum of its parts.

    ``interval_ms`` is the scrape interval (0: not known; merged: the longest one). ``transitions``
    are the changes between up, down and unknown. All of it is gross; ``planned`` is what was
    planned of it.
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
    no_data: NoData = "flag"
    planned: Planned = Planned()

    @property
    def unknown_ms(self) -> int:
        """Time without data, of all kinds."""
        return (
            self.collector_gap_ms + self.target_lost_ms + self.not_born_ms + self.several_series_ms
        )

    @property
    def low_ms(self) -> int:
        """The least time that it was up, maintenance or not."""
        return self.gross.low_ms

    @property
    def high_ms(self) -> int:
        """The most time that it can have been up, maintenance or not."""
        return self.gross.high_ms

    @property
    def gross(self) -> Bounds:
        """The bounds over all of its time."""
        return self._bounds(Planned())

    @property
    def net(self) -> Bounds:
        """The bounds over the time outside of planned maintenance."""
        return self._bounds(self.planned)

    def _bounds(self, without: Planned) -> Bounds:
        unknown = self.unknown_ms - without.unknown_ms
        up = self.up_ms - without.up_ms
        most = up + self.doubtful_down_ms - without.doubtful_down_ms
        return Bounds(
            low_ms=up - (self.doubtful_up_ms - without.doubtful_up_ms),
            high_ms=most + (unknown if self.no_data == "flag" else 0),
            whole_ms=self.window_ms
            - without.window_ms
            - (unknown if self.no_data == "exclude" else 0),
        )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.up_ms + self.down_ms + self.unknown_ms != self.window_ms:
            raise ValueError(f"{self.id}: up, down and unknown do not add up to {self.window_ms}")
        return self


class Bounds(NamedTuple):
    """Least and most time up, of the time that is judged."""

    low_ms: int
    high_ms: int
    whole_ms: int


class MaintenanceWindow(Value):
    """A planned window as it was approved; ``target`` is a target's id or ``*`` for all."""

    target: str
    start_ms: int
    end_ms: int
    reason: str
    approved_by: str
    approved_at_ms: int
    retroactive: bool


class UptimeFact(Value):
    """The uptime of all targets between two instants, and the maintenance planned in it."""

    start_ms: int
    end_ms: int
    targets: tuple[TargetUptime, ...]
    maintenance: tuple[MaintenanceWindow, ...] = ()


# -- one day -----------------------------------------------------------------------------------


def of_day(day: TradingDay, frames: Frames) -> UptimeFact | Missing:
    """The uptime of the day, from the two frames of the Prometheus source and the maintenance.

    The day of a target is the local calendar day, or the window that its row gives (an objective
    may have a zone of its own). A target without a sample is unknown throughout, neither up nor
    down.
    """
    targets, samples = frames[TARGETS], frames[SAMPLES]
    if isinstance(targets, Missing):
        return targets
    if isinstance(samples, Missing):
        return samples
    assert isinstance(targets, Frame) and isinstance(samples, Frame)
    windows = _maintenance(frames.get(MAINTENANCE))
    if isinstance(windows, Missing):
        return windows
    by_target = {str(name): rows for name, rows in samples.table.groupby("target")}
    lives = []
    for row in targets.table.to_dict("records"):
        rows = by_target.get(str(row["target"]))
        at = np.array([] if rows is None else rows["at_ms"], dtype=np.int64)
        up = np.array([] if rows is None else rows["up"], dtype=np.bool_)
        lives.append(_Life.of(row, at, up, (day.window.start_ms, day.window.end_ms)))
    start = min((life.window[0] for life in lives), default=day.window.start_ms)
    end = max((life.window[1] for life in lives), default=day.window.end_ms)
    collector = _collector_gaps(lives, start, end)
    facts = [_uptime(life, collector, windows) for life in lives]
    known = {life.id: life.window for life in lives}
    return UptimeFact(
        start_ms=start,
        end_ms=end,
        targets=tuple(sorted(facts, key=lambda fact: fact.id)),
        maintenance=tuple(w for w in windows if _concerns(w, known)),
    )


def _maintenance(frame: Any) -> tuple[MaintenanceWindow, ...] | Missing:
    """The planned windows in order; a site without the frame plans none."""
    if frame is None or isinstance(frame, Missing):
        return frame or ()
    assert isinstance(frame, Frame)
    found = [
        MaintenanceWindow(
            target=str(row["target"]),
            start_ms=int(row["start_ms"]),
            end_ms=int(row["end_ms"]),
            reason=str(row["reason"]),
            approved_by=str(row["approved_by"]),
            approved_at_ms=int(row["approved_at_ms"]),
            retroactive=bool(row["retroactive"]),
        )
        for row in frame.table.to_dict("records")
    ]
    return tuple(sorted(set(found), key=_order))


def _order(window: MaintenanceWindow) -> tuple[Any, ...]:
    who = (window.target, window.reason, window.approved_by)
    return (window.start_ms, window.end_ms, *who, window.approved_at_ms, window.retroactive)


def _concerns(window: MaintenanceWindow, known: Mapping[str, Interval]) -> bool:
    """Whether a target's day has any of the window."""
    names = known if window.target == EVERY_TARGET else {window.target} & set(known)
    return any(_overlap(window.start_ms, window.end_ms, *known[name]) for name in names)


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
    window: Interval
    no_data: NoData
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
        cls,
        row: Mapping[Any, Any],
        at: npt.NDArray[np.int64],
        up: npt.NDArray[np.bool_],
        day: Interval,
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
            window=(int(row["start_ms"]), int(row["end_ms"])) if "start_ms" in row else day,
            no_data=row.get("no_data", "flag"),
            at=at,
            pieces=tuple(pieces),
            gaps=tuple(gaps),
        )


def _uptime(
    life: _Life, collector: Sequence[Interval], windows: Sequence[MaintenanceWindow]
) -> TargetUptime:
    """Clip one life to its window, name its unknown time, and say what of it was planned."""
    start, end = life.window
    owned = [_Piece(-FOREVER, -FOREVER, FOREVER, FOREVER, True)] if life.clean else life.pieces
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
        if not piece.up:
            stretches.append(Stretch(start_ms=lo, end_ms=hi, state="down"))
    edges.append(previous)
    stretches += _unknown(life, collector, reached, end)
    unknown: dict[State, int] = {}
    for stretch in stretches:
        unknown[stretch.state] = unknown.get(stretch.state, 0) + stretch.length_ms
    time = _tally(owned, start, end)
    mine = [w for w in windows if w.target in (life.id, EVERY_TARGET)]
    planned = _union((max(w.start_ms, start), min(w.end_ms, end)) for w in mine)
    kept, dropped = _longest(list(_split(stretches, planned)))
    counted = int(np.count_nonzero((life.at >= start) & (life.at < end)))
    return TargetUptime(
        id=life.id,
        title=life.title,
        window_ms=end - start,
        up_ms=time.up,
        down_ms=time.down,
        collector_gap_ms=unknown.get("collector gap", 0),
        target_lost_ms=unknown.get("target lost", 0),
        not_born_ms=unknown.get("not born", 0),
        several_series_ms=unknown.get("several series", 0),
        doubtful_up_ms=time.doubtful_up,
        doubtful_down_ms=time.doubtful_down,
        transitions=sum(start <= edge < end for edge in edges),
        interval_ms=life.interval,
        samples=life.clean_samples if life.clean else counted,
        stretches=kept,
        stretches_dropped=dropped,
        no_data=life.no_data,
        planned=_planned(owned, planned, mine, life.window),
    )


class _Tally(NamedTuple):
    """Owned time by state, and the doubtful part of each (ms)."""

    up: int
    down: int
    doubtful_up: int
    doubtful_down: int


def _tally(owned: Sequence[_Piece], start: int, end: int) -> _Tally:
    """The owned time within ``[start, end)``."""
    time = {True: 0, False: 0}
    doubtful = {True: 0, False: 0}
    for piece in owned:
        time[piece.up] += _overlap(piece.start, piece.end, start, end)
        doubtful[piece.up] += _overlap(piece.start, piece.first, start, end)
        doubtful[piece.up] += _overlap(piece.last, piece.end, start, end)
    return _Tally(time[True], time[False], doubtful[True], doubtful[False])


def _planned(
    owned: Sequence[_Piece],
    planned: Sequence[Interval],
    windows: Sequence[MaintenanceWindow],
    day: Interval,
) -> Planned:
    """What was planned of a target's time, in the terms of the whole."""
    if not planned:
        return Planned()
    parts = [_tally(owned, lo, hi) for lo, hi in planned]
    up, down, doubtful_up, doubtful_down = (sum(part) for part in zip(*parts, strict=True))
    length = sum(hi - lo for lo, hi in planned)
    ahead = _union(
        (max(w.start_ms, day[0]), min(w.end_ms, day[1])) for w in windows if not w.retroactive
    )
    return Planned(
        window_ms=length,
        up_ms=up,
        down_ms=down,
        unknown_ms=length - up - down,
        doubtful_up_ms=doubtful_up,
        doubtful_down_ms=doubtful_down,
        retroactive_ms=length - sum(hi - lo for lo, hi in ahead),
    )


def _union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time as intervals in order that do not touch each other."""
    found: list[Interval] = []
    for lo, hi in sorted(intervals):
        if lo >= hi:
            continue
        if found and lo <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], hi))
        else:
            found.append((lo, hi))
    return found


def _split(stretches: Iterable[Stretch], planned: Sequence[Interval]) -> Iterator[Stretch]:
    """Cut each stretch where maintenance begins or ends."""
    for stretch in stretches:
        at = stretch.start_ms
        for lo, hi in planned:
            lo, hi = max(lo, at), min(hi, stretch.end_ms)
            if lo >= hi:
                continue
            if at < lo:
                yield stretch.model_copy(update={"start_ms": at, "end_ms": lo})
            yield stretch.model_copy(update={"start_ms": lo, "end_ms": hi, "planned": True})
            at = hi
        if at < stretch.end_ms:
            yield stretch.model_copy(update={"start_ms": at})


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
        # A window over midnight stands in both days.
        maintenance=tuple(sorted({w for f in facts for w in f.maintenance}, key=_order)),
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
        if last and (last.end_ms, last.state, last.planned) == (
            stretch.start_ms,
            stretch.state,
            stretch.planned,
        ):
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
        no_data=parts[-1].no_data,
        planned=Planned(
            **{
                name: sum(getattr(part.planned, name) for part in parts)
                for name in Planned.model_fields
            }
        ),
        **{name: sum(getattr(part, name) for part in parts) for name in SUMMED},
    )


# -- the page ----------------------------------------------------------------------------------

Days = Sequence[tuple[Any, UptimeFact | Missing]]

METHOD = (
    "Availability is a band: at least the time known to be up, at most that and the time without "
    "data. A promise is met by the lower bound and missed by the upper one. An outage shorter "
    "than one scrape interval can pass unseen."
)


def availability(
    target: TargetUptime, unsealed_ms: int = 0, *, gross: bool = False
) -> tuple[Fraction, Fraction] | Missing:
    """Least and greatest share of time up outside of planned maintenance, by the no-data policy.

    ``gross`` takes maintenance in. ``unsealed_ms`` is time of the period that no sealed day speaks
    of: it may have been either, whatever the policy. Missing where there is no time to judge.
    """
    bounds = target.gross if gross else target.net
    whole = bounds.whole_ms + unsealed_ms
    if not whole:
        planned = target.planned.window_ms == target.window_ms and not gross
        detail = "all of it was planned maintenance" if planned else "no data at any time"
        return Missing(why=Why.NO_DATA, detail=detail)
    return Fraction(bounds.low_ms, whole), Fraction(bounds.high_ms + unsealed_ms, whole)


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
    unsealed = [date_of(day) for day, value in days if isinstance(value, Missing)]
    unsealed_ms = sum(day_length_ms(day, page.zone) for day in unsealed)
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
        notes.append(f"Not sealed, so unknown for every target: {in_spans(unsealed)}.")
    notes += _policy_notes(judged)
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
        tables=(_availability(judged), _stretches(judged), *_planned_table(fact, judged)),
        charts=(_timeline(fact, judged, page),),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Judged:
    """A target with its promise; ``unsealed_ms`` is time of days without a fact."""

    target: TargetUptime
    promise: Target | None
    unsealed_ms: int
    verdict: Verdict | None

    @classmethod
    def of(cls, target: TargetUptime, promise: Target | None, unsealed_ms: int = 0) -> _Judged:
        share = availability(target, unsealed_ms)
        return cls(target, promise, unsealed_ms, _judge(share, promise))

    @property
    def share(self) -> tuple[Fraction, Fraction] | Missing:
        """What is judged: net of maintenance."""
        return availability(self.target, self.unsealed_ms)

    def band(self, bounds: Bounds) -> Band | Missing:
        """Some bounds of it as a value, unsealed days included."""
        whole = Decimal(bounds.whole_ms + self.unsealed_ms)
        if not whole:
            absent = self.share
            return absent if isinstance(absent, Missing) else Missing(why=Why.NO_DATA)
        high = Decimal(bounds.high_ms + self.unsealed_ms)
        return Band(
            low=Ratio(numerator=Decimal(bounds.low_ms), denominator=whole),
            high=Ratio(numerator=high, denominator=whole),
        )

    @property
    def words(self) -> str:
        share = self.share
        if isinstance(share, Missing):
            return str(share)
        low, high = percent(share[0], ROUND_FLOOR), percent(share[1], ROUND_CEILING)
        return ours(f"{low} %" if low == high else f"{low} to {high} %")

    def figure(self, days: Days) -> Figure:
        return Figure(
            id=f"{NAME}.{self.target.id}",
            label=self.target.title,
            value=self.band(self.target.net),
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


def _judge(share: tuple[Fraction, Fraction] | Missing, promise: Target | None) -> Verdict | None:
    if promise is None:
        return None
    compare = {"ge": operator.ge, "gt": operator.gt}.get(promise.comparator)
    if compare is None or promise.unit != "%":
        raise ValidationFailed(
            f"{promise.id}: {promise.words()!r} is no availability; expected a percentage to "
            "stay at or above (ge, gt)"
        )
    if isinstance(share, Missing):
        return Verdict.UNKNOWN
    low, high = share
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
    at = date_of(day)
    if isinstance(value, Missing):
        return Point(day=at, value=value)
    for target in value.targets:
        if target.id == target_id:
            share = availability(target)
            if isinstance(share, Missing):
                return Point(day=at, value=share)
            return Point(day=at, value=percent(share[0], ROUND_FLOOR))
    return Point(day=at, value=Missing(why=Why.NOT_MEASURED, detail="no objective on this day"))


def _summary(judged: Sequence[_Judged], figures: Sequence[Figure]) -> str:
    parts = []
    for row in judged:
        if row.promise and row.verdict is not Verdict.MET:
            missed = row.verdict is Verdict.MISSED
            verb = "missed" if missed else "may have missed"
            parts.append(
                f"{row.target.title} {verb} {numeral(row.promise.value)} % with {row.words}"
            )
    lost = [row.target.title for row in judged if not row.target.up_ms and not row.target.down_ms]
    if lost:
        parts.append(f"no data at all of {', '.join(lost)}")
    if not parts:
        return f"{len(judged)} targets observed."
    return "; ".join(parts) + "."


def _policy_notes(judged: Sequence[_Judged]) -> Iterator[str]:
    """How time that is not simply up or down was judged, where there was any."""
    for policy, words in (("exclude", "is left out"), ("down", "counts as down")):
        names = [r.target.title for r in judged if r.target.no_data == policy]
        if names and any(r.target.unknown_ms for r in judged if r.target.no_data == policy):
            yield f"Time without data {words}: {', '.join(names)}."
    if any(row.target.planned.window_ms for row in judged):
        yield (
            "Availability is net: planned maintenance is neither up nor down. Gross, maintenance "
            "included, stands in its own column."
        )
    late = [row.target.title for row in judged if row.target.planned.retroactive_ms]
    if late:
        yield (
            "Retroactive: maintenance that was approved only after it had begun is taken out of "
            f"the availability of {', '.join(late)}."
        )


def _availability(judged: Sequence[_Judged]) -> Table:
    columns: tuple[Column, ...] = (
        Column(key="target", label="Target", align="left"),
        Column(key="availability", label="Availability"),
        Column(key="promise", label="Promise", align="left", shown=False),
        Column(key="verdict", label="Verdict", align="left", shown=False),
        Column(key="up", label="Up"),
        Column(key="down", label="Down"),
        Column(key="unknown", label="Unknown"),
        Column(key="unknown_kind", label="Unknown because", align="left"),
        Column(key="longest_outage", label="Longest outage"),
        Column(key="interval", label="Scraped every"),
    )
    planned = any(row.target.planned.window_ms for row in judged)
    if planned:
        columns += (
            Column(key="gross", label="Gross"),
            Column(key="planned", label="Planned"),
            Column(key="planned_down", label="Down in it"),
        )
    return Table(
        id="uptime_targets",
        title="Time up, down and unknown",
        columns=columns,
        rows=tuple(
            (*_row(row), *(_planned_cells(row) if planned else ())) for row in _worst_first(judged)
        ),
        top=6,  # the worst; every one stands among the components
    )


def _worst_first(judged: Sequence[_Judged]) -> list[_Judged]:
    """What was down or out of sight for long comes first."""
    return sorted(judged, key=lambda row: -(row.target.down_ms + row.target.unknown_ms))


def _row(row: _Judged) -> tuple[Shown, ...]:
    """Up, down and unknown are gross; the longest outage is the longest that was not planned."""
    target = row.target
    outages = [s.length_ms for s in target.stretches if s.state == "down" and not s.planned]
    kinds = {
        "collector gap": target.collector_gap_ms,
        "target lost": target.target_lost_ms,
        "not born": target.not_born_ms,
        "several series": target.several_series_ms,
        "day not sealed": row.unsealed_ms,
    }
    return (
        text(target.title),
        row.band(target.net),
        text(row.promise.words() if row.promise else "tracked"),
        text(row.verdict.value if row.verdict else ""),
        Duration(ms=target.up_ms),
        Duration(ms=target.down_ms),
        Duration(ms=target.unknown_ms + row.unsealed_ms),
        text(", ".join(kind for kind, ms in kinds.items() if ms)),
        Duration(ms=max(outages)) if outages else text("none"),
        Duration(ms=target.interval_ms) if target.interval_ms else text("not known"),
    )


def _planned_cells(row: _Judged) -> tuple[Shown, ...]:
    planned = row.target.planned
    if not planned.window_ms:
        return row.band(row.target.gross), text("none"), text("")
    return (
        row.band(row.target.gross),
        Duration(ms=planned.window_ms),
        Duration(ms=planned.down_ms),
    )


def _stretches(judged: Sequence[_Judged]) -> Table:
    """Every stretch that was not up, longest first."""
    found = [(s, row.target.title) for row in judged for s in row.target.stretches]
    found.sort(key=lambda item: (-item[0].length_ms, item[0].start_ms, item[1]))
    columns = (
        Column(key="target", label="Target", align="left"),
        Column(key="state", label="State", align="left"),
        Column(key="from", label="From", align="left"),
        Column(key="to", label="To", align="left", shown=False),
        Column(key="length", label="Length"),
    )
    rows = tuple(
        (
            text(title),
            text(_state_words(s)),
            Moment(at=_moment(s.start_ms)),
            Moment(at=_moment(s.end_ms)),
            Duration(ms=s.length_ms),
        )
        for s, title in found
    )
    return Table(
        id="uptime_stretches", title="When targets were not up", columns=columns, rows=rows, top=15
    )


def _state_words(stretch: Stretch) -> str:
    words = "down" if stretch.state == "down" else f"unknown: {stretch.state}"
    return f"{words}, planned maintenance" if stretch.planned else words


def _moment(at_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=at_ms)


def _planned_table(fact: UptimeFact, judged: Sequence[_Judged]) -> Iterator[Table]:
    """The maintenance windows of the period with who approved them and when, if there are any."""
    if not fact.maintenance:
        return
    titles = {row.target.id: row.target.title for row in judged}
    columns = (
        Column(key="target", label="Target", align="left"),
        Column(key="from", label="From", align="left"),
        Column(key="to", label="To", align="left", shown=False),
        Column(key="length", label="Length"),
        Column(key="reason", label="Reason", align="left"),
        Column(key="approved_by", label="Approved by", align="left"),
        Column(key="approved_at", label="Approved at", align="left"),
        Column(key="mark", label="Mark", align="left"),
    )
    rows = tuple(
        (
            text("every target" if w.target == EVERY_TARGET else titles.get(w.target, w.target)),
            Moment(at=_moment(w.start_ms)),
            Moment(at=_moment(w.end_ms)),
            Duration(ms=w.end_ms - w.start_ms),
            text(w.reason),
            text(w.approved_by),
            Moment(at=_moment(w.approved_at_ms)),
            text("RETROACTIVE" if w.retroactive else ""),
        )
        for w in fact.maintenance
    )
    yield Table(
        id="uptime_maintenance",
        title="Planned maintenance",
        columns=columns,
        rows=rows,
        note="Retroactive: approved after it had begun",
    )


def _timeline(fact: UptimeFact, judged: Sequence[_Judged], page: Page) -> TimelineChart:
    rows = tuple(
        TimelineRow(
            label=row.target.title,
            spans=tuple(_spans(row.target.stretches, fact.start_ms, fact.end_ms)),
        )
        for row in judged
        if row.promise or any(s.state != "collector gap" for s in row.target.stretches)
    )
    return TimelineChart(
        id="uptime_timeline",
        title="Up, down and unknown over time",
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
