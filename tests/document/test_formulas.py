"""Every number that a report prints has exactly one formula, which points at facts that there are.

The documents are the sample reports; a quarterly one has the same sections as a monthly one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from reporting.document.formulas import FORMULAS, QUERIES, formula_of, formulas_of
from reporting.document.history import BY_NAME
from reporting.document.numbers import numbers
from reporting.page import Document

SAMPLES = sorted((Path(__file__).parents[2] / "reports" / "sample").glob("*/*/*/facts.json"))


@pytest.fixture(scope="module", params=SAMPLES, ids=lambda path: path.parent.parent.parent.name)
def document(request: pytest.FixtureRequest) -> Document:
    return Document.model_validate_json(request.param.read_bytes())


def test_the_samples_are_there() -> None:
    assert {path.parts[-4] for path in SAMPLES} >= {"daily", "weekly", "monthly"}


def test_every_number_has_exactly_one_formula(document: Document) -> None:
    printed = numbers(document)
    assert len(printed) > 4000
    shapes = {p.shape: p.id for p in printed.values()}
    wrong = {key: formulas_of(shape) for shape, key in shapes.items()}
    assert {key: [f.ids for f in found] for key, found in wrong.items() if len(found) != 1} == {}


def test_every_figure_and_cell_of_the_page_is_a_number(document: Document) -> None:
    """Counted here by another way than numbers() goes: right-hand cells and all that is no text."""
    printed = numbers(document)
    figures = {f.id for f in document.headline} | {
        f.id for s in document.sections for f in s.figures
    }
    assert figures <= printed.keys()
    cells = sum(
        cell.kind != "text" or (column.align == "right" and cell.text != "")
        for section in document.sections
        for table in section.tables
        for row in (*table.rows, *((table.total,) if table.total else ()))
        for column, cell in zip(table.columns, row, strict=True)
    )
    points = sum(p.shape.startswith("chart:") for p in printed.values())
    assert len(printed) == len(figures) + cells + points


def test_formulas_say_all_and_point_at_facts_that_there_are() -> None:
    for formula in FORMULAS:
        assert formula.words and formula.symbols and formula.source and formula.facts, formula.ids
        for pointer in formula.facts:
            measure, field = pointer.split("/")
            assert field in BY_NAME[measure].fact.model_fields, pointer


def test_no_formula_is_for_nothing() -> None:
    """Each is of a sample's number, but for those of what the sample may have none of."""
    shapes = {
        p.shape
        for path in SAMPLES
        for p in numbers(Document.model_validate_json(path.read_bytes())).values()
    }
    used = {id(f) for shape in shapes for f in formulas_of(shape)}
    unused = {f.ids[0] for f in FORMULAS if id(f) not in used}
    assert unused <= {
        "fill_rate.overfilled",
        "marks_disagreeing/*",
        "pnl.stale_rates",
        "var.limits_breached",
        "var_left_out/*",
    }


def test_a_number_without_a_formula_is_an_error() -> None:
    with pytest.raises(LookupError, match="0 formulas"):
        formula_of("weather.rain")


def test_every_query_of_a_report_belongs_to_a_measure(document: Document) -> None:
    assert QUERIES.keys() == BY_NAME.keys()
    claimed = {query for queries in QUERIES.values() for query in queries}
    assert {s.query for s in document.sources} <= claimed
