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

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from hashlib import sha256

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
        lines = (f"{DASH}{name} {b64encode(raw).decode()}\n" for name, raw in self.signatures)
        return self.text + "\n" + "".join(lines)

    def problem(self, verifier: Verifier) -> str:
        """ "" if ``verifier`` signed this note; its first signature line decides."""
        for name, raw in self.signatures:
            if name == verifier.name and raw[:ID] == verifier.id:
                good = verifier.accepts(self.text.encode(), raw[ID:])
                return "" if good else f"the signature of {name} is wrong"
        return f"is not signed by {verifier.name}+{verifier.id.hex()}"


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
        origin, size, root = lines[0], lines[1], b64decode(lines[2], validate=True)
        if len(root) != 32 or not re.fullmatch(r"0|[1-9][0-9]{0,18}", size):
            raise ValueError("expected a size and a root of 32 bytes")
        chains = [line[6:] for line in lines[3:] if line.startswith("chain ")]
        chain = bytes.fromhex(chains[0]) if chains else b""
        if len(chains) > 1 or len(chain) not in (0, 32):
            raise ValueError("expected one chain hash of 32 bytes")
        found = Note(origin, int(size), root, chain, text, tuple(_signatures(rest)))
        if str(found) != note:  # base64 and hex can be written in several ways
            raise ValueError("it is not written as notes are")
    except (ValueError, NotBase64) as error:
        raise ValidationFailed(f"is no checkpoint: {error}") from None
    return found


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
