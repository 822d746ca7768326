"""The order chains that became final in a session: how much of them was filled, when and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import ceil
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...model import EXACT, Finding, Frame, plain
from ..fifo import Ints, ints, rescale
from ..session import CELL, SAMPLES, grouped, product, sum_by
from .chains import Chains
from .fills import NEVER, Filled, Units, units_of
from .merging import joined_groups, joined_latencies
from .sketch import WIDTH, bucket_of, codes_of, sketch_of
from .sums import products, summed, together
from .values import LatencyRow, OrderGroup

FINAL = ("filled", "cancelled", "rejected", "expired")
ORDER_CELL = [*CELL, "reject_reason"]
COUNTED = ("orders", "orders_full", "orders_any", "overfilled")
#: Bounds of the size buckets, in the instrument's currency at the arrival price.
SIZES = tuple(10**power for power in range(3, 10))
NO_SIZE, NO_QUANTITY = "no arrival price", "no order quantity"
#: In what order sizes are shown.
SIZE_NAMES = (
    f"below {SIZES[0]:,}",
    *(f"{low:,} to {high:,}" for low, high in pairwise(SIZES)),
    f"{SIZES[-1]:,} and more",
    NO_SIZE,
    NO_QUANTITY,
)
#: Zones differ from UTC by whole quarters of an hour.
QUARTER_US = 900_000_000
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@dataclass(frozen=True)
class Final:
    """The chains whose last order became final in the session, rows in step; quantities scaled.

    ``last`` and ``root`` are rows of the orders.
    """

    chains: Chains
    got: Filled
    last: Ints
    root: Ints
    ordered: Ints
    filled: Ints
    quantity_scale: int
    units: Units  # of the orders' instruments
    arrival: Ints  # of the first order, without its sign; 0 where it has no value
    valued: Ints
    arrival_scale: int
    hour: Ints  # local, of placing the first order

    @property
    def table(self) -> pd.DataFrame:
        """The last order of each chain."""
        return self.chains.table.iloc[self.last]

    @cached_property
    def unit(self) -> Ints:
        """The unit of each chain's instrument."""
        codes = self.chains.table["instrument_id"].cat.codes.to_numpy()
        return np.asarray(self.units.by_code[codes[self.last]])

    @cached_property
    def rejected(self) -> Ints:
        """Which chains never reached a market."""
        return np.asarray((self.table["status"] == "rejected").to_numpy())

    @cached_property
    def counted(self) -> Ints:
        """What of the filled quantity is in a fill rate: no chain hides what another lacks."""
        return np.minimum(self.filled, self.ordered)

    @cached_property
    def size(self) -> Ints:
        """The place of each chain's size among SIZE_NAMES: what its last order wanted."""
        scale = self.quantity_scale + self.arrival_scale
        return sizes(self.ordered, self.arrival, self.valued, self.unit, self.units, scale)

    def subset(self, chosen: Ints) -> Final:
        """Some of the chains."""
        names = ("last", "root", "ordered", "filled", "arrival", "valued", "hour")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})


def final_chains(
    chains: Chains,
    got: Filled,
    orders: Frame,
    instruments: Frame,
    window_us: tuple[int, int],
    zone: str,
) -> Final:
    """Every chain that became final in the window, with what it ordered and what it got."""
    table = chains.table
    scale_o = int(orders.coverage.control["quantity_scale"])
    scale = max(scale_o, got.quantity_scale)
    whole = chains.with_ancestors(rescale(got.quantity, scale - got.quantity_scale))
    done = table["done_us"].to_numpy()
    final = table["status"].isin(FINAL).to_numpy()
    final = final & (done >= window_us[0]) & (done < window_us[1])
    # What another order replaced is no last one, whatever its status says.
    final[chains.parent[chains.parent >= 0]] = False
    last = np.flatnonzero(final & wanted(table))
    root = chains.root[last]
    arrival, valued = arrivals(chains, units_of_orders(chains, instruments))
    return Final(
        chains=chains,
        got=got,
        last=last,
        root=root,
        ordered=rescale(table["quantity"].to_numpy(), scale - scale_o)[last],
        filled=whole[last],
        quantity_scale=scale,
        units=units_of_orders(chains, instruments),
        arrival=arrival[last],
        valued=valued[last],
        arrival_scale=int(orders.coverage.control["arrival_price_scale"]),
        hour=local_hours(table["placed_us"].to_numpy()[root], zone),
    )


def units_of_orders(chains: Chains, instruments: Frame) -> Units:
    """Units of the instruments of orders."""
    return units_of(chains.table["instrument_id"].cat.categories, instruments)


def arrivals(chains: Chains, units: Units) -> tuple[Ints, Ints]:
    """The arrival price of each order's chain, without its sign, and whether it gives a value.

    An instrument that we don't know has no currency: its orders are counted and have no value.
    """
    price = chains.table["arrival_price"].to_numpy()[chains.root]
    known = chains.table["arrival_price_known"].to_numpy()[chains.root]
    unit = units.by_code[chains.table["instrument_id"].cat.codes.to_numpy()]
    valued = known & (unit < len(units.units) - 1)
    return np.where(valued, np.abs(price), 0), valued


def sizes_of_orders(chains: Chains, orders: Frame, instruments: Frame) -> Ints:
    """The place of each order's own size among SIZE_NAMES; the last entry is for no order."""
    units = units_of_orders(chains, instruments)
    price, valued = arrivals(chains, units)
    names = ("quantity_scale", "arrival_price_scale")
    scale = sum(int(orders.coverage.control[name]) for name in names)
    quantity = chains.table["quantity"].to_numpy()
    unit = units.by_code[chains.table["instrument_id"].cat.codes.to_numpy()]
    found = sizes(quantity, price, valued, unit, units, scale)
    found[~wanted(chains.table)] = SIZE_NAMES.index(NO_QUANTITY)
    return np.append(found, SIZE_NAMES.index(NO_SIZE))


def wanted(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which orders say how much they wanted of what; the others can be in no fill rate."""
    found = (table["quantity"] > 0).to_numpy().astype(bool)
    if "quantity_known" in table:
        found = found & table["quantity_known"].to_numpy().astype(bool)
    return np.asarray(found & named(table))


def named(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which orders say what they are, whose, and of what."""
    return np.asarray(table[["order_id", "account_id", "instrument_id"]].notna().all(axis=1))


def order_cells(final: Final) -> pd.DataFrame:
    """Chains by cell; rejects by reason."""
    last = final.table
    reason = last["reject_reason"].astype(object).where(last["reject_reason"].notna(), "")
    reason = np.where(final.rejected, np.where(reason == "", "no reason given", reason), "")
    code, cells = grouped(last.assign(reject_reason=pd.Categorical(reason)), ORDER_CELL)
    sums = {
        "orders": np.ones(len(last), np.int64),
        "orders_full": (final.filled >= final.ordered).astype(np.int64),
        "orders_any": (final.filled > 0).astype(np.int64),
        "ordered": final.ordered,
        "filled": final.counted,
        "overfilled": (final.filled > final.ordered).astype(np.int64),
        "excess": final.filled - final.counted,
    }
    totals = {name: sum_by(code, len(cells), values) for name, values in sums.items()}
    return pd.DataFrame(
        [
            {
                **dict(zip(ORDER_CELL, key, strict=True)),
                **{n: int(totals[n][i]) for n in COUNTED},
                **{
                    n: EXACT.scaleb(Decimal(int(totals[n][i])), -final.quantity_scale)
                    for n in ("ordered", "filled", "excess")
                },
            }
            for i, key in sorted(enumerate(cells), key=lambda cell: cell[1])
        ]
    )


def overfilled(final: Final) -> tuple[Finding, ...]:
    """Chains that got more than they ordered."""
    over = np.flatnonzero(final.filled > final.ordered)
    if not len(over):
        return ()
    ids = final.table["order_id"].iloc[over].reset_index(drop=True).sort_values().head(SAMPLES)
    few = over[ids.index.to_numpy()]
    got, wanted_ = (
        [plain(EXACT.scaleb(Decimal(int(n)), -final.quantity_scale)) for n in amounts[few]]
        for amounts in (final.filled, final.ordered)
    )
    return (
        Finding(
            check="order filled beyond its quantity",
            severity="warning",
            count=len(over),
            detail="booked as filled; a fill rate counts what was ordered and no more",
            # The identifier first: parts of a session are joined in order of it.
            samples=tuple(f"{i} ({n} of {of})" for i, n, of in zip(ids, got, wanted_, strict=True)),
        ),
    )


def order_groups(final: Final) -> tuple[OrderGroup, ...]:
    """Accepted chains by hour and agent, by size, and by venue."""
    final = final.subset(np.flatnonzero(~final.rejected))
    chains, table = final.chains, final.table
    steps = chains.with_ancestors(np.ones(len(chains), np.int64))[final.last] - 1
    sums = _GroupSums(final, steps)

    agents = table["agent"].cat.categories.astype(str)
    agent = table["agent"].cat.codes.to_numpy()
    every = np.arange(len(final.last))
    found = sums.by(
        "hour",
        every,
        [(f"{h:02d}", a) for a in ["", *agents] for h in range(24)],
        (agent + 1) * 24 + final.hour,
        final.counted,
    )
    found += sums.by("size", every, [(n, "") for n in SIZE_NAMES], final.size, final.counted)
    for name, at_venue in final.got.at_venue.items():
        there = together(
            [(s, part[final.last]) for s, part in chains.limbs_with_ancestors(at_venue.quantity)]
        )
        there = rescale(there, final.quantity_scale - final.got.quantity_scale)
        some = np.flatnonzero(there > 0)
        found += sums.by("venue", some, [(name, "")], np.zeros(len(some), np.int64), there[some])
    return joined_groups(found)


class _GroupSums:
    """Sums the same columns by whatever grouping."""

    def __init__(self, final: Final, steps: Ints) -> None:
        self._final, self._price = final, final.arrival
        self._scale = final.quantity_scale + final.arrival_scale
        self._columns = {
            "orders": np.ones(len(final.last), np.int64),
            "orders_full": (final.filled >= final.ordered).astype(np.int64),
            "orders_any": (final.filled > 0).astype(np.int64),
            "cancelled": (final.table["status"] == "cancelled").to_numpy().astype(np.int64),
            "replaced": (steps > 0).astype(np.int64),
            "replaces": steps,
            "valued": final.valued.astype(np.int64),
        }

    def by(
        self, what: str, rows: Ints, names: Sequence[tuple[str, str]], code: Ints, filled: Ints
    ) -> list[OrderGroup]:
        """A group for each (key, agent) of ``names`` and currency that has any of the ``rows``.

        ``code`` and ``filled`` are of these rows: their place in ``names``, and how much of them
        the group filled.
        """
        units, price = self._final.units.units, self._price[rows]
        group = code * len(units) + self._final.unit[rows]
        groups, n = len(names) * len(units), len(rows)
        counts = {k: sum_by(group, groups, v[rows]) for k, v in self._columns.items()}
        ordered = summed(products(self._final.ordered[rows], price, n), group, groups)
        got = summed(products(filled, price, n), group, groups)
        found = []
        for at in np.flatnonzero(counts["orders"]).tolist():
            name, unit = divmod(at, len(units))
            key, agent = names[name]
            found.append(
                OrderGroup(
                    by=what,
                    key=key,
                    agent=agent,
                    currency=units[unit][0],
                    **{k: int(v[at]) for k, v in counts.items()},
                    ordered=self._final.units.amount(unit, int(ordered[at]), self._scale),
                    filled=self._final.units.amount(unit, int(got[at]), self._scale),
                )
            )
        return found


def sizes(quantity: Ints, price: Ints, valued: Ints, unit: Ints, units: Units, scale: int) -> Ints:
    """The place of each size among SIZE_NAMES: quantity × arrival price × multiplier."""
    worth = product(quantity, price)
    found = np.full(len(worth), SIZE_NAMES.index(NO_SIZE))
    for number, (_, multiplier) in enumerate(units.units[:-1]):
        mine = (unit == number) & valued
        if not (mine.any() and multiplier):
            continue
        # The least whole number of units that reaches each bound.
        per = Fraction(abs(multiplier)) / 10**scale
        bounds = ints([ceil(size / per) for size in SIZES])
        found[mine] = np.searchsorted(bounds, worth[mine], side="right")
    return found


def local_hours(when_us: Ints, zone: str) -> Ints:
    """The hour of the day, in ``zone``, of each instant."""
    quarters, where = np.unique(when_us // QUARTER_US, return_inverse=True)
    return _hours(quarters, zone)[where]


def hours_of_quarters(window_us: tuple[int, int], zone: str) -> Ints:
    """The local hour of each quarter of an hour, counted from 1970, that the window touches."""
    return _hours(np.arange(window_us[0] // QUARTER_US, -(-window_us[1] // QUARTER_US)), zone)


def _hours(quarters: Ints, zone: str) -> Ints:
    local = ZoneInfo(zone)
    return np.array(
        [(EPOCH + timedelta(seconds=900 * q)).astimezone(local).hour for q in quarters.tolist()],
        dtype=np.int64,
    )


def latencies(final: Final) -> tuple[tuple[LatencyRow, ...], tuple[Finding, ...]]:
    """Time from placing to the first and to the last fill, of every chain that was filled.

    By agent, by hour of placing, by size and by venue.
    """
    final = final.subset(np.flatnonzero(~final.rejected))
    chains, got = final.chains, final.got
    first = chains.along(got.first_us, np.minimum, NEVER)[final.last]
    last = chains.along(got.last_us, np.maximum, -1)[final.last]
    placed = chains.table["placed_us"].to_numpy()[final.root]
    early = (last >= 0) & (first < placed)
    # Times are from placing: -1 where there is none.
    spans = _spans(placed, first, last, early)
    names = [*final.table["agent"].cat.categories.astype(str), ""]
    agent = final.table["agent"].cat.codes.to_numpy().astype(np.int64) % len(names)
    rows = [
        *_latency_rows("agent", names, agent, spans),
        *_latency_rows("hour", [f"{h:02d}" for h in range(24)], final.hour, spans),
        *_latency_rows("size", SIZE_NAMES, final.size, spans),
    ]
    nowhere = np.zeros(len(final.last), np.int64)
    for name, at in got.at_venue.items():
        there = _spans(
            placed,
            chains.along(at.first_us, np.minimum, NEVER)[final.last],
            chains.along(at.last_us, np.maximum, -1)[final.last],
            early,
        )
        rows += _latency_rows("venue", [name], nowhere, there)
    joined = joined_latencies(rows)
    if not early.any():
        return joined, ()
    finding = Finding(
        check="fill before its order was placed",
        severity="warning",
        count=int(early.sum()),
        detail="orders whose first fill is earlier than placed_at; in no latency",
        samples=tuple(final.table.loc[early, "order_id"].sort_values().head(SAMPLES)),
    )
    return joined, (finding,)


def _spans(placed: Ints, first: Ints, last: Ints, early: Ints) -> dict[str, Ints]:
    """Microseconds from placing to the first and the last fill; -1 where there is no such time."""
    there = (last >= 0) & ~early
    return {
        to: np.where(there, when - placed, -1) for to, when in (("first", first), ("last", last))
    }


def _latency_rows(
    by: str, names: Sequence[str], code: Ints, spans: dict[str, Ints]
) -> Iterator[LatencyRow]:
    """A sketch for each of ``names``, of which ``code`` (n,) has the place, and each end."""
    for to, took in spans.items():
        some = np.flatnonzero(took >= 0)
        bucket = code[some] * WIDTH + codes_of(took[some].astype(np.float64) / 1000.0)
        counts = np.bincount(bucket, minlength=len(names) * WIDTH).reshape(len(names), WIDTH)
        for at, name in enumerate(names):
            met = np.flatnonzero(counts[at]).tolist()
            if met:
                sketch = sketch_of({bucket_of(c): Decimal(int(counts[at][c])) for c in met})
                own = {"agent": name} if by == "agent" else {"key": name}
                yield LatencyRow(to=to, by=by, sketch=sketch, **own)
