"""When reports are due, who gets them, and which sessions fell out: one TOML file.

A due time is wall-clock time. It becomes an instant by one rule, that of
:func:`reporting.periods.first_instant`: the first instant at which the zone's clocks have reached
it. So a time that exists twice is due once, the first time, and one that a change skips is due at
the end of the gap. Nothing here reads a clock: what is expected is a function of the file, the
calendar and the two ends of a stretch of time.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from ..errors import UsageError, ValidationFailed
from ..model import Value
from ..periods import (
    FIRST_YEAR,
    LAST_YEAR,
    Span,
    base_calendar,
    check_zone,
    overridden,
    previous_session,
    sessions_between,
    span,
)
from ..periods import first_instant as due_instant
from .tables import read_tables

#: The calendars' first and last known days.
KNOWN = date(FIRST_YEAR, 1, 1), date(LAST_YEAR, 12, 31)
#: How long before the calendars' end :func:`horizon` begins to warn.
AHEAD = timedelta(days=180)

_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_LENGTH = re.compile(r"([1-9]\d{0,5}) (second|minute|hour|day)s?")
_AFTER = re.compile(r"([1-9]\d?) (session|business day|day)s?")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _length(given: Any) -> Any:
    if not isinstance(given, str) or not (found := _LENGTH.fullmatch(given)):
        raise ValueError('a length such as "90 seconds", "15 minutes", "4 hours" or "45 days"')
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def _clock(given: Any) -> Any:
    if not isinstance(given, str) or not (found := _CLOCK.fullmatch(given)):
        raise ValueError('a local time in quotes, such as "06:30"')
    return time(int(found[1]), int(found[2]))


def _clock_or_length(given: Any) -> Any:
    try:
        return _clock(given)
    except ValueError:
        pass
    try:
        return _length(given)
    except ValueError:
        raise ValueError('a local time such as "12:00", or a length such as "4 hours"') from None


def _after(given: Any) -> Any:
    if not isinstance(given, str) or not (found := _AFTER.fullmatch(given)):
        raise ValueError('a count such as "1 session", "2 business days" or "3 days" (1 to 99)')
    return After(int(found[1]), found[2])


def _address(given: str) -> str:
    """An address whose domain is in ASCII: what stands in an envelope."""
    wanted = "an address such as reports@example.com"
    local, at, domain = given.rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or len(local) > 64:
        raise ValueError(wanted)
    try:
        ascii_domain = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise ValueError(wanted) from None
    labels = ascii_domain.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or len(ascii_domain) > 189:
        raise ValueError(wanted)
    return f"{local}@{ascii_domain}"


def _plain_text(given: str) -> str:
    if not given.isprintable():
        raise ValueError("text without line breaks and control characters")
    return given


def _tuple(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given


Length = Annotated[timedelta, BeforeValidator(_length)]
Clock = Annotated[time, BeforeValidator(_clock)]
Text = Annotated[str, AfterValidator(_plain_text)]
#: Names are parts of keys, of Message-IDs and of file names.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


@dataclass(frozen=True)
class After:
    """How long after a period's last day its report is due.

    ``unit`` is ``session`` of the report's calendar, ``business day`` (a session from Monday to
    Friday) or ``day`` (of the Gregorian calendar).
    """

    count: int
    unit: str


class Recipient(Value):
    """Who gets reports: ``external`` ones are sent what may leave the house, masked."""

    name: Name
    address: Annotated[str, AfterValidator(_address)]
    class_: Literal["internal", "external"] = Field(alias="class")
    to_name: Text = Field("", max_length=120, description="stands before the address")


class Scheduled(Value):
    """One report: of each period of ``kind`` that has a session of ``calendar``."""

    name: Name
    kind: Literal["daily", "weekly", "monthly", "quarterly"]
    calendar: str
    zone: Annotated[str, AfterValidator(check_zone)]
    due_time: Clock
    due_after: Annotated[After, BeforeValidator(_after)]
    deadline: Annotated[time | timedelta, BeforeValidator(_clock_or_length)] = Field(
        description="a later time on the day it is due, or how long after it is due"
    )
    since: date | None = Field(None, alias="from", description="of periods that end on it or later")
    recipients: Annotated[tuple[Name, ...], BeforeValidator(_tuple)] = ()
    unknown: Literal["hold", "resend"] = "hold"
    attach: bool = True
    retry_first: Length = timedelta(minutes=1)
    retry_at_most: Length = timedelta(minutes=15)

    def key_of(self, period: str) -> str:
        """The key of its run for the period with this label."""
        return f"{self.name}/{self.calendar}/{period}"

    @model_validator(mode="after")
    def _ordered(self) -> Scheduled:
        if isinstance(self.deadline, time) and self.deadline <= self.due_time:
            raise ValueError(
                f"a deadline after due_time ({self.due_time:%H:%M}) on the same day, or a length "
                'such as "4 hours"'
            )
        if self.retry_first > self.retry_at_most:
            raise ValueError("retry_first of at most retry_at_most")
        if len(set(self.recipients)) < len(self.recipients):
            raise ValueError("every recipient once")
        return self


class Closure(Value):
    """A session that did not take place, or that closed early, and was not published."""

    calendar: str
    date: date
    closed: Literal[True] | None = None
    early_close: Clock | None = None
    reason: Text = Field(min_length=1)
    source: Text = Field(min_length=1, description="where it was announced")

    @model_validator(mode="after")
    def _one(self) -> Closure:
        if bool(self.closed) == (self.early_close is not None):
            raise ValueError('either closed = true or early_close = "13:00"')
        return self


@dataclass(frozen=True)
class Schedule:
    """All of the file, in its order; ``digest`` is SHA-256 of its text."""

    reports: tuple[Scheduled, ...] = ()
    recipients: tuple[Recipient, ...] = ()
    closures: tuple[Closure, ...] = ()
    catch_up: timedelta = timedelta(days=60)
    digest: str = ""

    @property
    def names(self) -> list[str]:
        """What its reports are called."""
        return [report.name for report in self.reports]

    def recipient(self, name: str) -> Recipient | None:
        """Who is called ``name``, or None."""
        return next((r for r in self.recipients if r.name == name), None)

    def run_of(self, kind: str, period: str, recipient: str) -> str | None:
        """The key of the run that mails ``recipient`` the report; the first where several do."""
        for report in self.reports:
            if report.kind == kind and recipient in report.recipients:
                return report.key_of(period)
        return None

    def calendar(self, name: str) -> str:
        """The calendar ``name`` with the closures that are written down for it."""
        mine = [c for c in self.closures if c.calendar == name]
        early = {c.date: f"{c.early_close:%H:%M}" for c in mine if c.early_close is not None}
        return overridden(name, (c.date for c in mine if c.closed), early)


@dataclass(frozen=True, order=True)
class Run:
    """One report that is expected. Runs sort by when they are due.

    ``day`` is the last session of the period, what `reporting issue --date` is given; ``first``
    and ``last`` are the days that have to be sealed. Due and deadline are UTC.
    """

    due_at: datetime
    deadline_at: datetime
    key: str
    name: str = field(compare=False)
    kind: str = field(compare=False)
    period_label: str = field(compare=False)
    day: date = field(compare=False)
    first: date = field(compare=False)
    last: date = field(compare=False)


def parse_schedule(
    text: str, default_calendar: str, default_zone: str, name: str = "schedule.toml"
) -> Schedule:
    """The schedule from the text of the TOML file ``name``; an empty one expects nothing.

    A report without a calendar or a zone has the default one. Raises :class:`ValidationFailed`
    naming the file, the entry, its field and value, and what was expected.
    """
    tables = read_tables(text, name)
    expected = {"catch_up", "report", "recipient", "closure"}
    if odd := sorted(set(tables) - expected):
        raise ValidationFailed(
            f"{name} has {odd[0]!r}; expected catch_up, [[report]], [[recipient]] and [[closure]]"
        )
    defaults = {"calendar": base_calendar(default_calendar), "zone": default_zone}
    reports = _entries(tables, "report", Scheduled, name, attrgetter("name"), defaults)
    recipients = _entries(tables, "recipient", Recipient, name, attrgetter("name"))
    closures = _entries(
        tables,
        "closure",
        Closure,
        name,
        lambda c: f"{c.calendar} {c.date}",
        {"calendar": defaults["calendar"]},
    )
    try:
        catch_up = _length(tables.get("catch_up", "60 days"))
    except ValueError as error:
        raise ValidationFailed(
            f"{name}: catch_up is {tables['catch_up']!r}; expected {error}"
        ) from None
    _check_recipients(reports, recipients, name)
    _check_calendars(reports, closures, name)
    return Schedule(
        reports, recipients, closures, catch_up, hashlib.sha256(text.encode()).hexdigest()
    )


Entry = TypeVar("Entry", bound=Value)


def _entries(
    tables: dict[str, Any],
    key: str,
    kind: type[Entry],
    name: str,
    identity: Callable[[Entry], str],
    defaults: dict[str, str] | None = None,
) -> tuple[Entry, ...]:
    given = tables.get(key, [])
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise ValidationFailed(f"{name}: {key} is {given!r}; expected tables [[{key}]]")
    found: dict[str, Entry] = {}
    for number, fields in enumerate(given, 1):
        which = (
            f"{name}: {key} {fields['name']!r}" if "name" in fields else f"{name}: {key} {number}"
        )
        try:
            entry = kind.model_validate((defaults or {}) | fields)
        except ValidationError as error:
            raise ValidationFailed(f"{which}: {_in_words(error)}") from None
        if identity(entry) in found:
            raise ValidationFailed(
                f"{name}: {key} {identity(entry)!r} stands there twice; expected it once"
            )
        found[identity(entry)] = entry
    return tuple(found.values())


def _in_words(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"{where} is not there; expected a value"
    value = f"{where} is {first['input']!r}; " if where else ""
    return f"{value}expected: {first['msg'].removeprefix('Value error, ')}"


def _check_recipients(
    reports: Iterable[Scheduled], recipients: Iterable[Recipient], name: str
) -> None:
    names = {r.name for r in recipients}
    for report in reports:
        if unknown := [r for r in report.recipients if r not in names]:
            known = ", ".join(sorted(names)) or "a [[recipient]] that there is"
            raise ValidationFailed(
                f"{name}: report {report.name!r}: no recipient is called {unknown[0]!r}; "
                f"expected {known}"
            )
    by_address = sorted(recipients, key=lambda r: r.address.lower())
    for address, same in groupby(by_address, key=lambda r: r.address.lower()):
        if len(twice := [r.name for r in same]) > 1:
            raise ValidationFailed(
                f"{name}: recipients {twice[0]!r} and {twice[1]!r} are both {address}; expected "
                "one entry for an address, so that nobody is sent a report twice"
            )


def _check_calendars(reports: Iterable[Scheduled], closures: Iterable[Closure], name: str) -> None:
    where = [(f"report {r.name!r}", r.calendar) for r in reports]
    where += [(f"closure {c.date}", c.calendar) for c in closures]
    for which, calendar in where:
        if base_calendar(calendar) != calendar:
            raise ValidationFailed(
                f"{name}: {which}: calendar is {calendar!r}; expected a name without overrides: "
                "write each as a [[closure]]"
            )
        try:
            sessions_between(*KNOWN, calendar)
        except UsageError as error:
            raise ValidationFailed(f"{name}: {which}: {error}") from None
    for closure in closures:
        if not sessions_between(closure.date, closure.date, closure.calendar):
            raise ValidationFailed(
                f"{name}: closure {closure.date}: {closure.calendar} has no session on it; "
                f"expected a session from {KNOWN[0]} to {KNOWN[1]}, or no closure"
            )


def expected(schedule: Schedule, since: datetime, until: datetime) -> list[Run]:
    """Every run that is due after ``since`` and not after ``until``, in order.

    Raises :class:`UsageError` for an ``until`` beyond the years that a calendar is known for:
    what would be due then can not be told, and nothing is left out in silence.
    """
    runs: list[Run] = []
    for report in schedule.reports:
        if until >= _end(report):
            raise UsageError(
                f"what report {report.name!r} has due at {until.isoformat()} is not known: "
                f"{report.calendar} ends with {KNOWN[1]}; update exchange-calendars and this "
                "service for later years"
            )
        calendar = schedule.calendar(report.calendar)
        timing = (report.zone, report.due_time, report.due_after, report.deadline)
        # What is due in January belongs to the year before.
        for year in range(max(since.year - 1, FIRST_YEAR + 1), min(until.year, LAST_YEAR) + 1):
            table = _due_table(year, calendar, report.kind, *timing)
            first = bisect_right(table, since, key=attrgetter("due_at"))
            last = bisect_right(table, until, key=attrgetter("due_at"))
            runs += [
                Run(
                    due.due_at,
                    due.deadline_at,
                    report.key_of(due.span.label),
                    report.name,
                    report.kind,
                    due.span.label,
                    due.day,
                    due.span.first,
                    due.span.last,
                )
                for due in table[first:last]
                if report.since is None or due.span.last >= report.since
            ]
    return sorted(runs)


def _end(report: Scheduled) -> datetime:
    return due_instant(KNOWN[1] + timedelta(1), time(0), report.zone)


@dataclass(frozen=True)
class _Due:
    span: Span
    day: date
    due_at: datetime
    deadline_at: datetime


@lru_cache(maxsize=512)
def _due_table(
    year: int,
    calendar: str,
    kind: str,
    zone: str,
    at: time,
    after: After,
    deadline: time | timedelta,
) -> tuple[_Due, ...]:
    """What is due of the periods that end in ``year``, in order; reports of one timing share it."""
    begin, end = date(year, 1, 1), date(year, 12, 31)
    sessions = sessions_between(begin - timedelta(6), end, calendar)  # a week may begin before
    spans = {span(kind, day): day for day in sessions if span(kind, day).last >= begin}
    later = sessions_between(begin, KNOWN[1], calendar)
    if after.unit == "business day":
        later = tuple(day for day in later if day.weekday() < 5)
    table = []
    for period, day in spans.items():
        if period.last > end:
            break  # the week that ends in the next year
        if kind == "daily":
            # It begins after the session before, so that a weekend is somebody's.
            first = previous_session(day, calendar) + timedelta(1)
            period = Span(kind, period.label, period.title, first, day)
        if after.unit == "day":
            on = period.last + timedelta(after.count)
        else:
            position = bisect_right(later, period.last) + after.count - 1
            if position >= len(later):
                break  # due beyond the known years
            on = later[position]
        due_at = due_instant(on, at, zone)
        if isinstance(deadline, time):
            deadline_at = due_instant(on, deadline, zone)
        else:
            deadline_at = due_at + deadline
        table.append(_Due(period, day, due_at, deadline_at))
    return tuple(table)


def horizon(schedule: Schedule, now: datetime, ahead: timedelta = AHEAD) -> list[str]:
    """Warnings, a sentence each, of calendars whose known days end within ``ahead`` of ``now``."""
    found = []
    for calendar in sorted({report.calendar for report in schedule.reports}):
        last = sessions_between(*KNOWN, calendar)[-1]
        zones = {r.zone for r in schedule.reports if r.calendar == calendar}
        today = max(now.astimezone(ZoneInfo(zone)).date() for zone in zones)
        if today + ahead > KNOWN[1]:
            left = (KNOWN[1] - today).days
            how = f"in {left} days" if left >= 0 else f"{-left} days ago"
            found.append(
                f"{calendar} is known until {KNOWN[1]}, which ends {how} (last session {last}): "
                "nothing can be expected after it; update exchange-calendars and this service"
            )
    return found
