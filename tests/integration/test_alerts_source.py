"""Alerts from a real Prometheus over a known history, and from a real Alertmanager."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reporting.demo.prometheus import (
    build_blocks,
    child,
    find_binary,
    free_port,
    running_prometheus,
    wait_ready,
)
from reporting.errors import SourceUnavailable, UsageError
from reporting.measures.alerts import AlertsFact, Episode, of_day
from reporting.model import Frame, Missing, Window
from reporting.page import Verdict
from reporting.periods import TradingDay
from reporting.policy.operations import Alert
from reporting.sources.alertmanager import NO_ALERTMANAGER, read_alertmanager
from reporting.sources.prometheus import Client
from reporting.sources.prometheus.alerts import read_alerts

from .prometheus_fixtures import VAR, lacking

needs_prometheus = pytest.mark.skipif(
    bool(lacking("prometheus", "promtool")), reason=lacking("prometheus", "promtool")
)
needs_alertmanager = pytest.mark.skipif(
    bool(lacking("prometheus-alertmanager")), reason=lacking("prometheus-alertmanager")
)

DAY = date(2025, 12, 5)
START = 1_764_892_800  # 2025-12-05T00:00Z, in seconds
DAY_S = 86_400
EVALUATED_S, SCRAPED_S = 30, 15
PHASE_S = 7


def rule(id_: str, severity: str = "critical", response_s: int = 60) -> Alert:
    name = id_.title().replace("_", "")
    channels = ("pagerduty", "slack") if severity == "critical" else ("slack",)
    return Alert.model_validate(
        {
            "id": id_,
            "alertname": name,
            "severity": severity,
            "channels": channels,
            "response_s": response_s,
        }
    )


RULES = (
    rule("engine_down", response_s=30),
    rule("breach"),
    rule("slow", "warning", 300),
    rule("flaky", "warning", 300),
    rule("never"),
)

#: (alertname, other labels, condition holds from, fires from, ends, seconds without samples)
Activation = tuple[str, str, int, int, int, tuple[int, int]]
NO_GAP = (0, 0)
HISTORY: list[Activation] = [
    ("EngineDown", "", 36_007, 36_007, 36_307, NO_GAP),  # no `for`: fires at once
    ("Breach", 'job="risk"', 40_027, 40_147, 40_507, NO_GAP),  # pending for two minutes
    ("Breach", 'job="risk"', 50_017, 0, 50_107, NO_GAP),  # pending only
    ("Slow", 'job="a"', 80_017, 80_317, DAY_S + 20_017, NO_GAP),  # over midnight
    ("Slow", 'job="b"', -9_983, -9_683, 9_997, (4_000, 5_200)),  # and a gap while nobody looked
    *(("Flaky", "", at, at + 30, at + 150, NO_GAP) for at in range(60_007, 63_607, 600)),
    ("Other", "", 1_007, 1_007, 5_007, NO_GAP),  # not one of ours
]
#: When each channel carried a notification.
TOLD = {"pagerduty": [36_020, 40_160, 75_000], "slack": [36_021, 40_161, 60_070, 80_330]}


RESTARTED = 70_007


def write(path: Path) -> None:
    """What rules and Alertmanager leave behind, as OpenMetrics."""
    series: dict[str, list[tuple[int, int]]] = {}
    for name, labels, active, fires, ends, gap in HISTORY:
        extra = f",{labels}" if labels else ""
        common = f'alertname="{name}",severity="x"{extra}'
        for at in range(active, ends, EVALUATED_S):
            if gap[0] <= at < gap[1]:
                continue
            state = "firing" if fires and at >= fires else "pending"
            text = f'ALERTS{{alertname="{name}",alertstate="{state}",severity="x"{extra}}}'
            series.setdefault(text, []).append((at, 1))
            series.setdefault(f"ALERTS_FOR_STATE{{{common}}}", []).append((at, START + active))
    for channel, moments in TOLD.items():
        name = f'alertmanager_notifications_total{{integration="{channel}"}}'
        for at in range(-3600 + PHASE_S, DAY_S + 7200, SCRAPED_S):
            # Alertmanager starts over once: its counters begin at 0 again.
            before = 3 + sum(m <= min(at, RESTARTED) for m in moments)
            since = sum(RESTARTED < m <= at for m in moments)
            series.setdefault(name, []).append((at, since if at >= RESTARTED else before))
    with path.open("w") as file:
        for metric in ("ALERTS{", "ALERTS_FOR_STATE{", "alertmanager_notifications_total{"):
            for name, samples in series.items():
                if name.startswith(metric):
                    file.writelines(f"{name} {value} {START + at}\n" for at, value in samples)
        file.write("# EOF\n")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("alerts")
    write(folder / "history.om")
    build_blocks(folder / "history.om", folder / "tsdb", VAR)
    with running_prometheus(folder / "tsdb", VAR) as address:
        yield address


def day(number: int = 0) -> TradingDay:
    start = datetime.fromtimestamp(START + number * DAY_S, UTC)
    window = Window(start=start, end=start + timedelta(days=1))
    return TradingDay(DAY + timedelta(days=number), "XNYS", "UTC", window, None, "told")


def read(url: str, number: int = 0) -> dict[str, Frame | Missing]:
    client = Client(url)
    try:
        return read_alerts(client, RULES, day(number).window)
    finally:
        client.close()


def table(frames: dict[str, Frame | Missing], name: str) -> list[dict[Any, Any]]:
    frame = frames[name]
    assert isinstance(frame, Frame)
    return list(frame.table.to_dict("records"))


def seconds(row: dict[Any, Any], *names: str) -> list[int]:
    return [(row[name] - START * 1000) // 1000 for name in names]


BOUNDS = ("active_at_ms", "firing_from_ms", "firing_to_ms", "firing_to_by_ms")


@needs_prometheus
def test_each_stretch_of_firing_is_read_with_its_bounds(url: str) -> None:
    rows = table(read(url), "alert_episodes")

    found = [(row["alertname"], row["labels"], *seconds(row, *BOUNDS)) for row in rows]
    assert found == [
        # In order of firing. What is read begins 15 minutes before the day.
        ("Slow", '{"job":"b"}', -9_983, -893, 3_997, 4_027),
        ("Slow", '{"job":"b"}', -9_983, 5_227, 9_967, 9_997),
        ("EngineDown", "{}", 36_007, 36_007, 36_277, 36_307),
        ("Breach", '{"job":"risk"}', 40_027, 40_147, 40_477, 40_507),
        *(("Flaky", "{}", at, at + 30, at + 120, at + 150) for at in range(60_007, 63_607, 600)),
        # ... and ends 20 minutes after it: the longest response (5 min) and 15 more.
        ("Slow", '{"job":"a"}', 80_017, 80_317, DAY_S + 1_177, DAY_S + 1_207),
    ]
    flags = {
        (row["alertname"], row["labels"], row["firing_from_ms"]): (
            row["begins"],
            row["ongoing_at_start"],
            row["ongoing_at_end"],
        )
        for row in rows
    }
    slow_a = ("Slow", '{"job":"a"}', (START + 80_317) * 1000)
    assert flags[slow_a] == (True, False, True)
    assert [flags[key] for key in flags if key[1] == '{"job":"b"}'] == [
        (False, True, False),
        (False, False, False),
    ]
    breach = next(row for row in rows if row["alertname"] == "Breach")
    assert seconds(breach, "pending_at_ms", "firing_from_after_ms") == [40_027, 40_117]


@needs_prometheus
def test_every_rise_of_the_counters_is_read_between_its_samples(url: str) -> None:
    rows = table(read(url), "notifications")

    def between(moment: int) -> tuple[int, int]:
        after = (moment - PHASE_S - 1) // SCRAPED_S * SCRAPED_S + PHASE_S
        return after, after + SCRAPED_S

    rises = {
        channel: [seconds(r, "after_ms", "by_ms") for r in rows if r["integration"] == channel]
        for channel in TOLD
    }
    for channel, moments in TOLD.items():
        assert rises[channel][:-1] == [list(between(moment)) for moment in moments]
        # The last row says until when was looked: the last scrape within 20 minutes after the day.
        assert rises[channel][-1] == [DAY_S + 1192, DAY_S + 1192]
    assert [r["count"] for r in rows] == [1] * 7 + [0, 0]


@needs_prometheus
def test_a_rule_without_any_trace_is_told_apart(url: str) -> None:
    rows = table(read(url), "alerts")

    assert {row["id"]: row["seen"] for row in rows} == {
        "engine_down": True,
        "breach": True,
        "slow": True,
        "flaky": True,
        "never": False,
    }


@needs_prometheus
def test_the_measure_says_what_happened(url: str) -> None:
    fact = of_day(day(), read(url))
    assert isinstance(fact, AlertsFact)

    totals = {a.id: (a.begun, a.firing_ms) for a in fact.alerts}
    assert totals == {
        "engine_down": (1, 300_000),
        "breach": (1, 360_000),
        "flaky": (6, 6 * 120_000),
        # 80_317 to midnight; and 0 to 4_027 and 5_227 to 9_997, which began the day before.
        "slow": (1, (DAY_S - 80_317 + 4_027 + 9_997 - 5_227) * 1000),
        "never": (0, 0),
    }
    by_alert: dict[str, list[Episode]] = {}
    for episode in fact.episodes:
        by_alert.setdefault(episode.alert, []).append(episode)
    (down,), (breach,) = by_alert["engine_down"], by_alert["breach"]
    # 36_020 and 36_021 lie between the scrapes 36_007 and 36_022: within 30 s of 36_007.
    assert (told(down), down.verdict) == ((36_007, 36_022), Verdict.MET)
    # Told after two minutes of pending: the promise of a minute was broken before it fired.
    assert (told(breach), breach.verdict) == ((40_147, 40_162), Verdict.MISSED)
    # The first of a flapping alert was told; of the others nobody can say.
    first, *others = [e.verdict for e in by_alert["flaky"]]
    assert first is Verdict.MET
    assert Verdict.MET not in others


def told(episode: Episode) -> tuple[int | None, ...]:
    return tuple(
        None if at is None else at // 1000 - START
        for at in (episode.told_after_ms, episode.told_by_ms)
    )


@needs_prometheus
def test_over_midnight_it_is_the_same_activation(url: str) -> None:
    first, second = (of_day(day(n), read(url, n)) for n in (0, 1))
    assert isinstance(first, AlertsFact) and isinstance(second, AlertsFact)

    assert {e.key for e in second.episodes} < {e.key for e in first.episodes}
    assert [(e.begun, e.firing_ms) for e in second.episodes] == [(False, 20_017_000)]


@needs_prometheus
def test_a_server_that_refuses_the_query_leaves_it_missing(url: str) -> None:
    # A real server, asked for an alert whose name breaks the query.
    broken = (RULES[0].model_copy(update={"alertname": 'x"}'}),)

    found = read_alerts(Client(url), broken, day().window)

    assert all(isinstance(frame, Missing) for frame in found.values())
    assert "alerts can't be read" in str(found["alerts"])
    with pytest.raises(SourceUnavailable):
        read_alerts(Client("http://127.0.0.1:1", retries=0), RULES, day().window)


# -- Alertmanager --------------------------------------------------------------------------------

CONFIG = """
route: {receiver: nobody}
receivers: [{name: nobody}]
inhibit_rules:
  - source_matchers: [alertname="EngineDown"]
    target_matchers: [alertname="Slow"]
"""


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("alertmanager")
    (folder / "alertmanager.yml").write_text(CONFIG)
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(find_binary("prometheus-alertmanager", VAR)),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with child(command, folder / "log") as process:
        assert wait_ready(f"http://{address}/-/ready", process, 20), (folder / "log").read_text()
        yield f"http://{address}"


def post(url: str, body: Any) -> None:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
        pass


@needs_alertmanager
def test_what_a_real_alertmanager_holds_is_read_with_its_reasons(alertmanager: str) -> None:
    now = datetime.now(UTC)
    window = Window(start=now - timedelta(days=1), end=now - timedelta(hours=1))
    matcher = {"name": "alertname", "value": "Breach", "isRegex": False, "isEqual": True}
    silence = {
        "matchers": [matcher],
        "startsAt": (now - timedelta(minutes=1)).isoformat(),
        "endsAt": "2999-01-01T00:00:00.000Z",
        "createdBy": "ann",
        "comment": "<b>known</b>",
    }
    assert read_alertmanager(alertmanager, window, now).table.empty  # type: ignore[union-attr]
    post(f"{alertmanager}/api/v2/silences", silence)
    since = "2025-12-05T10:00:00.123456789Z"
    names = ("EngineDown", "Slow", "Breach")
    post(
        f"{alertmanager}/api/v2/alerts",
        [{"labels": {"alertname": name, "job": "x"}, "startsAt": since} for name in names],
    )

    found = settled(alertmanager, window, now)

    assert [tuple(row) for row in found.table.itertuples(index=False)] == [
        ("Breach", '{"job":"x"}', "silenced", SINCE_MS, "ann: <b>known</b> (until " + UNTIL + ")"),
        ("EngineDown", '{"job":"x"}', "active", SINCE_MS, ""),
        ("Slow", '{"job":"x"}', "inhibited", SINCE_MS, ""),
    ]
    assert found.coverage.control == {"silences": "1"}


SINCE_MS = (START + 36_000) * 1000 + 123
UNTIL = "2999-01-01T00:00:00.000Z"


def settled(url: str, window: Window, now: datetime) -> Frame:
    """Alertmanager takes a moment to tell what inhibits what."""
    found: Frame | Missing = NO_ALERTMANAGER
    for _ in range(100):
        found = read_alertmanager(url, window, now)
        assert isinstance(found, Frame)
        if list(found.table["state"]) == ["silenced", "active", "inhibited"]:
            return found
        time.sleep(0.05)
    assert isinstance(found, Frame)
    return found


def test_without_an_alertmanager_and_long_after_the_day_nothing_is_asked() -> None:
    window = day().window

    assert read_alertmanager(None, window, window.end) is NO_ALERTMANAGER
    assert str(NO_ALERTMANAGER) == "not measured: no Alertmanager is configured"
    late = read_alertmanager("http://127.0.0.1:1", window, window.end + timedelta(hours=25))
    assert isinstance(late, Missing) and "the present only" in late.detail


def test_an_alertmanager_that_is_gone_or_no_address_is_named() -> None:
    window = day().window

    with pytest.raises(SourceUnavailable, match=r"Alertmanager at 127\.0\.0\.1:1 did not answer"):
        read_alertmanager("http://127.0.0.1:1", window, window.end, tries=1)
    with pytest.raises(UsageError, match="REPORTING_ALERTMANAGER_URL is no address"):
        read_alertmanager("localhost:9093", window, window.end)
