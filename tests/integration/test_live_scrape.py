"""A Prometheus scrapes real exporters every second while one of them is stopped for 20 seconds."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from reporting.demo.prometheus import (
    child,
    find_binary,
    free_port,
    running_prometheus,
    wait_ready,
)
from reporting.measures.uptime import TargetUptime, UptimeFact, of_day
from reporting.model import Frame, Window
from reporting.periods import TradingDay
from reporting.sources.prometheus import PrometheusSource

from .prometheus_fixtures import VAR, lacking

NEEDED = ("prometheus", "prometheus-node-exporter", "prometheus-blackbox-exporter")
pytestmark = pytest.mark.skipif(bool(lacking(*NEEDED)), reason=lacking(*NEEDED))

STOPPED_S = 20
AROUND_S = 6
INTERVAL_MS = 1_000
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{node}"]}}]
  - job_name: blackbox
    static_configs: [{{targets: ["127.0.0.1:{blackbox}"]}}]
  - job_name: probe
    metrics_path: /probe
    params: {{module: [web], target: ["http://127.0.0.1:{node}/metrics"]}}
    static_configs: [{{targets: ["127.0.0.1:{blackbox}"]}}]
"""
QUERIES = {
    "node": 'up{job="node"}',
    "blackbox": 'up{job="blackbox"}',
    "probe": 'probe_success{job="probe"}',
}


def now() -> datetime:
    return datetime.now(UTC)  # the real time is what this test is about


def ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def test_the_reported_down_time_is_within_its_bounds(tmp_path: Path) -> None:
    node_port, blackbox_port = free_port(), free_port()
    # Few collectors: the machine's load is not our subject.
    node = [
        str(find_binary("prometheus-node-exporter", VAR)),
        f"--web.listen-address=127.0.0.1:{node_port}",
        "--collector.disable-defaults",
        "--collector.time",
    ]
    modules = tmp_path / "blackbox.yml"
    modules.write_text("modules: {web: {prober: http, timeout: 900ms}}\n")
    blackbox = [
        str(find_binary("prometheus-blackbox-exporter", VAR)),
        f"--web.listen-address=127.0.0.1:{blackbox_port}",
        f"--config.file={modules}",
    ]
    node_url = f"http://127.0.0.1:{node_port}/metrics"
    log = tmp_path / "exporters.log"
    config = CONFIG.format(node=node_port, blackbox=blackbox_port)
    with child(blackbox, log), running_prometheus(tmp_path / "data", VAR, config=config) as url:
        with child(node, log) as first:
            assert wait_ready(node_url, first, 10)
            source = PrometheusSource(url)
            all_are_scraped(source)
            start = now()
            time.sleep(AROUND_S)
            stop_sent = now()
            first.kill()
            first.wait()
            stopped = now()
        time.sleep(STOPPED_S)
        restarted = now()
        with child(node, log) as second:
            assert wait_ready(node_url, second, 10)
            answering = now()
            time.sleep(AROUND_S)
            window = Window(start=start, end=now() - timedelta(seconds=2))
            day = TradingDay(date(2025, 1, 1), "XNYS", "UTC", window, None, "a live run")
            frames = source.read_up(QUERIES, window)
    fact = of_day(day, frames)
    assert isinstance(fact, UptimeFact)
    by_id = {target.id: target for target in fact.targets}
    # It was down from some moment of the kill to some moment of the start.
    least, most = ms(restarted - stopped), ms(answering - stop_sent)
    assert STOPPED_S * 1_000 <= least <= most < STOPPED_S * 1_000 + 3_000
    for name in ("node", "probe"):
        contains_the_truth(by_id[name], least, most)
    assert by_id["node"].interval_ms == pytest.approx(INTERVAL_MS, abs=20)
    outage = max(by_id["node"].stretches, key=lambda stretch: stretch.length_ms)
    assert outage.state == "down"
    assert abs(outage.length_ms - least) <= INTERVAL_MS + (most - least)
    assert by_id["blackbox"].down_ms == 0


def all_are_scraped(source: PrometheusSource) -> None:
    """Return once every target has had three samples: a new server takes seconds to begin."""
    for _ in range(60):
        window = Window(start=now() - timedelta(seconds=10), end=now())
        samples = source.read_up(QUERIES, window)["uptime_samples"]
        if isinstance(samples, Frame):
            counts = samples.table["target"].value_counts()
            if len(counts) == len(QUERIES) and counts.min() >= 3:
                return
        time.sleep(0.5)
    pytest.fail("Prometheus did not scrape all targets within 30 s")


def contains_the_truth(target: TargetUptime, least_down_ms: int, most_down_ms: int) -> None:
    assert target.low_ms <= target.window_ms - least_down_ms
    assert target.high_ms >= target.window_ms - most_down_ms
    assert target.high_ms - target.low_ms <= target.unknown_ms + 4 * INTERVAL_MS
