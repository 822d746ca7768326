"""A signed report by hand: its folder, its authority, its log and the keys. No database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest

import reporting
from reporting import pipeline
from reporting.page import Checkpoint, Document, Kind
from reporting.pipeline.issuing import made_with
from reporting.pipeline.signatures import PDF, recorded_as, with_signature
from reporting.seal import (
    GENESIS,
    Keys,
    Note,
    Provenance,
    Signer,
    attest,
    canonical,
    chain_hash,
    digest,
    leaf_hash,
    new_key,
    roots,
    signed_note,
)
from reporting.signing import sign

from ..signing.authority import Authority
from ..signing.conftest import authority, documents, now  # noqa: F401 - fixtures

ORIGIN = "example.com/audit"


@dataclass(frozen=True)
class Log:
    """A log of a few entries and who signs its checkpoints."""

    signer: Signer
    entries: tuple[bytes, ...]

    @property
    def leaves(self) -> list[bytes]:
        return [leaf_hash(entry) for entry in self.entries]

    def note(self, size: int, *, signed: bool = True) -> Note:
        """Its checkpoint when it had so many entries."""
        chain = GENESIS
        for leaf in self.leaves[:size]:
            chain = chain_hash(chain, leaf)
        root = roots(self.leaves, {size})[size]
        return signed_note(ORIGIN, size, root, chain, self.signer if signed else None)


@dataclass(frozen=True)
class Report:
    """One issued report: its files, what it was made from, and what to hold it against."""

    document: Document
    files: dict[str, bytes]
    made: Provenance
    log: Log
    trust_file: Path

    def written(self, folder: Path, *names: str) -> Path:
        """Its files in a folder, or only those that are named; the folder."""
        for name in names or self.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.files[name])
        return folder

    @property
    def against(self) -> pipeline.Against:
        """Everything that a third party can have."""
        keys = Keys((self.log.signer.verifier,))
        return pipeline.Against(self.trust_file, keys, [self.log.note(self.printed)])

    @property
    def printed(self) -> int:
        """How many entries the log had when the report was issued."""
        return self.document.checkpoint.size


def drawn(sample: ModuleType, log: Log, *, signed: bool) -> Document:
    """The daily report of the tests of rendering, with a checkpoint of ``log``."""
    note = log.note(5)
    printed = Checkpoint(size=5, chain_hash=note.chain_hash.hex(), note=str(note))
    document: Document = sample.document(Kind.DAILY)
    return document.model_copy(
        update={"signed": signed, "checkpoint": printed, "version": reporting.__version__}
    )


def made_of(document: Document, files: dict[str, bytes], kept: dict[str, bytes]) -> Provenance:
    """Its provenance, as the pipeline has it."""
    signature = recorded_as(files, kept).get("signature", {"rendered_bytes": 0, "files": {}})
    return Provenance(
        report=document.id,
        issued_at=document.issued_at,
        files={name: digest(body) for name, body in files.items()},
        days=tuple((c.day, c.revision, c.digest) for c in document.citations),
        policy=document.policy_digest,
        checkpoint=document.checkpoint.model_dump(mode="json"),
        queries={"fills": "select * from ledger.fills -- größer als 0\n", "5e" * 32: "up"},
        rendered_bytes=signature["rendered_bytes"],
        signed_files=signature["files"],
        **made_with(),
    )


@pytest.fixture(scope="session")
def log() -> Log:
    entries = tuple(canonical({"seq": n, "event": "report issued"}) for n in range(1, 8))
    return Log(Signer.load(ORIGIN, new_key(), "here"), entries)


@pytest.fixture(scope="session")
def report(
    documents: ModuleType,  # noqa: F811
    authority: Authority,  # noqa: F811
    now: datetime,  # noqa: F811
    log: Log,
) -> Iterator[Report]:
    """A report with both signatures, as it is issued."""
    document = drawn(documents, log, signed=True)
    files = pipeline.files_of(document)
    signed = sign(files[PDF], authority.credentials(), now)
    kept = {PDF: signed.pdf[len(files[PDF]) :]}
    kept |= {f"evidence/{name}": body for name, body in signed.evidence.items()}
    made = made_of(document, files, kept)
    issued = {**with_signature(files, kept), "provenance.json": attest(made, log.signer)}
    yield Report(document, issued, made, log, authority.roots)


@pytest.fixture(scope="session")
def unsigned(documents: ModuleType, log: Log) -> Report:  # noqa: F811
    """The same report where there is no key at all."""
    note = log.note(5, signed=False)
    document = drawn(documents, log, signed=False)
    printed = document.checkpoint.model_copy(update={"note": str(note)})
    document = document.model_copy(update={"checkpoint": printed})
    files = pipeline.files_of(document)
    made = made_of(document, files, {})
    issued = {**files, "provenance.json": attest(made, None)}
    return Report(document, issued, made, replace(log), Path("/nowhere"))
