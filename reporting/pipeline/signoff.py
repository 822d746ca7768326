"""Sign-off: a preparer and a reviewer, two people, stand for one revision of a report.

A sign-off makes no revision: it is in the log at once, and printed in the next revision.
"""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from ..page import SignOff
from ..store import ReportRow, SignOffRow
from .auditing import checkpoint_now
from .service import Service

ROLES = ("preparer", "reviewer")


def sign_off(
    service: Service, report: str, role: str, person: str, *, name: str = "", note: str = ""
) -> SignOffRow:
    """Record that ``person`` stands for a revision of ``report``: kind/period or kind/period/rN.

    ``person`` is whom the operating system knows, ``name`` what they are called. Raises
    :class:`UsageError` for what may not be signed off; the database holds the same rules.
    """
    row = report_named(service, report)
    given = {
        s.role: s for s in service.store.sign_offs(row.kind, row.period) if s.report == row.name
    }
    newest = service.store.report(row.kind, row.period)
    assert newest is not None
    if not row.body:
        raise UsageError(f"{row.name} was purged: nobody can read what would be signed off")
    if newest.revision > row.revision:
        raise UsageError(f"{row.name} is superseded by {newest.name}; read and sign off that one")
    if role in given:
        at = given[role].at.isoformat(timespec="seconds")
        raise UsageError(f"{row.name} was signed off by {given[role].person} as {role} at {at}")
    if role == "reviewer":
        preparer = given.get("preparer")
        if preparer is None:
            raise UsageError(
                f"{row.name} has no preparer yet; the preparer signs off first: `reporting "
                f"sign-off {row.name} --as preparer`"
            )
        if preparer.person == person or (name and preparer.name == name):
            raise UsageError(
                f"{row.name} was prepared by {preparer.person}; expected another person as reviewer"
            )
    with service.store.writing() as writer:
        at_ = writer.add_sign_off(row, role, person, name, note)
        writer.log(
            "report signed off",
            {
                "report": row.name,
                "role": role,
                "person": person,
                "name": name,
                "note": note,
                "facts": row.digest,
            },
        )
    checkpoint_now(service)
    return SignOffRow(row.kind, row.period, row.revision, role, person, name, note, at_)


def report_named(service: Service, name: str) -> ReportRow:
    """An issued report by kind/period or kind/period/rN; without a revision the newest one."""
    kind, _, rest = name.strip("/").partition("/")
    period, _, revision = rest.partition("/")
    number = revision.removeprefix("r")
    if not period or (revision and not (revision.startswith("r") and number.isdigit())):
        raise UsageError(f"{name!r} is no report; write it as daily/2025-12-05 or …/r1")
    row = service.store.report(kind, period, int(number) if number else None)
    if row is None:
        raise UsageError(f"{name} was not issued; `reporting status` lists what was")
    return row


def signoffs_before(service: Service, kind: str, period: str) -> tuple[SignOff, ...]:
    """The sign-offs of all revisions so far, for the next one to print."""
    fields = ("role", "person", "name", "note", "at")
    return tuple(
        SignOff.model_validate({"report": s.report, **{name: getattr(s, name) for name in fields}})
        for s in service.store.sign_offs(kind, period)
    )


def open_for_review(service: Service) -> list[dict[str, Any]]:
    """The newest revision of each report that is not signed off, with the roles that lack."""
    return [
        {
            "report": f"{row['kind']}/{row['period']}/r{row['revision']}",
            "lacks": [role for role in ROLES if role not in row["signed"]],
        }
        for row in service.store.open_for_review()
    ]
