"""Lots: which ones a fill closes under each method, and what happens to the open ones.

The methods: first in first out (:mod:`.fifo`), last in first out, highest price first (whatever
the direction, the older of two equal ones first, as beancount's HIFO has it), and average cost,
which keeps one lot with its total cost, never an average price. Realised and unrealised P&L
together are the same number under all of them.

Source of the definitions: measures.md "P&L".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from heapq import heappop, heappush
from types import MappingProxyType
from typing import Any

import numpy as np

from .fifo import Ints, Matched, ints, joined, match_fifo, rescale, share
from .sums import product

#: Rows that are turned into Python integers at a time.
BLOCK = 100_000

NO_EXCESS: Mapping[int, int] = MappingProxyType({})


def match(
    method: str, keys: Ints, quantity: Ints, price: Ints, excess: Mapping[int, int] = NO_EXCESS
) -> Matched:
    """Match fills within each key by ``method``; arguments as of :func:`.fifo.match_fifo`.

    Under "average" the one open lot of a key is told as that of the row that opened it.
    """
    if method == "fifo":
        return match_fifo(keys, quantity, price, excess)
    result = _Result(len(keys), keys, quantity, price)
    if method == "average":
        _average(result, excess)
    else:
        _by_lot(result, excess, highest=method == "hifo")
    return result.matched()


@dataclass
class _Result:
    """Rows in, block by block as Python integers, and what is found out about them."""

    size: int
    keys: Ints
    quantity: Ints
    price: Ints
    realised: list[Ints] = field(default_factory=list)
    left: dict[int, int] = field(default_factory=dict)
    excess: dict[int, int] = field(default_factory=dict)

    def blocks(self) -> Iterator[tuple[Iterator[tuple[int, int, int, int]], list[int]]]:
        """Rows as (number, key, quantity, price), and the list that their gains go to."""
        for start in range(0, self.size, BLOCK):
            some = slice(start, start + BLOCK)
            gains: list[int] = []
            columns = (column[some].tolist() for column in (self.keys, self.quantity, self.price))
            yield zip(range(start, self.size), *columns, strict=False), gains
            self.realised.append(ints(gains))

    def matched(self) -> Matched:
        fits = all(-(2**63) <= units < 2**63 for units in self.left.values())
        open_units = np.zeros(self.size, np.int64 if fits else object)
        if not fits:
            open_units[:] = 0
        for row, units in self.left.items():
            open_units[row] = units
        return Matched(
            joined(self.realised), open_units, {r: e for r, e in self.excess.items() if e}
        )


# A lot as it waits: rank (the lowest closes first), row number, units, price, excess. Rank and
# number differ between any two, so that a heap never compares the rest.
_RANK, _ROW, _UNITS, _PRICE, _EXCESS = range(5)


def _by_lot(result: _Result, excess: Mapping[int, int], *, highest: bool) -> None:
    """Last in first out, or the highest price first."""
    put: Callable[[list[Any], Any], None] = heappush if highest else list.append
    drop: Callable[[list[Any]], Any] = heappop if highest else list.pop
    at = 0 if highest else -1
    lots: list[list[Any]] = []
    side, current = 0, None

    def keep() -> None:
        for lot in lots:
            result.left[lot[_ROW]] = side * lot[_UNITS]
            result.excess[lot[_ROW]] = lot[_EXCESS]

    for rows, gains in result.blocks():
        for row, key, signed, paid in rows:
            if key != current:
                keep()
                lots, current = [], key
            size, direction, was = abs(signed), 1 if signed > 0 else -1, side
            gain = 0
            while size and lots and was != direction:
                lot = lots[at]
                held = lot[_UNITS]
                closed = min(size, held)
                gain += closed * (paid - lot[_PRICE])
                size -= closed
                lot[_UNITS] = held - closed
                if held == closed:
                    drop(lots)
                if lot[_EXCESS]:
                    part = share(lot[_EXCESS], closed, held)
                    gain -= part
                    lot[_EXCESS] -= part
                    if highest and held > closed:
                        # What is left may cost a little more or less a unit than the whole did.
                        drop(lots)
                        lot[_RANK] = _rank(lot[_PRICE], lot[_EXCESS], lot[_UNITS])
                        put(lots, lot)
            if size:
                beside = excess.get(row, 0)
                # Lots still open are of the same side: the loop above has closed all others.
                side = direction
                put(lots, [_rank(paid, beside, size), row, size, paid, beside])
            gains.append(was * gain)
    keep()


def _rank(price: int, excess: int, units: int) -> int | Fraction:
    """Lowest for the highest cost a unit."""
    return -price if not excess else -(price + Fraction(excess, units))


def _average(result: _Result, excess: Mapping[int, int]) -> None:
    """One lot a key with its total cost."""
    units = cost = opened = opened_at = side = 0
    current = None

    def keep() -> None:
        if units:
            result.left[opened] = side * units
            result.excess[opened] = cost - units * opened_at

    for rows, gains in result.blocks():
        for row, key, signed, paid in rows:
            if key != current:
                keep()
                units = cost = 0
                current = key
            size, direction = abs(signed), 1 if signed > 0 else -1
            gain = 0
            if units and side != direction:
                closed = min(size, units)
                part = share(cost, closed, units)
                gain = side * (closed * paid - part)
                units, cost, size = units - closed, cost - part, size - closed
            if size:
                if not units:
                    side, opened, opened_at = direction, row, paid
                units += size
                cost += size * paid + excess.get(row, 0)
            gains.append(gain)
    keep()


# Lots between sessions and actions -----------------------------------------------------------


@dataclass(frozen=True)
class Lots:
    """Open lots as parallel arrays, oldest first within a key; ``excess`` by row.

    Normalised: 0 ≤ excess < |units|, so that equal lots have one spelling.
    """

    key: Ints
    units: Ints  # signed
    price: Ints
    excess: Mapping[int, int]

    def cost(self) -> Ints:
        """Signed cost of each lot, in units of quantity × price."""
        cost = product(self.units, self.price)
        if self.excess:
            cost = cost.astype(object)
            for row, beside in self.excess.items():
                cost[row] += beside if self.units[row] > 0 else -beside
        return cost

    def split(self, keys: Sequence[int], ratio: Fraction | Decimal) -> Lots | None:
        """Lots of ``keys`` with ``ratio`` new units for one old, total cost unchanged.

        None where one of them does not come out in whole units.
        """
        new, old = ratio.as_integer_ratio()
        units, price, excess = self.units.tolist(), self.price.tolist(), dict(self.excess)
        for row in np.flatnonzero(np.isin(self.key, keys)).tolist():
            size, rest = divmod(units[row] * new, old)
            if rest:
                return None
            cost = abs(units[row]) * price[row] + excess.pop(row, 0)
            units[row] = size
            price[row], beside = divmod(cost, abs(size))
            if beside:
                excess[row] = beside
        return Lots(self.key, ints(units), ints(price), excess)

    def split_whole(
        self, kept: Mapping[int, int], ratio: Fraction
    ) -> tuple[Lots, Mapping[int, int]]:
        """Lots of the keys in ``kept``, which keep so many units in all, signed, after a split.

        A lot ends where its exact new units do, down to a whole one, and costs what the old units
        that it is made of did; what is beyond ``kept`` is of the newest. Also what that cost, by
        key, in units of quantity × price and unsigned: with it the total cost is unchanged.
        """
        units, price = self.units.tolist(), self.price.tolist()
        rows: list[tuple[int, int, int, int]] = []  # key, units, price, excess
        gone: dict[int, int] = {}
        ended = Fraction(0)  # new units of the key's lots so far
        spent = begun = at = 0  # their old cost, the units made so far, and what these cost
        current = None
        for row, key in enumerate(self.key.tolist()):
            size, paid, beside = units[row], price[row], self.excess.get(row, 0)
            if key not in kept:
                rows.append((key, size, paid, beside))
                continue
            if key != current:
                current, ended, spent, begun, at = key, Fraction(0), 0, 0, 0
            cost = abs(size) * paid + beside
            exact = abs(size) * ratio
            ended += exact
            spent += cost
            until = min(math.floor(ended), abs(kept[key]))
            if until > begun:
                # The cost of all units up to there: that of all lots, less what is beyond.
                upto = spent - round((ended - until) / exact * cost)
                made = until - begun
                each, more = divmod(upto - at, made)
                rows.append((key, made if size > 0 else -made, each, more))
                begun, at = until, upto
            gone[key] = spent - at
        return (
            Lots(
                np.array([r[0] for r in rows], dtype=self.key.dtype),
                ints([r[1] for r in rows]),
                ints([r[2] for r in rows]),
                {n: r[3] for n, r in enumerate(rows) if r[3]},
            ),
            gone,
        )


def opened_lots(rows: Iterable[tuple[int, str]], quantity_power: int, price_power: int) -> Lots:
    """Lots from (key, text) of a book, finer by ten to the powers.

    A lot is written ``units@price`` or ``units@price+excess``, in book units.
    """
    keys: list[int] = []
    units: list[int] = []
    price: list[int] = []
    excess: dict[int, int] = {}
    for key, text in rows:
        for lot in text.split():
            size, cost = lot.split("@")
            paid, _, beside = cost.partition("+")
            if beside:
                # The same total cost in finer units: a part of the excess may go into the price.
                fine = abs(int(size)) * 10**quantity_power
                more, rest = divmod(int(beside) * 10 ** (quantity_power + price_power), fine)
                if rest:
                    excess[len(keys)] = rest
            else:
                more = 0
            keys.append(key)
            units.append(int(size))
            price.append(int(paid) * 10**price_power + more)
    return Lots(
        np.array(keys, dtype=np.int64), rescale(ints(units), quantity_power), ints(price), excess
    )


def left_open(matched: Matched, keys: Ints, price: Ints) -> Lots:
    """What stays open after a match, in its order; ``keys`` and ``price`` as they were matched."""
    rows = np.flatnonzero(matched.open_units)
    left = Lots(keys[rows], matched.open_units[rows], price[rows], {})
    if not matched.excess:
        return left
    paid, excess = left.price.tolist(), {}
    for row, beside in matched.excess.items():
        at = int(np.searchsorted(rows, row))
        more, rest = divmod(beside, abs(int(left.units[at])))
        paid[at] += more
        if rest:
            excess[at] = rest
    return Lots(left.key, left.units, ints(paid), excess)


def written(lots: Lots) -> dict[int, str]:
    """Lots as a book has them, by key in the order of the keys."""
    texts: dict[int, list[str]] = {}
    columns = (column.tolist() for column in (lots.key, lots.units, lots.price))
    for row, (key, units, paid) in enumerate(zip(*columns, strict=True)):
        beside = lots.excess.get(row)
        texts.setdefault(key, []).append(f"{units}@{paid}" + (f"+{beside}" if beside else ""))
    return {key: " ".join(parts) for key, parts in texts.items()}
