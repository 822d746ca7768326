"""A backtest takes the VaR that was known when its session began, from the store to the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from reporting import pipeline
from reporting.model import Count
from reporting.page import Document
from reporting.seal import canonical, digest
from reporting.store import SealedRow

from ..document.days import day, section
from ..document.test_risk import session, var
from .site import Site


def seal(site: Site, revisions: Sequence[tuple[int, str, str, bool]]) -> None:
    """Days with a net and a VaR each: (day, net, VaR 99 %, FLASH), in order of revision."""
    seen: dict[int, int] = {}
    for number, net, limit, flash in revisions:
        seen[number] = seen.get(number, 0) + 1
        one = session(day(number), net, var(day(number), limit), revision=seen[number])
        body = canonical(one.sealed.model_copy(update={"flash": flash}))
        row = SealedRow(
            day=day(number), revision=seen[number], digest=digest(body), body=body,
            known_at=one.sealed.known_at, sealed_at=one.sealed_at, reason="",
        )  # fmt: skip
        with site.store.writing() as writer:
            writer.add_day(row)


def drafted(site: Site, kind: str) -> Document:
    later = session(day(2), "0").sealed_at + timedelta(days=9)
    return pipeline.draft(site.service(), kind, day(2), later, allow_gaps=True)


def test_the_first_final_revision_is_the_forecast(
    empty_store: str, make_site: Callable[..., Site]
) -> None:
    site = make_site(empty_store, empty_store, calendar="24/7", zone="UTC")
    seal(site, [
        (0, "0", "5", True), (0, "0", "20", False), (0, "0", "50", False), (0, "0", "99", False),
        (1, "-30", "40", False), (1, "-31", "10", False), (2, "-30", "1", False),
    ])  # fmt: skip
    assert [(r.day, r.revision) for r in site.store.superseded(day(0), day(2))] == [
        (day(0), 1), (day(0), 2), (day(0), 3), (day(1), 1),
    ]  # fmt: skip
    assert site.store.superseded(day(2), day(2)) == []
    # The second day lost 31, 20 were expected; the third one lost 30, 40 were.
    made = drafted(site, "weekly")
    figures = {f.id: f for f in section(made, "var").figures}
    assert figures["var.exceptions_99"].value == Count(value=1, unit="of 2 sessions")
    assert figures["var.exceptions_99"].note == str(day(1))
    assert [(c.day, c.revision) for c in made.citations] == [
        (day(0), 2), (day(0), 4), (day(1), 1), (day(1), 2), (day(2), 1),
    ]  # fmt: skip
    # A daily report asks the same of the day before it.
    made = drafted(site, "daily")
    figures = {f.id: f for f in section(made, "var").figures}
    assert figures["var.exceptions_99"].value == Count(value=0, unit="of 1 session")
