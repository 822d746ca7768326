"""Adding up what executions come to: over the parts of a session, and over days."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from ...model import EXACT, Missing, Value
from .sketch import merged
from .values import (
    BENCHMARKS,
    BenchmarkSum,
    ExecutionDay,
    HourRow,
    LatencyRow,
    OrderGroup,
    ShortfallCell,
    SketchRow,
)

V = TypeVar("V", bound=Value)

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
        shortfall=joined_shortfall(row for day in days for row in day.shortfall),
        groups=joined_groups(row for day in days for row in day.groups),
        latencies=joined_latencies(row for day in days for row in day.latencies),
        quote_max_age_s=days[-1].quote_max_age_s,
        absent=joined_absent(row for day in days for row in day.absent),
    )


def joined_benchmarks(rows: Iterable[BenchmarkSum]) -> tuple[BenchmarkSum, ...]:
    """Sums by benchmark, in the order of a report."""
    found = _by(
        rows, lambda r: r.benchmark, lambda a, b: _added(a, b, ("cost", "notional"), ("fills",))
    )
    order = list(BENCHMARKS)
    return tuple(sorted(found, key=lambda r: order.index(r.benchmark)))


def joined_sketches(rows: Iterable[SketchRow]) -> tuple[SketchRow, ...]:
    """Sketches by benchmark and currency."""
    return _by(rows, lambda r: (r.benchmark, r.currency), _sketches_added)


def joined_latencies(rows: Iterable[LatencyRow]) -> tuple[LatencyRow, ...]:
    """Sketches by agent and by what they lead to."""
    return _by(rows, lambda r: (r.agent, r.to), _sketches_added)


def _sketches_added(a: Any, b: Any) -> Any:
    return b.model_copy(update={"sketch": merged((a.sketch, b.sketch))})


def joined_hours(rows: Iterable[HourRow]) -> tuple[HourRow, ...]:
    """Sums by hour and currency."""
    return _by(
        rows,
        lambda r: (r.hour, r.currency),
        lambda a, b: _added(a, b, ("cost", "notional"), ("fills",)),
    )


def joined_groups(rows: Iterable[OrderGroup]) -> tuple[OrderGroup, ...]:
    """Counts and values by group."""
    return _by(
        rows,
        lambda r: (r.by, r.key, r.agent, r.currency),
        lambda a, b: _added(a, b, ("ordered", "filled"), GROUP_COUNTS),
    )


def joined_shortfall(rows: Iterable[ShortfallCell]) -> tuple[ShortfallCell, ...]:
    """Sums by cell."""
    return _by(rows, lambda r: r.key, _shortfall_added)


def _shortfall_added(a: ShortfallCell, b: ShortfallCell) -> ShortfallCell:
    apart = _by(
        (*a.fees_apart, *b.fees_apart),
        lambda r: r.currency,
        lambda one, other: _added(one, other, ("amount",)),
    )
    both = _added(a, b, SHORTFALL_SUMS, ("chains", "covered"))
    return both.model_copy(update={"fees_apart": tuple(f for f in apart if f.amount)})


def joined_absent(rows: Iterable[tuple[str, Missing]]) -> tuple[tuple[str, Missing], ...]:
    """Every view that was absent, once for each reason."""
    found = {(name, str(why)): (name, why) for name, why in rows}
    return tuple(found[key] for key in sorted(found))


def _by(rows: Iterable[V], key: Callable[[V], Any], add: Callable[[V, V], V]) -> tuple[V, ...]:
    """Rows of the same key added up, in order of the key."""
    found: dict[Any, V] = {}
    for row in rows:
        at = key(row)
        found[at] = add(found[at], row) if at in found else row
    return tuple(found[at] for at in sorted(found))


def _added(a: V, b: V, amounts: Iterable[str], counts: Iterable[str] = ()) -> V:
    update: dict[str, Any] = {n: EXACT.add(getattr(a, n), getattr(b, n)) for n in amounts}
    update |= {n: getattr(a, n) + getattr(b, n) for n in counts}
    return b.model_copy(update=update)
