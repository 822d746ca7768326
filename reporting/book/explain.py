"""P&L explain: what the result of each cell's trading comes from, in its own currency.

    carried + intraday + corrections  =  change of market value − what its fills cost
                                         + what its expiries brought

The left side is worked out from positions and prices, here; the right side is told by the cells'
cash and value. Their difference is the residual that a report shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from ..model import EXACT, Missing, epoch_us
from . import Beside, Cell, CellRow, Move
from .actions import Acted, CellKey
from .instruments import Instrument
from .ratios import is_number
from .sums import said

ZERO = Decimal(0)


def moves(
    opening: Iterable[CellRow],
    cells: Iterable[Cell],
    known: Mapping[str, Instrument],
    acted: Acted,
    corrected: Mapping[CellKey, Decimal],
    paid: Mapping[CellKey, Decimal],
) -> tuple[Move, ...]:
    """One a cell that held or traded its instrument; ``paid`` is what its fills cost, signed,
    ``corrected`` what :func:`corrections` found.

    Where there is no closing mark and none is needed, everything was opened and closed in the
    session, and all of it counts as intraday.
    """
    before: dict[tuple[str, ...], CellRow] = {
        (c.strategy, c.agent, c.account, c.instrument, c.currency): c for c in opening
    }
    found = []
    for cell in cells:
        instrument = known.get(cell.instrument)
        row = before.get(cell.key)
        if instrument is None or instrument.currency != cell.currency:
            continue
        key: CellKey = (cell.strategy, cell.agent, cell.account, cell.instrument)
        changed = corrected.get(key, ZERO)
        if not (cell.fills or changed or (row and row.position)):
            continue
        held = _worth(cell, row, instrument, acted, key)
        if held is None or cell.value_open is None or cell.value_close is None:
            found.append(_move(cell.key, None, None, None))
            continue
        carried = EXACT.subtract(held[0], cell.value_open)
        traded = EXACT.subtract(held[1], paid.get(key, ZERO))
        found.append(_move(cell.key, carried, EXACT.subtract(traded, changed), changed))
    return tuple(found)


def _move(
    key: tuple[str, ...],
    carried: Decimal | None,
    intraday: Decimal | None,
    corrections: Decimal | None,
) -> Move:
    strategy, agent, account, instrument, currency = key
    return Move(
        strategy=strategy,
        agent=agent,
        account=account,
        instrument=instrument,
        currency=currency,
        carried=carried,
        intraday=intraday,
        corrections=corrections,
    )


def _worth(
    cell: Cell, row: CellRow | None, instrument: Instrument, acted: Acted, key: CellKey
) -> tuple[Decimal, Decimal] | None:
    """Value of the carried position and of the session's net fills, at marks and settlements.

    None where a mark is needed and there is none.
    """
    net = EXACT.subtract(cell.bought, cell.sold)
    carried, fresh = row.position if row else ZERO, net
    settled = [ZERO, ZERO]
    standing = acted.standings.get(key)
    if standing is not None:
        carried = standing.carried
        fresh = EXACT.add(standing.fresh, EXACT.subtract(net, standing.counted))
        settled = [
            EXACT.multiply(units_by_price, instrument.multiplier)
            for units_by_price in (standing.carried_settled, standing.fresh_settled)
        ]
        # With what was held before the session, if anything was.
        paid = 0 if row and row.position else 1
        settled[paid] = EXACT.add(settled[paid], standing.in_lieu)
    values = [instrument.value(carried), instrument.value(fresh)]
    if None in values:
        return None
    first, second = (EXACT.add(v or ZERO, s) for v, s in zip(values, settled, strict=True))
    return first, second


def corrections(
    beside: Beside, known: Mapping[str, Instrument], acted: Acted
) -> dict[CellKey, Decimal]:
    """What corrections in force are worth at the close beyond their price, less what fills as
    first recorded would be that are no longer in force; by cell."""
    sums: dict[CellKey, Decimal] = {}
    for frame, sign in ((beside.correcting, 1), (beside.replaced, -1)):
        seen = set()
        for row in [] if isinstance(frame, Missing) else frame.table.to_dict("records"):
            # A correction that was corrected itself never counted as first recorded.
            if (sign < 0 and row["kind"] != "new") or row["fill_id"] in seen:
                continue
            seen.add(row["fill_id"])
            key: CellKey = (
                *(said(row["strategy"]), said(row["agent"])),
                *(said(row["account_id"]), said(row["instrument_id"])),
            )
            gain = _gain(row, known.get(key[3]), acted)
            if gain is not None and key[2]:
                sums[key] = EXACT.add(sums.get(key, ZERO), gain if sign > 0 else EXACT.minus(gain))
    return sums


def _gain(row: Mapping[Any, Any], instrument: Instrument | None, acted: Acted) -> Decimal | None:
    """What a fill earned from its price to the close; None where it can't be told."""
    numbers = (row["quantity"], row["price"])
    if instrument is None or not all(map(is_number, numbers)) or row["side"] not in (1, -1):
        return None
    units, settlement = acted.later(row["instrument_id"], epoch_us(row["executed_at"]))
    end = settlement if settlement is not None else instrument.price
    if end is None:
        return None
    signed = EXACT.multiply(row["quantity"], Decimal(int(row["side"])))
    move = EXACT.subtract(EXACT.multiply(units, end), row["price"])
    return instrument.worth(signed, move)
