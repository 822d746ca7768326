"""The three fill rates, always together: in full, in part or full, and by quantity.

An order is a chain of cancel/replace; it counts on the business day on which its last order became
final, so that days merge without counting anything twice. Rejected orders never reached a market:
they are counted apart, by reason. Quantities are summed by instrument, never across units; by hour,
agent, size and venue stands the value at the arrival price instead, by currency.

The times from placing to the first and to the last fill are kept as sketches that merge exactly and
have a stated error (:mod:`reporting.book.execution.sketch`).

Source: measures.md "Fill rate".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ..book.execution.merging import joined_groups, joined_latencies
from ..book.execution.orders import SIZE_NAMES
from ..book.execution.sketch import ERROR_PCT, merged
from ..book.execution.values import ExecutionDay, LatencyRow, OrderGroup
from ..model import (
    EXACT,
    Count,
    Duration,
    Exact,
    Frame,
    Frames,
    Missing,
    Number,
    Ratio,
    Shown,
    Value,
    Why,
    exact_sum,
    plain,
)
from ..numerals import numeral, ours
from ..page import (
    Chart,
    Column,
    Figure,
    HeatChart,
    HeatRow,
    Section,
    Table,
    Target,
    Verdict,
    text,
)
from ..periods import TradingDay
from . import Context, Measure


class FillRateCell(Value):
    """Orders done of one strategy × agent × account × instrument; rejects in rows of their own.

    ``filled`` counts no order for more than it ordered; ``overfilled`` orders got ``excess`` beyond
    that. Days sealed before the two were told apart have both in ``filled``.
    """

    strategy: str
    agent: str
    account: str
    instrument: str
    symbol: str
    reject_reason: str
    orders: int
    orders_full: int
    orders_any: int
    ordered: Exact
    filled: Exact
    overfilled: int = 0
    excess: Exact = Decimal(0)

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same cell on another day."""
        return (self.strategy, self.agent, self.account, self.instrument, self.reject_reason)


class FillRateFact(Value):
    """Counts and quantities; the rates are derived.

    ``working`` is a stock: all orders at work at the last day's end, whenever they were placed.

    ``measured_orders`` are the accepted orders of days on which groups and latencies were asked
    for; days sealed before that have none.
    """

    cells: tuple[FillRateCell, ...]
    working: int
    measured_orders: int = 0
    groups: tuple[OrderGroup, ...] = ()
    latencies: tuple[LatencyRow, ...] = ()

    @property
    def accepted(self) -> tuple[FillRateCell, ...]:
        """Cells of orders that were not rejected."""
        return tuple(c for c in self.cells if not c.reject_reason)


def of_day(day: TradingDay, frames: Frames) -> FillRateFact | Missing:
    """Orders done in the session; none at all is ``no orders``, not 100 %."""
    orders, working, instruments = frames["orders"], frames["working"], frames["instruments"]
    more = frames.get("execution")
    for frame in (orders, working, instruments):
        if isinstance(frame, Missing):
            return frame
    assert isinstance(orders, Frame) and isinstance(working, Frame)
    assert isinstance(instruments, Frame)
    if orders.table.empty:
        return Missing(why=Why.NO_ORDERS, detail=f"no order became final on {day.day}")
    symbol = {row["instrument_id"]: row["symbol"] for row in instruments.table.to_dict("records")}
    found = [
        FillRateCell(
            strategy=row["strategy"],
            agent=row["agent"],
            account=row["account_id"],
            instrument=row["instrument_id"],
            symbol=symbol.get(row["instrument_id"], row["instrument_id"]),
            reject_reason=row["reject_reason"],
            orders=int(row["orders"]),
            orders_full=int(row["orders_full"]),
            orders_any=int(row["orders_any"]),
            ordered=row["ordered"],
            filled=row["filled"],
            overfilled=int(row["overfilled"]),
            excess=row["excess"],
        )
        for row in orders.table.to_dict("records")
    ]
    # The source's collation is its own; ours is the same everywhere.
    fact = FillRateFact(
        cells=tuple(sorted(found, key=lambda c: c.key)),
        working=int(working.table["orders"].iloc[0]),
    )
    if not isinstance(more, ExecutionDay):
        return fact
    return fact.model_copy(
        update={
            "measured_orders": sum(c.orders for c in fact.accepted),
            "groups": more.groups,
            "latencies": more.latencies,
        }
    )


def merge(days: Sequence[tuple[Any, FillRateFact]]) -> FillRateFact:
    """Counts and quantities add up by cell; orders still working are those of the last day."""
    cells: dict[tuple[str, ...], FillRateCell] = {}
    for _, fact in days:
        for cell in fact.cells:
            seen = cells.get(cell.key)
            cells[cell.key] = cell if seen is None else _joined(seen, cell)
    facts = [fact for _, fact in days]
    return FillRateFact(
        cells=tuple(cells[key] for key in sorted(cells)),
        working=facts[-1].working,
        measured_orders=sum(f.measured_orders for f in facts),
        groups=joined_groups(row for f in facts for row in f.groups),
        latencies=joined_latencies(row for f in facts for row in f.latencies),
    )


def _joined(a: FillRateCell, b: FillRateCell) -> FillRateCell:
    return b.model_copy(
        update={
            "orders": a.orders + b.orders,
            "orders_full": a.orders_full + b.orders_full,
            "orders_any": a.orders_any + b.orders_any,
            "ordered": EXACT.add(a.ordered, b.ordered),
            "filled": EXACT.add(a.filled, b.filled),
            "overfilled": a.overfilled + b.overfilled,
            "excess": EXACT.add(a.excess, b.excess),
        }
    )


def by_instrument(fact: FillRateFact) -> dict[str, Ratio]:
    """Σ filled / Σ ordered of each instrument's accepted orders."""
    found: dict[str, Ratio] = {}
    for cell in fact.accepted:
        so_far = found.get(cell.instrument, Ratio(numerator=Decimal(0), denominator=Decimal(0)))
        found[cell.instrument] = Ratio(
            numerator=EXACT.add(so_far.numerator, cell.filled),
            denominator=EXACT.add(so_far.denominator, cell.ordered),
        )
    return found


def in_full(cells: Sequence[FillRateCell]) -> Ratio:
    """Orders filled in full over orders."""
    return _share(sum(c.orders_full for c in cells), sum(c.orders for c in cells))


def in_part(cells: Sequence[FillRateCell]) -> Ratio:
    """Orders with any fill over orders."""
    return _share(sum(c.orders_any for c in cells), sum(c.orders for c in cells))


def _share(part: int, whole: int) -> Ratio:
    return Ratio(numerator=Decimal(part), denominator=Decimal(whole))


def by_value(groups: Iterable[OrderGroup]) -> Ratio:
    """Σ filled / Σ ordered at the arrival price; the caller keeps to one currency."""
    groups = tuple(groups)
    return Ratio(
        numerator=exact_sum(g.filled for g in groups),
        denominator=exact_sum(g.ordered for g in groups),
    )


def latency(rows: Iterable[LatencyRow], to: str, share: Fraction) -> Duration | Missing:
    """A quantile of the time from placing to the first or last fill, in whole milliseconds."""
    found = merged(row.sketch for row in rows if row.to == to).quantile(share)
    if found is None:
        return Missing(why=Why.NO_DATA, detail="no order was filled")
    return Duration(ms=round(found))


def verdict_of(ratio: Ratio, target: Target | None) -> Verdict | None:
    """Whether the share, in per cent, meets its target; 0/0 is unknown."""
    if target is None:
        return None
    if ratio.fraction is None:
        return Verdict.UNKNOWN
    pct = ratio.fraction * 100
    met = pct > target.value if target.comparator == "gt" else pct >= target.value
    return Verdict.MET if met else Verdict.MISSED


def section(
    fact: FillRateFact | Missing,
    days: Sequence[tuple[Any, FillRateFact | Missing]],
    context: Context,
) -> Section:
    """The three rates with their target, by instrument, and rejects by reason."""
    if isinstance(fact, Missing):
        return Section(id="fill_rate", title=FILL_RATE.title, summary=f"No fill rate: {fact}.")
    target = context.targets.get("fill_rate_pct")
    accepted = fact.accepted
    full, some = in_full(accepted), in_part(accepted)
    rejected = sum(c.orders for c in fact.cells if c.reject_reason)
    was = "was" if rejected == 1 else "were"
    verdict = verdict_of(full, target)
    return Section(
        id="fill_rate",
        title=FILL_RATE.title,
        summary=f"{full.numerator} of {full.denominator} orders were filled in full, "
        f"{some.numerator} at least in part; {rejected} {was} rejected.",
        verdict=verdict,
        figures=(
            Figure(
                id="fill_rate.full",
                label="Orders filled in full",
                value=full,
                target=target,
                verdict=verdict,
            ),
            Figure(id="fill_rate.any", label="Orders with any fill", value=some),
            Figure(
                id="fill_rate.orders",
                label="Orders done",
                value=Count(value=sum(c.orders for c in accepted), unit="orders"),
            ),
            Figure(
                id="fill_rate.rejected",
                label="Rejected",
                value=Count(value=rejected, unit="orders"),
            ),
            Figure(
                id="fill_rate.working",
                label="Still working at the end",
                value=Count(value=fact.working, unit="orders"),
                note="whenever they were placed, in a year at most",
            ),
            *_overfilled(fact),
            *_chain_figures(fact, context.base),
        ),
        charts=_charts(fact),
        tables=(_table(fact), *_cuts(fact, context.base), _rejects(fact)),
        notes=_notes(fact),
    )


def _overfilled(fact: FillRateFact) -> tuple[Figure, ...]:
    """Orders that got more than they wanted; no figure where there is none."""
    over = [c for c in fact.accepted if c.overfilled]
    if not over:
        return ()
    excess: dict[str, Decimal] = {}
    for cell in over:
        excess[cell.symbol] = EXACT.add(excess.get(cell.symbol, Decimal(0)), cell.excess)
    largest = ", ".join(
        f"{numeral(plain(excess[name]))} {name}" for name in sorted(excess)[:MOST_NAMED]
    )
    more = len(excess) - MOST_NAMED
    return (
        Figure(
            id="fill_rate.overfilled",
            label="Filled beyond the order",
            value=Count(value=sum(c.overfilled for c in over), unit="orders"),
            note=f"{largest}{f' and {more} instruments more' if more > 0 else ''} too much; "
            "in no fill rate",
        ),
    )


#: Instruments named beside the figure of orders filled beyond their quantity.
MOST_NAMED = 3
MEDIAN, P95 = Fraction(1, 2), Fraction(19, 20)


def _currencies(fact: FillRateFact, base: str) -> list[str]:
    """Currencies in which any order has a value, the base first."""
    found = {g.currency for g in fact.groups if g.by == "hour" and g.valued}
    return sorted(found, key=lambda c: (c != base, c))


def _chain_figures(fact: FillRateFact, base: str) -> tuple[Figure, ...]:
    """Value filled, replacements, cancels and latencies; none on days of older seals."""
    groups = [g for g in fact.groups if g.by == "hour"]
    if not groups:
        return ()
    orders, replaced = sum(g.orders for g in groups), sum(g.replaced for g in groups)
    figures = [
        Figure(
            id=f"fill_rate.value.{currency}",
            label=f"Value filled, {currency} at arrival",
            value=by_value(g for g in groups if g.currency == currency),
        )
        for currency in _currencies(fact, base)
    ]
    figures += [
        Figure(
            id="fill_rate.cancelled",
            label="Orders cancelled",
            value=_share(sum(g.cancelled for g in groups), orders),
        ),
        Figure(
            id="fill_rate.replaced",
            label="Orders replaced at least once",
            value=_share(replaced, orders),
            note=_replaces(sum(g.replaces for g in groups), replaced),
        ),
    ]
    words = {"first": "first", "last": "last"}
    figures += [
        Figure(
            id=f"fill_rate.{to}_fill_{name}_ms",
            label=f"To the {words[to]} fill, {label}",
            value=latency((r for r in fact.latencies if r.by == "agent"), to, share),
        )
        for to in words
        for name, label, share in (("p50", "median", MEDIAN), ("p95", "p95", P95))
    ]
    return tuple(figures)


def _replaces(replaces: int, replaced: int) -> str:
    if not replaced:
        return ""
    per = Fraction(replaces, replaced)
    return f"{replaces} replacements, {numeral(float(round(per, 2)), '.2f')} each"


def _charts(fact: FillRateFact) -> tuple[Chart, ...]:
    """Orders filled in full by hour and agent."""
    cells: dict[tuple[str, str], list[OrderGroup]] = {}
    for group in fact.groups:
        if group.by == "hour":
            cells.setdefault((group.agent, group.key), []).append(group)
    if not cells:
        return ()
    orders_of: dict[str, int] = {}
    for (agent, _), groups in cells.items():
        orders_of[agent] = orders_of.get(agent, 0) + sum(g.orders for g in groups)
    busiest = sorted(orders_of, key=lambda a: (-orders_of[a], a))[:HEAT_ROWS]
    met = [int(hour) for _, hour in cells]
    hours = [f"{hour:02d}" for hour in range(min(met), max(met) + 1)]
    rows = []
    for agent in sorted(busiest):
        shares: list[Decimal | None] = []
        for hour in hours:
            groups = cells.get((agent, hour), [])
            orders = sum(g.orders for g in groups)
            full = sum(g.orders_full for g in groups)
            shares.append(Decimal(round(Fraction(full * 1000, orders))) / 10 if orders else None)
        rows.append(HeatRow(label=agent or "no agent", values=tuple(shares)))
    return (
        HeatChart(
            id="fill_rate.heat",
            title="Orders filled in full by agent and hour of placing",
            alt="Share of orders filled in full, for each agent and local hour of placing",
            unit="% of orders",
            labels=tuple(hours),
            rows=tuple(rows),
        ),
    )


#: Agents in the heat map, those with most orders.
HEAT_ROWS = 12


def _cuts(fact: FillRateFact, base: str) -> tuple[Table, ...]:
    """One table of all cuts: by agent, venue, size and hour."""
    if not fact.groups:
        return ()
    cuts: list[tuple[str, str, list[OrderGroup]]] = []
    for label, by, name in (
        ("Agent", "hour", "agent"), ("Venue", "venue", "key"), ("Size", "size", "key"),
        ("Hour", "hour", "key"),
    ):  # fmt: skip
        groups: dict[str, list[OrderGroup]] = {}
        for group in fact.groups:
            if group.by == by:
                groups.setdefault(getattr(group, name), []).append(group)
        order = SIZE_NAMES if by == "size" else tuple(sorted(groups))
        cuts += [(label, key, groups[key]) for key in order if key in groups]
    filled = {
        currency: exact_sum(
            g.filled for g in fact.groups if g.by == "venue" and g.currency == currency
        )
        for currency in _currencies(fact, base)
    }
    rows: list[tuple[Shown, ...]] = []
    for label, key, found in cuts:
        for currency in sorted({g.currency for g in found}, key=lambda c: (c != base, c)):
            mine = [g for g in found if g.currency == currency]
            took = [r for r in fact.latencies if (r.by, r.agent or r.key) == (label.lower(), key)]
            rows.append(
                (
                    text(label),
                    text((ours(key) if label == "Size" else key) or f"no {label.lower()}"),
                    text(currency or "unknown"),
                    Count(value=sum(g.orders for g in mine)),
                    _share(sum(g.orders_full for g in mine), sum(g.orders for g in mine)),
                    _share(sum(g.orders_any for g in mine), sum(g.orders for g in mine)),
                    _value(label, mine, filled.get(currency)),
                    *(
                        latency(took, to, share)
                        for to in ("first", "last")
                        for share in (MEDIAN, P95)
                    ),
                    Count(value=sum(g.cancelled for g in mine)),
                    Count(value=sum(g.replaced for g in mine)),
                    Count(value=sum(g.replaces for g in mine)),
                )
            )
    return (
        Table(
            id="fill_rate_cuts",
            title="Fill rates by agent, venue, size and hour",
            columns=(
                Column(key="cut", label="By", align="left"),
                Column(key="key", label="", align="left"),
                Column(key="currency", label="Currency", align="left"),
                Column(key="orders", label="Orders"),
                Column(key="full", label="In full"),
                Column(key="any", label="Any fill"),
                Column(key="value", label="By value"),
                Column(key="first_fill_p50_ms", label="First fill, median"),
                Column(key="first_fill_p95_ms", label="First fill, p95", shown=False),
                Column(key="last_fill_p50_ms", label="Last fill, median"),
                Column(key="last_fill_p95_ms", label="Last fill, p95", shown=False),
                Column(key="cancelled", label="Cancelled", shown=False),
                Column(key="replaced", label="Replaced", shown=False),
                Column(key="replaces", label="Replacements", shown=False),
            ),
            rows=tuple(rows),
            top=18,  # hours come last, and stand in the heat map
            note="By value: filled over ordered at the arrival price; of a venue, its share of all "
            "that was filled. An order counts at every venue that filled it; one without a fill "
            "has no venue. Size: quantity at the arrival price, in its currency. Times to a fill "
            "are of all currencies of the agent, venue, size or hour of placing.",
        ),
    )


def _value(label: str, groups: Sequence[OrderGroup], filled: Decimal | None) -> Ratio | Missing:
    if not sum(g.valued for g in groups):
        return Missing(why=Why.NO_DATA, detail="no arrival price")
    if label == "Venue":
        return Ratio(
            numerator=exact_sum(g.filled for g in groups), denominator=filled or Decimal(0)
        )
    return by_value(groups)


def _notes(fact: FillRateFact) -> tuple[str, ...]:
    notes = [
        "A cancel/replace chain is one order, counted on the day its last order became final. "
        "Quantity filled over quantity ordered is by instrument: units are never mixed.",
    ]
    if fact.groups:
        notes.append(
            "Times to the first and last fill run from placing the chain's first order, of orders "
            f"with any fill; within {numeral(plain(ERROR_PCT))} % of themselves."
        )
        whole, cut = (
            sum(r.sketch.total for r in fact.latencies if (r.by, r.to) == (by, "first"))
            for by in ("agent", "hour")
        )
        if cut < whole:
            notes.append(
                f"By venue, size and hour they are of {cut} of {whole} such orders: the others' "
                "days were sealed before these cuts were."
            )
    orders = sum(c.orders for c in fact.accepted)
    if fact.measured_orders < orders:
        notes.append(
            f"Of {orders} orders {orders - fact.measured_orders} are of days sealed before value, "
            "replacements and latencies were measured; they are in none of these."
        )
    return tuple(notes)


def _table(fact: FillRateFact) -> Table:
    rows: list[tuple[Shown, ...]] = []
    quantity = by_instrument(fact)
    symbols = {c.instrument: c.symbol for c in fact.accepted}
    for name in sorted(quantity, key=lambda n: symbols[n]):
        cells = [c for c in fact.accepted if c.instrument == name]
        rows.append(
            (
                text(symbols[name]),
                Count(value=sum(c.orders for c in cells)),
                in_full(cells),
                in_part(cells),
                quantity[name],
                Count(value=sum(c.overfilled for c in cells)),
                Number(value=exact_sum(c.excess for c in cells), unit=""),
            )
        )
    return Table(
        id="fill_rate_by_instrument",
        title="Fill rates by instrument",
        columns=(
            Column(key="instrument", label="Instrument", align="left"),
            Column(key="orders", label="Orders"),
            Column(key="full", label="In full"),
            Column(key="any", label="Any fill"),
            Column(key="quantity", label="By quantity"),
            Column(key="overfilled", label="Filled beyond the order", shown=False),
            Column(key="excess", label="Quantity beyond the order", shown=False),
        ),
        rows=tuple(rows),
        total=(
            text("All orders"),
            Count(value=sum(c.orders for c in fact.accepted)),
            in_full(fact.accepted),
            in_part(fact.accepted),
            Missing(why=Why.NOT_MEASURED, detail="units differ"),
            Count(value=sum(c.overfilled for c in fact.accepted)),
            Missing(why=Why.NOT_MEASURED, detail="units differ"),
        ),
    )


def _rejects(fact: FillRateFact) -> Table:
    reasons: dict[str, int] = {}
    for cell in fact.cells:
        if cell.reject_reason:
            reasons[cell.reject_reason] = reasons.get(cell.reject_reason, 0) + cell.orders
    return Table(
        id="fill_rate_rejects",
        title="Rejects by reason",
        columns=(
            Column(key="reason", label="Reason", align="left"),
            Column(key="orders", label="Orders"),
        ),
        rows=tuple(
            (text(reason), Count(value=n))
            for reason, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        ),
        total=(text("Total"), Count(value=sum(reasons.values()))),
    )


FILL_RATE: Measure[FillRateFact] = Measure(
    name="fill_rate",
    title="Fill rate",
    unit="%",
    every_day=False,
    reads=("orders", "working", "instruments", "execution"),
    fact=FillRateFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="orders in full / orders, any fill / orders, Σ filled / Σ ordered",
)
