"""Adding up what executions come to: over the parts of a session, and over days."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from ...model import Missing, Value, exact_sum
from .sketch import merged
from .values import (
    BENCHMARKS,
    BenchmarkSum,
    ExecutionDay,
    FeeRate,
    HourRow,
    LatencyRow,
    OrderGroup,
    ShortfallCell,
    SizeRow,
    SketchRow,
)

V = TypeVar("V", bound=Value)

AMOUNTS = ("cost", "notional")
GROUP_COUNTS = (
    "orders", "orders_full", "orders_any", "cancelled", "replaced", "replaces", "valued",
)  # fmt: skip
SHORTFALL_SUMS = (
    "notional", "delay_perold", "delay_kissell", "trading", "opportunity_perold",
    "opportunity_kissell", "fees",
)  # fmt: skip


def joined_days(days: Sequence[ExecutionDay]) -> ExecutionDay:
    """The parts of a session as one."""
    return ExecutionDay(
        sketches=joined_sketches(row for day in days for row in day.sketches),
        hours=joined_hours(row for day in days for row in day.hours),
        sizes=joined_sizes(row for day in days for row in day.sizes),
        shortfall=joined_shortfall(row for day in days for row in day.shortfall),
        groups=joined_groups(row for day in days for row in day.groups),
        latencies=joined_latencies(row for day in days for row in day.latencies),
        quote_max_age_s=days[-1].quote_max_age_s,
        absent=joined_absent(row for day in days for row in day.absent),
    )


def joined_benchmarks(rows: Iterable[BenchmarkSum]) -> tuple[BenchmarkSum, ...]:
    """Sums by benchmark, in the order of a report."""
    order = {name: at for at, name in enumerate(BENCHMARKS)}
    return _by(rows, lambda r: order[r.benchmark], lambda same: _total(same, AMOUNTS, ("fills",)))


def joined_sketches(rows: Iterable[SketchRow]) -> tuple[SketchRow, ...]:
    """Sketches by benchmark and currency."""
    return _by(rows, lambda r: (r.benchmark, r.currency), _one_sketch)


def joined_latencies(rows: Iterable[LatencyRow]) -> tuple[LatencyRow, ...]:
    """Sketches by cut and by what they lead to."""
    return _by(rows, lambda r: (r.by, r.key, r.agent, r.to), _one_sketch)


def _one_sketch(rows: Sequence[Any]) -> Any:
    return rows[-1].model_copy(update={"sketch": merged(row.sketch for row in rows)})


def joined_hours(rows: Iterable[HourRow]) -> tuple[HourRow, ...]:
    """Sums by hour and currency."""
    return _by(rows, lambda r: (r.hour, r.currency), lambda same: _total(same, AMOUNTS, ("fills",)))


def joined_sizes(rows: Iterable[SizeRow]) -> tuple[SizeRow, ...]:
    """Sums by size and currency."""
    return _by(rows, lambda r: (r.size, r.currency), lambda same: _total(same, AMOUNTS, ("fills",)))


def joined_rates(rows: Iterable[FeeRate]) -> tuple[FeeRate, ...]:
    """Every rate once."""
    return _by(rows, lambda r: (r.currency, r.base, r.fixed_at, r.source, r.rate), lambda s: s[0])


def joined_groups(rows: Iterable[OrderGroup]) -> tuple[OrderGroup, ...]:
    """Counts and values by group."""
    return _by(
        rows,
        lambda r: (r.by, r.key, r.agent, r.currency),
        lambda same: _total(same, ("ordered", "filled"), GROUP_COUNTS),
    )


def joined_shortfall(rows: Iterable[ShortfallCell]) -> tuple[ShortfallCell, ...]:
    """Sums by cell."""
    return _by(rows, lambda r: r.key, _one_shortfall)


def _one_shortfall(rows: Sequence[ShortfallCell]) -> ShortfallCell:
    apart = _by(
        (fee for row in rows for fee in row.fees_apart),
        lambda fee: fee.key,
        lambda same: _total(same, ("amount",) if same[0].worth is None else ("amount", "worth")),
    )
    total = _total(rows, SHORTFALL_SUMS, ("chains", "covered"))
    return total.model_copy(update={"fees_apart": tuple(f for f in apart if f.amount or f.worth)})


def joined_absent(rows: Iterable[tuple[str, Missing]]) -> tuple[tuple[str, Missing], ...]:
    """Every view that was absent, once for each reason."""
    found = {(name, str(why)): (name, why) for name, why in rows}
    return tuple(found[key] for key in sorted(found))


def _by(
    rows: Iterable[V], key: Callable[[V], Any], one: Callable[[Sequence[V]], V]
) -> tuple[V, ...]:
    """Rows of the same key made into one, in order of the key."""
    found: dict[Any, list[V]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    grouped = (found[at] for at in sorted(found))
    return tuple(one(same) if len(same) > 1 else same[0] for same in grouped)


def _total(rows: Sequence[V], amounts: Iterable[str], counts: Iterable[str] = ()) -> V:
    update: dict[str, Any] = {n: exact_sum(getattr(r, n) for r in rows) for n in amounts}
    update |= {n: sum(getattr(r, n) for r in rows) for n in counts}
    return rows[-1].model_copy(update=update)
