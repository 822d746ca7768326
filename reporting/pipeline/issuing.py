"""Build and issue: sealed days + policy → Document → files, store and audit log."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from .. import __version__, render
from ..document import (
    FORECASTS,
    HISTORY_OF,
    Cited,
    Earlier,
    Excerpt,
    Issue,
    build,
    content,
    history_from,
    lookback,
)
from ..errors import (
    NotReady,
    SigningFailed,
    SourceUnavailable,
    UsageError,
    ValidationFailed,
)
from ..page import Document, Kind, Status
from ..periods import (
    Span,
    days_between,
    next_session,
    previous_session,
    span,
)
from ..resources import code_digest
from ..seal import Provenance, attest, attested, canonical, digest
from ..store import ReportRow, Writer
from .auditing import checkpoint_before, checkpoint_now, note_configuration, signer_of
from .retention import retention_of
from .service import Progress, Service, document_of, excerpt_of, sealed_day, silent
from .signatures import (
    PDF,
    check_policy,
    must_sign,
    recorded_as,
    restored,
    signature_of,
    signs,
    with_signature,
)
from .signoff import signoffs_before


@dataclass(frozen=True)
class Issued:
    """One issued report; ``outcome`` is issued, regenerated, unchanged or would-issue."""

    document: Document
    folder: Path
    outcome: str


def period_of(service: Service, kind: str, day: date) -> Span:
    """The period of a report. A daily one begins after the session before: nothing is left out."""
    found = span(kind, day)
    if kind != Kind.DAILY:
        return found
    described = service.trading_day(day)
    if not described.is_session:
        calendar = service.calendar
        raise UsageError(
            f"{day} is no session: {described.note}; the nearest sessions are "
            f"{previous_session(day, calendar)} and {next_session(day, calendar)}"
        )
    first = previous_session(day, service.calendar) + timedelta(1)
    return Span(found.kind, found.label, found.title, first, found.last)


def draft(
    service: Service,
    kind: str,
    day: date,
    now: datetime,
    *,
    reason: str = "",
    allow_gaps: bool = False,
    flash: bool = False,
) -> Document:
    """The Document of a report as of now: revision 1, or the next one after what was issued.

    With ``flash`` a daily one may be of a day that was sealed before its end.
    """
    return _drafted(service, kind, day, now, reason, allow_gaps, flash)[0]


def _drafted(
    service: Service,
    kind: str,
    day: date,
    now: datetime,
    reason: str,
    allow_gaps: bool,
    flash: bool,
) -> tuple[Document, ReportRow | None]:
    """The Document and the issued revision that it follows: what it has to differ from.

    Read once: a revision that somebody issues meanwhile is met when this one is stored.
    """
    if flash and kind != Kind.DAILY:
        raise UsageError(f"a {kind} report is never a FLASH: only a daily one, of a flash close")
    period = period_of(service, kind, day)
    end = service.trading_day(period.last).window.end
    rows = service.store.days(period.first, period.last)
    days = [Cited(sealed_day(row), row.digest, row.sealed_at) for row in rows]
    early = [c.sealed.day for c in days if c.sealed.flash]
    if early and not (flash or allow_gaps):
        raise NotReady(
            f"{early[-1]} was sealed as FLASH, before its end; run `reporting close --date "
            f"{early[-1]}` once it is over" + (", or say --flash" if kind == Kind.DAILY else "")
        )
    if now < end and not allow_gaps and not (flash and early):
        raise NotReady(
            f"{period.label} ends at {end.isoformat()}, it is {now.isoformat()}"
            + (f"; `reporting close --flash --date {day}` comes before a flash" if flash else "")
        )
    have = {row.day for row in rows}
    unsealed = [d for d in days_between(period.first, period.last) if d not in have]
    if kind == Kind.DAILY and rows and rows[0].day > period.first:
        # The ledger's first session: nothing was there to be sealed on the days before it.
        unsealed = [d for d in unsealed if d > rows[0].day]
    if not days or (unsealed and not allow_gaps):
        listed = ", ".join(map(str, unsealed[:5])) + (" …" if len(unsealed) > 5 else "")
        raise NotReady(
            f"{kind} {period.label} needs days that are not sealed: {listed}; run "
            f"`reporting close --date {unsealed[-1]}`, or --allow-gaps for an INCOMPLETE report"
        )
    last = service.store.report(kind, period.label)
    previous = document_of(service, last) if last else None
    issue = Issue(
        issuer=service.settings.issuer,
        base=service.settings.base_currency,
        issued_at=now,
        checkpoint=checkpoint_before(service),
        revision=previous.revision + 1 if previous else 1,
        reason=reason or (_why(previous, days) if previous else ""),
        previous=previous,
        locale=service.settings.locale,
        signoffs=signoffs_before(service, kind, period.label),
        retention=retention_of(service, kind, now),
        reviews=service.store.reviews(period.first, period.last, max(row.known_at for row in rows)),
    )
    first = lookback(period, service.policy, days[-1].sealed.calendar)
    before = _before(service, first, period)
    earlier = _earlier(service, first, period, days[-1].sealed.calendar)
    return build(period, days, unsealed, before, service.policy, issue, earlier), last


def _before(service: Service, first: date, period: Span) -> list[Cited]:
    """The sealed days before the period that its comparisons and error budgets rest on."""
    rows = service.store.days(first, period.first - timedelta(1))
    return [Cited(sealed_day(r), r.digest, r.sealed_at) for r in rows]


def _earlier(service: Service, until: date, period: Span, calendar: str) -> Earlier:
    """A few facts of the days before ``until``: what a year to date and a backtest count.

    Of restated days up to the period's last also what they said of VaR before. Read a month at a
    time, so that no more than a month of whole days is ever in memory.
    """
    first = history_from(period, calendar)
    excerpts: list[Excerpt] = []
    superseded: list[Excerpt] = []
    while first <= period.last:
        last = min(first + timedelta(30), period.last)
        newest = service.store.days(first, min(last, until - timedelta(1)))
        excerpts += [excerpt_of(row, HISTORY_OF) for row in newest]
        superseded += [excerpt_of(r, FORECASTS) for r in service.store.superseded(first, last)]
        first = last + timedelta(1)
    index = service.store.day_index()
    began = index[0]["day"] if index else None
    return Earlier(began, HISTORY_OF, tuple(excerpts), tuple(superseded))


def _why(previous: Document, days: Sequence[Cited]) -> str:
    """The reason that the restated days themselves give, or ""."""
    if previous.status is Status.FLASH and not any(c.sealed.flash for c in days):
        return "final after flash"
    cited = {c.day: c.revision for c in previous.citations}
    reasons = [
        f"{c.sealed.day} r{c.sealed.revision}: {c.sealed.reason}"
        for c in days
        if c.sealed.revision > cited.get(c.sealed.day, 0) and c.sealed.reason
    ]
    return "; ".join(dict.fromkeys(reasons))


def issue(
    service: Service,
    kind: str,
    day: date,
    now: datetime,
    *,
    reason: str = "",
    allow_gaps: bool = False,
    flash: bool = False,
    dry_run: bool = False,
    also: Callable[[Writer, Document], None] | None = None,
    progress: Progress = silent,
) -> Issued:
    """Issue a report, or write again, byte for byte, the one whose content has not changed.

    ``also`` is done in the transaction that issues it, or that says that it was written again: all
    of it happens or nothing. Whoever gives it wants the report to be there and no proof of its
    bytes: where every file is as it was issued, nothing is rendered.
    """
    check_policy(service)
    if not dry_run:
        note_configuration(service)
    progress(f"building {kind} {period_of(service, kind, day).label}")
    document, last = _drafted(service, kind, day, now, reason, allow_gaps, flash)
    if last is not None:
        issued = document_of(service, last)
        # With a reason, what was issued unsigned is issued again to be signed.
        again = bool(reason) and signs(service) and not issued.signed
        if content(issued) == content(document) and not again:
            folder = _folder(service, issued)
            if also is not None and _intact(folder, last.provenance):
                with service.store.writing() as writer:
                    also(writer, issued)
                return Issued(issued, folder, "unchanged")
            if not dry_run:
                progress(f"writing {issued.id} again")
                _regenerate(service, issued, last.provenance, folder, also)
            return Issued(issued, folder, "would-regenerate" if dry_run else "regenerated")
        if not document.reason:
            raise UsageError(
                f"{kind} {document.period.label} differs from revision {last.revision}, and no "
                "restated day says why; give the reason: --reason '…' (make report … REASON='…')"
            )
    folder = _folder(service, document)
    if dry_run:
        return Issued(document, folder, "would-issue")
    progress(f"rendering {document.id}")
    document = document.model_copy(update={"signed": signs(service)})
    files = files_of(document)
    kept: dict[str, bytes] = {}
    if document.signed:
        progress(f"signing {document.id}")
        document, files, kept = _signed(service, document, files, now)
    provenance = attest(_provenance(service, document, files, kept), signer_of(service))
    row = ReportRow(
        kind=kind,
        period=document.period.label,
        revision=document.revision,
        digest=digest(files["facts.json"]),
        body=files["facts.json"],
        provenance=provenance,
        issued_at=now,
        reason=document.reason,
    )
    with service.store.writing() as writer:
        writer.add_report(row)
        writer.add_signed_parts(row, kept)
        if also is not None:
            also(writer, document)
        # Files before the commit, and flushed to disk: what the log says was issued is there to be
        # found. After the row: whoever issues the same revision at the same time waits for it.
        _write(folder, {**with_signature(files, kept), "provenance.json": provenance})
        writer.log(
            "report issued",
            {
                "report": document.id,
                "status": document.status.value,
                "facts": row.digest,
                "provenance": digest(provenance),
                "files": {name: digest(body) for name, body in sorted(files.items())},
                "supersedes": document.supersedes,
                "reason": document.reason,
                "signed": document.signed,
                **recorded_as(files, kept),
            },
        )
    checkpoint_now(service)
    return Issued(document, folder, "issued")


def _signed(
    service: Service, document: Document, files: dict[str, bytes], now: datetime
) -> tuple[Document, dict[str, bytes], dict[str, bytes]]:
    """``document`` with its files and what its signature adds to them.

    The log says before the key is used what it is used for. Where it can't be used and policy
    allows it, the document comes back unsigned, with the reason, and is rendered as such.
    """
    about = {"report": document.id, "facts": digest(files["facts.json"])}
    with service.store.writing() as writer:
        writer.log("signature begun", {**about, "rendered": digest(files[PDF])})
    checkpoint_now(service)
    try:
        return document, files, signature_of(service, files[PDF], now)
    except SigningFailed as failure:
        with service.store.writing() as writer:
            writer.log("signature failed", {**about, "because": str(failure)})
        checkpoint_now(service)
        if must_sign(service):
            raise
        because = str(failure).partition(";")[0]
    plain = document.model_copy(update={"signed": False, "unsigned_because": because})
    return plain, files_of(plain), {}


def rewrite(
    service: Service,
    kind: str,
    day: date,
    revision: int,
    *,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Issued:
    """Write one issued revision again, byte for byte, whatever was issued or sealed since."""
    label = period_of(service, kind, day).label
    row = service.store.report(kind, label, revision)
    if row is None:
        raise UsageError(
            f"{kind} {label} has no revision {revision}; `reporting status` lists what was issued"
        )
    issued = document_of(service, row)
    folder = _folder(service, issued)
    if dry_run:
        return Issued(issued, folder, "would-regenerate")
    progress(f"writing {issued.id} again")
    _regenerate(service, issued, row.provenance, folder)
    return Issued(issued, folder, "regenerated")


def _folder(service: Service, document: Document) -> Path:
    return service.settings.reports_dir / document.id


def files_of(document: Document) -> dict[str, bytes]:
    """Every file of a report as rendered, by name: without its provenance and its signature."""
    html = render.render_html(document)
    restated = {"differences.html": render.render_differences} if document.supersedes else {}
    return {
        **{name: made(document) for name, made in restated.items()},
        "facts.json": canonical(document),
        "report.html": html,
        "report.pdf": render.render_pdf(html, document),
        **{f"tables/{name}": body for name, body in render.render_tables(document).items()},
    }


def _provenance(
    service: Service,
    document: Document,
    files: Mapping[str, bytes],
    kept: Mapping[str, bytes],
) -> Provenance:
    """What the report was made from and with, so that a third party can repeat it.

    ``files`` are as rendered; what a signature added, ``kept``, stands for itself.
    """
    queries = dict(service.ledger.query_texts())
    for row in service.store.days(document.period.first, document.period.last):
        queries |= {c.query_digest: c.text for c in sealed_day(row).sources if c.text}
    signature = recorded_as(files, kept).get("signature", {})
    return Provenance(
        report=document.id,
        issued_at=document.issued_at,
        files={name: digest(body) for name, body in files.items()},
        days=tuple((c.day, c.revision, c.digest) for c in document.citations),
        policy=document.policy_digest,
        checkpoint=document.checkpoint.model_dump(mode="json"),
        queries=queries,
        rendered_bytes=signature.get("rendered_bytes", 0),
        signed_files=signature.get("files", {}),
        **made_with(),
    )


def made_with() -> dict[str, Any]:
    """What the bytes of a report depend on beside its document, by its name in the provenance."""
    return {
        "templates": render.template_digest(),
        "version": __version__,
        "code": code_digest(),
        "native": dict(render.native_versions()),
    }


def _regenerate(
    service: Service,
    document: Document,
    provenance: bytes,
    folder: Path,
    also: Callable[[Writer, Document], None] | None = None,
) -> None:
    """Write an issued report again and prove that every byte is as it was."""
    recorded = attested(provenance).made
    files = files_of(document)
    wrong = [n for n, want in recorded.files.items() if digest(files.get(n, b"")) != want]
    if wrong:
        differing = [k for k, v in made_with().items() if getattr(recorded, k) != v]
        changed = differing or ["nothing that is recorded"]
        raise ValidationFailed(
            f"{document.id} can not be written again byte for byte ({', '.join(wrong)} differ): "
            f"{', '.join(changed)} changed since it was issued; use the version recorded in its "
            "provenance.json"
        )
    label = document.period.label
    kept = service.store.signed_parts(document.kind.value, label, document.revision)
    issued = restored(document, files, kept, recorded)
    with service.store.writing() as writer:
        if also is not None:
            also(writer, document)
        _write(folder, {**issued, "provenance.json": provenance})
        writer.log(
            "report regenerated", {"report": document.id, "facts": digest(files["facts.json"])}
        )
    checkpoint_now(service)


def _intact(folder: Path, provenance: bytes) -> bool:
    """Whether every file of an issued report lies there as it was issued."""
    made = attested(provenance).made
    wanted = {**made.files, **made.signed_files, "provenance.json": digest(provenance)}
    try:
        return all(digest((folder / n).read_bytes()) == want for n, want in wanted.items())
    except OSError:
        return False


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write every file, each whole or not at all, flushed to disk.

    :class:`SourceUnavailable` where it can't: a full disk has room again some time.
    """
    try:
        for name, body in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            with partial.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    except OSError as error:
        raise SourceUnavailable(
            f"{error.filename or folder} can't be written ({error.strerror}): nothing is issued; "
            "mend it and try again (REPORTING_REPORTS_DIR)"
        ) from error
