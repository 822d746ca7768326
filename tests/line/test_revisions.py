"""Laws of the line: sealed days are enough, late events append, same in gives the same bytes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from reporting import pipeline
from reporting.errors import SourceUnavailable, UsageError
from reporting.page import Document, Status
from reporting.seal import canonical
from reporting.store import ReportRow, Store

from .site import CLOSED, CLOSED_DATABASE, LAST, ROOT, Demo, Site, after, facts, files_of, revisions
from .site import sealed as sealed_day

LATE_DAY = date(2025, 12, 3)
LATE_EXECUTION = """
    insert into firm.executions
    select 'LATE-1', child_id, executed_at, 10, px, venue, 1, commission_ccy, 'N', null, '{at}'
    from firm.executions
    where exec_id = (
        select max(x.exec_id) from firm.executions x
        join firm.children c using (child_id) join firm.parents p using (parent_id)
        where x.executed_at >= '2025-12-03T15:00Z' and x.executed_at < '2025-12-03T21:00Z'
          and x.exec_type = 'N' and p.code = 'ALDR')
    returning child_id, px, executed_at
"""
BUST = """
    insert into firm.executions
    select 'BUST-1', child_id, executed_at, size, px, venue, commission, commission_ccy, 'B',
           exec_id, '{at}'
    from firm.executions
    where exec_id = (
        select max(exec_id) from firm.executions
        where executed_at >= '2025-12-03T15:00Z' and executed_at < '2025-12-03T21:00Z'
          and exec_type = 'N')
    returning ref_exec_id, size, px
"""
ISSUED_AT = after(LAST, 4)
DAY = date(2025, 12, 4)  # of which no report is issued yet


def close_late(site: Site, statement: str, **more: Any) -> tuple[Any, list[pipeline.Closed]]:
    """Record something an hour after the last close, and close again an hour later."""
    inserted = site.ledger_sql(statement.format(at=after(LAST, 1).isoformat()))[0]
    return inserted, pipeline.close(site.service(), LAST, after(LAST, 2), **more)


def document_in(folder: Path) -> Document:
    return Document.model_validate_json((folder / "facts.json").read_bytes())


def by_id(document: Document) -> dict[str, Any]:
    """Every figure and every headline of a document, by its place and id."""
    found = {f"{s.id}:{f.id}": f.value for s in document.sections for f in s.figures}
    return found


# --- (a) a report needs nothing but sealed days --------------------------------------------------


@pytest.mark.parametrize(("kind", "day"), [
    ("daily", date(2025, 12, 3)), ("weekly", date(2025, 11, 26)), ("monthly", date(2025, 10, 9)),
])  # fmt: skip
def test_reports_are_issued_while_both_sources_are_gone(site: Site, kind: str, day: date) -> None:
    service = site.service(ledger_url=CLOSED_DATABASE, prometheus_url=CLOSED)
    issued = pipeline.issue(service, kind, day, ISSUED_AT, dry_run=kind != "daily")
    if kind != "daily":  # all of it but its files, which are made from the document alone
        assert issued.outcome == "would-issue"
        assert "source unreachable" not in {g.reason.why for g in issued.document.gaps}
        return
    assert issued.outcome == "issued"
    assert all(v.ok for v in pipeline.verify_folder(issued.folder))


def test_two_that_issue_the_same_report_at_once_make_one_revision(site: Site) -> None:
    """The other one commits right after this one saw that nothing was issued."""
    read, others = Store.report, []

    def report(self: Store, *of: Any) -> ReportRow | None:
        found = read(self, *of)
        if not others:
            others.append("first")
            others.append(pipeline.issue(site.service(), "daily", DAY, ISSUED_AT).outcome)
        return found

    with (
        mock.patch.object(Store, "report", report),
        pytest.raises(SourceUnavailable, match="daily/2025-12-04/r1 has just been issued"),
    ):
        pipeline.issue(site.service(), "daily", DAY, ISSUED_AT)
    assert others == ["first", "issued"]
    assert pipeline.issue(site.service(), "daily", DAY, ISSUED_AT).document.revision == 1


# --- (b) a late fill -----------------------------------------------------------------------------


def test_a_late_fill_restates_its_day_and_what_follows_and_nothing_before(site: Site) -> None:
    before = revisions(site.store)
    first = {day: site.store.day(day, 1) for day in before}
    (_, price, _), closed = close_late(site, LATE_EXECUTION)
    now = revisions(site.store)
    changed = {day for day in now if now[day] != before[day]}
    # The book of 3 December and of the two sessions that follow it; services' days stay.
    assert changed == {LATE_DAY, date(2025, 12, 4), date(2025, 12, 5)}
    assert {c.day: c.outcome for c in closed if c.day != LAST} == dict.fromkeys(changed, "revised")
    assert all(now[day] == before[day] + 1 for day in changed)
    assert all("late ledger events" in c.reason for c in closed if c.outcome == "revised")
    # The old revisions are still there, as they were.
    assert {day: site.store.day(day, 1) for day in before} == first
    # What changed is that fill: 10 more bought or sold at its price, a fee of 1.
    old = facts(site.store, LATE_DAY, before[LATE_DAY])
    new = facts(site.store, LATE_DAY)
    assert new["pnl"]["fills"] == old["pnl"]["fills"] + 1
    assert new["uptime"] == old["uptime"]

    def total(fact: Any, name: str) -> Decimal:
        return sum((Decimal(c[name]) for c in fact["cells"]), Decimal(0))

    assert total(new["slippage"], "notional") - total(old["slippage"], "notional") == 10 * price
    assert total(new["pnl"], "fees") - total(old["pnl"], "fees") == 1
    assert (
        sealed_day(site.store, LATE_DAY).previous
        == site.store.day(LATE_DAY, before[LATE_DAY]).digest
    )  # type: ignore[union-attr]


def test_an_issued_week_gets_a_second_revision_that_lists_what_differs(site: Site) -> None:
    week = site.reports / "weekly" / "2025-W49"
    first, first_files = document_in(week / "r1"), files_of(week / "r1")
    close_late(site, LATE_EXECUTION)
    issued = pipeline.issue(site.service(), "weekly", LATE_DAY, ISSUED_AT)
    second = issued.document
    assert (second.revision, second.supersedes) == (2, "weekly/2025-W49/r1")
    assert second.status == Status.RESTATED
    assert "late ledger events" in second.reason
    assert files_of(week / "r1") == first_files
    # Worked out here from both documents: which figures differ, before and after.
    old, new = by_id(first), by_id(second)
    changed = {key: (old[key], new[key]) for key in old if old[key] != new[key]}
    assert new.keys() - old.keys() <= {key for key in new if "overfilled" in key}
    assert old.keys() <= new.keys()
    cells = {d.figure for d in second.differences if "/" in d.figure}
    assert any(key.startswith("pnl_by_strategy/") for key in cells)
    assert not any(key.startswith("uptime") for key in cells)
    listed = {d.figure: (d.before, d.after) for d in second.differences if d.figure not in cells}
    assert {key.split(":")[1]: pair for key, pair in changed.items()}.items() <= listed.items()
    extra = listed.keys() - {key.split(":")[1] for key in changed}
    headline = {f.id for f in second.headline}
    # One execution more than the order had room for is an overfill, which the week now shows.
    assert extra <= headline | {"fill_rate.overfilled"}, extra
    assert "slippage.coverage" in listed and "pnl.fills" in listed
    assert not any(key.startswith("uptime") for key in listed)
    assert all(v.ok for v in pipeline.verify_folder(issued.folder))

    # The first can be written again after the second was issued.
    shutil.rmtree(week / "r1")
    assert pipeline.rewrite(site.service(), "weekly", LATE_DAY, 1).outcome == "regenerated"
    assert files_of(week / "r1") == first_files
    with pytest.raises(UsageError, match="revision 9"):
        pipeline.rewrite(site.service(), "weekly", LATE_DAY, 9)


def test_issuing_again_without_a_change_gives_the_same_bytes(site: Site) -> None:
    before = site.files()
    shutil.rmtree(site.reports / "daily")  # one is not there any more, one is
    for kind, day in (("daily", date(2025, 12, 5)), ("weekly", date(2025, 12, 1))):
        again = pipeline.issue(site.service(), kind, day, ISSUED_AT)
        assert again.outcome == "regenerated"
    after_ = site.files()
    witness = "audit-witness.jsonl"
    assert after_.pop(witness).startswith(before.pop(witness))
    assert after_ == before
    assert site.rows()["reporting.issued_report"] == 3


def test_closing_again_without_a_change_adds_nothing(site: Site) -> None:
    before = site.rows()
    [closed] = pipeline.close(site.service(prometheus_url=CLOSED), LAST, after(LAST, 3))
    assert closed.outcome == "unchanged"
    assert site.rows() == before


def test_a_changed_report_needs_a_reason(site: Site) -> None:
    """A policy that changed is no late event: nothing but a person can say why."""
    config = site.var / "policy.toml"
    text = (ROOT / "config" / "policy.toml").read_text("utf-8")
    assert text.count('value = "95"') == 1
    config.write_text(text.replace('value = "95"', 'value = "90"'), "utf-8")
    service = site.service(policy_file=config)
    with pytest.raises(UsageError, match="give the reason"):
        pipeline.issue(service, "weekly", LATE_DAY, ISSUED_AT)
    issued = pipeline.issue(
        service, "weekly", LATE_DAY, ISSUED_AT, reason="target was 90 %", dry_run=True
    )
    assert issued.outcome == "would-issue"
    assert (issued.document.revision, issued.document.reason) == (2, "target was 90 %")


# --- (c) a bust ----------------------------------------------------------------------------------


def test_a_late_bust_takes_the_fill_out_again(site: Site) -> None:
    before = revisions(site.store)
    (busted, size, price), _ = close_late(site, BUST, reason="venue broke the trade")
    old, new = facts(site.store, LATE_DAY, before[LATE_DAY]), facts(site.store, LATE_DAY)
    assert new["pnl"]["fills"] == old["pnl"]["fills"] - 1
    notional = [
        sum(Decimal(c["notional"]) for c in fact["slippage"]["cells"]) for fact in (old, new)
    ]
    multiplier = site.ledger_sql(
        "select i.multiplier from ledger.instruments i join ledger.fills f using (instrument_id) "
        f"where f.fill_id = '{busted}' limit 1"
    )[0][0]
    assert notional[0] - notional[1] == size * price * multiplier
    day = sealed_day(site.store, LATE_DAY)
    assert day.reason == "venue broke the trade"
    assert any(busted in f.samples or "BUST-1" in f.samples for f in day.findings)


# --- (d) the same bytes anywhere -----------------------------------------------------------------

RENDER = """
import sys
from pathlib import Path
from reporting import pipeline
from reporting.page import Document
body = Path(sys.argv[1]).read_bytes()
for name, content in pipeline.files_of(Document.model_validate_json(body)).items():
    path = Path(sys.argv[2]) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
"""
HABITS = (
    {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1", "LC_ALL": "C"},
    {"TZ": "America/St_Johns", "PYTHONHASHSEED": "4242", "LC_ALL": "C.UTF-8", "LANG": "de_DE"},
)


def test_an_interrupted_restatement_leaves_nothing_behind(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of one would never be looked for again: the next close has to do all of it."""
    site.ledger_sql(LATE_EXECUTION.format(at=after(LAST, 1).isoformat()))
    before = revisions(site.store)

    def interrupt(words: str) -> None:
        if words.endswith("2025-12-05"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.close(site.service(), LAST, after(LAST, 2), progress=interrupt)
    assert revisions(site.store) == before
    pipeline.close(site.service(), LAST, after(LAST, 3))
    changed = {day for day, revision in revisions(site.store).items() if revision != before[day]}
    assert changed == {LATE_DAY, date(2025, 12, 4), date(2025, 12, 5)}


def test_a_bust_dated_on_another_day_restates_the_day_of_what_it_busts(site: Site) -> None:
    before = revisions(site.store)
    dated = BUST.replace("child_id, executed_at,", "child_id, timestamptz '2025-12-05T16:00Z',")
    [busted, *_], _ = close_late(site, dated)
    assert busted
    assert revisions(site.store)[LATE_DAY] == before[LATE_DAY] + 1


def test_what_a_close_without_the_ledger_did_not_see_is_looked_for_again(
    site: Site, prometheus: str
) -> None:
    before = revisions(site.store)
    site.ledger_sql(LATE_EXECUTION.format(at=after(LAST, 1).isoformat()))
    away = site.service(ledger_url=CLOSED_DATABASE, prometheus_url=prometheus)
    pipeline.close(away, date(2025, 12, 8), after(date(2025, 12, 8), 2), allow_gaps=True)
    assert revisions(site.store)[LATE_DAY] == before[LATE_DAY]
    site.ledger_sql(
        "insert into firm.closing_prices select code, px, source, '2025-12-08T21:00Z', "
        "'2025-12-08T21:05Z' from firm.closing_prices where priced_at = "
        "(select max(priced_at) from firm.closing_prices)"
    )
    pipeline.close(site.service(prometheus_url=prometheus), date(2025, 12, 8), after(LAST, 48))
    assert revisions(site.store)[LATE_DAY] == before[LATE_DAY] + 1


def test_other_settings_are_no_reason_for_a_revision(site: Site) -> None:
    service = site.service(issuer="Somebody else")
    again = pipeline.issue(service, "weekly", LATE_DAY, ISSUED_AT, dry_run=True)
    assert again.outcome == "would-regenerate"


def test_documents_are_the_same_whatever_the_machines_habits(site: Site, tmp_path: Path) -> None:
    found = []
    for number, habits in enumerate(HABITS):
        cwd = tmp_path / f"cwd{number}"
        cwd.mkdir()
        done = site.process(
            "build", "--kind", "monthly", "--date", "2025-10-09", "--now", "2025-12-08T12:00:00Z",
            "--output", "document.json", cwd=cwd, environ=habits,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append((cwd / "document.json").read_bytes())
        assert canonical(json.loads(found[-1])) == found[-1]
    # The log grows by each that is built, and the checkpoint with it.
    first, second = ({**json.loads(each), "checkpoint": None} for each in found)
    assert first == second


def test_html_pdf_and_tables_are_the_same_whatever_the_machines_habits(
    demo: Demo, site: Site, tmp_path: Path
) -> None:
    folder = demo.reports / "daily" / "2025-12-05" / "r1"
    issued = files_of(folder)
    del issued["provenance.json"]
    for number, habits in enumerate(HABITS):
        cwd = tmp_path / f"cwd{number}"
        (cwd / "out").mkdir(parents=True)
        done = subprocess.run(
            [sys.executable, "-c", RENDER, str(folder / "facts.json"), "out"],
            cwd=cwd, env={**site.environment(), **habits}, check=False, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        assert files_of(cwd / "out") == issued, habits
