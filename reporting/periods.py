"""Days, weeks, months and quarters of a calendar, as absolute time.

A business day is a session of the book's calendar. Its window runs from the end of the previous
session's local day to the end of its own, so that nothing traded between two sessions (a weekend
in currencies, say) is lost. Services run every day of the year: their day is the local calendar
day, 23, 24 or 25 hours long.
"""

from __future__ import annotations

import calendar as gregorian
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import exchange_calendars
import pandas as pd

from .errors import UsageError
from .model import Window

#: Bounds handed to exchange_calendars: its defaults depend on the clock.
FIRST_YEAR, LAST_YEAR = 2000, 2027


@lru_cache(maxsize=16)
def _sessions(calendar: str) -> tuple[tuple[date, ...], dict[date, str]]:
    """All sessions of ``calendar`` within the known years, and the early closes' hours."""
    try:
        cal = exchange_calendars.get_calendar(
            calendar, start=f"{FIRST_YEAR}-01-01", end=f"{LAST_YEAR}-12-31"
        )
    except exchange_calendars.errors.InvalidCalendarName:
        raise UsageError(
            f"calendar {calendar!r} is not known; expected a name of exchange_calendars such as "
            "XNYS, XLON, 24/5 or 24/7 (REPORTING_CALENDAR)"
        ) from None
    except (ValueError, NotImplementedError) as error:  # its holidays are not known for all years
        raise UsageError(
            f"calendar {calendar!r} can not be had for {FIRST_YEAR} to {LAST_YEAR}: {error}; "
            "expected one that covers these years, such as XNYS, XLON, 24/5 or 24/7 "
            "(REPORTING_CALENDAR)"
        ) from None
    zone = cal.tz
    early = {
        stamp.date(): cal.session_close(stamp).tz_convert(zone).strftime("%H:%M")
        for stamp in cal.early_closes
    }
    return tuple(stamp.date() for stamp in cal.sessions), early


def local_midnight(day: date, zone: str) -> datetime:
    """The first instant of ``day`` in ``zone``, in UTC.

    Where a daylight-saving change skips midnight itself, this is the first instant after the gap.
    """
    tz = ZoneInfo(zone)
    at = datetime.combine(day, time(0), tz).astimezone(UTC)
    # A skipped midnight maps to the previous local day with fold=0; the later reading is right.
    if at.astimezone(tz).date() < day:
        at = datetime.combine(day, time(0), tz).replace(fold=1).astimezone(UTC)
        while at.astimezone(tz).date() < day:
            at += timedelta(minutes=15)
    return at


def calendar_day(day: date, zone: str) -> Window:
    """The window of the local calendar day: 23, 24 or 25 hours."""
    return Window(start=local_midnight(day, zone), end=local_midnight(day + timedelta(1), zone))


@dataclass(frozen=True)
class TradingDay:
    """One calendar day as the book and the services see it.

    ``window`` is the services' local calendar day; ``trading`` is the book's window if the day is
    a session, else None. ``note`` says what kind of day it is for people.
    """

    day: date
    calendar: str
    zone: str
    window: Window
    trading: Window | None
    note: str

    @property
    def is_session(self) -> bool:
        """Whether the book's calendar has a session on this day."""
        return self.trading is not None


def trading_day(day: date, calendar: str, zone: str) -> TradingDay:
    """Describe ``day`` for a book of ``calendar`` whose local time is ``zone``.

    Raises :class:`UsageError` outside the years that the calendar is known for.
    """
    _check_range(day)
    sessions, early = _sessions(calendar)
    window = calendar_day(day, zone)
    at = _index(sessions, day)
    if at >= len(sessions) or sessions[at] != day:
        kind = "weekend" if day.weekday() >= 5 else "holiday"
        return TradingDay(day, calendar, zone, window, None, f"{calendar} closed ({kind})")
    start = local_midnight(sessions[at - 1] + timedelta(1), zone) if at else window.start
    note = f"early close at {early[day]}" if day in early else "regular session"
    return TradingDay(day, calendar, zone, window, Window(start=start, end=window.end), note)


def date_of(day: date | TradingDay) -> date:
    """The date of a day that is given as one or as a TradingDay."""
    return day.day if isinstance(day, TradingDay) else day


def day_length_ms(day: date | TradingDay, zone: str) -> int:
    """How long the local calendar day is, in milliseconds: 23, 24 or 25 hours."""
    window = calendar_day(date_of(day), zone)
    return window.end_ms - window.start_ms


def sessions_between(first: date, last: date, calendar: str) -> tuple[date, ...]:
    """The sessions from ``first`` to ``last``, both included."""
    sessions, _ = _sessions(calendar)
    return sessions[_index(sessions, first) : _index(sessions, last + timedelta(1))]


def first_of_week(day: date) -> date:
    """The Monday of the day's ISO week."""
    return day - timedelta(day.weekday())


def first_of_month(day: date) -> date:
    """The first day of the day's month."""
    return day.replace(day=1)


def first_of_quarter(day: date) -> date:
    """The first day of the day's calendar quarter."""
    return day.replace(month=day.month - (day.month - 1) % 3, day=1)


def first_of_year(day: date) -> date:
    """1 January of the day's year."""
    return day.replace(month=1, day=1)


def previous_session(day: date, calendar: str) -> date:
    """The last session before ``day``."""
    _check_range(day)
    sessions, _ = _sessions(calendar)
    return sessions[_index(sessions, day) - 1]


def next_session(day: date, calendar: str) -> date:
    """The first session on or after ``day``."""
    _check_range(day)
    sessions, _ = _sessions(calendar)
    at = _index(sessions, day)
    if at == len(sessions):
        raise UsageError(
            f"{calendar} has no known session from {day} on; expected a day up to {sessions[-1]}; "
            "update exchange-calendars and reporting/periods.py for later years"
        )
    return sessions[at]


def days_between(first: date, last: date) -> Iterator[date]:
    """Every calendar day from ``first`` to ``last``, both included."""
    for offset in range((last - first).days + 1):
        yield first + timedelta(offset)


@dataclass(frozen=True)
class Span:
    """The days that a report covers, with the label that names it."""

    kind: str
    label: str
    title: str
    first: date
    last: date


def day_span(day: date) -> Span:
    """One business day."""
    return Span("daily", day.isoformat(), f"{day:%A} {day.day} {day:%B %Y}", day, day)


def week_span(day: date) -> Span:
    """The ISO week, Monday to Sunday, that holds ``day``."""
    year, week, weekday = day.isocalendar()
    first = day - timedelta(weekday - 1)
    last = first + timedelta(6)
    title = f"Week {week} of {year}: {first.day} {first:%B} to {last.day} {last:%B %Y}"
    return Span("weekly", f"{year}-W{week:02d}", title, first, last)


def month_span(day: date) -> Span:
    """The calendar month that holds ``day``."""
    last = day.replace(day=gregorian.monthrange(day.year, day.month)[1])
    return Span("monthly", f"{day:%Y-%m}", f"{day:%B %Y}", day.replace(day=1), last)


def quarter_span(day: date) -> Span:
    """The calendar quarter that holds ``day``."""
    quarter = (day.month - 1) // 3 + 1
    first = day.replace(month=3 * quarter - 2, day=1)
    last = first.replace(month=first.month + 2, day=31 if quarter in (1, 4) else 30)
    title = f"Quarter {quarter} of {day.year}: {first:%B} to {last:%B}"
    return Span("quarterly", f"{day.year}-Q{quarter}", title, first, last)


def span(kind: str, day: date) -> Span:
    """The period of ``kind`` that holds ``day``."""
    makers = {
        "daily": day_span,
        "weekly": week_span,
        "monthly": month_span,
        "quarterly": quarter_span,
    }
    if kind not in makers:
        raise UsageError(f"kind {kind!r} is not known; expected one of {', '.join(makers)}")
    return makers[kind](day)


def _check_range(day: date) -> None:
    if not FIRST_YEAR < day.year <= LAST_YEAR:
        raise UsageError(
            f"{day} lies outside the years that the calendar is known for; expected a day from "
            f"{FIRST_YEAR + 1} to {LAST_YEAR}"
        )


def _index(sessions: tuple[date, ...], day: date) -> int:
    """Position of the first session on or after ``day``."""
    return int(pd.Index(sessions).searchsorted(day))
