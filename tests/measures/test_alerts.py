"""Alerts told in seconds of a day: when they fired, who was told when, and what that proves."""

from __future__ import annotations

from collections.abc import Sequence
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
    NOT_JOINED,
    AlertsFact,
    Episode,
    Opened,
    flapping,
    merge,
    of_day,
    pairs,
    responses,
    section,
    with_incidents,
)
from reporting.measures.incidents import Incident
from reporting.model import Count, Coverage, Duration, Frame, Missing, Number, Ratio, Text, Why
from reporting.model import Window as Span
from reporting.page import Figure, Section, Table, TimelineChart, Verdict
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


@dataclass(frozen=True)
class Told:
    """An incident as people recorded it, in seconds of the first day."""

    alert: str
    opened: int
    notified: int | None = None
    false_positive: bool | None = None
    level: int = 0

    @property
    def opened_ms(self) -> int:
        return ms(self.opened)

    @property
    def notified_ms(self) -> int | None:
        return None if self.notified is None else ms(self.notified)


def day(number: int = 0, days: int = 1) -> TradingDay:
    start = datetime(2025, 12, 5, tzinfo=UTC) + timedelta(days=number)
    window = Span(start=start, end=start + timedelta(days=days))
    return TradingDay(DAY + timedelta(days=number), "XNYS", "UTC", window, None, "told")


def frames(
    fired: Sequence[Fired],
    rises: Sequence[tuple[str, int, int]] = (),
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
    return {name: Frame(table, NO_COVERAGE) for name, table in found.items()}


def ms(second: int) -> int:
    return START + second * 1000


def fact(*given: Any, number: int = 0, days: int = 1, **named: Any) -> AlertsFact:
    found = of_day(day(number, days), frames(*given, **named))
    assert isinstance(found, AlertsFact)
    return found


def told(
    fired: Sequence[Fired],
    rises: Sequence[tuple[str, int, int]],
    incidents: Sequence[Told],
    **named: Any,
) -> AlertsFact:
    """The day's fact with incidents joined."""
    return with_incidents(fact(fired, rises, **named), incidents)


def page(found: AlertsFact | Missing, days: Sequence[Any] = (), weekly: bool = False) -> Section:
    span = week_span(DAY) if weekly else day_span(DAY)
    return section(found, days, Context(span=span, zone="UTC", base="USD", targets={}))


def figure(found: Section, name: str) -> Figure:
    return next(f for f in found.figures if f.id == f"alerts.{name}")


def table(found: Section, name: str) -> list[dict[str, Any]]:
    """The rows of a table as the page shows them, by column."""
    (one,) = (t for t in found.tables if t.id == f"alerts_{name}")
    return [
        {c.key: cell for c, cell in zip(one.columns, row, strict=True) if c.shown}
        for row in one.rows
    ]


def words(cell: Any) -> str:
    assert isinstance(cell, Text)
    return cell.text


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
    sealed = fact([DOWN], [("pagerduty", 1025, 1040)])

    episode = only(with_incidents(sealed, [Told("engine_down", 1006, 1012)]))

    assert (episode.told_after_ms, episode.told_by_ms) == (ms(1012), ms(1012))
    assert (episode.told_from, episode.verdict) == ("incident", Verdict.MET)
    # What was sealed is what the counters told.
    assert (only(sealed).told_from, only(sealed).told_by_ms) == ("counters", ms(1040))


@pytest.mark.parametrize(
    "incident",
    [
        Told("breach", 1006, 1012),  # another alert's
        Told("", 1006, 1012),  # no alert's
        Told("engine_down", 1000 - 61, 1012),  # opened before
        Told("engine_down", 1305 + 900, 2300),  # after
        Told("engine_down", 1006),  # nobody was notified
        Told("engine_down", 990, 999),  # notified before the condition held
    ],
)
def test_an_incident_that_is_not_of_this_firing_tells_nothing(incident: Told) -> None:
    episode = only(told([DOWN], [("pagerduty", 1010, 1025)], [incident]))

    assert episode.told_from == "counters"


@pytest.mark.parametrize("opened", [1000 - 60, 1305 + 899])
def test_other_clocks_and_late_openings_are_still_of_this_firing(opened: int) -> None:
    episode = only(told([DOWN], [("pagerduty", 1010, 1025)], [Told("engine_down", opened, 3000)]))

    assert (episode.told_from, episode.told_by_ms) == ("incident", ms(3000))


def test_the_first_incident_of_a_firing_tells_whatever_the_order_they_come_in() -> None:
    both = [Told("engine_down", 1200, 1210), Told("engine_down", 1006, 1012)]

    assert only(told([DOWN], [], both)).told_by_ms == ms(1012)


def test_incidents_as_they_are_sealed_can_be_joined() -> None:
    incident = Incident(
        source="hand", id="1", priority="P1", title="down", alert="EngineDown",
        opened_ms=ms(1006), notified_ms=ms(1012), level_1_ms=ms(1100), false_positive=False,
    )  # fmt: skip

    found = with_incidents(fact([DOWN]), (incident,))

    assert only(found).told_by_ms == ms(1012)
    assert isinstance(found.incidents, tuple)
    assert found.incidents[1] == Opened(
        alert="engine_down", incidents=1, false_positives=0, unsaid=0, levels=(1, 0, 0)
    )


def test_a_firing_of_an_earlier_day_is_told_of_no_more() -> None:
    carried = Fired("engine_down", active=-100, fired=-90, until=1305)

    assert only(told([carried], [], [Told("engine_down", 5, 10)])).told_from == ""


def test_an_incident_of_the_next_firing_is_not_of_this_one() -> None:
    again = Fired("engine_down", active=1400, fired=1405, until=1500)
    opened = Told("EngineDown", 1406, 1410)

    first, second = told([DOWN, again], [("pagerduty", 1010, 1025)], [opened]).episodes

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
    # Those that did not fire are in the table only.
    assert [f.id for f in shown.figures] == [
        "alerts.fired", "alerts.response_s", "alerts.false_positives",
        "alerts.breach", "alerts.engine_down",
    ]  # fmt: skip
    outcomes = {words(row["alert"]): words(row["verdict"]) for row in table(shown, "by_alert")}
    assert list(outcomes.items()) == [
        ("Breach", "missed"), ("Engine down", "met"), ("Slow", "did not fire"),
    ]  # fmt: skip
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


def test_over_a_week_the_timeline_shows_the_days_that_nobody_saw() -> None:
    found = fact([DOWN])
    gone = Missing(why=Why.NOT_SEALED)
    tomorrow = DAY + timedelta(1)
    (chart,) = page(found, [(DAY, found), (tomorrow, gone)], weekly=True).charts
    assert isinstance(chart, TimelineChart)
    assert (chart.start_ms, chart.end_ms) == (ms(0), ms(2 * DAY_S))
    (row,) = chart.rows
    assert [s.state for s in row.spans] == ["up", "down", "up", "unknown"]
    assert (row.spans[-1].start_ms, row.spans[-1].end_ms) == (ms(DAY_S), ms(2 * DAY_S))
    assert chart.states == ("quiet", "firing", "not known")


def test_one_unknown_critical_response_leaves_the_slowest_unknown() -> None:
    shown = page(fact([DOWN], looked=[]))

    assert isinstance(figure(shown, "response_s").value, Missing)
    assert shown.verdict is Verdict.UNKNOWN


def test_false_positives_need_incidents() -> None:
    nobody = Missing(why=Why.NOT_MEASURED, detail="no incidents source configured")
    false = Told("breach", 10, false_positive=True)
    other = Told("Breach", 20, false_positive=False)

    assert figure(page(fact([])), "false_positives").value == NOT_JOINED
    without = page(with_incidents(fact([]), nobody))
    assert figure(without, "false_positives").value == nobody
    assert not {"false", "level"} & set(table(without, "by_alert")[0])
    assert any("no incidents source configured" in note for note in without.notes)
    shown = figure(page(told([], [], [false, other])), "false_positives")
    assert (shown.value, shown.note) == (Count(value=1), "of 2 incidents")
    unsaid = Told("breach", 30)
    some = figure(page(told([], [], [false, unsaid])), "false_positives")
    assert (some.value, some.note) == (Count(value=1), "of 1 incident that says so, 2 in all")
    none = figure(page(told([], [], [unsaid])), "false_positives")
    assert isinstance(none.value, Missing) and none.note == ""
    assert figure(page(told([], [], [])), "false_positives").value == Count(value=0)


def test_only_incidents_of_the_days_and_of_known_alerts_are_counted() -> None:
    elsewhen = [Told("breach", at, false_positive=True) for at in (-1, DAY_S)]
    within = [Told("breach", at, false_positive=True) for at in (0, DAY_S - 1)]
    unknown = [Told("other", 10, false_positive=True), Told("", 10, false_positive=True)]

    found = told([], [], [*elsewhen, *within, *unknown])

    assert isinstance(found.incidents, tuple)
    assert [(o.alert, o.incidents, o.false_positives) for o in found.incidents] == [
        ("breach", 2, 2), ("engine_down", 0, 0), ("slow", 0, 0),
    ]  # fmt: skip


def test_the_table_says_how_far_an_alert_was_escalated() -> None:
    incidents = [
        Told("breach", 10, level=2),
        Told("breach", 20, level=1, false_positive=True),
        Told("breach", 30, level=1, false_positive=False),
        Told("breach", 40),
    ]

    found = told([], [], incidents)
    rows = {words(row["alert"]): row for row in table(page(found), "by_alert")}

    assert isinstance(found.incidents, tuple)
    assert found.incidents[0] == Opened(
        alert="breach", incidents=4, false_positives=1, unsaid=2, levels=(2, 1, 0)
    )
    assert words(rows["Breach"]["level"]) == "level 1 (2 times), level 2"
    assert words(rows["Breach"]["false"]) == "1, 2 not said"
    assert words(rows["Slow"]["level"]) == ""
    assert rows["Slow"]["false"] == Count(value=0)


def test_a_firing_is_told_by_one_moment_and_lengths_after_it() -> None:
    carried = Fired("slow", active=-500, fired=-400, until=600)
    shown = page(fact([carried, DOWN], [("pagerduty", 1010, 1020)]))

    first, second = table(shown, "firings")

    assert "labels" not in first and "end" not in first
    assert {k: v for k, v in second.items() if k not in ("alert", "held")} == {
        "fired": Duration(ms=(1005 - 1000) * 1000),
        "after": Duration(ms=(1010 - 1000) * 1000),
        "by": Duration(ms=(1020 - 1000) * 1000),
        "from": Text(text="counters"),
        "verdict": Text(text="met"),
        "firing": Duration(ms=(1305 - 1005) * 1000),
    }
    assert words(second["alert"]) == "Engine down"
    assert [words(first[key]) for key in ("fired", "after", "by", "from", "verdict")] == [
        "before", "", "", "", "",
    ]  # fmt: skip
    assert "alerts.slow" not in {f.id for f in shown.figures}
    outcome = {words(r["alert"]): words(r["verdict"]) for r in table(shown, "by_alert")}
    assert outcome["Slow"] == "fired since before"


def test_labels_and_what_is_still_firing_have_a_column_where_there_are_any() -> None:
    still = Fired("slow", active=100, fired=200, until=2 * DAY_S, labels='{"job":"a"}')

    (row,) = table(page(fact([still])), "firings")

    assert (words(row["labels"]), words(row["end"])) == ('{"job":"a"}', "still firing")


def test_flapping_has_a_column_where_one_flaps() -> None:
    thrice = [Fired("slow", at, at, at + 60) for at in (0, 600, 1200)]

    shown = page(fact(thrice))
    rows = {words(r["alert"]): words(r["flapping"]) for r in table(shown, "by_alert")}

    # Those that fired come first.
    assert list(rows.items()) == [("Slow", "3: flapping"), ("Breach", ""), ("Engine down", "")]
    assert "flapping" not in table(page(fact(thrice[:2])), "by_alert")[0]


@pytest.mark.parametrize("number", [0, 1])
def test_every_table_fits_the_page(number: int) -> None:
    labels = '{"job":"a"}'
    fired = [Fired("slow", at, at, at + 2 * DAY_S, labels=labels) for at in (0, 600, 1200)]

    found: Sequence[Table] = page(told(fired, [], [Told("slow", 5, level=1)], number=number)).tables

    assert max(sum(c.shown for c in t.columns) for t in found) <= 10
    assert all(len(row) == len(t.columns) for t in found for row in t.rows)


def test_days_that_nobody_recorded_are_named() -> None:
    gone = Missing(why=Why.NOT_MEASURED, detail="no incidents source configured")
    first, second = fact([]), fact([], number=1)
    days = [(DAY, with_incidents(first, [])), (DAY + timedelta(1), with_incidents(second, gone))]

    shown = page(with_incidents(merge([(0, first), (1, second)]), []), days, weekly=True)

    assert any("2025-12-06" in note and "2025-12-05" not in note for note in shown.notes)
    points = figure(shown, "false_positives").series
    assert [p.value for p in points] == [Decimal(0), gone]


def test_an_alert_that_never_left_a_trace_is_named() -> None:
    shown = page(fact([], unseen=["breach"]))

    assert any("Never seen" in note and "breach" in note for note in shown.notes)
    assert shown.summary == "No alert fired."
    assert [t.id for t in shown.tables] == ["alerts_by_alert"]


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
    found = of_day(day(), {**frames([]), "notifications": gone})

    assert found == gone
    assert page(gone).verdict is Verdict.UNKNOWN
    assert figure(page(gone), "response_s").value == gone


def test_improvement_reads_sums_and_counts() -> None:
    breach = Fired("breach", active=3000, fired=3000, until=3060)
    rises = [("pagerduty", 1005, 1020), ("pagerduty", 3030, 3045)]
    sealed = fact([DOWN, breach], rises)
    found = with_incidents(sealed, [])

    assert responses(found, "response_s") == Ratio(
        numerator=Decimal((1020 - 1000) + (3045 - 3000)), denominator=Decimal(2)
    )
    assert responses(found, "fired") == Ratio(numerator=Decimal(2), denominator=Decimal(1))
    assert responses(found, "false_positives") == Ratio(
        numerator=Decimal(0), denominator=Decimal(1)
    )
    assert responses(sealed, "false_positives") == NOT_JOINED
    false = with_incidents(sealed, [Told("breach", 3001, 3010, false_positive=True)])
    assert responses(false, "false_positives") == Ratio(
        numerator=Decimal(1), denominator=Decimal(1)
    )
    assert responses(false, "response_s") == Ratio(
        numerator=Decimal((1020 - 1000) + (3010 - 3000)), denominator=Decimal(2)
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
                notified = draw(st.none() | st.integers(begins, begins + 500))
                false = draw(st.sampled_from([None, True, False]))
                incidents.append(Told(alert, begins, notified, false, draw(st.integers(0, 3))))
            at = until + draw(st.integers(1, 60_000))
    return {"fired": fired, "rises": sorted(rises, key=lambda r: r[2]), "incidents": incidents}


def sealed(history: dict[str, Any], **which: int) -> AlertsFact:
    return fact(history["fired"], history["rises"], **which)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_merging_days_is_the_fact_of_all_rows(history: dict[str, Any]) -> None:
    whole = sealed(history, days=3)
    days = [(n, sealed(history, number=n)) for n in range(3)]

    assert merge(days) == whole
    assert merge([(0, merge(days[:2])), days[2]]) == whole


@settings(max_examples=60, deadline=None)
@given(histories())
def test_incidents_tell_the_same_of_merged_days_and_add_up_over_them(
    history: dict[str, Any],
) -> None:
    days = [(n, sealed(history, number=n)) for n in range(3)]
    whole = with_incidents(sealed(history, days=3), history["incidents"])
    each = [with_incidents(found, history["incidents"]).incidents for _, found in days]

    assert with_incidents(merge(days), history["incidents"]) == whole
    assert isinstance(whole.incidents, tuple)
    for number, total in enumerate(whole.incidents):
        own = [found[number] for found in each if isinstance(found, tuple)]
        assert total.incidents == sum(o.incidents for o in own)
        assert total.false_positives == sum(o.false_positives for o in own)
        assert total.levels == tuple(sum(o.levels[n] for o in own) for n in range(3))


@settings(max_examples=20, deadline=None)
@given(histories())
def test_a_sealed_fact_comes_back_the_same(history: dict[str, Any]) -> None:
    found = sealed(history)

    assert ALERTS.fact.model_validate_json(found.model_dump_json(), strict=False) == found
    days = [(DAY, found), (DAY + timedelta(1), sealed(history, number=1))]
    told = [(at, with_incidents(each, history["incidents"])) for at, each in days]
    shown = page(with_incidents(merge(days), history["incidents"]), told, weekly=True)
    assert [len(f.series) for f in shown.figures] == [2] * len(shown.figures)
