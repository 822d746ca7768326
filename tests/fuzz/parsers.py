"""Bytes for everything that reads texts of others, guided by what they reach: ``make fuzz``.

The first byte says which parser reads the rest. A parser may refuse in words (ReportingError);
anything else that it raises is a crash: libFuzzer writes the bytes to a file and ends. That file,
given as an argument, is tried again by itself.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
CONFIG, SAMPLE = ROOT / "config", ROOT / "reports" / "sample"


def parsers() -> dict[str, Callable[[bytes], object]]:
    """Every parser, by the name of what it reads; imports are here, to be instrumented."""
    from reporting import standalone
    from reporting.errors import ReportingError
    from reporting.policy import parse_policy
    from reporting.policy.compliance import parse_compliance
    from reporting.policy.maintenance import parse_maintenance
    from reporting.policy.openslo import parse_objectives
    from reporting.policy.operations import parse_operations
    from reporting.policy.retention import parse_retention
    from reporting.policy.risk import parse_risk
    from reporting.policy.schedule import parse_schedule
    from reporting.seal.checkpoint import Keys, parse_note
    from reporting.seal.proof import check_proof, read_proof
    from reporting.seal.provenance import attested
    from reporting.settings import load
    from reporting.sources.prometheus.client import _Answer, _Failed

    def of_text(read: Callable[[str], object]) -> Callable[[bytes], object]:
        def parse(body: bytes) -> None:
            with suppress(UnicodeDecodeError), suppress(ReportingError):
                read(body.decode("utf-8"))

        return parse

    def of_bytes(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
        def parse(body: bytes) -> None:
            with suppress(ReportingError):
                read(body)

        return parse

    def answer(body: bytes) -> None:
        found = _Answer()
        found._content, found.status_code = body, 200
        with suppress(_Failed):
            found.json()

    settings_file = Path(tempfile.mkdtemp(prefix="reporting-fuzz-")) / "reporting.toml"
    named = {"REPORTING_CONFIG": str(settings_file)}

    def settings(body: bytes) -> None:
        settings_file.write_bytes(body)
        with suppress(ReportingError), mock.patch.dict(os.environ, named):
            load().public()

    def proof(body: bytes) -> None:
        with suppress(ReportingError):
            check_proof(read_proof(body), None)

    def offline(body: bytes) -> None:
        """The archive's own verifier: a file each of what an archive has, cut at NUL bytes."""
        names = (standalone.ENTRIES, standalone.NOTE, standalone.WITNESS, standalone.MANIFEST)
        files = dict(zip(names, body.split(b"\0"), strict=False))
        standalone.Archive(files, None).check()

    def offline_report(body: bytes) -> None:
        """The same with a manifest and a log that are right about a report's files."""
        names = ("facts.json", "provenance.json", "report.pdf")
        files = dict(zip(names, (*body.split(b"\0"), b"", b"", b""), strict=False))
        digests = {name: sha256(content).hexdigest() for name, content in files.items()}
        provenance = digests.pop("provenance.json")
        issued = {"report": REPORT, "files": digests, "provenance": provenance}
        entry = {"at": "2026-03-04", "body": issued, "event": "report issued", "seq": 1}
        line = standalone.canonical(entry)
        log = standalone.Log()
        log.append(line)
        note = f"log\n1\n{standalone.base64.b64encode(log.root()).decode()}\n\n"
        placed = {f"reports/{REPORT}/{name}": content for name, content in files.items()}
        placed |= {standalone.ENTRIES: line + b"\n", standalone.NOTE: note.encode()}
        listed = {name: sha256(content).hexdigest() for name, content in placed.items()}
        manifest = {"files": listed, "reports": [REPORT]}
        placed[standalone.MANIFEST] = standalone.canonical(manifest)
        standalone.Archive(placed, None).check()

    def key(text: str) -> None:
        with suppress(standalone.Wrong):
            standalone.Keys(text)
        Keys.parse(text)

    return {
        "policy.toml": of_text(lambda text: parse_policy(text, {})),
        "operations.toml": of_text(parse_operations),
        "maintenance.toml": of_text(lambda text: parse_maintenance(text, None)),
        "risk.toml": of_text(parse_risk),
        "compliance.toml": of_text(lambda text: parse_compliance(text, None, None)),
        "retention.toml": of_text(parse_retention),
        "schedule.toml": of_text(lambda text: parse_schedule(text, "XNYS", "America/New_York")),
        "objectives": of_text(lambda text: parse_objectives({"a.yaml": text})),
        "settings": settings,
        "answer": answer,
        "note": of_text(parse_note),
        "provenance": of_bytes(attested),
        "proof": proof,
        "key": of_text(key),
        "archive": offline,
        "archived report": offline_report,
    }


REPORT = "daily/2026-03-03/r1"
ANSWER = (
    b'{"status":"success","data":{"resultType":"matrix","result":['
    b'{"metric":{"job":"a"},"values":[[1.5,"1"],[2.5,"NaN"]]},{"metric":{},"values":[]}]}}'
)
ROOT_OF_ONE = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
NOTE = f"example.com/audit\n1\n{ROOT_OF_ONE}\nchain {'0' * 64}\n\n"
SIGNED = NOTE + "\u2014 example.com/audit " + "A" * 92 + "\n"
INCLUSION, CONSISTENCY = "reporting/inclusion-proof/v1", "reporting/consistency-proof/v1"
PROOFS = (
    {"checkpoint": NOTE, "entry": "{}", "path": ["0" * 64], "schema_id": INCLUSION, "seq": 1},
    {"checkpoint": NOTE, "old_checkpoint": NOTE, "path": [], "schema_id": CONSISTENCY},
)


def seeds() -> Iterator[tuple[str, bytes]]:
    """A parser's name and what it reads well: the files that are shipped, and small ones."""
    for file in sorted(CONFIG.glob("*.toml")):
        yield file.name, file.read_bytes()
    for file in sorted((CONFIG / "objectives").glob("*.yaml")):
        yield "objectives", file.read_bytes()
    yield "settings", b'zone = "Europe/Berlin"\npart_fills = 5\nstore_url = "postgresql://h/x"\n'
    yield "answer", ANSWER
    yield "answer", ANSWER.replace(b",", b", ")
    yield "note", NOTE.encode()
    yield "note", SIGNED.encode()
    for proof in PROOFS:
        yield "proof", json.dumps(proof, sort_keys=True, separators=(",", ":")).encode()
    yield "key", b"example.com/audit+00000000+" + b"A" * 44
    sample = sorted(SAMPLE.glob("daily/*/r*"))[:1]
    for folder in sample:
        provenance = (folder / "provenance.json").read_bytes()
        yield "provenance", provenance
        facts = {"citations": [], "id": REPORT}
        yield "archived report", b"\0".join((json.dumps(facts).encode(), provenance, b"%PDF-1.7"))
    entry = {"at": "2026-03-04", "body": {}, "event": "day sealed", "seq": 1}
    yield (
        "archive",
        b"\0".join(
            (json.dumps(entry).encode() + b"\n", NOTE.encode(), b"", b'{"files":{},"reports":[]}')
        ),
    )


def main() -> None:
    """``parsers.py CORPUS [options of libFuzzer]``: seeds and their words are written first."""
    import atheris  # noqa: PLC0415 - of `make fuzz` only

    # The readers of TOML and YAML are Python too: what they reach counts.
    with atheris.instrument_imports(include=["reporting", "tomllib", "yaml"]):
        known = parsers()
    names = [*known]
    corpus = Path(sys.argv[1])
    if corpus.is_dir():
        words: set[bytes] = set()
        for name, body in seeds():
            made = bytes([names.index(name)]) + body
            (corpus / sha256(made).hexdigest()[:16]).write_bytes(made)
            words.update(re.findall(rb"[A-Za-z_]{4,24}", body))
        lines = [b'"%s"\n' % word for word in sorted(words)]
        (corpus.parent / "words").write_bytes(b"".join(lines))

    def one(body: bytes) -> None:
        if body:
            known[names[body[0] % len(names)]](body[1:])

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
