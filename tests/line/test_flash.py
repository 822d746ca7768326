"""A FLASH: a day sealed and reported before its end, then replaced by what it was in full."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from reporting import pipeline
from reporting.demo.story import closing_time
from reporting.errors import NotReady, UsageError
from reporting.page import Status

from .site import LAST, Site, after, at, facts, sealed

DAY = date(2025, 12, 5)
NOON, AFTERNOON = at("2025-12-05T12:00:00-05:00"), at("2025-12-05T15:30:00-05:00")


def forget(site: Site) -> None:
    """As if the last session had not been closed and nothing been reported."""
    site.store_sql(
        "set session_replication_role = replica; "
        f"delete from reporting.sealed_day where day >= '{DAY}'; "
        "delete from reporting.issued_report"
    )


def fills(sealed_facts: Any) -> int:
    return int(sealed_facts["pnl"]["fills"])


def test_a_flash_is_replaced_by_the_final_report(site: Site, prometheus: str) -> None:
    right = sealed(site.store, DAY)
    forget(site)
    service = site.service(prometheus_url=prometheus)
    with pytest.raises(NotReady, match="--flash"):
        pipeline.close(service, DAY, NOON)

    [closed] = pipeline.close(service, DAY, NOON, flash=True)
    assert (closed.day, closed.revision, closed.outcome) == (DAY, 1, "sealed")
    first = sealed(site.store, DAY)
    assert first.flash and first.known_at == NOON
    assert 0 < fills(first.facts) < fills(right.facts)
    assert {first.facts[n]["why"] for n in ("uptime", "service_levels", "alerts", "incidents")} == {
        "day not over"
    }
    with pytest.raises(NotReady, match="sealed as FLASH"):
        pipeline.draft(service, "daily", DAY, after(LAST, 1))
    issued = pipeline.issue(service, "daily", DAY, NOON, flash=True)
    assert (issued.document.status, issued.document.gaps) == (Status.FLASH, ())
    html = (issued.folder / "report.html").read_text("utf-8")
    assert "flash-banner" in html and "FLASH: preliminary" in html

    # Later in the day it is still a flash; a longer report lacks the rest of the day.
    [again] = pipeline.close(service, DAY, AFTERNOON, flash=True)
    assert (again.revision, again.outcome, again.reason) == (2, "revised", "flash again")
    assert fills(first.facts) < fills(facts(site.store, DAY)) < fills(right.facts)
    with pytest.raises(UsageError, match="never a FLASH"):
        pipeline.draft(service, "weekly", DAY, AFTERNOON, flash=True)
    weekly = pipeline.draft(service, "weekly", DAY, AFTERNOON, allow_gaps=True)
    assert weekly.status is Status.INCOMPLETE
    assert ("the end of the day", "2025-12-05") in {(g.what, g.when) for g in weekly.gaps}

    # The close of a later day does the flash again, whole: metrics that it did not ask for too.
    results = pipeline.close(service, LAST, closing_time(LAST))
    done = {c.day: (c.revision, c.outcome, c.reason) for c in results}
    assert done[DAY] == (3, "revised", "final after flash")
    final = sealed(site.store, DAY)
    assert not final.flash
    assert (final.facts, final.closing_book) == (right.facts, right.closing_book)
    with pytest.raises(UsageError, match="sealed already"):
        pipeline.close(service, DAY, AFTERNOON, flash=True)

    second = pipeline.draft(service, "daily", DAY, after(LAST, 1))
    assert (second.revision, second.status) == (2, Status.FINAL)
    assert (second.supersedes, second.reason) == (issued.document.id, "final after flash")
    changed = {d.figure for d in second.differences}
    assert {"pnl.net", "pnl.fills", "fill_rate.full"} <= changed
    assert {d.reason for d in second.differences} == {"final after flash"}


def test_a_day_is_flashed_while_it_runs_and_only_then(site: Site) -> None:
    forget(site)
    service = site.service()
    with pytest.raises(NotReady, match="begins at"):
        pipeline.close(service, DAY, at("2025-12-04T23:00:00-05:00"), flash=True)
    with pytest.raises(UsageError, match="is no session"):
        pipeline.close(service, LAST, at("2025-12-07T12:00:00-05:00"), flash=True)
    with pytest.raises(NotReady, match="comes before a flash"):
        pipeline.draft(service, "daily", DAY, NOON, flash=True)
    asked = ("--date", "2025-12-05", "--flash", "--now", "2025-12-04T23:00:00-05:00", "--json")
    assert site.command("close", *asked).returncode == 3
    assert site.command("issue", "--kind", "weekly", *asked).returncode == 2
