"""Market risk of the closing positions, one day ahead: VaR and expected shortfall.

Losses are positive. Positions and exposure are of all that has a mark and a rate; what has too
short a history is left out of the estimate, and named with its value. The other positions are
revalued with each of the last n daily returns of price and exchange rate together, which gives n
outcomes, to the cent; VaR and ES are read off them by historical simulation, which is what
backtests and limits use, and by four other methods beside it. What each instrument, strategy and
agent has of it sums to the total. VaR of several days does not merge: the days stay a series.

The estimators and their references are in :mod:`reporting.risk`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from ...book import BookDay
from ...book.instruments import in_units_of_today
from ...model import EXACT, WIDE, Exact, Frame, Frames, Missing, Value, Why
from ...periods import TradingDay, sessions_between
from ...risk import LEVELS, Floats, Tail, Wholes, whole
from ...risk.exposure import exposure, netted
from ...risk.historical import each, historical, parts
from ...risk.parametric import cornish_fisher, ewma, filtered, moments, normal, normal_parts
from .. import Measure
from .facts import (
    ES_LEVEL,
    VAR_LEVEL,
    Estimate,
    LeftOut,
    Method,
    Outcome,
    Position,
    Share,
    VarDay,
    VarFact,
    VarLevel,
)
from .page import plain_pct, said_pct, section, without_words

__all__ = [
    "ES_LEVEL",
    "LEVELS",
    "VAR",
    "VAR_LEVEL",
    "Estimate",
    "LeftOut",
    "Outcome",
    "Position",
    "Share",
    "VarDay",
    "VarFact",
    "VarLevel",
    "merge",
    "of_day",
    "plain_pct",
    "said_pct",
    "section",
    "without_words",
]

CENT = Decimal("0.01")
KINDS: tuple[tuple[str, Callable[[Position], str], Callable[[Position], str]], ...] = (
    ("strategy", lambda p: p.strategy, lambda p: p.strategy),
    ("agent", lambda p: p.agent, lambda p: p.agent),
    ("instrument", lambda p: p.instrument, lambda p: p.symbol),
)


def of_day(day: TradingDay, frames: Frames) -> VarFact | Missing:
    """Positions, exposure and clean P&L at the session's close, and the estimate.

    What has too short a history, or none, is left out of the estimate and named with its value; a
    history too short for everything is no estimate, not a smaller number.
    """
    book, marks = frames["book"], frames["mark_history"]
    rates, latest = frames["fx_history"], frames["fx_rates"]
    for frame in (book, marks, rates, latest):
        if isinstance(frame, Missing):
            return frame
    assert isinstance(book, BookDay) and isinstance(marks, Frame)
    assert isinstance(rates, Frame) and isinstance(latest, Frame)
    base = str(latest.coverage.control["base"])
    window, least = (int(marks.coverage.control[k]) for k in ("window", "minimum"))

    held, left_out = _positions(book, _rates(latest.table, base))
    prices = _in_base(marks.table, rates.table, frames.get("split_history"), held, base)
    returns, reasons = _returns(prices, held, window, least, day.calendar)
    left_out += [
        LeftOut(
            strategy=p.strategy,
            agent=p.agent,
            instrument=p.instrument,
            symbol=p.symbol,
            value=p.value,
            reason=reasons[p.instrument],
        )
        for p in held
        if p.instrument in reasons
    ]
    left_out.sort(key=lambda x: (x.instrument, x.strategy, x.agent))
    covered = [p for p in held if p.instrument not in reasons]
    estimated = _estimated(covered, returns) if covered else _unestimated(left_out)
    whole_book = exposure(netted(held, lambda p: p.instrument, lambda p: p.value).values())
    return VarFact(
        days=(
            VarDay(
                day=day.day,
                base=base,
                gross=whole_book.gross.quantize(CENT, context=WIDE),
                net=whole_book.net.quantize(CENT, context=WIDE),
                left_out=tuple(left_out),
                positions=held,
                clean=_clean(book, frames, base),
                **estimated,
            ),
        )
    )


def _estimated(covered: Sequence[Position], returns: pd.DataFrame) -> dict[str, Any]:
    """The fields of a :class:`VarDay` that are estimated, of positions with these returns."""
    values = netted(covered, lambda p: p.instrument, lambda p: p.value)
    names = sorted(values)
    matrix = returns[names].to_numpy()
    # Cents from here on: what is ranked is what is sealed, so equal losses are equal everywhere.
    exact = matrix @ np.array([float(values[n]) * 100 for n in names])
    outcomes = np.rint(exact)
    return {
        "observations": len(returns),
        "first": returns.index[0],
        "last": returns.index[-1],
        "levels": tuple(_level(outcomes, level) for level in LEVELS),
        "estimates": _estimates(outcomes),
        "shares": _shares(covered, names, matrix, exact),
        "outcomes": tuple(
            Outcome(day=on, amount=_cents(amount))
            for on, amount in zip(returns.index, whole(outcomes), strict=True)
        ),
    }


def _unestimated(left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """The same where there is nothing to estimate: all positions are left out, or none is open."""
    why = Missing(why=Why.NO_TRADES, detail="no position is open at the close")
    if left_out:
        reasons = {x.symbol: x.reason.detail or x.reason for x in left_out}
        listed = ", ".join(f"{symbol} ({reason})" for symbol, reason in reasons.items())
        kinds = {x.reason.why for x in left_out}
        kind = kinds.pop() if len(kinds) == 1 else Why.NO_DATA
        why = Missing(why=kind, detail=f"every open position is left out: {listed}")
    return {"observations": 0, "first": None, "last": None, "levels": (), "unestimated": why}


def _returns(
    prices: pd.DataFrame, held: Sequence[Position], window: int, least: int, calendar: str
) -> tuple[pd.DataFrame, dict[str, Missing]]:
    """The last ``window`` returns that instruments have in common; why the others are left out.

    Instruments are taken in, those with the most returns first, as long as ``least`` returns are
    common to all: one with a short history, or a broken one, can not take away everyone's.
    """
    names = sorted({p.instrument for p in held})
    gone = {
        name: Missing(why=Why.NO_DATA, detail="no history of its marks or of its rate")
        for name in names
        if name not in prices.columns
    }
    # A return on a price of 0 or below says nothing.
    gone |= {
        name: Missing(why=Why.NO_DATA, detail="a mark of 0 or below in its history")
        for name in names
        if name not in gone and not (prices[name].dropna() > 0).all()
    }
    names = [name for name in names if name not in gone]
    if not names:
        return prices[[]], gone
    # A return is from one session to the next: where a mark lacks, both its returns do.
    sessions = sessions_between(prices.index.min(), prices.index.max(), calendar)
    daily = prices[names].reindex(pd.Index(sessions))
    returns = daily.pct_change(fill_method=None)
    has = returns.notna().to_numpy()
    own = has.sum(axis=0)
    common = np.ones(len(returns), dtype=bool)
    for i in sorted(range(len(names)), key=lambda i: (-own[i], names[i])):
        both = common & has[:, i]
        if min(both.sum(), window) >= least:
            common = both
            continue
        few, whose = (own[i], "") if own[i] < least else (both.sum(), " in common with others")
        detail = f"{few} of the {least} returns{whose} that are needed"
        gone[names[i]] = Missing(why=Why.TOO_SHORT, detail=detail)
    return returns[common].tail(window), gone


def _cents(amount: Any) -> Decimal:
    """Whole cents as an amount."""
    return Decimal(int(amount)).scaleb(-2)


def _rounded(amount: float) -> Decimal:
    return _cents(whole(np.array([amount]))[0])


def _rates(table: pd.DataFrame, base: str) -> dict[str, Decimal]:
    """Worth of one unit of each currency in base."""
    found = {row["base"]: row["rate"] for row in table.to_dict("records") if row["quote"] == base}
    return {**found, base: Decimal(1)}


def _positions(
    book: BookDay, rate: Mapping[str, Decimal]
) -> tuple[tuple[Position, ...], list[LeftOut]]:
    """Market value in base by strategy, agent and instrument; what has no mark or no rate.

    An instrument that can not be valued in one place is left out whole. A position whose value is
    0 by its mark is one all the same.
    """
    open_cells = [cell for cell in book.cells if cell.position_close]
    gone: dict[str, Missing] = {}
    for cell in open_cells:
        if cell.value_close is None:
            gone[cell.instrument] = Missing(why=Why.NO_MARK)
        elif cell.currency not in rate:
            detail = f"no rate of {cell.currency}"
            gone.setdefault(cell.instrument, Missing(why=Why.NO_DATA, detail=detail))
    found: dict[tuple[str, ...], Position] = {}
    units: dict[tuple[str, ...], Decimal] = {}
    left_out: dict[tuple[str, ...], LeftOut] = {}
    for cell in open_cells:
        key = (cell.strategy, cell.agent, cell.instrument)
        units[key] = EXACT.add(units.get(key, Decimal(0)), cell.position_close)
        of = dict(zip(("strategy", "agent", "instrument"), key, strict=True), symbol=cell.symbol)
        if reason := gone.get(cell.instrument):
            left_out[key] = LeftOut(value=reason, reason=reason, **of)
            continue
        assert cell.value_close is not None
        before = found[key].value if key in found else Decimal(0)
        value = EXACT.add(before, EXACT.multiply(cell.value_close, rate[cell.currency]))
        found[key] = Position(currency=cell.currency, value=value, **of)
    kept = tuple(found[key] for key in sorted(found) if units[key] or found[key].value)
    return kept, [left_out[key] for key in sorted(left_out) if units[key]]


def _in_base(
    marks: pd.DataFrame,
    rates: pd.DataFrame,
    splits: Frame | Value | None,
    held: Sequence[Position],
    base: str,
) -> pd.DataFrame:
    """Price × exchange rate by day and instrument, as floats; a gap stays a gap."""
    currency = {p.instrument: p.currency for p in held}
    # A source without rows gives no columns either.
    marks = marks.reindex(columns=["instrument_id", "day", "price", "marked_at"])
    rates = rates.reindex(columns=["base", "quote", "day", "rate"])
    of_held = in_units_of_today(marks[marks["instrument_id"].isin(list(currency))], splits)
    prices = of_held.pivot(index="day", columns="instrument_id", values="price")
    to_base = rates[rates["quote"] == base]
    fx = to_base.assign(rate=to_base["rate"].astype(float)).pivot(
        index="day", columns="base", values="rate"
    )
    for name in list(prices.columns):
        if currency[name] == base:
            continue
        if currency[name] not in fx.columns:
            prices = prices.drop(columns=name)
        else:
            prices[name] = prices[name] * fx[currency[name]].reindex(prices.index)
    return prices


def _level(outcomes: Floats, level: str) -> VarLevel:
    found = historical(outcomes, level)
    return VarLevel(level=level, var=_rounded(found.var), es=_rounded(found.es))


def _estimates(outcomes: Floats) -> tuple[Estimate, ...]:
    """VaR and ES by every method beside historical simulation."""
    of, rescaled = moments(outcomes) if len(outcomes) > 1 else None, filtered(outcomes)
    alone = Missing(why=Why.TOO_SHORT, detail="one return has no spread")
    turns = Missing(
        why=Why.NO_DATA,
        detail="the expansion is no quantile with "
        + (f"skewness {of.skew:.2f} and excess kurtosis {of.kurtosis:.2f}" if of else ""),
    )
    still = Missing(why=Why.NO_DATA, detail="no return of the window moves the positions")
    found: list[tuple[Method, str, Tail | Missing]] = []
    for level in LEVELS:
        expanded = cornish_fisher(of, level) if of else None
        found += [
            ("normal", level, normal(of, level) if of else alone),
            ("cornish_fisher", level, (expanded or turns) if of else alone),
            ("ewma", level, ewma(outcomes, level)),
            (
                "filtered",
                level,
                still if rescaled is None else historical(np.rint(rescaled), level),
            ),
        ]
    return tuple(
        Estimate(
            method=method,
            level=level,
            var=tail if isinstance(tail, Missing) else _rounded(tail.var),
            es=tail if isinstance(tail, Missing) else _rounded(tail.es),
        )
        for method, level, tail in found
    )


def _shares(
    held: Sequence[Position], names: Sequence[str], matrix: Floats, exact: Floats
) -> tuple[Share, ...]:
    """What each strategy, agent and instrument has of VaR and ES."""
    column = {name: i for i, name in enumerate(names)}
    found: list[Share] = []
    for kind, key, label in KINDS:
        of: dict[str, list[Position]] = {}
        for p in held:
            of.setdefault(key(p), []).append(p)
        keys = sorted(of)
        own = [netted(of[name], lambda p: p.instrument, lambda p: p.value) for name in keys]
        amounts = np.zeros((len(keys), len(names)))
        for row, values in enumerate(own):
            for name, value in values.items():
                amounts[row, column[name]] = float(value) * 100
        if kind == "instrument":
            by_part = matrix * amounts.diagonal()
        else:
            by_part = matrix @ amounts.T
        var, es = (_parted(by_part, exact, at) for at in (VAR_LEVEL, ES_LEVEL))
        for name, values, of_var, of_es in zip(keys, own, var, es, strict=True):
            total = exposure(values.values())
            found.append(
                Share(
                    kind=kind,  # type: ignore[arg-type]
                    name=name,
                    label=label(of[name][0]),
                    exposure=total.net,
                    gross=total.gross,
                    **{f"{what}_var": amount[0] for what, amount in of_var.items()},
                    **{f"{what}_es": amount[1] for what, amount in of_es.items()},
                )
            )
    return tuple(found)


def _parted(by_part: Floats, exact: Floats, level: str) -> list[dict[str, tuple[Decimal, Decimal]]]:
    """(VaR, ES) of every part at one level: component, added, alone, and normal component."""
    outcomes = np.rint(exact)
    total = parts(by_part, outcomes, level)
    alone = each(np.rint(by_part), level)
    without = each(np.rint(exact[:, None] - by_part), level)
    # Python's integers: a difference of what fits into 64 bits may not.
    added = [
        np.array([amount - int(x) for x in whole(rest)], dtype=object)
        for amount, rest in zip((total.var, total.es), without, strict=True)
    ]
    gauss = normal_parts(outcomes, by_part, level) if len(outcomes) > 1 else total
    columns: dict[str, tuple[Wholes, Wholes]] = {
        "part": (total.var_parts, total.es_parts),
        "added": (added[0], added[1]),
        "alone": (whole(alone[0]), whole(alone[1])),
        "normal": (gauss.var_parts, gauss.es_parts),
    }
    return [
        {what: (_cents(var[i]), _cents(es[i])) for what, (var, es) in columns.items()}
        for i in range(by_part.shape[1])
    ]


def _clean(book: BookDay, frames: Frames, base: str) -> Exact | Missing:
    """The session's P&L had nothing been traded: what it opened with, at closing marks and rates.

    Without fees and dividends, as the hypothetical P&L of Basel's backtests (MAR32). Of a session
    that opened flat it is 0. A position without a mark or a rate on either side is no P&L of 0.
    """
    opened = [c for c in book.cells if c.value_open is None or c.value_open]
    if not opened:
        return Decimal(0)
    opening, closing = frames.get("fx_open"), frames["fx_rates"]
    if not isinstance(opening, Frame) or not isinstance(closing, Frame):
        gone = Missing(why=Why.NOT_MEASURED, detail="opening rates were not read")
        return opening if isinstance(opening, Missing) else gone
    before, after = _rates(opening.table, base), _rates(closing.table, base)
    carried = {move.key: move.carried for move in book.moves}
    total = Decimal(0)
    for cell in opened:
        moved = carried.get(cell.key)
        if cell.value_open is None or moved is None:
            return Missing(why=Why.NO_MARK, detail=f"no mark of {cell.symbol} at both closes")
        if cell.currency not in before or cell.currency not in after:
            return Missing(why=Why.NO_DATA, detail=f"no rate {cell.currency}/{base} at both closes")
        # Worth at the closing rate less worth at the opening one.
        worth = EXACT.multiply(EXACT.add(cell.value_open, moved), after[cell.currency])
        was = EXACT.multiply(cell.value_open, before[cell.currency])
        total = EXACT.add(total, EXACT.subtract(worth, was))
    return total


def merge(days: Sequence[tuple[Any, VarFact]]) -> VarFact:
    """VaR does not merge: the series of its days is kept."""
    return VarFact(days=tuple(d for _, fact in days for d in fact.days))


VAR: Measure[VarFact] = Measure(
    name="var",
    title="Risk",
    unit="money",
    every_day=False,
    reads=("book", "mark_history", "fx_history", "fx_rates"),
    fact=VarFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="historical simulation; ES after Acerbi and Tasche (2002); see reporting.risk",
)
