"""Checkpoints that read only what is new: what they may rest on, and what they still refuse."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reporting.errors import ValidationFailed
from reporting.pipeline import Rounds, auditing, catch_up_witness
from reporting.seal import Claim, Tree, Walk, chain, new_key, part_of
from reporting.store import Store

from ..line.site import Site
from .test_audit_log import edit, entries, mth, problem, regrown, rewritten, sha, tamper, write


@pytest.fixture
def site(empty_store: str, make_site: Callable[..., Site], tmp_path: Path) -> Site:
    """An empty store with a key for checkpoints; its ledger is none."""
    key = tmp_path / "key.pem"
    key.write_bytes(new_key())
    return make_site(empty_store, empty_store, checkpoint_key_file=key)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The ranges of the log that are read from now on."""
    ranges: list[tuple[int, int]] = []
    real = Store.log_parts

    def noted(self: Store, first: int, last: int, wanted: object = ()) -> object:
        if first <= last:
            ranges.append((first, last))
        return real(self, first, last, wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "log_parts", noted)
    return ranges


def kept(site: Site) -> Path:
    return auditing._beside(auditing.witness_of(site.service()))


def leaves(site: Site) -> list[bytes]:
    return [sha(b"\0" + e) for e in entries(site)]


# --- a tree goes on from any size -----------------------------------------------------------------


def test_a_walk_from_any_size_to_any_other_is_that_of_all_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parts of eight, begun in the middle of one as well as at its edge."""
    monkeypatch.setattr(chain, "PART", 8)
    lines = [json.dumps({"seq": n}).encode() for n in range(1, 31)]
    hashed = [hashlib.sha256(b"\0" + line).digest() for line in lines]
    trees = [Tree()]
    for start in range(31):
        for claimed in range(start, 31):
            walk = Walk([Claim(claimed, b"", mth(hashed[:claimed]))], trees[start])
            first = start + 1
            while first <= 30:
                last = min(first - 1 - (first - 1) % 8 + 8, 30)
                walk.add(part_of(first, lines[first - 1 : last], walk.wanted))
                first = last + 1
            assert (walk.end().problem, walk.tree.root) == ("", mth(hashed))
        one = Walk((), trees[start])
        if start < 30:
            one.add(part_of(start + 1, lines[start : start + 1], ()))
        trees.append(one.tree)
        assert Tree.parse(bytes(trees[start])) == trees[start]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"chain_hash":"","peaks":[],"size":0}', b'{"size":1}',
     bytes(Tree()).replace(b"0}", b"1}"), bytes(Tree()) + b"\n"],
)  # fmt: skip
def test_what_is_no_tree_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="no tree"):
        Tree.parse(body)


def test_a_part_has_to_follow_the_one_before(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part's chain is whole by itself; the second begins with a hash of nothing."""
    monkeypatch.setattr(chain, "PART", 8)
    monkeypatch.setattr("reporting.store.PART", 8)
    write(site, 20)
    assert problem(site) == ""
    previous, statements = sha(b"x"), []
    for seq, leaf in enumerate(leaves(site)[8:], 9):
        link = sha(b"\2" + previous + leaf)
        statements.append(
            f"update audit.log set prev_hash = '\\x{previous.hex()}', "
            f"chain_hash = '\\x{link.hex()}' where seq = {seq}"
        )
        previous = link
    tamper(site, "; ".join(statements))
    assert problem(site) == "entry 9 does not follow entry 8"


# --- what is read ---------------------------------------------------------------------------------


def test_only_what_is_new_is_read(site: Site, read: list[tuple[int, int]]) -> None:
    for count in (12, 5, 0, 3):
        write(site, count)
        before = len(read)
        note = auditing.checkpoint_now(site.service())
        assert note.root == mth(leaves(site)) and note.size == len(leaves(site))
        size = note.size - count
        assert read[before:] == ([(size + 1, note.size)] if count else [])
    assert auditing.checkpoint(site.service()) == note
    assert problem(site) == ""


def test_what_was_kept_is_believed_only_if_the_witness_says_so(
    site: Site, read: list[tuple[int, int]]
) -> None:
    service = site.service()
    write(site, 3)
    auditing.checkpoint_now(service)
    old = kept(site).read_bytes()
    write(site, 4)
    auditing.checkpoint_now(service)
    right = kept(site).read_bytes()
    told = json.loads(right)
    forged = [bytes(Tree()), b"", b"{", json.dumps({**told, "size": 6}).encode()]
    for n, each in enumerate([told["chain_hash"], *told["peaks"]]):
        forged.append(right.replace(each.encode(), sha(b"%d" % n).hex().encode()))
    for body in forged:
        kept(site).write_bytes(body)
        read.clear()
        note = auditing.checkpoint_now(service)
        assert note.root == mth(leaves(site)), body
        assert (1, 7) in read and kept(site).read_bytes() == right
    kept(site).write_bytes(old)  # of an earlier checkpoint: what came since leads to the last one
    read.clear()
    assert auditing.checkpoint_now(service).root == note.root
    assert read == [(4, 7)] and kept(site).read_bytes() == right
    witness = auditing.witness_of(service)  # put back from a backup, or lost: the tree is newer
    for older in (witness.read_bytes().split(b"\n")[0] + b"\n", b""):
        witness.write_bytes(older)
        read.clear()
        tamper(site, rewritten([e.replace(b"tick", b"tock") for e in entries(site)][:7]))
        if older:
            with pytest.raises(ValidationFailed, match="does not contain the last checkpoint"):
                auditing.checkpoint_now(service)
            tamper(site, rewritten([e.replace(b"tock", b"tick") for e in entries(site)][:7]))
        assert auditing.checkpoint_now(service).root == mth(leaves(site))
        assert (1, 7) in read or (1, 3) in read


def test_a_false_history_with_a_tree_to_fit_is_refused(site: Site) -> None:
    """Somebody who owns the database and the file beside the witness, and not the witness."""
    service = site.service()
    write(site, 12)
    auditing.checkpoint_now(service)
    honest = auditing.witness_of(service).read_bytes()
    tamper(site, regrown(entries(site)))
    auditing.witness_of(service).unlink()
    auditing.checkpoint_now(service)  # makes the tree of the false one
    auditing.witness_of(service).write_bytes(honest)
    write(site, 2)
    with pytest.raises(ValidationFailed, match="does not contain the last checkpoint"):
        auditing.checkpoint_now(service)
    # The stored hash of the last entry put back: a row that does not fit itself.
    chained = json.loads(honest)["note"].split("chain ")[1][:64]
    tamper(site, f"update audit.log set chain_hash = '\\x{chained}' where seq = 12")
    with pytest.raises(ValidationFailed, match="entry 12 was edited"):
        auditing.checkpoint_now(service)


# --- what it shows at once, and what only the whole shows -----------------------------------------


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("update audit.log set entry = entry || ' ' where seq = 14", "entry 14 was edited"),
        ("update audit.log set prev_hash = sha256('x') where seq = 13", "13 does not follow"),
        ("update audit.log set chain_hash = sha256('x') where seq = 15", "hash of entry 15"),
        ("delete from audit.log where seq = 13", "entry 13 is missing"),
        ("update audit.log set entry = entry || ' ' where seq = 12", "entry 12 was edited"),
        ("delete from audit.log where seq > 11", "its tail was cut"),
    ],
)
def test_a_change_since_the_last_checkpoint_is_refused(site: Site, sql: str, words: str) -> None:
    write(site, 12)
    auditing.checkpoint_now(site.service())
    write(site, 3)
    tamper(site, sql)
    with pytest.raises(ValidationFailed, match=words):
        auditing.checkpoint_now(site.service())


def test_an_old_entry_that_was_edited_is_found_by_reading_the_whole(site: Site) -> None:
    service = site.service()
    write(site, 40)
    auditing.checkpoint_now(service)
    rounds = Rounds(service, piece=16)
    assert [rounds.go_on() for _ in range(6)] == [False, False, True] * 2
    tamper(site, edit([]))
    write(site, 1)
    assert catch_up_witness(service)  # it continues the last checkpoint
    assert not catch_up_witness(service)
    with pytest.raises(ValidationFailed, match="entry 5 was edited"):
        rounds.go_on()
    for make in (auditing.checkpoint, auditing.checkpoint_now):
        with pytest.raises(ValidationFailed, match="entry 5 was edited"):
            make(service, whole=True)
    assert "entry 5 was edited" in problem(site)


def test_a_round_ends_at_the_checkpoint_of_its_beginning(site: Site) -> None:
    service = site.service()
    assert Rounds(service).go_on()  # there is no witness yet
    write(site, 20)
    auditing.checkpoint_now(service)
    rounds = Rounds(service, piece=16)
    assert not rounds.go_on()
    write(site, 20)
    auditing.checkpoint_now(service)
    assert rounds.go_on()
    rows = entries(site)
    tamper(site, rewritten([*rows[:30], rows[30].replace(b"tick", b"tock"), *rows[31:]]))
    assert [rounds.go_on() for _ in range(2)] == [False, False]
    with pytest.raises(ValidationFailed, match="differs from its checkpoint"):
        rounds.go_on()
