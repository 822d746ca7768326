"""From the schedule to the mail: the demo's store, a real relay, the service's own steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from reporting import pipeline
from reporting.errors import UsageError
from reporting.pipeline import Service
from reporting.runs import Runs

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
FIRST, LAST = date(2025, 12, 3), date(2025, 12, 5)


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


def test_a_backfill_is_issued_in_order_and_mailed_when_told(
    serving: Callable[..., Service], relay: Post
) -> None:
    """Nothing happens on a dry run; nobody is mailed unless told; the mail has the numbers."""
    service = serving()
    runs = runs_of(service)
    planned = pipeline.backfill(service, FIRST, LAST, "missing", kind="daily", dry_run=True)
    assert [f.key for f in planned] == ["daily/XNYS/2025-12-03", "daily/XNYS/2025-12-04"]
    assert runs.take() is None
    pipeline.backfill(service, FIRST, LAST, "missing", kind="daily")
    pipeline.reconcile(service, runs)  # what was asked for by hand is not given up for its age
    assert work_all(service, runs) == [
        "daily/XNYS/2025-12-03 issued",
        "daily/XNYS/2025-12-04 issued",
    ]
    assert pipeline.deliver(service, runs) == [] and relay.arrived == []
    assert pipeline.backfill(service, FIRST, LAST, "missing", kind="daily") == []

    again = pipeline.backfill(service, LAST, LAST, "all", kind="daily", mail=True)
    assert [f.key for f in again] == ["daily/XNYS/2025-12-05"]
    assert work_all(service, runs) == ["daily/XNYS/2025-12-05 issued"]
    sent = pipeline.deliver(service, runs)
    assert {(s.recipient, s.state) for s in sent} == {("desk", "sent"), ("risk", "sent")}
    (mail,) = relay.to("desk@example.com")
    folder = service.settings.reports_dir / "daily/2025-12-05/r1"
    document = json.loads((folder / "facts.json").read_bytes())
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert document["answer"].split(":")[0][:30] in " ".join(text.split())
    (pdf,) = list(mail.iter_attachments())
    issued = (folder / "report.pdf").read_bytes()
    assert pdf.get_content() == issued and pdf.get_filename() == "daily-2025-12-05-r1.pdf"
    assert pipeline.verify(service)[-1].ok


def test_one_bad_address_harms_nobody_else(serving: Callable[..., Service], relay: Post) -> None:
    """Refused for good, it is failed; refused for now, it rests; the other one arrives."""
    service = serving()
    runs = runs_of(service)
    relay.replies["risk@example.com"] = lambda: "550 5.1.1 no such person"
    pipeline.backfill(service, LAST, LAST, "all", kind="daily", mail=True)
    work_all(service, runs)
    states = {s.recipient: (s.state, s.code) for s in pipeline.deliver(service, runs)}
    assert states == {"desk": ("sent", 250), "risk": ("failed", 550)}
    relay.replies["risk@example.com"] = lambda: "451 4.7.1 come back later"
    pipeline.resend(service, runs, "daily/2025-12-05", "risk", "the address exists now")
    (rests,) = pipeline.deliver(service, runs)
    assert (rests.state, rests.code) == ("queued", 451)
    assert pipeline.status(service)["service"]["mails"]["queued"] == 1
    del relay.replies["risk@example.com"]
    assert pipeline.deliver(service, runs) == []  # it rests for a minute


def test_an_unknown_outcome_is_held_or_sent_again_as_policy_says(
    serving: Callable[..., Service], relay: Post
) -> None:
    """The connection broke after the mail was handed over: it may have arrived, and did."""
    service = serving()
    runs = runs_of(service)
    for address in ("desk@example.com", "risk@example.com"):
        relay.replies[address] = lambda: "cut after accepting"
    pipeline.backfill(service, FIRST, LAST, "all", mail=True)
    assert len(work_all(service, runs)) == 4
    assert {s.state for s in pipeline.deliver(service, runs)} == {"unknown"}
    held = [m for m in runs.mails() if m["kind"] == "daily"]
    assert [m["state"] for m in held] == ["unknown"] * 6
    relay.replies.clear()
    arrived = len(relay.arrived)
    found = pipeline.reconcile(service, runs)
    assert [m.split()[0] for m in found.resent] == ["weekly/2025-W49"]
    (again,) = pipeline.deliver(service, runs)
    assert (again.report, again.state) == ("weekly/2025-W49/r1", "sent")
    assert len(relay.arrived) == arrived + 1
    first, second = (m for m in relay.to("desk@example.com") if "week" in str(m["Subject"]).lower())
    assert first["Message-ID"] == second["Message-ID"]
    assert "may have reached you before" in second.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    # What is held is sent again by hand alone, and says the same.
    assert pipeline.reconcile(service, runs).resent == ()
    with pytest.raises(UsageError, match="no recipient 'nobody'; it has desk, risk"):
        pipeline.resend(service, runs, "daily/2025-12-05", "nobody", "")
    pipeline.resend(service, runs, "daily/2025-12-05", "risk", "they did not get it")
    assert [s.state for s in pipeline.deliver(service, runs)] == ["sent"]


def test_whoever_dies_between_sending_and_the_answer_leaves_a_mark(
    serving: Callable[..., Service], relay: Post
) -> None:
    """A mail that was begun is unknown once its lease ends, and not sent again in silence."""
    service = serving(lease_s=1)
    dead = runs_of(service, "dead")
    pipeline.backfill(service, LAST, LAST, "all", kind="daily", mail=True)
    work_all(service, dead)
    mails = dead.take_mails(1)
    dead.begin_mail(mails[0], 0.2)
    other = runs_of(service, "other")
    other.abandon("dead")
    assert pipeline.reconcile(service, other).unknown == ("daily/2025-12-05 to desk",)
    assert {(s.recipient, s.state) for s in pipeline.deliver(service, other)} == {("risk", "sent")}
    event = next(e for e in service.store.log() if b"mail outcome unknown" in e.entry)
    assert b"desk" in event.entry


def test_a_report_with_gaps_at_the_deadline_and_its_revision(
    serving: Callable[..., Service], relay: Post, site: Site
) -> None:
    """The ledger's end-of-day run is late: INCOMPLETE at the deadline, the rest as a revision."""
    service = serving()
    runs = runs_of(service)
    pipeline.reconcile(service, runs)
    site.ledger_sql(
        "create view ledger.end_of_day as select null::date as day, null::bigint as orders, "
        "null::bigint as fills, null::timestamptz as recorded_at where false"
    )
    day = date(2025, 12, 8)  # no row of it in the ledger yet
    due = datetime.now(UTC) - timedelta(hours=1)
    with runs.writing() as queue:
        from reporting.runs import Expected

        queue.expect(
            Expected("daily/XNYS/2025-12-08", "daily", "daily", "2025-12-08", day,
                     date(2025, 12, 6), day, due, due + timedelta(hours=5))
        )  # fmt: skip
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


def test_too_old_is_missed_and_seen(serving: Callable[..., Service], site: Site) -> None:
    """Down for longer than the schedule makes up for: every report is listed, none is issued."""
    service = serving()
    runs = runs_of(service)
    pipeline.reconcile(service, runs)
    site.store_sql("update reporting.reconciled set until = now() - interval '62 days'")
    found = pipeline.reconcile(service, runs)
    assert found.missed and found.expected
    assert pipeline.reconcile(service, runs).expected == ()
    status = pipeline.status(service)["service"]
    assert status["runs"]["expected"] == len(found.expected)
    logged = [e for e in service.store.log() if b'"run missed"' in e.entry]
    assert len(logged) == len(found.missed)
