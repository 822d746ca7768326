"""Sources of marks, stale rates, splits in whole numbers and reasons, through the whole close."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from reporting import pipeline
from reporting.measures.marks import MarksFact
from reporting.page import Document
from reporting.pipeline.issuing import draft, issue

from ..line.site import ROOT, Site, facts
from .test_book_ledger import END, TUESDAY, contract_ledger, fact_of, firm

__all__ = ["contract_ledger", "firm"]

HIERARCHY = """
[[mark_sources]]
from = 2026-03-03
order = ["exchange", "broker"]
source = "valuation policy"
"""


@pytest.fixture
def ranked(
    contract_ledger: str, empty_store: str, make_site: Callable[..., Site], tmp_path: Path
) -> Site:
    """The site with a hierarchy of sources from Tuesday on."""
    policy = tmp_path / "policy.toml"
    policy.write_text((ROOT / "config" / "policy.toml").read_text("utf-8") + HIERARCHY, "utf-8")
    return make_site(
        contract_ledger, empty_store, calendar="24/7", zone="UTC", base_currency="USD",
        policy_file=policy,
    )  # fmt: skip


def mark(source: str, price: str, at: str, name: str = "AAA") -> str:
    return (
        f"insert into firm.marks values ('{name}', {price}, '{source}', '2026-03-{at}', "
        f"'2026-03-{at}');"
    )


def used(site: Site) -> dict[str, tuple[str, Decimal | None, list[str]]]:
    """Source and price of each mark used on Tuesday, with the sources beside it."""
    return {
        m.instrument: (m.source, m.price, [b.source for b in m.beside])
        for m in fact_of(site, TUESDAY).marks
    }


def of(document: Document, table: str) -> list[dict[str, object]]:
    """Rows of a table by column."""
    (found,) = [t for s in document.sections for t in s.tables if t.id == table]
    return [dict(zip([c.key for c in found.columns], row, strict=True)) for row in found.rows]


def test_the_best_source_of_the_session_values_and_the_others_are_compared(ranked: Site) -> None:
    ranked.ledger_sql(
        mark("exchange", "15", "03T18:00Z") + mark("exchange", "15.9", "03T19:00Z")
        + mark("broker", "16.5", "03T21:00Z") + mark("abacus", "15.95", "03T22:00Z")
        # A stale mark of the best source is no mark of the session; without one the newest counts.
        + mark("exchange", "4", "02T23:00Z", "BBB") + mark("model", "6", "03T12:00Z", "BBB")
    )  # fmt: skip
    pipeline.close(ranked.service(), TUESDAY, END)
    assert used(ranked) == {
        "AAA": ("exchange", Decimal("15.9"), ["broker", "abacus", "close"]),
        "BBB": ("model", Decimal(6), []),
    }
    checked = MarksFact.model_validate(facts(ranked.store, TUESDAY)["marks"], strict=False)
    assert [m.instrument for m in checked.days[-1].marks if m.disagrees(Decimal(100))] == ["AAA"]
    document = draft(ranked.service(), "daily", TUESDAY, END)
    (row,) = of(document, "marks_disagreeing")
    assert (str(row["source"]), str(row["apart"])) == (
        "kind='text' text='exchange'", "kind='number' value=Decimal('377.36') unit='bps'",
    )  # fmt: skip
    assert any("The marks of Aaa disagree" in a.text for a in document.attention)


def test_without_a_hierarchy_the_newest_mark_values(firm: Site) -> None:
    firm.ledger_sql(mark("exchange", "15", "03T18:00Z") + mark("broker", "17", "03T21:00Z"))
    pipeline.close(firm.service(), TUESDAY, END)
    assert used(firm)["AAA"][:2] == ("broker", 17)
    assert used(firm)["BBB"][:2] == ("close", 5)


def test_unnamed_sources_come_last_by_their_names(ranked: Site) -> None:
    ranked.ledger_sql(mark("zeta", "17", "03T22:00Z") + mark("alpha", "18", "03T12:00Z"))
    pipeline.close(ranked.service(), TUESDAY, END)
    assert used(ranked)["AAA"] == ("alpha", 18, ["close", "zeta"])


def test_a_stale_rate_is_flagged_counted_and_valued(firm: Site) -> None:
    pipeline.close(firm.service(), TUESDAY, END)
    (rate,) = [r for r in fact_of(firm, TUESDAY).fx if r.currency == "EUR"]
    # Sold 7 × 10 at 5.25, a fee of 1, and 7 × 10 owed at 5.
    assert (rate.stale, rate.value) == (True, abs(Decimal("367.5") - 1 - 350))
    document = draft(firm.service(), "daily", TUESDAY, END)
    figures = {f.id: f.value for s in document.sections for f in s.figures}
    assert figures["pnl.stale_rates"].value == 1  # type: ignore[union-attr]
    assert any("rate EUR/USD is stale" in a.text and "16" in a.text for a in document.attention)


def test_a_rate_of_the_session_is_not_stale(firm: Site) -> None:
    firm.ledger_sql("insert into firm.fx_rates values ('EUR', 'USD', 1.2, 'fix', "
                    "'2026-03-03', '2026-03-03')")  # fmt: skip
    pipeline.close(firm.service(), TUESDAY, END)
    assert not [r for r in fact_of(firm, TUESDAY).fx if r.stale]


def test_the_value_that_a_mark_touches_is_gross(firm: Site) -> None:
    firm.ledger_sql(
        "insert into firm.fills values ('s1', null, 'acc2', 'AAA', 'trend', 'alpha', -1, "
        "'2026-03-03T12:00Z', 140, 16, 'X', 0, 'USD', 'new', null, '2026-03-03T12:00Z')"
    )
    pipeline.close(firm.service(), TUESDAY, END)
    (used_mark,) = [m for m in fact_of(firm, TUESDAY).marks if m.instrument == "AAA"]
    assert used_mark.value == (150 + 140) * 16


def test_one_for_three_from_the_ledger_and_old_views_without_the_columns(firm: Site) -> None:
    firm.ledger_sql("""
        update firm.corporate_actions set ratio = null, ratio_new = 1, ratio_old = 3, amount = 45
        where action_id = 'a1' and recorded_at = '2026-03-02'
    """)
    pipeline.close(firm.service(), TUESDAY, END)
    (own,) = [c for c in fact_of(firm, TUESDAY).cells if c.instrument == "AAA"]
    assert own.position_close == 33 - 50
    assert not firm.service().ledger.check()


def test_a_view_of_actions_from_before_those_columns_still_serves(firm: Site) -> None:
    firm.ledger_sql("""
        drop view ledger.corporate_actions;
        create view ledger.corporate_actions as select action_id, instrument_id, kind, ratio,
            amount, currency, effective_at, recorded_at from firm.corporate_actions;
    """)
    assert not firm.service().ledger.check()
    pipeline.close(firm.service(), TUESDAY, END)
    (own,) = [c for c in fact_of(firm, TUESDAY).cells if c.instrument == "AAA"]
    assert own.position_close == 150


def test_each_difference_gives_the_reason_of_its_own(firm: Site) -> None:
    firm.ledger_sql("insert into firm.fills values ('h1', null, 'acc2', 'AAA', 'value', 'gamma', "
                    "1, '2026-03-03T12:00Z', 10, 15, 'X', 0, 'USD', 'new', null, "
                    "'2026-03-03T12:00Z')")  # fmt: skip
    pipeline.close(firm.service(), TUESDAY, END)
    issue(firm.service(), "daily", TUESDAY, END)
    late = END + timedelta(minutes=30)
    firm.ledger_sql(
        f"insert into firm.fills values ('h2', null, 'acc2', 'AAA', 'value', 'gamma', 1, "
        f"'2026-03-03T12:00Z', 20, 15, 'X', 0, 'USD', 'correct', 'h1', '{late.isoformat()}');"
        f"insert into firm.marks values ('BBB', 6, 'close', '2026-03-03T20:00Z', "
        f"'{late.isoformat()}')"
    )
    again = END + timedelta(hours=1)
    pipeline.close(firm.service(), TUESDAY, again)
    document = draft(firm.service(), "daily", TUESDAY, again)
    reasons = {d.figure: d.reason for d in document.differences}
    value = reasons["pnl_by_strategy/value/net"]
    hedge = reasons["pnl_by_strategy/hedge/net"]
    assert "correction h2 of h1 (value Aaa)" in value and "h2" not in hedge
    assert "another mark of Bbb" in hedge and "another mark of Bbb" in reasons["pnl.net"]
    assert "h2" in reasons["pnl.net"]
    by_instrument = {k: r for k, r in reasons.items() if k.startswith("pnl_by_instrument/")}
    assert "Bbb" not in by_instrument["pnl_by_instrument/Aaa/net"]
    assert "h2" not in by_instrument["pnl_by_instrument/Bbb/net"]
    assert all("late ledger events" in r for r in reasons.values())
