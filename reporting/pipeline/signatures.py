"""The signature of a report: who signs, what is kept of it, and whether it is still the one.

A signed ``report.pdf`` is the rendered one with something appended. Only that, and what proves the
certificates, can not be made again, so the store keeps it by file name, under ``report.pdf`` what
was appended. The provenance knows the digests of both files, the rendered and the signed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..errors import SigningFailed, UsageError, ValidationFailed
from ..page import Document
from ..seal import Provenance, digest
from ..settings import secret_of
from .service import Service

PDF = "report.pdf"
EVIDENCE = "evidence"

Files = Mapping[str, bytes]


def must_sign(service: Service) -> bool:
    """Whether a report that can not be signed is not issued at all."""
    required = service.settings.signing_required
    return signs(service) if required is None else required


def signs(service: Service) -> bool:
    """Whether a key is configured, whatever it is worth."""
    s = service.settings
    return s.signing_pkcs12_file is not None or s.signing_pkcs11_module is not None


def check_policy(service: Service) -> None:
    """Raise :class:`UsageError` where the settings of signing do not fit together."""
    s = service.settings
    if not signs(service):
        if must_sign(service):
            raise UsageError(
                "REPORTING_SIGNING_REQUIRED is true and no key is configured; set "
                "REPORTING_SIGNING_PKCS12_FILE or REPORTING_SIGNING_PKCS11_MODULE"
            )
        return
    if s.signing_pkcs12_file and s.signing_pkcs11_module:
        raise UsageError(
            "REPORTING_SIGNING_PKCS12_FILE and REPORTING_SIGNING_PKCS11_MODULE are both set; a "
            "report is signed with one key"
        )
    wanted = ["signing_timestamp_url", "signing_trust_file"]
    if s.signing_pkcs11_module:
        wanted += ["signing_token_label", "signing_key_label"]
    lacking = [f"REPORTING_{name.upper()}" for name in wanted if not getattr(s, name)]
    if lacking:
        raise UsageError(f"a signature also needs {', '.join(lacking)}; see .env.example")


def signature_of(service: Service, unsigned: bytes, now: datetime) -> dict[str, bytes]:
    """What signing ``unsigned`` adds to its report, by file name: see the module.

    Raises :class:`SigningFailed` where it can not be signed, and says why.
    """
    from .. import signing  # pyHanko costs half a second, and only this needs it

    s = service.settings
    assert s.signing_timestamp_url is not None
    assert s.signing_trust_file is not None
    try:
        password = secret_of(s.signing_password_file)
    except UsageError as error:
        raise SigningFailed(str(error)) from None
    by = signing.Credentials(
        timestamp_url=s.signing_timestamp_url,
        trust_file=s.signing_trust_file,
        pkcs12_file=s.signing_pkcs12_file,
        pkcs11_module=s.signing_pkcs11_module,
        token_label=s.signing_token_label or "",
        key_label=s.signing_key_label or "",
        password=password,
        chain_file=s.signing_chain_file,
    )
    made = signing.sign(unsigned, by, now)
    return {
        PDF: made.pdf[len(unsigned) :],
        **{f"{EVIDENCE}/{name}": body for name, body in made.evidence.items()},
    }


def with_signature(rendered: Files, kept: Files) -> dict[str, bytes]:
    """The files of a report as issued, from those that were rendered and what was kept."""
    if not kept:
        return dict(rendered)
    return {**rendered, **kept, PDF: rendered[PDF] + kept[PDF]}


def recorded_as(rendered: Files, kept: Files) -> dict[str, Any]:
    """What provenance and audit log say of a signature: nothing where there is none."""
    if not kept:
        return {}
    issued = with_signature(rendered, kept)
    return {
        "signature": {
            "rendered_bytes": len(rendered[PDF]),
            "files": {name: digest(issued[name]) for name in sorted(kept)},
        }
    }


def restored(
    document: Document, rendered: Files, kept: Files, recorded: Provenance
) -> dict[str, bytes]:
    """The files as issued; :class:`ValidationFailed` where what the store kept was changed."""
    have = recorded_as(rendered, kept).get("signature", {"rendered_bytes": 0, "files": {}})
    if have != {"rendered_bytes": recorded.rendered_bytes, "files": recorded.signed_files}:
        raise ValidationFailed(
            f"{document.id} can not be written again: the signature in the store is missing or "
            "changed; restore the store from a backup"
        )
    return with_signature(rendered, kept)
