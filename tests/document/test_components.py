"""Components: each with its budget, a strip of days, and what was recorded about its outages."""

from __future__ import annotations

from decimal import Decimal

import pytest

from reporting.document import Cited
from reporting.measures.incidents import NO_SOURCE
from reporting.measures.uptime import Stretch
from reporting.model import Missing, Ratio, Text
from reporting.page import CalendarChart, Document, Section, Verdict
from reporting.periods import days_between
from reporting.policy import Policy

from .days import (
    DAY,
    GONE,
    GOOD,
    HOUR,
    QUIET,
    counted,
    day,
    document,
    incident,
    incidents,
    levels,
    ms,
    objective,
    policy,
    sealed,
    section,
    state,
    table,
    target,
    uptime,
    words,
)

TODAY = day(0)
WEB = objective("web", state("web"), "0.9", title="Web shop", system="the_shop")
CACHE = objective("cache", state("cache"), None, title="Cache")
POLICY = policy(WEB, CACHE)


def down(at: int, hours: int, begin: int = 10, state_: str = "down") -> Stretch:
    """An outage ``at`` days after Monday, from the hour ``begin`` on."""
    start = ms(day(at)) + begin * HOUR
    return Stretch(start_ms=start, end_ms=start + hours * HOUR, state=state_)  # type: ignore[arg-type]


def cited(at: int, hours: int, **facts: object) -> Cited:
    """A day on which the web was down for ``hours`` from 10:00 on."""
    web = target(
        "web", down=hours * HOUR, stretches=[down(at, hours)] if hours else [], title="Web shop"
    )
    made = {**QUIET, "uptime": uptime(day(at), web, target("cache", title="Cache")), **facts}
    return sealed(day(at), made)  # type: ignore[arg-type]


def shown(days: list[Cited], of: Policy = POLICY, **given: object) -> Section:
    found: Document = document(days, of, **given)  # type: ignore[arg-type]
    return section(found, "uptime")


# The table ------------------------------------------------------------------------------------


def test_every_component_has_a_row_with_its_budget_and_a_tracked_one_has_none() -> None:
    found = table(shown([cited(0, 6)]), "components")
    assert [words(row["component"]) for row in found] == ["Web shop", "Cache"]
    web, cache = found
    # 18 of 24 hours up; a quarter of one of 31 days, of a tenth allowed: 1 - 2.5/31 is left.
    assert web["availability"] == Ratio(numerator=Decimal(750_000), denominator=Decimal(1_000_000))
    assert (words(web["system"]), words(web["promise"]), words(web["verdict"])) == (
        "the shop", "at least 90 %", "missed",
    )  # fmt: skip
    low, high = 9193, 9194
    assert 1 - Decimal("2.5") / 31 > Decimal(low) / 10_000
    assert 1 - Decimal("2.5") / 31 < Decimal(high) / 10_000
    left = web["left"].model_dump(mode="json")
    assert (left["low"]["numerator"], left["high"]["numerator"]) == (str(low), str(high))
    assert (words(cache["promise"]), words(cache["verdict"])) == ("tracked", "")
    assert [words(cache[key]) for key in ("left", "burn", "lasts")] == ["", "", ""]


def test_a_component_that_nothing_is_known_of_says_why() -> None:
    (web, _) = table(shown([sealed(TODAY, {**QUIET, "uptime": GONE})]), "components")
    assert (web["availability"], words(web["verdict"]), web["left"]) == (GONE, "unknown", GONE)


def test_a_policy_without_components_leaves_the_section_as_it_is() -> None:
    found = shown([cited(0, 6)], policy(objective("x", GOOD)))
    assert "components" not in {t.id for t in found.tables}


def composite() -> Policy:
    parts = (
        objective(f"whole_{n}", state(name), "0.9", composite=True, slo="whole", title="Whole: x")
        for n, name in ((1, "web"), (2, "cache"))
    )
    return policy(WEB, CACHE, *parts)


def test_a_composite_is_a_row_and_a_figure_and_its_parts_are_neither() -> None:
    found = shown([cited(0, 6)], composite())
    rows = table(found, "components")
    assert [words(row["component"]) for row in rows] == ["Web shop", "Cache", "Whole"]
    # (18 + 24)/48 hours are 87.5 %.
    (figure,) = [f for f in found.figures if f.id == "uptime.whole"]
    assert figure.value == Ratio(numerator=Decimal(875_000), denominator=Decimal(1_000_000))
    assert (figure.verdict, found.verdict) == (Verdict.MISSED, Verdict.MISSED)
    assert figure.target is not None
    assert figure.target.words() == "at least 90 %"
    strip = next(c for c in found.charts if isinstance(c, CalendarChart))
    assert [row.label for row in strip.rows] == ["Web shop"]


def test_a_composite_that_missed_is_the_sections_verdict_though_its_parts_are_only_tracked() -> (
    None
):
    parts = (
        objective(f"whole_{n}", state(name), "0.9", composite=True, slo="whole", title="Whole: x")
        for n, name in ((1, "web"), (2, "cache"))
    )
    tracked = objective("web", state("web"), None, title="Web shop")
    found = shown([cited(0, 6)], policy(tracked, CACHE, *parts))
    assert [f.id for f in found.figures if f.verdict is not None] == ["uptime.whole"]
    assert found.verdict is Verdict.MISSED


def test_a_composite_that_can_not_be_told_is_still_a_figure_and_no_row_of_the_strip() -> None:
    found = shown([sealed(TODAY, {**QUIET, "uptime": GONE})], composite())
    (figure,) = [f for f in found.figures if f.id == "uptime.whole"]
    assert (figure.value, figure.verdict) == (GONE, Verdict.UNKNOWN)
    strip = next(c for c in found.charts if isinstance(c, CalendarChart))
    assert [row.label for row in strip.rows] == ["Web shop"]


# The strip ------------------------------------------------------------------------------------


def strip_of(days: list[Cited], **given: object) -> CalendarChart:
    (found,) = [c for c in shown(days, **given).charts if c.id == "uptime_calendar"]  # type: ignore[arg-type]
    assert isinstance(found, CalendarChart)
    return found


def test_a_daily_report_shows_four_weeks_of_days_each_judged_by_itself() -> None:
    gone = sealed(day(-2), {**QUIET, "uptime": GONE})
    before = [cited(-30, 24), cited(-27, 6), cited(-3, 2), gone]
    (row,) = strip_of([cited(0, 0)], before=before).rows
    assert [c.day for c in row.cells] == list(days_between(day(-27), day(0)))
    by_day = {c.day: (c.low_pct, c.high_pct, c.verdict) for c in row.cells}
    # 6 of 24 hours down: 75 %; 2: 91.666… %, whose bounds are rounded away from each other.
    assert by_day.pop(day(-27)) == (Decimal(75), Decimal(75), Verdict.MISSED)
    assert by_day.pop(day(-3)) == (Decimal("91.666"), Decimal("91.667"), Verdict.MET)
    assert by_day.pop(day(0)) == (Decimal(100), Decimal(100), Verdict.MET)
    # The day without a source and all days that are not sealed are unknown, not good.
    assert set(by_day.values()) == {(None, None, Verdict.UNKNOWN)}
    assert len(by_day) == 28 - 3


def test_a_months_strip_has_each_of_its_days() -> None:
    days = [cited(n, 0) for n in range(-1, 30)]
    (row,) = strip_of(days, kind="monthly").rows
    assert [c.day for c in row.cells] == list(days_between(day(-1), day(29)))
    assert len(row.cells) == 31
    assert {c.verdict for c in row.cells} == {Verdict.MET}


def test_a_day_before_the_component_was_watched_is_unknown() -> None:
    other = sealed(day(-1), {**QUIET, "uptime": uptime(day(-1), target("cache"))})
    (row,) = strip_of([cited(0, 0)], before=[other]).rows
    assert [c.verdict for c in row.cells[-2:]] == [Verdict.UNKNOWN, Verdict.MET]


# Causes ---------------------------------------------------------------------------------------

#: The web is down from 10:00 to 12:00.
BEGIN, END = ms(TODAY) + 10 * HOUR, ms(TODAY) + 12 * HOUR


def cause(**given: object) -> str:
    fields: dict[str, object] = {
        "id": "I-1", "target": "web", "opened": BEGIN, "resolved": END, "cause": "A full disk.",
        **given,
    }  # fmt: skip
    found = incidents(TODAY, incident(**fields))  # type: ignore[arg-type]
    (row,) = table(shown([cited(0, 2, incidents=found)]), "uptime_stretches")
    return words(row["cause"])


@pytest.mark.parametrize("name", ["web", "Web shop", "WEB SHOP", "web_shop"])
def test_an_incident_may_name_a_component_by_id_or_title(name: str) -> None:
    assert cause(target=name) == "I-1: A full disk."


def test_an_incident_of_something_else_is_no_cause() -> None:
    assert cause(target="cache") == "none recorded"
    assert cause(target="") == "none recorded"


def test_an_incident_without_a_cause_gives_its_title() -> None:
    assert cause(cause="") == "I-1: Title of I-1"


@pytest.mark.parametrize(
    ("opened", "resolved", "overlaps"),
    [
        (BEGIN - HOUR, BEGIN, False),  # over when it began
        (BEGIN - HOUR, BEGIN + 1, True),
        (END - 1, END + HOUR, True),
        (END, END + HOUR, False),  # opened when it was over
        (BEGIN - 5 * DAY, None, True),  # still open
        (END + 1, None, False),
    ],
)
def test_only_an_incident_that_overlaps_the_outage_is_its_cause(
    opened: int, resolved: int | None, overlaps: bool
) -> None:
    found = cause(opened=opened, resolved=resolved)
    assert found == ("I-1: A full disk." if overlaps else "none recorded")


def test_every_incident_that_overlaps_is_listed() -> None:
    both = incidents(
        TODAY,
        incident("I-1", "web", BEGIN, END, cause="One."),
        incident("I-2", "web", BEGIN + 1, None, cause="Two."),
    )
    (row,) = table(shown([cited(0, 2, incidents=both)]), "uptime_stretches")
    assert words(row["cause"]) == "I-1: One.; I-2: Two."


@pytest.mark.parametrize("why", [NO_SOURCE, GONE], ids=["none configured", "away"])
def test_without_incidents_no_cause_is_claimed(why: Missing) -> None:
    (row,) = table(shown([cited(0, 2, incidents=why)]), "uptime_stretches")
    assert row["cause"] == Text(text="not measured")


def test_components_are_judged_beside_the_other_service_levels() -> None:
    facts = {"service_levels": levels(TODAY, counted("x", TODAY, 1, 1))}
    found = document([cited(0, 6, **facts)], policy(WEB, CACHE, objective("x", GOOD)))
    kept = section(found, "service_levels")
    assert kept.summary == "1 of 2 promises kept; missed: Web shop."
    # The section's own verdict is of what it shows; the components' is the uptime section's.
    assert (kept.verdict, section(found, "uptime").verdict) == (Verdict.MET, Verdict.MISSED)
    assert found.verdict is Verdict.MISSED
