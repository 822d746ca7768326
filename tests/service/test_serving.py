"""From the schedule to the mail: the demo's store, a real relay, the service's own steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from unittest import mock

import pytest

from reporting import pipeline
from reporting.document import TITLES
from reporting.errors import (
    EngineUnavailable,
    NotReady,
    ReportingError,
    SigningUnavailable,
    SourceUnavailable,
    UsageError,
    ValidationFailed,
)
from reporting.page import Document, Status
from reporting.pipeline import Service
from reporting.pipeline.delivering import Delivery
from reporting.pipeline.observing import snapshot
from reporting.pipeline.serving import ATTEMPTS, queue_mails
from reporting.runs import Expected, Runs
from reporting.sources.ledger import END_OF_DAY

from ..line.site import Site
from .relay import Post, running_relay

SCHEDULE = """
catch_up = "60 days"
[[report]]
name = "daily"
kind = "daily"
due_time = "06:30"
due_after = "1 session"
deadline = "10:00"
recipients = ["desk", "risk"]
unknown = "hold"

[[report]]
name = "weekly"
kind = "weekly"
due_time = "07:30"
due_after = "1 session"
deadline = "12:00"
recipients = ["desk"]
unknown = "resend"

[[recipient]]
name = "desk"
address = "desk@example.com"
to_name = "Trading desk"
class = "internal"

[[recipient]]
name = "risk"
address = "risk@example.com"
class = "internal"
"""


@pytest.fixture
def relay() -> Iterator[Post]:
    with running_relay() as post:
        yield post


@pytest.fixture
def serving(site: Site, relay: Post, tmp_path: Path) -> Callable[..., Service]:
    """The demo's service with a schedule and a relay."""
    file = tmp_path / "schedule.toml"
    file.write_text(SCHEDULE, "utf-8")

    def make(**given: object) -> Service:
        return site.service(
            **{
                "schedule_file": file,
                "smtp_host": "127.0.0.1",
                "smtp_port": relay.port,
                "smtp_security": "none",
                "smtp_sender": "Reports <reports@example.com>",
                "smtp_timeout_s": 2,
                "mail_domain": "reports.example.com",
                "lease_s": 5,
                **given,
            }
        )

    return make


def runs_of(service: Service, holder: str = "one") -> Runs:
    return pipeline.runs_of(service, holder)


def work_all(service: Service, runs: Runs) -> list[str]:
    found = []
    while (worked := pipeline.work(service, runs)) is not None:
        found.append(f"{worked.key} {worked.outcome}")
    return found


def queued(service: Service, report: str, kind: str, period: str) -> Document:
    """The mails of an issued report, as issuing it by schedule queues them."""
    row = service.store.report(kind, period)
    assert row is not None
    document = Document.model_validate_json(row.body)
    with service.store.writing() as writer:
        now = writer.queue.clock()
        queue_mails(service, writer.queue, report, document, now, now)
    return document


MONDAY = date(2025, 12, 8)


def expect_monday(runs: Runs, due: datetime, within: timedelta) -> None:
    """The daily report of the day after the demo's last."""
    key, first = f"daily/XNYS/{MONDAY}", date(2025, 12, 6)
    run = Expected(key, "daily", "daily", str(MONDAY), MONDAY, first, MONDAY, due, due + within)
    with runs.writing() as queue:
        queue.expect(run)


def said_complete(site: Site, day: date, fills: int | None = None) -> None:
    """The ledger's end-of-day run has spoken of this day alone, at 23:00 UTC."""
    site.ledger_sql(
        f"create or replace view ledger.end_of_day as select date '{day}' as day, "
        f"null::bigint as orders, {'null' if fills is None else fills}::bigint as fills, "
        f"timestamptz '{day}T23:00Z' as recorded_at"
    )


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


def test_a_backfill_is_issued_and_mails_nobody_unless_told(
    serving: Callable[..., Service], relay: Post, site: Site
) -> None:
    """A dry run writes nothing; what was asked for by hand is not given up for its age."""
    service = serving()
    runs = runs_of(service)
    first, last = date(2025, 12, 4), date(2025, 12, 5)
    planned = pipeline.backfill(service, first, last, "missing", kind="daily", dry_run=True)
    assert [f.key for f in planned] == ["daily/XNYS/2025-12-04"]
    assert runs.take(["daily", "weekly"]) is None
    pipeline.backfill(service, first, last, "missing", kind="daily")
    assert pipeline.reconcile(service, runs).missed == ()
    assert work_all(service, runs) == ["daily/XNYS/2025-12-04 issued"]
    assert pipeline.deliver(service, runs) == [] and relay.arrived == []
    assert pipeline.backfill(service, first, last, "missing", kind="daily") == []
    site.store_sql("update reporting.run set state = 'missed'")  # and somebody issued it by hand
    assert len(pipeline.backfill(service, first, last, "missing", kind="daily")) == 1
    assert work_all(service, runs) == ["daily/XNYS/2025-12-04 issued"]
    everything = pipeline.backfill(service, first, last, "all", kind="daily", dry_run=True)
    assert [(f.key, f.state) for f in everything] == [
        ("daily/XNYS/2025-12-04", "issued"),
        ("daily/XNYS/2025-12-05", "never"),
    ]
    # Expected again, it is found as it was issued: nothing is rendered, nothing is written again.
    pipeline.backfill(service, first, first, "all", kind="daily")
    assert work_all(service, runs) == ["daily/XNYS/2025-12-04 issued"]
    assert not any(b'"report regenerated"' in e.entry for e in service.store.log())
    page = service.settings.reports_dir / "daily/2025-12-04/r1/report.html"
    page.write_bytes(b"changed")
    pipeline.backfill(service, first, first, "all", kind="daily")
    work_all(service, runs)
    assert page.stat().st_size > 10_000
    with pytest.raises(UsageError, match="--to 2025-12-04 is before --from 2025-12-05"):
        pipeline.backfill(service, last, first, "all")


def test_what_another_version_makes_otherwise_needs_a_reason(
    serving: Callable[..., Service],
) -> None:
    """No restated day says why there is a second revision: somebody has to."""
    service = serving()
    runs = runs_of(service)
    pipeline.reconcile(service, runs)
    day = date(2025, 12, 5)
    with mock.patch.dict(TITLES, {"daily": "Daily report"}):
        pipeline.backfill(service, day, day, "all", kind="daily")
        failed = pipeline.work(service, runs)
        assert failed is not None and failed.outcome == "failed"
        assert "give the reason: --reason" in failed.because
        pipeline.backfill(service, day, day, "failed", kind="daily", reason="a shorter title")
        done = pipeline.work(service, runs)
    assert done is not None and done.report == "daily/2025-12-05/r2"
    row = service.store.report("daily", "2025-12-05")
    assert row is not None and row.reason == "a shorter title"


def test_the_mail_has_the_numbers_and_the_pdf_that_was_issued(
    serving: Callable[..., Service], relay: Post
) -> None:
    """To each recipient one mail of their own, with the same bytes that lie in the folder."""
    service = serving()
    document = queued(service, "daily", "daily", "2025-12-05")
    sent = pipeline.deliver(service, runs_of(service))
    assert {(s.recipient, s.state) for s in sent} == {("desk", "sent"), ("risk", "sent")}
    (mail,) = relay.to("desk@example.com")
    assert str(mail["To"]) == "Trading desk <desk@example.com>"
    assert document.answer.split(":")[0][:30] in text_of(mail)
    (pdf,) = list(mail.iter_attachments())
    issued = service.settings.reports_dir / "daily/2025-12-05/r1/report.pdf"
    assert pdf.get_content() == issued.read_bytes()
    assert pdf.get_filename() == "daily-2025-12-05-r1.pdf"
    # Queued again, it is the same mail: nobody gets it twice.
    queued(service, "daily", "daily", "2025-12-05")
    assert pipeline.deliver(service, runs_of(service)) == []
    events = [e.entry for e in service.store.log() if b'"mail sent"' in e.entry]
    assert len(events) == 2 and b"example.com>" in events[0] and b"desk@" not in events[0]


def test_one_bad_address_harms_nobody_else(serving: Callable[..., Service], relay: Post) -> None:
    """Refused for good, it is failed; refused for now, it rests; the other one arrives."""
    service = serving()
    runs = runs_of(service)
    relay.replies["risk@example.com"] = lambda: "550 5.1.1 no such person"
    queued(service, "daily", "daily", "2025-12-05")
    states = {s.recipient: (s.state, s.code) for s in pipeline.deliver(service, runs)}
    assert states == {"desk": ("sent", 250), "risk": ("failed", 550)}
    relay.replies["risk@example.com"] = lambda: "451 4.7.1 come back later"
    pipeline.resend(service, runs, "daily/2025-12-05", "risk", "the address exists now")
    (rests,) = pipeline.deliver(service, runs)
    assert (rests.state, rests.code) == ("queued", 451)
    assert pipeline.status(service)["service"]["mails"]["queued"] == 1
    del relay.replies["risk@example.com"]
    assert pipeline.deliver(service, runs) == []  # it rests for a minute


def test_outsiders_get_pseudonyms_or_nothing(
    serving: Callable[..., Service], relay: Post, site: Site, tmp_path: Path
) -> None:
    """Without a key their mail waits, and is never sent in clear; with one no name is in it."""
    file = tmp_path / "external.toml"
    file.write_text(SCHEDULE.replace('class = "internal"', 'class = "external"', 1), "utf-8")
    service = serving(schedule_file=file)
    document = queued(service, "weekly", "weekly", "2025-W49")
    (waits,) = pipeline.deliver(service, runs_of(service))
    assert waits.state == "queued" and "REPORTING_PSEUDONYM_KEY_FILE" in waits.words
    assert relay.arrived == []
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    service = serving(schedule_file=file, pseudonym_key_file=key)
    site.store_sql("update reporting.outbox set next_at = now()")
    (sent,) = pipeline.deliver(service, runs_of(service))
    assert sent.state == "sent"
    (mail,) = relay.to("desk@example.com")
    assert "names masked" in str(mail["Subject"]) + text_of(mail)
    accounts = {
        str(row[0])
        for section in document.sections
        for table in section.tables
        for row in table.rows
        if table.columns[0].key == "account"
    }
    whole = mail.as_string()
    assert accounts and not [name for name in accounts if name in whole]
    assert str(service.settings.reports_dir) not in text_of(mail)


def test_a_mail_goes_where_the_schedule_says_when_it_is_sent(
    serving: Callable[..., Service], relay: Post, site: Site, tmp_path: Path
) -> None:
    """A corrected address, another class, a recipient who left: not as it was when queued."""
    service = serving()
    relay.replies["risk@example.com"] = lambda: "550 5.1.1 no such person"
    queued(service, "daily", "daily", "2025-12-05")
    pipeline.deliver(service, runs_of(service))
    file = tmp_path / "changed.toml"
    text = SCHEDULE.replace("risk@example.com", "risk2@example.com")
    file.write_text(text, "utf-8")
    service = serving(schedule_file=file)
    pipeline.resend(service, runs_of(service), "daily/2025-12-05", "risk", "the address is right")
    (sent,) = pipeline.deliver(service, runs_of(service))
    assert sent.state == "sent" and len(relay.to("risk2@example.com")) == 1
    # They are outsiders from now on: nothing goes to them in clear.
    head, _, tail = text.rpartition('"internal"')
    file.write_text(f'{head}"external"{tail}', "utf-8")
    service = serving(schedule_file=file)
    pipeline.resend(service, runs_of(service), "daily/2025-12-05", "risk", "lost")
    (waits,) = pipeline.deliver(service, runs_of(service))
    assert waits.state == "queued" and "REPORTING_PSEUDONYM_KEY_FILE" in waits.words
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    service = serving(schedule_file=file, pseudonym_key_file=key)
    site.store_sql("update reporting.outbox set next_at = now()")
    (sent,) = pipeline.deliver(service, runs_of(service))
    logged = [json.loads(e.entry)["body"] for e in service.store.log() if b'"mail sent"' in e.entry]
    assert sent.state == "sent" and logged[-1]["class"] == "external"
    # And somebody who is in no list any more gets nothing.
    queued(service, "weekly", "weekly", "2025-W49")
    gone = text.replace('"desk"', '"night"')
    file.write_text(gone, "utf-8")
    (left,) = pipeline.deliver(serving(schedule_file=file), runs_of(service))
    assert left.state == "queued" and "has no recipient 'desk'" in left.words
    assert len(relay.to("desk@example.com")) == 1
    # Another replica's schedule may have them; once all agree that nobody does, it has failed.
    service = serving(schedule_file=file)
    assert pipeline.reconcile(service, runs_of(service)).failed == ()
    pipeline.reconcile(service, runs_of(service))
    site.store_sql("update reporting.reconciled set agreed_at = now() - interval '5 min'")
    assert pipeline.reconcile(service, runs_of(service)).failed == ("weekly/2025-W49 to desk",)


def test_whoever_is_told_to_stop_begins_no_other_mail(
    serving: Callable[..., Service], relay: Post
) -> None:
    """What it had taken and not begun is sent by whoever comes after, by the schedule of then."""
    service = serving()
    queued(service, "daily", "daily", "2025-12-05")
    runs = runs_of(service, "stopped")
    delivery = Delivery(service, runs, lambda: bool(relay.arrived))
    assert [s.state for s in delivery.some()] == ["sent"]
    delivery.close()
    runs.abandon("stopped")
    assert [s.state for s in pipeline.deliver(service, runs_of(service))] == ["sent"]
    assert len(relay.arrived) == 2


def test_a_schedule_that_can_not_be_read_fails_no_mail_and_no_run(
    serving: Callable[..., Service], tmp_path: Path, site: Site
) -> None:
    """What was edited badly is mended: until then nothing is taken, so nothing is lost."""
    service = serving()
    queued(service, "daily", "daily", "2025-12-05")
    pipeline.backfill(service, date(2025, 12, 4), date(2025, 12, 4), "missing", kind="daily")
    file = tmp_path / "broken.toml"
    file.write_text("catch_up = [", "utf-8")
    broken = serving(schedule_file=file)
    for act in (pipeline.deliver, pipeline.work):
        with pytest.raises(ReportingError, match=r"broken\.toml"):
            act(broken, runs_of(broken))
    mails = site.store_sql("select distinct state, takes from reporting.outbox")
    assert mails == [("queued", 0)]
    assert site.store_sql("select state, attempts from reporting.run") == [("expected", 0)]


@pytest.mark.parametrize("away", [EngineUnavailable, SigningUnavailable, SourceUnavailable])
def test_what_is_away_for_a_while_fails_no_run(
    serving: Callable[..., Service], site: Site, away: type[ReportingError]
) -> None:
    """A time stamp that nobody gives for an hour is had once somebody does: no person is needed."""
    service = serving()
    runs = runs_of(service)
    pipeline.backfill(service, date(2025, 12, 4), date(2025, 12, 4), "missing", kind="daily")
    with mock.patch("reporting.pipeline.serving.issue", side_effect=away("nobody answers")):
        for _ in range(ATTEMPTS + 2):
            waits = pipeline.work(service, runs)
            assert waits is not None and (waits.outcome, waits.because) == (
                "waits",
                "nobody answers",
            )
            site.store_sql("update reporting.run set next_at = now()")
    # Nor does one real failure after many of these.
    with mock.patch("reporting.pipeline.serving.issue", side_effect=ValidationFailed("wrong")):
        waits = pipeline.work(service, runs)
    assert waits is not None and waits.outcome == "waits"
    site.store_sql("update reporting.run set next_at = now()")
    assert work_all(service, runs) == ["daily/XNYS/2025-12-04 issued"]


def test_a_bug_of_ours_fails_a_run_and_is_handed_on_with_it(
    serving: Callable[..., Service], site: Site
) -> None:
    """Whoever logs it knows of which run it speaks."""
    service = serving()
    runs = runs_of(service)
    pipeline.backfill(service, date(2025, 12, 4), date(2025, 12, 4), "missing", kind="daily")
    with mock.patch("reporting.pipeline.serving.issue", side_effect=ZeroDivisionError("ours")):
        for _ in range(ATTEMPTS):
            found = pipeline.work(service, runs)
            assert found is not None and isinstance(found.bug, ZeroDivisionError)
            site.store_sql("update reporting.run set next_at = now()")
    assert found.outcome == "failed" and found.key == "daily/XNYS/2025-12-04"
    assert pipeline.status(service)["service"]["late"][0]["state"] == "failed"


def test_retries_end(serving: Callable[..., Service], relay: Post, site: Site) -> None:
    """A relay that says "later" until the time is up: failed, listed, logged."""
    service = serving()
    relay.replies["desk@example.com"] = lambda: "451 4.7.1 come back later"
    queued(service, "weekly", "weekly", "2025-W49")
    site.store_sql("update reporting.outbox set give_up_at = now() + interval '10 s'")
    (failed,) = pipeline.deliver(service, runs_of(service))
    assert (failed.state, failed.code) == ("failed", 451)
    (listed,) = pipeline.status(service)["service"]["undelivered"]
    assert listed["report"] == "weekly/2025-W49/r1" and "come back later" in listed["because"]
    assert any(b'"mail failed"' in e.entry for e in service.store.log())


@pytest.mark.parametrize("wrong", [{"smtp_port": 1}, {"smtp_host": None}])
def test_a_relay_that_is_not_there_stops_no_report(
    serving: Callable[..., Service], wrong: dict[str, object]
) -> None:
    """All mails rest, also where nobody has set one yet; the first one's words are everybody's."""
    service = serving(**wrong)
    queued(service, "daily", "daily", "2025-12-05")
    found = pipeline.deliver(service, runs_of(service))
    assert [s.state for s in found] == ["queued", "queued"]
    assert len({s.words for s in found}) == 1


def test_an_unknown_outcome_is_held_or_sent_again_as_policy_says(
    serving: Callable[..., Service], relay: Post
) -> None:
    """The connection broke after the mail was handed over: it may have arrived, and did."""
    service = serving()
    runs = runs_of(service)
    relay.replies["desk@example.com"] = lambda: "cut after accepting"
    queued(service, "daily", "daily", "2025-12-05")
    queued(service, "weekly", "weekly", "2025-W49")
    states = {(s.report[:5], s.recipient): s.state for s in pipeline.deliver(service, runs)}
    assert states == {
        ("daily", "desk"): "unknown",
        ("daily", "risk"): "queued",  # the line is cut: the next one waits for a better one
        ("weekl", "desk"): "unknown",
    }
    relay.replies.clear()
    assert len(relay.arrived) == 2
    tries = snapshot(service, runs).sends
    assert tries == {"sent": 0, "temporary": 1, "permanent": 0, "unknown": 2}
    assert pipeline.reconcile(service, runs).resent == ("weekly/2025-W49 to desk",)
    (again,) = pipeline.deliver(service, runs)
    assert (again.report, again.state) == ("weekly/2025-W49/r1", "sent")
    *_, first, second = (m for m in relay.to("desk@example.com") if "Week" in str(m["Subject"]))
    assert first["Message-ID"] == second["Message-ID"]
    assert "may have reached you before" in text_of(second)
    assert "may have reached you before" not in text_of(first)
    # What is held is sent again by hand alone, or is said to have arrived.
    assert pipeline.reconcile(service, runs).resent == ()
    with pytest.raises(UsageError, match="no recipient 'nobody'; it has desk, risk"):
        pipeline.resend(service, runs, "daily/2025-12-05", "nobody", "")
    with pytest.raises(UsageError, match="on its way already"):
        pipeline.resend(service, runs, "daily/2025-12-05", "risk", "they did not get it")
    pipeline.arrived(service, "daily/2025-12-05", "desk", "they have it")
    assert pipeline.status(service)["service"]["undelivered"] == []
    with pytest.raises(UsageError, match="is not unknown"):
        pipeline.arrived(service, "daily/2025-12-05", "desk", "they have it")


def test_whoever_dies_between_sending_and_the_answer_leaves_a_mark(
    serving: Callable[..., Service], relay: Post
) -> None:
    """A mail that was begun is unknown once its lease ends, and not sent again in silence."""
    service = serving()
    dead = runs_of(service, "dead")
    queued(service, "daily", "daily", "2025-12-05")
    mails = dead.take_mails(1)
    dead.begin_mail(mails[0], 0.2)
    other = runs_of(service, "other")
    other.abandon("dead")
    assert pipeline.reconcile(service, other).unknown == ("daily/2025-12-05 to desk",)
    assert {(s.recipient, s.state) for s in pipeline.deliver(service, other)} == {("risk", "sent")}
    assert snapshot(service, other).sends["unknown"] == 1
    event = next(e for e in service.store.log() if b"mail outcome unknown" in e.entry)
    assert b"desk" in event.entry


def test_a_report_with_gaps_at_the_deadline_and_its_revision(
    serving: Callable[..., Service], relay: Post, site: Site
) -> None:
    """The ledger's end-of-day run is late: INCOMPLETE at the deadline, the rest as a revision."""
    service = serving()
    runs = runs_of(service)
    pipeline.reconcile(service, runs)
    said_complete(site, date(2025, 12, 5))
    due = datetime.now(UTC) - timedelta(hours=1)
    expect_monday(runs, due, timedelta(hours=5))
    waits = pipeline.work(service, runs)
    assert waits is not None and waits.outcome == "waits"
    assert "has not said that 2025-12-08 is complete" in waits.because
    site.store_sql(
        f"update reporting.run set deadline_at = '{due + timedelta(minutes=1)}', next_at = now()"
    )
    gaps = pipeline.work(service, runs)
    assert gaps is not None and gaps.outcome == "incomplete", gaps
    pipeline.deliver(service, runs)
    assert str(relay.to("desk@example.com")[0]["Subject"]).startswith("[INCOMPLETE")
    # It is asked again, finds nothing new, and issues nothing.
    site.store_sql("update reporting.run set next_at = now()")
    same = pipeline.work(service, runs)
    assert same is not None and same.outcome == "waits"
    assert service.store.report("daily", "2025-12-08").revision == 1  # type: ignore[union-attr]
    # Somebody else's close restated the day: this report is issued again all the same.
    site.store_sql(
        "insert into reporting.sealed_day "
        "(day, revision, digest, body, known_at, sealed_at, reason) "
        "select day, revision + 1, 'x', '', known_at, sealed_at, 'late' "
        "from reporting.sealed_day "
        "where day = '2025-12-08'"
    )
    assert pipeline.reconcile(service, runs).reopened == 1


def test_a_ledger_that_is_partly_loaded_at_the_deadline_is_not_called_final(
    serving: Callable[..., Service], relay: Post, site: Site
) -> None:
    """Rows are there, and by its own end-of-day run not all: INCOMPLETE until that run agrees."""
    service = serving()
    runs = runs_of(service)
    pipeline.reconcile(service, runs)
    site.ledger_sql(
        "insert into firm.executions select 'MONDAY', child_id, executed_at + interval '3 days', "
        "size, px, venue, commission, commission_ccy, 'N', null, '2025-12-08T22:00Z' "
        "from firm.executions where executed_at >= '2025-12-05T15:00Z' and exec_type = 'N' "
        "and executed_at < '2025-12-05T20:00Z' order by exec_id limit 1 returning exec_id"
    )

    said_complete(site, MONDAY, fills=5)
    with pytest.raises(NotReady, match="the ledger has 1 of 5 fills of 2025-12-08; close the day"):
        pipeline.close(service, MONDAY, datetime.now(UTC))
    due = datetime.now(UTC) - timedelta(hours=1)
    expect_monday(runs, due, timedelta(minutes=1))
    gaps = pipeline.work(service, runs)
    assert gaps is not None and gaps.outcome == "incomplete", gaps
    row = service.store.report("daily", "2025-12-08")
    assert row is not None
    first = Document.model_validate_json(row.body)
    assert first.status is Status.INCOMPLETE
    assert "the ledger has 1 of 5 fills" in str([g.reason.detail for g in first.gaps])
    # The same rows, and its end-of-day run agrees: nothing is restated, and that gap is gone.
    said_complete(site, MONDAY, fills=1)
    site.store_sql("update reporting.run set next_at = now()")
    done = pipeline.work(service, runs)
    assert done is not None and done.report == "daily/2025-12-08/r2", done
    row = service.store.report("daily", "2025-12-08")
    assert row is not None
    second = Document.model_validate_json(row.body)
    assert len(second.gaps) == len(first.gaps) - 1
    assert END_OF_DAY not in {f.check for f in second.findings}
    assert second.reason == "what was missing in r1 is there now"


def test_days_before_the_first_end_of_day_run_are_not_waited_for(site: Site) -> None:
    """A view that was made later says nothing of them."""
    said_complete(site, MONDAY)
    ledger, now = site.service().ledger, datetime(2025, 12, 9, tzinfo=UTC)
    days = [site.service().trading_day(date(2025, 12, n)) for n in (5, 8, 9)]
    assert [ledger.lacks(day, now) for day in days] == [
        None,
        "",
        "the ledger's end-of-day run has not said that 2025-12-09 is complete",
    ]


def test_a_mail_that_kills_its_workers_stops_no_other_and_is_given_up(
    serving: Callable[..., Service], relay: Post, site: Site
) -> None:
    """Taken again and again and nothing came of it: others go first; past its time it failed."""
    service = serving()
    queued(service, "daily", "daily", "2025-12-05")
    queued(service, "weekly", "weekly", "2025-W49")
    doomed = runs_of(service, "doomed")
    for _ in range(11):  # whoever died here had made what they carry: it may die of anything
        doomed.made(doomed.take_mails(20))
        doomed.abandon("doomed")
    for _ in range(10):
        assert {m.period for m in doomed.take_mails(20)} == {"2025-12-05"}
        doomed.abandon("doomed")
    assert {m.period for m in doomed.take_mails(20)} == {"2025-W49"}
    doomed.abandon("doomed")
    site.store_sql("update reporting.outbox set give_up_at = now() - interval '1 s'")
    found = pipeline.reconcile(service, runs_of(service))
    assert found.failed == ("daily/2025-12-05 to desk", "daily/2025-12-05 to risk")
    assert sum(b'"mail failed"' in e.entry for e in service.store.log()) == 2
    listed = pipeline.status(service)["service"]["undelivered"]
    assert {m["because"] for m in listed} == {
        "it was taken 10 times, and whoever made it died each time"
    }


def test_too_old_is_missed_and_seen(serving: Callable[..., Service], site: Site) -> None:
    """Down for longer than the schedule makes up for: every report is listed, none is issued."""
    service = serving()
    runs = runs_of(service)
    pipeline.reconcile(service, runs)
    site.store_sql("update reporting.reconciled set until = now() - interval '70 days'")
    found = pipeline.reconcile(service, runs)
    assert found.missed and found.expected
    assert pipeline.reconcile(service, runs).expected == ()
    status = pipeline.status(service)["service"]
    assert status["runs"]["expected"] == len(found.expected)
    logged = [e for e in service.store.log() if b'"run missed"' in e.entry]
    assert len(logged) == len(found.missed)
