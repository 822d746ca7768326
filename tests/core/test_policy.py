"""Dated thresholds: an old report is judged by what was in force then."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from reporting.errors import ValidationFailed
from reporting.policy import parse_policy

TWO = """
[[threshold]]
id = "slippage_bps"
from = 2026-02-01
comparator = "lt"
value = "1.5"
unit = "bps"
source = "board, January 2026"

[[threshold]]
id = "slippage_bps"
from = 2025-01-01
comparator = "lt"
value = "2"
unit = "bps"
source = "targets"
"""


@pytest.mark.parametrize(
    ("day", "value"),
    [
        (date(2024, 12, 31), None),
        (date(2025, 1, 1), "2"),
        (date(2026, 1, 31), "2"),
        (date(2026, 2, 1), "1.5"),
        (date(2027, 1, 1), "1.5"),
    ],
)
def test_a_day_is_judged_by_the_threshold_of_that_day(day: date, value: str | None) -> None:
    # The file lists the newer line first: it is the date that decides, not the order.
    target = parse_policy(TWO, {}).targets(day).get("slippage_bps")
    assert (target.value if target else None) == (Decimal(value) if value else None)


def test_a_number_that_must_be_there_names_what_lacks() -> None:
    policy = parse_policy(TWO, {})
    assert policy.number("slippage_bps", date(2025, 6, 1)) == 2
    with pytest.raises(ValidationFailed, match="'slippage_bps' in force on 2024-01-01"):
        policy.number("slippage_bps", date(2024, 1, 1))
    with pytest.raises(ValidationFailed, match="'nothing'"):
        policy.number("nothing", date(2025, 6, 1))


def test_the_words_of_a_target() -> None:
    target = parse_policy(TWO, {}).targets(date(2025, 6, 1))["slippage_bps"]
    assert target.words() == "below 2 bps"


@pytest.mark.parametrize("empty", ["", "# nothing yet\n"])
def test_no_threshold_is_a_policy_too(empty: str) -> None:
    assert parse_policy(empty, {}).targets(date(2026, 1, 1)) == {}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (TWO + "[[threshold]\n", "not TOML"),
        (TWO + "[[thresholds]]\nid = 'x'\n", "thresholds"),
        ("threshold = 5\n", "threshold"),
        ("[threshold]\nid = 'x'\n", "threshold"),
        (TWO.replace('unit = "bps"', 'units = "bps"'), "unit"),
        (TWO + 'note = "x"\n', "note"),
        (TWO.replace('comparator = "lt"', 'comparator = "<"'), "comparator"),
        (TWO.replace('value = "2"', 'value = "two"'), "value"),
        (TWO.replace('value = "2"', 'value = "NaN"'), "value"),
        (TWO.replace("from = 2025-01-01", 'from = "soon"'), "from"),
        (TWO.replace("from = 2025-01-01", ""), "from"),
        (TWO.replace('id = "slippage_bps"', "id = 7"), "id"),
    ],
)
def test_what_is_wrong_with_the_file_is_named(text: str, named: str) -> None:
    with pytest.raises(ValidationFailed, match=named):
        parse_policy(text, {})


LOTS = """
[[lot_method]]
from = 2026-02-01
method = "lifo"
source = "board, January 2026"

[[lot_method]]
from = 2025-01-01
method = "average"
source = "tax"
"""


@pytest.mark.parametrize(
    ("day", "method"),
    [
        (date(2024, 12, 31), "fifo"),  # no line says otherwise
        (date(2025, 1, 1), "average"),
        (date(2026, 1, 31), "average"),
        (date(2026, 2, 1), "lifo"),
    ],
)
def test_the_latest_lot_method_in_force_wins(day: date, method: str) -> None:
    assert parse_policy(TWO + LOTS, {}).lot_method(day) == method


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            LOTS.replace('"lifo"', '"LIFO"'),
            "'method' is wrong.*'hifo' or 'average'",
        ),
        (LOTS.replace('source = "tax"', ""), "source"),
        (LOTS.replace("from = 2026-02-01", ""), "from"),
        (LOTS.replace("2026-02-01", "2025-01-01"), "two lot methods from 2025-01-01"),
        ("lot_method = 5\n", "lot_method"),
        (LOTS.replace("[[lot_method]]", "[[lot_methods]]"), "lot_methods"),
    ],
)
def test_a_lot_method_that_is_wrong_is_named(text: str, named: str) -> None:
    with pytest.raises(ValidationFailed, match=named):
        parse_policy(text, {})


def test_two_thresholds_of_one_date_are_refused() -> None:
    with pytest.raises(ValidationFailed, match=r"slippage_bps.*2025-01-01"):
        parse_policy(TWO.replace("2026-02-01", "2025-01-01"), {})


def test_the_digest_is_of_the_text() -> None:
    assert parse_policy(TWO, {}).digest == parse_policy(TWO, {}).digest
    assert parse_policy(TWO, {}).digest != parse_policy(TWO.replace("1.5", "1.6"), {}).digest


def slo(name: str, indicator: str, objective: str, annotation: str = "strict: 'false'") -> str:
    """An OpenSLO document with the ratioMetric ``indicator``."""
    return f"""
- apiVersion: openslo/v1
  kind: SLO
  metadata: {{name: {name}, annotations: {{reporting.internal/{annotation}}}}}
  spec:
    service: {name}
    indicator: {{metadata: {{name: {name}}}, spec: {{ratioMetric: {{{indicator}}}}}}}
    timeWindow: [{{duration: 28d, isRolling: true}}]
    budgetingMethod: Occurrences
    objectives: [{{{objective}}}]
"""


def metric(query: str) -> str:
    return f"{{metricSource: {{type: Prometheus, spec: {{query: '{query}'}}}}}}"


def raw(query: str) -> str:
    return f"rawType: success, raw: {metric(query)}"


def test_a_promise_of_availability_is_a_target_in_percent() -> None:
    counts = f"counter: true, good: {metric('a')}, total: {metric('b')}"
    text = (
        slo("web-ui", raw("up"), "target: 0.9995")
        + slo("mail", raw("mail_up"), "target: 0.9", "strict: 'true'")
        + slo("seen", raw("seen_up"), "target: 0", "promise: tracked")
        + slo("requests", counts, "target: 0.5")
        + slo("ratio", raw("good_ratio"), "target: 0.5")
    )
    policy = parse_policy("", {"x.yaml": text})
    targets = policy.targets(date(2025, 6, 1))
    # Of counted events and of ratios there is no time up or down.
    assert sorted(o.id for o in policy.states()) == ["mail", "seen", "web_ui"]
    assert sorted(targets) == ["availability.mail", "availability.web_ui"]
    assert targets["availability.web_ui"].words() == "at least 99.95 %"
    assert targets["availability.mail"].words() == "above 90 %"
    assert policy.state_queries() == {"mail": "mail_up", "seen": "seen_up", "web_ui": "up"}


def test_a_part_of_a_composite_is_measured_once() -> None:
    composite = """
- apiVersion: openslo/v1
  kind: SLO
  metadata: {name: all}
  spec:
    service: all
    timeWindow: [{duration: 28d, isRolling: true}]
    budgetingMethod: Occurrences
    objectives:
"""
    for query in ("up", "other_up", "other_up"):
        composite += (
            "      - {target: 0.9, indicator: {metadata: {name: x}, "
            f"spec: {{ratioMetric: {{{raw(query)}}}}}}}}}\n"
        )
    # The part comes first: it is what else watches the series that decides, not the order.
    policy = parse_policy(
        "", {"a.yaml": composite, "b.yaml": slo("web", raw("up"), "target: 0.99")}
    )
    assert {o.id: policy.measured_as(o) for o in policy.objectives} == {
        "all_1": "web",
        "all_2": "all_2",
        "all_3": "all_2",
        "web": "web",
    }
    assert sorted(policy.state_queries()) == ["all_2", "web"]
    targets = policy.targets(date(2025, 6, 1))
    assert {name: t.value for name, t in targets.items()} == {
        "availability.all_2": Decimal(90),
        "availability.web": Decimal(99),
    }


def test_the_digest_is_of_every_file() -> None:
    one = slo("web", raw("up"), "target: 0.99")
    digests = {
        parse_policy("", files).digest
        for files in ({}, {"a.yaml": one}, {"b.yaml": one}, {"a.yaml": one.replace("99", "98")})
    }
    assert len(digests) == 4
