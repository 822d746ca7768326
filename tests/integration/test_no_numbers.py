"""NaN and infinity, which NUMERIC can hold, in every number of the contract, through the close."""

from __future__ import annotations

import pytest

from reporting import pipeline
from reporting.pipeline.issuing import draft
from reporting.sources.ledger import contract

from ..line.site import Site, facts, sealed
from .test_book_ledger import END, TUESDAY, contract_ledger, firm

__all__ = ["contract_ledger", "firm"]

#: Rows for the views of which the ledger of the tests has none, at times within Tuesday.
MORE = """
insert into firm.orders values
    ('o1', null, 'acc1', 'AAA', 'trend', 'alpha', -1, 50, '2026-03-03T14:59Z', '2026-03-03T14:58Z',
     15.5, 15.5, 'filled', null, '2026-03-03T15:01Z', '2026-03-03T15:01Z');
update firm.fills set order_id = 'o1' where fill_id in ('f3', 'f4');
insert into firm.quotes values
    ('AAA', 15.4, 15.6, '2026-03-03T14:59:59Z', '2026-03-03T14:59:59Z'),
    ('AAA', 15.4, 15.6, '2026-03-03T15:00:01Z', '2026-03-03T15:00:01Z');
insert into firm.market_trades values
    ('AAA', 15.5, 10, '2026-03-03T15:00:30Z', '2026-03-03T15:00:30Z');
insert into firm.fx_rates values
    ('EUR', 'USD', 1.2, 'fix', '2026-03-03T12:00Z', '2026-03-03T12:00Z');
insert into firm.corporate_actions values
    ('e1', 'BBB', 'expiry', null, 4, null, '2026-03-03T18:00Z', '2026-03-01');
insert into firm.reported_positions values
    ('acc1', 'AAA', 150, 'bank', '2026-03-03T21:00Z', '2026-03-03T21:00Z');
insert into firm.reported_cash values
    ('acc1', 'USD', 5000, 'bank', '2026-03-03T21:00Z', '2026-03-03T21:00Z');
"""
#: One row of each view, by a condition, and how a finding names it.
ROW = {
    "instruments": ("instrument_id = 'BBB'", "BBB"),
    "orders": ("order_id = 'o1'", "o1"),
    "fills": ("fill_id = 'f4'", "f4"),
    "marks": ("instrument_id = 'AAA' and marked_at > '2026-03-03'", "AAA / close / 2026-03-03"),
    "fx_rates": ("fixed_at > '2026-03-03'", "EUR/USD / fix / 2026-03-03"),
    "fees": ("fill_id = 'f4'", "f4"),
    "quotes": ("quoted_at < '2026-03-03T15:00Z'", "AAA / 2026-03-03"),
    "market_trades": ("true", "AAA / 2026-03-03"),
    "corporate_actions": ("action_id in ('a1', 'a2') and recorded_at = '2026-03-02'", "a1"),
    "cash_flows": ("flow_id = 'c2'", "c2"),
    "reported_positions": ("true", "bank / acc1 / AAA"),
    "reported_cash": ("true", "bank / acc1 / USD"),
}
NUMBERS = [
    (view, column)
    for view, columns in contract().items()
    for column, kind in columns
    if kind == "numeric"
]


def test_every_number_of_the_contract_is_tried() -> None:
    assert {view for view, _ in NUMBERS} == {*ROW}
    assert len(NUMBERS) > 20


@pytest.mark.parametrize("number", ["NaN", pytest.param("Infinity", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("view", "column"),
    [pytest.param(*n, marks=[pytest.mark.slow] if at % 4 else []) for at, n in enumerate(NUMBERS)],
)
def test_a_number_that_is_none_is_an_error_finding_and_the_close_goes_on(
    firm: Site, view: str, column: str, number: str
) -> None:
    where, name = ROW[view]
    if (view, column) == ("corporate_actions", "amount"):
        where, name = "action_id = 'a2'", "a2"
    firm.ledger_sql(MORE + f"update firm.{view} set {column} = '{number}' where {where}")
    pipeline.close(firm.service(), TUESDAY, END)
    found = [
        f
        for f in sealed(firm.store, TUESDAY).findings
        if f.severity == "error" and any(s.startswith(name) for s in f.samples)
    ]
    assert found, [(f.check, f.severity, f.samples) for f in sealed(firm.store, TUESDAY).findings]
    for fact in facts(firm.store, TUESDAY).values():
        assert not {"NaN", "Infinity", "-Infinity"} & texts(fact)
    document = draft(firm.service(), "daily", TUESDAY, END)
    assert document.status == "INCOMPLETE"


def texts(fact: object) -> set[str]:
    """Every text within a fact's JSON."""
    if isinstance(fact, dict):
        return set().union(*map(texts, fact.values())) if fact else set()
    if isinstance(fact, list):
        return set().union(*map(texts, fact)) if fact else set()
    return {fact} if isinstance(fact, str) else set()
