"""The verifier's own arithmetic, against published vectors."""

from __future__ import annotations

import pytest

from reporting.standalone import Log, Wrong, notes_of, signed_by

#: RFC 8032, 7.1: key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
        "f9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
        "f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f76098"
        "4dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_signatures_of_rfc_8032(key: str, message: str, signature: str) -> None:
    public, said, signed = map(bytes.fromhex, (key, message, signature))
    assert signed_by(public, said, signed)
    assert not signed_by(public, said + b"x", signed)
    for place in range(64):
        changed = bytearray(signed)
        changed[place] ^= 1
        assert not signed_by(public, said, bytes(changed))
    # The same signature with the group's order added to its scalar, which a loose check accepts.
    scalar = int.from_bytes(signed[32:], "little") + 2**252 + 27742317777372353535851937790883648493
    assert not signed_by(public, said, signed[:32] + scalar.to_bytes(32, "little"))


def test_the_tree_of_rfc_6962() -> None:
    """The roots of Certificate Transparency's own eight entries."""
    entries = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
               "606162636465666768696a6b6c6d6e6f"]  # fmt: skip
    roots = {
        0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    log = Log()
    assert log.root().hex() == roots[0]
    for number, entry in enumerate(entries, 1):
        log.append(bytes.fromhex(entry))
        if number in roots:
            assert log.root().hex() == roots[number]


@pytest.mark.parametrize("text", ["", "origin\n", "origin\n01\nAAAA\n\n", "\n3\nAAAA\n\n", "x"])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    if text:
        with pytest.raises(Wrong):
            notes_of(text)
    else:
        assert notes_of(text) == []
