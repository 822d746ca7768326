"""Every number that stands on a report's pages, each with an id that a person can type.

    pnl.net                                        a figure
    pnl_by_instrument/"Cedar Bancorp"/net          a cell: table / words of the row / column
    pnl_explain/P&L/Carried                        a point of a chart: chart / line / label

The words of a row are as many of its leading text cells as tell the table's rows apart; rows that
have all of them in common (a venue in two currencies) are told apart by the currency of their
money, and what is still alike by ``#2``, ``#3`` in order. A word that has more in it than letters,
digits and ``_ . & + - %`` stands in double quotes, with ``\\`` before a quote or backslash of its
own, so that no two rows share an id.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from difflib import get_close_matches
from itertools import takewhile

from ..errors import UsageError
from ..model import Band, Missing, Moment, Money, Number, Ratio, Shown, Text, Why
from ..page import (
    BarsChart,
    CalendarChart,
    Chart,
    Document,
    Figure,
    HeatChart,
    LinesChart,
    Section,
    Table,
)

BARE = re.compile(r"[\w.+%−-]+")
#: How many ids an error message suggests.
NEAR = 5


@dataclass(frozen=True)
class Printed:
    """One number of a report.

    ``shape`` is what formulas are found by: the id of a figure, ``table/column`` of a cell,
    ``chart:id`` of a point. ``row`` are the words of a cell's row or the line of a point, as they
    stand in the id. ``figure`` has the target, where it is one; ``texts`` are the words of a cell's
    row by column.
    """

    id: str
    shape: str
    label: str
    value: Shown
    section: str
    row: str = ""
    column: str = ""
    figure: Figure | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


def numbers(document: Document) -> dict[str, Printed]:
    """Every number of the document by its id, in the order in which they are printed.

    A figure that stands on the first page too is there once, as the first page has it.
    """
    return _by_id(_all(document))


def numbers_of(section: Section) -> dict[str, Printed]:
    """Every number of one section by its id."""
    return _by_id(_in(section))


def _by_id(printed: Iterable[Printed]) -> dict[str, Printed]:
    found: dict[str, Printed] = {}
    for each in printed:
        if each.figure is not None and each.id in found:
            continue
        key, count = each.id, 1
        while key in found:
            count += 1
            key = f"{each.id}#{count}"
        found[key] = each if key == each.id else replace(each, id=key)
    return found


def find(given: str, printed: dict[str, Printed]) -> Printed:
    """The number that ``given`` names; :class:`UsageError` with what is near where there is none.

    Quotes, spaces and case need not be right, and a row may be named by its first words alone, as
    long as only one number can be meant.
    """
    if given in printed:
        return printed[given]
    wanted = _loose(given)
    alike = [p for p in printed.values() if _loose(p.id) == wanted]
    head, _, rest = wanted.partition("/")
    row, _, column = rest.rpartition("/")
    if row and not alike:
        for each in printed.values():
            known = _loose(each.row)
            same = (_loose(each.shape.split("/")[0].removeprefix("chart:")), _loose(each.column))
            if same == (head, column) and (
                known.startswith(f"{row},") or row.startswith(f"{known},")
            ):
                alike.append(each)
    if len(alike) == 1:
        return alike[0]
    near = [p.id for p in alike[:NEAR]] or get_close_matches(given, printed, n=NEAR, cutoff=0.5)
    raise UsageError(
        f"no figure of this report is called {given!r}; "
        + (f"did you mean {' or '.join(near)}? " if near else "")
        + "--list shows all"
    )


def _all(document: Document) -> Iterator[Printed]:
    at_home = {f.id: s.id for s in document.sections for f in s.figures}
    for figure in document.headline:
        yield _of_figure(figure, at_home.get(figure.id, figure.id.split(".")[0]))
    for section in document.sections:
        yield from _in(section)


def _in(section: Section) -> Iterator[Printed]:
    for figure in section.figures:
        yield _of_figure(figure, section.id)
    for table in section.tables:
        yield from _cells(table, section)
    for chart in section.charts:
        yield from _points(chart, section)


def _of_figure(figure: Figure, section: str) -> Printed:
    return Printed(figure.id, figure.id, figure.label, figure.value, section, figure=figure)


def _cells(table: Table, section: Section) -> Iterator[Printed]:
    """Every cell but the words that name a row or tell about it."""
    rows = [*table.rows, *([table.total] if table.total else [])]
    for row, (name, words) in zip(rows, row_names(table, rows), strict=True):
        texts = {
            column.key: cell.text
            for column, cell in zip(table.columns, row, strict=True)
            if isinstance(cell, Text) and cell.text
        }
        for column, cell in zip(table.columns, row, strict=True):
            if isinstance(cell, Text) and (column.align == "left" or not cell.text):
                continue
            yield Printed(
                id=f"{table.id}/{name}/{column.key}",
                shape=f"{table.id}/{column.key}",
                label=f"{table.title}: {words}, {column.label or column.key}",
                value=cell,
                section=section.id,
                row=name,
                column=column.key,
                texts=texts,
            )


def row_names(table: Table, rows: Sequence[Sequence[Shown]]) -> list[tuple[str, str]]:
    """What each of a table's rows is called in an id, and to a person."""
    seen: dict[tuple[str, ...], int] = {}
    found = []
    for words in _row_words(table, rows):
        seen[words] = seen.get(words, 0) + 1
        again = f"#{seen[words]}" if seen[words] > 1 else ""
        name = ",".join(map(quoted, words)) + (f",{again}" if again else "")
        found.append((name, f"{', '.join(words)} {again}".strip()))
    return found


def _row_words(table: Table, rows: Sequence[Sequence[Shown]]) -> list[tuple[str, ...]]:
    """The words that each row is known by, see the top of this module; some may be alike."""
    leading = len(list(takewhile(lambda c: c.align == "left", table.columns)))
    told: list[tuple[str, ...]] = [() for _ in rows]
    for width in range(1, leading + 1):
        told = [tuple(filter(None, map(_word, row[:width]))) for row in rows]
        if len(set(told)) == len(told):
            return told
    twice = {words for words, count in Counter(told).items() if count > 1}
    return [
        (*words, currency) if words in twice and (currency := _currency(row)) else words
        for words, row in zip(told, rows, strict=True)
    ]


def _word(cell: Shown) -> str:
    if isinstance(cell, Text):
        return cell.text.strip()
    return cell.at.isoformat() if isinstance(cell, Moment) else ""


def _currency(row: Iterable[Shown]) -> str:
    return next((cell.currency for cell in row if isinstance(cell, Money)), "")


def _points(chart: Chart, section: Section) -> Iterator[Printed]:
    """Every point that is drawn; a gap is none, and a timeline has states and no numbers."""
    for line, label, value in _drawn(chart):
        yield Printed(
            id=f"{chart.id}/{quoted(line)}/{quoted(label)}",
            shape=f"chart:{chart.id}",
            label=f"{chart.title}: {line}, {label}",
            value=value,
            section=section.id,
            row=quoted(line),
            column=quoted(label),
        )


def _drawn(chart: Chart) -> Iterator[tuple[str, str, Shown]]:
    lines: list[tuple[str, Sequence[Decimal | None]]] = []
    labels: tuple[str, ...] = ()
    unit = ""
    match chart:
        case BarsChart():
            lines = [(x.label, x.values) for x in (chart.bars, *chart.lines)]
            labels, unit = chart.labels, chart.unit
        case LinesChart():
            every = (*chart.lines, *([chart.below] if chart.below else []))
            lines = [(x.label, x.values) for x in every]
            labels, unit = chart.labels, chart.unit
        case HeatChart():
            lines = [(x.label, x.values) for x in chart.rows]
            labels, unit = chart.labels, chart.unit
        case CalendarChart():
            for row in chart.rows:
                for cell in row.cells:
                    yield row.label, cell.day.isoformat(), _share(cell.low_pct, cell.high_pct)
    for name, values in lines:
        for label, value in zip(labels, values, strict=True):
            if value is not None:
                yield name, label, Number(value=value, unit=unit)


def _share(low: Decimal | None, high: Decimal | None) -> Shown:
    """A day's availability, in per cent, as the band that the calendar's cell stands for."""
    if low is None or high is None:
        return Missing(why=Why.NO_DATA, detail="nothing is known of the day")
    hundred = Decimal(100)
    return Band(
        low=Ratio(numerator=low, denominator=hundred),
        high=Ratio(numerator=high, denominator=hundred),
    )


def quoted(word: str) -> str:
    """A word as it stands in an id."""
    if BARE.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _loose(name: str) -> str:
    return re.sub(r'["\\\s]', "", name).casefold()
