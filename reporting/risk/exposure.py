"""Exposures at one close: gross, net, concentration, and what a stress scenario would cost.

All exact: values are amounts in base currency, shocks are percentages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

from ..model import EXACT, exact_sum

P = TypeVar("P")


@dataclass(frozen=True)
class Exposure:
    """Long and short values in base, each instrument netted first; ``short`` is positive."""

    long: Decimal
    short: Decimal

    @property
    def gross(self) -> Decimal:
        """Long and short together."""
        return EXACT.add(self.long, self.short)

    @property
    def net(self) -> Decimal:
        """Long less short."""
        return EXACT.subtract(self.long, self.short)


def netted(
    positions: Iterable[P], key: Callable[[P], str], value: Callable[[P], Decimal]
) -> dict[str, Decimal]:
    """The sum of values by key, in order of first appearance."""
    found: dict[str, Decimal] = {}
    for position in positions:
        name = key(position)
        found[name] = EXACT.add(found.get(name, Decimal(0)), value(position))
    return found


def exposure(values: Iterable[Decimal]) -> Exposure:
    """Long and short of netted values."""
    listed = list(values)
    return Exposure(
        long=exact_sum(v for v in listed if v > 0),
        short=exact_sum(EXACT.minus(v) for v in listed if v < 0),
    )


@dataclass(frozen=True)
class Concentration:
    """The largest absolute value, whose it is, and Herfindahl's index Σ(|v|/gross)², 1/k to 1."""

    largest: str
    value: Decimal
    gross: Decimal
    herfindahl: Fraction


def concentration(values: Mapping[str, Decimal]) -> Concentration | None:
    """How much of the gross exposure stands in few instruments; None where all is flat."""
    gross = exact_sum(abs(v) for v in values.values())
    if not gross:
        return None
    largest = min(values, key=lambda name: (-abs(values[name]), name))
    squares = sum((Fraction(v) ** 2 for v in values.values()), Fraction(0))
    return Concentration(largest, abs(values[largest]), gross, squares / Fraction(gross) ** 2)


def shocked(value: Decimal, shocks_pct: Sequence[Decimal]) -> Decimal:
    """The loss, positive, of a value that moves by several percentages one after the other."""
    after = value
    for pct in shocks_pct:
        after = EXACT.multiply(after, EXACT.add(Decimal(1), EXACT.scaleb(pct, -2)))
    return EXACT.subtract(value, after)
