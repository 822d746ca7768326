"""What a report was made from, as an in-toto statement with SLSA provenance in a DSSE envelope.

The subjects are the files as rendered: those that anybody can make again. The PDF of a signed
report, which nobody can, is a by-product. docs/provenance.md says what each field means.

References: in-toto Attestation Framework (Statement v1, ResourceDescriptor), SLSA Provenance v1,
DSSE v1. The envelope is canonical JSON. Its field ``digest``, of everything else in it, is ours:
DSSE allows more fields, and readers ignore those they do not know. It shows a damaged byte to
whoever has no key; only the signature shows a forged one.

The key is that of the checkpoints. A checkpoint begins with a name without a space, the text that
is signed here with ``DSSEv1`` and a space: neither is ever taken for the other.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.signer import (  # type: ignore[attr-defined]
    CryptoSigner,
    Signature,
    SSlibKey,
)

from ..errors import ValidationFailed
from .canonical import canonical, digest
from .checkpoint import Signer, Verifier

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
PAYLOAD = "application/vnd.in-toto+json"
BUILD = "tag:reporting.example,2026:report-of-sealed-days/v1"
BUILDER = "tag:reporting.example,2026:reporting"


@dataclass(frozen=True)
class Provenance:
    """What one report was made from and with; all digests are SHA-256 in hex.

    ``files`` are as rendered, ``signed_files`` what a signature changed or added, after the first
    ``rendered_bytes`` of the PDF. ``days`` are day, revision and digest of what was sealed,
    ``queries`` the texts by name.
    """

    report: str
    issued_at: datetime
    files: Mapping[str, str]
    days: tuple[tuple[date, int, str], ...]
    policy: str
    templates: str
    version: str
    code: str
    native: Mapping[str, str]
    queries: Mapping[str, str]
    checkpoint: Mapping[str, Any]
    rendered_bytes: int = 0
    signed_files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attested:
    """A provenance as it was read, with who says so; whether that is true asks :meth:`problem`."""

    made: Provenance
    envelope: Envelope

    @property
    def signers(self) -> tuple[str, ...]:
        """``name+id`` of each key that is said to have signed it; empty for an unsigned one."""
        return tuple(self.envelope.signatures)

    def problem(self, verifier: Verifier) -> str:
        """ "" where ``verifier`` signed it."""
        name = _name(verifier)
        signature = self.envelope.signatures.get(name)
        if signature is None:
            return f"is not signed by {name}"
        good = verifier.accepts(self.envelope.pae(), bytes.fromhex(signature.signature))
        return "" if good else f"the signature of {name} is wrong"


def attest(made: Provenance, signer: Signer | None) -> bytes:
    """The envelope of ``made``; without a signer it has no signatures, and is called unsigned.

    Ed25519 is deterministic: the same provenance by the same key has the same bytes.
    """
    envelope = Envelope(canonical(_statement(made)), PAYLOAD, {})
    if signer is not None:
        public = signer.key.public_key()
        named = SSlibKey.from_crypto(public, keyid=_name(signer.verifier))
        envelope.sign(CryptoSigner(signer.key, named))
    return _written(envelope)


def attested(body: bytes) -> Attested:
    """What :func:`attest` wrote; :class:`ValidationFailed` for anything else. Checks no signature.

    There is one way to write each envelope, and any other is refused.
    """
    try:
        data = json.loads(body)
        payload = b64decode(data["payload"], validate=True)
        signatures = {
            s["keyid"]: Signature(s["keyid"], b64decode(s["sig"], validate=True).hex())
            for s in data["signatures"]
        }
        envelope = Envelope(payload, data["payloadType"], signatures)
        if _written(envelope) != body:
            raise ValueError("it does not match its own digest")
        statement = json.loads(payload)
        made = _provenance(statement)
        if canonical(_statement(made)) != payload:
            raise ValueError("its statement is not one of a report")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValidationFailed(f"is no provenance of a report: {error!s}") from None
    return Attested(made, envelope)


def _name(verifier: Verifier) -> str:
    return f"{verifier.name}+{verifier.id.hex()}"


def _written(envelope: Envelope) -> bytes:
    rest = envelope.to_dict()
    return canonical({**rest, "digest": digest(canonical(rest))})


# ---- the statement ------------------------------------------------------------------------------


def _statement(made: Provenance) -> dict[str, Any]:
    """The in-toto statement; :func:`_provenance` reads it."""
    return {
        "_type": STATEMENT,
        "subject": [_resource(name, sha) for name, sha in sorted(made.files.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {"report": made.report},
                "internalParameters": {
                    "native": dict(made.native),
                    "checkpoint": dict(made.checkpoint),
                },
                "resolvedDependencies": [
                    *(_resource(f"day/{day}/r{n}", sha) for day, n, sha in made.days),
                    _resource("policy", made.policy),
                    _resource("templates", made.templates),
                    _resource("code", made.code),
                    *(_query(name, text) for name, text in sorted(made.queries.items())),
                ],
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"reporting": made.version}},
                "metadata": {
                    "invocationId": made.report,
                    "startedOn": made.issued_at.isoformat(),
                },
                "byproducts": [
                    {
                        **_resource(name, sha),
                        **(
                            {"annotations": {"rendered_bytes": made.rendered_bytes}}
                            if name.endswith(".pdf")
                            else {}
                        ),
                    }
                    for name, sha in sorted(made.signed_files.items())
                ],
            },
        },
    }


def _provenance(statement: Mapping[str, Any]) -> Provenance:
    """The provenance of a statement. What it does not read is missing when it is written again."""
    build = statement["predicate"]["buildDefinition"]
    run = statement["predicate"]["runDetails"]
    inside = build["internalParameters"]
    days, queries, others = [], {}, {}
    for resource in build["resolvedDependencies"]:
        kind, _, name = resource["name"].partition("/")
        if kind == "day":
            day, _, revision = name.partition("/r")
            days.append((date.fromisoformat(day), int(revision), _sha(resource)))
        elif kind == "query":
            queries[name] = b64decode(resource["content"], validate=True).decode("utf-8")
        else:
            others[kind] = _sha(resource)
    return Provenance(
        report=build["externalParameters"]["report"],
        issued_at=datetime.fromisoformat(run["metadata"]["startedOn"]),
        files={r["name"]: _sha(r) for r in statement["subject"]},
        days=tuple(days),
        policy=others["policy"],
        templates=others["templates"],
        version=run["builder"]["version"]["reporting"],
        code=others["code"],
        native=inside["native"],
        queries=queries,
        checkpoint=inside["checkpoint"],
        rendered_bytes=max(
            (r["annotations"]["rendered_bytes"] for r in run["byproducts"] if "annotations" in r),
            default=0,
        ),
        signed_files={r["name"]: _sha(r) for r in run["byproducts"]},
    )


def _resource(name: str, sha256: str) -> dict[str, Any]:
    """A ResourceDescriptor."""
    return {"name": name, "digest": {"sha256": sha256}}


def _query(name: str, text: str) -> dict[str, Any]:
    body = text.encode("utf-8")
    content = b64encode(body).decode()
    return {**_resource(f"query/{name}", digest(body)), "content": content}


def _sha(resource: Mapping[str, Any]) -> str:
    found = resource["digest"]["sha256"]
    if not isinstance(found, str):
        raise TypeError(f"{resource['name']} has no SHA-256")
    return found
