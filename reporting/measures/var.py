"""Historical value at risk and expected shortfall of the closing positions, one day ahead.

Losses are positive. Today's positions are revalued with each of the last n daily returns of price
and exchange rate together. VaR is the ⌈n(1−α)⌉-th largest loss, with n(1−α) an exact rational; ES
is the tail mean with the fractional weight of Acerbi and Tasche (2002), "On the coherence of
expected shortfall". VaR of several days does not merge: the days stay a series.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..book import BookDay
from ..model import (
    EXACT,
    Count,
    Currency,
    Exact,
    Frame,
    Frames,
    Missing,
    Money,
    Shown,
    Value,
    Why,
    exact_sum,
)
from ..page import Column, Figure, Point, Section, Table, text
from ..periods import TradingDay, sessions_between
from . import Context, Measure

LEVELS = ("0.95", "0.99")
CENT = Decimal("0.01")


class VarLevel(Value):
    """VaR and ES at one confidence level, in base currency, quantised to the cent."""

    level: str
    var: Exact
    es: Exact


class VarDay(Value):
    """The estimate made at one close, which holds for the next session."""

    day: date
    base: Currency
    observations: int
    first: date
    last: date
    gross: Exact
    net: Exact
    levels: tuple[VarLevel, ...]
    left_out: tuple[str, ...]


class VarFact(Value):
    """The estimates of one or more closes, in order of day."""

    days: tuple[VarDay, ...]


def historical(losses: npt.NDArray[np.float64], level: str) -> tuple[float, float]:
    """VaR and ES of a sample of losses (n,), positive is loss, at ``level`` such as "0.99".

    Raises ``ValueError`` if the sample is too small to hold one loss of the tail.
    """
    tail = len(losses) * (1 - Fraction(level))
    if tail <= 0 or len(losses) == 0:
        raise ValueError(f"a sample of {len(losses)} has no tail at {level}")
    ordered = np.sort(losses)[::-1]
    rank = math.ceil(tail)
    whole = math.floor(tail)
    beyond = float(ordered[:whole].sum())
    part = float(tail - whole) * float(ordered[whole]) if whole < len(ordered) else 0.0
    return float(ordered[rank - 1]), (beyond + part) / float(tail)


def of_day(day: TradingDay, frames: Frames) -> VarFact | Missing:
    """Estimate at the session's close; too short a history is Missing, not a smaller number."""
    book, marks = frames["book"], frames["mark_history"]
    rates, latest = frames["fx_history"], frames["fx_rates"]
    for frame in (book, marks, rates, latest):
        if isinstance(frame, Missing):
            return frame
    assert isinstance(book, BookDay) and isinstance(marks, Frame)
    assert isinstance(rates, Frame) and isinstance(latest, Frame)
    base = str(latest.coverage.control["base"])
    window, least = (int(marks.coverage.control[k]) for k in ("window", "minimum"))

    exposures, left_out = _exposures(book, latest.table, base)
    prices = _in_base(marks.table, rates.table, book, base)
    left_out |= {name for name in exposures if name not in prices.columns}
    names = sorted(set(exposures) - left_out)
    if left_out and not names:
        listed = ", ".join(sorted(left_out))
        return Missing(why=Why.NO_DATA, detail=f"no mark, rate or history of {listed}")
    if not names:
        return Missing(why=Why.NO_TRADES, detail="no position is open at the close")
    # A return is from one session to the next: where a mark lacks, both its returns do.
    sessions = sessions_between(prices.index.min(), prices.index.max(), day.calendar)
    daily = prices[names].reindex(pd.Index(sessions))
    returns = daily.pct_change(fill_method=None).dropna().tail(window)
    if len(returns) < least:
        return Missing(
            why=Why.TOO_SHORT,
            detail=f"{len(returns)} common returns of {len(names)} instruments, {least} are needed",
        )
    values = np.array([float(exposures[name]) for name in names])
    losses = -(returns.to_numpy() @ values)
    estimates = {level: historical(losses, level) for level in LEVELS}
    return VarFact(
        days=(
            VarDay(
                day=day.day,
                base=base,
                observations=len(returns),
                first=returns.index[0],
                last=returns.index[-1],
                gross=exact_sum(abs(exposures[n]) for n in names).quantize(CENT),
                net=exact_sum(exposures[n] for n in names).quantize(CENT),
                levels=tuple(
                    VarLevel(level=level, var=_cents(var), es=_cents(es))
                    for level, (var, es) in estimates.items()
                ),
                left_out=tuple(sorted(left_out)),
            ),
        )
    )


def _cents(amount: float) -> Decimal:
    return Decimal(amount).quantize(CENT)


def _exposures(book: BookDay, fx: pd.DataFrame, base: str) -> tuple[dict[str, Decimal], set[str]]:
    """Market value of the net closing position by instrument in base; what can't be valued."""
    rate = {row["base"]: row["rate"] for row in fx.to_dict("records") if row["quote"] == base}
    rate[base] = Decimal(1)
    exposures: dict[str, Decimal] = {}
    left_out: set[str] = set()
    for holding in book.holdings:
        if not holding.position_close:
            continue
        if holding.value_close is None or holding.currency not in rate:
            left_out.add(holding.instrument)
            continue
        value = EXACT.multiply(holding.value_close, rate[holding.currency])
        exposures[holding.instrument] = EXACT.add(
            exposures.get(holding.instrument, Decimal(0)), value
        )
    return {n: v for n, v in exposures.items() if v and n not in left_out}, left_out


def _in_base(marks: pd.DataFrame, rates: pd.DataFrame, book: BookDay, base: str) -> pd.DataFrame:
    """Price × exchange rate by day and instrument, as floats; a gap stays a gap."""
    currency = {h.instrument: h.currency for h in book.holdings}
    # A source without rows gives no columns either.
    marks = marks.reindex(columns=["instrument_id", "day", "price"])
    rates = rates.reindex(columns=["base", "quote", "day", "rate"])
    held = marks[marks["instrument_id"].isin(list(currency))]
    prices = held.assign(price=held["price"].astype(float)).pivot(
        index="day", columns="instrument_id", values="price"
    )
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


def merge(days: Sequence[tuple[Any, VarFact]]) -> VarFact:
    """VaR does not merge: the series of its days is kept."""
    return VarFact(days=tuple(d for _, fact in days for d in fact.days))


def section(
    fact: VarFact | Missing, days: Sequence[tuple[Any, VarFact | Missing]], context: Context
) -> Section:
    """The last estimate with its window, and over several days the series and its maximum."""
    if isinstance(fact, Missing):
        return Section(id="var", title=VAR.title, summary=f"No value at risk: {fact}.")
    last = fact.days[-1]
    figures = []
    for level in last.levels:
        pct = plain_pct(level.level)
        figures += [
            Figure(
                id=f"var.{name}_{pct}",
                label=f"{label} {pct} %, one day",
                value=Money(amount=amount, currency=last.base),
                series=_series(days, level.level) if name == "var" else (),
            )
            for name, label, amount in (("var", "VaR", level.var), ("es", "ES", level.es))
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
        Figure(
            id="var.observations",
            label="Returns used",
            value=Count(value=last.observations, unit="days"),
        ),
    ]
    notes = [
        f"Historical simulation over {last.observations} daily returns from {last.first} to "
        f"{last.last}, one-day horizon, of the positions at the close of {last.day}. It does not "
        "merge over days: a longer report shows the series, the last and the largest.",
    ]
    if last.left_out:
        notes.append(f"Left out for want of a mark, rate or history: {', '.join(last.left_out)}.")
    return Section(
        id="var",
        title=VAR.title,
        summary=f"With the closing positions, one day in a hundred loses more than "
        f"{last.levels[-1].var:,.0f} {last.base}.",
        figures=tuple(figures),
        tables=(_table(fact),) if len(fact.days) > 1 else (),
        notes=tuple(notes),
    )


def plain_pct(level: str) -> str:
    """ "0.975" → "97.5"."""
    return format((Decimal(level) * 100).normalize(), "f")


def _series(days: Sequence[tuple[Any, VarFact | Missing]], level: str) -> tuple[Point, ...]:
    points = []
    for day, fact in days:
        if isinstance(fact, Missing):
            points.append(Point(day=day, value=fact))
        else:
            found = next(x for x in fact.days[-1].levels if x.level == level)
            points.append(Point(day=day, value=found.var))
    return tuple(points)


def _table(fact: VarFact) -> Table:
    rows: list[tuple[Shown, ...]] = []
    for d in fact.days:
        amounts = [a for level in d.levels for a in (level.var, level.es)]
        rows.append((text(d.day.isoformat()), *(Money(amount=a, currency=d.base) for a in amounts)))
    columns = [Column(key="day", label="Close of", align="left")]
    for level in fact.days[-1].levels:
        pct = plain_pct(level.level)
        columns += [
            Column(key=f"var_{pct}", label=f"VaR {pct} %"),
            Column(key=f"es_{pct}", label=f"ES {pct} %"),
        ]
    highest = [
        Money(
            amount=max(getattr(d.levels[i], name) for d in fact.days), currency=fact.days[-1].base
        )
        for i in range(len(LEVELS))
        for name in ("var", "es")
    ]
    return Table(
        id="var_by_day",
        title="VaR and ES by day",
        columns=tuple(columns),
        rows=tuple(rows),
        total=(text("Largest"), *highest),
        top=31,
    )


VAR: Measure[VarFact] = Measure(
    name="var",
    title="Value at risk",
    unit="money",
    every_day=False,
    reads=("book", "mark_history", "fx_history", "fx_rates"),
    fact=VarFact,
    of_day=of_day,
    merge=merge,
    section=section,
    reference="historical simulation; ES after Acerbi and Tasche (2002)",
)
