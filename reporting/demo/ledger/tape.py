"""What the sample market shows while the firm trades: its quotes, and the tape of all trades.

Both follow the mid path of ``market``, from dice of their own. They are sparse: quotes around
each execution and its markouts beside a slow regular stream, and prints around each execution
beside a slower one. Prices are whole ticks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, time
from random import Random
from typing import Any, Final

from .market import (
    BY_CODE,
    EXPIRES_ON,
    EXPIRING_CODE,
    LISTED,
    Market,
    close_ms,
    is_listed,
    local_day,
    local_ms,
    open_ms,
)
from .rows import Child, ChildEvent, Execution, Parent, TapePrint, TopOfBook

_SECOND, _MINUTE = 1_000, 60_000

#: Nobody quotes this instrument for an hour of this session: local start and end.
QUOTE_GAP: Final = ("CEDR", date(2025, 11, 7), time(14), time(15))
#: The last quote before this instrument's first execution from this time on has bid above ask.
CROSSED: Final = ("ALDR", date(2025, 11, 13), time(11))

#: From an execution: how much later a quote may be wanted, how much before that it may lie, and
#: how often there is one.
_WANTED = (
    (0, 400, 0.97),
    (_SECOND, 800, 0.5),
    (10 * _SECOND, 2_000, 0.4),
    (60 * _SECOND, 5_000, 0.6),
    (110 * _SECOND, 30_000, 0.6),  # so that the market is seen to go on after the last markout
)
_REGULAR, _EXTENDED = 7 * _MINUTE, 25 * _MINUTE  # between two quotes of the regular stream
_PRINTS = 12 * _MINUTE  # between two prints of the regular stream


class Ours:
    """What the market saw of us: our executions on their original terms, and the ends of orders."""

    def __init__(
        self,
        parents: Iterable[Parent],
        children: Iterable[Child],
        events: Iterable[ChildEvent],
        executions: Iterable[Execution],
    ) -> None:
        codes = {row.parent_id: row.code for row in parents}
        code_of = {row.child_id: codes[row.parent_id] for row in children}
        self.rows = sorted(
            ((row.executed_at, code_of[row.child_id], row) for row in executions
             if row.ref_exec_id is None),
            key=lambda found: (found[0], found[2].exec_id),
        )  # fmt: skip
        #: When an order ended without all that was wanted of it.
        self.ends = [
            (row.happened_at, code_of[row.child_id])
            for row in events
            if row.state in ("CXL", "EXP")
        ]


def quotes(seed: int, market: Market, ours: Ours) -> tuple[tuple[TopOfBook, ...], dict[str, Any]]:
    """Every quote in order of time, no two of an instrument at once, and what was planted."""
    dice = Random(f"quotes/{seed}")
    moments = _wanted(market, ours, dice)
    crossed_code, crossed_day, clock = CROSSED
    struck = next(
        at for at, code, _ in ours.rows
        if code == crossed_code and at >= local_ms(crossed_day, clock)
    )  # fmt: skip
    crossed = (struck - 1, crossed_code)
    moments |= {(struck - 20 * _SECOND, crossed_code), crossed}
    moments.discard((struck, crossed_code))
    gap_code, gap_day, *clocks = QUOTE_GAP
    starts, ends = (local_ms(gap_day, clock) for clock in clocks)
    last = close_ms(EXPIRES_ON)
    rows = []
    for at, code in sorted(moments):
        if (code == gap_code and starts <= at < ends) or (code == EXPIRING_CODE and at > last):
            continue
        one = BY_CODE[code]
        mid = market.mid_ticks(code, at, local_day(at))
        spread = 1 + mid // 8_000 + int(dice.random() * 3)
        bid = mid - spread // 2
        low, high = one.price(bid), one.price(bid + spread)
        if (at, code) == crossed:
            low, high = high, low
        rows.append(TopOfBook(code, low, high, at, at + 1 + int(dice.random() * 9)))
    planted = {
        "quote_gap": {
            "instrument": gap_code,
            "session": gap_day.isoformat(),
            "from_ms": starts,
            "until_ms": ends,
        },
        "crossed_quote": {
            "instrument": crossed_code,
            "session": crossed_day.isoformat(),
            "quoted_at_ms": struck - 1,
        },
    }
    return tuple(rows), planted


def _wanted(market: Market, ours: Ours, dice: Random) -> set[tuple[int, str]]:
    """When which instrument is quoted: in the regular stream, and around what we did."""
    random = dice.random
    moments = {(at, code) for code, at in _stream(market, dice)}
    for at, code, _ in ours.rows:
        for later, before, share in _WANTED:
            if random() < share:
                moments.add((at + later - int(random() * before), code))
    return moments | {
        (at - int(random() * 30 * _SECOND), code) for at, code in ours.ends if random() < 0.8
    }


def _stream(market: Market, dice: Random) -> Iterator[tuple[str, int]]:
    """Moments of the regular quotes, from half past six in the morning to seven in the evening."""
    for session in market.sessions:
        opens, closes = open_ms(session), close_ms(session)
        for one in LISTED:
            if not is_listed(one.code, session):
                continue
            at, end = local_ms(session, time(6, 30)), local_ms(session, time(19))
            while at < end:
                step = _REGULAR if opens - _EXTENDED < at < closes else _EXTENDED
                yield one.code, at + int(dice.random() * step)
                at += step


def tape(seed: int, market: Market, ours: Ours) -> tuple[TapePrint, ...]:
    """Every print in order of time: ours, somebody's near each of ours, and a regular stream."""
    dice = Random(f"tape/{seed}")
    random = dice.random
    rows: list[TapePrint] = []

    def somebody(code: str, at: int, session: date) -> None:
        one = BY_CODE[code]
        mid = market.mid_ticks(code, at, session)
        ticks = mid + int(random() * 5) - 2
        # Sizes are of a value between five and eighty thousand currency units.
        lots = int((5_000 + 75_000 * random()) / (mid * float(one.tick * one.lot * one.multiplier)))
        size = one.size(max(lots, 1))
        rows.append(TapePrint(code, one.price(ticks), size, at, at + 2 + int(random() * 20)))

    for session in market.sessions:
        opens, closes = open_ms(session), close_ms(session)
        for one in LISTED:
            if is_listed(one.code, session):
                for at in range(opens, closes - _PRINTS + 1, _PRINTS):
                    somebody(one.code, at + int(random() * _PRINTS), session)
    for at, code, row in ours.rows:
        session = local_day(at)
        if open_ms(session) <= at < close_ms(session):
            rows.append(TapePrint(code, row.px, row.size, at, at + 2 + int(random() * 20)))
            near = at - 15 * _SECOND + int(random() * 30 * _SECOND)
            if open_ms(session) <= near < close_ms(session):
                somebody(code, near, session)
    rows.sort(key=lambda row: (row.printed_at, row.code, row.px, row.size))
    return tuple(rows)
