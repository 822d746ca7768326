"""The right answers about execution costs: joins as of a moment, markouts, VWAP, shortfall.

Bisection over the rows that were generated and plain Decimals, as in ``truth``. A cost is
positive to us, in the currency of the price.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import accumulate
from typing import Any, Final

from .market import BY_CODE
from .rows import TapePrint, TopOfBook

CONVENTIONS: Final = {
    "mid": "(bid + ask) / 2 of the last quote at or before the instant that is not crossed (bid > "
    "ask); none where that quote is more than 60,000 ms old; a crossed quote is passed over",
    "execution": "by currency of the price, over the day's fills; each line has the cost, the "
    "benchmark notional (quantity x benchmark x multiplier) and the fills that it covers",
    "fill_mid": "side x (price - mid at the fill's time) x quantity x multiplier",
    "decision": "side x (price - decision price of the chain) x quantity x multiplier",
    "markouts": "side x (price - mid 1, 10 or 60 s after the fill) x quantity x multiplier, so a "
    "price that went on our way is a negative cost; only where a quote is of that very instant or "
    "the next one is at most 60,000 ms after it, since else nobody saw the market then",
    "interval_vwap": "side x (price - VWAP) x quantity x multiplier, where the VWAP is of all "
    "prints of the session, ours among them, while the chain was at work in it, both ends "
    "inclusive: from when its first order was placed, or the session's start if that is later, to "
    "its last fill in the session, or to when its last order was done if that is later and in the "
    "session; none where nothing was printed; cost and benchmark are rounded half-even to 12 "
    "places per chain and session",
    "shortfall": "over the chains that were done on the day and not rejected; covered are those "
    "with a decision price, an arrival price and, unless filled = ordered, an end price, which is "
    "the mid as of when the chain was done; side x "
    "multiplier x ...: delay = filled x (arrival - decision), trading = sum of quantity x (price "
    "- arrival), opportunity = (ordered - filled) x (end - decision) after Perold; delay_kissell "
    "= ordered x (arrival - decision) and opportunity_kissell = (ordered - filled) x (end - "
    "arrival); fees of the covered chains by their own currency; notional is ordered x decision "
    "price x multiplier",
    "venues": "fills in force by venue",
}

_MAX_AGE_MS: Final = 60_000
_HORIZONS: Final = (("markout_1s", 1_000), ("markout_10s", 10_000), ("markout_60s", 60_000))
_ZERO = Decimal(0)
_ROUNDED = Context(prec=60, rounding=ROUND_HALF_EVEN)
_PLACES = Decimal("1e-12")


@dataclass(frozen=True)
class Fill:
    """An execution in force, with what its chain says about it."""

    session: date
    executed_at: int
    fill_id: str
    key: tuple[str, str]  # book, code
    side: int
    size: Decimal
    px: Decimal
    fee: Decimal
    fee_ccy: str
    root_mid: Decimal | None
    decision_mid: Decimal | None = None
    venue: str = ""
    chain: str = ""
    row_id: str = ""  # of the execution or correction whose terms these are


@dataclass(frozen=True)
class Stay:
    """A chain's time at work in one session, and its fills in it, of which there are some."""

    fills: Sequence[Fill]
    start: int
    end: int


@dataclass(frozen=True)
class Chain:
    """An order that is done: what was wanted, and all its fills in force."""

    code: str
    side: int
    ordered: Decimal
    fills: Sequence[Fill]
    decision: Decimal | None
    arrival: Decimal | None
    done_at: int


@dataclass
class _Line:
    """A cost against one benchmark."""

    cost: Decimal = _ZERO
    benchmark: Decimal = _ZERO
    covered: int = 0

    def add(self, cost: Decimal, benchmark: Decimal, covered: int = 1) -> None:
        self.cost += cost
        self.benchmark += benchmark
        self.covered += covered

    def answer(self) -> dict[str, Any]:
        return {"cost": self.cost, "benchmark": self.benchmark, "covered": self.covered}


@dataclass
class _Series:
    """One instrument's uncrossed quotes, and its prints with their running sums."""

    quoted_at: list[int] = field(default_factory=list)
    mids: list[Decimal] = field(default_factory=list)
    printed_at: list[int] = field(default_factory=list)
    value: list[Decimal] = field(default_factory=lambda: [_ZERO])
    volume: list[Decimal] = field(default_factory=lambda: [_ZERO])


class Costs:
    """The quotes and prints by instrument, and the costs of fills and of chains against them."""

    def __init__(self, quotes: Iterable[TopOfBook], prints: Iterable[TapePrint]) -> None:
        self.series: dict[str, _Series] = defaultdict(_Series)
        half = Decimal("0.5")
        for quote in sorted(quotes, key=lambda row: row.quoted_at):
            if quote.bid <= quote.ask:
                one = self.series[quote.code]
                one.quoted_at.append(quote.quoted_at)
                one.mids.append((quote.bid + quote.ask) * half)
        by_code: dict[str, list[TapePrint]] = defaultdict(list)
        for row in sorted(prints, key=lambda row: row.printed_at):
            by_code[row.code].append(row)
        for code, rows in by_code.items():
            one = self.series[code]
            one.printed_at = [row.printed_at for row in rows]
            one.value += accumulate(row.px * row.size for row in rows)
            one.volume += accumulate(row.size for row in rows)

    def mid(self, code: str, at: int) -> Decimal | None:
        """The mid as of ``at``, of a quote that is not too old."""
        one = self.series[code]
        index = bisect_right(one.quoted_at, at) - 1
        if index < 0 or at - one.quoted_at[index] > _MAX_AGE_MS:
            return None
        return one.mids[index]

    def mid_after(self, code: str, at: int) -> Decimal | None:
        """The mid as of ``at``, where quotes went on: one of that instant, or one soon after."""
        times = self.series[code].quoted_at
        following = bisect_left(times, at)
        if following == len(times) or times[following] - at > _MAX_AGE_MS:
            return None
        return self.mid(code, at)

    def traded(self, code: str, start: int, end: int) -> tuple[Decimal, Decimal]:
        """Value and volume of the prints from ``start`` to ``end``, both inclusive."""
        one = self.series[code]
        low, high = bisect_left(one.printed_at, start), bisect_right(one.printed_at, end)
        return one.value[high] - one.value[low], one.volume[high] - one.volume[low]

    def answers(
        self, fills: Iterable[Fill], stays: Iterable[Stay], chains: Iterable[Chain]
    ) -> dict[str, Any]:
        """All answers about one day's fills, the chains at work and the chains that were done."""
        venues: dict[str, int] = defaultdict(int)
        lines: dict[str, dict[str, _Line]] = defaultdict(lambda: defaultdict(_Line))
        for fill in fills:
            venues[fill.venue] += 1
            self._fill(fill, lines[BY_CODE[fill.key[1]].ccy])
        for stay in stays:
            self._vwap(stay, lines[BY_CODE[stay.fills[0].key[1]].ccy])
        shortfalls: dict[str, dict[str, Any]] = {}
        for chain in chains:
            ccy = BY_CODE[chain.code].ccy
            self._shortfall(chain, shortfalls.setdefault(ccy, _no_shortfall()))
        by_ccy: dict[str, dict[str, Any]] = {
            ccy: {name: line.answer() for name, line in found.items()}
            for ccy, found in lines.items()
            if found
        }
        for ccy, sums in shortfalls.items():
            by_ccy.setdefault(ccy, {})["shortfall"] = sums
        return {"costs": dict(sorted(by_ccy.items())), "venues": dict(sorted(venues.items()))}

    def _fill(self, fill: Fill, lines: dict[str, _Line]) -> None:
        code = fill.key[1]
        worth = fill.size * BY_CODE[code].multiplier
        benchmarks = [
            ("fill_mid", self.mid(code, fill.executed_at)),
            ("decision", fill.decision_mid),
            *((name, self.mid_after(code, fill.executed_at + later)) for name, later in _HORIZONS),
        ]
        for name, price in benchmarks:
            if price is not None:
                lines[name].add(fill.side * (fill.px - price) * worth, price * worth)

    def _vwap(self, stay: Stay, lines: dict[str, _Line]) -> None:
        code, side = stay.fills[0].key[1], stay.fills[0].side
        value, volume = self.traded(code, stay.start, stay.end)
        if not volume:
            return
        multiplier = BY_CODE[code].multiplier
        filled = sum((fill.size for fill in stay.fills), _ZERO)
        paid = sum((fill.size * fill.px for fill in stay.fills), _ZERO)
        cost = side * (paid * volume - filled * value) * multiplier
        cost, benchmark = (
            _ROUNDED.quantize(_ROUNDED.divide(part, volume), _PLACES)
            for part in (cost, filled * value * multiplier)
        )
        lines["interval_vwap"].add(cost, benchmark, len(stay.fills))

    def _shortfall(self, chain: Chain, sums: dict[str, Any]) -> None:
        sums["chains"] += 1
        filled = sum((fill.size for fill in chain.fills), _ZERO)
        left = chain.ordered - filled
        decision, arrival = chain.decision, chain.arrival
        end = self.mid(chain.code, chain.done_at) if left else None
        if decision is None or arrival is None or (left and end is None):
            return
        sums["covered"] += 1
        end = decision if end is None else end
        worth = chain.side * BY_CODE[chain.code].multiplier
        paid = sum((fill.size * (fill.px - arrival) for fill in chain.fills), _ZERO)
        sums["delay"] += worth * filled * (arrival - decision)
        sums["trading"] += worth * paid
        sums["opportunity"] += worth * left * (end - decision)
        sums["delay_kissell"] += worth * chain.ordered * (arrival - decision)
        sums["opportunity_kissell"] += worth * left * (end - arrival)
        sums["notional"] += chain.ordered * decision * BY_CODE[chain.code].multiplier
        for fill in chain.fills:
            sums["fees"][fill.fee_ccy] = sums["fees"].get(fill.fee_ccy, _ZERO) + fill.fee


def _no_shortfall() -> dict[str, Any]:
    names = ("delay", "trading", "opportunity", "delay_kissell", "opportunity_kissell", "notional")
    return {"chains": 0, "covered": 0, **dict.fromkeys(names, _ZERO), "fees": {}}
