"""Implementation shortfall of the order chains that became final, exactly, with both splits.

    s[Σx(p̄ − Pd) + (X − Σx)(Pn − Pd)] + fees

X was ordered and Σx filled, at p̄ on average; Pd is the price at the decision, Pa at arrival, Pn the
mid when the chain ended. In parts, s left out:

    Perold    delay Σx(Pa − Pd)   trading Σx(p̄ − Pa)   opportunity (X − Σx)(Pn − Pd)   fees
    Kissell   delay  X(Pa − Pd)   trading Σx(p̄ − Pa)   opportunity (X − Σx)(Pn − Pa)   fees

Source: Perold, "The implementation shortfall" (1988); Kissell, "The Science of Algorithmic
Trading" (2013), expanded implementation shortfall.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from ...model import EXACT, Frame, Missing
from ..fifo import Ints, rescale
from ..session import CELL, grouped
from .market import Mids
from .orders import Final
from .sums import Limbs, doubled, negated, products, summed
from .values import FeeApart, ShortfallCell


def shortfall(final: Final, orders: Frame, mids: Mids | Missing) -> tuple[ShortfallCell, ...]:
    """Sums by cell over the accepted chains of known instruments."""
    known_unit = final.unit < len(final.units.units) - 1
    final = final.subset(np.flatnonzero(~final.rejected & known_unit))
    chains, got, table = final.chains, final.got, final.table
    n = len(final.last)
    if not n:
        return ()
    control = orders.coverage.control
    scales = [int(control[f"{name}_price_scale"]) for name in ("decision", "arrival")]
    end_scale = mids.scale if isinstance(mids, Mids) else 0
    scale_p = max(*scales, end_scale, got.amount_scale - final.quantity_scale)
    decision, arrival = (
        doubled(rescale(chains.table[f"{name}_price"].to_numpy()[final.root], scale_p - scale))
        for name, scale in zip(("decision", "arrival"), scales, strict=True)
    )
    covered = chains.table["decision_price_known"].to_numpy()[final.root]
    covered = covered & chains.table["arrival_price_known"].to_numpy()[final.root]
    left = final.ordered - final.filled
    end, end_known = _end(final, mids)
    end = np.where(end_known, rescale(end, scale_p - end_scale), decision)
    covered = covered & (end_known | (left == 0))

    side = np.where(covered, table["side"].to_numpy(), 0)  # 0 leaves a chain out of every sum
    code, cells = grouped(table, CELL)
    rows = 2 * n + 1
    # Σ quantity × price of the chain, doubled, at the scale of quantity × price here.
    power = final.quantity_scale + scale_p - got.amount_scale
    paid: Limbs = []
    for shift, part in chains.limbs_with_ancestors(got.amount):
        whole = part[final.last] * side
        paid += [(shift + 1 + s, p) for s, p in products(whole, _constant(10**power, n), rows)]
    signed = final.filled * side
    parts: dict[str, Limbs] = {
        "notional": products(final.ordered * np.abs(side), np.abs(decision), rows),
        "delay_perold": products(signed, arrival - decision, rows),
        "delay_kissell": products(final.ordered * side, arrival - decision, rows),
        "trading": paid + negated(products(signed, arrival, rows)),
        "opportunity_perold": products(left * side, end - decision, rows),
        "opportunity_kissell": products(left * side, end - arrival, rows),
    }
    totals = {name: summed(limbs, code, len(cells)) for name, limbs in parts.items()}
    count = summed([(0, covered.astype(np.int64))], code, len(cells))
    chains_in = summed([(0, np.ones(n, np.int64))], code, len(cells))
    weight = covered.astype(np.int64)
    fees = _fees(final, got.fee, code, len(cells), weight)
    apart = {c: _fees(final, x, code, len(cells), weight) for c, x in got.fees_apart.items()}
    unit_of_cell = np.zeros(len(cells), np.int64)
    unit_of_cell[code] = final.unit
    scale = final.quantity_scale + scale_p
    found = [
        ShortfallCell(
            strategy=key[0],
            agent=key[1],
            account=key[2],
            instrument=key[3],
            currency=final.units.units[unit_of_cell[i]][0],
            chains=int(chains_in[i]),
            covered=int(count[i]),
            **{
                name: final.units.half(int(unit_of_cell[i]), int(total[i]), scale)
                for name, total in totals.items()
            },
            fees=EXACT.scaleb(Decimal(int(fees[i])), -got.fee_scale),
            fees_apart=tuple(
                FeeApart(currency=c, amount=EXACT.scaleb(Decimal(int(x[i])), -got.fee_scale))
                for c, x in apart.items()
                if x[i]
            ),
        )
        for i, key in enumerate(cells)
    ]
    return tuple(sorted(found, key=lambda cell: cell.key))


def _constant(value: int, n: int) -> Ints:
    """An array of one number, Python's if it needs be."""
    return np.full(n, value, dtype=np.int64 if value < 2**62 else object)


def _end(final: Final, mids: Mids | Missing) -> tuple[Ints, Ints]:
    """The mid, doubled, when each chain ended, and whether there was one."""
    n = len(final.last)
    if not isinstance(mids, Mids):
        return np.zeros(n, np.int64), np.zeros(n, bool)
    table = final.chains.table
    code = mids.line.codes(table["instrument_id"].cat.categories)
    code = code[table["instrument_id"].cat.codes.to_numpy()[final.last]]
    keys = mids.line.keys(code, table["done_us"].to_numpy()[final.last])
    order = np.argsort(keys)
    found, there = mids.as_of(keys[order])
    end, known = np.empty_like(found), np.empty_like(there)
    end[order], known[order] = found, there
    return end, known


def _fees(final: Final, fee: Limbs, code: Ints, groups: int, weight: Ints) -> Ints:
    """Fees of the covered chains by cell."""
    mine = [(s, p[final.last] * weight) for s, p in final.chains.limbs_with_ancestors(fee)]
    return summed(mine, code, groups)
