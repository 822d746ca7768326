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
PART = 250_000
#: Rows whose key is worked out at once.
STRETCH = 1 << 20


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
    part = keys.divided(fills, orders, count)
    of_fill, of_order = keys.parts_of(fills, part), keys.parts_of(orders, part)
    if _crossed(fills, orders, of_fill, of_order, count):
        yield whole
        return
    before = earlier.table
    named = pa.array(before["order_id"], pa.large_string())
    ids = orders.columns["order_id"]
    assert isinstance(ids, Names)
    for n in range(count):
        own_orders = np.flatnonzero(of_order == n)
        own = pc.is_in(named, value_set=ids.texts(own_orders)) if len(before) else named
        yield Part(
            opening=keys.share(opening, part, n),
            fills=fills.rows(np.flatnonzero(of_fill == n)),
            orders=orders.rows(own_orders),
            earlier=Frame(before[np.asarray(own, bool)], earlier.coverage),
        )


class _Keys:
    """Account × instrument as one number, the same for fills, orders and the carried book.

    Worked out a stretch of rows at a time: a number for each of ten million rows is 80 MB.
    """

    def __init__(self, opening: Book, fills: Packed, orders: Packed) -> None:
        accounts = [*_words(fills, "account_id").words, *_words(orders, "account_id").words]
        carried = [(row.account, row.instrument) for row in opening.lots]
        carried += [(cell.account, cell.instrument) for cell in opening.cells]
        accounts += [account for account, _ in carried]
        names = [*_words(fills, "instrument_id").words, *_words(orders, "instrument_id").words]
        names += [instrument for _, instrument in carried]
        self._accounts = {name: n for n, name in enumerate(dict.fromkeys(accounts))}
        self._instruments = {name: n for n, name in enumerate(dict.fromkeys(names))}
        # A row without its account or instrument has the last number of its kind.
        self._width = len(self._instruments) + 1
        self.size = (len(self._accounts) + 1) * self._width

    def _stretches(self, frame: Packed) -> Iterator[Ints]:
        account, instrument = (_words(frame, n) for n in ("account_id", "instrument_id"))
        of_account = np.array([*(self._accounts[w] for w in account.words), len(self._accounts)])
        of_name = np.array([*(self._instruments[w] for w in instrument.words), self._width - 1])
        accounts, instruments = account.codes(), instrument.codes()
        for start in range(0, len(accounts), STRETCH):
            rows = slice(start, start + STRETCH)
            yield of_account[accounts[rows]] * self._width + of_name[instruments[rows]]

    def divided(self, fills: Packed, orders: Packed, count: int) -> Ints:
        """A part for every key, so that all have about the same number of fills and orders."""
        weight = np.zeros(self.size, np.int64)
        for frame in (fills, orders):
            for keys in self._stretches(frame):
                weight += np.bincount(keys, minlength=self.size)
        part = np.zeros(self.size, np.int16)
        load = [(0, n) for n in range(count)]
        for key in np.argsort(-weight, kind="stable").tolist():
            least, n = heapq.heappop(load)
            part[key] = n
            # A key that only carries lots is no work to speak of, and many make some.
            heapq.heappush(load, (least + max(int(weight[key]), 1), n))
        return part

    def parts_of(self, frame: Packed, part: Ints) -> Ints:
        """The part of every row."""
        return np.concatenate([np.zeros(0, np.int16), *(part[k] for k in self._stretches(frame))])

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


def _words(frame: Packed, name: str) -> Words:
    column = frame.columns[name]
    assert isinstance(column, Words)
    return column


def _crossed(fills: Packed, orders: Packed, of_fill: Ints, of_order: Ints, count: int) -> bool:
    """Whether a link leads out of a part to an order of another."""
    filled, order, replaced = (
        fills.columns["order_id"],
        orders.columns["order_id"],
        orders.columns["replaces"],
    )
    assert isinstance(filled, Names) and isinstance(order, Names) and isinstance(replaced, Texts)
    replaces_any = len(replaced.present()) > 0
    lost: set[str] = set()
    for n in range(count):
        own_orders = np.flatnonzero(of_order == n)
        inside = order.distinct(own_orders)
        lost.update(filled.distinct(np.flatnonzero(of_fill == n)).lacking(inside))
        if replaces_any:
            names = replaced.texts(own_orders).drop_null()
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
    """One finding a check, in the order of their names."""
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
    return tuple(found[check] for check in sorted(found))
