"""A ledger of tables like the contract, through the close: what the book reads of it in SQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from reporting import pipeline
from reporting.book import Book
from reporting.measures.pnl import COMPONENTS, PnlFact, totals
from reporting.model import Frame, Missing
from reporting.periods import trading_day

from ..line.site import ROOT, WORKER, Server, Site, facts, sealed

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)
END = datetime.fromisoformat("2026-03-04T12:00+00:00")
VIEWS = (
    *("instruments", "orders", "fills", "marks", "fx_rates", "fees", "quotes", "market_trades"),
    *("corporate_actions", "cash_flows", "reported_positions", "reported_cash"),
)

#: Two sessions of one instrument: 100 at 30 on Monday, a split and a sale of 50 on Tuesday.
ROWS = """
insert into firm.instruments values
    ('AAA', 'Aaa', 'USD', 1, 0.01, 1, '2026-03-01'),
    ('BBB', 'Bbb', 'EUR', 10, 0.01, 1, '2026-03-01');
insert into firm.fx_rates values ('EUR', 'USD', 1.1, 'fix', '2026-03-01', '2026-03-01');
insert into firm.marks values
    ('AAA', 31, 'close', '2026-03-02T20:00Z', '2026-03-02T20:00Z'),
    ('BBB', 5, 'close', '2026-03-02T20:00Z', '2026-03-02T20:00Z'),
    ('AAA', 16, 'close', '2026-03-03T20:00Z', '2026-03-03T20:00Z');
insert into firm.fills values
    ('f1', null, 'acc1', 'AAA', 'trend', 'alpha', 1, '2026-03-02T10:00Z', 100, 30, 'X', 3, 'USD',
     'new', null, '2026-03-02T10:00Z'),
    ('f2', null, 'acc1', 'BBB', 'hedge', 'beta', -1, '2026-03-02T11:00Z', 7, 5.25, 'X', 1, 'EUR',
     'new', null, '2026-03-02T11:00Z'),
    ('f3', null, 'acc1', 'AAA', 'trend', 'alpha', -1, '2026-03-03T15:00Z', 40, 15.5, 'X', 2, 'USD',
     'new', null, '2026-03-03T15:00Z'),
    ('f4', null, 'acc1', 'AAA', 'trend', 'alpha', -1, '2026-03-03T15:00Z', 50, 15.5, 'X', 2, 'USD',
     'correct', 'f3', '2026-03-03T16:00Z'),
    ('f5', null, 'acc1', 'AAA', 'trend', 'alpha', 1, '2026-03-03T16:30Z', 9, 15, 'X', 2, 'USD',
     'new', null, '2026-03-03T16:30Z'),
    ('f6', null, 'acc1', 'AAA', 'trend', 'alpha', 1, '2026-03-03T16:30Z', 9, 15, 'X', 0, 'USD',
     'bust', 'f5', '2026-03-03T17:00Z');
insert into firm.fees values
    ('f1', 'commission', 2, 'USD', '2026-03-02T10:00Z'),
    ('f1', 'tax', 1, 'USD', '2026-03-02T10:00Z'),
    ('f3', 'commission', 2, 'USD', '2026-03-03T15:00Z'),
    ('f4', 'commission', 1.5, 'USD', '2026-03-03T16:00Z');
insert into firm.corporate_actions values
    ('a1', 'AAA', 'split', 3, null, null, '2026-03-03T09:00Z', '2026-03-01'),
    ('a1', 'AAA', 'split', 2, null, null, '2026-03-03T09:00Z', '2026-03-02'),
    ('a2', 'AAA', 'dividend', null, 0.5, 'USD', '2026-03-03T09:00Z', '2026-03-01'),
    ('a3', 'AAA', 'split', 7, null, null, '2026-03-03T09:00Z', '2026-03-01'),
    ('a3', 'AAA', 'cancelled', 7, null, null, '2026-03-03T09:00Z', '2026-03-02');
insert into firm.cash_flows values
    ('c1', 'acc1', null, null, null, 'deposit', 5000, 'USD', '2026-03-02T08:00Z',
     '2026-03-02T08:00Z'),
    ('c2', 'acc1', 'AAA', 'trend', 'alpha', 'funding', -4, 'USD', '2026-03-03T08:00Z',
     '2026-03-03T08:00Z'),
    ('c3', 'acc1', null, null, null, 'charge', -9, 'USD', '2026-03-03T08:00Z', '2026-03-03T08:00Z'),
    ('c3', 'acc1', null, null, null, 'charge', 0, 'USD', '2026-03-03T08:00Z', '2026-03-03T09:00Z');
"""


@pytest.fixture(scope="module")
def contract_ledger(server: Server) -> Iterator[str]:
    """A database whose tables have the contract's own columns."""
    name = f"contract{WORKER}"
    server.run(f"create database {name}")
    server.run((ROOT / "sql" / "ledger" / "contract.sql").read_text("utf-8"), name)
    made = ["create schema firm"]
    for view in VIEWS:
        made.append(f"create table firm.{view} as table ledger.{view}")
        made.append(f"create or replace view ledger.{view} as table firm.{view}")
    server.run(";".join([*made, ROWS]), name)
    yield name
    server.drop(name)


@pytest.fixture
def firm(
    contract_ledger: str, empty_store: str, make_site: Callable[..., Site], tmp_path: Path
) -> Site:
    """A site over those tables; lots are kept last in first out from Tuesday on."""
    policy = tmp_path / "policy.toml"
    text = (ROOT / "config" / "policy.toml").read_text("utf-8")
    text += '[[lot_method]]\nfrom = 2026-03-03\nmethod = "lifo"\nsource = "board"\n'
    policy.write_text(text, "utf-8")
    return make_site(
        contract_ledger, empty_store, calendar="24/7", zone="UTC", base_currency="USD",
        policy_file=policy,
    )  # fmt: skip


def fact_of(site: Site, day: date) -> PnlFact:
    return PnlFact.model_validate(facts(site.store, day)["pnl"], strict=False)


def book_of(site: Site, day: date) -> Book:
    wanted = sealed(site.store, day).closing_book
    (row,) = site.store_sql(f"select body from reporting.closing_book where digest = '{wanted}'")
    return Book.model_validate_json(bytes(row[0]))


def changes(site: Site) -> list[Any]:
    """What the audit log has of changed lot methods."""
    entries = [json.loads(entry.entry) for entry in site.store.log()]
    bodies = [e["body"] for e in entries if e["event"] == "lot method changed"]
    return [{name: told for name, told in body.items() if name != "by"} for body in bodies]


def test_the_close_books_everything_that_the_ledger_has(firm: Site) -> None:
    pipeline.close(firm.service(), TUESDAY, END)
    monday, tuesday = fact_of(firm, MONDAY), fact_of(firm, TUESDAY)
    cells = {(c.strategy, c.instrument, c.currency): c for c in tuesday.cells}
    own = cells["trend", "AAA", "USD"]
    # The newest version of an action counts, a cancelled one does not: 2 new for 1 old.
    assert (own.position_close, own.adjusted) == (200 - 50, 100)
    assert own.dividends == Decimal("0.5") * 100
    assert (own.funding, own.charges) == (-4, 0)  # a flow of amount 0 takes it back
    assert own.realised == 50 * (Decimal("15.5") - 15)
    assert [t.model_dump(mode="json") for t in book_of(firm, TUESDAY).transfers] == [
        {"account": "acc1", "currency": "USD", "balance": "5000"}
    ]
    # Fee items of fills in force: f3 is corrected, so what f4 does not itemise is named.
    assert not isinstance(tuesday.fee_items, Missing) and not isinstance(monday.fee_items, Missing)
    assert [(i.kind, i.amount) for i in tuesday.fee_items] == [
        ("commission", Decimal("1.5")), ("not itemised", Decimal("0.5")),
    ]  # fmt: skip
    assert [(i.kind, i.currency, i.amount) for i in monday.fee_items] == [
        ("not itemised", "EUR", 1), ("commission", "USD", 2), ("tax", "USD", 1),
    ]  # fmt: skip
    assert not isinstance(tuesday.explained, Missing)
    (told,) = [row for row in tuesday.explained if row.instrument == "AAA"]
    # To the mark of 16: as recorded −40 and 9; in force −50.
    assert told.intraday == -40 * (16 - Decimal("15.5")) + 9 * (16 - 15)
    assert told.corrections == -10 * (16 - Decimal("15.5")) - 9 * (16 - 15)
    assert told.carried == 200 * 16 - 100 * 31
    total = totals(tuesday)
    assert not isinstance(total, Missing) and total.identity_gap == 0
    parts = sum(getattr(row, name) for row in tuesday.explained for name in COMPONENTS)
    assert parts == total.net


def test_a_change_of_the_lot_method_is_logged_and_sealed(firm: Site) -> None:
    pipeline.close(firm.service(), TUESDAY, END)
    expected = {"day": "2026-03-03", "revision": 1, "from": "fifo", "to": "lifo"}
    assert changes(firm) == [expected]
    assert (fact_of(firm, MONDAY).method, fact_of(firm, TUESDAY).method) == ("fifo", "lifo")
    (change,) = fact_of(firm, TUESDAY).changes
    assert (change.before, change.after, change.day) == ("fifo", "lifo", TUESDAY)
    # Closing again changes nothing, and logs nothing.
    pipeline.close(firm.service(), TUESDAY, END + timedelta(hours=1))
    assert changes(firm) == [expected]


LATE_AT = END + timedelta(minutes=30)
LATE = {
    "action": (
        f"insert into firm.corporate_actions values ('a9', 'BBB', 'dividend', null, 1, 'EUR', "
        f"'2026-03-02T15:00Z', '{LATE_AT.isoformat()}')",
        MONDAY,
    ),
    "action moved": (  # from Tuesday to Wednesday: Tuesday is without it
        f"insert into firm.corporate_actions values ('a2', 'AAA', 'dividend', null, 0.5, 'USD', "
        f"'2026-03-04T09:00Z', '{LATE_AT.isoformat()}')",
        TUESDAY,
    ),
    "flow": (
        f"insert into firm.cash_flows values ('c9', 'acc1', null, null, null, 'interest', 1, "
        f"'USD', '2026-03-03T15:00Z', '{LATE_AT.isoformat()}')",
        TUESDAY,
    ),
    "fee item": (
        f"insert into firm.fees values ('f2', 'commission', 1, 'EUR', '{LATE_AT.isoformat()}')",
        MONDAY,
    ),
}


@pytest.mark.parametrize("what", LATE)
def test_what_is_recorded_late_restates_its_day(firm: Site, what: str) -> None:
    pipeline.close(firm.service(), TUESDAY, END)
    statement, first = LATE[what]
    firm.ledger_sql(statement)
    done = pipeline.close(firm.service(), TUESDAY, END + timedelta(hours=1))
    assert {c.day for c in done if c.outcome == "revised"} >= {first}
    assert all(c.outcome != "revised" for c in done if c.day < first)


def test_without_the_optional_views_the_book_closes_all_the_same(firm: Site) -> None:
    for view in ("fees", "corporate_actions", "cash_flows"):
        firm.ledger_sql(f"drop view ledger.{view}")
    pipeline.close(firm.service(), TUESDAY, END)
    fact = fact_of(firm, TUESDAY)
    assert isinstance(fact.fee_items, Missing) and "ledger.fees" in fact.fee_items.detail
    assert {c.dividends for c in fact.cells} == {0}
    pipeline.close(firm.service(), TUESDAY, END + timedelta(hours=1))  # late events without them


def test_a_fill_at_midnight_is_of_the_day_that_begins(firm: Site) -> None:
    # In New York 8 March 2026 has 23 hours: from 05:00Z to 04:00Z of the 9th.
    moments = {
        "before": "2026-03-08T04:59:59.999999Z", "first": "2026-03-08T05:00:00Z",
        "last": "2026-03-09T03:59:59.999999Z", "after": "2026-03-09T04:00:00Z",
    }  # fmt: skip
    for name, moment in moments.items():
        firm.ledger_sql(
            f"insert into firm.fills values ('{name}', null, 'acc1', 'AAA', 'trend', 'alpha', 1, "
            f"'{moment}', 1, 15, 'X', 0, 'USD', 'new', null, '{moment}')"
        )
    day = trading_day(date(2026, 3, 8), "24/7", "America/New_York")
    assert day.trading is not None
    assert (day.trading.end - day.trading.start) == timedelta(hours=23)
    frames, _ = firm.service().ledger.read(day, END + timedelta(days=9), window=1, minimum=1)
    fills = frames["fills"]
    assert isinstance(fills, Frame)
    assert sorted(fills.table["fill_id"]) == ["first", "last"]


def test_sql_and_python_sum_the_same(firm: Site) -> None:
    pipeline.close(firm.service(), MONDAY, END)
    rows = firm.ledger_sql("""
        select f.strategy, f.instrument_id, i.currency, sum(f.side * f.quantity),
               sum(f.side * f.quantity * f.price * i.multiplier), count(*)
        from ledger.fills f join ledger.instruments i using (instrument_id)
        where f.executed_at < '2026-03-03' group by 1, 2, 3
    """)
    fees = dict(firm.ledger_sql("select strategy, sum(fee) from ledger.fills "
                                "where executed_at < '2026-03-03' group by 1"))  # fmt: skip
    cells = fact_of(firm, MONDAY).cells
    found = [
        (c.strategy, c.instrument, c.currency, c.position_close, -c.cash_close - c.fees, c.fills)
        for c in cells
    ]
    assert sorted(found) == sorted(rows)
    assert {c.strategy: c.fees for c in cells} == fees


def a_fill(name: str, quantity: int, kind: str, refers_to: str, minute: int) -> str:
    """A fill of instrument AAA on Tuesday in account acc9; ``kind`` and ``refers_to`` as SQL."""
    return (
        f"('{name}', null, 'acc9', 'AAA', 's', 'a', 1, '2026-03-03T10:00Z', {quantity}, 10, 'X', "
        f"0, 'USD', {kind}, {refers_to}, '2026-03-03T11:{minute:02d}Z')"
    )


@pytest.mark.parametrize(
    ("rows", "position", "check"),
    [
        # Two corrections of one fill: the last one recorded counts.
        (
            [
                a_fill("g1", 100, "'new'", "null", 0),
                a_fill("g2", 90, "'correct'", "'g1'", 1),
                a_fill("g3", 80, "'correct'", "'g1'", 2),
            ],
            80,
            "fill corrected or busted more than once",
        ),
        # A venue busts by the first identifier what was corrected before.
        (
            [
                a_fill("g1", 100, "'new'", "null", 0),
                a_fill("g2", 90, "'correct'", "'g1'", 1),
                a_fill("g3", 90, "'bust'", "'g1'", 2),
            ],
            0,
            "fill corrected or busted more than once",
        ),
        # A correction of a correction needs no rule.
        (
            [
                a_fill("g1", 100, "'new'", "null", 0),
                a_fill("g2", 90, "'correct'", "'g1'", 1),
                a_fill("g3", 70, "'correct'", "'g2'", 2),
            ],
            70,
            "",
        ),
        (
            [a_fill("g1", 100, "'new'", "null", 0), a_fill("g2", 100, "'bust'", "'none'", 1)],
            100,
            "correction or bust of no fill",
        ),
        (
            [a_fill("g1", 100, "'new'", "null", 0), a_fill("g2", 90, "'correct'", "null", 1)],
            190,
            "correction or bust of no fill",
        ),
        ([a_fill("g1", 100, "null", "null", 0)], 100, "fill of an unknown kind"),
        ([a_fill("g1", 100, "'cancel'", "null", 0)], 100, "fill of an unknown kind"),
        (
            [a_fill("g1", 100, "'new'", "null", 0).replace(", 0, 'USD'", ", null, 'USD'")],
            100,
            "fill without its fee",
        ),
    ],
)
def test_what_replaces_a_fill_is_followed_or_found(
    firm: Site, rows: list[str], position: int, check: str
) -> None:
    firm.ledger_sql(f"insert into firm.fills values {', '.join(rows)}")
    pipeline.close(firm.service(), TUESDAY, END)
    held = {c.account: c.position_close for c in fact_of(firm, TUESDAY).cells if c.instrument}
    assert held.get("acc9", 0) == position
    found = {f.check: f for f in sealed(firm.store, TUESDAY).findings}
    own = {c: f for c, f in found.items() if any(s.startswith("g") for s in f.samples)}
    always = ("late correction or bust", "fill without its order")
    assert sorted(c for c in own if c not in always) == ([check] if check else [])
