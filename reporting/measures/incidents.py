"""Incidents: what was opened, how fast somebody answered, escalated and resolved it.

An incident belongs to the day in which it was opened; what is still open is carried into the days
that follow. The fact of a day knows of each incident what had happened by the end of that day, so
that a later record of a resolution changes the day of the resolution and not the days before.
Days merge by identity (source and id): the newest state wins, and means come from sums over the
merged incidents (MTTA = sum of opened to acknowledged / acknowledged ones, MTTR likewise to
resolved). Reference: Beyer et al., "The Site Reliability Workbook" (2018), chapter 9.

Escalation is due once an incident has been open for its ``escalate_after``, and was in time if any
level was reached before the first level's window ended after that. One that was resolved before
it was due needed none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from ..model import (
    EXACT,
    Count,
    Duration,
    Frame,
    Frames,
    Missing,
    Moment,
    Ratio,
    Shown,
    Value,
    Why,
)
from ..page import (
    Column,
    Figure,
    Line,
    LinesChart,
    Point,
    Section,
    Table,
    Target,
    Verdict,
    text,
)
from ..periods import TradingDay, date_of, in_spans
from . import Context as Page
from . import Measure

NAME = "incidents"
ROWS, TARGETS = "incidents", "incident_targets"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_SOURCE = Missing(why=Why.NOT_MEASURED, detail="no incidents source configured")


class Incident(Value):
    """One incident as recorded; times in milliseconds since 1970, None where it did not happen.

    ``priority`` is "" where its source gives none. ``false_positive`` is None where nobody said.
    Nothing happens before it is opened or after it is resolved.
    """

    source: str = Field(min_length=1, max_length=50)
    id: str = Field(min_length=1, max_length=100)
    priority: str = Field(pattern=r"^(P[1-5])?$")
    title: str = Field(max_length=300)
    alert: str = Field(default="", max_length=100)
    target: str = Field(default="", max_length=100)
    opened_ms: int
    notified_ms: int | None = None
    acknowledged_ms: int | None = None
    level_1_ms: int | None = None
    level_2_ms: int | None = None
    level_3_ms: int | None = None
    resolved_ms: int | None = None
    false_positive: bool | None = None
    cause: str = Field(default="", max_length=1000)

    @field_validator("*", mode="before")
    @classmethod
    def _storable(cls, given: Any) -> Any:
        """Words as every store takes them: no NUL, no half of a surrogate pair."""
        if not isinstance(given, str):
            return given
        return given.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in LATER:
            at = getattr(self, name)
            if at is None:
                continue
            if at < self.opened_ms:
                raise ValueError(f"{_moment(name)} is before opened_at; expected it after")
            if self.resolved_ms is not None and at > self.resolved_ms:
                raise ValueError(f"{_moment(name)} is after resolved_at; expected it before")
        return self

    @property
    def level(self) -> int:
        """The highest escalation level that was reached, 0 for none."""
        return max((n for n, at in enumerate(self.levels, 1) if at is not None), default=0)

    @property
    def levels(self) -> tuple[int | None, int | None, int | None]:
        """When each escalation level was reached."""
        return (self.level_1_ms, self.level_2_ms, self.level_3_ms)

    def until(self, end_ms: int) -> Incident:
        """What was known of it just before ``end_ms``."""
        later = {n: None for n in LATER if (at := getattr(self, n)) is not None and at >= end_ms}
        return self.model_copy(update=later) if later else self


#: What can happen to an incident after it is opened.
LATER = (
    "notified_ms",
    "acknowledged_ms",
    "level_1_ms",
    "level_2_ms",
    "level_3_ms",
    "resolved_ms",
)


def _moment(field: str) -> str:
    return field.removesuffix("_ms") + "_at"


class PriorityTarget(Value):
    """What was promised of one priority, in milliseconds after opening.

    ``escalated_within_ms`` is how long the first level has to answer once escalation is due.
    """

    id: str
    respond_ms: int
    escalate_ms: int
    escalated_within_ms: int
    resolve_ms: int


class IncidentsFact(Value):
    """Incidents opened or still open between two instants, and the promises at the end of it."""

    start_ms: int
    end_ms: int
    incidents: tuple[Incident, ...]
    targets: tuple[PriorityTarget, ...]

    @property
    def opened(self) -> tuple[Incident, ...]:
        """Those that were opened within, in order."""
        return tuple(i for i in self.incidents if i.opened_ms >= self.start_ms)

    @property
    def carried(self) -> tuple[Incident, ...]:
        """Those that were opened before and still open at the start."""
        return tuple(i for i in self.incidents if i.opened_ms < self.start_ms)


# -- one day and several -------------------------------------------------------------------------


def of_day(day: TradingDay, frames: Frames) -> IncidentsFact | Missing:
    """The incidents of the local calendar day, as they stood when it ended.

    Reads ``incidents`` (a row an incident, columns as the fields of :class:`Incident`; rows of
    other days are left out) and ``incident_targets`` (columns as of :class:`PriorityTarget`).
    """
    rows, targets = frames[ROWS], frames[TARGETS]
    if isinstance(rows, Missing):
        return rows
    if isinstance(targets, Missing):
        return targets
    assert isinstance(rows, Frame) and isinstance(targets, Frame)
    start, end = day.window.start_ms, day.window.end_ms
    found = (incident_of(row) for row in rows.table.to_dict("records"))
    return IncidentsFact(
        start_ms=start,
        end_ms=end,
        incidents=_sorted(
            i.until(end)
            for i in found
            if i.opened_ms < end
            and (i.opened_ms >= start or i.resolved_ms is None or i.resolved_ms >= start)
        ),
        targets=tuple(
            PriorityTarget(
                id=str(row["id"]), **{k: int(v) for k, v in row.items() if str(k) != "id"}
            )
            for row in targets.table.to_dict("records")
        ),
    )


def incident_of(row: Any) -> Incident:
    """An incident from a row of the frame, whose absent times may be None or NaN."""
    fields = {str(k): row[k] for k in row if str(k) in Incident.model_fields}
    for name in ("opened_ms", *LATER):
        at = fields.get(name)
        fields[name] = None if at is None or at != at else int(at)
    flag = fields.get("false_positive")
    fields["false_positive"] = None if flag is None or flag != flag else bool(flag)
    return Incident.model_validate(fields)


def merge(days: Sequence[tuple[Any, IncidentsFact]]) -> IncidentsFact:
    """One fact of several days: each incident once, in its newest state."""
    by_id = {(i.source, i.id): i for _, fact in days for i in fact.incidents}
    last = days[-1][1]
    return IncidentsFact(
        start_ms=days[0][1].start_ms,
        end_ms=last.end_ms,
        incidents=_sorted(by_id.values()),
        targets=last.targets,
    )


def _sorted(incidents: Iterable[Incident]) -> tuple[Incident, ...]:
    return tuple(sorted(incidents, key=lambda i: (i.opened_ms, i.source, i.id)))


# -- against the promises ------------------------------------------------------------------------


class Outcome(StrEnum):
    """How one promise of one incident ended, as far as is known at the end of the period."""

    MET = "met"
    MISSED = "missed"
    OPEN = "open"  # not done yet, and still in time
    NOT_NEEDED = "not needed"
    NOT_RECORDED = "not recorded"


def response(incident: Incident, target: PriorityTarget, end_ms: int) -> Outcome:
    """Whether it was acknowledged in time; resolved without a word of it is not recorded."""
    if incident.acknowledged_ms is None and incident.resolved_ms is not None:
        return Outcome.NOT_RECORDED
    return _in_time(incident.acknowledged_ms, incident.opened_ms + target.respond_ms, end_ms)


def resolution(incident: Incident, target: PriorityTarget, end_ms: int) -> Outcome:
    """Whether it was resolved in time."""
    return _in_time(incident.resolved_ms, incident.opened_ms + target.resolve_ms, end_ms)


def escalation(incident: Incident, target: PriorityTarget, end_ms: int) -> Outcome:
    """Whether it reached a level in time, if it was still open when that was due."""
    due = incident.opened_ms + target.escalate_ms
    reached = min((at for at in incident.levels if at is not None), default=None)
    resolved = incident.resolved_ms
    if reached is None and resolved is not None:
        if resolved <= due:
            return Outcome.NOT_NEEDED
        # Resolved while the first level still had time to answer: nobody was late.
        if resolved <= due + target.escalated_within_ms:
            return Outcome.NOT_NEEDED
        return Outcome.MISSED
    return _in_time(reached, due + target.escalated_within_ms, end_ms)


def _in_time(at: int | None, by: int, end_ms: int) -> Outcome:
    if at is not None:
        return Outcome.MET if at <= by else Outcome.MISSED
    return Outcome.MISSED if end_ms > by else Outcome.OPEN


def mean_ms(lengths: Sequence[int]) -> int | None:
    """The mean in whole milliseconds, half to even; None of none."""
    return round(Fraction(sum(lengths), len(lengths))) if lengths else None


def acknowledge_ms(incidents: Iterable[Incident]) -> list[int]:
    """Opened to acknowledged, of those that were: their mean is the MTTA."""
    return [i.acknowledged_ms - i.opened_ms for i in incidents if i.acknowledged_ms is not None]


def resolve_ms(incidents: Iterable[Incident]) -> list[int]:
    """Opened to resolved, of those that were: their mean is the MTTR."""
    return [i.resolved_ms - i.opened_ms for i in incidents if i.resolved_ms is not None]


def handling(fact: IncidentsFact, key: str) -> Ratio | Missing:
    """One period's ``count``, ``false_positives`` (both a period), ``mtta`` or ``mttr`` (seconds).

    As the two parts of a mean, so that periods add up; Missing where there is nothing to measure.
    """
    opened = fact.opened
    if key == "count":
        return Ratio(numerator=Decimal(len(opened)), denominator=Decimal(1))
    if key == "false_positives":
        if opened and all(i.false_positive is None for i in opened):
            return Missing(why=Why.NOT_MEASURED, detail="no incident says whether it was one")
        false = sum(i.false_positive is True for i in opened)
        return Ratio(numerator=Decimal(false), denominator=Decimal(1))
    lengths_of = {"mtta": acknowledge_ms, "mttr": resolve_ms}.get(key)
    if lengths_of is None:
        return Missing(why=Why.NOT_MEASURED, detail=f"{NAME}.{key} has no daily values")
    lengths = lengths_of(opened)
    if not lengths:
        return Missing(why=Why.NO_DATA, detail="no such incident on this day")
    return Ratio(
        numerator=EXACT.divide(Decimal(sum(lengths)), Decimal(1000)),
        denominator=Decimal(len(lengths)),
    )


# -- the page ------------------------------------------------------------------------------------

Days = Sequence[tuple[Any, IncidentsFact | Missing]]

METHOD = (
    "An incident counts on the day it was opened and is shown as it stood at the end of the "
    "period. Response is from opened to acknowledged; escalation is due once an incident has been "
    "open for its time to escalate, and in time if a level was reached within the first level's "
    "window after that. Means are over those that were acknowledged or resolved."
)
PROMISES = (
    ("response", response, "respond_ms"),
    ("escalation", escalation, "escalate_ms"),
    ("resolution", resolution, "resolve_ms"),
)


def section(fact: IncidentsFact | Missing, days: Days, page: Page) -> Section:
    """Incidents by priority against their promises, and each of them."""
    if isinstance(fact, Missing):
        return Section(
            id=NAME,
            title="Incidents",
            summary=f"Incidents are not known: {fact}.",
            verdict=Verdict.UNKNOWN,
            figures=(Figure(id=f"{NAME}.count", label="Incidents opened", value=fact),),
        )
    rows = [_Judged.of(i, fact) for i in fact.incidents]
    promised = tuple(f for target in fact.targets for f in _promised(target, rows, fact.end_ms))
    unsealed = [d for d, value in days if isinstance(value, Missing)]
    verdicts = {f.verdict for f in promised}
    if Verdict.MISSED in verdicts:
        verdict: Verdict = Verdict.MISSED
    elif Verdict.UNKNOWN in verdicts or unsealed:
        verdict = Verdict.UNKNOWN
    else:
        verdict = Verdict.MET
    notes = [METHOD]
    if unsealed:
        listed = in_spans(date_of(day) for day in unsealed)
        notes.append(f"Not known, and not in any number here: {listed}.")
    if others := [i for i in fact.opened if i.priority not in {t.id for t in fact.targets}]:
        notes.append(
            f"{len(others)} opened with a priority that nothing was promised of "
            f"({', '.join(sorted({i.priority or 'none given' for i in others}))})."
        )
    return Section(
        id=NAME,
        title="Incidents",
        summary=_summary(fact, rows),
        verdict=verdict,
        figures=(*_totals(fact, days), *promised),
        tables=(_by_priority(fact, rows), _listed(rows)),
        charts=(_per_day(days),) if len(days) > 1 and fact.opened else (),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Judged:
    """An incident with the outcome of each promise, {} where nothing was promised of it."""

    incident: Incident
    carried: bool
    outcomes: dict[str, Outcome]

    @classmethod
    def of(cls, incident: Incident, fact: IncidentsFact) -> _Judged:
        target = next((t for t in fact.targets if t.id == incident.priority), None)
        outcomes = (
            {name: judge(incident, target, fact.end_ms) for name, judge, _ in PROMISES}
            if target
            else {}
        )
        return cls(incident, incident.opened_ms < fact.start_ms, outcomes)


def _promised(target: PriorityTarget, rows: Sequence[_Judged], end_ms: int) -> tuple[Figure, ...]:
    """Response, escalation and resolution of one priority, each with its slowest one.

    What is not done yet is as slow as it has waited so far. Of a priority that had no incident the
    table says so.
    """
    mine = [row for row in rows if row.incident.priority == target.id]
    key = target.id.lower()
    figures = []
    for name, _, field in PROMISES:
        # What was carried in was answered for before, except that it is still not resolved.
        asked = [row for row in mine if not row.carried or name == "resolution"]
        if not asked:
            continue
        outcomes = [row.outcomes[name] for row in asked]
        lengths = [ms for row in asked if (ms := _length(row.incident, name)) is not None]
        waits = [
            (row.incident.resolved_ms or end_ms) - row.incident.opened_ms
            for row in asked
            if _length(row.incident, name) is None
            and row.outcomes[name] in (Outcome.MISSED, Outcome.OPEN)
        ]
        promise_ms = getattr(target, field)
        if name == "escalation":
            promise_ms += target.escalated_within_ms
        figures.append(
            Figure(
                id=f"{NAME}.{key}_{name}",
                label=f"{target.id} {name}, slowest",
                value=Duration(ms=max(*lengths, *waits, 0))
                if lengths or waits
                else text(_why_none(outcomes)),
                target=Target(
                    id=f"{NAME}.{key}_{name}",
                    comparator="le",
                    value=Decimal(promise_ms) / 60_000,
                    unit="min",
                    source=f"operations: priority {target.id}",
                ),
                verdict=_verdict(outcomes),
                note=_counted(outcomes) + (f"; {len(waits)} not done" if waits else ""),
            )
        )
    return tuple(figures)


def _length(incident: Incident, name: str) -> int | None:
    at = {
        "response": incident.acknowledged_ms,
        "escalation": min((x for x in incident.levels if x is not None), default=None),
        "resolution": incident.resolved_ms,
    }[name]
    return None if at is None else at - incident.opened_ms


def _why_none(outcomes: Sequence[Outcome]) -> str:
    return ", ".join(sorted({outcome.value for outcome in outcomes}))


def _verdict(outcomes: Sequence[Outcome]) -> Verdict | None:
    """None where there was nothing to keep a promise about; open ones are not decided yet."""
    if Outcome.MISSED in outcomes:
        return Verdict.MISSED
    if Outcome.OPEN in outcomes or Outcome.NOT_RECORDED in outcomes:
        return Verdict.UNKNOWN
    return Verdict.MET if Outcome.MET in outcomes else None


def _counted(outcomes: Sequence[Outcome]) -> str:
    """ "2 met, 1 open": every outcome that occurs."""
    return ", ".join(f"{outcomes.count(o)} {o.value}" for o in Outcome if o in outcomes)


def _totals(fact: IncidentsFact, days: Days) -> tuple[Figure, ...]:
    opened = fact.opened
    said = [i for i in opened if i.false_positive is not None]
    false = sum(bool(i.false_positive) for i in said)
    return (
        Figure(
            id=f"{NAME}.count",
            label="Incidents opened",
            value=Count(value=len(opened)),
            note=f"{len(fact.carried)} carried over" if fact.carried else "",
            series=_series(days, lambda f: Decimal(len(f.opened))),
        ),
        Figure(
            id=f"{NAME}.mtta",
            label="Mean time to acknowledge",
            value=_mean(acknowledge_ms(opened), "none was acknowledged"),
            series=_series(days, lambda f: _seconds(mean_ms(acknowledge_ms(f.opened)))),
        ),
        Figure(
            id=f"{NAME}.mttr",
            label="Mean time to resolve",
            value=_mean(resolve_ms(opened), "none was resolved"),
            series=_series(days, lambda f: _seconds(mean_ms(resolve_ms(f.opened)))),
        ),
        Figure(
            id=f"{NAME}.false_positives",
            label="False positives",
            value=Count(value=false)
            if said or not opened
            else Missing(why=Why.NOT_MEASURED, detail="no incident says whether it was one"),
            note=f"of {len(said)} that say whether they were" if len(said) < len(opened) else "",
        ),
    )


def _mean(lengths: Sequence[int], none: str) -> Shown:
    mean = mean_ms(lengths)
    return text(none) if mean is None else Duration(ms=mean)


def _seconds(ms: int | None) -> Decimal | None:
    return None if ms is None else Decimal(ms) / 1000


def _series(days: Days, value: Any) -> tuple[Point, ...]:
    """One value a day; a day without an incident to measure is a gap."""
    if len(days) < 2:
        return ()
    points = []
    for day, fact in days:
        found = fact if isinstance(fact, Missing) else value(fact)
        if found is None:
            found = Missing(why=Why.NO_DATA, detail="no such incident on this day")
        points.append(Point(day=date_of(day), value=found))
    return tuple(points)


def _summary(fact: IncidentsFact, rows: Sequence[_Judged]) -> str:
    opened = fact.opened
    if not rows:
        return "No incident was opened."
    by = ", ".join(
        f"{sum(i.priority == t.id for i in opened)} {t.id}"
        for t in fact.targets
        if any(i.priority == t.id for i in opened)
    )
    parts = [f"{len(opened)} opened" + (f" ({by})" if by else "")]
    if fact.carried:
        parts.append(f"{len(fact.carried)} carried over")
    still = sum(row.incident.resolved_ms is None for row in rows)
    parts.append(f"{still} still open" if still else "all resolved")
    missed = [
        f"{row.incident.priority} {row.incident.id} missed its {name}"
        for row in rows
        for name, outcome in row.outcomes.items()
        if outcome is Outcome.MISSED and (not row.carried or name == "resolution")
    ]
    listed = missed[:3] + ([f"{len(missed) - 3} more missed"] if len(missed) > 3 else [])
    return "; ".join([*parts, *listed]) + "."


def _by_priority(fact: IncidentsFact, rows: Sequence[_Judged]) -> Table:
    columns = (
        Column(key="priority", label="Priority", align="left"),
        Column(key="response", label="Response", align="left"),
        Column(key="escalation", label="Escalation", align="left"),
        Column(key="resolution", label="Resolution", align="left"),
        Column(key="levels", label="Levels reached", align="left"),
        Column(key="opened", label="Opened"),
        Column(key="mtta", label="Mean to acknowledge"),
        Column(key="mttr", label="Mean to resolve"),
    )
    body = []
    for target in fact.targets:
        mine = [r for r in rows if r.incident.priority == target.id and not r.carried]
        incidents = [r.incident for r in mine]
        body.append(
            (
                text(target.id),
                *(text(_counted([r.outcomes[n] for r in mine]) or "–") for n, _, _ in PROMISES),
                text(_levels(incidents)),
                Count(value=len(mine)),
                _mean(acknowledge_ms(incidents), "–"),
                _mean(resolve_ms(incidents), "–"),
            )
        )
    return Table(
        id="incidents_priorities",
        title="Incidents by priority",
        columns=columns,
        rows=tuple(body),
    )


def _levels(incidents: Sequence[Incident]) -> str:
    reached = [i.level for i in incidents if i.level]
    return ", ".join(f"level {n}: {reached.count(n)}" for n in sorted(set(reached))) or "none"


def _listed(rows: Sequence[_Judged]) -> Table:
    """Each incident; words come from outside and stay text."""
    columns = (
        Column(key="id", label="Incident", align="left"),
        Column(key="priority", label="Priority", align="left"),
        Column(key="what", label="What happened", align="left"),
        Column(key="target", label="Target", align="left"),
        Column(key="opened", label="Opened", align="left"),
        Column(key="verdict", label="Promises", align="left"),
        Column(key="level", label="Level", align="left"),
        Column(key="acknowledged", label="Acknowledged after"),
        Column(key="resolved", label="Resolved after"),
        *(
            Column(key=name, label=label, align="left", shown=False)
            for name, label in (
                ("response", "Response"),
                ("escalation", "Escalation"),
                ("resolution", "Resolution"),
                ("false_positive", "False positive"),
                ("alert", "Alert"),
                ("source", "Source"),
            )
        ),
    )
    said = {True: "yes", False: "no", None: "not recorded"}
    body = []
    for row in rows:
        i = row.incident
        outcomes = [row.outcomes.get(name) for name, _, _ in PROMISES]
        body.append(
            (
                text(i.id),
                text((i.priority or "none given") + (", carried over" if row.carried else "")),
                text(_what(i)),
                text(i.target.replace("_", " ")),
                Moment(at=EPOCH + timedelta(milliseconds=i.opened_ms)),
                text(_kept(row)),
                text(str(i.level) if i.level else ""),
                _after(i, "response", "not acknowledged"),
                _after(i, "resolution", "open"),
                *(text(outcome.value if outcome else "no promise") for outcome in outcomes),
                text(said[i.false_positive]),
                text(i.alert),
                text(i.source),
            )
        )
    return Table(
        id="incidents_list", title="Every incident", columns=columns, rows=tuple(body), top=20
    )


def _what(incident: Incident) -> str:
    """ "Orders stalled. Cause: a full queue. A false positive."."""
    parts = [incident.title, f"Cause: {incident.cause}" if incident.cause else ""]
    parts += ["A false positive" if incident.false_positive else ""]
    return " ".join(
        part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part
    )


def _kept(row: _Judged) -> str:
    """ "met", or what was not: "response, resolution missed; escalation open"."""
    if not row.outcomes:
        return "no promise"
    found = []
    for other in (Outcome.MISSED, Outcome.OPEN, Outcome.NOT_RECORDED):
        names = [name for name, outcome in row.outcomes.items() if outcome is other]
        if names:
            found.append(f"{', '.join(names)} {other.value}")
    return "; ".join(found) or "met"


def _after(incident: Incident, name: str, otherwise: str) -> Shown:
    length = _length(incident, name)
    return text(otherwise) if length is None else Duration(ms=length)


def _per_day(days: Days) -> LinesChart:
    counts = tuple(
        None if isinstance(fact, Missing) else Decimal(len(fact.opened)) for _, fact in days
    )
    known = [count for count in counts if count is not None]
    return LinesChart(
        id="incidents_per_day",
        title="Incidents opened each day",
        alt=f"{sum(known)} incidents over {len(known)} days with records, at most "
        f"{max(known, default=Decimal(0))} a day.",
        unit="incidents",
        labels=tuple(date_of(day).isoformat() for day, _ in days),
        lines=(Line(label="opened", values=counts),),
    )


INCIDENTS = Measure[IncidentsFact](
    name=NAME,
    title="Incidents",
    unit="incidents",
    every_day=True,
    reads=(ROWS, TARGETS),
    fact=IncidentsFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="The Site Reliability Workbook (2018), chapter 9: incident response; means over the "
    "incidents that were acknowledged or resolved",
)
