"""Objectives: what is read from OpenSLO, and that nothing unsupported is quietly ignored."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from reporting.errors import ValidationFailed
from reporting.policy.objectives import Objective, parse_objectives

CONFIG = Path(__file__).parents[2] / "config" / "objectives"

GRAFANA = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: grafana-availability
  displayName: Grafana
  labels:
    component: dashboards
  annotations:
    reporting.internal/no-data: flag
spec:
  service: grafana
  indicator:
    metadata:
      name: grafana-availability
    spec:
      ratioMetric:
        rawType: success
        raw:
          metricSource:
            type: Prometheus
            spec:
              query: up{job="grafana"}
  timeWindow:
    - duration: 1M
      isRolling: false
      calendar:
        startTime: 2025-01-01 00:00:00
        timeZone: America/New_York
  budgetingMethod: Occurrences
  objectives:
    - targetPercent: 99.95
"""


def changed(before: str, after: str) -> str:
    assert before in GRAFANA
    return GRAFANA.replace(before, after)


def test_an_objective_is_read_exactly() -> None:
    assert parse_objectives(GRAFANA, "grafana.yaml") == (
        Objective(
            id="grafana",
            title="Grafana",
            component="dashboards",
            query='up{job="grafana"}',
            target_pct=Decimal("99.95"),
            no_data="flag",
            zone="America/New_York",
        ),
    )


def test_a_share_is_the_same_promise_as_its_percentage() -> None:
    share = changed("targetPercent: 99.95", "target: 0.9995")
    assert parse_objectives(share, "x.yaml")[0].target_pct == Decimal("99.95")


def test_a_tracked_target_promises_nothing() -> None:
    tracked = changed("targetPercent: 99.95", "targetPercent: 0").replace(
        "no-data: flag", "no-data: flag\n    reporting.internal/promise: tracked"
    )
    assert parse_objectives(tracked, "x.yaml")[0].target_pct is None


def test_the_format_has_no_defaults_for_what_we_must_know() -> None:
    assert parse_objectives("", "empty.yaml") == ()
    with pytest.raises(ValidationFailed, match=r"^x\.yaml, document 1 .*the document is 'SLO'"):
        parse_objectives("SLO", "x.yaml")


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("openslo/v1", "openslo/v2", r"apiVersion is 'openslo/v2': .*'openslo/v1'"),
        ("kind: SLO", "kind: SLI", r"kind is 'SLI': .*'SLO'"),
        (
            "ratioMetric",
            "thresholdMetric",
            r"spec\.indicator\.spec\.thresholdMetric is not supported; expected only "
            r"description, ratioMetric",
        ),
        ("rawType: success", "rawType: failure", r"ratioMetric\.rawType is 'failure': .*success"),
        ("        raw:", "        good:", r"ratioMetric\.good is not supported; expected only raw"),
        ("Occurrences", "Timeslices", r"spec\.budgetingMethod is 'Timeslices': .*'Occurrences'"),
        (
            "  budgetingMethod",
            "  alertPolicies: []\n  budgetingMethod",
            r"spec\.alertPolicies is not supported; expected only description, service",
        ),
        ("isRolling: false", "isRolling: true", r"timeWindow\[0\]\.isRolling is 'true'"),
        ("duration: 1M", "duration: 28d", r"timeWindow\[0\]\.duration is '28d'"),
        ("America/New_York", "America/Old_York", r"timeZone is 'America/Old_York': .*IANA"),
        ("targetPercent: 99.95", "targetPercent: 100", r"targetPercent is '100': .*less than 100"),
        ("targetPercent: 99.95", "targetPercent: high", r"expected a number, got 'high'"),
        ("targetPercent: 99.95", "targetPercent: nan", r"expected a finite number, got 'nan'"),
        ("targetPercent: 99.95", "displayName: x", r"expected exactly one of them"),
        ("targetPercent: 99.95", "targetPercent: 0", r"promises 0 % while .*'target'"),
        ("no-data: flag", "promise: tracked", r"promises 99\.95 % while .*'tracked'"),
        ("no-data: flag", "no-data: down", r"reporting\.internal/no-data is 'down': .*'flag'"),
        ("reporting.internal/no-data", "other/no-data", r"annotations\.other/no-data is not supp"),
        ("service: grafana", "service: Grafana UI", r"spec\.service is 'Grafana UI'"),
        ("service: grafana", "service: a\n  service: b", r"key 'service' is given twice"),
        ('up{job="grafana"}', 'sum(up{job="grafana"})', r"expected a plain selector of a 0/1"),
        ('up{job="grafana"}', 'up{job="grafana"}[5m]', r"expected a plain selector of a 0/1"),
        ("kind: SLO", "kind: [", r"x\.yaml is not YAML"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(before: str, after: str, complaint: str) -> None:
    with pytest.raises(ValidationFailed, match=complaint) as failure:
        parse_objectives(changed(before, after), "x.yaml")
    assert str(failure.value).startswith("x.yaml")
    assert failure.value.exit_code == 4


def test_two_objectives_of_one_target_are_refused() -> None:
    with pytest.raises(ValidationFailed, match=r"'grafana' has two objectives"):
        parse_objectives(f"{GRAFANA}---\n{GRAFANA}", "x.yaml")


def test_every_component_has_an_objective_and_each_promise_is_the_operators() -> None:
    found = [
        o for f in sorted(CONFIG.glob("*.yaml")) for o in parse_objectives(f.read_text(), f.name)
    ]
    components = (
        "prometheus node_exporter blackbox_exporter custom_exporters alertmanager pagerduty slack "
        "email elasticsearch logstash kibana fluentd grafana redis postgresql nginx docker "
        "health_check_api alerting_api strategic tactical risk execution_engine data_pipeline"
    )
    assert sorted(o.id for o in found) == sorted(components.split())
    promised = {o.id: str(o.target_pct) for o in found if o.target_pct is not None}
    assert promised == {
        "prometheus": "99.9",
        "grafana": "99.9",
        "alertmanager": "99.9",
        "health_check_api": "99.9",
        "elasticsearch": "99.5",
    }
    assert len({o.query for o in found}) == len(found)
