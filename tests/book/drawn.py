"""Frames as the ledger source hands them on, drawn from rows that a person can read.

Beside them stands an oracle of the book: a deque of lots in fractions, one fill at a time, which
shares nothing with the code under test.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from reporting.model import Coverage, Frame, Window
from reporting.periods import TradingDay

MONDAY = date(2026, 3, 2)


def trading_day(day: date = MONDAY) -> TradingDay:
    """A session whose window is its UTC day."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    window = Window(start=start, end=start + timedelta(1))
    return TradingDay(day, "24/7", "UTC", window, window, "regular session")


def at(day: date, seconds: int = 0) -> datetime:
    """An instant of ``day``."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=seconds)


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


@dataclass(frozen=True)
class Fill:
    """One execution as a firm has it."""

    fill_id: str
    side: int
    quantity: str
    price: str
    instrument: str | None = "AAA"
    account: str | None = "acc1"
    strategy: str | None = "trend"
    agent: str | None = "alpha"
    fee: str = "0"
    fee_currency: str | None = "USD"
    when: datetime = field(default=at(MONDAY))


@dataclass(frozen=True)
class Instrument:
    """What is traded."""

    name: str
    currency: str = "USD"
    multiplier: str = "1"
    tick: str = "0.01"
    lot: str = "1"


def _scale(numbers: Iterable[str]) -> int:
    """PostgreSQL's max(scale(x)): digits behind the point."""
    return max((-min(int(Decimal(n).as_tuple().exponent), 0) for n in numbers), default=0)


def _scaled(numbers: Sequence[str], scale: int) -> Any:
    whole = [int(Fraction(n) * 10**scale) for n in numbers]
    fits = all(-(2**63) <= n < 2**63 for n in whole)
    return np.array(whole, dtype=np.int64 if fits else object)


def _category(values: Sequence[str | None]) -> pd.Categorical:
    return pd.Categorical(
        values, categories=list(dict.fromkeys(v for v in values if v is not None))
    )


def coverage(rows: int, **control: str) -> Coverage:
    return Coverage(source="ledger", query="drawn", query_digest="", rows=rows, control=control)


def fills_frame(fills: Sequence[Fill]) -> Frame:
    """Categorical text, integers of a stated scale, in whatever order the rows came."""
    scales = {
        name: _scale(getattr(f, name) for f in fills) for name in ("quantity", "price", "fee")
    }
    table = pd.DataFrame(
        {
            "account_id": _category([f.account for f in fills]),
            "instrument_id": _category([f.instrument for f in fills]),
            "strategy": _category([f.strategy for f in fills]),
            "agent": _category([f.agent for f in fills]),
            "side": np.array([f.side for f in fills], dtype=np.int64),
            "fee_currency": _category([f.fee_currency for f in fills]),
            "executed_us": np.array([microseconds(f.when) for f in fills], dtype=np.int64),
            "fill_id": pd.Series([f.fill_id for f in fills], dtype="str"),
            **{n: _scaled([getattr(f, n) for f in fills], s) for n, s in scales.items()},
        }
    )
    control = {f"{name}_scale": str(scale) for name, scale in scales.items()}
    return Frame(table, coverage(len(fills), **control))


def table_frame(rows: Sequence[Mapping[str, Any]], **control: str) -> Frame:
    """A small frame; without rows it has no columns either, as the source gives it."""
    return Frame(pd.DataFrame.from_records(list(rows)), coverage(len(rows), **control))


def instruments_frame(*instruments: Instrument) -> Frame:
    return table_frame(
        [
            {
                "instrument_id": i.name, "symbol": f"{i.name}.S", "currency": i.currency,
                "multiplier": Decimal(i.multiplier), "tick": Decimal(i.tick), "lot": Decimal(i.lot),
            }
            for i in instruments
        ]
    )  # fmt: skip


def marks_frame(prices: Mapping[str, str], marked_at: datetime | None = None) -> Frame:
    return table_frame(
        [
            {
                "instrument_id": name, "price": Decimal(price), "source": "close",
                "marked_at": marked_at or at(MONDAY, 72_000),
            }
            for name, price in prices.items()
        ]
    )  # fmt: skip


def rates_frame(rates: Mapping[str, str], base: str = "USD") -> Frame:
    return table_frame(
        [
            {
                "base": name, "quote": base, "rate": Decimal(rate), "source": "fix",
                "fixed_at": at(MONDAY, 57_600),
            }
            for name, rate in rates.items()
        ],
        base=base,
    )  # fmt: skip


def action(name: str, kind: str, number: str | None, when: datetime, **more: Any) -> dict[str, Any]:
    """A row of corporate actions; ``number`` is the ratio, the amount or the settlement price."""
    value = None if number is None else Decimal(number)
    return {
        "action_id": name, "instrument_id": "AAA", "kind": kind,
        "ratio": value if kind == "split" else None,
        "amount": None if kind == "split" else value,
        "currency": "USD" if kind == "dividend" else None, "effective_at": when, **more,
    }  # fmt: skip


def flow(name: str, kind: str, amount: str | None, **more: Any) -> dict[str, Any]:
    """A row of cash flows."""
    return {
        "flow_id": name, "account_id": "acc1", "instrument_id": None, "strategy": "trend",
        "agent": "alpha", "kind": kind, "amount": None if amount is None else Decimal(amount),
        "currency": "USD", "paid_at": at(MONDAY, 3600), **more,
    }  # fmt: skip


def fee_item(kind: str, amount: str, **more: Any) -> dict[str, Any]:
    """A row of fee items, summed as the ledger's query does."""
    return {
        "account_id": "acc1", "instrument_id": "AAA", "strategy": "trend", "agent": "alpha",
        "kind": kind, "currency": "USD", "amount": Decimal(amount), "items": 1,
        "unknown": 0, "unknown_samples": None, **more,
    }  # fmt: skip


def small_fills(fills: Sequence[Fill], kind: str = "new") -> Frame:
    """Fills as the frames of replaced and of correcting ones have them."""
    return table_frame(
        [
            {
                "fill_id": f.fill_id, "account_id": f.account, "instrument_id": f.instrument,
                "strategy": f.strategy, "agent": f.agent, "side": f.side,
                "quantity": Decimal(f.quantity), "price": Decimal(f.price), "executed_at": f.when,
                "kind": kind,
            }
            for f in fills
        ]
    )  # fmt: skip


# The oracle ----------------------------------------------------------------------------------


@dataclass
class Oracle:
    """Lots by account × instrument, cash and position by cell; everything a fraction."""

    instruments: Mapping[str, Instrument]
    lots: dict[tuple[str, str], deque[list[Fraction]]] = field(default_factory=dict)
    cash: dict[tuple[str, ...], Fraction] = field(default_factory=dict)
    position: dict[tuple[str, ...], Fraction] = field(default_factory=dict)
    realised: dict[tuple[str, ...], Fraction] = field(default_factory=dict)
    fees: dict[tuple[str, ...], Fraction] = field(default_factory=dict)

    def trade(self, fills: Sequence[Fill]) -> Oracle:
        """Book ``fills`` in order of time, then identifier."""
        for f in sorted(fills, key=lambda f: (f.when, f.fill_id)):
            kind = self.instruments[str(f.instrument)]
            who = (str(f.strategy), str(f.agent), str(f.account), kind.name)
            key, fee_key = (*who, kind.currency), (*who, str(f.fee_currency))
            signed, price = f.side * Fraction(f.quantity), Fraction(f.price)
            lots = self.lots.setdefault((str(f.account), kind.name), deque())
            gain, rest = Fraction(0), signed
            while rest and lots and lots[0][0] * rest < 0:
                units = min(abs(rest), abs(lots[0][0]))
                long = 1 if lots[0][0] > 0 else -1
                gain += long * units * (price - lots[0][1])
                lots[0][0] -= long * units
                rest += long * units
                if not lots[0][0]:
                    lots.popleft()
            if rest:
                lots.append([rest, price])
            times = Fraction(kind.multiplier)
            _add(self.realised, key, gain * times)
            _add(self.cash, key, -signed * price * times)
            _add(self.position, key, signed)
            _add(self.fees, fee_key, Fraction(f.fee))
            _add(self.cash, fee_key, -Fraction(f.fee))
        return self

    def value(self, marks: Mapping[str, str]) -> dict[tuple[str, ...], Fraction]:
        """Market value of every cell's own position."""
        return {
            key: held * Fraction(marks[key[3]]) * Fraction(self.instruments[key[3]].multiplier)
            for key, held in self.position.items()
            if held
        }

    def unrealised(self, marks: Mapping[str, str]) -> Fraction:
        """Σ lot × (mark − paid) × multiplier over all lots."""
        return sum(
            (
                units * (Fraction(marks[name]) - paid) * Fraction(self.instruments[name].multiplier)
                for (_, name), lots in self.lots.items()
                for units, paid in lots
            ),
            Fraction(0),
        )

    def worth(self, marks: Mapping[str, str], rates: Mapping[str, str]) -> Fraction:
        """Cash and market value of everything, in base."""
        value = self.value(marks)
        total = Fraction(0)
        for key in {*self.cash, *value}:
            native = self.cash.get(key, Fraction(0)) + value.get(key, Fraction(0))
            total += native * Fraction(rates[key[4]])
        return total


def _add(sums: dict[tuple[str, ...], Fraction], key: tuple[str, ...], amount: Fraction) -> None:
    sums[key] = sums.get(key, Fraction(0)) + amount


def on(day: date, fills: Sequence[Fill], prefix: str = "") -> list[Fill]:
    """The same fills at the same time of another day, with identifiers of their own."""
    return [
        replace(f, when=f.when + (day - f.when.date()), fill_id=f"{prefix}{f.fill_id}")
        for f in fills
    ]
