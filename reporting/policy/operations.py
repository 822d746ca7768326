"""How the systems are run: alerts, escalation, incident targets, checklists and improvement goals.

Read from one TOML file; every length of time is in whole milliseconds here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from ..errors import ValidationFailed
from ..model import Exact, Value
from .tables import read_tables

MINUTE_MS = 60_000
#: Ids are parts of figure ids.
ID = r"^[a-z][a-z0-9_]*$"


class Alert(Value):
    """One alert: ``alertname`` is the rule's label, ``response_s`` the promise in seconds.

    The response is counted from the moment at which the condition first holds to the first
    notification on any of ``channels``.
    """

    id: str = Field(pattern=ID)
    alertname: str = Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")
    severity: Literal["critical", "warning"]
    channels: tuple[str, ...] = Field(min_length=1)
    response_s: int = Field(gt=0)

    @property
    def title(self) -> str:
        """For people: the id in words."""
        return self.id.replace("_", " ")

    @field_validator("channels", mode="before")
    @classmethod
    def _tuple(cls, given: Any) -> Any:
        return tuple(given) if isinstance(given, list) else given


class EscalationLevel(Value):
    """Who has an incident from ``from_min`` to ``to_min`` minutes after escalation was due."""

    level: int = Field(ge=1, le=3)
    from_min: int = Field(ge=0)
    to_min: int = Field(gt=0)
    who: str
    how: tuple[str, ...] = Field(min_length=1)

    @field_validator("how", mode="before")
    @classmethod
    def _tuple(cls, given: Any) -> Any:
        return tuple(given) if isinstance(given, list) else given

    @model_validator(mode="after")
    def _ordered(self) -> EscalationLevel:
        if self.from_min >= self.to_min:
            raise ValueError("from_min must be before to_min")
        return self


class Priority(Value):
    """What was promised of incidents of one priority, in minutes after they are opened."""

    id: Literal["P1", "P2", "P3"]
    meaning: str
    respond_within_min: int = Field(gt=0)
    escalate_after_min: int = Field(ge=0)
    resolve_within_min: int = Field(gt=0)
    inform: str

    @property
    def respond_ms(self) -> int:
        """Time to acknowledge, in milliseconds."""
        return self.respond_within_min * MINUTE_MS

    @property
    def escalate_ms(self) -> int:
        """Time after which an incident that is still open is escalated, in milliseconds."""
        return self.escalate_after_min * MINUTE_MS

    @property
    def resolve_ms(self) -> int:
        """Time to resolve, in milliseconds."""
        return self.resolve_within_min * MINUTE_MS


class Check(Value):
    """One line of a checklist that the daily report answers from data."""

    list: Literal["morning", "evening"]
    id: str = Field(pattern=ID)
    words: str


class Baseline(Value):
    """The days that a change is measured against, both included."""

    first: date
    last: date

    @model_validator(mode="after")
    def _ordered(self) -> Baseline:
        if self.first > self.last:
            raise ValueError("first must not be after last")
        return self


class Improvement(Value):
    """One improvement goal: the change of ``figure`` against ``baseline``, in percent.

    With ``inverse`` the indicator is one over the figure (speed from a latency). Without a figure
    ``reason`` says why it is not measured; without a baseline it is not measured either.
    """

    id: str = Field(pattern=ID)
    goal_pct: Exact = Field(strict=False)
    figure: str = ""
    inverse: bool = False
    reason: str = ""
    baseline: Baseline | None = None

    @field_validator("goal_pct", mode="before")
    @classmethod
    def _no_float(cls, given: Any) -> Any:
        if isinstance(given, float):
            raise ValueError('write it as a whole number or as text, such as "12.5"')
        return Decimal(given) if isinstance(given, int) else given

    @model_validator(mode="after")
    def _measured_or_not(self) -> Improvement:
        if bool(self.figure) == bool(self.reason):
            raise ValueError("either a figure that measures it or the reason why there is none")
        return self


@dataclass(frozen=True)
class Operations:
    """All of the operations file; the order of the file is kept."""

    alerts: tuple[Alert, ...]
    escalation: tuple[EscalationLevel, ...]
    priorities: tuple[Priority, ...]
    checks: tuple[Check, ...]
    improvements: tuple[Improvement, ...]


Row = TypeVar("Row", bound=Value)


def parse_operations(text: str, name: str = "operations.toml") -> Operations:
    """Operations from the text of the TOML file ``name``.

    Raises :class:`ValidationFailed` naming the file, the field, its value and what was expected.
    """
    tables = read_tables(text, name)
    found = Operations(
        alerts=_rows(tables, "alert", Alert, name, lambda row: row.id),
        escalation=_rows(tables, "escalation", EscalationLevel, name, lambda row: str(row.level)),
        priorities=_rows(tables, "priority", Priority, name, lambda row: row.id),
        checks=_rows(tables, "check", Check, name, lambda row: f"{row.list}/{row.id}"),
        improvements=_rows(tables, "improvement", Improvement, name, lambda row: row.id),
    )
    if tables:
        raise ValidationFailed(
            f"{name}: unknown tables {sorted(tables)}; expected [[alert]], [[escalation]], "
            "[[priority]], [[check]] and [[improvement]]"
        )
    _unique((alert.alertname for alert in found.alerts), f"{name}: alert: alertname")
    return found


def _rows(
    tables: dict[str, Any], key: str, kind: type[Row], name: str, identity: Callable[[Row], str]
) -> tuple[Row, ...]:
    given = tables.pop(key, [])
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        raise ValidationFailed(f"{name}: {key} is {given!r}; expected tables [[{key}]]")
    rows = []
    for number, fields in enumerate(given, 1):
        try:
            rows.append(kind.model_validate(fields))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, (f"{key} {number}", *first["loc"])))
            expected = first["msg"].removeprefix("Value error, ")
            if first["type"] == "missing":
                raise ValidationFailed(f"{name}: {where} is not there; expected a value") from None
            raise ValidationFailed(
                f"{name}: {where} is {first['input']!r}; expected: {expected}"
            ) from None
    _unique((identity(row) for row in rows), f"{name}: {key}")
    return tuple(rows)


def _unique(names: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for each in names:
        if each in seen:
            raise ValidationFailed(f"{where} {each!r} stands there twice; expected unique names")
        seen.add(each)
