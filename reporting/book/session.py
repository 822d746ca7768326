"""One session of the book: carried lots and the day's fills in, a :class:`BookDay` out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from ..errors import ValidationFailed
from ..model import EXACT, Finding, Frame, epoch_ms
from . import Book, BookDay, Cell, CellRow, Holding, LotsRow, MarkUsed
from .fifo import Ints, ints, joined, match_fifo, rescale

SAMPLES = 5


@dataclass(frozen=True)
class _Instrument:
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

    def value(self, position: Decimal) -> Decimal | None:
        """Market value of a signed position; None if it is not flat and there is no mark."""
        if not position:
            return Decimal(0)
        if self.price is None:
            return None
        return EXACT.multiply(EXACT.multiply(position, self.price), self.multiplier)


@dataclass(frozen=True)
class _Stream:
    """Carried lots followed by the session's fills, as parallel arrays."""

    accounts: list[str]
    instruments: list[str]
    key: Ints  # account code × number of instruments + instrument code
    quantity: Ints  # signed
    price: Ints
    carried: int  # how many leading entries are carried lots
    order: Ints  # by key, then time, then fill_id


def trade(
    opening: Book, instruments: Frame, fills: Frame, marks: Frame, session_ms: int
) -> BookDay:
    """Run one session's fills through the book and value what is left at the marks.

    ``fills.table`` has integer columns ``quantity``, ``price`` and ``fee`` in units of ten to the
    minus ``quantity_scale``, ``price_scale`` and ``fee_scale`` of its coverage's control totals.
    ``session_ms`` is when the session's window starts: an older mark is stale.
    """
    control = fills.coverage.control
    scale_q = max(int(control["quantity_scale"]), opening.quantity_scale)
    scale_p = max(int(control["price_scale"]), opening.price_scale)
    known = _known_instruments(instruments, marks, session_ms)
    _all_held_are_known(opening, known)
    table, findings = bookable(fills.table, known)
    quantity = rescale(table["quantity"].to_numpy(), scale_q - int(control["quantity_scale"]))
    price = rescale(table["price"].to_numpy(), scale_p - int(control["price_scale"]))
    findings += _off_grid(table, quantity, price, known, scale_q, scale_p)

    signed = quantity * table["side"].to_numpy().astype(np.int64)
    stream = _stream(opening, table, signed, price, scale_q, scale_p)
    order = stream.order
    matched = match_fifo(stream.key[order], stream.quantity[order], stream.price[order])
    realised = np.empty(len(order), dtype=matched.realised.dtype)
    realised[order] = matched.realised
    open_units = np.empty(len(order), dtype=matched.open_units.dtype)
    open_units[order] = matched.open_units

    cells = _cells(
        opening,
        table,
        _Amounts(signed, price, realised[stream.carried :], scale_q, scale_p),
        int(control["fee_scale"]),
        known,
    )
    holdings = _holdings(stream, realised, open_units, known, opening, scale_q, scale_p)
    return BookDay(
        cells=cells,
        holdings=holdings,
        marks=_marks_used(holdings, known),
        closing=Book(
            quantity_scale=scale_q,
            price_scale=scale_p,
            lots=_closing_lots(stream, open_units),
            cells=tuple(map(_carried_cell, cells)),
        ),
        fills=len(table),
        findings=tuple(findings),
    )


def _known_instruments(instruments: Frame, marks: Frame, session_ms: int) -> dict[str, _Instrument]:
    marked = {row["instrument_id"]: row for row in marks.table.to_dict("records")}
    known = {}
    for row in instruments.table.to_dict("records"):
        mark = marked.get(row["instrument_id"])
        known[str(row["instrument_id"])] = _Instrument(
            symbol=row["symbol"],
            currency=row["currency"],
            multiplier=row["multiplier"],
            tick=row["tick"],
            lot=row["lot"],
            price=mark["price"] if mark else None,
            source=mark["source"] if mark else "",
            marked_at=mark["marked_at"].isoformat() if mark else "",
            stale=mark is not None and epoch_ms(mark["marked_at"]) < session_ms,
        )
    return known


def _all_held_are_known(opening: Book, known: Container[str]) -> None:
    held = {row.instrument for row in opening.lots} | {c.instrument for c in opening.cells}
    if lost := sorted(name for name in held if name not in known):
        raise ValidationFailed(
            f"{lost[0]!r} is in the book and no longer in ledger.instruments; expected a row for "
            "every instrument that was ever traded: restore it there"
        )


def bookable(table: pd.DataFrame, known: Container[str]) -> tuple[pd.DataFrame, list[Finding]]:
    """Fills that can be booked at all; the others are counted, and make the day incomplete."""
    table = _said(table, ("strategy", "agent", "fee_currency"))
    strange = [i for i in table["instrument_id"].cat.categories if i not in known]
    bad = table["instrument_id"].isin(strange) | (table["quantity"] <= 0)
    bad |= ~table["side"].isin([-1, 1])
    # A null has no code: it would be taken for the last category.
    bad |= table["instrument_id"].isna() | table["account_id"].isna()
    bad |= (table["fee_currency"] == "") & (table["fee"] != 0)
    if "price_known" in table:
        bad |= ~table["price_known"]
    if not bad.any():
        return table, []
    finding = Finding(
        check="fill not booked",
        severity="error",
        count=int(bad.sum()),
        detail="instrument unknown, no account, no price, quantity not above 0, side neither 1 nor "
        "-1, or a fee without its currency",
        samples=tuple(table.loc[bad, "fill_id"].sort_values().head(SAMPLES)),
    )
    return table.loc[~bad], [finding]


def _said(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The table with nulls of the categorical columns ``names`` as empty words."""
    silent = [name for name in names if table[name].isna().any()]
    for name in silent:
        column = table[name]
        if "" not in column.cat.categories:
            column = column.cat.add_categories([""])
        table = table.assign(**{name: column.fillna("")})
    return table


def _off_grid(
    table: pd.DataFrame,
    quantity: Ints,
    price: Ints,
    known: Mapping[str, _Instrument],
    scale_q: int,
    scale_p: int,
) -> list[Finding]:
    """Prices that are no whole number of ticks, quantities that are no whole number of lots."""
    names = list(table["instrument_id"].cat.categories)
    codes = table["instrument_id"].cat.codes.to_numpy()
    found = []
    for what, values, scale, step in (
        ("price off its tick", price, scale_p, "tick"),
        ("quantity off its lot", quantity, scale_q, "lot"),
    ):
        sizes = [getattr(known[n], step) if n in known else Decimal(0) for n in names]
        # A step may have more digits than any number of the day: 100.5 is a multiple of 0.25.
        digits = max([scale, *(-int(size.as_tuple().exponent) for size in sizes)])
        steps = ints([int(EXACT.scaleb(size, digits)) or 1 for size in sizes])
        fine = rescale(values, digits - scale)
        bad = (fine % steps[codes] != 0) if len(fine) else np.zeros(0, bool)
        if bad.any():
            found.append(
                Finding(
                    check=f"fill {what}",
                    severity="warning",
                    count=int(bad.sum()),
                    detail=f"booked exactly as recorded, though not a multiple of the {step}",
                    samples=tuple(table.loc[bad, "fill_id"].sort_values().head(SAMPLES)),
                )
            )
    return found


def _stream(
    opening: Book, table: pd.DataFrame, signed: Ints, price: Ints, scale_q: int, scale_p: int
) -> _Stream:
    """Carried lots come first in their key, as if just opened at their own price."""
    lot_account, lot_instrument, lot_quantity, lot_price = [], [], [], []
    for row in opening.lots:
        for lot in row.lots.split():
            units, paid = lot.split("@")
            lot_account.append(row.account)
            lot_instrument.append(row.instrument)
            lot_quantity.append(int(units))
            lot_price.append(int(paid))
    accounts = sorted({*table["account_id"].cat.categories, *lot_account})
    instruments = sorted({*table["instrument_id"].cat.categories, *lot_instrument})
    account = _codes(accounts, lot_account, table["account_id"])
    instrument = _codes(instruments, lot_instrument, table["instrument_id"])
    key = account * len(instruments) + instrument
    carried = len(lot_quantity)
    when = np.concatenate([np.full(carried, -1), table["executed_us"].to_numpy(dtype=np.int64)])
    return _Stream(
        accounts=accounts,
        instruments=instruments,
        key=key,
        quantity=joined([rescale(ints(lot_quantity), scale_q - opening.quantity_scale), signed]),
        price=joined([rescale(ints(lot_price), scale_p - opening.price_scale), price]),
        carried=carried,
        order=_order(key, when, carried, table["fill_id"]),
    )


def _codes(names: Sequence[str], carried: Iterable[str], column: pd.Series) -> Ints:
    """Codes of the carried names followed by those of a categorical column, in one vocabulary."""
    code = {name: i for i, name in enumerate(names)}
    translate = np.array([code[c] for c in column.cat.categories] or [0], dtype=np.int64)
    return np.concatenate(
        [
            np.array([code[c] for c in carried], dtype=np.int64),
            translate[column.cat.codes.to_numpy()] if len(column) else np.zeros(0, np.int64),
        ]
    )


def _order(key: Ints, when: Ints, carried: int, fill_id: pd.Series) -> Ints:
    """Order by key, time, fill_id; the identifiers are compared only where time is equal."""
    order = np.lexsort((when, key))
    equal = np.flatnonzero(
        (key[order][1:] == key[order][:-1]) & (when[order][1:] == when[order][:-1])
    )
    tied = np.unique(order[np.r_[equal, equal + 1]]) if len(equal) else equal
    fills = tied[tied >= carried]
    if len(fills) == 0:
        return order  # lexsort is stable, so carried lots keep their order
    rank = np.arange(len(key))
    by_id = fill_id.iloc[fills - carried].reset_index(drop=True).sort_values(kind="stable")
    rank[fills[by_id.index.to_numpy()]] = fills
    return np.lexsort((rank, when, key))


@dataclass(frozen=True)
class _Amounts:
    """The session's fills as integers, with the scales that make them decimals."""

    signed: Ints
    price: Ints
    realised: Ints
    scale_q: int
    scale_p: int


def _cells(
    opening: Book,
    table: pd.DataFrame,
    amounts: _Amounts,
    fee_scale: int,
    known: Mapping[str, _Instrument],
) -> tuple[Cell, ...]:
    """Add the session's fills to the carried cells; a cell once known is carried for ever."""
    carried: dict[tuple[str, ...], CellRow] = {
        (c.strategy, c.agent, c.account, c.instrument, c.currency): c for c in opening.cells
    }
    traded, fees = _cell_sums(table, amounts, fee_scale)
    keys = {*carried}
    keys |= {(*key, known[key[3]].currency) for key in traded}
    keys |= {*fees}
    cells = []
    for key in sorted(keys):
        strategy, agent, account, name, currency = key
        instrument, before = known.get(name), carried.get(key)
        sums = traded.get(key[:4]) if instrument and instrument.currency == currency else None
        fee = fees.get(key, Decimal(0))
        cash_open = before.cash if before else Decimal(0)
        position = before.position if before else Decimal(0)
        paid = realised = bought = sold = Decimal(0)
        if sums and instrument:
            per = EXACT.scaleb(instrument.multiplier, -amounts.scale_q - amounts.scale_p)
            paid = EXACT.multiply(Decimal(sums.paid), per)
            realised = EXACT.multiply(Decimal(sums.realised), per)
            bought = EXACT.scaleb(Decimal(sums.bought), -amounts.scale_q)
            sold = EXACT.scaleb(Decimal(sums.sold), -amounts.scale_q)
            position = EXACT.subtract(EXACT.add(position, bought), sold)
        cells.append(
            Cell(
                strategy=strategy,
                agent=agent,
                account=account,
                instrument=name,
                symbol=instrument.symbol if instrument else name,
                currency=currency,
                fills=sums.fills if sums else 0,
                bought=bought,
                sold=sold,
                realised=realised,
                fees=fee,
                position_close=position,
                cash_open=cash_open,
                cash_close=EXACT.subtract(EXACT.subtract(cash_open, paid), fee),
                value_open=before.value if before else Decimal(0),
                value_close=instrument.value(position) if instrument else None,
            )
        )
    return tuple(cells)


@dataclass(frozen=True)
class _Sums:
    fills: int
    bought: int
    sold: int
    paid: int
    realised: int


CELL = ["strategy", "agent", "account_id", "instrument_id"]


def _cell_sums(
    table: pd.DataFrame, amounts: _Amounts, fee_scale: int
) -> tuple[dict[tuple[str, ...], _Sums], dict[tuple[str, ...], Decimal]]:
    """Exact integer sums by cell, and fees by cell and fee currency."""
    cell, cells = grouped(table, CELL)
    columns = {
        "fills": np.ones(len(table), np.int64),
        "bought": np.where(amounts.signed > 0, amounts.signed, 0),
        "sold": np.where(amounts.signed < 0, -amounts.signed, 0),
        "paid": product(amounts.signed, amounts.price),
        "realised": amounts.realised,
    }
    sums = {name: sum_by(cell, len(cells), values) for name, values in columns.items()}
    traded = {
        key: _Sums(**{name: int(values[i]) for name, values in sums.items()})
        for i, key in enumerate(cells)
    }
    payer, payers = grouped(table, [*CELL, "fee_currency"])
    charged = table["fee"].to_numpy()
    fee = sum_by(payer, len(payers), charged)
    # A fee and its rebate that sum to 0 were paid all the same: their cell stays.
    times = sum_by(payer, len(payers), (charged != 0).astype(np.int64))
    return traded, {
        key: EXACT.scaleb(Decimal(int(fee[i])), -fee_scale)
        for i, key in enumerate(payers)
        if times[i]
    }


def grouped(table: pd.DataFrame, by: list[str]) -> tuple[Ints, list[tuple[str, ...]]]:
    """A code a row for the combination of categorical columns, and what each code stands for."""
    code = np.zeros(len(table), np.int64)
    for name in by:
        column = table[name]
        code = code * max(len(column.cat.categories), 1) + column.cat.codes.to_numpy()
    codes, unique = pd.factorize(code)
    if not len(unique):
        return codes, []
    first = np.zeros(len(unique), np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    rows = table.iloc[first]
    return codes, list(zip(*(rows[name].astype(str) for name in by), strict=True))


def sum_by(code: Ints, groups: int, values: Ints) -> Ints:
    """Exact sum of ``values`` (n,) by ``code`` (n,) into ``groups`` integers.

    Leaves int64 for Python integers where a sum could overflow.
    """
    if values.dtype != object and len(values):
        bound = float(np.abs(values).max()) * len(values)
        if bound >= 2.0**62:
            values = values.astype(object)
    out = np.zeros(groups, dtype=values.dtype if values.dtype == object else np.int64)
    np.add.at(out, code, values)
    return out


def product(left: Ints, right: Ints) -> Ints:
    """Elementwise product, in Python integers where int64 could overflow."""
    if left.dtype == object or right.dtype == object or not len(left):
        return np.asarray(left * right)
    if float(np.abs(left).max()) * float(np.abs(right).max()) >= 2.0**62:
        return np.asarray(left.astype(object) * right.astype(object))
    return np.asarray(left * right)


def _holdings(
    stream: _Stream,
    realised: Ints,
    open_units: Ints,
    known: Mapping[str, _Instrument],
    opening: Book,
    scale_q: int,
    scale_p: int,
) -> tuple[Holding, ...]:
    """Lots before and after the session by account × instrument, at cost and at the mark."""
    codes, unique = pd.factorize(stream.key, sort=True)
    n = len(unique)
    turnover = product(stream.quantity, stream.price)
    is_carried = np.arange(len(stream.key)) < stream.carried
    carried_codes, carried = codes[is_carried], slice(0, stream.carried)
    sums = {
        "realised": sum_by(codes, n, realised),
        "cost_open": sum_by(carried_codes, n, turnover[carried]),
        "cost_close": sum_by(codes, n, product(open_units, stream.price)),
        "position_open": sum_by(carried_codes, n, stream.quantity[carried]),
        "position_close": sum_by(codes, n, open_units),
    }
    value_open = _value_by_holding(opening)
    holdings = []
    for i, code in enumerate(unique):
        account = stream.accounts[int(code) // len(stream.instruments)]
        name = stream.instruments[int(code) % len(stream.instruments)]
        instrument = known[name]
        per = EXACT.scaleb(instrument.multiplier, -scale_q - scale_p)
        position = EXACT.scaleb(Decimal(int(sums["position_close"][i])), -scale_q)
        holdings.append(
            Holding(
                account=account,
                instrument=name,
                symbol=instrument.symbol,
                currency=instrument.currency,
                realised=EXACT.multiply(Decimal(int(sums["realised"][i])), per),
                cost_open=EXACT.multiply(Decimal(int(sums["cost_open"][i])), per),
                cost_close=EXACT.multiply(Decimal(int(sums["cost_close"][i])), per),
                value_open=value_open.get((account, name), Decimal(0)),
                value_close=instrument.value(position),
                position_open=EXACT.scaleb(Decimal(int(sums["position_open"][i])), -scale_q),
                position_close=position,
            )
        )
    return tuple(holdings)


def _value_by_holding(opening: Book) -> dict[tuple[str, str], Decimal | None]:
    """Sealed value of the carried positions by account × instrument; None spreads."""
    values: dict[tuple[str, str], Decimal | None] = {}
    for cell in opening.cells:
        key = (cell.account, cell.instrument)
        so_far = values.get(key, Decimal(0))
        values[key] = (
            None if so_far is None or cell.value is None else EXACT.add(so_far, cell.value)
        )
    return values


def _marks_used(
    holdings: Sequence[Holding], known: Mapping[str, _Instrument]
) -> tuple[MarkUsed, ...]:
    """The mark of every instrument that is held at the close, with the value it touches."""
    held: dict[str, Decimal | None] = {}
    for holding in holdings:
        if holding.position_close:
            so_far = held.get(holding.instrument, Decimal(0))
            value = holding.value_close
            held[holding.instrument] = (
                None if so_far is None or value is None else EXACT.add(so_far, value)
            )
    return tuple(
        MarkUsed(
            instrument=name,
            symbol=known[name].symbol,
            currency=known[name].currency,
            price=known[name].price,
            source=known[name].source,
            marked_at=known[name].marked_at,
            stale=known[name].stale,
            value=value,
        )
        for name, value in sorted(held.items())
    )


def _closing_lots(stream: _Stream, open_units: Ints) -> tuple[LotsRow, ...]:
    """What stays open, oldest first, in the order that the next session will close it."""
    left = stream.order[open_units[stream.order] != 0]
    rows: dict[int, list[str]] = {}
    for key, units, paid in zip(
        stream.key[left].tolist(),
        open_units[left].tolist(),
        stream.price[left].tolist(),
        strict=True,
    ):
        rows.setdefault(key, []).append(f"{units}@{paid}")
    width = len(stream.instruments)
    return tuple(
        LotsRow(
            account=stream.accounts[key // width],
            instrument=stream.instruments[key % width],
            lots=" ".join(lots),
        )
        for key, lots in rows.items()
    )


def _carried_cell(cell: Cell) -> CellRow:
    return CellRow(
        strategy=cell.strategy,
        agent=cell.agent,
        account=cell.account,
        instrument=cell.instrument,
        currency=cell.currency,
        position=cell.position_close,
        cash=cell.cash_close,
        value=cell.value_close,
    )
