"""Sessions and periods as absolute time: nothing is lost or counted twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reporting.errors import UsageError
from reporting.periods import (
    base_calendar,
    calendar_day,
    days_between,
    first_instant,
    in_spans,
    month_span,
    next_session,
    overridden,
    previous_session,
    quarter_span,
    sessions_between,
    span,
    trading_day,
    week_span,
)

NEW_YORK = "America/New_York"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        ("2026-03-08", NEW_YORK, 23),
        ("2026-11-01", NEW_YORK, 25),
        ("2026-11-02", NEW_YORK, 24),
        ("2026-03-29", "Europe/London", 23),
        ("2026-10-25", "Europe/London", 25),
        ("2026-04-05", "Australia/Lord_Howe", 24.5),  # daylight saving of half an hour
        ("2018-11-04", "America/Sao_Paulo", 23),  # midnight itself is skipped
        ("2018-02-17", "America/Sao_Paulo", 25),  # 23:00 to midnight happens twice
        ("2021-03-28", "Asia/Beirut", 23),
        ("2026-07-01", "Asia/Kolkata", 24),
    ],
)
def test_a_local_day_is_23_24_or_25_hours(day: str, zone: str, hours: float) -> None:
    window = calendar_day(date.fromisoformat(day), zone)
    assert window.end_ms - window.start_ms == hours * 3_600_000


def test_a_skipped_midnight_starts_after_the_gap() -> None:
    # On 4 November 2018 São Paulo went from 23:59:59 −03 straight to 01:00:00 −02.
    window = calendar_day(date(2018, 11, 4), "America/Sao_Paulo")
    assert window.start == utc("2018-11-04T03:00:00")
    assert window.end == utc("2018-11-05T02:00:00")


ZONES = (
    NEW_YORK, "Europe/London", "America/Sao_Paulo", "Asia/Beirut", "America/Havana",
    "Atlantic/Azores", "Australia/Lord_Howe", "America/Asuncion", "Africa/Cairo", "UTC",
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(ZONES), st.dates(date(2001, 1, 2), date(2027, 12, 30)))
@example("America/Sao_Paulo", date(2018, 11, 3))
@example("America/Sao_Paulo", date(2018, 11, 4))
@example("Asia/Beirut", date(2021, 3, 28))
def test_local_days_tile_time(zone: str, day: date) -> None:
    window, tomorrow = calendar_day(day, zone), calendar_day(day + timedelta(1), zone)
    assert window.end == tomorrow.start
    # The first and the last instant read as that day, the one after as the next.
    local = ZoneInfo(zone)
    assert window.start.astimezone(local).date() == day
    assert (window.end - timedelta(milliseconds=1)).astimezone(local).date() == day
    assert window.end.astimezone(local).date() == day + timedelta(1)


@pytest.mark.parametrize(
    ("calendar", "zone"),
    [
        ("XNYS", NEW_YORK),
        ("XNYS", "Asia/Beirut"),  # a firm far from its exchange
        ("XLON", "Europe/London"),
        ("BVMF", "America/Sao_Paulo"),
        ("24/5", "America/Sao_Paulo"),
        ("24/7", "America/Havana"),
    ],
)
def test_trading_windows_tile_time(calendar: str, zone: str) -> None:
    sessions = sessions_between(date(2018, 9, 1), date(2019, 4, 30), calendar)
    windows = [trading_day(day, calendar, zone).trading for day in sessions]
    assert len(windows) > 150
    for before, after in pairwise(windows):
        assert before is not None and after is not None
        assert before.end == after.start


def test_a_weekend_belongs_to_the_next_session() -> None:
    monday = trading_day(date(2026, 3, 9), "XNYS", NEW_YORK)
    assert monday.trading is not None
    # From the end of Friday 6 March (−05) to the end of Monday 9 March (−04).
    assert monday.trading.start == utc("2026-03-07T05:00:00")
    assert monday.trading.end == utc("2026-03-10T04:00:00")
    assert monday.window.start == utc("2026-03-09T04:00:00")
    assert trading_day(date(2026, 3, 7), "XNYS", NEW_YORK).trading is None


@pytest.mark.parametrize(
    ("day", "session", "note"),
    [
        (date(2025, 11, 26), True, "regular session"),
        (date(2025, 11, 27), False, "XNYS closed (holiday)"),  # Thanksgiving
        (date(2025, 11, 28), True, "early close at 13:00"),
        (date(2025, 11, 29), False, "XNYS closed (weekend)"),
        (date(2026, 7, 3), False, "XNYS closed (holiday)"),  # Independence Day, observed
    ],
)
def test_what_kind_of_day_it_is(day: date, session: bool, note: str) -> None:
    described = trading_day(day, "XNYS", NEW_YORK)
    assert described.is_session is session
    assert described.note == note


def test_neighbours_of_a_holiday() -> None:
    thanksgiving = date(2025, 11, 27)
    assert previous_session(thanksgiving, "XNYS") == date(2025, 11, 26)
    assert next_session(thanksgiving, "XNYS") == date(2025, 11, 28)
    assert next_session(date(2025, 11, 28), "XNYS") == date(2025, 11, 28)
    assert previous_session(date(2025, 11, 28), "XNYS") == date(2025, 11, 26)
    week = sessions_between(date(2025, 11, 24), date(2025, 11, 30), "XNYS")
    assert [d.day for d in week] == [24, 25, 26, 28]
    assert sessions_between(date(2025, 11, 29), date(2025, 11, 30), "XNYS") == ()


@pytest.mark.parametrize(
    ("day", "label", "first", "last"),
    [
        ("2024-12-30", "2025-W01", "2024-12-30", "2025-01-05"),
        ("2024-12-29", "2024-W52", "2024-12-23", "2024-12-29"),
        ("2027-01-03", "2026-W53", "2026-12-28", "2027-01-03"),
        ("2027-01-04", "2027-W01", "2027-01-04", "2027-01-10"),
        ("2026-11-22", "2026-W47", "2026-11-16", "2026-11-22"),
    ],
)
def test_iso_weeks_at_the_ends_of_years(day: str, label: str, first: str, last: str) -> None:
    week = week_span(date.fromisoformat(day))
    assert (week.label, week.first.isoformat(), week.last.isoformat()) == (label, first, last)


@pytest.mark.parametrize(
    ("day", "last"),
    [("2024-02-10", 29), ("2026-02-10", 28), ("2026-12-31", 31), ("2026-11-01", 30)],
)
def test_months(day: str, last: int) -> None:
    month = month_span(date.fromisoformat(day))
    assert (month.label, month.first.day, month.last.day) == (day[:7], 1, last)


@pytest.mark.parametrize(
    ("day", "label", "first", "last"),
    [
        ("2026-01-01", "2026-Q1", "2026-01-01", "2026-03-31"),
        ("2026-05-17", "2026-Q2", "2026-04-01", "2026-06-30"),
        ("2026-09-30", "2026-Q3", "2026-07-01", "2026-09-30"),
        ("2025-12-31", "2025-Q4", "2025-10-01", "2025-12-31"),
    ],
)
def test_quarters(day: str, label: str, first: str, last: str) -> None:
    quarter = quarter_span(date.fromisoformat(day))
    found = (quarter.label, quarter.first.isoformat(), quarter.last.isoformat())
    assert found == (label, first, last)
    assert quarter.title.startswith(f"Quarter {label[-1]} of {label[:4]}: ")


@settings(deadline=None)
@given(
    st.dates(date(2001, 1, 1), date(2027, 12, 31)),
    st.sampled_from(["daily", "weekly", "monthly", "quarterly"]),
)
def test_every_day_of_a_period_names_the_same_period(day: date, kind: str) -> None:
    period = span(kind, day)
    assert period.first <= day <= period.last
    assert {span(kind, d) for d in days_between(period.first, period.last)} == {period}


def test_unknown_kinds_and_calendars_are_named() -> None:
    with pytest.raises(UsageError, match=r"'yearly'.*daily, weekly, monthly"):
        span("yearly", date(2026, 1, 1))
    with pytest.raises(UsageError, match=r"'NOPE'.*REPORTING_CALENDAR"):
        trading_day(date(2026, 3, 2), "NOPE", "UTC")


@pytest.mark.parametrize("calendar", ["XBOM", "XSHG"])
def test_a_calendar_that_ends_too_early_is_named(calendar: str) -> None:
    with pytest.raises(UsageError, match=calendar):
        trading_day(date(2026, 3, 2), calendar, "UTC")


@pytest.mark.parametrize("day", [date(1999, 12, 31), date(2000, 6, 1), date(2028, 1, 3)])
def test_years_that_no_calendar_knows_are_refused(day: date) -> None:
    for ask in (
        lambda: trading_day(day, "XNYS", NEW_YORK),
        lambda: previous_session(day, "XNYS"),
        lambda: next_session(day, "XNYS"),
    ):
        with pytest.raises(UsageError, match=str(day)):
            ask()


def test_no_session_is_left_at_the_end_of_the_known_years() -> None:
    # Stockholm is closed on New Year's Eve; what comes next is not known.
    with pytest.raises(UsageError, match="2027-12-31"):
        next_session(date(2027, 12, 31), "XSTO")


# ---- What was not published --------------------------------------------------------------------

MOURNING, STORM = date(2026, 12, 28), date(2026, 11, 30)
OVERRIDDEN = "XNYS except 2026-11-30 early 13:00, 2026-12-28 closed"


def test_a_closure_takes_its_session_away() -> None:
    closed = trading_day(MOURNING, OVERRIDDEN, NEW_YORK)
    assert (closed.is_session, closed.note) == (False, "XNYS closed (unscheduled)")
    assert closed.calendar == "XNYS except 2026-12-28 closed"
    assert trading_day(MOURNING, "XNYS", NEW_YORK).note == "regular session"
    assert previous_session(date(2026, 12, 29), OVERRIDDEN) == date(2026, 12, 24)
    assert next_session(date(2026, 12, 25), OVERRIDDEN) == date(2026, 12, 29)
    week = sessions_between(date(2026, 12, 28), date(2027, 1, 3), OVERRIDDEN)
    assert [d.day for d in week] == [29, 30, 31]


def test_what_was_traded_on_a_closed_day_belongs_to_the_next_session() -> None:
    after = trading_day(date(2026, 12, 29), OVERRIDDEN, NEW_YORK)
    assert after.trading is not None
    # From the end of Thursday 24 December: Christmas, a weekend and the closed Monday.
    assert after.trading.start == utc("2026-12-25T05:00:00")
    assert after.trading.end == utc("2026-12-30T05:00:00")


def test_an_early_close_changes_the_note_and_nothing_else() -> None:
    early = trading_day(STORM, OVERRIDDEN, NEW_YORK)
    plain = trading_day(STORM, "XNYS", NEW_YORK)
    assert (early.note, plain.note) == ("early close at 13:00", "regular session")
    assert (early.calendar, early.window, early.trading) == ("XNYS", plain.window, plain.trading)
    moved = trading_day(date(2026, 11, 27), "XNYS except 2026-11-27 early 12:00", NEW_YORK)
    assert moved.note == "early close at 12:00"  # published: 13:00


def test_an_override_changes_no_day_whose_next_session_was_before_it() -> None:
    """So that closing an old day again does not find it changed by what came later."""
    for day in days_between(date(2026, 11, 2), date(2026, 12, 31)):
        same = trading_day(day, OVERRIDDEN, NEW_YORK) == trading_day(day, "XNYS", NEW_YORK)
        # Thursday 24 December is the last session before; its next one is Tuesday 29.
        assert same == (day < date(2026, 12, 24) and day != STORM)


def test_closed_days_in_a_row_bear_on_the_session_before_them() -> None:
    calendar = overridden("XNYS", [date(2001, 9, day) for day in (18, 19)], {})
    day = trading_day(date(2001, 9, 17), calendar, NEW_YORK)
    assert day.calendar == "XNYS except 2001-09-18 closed, 2001-09-19 closed"
    assert next_session(date(2001, 9, 18), day.calendar) == date(2001, 9, 20)


def test_equal_overrides_have_one_spelling() -> None:
    early = {STORM: "13:00"}
    assert overridden("XNYS", [MOURNING], early) == OVERRIDDEN
    assert overridden("XNYS", [], {}) == "XNYS" == base_calendar(OVERRIDDEN)


@pytest.mark.parametrize(
    "calendar",
    [
        "XNYS except ",
        "XNYS except 2026-12-28",
        "XNYS except 2026-13-28 closed",
        "XNYS except 2026-12-28 early 25:00",
        "XNYS except 2026-12-28 closed,2026-12-29 closed",
        "XNYS except 2026-12-28 closed except 2026-12-29 closed",
    ],
)
def test_an_override_that_is_none_is_named(calendar: str) -> None:
    with pytest.raises(UsageError, match="expected overrides such as"):
        trading_day(MOURNING, calendar, NEW_YORK)


def test_a_calendar_that_the_library_can_not_make_is_named_in_one_line() -> None:
    with pytest.raises(UsageError, match="XTAE") as caught:
        trading_day(date(2026, 3, 2), "XTAE", "UTC")
    assert len(str(caught.value)) < 600  # the library lists a thousand days


@settings(deadline=None)
@given(
    st.sampled_from(ZONES),
    st.dates(date(2001, 1, 2), date(2027, 12, 30)),
    st.integers(0, 1439),
    st.integers(0, 1439),
)
def test_later_times_of_a_day_never_come_earlier(zone: str, day: date, one: int, two: int) -> None:
    first, last = (time(*divmod(minute, 60)) for minute in sorted((one, two)))
    instant = first_instant(day, first, zone)
    assert instant <= first_instant(day, last, zone)
    assert instant <= first_instant(day + timedelta(1), time(0), zone)
    # It reads as asked, or later where that does not exist; a second before, it does not yet.
    local = ZoneInfo(zone)
    wanted = datetime.combine(day, first)
    assert instant.astimezone(local).replace(tzinfo=None) >= wanted
    assert (instant - timedelta(seconds=1)).astimezone(local).replace(tzinfo=None) < wanted


def test_days_that_follow_each_other_are_one_span() -> None:
    days = [date(2025, 10, 1) + timedelta(n) for n in (0, 1, 2, 5, 6, 40, 1)]
    words = "2025-10-01 to 2025-10-03, 2025-10-06, 2025-10-07, 2025-11-10"
    assert in_spans(reversed(days)) == words
    assert in_spans([]) == ""
