"""Corporate actions: splits, dividends and expiries, in their order of time between the fills.

An action is told by cell, since the cells of an account may stand on both sides of an instrument:
each receives or pays a dividend on the position that it held just before, each position is
multiplied by a split and settled by an expiry, without a fee. At one instant dividends come first,
then splits, then expiries; a fill of that very instant is after all of them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from ..model import EXACT, Finding, Frame, Missing, epoch_us
from . import CellRow, Split
from .fifo import Ints
from .sums import CELL, SAMPLES, grouped, is_currency, sum_by

#: In the order in which those of one instant take place.
KINDS = ("dividend", "split", "expiry")
#: A ratio with more decimals is taken for one that has no end, as 1/3 written in decimals.
RATIO_DECIMALS = 12

CellKey = tuple[str, str, str, str]  # strategy, agent, account, instrument


@dataclass(frozen=True)
class Action:
    """One action that can be booked; ``number`` is its ratio, amount or settlement price."""

    action_id: str
    instrument: str
    kind: str
    at: datetime
    number: Decimal
    currency: str

    @property
    def when_us(self) -> int:
        """Microseconds since 1970; what is executed before it is before the action."""
        return epoch_us(self.at)

    def as_split(self) -> Split:
        """For the book to remember."""
        return Split(instrument=self.instrument, at=self.at, ratio=self.number)


def read_actions(
    frame: Frame | Missing, known: Container[str]
) -> tuple[list[Action], list[Finding]]:
    """The session's actions in order; those that can't be booked are counted."""
    if isinstance(frame, Missing):
        return [], []
    good, bad = [], []
    for row in frame.table.to_dict("records"):
        if not is_sound(row, known):
            bad.append(str(row["action_id"]))
            continue
        kind = row["kind"]
        good.append(
            Action(
                action_id=str(row["action_id"]),
                instrument=str(row["instrument_id"]),
                kind=kind,
                at=row["effective_at"],
                number=_number(row),
                currency=row["currency"] if kind == "dividend" else "",
            )
        )
    good.sort(key=lambda a: (a.when_us, KINDS.index(a.kind), a.action_id))
    if not bad:
        return good, []
    finding = Finding(
        check="corporate action not booked",
        severity="error",
        count=len(bad),
        detail="instrument or kind unknown, no amount, a dividend without its currency, or a split "
        f"whose ratio is not above 0 or has more than {RATIO_DECIMALS} decimals: one without a "
        "finite decimal, as 1/3, can't be booked exactly",
        samples=tuple(sorted(bad)[:SAMPLES]),
    )
    return good, [finding]


def is_sound(row: Mapping[Any, Any], known: Container[str]) -> bool:
    """Whether an action can be booked."""
    kind, number = row["kind"], _number(row)
    if kind not in KINDS or row["instrument_id"] not in known or not is_number(number):
        return False
    if kind == "split":
        return bool(number > 0 and -number.normalize().as_tuple().exponent <= RATIO_DECIMALS)
    return kind != "dividend" or is_currency(row["currency"])


def _number(row: Mapping[Any, Any]) -> Any:
    return row["ratio"] if row["kind"] == "split" else row["amount"]


def is_number(value: Any) -> bool:
    """Whether a value from the ledger is a number at all."""
    return isinstance(value, Decimal) and value.is_finite()


@dataclass
class Standing:
    """One cell of an instrument that had actions, as they leave it; quantities in units of now.

    ``carried`` and ``fresh`` are the parts of its position from before the session and from the
    session's fills, ``counted`` the fills' net quantity that is in ``fresh``, as it was executed.
    """

    carried: Decimal = Decimal(0)
    fresh: Decimal = Decimal(0)
    counted: Decimal = Decimal(0)
    carried_settled: Decimal = Decimal(0)  # units × settlement price
    fresh_settled: Decimal = Decimal(0)
    dividends: dict[str, Decimal] = field(default_factory=dict)  # by currency

    @property
    def position(self) -> Decimal:
        """Signed units held."""
        return EXACT.add(self.carried, self.fresh)

    def trade(self, net: Decimal) -> None:
        """Add net signed units of fills."""
        self.fresh = EXACT.add(self.fresh, net)
        self.counted = EXACT.add(self.counted, net)

    def apply(self, action: Action) -> None:
        """What the action does to the cell."""
        if action.kind == "dividend":
            paid = EXACT.multiply(self.position, action.number)
            so_far = self.dividends.get(action.currency, Decimal(0))
            self.dividends[action.currency] = EXACT.add(so_far, paid)
        elif action.kind == "split":
            self.carried = EXACT.multiply(self.carried, action.number)
            self.fresh = EXACT.multiply(self.fresh, action.number)
        else:
            self.carried_settled = EXACT.fma(self.carried, action.number, self.carried_settled)
            self.fresh_settled = EXACT.fma(self.fresh, action.number, self.fresh_settled)
            self.carried = self.fresh = Decimal(0)


@dataclass(frozen=True)
class Settled:
    """The closing of one cell's position by an expiry, as if it were a fill without a fee."""

    cell: CellKey
    when_us: int
    signed: Decimal  # what closes the position
    price: Decimal


@dataclass(frozen=True)
class Acted:
    """Everything that a session's actions did."""

    actions: Sequence[Action]
    standings: Mapping[CellKey, Standing]
    settled: Sequence[Settled]

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits among the actions, in order of time."""
        return tuple(a.as_split() for a in self.actions if a.kind == "split")

    def later(self, instrument: str, when_us: int) -> tuple[Decimal, Decimal | None]:
        """Units that one unit of a fill at ``when_us`` becomes, and their settlement price.

        The price is None where no expiry of the session comes after the fill.
        """
        units = Decimal(1)
        for action in self.actions:
            if action.instrument == instrument and action.when_us > when_us:
                if action.kind == "expiry":
                    return units, action.number
                if action.kind == "split":
                    units = EXACT.multiply(units, action.number)
        return units, None


def act(
    actions: Sequence[Action],
    opening: Iterable[CellRow],
    table: pd.DataFrame,
    signed: Ints,
    scale_q: int,
) -> Acted:
    """Let the actions happen to every cell; ``signed`` (n,) are the fills' units of ``table``."""
    standings: dict[CellKey, Standing] = {}
    settled: list[Settled] = []
    touched = {a.instrument for a in actions}
    for row in opening:
        if row.instrument in touched and row.position:
            key = (row.strategy, row.agent, row.account, row.instrument)
            standing = standings.setdefault(key, Standing())
            standing.carried = EXACT.add(standing.carried, row.position)
    for name in sorted(touched):
        rows = np.flatnonzero((table["instrument_id"] == name).to_numpy())
        when = table["executed_us"].to_numpy()[rows]
        done = np.zeros(len(rows), bool)
        for action in (a for a in actions if a.instrument == name):
            before = (when < action.when_us) & ~done
            done |= before
            for key, net in _net(table, signed, rows[before], scale_q).items():
                standings.setdefault(key, Standing()).trade(net)
            for key in sorted(k for k in standings if k[3] == name):
                standing = standings[key]
                if action.kind == "expiry" and standing.position:
                    closing = EXACT.minus(standing.position)
                    settled.append(Settled(key, action.when_us, closing, action.number))
                standing.apply(action)
    return Acted(actions, standings, settled)


def _net(table: pd.DataFrame, signed: Ints, rows: Ints, scale_q: int) -> dict[CellKey, Decimal]:
    """Net signed quantity of some fills by cell."""
    code, cells = grouped(table.iloc[rows], CELL)
    net = sum_by(code, len(cells), signed[rows])
    found: dict[CellKey, Decimal] = {}
    for i, (strategy, agent, account, name) in enumerate(cells):
        found[strategy, agent, account, name] = EXACT.scaleb(Decimal(int(net[i])), -scale_q)
    return found
