"""What is absent is said to be absent, at every step, and is filled once it is there."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reporting import pipeline, render
from reporting.demo.prometheus import build_blocks, running_prometheus
from reporting.demo.story import closing_time
from reporting.errors import NotReady, SourceUnavailable, UsageError
from reporting.model import epoch_ms
from reporting.page import Status
from reporting.pipeline.closing import METRICS_LAG

from ..integration.prometheus_fixtures import Story, write_openmetrics
from .site import CLOSED, CLOSED_DATABASE, LAST, Demo, Site, after, facts, revisions, sealed

FIRST = date(2025, 9, 2)
LAST_SESSION = date(2025, 12, 5)
TABLES = (
    *("executions", "child_events", "children", "parents", "closing_prices"),
    *("cash_movements", "corporate_events"),
)
LOOKING_BACK = ("var.drawdown_largest", "var.kelly", "var.kelly_approximation")
WATCHED = ("uptime", "service_levels", "alerts")
BOOKED = ("pnl", "marks", "reconciliation", "var", "slippage", "fill_rate")


def why(fact: Any) -> str:
    assert fact.get("kind") == "missing", fact
    return str(fact["why"])


def only(site: Site, day: date) -> None:
    """Forget all sealed days but those before ``day``: as superuser, on a clone."""
    site.store_sql(
        "alter table reporting.sealed_day disable trigger user; "
        f"delete from reporting.sealed_day where day >= '{day}'; "
        "alter table reporting.sealed_day enable trigger user"
    )


# --- (e) a source that does not answer -----------------------------------------------------------


@pytest.mark.parametrize("gone", ["ledger_url", "prometheus_url"])
def test_an_unreachable_source_stops_the_close_and_nothing_is_sealed(
    site: Site, prometheus: str, gone: str
) -> None:
    only(site, date(2025, 12, 5))
    before = site.rows()
    closed = {"ledger_url": CLOSED_DATABASE, "prometheus_url": CLOSED}
    service = site.service(**{"prometheus_url": prometheus, gone: closed[gone]})
    with pytest.raises(SourceUnavailable) as error:
        pipeline.close(service, date(2025, 12, 5), closing_time(date(2025, 12, 5)))
    assert error.value.exit_code == 75
    assert gone.split("_")[0] in str(error.value).lower()
    assert site.rows() == before


def test_closing_again_without_the_ledger_is_no_success(site: Site) -> None:
    """Nothing late is looked for up to the last close's own time: the day itself is read."""
    before = site.rows()
    with pytest.raises(SourceUnavailable, match="ledger"):
        pipeline.close(site.service(ledger_url=CLOSED_DATABASE), LAST_SESSION, closing_time(LAST))
    assert site.rows() == before


def test_a_gap_is_sealed_printed_and_filled(site: Site, prometheus: str) -> None:
    """Both sources gone on the day, back later: the second revision has what the first lacks."""
    day = date(2025, 12, 5)
    right = facts(site.store, day)
    only(site, day)
    away = site.service(ledger_url=CLOSED_DATABASE, prometheus_url=CLOSED)
    [closed] = pipeline.close(away, day, closing_time(day), allow_gaps=True)
    assert (closed.outcome, closed.revision) == ("sealed", 1)
    assert {gap.split(":")[0] for gap in closed.gaps} == {*BOOKED, *WATCHED}
    gaps = facts(site.store, day)
    assert {why(gaps[name]) for name in (*BOOKED, *WATCHED)} == {"source unreachable"}

    # As if its report had not been issued yet.
    site.store_sql(
        "alter table reporting.issued_report disable trigger user; "
        "delete from reporting.issued_report; "
        "alter table reporting.issued_report enable trigger user"
    )
    issued = pipeline.issue(away, "daily", day, after(day, 1))
    document = issued.document
    assert document.status == Status.INCOMPLETE
    assert document.verdict != "met"
    assert {g.reason.why for g in document.gaps} == {"source unreachable"}
    assert len(document.gaps) >= 5
    measured = [s for s in document.sections if s.id in (*BOOKED, *WATCHED)]
    assert len(measured) == len(BOOKED) + len(WATCHED)
    for figure in (*document.headline, *(f for s in measured for f in s.figures)):
        if figure.id in LOOKING_BACK:  # over the sessions before, which are known
            continue
        assert figure.value.kind == "missing", figure.id
    html = (issued.folder / "report.html").read_text("utf-8")
    assert "INCOMPLETE" in html and "source unreachable" in html
    assert "hunter2" not in html
    written = re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)  # the strip shows earlier days
    assert "100 %" not in written and "0.000" not in written

    results = pipeline.close(site.service(prometheus_url=prometheus), day, after(LAST, 1))
    assert {c.day: (c.outcome, c.revision) for c in results}[day] == ("revised", 2)
    assert facts(site.store, day) == right
    second = pipeline.draft(site.service(), "daily", day, after(LAST, 2))
    assert (second.revision, second.status, second.gaps) == (2, Status.RESTATED, ())


def test_filling_a_gap_does_what_followed_again(site: Site, prometheus: str) -> None:
    """Without the book of Thursday, Friday had nothing to open with; then Thursday is filled."""
    thursday, friday = date(2025, 12, 4), date(2025, 12, 5)
    right = {day: facts(site.store, day) for day in (thursday, friday)}
    only(site, thursday)
    away = site.service(ledger_url=CLOSED_DATABASE, prometheus_url=prometheus)
    pipeline.close(away, thursday, closing_time(thursday), allow_gaps=True)
    back = site.service(prometheus_url=prometheus)
    pipeline.close(back, friday, closing_time(friday))
    assert why(facts(site.store, friday)["pnl"]) == "no data"
    assert facts(site.store, friday)["slippage"] == right[friday]["slippage"]

    results = pipeline.close(back, thursday, after(LAST, 1))
    assert [(c.day, c.outcome) for c in results] == [(thursday, "revised"), (friday, "revised")]
    assert {day: facts(site.store, day) for day in (thursday, friday)} == right


def test_closing_again_without_the_ledger_loses_nothing(site: Site) -> None:
    day = date(2025, 12, 5)
    before = sealed(site.store, day)
    away = site.service(ledger_url=CLOSED_DATABASE)
    results = pipeline.close(away, day, after(LAST, 1), allow_gaps=True)
    assert [c.outcome for c in results] == ["unchanged"]
    assert sealed(site.store, day) == before


def test_a_forgetful_prometheus_never_erases_a_sealed_uptime(
    site: Site, tmp_path_factory: pytest.TempPathFactory, demo: Demo
) -> None:
    """It keeps 15 days; here it has lost everything, and a late event makes the day be redone."""
    day = date(2025, 12, 3)
    before = sealed(site.store, day)
    folder = tmp_path_factory.mktemp("forgetful")
    site.ledger_sql(
        "insert into firm.executions select 'LATE-1', child_id, executed_at, 10, px, venue, 1, "
        f"commission_ccy, 'N', null, '{after(LAST, 1).isoformat()}' from firm.executions where "
        "exec_id = (select max(exec_id) from firm.executions where executed_at >= "
        "'2025-12-03T15:00Z' and executed_at < '2025-12-03T21:00Z' and exec_type = 'N')"
    )
    with running_prometheus(folder / "tsdb", demo.var.parent) as url:
        pipeline.close(site.service(prometheus_url=url), LAST, after(LAST, 2))
    now = sealed(site.store, day)
    assert now.revision == before.revision + 1
    assert now.facts["uptime"] == before.facts["uptime"]
    asked = [c for c in before.sources if c.source != "ledger"]
    assert [c for c in now.sources if c.source != "ledger"] == asked and asked


def test_metrics_that_lag_are_waited_for_or_said_to_lack(
    site: Site, prometheus: str, tmp_path: Path, demo: Demo
) -> None:
    """Half of Saturday has arrived an hour after its end; later all of it is there."""
    day = date(2025, 12, 6)
    right = {name: facts(site.store, day)[name] for name in WATCHED}
    only(site, day)
    noon = epoch_ms(datetime(2025, 12, 6, 17, tzinfo=UTC))
    half = {"redis": Story(60_000)}
    write_openmetrics(tmp_path / "samples.om", half, noon - 12 * 3_600_000, noon)
    build_blocks(tmp_path / "samples.om", tmp_path / "tsdb", demo.var)
    soon = datetime(2025, 12, 7, 6, tzinfo=UTC)
    with running_prometheus(tmp_path / "tsdb", demo.var.parent) as url:
        lagging = site.service(prometheus_url=url)
        with pytest.raises(NotReady, match="no sample of up near 2025-12-07T05:00:00"):
            pipeline.close(lagging, day, soon)
        [closed] = pipeline.close(lagging, day, soon, allow_gaps=True)
        assert [gap for gap in closed.gaps if gap.startswith(METRICS_LAG)]
        # Nothing has come since: the same day.
        [again] = pipeline.close(lagging, day, soon + timedelta(minutes=5), allow_gaps=True)
        assert again.outcome == "unchanged"
    back = site.service(prometheus_url=prometheus)
    [filled] = pipeline.close(back, day, soon + timedelta(hours=1))
    assert (filled.outcome, filled.reason) == ("revised", "what it lacked has arrived")
    assert {name: facts(site.store, day)[name] for name in WATCHED} == right
    assert METRICS_LAG not in {f.check for f in sealed(site.store, day).findings}


def test_without_prometheus_uptime_is_not_measured(site: Site) -> None:
    only(site, date(2025, 12, 6))
    pipeline.close(site.service(), date(2025, 12, 6), closing_time(date(2025, 12, 6)))
    assert why(facts(site.store, date(2025, 12, 6))["uptime"]) == "not measured"


# --- (f) sources that have nothing ---------------------------------------------------------------


def test_a_session_of_an_empty_ledger_is_missing_and_not_zero(fresh: Site) -> None:
    for table in TABLES:
        fresh.ledger_sql(f"truncate firm.{table}")
    with pytest.raises(NotReady, match="allow-gaps"):
        pipeline.close(fresh.service(), FIRST, closing_time(FIRST))
    pipeline.close(fresh.service(), FIRST, closing_time(FIRST), allow_gaps=True)
    found = facts(fresh.store, FIRST)
    assert {why(found[name]) for name in BOOKED} == {"source empty"}
    document = pipeline.draft(fresh.service(), "daily", FIRST, after(FIRST, 1))
    assert document.status == Status.INCOMPLETE
    assert all(f.value.kind == "missing" for f in document.headline)


def test_a_session_without_trades_is_printed_as_such(site: Site) -> None:
    document = pipeline.draft(site.service(), "daily", date(2025, 10, 13), after(LAST, 1))
    html = render.render_html(document).decode().lower()
    assert "no trades" in html and "no orders" in html
    figures = {f.id: f.value for s in document.sections for f in s.figures}
    assert figures["pnl.fills"].value == 0
    assert not any(
        getattr(value, "denominator", None) == 0 and value.kind != "missing"
        for value in figures.values()
    )


def test_an_instrument_that_was_never_marked_is_left_out_and_named(fresh: Site) -> None:
    fresh.ledger_sql("delete from firm.closing_prices where code = 'ALDR'")
    pipeline.close(fresh.service(), FIRST, closing_time(FIRST))
    pnl = facts(fresh.store, FIRST)["pnl"]
    unmarked = {m["instrument"] for m in pnl["marks"] if m["price"] is None}
    assert unmarked == {"ALDR"}
    held = [h for h in pnl["holdings"] if h["instrument"] == "ALDR"]
    assert held and all(h["value_close"] is None for h in held)
    document = pipeline.draft(fresh.service(), "daily", FIRST, after(FIRST, 1))
    assert document.status == Status.INCOMPLETE, document.gaps
    assert any("Alder Systems" in a.text for a in document.attention)


# --- days that can not be asked for --------------------------------------------------------------


def test_a_holiday_has_no_daily_report_and_the_nearest_sessions_are_named(site: Site) -> None:
    with pytest.raises(UsageError, match=r"2025-11-26 and 2025-11-28") as error:
        pipeline.issue(site.service(), "daily", date(2025, 11, 27), after(LAST, 1))
    assert error.value.exit_code == 2 and "holiday" in str(error.value)


def test_a_day_that_has_not_ended_is_neither_closed_nor_issued(site: Site) -> None:
    day = date(2025, 12, 8)
    noon = after(LAST, 6)
    for verb in (
        lambda: pipeline.close(site.service(), day, noon),
        lambda: pipeline.issue(site.service(), "daily", day, noon),
    ):
        with pytest.raises(NotReady, match="ends at 2025-12-09T05:00:00") as error:
            verb()
        assert error.value.exit_code == 3


def test_an_unsealed_day_is_named_with_the_command_that_seals_it(site: Site) -> None:
    with pytest.raises(NotReady, match="reporting close --date 2025-12-08") as error:
        pipeline.issue(site.service(), "daily", date(2025, 12, 8), after(date(2025, 12, 8), 1))
    assert error.value.exit_code == 3


def test_a_day_before_the_first_sealed_one_can_not_be_closed_into_the_chain(
    site: Site, make_site: Callable[..., Site]
) -> None:
    """Closing an earlier day must never give a later book a hole: it is its own, empty, day."""
    before = revisions(site.store)
    pipeline.close(site.service(), date(2025, 8, 29), after(LAST, 1))
    now = revisions(site.store)
    assert {day: now[day] for day in before} == before
    assert why(facts(site.store, date(2025, 8, 29))["slippage"]) in ("source empty", "no trades")
