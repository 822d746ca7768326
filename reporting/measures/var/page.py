"""The section on market risk: what one close says; the composed part is added in the document."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from ...model import EXACT, WIDE, Count, Exact, Missing, Money, Number, Ratio, Shown, Why
from ...numerals import numeral, ours
from ...page import Column, Figure, Point, Section, Table, Verdict, text
from ...risk import LEVELS
from ...risk.exposure import concentration, exposure, netted
from .. import Context as PageContext
from .facts import ES_LEVEL, NOT_THEN, VAR_LEVEL, LeftOut, Share, VarDay, VarFact, VarLevel

TITLE = "Risk"
#: The methods in the order of the page, with their names.
METHODS = (
    ("historical", "Historical simulation"),
    ("normal", "Normal"),
    ("cornish_fisher", "Cornish-Fisher"),
    ("ewma", "EWMA, decay 0.94"),
    ("filtered", "Filtered historical simulation"),
)
HORIZON = 10
CENT = Decimal("0.01")
ROUNDED = Context(prec=60, rounding=ROUND_HALF_EVEN)


def plain_pct(level: str) -> str:
    """ "0.975" → "97.5"."""
    return format((Decimal(level) * 100).normalize(), "f")


def said_pct(level: str) -> str:
    """The same for a sentence."""
    return numeral(plain_pct(level))


def section(
    fact: VarFact | Missing, days: Sequence[tuple[Any, VarFact | Missing]], context: PageContext
) -> Section:
    """The last estimate with its window, and over several days the series and its maximum."""
    if isinstance(fact, Missing):
        return Section(id="var", title=TITLE, summary=f"No value at risk: {fact}.")
    last = fact.days[-1]
    tables = [_by_day(fact)] if len(fact.days) > 1 else []
    if last.left_out:
        tables.append(_left_out(last))
    if last.estimates:
        tables += [_methods(last), _shares(last)]
    if last.positions:
        tables.append(_currencies(last))
    return Section(
        id="var",
        title=TITLE,
        summary=_summary(last),
        # VaR of a part is no bound of the whole.
        verdict=None if all(d.is_whole for d in fact.days) else Verdict.UNKNOWN,
        figures=_figures(last, days),
        tables=tuple(tables),
        notes=_notes(fact),
    )


def _summary(last: VarDay) -> str:
    if not last.levels:
        return f"No value at risk: {last.unestimated}."
    without = f", without {without_words(last)}," if last.left_out else ""
    return (
        f"With the closing positions{without} one day in a hundred loses more than "
        f"{numeral(last.levels[-1].var, ',.0f')} {last.base}."
        + (" What all of them together would lose is not known." if without else "")
    )


def without_words(day: VarDay, why: bool = False) -> str:
    """What the estimate leaves out, with its value: "CCC Corp (30.00 USD)"."""
    listed = []
    for x, value in day.without:
        worth = f"{value}" if isinstance(value, Missing) else f"{numeral(value, ',.2f')} {day.base}"
        reason = f": {x.reason.detail}" if why and value != x.reason else ""
        listed.append(f"{x.symbol} ({worth}{reason})")
    more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
    return ", ".join(listed[:4]) + more


def _notes(fact: VarFact) -> tuple[str, ...]:
    last = fact.days[-1]
    notes = []
    if last.levels:
        notes.append(
            f"Historical simulation over {last.observations} daily returns from {last.first} to "
            f"{last.last}, one-day horizon, of the positions at the close of {last.day}. It does "
            "not merge over days: a longer report shows the series, the last and the largest."
        )
    if last.estimates:
        notes.append(
            "Every method takes the same outcomes of the window. Prices from before a split are in "
            "units after it; dividends are not added back. A component of VaR is the loss on the "
            "one day that VaR is read off, so it is coarser than one of ES, a mean over the tail."
        )
    elif last.levels:
        notes.append("Other methods and components were not measured when the day was sealed.")
    if last.left_out:
        notes.append(
            f"Left out of VaR, ES and their components: {without_words(last, why=True)}. VaR of a "
            "part is no bound of the whole, so what it is compared with is not known to be kept."
        )
    others = [d.day for d in fact.days[:-1] if not d.is_whole]
    if others:
        listed = ", ".join(map(str, others[:5])) + (" …" if len(others) > 5 else "")
        notes.append(f"Positions were left out of the estimates of other closes too: {listed}.")
    return tuple(notes)


def _figures(last: VarDay, days: Sequence[tuple[Any, VarFact | Missing]]) -> tuple[Figure, ...]:
    figures = []
    note = f"without {without_words(last)}" if last.left_out and last.levels else ""
    for level in [x.level for x in last.levels] or LEVELS:
        pct, found = plain_pct(level), last.at(level)
        figures += [
            Figure(
                id=f"var.{name}_{pct}",
                label=f"{label} {numeral(pct)} %, one day",
                value=_amount(found, name, last.base),
                series=_series(days, level) if name == "var" else (),
                note=note if (name, level) == ("var", VAR_LEVEL) else "",
            )
            for name, label in (("var", "VaR"), ("es", "ES"))
        ]
    figures += [
        Figure(
            id="var.gross",
            label="Gross exposure",
            value=Money(amount=last.gross, currency=last.base),
        ),
        Figure(
            id="var.net", label="Net exposure", value=Money(amount=last.net, currency=last.base)
        ),
        *_concentration(last),
        Figure(
            id="var.observations",
            label="Returns used",
            value=last.unestimated or Count(value=last.observations, unit="days"),
        ),
    ]
    return tuple(figures)


def _amount(found: VarLevel | Missing, name: str, base: str) -> Money | Missing:
    """One of the two amounts of a level, ``var`` or ``es``."""
    if isinstance(found, Missing):
        return found
    return Money(amount=getattr(found, name), currency=base)


def _concentration(last: VarDay) -> tuple[Figure, ...]:
    symbol = {p.instrument: p.symbol for p in last.positions}
    found = concentration(netted(last.positions, lambda p: p.instrument, lambda p: p.value))
    if found is None:
        return ()
    index = Decimal(found.herfindahl.numerator) / Decimal(found.herfindahl.denominator)
    return (
        Figure(
            id="var.largest_share",
            label=f"Largest share of gross: {symbol[found.largest]}",
            value=Ratio(numerator=found.value, denominator=found.gross),
        ),
        Figure(
            id="var.herfindahl",
            label="Concentration (Herfindahl, 1 is one instrument)",
            value=Number(value=index.quantize(Decimal("0.0001"))),
        ),
    )


def _series(days: Sequence[tuple[Any, VarFact | Missing]], level: str) -> tuple[Point, ...]:
    points = []
    for day, fact in days:
        if isinstance(fact, Missing):
            points.append(Point(day=day, value=fact))
        else:
            found = fact.days[-1].at(level)
            points.append(Point(day=day, value=found if isinstance(found, Missing) else found.var))
    return tuple(points)


def _by_day(fact: VarFact) -> Table:
    sealed = {x.level for d in fact.days for x in d.levels}
    levels = [x for x in LEVELS if x in sealed] or LEVELS
    rows: list[tuple[Shown, ...]] = []
    highest: dict[tuple[str, str], Shown] = {}
    for d in fact.days:
        cells: list[Shown] = []
        for level in levels:
            for name in ("var", "es"):
                shown = _amount(d.at(level), name, d.base)
                cells.append(shown)
                known = highest.setdefault((level, name), shown)
                if isinstance(shown, Money) and not (
                    isinstance(known, Money) and known.amount >= shown.amount
                ):
                    highest[level, name] = shown
        rows.append((text(d.day.isoformat()), *cells, text(without_words(d))))
    columns = [Column(key="day", label="Close of", align="left")]
    for level in levels:
        pct = plain_pct(level)
        columns += [
            Column(key=f"var_{pct}", label=f"VaR {numeral(pct)} %"),
            Column(key=f"es_{pct}", label=f"ES {numeral(pct)} %"),
        ]
    columns.append(Column(key="without", label="Left out", align="left", shown=False))
    return Table(
        id="var_by_day",
        title="VaR and ES by day",
        columns=tuple(columns),
        rows=tuple(rows),
        total=(
            text("Largest"),
            *(highest[x, name] for x in levels for name in ("var", "es")),
            text(""),
        ),
        top=31,
    )


def _left_out(last: VarDay) -> Table:
    """What the estimate does not cover, the largest first."""

    def order(x: LeftOut) -> tuple[Any, ...]:
        unknown = isinstance(x.value, Missing)
        size = Decimal(0) if isinstance(x.value, Missing) else -abs(x.value)
        return (not unknown, size, x.instrument, x.strategy, x.agent)

    return Table(
        id="var_left_out",
        title="Left out of VaR",
        columns=(
            Column(key="name", label="Instrument", align="left"),
            Column(key="strategy", label="Strategy", align="left"),
            Column(key="agent", label="Agent", align="left"),
            Column(key="value", label="Value"),
            Column(key="why", label="Why", align="left"),
            Column(key="id", label="Identifier", align="left", shown=False),
        ),
        rows=tuple(
            (
                text(x.symbol),
                text(x.strategy),
                text(x.agent),
                x.value
                if isinstance(x.value, Missing)
                else Money(amount=x.value, currency=last.base),
                text(str(x.reason)),
                text(x.instrument),
            )
            for x in sorted(last.left_out, key=order)
        ),
        top=12,
        note="What has a value counts in exposure and stress; what has none counts nowhere.",
    )


def _methods(last: VarDay) -> Table:
    """Methods by levels, one day and, scaled, ten."""
    estimates: dict[tuple[str, str], tuple[Exact | Missing, Exact | Missing]] = {
        (e.method, e.level): (e.var, e.es) for e in last.estimates
    } | {("historical", x.level): (x.var, x.es) for x in last.levels}
    columns = [Column(key="method", label="Method", align="left")]
    keys: list[tuple[str, int, bool]] = []
    for scaled in (False, True):
        for which, name in ((0, "VaR"), (1, "ES")):
            for level in LEVELS:
                pct = plain_pct(level)
                keys.append((level, which, scaled))
                columns.append(
                    Column(
                        key=f"{name.lower()}_{pct}{f'_{HORIZON}d' if scaled else ''}",
                        label=f"{name} {numeral(pct)} %{', ten days' if scaled else ''}",
                        shown=not scaled or (level == VAR_LEVEL and which == 0),
                    )
                )
    rows: list[tuple[Shown, ...]] = []
    for method, title in METHODS:
        cells: list[Shown] = []
        for level, which, scaled in keys:
            amount = estimates.get((method, level), (NOT_THEN, NOT_THEN))[which]
            if isinstance(amount, Missing):
                cells.append(amount.model_copy(update={"detail": ours(amount.detail)}))
                continue
            if scaled:
                amount = ROUNDED.multiply(amount, ROUNDED.sqrt(Decimal(HORIZON)))
                amount = amount.quantize(CENT, context=WIDE)
            cells.append(Money(amount=amount, currency=last.base))
        rows.append((text(ours(title)), *cells))
    return Table(
        id="var_methods",
        title="VaR and ES by method, one day",
        columns=tuple(columns),
        rows=tuple(rows),
        note="Ten days are one day scaled by the square root of time, as if days were independent "
        "and alike.",
    )


def _shares(last: VarDay) -> Table:
    """Components of strategies, agents and instruments, each kind the largest first."""
    at_var, at_es = said_pct(VAR_LEVEL), said_pct(ES_LEVEL)

    def money(amount: Decimal) -> Money:
        return Money(amount=amount, currency=last.base)

    total_var, total_es = (last.at(level) for level in (VAR_LEVEL, ES_LEVEL))
    order = {"strategy": 0, "agent": 1, "instrument": 2}
    rows: list[tuple[Shown, ...]] = []
    for s in sorted(last.shares, key=lambda s: (order[s.kind], -s.part_es, s.name)):
        rows.append(
            (
                text(s.kind),
                text(s.label),
                money(s.exposure),
                money(s.part_var),
                _share(s.part_var, total_var, "var"),
                money(s.part_es),
                _share(s.part_es, total_es, "es"),
                _marginal(s, s.part_es),
                money(s.added_es),
                money(s.alone_es),
                money(s.gross),
                _marginal(s, s.part_var),
                money(s.added_var),
                money(s.alone_var),
                money(s.normal_var),
                money(s.normal_es),
                text(s.name),
            )
        )
    return Table(
        id="var_components",
        title="Where the risk comes from",
        columns=(
            Column(key="kind", label="By", align="left"),
            Column(key="name", label="Name", align="left"),
            Column(key="exposure", label="Net exposure"),
            Column(key="component_var", label=f"Component VaR {at_var} %"),
            Column(key="share_var", label="Share", shown=False),
            Column(key="component_es", label=f"Component ES {at_es} %"),
            Column(key="share_es", label="Share of ES"),
            Column(key="marginal_es", label="Marginal ES"),
            Column(key="incremental_es", label="Incremental ES"),
            Column(key="alone_es", label=f"ES {at_es} % alone", shown=False),
            Column(key="gross", label="Gross exposure", shown=False),
            Column(key="marginal_var", label="Marginal VaR", shown=False),
            Column(key="incremental_var", label="Incremental VaR", shown=False),
            Column(key="alone_var", label=f"VaR {at_var} % alone", shown=False),
            Column(key="normal_var", label="Normal component VaR", shown=False),
            Column(key="normal_es", label="Normal component ES", shown=False),
            Column(key="id", label="Identifier", align="left", shown=False),
        ),
        rows=tuple(rows),
        top=14,
        note="Components of each kind sum to the total. Marginal: the component for each unit of "
        "net exposure. Incremental: the total less what it would be without."
        + (" Of the positions that VaR covers." if last.left_out else ""),
    )


def _share(part: Decimal, total: VarLevel | Missing, name: str) -> Shown:
    if isinstance(total, Missing):
        return total
    return Ratio(numerator=part, denominator=getattr(total, name))


def _marginal(share: Share, part: Decimal) -> Shown:
    """The component for each unit of exposure, four significant digits."""
    if not share.exposure:
        return Missing(why=Why.NO_DATA, detail="its exposures net to zero")
    found = Context(prec=4, rounding=ROUND_HALF_EVEN).divide(part, share.exposure)
    return Number(value=found)


def _currencies(last: VarDay) -> Table:
    """Exposure by currency, instruments netted first."""
    by_currency: dict[str, dict[str, Decimal]] = {}
    for p in last.positions:
        of = by_currency.setdefault(p.currency, {})
        of[p.instrument] = EXACT.add(of.get(p.instrument, Decimal(0)), p.value)

    def row(label: str, values: Sequence[Decimal]) -> tuple[Shown, ...]:
        found = exposure(values)
        amounts = (found.long, EXACT.minus(found.short), found.gross, found.net)
        return (text(label), *(Money(amount=a, currency=last.base) for a in amounts))

    everything = [v for of in by_currency.values() for v in of.values()]
    return Table(
        id="var_exposure",
        title=f"Exposure by currency, in {last.base}",
        columns=(
            Column(key="currency", label="Currency", align="left"),
            Column(key="long", label="Long"),
            Column(key="short", label="Short"),
            Column(key="gross", label="Gross"),
            Column(key="net", label="Net"),
        ),
        rows=tuple(row(c, list(by_currency[c].values())) for c in sorted(by_currency)),
        total=row("Total", everything),
    )
