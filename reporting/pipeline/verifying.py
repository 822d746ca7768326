"""Verify: sealed days, audit log and issued reports are what they were.

One report is checked from its folder, or from ``report.pdf`` alone; neither needs the store or a
network. What a check can't show without more (a key, roots to trust, the same libraries) it says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from .. import render
from ..errors import UsageError, ValidationFailed
from ..page import Document
from ..seal import Attested, Keys, Note, Provenance, attested, canonical, digest, parse_note
from ..store import PurgedRow, ReportRow, Store
from .auditing import notes_in, verify_log
from .issuing import files_of
from .service import Progress, Service, sealed_day, silent, stored_book
from .signatures import EVIDENCE, PDF

FACTS, PROVENANCE = "facts.json", "provenance.json"

#: What was purged, by record and name.
Gone = Mapping[tuple[str, str], PurgedRow]


@dataclass(frozen=True)
class Verified:
    """One thing that was checked; ``problem`` is empty where it is as it should be.

    ``lacks`` says why it could not be shown, though nothing is wrong. ``by`` is whose signature
    over the whole report was verified.
    """

    what: str
    problem: str = ""
    lacks: str = ""
    by: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem


@dataclass(frozen=True)
class Against:
    """What a report is held against. Whatever is missing, that much less is shown.

    ``trust_file`` has the roots of signers and time stamps, ``keys`` are the published keys of
    checkpoints and provenance, ``witness`` holds checkpoints that were kept elsewhere.
    """

    trust_file: Path | None = None
    keys: Keys | None = None
    witness: Sequence[Note] | None = None


NOTHING = Against()


def against(trust_file: Path | None, vkey: str, witnesses: Sequence[Path]) -> Against:
    """From what a user gives; :class:`UsageError` for a key or a file that can't be read."""
    notes = [note for path in witnesses for note in notes_in(path)]
    return Against(trust_file, Keys.parse(vkey) if vkey else None, notes if witnesses else None)


def worth(results: Sequence[Verified]) -> str:
    """In a sentence what the checks of one report show."""
    wrong = [r for r in results if not r.ok]
    if wrong:
        return f"REFUSED: {len(wrong)} of {len(results)} checks failed"
    if by := [r.by for r in results if r.by]:
        return "; ".join(by)
    why = dict.fromkeys(r.lacks for r in results if r.lacks and "signature" in r.what)
    return f"only consistent with itself ({'; '.join(why)})"


# ---- one report ---------------------------------------------------------------------------------


def verify_folder(folder: Path, given: Against = NOTHING) -> list[Verified]:
    """Check one issued report from its files alone: every digest, and all of :func:`verify_pdf`."""
    name = str(folder)
    try:
        told = attested((folder / PROVENANCE).read_bytes())
        facts = (folder / FACTS).read_bytes()
        document = Document.model_validate_json(facts)
    except ValidationFailed as error:
        return [Verified(f"{name}/{PROVENANCE}", str(error))]
    except (OSError, ValueError) as error:
        return [Verified(name, f"is no issued report: {str(error).splitlines()[0]}")]
    made = told.made
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    results = []
    for file, want in sorted({**made.files, **made.signed_files}.items()):
        have = digest(files[file].read_bytes()) if file in files else ""
        problem = "" if have == want else f"has digest {have}" if have else "is missing"
        results.append(Verified(f"{name}/{file}", problem))
    for file in sorted(files.keys() - made.files.keys() - made.signed_files.keys() - {PROVENANCE}):
        results.append(Verified(f"{name}/{file}", "is not part of the report"))
    results += _facts(name, facts, document)
    results += _provenance(name, told, document, given.keys)
    pdf = files[PDF].read_bytes() if PDF in files else b""
    evidence = {
        file.removeprefix(f"{EVIDENCE}/"): files[file].read_bytes()
        for file in made.signed_files
        if file in files and file != PDF
    }
    return _of_pdf(results, name, pdf, facts, document, told, evidence, given)


def verify_pdf(
    file: Path, given: Against = NOTHING, provenance: Path | None = None
) -> list[Verified]:
    """Check a report's PDF from the file alone, offline.

    With its ``provenance``, or the one beside it, also that it is the file that was issued. Its
    archived revocation data is in the folder ``evidence`` beside it.
    """
    from .. import signing  # pyHanko costs half a second, and only this needs it

    name = str(file)
    try:
        pdf = file.read_bytes()
        beside = provenance or file.with_name(PROVENANCE)
        told_as = beside.read_bytes() if provenance or beside.is_file() else None
    except OSError as error:
        raise UsageError(f"{error.filename} can't be read: {error.strerror}") from None
    if problem := signing.damage(pdf):  # cheap, and then nothing else in it is worth a word
        return [Verified(f"{name}: signature", problem)]
    try:
        facts = signing.parts(pdf).files.get(FACTS)
        if facts is None:
            return [Verified(name, f"holds no {FACTS}: it is no report of this service")]
        document = Document.model_validate_json(facts)
    except ValueError as error:
        return [Verified(name, f"is no report: {str(error).splitlines()[0]}")]
    results = list(_facts(name, facts, document))
    told = None
    if told_as is None:
        words = f"no {PROVENANCE} beside it; name one with --provenance"
        results.append(Verified(f"{name}: provenance and its signature", lacks=words))
    else:
        try:
            told = attested(told_as)
            results += _provenance(name, told, document, given.keys)
            for want, body, what in (
                (told.made.files.get(FACTS), facts, f"{FACTS} inside"),
                ({**told.made.files, **told.made.signed_files}.get(PDF), pdf, "as issued"),
            ):
                problem = "" if digest(body) == want else f"has digest {digest(body)}"
                results.append(Verified(f"{name}, {what}", problem))
        except ValidationFailed as error:
            results.append(Verified(f"{name}: {beside}", str(error)))
    kept = file.with_name(EVIDENCE)
    evidence = {p.name: p.read_bytes() for p in sorted(kept.glob("*")) if p.is_file()}
    return _of_pdf(results, name, pdf, facts, document, told, evidence, given)


def _facts(name: str, facts: bytes, document: Document) -> Iterator[Verified]:
    problem = "" if canonical(document) == facts else "is not canonical"
    yield Verified(f"{name}: {FACTS} of {document.id}, canonical", problem)


def _provenance(
    name: str, told: Attested, document: Document, keys: Keys | None
) -> Iterator[Verified]:
    """That it speaks of this document, and who says so."""
    made = told.made
    wanted = (
        document.id,
        document.issued_at,
        tuple((c.day, c.revision, c.digest) for c in document.citations),
        document.policy_digest,
        document.version,
        document.checkpoint.model_dump(mode="json"),
    )
    have = (made.report, made.issued_at, made.days, made.policy, made.version, made.checkpoint)
    problem = "" if have == wanted else f"speaks of another report than {document.id}"
    yield Verified(f"{name}/{PROVENANCE}", problem)
    what, signers = f"{name}/{PROVENANCE}, signature", ", ".join(told.signers)
    if keys is not None:  # who issued it signed both, so that the checkpoint says which key
        problem = told.problem(keys.at(document.checkpoint.size))
        yield Verified(what, problem, by="" if problem else f"provenance signed by {signers}")
    elif signers:
        yield Verified(what, lacks=f"it names {signers}, and no public key was given (--key)")
    else:
        yield Verified(what, lacks="UNSIGNED")


def _of_pdf(
    results: list[Verified],
    name: str,
    pdf: bytes,
    facts: bytes,
    document: Document,
    told: Attested | None,
    evidence: Mapping[str, bytes],
    given: Against,
) -> list[Verified]:
    """``results`` with what a PDF says by itself: facts inside, signature, checkpoint, rendering.

    It is rendered again, which costs seconds, only where nothing else is wrong.
    """
    from .. import signing  # as above

    try:
        parts = signing.parts(pdf)
    except ValueError as error:
        return [*results, Verified(f"{name}: {PDF}", str(error))]
    if parts.files.get(FACTS) != facts:
        results.append(Verified(f"{name}: {FACTS} inside {PDF}", f"is not {FACTS} beside it"))
    if told is not None:
        want = told.made.files.get(PDF)
        short = told.made.rendered_bytes if told.made.signed_files else len(pdf)
        if digest(parts.rendered) != want or len(parts.rendered) != short:
            results.append(Verified(f"{name}: {PDF} as rendered", "is not what was issued"))
    results += _signature(name, pdf, document, parts.signed, evidence, given.trust_file)
    results += _checkpoint(name, document, given)
    if any(not r.ok for r in results):
        return results
    vouched = any(r.by for r in results)
    made = told.made if told else None
    return [*results, _rendered_again(name, document, parts.rendered, made, vouched)]


def _signature(
    name: str,
    pdf: bytes,
    document: Document,
    signed: bool,
    evidence: Mapping[str, bytes],
    trust_file: Path | None,
) -> Iterator[Verified]:
    from .. import signing  # as above

    what = f"{name}: signature"
    if signed != document.signed:
        words = "signed" if document.signed else "unsigned"
        yield Verified(what, f"the report says it is {words}, and it is not")
    elif not signed:
        yield Verified(what, lacks="UNSIGNED")
    elif trust_file is None:
        problem = "; ".join(signing.verify(pdf, None).problems)
        lacks = "" if problem else "its signer was not checked: no trusted roots given (--trust)"
        yield Verified(what, problem, lacks)
    else:
        found = signing.verify(pdf, trust_file, evidence)
        at = found.stamped_at.isoformat() if found.stamped_at else "no known time"
        by = f"signed by {found.signer} at {at}, trusted" if not found.problems else ""
        yield Verified(f"{what} of {found.signer or 'nobody'} at {at}", "; ".join(found.problems),
                       by=by)  # fmt: skip
        if by and not evidence:
            words = f"no archived revocation data in {EVIDENCE}/ beside it"
            yield Verified(f"{name}: whether a certificate was revoked by then", lacks=words)


def _checkpoint(name: str, document: Document, given: Against) -> Iterator[Verified]:
    """The checkpoint that the report prints: well formed, signed, and known elsewhere.

    It says what the log was before the report was in it. So it dates the report, and vouches for
    nothing in it.
    """
    printed = document.checkpoint
    what = f"{name}: checkpoint of {printed.size} entries"
    if not printed.note:
        yield Verified(what, lacks="it is printed without its signed note")
        return
    try:
        note = parse_note(printed.note)
    except ValidationFailed as error:
        yield Verified(what, str(error))
        return
    if (note.size, note.chain_hash.hex()) != (printed.size, printed.chain_hash):
        yield Verified(what, "its note is of another one")
    if given.keys is not None:
        yield Verified(f"{what}, signed by {given.keys.newest.name}", given.keys.problem(note))
    elif note.signed:
        yield Verified(f"{what}, signed", lacks="no public key was given (--key)")
    else:
        yield Verified(f"{what}, signed", lacks="UNSIGNED")
    if given.witness is None:
        yield Verified(f"{what}, known elsewhere", lacks="no witness was given (--witness)")
        return
    same = [n for n in given.witness if n.size == note.size and n.origin == note.origin]
    if any((n.root, n.chain_hash) != (note.root, note.chain_hash) for n in same):
        yield Verified(f"{what}, known elsewhere", "the witness knows another log of that size")
    elif same:
        yield Verified(f"{what}, known elsewhere")
    else:
        words = f"the witness has no checkpoint of {note.size} entries of {note.origin}"
        yield Verified(f"{what}, known elsewhere", lacks=words)


@lru_cache(maxsize=256)
def _rendered(facts: bytes, templates: str) -> Mapping[str, str]:
    """Digests of the files that ``facts`` give with ``templates``, by name.

    Ten seconds for a month, and the same as long as this process has the same code: a service that
    verifies everything every day renders a report once.
    """
    document = Document.model_validate_json(facts)
    return {name: digest(body) for name, body in files_of(document).items()}


def _rendered_again(
    name: str, document: Document, rendered: bytes, made: Provenance | None, vouched: bool
) -> Verified:
    """Whether the facts give these very pages; only with the libraries of then can that be said."""
    what = f"{name} rendered again from its facts"
    same_tools = made is not None and (
        (made.native, made.templates) == (dict(render.native_versions()), render.template_digest())
    )
    if made is not None and not same_tools:
        return Verified(what, lacks="made with other templates or libraries, so not rendered again")
    try:
        again = _rendered(canonical(document), render.template_digest())
    except ValidationFailed as error:
        return Verified(what, lacks=str(error))
    if made is not None:
        wrong = [n for n, want in made.files.items() if again.get(n) != want]
        return Verified(what, f"{', '.join(wrong)} differ" if wrong else "")
    if again[PDF] == digest(rendered):
        return Verified(what)
    words = (
        f"its facts give another file here, with version {render.native_versions()['weasyprint']} "
        f"of WeasyPrint; it was made by version {document.version} of this service"
    )
    if vouched:
        return Verified(what, lacks=words)
    return Verified(what, f"{words}, and nobody's signature vouches for it")


# ---- everything ---------------------------------------------------------------------------------


def verify(service: Service, *, progress: Progress = silent) -> list[Verified]:
    """Check everything: sealed days, the audit chain with its witness, every issued report."""
    store, results = service.store, []
    trust_file = service.settings.signing_trust_file
    progress("audit log")
    log, logged = verify_log(service), _logged(store)
    results.append(Verified(f"audit log, {log.report.size} entries", log.problem))
    progress("sealed days")
    gone = store.purged()
    results += _verify_purges(gone, logged)
    results += _verify_days(store, logged, gone)
    for name, digests in logged.reports.items():
        kind, period, revision = name.split("/")
        progress(f"report {name}")
        stored = store.report(kind, period, int(revision.removeprefix("r")))
        if (kind, name) in gone and stored is not None:
            results.append(_purged_report(service, stored, digests, gone[kind, name]))
            continue
        if stored is None:
            results.append(Verified(name, "is in the audit log and missing in the store"))
        elif (digest(stored.body), digest(stored.provenance)) != digests:
            results.append(Verified(name, "in the store does not match the audit log"))
        folder = service.settings.reports_dir / name
        if not folder.is_dir():
            day = json.loads(stored.body)["period"]["last"] if stored else "…"
            again = f"reporting issue --kind {kind} --date {day} --revision {revision[1:]}"
            results.append(Verified(name, f"has no files in {folder}; `{again}` writes them again"))
            continue
        # What was issued before there was a key, or under one that is not known, says so.
        own = log.keys is not None and stored is not None and _is_by(log.keys, stored)
        results += verify_folder(folder, Against(trust_file, log.keys if own else None))
        for file, want in zip(("facts.json", "provenance.json"), digests, strict=True):
            path = folder / file
            if not path.is_file() or digest(path.read_bytes()) != want:
                results.append(Verified(f"{name}/{file}", "is not what was issued"))
    for entry in store.report_index():
        for number in range(1, entry["revision"] + 1):
            name = f"{entry['kind']}/{entry['period']}/r{number}"
            if name not in logged.reports:
                results.append(Verified(name, "is in the store and not in the audit log"))
    return results


def _is_by(keys: Keys, row: ReportRow) -> bool:
    named = {f"{key.name}+{key.id.hex()}" for key in keys.verifiers}
    with suppress(ValidationFailed):
        return not named.isdisjoint(attested(row.provenance).signers)
    return True


@dataclass
class _Logged:
    """What the audit log says there is: digests by what they are of."""

    days: dict[tuple[str, int], str] = field(default_factory=dict)
    reports: dict[str, tuple[str, str]] = field(default_factory=dict)  # facts, provenance
    purged: dict[tuple[str, str], str] = field(default_factory=dict)  # by record and name

    def take(self, entry: bytes) -> None:
        """Remember what one entry speaks of."""
        found = json.loads(entry)
        body = found["body"]
        if found["event"] in ("day sealed", "day restated"):
            self.days[body["day"], body["revision"]] = body["digest"]
        elif found["event"] == "report issued":
            self.reports[body["report"]] = (body["facts"], body["provenance"])
        elif found["event"] == "report purged":
            self.purged[body["report"].partition("/")[0], body["report"]] = body["facts"]
        elif found["event"] == "day purged":
            self.purged["sealed_day", f"{body['day']}/r{body['revision']}"] = body["digest"]
        elif found["event"] == "book purged":
            self.purged["closing_book", body["digest"]] = body["digest"]


def _verify_purges(gone: Gone, logged: _Logged) -> list[Verified]:
    """What the store calls purged is what the log says was purged, with the same digests."""
    results = []
    for (record, name), row in gone.items():
        if logged.purged.get((record, name)) != row.digest:
            problem = "the store calls it purged and the audit log does not"
            results.append(Verified(f"purge of {record} {name}", problem))
    for record, name in logged.purged.keys() - gone.keys():
        problem = "is in the audit log and missing in the store"
        results.append(Verified(f"purge of {record} {name}", problem))
    if gone:
        results.append(Verified(f"purges, {len(gone)} records", ""))
    return results


def _purged_report(
    service: Service, stored: ReportRow, digests: tuple[str, str], row: PurgedRow
) -> Verified:
    """A report of which digests are left: they are those of the log, and nothing else is there."""
    folder = service.settings.reports_dir / stored.name
    kept = service.store.signed_parts(stored.kind, stored.period, stored.revision)
    if (stored.digest, digest(stored.provenance)) != digests:
        return Verified(stored.name, "its digests in the store are not those of the audit log")
    if stored.body or any(kept.values()):
        return Verified(stored.name, f"was {row.words}, and its body is in the store again")
    if folder.is_dir():
        again = "`reporting retention purge` removes them"
        return Verified(stored.name, f"was {row.words}, and its files are still there; {again}")
    return Verified(f"{stored.name} {row.words}; its digests are in the audit log", "")


def _verify_days(store: Store, logged: _Logged, gone: Gone) -> list[Verified]:
    """Every revision of every sealed day and its book: all that the log knows, and nothing else."""
    results, open_ = [], dict(logged.days)
    for index in store.day_index():
        for row in store.revisions(index["day"]):
            name = f"sealed day {row.day} r{row.revision}"
            want = open_.pop((row.day.isoformat(), row.revision), None)
            if want is None:
                results.append(Verified(name, "is not in the audit log"))
            elif ("sealed_day", row.name) in gone:
                if row.body or row.digest != want:
                    results.append(Verified(name, "is purged, and not what the log says of it"))
            elif not digest(row.body) == row.digest == want:
                results.append(Verified(name, "does not match its digest"))
            elif (
                (book := sealed_day(row).closing_book)
                and ("closing_book", book) not in gone
                and stored_book(store, book) is None
            ):
                results.append(Verified(name, "its closing book is missing or changed"))
    for day, revision in open_:
        problem = "is in the audit log and missing in the store"
        results.append(Verified(f"sealed day {day} r{revision}", problem))
    results.append(Verified(f"sealed days, {len(logged.days)} revisions", ""))
    return results


def _logged(store: Store) -> _Logged:
    """What the audit log says there is."""
    logged = _Logged()
    for entry in store.log():
        # An entry that was edited can say anything: the chain names it.
        with suppress(ValueError, KeyError, TypeError):
            logged.take(entry.entry)
    return logged
