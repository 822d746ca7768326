"""``reporting retention``: what is kept until when, legal holds, and the purge.

Exit codes: 0 ok, 2 usage, 4 the database refuses the purge.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ..pipeline import retention
from ..settings import operating_user
from .shared import (
    DryRunOption,
    JsonOption,
    NowOption,
    as_of,
    day_of,
    open_service,
    out,
    plain,
    print_json,
    progress_shown,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="How long everything is kept, what is held, and what goes when its time is over.",
)

WhyOption = Annotated[str, typer.Option("--reason", "-r", help="Logged with it.")]


@app.command("list", epilog="Example: reporting retention list --past")
def list_(
    past: Annotated[
        bool, typer.Option("--past", help="Only what is past its time, and what keeps it.")
    ] = False,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Show every record with its class and its last day, the holds, and what was purged."""
    service = open_service()
    found = [r for r in retention.retained(service, as_of(now)) if r.past or not past]
    holds, purged = service.store.holds(), list(service.store.purged().values())
    if as_json:
        return print_json(
            records=[
                {
                    "record": r.record,
                    "name": r.name,
                    "class": r.rule.class_ if r.rule else None,
                    "until": r.rule.until if r.rule else None,
                    "past": r.past,
                    "kept_because": r.because,
                }
                for r in found
            ],
            holds=[vars(h) | {"on": h.on} for h in holds],
            purged=[vars(p) for p in purged],
        )
    for r in found:
        rule = f"{r.rule.class_} until {r.rule.until}" if r.rule else "no rule in force"
        state = "" if not r.past else f"  past, kept: {r.because}" if r.because else "  may go"
        out.print(plain(f"{r.record:12} {_short(r.name)}  {rule}{state}"))
    for h in holds:
        state = f"released {h.released_at:%F} by {h.released_by}" if h.released_at else "in force"
        words = f"hold {h.entry} on {h.on}, {h.at:%F} by {h.person}: {h.reason}; {state}"
        out.print(plain(words), style=None if h.released_at else "yellow")
    for p in purged:
        out.print(plain(f"{p.record:12} {_short(p.name)}  {p.words}; digest {p.digest[:16]}…"))


@app.command(
    epilog="Examples: reporting retention hold --report monthly/2025-11 --reason 'matter 2026-17'"
    "\n\nreporting retention hold --from 2025-11-01 --to 2025-11-30 --reason 'matter 2026-17'"
)
def hold(
    reason: WhyOption,
    report: Annotated[
        str, typer.Option("--report", help="All revisions of a report, and its days.")
    ] = "",
    first: Annotated[
        str, typer.Option("--from", metavar="YYYY-MM-DD", help="Everything from a day …")
    ] = "",
    last: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="… to a day.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Put a legal hold on a report or on a span of days: none of it is purged until released."""
    number = retention.hold(
        open_service(),
        operating_user(),
        reason,
        report=report,
        first=day_of(first, "--from") if first else None,
        last=day_of(last, "--to") if last else None,
    )
    if as_json:
        return print_json(hold=number)
    out.print(f"hold {number} is in force; `reporting retention release {number}` ends it")


@app.command(epilog="Example: reporting retention release 3 --reason 'matter 2026-17 is closed'")
def release(
    number: Annotated[int, typer.Argument(help="The hold's number.")],
    reason: WhyOption,
    as_json: JsonOption = False,
) -> None:
    """End a legal hold: what it held falls back to its class."""
    held = retention.release(open_service(), number, operating_user(), reason)
    if as_json:
        return print_json(hold=number, released=True)
    out.print(plain(f"hold {number} on {held.on} is released"))


@app.command(
    epilog="Examples: reporting retention purge --dry-run\n\n"
    "reporting retention purge --reason 'past their time, 2033'"
)
def purge(
    reason: WhyOption = "",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Empty what is past its time, not held and not cited; digests, times and the log stay.

    Needs the role reporting_purger (REPORTING_PURGE_URL), which can do nothing else.
    """
    service = open_service()
    with progress_shown(as_json) as progress:
        made = retention.purge(
            service, as_of(now), operating_user(), reason, dry_run=dry_run, progress=progress
        )
    if as_json:
        return print_json(
            purged=[{"record": r.record, "name": r.name} for r in made.records],
            folders=list(map(str, made.folders)),
            dry_run=dry_run,
        )
    verb = "would purge" if dry_run else "purged"
    for r in made.records:
        out.print(plain(f"{verb} {r.record} {_short(r.name)}"))
    for folder in made.folders:
        out.print(plain(f"{'would remove' if dry_run else 'removed'} {folder}"))
    if not (made.records or made.folders):
        out.print("nothing is past its time and free to go; `reporting retention list --past`")


def _short(name: str) -> str:
    """A closing book is named by its digest."""
    return name if "/" in name else f"{name[:16]}…"
