"""Alerts told in seconds of a day: when they fired, who was told when, and what that proves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.measures import Context
from reporting.measures.alerts import (
    ALERTS,
    MAX_EPISODES,
    AlertsFact,
    Episode,
    flapping,
    merge,
    of_day,
    pairs,
    responses,
    section,
)
from reporting.model import Count, Coverage, Duration, Frame, Missing, Number, Ratio, Text, Why
from reporting.model import Window as Span
from reporting.page import Figure, Section, TimelineChart, Verdict
from reporting.periods import TradingDay, day_span, week_span

DAY = date(2025, 12, 5)
START = 1_764_892_800_000  # 2025-12-05T00:00Z
DAY_S = 86_400
NO_COVERAGE = Coverage(source="prometheus", query="told", query_digest="", rows=0)
RULES = [
    ("engine_down", "EngineDown", "critical", "pagerduty,slack", 30),
    ("breach", "Breach", "critical", "pagerduty,slack", 15),
    ("slow", "Slow", "warning", "slack", 300),
]
#: Alertmanager was looked at all the time.
LOOKED = [("pagerduty", 4 * DAY_S), ("slack", 4 * DAY_S)]


@dataclass(frozen=True)
class Fired:
    """One stretch of firing, in seconds of the first day."""

    alert: str
    active: int
    fired: int
    until: int
    begins: bool = True
    labels: str = "{}"


def day(number: int = 0, days: int = 1) -> TradingDay:
    start = datetime(2025, 12, 5, tzinfo=UTC) + timedelta(days=number)
    window = Span(start=start, end=start + timedelta(days=days))
    return TradingDay(DAY + timedelta(days=number), "XNYS", "UTC", window, None, "told")


def frames(
    fired: Sequence[Fired],
    rises: Sequence[tuple[str, int, int]] = (),
    incidents: Sequence[Mapping[str, Any]] | None = None,
    looked: Sequence[tuple[str, int]] = LOOKED,
    unseen: Sequence[str] = (),
) -> dict[str, Frame]:
    rules = pd.DataFrame(
        [(i, n, i.replace("_", " "), s, c, r, i not in unseen) for i, n, s, c, r in RULES],
        columns=["id", "alertname", "title", "severity", "channels", "response_s", "seen"],
    )
    names = {rule[0]: rule[1] for rule in RULES}
    rows = [
        (names[f.alert], f.labels, ms(f.active), f.begins, ms(f.fired), ms(f.until)) for f in fired
    ]
    columns = ["alertname", "labels", "active_at_ms", "begins", "firing_from_ms"]
    counters = [(c, ms(after), ms(by), 1) for c, after, by in rises]
    counters += [(c, ms(until), ms(until), 0) for c, until in looked]
    found = {
        "alerts": rules,
        "alert_episodes": pd.DataFrame(rows, columns=[*columns, "firing_to_by_ms"]),
        "notifications": pd.DataFrame(
            counters, columns=["integration", "after_ms", "by_ms", "count"]
        ),
    }
    if incidents is not None:
        found["incidents"] = pd.DataFrame(
            incidents, columns=["alert", "opened_ms", "notified_ms", "false_positive"], dtype=object
        )
    return {name: Frame(table, NO_COVERAGE) for name, table in found.items()}


def ms(second: int) -> int:
    return START + second * 1000


def fact(*given: Any, number: int = 0, days: int = 1, **named: Any) -> AlertsFact:
    found = of_day(day(number, days), frames(*given, **named))
    assert isinstance(found, AlertsFact)
    return found


def page(found: AlertsFact | Missing, days: Sequence[Any] = (), weekly: bool = False) -> Section:
    span = week_span(DAY) if weekly else day_span(DAY)
    return section(found, days, Context(span=span, zone="UTC", base="USD", targets={}))


def figure(found: Section, name: str) -> Figure:
    return next(f for f in found.figures if f.id == f"alerts.{name}")


def only(found: AlertsFact) -> Episode:
    (episode,) = found.episodes
    return episode


DOWN = Fired("engine_down", active=1000, fired=1005, until=1305)


@pytest.mark.parametrize(
    ("rises", "after", "by", "verdict"),
    [
        # Both bounds within 30 s of 1000; the rise can't be before the alert fired.
        ([("pagerduty", 1000, 1015)], 1005, 1015, Verdict.MET),
        ([("pagerduty", 1015, 1030)], 1015, 1030, Verdict.MET),
        # The promise ends within the interval in which the counter rose.
        ([("pagerduty", 1025, 1040)], 1025, 1040, Verdict.UNKNOWN),
        ([("pagerduty", 1035, 1050)], 1035, 1050, Verdict.MISSED),
        # Any of its channels will do, the first one counts.
        ([("pagerduty", 1045, 1060), ("slack", 1010, 1025)], 1010, 1025, Verdict.MET),
        # What rose before it fired was another's.
        ([("slack", 990, 1005), ("slack", 1035, 1050)], 1035, 1050, Verdict.MISSED),
    ],
)
def test_the_counters_bound_the_first_notification(
    rises: list[tuple[str, int, int]], after: int, by: int, verdict: Verdict
) -> None:
    episode = only(fact([DOWN], rises))

    assert (episode.told_after_ms, episode.told_by_ms) == (ms(after), ms(by))
    assert (episode.told_from, episode.verdict) == ("counters", verdict)


def test_nobody_told_at_all_is_missed_as_soon_as_the_promise_has_run_out() -> None:
    nobody = only(fact([DOWN], looked=[("pagerduty", 1031), ("slack", 1031)]))
    still_time = only(fact([DOWN], looked=[("pagerduty", 1029), ("slack", 1029)]))

    assert (nobody.told_by_ms, nobody.verdict) == (None, Verdict.MISSED)
    assert still_time.verdict is Verdict.UNKNOWN


def test_without_counters_and_incidents_nothing_is_known() -> None:
    episode = only(fact([DOWN], looked=[]))

    assert (episode.told_after_ms, episode.told_by_ms, episode.told_from) == (None, None, "")
    assert episode.verdict is Verdict.UNKNOWN


def test_the_incidents_own_time_wins_over_the_counters() -> None:
    opened = {"alert": "engine_down", "opened_ms": ms(1006), "notified_ms": ms(1012)}

    episode = only(fact([DOWN], [("pagerduty", 1025, 1040)], [opened]))

    assert (episode.told_after_ms, episode.told_by_ms) == (ms(1012), ms(1012))
    assert (episode.told_from, episode.verdict) == ("incident", Verdict.MET)


@pytest.mark.parametrize(
    "incident",
    [
        {"alert": "breach", "opened_ms": ms(1006), "notified_ms": ms(1012)},  # another alert's
        {"alert": "engine_down", "opened_ms": ms(900), "notified_ms": ms(1012)},  # opened before
        {"alert": "engine_down", "opened_ms": ms(1306 + 900), "notified_ms": ms(2300)},  # after
        {"alert": "engine_down", "opened_ms": ms(1006), "notified_ms": None},
    ],
)
def test_an_incident_that_is_not_of_this_firing_tells_nothing(incident: dict[str, Any]) -> None:
    episode = only(fact([DOWN], [("pagerduty", 1010, 1025)], [incident]))

    assert episode.told_from == "counters"


def test_an_incident_of_the_next_firing_is_not_of_this_one() -> None:
    again = Fired("engine_down", active=1400, fired=1405, until=1500)
    opened = {"alert": "EngineDown", "opened_ms": ms(1406), "notified_ms": ms(1410)}

    first, second = fact([DOWN, again], [("pagerduty", 1010, 1025)], [opened]).episodes

    assert (first.told_from, second.told_from) == ("counters", "incident")


def test_a_rise_that_may_be_another_alerts_is_no_upper_bound() -> None:
    breach = Fired("breach", active=1002, fired=1002, until=1200)
    rises = [("pagerduty", 1005, 1020)]

    found = {e.alert: e for e in fact([DOWN, breach], rises).episodes}

    assert found["engine_down"].told_by_ms is None
    assert found["engine_down"].verdict is Verdict.UNKNOWN
    # Not before 1005 is still known, and that is enough to have broken a promise of 15 s at 1020.
    late = {e.alert: e for e in fact([DOWN, breach], [("pagerduty", 1050, 1065)]).episodes}
    assert {name: e.verdict for name, e in late.items()} == {
        "engine_down": Verdict.MISSED,
        "breach": Verdict.MISSED,
    }


def test_an_alert_of_another_channel_explains_nothing() -> None:
    slow = Fired("slow", active=1002, fired=1002, until=1200)

    found = {e.alert: e for e in fact([DOWN, slow], [("pagerduty", 1010, 1025)]).episodes}

    assert found["engine_down"].told_by_ms == ms(1025)


@pytest.mark.parametrize(("ended", "by"), [(700, None), (600, 1025)])
def test_that_another_one_is_over_is_told_within_six_minutes(ended: int, by: int | None) -> None:
    before = Fired("slow", active=100, fired=105, until=ended, labels='{"job":"a"}')
    slow = Fired("slow", active=1000, fired=1005, until=1300)

    found = fact([before, slow], [("slack", 1010, 1025)])

    assert found.episodes[1].told_by_ms == (None if by is None else ms(by))


def test_the_same_alert_elsewhere_may_be_what_was_told_of() -> None:
    here = Fired("slow", active=1000, fired=1005, until=1300, labels='{"job":"a"}')
    there = Fired("slow", active=1002, fired=1008, until=1300, labels='{"job":"b"}')

    found = fact([here, there], [("slack", 1010, 1025)])

    assert [e.told_by_ms for e in found.episodes] == [None, None]


def test_one_that_has_been_firing_for_long_does_not_hide_others() -> None:
    for_days = Fired("slow", active=-50_000, fired=-49_000, until=80_000)
    slow = Fired("slow", active=1000, fired=1005, until=1300, labels='{"job":"risk"}')

    found = {e.labels: e for e in fact([for_days, slow], [("slack", 1010, 1025)]).episodes}

    assert found['{"job":"risk"}'].told_by_ms == ms(1025)


# -- days ----------------------------------------------------------------------------------------


def test_a_firing_over_midnight_is_one_episode_of_its_first_day() -> None:
    over = Fired("slow", active=DAY_S - 700, fired=DAY_S - 600, until=DAY_S + 900)
    rises = [("slack", DAY_S - 590, DAY_S - 575)]
    first, second = (fact([over], rises, number=n) for n in (0, 1))

    assert [(a.begun, a.firing_ms) for a in first.alerts if a.id == "slow"] == [(1, 600_000)]
    assert [(a.begun, a.firing_ms) for a in second.alerts if a.id == "slow"] == [(0, 900_000)]
    assert (only(first).ongoing, only(second).begun) == (True, False)
    assert page(second).summary == "No alert began to fire."
    both = merge([(0, first), (1, second)])
    assert only(both).firing_ms == (600 + 900) * 1000
    assert only(both).verdict is Verdict.MET
    assert not only(both).ongoing


def test_a_gap_while_nobody_looked_is_no_second_firing() -> None:
    parts = [
        Fired("slow", active=100, fired=200, until=500),
        Fired("slow", active=100, fired=800, until=900, begins=False),
    ]

    episode = only(fact(parts))

    assert episode.firing_ms == (300 + 100) * 1000
    assert episode.fired_ms == ms(200)


def test_a_firing_whose_beginning_was_not_seen_is_not_counted_as_one() -> None:
    found = fact([Fired("slow", active=-9000, fired=800, until=900, begins=False)])

    assert [(a.begun, a.firing_ms) for a in found.alerts if a.id == "slow"] == [(0, 100_000)]
    assert only(found).verdict is None


def test_days_together_keep_no_more_than_one_day_may() -> None:
    each = MAX_EPISODES * 3 // 4
    many = [
        Fired("slow", at, at, at + 5)
        for start in (0, DAY_S)
        for at in range(start, start + each * 10, 10)
    ]

    both = merge([(n, fact(many, number=n)) for n in (0, 1)])

    assert len(both.episodes) == MAX_EPISODES
    assert both == fact(many, days=2)


def test_totals_count_what_the_list_does_not_keep() -> None:
    many = [Fired("slow", at, at, at + 5) for at in range(0, (MAX_EPISODES + 3) * 10, 10)]

    found = fact(many)

    assert len(found.episodes) == MAX_EPISODES
    assert [a.begun for a in found.alerts if a.id == "slow"] == [MAX_EPISODES + 3]
    assert any("3 firings are in the totals" in note for note in page(found).notes)


# -- what it means -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "most"),
    [
        ([], 0),
        ([0, 3600], 0),
        ([0, 1800, 3600], 3),
        ([0, 1800, 3601], 0),
        ([0, 600, 4000, 4100, 4200, 4300], 4),
    ],
)
def test_three_firings_within_an_hour_are_flapping(seconds: list[int], most: int) -> None:
    assert flapping([second * 1000 for second in seconds]) == most


def test_alerts_that_overlap_or_begin_close_together_are_a_pair() -> None:
    fired = [
        DOWN,  # 1005 to 1305
        Fired("slow", 1300, 1300, 1500),  # overlaps
        Fired("engine_down", 5000, 5000, 5010),
        Fired("slow", 5310, 5310, 5400),  # begins 310 s later and after its end
        Fired("breach", 5309, 5309, 5310),
    ]

    found = pairs(fact(fired).episodes)

    assert [(p.rarer, p.other, p.together, p.episodes) for p in found] == [
        ("breach", "slow", 1, 1),
        ("engine_down", "slow", 1, 2),
    ]


def test_the_page_answers_for_every_alert() -> None:
    breach = Fired("breach", active=3000, fired=3000, until=3060)
    rises = [("pagerduty", 1005, 1020), ("pagerduty", 3030, 3045)]

    shown = page(fact([DOWN, breach], rises))

    assert figure(shown, "engine_down").value == Duration(ms=20_000)
    assert figure(shown, "engine_down").verdict is Verdict.MET
    assert figure(shown, "breach").verdict is Verdict.MISSED
    assert figure(shown, "slow").value == Text(text="did not fire")
    assert figure(shown, "slow").verdict is None
    assert figure(shown, "fired").value == Count(value=2)
    # The slowest critical one, at its later bound: 3045 - 3000.
    assert figure(shown, "response_s").value == Number(value=Decimal(45), unit="s")
    assert shown.verdict is Verdict.MISSED
    (chart,) = shown.charts
    assert isinstance(chart, TimelineChart)
    assert [(s.state, s.start_ms, s.end_ms) for s in chart.rows[0].spans] == [
        ("up", ms(0), ms(3000)),
        ("down", ms(3000), ms(3060)),
        ("up", ms(3060), ms(DAY_S)),
    ]


def test_one_unknown_critical_response_leaves_the_slowest_unknown() -> None:
    shown = page(fact([DOWN], looked=[]))

    assert isinstance(figure(shown, "response_s").value, Missing)
    assert shown.verdict is Verdict.UNKNOWN


def test_false_positives_need_incidents() -> None:
    false = {"alert": "breach", "opened_ms": ms(10), "notified_ms": None, "false_positive": True}
    other = {"alert": "breach", "opened_ms": ms(20), "notified_ms": None, "false_positive": False}

    without = figure(page(fact([])), "false_positives").value
    assert isinstance(without, Missing) and without.why is Why.NOT_MEASURED
    assert without.detail == "no incidents source configured"
    assert figure(page(fact([], [], [false, other])), "false_positives").value == Count(value=1)
    unsaid = {**other, "false_positive": None}
    assert isinstance(figure(page(fact([], [], [unsaid])), "false_positives").value, Missing)


def test_an_alert_that_never_left_a_trace_is_named() -> None:
    shown = page(fact([], unseen=["breach"]))

    assert any("Never seen" in note and "breach" in note for note in shown.notes)
    assert shown.summary == "No alert fired."


def test_what_alertmanager_holds_back_is_shown_and_the_last_day_counts() -> None:
    held = pd.DataFrame(
        [("Slow", "{}", "silenced", ms(5), "ann: known (until later)")],
        columns=["alertname", "labels", "state", "since_ms", "because"],
    )
    given = frames([DOWN]) | {"alertmanager": Frame(held, NO_COVERAGE)}
    first, second = of_day(day(), given), fact([DOWN], number=1)
    assert isinstance(first, AlertsFact)

    assert [t.id for t in page(first).tables if t.id == "alerts_held"] == ["alerts_held"]
    assert merge([(0, first), (1, second)]).held == second.held
    assert isinstance(second.held, Missing)


def test_a_source_that_is_gone_is_gone() -> None:
    gone = Missing(why=Why.UNREACHABLE, detail="no answer")
    found = of_day(day(), {**frames([]), "notifications": gone})  # type: ignore[dict-item]

    assert found == gone
    assert page(gone).verdict is Verdict.UNKNOWN
    assert figure(page(gone), "response_s").value == gone


def test_improvement_reads_sums_and_counts() -> None:
    breach = Fired("breach", active=3000, fired=3000, until=3060)
    found = fact([DOWN, breach], [("pagerduty", 1005, 1020), ("pagerduty", 3030, 3045)], [])

    assert responses(found, "response_s") == Ratio(
        numerator=Decimal((1020 - 1000) + (3045 - 3000)), denominator=Decimal(2)
    )
    assert responses(found, "fired") == Ratio(numerator=Decimal(2), denominator=Decimal(1))
    assert responses(found, "false_positives") == Ratio(
        numerator=Decimal(0), denominator=Decimal(1)
    )
    assert isinstance(responses(fact([]), "response_s"), Missing)


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    """Firings over three days, each some time after its condition held, and rises around them."""
    fired, rises, incidents = [], [], []
    for alert in ("engine_down", "breach", "slow"):
        at = draw(st.integers(-20_000, 50_000))
        for number in range(draw(st.integers(0, 4))):
            begins = at + draw(st.integers(0, 300))
            until = begins + draw(st.integers(60, 100_000))
            fired.append(Fired(alert, at, begins, until, labels=f'{{"n":"{number % 2}"}}'))
            if draw(st.booleans()):
                told = begins + draw(st.integers(0, 1000))
                rises.append((draw(st.sampled_from(["slack", "pagerduty"])), told - 15, told))
            if draw(st.booleans()):
                notified = draw(st.none() | st.integers(0, 500).map(lambda s, b=begins: ms(b + s)))
                incidents.append(
                    {
                        "alert": alert,
                        "opened_ms": ms(begins),
                        "notified_ms": notified,
                        "false_positive": draw(st.sampled_from([None, True, False])),
                    }
                )
            at = until + draw(st.integers(1, 60_000))
    return {"fired": fired, "rises": sorted(rises, key=lambda r: r[2]), "incidents": incidents}


@settings(max_examples=60, deadline=None)
@given(histories())
def test_merging_days_is_the_fact_of_all_rows(history: dict[str, Any]) -> None:
    whole = fact(**history, days=3)
    days = [(n, fact(**history, number=n)) for n in range(3)]

    assert merge(days) == whole
    assert merge([(0, merge(days[:2])), days[2]]) == whole


@settings(max_examples=20, deadline=None)
@given(histories())
def test_a_sealed_fact_comes_back_the_same(history: dict[str, Any]) -> None:
    found = fact(**history)

    assert ALERTS.fact.model_validate_json(found.model_dump_json(), strict=False) == found
    days = [(DAY, found), (DAY + timedelta(1), fact(**history, number=1))]
    shown = page(merge(days), days, weekly=True)
    assert [len(f.series) for f in shown.figures] == [2] * len(shown.figures)
