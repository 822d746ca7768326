"""`reporting export`: an archive that needs nothing of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..pipeline.exporting import export
from .shared import (
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


def command(
    first: Annotated[
        str, typer.Option("--from", metavar="YYYY-MM-DD", help="Reports whose period ends then …")
    ],
    last: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="… to then.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A new folder; archive-FROM-TO where none is named."),
    ] = None,
    as_json: JsonOption = False,
    now: NowOption = "",
) -> None:
    """Write an archive: an index to browse, every revision, the log, and a verifier.

    It opens from a folder in any browser, and anybody with Python and the published key can check
    it, without us and without a network.
    """
    folder = output or Path(f"archive-{first}-{last}")
    service, since, until = open_service(), day_of(first, "--from"), day_of(last, "--to")
    with progress_shown(as_json) as progress:
        made = export(service, since, until, folder, as_of(now), progress=progress)
    if as_json:
        return print_json(**vars(made))
    out.print(
        f"{made.folder}: {made.reports} reports, {made.days} sealed days, {made.entries} entries "
        f"of the log; {made.files} files, {made.bytes / 1e6:.1f} MB"
    )
    out.print(plain(f"open {made.folder}/index.html; check: python3 {made.folder}/verify.py"))
