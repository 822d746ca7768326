"""The splits that the history of marks is adjusted for, asked of a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from reporting.postgres import database, queries

from ..line.site import ROOT, WORKER, Server

SPLITS = f"splits{WORKER}"

#: As a ledger has it from before there were ratio_new and ratio_old.
ACTIONS = """
drop view ledger.corporate_actions;
create view ledger.corporate_actions as
select * from (values
    ('S1', 'AAA', 'split', 2::numeric, null::numeric, null::text,
     timestamptz '2026-02-02 05:00Z', timestamptz '2026-01-20 12:00Z'),
    -- Corrected to three for one, and that only later.
    ('S1', 'AAA', 'split', 3, null, null, '2026-02-02 05:00Z', '2026-02-20 12:00Z'),
    -- Taken back.
    ('S2', 'BBB', 'split', 5, null, null, '2026-02-03 05:00Z', '2026-01-20 12:00Z'),
    ('S2', 'BBB', 'cancelled', 5, null, null, '2026-02-03 05:00Z', '2026-01-25 12:00Z'),
    -- Before the history, after the session, and no split.
    ('S3', 'AAA', 'split', 7, null, null, '2024-02-02 05:00Z', '2024-01-20 12:00Z'),
    ('S4', 'AAA', 'split', 7, null, null, '2026-03-09 05:00Z', '2026-01-20 12:00Z'),
    ('D1', 'AAA', 'dividend', null, 1, 'USD', '2026-02-04 05:00Z', '2026-01-20 12:00Z')
) as t (action_id, instrument_id, kind, ratio, amount, currency, effective_at, recorded_at)
"""


@pytest.fixture(scope="module")
def ledger(server: Server) -> Iterator[str]:
    server.drop(SPLITS)
    server.run(f"create database {SPLITS}")
    server.run((ROOT / "sql" / "ledger" / "contract.sql").read_text("utf-8"), SPLITS)
    server.run(ACTIONS, SPLITS)
    yield server.database(SPLITS)
    server.drop(SPLITS)


def splits(url: str, known_at: datetime) -> list[tuple[Any, ...]]:
    window = {
        "history_start": datetime(2025, 3, 1, tzinfo=UTC), "known_at": known_at,
        "end": datetime(2026, 3, 3, 5, tzinfo=UTC),
    }  # fmt: skip
    with database(url, "ledger").snapshot() as session:
        rows = session.rows(queries("var")["split_history"], **window)
    return [(row["instrument_id"], row["ratio"], row["effective_at"]) for row in rows]


def test_the_splits_of_the_window_as_known_then(ledger: str) -> None:
    effective = datetime(2026, 2, 2, 5, tzinfo=UTC)
    assert splits(ledger, datetime(2026, 3, 4, tzinfo=UTC)) == [("AAA", Decimal(3), effective)]
    assert splits(ledger, datetime(2026, 2, 10, tzinfo=UTC)) == [("AAA", Decimal(2), effective)]
    # Before BBB's was taken back it counted.
    found = splits(ledger, datetime(2026, 1, 21, tzinfo=UTC))
    assert [name for name, _, _ in found] == ["AAA", "BBB"]
