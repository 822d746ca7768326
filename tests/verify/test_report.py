"""``reporting verify report.pdf``: what one file shows with and without keys; what is refused."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reporting import pipeline, render, signing
from reporting.errors import ValidationFailed
from reporting.pipeline import Against, verify_folder, verify_pdf, worth
from reporting.seal import (
    Keys,
    Signer,
    attest,
    canonical,
    check_proof,
    consistency_of,
    inclusion_of,
    new_key,
    read_proof,
)

from ..line import site
from ..signing.authority import Authority
from .conftest import ORIGIN, Log, Report


def wrong(results: list[pipeline.Verified]) -> list[str]:
    return [f"{r.what}: {r.problem}" for r in results if not r.ok]


def lacking(results: list[pipeline.Verified]) -> list[str]:
    return [r.lacks for r in results if r.lacks]


@pytest.fixture
def pdf(report: Report, tmp_path: Path) -> Path:
    """The signed PDF, with its provenance and its revocation data beside it."""
    names = [n for n in report.files if n.startswith("evidence/")]
    return report.written(tmp_path, "report.pdf", "provenance.json", *names) / "report.pdf"


# ---- what is shown ------------------------------------------------------------------------------


def test_with_everything_all_is_shown(report: Report, pdf: Path) -> None:
    found = verify_pdf(pdf, report.against)
    assert (wrong(found), lacking(found)) == ([], [])
    said = " | ".join(r.what for r in found)
    for words in (
        "facts.json of daily/", "provenance.json, signature", "as issued", "signature of Example",
        "checkpoint of 5 entries, signed by", "known elsewhere", "rendered again from its facts",
    ):  # fmt: skip
        assert words in said
    assert worth(found).startswith("provenance signed by example.com/audit+")
    assert "signed by Example signer at 20" in worth(found) and "trusted" in worth(found)


def test_from_the_file_and_the_roots_alone(report: Report, tmp_path: Path) -> None:
    alone = report.written(tmp_path, "report.pdf") / "report.pdf"
    found = verify_pdf(alone, Against(report.trust_file))
    assert wrong(found) == []
    assert worth(found).startswith("signed by Example signer at 20")
    assert [w.split(";")[0] for w in lacking(found)] == [
        "no provenance.json beside it",
        "no archived revocation data in evidence/ beside it",
        "no public key was given (--key)",
        "no witness was given (--witness)",
    ]
    assert any("rendered again" in r.what and not r.lacks for r in found)


def test_without_roots_nobody_is_said_to_have_signed(report: Report, tmp_path: Path) -> None:
    found = verify_pdf(report.written(tmp_path, "report.pdf") / "report.pdf")
    assert wrong(found) == []
    assert worth(found).startswith("only consistent with itself (")
    assert "no trusted roots given (--trust)" in worth(found)


def test_an_unsigned_report_says_so(unsigned: Report, tmp_path: Path) -> None:
    found = verify_pdf(unsigned.written(tmp_path) / "report.pdf")
    assert wrong(found) == []
    assert worth(found) == "only consistent with itself (UNSIGNED)"
    assert wrong(verify_folder(tmp_path)) == []
    with_key = verify_pdf(
        tmp_path / "report.pdf", Against(None, Keys((unsigned.log.signer.verifier,)))
    )
    assert [w for w in wrong(with_key) if "is not signed by" in w]


def test_a_folder_shows_the_same_and_every_digest(report: Report, tmp_path: Path) -> None:
    found = verify_folder(report.written(tmp_path), report.against)
    assert (wrong(found), lacking(found)) == ([], [])
    assert sum("/tables/" in r.what for r in found) > 3
    assert "signed by Example signer" in worth(found)


# ---- what is refused ----------------------------------------------------------------------------


def test_a_stripped_signature_is_refused(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "report.pdf"
    file.write_bytes(report.files["report.pdf"][: report.made.rendered_bytes])
    assert "the report says it is signed, and it is not" in wrong(verify_pdf(file))[0]


def test_another_signer_is_refused(report: Report, pdf: Path, authority: Authority) -> None:
    found = verify_pdf(pdf, replace(report.against, trust_file=authority.pem("clock")))
    assert any("the signer is not trusted" in w for w in wrong(found))
    assert worth(found).startswith("REFUSED")
    other = Keys((Signer.load(ORIGIN, new_key(), "here").verifier,))
    found = verify_pdf(pdf, replace(report.against, keys=other))
    assert len([w for w in wrong(found) if "is not signed by" in w]) == 2  # checkpoint as well


def test_only_the_key_of_its_time_is_accepted(report: Report, pdf: Path) -> None:
    """Checkpoint and provenance by a key whose time was over, or not begun, at five entries."""
    ours, other = report.log.signer.verifier, Signer.load(ORIGIN, new_key(), "here").verifier
    for keys, refused in (
        (Keys((ours, other), (5,)), 0),
        (Keys((other, ours), (4,)), 0),
        (Keys((ours, other), (4,)), 2),
        (Keys((other, ours), (5,)), 2),
    ):
        found = wrong(verify_pdf(pdf, replace(report.against, keys=keys)))
        assert len([w for w in found if "signed by" in w.split(": ")[-1]]) == refused, found


def test_a_changed_pdf_is_not_explained(report: Report, pdf: Path) -> None:
    assert pipeline.open_report(str(pdf), pipeline.Service).document == report.document
    pdf.write_bytes(report.files["report.pdf"] + b"\n")
    with pytest.raises(ValidationFailed, match="was appended to after it was signed"):
        pipeline.open_report(str(pdf), pipeline.Service)


def test_provenance_of_another_file_is_refused(report: Report, pdf: Path) -> None:
    for changed in (
        {"report": "daily/2025-12-05/r9"},
        {"policy": "00" * 32},
        {"files": {**report.made.files, "report.pdf": "00" * 32}},
        {"files": {**report.made.files, "facts.json": "00" * 32}},
        {"signed_files": {**report.made.signed_files, "report.pdf": "00" * 32}},
        {"rendered_bytes": report.made.rendered_bytes - 1},
    ):
        forged = attest(replace(report.made, **changed), report.log.signer)  # type: ignore[arg-type]
        pdf.with_name("provenance.json").write_bytes(forged)
        assert wrong(verify_pdf(pdf, report.against)), changed


def test_the_witness_decides(report: Report, pdf: Path, log: Log) -> None:
    another = replace(log, entries=(b"another", *log.entries[1:]))
    fork = verify_pdf(pdf, replace(report.against, witness=[another.note(5)]))
    assert any("the witness knows another log of that size" in w for w in wrong(fork))
    other = verify_pdf(pdf, replace(report.against, witness=[log.note(3), log.note(7)]))
    assert wrong(other) == []
    assert any("has no checkpoint of 5 entries" in w for w in lacking(other))


@pytest.mark.slow
def test_facts_that_do_not_give_these_pages_are_refused(
    unsigned: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unsigned file of an earlier page with later facts inside, and nothing beside it."""
    real = render.render_html
    monkeypatch.setattr(render, "render_html", lambda d: real(d).replace(b"Yes", b"No"))
    monkeypatch.setattr(
        render, "render_pdf", lambda h, d, draw=render.render_pdf: draw(h.replace(b"e", b"a"), d)
    )
    forged = pipeline.files_of(unsigned.document)["report.pdf"]
    monkeypatch.undo()
    file = tmp_path / "report.pdf"
    file.write_bytes(forged)
    found = wrong(verify_pdf(file))
    assert len(found) == 1 and "its facts give another file here" in found[0]


@pytest.mark.parametrize("body", [b"", b"%PDF-1.7\nnothing", b"hello"], ids=repr)
def test_what_is_no_report_is_refused(body: bytes, tmp_path: Path) -> None:
    file = tmp_path / "report.pdf"
    file.write_bytes(body)
    assert len(wrong(verify_pdf(file))) == 1


# ---- no byte of it can be another one -----------------------------------------------------------


@pytest.fixture
def accepted(report: Report, pdf: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """Whether a PDF in the place of the signed one is accepted, with all that there is.

    Rendering again comes last and only where nothing was wrong: it need not be repeated here.
    """
    digests = {"report.pdf": report.made.files["report.pdf"]}
    monkeypatch.setattr("reporting.pipeline.verifying._rendered", lambda facts, templates: digests)
    pdf.with_name("provenance.json").unlink()  # it knows the file's digest, and would say so first

    def judged(body: bytes) -> bool:
        pdf.write_bytes(body)
        return not wrong(verify_pdf(pdf, Against(report.trust_file)))

    assert judged(report.files["report.pdf"])
    yield judged


def room(pdf: bytes) -> tuple[int, int, int]:
    """Where the signature's hex digits begin, where its zeros begin, where it ends."""
    start = pdf.rindex(b"/Contents <") + len(b"/Contents <")
    end = pdf.index(b">", start)
    return start, start + len(pdf[start:end].rstrip(b"0")), end


def changed(body: bytes, place: int, by: int) -> bytes:
    return body[:place] + bytes([by]) + body[place + 1 :]


def test_no_changed_byte_outside_the_signature_is_accepted(
    report: Report, accepted: Callable[[bytes], bool]
) -> None:
    """4,000 places by chance, and every byte of what signing appended around the signature."""
    body, chance = report.files["report.pdf"], random.Random(7)
    start, _, end = room(body)
    places = [p for p in chance.choices(range(len(body)), k=4_000) if not start <= p < end]
    appended = [*range(report.made.rendered_bytes, start), *range(end, len(body))]
    places += chance.sample(appended, 600)
    taken = [p for p in places if accepted(changed(body, p, body[p] ^ 1 << chance.randrange(8)))]
    assert taken == []


@pytest.mark.slow
def test_no_changed_byte_of_the_room_around_the_signature_is_accepted(
    report: Report, accepted: Callable[[bytes], bool]
) -> None:
    """Its zeros, the case of its digits, and what is no digit: none means anything to a reader."""
    body, chance = report.files["report.pdf"], random.Random(11)
    start, zeros, end = room(body)
    letters = [p for p in range(start, zeros) if body[p] in b"ABCDEF"]
    taken = [p for p in chance.sample(letters, 150) if accepted(changed(body, p, body[p] ^ 0x20))]
    for p in (*chance.sample(range(zeros + 1, end), 150), zeros + 1, end - 1):
        taken += [p for by in b"1A \n\x00" if accepted(changed(body, p, by))]
    assert taken == []


@pytest.mark.slow
def test_no_changed_digit_of_the_signature_is_accepted(
    report: Report, accepted: Callable[[bytes], bool]
) -> None:
    """Certificates, algorithms, attributes that nothing covers, the time stamp: another digit."""
    body, chance = report.files["report.pdf"], random.Random(13)
    start, zeros, _ = room(body)
    taken = []
    for p in range(start, zeros, (zeros - start) // 120):
        other = chance.choice([d for d in b"0123456789ABCDEF" if d != body[p]])
        if accepted(changed(body, p, other)):
            taken.append(p)
    assert taken == []


@pytest.mark.parametrize(
    ("old", "new", "times"),
    [
        ("06092A864886F70D01010B0500", "06092A864886F70D0101010500", 2),  # sha256WithRSA → RSA
        ("020101310F300D", "020102310F300D", 1),  # the version of the container
    ],
    ids=["algorithm", "version"],
)
@pytest.mark.slow
def test_another_way_to_say_the_same_is_refused(
    report: Report, accepted: Callable[[bytes], bool], old: str, new: str, times: int
) -> None:
    """What every validator of signatures takes, since nothing covers it."""
    body = report.files["report.pdf"]
    start, zeros, _ = room(body)
    places = [p for p in range(start, zeros) if body.startswith(old.encode(), p)]
    assert len(places) >= times
    for p in places:
        other = body[:p] + new.encode() + body[p + len(old) :]
        assert not accepted(other), p


def test_every_proof_and_note_is_exact(log: Log) -> None:
    """One bit of each byte of both kinds of proof, the signed checkpoints inside included."""
    keys, chance = Keys((log.signer.verifier,)), random.Random(17)
    proofs = (
        inclusion_of(3, log.entries[2], log.leaves, log.note(7)),
        consistency_of(log.note(4), log.note(7), log.leaves),
    )
    taken = []
    for proof in proofs:
        body = canonical(proof)
        assert check_proof(read_proof(body), keys)
        for place in range(len(body)):
            other = changed(body, place, body[place] ^ 1 << chance.randrange(8))
            try:
                check_proof(read_proof(other), keys)
            except ValidationFailed:
                continue
            taken.append((place, other[place - 8 : place + 8]))
    assert taken == []


# ---- the signer himself -------------------------------------------------------------------------


def test_what_the_signature_adds_is_only_itself(
    report: Report, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted signer who lays something over the rendered pages while signing is found."""
    from datetime import UTC, datetime

    from pyhanko.pdf_utils.generic import TextStringObject

    real = signing._Appender
    rendered = report.files["report.pdf"][: report.made.rendered_bytes]

    class Altering(real):  # type: ignore[misc, valid-type]
        def write(self, stream: object) -> None:
            self.root["/Lang"] = TextStringObject("fr")
            self.update_root()
            super().write(stream)

    monkeypatch.setattr(signing, "_Appender", Altering)
    forged = signing.sign(rendered, authority.credentials(), datetime.now(UTC)).pdf
    monkeypatch.undo()
    assert forged.startswith(rendered) and b"/Lang (fr)" in forged
    found = signing.verify(forged, authority.roots)
    assert found.problems == ("adds more to the report than itself",)


# ---- the command --------------------------------------------------------------------------------


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return site.command("verify", *words, cwd=site.ROOT, env=os.environ)


def test_the_command_and_its_exit_codes(report: Report, pdf: Path, log: Log) -> None:
    key, witness = pdf.with_name("key.vkey"), pdf.with_name("witness.jsonl")
    key.write_text(f"{log.signer.verifier}\n")
    witness.write_text(json.dumps({"note": str(log.note(5))}) + "\n")
    given = ("--trust", str(report.trust_file), "--key", str(key), "--witness", str(witness))
    done = command(str(pdf), *given, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (answer["ok"], answer["problems"], answer["not_shown"]) == (True, [], [])
    assert len(answer["vouched_by"]) == 2 and "trusted" in answer["verdict"]

    pdf.write_bytes(report.files["report.pdf"] + b"\n")
    done = command(str(pdf), *given)
    assert done.returncode == 4
    assert "was appended to after it was signed" in done.stdout
    assert "REFUSED: 1 of 1 checks failed" in done.stdout
    assert done.stderr == ""

    for words, said in (
        (("gone.pdf",), "is neither a folder nor a file"),
        ((str(pdf), "--key", "nonsense"), "is no public key"),
        ((str(pdf), "--witness", "gone.jsonl"), "is no file"),
        ((str(pdf), "--provenance", "gone.json"), "can't be read"),
        (("--key", "x"), "these options are of one report"),
    ):
        done = command(*words)
        assert (done.returncode, said in done.stderr) == (2, True), (words, done.stderr)
