"""The checklists: what makes each line pass, fail, or stay without an answer."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from reporting.document import Cited
from reporting.document.analyses import Levels, resources
from reporting.document.checklists import RULES, Asked, checklist
from reporting.measures.fill_rate import FillRateFact
from reporting.measures.incidents import NO_SOURCE
from reporting.measures.pnl import PnlFact
from reporting.measures.slippage import SlippageFact
from reporting.measures.uptime import Stretch
from reporting.measures.var import VarFact
from reporting.model import Finding, Missing, Value, Why
from reporting.page import Figure
from reporting.periods import day_span
from reporting.policy.indicators import Objective
from reporting.policy.operations import Check

from .days import (
    DAY,
    GAUGE,
    GONE,
    GOOD,
    HOUR,
    MINUTE,
    absent,
    alerts,
    counted,
    day,
    document,
    facts_of,
    figure_of,
    incident,
    incidents,
    levels,
    ms,
    objective,
    policy,
    rated,
    sealed,
    section,
    stand,
    state,
    table,
    target,
    timed,
    uptime,
    values,
    words,
)

TODAY = day(0)
OPERATIONS = Path(__file__).parents[2] / "config" / "operations.toml"
Facts = Mapping[str, Value | Missing]
Said = tuple[str, str]


def ask(
    line: str,
    facts: Facts,
    objectives: Sequence[Objective] = (),
    *,
    before: Sequence[Cited] = (),
    calendar: str = "XNYS",
    findings: Sequence[Finding] = (),
    figures: Mapping[str, Figure] | None = None,
) -> Said:
    """The answer to one line and the reason, for a daily report of Monday, 2 March 2026."""
    days = [sealed(TODAY, facts, findings=tuple(findings))]
    of, span = facts_of(days, before), day_span(TODAY)
    found = stand(objectives, days, before=before, figures=figures) if objectives else {}
    levels_ = Levels(of)
    asked = Asked(span, calendar, of, levels_, found, resources(objectives, levels_, span))
    (answer,) = checklist([Check(list="morning", id=line, words="the words")], asked)
    return answer.outcome, answer.because


def test_every_line_of_the_operations_file_has_a_rule() -> None:
    checks = tomllib.loads(OPERATIONS.read_text("utf-8"))["check"]
    assert {c["id"] for c in checks} == set(RULES)
    assert [c["list"] for c in checks] == ["morning"] * 5 + ["evening"] * 5


def test_a_line_without_a_rule_is_not_measured_and_says_so() -> None:
    assert ask("coffee_made", {}) == ("not measured", "no rule answers 'coffee_made' from data")


# All services running -------------------------------------------------------------------------


def stretch(begin: int, end: int, state_: str) -> Stretch:
    return Stretch(start_ms=ms(TODAY) + begin, end_ms=ms(TODAY) + end, state=state_)  # type: ignore[arg-type]


def services(*stretches: Stretch) -> Said:
    web = target("web", stretches=stretches)
    return ask("services_running", {"uptime": uptime(TODAY, web, target("cache"))})


def test_services_that_are_up_at_the_end_are_running() -> None:
    assert services() == ("pass", "all 2 were up at the end of the day")
    over = stretch(HOUR, DAY - MINUTE, "down")
    assert services(over) == ("pass", "all 2 were up at the end of the day")


def test_a_service_that_is_down_at_the_end_is_not_running() -> None:
    late = stretch(DAY - MINUTE, DAY, "down")
    assert services(late) == ("fail", "down at the end of the day: Web")
    # Down weighs more than out of sight.
    lost = target("cache", stretches=[stretch(HOUR, DAY, "target lost")])
    both = uptime(TODAY, target("web", stretches=[late]), lost)
    assert ask("services_running", {"uptime": both}) == (
        "fail", "down at the end of the day: Web",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["target lost", "not born", "collector gap", "several series"])
def test_a_service_that_nobody_sees_is_not_running(kind: str) -> None:
    found = services(stretch(HOUR, DAY, kind))
    assert found == ("fail", "not seen at the end of the day: Web")


def test_services_of_which_nothing_is_known_are_not_measured() -> None:
    assert ask("services_running", {"uptime": GONE}) == ("not measured", str(GONE))
    assert ask("services_running", {"uptime": uptime(TODAY)}) == (
        "not measured", "no component is watched",
    )  # fmt: skip


# Overnight alerts reviewed --------------------------------------------------------------------

FIRED = alerts(TODAY, high_latency=[ms(TODAY) + HOUR, ms(TODAY) + 2 * HOUR])
QUIET = alerts(TODAY, high_latency=[])


def reviewed(of_alerts: Value | Missing, of_incidents: Value | Missing) -> Said:
    return ask("alerts_reviewed", {"alerts": of_alerts, "incidents": of_incidents})


def test_alerts_are_reviewed_where_each_incident_was_acknowledged() -> None:
    both = [incident(name, "web", ms(TODAY), None) for name in ("I-1", "I-2")]
    found = reviewed(FIRED, incidents(TODAY, *both))
    assert found == ("pass", "all 2 incidents were acknowledged")
    silent = incident("I-3", "web", ms(TODAY), None, acknowledged_ms=None)
    found = reviewed(FIRED, incidents(TODAY, both[0], silent))
    assert found == ("fail", "nobody has acknowledged I-3")


def test_without_incidents_only_a_night_without_alerts_passes() -> None:
    assert reviewed(QUIET, NO_SOURCE) == ("pass", "no alert fired")
    assert reviewed(FIRED, NO_SOURCE) == (
        "not measured", "2 alerts fired; no incidents source configured",
    )  # fmt: skip
    assert reviewed(GONE, NO_SOURCE) == ("not measured", str(GONE))


# Performance metrics reviewed -----------------------------------------------------------------

OF = [objective("x", GOOD), objective("y", GOOD), objective("seen", GOOD, None)]


def performance(x: object, y: object) -> Said:
    of = levels(TODAY, x, y, counted("seen", TODAY, 0, 9))  # type: ignore[arg-type]
    return ask("performance_metrics_reviewed", {"service_levels": of}, OF)


def test_performance_is_in_order_where_every_promise_is_kept() -> None:
    good, bad = counted("x", TODAY, 9, 9), counted("y", TODAY, 1, 9)
    assert performance(good, counted("y", TODAY, 9, 9)) == ("pass", "2 of 2 promises kept")
    assert performance(good, bad) == ("fail", "missed: Y")
    gone = absent("x", TODAY, GONE)
    assert performance(gone, counted("y", TODAY, 9, 9)) == (
        "not measured", "can not be judged: X",
    )  # fmt: skip
    assert performance(gone, bad) == ("fail", "missed: Y")
    # No traffic is nothing to judge.
    assert performance(good, counted("y", TODAY, 0, 0)) == ("pass", "1 of 1 promises kept")


def test_no_promise_is_nothing_to_review() -> None:
    assert ask("performance_metrics_reviewed", {}) == ("not measured", "nothing is promised")


# Data quality valid ---------------------------------------------------------------------------


def quality(valid: int, *findings: Finding, open_: int = 0) -> Said:
    of = levels(TODAY, counted("data_quality", TODAY, valid, 10_000, open_=open_))
    known = [objective("data_quality", GOOD, None)]
    return ask("data_quality_valid", {"service_levels": of}, known, findings=findings)


def test_data_are_valid_from_ninety_nine_percent_on_at_their_worst() -> None:
    assert quality(9_900) == ("pass", "at least 99 % of the records were valid, 99 % are asked for")
    assert quality(9_899) == (
        "fail",
        "at least 98.99 % of the records were valid, 99 % are asked for",
    )
    # 9,890 valid and 110 not, at worst.
    assert quality(9_900, open_=10) == (
        "fail",
        "at least 98.9 % of the records were valid, 99 % are asked for",
    )


def test_errors_of_the_ledgers_contract_are_named() -> None:
    def finding(check: str, severity: str) -> Finding:
        return Finding(check=check, severity=severity, count=1, detail="d")  # type: ignore[arg-type]

    assert quality(10_000, finding("late", "warning"))[0] == "pass"
    wrong = [finding("orphan", "error"), finding("orphan", "error"), finding("range", "error")]
    assert quality(10_000, *wrong) == ("fail", "findings about the data: orphan and range")


def test_records_that_nobody_counted_are_not_valid() -> None:
    known = [objective("data_quality", GOOD, None)]
    found = ask("data_quality_valid", {"service_levels": GONE}, known)
    assert found == ("not measured", f"the share of valid records is not known: {GONE}")
    assert ask("data_quality_valid", {}) == (
        "not measured", "the share of valid records is not known: no objective data_quality",
    )  # fmt: skip


# Capacity plan updated ------------------------------------------------------------------------

DISK = objective("capacity_disk", GAUGE, None, title="Disk", allocated=Decimal(100), unit="GB")


def used(first: int, per_day: int, days: int = 10) -> Said:
    """``first`` GB on the first of ``days`` days up to today, and so many more a day."""
    cited = [
        sealed(
            day(n + 1 - days),
            {
                "service_levels": levels(
                    day(n + 1 - days),
                    timed("capacity_disk", day(n + 1 - days), str(first + per_day * n)),
                )
            },
        )
        for n in range(days)
    ]
    today = cited.pop()
    span, of = day_span(TODAY), facts_of([today], cited)
    levels_ = Levels(of)
    asked = Asked(span, "XNYS", of, levels_, {}, resources([DISK], levels_, span))
    check = Check(list="morning", id="capacity_plan_updated", words="w")
    (answer,) = checklist([check], asked)
    return answer.outcome, answer.because


def test_a_disk_that_ends_within_a_month_needs_a_new_plan() -> None:
    # 40 GB after nine days at 2 a day; 60 are left, which last 30 days.
    outcome, because = used(22, 2)
    assert outcome == "fail"
    last = TODAY + timedelta(30)
    # The sketch of a level is within half of 1 %: the day may be one off.
    near = [f"exhausted within 30 days: Disk on {last + timedelta(n)}" for n in (-1, 0)]
    assert because in near


@pytest.mark.parametrize(
    ("first", "per_day", "said"),
    [
        (10, 2, ("pass", "1 forecasts, none ends within 30 days")),
        (50, 0, ("pass", "1 forecasts, none ends within 30 days")),
        (60, -1, ("pass", "1 forecasts, none ends within 30 days")),
        (110, 0, ("fail", "exhausted: Disk")),
        (95, 2, ("fail", "exhausted: Disk")),
    ],
)
def test_a_disk_that_lasts_passes_and_one_that_is_full_fails(
    first: int, per_day: int, said: Said
) -> None:
    assert used(first, per_day) == said


def test_a_short_history_is_no_forecast_and_no_resource_no_plan() -> None:
    assert used(10, 1, days=3) == ("not measured", "no forecast of Disk")
    assert ask("capacity_plan_updated", {}) == ("not measured", "no resource has an allocation")


# Daily performance reviewed -------------------------------------------------------------------


def test_trading_figures_that_are_missing_are_named() -> None:
    there = dict.fromkeys(("pnl", "var", "slippage", "fill_rate"), GONE)
    found = ask("daily_performance_reviewed", there)
    assert found == ("not measured", f"pnl, var, slippage and fill_rate missing: {GONE}")
    traded: dict[str, Value | Missing] = {
        "pnl": PnlFact(base="USD", cells=(), holdings=(), fx=(), marks=(), fills=0),
        "var": VarFact(days=()), "slippage": SlippageFact(cells=()),
        "fill_rate": FillRateFact(cells=(), working=0),
    }  # fmt: skip
    assert ask("daily_performance_reviewed", traded)[0] == "pass"
    less = {**traded, "slippage": Missing(why=Why.NO_TRADES)}
    found = ask("daily_performance_reviewed", less)
    assert found == ("not measured", "slippage missing: no trades")


# Alert patterns checked -----------------------------------------------------------------------


def patterns(*minutes: int) -> Said:
    times = [ms(TODAY) + m * MINUTE for m in minutes]
    fact = alerts(TODAY, data_quality=times, high_latency=[ms(TODAY)])
    return ask("alert_patterns_checked", {"alerts": fact})


def test_three_firings_within_an_hour_are_flapping() -> None:
    assert patterns(0, 30, 59) == ("fail", "flapping: data quality")
    assert patterns(0, 30, 120) == ("pass", "4 alerts fired, none flapped")
    assert ask("alert_patterns_checked", {"alerts": GONE}) == ("not measured", str(GONE))


# Backups completed ----------------------------------------------------------------------------


def backups(highest_s: int) -> Said:
    """The mean age of the last backup is 12 hours; the highest is given."""
    of = timed("backup_status", TODAY, "43200").model_copy(
        update={"values": values("43200", str(highest_s))}
    )
    return ask("backups_completed", {"service_levels": levels(TODAY, of)})


def test_a_backup_older_than_a_day_and_two_hours_was_missed() -> None:
    assert backups(24 * 3600) == ("pass", "the last backup was at most 24 h old")
    assert backups(26 * 3600) == ("pass", "the last backup was at most 26 h old")
    assert backups(26 * 3600 + 1)[0] == "fail"
    assert backups(48 * 3600 + 1800) == ("fail", "the last backup was at most 48.5 h old")


def test_a_backup_of_unknown_age_is_not_measured() -> None:
    known = "the age of the last backup is not known"
    assert ask("backups_completed", {"service_levels": GONE}) == (
        "not measured", f"{known}: {GONE}",
    )  # fmt: skip
    why = Missing(why=Why.EMPTY, detail="no series")
    lost = levels(TODAY, absent("backup_status", TODAY, why, kind="threshold"))
    assert ask("backups_completed", {"service_levels": lost}) == (
        "not measured", f"{known}: {why}",
    )  # fmt: skip
    assert ask("backups_completed", {"service_levels": levels(TODAY)})[0] == "not measured"


# Resource use reviewed ------------------------------------------------------------------------


def use(**good_hours: int) -> Said:
    of = [timed(name, TODAY, "50", good=hours * HOUR) for name, hours in good_hours.items()]
    known = [objective(name, GAUGE) for name in good_hours]
    return ask("resource_use_reviewed", {"service_levels": levels(TODAY, *of)}, known)


def test_resources_keep_their_bounds_or_are_named() -> None:
    assert use(cpu=24, memory=22, disk=24) == ("pass", "3 of 3 resource bounds kept")
    assert use(cpu=24, memory=21, disk=24) == ("fail", "missed: Memory")
    # What is no resource is not looked at.
    assert use(cpu=24, queue=1) == ("pass", "1 of 1 resource bounds kept")
    assert use(queue=24) == ("not measured", "nothing is promised")


# Next day planned -----------------------------------------------------------------------------


def test_the_next_session_is_named_over_weekends_and_holidays() -> None:
    monday = ask("next_day_planned", {})
    assert monday == ("pass", "the next session of XNYS is Tuesday, 2026-03-03")
    good_friday = date(2026, 4, 3)
    span = day_span(good_friday - timedelta(1))
    of = facts_of([sealed(span.last, {})])
    asked = Asked(span, "XNYS", of, Levels(of), {}, ())
    (answer,) = checklist([Check(list="evening", id="next_day_planned", words="w")], asked)
    assert answer.because == "the next session of XNYS is Monday, 2026-04-06"


# On the page ----------------------------------------------------------------------------------


def test_a_daily_report_begins_with_both_lists() -> None:
    operations = OPERATIONS.read_text("utf-8")
    of = policy(objective("web", state("web")), operations=operations)
    facts = {
        "pnl": Missing(why=Why.NO_TRADES), "uptime": uptime(TODAY, target("web")),
        "service_levels": GONE, "alerts": GONE, "incidents": NO_SOURCE,
    }  # fmt: skip
    found = document([sealed(TODAY, facts)], of)
    assert found.sections[0].id == "checklists"
    lists = found.sections[0]
    assert [t.id for t in lists.tables] == ["checklist_morning", "checklist_evening"]
    morning = {words(r["line"]): words(r["outcome"]) for r in table(lists, "checklist_morning")}
    assert morning == {
        "all services running": "pass",
        "overnight alerts reviewed": "not measured",
        "performance metrics reviewed": "pass",
        "data quality valid": "not measured",
        "capacity plan updated": "not measured",
    }
    weekly = document([sealed(day(n), facts) for n in range(7)], of, kind="weekly")
    assert "checklists" not in {s.id for s in weekly.sections}
    assert section(weekly, "improvement")


def test_a_figure_or_a_rate_is_a_promise_like_any_other() -> None:
    of = [objective("rate", GOOD), objective("figure", figure_of("a.b", "gt", "1"))]
    made = {"a.b": Figure(id="a.b", label="", value=Missing(why=Why.UNREACHABLE))}
    facts = {"service_levels": levels(TODAY, rated("rate", TODAY, 10, 288, 0))}
    found = ask("performance_metrics_reviewed", facts, of, figures=made)
    assert found == ("not measured", "can not be judged: Figure")
