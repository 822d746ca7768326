"""How long each kind of record is kept: dated classes, each with the source of its rule.

A record keeps the class that was in force on the day it was made. Longer is decided elsewhere: by a
legal hold, and by the minimum that the database holds itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal, TypeVar, get_args

from pydantic import Field, ValidationError, model_validator

from ..errors import ValidationFailed
from ..model import Value
from .operations import ID
from .tables import read_tables

Record = Literal["daily", "weekly", "monthly", "quarterly", "sealed_day", "closing_book"]
RECORDS: tuple[str, ...] = get_args(Record)


class RetentionClass(Value):
    """Records of this class are kept for ``years`` or ``months`` from the day they were made."""

    id: str = Field(pattern=ID)
    since: date = Field(alias="from")
    years: int = Field(default=0, ge=1, le=100)
    months: int = Field(default=0, ge=1, le=1200)
    source: str = Field(min_length=1, description="where the rule comes from")

    @model_validator(mode="after")
    def _one_length(self) -> RetentionClass:
        if bool(self.years) == bool(self.months):
            raise ValueError("either years or months")
        return self

    def until(self, made_on: date) -> date:
        """The last day on which a record is kept for certain."""
        count = made_on.month - 1 + self.months
        first = date(made_on.year + self.years + count // 12, count % 12 + 1, 1)
        last = (first + timedelta(31)).replace(day=1) - timedelta(1)
        return min(last, first + timedelta(made_on.day - 1))


class RecordClass(Value):
    """Which class a kind of record has."""

    id: Record
    since: date = Field(alias="from")
    class_: str = Field(alias="class")


@dataclass(frozen=True)
class Kept:
    """The rule for one record: it may go after ``until``."""

    class_: str
    until: date
    source: str


@dataclass(frozen=True)
class RetentionPolicy:
    """All lines, in the order of the file; without any, nothing is ever past its time."""

    classes: tuple[RetentionClass, ...] = ()
    records: tuple[RecordClass, ...] = ()

    def of(self, record: str, made_on: date) -> Kept | None:
        """The rule for a ``record`` made on a day, or None where none was in force."""
        kinds = [r for r in self.records if r.id == record and r.since <= made_on]
        if not kinds:
            return None
        name = max(kinds, key=lambda r: r.since).class_
        lines = [c for c in self.classes if c.id == name and c.since <= made_on]
        line = max(lines, key=lambda c: c.since)
        return Kept(name, line.until(made_on), line.source)


L = TypeVar("L", RetentionClass, RecordClass)


def parse_retention(text: str, name: str = "retention.toml") -> RetentionPolicy:
    """The rules from the text of the TOML file ``name``; an empty one has none.

    Raises :class:`ValidationFailed` naming the file, the entry, its value and what was expected.
    """
    tables = read_tables(text, name)
    if odd := sorted(set(tables) - {"class", "record"}):
        raise ValidationFailed(f"{name} has {odd[0]!r}; expected [[class]] and [[record]] only")
    classes = _lines(tables.get("class", []), "class", RetentionClass.model_validate, name)
    records = _lines(tables.get("record", []), "record", RecordClass.model_validate, name)
    if not classes and not records:
        return RetentionPolicy()
    for line in records:
        begun = [c.since for c in classes if c.id == line.class_]
        if not begun:
            known = ", ".join(sorted({c.id for c in classes})) or "a [[class]] that there is"
            raise ValidationFailed(
                f"{name}: record {line.id!r}: no class is called {line.class_!r}; expected {known}"
            )
        if min(begun) > line.since:
            raise ValidationFailed(
                f"{name}: record {line.id!r} from {line.since}: its class {line.class_!r} begins "
                f"on {min(begun)}; expected one that is in force by then"
            )
    if lacking := [r for r in RECORDS if r not in {line.id for line in records}]:
        raise ValidationFailed(
            f"{name} has no [[record]] {lacking[0]!r}; expected one for each of "
            f"{', '.join(RECORDS)}"
        )
    return RetentionPolicy(classes, records)


def _lines(given: Any, key: str, parse: Callable[[Any], L], name: str) -> tuple[L, ...]:
    if not isinstance(given, list) or not all(isinstance(line, dict) for line in given):
        raise ValidationFailed(f"{name}: {key} is {given!r}; expected tables [[{key}]]")
    found: list[L] = []
    for number, fields in enumerate(given, 1):
        which = f"{key} {fields['id']!r}" if "id" in fields else f"{key} {number}"
        try:
            line = parse(fields)
        except ValidationError as error:
            raise ValidationFailed(f"{name}: {which}: {_in_words(error)}") from None
        if any((line.id, line.since) == (other.id, other.since) for other in found):
            raise ValidationFailed(
                f"{name}: {which} stands there twice from {line.since}; expected one line a date"
            )
        found.append(line)
    return tuple(found)


def _in_words(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"{field} is not there; expected a value"
    value = f"{field} is {first['input']!r}; " if field else ""
    return f"{value}expected: {first['msg'].removeprefix('Value error, ')}"
