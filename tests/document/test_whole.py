"""What the service levels add to a whole Document: gaps, what needs a person, how far it looks."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from reporting.document import Issue, build, lookback
from reporting.measures.incidents import NO_SOURCE
from reporting.model import Missing, Value, Why
from reporting.page import Status, Verdict
from reporting.periods import Span, day_span, month_span, week_span
from reporting.policy import Policy
from reporting.policy.indicators import CalendarWindow, RollingWindow

from .days import (
    GAUGE,
    GONE,
    GOOD,
    HOUR,
    MONTH,
    QUIET,
    absent,
    counted,
    day,
    document,
    incidents,
    levels,
    objective,
    policy,
    sealed,
    section,
    state,
    table,
    target,
    timed,
    uptime,
    words,
)

TODAY = day(0)
OPERATIONS = (Path(__file__).parents[2] / "config" / "operations.toml").read_text("utf-8")
SHOP = policy(objective("x", GOOD), objective("web", state("web")))


def whole(at: date, **changed: Value | Missing) -> dict[str, Value | Missing]:
    """A day on which everything was measured and kept."""
    return {
        **QUIET,
        "service_levels": levels(at, counted("x", at, 99, 100)),
        "uptime": uptime(at, target("web")),
        "incidents": incidents(at),
        **changed,
    }


# Gaps -----------------------------------------------------------------------------------------


def test_a_day_with_every_promise_kept_is_final_and_met() -> None:
    found = document([sealed(TODAY, whole(TODAY))], SHOP)
    assert (found.status, found.verdict, found.gaps) == (Status.FINAL, Verdict.MET, ())


@pytest.mark.parametrize("name", ["service_levels", "uptime", "alerts", "incidents"])
def test_a_source_of_service_levels_that_was_away_is_a_gap(name: str) -> None:
    found = document([sealed(TODAY, whole(TODAY, **{name: GONE}))], SHOP)
    assert found.status is Status.INCOMPLETE
    assert [(g.when, g.reason) for g in found.gaps] == [("2026-03-02", GONE)]
    assert found.verdict is Verdict.UNKNOWN


def test_a_site_without_incidents_has_no_gap_in_them() -> None:
    found = document([sealed(TODAY, whole(TODAY, incidents=NO_SOURCE))], SHOP)
    assert (found.status, found.verdict, found.gaps) == (Status.FINAL, Verdict.MET, ())


def test_a_day_sealed_before_a_measure_existed_has_no_gap_in_it_and_no_verdict_either() -> None:
    old = whole(TODAY)
    del old["service_levels"]
    found = document([sealed(TODAY, old)], SHOP)
    assert found.gaps == ()
    (row,) = table(section(found, "service_levels"), "objectives_shop")
    assert words(row["verdict"]) == "unknown"
    assert isinstance(row["measured"], Missing)
    assert row["measured"].why is Why.NOT_MEASURED


def test_an_objective_that_could_not_be_read_makes_the_whole_unknown() -> None:
    why = Missing(why=Why.NO_DATA, detail="HTTP 422 after 3 tries")
    facts = whole(TODAY, service_levels=levels(TODAY, absent("x", TODAY, why)))
    found = document([sealed(TODAY, facts)], SHOP)
    assert found.verdict is Verdict.UNKNOWN
    assert found.answer.startswith("Not known: service levels")
    kept = section(found, "service_levels")
    assert kept.summary.startswith("1 of 2 promises kept")
    (figure,) = [f for f in kept.figures if f.id == "service_levels.x"]
    assert figure.value == why


def test_one_day_of_a_week_without_a_source_is_a_gap_and_no_promise_is_known_to_be_kept() -> None:
    days = [sealed(day(n), whole(day(n))) for n in range(6)]
    days.append(sealed(day(6), whole(day(6), service_levels=GONE, uptime=GONE)))
    found = document(days, SHOP, kind="weekly")
    assert found.status is Status.INCOMPLETE
    assert [(g.what, g.when) for g in found.gaps] == [
        ("Uptime", "2026-03-08"), ("Service levels", "2026-03-08"),
    ]  # fmt: skip
    # At worst 6/7 = 85.7 % of the week: the promise is 90 %.
    levels_, uptime_ = (section(found, name) for name in ("service_levels", "uptime"))
    assert [words(r["verdict"]) for r in table(levels_, "objectives_shop")] == ["unknown"]
    assert [words(r["verdict"]) for r in table(uptime_, "components")] == ["unknown"]
    # The section's own figure and the component's row are one and the same.
    (figure,) = [f for f in uptime_.figures if f.id == "uptime.web"]
    assert figure.verdict is Verdict.UNKNOWN


# FLASH ----------------------------------------------------------------------------------------


ENDS_LATER = Missing(why=Why.NOT_ENDED, detail="not over at 12:00")
RUNNING: dict[str, Value | Missing] = dict.fromkeys(
    ("service_levels", "uptime", "alerts", "incidents"), ENDS_LATER
)


def test_a_day_sealed_before_its_end_makes_a_flash_and_what_it_lacks_is_no_gap() -> None:
    found = document([sealed(TODAY, whole(TODAY, **RUNNING), flash=True)], SHOP)
    assert (found.status, found.gaps) == (Status.FLASH, ())
    assert found.verdict is Verdict.UNKNOWN


def test_incomplete_wins_over_flash_and_the_end_of_a_sealed_day_is_a_gap() -> None:
    broken = whole(TODAY, **RUNNING, pnl=GONE)
    found = document([sealed(TODAY, broken, flash=True)], SHOP)
    assert found.status is Status.INCOMPLETE
    assert [g.what for g in found.gaps] == ["Profit and loss"]
    # A day that has ended has its services, or a gap in them.
    over = document([sealed(TODAY, whole(TODAY, **RUNNING))], SHOP)
    assert (over.status, len(over.gaps)) == (Status.INCOMPLETE, 4)


def test_a_longer_report_over_a_flash_lacks_the_rest_of_that_day() -> None:
    days = [sealed(day(n), whole(day(n))) for n in range(6)]
    days.append(sealed(day(6), whole(day(6), **RUNNING), flash=True))
    found = document(days, SHOP, kind="weekly")
    assert found.status is Status.INCOMPLETE
    assert [(g.what, g.when) for g in found.gaps] == [("the end of the day", "2026-03-08")]


@pytest.mark.parametrize(
    ("before", "flash", "expected"),
    [
        (Status.FLASH, False, Status.FINAL),
        (Status.FLASH, True, Status.FLASH),
        (Status.FINAL, False, Status.RESTATED),
        (Status.FINAL, True, Status.FLASH),
        (Status.RESTATED, False, Status.RESTATED),
        (Status.INCOMPLETE, False, Status.RESTATED),
    ],
)
def test_what_replaces_a_flash_is_final(before: Status, flash: bool, expected: Status) -> None:
    made = sealed(TODAY, whole(TODAY), flash=flash)
    first = document([sealed(TODAY, whole(TODAY), flash=True)], SHOP)
    issue = Issue(
        issuer="Firm", base="USD", issued_at=first.issued_at, checkpoint=first.checkpoint,
        revision=2, previous=first.model_copy(update={"status": before}),
    )  # fmt: skip
    assert build(day_span(TODAY), [made], (), (), SHOP, issue).status is expected


# What needs a person --------------------------------------------------------------------------


def attention(*, of: Policy = SHOP, **changed: Value | Missing) -> list[tuple[str, str, str]]:
    found = document([sealed(TODAY, whole(TODAY, **changed))], of)
    return [(a.severity, a.section, a.text) for a in found.attention]


def test_a_quiet_day_needs_nobody() -> None:
    assert attention() == []


def test_a_missed_promise_is_an_alarm_once_and_names_the_promise() -> None:
    missed = attention(service_levels=levels(TODAY, counted("x", TODAY, 1, 100)))
    assert missed == [("alarm", "service_levels", "X: at least 90 % missed.")]
    down = attention(uptime=uptime(TODAY, target("web", down=12 * HOUR)))
    assert [(severity, where) for severity, where, _ in down] == [("alarm", "uptime")]
    assert "at least 90 %" in down[0][2]


def test_a_promise_that_can_not_be_judged_is_a_warning() -> None:
    # 0.85 to 0.95 of all events were good.
    open_ = counted("x", TODAY, 90, 100, open_=5)
    assert attention(service_levels=levels(TODAY, open_)) == [
        ("warning", "service_levels",
         "X: at least 90 % not decidable, too much is unknown."),
    ]  # fmt: skip


def test_a_disk_that_fills_and_a_failed_check_are_told() -> None:
    disk = objective("capacity_disk", GAUGE, None, title="Disk", allocated=Decimal(100), unit="GB")
    of = policy(objective("web", state("web")), disk, operations=OPERATIONS)
    before = [
        sealed(
            day(n),
            {"service_levels": levels(day(n), timed("capacity_disk", day(n), str(100 + n * 2)))},
        )
        for n in range(-10, 0)
    ]
    late = timed("backup_status", TODAY, "200000")
    facts = whole(TODAY, service_levels=levels(TODAY, timed("capacity_disk", TODAY, "99"), late))
    found = document([sealed(TODAY, facts)], of, before=before)
    told = {(a.section, a.text.split(":")[0]) for a in found.attention}
    assert ("capacity", "Disk") in told
    assert ("checklists", "Evening checklist, backups completed") in told
    # How many lines passed is no news of its own.
    assert not any("lines passed" in a.text for a in found.attention)
    # The checklist says the former again in its own words; the first page does not.
    assert not any("capacity plan" in a.text for a in found.attention)


# How far back ---------------------------------------------------------------------------------


def reaches(span: Span, *windows: object, baseline: str = "") -> date:
    of = [objective(f"o{n}", GOOD, window=w) for n, w in enumerate(windows)]
    operations = (
        f'[[improvement]]\nid = "a"\ngoal_pct = 1\nfigure = "incidents.count"\n'
        f"baseline = {{first = {baseline}, last = {baseline}}}\n"
        if baseline
        else ""
    )
    return lookback(span, policy(*of, operations=operations), "24/7")


def test_a_report_looks_back_over_its_trend_of_ninety_days() -> None:
    assert reaches(day_span(TODAY)) == TODAY - timedelta(89)
    assert reaches(day_span(TODAY), MONTH, RollingWindow(28)) == TODAY - timedelta(89)


def test_a_longer_window_is_looked_back_over_in_full() -> None:
    year = CalendarWindow(1, "year", date(2026, 1, 1))
    assert reaches(day_span(date(2026, 12, 31)), year) == date(2026, 1, 1)
    assert reaches(day_span(TODAY), RollingWindow(365)) == TODAY - timedelta(364)
    quarter = CalendarWindow(2, "quarter", date(2025, 1, 1))
    # From January to June: on 30 June that is more than 90 days ago.
    assert reaches(month_span(date(2026, 6, 15)), MONTH, quarter) == date(2026, 1, 1)


def test_a_baseline_is_looked_back_to_where_improvement_is_shown() -> None:
    assert reaches(week_span(TODAY), baseline="2025-09-01") == date(2025, 9, 1)
    assert reaches(month_span(TODAY), baseline="2025-09-01") == date(2025, 9, 1)
    # The daily report shows none.
    assert reaches(day_span(TODAY), baseline="2025-09-01") == TODAY - timedelta(89)


def test_a_long_period_has_its_four_weeks_before_it() -> None:
    # 1 to 31 March: 90 days back from the 31st are 1 January; four weeks before the 1st are nearer.
    assert reaches(month_span(TODAY)) == date(2026, 3, 31) - timedelta(89)
    long = Span("monthly", "half a year", "", date(2026, 1, 1), date(2026, 6, 30))
    assert reaches(long) == date(2026, 1, 1) - timedelta(28)


def test_what_is_looked_back_to_is_cited() -> None:
    before = [sealed(day(n), whole(day(n))) for n in (-20, -1)]
    found = document([sealed(TODAY, whole(TODAY))], SHOP, before=before)
    assert [c.day for c in found.citations] == [day(-20), day(-1), TODAY]
