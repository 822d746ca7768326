"""Canonical bytes, digests and the audit chain: what makes a fact a sealed fact.

Everything is RFC 8785 canonical JSON, so that equal values have equal digests on any machine.
The chain follows RFC 9162's domain separation: ``leaf = sha256(00 || entry)`` and
``chain = sha256(02 || previous || leaf)``; the first entry's previous hash is 32 zero bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import rfc8785
from pydantic import AwareDatetime

from .model import Coverage, Finding, Value, Window

GENESIS = bytes(32)
#: Integers beyond these are no JSON number that every reader takes alike (RFC 8785, 3.2.2.3).
SAFE_INTEGER = 2**53 - 1
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(value: Value | Mapping[str, Any] | Sequence[Any]) -> bytes:
    """RFC 8785 bytes of a value; money and quantities come out as strings."""
    plain = value.model_dump(mode="json") if isinstance(value, Value) else value
    if _is_simple(plain):
        try:
            return _ENCODER.encode(plain).encode("utf-8")
        except UnicodeEncodeError:
            pass  # half a character: refused below, in rfc8785's words
    return rfc8785.dumps(plain)


def _is_simple(value: Any) -> bool:
    """Whether the standard library writes ``value`` as RFC 8785 has it, in a third of the time.

    All but floats, integers that are too large, and names that may sort otherwise in UTF-16.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is dict:
        for name, held in value.items():
            if type(name) is not str or not name.isascii() or not _is_simple(held):
                return False
        return True
    if kind is list or kind is tuple:
        return all(map(_is_simple, value))
    return kind is int and -SAFE_INTEGER <= value <= SAFE_INTEGER


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


class SealedDay(Value):
    """Everything known about one calendar day, as it is sealed: facts, sources, findings.

    ``facts`` holds one fact, or one Missing, a measure, as JSON. ``known_at`` is up to when late
    events were taken into account; a revision differs from the one before in something else.
    ``flash`` marks a day that was sealed before it had ended: its facts are those of the book until
    ``known_at``, and the close after the day's end replaces them.
    """

    schema_id: Literal["reporting/day/v1"] = "reporting/day/v1"
    day: date
    revision: int
    reason: str
    previous: str
    calendar: str
    zone: str
    session: bool
    note: str
    window: Window
    trading: Window | None
    known_at: AwareDatetime
    policy_digest: str
    facts: Mapping[str, Mapping[str, Any]]
    sources: tuple[Coverage, ...]
    findings: tuple[Finding, ...]
    closing_book: str
    flash: bool = False

    def content(self) -> bytes:
        """What a new revision has to differ in: all but the circumstances of its sealing."""
        return canonical(
            self.model_dump(
                mode="json",
                exclude={"revision", "reason", "previous", "known_at", "policy_digest"},
            )
        )


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one audit entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def chain_hash(previous: bytes, leaf: bytes) -> bytes:
    """Hash of the chain up to and including the entry of ``leaf``."""
    return hashlib.sha256(b"\x02" + previous + leaf).digest()


@dataclass(frozen=True)
class LogEntry:
    """One row of the audit log as it is stored."""

    seq: int
    entry: bytes
    prev_hash: bytes
    leaf_hash: bytes
    chain_hash: bytes


@dataclass(frozen=True)
class ChainReport:
    """What a walk over the whole audit log found.

    ``head`` is the chain hash of the last entry (hex); ``problem`` names the first entry that is
    wrong and how, or is empty.
    """

    size: int
    head: str
    problem: str

    @property
    def ok(self) -> bool:
        """Whether every entry is the one that was appended, in its place."""
        return not self.problem


def verify_chain(
    entries: Iterable[LogEntry], checkpoints: Mapping[int, str] | None = None
) -> ChainReport:
    """Recompute the chain over ``entries`` in order of ``seq``.

    ``checkpoints`` (size → chain hash, hex) come from outside the database: printed in reports and
    kept in the witness file. Without them a cut tail or a rewritten chain can not be seen.
    """
    seen = dict(checkpoints or {})
    previous, size = GENESIS, 0
    for row in entries:
        size += 1
        if row.seq != size:
            return ChainReport(size, previous.hex(), f"entry {size} is missing (found {row.seq})")
        leaf = leaf_hash(row.entry)
        if leaf != row.leaf_hash:
            return ChainReport(size, previous.hex(), f"entry {size} was edited")
        if row.prev_hash != previous:
            return ChainReport(
                size, previous.hex(), f"entry {size} does not follow entry {size - 1}"
            )
        previous = chain_hash(previous, leaf)
        if previous != row.chain_hash:
            return ChainReport(size, previous.hex(), f"the chain hash of entry {size} is wrong")
        if seen.pop(size, previous.hex()) != previous.hex():
            return ChainReport(
                size, previous.hex(), f"the chain up to entry {size} differs from its checkpoint"
            )
    if beyond := sorted(n for n in seen if n > 0):
        return ChainReport(
            size,
            previous.hex(),
            f"a checkpoint knows {beyond[-1]} entries, the log has {size}: its tail was cut",
        )
    return ChainReport(size, previous.hex(), "")
