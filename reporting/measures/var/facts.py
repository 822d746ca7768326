"""What is sealed of the market risk of one close."""

from __future__ import annotations

from datetime import date
from typing import Literal

from ...model import Currency, Exact, Missing, Value, Why

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


class Share(Value):
    """What one strategy, agent or instrument has of the risk, in base, to the cent.

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
    """The estimate made at one close, which holds for the next session.

    ``clean`` is the P&L of the session itself without trading: the positions that it opened with,
    at its closing marks and rates.
    """

    day: date
    base: Currency
    observations: int
    first: date
    last: date
    gross: Exact
    net: Exact
    levels: tuple[VarLevel, ...]
    left_out: tuple[str, ...]
    estimates: tuple[Estimate, ...] = ()
    positions: tuple[Position, ...] = ()
    shares: tuple[Share, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    clean: Exact | Missing = NOT_THEN

    def at(self, level: str) -> VarLevel | None:
        """Historical VaR and ES at ``level``; None where the day was sealed without it."""
        return next((x for x in self.levels if x.level == level), None)


class VarFact(Value):
    """The estimates of one or more closes, in order of day."""

    days: tuple[VarDay, ...]
