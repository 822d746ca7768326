"""The trading book in exact integers: fills in, realised P&L, open lots and cash out.

Lots are kept by account × instrument, first in, first out. Strategies and agents that share an
account see each other's lots there, so the result of each is told from its own cash and its own
position at the mark, which foots to the same total.

Prices and quantities are whole multiples of a power of ten (``price_scale``, ``quantity_scale``),
so that matching lots is integer arithmetic; see :mod:`reporting.book.fifo`.
"""

from __future__ import annotations

from ..model import Currency, Exact, Finding, Value


class LotsRow(Value):
    """Open lots of one account × instrument, oldest first, as ``quantity@price`` in book units."""

    account: str
    instrument: str
    lots: str


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


class Transfer(Value):
    """Cash moved in and out of an account by deposits and withdrawals since inception, signed."""

    account: str
    currency: Currency
    balance: Exact


class Book(Value):
    """What a session closes with and the next one opens with."""

    quantity_scale: int
    price_scale: int
    lots: tuple[LotsRow, ...]
    cells: tuple[CellRow, ...]
    transfers: tuple[Transfer, ...] = ()


EMPTY_BOOK = Book(quantity_scale=0, price_scale=0, lots=(), cells=())


class Cell(Value):
    """One session of one strategy × agent × account × instrument × currency, native amounts."""

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

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same cell on another day."""
        return (self.strategy, self.agent, self.account, self.instrument, self.currency)


class Holding(Value):
    """One session of the FIFO lots of one account × instrument, native amounts."""

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


class MarkUsed(Value):
    """The price that a held instrument was valued at; stale if it is from before the session.

    ``price`` and ``value`` are None where no mark was ever recorded; ``value`` is the market value
    that the mark touches, over all accounts.
    """

    instrument: str
    symbol: str
    currency: Currency
    price: Exact | None
    source: str
    marked_at: str
    stale: bool
    value: Exact | None


class BookDay(Value):
    """Everything that one session did to the book."""

    cells: tuple[Cell, ...]
    holdings: tuple[Holding, ...]
    marks: tuple[MarkUsed, ...]
    closing: Book
    fills: int
    findings: tuple[Finding, ...]
