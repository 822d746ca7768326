"""Sealed days, levels and objectives written by hand, for tests of what is composed of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from reporting.document import Cited, Earlier, Issue, build
from reporting.document.history import NOTHING_EARLIER, Facts
from reporting.document.objectives import Standing, standings
from reporting.levels import Budget, Share
from reporting.measures.alerts import AlertsFact, AlertTotals, Episode
from reporting.measures.incidents import Incident, IncidentsFact
from reporting.measures.reconciliation import NO_STATEMENTS
from reporting.measures.service_levels import (
    Doubt,
    Events,
    Histogram,
    Level,
    OwnedTime,
    ServiceLevelsFact,
    Slices,
    Values,
    sketch_key,
)
from reporting.measures.uptime import Stretch, TargetUptime, UptimeFact
from reporting.model import Missing, Shown, Text, Value, Why, Window
from reporting.page import Checkpoint, Document, Figure, Section, Table
from reporting.periods import Span, day_span, month_span, week_span
from reporting.policy import Policy
from reporting.policy.indicators import (
    CalendarWindow,
    Counts,
    Indicator,
    Objective,
    Occurrences,
    Query,
    ReportFigure,
    State,
    Threshold,
)
from reporting.policy.indicators import Share as OfShare
from reporting.policy.maintenance import parse_maintenance
from reporting.policy.operations import parse_operations
from reporting.seal import SealedDay

MONDAY = date(2026, 3, 2)
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
MONTH = CalendarWindow(1, "month", date(2026, 1, 1))
GONE = Missing(why=Why.UNREACHABLE, detail="Prometheus does not answer")


def day(offset: int) -> date:
    """Days after Monday, 2 March 2026."""
    return MONDAY + timedelta(offset)


def midnight(at: date) -> datetime:
    return datetime(at.year, at.month, at.day, tzinfo=UTC)


def ms(at: date) -> int:
    """Milliseconds since 1970 of a day's first instant, in UTC."""
    return (at - date(1970, 1, 1)).days * DAY


# ---- facts ---------------------------------------------------------------------------------------


def target(
    id: str,
    *,
    down: int = 0,
    lost: int = 0,
    doubt: int = 0,
    stretches: Sequence[Stretch] = (),
    title: str = "",
) -> TargetUptime:
    """A target's day: up for what is not ``down`` or ``lost`` (ms)."""
    return TargetUptime(
        id=id, title=title or id.replace("_", " ").capitalize(), window_ms=DAY,
        up_ms=DAY - down - lost, down_ms=down, collector_gap_ms=0, target_lost_ms=lost,
        not_born_ms=0, several_series_ms=0, doubtful_up_ms=doubt, doubtful_down_ms=doubt,
        transitions=0, interval_ms=15 * SECOND, samples=5760, stretches=tuple(stretches),
    )  # fmt: skip


def uptime(at: date, *targets: TargetUptime) -> UptimeFact:
    return UptimeFact(start_ms=ms(at), end_ms=ms(at) + DAY, targets=targets)


def level(id: str, at: date, kind: str, **given: Any) -> Level:
    made: dict[str, Any] = {
        "id": id, "title": id, "kind": kind, "start_ms": ms(at), "end_ms": ms(at) + DAY,
        "window_ms": DAY, "interval_ms": 15 * SECOND, "series": 1, "samples": 5760,
    }  # fmt: skip
    return Level(**{**made, **given})


def counted(
    id: str, at: date, good: int, total: int, *, open_: int = 0, unknown: int = 0, **given: Any
) -> Level:
    """Events; ``open_`` of the good and as many bad ones are doubtful, ``unknown`` is time (ms)."""
    doubt = Doubt(good=Decimal(open_), bad=Decimal(open_))
    events = Events(good=Decimal(good), total=Decimal(total), inner=doubt)
    return level(id, at, "counts", events=events, unknown_ms=unknown, **given)


def timed(
    id: str, at: date, mean: str, *, good: int = DAY, kind: str = "threshold", **given: Any
) -> Level:
    """A gauge that stood at ``mean`` all day and was good for ``good`` ms of it."""
    time = OwnedTime(
        good_ms=good, bad_ms=DAY - good, unknown_ms=0, doubtful_good_ms=Decimal(0),
        doubtful_bad_ms=Decimal(0), share_ms=Decimal(good),
    )  # fmt: skip
    return level(id, at, kind, time=time, values=values(mean), **given)


def values(mean: str, highest: str = "") -> Values:
    return Values(
        samples=5760, weight_ms=DAY, weighted_sum=Decimal(mean) * DAY, lowest=Decimal(mean),
        highest=Decimal(highest or mean), first=Decimal(mean), last=Decimal(mean),
        sketch={sketch_key(float(mean)): DAY},
    )  # fmt: skip


def rated(id: str, at: date, events: int, good: int, bad: int, **given: Any) -> Level:
    """A counter's rate by slices of five minutes."""
    slices = Slices(good=good, bad=bad, empty=0, unknown=0, share_sum=Decimal(good))
    return level(
        id, at, "threshold", budgeting="timeslices", slice_ms=5 * MINUTE,
        events=Events(good=Decimal(0), total=Decimal(events)), slices=slices, **given,
    )  # fmt: skip


def histogram(counts: Mapping[str, int], total: str = "0") -> Histogram:
    """Increments of each bucket by its upper bound in seconds; ``total`` is their sum."""
    return Histogram(
        bounds=tuple(counts),
        counts=tuple(Decimal(n) for n in counts.values()),
        total=Decimal(total),
    )


def absent(id: str, at: date, why: Missing, kind: str = "counts") -> Level:
    """An objective that nothing could be read of on one day."""
    events = Events(good=Decimal(0), total=Decimal(0))
    return level(id, at, kind, missing=why, unknown_ms=DAY, events=events)


def levels(at: date, *found: Level) -> ServiceLevelsFact:
    return ServiceLevelsFact(start_ms=ms(at), end_ms=ms(at) + DAY, levels=found)


def incident(id: str, target: str, opened: int, resolved: int | None, **given: Any) -> Incident:
    """An incident that was acknowledged at once, unless said otherwise."""
    made: dict[str, Any] = {
        "source": "csv", "id": id, "priority": "P2", "title": f"Title of {id}", "target": target,
        "opened_ms": opened, "acknowledged_ms": opened, "resolved_ms": resolved,
    }  # fmt: skip
    return Incident(**{**made, **given})


def incidents(at: date, *found: Incident) -> IncidentsFact:
    return IncidentsFact(start_ms=ms(at), end_ms=ms(at) + DAY, incidents=found, targets=())


def alerts(at: date, **fired: Sequence[int]) -> AlertsFact:
    """Critical alerts by id with the instants (ms) at which each fired, told after 20 s."""
    totals = tuple(
        AlertTotals(
            id=id, alertname=id.title().replace("_", ""), title=id.replace("_", " "),
            severity="critical", channels=("slack",), response_s=30, seen=True, begun=len(times),
            firing_ms=MINUTE * len(times),
        )
        for id, times in fired.items()
    )  # fmt: skip
    episodes = [
        Episode(
            alert=id, labels="", active_ms=at_ms, begun=True, fired_ms=at_ms, firing_ms=MINUTE,
            last_ms=at_ms + MINUTE, ongoing=False, response_s=30, told_after_ms=at_ms,
            told_by_ms=at_ms + 20 * SECOND, told_from="counters",
        )
        for id, times in fired.items()
        for at_ms in times
    ]  # fmt: skip
    return AlertsFact(
        start_ms=ms(at), end_ms=ms(at) + DAY, alerts=totals,
        episodes=tuple(sorted(episodes, key=lambda e: e.key)), held=(),
    )  # fmt: skip


def sealed(at: date, facts: Mapping[str, Value | Missing], **more: Any) -> Cited:
    window = Window(start=midnight(at), end=midnight(at) + timedelta(1))
    made: dict[str, Any] = {
        "day": at, "revision": 1, "reason": "", "previous": "", "calendar": "24/7", "zone": "UTC",
        "session": True, "note": "regular session", "window": window, "trading": window,
        "known_at": window.end, "policy_digest": "", "sources": (), "findings": (),
        "closing_book": "",
        "facts": {name: fact.model_dump(mode="json") for name, fact in facts.items()},
    }  # fmt: skip
    return Cited(SealedDay(**{**made, **more}), f"digest of {at}", window.end)


# ---- objectives ----------------------------------------------------------------------------------


def query(text: str, **given: Any) -> Query:
    return Query(text, text, **given)


def state(id: str = "web") -> State:
    return State(query(f'up{{job="{id}"}}'))


GOOD = Counts(query("good"), query("total"))
BAD = Counts(query("bad"), query("total"), good=False)
LATENCY = Counts(query('x_bucket{le="0.008"}'), query("x_count"), histogram="x_bucket")
GAUGE = Threshold(query("temperature"), "lt", Decimal(80))
RATE = Threshold(query("requests_total", rate=True), "gt", Decimal(50))
RATIO = OfShare(query("cache_hit_ratio"))


def figure_of(figure: str, comparator: str, bound: str) -> ReportFigure:
    return ReportFigure(figure, comparator, Decimal(bound))  # type: ignore[arg-type]


def objective(id: str, indicator: Indicator, goal: str | None = "0.9", **given: Any) -> Objective:
    made: dict[str, Any] = {
        "slo": id, "title": id.replace("_", " ").capitalize(), "system": "shop", "component": id,
        "budgeting": Occurrences(), "strict": False, "window": MONTH, "zone": "UTC",
        "no_data": "flag",
    }  # fmt: skip
    promised = None if goal is None else Decimal(goal)
    return Objective(id=id, indicator=indicator, goal=promised, **{**made, **given})


def policy(*objectives: Objective, operations: str = "") -> Policy:
    return Policy((), objectives, parse_operations(operations), parse_maintenance("", set()), "")


# ---- what is made of them ------------------------------------------------------------------------


def facts_of(days: Sequence[Cited], before: Sequence[Cited] = ()) -> Facts:
    return Facts(days, before, trail=1)


def stand(
    objectives: Sequence[Objective] | Objective,
    days: Sequence[Cited],
    *,
    before: Sequence[Cited] = (),
    span: Span | None = None,
    figures: Mapping[str, Figure] | None = None,
) -> dict[str, Standing]:
    """Where objectives stand, by id; the span is the last day's unless given."""
    several = (objectives,) if isinstance(objectives, Objective) else objectives
    over = span or day_span(days[-1].sealed.day)
    found = standings(policy(*several), facts_of(days, before), over, figures or {})
    return {s.id: s for s in found}


def share(standing: Standing) -> Share:
    assert isinstance(standing.share, Share), standing.share
    return standing.share


def budget(standing: Standing) -> Budget:
    assert isinstance(standing.budget, Budget), standing.budget
    return standing.budget


#: What a day without trade seals, each measure with its own kind of nothing.
QUIET: dict[str, Value | Missing] = {
    "pnl": Missing(why=Why.NO_TRADES),
    "marks": Missing(why=Why.NO_TRADES),
    "reconciliation": NO_STATEMENTS,
    "var": Missing(why=Why.NO_TRADES),
    "slippage": Missing(why=Why.NO_TRADES),
    "fill_rate": Missing(why=Why.NO_ORDERS),
    "uptime": UptimeFact(start_ms=0, end_ms=1, targets=()),
    "service_levels": ServiceLevelsFact(start_ms=0, end_ms=1, levels=()),
    "alerts": Missing(why=Why.NO_SESSION),
    "incidents": Missing(why=Why.NOT_MEASURED, detail="no incidents source configured"),
}


def document(
    days: Sequence[Cited],
    of: Policy,
    *,
    before: Sequence[Cited] = (),
    unsealed: Sequence[date] = (),
    kind: str = "daily",
    earlier: Earlier = NOTHING_EARLIER,
) -> Document:
    """The whole Document of the period that the last day lies in."""
    last = days[-1].sealed.day
    span = {"daily": day_span, "weekly": week_span, "monthly": month_span}[kind](last)
    at = midnight(last) + timedelta(2)
    issue = Issue(
        issuer="Firm", base="USD", issued_at=at, checkpoint=Checkpoint(size=1, chain_hash="00")
    )
    return build(span, days, unsealed, before, of, issue, earlier)


def section(found: Document, id: str) -> Section:
    return next(s for s in found.sections if s.id == id)


def table(of: Section, id: str) -> list[dict[str, Shown]]:
    """A table's rows, each by column."""
    found: Table = next(t for t in of.tables if t.id == id)
    keys = [c.key for c in found.columns]
    return [dict(zip(keys, row, strict=True)) for row in found.rows]


def words(cell: Shown) -> str:
    """A cell's words."""
    assert isinstance(cell, Text), cell
    return cell.text
