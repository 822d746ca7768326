"""The morning and evening checklists, each line answered from data.

What a person did ("reviewed") is not in any data. Such a line passes where everything that the
review looks at was measured and asks for nothing, and fails where something does, which it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from ..analysis import listed
from ..analysis.checklist import Line, Outcome
from ..analysis.trend import Forecast, Resource, forecast
from ..measures.alerts import AlertsFact, flapping
from ..measures.incidents import IncidentsFact
from ..measures.service_levels import values_stats
from ..measures.uptime import UptimeFact
from ..model import Missing
from ..numerals import numeral
from ..page import Verdict
from ..periods import Span, next_session
from ..policy.operations import Check
from .analyses import Levels
from .history import BY_NAME, Facts, absence
from .objectives import Standing

#: A backup is taken once a day; two hours are left for it to run.
BACKUP_WITHIN_S = Decimal(26 * 3600)
#: An exhaustion this near asks for a new plan.
PLAN_WITHIN_DAYS = 30
#: Fewer valid records than this many percent ask for a look; the operator promises no figure.
VALID_PCT = 99
RESOURCES = ("cpu", "memory", "disk")
Answer = tuple[Outcome, str, str]


@dataclass(frozen=True)
class Asked:
    """What the answers are read from."""

    span: Span
    calendar: str
    facts: Facts
    levels: Levels
    found: Mapping[str, Standing]
    resources: Sequence[Resource]


def checklist(checks: Sequence[Check], asked: Asked) -> list[Line]:
    """A line for each check of the operations file; one without a rule is not measured."""
    found = []
    for check in checks:
        rule = RULES.get(check.id)
        if rule is None:
            answer: Answer = ("not measured", f"no rule answers {check.id!r} from data", "")
        else:
            answer = rule(asked)
        outcome, because, figure = answer
        found.append(Line(check.list, check.id, check.words, outcome, because, figure))
    return found


def _services_running(asked: Asked) -> Answer:
    """Whether every component was up at the end of the last day."""
    fact = _last(asked.facts, "uptime")
    if not isinstance(fact, UptimeFact):
        return "not measured", str(fact), ""
    if not fact.targets:
        return "not measured", "no component is watched", ""
    ends = {t.id: s.state for t in fact.targets for s in t.stretches if s.end_ms >= fact.end_ms}
    titles = {t.id: t.title for t in fact.targets}
    down = [titles[i] for i, state in ends.items() if state == "down"]
    unseen = [titles[i] for i, state in ends.items() if state != "down"]
    if down:
        return "fail", f"down at the end of the day: {listed(down)}", "uptime.worst"
    if unseen:
        return "fail", f"not seen at the end of the day: {listed(unseen)}", "uptime.worst"
    return "pass", f"all {len(fact.targets)} were up at the end of the day", "uptime.worst"


def _alerts_reviewed(asked: Asked) -> Answer:
    """Whether somebody answered every incident of the period; without alerts there are none."""
    alerts, incidents = (_merged(asked.facts, n) for n in ("alerts", "incidents"))
    fired = sum(a.begun for a in alerts.alerts) if isinstance(alerts, AlertsFact) else None
    if isinstance(incidents, IncidentsFact):
        open_ = [i.id for i in incidents.incidents if i.acknowledged_ms is None]
        many = len(incidents.incidents)
        if open_:
            return "fail", f"nobody has acknowledged {listed(open_)}", "incidents.count"
        if fired and not many:
            return "fail", f"{fired} alerts fired and no incident was opened", "incidents.count"
        return "pass", f"all {many} incidents were acknowledged", "incidents.count"
    if fired == 0 and isinstance(alerts, AlertsFact):
        if alerts.alerts and not any(a.seen for a in alerts.alerts):
            return "not measured", "no alert's rule has ever left a trace on the server", ""
        return "pass", "no alert fired", ""
    if fired is None:
        return "not measured", str(alerts), ""
    return "not measured", f"{fired} alerts fired; {incidents.detail}", ""


def _performance(asked: Asked) -> Answer:
    """Whether every promised service level was measured and kept."""
    judged = [s for s in asked.found.values() if s.verdict is not None]
    return _all_met(judged, "service_levels.kept", "promises kept")


def _data_quality(asked: Asked) -> Answer:
    """Whether records were valid and the ledger passed its contract."""
    errors = [f.check for day in asked.facts.days for f in day.findings if f.severity == "error"]
    if errors:
        return "fail", f"findings about the data: {listed(list(dict.fromkeys(errors)))}", ""
    quality = asked.found.get("data_quality")
    if quality is None or isinstance(quality.share, Missing):
        why = "no objective data_quality" if quality is None else str(quality.share)
        return "not measured", f"the share of valid records is not known: {why}", ""
    share = Decimal(int(quality.share.low * 100_000)) / 1000
    outcome: Outcome = "pass" if share >= VALID_PCT else "fail"
    return (
        outcome,
        f"at least {numeral(share)} % of the records were valid, {VALID_PCT} % are asked for",
        "service_levels.kept",
    )


def _capacity_plan(asked: Asked) -> Answer:
    """Whether every resource has a forecast and none ends soon."""
    if not asked.resources:
        return "not measured", "no resource has an allocation", ""
    forecasts = [(r, forecast(r)) for r in asked.resources]
    unknown = [r.title for r, f in forecasts if not isinstance(f, Forecast)]
    gone, soon = [], []
    for resource, found in forecasts:
        if not isinstance(found, Forecast):
            continue
        end = found.exhaustion
        if end.state == "reached":
            gone.append(resource.title)
        elif end.day is not None and (end.day - asked.span.last).days <= PLAN_WITHIN_DAYS:
            soon.append(f"{resource.title} on {end.day}")
    if gone:
        return "fail", f"exhausted: {listed(gone)}", ""
    if soon:
        return "fail", f"exhausted within {PLAN_WITHIN_DAYS} days: {listed(soon)}", ""
    if unknown:
        return "not measured", f"no forecast of {listed(unknown)}", ""
    return "pass", f"{len(forecasts)} forecasts, none ends within {PLAN_WITHIN_DAYS} days", ""


def _daily_performance(asked: Asked) -> Answer:
    """Whether the day's trading figures are all there."""
    names = ("pnl", "var", "slippage", "fill_rate")
    gone = {n: why for n in names if (why := absence(_merged(asked.facts, n)))}
    if gone:
        reason = next(iter(gone.values()))
        return "not measured", f"{listed([*gone])} missing: {reason}", ""
    return "pass", "P&L, risk, slippage and fill rate are measured and sealed", "pnl.net"


def _alert_patterns(asked: Asked) -> Answer:
    """Whether an alert flapped."""
    fact = _merged(asked.facts, "alerts")
    if not isinstance(fact, AlertsFact):
        return "not measured", str(fact), ""
    flaps = [
        a.title
        for a in fact.alerts
        if flapping([e.fired_ms for e in fact.episodes if e.alert == a.id and e.begun])
    ]
    if flaps:
        return "fail", f"flapping: {listed(flaps)}", ""
    fired = sum(a.begun for a in fact.alerts)
    return "pass", f"{fired} alerts fired, none flapped", ""


def _backups(asked: Asked) -> Answer:
    """Whether the last backup never grew older than a day and two hours."""
    days = asked.levels.of("backup_status", asked.span.first)
    stats = [v if isinstance(v, Missing) else values_stats(v) for _, v in days]
    known = [s.highest for s in stats if not isinstance(s, Missing)]
    if not known:
        why = next((str(s) for s in stats if isinstance(s, Missing)), "no day is sealed")
        return "not measured", f"the age of the last backup is not known: {why}", ""
    hours = Decimal(round(max(known) / 360)) / 10
    outcome: Outcome = "pass" if max(known) <= BACKUP_WITHIN_S else "fail"
    return outcome, f"the last backup was at most {numeral(hours)} h old", ""


def _resources(asked: Asked) -> Answer:
    """Whether CPU, memory and disk kept their bounds."""
    judged = [asked.found[i] for i in RESOURCES if i in asked.found]
    return _all_met(judged, "", "resource bounds kept")


def _next_day(asked: Asked) -> Answer:
    """Whether the calendar knows the next session."""
    session: date = next_session(asked.span.last + timedelta(1), asked.calendar)
    return "pass", f"the next session of {asked.calendar} is {session:%A}, {session}", ""


RULES: Mapping[str, Callable[[Asked], Answer]] = {
    "services_running": _services_running,
    "alerts_reviewed": _alerts_reviewed,
    "performance_metrics_reviewed": _performance,
    "data_quality_valid": _data_quality,
    "capacity_plan_updated": _capacity_plan,
    "daily_performance_reviewed": _daily_performance,
    "alert_patterns_checked": _alert_patterns,
    "backups_completed": _backups,
    "resource_use_reviewed": _resources,
    "next_day_planned": _next_day,
}


def _all_met(judged: Iterable[Standing], figure: str, what: str) -> Answer:
    all_ = list(judged)
    if not all_:
        return "not measured", "nothing is promised", ""
    missed = [s.objective.title for s in all_ if s.verdict is Verdict.MISSED]
    unknown = [s.objective.title for s in all_ if s.verdict is Verdict.UNKNOWN]
    if missed:
        return "fail", f"missed: {listed(missed)}", figure
    if unknown:
        return "not measured", f"can not be judged: {listed(unknown)}", figure
    return "pass", f"{len(all_)} of {len(all_)} {what}", figure


def _last(facts: Facts, name: str) -> object:
    pairs = facts.of(name)
    return pairs[-1][1] if pairs else "no day of the period is sealed"


def _merged(facts: Facts, name: str) -> Any:
    return facts.merged(BY_NAME[name])
