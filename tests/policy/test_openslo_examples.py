"""Documents as others write them: each loads, or is refused for exactly one named reason.

The documents are ours, in the shapes of the OpenSLO project's own examples, whose folder and
commit each names; fields and values that decide the outcome are as they are there.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from reporting.errors import ValidationFailed
from reporting.policy.indicators import Counts, RollingWindow, Timeslices
from reporting.policy.openslo import parse_objectives


@dataclass(frozen=True)
class Example:
    """What an example looks like, and what comes of it: ids, or every reason in its order."""

    like: str
    text: str
    ids: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


ANY = "type: Any, spec: {query: Any}"
NOON = "{startTime: 2022-01-01 12:00:00, timeZone: America/New_York}"
NO_NOON = (
    "spec.timeWindow[0].calendar.startTime is '2022-01-01 12:00:00', which is not supported; "
    "expected 00:00:00"
)
NO_ANY = "metricSource.type is 'Any', which is not supported; expected Prometheus"

EXAMPLES = (
    Example(
        like="examples/budgeting-method/occurences-slo.yaml at f2226a9",
        text="""
apiVersion: openslo/v1
kind: SLO
metadata: {name: search-time, displayName: Time of a search}
spec:
  service: shop
  indicator:
    metadata: {name: search-time}
    spec:
      thresholdMetric:
        metricSource:
          type: Any # to be replaced
          spec:
            # nothing but a comment
  timeWindow:
    - duration: 2w
      isRolling: true
  budgetingMethod: Occurrences
  objectives: [{displayName: Fast, op: lt, value: 500, target: 0.99}]
  alertPolicies: # nothing
""",
        refused=("spec.indicator.spec.thresholdMetric.metricSource.spec is missing",),
    ),
    Example(
        like="examples/budgeting-method/ratio-timeslices.yaml at 9ce42c6",
        text=f"""
apiVersion: openslo/v1
kind: SLO
metadata: {{name: front-page}}
spec:
  service: shop
  indicator:
    metadata: {{name: answers}}
    spec:
      ratioMetric:
        good: {{metricSource: {{{ANY}}}}}
        total: {{metricSource: {{{ANY}}}}}
  timeWindow: [{{duration: 2w, isRolling: true}}]
  budgetingMethod: RatioTimeslices
  objectives: [{{op: gt, timeSliceWindow: 1m, target: 0.99}}]
""",
        refused=(NO_ANY,),
    ),
    Example(
        like="examples/budgeting-method/timeslices-slo.yaml at 961c1db",
        text=f"""
apiVersion: openslo/v1
kind: SLO
metadata: {{name: line}}
spec:
  service: line
  indicator:
    metadata: {{name: line}}
    spec:
      ratioMetric:
        good: {{metricSource: {{{ANY}}}}}
        total: {{metricSource: {{{ANY}}}}}
  timeWindow: [{{duration: 1m, isRolling: false, calendar: {NOON}}}]
  budgetingMethod: Timeslices
  objectives:
    - {{op: gt, target: 0.995, timeSliceTarget: 0.99, timeSliceWindow: 1m}}
    - {{target: 0.99, timeSliceTarget: 0.99, timeSliceWindow: 1m}}
  alertPolicies:
""",
        refused=(NO_NOON,),
    ),
    Example(
        like="pkg/openslo/v1/examples/slos.yaml at cd21b06",
        text=f"""
- apiVersion: openslo/v1
  kind: SLO
  metadata: {{name: site, labels: {{env: [prod], team: [one, two]}}}}
  spec:
    service: site
    indicator:
      metadata: {{name: answered}}
      spec:
        ratioMetric:
          counter: true
          good:
            metricSource:
              type: Prometheus
              spec: {{query: 'sum(http_requests{{cluster="prod",code=~"2xx|4xx"}})'}}
          total:
            metricSource:
              type: Prometheus
              spec: {{query: 'sum(http_requests{{cluster="prod"}})'}}
    timeWindow: [{{duration: 1w, isRolling: false, calendar: {NOON}}}]
    budgetingMethod: Timeslices
    objectives: [{{op: gt, target: 0.995, timeSliceTarget: 0.95, timeSliceWindow: 1m}}]
""",
        refused=(NO_NOON,),
    ),
    Example(
        like="pkg/openslo/v1/examples/slis.yaml at cd21b06, with the source that it refers to",
        text="""
- apiVersion: openslo/v1
  kind: SLI
  metadata: {name: one}
  spec:
    ratioMetric:
      counter: true
      good: {metricSource: {metricSourceRef: dog, type: Datadog, spec: {query: "sum:hits{a:200}"}}}
      total: {metricSource: {metricSourceRef: dog, type: Datadog, spec: {query: "sum:hits{*}"}}}
- apiVersion: openslo/v1
  kind: SLI
  metadata: {name: two}
  spec:
    ratioMetric:
      counter: false
      bad: {metricSource: {type: AppDynamics, spec: {metricPath: Users|App|Slow}}}
      total: {metricSource: {type: AppDynamics, spec: {metricPath: Users|App|All}}}
- apiVersion: openslo/v1
  kind: SLI
  metadata: {name: three}
  spec:
    ratioMetric:
      rawType: success
      raw:
        metricSource:
          metricSourceRef: metrics
          type: Prometheus
          spec:
            query: |
              1 - sum(sum_over_time(satisfied_ratio[{{.window}}]))
- apiVersion: openslo/v1
  kind: SLI
  metadata: {name: four, annotations: {openslo.com/service-folder: ./some/folder}}
  spec:
    thresholdMetric:
      metricSource:
        metricSourceRef: metrics
        type: Prometheus
        spec: {query: 'sum(min_over_time(lag{topic="in"}[2m]))'}
- apiVersion: openslo/v1
  kind: DataSource
  metadata: {name: metrics}
  spec: {type: Prometheus, connectionDetails: [url: http://prometheus.example.com]}
""",
        refused=(
            "good.metricSource.type is 'Datadog', which is not supported; expected Prometheus",
            "bad.metricSource.type is 'AppDynamics', which is not supported",
            "spec.query is a template, ",
        ),
    ),
    Example(
        like="pkg/openslo/v1/examples/data_sources.yaml at e0a3d50",
        text="""
- apiVersion: openslo/v1
  kind: DataSource
  metadata: {name: prometheus}
  spec: {type: Prometheus, connectionDetails: [url: http://prometheus.example.com]}
- apiVersion: openslo/v1
  kind: DataSource
  metadata: {name: datadog}
  spec: {type: Datadog, connectionDetails: [apiKey: a, appKey: b]}
""",
        refused=("spec.type is 'Datadog', which is not supported; expected Prometheus",),
    ),
    Example(
        like="pkg/openslo/v1/examples/alert_*.yaml and services.yaml at ac7b936, complete",
        text="""
- apiVersion: openslo/v1
  kind: AlertPolicy
  metadata: {name: low}
  spec:
    alertWhenBreaching: true
    conditions: [{conditionRef: busy}]
    notificationTargets: [{targetRef: mail}]
- apiVersion: openslo/v1
  kind: AlertPolicy
  metadata: {name: high}
  spec:
    alertWhenBreaching: true
    conditions:
      - kind: AlertCondition
        metadata: {name: full, displayName: Memory is full}
        spec:
          severity: page
          condition:
            {kind: burnrate, op: gt, threshold: 2, lookbackWindow: 1h, alertAfter: 5m}
    notificationTargets:
      - kind: AlertNotificationTarget
        metadata: {name: chat}
        spec: {description: To the one on call, target: slack}
- apiVersion: openslo/v1
  kind: AlertCondition
  metadata: {name: busy}
  spec:
    severity: page
    condition: {kind: burnrate, op: lte, threshold: 2, lookbackWindow: 1h, alertAfter: 5m}
- apiVersion: openslo/v1
  kind: AlertNotificationTarget
  metadata: {name: mail}
  spec: {target: email}
- apiVersion: openslo/v1
  kind: Service
  metadata: {name: some-service}
  spec: {description: A service}
""",
    ),
    Example(
        like="pkg/openslosdk/test_data/decode/v1_slos.yaml at 525dc60",
        text="""
- apiVersion: openslo/v1
  kind: SLO
  metadata: {name: short}
  spec:
    service: short
    indicator:
      metadata: {name: good}
      spec:
        ratioMetric:
          counter: true
          good: {metricSource: {type: Prometheus, spec: {query: a{c="200"}, dimensions: [b]}}}
          total: {metricSource: {type: Prometheus, spec: {query: a, dimensions: [b]}}}
    objectives: [{target: 0.98}]
""".replace('a{c="200"}', "'a{c=\"200\"}'"),
        refused=("spec.timeWindow is missing", "spec.budgetingMethod is missing"),
    ),
    Example(
        like="schema-test/spec-files/v1/slo/slo-indicatorref-rolling-alerts.yaml at b798432",
        text="""
apiVersion: openslo/v1
kind: SLO
metadata: {name: TestName}
spec:
  service: TheService
  indicatorRef: someSli
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.98}]
  alertPolicies: [SomePolicy]
""",
        refused=(
            "metadata.name is 'TestName': expected at most 63 lower-case letters",
            "spec.alertPolicies[0] is 'SomePolicy': expected a mapping",
        ),
    ),
    Example(
        like="schema-test/spec-files/v1/sli/sli-ratio-good-and-bad.yaml at fb2400e",
        text="""
apiVersion: openslo/v1
kind: SLI
metadata: {name: BothSLI}
spec:
  ratioMetric:
    counter: true
    bad: {metricSource: {type: Prometheus, spec: {query: a}}}
    good: {metricSource: {type: Prometheus, spec: {query: b}}}
    total: {metricSource: {type: Prometheus, spec: {query: c}}}
""",
        refused=("spec.ratioMetric has good, bad, total; expected good and total, bad and total",),
    ),
    Example(
        like="schema-test/spec-files/v1/sli/sli-description-ratio-good-metricsourceref.yaml "
        "at fb2400e, with the source that it refers to",
        text="""
apiVersion: openslo/v1
kind: SLI
metadata: {name: GreatSLI, displayName: Great SLI}
spec:
  description: A description
  ratioMetric:
    counter: true
    good:
      metricSource:
        type: Prometheus
        metricSourceRef: metrics
        spec: {query: 'sum(requests{code=~"2xx|3xx",host="*",instance="127.0.0.1:9090"})'}
    total:
      metricSource:
        type: Prometheus
        metricSourceRef: metrics
        spec: {query: 'requests{code="total",host="*",instance="127.0.0.1:9090"}'}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: metrics}
spec: {type: Prometheus, connectionDetails: {url: http://prometheus.example.com}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: great}
spec:
  service: great
  indicatorRef: GreatSLI
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.98}]
""",
        ids=("great",),
    ),
    Example(
        like="schema-test/spec-files/v1/alert-policy/alert-policy-malformed-*.yaml at 9ce42c6",
        text="""
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: wrong}
spec:
  conditions: [{operator: and, conditionRef: busy}]
  notificationTargets: [{foo: mail}]
""",
        refused=(
            "spec.conditions[0].operator is not supported; expected only conditionRef, kind, "
            "metadata, spec",
            "spec.notificationTargets[0].foo is not supported; expected only targetRef, kind",
        ),
    ),
    Example(
        like="OpenSLO/oslo, test/inputs/v1/slo/slo-composite-no-indicatorRef-rolling-no-alerts"
        ".yaml at a2f8a22, with Prometheus for Datadog",
        text="""
apiVersion: openslo/v1
kind: SLO
metadata: {name: together}
spec:
  service: TheService
  timeWindow: [{duration: 1M, isRolling: true}]
  budgetingMethod: Occurrences
  objectives:
    - target: 0.98
      compositeWeight: 1
      indicator: &ours
        metadata: {name: ours}
        spec:
          ratioMetric:
            counter: true
            good: {metricSource: {type: Prometheus, spec: {query: good_total}}}
            total: {metricSource: {type: Prometheus, spec: {query: all_total}}}
    - {target: 0.99, compositeWeight: 2, indicator: *ours}
""",
        refused=(
            "spec.timeWindow[0].duration is '1M' for a rolling window, which is not supported "
            "since its length varies; expected days, such as 30d",
        ),
    ),
    Example(
        like="OpenSLO/oslo, test/inputs/v1/slo/slo-composite-indicatorRef-rolling-no-alerts.yaml "
        "at bac31b5, with the indicator that it refers to",
        text="""
apiVersion: openslo/v1
kind: SLO
metadata: {name: together}
spec:
  service: TheService
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives:
    - {displayName: A, target: 0.98, compositeWeight: 1, indicatorRef: someSli}
    - {displayName: B, target: 0.99, compositeWeight: 2, indicatorRef: someSli}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: someSli}
spec: {ratioMetric: {rawType: failure, raw: {metricSource: {type: prometheus, spec: {query: a}}}}}
""",
        ids=("together_1", "together_2"),
    ),
)


@pytest.mark.parametrize("example", EXAMPLES, ids=[e.like.split(" at ")[0] for e in EXAMPLES])
def test_an_example_loads_or_is_refused_for_its_reason(example: Example) -> None:
    if not example.refused:
        found = parse_objectives({"example.yaml": example.text})
        assert tuple(o.id for o in found) == example.ids
        return
    with pytest.raises(ValidationFailed) as failure:
        parse_objectives({"example.yaml": example.text})
    lines = str(failure.value).splitlines()
    assert len(lines) == len(example.refused), lines
    for line, reason in zip(lines, example.refused, strict=True):
        assert line.startswith("example.yaml, document ") and reason in line


def test_the_examples_that_begin_at_noon_load_once_they_begin_at_midnight() -> None:
    (site,) = (e for e in EXAMPLES if "slos.yaml at cd21b06" in e.like)
    (objective,) = parse_objectives({"site.yaml": site.text.replace("12:00:00", "00:00:00")})
    assert isinstance(objective.indicator, Counts)
    assert objective.indicator.numerator.selector == 'http_requests{cluster="prod",code=~"2xx|4xx"}'
    assert objective.indicator.total.summed
    assert isinstance(objective.budgeting, Timeslices) and objective.strict
    assert not isinstance(objective.window, RollingWindow)
