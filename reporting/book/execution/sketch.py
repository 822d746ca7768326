"""Distributions that merge exactly: weights by bucket, from which a quantile is read.

A bucket is a sixteenth of a doubling, for either sign: values of 2^e × (1 + m/16) up to the next m.
Its number is read from the bits of the float, so that every machine puts a value in the same
bucket, and weights are exact, so that days merge in any order. A quantile is the middle of the
bucket in which the cumulated weight first reaches its share: at most 1/33 of itself away, or
2^-7 for what is nearer to 0 than that. Beyond 2^36 (of milliseconds: two years) only the bound is
known. Days sealed while the bound was 2^20 have all that lay beyond in the bucket next to it.

Source: HdrHistogram's log-linear buckets; the lower weighted quantile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model import EXACT, Exact, Value
from ..fifo import Ints

MANTISSA_BITS = 4
LOWEST_EXPONENT, HIGHEST_EXPONENT = -7, 36
#: Relative error of a quantile, for the page: half a bucket over the middle of the widest one.
ERROR_PCT = Decimal("3.1")
#: Values nearer to zero than this share one bucket.
LOWEST = Fraction(1, 2**-LOWEST_EXPONENT)

_STEPS = 1 << MANTISSA_BITS
_FIRST = (LOWEST_EXPONENT + 1023) << MANTISSA_BITS
#: Buckets of either sign; one more holds what lies beyond.
BUCKETS = (HIGHEST_EXPONENT - LOWEST_EXPONENT) * _STEPS
#: Codes that :func:`codes_of` gives: 0 … WIDTH − 1.
WIDTH = 2 * (BUCKETS + 1) + 1


def codes_of(values: npt.NDArray[Any]) -> Ints:
    """The bucket of each float (n,), counted from 0 for the most negative ones."""
    size = np.abs(values).view(np.int64) >> (52 - MANTISSA_BITS)
    bucket = np.clip(size - (_FIRST - 1), 0, BUCKETS + 1)
    return np.asarray(np.where(values < 0, -bucket, bucket) + (BUCKETS + 1))


class Sketch(Value):
    """(bucket, weight) in order of bucket; a bucket's number has the sign of its values."""

    weights: tuple[tuple[int, Exact], ...] = ()

    @property
    def total(self) -> Decimal:
        """The weight of everything."""
        total = Decimal(0)
        for _, weight in self.weights:
            total = EXACT.add(total, weight)
        return total

    def quantile(self, share: Fraction) -> Decimal | None:
        """The least value below or at which ``share`` of the weight lies; None without weight."""
        whole, so_far = Fraction(self.total), Fraction(0)
        for bucket, weight in self.weights:
            so_far += Fraction(weight)
            if so_far >= whole * share and so_far:
                return middle(bucket)
        return None


def sketch_of(weights: Mapping[int, Decimal]) -> Sketch:
    """A sketch from weights by bucket; empty buckets are left out."""
    return Sketch(weights=tuple((b, w) for b, w in sorted(weights.items()) if w))


def merged(sketches: Iterable[Sketch]) -> Sketch:
    """The weights of all, added up by bucket."""
    weights: dict[int, Decimal] = {}
    for sketch in sketches:
        for bucket, weight in sketch.weights:
            weights[bucket] = EXACT.add(weights.get(bucket, Decimal(0)), weight)
    return sketch_of(weights)


def bucket_of(code: int) -> int:
    """The signed number of the bucket that :func:`codes_of` gave as ``code``."""
    return code - (BUCKETS + 1)


def bounds(bucket: int) -> tuple[Fraction, Fraction]:
    """What a bucket's values lie between, nearer to zero first; the last has its bound twice."""
    if bucket == 0:
        return Fraction(0), Fraction(0)
    at = _FIRST + abs(bucket) - 1
    unit = Fraction(2) ** ((at >> MANTISSA_BITS) - 1023) / _STEPS
    low = unit * (_STEPS + (at & (_STEPS - 1)))
    high = low if abs(bucket) > BUCKETS else low + unit
    return (low, high) if bucket > 0 else (-low, -high)


def middle(bucket: int) -> Decimal:
    """The value that stands for a bucket."""
    low, high = bounds(bucket)
    value = (low + high) / 2  # over a power of two: a finite decimal
    return EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))
