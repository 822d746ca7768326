"""The rules of deploy/prometheus: in time, reading what exists, and doing what their tests say.

What each rule does is tested by promtool, in deploy/prometheus/tests.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from reporting.demo.prometheus import child, find_binary, free_port, running_prometheus, wait_ready

from ..line.site import Server
from ..service.snapshots import whole

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "prometheus"
VAR = ROOT / "var"
RULES = sorted((DEPLOY / "rules").glob("*.yml"))
TESTS = sorted((DEPLOY / "tests").glob("*.yml"))

CONFIG: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
JOBS: dict[str, dict[str, Any]] = {job["job_name"]: job for job in CONFIG["scrape_configs"]}
GROUPS: dict[str, dict[str, Any]] = {
    group["name"]: group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]
}
ALERTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    rule["alert"]: (group, rule)
    for group in GROUPS.values()
    for rule in group["rules"]
    if "alert" in rule
}
RECORDED = {
    rule["record"]: group
    for group in GROUPS.values()
    for rule in group["rules"]
    if "record" in rule
}
ROUTES: dict[str, Any] = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text())

#: Seconds from the condition to the first notification, as the operator has set them, and the
#: slowest scrape job that the condition is seen through.
PROMISED = {
    "TradingEngineDown": ("critical", 30, "execution_engine"),
    "AgentCriticalFailure": ("critical", 60, "strategic"),
    "VarBreach": ("critical", 15, "risk"),
    "DatabaseConnectionFailure": ("critical", 45, "postgres_exporter"),
    "HighErrorRate": ("critical", 90, "health_check_api"),
    "HighLatency": ("warning", 300, "blackbox"),
    "ResourceUsageHigh": ("warning", 600, "node_exporter"),
    "ModelDrift": ("warning", 900, "strategic"),
    "DataQuality": ("warning", 1200, "data_pipeline"),
    "PerformanceDegradation": ("warning", 1800, "blackbox"),
}
#: The same of the service's own, in deploy/prometheus/rules/reporting.yml.
OURS = {
    "ReportingDown": ("critical", 120, "reporting"),
    "ReportingStoreDown": ("critical", 120, "reporting"),
    "ReportingStuck": ("critical", 120, "reporting"),
    "ConfigurationBroken": ("warning", 300, "reporting"),
    "ReportMissing": ("critical", 600, "reporting"),
    "ReportLate": ("warning", 300, "reporting"),
    "ReportMissed": ("warning", 300, "reporting"),
    "ReportFailed": ("warning", 300, "reporting"),
    "MailFailed": ("warning", 300, "reporting"),
    "MailUnknown": ("warning", 300, "reporting"),
    "MailQueueStuck": ("warning", 300, "reporting"),
    "AuditLogChanged": ("critical", 300, "reporting"),
    "AuditNotWitnessed": ("warning", 90_000, "reporting"),
    "CalendarEndsSoon": ("warning", 300, "reporting"),
}
#: Every component of the availability table, by how it is seen.
UP = (
    "prometheus node_exporter blackbox_exporter custom_exporters alertmanager elasticsearch "
    "logstash kibana fluentd grafana redis postgresql nginx docker health_check_api alerting_api "
    "strategic tactical risk execution_engine data_pipeline"
).split()
PROBED = "pagerduty slack email health_check_api grafana_dashboard log_search".split()
#: Recorded for the objectives, one series each.
FOR_OBJECTIVES = {
    "instance:node_cpu_utilisation:ratio",
    "instance:node_memory_utilisation:ratio",
    "instance:node_filesystem_utilisation:ratio",
    "instance:node_network_bytes:rate1m",
    "instance:node_cpu_cores_used:rate1m",
    "instance:node_memory_used_bytes:sum",
    "instance:node_filesystem_used_bytes:sum",
    "database:connections_used:ratio",
    "database:longest_transaction_seconds:max",
    "database:locks:count",
    "database:replication_lag_seconds:max",
    "database:backup_age_seconds:max",
}


def promtool(*arguments: str) -> str:
    """What it says; fails the test where it is not content."""
    command = [str(find_binary("promtool", VAR)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def seconds(text: str) -> int:
    """``1m`` → 60. One unit is all that our files use."""
    match = re.fullmatch(r"(\d+)([smh])", text)
    assert match, text
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


# ---- promtool -----------------------------------------------------------------------------------


def test_promtool_accepts_rules_and_finds_no_duplicates() -> None:
    assert len(RULES) == 3
    promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_do_what_their_tests_say(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", str(path))


def test_every_rule_has_a_test() -> None:
    expected: dict[bool, set[str]] = {True: set(), False: set()}
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test.get("promql_expr_test", ()):
                names = re.findall(r'alertname=~?"(\w+)', case["expr"])
                names += re.findall(r"[a-z]+:\w+:\w+|^up\b", case["expr"])
                expected[bool(case["exp_samples"])].update(names)
                for sample in case["exp_samples"]:
                    expected[True].update(re.findall(r'alertname="(\w+)', sample["labels"]))
    assert set(ALERTS) | set(RECORDED) <= expected[True], "must be seen"
    assert set(PROMISED) | set(OURS) <= expected[False], "must be seen not to fire"


# ---- the promises -------------------------------------------------------------------------------


def test_the_ten_alerts_are_there_with_their_severity() -> None:
    of_group: dict[str, set[str]] = {}
    for name, (group, _) in ALERTS.items():
        of_group.setdefault(group["name"], set()).add(name)
    assert of_group.pop("reporting") == {*OURS, "Watchdog"}
    assert of_group.pop("escalation") == {"EscalationLevel2", "EscalationLevel3"}
    assert set().union(*of_group.values()) == set(PROMISED)
    for name, (severity, response_s, _) in {**PROMISED, **OURS}.items():
        rule = ALERTS[name][1]
        assert rule["labels"]["severity"] == severity
        assert rule["labels"]["escalation"] == "level_1"
        assert rule["annotations"]["response"] == f"{response_s}s"


@pytest.mark.parametrize("name", [*PROMISED, *OURS])
def test_the_first_notification_comes_in_time(name: str) -> None:
    severity, response_s, job = {**PROMISED, **OURS}[name]
    group, rule = ALERTS[name]
    scrape = JOBS[job]
    timeout = scrape.get("scrape_timeout", CONFIG["global"]["scrape_timeout"])
    # What is recorded first is evaluated first: one more interval.
    read = re.findall(r"\w+:\w+:\w+", rule["expr"])
    recorded = {seconds(RECORDED[metric]["interval"]) for metric in read}
    matcher = f'severity = "{severity}"'
    routes = [route for route in ROUTES["route"]["routes"] if matcher in route["matchers"]]
    assert len(routes) == 1
    waits = [
        seconds(routes[0].get(wait, ROUTES["route"][wait]))
        for wait in ("group_wait", "group_interval")
    ]
    parts = [
        seconds(scrape["scrape_interval"]),
        seconds(timeout),
        *recorded,
        seconds(group["interval"]),
        seconds(rule.get("for", "0s")),
        max(waits),
    ]
    assert len(recorded) == (1 if severity == "warning" and name in PROMISED else 0)
    assert sum(parts) <= response_s
    # The comment above the alert is this sum.
    file = "alerts.yml" if name in PROMISED else "reporting.yml"
    text = (DEPLOY / "rules" / file).read_text()
    comment = text.split(f"- alert: {name}\n")[0].rsplit("\n\n", 1)[-1]
    assert f"# {' + '.join(map(str, parts))} = {sum(parts)} of {response_s} s" in comment


def test_pending_time_is_a_whole_number_of_evaluations() -> None:
    # Else an alert would wait for up to one more evaluation than its sum says.
    for name, (group, rule) in ALERTS.items():
        assert seconds(rule.get("for", "0s")) % seconds(group["interval"]) == 0, name


def test_critical_components_are_scraped_every_one_to_five_seconds() -> None:
    for job in ("execution_engine", "data_pipeline", "strategic", "tactical", "risk"):
        assert 1 <= seconds(JOBS[job]["scrape_interval"]) <= 5
    for job in ("prometheus", "alertmanager", "grafana", "health_check_api"):
        assert seconds(JOBS[job]["scrape_interval"]) <= 15


def test_a_timeout_fits_into_its_interval() -> None:
    for job in JOBS.values():
        limits = {**CONFIG["global"], **job}
        assert seconds(limits["scrape_timeout"]) <= seconds(limits["scrape_interval"])


# ---- what is read exists ------------------------------------------------------------------------


def static_labels() -> list[dict[str, str]]:
    return [
        {"job": name, **static.get("labels", {})}
        for name, job in JOBS.items()
        for static in job["static_configs"]
    ]


def test_every_component_answers_under_its_name() -> None:
    scraped = {labels["job"] for labels in static_labels()}
    probed = {labels.get("component") for labels in static_labels()}
    recorded = {
        rule.get("labels", {}).get("job")
        for group in GROUPS.values()
        for rule in group["rules"]
        if rule.get("record") == "up"
    }
    assert set(UP) <= scraped | probed | recorded
    targets = {label["target"] for label in static_labels() if label["job"] == "blackbox"}
    assert targets == set(PROBED)


def test_probes_name_modules_that_exist() -> None:
    blackbox = yaml.safe_load((ROOT / "deploy/blackbox/blackbox.yml").read_text())
    named = {labels["__param_module"] for labels in static_labels() if "__param_module" in labels}
    assert named == set(blackbox["modules"])


def test_every_series_of_the_catalogue_is_scraped_or_recorded() -> None:
    queries = "\n".join(
        path.read_text() for path in sorted((ROOT / "config/objectives").glob("*.yaml"))
    )
    assert 'up{job="' in queries
    read = set(re.findall(r"\b(?:instance|database|job):\w+:\w+", queries))
    assert read <= set(RECORDED)
    assert set(RECORDED) >= FOR_OBJECTIVES
    known = {labels["job"] for labels in static_labels()} | set(UP)
    for jobs in re.findall(r'\bjob=~?"([^"]+)"', queries):
        assert set(jobs.split("|")) <= known, jobs


def test_rules_read_series_that_somebody_makes() -> None:
    for group in GROUPS.values():
        for rule in group["rules"]:
            for metric in re.findall(r"\b(?:instance|database|job):\w+:\w+", rule["expr"]):
                assert metric in RECORDED
            for jobs in re.findall(r'\bjob=~?"([^"]+)"', rule["expr"]):
                for job in jobs.split("|"):
                    assert job in {labels["job"] for labels in static_labels()} | set(PROBED), job


def test_rules_read_what_the_service_says() -> None:
    """Every metric that its alerts name is one that a whole snapshot makes."""
    read = set(re.findall(r"\breporting_\w+", (DEPLOY / "rules" / "reporting.yml").read_text()))
    said = {sample.name for family in whole().registry.collect() for sample in family.samples}
    assert read and read <= said


def test_every_alert_of_ours_has_a_first_step() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    explained = re.findall(r"^\| `([A-Z]\w+)` \| [^|]+ \| [^|]+ \|$", text, flags=re.MULTILINE)
    assert explained == [*OURS, "Watchdog"]


def test_the_watchdog_always_barks() -> None:
    rule = ALERTS["Watchdog"][1]
    assert (rule["expr"], rule.get("for")) == ("vector(1)", None)
    assert rule["labels"]["severity"] == "none"  # no escalation, no report counts it


def test_real_exporters_give_what_the_rules_read(server: Server, tmp_path: Path) -> None:
    """One host and one database: every rule records one series, with a value that can be true."""
    textfile = tmp_path / "textfile"
    textfile.mkdir()
    backup = int(time.time()) - 3_600
    (textfile / "backup.prom").write_text(
        f"database_backup_last_success_timestamp_seconds {backup}\n"
    )
    rules = tmp_path / "recording.yml"
    rules.write_text(re.sub(r"interval: \d+s", "interval: 1s", RULES[1].read_text()))
    node, postgres = free_port(), free_port()
    config = f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: node_exporter
    static_configs: [{{targets: ["127.0.0.1:{node}"]}}]
  - job_name: postgres_exporter
    static_configs: [{{targets: ["127.0.0.1:{postgres}"]}}]
"""
    log = tmp_path / "exporters.log"
    commands = {
        node: [
            str(find_binary("prometheus-node-exporter", VAR)),
            f"--web.listen-address=127.0.0.1:{node}",
            f"--collector.textfile.directory={textfile}",
        ],
        postgres: [
            "env",
            f"DATA_SOURCE_NAME={server.url}",
            str(find_binary("prometheus-postgres-exporter", VAR)),
            f"--web.listen-address=127.0.0.1:{postgres}",
        ],
    }
    # Debian 12's exporter is too old to tell a replica from a primary, and this is a primary.
    expected = (FOR_OBJECTIVES | {"up"}) - {"database:replication_lag_seconds:max"}
    with ExitStack() as stack:
        for port, command in commands.items():
            process = stack.enter_context(child(command, log))
            assert wait_ready(f"http://127.0.0.1:{port}/metrics", process, 10), log.read_text()
        url = stack.enter_context(running_prometheus(tmp_path / "data", VAR, config=config))
        query = '{__name__=~"(instance|database):.+"} or up{job="postgresql"}'
        until = time.monotonic() + 15
        found: dict[str, list[float]] = {}
        while not expected <= set(found) and time.monotonic() < until:
            time.sleep(0.5)
            address = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
            with urllib.request.urlopen(address, timeout=5) as answer:
                found = {}
                for series in json.load(answer)["data"]["result"]:
                    value = float(series["value"][1])
                    found.setdefault(series["metric"]["__name__"], []).append(value)
    assert set(found) == expected
    assert {name for name, values in found.items() if len(values) != 1} == set()
    value = {name: values[0] for name, values in found.items()}
    for name in expected:
        if name.endswith("utilisation:ratio"):
            assert 0 <= value[name] <= 1, name
    memory = int(re.findall(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())[0]) * 1024
    assert 0 < value["instance:node_memory_used_bytes:sum"] < memory
    assert 0 <= value["instance:node_cpu_cores_used:rate1m"] <= (os.cpu_count() or 1) * 1.1
    assert 0 < value["database:connections_used:ratio"] < 1
    assert value["database:locks:count"] >= 1  # the exporter's own look at the locks
    assert 3_600 <= value["database:backup_age_seconds:max"] < 3_600 + 120
    assert value["up"] == 1
