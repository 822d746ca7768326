"""Sealed days and policy in, one Document out: the only place where measures meet.

What needs two measures is composed here (yesterday's VaR against today's P&L). A weekly, monthly
or quarterly report is built from sealed days alone; the sources are never asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from .. import __version__
from ..analysis.change import improvement_section
from ..analysis.checklist import checklist_attention, checklist_section
from ..analysis.shift import regression_attention, regression_section
from ..analysis.trend import capacity_attention, capacity_section
from ..facts import MEASURES
from ..levels import window_of
from ..measures import Context, marks, reconciliation
from ..measures.alerts import ALERTS
from ..measures.incidents import INCIDENTS
from ..measures.marks import MARKS
from ..measures.pnl import PnlFact
from ..measures.reconciliation import RECONCILIATION
from ..measures.var import plain_pct, said_pct
from ..model import Count, Coverage, Missing, Shown, Why, exact_sum, plain
from ..numerals import ENGLISH, marking
from ..page import (
    Attention,
    Checkpoint,
    Citation,
    Difference,
    Document,
    Gap,
    Kind,
    Period,
    Retention,
    Section,
    SignOff,
    SourceTotal,
    Status,
    Verdict,
    with_marks_apart,
)
from ..periods import Span, first_of_week, first_of_year, sessions_between
from ..policy import Policy
from ..seal import canonical
from .analyses import CAPACITY_DAYS, TRAILING_DAYS, Levels, kpis, resources, watched
from .attention import attention_of, findings_of, gaps_of, missing_words, unmeasured
from .backtest import JUDGED, Backtest, Track, backtests, track, with_backtest
from .checklists import Asked, checklist
from .compliance import with_compliance
from .components import with_components
from .courses import budget_chart, latency_chart, with_charts, with_course
from .headline import headline as headline_of
from .history import NO_GAP, NOTHING_EARLIER, Cited, Earlier, Excerpt, Facts, absence
from .numbers import numbers
from .objectives import Ledger, Standing, standings, with_standings
from .reasons import Place, Reasons
from .risk import with_risk
from .strategies import strategy_sections
from .to_date import with_to_date

__all__ = [
    "COMPOSED",
    "FORECASTS",
    "HISTORY_OF",
    "NO_GAP",
    "Backtest",
    "Cited",
    "Earlier",
    "Excerpt",
    "Issue",
    "absence",
    "backtests",
    "build",
    "content",
    "differences",
    "history_from",
    "lookback",
]

#: How many sessions before a report stand in its sparklines; one is needed for VaR's backtest.
TRAIL = {"daily": 10}
#: Facts that are read from further back than whole days are, and for how many sessions at least:
#: a backtest of VaR looks at as many as Basel's traffic light does (MAR32), 250.
HISTORY_OF = ("pnl", "var")
#: What is read of the revisions that restated days had before: a backtest takes the VaR that was
#: known when the day began, whatever was found out since.
FORECASTS = ("var",)
HISTORY_SESSIONS = 251
#: The sections of a report in their order: measures, and what is composed of them.
COMPOSED = ("checklists", "strategies", "capacity", "regression", "improvement", "compliance")
ORDER = (
    "checklists",
    "pnl",
    "marks",
    "reconciliation",
    "var",
    "slippage",
    "fill_rate",
    "strategies",
    "service_levels",
    "uptime",
    "alerts",
    "incidents",
    "capacity",
    "regression",
    "improvement",
)
#: Lines of the checklists whose failure the first page tells in other words already.
SAID_ELSEWHERE = (
    "services_running",
    "performance_metrics_reviewed",
    "data_quality_valid",
    "capacity_plan_updated",
    "resource_use_reviewed",
)
TITLES = {
    "daily": "Daily operations report",
    "weekly": "Weekly performance summary",
    "monthly": "Monthly compliance report",
    "quarterly": "Quarterly business review",
}


@dataclass(frozen=True)
class Issue:
    """The circumstances of an issue: recorded once, reused by every regeneration."""

    issuer: str
    base: str
    issued_at: datetime
    checkpoint: Checkpoint
    revision: int = 1
    reason: str = ""
    previous: Document | None = None
    locale: str = ENGLISH  # of the printed numbers
    signoffs: tuple[SignOff, ...] = ()
    retention: Retention | None = None
    reviews: tuple[tuple[str, int], ...] = ()  # daily reports at the cut-off, people who signed off


def build(
    span: Span,
    days: Sequence[Cited],
    unsealed: Sequence[date],
    before: Sequence[Cited],
    policy: Policy,
    issue: Issue,
    earlier: Earlier = NOTHING_EARLIER,
) -> Document:
    """Compose the Document of ``span``.

    ``days`` are the sealed days of the period in order, ``unsealed`` those that are not sealed,
    ``before`` the sealed days before the period, in order, as far back as :func:`lookback` asks,
    ``earlier`` excerpts of those before them, as far back as :func:`history_from` asks, and of the
    revisions that restated days had before.
    At least one day must be sealed.
    """
    facts = Facts(days, before, TRAIL.get(span.kind, 1), unsealed, earlier)
    if issue.locale == ENGLISH:
        document = _composed(facts, span, days, before, policy, issue)
    else:
        with marking():
            marked = _composed(facts, span, days, before, policy, issue)
        document = with_marks_apart(marked, issue.locale)
    if issue.previous is None:
        return document
    changes = differences(issue.previous, document, issue.reason, facts.since("pnl", date.min))
    return document.model_copy(update={"differences": changes})


def _composed(
    facts: Facts,
    span: Span,
    days: Sequence[Cited],
    before: Sequence[Cited],
    policy: Policy,
    issue: Issue,
) -> Document:
    """The Document but for what differs from the revision before it."""
    unsealed, earlier = facts.unsealed, facts.earlier
    last = days[-1].sealed
    context = Context(span=span, zone=last.zone, base=issue.base, targets=policy.targets(span.last))
    past = track(facts)
    sections, composed, found = _sections(facts, context, policy, last.calendar, past)
    gaps = (*gaps_of(facts, span, unsealed), *unmeasured(facts, found, span.label))
    headline = headline_of(sections, facts, span, issue.base, last.calendar)
    findings = findings_of(days)
    attention = attention_of(sections, facts, gaps, past.own, findings, days, composed)
    status = _status(facts, gaps, issue)
    verdict = _verdict(sections, gaps)
    document = Document(
        id=f"{span.kind}/{span.label}/r{issue.revision}",
        kind=Kind(span.kind),
        title=TITLES[span.kind],
        issuer=issue.issuer,
        period=Period(
            label=span.label,
            title=span.title,
            first=span.first,
            last=span.last,
            zone=last.zone,
            calendar=last.calendar,
            sessions=sum(c.sealed.session for c in days),
            cutoff=max(c.sealed.known_at for c in days),
        ),
        revision=issue.revision,
        status=status,
        supersedes=issue.previous.id if issue.previous else "",
        reason=issue.reason,
        issued_at=issue.issued_at,
        version=__version__,
        verdict=verdict,
        answer=_answer(sections, gaps, verdict),
        attention=attention,
        headline=headline,
        sections=sections,
        gaps=gaps,
        findings=findings,
        differences=(),
        citations=tuple(
            sorted(
                [
                    *(_citation_of_excerpt(x) for x in (*earlier.days, *past.forecasts)),
                    *(_citation(c) for c in [*before, *days]),
                ],
                key=lambda c: (c.day, c.revision),
            )
        ),
        sources=_sources(days),
        policy_digest=policy.digest,
        checkpoint=issue.checkpoint,
        signoffs=issue.signoffs,
        retention=issue.retention,
    )
    return with_compliance(document, days, unsealed, found, policy, issue.reviews)


def lookback(span: Span, policy: Policy, calendar: str) -> date:
    """The first day whose facts the report of ``span`` compares with or counts in a budget."""
    sessions = TRAIL.get(span.kind, 1)
    begin = span.first - timedelta(days=3 * sessions + 10)
    trail = sessions_between(begin, span.first - timedelta(1), calendar)[-sessions:]
    windows = [window_of(o.window, span.last)[0] for o in policy.objectives]
    baselines = [i.baseline.first for i in policy.operations.improvements if i.baseline]
    return min(
        *trail,
        *windows,
        *(baselines if span.kind != Kind.DAILY else ()),
        span.first - timedelta(TRAILING_DAYS),
        span.last - timedelta(CAPACITY_DAYS - 1),
    )


def history_from(span: Span, calendar: str) -> date:
    """The first day whose :data:`HISTORY_OF` facts the report of ``span`` counts.

    Its year's or its week's first day, whichever is earlier, or HISTORY_SESSIONS sessions.
    """
    begin = span.last - timedelta(2 * HISTORY_SESSIONS)
    sessions = sessions_between(begin, span.last, calendar)[-HISTORY_SESSIONS:]
    return min(*sessions[:1], first_of_year(span.last), first_of_week(span.last))


def content(document: Document) -> bytes:
    """What makes a new revision: everything but the circumstances of its issue."""
    return canonical(
        document.model_dump(
            mode="json",
            exclude={
                "id", "revision", "supersedes", "reason", "issued_at", "version", "checkpoint",
                "differences", "status", "issuer", "policy_digest", "signed", "unsigned_because",
                "signoffs", "retention", "locale", "said",
            },
        )
    )  # fmt: skip


def differences(
    before: Document,
    after: Document,
    reason: str,
    pnl: Sequence[tuple[date, PnlFact | Missing]] = (),
) -> tuple[Difference, ...]:
    """Every figure, by id, whose value is not what the superseded revision said, and why.

    ``reason`` is the whole revision's, for what no restated day and no event explains; ``pnl`` are
    the facts that know the late fills.
    """
    reasons = Reasons(before, after, reason, pnl)
    old, new = _all_figures(before), _all_figures(after)
    nowhere = Place("", {})
    gone = Missing(why=Why.NOT_MEASURED, detail="not in this revision")
    found = []
    for key in [*old, *(k for k in new if k not in old)]:
        label, was, place = old.get(key, ("", gone, nowhere))
        label, now, place = new.get(key, (label, gone, place))
        if was != now:
            why = reasons.of(place)
            found.append(
                Difference(
                    figure=key,
                    label=label,
                    before=was,
                    after=now,
                    reason=why,
                    section=place.section,
                )
            )
    return tuple(found)


def _all_figures(document: Document) -> dict[str, tuple[str, Shown, Place]]:
    """Label, value and place of every figure and every cell by id: charts draw the same numbers."""
    printed = numbers(document).values()
    return {
        p.id: (p.label, p.value, Place(p.section, p.texts))
        for p in printed
        if not p.shape.startswith("chart:")
    }


def _sections(
    facts: Facts, context: Context, policy: Policy, calendar: str, past: Track
) -> tuple[tuple[Section, ...], list[Attention], tuple[Standing, ...]]:
    """The sections, what of the composed ones needs a person, and where each objective stands."""
    span, operations = context.span, policy.operations
    made = {}
    for measure in MEASURES:
        fact = facts.merged(measure)
        # How old a break is shows in the days before the period too.
        aged = measure is RECONCILIATION
        days = facts.since(measure.name, date.min) if aged else facts.of(measure)
        laid_out = measure.section(fact, days, context)
        if isinstance(fact, Missing) and measure in (ALERTS, INCIDENTS):
            # Nobody promised that they are measured; where they should be, the gaps say so.
            laid_out = laid_out.model_copy(update={"verdict": None})
        made[measure.name] = laid_out
    made["pnl"], made["marks"] = _marks_together(made["pnl"], made["marks"])
    made["pnl"] = with_to_date(made["pnl"], facts, span, calendar, context.base)
    made["pnl"] = with_course(made["pnl"], past.net, context.base)
    made["var"], breaches = with_risk(
        with_backtest(made["var"], past), facts, past, policy.risk, context.base
    )
    figures = {f.id: f for section in made.values() for f in section.figures}
    found = standings(policy, facts, span, figures)
    incidents = facts.merged(INCIDENTS)
    made["uptime"] = with_components(made["uptime"], found, incidents, facts, span)
    levels = Levels(facts)
    made["service_levels"] = with_standings(made["service_levels"], found)
    trailing = span.first - timedelta(TRAILING_DAYS)
    made["service_levels"] = with_charts(
        made["service_levels"],
        budget_chart(found, Ledger(policy, facts, span)),
        latency_chart(policy.objectives, levels, trailing),
    )
    of_capacity = resources(policy.objectives, levels, span)
    made["capacity"] = capacity_section(of_capacity, span.first)
    series = watched(policy.objectives, levels, span)
    made["regression"] = regression_section(series)
    attention = [
        *breaches,
        *reconciliation.attention(
            facts.merged(RECONCILIATION), facts.since(RECONCILIATION.name, date.min), context
        ),
        *marks.attention(facts.merged(MARKS), context),
        *capacity_attention(of_capacity),
        *regression_attention(series),
    ]
    if span.kind == Kind.DAILY:
        by_id = {s.id: s for s in found}
        asked = Asked(span, calendar, facts, levels, by_id, of_capacity)
        lines = checklist(operations.checks, asked)
        made["checklists"] = checklist_section(lines)
        attention += checklist_attention([line for line in lines if line.id not in SAID_ELSEWHERE])
    elif operations.improvements:
        goals = kpis(operations.improvements, policy.objectives, facts, levels, span)
        made["improvement"] = improvement_section(goals)
    # The pages of strategies and agents follow their comparison.
    made["strategies"], *pages = strategy_sections(facts, span)
    after = {"strategies": pages}
    ordered = ((made[name], *after.get(name, ())) for name in ORDER if name in made)
    return tuple(s for some in ordered for s in some), attention, found


def _marks_together(pnl: Section, marked: Section) -> tuple[Section, Section]:
    """The marks that P&L used go to the section Marks.

    Where that knows which of them to look at, the page shows those alone and the CSV has all.
    """
    used = [t for t in pnl.tables if t.id == "pnl_marks"]
    if marked.figures:
        used = [t.model_copy(update={"top": 0}) for t in used]
    kept = tuple(t for t in pnl.tables if t.id != "pnl_marks")
    return (
        pnl.model_copy(update={"tables": kept}),
        marked.model_copy(update={"tables": (*marked.tables, *used)}),
    )


def _status(facts: Facts, gaps: Sequence[Gap], issue: Issue) -> Status:
    if gaps:
        return Status.INCOMPLETE
    if any(day.flash for day in facts.days):
        return Status.FLASH
    was_flash = issue.previous is not None and issue.previous.status is Status.FLASH
    return Status.RESTATED if issue.revision > 1 and not was_flash else Status.FINAL


def _verdict(sections: Sequence[Section], gaps: Sequence[Gap]) -> Verdict:
    verdicts = [s.verdict for s in sections]
    if Verdict.MISSED in verdicts:
        return Verdict.MISSED
    if gaps or Verdict.UNKNOWN in verdicts or not any(verdicts):
        return Verdict.UNKNOWN
    return Verdict.MET


def _answer(sections: Sequence[Section], gaps: Sequence[Gap], verdict: Verdict) -> str:
    judged = [s for s in sections if s.verdict is not None]
    if verdict is Verdict.MISSED:
        missed = [s for s in judged if s.verdict is Verdict.MISSED]
        short = [s.title.lower() for s in missed if s.id != "var"]
        words = []
        if short:
            words.append(f"{_listed(short)} missed {'its' if len(short) == 1 else 'their'} target")
        words += [word for s in missed if s.id == "var" for word in _risk_words(s)]
        return f"No: {_listed(words)}."
    if verdict is Verdict.UNKNOWN:
        unknown = [s.title.lower() for s in judged if s.verdict is Verdict.UNKNOWN]
        because = f"{_listed(unknown)} can not be judged" if unknown else ""
        missing = missing_words(len(gaps)).rstrip(".") if gaps else ""
        if not (because or missing):
            return "Not known: no target could be judged."
        return f"Not known: {' and '.join(x for x in (because, missing) if x)}."
    return "Yes: every target was met."


def _risk_words(section: Section) -> list[str]:
    """Why risk missed its target: a loss beyond VaR, a limit, or both."""
    counts = {f.id: f.value.value for f in section.figures if isinstance(f.value, Count)}
    words = []
    if counts.get(f"var.exceptions_{plain_pct(JUDGED)}"):
        words.append(f"a loss went beyond VaR {said_pct(JUDGED)} %")
    if breached := counts.get("var.limits_breached"):
        words.append("a risk limit was breached" if breached == 1 else "risk limits were breached")
    return words


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _citation_of_excerpt(excerpt: Excerpt) -> Citation:
    return Citation(
        day=excerpt.day,
        revision=excerpt.revision,
        digest=excerpt.digest,
        session=excerpt.session,
        known_at=excerpt.known_at,
        sealed_at=excerpt.sealed_at,
        reason=excerpt.reason,
    )


def _citation(cited: Cited) -> Citation:
    day = cited.sealed
    return Citation(
        day=day.day,
        revision=day.revision,
        digest=cited.digest,
        session=day.session,
        known_at=day.known_at,
        sealed_at=cited.sealed_at,
        reason=day.reason,
    )


#: Control totals that add up over days; scales and parameters do not.
ADDITIVE = ("rows", "quantity")


def _sources(days: Sequence[Cited]) -> tuple[SourceTotal, ...]:
    """Rows and additive control totals of every query, over the period."""
    grouped: dict[tuple[str, str, str], list[Coverage]] = {}
    for cited in days:
        for source in cited.sealed.sources:
            key = (source.source, source.query, source.query_digest)
            grouped.setdefault(key, []).append(source)
    return tuple(
        SourceTotal(
            source=source,
            query=query,
            query_digest=digest,
            rows=sum(c.rows for c in reads),
            control=tuple(
                (name, plain(exact_sum(Decimal(c.control[name]) for c in reads)))
                for name in ADDITIVE
                if all(name in c.control for c in reads)
            ),
        )
        for (source, query, digest), reads in grouped.items()
    )
