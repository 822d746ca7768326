"""What outside frameworks ask, which of our tests speaks to it, and which data is personal.

A control is one line: what a clause asks, in our own words, and the test that answers it from a
report's data. What no data can answer is attested by a person, with a date of expiry; without
either it is not assessed. The mapping says what supports a control, never that a rule is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from ..errors import ValidationFailed
from ..model import Exact, Value
from .operations import ID
from .tables import read_tables

Test = Literal[
    "days_sealed",
    "sealed_within",
    "no_gaps",
    "no_errors",
    "control_totals",
    "restatements_explained",
    "signed_off",
    "policy_named",
    "audit_logged",
    "figures",
    "measured",
    "objectives",
    "sections",
    "limits",
    "maintenance_approved",
    "personal_register",
    "personal_masked",
    "attestation",
]
#: What a test has to be told; every other test takes nothing.
NEEDS: Mapping[str, str] = {
    "sealed_within": "at_most",
    "figures": "figures",
    "measured": "figures",
    "objectives": "objectives",
    "sections": "sections",
}
#: Sections of a report that have a verdict of their own.
Judged = Literal[
    "reconciliation",
    "var",
    "slippage",
    "fill_rate",
    "service_levels",
    "uptime",
    "alerts",
    "incidents",
]
#: Figures that a control may name: those of every report of a month in which they were measured.
#: ``alerts.<alert>`` and the promises about incidents come beside them.
FIGURES = (
    "pnl.residual",
    "pnl.fills",
    "pnl.positions",
    "marks.stale",
    "marks.missing",
    "marks.outlying",
    "reconciliation.positions_matched",
    "reconciliation.cash_matched",
    "reconciliation.oldest_break_sessions",
    "var.exceptions_99",
    "var.stress_loss",
    "slippage.coverage",
    "fill_rate.full",
    "fill_rate.orders",
    "fill_rate.rejected",
    "fill_rate.cancelled",
    "fill_rate.replaced",
    "service_levels.kept",
    "alerts.fired",
    "alerts.response_s",
    "alerts.false_positives",
    "incidents.count",
    "incidents.mtta",
    "incidents.mttr",
    *(
        f"incidents.p{n}_{promise}"
        for n in (1, 2, 3)
        for promise in ("response", "escalation", "resolution")
    ),
)
#: A mapping says what supports a control; none of these words may stand in it.
CLAIM = re.compile(
    r"\b(compl(?:y|ies|iant|ied)|certif\w*|conform(?:s|ant|ity)|guarantee\w*)\b", re.I
)
Recipient = Literal["internal", "audit", "external"]
Shown = Literal["shown", "pseudonym"]

Listed = BeforeValidator(lambda given: tuple(given) if isinstance(given, list) else given)
Names = Annotated[tuple[str, ...], Listed]


def _plain_claim(words: str) -> str:
    if found := CLAIM.search(words):
        raise ValueError(f"words that claim nothing; {found[0]!r} says more than data can show")
    return words


class Framework(Value):
    """One body of rules, with the edition that its references are to."""

    id: str = Field(pattern=ID)
    title: str = Field(min_length=1)
    edition: str = Field(min_length=1)
    note: str = ""

    _claims_nothing = field_validator("title", "note")(_plain_claim)


class Control(Value):
    """What one clause asks and the test that answers it; in force from ``since`` to ``until``.

    ``at_most`` and ``at_least`` are bounds on each of ``figures`` in ``unit``: percent for a share,
    seconds for a length of time. Without a bound a figure is judged by its own target.
    """

    id: str = Field(pattern=ID)
    framework: str
    reference: str = Field(min_length=1)
    asks: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    test: Test
    figures: Names = ()
    objectives: Names = ()
    sections: Annotated[tuple[Judged, ...], Listed] = ()
    at_most: Exact | None = Field(default=None, strict=False)
    at_least: Exact | None = Field(default=None, strict=False)
    unit: str = ""
    since: date = Field(default=date.min, alias="from")
    until: date | None = None

    _claims_nothing = field_validator("asks")(_plain_claim)

    @field_validator("at_most", "at_least", mode="before")
    @classmethod
    def _no_float(cls, given: Any) -> Any:
        if isinstance(given, float):
            raise ValueError('write it as a whole number or as text, such as "12.5"')
        return Decimal(given) if isinstance(given, int) else given

    @model_validator(mode="after")
    def _told_what_it_needs(self) -> Control:
        needed = NEEDS.get(self.test)
        if needed and not getattr(self, needed) and getattr(self, needed) != 0:
            raise ValueError(f"{needed}, which the test {self.test!r} needs")
        for name in ("figures", "objectives", "sections", "at_most", "at_least"):
            bound = name.startswith("at_") and self.test == "figures"
            if getattr(self, name) not in ((), None) and name != needed and not bound:
                raise ValueError(f"no {name}: the test {self.test!r} does not look at it")
        return self


class Attestation(Value):
    """What a person stands for, of a control that no data answers, until ``valid_until``."""

    control: str
    on: date
    by: str = Field(min_length=1)
    result: Literal["met", "missed"]
    evidence: str = Field(min_length=1)
    valid_until: date

    @model_validator(mode="after")
    def _ordered(self) -> Attestation:
        if self.valid_until < self.on:
            raise ValueError("valid_until on or after the day it was given on")
        return self


class Personal(Value):
    """Columns of the ledger that speak of a person, for the record of processing (Art. 30).

    ``cells`` are the keys of the columns under which their values stand in a report's tables, of
    one table alone as ``<table>.<column>``.
    """

    id: str = Field(pattern=ID)
    what: str = Field(min_length=1)
    columns: Names = Field(min_length=1)
    cells: Names = ()
    purpose: str = Field(min_length=1)
    legal_basis: str = Field(min_length=1)
    retention: str = Field(min_length=1)
    internal: Shown
    audit: Shown
    external: Shown

    @field_validator("columns")
    @classmethod
    def _of_a_view(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        for column in columns:
            if not re.fullmatch(r"[a-z_]+\.[a-z_]+", column):
                raise ValueError(f"view.column such as fills.account_id, not {column!r}")
        return columns

    def shown_to(self, recipient: Recipient) -> Shown:
        """Whether a class of recipients reads the names or pseudonyms."""
        return {"internal": self.internal, "audit": self.audit, "external": self.external}[
            recipient
        ]


@dataclass(frozen=True)
class Compliance:
    """All of the mapping, in the order of the file."""

    frameworks: tuple[Framework, ...] = ()
    controls: tuple[Control, ...] = ()
    attestations: tuple[Attestation, ...] = ()
    personal: tuple[Personal, ...] = ()

    def controls_on(self, on: date) -> tuple[Control, ...]:
        """The newest line of each control that has begun, unless it has ended."""
        found: dict[str, Control] = {}
        for control in self.controls:
            known = found.get(control.id)
            if control.since <= on and (known is None or known.since < control.since):
                found[control.id] = control
        return tuple(c for c in found.values() if c.until is None or on <= c.until)


R = TypeVar("R", bound=Value)


def parse_compliance(
    text: str,
    objectives: Collection[str] | None = (),
    alerts: Collection[str] | None = (),
    name: str = "compliance.toml",
) -> Compliance:
    """The mapping from the text of the TOML file ``name``.

    ``objectives`` are the ids of those that promise something, ``alerts`` of all alerts; None for
    a mapping that was not written for this firm's: what is not there is then not assessed. Raises
    :class:`ValidationFailed` naming the file, the entry, its value and what was expected: for a
    test, a figure, an objective or a control that nobody knows too.
    """
    tables = read_tables(text, name)
    if odd := sorted(set(tables) - {"framework", "control", "attestation", "personal"}):
        raise ValidationFailed(
            f"{name} has {odd[0]!r}; expected [[framework]], [[control]], [[attestation]] and "
            "[[personal]] only"
        )
    found = Compliance(
        frameworks=_rows(tables, "framework", Framework, name, lambda row: row.id),
        controls=_rows(tables, "control", Control, name, lambda row: f"{row.id} from {row.since}"),
        attestations=_rows(
            tables, "attestation", Attestation, name, lambda row: f"{row.control} on {row.on}"
        ),
        personal=_rows(tables, "personal", Personal, name, lambda row: row.id),
    )
    columns = [c for row in found.personal for c in row.columns]
    if twice := sorted({c for c in columns if columns.count(c) > 1}):
        raise ValidationFailed(
            f"{name}: personal: {twice[0]!r} stands in two entries; expected one"
        )
    figures = {*FIGURES, *(f"alerts.{alert}" for alert in alerts or ())}
    frameworks = [f.id for f in found.frameworks]
    for control in found.controls:
        where = f"{name}: control {control.id!r}"
        _known(where, "framework", [control.framework], frameworks)
        own = (f for f in control.figures if alerts is not None or not f.startswith("alerts."))
        _known(where, "figure", own, figures)
        if objectives is not None:
            _known(where, "objective with a promise", control.objectives, objectives)
    controls = [c.id for c in found.controls]
    for attestation in found.attestations:
        _known(f"{name}: attestation", "control", [attestation.control], controls)
    return found


def _known(where: str, what: str, given: Iterable[str], known: Collection[str]) -> None:
    for each in given:
        if each not in known:
            expected = f"one of {', '.join(sorted(known))}" if known else f"a {what} that there is"
            raise ValidationFailed(f"{where}: no {what} is called {each!r}; expected {expected}")


def _rows(
    tables: Mapping[str, Any], key: str, kind: type[R], name: str, identity: Callable[[R], str]
) -> tuple[R, ...]:
    given = tables.get(key, [])
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        raise ValidationFailed(f"{name}: {key} is {given!r}; expected tables [[{key}]]")
    rows: list[R] = []
    seen: set[str] = set()
    for number, fields in enumerate(given, 1):
        try:
            row = kind.model_validate(fields, by_alias=True)
        except ValidationError as error:
            raise ValidationFailed(_in_words(name, key, number, fields, error)) from None
        if identity(row) in seen:
            raise ValidationFailed(
                f"{name}: {key} {identity(row)!r} stands there twice; expected unique lines"
            )
        seen.add(identity(row))
        rows.append(row)
    return tuple(rows)


def _in_words(
    name: str, key: str, number: int, fields: Mapping[str, Any], error: ValidationError
) -> str:
    """The first thing that is wrong with an entry, which is named by its id where it has one."""
    first = error.errors(include_url=False)[0]
    entry = fields.get("id") or fields.get("control")
    which = f"{key} {entry!r}" if isinstance(entry, str) else f"{key} {number}"
    field = ".".join(map(str, first["loc"]))
    expected = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{name}: {which}: {field} is not there; expected a value"
    value = f"{field} is {first['input']!r}; " if field else ""
    return f"{name}: {which}: {value}expected: {expected}"
