"""Planned maintenance: windows that happen once and windows that recur, with who approved them.

Times are local to a zone that each entry names. A local time that a clock change skips is read with
the offset from before it, so that 02:30 on the day of the change is the instant one would have
called 02:30; one that happens twice is the first (RFC 5545, 3.3.5). Lengths are elapsed time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AwareDatetime, Field, NaiveDatetime, ValidationError, field_validator

from ..errors import ValidationFailed
from ..model import Value, Window, epoch_ms
from ..periods import days_between
from .tables import read_tables

#: RFC 5545's names of the days, Monday first as ``date.weekday`` counts.
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
EVERY_TARGET = "*"
LENGTH = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?")
#: Longer than a week, a window that recurs would be maintenance without end.
MAX_LENGTH = timedelta(days=7)


class Occurrence(NamedTuple):
    """One window of one target (``*``: all), in milliseconds since 1970.

    A row of the frame ``maintenance``. ``retroactive``: approved after it had begun.
    """

    target: str
    start_ms: int
    end_ms: int
    reason: str
    approved_by: str
    approved_at_ms: int
    retroactive: bool


class _Entry(Value):
    """What both kinds of window have."""

    targets: tuple[str, ...] = Field(min_length=1)
    zone: str
    reason: str = Field(min_length=1)
    approved_by: str = Field(min_length=1)
    approved_at: AwareDatetime

    @field_validator("targets", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        if given == EVERY_TARGET:
            return (EVERY_TARGET,)
        return tuple(given) if isinstance(given, list) else given

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError("expected an IANA time zone such as America/New_York")
        return zone

    def _at(self, start: datetime, end: datetime) -> Iterator[Occurrence]:
        for target in self.targets:
            yield Occurrence(
                target=target,
                start_ms=epoch_ms(start),
                end_ms=epoch_ms(end),
                reason=self.reason,
                approved_by=self.approved_by,
                approved_at_ms=epoch_ms(self.approved_at),
                retroactive=self.approved_at > start,
            )


class Once(_Entry):
    """A window that happens once, from ``start`` to ``end`` in local time."""

    start: NaiveDatetime
    end: NaiveDatetime

    def occurrences(self, on: Window) -> Iterator[Occurrence]:
        """Itself, where it overlaps ``on``."""
        start, end = (_instant(at, self.zone) for at in (self.start, self.end))
        if start < on.end and on.start < end:
            yield from self._at(start, end)


class Recurring(_Entry):
    """A window on some weekdays at a local time, from a first to a last date if there is one."""

    weekdays: tuple[str, ...] = Field(min_length=1)
    at: time
    duration: timedelta
    first: date = Field(alias="from")
    last: date | None = Field(default=None, alias="until")

    @field_validator("weekdays", mode="before")
    @classmethod
    def _weekdays(cls, given: Any) -> Any:
        if not isinstance(given, list) or not set(map(str, given)) <= set(WEEKDAYS):
            raise ValueError(f"expected a list of {', '.join(WEEKDAYS)}")
        return tuple(given)

    @field_validator("at")
    @classmethod
    def _local(cls, at: time) -> time:
        if at.tzinfo is not None:
            raise ValueError("expected a local time such as 02:30:00")
        return at

    @field_validator("duration", mode="before")
    @classmethod
    def _length(cls, given: Any) -> Any:
        found = LENGTH.fullmatch(given) if isinstance(given, str) else None
        if found:
            days, hours, minutes = (int(part or 0) for part in found.groups())
            length = timedelta(days=days, hours=hours, minutes=minutes)
            if timedelta(0) < length <= MAX_LENGTH:
                return length
        raise ValueError('expected a length of up to 7d such as "90m", "2h" or "1d12h"')

    def occurrences(self, on: Window) -> Iterator[Occurrence]:
        """Those that overlap ``on``."""
        zone = ZoneInfo(self.zone)
        # A day earlier than lengths need: a time that is skipped happens later than it says.
        first = (on.start - self.duration).astimezone(zone).date() - timedelta(1)
        last = on.end.astimezone(zone).date()
        for day in days_between(max(first, self.first), min(last, self.last or last)):
            if WEEKDAYS[day.weekday()] in self.weekdays:
                start = _instant(datetime.combine(day, self.at), self.zone)
                end = start + self.duration
                if start < on.end and on.start < end:
                    yield from self._at(start, end)


class Maintenance(Value):
    """All windows that are planned."""

    once: tuple[Once, ...] = ()
    recurring: tuple[Recurring, ...] = ()

    def windows(self, on: Window) -> tuple[Occurrence, ...]:
        """Every window that overlaps ``on``, uncut, a row for each target, in order of time."""
        entries: Iterable[Once | Recurring] = (*self.once, *self.recurring)
        found = {row for entry in entries for row in entry.occurrences(on)}
        return tuple(sorted(found, key=lambda row: (row.start_ms, row.end_ms, row)))


def _instant(local: datetime, zone: str) -> datetime:
    """The instant of a local time; of one that is skipped or doubled, as the module says."""
    return local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def parse_maintenance(
    text: str, targets: Collection[str] | None = None, name: str = "maintenance.toml"
) -> Maintenance:
    """The windows of a TOML file; ``targets`` are the ids that a window may name.

    Raises :class:`ValidationFailed` naming the file, the entry, the field and what was expected.
    """
    table = read_tables(text, name)
    if odd := sorted(set(table) - {"once", "recurring"}):
        raise ValidationFailed(
            f"{name} has {odd[0]!r}; expected [[once]] and [[recurring]] windows only"
        )
    return Maintenance(
        once=tuple(_entries(table, "once", Once, targets, name)),
        recurring=tuple(_entries(table, "recurring", Recurring, targets, name)),
    )


E = TypeVar("E", Once, Recurring)


def _entries(
    table: Mapping[str, Any], kind: str, model: type[E], targets: Collection[str] | None, name: str
) -> Iterator[E]:
    rows = table.get(kind, [])
    if not isinstance(rows, list):
        raise ValidationFailed(f"{name}: {kind} is one table; expected [[{kind}]] for each window")
    for number, row in enumerate(rows, 1):
        where = f"{name}, {kind} window {number}"
        try:
            entry = model.model_validate(row, by_alias=True)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            value = first["input"]
            given = value.isoformat() if isinstance(value, date | time) else repr(value)
            given = "missing" if first["type"] == "missing" else given
            message = first["msg"].removeprefix("Value error, ")
            raise ValidationFailed(f"{where}: {field} is {given}: {message}") from None
        _check(entry, where, targets)
        yield entry


def _check(entry: Once | Recurring, where: str, targets: Collection[str] | None) -> None:
    """What several fields, or the catalogue of objectives, decide together."""
    if isinstance(entry, Once):
        begin, end = (_instant(at, entry.zone) for at in (entry.start, entry.end))
        if begin >= end:
            raise ValidationFailed(
                f"{where}: end is {entry.end.isoformat()}; expected a time after start, "
                f"{entry.start.isoformat()}"
            )
    elif entry.last is not None and entry.last < entry.first:
        raise ValidationFailed(
            f"{where}: until is {entry.last}; expected a date not before from, {entry.first}"
        )
    for target in entry.targets:
        if target == EVERY_TARGET and len(entry.targets) > 1:
            raise ValidationFailed(
                f"{where}: targets has '*' and others; expected one or the other"
            )
        if targets is not None and target != EVERY_TARGET and target not in targets:
            raise ValidationFailed(
                f"{where}: targets has {target!r}, which no objective has; expected '*' or ids "
                f"such as {', '.join(sorted(targets)[:3])}"
            )
