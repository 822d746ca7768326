"""Corporate actions: splits, dividends and expiries, in their order of time between the fills.

An action is told by cell, since the cells of an account may stand on both sides of an instrument:
each receives or pays a dividend on the position that it held just before, each position is
multiplied by a split and settled by an expiry, without a fee. At one instant dividends come first,
then splits, then expiries; a fill of that very instant is after all of them.

A split whose result has an end as a decimal is kept to its last digit. Where it has none (100 at 1
for 3), or where the action says what is paid for fractions, each account keeps whole units, towards
0, as its custodian books it; the fraction is paid in cash at the action's amount, to the hundredth
of the currency, and closes with its share of the cost of the newest lots. In an account of several
cells the units and the cash are divided by running totals in the order of the cells, so that both
add up to the account's.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from ..model import EXACT, Finding, Frame, Missing, epoch_us
from . import CellRow, Split
from .fifo import Ints
from .instruments import Instrument
from .ratios import RATIO_DECIMALS, has_end, is_given, is_number, split_ratio
from .sums import CELL, SAMPLES, grouped, is_currency, sum_by

#: In the order in which those of one instant take place.
KINDS = ("dividend", "split", "expiry")
#: What is paid in lieu of fractions is rounded to this.
CENT = Decimal("0.01")
ZERO = Decimal(0)

CellKey = tuple[str, str, str, str]  # strategy, agent, account, instrument


@dataclass(frozen=True)
class Action:
    """One action that can be booked; ``number`` is its ratio, amount or settlement price.

    A split gives ``number`` new units for ``per`` old ones, and ``in_lieu`` for a new unit that a
    fraction is of.
    """

    action_id: str
    instrument: str
    kind: str
    at: datetime
    number: Decimal
    currency: str
    per: Decimal = Decimal(1)
    in_lieu: Decimal | None = None

    @property
    def when_us(self) -> int:
        """Microseconds since 1970; what is executed before it is before the action."""
        return epoch_us(self.at)

    def as_split(self) -> Split:
        """For the book to remember."""
        return Split(instrument=self.instrument, at=self.at, ratio=self.number, per=self.per)

    @property
    def keeps_fractions(self) -> bool:
        """Whether all that a split makes is kept: it has an end, and nothing is paid for parts."""
        return self.in_lieu is None and has_end(self.as_split().fraction)


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
        new, old = split_ratio(row) or (row["amount"], Decimal(1))
        good.append(
            Action(
                action_id=str(row["action_id"]),
                instrument=str(row["instrument_id"]),
                kind=kind,
                at=row["effective_at"],
                number=new if kind == "split" else row["amount"],
                currency=row["currency"] if kind == "dividend" else "",
                per=old if kind == "split" else Decimal(1),
                in_lieu=row["amount"] if kind == "split" and is_given(row["amount"]) else None,
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
        "whose ratio_new and ratio_old are not whole numbers above 0, or contradict its ratio, or "
        f"whose ratio alone is not above 0 or has more than {RATIO_DECIMALS} decimals: give 1 for "
        "3 as ratio_new and ratio_old",
        samples=tuple(sorted(bad)[:SAMPLES]),
    )
    return good, [finding]


def is_sound(row: Mapping[Any, Any], known: Container[str]) -> bool:
    """Whether an action can be booked."""
    kind, amount = row["kind"], row["amount"]
    if kind not in KINDS or row["instrument_id"] not in known:
        return False
    if kind == "split":
        return split_ratio(row) is not None and (not is_given(amount) or is_number(amount))
    return is_number(amount) and (kind != "dividend" or is_currency(row["currency"]))


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
    in_lieu: Decimal = Decimal(0)  # money paid for fractions
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
            self.carried = _times(self.carried, action)
            self.fresh = _times(self.fresh, action)
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
class InLieu:
    """An account's fraction of a split, paid in cash.

    ``kept`` units stay of those that the split makes, ``fraction`` does not. ``parts`` are each
    cell's share of the fraction and the money that it got for it.
    """

    account: str
    instrument: str
    kept: Decimal
    fraction: Fraction
    parts: tuple[tuple[CellKey, Fraction, Decimal], ...]


@dataclass(frozen=True)
class Acted:
    """Everything that a session's actions did.

    ``in_lieu`` has for each split, in their order, the accounts that keep whole units only.
    """

    actions: Sequence[Action]
    standings: Mapping[CellKey, Standing]
    settled: Sequence[Settled]
    in_lieu: Mapping[str, Sequence[InLieu]]
    unpaid: Sequence[str] = ()  # split and account, of fractions that nobody said a price of

    def findings(self) -> list[Finding]:
        """Fractions that were given away for nothing, for lack of a price."""
        if not self.unpaid:
            return []
        return [
            Finding(
                check="fraction of a split without its price",
                severity="error",
                count=len(self.unpaid),
                detail="the account keeps whole units and its fraction closed at 0; expected what "
                "is paid for one unit as the action's amount, in the instrument's currency",
                samples=tuple(self.unpaid[:SAMPLES]),
            )
        ]

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
                    units = _rounded(Fraction(units) * action.as_split().fraction)
        return units, None


def act(
    actions: Sequence[Action],
    opening: Iterable[CellRow],
    table: pd.DataFrame,
    signed: Ints,
    scale_q: int,
    known: Mapping[str, Instrument],
) -> Acted:
    """Let the actions happen to every cell; ``signed`` (n,) are the fills' units of ``table``."""
    in_lieu: dict[str, list[InLieu]] = {}
    unpaid: list[str] = []
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
            if action.kind == "split" and not action.keeps_fractions:
                cells = {k: s for k, s in sorted(standings.items()) if k[3] == name}
                found = _whole_units(action, cells, known[name])
                in_lieu[action.action_id] = found
                if action.in_lieu is None:
                    unpaid += [f"{action.action_id} / {f.account}" for f in found if f.fraction]
                continue
            for key in sorted(k for k in standings if k[3] == name):
                standing = standings[key]
                if action.kind == "expiry" and standing.position:
                    closing = EXACT.minus(standing.position)
                    settled.append(Settled(key, action.when_us, closing, action.number))
                standing.apply(action)
    return Acted(actions, standings, settled, in_lieu, sorted(unpaid))


def _whole_units(
    action: Action, cells: Mapping[CellKey, Standing], instrument: Instrument
) -> list[InLieu]:
    """Split the cells of each account so that it keeps whole units; fractions are paid."""
    ratio = action.as_split().fraction
    # Odd lots are held all the same; where less than one unit is traded, less is kept.
    grid = instrument.lot if 0 < instrument.lot < 1 else Decimal(1)
    paid = Fraction(action.in_lieu or 0) * Fraction(instrument.multiplier)
    found = []
    for account in sorted({key[2] for key in cells}):
        own = [(key, standing) for key, standing in cells.items() if key[2] == account]
        side = -1 if sum(Fraction(s.position) for _, s in own) < 0 else 1
        before = made = Fraction(0)
        kept = cash = ZERO
        parts = []
        for key, standing in own:
            before += Fraction(standing.position)
            exact = before * ratio
            units = EXACT.multiply(side * Decimal(exact * side // Fraction(grid)), grid)
            money = _cents((exact - Fraction(units)) * paid)
            share = (exact - made) - Fraction(EXACT.subtract(units, kept))
            got = EXACT.subtract(money, cash)
            position = EXACT.subtract(units, kept)
            fresh = _rounded(Fraction(standing.fresh) * ratio)
            standing.fresh = fresh if standing.carried else position
            standing.carried = EXACT.subtract(position, standing.fresh)
            standing.in_lieu = EXACT.add(standing.in_lieu, got)
            parts.append((key, share, got))
            made, kept, cash = exact, units, money
        found.append(InLieu(account, action.instrument, kept, made - Fraction(kept), tuple(parts)))
    return found


def _times(position: Decimal, split: Action) -> Decimal:
    return EXACT.divide(EXACT.multiply(position, split.number), split.per)


def _rounded(units: Fraction) -> Decimal:
    """Units to twelve decimals: where there are more, only what explains a result is told so."""
    scaled = round(units * 10**RATIO_DECIMALS) if not has_end(units) else None
    if scaled is not None:
        return EXACT.scaleb(Decimal(scaled), -RATIO_DECIMALS)
    return EXACT.divide(Decimal(units.numerator), Decimal(units.denominator))


def _cents(money: Fraction) -> Decimal:
    return EXACT.multiply(Decimal(round(money / Fraction(CENT))), CENT)


def _net(table: pd.DataFrame, signed: Ints, rows: Ints, scale_q: int) -> dict[CellKey, Decimal]:
    """Net signed quantity of some fills by cell."""
    code, cells = grouped(table.iloc[rows], CELL)
    net = sum_by(code, len(cells), signed[rows])
    found: dict[CellKey, Decimal] = {}
    for i, (strategy, agent, account, name) in enumerate(cells):
        found[strategy, agent, account, name] = EXACT.scaleb(Decimal(int(net[i])), -scale_q)
    return found
