"""The audit chain, and the walk that recomputes all of it and compares it with checkpoints.

``leaf = sha256(00 || entry)`` and ``chain = sha256(02 || previous || leaf)``; the first entry's
previous hash is 32 zero bytes. The leaves are those of the Merkle tree (RFC 9162).

A walk takes parts of the log in order. What of a part depends on nothing before it (the leaves and
the part of the tree above them) can be worked out in another process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from .merkle import Peaks, grown, levels, peaks, root_of

GENESIS = bytes(32)
HASH = 32
#: Entries of one part; a power of two, so that parts are whole subtrees.
PART = 1 << 13


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
class LogPart:
    """Entries ``first`` to ``first + size - 1``, hashed; ``problem`` is what is wrong with them.

    ``leaves`` are joined; ``wanted`` holds the part's peaks at each size that a claim is about.
    """

    first: int
    leaves: bytes
    peaks: Peaks
    wanted: Mapping[int, Peaks]
    stored: Stored | None = None
    problem: str = ""

    @property
    def size(self) -> int:
        """How many entries it holds."""
        return len(self.leaves) // HASH


def part_of(
    first: int, entries: Sequence[bytes], wanted: Collection[int], stored: Stored | None = None
) -> LogPart:
    """Hash the entries from ``first`` on (one more than a multiple of :data:`PART`).

    ``wanted`` are sizes of the log. With ``stored`` the leaves are compared with the database's.
    """
    # leaf_hash(), written out, as in merkle.levels.
    leaves = [sha256(b"\x00" + entry).digest() for entry in entries]
    joined = b"".join(leaves)
    built = levels(leaves)
    before = first - 1
    problem = ""
    if stored is not None and stored.leaf_hashes != joined:
        at = _differs(stored.leaf_hashes, joined)
        problem = f"entry {first + at} was edited"
    return LogPart(
        first,
        joined,
        peaks(built, len(leaves)),
        {n: peaks(built, n - before) for n in wanted if before < n <= before + len(leaves)},
        stored,
        problem,
    )


def _differs(one: bytes, other: bytes) -> int:
    """The number of the first hash that two joined columns do not share."""
    for at in range(0, max(len(one), len(other)), HASH):
        if one[at : at + HASH] != other[at : at + HASH]:
            return at // HASH
    raise ValueError("the columns are the same")


@dataclass
class Walk:
    """A walk over the log, part by part, up to the first problem."""

    claims: Sequence[Claim] = ()
    size: int = 0
    head: bytes = GENESIS
    tops: Peaks = ()
    problem: str = ""
    _open: dict[int, list[Claim]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for claim in self.claims:
            if claim.size > 0:
                self._open[claim.size].append(claim)
        self.problem = self._forked()

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
        before, previous, leaves = self.head, self.head, part.leaves
        chain: list[bytes] = []
        add = chain.append
        for at in range(0, len(leaves), HASH):  # chain_hash(), written out
            previous = sha256(b"\x02" + previous + leaves[at : at + HASH]).digest()
            add(previous)
        self.problem = part.problem or self._stored_differ(part, before, chain)
        if self.problem:
            return
        for size in sorted(self._open.keys() & part.wanted.keys()):
            root = root_of(grown(self.tops, part.wanted[size]))
            for claim in self._open.pop(size):
                chained = claim.chain_hash in (b"", chain[size - part.first])
                if not chained or claim.root not in (b"", root):
                    what = "tree" if chained else "chain"
                    where = f" in {claim.where}" if claim.where else ""
                    self.problem = f"the {what} up to entry {size} differs from its checkpoint"
                    self.problem += where
                    return
        self.size += part.size
        self.head = previous
        self.tops = grown(self.tops, part.peaks)

    def _stored_differ(self, part: LogPart, before: bytes, chain: Sequence[bytes]) -> str:
        """The first link of a part that the database has otherwise."""
        if part.stored is None:
            return ""
        links, joined = b"".join((before, *chain[:-1])), b"".join(chain)
        found = []
        if part.stored.prev_hashes != links:
            number = part.first + _differs(part.stored.prev_hashes, links)
            found.append((number, f"entry {number} does not follow entry {number - 1}"))
        if part.stored.chain_hashes != joined:
            number = part.first + _differs(part.stored.chain_hashes, joined)
            found.append((number, f"the chain hash of entry {number} is wrong"))
        return min(found)[1] if found else ""

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
            return LogPart(first, b"", (), {}, None, problem)
    if len(rows) > last - first + 1:
        return LogPart(first, b"", (), {}, None, f"entry {rows[-1].seq} stands there twice")
    _, entries, prev, leaf, chain = zip(*rows, strict=True)
    return part_of(first, entries, wanted, Stored(b"".join(prev), b"".join(leaf), b"".join(chain)))
