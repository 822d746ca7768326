"""Runs, leases and the outbox in a real PostgreSQL: what only one may do, and what nobody loses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from reporting import pipeline
from reporting.errors import LeaseLost, SourceUnavailable, UsageError, ValidationFailed
from reporting.postgres import database
from reporting.runs import Expected, Lease, Runs

from ..conftest import Server
from ..line.site import Site

DAY = date(2025, 12, 5)
DUE = datetime(2025, 12, 8, 11, 30, tzinfo=UTC)
NAMES = ("daily", "else")


def expected(day: date = DAY, due: datetime = DUE) -> Expected:
    key = f"daily/XNYS/{day}"
    return Expected(
        key, "daily", "daily", day.isoformat(), day, day, day, due, due + timedelta(hours=3)
    )


@pytest.fixture
def make_runs(server: Server, empty_store: str) -> Iterator[Callable[..., Runs]]:
    """Holders of one store of their own."""
    name = f"{empty_store}_queues"
    server.clone(name, empty_store)
    url = server.database(name, "reporting_app")
    yield lambda holder, lease_s=30.0: Runs(database(url, "store"), holder, lease_s)
    server.drop(name)


def write(runs: Runs, *days: Expected) -> list[bool]:
    with runs.writing() as queue:
        return [queue.expect(each) for each in days]


def lease_of(runs: Runs) -> Lease:
    taken = runs.take(NAMES)
    assert taken is not None
    return Lease(taken.key, taken.fence, True)


def finish(runs: Runs, lease: Lease) -> None:
    with runs.writing() as queue:
        queue.finish(lease, "issued", 1, DUE, DUE, "", {"close": 1.0, "issue": 2.0})


def test_a_run_is_written_down_once_and_taken_by_one(make_runs: Callable[..., Runs]) -> None:
    """However many replicas look at the schedule and ask for work."""
    one, two = make_runs("one"), make_runs("two")
    assert write(one, expected()) == [True]
    assert write(two, expected()) == [False]
    taken = one.take(NAMES)
    assert taken is not None and taken.fence == 1 and taken.attempts == 0
    assert two.take(NAMES) is None


def test_what_is_due_first_is_taken_first(make_runs: Callable[..., Runs]) -> None:
    """So that catching up goes in order; what is not due yet is left."""
    runs = make_runs("one")
    later = datetime.now(UTC) + timedelta(hours=1)
    days = [date(2025, 12, 5), date(2025, 12, 3), date(2025, 12, 4)]
    write(runs, *(expected(d, DUE - timedelta(days=5 - d.day)) for d in days))
    write(runs, expected(date(2025, 12, 8), later))
    found = []
    while (taken := runs.take(NAMES)) is not None:
        found.append(taken.day.day)
        assert runs.take(NAMES) is None  # of one report the next one waits until this one is done
        finish(runs, Lease(taken.key, taken.fence, True))
    assert found == [3, 4, 5]


def test_a_run_that_kills_its_workers_stops_no_other(make_runs: Callable[..., Runs]) -> None:
    """Taken ten times and nothing came of it: whatever else is due goes first."""
    runs = make_runs("one")
    write(runs, expected(), expected(date(2025, 12, 8), DUE + timedelta(days=1)))
    for _ in range(10):
        assert (taken := runs.take(NAMES)) is not None and taken.day == DAY
        runs.abandon("one")
    assert (other := runs.take(NAMES)) is not None and other.day == date(2025, 12, 8)
    assert (again := runs.take(NAMES)) is not None and again.day == DAY


def test_one_that_has_to_wait_is_not_overtaken_by_a_later_one_of_its_report(
    make_runs: Callable[..., Runs],
) -> None:
    """In order, also where the first is put back; ten failures are enough, and others go first."""
    runs = make_runs("one")
    write(runs, expected(), expected(date(2025, 12, 8), DUE + timedelta(days=1)))
    other = expected(date(2025, 12, 9), DUE + timedelta(days=2))
    write(runs, replace(other, key="else/XNYS/2025-12-09", report="else"))
    first = runs.take(NAMES)
    assert first is not None and first.day == DAY
    assert runs.put_back(first, after_s=60.0, because="its source is away")
    assert (elses := runs.take(NAMES)) is not None and elses.report == "else"
    assert runs.take(NAMES) is None
    for _ in range(9):
        with runs.writing() as queue:
            queue._session.script("update reporting.run set next_at = now()")
        again = runs.take(NAMES)
        assert again is not None and again.day == DAY
        runs.put_back(again, after_s=60.0, because="its source is away")
    assert (later := runs.take(NAMES)) is not None and later.day == date(2025, 12, 8)


def test_what_is_asked_for_by_hand_keeps_nobody_waiting(
    make_runs: Callable[..., Runs], server: Server, empty_store: str
) -> None:
    """This morning's report goes before a year that somebody fills, and before second revisions."""
    runs = make_runs("one")
    write(runs, expected(date(2025, 12, 8), DUE + timedelta(days=3)))
    with runs.writing() as queue:
        for back in (30, 20):
            queue.expect(expected(DAY - timedelta(back), DUE - timedelta(back)), by_hand=True)
    write(runs, expected(DAY - timedelta(10), DUE - timedelta(10)))
    server.run(
        f"update reporting.run set revision = 1 where day = '{DAY - timedelta(10)}'",
        f"{empty_store}_queues",
    )
    assert runs.take(["else"]) is None  # who does not know a report leaves it to others
    found = []
    while (taken := runs.take(NAMES)) is not None:
        found.append(taken.day)
        finish(runs, Lease(taken.key, taken.fence, True))
    assert found == [date(2025, 12, 8), *(DAY - timedelta(back) for back in (10, 30, 20))]


def test_what_was_asked_for_quietly_stays_quiet_unless_somebody_was_sent_it(
    make_runs: Callable[..., Runs], server: Server, empty_store: str
) -> None:
    """A backfill mails nobody, nor do its revisions; who got a report gets its revisions too."""
    runs = make_runs("one")
    with runs.writing() as queue:
        queue.expect(expected(), quiet=True)

    def again(recipients: tuple[str, ...]) -> bool:
        server.run("update reporting.run set state = 'expected', next_at = now()", store)
        taken = runs.take(NAMES)
        assert taken is not None
        with runs.writing() as queue:
            lease = Lease(taken.key, taken.fence, True)
            queue.finish(lease, "issued", 1, DUE, DUE, "", {}, recipients)
        return taken.quiet

    store = f"{empty_store}_queues"
    assert again(("desk",)) and again(("desk",))
    server.run(
        "insert into reporting.issued_report (kind, period, revision, digest, body, provenance, "
        "issued_at, reason) values ('daily', '2025-12-05', 1, '', 'x', 'x', now(), ''); "
        "insert into reporting.outbox (kind, period, revision, recipient, address, class, "
        "message_id, unknown, attach, give_up_at) values ('daily', '2025-12-05', 1, 'desk', "
        "'d@x.example', 'internal', '<1@x>', 'hold', false, now())",
        store,
    )
    assert again(("board",)) and again(("desk",)) and not again(("desk",))


def test_what_is_sent_again_is_as_old_as_the_wish(
    make_runs: Callable[..., Runs], server: Server, empty_store: str
) -> None:
    """An alert on old mails in the queue does not fire for one of last month that is resent."""
    runs = make_runs("one")
    server.run(
        "insert into reporting.issued_report (kind, period, revision, digest, body, provenance, "
        "issued_at, reason) values ('daily', '2025-12-05', 1, '', 'x', 'x', now(), ''); "
        "insert into reporting.outbox (kind, period, revision, recipient, address, class, state, "
        "message_id, unknown, attach, give_up_at, created_at, queued_at) values ('daily', "
        "'2025-12-05', 1, 'desk', 'd@x.example', 'internal', 'sent', '<1@x>', 'hold', false, "
        "now(), now() - interval '30 days', now() - interval '30 days')",
        f"{empty_store}_queues",
    )
    of = {"kind": "daily", "period": "2025-12-05", "revision": 1, "recipient": "desk"}
    with runs.writing() as queue:
        assert queue.resend(**of, give_up_at=datetime.now(UTC) + timedelta(hours=1))
    (counted,) = runs.read("mail_counts")
    assert counted["queued"] == 1 and counted["oldest_queued_s"] < 60


def test_many_threads_take_each_run_once(make_runs: Callable[..., Runs]) -> None:
    """Real concurrency: no run is taken twice, none is left."""
    runs = make_runs("writer")
    write(runs, *(expected(DAY - timedelta(days=n)) for n in range(40)))  # all due at once
    taken: list[str] = []

    def work(number: int) -> None:
        mine = make_runs(f"holder {number}")
        while (run := mine.take(NAMES)) is not None:
            taken.append(run.key)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 40


def test_whoever_was_frozen_can_not_finish(make_runs: Callable[..., Runs]) -> None:
    """Past its lease its fence matches nothing, whether another has taken over or not."""
    frozen, other = make_runs("frozen", 0.2), make_runs("other")
    write(frozen, expected())
    lease = lease_of(frozen)
    assert frozen.renew(lease)
    time.sleep(0.3)
    assert not frozen.renew(lease)
    with pytest.raises(LeaseLost, match="ended before"):
        finish(frozen, lease)
    taken = lease_of(other)
    assert taken.fence == lease.fence + 1
    with pytest.raises(LeaseLost):
        finish(frozen, lease)
    finish(other, taken)
    assert [r["state"] for r in other.runs(DUE, DUE)] == ["issued"]


def test_a_fence_alone_is_not_enough(make_runs: Callable[..., Runs]) -> None:
    """A lease that ended and that nobody took is lost too: somebody may take it any moment."""
    runs = make_runs("one", 0.1)
    write(runs, expected())
    lease = lease_of(runs)
    time.sleep(0.2)
    with pytest.raises(LeaseLost), runs.writing() as queue:
        queue.hold(lease)


def test_only_one_closes_days(make_runs: Callable[..., Runs]) -> None:
    """The right to close is left, or it ends."""
    one, two = make_runs("one"), make_runs("two")
    lease = one.close_lease()
    assert lease is not None and two.close_lease() is None
    one.leave(lease)
    assert (again := two.close_lease()) is not None and again.fence == lease.fence + 1
    assert not one.renew(lease)


def test_what_a_dead_process_held_is_free_at_once(make_runs: Callable[..., Runs]) -> None:
    """Its supervisor knows that it is dead; a lease need not run out."""
    dead, other = make_runs("dead"), make_runs("other")
    write(dead, expected())
    lease_of(dead)
    dead.close_lease()
    assert other.take(NAMES) is None
    other.abandon("dead")
    assert other.take(NAMES) is not None and other.close_lease() is not None


def test_a_silent_transaction_is_ended(make_runs: Callable[..., Runs], server: Server) -> None:
    """A frozen process must not keep the locks that all others wait for."""
    runs = make_runs("frozen")
    with pytest.raises(SourceUnavailable), runs.writing() as queue:
        queue._session.script("set local idle_in_transaction_session_timeout = '100ms'")
        time.sleep(0.5)
        queue.clock()
    with runs.writing() as queue:
        shown = queue._session._raw.cursor()
        shown.execute("show idle_in_transaction_session_timeout")
        assert shown.fetchone()[0] == "20s"


def test_the_role_of_the_service_can_not_forget_a_run(
    make_runs: Callable[..., Runs], server: Server, empty_store: str
) -> None:
    """It may change how a run stands, not remove that it was expected, nor a mail."""
    make_runs("one")
    for table in ("run", "outbox", "lease", "replica", "reconciled"):
        with pytest.raises(Exception, match="permission denied"):
            server.run(f"delete from reporting.{table}", f"{empty_store}_queues", "reporting_app")


def test_what_was_restated_while_it_was_rendered_is_issued_again(
    make_runs: Callable[..., Runs], server: Server, empty_store: str
) -> None:
    """A day that was sealed after the draft is not in the report, however late it was finished."""
    runs = make_runs("one")
    write(runs, expected())
    lease = lease_of(runs)
    drafted = runs.clock()
    for revision in (1, 2):
        server.run(
            "insert into reporting.sealed_day (day, revision, digest, body, known_at, sealed_at, "
            f"reason) values ('{DAY}', {revision}, 'd{revision}', '', now(), '{DUE}', '')",
            f"{empty_store}_queues",
        )
    with runs.writing() as queue:
        queue.finish(lease, "issued", 1, drafted, DUE, "", {})
    with runs.writing() as queue:
        assert queue.reopen(DUE - timedelta(days=1), ["else"]) == 0  # nobody would take it
        assert queue.reopen(DUE - timedelta(days=1), NAMES) == 1
        assert queue.reopen(DUE - timedelta(days=1), NAMES) == 0


def test_durations_add_up_over_revisions(make_runs: Callable[..., Runs]) -> None:
    """A counter never falls, whatever happens to a run."""
    runs = make_runs("one")
    write(runs, expected())
    finish(runs, lease_of(runs))
    with runs.writing() as queue:
        assert queue.redo([expected().key], False, "by hand", "") == 1
    finish(runs, lease_of(runs))
    counted = runs.read("run_counts")[0]
    assert (counted["issues"], counted["issuing_s"], counted["closing_s"]) == (2, 4.0, 2.0)


AGREED = "update reporting.reconciled set agreed_at = now() - interval '5 min'"
SCHEDULE = """
[[report]]
name = "daily"
kind = "daily"
calendar = "XNYS"
due_time = "06:30"
due_after = "1 session"
deadline = "4 hours"
"""
CLOSED = """
[[closure]]
calendar = "XNYS"
date = {day}
closed = true
reason = "day of mourning"
source = "notice"
"""


def test_a_run_that_the_schedule_no_longer_expects_is_withdrawn(
    make_site: Callable[..., Site], empty_store: str, tmp_path: Path
) -> None:
    """A closure announced late: nobody tries for ever to report a session that did not happen."""
    file = tmp_path / "schedule.toml"
    site = make_site(empty_store, empty_store, schedule_file=file)

    def look(text: str, agreed: bool = False) -> tuple[pipeline.Reconciled, dict[str, str]]:
        file.write_text(text, "utf-8")
        service = site.service()
        runs = pipeline.runs_of(service, "one")
        found = pipeline.reconcile(service, runs)
        if agreed:  # everybody has had this schedule for a while
            site.store_sql(AGREED)
            found = pipeline.reconcile(service, runs)
        states = site.store_sql("select key, state from reporting.run")
        return found, dict(states)

    look(SCHEDULE)
    site.store_sql("update reporting.reconciled set until = now() - interval '20 days'")
    gone, issued, taken, *_ = look(SCHEDULE)[0].expected
    site.store_sql(
        f"""update reporting.run set state = 'issued', revision = 1 where key = '{issued}';
        update reporting.run set leased_until = now() + interval '1 min' where key = '{taken}'"""
    )
    closed = SCHEDULE + "".join(
        CLOSED.format(day=key.rpartition("/")[2]) for key in (gone, issued, taken)
    )
    # One replica has it, another not: nothing is taken back, and nothing put back.
    for text in (closed, SCHEDULE, closed):
        site.store_sql(AGREED)
        assert look(text)[0].withdrawn == ()
    found, states = look(closed, agreed=True)
    assert found.withdrawn == (gone,)
    assert (states[gone], states[issued], states[taken]) == ("withdrawn", "issued", "expected")
    assert look(closed)[0].withdrawn == ()
    site.store_sql("update reporting.run set leased_until = null")
    run = pipeline.runs_of(site.service(), "two").take(NAMES)
    assert run is not None and run.key == taken  # what is withdrawn was due before it
    assert pipeline.status(site.service())["service"]["runs"]["withdrawn"] == 1
    found, states = look(SCHEDULE)
    assert found.expected == (gone,) and states[gone] == "expected"
    events = [json.loads(e.entry)["event"] for e in site.store.log()]
    assert events.count("run withdrawn") == events.count("run expected again") == 1


def test_a_schedule_that_changes_loses_no_report(
    make_site: Callable[..., Site], empty_store: str, tmp_path: Path
) -> None:
    """Within its deadline it is made, after it missed; of what is new nothing old is expected."""
    file = tmp_path / "schedule.toml"
    site = make_site(empty_store, empty_store, schedule_file=file)

    def look(text: str) -> pipeline.Reconciled:
        file.write_text(text, "utf-8")
        service = site.service()
        return pipeline.reconcile(service, pipeline.runs_of(service, "one"))

    always = SCHEDULE.replace("XNYS", "24/7")
    assert look(always).expected == ()
    # Ten days ago it was looked at first; the run of each morning since is written down.
    site.store_sql(
        "update reporting.reconciled set until = now() - interval '10 days';"
        "update reporting.scheduled set since = now() - interval '10 days'"
    )
    known = look(always).expected
    assert len(known) >= 9 and look(always).expected == ()
    # Two are gone as if the schedule had not known them when they fell due.
    site.store_sql(f"delete from reporting.run where key in ('{known[2]}', '{known[3]}')")
    found = look(always)
    assert found.expected == () and found.missed == (known[2], known[3])
    site.store_sql(f"delete from reporting.run where key = '{known[-1]}'")
    found = look(always.replace('"4 hours"', '"30 days"'))
    assert (found.expected, found.missed) == ((known[-1],), ())
    # Another calendar has other keys, and the same periods: none of them a second time.
    site.store_sql("update reporting.run set state = 'issued', revision = 1")
    site.store_sql(AGREED)
    other = look(always.replace("24/7", "XNYS"))
    assert other.expected + other.missed + other.withdrawn == ()
    assert look(always.replace('name = "daily"', 'name = "new"')).expected == ()


def test_a_replica_with_an_older_schedule_loses_no_report_of_a_newer_one(
    make_site: Callable[..., Site], empty_store: str, tmp_path: Path
) -> None:
    """It looks at what it knows, and moves the clock on for all: the others make up for theirs."""
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    always = SCHEDULE.replace("XNYS", "24/7").replace('"4 hours"', '"30 days"')
    old.write_text(always, "utf-8")
    new.write_text(always + always.replace('name = "daily"', 'name = "else"'), "utf-8")
    site = make_site(empty_store, empty_store)

    def look(file: Path) -> pipeline.Reconciled:
        service = site.service(schedule_file=file)
        return pipeline.reconcile(service, pipeline.runs_of(service, file.stem))

    look(new)
    site.store_sql(
        "update reporting.reconciled set until = now() - interval '10 days';"
        "update reporting.scheduled set since = now() - interval '10 days'"
    )
    first = look(old).expected
    assert first and {key.split("/")[0] for key in first} == {"daily"}
    second = look(new).expected
    assert {key.replace("else/", "daily/") for key in second} == set(first)
    assert look(old).withdrawn == look(new).withdrawn == ()


def test_a_due_time_that_is_moved_reaches_what_is_written_down(
    make_site: Callable[..., Site], empty_store: str, tmp_path: Path
) -> None:
    """A longer deadline is one for the run that is waited for now."""
    file = tmp_path / "schedule.toml"
    file.write_text(SCHEDULE, "utf-8")
    site = make_site(empty_store, empty_store, schedule_file=file)

    def look() -> None:
        service = site.service()
        pipeline.reconcile(service, pipeline.runs_of(service, "one"))
        site.store_sql(AGREED)

    look()
    site.store_sql("update reporting.reconciled set until = now() - interval '10 days'")
    look()
    lengths = "select distinct deadline_at - due_at from reporting.run"
    assert site.store_sql(lengths) == [(timedelta(hours=4),)]
    file.write_text(SCHEDULE.replace("4 hours", "9 hours"), "utf-8")
    look()
    assert site.store_sql(lengths) == [(timedelta(hours=4),)]  # nobody else has it yet
    look()
    assert site.store_sql(lengths) == [(timedelta(hours=9),)]
    assert any(b'"run moved"' in e.entry for e in site.store.log())


def test_a_ledger_without_its_views_is_told_in_words(
    make_site: Callable[..., Site], empty_store: str
) -> None:
    """What is not there, and who says how to mend it: on a day that is closed, and of any run."""
    service = make_site(empty_store, empty_store).service()
    with pytest.raises(ValidationFailed, match=r"ledger\.\w+.* does not exist; `reporting doctor`"):
        pipeline.close(service, DAY, datetime(2025, 12, 6, 12, tzinfo=UTC))


def test_what_was_missed_can_be_waived(
    make_site: Callable[..., Site], empty_store: str, tmp_path: Path
) -> None:
    """With a reason, in the log; the schedule does not bring it back, and status forgets it."""
    file = tmp_path / "schedule.toml"
    file.write_text(SCHEDULE, "utf-8")
    site = make_site(empty_store, empty_store, schedule_file=file)
    service = site.service()
    runs = pipeline.runs_of(service, "one")
    pipeline.reconcile(service, runs)
    site.store_sql("update reporting.reconciled set until = now() - interval '70 days'")
    missed = pipeline.reconcile(service, runs).missed
    # However old, it is named until somebody does something about it.
    assert pipeline.status(service)["service"]["missed"] == list(missed) != []
    with pytest.raises(UsageError, match="no run that was missed or has failed"):
        pipeline.waive(service, "daily/XNYS/1999-01-01", "never wanted")
    failed = max(key for (key,) in site.store_sql("select key from reporting.run"))
    site.store_sql(f"update reporting.run set state = 'failed' where key = '{failed}'")
    for key in (*missed, failed):
        pipeline.waive(service, key, "nobody was there to read them")
    assert pipeline.reconcile(service, runs).expected == ()
    assert pipeline.status(service)["service"]["missed"] == []
    assert runs.read("run_counts")[0]["missed"] == 0
    waived = [json.loads(e.entry) for e in service.store.log() if b'"run waived"' in e.entry]
    assert len(waived) == len(missed) + 1
    # A report that is issued stays so; only a day that is restated later makes it expected again.
    of = f"from reporting.run where key = '{failed}'"
    site.store_sql(
        "update reporting.run set state = 'failed', revision = 1, reason = 'x', by_hand = true, "
        f"quiet = true, drafted_at = now() - interval '1 day' where key = '{failed}'"
    )
    restated = (
        "insert into reporting.sealed_day (day, revision, digest, body, known_at, sealed_at, "
        "stored_at, reason) select last, {0}, 'd{0}', '', now(), now(), {1}, '' " + of
    )
    site.store_sql(restated.format(1, "now()"))
    site.store_sql(restated.format(2, "now()"))
    pipeline.waive(service, failed, "the second revision is not worth it")
    assert pipeline.reconcile(service, runs).reopened == 0
    assert site.store_sql("select state, reason, by_hand " + of) == [("issued", "", False)]
    site.store_sql(restated.format(3, "now() + interval '1 min'"))
    assert pipeline.reconcile(service, runs).reopened == 1
    assert waived[0]["body"]["reason"] == "nobody was there to read them"
