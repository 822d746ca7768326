"""The objectives: check their files, list what was promised, explain how one is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .. import settings
from ..errors import UsageError, ValidationFailed
from ..levels import window_of
from ..model import plain as digits
from ..policy.indicators import (
    COMPARED,
    CalendarWindow,
    Counts,
    Indicator,
    Objective,
    Occurrences,
    RatioTimeslices,
    ReportFigure,
    RollingWindow,
    Share,
    State,
    Threshold,
    Timeslices,
    percent,
    promise,
)
from ..policy.openslo import parse_objectives
from ..sources.prometheus import queries_of
from .shared import JsonOption, as_of, day_of, open_service, out, plain, print_json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="What was promised of each target: OpenSLO v1 documents, checked, listed and explained.",
)

NO_DATA = {
    "flag": "neither good nor bad; both bounds are printed",
    "exclude": "left out of the share",
    "down": "counted as bad",
}


@app.command(
    epilog="Examples: reporting objectives check\n\n"
    "reporting objectives check new.yaml shared/slis.yaml"
)
def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            show_default=False,
            help="Files or folders, read together; without any, the configured folder.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check objectives and say, for every problem, the file, the field and what was expected.

    References are followed over all files that are checked together. Exit code 4 if one is wrong.
    """
    paths = files or [settings.load().objectives_dir]
    texts = dict(_texts(paths))
    try:
        objectives, problems = parse_objectives(texts), []
    except ValidationFailed as error:
        objectives, problems = (), str(error).splitlines()
    if as_json:
        print_json(ok=not problems, files=len(texts), objectives=len(objectives), problems=problems)
    else:
        for problem in problems:
            out.print(f"[red]✘[/] {plain(problem)}")
        count = _number(len(texts), "file")
        if problems:
            out.print(f"{_number(len(problems), 'problem')} in {count}")
        else:
            out.print(f"[green]✔[/] {_number(len(objectives), 'objective')} in {count}")
    if problems:
        raise SystemExit(4)


@app.command(
    "list", epilog="Examples: reporting objectives list\n\nreporting objectives list --json"
)
def list_(as_json: JsonOption = False) -> None:
    """List every objective: what was promised, over which window, by which method."""
    objectives = open_service().policy.objectives
    if as_json:
        return print_json(objectives=[_fields(o) for o in objectives])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Name", "Target", "Promised", "Window", "Method", "Source"):
        table.add_column(heading, overflow="fold")
    for o in objectives:
        cells = (o.id, o.title, promise(o), _window(o), _method(o), _source(o.indicator))
        table.add_row(*(plain(cell) for cell in cells))
    # One line each where it goes to a file or another program, whatever the width of a terminal.
    (out if out.is_terminal else Console(width=220, highlight=False)).print(table)
    out.print(_number(len(objectives), "objective"))
    return None


@app.command(
    epilog="Examples: reporting objectives explain grafana\n\n"
    "reporting objectives explain order-latency --date 2025-12-05"
)
def explain(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="As listed, or the document's metadata.name.")
    ],
    date_: Annotated[
        str,
        typer.Option(
            "--date", "-d", metavar="YYYY-MM-DD", help="The day to measure; without it, today."
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Explain an objective: its promise, window and method, and the queries that will be sent."""
    objectives = _called(name, open_service().policy.objectives)
    day = day_of(date_) if date_ else as_of("").date()
    found = []
    for o in objectives:
        first, last = window_of(o.window, day)
        found.append(
            _fields(o)
            | {
                "day": day.isoformat(),
                "window_first": first.isoformat(),
                "window_last": last.isoformat(),
                "queries": queries_of(o, day),
            }
        )
    if as_json:
        return print_json(objectives=found)
    for o, fields in zip(objectives, found, strict=True):
        out.print(f"[bold]{plain(o.title)}[/]  {o.id}")
        for label, words in _explained(o, fields):
            out.print(f"{label:<10} {plain(words)}")
        if fields["queries"]:
            out.print("Queries, as they would be sent for this one alone:")
        for query in fields["queries"]:
            out.print(f"    {plain(query)}")
    return None


# -- in words --------------------------------------------------------------------------------------


def _explained(o: Objective, fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Everything about one objective, as label and words."""
    if o.description:
        yield "About", o.description
    yield "Promised", promise(o)
    if o.answers:
        yield "Answers", ", ".join(o.answers)
    if o.composite:
        yield "Part of", f"{o.slo}, with weight {digits(o.weight)}"
    yield "Component", f"{o.component} ({o.system}.yaml)"
    yield "Window", f"{_window(o)}: {fields['window_first']} to {fields['window_last']}"
    yield "Measured", _measured(o.indicator, o.unit)
    yield "Method", _method(o)
    yield "No data", f"{o.no_data}: {NO_DATA[o.no_data]}"
    if o.allocated is not None:
        yield "Allocated", f"{digits(o.allocated)} {o.unit}".strip()
    if o.watch:
        yield "Watched", f"{o.watch}, against its trailing period"
    yield "Source", _source(o.indicator)


def _measured(of: Indicator, unit: str) -> str:
    match of:
        case State():
            up = "1 is up" if of.success else "0 is up"
            return f"the time that {of.query.text} owns by its raw samples; {up}"
        case Share():
            kind = "good" if of.success else "bad"
            return f"the share of {kind} that {of.query.text} is, over the time its samples own"
        case Counts():
            kind = "good" if of.good else "bad"
            how = "increments of raw counters" if of.monotonic else "samples, each a number"
            return f"{kind} {of.numerator.text} of all {of.total.text}, by {how}"
        case Threshold():
            bound = f"{COMPARED[of.comparator]} {digits(of.value)} {unit}".strip()
            return f"the time that {of.query.text} is {bound}"
        case ReportFigure():
            bound = f"{COMPARED[of.comparator]} {digits(of.value)} {unit}".strip()
            return f"the report's figure {of.figure}, which is to be {bound}"


def _method(o: Objective) -> str:
    match o.budgeting:
        case Occurrences():
            if isinstance(o.indicator, Counts):
                return "good events of all events"
            if isinstance(o.indicator, ReportFigure):
                return "one occurrence a period"
            return "good time of all time"
        case Timeslices(slice_ms=length, target=target):
            each = "wholly" if target == 1 else f"at least {percent(target)} %"
            return f"good slices of {_minutes(length)}, each {each} good"
        case RatioTimeslices(slice_ms=length):
            return f"mean share of good over slices of {_minutes(length)}"


def _window(o: Objective) -> str:
    match o.window:
        case RollingWindow(days=days):
            return f"last {_number(days, 'day')}, {o.zone}"
        case CalendarWindow(count=count, unit=unit):
            return f"calendar {unit if count == 1 else _number(count, unit)}, {o.zone}"


def _source(of: Indicator) -> str:
    return "the report" if isinstance(of, ReportFigure) else "Prometheus"


def _minutes(length_ms: int) -> str:
    return f"{length_ms // 60_000} min"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


# -- small things ----------------------------------------------------------------------------------


def _fields(o: Objective) -> dict[str, Any]:
    """An objective for machines: every number as an exact text."""
    return {
        "id": o.id,
        "slo": o.slo,
        "title": o.title,
        "description": o.description,
        "system": o.system,
        "component": o.component,
        "promised": promise(o),
        "goal": None if o.goal is None else digits(o.goal),
        "strict": o.strict,
        "window": _window(o),
        "method": _method(o),
        "measured": _measured(o.indicator, o.unit),
        "indicator": type(o.indicator).__name__,
        "source": _source(o.indicator),
        "no_data": o.no_data,
        "unit": o.unit,
        "answers": list(o.answers),
        "composite": o.composite,
        "weight": digits(o.weight),
        "allocated": None if o.allocated is None else digits(o.allocated),
        "watch": o.watch,
    }


def _called(name: str, objectives: Iterable[Objective]) -> list[Objective]:
    """The objective of that name, or all objectives of the document of that name."""
    wanted = name.replace("-", "_")
    everything = list(objectives)
    found = [o for o in everything if o.id == wanted] or [o for o in everything if o.slo == wanted]
    if not found:
        near = get_close_matches(wanted, [o.id for o in everything], n=3)
        raise UsageError(
            f"no objective is called {name!r}; "
            + (f"did you mean {', '.join(near)}? " if near else "")
            + "reporting objectives list shows all"
        )
    return found


def _texts(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Every file by its path; of a folder, its YAML files."""
    for path in paths:
        try:
            files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
            if not files:
                raise UsageError(f"{path} has no *.yaml; expected OpenSLO documents there")
            for file in files:
                yield str(file), file.read_text("utf-8")
        except OSError as error:
            raise UsageError(f"{path} can't be read: {error.strerror}; expected a file") from None
        except UnicodeDecodeError:
            raise UsageError(f"{path} is not UTF-8 text; expected YAML") from None
