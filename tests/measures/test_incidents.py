"""Incidents told in minutes of a day: what was promised, what happened, and what carries on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reporting.measures import Context
from reporting.measures.incidents import (
    INCIDENTS,
    NO_SOURCE,
    Incident,
    IncidentsFact,
    Outcome,
    PriorityTarget,
    escalation,
    merge,
    of_day,
    resolution,
    response,
    section,
)
from reporting.model import Count, Coverage, Duration, Frame, Missing, Text, Window
from reporting.page import Figure, Section, Verdict
from reporting.periods import TradingDay, day_span, week_span

DAY = date(2025, 12, 5)
START = 1_764_892_800_000  # 2025-12-05T00:00Z
MINUTE = 60_000
DAY_MS = 24 * 60 * MINUTE
NO_COVERAGE = Coverage(source="incidents", query="told", query_digest="", rows=0)
P1 = PriorityTarget(
    id="P1",
    respond_ms=15 * MINUTE,
    escalate_ms=0,
    escalated_within_ms=5 * MINUTE,
    resolve_ms=60 * MINUTE,
)
P2 = PriorityTarget(
    id="P2",
    respond_ms=30 * MINUTE,
    escalate_ms=60 * MINUTE,
    escalated_within_ms=5 * MINUTE,
    resolve_ms=240 * MINUTE,
)


def told(name: str, opened: int, priority: str = "P1", **minutes: int) -> Incident:
    """An incident whose times are minutes after the day's start; absent ones did not happen."""
    times = {f"{key}_ms": START + value * MINUTE for key, value in minutes.items()}
    return Incident(
        source="hand",
        id=name,
        priority=priority,
        title=f"about {name}",
        opened_ms=START + opened * MINUTE,
        **times,
    )


def day(number: int = 0, days: int = 1) -> TradingDay:
    start = datetime(2025, 12, 5, tzinfo=UTC) + timedelta(days=number)
    window = Window(start=start, end=start + timedelta(days=days))
    return TradingDay(DAY + timedelta(days=number), "XNYS", "UTC", window, None, "told")


def frames(incidents: Sequence[Incident]) -> dict[str, Frame]:
    rows = [incident.model_dump() for incident in incidents]
    table = pd.DataFrame(rows, columns=list(Incident.model_fields), dtype=object)
    targets = pd.DataFrame([P1.model_dump(), P2.model_dump()])
    return {
        "incidents": Frame(table, NO_COVERAGE),
        "incident_targets": Frame(targets, NO_COVERAGE),
    }


def fact(*incidents: Incident, number: int = 0, days: int = 1) -> IncidentsFact:
    found = of_day(day(number, days), frames(incidents))
    assert isinstance(found, IncidentsFact)
    return found


def page(found: IncidentsFact | Missing, days: Sequence[Any] = (), weekly: bool = False) -> Section:
    span = week_span(DAY) if weekly else day_span(DAY)
    return section(found, days, Context(span=span, zone="UTC", base="USD", targets={}))


def figure(found: Section, name: str) -> Figure:
    return next(f for f in found.figures if f.id == f"incidents.{name}")


def listed(found: Section) -> list[dict[str, Any]]:
    """Every incident's row, by column."""
    table = next(t for t in found.tables if t.id == "incidents_list")
    return [{c.key: cell for c, cell in zip(table.columns, row, strict=True)} for row in table.rows]


END = START + DAY_MS


@pytest.mark.parametrize(
    ("incident", "outcomes"),
    [
        # To the minute of the promise is in time, a minute later is not.
        (told("a", 0, acknowledged=15, level_1=5, resolved=60), ("met", "met", "met")),
        (told("b", 0, acknowledged=16, level_1=6, resolved=61), ("missed", "missed", "missed")),
        # Nobody ever answered: the promise is broken although nothing was recorded.
        (told("c", 0), ("missed", "missed", "missed")),
        # The day ends four minutes after this one is opened: nothing is decided yet.
        (told("d", 24 * 60 - 4), ("open", "open", "open")),
        # Resolved by itself: no response is recorded, and no escalation was needed in time.
        (told("e", 0, resolved=4), ("not recorded", "not needed", "met")),
        (told("f", 0, acknowledged=2, resolved=30), ("met", "missed", "met")),
        # P2 is escalated after an hour only.
        (told("g", 0, "P2", acknowledged=30, resolved=59), ("met", "not needed", "met")),
        (told("h", 0, "P2", acknowledged=31, resolved=66), ("missed", "missed", "met")),
        (told("i", 0, "P2", level_2=65, resolved=241), ("not recorded", "met", "missed")),
    ],
)
def test_a_promise_is_judged_to_the_minute(incident: Incident, outcomes: tuple[str, ...]) -> None:
    target = {"P1": P1, "P2": P2}[incident.priority]

    judged = tuple(judge(incident, target, END) for judge in (response, escalation, resolution))

    assert judged == tuple(Outcome(each) for each in outcomes)


def test_the_means_are_over_what_was_acknowledged_and_resolved() -> None:
    found = page(
        fact(
            told("a", 0, acknowledged=10, resolved=40),
            told("b", 100, acknowledged=120, resolved=200),
            told("c", 300, acknowledged=306),
        )
    )

    assert figure(found, "mtta").value == Duration(ms=(10 + 20 + 6) * MINUTE // 3)
    assert figure(found, "mttr").value == Duration(ms=(40 + 100) * MINUTE // 2)
    assert figure(found, "count").value == Count(value=3)


def test_the_slowest_stands_for_its_priority() -> None:
    found = page(fact(told("a", 0, acknowledged=10, resolved=40), told("b", 100, acknowledged=120)))

    slowest = figure(found, "p1_response")
    assert slowest.value == Duration(ms=20 * MINUTE)
    assert slowest.verdict is Verdict.MISSED
    assert slowest.note == "1 met, 1 missed"
    assert slowest.target is not None and slowest.target.words() == "at most 15 min"
    # Of a priority without incidents the table says so.
    assert [f.id for f in found.figures if ".p" in f.id] == [
        "incidents.p1_response", "incidents.p1_escalation", "incidents.p1_resolution",
    ]  # fmt: skip
    assert [row[0] for row in found.tables[0].rows] == [Text(text="P1"), Text(text="P2")]


def test_an_incident_belongs_to_the_day_it_was_opened_and_carries_on() -> None:
    over = told("over", 23 * 60, "P2", acknowledged=23 * 60 + 5, resolved=26 * 60)
    first, second, third = (fact(over, number=n) for n in (0, 1, 2))

    # At the end of the first day it is still open, whatever was recorded later.
    assert [i.resolved_ms for i in first.opened] == [None]
    assert figure(page(first), "p2_resolution").verdict is Verdict.UNKNOWN
    assert (len(second.opened), [i.id for i in second.carried]) == (0, ["over"])
    assert figure(page(second), "p2_resolution").value == Duration(ms=3 * 60 * MINUTE)
    assert third.incidents == ()
    # Over both days it counts once, on the first.
    both = merge([(0, first), (1, second)])
    assert [i.id for i in both.opened] == ["over"]
    assert figure(page(both), "mttr").value == Duration(ms=3 * 60 * MINUTE)


def test_a_late_answer_is_missed_on_its_day_and_not_again_on_the_next() -> None:
    late = told("late", 23 * 60, "P2", acknowledged=23 * 60 + 45, resolved=26 * 60)

    first, second = (page(fact(late, number=n)) for n in (0, 1))

    assert figure(first, "p2_response").verdict is Verdict.MISSED
    assert "incidents.p2_response" not in {f.id for f in second.figures}
    assert figure(second, "p2_resolution").verdict is Verdict.MET


def test_what_is_not_done_is_as_slow_as_it_has_waited() -> None:
    found = page(
        fact(
            told("a", 0, "P2", acknowledged=10, level_1=62, resolved=100),
            told("b", 20 * 60, "P2", acknowledged=20 * 60 + 5),  # four hours before midnight
        )
    )

    resolution_, escalation_ = (figure(found, f"p2_{n}") for n in ("resolution", "escalation"))
    assert resolution_.value == Duration(ms=4 * 60 * MINUTE)
    assert resolution_.verdict is Verdict.UNKNOWN
    assert resolution_.note == "1 met, 1 open; 1 not done"
    assert escalation_.value == Duration(ms=4 * 60 * MINUTE)
    assert escalation_.note == "1 met, 1 missed; 1 not done"
    assert figure(found, "p2_response").value == Duration(ms=10 * MINUTE)
    # Never escalated: it waited until it was resolved.
    never = page(fact(told("c", 0, "P2", acknowledged=1, resolved=200)))
    assert figure(never, "p2_escalation").value == Duration(ms=200 * MINUTE)
    needless = page(fact(told("d", 0, "P2", acknowledged=1, resolved=50)))
    assert figure(needless, "p2_escalation").value == Text(text="not needed")


def test_what_happens_at_midnight_belongs_to_the_next_day() -> None:
    at_midnight = told("late", 24 * 60)
    resolved_then = told("ends", 0, resolved=24 * 60)

    assert fact(at_midnight).incidents == ()
    assert len(fact(at_midnight, number=1).opened) == 1
    assert fact(resolved_then).incidents[0].resolved_ms is None
    assert len(fact(resolved_then, number=1).carried) == 1


def test_without_a_source_nothing_is_claimed() -> None:
    found = of_day(day(), {**frames([]), "incidents": NO_SOURCE})  # type: ignore[dict-item]

    assert found == NO_SOURCE
    shown = page(NO_SOURCE)
    assert shown.verdict is Verdict.UNKNOWN
    assert "no incidents source configured" in shown.summary
    assert [(f.id, f.value) for f in shown.figures] == [("incidents.count", NO_SOURCE)]


def test_a_day_without_an_incident_is_a_good_day() -> None:
    shown = page(fact())

    assert shown.summary == "No incident was opened."
    assert shown.verdict is Verdict.MET
    assert figure(shown, "count").value == Count(value=0)


def test_a_missing_day_leaves_the_period_unknown() -> None:
    known = fact(told("a", 0, acknowledged=1, level_1=1, resolved=2))
    days = [(DAY, known), (DAY + timedelta(1), NO_SOURCE)]

    shown = page(merge([(DAY, known)]), days, weekly=True)

    assert shown.verdict is Verdict.UNKNOWN
    assert any("2025-12-06" in note for note in shown.notes)


def test_false_positives_are_counted_only_where_somebody_said_so() -> None:
    plain = told("a", 0)
    said = told("b", 0).model_copy(update={"false_positive": True})

    assert isinstance(figure(page(fact(plain)), "false_positives").value, Missing)
    both = figure(page(fact(plain, said)), "false_positives")
    assert both.value == Count(value=1)
    assert both.note == "of 1 that say whether they were"


def test_words_from_outside_stay_words() -> None:
    hostile = told("<script>", 0).model_copy(
        update={"title": "<img src=x onerror=alert(1)>", "cause": "{{ 7 * 7 }} =HYPERLINK(1)"}
    )

    (row,) = listed(page(fact(hostile)))

    assert row["what"] == Text(
        text="<img src=x onerror=alert(1)>. Cause: {{ 7 * 7 }} =HYPERLINK(1)."
    )


def test_every_incident_is_told_in_one_line_that_fits_the_page() -> None:
    stalled = told("INC-1", 60, acknowledged=63, level_1=62, level_2=80, resolved=70 + 60)
    stalled = stalled.model_copy(
        update={
            "alert": "EngineDown",
            "target": "execution_engine",
            "title": "Orders stalled.",
            "cause": "a full queue",
            "false_positive": True,
        }
    )
    shown = page(fact(stalled))

    (row,) = listed(shown)
    table = shown.tables[1]

    assert sum(c.shown for c in table.columns) == 9
    assert row["what"] == Text(text="Orders stalled. Cause: a full queue. A false positive.")
    assert row["target"] == Text(text="execution engine")
    assert row["acknowledged"] == Duration(ms=3 * MINUTE)
    assert row["resolved"] == Duration(ms=(70 + 60 - 60) * MINUTE)
    assert row["level"] == Text(text="2")
    assert row["verdict"] == Text(text="resolution missed")
    # What the page leaves out is in the CSV.
    assert [row[key] for key in ("response", "escalation", "resolution", "alert", "source")] == [
        Text(text=words) for words in ("met", "met", "missed", "EngineDown", "hand")
    ]


@pytest.mark.parametrize(
    ("incident", "words"),
    [
        (told("a", 0, acknowledged=1, level_1=1, resolved=30), "met"),
        (told("b", 0, "P2", acknowledged=1, resolved=30), "met"),  # no escalation was needed
        (told("c", 0), "response, escalation, resolution missed"),
        (told("d", 24 * 60 - 10), "escalation missed; response, resolution open"),
        (told("e", 0, resolved=4), "response not recorded"),
        (told("f", 0, ""), "no promise"),
    ],
)
def test_of_the_promises_those_that_were_not_kept_are_named(incident: Incident, words: str) -> None:
    (row,) = listed(page(fact(incident)))

    assert row["verdict"] == Text(text=words)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ({"acknowledged": -1}, "acknowledged_at is before opened_at"),
        ({"acknowledged": 5, "resolved": 4}, "acknowledged_at is after resolved_at"),
    ],
)
def test_an_incident_out_of_order_is_refused(times: Mapping[str, int], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        told("wrong", 0, **times)


@st.composite
def incidents(draw: st.DrawFn) -> list[Incident]:
    """A handful over three days, each with some of its moments in order."""
    found = []
    for number in range(draw(st.integers(0, 6))):
        steps = draw(st.lists(st.integers(0, 2000), min_size=3, max_size=3))
        opened = draw(st.integers(-1000, 3 * 1440 - 1))
        at = [opened + sum(steps[: n + 1]) for n in range(3)]
        kept = draw(st.integers(0, 3))
        times = dict(list(zip(("acknowledged", "level_1", "resolved"), at, strict=True))[:kept])
        found.append(told(f"i{number}", opened, draw(st.sampled_from(["P1", "P2", ""])), **times))
    return found


@settings(max_examples=60, deadline=None)
@given(incidents())
def test_merging_days_is_the_fact_of_all_rows(rows: list[Incident]) -> None:
    whole = fact(*rows, days=3)

    assert merge([(n, fact(*rows, number=n)) for n in range(3)]) == whole
    first_two = merge([(n, fact(*rows, number=n)) for n in range(2)])
    assert merge([(0, first_two), (2, fact(*rows, number=2))]) == whole


@settings(max_examples=25, deadline=None)
@given(incidents())
def test_a_sealed_fact_comes_back_the_same(rows: list[Incident]) -> None:
    found = fact(*rows)

    assert INCIDENTS.fact.model_validate_json(found.model_dump_json(), strict=False) == found
    assert page(found).id == "incidents"
