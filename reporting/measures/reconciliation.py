"""Positions and cash as our book has them against what custodians, brokers and exchanges state.

A statement covers a whole account at one instant: what is ours and not in it is a break against 0,
and so is what is in it and not ours. A break is ours − theirs, exact, in units of the instrument or
in the currency; a position break is worth difference × multiplier × mark in its own currency.

How old a break is follows from the days together: the sessions since it first stood there with the
same sign, without a session in between that saw it gone. Breaks do not add up over days, so the
facts of several days stay a series, as value at risk does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import AwareDatetime

from ..book import BookDay
from ..model import (
    EXACT,
    Count,
    Currency,
    Exact,
    Frame,
    Frames,
    Missing,
    Moment,
    Money,
    Number,
    Ratio,
    Shown,
    Value,
    Why,
)
from ..numerals import numeral
from ..page import Attention, Column, Figure, Section, Table, Verdict, text
from ..periods import TradingDay, in_spans
from . import Context, Measure

Kind = Literal["position", "cash"]
#: The threshold up to which a difference of cash is no break, in units of its currency.
TOLERANCE = "reconciliation_cash_tolerance"
#: Statements are optional: a ledger that has none promises nothing, and its reports lack nothing.
NO_STATEMENTS = Missing(
    why=Why.NOT_MEASURED, detail="the ledger has no statements of positions or cash"
)


class Statement(Value):
    """The newest statement of one source about one account, and how much of it was compared.

    ``compared`` counts the items that either side has; ``agreed`` those with no difference at all.
    ``stale`` is one from before the session began.
    """

    kind: Kind
    source: str
    account: str
    stated_at: AwareDatetime
    stale: bool
    compared: int
    agreed: int


class Break(Value):
    """One item on which our book and a statement differ at a session's close.

    ``item`` is an instrument's identifier or a currency, ``name`` how people call it. ``value`` is
    the difference at the mark, None where there is no mark.
    """

    kind: Kind
    source: str
    account: str
    item: str
    name: str
    currency: Currency
    ours: Exact
    theirs: Exact
    value: Exact | None

    @property
    def difference(self) -> Decimal:
        """Ours − theirs."""
        return EXACT.subtract(self.ours, self.theirs)

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same break on another day, with the sign of its difference."""
        sign = "+" if self.difference > 0 else "-"
        return (self.kind, self.source, self.account, self.item, sign)


class ReconciledDay(Value):
    """The comparison at one close. ``unstated`` are accounts that no source speaks of, by kind."""

    day: date
    statements: tuple[Statement, ...]
    breaks: tuple[Break, ...]
    unstated: tuple[tuple[Kind, str], ...]


class ReconciliationFact(Value):
    """The comparisons of one or more closes, in order of day."""

    days: tuple[ReconciledDay, ...]


@dataclass(frozen=True)
class Aged:
    """A break over several sessions: as it was last seen, since when, and for how many sessions.

    ``at_least`` where the facts do not reach back to its first session.
    """

    last: Break
    first: date
    seen: date
    sessions: int
    at_least: bool
    stale: bool


# --- one day --------------------------------------------------------------------------------


def of_day(day: TradingDay, frames: Frames) -> ReconciliationFact | Missing:
    """Compare the closing book with the newest statement of each source and account."""
    book = frames["book"]
    if isinstance(book, Missing):
        return book
    assert isinstance(book, BookDay) and day.trading is not None
    stated = {
        kind: frame.table
        for kind, name in (("position", "reported_positions"), ("cash", "reported_cash"))
        if isinstance(frame := frames.get(name), Frame) and not frame.table.empty
    }
    if not stated:
        return NO_STATEMENTS
    priced = _Priced(frames)
    statements: list[Statement] = []
    breaks: list[Break] = []
    unstated: list[tuple[Kind, str]] = []
    ours: dict[Kind, dict[str, dict[str, Decimal]]] = {
        "position": _positions(book),
        "cash": _cash(book),
    }
    for kind, of_kind in ours.items():
        if kind not in stated:
            unstated += [(kind, account) for account, held in of_kind.items() if held]
            continue
        said: dict[tuple[str, str], dict[str, Decimal]] = {}
        when: dict[tuple[str, str], datetime] = {}
        item, amount = (
            ("instrument_id", "quantity") if kind == "position" else ("currency", "balance")
        )
        for row in stated[kind].to_dict("records"):
            key = (str(row["source"]), str(row["account_id"]))
            said.setdefault(key, {})[str(row[item])] = row[amount]
            when[key] = row["stated_at"].astimezone(UTC)
        covered = {account for _, account in said}
        unstated += [(kind, a) for a, held in of_kind.items() if held and a not in covered]
        for (source, account), theirs in sorted(said.items()):
            held = of_kind.get(account, {})
            found = [
                priced.break_of(
                    kind, source, account, name, held.get(name, ZERO), theirs.get(name, ZERO)
                )
                for name in sorted({*held, *theirs})
            ]
            differing = [b for b in found if b.difference]
            breaks += differing
            statements.append(
                Statement(
                    kind=kind,
                    source=source,
                    account=account,
                    stated_at=when[source, account],
                    stale=when[source, account] < day.trading.start,
                    compared=len(found),
                    agreed=len(found) - len(differing),
                )
            )
    return ReconciliationFact(
        days=(
            ReconciledDay(
                day=day.day,
                statements=tuple(statements),
                breaks=tuple(breaks),
                unstated=tuple(sorted(unstated)),
            ),
        )
    )


ZERO = Decimal(0)


def _positions(book: BookDay) -> dict[str, dict[str, Decimal]]:
    """Our signed position by account and instrument, flat ones left out."""
    return _summed((c.account, c.instrument, c.position_close) for c in book.cells)


def _cash(book: BookDay) -> dict[str, dict[str, Decimal]]:
    """Our cash by account and currency: all payments of trading, deposits and withdrawals."""
    return _summed(
        [
            *((c.account, c.currency, c.cash_close) for c in book.cells),
            *((t.account, t.currency, t.balance) for t in book.closing.transfers),
        ]
    )


def _summed(rows: Iterable[tuple[str, str, Decimal]]) -> dict[str, dict[str, Decimal]]:
    sums: dict[str, dict[str, Decimal]] = {}
    for account, item, amount in rows:
        held = sums.setdefault(account, {})
        held[item] = EXACT.add(held.get(item, ZERO), amount)
    return {a: {item: n for item, n in held.items() if n} for a, held in sums.items()}


class _Priced:
    """What a break is called and worth, from the instruments and marks as the session knew them."""

    def __init__(self, frames: Frames) -> None:
        instruments, marks = frames.get("instruments"), frames.get("marks")
        self._known = _by_instrument(instruments)
        self._price = {name: row["price"] for name, row in _by_instrument(marks).items()}

    def break_of(
        self, kind: Kind, source: str, account: str, item: str, ours: Decimal, theirs: Decimal
    ) -> Break:
        known = self._known.get(item) if kind == "position" else None
        difference = EXACT.subtract(ours, theirs)
        value: Decimal | None = difference if kind == "cash" else None
        price = self._price.get(item)
        if known is not None and price is not None:
            value = EXACT.multiply(EXACT.multiply(difference, known["multiplier"]), price)
        return Break(
            kind=kind,
            source=source,
            account=account,
            item=item,
            name=item if known is None else str(known["symbol"]),
            # A stranger's currency is not known; XXX is ISO 4217 for no currency.
            currency=item if kind == "cash" else "XXX" if known is None else known["currency"],
            ours=ours,
            theirs=theirs,
            value=value,
        )


def _by_instrument(frame: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(frame, Frame) or frame.table.empty:
        return {}
    return {str(row["instrument_id"]): row for row in frame.table.to_dict("records")}


def merge(days: Sequence[tuple[Any, ReconciliationFact]]) -> ReconciliationFact:
    """Breaks do not add up over days: the series of the days is kept."""
    return ReconciliationFact(days=tuple(d for _, fact in days for d in fact.days))


# --- several days ---------------------------------------------------------------------------


def aged(
    days: Sequence[tuple[date, ReconciliationFact | Missing]], tolerance: Decimal
) -> tuple[list[Aged], list[Aged]]:
    """Breaks that stand at the last day that has a fact, and those that are gone by then.

    ``days`` are sessions in order. One without a fact neither ends a break nor proves that it
    stood: it counts as a session of it.
    """
    open_: dict[tuple[str, ...], Aged] = {}
    gone: list[Aged] = []
    waited = 0  # sessions since the last one with a fact
    known = False
    for _, fact in days:
        if isinstance(fact, Missing):
            waited += fact.why is not Why.NO_SESSION
            continue
        for each in fact.days:
            stale = {(s.kind, s.source, s.account) for s in each.statements if s.stale}
            now = {b.key: b for b in each.breaks if counts(b, tolerance)}
            gone += [old for key, old in open_.items() if key not in now]
            standing = {}
            for key, found in now.items():
                before = open_.get(key)
                standing[key] = Aged(
                    last=found,
                    first=each.day if before is None else before.first,
                    seen=each.day,
                    sessions=1 if before is None else before.sessions + waited + 1,
                    at_least=not known if before is None else before.at_least,
                    stale=(found.kind, found.source, found.account) in stale,
                )
            open_, waited, known = standing, 0, True
    order = sorted(open_.values(), key=lambda a: (-a.sessions, a.last.key))
    return order, sorted(gone, key=lambda a: (a.seen, a.last.key), reverse=True)


def counts(found: Break, tolerance: Decimal) -> bool:
    """Whether a difference is a break: any of a position, one of cash beyond the tolerance."""
    return found.kind == "position" or abs(found.difference) > tolerance


# --- the page -------------------------------------------------------------------------------


def section(
    fact: ReconciliationFact | Missing,
    days: Sequence[tuple[Any, ReconciliationFact | Missing]],
    context: Context,
) -> Section:
    """What agrees, what does not and for how long.

    ``fact`` is of the period alone; ``days`` may begin before it, which tells how old breaks are.
    """
    if isinstance(fact, Missing):
        return Section(
            id=RECONCILIATION.name, title=RECONCILIATION.title, summary=f"Not reconciled: {fact}."
        )
    tolerance = tolerance_of(context)
    standing, gone = aged(days, tolerance)
    resolved = [a for a in gone if a.seen >= context.span.first or _ends_in(a, days, context)]
    last = fact.days[-1]
    return Section(
        id=RECONCILIATION.name,
        title=RECONCILIATION.title,
        summary=_summary(last, standing),
        verdict=_verdict(last, standing),
        figures=_figures(fact, standing, tolerance),
        tables=(
            _breaks_table("reconciliation_breaks", "Open breaks, the oldest first", standing),
            *([_breaks_table("reconciliation_resolved", "Breaks that are gone", resolved)]
              if resolved else []),
            _statements_table(last),
        ),
        notes=_notes(last, tolerance, days, context),
    )  # fmt: skip


def _ends_in(
    old: Aged, days: Sequence[tuple[date, ReconciliationFact | Missing]], context: Context
) -> bool:
    """Whether the first fact that saw a break gone is of the period."""
    later = (day for day, f in days if day > old.seen and not isinstance(f, Missing))
    return next(later, date.max) >= context.span.first


def tolerance_of(context: Context) -> Decimal:
    """How much cash may differ, in units of its currency; nothing unless policy says so."""
    target = context.targets.get(TOLERANCE)
    return ZERO if target is None else target.value


def attention(
    fact: ReconciliationFact | Missing,
    days: Sequence[tuple[Any, ReconciliationFact | Missing]],
    context: Context,
) -> list[Attention]:
    """The first page's lines: open breaks with count, value and oldest age; what is not covered."""
    if isinstance(fact, Missing):
        return []
    standing, _ = aged(days, tolerance_of(context))
    last, found = fact.days[-1], []

    def say(severity: Literal["alarm", "warning"], words: str) -> None:
        found.append(Attention(severity=severity, text=words, section=RECONCILIATION.name))

    if standing:
        many = _many(len(standing), "open break")
        worth = _worth(standing)
        oldest = standing[0]
        say(
            "alarm",
            f"{many} with what others state{worth}; the oldest, {oldest.last.name} in "
            f"{oldest.last.account}, has stood for {_sessions(oldest)}.",
        )
    stale = [s for s in last.statements if s.stale]
    if stale:
        oldest_at = min(s.stated_at for s in stale)
        say(
            "warning",
            f"{_many(len(stale), 'statement')} from before the session of {last.day}, the oldest "
            f"of {oldest_at.date()}: compared, and not proof of its close.",
        )
    if last.unstated:
        accounts = sorted({account for _, account in last.unstated})
        say("warning", f"No statement speaks of {_listed(accounts)}.")
    return found


def _verdict(last: ReconciledDay, standing: Sequence[Aged]) -> Verdict:
    if standing:
        return Verdict.MISSED
    if last.unstated or any(s.stale for s in last.statements):
        return Verdict.UNKNOWN
    return Verdict.MET


def _summary(last: ReconciledDay, standing: Sequence[Aged]) -> str:
    if standing:
        return (
            f"{_many(len(standing), 'open break')} at the close of {last.day}{_worth(standing)}; "
            f"the oldest has stood for {_sessions(standing[0])}."
        )
    stale = sum(s.stale for s in last.statements)
    if stale or last.unstated:
        lacking = [
            *([f"{_many(stale, 'statement')} from before the session"] if stale else []),
            *([f"{_many(len(last.unstated), 'account')} without one"] if last.unstated else []),
        ]
        return f"What was stated agrees at the close of {last.day}; {' and '.join(lacking)}."
    return f"Every position and balance at the close of {last.day} is what others state."


def _worth(standing: Sequence[Aged]) -> str:
    """ ", worth 1,200 USD and 30 EUR": absolute values by currency, the unvalued counted."""
    sums: dict[str, Decimal] = {}
    unknown = 0
    for each in standing:
        if each.last.value is None:
            unknown += 1
        else:
            before = sums.get(each.last.currency, ZERO)
            sums[each.last.currency] = EXACT.add(before, abs(each.last.value))
    words = [f"{numeral(amount, ',.2f')} {currency}" for currency, amount in sorted(sums.items())]
    more = f" and {unknown} without a mark" if unknown and words else ""
    return f", worth {' and '.join(words)}{more}" if words else ""


def _sessions(old: Aged) -> str:
    return f"{'at least ' if old.at_least else ''}{_many(old.sessions, 'session')}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def _figures(
    fact: ReconciliationFact, standing: Sequence[Aged], tolerance: Decimal
) -> tuple[Figure, ...]:
    figures = []
    labels: Mapping[Kind, tuple[str, str]] = {
        "position": ("positions_matched", "Positions that match"),
        "cash": ("cash_matched", "Cash balances that match"),
    }
    for kind, (name, label) in labels.items():
        compared = [s for d in fact.days for s in d.statements if s.kind == kind]
        value: Shown
        if compared:
            broken = sum(
                counts(b, tolerance) for d in fact.days for b in d.breaks if b.kind == kind
            )
            all_ = sum(s.compared for s in compared)
            value = Ratio(numerator=Decimal(all_ - broken), denominator=Decimal(all_))
        else:
            value = Missing(why=Why.NOT_MEASURED, detail=f"no statement of {kind}s")
        figures.append(Figure(id=f"{RECONCILIATION.name}.{name}", label=label, value=value))
    oldest = standing[0] if standing else None
    figures.append(
        Figure(
            id=f"{RECONCILIATION.name}.oldest_break_sessions",
            label="Sessions that the oldest open break has stood",
            value=Count(value=oldest.sessions if oldest else 0),
            note="at least: what is known begins with it" if oldest and oldest.at_least else "",
        )
    )
    return tuple(figures)


def _breaks_table(id: str, title: str, breaks: Sequence[Aged]) -> Table:
    def amount(of: Break, number: Decimal) -> Shown:
        if of.kind == "cash":
            return Money(amount=number, currency=of.currency)
        return Number(value=number)

    no_mark = Missing(why=Why.NO_MARK)
    rows = []
    for each in breaks:
        b = each.last
        value = no_mark if b.value is None else Money(amount=b.value, currency=b.currency)
        rows.append(
            (
                text(b.kind), text(b.account), text(b.name), text(b.source),
                amount(b, b.ours), amount(b, b.theirs), amount(b, b.difference), value,
                Count(value=each.sessions), text(each.first.isoformat()),
                text(each.seen.isoformat()), text("at least" if each.at_least else "exact"),
                text("stale" if each.stale else "of the session"), text(b.item),
            )
        )  # fmt: skip
    return Table(
        id=id,
        title=title,
        columns=(
            Column(key="kind", label="Kind", align="left"),
            Column(key="account", label="Account", align="left"),
            Column(key="name", label="Item", align="left"),
            Column(key="source", label="Stated by", align="left"),
            Column(key="ours", label="Ours"),
            Column(key="theirs", label="Theirs"),
            Column(key="difference", label="Ours − theirs"),
            Column(key="value", label="Worth"),
            Column(key="sessions", label="Sessions"),
            Column(key="first", label="Since", align="left", shown=False),
            Column(key="seen", label="Last seen", align="left", shown=False),
            Column(key="age_is", label="Age is", align="left", shown=False),
            Column(key="statement", label="Statement", align="left", shown=False),
            Column(key="item", label="Identifier", align="left", shown=False),
        ),
        rows=tuple(rows),
        top=12,
    )


def _statements_table(last: ReconciledDay) -> Table:
    """What was compared, by source and kind; the page has no room for a row an account."""
    groups: dict[tuple[str, Kind], list[Statement]] = {}
    for each in last.statements:
        groups.setdefault((each.source, each.kind), []).append(each)
    return Table(
        id="reconciliation_statements",
        title=f"Statements behind the close of {last.day}",
        columns=(
            Column(key="source", label="Stated by", align="left"),
            Column(key="kind", label="Kind", align="left"),
            Column(key="accounts", label="Accounts"),
            Column(key="stale", label="Stale"),
            Column(key="compared", label="Compared"),
            Column(key="agreed", label="Without a difference"),
            Column(key="stated_at", label="Oldest stated at", align="left"),
        ),
        rows=tuple(
            (
                text(source),
                text(kind),
                Count(value=len(of)),
                Count(value=sum(s.stale for s in of)),
                Count(value=sum(s.compared for s in of)),
                Count(value=sum(s.agreed for s in of)),
                Moment(at=min(s.stated_at for s in of)),
            )
            for (source, kind), of in sorted(groups.items())
        ),
        top=8,
    )


def _notes(
    last: ReconciledDay,
    tolerance: Decimal,
    days: Sequence[tuple[Any, ReconciliationFact | Missing]],
    context: Context,
) -> tuple[str, ...]:
    notes = [
        "A statement speaks for its whole account: what only one side has is a break against 0. "
        "Our side is the book at the close; trades after the statement's instant show as breaks."
    ]
    if tolerance:
        inside = [b for b in last.breaks if not counts(b, tolerance)]
        notes.append(
            f"{_many(len(inside), 'difference')} of cash up to {tolerance} of a currency's unit "
            "counted as agreeing."
        )
    if last.unstated:
        listed = _listed([f"{account} ({kind})" for kind, account in last.unstated])
        notes.append(f"Held and stated by nobody: {listed}.")
    unknown = [
        day
        for day, f in days
        if isinstance(f, Missing) and f.why is not Why.NO_SESSION and day >= context.span.first
    ]
    if unknown:
        notes.append(f"Not compared on {in_spans(unknown)}.")
    return tuple(notes)


RECONCILIATION: Measure[ReconciliationFact] = Measure(
    name="reconciliation",
    title="Position and cash reconciliation",
    unit="breaks",
    every_day=False,
    reads=("book",),
    fact=ReconciliationFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="ours − theirs at the close, item by item; a statement covers its whole account",
)
