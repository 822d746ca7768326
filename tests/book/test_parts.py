"""A session worked out in parts is the session worked out whole; narrow columns lose nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book import EMPTY_BOOK, NOTHING_BESIDE, Beside, Book, BookDay, Transfer
from reporting.book.execution import Executions, Market, market_of
from reporting.book.packed import Column, Names, Numbers, Packed, Texts, Whole, Words
from reporting.book.parts import TOGETHER, Sources, parts, worked_through
from reporting.book.session import trade
from reporting.model import Frame, Missing, epoch_ms

from .drawn import (
    MONDAY,
    Fill,
    Instrument,
    action,
    at,
    coverage,
    fee_item,
    fills_frame,
    flow,
    instruments_frame,
    marks_frame,
    microseconds,
    small_fills,
    table_frame,
    trading_day,
)
from .executed import NO_VIEW, Quote, Trade, quotes_frame, trades_frame

NAMES = ("AAA", "BBB", "CCC")
INSTRUMENTS = instruments_frame(*(Instrument(n) for n in NAMES))
MARKS = marks_frame({"AAA": "21", "BBB": "100"})  # CCC never had one
SECOND = 1_000_000


@dataclass(frozen=True)
class Order:
    """One version of an order."""

    order_id: str
    account: str | None = "acc1"
    instrument: str | None = "AAA"
    replaces: str | None = None
    status: str = "filled"
    decision: int = 9


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
        venue=pd.Categorical([("X", "Y", "")[int(f.when.second) % 3] for f in fills]),
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
            "decision_us": one * day, "placed_us": one * day, "done_us": one * (day + SECOND),
            "recorded_us": one * day,
            **dict.fromkeys(("quantity", "arrival_price"), one * 7),
            "decision_price": np.array([o.decision for o in orders], np.int64),
            **{f"{name}_known": np.ones(n, bool)
               for name in ("quantity", "decision_price", "arrival_price")},
        }
    )  # fmt: skip
    scales = {f"{name}_scale": "0" for name in ("quantity", "decision_price", "arrival_price")}
    return packed(table, coverage(n, **scales), ("order_id",))


def drawn_earlier(orders: Sequence[Order]) -> Packed:
    """Two fills of yesterday for each of two orders, one of them paid for in another currency."""
    ids = [name for name in sorted({o.order_id for o in orders})[:2] for _ in range(2)]
    n = len(ids)
    early = np.full(n, microseconds(at(MONDAY)) - SECOND)
    table = pd.DataFrame(
        {
            "order_id": pd.Series(ids, dtype="str"),
            "venue": pd.Categorical(["", "X"] * (n // 2), categories=["", "X"]),
            "fee_currency": pd.Categorical(["USD", "EUR"] * (n // 2), categories=["USD", "EUR"]),
            "first_us": early, "last_us": early + np.arange(n),
            "quantity": np.arange(n) + 1, "amount": np.arange(n) * 11, "fee": np.arange(n) + 3,
            **{f"{name}_known": np.ones(n, bool) for name in ("quantity", "amount", "fee")},
        }
    )  # fmt: skip
    scales = {"quantity_scale": "0", "amount_scale": "3", "fee_scale": "1"}
    return packed(table, coverage(n, **scales))


def market(quoted: Sequence[tuple[str, int, int]] | None) -> Market:
    """Quotes and trades of (instrument, second, price), or neither view."""
    if quoted is None:
        return market_of(trading_day(), NO_VIEW, NO_VIEW)
    quotes = [Quote(microseconds(at(MONDAY, s)), str(p), str(p + 1), i) for i, s, p in quoted]
    trades = [Trade(microseconds(at(MONDAY, s)), str(p), "2.5", i) for i, s, p in quoted]
    return market_of(trading_day(), quotes_frame(quotes, 60), trades_frame(trades))


def through(
    opening: Book | Missing, sources: Sources, size: int, seen: Market, method: Any = "fifo"
) -> tuple[BookDay | Missing, Executions]:
    return worked_through(trading_day(), opening, sources, seen, method=method, size=size)


def same(found: tuple[Any, Executions], whole: tuple[Any, Executions]) -> None:
    """Everything of a session, found in parts and at once; findings in any order."""
    book, made = found
    wanted, at_once = whole
    by_check = [sorted(x.findings, key=lambda f: f.check) for x in (book, wanted, made, at_once)]
    assert by_check[0] == by_check[1]
    assert by_check[2] == by_check[3]
    assert book.model_copy(update={"findings": wanted.findings}) == wanted
    assert made.day == at_once.day
    assert made.slippage.to_dict("records") == at_once.slippage.to_dict("records")
    assert made.orders.to_dict("records") == at_once.orders.to_dict("records")


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
    status=st.sampled_from(["filled", "working", "rejected", "cancelled"]),
    decision=st.sampled_from([6, 9]),
)
SECONDS = st.integers(0, 90)
NUMBER = st.sampled_from(["3", "0.5", "0.1", "1E-13", "20.123456", None])
ACTION = st.builds(
    action,
    st.sampled_from(["A1", "A2", "A3"]),
    st.sampled_from(["split", "dividend", "expiry", "merger"]),
    NUMBER,
    st.integers(0, 4).map(lambda n: at(MONDAY, n)),
    instrument_id=st.sampled_from([*NAMES, "unknown"]),
)
FLOW = st.builds(
    flow,
    st.sampled_from(["C1", "C2", "C3"]),
    st.sampled_from(["deposit", "withdrawal", "funding", "interest", "charge", "gift"]),
    NUMBER,
    account_id=ACCOUNT | st.none(),
    instrument_id=st.sampled_from([*NAMES, "unknown", None]),
    currency=st.sampled_from(["USD", "EUR"]),
)
FEE_ITEM = st.builds(
    fee_item,
    st.sampled_from(["exchange", "broker"]),
    st.sampled_from(["1", "-0.25"]),
    account_id=ACCOUNT | st.none(),
    instrument_id=st.sampled_from([*NAMES, "unknown"]),
)


@st.composite
def besides(draw: st.DrawFn) -> Beside:
    """What happens beside fills, or none of the views."""

    def rows(row: st.SearchStrategy[Any]) -> Frame | Missing:
        found = draw(st.none() | st.lists(row, max_size=4))
        return NO_VIEW if found is None else table_frame(found)

    def some(kind: str) -> Frame:
        return small_fills(draw(st.lists(FILL, max_size=3)), kind)

    return Beside(
        actions=rows(ACTION),
        flows=rows(FLOW),
        fee_items=rows(FEE_ITEM),
        replaced=some(draw(st.sampled_from(["new", "correct"]))),
        correcting=some("correct"),
    )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(FILL, st.sampled_from([*ORDER_IDS, "lost", None])), max_size=12),
    st.lists(ORDER, max_size=8, unique_by=lambda o: o.order_id),
    st.tuples(st.lists(FILL, max_size=4), st.lists(FLOW, max_size=3)),
    st.integers(1, 5),
    st.booleans(),
    besides(),
    st.none() | st.lists(st.tuples(st.sampled_from(NAMES), SECONDS, st.integers(1, 99))),
    st.tuples(*[st.sampled_from(["fifo", "lifo", "hifo", "average"])] * 2),
)
def test_parts_join_to_the_whole(
    fills: list[tuple[Fill, str | None]],
    orders: list[Order],
    before: tuple[list[Fill], list[dict[str, Any]]],
    size: int,
    own: bool,
    beside: Beside,
    quoted: Any,
    methods: tuple[Any, Any],
) -> None:
    was, method = methods
    opening: Book = trade(
        EMPTY_BOOK, INSTRUMENTS, fills_frame(before[0]), MARKS, epoch_ms(at(MONDAY)),
        method=was, beside=Beside(flows=table_frame(before[1])),
    ).closing  # fmt: skip
    if own:  # every order is of its fills' own key, so that the day can be divided
        keys = {o.order_id: (o.account, o.instrument) for o in orders}
        fills = [
            (f, name if keys.get(name or "") == (f.account, f.instrument) else None)
            for f, name in fills
        ]
    sources = Sources(
        INSTRUMENTS,
        drawn_fills(*zip(*fills, strict=True)) if fills else drawn_fills([], []),
        MARKS,
        drawn_orders(orders),
        drawn_earlier(orders),
        beside,
    )
    seen = market(quoted)
    same(
        through(opening, sources, size, seen, method),
        through(opening, sources, len(fills) + 1, seen, method),
    )
    divided = list(parts(opening, sources, seen, size))
    if own:
        assert len(divided) == max(-(-len(fills) // size), 1)
    times = Counter(
        key for p in divided for key in {*zip(p.fills.table["account_id"].astype(object).fillna(""),
                                              p.fills.table["instrument_id"].astype(object).fillna(""),
                                              strict=True)}
    )  # fmt: skip
    known = {key: n for key, n in times.items() if all(key)}
    assert set(known.values()) <= {1}


def two_accounts(orders: Sequence[Order], beside: Beside = NOTHING_BESIDE) -> Sources:
    """Four fills, two of each of two accounts."""
    fills = [Fill(str(n), 1, "1", "10", account=f"acc{n % 2}") for n in range(4)]
    return Sources(INSTRUMENTS, drawn_fills(fills, ["O0", "O1"] * 2), MARKS, drawn_orders(orders),
                   drawn_earlier([]), beside)  # fmt: skip


OWN = [Order("O0", "acc0"), Order("O1", "acc1")]


@pytest.mark.parametrize("count", [TOGETHER - 1, TOGETHER, TOGETHER + 1, 2 * TOGETHER + 1])
def test_every_row_is_in_the_part_of_its_key_in_the_order_of_the_whole(count: int) -> None:
    fills = [Fill(str(n), 1, "1", "10", account=f"acc{n % count}") for n in range(3 * count)]
    orders = [Order(f"O{n}", f"acc{n}") for n in range(count)]
    sources = Sources(INSTRUMENTS, drawn_fills(fills, [f"O{n % count}" for n in range(3 * count)]),
                      MARKS, drawn_orders(orders), drawn_earlier([]))  # fmt: skip
    found = {}
    for part in parts(EMPTY_BOOK, sources, market(None), 3):
        (account,) = set(part.fills.table["account_id"])
        assert [*part.orders.table["account_id"]] == [account]
        found[account] = [*part.fills.table["fill_id"]]
    whole = sources.fills.table
    assert found == {
        account: [*rows["fill_id"]]
        for account, rows in whole.groupby("account_id", observed=True, sort=False)
    }
    assert len(found) == count


def test_an_order_of_another_account_keeps_the_day_in_one_piece() -> None:
    divided = list(parts(EMPTY_BOOK, two_accounts(OWN), market(None), 2))
    assert [len(p.fills.table) for p in divided] == [2, 2]
    book, _ = through(EMPTY_BOOK, two_accounts(OWN), 2, market(None))
    assert isinstance(book, BookDay)
    (mark,) = book.marks
    assert mark.value == (2 + 2) * 21
    for crossed in (
        [*OWN[:1], Order("O1", "acc0")],
        [*OWN[:1], Order("O1", "acc1", replaces="O0")],
    ):
        whole = list(parts(EMPTY_BOOK, two_accounts(crossed), market(None), 2))
        assert [p.fills.coverage.rows for p in whole] == [4]


def test_what_is_of_no_fill_is_booked_once_whatever_the_parts() -> None:
    deposits = [flow("C1", "deposit", "100"), flow("C2", "deposit", "5", account_id="acc1")]
    bad = [flow("C3", "gift", "1"), flow("C4", "interest", "7", account_id="acc9")]
    beside = Beside(
        actions=table_frame([action("A1", "merger", "1", at(MONDAY, 1)),
                             action("A2", "dividend", "2", at(MONDAY, 30))]),
        flows=table_frame([*deposits, *bad]),
        fee_items=table_frame([fee_item("broker", "3", account_id="acc0"),
                               fee_item("broker", "4", account_id="acc1")]),
    )  # fmt: skip
    opening = EMPTY_BOOK.model_copy(
        update={"transfers": (Transfer(account="acc1", currency="USD", balance=Decimal(1)),)}
    )
    book, _ = through(opening, two_accounts(OWN, beside), 2, market(None))
    assert isinstance(book, BookDay)
    assert [(t.account, t.balance) for t in book.transfers] == [("acc1", 1 + 100 + 5)]
    assert sum(c.interest for c in book.cells) == 7
    assert sum(c.dividends for c in book.cells) == 4 * 2
    found = {f.check: (f.count, f.samples) for f in book.findings}
    assert found["corporate action not booked"] == (1, ("A1",))
    assert found["cash flow not booked"] == (1, ("C3",))
    # Two cells whose fills had no fee have items of 3 and 4.
    (differing,) = (f for f in book.findings if f.check.startswith("fee items differ"))
    assert differing.count == 2
    assert differing.detail == "fees less items: -7 USD; shown as not itemised"


def test_a_fill_that_was_replaced_twice_counts_in_the_part_of_its_first_record() -> None:
    # The correction of another account was replaced itself; its fill was first one of acc1.
    replaced = [small_fills([Fill("1", 1, "2", "15", account=f"acc{n}")], kind).table
                for n, kind in enumerate(["correct", "new", "new"])]  # fmt: skip
    table = pd.concat(replaced, ignore_index=True)
    beside = Beside(replaced=Frame(table, coverage(3)))
    sources = two_accounts(OWN, beside)
    found = through(EMPTY_BOOK, sources, 2, market(None))
    same(found, through(EMPTY_BOOK, sources, 9, market(None)))
    assert isinstance(found[0], BookDay)
    # 2 bought at 15 and now at 21 are gone.
    assert {m.account: m.corrections for m in found[0].moves} == {"acc0": 0, "acc1": -12}


def test_a_split_that_needs_finer_units_gives_them_to_every_part() -> None:
    # acc0 holds 1 from before; of acc1's fills one comes after the split, 1 before.
    opening = trade(
        EMPTY_BOOK, INSTRUMENTS, fills_frame([Fill("a", 1, "1", "10", account="acc0")]), MARKS,
        epoch_ms(at(MONDAY)),
    ).closing  # fmt: skip
    fills = [
        Fill("1", 1, "1", "10", account="acc1", when=at(MONDAY, 1)),
        Fill("2", 1, "1", "10", instrument="BBB", account="acc2", when=at(MONDAY, 3)),
    ]
    sources = Sources(
        INSTRUMENTS, drawn_fills(fills, [None, None]), MARKS, drawn_orders([]), drawn_earlier([]),
        Beside(actions=table_frame([action("S", "split", "0.125", at(MONDAY, 2))])),
    )  # fmt: skip
    book, _ = through(opening, sources, 1, market(None))
    assert isinstance(book, BookDay)
    assert book.closing.quantity_scale == 3
    # In thousandths: an eighth at ten old prices is 80; one of BBB is 1000.
    assert {(r.account, r.instrument): r.lots for r in book.closing.lots} == {
        ("acc0", "AAA"): "125@80",
        ("acc1", "AAA"): "125@80",
        ("acc2", "BBB"): "1000@10",
    }
    same((book, through(opening, sources, 1, market(None))[1]),
         through(opening, sources, 9, market(None)))  # fmt: skip


def test_without_an_opening_book_there_are_executions_all_the_same() -> None:
    book, made = through(NO_VIEW, two_accounts(OWN), 2, market(None))
    assert book == NO_VIEW
    assert made.slippage["fills"].sum() == 4


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
