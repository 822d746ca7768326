"""The market beside our fills: mids as of an instant, and the VWAP of an interval.

Both are looked up in one array sorted by instrument and time together: ``instrument × span +
time``. The span leaves room on both sides of the session, wider than a quote may be old, so that a
neighbour in the array that belongs to another instrument is always too far away to count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...model import Frame
from ..fifo import INT64_SAFE, Ints, rescale
from .sums import Limbs, products, roomy, together

SECOND_US = 1_000_000
#: The longest markout: how far beyond the session quotes are looked up.
LONGEST_MARKOUT_S = 60


@dataclass(frozen=True)
class _Line:
    """Instruments and times of one session on one line."""

    names: pd.Index
    zero_us: int
    span_us: int

    def codes(self, categories: pd.Index) -> Ints:
        """The number of each named instrument, -1 where there is none; the last is for no name."""
        return np.append(self.names.get_indexer(categories), -1)

    def keys(self, code: Ints, when_us: Ints) -> Ints:
        """Places on the line. No instrument (-1) lies before everything, out of reach."""
        return np.asarray(code.astype(np.int64) * self.span_us + (when_us - self.zero_us))


def _line(frame: Frame, window_us: tuple[int, int], margin_us: int) -> _Line:
    zero = window_us[0] - margin_us - 1
    span = window_us[1] + LONGEST_MARKOUT_S * SECOND_US + margin_us + 2 - zero
    return _Line(pd.Index(frame.table["instrument_id"].cat.categories), zero, span)


@dataclass(frozen=True)
class Mids:
    """Mids of a session's instruments, doubled (bid + ask) so that they are exact integers."""

    line: _Line
    keys: Ints  # sorted; of quotes at the same instant the last recorded comes last
    doubled: Ints
    scale: int
    max_age_us: int

    def as_of(self, keys: Ints) -> tuple[Ints, Ints]:
        """The last mid at or before each place, and whether there is one that is not too old."""
        return self._read(keys, np.searchsorted(self.keys, keys, side="right") - 1)

    def after(self, keys: Ints, later_us: int) -> tuple[Ints, Ints]:
        """The mid ``later_us`` after each place.

        None where quoting had stopped by then: the next quote, too, must be within the limit, since
        the last one of all would otherwise stand for a market that nobody saw.
        """
        then = keys + later_us
        at = np.searchsorted(self.keys, then, side="right") - 1
        doubled, known = self._read(then, at)
        if len(self.keys):
            here = np.maximum(at, 0)
            ahead = np.minimum(at + 1, len(self.keys) - 1)
            # A quote at the very instant needs none after it.
            known &= (self.keys[here] == then) | (
                (at + 1 < len(self.keys)) & (self.keys[ahead] - then <= self.max_age_us)
            )
        return doubled, known

    def _read(self, keys: Ints, at: Ints) -> tuple[Ints, Ints]:
        if not len(self.keys):
            return np.zeros(len(keys), np.int64), np.zeros(len(keys), bool)
        here = np.maximum(at, 0)
        known = (at >= 0) & (keys - self.keys[here] <= self.max_age_us)
        return self.doubled[here], known


def mids_of(quotes: Frame, window_us: tuple[int, int]) -> Mids:
    """Quotes ready to be looked up; columns ``quoted_us``, ``recorded_us``, ``mid_doubled``."""
    control = quotes.coverage.control
    max_age_us = int(control["max_age_s"]) * SECOND_US
    line = _line(quotes, window_us, max_age_us)
    table = quotes.table
    when = table["quoted_us"].to_numpy(dtype=np.int64)
    last = window_us[1] + LONGEST_MARKOUT_S * SECOND_US + max_age_us
    inside = (when >= window_us[0] - max_age_us) & (when <= last)
    inside &= table["instrument_id"].cat.codes.to_numpy() >= 0
    if not inside.all():
        table, when = table[inside], when[inside]
    keys = line.keys(table["instrument_id"].cat.codes.to_numpy(), when)
    doubled = roomy(table["mid_doubled"].to_numpy())
    order = np.argsort(keys, kind="stable")
    _settle_ties(order, keys, table["recorded_us"].to_numpy(), doubled)
    return Mids(line, keys[order], doubled[order], int(control["mid_scale"]), max_age_us)


def _settle_ties(order: Ints, keys: Ints, recorded: Ints, doubled: Ints) -> None:
    """Put quotes at the same instant in order of recording, then of mid: the last one counts."""
    equal = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if not len(equal):
        return
    places = np.union1d(equal, equal + 1)
    tied = order[places]
    # Few, and the mids may be Python integers.
    order[places] = sorted(tied, key=lambda at: (keys[at], recorded[at], doubled[at]))


@dataclass(frozen=True)
class Tape:
    """What the market traded, as cumulative sums."""

    line: _Line
    keys: Ints  # sorted
    quantity: Limbs  # cumulated, from 0
    turnover: Limbs  # price × quantity, cumulated, from 0
    price_scale: int

    def vwap(self, start: Ints, end: Ints, power: int) -> tuple[Ints, Ints]:
        """Σ price × quantity / Σ quantity from ``start`` to ``end``, both included.

        In units of 10^-(``price_scale`` + ``power``), half to even, and whether anything traded.
        """
        first = np.searchsorted(self.keys, start, side="left")
        last = np.maximum(np.searchsorted(self.keys, end, side="right"), first)
        traded = together([(shift, sums[last] - sums[first]) for shift, sums in self.quantity])
        paid = together([(shift, sums[last] - sums[first]) for shift, sums in self.turnover])
        known = np.asarray(traded > 0, dtype=bool)
        return _divided(paid, np.where(known, traded, 1), power), known


def _divided(numerator: Ints, denominator: Ints, power: int) -> Ints:
    """numerator × 10^power / denominator, to the nearest integer, half to even."""
    if power < 0:
        denominator = rescale(denominator, -power)
    factor = 10 ** max(power, 0)
    whole, rest = numerator // denominator, numerator % denominator
    if denominator.dtype != object and len(denominator):
        largest = max(float(np.abs(whole).max()), float(denominator.max()))
        if largest * factor * 2 >= INT64_SAFE:
            whole, rest, denominator = (a.astype(object) for a in (whole, rest, denominator))
    more, left = rest * factor // denominator, rest * factor % denominator
    found = whole * factor + more
    up = (2 * left > denominator) | ((2 * left == denominator) & (found % 2 != 0))
    return np.asarray(found + np.asarray(up, dtype=bool).astype(np.int64))


def tape_of(trades: Frame, window_us: tuple[int, int]) -> Tape:
    """Market trades ready to be summed; columns ``traded_us``, ``price``, ``quantity``."""
    line = _line(trades, window_us, 0)
    table = trades.table
    when = table["traded_us"].to_numpy(dtype=np.int64)
    code = table["instrument_id"].cat.codes.to_numpy()
    quantity = table["quantity"].to_numpy()
    good = (when >= window_us[0]) & (when < window_us[1]) & (code >= 0) & (quantity > 0)
    table, when, code, quantity = table[good], when[good], code[good], quantity[good]
    keys = line.keys(code, when)
    order = np.argsort(keys, kind="stable")
    price, quantity = table["price"].to_numpy()[order], quantity[order]
    n = len(order)
    one = np.ones(n, np.int64)
    return Tape(
        line,
        keys[order],
        [(shift, cumulated(part)) for shift, part in products(quantity, one, n)],
        [(shift, cumulated(part)) for shift, part in products(price, quantity, n)],
        int(trades.coverage.control["price_scale"]),
    )


def cumulated(values: Ints) -> Ints:
    """Running totals, from 0."""
    return np.concatenate([np.zeros(1, values.dtype), np.cumsum(values)])
