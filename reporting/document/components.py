"""The components: availability against promise and budget, day by day, and why they were not up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR
from typing import Any

from ..levels import Share, judge
from ..measures.incidents import Incident, IncidentsFact
from ..measures.uptime import UptimeFact, availability
from ..model import Missing, Moment, Shown, Text, epoch_ms
from ..page import (
    CalendarCell,
    CalendarChart,
    CalendarRow,
    Column,
    Figure,
    Section,
    Table,
    Verdict,
    text,
)
from ..periods import Span, days_between
from ..policy.indicators import State, promise
from .history import Facts
from .objectives import COMPOSITE, Standing, band, budget_cells, promised, rounded, worst

#: A daily report shows this many days in its calendar strip, four weeks.
STRIP_DAYS = 28
COLUMNS = (
    Column(key="component", label="Component", align="left"),
    Column(key="system", label="System", align="left"),
    Column(key="availability", label="Availability"),
    Column(key="promise", label="Promise", align="left"),
    Column(key="verdict", label="Verdict", align="left"),
    Column(key="left", label="Budget left"),
    Column(key="burn", label="Burn rate"),
    Column(key="lasts", label="Lasts until", align="left"),
    Column(key="covered", label="Days of the window known", align="left", shown=False),
)


def with_components(
    section: Section,
    found: Sequence[Standing],
    incidents: IncidentsFact | Missing,
    facts: Facts,
    span: Span,
) -> Section:
    """The uptime section with a row for each component, a strip of days, and recorded causes."""
    components = [s for s in found if isinstance(s.objective.indicator, State)]
    if not components:
        return section
    composites = [s for s in components if s.what == COMPOSITE]
    figures = tuple(
        Figure(
            id=f"uptime.{s.id}",
            label=s.objective.title,
            value=s.measured,
            target=promised(s),
            verdict=s.verdict,
            note=s.what,
        )
        for s in composites
    )
    ids = {s.objective.title: s.id for s in components}
    tables = tuple(
        _with_causes(t, ids, incidents) if t.id == "uptime_stretches" else t for t in section.tables
    )
    strip = _strip(components, facts, span)
    judged = [s for s in components if s.verdict is not None]
    met = sum(s.verdict is Verdict.MET for s in judged)
    missed = ", ".join(s.objective.title for s in judged if s.verdict is Verdict.MISSED)
    counted = f"{met} of {len(judged)} promises of availability kept" if judged else ""
    words = (counted + (f"; missed by {missed}" if missed else ""), section.summary)
    return section.model_copy(
        update={
            "figures": (*section.figures, *figures),
            "verdict": worst([section.verdict, *(s.verdict for s in composites)]),
            "tables": (_table(components), *tables),
            "charts": (strip, *section.charts),
            "summary": ". ".join(w for w in words if w),
        }
    )


def _table(components: Sequence[Standing]) -> Table:
    return Table(
        id="components",
        title="Components and their error budgets",
        whole=True,
        columns=COLUMNS,
        rows=tuple(_row(s) for s in components),
        top=40,
    )


def _row(s: Standing) -> tuple[Shown, ...]:
    share: Shown = s.share if isinstance(s.share, Missing) else band(s.share)
    return (
        text(s.objective.title),
        text(s.objective.system.replace("_", " ")),
        share,
        text(promise(s.objective)),
        text(s.verdict.value if s.verdict else ""),
        *budget_cells(s),
    )


# -- causes ---------------------------------------------------------------------------------------


def _with_causes(table: Table, ids: Mapping[str, str], incidents: IncidentsFact | Missing) -> Table:
    """The outages with what the incidents that overlap them say about their cause.

    ``ids`` are the components' by title: an incident may name either.
    """
    keys = [c.key for c in table.columns]
    at = [keys.index(key) for key in ("target", "from", "to")]
    rows = tuple((*row, _cause([row[i] for i in at], ids, incidents)) for row in table.rows)
    column = Column(key="cause", label="Cause as recorded", align="left")
    return table.model_copy(update={"columns": (*table.columns, column), "rows": rows})


def _cause(
    cells: Sequence[Shown], ids: Mapping[str, str], incidents: IncidentsFact | Missing
) -> Shown:
    if isinstance(incidents, Missing):
        return text("not measured")
    target, begin, end = cells
    assert isinstance(target, Text) and isinstance(begin, Moment) and isinstance(end, Moment)
    names = {_folded(target.text), _folded(ids.get(target.text, target.text))}
    start_ms, end_ms = epoch_ms(begin.at), epoch_ms(end.at)
    causes = [
        f"{i.id}: {i.cause or i.title}"
        for i in incidents.incidents
        if _folded(i.target) in names and _overlaps(i, start_ms, end_ms)
    ]
    return text("; ".join(causes) or "none recorded")


def _folded(name: str) -> str:
    return name.replace("_", " ").casefold()


def _overlaps(incident: Incident, start_ms: int, end_ms: int) -> bool:
    resolved = incident.resolved_ms
    return incident.opened_ms < end_ms and (resolved is None or resolved > start_ms)


# -- the strip of days ----------------------------------------------------------------------------


def _strip(components: Sequence[Standing], facts: Facts, span: Span) -> CalendarChart:
    first = min(span.first, span.last - timedelta(STRIP_DAYS - 1))
    by_day: dict[date, Any] = dict(facts.since("uptime", first))
    rows = tuple(
        CalendarRow(
            label=s.objective.title,
            cells=tuple(_cell(day, by_day.get(day), s) for day in days_between(first, span.last)),
        )
        for s in components
        if s.objective.goal is not None and s.what != COMPOSITE
    )
    return CalendarChart(
        id="uptime_calendar",
        title="Each day against its promise",
        alt=f"A cell a day from {first} to {span.last} for {len(rows)} promises: met, missed or "
        "not known.",
        rows=rows,
    )


def _cell(day: date, fact: UptimeFact | Missing | None, s: Standing) -> CalendarCell:
    unknown = CalendarCell(day=day, low_pct=None, high_pct=None, verdict=Verdict.UNKNOWN)
    if not isinstance(fact, UptimeFact):
        return unknown
    target = next((t for t in fact.targets if t.id == s.id), None)
    bounds = None if target is None else availability(target)
    if bounds is None or isinstance(bounds, Missing):
        return unknown
    share = Share(*bounds)
    assert s.objective.goal is not None
    return CalendarCell(
        day=day,
        low_pct=rounded(share.low, ROUND_FLOOR),
        high_pct=rounded(share.high, ROUND_CEILING),
        verdict=judge(share, s.objective.goal, strict=s.objective.strict),
    )
