"""A session worked out in parts is the session worked out whole; narrow columns lose nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book import EMPTY_BOOK, Book, BookDay
from reporting.book.execution import Executions, executions
from reporting.book.packed import Column, Names, Numbers, Packed, Texts, Whole, Words
from reporting.book.parts import Part, joined_book, joined_executions, parts
from reporting.book.session import trade
from reporting.model import Frame, epoch_ms

from .drawn import (
    MONDAY,
    Fill,
    Instrument,
    at,
    coverage,
    fills_frame,
    instruments_frame,
    marks_frame,
    microseconds,
    trading_day,
)

NAMES = ("AAA", "BBB", "CCC")
INSTRUMENTS = instruments_frame(*(Instrument(n) for n in NAMES))
MARKS = marks_frame({"AAA": "21", "BBB": "100"})  # CCC never had one


@dataclass(frozen=True)
class Order:
    """One version of an order."""

    order_id: str
    account: str | None = "acc1"
    instrument: str | None = "AAA"
    replaces: str | None = None
    status: str = "filled"


def packed(table: pd.DataFrame, frame_coverage: Any, names: Sequence[str] = ()) -> Packed:
    """A drawn frame as the ledger's reader keeps it."""
    columns: dict[str, Column] = {}
    for name in table:
        if str(name).endswith("_known"):
            continue
        values = table[name]
        column: Column
        if f"{name}_known" in table:
            column = Numbers()
            scale = int(frame_coverage.control[f"{name}_scale"])
            column.add(values.to_numpy(), scale, table[f"{name}_known"].to_numpy())
        elif values.dtype == "category":
            column = Words()
            column.add(pa.array(values.astype(object), pa.string()).dictionary_encode())
        elif name in names:
            column = Names.of(pa.array(values.astype(object), pa.string(), from_pandas=True))
        elif values.dtype == np.int64:
            column = Whole()
            column.add(values.to_numpy())
        else:
            column = Texts()
            column.add(pa.array(values.astype(object), pa.string(), from_pandas=True))
        column.packed()
        columns[str(name)] = column
    return Packed(columns, frame_coverage, coded=("order_id",) if "fill_id" in table else ())


def drawn_fills(fills: Sequence[Fill], order_ids: Sequence[str | None]) -> Packed:
    frame = fills_frame(fills)
    table = frame.table.assign(
        order_id=pd.Series(order_ids, dtype="str"),
        venue=pd.Categorical(["X"] * len(fills)),
        **{f"{n}_known": np.ones(len(fills), bool) for n in ("quantity", "price", "fee")},
    )
    return packed(table, frame.coverage, ("fill_id", "order_id"))


def drawn_orders(orders: Sequence[Order]) -> Packed:
    n = len(orders)
    day = microseconds(at(MONDAY, 60))
    one = np.ones(n, np.int64)
    table = pd.DataFrame(
        {
            "order_id": pd.Series([o.order_id for o in orders], dtype="str"),
            "replaces": pd.Series([o.replaces for o in orders], dtype="str"),
            "account_id": pd.Categorical([o.account for o in orders]),
            "instrument_id": pd.Categorical([o.instrument for o in orders]),
            "strategy": pd.Categorical(["trend"] * n), "agent": pd.Categorical(["alpha"] * n),
            "side": one, "status": pd.Categorical([o.status for o in orders]),
            "reject_reason": pd.Series([None] * n, dtype="str"),
            "decision_us": one * day, "placed_us": one * day, "done_us": one * day,
            "recorded_us": one * day,
            **dict.fromkeys(("quantity", "decision_price", "arrival_price"), one * 7),
            **{f"{name}_known": np.ones(n, bool)
               for name in ("quantity", "decision_price", "arrival_price")},
        }
    )  # fmt: skip
    scales = {f"{name}_scale": "0" for name in ("quantity", "decision_price", "arrival_price")}
    return packed(table, coverage(n, **scales), ("order_id",))


def earlier_frame(orders: Sequence[Order]) -> Frame:
    ids = sorted({o.order_id for o in orders})[:2]
    table = pd.DataFrame(
        {"order_id": pd.Series(ids, dtype="str"), "quantity": np.ones(len(ids), np.int64) * 3}
    )
    return Frame(table, coverage(len(ids), quantity_scale="0"))


def worked_out(divided: Sequence[Part]) -> tuple[BookDay, Executions]:
    books = [trade(p.opening, INSTRUMENTS, p.fills, MARKS, epoch_ms(at(MONDAY))) for p in divided]
    made = [executions(trading_day(), p.fills, p.orders, p.earlier, INSTRUMENTS) for p in divided]
    return joined_book(books), joined_executions(made)


ACCOUNT = st.sampled_from(["acc1", "acc2"])
FILL = st.builds(
    Fill,
    fill_id=st.integers(0, 99).map(lambda n: f"F{n:03}"),
    side=st.sampled_from([1, -1, -1, 0]),
    quantity=st.sampled_from(["1", "2", "0.5", "0"]),
    price=st.sampled_from(["10", "20.25", "1E-11", "1000000000"]),
    instrument=st.sampled_from([*NAMES, "unknown", None]),
    account=ACCOUNT | st.none(),
    fee=st.sampled_from(["0", "1.5"]),
    when=st.integers(0, 3).map(lambda n: at(MONDAY, n)),
)
ORDER_IDS = [f"O{n}" for n in range(6)]
ORDER = st.builds(
    Order,
    order_id=st.sampled_from(ORDER_IDS),
    account=ACCOUNT,
    instrument=st.sampled_from(NAMES),
    replaces=st.none() | st.just("O9"),
    status=st.sampled_from(["filled", "working", "rejected"]),
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(FILL, st.sampled_from([*ORDER_IDS, "lost", None])), max_size=12),
    st.lists(ORDER, max_size=8, unique_by=lambda o: o.order_id),
    st.lists(FILL, max_size=4),
    st.integers(1, 5),
    st.booleans(),
)
def test_parts_join_to_the_whole(
    fills: list[tuple[Fill, str | None]],
    orders: list[Order],
    before: list[Fill],
    size: int,
    own: bool,
) -> None:
    opening: Book = trade(
        EMPTY_BOOK, INSTRUMENTS, fills_frame(before), MARKS, epoch_ms(at(MONDAY))
    ).closing
    if own:  # every order is of its fills' own key, so that the day can be divided
        keys = {o.order_id: (o.account, o.instrument) for o in orders}
        fills = [
            (f, name if keys.get(name or "") == (f.account, f.instrument) else None)
            for f, name in fills
        ]
    frames = (drawn_fills(*zip(*fills, strict=True)) if fills else drawn_fills([], []),
              drawn_orders(orders), earlier_frame(orders))  # fmt: skip
    divided = list(parts(opening, *frames, size=size))
    book, made = worked_out(divided)
    whole_book, whole = worked_out([Part(opening, *frames)])
    in_order = sorted(whole_book.findings, key=lambda f: f.check)
    assert sorted(book.findings, key=lambda f: f.check) == in_order
    assert book.model_copy(update={"findings": whole_book.findings}) == whole_book
    assert made.working == whole.working
    assert made.findings == whole.findings
    assert made.slippage.to_dict("records") == whole.slippage.to_dict("records")
    assert made.orders.to_dict("records") == whole.orders.to_dict("records")
    if own:
        assert len(divided) == max(-(-len(fills) // size), 1)
    seen = Counter(
        key for p in divided for key in {*zip(p.fills.table["account_id"].astype(object).fillna(""),
                                              p.fills.table["instrument_id"].astype(object).fillna(""),
                                              strict=True)}
    )  # fmt: skip
    known = {key: times for key, times in seen.items() if all(key)}
    assert set(known.values()) <= {1}


def test_an_order_of_another_account_keeps_the_day_in_one_piece() -> None:
    fills = [Fill(str(n), 1, "1", "10", account=f"acc{n % 2}") for n in range(4)]
    own = [Order("O0", "acc0"), Order("O1", "acc1")]
    divided = list(
        parts(EMPTY_BOOK, drawn_fills(fills, ["O0", "O1"] * 2), drawn_orders(own),
              earlier_frame([]), size=2)
    )  # fmt: skip
    assert [len(p.fills.table) for p in divided] == [2, 2]
    (mark,) = worked_out(divided)[0].marks
    assert mark.value == (2 + 2) * 21
    for crossed in (
        [*own[:1], Order("O1", "acc0")],
        [*own[:1], Order("O1", "acc1", replaces="O0")],
    ):
        whole = list(
            parts(EMPTY_BOOK, drawn_fills(fills, ["O0", "O1"] * 2), drawn_orders(crossed),
                  earlier_frame([]), size=2)
        )  # fmt: skip
        assert [p.fills.coverage.rows for p in whole] == [4]


# Narrow columns ------------------------------------------------------------------------------

IDS = st.lists(
    st.one_of(
        st.integers(0, 10**6).map(lambda n: f"F{n:07}"),
        st.sampled_from(["F000000a", "F0000001", "G0000001", "", "1", "01", "é1", "F" + "9" * 25]),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(IDS, max_size=4), IDS, st.booleans())
def test_identifiers_come_back(batches: list[list[str]], known: list[str], null: bool) -> None:
    names = Names()
    ids: list[str | None] = []
    for batch in batches:
        rows = [*batch, None] if null else batch
        names.add(pa.array(rows, pa.string()))
        ids += rows
    names.packed()
    assert len(names) == len(ids)
    assert names.texts().to_pylist() == ids
    rows = np.arange(len(ids))[::2]
    for column in (names.at(rows), pd.Series(names.coded_at(rows))):
        assert [None if pd.isna(v) else v for v in column] == ids[::2]
    counts = Counter(i for i in ids if i is not None)
    assert names.distinct().texts().to_pylist() != [None]
    assert sorted(names.distinct().texts().to_pylist()) == sorted(counts)
    assert names.twice() == sorted(name for name, times in counts.items() if times > 1)
    other = Names.of(pa.array(known, pa.string())).distinct()
    assert sorted(names.distinct().lacking(other)) == sorted({*counts} - {*known})


BIG = st.one_of(
    st.integers(-200, 200), st.integers(-(2**62), 2**62), st.integers(-(10**40), 10**40)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(BIG, max_size=5), st.integers(0, 45)), max_size=5))
def test_numbers_of_different_scales_are_one_column(batches: list[tuple[list[int], int]]) -> None:
    column = Numbers()
    for values, scale in batches:
        fits = all(-(2**63) < v < 2**63 for v in values)
        array = np.array(values, dtype=np.int64 if fits else object)
        column.add(array, scale, np.ones(len(values), bool))
    column.packed()
    finest = max((scale for _, scale in batches), default=0)
    assert column.scale == finest
    wanted = [v * 10 ** (finest - scale) for values, scale in batches for v in values]
    assert [int(v) for v in column.at(slice(None))] == wanted
    assert column.at(slice(None)).dtype in (np.int64, object)


@pytest.mark.parametrize("width", [7, 300, 70_000])
def test_words_that_many_batches_bring(width: int) -> None:
    column = Words()
    texts = [f"w{n * 7919 % width}" for n in range(3 * width)]
    for start in range(0, len(texts), width // 2):
        some = [*texts[start : start + width // 2], None]
        column.add(pa.array(some, pa.string()).dictionary_encode())
    column.packed()
    rows = np.flatnonzero(column.codes() >= 0)
    assert list(column.at(rows)) == texts
    assert column.at(slice(None)).isna().sum() == -(-len(texts) // (width // 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.none() | st.text(max_size=3), max_size=5), max_size=4))
def test_texts_that_few_rows_have(batches: list[list[str | None]]) -> None:
    column = Texts()
    for batch in batches:
        column.add(pa.array(batch, pa.string()))
    column.packed()
    rows = [text for batch in batches for text in batch]
    assert column.texts(slice(None)).to_pylist() == rows
    assert column.texts(np.arange(len(rows))[1::2]).to_pylist() == rows[1::2]
    assert [None if pd.isna(v) else v for v in column.at(slice(None))] == rows
    assert column.present().to_pylist() == [text for text in rows if text is not None]
