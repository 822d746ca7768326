"""The generated metrics: the same for a seed, and samples that agree with their truth."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from reporting.demo import metrics
from reporting.demo.prometheus import find_binary
from reporting.errors import NotReady
from reporting.periods import calendar_day
from reporting.policy.indicators import Query
from reporting.policy.openslo import parse_objectives

ROOT = Path(__file__).parents[2]
HOUR_MS = 3_600_000


def written(truth: metrics.Truth) -> str:
    file = io.StringIO()
    metrics.write_openmetrics(file, truth)
    return file.getvalue()


def first_hours(seed: int, hours: int = 30) -> metrics.Truth:
    truth = metrics.draw(seed)
    return replace(truth, end_ms=truth.start_ms + hours * HOUR_MS)


def test_a_seed_gives_the_same_bytes_and_another_one_others() -> None:
    assert written(first_hours(7)) == written(first_hours(7))
    assert written(first_hours(7)) != written(first_hours(8))
    assert metrics.draw(7) == metrics.draw(7)


def test_the_truth_survives_its_file(tmp_path: Path) -> None:
    truth = metrics.draw(7)
    truth.write(tmp_path / "truth.json")
    assert metrics.Truth.read(tmp_path / "truth.json") == truth


def test_the_story_has_what_the_reports_must_show() -> None:
    truth = metrics.draw(7)
    assert len(truth.targets["grafana"].days) == 38
    assert truth.targets["grafana"].days["2025-11-02"]["window_ms"] == 25 * HOUR_MS
    assert {n for n, t in truth.targets.items() if t.down} == {"grafana", "elasticsearch"}
    # More than 99.9 % of November allow, and more than 99.5 % of a day but not of a week.
    assert truth.targets["grafana"].days["2025-11-12"]["down_ms"] > 43 * 60_000
    lost = truth.targets["elasticsearch"].days["2025-12-05"]["down_ms"]
    assert 7.2 * 60_000 < lost < 50.4 * 60_000
    assert {n for n, t in truth.targets.items() if t.gone} == {"custom_exporters"}
    assert {n for n, t in truth.targets.items() if t.unborn} == {"alerting_api"}
    assert len(truth.collector_gaps) == 1
    assert all(len(c.resets_ms) == 3 and c.errors_ms for c in truth.counters.values())


def test_samples_are_the_truth_at_their_moment() -> None:
    truth = metrics.draw(7)
    start, end = truth.targets["grafana"].down[0]
    around = replace(truth, start_ms=start - HOUR_MS, end_ms=end + HOUR_MS, counters={})
    seen: Counter[bool] = Counter()
    for line in written(around).splitlines():
        if not line.startswith('up{job="grafana"'):
            continue
        _, value, stamp = line.split(" ")
        at = int(stamp.replace(".", ""))
        assert (value == "0") == (start <= at < end)
        seen[value == "0"] += 1
    # One scrape every 15 s: an hour on each side, and the outage.
    assert abs(seen[False] - 2 * 240) <= 2
    assert abs(seen[True] - (end - start) // 15_000) <= 1


def test_nothing_is_sampled_while_the_collector_is_away() -> None:
    truth = metrics.draw(7)
    lo, hi = truth.collector_gaps[0]
    around = replace(truth, start_ms=lo - HOUR_MS, end_ms=hi + HOUR_MS)
    stamps = [
        int(line.rsplit(" ", 1)[1].replace(".", ""))
        for line in written(around).splitlines()
        if not line.startswith("#")
    ]
    assert stamps and not any(lo <= at < hi for at in stamps)
    assert min(stamps) < lo and max(stamps) > hi


# -- what the services did -----------------------------------------------------------------------

DECISIONS = 'agent_inference_duration_seconds_count{job="%s",instance="%s:9000"}'
WITHIN = 'agent_inference_duration_seconds_bucket{job="%s",instance="%s:9000",le="%s"}'
ORDERS = (
    'execution_order_latency_seconds_%s{job="execution_engine",instance="execution_engine:9000"'
)
PIPELINE = '{job="data_pipeline",instance="data_pipeline:9000"'
MINUTE_MS, DAY_MS = 60_000, 24 * HOUR_MS


@pytest.fixture(scope="module")
def whole() -> metrics.Truth:
    """The truth of one seed, with the events of every day."""
    truth = metrics.draw(7)
    return replace(truth, levels=metrics.levels.daily(truth))


def part(
    truth: metrics.Truth, start_ms: int, end_ms: int, *, counters: bool = False
) -> dict[str, list[tuple[int, float]]]:
    """The samples of a part of the history, by series."""
    found: dict[str, list[tuple[int, float]]] = {}
    cut = replace(truth, start_ms=start_ms, end_ms=end_ms)
    for line in written(cut if counters else replace(cut, counters={})).splitlines():
        if not line.startswith("#"):
            series, value, stamp = line.rsplit(" ", 2)
            found.setdefault(series, []).append((int(stamp.replace(".", "")), float(value)))
    return found


def test_every_query_of_the_catalogue_finds_its_series(whole: metrics.Truth) -> None:
    days = (
        calendar_day(date(2025, 11, 10), metrics.ZONE),
        calendar_day(metrics.LAST_DAY, metrics.ZONE),
    )
    there = {
        name
        for day in days
        for name in part(whole, day.start_ms, day.start_ms + HOUR_MS, counters=True)
    }
    folder = ROOT / "config" / "objectives"
    asked = {
        query.selector
        for objective in parse_objectives({f.name: f.read_text() for f in folder.glob("*.yaml")})
        for query in vars(objective.indicator).values()
        if isinstance(query, Query)
    }
    assert len(asked) > 60
    # Errors are rare: the series of this one is not there in any given hour.
    rare = 'http_requests_total{job="execution_engine",code="500"}'
    assert {text for text in asked if not any(selects(text, name) for name in there)} <= {rare}


def selects(selector: str | None, series: str) -> bool:
    """Whether a selector of equalities picks this series."""
    assert selector is not None
    name, _, labels = selector.rstrip("}").partition("{")
    wanted = [label for label in labels.split(",") if label]
    return series.partition("{")[0] == name and all(label in series for label in wanted)


def test_a_regression_makes_the_tactical_agent_miss_its_target_and_no_other(
    whole: metrics.Truth,
) -> None:
    def share(agent: str, le: str, day: str) -> float:
        within = whole.levels[WITHIN % (agent, agent, le)][day]
        return within / whole.levels[DECISIONS % (agent, agent)][day]

    assert (
        share("tactical", "0.008", "2025-12-01") > 0.95 > share("tactical", "0.008", "2025-12-03")
    )
    # Its 95th percentile is then between the bounds of 8 and of 10 ms.
    assert share("tactical", "0.01", "2025-12-03") > 0.95
    for day in ("2025-11-10", "2025-12-03", "2025-12-07"):
        assert share("strategic", "0.008", day) > 0.95
        assert share("risk", "0.005", day) > 0.95


def test_orders_are_slow_on_one_day(whole: metrics.Truth) -> None:
    fast = whole.levels[f'{ORDERS % "bucket"},le="0.01"}}']
    all_of_them = whole.levels[f"{ORDERS % 'count'}}}"]
    missed = [day for day in fast if fast[day] / all_of_them[day] < 0.95]
    assert missed == ["2025-11-14"]


def test_a_counter_shows_the_events_since_its_last_restart(whole: metrics.Truth) -> None:
    restart = whole.pipeline_restarts_ms[1]
    series = f"pipeline_messages_total{PIPELINE}}}"
    shown = part(whole, restart - HOUR_MS, restart + HOUR_MS)[series]
    before = [value for at, value in shown if at < restart]
    after = [value for at, value in shown if at >= restart]
    assert len(before) == len(after) == 30  # one in 120 s
    assert before == sorted(before) and after == sorted(after)
    # About 1,400 messages a second; the first scrape after it saw less than two minutes of them.
    assert after[0] < 2 * 60 * 1_700 < before[0]


def test_the_truth_of_a_day_is_what_its_counter_rose_by(whole: metrics.Truth) -> None:
    series = DECISIONS % ("risk", "risk")
    start, end = next((lo, hi) for day, lo, hi in metrics.day_windows() if day == "2025-11-10")
    shown = part(whole, start - 2 * MINUTE_MS, end + 2 * MINUTE_MS)[series]
    rises = [(a, b, y - x) for (a, x), (b, y) in pairwise(shown)]
    # What was counted between two scrapes flowed evenly.
    rose = sum(
        events * (min(b, end) - max(a, start)) / (b - a)
        for a, b, events in rises
        if b > start and a < end
    )
    assert abs(rose - whole.levels[series]["2025-11-10"]) < 2


def test_storage_fills_at_the_rate_that_the_truth_says(whole: metrics.Truth) -> None:
    assert whole.storage is not None
    name = "instance:node_filesystem_used_bytes:sum"
    first = part(whole, whole.start_ms, whole.start_ms + HOUR_MS)[name][0]
    last = part(whole, whole.end_ms - HOUR_MS, whole.end_ms)[name][-1]
    per_day = (last[1] - first[1]) / (last[0] - first[0]) * DAY_MS
    assert abs(per_day - whole.storage.bytes_per_day) / whole.storage.bytes_per_day < 0.01
    days_left = (whole.storage.full_ms - last[0]) / DAY_MS
    assert 58 < days_left < 61
    assert abs(last[1] + days_left * per_day - 500e9) < 1e9


def test_what_is_planted_shows_in_its_series(whole: metrics.Truth) -> None:
    lo, hi = whole.stories["cpu_high"][0]
    cpu = part(whole, lo - 3 * HOUR_MS, hi + 3 * HOUR_MS)["instance:node_cpu_utilisation:ratio"]
    assert hi - lo == 2 * HOUR_MS
    assert all((value > 0.8) == (lo <= at < hi) for at, value in cpu)
    lo, hi = whole.stories["strategic_dip"][0]
    assert hi - lo == 40 * MINUTE_MS
    shown = part(whole, lo, hi)[DECISIONS % ("strategic", "strategic")]
    rates = [(y - x) / 120 for (_, x), (_, y) in pairwise(shown)]
    assert rates and max(rates) < 50
    lo, hi = whole.stories["backup_missed"][0]
    ages = part(whole, lo - DAY_MS, hi + HOUR_MS)["database:backup_age_seconds:max"]
    assert 47.9 < max(value for _, value in ages) / 3600 < 48
    assert max(value for at, value in ages if at < lo) < 24 * 3600
    assert ages[-1][1] < 3600


def test_an_alert_is_pending_then_firing_and_told_of_seconds_later(whole: metrics.Truth) -> None:
    told = [e for e in whole.alerts if e.alertname == "ResourceUsageHigh" and e.firing_ms]
    assert len(told) == 1
    (e,) = told
    lo, hi = whole.stories["cpu_high"][0]
    # It is evaluated each minute, and its rule asks for five.
    assert lo <= e.active_ms < lo + MINUTE_MS
    assert e.firing_ms == e.active_ms + 5 * MINUTE_MS
    assert hi <= e.resolved_ms < hi + MINUTE_MS
    shown = part(whole, e.active_ms - HOUR_MS, e.resolved_ms + HOUR_MS)
    labels = 'alertname="ResourceUsageHigh",severity="warning"'
    pending, firing = (
        [at for at, _ in shown[f'ALERTS{{{labels},alertstate="{state}"}}']]
        for state in ("pending", "firing")
    )
    assert pending == list(range(e.active_ms, e.firing_ms, MINUTE_MS))
    assert firing == list(range(e.firing_ms, e.resolved_ms, MINUTE_MS))
    since = shown[f"ALERTS_FOR_STATE{{{labels}}}"]
    assert {value for _, value in since} == {e.active_ms // 1000}
    slack = 'alertmanager_notifications_total{integration="slack",job="alertmanager"'
    counts = shown[f'{slack},instance="alertmanager:9000"}}']
    rose = [at for (_, x), (at, y) in pairwise(counts) if y == x + 1]
    other = [o.notified_ms for o in whole.alerts if e.active_ms - HOUR_MS < o.notified_ms]
    assert e.notified_ms <= rose[0] < e.notified_ms + 15_000
    assert len(rose) == sum(at < e.resolved_ms + HOUR_MS for at in other)


def test_alerts_of_every_kind_have_their_episode(whole: metrics.Truth) -> None:
    fired = Counter(e.alertname for e in whole.alerts if e.firing_ms)
    assert fired["TradingEngineDown"] == 1 and fired["VarBreach"] == 1
    assert [e.alertname for e in whole.alerts if e.false_positive] == ["HighErrorRate"]
    assert any(not e.firing_ms for e in whole.alerts)
    # Six firings of data quality within an hour.
    lo = whole.stories["invalid_flapping"][0][0]
    flaps = [e for e in whole.alerts if e.alertname == "DataQuality" and lo <= e.active_ms]
    assert sum(e.active_ms < lo + HOUR_MS and e.firing_ms > 0 for e in flaps) == 6
    assert all(e.firing_ms < e.notified_ms < e.firing_ms + 15_000 for e in flaps)


def told_of(truth: metrics.Truth, known_ms: int) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(metrics.alerts.incidents_csv(truth, known_ms))))


def test_what_has_not_happened_yet_is_not_told(whole: metrics.Truth) -> None:
    grafana = whole.targets["grafana"].down[0]
    assert not told_of(whole, grafana[0])
    (early,) = told_of(whole, grafana[0] + 5 * MINUTE_MS)
    (late,) = told_of(whole, grafana[1])
    # Noticed after two minutes, answered after nine.
    assert early["notified_at"] and not early["acknowledged_at"] and not early["resolved_at"]
    assert late["acknowledged_at"] and late["resolved_at"]


def test_incidents_tell_the_causes_and_one_answer_came_too_late(whole: metrics.Truth) -> None:
    rows = told_of(whole, whole.end_ms)
    assert {row["priority"] for row in rows} == {"P1", "P2", "P3"}
    assert all(row["cause"] for row in rows)
    assert {"grafana", "elasticsearch", "tactical"} <= {row["target"] for row in rows}
    within = {"P1": timedelta(minutes=15), "P2": timedelta(minutes=30), "P3": timedelta(hours=2)}

    def at(row: dict[str, str], name: str) -> datetime:
        return datetime.fromisoformat(row[f"{name}_at"])

    assert all(at(row, "opened").tzinfo for row in rows)
    late = [r for r in rows if at(r, "acknowledged") - at(r, "opened") > within[r["priority"]]]
    assert [row["alert"] for row in late] == ["HighLatency"]
    assert [row["target"] for row in rows if not row["resolved_at"]] == ["tactical"]
    for row in rows:
        if row["resolved_at"]:
            assert at(row, "notified") <= at(row, "acknowledged") < at(row, "resolved")


HOLDER = """
import sys, time
from pathlib import Path
from reporting.demo.prometheus import running_prometheus
with running_prometheus(Path(sys.argv[1]), Path(sys.argv[2])) as url:
    print(url, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_server_survives_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    try:
        find_binary("prometheus", ROOT / "var")
    except NotReady as reason:
        pytest.skip(str(reason))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "data"), str(ROOT / "var")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline().startswith("http://127.0.0.1:")
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    assert len(children) == 1
    holder.send_signal(how)
    holder.wait(30)
    holder.stdout.close()
    for _ in range(100):
        if not running(int(children[0])):
            return
        time.sleep(0.1)
    pytest.fail(f"Prometheus {children[0]} outlived its parent")


def running(pid: int) -> bool:
    """Whether ``pid`` is alive; a dead child that nobody has waited for yet is not."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
