"""Verify: sealed days, audit log and issued reports are what they were."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .. import render
from ..page import Document
from ..seal import canonical, digest
from ..store import PurgedRow, ReportRow, Store
from .auditing import verify_log
from .issuing import files_of, with_digest
from .service import Progress, Service, sealed_day, silent, stored_book
from .signatures import as_rendered, check_signature, signature_files

#: What was purged, by record and name.
Gone = Mapping[tuple[str, str], PurgedRow]


@dataclass(frozen=True)
class Verified:
    """One thing that was checked; ``problem`` is empty where it is as it should be."""

    what: str
    problem: str

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem


def verify_folder(folder: Path, trust_file: Path | None = None) -> list[Verified]:
    """Check one issued report from its files alone: digests, canonical facts, re-rendering.

    With the roots in ``trust_file`` also who signed it.
    """
    name = str(folder)
    try:
        provenance_bytes = (folder / "provenance.json").read_bytes()
        recorded = json.loads(provenance_bytes)
        if canonical(with_digest(recorded)) != provenance_bytes:
            return [Verified(f"{name}/provenance.json", "does not match its own digest")]
        facts = (folder / "facts.json").read_bytes()
        document = Document.model_validate_json(facts)
    except (OSError, ValueError) as error:
        return [Verified(name, f"is no issued report: {str(error).splitlines()[0]}")]
    results = []
    wanted = dict(recorded["files"])
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    for file, want in sorted(wanted.items()):
        body = (folder / file).read_bytes() if file in present else None
        have = "" if body is None else digest(as_rendered(file, body, recorded))
        problem = "" if have == want else "is missing" if not have else f"has digest {have}"
        results.append(Verified(f"{name}/{file}", problem))
    for what, problem in check_signature(folder, document, recorded, trust_file):
        results.append(Verified(f"{name}/{what}", problem))
    for file in sorted(present - set(wanted) - signature_files(recorded) - {"provenance.json"}):
        results.append(Verified(f"{name}/{file}", "is not part of the report"))
    canonical_problem = "" if canonical(document) == facts else "is not canonical"
    results.append(Verified(f"{name}/facts.json canonical", canonical_problem))
    if recorded["report"] != document.id:
        results.append(Verified(f"{name}/provenance.json", f"speaks of {recorded['report']}"))
    if any(not r.ok for r in results):
        return results
    if recorded["native"] == dict(render.native_versions()) and (
        recorded["templates"] == render.template_digest()
    ):
        again = files_of(document)
        differing = [n for n, want in wanted.items() if digest(again.get(n, b"")) != want]
        problem = f"{', '.join(differing)} differ" if differing else ""
        results.append(Verified(f"{name} rendered again from its facts", problem))
    else:
        made = "made with other templates or libraries, so not rendered again"
        results.append(Verified(f"{name}: {made}", ""))
    return results


def verify(service: Service, *, progress: Progress = silent) -> list[Verified]:
    """Check everything: sealed days, the audit chain with its witness, every issued report."""
    store, results = service.store, []
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
        results += verify_folder(folder, service.settings.signing_trust_file)
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
