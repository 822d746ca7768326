"""Payments that are no fill: cash flows by cell, and what the fees of the fills consist of."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ..model import EXACT, Finding, Frame, Missing, plain
from . import Cell, FeeItem, Transfer
from .ratios import is_number
from .sums import SAMPLES, is_currency, said

#: The field of a cell that a flow of a kind adds to.
RESULTS = {"funding": "funding", "interest": "interest", "charge": "charges"}
#: Kinds that move the cash of an account and are no result.
TRANSFERS = ("deposit", "withdrawal")

#: ISO 4217 for no currency: of an item whose own is not told.
NO_CURRENCY = "XXX"
ZERO = Decimal(0)

#: The kind of fees that no item tells of.
NOT_ITEMISED = "not itemised"

PaidKey = tuple[str, ...]  # strategy, agent, account, instrument, currency


@dataclass(frozen=True)
class Flows:
    """The session's flows: results by cell and field, transfers by account and currency."""

    results: Mapping[PaidKey, Mapping[str, Decimal]]
    transfers: Mapping[tuple[str, str], Decimal]


def read_flows(frame: Frame | Missing, known: Container[str]) -> tuple[Flows, list[Finding]]:
    """Sum the session's cash flows; those that can't be booked are counted."""
    results: dict[PaidKey, dict[str, Decimal]] = {}
    transfers: dict[tuple[str, str], Decimal] = {}
    bad = []
    for row in [] if isinstance(frame, Missing) else frame.table.to_dict("records"):
        kind, account, name = row["kind"], said(row["account_id"]), said(row["instrument_id"])
        amount, currency = row["amount"], row["currency"]
        sound = kind in RESULTS or kind in TRANSFERS
        sound = sound and account != "" and is_number(amount) and is_currency(currency)
        if not sound or (name and name not in known):
            bad.append(str(row["flow_id"]))
        elif kind in TRANSFERS:
            so_far = transfers.get((account, currency), Decimal(0))
            transfers[account, currency] = EXACT.add(so_far, amount)
        else:
            key = (said(row["strategy"]), said(row["agent"]), account, name, currency)
            fields = results.setdefault(key, {})
            field = RESULTS[kind]
            fields[field] = EXACT.add(fields.get(field, Decimal(0)), amount)
    flows = Flows(results, transfers)
    if not bad:
        return flows, []
    finding = Finding(
        check="cash flow not booked",
        severity="error",
        count=len(bad),
        detail="no account, no amount, no currency, an instrument that is unknown, or a kind that "
        f"is none of {', '.join([*RESULTS, *TRANSFERS])}",
        samples=tuple(sorted(bad)[:SAMPLES]),
    )
    return flows, [finding]


def carried_transfers(
    before: Iterable[Transfer], moved: Mapping[tuple[str, str], Decimal]
) -> tuple[Transfer, ...]:
    """Balances so far with the session's transfers."""
    balances = {(t.account, t.currency): t.balance for t in before}
    for key, amount in moved.items():
        balances[key] = EXACT.add(balances.get(key, Decimal(0)), amount)
    return tuple(
        Transfer(account=account, currency=currency, balance=balances[account, currency])
        for account, currency in sorted(balances)
    )


def itemised(
    frame: Frame | Missing, cells: Iterable[Cell], known: Container[str]
) -> tuple[tuple[FeeItem, ...] | Missing, list[Finding]]:
    """Fee items by cell, kind and currency; with what they lack they add up to the cells' fees."""
    if isinstance(frame, Missing):
        return frame, []
    found: dict[tuple[str, ...], Decimal] = {}
    unknown: dict[tuple[str, ...], int] = {}
    samples: set[str] = set()
    for row in frame.table.to_dict("records"):
        # Items of fills that are not booked are told of with their fills.
        if not said(row["account_id"]) or said(row["instrument_id"]) not in known:
            continue
        names = ("strategy", "agent", "account_id", "instrument_id", "kind")
        currency = row["currency"] if is_currency(row["currency"]) else NO_CURRENCY
        key = (*(said(row[name]) for name in names), currency)
        lacking_amount = row["items"] if currency == NO_CURRENCY else row["unknown"]
        if lacking_amount:
            unknown[key] = unknown.get(key, 0) + int(lacking_amount)
            samples.update(row["unknown_samples"] or ())
        amount = row["amount"] if is_number(row["amount"]) and currency != NO_CURRENCY else ZERO
        found[key] = EXACT.add(found.get(key, ZERO), amount)
    rest = {cell.key: cell.fees for cell in cells if cell.fees}
    for key, amount in found.items():
        if key[5] == NO_CURRENCY:
            continue
        payer = (*key[:4], key[5])
        rest[payer] = EXACT.subtract(rest.get(payer, Decimal(0)), amount)
    lacking = {payer: amount for payer, amount in rest.items() if amount}
    for payer, amount in lacking.items():
        key = (*payer[:4], NOT_ITEMISED, payer[4])
        found[key] = EXACT.add(found.get(key, Decimal(0)), amount)
    items = tuple(
        FeeItem(
            strategy=key[0], agent=key[1], account=key[2], instrument=key[3], kind=key[4],
            currency=key[5], amount=found[key], unknown=unknown.get(key, 0),
        )
        for key in sorted(found)
    )  # fmt: skip
    return items, [*_unknown(sum(unknown.values()), samples), *_lacking(lacking)]


def _unknown(count: int, samples: Iterable[str]) -> list[Finding]:
    if not count:
        return []
    return [
        Finding(
            check="fee item without its amount",
            severity="error",
            count=count,
            detail="no amount, NaN, infinite or no currency: listed under its kind as not known; "
            "expected a number, 0 where nothing was charged. Fills:",
            samples=tuple(sorted(samples)[:SAMPLES]),
        )
    ]


def _lacking(lacking: Mapping[tuple[str, ...], Decimal]) -> list[Finding]:
    if not lacking:
        return []
    by_currency: dict[str, Decimal] = {}
    for payer, amount in lacking.items():
        by_currency[payer[4]] = EXACT.add(by_currency.get(payer[4], Decimal(0)), amount)
    sums = ", ".join(f"{plain(by_currency[c])} {c}" for c in sorted(by_currency))
    return [
        Finding(
            check="fee items differ from the fees of their fills",
            severity="warning",
            count=len(lacking),
            detail=f"fees less items: {sums}; shown as {NOT_ITEMISED}",
            samples=tuple(" · ".join(payer) for payer in sorted(lacking)[:SAMPLES]),
        )
    ]
