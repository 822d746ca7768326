"""First in, first out, exactly: which units a fill closes and what they had cost.

No loop is needed: per key and direction the n-th unit closed always matches the n-th unit opened,
so the cost of what a fill closes is a difference on the cumulative cost curve of the openings
(``searchsorted``). Where sums could leave 64 bits, plain Python integers do the same work
(:func:`match_fifo_reference`); tests hold the two equal.

A lot costs |units| × price and, where a split or an average left a cost that is no multiple of its
units, an ``excess`` beside. What of it goes with a partial close is rounded to whole book units
(:func:`share`), and the rest stays: the parts sum to the whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

#: Any Σ |price × quantity| from here on is left to Python integers.
INT64_SAFE = 2.0**61

Ints = npt.NDArray[Any]  # int64, or object holding Python ints


@dataclass(frozen=True)
class Matched:
    """Result of matching: realised P&L of each fill, and the units of each that stay open.

    ``excess`` is what the open units of a row cost beyond |units| × its price; a row that is not
    in it has none.
    """

    realised: Ints
    open_units: Ints  # signed: positive long, negative short
    excess: Mapping[int, int] = field(default_factory=dict)


def share(excess: int, closed: int, units: int) -> int:
    """The part of ``excess`` that goes with ``closed`` of ``units``, to the nearest whole number.

    Half goes up, whatever the sign: a cost that is split into price and excess in another way has
    the same parts.
    """
    return (2 * excess * closed + units) // (2 * units)


def match_fifo(
    keys: Ints, quantity: Ints, price: Ints, excess: Mapping[int, int] = MappingProxyType({})
) -> Matched:
    """Match fills first in, first out within each key.

    ``keys`` (n,) are group codes in ascending order, ``quantity`` (n,) signed integers, ``price``
    (n,) integers; within a key the rows stand in order of time. ``excess`` is what rows cost
    beside, by their number; such a row is a carried lot, which closes nothing. Realised P&L is in
    units of quantity × price. Source: measures.md "P&L", FIFO by cumulative open-cost curve.
    """
    if len(keys) == 0:
        return Matched(np.zeros(0, np.int64), np.zeros(0, np.int64))
    if quantity.dtype == object or price.dtype == object:
        return match_fifo_reference(keys, quantity, price, excess)
    # Quantities are summed too, whatever their price.
    prices = np.maximum(np.abs(price), 1).astype(np.float64)
    # Not a product of vectors: OpenBLAS would wake its threads for it, and they then take every
    # core for 30 ms and more, waiting for another one, from whoever works beside.
    turnover = float((np.abs(quantity) * prices).sum()) + sum(map(abs, excess.values()))
    if turnover >= INT64_SAFE:
        return match_fifo_reference(keys, quantity, price, excess)

    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    group = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(keys)]))
    running = np.cumsum(quantity)
    position = running - (running[first] - quantity[first])[group]
    before = position - quantity
    against = (before > 0) & (quantity < 0) | (before < 0) & (quantity > 0)
    size = np.abs(quantity)
    closing = np.where(against, np.minimum(size, np.abs(before)), 0)
    opening = size - closing

    realised = np.zeros(len(keys), np.int64)
    open_units = np.zeros(len(keys), np.int64)
    left_over: dict[int, int] = {}
    for sign in (1, -1):
        opens = np.where(quantity * sign > 0, opening, 0)
        closes = np.where(quantity * sign < 0, closing, 0)
        entry = np.flatnonzero(opens)
        if len(entry) == 0:
            continue
        units = np.cumsum(opens[entry])
        cost = np.cumsum(opens[entry] * price[entry])
        entry_price = price[entry]
        # Units opened by all earlier keys: where this key's part of the curve begins.
        opened = np.cumsum(opens)
        base = (opened[first] - opens[first])[group]
        closed = np.cumsum(closes)
        closed_before = base + (closed - closes) - (closed[first] - closes[first])[group]
        leave = np.flatnonzero(closes)
        if len(leave):
            start = closed_before[leave]
            spent = _curve(units, cost, entry_price, start + closes[leave]) - _curve(
                units, cost, entry_price, start
            )
            realised[leave] += sign * (closes[leave] * price[leave] - spent)
        else:
            start = leave
        for row, beside in excess.items():
            if opens[row]:
                end = int(units[np.searchsorted(entry, row)])
                lot = (end - int(opens[row]), end)
                gone = _spread(beside, lot, leave, start, closes)
                for closer, part in gone.items():
                    realised[closer] -= sign * part
                left_over[row] = beside - sum(gone.values())
        last = np.r_[first[1:], len(keys)] - 1
        closed_total = (closed_before + closes)[last][group]
        left = np.clip(units - closed_total[entry], 0, opens[entry])
        open_units[entry] += sign * left
    return Matched(realised, open_units, {row: e for row, e in left_over.items() if e})


def _spread(
    excess: int, lot: tuple[int, int], leave: Ints, start: Ints, closes: Ints
) -> dict[int, int]:
    """Parts of one lot's excess by the row that closes them.

    ``lot`` is where the lot's units lie on the curve, ``start`` (m,) where each row of ``leave``
    (m,) begins to take; both ascend.
    """
    first, end = lot
    parts: dict[int, int] = {}
    left = end - first
    # The last row that begins at or before the lot may still reach into it.
    begin = max(int(np.searchsorted(start, first, side="right")) - 1, 0)
    for at in range(begin, int(np.searchsorted(start, end, side="left"))):
        row, begins = int(leave[at]), int(start[at])
        closed = min(begins + int(closes[row]), end) - max(begins, first)
        if closed > 0:
            parts[row] = share(excess, closed, left)
            excess, left = excess - parts[row], left - closed
    return parts


def _curve(units: Ints, cost: Ints, price: Ints, upto: Ints) -> Ints:
    """Cost of the first ``upto`` units of the cumulative curve (piecewise linear, exact)."""
    at = np.searchsorted(units, upto, side="left")
    return np.asarray(cost[at] - (units[at] - upto) * price[at])


def match_fifo_reference(
    keys: Ints, quantity: Ints, price: Ints, excess: Mapping[int, int] = MappingProxyType({})
) -> Matched:
    """The same as :func:`match_fifo`, one fill at a time in Python integers of any size."""
    realised: list[int] = []
    open_units = [0] * len(keys)
    beside = dict(excess)
    lots: deque[int] = deque()  # indices of fills with open units
    current = None
    for i, (key, signed, paid) in enumerate(
        zip(keys.tolist(), quantity.tolist(), price.tolist(), strict=True)
    ):
        if key != current:
            current, lots = key, deque()
        gain, rest = 0, signed
        while rest and lots and (open_units[lots[0]] > 0) != (rest > 0):
            oldest = lots[0]
            held = abs(open_units[oldest])
            units = min(abs(rest), held)
            direction = 1 if open_units[oldest] > 0 else -1
            gain += direction * units * (paid - int(price[oldest]))
            if oldest in beside:
                part = share(beside[oldest], units, held)
                beside[oldest] -= part
                gain -= direction * part
            open_units[oldest] -= direction * units
            rest += direction * units
            if not open_units[oldest]:
                lots.popleft()
        if rest:
            open_units[i] = rest
            lots.append(i)
        realised.append(gain)
    return Matched(
        ints(realised), ints(open_units), {row: left for row, left in beside.items() if left}
    )


def ints(values: Sequence[int]) -> Ints:
    """int64 where everything fits, Python integers otherwise."""
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        return np.array(values, dtype=object)


def rescale(values: Ints, power: int) -> Ints:
    """``values`` × 10^power, leaving int64 for Python integers where it would overflow."""
    if power == 0 or len(values) == 0:
        return values
    factor = 10**power
    largest = max(float(np.abs(values).max()), 1.0) if values.dtype != object else INT64_SAFE
    if largest * factor < INT64_SAFE:
        return np.asarray(values * factor)
    return np.array([int(v) * factor for v in values.tolist()], dtype=object)


def joined(parts: Sequence[Ints]) -> Ints:
    """Integers in one array, as Python's if any part needs them."""
    if not parts:
        return np.zeros(0, np.int64)
    if any(part.dtype == object for part in parts):
        return np.array([v for part in parts for v in part.tolist()], dtype=object)
    return np.concatenate(parts)
