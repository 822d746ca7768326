"""The mapping file: what is in it, and what is said of one that is wrong."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from reporting.errors import UsageError, ValidationFailed
from reporting.pipeline import Service
from reporting.policy import Policy, parse_policy
from reporting.policy.compliance import CLAIM, Compliance, parse_compliance
from reporting.settings import load

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
TEXT = (CONFIG / "compliance.toml").read_text("utf-8")
CONTRACT = (ROOT / "sql" / "ledger" / "contract.sql").read_text("utf-8")

FRAMEWORK = """
[[framework]]
id = "sox"
title = "SOX"
edition = "AS 2201"
"""
CONTROL = """
[[control]]
id = "days"
framework = "sox"
reference = "Completeness"
asks = "every day is there"
owner = "finance control"
test = "days_sealed"
"""
ATTESTED = """
[[attestation]]
control = "days"
on = 2026-01-10
by = "auditor"
result = "met"
evidence = "ticket 7"
valid_until = 2026-06-30
"""
PERSONAL = """
[[personal]]
id = "account"
what = "accounts"
columns = ["fills.account_id"]
cells = ["account"]
purpose = "books"
legal_basis = "Art. 6(1)(c)"
retention = "7 years"
internal = "shown"
audit = "shown"
external = "pseudonym"
"""
WHOLE = FRAMEWORK + CONTROL + ATTESTED + PERSONAL


@pytest.fixture(scope="module")
def policy() -> Policy:
    return parse_policy(
        (CONFIG / "policy.toml").read_text("utf-8"),
        {f.name: f.read_text("utf-8") for f in (CONFIG / "objectives").glob("*.yaml")},
        (CONFIG / "operations.toml").read_text("utf-8"),
        compliance=TEXT,
    )


@pytest.fixture(scope="module")
def mapping(policy: Policy) -> Compliance:
    return policy.compliance


# What stands in our own file ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("framework", "areas"),
    [
        ("sox", {"Access", "Change", "Operations", "Completeness", "Accuracy"}),
        ("iso27001", {"A.5.33", "A.8.15", "A.8.16", "A.8.17", "A.8.32"}),
        (
            "gdpr",
            {"Art. 5(1)(c), 25", "Art. 5(1)(e)", "Art. 17", "Art. 30", "Art. 32(1)(b)"},
        ),
        ("pci_dss", {"10.2.1", "10.3.2", "10.4.1", "10.5.1", "10.6.1", "10.7.2"}),
        (
            "rts6",
            {"Art. 9", "Annex I, scale", "Art. 12", "Art. 13", "Art. 15", "Art. 16", "Art. 17(3)"},
        ),
        ("market_access", {"(c)(1)(i)", "(e)(1)", "15-09"}),
    ],
)
def test_every_framework_has_its_areas(
    mapping: Compliance, framework: str, areas: set[str]
) -> None:
    found = {c.reference for c in mapping.controls if c.framework == framework}
    assert areas <= found


def test_every_framework_has_controls_and_says_its_edition(mapping: Compliance) -> None:
    named = {c.framework for c in mapping.controls}
    assert named == {f.id for f in mapping.frameworks}
    assert "v4.0.1" in next(f.edition for f in mapping.frameworks if f.id == "pci_dss")
    assert ":2022" in next(f.edition for f in mapping.frameworks if f.id == "iso27001")


def test_our_file_attests_nothing_for_anybody(mapping: Compliance) -> None:
    assert mapping.attestations == ()


def test_the_register_names_columns_that_the_ledger_contract_has(mapping: Compliance) -> None:
    views = dict(
        re.findall(r"view ledger\.(\w+) as select\n(.*?)where false;", CONTRACT, flags=re.DOTALL)
    )
    columns = {
        f"{view}.{column}"
        for view, body in views.items()
        for column in re.findall(r" as (\w+)", body)
    }
    registered = {c for entry in mapping.personal for c in entry.columns}
    assert registered <= columns
    # Whoever has an account or gives orders is in the register, wherever the ledger names them.
    people = {c for c in columns if c.split(".")[1] in ("account_id", "agent")}
    assert people <= registered


def test_nothing_in_the_file_claims_that_a_rule_is_kept() -> None:
    assert CLAIM.findall(TEXT) == []


# What is in force when --------------------------------------------------------------------------


def test_a_later_line_of_a_control_takes_its_place_and_an_ended_one_is_gone() -> None:
    later = CONTROL.replace("every day", "each day") + "from = 2026-02-01\nuntil = 2026-03-31\n"
    found = parse_compliance(FRAMEWORK + CONTROL + later)
    asks = {
        day: [c.asks for c in found.controls_on(date.fromisoformat(day))]
        for day in ("2026-01-31", "2026-02-01", "2026-03-31", "2026-04-01")
    }
    assert asks == {
        "2026-01-31": ["every day is there"],
        "2026-02-01": ["each day is there"],
        "2026-03-31": ["each day is there"],
        "2026-04-01": [],
    }


def test_the_mapping_is_part_of_the_policy_and_of_its_digest() -> None:
    policy = parse_policy("", {}, compliance=WHOLE)
    assert [c.id for c in policy.compliance.controls] == ["days"]
    assert policy.digest != parse_policy("", {}).digest


def test_figures_of_alerts_and_objectives_with_a_promise_may_be_named(policy: Policy) -> None:
    alert = policy.operations.alerts[0].id
    text = CONTROL.replace('"days_sealed"', f'"measured"\nfigures = ["alerts.{alert}"]')
    assert parse_compliance(FRAMEWORK + text, alerts=[alert]).controls[0].figures
    text = CONTROL.replace('"days_sealed"', '"objectives"\nobjectives = ["web"]')
    assert parse_compliance(FRAMEWORK + text, objectives=["web"]).controls[0].objectives


def test_an_objective_that_is_only_tracked_answers_no_control(policy: Policy) -> None:
    assert "backup_status" in {o.id for o in policy.objectives}
    files = {f.name: f.read_text("utf-8") for f in (CONFIG / "objectives").glob("*.yaml")}
    text = CONTROL.replace('"days_sealed"', '"objectives"\nobjectives = ["backup_status"]')
    with pytest.raises(ValidationFailed, match="'backup_status'"):
        parse_policy("", files, compliance=FRAMEWORK + text)


# What is wrong is named ---------------------------------------------------------------------------


def using(test: str, more: str = "") -> str:
    return FRAMEWORK + CONTROL.replace('"days_sealed"', f'"{test}"\n{more}')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[", ["is not TOML"]),
        ("[[controls]]", ["'controls'", "[[control]]"]),
        ("control = 1", ["control is 1", "[[control]]"]),
        (using("days_counted"), ["control 'days'", "'days_counted'", "'days_sealed'"]),
        (using("figures", 'figures = ["pnl.nett"]'), ["'days'", "'pnl.nett'", "pnl.residual"]),
        (using("objectives", 'objectives = ["web"]'), ["'days'", "objective", "'web'"]),
        (using("sections", 'sections = ["weather"]'), ["'days'", "'weather'", "'alerts'"]),
        (using("figures"), ["'days'", "figures, which the test 'figures' needs"]),
        (using("sealed_within"), ["'days'", "at_most, which"]),
        (using("days_sealed", 'figures = ["pnl.residual"]'), ["'days'", "no figures"]),
        (using("no_gaps", "at_most = 3"), ["'days'", "no at_most"]),
        (using("sealed_within", "at_most = 1.5"), ["at_most is 1.5", '"12.5"']),
        (FRAMEWORK + CONTROL + "colour = 1", ["'days'", "colour"]),
        (FRAMEWORK + CONTROL.replace('owner = "finance control"\n', ""), ["'days': owner"]),
        (FRAMEWORK + CONTROL + CONTROL, ["'days from 0001-01-01'", "twice"]),
        (CONTROL, ["control 'days'", "framework", "'sox'"]),
        (
            FRAMEWORK + CONTROL.replace("every day is there", "reports are compliant"),
            ["'days'", "'compliant'"],
        ),
        (FRAMEWORK.replace('"SOX"', '"SOX certified"'), ["'sox'", "'certified'"]),
        (FRAMEWORK + CONTROL + ATTESTED.replace('"days"', '"nights"'), ["'nights'", "days"]),
        (
            FRAMEWORK + CONTROL + ATTESTED.replace("2026-06-30", "2026-01-09"),
            ["attestation 'days'", "valid_until"],
        ),
        (FRAMEWORK + CONTROL + ATTESTED.replace('"met"', '"fine"'), ["'days'", "'fine'"]),
        (WHOLE + PERSONAL.replace('id = "account"', 'id = "other"'), ["'fills.account_id'", "two"]),
        (WHOLE.replace("fills.account_id", "account_id"), ["'account'", "fills.account_id"]),
        (WHOLE.replace('external = "pseudonym"', 'external = "no"'), ["'account'", "external"]),
        (WHOLE.replace('external = "pseudonym"\n', ""), ["'account'", "external is not there"]),
    ],
)
def test_what_is_wrong_is_named_with_its_value_and_what_was_expected(
    text: str, said: list[str]
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_compliance(text)
    message = str(refused.value)
    assert message.startswith("compliance.toml")
    assert [words for words in said if words not in message] == [], message


def test_the_service_names_the_file_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(using("days_counted"))
    with pytest.raises(
        ValidationFailed, match=r"'days_counted'.*REPORTING_COMPLIANCE_FILE is .*mapping"
    ):
        _ = Service(load(compliance_file=path)).policy
    with pytest.raises(UsageError, match="REPORTING_COMPLIANCE_FILE"):
        _ = Service(load(compliance_file=tmp_path / "none.toml")).policy


def test_the_texts_above_are_right_but_for_what_they_plant() -> None:
    assert len(parse_compliance(WHOLE).personal) == 1
