"""P&L of the day, week, month, quarter and year to date, from the sealed days one by one.

Each figure is the sum of the days' own, every day in base at its own closing rate. For net P&L the
sum is the same number as one calculation over the whole stretch: a day's net is V₁·fx₁ − V₀·fx₀
with V = cash + market value, one day closes with what the next one opens with, and so the sum
telescopes. Realised P&L and fees are not the same number: over the whole stretch they would all be
translated at the last rate, and what the rate did in between would stand under FX. The sum of the
days is what was reported day by day, and stays so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ..measures.pnl import PnlFact, Totals, totals
from ..model import Count, Missing, Money, Shown, Why, exact_sum
from ..page import Column, Figure, Section, Table, text
from ..periods import (
    Span,
    first_of_month,
    first_of_quarter,
    first_of_week,
    first_of_year,
    in_spans,
    sessions_between,
)
from .history import NO_GAP, Facts

SHORT = {"dtd": "Day", "wtd": "Week", "mtd": "Month", "qtd": "Quarter", "ytd": "Year"}
#: What is summed, and the column's label.
AMOUNTS = {
    "net": "Net",
    "gross": "Gross",
    "realised": "Realised",
    "fees": "Fees",
    "fx": "FX",
}


@dataclass(frozen=True)
class ToDate:
    """One stretch up to the report's last session.

    ``counted`` sessions have a P&L (none was made on a session without trades and positions, which
    counts with 0); ``missing`` ones should have one and have not; ``late`` is the day on which the
    ledger began, where that is after the stretch did, else None.
    """

    key: str
    first: date
    last: date
    days: tuple[Totals, ...]
    counted: int
    missing: tuple[date, ...]
    late: date | None

    def sum_of(self, name: str) -> Decimal:
        """The known days' sum of one amount."""
        return exact_sum(getattr(day, name) for day in self.days)


def to_date(facts: Facts, span: Span, calendar: str, base: str) -> tuple[ToDate, ...]:
    """Day, week, month, quarter and year up to the last session of ``span``, in this order."""
    sessions = sessions_between(first_of_year(span.last), span.last, calendar)
    last = sessions[-1] if sessions else span.last
    starts = {
        "dtd": last,
        "wtd": first_of_week(span.last),
        "mtd": first_of_month(span.last),
        "qtd": first_of_quarter(span.last),
        "ytd": first_of_year(span.last),
    }
    begin, began = min(starts.values()), facts.began()
    known: dict[date, Totals | Missing] = {
        day: fact if isinstance(fact, Missing) else _totals(fact, base)
        for day, fact in facts.history("pnl", begin)
    }
    found = []
    for key, first in starts.items():
        days = [d for d in sessions_between(first, last, calendar) if d >= began]
        made = [known.get(d, NOT_SEALED) for d in days]
        gone = [
            d
            for d, x in zip(days, made, strict=True)
            if isinstance(x, Missing) and x.why not in NO_GAP
        ]
        found.append(
            ToDate(
                key=key,
                first=first,
                last=last,
                days=tuple(x for x in made if isinstance(x, Totals)),
                counted=len(days) - len(gone),
                missing=tuple(gone),
                # Sessions, not days: a year does not begin late because of New Year's Day.
                late=began if sessions_between(first, last, calendar)[:1] < (began,) else None,
            )
        )
    return tuple(found)


NOT_SEALED = Missing(why=Why.NOT_SEALED)


def _totals(fact: PnlFact, base: str) -> Totals | Missing:
    """A day's P&L in base; Missing too where a part of it could not be valued."""
    if fact.base != base:
        return Missing(why=Why.NO_DATA, detail=f"sealed in {fact.base}")
    found = totals(fact)
    if isinstance(found, Totals) and found.unvalued:
        listed = ", ".join(found.unvalued[:3])
        return Missing(why=Why.NO_MARK, detail=f"never marked: {listed}")
    return found


def with_to_date(section: Section, facts: Facts, span: Span, calendar: str, base: str) -> Section:
    """Add the table and figures to the P&L section."""
    stretches = to_date(facts, span, calendar, base)
    if not any(s.counted or s.missing for s in stretches):
        return section
    figures = tuple(
        Figure(
            id=f"pnl.net_{s.key}",
            label=f"Net P&L, {SHORT[s.key].lower()} to date",
            value=_amount(s, "net", base),
        )
        for s in stretches
        if s.key != "dtd"  # the day's own is there already, or the longer report's last day's
    )
    tables = list(section.tables)
    tables.insert(0, _table(stretches, base))
    return section.model_copy(
        update={"figures": (*section.figures, *figures), "tables": tuple(tables)}
    )


def _amount(of: ToDate, name: str, base: str, *, in_words: bool = True) -> Shown:
    """The sum, or how much of it is missing: a part is not passed off as the whole."""
    if of.missing:
        number, all_ = len(of.missing), of.counted + len(of.missing)
        detail = f"at least {number} of {all_} sessions missing" if in_words else ""
        return Missing(why=Why.NOT_SEALED, detail=detail)
    if not of.counted:
        return Missing(why=Why.NO_SESSION, detail="no session yet")
    return Money(amount=of.sum_of(name), currency=base)


def _table(stretches: Sequence[ToDate], base: str) -> Table:
    rows = tuple(
        (
            text(SHORT[s.key]),
            *(_amount(s, name, base, in_words=name == "net") for name in AMOUNTS),
            Count(value=s.counted),
            Count(value=len(s.missing)),
            text((s.late or s.first).isoformat()),
            Money(amount=s.sum_of("net"), currency=base),
            text(in_spans(s.missing)),
        )
        for s in stretches
    )
    notes = [
        f"To the close of {stretches[-1].last}: sums of the days' own, each at its closing rate"
    ]
    late: Mapping[str, date] = {SHORT[s.key].lower(): s.late for s in stretches if s.late}
    if late:
        began = next(iter(late.values()))
        notes.append(f"the ledger begins on {began}, from which {_listed(list(late))} count")
    gone = sorted({d for s in stretches for d in s.missing})
    if gone:
        notes.append(f"not sealed or not known: {in_spans(gone)}")
    return Table(
        id="pnl_to_date",
        title="P&L to date",
        columns=(
            Column(key="stretch", label="To date", align="left"),
            *(Column(key=name, label=label) for name, label in AMOUNTS.items()),
            Column(key="sessions", label="Sessions"),
            Column(key="missing", label="Missing"),
            Column(key="first", label="Counted from", align="left"),
            Column(key="net_known", label="Net of the known sessions", shown=False),
            Column(key="missing_days", label="Missing sessions", align="left", shown=False),
        ),
        rows=rows,
        note="; ".join(notes) + ".",
    )


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
