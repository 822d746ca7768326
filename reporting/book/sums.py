"""Exact sums by cell: what every measure of the fills is made of."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd

from .fifo import Ints

#: Identifiers that a finding names at most.
SAMPLES = 5
#: Combinations that are always told apart by a table of all of them.
SMALL = 1 << 16
#: What a cell is of; with a currency, its key.
CELL = ["strategy", "agent", "account_id", "instrument_id"]

_CURRENCY = re.compile(r"[A-Z]{3}")


def is_currency(value: Any) -> bool:
    """Whether a value from the ledger is a currency's code."""
    return isinstance(value, str) and _CURRENCY.fullmatch(value) is not None


def said(value: Any) -> str:
    """A text from the ledger, nothing as an empty one."""
    return value if isinstance(value, str) else ""


def grouped(table: pd.DataFrame, by: list[str]) -> tuple[Ints, list[tuple[str, ...]]]:
    """A code a row for the combination of categorical columns, and what each code stands for.

    None of the columns has a null. Combinations come in the order of their categories.
    """
    sizes = [max(len(table[name].cat.categories), 1) for name in by]
    code = np.zeros(len(table), np.int64)
    for name, size in zip(by, sizes, strict=True):
        if size > 1:  # a column of one word tells nothing apart
            code = code * size + table[name].cat.codes.to_numpy()
    most = math.prod(sizes)
    if most <= max(4 * len(table), SMALL):  # to mark and look up is a tenth of a hash of each row
        seen = np.flatnonzero(np.bincount(code, minlength=1))
        place = np.zeros(most, np.int64)
        place[seen] = np.arange(len(seen))
        codes = place[code]
    else:
        codes, seen = pd.factorize(code, sort=True)
    names, rest = [], seen
    for name, size in zip(reversed(by), reversed(sizes), strict=True):
        rest, at = np.divmod(rest, size)
        names.append(table[name].cat.categories.astype(str).to_numpy()[at] if len(seen) else at)
    return codes, list(zip(*reversed(names), strict=True))


def sum_by(code: Ints, groups: int, values: Ints) -> Ints:
    """Exact sum of ``values`` (n,) by ``code`` (n,) into ``groups`` integers.

    Leaves int64 for Python integers where a sum could overflow.
    """
    if values.dtype != object and len(values):
        bound = float(np.abs(values).max()) * len(values)
        if bound >= 2.0**62:
            values = values.astype(object)
    out = np.zeros(groups, dtype=values.dtype if values.dtype == object else np.int64)
    np.add.at(out, code, values)
    return out


def product(left: Ints, right: Ints) -> Ints:
    """Elementwise product, in Python integers where int64 could overflow."""
    if left.dtype == object or right.dtype == object or not len(left):
        return np.asarray(left * right)
    if float(np.abs(left).max()) * float(np.abs(right).max()) >= 2.0**62:
        return np.asarray(left.astype(object) * right.astype(object))
    return np.asarray(left * right)
