"""What is sealed of the market risk of one close."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from ...model import Currency, Exact, Missing, Value, Why, exact_sum

Method = Literal["normal", "cornish_fisher", "ewma", "filtered"]
#: The levels at which components are measured: Basel's for VaR, and its own for ES (MAR33).
VAR_LEVEL, ES_LEVEL = "0.99", "0.975"
NOT_THEN = Missing(why=Why.NOT_MEASURED, detail="sealed before this was measured")


class VarLevel(Value):
    """Historical VaR and ES at one confidence level, in base currency, quantised to the cent."""

    level: str
    var: Exact
    es: Exact


class Estimate(Value):
    """VaR and ES by another method, to the cent; Missing where the method has no answer."""

    method: Method
    level: str
    var: Exact | Missing
    es: Exact | Missing


class Position(Value):
    """What one strategy × agent holds of one instrument at the close: its value in base, exact."""

    strategy: str
    agent: str
    instrument: str
    symbol: str
    currency: Currency
    value: Exact


class LeftOut(Value):
    """A position of one strategy × agent that the estimate does not cover, and why.

    ``value`` is what it stands for, in base; Missing where it has no mark or rate, and then no
    exposure counts it either. A day that was sealed before values were kept names its instruments
    only: whose they are is not known then.
    """

    strategy: str = ""
    agent: str = ""
    instrument: str
    symbol: str
    value: Exact | Missing
    reason: Missing


def _from_names(given: Any) -> Any:
    """What older seals have, names of instruments, as what is sealed now."""
    if not isinstance(given, Sequence):
        return given
    return tuple(
        LeftOut(instrument=x, symbol=x, value=NOT_THEN, reason=NOT_THEN)
        if isinstance(x, str)
        else x
        for x in given
    )


class Share(Value):
    """What one strategy, agent or instrument has of the risk, in base, to the cent.

    Of the positions that the estimate covers: what was left out is in none of the figures.

    ``var`` figures are at :data:`VAR_LEVEL`, ``es`` figures at :data:`ES_LEVEL`. ``part`` is the
    component, which sums to the total over all of the same kind; ``added`` the total less what it
    would be without it; ``alone`` that of its own positions only; ``normal`` the component of the
    normal method. ``exposure`` is the net, ``gross`` the gross value.
    """

    kind: Literal["strategy", "agent", "instrument"]
    name: str
    label: str
    exposure: Exact
    gross: Exact
    part_var: Exact
    part_es: Exact
    added_var: Exact
    added_es: Exact
    alone_var: Exact
    alone_es: Exact
    normal_var: Exact
    normal_es: Exact


class Outcome(Value):
    """What the closing positions would have won or lost on one day of the window, to the cent."""

    day: date
    amount: Exact


class VarDay(Value):
    """The positions at one close, and the estimate made of them, which holds for the next session.

    ``positions``, ``gross`` and ``net`` are of everything that has a mark and a rate, whatever its
    history. The estimate is of those positions that are not ``left_out``; where there is none
    ``levels`` is empty and ``unestimated`` says why. ``clean`` is the P&L of the session itself
    without trading: the positions that it opened with, at its closing marks and rates.
    """

    day: date
    base: Currency
    observations: int
    first: date | None
    last: date | None
    gross: Exact
    net: Exact
    levels: tuple[VarLevel, ...]
    left_out: Annotated[tuple[LeftOut, ...], BeforeValidator(_from_names)]
    unestimated: Missing | None = None
    estimates: tuple[Estimate, ...] = ()
    positions: tuple[Position, ...] = ()
    shares: tuple[Share, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    clean: Exact | Missing = NOT_THEN

    def at(self, level: str) -> VarLevel | Missing:
        """Historical VaR and ES at ``level``, or why there are none."""
        found = next((x for x in self.levels if x.level == level), None)
        return found or self.unestimated or NOT_THEN

    @property
    def is_flat(self) -> bool:
        """Whether no position is open."""
        return self.unestimated is not None and self.unestimated.why is Why.NO_TRADES

    @property
    def is_whole(self) -> bool:
        """Whether the estimate covers every open position; none needs none."""
        return not self.left_out

    @property
    def without(self) -> Iterator[tuple[LeftOut, Exact | Missing]]:
        """One of each instrument that is left out, with the value of all its positions."""
        of: dict[str, list[LeftOut]] = {}
        for x in self.left_out:
            of.setdefault(x.instrument, []).append(x)
        for name in sorted(of):
            # Either all of an instrument has a value or nothing of it.
            known = [x.value for x in of[name] if not isinstance(x.value, Missing)]
            yield of[name][0], exact_sum(known) if known else of[name][0].value


class VarFact(Value):
    """The estimates of one or more closes, in order of day."""

    days: tuple[VarDay, ...]
