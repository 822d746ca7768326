"""Sealed days and policy in, one Document out: the only place where measures meet.

What needs two measures is composed here (yesterday's VaR against today's P&L). A weekly or monthly
report is built from sealed days alone; the sources are never asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from . import __version__
from .facts import MEASURES, fact_from
from .measures import Context, Measure
from .measures.fill_rate import FillRateFact, in_full
from .measures.pnl import PnlFact, daily_net, totals
from .measures.slippage import SlippageFact, bps
from .measures.uptime import UPTIME, UptimeFact
from .measures.var import LEVELS, VarFact, plain_pct
from .model import (
    EXACT,
    Bps,
    Count,
    Coverage,
    Exact,
    Finding,
    Missing,
    Money,
    Number,
    Shown,
    Text,
    Value,
    Why,
    exact_sum,
    plain,
)
from .page import (
    Attention,
    Checkpoint,
    Citation,
    Difference,
    Document,
    Figure,
    Gap,
    Kind,
    Line,
    LinesChart,
    Period,
    Point,
    Section,
    SourceTotal,
    Status,
    Verdict,
)
from .periods import Span, previous_session
from .policy import Policy
from .seal import SealedDay, canonical

TITLES = {
    "daily": "Daily operations report",
    "weekly": "Weekly performance summary",
    "monthly": "Monthly compliance report",
}

#: Absences that say something about the day; any other is a gap and makes a report INCOMPLETE.
NO_GAP = (Why.NO_SESSION, Why.NO_TRADES, Why.NO_ORDERS)


@dataclass(frozen=True)
class Cited:
    """A sealed day together with where it stands in the store."""

    sealed: SealedDay
    digest: str
    sealed_at: datetime


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


def build(
    span: Span,
    days: Sequence[Cited],
    unsealed: Sequence[date],
    trail: Sequence[Cited],
    policy: Policy,
    issue: Issue,
) -> Document:
    """Compose the Document of ``span``.

    ``days`` are the sealed days of the period in order, ``unsealed`` those that are not sealed,
    ``trail`` sealed sessions before the period, for comparison and for the VaR of its first
    session. At least one day must be sealed.
    """
    facts = _Facts([c.sealed for c in days], [c.sealed for c in trail])
    last = days[-1].sealed
    context = Context(span=span, zone=last.zone, base=issue.base, targets=policy.targets(span.last))
    sections = tuple(_sections(facts, context))
    gaps = _gaps(facts, unsealed)
    exceptions = _exceptions(facts)
    headline = _headline(sections, facts, span, issue.base)
    findings = _findings(days)
    attention = _attention(sections, facts, gaps, exceptions, findings, days)
    status = Status.INCOMPLETE if gaps else Status.RESTATED if issue.revision > 1 else Status.FINAL
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
        citations=tuple(_citation(c) for c in [*trail, *days]),
        sources=_sources(days),
        policy_digest=policy.digest,
        checkpoint=issue.checkpoint,
    )
    if issue.previous is None:
        return document
    changes = differences(issue.previous, document, issue.reason)
    return document.model_copy(update={"differences": changes})


def content(document: Document) -> bytes:
    """What makes a new revision: everything but the circumstances of its issue."""
    return canonical(
        document.model_dump(
            mode="json",
            exclude={
                "id", "revision", "supersedes", "reason", "issued_at", "version", "checkpoint",
                "differences", "status", "issuer", "policy_digest",
            },
        )
    )  # fmt: skip


def differences(before: Document, after: Document, reason: str) -> tuple[Difference, ...]:
    """Every figure, by id, whose value is not what the superseded revision said."""
    old, new = _all_figures(before), _all_figures(after)
    gone = Missing(why=Why.NOT_MEASURED, detail="not in this revision")
    found = []
    for key in [*old, *(k for k in new if k not in old)]:
        label, was = old.get(key, ("", gone))
        label, now = new.get(key, (label, gone))
        if was != now:
            found.append(Difference(figure=key, label=label, before=was, after=now, reason=reason))
    return tuple(found)


def _all_figures(document: Document) -> dict[str, tuple[str, Shown]]:
    """Label and value of every figure by id, then of every cell of every table.

    A cell is ``<table>[<the words that its row begins with>].<column>``.
    """
    found: dict[str, tuple[str, Shown]] = {f.id: (f.label, f.value) for f in document.headline}
    for section in document.sections:
        found |= {f.id: (f.label, f.value) for f in section.figures}
    for table in (t for section in document.sections for t in section.tables):
        rows = [*table.rows, *([table.total] if table.total else [])]
        for row in rows:
            words = [cell.text for cell in row if isinstance(cell, Text)]
            name = " / ".join(w for w in words if w)
            for column, cell in zip(table.columns, row, strict=True):
                if not isinstance(cell, Text):
                    label = f"{table.title}: {name}, {column.label}"
                    found[f"{table.id}[{name}].{column.key}"] = (label, cell)
    return found


class _Facts:
    """The facts of the period's days and of the sessions before it, by measure."""

    def __init__(self, days: Sequence[SealedDay], trail: Sequence[SealedDay]) -> None:
        self.days, self.trail = days, trail
        self._of = {
            m.name: [(d.day, fact_from(m, d.facts[m.name])) for d in days] for m in MEASURES
        }
        self._before = {
            m.name: [(d.day, fact_from(m, d.facts[m.name])) for d in trail] for m in MEASURES
        }

    def of(self, measure: Measure[Any] | str) -> list[tuple[date, Any]]:
        """(day, fact or Missing) of every day that the measure is made on."""
        name = measure if isinstance(measure, str) else measure.name
        return [
            (day, fact)
            for day, fact in self._of[name]
            if not (isinstance(fact, Missing) and fact.why is Why.NO_SESSION)
        ]

    def with_trail(self, name: str) -> list[tuple[date, Any]]:
        """The same, with the sessions before the period in front."""
        return [*self._before[name], *self.of(name)]

    def merged(self, measure: Measure[Any]) -> Any:
        """The period's fact, or the Missing that speaks for all its days."""
        pairs = self.of(measure)
        present = [(day, fact) for day, fact in pairs if not isinstance(fact, Missing)]
        if present:
            return measure.merge(present)
        if pairs:
            return pairs[-1][1]
        return Missing(why=Why.NO_SESSION, detail=self.days[-1].note)


def _sections(facts: _Facts, context: Context) -> list[Section]:
    sections = []
    for measure in MEASURES:
        fact = facts.merged(measure)
        section = measure.section(fact, facts.of(measure), context)
        sections.append(_with_backtest(section, facts) if measure.name == "var" else section)
    return sections


class Backtest(Value):
    """One session's P&L beside the VaR estimated at the close before it."""

    day: date
    net: Exact
    currency: str
    var: tuple[Exact, ...]  # by LEVELS

    def is_exception(self, level: int) -> bool:
        """Whether the loss exceeded the VaR of LEVELS[level]."""
        return EXACT.minus(self.net) > self.var[level]


def backtests(
    pnl: Sequence[tuple[date, PnlFact | Missing]],
    var: Sequence[tuple[date, VarFact | Missing]],
    since: date,
    calendar: str,
) -> tuple[Backtest, ...]:
    """Sessions from ``since`` on that have both a P&L and a VaR of the close before."""
    estimates = dict(var)
    base = {day: fact.base for day, fact in pnl if not isinstance(fact, Missing)}
    found = []
    for point in daily_net(list(pnl)):
        estimate = estimates.get(previous_session(point.day, calendar))
        if point.day < since or not isinstance(estimate, VarFact):
            continue
        if isinstance(point.value, Missing):
            continue
        levels = {x.level: x.var for x in estimate.days[-1].levels}
        found.append(
            Backtest(
                day=point.day,
                net=point.value,
                currency=base[point.day],
                var=tuple(levels[level] for level in LEVELS),
            )
        )
    return tuple(found)


def _exceptions(facts: _Facts) -> tuple[Backtest, ...]:
    since = facts.days[0].day
    calendar = facts.days[0].calendar
    return backtests(facts.with_trail("pnl"), facts.with_trail("var"), since, calendar)


def _with_backtest(section: Section, facts: _Facts) -> Section:
    """Add yesterday's VaR against today's P&L to the VaR section."""
    tests = _exceptions(facts)
    if not tests:
        note = "No session of the period has both a P&L and a VaR of the close before it."
        return section.model_copy(update={"notes": (*section.notes, note)})
    figures = tuple(
        Figure(
            id=f"var.exceptions_{plain_pct(level)}",
            label=f"Losses beyond VaR {plain_pct(level)} %",
            value=Count(
                value=sum(t.is_exception(i) for t in tests),
                unit=f"of {len(tests)} session{'s' if len(tests) > 1 else ''}",
            ),
            note=", ".join(t.day.isoformat() for t in tests if t.is_exception(i)),
        )
        for i, level in enumerate(LEVELS)
    )
    worst = len(LEVELS) - 1
    hit = any(t.is_exception(worst) for t in tests)
    charts = section.charts
    if len(tests) > 1:
        charts = (*charts, _backtest_chart(tests))
    return section.model_copy(
        update={
            "figures": (*section.figures, *figures),
            "charts": charts,
            "verdict": Verdict.MISSED if hit else Verdict.MET,
        }
    )


def _backtest_chart(tests: Sequence[Backtest]) -> LinesChart:
    marked = tuple(i for i, t in enumerate(tests) if t.is_exception(len(LEVELS) - 1))
    named = ", ".join(tests[i].day.isoformat() for i in marked) or "none"
    return LinesChart(
        id="var_backtest",
        title="Net P&L against the VaR of the close before",
        alt=f"{len(tests)} sessions; losses beyond VaR {plain_pct(LEVELS[-1])} %: {named}.",
        unit=tests[0].currency,
        labels=tuple(t.day.isoformat() for t in tests),
        lines=(
            Line(label="Net P&L", values=tuple(t.net for t in tests)),
            *(
                Line(
                    label=f"−VaR {plain_pct(level)} %",
                    values=tuple(EXACT.minus(t.var[i]) for t in tests),
                )
                for i, level in enumerate(LEVELS)
            ),
        ),
        marked=marked,
        marked_label=f"loss beyond VaR {plain_pct(LEVELS[-1])} %",
    )


def _gaps(facts: _Facts, unsealed: Sequence[date]) -> tuple[Gap, ...]:
    gaps = [
        Gap(
            what="all measures",
            when=day.isoformat(),
            reason=Missing(why=Why.NOT_SEALED, detail="the day was never closed"),
        )
        for day in unsealed
    ]
    for measure in MEASURES:
        for day, fact in facts.of(measure):
            if isinstance(fact, Missing) and fact.why not in NO_GAP:
                gaps.append(Gap(what=measure.title, when=day.isoformat(), reason=fact))
            elif isinstance(fact, PnlFact):
                gaps += _unvalued(day, fact)
    for sealed in facts.days:
        for finding in sealed.findings:
            if finding.severity == "error":
                reason = Missing(why=Why.NOT_MEASURED, detail=finding.detail)
                what = f"{finding.check} ({finding.count})"
                gaps.append(Gap(what=what, when=sealed.day.isoformat(), reason=reason))
    return tuple(gaps)


def _unvalued(day: date, fact: PnlFact) -> list[Gap]:
    """What the day's P&L in base lacks though its trades are known: a rate, or a first mark."""
    total = totals(fact)
    if isinstance(total, Missing):
        return [Gap(what="P&L in base", when=day.isoformat(), reason=total)]
    return [
        Gap(
            what=f"P&L of {instrument}",
            when=day.isoformat(),
            reason=Missing(why=Why.NO_MARK, detail="never marked"),
        )
        for instrument in total.unvalued
    ]


def _headline(
    sections: Sequence[Section], facts: _Facts, span: Span, base: str
) -> tuple[Figure, ...]:
    """The few figures of the first page, with their series and their last change."""
    figures = {f.id: f for s in sections for f in s.figures}
    by_id = {s.id: s for s in sections}
    series = {
        "pnl.net": daily_net(facts.with_trail("pnl")),
        "var.var_99": _series(facts, "var", _var_99),
        f"slippage.{base}": _series(facts, "slippage", lambda f: _slippage(f, base)),
        "fill_rate.full": _series(facts, "fill_rate", _fill_rate),
    }
    chosen = []
    for key, points in series.items():
        if key in figures:
            figure = figures[key].model_copy(update={"series": tuple(points)})
            chosen.append(_with_change(figure, points) if span.kind == "daily" else figure)
            continue
        section = by_id[key.split(".")[0]]
        reason = facts.merged(next(m for m in MEASURES if m.name == section.id))
        if not isinstance(reason, Missing):
            reason = Missing(why=Why.NO_DATA, detail=f"no {key}")
        chosen.append(Figure(id=key, label=section.title, value=reason))
    exposure = [figures[key] for key in ("var.gross",) if key in figures]
    return (*chosen, _worst_availability(by_id["uptime"], facts), *exposure)


def _series(facts: _Facts, name: str, value: Any) -> list[Point]:
    return [
        Point(day=day, value=fact if isinstance(fact, Missing) else value(fact))
        for day, fact in facts.with_trail(name)
    ]


def _var_99(fact: VarFact) -> Exact:
    return next(x.var for x in fact.days[-1].levels if x.level == "0.99")


def _slippage(fact: SlippageFact, base: str) -> Exact | Missing:
    measured = bps(c for c in fact.cells if c.currency == base).value
    if measured is None:
        return Missing(why=Why.NO_TRADES, detail=f"no {base} notional")
    return _rounded(Decimal(measured.numerator) / Decimal(measured.denominator))


def _fill_rate(fact: FillRateFact) -> Exact | Missing:
    share = in_full(fact.accepted).fraction
    if share is None:
        return Missing(why=Why.NO_ORDERS, detail="only rejects")
    return _rounded(Decimal(share.numerator) / Decimal(share.denominator) * 100)


def _rounded(value: Decimal) -> Decimal:
    """Four places: for sparklines and changes only, never for a figure."""
    return value.quantize(Decimal("0.0001"))


def _with_change(figure: Figure, points: Sequence[Point]) -> Figure:
    """The change since the session before, where both have a value."""
    if len(points) < 2:
        return figure
    before, now = points[-2], points[-1]
    if isinstance(before.value, Missing) or isinstance(now.value, Missing):
        return figure
    change = EXACT.subtract(now.value, before.value)
    shown: Shown
    if isinstance(figure.value, Money):
        shown = Money(amount=change, currency=figure.value.currency)
    elif isinstance(figure.value, Bps):
        shown = Number(value=change, unit="bps")
    else:
        shown = Number(value=change, unit="points")
    return figure.model_copy(
        update={"change": shown, "change_label": f"since {before.day.isoformat()}"}
    )


def _worst_availability(section: Section, facts: _Facts) -> Figure:
    """The promised target with the worst verdict, then the lowest availability."""
    promised = [f for f in section.figures if f.target is not None]
    if not promised:
        reason = facts.merged(UPTIME)
        if not isinstance(reason, Missing):
            reason = Missing(why=Why.NOT_MEASURED, detail="no target is promised")
        return Figure(id="uptime.worst", label="Availability", value=reason)
    rank = {Verdict.MISSED: 0, Verdict.UNKNOWN: 1, Verdict.MET: 2, None: 3}
    worst = min(promised, key=lambda f: (rank[f.verdict], _lower_bound(f.value), f.id))
    met = sum(f.verdict is Verdict.MET for f in promised)
    return worst.model_copy(
        update={
            "id": "uptime.worst",
            "label": f"Worst availability: {worst.label}",
            "note": f"{met} of {len(promised)} targets met",
        }
    )


def _lower_bound(value: Shown) -> Any:
    ratio = getattr(value, "low", value)
    fraction = getattr(ratio, "fraction", None)
    return Decimal(2) if fraction is None else fraction


def _findings(days: Sequence[Cited]) -> tuple[Finding, ...]:
    """Findings of all days, counted together by check."""
    merged: dict[str, Finding] = {}
    for cited in days:
        for finding in cited.sealed.findings:
            seen = merged.get(finding.check)
            if seen is None:
                merged[finding.check] = finding
            else:
                merged[finding.check] = finding.model_copy(
                    update={
                        "count": seen.count + finding.count,
                        "samples": (*seen.samples, *finding.samples)[:5],
                    }
                )
    order = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(merged.values(), key=lambda f: (order[f.severity], f.check)))


def _attention(
    sections: Sequence[Section],
    facts: _Facts,
    gaps: Sequence[Gap],
    tests: Sequence[Backtest],
    findings: Sequence[Finding],
    days: Sequence[Cited],
) -> tuple[Attention, ...]:
    """What a person should look at, the worst first."""
    found = []
    for test in tests:
        for i in reversed(range(len(LEVELS))):
            if test.is_exception(i):
                pct = plain_pct(LEVELS[i])
                words = (
                    f"{test.day}: the loss of {-test.net:,.0f} {test.currency} was beyond "
                    f"VaR {pct} % of {test.var[i]:,.0f} {test.currency}."
                )
                last = i == len(LEVELS) - 1
                found.append(
                    Attention(severity="alarm" if last else "warning", text=words, section="var")
                )
                break
    for section in sections:
        for figure in section.figures:
            if figure.target is None or figure.verdict in (Verdict.MET, None):
                continue
            missed = figure.verdict is Verdict.MISSED
            found.append(
                Attention(
                    severity="alarm" if missed else "warning",
                    text=f"{figure.label}: target {figure.target.words()} "
                    f"{'missed' if missed else 'not decidable, too much is unknown'}.",
                    section=section.id,
                )
            )
    found += _unseen(facts.merged(UPTIME), sections)
    last = fact_from(MEASURES[0], days[-1].sealed.facts["pnl"])
    if isinstance(last, PnlFact):
        for mark in last.marks:
            if mark.stale or mark.price is None:
                state = (
                    "stale, from " + mark.marked_at[:10] if mark.price is not None else "missing"
                )
                touched = (
                    "" if mark.value is None else f"; it values {mark.value:,.0f} {mark.currency}"
                )
                found.append(
                    Attention(
                        severity="warning",
                        text=f"The mark of {mark.symbol} is {state}{touched}.",
                        section="pnl",
                    )
                )
    if gaps:
        found.append(
            Attention(severity="alarm", text=f"{len(gaps)} values are missing.", section="gaps")
        )
    for finding in findings:
        if finding.severity != "note":
            severity = "alarm" if finding.severity == "error" else "warning"
            found.append(
                Attention(
                    severity=severity,  # type: ignore[arg-type]
                    text=f"Data: {finding.check} ({finding.count}).",
                    section="findings",
                )
            )
    restated = [c.sealed for c in days if c.sealed.revision > 1]
    if restated:
        listed = ", ".join(f"{d.day} r{d.revision}" for d in restated[:4])
        more = f" and {len(restated) - 4} more" if len(restated) > 4 else ""
        found.append(
            Attention(
                severity="note", text=f"Restated after late events: {listed}{more}.",
                section="evidence",
            )
        )  # fmt: skip
    rank = {"alarm": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda a: rank[a.severity]))


def _unseen(fact: UptimeFact | Missing, sections: Sequence[Section]) -> list[Attention]:
    """Targets without a promise that were partly or wholly out of sight."""
    if isinstance(fact, Missing):
        return []
    promised = {f.id for section in sections for f in section.figures}
    unseen = [t for t in fact.targets if t.unknown_ms and f"uptime.{t.id}" not in promised]
    if not unseen:
        return []
    unseen.sort(key=lambda t: (-t.unknown_ms, t.id))
    listed = ", ".join(
        f"{t.title} ({Decimal(t.unknown_ms * 100) / t.window_ms:.1f} %)" for t in unseen[:4]
    )
    more = f" and {len(unseen) - 4} more" if len(unseen) > 4 else ""
    return [
        Attention(
            severity="warning",
            text=f"No data for part of the time, so neither up nor down: {listed}{more}.",
            section="uptime",
        )
    ]


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
        if len(short) < len(missed):
            words.append(f"a loss went beyond VaR {plain_pct(LEVELS[-1])} %")
        return f"No: {' and '.join(words)}."
    if verdict is Verdict.UNKNOWN:
        unknown = [s.title.lower() for s in judged if s.verdict is Verdict.UNKNOWN]
        because = f"{_listed(unknown)} can not be judged" if unknown else ""
        missing = f"{len(gaps)} values are missing" if gaps else ""
        if not (because or missing):
            return "Not known: no target could be judged."
        return f"Not known: {' and '.join(x for x in (because, missing) if x)}."
    return "Yes: every target was met."


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


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
