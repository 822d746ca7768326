"""``reporting verify``: everything, one issued folder, or one PDF.

Exit codes: 0 nothing is wrong, 2 usage, 4 something is not what it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import pipeline
from ..errors import UsageError
from ..settings import load
from .audit import vkey_of
from .shared import JsonOption, open_service, out, plain, print_json, progress_shown

EXAMPLES = (
    "Examples: reporting verify\n\n"
    "reporting verify reports/daily/2025-12-05/r1 --key key.vkey\n\n"
    "reporting verify report.pdf --trust roots.pem --witness notes.jsonl --json"
)


def command(
    path: Annotated[
        Path | None,
        typer.Argument(help="An issued report's folder or its PDF: that alone is read, offline."),
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option(help="Roots of signers and time stamps; else REPORTING_SIGNING_TRUST_FILE."),
    ] = None,
    key: Annotated[
        str,
        typer.Option(
            "--key",
            "--vkey",
            help="Published key name+id+key of checkpoints, or the file with all of them.",
        ),
    ] = "",
    witness: Annotated[
        list[Path] | None,
        typer.Option(help="Checkpoints that somebody kept. May be given several times."),
    ] = None,
    provenance: Annotated[
        Path | None, typer.Option(help="The provenance.json of a PDF that lies elsewhere.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the audit log, every sealed day and every issued report; or one report, offline.

    What can't be shown, for want of a key, of roots or of the same libraries, is said and is no
    failure. Checking everything is itself logged; checking a file needs no store and logs nothing.
    """
    if path is None:
        if trust or key or witness or provenance:
            raise UsageError("these options are of one report; name its folder or PDF")
        service = open_service()
        with progress_shown(as_json) as progress:
            results = pipeline.verify(service, progress=progress)
        wrong = [f"{r.what}: {r.problem}" for r in results if not r.ok]
        pipeline.verified(service, "everything", len(results), wrong)
        return _report(results, as_json, "")
    given = pipeline.against(trust or load().signing_trust_file, vkey_of(key), witness or ())
    if path.is_dir():
        if provenance:
            raise UsageError("--provenance is of a PDF; a folder has its own")
        results = pipeline.verify_folder(path, given)
    elif path.is_file():
        results = pipeline.verify_pdf(path, given, provenance)
    else:
        raise UsageError(f"{path} is neither a folder nor a file; see `reporting status`")
    return _report(results, as_json, pipeline.worth(results))


def _report(results: list[pipeline.Verified], as_json: bool, verdict: str) -> None:
    """Print what was shown, what was not, and what is wrong."""
    wrong = [r for r in results if not r.ok]
    if as_json:
        print_json(
            ok=not wrong,
            checked=len(results),
            problems=[{"what": r.what, "problem": r.problem} for r in wrong],
            not_shown=[{"what": r.what, "why": r.lacks} for r in results if r.ok and r.lacks],
            vouched_by=[r.by for r in results if r.by],
            verdict=verdict,
        )
    else:
        for r in results:
            if not r.ok:
                out.print(f"[red]✘[/] {plain(r.what)}: {plain(r.problem)}")
            elif r.lacks:
                out.print(f"[yellow]–[/] {plain(r.what)}: not shown: {plain(r.lacks)}")
            else:
                out.print(f"[green]✔[/] {plain(r.what)}")
        out.print(f"{len(results)} checks, {len(wrong)} failed")
        if verdict:
            out.print(f"[bold]{plain(verdict)}[/]")
    if wrong:
        raise SystemExit(4)
