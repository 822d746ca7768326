"""Profit and loss, to the last unit, whatever the lot method.

Per account × instrument the lots give realised and unrealised P&L; per strategy × agent × account ×
instrument the own cash and the own position at the mark give the result. Both foot to one total:

    realised + change of unrealised + dividends + funding − fees + FX
        =  change of cash + change of market value

where cash is without deposits and withdrawals, which are no result.

Native amounts merge over days by keeping the first opening and the last closing. In base currency
the result is Σ V₁·fx₁ − V₀·fx₀ with V = cash + market value; it splits into what was earned in
the currency, at the closing rate, and FX on what had been earned before: V₀·(fx₁ − fx₀).

The explanation is worked out for each session by itself, in base currency at that session's rates,
and merges by adding: a period's carried P&L is the sum of its sessions', where a merged total is
translated at the last rate. Both ways give the same net.

Source of the definitions: measures.md "P&L"; clean P&L as in Basel MAR32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from decimal import Context as Arithmetic
from typing import Any

from pydantic import AwareDatetime

from ..book import (
    NO_EXPLANATION,
    NO_FEE_ITEMS,
    BookDay,
    Cell,
    FeeItem,
    Holding,
    MarkUsed,
    Method,
    Move,
)
from ..book.payments import NOT_ITEMISED
from ..model import (
    EXACT,
    Count,
    Currency,
    Exact,
    Frame,
    Frames,
    Missing,
    Moment,
    Money,
    Number,
    Shown,
    Text,
    Value,
    Why,
    exact_sum,
    plain,
)
from ..numerals import numeral
from ..page import BarsChart, Column, Figure, Line, Point, Section, Table, Target, Verdict, text
from ..periods import TradingDay
from . import Context, Measure

#: Rounds where a page does, with digits enough for any amount.
ROUNDING = Arithmetic(prec=100, rounding=ROUND_HALF_EVEN)


class FxRate(Value):
    """Worth of one unit of ``currency`` in base, at the period's start and end.

    The closing rate is ``stale`` if it is from before the session, as a mark is; ``value`` is what
    it translates, in the currency and gross: cash and market value of every account without sign,
    added up; None where a mark is missing.
    """

    currency: Currency
    open: Exact | None
    close: Exact | None
    source: str
    stale: bool = False
    value: Exact | None = None


class LateFill(Value):
    """A fill, correction or bust that was recorded after its day was first sealed."""

    kind: str
    fill_id: str
    refers_to: str
    strategy: str
    agent: str
    account: str
    symbol: str
    recorded_at: AwareDatetime


class MethodChange(Value):
    """A change of the lot method, in effect from the opening book of ``day``."""

    day: date
    before: Method
    after: Method


#: What explains a result; each is an amount of an :class:`Explained`, and they add up to its total.
COMPONENTS = ("carried", "intraday", "corrections", "fees", "funding", "dividends", "fx")


class Explained(Value):
    """What one cell's result comes from, in base currency; amounts of sessions add up.

    ``fees`` are negative where paid; ``funding`` has interest and charges in it. ``total`` is told
    by cash and value. Not ``known`` where a session had no mark: then all amounts are 0.
    """

    strategy: str
    agent: str
    account: str
    instrument: str
    currency: Currency
    carried: Exact = Decimal(0)
    intraday: Exact = Decimal(0)
    corrections: Exact = Decimal(0)
    fees: Exact = Decimal(0)
    funding: Exact = Decimal(0)
    dividends: Exact = Decimal(0)
    fx: Exact = Decimal(0)
    total: Exact = Decimal(0)
    known: bool = True

    @property
    def key(self) -> tuple[str, ...]:
        """The cell that it is of."""
        return (self.strategy, self.agent, self.account, self.instrument, self.currency)


class PnlFact(Value):
    """Sufficient statistics of P&L; every figure is derived from them.

    ``methods`` are those that lots were kept by, in order. What older days were not asked for is
    Missing in them.
    """

    base: Currency
    cells: tuple[Cell, ...]
    holdings: tuple[Holding, ...]
    fx: tuple[FxRate, ...]
    marks: tuple[MarkUsed, ...]
    fills: int
    methods: tuple[Method, ...] = ("fifo",)
    changes: tuple[MethodChange, ...] = ()
    fee_items: tuple[FeeItem, ...] | Missing = NO_FEE_ITEMS
    explained: tuple[Explained, ...] | Missing = NO_EXPLANATION
    late: tuple[LateFill, ...] = ()

    @property
    def method(self) -> Method:
        """How lots were kept at the close."""
        return self.methods[-1]


class Totals(Value):
    """P&L in base currency. ``identity_gap`` is the cash identity's difference: always 0."""

    realised: Exact
    unrealised: Exact
    fees: Exact
    fx: Exact
    net: Exact
    cash_change: Exact
    value_change: Exact
    identity_gap: Exact
    unvalued: tuple[str, ...] = ()
    dividends: Exact = Decimal(0)
    funding: Exact = Decimal(0)

    @property
    def gross(self) -> Decimal:
        """Before fees, without FX on earlier results; with dividends and funding."""
        return exact_sum([self.realised, self.unrealised, self.dividends, self.funding])


def of_day(day: TradingDay, frames: Frames) -> PnlFact | Missing:
    """P&L of one session from its :class:`BookDay`, opening rates and closing rates."""
    book = frames["book"]
    opening_fx, closing_fx = frames["fx_open"], frames["fx_rates"]
    if isinstance(book, Missing):
        return book
    assert isinstance(book, BookDay) and isinstance(closing_fx, Frame)
    base = str(closing_fx.coverage.control["base"])
    first = rates(opening_fx.table, base) if isinstance(opening_fx, Frame) else {}
    last = rates(closing_fx.table, base)
    # Every quoted currency, used or not: one that is first traded later in a period has to have
    # the period's opening rate.
    currencies = sorted({c.currency for c in book.cells} | {*first} | {*last})
    old = _from_before(closing_fx.table, base, day)
    touched = _translated(book.cells)
    fx = tuple(
        FxRate(
            currency=c,
            open=Decimal(1) if c == base else first.get(c, (None, ""))[0],
            close=Decimal(1) if c == base else last.get(c, (None, ""))[0],
            source="base currency" if c == base else last.get(c, (None, ""))[1],
            stale=c != base and c in old,
            value=touched.get(c, Decimal(0)),
        )
        for c in currencies
    )
    method, before = book.closing.method, book.method_before
    changes = (MethodChange(day=day.day, before=before, after=method),) if before else ()
    return PnlFact(
        base=base,
        cells=book.cells,
        holdings=book.holdings,
        fx=fx,
        marks=book.marks,
        fills=book.fills,
        methods=(method,),
        changes=changes,
        fee_items=book.fee_items,
        explained=_explained(book, fx, base),
        late=_late(frames.get("late_fills"), book),
    )


#: How a reader knows the kinds of fills.
LATE_KINDS = {"correct": "correction", "bust": "bust"}


def _late(frame: Frame | Value | None, book: BookDay) -> tuple[LateFill, ...]:
    symbols = {c.instrument: c.symbol for c in book.cells}
    return tuple(
        LateFill(
            kind=LATE_KINDS.get(row["kind"], "late fill"),
            fill_id=str(row["fill_id"]),
            refers_to=row["refers_to"],
            strategy=row["strategy"],
            agent=row["agent"],
            account=row["account_id"],
            symbol=symbols.get(row["instrument_id"], row["instrument_id"]),
            recorded_at=row["recorded_at"],
        )
        for row in (frame.table.to_dict("records") if isinstance(frame, Frame) else [])
    )


def _from_before(table: Any, base: str, day: TradingDay) -> set[str]:
    """Currencies whose rate to ``base`` is from before the session."""
    assert day.trading is not None
    return {
        row["base"]
        for row in table.to_dict("records")
        if row["quote"] == base and row["fixed_at"] < day.trading.start
    }


def _translated(cells: Iterable[Cell]) -> dict[str, Decimal | None]:
    """Cash and market value by currency, of every account without its sign; None spreads."""
    net: dict[tuple[str, str], Decimal | None] = {}
    for cell in cells:
        key = (cell.currency, cell.account)
        so_far = net.get(key, Decimal(0))
        net[key] = (
            None
            if so_far is None or cell.value_close is None
            else exact_sum([so_far, cell.cash_close, cell.value_close])
        )
    gross: dict[str, Decimal | None] = {}
    for (currency, _), amount in net.items():
        so_far = gross.get(currency, Decimal(0))
        gross[currency] = (
            None if so_far is None or amount is None else EXACT.add(so_far, EXACT.abs(amount))
        )
    return gross


def stale_rates(fact: PnlFact) -> list[FxRate]:
    """Closing rates from before their session that translate anything."""
    used = {c.currency for c in fact.cells}
    return [r for r in fact.fx if r.stale and r.currency in used and r.value != 0]


def _explained(book: BookDay, fx: Sequence[FxRate], base: str) -> tuple[Explained, ...] | Missing:
    """What each cell's result of the session comes from, in base; cells that did nothing left out.

    Missing where a rate is that the total needs.
    """
    rates_of = {rate.currency: rate for rate in fx}
    moved = {move.key: move for move in book.moves}
    rows = []
    for cell in book.cells:
        rate, move = rates_of[cell.currency], moved.get(cell.key)
        unknown = _unvalued(cell) or (move is not None and move.carried is None)
        before = EXACT.add(cell.cash_open, cell.value_open or Decimal(0))
        if not unknown and (rate.close is None or (rate.open is None and before)):
            return Missing(why=Why.NO_DATA, detail=f"no rate {cell.currency}/{base}")
        found = _nothing(cell.key)
        if unknown:
            rows.append(found.model_copy(update={"known": False}))
            continue
        found = found.model_copy(update=_explained_cell(cell, move, before, rate))
        if found != _nothing(cell.key):
            rows.append(found)
    return tuple(rows)


def _nothing(key: tuple[str, ...]) -> Explained:
    strategy, agent, account, instrument, currency = key
    return Explained(
        strategy=strategy, agent=agent, account=account, instrument=instrument, currency=currency
    )


def _explained_cell(
    cell: Cell, move: Move | None, before: Decimal, rate: FxRate
) -> dict[str, Decimal]:
    close = rate.close or Decimal(0)
    opening = close if rate.open is None else rate.open
    native = {
        "carried": move.carried if move else None,
        "intraday": move.intraday if move else None,
        "corrections": move.corrections if move else None,
        "fees": EXACT.minus(cell.fees),
        "funding": _funding(cell),
        "dividends": cell.dividends,
    }
    after = EXACT.add(cell.cash_close, cell.value_close or Decimal(0))
    return {
        **{name: EXACT.multiply(amount or Decimal(0), close) for name, amount in native.items()},
        "fx": EXACT.multiply(before, EXACT.subtract(close, opening)),
        "total": EXACT.subtract(EXACT.multiply(after, close), EXACT.multiply(before, opening)),
    }


def _funding(cell: Cell) -> Decimal:
    return exact_sum([cell.funding, cell.interest, cell.charges])


def rates(table: Any, base: str) -> dict[str, tuple[Decimal, str]]:
    """Worth of one unit of each currency in ``base``, with source and time, from a rates table.

    An inverse pair is not inverted: 1/rate is no exact decimal, so the ledger has to give the pair
    that is needed.
    """
    return {
        row["base"]: (row["rate"], f"{row['source']}, {row['fixed_at'].isoformat()}")
        for row in table.to_dict("records")
        if row["quote"] == base
    }


def merge(days: Sequence[tuple[Any, PnlFact]]) -> PnlFact:
    """One fact over consecutive sessions: flows add up, openings are first, closings are last."""
    facts = [fact for _, fact in days]
    return PnlFact(
        base=facts[-1].base,
        cells=_merged((c for f in facts for c in f.cells), _join_cells),
        holdings=_merged((h for f in facts for h in f.holdings), _join_holdings),
        fx=_merged_fx(facts),
        marks=facts[-1].marks,
        fills=sum(f.fills for f in facts),
        methods=tuple(dict.fromkeys(m for f in facts for m in f.methods)),
        changes=tuple(c for f in facts for c in f.changes),
        fee_items=_merged_items(facts),
        explained=_merged_explained(facts),
        late=tuple(event for f in facts for event in f.late),
    )


def _merged_items(facts: Sequence[PnlFact]) -> tuple[FeeItem, ...] | Missing:
    """Items added up; the fees of days that were not itemised count as such beside others."""
    items: list[FeeItem] = []
    missing: Missing | None = None
    measured = False
    for fact in facts:
        if not isinstance(fact.fee_items, Missing):
            measured = True
            items += fact.fee_items
            continue
        missing = missing or fact.fee_items
        items += [
            FeeItem(
                strategy=c.strategy,
                agent=c.agent,
                account=c.account,
                instrument=c.instrument,
                kind=NOT_ITEMISED,
                currency=c.currency,
                amount=c.fees,
            )
            for c in fact.cells
            if c.fees
        ]
    if missing is not None and not measured:
        return missing
    return _merged(
        items,
        lambda a, b: a.model_copy(
            update={"amount": EXACT.add(a.amount, b.amount), "unknown": a.unknown + b.unknown}
        ),
    )


def _merged_explained(facts: Sequence[PnlFact]) -> tuple[Explained, ...] | Missing:
    rows: list[Explained] = []
    for fact in facts:
        if isinstance(fact.explained, Missing):
            return fact.explained
        rows += fact.explained
    return _merged(rows, _join_explained)


def _join_explained(a: Explained, b: Explained) -> Explained:
    names = (*COMPONENTS, "total")
    sums = {name: EXACT.add(getattr(a, name), getattr(b, name)) for name in names}
    return b.model_copy(update={**sums, "known": a.known and b.known})


def _merged(rows: Iterable[Any], join: Callable[[Any, Any], Any]) -> tuple[Any, ...]:
    merged: dict[tuple[str, ...], Any] = {}
    for row in rows:
        merged[row.key] = join(merged[row.key], row) if row.key in merged else row
    return tuple(merged[key] for key in sorted(merged))


#: What a cell adds up over sessions.
FLOWS = (
    *("bought", "sold", "adjusted", "realised", "fees"),
    *("dividends", "funding", "interest", "charges"),
)


def _join_cells(a: Cell, b: Cell) -> Cell:
    return b.model_copy(
        update={
            "fills": a.fills + b.fills,
            **{name: EXACT.add(getattr(a, name), getattr(b, name)) for name in FLOWS},
            "cash_open": a.cash_open,
            "value_open": a.value_open,
        }
    )


def _join_holdings(a: Holding, b: Holding) -> Holding:
    return b.model_copy(
        update={
            "realised": EXACT.add(a.realised, b.realised),
            "cost_open": a.cost_open,
            "value_open": a.value_open,
            "position_open": a.position_open,
        }
    )


def _merged_fx(facts: Sequence[PnlFact]) -> tuple[FxRate, ...]:
    merged: dict[str, FxRate] = {}
    for fact in facts:
        for rate in fact.fx:
            first = merged.get(rate.currency, rate)
            merged[rate.currency] = rate.model_copy(update={"open": first.open})
    return tuple(merged[c] for c in sorted(merged))


def totals(fact: PnlFact, cells: Sequence[Cell] | None = None) -> Totals | Missing:
    """P&L in base over ``cells`` (all of the fact's if None); Missing where a rate is.

    A cell without a mark can not be valued: it is left out of every sum, whole, and named in
    ``unvalued``.
    """
    whole = cells is None
    chosen = fact.cells if cells is None else cells
    fx = {rate.currency: rate for rate in fact.fx}
    unvalued = sorted({c.instrument for c in fact.cells if _unvalued(c)})
    realised = fees = on_fx = cash = value = unrealised = Decimal(0)
    dividends = funding = Decimal(0)
    for cell in chosen:
        if cell.instrument in unvalued:
            continue
        rate = fx[cell.currency]
        before = EXACT.add(cell.cash_open, cell.value_open or Decimal(0))
        if rate.close is None or (rate.open is None and before):
            return Missing(why=Why.NO_DATA, detail=f"no rate {cell.currency}/{fact.base}")
        opening = rate.open if rate.open is not None else rate.close
        realised = EXACT.add(realised, EXACT.multiply(cell.realised, rate.close))
        fees = EXACT.add(fees, EXACT.multiply(cell.fees, rate.close))
        dividends = EXACT.add(dividends, EXACT.multiply(cell.dividends, rate.close))
        funding = EXACT.add(funding, EXACT.multiply(_funding(cell), rate.close))
        d_cash = EXACT.subtract(cell.cash_close, cell.cash_open)
        d_value = EXACT.subtract(cell.value_close or Decimal(0), cell.value_open or Decimal(0))
        cash = EXACT.add(cash, EXACT.multiply(d_cash, rate.close))
        value = EXACT.add(value, EXACT.multiply(d_value, rate.close))
        on_fx = EXACT.add(on_fx, EXACT.multiply(before, EXACT.subtract(rate.close, opening)))
    # What cash and value say; by lots the same must come out, which is the cash identity.
    by_cash = EXACT.add(cash, value)
    earned = exact_sum([realised, dividends, funding])
    unrealised = EXACT.subtract(EXACT.add(by_cash, fees), earned)
    gap = Decimal(0)
    if whole:
        by_lots = _unrealised_by_lots(fact, unvalued)
        gap = EXACT.subtract(unrealised, by_lots)
    return Totals(
        realised=realised,
        unrealised=unrealised,
        fees=fees,
        fx=on_fx,
        net=EXACT.add(by_cash, on_fx),
        cash_change=cash,
        value_change=value,
        identity_gap=gap,
        unvalued=tuple(unvalued),
        dividends=dividends,
        funding=funding,
    )


def _unvalued(row: Cell | Holding) -> bool:
    return row.value_open is None or row.value_close is None


def _unrealised_by_lots(fact: PnlFact, unvalued: Sequence[str]) -> Decimal:
    """Change of (market value − cost of lots) over all holdings, in base at closing rates."""
    close = {rate.currency: rate.close for rate in fact.fx}
    total = Decimal(0)
    for h in fact.holdings:
        rate = close[h.currency]
        if h.instrument in unvalued or rate is None:
            continue
        after = EXACT.subtract(h.value_close or Decimal(0), h.cost_close)
        before = EXACT.subtract(h.value_open or Decimal(0), h.cost_open)
        total = EXACT.add(total, EXACT.multiply(EXACT.subtract(after, before), rate))
    return total


def section(
    fact: PnlFact | Missing, days: Sequence[tuple[Any, PnlFact | Missing]], context: Context
) -> Section:
    """Headline, identity, breakdowns, explanation and, over several days, the daily series."""
    if isinstance(fact, Missing):
        return Section(id="pnl", title=PNL.title, summary=f"P&L is missing: {fact}.")
    total = totals(fact)
    if isinstance(total, Missing):
        return Section(id="pnl", title=PNL.title, summary=f"P&L in base is missing: {total}.")
    series = daily_net(days)
    explanation = _explanation(fact, total)
    limit = context.targets.get("pnl_residual")
    within = _within(explanation, limit, days)
    charts = (_chart(series, fact.base),) if len(series) > 1 else ()
    if isinstance(explanation, Explanation):
        charts = (*charts, _explained_chart(explanation, total, fact.base))
    direction = "gained" if total.net >= 0 else "lost"
    return Section(
        id="pnl",
        title=PNL.title,
        summary=f"The book {direction} money net of fees; the cash identity holds to the last unit."
        if not total.identity_gap
        else "The cash identity does not hold: see the difference below.",
        verdict=Verdict.MISSED if total.identity_gap or within is Verdict.MISSED else None,
        figures=(
            *_figures(fact, total, series),
            _residual_figure(fact, explanation, limit, within),
        ),
        charts=charts,
        tables=(
            _explained_table(fact, total, explanation),
            _identity_table(fact, total),
            *(_by(fact, name, label) for name, label in BREAKDOWNS),
            _cells_table(fact),
            _fees_table(fact, total),
            _marks_table(fact),
            _fx_table(fact),
        ),
        notes=_notes(fact, total, explanation),
    )


# The explanation on the page -----------------------------------------------------------------


class Explanation(Value):
    """The explanation of a period's net P&L, in base; ``parts`` in the order of COMPONENTS.

    ``left_out`` are instruments of cells for which some session had no mark; ``unexplained`` is
    what these are of the net. ``residual`` is the net less all: 0 unless something is wrong.
    """

    parts: tuple[Exact, ...]
    unexplained: Exact
    residual: Exact
    left_out: tuple[str, ...]


def _explanation(fact: PnlFact, total: Totals) -> Explanation | Missing:
    """What explains the net of the whole fact."""
    if isinstance(fact.explained, Missing):
        return fact.explained
    return _explanation_of(fact, total, fact.cells, {row.key: row for row in fact.explained})


def _explanation_of(
    fact: PnlFact, total: Totals, cells: Sequence[Cell], rows: Mapping[tuple[str, ...], Explained]
) -> Explanation:
    """What explains ``total``, which is of ``cells``, from the fact's rows by cell."""
    found = [rows[cell.key] for cell in cells if cell.key in rows]
    unknown = {row.key for row in found if not row.known}
    gone = [c for c in cells if c.key in unknown and c.instrument not in total.unvalued]
    lost = totals(fact, gone) if gone else None
    unexplained = lost.net if isinstance(lost, Totals) else Decimal(0)
    told = [row for row in found if row.known and row.instrument not in total.unvalued]
    parts = tuple(exact_sum(getattr(row, name) for row in told) for name in COMPONENTS)
    return Explanation(
        parts=parts,
        unexplained=unexplained,
        residual=EXACT.subtract(EXACT.subtract(total.net, unexplained), exact_sum(parts)),
        left_out=tuple(sorted({c.instrument for c in gone})),
    )


def _within(
    explanation: Explanation | Missing,
    limit: Target | None,
    days: Sequence[tuple[Any, PnlFact | Missing]],
) -> Verdict:
    """Whether the residual is within its limit; unknown where a session of the period is not."""
    if isinstance(explanation, Missing):
        return Verdict.UNKNOWN
    most = limit.value if limit is not None else Decimal(0)
    if EXACT.abs(explanation.residual) <= most:
        return Verdict.MET
    gaps = any(isinstance(f, Missing) and f.why is not Why.NO_SESSION for _, f in days)
    return Verdict.UNKNOWN if gaps else Verdict.MISSED


def _residual_figure(
    fact: PnlFact, explanation: Explanation | Missing, limit: Target | None, within: Verdict
) -> Figure:
    name, label = "pnl.residual", "Unexplained residual"
    if isinstance(explanation, Missing):
        return Figure(id=name, label=label, value=explanation)
    amount = _money(fact, explanation.residual)
    if limit is not None:
        limit = limit.model_copy(update={"unit": fact.base})
    return Figure(id=name, label=label, value=amount, target=limit, verdict=within)


#: The words for COMPONENTS, in their order.
COMPONENT_LABELS = (
    "Carried: opening positions, opening to closing mark",
    "Intraday: fills as first recorded, price to closing mark",
    "Corrections and busts",
    "Fees",
    "Funding, interest and charges",
    "Dividends",
    "FX on earlier results",
)


def _explained_table(fact: PnlFact, total: Totals, explanation: Explanation | Missing) -> Table:
    columns = (
        Column(key="item", label="", align="left"),
        Column(key="amount", label="Amount"),
    )
    name, title = "pnl_explain", "P&L explain"
    if isinstance(explanation, Missing):
        return Table(
            id=name, title=title, columns=columns, rows=((text("Explanation"), explanation),)
        )
    rows = [
        (text(label), _money(fact, amount))
        for label, amount in zip(COMPONENT_LABELS, explanation.parts, strict=True)
    ]
    if explanation.unexplained:
        rows.append((text("Not explained: no mark"), _money(fact, explanation.unexplained)))
    rows.append((text("Residual"), _money(fact, explanation.residual)))
    note = "Over several sessions each line is the sum of theirs, at each session's rates."
    return _footed(
        Table(
            id=name,
            title=title,
            columns=columns,
            rows=tuple(rows),
            total=(text("Net P&L"), _money(fact, total.net)),
            note=note,
            whole=True,
        )
    )


def _explained_chart(explanation: Explanation, total: Totals, base: str) -> BarsChart:
    """A waterfall: each part begins where the one before ended, the last bar is the net."""
    labels = ["Carried", "Intraday", "Corrections", "Fees", "Funding", "Dividends", "FX"]
    values = [*explanation.parts]
    for label, rest in (
        ("No mark", explanation.unexplained), ("Residual", explanation.residual)
    ):  # fmt: skip
        if rest:
            labels.append(label)
            values.append(rest)
    ends = [exact_sum(values[: n + 1]) for n in range(len(values))]
    told = "; ".join(f"{n} {numeral(v, '.2f')}" for n, v in zip(labels, values, strict=True))
    return BarsChart(
        id="pnl_explain",
        title="What the net P&L comes from",
        alt=f"{told}; net P&L {numeral(total.net, '.2f')} {base}.",
        unit=base,
        labels=(*labels, "Net P&L"),
        bars=Line(label="P&L", values=(*values, total.net)),
        starts=(Decimal(0), *ends[:-1], Decimal(0)),
    )


def _footed(table: Table) -> Table:
    """The table, with a note where its cents as shown do not add up to its total's.

    Every amount is rounded by itself, so that it reads the same wherever it stands; shifting a
    cent to make a column foot would make two tables contradict each other.
    """
    off = []
    for i, (column, whole) in enumerate(zip(table.columns, table.total or (), strict=False)):
        cells = [row[i] for row in table.rows]
        if not column.shown or not isinstance(whole, Money):
            continue
        shown = exact_sum(_cents(c.amount) for c in cells if isinstance(c, Money))
        if gap := EXACT.subtract(_cents(whole.amount), shown):
            off.append(f"{column.label} {numeral(plain(gap))} {whole.currency}")
    if not off:
        return table
    note = f"Rounding, total less the rows as shown: {', '.join(off)}. The CSV has exact amounts."
    return table.model_copy(update={"note": f"{table.note} {note}".strip()})


def _cents(amount: Decimal) -> Decimal:
    """As a page shows it; EXACT would refuse to round."""
    return amount.quantize(Decimal("0.01"), ROUND_HALF_EVEN, ROUNDING)


BREAKDOWNS = (
    ("strategy", "strategy"),
    ("agent", "agent"),
    ("account", "account"),
    ("symbol", "instrument"),
)


def daily_totals(
    days: Sequence[tuple[date, PnlFact | Missing]],
) -> list[tuple[date, Totals | Missing]]:
    """P&L in base of each session, gaps kept; Missing where a part could not be valued."""
    found = []
    for day, fact in days:
        total = fact if isinstance(fact, Missing) else totals(fact)
        if isinstance(total, Totals) and total.unvalued:
            # A net without what could not be valued is not the session's.
            listed = ", ".join(total.unvalued)
            total = Missing(why=Why.NO_MARK, detail=f"no mark of {listed}")
        found.append((day, total))
    return found


def daily_net(days: Sequence[tuple[date, PnlFact | Missing]]) -> list[Point]:
    """Net P&L in base of each session, gaps kept."""
    return [
        Point(day=day, value=total if isinstance(total, Missing) else total.net)
        for day, total in daily_totals(days)
    ]


def _money(fact: PnlFact, amount: Decimal) -> Money:
    return Money(amount=amount, currency=fact.base)


def _figures(fact: PnlFact, total: Totals, series: list[Point]) -> tuple[Figure, ...]:
    def figure(key: str, label: str, amount: Decimal, **more: Any) -> Figure:
        return Figure(id=f"pnl.{key}", label=label, value=_money(fact, amount), **more)

    beside = [
        figure(key, label, amount)
        for key, label, amount in (
            ("dividends", "Dividends", total.dividends),
            ("funding", "Funding, interest and charges", total.funding),
        )
        if amount
    ]
    return (
        figure("net", "Net P&L", total.net, series=tuple(series)),
        figure("gross", "Gross P&L", total.gross),
        figure("realised", f"Realised ({_methods(fact)})", total.realised),
        figure("unrealised", "Change of unrealised", total.unrealised),
        *beside,
        figure("fees", "Fees", total.fees),
        figure("fx", "FX on earlier results", total.fx),
        Figure(id="pnl.fills", label="Fills", value=Count(value=fact.fills, unit="fills")),
        Figure(
            id="pnl.positions",
            label="Open positions at the close",
            value=Count(value=len(fact.marks), unit="positions"),
        ),
        Figure(
            id="pnl.stale_rates",
            label="Stale FX rates",
            value=Count(value=len(stale_rates(fact)), unit="rates"),
        ),
    )


METHOD_WORDS = {"fifo": "FIFO", "lifo": "LIFO", "hifo": "HIFO", "average": "average cost"}


def _methods(fact: PnlFact) -> str:
    """The lot methods of the period, for a label."""
    return ", then ".join(METHOD_WORDS[method] for method in fact.methods)


def _identity_table(fact: PnlFact, total: Totals) -> Table:
    def row(label: str, amount: Decimal) -> tuple[Shown, ...]:
        return (text(label), _money(fact, amount))

    return Table(
        id="pnl_identity",
        title="Cash identity",
        columns=(
            Column(key="item", label="", align="left"),
            Column(key="amount", label="Amount"),
        ),
        rows=(
            row(f"Realised P&L ({_methods(fact)})", total.realised),
            row("+ Change of unrealised P&L", total.unrealised),
            *(
                row(f"+ {label}", amount)
                for label, amount in (
                    ("Dividends", total.dividends),
                    ("Funding, interest and charges", total.funding),
                )
                if amount
            ),
            row("− Fees", EXACT.minus(total.fees)),
            row(
                "= Change of cash and market value",
                EXACT.add(total.cash_change, total.value_change),
            ),
            row("   of which cash", total.cash_change),
            row("   of which market value", total.value_change),
            row("+ FX on earlier results", total.fx),
            row("Difference, lots against cash (must be 0)", total.identity_gap),
        ),
        total=row("Net P&L", total.net),
        note="The unrealised side is computed twice, from lots and from cash; both must agree.",
        whole=True,
    )


#: What a table has for an empty name: no strategy, no agent, no instrument.
NOBODY = "not attributed"

PNL_COLUMNS = (
    Column(key="net", label="Net"),
    Column(key="gross", label="Gross"),
    Column(key="realised", label="Realised"),
    Column(key="fees", label="Fees"),
    Column(key="fx", label="FX"),
    Column(key="fills", label="Fills"),
)


def _pnl_row(fact: PnlFact, cells: Sequence[Cell]) -> tuple[Shown, ...]:
    total = totals(fact, cells)
    fills = Count(value=sum(c.fills for c in cells))
    if isinstance(total, Missing):
        return (total, total, total, total, total, fills)
    if cells and all(c.instrument in total.unvalued for c in cells):
        missing = Missing(why=Why.NO_MARK, detail="never marked")
        return (missing, missing, missing, missing, missing, fills)
    amounts = (total.net, total.gross, total.realised, total.fees, total.fx)
    return (*(_money(fact, amount) for amount in amounts), fills)


def _by(fact: PnlFact, name: str, label: str) -> Table:
    groups: dict[str, list[Cell]] = {}
    for cell in fact.cells:
        groups.setdefault(getattr(cell, name), []).append(cell)
    rows = [(text(key or NOBODY), *_pnl_row(fact, cells)) for key, cells in groups.items()]
    return _footed(
        Table(
            id=f"pnl_by_{label}",
            title=f"P&L by {label}",
            columns=(Column(key=label, label=label.capitalize(), align="left"), *PNL_COLUMNS),
            rows=tuple(sorted(rows, key=_biggest_first)),
            total=(text("Total"), *_pnl_row(fact, fact.cells)),
        )
    )


def _biggest_first(row: tuple[Shown, ...]) -> tuple[Any, ...]:
    net = row[1]
    name = row[0].text if isinstance(row[0], Text) else ""
    return (1, 0, name) if not isinstance(net, Money) else (0, EXACT.minus(net.amount), name)


def _largest_first(row: tuple[Shown, ...]) -> Decimal:
    """Order of the cells: gains and losses alike by size, what has no net last."""
    net = row[4]
    return EXACT.minus(EXACT.abs(net.amount)) if isinstance(net, Money) else Decimal(1)


def _cells_table(fact: PnlFact) -> Table:
    """Everything, by strategy × agent × instrument × account, cells that did nothing left out."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for c in fact.cells:
        groups.setdefault((c.strategy, c.agent, c.symbol, c.account), []).append(c)
    told = {} if isinstance(fact.explained, Missing) else {r.key: r for r in fact.explained}
    rows = []
    for key, cells in sorted(groups.items()):
        names = (text(name or NOBODY) for name in key)
        rows.append((*names, *_pnl_row(fact, cells), *_explained_row(fact, cells, told)))
    rows.sort(key=_largest_first)
    whole = (*_pnl_row(fact, fact.cells), *_explained_row(fact, fact.cells, told))
    return _footed(
        Table(
            id="pnl_cells",
            title="P&L by strategy, agent, instrument and account, the largest first",
            columns=(
                Column(key="strategy", label="Strategy", align="left"),
                Column(key="agent", label="Agent", align="left"),
                Column(key="instrument", label="Instrument", align="left"),
                Column(key="account", label="Account", align="left"),
                *PNL_COLUMNS,
                *EXPLAINED_COLUMNS,
            ),
            rows=tuple(rows),
            total=(text("Total"), text(""), text(""), text(""), *whole),
            top=8,
        )
    )


#: Details of the cells' table, beside fees and FX at each session's rates.
EXPLAINED_COLUMNS = tuple(
    Column(key=name, label=name.capitalize().replace("Fx", "FX"), shown=False)
    for name in (*(f"explained_{name}" for name in COMPONENTS), "residual")
)


def _explained_row(
    fact: PnlFact, cells: Sequence[Cell], told: Mapping[tuple[str, ...], Explained]
) -> tuple[Shown, ...]:
    """The explanation of some cells, for the CSV."""
    total = totals(fact, cells)
    gone = next((x for x in (fact.explained, total) if isinstance(x, Missing)), None)
    if gone is not None or isinstance(total, Missing):
        return (gone or Missing(why=Why.NO_DATA),) * len(EXPLAINED_COLUMNS)
    found = _explanation_of(fact, total, cells, told)
    return tuple(_money(fact, amount) for amount in (*found.parts, found.residual))


def _fees_table(fact: PnlFact, total: Totals) -> Table:
    """Fees by kind and currency; translated at the closing rates they add up to the fees above."""
    columns = (
        Column(key="kind", label="Kind", align="left"),
        Column(key="amount", label="Amount"),
        Column(key="base", label=f"In {fact.base}"),
    )
    whole = (text("Fees"), text(""), _money(fact, total.fees))
    if isinstance(fact.fee_items, Missing):
        row = (text("Kinds of fees"), fact.fee_items, _money(fact, total.fees))
        return Table(id="pnl_fees", title="Fees by kind", columns=columns, rows=(row,), total=whole)
    close = {rate.currency: rate.close for rate in fact.fx}
    sums: dict[tuple[str, str], Decimal] = {}
    unknown: dict[tuple[str, str], int] = {}
    for item in fact.fee_items:
        if item.instrument not in total.unvalued:
            key = (item.kind, item.currency)
            sums[key] = EXACT.add(sums.get(key, Decimal(0)), item.amount)
            unknown[key] = unknown.get(key, 0) + item.unknown
    rows: list[tuple[Shown, ...]] = []
    for (kind, currency), amount in sorted(sums.items()):
        rate = close.get(currency)
        if not amount:
            continue
        missing = Missing(why=Why.NO_DATA, detail=f"no rate {currency}/{fact.base}")
        shown = missing if rate is None else _money(fact, EXACT.multiply(amount, rate))
        rows.append((text(kind or NOBODY), Money(amount=amount, currency=currency), shown))
    rows.sort(key=lambda row: EXACT.minus(row[2].amount) if isinstance(row[2], Money) else 0)
    for (kind, _), items in sorted(unknown.items()):
        if items:
            what = f"{items} item{'s' if items > 1 else ''} without an amount"
            not_known = Missing(why=Why.NO_DATA, detail=what)
            rows.append((text(kind or NOBODY), not_known, not_known))
    table = Table(
        id="pnl_fees", title="Fees by kind", columns=columns, rows=tuple(rows), total=whole
    )
    return _footed(table)


def _marks_table(fact: PnlFact) -> Table:
    rows = []
    for m in sorted(fact.marks, key=lambda m: (not m.stale, m.price is not None, m.symbol)):
        missing = Missing(why=Why.NO_MARK, detail="never marked")
        rows.append(
            (
                text(m.symbol),
                text("missing" if m.price is None else "stale" if m.stale else "fresh"),
                missing if m.price is None else Number(value=m.price, unit=m.currency),
                missing if m.value is None else Money(amount=m.value, currency=m.currency),
                text(m.source),
                Moment(at=datetime.fromisoformat(m.marked_at)) if m.marked_at else missing,
            )
        )
    return Table(
        id="pnl_marks",
        title="Marks of the closing positions",
        columns=(
            Column(key="instrument", label="Instrument", align="left"),
            Column(key="state", label="Mark", align="left"),
            Column(key="price", label="Price"),
            Column(key="value", label="Value touched"),
            Column(key="source", label="Source", align="left"),
            Column(key="marked_at", label="Marked at", align="left"),
        ),
        rows=tuple(rows),
    )


def _fx_table(fact: PnlFact) -> Table:
    missing = Missing(why=Why.NO_DATA, detail="no rate")
    used = {c.currency for c in fact.cells}
    return Table(
        id="pnl_fx",
        title=f"Rates to {fact.base}",
        columns=(
            Column(key="currency", label="Currency", align="left"),
            Column(key="state", label="Rate", align="left"),
            Column(key="open", label="Opening rate"),
            Column(key="close", label="Closing rate"),
            Column(key="value", label="Value touched"),
            Column(key="source", label="Source and time", align="left"),
        ),
        rows=tuple(
            (
                text(r.currency),
                text("missing" if r.close is None else "stale" if r.stale else "fresh"),
                missing if r.open is None else Number(value=r.open),
                missing if r.close is None else Number(value=r.close),
                Missing(why=Why.NO_MARK, detail="a mark is missing")
                if r.value is None
                else Money(amount=r.value, currency=r.currency),
                text(r.source),
            )
            for r in fact.fx
            if r.currency in used
        ),
    )


def _chart(series: Sequence[Point], base: str) -> BarsChart:
    running = Decimal(0)
    cumulative: list[Decimal | None] = []
    for point in series:
        if isinstance(point.value, Missing):
            cumulative.append(None)
        else:
            running = EXACT.add(running, point.value)
            cumulative.append(running)
    values = tuple(None if isinstance(p.value, Missing) else p.value for p in series)
    known = [v for v in values if v is not None]
    alt = "No session has a P&L."
    if known:
        alt = (
            f"{len(known)} sessions; best {numeral(max(known), '.2f')}, worst "
            f"{numeral(min(known), '.2f')}, sum {numeral(running, '.2f')} {base}."
        )
    return BarsChart(
        id="pnl_daily",
        title="Net P&L per session and cumulative",
        alt=alt,
        unit=base,
        labels=tuple(p.day.isoformat() for p in series),
        bars=Line(label="Net P&L", values=values),
        lines=(Line(label="Cumulative", values=tuple(cumulative)),),
    )


LOTS_WORDS = {
    "fifo": "first in, first out",
    "lifo": "last in, first out",
    "hifo": "highest price first",
    "average": "average cost, one lot with its total cost",
}


def _notes(fact: PnlFact, total: Totals, explanation: Explanation | Missing) -> tuple[str, ...]:
    notes = [
        f"Lots: {LOTS_WORDS[fact.method]}, by account and instrument; realised P&L stands with the "
        "strategy whose fill closes the lot. Positive fees are cost.",
        f"Native amounts are translated to {fact.base} at the closing rate; FX on earlier results "
        "is the change of that rate on everything earned before and kept in the currency.",
    ]
    for change in fact.changes:
        kept = (
            "became one lot each at their total cost"
            if change.after == "average"
            else "stayed as they were"
        )
        notes.append(
            f"The lot method changed from {METHOD_WORDS[change.before]} to "
            f"{METHOD_WORDS[change.after]} with the opening book of {change.day.isoformat()}; "
            f"open lots {kept}. Realised and unrealised P&L together are the same under both."
        )
    if total.unvalued:
        notes.append(f"Left out, because no mark was ever recorded: {', '.join(total.unvalued)}.")
    if isinstance(explanation, Explanation):
        if explanation.left_out:
            unmarked = ", ".join(explanation.left_out)
            notes.append(f"Not explained, because a session had no mark: {unmarked}.")
    return tuple(notes)


PNL: Measure[PnlFact] = Measure(
    name="pnl",
    title="Profit and loss",
    unit="money",
    every_day=False,
    reads=("book", "fx_rates"),
    fact=PnlFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="lots by the method in force; cash identity; explain (measures.md, P&L)",
)
