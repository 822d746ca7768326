"""What trading cost against where the market was; positive is cost to us, weighted by notional.

    cost_bps = Σ side × (price − benchmark) × quantity × multiplier
               ────────────────────────────────────────────────────── × 10,000
                      Σ |benchmark| × quantity × multiplier

Benchmarks: the price at the decision and at arrival of the order chain, the mid at the fill (the
last quote at or before it), the market's VWAP while the chain was in it, and the mid 1, 10 and 60 s
after the fill. Both sums are kept exactly, by currency of the notional. Fills that lack a benchmark
are not in its figure; their share is printed as coverage. Medians and 95th percentiles come from
sketches that merge exactly and have a stated error (:mod:`reporting.book.execution.sketch`).

Implementation shortfall is of order chains, on the day on which they became final
(:mod:`reporting.book.execution.shortfall`). Fees in another currency than the notional's are in it
at the session's closing rates, with source and time; without a rate its total is missing.

Source: Kissell, "The Science of Algorithmic Trading" (2013); Perold (1988).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from ..book.execution.merging import (
    joined_absent,
    joined_benchmarks,
    joined_hours,
    joined_rates,
    joined_shortfall,
    joined_sizes,
    joined_sketches,
)
from ..book.execution.orders import SIZE_NAMES
from ..book.execution.sketch import ERROR_PCT, Sketch, bounds
from ..book.execution.values import (
    BENCHMARKS,
    NEEDS,
    BenchmarkSum,
    ExecutionDay,
    FeeApart,
    FeeRate,
    HourRow,
    ShortfallCell,
    SizeRow,
    SketchRow,
)
from ..model import (
    EXACT,
    WIDE,
    Bps,
    Count,
    Currency,
    Exact,
    Frame,
    Frames,
    Missing,
    Money,
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
    BarsChart,
    Chart,
    Column,
    Figure,
    Line,
    Section,
    Table,
    Target,
    Verdict,
    text,
)
from ..periods import TradingDay
from . import Context, Measure


class SlippageCell(Value):
    """Sums of one strategy × agent × account × instrument × venue, in the notional's currency.

    ``fills_covered``, ``cost`` and ``arrival_notional`` are against the arrival price;
    ``benchmarks`` has the others, of days since they are measured.
    """

    strategy: str
    agent: str
    account: str
    instrument: str
    symbol: str
    currency: Currency
    venue: str
    fills: int
    fills_covered: int
    notional: Exact
    cost: Exact
    arrival_notional: Exact
    benchmarks: tuple[BenchmarkSum, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same cell on another day."""
        return (
            self.strategy, self.agent, self.account, self.instrument, self.currency, self.venue,
        )  # fmt: skip

    def against(self, benchmark: str) -> BenchmarkSum | None:
        """The sums against one benchmark; None where no fill has it."""
        if benchmark == "arrival":
            return BenchmarkSum(
                benchmark=benchmark,
                fills=self.fills_covered,
                cost=self.cost,
                notional=self.arrival_notional,
            )
        return next((b for b in self.benchmarks if b.benchmark == benchmark), None)


class SlippageFact(Value):
    """Costs and notionals by cell; the basis points are derived.

    ``measured_fills`` are those of days on which more than the arrival price was asked for; days
    sealed before that have 0. ``absent`` names the views that a ledger did not have.
    """

    cells: tuple[SlippageCell, ...]
    measured_fills: int = 0
    sketches: tuple[SketchRow, ...] = ()
    hours: tuple[HourRow, ...] = ()
    sizes: tuple[SizeRow, ...] = ()
    fee_rates: tuple[FeeRate, ...] = ()
    shortfall: tuple[ShortfallCell, ...] = ()
    quote_max_age_s: int | None = None
    absent: tuple[tuple[str, Missing], ...] = ()


def of_day(day: TradingDay, frames: Frames) -> SlippageFact | Missing:
    """Sums over the session's fills and final chains; without either it is ``no trades``."""
    cells, instruments = frames["slippage"], frames["instruments"]
    more = frames.get("execution")
    for frame in (cells, instruments):
        if isinstance(frame, Missing):
            return frame
    assert isinstance(cells, Frame) and isinstance(instruments, Frame)
    made = more if isinstance(more, ExecutionDay) else None
    if cells.table.empty and not (made and made.shortfall):
        return Missing(why=Why.NO_TRADES, detail=f"no fill on {day.day}")
    symbol = dict(zip(instruments.table["instrument_id"], instruments.table["symbol"], strict=True))
    found = [
        SlippageCell(
            strategy=row["strategy"],
            agent=row["agent"],
            account=row["account_id"],
            instrument=row["instrument_id"],
            symbol=symbol[row["instrument_id"]],
            currency=row["currency"],
            venue=row["venue"],
            fills=int(row["fills"]),
            fills_covered=int(row["fills_covered"]),
            notional=row["notional"],
            cost=row["cost"],
            arrival_notional=row["arrival_notional"],
            benchmarks=row.get("benchmarks", ()),
        )
        for row in cells.table.to_dict("records")
    ]
    # The source's collation is its own; ours is the same everywhere.
    ordered = tuple(sorted(found, key=lambda c: c.key))
    if made is None:
        return SlippageFact(cells=ordered)
    shortfall, rates = _with_worth(made.shortfall, frames.get("fx_rates"))
    return SlippageFact(
        cells=ordered,
        measured_fills=sum(c.fills for c in ordered),
        sketches=made.sketches,
        hours=made.hours,
        sizes=made.sizes,
        fee_rates=rates,
        shortfall=shortfall,
        quote_max_age_s=made.quote_max_age_s,
        absent=made.absent,
    )


#: Digits of a fee's worth in a currency that is not the base: a quotient of two rates.
WORTH_DIGITS = 10


def _with_worth(
    cells: Iterable[ShortfallCell], closing: Frame | Value | None
) -> tuple[tuple[ShortfallCell, ...], tuple[FeeRate, ...]]:
    """Cells with what their fees in other currencies are worth, and the rates that were needed.

    Of the last rates before the session's end, each into the base currency, the two of a fee and
    its notional. An inverse pair is not inverted, as nowhere in a report.
    """
    known: dict[str, FeeRate] = {}
    base = ""
    if isinstance(closing, Frame):
        base = str(closing.coverage.control["base"])
        known = {
            row["base"]: FeeRate(
                currency=row["base"],
                base=base,
                rate=row["rate"],
                source=row["source"],
                fixed_at=row["fixed_at"],
            )
            for row in closing.table.to_dict("records")
            if row["quote"] == base and row["rate"] > 0
        }
    used: dict[str, FeeRate] = {}

    def worth(fee: FeeApart, into: str) -> FeeApart:
        names = [name for name in (fee.currency, into) if name != base]
        if not all(name in known for name in names):
            return fee
        used.update((name, known[name]) for name in names)
        amount = fee.amount
        if fee.currency != base:
            amount = EXACT.multiply(amount, known[fee.currency].rate)
        if into != base:
            quotient = Fraction(amount) / Fraction(known[into].rate)
            amount = Decimal(round(quotient * 10**WORTH_DIGITS)).scaleb(-WORTH_DIGITS, EXACT)
        return fee.model_copy(update={"worth": amount})

    found = tuple(
        cell.model_copy(update={"fees_apart": tuple(worth(f, cell.currency) for f in apart)})
        if (apart := cell.fees_apart)
        else cell
        for cell in cells
    )
    return found, tuple(used[name] for name in sorted(used))


def merge(days: Sequence[tuple[Any, SlippageFact]]) -> SlippageFact:
    """Everything adds up: fills, costs, notionals, weights of the sketches, shortfalls."""
    cells: dict[tuple[str, ...], list[SlippageCell]] = {}
    for _, fact in days:
        for cell in fact.cells:
            cells.setdefault(cell.key, []).append(cell)
    facts = [fact for _, fact in days]
    ages = [f.quote_max_age_s for f in facts if f.quote_max_age_s is not None]
    return SlippageFact(
        cells=tuple(_joined(cells[key]) for key in sorted(cells)),
        measured_fills=sum(f.measured_fills for f in facts),
        sketches=joined_sketches(row for f in facts for row in f.sketches),
        hours=joined_hours(row for f in facts for row in f.hours),
        sizes=joined_sizes(row for f in facts for row in f.sizes),
        fee_rates=joined_rates(row for f in facts for row in f.fee_rates),
        shortfall=joined_shortfall(row for f in facts for row in f.shortfall),
        quote_max_age_s=ages[-1] if ages else None,
        absent=joined_absent(row for f in facts for row in f.absent),
    )


def _joined(cells: Sequence[SlippageCell]) -> SlippageCell:
    """Cells of one key as one."""
    if len(cells) == 1:
        return cells[0]
    return cells[-1].model_copy(
        update={
            **{n: sum(getattr(c, n) for c in cells) for n in ("fills", "fills_covered")},
            **{
                n: exact_sum(getattr(c, n) for c in cells)
                for n in ("notional", "cost", "arrival_notional")
            },
            "benchmarks": joined_benchmarks(b for c in cells for b in c.benchmarks),
        }
    )


def bps(cells: Iterable[SlippageCell], benchmark: str = "arrival") -> Bps:
    """Cost over notional at a benchmark; the caller keeps to one currency."""
    cost = notional = Decimal(0)
    for cell in cells:
        found = cell.against(benchmark)
        if found is not None:
            cost = EXACT.add(cost, found.cost)
            notional = EXACT.add(notional, found.notional)
    return Bps(cost=cost, notional=notional)


def coverage(cells: Iterable[SlippageCell], benchmark: str = "arrival") -> Ratio:
    """Fills that have the benchmark over all fills."""
    covered = fills = 0
    for cell in cells:
        found = cell.against(benchmark)
        covered += found.fills if found is not None else 0
        fills += cell.fills
    return Ratio(numerator=Decimal(covered), denominator=Decimal(fills))


def fees_of(cells: Iterable[ShortfallCell]) -> Decimal | Missing:
    """All fees of cells of one currency, in it; Missing where a rate is, not a part of them."""
    total = Decimal(0)
    lacking: dict[str, Decimal] = {}
    for cell in cells:
        total = EXACT.add(total, cell.fees)
        for fee in cell.fees_apart:
            if fee.worth is None:
                so_far = lacking.get(fee.currency, Decimal(0))
                lacking[fee.currency] = EXACT.add(so_far, fee.amount)
            else:
                total = EXACT.add(total, fee.worth)
    if lacking:
        words = ", ".join(
            f"{numeral(plain(amount))} {name}" for name, amount in sorted(lacking.items())
        )
        return Missing(why=Why.NO_DATA, detail=f"no rate for fees of {words}")
    return total


def shortfall_bps(cells: Iterable[ShortfallCell]) -> Bps | Missing:
    """Implementation shortfall over what was ordered at the decision price, of one currency."""
    cells = tuple(cells)
    fees = fees_of(cells)
    if isinstance(fees, Missing):
        return fees
    cost, notional = fees, Decimal(0)
    for cell in cells:
        parts = (cell.delay_perold, cell.trading, cell.opportunity_perold)
        cost = EXACT.add(cost, exact_sum(parts))
        notional = EXACT.add(notional, cell.notional)
    return Bps(cost=cost, notional=notional)


def verdict_of(measured: Bps, target: Target | None) -> Verdict | None:
    """Whether the slippage stays below its target; without notional it is unknown."""
    if target is None:
        return None
    if measured.value is None:
        return Verdict.UNKNOWN
    inclusive = target.comparator == "le"
    met = measured.value <= target.value if inclusive else measured.value < target.value
    return Verdict.MET if met else Verdict.MISSED


def section(
    fact: SlippageFact | Missing,
    days: Sequence[tuple[Any, SlippageFact | Missing]],
    context: Context,
) -> Section:
    """The figure of each currency with its coverage, all benchmarks, shortfall, breakdowns."""
    if isinstance(fact, Missing):
        return Section(id="slippage", title=SLIPPAGE.title, summary=f"No slippage: {fact}.")
    target = context.targets.get("slippage_bps")
    traded = {c.currency for c in fact.cells} | {c.currency for c in fact.shortfall}
    currencies = sorted(traded, key=lambda c: (c != context.base, c))
    figures, more = [], []
    verdicts = []
    for currency in currencies:
        cells = [c for c in fact.cells if c.currency == currency]
        if cells:
            measured = bps(cells)
            verdict = verdict_of(measured, target)
            verdicts.append(verdict)
            figures.append(
                Figure(
                    id=f"slippage.{currency}",
                    label=f"Slippage, {currency} notional",
                    value=measured,
                    target=target,
                    verdict=verdict,
                )
            )
        ended = [c for c in fact.shortfall if c.currency == currency]
        if ended:
            more.append(
                Figure(
                    id=f"slippage.shortfall_bps.{currency}",
                    label=f"Implementation shortfall, {currency}",
                    value=_shortfall_shown(ended),
                )
            )
    covered = coverage(fact.cells)
    missed = any(v is Verdict.MISSED for v in verdicts)
    unknown = not verdicts or any(v is Verdict.UNKNOWN for v in verdicts)
    return Section(
        id="slippage",
        title=SLIPPAGE.title,
        summary=f"Against arrival, {covered.numerator} of {covered.denominator} fills are covered.",
        verdict=None
        if target is None
        else Verdict.MISSED
        if missed
        else Verdict.UNKNOWN
        if unknown
        else Verdict.MET,
        figures=(
            *figures,
            *more,
            Figure(id="slippage.coverage", label="Fills with an arrival price", value=covered),
        ),
        tables=(
            *_benchmarks(fact, currencies),
            *_shortfall(fact, currencies),
            *(_by(fact, name, label) for name, label in BREAKDOWNS),
            *_cuts(fact, currencies),
        ),
        charts=_charts(fact, (*currencies, context.base)[0]),
        notes=_notes(fact),
    )


# Benchmarks ----------------------------------------------------------------------------------

SHARES = (("median", Fraction(1, 2)), ("p95", Fraction(19, 20)))


def quantile(sketch: Sketch | None, share: Fraction) -> Number | Missing:
    """A quantile of the basis points, weighted by notional, to 0.01 bps."""
    found = None if sketch is None else sketch.quantile(share)
    if found is None:
        return Missing(why=Why.NO_DATA, detail="no fill has this benchmark")
    return Number(value=found.quantize(Decimal("0.01"), context=WIDE), unit="bps")


def _sketch(fact: SlippageFact, benchmark: str, currency: str) -> Sketch | None:
    for row in fact.sketches:
        if (row.benchmark, row.currency) == (benchmark, currency):
            return row.sketch
    return None


def _benchmarks(fact: SlippageFact, currencies: Sequence[str]) -> tuple[Table, ...]:
    """Every benchmark that could be had, a row each currency; none on days of older seals."""
    absent = {name for name, _ in fact.absent}
    rows: list[tuple[Shown, ...]] = []
    for currency in currencies:
        cells = [c for c in fact.cells if c.currency == currency]
        for name, words in BENCHMARKS.items():
            covered = coverage(cells, name)
            if not covered.numerator and (NEEDS.get(name) in absent or not fact.measured_fills):
                continue
            measured, sketch = bps(cells, name), _sketch(fact, name, currency)
            nothing = Missing(why=Why.NO_DATA, detail="no fill has this benchmark")
            rows.append(
                (
                    text(words),
                    text(currency),
                    nothing if measured.value is None else measured,
                    *(quantile(sketch, share) for _, share in SHARES),
                    *(
                        Money(amount=amount, currency=currency) if covered.numerator else nothing
                        for amount in (measured.cost, measured.notional)
                    ),
                    covered,
                )
            )
    if not fact.measured_fills:
        return ()
    return (
        Table(
            id="slippage_by_benchmark",
            title="Cost against each benchmark",
            columns=(
                Column(key="benchmark", label="Benchmark", align="left"),
                Column(key="currency", label="Currency", align="left"),
                Column(key="mean", label="Mean"),
                Column(key="median", label="Median"),
                Column(key="p95", label="p95"),
                Column(key="cost", label="Cost"),
                Column(key="notional", label="Notional at the benchmark", shown=False),
                Column(key="coverage", label="Coverage"),
            ),
            rows=tuple(rows),
            note="Median and p95 are weighted by notional too, within "
            f"{numeral(plain(ERROR_PCT))} % of themselves or {numeral('0.02')} bps. Coverage: "
            "share of the fills that have the benchmark.",
        ),
    )


# Shortfall -----------------------------------------------------------------------------------

COMPONENTS = (
    ("Delay", "delay_perold", "delay_kissell"),
    ("Trading", "trading", "trading"),
    ("Opportunity", "opportunity_perold", "opportunity_kissell"),
)
NO_CHAIN = Missing(
    why=Why.NOT_MEASURED,
    detail="no chain has a decision price, an arrival price and a mid at its end",
)


def _shortfall_shown(cells: Sequence[ShortfallCell]) -> Bps | Missing:
    found = shortfall_bps(cells)
    return NO_CHAIN if isinstance(found, Bps) and found.value is None else found


def _shortfall(fact: SlippageFact, currencies: Sequence[str]) -> tuple[Table, ...]:
    """Both splits, a row a component, of each currency in which a chain is covered."""
    rows: list[tuple[Shown, ...]] = []
    for currency in currencies:
        cells = [c for c in fact.shortfall if c.currency == currency and c.covered]
        if not cells:
            continue
        covered = sum(c.covered for c in cells)
        chains = sum(c.chains for c in fact.shortfall if c.currency == currency)
        notional = exact_sum(c.notional for c in cells)
        lines: list[tuple[str, list[Decimal | Missing]]] = [
            (words, [exact_sum(getattr(c, name) for c in cells) for name in names])
            for words, *names in COMPONENTS
        ]
        lines.append(("Fees", [fees_of(cells)] * 2))
        lines.append(
            ("Total", [_total(amounts) for amounts in zip(*(a for _, a in lines), strict=True)])
        )
        for words, amounts in lines:
            shown: list[Shown] = []
            for amount in amounts:
                if isinstance(amount, Missing):
                    shown += [amount, amount]
                else:
                    shown.append(Money(amount=amount, currency=currency))
                    shown.append(Bps(cost=amount, notional=notional))
            share = Ratio(numerator=Decimal(covered), denominator=Decimal(chains))
            rows.append((text(words), *shown, share))
    if not rows:
        return ()
    return (
        Table(
            id="slippage_shortfall",
            title="Implementation shortfall of the orders done",
            columns=(
                Column(key="component", label="Component", align="left"),
                Column(key="perold", label="Perold"),
                Column(key="perold_bps", label="Perold, bps"),
                Column(key="kissell", label="Kissell"),
                Column(key="kissell_bps", label="Kissell, bps"),
                Column(key="coverage", label="Orders covered"),
            ),
            rows=tuple(rows),
            note="Basis points of what was ordered, at the decision price. Covered are orders with "
            "a decision price, an arrival price and, if not filled in full, a mid at their end.",
        ),
    )


def _total(amounts: Iterable[Decimal | Missing]) -> Decimal | Missing:
    """The sum, or why a part of it is missing."""
    amounts = tuple(amounts)
    gone = next((a for a in amounts if isinstance(a, Missing)), None)
    return gone or exact_sum(a for a in amounts if isinstance(a, Decimal))


# Charts --------------------------------------------------------------------------------------

#: Bounds of the bars of the distribution, in basis points.
BARS = tuple(Fraction(b) for b in ("-20", "-10", "-5", "-2", "-1", "0", "1", "2", "5", "10", "20"))


def _charts(fact: SlippageFact, currency: str) -> tuple[Chart, ...]:
    """How slippage to arrival spreads, and by hour of the day, of the base currency."""
    sketch = _sketch(fact, "arrival", currency)
    if sketch is None or not sketch.total:
        return ()
    weights = [Decimal(0)] * (len(BARS) + 1)
    for bucket, weight in sketch.weights:
        middle = sum(bounds(bucket)) / 2
        at = sum(middle >= b for b in BARS)
        weights[at] = EXACT.add(weights[at], weight)
    shares = [_percent(weight, sketch.total) for weight in weights]
    labels = [f"< {BARS[0]}", *(f"{a}…{b}" for a, b in pairwise(BARS))]
    charts: list[Chart] = [
        BarsChart(
            id="slippage.distribution",
            title=f"Slippage to arrival, share of the {currency} notional",
            alt=f"Share of notional by basis points of slippage; {labels[0]} to ≥ {BARS[-1]} bps",
            unit="% of notional, by bps",
            labels=(*labels, f"≥ {BARS[-1]}"),
            bars=Line(label="share of notional", values=tuple(shares)),
        )
    ]
    hours = [h for h in fact.hours if h.currency == currency and h.notional]
    if len(hours) > 1:
        span = range(min(h.hour for h in hours), max(h.hour for h in hours) + 1)
        by_hour = {h.hour: _percent(h.cost, h.notional, 10_000) for h in hours}
        charts.append(
            BarsChart(
                id="slippage.by_hour",
                title=f"Slippage to arrival by hour of the day, {currency}",
                alt="Basis points of slippage for each local hour; positive is cost",
                unit="bps",
                labels=tuple(f"{hour:02d}" for hour in span),
                bars=Line(label="slippage", values=tuple(by_hour.get(hour) for hour in span)),
            )
        )
    return tuple(charts)


def _percent(part: Decimal, whole: Decimal, times: int = 100) -> Decimal:
    """part / whole × times to two digits, for drawing."""
    share = Fraction(part) / Fraction(whole) * times
    return Decimal(round(share * 100)).scaleb(-2)


# Words ---------------------------------------------------------------------------------------


def _notes(fact: SlippageFact) -> tuple[str, ...]:
    notes = [
        "Positive basis points are cost to us, weighted by notional at the benchmark. Currencies "
        "are never added up.",
    ]
    fills = sum(c.fills for c in fact.cells)
    if fact.measured_fills < fills:
        notes.append(
            f"Of {fills} fills {fills - fact.measured_fills} are of days sealed before other "
            "benchmarks than the arrival price were measured; they are in no figure of those."
        )
    sized, covered = (sum(r.fills for r in rows) for rows in (fact.sizes, fact.hours))
    if 0 < sized < covered:
        notes.append(
            f"By size are {sized} of {covered} fills: the others are of days sealed before."
        )
    if fact.quote_max_age_s is not None:
        notes.append(
            f"A mid is of the last quote at or before its time; one older than "
            f"{fact.quote_max_age_s} s counts as none. Interval VWAP runs from arrival, or the "
            "start of the session, to the last fill or the order's end."
        )
    for name, why in fact.absent:
        lost = [words.lower() for b, words in BENCHMARKS.items() if NEEDS.get(b) == name]
        if name == "quotes":
            lost.append("shortfall of orders not filled in full")
        notes.append(f"{', '.join(lost).capitalize()}: {why}.".replace(" vwap", " VWAP"))
    apart: dict[str, Decimal] = {}
    for fee in (f for c in fact.shortfall for f in c.fees_apart):
        apart[fee.currency] = EXACT.add(apart.get(fee.currency, Decimal(0)), fee.amount)
    if apart:
        words = ", ".join(
            f"{numeral(plain(amount))} {name}" for name, amount in sorted(apart.items())
        )
        notes.append(
            f"Fees in another currency than the notional's: {words}. {_rates_said(fact.fee_rates)}"
        )
    return tuple(notes)


def _rates_said(rates: Sequence[FeeRate]) -> str:
    """At what they were translated: each rate of a session, and of many where they are from."""
    if not rates:
        return "None has a rate, so that the shortfall's total is missing."
    if len({r.currency for r in rates}) == len(rates):
        each = (
            f"{numeral(plain(r.rate))} {r.base} for 1 {r.currency} "
            f"({r.source}, {r.fixed_at.isoformat()})"
            for r in rates
        )
        return f"In the shortfall at {'; '.join(each)}."
    sources = ", ".join(sorted({r.source for r in rates}))
    return (
        f"In the shortfall at each session's closing rates of {sources}, the last of "
        f"{max(r.fixed_at for r in rates).isoformat()}."
    )


BREAKDOWNS = (("symbol", "instrument"), ("strategy", "strategy"), ("venue", "venue"))


def _by(fact: SlippageFact, name: str, label: str) -> Table:
    groups: dict[tuple[str, str], list[SlippageCell]] = {}
    for cell in fact.cells:
        groups.setdefault((cell.currency, getattr(cell, name)), []).append(cell)
    rows: list[tuple[Shown, ...]] = []
    for (currency, key), cells in sorted(groups.items(), key=lambda g: (g[0][1], g[0][0])):
        notional = exact_sum(c.notional for c in cells)
        cost = exact_sum(c.cost for c in cells)
        rows.append(
            (
                text(key),
                Count(value=sum(c.fills for c in cells)),
                Money(amount=notional, currency=currency),
                _or_missing(bps(cells), "no arrival price"),
                Money(amount=cost, currency=currency)
                if coverage(cells).numerator
                else Missing(why=Why.NO_DATA, detail="no arrival price"),
                coverage(cells),
                *(
                    _or_missing(bps(cells, benchmark), "no fill has this benchmark")
                    for benchmark in BENCHMARKS
                    if benchmark != "arrival"
                ),
            )
        )
    return Table(
        id=f"slippage_by_{label}",
        title=f"Slippage by {label}",
        columns=(
            Column(key=label, label=label.capitalize(), align="left"),
            Column(key="fills", label="Fills"),
            Column(key="notional", label="Notional"),
            Column(key="slippage", label="Slippage"),
            Column(key="cost", label="Cost"),
            Column(key="coverage", label="Coverage"),
            *(
                Column(key=f"{benchmark}_bps", label=f"{words}, bps", shown=False)
                for benchmark, words in BENCHMARKS.items()
                if benchmark != "arrival"
            ),
        ),
        rows=tuple(rows),
    )


#: Rows of the cuts on a page: hours come last, and stand in their chart.
CUT_ROWS = 18


def _cuts(fact: SlippageFact, currencies: Sequence[str]) -> tuple[Table, ...]:
    """One table of slippage to arrival by agent, size and hour; none on days of older seals."""
    if not fact.sizes:
        return ()
    found: dict[tuple[int, str, str, str], list[tuple[int, Decimal, Decimal]]] = {}

    def add(place: int, label: str, key: str, currency: str, *sums: Any) -> None:
        found.setdefault((place, label, key, currency), []).append(sums)

    for cell in fact.cells:
        sums = (cell.fills_covered, cell.cost, cell.arrival_notional)
        add(0, "Agent", cell.agent, cell.currency, *sums)
    for size in fact.sizes:
        at = 1 + SIZE_NAMES.index(size.size)
        add(at, "Size", size.size, size.currency, size.fills, size.cost, size.notional)
    for hour in fact.hours:
        key = f"{hour.hour:02d}"
        add(100, "Hour", key, hour.currency, hour.fills, hour.cost, hour.notional)
    order = {currency: at for at, currency in enumerate(currencies)}
    rows: list[tuple[Shown, ...]] = []
    for place in sorted(found, key=lambda p: (p[0], p[2], order[p[3]])):
        _, label, key, currency = place
        fills, costs, notionals = zip(*found[place], strict=True)
        measured = Bps(cost=exact_sum(costs), notional=exact_sum(notionals))
        shown = tuple(
            Money(amount=amount, currency=currency) for amount in (measured.cost, measured.notional)
        )
        nothing = Missing(why=Why.NO_DATA, detail="no arrival price")
        rows.append(
            (
                text(label),
                text((ours(key) if label == "Size" else key) or f"no {label.lower()}"),
                text(currency),
                Count(value=sum(fills)),
                _or_missing(measured, "no arrival price"),
                *(shown if sum(fills) else (nothing, nothing)),
            )
        )
    return (
        Table(
            id="slippage_cuts",
            title="Slippage to arrival by agent, size and hour",
            columns=(
                Column(key="cut", label="By", align="left"),
                Column(key="key", label="", align="left"),
                Column(key="currency", label="Currency", align="left"),
                Column(key="fills", label="Fills covered"),
                Column(key="slippage", label="Slippage"),
                Column(key="cost", label="Cost"),
                Column(key="notional", label="Notional at arrival", shown=False),
            ),
            rows=tuple(rows),
            top=CUT_ROWS,
            note="Of fills with an arrival price. Size: what the order that was filled wanted, at "
            "the arrival price, in its currency. Hour: local, of the fill.",
        ),
    )


def _or_missing(measured: Bps, detail: str) -> Bps | Missing:
    if measured.value is None:
        return Missing(why=Why.NO_DATA, detail=detail)
    return measured


SLIPPAGE: Measure[SlippageFact] = Measure(
    name="slippage",
    title="Slippage",
    unit="bps",
    every_day=False,
    reads=("slippage", "instruments", "execution", "fx_rates"),
    fact=SlippageFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="notional-weighted cost against seven benchmarks and implementation shortfall "
    "(Kissell 2013; Perold 1988)",
)
