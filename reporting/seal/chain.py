"""The audit chain, and the walk that recomputes all of it and compares it with checkpoints.

``leaf = sha256(00 || entry)`` and ``chain = sha256(02 || previous || leaf)``; the first entry's
previous hash is 32 zero bytes. The leaves are those of the Merkle tree (RFC 9162).

A walk takes parts of the log in order. What of a part depends on nothing before it (the leaves, the
part of the tree above them, and the chain from where the database says that it begins) can be
worked out in another process.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from .canonical import canonical
from .checkpoint import KEY_CHANGED
from .merkle import Peaks, grown, levels, peaks, root_of

GENESIS = bytes(32)
HASH = 32
#: Entries of one part; a power of two, so that parts are whole subtrees.
PART = 1 << 13
_MARK = f'"event":"{KEY_CHANGED}"'.encode()


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one audit entry."""
    return sha256(b"\x00" + entry).digest()


def chain_hash(previous: bytes, leaf: bytes) -> bytes:
    """Hash of the chain up to and including the entry of ``leaf``."""
    return sha256(b"\x02" + previous + leaf).digest()


class LogEntry(NamedTuple):
    """One row of the audit log as it is stored."""

    seq: int
    entry: bytes
    prev_hash: bytes
    leaf_hash: bytes
    chain_hash: bytes


@dataclass(frozen=True)
class Claim:
    """What somebody outside the database was told of the log at one size.

    A hash that was not told is empty; ``where`` says who was told, for messages.
    """

    size: int
    chain_hash: bytes
    root: bytes = b""
    where: str = ""


@dataclass(frozen=True)
class Tree:
    """Chain and tree of the log at one size, in at most 64 hashes: a walk goes on from there.

    It is RFC 9162's tree as a compact range, and says nothing by itself: who has it from elsewhere
    compares :attr:`root` and the chain hash with a checkpoint.
    """

    size: int = 0
    chain_hash: bytes = GENESIS
    peaks: Peaks = ()

    @property
    def root(self) -> bytes:
        """The root over all of its entries."""
        return root_of(self.peaks)

    def __bytes__(self) -> bytes:
        hashes = [top.hex() for _, top in self.peaks]
        return canonical({"size": self.size, "chain_hash": self.chain_hash.hex(), "peaks": hashes})

    @classmethod
    def parse(cls, body: bytes) -> Tree:
        """What :meth:`__bytes__` wrote; :class:`ValueError` for anything else."""
        try:
            told = json.loads(body)
            size, hashes = int(told["size"]), [bytes.fromhex(h) for h in told["peaks"]]
            heights = [h for h in reversed(range(size.bit_length())) if size >> h & 1]
            tops = tuple(zip(heights, hashes, strict=True))
            found = cls(size, bytes.fromhex(told["chain_hash"]), tops)
            exact = bytes(found) == body and {len(found.chain_hash), *map(len, hashes)} == {HASH}
        except (ValueError, KeyError, TypeError, RecursionError):
            exact = False
        if not exact:
            raise ValueError("is no tree of a log")
        return found


@dataclass(frozen=True)
class ChainReport:
    """What a walk over the whole audit log found.

    ``head`` is the chain hash of the last entry and ``root`` the tree's (hex); ``problem`` names
    the first entry that is wrong and how, or is empty. ``claims`` were compared.
    """

    size: int
    head: str
    problem: str
    root: str = ""
    claims: int = 0

    @property
    def ok(self) -> bool:
        """Whether every entry is the one that was appended, in its place."""
        return not self.problem


@dataclass(frozen=True)
class Stored:
    """The hashes of a part as the database has them, each column's joined."""

    prev_hashes: bytes
    leaf_hashes: bytes
    chain_hashes: bytes


@dataclass(frozen=True)
class Links:
    """The chain over a part: it leads from ``before`` to ``after``, at some sizes it is ``at``.

    ``problem`` names the first link that the database has otherwise.
    """

    before: bytes
    after: bytes
    at: Mapping[int, bytes]
    problem: str = ""


@dataclass(frozen=True)
class LogPart:
    """Entries ``first`` to ``first + size - 1``, hashed; ``problem`` is what is wrong with them.

    ``wanted`` holds the part's peaks at each size that a claim is about, and ``changes`` each
    entry, with its number, that may say that the key of checkpoints changed. ``links`` begin at
    what the database says is before; where there is none, the joined ``leaves`` are to be chained.
    """

    first: int
    size: int
    peaks: Peaks = ()
    wanted: Mapping[int, Peaks] = field(default_factory=dict)
    links: Links | None = None
    leaves: bytes = b""
    problem: str = ""
    changes: tuple[tuple[int, bytes], ...] = ()


def part_of(
    first: int,
    entries: Sequence[bytes],
    wanted: Collection[int],
    stored: Stored | None = None,
    joined: bytes | None = None,
) -> LogPart:
    """Hash the entries from ``first`` on, up to the next multiple of :data:`PART` at most.

    ``wanted`` are sizes of the log. With ``stored`` all hashes are compared with the database's.
    ``joined`` are the entries as one, if the caller has that: it is searched faster.
    """
    # leaf_hash(), written out, as in merkle.levels.
    leaves = [sha256(b"\x00" + entry).digest() for entry in entries]
    hashes = b"".join(leaves)
    before, size = first - 1, len(leaves)
    sizes = [n for n in wanted if before < n <= before + size]
    if before % PART:  # no whole subtree begins here: its leaves stand for themselves
        single = tuple((0, leaf) for leaf in leaves)
        tops, at = single, {n: single[: n - before] for n in sizes}
    else:
        built = levels(leaves)
        tops, at = peaks(built, size), {n: peaks(built, n - before) for n in sizes}
    problem, links = "", None
    if stored is not None:
        if stored.leaf_hashes != hashes:
            problem = f"entry {first + _differs(stored.leaf_hashes, hashes)} was edited"
        links = _chained(first, stored.prev_hashes[:HASH], leaves, sizes, stored)
    changes: tuple[tuple[int, bytes], ...] = ()
    if joined is None or _MARK in joined:
        changes = tuple((n, e) for n, e in enumerate(entries, first) if _MARK in e)
    alone = hashes if stored is None else b""
    return LogPart(first, size, tops, at, links, alone, problem, changes)


def _chained(
    first: int,
    before: bytes,
    leaves: Iterable[bytes],
    sizes: Collection[int],
    stored: Stored | None = None,
) -> Links:
    """The chain over ``leaves`` from ``before`` on, compared with the database's.

    It depends on nothing but the part: whether what it begins at is right is for the walk to see.
    """
    chain: list[bytes] = []
    previous, add = before, chain.append
    for leaf in leaves:  # chain_hash(), written out
        previous = sha256(b"\x02" + previous + leaf).digest()
        add(previous)
    found = []
    if stored is not None:
        links, joined = b"".join((before, *chain[:-1])), b"".join(chain)
        if stored.prev_hashes != links:
            number = first + _differs(stored.prev_hashes, links)
            found.append((number, f"entry {number} does not follow entry {number - 1}"))
        if stored.chain_hashes != joined:
            number = first + _differs(stored.chain_hashes, joined)
            found.append((number, f"the chain hash of entry {number} is wrong"))
    at = {n: chain[n - first] for n in sizes}
    return Links(before, previous, at, min(found)[1] if found else "")


def _differs(one: bytes, other: bytes) -> int:
    """The number of the first hash that two joined columns do not share."""
    for at in range(0, max(len(one), len(other)), HASH):
        if one[at : at + HASH] != other[at : at + HASH]:
            return at // HASH
    raise ValueError("the columns are the same")


@dataclass
class Walk:
    """A walk over the log, part by part, up to the first problem.

    It begins after ``start``, of which the claims at that size have to be true; there are none of
    a smaller one.
    """

    claims: Sequence[Claim] = ()
    start: Tree = Tree()
    problem: str = ""
    changes: list[tuple[int, bytes]] = field(default_factory=list)
    _open: dict[int, list[Claim]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.size, self.head, self.tops = self.start.size, self.start.chain_hash, self.start.peaks
        for claim in self.claims:
            if claim.size > 0:
                self._open[claim.size].append(claim)
        self.problem = self._forked() or self._compared(self.size, self.head, self.start.root)

    @property
    def tree(self) -> Tree:
        """What was walked over, to go on from."""
        return Tree(self.size, self.head, self.tops)

    @property
    def wanted(self) -> frozenset[int]:
        """Sizes that a claim is about."""
        return frozenset(self._open)

    def _forked(self) -> str:
        """Two claims that can't both be true, whatever the log says."""
        for size, told in sorted(self._open.items()):
            for name in ("root", "chain_hash"):
                said = {getattr(c, name): c.where for c in told if getattr(c, name)}
                if len(said) > 1:
                    one, other = list(said.values())[:2]
                    return (
                        f"two histories of {size} entries were shown: {one} and {other} disagree "
                        "(a fork); one of them differs from its checkpoint"
                    )
        return ""

    def add(self, part: LogPart) -> None:
        """Go on with the next part; nothing more is looked at after a problem."""
        if self.problem:
            return
        if part.first != self.size + 1:
            raise ValueError(f"part {part.first} does not follow entry {self.size}")
        links = part.links
        if links is None:
            each = range(0, len(part.leaves), HASH)
            leaves = (part.leaves[at : at + HASH] for at in each)
            links = _chained(part.first, self.head, leaves, part.wanted)
        follows = links.before == self.head
        unlinked = f"entry {part.first} does not follow entry {self.size}"
        self.problem = part.problem or ("" if follows else unlinked) or links.problem
        if self.problem:
            return
        for size in sorted(self._open.keys() & part.wanted.keys()):
            root = root_of(grown(self.tops, part.wanted[size]))
            self.problem = self._compared(size, links.at[size], root)
            if self.problem:
                return
        self.size += part.size
        self.head = links.after
        self.tops = grown(self.tops, part.peaks)
        self.changes += part.changes

    def _compared(self, size: int, chain: bytes, root: bytes) -> str:
        """The first claim about the log at ``size`` that is not true of it."""
        for claim in self._open.pop(size, ()):
            chained = claim.chain_hash in (b"", chain)
            if not chained or claim.root not in (b"", root):
                what = "tree" if chained else "chain"
                where = f" in {claim.where}" if claim.where else ""
                return f"the {what} up to entry {size} differs from its checkpoint{where}"
        return ""

    def end(self) -> ChainReport:
        """What the walk found, now that no part follows."""
        if not self.problem and self._open:
            most = max(self._open)
            where = self._open[most][0].where
            self.problem = (
                f"a checkpoint{' in ' * bool(where)}{where} knows {most} entries, the log has "
                f"{self.size}: its tail was cut"
            )
        return ChainReport(
            self.size, self.head.hex(), self.problem, root_of(self.tops).hex(), len(self.claims)
        )


def verify_chain(entries: Iterable[LogEntry], claims: Sequence[Claim] = ()) -> ChainReport:
    """Recompute the chain and the tree over ``entries`` in order of ``seq``.

    ``claims`` come from outside the database: printed in reports and kept in the witness file.
    Without them a cut tail or a rewritten chain can not be seen.
    """
    walk = Walk(claims)
    batch: list[LogEntry] = []

    def add() -> None:
        if batch:
            walk.add(part_of_rows(walk.size + 1, walk.size + len(batch), batch, walk.wanted))
            batch.clear()

    for row in entries:
        batch.append(row)
        if len(batch) == PART:
            add()
    add()
    return walk.end()


def part_of_rows(
    first: int, last: int, rows: Sequence[LogEntry], wanted: Collection[int]
) -> LogPart:
    """Entries ``first`` to ``last`` from rows; the first that is missing or malformed is named."""
    problem = ""
    for number in range(first, last + 1):
        row = rows[number - first] if number - first < len(rows) else None
        if row is None:
            problem = f"entry {number} is missing"
        elif row.seq != number:
            problem = f"entry {number} is missing (found {row.seq})"
        elif len(row.leaf_hash) != HASH:
            problem = f"entry {number} was edited"
        elif len(row.prev_hash) != HASH:
            problem = f"entry {number} does not follow entry {number - 1}"
        elif len(row.chain_hash) != HASH:
            problem = f"the chain hash of entry {number} is wrong"
        if problem:
            return LogPart(first, 0, problem=problem)
    if len(rows) > last - first + 1:
        return LogPart(first, 0, problem=f"entry {rows[-1].seq} stands there twice")
    _, entries, prev, leaf, chain = zip(*rows, strict=True)
    return part_of(first, entries, wanted, Stored(b"".join(prev), b"".join(leaf), b"".join(chain)))
