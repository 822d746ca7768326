"""The ratio of a split, as the ledger tells it: two whole numbers, or one decimal.

A ledger gives ``ratio_new`` new units for ``ratio_old`` old ones, so that 1 for 3 is exact, or, as
ledgers did before there were those columns, ``ratio`` new units for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeGuard

#: A ratio with more decimals is taken for one that has no end, as 1/3 written in decimals.
RATIO_DECIMALS = 12
#: A number as large, or with more decimals, is none: sums of products would not come out exactly.
LARGEST, DECIMALS = Decimal("1e30"), 30


def split_ratio(row: Mapping[Any, Any]) -> tuple[Decimal, Decimal] | None:
    """New units and the old ones that they are for; None where they can't be booked.

    Where both spellings are there, the decimal has to be the quotient to its last place.
    """
    one: Any = row.get("ratio")
    new: Any = row.get("ratio_new")
    old: Any = row.get("ratio_old")
    if not is_given(new) and not is_given(old):
        if not is_number(one) or one <= 0 or _decimals(one) > RATIO_DECIMALS:
            return None
        return one, Decimal(1)
    for number in (new, old):
        if not is_number(number) or number <= 0 or number != number.to_integral_value():
            return None
    if is_given(one):
        quotient = Fraction(new) / Fraction(old)
        if not is_number(one) or abs(Fraction(one) - quotient) >= Fraction(1, 10 ** _decimals(one)):
            return None
    return new, old


def has_end(ratio: Fraction) -> bool:
    """Whether a ratio is a decimal with finitely many places."""
    rest = ratio.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _decimals(number: Decimal) -> int:
    return max(-int(number.normalize().as_tuple().exponent), 0)


def is_given(value: Any) -> bool:
    """Whether a column is there and not null; pandas has NaN for null among numbers."""
    return value is not None and not (isinstance(value, float) and value != value)


def is_number(value: Any) -> TypeGuard[Decimal]:
    """Whether a value from the ledger is a number at all, as the queries of others ask too."""
    return (
        isinstance(value, Decimal)
        and value.is_finite()
        and abs(value) < LARGEST
        and int(value.as_tuple().exponent) >= -DECIMALS
    )
