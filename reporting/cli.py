"""The commands: thin, each a call of the pipeline; the one place where the clock is read.

Exit codes: 0 ok, 2 usage, 3 data not ready, 4 validation, 5 delivery failed or unknown, 75 try
again later.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from . import __version__, pipeline, settings
from .errors import ReportingError, UsageError
from .page import Document, Verdict
from .postgres import database, migrate
from .seal import canonical

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="SLA and business-metrics reports that an auditor can check without us.",
    epilog="Exit codes: 0 ok, 2 usage, 3 data not ready, 4 validation failed, 75 try again.",
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

MARK = {Verdict.MET: "✔", Verdict.MISSED: "✘", Verdict.UNKNOWN: "?"}


class KindName(StrEnum):
    """The kinds of report, as words on the command line."""

    daily = "daily"
    weekly = "weekly"
    monthly = "monthly"


KindOption = Annotated[KindName, typer.Option("--kind", "-k", help="Which report.")]
DateOption = Annotated[
    str, typer.Option("--date", "-d", metavar="YYYY-MM-DD", help="A day inside the period.")
]
ReasonOption = Annotated[
    str, typer.Option("--reason", "-r", help="Why a new revision is issued; printed and logged.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")
]
GapsOption = Annotated[
    bool,
    typer.Option("--allow-gaps", help="Go on without a source or a day; the gap is recorded."),
]
NowOption = Annotated[
    str,
    typer.Option(
        "--now",
        metavar="TIME",
        help="Act as of this ISO 8601 time with its offset instead of the clock's.",
    ),
]


def main() -> NoReturn:
    """Run the command line; every failure that is not a bug ends in its own exit code."""
    # A terminated process still stops the embedded server: SystemExit runs the exit handlers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    as_json = "--json" in sys.argv
    try:
        app(standalone_mode=True)
    except ReportingError as error:
        _fail(str(error), error.exit_code, as_json)
    except KeyboardInterrupt:
        _fail("stopped; what was sealed or issued before stays", 130, as_json)
    raise SystemExit(0)


def _fail(message: str, code: int, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"ok": False, "error": message, "exit_code": code}))
    else:
        err.print(f"[bold red]error:[/] {_plain(message)}")
    raise SystemExit(code)


def _plain(text: str) -> str:
    """Text that rich must not read as markup."""
    return text.replace("[", "\\[")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print it and end."),
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: reporting close --date 2025-12-05")
def close(
    date_: DateOption,
    reason: ReasonOption = "",
    allow_gaps: GapsOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Seal the facts of a day, of every unsealed day before it, and of days changed since.

    Late fills, corrections and busts make a new revision of their day and of what follows.
    """
    service = _service()
    with _progress(as_json) as progress:
        results = pipeline.close(
            service,
            _date(date_),
            _now(now),
            reason=reason,
            allow_gaps=allow_gaps,
            dry_run=dry_run,
            progress=progress,
        )
    if as_json:
        return _json(closed=[vars(r) | {"day": r.day.isoformat()} for r in results])
    for r in results:
        revision = f" r{r.revision}" if r.revision else ""
        out.print(
            f"{r.day}{revision}  {r.outcome}" + (f"  ({_plain(r.reason)})" if r.reason else "")
        )
        for gap in r.gaps:
            out.print(f"    gap: {_plain(gap)}", style="yellow")


@app.command(epilog="Example: reporting build --kind monthly --date 2025-11-01 > november.json")
def build(
    kind: KindOption,
    date_: DateOption,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the document here.")
    ] = None,
    allow_gaps: GapsOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Build a report's document from sealed days and print its canonical JSON; issues nothing."""
    document = pipeline.draft(
        _service(), kind.value, _date(date_), _now(now), allow_gaps=allow_gaps
    )
    body = canonical(document)
    if dry_run:
        output = None
    if output is None:
        if dry_run and not as_json:
            return _summary(document)
        sys.stdout.write(body.decode("utf-8") + "\n")
        return None
    output.write_bytes(body)
    if as_json:
        return _json(document=document.id, output=str(output))
    out.print(f"{document.id} written to {output}")


@app.command(
    epilog="Examples: reporting issue --kind daily --date 2025-12-05\n\n"
    "reporting issue -k weekly -d 2025-12-05 --reason 'late fill of 2 December'"
)
def issue(
    kind: KindOption,
    date_: DateOption,
    reason: ReasonOption = "",
    revision: Annotated[
        int, typer.Option("--revision", min=0, help="Write this issued revision again.")
    ] = 0,
    allow_gaps: GapsOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Issue a report as HTML, PDF and data, or write an issued one again byte for byte."""
    service, day, at = _service(), _date(date_), _now(now)
    with _progress(as_json) as progress:
        if revision:
            result = pipeline.rewrite(
                service, kind.value, day, revision, dry_run=dry_run, progress=progress
            )
        else:
            result = pipeline.issue(
                service,
                kind.value,
                day,
                at,
                reason=reason,
                allow_gaps=allow_gaps,
                dry_run=dry_run,
                progress=progress,
            )
    document = result.document
    if as_json:
        return _json(
            report=document.id,
            outcome=result.outcome,
            status=document.status.value,
            verdict=document.verdict.value,
            folder=str(result.folder),
        )
    _summary(document)
    out.print(f"{result.outcome}: {result.folder}/report.html, report.pdf, facts.json")


@app.command(epilog="Examples: reporting verify\n\nreporting verify reports/daily/2025-12-05/r1")
def verify(
    folder: Annotated[
        Path | None,
        typer.Argument(help="One issued report; its files alone are checked, offline."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the audit log, every sealed day and every issued report, or one report's folder."""
    if folder is not None:
        results = pipeline.verify_folder(folder)
    else:
        with _progress(as_json) as progress:
            results = pipeline.verify(_service(), progress=progress)
    wrong = [r for r in results if not r.ok]
    if as_json:
        _json(ok=not wrong, checked=len(results), problems=[vars(r) for r in wrong])
    else:
        for r in results:
            if r.ok:
                out.print(f"[green]✔[/] {_plain(r.what)}")
            else:
                out.print(f"[red]✘[/] {_plain(r.what)}: {_plain(r.problem)}")
        out.print(f"{len(results)} checks, {len(wrong)} failed")
    if wrong:
        raise SystemExit(4)


@app.command(epilog="Example: reporting status --json")
def status(as_json: JsonOption = False) -> None:
    """Show what is sealed and issued, what is open, and the head of the audit log."""
    found = pipeline.status(_service())
    if as_json:
        return _json(**found)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row(
        "Sealed days",
        f"{found['sealed_days']}, {found['first_day']} to {found['last_day']}"
        if found["sealed_days"]
        else "none yet",
    )
    table.add_row("Not sealed between", ", ".join(found["unsealed_between"]) or "none")
    table.add_row("Restated days", str(len(found["restated"])))
    table.add_row("Ledger known until", found["known_until"] or "never")
    for report in found["reports"]:
        name = f"{report['kind']}/{report['period']}/r{report['revision']}"
        table.add_row("Issued", f"{name}  at {report['issued_at']}")
    log = found["audit_log"]
    table.add_row("Audit log", f"{log['size']} entries, head {log['chain_hash'][:16]}…")
    out.print(table)


@app.command(epilog="Example: reporting doctor --migrate")
def doctor(
    apply: Annotated[
        bool, typer.Option("--migrate", help="Bring the store's schema to the newest version.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check every dependency and say how to mend each that is not well."""
    service = _service()
    if apply and not dry_run:
        url = service.settings.url_of_store_admin
        if url is not None:
            migrate(database(url, "store"))
    checks = pipeline.doctor(service, _now("").date())
    bad = [c for c in checks if not c.ok]
    if as_json:
        _json(ok=not bad, checks=[vars(c) for c in checks])
    else:
        for c in checks:
            out.print(f"{'[green]✔[/]' if c.ok else '[red]✘[/]'} {c.what}: {_plain(c.detail)}")
            if not c.ok and c.mend:
                out.print(f"    mend: {_plain(c.mend)}", style="yellow")
    if bad:
        raise SystemExit(4)


@app.command(epilog="Example: reporting demo")
def demo(
    reports_dir: Annotated[Path, typer.Option(help="Where the reports go.")] = Path("reports/demo"),
    var_dir: Annotated[Path, typer.Option(help="Where the demo's servers and data live.")] = Path(
        "var/demo"
    ),
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run the whole line on sample data: generate, load, close 97 days, issue three reports."""
    from .demo import story  # noqa: PLC0415 - nothing of the demo is loaded by the service

    if dry_run:
        return _json(**story.plan()) if as_json else out.print(story.plan_in_words())
    with _progress(as_json) as progress:
        made = story.run(var_dir, reports_dir, progress)
    if as_json:
        return _json(**made.as_json())
    out.print(made.in_words())
    if not made.ok:
        raise SystemExit(4)


# --- small things --------------------------------------------------------------------------------


def _service() -> pipeline.Service:
    return pipeline.Service(settings.load())


def _now(given: str) -> datetime:
    """The clock, read once a command, or the time that was given."""
    if not given:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise UsageError(f"--now {given!r} is not an ISO 8601 time") from None
    if at.tzinfo is None:
        raise UsageError(f"--now {given!r} has no offset; write 2025-12-08T06:00:00-05:00")
    clock = datetime.now(UTC)
    if at > clock:
        # What is recorded until then would never be looked at again.
        raise UsageError(f"--now {given} is in the future; expected at most {clock.isoformat()}")
    return at.astimezone(UTC)


def _date(given: str) -> date:
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise UsageError(f"--date {given!r} is not a date; write it as 2025-12-05") from None


def _json(**fields: Any) -> None:
    print(json.dumps(fields, default=str, sort_keys=True))


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A status line on a terminal; elsewhere a line whenever another kind of work begins."""
    if quiet:
        yield pipeline.silent
        return
    if not err.is_terminal:
        yield _Stages()
        return
    with err.status("starting") as line:
        yield lambda words: line.update(_plain(words))


class _Stages:
    """Prints the first of several steps that begin with the same word."""

    def __init__(self) -> None:
        self._verb = ""

    def __call__(self, words: str) -> None:
        verb = words.split()[0]
        if verb != self._verb:
            self._verb = verb
            err.print(f"{_plain(words)} …")


def _summary(document: Document) -> None:
    out.print(
        f"[bold]{document.title}, {_plain(document.period.title)}[/]  {document.status.value}"
    )
    out.print(f"{MARK[document.verdict]} {_plain(document.answer)}")
    for item in document.attention[:6]:
        out.print(f"  {item.severity}: {_plain(item.text)}")
