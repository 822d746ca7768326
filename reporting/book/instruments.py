"""Instruments as the book needs them, each with the mark that values it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, Inexact
from typing import Any

import pandas as pd

from ..model import EXACT, Frame, Value, epoch_ms
from . import MarkBeside, Split
from .ratios import split_ratio

#: Decimals of a mark from before a split where dividing by its ratio has no end.
ADJUSTED = Decimal("1e-12")


@dataclass(frozen=True)
class Instrument:
    """What is needed of an instrument; ``price`` is None where it never had a mark."""

    symbol: str
    currency: str
    multiplier: Decimal
    tick: Decimal
    lot: Decimal
    price: Decimal | None
    source: str
    marked_at: str
    stale: bool
    beside: tuple[MarkBeside, ...] = ()

    def value(self, position: Decimal) -> Decimal | None:
        """Market value of a signed position; None if it is not flat and there is no mark."""
        if not position:
            return Decimal(0)
        if self.price is None:
            return None
        return self.worth(position, self.price)

    def worth(self, position: Decimal, price: Decimal) -> Decimal:
        """Value of a signed position at ``price``."""
        return EXACT.multiply(EXACT.multiply(position, price), self.multiplier)


class Instruments(Mapping[str, Instrument]):
    """Instruments by id, each made when it is first asked for.

    A part of a session trades a few of a firm's thousands.
    """

    def __init__(
        self, instruments: Frame, marks: Frame, session_ms: int, splits: Sequence[Split]
    ) -> None:
        """A mark from before ``session_ms`` is stale; one from before a split is divided by it."""
        self._rows = _columns(instruments.table)
        self._marks = _columns(marks.table)
        self._at = {str(name): n for n, name in enumerate(self._rows.get("instrument_id", ()))}
        self._marked = {name: n for n, name in enumerate(self._marks.get("instrument_id", ()))}
        self._session_ms = session_ms
        self._splits = splits
        self._made: dict[str, Instrument] = {}

    def __getitem__(self, name: str) -> Instrument:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name, self._at[name])
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._at

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)

    def _make(self, name: str, at: int) -> Instrument:
        row = {column: values[at] for column, values in self._rows.items()}
        marked = self._marked.get(name)
        mark = None
        if marked is not None:
            mark = {column: values[marked] for column, values in self._marks.items()}
        all_splits = [s for s in self._splits if s.instrument == name]
        since = [s for s in all_splits if mark is None or mark["marked_at"] < s.at]
        note = ", adjusted for a split" if since else ""
        return Instrument(
            symbol=row["symbol"],
            currency=row["currency"],
            multiplier=row["multiplier"],
            tick=row["tick"],
            lot=row["lot"],
            price=_adjusted(mark["price"], since) if mark else None,
            source=mark["source"] + note if mark else "",
            marked_at=mark["marked_at"].isoformat() if mark else "",
            stale=mark is not None and epoch_ms(mark["marked_at"]) < self._session_ms,
            beside=tuple(
                MarkBeside(
                    source=source,
                    price=_adjusted(price, [s for s in all_splits if at < s.at]),
                    marked_at=at.isoformat(),
                )
                for source, price, at in (mark or {}).get("beside", ())
            ),
        )


def _columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): table[name].tolist() for name in table.columns}


def still_needed(splits: Iterable[Split], marks: Frame) -> tuple[Split, ...]:
    """The splits that the newest mark of their instrument is from before of, or that has none."""
    splits = tuple(splits)
    if not splits:  # every part of a session asks
        return ()
    marked = {row["instrument_id"]: row["marked_at"] for row in marks.table.to_dict("records")}
    return tuple(s for s in splits if s.instrument not in marked or marked[s.instrument] < s.at)


def _adjusted(price: Decimal, splits: Sequence[Split]) -> Decimal:
    for split in splits:
        ratio, price = split.ratio, EXACT.multiply(price, split.per)
        try:
            price = EXACT.divide(price, ratio)
        except Inexact:
            rounded = EXACT.copy()
            rounded.traps[Inexact] = False
            price = rounded.quantize(rounded.divide(price, ratio), ADJUSTED)
    return price


def in_units_of_today(marks: pd.DataFrame, splits: Frame | Value | None) -> pd.DataFrame:
    """A history of marks with prices as floats, those from before a split in the units after it.

    Two for one is no loss of half. ``splits`` are those within the history; where they are not
    known, prices stay as they were recorded.
    """
    price = marks["price"].astype(float)
    if isinstance(splits, Frame):
        for split in splits.table.to_dict("records"):
            old = (marks["instrument_id"] == split["instrument_id"]) & (
                marks["marked_at"] < split["effective_at"]
            )
            ratio = split_ratio(split)
            if ratio is not None:
                price[old] /= float(ratio[0]) / float(ratio[1])
    return marks.assign(price=price)
