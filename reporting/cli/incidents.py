"""``reporting incidents``: what happened, recorded by hand, from a CSV file or from PagerDuty.

Versions are appended and never changed; each command is in the audit log.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from pydantic import ValidationError
from rich.table import Table

from ..errors import UsageError, ValidationFailed
from ..measures.incidents import LATER, Incident
from ..model import Window
from ..periods import calendar_day
from ..pipeline import Service
from ..settings import secret_of
from ..sources.incidents import YES_NO, digest_of, moment, parse_csv
from ..sources.pagerduty import SOURCE, URL, PagerDuty
from .shared import (
    DateOption,
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
    help="Record incidents: a day is measured once an import covers it.",
)

SourceOption = Annotated[
    str, typer.Option("--source", "-s", help="Who says so; incidents are told apart by it.")
]
TIME = "ISO 8601 with its offset"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: How far back a pull looks for incidents that were still open.
OPEN_WITHIN = timedelta(days=90)


@app.command(
    "import",
    epilog="Example: reporting incidents import november.csv --covers-from 2025-11-01 "
    "--covers-until 2025-11-30",
)
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with a header: id, priority, title, …")],
    source: SourceOption = "csv",
    covers_from: Annotated[
        str, typer.Option(help="First day of which the file has every incident [its first one's].")
    ] = "",
    covers_until: Annotated[
        str, typer.Option(help="Last such day; without it the file covers no day.")
    ] = "",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Record the incidents of a CSV file; those known already get a new version if they differ."""
    at = as_of(now)
    try:
        body = file.read_bytes()
        text = body.decode("utf-8")
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValidationFailed(f"{file} is not UTF-8: {error.reason} at {error.start}") from None
    incidents = parse_csv(text, file.name, source, at)
    service = open_service()
    covers = _covered(service, covers_from, covers_until, incidents, at)
    added = 0
    if not dry_run:
        added = service.store.record_incidents(
            "incidents imported",
            source,
            incidents,
            at,
            digest=sha256(body).hexdigest(),
            covers=covers,
            note={"file": file.name},
        )
    _said(len(incidents), added, covers, dry_run, as_json)


@app.command(
    epilog="Example: reporting incidents add --id INC-7 --priority P2 --title 'feed down' "
    "--opened 2025-12-05T14:03:00-05:00"
)
def add(
    id_: Annotated[str, typer.Option("--id", help="Its identity; the same one again corrects it.")],
    priority: Annotated[str, typer.Option(help="P1, P2 or P3.")],
    title: Annotated[str, typer.Option(help="What it is, in a few words.")],
    opened: Annotated[str, typer.Option(help=f"When it was opened, {TIME}.")],
    notified: Annotated[str, typer.Option(help="When somebody was first told.")] = "",
    acknowledged: Annotated[str, typer.Option(help="When somebody first answered.")] = "",
    level_1: Annotated[str, typer.Option(help="When it reached escalation level 1.")] = "",
    level_2: Annotated[str, typer.Option(help="When it reached escalation level 2.")] = "",
    level_3: Annotated[str, typer.Option(help="When it reached escalation level 3.")] = "",
    resolved: Annotated[str, typer.Option(help="When it was resolved.")] = "",
    alert: Annotated[str, typer.Option(help="Id of the alert that opened it.")] = "",
    target: Annotated[str, typer.Option(help="The component that it is about.")] = "",
    false_positive: Annotated[str, typer.Option(help="yes or no, where it is known.")] = "",
    cause: Annotated[str, typer.Option(help="Why it happened.")] = "",
    source: SourceOption = "hand",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Record one incident by hand, or correct it. Say `none` when a day has no more of them."""
    at = as_of(now)
    if false_positive.lower() not in YES_NO:
        raise UsageError(f"--false-positive {false_positive!r}: expected yes or no")
    given = (opened, notified, acknowledged, level_1, level_2, level_3, resolved)
    if not opened:
        raise UsageError(f"--opened is empty; expected when it was opened, {TIME}")
    times: dict[str, int | None] = {}
    for name, text in zip(("opened_ms", *LATER), given, strict=True):
        option = f"--{name.removesuffix('_ms').replace('_', '-')}"
        try:
            times[name] = moment(option, text, at)
        except ValueError as error:
            raise UsageError(str(error)) from None
    words = {"source": source, "id": id_, "priority": priority.upper(), "title": title}
    words |= {"alert": alert, "target": target, "cause": cause}
    try:
        incident = Incident.model_validate(
            {**words, **times, "false_positive": YES_NO[false_positive.lower()]}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = f"--{str(first['loc'][0]).replace('_', '-')}: " if first["loc"] else ""
        raise UsageError(f"{where}{str(first['msg']).removeprefix('Value error, ')}") from None
    added = 0
    if not dry_run:
        added = open_service().store.record_incidents(
            "incident recorded",
            source,
            [incident],
            at,
            digest=digest_of([incident]),
            note={"id": id_},
        )
    _said(1, added, None, dry_run, as_json)


@app.command(epilog="Example: reporting incidents none --date 2025-12-06")
def none(
    date_: DateOption,
    source: SourceOption = "hand",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Say that a day had no incidents beyond those that are recorded."""
    at, service = as_of(now), open_service()
    covers = calendar_day(day_of(date_), service.settings.zone)
    if covers.end > at:
        raise UsageError(f"--date {date_} has not ended at {at.isoformat()}; say it then")
    if not dry_run:
        service.store.record_incidents(
            "no more incidents", source, [], at, digest=digest_of([]), covers=covers
        )
    _said(0, 0, covers, dry_run, as_json)


@app.command(epilog="Example: reporting incidents pull --since 2025-12-01")
def pull(
    since: Annotated[str, typer.Option(help="First day to read, YYYY-MM-DD.")],
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Record PagerDuty's incidents since a day, and those that were still open."""
    at, service = as_of(now), open_service()
    start = calendar_day(day_of(since), service.settings.zone).start
    if start >= at:
        raise UsageError(f"--since {since} is not before {at.isoformat()}; expected a past day")
    token = secret_of(service.settings.pagerduty_token_file)
    if token is None:
        raise UsageError(
            "no PagerDuty token is configured; expected REPORTING_PAGERDUTY_TOKEN_FILE to name a "
            "file with a REST API key that may read"
        )
    alerts = {alert.alertname: alert.id for alert in service.policy.operations.alerts}
    known = service.store.incidents_between(start - OPEN_WITHIN, start, at)
    still_open = [i.id for i in known if i.source == SOURCE and i.resolved_ms is None]
    with progress_shown(as_json) as progress:
        incidents = PagerDuty.at(token, service.address("pagerduty_url") or URL).read(
            start, at, alerts, still_open=still_open, progress=progress
        )
    covers = Window(start=start, end=at)
    added = 0
    if not dry_run:
        added = service.store.record_incidents(
            "incidents pulled", SOURCE, incidents, at, digest=digest_of(incidents), covers=covers
        )
    _said(len(incidents), added, covers, dry_run, as_json)


@app.command("list", epilog="Example: reporting incidents list --date 2025-12-05")
def list_(date_: DateOption, as_json: JsonOption = False, now: NowOption = "") -> None:
    """Show the incidents of a day, and whether all of them are known."""
    at, service = as_of(now), open_service()
    window = calendar_day(day_of(date_), service.settings.zone)
    found = service.store.incidents_between(window.start, window.end, at)
    measured = service.store.incidents(window, at)
    known = "yes" if hasattr(measured, "table") else str(measured)
    if as_json:
        return print_json(
            incidents=[i.model_dump() for i in found],
            complete=known == "yes",
            why="" if known == "yes" else known,
        )
    table = Table("Incident", "Priority", "Opened (UTC)", "Resolved (UTC)", "Title", box=None)
    for i in found:
        opened, resolved = (_clock(ms) for ms in (i.opened_ms, i.resolved_ms))
        table.add_row(plain(f"{i.source}/{i.id}"), i.priority, opened, resolved, plain(i.title))
    out.print(table if found else "no incident is recorded")
    return out.print(f"complete: {plain(known)}")


def _covered(
    service: Service, first: str, last: str, incidents: tuple[Incident, ...], now: datetime
) -> Window | None:
    """The time that a file is complete for; None where its user does not say."""
    if not last:
        if first:
            raise UsageError("--covers-from needs --covers-until: the last day that is complete")
        return None
    zone = service.settings.zone
    end = min(calendar_day(day_of(last), zone).end, now)
    if first:
        start = calendar_day(day_of(first), zone).start
    elif incidents:
        opened = EPOCH + timedelta(milliseconds=min(i.opened_ms for i in incidents))
        start = calendar_day(opened.astimezone(ZoneInfo(zone)).date(), zone).start
    else:
        raise UsageError("a file without incidents needs --covers-from: the first complete day")
    if start >= end:
        raise UsageError(f"--covers-until {last} is before the file's first day; expected after")
    return Window(start=start, end=end)


def _clock(ms: int | None) -> str:
    if ms is None:
        return "open"
    return (EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%d %H:%M")


def _said(read: int, added: int, covers: Window | None, dry_run: bool, as_json: bool) -> None:
    if as_json:
        return print_json(
            read=read,
            added=added,
            covers_from=covers.start.isoformat() if covers else None,
            covers_until=covers.end.isoformat() if covers else None,
            dry_run=dry_run,
        )
    would = "would be recorded" if dry_run else f"recorded, {added} of them new or changed"
    out.print(f"{read} incidents {would}")
    if covers:
        out.print(f"complete from {covers.start.isoformat()} to {covers.end.isoformat()}")
    else:
        out.print("no day counts as complete by this (see `reporting incidents none`)")
    return None
