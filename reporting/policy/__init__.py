"""Dated thresholds and service objectives, each with its unit and its source.

A threshold is in force from its date until a later one of the same id; a report of an old period
is judged by the policy of that period.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from pydantic import Field, ValidationError

from ..errors import ValidationFailed
from ..model import EXACT, Exact, Value
from ..page import Target
from .compliance import Compliance, parse_compliance
from .indicators import Objective, State
from .maintenance import Maintenance, parse_maintenance
from .openslo import parse_objectives
from .operations import Operations, parse_operations
from .retention import RetentionPolicy, parse_retention
from .risk import RiskPolicy, parse_risk
from .tables import read_tables


class Threshold(Value):
    """One line of the policy file."""

    id: str
    since: date = Field(alias="from")
    comparator: Literal["lt", "le", "gt", "ge"]
    value: Exact = Field(strict=False)
    unit: str
    source: str


class LotMethod(Value):
    """How lots are kept from a date on, until a later line."""

    since: date = Field(alias="from")
    method: Literal["fifo", "lifo", "hifo", "average"]
    source: str


class MarkSources(Value):
    """Which sources of marks go before which from a date on, until a later line."""

    since: date = Field(alias="from")
    order: tuple[str, ...] = Field(strict=False)
    source: str


@dataclass(frozen=True)
class Policy:
    """Everything the numbers are judged by, with the digest of the texts it was read from."""

    thresholds: tuple[Threshold, ...]
    objectives: tuple[Objective, ...]
    operations: Operations
    maintenance: Maintenance
    digest: str
    lot_methods: tuple[LotMethod, ...] = ()
    mark_orders: tuple[MarkSources, ...] = ()
    risk: RiskPolicy = field(default_factory=RiskPolicy)
    compliance: Compliance = field(default_factory=Compliance)
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)

    def states(self) -> tuple[Objective, ...]:
        """What the uptime measure reads: objectives whose indicator is a series of up and down.

        A part of a composite that another objective watches already is not read twice; see
        :meth:`measured_as`.
        """
        return tuple(
            o
            for o in self.objectives
            if isinstance(o.indicator, State) and self.measured_as(o) == o.id
        )

    def state_queries(self) -> Mapping[str, str]:
        """The selector of the 0/1 series of each of :meth:`states`, by id."""
        return {
            o.id: o.indicator.query.text for o in self.states() if isinstance(o.indicator, State)
        }

    def measured_as(self, objective: Objective) -> str:
        """The id under which an objective is measured: its own, or, where it is the state of a
        composite's part, that of the objective that watches the same series."""
        if objective.composite and isinstance(objective.indicator, State):
            key = (objective.indicator, objective.zone, objective.no_data)
            same = [o for o in self.objectives if (o.indicator, o.zone, o.no_data) == key]
            return next((o.id for o in same if not o.composite), same[0].id)
        return objective.id

    def targets(self, on: date) -> Mapping[str, Target]:
        """Targets in force on a day, by id; availability as ``availability.<objective>``."""
        found = {
            t.id: Target(
                id=t.id, comparator=t.comparator, value=t.value, unit=t.unit, source=t.source
            )
            for t in sorted(self.thresholds, key=lambda t: t.since)
            if t.since <= on
        }
        for objective in self.states():
            if objective.goal is not None:
                key = f"availability.{objective.id}"
                found[key] = Target(
                    id=key,
                    comparator="gt" if objective.strict else "ge",
                    value=EXACT.multiply(objective.goal, Decimal(100)),
                    unit="%",
                    source=f"objective {objective.id}",
                )
        return found

    def lot_method(self, on: date) -> Literal["fifo", "lifo", "hifo", "average"]:
        """How the book of a session keeps its lots; first in, first out if no line says how."""
        past = [line for line in self.lot_methods if line.since <= on]
        return max(past, key=lambda line: line.since).method if past else "fifo"

    def mark_sources(self, on: date) -> tuple[str, ...]:
        """The sources of marks, the best first; none where no line says so."""
        past = [line for line in self.mark_orders if line.since <= on]
        return max(past, key=lambda line: line.since).order if past else ()

    def number(self, threshold: str, on: date) -> Decimal:
        """The value of a threshold that must be there; raises :class:`ValidationFailed`."""
        target = self.targets(on).get(threshold)
        if target is None:
            raise ValidationFailed(
                f"the policy has no {threshold!r} in force on {on}; add it to the policy file"
            )
        return target.value


def parse_policy(
    thresholds: str,
    objectives: Mapping[str, str],
    operations: str = "",
    maintenance: str = "",
    risk: str = "",
    compliance: str = "",
    retention: str = "",
    *,
    own_compliance: bool = True,
) -> Policy:
    """A policy from the text of the TOML files and of each objectives file, by file name.

    Without ``own_compliance`` the mapping is the one that comes with the service, and may speak of
    objectives and alerts that these files do not have.

    Raises :class:`ValidationFailed` naming the file, the field and what was expected.
    """
    table = read_tables(thresholds, "the policy file")
    try:
        rows = {name: table.pop(name, []) for name in ("threshold", "lot_method", "mark_sources")}
        for name, found in rows.items():
            if not isinstance(found, list):
                raise ValidationFailed(f"the policy file's {name!r} is wrong: expected [[{name}]]")
        parsed = tuple(Threshold.model_validate(row, by_alias=True) for row in rows["threshold"])
        methods = tuple(LotMethod.model_validate(row, by_alias=True) for row in rows["lot_method"])
        orders = tuple(
            MarkSources.model_validate(row, by_alias=True) for row in rows["mark_sources"]
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValidationFailed(f"the policy file's {where!r} is wrong: {first['msg']}") from None
    if table:
        raise ValidationFailed(
            f"the policy file has unknown tables {sorted(table)}; expected [[threshold]], "
            "[[lot_method]] and [[mark_sources]] only"
        )
    for what, lines in (("lot methods", methods), ("orders of mark sources", orders)):
        dates = [line.since for line in lines]
        if twice := sorted({d for d in dates if dates.count(d) > 1}):
            raise ValidationFailed(
                f"the policy file has two {what} from {twice[0]}; expected one line a date"
            )
    for line in orders:
        if again := sorted({name for name in line.order if line.order.count(name) > 1}):
            raise ValidationFailed(
                f"the policy file's mark_sources from {line.since} name {again[0]!r} twice; "
                "expected each source once, the best first"
            )
    in_force: set[tuple[str, date]] = set()
    for limit in parsed:
        if (limit.id, limit.since) in in_force:
            raise ValidationFailed(
                f"the policy file has {limit.id!r} twice from {limit.since}; expected one line a "
                "date"
            )
        in_force.add((limit.id, limit.since))
    named = (f"{name}\n{objectives[name]}" for name in sorted(objectives))
    texts = [thresholds, *named, operations, maintenance, risk, compliance, retention]
    catalogue = parse_objectives(objectives)
    watched = {o.id for o in catalogue if isinstance(o.indicator, State)}
    run = parse_operations(operations)
    return Policy(
        thresholds=parsed,
        objectives=catalogue,
        operations=run,
        maintenance=parse_maintenance(maintenance, watched),
        digest=hashlib.sha256("\0".join(texts).encode()).hexdigest(),
        lot_methods=methods,
        mark_orders=orders,
        risk=parse_risk(risk),
        compliance=parse_compliance(
            compliance,
            {o.slo.replace("-", "_") if o.composite else o.id for o in catalogue if o.goal}
            if own_compliance
            else None,
            {alert.id for alert in run.alerts} if own_compliance else None,
        ),
        retention=parse_retention(retention),
    )
