"""Every fill against every benchmark: sums by cell, hour and size, sketches by currency."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...model import EXACT, Frame, Missing
from ..fifo import Ints, ints, rescale
from ..session import CELL
from .chains import Chains
from .fills import Filled, Part, Units, parts, units_of
from .market import SECOND_US, Mids, Tape
from .merging import joined_sizes
from .orders import QUARTER_US, SIZE_NAMES, sizes_of_orders
from .sketch import WIDTH, bucket_of, codes_of, sketch_of
from .sums import ByGroup, doubled, limbs_of, products, summed
from .values import BENCHMARKS, MARKOUTS_S, BenchmarkSum, HourRow, SizeRow, SketchRow

SLIPPAGE_CELL = [*CELL, "venue"]
#: A VWAP is rounded, half to even, to this many digits beyond the instruments' finest tick.
VWAP_DIGITS = 4


@dataclass(frozen=True)
class Prices:
    """A price for each order, doubled, and whether it is known; the last entry is for no order."""

    doubled: Ints
    known: Ints
    scale: int


@dataclass(frozen=True)
class Market:
    """What is known of the market in the session; Missing where the ledger does not say."""

    mids: Mids | Missing
    tape: Tape | Missing
    window_us: tuple[int, int]
    hour: Ints  # of each quarter of an hour that the session touches

    @property
    def quote_max_age_s(self) -> int | None:
        """How old a quote may be."""
        return self.mids.max_age_us // SECOND_US if isinstance(self.mids, Mids) else None

    @property
    def absent(self) -> tuple[tuple[str, Missing], ...]:
        """What the ledger does not say, with the reason."""
        both = (("market_trades", self.tape), ("quotes", self.mids))
        return tuple((name, what) for name, what in both if isinstance(what, Missing))

    def hours(self, when_us: Ints) -> Ints:
        """The local hour of instants of the session."""
        return np.asarray(self.hour[when_us // QUARTER_US - self.window_us[0] // QUARTER_US])


@dataclass(frozen=True)
class Slippage:
    """Rows of cells, sketches, hours and sizes."""

    cells: pd.DataFrame
    sketches: tuple[SketchRow, ...]
    hours: tuple[HourRow, ...]
    sizes: tuple[SizeRow, ...]


def slippage(
    fills: Frame,
    order_of: Ints,
    chains: Chains,
    got: Filled,
    orders: Frame,
    instruments: Frame,
    market: Market,
) -> Slippage:
    """Sums of all fills of the session."""
    by_order = _by_order(fills, chains, got, orders, instruments, market)
    control = fills.coverage.control
    scale_q, scale_p = (int(control[f"{n}_scale"]) for n in ("quantity", "price"))
    scales = {name: prices.scale for name, prices in by_order.items()}
    if isinstance(market.mids, Mids):
        scales |= dict.fromkeys(("fill_mid", *MARKOUTS_S), max(scale_p, market.mids.scale))
    size_of = sizes_of_orders(chains, orders, instruments).astype(np.int8)
    sums = _Sums(units_of(fills.table["instrument_id"].cat.categories, instruments))
    for part in parts(fills.table, order_of):
        view = _View(part, scale_p, _mid_keys(market, part))
        # A fill without an order reads the entry at the end.
        root = np.append(chains.root, -1)[part.order]
        sums.begin(view, market.hours(part.ints("executed_us")), size_of[part.order])
        for name in BENCHMARKS:
            if name in by_order:
                prices = by_order[name]
                sums.add(name, view, scales[name], prices.doubled[root], prices.known[root])
            elif name in scales:
                assert isinstance(market.mids, Mids)
                mid, known = view.mid(market.mids, MARKOUTS_S.get(name, 0))
                mid = rescale(mid, scales[name] - market.mids.scale)
                sums.add(name, view, scales[name], mid, known)
    return Slippage(
        cells=sums.cells(scales, scale_q, scale_p, instruments),
        sketches=sums.sketches(scales, scale_q),
        hours=tuple(
            HourRow(hour=hour, **amounts)
            for hour, amounts in sums.cut(lambda slot: slot // SIZES, scales["arrival"], scale_q)
        ),
        sizes=joined_sizes(
            SizeRow(size=SIZE_NAMES[size], **amounts)
            for size, amounts in sums.cut(lambda slot: slot % SIZES, scales["arrival"], scale_q)
        ),
    )


def _by_order(
    fills: Frame, chains: Chains, got: Filled, orders: Frame, instruments: Frame, market: Market
) -> dict[str, Prices]:
    """The benchmarks that all fills of a chain share."""
    scale_p = int(fills.coverage.control["price_scale"])
    found = {}
    for name in ("decision", "arrival"):
        found[name] = _doubled(
            chains.table[f"{name}_price"].to_numpy(),
            chains.table[f"{name}_price_known"].to_numpy(),
            int(orders.coverage.control[f"{name}_price_scale"]),
            scale_p,
        )
    if isinstance(market.tape, Tape):
        price, known, scale = interval_vwap(market.tape, chains, got, instruments, market.window_us)
        found["interval_vwap"] = _doubled(price, known, scale, scale_p)
    return found


def _doubled(price: Ints, known: Ints, scale: int, at_least: int) -> Prices:
    wide = max(scale, at_least)
    # Doubled like a mid, so that all benchmarks are handled alike.
    price = doubled(rescale(price, wide - scale))
    return Prices(np.append(price, 0), np.append(known, False), wide)


def interval_vwap(
    tape: Tape, chains: Chains, got: Filled, instruments: Frame, window_us: tuple[int, int]
) -> tuple[Ints, Ints, int]:
    """The market's VWAP while each chain was in it, by row of the chain's first order.

    From arrival, or the start of the session if that is later, to the last fill, or to the end of
    the last order if that is later and in the session. Prices, whether known, and their scale.
    """
    table, root = chains.table, chains.root
    done = table["done_us"].to_numpy()
    inside = (done >= window_us[0]) & (done < window_us[1])
    end = np.full(len(chains), -1)
    np.maximum.at(end, root, np.maximum(got.last_in_session_us, np.where(inside, done, -1)))
    start = np.maximum(table["placed_us"].to_numpy(), window_us[0])
    rows = np.flatnonzero((end >= start) & (root == np.arange(len(chains))))
    ticks = (-int(t.as_tuple().exponent) for t in instruments.table["tick"])
    # Of the instruments, not of what happened to trade: a month rounds as its days do.
    scale = max([0, *ticks]) + VWAP_DIGITS
    code = tape.line.codes(table["instrument_id"].cat.categories)
    code = code[table["instrument_id"].cat.codes.to_numpy()]
    price, known = np.zeros(len(chains), np.int64), np.zeros(len(chains), bool)
    for at in range(0, len(rows), VWAPS_AT_ONCE):
        some = rows[at : at + VWAPS_AT_ONCE]
        found, traded = tape.vwap(
            tape.line.keys(code[some], start[some]),
            tape.line.keys(code[some], end[some]),
            scale - tape.price_scale,
        )
        found = ints(found.tolist()) if found.dtype == object else found
        if found.dtype == object:
            price = price.astype(object)
        price[some], known[some] = np.where(traded, found, 0), traded
    return price, known, scale


VWAPS_AT_ONCE = 100_000


def _mid_keys(market: Market, part: Part) -> Ints | None:
    """Where each fill stands on the line of the mids."""
    if not isinstance(market.mids, Mids):
        return None
    line = market.mids.line
    code = line.codes(part.table["instrument_id"].cat.categories)[part.codes("instrument_id")]
    return line.keys(code, part.ints("executed_us"))


class _View:
    """One part of the fills, as every benchmark needs it."""

    def __init__(self, part: Part, scale_p: int, mid_keys: Ints | None) -> None:
        self.part = part
        self.rows = len(part.table)
        self.quantity = part.ints("quantity")
        self.side = part.ints("side")
        self.signed = self.quantity * self.side
        self._paid = {scale_p: part.ints("price")}
        self._scale_p = scale_p
        self._keys = mid_keys
        if mid_keys is not None:
            # Needles in order are found twenty times faster.
            self._order = np.argsort(mid_keys)
            self._sorted = mid_keys[self._order]

    def doubled(self, scale: int) -> Ints:
        """Prices paid, doubled, at a scale."""
        if scale not in self._paid:
            self._paid[scale] = rescale(self._paid[self._scale_p], scale - self._scale_p)
        return doubled(self._paid[scale])

    def mid(self, mids: Mids, later_s: int) -> tuple[Ints, Ints]:
        """The mid at each fill, or some seconds after it, and whether there is one."""
        if later_s:
            found, there = mids.after(self._sorted, later_s * SECOND_US)
        else:
            found, there = mids.as_of(self._sorted)
        mid, known = np.empty_like(found), np.empty_like(there)
        mid[self._order], known[self._order] = found, there
        return mid, known


#: A slot is an hour of the day and a size: both cuts from one pass over the fills.
SIZES = len(SIZE_NAMES)
SLOTS = 24 * SIZES
#: What is summed against each benchmark.
_SUMMED = ("fills", "cost", "notional")


class _Sums:
    """Totals over the parts."""

    def __init__(self, units: Units) -> None:
        self._units = units
        self._cell_of: dict[int, int] = {}
        self._keys: list[tuple[str, ...]] = []
        self._by_cell = ByGroup()
        self._weights: dict[str, ByGroup] = {}
        self._by_slot = ByGroup()

    def begin(self, view: _View, hour: Ints, size: Ints) -> None:
        """Group a part's rows; count them and their notional."""
        part = view.part
        code = np.zeros(view.rows, np.int64)
        for name in SLIPPAGE_CELL:
            # Null is a word of its own: its code is -1.
            code = code * (len(part.table[name].cat.categories) + 1) + part.codes(name) + 1
        self._code, unique = pd.factorize(code)
        new = [at for at, value in enumerate(unique.tolist()) if value not in self._cell_of]
        if new:
            first = np.zeros(len(unique), np.int64)
            first[self._code[::-1]] = np.arange(view.rows)[::-1]
            rows = part.table.iloc[first[new]][SLIPPAGE_CELL].astype(str)
            for at, key in zip(new, rows.itertuples(index=False), strict=True):
                self._cell_of[int(unique[at])] = len(self._keys)
                self._keys.append(tuple(key))
        self._cells = np.array([self._cell_of[value] for value in unique.tolist()], dtype=np.int64)
        self._unit = self._units.by_code[part.codes("instrument_id")]
        self._slot = self._unit * SLOTS + hour * SIZES + size
        paid = products(view.quantity, part.ints("price"), view.rows)
        for name, limbs in (("fills", limbs_of(np.ones(view.rows, np.int64), 1)), ("paid", paid)):
            self._by_cell.add(name, self._cells, summed(limbs, self._code, len(self._cells)))

    def add(self, name: str, view: _View, scale: int, price: Ints, known: Ints) -> None:
        """Sum a part's fills against one benchmark, a doubled ``price`` each, where ``known``."""
        if not known.any():
            return
        rows = view.rows
        base = np.where(known, price, 0)
        worse = np.where(known, view.doubled(scale) - base, 0)
        base = np.abs(base)  # a price can be negative; what is at stake is not
        cost = products(view.signed, worse, rows)
        notional = products(view.quantity, base, rows)
        there = [(0, known.astype(np.int64))]
        groups = len(self._cells)
        for what, limbs in zip(_SUMMED, (there, cost, notional), strict=True):
            self._by_cell.add(f"{name} {what}", self._cells, summed(limbs, self._code, groups))
        bps = _bps(view.side * worse, base)
        bucket = self._unit * WIDTH + codes_of(bps)
        width = len(self._units.units) * WIDTH
        weights = summed(notional, bucket, width)
        met = np.flatnonzero(weights)
        self._weights.setdefault(name, ByGroup()).add("weight", met, weights[met])
        if name == "arrival":
            slots = len(self._units.units) * SLOTS
            for what, limbs in zip(_SUMMED, (there, cost, notional), strict=True):
                sums = summed(limbs, self._slot, slots)
                self._by_slot.add(what, np.arange(slots), sums)

    def cells(
        self, scales: Mapping[str, int], scale_q: int, scale_p: int, instruments: Frame
    ) -> pd.DataFrame:
        """A row a cell, in order of its key."""
        known = {row["instrument_id"]: row for row in instruments.table.to_dict("records")}
        totals = {name: self._by_cell.all(name) for name in ("fills", "paid")}
        for name in scales:
            totals |= {f"{name} {w}": self._by_cell.all(f"{name} {w}") for w in _SUMMED}
        # Prices were doubled: half of a unit's worth is what one of the sums stands for.
        worth = {
            (instrument, scale): EXACT.multiply(
                EXACT.scaleb(row["multiplier"], -scale_q - scale), Decimal("0.5")
            )
            for instrument, row in known.items()
            for scale in {*scales.values(), scale_p}
        }
        rows = []
        for at, key in sorted(enumerate(self._keys), key=lambda cell: cell[1]):
            sums = {}
            for name, scale in scales.items():
                fills, *amounts = (totals[f"{name} {w}"].get(at, 0) for w in _SUMMED)
                unit = worth[key[3], scale]
                cost, notional = (EXACT.multiply(Decimal(a), unit) for a in amounts)
                if fills or name == "arrival":
                    sums[name] = BenchmarkSum(
                        benchmark=name, fills=fills, cost=cost, notional=notional
                    )
            arrival = sums.pop("arrival")
            paid = Decimal(2 * totals["paid"].get(at, 0))
            rows.append(
                {
                    **dict(zip(SLIPPAGE_CELL, key, strict=True)),
                    "currency": known[key[3]]["currency"],
                    "fills": totals["fills"].get(at, 0),
                    "fills_covered": arrival.fills,
                    "notional": EXACT.multiply(paid, worth[key[3], scale_p]),
                    "cost": arrival.cost,
                    "arrival_notional": arrival.notional,
                    "benchmarks": tuple(sums[name] for name in BENCHMARKS if name in sums),
                }
            )
        return pd.DataFrame(rows)

    def sketches(self, scales: Mapping[str, int], scale_q: int) -> tuple[SketchRow, ...]:
        """A sketch for each benchmark and currency."""
        found: dict[tuple[str, str], dict[int, Decimal]] = {}
        for name, weights in self._weights.items():
            for at, whole in weights.nonzero("weight"):
                unit, code = divmod(at, WIDTH)
                amount = self._units.half(unit, whole, scale_q + scales[name])
                into = found.setdefault((name, self._units.units[unit][0]), {})
                bucket = bucket_of(code)
                into[bucket] = EXACT.add(into.get(bucket, Decimal(0)), amount)
        return tuple(
            SketchRow(benchmark=name, currency=currency, sketch=sketch_of(weights))
            for (name, currency), weights in sorted(found.items())
        )

    def cut(
        self, key: Callable[[int], int], scale: int, scale_q: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Cost and notional at arrival by ``key`` of the slot and by currency, in their order."""
        found: dict[tuple[int, str], dict[str, Any]] = {}
        for at, fills in self._by_slot.nonzero("fills"):
            unit, slot = divmod(at, SLOTS)
            currency = self._units.units[unit][0]
            nothing = {"fills": 0, "cost": Decimal(0), "notional": Decimal(0)}
            into = found.setdefault((key(slot), currency), {"currency": currency, **nothing})
            into["fills"] += fills
            for name in ("cost", "notional"):
                whole = self._by_slot.of(name, at)
                amount = self._units.half(unit, whole, scale_q + scale)
                into[name] = EXACT.add(into[name], amount)
        for (number, _), sums in sorted(found.items(), key=lambda item: item[0]):
            yield number, sums


def _bps(worse: Ints, base: Ints) -> npt.NDArray[Any]:
    """Basis points of each fill, for its bucket only; 0 where there is no notional to weigh it."""
    size = base.astype(np.float64)
    return np.divide(
        worse.astype(np.float64) * 10_000.0, size, out=np.zeros(len(size)), where=size > 0
    )
