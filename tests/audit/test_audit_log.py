"""The audit log in a real database: roles, writers at once, checkpoints, and what a superuser does.

Expected hashes are computed here from the definition, never by the code under test.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from reporting import pipeline
from reporting.errors import SourceUnavailable, UsageError, ValidationFailed
from reporting.pipeline import auditing
from reporting.seal import Claim, Signer, Verifier, new_key, parse_note
from reporting.settings import load, operating_user

from ..line.site import ROOT, Site


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def mth(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b"")
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha(b"\1" + mth(leaves[:k]) + mth(leaves[k:]))


@pytest.fixture
def site(empty_store: str, make_site: Callable[..., Site], tmp_path: Path) -> Site:
    """An empty store with a key for checkpoints; its ledger is none."""
    key = tmp_path / "key.pem"
    key.write_bytes(new_key())
    return make_site(empty_store, empty_store, checkpoint_key_file=key)


def write(site: Site, count: int, words: str = "tick") -> None:
    store = site.store
    for number in range(count):
        with store.writing() as writer:
            writer.log(words, {"number": number})


def entries(site: Site) -> list[bytes]:
    return [bytes(e) for (e,) in site.store_sql("select entry from audit.log order by seq")]


def tamper(site: Site, sql: str) -> None:
    """As a superuser who switches the triggers off first."""
    site.store_sql(f"set session_replication_role = replica; {sql}")


def problem(site: Site, **given: Any) -> str:
    return auditing.verify_log(site.service(), **given).problem


def rewritten(rows: list[bytes]) -> str:
    """SQL that replaces the log by one with these entries, every hash computed anew."""
    previous, statements = bytes(32), ["delete from audit.log"]
    for seq, entry in enumerate(rows, 1):
        leaf = sha(b"\0" + entry)
        chain = sha(b"\2" + previous + leaf)
        statements.append(
            f"insert into audit.log values ({seq}, '\\x{entry.hex()}', '\\x{previous.hex()}', "
            f"'\\x{leaf.hex()}', '\\x{chain.hex()}')"
        )
        previous = chain
    return "; ".join(statements)


# --- what is in the log ---------------------------------------------------------------------------


def test_who_ran_it_stands_beside_the_role(site: Site) -> None:
    write(site, 1)
    found = json.loads(entries(site)[0])
    assert found["actor"] == "reporting_app"
    assert found["body"] == {"by": operating_user(), "number": 0}


def test_the_checkpoint_is_of_the_tree_and_the_chain(site: Site) -> None:
    for count in (0, 1, 4, 6):
        write(site, count)
        note = auditing.checkpoint_now(site.service())
        leaves = [sha(b"\0" + e) for e in entries(site)]
        chain = bytes(32)
        for leaf in leaves:
            chain = sha(b"\2" + chain + leaf)
        assert (note.size, note.root, note.chain_hash) == (len(leaves), mth(leaves), chain)
        assert note.signed
    found = auditing.verify_log(site.service())
    assert (found.problem, found.report.size, found.notes, found.signed) == ("", 11, 4, 4)
    assert found.report.root == mth(leaves).hex()


def test_a_change_of_policy_or_settings_is_logged_once(site: Site, tmp_path: Path) -> None:
    for _ in range(2):
        auditing.note_configuration(site.service())
    changed = {"issuer": "Somebody else", "prometheus_url": "https://me:hunter2@prom.example/x"}
    auditing.note_configuration(site.service(**changed))
    policy = tmp_path / "policy.toml"
    policy.write_text((ROOT / "config" / "policy.toml").read_text() + "\n# a word\n")
    auditing.note_configuration(site.service(**changed, policy_file=policy))
    found = [json.loads(e) for e in entries(site)]
    assert [f["event"] for f in found] == ["configuration changed"] * 3
    first, second, third = (f["body"] for f in found)
    assert first["before"] == {"policy": "", "settings": ""}
    assert second["before"] == {k: first[k] for k in ("policy", "settings")}
    assert second["changed"] == ["issuer", "prometheus_url"]
    assert second["set"]["prometheus_url"] == "https://prom.example/x"
    assert second["policy"] == first["policy"]
    assert third["policy"] != second["policy"]
    assert third["changed"] == ["policy_file"]
    assert not any(b"hunter2" in e for e in entries(site))


def test_no_secret_is_among_the_public_settings() -> None:
    given = {
        name: f"postgresql://me:hunter2@db.example:5432/{name}"
        for name in ("ledger_url", "store_url", "store_admin_url")
    }
    public = load(**given, alertmanager_url="https://a:hunter2@x.example?token=hunter2").public()
    assert "hunter2" not in json.dumps(public)
    assert public["ledger_url"] == "postgresql://db.example:5432/ledger_url"


# --- roles ----------------------------------------------------------------------------------------

WRITES = [
    "insert into audit.log select seq + 100, entry, prev_hash, leaf_hash, chain_hash "
    "from audit.log",
    "update audit.log set seq = seq",
    "delete from audit.log",
    "truncate audit.log",
    "alter table audit.log disable trigger all",
    "drop table audit.log",
    "set role reporting_owner",
    "set session_replication_role = replica",
    "create or replace function audit.append(event text, body text) returns table (seq bigint, "
    "chain_hash bytea) language sql as $$ select 1::bigint, ''::bytea $$",
    "alter table audit.log owner to reporting_app",
    "create table audit.mine (x int)",
]  # fmt: skip


@pytest.mark.parametrize("sql", WRITES)
@pytest.mark.parametrize("role", ["reporting_app", "reporting_auditor"])
def test_no_role_of_ours_changes_the_log(site: Site, role: str, sql: str) -> None:
    write(site, 2)
    before = entries(site)
    with pytest.raises(psycopg2.Error):
        site.store_sql(sql, role)
    assert entries(site) == before


def test_the_auditor_reads_the_log_and_what_was_issued_and_nothing_else(site: Site) -> None:
    write(site, 2)
    readable, appended = [], True
    for (table,) in site.store_sql(
        "select table_schema || '.' || table_name from information_schema.tables "
        "where table_schema in ('reporting', 'audit')"
    ):
        try:
            site.store_sql(f"select * from {table}", "reporting_auditor")
            readable.append(table)
        except psycopg2.Error as error:
            assert "permission denied" in str(error)
    kept = ("hold_in_force", "legal_hold", "purged", "retention_minimum", "sign_off")
    issued = ("issued_report", "schema_version")
    assert set(readable) == {"audit.log", *(f"reporting.{name}" for name in (*issued, *kept))}
    try:
        site.store_sql("select * from audit.append('x', '{}')", "reporting_auditor")
    except psycopg2.Error:
        appended = False
    assert not appended
    url = site.server.database(site.store_name, "reporting_auditor")
    auditing.checkpoint_now(site.service())
    found = auditing.verify_log(site.service(store_url=url))
    assert (found.ok, found.report.size, found.signed) == (True, 2, 1)


def test_a_verification_is_logged_where_the_role_may_write(site: Site) -> None:
    write(site, 2)
    auditing.checkpoint_now(site.service())
    url = site.server.database(site.store_name, "reporting_auditor")
    for given, problems in ((url, []), (None, []), (None, ["the tail was cut"])):
        service = site.service(**({"store_url": given} if given else {}))
        auditing.verified(service, "audit log", 2, problems)
    body = {"by": operating_user(), "of": "audit log", "checked": 2, "failed": 0}
    assert [json.loads(e)["body"] for e in entries(site)[2:]] == [
        body, {**body, "failed": 1, "problem": "the tail was cut"},
    ]  # fmt: skip
    tamper(site, "update audit.log set entry = entry || ' ' where seq = 1")
    assert site.command("verify").returncode == site.command("audit", "verify").returncode == 4
    everything, log = (json.loads(e)["body"] for e in entries(site)[4:])
    assert (everything["of"], everything["failed"]) == ("everything", 1)
    assert (log["of"], log["problem"]) == ("audit log", "entry 1 was edited")


def test_the_owner_can_not_log_in_and_no_role_is_more_than_it_should_be(site: Site) -> None:
    with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
        site.store_sql("select 1", "reporting_owner")
    roles = site.store_sql(
        "select rolname, rolcanlogin, rolsuper or rolcreaterole or rolcreatedb or rolbypassrls "
        "or rolreplication from pg_roles where rolname like 'reporting%' order by 1"
    )
    logins = {"app": True, "auditor": True, "dashboard": True, "owner": False, "purger": True}
    assert roles == [(f"reporting_{name}", login, False) for name, login in logins.items()]
    member = site.store_sql(
        "select roleid::regrole::text, member::regrole::text from pg_auth_members "
        "where roleid::regrole::text like 'reporting%' or member::regrole::text like 'reporting%'"
    )
    assert member == []


@pytest.mark.parametrize("sql", WRITES[1:4])
def test_triggers_stop_even_the_superuser(site: Site, sql: str) -> None:
    write(site, 2)
    with pytest.raises(psycopg2.Error, match="append-only"):
        site.store_sql(sql)


# --- several writers ------------------------------------------------------------------------------

WRITER = """
import sys
from reporting.postgres import database
from reporting.store import Store
store = Store(database(sys.argv[1], "store"), "worker " + sys.argv[2])
for number in range(25):
    try:
        with store.writing() as writer:
            writer.log("tick", {"number": number})
            if number % 5 == 4:
                raise KeyError  # rolled back: no gap may stay
    except KeyError:
        pass
"""


def test_four_processes_leave_one_chain_without_a_gap(site: Site) -> None:
    url = site.server.database(site.store_name, "reporting_app")
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, str(n)], env=site.environment())
        for n in range(4)
    ]
    assert [p.wait(timeout=120) for p in running] == [0] * 4
    found = [json.loads(e) for e in entries(site)]
    assert [f["seq"] for f in found] == list(range(1, 81))
    said = {(f["body"]["by"], f["body"]["number"]) for f in found}
    assert said == {(f"worker {n}", i) for n in range(4) for i in range(25) if i % 5 != 4}
    assert problem(site) == ""


def test_checkpoints_of_several_processes_do_not_mix(site: Site) -> None:
    words = ("audit", "checkpoint", "--json")
    write(site, 3)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "reporting", *words],
            env=site.environment(),
            stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    told = [json.loads(p.communicate(timeout=120)[0])["note"] for p in running]
    lines = auditing.witness_of(site.service()).read_text().splitlines()
    assert sorted(json.loads(line)["note"] for line in lines) == sorted(told)
    assert len(lines) == 3


# --- a superuser at work: the table of docs/audit.md ----------------------------------------------


def edit(rows: list[bytes]) -> str:
    return (
        "update audit.log set entry = convert_to(replace(convert_from(entry, 'UTF8'), 'tick', "
        "'tock'), 'UTF8') where seq = 5"
    )


def rewrite(rows: list[bytes]) -> str:
    return rewritten([*rows[:4], rows[4].replace(b"tick", b"tock"), *rows[5:]])


def cut(rows: list[bytes]) -> str:
    return "delete from audit.log where seq > 8"


def regrown(rows: list[bytes]) -> str:
    """The tail is cut and others grow in its place, so that the size is the same."""
    return rewritten([*rows[:8], *(e.replace(b"tick", b"tock") for e in rows[8:])])


CAUGHT = {  # attack: (by the chain alone, with an outside checkpoint)
    "edit a row": (edit, "entry 5 was edited", "entry 5 was edited"),
    "rewrite the whole chain": (rewrite, "", "differs from its checkpoint"),
    "cut the tail": (cut, "", "its tail was cut"),
    "another tail in its place": (regrown, "", "differs from its checkpoint"),
}


@pytest.mark.parametrize("outside", [False, True], ids=["chain alone", "with a checkpoint"])
@pytest.mark.parametrize("attack", CAUGHT)
def test_a_superusers_attack_ends_as_the_table_says(site: Site, attack: str, outside: bool) -> None:
    sql, alone, compared = CAUGHT[attack]
    write(site, 12)
    auditing.checkpoint_now(site.service())
    tamper(site, sql(entries(site)))
    if not outside:
        auditing.witness_of(site.service()).unlink()
    found = problem(site)
    expected = compared if outside else alone
    assert expected in found if expected else found == ""
    if outside and attack != "edit a row":  # and no checkpoint of the false history is made
        with pytest.raises(ValidationFailed, match="does not contain the last checkpoint"):
            auditing.checkpoint_now(site.service())


def test_a_fork_is_caught_once_both_notes_are_compared(
    site: Site, make_site: Callable[..., Site], tmp_path: Path
) -> None:
    """Two readers are shown two histories; each is whole, each has a note signed by the log."""
    write(site, 6)
    other = replace(site, reports=tmp_path / "other")
    honest = entries(site)
    first = auditing.checkpoint_now(site.service())
    tamper(site, rewrite(honest))
    second = auditing.checkpoint_now(other.service())
    assert first.size == second.size and first.root != second.root
    assert problem(other) == ""  # missed: this reader has seen one history only
    tamper(site, rewritten(honest))
    assert problem(site) == ""
    notes = auditing.witness_of(other.service())
    assert "two histories of 6 entries were shown" in problem(site, witnesses=[notes])
    # Notes of different sizes: the log can't contain both.
    tamper(site, rewrite(honest))
    write(other, 2)
    auditing.checkpoint_now(other.service())
    last = tmp_path / "last.jsonl"
    last.write_text(notes.read_text().splitlines()[-1] + "\n")
    tamper(site, rewritten(honest + entries(site)[6:]))
    assert "differs from its checkpoint" in problem(site, witnesses=[last])


def test_a_lie_at_entry_or_before_the_first_checkpoint_is_missed(site: Site) -> None:
    """The limit, said out loud."""
    write(site, 6, "a lie")
    tamper(site, rewrite([e.replace(b"a lie", b"tick") for e in entries(site)]))
    auditing.checkpoint_now(site.service())
    assert problem(site) == ""


EDITS = {
    "leaf_hash": ("update audit.log set leaf_hash = sha256('x') where seq = 5",
                  "entry 5 was edited"),
    "prev_hash": ("update audit.log set prev_hash = sha256('x') where seq = 5",
                  "entry 5 does not follow entry 4"),
    "chain_hash": ("update audit.log set chain_hash = sha256('x') where seq = 5",
                   "the chain hash of entry 5 is wrong"),
    "a hash of another length": ("update audit.log set leaf_hash = '\\x00' where seq = 5",
                                 "entry 5 was edited"),
    "bytes moved from one hash to the next": (
        "update audit.log set leaf_hash = substr(leaf_hash, 1, 31), "
        "chain_hash = substr(leaf_hash, 32) || chain_hash where seq = 5", "entry 5 was edited"),
    "an entry with a newline": ("update audit.log set entry = entry || '\\x0a' where seq = 5",
                                "entry 5 was edited"),
    "an entry in two": ("update audit.log set entry = 'a\nb' where seq = 5", "entry 5 was edited"),
    "the last entry gone": ("delete from audit.log where seq = 12", "its tail was cut"),
    "one in the middle gone": ("delete from audit.log where seq = 7", "entry 7 is missing"),
    "the first gone": ("delete from audit.log where seq = 1", "entry 1 is missing"),
    "a number changed": ("update audit.log set seq = 99 where seq = 12", "entry 12 is missing"),
    "one before the first": (
        "insert into audit.log select 0, entry, prev_hash, leaf_hash, chain_hash from audit.log "
        "where seq = 1", "has an entry 0"),
    "a number twice": (
        "alter table audit.log drop constraint log_pkey; "
        "update audit.log set seq = 6 where seq = 7",
        "entry 7 is missing"),
    "everything": ("delete from audit.log", "its tail was cut"),
}  # fmt: skip


@pytest.mark.parametrize("attack", EDITS)
def test_every_edit_is_named(site: Site, attack: str) -> None:
    sql, expected = EDITS[attack]
    write(site, 12)
    auditing.checkpoint_now(site.service())
    tamper(site, sql)
    assert expected in problem(site)


# --- the witness file -----------------------------------------------------------------------------


def test_the_witness_may_lie_elsewhere(site: Site, tmp_path: Path) -> None:
    elsewhere = tmp_path / "mount" / "deep" / "notes.jsonl"
    service = site.service(witness_file=elsewhere)
    write(site, 3)
    auditing.checkpoint_now(service)
    assert not (site.reports / auditing.WITNESS).exists()
    tamper(site, "delete from audit.log where seq = 3")
    assert "its tail was cut" in auditing.verify_log(service).problem
    assert problem(site) == ""  # the default place has nothing
    assert "its tail was cut" in problem(site, witnesses=[elsewhere])


def test_a_half_written_record_is_taken_back(site: Site) -> None:
    path = auditing.witness_of(site.service())
    write(site, 3)
    auditing.checkpoint_now(site.service())
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])  # the machine stopped here
    assert problem(site) == ""
    write(site, 1)
    auditing.checkpoint_now(site.service())
    assert path.read_bytes().startswith(whole + b'{"note":')
    assert len(path.read_bytes().splitlines()) == 2
    assert auditing.verify_log(site.service()).notes == 2


def test_a_full_disk_leaves_the_witness_as_it_was(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = auditing.witness_of(site.service())
    write(site, 3)
    auditing.checkpoint_now(site.service())
    whole, real = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda file, body: real(file, body[:20]))
    with pytest.raises(SourceUnavailable, match="can't be written"):
        auditing.checkpoint_now(site.service())
    assert path.read_bytes() == whole


def test_a_witness_that_can_not_be_written_is_said(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceUnavailable, match="reporting audit checkpoint"):
        auditing.checkpoint_now(site.service(witness_file=tmp_path / "file" / "notes.jsonl"))


def test_checkpoints_from_before_there_were_notes_still_count(site: Site) -> None:
    write(site, 5)
    chain = site.store_sql("select chain_hash from audit.log where seq = 4")[0][0]
    path = auditing.witness_of(site.service())
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"size": 4, "chain_hash": bytes(chain).hex()}) + "\n")
    found = auditing.verify_log(site.service())
    assert (found.ok, found.report.claims, found.notes) == (True, 1, 0)
    tamper(site, rewrite([e.replace(b"tick", b"tock") for e in entries(site)]))
    assert "the chain up to entry 4 differs" in problem(site)


def test_from_the_first_signed_note_on_every_note_is_signed(site: Site, tmp_path: Path) -> None:
    unsigned = site.service(checkpoint_key_file=None)
    write(site, 2)
    assert not auditing.checkpoint_now(unsigned).signed
    signed = auditing.checkpoint_now(site.service())
    found = auditing.verify_log(site.service())
    assert (found.ok, found.notes, found.signed) == (True, 2, 1)
    key = str(auditing.signer_of(site.service()).verifier)  # type: ignore[union-attr]
    assert auditing.verify_log(unsigned, vkey=key).ok
    assert auditing.verify_log(unsigned).keys is None
    assert not auditing.checkpoint_now(unsigned).signed  # somebody goes on without the key
    assert "is not signed by" in problem(site)
    stranger = Signer.load(signed.origin, new_key(), "x").verifier
    assert "no checkpoint is signed by" in problem(site, vkey=str(stranger))


def test_a_forged_signature_is_found(site: Site) -> None:
    write(site, 2)
    note = auditing.checkpoint_now(site.service())
    path = auditing.witness_of(site.service())
    name, raw = note.signatures[0]
    forged = replace(note, signatures=((name, raw[:4] + bytes(64)),))
    path.write_text(json.dumps({"note": str(forged), "signed": True}) + "\n")
    assert f"the signature of {name} is wrong" in problem(site)


def test_a_key_that_can_not_be_read_is_an_error_and_never_unsigned(
    site: Site, tmp_path: Path
) -> None:
    write(site, 1)
    for key in (tmp_path / "nowhere.pem", tmp_path):
        with pytest.raises(UsageError, match="can't be read"):
            auditing.checkpoint_now(site.service(checkpoint_key_file=key))
    assert not auditing.witness_of(site.service()).exists() or not (
        auditing.witness_of(site.service()).read_bytes()
    )


# --- the commands ---------------------------------------------------------------------------------


def run(site: Site, *words: str, code: int = 0, **changed: Any) -> Any:
    done = site.command("audit", *words, "--json", **changed)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_an_auditor_checks_an_export_with_no_database(site: Site, tmp_path: Path) -> None:
    write(site, 9)
    folder = tmp_path / "export"
    made = run(site, "export", str(folder))
    assert (made["size"], made["signed"]) == (9, True)
    lines = (folder / "log.jsonl").read_bytes().split(b"\n")
    assert lines[:-1] == entries(site)[:9] and lines[-1] == b""
    assert json.loads(entries(site)[9])["event"] == "audit log exported"
    nothing = dict.fromkeys(site.settings)
    words = ("verify", "--file", str(folder / "log.jsonl"))
    found = run(site, *words, **nothing)
    assert (found["ok"], found["size"], found["signed"]) == (True, 9, 1)
    assert found["root"] == mth([sha(b"\0" + e) for e in lines[:-1]]).hex()
    whole = (folder / "log.jsonl").read_bytes()
    for other in (whole.replace(b"tick", b"tock", 1), whole.rsplit(b"\n", 2)[0] + b"\n",
                  whole + b"{}\n", whole[:-1] + b"\n\n", b""):  # fmt: skip
        (folder / "log.jsonl").write_bytes(other)
        assert not run(site, *words, code=4, **nothing)["ok"]
    assert "exists" in run(site, "export", str(folder), code=2)["error"]


@pytest.mark.slow
def test_a_proof_is_checked_with_the_file_and_the_key_alone(site: Site, tmp_path: Path) -> None:
    write(site, 9)
    file = tmp_path / "proof.json"
    run(site, "prove", "7", "-o", str(file))
    key = run(site, "checkpoint")["vkey"]
    nothing = dict.fromkeys(site.settings)
    found = run(site, "prove", "--check", str(file), "--vkey", key, **nothing)
    assert found["proves"].startswith("entry 7 is in the log of 9 entries, signed by ")
    assert "was not checked" in run(site, "prove", "--check", str(file), **nothing)["proves"]
    proof = json.loads(file.read_bytes())
    assert proof["entry"].encode() == entries(site)[6]
    changed = [
        proof | {"seq": 6},
        proof | {"entry": proof["entry"].replace("tick", "tock")},
        proof | {"path": proof["path"][:-1]},
        proof | {"path": ["00" * 32, *proof["path"][1:]]},
        proof | {"checkpoint": proof["checkpoint"].replace("\n9\n", "\n8\n")},
        proof | {"checkpoint": proof["checkpoint"].split("\n\n")[0] + "\n\n"},
        {"schema_id": "?"}, [], {},
    ]  # fmt: skip
    for other in changed:
        file.write_text(json.dumps(other))
        run(site, "prove", "--check", str(file), "--vkey", key, code=4, **nothing)
    stranger = str(Signer.load("reporting.example/audit", new_key(), "x").verifier)
    file.write_text(json.dumps(proof))
    run(site, "prove", "--check", str(file), "--vkey", stranger, code=4, **nothing)


@pytest.mark.slow
def test_growth_is_proved(site: Site, tmp_path: Path) -> None:
    write(site, 9)
    file = tmp_path / "grown.json"
    run(site, "prove", "--consistency", "3", "9", "-o", str(file))
    key = run(site, "checkpoint")["vkey"]
    found = run(site, "prove", "--check", str(file), "--vkey", key)
    assert found["proves"].startswith("the log of 9 entries begins with that of 3, signed by ")
    leaves = [sha(b"\0" + e) for e in entries(site)]
    proof = json.loads(file.read_bytes())
    assert parse_note(proof["old_checkpoint"]).root == mth(leaves[:3])
    for old, new in (("0", "9"), ("9", "3"), ("3", "99")):
        run(site, "prove", "--consistency", old, new, code=2)
    proof["old_checkpoint"] = proof["checkpoint"]
    file.write_text(json.dumps(proof))
    run(site, "prove", "--check", str(file), code=4)


def test_a_proof_of_an_edited_entry_is_refused(site: Site) -> None:
    write(site, 9)
    auditing.checkpoint_now(site.service())
    tamper(site, edit([]))
    done = run(site, "prove", "5", code=4)
    assert "does not lead to the checkpoint's root" in done["error"]


@pytest.mark.slow
def test_verify_says_what_it_compared_and_fails_with_4(site: Site) -> None:
    write(site, 9)
    found = run(site, "verify")
    assert (found["ok"], found["size"], found["checkpoints"]) == (True, 9, 0)
    made = run(site, "checkpoint")
    found = run(site, "verify")
    assert (found["root"], found["chain_hash"]) == (made["root"], made["chain_hash"])
    assert (found["checkpoints"], found["signed"], found["vkey"]) == (1, 1, made["vkey"])
    words = site.command("audit", "verify").stdout
    assert "9 entries" in words and "1 checkpoints signed by" in words
    words = site.command("audit", "verify", checkpoint_key_file=None).stdout
    assert "UNVERIFIED" in words
    tamper(site, "delete from audit.log where seq = 9")
    assert "tail was cut" in run(site, "verify", code=4)["problem"]
    assert "tail was cut" in site.command("audit", "verify").stdout


def test_checkpoint_prints_the_note_and_says_unsigned(site: Site) -> None:
    write(site, 2)
    done = site.command("audit", "checkpoint", "--dry-run")
    assert parse_note(done.stdout).size == 2
    assert not auditing.witness_of(site.service()).exists()
    assert "vkey reporting.example/audit+" in done.stderr
    done = site.command("audit", "checkpoint", checkpoint_key_file=None)
    assert "UNSIGNED" in done.stderr
    assert not parse_note(done.stdout).signed


def test_a_key_is_made_once_and_for_its_owner_only(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "new.pem"
    made = run(site, "keygen", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    note = auditing.checkpoint(site.service(checkpoint_key_file=file))
    assert note.problem(Verifier.parse(made["vkey"])) == ""
    before = file.read_bytes()
    assert "never replaced" in run(site, "keygen", str(file), code=2)["error"]
    assert file.read_bytes() == before


@pytest.mark.parametrize("words", [[], ["3", "--report", "x"], ["--report", "daily/x/r1"], ["99"]])
def test_prove_says_what_it_needs(site: Site, words: list[str]) -> None:
    write(site, 3)
    run(site, "prove", *words, code=2)


# --- in several processes -------------------------------------------------------------------------


def test_the_walk_in_several_processes_is_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(site, 40)
    service = site.service()
    auditing.checkpoint_now(service)
    auditing.export_log(service, tmp_path / "export")
    serial = auditing.verify_log(service)
    monkeypatch.setattr(auditing, "PARALLEL", 1)
    monkeypatch.setattr(auditing, "TASK", 8)
    monkeypatch.setattr("reporting.store.PART", 8)
    monkeypatch.setattr(auditing, "PART", 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    steps: list[tuple[int, int]] = []
    assert auditing.verify_log(service, steps=lambda *at: steps.append(at)) == serial
    assert serial.ok
    assert steps == [(n, 41) for n in (8, 16, 24, 32, 40, 41)]
    assert auditing.verify_file(tmp_path / "export" / "log.jsonl").ok
    tamper(site, "update audit.log set entry = entry || 'x' where seq = 30")
    assert "entry 30 was edited" in problem(site)


def test_every_checkpoint_inside_a_part_is_compared(site: Site) -> None:
    write(site, 21)
    leaves = [sha(b"\0" + e) for e in entries(site)]
    walk_claims = [Claim(n, b"", mth(leaves[:n])) for n in range(1, 22)]
    from reporting.seal import Walk  # noqa: PLC0415

    def walked(claims: list[Claim]) -> str:
        walk = Walk(claims)
        for part in site.store.log_parts(1, 21, walk.wanted):
            walk.add(part)
        return walk.end().problem

    assert walked(walk_claims) == ""
    for n in range(1, 22):
        wrong = [*walk_claims[: n - 1], Claim(n, b"", sha(b"?"), "a note"), *walk_claims[n:]]
        assert walked(wrong) == f"the tree up to entry {n} differs from its checkpoint in a note"


def test_the_full_verification_knows_the_log(site: Site) -> None:
    write(site, 3)
    auditing.checkpoint_now(site.service())
    assert [v.what for v in pipeline.verify(site.service()) if not v.ok] == []
    tamper(site, "delete from audit.log where seq = 3")
    assert [v.problem for v in pipeline.verify(site.service()) if not v.ok] != []
