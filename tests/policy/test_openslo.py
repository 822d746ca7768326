"""OpenSLO documents: what is read of them, and that nothing unsupported is quietly ignored."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from reporting.errors import ValidationFailed
from reporting.policy.indicators import (
    CalendarWindow,
    Counts,
    Objective,
    Occurrences,
    Query,
    RatioTimeslices,
    ReportFigure,
    RollingWindow,
    Share,
    State,
    Threshold,
    Timeslices,
)
from reporting.policy.openslo import parse_objectives, parse_query, read_documents

GRAFANA = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: grafana-web
  displayName: Grafana
  annotations:
    reporting.internal/no-data: down
    example.com/dashboard: anything
spec:
  description: |
    The dashboards
    are there.
  service: grafana-ui
  indicator:
    metadata:
      name: grafana-up
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

REQUESTS = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: requests}
spec:
  service: web
  indicatorRef: latency
  timeWindow: [{duration: 4w, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: latency}
spec:
  ratioMetric:
    counter: true
    good: {metricSource: {metricSourceRef: metrics, spec: {query: 'h_bucket{job="a", le="0.1"}'}}}
    total: {metricSource: {type: prometheus, spec: {promql: 'sum(h_count{job="a"})'}}}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: metrics}
spec: {type: Prometheus, connectionDetails: {url: "http://prometheus.example.com"}}
"""

LOAD = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: load
  annotations: {reporting.internal/unit: "%", reporting.internal/allocated: "8"}
spec:
  service: host
  indicator:
    metadata: {name: load}
    spec: {thresholdMetric: {metricSource: {type: Prometheus, spec: {query: 100 * load}}}}
  timeWindow: [{duration: 1d, calendar: {startTime: 2025-01-01 00:00:00, timeZone: UTC}}]
  budgetingMethod: Occurrences
  objectives: [{op: lt, value: 80, target: 0.99}]
"""

COMPOSITE = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: both, displayName: Both}
spec:
  service: both
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives:
    - displayName: First
      target: 0.9
      compositeWeight: 3
      indicator:
        metadata: {name: first}
        spec:
          ratioMetric:
            rawType: failure
            raw: {metricSource: {type: Prometheus, spec: {query: a_up}}}
    - target: 0.8
      indicatorRef: second
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: second}
spec:
  ratioMetric:
    rawType: success
    raw: {metricSource: {type: Prometheus, spec: {query: "job:good:ratio"}}}
"""

ALERTS = """\
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: OnCall}
spec:
  alertWhenBreaching: true
  conditions: [{conditionRef: burning}]
  notificationTargets:
    - targetRef: pager
    - kind: AlertNotificationTarget
      metadata: {name: mail}
      spec: {target: email}
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: burning}
spec:
  severity: page
  condition: {kind: burnrate, op: gt, threshold: 2, lookbackWindow: 1h, alertAfter: 5m}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: pager}
spec: {description: The one on call, target: pagerduty}
---
apiVersion: openslo/v1
kind: Service
metadata: {name: grafana-ui, labels: {team: [a, b], tier: one}}
spec: {description: Dashboards}
"""


def one(text: str, **more: str) -> Objective:
    (objective,) = parse_objectives({"x.yaml": text, **more})
    return objective


def changed(text: str, before: str, after: str) -> str:
    assert before in text
    return text.replace(before, after)


# ---- what is read -------------------------------------------------------------------------------


def test_a_state_is_read_exactly() -> None:
    assert one(GRAFANA) == Objective(
        id="grafana_web",
        slo="grafana_web",
        title="Grafana",
        system="x",
        component="grafana_ui",
        indicator=State(Query('up{job="grafana"}', 'up{job="grafana"}')),
        budgeting=Occurrences(),
        goal=Decimal("0.9995"),
        strict=False,
        window=CalendarWindow(1, "month", date(2025, 1, 1)),
        zone="America/New_York",
        no_data="down",
        description="The dashboards are there.",
    )


def test_references_are_followed_over_files() -> None:
    slo, sli, source = REQUESTS.split("---\n")
    objective = one(slo, **{"a.yaml": source, "b.yaml": sli})
    assert objective.indicator == Counts(
        numerator=Query('h_bucket{job="a", le="0.1"}', 'h_bucket{job="a",le="0.1"}'),
        total=Query('sum(h_count{job="a"})', 'h_count{job="a"}', summed=True),
        histogram='h_bucket{job="a"}',
    )
    assert (objective.window, objective.zone) == (RollingWindow(4 * 7), "UTC")
    assert (objective.id, objective.title, objective.system) == ("requests", "requests", "x")


def test_a_bad_numerator_and_gauges_are_told_apart() -> None:
    bad = one(changed(changed(REQUESTS, "good:", "bad:"), "counter: true", "counter: false"))
    assert isinstance(bad.indicator, Counts)
    assert not bad.indicator.good and not bad.indicator.monotonic
    assert bad.indicator.histogram is None


def test_a_ratio_of_rates_counts_the_events_beneath() -> None:
    rates = changed(REQUESTS, 'h_bucket{job="a", le="0.1"}', "rate(good_total[5m])")
    rates = changed(rates, 'sum(h_count{job="a"})', "sum(rate(all_total[5m]))")
    indicator = one(changed(rates, "    counter: true\n", "")).indicator
    assert indicator == Counts(
        numerator=Query("rate(good_total[5m])", "good_total", rate=True),
        total=Query("sum(rate(all_total[5m]))", "all_total", summed=True, rate=True),
    )


def test_what_only_the_server_can_evaluate_takes_the_other_part_along() -> None:
    indicator = one(changed(REQUESTS, 'sum(h_count{job="a"})', "h_count + other")).indicator
    assert isinstance(indicator, Counts)
    assert (indicator.numerator.selector, indicator.total.selector) == (None, None)
    assert indicator.histogram is None


def test_a_threshold_has_its_value_and_capacity() -> None:
    load = one(LOAD)
    assert load.indicator == Threshold(
        Query("100 * load", "load", scale=Decimal(100)), "lt", Decimal(80)
    )
    assert (load.unit, load.allocated) == ("%", Decimal(8))
    assert load.window == CalendarWindow(1, "day", date(2025, 1, 1))


def test_a_figure_of_the_report_is_a_source_of_ours() -> None:
    text = changed(LOAD, "type: Prometheus, spec: {query: 100 * load}", "type: Report, spec: FIG")
    text = changed(text, "spec: FIG", "spec: {figure: fill_rate.full}")
    text = changed(text, ', reporting.internal/allocated: "8"', "")
    assert one(text).indicator == ReportFigure("fill_rate.full", "lt", Decimal(80))


def test_a_composite_has_an_indicator_and_a_weight_for_each_objective() -> None:
    first, second = parse_objectives({"x.yaml": COMPOSITE})
    assert (first.id, first.slo, first.title) == ("both_1", "both", "Both: First")
    assert (second.id, second.slo, second.title) == ("both_2", "both", "Both: 2")
    assert (first.weight, second.weight) == (3, 1)
    assert first.composite and second.composite
    assert first.indicator == State(Query("a_up", "a_up"), success=False)
    assert second.indicator == Share(Query("job:good:ratio", "job:good:ratio"))


def test_several_objectives_share_an_indicator() -> None:
    text = changed(REQUESTS, "[{target: 0.99}]", "[{target: 0.99}, {targetPercent: 99.9, op: gt}]")
    first, second = parse_objectives({"x.yaml": text})
    assert (first.id, second.id) == ("requests_1", "requests_2")
    assert (first.goal, second.goal) == (Decimal("0.99"), Decimal("0.999"))
    assert (first.strict, second.strict) == (False, True)
    assert first.indicator == second.indicator and not first.composite


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ("timeSliceWindow: 5m, timeSliceTarget: 0.95", Timeslices(5 * 60_000, Decimal("0.95"))),
        ("timeSliceWindow: 15, timeSliceTarget: 1", Timeslices(15 * 60_000, Decimal(1))),
        ("timeSliceWindow: 1h", RatioTimeslices(60 * 60_000)),
    ],
)
def test_time_slices(slices: str, expected: object) -> None:
    method = type(expected).__name__
    text = changed(REQUESTS, "{target: 0.99}", f"{{target: 0.99, {slices}}}")
    assert one(changed(text, "Occurrences", method)).budgeting == expected


def test_the_slices_of_a_state_are_those_of_its_share() -> None:
    text = changed(GRAFANA, "Occurrences", "RatioTimeslices")
    text = changed(text, "targetPercent: 99.95", "targetPercent: 99.95\n      timeSliceWindow: 1m")
    assert one(text).indicator == Share(Query('up{job="grafana"}', 'up{job="grafana"}'))


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("1d", (1, "day")),
        ("2w", (2, "week")),
        ("1m", (1, "month")),
        ("1M", (1, "month")),
        ("1Q", (1, "quarter")),
        ("10Y", (10, "year")),
    ],
)
def test_a_month_with_a_calendar_may_be_written_small(
    duration: str, expected: tuple[int, str]
) -> None:
    window = one(changed(GRAFANA, "duration: 1M", f"duration: {duration}")).window
    assert isinstance(window, CalendarWindow)
    assert (window.count, window.unit) == expected


def test_a_window_may_begin_in_the_past_and_is_a_calendar_window_by_itself() -> None:
    text = changed(GRAFANA, "      isRolling: false\n", "")
    window = one(changed(text, "2025-01-01", "1999-07-15")).window
    assert window == CalendarWindow(1, "month", date(1999, 7, 15))


def test_a_tracked_target_promises_nothing() -> None:
    tracked = changed(GRAFANA, "no-data: down", "promise: tracked")
    assert one(changed(tracked, "targetPercent: 99.95", "target: 0")).goal is None


def test_annotations_of_ours() -> None:
    text = changed(
        REQUESTS,
        "{name: requests}",
        "{name: requests, annotations: {reporting.internal/strict: 'true', "
        "reporting.internal/answers: 'a.b, c.d_1.e', reporting.internal/watch: latency}}",
    )
    objective = one(text)
    assert (objective.strict, objective.answers) == (True, ("a.b", "c.d_1.e"))
    assert (objective.watch, objective.no_data) == ("latency", "flag")


def test_alert_policies_are_checked_and_not_used() -> None:
    used = changed(
        GRAFANA, "  objectives:", "  alertPolicies: [{alertPolicyRef: OnCall}]\n  objectives:"
    )
    assert one(used, **{"alerts.yaml": ALERTS}) == one(GRAFANA)
    # A field without a value is an absent one.
    assert one(changed(GRAFANA, "  objectives:", "  alertPolicies: # none\n  objectives:"))


def test_documents_may_be_a_list_as_the_formats_own_examples_are() -> None:
    listed = "- " + GRAFANA.replace("\n", "\n  ").rstrip() + "\n"
    again = listed.replace("grafana-web", "again")
    first, second = parse_objectives({"x.yaml": listed + again})
    assert (first.id, second.id) == ("grafana_web", "again")
    assert [d.where for d in read_documents({"x.yaml": listed})] == [
        "x.yaml, document 1 (SLO grafana-web)"
    ]


def test_nothing_makes_no_objective() -> None:
    assert parse_objectives({}) == parse_objectives({"empty.yaml": "# later\n"}) == ()


# ---- queries ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("up", ("up", False, False, "1")),
        ("up{}", ("up", False, False, "1")),
        ('  a:b{x="1" , y=~"2|3",z!~\'q\'}  ', ('a:b{x="1",y=~"2|3",z!~\'q\'}', False, False, "1")),
        ("sum( x_total )", ("x_total", True, False, "1")),
        ("rate(x_total[5m])", ("x_total", False, True, "1")),
        ('sum(rate(x_total{a="}"}[1h30m]))', ('x_total{a="}"}', True, True, "1")),
        ("1e-9 * x", ("x", False, False, "0.000000001")),
        ("1000*sum(x)", ("x", True, False, "1000")),
        ("2.5 * sum(\n  rate(x[5m])\n)", ("x", True, True, "2.5")),
    ],
)
def test_a_known_shape_has_its_selector(text: str, expected: tuple[str, bool, bool, str]) -> None:
    query = parse_query(text)
    assert (query.selector, query.summed, query.rate) == expected[:3]
    assert query.scale == Decimal(expected[3])
    assert query.text == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "a + b",
        "sum(a) / sum(b)",
        "sum(a) + sum(b)",
        "sum by (job) (a)",
        "sum(a) by (job)",
        "avg(a)",
        "irate(a[5m])",
        "increase(a[5m])",
        "rate(a)",
        "rate(sum(a)[5m])",
        "rate(a[5m] offset 1h)",
        "rate(a[5m:1m])",
        "a offset 5m",
        "a @ 0",
        "a[5m]",
        "-a",
        "a * 100",
        "100 * a * b",
        "100 * 2",
        'a{b="c"} > 5',
        'a{b="c"',
        "a{b=c}",
        'a{"b"="c"}',
        '{__name__="a"}',
        "vector(1)",
        "",
    ],
)
def test_any_other_shape_is_left_to_the_server(text: str) -> None:
    assert parse_query(text) == Query(text=text, selector=None)


@pytest.mark.parametrize(
    ("query", "histogram"),
    [
        ('x_bucket{le="0.1",a="b"}', 'x_bucket{a="b"}'),
        ('sum(x_bucket{le="0.1"})', "x_bucket"),
        ('x_bucket{le=~"0.1|0.2"}', None),
        ('x_total{le="0.1"}', None),
        ("x_bucket", None),
    ],
)
def test_one_bucket_names_its_histogram(query: str, histogram: str | None) -> None:
    indicator = one(changed(REQUESTS, 'h_bucket{job="a", le="0.1"}', query)).indicator
    assert isinstance(indicator, Counts) and indicator.histogram == histogram


@pytest.mark.parametrize("name", ["up", "redis_up", "probe_success"])
def test_a_raw_ratio_is_a_state_by_the_name_of_its_metric(name: str) -> None:
    assert isinstance(one(changed(GRAFANA, "up{job=", f"{name}{{job=")).indicator, State)


@pytest.mark.parametrize("query", ["availability", "sum(up)", "100 * up", "updates", "avg(up)"])
def test_any_other_raw_ratio_is_a_share(query: str) -> None:
    assert isinstance(one(changed(GRAFANA, 'up{job="grafana"}', query)).indicator, Share)


# ---- what is refused, by name -------------------------------------------------------------------

SOURCE = 'type: Prometheus\n            spec:\n              query: up{job="grafana"}'

REFUSED = [
    (GRAFANA, "openslo/v1", "openslo/v2", r"apiVersion is 'openslo/v2': .*'openslo/v1'"),
    (GRAFANA, "kind: SLO", "kind: Dashboard", r"kind is 'Dashboard'; expected one of SLO, SLI"),
    (GRAFANA, "kind: SLO\n", "", r"kind is None; expected one of"),
    (
        GRAFANA,
        "name: grafana-web",
        "name: Grafana Web",
        r"metadata\.name is 'Grafana Web': expected at most 63 .*RFC 1123",
    ),
    (GRAFANA, "service: grafana-ui\n", "", r"spec\.service is missing"),
    (GRAFANA, "service: grafana-ui", "service: [a]", r"spec\.service is \['a'\]: .*string"),
    (GRAFANA, "service: grafana-ui", "service: a\n  service: b", r"key 'service' is given twice"),
    (
        GRAFANA,
        "  service:",
        "  owner: me\n  service:",
        r"spec\.owner is not supported; expected onl",
    ),
    (GRAFANA, "kind: SLO", "kind: [", r"x\.yaml is not YAML"),
    (GRAFANA, GRAFANA, "SLO", r"the document is 'SLO'; expected a mapping"),
    # Annotations
    (GRAFANA, "no-data: down", "no-data: drop", r"internal/no-data is 'drop': .*'exclude', 'down'"),
    (
        GRAFANA,
        "no-data",
        "nodata",
        r"annotations\.reporting\.internal/nodata is not supported; exp",
    ),
    (GRAFANA, "no-data: down", "strict: yes", r"internal/strict is 'yes': expected true or false"),
    (GRAFANA, "no-data: down", "answers: one", r"internal/answers is 'one': expected paths"),
    (
        GRAFANA,
        "no-data: down",
        "allocated: '8'",
        r"allocated is 8 for a ratio; expected it only wit",
    ),
    (
        GRAFANA,
        "no-data: down",
        "watch: latency",
        r"watch is 'latency', but this indicator has no l",
    ),
    (
        GRAFANA,
        "no-data: down",
        "promise: tracked",
        r"promises a share of 0\.9995 while .*'tracked'",
    ),
    (GRAFANA, "example.com/dashboard", "a b", r"expected keys such as example\.com/name"),
    (GRAFANA, "example.com/dashboard: anything", "a: [b]", r"expected a text for 'a'"),
    (
        ALERTS,
        "name: pager}",
        "name: pager, annotations: {reporting.internal/unit: s}}",
        r"unit is n",
    ),
    # Sources
    (
        GRAFANA,
        "type: Prometheus",
        "type: Datadog",
        r"raw\.metricSource\.type is 'Datadog', which is",
    ),
    (
        GRAFANA,
        "type: Prometheus\n",
        "metricSourceRef: p\n",
        r"metricSourceRef is 'p', which none of",
    ),
    (GRAFANA, "type: Prometheus\n", "type: ''\n", r"has neither type nor metricSourceRef"),
    (
        GRAFANA,
        "type: Prometheus",
        "type: Report",
        r"type is 'Report' in a ratioMetric; expected Pr",
    ),
    (GRAFANA, SOURCE, "type: Prometheus", r"metricSource\.spec is missing"),
    (
        GRAFANA,
        "query: up",
        "dimensions: up",
        r"spec\.dimensions is not supported; expected only que",
    ),
    (GRAFANA, 'query: up{job="grafana"}', "query: ['a']", r"spec\.query is \['a'\]: "),
    (
        GRAFANA,
        "query: up",
        "promql: b\n              query: up",
        r"needs exactly one of query and p",
    ),
    (GRAFANA, 'up{job="grafana"}', "'{{.window}}'", r"query is a template, .*; expected PromQL"),
    (
        REQUESTS,
        "{type: Prometheus, con",
        "{type: Datadog, con",
        r"spec\.type is 'Datadog', which is",
    ),
    (REQUESTS, "type: prometheus", "type: Report", r"type is 'Report' in a ratioMetric"),
    (
        REQUESTS,
        "metricSourceRef: metrics",
        "metricSourceRef: m",
        r"is 'm', .* a DataSource: metrics",
    ),
    (
        LOAD,
        "type: Prometheus, spec: {query: 100 * load}",
        "type: Report, spec: {}",
        r"figure is miss",
    ),
    (
        LOAD,
        "type: Prometheus, spec: {query: 100 * load}",
        "type: Report, spec: {figure: x}",
        r"figure is 'x': expected the id of a",
    ),
    # Indicators
    (GRAFANA, "        rawType: success\n", "", r"rawType is missing; expected success or failure"),
    (GRAFANA, "rawType: success", "rawType: up", r"rawType is 'up': .*'success' or 'failure'"),
    (
        GRAFANA,
        "        raw:",
        "        good:",
        r"ratioMetric has good; expected good and total, bad",
    ),
    (
        REQUESTS,
        "    good:",
        "    bad: {metricSource: {type: Prometheus, spec: {query: b}}}\n    good:",
        r"ratioMetric has good, bad, total; expected",
    ),
    (REQUESTS, "    counter: true\n", "", r"ratioMetric\.counter is missing; expected true \(the"),
    (
        REQUESTS,
        "counter: true",
        "counter: true\n    rawType: success",
        r"rawType is 'success'; expec",
    ),
    (
        REQUESTS,
        'sum(h_count{job="a"})',
        "rate(h_count[5m])",
        r"has a rate\(\) in total only; expect",
    ),
    (
        REQUESTS,
        "indicatorRef: latency",
        "indicatorRef: late",
        r"indicatorRef is 'late', .*SLI: latency",
    ),
    (
        REQUESTS,
        "  indicatorRef: latency\n",
        "",
        r"spec needs an indicator .* got none in spec and 0 in 1",
    ),
    (COMPOSITE, "      indicatorRef: second\n", "", r"got none in spec and 1 in 2 objectives"),
    (
        COMPOSITE,
        "  service: both\n",
        "  service: both\n  indicatorRef: second\n",
        r"got one in spec and 2",
    ),
    (
        COMPOSITE,
        "    - target: 0.8\n",
        "    - target: 0.8\n      compositeWeight: 0\n",
        r"greater than 0",
    ),
    (REQUESTS, "{target: 0.99}", "{target: 0.99, compositeWeight: 2}", r"only in a composite"),
    (LOAD, "spec: {thresholdMetric", "spec: {x: 1, thresholdMetric", r"spec\.x is not supported"),
    # Objectives
    (LOAD, "op: lt, value: 80, ", "value: 80, ", r"objectives\[0\] lacks op; expected op"),
    (LOAD, "op: lt, value: 80, ", "op: lt, ", r"objectives\[0\] lacks value; expected op"),
    (LOAD, "op: lt", "op: eq", r"objectives\[0\]\.op is 'eq': .*'lt'"),
    (LOAD, "value: 80", "value: many", r"value is 'many': expected a number"),
    (
        REQUESTS,
        "{target: 0.99}",
        "{target: 0.99, value: 5}",
        r"value is 5 while the indicator is a r",
    ),
    (
        REQUESTS,
        "{target: 0.99}",
        "{target: 0.99, op: lte}",
        r"op is 'lte' without a value; expected g",
    ),
    (
        GRAFANA,
        "targetPercent: 99.95",
        "targetPercent: 100",
        r"targetPercent is '100': .*less than 100",
    ),
    (GRAFANA, "targetPercent: 99.95", "target: 1", r"target is '1': .*less than 1"),
    (GRAFANA, "targetPercent: 99.95", "targetPercent: nan", r"expected a finite number, got 'nan'"),
    (GRAFANA, "targetPercent: 99.95", "displayName: x", r"expected exactly one of them"),
    (
        GRAFANA,
        "targetPercent: 99.95",
        "target: 0.9\n      targetPercent: 90",
        r"exactly one of them",
    ),
    (
        GRAFANA,
        "targetPercent: 99.95",
        "targetPercent: 0",
        r"promises a share of 0 while .*'target'",
    ),
    (GRAFANA, "    - targetPercent: 99.95", "    []", r"spec\.objectives is \[\]: .*at least 1"),
    # Windows and slices
    (GRAFANA, "duration: 1M", "duration: 1h", r"duration is '1h', .*sealed by the day"),
    (GRAFANA, "duration: 1M", "duration: 1 month", r"duration is '1 month': .*such as 28d"),
    (GRAFANA, "duration: 1M", "duration: 0d", r"duration is '0d': .*positive"),
    (
        GRAFANA,
        "00:00:00",
        "12:00:00",
        r"startTime is '2025-01-01 12:00:00', which is not supported",
    ),
    (GRAFANA, "2025-01-01 00", "2025-02-30 00", r"expected a date and time that exist"),
    (GRAFANA, "America/New_York", "America/Old_York", r"timeZone is 'America/Old_York': .*IANA"),
    (GRAFANA, "isRolling: false", "isRolling: true", r"isRolling is true with a calendar"),
    (REQUESTS, "isRolling: true", "isRolling: false", r"isRolling is false without a calendar"),
    (REQUESTS, ", isRolling: true", "", r"has neither isRolling: true nor a calendar"),
    (REQUESTS, "duration: 4w", "duration: 5m", r"duration is '5m', .*expected days or weeks"),
    (REQUESTS, "duration: 4w", "duration: 2Q", r"duration is '2Q' for a rolling .*such as 180d"),
    (
        REQUESTS,
        "  timeWindow: [{duration: 4w, isRolling: true}]\n",
        "",
        r"spec\.timeWindow is missing",
    ),
    (
        GRAFANA,
        "Occurrences",
        "Timeslices",
        r"timeSliceWindow is missing; expected it with budgeting",
    ),
    (
        REQUESTS,
        "0.99}",
        "0.99, timeSliceWindow: 5m}",
        r"timeSliceWindow is 5m; expected it not to be",
    ),
    (REQUESTS, "Occurrences", "Yearly", r"spec\.budgetingMethod is 'Yearly': .*'Occurrences'"),
    # Alert policies
    (
        GRAFANA,
        "  objectives:",
        "  alertPolicies: [OnCall]\n  objectives:",
        r"'OnCall': expected a map",
    ),
    (
        GRAFANA,
        "  objectives:",
        "  alertPolicies: [{alertPolicyRef: A}]\n  objectives:",
        r"an AlertPol",
    ),
    (
        ALERTS,
        "conditionRef: burning",
        "conditionRef: gone",
        r"is 'gone', .*an AlertCondition: burn",
    ),
    (
        ALERTS,
        "targetRef: pager",
        "targetRef: p",
        r"notificationTargets\[0\]\.targetRef is 'p', which n",
    ),
    (
        ALERTS,
        "{conditionRef: burning}",
        "{operator: and, conditionRef: burning}",
        r"operator is not s",
    ),
    (
        ALERTS,
        "{conditionRef: burning}",
        "{kind: AlertCondition}",
        r"expected either conditionRef or a",
    ),
    (ALERTS, "[{conditionRef: burning}]", "[]", r"conditions is \[\]: .*at least 1"),
    (ALERTS, "severity: page", "severity:", r"spec\.severity is missing"),
    (ALERTS, "lookbackWindow: 1h", "lookbackWindow: soon", r"lookbackWindow is 'soon': "),
    (ALERTS, "alertWhenBreaching: true", "alertWhenBreaching: 1", r"'1': expected true or false"),
    (ALERTS, "tier: one", "tier!: one", r"metadata\.labels"),
]


@pytest.mark.parametrize(
    ("text", "before", "after", "complaint"), REFUSED, ids=[row[3] for row in REFUSED]
)
def test_what_is_not_supported_is_refused_by_name(
    text: str, before: str, after: str, complaint: str
) -> None:
    parse_objectives({"x.yaml": text})
    with pytest.raises(ValidationFailed, match=complaint) as failure:
        parse_objectives({"x.yaml": changed(text, before, after)})
    assert str(failure.value).startswith("x.yaml")
    assert failure.value.exit_code == 4


@pytest.mark.parametrize(
    ("slices", "complaint"),
    [
        ("timeSliceTarget: 0.9, timeSliceWindow: 7m", r"'7m', .*divide an hour"),
        ("timeSliceTarget: 0.9, timeSliceWindow: 1d", r"'1d', .*divide an hour"),
        ("timeSliceTarget: 0.9, timeSliceWindow: soon", r"timeSliceWindow is 'soon': "),
        ("timeSliceTarget: 0, timeSliceWindow: 5m", r"timeSliceTarget is '0': .*greater than 0"),
        ("timeSliceTarget: 1.1, timeSliceWindow: 5m", r"timeSliceTarget is '1.1': .*equal to 1"),
        ("timeSliceWindow: 5m", r"timeSliceTarget is missing; expected it with .* Timeslices"),
    ],
)
def test_slices_that_fit_no_day_are_refused(slices: str, complaint: str) -> None:
    text = changed(REQUESTS, "{target: 0.99}", f"{{target: 0.99, {slices}}}")
    with pytest.raises(ValidationFailed, match=complaint):
        parse_objectives({"x.yaml": changed(text, "Occurrences", "Timeslices")})


def test_objectives_of_two_servers_are_refused() -> None:
    other = changed(REQUESTS, "type: prometheus", "metricSourceRef: other")
    other += "---\n" + REQUESTS.split("---\n")[2].replace("name: metrics", "name: other")
    with pytest.raises(ValidationFailed, match=r"'other' while other metrics are of 'metrics'"):
        parse_objectives({"x.yaml": other})


def test_names_are_unique_over_all_files() -> None:
    with pytest.raises(ValidationFailed, match=r"^b\.yaml, document 1 .*is that of a\.yaml, doc"):
        parse_objectives({"a.yaml": GRAFANA, "b.yaml": GRAFANA})
    # both_1 of the composite, and an SLO of that name.
    clash = changed(GRAFANA, "name: grafana-web", "name: both-1")
    with pytest.raises(ValidationFailed, match=r"the id 'both_1' is that of a\.yaml, document 1"):
        parse_objectives({"a.yaml": COMPOSITE, "b.yaml": clash})


def test_every_problem_has_its_line() -> None:
    wrong = changed(changed(GRAFANA, "1M", "1h"), "targetPercent: 99.95", "targetPercent: 101")
    with pytest.raises(ValidationFailed) as failure:
        parse_objectives({"a.yaml": wrong, "b.yaml": changed(LOAD, "op: lt", "op: eq")})
    first, second = str(failure.value).splitlines()
    assert first.startswith("a.yaml, document 1: spec.objectives[0].targetPercent is '101'")
    assert second.startswith("b.yaml, document 1: spec.objectives[0].op is 'eq'")
