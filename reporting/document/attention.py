"""What a person should look at, and what the period lacks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from ..facts import MEASURES, fact_from
from ..measures.incidents import NO_SOURCE
from ..measures.pnl import PnlFact, stale_rates, totals
from ..measures.reconciliation import NO_STATEMENTS
from ..measures.service_levels import SERVICE_LEVELS
from ..measures.uptime import UPTIME, UptimeFact
from ..measures.var import LEVELS, said_pct
from ..model import (
    Finding,
    Missing,
    Why,
)
from ..numerals import numeral, ours
from ..page import (
    Attention,
    Gap,
    Kind,
    Section,
    Verdict,
)
from ..periods import Span
from ..policy.indicators import ReportFigure, State
from .backtest import JUDGED, Backtest
from .history import NEVER_SEALED, NO_GAP, UNKNOWN_THEN, Cited, Facts, absence
from .objectives import Standing

ENDED_LATER = Missing(
    why=Why.NOT_ENDED, detail="sealed as FLASH before it had ended; close it again"
)
#: No source, no such measure then, or told as a day without a seal: nothing that a report lacks.
NOT_LACKING = (NO_SOURCE, NO_STATEMENTS, UNKNOWN_THEN, NEVER_SEALED)


def gaps_of(facts: Facts, span: Span, unsealed: Sequence[date]) -> tuple[Gap, ...]:
    gaps = [
        Gap(
            what="all measures",
            when=day.isoformat(),
            reason=NEVER_SEALED,
        )
        for day in unsealed
    ]
    flash = [day.day for day in facts.days if day.flash]
    if span.kind != Kind.DAILY:
        # A daily report of such a day is a FLASH, which says so; a longer one lacks the rest of it.
        gaps += [
            Gap(what="the end of the day", when=day.isoformat(), reason=ENDED_LATER)
            for day in flash
        ]
    for measure in MEASURES:
        for day, fact in facts.of(measure):
            gone = absence(fact)
            if gone and (gone in NOT_LACKING or (gone.why is Why.NOT_ENDED and day in flash)):
                continue
            if gone and gone.why not in NO_GAP:
                gaps.append(Gap(what=measure.title, when=day.isoformat(), reason=gone))
            elif isinstance(fact, PnlFact):
                gaps += _unvalued(day, fact)
    for sealed in facts.days:
        for finding in sealed.findings:
            if finding.severity == "error":
                reason = Missing(why=Why.NOT_MEASURED, detail=ours(finding.detail))
                what = f"{finding.check} ({finding.count})"
                gaps.append(Gap(what=what, when=sealed.day.isoformat(), reason=reason))
    return tuple(gaps)


def unmeasured(facts: Facts, found: Sequence[Standing], label: str) -> list[Gap]:
    """Promises of which the period has no data at all, where their measure as such was made."""
    gaps = []
    for standing in found:
        indicator = standing.objective.indicator
        if standing.verdict is not Verdict.UNKNOWN or isinstance(indicator, ReportFigure):
            continue
        measure = UPTIME if isinstance(indicator, State) else SERVICE_LEVELS
        if isinstance(facts.merged(measure), Missing):
            continue  # told of the measure as a whole
        share = standing.share
        if isinstance(share, Missing):
            gaps.append(Gap(what=standing.objective.title, when=label, reason=share))
        elif not share.low and share.high == 1:
            reason = Missing(why=Why.NO_DATA, detail="nothing was seen of it at any time")
            gaps.append(Gap(what=standing.objective.title, when=label, reason=reason))
    return gaps


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


def findings_of(days: Sequence[Cited]) -> tuple[Finding, ...]:
    """Findings of all days, counted together by check."""
    merged: dict[str, Finding] = {}
    for cited in days:
        for finding in cited.sealed.findings:
            seen = merged.get(finding.check)
            if seen is None:
                # Sealed in English: a day is closed once, and printed in any locale.
                merged[finding.check] = finding.model_copy(update={"detail": ours(finding.detail)})
            else:
                merged[finding.check] = finding.model_copy(
                    update={
                        "count": seen.count + finding.count,
                        "samples": (*seen.samples, *finding.samples)[:5],
                    }
                )
    order = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(merged.values(), key=lambda f: (order[f.severity], f.check)))


def attention_of(
    sections: Sequence[Section],
    facts: Facts,
    gaps: Sequence[Gap],
    tests: Sequence[Backtest],
    findings: Sequence[Finding],
    days: Sequence[Cited],
    composed: Sequence[Attention],
) -> tuple[Attention, ...]:
    """What a person should look at, the worst first."""
    found = []
    for test in tests:
        for level in reversed(LEVELS):
            if test.is_exception(level):
                pct = said_pct(level)
                words = (
                    f"{test.day}: the loss of {numeral(-test.actual, ',.0f')} {test.currency} "
                    f"before fees was beyond VaR {pct} % of "
                    f"{numeral(test.var[level], ',.0f')} {test.currency}."
                )
                judged = level == JUDGED
                found.append(
                    Attention(severity="alarm" if judged else "warning", text=words, section="var")
                )
                break
    for section in sections:
        for figure in section.figures:
            if figure.verdict in (Verdict.MET, None) or section.id == "checklists":
                continue
            missed = figure.verdict is Verdict.MISSED
            promised = figure.target.words() if figure.target else figure.note
            found.append(
                Attention(
                    severity="alarm" if missed else "warning",
                    text=f"{figure.label}: {promised} "
                    f"{'missed' if missed else 'not decidable, too much is unknown'}.",
                    section=section.id,
                )
            )
    found += composed
    found += _unseen(facts.merged(UPTIME), sections)
    last = fact_from(MEASURES[0], days[-1].sealed.facts["pnl"])
    if isinstance(last, PnlFact):
        for rate in stale_rates(last):
            touched = (
                ""
                if rate.value is None
                else f"; it translates {numeral(rate.value, ',.0f')} {rate.currency}"
            )
            found.append(
                Attention(
                    severity="warning",
                    text=f"The rate {rate.currency}/{last.base} is stale ({rate.source}){touched}.",
                    section="pnl",
                )
            )
        for mark in last.marks:
            if mark.stale or mark.price is None:
                state = (
                    "stale, from " + mark.marked_at[:10] if mark.price is not None else "missing"
                )
                touched = (
                    ""
                    if mark.value is None
                    else f"; it values {numeral(mark.value, ',.0f')} {mark.currency}"
                )
                found.append(
                    Attention(
                        severity="warning",
                        text=f"The mark of {mark.symbol} is {state}{touched}.",
                        section="marks",
                    )
                )
    if gaps:
        found.append(Attention(severity="alarm", text=missing_words(len(gaps)), section="gaps"))
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


def missing_words(number: int) -> str:
    return "1 value is missing." if number == 1 else f"{number} values are missing."


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
        f"{t.title} ({numeral(Decimal(t.unknown_ms * 100) / t.window_ms, '.1f')} %)"
        for t in unseen[:4]
    )
    more = f" and {len(unseen) - 4} more" if len(unseen) > 4 else ""
    return [
        Attention(
            severity="warning",
            text=f"No data for part of the time, so neither up nor down: {listed}{more}.",
            section="uptime",
        )
    ]
