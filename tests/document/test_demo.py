"""The finished demo: every target stands in its reports, and what was planted shows.

Nothing here calls the composition: issued documents on one side, the truth of the generator and
the operator's own list of targets on the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import yaml

from reporting import pipeline
from reporting.demo import metrics
from reporting.model import Band, Missing, Number, Ratio, Shown, Text
from reporting.page import Document, Section, Verdict
from reporting.policy import Policy
from reporting.policy.indicators import Objective, State

from ..line.site import LAST, ROOT, Demo, Site, after

TARGETS = ROOT.parent / "shared" / "targets.yaml"
FRIDAY = date(2025, 12, 5)
#: What of targets.yaml says what is reported, not how the system is built or run.
OF_OBJECTIVES = (
    "availability_pct", "service_performance", "agents", "execution_engine", "data_pipeline",
    "infrastructure", "database", "capacity",
)  # fmt: skip
COMPARATORS = {"lt", "le", "gt", "ge"}


def issued(demo: Demo, report: str) -> Document:
    path = demo.reports / report / "r1" / "facts.json"
    return Document.model_validate_json(path.read_bytes())


@pytest.fixture(scope="module")
def daily(demo: Demo) -> Document:
    return issued(demo, "daily/2025-12-05")


@pytest.fixture(scope="module")
def monthly(demo: Demo) -> Document:
    return issued(demo, "monthly/2025-11")


@pytest.fixture(scope="module")
def truth(demo: Demo) -> metrics.Truth:
    return metrics.Truth.read(demo.var / "metrics" / metrics.TRUTH_FILE)


def section(of: Document, id: str) -> Section:
    return next(s for s in of.sections if s.id == id)


def rows(of: Document, section_id: str) -> Iterator[tuple[str, dict[str, Shown]]]:
    """Every row of a section's tables by column, with its table's id."""
    for table in section(of, section_id).tables:
        for row in table.rows:
            yield table.id, dict(zip((c.key for c in table.columns), row, strict=True))


def row(of: Document, section_id: str, table: str, title: str) -> dict[str, Shown]:
    """The only row of a table that has ``title`` in its first column."""
    (found,) = [
        cells
        for id, cells in rows(of, section_id)
        if id == table and words(next(iter(cells.values()))) == title
    ]
    return found


def words(cell: Shown) -> str:
    return cell.text if isinstance(cell, Text) else ""


def bounds(cell: Shown) -> tuple[Fraction, Fraction]:
    assert isinstance(cell, Band | Ratio), cell
    low, high = (cell.low, cell.high) if isinstance(cell, Band) else (cell, cell)
    assert low.fraction is not None and high.fraction is not None
    return low.fraction, high.fraction


def plain(name: str) -> str:
    """An id or a title in lower case and without punctuation."""
    return name.replace("_", " ").replace("-", " ").lower()


# Nothing is dropped ---------------------------------------------------------------------------


def standing(of: Document, objective: Objective) -> dict[str, Shown]:
    """The row in which a report says where an objective stands."""
    if isinstance(objective.indicator, State):
        return row(of, "uptime", "components", objective.title)
    return row(of, "service_levels", f"objectives_{objective.system}", objective.title)


def catalogue(site: Site) -> Policy:
    return site.service().policy


def test_every_objective_stands_in_the_daily_report_with_a_value_or_a_reason(
    site: Site, daily: Document
) -> None:
    alone = [o for o in catalogue(site).objectives if not o.composite]
    assert len(alone) >= 60
    for objective in alone:
        found = standing(daily, objective)
        value = found["availability" if isinstance(objective.indicator, State) else "measured"]
        if isinstance(value, Missing):
            assert value.detail, objective.id
        else:
            assert not isinstance(value, Text) or value.text, objective.id
        verdict = words(found["verdict"])
        if objective.goal is None:
            assert (words(found["promise"]), verdict) == ("tracked", ""), objective.id
        else:
            assert words(found["promise"]) not in ("", "tracked"), objective.id
    row(daily, "uptime", "components", "Overall monitoring")


def leaves(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, list):
        yield from (f"{path}.{name}" for name in node)
    elif isinstance(node, dict) and not set(node) <= COMPARATORS:
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path


@pytest.fixture(scope="module")
def targets() -> dict[str, Any]:
    if not TARGETS.exists():
        pytest.skip("the operator's targets.yaml is not beside this checkout")
    found: dict[str, Any] = yaml.safe_load(TARGETS.read_text("utf-8"))
    return found


def test_every_target_of_the_operator_stands_in_the_month(
    targets: dict[str, Any], site: Site, monthly: Document
) -> None:
    objectives = catalogue(site).objectives
    found = list(leaves({name: targets[name] for name in OF_OBJECTIVES}, ""))
    assert len(found) == 50
    for path in found:
        answering = [o for o in objectives if path in o.answers]
        assert answering, path
        for objective in answering:
            if objective.composite:
                row(monthly, "uptime", "components", objective.title.split(":")[0])
            else:
                standing(monthly, objective)
    for group in targets["monitored_system"]["components"].values():
        for component in group:
            (state,) = [o for o in objectives if o.id == component]
            row(monthly, "uptime", "components", state.title)


def test_every_alert_priority_check_and_improvement_stands_in_a_report(
    targets: dict[str, Any], daily: Document, monthly: Document
) -> None:
    of_alerts = {plain(words(cell)) for _, r in rows(monthly, "alerts") for cell in r.values()}
    for severity in ("critical", "warning"):
        for alert in targets["alerts"][severity]["response_s"]:
            assert plain(alert) in of_alerts, alert
    priorities = {words(next(iter(r.values()))) for _, r in rows(monthly, "incidents")}
    assert set(targets["incidents"]) <= priorities
    kpis = {plain(words(next(iter(r.values())))) for _, r in rows(monthly, "improvement")}
    assert kpis == {plain(kpi) for kpi in targets["improvement_kpis_pct"]}
    for name, lines in targets["checklists"].items():
        answered = {
            words(r["line"]): (words(r["outcome"]), words(r["because"]))
            for table, r in rows(daily, "checklists")
            if table == f"checklist_{name}"
        }
        assert list(answered) == lines
        assert all(
            outcome in ("pass", "fail", "not measured") and because
            for outcome, because in answered.values()
        )
    allocated = {r[0] for t in section(monthly, "capacity").tables for r in t.rows}
    assert len(allocated) == len(targets["capacity"])


# What was planted -----------------------------------------------------------------------------


def test_the_release_that_made_inference_slow_spends_its_budget(
    daily: Document, truth: metrics.Truth
) -> None:
    found = row(daily, "service_levels", "objectives_agents", "Tactical agent: inference time")
    assert words(found["verdict"]) == "missed"
    low, high = bounds(found["share"])

    def observed(day: int, series: str) -> int:
        return truth.levels[series][date(2025, 12, day).isoformat()]

    name, of = "agent_inference_duration_seconds", 'job="tactical",instance="tactical:9000"'
    within, total = f'{name}_bucket{{{of},le="0.008"}}', f"{name}_count{{{of}}}"
    true = Fraction(observed(5, within), observed(5, total))
    assert low <= true <= high < Fraction(95, 100)
    # Five of December's 31 days, of 5 % that may be slow.
    slow = sum(observed(d, total) - observed(d, within) for d in range(1, 6))
    left = 1 - Fraction(slow, sum(observed(d, total) for d in range(1, 6))) * Fraction(5, 31) * 20
    least, most = bounds(found["left"])
    assert least <= left <= most < Fraction(4, 5)
    # At the day's rate the rest is gone before the month is.
    ends = date.fromisoformat(words(found["lasts"]))
    days_left = left * 31 / ((1 - true) * 20)
    assert abs((ends - FRIDAY).days - days_left) <= 1
    assert ends < date(2025, 12, 31)
    assert any(
        a.severity == "alarm" and a.text.startswith("Tactical agent: inference time")
        for a in daily.attention
    )
    assert section(daily, "service_levels").verdict is Verdict.MISSED


def test_a_slower_release_is_told_as_a_regression(daily: Document) -> None:
    told = " ".join(
        f"{f.label} {f.note} {words(f.value)}"
        for f in section(daily, "regression").figures
        if f.id == "regression.tactical_inference_latency"
    )
    assert "slower" in told


def test_the_disk_that_fills_is_told_with_its_day(daily: Document, truth: metrics.Truth) -> None:
    assert truth.storage is not None
    full = datetime.fromtimestamp(truth.storage.full_ms / 1000, UTC).date()
    found = row(daily, "capacity", "capacity", "Storage in use")
    told = date.fromisoformat(words(found["exhaustion"]))
    # Levels over a day are known within half of 1 %: two days of growth.
    assert abs((told - full).days) <= 2
    assert found["allocated"] == Number(value=Decimal(500), unit="GB")


def test_the_search_that_failed_with_its_store_missed_its_promise(daily: Document) -> None:
    search = row(daily, "service_levels", "objectives_service_performance", "Log search time")
    store = row(daily, "uptime", "components", "Elasticsearch")
    assert [words(r["verdict"]) for r in (search, store)] == ["missed", "missed"]
    (outage,) = [
        r
        for id, r in rows(daily, "uptime")
        if id == "uptime_stretches" and words(r["target"]) == "Elasticsearch"
    ]
    assert "heap" in words(outage["cause"])


def checklist(of: Document) -> dict[str, tuple[str, str]]:
    return {
        words(r["line"]): (words(r["outcome"]), words(r["because"]))
        for _, r in rows(of, "checklists")
    }


def test_the_night_without_a_backup_fails_the_evenings_check_and_others_pass(
    site: Site, daily: Document, truth: metrics.Truth
) -> None:
    assert checklist(daily)["backups completed"][0] == "pass"
    ((missed_ms, made_up_ms),) = truth.stories["backup_missed"]
    saturday = datetime.fromtimestamp(missed_ms / 1000, UTC).date()
    # The report of Monday begins after Friday's, so that no weekend is in no report.
    friday, monday = saturday - timedelta(1), saturday + timedelta(2)
    (good, _), (bad, because) = (
        checklist(pipeline.draft(site.service(), "daily", day, after(LAST, 2)))["backups completed"]
        for day in (friday, monday)
    )
    assert (good, bad) == ("pass", "fail")
    # The one before was made a day before the one that was missed.
    oldest_h = Decimal(made_up_ms - missed_ms) / 3_600_000 + 24
    told = Decimal(because.removeprefix("the last backup was at most ").removesuffix(" h old"))
    assert oldest_h - Decimal("0.1") <= told <= oldest_h  # read every two minutes
