"""Order chains: the newest version of every order, and what replaced what.

A chain of cancel/replace is one order. Its arrival and decision prices are those of its first order
(the root); it is done when its last order is, and what was filled counts over all of its orders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import ValidationFailed
from ...model import Frame
from ..fifo import Ints
from .sums import Limbs

#: A chain longer than this is a circle.
LONGEST_CHAIN = 10_000
_CIRCLE = "orders replace each other in a circle; expected chains with a root"


@dataclass(frozen=True)
class Chains:
    """The newest version of every order, with links between them as row numbers; -1 is none."""

    table: pd.DataFrame
    parent: Ints

    def __len__(self) -> int:
        return len(self.table)

    def rows_by_code(self, order_id: pd.Series) -> Ints:
        """The row of each category of a column of order ids, -1 where the ledger has no such order.

        The last entry is for fills without an id, whose code is -1.
        """
        return np.append(self.rows_of(pd.Index(order_id.cat.categories)), -1)

    def rows_of(self, order_ids: pd.Index) -> Ints:
        """The row of each named order, -1 where there is none."""
        return found_at(order_ids, self.table["order_id"])

    @cached_property
    def root(self) -> Ints:
        """The first order of each order's chain."""
        root = np.arange(len(self.table))
        for _ in range(LONGEST_CHAIN):
            parent = self.parent[root]
            if (parent < 0).all():
                return root
            root = np.where(parent >= 0, parent, root)
        raise ValidationFailed(_CIRCLE)

    def along(self, own: Ints, combine: Callable[[Ints, Ints], Any], nothing: Any) -> Ints:
        """``own`` of each order combined with that of all that it replaced."""
        total, at = own, self.parent
        for _ in range(LONGEST_CHAIN):
            if (at < 0).all():
                return total
            total = combine(total, np.where(at >= 0, own[at], nothing))
            at = np.where(at >= 0, self.parent[at], -1)
        raise ValidationFailed(_CIRCLE)

    def with_ancestors(self, own: Ints) -> Ints:
        """Sum of ``own`` over each order and all that it replaced."""
        return self.along(own, np.add, 0)

    def limbs_with_ancestors(self, own: Limbs) -> Limbs:
        """The same for sums kept as limbs."""
        return [(shift, self.with_ancestors(part)) for shift, part in own]


def chains_of(orders: Frame) -> Chains:
    """The chains of the orders read, whose versions arrive in any order."""
    # The newest version recorded is in force.
    table = orders.table.iloc[np.argsort(orders.table["recorded_us"].to_numpy(), kind="stable")]
    table = table.drop_duplicates("order_id", keep="last").reset_index(drop=True)
    parent = np.full(len(table), -1)
    replacing = np.flatnonzero(table["replaces"].notna().to_numpy())
    if len(replacing):
        parent[replacing] = found_at(table["replaces"].iloc[replacing], table["order_id"])
    return Chains(table, parent)


def found_at(wanted: pd.Series | pd.Index, ids: pd.Series) -> Ints:
    """The row in ``ids`` (each there once) of every one of ``wanted``, -1 where there is none.

    Arrow compares the texts where they lie; pandas would make a Python text of each, at six times
    the cost.
    """
    kind = pa.large_string()
    rows = pc.index_in(pa.array(wanted, kind), value_set=pa.array(ids, kind))
    return np.asarray(rows.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64))
