"""The checklists: every line answered, with a reason, in the operator's order."""

from __future__ import annotations

from typing import Literal

import pytest

from reporting.analysis.checklist import (
    Line,
    Outcome,
    checklist_attention,
    checklist_section,
)
from reporting.model import Count, Text
from reporting.page import Verdict


def line(
    words: str,
    outcome: Outcome,
    because: str = "so it is",
    name: Literal["morning", "evening"] = "morning",
) -> Line:
    return Line(name, words.replace(" ", "_"), words, outcome, because, "uptime.grafana")


MORNING = [
    line("all services running", "fail", "Grafana was down for 12 minutes."),
    line("overnight alerts reviewed", "not measured", "no incidents source configured"),
    line("data quality valid", "pass", "99.98 % of the records were valid."),
]
EVENING = [line("backups completed", "pass", "the last is 3 hours old.", "evening")]


def test_each_list_is_a_table_in_its_own_order() -> None:
    section = checklist_section([*EVENING, *MORNING])

    assert [t.id for t in section.tables] == ["checklist_morning", "checklist_evening"]
    assert [row[0] for row in section.tables[0].rows] == [Text(text=x.words) for x in MORNING]
    assert section.tables[0].rows[0] == (
        Text(text="all services running"),
        Text(text="fail"),
        Text(text="Grafana was down for 12 minutes."),
        Text(text="uptime.grafana"),
    )
    # The figure's id is for who reads the CSV.
    assert [c.key for c in section.tables[0].columns if c.shown] == ["line", "outcome", "because"]


def test_how_many_pass_is_counted_and_the_worst_answer_is_the_verdict() -> None:
    morning, evening = checklist_section([*MORNING, *EVENING]).figures
    assert (morning.id, morning.value) == ("checklists.morning", Count(value=1, unit="of 3"))
    assert morning.verdict is Verdict.MISSED and morning.note == "1 failed, 1 not measured"
    assert (evening.id, evening.value) == ("checklists.evening", Count(value=1, unit="of 1"))
    assert evening.verdict is Verdict.MET and evening.note == ""
    (unseen,) = checklist_section(MORNING[1:]).figures
    assert unseen.verdict is Verdict.UNKNOWN


def test_the_summary_says_what_is_not_in_order() -> None:
    assert checklist_section([*MORNING, *EVENING]).summary == (
        "Not in order: all services running. 1 of 4 lines could not be answered."
    )
    assert checklist_section(MORNING[1:]).summary == (
        "Every line that could be answered passes. 1 of 2 lines could not be answered."
    )
    assert checklist_section(EVENING).summary == "Every line passes."
    assert checklist_section(MORNING[1:2]).summary == "None of the lines could be answered."


def test_a_list_that_nobody_configured_is_said_and_is_no_empty_table() -> None:
    section = checklist_section(MORNING)
    assert [t.id for t in section.tables] == ["checklist_morning"]
    assert section.notes == ("No evening checklist is configured.",)
    assert checklist_section([]).summary == "No checklist is configured."


def test_what_failed_needs_a_person() -> None:
    (found,) = checklist_attention([*MORNING, *EVENING])
    assert found.severity == "warning" and found.section == "checklists"
    assert found.text == (
        "Morning checklist, all services running: Grafana was down for 12 minutes."
    )


def test_an_answer_without_a_reason_is_refused() -> None:
    with pytest.raises(ValueError, match=r"morning\.x: 'pass' without a reason"):
        line("x", "pass", "")


def test_a_line_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="the evening checklist has backups_completed twice"):
        checklist_section([*EVENING, *EVENING])
