"""Explain with the store and the ledger: made again from sealed days, asked again of the source."""

from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256

import pytest

from reporting import pipeline
from reporting.document.numbers import numbers
from reporting.errors import UsageError, ValidationFailed
from reporting.model import Count
from reporting.page import Document
from reporting.pipeline import Explanation
from reporting.pipeline.explaining import Remade
from reporting.pipeline.service import silent
from reporting.settings import operating_user

from ..line.site import Site, at

DAILY, WEEKLY, MONTHLY = "daily/2025-12-05", "weekly/2025-W49", "monthly/2025-11"
CHANGED_FILL = """
    update firm.executions set size = size + 1
    where exec_id = (
        select min(exec_id) from firm.executions
        where executed_at >= '2025-12-05T15:00Z' and executed_at < '2025-12-05T20:00Z'
          and exec_type = 'N')
    returning exec_id"""
LATE_FILL = """
    insert into firm.executions
    select 'LATE-1', child_id, executed_at, 10, px, venue, 1, commission_ccy, 'N', null,
           '2025-12-08T12:00Z'
    from firm.executions
    where exec_id = (
        select min(exec_id) from firm.executions
        where executed_at >= '2025-12-05T15:00Z' and executed_at < '2025-12-05T20:00Z'
          and exec_type = 'N')
    returning exec_id"""


def explained(site: Site, figure: str, report: str, reconcile: bool = False) -> Explanation:
    opened = pipeline.open_report(report, site.service)
    return pipeline.explain(opened, figure, reconcile=reconcile)


def document_of(site: Site, report: str) -> Document:
    row = site.store.report(*report.split("/"))
    assert row is not None
    return Document.model_validate_json(row.body)


@pytest.mark.parametrize("report", [DAILY, WEEKLY, MONTHLY])
def test_every_number_is_made_again_from_the_days_that_are_cited(site: Site, report: str) -> None:
    document = document_of(site, report)
    again = Remade(site.service(), document, silent).printed
    printed = numbers(document)
    assert again.keys() == printed.keys()
    assert [k for k, p in printed.items() if p.value != again[k].value] == []


@pytest.mark.parametrize(
    "figure", ["pnl.net", "pnl.fills", "fill_rate.full", "slippage.USD", "incidents.count",
               "pnl_by_strategy/trend/net", "uptime.grafana"],
)  # fmt: skip
def test_the_days_own_add_up(site: Site, figure: str) -> None:
    found = explained(site, figure, MONTHLY)
    assert found.recomputed is True and found.adds_up is True and found.ok
    own = {d.day: d.own for d in found.days if d.own is not None}
    assert len(own) >= 19


@pytest.mark.slow
def test_a_day_of_the_week_is_what_its_own_report_said(site: Site) -> None:
    week = explained(site, "pnl.net", WEEKLY)
    day = explained(site, "pnl.net", DAILY)
    assert next(d.own for d in week.days if d.day == day.days[-1].day) == day.value
    assert day.days[-1].digest == week.days[4].digest


def test_what_does_not_add_up_says_so(site: Site) -> None:
    found = explained(site, "var.var_99", MONTHLY)
    assert found.total is None and found.recomputed is True
    own = [d.own for d in found.days if d.own is not None]
    assert len(own) > 15 and own[-1] == found.value


def test_the_sealed_facts_and_the_queries_of_the_day(site: Site) -> None:
    found = explained(site, "pnl.fills", f"{DAILY}/r1")
    (day,) = found.days
    row = site.store.day(day.day, day.revision)
    assert row is not None and row.digest == day.digest
    sealed = json.loads(row.body)
    assert day.facts["/facts/pnl/fills"] == sealed["facts"]["pnl"]["fills"]
    assert isinstance(found.value, Count)
    assert day.facts["/facts/pnl/fills"] == found.value.value
    fills = next(q for q in found.queries if q.query == "fills")
    (read,) = fills.reads
    assert read.parameters == {
        "start": sealed["trading"]["start"].replace("Z", "+00:00"),
        "end": sealed["trading"]["end"].replace("Z", "+00:00"),
        "known_at": at(sealed["known_at"]).isoformat(),
    }
    coverage = next(c for c in sealed["sources"] if c["query"] == "fills")
    assert (read.rows, dict(read.control)) == (coverage["rows"], coverage["control"])
    assert found.value.value == read.rows
    # Every query has the text that was sealed, and a value for each of its parameters.
    for query in found.queries:
        assert query.text, query.query
        for each in query.reads:
            assert "not known" not in each.parameters.values(), query.query


def test_a_target_with_its_dates(site: Site) -> None:
    found = explained(site, "fill_rate.full", DAILY)
    assert found.target is not None and found.in_force is not None
    thresholds = site.service().policy.thresholds
    assert found.in_force.since in {t.since for t in thresholds if t.id == found.target.id}
    assert found.in_force.since <= found.days[-1].day


# --- the source, asked again ---------------------------------------------------------------------


@pytest.mark.slow
def test_the_ledger_says_again_what_it_said(site: Site) -> None:
    for figure, report in (("pnl.net", WEEKLY), ("slippage.USD", DAILY), ("var.var_99", DAILY)):
        found = explained(site, figure, report, reconcile=True)
        assert found.reconciled and found.ok
        assert [r for r in found.reconciled if not r.equal or r.text_changed] == []
        assert {r.query for r in found.reconciled} == {
            q.query for q in found.queries if q.source == "ledger"
        }


def test_what_was_recorded_after_the_cut_off_changes_nothing(site: Site) -> None:
    assert site.ledger_sql(LATE_FILL)
    assert explained(site, "pnl.net", DAILY, reconcile=True).ok


def test_a_row_that_was_changed_behind_our_back_is_seen(site: Site) -> None:
    assert site.ledger_sql(CHANGED_FILL)
    found = explained(site, "pnl.net", DAILY, reconcile=True)
    assert not found.ok and found.recomputed is True
    wrong = {r.query: r for r in found.reconciled or () if not r.equal}
    assert set(wrong) == {"fills"}
    fills = wrong["fills"]
    assert fills.now is not None and fills.now["rows"] == fills.sealed["rows"]
    assert float(fills.now["quantity"]) - float(fills.sealed["quantity"]) == pytest.approx(1)
    done = site.command("explain", "pnl.net", "-R", DAILY, "--reconcile", "--no-texts")
    assert done.returncode == 4
    assert "1 differ" in done.stdout and fills.now["quantity"] in done.stdout


# --- what must not go by unseen ------------------------------------------------------------------


def test_a_view_is_in_the_audit_log(site: Site) -> None:
    before = site.rows()["audit.log"]
    explained(site, "pnl.net", DAILY)
    pipeline.open_report(DAILY, site.service).printed  # noqa: B018 - a list is no view of a figure
    *_, last = site.store.log()
    entry = json.loads(last.entry)
    assert site.rows()["audit.log"] == before + 1
    assert entry["event"] == "figure explained"
    assert entry["body"]["report"] == f"{DAILY}/r1" and entry["body"]["figure"] == "pnl.net"
    assert all(v.ok for v in pipeline.verify(site.service()))


def test_every_way_to_see_a_report_is_in_the_audit_log(site: Site) -> None:
    def logged() -> list[tuple[str, object]]:
        found = [json.loads(e.entry) for e in site.store.log()]
        return [(f["event"], f["body"]) for f in found if f["body"]["by"] != "postgres"]

    before = len(logged())
    row = site.store.report("daily", "2025-12-05")
    assert row is not None
    assert site.command("explain", "--list", DAILY).returncode == 0
    built = site.command("build", "--kind", "daily", "--date", "2025-12-05", "--json")
    words = ("build", "--kind", "daily", "--date", "2025-12-05", "--dry-run")
    assert site.command(*words).returncode == 0  # a summary, and nothing is written
    (listed, of), (seen, by) = logged()[before:]
    by_user = {"by": operating_user()}
    assert (listed, of) == (
        "report viewed",
        {"report": f"{DAILY}/r1", "facts": row.digest, "how": "list", **by_user},
    )
    facts = sha256(built.stdout.removesuffix("\n").encode()).hexdigest()
    assert (seen, by) == (
        "report viewed",
        {"report": f"{DAILY}/r2", "facts": facts, "how": "build", **by_user},
    )


def test_a_figure_that_is_not_there_is_no_view(site: Site) -> None:
    before = site.rows()["audit.log"]
    with pytest.raises(UsageError, match=r"did you mean pnl\.net"):
        explained(site, "pnl.nett", DAILY)
    with pytest.raises(UsageError, match="never issued"):
        explained(site, "pnl.net", "daily/2025-12-04")
    with pytest.raises(UsageError, match="never issued"):
        explained(site, "pnl.net", f"{DAILY}/r9")
    assert site.rows()["audit.log"] == before


@pytest.mark.slow
def test_an_old_revision_is_explained_by_the_days_that_it_cites(site: Site) -> None:
    late = LATE_FILL.replace("2025-12-08T12:00Z", "2025-12-08T13:00Z")
    assert site.ledger_sql(late)
    now = at("2025-12-08T14:00Z")
    pipeline.close(site.service(), at("2025-12-07T12:00Z").date(), now)
    issued = pipeline.issue(site.service(), "daily", at("2025-12-05T12:00Z").date(), now)
    assert issued.document.revision == 2
    first, second = (explained(site, "pnl.fills", f"{DAILY}/r{n}") for n in (1, 2))
    assert explained(site, "pnl.fills", DAILY).report == f"{DAILY}/r2"
    assert [f.recomputed for f in (first, second)] == [True, True]
    assert isinstance(first.value, Count) and isinstance(second.value, Count)
    assert second.value.value == first.value.value + 1
    assert second.days[-1].revision == first.days[-1].revision + 1
    assert second.days[-1].known_at - first.days[-1].known_at > timedelta(hours=1)


def test_a_sealed_day_that_was_changed_is_refused(site: Site) -> None:
    site.store_sql(
        "alter table reporting.sealed_day disable trigger user; "
        "update reporting.sealed_day set digest = repeat('0', 64) where day = '2025-12-05'"
    )
    with pytest.raises(ValidationFailed, match="2025-12-05 r1 has digest 0000"):
        explained(site, "pnl.net", DAILY)


@pytest.mark.slow
def test_the_page_of_a_month(site: Site) -> None:
    done = site.command("explain", "fill_rate.full", "-R", MONTHLY, "--reconcile")
    assert done.returncode == 0, done.stderr
    for words in ("Worked out again from the cited days: ✔ equal", "own sum to", "✔ equal",
                  "known_at = 2025-", "and so on each of 19 reads", "2025-11-03"):  # fmt: skip
        assert words in done.stdout, words
