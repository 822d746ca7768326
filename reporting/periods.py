"""Days, weeks, months and quarters of a calendar, as absolute time.

A business day is a session of the book's calendar. Its window runs from the end of the previous
session's local day to the end of its own, so that nothing traded between two sessions (a weekend
in currencies, say) is lost. Services run every day of the year: their day is the local calendar
day, 23, 24 or 25 hours long.

A calendar is a name of exchange_calendars, and may carry what that library does not know:
``XNYS except 2026-11-30 early 13:00, 2026-12-28 closed`` (see :func:`overridden`).
"""

from __future__ import annotations

import calendar as gregorian
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import exchange_calendars

from .errors import UsageError
from .model import Window

#: Of the calendars' library: another one may know other sessions.
CALENDARS_VERSION: str = exchange_calendars.__version__
#: Bounds handed to exchange_calendars: its defaults depend on the clock.
FIRST_YEAR, LAST_YEAR = 2000, 2027


_EXCEPT = " except "
_OVERRIDE = re.compile(r"(\d{4}-\d\d-\d\d) (?:closed|early ((?:[01]\d|2[0-3]):[0-5]\d))")


@lru_cache(maxsize=16)
def _published(calendar: str) -> tuple[tuple[date, ...], dict[date, str]]:
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
        why = str(error) if len(str(error)) < 300 else f"{str(error)[:300]} …"
        raise UsageError(
            f"calendar {calendar!r} can not be had for {FIRST_YEAR} to {LAST_YEAR}: {why}; "
            "expected one that covers these years, such as XNYS, XLON, 24/5 or 24/7 "
            "(REPORTING_CALENDAR)"
        ) from None
    zone = cal.tz
    early = {
        stamp.date(): cal.session_close(stamp).tz_convert(zone).strftime("%H:%M")
        for stamp in cal.early_closes
    }
    return tuple(stamp.date() for stamp in cal.sessions), early


@lru_cache(maxsize=64)
def _sessions(calendar: str) -> tuple[tuple[date, ...], dict[date, str]]:
    """What was published, with the calendar's own overrides."""
    sessions, early = _published(base_calendar(calendar))
    closed, shortened = _overrides(calendar)
    return tuple(day for day in sessions if day not in closed), early | shortened


@lru_cache(maxsize=64)
def _overrides(calendar: str) -> tuple[frozenset[date], dict[date, str]]:
    """The days that are closed and those that close early, beyond what was published."""
    _, marked, listed = calendar.partition(_EXCEPT)
    closed: set[date] = set()
    early: dict[date, str] = {}
    for item in listed.split(", ") if marked else ():
        found = _OVERRIDE.fullmatch(item)
        try:
            day = date.fromisoformat(found[1]) if found else None
        except ValueError:
            day = None
        if found is None or day is None:
            raise UsageError(
                f"calendar {calendar!r} says {item!r}; expected overrides such as "
                "'2026-12-28 closed' or '2026-11-30 early 13:00', with a comma between them"
            )
        if found[2]:
            early[day] = found[2]
        else:
            closed.add(day)
    return frozenset(closed), early


def check_calendar(calendar: str) -> None:
    """:class:`UsageError` for a calendar that is not known."""
    _sessions(calendar)


def base_calendar(calendar: str) -> str:
    """The calendar's published name, without its overrides."""
    return calendar.partition(_EXCEPT)[0]


def overridden(calendar: str, closed: Iterable[date], early: Mapping[date, str]) -> str:
    """``calendar`` with days ``closed`` and ``early`` closes (HH:MM) that were not published.

    Equal overrides have one spelling, in order of date; without any it is the name itself.
    """
    said = {day: f"{day} closed" for day in closed}
    said |= {day: f"{day} early {at}" for day, at in early.items()}
    listed = ", ".join(said[day] for day in sorted(said))
    return f"{calendar}{_EXCEPT}{listed}" if listed else calendar


def check_zone(zone: str) -> str:
    """``zone`` itself; :class:`ValueError` where it is no IANA time zone."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder such as America
        raise ValueError(f"{zone!r} is not an IANA time zone such as Europe/Berlin") from None
    return zone


def first_instant(day: date, at: time, zone: str) -> datetime:
    """The first instant, in UTC, at which the clocks of ``zone`` have reached ``at`` on ``day``.

    So a time that exists twice is the first of the two, and one that a change skips is the end of
    the gap, be it an hour or a whole day long. Later times never have earlier instants.
    """
    tz = ZoneInfo(zone)
    # With fold=0 a skipped time is read with the offset before the gap: it lands beyond it. Times
    # of one zone are compared as its clocks show them.
    wall = datetime.combine(day, at, tz)
    found = wall.astimezone(UTC)
    if found.astimezone(tz) == wall:
        return found
    before = wall.replace(fold=1).astimezone(UTC)
    while found - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(found - before) // timedelta(seconds=2))
        if middle.astimezone(tz) < wall:
            before = middle
        else:
            found = middle
    return found


def local_midnight(day: date, zone: str) -> datetime:
    """The first instant of ``day`` in ``zone``, in UTC.

    Where a daylight-saving change skips midnight itself, this is the first instant after the gap.
    """
    return first_instant(day, time(0), zone)


def calendar_day(day: date, zone: str) -> Window:
    """The window of the local calendar day: 23, 24 or 25 hours."""
    return Window(start=local_midnight(day, zone), end=local_midnight(day + timedelta(1), zone))


@dataclass(frozen=True)
class TradingDay:
    """One calendar day as the book and the services see it.

    ``window`` is the services' local calendar day; ``trading`` is the book's window if the day is
    a session, else None. ``calendar`` has the overrides that bear on it. ``note`` says what kind of
    day it is for people.
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
    carried = _bearing(calendar, day, sessions)
    if at >= len(sessions) or sessions[at] != day:
        kind = "weekend" if day.weekday() >= 5 else "holiday"
        if day in _overrides(calendar)[0] and day in _published(base_calendar(calendar))[0]:
            kind = "unscheduled"
        note = f"{base_calendar(calendar)} closed ({kind})"
        return TradingDay(day, carried, zone, window, None, note)
    start = local_midnight(sessions[at - 1] + timedelta(1), zone) if at else window.start
    note = f"early close at {early[day]}" if day in early else "regular session"
    return TradingDay(day, carried, zone, window, Window(start=start, end=window.end), note)


def _bearing(calendar: str, day: date, sessions: tuple[date, ...]) -> str:
    """``calendar`` with the closures up to the next session only: what a day's numbers rest on.

    A later override then changes nothing of a day that was described before it.
    """
    closed, _ = _overrides(calendar)
    after = bisect_right(sessions, day)
    until = sessions[after] if after < len(sessions) else day
    return overridden(base_calendar(calendar), (d for d in closed if d <= until), {})


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


def in_spans(days: Iterable[date]) -> str:
    """Days in words, those in a row as one: 2025-10-01 to 2025-10-29, 2025-12-08."""
    spans: list[list[date]] = []
    for day in sorted(set(days)):
        if spans and day - spans[-1][-1] == timedelta(1):
            spans[-1].append(day)
        else:
            spans.append([day])
    return ", ".join(
        f"{span[0]} to {span[-1]}" if len(span) > 2 else ", ".join(map(str, span)) for span in spans
    )


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
    return bisect_left(sessions, day)
