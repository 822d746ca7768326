"""Proofs that can be checked without the log: an entry is in it, or it only grew.

A proof is JSON with everything in it: the entry's text, the path, and the signed checkpoint. The
checker needs the file and the public key, nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ValidationFailed
from .canonical import canonical
from .chain import leaf_hash
from .checkpoint import Keys, Note, parse_note
from .merkle import (
    consistency_holds,
    consistency_proof,
    inclusion_holds,
    inclusion_proof,
    levels,
)

INCLUSION = "reporting/inclusion-proof/v1"
CONSISTENCY = "reporting/consistency-proof/v1"
FIELDS = {INCLUSION: 5, CONSISTENCY: 4}


def inclusion_of(seq: int, entry: bytes, leaves: Sequence[bytes], note: Note) -> dict[str, Any]:
    """That entry ``seq`` (from 1) is in the log of ``note``, whose leaves are given."""
    return {
        "schema_id": INCLUSION,
        "seq": seq,
        "entry": entry.decode("utf-8"),
        "path": [h.hex() for h in inclusion_proof(levels(leaves), seq - 1, note.size)],
        "checkpoint": str(note),
    }


def consistency_of(old: Note, new: Note, leaves: Sequence[bytes]) -> dict[str, Any]:
    """That the log of ``new``, whose leaves are given, begins with the one of ``old``."""
    path = consistency_proof(levels(leaves), old.size, new.size)
    return {
        "schema_id": CONSISTENCY,
        "path": [h.hex() for h in path],
        "old_checkpoint": str(old),
        "checkpoint": str(new),
    }


def read_proof(body: bytes) -> dict[str, Any]:
    """A proof from its file, which is canonical JSON; :class:`ValidationFailed` for another."""
    try:
        proof = json.loads(body)
        if not isinstance(proof, dict) or canonical(proof) != body.removesuffix(b"\n"):
            raise ValueError("expected an object as canonical JSON")
    except (ValueError, RecursionError) as error:
        raise ValidationFailed(f"the file is no proof: {error}") from None
    return proof


def check_proof(proof: Mapping[str, Any], keys: Keys | None) -> str:
    """What a proof proves, in words; :class:`ValidationFailed` says why it proves nothing.

    Without ``keys`` no signature is checked: the words say so.
    """
    try:
        kind, path = proof["schema_id"], [bytes.fromhex(h) for h in proof["path"]]
        if [h.hex() for h in path] != proof["path"]:
            raise ValueError("its path is not written as hashes are")
        new = parse_note(proof["checkpoint"])
        notes = [new]
        if kind == INCLUSION:
            seq, entry = proof["seq"], proof["entry"].encode("utf-8")
            holds = inclusion_holds(seq - 1, new.size, leaf_hash(entry), path, new.root)
            words = f"entry {seq} is in the log of {new.size} entries"
        elif kind == CONSISTENCY:
            old = parse_note(proof["old_checkpoint"])
            notes.append(old)
            holds = consistency_holds(old.size, new.size, path, old.root, new.root)
            words = f"the log of {new.size} entries begins with that of {old.size}"
        else:
            raise ValueError(f"schema_id {kind!r}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValidationFailed(f"the file is no proof: {error}") from None
    if len(proof) != FIELDS[kind]:
        raise ValidationFailed("the file is no proof: it has more fields than one")
    if not holds:
        raise ValidationFailed("the path does not lead to the checkpoint's root")
    if keys is None:
        return f"{words}; the checkpoint's signature was not checked (no public key given)"
    for note in notes:
        if problem := keys.problem(note):
            raise ValidationFailed(f"the checkpoint of {note.size} entries: {problem}")
    by = keys.at(new.size)
    return f"{words}, signed by {by.name}+{by.id.hex()}"
