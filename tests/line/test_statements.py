"""Statements through the whole line: read by SQL, compared at the close, told on the first page."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

from reporting import pipeline
from reporting.demo.story import closing_time
from reporting.page import Verdict
from reporting.postgres import database
from reporting.sources.ledger import Ledger

from .site import ROOT, Server, Site, after, at, facts, sealed

DAY = date(2025, 12, 5)
STATED = """
drop view if exists ledger.reported_positions, ledger.reported_cash;
create table public.stated_positions (
    account_id text, instrument_id text, quantity numeric, source text, stated_at timestamptz,
    recorded_at timestamptz
);
create table public.stated_cash (
    account_id text, currency text, balance numeric, source text, stated_at timestamptz,
    recorded_at timestamptz
);
create view ledger.reported_positions as select * from public.stated_positions;
create view ledger.reported_cash as select * from public.stated_cash;
do $$ begin
    if exists (select from pg_roles where rolname = 'ledger_reader') then
        grant select on ledger.reported_positions, ledger.reported_cash to ledger_reader;
    end if;
end $$;
"""


def summed(cells: list[dict[str, Any]], item: str, amount: str) -> dict[tuple[str, str], Decimal]:
    sums: dict[tuple[str, str], Decimal] = {}
    for cell in cells:
        key = (cell["account"], cell[item])
        sums[key] = sums.get(key, Decimal(0)) + Decimal(cell[amount])
    return {key: n for key, n in sums.items() if n}


def values(
    sums: dict[tuple[str, str], Decimal], stated: str = "2025-12-05 18:00-05",
    recorded: str = "2025-12-05 18:05-05",
) -> str:  # fmt: skip
    return ", ".join(
        f"('{account}', '{item}', {n}, 'custodian', '{stated}', '{recorded}')"
        for (account, item), n in sums.items()
    )


def test_a_late_statement_is_a_late_event_where_there_are_statements(server: Server) -> None:
    """On the bare contract, whose views hold nothing, and on one without the optional ones."""
    name = "late_statements"
    server.drop(name)
    server.run(f"create database {name}")
    try:
        contract = (ROOT / "sql" / "ledger" / "contract.sql").read_text("utf-8")
        server.run(contract, name)
        ledger = Ledger(database(server.database(name), "ledger"), "USD")
        window = (
            at("2025-12-06T06:00:00Z"),
            at("2025-12-06T18:00:00Z"),
            at("2025-12-06T05:00:00Z"),
        )
        assert ledger.first_late_event(*window) is None
        server.run(STATED, name)
        server.run(
            "insert into public.stated_cash values "
            "('a', 'USD', 1, 's', '2025-12-05 20:00Z', '2025-12-06 06:00Z'), "  # known before
            "('a', 'USD', 1, 's', '2025-12-05 21:00Z', '2025-12-06 12:00Z'), "
            "('a', 'USD', 1, 's', '2025-12-04 21:00Z', '2025-12-06 18:01Z'), "  # not yet known
            "('a', 'USD', 1, 's', '2025-12-06 05:00Z', '2025-12-06 12:00Z')",  # of a later day
            name,
        )
        assert ledger.first_late_event(*window) == at("2025-12-05T21:00:00Z")
        server.run(
            "insert into public.stated_positions values "
            "('a', 'X', 1, 's', '2025-12-05 20:30Z', '2025-12-06 12:00Z')",
            name,
        )
        assert ledger.first_late_event(*window) == at("2025-12-05T20:30:00Z")
        server.run("drop view ledger.reported_positions, ledger.reported_cash", name)
        assert ledger.first_late_event(*window) is None
    finally:
        server.drop(name)


def test_statements_are_compared_at_the_close_and_breaks_told(site: Site) -> None:
    cells = facts(site.store, DAY)["pnl"]["cells"]
    positions = summed(cells, "instrument", "position_close")
    book = site.store.book(sealed(site.store, DAY).closing_book or "")
    assert book is not None
    transfers = json.loads(book)["transfers"]  # paid in and out: cash, and of no cell
    cash = summed(
        [*cells, *({**t, "cash_close": t["balance"]} for t in transfers)], "currency", "cash_close"
    )
    short, *_ = sorted(positions)
    owed, *_ = sorted(cash)
    wrong = {**positions, short: positions[short] - 7}
    site.ledger_sql(
        f"{STATED} insert into public.stated_positions values {values(wrong)}, "
        # An older statement, a newer one, and one that nobody knew of yet.
        f"{values({short: Decimal(1)}, '2025-12-04 18:00-05', '2025-12-04 18:00-05')}, "
        f"{values({short: Decimal(2)}, '2025-12-06 18:00-05', '2025-12-06 18:00-05')}, "
        f"{values({short: Decimal(3)}, '2025-12-05 19:00-05', '2026-01-01 00:00-05')}; "
        f"insert into public.stated_cash values "
        f"{values({**cash, owed: cash[owed] + Decimal('0.01')})}"
    )
    site.store_sql(
        "set session_replication_role = replica; "
        f"delete from reporting.sealed_day where day >= '{DAY}'; "
        "delete from reporting.issued_report"
    )
    service = site.service()
    pipeline.close(service, DAY, closing_time(DAY))
    [day] = facts(site.store, DAY)["reconciliation"]["days"]
    assert [(b["kind"], b["account"], b["item"]) for b in day["breaks"]] == [
        ("position", *short), ("cash", *owed),
    ]  # fmt: skip
    assert [Decimal(b["ours"]) - Decimal(b["theirs"]) for b in day["breaks"]] == [
        7, Decimal("-0.01"),
    ]  # fmt: skip
    compared = dict.fromkeys(("position", "cash"), 0)
    for statement in day["statements"]:
        compared[statement["kind"]] += statement["compared"]
        assert not statement["stale"]
    assert compared == {"position": len(positions), "cash": len(cash)}
    assert day["unstated"] == []

    document = pipeline.draft(service, "daily", DAY, after(DAY, 1), allow_gaps=True)
    section = next(s for s in document.sections if s.id == "reconciliation")
    assert section.verdict is Verdict.MISSED
    (line,) = [a for a in document.attention if a.section == "reconciliation"]
    assert line.severity == "alarm" and line.text.startswith("2 open breaks")
    # The days before were sealed without statements: how old a break is begins with this one.
    assert "has stood for 1 session" in line.text
    tracked = next(
        row
        for s in document.sections
        for t in s.tables
        if t.id == "objectives_execution_engine"
        for row in t.rows
        if getattr(row[0], "text", "") == "Positions reconciled"
    )
    shown = next(f.value for f in section.figures if f.id == "reconciliation.positions_matched")
    assert shown in tracked

    # A statement of the same evening that arrives the morning after does the day again.
    site.ledger_sql(
        "insert into public.stated_positions values "
        f"{values(positions, '2025-12-05 20:00-05', '2025-12-06 11:00-05')}"
    )
    [again] = pipeline.close(service, DAY, after(DAY, 12))
    assert (again.day, again.outcome, again.revision) == (DAY, "revised", 2)
    assert again.reason.startswith("late ledger events")
    [day] = facts(site.store, DAY)["reconciliation"]["days"]
    assert [b["kind"] for b in day["breaks"]] == ["cash"]
