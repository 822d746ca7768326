"""Signatures by a real authority: what comes out, what is refused, and what is said."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import page as validator
import pytest
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigFieldSpec
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner, SimpleSigner
from pypdf import PdfReader

from reporting import archival, render, signing
from reporting.errors import ReportingError, SigningFailed, SigningUnavailable
from reporting.page import Kind
from reporting.signing import Signed, sign, verify

from .authority import PASSWORD, Authority


def problems(pdf: bytes, trust: Path, evidence: Any = None) -> str:
    return "; ".join(verify(pdf, trust, evidence).problems)


def failures(pdf: bytes) -> list[str]:
    profiles = validator.ValidationProfile
    return [
        found.message
        for profile in (profiles.PDF_A_3A, profiles.PDF_UA_1)
        for found in validator.validate_pdf_bytes(pdf, profile=profile).failures
    ]


# --- what comes out --------------------------------------------------------------------------


def test_a_signature_is_only_appended(signed: Signed, small: bytes) -> None:
    assert signed.pdf[: len(small)] == small
    appended = signed.pdf[len(small) :]
    assert b"/ETSI.CAdES.detached" in appended
    for untouched in (b"/Type /Metadata", b"xmpmeta", b"/DSS", b"/ModDate", b"/StructElem"):
        assert untouched not in appended


@pytest.mark.parametrize("kind", [Kind.DAILY, Kind.WEEKLY, Kind.MONTHLY])
def test_a_signed_report_is_archival_and_accessible(
    kind: Kind, documents: ModuleType, authority: Authority, now: datetime, tmp_path: Path
) -> None:
    document = documents.document(kind).model_copy(update={"signed": True})
    unsigned = render.render_pdf(render.render_html(document), document)
    signed = sign(unsigned, authority.credentials(), now)
    assert failures(signed.pdf) == []
    assert signed.pdf[: len(unsigned)] == unsigned
    assert PdfReader(io.BytesIO(signed.pdf)).attachments.keys() == (
        PdfReader(io.BytesIO(unsigned)).attachments.keys()
    )
    path = tmp_path / "report.pdf"
    path.write_bytes(signed.pdf)
    if shutil.which("qpdf"):
        done = subprocess.run(["qpdf", "--check", str(path)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_it_verifies_offline_and_says_who_and_when(
    signed: Signed, authority: Authority, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked somebody"))
    found = verify(signed.pdf, authority.roots, signed.evidence)
    assert found.problems == ()
    assert found.signer == "Example signer"
    assert found.authority == "Example stamps"
    assert found.stamped_at is not None
    assert abs(found.stamped_at - now) < timedelta(minutes=10)
    assert verify(signed.pdf, authority.roots).problems == ()


def test_what_proves_the_certificates_is_kept_beside_it(signed: Signed) -> None:
    assert sorted(signed.evidence) == ["certificates.pem", "revoked-1.crl"]
    chain = signed.evidence["certificates.pem"]
    assert chain.count(b"BEGIN CERTIFICATE") == 5  # signer, intermediate, root; stamps, clock


def test_the_written_time_is_the_one_that_was_given(signed: Signed, now: datetime) -> None:
    reader = PdfReader(io.BytesIO(signed.pdf))
    (field,) = reader.trailer["/Root"]["/AcroForm"]["/Fields"]
    signature = field.get_object()["/V"]
    assert signature["/M"].startswith(f"D:{now:%Y%m%d%H%M%S}")
    assert field.get_object()["/TU"] == archival.SIGNATURE_WORDS


# --- what is refused when checking -----------------------------------------------------------


def test_no_changed_byte_is_accepted(signed: Signed, authority: Authority, small: bytes) -> None:
    chance = random.Random(31)
    # The signature itself is hex digits, whose case means nothing, and zeros for the room left.
    start = signed.pdf.index(b"/Contents <", len(small)) + 11
    end = signed.pdf.index(b"00000000", start)
    places = [*range(start, end, (end - start) // 60)]
    places += [
        n for n in chance.sample(range(len(signed.pdf)), 200) if not start <= n < end + 65536
    ]
    accepted = []
    for place in places:
        old = signed.pdf[place]
        new = ord("1") if old != ord("1") else ord("2")
        changed = signed.pdf[:place] + bytes([new]) + signed.pdf[place + 1 :]
        if not problems(changed, authority.roots, signed.evidence):
            accepted.append(place)
    assert accepted == []


@pytest.mark.parametrize(
    "more", [b"\n", b"%%EOF\n", b"% nothing\nstartxref\n0\n%%EOF\n"], ids=["line", "end", "comment"]
)
def test_nothing_may_follow(signed: Signed, authority: Authority, more: bytes) -> None:
    assert problems(signed.pdf + more, authority.roots, signed.evidence)


def test_a_later_revision_is_refused_however_harmless(signed: Signed, authority: Authority) -> None:
    writer = IncrementalPdfFileWriter(io.BytesIO(signed.pdf))
    writer.update_root()
    out = io.BytesIO()
    writer.write(out)
    assert "was appended to" in problems(out.getvalue(), authority.roots, signed.evidence)


def test_a_second_signature_is_refused(signed: Signed, authority: Authority) -> None:
    own = authority.credentials()
    signer = SimpleSigner.load_pkcs12(own.pkcs12_file, passphrase=PASSWORD.encode())
    out = PdfSigner(
        PdfSignatureMetadata(field_name="Another"), signer, new_field_spec=SigFieldSpec("Another")
    ).sign_pdf(IncrementalPdfFileWriter(io.BytesIO(signed.pdf)))
    assert "was changed after it was signed" in problems(
        out.getvalue(), authority.roots, signed.evidence
    )


def test_a_signature_without_a_time_stamp_is_refused(small: bytes, authority: Authority) -> None:
    own = authority.credentials()
    signer = SimpleSigner.load_pkcs12(own.pkcs12_file, passphrase=PASSWORD.encode())
    out = PdfSigner(PdfSignatureMetadata(field_name=archival.SIGNATURE_FIELD), signer).sign_pdf(
        IncrementalPdfFileWriter(io.BytesIO(small))
    )
    # pyHanko's own signing changes the metadata, which the one form of our files does not allow.
    assert problems(out.getvalue(), authority.roots) == "was changed after it was signed"


def test_pyhanko_by_itself_would_break_the_archive(small: bytes, authority: Authority) -> None:
    """Why its metadata are left alone; when this fails, that is no longer needed."""
    own = authority.credentials()
    signer = SimpleSigner.load_pkcs12(own.pkcs12_file, passphrase=PASSWORD.encode())
    out = PdfSigner(PdfSignatureMetadata(field_name=archival.SIGNATURE_FIELD), signer).sign_pdf(
        IncrementalPdfFileWriter(io.BytesIO(small))
    )
    assert failures(out.getvalue()) != []


def test_trust_is_needed_in_both(signed: Signed, authority: Authority) -> None:
    assert "the signer is not trusted" in problems(signed.pdf, authority.pem("clock"))
    only_signer = problems(signed.pdf, authority.pem("root"))
    assert only_signer.startswith("the time-stamp authority is not trusted")
    assert problems(b"%PDF-1.7\nnothing", authority.roots) == "is not signed"


def test_an_unsigned_report_is_not_called_signed(small: bytes, authority: Authority) -> None:
    assert problems(small, authority.roots) == "is not signed"


def test_evidence_that_does_not_settle_it_is_refused(signed: Signed, authority: Authority) -> None:
    lacking = {"certificates.pem": signed.evidence["certificates.pem"]}
    assert "the signer is not trusted" in problems(signed.pdf, authority.roots, lacking)
    spoilt = {**signed.evidence, "revoked-1.crl": signed.evidence["revoked-1.crl"][:-1] + b"\0"}
    assert problems(signed.pdf, authority.roots, spoilt)


# --- what is refused when signing ------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "kind", "words"),
    [
        ("expired", SigningFailed, "expired at 2021-01-01"),
        ("early", SigningFailed, "is not valid before 2090-01-01"),
        ("revoked", SigningFailed, "was revoked at .* due to a compromised key"),
        ("small", SigningFailed, "2048 bits, expected 3072"),
        ("curve", SigningFailed, "has a key of EC, expected RSA"),
        ("encipher", SigningFailed, "may not sign documents"),
        ("unreachable", SigningUnavailable, "could not be looked up"),
    ],
)
def test_a_certificate_that_may_not_sign(
    label: str,
    kind: type[ReportingError],
    words: str,
    small: bytes,
    authority: Authority,
    now: datetime,
) -> None:
    with pytest.raises(SigningFailed, match=words) as refused:
        sign(small, authority.credentials(label), now)
    assert type(refused.value) is kind
    assert refused.value.exit_code == (75 if kind is SigningUnavailable else 4)
    assert f"Example {label}" in str(refused.value)


def test_a_key_that_does_not_open(
    small: bytes, authority: Authority, now: datetime, tmp_path: Path
) -> None:
    good = authority.credentials()
    garbage, empty = tmp_path / "garbage.p12", tmp_path / "empty.crt"
    garbage.write_bytes(b"no key")
    empty.write_bytes(b"")
    for changed, words in (
        (replace(good, password="wrong"), "password in REPORTING_SIGNING_PASSWORD_FILE"),
        (replace(good, password=None), "password in REPORTING_SIGNING_PASSWORD_FILE"),
        (replace(good, pkcs12_file=garbage), "is no PKCS#12 file"),
        (replace(good, pkcs12_file=tmp_path / "gone.p12"), "No such file"),
        (replace(good, pkcs12_file=tmp_path), "Is a directory"),
        (
            replace(good, pkcs12_file=authority.bundle("signer", key="other")),
            "certificate is of another key",
        ),
        (replace(good, trust_file=tmp_path / "gone.crt"), "REPORTING_SIGNING_TRUST_FILE"),
        (replace(good, trust_file=empty), "holds no certificate"),
        (replace(good, chain_file=garbage), "REPORTING_SIGNING_CHAIN_FILE"),
        (replace(good, trust_file=authority.pem("clock")), "no chain leads from Example signer"),
    ):
        with pytest.raises(SigningFailed, match=words) as refused:
            sign(small, changed, now)
        assert PASSWORD not in str(refused.value)
        assert refused.value.exit_code == 4


def test_the_chain_may_come_from_a_file(
    small: bytes, authority: Authority, now: datetime, tmp_path: Path
) -> None:
    alone = tmp_path / "alone.p12"
    alone.write_bytes(authority.alone("signer"))
    by = authority.credentials(pkcs12_file=alone)
    with pytest.raises(SigningFailed, match="no chain leads"):
        sign(small, by, now)
    done = sign(small, replace(by, chain_file=authority.pem("inter")), now)
    assert problems(done.pdf, authority.roots, done.evidence) == ""


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("/broken/500", "HTTP status 500"),
        ("/broken/garbage", "gave no time stamp"),
        ("/broken/slow", "timed out"),
        ("http://127.0.0.1:1/", "refused"),
        ("no address", "gave no time stamp"),
    ],
)
def test_a_time_stamp_authority_that_does_not_answer(
    where: str, words: str, small: bytes, authority: Authority, now: datetime
) -> None:
    url = authority.url + where if where.startswith("/") else where
    by = authority.credentials(timestamp_url=url, timeout_s=1)
    with pytest.raises(SigningUnavailable, match=words) as refused:
        sign(small, by, now)
    assert refused.value.exit_code == 75
    assert url in str(refused.value)


def test_a_time_stamp_that_nobody_trusts_is_not_issued(
    small: bytes, authority: Authority, now: datetime
) -> None:
    by = authority.credentials(trust_file=authority.pem("root"))
    with pytest.raises(SigningFailed, match="time-stamp authority is not trusted"):
        sign(small, by, now)


# --- a key on a token ------------------------------------------------------------------------

HSM = Path(__file__).parents[2] / "var" / "tools" / "usr"
MODULE = HSM / "lib" / "softhsm" / "libsofthsm2.so"
PIN = "1234"


@pytest.fixture
def token(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A software token that holds the signer's key and certificate."""
    pkcs11 = pytest.importorskip("pkcs11", reason="no python-pkcs11")
    if not MODULE.is_file():
        pytest.skip("no SoftHSM in var/tools: `make setup` fetches it where the system has it")
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    tool = [str(HSM / "bin" / "softhsm2-util"), "--module", str(MODULE)]
    key = tmp_path / "key.pem"
    shutil.copy(authority.folder / "signer.pem", key)
    for arguments in (
        ["--init-token", "--free", "--label", "reports", "--so-pin", PIN, "--pin", PIN],
        ["--import", str(key), "--token", "reports", "--label", "key", "--id", "01", "--pin", PIN],
    ):
        subprocess.run([*tool, *arguments], check=True, capture_output=True)
    from pkcs11.util.x509 import decode_x509_certificate

    der = authority.der("signer")
    with (
        pkcs11.lib(str(MODULE))
        .get_token(token_label="reports")
        .open(rw=True, user_pin=PIN) as session
    ):
        session.create_object(
            {**decode_x509_certificate(der), pkcs11.Attribute.LABEL: "key",
             pkcs11.Attribute.ID: b"\x01", pkcs11.Attribute.TOKEN: True}
        )  # fmt: skip
    return "reports"


def test_a_key_on_a_token_signs(
    token: str, small: bytes, authority: Authority, now: datetime
) -> None:
    """All in one test: the driver finds new tokens only when it is loaded."""
    by = authority.credentials(
        pkcs12_file=None,
        pkcs11_module=MODULE,
        token_label=token,
        key_label="key",
        password=PIN,
        chain_file=authority.pem("inter"),
    )
    done = sign(small, by, now)
    assert problems(done.pdf, authority.roots, done.evidence) == ""
    assert failures(done.pdf) == []
    for changed, words in (
        (replace(by, password="0000"), "refuses the PIN"),
        (replace(by, token_label="other"), "no token 'other'"),
        (replace(by, key_label="other"), "no key with a certificate named 'other'"),
        (replace(by, pkcs11_module=Path("gone.so")), "see REPORTING_SIGNING_PKCS11_MODULE"),
    ):
        with pytest.raises(SigningFailed, match=words):
            sign(small, changed, now)


def test_credentials_do_not_print_their_password(authority: Authority) -> None:
    assert PASSWORD not in repr(authority.credentials())
    assert signing.SMALLEST_KEY_BITS == 3072
