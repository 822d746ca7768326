"""The envelope: what in-toto, SLSA and DSSE say it is, read by their own library too."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from reporting.errors import ValidationFailed
from reporting.seal import Signer, attest, attested, new_key

from .conftest import ORIGIN, Report


def statement(report: Report) -> dict[str, Any]:
    envelope = json.loads(report.files["provenance.json"])
    return dict(json.loads(base64.b64decode(envelope["payload"])))


def test_it_is_a_statement_with_slsa_provenance(report: Report) -> None:
    found = statement(report)
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    build, run = (found["predicate"][part] for part in ("buildDefinition", "runDetails"))
    assert build["externalParameters"] == {"report": report.document.id}
    assert run["metadata"]["invocationId"] == report.document.id
    assert build["internalParameters"]["native"]["weasyprint"]
    for uri in (build["buildType"], run["builder"]["id"]):
        assert uri.startswith("tag:")


def test_its_subjects_are_the_files_as_rendered(report: Report) -> None:
    """The PDF before it was signed; the signed one is a by-product."""
    subjects = {s["name"]: s["digest"]["sha256"] for s in statement(report)["subject"]}
    pdf = report.files["report.pdf"]
    for name, want in subjects.items():
        body = pdf[: report.made.rendered_bytes] if name == "report.pdf" else report.files[name]
        assert hashlib.sha256(body).hexdigest() == want, name
    assert {"report.pdf", "report.html", "facts.json"} < subjects.keys()
    assert any(name.startswith("tables/") for name in subjects)
    byproducts = statement(report)["predicate"]["runDetails"]["byproducts"]
    (signed,) = (b for b in byproducts if b["name"] == "report.pdf")
    assert signed["digest"]["sha256"] == hashlib.sha256(pdf).hexdigest()
    assert signed["annotations"]["rendered_bytes"] == report.made.rendered_bytes < len(pdf)


def test_its_dependencies_are_days_policy_templates_code_and_query_texts(report: Report) -> None:
    found = statement(report)["predicate"]["buildDefinition"]["resolvedDependencies"]
    by_name = {d["name"]: d for d in found}
    for cited in report.document.citations:
        held = by_name[f"day/{cited.day}/r{cited.revision}"]
        assert held["digest"]["sha256"] == cited.digest
    assert by_name["policy"]["digest"]["sha256"] == report.document.policy_digest
    assert {"templates", "code"} < by_name.keys()
    for name, text in report.made.queries.items():
        content = base64.b64decode(by_name[f"query/{name}"]["content"])
        assert content.decode() == text
        digest = by_name[f"query/{name}"]["digest"]["sha256"]
        assert digest == hashlib.sha256(content).hexdigest()


def test_the_library_of_dsse_verifies_it(report: Report) -> None:
    envelope = Envelope.from_dict(json.loads(report.files["provenance.json"]))
    public = report.log.signer.key.public_key()
    verifier = report.log.signer.verifier
    key = SSlibKey.from_crypto(public, keyid=f"{verifier.name}+{verifier.id.hex()}")
    assert envelope.verify([key], 1)
    other = SSlibKey.from_crypto(Ed25519PrivateKey.generate().public_key(), keyid=key.keyid)
    with pytest.raises(Exception, match="do not match threshold"):
        envelope.verify([other], 1)


def test_what_is_read_is_what_was_written(report: Report, unsigned: Report) -> None:
    assert attested(report.files["provenance.json"]).made == report.made
    assert attest(report.made, report.log.signer) == report.files["provenance.json"]
    plain = attested(unsigned.files["provenance.json"])
    assert (plain.signers, plain.made) == ((), unsigned.made)
    assert "is not signed by" in plain.problem(report.log.signer.verifier)


def test_a_key_that_did_not_sign_is_refused(report: Report) -> None:
    told = attested(report.files["provenance.json"])
    verifier = report.log.signer.verifier
    assert told.problem(verifier) == ""
    other = Signer.load(ORIGIN, new_key(), "here")
    assert "is not signed by" in told.problem(other.verifier)
    # Somebody who writes the key's name over his own signature.
    forged = attested(attest(replace(report.made, policy="00" * 32), other))
    envelope = forged.envelope
    (signature,) = envelope.signatures.values()
    signature.keyid = f"{verifier.name}+{verifier.id.hex()}"
    envelope.signatures = {signature.keyid: signature}
    assert "is wrong" in replace(forged, envelope=envelope).problem(verifier)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b'{"payload":"","payloadType":"","signatures":[]}', b"\xff"],
    ids=repr,
)
def test_what_is_no_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(ValidationFailed, match="is no provenance of a report"):
        attested(body)


def resealed(report: Report, change: Any) -> bytes:
    """The envelope with something else in it, and a digest that fits: an unsigned forgery."""
    envelope = json.loads(report.files["provenance.json"])
    payload = json.loads(base64.b64decode(envelope["payload"]))
    change(payload)
    body = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    rest = {"payload": base64.b64encode(body).decode(), "payloadType": envelope["payloadType"],
            "signatures": []}  # fmt: skip
    whole = json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()
    rest["digest"] = hashlib.sha256(whole).hexdigest()
    return json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(more=1),
        lambda s: s.update(predicateType="https://slsa.dev/provenance/v0.2"),
        lambda s: s["subject"].reverse(),
        lambda s: s["subject"].append(s["subject"][0]),
        lambda s: s["predicate"]["runDetails"]["builder"].update(id="tag:other"),
        lambda s: s["predicate"]["buildDefinition"]["resolvedDependencies"].pop(),
        lambda s: s["predicate"]["buildDefinition"]["resolvedDependencies"][-1]["digest"].update(
            sha256="00" * 32
        ),
    ],
    ids=["more", "predicate", "order", "twice", "builder", "fewer", "text"],
)
def test_another_statement_is_refused_or_is_another_one(report: Report, change: Any) -> None:
    assert attested(resealed(report, lambda s: None)).made == report.made
    try:
        found = attested(resealed(report, change))
    except ValidationFailed:
        return
    assert found.made != report.made


def test_no_changed_byte_of_it_is_accepted(report: Report) -> None:
    """Every byte, with one bit of it changed: with no key at all, by its own digest."""
    body, chance = report.files["provenance.json"], random.Random(5)
    accepted = []
    for place in range(len(body)):
        other = bytes([body[place] ^ (1 << chance.randrange(8))])
        try:
            attested(body[:place] + other + body[place + 1 :])
        except ValidationFailed:
            continue
        accepted.append(place)
    assert len(body) > 3_000
    assert accepted == []
