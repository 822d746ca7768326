"""A real Prometheus with the deployed rules, shortened, watches a real process die."""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

from reporting.demo.prometheus import child, free_port, running_prometheus, wait_ready

ROOT = Path(__file__).parents[2]
#: A service of which the store says bad things; it ticks until it is killed.
SERVICE = """
import sys, time
from datetime import UTC, datetime
from reporting.metrics import serve_http
from tests.service.snapshots import whole

observed = whole()
with serve_http("127.0.0.1", int(sys.argv[1]), observed.registry, lambda: None, lambda: None):
    while True:
        observed.ticked(datetime.now(UTC))
        time.sleep(0.2)
"""
#: What they are, and that somebody is watching.
SAID = {"ReportMissing", "ReportMissed", "ReportFailed", "MailUnknown", "Watchdog"}


def firing(url: str) -> set[str]:
    query = urllib.parse.urlencode({"query": 'ALERTS{alertstate="firing"}'})
    with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=5) as answer:
        return {one["metric"]["alertname"] for one in json.load(answer)["data"]["result"]}


def wait_for(url: str, expected: set[str]) -> None:
    until = time.monotonic() + 20
    while (seen := firing(url)) != expected:
        assert time.monotonic() < until, seen
        time.sleep(0.2)


def test_a_dead_service_is_noticed_from_outside(tmp_path: Path) -> None:
    deployed = (ROOT / "deploy/prometheus/rules/reporting.yml").read_text()
    rules = tmp_path / "reporting.yml"
    rules.write_text(
        re.sub(r"interval: 15s|for: [15]m", lambda m: f"{m[0].split()[0]} 1s", deployed)
    )
    port = free_port()
    config = f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: reporting
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
    command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-c", SERVICE, str(port)]
    log = tmp_path / "service.log"
    with (
        child(command, log) as service,
        running_prometheus(tmp_path / "data", ROOT / "var", config=config) as url,
    ):
        assert wait_ready(f"http://127.0.0.1:{port}/readyz", service, 20), log.read_text()
        wait_for(url, SAID)
        service.kill()
        service.wait(5)
        wait_for(url, {"ReportingDown", "Watchdog"})
