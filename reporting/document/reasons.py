"""Why a figure of a new revision is another one: of each figure by itself, and never a guess.

A line of the list of differences names the days that were restated since, with the reasons that
these days give themselves, as far as such a reason can touch the figure's section; and the events
known since that are of the figure's own row: late fills, corrections and busts by their ids, marks,
rates and statements that are others now. What can't be told apart is told as what it is: closed
again with what was known by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from ..measures.pnl import NOBODY, LateFill, PnlFact
from ..model import Missing, Text
from ..page import Citation, Document, Status, Table

#: Sections that nothing but the ledger and policy can change, and such that it can't.
OF_LEDGER = frozenset(("pnl", "marks", "reconciliation", "var", "slippage", "fill_rate"))
NOT_OF_LEDGER = frozenset(("uptime", "alerts", "incidents"))
#: How a close words its own reasons.
LATE_LEDGER, LATE_INCIDENTS = "late ledger events", "late incidents"
#: Columns that say whose a row is, and the part of an event that they have to name.
NAMES = {
    "strategy": "strategy", "agent": "agent", "account": "account",
    "instrument": "symbol", "symbol": "symbol",
}  # fmt: skip
TOTAL = "Total"
MOST = 5


@dataclass(frozen=True)
class Place:
    """Where a figure stands: its section, and what its row is of, by column."""

    section: str
    row: Mapping[str, str]


@dataclass(frozen=True)
class _Changed:
    """A mark, a rate or a statement that is another one in the new revision."""

    words: str
    sections: frozenset[str]
    symbol: str = ""


class Reasons:
    """The reasons of one new revision's differences."""

    def __init__(
        self,
        before: Document,
        after: Document,
        given: str,
        pnl: Sequence[tuple[date, PnlFact | Missing]] = (),
    ) -> None:
        self._given = given
        self._final = before.status is Status.FLASH
        known = {c.day: c for c in before.citations}
        self._restated = [
            c for c in after.citations if c.day in known and c.revision > known[c.day].revision
        ]
        since = {c.day: (known[c.day].known_at, c.known_at) for c in self._restated}
        self._late = [
            event
            for day, fact in pnl
            if day in since and isinstance(fact, PnlFact)
            for event in fact.late
            if since[day][0] < event.recorded_at <= since[day][1]
        ]
        self._changed = [*_marks(before, after), *_rates(before, after), *_stated(before, after)]
        self._policy = before.policy_digest != after.policy_digest
        self._versions = (before.version, after.version)

    def of(self, place: Place) -> str:
        """Why the figure at ``place`` is another one."""
        if self._final or not (self._restated or self._policy):
            return self._given
        parts = _by_reason(self._restated, place.section)
        if place.section not in NOT_OF_LEDGER:
            parts += self._events(place)
        if self._policy:
            parts.append("policy changed")
        if self._versions[0] != self._versions[1]:
            parts.append("made by version {1}, before by {0}".format(*self._versions))
        return "; ".join(parts) or self._given

    def _events(self, place: Place) -> list[str]:
        fills = [_fill_words(e) for e in self._late if _is_of(e, place.row)]
        symbols = [place.row[c] for c in ("instrument", "symbol") if c in place.row]
        others = [
            c.words
            for c in self._changed
            if place.section in c.sections
            and (not c.symbol or not symbols or {c.symbol, TOTAL} & {*symbols})
        ]
        found = [*fills, *others]
        more = [f"{len(found) - MOST} more"] if len(found) > MOST else []
        return ["known since: " + ", ".join([*found[:MOST], *more])] if found else []


def _by_reason(restated: Sequence[Citation], section: str) -> list[str]:
    """The days' own reasons where they can touch the section, each with its days."""
    days: dict[str, list[str]] = {}
    for cited in restated:
        reason = cited.reason
        strange = (reason.startswith(LATE_LEDGER) and section in NOT_OF_LEDGER) or (
            reason.startswith(LATE_INCIDENTS) and section in OF_LEDGER
        )
        if strange or not reason:
            reason = "closed again with what was known by then"
        days.setdefault(reason, []).append(f"{cited.day} r{cited.revision}")
    return [
        f"{', '.join(some[:3])}{f' and {len(some) - 3} more' if len(some) > 3 else ''}: {reason}"
        for reason, some in days.items()
    ]


def _is_of(event: LateFill, row: Mapping[str, str]) -> bool:
    """Whether an event is of a figure's row; one that tells of nobody is of all."""
    wanted = {NAMES[c]: words for c, words in row.items() if c in NAMES and words != TOTAL}
    return all((getattr(event, name) or NOBODY) == words for name, words in wanted.items())


def _fill_words(event: LateFill) -> str:
    names = " ".join(x for x in (event.strategy, event.symbol) if x)
    of = f" of {event.refers_to}" if event.refers_to else ""
    return f"{event.kind} {event.fill_id}{of} ({names})"


def _table(document: Document, name: str) -> Iterable[tuple[tuple[str, ...], tuple[object, ...]]]:
    tables: list[Table] = [t for s in document.sections for t in s.tables if t.id == name]
    for table in tables:
        for row in table.rows:
            yield tuple(cell.text for cell in row if isinstance(cell, Text)), row


def _marks(before: Document, after: Document) -> list[_Changed]:
    # Price, source and time: not the value, which other events change.
    old, new = (
        {words[0]: (row[2], row[4], row[5]) for words, row in _table(d, "pnl_marks")}
        for d in (before, after)
    )
    sections = frozenset(("pnl", "marks", "var", "reconciliation", "strategies"))
    return [
        _Changed(f"another mark of {name}", sections, name)
        for name in new
        if name in old and old[name] != new[name]
    ]


def _rates(before: Document, after: Document) -> list[_Changed]:
    old, new = (
        {words[0]: (row[2], row[3]) for words, row in _table(d, "pnl_fx")} for d in (before, after)
    )
    sections = frozenset(("pnl", "var", "strategies"))
    return [
        _Changed(f"another rate of {name}", sections)
        for name in new
        if name in old and old[name] != new[name]
    ]


def _stated(before: Document, after: Document) -> list[_Changed]:
    # How many accounts and when: not how much of them agreed, which our own book changes.
    old, new = (
        {words: (row[2], row[6]) for words, row in _table(d, "reconciliation_statements")}
        for d in (before, after)
    )
    sections = frozenset(("reconciliation",))
    return [
        _Changed(f"another statement of {' '.join(words)}", sections)
        for words in new
        if old.get(words) != new[words]
    ]
