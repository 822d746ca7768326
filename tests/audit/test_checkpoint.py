"""Signed notes against Go's vectors; what is no note, and what a wrong key looks like."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from reporting.errors import UsageError, ValidationFailed
from reporting.seal import Note, Signer, Verifier, new_key, parse_note, signed_note

# golang.org/x/mod/sumdb/note: the key and the note of its tests.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SEED = b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
SIGNATURE = (
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)
ROOT, CHAIN = bytes(range(32)), bytes(range(32, 64))


def peter() -> Signer:
    return Signer("PeterNeumann", Ed25519PrivateKey.from_private_bytes(SEED))


def test_key_and_signature_are_those_of_the_reference() -> None:
    signer = peter()
    assert str(signer.verifier) == VKEY
    assert Verifier.parse(VKEY) == signer.verifier
    raw = signer.verifier.id + signer.key.sign(TEXT.encode())
    assert b64encode(raw).decode() == SIGNATURE
    note = Note("", 0, b"", b"", TEXT, (("PeterNeumann", b64decode(SIGNATURE)),))
    assert str(note) == f"{TEXT}\n— PeterNeumann {SIGNATURE}\n"
    assert note.problem(signer.verifier) == ""


def test_a_checkpoint_is_what_c2sp_says() -> None:
    note = signed_note("PeterNeumann", 20852163, ROOT, CHAIN, peter())
    lines = str(note).split("\n")
    assert lines[:3] == ["PeterNeumann", "20852163", b64encode(ROOT).decode()]
    assert lines[3:5] == [f"chain {CHAIN.hex()}", ""]
    assert lines[5].startswith("— PeterNeumann x08go")
    assert lines[6:] == [""]
    assert parse_note(str(note)) == note
    assert note.signed and note.problem(peter().verifier) == ""
    assert str(signed_note("PeterNeumann", 20852163, ROOT, CHAIN, peter())) == str(note)


def test_without_a_key_it_is_unsigned_and_says_so() -> None:
    note = signed_note("a/b", 3, ROOT, CHAIN, None)
    assert parse_note(str(note)) == note
    assert not note.signed
    assert "is not signed by PeterNeumann" in note.problem(peter().verifier)


def test_the_example_of_c2sp_is_read() -> None:
    """It has no line of ours."""
    note = parse_note(
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/"
        "Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    )
    assert (note.origin, note.size, note.chain_hash) == (
        "example.com/behind-the-sofa",
        20852163,
        b"",
    )


def test_no_changed_character_of_a_note_is_accepted() -> None:
    whole = str(signed_note("PeterNeumann", 245, ROOT, CHAIN, peter()))
    verifier, accepted = peter().verifier, []
    for at in range(len(whole)):
        for other in (whole[:at] + whole[at + 1 :], whole[:at] + "~" + whole[at + 1 :],
                      whole[:at] + "\n" + whole[at:], whole[:at] + whole[at].swapcase()
                      + whole[at + 1 :]):  # fmt: skip
            try:
                if other != whole and not parse_note(other).problem(verifier):
                    accepted.append(other)
            except ValidationFailed:
                continue
    assert accepted == []


@pytest.mark.parametrize(
    "text",
    [
        "", "\n\n", "a\n1\n\n", f"a\n01\n{b64encode(ROOT).decode()}\n\n",
        f"a\n-1\n{b64encode(ROOT).decode()}\n\n", "a\n1\nAAAA\n\n",
        f"a\n1\n{b64encode(ROOT).decode()}\nchain 00\n\n",
        f"a\n1\n{b64encode(ROOT).decode()}\n\n-- a AAAA\n",
        f"a\n1\n{b64encode(ROOT).decode()}\n\n— a AAAA",
        f"a\t\n1\n{b64encode(ROOT).decode()}\n\n",
        f"a\n1\n{b64encode(ROOT).decode()}\nchain {CHAIN.hex().upper()}\n\n— a AAA\n",
    ],
)  # fmt: skip
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(ValidationFailed, match="is no checkpoint"):
        parse_note(text)


def test_a_bad_signature_is_not_made_good_by_a_second_one() -> None:
    good = signed_note("PeterNeumann", 245, ROOT, CHAIN, peter())
    name, raw = good.signatures[0]
    bad = (name, raw[:-1] + bytes([raw[-1] ^ 1]))
    both = Note(good.origin, 245, ROOT, CHAIN, good.text, (bad, good.signatures[0]))
    assert both.problem(peter().verifier) == "the signature of PeterNeumann is wrong"
    other = ("PeterNeumann", b"\0\0\0\0" + raw[4:])  # another key of the same name is ignored
    assert (
        Note("", 0, b"", b"", good.text, (other, good.signatures[0])).problem(peter().verifier)
        == ""
    )


def test_no_mangled_public_key_is_accepted() -> None:
    for at in range(len(VKEY)):
        for other in (VKEY[at + 1 :], VKEY[:at], VKEY[:at] + chr(ord(VKEY[at]) + 1)
                      + VKEY[at + 1 :]):  # fmt: skip
            with pytest.raises(UsageError, match="no public key"):
                Verifier.parse(other)
    unknown = "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    longer = "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY=="
    for other in (unknown, longer):
        with pytest.raises(UsageError, match="no public key"):
            Verifier.parse(other)


def test_a_key_that_can_not_sign_is_named() -> None:
    pem = Ed25519PrivateKey.generate()
    locked = pem.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    rsa = generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for wrong in (b"", b"hello", locked, rsa):
        with pytest.raises(UsageError, match=r"key\.pem is no Ed25519 key"):
            Signer.load("a/b", wrong, "key.pem")
    for name in ("", "a b", "a+b", "a\u00a0b"):
        with pytest.raises(UsageError, match="CHECKPOINT_ORIGIN"):
            Signer.load(name, new_key(), "key.pem")
    assert "Ed25519" not in repr(Signer.load("a/b", new_key(), "key.pem"))
