"""Sign-off in a real database: two people, in order; printed in the next revision."""

from __future__ import annotations

import json
from datetime import date, timedelta

import psycopg2
import pytest

from reporting import pipeline
from reporting.errors import UsageError
from reporting.pipeline.health import status
from reporting.pipeline.signoff import open_for_review, sign_off
from reporting.seal import attested
from reporting.settings import operating_user

from ..line.site import ROOT, Site, after

DAILY = "daily/2025-12-05/r1"
DAY, ISSUED_AT = date(2025, 12, 5), after(date(2025, 12, 7), 4)


def changed_policy(site: Site) -> pipeline.Service:
    """A service whose next report differs: a target was changed."""
    text = (ROOT / "config" / "policy.toml").read_text("utf-8")
    config = site.var / "policy.toml"
    config.write_text(text.replace('value = "95"', 'value = "90"'), "utf-8")
    return site.service(policy_file=config)


def test_two_people_sign_off_in_order(site: Site) -> None:
    service = site.service()
    assert DAILY in {r["report"] for r in status(service)["open_for_review"]}
    with pytest.raises(UsageError, match="has no preparer yet"):
        sign_off(service, DAILY, "reviewer", "bob")
    first = sign_off(service, "daily/2025-12-05", "preparer", "alice", name="A. Lice", note="read")
    assert first.report == DAILY
    entry = json.loads(list(site.store.log())[-1].entry)
    stored = site.store.report("daily", "2025-12-05")
    assert stored is not None
    assert entry["event"] == "report signed off"
    assert entry["body"] == {
        "by": operating_user(),
        "report": DAILY,
        "role": "preparer",
        "person": "alice",
        "name": "A. Lice",
        "note": "read",
        "facts": stored.digest,
    }
    with pytest.raises(UsageError, match="was signed off by alice as preparer"):
        sign_off(service, DAILY, "preparer", "carol")
    with pytest.raises(UsageError, match="was prepared by alice"):
        sign_off(service, DAILY, "reviewer", "alice")
    with pytest.raises(UsageError, match="was prepared by alice"):
        sign_off(service, DAILY, "reviewer", "alice2", name="A. Lice")
    assert {"report": DAILY, "lacks": ["reviewer"]} in open_for_review(service)
    sign_off(service, DAILY, "reviewer", "bob")
    assert DAILY not in {r["report"] for r in open_for_review(service)}
    # A month counts what was there at its cut-off: no later sign-off changes its content.
    signed = [row.at for row in service.store.sign_offs("daily", "2025-12-05")]
    moments = {stored.issued_at - timedelta(1): None, stored.issued_at: 0, signed[0]: 1}
    for moment, people in {**moments, max(signed): 2}.items():
        expected = () if people is None else ((DAILY, people),)
        assert service.store.reviews(DAY, DAY, moment) == expected
    assert service.store.reviews(date(2025, 12, 6), date(2025, 12, 7), max(signed)) == ()
    assert all(v.ok for v in pipeline.verify(service))


INSERT = """
    insert into reporting.sign_off (kind, period, revision, role, person, name, note, digest)
    select kind, period, revision, '{role}', '{person}', '{name}', '', {digest}
    from reporting.issued_report where kind = 'daily'
"""


def test_the_database_holds_the_same_rules(site: Site) -> None:
    def insert(role: str, person: str, name: str = "", digest: str = "digest") -> None:
        sql = INSERT.format(role=role, person=person, name=name, digest=digest)
        site.store_sql(sql, "reporting_app")

    refused = psycopg2.errors.CheckViolation
    with pytest.raises(refused, match="no preparer yet"):
        insert("reviewer", "bob")
    with pytest.raises(refused, match="other facts"):
        insert("preparer", "alice", digest="'another'")
    insert("preparer", "alice", "A")
    for person, name in (("alice", ""), ("other", "A")):
        with pytest.raises(refused, match="was prepared by alice too"):
            insert("reviewer", person, name)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        insert("preparer", "carol")
    insert("reviewer", "bob")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        site.store_sql("delete from reporting.sign_off")


@pytest.mark.slow
def test_a_sign_off_makes_no_revision_and_is_printed_in_the_next(site: Site) -> None:
    service = site.service()
    before = (site.reports / DAILY / "report.html").read_bytes()
    sign_off(service, DAILY, "preparer", "alice", name="A. Lice", note="all read")
    again = pipeline.issue(service, "daily", DAY, ISSUED_AT)
    assert again.outcome == "regenerated"
    assert (site.reports / DAILY / "report.html").read_bytes() == before
    issued = pipeline.issue(changed_policy(site), "daily", DAY, ISSUED_AT, reason="new target")
    document = issued.document
    assert [(s.report, s.role, s.person) for s in document.signoffs] == [
        (DAILY, "preparer", "alice")
    ]
    html = (issued.folder / "report.html").read_text("utf-8")
    assert "A. Lice (<span" in html
    assert "not signed off by a reviewer" in html
    assert "not signed off by a preparer" not in html
    with pytest.raises(UsageError, match="superseded by daily/2025-12-05/r2"):
        sign_off(service, DAILY, "reviewer", "bob")
    with pytest.raises(psycopg2.errors.CheckViolation, match="superseded by r2"):
        site.store_sql(
            INSERT.format(role="reviewer", person="bob", name="", digest="digest")
            + " and revision = 1",
            "reporting_app",
        )
    assert all(v.ok for v in pipeline.verify(service))


def test_a_restatement_has_a_page_of_its_own(site: Site) -> None:
    issued = pipeline.issue(changed_policy(site), "weekly", DAY, ISSUED_AT, reason="new target")
    document, folder = issued.document, issued.folder
    page = (folder / "differences.html").read_text("utf-8")
    rows = (folder / "tables" / "differences.csv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + len(document.differences)
    assert page.count('<a href="report.html#') == len(document.differences)
    recorded = attested((folder / "provenance.json").read_bytes()).made.files
    assert {"differences.html", "tables/differences.csv"} <= recorded.keys()
    assert 'href="differences.html"' in (folder / "report.html").read_text("utf-8")
    first = site.reports / "weekly" / "2025-W49" / "r1"
    assert not (first / "differences.html").exists()
    assert all(v.ok for v in pipeline.verify_folder(folder))


def test_the_report_says_how_long_it_is_kept(site: Site) -> None:
    facts = json.loads((site.reports / DAILY / "facts.json").read_bytes())
    assert facts["retention"] == {
        "class_": "operational",
        "until": "2027-12-08",
        "source": "internal rule: two business years of daily operations",
    }
    html = (site.reports / DAILY / "report.html").read_text("utf-8")
    assert "2027-12-08 at least, class operational" in html
    assert "Revision 1 is not signed off at issue" in html


def test_the_commands(site: Site) -> None:
    done = site.command("sign-off", "daily/2025-12-05", "--as", "preparer", "--by", "A. Lice")
    assert done.returncode == 0, done.stderr
    assert f"signed off by {operating_user()} as preparer" in done.stdout
    same = site.command("sign-off", "daily/2025-12-05", "--as", "reviewer", "--by", "Bob")
    assert same.returncode == 2  # --by names nobody else
    assert "expected another person as reviewer" in same.stderr
    listed = site.command("sign-off", "--list", "--json")
    assert [r["role"] for r in json.loads(listed.stdout)["sign_offs"]] == ["preparer"]
    assert "lacks reviewer" in site.command("status").stdout
    nothing = site.command("sign-off")
    assert nothing.returncode == 2
