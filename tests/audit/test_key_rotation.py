"""The checkpoint key is changed: who may sign which size, and how others can follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reporting import standalone
from reporting.errors import UsageError, ValidationFailed
from reporting.pipeline import auditing
from reporting.seal import (
    KEY_CHANGED,
    KeyChange,
    Keys,
    Note,
    Signer,
    changes_of,
    new_key,
    parse_note,
    signed_note,
)

from ..line.site import Site
from .test_audit_log import entries, problem, rewritten, tamper, write

ORIGIN = "reporting.example/audit"


def signer(name: str = ORIGIN) -> Signer:
    return Signer.load(name, new_key(), "here")


# --- keys, and who vouches for whom ---------------------------------------------------------------

A, B, C, EVIL = signer(), signer(), signer(), signer()
FIRST = KeyChange(A.verifier, B.verifier, 10).signed(A, B)
SECOND = KeyChange(B.verifier, C.verifier, 20).signed(B, C)
ALL = Keys((A.verifier, B.verifier, C.verifier), (10, 20))


def refused(known: str, changes: list[KeyChange]) -> None:
    """By the service and by the archive's own verifier."""
    with pytest.raises(ValidationFailed, match=r"changes? (of )?the checkpoints' key"):
        Keys.parse(known).followed(changes)
    with pytest.raises(standalone.Wrong, match=r"changes? (of )?the key"):
        alone(known, changes)


def alone(known: str, changes: list[KeyChange]) -> standalone.Keys:
    keys = standalone.Keys(known)
    keys.follow([standalone.Change({"seq": c.size + 1, "body": {"note": str(c)}}) for c in changes])
    return keys


def note(size: int, by: Signer) -> Note:
    return signed_note(ORIGIN, size, bytes(32), bytes(32), by)


@pytest.mark.parametrize("known", [A, B, C])
def test_from_any_key_the_changes_lead_to_all(known: Signer) -> None:
    assert Keys((known.verifier,)).followed([FIRST, SECOND]) == ALL
    followed = alone(str(known.verifier), [FIRST, SECOND])
    assert (list(map(str, followed.keys)), followed.until) == (
        [f"{ORIGIN}+{each.verifier.id.hex()}" for each in (A, B, C)], [10, 20],
    )  # fmt: skip
    assert Keys.parse(str(ALL)) == ALL


def test_each_key_may_sign_its_own_sizes_and_no_others() -> None:
    for size, by in ((0, A), (10, A), (11, B), (20, B), (21, C), (99, C)):
        for other in (A, B, C, EVIL):
            said = ALL.problem(note(size, other))
            assert (said == "") == (other is by), (size, said)
    assert "entries" not in ALL.problem(note(11, EVIL))
    assert f"a log of that size is {ORIGIN}+{B.verifier.id.hex()}'s" in ALL.problem(note(11, A))


@pytest.mark.parametrize(
    "changes",
    [
        [replace(FIRST, signatures=FIRST.signatures[1:])],  # by the new key alone
        [KeyChange(A.verifier, EVIL.verifier, 30).signed(A, EVIL), FIRST],  # not in order
        [FIRST, KeyChange(A.verifier, EVIL.verifier, 30).signed(A, EVIL)],  # by a stolen old key
        [replace(FIRST, size=9)],  # another size than was signed
        [KeyChange(A.verifier, EVIL.verifier, 10).signed(EVIL, EVIL)],
        [FIRST, KeyChange(B.verifier, A.verifier, 30).signed(B, A)],  # back to one that was retired
        [KeyChange(EVIL.verifier, C.verifier, 10).signed(EVIL, C)],
    ],
)
def test_a_change_that_no_known_key_says_is_refused(changes: list[KeyChange]) -> None:
    refused(str(A.verifier), changes)


def test_no_key_vouches_for_one_before_it_without_signing() -> None:
    refused(str(B.verifier), [KeyChange(EVIL.verifier, B.verifier, 10).signed(EVIL)])


def test_published_keys_need_no_old_signature_and_may_end_one_earlier() -> None:
    by_new = replace(FIRST, signatures=FIRST.signatures[1:])
    published = Keys((A.verifier, B.verifier), (8,))
    assert published.followed([by_new]) == published
    assert alone(str(published), [by_new]).until == [8]
    assert published.problem(note(9, A)) and not published.problem(note(9, B))
    refused(f"{A.verifier} 11\n{B.verifier}", [by_new])


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", f"{A.verifier}\n{B.verifier}", f"{A.verifier} 5",
     f"{A.verifier} 05\n{B.verifier}",
     f"{A.verifier} 5 6\n{B.verifier}", f"{A.verifier} 5\n{A.verifier}",
     f"{A.verifier} 9\n{B.verifier} 8\n{C.verifier}",
     f"{A.verifier} 9\n{signer('another.example/log').verifier}"],
    ids=range(10),  # the keys are new in each process
)  # fmt: skip
def test_what_is_no_list_of_keys_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"no public key|can't be read"):
        Keys.parse(text)


def test_a_change_is_no_checkpoint_and_a_checkpoint_no_change() -> None:
    with pytest.raises(ValidationFailed, match="is no checkpoint"):
        parse_note(str(FIRST))
    with pytest.raises(ValidationFailed, match="no change of a key"):
        KeyChange.parse(str(note(10, A)))
    assert KeyChange.parse(str(FIRST)) == FIRST
    whole = str(FIRST)
    for at in range(len(whole)):
        for other in (whole[:at] + whole[at + 1 :], whole[:at] + "7" + whole[at + 1 :]):
            try:
                changed = KeyChange.parse(other)
            except ValidationFailed:
                continue
            assert other == whole or not (
                changed.signed_by(A.verifier) and changed.signed_by(B.verifier)
            )


# --- a log whose key is changed -------------------------------------------------------------------


@pytest.fixture
def site(empty_store: str, make_site: Callable[..., Site], tmp_path: Path) -> Site:
    """A log of five entries that the old key signed."""
    for name in ("old", "new"):
        (tmp_path / f"{name}.pem").write_bytes(new_key())
    made = make_site(empty_store, empty_store, checkpoint_key_file=tmp_path / "old.pem")
    write(made, 5)
    auditing.checkpoint_now(made.service())
    return made


@pytest.fixture
def rotated(site: Site, tmp_path: Path) -> Site:
    """The same, handed over to the new key after six entries, and grown to nine."""
    write(site, 1)
    auditing.rotate(site.service(), tmp_path / "new.pem")
    made = replace(site, given={**site.given, "checkpoint_key_file": tmp_path / "new.pem"})
    write(made, 2)
    auditing.checkpoint_now(made.service())
    return made


def key_of(site: Site, name: str) -> Signer:
    path = Path(site.given["checkpoint_key_file"]).with_name(f"{name}.pem")
    return Signer.load(ORIGIN, path.read_bytes(), name)


def vkeys(site: Site) -> dict[str, str]:
    """What somebody may have: the first key, the newest one, all that are published."""
    old, new = (str(key_of(site, name).verifier) for name in ("old", "new"))
    return {"old": old, "new": new, "published": f"{old} 6\n{new}\n"}


def exported(site: Site, folder: Path) -> dict[str, bytes]:
    """The files of an archive's log."""
    auditing.export_log(site.service(), folder)
    return {f"log/{p.name}": p.read_bytes() for p in folder.iterdir()}


def judged(files: dict[str, bytes], vkey: str, witnesses: str = "") -> list[str]:
    """What the archive's own verifier finds wrong with a log."""
    archive = standalone.Archive(files, standalone.Keys(vkey), witnesses)
    try:
        archive.log()
    except standalone.Wrong as wrong:
        archive.say("log", str(wrong))
    return [problem for _, problem in archive.results if problem]


def test_whoever_knows_one_key_can_follow(rotated: Site, tmp_path: Path) -> None:
    service = rotated.service()
    entry = json.loads(entries(rotated)[6])
    assert entry["event"] == KEY_CHANGED
    (change,) = changes_of(service.store.key_changes())
    assert change.size == 6 and str(auditing.keys_of(service)) == vkeys(rotated)["published"]
    found = auditing.verify_log(service)
    assert (found.problem, found.notes, found.signed) == ("", 4, 4)
    files = exported(rotated, tmp_path / "export")
    assert files["log/key.vkey"].decode() == vkeys(rotated)["published"]
    notes = auditing.witness_of(service).read_text()
    for vkey in vkeys(rotated).values():
        assert problem(rotated, vkey=vkey) == ""
        assert auditing.verify_file(tmp_path / "export" / "log.jsonl", vkey=vkey).ok
        assert judged(files, vkey, notes) == []
    stranger = str(signer().verifier)
    assert "no key that is known says so" in problem(rotated, vkey=stranger)
    assert "no known key says so" in judged(files, stranger)[0]


def test_a_stolen_old_key_signs_nothing_newer_than_its_end(rotated: Site, tmp_path: Path) -> None:
    """Whoever has it and the database can make a note of the log as it is, and it is refused."""
    service = rotated.service()
    last = auditing.checkpoint(service)
    stolen = signed_note(ORIGIN, last.size, last.root, last.chain_hash, key_of(rotated, "old"))
    notes = tmp_path / "notes.jsonl"
    notes.write_text(json.dumps({"note": str(stolen), "signed": True}) + "\n")
    files = exported(rotated, tmp_path / "export")
    for name, vkey in vkeys(rotated).items():
        assert "a log of that size is" in problem(rotated, vkey=vkey, witnesses=[notes]), name
        assert any("not signed by" in p for p in judged(files, vkey, notes.read_text())), name
    auditing.witness_of(service).unlink()  # nor where no note of the new key is known
    auditing.witness_of(service).write_bytes(notes.read_bytes())
    assert "a log of that size is" in problem(rotated, vkey=vkeys(rotated)["old"])
    with pytest.raises(UsageError, match="checkpoints are signed by"):
        auditing.checkpoint(rotated.service())


def test_a_superuser_without_the_old_key_changes_no_key(site: Site, tmp_path: Path) -> None:
    """The change is in the log and signed by the new key alone."""
    with site.store.writing() as writer:
        change = KeyChange(key_of(site, "old").verifier, EVIL.verifier, writer.locked_size())
        writer.log(KEY_CHANGED, {"note": str(change.signed(EVIL))})
    assert "no key that is known says so" in problem(site)
    with pytest.raises(UsageError, match="REPORTING_CHECKPOINT_KEY_FILE is"):
        auditing.checkpoint_now(site.service())
    tamper(site, rewritten([*entries(site)[:5], b'{"event":"checkpoint key changed"}']))
    assert "entry 6 changes the checkpoints' key, and" in problem(site)


def test_no_process_goes_on_with_the_old_key(rotated: Site) -> None:
    late = rotated.service(checkpoint_key_file=key_path(rotated, "old"))
    with pytest.raises(UsageError, match=r"signed by .* set the key that signs now"):
        auditing.checkpoint_now(late)
    with pytest.raises(UsageError, match="signed by"):
        auditing.checkpoint_before(late)
    # One that read the witness file before the change sees it in the log itself.
    path = auditing.witness_of(late)
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")
    with pytest.raises(UsageError, match="signed by"):
        auditing.checkpoint_before(late)


def key_path(site: Site, name: str) -> Path:
    return Path(site.given["checkpoint_key_file"]).with_name(f"{name}.pem")


def test_settings_alone_change_no_key(site: Site) -> None:
    with pytest.raises(UsageError, match="reporting audit rotate"):
        auditing.checkpoint_now(site.service(checkpoint_key_file=key_path(site, "new")))
    with pytest.raises(UsageError, match="signs already"):
        auditing.rotate(site.service(), key_path(site, "old"))
    with pytest.raises(UsageError, match="--lost"):
        auditing.rotate(site.service(checkpoint_key_file=None), key_path(site, "new"))


def test_a_key_that_was_lost_is_followed_from_the_new_one_only(site: Site, tmp_path: Path) -> None:
    lost = site.service(checkpoint_key_file=tmp_path / "nowhere.pem")
    auditing.rotate(lost, key_path(site, "new"), lost=vkeys(site)["old"])
    made = replace(site, given={**site.given, "checkpoint_key_file": key_path(site, "new")})
    published = str(auditing.keys_of(made.service()))
    assert published == vkeys(made)["published"].replace(" 6", " 5")
    assert [problem(made, vkey=key) for key in ("", vkeys(made)["new"], published)] == [""] * 3
    assert "no key that is known says so" in problem(made, vkey=vkeys(made)["old"])


def test_growth_over_a_change_is_proved_with_the_notes_that_there_are(rotated: Site) -> None:
    service = rotated.service()
    proof = auditing.prove_growth(service, 5, 9)
    assert auditing.check_proof(proof, Keys.parse(vkeys(rotated)["published"]))
    with pytest.raises(UsageError, match="choose a size"):
        auditing.prove_growth(service, 4, 9)


def test_the_commands(site: Site, tmp_path: Path) -> None:
    key = tmp_path / "new.pem"
    done = site.command("audit", "rotate", str(key))
    assert done.returncode == 0, done.stderr
    assert done.stdout == vkeys(site)["published"].replace(" 6", " 5")
    assert "REPORTING_CHECKPOINT_KEY_FILE" in done.stderr
    (tmp_path / "published.vkey").write_text(done.stdout)
    done = site.command("audit", "keys", "--json", checkpoint_key_file=key)
    assert json.loads(done.stdout)["keys"] == (tmp_path / "published.vkey").read_text().splitlines()
    words = ("audit", "verify", "--vkey", str(tmp_path / "published.vkey"))
    done = site.command(*words, checkpoint_key_file=key)
    assert done.returncode == 0 and "before it" in done.stdout, done.stdout + done.stderr
    assert site.command("audit", "keys").stdout == (tmp_path / "published.vkey").read_text()
