"""Export: issued reports, sealed days and the audit log as a folder that needs nothing of ours.

The folder opens in a browser from a disk, and is checked by the Python file inside it
(:mod:`reporting.standalone`) with a published key.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from .. import render, standalone
from ..errors import UsageError, ValidationFailed
from ..page import Document
from ..periods import days_between
from ..render import ArchiveDay, ArchivePage, ArchiveReport
from ..seal import attested, canonical, digest
from ..store import ReportRow
from .auditing import export_log, record, witness_of
from .issuing import files_of
from .service import Progress, Service, silent
from .signatures import restored

README = """\
An archive of reports
=====================
Open index.html in a browser: every report of every business day, with all revisions.

To check it, with Python 3.9 or newer and nothing else:

    python3 verify.py --key "NAME+HASH+KEY"

Take the key from where its owner published it, not from here. With checkpoints that somebody else
kept (a mail, a printed report, another archive), also: --witness FILE

  reports/<kind>/<period>/r<n>/  each revision as it was issued: HTML, PDF, facts, tables
  days/<day>/r<n>.json           the sealed facts that the reports were built from
  log/log.jsonl                  the audit log, one RFC 8785 entry a line
  log/checkpoint.txt             its checkpoint (C2SP tlog-checkpoint), signed where a key is used
  log/witness.jsonl              earlier checkpoints, as the witness file had them
  manifest.json                  SHA-256 of every file
  verify.py                      the checks, in one file to read
"""


@dataclass(frozen=True)
class Exported:
    """One archive that was written."""

    folder: Path
    reports: int
    days: int
    entries: int
    files: int
    bytes: int


def export(
    service: Service,
    first: date,
    last: date,
    folder: Path,
    now: datetime,
    *,
    progress: Progress = silent,
) -> Exported:
    """Write the archive of every report whose period ends from ``first`` to ``last``.

    ``folder`` must not exist, or be empty. It appears under its name whole or not at all.
    """
    if last < first:
        raise UsageError(f"--to {last} is before --from {first}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already; name a folder that is not, or an empty one")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        written = _Written(partial)
        # One report in memory at a time: of each only what the index and the days need is kept.
        reports: list[ArchiveReport] = []
        purged: list[str] = []
        cited: set[tuple[date, int]] = set()
        for row, content in _reports(service, first, last):
            if content is None:
                purged.append(row.name)
                continue
            progress(f"report {row.name}")
            for file, body in _files(service, row).items():
                written.add(f"reports/{row.name}/{file}", body)
            reports.append(_listed(row, content))
            cited |= {(date.fromisoformat(c["day"]), c["revision"]) for c in content["citations"]}
        if not reports and not purged:
            raise UsageError(
                f"no report of {first} to {last} was issued; `reporting status` lists what was"
            )
        progress("sealed days")
        _add_days(service, cited, written)
        progress("audit log")
        entries = _add_log(service, written)
        page = _page(service, first, last, reports, purged, now, entries)
        written.add("index.html", render.render_archive(page))
        written.add("verify.py", inspect.getsource(standalone).encode())
        written.add("README.txt", README.encode())
        manifest = {
            "schema": "reporting/archive/v1",
            "issuer": service.settings.issuer,
            "from": first.isoformat(),
            "to": last.isoformat(),
            "made_at": now.isoformat(),
            "reports": sorted([*(r.id for r in reports), *purged]),
            "files": dict(sorted(written.digests.items())),
        }
        # Of what nothing else vouches for: who made it when, and for which days.
        body = canonical({**manifest, "digest": digest(canonical(manifest))})
        written.add("manifest.json", body)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    what = {"from": first.isoformat(), "to": last.isoformat(), "manifest": digest(body)}
    record(service, "archive exported", what)
    return Exported(folder, len(reports), len(cited), entries, len(written.digests), written.bytes)


class _Written:
    """Files of the archive, each flushed to disk, with what they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digests: dict[str, str] = {}
        self.bytes = 0

    def add(self, name: str, body: bytes) -> None:
        """Write one file."""
        self.take(name, body)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())

    def take(self, name: str, body: bytes) -> None:
        """Note a file that is there already."""
        self.digests[name] = digest(body)
        self.bytes += len(body)


def _reports(
    service: Service, first: date, last: date
) -> Iterator[tuple[ReportRow, dict[str, Any] | None]]:
    """Every revision of every report whose period ends in the span, with what it says.

    Of a purged one nothing is left to say.
    """
    for entry in service.store.report_index():
        for revision in range(1, entry["revision"] + 1):
            row = service.store.report(entry["kind"], entry["period"], revision)
            if row is None:
                raise ValidationFailed(
                    f"{entry['kind']}/{entry['period']}/r{revision} is missing in the store; "
                    "run `reporting verify`"
                )
            content: dict[str, Any] | None = json.loads(row.body) if row.body else None
            if content is not None:
                ends = date.fromisoformat(content["period"]["last"])
            else:  # a report cites the last day of its period, and its provenance is kept
                ends = max(day for day, _, _ in attested(row.provenance).made.days)
            if first <= ends <= last:
                yield row, content


def _files(service: Service, row: ReportRow) -> dict[str, bytes]:
    """The files of one issued report: from its folder, made again where the folder has others."""
    name = row.name
    recorded = attested(row.provenance).made
    wanted = {**recorded.files, **recorded.signed_files}
    folder = service.settings.reports_dir / name
    found = {}
    for file, want in wanted.items():
        path = folder / file
        body = path.read_bytes() if path.is_file() else b""
        if digest(body) != want:
            break
        found[file] = body
    else:
        return {**found, "provenance.json": row.provenance}
    document = Document.model_validate_json(row.body)
    made = files_of(document)
    wrong = [f for f, want in recorded.files.items() if digest(made.get(f, b"")) != want]
    if wrong:
        raise ValidationFailed(
            f"{name}: {', '.join(wrong)} are not what was issued and can't be made again with this "
            f"version; restore {folder} from a backup"
        )
    kept = service.store.signed_parts(row.kind, row.period, row.revision)
    return {**restored(document, made, kept, recorded), "provenance.json": row.provenance}


def _add_days(service: Service, cited: set[tuple[date, int]], written: _Written) -> None:
    """Every sealed day that a report cites, in the revision that it cites."""
    for day, revision in sorted(cited):
        sealed = service.store.day(day, revision)
        if sealed is None:
            raise ValidationFailed(
                f"sealed day {day} r{revision} is missing in the store; run `reporting verify`"
            )
        if sealed.body:  # a purge keeps its digest, which the log has
            written.add(f"days/{day}/r{revision}.json", sealed.body)


def _page(
    service: Service,
    first: date,
    last: date,
    reports: list[ArchiveReport],
    purged: list[str],
    now: datetime,
    entries: int,
) -> ArchivePage:
    """What the index shows: a grid of kinds by days, and all revisions."""
    described = [service.trading_day(day) for day in days_between(first, last)]
    sessions = [d.day for d in described if d.is_session]
    placed: dict[date, dict[str, ArchiveReport]] = {day: {} for day in sessions}
    for report in sorted(reports, key=lambda r: r.revision):
        # A week ends on a Sunday; its report stands at the last session that is in it.
        at = max((day for day in sessions if day <= report.last), default=report.last)
        placed.setdefault(at, {})[report.kind] = report
    closed = [(d.day, d.note) for d in described if not d.is_session and d.day.weekday() < 5]
    gone = {name: row.words for (_, name), row in service.store.purged().items()}
    return ArchivePage(
        issuer=service.settings.issuer,
        first=first,
        last=last,
        made_at=now,
        calendar=service.calendar,
        zone=service.settings.zone,
        days=tuple(ArchiveDay(day, placed[day]) for day in sorted(placed)),
        closed=tuple(closed),
        reports=tuple(reports),
        purged=tuple((name, gone.get(name, "is missing")) for name in purged),
        entries=entries,
    )


def _listed(row: ReportRow, body: dict[str, Any]) -> ArchiveReport:
    return ArchiveReport(
        id=body["id"],
        kind=row.kind,
        title=body["title"],
        period=body["period"]["title"],
        last=date.fromisoformat(body["period"]["last"]),
        revision=row.revision,
        status=body["status"],
        verdict=body["verdict"],
        answer=body["answer"],
        reason=row.reason,
        issued_at=row.issued_at,
        signed=body["signed"],
        digest=row.digest,
    )


def _add_log(service: Service, written: _Written) -> int:
    """The audit log so far, its checkpoint, the witness's notes and the key; how many entries."""
    folder = written.folder / "log"
    note = export_log(service, folder)
    witness = witness_of(service)
    if witness.is_file():
        (folder / "witness.jsonl").write_bytes(witness.read_bytes())
    for path in sorted(folder.iterdir()):
        written.take(f"log/{path.name}", path.read_bytes())
    return note.size
