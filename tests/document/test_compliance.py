"""The appendix: what each test makes of a report, what attestations add, and masked copies."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting import render
from reporting.document import Cited, Issue, build, content
from reporting.document.compliance import Held, assess, masked
from reporting.document.compliance.checks import CHECKS
from reporting.document.compliance.masking import pseudonym
from reporting.document.strategies import slug
from reporting.model import Count, Coverage, Finding, Missing, Ratio, Text, Value, Why
from reporting.page import (
    Attention,
    BarsChart,
    Checkpoint,
    Column,
    Difference,
    Document,
    Figure,
    Gap,
    HeatChart,
    HeatRow,
    Line,
    Section,
    Table,
    Verdict,
)
from reporting.periods import month_span
from reporting.policy import Policy
from reporting.policy.compliance import (
    CLAIM,
    FIGURES,
    Personal,
    Test,
    parse_compliance,
)
from reporting.policy.maintenance import parse_maintenance

from ..render.sample import document as sample_document
from .days import (
    GOOD,
    QUIET,
    counted,
    document,
    incidents,
    levels,
    objective,
    policy,
    sealed,
    stand,
    state,
    target,
    uptime,
)

ROOT = Path(__file__).parents[2]
MONTHLY = ROOT / "reports" / "sample" / "monthly" / "2025-11" / "r1" / "facts.json"
TEXT = (ROOT / "config" / "compliance.toml").read_text("utf-8")
MARCH = [date(2026, 3, n) for n in range(1, 32)]
FRAMEWORK = '[[framework]]\nid = "f"\ntitle = "Frame"\nedition = "2025"\n'
REGISTER = """
[[personal]]
id = "account"
what = "accounts"
columns = ["fills.account_id", "orders.account_id"]
cells = ["account"]
purpose = "books"
legal_basis = "Art. 6(1)(c)"
retention = "7 years"
internal = "shown"
audit = "shown"
external = "pseudonym"
"""


def control(test: str, more: str = "", id: str = "c") -> str:
    return (
        f'[[control]]\nid = "{id}"\nframework = "f"\nreference = "1"\nasks = "something"\n'
        f'owner = "somebody"\ntest = "{test}"\n{more}\n'
    )


def attested(on: str, until: str, result: str = "met") -> str:
    return (
        f'[[attestation]]\ncontrol = "c"\non = {on}\nby = "auditor"\nresult = "{result}"\n'
        f'evidence = "ticket 7"\nvalid_until = {until}\n'
    )


def mapped(text: str, of: Policy | None = None) -> Policy:
    of = of or policy(objective("x", GOOD), objective("web", state("web")))
    ids = {o.id for o in of.objectives}
    return replace(of, compliance=parse_compliance(FRAMEWORK + text, ids))


def facts(at: date, **changed: Value | Missing) -> dict[str, Value | Missing]:
    return {
        **QUIET,
        "service_levels": levels(at, counted("x", at, 99, 100)),
        "uptime": uptime(at, target("web")),
        "incidents": incidents(at),
        **changed,
    }


def month(**last: Any) -> list[Cited]:
    """March 2026, every day sealed at its end; ``last`` changes the last one."""
    more = [{"policy_digest": "p1"} for _ in MARCH]
    more[-1] = {"policy_digest": "p1", **last}
    return [sealed(at, facts(at), **m) for at, m in zip(MARCH, more, strict=True)]


def held(
    text: str,
    days: Sequence[Cited] | None = None,
    *,
    of: Policy | None = None,
    unsealed: Sequence[date] = (),
    **changed: Any,
) -> Held:
    """What the controls of ``text`` are tested on; ``changed`` fields of the document.

    The log is as long as there are days, unless ``changed`` has a checkpoint.
    """
    days = month() if days is None else days
    of = mapped(text, of)
    plain = document(
        days, replace(of, compliance=parse_compliance("")), unsealed=unsealed, kind="monthly"
    )
    log = plain.checkpoint.model_copy(update={"size": len(days)})
    plain = plain.model_copy(update={"checkpoint": log, **changed})
    standings = {s.id: s for s in _standings(of, days)}
    return Held(plain, days, unsealed, standings, of)


def _standings(of: Policy, days: Sequence[Cited]) -> Any:
    return stand(of.objectives, days).values() if of.objectives else ()


def answer(test: str, more: str = "", *args: Any, **changed: Any) -> tuple[str, str]:
    (found,) = assess(held(control(test, more), *args, **changed))
    return found.outcome, found.evidence


def section_with(*figures: Figure, id: str = "pnl", verdict: Verdict | None = None) -> Section:
    return Section(id=id, title=id.title(), figures=figures, verdict=verdict)


def figure(id: str, value: Any, verdict: Verdict | None = None) -> Figure:
    return Figure(id=id, label=id, value=value, verdict=verdict)


NO_DATA = Missing(why=Why.NO_DATA, detail="nothing came")


# The tests of the registry ----------------------------------------------------------------------


def test_every_test_that_a_mapping_can_name_is_there() -> None:
    assert tuple(CHECKS) == get_args(Test)


def test_a_month_with_every_day_has_them_all() -> None:
    assert answer("days_sealed") == ("met", "31 of 31 days sealed")


def test_a_day_that_is_not_sealed_is_a_miss() -> None:
    found = answer("days_sealed", "", month()[:-1], unsealed=MARCH[-1:])
    assert found == ("missed", "30 of 31 days sealed")


@pytest.mark.parametrize(
    ("hours", "result", "slowest"),
    [(24, "met", "24"), (25, "missed", "25"), ("24.01", "missed", "24.1")],
)
def test_days_are_sealed_within_hours_of_their_end(hours: Any, result: str, slowest: str) -> None:
    days = month()
    late = days[-1].sealed.window.end + timedelta(seconds=float(Decimal(hours) * 3600))
    days[-1] = Cited(days[-1].sealed, days[-1].digest, late)
    found, words = answer("sealed_within", "at_most = 24", days)
    assert found == result
    assert f"the slowest after {slowest} h" in words


def test_of_a_restated_day_nothing_tells_when_it_was_first_sealed() -> None:
    days = month(revision=2, reason="late trade")
    days[-1] = Cited(days[-1].sealed, "d", days[-1].sealed_at + timedelta(days=9))
    found = answer("sealed_within", "at_most = 24", days)
    assert found == (
        "met",
        "30 of 30 days in time, the slowest after 0 h; 1 restated or FLASH, not judged",
    )
    assert answer("sealed_within", "at_most = 24", days[-1:])[0] == "not assessed"


def test_a_gap_is_a_miss_and_is_named() -> None:
    gap = Gap(what="Uptime", when="2026-03-02", reason=NO_DATA)
    assert answer("no_gaps") == ("met", "0 gaps (Gaps)")
    assert answer("no_gaps", gaps=(gap,)) == ("missed", "1 gap: Uptime (Gaps)")


@pytest.mark.parametrize(("severity", "result"), [("error", "missed"), ("warning", "met")])
def test_an_error_among_the_findings_is_a_miss(severity: Any, result: str) -> None:
    finding = Finding(check="orphan", severity=severity, count=2, detail="")
    found, words = answer("no_errors", findings=(finding,))
    assert found == result
    assert f"1 {severity}," in words


def reading(rows: int, stated: str | None, query: str = "fills") -> Coverage:
    control = {} if stated is None else {"rows": stated, "quantity": "5"}
    return Coverage(source="ledger", query=query, query_digest="q", rows=rows, control=control)


@pytest.mark.parametrize(
    ("sources", "result", "words"),
    [
        ((reading(7, "7"), reading(3, None, "marks")), "met", "fills: 7 rows read, 7 by"),
        ((reading(7, "8"),), "missed", "fills 7 of 8"),
        ((reading(7, "7"), reading(1, "2", "orders")), "missed", "orders 1 of 2"),
        ((reading(3, None, "marks"),), "not assessed", "no source states a control total"),
        ((), "not assessed", "no source states a control total"),
    ],
)
def test_rows_are_compared_with_what_the_source_counts(
    sources: tuple[Coverage, ...], result: str, words: str
) -> None:
    found, said = answer("control_totals", "", month(sources=sources))
    assert found == result
    assert words in said


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ({}, ("not assessed", "no day was restated, so nothing was put to the test")),
        ({"revision": 2, "reason": "late trade"}, ("met", "1 of 1 restated days with a reason")),
        ({"revision": 2}, ("missed", "0 of 1 restated days with a reason")),
    ],
)
def test_a_restated_day_needs_a_reason(last: Any, expected: tuple[str, str]) -> None:
    assert answer("restatements_explained", "", month(**last)) == expected


def test_a_review_is_of_two_people() -> None:
    def found(*reviews: tuple[str, int]) -> tuple[str, str]:
        (made,) = assess(replace(held(control("signed_off")), reviews=reviews))
        return made.outcome, made.evidence

    assert found() == (
        "not assessed",
        "no daily report of the period was issued by the cut-off",
    )
    words = "daily reports signed off by two people at the cut-off"
    assert found(("daily/2026-01-02/r1", 2)) == ("met", f"1 of 1 {words}")
    assert found(("daily/2026-01-02/r1", 2), ("daily/2026-01-05/r2", 1)) == (
        "missed",
        f"1 of 2 {words}",
    )


def test_every_day_names_its_policy_and_how_many_there_were_is_said() -> None:
    assert answer("policy_named") == (
        "met",
        "31 of 31 sealed days name their policy; 1 version in force",
    )
    changed = answer("policy_named", "", month(policy_digest="p2"))
    assert changed == ("met", "31 of 31 sealed days name their policy; 2 versions in force")
    unnamed = answer("policy_named", "", month(policy_digest=""))
    assert unnamed == ("missed", "30 of 31 sealed days name their policy; 1 version in force")


def test_the_log_can_not_be_shorter_than_what_was_sealed() -> None:
    days = month(revision=2, reason="late trade")  # 32 revisions of 31 days
    assert answer("audit_logged", "", days)[0] == "missed"
    log = held(control("audit_logged"), days).document.checkpoint
    enough = log.model_copy(update={"size": 32})
    found, words = answer("audit_logged", "", days, checkpoint=enough)
    assert (found, "32 sealed revisions" in words) == ("met", True)


@pytest.mark.parametrize(
    ("value", "verdict", "more", "result"),
    [
        (Count(value=3), Verdict.MET, "", "met"),
        (Count(value=3), Verdict.MISSED, "", "missed"),
        (Count(value=3), Verdict.UNKNOWN, "", "not assessed"),
        (Count(value=3), None, "", "not assessed"),
        (Count(value=3), None, "at_most = 3", "met"),
        (Count(value=4), None, "at_most = 3", "missed"),
        (Count(value=2), None, "at_least = 3", "missed"),
        (NO_DATA, None, "at_most = 3", "not assessed"),
        (NO_DATA, Verdict.MET, "", "not assessed"),
        (Ratio(numerator=Decimal(19), denominator=Decimal(20)), None, "at_least = 95", "met"),
        (
            Ratio(numerator=Decimal(0), denominator=Decimal(0)),
            None,
            "at_least = 95",
            "not assessed",
        ),
        (Text(text="?"), None, "at_least = 95", "not assessed"),
    ],
)
def test_a_figure_keeps_its_own_target_or_the_mappings_bound(
    value: Any, verdict: Verdict | None, more: str, result: str
) -> None:
    section = section_with(figure("pnl.fills", value, verdict))
    asked = f'figures = ["pnl.fills"]\n{more}'
    found, words = answer("figures", asked, sections=(section,))
    assert found == result
    assert words.startswith("pnl.fills ")


def test_of_several_figures_the_worst_counts_and_one_that_is_not_there_is_not_assessed() -> None:
    asked = 'figures = ["marks.stale", "marks.missing"]\nat_most = 0'
    none, one = (section_with(figure("marks.stale", Count(value=n))) for n in (0, 1))
    found = answer("figures", asked, sections=(none,))
    assert found == ("not assessed", "marks.stale 0; marks.missing is not in this report")
    assert answer("figures", asked, sections=(one,))[0] == "missed"


def test_what_is_only_to_be_measured_needs_no_bound() -> None:
    asked = 'figures = ["pnl.fills"]'
    there = section_with(figure("pnl.fills", Count(value=1200, unit="fills")))
    assert answer("measured", asked, sections=(there,)) == ("met", "pnl.fills 1,200 fills")
    gone = section_with(figure("pnl.fills", NO_DATA))
    assert answer("measured", asked, sections=(gone,))[0] == "not assessed"
    assert answer("measured", asked, sections=())[0] == "not assessed"


def test_an_objective_answers_with_its_verdict_and_its_share() -> None:
    found = answer("objectives", 'objectives = ["web", "x"]')
    assert found == ("met", "web met, at least 100 %; x met, at least 99 %")
    at = MARCH[-1]
    low = [*month()[:-1], sealed(at, facts(at, service_levels=levels(at, counted("x", at, 8, 10))))]
    assert answer("objectives", 'objectives = ["web", "x"]', low)[0] == "missed"


def test_what_is_only_tracked_or_unknown_to_the_report_is_not_assessed() -> None:
    of = policy(objective("x", GOOD, goal=None), objective("web", state("web")))
    tracked = answer("objectives", 'objectives = ["x"]', of=of)
    assert tracked == ("not assessed", "x only tracked, at least 99 %")
    asked = held(control("objectives", 'objectives = ["x"]'))
    (found,) = assess(replace(asked, standings={}))
    assert (found.outcome, found.evidence) == ("not assessed", "x not in this report")


@pytest.mark.parametrize(
    ("verdict", "result"),
    [
        (Verdict.MET, "met"),
        (Verdict.MISSED, "missed"),
        (Verdict.UNKNOWN, "not assessed"),
        (None, "not assessed"),
    ],
)
def test_a_section_answers_with_its_verdict_and_names_what_was_short(
    verdict: Verdict | None, result: str
) -> None:
    figures = (
        figure("alerts.a", Count(value=1), Verdict.MET),
        figure("alerts.b", Count(value=2), Verdict.MISSED),
        figure("alerts.c", Count(value=2)),
    )
    section = section_with(*figures, id="alerts", verdict=verdict)
    found, words = answer("sections", 'sections = ["alerts"]', sections=(section,))
    assert found == result
    assert words == (
        "Alerts: 1 of 2 figures met; alerts.b missed" if verdict else "alerts: no target"
    )
    assert answer("sections", 'sections = ["var"]', sections=(section,))[0] == "not assessed"


def test_without_a_limit_no_limit_was_kept() -> None:
    assert answer("limits", sections=()) == ("not assessed", "no limit is set in the risk file")
    for breached, result in ((0, "met"), (1, "missed")):
        value = Count(value=breached, unit="of 4 limits")
        section = section_with(figure("var.limits_breached", value), id="var")
        expected = (result, f"var.limits_breached {breached} of 4 limits")
        assert answer("limits", sections=(section,)) == expected


@pytest.mark.parametrize(
    ("approved", "result"),
    [("2026-03-01", "met"), ("2026-03-11", "missed"), (None, "not assessed")],
)
def test_maintenance_is_approved_before_it_begins(approved: str | None, result: str) -> None:
    window = (
        '[[once]]\ntargets = ["web"]\nstart = 2026-03-10T01:00:00\nend = 2026-03-10T02:00:00\n'
        'zone = "UTC"\nreason = "disk"\napproved_by = "head"\n'
        f"approved_at = {approved}T00:00:00Z\n"
    )
    of = policy(objective("x", GOOD), objective("web", state("web")))
    planned = parse_maintenance(window if approved else "", {"web"})
    assert answer("maintenance_approved", of=replace(of, maintenance=planned))[0] == result


def test_the_register_answers_for_itself() -> None:
    for test in ("personal_register", "personal_masked"):
        assert answer(test) == ("not assessed", "the register of personal data is empty")
    (found,) = assess(held(control("personal_register") + REGISTER))
    assert found.evidence.startswith("2 ledger columns, each with purpose")
    open_ = REGISTER.replace('external = "pseudonym"', 'external = "shown"')
    for register, result in ((REGISTER, "met"), (open_, "missed")):
        (found,) = assess(held(control("personal_masked") + register))
        assert found.outcome == result


# Attestations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "outcome", "words"),
    [
        (
            attested("2026-01-10", "2026-06-30"),
            "attested",
            "2026-01-10 by auditor, valid until 2026-06-30: ticket 7",
        ),
        (attested("2026-01-10", "2026-03-31"), "attested", "ticket 7"),
        (attested("2026-01-10", "2026-03-30"), "not assessed", "expired 2026-03-30"),
        (attested("2026-04-01", "2026-06-30"), "attested", "ticket 7"),  # the cut-off's own day
        (attested("2026-04-02", "2026-06-30"), "not assessed", "no valid attestation"),
        (attested("2026-01-10", "2026-06-30", "missed"), "missed", "ticket 7"),
        (
            attested("2026-01-10", "2026-06-30", "missed") + attested("2026-02-10", "2026-06-30"),
            "attested",
            "2026-02-10",
        ),
    ],
)
def test_what_a_person_stands_for_counts_from_its_day_until_it_expires(
    given_: str, outcome: str, words: str
) -> None:
    (found,) = assess(held(control("attestation") + given_))
    assert found.outcome == outcome
    assert words in found.evidence


def test_an_attestation_fills_what_data_leaves_open_and_never_outweighs_it() -> None:
    given_ = attested("2026-01-10", "2026-06-30")
    assert [t.outcome for t in assess(held(control("limits") + given_, sections=()))] == [
        "attested"
    ]
    gap = Gap(what="Uptime", when="2026-03-02", reason=NO_DATA)
    assert [t.outcome for t in assess(held(control("no_gaps") + given_, gaps=(gap,)))] == ["missed"]


# The appendix -----------------------------------------------------------------------------------

SEVERAL = (
    control("days_sealed", id="a")
    + control("attestation", id="c")
    + control("attestation", id="b")
    + control("policy_named", id="d")
    + attested("2026-01-10", "2026-06-30")
    + REGISTER
)


def appendix(found: Document) -> Section:
    return next(s for s in found.sections if s.id == "compliance")


def test_the_summary_counts_every_control_once() -> None:
    found = document(month(policy_digest=""), mapped(SEVERAL), kind="monthly")
    section = appendix(found)
    assert section.summary == "1 supported by data, 1 attested, 1 missed, 1 not assessed."
    assert {f.id: f.value for f in section.figures} == {
        f"compliance.{name}": Count(value=1, unit="of 4")
        for name in ("met", "attested", "missed", "not_assessed")
    }
    assert [t.id for t in section.tables] == ["compliance_f", "compliance_personal"]
    assert all(t.whole for t in section.tables)
    assert [a.text for a in found.attention if a.section == "compliance"] == [
        "Compliance mapping: 1 control missed."
    ]


def test_every_framework_has_a_table_of_its_own_controls() -> None:
    second = FRAMEWORK.replace('"f"', '"g"') + control("no_gaps", id="e").replace('"f"', '"g"')
    third = FRAMEWORK.replace('"f"', '"empty"')
    found = appendix(document(month(), mapped(SEVERAL + second + third), kind="monthly"))
    ids = {t.id: [row[-1] for row in t.rows] for t in found.tables if t.id != "compliance_personal"}
    assert ids == {
        "compliance_f": [Text(text=c) for c in "acbd"],
        "compliance_g": [Text(text="e")],
    }


def test_the_appendix_has_no_say_in_the_reports_own_verdict() -> None:
    without = document(month(policy_digest=""), mapped(""), kind="monthly")
    found = document(month(policy_digest=""), mapped(SEVERAL), kind="monthly")
    assert (found.verdict, found.status, found.answer) == (
        without.verdict,
        without.status,
        without.answer,
    )
    assert appendix(found).verdict is None


@pytest.mark.parametrize("kind", ["daily", "weekly"])
def test_shorter_reports_have_no_appendix(kind: str) -> None:
    found = document(month()[-7:], mapped(SEVERAL), kind=kind)
    assert [s.id for s in found.sections if s.id == "compliance"] == []
    assert [
        s.id for s in document(month(), mapped(""), kind="monthly").sections if s.id == "compliance"
    ] == []


def test_a_report_that_is_made_again_later_is_the_same() -> None:
    def issued(at: datetime, size: int) -> Document:
        log = Checkpoint(size=size, chain_hash=f"{size:02x}")
        issue = Issue(issuer="Firm", base="USD", issued_at=at, checkpoint=log)
        text = SEVERAL + control("audit_logged", id="e")
        return build(month_span(MARCH[-1]), month(), (), (), mapped(text), issue)

    first = issued(datetime(2026, 4, 2, tzinfo=UTC), 40)
    again = issued(datetime(2027, 1, 1, tzinfo=UTC), 900)
    assert appendix(first) == appendix(again)
    assert content(first) == content(again)


def test_the_page_shows_every_control_with_its_outcome_and_claims_nothing() -> None:
    found = document(month(policy_digest=""), mapped(SEVERAL), kind="monthly")
    html = render.render_html(found).decode()
    part = html[html.index('id="s-compliance"') : html.index('id="gaps"')]
    words = re.sub(r"<[^>]+>", " ", part)
    shown = re.findall(r'class="verdict (\w+) nowrap"', part)
    assert shown == [
        "met",
        "met",
        "unknown",
        "missed",
    ]  # an attested one has met's shape and its own word
    for expected in ("31 of 31 days sealed", "attested", "not assessed", "ticket 7", "somebody"):
        assert expected in words
    assert CLAIM.findall(words.replace("Compliance mapping", "")) == []


# Our own mapping against the demo's month -------------------------------------------------------


@pytest.fixture(scope="module")
def november() -> Document:
    if not MONTHLY.is_file():
        pytest.skip("reports/sample is empty: run `make sample`")
    return Document.model_validate_json(MONTHLY.read_bytes())


def test_every_figure_that_a_control_may_name_is_in_the_demos_month(november: Document) -> None:
    there = {f.id for section in november.sections for f in section.figures}
    assert sorted(set(FIGURES) - there) == []


def test_every_cell_of_the_register_is_in_the_demos_month(november: Document) -> None:
    tables = [t for s in november.sections for t in s.tables]
    keys = {k for t in tables for c in t.columns for k in (c.key, f"{t.id}.{c.key}")}
    register = parse_compliance(re.sub(r"\[\[control\]\].*?(?=\n# --)", "", TEXT, flags=re.S))
    assert register.personal
    assert [c for entry in register.personal for c in entry.cells if c not in keys] == []


# Masked copies ----------------------------------------------------------------------------------

KEY = b"a key of the firm"
(ACCOUNT,) = parse_compliance(REGISTER).personal
AGENT = Personal.model_validate(
    {**ACCOUNT.model_dump(), "id": "agent", "columns": ("fills.agent",), "cells": ("agent",)}
)


def naming(account: str, agent: str) -> Document:
    """A document that says two names in every place that can hold words."""
    both = f"{account}, {agent}: 5"
    table = Table(
        id="pnl_by_x",
        title=f"By account, {account} first",
        note=both,
        columns=(
            Column(key="account", label="Account"),
            Column(key="agent", label="Agent"),
            Column(key="net", label="Net"),
        ),
        rows=((Text(text=account), Text(text=agent), Count(value=1)),),
        total=(Text(text=both), Text(text=""), Missing(why=Why.NO_DATA, detail=both)),
    )
    bars = BarsChart(
        id=f"c_{agent}_course",
        title=both,
        alt=f"at the end: {agent} 5 USD.",
        unit="USD",
        labels=(account,),
        bars=Line(label=agent, values=(Decimal(1),)),
    )
    heat = HeatChart(
        id="heat",
        title="t",
        alt=both,
        unit="%",
        labels=("9",),
        rows=(HeatRow(label=agent, values=(None,)),),
    )
    sections = (
        Section(
            id=f"strategies.agent-{agent}",
            title=f"Agent: {agent}",
            summary=both,
            notes=(both,),
            tables=(table,),
            charts=(bars, heat),
            figures=(
                Figure(id=f"agent.{agent}.net", label=both, value=Text(text=both), note=both),
            ),
        ),
    )
    gone = Missing(why=Why.NO_MARK, detail=both)
    base = sample_document()
    return base.model_copy(
        update={
            "sections": sections,
            "answer": both,
            "reason": both,
            "headline": (figure(f"agent.{agent}.net", gone),),
            "attention": (Attention(severity="note", text=both, section=sections[0].id),),
            "gaps": (Gap(what=both, when="2025-11-03", reason=gone),),
            "findings": (
                Finding(
                    check="c",
                    severity="note",
                    count=1,
                    detail=both,
                    samples=(f"x·{account}·USD", "stranger"),
                ),
            ),
            "differences": (
                Difference(
                    figure=f"t[{account}].net",
                    label=both,
                    before=gone,
                    after=Text(text=both),
                    reason=both,
                ),
            ),
            "citations": tuple(c.model_copy(update={"reason": both}) for c in base.citations),
        }
    )


#: Names that our own words do not hold: else what survives would say nothing.
NAMES = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40
).map(lambda words: f"Q{words}Ω")


def inside(name: str, document: Document) -> bool:
    """Whether a name stands anywhere in a document's JSON, in either of its spellings."""
    text = document.model_dump_json()
    return any(json.dumps(name, ensure_ascii=a)[1:-1] in text for a in (True, False))


@settings(max_examples=60, deadline=None)
@given(NAMES, NAMES)
def test_no_masked_name_survives_anywhere(account: str, agent: str) -> None:
    plain = naming(account, agent)
    assert inside(account, plain) and inside(agent, plain)
    found = masked(plain, "external", [ACCOUNT, AGENT], KEY)
    assert not inside(account, found)
    assert not inside(agent, found)
    assert "stranger" not in found.model_dump_json()
    # What is not a name is as it was, and the reader still finds a section from the first page.
    assert found.attention[0].section == found.sections[0].id
    assert found.sections[0].id.startswith("strategies.agent-")
    assert found.period == plain.period
    assert found.sections[0].tables[0].rows[0][2] == Count(value=1)


def test_a_name_is_the_same_pseudonym_everywhere_and_in_every_report_of_the_key() -> None:
    one, two = (masked(naming("MAIN-1", "ann"), "external", [ACCOUNT], key) for key in (KEY, b"k2"))
    name = pseudonym("account", "MAIN-1", KEY)
    assert one.sections[0].tables[0].rows[0][0] == Text(text=name)
    assert one.sections[0].tables[0].title == f"By account, {name} first"
    assert inside("ann", one)  # the register hides accounts only
    assert not inside(name, two)
    assert "external" in one.title


def test_who_may_read_names_reads_the_report_itself() -> None:
    plain = naming("MAIN-1", "ann")
    assert masked(plain, "audit", [ACCOUNT, AGENT], b"") is plain
    with pytest.raises(ValueError, match="key"):
        masked(plain, "external", [ACCOUNT], b"")


def test_a_name_that_no_table_has_is_masked_where_it_is_given() -> None:
    plain = naming("MAIN-1", "ann").model_copy(update={"reason": "a late trade of HEDGE-3"})
    assert inside("HEDGE-3", masked(plain, "external", [ACCOUNT], KEY))
    found = masked(plain, "external", [ACCOUNT], KEY, {"account": ["HEDGE-3"]})
    assert found.reason == f"a late trade of {pseudonym('account', 'HEDGE-3', KEY)}"


def test_a_short_name_is_a_word_and_no_part_of_one() -> None:
    plain = naming("A", "ann").model_copy(update={"reason": "A 10A of AAA, account A."})
    a = pseudonym("account", "A", KEY)
    assert masked(plain, "external", [ACCOUNT], KEY).reason == f"{a} 10A of AAA, account {a}."


def test_of_two_names_the_longer_one_is_meant() -> None:
    plain = naming("ann lee", "ann").model_copy(update={"reason": "ann lee, ann"})
    found = masked(plain, "external", [ACCOUNT, AGENT], KEY).reason
    assert found == f"{pseudonym('account', 'ann lee', KEY)}, {pseudonym('agent', 'ann', KEY)}"


def test_a_section_keeps_its_template_whatever_the_names_are() -> None:
    found = masked(naming("strategies", "ann"), "external", [ACCOUNT], KEY)
    assert found.sections[0].id == found.attention[0].section == "strategies.agent-ann"
    assert found.sections[0].tables[0].rows[0][0] != Text(text="strategies")


def test_a_name_is_masked_where_it_is_part_of_an_id() -> None:
    assert slug("Ann Lee") != "Ann Lee"
    plain = naming("MAIN-1", "Ann Lee")
    plain = plain.model_copy(
        update={"headline": (figure(f"agent.{slug('Ann Lee')}.net", NO_DATA),)}
    )
    found = masked(plain, "external", [AGENT], KEY)
    assert found.headline[0].id == f"agent.{pseudonym('agent', 'Ann Lee', KEY)}.net"


def test_a_name_that_stands_only_at_the_head_of_a_comparison_is_masked() -> None:
    columns = (Column(key="of_agent", label=""), Column(key=slug("Bo Li"), label="Bo Li"))
    side = Table(id="agents_compared", title="Side by side", columns=columns, rows=())
    plain = naming("MAIN-1", "ann")
    more = Section(id="strategies", title="Agents", tables=(side,), summary="Bo Li did well")
    found = masked(
        plain.model_copy(update={"sections": (*plain.sections, more)}), "external", [AGENT], KEY
    )
    name = pseudonym("agent", "Bo Li", KEY)
    assert found.sections[-1].summary == f"{name} did well"
    assert not inside("Bo Li", found)
    assert not inside(slug("Bo Li"), found)


def test_a_name_that_stands_only_in_a_table_of_several_splits_is_masked() -> None:
    columns = (Column(key="cut", label="By"), Column(key="key", label=""))
    rows = tuple((Text(text=by), Text(text=key)) for by, key in (("Agent", "cy"), ("Venue", "XY")))
    cuts = Table(id="fill_rate_cuts", title="Cuts", columns=columns, rows=rows)
    plain = naming("MAIN-1", "ann")
    more = Section(id="fill_rate", title="Fill rate", tables=(cuts,), summary="cy on XY")
    found = masked(
        plain.model_copy(update={"sections": (*plain.sections, more)}), "external", [AGENT], KEY
    )
    assert found.sections[-1].summary == f"{pseudonym('agent', 'cy', KEY)} on XY"


def test_a_long_name_is_masked_where_a_heading_cuts_it() -> None:
    long_ = "Ann Elisabeth Margarethe of Somewhere-upon-Water"
    plain = naming("MAIN-1", long_).model_copy(
        update={"answer": f"{long_[:31]}… and {long_[:19]}…"}
    )
    found = masked(plain, "external", [AGENT], KEY)
    name = pseudonym("agent", long_, KEY)
    assert found.answer == f"{name} and {name}"


def test_the_demos_month_can_be_masked_and_read(november: Document) -> None:
    found = masked(november, "external", [ACCOUNT, AGENT], KEY)
    text = found.model_dump_json()
    for name in ("MAIN-1", "FAST-2", "HEDGE-3", "strategic", "tactical"):
        assert re.search(rf"(?<![A-Za-z0-9]){name}(?![A-Za-z0-9])", november.model_dump_json())
        assert not re.search(rf"(?<![A-Za-z0-9]){name}(?![A-Za-z0-9])", text), name
    assert {f.id for f in found.sections[0].figures} == {f.id for f in november.sections[0].figures}
    assert b"MAIN-1" not in b"".join(render.render_tables(found).values())


def test_the_appendix_takes_no_rows_from_the_results(november: Document) -> None:
    """The results' tables show what they show without it; charts are left out, they take long."""
    results = [s for s in november.sections if s.id != "compliance"]
    own = november.model_copy(
        update={"sections": tuple(s.model_copy(update={"charts": ()}) for s in results)}
    )
    row = tuple(Text(text="met") for _ in range(7))
    keys = ("reference", "asks", "test", "result", "evidence", "owner", "control")
    table = Table(
        id="compliance_f",
        title="Frame",
        columns=tuple(Column(key=key, label=key) for key in keys),
        rows=(row,) * 60,
        whole=True,
    )
    more = Section(id="compliance", title="Compliance mapping", tables=(table,))
    both = [own, own.model_copy(update={"sections": (*own.sections, more)})]
    said = [re.findall(r"showing \d+ of [\d,]+ rows", render.render_html(d).decode()) for d in both]
    assert said[0] == said[1] != []
