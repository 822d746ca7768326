"""The trading book in exact integers: fills in, realised P&L, open lots and cash out.

Lots are kept by account × instrument, by the method that the policy has in force (first in, first
out, unless it says otherwise). Strategies and agents that share an account see each other's lots
there, so the result of each is told from its own cash and its own position at the mark, which
foots to the same total.

Prices and quantities are whole multiples of a power of ten (``price_scale``, ``quantity_scale``),
so that matching lots is integer arithmetic; see :mod:`reporting.book.fifo` and
:mod:`reporting.book.lots`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from pydantic import AwareDatetime

from ..model import Currency, Exact, Finding, Frame, Missing, Value, Why

#: How a fill finds the lots that it closes.
Method = Literal["fifo", "lifo", "hifo", "average"]


class LotsRow(Value):
    """Open lots of one account × instrument, oldest first, in book units.

    A lot is ``quantity@price``; where its total cost is no multiple of its quantity,
    ``quantity@price+excess``, which costs |quantity| × price + excess.
    """

    account: str
    instrument: str
    lots: str


class Transfer(Value):
    """What was paid into an account in one currency, less what was paid out, so far."""

    account: str
    currency: Currency
    balance: Exact


class Split(Value):
    """A split, ``ratio`` new units for ``per`` old ones, that older marks are adjusted for."""

    instrument: str
    at: AwareDatetime
    ratio: Exact
    per: Exact = Decimal(1)

    @property
    def fraction(self) -> Fraction:
        """New units for one old unit, exact."""
        return Fraction(self.ratio) / Fraction(self.per)


class CellRow(Value):
    """Where one strategy × agent × account × instrument stands in one currency.

    ``position`` is signed quantity, ``cash`` the balance of all its payments so far, ``value`` its
    position at the mark, None while no mark is known.
    """

    strategy: str
    agent: str
    account: str
    instrument: str
    currency: Currency
    position: Exact
    cash: Exact
    value: Exact | None


class Book(Value):
    """What a session closes with and the next one opens with.

    ``method`` is what its lots were kept by. The cash that an account should hold in a currency is
    the sum of its cells' cash and its transfers; deposits and withdrawals are no result.
    """

    quantity_scale: int
    price_scale: int
    lots: tuple[LotsRow, ...]
    cells: tuple[CellRow, ...]
    method: Method = "fifo"
    transfers: tuple[Transfer, ...] = ()
    splits: tuple[Split, ...] = ()


EMPTY_BOOK = Book(quantity_scale=0, price_scale=0, lots=(), cells=())


class Cell(Value):
    """One session of one strategy × agent × account × instrument × currency, native amounts.

    ``bought`` and ``sold`` are of fills; ``adjusted`` is what splits and expiries added to the
    position. ``dividends``, ``funding``, ``interest`` and ``charges`` are positive where paid to
    us, ``fees`` where paid by us. A payment for no instrument has an empty one.
    """

    strategy: str
    agent: str
    account: str
    instrument: str
    symbol: str
    currency: Currency
    fills: int
    bought: Exact
    sold: Exact
    realised: Exact
    fees: Exact
    position_close: Exact
    cash_open: Exact
    cash_close: Exact
    value_open: Exact | None
    value_close: Exact | None
    adjusted: Exact = Decimal(0)
    dividends: Exact = Decimal(0)
    funding: Exact = Decimal(0)
    interest: Exact = Decimal(0)
    charges: Exact = Decimal(0)

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same cell on another day."""
        return (self.strategy, self.agent, self.account, self.instrument, self.currency)


class Holding(Value):
    """One session of the lots of one account × instrument, native amounts."""

    account: str
    instrument: str
    symbol: str
    currency: Currency
    realised: Exact
    cost_open: Exact
    cost_close: Exact
    value_open: Exact | None
    value_close: Exact | None
    position_open: Exact
    position_close: Exact

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same holding on another day."""
        return (self.account, self.instrument)


class MarkBeside(Value):
    """A mark of the same session that another source's was preferred to; ``price`` in its units."""

    source: str
    price: Exact
    marked_at: str


class MarkUsed(Value):
    """The price that a held instrument was valued at; stale if it is from before the session.

    ``price`` and ``value`` are None where no mark was ever recorded; ``value`` is the market value
    that the mark touches, gross: that of every account without its sign, added up. ``beside`` has
    other sources' marks of the session.
    """

    instrument: str
    symbol: str
    currency: Currency
    price: Exact | None
    source: str
    marked_at: str
    stale: bool
    value: Exact | None
    beside: tuple[MarkBeside, ...] = ()


class Move(Value):
    """What one session's result of a cell comes from, beside fees and payments; native amounts.

    ``carried`` is the opening position from its opening to its closing mark, ``intraday`` the
    session's fills as first recorded, from their price to the closing mark, ``corrections`` what
    corrections and busts changed of that. An expiry's settlement price stands for the closing mark
    of what it settled. All None where the position has no mark at the opening or at the close.
    """

    strategy: str
    agent: str
    account: str
    instrument: str
    currency: Currency
    carried: Exact | None
    intraday: Exact | None
    corrections: Exact | None

    @property
    def key(self) -> tuple[str, ...]:
        """The cell that it is of."""
        return (self.strategy, self.agent, self.account, self.instrument, self.currency)


class FeeItem(Value):
    """Fees of one kind that a cell paid in one currency; positive is cost to us.

    ``unknown`` items have no amount that is known, or no currency (XXX), and are not in ``amount``.
    """

    strategy: str
    agent: str
    account: str
    instrument: str
    kind: str
    currency: Currency
    amount: Exact
    unknown: int = 0

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same item on another day."""
        return (
            *(self.strategy, self.agent, self.account, self.instrument),
            *(self.kind, self.currency),
        )


NOT_READ = Missing(why=Why.NOT_MEASURED, detail="the ledger was not asked")
NO_FEE_ITEMS = Missing(why=Why.NOT_MEASURED, detail="fees were not itemised then")
NO_EXPLANATION = Missing(why=Why.NOT_MEASURED, detail="P&L was not explained then")


class BookDay(Value):
    """Everything that one session did to the book.

    ``method_before`` is what the opening book's lots were kept by where that is another method
    than the session's.
    """

    cells: tuple[Cell, ...]
    holdings: tuple[Holding, ...]
    marks: tuple[MarkUsed, ...]
    closing: Book
    fills: int
    findings: tuple[Finding, ...]
    moves: tuple[Move, ...] = ()
    fee_items: tuple[FeeItem, ...] | Missing = NO_FEE_ITEMS
    method_before: Method | None = None

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        """Deposits less withdrawals so far, by account and currency, at the close."""
        return self.closing.transfers


@dataclass(frozen=True)
class Beside:
    """What happens to a book beside fills, as the ledger's frames of one session have it.

    ``replaced`` are fills that a correction or a bust took out of force, ``correcting`` the
    corrections in force; ``actions``, ``flows`` and ``fee_items`` are of optional views.
    """

    actions: Frame | Missing = NOT_READ
    flows: Frame | Missing = NOT_READ
    fee_items: Frame | Missing = NOT_READ
    replaced: Frame | Missing = NOT_READ
    correcting: Frame | Missing = NOT_READ


#: Nothing but fills.
NOTHING_BESIDE = Beside()
