"""The rows of the sample firm's own tables, one named tuple a table, one field a column.

They are deliberately not the ledger contract's shape: a firm's tables are its own, and
``sql/ledger/examples/demo.sql`` maps these to the contract by views. Times are whole milliseconds
since 1970 (UTC); prices, sizes and fees are exact ``Decimal``; None is SQL's null.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import NamedTuple


class Security(NamedTuple):
    """A version of an instrument. ``contract_size`` is the value of one price unit of one unit."""

    code: str
    label: str
    ccy: str
    contract_size: Decimal
    price_step: Decimal
    size_step: Decimal
    entered_at: int


class Parent(NamedTuple):
    """What a strategy wanted: one row a cancel/replace chain. ``direction`` is BUY or SELL."""

    parent_id: str
    strategy: str
    desk: str
    book: str
    code: str
    direction: str
    decided_at: int | None
    mid_when_decided: Decimal | None


class Child(NamedTuple):
    """An order in the market. An amendment is a new child whose ``total_size`` is the chain's."""

    child_id: str
    parent_id: str
    amends: str | None
    total_size: Decimal
    sent_at: int
    mid_when_sent: Decimal | None


class ChildEvent(NamedTuple):
    """A state that a child reached: WORKING, DONE, AMENDED, CXL, REJ or EXP."""

    child_id: str
    state: str
    reason: str | None
    happened_at: int
    entered_at: int


class Execution(NamedTuple):
    """An execution (N), a correction (C) that replaces one in full, or a bust (B) of one."""

    exec_id: str
    child_id: str
    executed_at: int
    size: Decimal
    px: Decimal
    venue: str
    commission: Decimal
    commission_ccy: str
    exec_type: str
    ref_exec_id: str | None
    entered_at: int


class ClosingPrice(NamedTuple):
    """The close of one instrument on one session."""

    code: str
    px: Decimal
    source: str
    priced_at: int
    entered_at: int


class EcbFixing(NamedTuple):
    """One euro in ``ccy``, fixed once a day."""

    ccy: str
    rate: Decimal
    fixed_at: int
    entered_at: int


class CommissionItem(NamedTuple):
    """A part of an execution's commission; positive is cost to us."""

    exec_id: str
    item: str
    amount: Decimal
    ccy: str
    entered_at: int


class TopOfBook(NamedTuple):
    """The best bid and ask of one instrument at a moment."""

    code: str
    bid: Decimal
    ask: Decimal
    quoted_at: int
    received_at: int


class TapePrint(NamedTuple):
    """A trade of anybody, us included, as the tape shows it."""

    code: str
    px: Decimal
    size: Decimal
    printed_at: int
    received_at: int


class CorporateEvent(NamedTuple):
    """A version of what happens to an instrument: SPLIT, CASHDIV, EXPIRY or WITHDRAWN.

    ``factor`` is new units for one old unit; ``per_unit`` a dividend or a settlement price. Of a
    ratio without an end there would be ``new_units`` for ``old_units``.
    """

    event_id: str
    code: str
    what: str
    factor: Decimal | None
    per_unit: Decimal | None
    ccy: str | None
    effective_at: int
    entered_at: int
    new_units: int | None = None
    old_units: int | None = None


class CashMovement(NamedTuple):
    """A version of a payment that is no trade: DEPOSIT, WITHDRAWAL, INTEREST or FUNDING."""

    movement_id: str
    book: str
    code: str | None
    strategy: str | None
    desk: str | None
    reason: str
    amount: Decimal
    ccy: str
    paid_at: int
    entered_at: int


class CustodyPosition(NamedTuple):
    """A line of a custodian's statement: what it says that we hold of one instrument."""

    custodian: str
    book: str
    code: str
    quantity: Decimal
    stated_at: int
    received_at: int


class CustodyCash(NamedTuple):
    """A line of a custodian's statement: what it says that we have of one currency."""

    custodian: str
    book: str
    ccy: str
    balance: Decimal
    stated_at: int
    received_at: int


@dataclass(frozen=True)
class Firm:
    """All rows of the sample firm. A field's name is its table's name in schema ``firm``."""

    securities: tuple[Security, ...]
    parents: tuple[Parent, ...]
    children: tuple[Child, ...]
    child_events: tuple[ChildEvent, ...]
    executions: tuple[Execution, ...]
    closing_prices: tuple[ClosingPrice, ...]
    ecb_fixings: tuple[EcbFixing, ...]
    commission_items: tuple[CommissionItem, ...]
    top_of_book: tuple[TopOfBook, ...]
    tape: tuple[TapePrint, ...]
    corporate_events: tuple[CorporateEvent, ...]
    cash_movements: tuple[CashMovement, ...]
    custody_positions: tuple[CustodyPosition, ...]
    custody_cash: tuple[CustodyCash, ...]


#: In an order in which they can be loaded.
TABLES = tuple(field.name for field in fields(Firm))
