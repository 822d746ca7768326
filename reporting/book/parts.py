"""A session in parts: whole account × instrument keys each, worked out alone, joined by adding up.

What a fill does to the book touches its own key only, so that parts need not know of each other;
what is worked out on the way is then as large as a part and not as the day. Orders, cash flows and
corrections go with their key too; actions on instruments go to every part, and fee items are told
of the whole. A day in which a fill's order, or an order and the one that it replaces, stand in
different parts is not divided: it is the same work in one piece.

Who works a part out is the caller's choice: a part has all that it needs, in few bytes, and the
same parts are made whoever works on them, so that the same comes out to the last byte.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..model import EXACT, Finding, Frame, Missing
from ..periods import TradingDay
from . import (
    EMPTY_BOOK,
    NOT_READ,
    NOTHING_BESIDE,
    Beside,
    Book,
    BookDay,
    MarkUsed,
    Method,
    Transfer,
)
from .actions import is_sound
from .execution import ORDER_CELL, SLIPPAGE_CELL, Executions, Market, executions
from .execution.merging import joined_days
from .execution.share import market_share
from .fifo import Ints
from .lots import opened_lots, written
from .packed import Names, Packed, Texts, Words
from .payments import itemised
from .session import trade
from .sums import SAMPLES, said

#: Fills that are worked out at once: what is needed for them then takes some hundred MiB.
PART = 250_000
#: Rows whose key is worked out at once.
STRETCH = 1 << 20
#: Parts whose rows are taken together before each takes its own.
TOGETHER = 6
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Sources:
    """What a session is worked out from, as the ledger's frames have it."""

    instruments: Frame
    fills: Frame
    marks: Frame
    orders: Frame
    earlier: Frame
    beside: Beside = NOTHING_BESIDE


@dataclass(frozen=True)
class Part:
    """Some keys' share of a session, with what they carried into it."""

    opening: Book
    fills: Frame
    orders: Frame
    earlier: Frame
    beside: Beside
    market: Market


@dataclass(frozen=True)
class Session:
    """What all parts of a session have in common; few rows."""

    day: TradingDay
    instruments: Frame
    marks: Frame
    method: Method


class Run(Protocol):
    """Does the same to each of some things: what comes of them, in their order.

    ``map`` does it here, one after the other, which needs least memory. Work and things can be sent
    elsewhere (they can be pickled); a thing is not asked for long before its turn.
    """

    def __call__(self, work: Callable[[A], B], things: Iterable[A], /) -> Iterator[B]: ...


def worked_through(
    day: TradingDay,
    opening: Book | Missing,
    sources: Sources,
    market: Market,
    *,
    method: Method = "fifo",
    size: int = PART,
    run: Run = map,
) -> tuple[BookDay | Missing, Executions]:
    """The book and the executions of a session, some ``size`` fills at a time.

    Without an opening book there is none of the session, for the same reason.
    """
    session = Session(day, sources.instruments, sources.marks, method)
    if isinstance(opening, Missing):
        alone = parts(EMPTY_BOOK, sources, market, size)
        return opening, joined_executions(list(run(partial(executed, session), alone)))
    books: list[BookDay] = []
    made: list[Executions] = []
    for book, execution in run(partial(worked, session), parts(opening, sources, market, size)):
        books.append(book)
        made.append(execution)
    # A split or a settlement may need finer units, and costs are rounded to whole units: all parts
    # have to have the same.
    while len(scales := {_scales(book) for book in books}) > 1:
        finest = max(q for q, _ in scales), max(p for _, p in scales)
        coarser = [n for n, book in enumerate(books) if _scales(book) != finest]
        divided = enumerate(parts(_in_units(opening, *finest), sources, market, size))
        again = run(partial(booked, session), (part for n, part in divided if n in set(coarser)))
        for n, book in zip(coarser, again, strict=True):
            books[n] = book
    return joined_book(books, sources), joined_executions(made)


def worked(session: Session, part: Part) -> tuple[BookDay, Executions]:
    """The book and the executions of a part."""
    part = _unpacked(part)
    return booked(session, part), executed(session, part)


def booked(session: Session, part: Part) -> BookDay:
    """The book of a part."""
    assert session.day.trading is not None
    return trade(
        part.opening,
        session.instruments,
        _unpacked(part).fills,
        session.marks,
        session.day.trading.start_ms,
        method=session.method,
        beside=part.beside,
    )


def executed(session: Session, part: Part) -> Executions:
    """The executions of a part."""
    part = _unpacked(part)
    return executions(
        session.day, part.fills, part.orders, part.earlier, session.instruments, part.market
    )


def _unpacked(part: Part) -> Part:
    """The part with tables that are made once."""
    fills, orders, earlier = (
        Frame(f.table, f.coverage, f.findings) if isinstance(f, Packed) else f
        for f in (part.fills, part.orders, part.earlier)
    )
    return replace(part, fills=fills, orders=orders, earlier=earlier)


def _scales(book: BookDay) -> tuple[int, int]:
    return book.closing.quantity_scale, book.closing.price_scale


def _in_units(book: Book, quantity_scale: int, price_scale: int) -> Book:
    """The same book in finer units."""
    powers = quantity_scale - book.quantity_scale, price_scale - book.price_scale
    texts = written(opened_lots(((n, row.lots) for n, row in enumerate(book.lots)), *powers))
    return book.model_copy(
        update={
            "quantity_scale": quantity_scale,
            "price_scale": price_scale,
            "lots": tuple(
                row.model_copy(update={"lots": texts[n]}) for n, row in enumerate(book.lots)
            ),
        }
    )


def parts(opening: Book, sources: Sources, market: Market, size: int = PART) -> Iterator[Part]:
    """The session in parts of some ``size`` fills, or more where one key has more."""
    fills, orders, earlier = sources.fills, sources.orders, sources.earlier
    count = -(-fills.coverage.rows // size)
    whole = Part(opening, fills, orders, earlier, sources.beside, market)
    if count < 2 or not isinstance(fills, Packed) or not isinstance(orders, Packed):
        yield whole
        return
    beside = _once(sources)
    keys = _Keys(opening, fills, orders, beside)
    part = keys.divided(fills, orders, count)
    of_fill, of_order = keys.parts_of(fills, part), keys.parts_of(orders, part)
    if _crossed(fills, orders, of_fill, of_order, count):
        yield whole
        return
    before = earlier.table
    named = pa.array(before["order_id"], pa.large_string())
    shares = zip(_shares(fills, of_fill, count), _shares(orders, of_order, count), strict=True)
    for n, mine in enumerate(shares):
        ids = mine[1].columns["order_id"]
        assert isinstance(ids, Names)
        own = pc.is_in(named, value_set=ids.texts()) if len(before) else named
        traded = {word for frame in mine for word in _words(frame, "instrument_id").used()}
        yield Part(
            opening=keys.share(opening, part, n),
            fills=mine[0],
            orders=mine[1],
            earlier=Frame(before[np.asarray(own, bool)], earlier.coverage),
            beside=keys.beside(beside, _actions(sources, n), part, n),
            market=market_share(market, traded),
        )


def _shares(frame: Packed, part: Ints, count: int) -> Iterator[Packed]:
    """The rows of each part, one after the other.

    One's rows lie all over the columns, so that to look for them reads nearly all of the memory,
    and that is what takes time: so a few parts' rows are laid together first.
    """
    for first in range(0, count, TOGETHER):
        rows = np.flatnonzero((part >= first) & (part < first + TOGETHER))
        some, of_some = frame.taken(rows), part[rows]
        for n in range(first, min(first + TOGETHER, count)):
            yield some.taken(np.flatnonzero(of_some == n))


def _once(sources: Sources) -> Beside:
    """What happened beside fills, each correction there once, so that it is in one part only."""
    replaced, correcting = sources.beside.replaced, sources.beside.correcting
    if isinstance(replaced, Frame) and len(replaced.table):
        first = replaced.table[replaced.table["kind"] == "new"]
        replaced = Frame(first.drop_duplicates("fill_id"), replaced.coverage)
    if isinstance(correcting, Frame) and len(correcting.table):
        correcting = Frame(correcting.table.drop_duplicates("fill_id"), correcting.coverage)
    return Beside(sources.beside.actions, sources.beside.flows, NOT_READ, replaced, correcting)


def _actions(sources: Sources, n: int) -> Frame | Missing:
    """The actions for part ``n``: all that can be booked; the first part tells of the others."""
    actions = sources.beside.actions
    if n == 0 or isinstance(actions, Missing) or not len(actions.table):
        return actions
    known = _known(sources)
    sound = [is_sound(row, known) for row in actions.table.to_dict("records")]
    return Frame(actions.table[sound], actions.coverage)


def _known(sources: Sources) -> frozenset[str]:
    table = sources.instruments.table
    return frozenset(map(str, table["instrument_id"])) if len(table) else frozenset()


class _Keys:
    """Account × instrument as one number, the same for fills, orders and the carried book.

    Worked out a stretch of rows at a time: a number for each of ten million rows is 80 MB.
    """

    def __init__(self, opening: Book, fills: Packed, orders: Packed, beside: Beside) -> None:
        accounts = [*_words(fills, "account_id").words, *_words(orders, "account_id").words]
        carried = [(row.account, row.instrument) for row in opening.lots]
        carried += [(cell.account, cell.instrument) for cell in opening.cells]
        for frame in (beside.flows, beside.replaced, beside.correcting):
            carried += _named(frame)
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
        part = np.zeros(self.size, np.min_scalar_type(-count))
        load = [(0, n) for n in range(count)]
        for key in np.argsort(-weight, kind="stable").tolist():
            least, n = heapq.heappop(load)
            part[key] = n
            # A key that only carries lots is no work to speak of, and many make some.
            heapq.heappush(load, (least + max(int(weight[key]), 1), n))
        return part

    def parts_of(self, frame: Packed, part: Ints) -> Ints:
        """The part of every row."""
        return np.concatenate([part[:0], *(part[k] for k in self._stretches(frame))])

    def share(self, opening: Book, part: Ints, n: int) -> Book:
        """The lots and cells that part ``n`` carries; the first one has all transfers so far."""

        def own(account: str, instrument: str) -> bool:
            return self._part(part, account, instrument) == n

        return opening.model_copy(
            update={
                "lots": tuple(r for r in opening.lots if own(r.account, r.instrument)),
                "cells": tuple(c for c in opening.cells if own(c.account, c.instrument)),
                "transfers": () if n else opening.transfers,
            }
        )

    def beside(self, beside: Beside, actions: Frame | Missing, part: Ints, n: int) -> Beside:
        """What happens to part ``n`` beside fills."""

        def own(frame: Frame | Missing) -> Frame | Missing:
            if isinstance(frame, Missing) or not len(frame.table):
                return frame
            mine = [self._part(part, *key) == n for key in _named(frame)]
            return Frame(frame.table[mine], frame.coverage)

        flows, replaced, correcting = map(own, (beside.flows, beside.replaced, beside.correcting))
        return Beside(actions, flows, beside.fee_items, replaced, correcting)

    def _part(self, part: Ints, account: str, instrument: str) -> int:
        return int(part[self._accounts[account] * self._width + self._instruments[instrument]])


def _named(frame: Frame | Missing) -> list[tuple[str, str]]:
    """Account and instrument of each row of a small frame; a payment may be for no instrument."""
    if isinstance(frame, Missing) or not len(frame.table):
        return []
    columns = (frame.table[name] for name in ("account_id", "instrument_id"))
    return list(zip(*(map(said, column) for column in columns), strict=True))


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
    together = order.together(of_order, filled, of_fill)
    if together is False or (together and not replaces_any):
        return not together
    lost: set[str] = set()
    for n in range(count):
        own_orders = np.flatnonzero(of_order == n)
        inside = order.distinct(own_orders)
        if together is None:
            lost.update(filled.distinct(np.flatnonzero(of_fill == n)).lacking(inside))
        if replaces_any:
            names = replaced.texts(own_orders).drop_null()
            lost.update(Names.of(names).distinct().lacking(inside))
    if not lost:
        return False
    named = Names.of(pa.array(sorted(lost)))
    return len(named.lacking(order.distinct())) < len(lost)


def joined_book(days: Sequence[BookDay], sources: Sources) -> BookDay:
    """The session's book from those of its parts, with what its fees consist of."""
    first = days[0]
    if len(days) == 1:
        return first
    cells = tuple(sorted((c for d in days for c in d.cells), key=lambda c: c.key))
    carried = tuple(
        sorted(
            (c for d in days for c in d.closing.cells),
            key=lambda c: (c.strategy, c.agent, c.account, c.instrument, c.currency),
        )
    )
    lots = (row for d in days for row in d.closing.lots)
    fee_items, differing = itemised(sources.beside.fee_items, cells, _known(sources))
    return BookDay(
        cells=cells,
        holdings=tuple(sorted((h for d in days for h in d.holdings), key=lambda h: h.key)),
        marks=_joined_marks(m for d in days for m in d.marks),
        closing=first.closing.model_copy(
            update={
                "lots": tuple(sorted(lots, key=lambda row: (row.account, row.instrument))),
                "cells": carried,
                "transfers": _joined_transfers(t for d in days for t in d.transfers),
            }
        ),
        fills=sum(d.fills for d in days),
        findings=joined_findings(
            f for found in (*(d.findings for d in days), differing) for f in found
        ),
        moves=tuple(sorted((m for d in days for m in d.moves), key=lambda m: m.key)),
        fee_items=fee_items,
        method_before=next((d.method_before for d in days if d.method_before), None),
    )


def _joined_transfers(transfers: Iterable[Transfer]) -> tuple[Transfer, ...]:
    """One an account and currency."""
    found: dict[tuple[str, str], Transfer] = {}
    for transfer in transfers:
        key = (transfer.account, transfer.currency)
        if key in found:
            balance = EXACT.add(found[key].balance, transfer.balance)
            transfer = transfer.model_copy(update={"balance": balance})
        found[key] = transfer
    return tuple(found[key] for key in sorted(found))


def _joined_marks(marks: Iterable[MarkUsed]) -> tuple[MarkUsed, ...]:
    """One a instrument, with the gross value of all its holdings; None spreads."""
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
        day=joined_days([m.day for m in made]),
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
