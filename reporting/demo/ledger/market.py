"""The sample market: what can be traded, its closing prices, and the price within a session.

Only ``random()``, the four operations and the square root are used, so the same seed gives the
same prices on every platform: Python keeps the stream of ``Random.random()`` the same over its
versions, and IEEE 754 rounds these operations correctly. Floats make the prices up; a price that
exists is a whole number of ticks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from math import sqrt
from random import Random
from zoneinfo import ZoneInfo

from ...model import epoch_ms
from ...periods import sessions_between

CALENDAR, ZONE, BASE = "XNYS", "America/New_York", "USD"
FIRST, LAST = date(2025, 9, 2), date(2025, 12, 5)
#: Marks and rates start this many sessions before FIRST, so that VaR has a window from day one.
HISTORY_SESSIONS = 320
EARLY_CLOSES = frozenset(
    date.fromisoformat(day)
    for day in ("2024-07-03", "2024-11-29", "2024-12-24", "2025-07-03", "2025-11-28")
)
#: The session on which the market falls far beyond what the book's VaR allows for.
CRASH, CRASH_RETURN = date(2025, 11, 20), -0.042
#: OELG trades and has a position, but gets no mark on the last session.
STALE_MARK = ("OELG", LAST)
RENAMED, RENAMED_ON = "HAZL", date(2025, 10, 20)
#: Two new shares for one old share, from before the first trade of this session on.
SPLIT_CODE, SPLIT_ON, SPLIT_RATIO = "DGLS", date(2025, 10, 16), 2
#: A future that ends with this session, and what is added to the next one's price for its own.
EXPIRING_CODE, EXPIRES_ON, BASIS_TICKS = "GRVU5", date(2025, 9, 19), -140
NEXT_CODE = "GRVZ5"

_NODES = 14  # straight pieces that a session's price path consists of


@dataclass(frozen=True)
class Instrument:
    """What can be traded; ``start`` is the price at the beginning of the history, in ``ccy``."""

    code: str
    label: str
    ccy: str
    multiplier: Decimal
    tick: Decimal
    lot: Decimal
    start: float
    beta: float
    source: str

    def price(self, ticks: int) -> Decimal:
        """A whole number of ticks as a price."""
        return ticks * self.tick

    def size(self, lots: int) -> Decimal:
        """A whole number of lots as a quantity."""
        return lots * self.lot


def _instrument(
    code: str, label: str, ccy: str, terms: str, start: float, beta: float, source: str
) -> Instrument:
    multiplier, tick, lot = (Decimal(word) for word in terms.split())
    return Instrument(code, label, ccy, multiplier, tick, lot, start, beta, source)


#: ``terms`` are multiplier, tick and lot.
INSTRUMENTS = (
    _instrument("ALDR", "Alder Systems", "USD", "1 0.01 1", 182.0, 1.1, "NYSE close"),
    _instrument("BRCH", "Birch Foods", "USD", "1 0.01 1", 64.0, 0.7, "NYSE close"),
    _instrument("CEDR", "Cedar Bancorp", "USD", "1 0.01 1", 118.0, 1.2, "NYSE close"),
    _instrument("DGLS", "Douglas Aerospace", "USD", "1 0.01 1", 236.0, 1.0, "NYSE close"),
    _instrument("ELMW", "Elm Water", "USD", "1 0.0001 1", 8.4, 0.8, "NYSE close"),
    _instrument("FIRX", "Fir Index Fund", "USD", "1 0.01 0.001", 512.0, 1.0, "NYSE close"),
    _instrument("GRVZ5", "Grove 500 future Dec 25", "USD", "50 0.25 1", 5320.0, 1.0, "CME settle"),
    _instrument("HAZL", "Hazel Robotics", "USD", "1 0.01 1", 95.0, 1.4, "NYSE close"),
    _instrument("IVYB", "Ivy Bau SE", "EUR", "1 0.01 1", 74.0, 0.9, "Xetra close"),
    _instrument("JUNI", "Juniper Pharma NV", "EUR", "1 0.02 1", 141.0, 0.7, "Euronext close"),
    _instrument("KIEF", "Kiefer Energie AG", "EUR", "1 0.005 1", 38.0, 0.9, "Xetra close"),
    _instrument("LRCH", "Larch Halbleiter SE", "EUR", "1 0.01 0.01", 623.0, 1.3, "Xetra close"),
    _instrument("MAPL", "Maple Hotels SpA", "EUR", "1 0.001 1", 12.6, 1.0, "Euronext close"),
    # What a name can contain, a page must show as text.
    _instrument("OELG", '<b>Öl & Gas</b> "AG"', "EUR", "1 0.01 1", 51.0, 1.0, "Xetra close"),
)
#: Its price is worked out from the next future's, so it takes no dice from the others.
EXPIRING = _instrument(
    EXPIRING_CODE, "Grove 500 future Sep 25", "USD", "50 0.25 1", 5285.0, 1.0, "CME settle"
)
LISTED = (*INSTRUMENTS, EXPIRING)
BY_CODE = {instrument.code: instrument for instrument in LISTED}


def local_ms(day: date, clock: time, zone: str = ZONE) -> int:
    """Milliseconds since 1970 of a wall-clock time."""
    return epoch_ms(datetime.combine(day, clock, ZoneInfo(zone)))


def local_day(at: int) -> date:
    """The calendar day in New York that a moment lies in."""
    return _day_of_hour(at // 3_600_000)


@cache
def _day_of_hour(hour: int) -> date:
    return datetime.fromtimestamp(hour * 3_600, ZoneInfo(ZONE)).date()


#: The demo's present, a Monday morning before the open.
NOW = datetime.combine(date(2025, 12, 8), time(6), ZoneInfo(ZONE))


def known_ms(session: date) -> int:
    """When the day was closed: 06:00 New York on the next calendar day."""
    return local_ms(session + timedelta(1), time(6))


@cache
def open_ms(session: date) -> int:
    """Start of the regular hours."""
    return local_ms(session, time(9, 30))


@cache
def close_ms(session: date) -> int:
    """End of the regular hours."""
    return local_ms(session, time(13) if session in EARLY_CLOSES else time(16))


def normal(dice: Random) -> float:
    """A nearly standard normal number, without a logarithm whose last bit depends on the libm."""
    return sum(dice.random() for _ in range(12)) - 6.0


def _fat(dice: Random) -> float:
    """A Student t number with five degrees of freedom, scaled to variance one."""
    squares = [normal(dice) for _ in range(5)]
    chi2 = sum(one * one for one in squares)
    return normal(dice) * sqrt(3.0 / max(chi2, 0.05))


def split_ratio(code: str, session: date) -> int:
    """Units that one unit from before the split is on ``session``."""
    return SPLIT_RATIO if code == SPLIT_CODE and session >= SPLIT_ON else 1


def is_listed(code: str, session: date) -> bool:
    """Whether an instrument can still be traded on ``session``."""
    return code != EXPIRING_CODE or session <= EXPIRES_ON


@dataclass(frozen=True)
class Market:
    """Closes in ticks and rates by session, and each trading session's path within the day.

    ``closes`` and ``paths`` are drawn as if no share had ever been split; ``close_ticks`` and
    ``mid_ticks`` are what the market shows.
    """

    history: tuple[date, ...]
    sessions: tuple[date, ...]
    closes: dict[str, dict[date, int]]
    eurusd: dict[date, Decimal]
    paths: dict[tuple[str, date], tuple[float, ...]]

    def close_ticks(self, code: str, session: date) -> int:
        """The closing price in whole ticks, per unit of that session."""
        return self.closes[code][session] // split_ratio(code, session)

    def mid_ticks(self, code: str, at: int, session: date) -> int:
        """The mid at ``at``, in whole ticks; flat outside the regular hours."""
        path = self.paths[code, session]
        opens, closes = open_ms(session), close_ms(session)
        place = min(max((at - opens) / (closes - opens), 0.0), 1.0) * _NODES
        node = min(int(place), _NODES - 1)
        unsplit = round(path[node] + (path[node + 1] - path[node]) * (place - node))
        return unsplit // split_ratio(code, session)


def market(seed: int) -> Market:
    """Draw the whole market: correlated, fat-tailed daily returns and one crash."""
    dice = Random(f"market/{seed}")
    sessions = sessions_between(FIRST, LAST, CALENDAR)
    before = sessions_between(FIRST - timedelta(HISTORY_SESSIONS * 7 // 5 + 40), FIRST, CALENDAR)
    history = before[-1 - HISTORY_SESSIONS : -1] + sessions
    live = frozenset(sessions)

    levels = {one.code: one.start for one in INSTRUMENTS}
    closes: dict[str, dict[date, int]] = {one.code: {} for one in INSTRUMENTS}
    eurusd: dict[date, Decimal] = {}
    rate = 1.085
    for day in history:
        common = 0.0004 + 0.0085 * _fat(dice)
        if day in live:  # the planted crash is to be the one exception: no other day comes near
            common = min(max(common, -0.0125), 0.015)
        if day == CRASH:
            common = CRASH_RETURN
        rate *= 1 + min(max(0.0001 + 0.0038 * _fat(dice), -0.015), 0.015)
        eurusd[day] = Decimal(round(rate * 10_000)) / 10_000
        for one in INSTRUMENTS:
            own = min(max(0.008 * _fat(dice), -0.05), 0.05)
            own *= 0.2 if one.multiplier > 1 else 1.0  # an index has little risk of its own
            levels[one.code] *= 1 + one.beta * common + own
            closes[one.code][day] = round(levels[one.code] / float(one.tick))

    paths: dict[tuple[str, date], tuple[float, ...]] = {}
    for previous, day in zip(history[HISTORY_SESSIONS - 1 : -1], sessions, strict=True):
        for one in INSTRUMENTS:
            last, close = closes[one.code][previous], closes[one.code][day]
            opening = last + 0.5 * (close - last)
            path = []
            for node in range(_NODES + 1):
                part = node / _NODES
                noise = 0.0012 * close * 4 * part * (1 - part) * normal(dice)
                path.append(opening + (close - opening) * part + noise)
            paths[one.code, day] = tuple(path)

    code, following = EXPIRING_CODE, NEXT_CODE
    closes[code] = {
        day: ticks + BASIS_TICKS for day, ticks in closes[following].items() if is_listed(code, day)
    }
    for day in sessions:
        if is_listed(code, day):
            paths[code, day] = tuple(node + BASIS_TICKS for node in paths[following, day])
    return Market(history, sessions, closes, eurusd, paths)
