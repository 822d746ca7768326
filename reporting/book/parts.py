"""A session in parts: whole account × instrument keys each, worked out alone, joined by adding up.

What a fill does to the book touches its own key only, so that parts need not know of each other;
what is worked out on the way is then as large as a part and not as the day. Orders go with their
key too. A day in which a fill's order, or an order and the one that it replaces, stand in different
parts is not divided: it is the same work in one piece.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..model import EXACT, Finding, Frame
from . import Book, BookDay, MarkUsed
from .execution import ORDER_CELL, SLIPPAGE_CELL, Executions
from .fifo import Ints
from .packed import Names, Packed, Texts, Words
from .session import SAMPLES

#: Fills that are worked out at once: what is needed for them then takes some hundred MiB.
PART = 125_000


@dataclass(frozen=True)
class Part:
    """Some keys' share of a session, with what they carried into it."""

    opening: Book
    fills: Frame
    orders: Frame
    earlier: Frame


def parts(
    opening: Book, fills: Frame, orders: Frame, earlier: Frame, size: int = PART
) -> Iterator[Part]:
    """The session in parts of some ``size`` fills, or more where one key has more."""
    count = -(-fills.coverage.rows // size)
    whole = Part(opening, fills, orders, earlier)
    if count < 2 or not isinstance(fills, Packed) or not isinstance(orders, Packed):
        yield whole
        return
    keys = _Keys(opening, fills, orders)
    part = keys.divided(count)
    of_fill, of_order = part[keys.of_fill], part[keys.of_order]
    rows = [(np.flatnonzero(of_fill == n), np.flatnonzero(of_order == n)) for n in range(count)]
    if _crossed(fills, orders, rows):
        yield whole
        return
    before = earlier.table
    named = pa.array(before["order_id"], pa.large_string())
    ids = orders.columns["order_id"]
    assert isinstance(ids, Names)
    for n, (own_fills, own_orders) in enumerate(rows):
        own = pc.is_in(named, value_set=ids.texts(own_orders)) if len(before) else named
        yield Part(
            opening=keys.share(opening, part, n),
            fills=fills.rows(own_fills),
            orders=orders.rows(own_orders),
            earlier=Frame(before[np.asarray(own, bool)], earlier.coverage),
        )


class _Keys:
    """Account × instrument as one number, the same for fills, orders and the carried book."""

    def __init__(self, opening: Book, fills: Packed, orders: Packed) -> None:
        self._accounts: dict[str, int] = {}
        self._instruments: dict[str, int] = {}
        frames = (fills, orders)
        # Numbers for all names first: the width of a key is the number of instruments.
        pairs = [(self._codes(f, "account_id"), self._codes(f, "instrument_id")) for f in frames]
        for row in (*opening.lots, *opening.cells):
            self._accounts.setdefault(row.account, len(self._accounts))
            self._instruments.setdefault(row.instrument, len(self._instruments))
        # Rows without an account or an instrument have a key of their own, the last one.
        self._width = len(self._instruments) + 1
        self.size = (len(self._accounts) + 1) * self._width
        self.of_fill, self.of_order = (self._keys(*pair) for pair in pairs)

    def _codes(self, frame: Packed, name: str) -> Ints:
        column = frame.columns[name]
        assert isinstance(column, Words)
        known = self._accounts if name == "account_id" else self._instruments
        translate = [known.setdefault(word, len(known)) for word in column.words]
        return np.array([*translate, -1], dtype=np.int32)[column.codes()]

    def _keys(self, account: Ints, instrument: Ints) -> Ints:
        return (account * np.int32(self._width) + instrument) % np.int32(self.size)

    def divided(self, count: int) -> Ints:
        """A part for every key, so that all have about the same number of fills."""
        fills = np.bincount(self.of_fill, minlength=self.size)
        orders = np.bincount(self.of_order, minlength=self.size)
        part = np.zeros(self.size, np.int16)
        load = [(0, n) for n in range(count)]
        for key in np.argsort(-fills, kind="stable").tolist():
            if not fills[key] and not orders[key]:
                part[key] = key % count
                continue
            least, n = heapq.heappop(load)
            part[key] = n
            heapq.heappush(load, (least + int(fills[key]), n))
        return part

    def share(self, opening: Book, part: Ints, n: int) -> Book:
        """The lots and cells that part ``n`` carries."""

        def own(account: str, instrument: str) -> bool:
            key = self._accounts[account] * self._width + self._instruments[instrument]
            return bool(part[key] == n)

        return opening.model_copy(
            update={
                "lots": tuple(r for r in opening.lots if own(r.account, r.instrument)),
                "cells": tuple(c for c in opening.cells if own(c.account, c.instrument)),
            }
        )


def _crossed(fills: Packed, orders: Packed, rows: Sequence[tuple[Ints, Ints]]) -> bool:
    """Whether a link leads out of a part to an order of another."""
    filled, order, replaced = (
        fills.columns["order_id"],
        orders.columns["order_id"],
        orders.columns["replaces"],
    )
    assert isinstance(filled, Names) and isinstance(order, Names) and isinstance(replaced, Texts)
    replaces_any = len(replaced.whole()) > replaced.whole().null_count
    lost: set[str] = set()
    for own_fills, own_orders in rows:
        inside = order.distinct(own_orders)
        lost.update(filled.distinct(own_fills).lacking(inside))
        if replaces_any:
            names = replaced.whole().take(pa.array(own_orders)).drop_null()
            lost.update(Names.of(names).distinct().lacking(inside))
    if not lost:
        return False
    named = Names.of(pa.array(sorted(lost)))
    return len(named.lacking(order.distinct())) < len(lost)


def joined_book(days: Sequence[BookDay]) -> BookDay:
    """The session's book from those of its parts."""
    first = days[0]
    if len(days) == 1:
        return first
    cells = tuple(
        sorted(
            (c for d in days for c in d.cells),
            key=lambda c: (c.strategy, c.agent, c.account, c.instrument, c.currency),
        )
    )
    carried = tuple(
        sorted(
            (c for d in days for c in d.closing.cells),
            key=lambda c: (c.strategy, c.agent, c.account, c.instrument, c.currency),
        )
    )
    lots = (row for d in days for row in d.closing.lots)
    holdings = (row for d in days for row in d.holdings)
    return BookDay(
        cells=cells,
        holdings=tuple(sorted(holdings, key=lambda h: (h.account, h.instrument))),
        marks=_joined_marks(m for d in days for m in d.marks),
        closing=first.closing.model_copy(
            update={
                "lots": tuple(sorted(lots, key=lambda row: (row.account, row.instrument))),
                "cells": carried,
            }
        ),
        fills=sum(d.fills for d in days),
        findings=joined_findings(f for d in days for f in d.findings),
    )


def _joined_marks(marks: Iterable[MarkUsed]) -> tuple[MarkUsed, ...]:
    """One a instrument, with the value of all its holdings; None spreads."""
    found: dict[str, MarkUsed] = {}
    for mark in marks:
        seen = found.get(mark.instrument)
        if seen is not None:
            value: Decimal | None = None
            if seen.value is not None and mark.value is not None:
                value = EXACT.add(seen.value, mark.value)
            mark = mark.model_copy(update={"value": value})
        found[mark.instrument] = mark
    return tuple(found[name] for name in sorted(found))


def joined_executions(made: Sequence[Executions]) -> Executions:
    """The session's executions from those of its parts."""
    if len(made) == 1:
        return made[0]
    return Executions(
        slippage=_joined_rows([m.slippage for m in made], SLIPPAGE_CELL),
        orders=_joined_rows([m.orders for m in made], ORDER_CELL),
        working=sum(m.working for m in made),
        findings=joined_findings(f for m in made for f in m.findings),
    )


def _joined_rows(tables: Sequence[pd.DataFrame], by: list[str]) -> pd.DataFrame:
    full = [table for table in tables if len(table)]
    if not full:
        return tables[0]
    return pd.concat(full, ignore_index=True).sort_values(by, ignore_index=True)


def joined_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding a check, in the order in which they first occur."""
    found: dict[str, Finding] = {}
    for finding in findings:
        seen = found.get(finding.check)
        if seen is not None:
            finding = seen.model_copy(
                update={
                    "count": seen.count + finding.count,
                    "samples": tuple(sorted((*seen.samples, *finding.samples)))[:SAMPLES],
                }
            )
        found[finding.check] = finding
    return tuple(found.values())
