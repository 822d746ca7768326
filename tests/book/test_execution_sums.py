"""Exact sums in limbs, and sketches: whatever the numbers, and in whatever order they are added."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book.execution.sketch import (
    BUCKETS,
    LOWEST,
    WIDTH,
    Sketch,
    bounds,
    bucket_of,
    codes_of,
    merged,
    middle,
    sketch_of,
)
from reporting.book.execution.sums import ByGroup, ByRow, limbs_of, products, summed, together
from reporting.seal import canonical

#: Around every power of two, where carries go wrong, and at the very ends.
WORDS = st.one_of(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.builds(
        lambda p, d, s: max(min(s * (2**p + d), 2**63 - 1), -(2**63) + 1),
        st.integers(0, 62), st.integers(-1, 1), st.sampled_from((1, -1)),
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(WORDS, WORDS, st.integers(0, 2)), min_size=1, max_size=12))
def test_sums_of_products_are_pythons(rows: list[tuple[int, int, int]]) -> None:
    left, right, code = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    wanted = [sum(a * b for a, b, c in rows if c == group) for group in range(3)]
    # As of a million rows like these: none of the limbs may then leave 64 bits.
    for many in (len(rows), 1_000_000):
        limbs = products(left, right, many)
        assert [int(v) for v in summed(limbs, code, 3)] == wanted
        assert [int(v) for v in together(limbs)] == [a * b for a, b, _ in rows]
        for _, part in limbs:
            assert part.dtype == object or int(np.abs(part).max()) * many < 2**63


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(WORDS, st.integers(0, 2)), min_size=1, max_size=9), st.integers(0, 9))
def test_totals_in_parts_are_the_totals(rows: list[tuple[int, int]], cut: int) -> None:
    by_row, by_group = ByRow(3, len(rows)), ByGroup()
    for part in (rows[:cut], rows[cut:]):
        values = np.array([v for v, _ in part], dtype=np.int64)
        code = np.array([c for _, c in part], dtype=np.int64)
        limbs = limbs_of(values, len(rows))
        by_row.add(code, limbs)
        by_group.add("x", np.arange(3), summed(limbs, code, 3))
    wanted = [sum(v for v, c in rows if c == group) for group in range(3)]
    assert [int(v) for v in together(by_row.limbs())] == wanted
    assert [by_group.of("x", group) for group in range(3)] == wanted
    assert by_group.nonzero("x") == [(g, v) for g, v in enumerate(wanted) if v]


# Sketches ------------------------------------------------------------------------------------

VALUES = st.floats(-3e6, 3e6) | st.sampled_from([0.0, -0.0, 2.0**-7, 2.0**20, -1.0, 1.0, 1e-300])


@settings(deadline=None, max_examples=150)
@given(VALUES)
def test_a_bucket_holds_its_values(value: float) -> None:
    (code,) = codes_of(np.array([value])).tolist()
    assert 0 <= code < WIDTH
    bucket = bucket_of(code)
    exact = Fraction(value)
    if bucket == 0:
        assert abs(exact) < LOWEST
    elif abs(bucket) > BUCKETS:
        assert abs(exact) >= 2**20 and (bucket > 0) == (exact > 0)
    else:
        low, high = bounds(bucket)
        assert abs(low) <= abs(exact) < abs(high) and (low > 0) == (exact > 0)
        assert abs(Fraction(middle(bucket)) - exact) <= abs(exact) * Fraction(32, 1000)


def test_buckets_stand_in_the_order_of_their_values() -> None:
    values = sorted(
        [*np.linspace(-40, 40, 999), *(s * 2.0**p for p in range(-9, 22) for s in (1, -1))]
    )
    codes = codes_of(np.array(values))
    assert (np.diff(codes) >= 0).all()
    middles = [middle(b) for b in range(-BUCKETS - 1, BUCKETS + 2)]
    assert middles == sorted(middles)


SKETCHES = st.dictionaries(
    st.integers(-BUCKETS - 1, BUCKETS + 1), st.decimals(0, 10**12, places=9), max_size=5
).map(sketch_of)


@settings(deadline=None, max_examples=60)
@given(st.lists(SKETCHES, min_size=1, max_size=4))
def test_sketches_merge_in_any_order(sketches: list[Sketch]) -> None:
    whole = merged(sketches)
    assert canonical(merged(sketches[::-1])) == canonical(whole)
    assert canonical(merged([merged(sketches[:2]), *sketches[2:]])) == canonical(whole)
    assert Fraction(whole.total) == sum(Fraction(s.total) for s in sketches)


def test_quantiles_are_read_from_the_weights() -> None:
    one, ten = (bucket_of(int(codes_of(np.array([v]))[0])) for v in (1.0, 10.0))
    sketch = sketch_of({one: Decimal("0.5"), ten: Decimal("0.5")})
    assert sketch.quantile(Fraction(1, 2)) == middle(one) == Decimal("1.03125")  # [1, 1 1/16)
    assert sketch.quantile(Fraction(51, 100)) == middle(ten) == Decimal("10.25")  # [10, 10 1/2)
    assert Sketch().quantile(Fraction(1, 2)) is None


def test_a_sealed_sketch_loads_as_it_was() -> None:
    sketch = sketch_of({-3: Decimal("1.50"), 7: Decimal(2)})
    raw: Any = sketch.model_dump(mode="json")
    assert raw == {"weights": [[-3, "1.5"], [7, "2"]]}
    assert Sketch.model_validate(raw, strict=False) == sketch
