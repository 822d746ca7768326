"""Holds and purges in a real database: roles, refusals, and what verify finds."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from reporting import pipeline
from reporting.errors import UsageError, ValidationFailed
from reporting.pipeline import retention
from reporting.pipeline.exporting import export
from reporting.policy.retention import RECORDS
from reporting.seal import digest
from reporting.settings import operating_user

from ..line.site import ROOT, Site, after, files_of, sealed

DAILY = "daily/2025-12-05/r1"
#: Past the two years of a daily report and not the seven of a sealed day.
LATER = datetime(2029, 1, 1, tzinfo=UTC)
NOW = datetime.now(UTC)
ME = operating_user()


@pytest.fixture
def site(site: Site) -> Site:
    """The demo, its purger's URL given; the clock of its database can't be turned, so its minimum
    is lifted as only the owner of the tables can."""
    rules = site.var / "retention.toml"
    rules.write_text((ROOT / "config" / "retention.toml").read_text("utf-8"), "utf-8")
    given = {
        **site.given,
        "retention_file": rules,
        "purge_url": site.server.database(site.store_name, "reporting_purger"),
    }
    return Site(site.server, site.ledger, site.store_name, site.reports, site.var, given)


def lift(site: Site) -> None:
    site.store_sql("update reporting.retention_minimum set days = 0")


def short(site: Site, *records: str) -> pipeline.Service:
    """The service with a policy that keeps some kinds of record for a month."""
    text = (ROOT / "config" / "retention.toml").read_text("utf-8")
    for record in records:
        text += f'[[record]]\nid = "{record}"\nfrom = 2025-01-02\nclass = "short"\n'
    text += '[[class]]\nid = "short"\nfrom = 2025-01-01\nmonths = 1\nsource = "a test"\n'
    (site.var / "retention.toml").write_text(text, "utf-8")
    return site.service()


def items(*names: str, until: str = "2026-01-01") -> str:
    return json.dumps(
        [
            {
                "record": n.split("/")[0] if n.count("/") == 2 else "sealed_day",
                "name": n,
                "class": "operational",
                "until": until,
            }
            for n in names
        ]
    )


def purge_sql(site: Site, user: str, *names: str, until: str = "2026-01-01") -> int:
    asked = items(*names, until=until)
    rows = site.store_sql(f"select reporting.purge('{asked}', 'why', 'me')", user)
    return int(rows[0][0])


def body_of(site: Site, name: str) -> bytes:
    kind, period, revision = name.split("/")
    row = site.store.report(kind, period, int(revision[1:]))
    assert row is not None
    return row.body


def problems(site: Site) -> list[str]:
    return [f"{v.what}: {v.problem}" for v in pipeline.verify(site.service()) if not v.ok]


def last_entry(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        bytes(site.store_sql("select entry from audit.log order by seq desc limit 1")[0][0])
    )
    return found


# --- roles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sql", [
    "select reporting.purge('[]', 'why', 'me')",
    "insert into reporting.purged values ('daily', 'daily/2025-12-05/r1', '', '', '', now())",
    "update reporting.issued_report set body = ''",
    "delete from reporting.legal_hold",
    "update reporting.retention_minimum set days = 0",
    "update reporting.sign_off set person = 'somebody'",
    "select audit.append_any('report purged', '{}')",
    "select audit.append('report purged', '{}')",
])  # fmt: skip
def test_the_service_can_not_purge_nor_say_that_it_did(site: Site, sql: str) -> None:
    lift(site)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        site.store_sql(sql, "reporting_app")


@pytest.mark.parametrize("sql", [
    "select body from reporting.issued_report",
    "update reporting.issued_report set body = ''",
    "insert into reporting.purged values ('daily', 'daily/2025-12-05/r1', '', '', '', now())",
    "insert into reporting.legal_hold (releases, reason, person) values (1, 'x', 'x')",
    "update reporting.retention_minimum set days = 0",
    "select audit.append('day sealed', '{}')",
    "select audit.append_any('day sealed', '{}')",
])  # fmt: skip
def test_the_purger_can_do_nothing_but_purge(site: Site, sql: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        site.store_sql(sql, "reporting_purger")


def test_even_the_owner_empties_only_what_a_purge_names(site: Site) -> None:
    for sql in (
        "update reporting.issued_report set body = ''",
        "update reporting.sealed_day set digest = '' where day = '2025-12-05'",
        "delete from reporting.sealed_day",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
            site.store_sql(sql)
    lift(site)
    purge_sql(site, "reporting_purger", DAILY)
    site.store_sql(
        "insert into reporting.issued_report select kind, period, 2, 'x', 'x', provenance, "
        "issued_at, '' from reporting.issued_report where kind = 'daily'",
        "reporting_app",
    )
    for sql in (
        "update reporting.issued_report set body = '', reason = 'x' where digest <> 'x'",
        "update reporting.issued_report set body = '' where digest = 'x'",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
            site.store_sql(sql)


def test_when_something_was_stored_only_the_server_says(site: Site) -> None:
    site.store_sql(
        "insert into reporting.closing_book (digest, body, stored_at) "
        "values ('backdated', '\\x00', '2001-01-01')",
        "reporting_app",
    )
    [[stored]] = site.store_sql(
        "select stored_at from reporting.closing_book where digest = 'backdated'"
    )
    assert datetime.now(UTC) - stored < timedelta(minutes=5)


# --- what the database refuses -------------------------------------------------------------------


def refused(site: Site, words: str, *names: str, **more: str) -> None:
    size = site.rows()["audit.log"]
    with pytest.raises(psycopg2.errors.CheckViolation, match=words):
        purge_sql(site, "reporting_purger", *names, **more)
    assert site.rows()["audit.log"] == size
    assert site.store.purged() == {}


def test_a_young_record_is_refused_whatever_the_policy_says(site: Site) -> None:
    refused(site, "younger than 730 days", DAILY)
    refused(site, "younger than 2555 days", "2025-12-05/r1")
    with pytest.raises(ValidationFailed, match="younger than 730 days"):
        # The command asks the database first; this is a caller who does not.
        site.service().purging_store.purge(json.loads(items(DAILY)), "why", ME)


def test_what_is_not_past_its_time_is_refused(site: Site) -> None:
    lift(site)
    refused(site, "to be kept until 2099-01-01", DAILY, until="2099-01-01")


def test_a_cited_day_is_refused_until_its_reports_have_gone(site: Site) -> None:
    lift(site)
    refused(site, "2025-12-05/r1 is cited by .*, which is kept", "2025-12-05/r1")
    refused(site, "cited by", DAILY, "2025-12-05/r1")  # the week and the month cite it too
    reports = [r.name for r in site.store.records() if r.name.count("/") == 2]
    assert len(reports) == 3
    assert purge_sql(site, "reporting_purger", *reports, "2025-12-05/r1") == 4


def test_an_earlier_revision_stays_with_the_one_that_replaces_it(site: Site) -> None:
    lift(site)
    site.store_sql(
        "insert into reporting.issued_report (kind, period, revision, digest, body, provenance, "
        "issued_at, reason) select kind, period, 2, digest, body, provenance, issued_at, 'again' "
        "from reporting.issued_report where kind = 'daily'",
        "reporting_app",
    )
    refused(site, "daily/2025-12-05/r1 is cited by daily/2025-12-05/r2", DAILY)
    assert purge_sql(site, "reporting_purger", DAILY, "daily/2025-12-05/r2") == 2


@pytest.mark.parametrize("on", [
    {"report": "daily/2025-12-05"},
    {"first": date(2025, 12, 5), "last": date(2025, 12, 31)},
])  # fmt: skip
def test_what_is_held_is_refused_and_its_release_is_logged(site: Site, on: Any) -> None:
    lift(site)
    service = site.service()
    number = retention.hold(service, "counsel", "matter 17", **on)
    assert last_entry(site)["event"] == "legal hold set"
    refused(site, f"held since .* .hold {number}.: matter 17", DAILY)
    assert DAILY not in {r.name for r in retention.retained(service, LATER) if r.may_go}
    with pytest.raises(UsageError, match="there is no hold 99"):
        retention.release(service, 99, "counsel", "x")
    retention.release(service, number, "counsel", "settled")
    entry = last_entry(site)
    assert (entry["event"], entry["body"]["hold"]) == ("legal hold released", number)
    with pytest.raises(UsageError, match="was released"):
        retention.release(service, number, "counsel", "again")
    assert purge_sql(site, "reporting_purger", DAILY) == 1


def test_a_hold_on_other_days_holds_nothing_here(site: Site) -> None:
    lift(site)
    retention.hold(site.service(), ME, "x", first=date(2025, 12, 8), last=date(2025, 12, 9))
    assert purge_sql(site, "reporting_purger", DAILY) == 1


def test_a_hold_needs_a_reason_and_one_thing_to_hold(site: Site) -> None:
    service = site.service()
    for on in ({}, {"report": DAILY, "first": date(2025, 1, 1)}, {"first": date(2025, 1, 1)}):
        with pytest.raises(UsageError, match="either --report, or --from with --to"):
            retention.hold(service, ME, "x", **on)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="needs a reason"):
        retention.hold(service, ME, " ", report=DAILY)


# --- a purge -------------------------------------------------------------------------------------


def test_a_purge_empties_the_body_and_keeps_what_proves_it(site: Site) -> None:
    lift(site)
    service = short(site, "daily")
    site.store_sql(
        "insert into reporting.signed_part "
        "values ('daily', '2025-12-05', 1, 'report.pdf', '\\x01')",
        "reporting_app",
    )
    site.store_sql(
        "insert into reporting.outbox (kind, period, revision, recipient, address, class, "
        "message_id, unknown, attach, give_up_at) values ('daily', '2025-12-05', 1, 'desk', "
        "'desk@example.com', 'internal', '<1@x>', 'hold', true, now())",
        "reporting_app",
    )
    before, facts = site.store.report("daily", "2025-12-05"), body_of(site, DAILY)
    assert before is not None
    rows, files = site.rows(), site.files()
    planned = retention.purge(service, NOW, ME, "", dry_run=True)
    assert [r.name for r in planned.records] == [DAILY]
    assert (site.files(), site.rows()) == (files, rows)
    with pytest.raises(UsageError, match="needs a reason"):
        retention.purge(service, NOW, ME, "")
    made = retention.purge(service, NOW, ME, "its time is over")
    assert made.records == planned.records
    assert not (site.reports / DAILY).exists()
    stored = site.store.report("daily", "2025-12-05")
    assert stored is not None
    assert stored.body == b""
    assert site.store_sql("select count(*) from reporting.outbox")[0][0] == 0  # nor an address
    assert site.store.signed_parts("daily", "2025-12-05", 1) == {"report.pdf": b""}
    same = ("digest", "provenance", "issued_at", "reason")
    assert [getattr(stored, n) for n in same] == [getattr(before, n) for n in same]
    entries = [json.loads(e.entry) for e in site.store.log()]
    said = [
        e for e in entries if e["body"].get("report") == DAILY and e["event"] == "report purged"
    ]
    assert len(said) == 1
    assert said[0]["actor"] == "reporting_purger"
    assert said[0]["body"] == {
        "by": ME,
        "class": "short",
        "facts": digest(facts),
        "provenance": digest(before.provenance),
        "reason": "its time is over",
        "report": DAILY,
        "until": "2026-01-08",
    }
    assert problems(site) == []
    again = retention.purge(service, NOW, ME, "again")
    assert again == retention.Purged((), ())


@pytest.mark.slow
def test_everything_goes_when_everything_is_past_its_time(site: Site) -> None:
    lift(site)
    service = short(site, *RECORDS)
    made = retention.purge(service, NOW, ME, "all over")
    assert {r.record for r in made.records} == {"daily", "weekly", "monthly", "sealed_day"}
    assert {r.record for r in retention.retained(service, NOW)} == {"closing_book"}
    assert problems(site) == []


@pytest.mark.slow
def test_a_book_goes_unless_the_newest_day_or_a_held_one_closes_with_it(site: Site) -> None:
    lift(site)
    service = site.service()
    books = {d: sealed(site.store, d).closing_book for d in (date(2025, 10, 1), date(2025, 12, 5))}
    assert len(set(books.values())) == 2
    retention.hold(service, ME, "x", first=date(2025, 10, 1), last=date(2025, 10, 1))
    asked = [{"record": "closing_book", "name": str(name)} for name in books.values()]
    because = [*site.store.kept(asked[:1]).values(), *site.store.kept(asked[1:]).values()]
    assert because[0].startswith("closes day 2025-10-01/r1, which is held")
    assert because[1].startswith("closes day 2025-12-0")
    retention.release(service, 1, ME, "x")
    item = {**asked[0], "class": "operational", "until": "2026-01-01"}
    assert service.purging_store.purge([item], "over", ME) == 1
    assert problems(site) == []


@pytest.mark.slow
def test_a_purge_that_stopped_before_its_files_is_finished_by_the_next(site: Site) -> None:
    lift(site)
    purge_sql(site, "reporting_purger", DAILY)
    assert any("its files are still there" in p for p in problems(site))
    made = retention.purge(site.service(), datetime(2026, 1, 1, tzinfo=UTC), ME, "finish")
    assert made.folders == (site.reports / DAILY,)
    assert problems(site) == []


def test_what_was_purged_is_named_wherever_it_is_asked_for(site: Site, tmp_path: Path) -> None:
    lift(site)
    service = short(site, "daily")
    retention.purge(service, NOW, ME, "over")
    words = f"daily/2025-12-05/r1 was purged on .* by {ME}: over"
    with pytest.raises(UsageError, match=words):
        pipeline.issue(service, "daily", date(2025, 12, 5), after(date(2025, 12, 7), 4))
    with pytest.raises(UsageError, match=words):
        pipeline.rewrite(service, "daily", date(2025, 12, 5), 1)
    with pytest.raises(UsageError, match=words):
        pipeline.open_report(DAILY, lambda: service)
    made = export(service, date(2025, 11, 1), date(2025, 12, 31), tmp_path / "a", LATER)
    manifest = json.loads((made.folder / "manifest.json").read_bytes())
    assert DAILY in manifest["reports"]
    assert not any(name.startswith(f"reports/{DAILY}") for name in files_of(made.folder))
    assert "was purged on" in (made.folder / "index.html").read_text("utf-8")
    run = [sys.executable, str(made.folder / "verify.py")]
    checked = subprocess.run(run, capture_output=True, text=True, check=False, timeout=120)
    assert checked.returncode == 0, checked.stdout
    assert f"{DAILY} purged on" in checked.stdout


# --- round the function, as a superuser ----------------------------------------------------------

BYPASS = "set session_replication_role = replica; "
ATTACKS: dict[str, tuple[str, str]] = {
    "a body emptied": (
        "update reporting.issued_report set body = '' where kind = 'daily'",
        "does not match the audit log",
    ),
    "a body emptied and called purged": (
        "update reporting.issued_report set body = '' where kind = 'daily'; "
        "insert into reporting.purged select 'daily', 'daily/2025-12-05/r1', digest, 'r', 'c', "
        "now(), 'me' from reporting.issued_report where kind = 'daily'",
        "the store calls it purged and the audit log does not",
    ),
    "a day emptied and called purged": (
        "update reporting.sealed_day set body = '' where day = '2025-12-05'; "
        "insert into reporting.purged select 'sealed_day', '2025-12-05/r1', digest, 'r', 'c', "
        "now(), 'me' from reporting.sealed_day where day = '2025-12-05'",
        "the store calls it purged and the audit log does not",
    ),
    "a book emptied": (
        "update reporting.closing_book set body = ''",
        "closing book is missing or changed",
    ),
    "a row deleted": (
        "delete from reporting.issued_report where kind = 'daily'",
        "is in the audit log and missing in the store",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.slow
def test_a_superuser_who_goes_round_the_purge_is_found(site: Site, name: str) -> None:
    sql, expected = ATTACKS[name]
    site.store_sql(BYPASS + sql)
    assert any(expected in p for p in problems(site)), problems(site)


@pytest.mark.parametrize(("sql", "expected"), [
    ("update reporting.issued_report set body = '\\x7b7d' where kind = 'daily'", "again"),
    ("update reporting.issued_report set digest = 'x' where kind = 'daily'", "its digests"),
    ("update reporting.issued_report set provenance = '' where kind = 'daily'", "its digests"),
    ("delete from reporting.purged", "is in the audit log and missing in the store"),
    ("update reporting.purged set digest = 'x'", "the audit log does not"),
])  # fmt: skip
@pytest.mark.slow
def test_what_a_purge_left_is_still_checked(site: Site, sql: str, expected: str) -> None:
    lift(site)
    purge_sql(site, "reporting_purger", DAILY)
    retention.purge(site.service(), datetime(2026, 1, 1, tzinfo=UTC), ME, "files")
    assert problems(site) == []
    site.store_sql(BYPASS + sql)
    assert any(expected in p for p in problems(site)), problems(site)


# --- the commands --------------------------------------------------------------------------------


def test_the_commands(site: Site) -> None:
    lift(site)
    held = site.command("retention", "hold", "--report", "daily/2025-12-05", "--reason", "m 1")
    assert held.returncode == 0, held.stderr
    assert "hold 1 is in force" in held.stdout
    listed = site.command("retention", "list", "--json")
    found = {r["name"]: r for r in json.loads(listed.stdout)["records"]}
    assert found[DAILY]["class"] == "operational"
    assert found[DAILY]["until"] == "2027-12-08"
    assert found[DAILY]["past"] is False
    dry = site.command("retention", "purge", "--dry-run")
    assert (dry.returncode, "nothing is past its time" in dry.stdout) == (0, True), dry.stderr
    released = site.command("retention", "release", "1", "--reason", "m 1 closed")
    assert released.returncode == 0, released.stderr
    future = site.command("retention", "list", "--now", "2040-01-01T00:00:00Z")
    assert future.returncode == 2  # nobody turns the clock to purge earlier


def test_without_the_purger_nothing_is_purged(site: Site) -> None:
    lift(site)
    short(site, "daily")
    with pytest.raises(UsageError, match="REPORTING_PURGE_URL is not set"):
        retention.purge(site.service(purge_url=None), NOW, ME, "x")
    app = site.server.database(site.store_name, "reporting_app")
    with pytest.raises(ValidationFailed, match="permission denied"):
        retention.purge(site.service(purge_url=app), NOW, ME, "x")
    with pytest.raises(ValidationFailed, match="is to be kept until 202"):
        # A clock that is wrong: the server's own decides.
        (site.var / "retention.toml").unlink()
        short(site)
        retention.purge(site.service(), LATER, ME, "x")
