"""What the archive's own verifier, with nothing but Python, says of one report's provenance."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from reporting import standalone
from reporting.pipeline.signatures import recorded_as
from reporting.seal import Signer, attest, digest, new_key

from .conftest import ORIGIN, Report


def logged(report: Report) -> dict[str, Any]:
    """What the audit log says of it."""
    pdf = report.files["report.pdf"]
    rendered = {"report.pdf": pdf[: report.made.rendered_bytes]} if report.made.signed_files else {}
    files = {name: report.files[name] for name in report.made.files} | rendered
    kept = {name: report.files[name] for name in report.made.signed_files}
    if kept:
        kept["report.pdf"] = pdf[report.made.rendered_bytes :]
    return {
        "files": {name: digest(body) for name, body in files.items()},
        "provenance": digest(report.files["provenance.json"]),
        **recorded_as(files, kept),
    }


def said(report: Report, key: standalone.Keys | None, **changed: Any) -> list[tuple[str, str]]:
    name = report.document.id
    files = {f"reports/{name}/{n}": body for n, body in report.files.items()}
    archive = standalone.Archive(files, key)
    archive.days = {f"{c.day}/r{c.revision}": c.digest for c in report.document.citations}
    try:
        archive.report(name, logged(report) | changed)
    except (standalone.Wrong, KeyError, TypeError, ValueError) as wrong:
        archive.say("report", repr(wrong))
    return archive.results


def forged(report: Report, provenance: bytes) -> Report:
    """The report with another provenance, which the log would have, too."""
    return replace(report, files={**report.files, "provenance.json": provenance})


@pytest.fixture(scope="module")
def key(report: Report) -> standalone.Keys:
    return standalone.Keys(str(report.log.signer.verifier))


def test_signed_unsigned_and_not_checked(
    report: Report, unsigned: Report, key: standalone.Keys
) -> None:
    for one, by, words in (
        (report, key, "provenance signed by example.com/audit"),
        (report, None, "provenance said to be signed by example.com/audit+"),
        (unsigned, key, "provenance UNSIGNED"),
    ):
        ((what, problem),) = said(one, by)
        assert (words in what, problem) == (True, ""), what


def test_only_the_key_of_its_time_signs_a_provenance(report: Report, key: standalone.Keys) -> None:
    """The report prints a checkpoint of five entries."""
    other = Signer.load(ORIGIN, new_key(), "here").verifier
    ours = report.log.signer.verifier
    ((what, problem),) = said(report, standalone.Keys(f"{ours} 5\n{other}"))
    assert (what.endswith("provenance signed by example.com/audit"), problem) == (True, "")
    for text in (f"{ours} 4\n{other}", f"{other} 5\n{ours}"):
        assert any(p.endswith("signed") for _, p in said(report, standalone.Keys(text))), text


def test_another_provenance_is_found_even_where_the_log_was_rewritten(
    report: Report, key: standalone.Keys
) -> None:
    made = report.made
    for changed, words in (
        ({"files": {**made.files, "facts.json": "00" * 32}}, "is of other files"),
        ({"signed_files": {}, "rendered_bytes": 0}, "is of other files"),
    ):
        body = attest(replace(made, **changed), report.log.signer)  # type: ignore[arg-type]
        assert any(words in problem for _, problem in said(forged(report, body), key))
    other = Signer.load(ORIGIN, new_key(), "here")
    ((what, problem),) = said(forged(report, attest(made, other)), key)
    assert problem == "" and "not checked" in what
    name = str(key.at(0))
    stolen = attest(made, other).replace(
        f"{other.name}+{other.verifier.id.hex()}".encode(), name.encode()
    )
    assert any("not signed by" in problem for _, problem in said(forged(report, stolen), key))


def test_a_signed_pdf_begins_with_the_rendered_one(report: Report, key: standalone.Keys) -> None:
    signature = logged(report)["signature"]
    shorter = {**signature, "rendered_bytes": signature["rendered_bytes"] - 1}
    assert any("does not begin with" in p for _, p in said(report, key, signature=shorter))


def test_no_changed_byte_of_the_envelope_is_accepted(report: Report, key: standalone.Keys) -> None:
    """Not even where the log was rewritten to fit."""
    body, chance = report.files["provenance.json"], random.Random(3)
    for place in chance.sample(range(len(body)), 150):
        other = body[:place] + bytes([body[place] ^ 1 << chance.randrange(8)]) + body[place + 1 :]
        assert any(problem for _, problem in said(forged(report, other), key)), place
