"""What else touches the sample firm's accounts: commissions by item, corporate events, payments.

And what its custodians state at each session's end. They know every trade when it is done, also
one that the firm records late; what is corrected or busted they change when the firm does. So a
statement differs from the books where the firm was late, and where a break was planted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random
from typing import Any, Final

from .market import (
    BY_CODE,
    EXPIRES_ON,
    EXPIRING_CODE,
    SPLIT_CODE,
    SPLIT_ON,
    SPLIT_RATIO,
    Market,
    close_ms,
    local_day,
    local_ms,
)
from .rows import (
    CashMovement,
    CommissionItem,
    CorporateEvent,
    CustodyCash,
    CustodyPosition,
    Execution,
)
from .trading import Trades

_MINUTE = 60_000
_CENT = Decimal("0.01")

#: One execution of this session lacks one of its items.
NOT_ITEMISED: Final = date(2025, 11, 10)
#: A custodian states fewer units than are held, from the first to the last of these sessions.
POSITION_BREAK: Final = ("MAIN-1", "BRCH", Decimal(-300), date(2025, 10, 21), date(2025, 10, 24))
#: And less cash from this session on, still open at the end.
CASH_BREAK: Final = ("MAIN-1", "USD", Decimal("-12500.00"), date(2025, 12, 2))
#: No custodian states anything for this session.
NO_STATEMENT: Final = date(2025, 11, 18)

CUSTODIANS: Final = {
    "MAIN-1": "Northbank Custody",
    "FAST-2": "Northbank Custody",
    "HEDGE-3": "Clearwater Clearing",
}
_DEPOSITS = (
    ("MAIN-1", "USD", 30_000_000),
    ("MAIN-1", "EUR", 20_000_000),
    ("FAST-2", "USD", 5_000_000),
    ("FAST-2", "EUR", 4_000_000),
    ("HEDGE-3", "USD", 6_000_000),
)
_INTEREST_DAYS = (date(2025, 9, 30), date(2025, 10, 31), date(2025, 11, 28))
#: Whose charge for a short position it is, by account.
_SHORT_OF = {"FAST-2": ("market-making", "tactical"), "HEDGE-3": ("hedge-overlay", "risk")}


# -- commissions ------------------------------------------------------------------------------


def commission_items(
    seed: int, executions: Iterable[Execution]
) -> tuple[tuple[CommissionItem, ...], dict[str, Any]]:
    """The parts of every commission, which add up to it exactly, but for the planted one."""
    rows = [item for row in executions for item in _items(row)]
    opens, dice = local_ms(NOT_ITEMISED, time(12)), Random(f"items/{seed}")
    of_day = [
        index
        for index, row in enumerate(rows)
        if row.item == "exchange" and 0 <= row.entered_at - opens < 60 * _MINUTE
    ]
    lost = rows.pop(of_day[int(dice.random() * len(of_day))])
    planted = {
        "session": NOT_ITEMISED.isoformat(),
        "fill": lost.exec_id,
        "kind": lost.item,
        "amount": format(lost.amount, "f"),
        "currency": lost.ccy,
    }
    return tuple(rows), planted


def _items(row: Execution) -> Iterator[CommissionItem]:
    """Shares of the commission in units of its last digit; the commission item is the rest."""
    total = row.commission
    step = Decimal((0, (1,), int(total.as_tuple().exponent)))
    units = int(total / step)
    if units < 0:  # a rebate of the venue, less what our broker keeps
        parts = {"commission": -units // 5}
        parts["rebate"] = units - parts["commission"]
    else:
        parts = {"exchange": units * 30 // 100, "clearing": units * 12 // 100}
        if row.commission_ccy == "EUR":
            parts["tax"] = units * 15 // 100
        parts["commission"] = units - sum(parts.values())
    for item, amount in parts.items():
        if amount:
            yield CommissionItem(
                row.exec_id, item, amount * step, row.commission_ccy, row.entered_at
            )


# -- corporate events -------------------------------------------------------------------------


def corporate_events(market: Market) -> tuple[CorporateEvent, ...]:
    """A split, two dividends, an expiry, and a dividend that was called off."""

    def morning(day: date) -> int:
        return local_ms(day, time(4))

    def known(day: date, hour: int = 9) -> int:
        return local_ms(day, time(hour))

    settled = BY_CODE[EXPIRING_CODE].price(market.close_ticks(EXPIRING_CODE, EXPIRES_ON))
    dividend, called_off = Decimal("0.42"), Decimal("0.65")
    return (
        CorporateEvent(
            "CA-0001", EXPIRING_CODE, "EXPIRY", None, settled, None,
            close_ms(EXPIRES_ON) + 5 * _MINUTE, close_ms(EXPIRES_ON) + 30 * _MINUTE,
        ),
        CorporateEvent(
            "CA-0002", SPLIT_CODE, "SPLIT", Decimal(SPLIT_RATIO), None, None,
            morning(SPLIT_ON), known(date(2025, 9, 24)),
        ),
        CorporateEvent(
            "CA-0003", "BRCH", "CASHDIV", None, dividend, "USD",
            morning(date(2025, 10, 22)), known(date(2025, 10, 6)),
        ),
        CorporateEvent(
            "CA-0004", "KIEF", "CASHDIV", None, Decimal("0.55"), "EUR",
            morning(date(2025, 11, 14)), known(date(2025, 10, 27)),
        ),
        CorporateEvent(
            "CA-0005", "CEDR", "CASHDIV", None, called_off, "USD",
            morning(date(2025, 11, 19)), known(date(2025, 10, 28)),
        ),
        CorporateEvent(
            "CA-0005", "CEDR", "WITHDRAWN", None, called_off, "USD",
            morning(date(2025, 11, 19)), known(date(2025, 11, 12), 15),
        ),
    )  # fmt: skip


# -- payments and statements --------------------------------------------------------------------


@dataclass(frozen=True)
class _Change:
    """What a trade or a payment does to an account; an event of an instrument is applied apart."""

    at: int
    book: str
    code: str | None
    quantity: Decimal
    cash: tuple[tuple[str, Decimal], ...]


class Custody:
    """The accounts as the custodians keep them; ``run`` fills the rows."""

    def __init__(
        self, seed: int, market: Market, trades: Trades, events: Sequence[CorporateEvent]
    ) -> None:
        self.dice = Random(f"flows/{seed}")
        self.market = market
        self.held: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self.cash: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self.movements: list[CashMovement] = []
        self.positions: list[CustodyPosition] = []
        self.balances: list[CustodyCash] = []
        self.changes = sorted(_traded(trades), key=lambda change: change.at)
        self.events = sorted(
            (row for row in events if row.what != "WITHDRAWN" and not _withdrawn(row, events)),
            key=lambda row: row.effective_at,
        )

    def run(self) -> None:
        """Live through all sessions, in the order of what happens."""
        changes, events = list(reversed(self.changes)), list(reversed(self.events))
        for session in self.market.sessions:
            end = local_ms(session, time(23, 59, 59))
            if session == self.market.sessions[0]:
                self.deposit(session)
            while changes and changes[-1].at <= end:
                if events and events[-1].effective_at <= changes[-1].at:
                    self.apply(events.pop())
                else:
                    self.book(changes.pop())
            while events and events[-1].effective_at <= end:
                self.apply(events.pop())
            self.pay(session)
            if session != NO_STATEMENT:
                self.state(session, end)

    def book(self, change: _Change) -> None:
        if change.code:
            self.held[change.book, change.code] += change.quantity
        for ccy, amount in change.cash:
            self.cash[change.book, ccy] += amount

    def apply(self, event: CorporateEvent) -> None:
        """A split multiplies, a dividend pays on what is held, an expiry pays it out."""
        one = BY_CODE[event.code]
        amount = event.factor or event.per_unit
        assert amount is not None
        for (book, code), quantity in list(self.held.items()):
            if code != event.code:
                continue
            if event.what == "SPLIT":
                self.held[book, code] = quantity * amount
            elif event.what == "CASHDIV":
                self.cash[book, one.ccy] += quantity * amount
            else:
                self.cash[book, one.ccy] += quantity * amount * one.multiplier
                self.held[book, code] = Decimal(0)

    # -- payments ----------------------------------------------------------------------------

    def move(
        self,
        book: str,
        ccy: str,
        reason: str,
        amount: Decimal,
        at: int,
        code: str | None = None,
        entered: int = 0,
    ) -> None:
        """A payment that is made and recorded; the custodian books what it paid."""
        strategy, desk = _SHORT_OF[book] if code else (None, None)
        self.cash[book, ccy] += amount
        self.movements.append(
            CashMovement(
                f"M{len(self.movements) + 1:05d}", book, code, strategy, desk, reason, amount,
                ccy, at, entered or at + 2 * _MINUTE,
            )
        )  # fmt: skip

    def deposit(self, session: date) -> None:
        for book, ccy, amount in _DEPOSITS:
            self.move(book, ccy, "DEPOSIT", Decimal(amount), local_ms(session, time(6, 30)))

    def pay(self, session: date) -> None:
        """What is paid in the evening: interest, a charge for each short a week, a withdrawal."""
        evening = local_ms(session, time(18, 30))
        if session == date(2025, 11, 17):
            self.move("MAIN-1", "USD", "WITHDRAWAL", Decimal(-1_500_000), evening)
        if session in _INTEREST_DAYS:
            for book, ccy, deposit in _DEPOSITS:
                # A part of the deposit earns between one and two per cent a year.
                amount = deposit * Decimal(100 + int(self.dice.random() * 100)) / 480_000
                self.move(book, ccy, "INTEREST", amount.quantize(_CENT, ROUND_HALF_EVEN), evening)
        later = [day for day in self.market.sessions if day > session]
        if later and later[0].isocalendar().week == session.isocalendar().week:
            return
        for (book, code), quantity in sorted(self.held.items()):
            if quantity < 0 and book in _SHORT_OF and code != EXPIRING_CODE:
                one = BY_CODE[code]
                price = one.price(self.market.close_ticks(code, session))
                # Half a per cent a year, for a week.
                charge = (quantity * price * one.multiplier / 10_400).quantize(
                    _CENT, ROUND_HALF_EVEN
                )
                self.move(book, one.ccy, "FUNDING", charge, evening + _MINUTE, code)

    def recorded(self) -> tuple[tuple[CashMovement, ...], dict[str, Any]]:
        """The payments as the firm recorded them: one was wrong at first, and put right later."""
        rows = list(self.movements)
        index = next(
            index
            for index, row in enumerate(rows)
            if (row.book, row.ccy, row.reason) == ("MAIN-1", "EUR", "INTEREST")
            and local_day(row.paid_at) == date(2025, 10, 31)
        )
        right = rows[index]._replace(entered_at=local_ms(date(2025, 11, 3), time(11)))
        wrong = rows[index]._replace(amount=rows[index].amount + Decimal("1080.00"))
        rows[index] = wrong
        rows.append(right)
        planted = {
            "flow": right.movement_id,
            "session": "2025-10-31",
            "recorded_at_ms": right.entered_at,
            "before": format(wrong.amount, "f"),
            "after": format(right.amount, "f"),
        }
        return tuple(sorted(rows, key=lambda row: row.entered_at)), planted

    # -- statements --------------------------------------------------------------------------

    def state(self, session: date, at: int) -> None:
        """One statement of each account: what is held, and the cash of each currency."""
        received = local_ms(session + timedelta(1), time(2, 30))
        book, code, short, first, last = POSITION_BREAK
        for key, quantity in sorted(self.held.items()):
            stated = quantity
            if key == (book, code) and first <= session <= last:
                stated += short
            if stated:
                self.positions.append(
                    CustodyPosition(CUSTODIANS[key[0]], *key, stated, at, received)
                )
        book, ccy, missing, first = CASH_BREAK
        for key, balance in sorted(self.cash.items()):
            stated = balance + missing if key == (book, ccy) and session >= first else balance
            self.balances.append(CustodyCash(CUSTODIANS[key[0]], *key, stated, at, received))


def _withdrawn(row: CorporateEvent, events: Sequence[CorporateEvent]) -> bool:
    return any(other.event_id == row.event_id and other.what == "WITHDRAWN" for other in events)


def _traded(trades: Trades) -> Iterator[_Change]:
    """Trades at their time; what a correction or a bust changes, when it was recorded."""
    parents = {row.parent_id: row for row in trades.parents}
    parent_of = {row.child_id: parents[row.parent_id] for row in trades.children}
    originals = {row.exec_id: row for row in trades.executions}
    for row in trades.executions:
        parent = parent_of[row.child_id]
        one, side = BY_CODE[parent.code], 1 if parent.direction == "BUY" else -1
        parts = [] if row.exec_type == "B" else [(1, row)]
        if row.ref_exec_id:
            parts.append((-1, originals[row.ref_exec_id]))
        quantity = sum((sign * side * part.size for sign, part in parts), Decimal(0))
        cash = []
        for sign, part in parts:
            paid = -side * part.size * part.px * one.multiplier
            cash += [(one.ccy, sign * paid), (part.commission_ccy, -sign * part.commission)]
        at = row.entered_at if row.ref_exec_id else row.executed_at
        yield _Change(at, parent.book, parent.code, quantity, tuple(cash))


def planted_breaks() -> dict[str, Any]:
    """What was planted in the statements."""
    book, code, short, first, last = POSITION_BREAK
    account, ccy, missing, since = CASH_BREAK
    return {
        "position_break": {
            "account": book,
            "instrument": code,
            "quantity": format(short, "f"),
            "sessions": [first.isoformat(), last.isoformat()],
        },
        "cash_break": {
            "account": account,
            "currency": ccy,
            "amount": format(missing, "f"),
            "since": since.isoformat(),
        },
        "no_statement": {"session": NO_STATEMENT.isoformat()},
    }
