"""What risk is judged by: capital, stress scenarios and limits, each with the date it begins.

Read from one TOML file. A line is in force from its date until a later one of the same id, or until
its own last date; a report of an old period is judged by what was in force then.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from ..errors import ValidationFailed
from ..model import Currency, Exact, Value
from .tables import read_tables

#: Ids are parts of the names of rows.
ID = r"^[a-z][a-z0-9_]*$"
#: What a limit may bound. All are amounts in base currency but concentration, the largest share of
#: the gross exposure in one instrument.
Bounded = Literal["var_99", "es_97.5", "gross", "net", "concentration", "drawdown", "stress_loss"]


def _no_float(given: Any) -> Any:
    if isinstance(given, bool | float):
        raise ValueError('write it as a whole number or as text, such as "12.5"')
    return Decimal(given) if isinstance(given, int) else given


def _listed(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given


Number = Annotated[Exact, BeforeValidator(_no_float), Field(strict=False)]
Percent = Annotated[Number, Field(ge=-100, allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0, allow_inf_nan=False)]


class _Dated(Value):
    """When a line is in force."""

    since: date = Field(alias="from")
    until: date | None = None

    @model_validator(mode="after")
    def _ordered(self) -> _Dated:
        if self.until is not None and self.until < self.since:
            raise ValueError(f"until must not be before from, {self.since}")
        return self


class Capital(_Dated):
    """What returns are measured on."""

    amount: Positive
    currency: Currency
    source: str = Field(min_length=1)


class Shock(Value):
    """A move of prices in percent: of one instrument (id or symbol), of everything quoted in a
    currency as that currency's rate to base, or of all prices that have no shock of their own."""

    instrument: str = ""
    currency: Currency | None = None
    every: bool = Field(default=False, alias="all")
    pct: Percent

    @model_validator(mode="after")
    def _one(self) -> Shock:
        if bool(self.instrument) + bool(self.currency) + self.every != 1:
            raise ValueError("exactly one of instrument, currency and all = true")
        return self


class Replay(Value):
    """The days of the VaR window whose moves happen again, both included."""

    first: date
    last: date

    @model_validator(mode="after")
    def _ordered(self) -> Replay:
        if self.last < self.first:
            raise ValueError("first must not be after last")
        return self


class Scenario(_Dated):
    """One stress scenario: named shocks, or days of the past again."""

    id: str = Field(pattern=ID)
    title: str = Field(min_length=1)
    shocks: Annotated[tuple[Shock, ...], BeforeValidator(_listed)] = ()
    replay: Replay | None = None
    source: str = ""

    @model_validator(mode="after")
    def _one(self) -> Scenario:
        if bool(self.shocks) == (self.replay is not None):
            raise ValueError("either shocks or a replay")
        names = [(s.instrument, s.currency, s.every) for s in self.shocks]
        if len(set(names)) < len(names):
            raise ValueError("one shock for each instrument, each currency and all")
        return self

    def shocks_of(self, names: Iterable[str], currency: str) -> list[Decimal]:
        """The moves of an instrument that has ``names``, one after the other: price, then rate."""
        known = set(names)
        own = [s.pct for s in self.shocks if s.instrument and s.instrument in known]
        everything = [s.pct for s in self.shocks if s.every]
        rate = [s.pct for s in self.shocks if s.currency == currency]
        return [*(own[:1] or everything), *rate]


class Limit(_Dated):
    """The most of one measure that the firm, one strategy or one agent may have."""

    id: str = Field(pattern=ID)
    measure: Bounded
    strategy: str = ""
    agent: str = ""
    value: Positive
    currency: Currency | None = None
    source: str = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Limit:
        if self.strategy and self.agent:
            raise ValueError("a strategy or an agent, not both")
        if (self.measure == "concentration") != (self.currency is None):
            raise ValueError("a currency, except for concentration, which is in percent")
        return self

    @property
    def scope(self) -> str:
        """Whose limit it is, in words."""
        if self.strategy:
            return f"strategy {self.strategy}"
        return f"agent {self.agent}" if self.agent else "total"


D = TypeVar("D", bound=_Dated)


@dataclass(frozen=True)
class RiskPolicy:
    """All lines of the file, in its order."""

    capitals: tuple[Capital, ...] = ()
    scenarios: tuple[Scenario, ...] = ()
    limits: tuple[Limit, ...] = ()

    def capital(self, on: date) -> Capital | None:
        """The capital in force on a day."""
        return next(iter(_in_force(self.capitals, on, lambda _: "")), None)

    def scenarios_on(self, on: date) -> tuple[Scenario, ...]:
        """The scenarios in force on a day."""
        return _in_force(self.scenarios, on, lambda row: row.id)

    def limits_on(self, on: date) -> tuple[Limit, ...]:
        """The limits in force on a day."""
        return _in_force(self.limits, on, lambda row: row.id)


def _in_force(rows: Iterable[D], on: date, identity: Any) -> tuple[D, ...]:
    """The newest line of each id that has begun, unless it has ended; in the order of the file."""
    found: dict[Hashable, D] = {}
    for row in rows:
        key = identity(row)
        if row.since <= on and (key not in found or found[key].since < row.since):
            found[key] = row
    return tuple(row for row in found.values() if row.until is None or on <= row.until)


def parse_risk(text: str, name: str = "risk.toml") -> RiskPolicy:
    """Capital, scenarios and limits from the text of the TOML file ``name``.

    Raises :class:`ValidationFailed` naming the file, the field, its value and what was expected.
    """
    tables = read_tables(text, name)
    if odd := sorted(set(tables) - {"capital", "scenario", "limit"}):
        raise ValidationFailed(
            f"{name} has {odd[0]!r}; expected [[capital]], [[scenario]] and [[limit]] only"
        )
    return RiskPolicy(
        capitals=_rows(tables, "capital", Capital, name, lambda _: "capital"),
        scenarios=_rows(tables, "scenario", Scenario, name, lambda row: row.id),
        limits=_rows(tables, "limit", Limit, name, lambda row: row.id),
    )


def _rows(
    tables: dict[str, Any], kind: str, model: type[D], name: str, identity: Any
) -> tuple[D, ...]:
    given = tables.get(kind, [])
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        raise ValidationFailed(f"{name}: {kind} is one value; expected [[{kind}]] for each line")
    rows: list[D] = []
    seen: set[tuple[str, date]] = set()
    for number, fields in enumerate(given, 1):
        try:
            row = model.model_validate(fields, by_alias=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, (f"{kind} {number}", *first["loc"])))
            expected = first["msg"].removeprefix("Value error, ")
            if first["type"] == "missing":
                raise ValidationFailed(f"{name}: {where} is not there; expected a value") from None
            value = f"is {first['input']!r}; " if first["loc"] else ""
            raise ValidationFailed(f"{name}: {where} {value}expected: {expected}") from None
        key = (identity(row), row.since)
        if key in seen:
            raise ValidationFailed(
                f"{name}: {kind} {number}: {key[0]!r} stands there twice from {row.since}; "
                "expected one line a date"
            )
        seen.add(key)
        rows.append(row)
    return tuple(rows)
