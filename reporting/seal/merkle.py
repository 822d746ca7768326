"""The Merkle tree over the audit log's leaves: root, proofs, and how they are checked.

RFC 9162, 2.1: ``node = sha256(01 || left || right)``, and the root of no leaves is the hash of
nothing. A tree is held as its *levels*: level 0 the leaves, each level above it the nodes of the
full subtrees of twice the size. A tree that grows is held as its *peaks*: the roots of the full
subtrees that it splits into, the largest first, which is O(log n).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from itertools import islice

EMPTY_ROOT = sha256(b"").digest()
#: Roots of full subtrees, each with its height; heights decrease strictly.
Peaks = tuple[tuple[int, bytes], ...]
#: Leaves that are hashed together: level by level is three times as fast as leaf by leaf.
BATCH = 1 << 14


def node(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def levels(leaves: Sequence[bytes]) -> list[Sequence[bytes]]:
    """Nodes of every full subtree, by height; an odd one at the end of a level has none above."""
    built = [leaves]
    while len(built[-1]) > 1:
        row = built[-1]
        # node(), written out: a call for each of a million nodes is a third of their time.
        built.append(
            [sha256(b"\x01" + a + b).digest() for a, b in zip(row[::2], row[1::2], strict=False)]
        )
    return built


def peaks(built: Sequence[Sequence[bytes]], size: int) -> Peaks:
    """Peaks of the tree of the first ``size`` leaves."""
    found, at = [], 0
    for height in reversed(range(size.bit_length())):
        if size >> height & 1:
            found.append((height, built[height][at >> height]))
            at += 1 << height
    return tuple(found)


def grown(before: Peaks, more: Peaks) -> Peaks:
    """Peaks of a tree with the subtrees ``more`` behind it.

    None of them may be higher than the place they begin at is aligned to.
    """
    found = list(before)
    for height, top in more:
        while found and found[-1][0] == height:
            top = node(found.pop()[1], top)
            height += 1
        if found and found[-1][0] < height:
            raise ValueError(f"a subtree of height {height} can't stand behind {found[-1][0]}")
        found.append((height, top))
    return tuple(found)


def root_of(tops: Peaks) -> bytes:
    """The root of a tree from its peaks."""
    if not tops:
        return EMPTY_ROOT
    top = tops[-1][1]
    for _, left in reversed(tops[:-1]):
        top = node(left, top)
    return top


def roots(leaves: Iterable[bytes], sizes: Collection[int]) -> dict[int, bytes]:
    """Roots over the first so many leaves, streamed: O(log n) memory beyond one batch.

    A size that the leaves do not reach is left out; what follows the largest is not read.
    """
    found = {0: EMPTY_ROOT} if 0 in sizes else {}
    tops: Peaks = ()
    rest, size = islice(leaves, max(sizes, default=0)), 0
    while batch := list(islice(rest, BATCH)):
        built = levels(batch)
        for wanted in sizes:
            if size < wanted <= size + len(batch):
                found[wanted] = root_of(grown(tops, peaks(built, wanted - size)))
        tops = grown(tops, peaks(built, len(batch)))
        size += len(batch)
    return found


def _range(built: Sequence[Sequence[bytes]], first: int, end: int) -> bytes:
    """Root over the leaves from ``first`` to before ``end``, ``first`` being aligned as in 2.1."""
    size = end - first
    if size & (size - 1) == 0:
        return built[size.bit_length() - 1][first >> (size.bit_length() - 1)]
    split = first + _split(size)
    return node(_range(built, first, split), _range(built, split, end))


def _split(size: int) -> int:
    """The largest power of two that is smaller than ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proof(built: Sequence[Sequence[bytes]], index: int, size: int) -> list[bytes]:
    """RFC 9162, 2.1.3.1: that leaf ``index`` (from 0) is in the tree of ``size`` leaves."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    proof: list[bytes] = []
    first, end = 0, size
    while end - first > 1:
        split = first + _split(end - first)
        if index < split:
            proof.append(_range(built, split, end))
            end = split
        else:
            proof.append(_range(built, first, split))
            first = split
    return proof[::-1]


def consistency_proof(built: Sequence[Sequence[bytes]], old: int, size: int) -> list[bytes]:
    """RFC 9162, 2.1.4.1: that the tree of ``size`` begins with the one of ``old`` leaves."""
    if not 0 < old <= size:
        raise ValueError(f"no proof from {old} to {size} leaves")
    proof: list[bytes] = []
    first, end, whole = 0, size, True  # whether the old tree is the range itself
    while old < end:
        split = first + _split(end - first)
        if old <= split:
            proof.append(_range(built, split, end))
            end = split
        else:
            proof.append(_range(built, first, split))
            first, whole = split, False
    if not whole:
        proof.append(_range(built, first, end))
    return proof[::-1]


def inclusion_holds(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], expected: bytes
) -> bool:
    """RFC 9162, 2.1.3.2: whether ``proof`` leads from ``leaf`` at ``index`` to the root."""
    if not 0 <= index < size:
        return False
    at, last, top = index, size - 1, leaf
    for each in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            top = node(each, top)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            top = node(top, each)
        at, last = at >> 1, last >> 1
    return last == 0 and top == expected


def consistency_holds(
    old: int, size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> bool:
    """RFC 9162, 2.1.4.2: whether the tree of ``old_root`` is the beginning of the other."""
    if not 0 < old <= size:
        return False
    if old == size:
        return not proof and old_root == new_root
    nodes = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not proof:
        return False
    at, last = old - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = nodes[0]
    for each in nodes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            before, after = node(each, before), node(each, after)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            after = node(after, each)
        at, last = at >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root
