"""The few figures of the first page, with their series and their last change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from ..facts import MEASURES
from ..measures.fill_rate import FillRateFact, in_full
from ..measures.pnl import daily_net
from ..measures.slippage import SlippageFact, bps
from ..measures.uptime import UPTIME, UptimeFact, availability
from ..measures.var import VAR_LEVEL, VarFact
from ..model import (
    EXACT,
    WIDE,
    Bps,
    Exact,
    Missing,
    Money,
    Number,
    Shown,
    Why,
    exact_sum,
)
from ..page import (
    Figure,
    Point,
    Section,
    Verdict,
)
from ..periods import Span, sessions_between
from ..periods import span as span_of
from .analyses import TRAILING_DAYS
from .history import BY_NAME, NO_GAP, Facts


def headline(
    sections: Sequence[Section], facts: Facts, span: Span, base: str, calendar: str
) -> tuple[Figure, ...]:
    """The few figures of the first page, with their series and their last change.

    A day is compared with the session before it; a longer period's result with that of the period
    before, and its level (VaR, slippage, fill rate) with what it was before the period began.
    """
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
            if span.kind == "daily":
                chosen.append(_with_change(figure, points))
            else:
                chosen.append(_since_before(figure, points, facts, span, calendar))
            continue
        section = by_id[key.split(".")[0]]
        reason = facts.merged(next(m for m in MEASURES if m.name == section.id))
        if not isinstance(reason, Missing):
            reason = Missing(why=Why.NO_DATA, detail=f"no {key}")
        chosen.append(Figure(id=key, label=section.title, value=reason))
    exposure = [
        _with_level_change(figures[key], _series(facts, "var", _gross), span)
        for key in ("var.gross",)
        if key in figures
    ]
    return (*chosen, _worst_availability(by_id["uptime"], facts, span), *exposure)


def _series(facts: Facts, name: str, value: Any) -> list[Point]:
    return [
        Point(day=day, value=fact if isinstance(fact, Missing) else value(fact))
        for day, fact in facts.with_trail(name)
    ]


def _var_99(fact: VarFact) -> Exact | Missing:
    found = fact.days[-1].at(VAR_LEVEL)
    return found if isinstance(found, Missing) else found.var


def _gross(fact: VarFact) -> Exact | Missing:
    return fact.days[-1].gross


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
    return value.quantize(Decimal("0.0001"), context=WIDE)


def _with_change(figure: Figure, points: Sequence[Point]) -> Figure:
    """The change since the session before, where both have a value."""
    if len(points) < 2:
        return figure
    before, now = points[-2], points[-1]
    if isinstance(before.value, Missing) or isinstance(now.value, Missing):
        return figure
    return _changed(figure, before.value, now.value, f"since {before.day.isoformat()}")


def _changed(figure: Figure, before: Decimal, now: Decimal, label: str) -> Figure:
    change = EXACT.subtract(now, before)
    shown: Shown
    if isinstance(figure.value, Money):
        shown = Money(amount=change, currency=figure.value.currency)
    elif isinstance(figure.value, Bps):
        shown = Number(value=change, unit="bps")
    else:
        shown = Number(value=change, unit="points")
    return figure.model_copy(update={"change": shown, "change_label": label})


def _since_before(
    figure: Figure, points: Sequence[Point], facts: Facts, span: Span, calendar: str
) -> Figure:
    """The change of a longer period's figure; none where what came before is not known whole."""
    if figure.id == "var.var_99":
        return _with_level_change(figure, points, span)
    before = span_of(span.kind, span.first - timedelta(1))
    if figure.id == "pnl.net":
        sums = [
            p.value
            for p in daily_net(facts.history("pnl", before.first))
            if p.day <= before.last and not _is_idle(p.value)
        ]
        known = [v for v in sums if not isinstance(v, Missing)]
        sessions = sessions_between(before.first, before.last, calendar)
        began = facts.began() <= sessions[0] if sessions else False
        if not began or len(known) < len(sums) or not isinstance(figure.value, Money):
            return figure
        sealed = {d for d, _ in facts.history("pnl", before.first)}
        if any(day not in sealed for day in sessions):
            return figure
        return _changed(figure, exact_sum(known), figure.value.amount, f"against {before.label}")
    return _rate_since_before(figure, facts, before, span, calendar)


def _with_level_change(figure: Figure, points: Sequence[Point], span: Span) -> Figure:
    """The series of a value that stands at each close, and its change since before the period."""
    inside = [p for p in points if p.day >= span.first]
    trail = [p for p in points if p.day < span.first]
    drawn = figure.model_copy(update={"series": tuple(points)})
    return _with_change(drawn, [trail[-1], inside[-1]]) if trail and inside else drawn


def _is_idle(value: Exact | Missing) -> bool:
    """A session on which nothing was held or traded has no result, and adds none."""
    return isinstance(value, Missing) and value.why in NO_GAP


def _rate_since_before(
    figure: Figure, facts: Facts, before: Span, span: Span, calendar: str
) -> Figure:
    """Slippage or fill rate against the period before or, of a long one, the days that are read."""
    name = figure.id.partition(".")[0]
    measure = BY_NAME[name]
    first = max(before.first, span.first - timedelta(TRAILING_DAYS))
    pairs = [(d, f) for d, f in facts.since(name, first) if d < span.first]
    sessions = sessions_between(first, before.last, calendar)
    gone = [f for d, f in pairs if isinstance(f, Missing) and f.why not in NO_GAP]
    present = [(d, f) for d, f in pairs if not isinstance(f, Missing)]
    if gone or not present or any(day not in dict(pairs) for day in sessions):
        return figure
    merged, now = measure.merge(present), facts.merged(measure)
    of = _fill_rate if name == "fill_rate" else lambda f: _slippage(f, figure.id.partition(".")[2])
    was, is_ = of(merged), Missing(why=Why.NO_DATA) if isinstance(now, Missing) else of(now)
    if isinstance(was, Missing) or isinstance(is_, Missing):
        return figure
    label = before.label if first == before.first else f"the {TRAILING_DAYS} days before"
    return _changed(figure, was, is_, f"against {label}")


def _worst_availability(section: Section, facts: Facts, span: Span) -> Figure:
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
    target = worst.id.partition(".")[2]
    points = _series(facts, "uptime", lambda f: _availability_pct(f, target))
    if all(isinstance(p.value, Missing) for p in points):
        points = list(worst.series)  # a composite has no facts of its own
    elif span.kind == "daily":
        worst = _with_change(worst, points)
    return worst.model_copy(
        update={
            "id": "uptime.worst",
            "label": f"Worst availability: {worst.label}",
            "note": f"{met} of {len(promised)} targets met",
            "series": tuple(points),
        }
    )


def _availability_pct(fact: UptimeFact, target: str) -> Exact | Missing:
    """The lower bound of a day, in per cent."""
    for one in fact.targets:
        if one.id == target:
            share = availability(one)
            if isinstance(share, Missing):
                return share
            return _rounded(Decimal(share[0].numerator) / Decimal(share[0].denominator) * 100)
    return Missing(why=Why.NOT_MEASURED, detail="no objective on this day")


def _lower_bound(value: Shown) -> Any:
    ratio = getattr(value, "low", value)
    fraction = getattr(ratio, "fraction", None)
    return Decimal(2) if fraction is None else fraction
