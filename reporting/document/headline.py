"""The few figures of the first page, with their series and their last change."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ..facts import MEASURES
from ..measures.fill_rate import FillRateFact, in_full
from ..measures.pnl import daily_net
from ..measures.slippage import SlippageFact, bps
from ..measures.uptime import UPTIME
from ..measures.var import VAR_LEVEL, VarFact
from ..model import (
    EXACT,
    Bps,
    Exact,
    Missing,
    Money,
    Number,
    Shown,
    Why,
)
from ..page import (
    Figure,
    Point,
    Section,
    Verdict,
)
from ..periods import Span
from .history import Facts


def headline(
    sections: Sequence[Section], facts: Facts, span: Span, base: str
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


def _series(facts: Facts, name: str, value: Any) -> list[Point]:
    return [
        Point(day=day, value=fact if isinstance(fact, Missing) else value(fact))
        for day, fact in facts.with_trail(name)
    ]


def _var_99(fact: VarFact) -> Exact | Missing:
    found = fact.days[-1].at(VAR_LEVEL)
    return found if isinstance(found, Missing) else found.var


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


def _worst_availability(section: Section, facts: Facts) -> Figure:
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
