"""Ids of numbers: no two alike, whatever words the ledger has, and forgiving to who types them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reporting.document.numbers import find, numbers_of, row_names
from reporting.errors import UsageError
from reporting.model import Count, Money, Number, Text
from reporting.page import BarsChart, Column, Figure, Line, Section, Table

WORDS = Column(key="venue", label="Venue", align="left")
MORE = Column(key="agent", label="Agent", align="left")
COST = Column(key="cost", label="Cost")
BURN = Column(key="burn", label="Burn rate")
NOTE = Column(key="note", label="Note", align="left")


def usd(amount: int, currency: str = "USD") -> Money:
    return Money(amount=Decimal(amount), currency=currency)


def table(*rows: tuple[object, ...], columns: tuple[Column, ...] = (WORDS, COST)) -> Table:
    cells = tuple(tuple(Text(text=c) if isinstance(c, str) else c for c in row) for row in rows)
    return Table(id="t", title="T", columns=columns, rows=cells)  # type: ignore[arg-type]


def section(*tables: Table, **more: object) -> Section:
    return Section(id="s", title="S", tables=tables, **more)  # type: ignore[arg-type]


def ids(*tables: Table) -> list[str]:
    return list(numbers_of(section(*tables)))


def test_a_cell_is_known_by_its_table_its_row_and_its_column() -> None:
    assert ids(table(("ARX", usd(1)), ("Big Board", usd(2)))) == [
        "t/ARX/cost",
        't/"Big Board"/cost',
    ]


def test_as_few_words_as_tell_the_rows_apart() -> None:
    columns = (WORDS, MORE, COST)
    assert ids(table(("A", "x", usd(1)), ("B", "x", usd(2)), columns=columns)) == [
        "t/A/cost",
        "t/B/cost",
    ]
    assert ids(table(("A", "x", usd(1)), ("A", "y", usd(2)), columns=columns)) == [
        "t/A,x/cost",
        "t/A,y/cost",
    ]


def test_rows_of_the_same_words_are_told_apart_by_currency_and_then_by_number() -> None:
    rows = (("A", usd(1)), ("A", usd(2, "EUR")), ("A", usd(3)), ("B", usd(4)))
    assert ids(table(*rows)) == ["t/A,USD/cost", "t/A,EUR/cost", "t/A,USD,#2/cost", "t/B/cost"]


def test_words_are_no_numbers_but_right_hand_ones_are() -> None:
    columns = (WORDS, BURN, NOTE)
    found = numbers_of(section(table(("A", "0.2 to 0.3", "met"), ("B", "", "–"), columns=columns)))
    assert list(found) == ["t/A/burn"]


def test_the_total_row_is_a_row() -> None:
    whole = table(("A", usd(1))).model_copy(update={"total": (Text(text="Total"), usd(1))})
    assert ids(whole) == ["t/A/cost", "t/Total/cost"]


def test_points_of_a_chart_and_no_gaps() -> None:
    chart = BarsChart(
        id="c", title="C", alt="", unit="USD", labels=("2025-12-01", "2025-12-02"),
        bars=Line(label="Net P&L", values=(Decimal(1), None)),
        lines=(Line(label="Cumulative", values=(Decimal(1), Decimal(1))),),
    )  # fmt: skip
    found = numbers_of(section(charts=(chart,)))
    assert list(found) == [
        'c/"Net P&L"/2025-12-01',
        "c/Cumulative/2025-12-01",
        "c/Cumulative/2025-12-02",
    ]
    assert found["c/Cumulative/2025-12-02"].value == Number(value=Decimal(1), unit="USD")


HOSTILE = st.text(st.sampled_from('ab,/"\\# 1é'), max_size=6)


@example([('p q","r s', ""), ("p q", "r s"), ("p q", "z")])  # alike but for the backslashes
@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1, max_size=8))
def test_no_two_cells_share_an_id(words: list[tuple[str, str]]) -> None:
    rows = [(*pair, Count(value=n)) for n, pair in enumerate(words)]
    made = table(*rows, columns=(WORDS, MORE, COST))
    found = numbers_of(section(made))
    assert [p.value for p in found.values()] == [Count(value=n) for n in range(len(rows))]
    names = [name for name, _ in row_names(made, made.rows)]
    assert len(set(names)) == len(names)


COLUMNS = (WORDS, MORE, COST)


def find_in(name: str, *rows: tuple[object, ...]) -> str:
    printed = numbers_of(
        section(
            table(*rows, columns=COLUMNS),
            figures=(Figure(id="pnl.net", label="Net", value=usd(1)),),
        )
    )
    return find(name, printed).id


@pytest.mark.parametrize(
    "typed", ['t/"Big Board"/cost', "t/Big Board/cost", "t/bigboard/cost", "t/Big Board,x/cost"]
)
def test_what_is_typed_need_not_be_quoted(typed: str) -> None:
    rows = (("Big Board", "x", usd(1)), ("ARX", "y", usd(2)))
    assert find_in(typed, *rows) == 't/"Big Board"/cost'


def test_the_first_words_do_where_only_one_row_is_meant() -> None:
    rows = (("A", "x", usd(1)), ("A", "y", usd(2)), ("B", "x", usd(3)))
    assert find_in("t/B/cost", *rows) == "t/B,x/cost"
    with pytest.raises(UsageError, match=r"t/A,x/cost or t/A,y/cost"):
        find_in("t/A/cost", *rows)


def test_near_misses_are_named() -> None:
    with pytest.raises(UsageError, match=r"'pnl.nett'; did you mean pnl.net\?"):
        find_in("pnl.nett", ("A", "x", usd(1)))
    with pytest.raises(UsageError, match="--list shows all"):
        find_in("zzz", ("A", "x", usd(1)))


def test_half_a_word_is_no_word() -> None:
    with pytest.raises(UsageError, match="did you mean t/AB/cost"):
        find_in("t/A/cost", ("AB", "x", usd(1)), ("ZZ", "y", usd(2)))
