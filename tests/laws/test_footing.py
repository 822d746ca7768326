"""Totals foot: in every table of the sample reports, to the last unit, and the page says how far.

A total that is a sum is called "Total"; "Largest", "All orders" and the identity's result are
something else and are tested where they are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from reporting import render
from reporting.model import Count, Money, Shown, Text
from reporting.page import Document, Table
from reporting.render import words

SAMPLE = Path(__file__).parents[2] / "reports" / "sample"
DOCUMENTS = {
    path.parents[2].name: Document.model_validate_json(path.read_bytes())
    for path in sorted(SAMPLE.glob("*/*/r*/facts.json"))
}


def totalled(document: Document) -> Iterator[Table]:
    for section in document.sections:
        for table in section.tables:
            if table.total is not None and table.total[0] == Text(text="Total"):
                yield table


def columns(table: Table) -> Iterator[tuple[str, list[Shown], Shown]]:
    """Key, cells and total of each column that has a total of money or of a count."""
    assert table.total is not None
    for at, column in enumerate(table.columns):
        if isinstance(table.total[at], Money | Count):
            yield column.key, [row[at] for row in table.rows], table.total[at]


def amount(cell: Shown) -> Fraction:
    """A cell's exact amount; what could not be valued is in no total."""
    if isinstance(cell, Money):
        return Fraction(cell.amount)
    return Fraction(cell.value) if isinstance(cell, Count) else Fraction(0)


def shown(cell: Shown) -> Fraction:
    """What a reader of the page would add up: the printed digits."""
    if not isinstance(cell, Money | Count):
        return Fraction(0)
    digits = words(cell, unit=False).replace(",", "").replace("−", "-")
    return Fraction(Decimal(digits))


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_there_are_totals_to_foot(kind: str) -> None:
    names = {table.id for table in totalled(DOCUMENTS[kind])}
    assert {"pnl_by_strategy", "pnl_by_agent", "pnl_by_account", "pnl_by_instrument"} <= names


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_every_total_is_the_sum_of_its_rows_to_the_last_unit(kind: str) -> None:
    wrong = [
        f"{table.id}.{key}: rows {sum(map(amount, cells))}, total {amount(total)}"
        for table in totalled(DOCUMENTS[kind])
        for key, cells, total in columns(table)
        if sum(map(amount, cells)) != amount(total)
    ]
    assert wrong == []


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_money_columns_are_of_one_currency(kind: str) -> None:
    mixed = [
        f"{table.id}.{key}"
        for table in totalled(DOCUMENTS[kind])
        for key, cells, total in columns(table)
        if len({c.currency for c in (*cells, total) if isinstance(c, Money)}) > 1
    ]
    assert mixed == []


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_the_same_total_stands_under_every_breakdown(kind: str) -> None:
    """By strategy, agent, account, instrument and cell: one and the same book."""
    found: dict[str, set[Fraction]] = {}
    for table in totalled(DOCUMENTS[kind]):
        if table.id.startswith("pnl_"):
            for key, _, total in columns(table):
                found.setdefault(key, set()).add(amount(total))
    assert {"net", "gross", "fees"} <= set(found)
    assert {key for key, values in found.items() if len(values) > 1} == set()


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_printed_cents_are_off_by_their_rounding_and_no_more(kind: str) -> None:
    """Rows are rounded one by one, so n of them may miss the printed total by (n + 1)/2 cents."""
    wrong = []
    for table in totalled(DOCUMENTS[kind]):
        for key, cells, total in columns(table):
            off = abs(sum(map(shown, cells)) - shown(total))
            most = Fraction(len(cells) + 1, 200) if isinstance(total, Money) else Fraction(0)
            if off > most:
                wrong.append(f"{table.id}.{key}: printed rows miss the printed total by {off}")
    assert wrong == []


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_page_foots_by_itself(kind: str) -> None:
    """A table that is cut says what the other rows come to: what is printed adds up."""
    cut = 0
    for table in totalled(DOCUMENTS[kind]):
        limit = min(len(table.rows) - 1, 3)
        if limit < 1:
            continue
        grid = render._grid(table, limit, "UTC")
        *rows, others = grid.rows
        assert len(rows) == limit and str(others[0]).startswith(f"{len(table.rows) - limit} more")
        assert grid.total is not None
        cut += 1
        off = Fraction(Decimal(grid.off or "0"))
        for at, column in enumerate(c for c in table.columns if c.shown):
            cell = table.total[table.columns.index(column)] if table.total else None
            if isinstance(cell, Money | Count):
                printed = [printed_amount(row[at]) for row in (*grid.rows, grid.total)]
                assert abs(sum(printed[:-1]) - printed[-1]) <= off, (table.id, column.key)
    assert cut


def printed_amount(cell: object) -> Fraction:
    """The number in a cell of HTML."""
    digits = re.sub(r"<[^>]+>|[\s,]", "", str(cell)).replace("−", "-")
    return Fraction(Decimal(digits))
