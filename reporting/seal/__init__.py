"""What makes a fact a sealed fact: canonical bytes, the audit log's chain and tree, signed notes.

Pure: entries, keys and checkpoints are passed in. RFC 8785 for bytes, RFC 9162 for the tree, C2SP's
signed note and tlog-checkpoint for what is kept outside the database, in-toto and DSSE for what a
report was made from.
"""

from .canonical import canonical, digest
from .chain import (
    GENESIS,
    PART,
    ChainReport,
    Claim,
    LogEntry,
    LogPart,
    Stored,
    Tree,
    Walk,
    chain_hash,
    leaf_hash,
    part_of,
    part_of_rows,
    verify_chain,
)
from .checkpoint import (
    KEY_CHANGED,
    KeyChange,
    Keys,
    Note,
    Signer,
    Verifier,
    changes_of,
    new_key,
    parse_note,
    signed_note,
)
from .day import SealedDay
from .merkle import roots
from .proof import check_proof, consistency_of, inclusion_of, read_proof
from .provenance import Attested, Provenance, attest, attested

__all__ = [
    "GENESIS",
    "KEY_CHANGED",
    "PART",
    "Attested",
    "ChainReport",
    "Claim",
    "KeyChange",
    "Keys",
    "LogEntry",
    "LogPart",
    "Note",
    "Provenance",
    "SealedDay",
    "Signer",
    "Stored",
    "Tree",
    "Verifier",
    "Walk",
    "attest",
    "attested",
    "canonical",
    "chain_hash",
    "changes_of",
    "check_proof",
    "consistency_of",
    "digest",
    "inclusion_of",
    "leaf_hash",
    "new_key",
    "parse_note",
    "part_of",
    "part_of_rows",
    "read_proof",
    "roots",
    "signed_note",
    "verify_chain",
]
