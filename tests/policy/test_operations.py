"""The operations file: all that the operator wrote down, and mistakes that are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reporting.errors import ValidationFailed
from reporting.policy.operations import parse_operations

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "config" / "operations.toml").read_text("utf-8")
OPERATIONS = parse_operations(TEXT)


@pytest.fixture(scope="module")
def targets() -> dict[str, Any]:
    """What the operator set."""
    path = ROOT.parent / "shared" / "targets.yaml"
    if not path.is_file():
        pytest.skip("the operator's targets.yaml does not lie beside this checkout")
    found: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


def minutes(text: str) -> int:
    return int(text[:-1]) * {"m": 1, "h": 60, "d": 24 * 60}[text[-1]]


def test_every_alert_has_the_operators_severity_channels_and_response(
    targets: dict[str, Any],
) -> None:
    wanted = {
        (name, severity, tuple(targets["alerts"][severity]["channels"]), seconds)
        for severity in ("critical", "warning")
        for name, seconds in targets["alerts"][severity]["response_s"].items()
    }

    assert {(a.id, a.severity, a.channels, a.response_s) for a in OPERATIONS.alerts} == wanted
    assert len(wanted) == 10


def test_every_escalation_level_is_the_operators(targets: dict[str, Any]) -> None:
    wanted = [
        (int(name.removeprefix("level_")), of["from"], of["to"], of["who"], tuple(of["how"]))
        for name, of in targets["alerts"]["escalation_minutes"].items()
    ]

    found = [(e.level, e.from_min, e.to_min, e.who, e.how) for e in OPERATIONS.escalation]
    assert found == wanted


def test_every_priority_has_the_operators_times(targets: dict[str, Any]) -> None:
    wanted = {
        name: (
            of["meaning"],
            minutes(of["respond_within"]),
            minutes(of["escalate_after"]),
            minutes(of["resolve_within"]),
            of["inform"],
        )
        for name, of in targets["incidents"].items()
    }

    assert {
        p.id: (
            p.meaning,
            p.respond_within_min,
            p.escalate_after_min,
            p.resolve_within_min,
            p.inform,
        )
        for p in OPERATIONS.priorities
    } == wanted


def test_every_line_of_both_checklists_is_there_in_order(targets: dict[str, Any]) -> None:
    for name in ("morning", "evening"):
        lines = [check.words for check in OPERATIONS.checks if check.list == name]
        assert lines == targets["checklists"][name]


def test_every_improvement_goal_is_there_with_its_sign(targets: dict[str, Any]) -> None:
    wanted = targets["improvement_kpis_pct"]

    assert {i.id: int(i.goal_pct) for i in OPERATIONS.improvements} == wanted


def test_without_the_operators_file_the_numbers_of_rows_still_hold() -> None:
    assert [len(rows) for rows in (OPERATIONS.alerts, OPERATIONS.escalation)] == [5 + 5, 3]
    assert [len(rows) for rows in (OPERATIONS.priorities, OPERATIONS.checks)] == [3, 5 + 5]
    assert len(OPERATIONS.improvements) == 12


def test_an_alertname_is_the_id_in_camel_case() -> None:
    for alert in OPERATIONS.alerts:
        assert alert.alertname == "".join(word.title() for word in alert.id.split("_"))


def test_minutes_are_milliseconds_inside() -> None:
    first = OPERATIONS.priorities[0]

    assert (first.respond_ms, first.escalate_ms, first.resolve_ms) == (15 * 60_000, 0, 3_600_000)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("response_s = 30", "response_s = 0", ["alert 1.response_s is 0", "greater than 0"]),
        ("response_s = 30", 'response_s = "30"', ["alert 1.response_s is '30'", "integer"]),
        ("response_s = 30", "response = 30", ["alert 1.response_s is not there"]),
        ('"critical"\n', '"urgent"\n', ["alert 1.severity is 'urgent'", "'critical'"]),
        ('"agent_critical_failure"', '"trading_engine_down"', ["'trading_engine_down'", "twice"]),
        ('"AgentCriticalFailure"', '"TradingEngineDown"', ["'TradingEngineDown'", "twice"]),
        ('"P2"', '"P4"', ["priority 2.id is 'P4'", "'P1'"]),
        ("to_min = 15", "to_min = 5", ["escalation 2", "from_min must be before to_min"]),
        ("goal_pct = 15", "goal_pct = 15.5", ["improvement 1.goal_pct is 15.5", "text"]),
        ('figure = "slippage.USD"', "", ["improvement 2", "either a figure"]),
        ('figure = "slippage.USD"', 'figrue = "x"', ["improvement 2.figrue is 'x'"]),
        ("[[check]]", "[[chekc]]", ["unknown tables ['chekc']", "[[check]]"]),
        ("[[alert]]", "[alert", ["not TOML"]),
    ],
)
def test_a_mistake_is_named_with_its_field_and_what_was_expected(
    before: str, after: str, words: list[str]
) -> None:
    assert before in TEXT

    with pytest.raises(ValidationFailed) as refused:
        parse_operations(TEXT.replace(before, after, 1), "ops.toml")

    for word in ("ops.toml", *words):
        assert word in str(refused.value)


def test_a_baseline_needs_its_days_in_order() -> None:
    wrong = TEXT + "\nbaseline = {first = 2025-10-01, last = 2025-09-01}\n"

    with pytest.raises(ValidationFailed, match="first must not be after last"):
        parse_operations(wrong)
