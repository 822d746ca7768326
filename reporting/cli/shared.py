"""What every command shares: its options, its consoles, the clock and the way it prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console

from .. import pipeline, settings
from ..errors import UsageError
from ..page import Document, Verdict

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

MARK = {Verdict.MET: "✔", Verdict.MISSED: "✘", Verdict.UNKNOWN: "?"}


class KindName(StrEnum):
    """The kinds of report, as words on the command line."""

    daily = "daily"
    weekly = "weekly"
    monthly = "monthly"
    quarterly = "quarterly"


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
FlashOption = Annotated[
    bool, typer.Option("--flash", help="Preliminarily, before the day has ended.")
]
NowOption = Annotated[
    str,
    typer.Option(
        "--now",
        metavar="TIME",
        help="Act as of this ISO 8601 time with its offset instead of the clock's.",
    ),
]


def plain(text: str) -> str:
    """Text that rich must not read as markup."""
    return text.replace("[", "\\[")


def open_service(*, examined: bool = False) -> pipeline.Service:
    return pipeline.Service(settings.load(), examined=examined)


def as_of(given: str) -> datetime:
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


def day_of(given: str, option: str = "--date") -> date:
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise UsageError(f"{option} {given!r} is not a date; write it as 2025-12-05") from None


def print_json(**fields: Any) -> None:
    print(json.dumps(fields, default=str, sort_keys=True))


@contextmanager
def progress_shown(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A status line on a terminal; elsewhere a line whenever another kind of work begins."""
    if quiet:
        yield pipeline.silent
        return
    if not err.is_terminal:
        yield _Stages()
        return
    with err.status("starting") as line:
        yield lambda words: line.update(plain(words))


class _Stages:
    """Prints the first of several steps that begin with the same word."""

    def __init__(self) -> None:
        self._verb = ""

    def __call__(self, words: str) -> None:
        verb = words.split()[0]
        if verb != self._verb:
            self._verb = verb
            err.print(f"{plain(words)} …")


def print_summary(document: Document) -> None:
    out.print(f"[bold]{document.title}, {plain(document.period.title)}[/]  {document.status.value}")
    out.print(f"{MARK[document.verdict]} {plain(document.answer)}")
    for item in document.attention[:6]:
        out.print(f"  {item.severity}: {plain(item.text)}")
