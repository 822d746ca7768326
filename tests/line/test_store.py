"""The store and its audit log against real attempts, by the service's role and a superuser."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import psycopg2
import pytest
import rfc8785

from reporting import pipeline
from reporting.demo.story import closing_time
from reporting.errors import SourceUnavailable, ValidationFailed
from reporting.postgres import database, migrate, newest_version
from reporting.seal import canonical
from reporting.settings import operating_user
from reporting.store import Store

from .site import Server, Site, facts, sealed

FIRST = date(2025, 9, 2)
STRANGE = [
    "plain", 'quotes " and \\ backslash', "tab\tnew\nline\rfeed\f back\b", "\x01\x1f\x7f",
    "nul \x00 inside", "Ünïcödé ₿ 漢字 🎈", "\u2028\u2029 </script> <!--", "%s %(a)s :name {x} $1",
    "'; drop table audit.log; --", "",
]  # fmt: skip


def problems(site: Site) -> list[str]:
    """What a full verification finds wrong."""
    return [f"{v.what}: {v.problem}" for v in pipeline.verify(site.service()) if not v.ok]


def tamper(site: Site, sql: str) -> None:
    """As a superuser who switches the triggers off first."""
    site.store_sql(f"set session_replication_role = replica; {sql}")


@pytest.fixture
def bare(empty_store: str, make_site: Callable[..., Site]) -> Site:
    """An empty store; its ledger is none."""
    return make_site(empty_store, empty_store)


# --- the service's own role ----------------------------------------------------------------------

REFUSED = [
    *(
        f"{verb} {table}{rest}"
        for table in ("reporting.sealed_day", "reporting.issued_report", "reporting.closing_book",
                      "audit.log")
        for verb, rest in (("delete from", ""), ("truncate", ""), ("drop table", ""),
                           ("update", " set {0} = {0}"), ("alter table", " disable trigger all"))
    ),
    "insert into audit.log select seq + 1000000, entry, prev_hash, leaf_hash, chain_hash "
    "from audit.log limit 1",
    "create or replace function audit.append(event text, body text) returns table (seq bigint, "
    "chain_hash bytea) language sql as $$ select 1, null::bytea $$",
    "drop function audit.append(text, text)",
    "set role reporting_owner",
    "set session_replication_role = replica",
    "create table audit.mine (x int)",
    "create table reporting.mine (x int)",
]  # fmt: skip


def test_the_service_can_not_change_what_it_wrote(site: Site, tmp_path: Path) -> None:
    columns = {"reporting.sealed_day": "day", "reporting.issued_report": "kind",
               "reporting.closing_book": "digest", "audit.log": "seq"}  # fmt: skip
    before = site.rows()
    allowed = []
    for statement in REFUSED:
        table = next((t for t in columns if f" {t} " in f" {statement} "), "")
        try:
            site.store_sql(statement.format(columns.get(table, "")), "reporting_app")
        except psycopg2.Error:
            continue
        allowed.append(statement)
    assert allowed == []
    assert site.rows() == before
    assert [p for p in problems(log_only(site, tmp_path)) if "has no files" not in p] == []


def test_even_the_superuser_is_stopped_by_the_triggers(site: Site) -> None:
    for statement in (
        "update reporting.sealed_day set reason = 'x'",
        "delete from audit.log",
        "truncate audit.log",
        "delete from reporting.issued_report",
    ):
        with pytest.raises(psycopg2.Error, match="append-only"):
            site.store_sql(statement)


# --- a superuser at work -------------------------------------------------------------------------

ATTACKS = {
    "an entry is edited": (
        "update audit.log set entry = convert_to(replace(convert_from(entry, 'UTF8'), "
        "'day sealed', 'day sEaled'), 'UTF8') where seq = 7",
        "entry 7 was edited",
    ),
    "an entry is removed": ("delete from audit.log where seq = 50", "entry 50 is missing"),
    "the first entry is removed": ("delete from audit.log where seq = 1", "entry 1 is missing"),
    "two entries change places": (
        "update audit.log set seq = -seq where seq in (20, 21); "
        "update audit.log set seq = 41 + seq where seq < 0",
        "entry 20",
    ),
    "the tail is cut": (
        "delete from audit.log where seq > (select max(seq) - 2 from audit.log)",
        "its tail was cut",
    ),
    "everything is cut": ("delete from audit.log", "its tail was cut"),
    "a sealed day is edited": (
        "update reporting.sealed_day set body = convert_to(replace(convert_from(body, 'UTF8'), "
        "'regular session', 'regular sessioN'), 'UTF8') where day = '2025-10-02'",
        "sealed day 2025-10-02 r1: does not match its digest",
    ),
    "a sealed day is edited with its digest": (
        "update reporting.sealed_day set body = body || ' ', "
        "digest = encode(sha256(body || ' '), 'hex') where day = '2025-10-02'",
        "sealed day 2025-10-02 r1: does not match its digest",
    ),
    "a restated day is put back": (
        "delete from reporting.sealed_day where day = '2025-12-02' and revision = 2",
        "sealed day 2025-12-02 r2: is in the audit log and missing in the store",
    ),
    "an old revision disappears": (
        "delete from reporting.sealed_day where day = '2025-12-02' and revision = 1",
        "sealed day 2025-12-02 r1: is in the audit log and missing in the store",
    ),
    "a day is slipped in": (
        "insert into reporting.sealed_day select day, 9, repeat('0', 64), body, known_at, "
        "sealed_at, reason from reporting.sealed_day where day = '2025-10-02'",
        "sealed day 2025-10-02 r9: is not in the audit log",
    ),
    "a closing book is edited": (
        "update reporting.closing_book set body = body || ' '",
        "its closing book is missing or changed",
    ),
    "an issued report is edited": (
        "update reporting.issued_report set body = body || ' ' where kind = 'weekly'",
        "weekly/2025-W49/r1: in the store does not match the audit log",
    ),
    "the provenance of a report is edited": (
        "update reporting.issued_report set provenance = provenance || ' ' where kind = 'weekly'",
        "weekly/2025-W49/r1: in the store does not match the audit log",
    ),
    "an issued report is removed": (
        "delete from reporting.issued_report where kind = 'weekly'",
        "weekly/2025-W49/r1: is in the audit log and missing in the store",
    ),
}


def log_only(site: Site, tmp_path: Path) -> Site:
    """The same store with nothing but the witness outside: rendering is not at stake here."""
    folder = tmp_path / "witness"
    folder.mkdir()
    witness = (site.reports / "audit-witness.jsonl").read_bytes()
    (folder / "audit-witness.jsonl").write_bytes(witness)
    return Site(site.server, site.ledger, site.store_name, folder, site.var, site.given)


@pytest.mark.parametrize("attack", ATTACKS)
def test_verify_catches_a_superuser(site: Site, tmp_path: Path, attack: str) -> None:
    sql, expected = ATTACKS[attack]
    tamper(site, sql)
    found = [p for p in problems(log_only(site, tmp_path)) if "has no files" not in p]
    assert [p for p in found if expected in p], found


def rewritten(rows: list[tuple[int, bytes]]) -> str:
    """SQL that gives every entry the hashes of a chain computed anew: nothing inside is wrong."""
    previous, statements = bytes(32), []
    for seq, entry in rows:
        leaf = hashlib.sha256(b"\x00" + entry).digest()
        chain = hashlib.sha256(b"\x02" + previous + leaf).digest()
        statements.append(
            f"update audit.log set entry = '\\x{entry.hex()}', leaf_hash = '\\x{leaf.hex()}', "
            f"prev_hash = '\\x{previous.hex()}', chain_hash = '\\x{chain.hex()}' where seq = {seq}"
        )
        previous = chain
    return "; ".join(statements)


@pytest.mark.parametrize("outside", ["witness", "reports"])
@pytest.mark.slow
def test_a_chain_rewritten_as_a_whole_is_caught_from_outside(
    site: Site, tmp_path: Path, outside: str
) -> None:
    rows = [
        (seq, bytes(entry).replace(b"late ledger events", b"LATE ledger events"))
        for seq, entry in site.store_sql("select seq, entry from audit.log order by seq")
    ]
    tamper(site, rewritten(rows))
    if outside == "witness":
        found = problems(log_only(site, tmp_path))
    else:
        (site.reports / "audit-witness.jsonl").unlink()
        found = problems(site)
    assert any("differs from its checkpoint" in p for p in found), found


def test_a_rewritten_chain_without_any_checkpoint_can_not_be_seen(
    site: Site, tmp_path: Path
) -> None:
    """The limit, said out loud: what nobody kept outside the database proves nothing."""
    rows = [
        (seq, bytes(entry).replace(b"late ledger events", b"LATE ledger events"))
        for seq, entry in site.store_sql("select seq, entry from audit.log order by seq")
    ]
    tamper(site, rewritten(rows))
    quick = log_only(site, tmp_path)
    (quick.reports / "audit-witness.jsonl").unlink()
    assert not [p for p in problems(quick) if "has no files" not in p]


def test_a_witness_that_was_changed_is_a_finding_and_no_crash(site: Site) -> None:
    witness = site.reports / "audit-witness.jsonl"
    whole = witness.read_bytes()
    witness.write_bytes(whole[:-10] + b"\n")
    done = site.command("verify", "--json")
    assert done.returncode == 4
    last = len(whole.splitlines())
    assert f"audit-witness.jsonl, line {last} is no" in json.loads(done.stdout)["error"]


def test_a_book_that_was_changed_is_not_traded_upon(fresh: Site) -> None:
    pipeline.close(fresh.service(), FIRST, closing_time(FIRST))
    tamper(fresh, "update reporting.closing_book set body = replace(convert_from(body, 'UTF8'), "
           "'HEDGE-3', 'HEDGE-4')::bytea")  # fmt: skip
    day = date(2025, 9, 3)
    with pytest.raises(ValidationFailed, match="closing book of 2025-09-02"):
        pipeline.close(fresh.service(), day, closing_time(day))


# --- the log itself ------------------------------------------------------------------------------


def entries(site: Site) -> list[tuple[int, bytes]]:
    rows = site.store_sql("select seq, entry from audit.log order by seq")
    return [(seq, bytes(entry)) for seq, entry in rows]


def test_entries_are_canonical_whatever_stands_in_them(bare: Site) -> None:
    for words in STRANGE:
        with bare.store.writing() as writer:
            body = {"reason": words, words: [1, {"b": 2}]}
            writer.log(f"event {words}".replace("\x00", ""), body)
    found = entries(bare)
    assert [seq for seq, _ in found] == list(range(1, len(STRANGE) + 1))
    for (_, entry), words in zip(found, STRANGE, strict=True):
        read = json.loads(entry)
        assert rfc8785.dumps(read) == entry, words
        by = {"by": operating_user()}
        assert read["body"] == {"reason": words, words: [1, {"b": 2}], **by}
        assert read["actor"] == "reporting_app"
    assert problems(bare) == []


def test_a_broken_body_is_refused(bare: Site) -> None:
    for body in ("", "{", '{"a":1},"seq":99', "{} {}"):
        with pytest.raises(psycopg2.Error):
            bare.server.run(
                f"select * from audit.append('x', '{body}')", bare.store_name, "reporting_app"
            )
    assert entries(bare) == []


def test_concurrent_appends_leave_no_gap(bare: Site) -> None:
    def work(worker: int) -> None:
        store = bare.store
        for number in range(25):
            with store.writing() as writer:
                writer.log("tick", {"worker": worker, "number": number})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    found = entries(bare)
    assert [seq for seq, _ in found] == list(range(1, 101))
    bodies = [json.loads(entry)["body"] for _, entry in found]
    assert {(b["worker"], b["number"]) for b in bodies} == {
        (worker, number) for worker in range(4) for number in range(25)
    }
    assert problems(bare) == []


def test_a_rolled_back_transaction_leaves_no_gap(bare: Site) -> None:
    class Changed(Exception):
        pass

    store = bare.store
    for number in range(6):
        try:
            with store.writing() as writer:
                head = writer.log("tick", {"number": number})
                if number % 2:
                    raise Changed
        except Changed:
            continue
        assert head.size == number // 2 + 1
    assert [seq for seq, _ in entries(bare)] == [1, 2, 3]
    assert problems(bare) == []


def test_closing_the_same_day_at_once_seals_it_once(fresh: Site) -> None:
    gate = threading.Barrier(3)

    def work(_: int) -> str:
        service = fresh.service()
        gate.wait()
        try:
            return pipeline.close(service, FIRST, closing_time(FIRST))[0].outcome
        except SourceUnavailable as error:
            assert "sealed by another process" in str(error)
            return "again"

    with ThreadPoolExecutor(3) as pool:
        outcomes = sorted(pool.map(work, range(3)))
    assert outcomes.count("sealed") == 1
    assert set(outcomes) <= {"sealed", "unchanged", "again"}
    assert fresh.rows()["reporting.sealed_day"] == 1
    events = [json.loads(entry)["event"] for _, entry in entries(fresh)]
    assert events == ["configuration changed", "day sealed"]
    assert problems(fresh) == []


# --- the schema ----------------------------------------------------------------------------------

CATALOG = """
    select 'column', table_schema || '.' || table_name, column_name, data_type, is_nullable,
           coalesce(column_default, '')
    from information_schema.columns where table_schema in ('reporting', 'audit')
    union all select 'grant', table_schema || '.' || table_name, grantee, privilege_type, '', ''
    from information_schema.role_table_grants where table_schema in ('reporting', 'audit')
    union all select 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), '', ''
    from pg_trigger where not tgisinternal
    union all select 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid),
           coalesce(proacl::text, ''), proowner::regrole::text, ''
    from pg_proc p where pronamespace in ('reporting'::regnamespace, 'audit'::regnamespace)
    union all select 'constraint', conrelid::regclass::text, conname,
           pg_get_constraintdef(oid), '', ''
    from pg_constraint where connamespace in ('reporting'::regnamespace, 'audit'::regnamespace)
    order by 1, 2, 3, 4
"""


def test_migrating_again_changes_nothing_and_a_new_store_is_the_same(
    site: Site, server: Server, empty_store: str
) -> None:
    """The demo's store, migrated once more, against one that was made empty."""
    target = database(site.settings["store_admin_url"], "store")
    rows = site.rows()
    assert migrate(target) == newest_version()
    assert site.rows() == rows
    assert Store(target).check() == ""
    found = site.store_sql(CATALOG)
    assert len(found) > 40
    assert found == server.run(CATALOG, empty_store)


def test_a_sealed_day_survives_the_round_trip(site: Site) -> None:
    day = date(2025, 12, 5)
    row = site.store.day(day)
    assert row is not None
    assert canonical(sealed(site.store, day)) == row.body
    assert hashlib.sha256(row.body).hexdigest() == row.digest
    assert facts(site.store, day)["pnl"]["fills"] == 491
