"""The commands: thin, each a call of the pipeline.

Exit codes: 0 ok, 2 usage, 3 data not ready, 4 validation, 5 delivery failed or unknown, 75 try
again later.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.table import Table

from .. import __version__, pipeline
from ..errors import ReportingError
from ..postgres import database, migrate
from ..seal import canonical, digest
from . import audit, explain, export, incidents, objectives, retention, serve, signoff, verify
from .shared import (
    DateOption,
    DryRunOption,
    FlashOption,
    GapsOption,
    JsonOption,
    KindOption,
    NowOption,
    ReasonOption,
    as_of,
    day_of,
    err,
    open_service,
    out,
    plain,
    print_json,
    print_summary,
    progress_shown,
)

#: Reports that `status` names.
LAST = 10

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="SLA and business-metrics reports that an auditor can check without us.",
    epilog="Exit codes: 0 ok, 2 usage, 3 data not ready, 4 validation failed, "
    "5 delivery failed or unknown, 75 try again.",
)

app.add_typer(objectives.app, name="objectives")
app.add_typer(incidents.app, name="incidents")
app.command(epilog=explain.EXAMPLES)(explain.explain)
app.add_typer(audit.app, name="audit")
app.command("verify", epilog=verify.EXAMPLES)(verify.command)
app.command(
    "export", epilog="Example: reporting export --from 2025-11-01 --to 2025-11-30 -o november"
)(export.command)


app.command("sign-off", epilog=signoff.EXAMPLES)(signoff.command)
app.add_typer(retention.app, name="retention")
app.command(epilog=serve.SERVE_EXAMPLES)(serve.serve)
app.command(epilog=serve.BACKFILL_EXAMPLES)(serve.backfill)
app.command(epilog=serve.DELIVER_EXAMPLES)(serve.deliver)
app.command(epilog=serve.WAIVE_EXAMPLES)(serve.waive)


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
        err.print(f"[bold red]error:[/] {plain(message)}")
    raise SystemExit(code)


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
    reread: Annotated[
        bool,
        typer.Option(
            "--reread", help="Ask Prometheus again about days that are sealed; it may have less."
        ),
    ] = False,
    flash: FlashOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Seal the facts of a day, of every unsealed day before it, and of days changed since.

    Late fills, corrections and busts make a new revision of their day and of what follows.
    """
    service = open_service()
    with progress_shown(as_json) as progress:
        results = pipeline.close(
            service,
            day_of(date_),
            as_of(now),
            reason=reason,
            allow_gaps=allow_gaps,
            dry_run=dry_run,
            reread=reread,
            flash=flash,
            progress=progress,
        )
    if as_json:
        return print_json(closed=[vars(r) | {"day": r.day.isoformat()} for r in results])
    for r in results:
        revision = f" r{r.revision}" if r.revision else ""
        out.print(
            f"{r.day}{revision}  {r.outcome}" + (f"  ({plain(r.reason)})" if r.reason else "")
        )
        for gap in r.gaps:
            out.print(f"    gap: {plain(gap)}", style="yellow")


@app.command(epilog="Example: reporting build --kind monthly --date 2025-11-01 > november.json")
def build(
    kind: KindOption,
    date_: DateOption,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the document here.")
    ] = None,
    allow_gaps: GapsOption = False,
    flash: FlashOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Build a report's document from sealed days and print its canonical JSON; issues nothing.

    That somebody saw it is logged; with --dry-run only a summary is shown, and nothing is written.
    """
    service = open_service()
    document = pipeline.draft(
        service, kind.value, day_of(date_), as_of(now), allow_gaps=allow_gaps, flash=flash
    )
    body = canonical(document)
    if dry_run:
        output = None
    else:
        pipeline.viewed(service, document.id, digest(body), "build")
    if output is None:
        if dry_run and not as_json:
            return print_summary(document)
        sys.stdout.write(body.decode("utf-8") + "\n")
        return None
    output.write_bytes(body)
    if as_json:
        return print_json(document=document.id, output=str(output))
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
    flash: FlashOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Issue a report as HTML, PDF and data, or write an issued one again byte for byte."""
    service, day, at = open_service(), day_of(date_), as_of(now)
    with progress_shown(as_json) as progress:
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
                flash=flash,
                dry_run=dry_run,
                progress=progress,
            )
    document = result.document
    if as_json:
        return print_json(
            report=document.id,
            outcome=result.outcome,
            status=document.status.value,
            verdict=document.verdict.value,
            folder=str(result.folder),
        )
    print_summary(document)
    out.print(f"{result.outcome}: {result.folder}/report.html, report.pdf, facts.json")


@app.command(epilog="Example: reporting status --json")
def status(as_json: JsonOption = False) -> None:
    """Show what is sealed and issued, what is open, and the head of the audit log."""
    found = pipeline.status(open_service())
    if as_json:
        return print_json(**found)
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
    of = found["service"]
    for name, at in of["next"].items():
        table.add_row("Due next", f"{name}  at {at}")
    table.add_row("Runs", ", ".join(f"{count} {state}" for state, count in of["runs"].items()))
    for run in of["late"]:
        past = "past its deadline" if run["past_deadline"] else f"until {run['deadline_at']}"
        why = f"  ({plain(run['because'])})" if run["because"] else ""
        table.add_row("Late", f"{run['run']}  {run['state']}, {past}{why}")
    for state in ("missed", "incomplete"):
        if of[state]:
            table.add_row(state.capitalize(), ", ".join(of[state]))
    table.add_row("Mails", ", ".join(f"{count} {state}" for state, count in of["mails"].items()))
    for mail in of["undelivered"]:
        words = f"{mail['report']} to {mail['recipient']}  {mail['state']}  {mail['because']}"
        words += f"  {mail['message_id']}"
        table.add_row("Not delivered", plain(words))
    issued = found["reports"]
    if len(issued) > LAST:
        table.add_row("Issued", f"{len(issued)}; the last {LAST} follow, --json has all")
    for report in sorted(issued, key=lambda each: str(each["issued_at"]))[-LAST:]:
        name = f"{report['kind']}/{report['period']}/r{report['revision']}"
        table.add_row("Issued", f"{name}  at {report['issued_at']}")
    for row in found["open_for_review"]:
        table.add_row("Open for review", f"{row['report']}  lacks {' and '.join(row['lacks'])}")
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
    service = open_service(examined=True)
    if apply and not dry_run:
        url = service.address("store_admin_url") or service.address("store_url")
        if url is not None:
            migrate(database(url, "store"))
    checks = pipeline.doctor(service, as_of("").date())
    bad = [c for c in checks if not c.ok]
    if as_json:
        print_json(ok=not bad, checks=[vars(c) for c in checks])
    else:
        for c in checks:
            sign = "[green]✔[/]" if c.ok else "[red]✘[/]"
            out.print(f"{sign} {c.what}: {plain(c.detail)}")
            if not c.ok and c.mend:
                out.print(f"    mend: {plain(c.mend)}", style="yellow")
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
    from ..demo import story  # noqa: PLC0415 - nothing of the demo is loaded by the service

    if dry_run:
        return print_json(**story.plan()) if as_json else out.print(story.plan_in_words())
    with progress_shown(as_json) as progress:
        made = story.run(var_dir, reports_dir, progress)
    if as_json:
        return print_json(**made.as_json())
    out.print(made.in_words())
    if not made.ok:
        raise SystemExit(4)
