"""Signing a report's PDF, and checking such a signature offline: the only door to pyHanko.

The signature is PAdES B-T (ETSI EN 319 142-1): RSA of at least 3072 bits with SHA-256, and an
RFC 3161 time stamp over it. ECDSA is refused, since it raises the PDF's version to 2.0, which
PDF/A-3 is not. What proves that no certificate was revoked (CRLs, OCSP responses) is returned
beside the file and not put into it: that would be one more revision, which is refused here as
anything is that is appended to a signed report.

A signed file begins with the unsigned one, byte for byte. Signing is the one thing that can not be
repeated, so whoever wants the file again has to keep what was appended.

A signature covers neither itself nor the container around it (RFC 5652), nor the room that a PDF
leaves for it. All of that is written here in one way only, which follows from what is covered
(``_strict``), and any other is refused: no byte of a signed file can be another one.

pyHanko and the services it asks work by the machine's clock. ``now`` is what is written into the
signature; what counts is the authority's time stamp.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from asn1crypto import algos, cms, pem, tsp, x509
from cryptography.hazmat.primitives.serialization import pkcs12
from pyhanko.keys.internal import (
    translate_pyca_cryptography_cert_to_asn1,
    translate_pyca_cryptography_key_to_asn1,
)
from pyhanko.keys.pemder import load_certs_from_pemder_data
from pyhanko.pdf_utils.generic import DictionaryObject, Reference
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner, Signer, SimpleSigner
from pyhanko.sign.signers.pdf_cms import PdfCMSSignedAttributes
from pyhanko.sign.timestamps.requests_client import RequestsHTTPTimeStamper
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko.sign.validation.status import SignatureCoverageLevel, SignatureStatus
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import (
    ExpiredError,
    InsufficientRevinfoError,
    NotYetValidError,
    PathBuildingError,
    PathValidationError,
    RevokedError,
)
from pyhanko_certvalidator.errors import ValidationError as CertificateRefused
from pyhanko_certvalidator.fetchers.requests_fetchers import RequestsFetcherBackend
from pyhanko_certvalidator.registry import SimpleCertificateStore

from .archival import SIGNATURE_FIELD
from .errors import SigningFailed, SigningUnavailable

for _name_of_logger in ("pyhanko", "pyhanko_certvalidator"):
    # They print a traceback for every broken file; what is wrong is said here, in words.
    logging.getLogger(_name_of_logger).addHandler(logging.NullHandler())

SMALLEST_KEY_BITS = 3072
#: Room for signature, time stamp and both chains; about 10 kB are used.
CONTAINER_BYTES = 32_768


@dataclass(frozen=True)
class Credentials:
    """Who signs, and who vouches for the time.

    The key is in a PKCS#12 file or, if ``pkcs11_module`` is set, on a token. ``chain_file`` has
    certificates between the signer's and the root, ``trust_file`` the roots of signer and
    time-stamp authority (PEM or DER). ``password`` opens the file or the token.
    """

    timestamp_url: str
    trust_file: Path
    pkcs12_file: Path | None = None
    pkcs11_module: Path | None = None
    token_label: str = ""
    key_label: str = ""
    password: str | None = field(default=None, repr=False)
    chain_file: Path | None = None
    timeout_s: int = 20


@dataclass(frozen=True)
class Signed:
    """A signed PDF, and what proves the state of its certificates at that time, by file name."""

    pdf: bytes
    evidence: Mapping[str, bytes]


@dataclass(frozen=True)
class Parts:
    """A report's PDF taken apart, nothing of it checked.

    ``rendered`` is the file as it was before it was signed; ``files`` are those inside it.
    """

    rendered: bytes
    signed: bool
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Verified:
    """What a signature is worth; nothing is wrong where ``problems`` is empty."""

    problems: tuple[str, ...]
    signer: str = ""
    authority: str = ""
    stamped_at: datetime | None = None


def sign(unsigned: bytes, by: Credentials, now: datetime) -> Signed:
    """``unsigned`` with its empty field signed; raises :class:`SigningFailed` and says why.

    Nothing is signed by a certificate that is not valid at ``now``, is revoked, or whose
    revocation can not be looked up where it says. The result has been verified.
    """
    roots = certificates_of(by.trust_file, "REPORTING_SIGNING_TRUST_FILE")
    chain = certificates_of(by.chain_file, "REPORTING_SIGNING_CHAIN_FILE")
    if by.pkcs11_module is None:
        return asyncio.run(_sign(unsigned, _signer_of_file(by, chain), by, roots, now))
    session = _token_session(by)
    try:
        return asyncio.run(_sign(unsigned, _signer_of_token(session, by, chain), by, roots, now))
    finally:
        session.close()


def verify(
    pdf: bytes, trust_file: Path | None, evidence: Mapping[str, bytes] | None = None
) -> Verified:
    """Check the signature of ``pdf`` without asking anybody.

    ``trust_file`` has the roots of signer and time-stamp authority; without them the file is only
    found whole, and nobody is named. ``evidence`` is what :func:`sign` returned beside the file:
    with it, a certificate whose revocation it does not settle is refused. Certificates are judged
    at the time of the stamp: an expired one signed well when it was valid.
    """
    roots = certificates_of(trust_file, "REPORTING_SIGNING_TRUST_FILE")
    try:
        room = _room(pdf)
        if isinstance(room, str):
            return Verified((room,))
        found = _only_signature(pdf)
        if isinstance(found, str):
            return Verified((found,))
        if trust_file is None:
            return Verified(() if _adds_only_itself(found) else (_MORE,))
        stamped_at = _stamped_at(found)
        if stamped_at is None:
            return Verified(("has no time stamp",))
        context = ValidationContext(
            trust_roots=roots,
            moment=stamped_at,
            crls=[b for n, b in (evidence or {}).items() if n.endswith(".crl")],
            ocsps=[b for n, b in (evidence or {}).items() if n.endswith(".ocsp")],
            revocation_mode="hard-fail" if evidence else "soft-fail",
            retroactive_revinfo=True,  # a list of a moment later says more, not less
        )
        verdict, chains = asyncio.run(_judged(found, context))
        if verdict.problems:
            return verdict
        if _strict(room.container, chains) != room.container.dump():
            return Verified(("holds more than a signature needs, or has it in another form",))
        if not _adds_only_itself(found):
            return Verified((_MORE,))
        return verdict
    except Exception as error:  # what was changed can break a reader anywhere
        return Verified((f"can not be read as a signed PDF: {error}",))


def damage(pdf: bytes) -> str:
    """What was changed in ``pdf`` since it was signed, by whomever; "" for nothing, or unsigned.

    Cheap: a hash of the file. :func:`verify` finds this too, and all else.
    """
    if b"/ByteRange" not in pdf:
        return ""
    try:
        room = _room(pdf)
    except Exception as error:  # what was changed can break a reader anywhere
        return f"can not be read as a signed PDF: {error}"
    return room if isinstance(room, str) else ""


def parts(pdf: bytes) -> Parts:
    """Take a PDF that was rendered here, signed or not, apart; :class:`ValueError` for another."""
    try:
        reader = PdfFileReader(io.BytesIO(pdf))
        start = reader.xrefs.get_startxref_for_revision(0)
        rendered = pdf[: pdf.index(_END, start) + len(_END)]
        files = {}
        for reference in PdfFileReader(io.BytesIO(rendered)).root["/AF"]:
            item = reference.get_object()
            files[str(item["/UF"])] = bytes(item["/EF"]["/F"].data)
    except Exception as error:  # what was changed can break a reader anywhere
        raise ValueError(f"can not be read as the PDF of a report: {error}") from None
    return Parts(rendered, len(rendered) < len(pdf), files)


_END = b"%%EOF\n"


# --- keys and certificates -----------------------------------------------------------------


def certificates_of(path: Path | None, setting: str) -> list[x509.Certificate]:
    """The certificates of a PEM or DER file, none where no file is set."""
    if path is None:
        return []
    try:
        found = list(load_certs_from_pemder_data(path.read_bytes()))
        for certificate in found:
            _ = certificate.subject.native, certificate.not_valid_after  # parsed when asked
    except OSError as error:
        raise SigningFailed(
            f"the certificates in {path} can't be read ({error.strerror}); see {setting}"
        ) from None
    except (ValueError, TypeError):
        found = []
    if not found:
        raise SigningFailed(f"{path} holds no certificate, expected PEM or DER; see {setting}")
    return found


def _signer_of_file(by: Credentials, chain: Sequence[x509.Certificate]) -> Signer:
    """The signer of a PKCS#12 file, whose key and certificate belong together."""
    path = by.pkcs12_file
    assert path is not None
    again = "see REPORTING_SIGNING_PKCS12_FILE"
    try:
        body = path.read_bytes()
    except OSError as error:
        raise SigningFailed(f"the key {path} can't be read ({error.strerror}); {again}") from None
    try:
        bundle = pkcs12.load_pkcs12(body, (by.password or "").encode() or None)
    except (ValueError, TypeError):
        raise SigningFailed(
            f"{path} does not open: the password in REPORTING_SIGNING_PASSWORD_FILE is not its "
            "own, or it is no PKCS#12 file"
        ) from None
    if bundle.key is None or (bundle.cert is None and not bundle.additional_certs):
        raise SigningFailed(f"{path} needs a private key and its certificate; {again}")
    if bundle.cert is None or bundle.cert.certificate.public_key() != bundle.key.public_key():
        raise SigningFailed(f"{path}: its certificate is of another key; {again}")
    store = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    store.register_multiple(
        [translate_pyca_cryptography_cert_to_asn1(c.certificate) for c in bundle.additional_certs]
    )
    store.register_multiple(chain)
    return SimpleSigner(
        signing_cert=translate_pyca_cryptography_cert_to_asn1(bundle.cert.certificate),
        signing_key=translate_pyca_cryptography_key_to_asn1(bundle.key),
        cert_registry=store,
    )


def _token_session(by: Credentials) -> Any:
    """An open session on the token; its driver is an extra that only this needs."""
    try:
        from pkcs11.exceptions import PinIncorrect, PKCS11Error
        from pyhanko.config.pkcs11 import TokenCriteria
        from pyhanko.sign.pkcs11 import open_pkcs11_session
    except ImportError:
        raise SigningFailed(
            "a PKCS#11 token needs the extra: pip install 'reporting[pkcs11]'"
        ) from None
    try:
        return open_pkcs11_session(
            str(by.pkcs11_module),
            token_criteria=TokenCriteria(label=by.token_label),
            user_pin=by.password,
        )
    except PinIncorrect:
        raise SigningFailed(
            f"the token {by.token_label!r} refuses the PIN in REPORTING_SIGNING_PASSWORD_FILE"
        ) from None
    except (PKCS11Error, RuntimeError) as error:
        raise SigningFailed(
            f"no token {by.token_label!r} by {by.pkcs11_module} ({error or type(error).__name__}); "
            "see REPORTING_SIGNING_PKCS11_MODULE and REPORTING_SIGNING_TOKEN_LABEL"
        ) from None


def _signer_of_token(session: Any, by: Credentials, chain: Sequence[x509.Certificate]) -> Signer:
    from pkcs11.exceptions import PKCS11Error
    from pyhanko.sign.pkcs11 import PKCS11Signer

    signer = PKCS11Signer(session, by.key_label, key_label=by.key_label, ca_chain=chain)
    try:
        assert signer.signing_cert is not None
    except PKCS11Error as error:
        raise SigningFailed(
            f"the token {by.token_label!r} has no key with a certificate named {by.key_label!r} "
            f"({error}); see REPORTING_SIGNING_KEY_LABEL"
        ) from None
    return signer


def _check_certificate(certificate: x509.Certificate, now: datetime) -> None:
    """Raise :class:`SigningFailed` for one that may not sign now, or not a PDF/A-3."""
    name = _name(certificate)
    key = certificate.public_key
    if key.algorithm != "rsa":
        raise SigningFailed(
            f"{name} has a key of {key.algorithm.upper()}, expected RSA: a signature of another "
            "kind needs PDF 2.0, which PDF/A-3 is not; use another key"
        )
    if key.bit_size < SMALLEST_KEY_BITS:
        raise SigningFailed(
            f"{name} has an RSA key of {key.bit_size} bits, expected {SMALLEST_KEY_BITS} or more; "
            "use another key"
        )
    if now > certificate.not_valid_after:
        raise SigningFailed(
            f"{name} expired at {certificate.not_valid_after.isoformat()}; renew the certificate"
        )
    if now < certificate.not_valid_before:
        raise SigningFailed(
            f"{name} is not valid before {certificate.not_valid_before.isoformat()}; use the one "
            "that is valid now, or set the clock"
        )
    usage = certificate.key_usage_value
    if usage is not None and not usage.native & _SIGNING_USES:
        raise SigningFailed(
            f"{name} may not sign documents, only {', '.join(sorted(usage.native))}; expected "
            "digital signature or non-repudiation"
        )


def _name(certificate: x509.Certificate) -> str:
    """The subject's common name, or all of the subject where it has none."""
    subject = certificate.subject
    return str(subject.native.get("common_name") or subject.human_friendly)


_SIGNING_USES = {"digital_signature", "non_repudiation"}


async def _check_path(certificate: x509.Certificate, context: ValidationContext) -> None:
    """Raise :class:`SigningFailed` where no unbroken, unrevoked chain leads to a root."""
    name = _name(certificate)
    try:
        await CertificateValidator(certificate, validation_context=context).async_validate_path()
    except RevokedError as error:
        raise SigningFailed(f"{name} may not sign: {error}; use another certificate") from None
    except InsufficientRevinfoError as error:
        raise SigningUnavailable(
            f"whether {name} was revoked could not be looked up: {error}; try again when its "
            "revocation service answers"
        ) from None
    except (ExpiredError, NotYetValidError) as error:
        raise SigningFailed(f"the chain of {name} is not valid now: {error}") from None
    except (PathBuildingError, PathValidationError, CertificateRefused) as error:
        raise SigningFailed(
            f"no chain leads from {name} to a trusted root: {error}; see "
            "REPORTING_SIGNING_CHAIN_FILE and REPORTING_SIGNING_TRUST_FILE"
        ) from None


# --- the signature -------------------------------------------------------------------------


class _Appender(IncrementalPdfFileWriter):
    """Appends the signature and nothing else.

    pyHanko would also write new metadata with its own name and time, and so lose the two flavours
    that they declare.
    """

    def _update_meta(self) -> None:
        """Leave the metadata alone."""


class _Authority(RequestsHTTPTimeStamper):
    """A time-stamp authority that, where it does not answer or not sensibly, says which."""

    async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> cms.ContentInfo:
        """A time stamp of the digest; raises :class:`SigningUnavailable`."""
        try:
            token: cms.ContentInfo = await super().async_timestamp(message_digest, md_algorithm)
            return token
        # Its answer is parsed bit by bit when asked for, so garbage shows anywhere.
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            answer = next((a for a in error.args if hasattr(a, "status_code")), None)
            cause: object = error.__cause__ or error
            if answer is not None:
                cause = f"HTTP status {answer.status_code}"
            raise SigningUnavailable(
                f"the time-stamp authority {self.url} gave no time stamp ({cause}); try again, or "
                "see REPORTING_SIGNING_TIMESTAMP_URL"
            ) from None


async def _sign(
    unsigned: bytes,
    signer: Signer,
    by: Credentials,
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> Signed:
    certificate = signer.signing_cert
    assert certificate is not None
    _check_certificate(certificate, now)
    context = ValidationContext(
        trust_roots=roots,
        other_certs=list(signer.cert_registry),
        allow_fetching=True,
        revocation_mode="hard-fail",
        fetcher_backend=RequestsFetcherBackend(per_request_timeout=by.timeout_s),
        retroactive_revinfo=True,
    )
    await _check_path(certificate, context)

    writer = _Appender(io.BytesIO(unsigned))
    wanted = PdfSignatureMetadata(
        field_name=SIGNATURE_FIELD, md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES
    )
    authority = _Authority(by.timestamp_url, timeout=by.timeout_s)  # type: ignore[no-untyped-call]
    session = PdfSigner(wanted, signer, timestamper=authority).init_signing_session(
        writer, existing_fields_only=True
    )
    session.system_time = now
    document = session.prepare_tbs_document(None, bytes_reserved=CONTAINER_BYTES)
    prepared, output = document.digest_tbs_document()
    await document.perform_signature(
        prepared.document_digest, PdfCMSSignedAttributes(signing_time=now)
    )
    output.seek(0)
    pdf: bytes = output.read()
    if pdf[: len(unsigned)] != unsigned:
        raise AssertionError("a signed file has to begin with the unsigned one")

    pdf = _tidied(pdf, await _sound(pdf, context))
    chains = await _sound(pdf, context)
    return Signed(pdf, _evidence((c for chain in chains for c in chain), context))


async def _sound(pdf: bytes, context: ValidationContext) -> Chains:
    """The chains of its signature; :class:`SigningFailed` where it is not all well."""
    found = _only_signature(pdf)
    assert not isinstance(found, str), found
    verdict, chains = await _judged(found, context)
    if verdict.problems:
        raise SigningFailed(
            f"what was signed does not verify: {'; '.join(verdict.problems)}; see "
            "REPORTING_SIGNING_TRUST_FILE, which needs the roots of signer and time-stamp authority"
        )
    return chains


def _evidence(used: Iterable[x509.Certificate], context: ValidationContext) -> dict[str, bytes]:
    """The certificates of both chains, and what says that none of them is revoked."""
    armoured = {c.sha256: pem.armor("CERTIFICATE", c.dump()) for c in used}
    return {
        "certificates.pem": b"".join(armoured.values()),
        **_numbered("revoked", "crl", {c.dump() for c in context.crls}),
        **_numbered("status", "ocsp", {o.dump() for o in context.ocsps}),
    }


def _numbered(stem: str, suffix: str, bodies: Iterable[bytes]) -> dict[str, bytes]:
    return {f"{stem}-{n}.{suffix}": body for n, body in enumerate(sorted(bodies), 1)}


# --- the form it has -----------------------------------------------------------------------

#: For each signature the certificates from the signer's own to the root, both included.
Chains = Sequence[Sequence[x509.Certificate]]


@dataclass(frozen=True)
class _Room:
    """Where the signature's hex digits stand in the file, and what they say."""

    start: int
    end: int
    container: cms.ContentInfo

    def digits(self, der: bytes) -> bytes:
        """``der`` as it is written there."""
        return der.hex().upper().encode().ljust(self.end - self.start, b"0")


_WRITTEN = re.compile(rb"/Contents <([0-9A-F]+)>\n/ByteRange \[0 (\d+) (\d+) (\d+)\] *\n")


def _room(pdf: bytes) -> _Room | str:
    """The room of the last signature, which covers everything around it, or what is wrong.

    Cheap, and without a reader of PDF: pyHanko's is asked afterwards, and has to agree.
    """
    at = pdf.rfind(b"/ByteRange [0 ")
    if at < 0:
        return "is not signed"
    written = _WRITTEN.match(pdf, pdf.rfind(b"/Contents <", 0, at))
    if written is None:
        return "has a signature that is written in another form"
    before, after, rest = (int(n) for n in written.groups()[1:])
    start, end = written.span(1)
    if after + rest != len(pdf):
        return "was appended to after it was signed"
    if (before, after) != (start - 1, end + 1):
        return "the signature does not cover the whole file"
    room = _Room(start, end, cms.ContentInfo.load(bytes.fromhex(written[1].decode())))
    if room.digits(room.container.dump()) != written[1]:
        return "has something behind its signature"
    covered = hashlib.sha256(pdf[:before])
    covered.update(memoryview(pdf)[after:])
    (signer,) = room.container["content"]["signer_infos"]
    said = [a["values"].native for a in signer["signed_attrs"] if a["type"].native == _DIGEST]
    if said != [[covered.digest()]]:
        return "was changed after it was signed"
    return room


_MORE = "adds more to the report than itself"
_DIGEST, _TOKEN = "message_digest", "signature_time_stamp_token"


def _tidied(pdf: bytes, chains: Chains) -> bytes:
    """``pdf`` with its signature in the one form that is accepted."""
    room = _room(pdf)
    assert not isinstance(room, str), room
    return pdf[: room.start] + room.digits(_strict(room.container, chains)) + pdf[room.end :]


def _strict(info: cms.ContentInfo, chains: Chains) -> bytes:
    """The container written anew in DER from what its signatures cover, and nothing else.

    ``chains`` begins with the signer's; the next one is that of the time stamp inside. Only their
    certificates stay. Both names of RSA with PKCS#1 v1.5 padding verify, so one is chosen, unless
    the choice is itself covered (RFC 6211).
    """
    signed, (chain, *inner) = info["content"], chains
    (signer,) = signed["signer_infos"]
    hashed, algorithm = signer["digest_algorithm"], signer["signature_algorithm"]
    if "cms_algorithm_protection" not in {a["type"].native for a in signer["signed_attrs"]}:
        name = hashed["algorithm"].native
        hashed = algos.DigestAlgorithm({"algorithm": name})
        if suffix := _SUFFIXES.get(algorithm.signature_algo):
            algorithm = cms.SignedDigestAlgorithm({"algorithm": f"{name}_{suffix}"})
    content = signed["encap_content_info"]
    stamp = content["content_type"].native == "tst_info"
    held = {c.dump() for c in chain}
    written = {
        "version": "v1",
        "sid": cms.SignerIdentifier(
            name="issuer_and_serial_number",
            value=cms.IssuerAndSerialNumber(
                {"issuer": chain[0].issuer, "serial_number": chain[0].serial_number}
            ),
        ),
        "digest_algorithm": hashed,
        "signed_attrs": signer["signed_attrs"],
        "signature_algorithm": algorithm,
        "signature": signer["signature"].native,
    }
    if not stamp:
        (token,) = (a for a in signer["unsigned_attrs"] if a["type"].native == _TOKEN)
        again = cms.ContentInfo.load(_strict(token["values"][0], inner))
        written["unsigned_attrs"] = [cms.CMSAttribute({"type": _TOKEN, "values": [again]})]
    made = {
        "version": "v3" if stamp else "v1",
        "digest_algorithms": [hashed],
        "encap_content_info": content if stamp else {"content_type": "data"},
        "certificates": [c.chosen for c in signed["certificates"] if c.chosen.dump() in held],
        "signer_infos": [written],
    }
    body = cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(made)})
    der: bytes = body.dump()
    return der


_SUFFIXES = {"rsassa_pkcs1v15": "rsa", "ecdsa": "ecdsa"}


def _adds_only_itself(signature: EmbeddedPdfSignature) -> bool:
    """Whether the signature's revision has the signature in its field, and no other change.

    What was rendered again and compared is the revision before: nothing here may be laid over it.
    """
    reader = signature.reader
    before: Any = reader.get_historical_resolver(0)
    field_: Any = signature.sig_field.get_container_ref()
    value = signature.sig_field.raw_get("/V").reference
    form = reader.root.raw_get("/AcroForm").reference
    allowed = {
        (reader.root_ref.idnum, frozenset({"/Extensions"})),
        (form.idnum, frozenset({"/SigFlags"})),
        (field_.idnum, frozenset({"/V"})),
    }
    for number, new in allowed:
        now = reader.get_object(Reference(number, 0, reader))  # type: ignore[no-untyped-call]
        then = before.get_object(Reference(number, 0, before))
        if _without(now, new) != _without(then, frozenset()):
            return False
    changed = {ref.idnum for ref in reader.xrefs.explicit_refs_in_revision(1)}
    known = {number for number, _ in allowed} | {value.idnum}
    last = reader.xrefs.get_xref_container_info(1).stream_ref
    return changed <= known | ({last.idnum} if last else set())


def _without(found: DictionaryObject, names: Set[str]) -> bytes:
    """A dictionary as it would be written without some of its entries."""
    kept = {k: v for k, v in dict.items(found) if k not in names}
    out = io.BytesIO()
    DictionaryObject(kept).write_to_stream(out, None)  # type: ignore[no-untyped-call]
    return out.getvalue()


# --- judging it ----------------------------------------------------------------------------


def _only_signature(pdf: bytes) -> EmbeddedPdfSignature | str:
    """The signature of a file that was signed once and never touched again, or what is wrong."""
    reader = PdfFileReader(io.BytesIO(pdf))
    found = list(reader.embedded_signatures)
    if not found:
        return "is not signed"
    if len(found) > 1:
        return f"has {len(found)} signatures, expected one"
    if reader.total_revisions != 2:
        return "was appended to after it was signed"
    only: EmbeddedPdfSignature = found[0]
    return only


def _stamped_at(signature: EmbeddedPdfSignature) -> datetime | None:
    """The time that the stamp claims; whether it is to be believed is judged later."""
    for attribute in signature.signer_info["unsigned_attrs"]:
        if attribute["type"].native == "signature_time_stamp_token":
            info = attribute["values"][0]["content"]["encap_content_info"]["content"].parsed
            assert isinstance(info, tsp.TSTInfo)
            at: datetime = info["gen_time"].native
            return at
    return None


async def _judged(
    signature: EmbeddedPdfSignature, context: ValidationContext
) -> tuple[Verified, Chains]:
    """What is wrong with a signature, and the two chains that were walked."""
    status = await async_validate_pdf_signature(
        signature,
        context,
        key_usage_settings=KeyUsageConstraints(key_usage=_SIGNING_USES, match_all_key_usages=False),
    )
    problems = []
    if not status.intact:
        problems.append("was changed after it was signed")
    if status.intact and not status.valid:
        problems.append("the signature is not by the key of its certificate")
    if status.coverage != SignatureCoverageLevel.ENTIRE_FILE:
        problems.append("the signature does not cover the whole file")
    if not status.trusted:
        problems.append(f"the signer is not trusted{_why(status)}")
    stamp = status.timestamp_validity
    if stamp is None:
        problems.append("has no time stamp")
    elif not (stamp.intact and stamp.valid):
        problems.append("the time stamp is not of this signature")
    elif not stamp.trusted:
        problems.append(f"the time-stamp authority is not trusted{_why(stamp)}")
    if not problems and not status.bottom_line:
        problems.append(f"is refused ({status.summary()})")
    paths = [status.validation_path, stamp.validation_path if stamp else None]
    verdict = Verified(
        tuple(problems),
        signer=_name(status.signing_cert),
        authority=_name(stamp.signing_cert) if stamp else "",
        stamped_at=stamp.timestamp if stamp else None,
    )
    return verdict, [list(path.iter_certs(include_root=True))[::-1] for path in paths if path]


def _why(status: SignatureStatus) -> str:
    if status.revoked:
        return ": its certificate was revoked"
    problem = status.trust_problem_indic
    return f": {problem.standard_name.replace('_', ' ').lower()}" if problem else ""
