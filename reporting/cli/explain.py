"""Explain one number of a report: formula, sealed facts, queries, and what the source says now."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import pipeline
from ..errors import UsageError
from ..model import Missing, Shown
from ..page import Verdict
from ..pipeline.explaining import Queried, Read, Sealed, exactly
from .shared import JsonOption, err, open_service, out, print_json, progress_shown

EXAMPLES = (
    "Examples: reporting explain pnl.net --report daily/2025-12-05\n\n"
    "reporting explain 'pnl_by_instrument/\"Cedar Bancorp\"/net' -R monthly/2025-11/r1 --reconcile"
    "\n\nreporting explain pnl.net report.pdf"
    "\n\nreporting explain --list reports/daily/2025-12-05/r1"
)
SHORT = 12  # hex digits of a digest that tell it from others on a screen
MARK = {
    Verdict.MET: "[green]✔ met[/]",
    Verdict.MISSED: "[red]✘ missed[/]",
    Verdict.UNKNOWN: "[yellow]? not known[/]",
}
EQUAL, DIFFERS = "[green]✔ equal[/]", "[red]✘ differs[/]"


def explain(
    figure: Annotated[
        str,
        typer.Argument(
            metavar="[FIGURE]",
            show_default=False,
            help="Its id: pnl.net, pnl_by_strategy/trend/net, pnl_daily/Cumulative/2025-11-03.",
        ),
    ] = "",
    file: Annotated[
        str,
        typer.Argument(
            metavar="[REPORT]", show_default=False, help="The report, as --report has it."
        ),
    ] = "",
    report: Annotated[
        str,
        typer.Option(
            "--report",
            "-R",
            metavar="REPORT",
            help="daily/2025-12-05 (its newest revision), daily/2025-12-05/r1, or the path of an "
            "issued folder, its PDF or its facts.json: then that alone is read, offline.",
        ),
    ] = "",
    list_: Annotated[
        bool, typer.Option("--list", help="List the id and value of every number of the report.")
    ] = False,
    reconcile: Annotated[
        bool,
        typer.Option(
            "--reconcile",
            help="Ask the ledger again, as known at the cut-off, and compare its rows and control "
            "totals with the sealed ones; exit code 4 where they differ.",
        ),
    ] = False,
    texts: Annotated[
        bool, typer.Option("--texts/--no-texts", help="Print the text of every query.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Show where a number of an issued report comes from.

    Its formula and source, the sealed facts, the queries with parameters, rows and digests, and the
    number worked out again from the sealed days: so far as a PDF or folder has them, where one is
    named; it is said what only the store has. What is read from the store is logged as viewed.
    """
    if list_ and figure and not file and not report:
        figure, file = "", figure
    if file and report:
        raise UsageError(f"--report {report!r} and {file!r} name two reports; give one")
    report = report or file
    if not report:
        raise UsageError("say which report: --report daily/2025-12-05, an issued folder or its PDF")
    if not figure and not list_:
        raise UsageError("say which figure, by its id, or --list")
    with progress_shown(as_json) as progress:
        opened = pipeline.open_report(report, open_service)
        if not list_:
            found = pipeline.explain(opened, figure, reconcile=reconcile, progress=progress)
    if list_:
        if opened.service is not None:
            pipeline.viewed(opened.service, opened.document.id, opened.facts_digest, "list")
        return _list(opened, figure, as_json)
    if as_json:
        print_json(
            **found.model_dump(mode="json"),
            ok=found.ok,
            adds_up=found.adds_up,
            only_in_store=found.lacks,
            recomputed=found.recomputed,
        )
    else:
        _print(found, texts)
    if not found.ok:
        raise SystemExit(4)
    return None


def _list(opened: pipeline.Opened, beginning: str, as_json: bool) -> None:
    """Every number whose id begins as asked."""
    chosen = [p for p in opened.printed.values() if p.id.startswith(beginning)]
    if as_json:
        return print_json(
            report=opened.document.id,
            figures=[
                {"id": p.id, "label": p.label, "value": p.value.model_dump(mode="json")}
                for p in chosen
            ],
        )
    for p in chosen:
        out.print(Text.assemble(p.id, "  ", (exactly(p.value), "bold"), "  ", (p.label, "dim")))
    err.print(f"{len(chosen)} of {len(opened.printed)} numbers of {opened.document.id}")
    return None


def _print(found: pipeline.Explanation, texts: bool) -> None:
    # Wide enough for one line a row where it goes to a file, whatever the width of a terminal.
    page = out if out.is_terminal else Console(width=140, highlight=False)
    page.print(Text.assemble((found.label, "bold"), "  ", found.figure))
    page.print(
        Text.assemble(
            (f"{found.report}  {found.status}  {found.period}", "dim"),
            (f"  facts {found.facts_digest[:SHORT]}…", "dim"),
        )
    )
    page.print()
    _fields(page, _value(found))
    _heading(page, "How it is worked out")
    _fields(page, _formula(found))
    _heading(page, "Sealed facts")
    _days(page, found)
    _heading(page, "Queries")
    _queries(page, found)
    if found.reconciled is not None:
        _heading(page, "Reconciled with the ledger, as known at the cut-off")
        _reconciled(page, found)
    if texts:
        _texts(page, found)


def _heading(page: Console, words: str) -> None:
    page.print()
    page.print(f"[bold underline]{words}[/]")


def _fields(page: Console, fields: Iterable[tuple[str, str | Text]]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for label, words in fields:
        table.add_row(label, words if isinstance(words, Text) else Text(words))
    page.print(table, soft_wrap=False)


def _value(found: pipeline.Explanation) -> Iterator[tuple[str, str | Text]]:
    yield "Printed", Text(found.printed, style="bold")
    yield "Exact", found.exact
    if unit := _unit(found.value):
        yield "Unit", unit
    if found.target is not None:
        words = [found.target_printed, found.target.source]
        if found.in_force:
            until = found.in_force.until
            words.append(
                f"in force since {found.in_force.since}" + (f" until {until}" if until else "")
            )
        yield "Target", "; ".join(filter(None, words))
    if found.verdict is not None:
        yield "Verdict", Text.from_markup(MARK[found.verdict])
    if found.change:
        yield "Change", found.change
    if found.note:
        yield "Note", found.note


def _unit(value: Shown) -> str:
    named = getattr(value, "currency", "") or getattr(value, "unit", "")
    kinds = {"ratio": "share", "band": "share, between bounds", "bps": "basis points"}
    kinds |= {"duration": "milliseconds", "count": "count", "number": ""}
    return named or kinds.get(value.kind, "")


def _formula(found: pipeline.Explanation) -> Iterator[tuple[str, str]]:
    yield "In words", found.formula.words
    # A statement a line.
    yield "In symbols", found.formula.symbols.replace(";  ", "\n").replace(",  ", "\n")
    yield "Source", found.formula.source
    if len(found.days) > 1 or found.earlier:
        yield "Of days", found.formula.days


def _days(page: Console, found: pipeline.Explanation) -> None:
    # A measure that is missing on a day says so in one place, not once for each of its fields.
    pointers = list(dict.fromkeys(p for d in found.days for p in d.facts if p.count("/") > 2))
    has_own = any(d.own is not None for d in found.days)
    absent = {d.day: _absence(d) for d in found.days}
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("Day", "Revision", "Digest", "Known at"):
        table.add_column(heading, no_wrap=True)
    if has_own:
        table.add_column("The day's own", justify="right")
    for pointer in pointers:
        table.add_column(Text(pointer), overflow="fold")
    if any(absent.values()):
        table.add_column("", style="dim")
    for day in found.days:
        cells = [str(day.day), f"r{day.revision}", f"{day.digest[:SHORT]}…"]
        cells.append(f"{day.known_at:%Y-%m-%d %H:%M %Z}")
        if has_own:
            cells.append("" if day.own is None else exactly(day.own))
        cells += [_part(day, pointer) for pointer in pointers]
        cells += [absent[day.day]] if any(absent.values()) else []
        table.add_row(*map(Text, cells))
    page.print(table, soft_wrap=False)
    if found.earlier:
        first, last = found.earlier[0].day, found.earlier[-1].day
        page.print(
            f"and {len(found.earlier)} cited days before the period, {first} to {last} "
            "(--json has their digests)"
        )
    if found.total is not None and len(found.days) > 1:
        words = EQUAL if found.adds_up else "not the period's: it is worked out from the totals"
        page.print(Text("The days' own sum to ").append(exactly(found.total)), end=": ")
        page.print(words)
    if found.again is None:
        words = _listed(found.lacks)
        page.print(f"[dim]From the report's files alone. Only the store has {words}.[/]")
        page.print(f"[dim]--report {found.report} asks it.[/]")
        return
    page.print(f"Worked out again from the cited days: {EQUAL if found.recomputed else DIFFERS}")
    if not found.recomputed:
        page.print(Text("    now ").append(exactly(found.again)))
    if found.policy_changed:
        page.print("[yellow]The policy has changed since the report was issued.[/]")


def _listed(words: Sequence[str]) -> str:
    return "; ".join(words[:-1]) + f"; and {words[-1]}" if len(words) > 1 else words[0]


def _absence(day: Sealed) -> str:
    """Why measures have no fact on a day: "no session"."""
    reasons = {
        "not measured then" if fact is None else str(Missing.model_validate(fact, strict=False).why)
        for pointer, fact in day.facts.items()
        if pointer.count("/") == 2
    }
    return ", ".join(sorted(reasons))


def _part(day: Sealed, pointer: str) -> str:
    part = day.facts.get(pointer)
    if part is None:
        return ""
    if isinstance(part, list | tuple):
        return f"{len(part)} item{'' if len(part) == 1 else 's'}"
    if isinstance(part, Mapping):
        missing = part.get("kind") == "missing"
        return str(Missing.model_validate(part, strict=False).why) if missing else "1 item"
    return str(part)


def _queries(page: Console, found: pipeline.Explanation) -> None:
    if not found.queries:
        page.print("None: no source was read for it in this period.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("Source", "Query", "SHA-256"):
        table.add_column(heading, no_wrap=True)
    table.add_column("Reads", justify="right")
    table.add_column("Rows", justify="right")
    table.add_column("Control totals and scales", overflow="fold")
    for query in found.queries:
        table.add_row(
            *map(Text, (query.source, query.query, f"{query.digest[:SHORT]}…")),
            Text(str(len(query.reads)) if query.reads else "–"),
            Text(f"{query.rows:,}"),
            Text(_pairs(query.control, skip=("rows",))),
        )
    page.print(table, soft_wrap=False)
    page.print(f"[dim]Cut-off {found.cutoff.isoformat()}[/]")


def _pairs(values: Mapping[str, str], skip: tuple[str, ...] = ()) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if name not in skip)


def _reconciled(page: Console, found: pipeline.Explanation) -> None:
    rows = found.reconciled or ()
    wrong = [r for r in rows if not r.equal]
    for r in wrong:
        page.print(Text(f"{r.day} {r.query}: sealed {_pairs(r.sealed)}"))
        page.print(Text(f"    now {_pairs(r.now) if r.now else 'not read'}"))
        if r.text_changed:
            page.print("    [yellow]asked with another text than at the close[/]")
    if not rows:
        page.print("It rests on no query of the ledger; metrics are forgotten by their source.")
        return
    days = len({r.day for r in rows})
    words = EQUAL if not wrong else f"[red]✘ {len(wrong)} differ[/]"
    page.print(f"{len(rows)} reads of {days} session{'' if days == 1 else 's'}: {words}")


def _texts(page: Console, found: pipeline.Explanation) -> None:
    _heading(page, "Query texts")
    for query in found.queries:
        page.print()
        page.print(Text.assemble((query.query, "bold"), f"  {query.source}  sha256 {query.digest}"))
        for line in _parameters(query):
            page.print(Text(f"  {line}", style="cyan"))
        if query.text is None:
            page.print("  [dim]its text is not among what was read[/]")
        else:
            page.print(Text(textwrap.indent(query.text.strip(), "    "), style="dim"))


def _parameters(query: Queried) -> Iterator[str]:
    """The parameters of the last read, which is the only one of a daily report."""
    if not query.reads:
        return
    last: Read = query.reads[-1]
    if len(query.reads) > 1:
        yield f"on {last.day}, and so on each of {len(query.reads)} reads (--json has them all):"
    for name, value in last.parameters.items():
        yield f"{name} = {value}"
