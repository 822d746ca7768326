"""The Merkle tree against published vectors, RFC 9162's own recursion, and pymerkle."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from reporting.seal.merkle import (
    consistency_holds,
    consistency_proof,
    grown,
    inclusion_holds,
    inclusion_proof,
    levels,
    peaks,
    root_of,
    roots,
)


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# The leaves and heads that Certificate Transparency's implementations share.
ENTRIES = [
    bytes.fromhex(h)
    for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
              "606162636465666768696a6b6c6d6e6f")
]  # fmt: skip
LEAVES = [sha(b"\0" + e) for e in ENTRIES]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 8): ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
             "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
             "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"],
    (5, 8): ["bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
             "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
             "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}  # fmt: skip
CONSISTENCY = {
    (6, 8): ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
             "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
             "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"],
    (2, 5): ["5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
             "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"],
}  # fmt: skip


# RFC 9162, word for word; slow and independent of ours.


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(d: list[bytes]) -> bytes:
    if len(d) < 2:
        return d[0] if d else sha(b"")
    k = split(len(d))
    return sha(b"\1" + mth(d[:k]) + mth(d[k:]))


def path(m: int, d: list[bytes]) -> list[bytes]:
    if len(d) == 1:
        return []
    k = split(len(d))
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: list[bytes], whole: bool) -> list[bytes]:
    if m == len(d):
        return [] if whole else [mth(d)]
    k = split(len(d))
    if m <= k:
        return [*subproof(m, d[:k], whole), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert roots(LEAVES[:size], {size})[size].hex() == ROOTS[size]
    assert roots(LEAVES, {size})[size].hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_published_inclusion_proofs(index: int, size: int) -> None:
    proof = inclusion_proof(levels(LEAVES), index, size)
    assert [h.hex() for h in proof] == INCLUSION[index, size]
    assert inclusion_holds(index, size, LEAVES[index], proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "size"), CONSISTENCY)
def test_published_consistency_proofs(old: int, size: int) -> None:
    proof = consistency_proof(levels(LEAVES), old, size)
    assert [h.hex() for h in proof] == CONSISTENCY[old, size]
    pair = bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[size])
    assert consistency_holds(old, size, proof, *pair)


MANY = [sha(b"\0" + bytes([n])) for n in range(70)]


def test_every_tree_up_to_70_leaves_is_that_of_the_rfc() -> None:
    built = levels(MANY)
    heads = roots(iter(MANY), range(71))
    assert heads == {n: mth(MANY[:n]) for n in range(71)}
    for n in range(1, 71):
        assert root_of(peaks(built, n)) == heads[n]
        for m in range(n):
            proof = inclusion_proof(built, m, n)
            assert proof == path(m, MANY[:n])
            assert inclusion_holds(m, n, MANY[m], proof, heads[n])
        for m in range(1, n + 1):
            proof = consistency_proof(built, m, n)
            assert proof == subproof(m, MANY[:n], True)
            assert consistency_holds(m, n, proof, heads[m], heads[n])


@settings(deadline=None, max_examples=80)
@given(st.lists(st.binary(max_size=6), min_size=1, max_size=80), st.data())
def test_pymerkle_agrees(entries: list[bytes], data: st.DataObject) -> None:
    tree = InmemoryTree(algorithm="sha256")
    for entry in entries:
        tree.append_entry(entry)
    leaves = [sha(b"\0" + e) for e in entries]
    n = data.draw(st.integers(1, len(entries)))
    m = data.draw(st.integers(1, n))
    found = roots(leaves, {m, n})
    assert (found[m], found[n]) == (tree.get_root(m), tree.get_root(n))
    inclusion = tree.prove_inclusion(m, n)
    assert inclusion_proof(levels(leaves), m - 1, n) == inclusion.path[1:]
    assert inclusion_holds(m - 1, n, leaves[m - 1], inclusion.path[1:], found[n])
    # Theirs begins with the old tree's peaks; every node of ours is among its hashes.
    growth = tree.prove_consistency(m, n)
    growth.verify(found[m], found[n])
    assert consistency_holds(m, n, consistency_proof(levels(leaves), m, n), found[m], found[n])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 63))
def test_peaks_grow_by_subtrees_as_by_leaves(size: int) -> None:
    """Aligned subtrees behind a tree make the tree of all the leaves."""
    built = levels(MANY)
    cut = size & ~7  # parts of eight leaves are whole subtrees
    tops = peaks(built, cut)
    rest = levels(MANY[cut:size])
    assert grown(tops, peaks(rest, size - cut)) == peaks(built, size)


def test_a_subtree_that_is_not_aligned_is_refused() -> None:
    built = levels(MANY)
    with pytest.raises(ValueError, match="can't stand behind"):
        grown(peaks(built, 5), ((3, MANY[0]),))


def changes(proof: list[bytes]) -> list[list[bytes]]:
    flipped = [
        [*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]]
        for at in range(len(proof))
    ]
    return [*flipped, proof[1:], proof[:-1], [*proof, MANY[0]], [MANY[0], *proof], proof[::-1]]


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 70), st.data())
def test_no_changed_inclusion_proof_holds(n: int, data: st.DataObject) -> None:
    m = data.draw(st.integers(0, n - 1))
    top, proof = mth(MANY[:n]), path(m, MANY[:n])
    for other in changes(proof):
        assert other == proof or not inclusion_holds(m, n, MANY[m], other, top)
    for index in range(-1, n + 1):
        assert index == m or not inclusion_holds(index, n, MANY[m], proof, top)
    assert not inclusion_holds(m, n, sha(b"other"), proof, top)
    assert not inclusion_holds(m, n, MANY[m], proof, sha(b"other"))


@settings(deadline=None, max_examples=200)
@given(st.integers(2, 70), st.data())
def test_no_changed_consistency_proof_holds(n: int, data: st.DataObject) -> None:
    m = data.draw(st.integers(1, n - 1))
    old, new, proof = mth(MANY[:m]), mth(MANY[:n]), subproof(m, MANY[:n], True)
    for other in changes(proof):
        assert other == proof or not consistency_holds(m, n, other, old, new)
    assert not consistency_holds(m, n, proof, sha(b"other"), new)
    assert not consistency_holds(m, n, proof, old, sha(b"other"))
    assert not consistency_holds(0, n, proof, old, new)
    assert not consistency_holds(n + 1, n, proof, old, new)
    assert not consistency_holds(n, n, proof, new, new)
    assert consistency_holds(n, n, [], new, new)
    assert not consistency_holds(n, n, [], old, new) or old == new
