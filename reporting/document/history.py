"""The facts that a report rests on: of its own days, and of the days before them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, cast

from ..facts import MEASURES, fact_from
from ..measures import Measure
from ..measures.alerts import ALERTS, with_incidents
from ..measures.incidents import INCIDENTS
from ..measures.var import VarFact
from ..model import Missing, Why
from ..seal import SealedDay

BY_NAME = {measure.name: measure for measure in MEASURES}
#: Absences that say something about the day; any other is a gap and makes a report INCOMPLETE.
NO_GAP = (Why.NO_SESSION, Why.NO_TRADES, Why.NO_ORDERS)
#: The day was sealed by a version that did not have the measure yet.
UNKNOWN_THEN = Missing(why=Why.NOT_MEASURED, detail="sealed before this was measured")
NEVER_SEALED = Missing(why=Why.NOT_SEALED, detail="the day was never closed")
Dated = list[tuple[date, Any]]


def absence(fact: object) -> Missing | None:
    """Why a fact is not there, or lacks what its measure is for; None where it has it."""
    if isinstance(fact, VarFact) and fact.days:
        return fact.days[-1].unestimated
    return fact if isinstance(fact, Missing) else None


@dataclass(frozen=True)
class Cited:
    """A sealed day together with where it stands in the store."""

    sealed: SealedDay
    digest: str
    sealed_at: datetime


@dataclass(frozen=True)
class Excerpt:
    """A few facts of a sealed day, by measure, as JSON: all that a long history needs of it.

    Whoever makes one has checked the whole day's bytes against its digest. A measure that the day
    was sealed without is not among ``facts``. A fact is parsed when it is first asked for.
    """

    day: date
    revision: int
    digest: str
    session: bool
    known_at: datetime
    sealed_at: datetime
    reason: str
    facts: Mapping[str, bytes | Missing]
    flash: bool = False


@dataclass(frozen=True)
class Earlier:
    """The sealed days before those that a report reads in full, as far back as it counts.

    ``began`` is the first day that was ever sealed, None while none is; ``facts_of`` names the
    measures that the excerpts were made of. ``superseded`` are the revisions that restated days
    had before, in order: of any day up to the period's last, those read in full among them.
    """

    began: date | None = None
    facts_of: tuple[str, ...] = ()
    days: tuple[Excerpt, ...] = ()
    superseded: tuple[Excerpt, ...] = ()


#: For a report that looks at whole days only.
NOTHING_EARLIER = Earlier()


class Facts:
    """The facts of the period's days and of the sealed days before it, by measure.

    ``before`` holds calendar days, without a gap or with: comparisons and error budgets need them.
    Its last ``trail`` sessions stand in sparklines and give the VaR of the period's first session.
    Facts are read from a sealed day when first asked for.
    """

    def __init__(
        self,
        days: Sequence[Cited],
        before: Sequence[Cited],
        trail: int,
        unsealed: Sequence[date] = (),
        earlier: Earlier = NOTHING_EARLIER,
    ) -> None:
        self.unsealed = tuple(unsealed)
        self.earlier = earlier
        self.days = [cited.sealed for cited in days]
        self.before = [cited.sealed for cited in before]
        sessions = [day for day in self.before if day.session]
        self._trail = sessions[-trail:] if trail else []
        self._excerpts = {x.day: x.facts for x in earlier.days}
        self._sealed = {d.day: d.facts for d in (*self.before, *self.days)}
        self._read = lru_cache(maxsize=None)(self._read_once)

    def of(self, measure: Measure[Any] | str) -> Dated:
        """(day, fact or Missing) of every day of the period that the measure is made on.

        A day that was never sealed is one of them where the measure is made every day: of a day
        without a seal nobody knows whether it was a session.
        """
        of = BY_NAME[measure] if isinstance(measure, str) else measure
        sealed = [
            (day, fact)
            for day, fact in self._all(of, self.days)
            if not (isinstance(fact, Missing) and fact.why is Why.NO_SESSION)
        ]
        never = [(day, NEVER_SEALED) for day in self.unsealed] if of.every_day else []
        return sorted([*sealed, *never], key=lambda pair: pair[0])

    def with_trail(self, name: str) -> Dated:
        """The same, with the last sessions before the period in front."""
        return [*self._all(name, self._trail), *self.of(name)]

    def since(self, name: str, first: date) -> Dated:
        """(day, fact or Missing) of every sealed day from ``first`` to the period's end."""
        return self._all(name, [day for day in (*self.before, *self.days) if day.day >= first])

    def history(self, name: str, first: date) -> Dated:
        """(day, fact or Missing) of every sealed session from ``first`` to the period's end.

        Reaches beyond the days that are read in full, for the measures that
        ``earlier.facts_of`` names; sessions without a seal are not among them.
        """
        assert name in self.earlier.facts_of or not self.earlier.days, name
        old = [x.day for x in self.earlier.days if x.session and x.day >= first]
        read = [day for day in (*self.before, *self.days) if day.session and day.day >= first]
        return [*((day, self._read(name, day)) for day in old), *self._all(name, read)]

    def began(self) -> date:
        """The first day that was ever sealed, as far as this report knows."""
        seen = [x.day for x in self.earlier.days] or [d.day for d in (*self.before, *self.days)]
        return self.earlier.began or seen[0]

    def sealed(self, name: str) -> list[tuple[date, Mapping[str, Any] | None]]:
        """(day, fact as it is sealed) of every sealed day, those of excerpts among them.

        For who needs little of many of them.
        """
        old = [(x.day, as_sealed(x, name)) for x in self.earlier.days]
        return [*old, *((day.day, day.facts.get(name)) for day in (*self.before, *self.days))]

    def merged(self, measure: Measure[Any]) -> Any:
        """The period's fact, or the Missing that speaks for all its days."""
        pairs = self.of(measure)
        present = [(day, fact) for day, fact in pairs if not isinstance(fact, Missing)]
        if present:
            merged = measure.merge(present)
            return self._told(merged, self.merged(INCIDENTS)) if measure is ALERTS else merged
        if pairs:
            return pairs[-1][1]
        return Missing(why=Why.NO_SESSION, detail=self.days[-1].note)

    def _all(self, measure: Measure[Any] | str, days: Sequence[SealedDay]) -> Dated:
        name = measure if isinstance(measure, str) else measure.name
        return [(day.day, self._read(name, day.day)) for day in days]

    def _read_once(self, name: str, on: date) -> Any:
        if on in self._excerpts:
            found = self._excerpts[on].get(name, UNKNOWN_THEN)
            if isinstance(found, Missing):
                return found
            return BY_NAME[name].fact.model_validate_json(found, strict=False)
        sealed = self._sealed[on].get(name)
        if sealed is None:
            return UNKNOWN_THEN
        fact = fact_from(BY_NAME[name], sealed)
        return self._told(fact, self._read(INCIDENTS.name, on)) if name == ALERTS.name else fact

    def _told(self, alerts: Any, incidents: Any) -> Any:
        """An alerts fact with what incidents tell of it: they are often recorded later."""
        if isinstance(alerts, Missing):
            return alerts
        known = incidents if isinstance(incidents, Missing) else incidents.incidents
        return with_incidents(alerts, known)


def as_sealed(excerpt: Excerpt, name: str) -> Mapping[str, Any] | None:
    """A fact of an excerpt as the JSON that it was sealed as."""
    fact = excerpt.facts.get(name)
    if isinstance(fact, Missing):
        return fact.model_dump(mode="json")
    return None if fact is None else cast(Mapping[str, Any], json.loads(fact))
