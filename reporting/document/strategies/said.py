"""What a report says of one strategy or agent: every measure, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ...analysis import LEVEL_WORDS, measured, to_places
from ...analysis.performance import (
    SESSIONS_A_YEAR,
    Drawdown,
    Sharpe,
    drawdown,
    hit_rate,
    profit_factor,
    sharpe,
)
from ...measures.fill_rate import in_full
from ...measures.pnl import Totals
from ...measures.slippage import SlippageCell
from ...model import Bps, Count, Missing, Money, Number, Ratio, Shown, Text, Why
from ...numerals import numeral
from ...page import text
from .records import Record, translated


@dataclass(frozen=True)
class Said:
    """One measure: its label, its value and what that rests on."""

    label: str
    value: Shown
    note: str = ""


def said_of(record: Record, *, daily: bool = False) -> dict[str, Said]:
    """Every measure of ``record`` by key.

    One session says nothing of hit rate and profit factor: a daily report has those of the history.
    """
    total = record.total
    past = measured(record.history)
    nets = [x for _, x in past]
    days = nets if daily else [x for _, x in measured(record.days)]
    longer = len(nets) > len(days)
    ratio = sharpe(nets)
    fall = drawdown(past)
    over = f"last {sessions(len(nets))}"
    return {
        "net": Said("Net P&L", money_of(total, record, lambda t: t.net)),
        "share": Said("Share of net P&L", record.share),
        "gross": Said("Gross P&L", money_of(total, record, lambda t: t.gross)),
        "hit_rate": Said(
            "Winning sessions", hit_rate(days), f"{over}: {_percent(nets)}" if longer else ""
        ),
        "hit_rate_instruments": Said("Winning instrument-days", hit_rate(record.by_instrument)),
        "profit_factor": Said(
            "Profit factor", _factor(days), f"{over}: {_factor_words(nets)}" if longer else ""
        ),
        "notional": Said("Traded notional", _money(record.notional, record)),
        "turnover": Said(
            "Turnover",
            record.turnover
            if isinstance(record.turnover, Missing)
            else Number(value=to_places(record.turnover, 2), unit="times"),
        ),
        "fill_rate": Said(
            "Orders filled in full",
            in_full(record.orders) if record.orders else Missing(why=Why.NO_ORDERS),
        ),
        "fees": Said("Fees", money_of(total, record, lambda t: t.fees)),
        "fees_of_gross": Said("Fees of gross P&L", _fees_of_gross(total)),
        "slippage": Said("Slippage cost", _money(record.slippage, record), partial(record.covered)),
        "slippage_bps": Said("Slippage", slippage_of(record, record.trades)),
        "coverage": Said(
            "Fills with an arrival price",
            record.covered
            if record.covered.denominator
            else Missing(why=Why.NO_TRADES, detail="no fill"),
        ),
        "costs_share": Said(
            "Share of all costs",
            record.costs_share,
            f"slippage {said}" if (said := partial(record.costs_covered)) else "",
        ),
        "history": Said("Sessions of history", Count(value=len(nets))),
        "sharpe_daily": Said(
            "Sharpe ratio, daily", _of_sharpe(ratio, lambda s: s.daily), _error_words(ratio, 3)
        ),
        "sharpe_error": Said("Standard error", _of_sharpe(ratio, lambda s: s.error)),
        "sharpe_error_independent": Said(
            "Standard error of independent days", _of_sharpe(ratio, lambda s: s.error_independent)
        ),
        "interval": Said(f"{LEVEL_WORDS} interval", _interval(ratio)),
        "sharpe_annual": Said(
            "Sharpe ratio, annual",
            _of_sharpe(ratio, lambda s: s.daily * YEAR, 2),
            _error_words(ratio, 2, YEAR),
        ),
        "drawdown": Said(
            "Deepest drawdown",
            Money(amount=fall.amount, currency=record.base)
            if past
            else Missing(why=Why.NO_DATA, detail="no session"),
            _fall_words(fall),
        ),
    }


#: What a daily ratio of independent days grows by in a year.
YEAR = math.sqrt(SESSIONS_A_YEAR)


def sessions(number: int) -> str:
    """ "1 session", "68 sessions"."""
    return f"{number} session{'' if number == 1 else 's'}"


def money_of(total: Totals | Missing, record: Record, of: Callable[[Totals], Decimal]) -> Shown:
    """An amount of ``total`` in the record's currency."""
    return total if isinstance(total, Missing) else _money(of(total), record)


def _money(amount: Decimal | Missing, record: Record) -> Money | Missing:
    if isinstance(amount, Missing):
        return amount
    return Money(amount=amount, currency=record.base)


def _percent(nets: Sequence[Decimal]) -> str:
    share = hit_rate(nets)
    if isinstance(share, Missing) or share.fraction is None:
        return "none won or lost"
    return f"{numeral(to_places(share.fraction * 100))} %"


def _factor(nets: Sequence[Decimal]) -> Number | Missing:
    factor = profit_factor(nets)
    return factor if isinstance(factor, Missing) else Number(value=to_places(factor, 2))


def _factor_words(nets: Sequence[Decimal]) -> str:
    factor = profit_factor(nets)
    return factor.detail if isinstance(factor, Missing) else numeral(to_places(factor, 2))


def _fees_of_gross(total: Totals | Missing) -> Ratio | Missing:
    if isinstance(total, Missing):
        return total
    if total.gross <= 0:
        return Missing(why=Why.NOT_MEASURED, detail="no gross gain")
    return Ratio(numerator=total.fees, denominator=total.gross)


def partial(covered: Ratio) -> str:
    """What slippage is of, where it isn't of all fills: "of the 3 in 4 fills …" in per cent."""
    if covered.fraction is None or covered.fraction == 1:
        return ""
    # Never "100.0 %" of what is not all.
    share = min(to_places(covered.fraction * 100), Decimal("99.9"))
    return f"of the {numeral(share)} % of fills with an arrival price; the rest is not known"


def slippage_of(record: Record, trades: Sequence[SlippageCell]) -> Bps | Missing:
    """Cost against arrival of ``trades``, both sides in base at the period's closing rates."""
    if isinstance(record.slippage, Missing):
        return record.slippage
    cost = translated(((c.currency, c.cost) for c in trades), record.rates)
    notional = translated(((c.currency, c.arrival_notional) for c in trades), record.rates)
    for part in (cost, notional):
        if isinstance(part, Missing):
            return part
    assert isinstance(cost, Decimal) and isinstance(notional, Decimal)
    if not notional:
        return Missing(why=Why.NO_DATA, detail="no arrival price" if trades else "no fill")
    return Bps(cost=cost, notional=notional)


def _of_sharpe(
    ratio: Sharpe | Missing, of: Callable[[Sharpe], float], places: int = 3
) -> Number | Missing:
    return ratio if isinstance(ratio, Missing) else Number(value=to_places(of(ratio), places))


def _interval(ratio: Sharpe | Missing) -> Text | Missing:
    return ratio if isinstance(ratio, Missing) else text(_ends(ratio, 3, 1.0))


def _error_words(ratio: Sharpe | Missing, places: int, scale: float = 1.0) -> str:
    """ "standard error 0.134, 95 % interval −0.266 to 0.370"."""
    if isinstance(ratio, Missing):
        return ""
    error = numeral(to_places(ratio.error * scale, places))
    return f"standard error {error}, {LEVEL_WORDS} interval {_ends(ratio, places, scale)}"


def _ends(ratio: Sharpe, places: int, scale: float) -> str:
    low, high = (numeral(to_places(x * scale, places)) for x in (ratio.low, ratio.high))
    return f"{low} to {high}".replace("-", "−")


def _fall_words(fall: Drawdown) -> str:
    if fall.trough is None:
        return "never below the highest point"
    return f"{fall.peak or 'from the start'} to {fall.trough}"


def whole(amount: Decimal, currency: str) -> str:
    """An amount for a sentence: "−38,328 USD"."""
    return f"{numeral(amount, ',.0f')} {currency}".replace("-", "−")
