"""Checkpoints: what is signed and kept outside the database, as C2SP tlog-checkpoint has it.

A note is text, an empty line, and signature lines (C2SP signed-note, Ed25519)::

    example.com/audit
    245
    <root of the tree, base64>
    chain <chain hash, hex>

    — example.com/audit <base64 of key id || signature>

The line ``chain`` is our extension. Without a key there is no signature line, and everything that
shows such a note says unsigned.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import pairwise

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from ..errors import UsageError, ValidationFailed

ED25519 = b"\x01"
DASH = "— "
ID = 4  # bytes of a key's id
NAME = re.compile(r"[^\s+]+")


@dataclass(frozen=True)
class Verifier:
    """A public key with the name it signs under."""

    name: str
    key: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.key).digest()[:ID]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64encode(ED25519 + self.key).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """From ``name+id+key``, as a log's owner publishes it."""
        try:
            name, wanted, key = vkey.strip().split("+", 2)
            raw = b64decode(key, validate=True)
            found = cls(name, raw[1:])
            well = raw[:1] == ED25519 and len(raw) == 33 and found.id.hex() == wanted
        except (ValueError, NotBase64):
            well = False
        if not well or not NAME.fullmatch(name):
            raise UsageError(
                f"{vkey.strip()[:80]!r} is no public key of a checkpoint; expected "
                "name+id+key as `reporting audit keygen` and `audit checkpoint` print it"
            )
        return found

    def accepts(self, text: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's over ``text``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, repr=False)
class Signer:
    """A private key with the name it signs under; it is never printed."""

    name: str
    key: Ed25519PrivateKey

    @classmethod
    def load(cls, name: str, pem: bytes, where: str) -> Signer:
        """From a PKCS#8 PEM file's bytes; ``where`` it is, for the message."""
        if not NAME.fullmatch(name):
            raise UsageError(
                f"REPORTING_CHECKPOINT_ORIGIN is {name!r}; expected a name without spaces and '+', "
                "such as example.com/audit"
            )
        try:
            key = load_pem_private_key(pem, None)
        except (ValueError, TypeError):  # TypeError: it has a password
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise UsageError(
                f"the checkpoint key {where} is no Ed25519 key as PKCS#8 PEM without a password; "
                "make one with `reporting audit keygen`"
            )
        return cls(name, key)

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return Verifier(self.name, raw)


def new_key() -> bytes:
    """A new Ed25519 key as PKCS#8 PEM, from the system's randomness."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Note:
    """A checkpoint: origin, size, root and chain hash (``b""`` where it has none), as signed."""

    origin: str
    size: int
    root: bytes
    chain_hash: bytes
    text: str
    signatures: tuple[tuple[str, bytes], ...]  # name, key id || signature

    @property
    def signed(self) -> bool:
        """Whether anybody signed it, verified or not."""
        return bool(self.signatures)

    def __str__(self) -> str:
        return self.text + "\n" + _signature_lines(self.signatures)

    def signed_as(self, name: str) -> list[bytes]:
        """Ids of the keys of ``name`` that are said to have signed it."""
        return [raw[:ID] for by, raw in self.signatures if by == name]

    def problem(self, verifier: Verifier) -> str:
        """ "" if ``verifier`` signed this note; its first signature line decides."""
        for name, raw in self.signatures:
            if name == verifier.name and raw[:ID] == verifier.id:
                good = verifier.accepts(self.text.encode(), raw[ID:])
                return "" if good else f"the signature of {name} is wrong"
        return f"is not signed by {verifier.name}+{verifier.id.hex()}"


#: The event of an entry that hands the log over to another key. In the statement inside it is the
#: second line: so it is no checkpoint, whose second line is a number.
KEY_CHANGED = "checkpoint key changed"


@dataclass(frozen=True)
class KeyChange:
    """From entry ``size + 1`` on ``new`` signs the log's checkpoints, and ``old`` no more.

    It is a signed note as well: by both, so that whoever trusts one of them can trust the other;
    by ``new`` alone where the old key was lost.
    """

    old: Verifier
    new: Verifier
    size: int
    signatures: tuple[tuple[str, bytes], ...] = ()

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.new.name}\n{KEY_CHANGED}\n{self.size}\n{self.old}\n{self.new}\n"

    def __str__(self) -> str:
        return self.text + "\n" + _signature_lines(self.signatures)

    def signed(self, *signers: Signer) -> KeyChange:
        """The same, signed by them."""
        text = self.text.encode()
        lines = tuple((s.name, s.verifier.id + s.key.sign(text)) for s in signers)
        return replace(self, signatures=lines)

    def signed_by(self, verifier: Verifier) -> bool:
        """Whether it is signed by ``verifier``."""
        return any(
            name == verifier.name
            and raw[:ID] == verifier.id
            and verifier.accepts(self.text.encode(), raw[ID:])
            for name, raw in self.signatures
        )

    @classmethod
    def parse(cls, note: str) -> KeyChange:
        """From its text; :class:`ValidationFailed` for anything else. Checks no signature."""
        text, _, rest = note.rpartition("\n\n")
        try:
            _, _, size, old, new = text.split("\n")
            found = cls(
                Verifier.parse(old), Verifier.parse(new), int(size), tuple(_signatures(rest))
            )
            if str(found) != note or found.size < 0 or found.old == found.new:
                raise ValueError("it is not written as one")
        except (ValueError, UsageError) as error:
            raise ValidationFailed(f"is no change of a key: {error}") from None
        return found


def changes_of(entries: Iterable[tuple[int, bytes]]) -> list[KeyChange]:
    """The changes of the key that entries of the log state, each with its number.

    :class:`ValidationFailed` for one that is none, or stands elsewhere than it says.
    """
    found = []
    for seq, entry in entries:
        try:
            change = KeyChange.parse(json.loads(entry)["body"]["note"])
            if change.size != seq - 1:
                raise ValidationFailed(f"is of entry {change.size + 1}")
        except (ValueError, KeyError, TypeError, ValidationFailed) as error:
            raise ValidationFailed(
                f"entry {seq} changes the checkpoints' key, and {error}"
            ) from None
        found.append(change)
    return found


@dataclass(frozen=True)
class Keys:
    """The public keys of one log, the oldest first: who may sign it at which size.

    ``until`` are the sizes that all keys but the newest may sign at most; each begins where the one
    before it ends.
    """

    verifiers: tuple[Verifier, ...]
    until: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Keys:
        """From what the log's owner publishes: a key a line, all but the last with its last size.

        Raises :class:`UsageError` for anything else.
        """
        lines = [line.split() for line in text.splitlines() if line.strip()]
        verifiers = tuple(Verifier.parse(words[0]) for words in lines or [[text]])
        until = [words[1] for words in lines[:-1] if len(words) == 2]
        ended = all(re.fullmatch(r"0|[1-9][0-9]{0,18}", n) for n in until)
        sizes = tuple(map(int, until)) if ended else ()
        one = len({v.name for v in verifiers}) == 1 and len(set(verifiers)) == len(verifiers)
        last = len(lines[-1]) == 1
        if not (one and last) or len(sizes) + 1 != len(verifiers) or list(sizes) != sorted(sizes):
            raise UsageError(
                "the public keys can't be read; expected name+id+key a line, the oldest first, and "
                "behind each but the newest the last size of the log that it may sign, as "
                "`reporting audit keys` prints them"
            )
        return cls(verifiers, sizes)

    def __str__(self) -> str:
        ends = [f" {size}" for size in self.until] + [""]
        return "".join(f"{key}{end}\n" for key, end in zip(self.verifiers, ends, strict=True))

    @property
    def newest(self) -> Verifier:
        """The key that signs now."""
        return self.verifiers[-1]

    def at(self, size: int) -> Verifier:
        """The key that signs the log of ``size`` entries."""
        return self.verifiers[sum(size > until for until in self.until)]

    def problem(self, note: Note) -> str:
        """ "" where the key that may sign a log of this size signed ``note``."""
        by = self.at(note.size)
        problem = note.problem(by)
        for other in self.verifiers if problem else ():
            if not note.problem(other):
                return (
                    f"is signed by {other.name}+{other.id.hex()}, and a log of that size is "
                    f"{by.name}+{by.id.hex()}'s to sign"
                )
        return problem

    def followed(self, changes: Sequence[KeyChange]) -> Keys:
        """These keys with those that they vouch for: the ones after them and the ones before.

        ``changes`` are all that the log states, in its order. The newest key is followed where it
        signed the change away from itself, the oldest where it signed the one to itself.
        :class:`ValidationFailed` for a change that leads from or to no key that is known so.
        """
        verifiers, until = list(self.verifiers), list(self.until)
        for change in changes:
            if change.old == verifiers[-1] and change.signed_by(change.old):
                verifiers.append(change.new)
                until.append(change.size)
        for change in reversed(changes):
            if change.new == verifiers[0] and change.signed_by(change.new):
                verifiers.insert(0, change.old)
                until.insert(0, change.size)
        ends = dict(zip(pairwise(verifiers), until, strict=True))
        for change in changes:
            # Whoever publishes the keys may end one earlier than the log does.
            if ends.get((change.old, change.new), change.size + 1) > change.size:
                raise ValidationFailed(
                    f"entry {change.size + 1} changes the checkpoints' key to "
                    f"{change.new.name}+{change.new.id.hex()}, and no key that is known says so; "
                    "take the keys from where they are published"
                )
        if until != sorted(until) or len(set(verifiers)) < len(verifiers):
            raise ValidationFailed("the changes of the checkpoints' key contradict each other")
        return Keys(tuple(verifiers), tuple(until))


def signed_note(origin: str, size: int, root: bytes, chain: bytes, signer: Signer | None) -> Note:
    """The checkpoint of a log; Ed25519 is deterministic, so the same one has the same bytes."""
    text = f"{origin}\n{size}\n{b64encode(root).decode()}\nchain {chain.hex()}\n"
    signatures: tuple[tuple[str, bytes], ...] = ()
    if signer is not None:
        raw = signer.verifier.id + signer.key.sign(text.encode())
        signatures = ((signer.name, raw),)
    return Note(origin, size, root, chain, text, signatures)


def parse_note(note: str) -> Note:
    """A note from its text; :class:`ValidationFailed` where it is none. Checks no signature."""
    text, gap, rest = note.rpartition("\n\n")
    text += "\n"
    lines = text.split("\n")[:-1]
    try:
        if not gap or len(lines) < 3 or not all(lines):
            raise ValueError("expected a text, an empty line, and signatures")
        if any(c < " " and c != "\n" for c in note):
            raise ValueError("it has a control character")
        origin, size, root = lines[0], lines[1], b64decode(lines[2], validate=True)
        if len(root) != 32 or not re.fullmatch(r"0|[1-9][0-9]{0,18}", size):
            raise ValueError("expected a size and a root of 32 bytes")
        chains = [line[6:] for line in lines[3:] if line.startswith("chain ")]
        chain = bytes.fromhex(chains[0]) if chains else b""
        if len(chains) > 1 or len(chain) not in (0, 32):
            raise ValueError("expected one chain hash of 32 bytes")
        found = Note(origin, int(size), root, chain, text, tuple(_signatures(rest)))
        # Base64 and hex can be written in several ways, and a note in one.
        exact = lines[2] == b64encode(root).decode() and chains in ([], [chain.hex()])
        if not exact or str(found) != note:
            raise ValueError("it is not written as notes are")
    except (ValueError, NotBase64) as error:
        raise ValidationFailed(f"is no checkpoint: {error}") from None
    return found


def _signature_lines(signatures: Iterable[tuple[str, bytes]]) -> str:
    return "".join(f"{DASH}{name} {b64encode(raw).decode()}\n" for name, raw in signatures)


def _signatures(lines: str) -> list[tuple[str, bytes]]:
    found = []
    if lines and not lines.endswith("\n"):
        raise ValueError("the last line is cut off")
    for line in lines.split("\n")[:-1]:
        mark, name, raw = line[:2], *line[2:].split(" ", 1)
        if mark != DASH or not NAME.fullmatch(name):
            raise ValueError(f"{line[:40]!r} is no signature")
        found.append((name, b64decode(raw, validate=True)))
    return found
