"""``reporting sign-off``: a preparer and a reviewer stand for a report."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ..errors import UsageError
from ..pipeline.signoff import sign_off
from ..settings import operating_user
from .shared import JsonOption, open_service, out, plain, print_json

EXAMPLES = (
    "Examples: reporting sign-off monthly/2025-11 --as preparer --by 'J. Doe'\n\n"
    "reporting sign-off monthly/2025-11/r1 --as reviewer\n\nreporting sign-off --list"
)


class Role(StrEnum):
    """The two people that a report needs, in their order."""

    preparer = "preparer"
    reviewer = "reviewer"


def command(
    report: Annotated[str, typer.Argument(help="monthly/2025-11, or with its revision.")] = "",
    role: Annotated[Role | None, typer.Option("--as", help="In which role.")] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="Your name, printed beside your user name; whose sign-off it is, the operating "
            "system says.",
        ),
    ] = "",
    note: Annotated[str, typer.Option("--note", help="Printed with it.")] = "",
    listing: Annotated[bool, typer.Option("--list", help="Show all sign-offs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Stand for a report: first its preparer, then its reviewer, who is somebody else.

    It is in the audit log at once and printed in the next revision; it makes none by itself.
    """
    if listing:
        return _list(report, as_json)
    if not report or role is None:
        raise UsageError("name a report and --as preparer or --as reviewer; or --list")
    row = sign_off(open_service(), report, role.value, operating_user(), name=by, note=note)
    if as_json:
        return print_json(report=row.report, role=row.role, person=row.person, name=by, at=row.at)
    out.print(plain(f"{row.report} signed off by {row.person} as {row.role}, {row.at:%F %T %Z}"))


def _list(report: str, as_json: bool) -> None:
    found = [
        row for row in open_service().store.sign_offs() if f"{row.report}/".startswith(f"{report}")
    ]
    if as_json:
        return print_json(sign_offs=[vars(row) | {"report": row.report} for row in found])
    for row in found:
        named = f" ({row.name})" if row.name else ""
        words = f"{row.report}  {row.role}  {row.person}{named}  {row.at:%F %T %Z}  {row.note}"
        out.print(plain(words.rstrip()))
    if not found:
        out.print("nothing was signed off; `reporting status` lists what is open for review")
