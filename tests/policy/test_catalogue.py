"""The catalogue: every target that the operator has set, with the operator's own bound."""

from __future__ import annotations

import subprocess
from collections import Counter as Tally
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from reporting.demo.prometheus import find_binary
from reporting.policy import Policy, parse_policy
from reporting.policy.indicators import (
    Counts,
    Objective,
    ReportFigure,
    State,
    Threshold,
    latency_bound_ms,
)

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
TARGETS = ROOT.parent / "shared" / "targets.yaml"
POLICY: Policy = parse_policy(
    (CONFIG / "policy.toml").read_text("utf-8"),
    {f.name: f.read_text("utf-8") for f in (CONFIG / "objectives").glob("*.yaml")},
)
BY_ID = {o.id: o for o in POLICY.objectives}
SECTIONS = (
    "availability_pct service_performance agents execution_engine data_pipeline infrastructure "
    "database capacity"
).split()
COMPARATORS = {"lt", "le", "gt", "ge"}
#: What a bound of 1 in the operator's unit is in the unit of our value.
UNITS = {"_ms": "ms", "_s": "s", "_per_s": "/s", "_pct": "%", "_bps": "bps"}


def leaves(node: Any, path: str) -> dict[str, Any]:
    """Every target below ``path``: a bound such as {lt: 8}, a number, or a word."""
    if isinstance(node, list):
        return {f"{path}.{name}": "tracked" for name in node}
    if isinstance(node, dict) and not set(node) <= COMPARATORS:
        found: dict[str, Any] = {}
        for key, value in node.items():
            found |= leaves(value, f"{path}.{key}" if path else key)
        return found
    return {path: node}


@pytest.fixture(scope="module")
def targets() -> dict[str, Any]:
    if not TARGETS.exists():
        pytest.skip("the operator's targets.yaml is not beside this checkout")
    everything = yaml.safe_load(TARGETS.read_text("utf-8"))
    return leaves({name: everything[name] for name in SECTIONS}, "")


def answering(path: str) -> list[Objective]:
    return [o for o in POLICY.objectives if path in o.answers]


def promised(objective: Objective, path: str) -> object:
    """The bound that an objective keeps, in the operator's words: {"lt": 8}, 99.9, "tracked".

    Reads what the objective says and nothing else, so that a wrong bucket, goal or operator shows.
    """
    of, goal = objective.indicator, objective.goal
    if objective.allocated is not None:
        return objective.allocated
    if goal is None:
        return "tracked"
    if isinstance(of, Threshold | ReportFigure):
        return {of.comparator: of.value}
    if isinstance(of, State):
        assert not objective.strict
        return goal * 100
    assert isinstance(of, Counts) and objective.strict, objective.id
    bound = latency_bound_ms(of)
    if bound is not None:
        # "p95 below 8 ms": more than 95 % within 8 ms.
        assert goal == Decimal("0.95") and "p95_ms" in path
        return {"lt": bound}
    return {"gt": goal * 100} if of.good else {"lt": (1 - goal) * 100}


def test_every_target_is_answered_with_the_operators_bound(targets: dict[str, Any]) -> None:
    answers = {path: [promised(o, path) for o in answering(path)] for path in targets}
    expected: dict[str, list[object]] = {}
    for path, bound in targets.items():
        if isinstance(bound, dict):
            wanted: object = {op: Decimal(str(value)) for op, value in bound.items()}
        elif isinstance(bound, str):
            wanted = "tracked"  # tracked, "tracked and reconciled", detected
        else:
            wanted = Decimal(str(bound))
        # The promise for the monitoring as a whole is kept by each of its parts.
        expected[path] = [wanted] * max(1, len(answering(path)))
    assert answers == expected
    assert len(targets) == 6 + 5 + 15 + 5 + 5 + 5 + 5 + 4


def test_no_objective_answers_for_a_target_that_is_not_there(targets: dict[str, Any]) -> None:
    assert {a for o in POLICY.objectives for a in o.answers} - set(targets) == set()


def test_each_target_has_one_answer_but_the_composite(targets: dict[str, Any]) -> None:
    several = {path for path in targets if len(answering(path)) != 1}
    assert several == {"availability_pct.overall_monitoring"}
    parts = answering("availability_pct.overall_monitoring")
    assert all(o.composite and o.slo == "overall_monitoring" for o in parts)


def test_units_are_the_operators() -> None:
    for objective in POLICY.objectives:
        for path in objective.answers:
            ending = next((e for e in sorted(UNITS, key=len, reverse=True) if path.endswith(e)), "")
            if ending and not isinstance(objective.indicator, State):
                assert objective.unit == UNITS[ending], path


def test_a_pattern_of_the_operators_is_found_in_the_ledgers_thresholds_too() -> None:
    thresholds = {t.id: (t.comparator, t.value) for t in POLICY.thresholds}
    for name, threshold in (("fill_rate", "fill_rate_pct"), ("slippage", "slippage_bps")):
        figure = BY_ID[name].indicator
        assert isinstance(figure, ReportFigure)
        assert thresholds[threshold] == (figure.comparator, figure.value)


# ---- what the catalogue is, whether the operator's file is there or not --------------------------

COMPONENTS = (
    "prometheus node_exporter blackbox_exporter custom_exporters alertmanager pagerduty slack "
    "email elasticsearch logstash kibana fluentd grafana redis postgresql nginx docker "
    "health_check_api alerting_api strategic tactical risk execution_engine data_pipeline"
).split()


def test_every_component_has_its_availability_and_each_promise_is_the_operators() -> None:
    states = POLICY.states()
    assert sorted(o.id for o in states) == sorted(COMPONENTS)
    assert {o.id: o.component for o in states} == {name: name for name in COMPONENTS}
    assert {o.id: o.goal for o in states if o.goal is not None} == {
        "prometheus": Decimal("0.999"),
        "grafana": Decimal("0.999"),
        "alertmanager": Decimal("0.999"),
        "health_check_api": Decimal("0.999"),
        "elasticsearch": Decimal("0.995"),
    }
    probes = {
        name: f'probe_success{{job="blackbox",target="{name}"}}'
        for name in ("pagerduty", "slack", "email")
    }
    assert POLICY.state_queries() == {
        name: probes.get(name, f'up{{job="{name}"}}') for name in COMPONENTS
    }


def test_the_whole_of_the_monitoring_is_measured_by_its_parts() -> None:
    parts = [o for o in POLICY.objectives if o.composite]
    assert {POLICY.measured_as(o): o.weight for o in parts} == {
        "prometheus": 3,
        "alertmanager": 3,
        "grafana": 2,
        "health_check_api": 1,
        "elasticsearch": 1,
    }


def test_how_many_there_are_of_each_system() -> None:
    assert Tally(o.system for o in POLICY.objectives) == {
        "agents": 3 + 2 * 5 + 5,
        "execution_engine": 1 + 5,
        "data_pipeline": 1 + 5,
        "monitoring_stack": 15 + 5,
        "infrastructure": 5 + 4,
        "database": 5,
        "platform": 4,
        "service_performance": 5,
    }
    assert Tally(type(o.indicator).__name__ for o in POLICY.objectives) == {
        "State": 24 + 5,
        "Counts": 2 * 3 + 3 + 2 + 3,
        "Threshold": 2 * 2 + 2 + 2 + 9 + 5 + 4,
        "ReportFigure": 3 + 1,
    }


def test_every_query_has_a_shape_that_is_read_raw() -> None:
    for objective in POLICY.objectives:
        of = objective.indicator
        if isinstance(of, ReportFigure):
            continue
        queries = (of.numerator, of.total) if isinstance(of, Counts) else (of.query,)
        assert all(query.selector for query in queries), objective.id


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    # As the expression of a recording rule, which promtool parses with Prometheus' own parser.
    rules = []
    for o in POLICY.objectives:
        of = o.indicator
        if isinstance(of, ReportFigure):
            continue
        queries = (of.numerator, of.total) if isinstance(of, Counts) else (of.query,)
        texts = [q.text for q in queries] + [q.selector for q in queries]
        texts += [of.histogram] if isinstance(of, Counts) and of.histogram else []
        rules += [{"record": f"{o.id}:{n}", "expr": text} for n, text in enumerate(texts)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    command = [str(find_binary("promtool", ROOT / "var")), "check", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(rules)} rules found" in done.stdout


def test_every_latency_has_its_histogram_and_is_watched() -> None:
    latencies = [o for o in POLICY.objectives if isinstance(o.indicator, Counts) and o.unit == "ms"]
    assert sorted(o.id for o in latencies) == [
        "latency_spikes",
        "order_latency",
        "processing_latency",
        "risk_inference_latency",
        "strategic_inference_latency",
        "tactical_inference_latency",
    ]
    for o in latencies:
        of = o.indicator
        assert isinstance(of, Counts) and of.histogram and of.total.selector
        # The same series, so that good and total are of the same events.
        assert of.histogram.replace("_bucket", "_count") == of.total.selector, o.id
        assert (o.watch == "latency") == (o.id != "latency_spikes")
