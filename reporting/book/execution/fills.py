"""The session's fills in parts small enough for a few temporaries, and what each order got."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from ...model import EXACT, Frame
from ..fifo import Ints, rescale
from .chains import Chains
from .sums import ByRow, Limbs, limbs_of, products, together

#: Fills worked on at once: some 30 temporaries of 2 MiB.
PART = 1 << 18
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Units:
    """What one unit of an instrument's price × quantity is worth, by its code in a column.

    Instruments of the same currency and multiplier share a unit; unknown ones have the last, of no
    currency. The last code is for no instrument.
    """

    by_code: Ints
    units: tuple[tuple[str, Decimal], ...]

    def amount(self, unit: int, whole: int, scale: int) -> Decimal:
        """Money from an integer sum of price × quantity in units of 10^-scale."""
        return EXACT.scaleb(EXACT.multiply(Decimal(whole), self.units[unit][1]), -scale)

    def half(self, unit: int, whole: int, scale: int) -> Decimal:
        """The same where prices were doubled."""
        return EXACT.multiply(self.amount(unit, whole, scale), Decimal("0.5"))

    def currency_codes(self, currencies: pd.Index) -> Ints:
        """For each code of an instrument the code of its currency in another column, else -2."""
        found = currencies.get_indexer(pd.Index([c for c, _ in self.units]))
        return np.where(found < 0, -2, found)[self.by_code]


def units_of(categories: pd.Index, instruments: Frame) -> Units:
    """Units of a column's instruments."""
    known: dict[str, tuple[str, Decimal]] = {
        row["instrument_id"]: (row["currency"], row["multiplier"])
        for row in instruments.table.to_dict("records")
    }
    nothing = ("", Decimal(0))
    of = [known.get(name, nothing) for name in categories]
    units = [*sorted({unit for unit in of if unit != nothing}), nothing]
    number = {unit: i for i, unit in enumerate(units)}
    return Units(np.array([*(number[unit] for unit in of), len(units) - 1]), tuple(units))


@dataclass(frozen=True)
class Part:
    """Some rows of the fills: the columns, cut, and the row of each one's order (-1: none)."""

    table: pd.DataFrame
    order: Ints

    def ints(self, name: str) -> Ints:
        """A column of numbers."""
        return np.asarray(self.table[name].to_numpy())

    def codes(self, name: str) -> Ints:
        """The codes of a column of words."""
        return np.asarray(self.table[name].cat.codes.to_numpy())


def parts(fills: pd.DataFrame, order_of: Ints) -> Iterator[Part]:
    """All fills, a part at a time; ``order_of`` is the row of each code of ``order_id``."""
    for start in range(0, len(fills), PART):
        table = fills.iloc[start : start + PART]
        yield Part(table, order_of[table["order_id"].cat.codes.to_numpy()])


@dataclass(frozen=True)
class Filled:
    """What every order got, in and before the session, by row of the orders."""

    quantity: Ints
    quantity_scale: int
    amount: Limbs  # Σ quantity × price
    amount_scale: int
    fee: Limbs  # in the currency of the instrument
    fees_apart: dict[str, Limbs]  # in other currencies, by currency
    fee_scale: int
    first_us: Ints  # NEVER where there is no fill
    last_us: Ints  # -1 where there is no fill
    last_in_session_us: Ints  # the same, of the session alone
    at_venue: dict[str, AtVenue]


@dataclass(frozen=True)
class AtVenue:
    """What every order got at one venue, by row of the orders, and when."""

    quantity: Limbs
    first_us: Ints
    last_us: Ints


class _Venue:
    """The same while it is added up."""

    def __init__(self, orders: int, rows: int) -> None:
        self._quantity = ByRow(orders, rows)
        self.first, self.last = np.full(orders, NEVER), np.full(orders, -1)

    def add(self, at: Ints, quantity: Ints, first: Ints, last: Ints) -> None:
        """Add fills of the orders ``at``."""
        self._quantity.add(at, limbs_of(quantity, self._quantity.rows))
        np.minimum.at(self.first, at, first)
        np.maximum.at(self.last, at, last)

    def made(self) -> AtVenue:
        """What it came to."""
        return AtVenue(self._quantity.limbs(), self.first, self.last)


def filled(
    fills: Frame, order_of: Ints, chains: Chains, earlier: Frame, instruments: Frame
) -> Filled:
    """Sum the session's fills and those before it by order.

    ``earlier`` has a row an order, venue and fee currency: the sums of quantity, of ``amount``
    (quantity × price) and of fees, and the times of the first and the last fill.
    """
    names = ("quantity", "amount", "fee")
    control = fills.coverage.control
    own = {n: int(control[f"{n}_scale"]) for n in ("quantity", "price", "fee")}
    own["amount"] = own["quantity"] + own["price"]
    before = {n: int(earlier.coverage.control[f"{n}_scale"]) for n in names}
    scale = {n: max(own[n], before[n]) for n in names}
    orders, rows = len(chains), len(fills.table) + len(earlier.table)
    sums = {n: ByRow(orders, rows) for n in names}
    apart: dict[str, ByRow] = {}
    venues: dict[str, _Venue] = {}

    units = units_of(fills.table["instrument_id"].cat.categories, instruments)
    currencies = fills.table["fee_currency"].cat.categories
    currency_of = units.currency_codes(currencies)
    for part in parts(fills.table, order_of):
        keep = part.order >= 0
        if not keep.all():
            part = Part(part.table[keep], part.order[keep])
        at, quantity = part.order, part.ints("quantity")
        wide = rescale(quantity, scale["quantity"] - own["quantity"])
        sums["quantity"].add(at, limbs_of(wide, rows))
        price = rescale(part.ints("price"), scale["amount"] - own["amount"])
        sums["amount"].add(at, products(quantity, price, rows))
        fee = rescale(part.ints("fee"), scale["fee"] - own["fee"])
        paid_in = part.codes("fee_currency")
        same = paid_in == currency_of[part.codes("instrument_id")]
        sums["fee"].add(at, limbs_of(np.where(same, fee, 0), rows))
        other = ~same & (fee != 0)
        if other.any():
            for code in np.unique(paid_in[other]):
                mine = other & (paid_in == code)
                total = apart.setdefault(str(currencies[code]), ByRow(orders, rows))
                total.add(at[mine], limbs_of(fee[mine], rows))
        _by_venue(venues, part, wide, orders, rows)
    in_session = _over(venues, np.maximum, "last", orders, -1)
    _add_earlier(earlier, chains, instruments, before, scale, sums, apart, venues)
    return Filled(
        quantity=together(sums["quantity"].limbs()),
        quantity_scale=scale["quantity"],
        amount=sums["amount"].limbs(),
        amount_scale=scale["amount"],
        fee=sums["fee"].limbs(),
        fees_apart={currency: total.limbs() for currency, total in sorted(apart.items())},
        fee_scale=scale["fee"],
        first_us=_over(venues, np.minimum, "first", orders, NEVER),
        last_us=_over(venues, np.maximum, "last", orders, -1),
        last_in_session_us=in_session,
        at_venue={name: venues[name].made() for name in sorted(venues)},
    )


def _over(
    venues: dict[str, _Venue], combine: np.ufunc, name: str, orders: int, nothing: int
) -> Ints:
    """The least or the greatest time of each order over all venues; an array of its own."""
    found = np.full(orders, nothing)
    for venue in venues.values():
        combine(found, getattr(venue, name), out=found)
    return found


def _by_venue(
    venues: dict[str, _Venue], part: Part, quantity: Ints, orders: int, rows: int
) -> None:
    names, codes = part.table["venue"].cat.categories, part.codes("venue")
    when = part.ints("executed_us")
    for code in np.unique(codes).tolist():
        mine = codes == code
        venue = venues.setdefault("" if code < 0 else str(names[code]), _Venue(orders, rows))
        venue.add(part.order[mine], quantity[mine], when[mine], when[mine])


def _add_earlier(
    earlier: Frame,
    chains: Chains,
    instruments: Frame,
    before: dict[str, int],
    scale: dict[str, int],
    sums: dict[str, ByRow],
    apart: dict[str, ByRow],
    venues: dict[str, _Venue],
) -> None:
    """The rows of fills before the session, into the same sums."""
    table = earlier.table
    if not len(table):
        return
    rows = chains.rows_of(pd.Index(table["order_id"]))
    if (rows < 0).all():
        return
    table, rows = table[rows >= 0], rows[rows >= 0]
    values = {n: rescale(table[n].to_numpy(), scale[n] - before[n]) for n in before}
    many = sums["quantity"].rows
    for name in ("quantity", "amount"):
        sums[name].add(rows, limbs_of(values[name], many))
    traded: dict[Any, str] = {
        row["instrument_id"]: row["currency"] for row in instruments.table.to_dict("records")
    }
    own = chains.table["instrument_id"].astype(object).map(traded).to_numpy()[rows]
    paid = table["fee_currency"].astype(object).to_numpy()
    same = own == paid
    sums["fee"].add(rows, limbs_of(np.where(same, values["fee"], 0), many))
    other = ~same & (values["fee"] != 0)
    for currency in sorted({str(c) for c in paid[other]}):
        mine = other & (paid == currency)
        total = apart.setdefault(currency, ByRow(len(chains), many))
        total.add(rows[mine], limbs_of(values["fee"][mine], many))
    where = table["venue"].astype(object).where(table["venue"].notna(), "").to_numpy()
    for name in sorted(set(where)):
        mine = where == name
        venue = venues.setdefault(name, _Venue(len(chains), many))
        first, last = (table[n].to_numpy()[mine] for n in ("first_us", "last_us"))
        venue.add(rows[mine], values["quantity"][mine], first, last)
