"""The demo's sealed service levels, alerts and incidents against the truth of its generator.

Nothing here calls a measure: sealed JSON on one side, what really happened on the other.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from reporting.demo import metrics
from reporting.periods import days_between
from reporting.postgres import database
from reporting.store import Store

from ..line.site import Demo, facts

DAYS = tuple(days_between(metrics.FIRST_DAY, metrics.LAST_DAY))
MINUTE_MS = 60_000

#: Objectives over counters: what counts as good, or as bad, and of what.
COUNTED = {
    "strategic_inference_latency": (
        'agent_inference_duration_seconds_bucket{job="strategic",*,le="0.008"}',
        'agent_inference_duration_seconds_count{job="strategic",*}',
    ),
    "tactical_inference_latency": (
        'agent_inference_duration_seconds_bucket{job="tactical",*,le="0.008"}',
        'agent_inference_duration_seconds_count{job="tactical",*}',
    ),
    "strategic_accuracy": (
        'agent_predictions_total{job="strategic",*,outcome="correct"}',
        'agent_inference_duration_seconds_count{job="strategic",*}',
    ),
    "order_latency": (
        'execution_order_latency_seconds_bucket{job="execution_engine",*,le="0.01"}',
        'execution_order_latency_seconds_count{job="execution_engine",*}',
    ),
    "processing_latency": (
        'pipeline_processing_duration_seconds_bucket{job="data_pipeline",*,le="0.1"}',
        'pipeline_messages_total{job="data_pipeline",*}',
    ),
}


@pytest.fixture(scope="module")
def store(demo: Demo) -> Store:
    return Store(database(demo.server.database("reporting"), "store"))


@pytest.fixture(scope="module")
def truth(demo: Demo) -> metrics.Truth:
    return metrics.Truth.read(demo.var / "metrics" / metrics.TRUTH_FILE)


@pytest.fixture(scope="module")
def sealed_days(store: Store) -> Mapping[date, Mapping[str, Any]]:
    return {day: facts(store, day) for day in DAYS}


def level(day: Mapping[str, Any], name: str) -> dict[str, Any]:
    (found,) = [x for x in day["service_levels"]["levels"] if x["id"] == name]
    return dict(found)


def doubt(events: Mapping[str, Any], kind: str) -> Decimal:
    return sum((Decimal(events[part][kind]) for part in ("inner", "first", "last")), Decimal(0))


def series(pattern: str) -> str:
    """The name of a series; its instance is its job's."""
    job = pattern.partition('job="')[2].partition('"')[0]
    return pattern.replace("*", f'instance="{job}:9000"')


@pytest.mark.parametrize("name", sorted(COUNTED))
def test_events_of_every_day_are_those_that_happened(
    name: str, truth: metrics.Truth, sealed_days: Mapping[date, Mapping[str, Any]]
) -> None:
    good_series, total_series = (series(pattern) for pattern in COUNTED[name])
    for day, sealed in sealed_days.items():
        good = truth.levels[good_series][day.isoformat()]
        total = truth.levels[total_series][day.isoformat()]
        events = level(sealed, name)["events"]
        counted = Decimal(events["good"])
        missed = Decimal(events["total"]) - counted
        assert abs(counted - good) <= doubt(events, "good"), day
        assert abs(missed - (total - good)) <= doubt(events, "bad"), day
        # What is doubtful is the traffic around midnight and around a restart, not of hours.
        assert doubt(events, "good") < total / 100, day


def test_every_restart_of_the_pipeline_is_seen(
    truth: metrics.Truth, sealed_days: Mapping[date, Mapping[str, Any]]
) -> None:
    restarted = Counter(
        day
        for day, lo, hi in metrics.day_windows()
        for at in truth.pipeline_restarts_ms
        if lo <= at < hi
    )
    seen = {
        day.isoformat(): level(sealed, "processing_latency")["resets"]
        for day, sealed in sealed_days.items()
    }
    assert sum(restarted.values()) == len(truth.pipeline_restarts_ms) == 6
    assert {day: number for day, number in seen.items() if number} == dict(restarted)


def test_time_above_a_limit_is_the_time_of_the_story(
    truth: metrics.Truth, sealed_days: Mapping[date, Mapping[str, Any]]
) -> None:
    bad = {day: level(sealed, "cpu")["time"]["bad_ms"] for day, sealed in sealed_days.items()}
    lo, hi = truth.stories["cpu_high"][0]
    # Two samples of 120 s each are all that the edges of one stretch can be off by.
    assert abs(bad.pop(date(2025, 12, 3)) - (hi - lo)) <= 120_000
    assert set(bad.values()) == {0}


def test_every_firing_is_sealed_with_its_time(
    truth: metrics.Truth, sealed_days: Mapping[date, Mapping[str, Any]]
) -> None:
    fired: dict[str, list[int]] = {}
    lasted: Counter[str] = Counter()
    for sealed in sealed_days.values():
        for episode in sealed["alerts"]["episodes"]:
            lasted[episode["alert"]] += episode["firing_ms"]
            if episode["begun"]:
                fired.setdefault(episode["alert"], []).append(episode["fired_ms"])
                # Between these two, as far as anybody could tell, the first was told.
                after, by = episode["told_after_ms"], episode["told_by_ms"]
                (true,) = [
                    e.notified_ms for e in truth.alerts if e.firing_ms == episode["fired_ms"]
                    and words(e.alertname) == episode["alert"]
                ]  # fmt: skip
                assert after <= true and (by is None or true <= by), episode
    expected: dict[str, list[int]] = {}
    *_, (_, _, end) = metrics.day_windows()
    for e in truth.alerts:
        if e.firing_ms and e.firing_ms < end:
            expected.setdefault(words(e.alertname), []).append(e.firing_ms)
    assert fired == expected
    for name, starts in expected.items():
        until = [min(e.resolved_ms, end) for e in truth.alerts
                 if words(e.alertname) == name and e.firing_ms]  # fmt: skip
        assert abs(lasted[name] - (sum(until) - sum(starts))) <= len(starts) * MINUTE_MS


def words(alertname: str) -> str:
    """TradingEngineDown as the operator's file names it."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in alertname).removeprefix("_")


def test_incidents_are_sealed_on_their_day_as_the_log_has_them(
    truth: metrics.Truth, sealed_days: Mapping[date, Mapping[str, Any]]
) -> None:
    told = csv.DictReader(io.StringIO(metrics.alerts.incidents_csv(truth, truth.end_ms)))
    expected = {row["id"]: row["opened_at"][:10] for row in told}
    found: dict[str, str] = {}
    for day, sealed in sealed_days.items():
        for incident in sealed["incidents"]["incidents"]:
            found.setdefault(incident["id"], day.isoformat())
    assert found == expected, json.dumps(found)
