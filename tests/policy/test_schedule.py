"""When reports are due: in every zone, on every kind of calendar, none missed and none doubled."""

from __future__ import annotations

import json
import subprocess
import sys
import zoneinfo
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.errors import UsageError, ValidationFailed
from reporting.pipeline import Service
from reporting.policy.schedule import (
    After,
    Run,
    Schedule,
    due_instant,
    expected,
    horizon,
    parse_schedule,
)
from reporting.settings import load

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "config" / "schedule.toml").read_text("utf-8")
NEW_YORK = "America/New_York"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def schedule(text: str, calendar: str = "XNYS", zone: str = NEW_YORK) -> Schedule:
    return parse_schedule(text, calendar, zone)


def report(
    kind: str = "daily",
    after: str = "1 session",
    at: str = "06:30",
    deadline: str = "4 hours",
    name: str = "",
    more: str = "",
) -> str:
    return (
        f'[[report]]\nname = "{name or kind}"\nkind = "{kind}"\ndue_time = "{at}"\n'
        f'due_after = "{after}"\ndeadline = "{deadline}"\n{more}\n'
    )


def drawn(runs: list[Run], zone: str = NEW_YORK) -> str:
    """A line for each run: its key, what is sealed, and when it is due, as the clocks there say."""
    local = zoneinfo.ZoneInfo(zone)
    return "\n".join(
        f"{run.key}: {run.first:%m-%d}..{run.last:%m-%d}, {run.day:%a %m-%d}, due "
        f"{run.due_at.astimezone(local):%a %Y-%m-%d %H:%M}"
        for run in runs
    )


def lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


# ---- Every zone --------------------------------------------------------------------------------

FIRST_DAY, DAYS = date(2026, 1, 1), 730
LOCAL_DAYS = [FIRST_DAY + timedelta(n) for n in range(DAYS)]
HALF_HOURS = [time(n // 2, n % 2 * 30) for n in range(48)]
ZONES = sorted(zoneinfo.available_timezones())

#: The C library reads the zones' files by itself. It is asked in a process of its own, because it
#: keeps one zone for the whole process: offsets every 12 hours, and changes by halving.
ORACLE = """
import json, os, sys, time
first, last, places = json.loads(sys.stdin.read())
def offset(at):
    return time.localtime(at).tm_gmtoff
found = {}
for zone, path in places.items():
    os.environ["TZ"] = ":" + path
    time.tzset()
    changes = [(first, offset(first))]
    for right in range(first + 43200, last, 43200):
        if offset(right) != changes[-1][1]:
            left, changed = right - 43200, right
            while changed - left > 1:
                middle = (left + changed) // 2
                if offset(middle) == changes[-1][1]:
                    left = middle
                else:
                    changed = middle
            changes.append((changed, offset(changed)))
    found[zone] = changes
print(json.dumps(found))
"""


def file_of(zone: str) -> Path:
    """The file that zoneinfo reads, by PEP 615."""
    places = [Path(folder) for folder in zoneinfo.TZPATH]
    if not any((place / zone).is_file() for place in places):
        places = [Path(str(files("tzdata") / "zoneinfo"))]
    return next(place / zone for place in places if (place / zone).is_file())


@cache
def offsets() -> dict[str, list[tuple[int, int]]]:
    """By zone, from when on (UTC, seconds) which offset (seconds) holds; the first from before."""
    start = int(datetime.combine(FIRST_DAY, time(0), UTC).timestamp())
    asked = [start - 3 * 86_400, start + (DAYS + 3) * 86_400, {z: str(file_of(z)) for z in ZONES}]
    done = subprocess.run(
        [sys.executable, "-I", "-c", ORACLE],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    return {zone: [(at, off) for at, off in rows] for zone, rows in json.loads(done.stdout).items()}


def distinct() -> list[str]:
    """One name for each zone that has a file of its own."""
    return sorted({file_of(zone).read_bytes(): zone for zone in ZONES}.values())


def truth(changes: list[tuple[int, int]]) -> np.ndarray:
    """Days × half-hours: the first quarter of an hour at which the clocks have got that far.

    Clocks that go back have already been at what they show again, so what counts is the latest
    that they ever showed.
    """
    start = int(datetime.combine(FIRST_DAY, time(0), UTC).timestamp())
    quarters = np.arange(start - 2 * 86_400, start + (DAYS + 2) * 86_400, 900)
    begins, shifts = np.array(changes).T
    shown = quarters + shifts[np.searchsorted(begins, quarters, side="right") - 1]
    reached = np.maximum.accumulate(shown)
    wanted = start + np.arange(DAYS * 48) * 1_800
    return quarters[np.searchsorted(reached, wanted, side="left")].reshape(DAYS, 48)


def check_dues(zone: str, dues: np.ndarray, pairs: Iterable[tuple[int, int]]) -> None:
    wanted = dues.tolist()
    for n, half in pairs:
        due = due_instant(LOCAL_DAYS[n], HALF_HOURS[half], zone)
        assert due.timestamp() == wanted[n][half], (zone, LOCAL_DAYS[n], HALF_HOURS[half])


def test_the_oracle_sees_every_zone_and_their_changes() -> None:
    assert len(offsets()) == len(ZONES) > 590
    assert [at for at, _ in offsets()[NEW_YORK][1:]] == [
        utc(text).timestamp()
        for text in ("2026-03-08T07:00", "2026-11-01T06:00", "2027-03-14T07:00", "2027-11-07T06:00")
    ]
    # Every change is at a whole quarter of an hour, and 12 hours can't hide two of them.
    assert {at % 900 for rows in offsets().values() for at, _ in rows} == {0}
    assert sum(len(rows) > 1 for rows in offsets().values()) > 150


def test_no_day_of_any_zone_is_missed_or_doubled() -> None:
    """One due instant for each day and half-hour, each later than that of the day before."""
    for changes in {tuple(rows) for rows in offsets().values()}:
        dues = truth(list(changes))
        assert (np.diff(dues, axis=0) > 0).all() and (np.diff(dues, axis=1) >= 0).all()


def test_every_zone_every_day_and_every_half_hour_is_due_when_the_c_library_says() -> None:
    """Zones whose files are the same are the same zone."""
    for zone in distinct():
        everything = ((n, half) for n in range(DAYS) for half in range(48))
        check_dues(zone, truth(offsets()[zone]), everything)


def dues_of_schedule(zone: str, half: int) -> None:
    """What a schedule expects of two years of days in ``zone``, against the C library."""
    at = f"{HALF_HOURS[half]:%H:%M}"
    made = schedule(report(at=at, after="1 day", deadline="90 minutes"), "24/7", zone)
    since = datetime.combine(FIRST_DAY, time(0), UTC) + timedelta(days=2)
    runs = expected(made, since, since + timedelta(days=DAYS - 4))
    dues = truth(offsets()[zone])[:, half]
    wanted = dues[(dues > since.timestamp()) & (dues <= runs[-1].due_at.timestamp())]

    assert [run.due_at.timestamp() for run in runs] == wanted.tolist()
    days = [run.day for run in runs]
    assert all(after - before == timedelta(1) for before, after in pairwise(days))
    assert len({run.key for run in runs}) == len(runs) >= DAYS - 5


CHANGING = (
    NEW_YORK, "Europe/London", "Africa/Casablanca", "Africa/Cairo", "America/Havana", "Asia/Beirut",
    "America/Scoresbysund", "Atlantic/Azores", "Australia/Lord_Howe", "Pacific/Chatham",
    "Antarctica/Troll", "America/Santiago", "Asia/Kolkata", "Pacific/Kiritimati",
)  # fmt: skip


@pytest.mark.parametrize("zone", CHANGING)
def test_a_schedule_expects_every_day_once(zone: str) -> None:
    for half in (0, 5):
        dues_of_schedule(zone, half)


@pytest.mark.slow
def test_a_schedule_of_any_zone_expects_every_day_once() -> None:
    for number, zone in enumerate(ZONES):
        for half in (0, 1, 3, 5, 46, 47, number % 48):
            dues_of_schedule(zone, half)


@pytest.mark.parametrize(
    ("zone", "day", "at", "due"),
    [
        (NEW_YORK, "2026-03-07", "02:30", "2026-03-07T07:30"),
        (NEW_YORK, "2026-03-08", "02:30", "2026-03-08T07:00"),  # 02:00 to 03:00 does not exist
        (NEW_YORK, "2026-03-08", "03:00", "2026-03-08T07:00"),
        (NEW_YORK, "2026-11-01", "01:30", "2026-11-01T05:30"),  # twice: the first, at −04
        (NEW_YORK, "2026-11-01", "02:00", "2026-11-01T07:00"),
        ("America/Sao_Paulo", "2018-11-04", "00:30", "2018-11-04T03:00"),  # midnight is skipped
        ("Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03T15:30"),  # half an hour
        ("America/Scoresbysund", "2026-03-28", "23:30", "2026-03-29T01:00"),  # the day's last hour
        ("America/Havana", "2026-11-01", "00:30", "2026-11-01T04:30"),  # midnight happens twice
        ("Pacific/Apia", "2011-12-30", "06:30", "2011-12-30T10:00"),  # the whole day is skipped
        ("Africa/Monrovia", "1972-01-07", "00:30", "1972-01-07T00:44:30"),  # 44 min 30 s
    ],
)
def test_times_that_do_not_exist_or_exist_twice(zone: str, day: str, at: str, due: str) -> None:
    assert due_instant(date.fromisoformat(day), time.fromisoformat(at), zone) == utc(due)


def test_a_deadline_follows_the_same_rule_and_is_never_before_it_is_due() -> None:
    made = schedule(report(after="1 day", at="02:10", deadline="02:50"), "24/7")
    runs = {r.period_label: r for r in expected(made, utc("2026-03-06"), utc("2026-11-05"))}
    assert runs["2026-03-07"].due_at == runs["2026-03-07"].deadline_at == utc("2026-03-08T07:00")
    assert runs["2026-10-31"].due_at == utc("2026-11-01T07:10")  # −05: 02:10 exists once
    assert all(run.due_at <= run.deadline_at for run in runs.values())
    longer = schedule(report(after="1 day", at="01:30", deadline="2 hours"), "24/7")
    (run,) = expected(longer, utc("2026-11-01T00:00"), utc("2026-11-02T00:00"))
    assert run.deadline_at - run.due_at == timedelta(hours=2)  # on the watch, not on the wall


# ---- Calendars ---------------------------------------------------------------------------------

ALL_KINDS = (
    report()
    + report("weekly", at="07:30")
    + report("monthly", "2 business days", "09:00")
    + report("quarterly", "5 business days", "09:00")
)


def test_thanksgiving_week() -> None:
    runs = expected(schedule(report()), utc("2026-11-24"), utc("2026-12-01"))
    assert drawn(runs) == lines(
        """
        daily/XNYS/2026-11-23: 11-21..11-23, Mon 11-23, due Tue 2026-11-24 06:30
        daily/XNYS/2026-11-24: 11-24..11-24, Tue 11-24, due Wed 2026-11-25 06:30
        daily/XNYS/2026-11-25: 11-25..11-25, Wed 11-25, due Fri 2026-11-27 06:30
        daily/XNYS/2026-11-27: 11-26..11-27, Fri 11-27, due Mon 2026-11-30 06:30
        """
    )


def test_the_end_of_a_year_of_53_weeks() -> None:
    runs = expected(schedule(ALL_KINDS), utc("2026-12-30"), utc("2027-01-12"))
    assert drawn(runs) == lines(
        """
        daily/XNYS/2026-12-29: 12-29..12-29, Tue 12-29, due Wed 2026-12-30 06:30
        daily/XNYS/2026-12-30: 12-30..12-30, Wed 12-30, due Thu 2026-12-31 06:30
        daily/XNYS/2026-12-31: 12-31..12-31, Thu 12-31, due Mon 2027-01-04 06:30
        weekly/XNYS/2026-W53: 12-28..01-03, Thu 12-31, due Mon 2027-01-04 07:30
        daily/XNYS/2027-01-04: 01-01..01-04, Mon 01-04, due Tue 2027-01-05 06:30
        monthly/XNYS/2026-12: 12-01..12-31, Thu 12-31, due Tue 2027-01-05 09:00
        daily/XNYS/2027-01-05: 01-05..01-05, Tue 01-05, due Wed 2027-01-06 06:30
        daily/XNYS/2027-01-06: 01-06..01-06, Wed 01-06, due Thu 2027-01-07 06:30
        daily/XNYS/2027-01-07: 01-07..01-07, Thu 01-07, due Fri 2027-01-08 06:30
        quarterly/XNYS/2026-Q4: 10-01..12-31, Thu 12-31, due Fri 2027-01-08 09:00
        daily/XNYS/2027-01-08: 01-08..01-08, Fri 01-08, due Mon 2027-01-11 06:30
        weekly/XNYS/2027-W01: 01-04..01-10, Fri 01-08, due Mon 2027-01-11 07:30
        """
    )


def test_every_period_of_a_year_is_there_once() -> None:
    runs = expected(schedule(ALL_KINDS), utc("2026-01-01"), utc("2027-02-01"))
    labels = {kind: [r.period_label for r in runs if r.kind == kind] for kind in KINDS}
    assert [x for x in labels["weekly"] if x.startswith("2026")] == [
        f"2026-W{week:02d}" for week in range(1, 54)
    ]
    assert [x for x in labels["monthly"] if x.startswith("2026")] == [
        f"2026-{month:02d}" for month in range(1, 13)
    ]
    assert labels["quarterly"] == ["2025-Q4", "2026-Q1", "2026-Q2", "2026-Q3", "2026-Q4"]
    # The NYSE's calendar of 2026: 261 days from Monday to Friday, and ten holidays on them.
    assert len([x for x in labels["daily"] if x.startswith("2026")]) == 261 - 10
    assert runs == sorted(runs) and len({r.key for r in runs}) == len(runs)


KINDS = ("daily", "weekly", "monthly", "quarterly")


def test_a_week_without_a_session_has_no_report() -> None:
    # Tokyo was closed from 27 April to 6 May 2019.
    made = schedule(report() + report("weekly", at="07:30"), "XTKS", "Asia/Tokyo")
    runs = expected(made, utc("2019-04-25"), utc("2019-05-14"))
    assert [r.key for r in runs if r.kind == "weekly"] == [
        "weekly/XTKS/2019-W17",
        "weekly/XTKS/2019-W19",
    ]
    assert drawn(runs, "Asia/Tokyo").splitlines()[:3] == [
        "daily/XTKS/2019-04-25: 04-25..04-25, Thu 04-25, due Fri 2019-04-26 06:30",
        "daily/XTKS/2019-04-26: 04-26..04-26, Fri 04-26, due Tue 2019-05-07 06:30",
        "weekly/XTKS/2019-W17: 04-22..04-28, Fri 04-26, due Tue 2019-05-07 07:30",
    ]


@pytest.mark.parametrize(
    ("calendar", "after", "dues"),
    [
        # Sessions of Thursday 5 to Monday 9 November 2026, and the day on which each is due.
        ("24/7", "1 session", "05-06 06-07 07-08 08-09 09-10"),
        ("24/7", "1 business day", "05-06 06-09 07-09 08-09 09-10"),
        ("24/7", "2 business days", "05-09 06-10 07-10 08-10 09-11"),
        ("24/7", "3 days", "05-08 06-09 07-10 08-11 09-12"),
        ("XNYS", "1 session", "05-06 06-09 09-10"),
        ("XNYS", "1 day", "05-06 06-07 09-10"),
    ],
)
def test_sessions_business_days_and_days(calendar: str, after: str, dues: str) -> None:
    made = schedule(report(after=after), calendar, "UTC")
    runs = expected(made, utc("2026-11-01"), utc("2026-11-20"))
    chosen = [r for r in runs if date(2026, 11, 5) <= r.day <= date(2026, 11, 9)]
    assert " ".join(f"{r.day:%d}-{r.due_at:%d}" for r in chosen) == dues


def test_two_calendars_and_two_zones_in_one_schedule() -> None:
    london = 'calendar = "XLON"\nzone = "Europe/London"'
    made = schedule(report() + report(name="london", more=london))
    runs = expected(made, utc("2026-05-25"), utc("2026-05-27T12:00"))
    # Memorial Day and the spring bank holiday are the same Monday; the rest is its own.
    assert [(r.key, f"{r.due_at:%m-%d %H:%M}") for r in runs] == [
        ("london/XLON/2026-05-22", "05-26 05:30"),
        ("daily/XNYS/2026-05-22", "05-26 10:30"),
        ("london/XLON/2026-05-26", "05-27 05:30"),
        ("daily/XNYS/2026-05-26", "05-27 10:30"),
    ]
    christmas = expected(made, utc("2026-12-28"), utc("2026-12-31"))
    assert [r.key for r in christmas] == [  # London is closed on the 28th too
        "daily/XNYS/2026-12-24",
        "london/XLON/2026-12-24",
        "daily/XNYS/2026-12-28",
        "london/XLON/2026-12-29",
        "daily/XNYS/2026-12-29",
    ]


def test_from_leaves_out_what_was_before_it() -> None:
    made = schedule(report("monthly", more="from = 2026-10-31"))
    runs = expected(made, utc("2026-01-01"), utc("2026-12-31"))
    assert [r.period_label for r in runs] == ["2026-10", "2026-11"]


CLOSURE = """
[[closure]]
calendar = "XNYS"
date = 2026-12-28
closed = true
reason = "day of mourning"
source = "notice of 2026-12-21"

[[closure]]
date = 2026-12-30
early_close = "13:00"
reason = "storm"
source = "notice of 2026-12-30"
"""


def test_an_unscheduled_closure_moves_what_is_due() -> None:
    runs = expected(schedule(report() + CLOSURE), utc("2026-12-24"), utc("2026-12-31"))
    assert drawn(runs) == lines(
        """
        daily/XNYS/2026-12-23: 12-23..12-23, Wed 12-23, due Thu 2026-12-24 06:30
        daily/XNYS/2026-12-24: 12-24..12-24, Thu 12-24, due Tue 2026-12-29 06:30
        daily/XNYS/2026-12-29: 12-25..12-29, Tue 12-29, due Wed 2026-12-30 06:30
        """
    )
    assert schedule(CLOSURE).calendar("XNYS") == (
        "XNYS except 2026-12-28 closed, 2026-12-30 early 13:00"
    )
    assert schedule(CLOSURE).calendar("XLON") == "XLON"


# ---- Polling -----------------------------------------------------------------------------------

BUSY = schedule(
    ALL_KINDS
    + report(name="always", after="1 day", at="02:30", more='calendar = "24/7"')
    + report(name="london", at="01:30", more='calendar = "XLON"\nzone = "Europe/London"')
    + CLOSURE
)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 6, 1), timezones=st.just(UTC))


@settings(deadline=None, max_examples=60)
@given(st.lists(MOMENTS, min_size=2, max_size=12), st.data())
def test_however_time_is_cut_the_runs_are_the_same(
    moments: list[datetime], data: st.DataObject
) -> None:
    """Polls at any moments, also at the very instant that something is due."""
    runs = expected(BUSY, utc("2026-01-01"), utc("2027-06-01"))
    exactly = data.draw(st.lists(st.sampled_from(runs), max_size=4))
    cuts = sorted([*moments, *(run.due_at for run in exactly)])
    polled = [run for since, until in pairwise(cuts) for run in expected(BUSY, since, until)]
    assert polled == [run for run in runs if cuts[0] < run.due_at <= cuts[-1]]


@settings(deadline=None, max_examples=30)
@given(st.lists(MOMENTS, min_size=3, max_size=8, unique=True), st.randoms())
def test_polls_in_any_order_find_the_same_runs(moments: list[datetime], order: Random) -> None:
    cuts = sorted(moments)
    pieces = list(pairwise(cuts))
    order.shuffle(pieces)
    found = sorted(run for since, until in pieces for run in expected(BUSY, since, until))
    assert found == expected(BUSY, cuts[0], cuts[-1])
    assert expected(BUSY, cuts[-1], cuts[0]) == []  # a clock that went back


# ---- The end of what is known ------------------------------------------------------------------


def test_the_end_of_the_calendar_is_told_ahead_of_time() -> None:
    made = schedule(report() + report(name="london", more='calendar = "XLON"'))
    assert horizon(made, utc("2027-06-30")) == []
    new_york, london = sorted(horizon(made, utc("2027-07-10T12:00")), reverse=True)
    assert new_york.startswith("XNYS is known until 2027-12-31, which ends in 174 days")
    assert "last session 2027-12-31" in london and "update exchange-calendars" in london
    assert "ends 3 days ago" in horizon(made, utc("2028-01-03T12:00"))[0]
    assert horizon(schedule(""), utc("2028-01-03")) == []


def test_what_is_not_known_is_refused_and_not_left_out() -> None:
    made = schedule(report())
    runs = expected(made, utc("2027-12-30"), utc("2027-12-31T23:59"))
    assert [r.period_label for r in runs] == ["2027-12-29", "2027-12-30"]
    with pytest.raises(UsageError, match=r"'daily'.*XNYS ends with 2027-12-31"):
        expected(made, utc("2027-12-30"), utc("2028-01-01T05:00"))
    assert expected(schedule(""), utc("2027-12-30"), utc("2029-01-01")) == []


def test_long_before_all_that_is_known() -> None:
    first = expected(schedule(report()), utc("1990-01-01"), utc("2001-01-05"))[0]
    assert first.key == "daily/XNYS/2001-01-02"


# ---- The file ----------------------------------------------------------------------------------

WHOLE = (
    'catch_up = "45 days"\n'
    + report(
        more='recipients = ["desk", "auditor"]\nunknown = "resend"\nattach = false\n'
        'retry_first = "30 seconds"\nretry_at_most = "10 minutes"\nfrom = 2026-11-01'
    )
    + """
[[recipient]]
name = "desk"
address = "Desk.Lead+daily@trading.example"
to_name = "Trading desk, München"
class = "internal"

[[recipient]]
name = "auditor"
address = "a@prüfer.example"
class = "external"
"""
    + CLOSURE
)


def test_the_shipped_file_has_every_kind_and_mails_nobody() -> None:
    made = parse_schedule(SHIPPED, "XNYS", NEW_YORK)
    assert [r.kind for r in made.reports] == list(KINDS)
    assert made.recipients == made.closures == ()
    assert {r.recipients for r in made.reports} == {()}
    assert {(r.calendar, r.zone) for r in made.reports} == {("XNYS", NEW_YORK)}
    assert made.catch_up == timedelta(days=60)
    # What is commented out is right too.
    commented = SHIPPED.split("An address stands here once.\n#\n")[-1]
    example = SHIPPED + "".join(
        f"{line.removeprefix('# ')}\n"
        for line in commented.splitlines()
        if line.startswith("# ") and ("=" in line or "[[" in line) and "`" not in line
    )
    filled = parse_schedule(example, "XNYS", NEW_YORK)
    assert [r.name for r in filled.recipients] == ["desk"]
    assert filled.calendar("XNYS") == "XNYS except 2026-12-28 closed"


def test_every_field_is_read() -> None:
    made = schedule(WHOLE)
    (daily,) = made.reports
    assert (daily.due_time, daily.due_after) == (time(6, 30), After(1, "session"))
    assert daily.deadline == timedelta(hours=4)
    assert daily.recipients == ("desk", "auditor")
    assert (daily.unknown, daily.attach) == ("resend", False)
    assert (daily.retry_first, daily.retry_at_most) == (
        timedelta(seconds=30),
        timedelta(minutes=10),
    )
    assert daily.since == date(2026, 11, 1)
    desk, auditor = made.recipients
    assert (desk.name, desk.address) == ("desk", "Desk.Lead+daily@trading.example")
    assert (desk.to_name, desk.class_) == ("Trading desk, München", "internal")
    assert (auditor.address, auditor.class_) == ("a@xn--prfer-lva.example", "external")
    closed, early = made.closures
    assert (closed.date, closed.closed, closed.reason) == (
        date(2026, 12, 28),
        True,
        "day of mourning",
    )
    assert (early.calendar, early.early_close) == ("XNYS", time(13))
    assert made.catch_up == timedelta(days=45)
    assert made.digest != schedule(WHOLE + "\n").digest
    plain = schedule(report()).reports[0]
    assert (plain.unknown, plain.attach) == ("hold", True)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[[report]]", "[[reports]]", "'reports'; expected catch_up, [[report]]"),
        ("[[report]]", "[report]", "expected tables [[report]]"),
        ('name = "daily"', 'name = "Daily report"', "report 'Daily report': name is"),
        ('name = "daily"\n', "", "report 1: name is not there"),
        ('kind = "daily"', 'kind = "yearly"', "'daily': kind is 'yearly'; expected"),
        ('"06:30"', '"6:30"', "due_time is '6:30'; expected: a local time in quotes"),
        ('"06:30"', "06:30:00", "due_time is datetime.time(6, 30); expected"),
        ('"06:30"', '"24:00"', "due_time is '24:00'"),
        ('"1 session"', '"session"', "due_after is 'session'; expected: a count such as"),
        ('"1 session"', '"0 days"', "due_after is '0 days'"),
        ('"1 session"', '"100 days"', "due_after is '100 days'"),
        ('"4 hours"', '"06:30"', "a deadline after due_time (06:30)"),
        ('"4 hours"', '"-4 hours"', "deadline is '-4 hours'; expected: a local time such as"),
        ("attach = false", 'attach = "no"', "attach is 'no'"),
        ("attach = false", "zone = 'America'", "zone is 'America'; expected: 'America' is not"),
        ("attach = false", "zone = 'Mars/Olympus'", "zone is 'Mars/Olympus'"),
        ("attach = false", "calendar = 'NOPE'", "'daily': calendar 'NOPE' is not known"),
        ("attach = false", "calendar = 'XSHG'", "'daily': calendar 'XSHG' can not be had"),
        ("attach = false", "calendar = 'XTAE'", " …; expected one that covers these years"),
        ("attach = false", "calendar = 'XNYS except 2026-12-28 closed'", "without overrides"),
        ("attach = false", "colour = 1", "colour is 1"),
        ('"resend"', '"retry"', "unknown is 'retry'"),
        ('["desk", "auditor"]', '["desk", "nobody"]', "no recipient is called 'nobody'"),
        ('["desk", "auditor"]', '["desk", "desk"]', "every recipient once"),
        ('["desk", "auditor"]', '"desk"', "recipients is 'desk'"),
        ('"30 seconds"', '"1 hour"', "retry_first of at most retry_at_most"),
        ('"45 days"', '"a while"', "catch_up is 'a while'; expected a length such as"),
        ('"45 days"', "45", "catch_up is 45; expected a length"),
        ('class = "external"', 'class = "public"', "class is 'public'"),
        ("a@prüfer.example", "desk.lead+daily@TRADING.example", "are both desk.lead+daily@"),
        ('name = "auditor"', 'name = "desk"', "recipient 'desk' stands there twice"),
        ("München", "M\\r\\nBcc: x@evil.example", "without line breaks"),
        ("date = 2026-12-28", "date = 2026-12-27", "XNYS has no session on it"),
        ("date = 2026-12-28", "date = 1850-01-01", "XNYS has no session on it"),
        ("date = 2026-12-28", "date = 2026-12-30", "'XNYS 2026-12-30' stands there twice"),
        ("closed = true", "closed = false", "closed is False"),
        ("closed = true\n", "", "either closed = true or early_close"),
        ("closed = true", 'closed = true\nearly_close = "13:00"', "either closed = true or"),
        ('reason = "storm"\n', "", "closure 2: reason is not there"),
    ],
)
def test_a_mistake_is_named(old: str, new: str, words: str) -> None:
    assert old in WHOLE
    with pytest.raises(ValidationFailed) as caught:
        schedule(WHOLE.replace(old, new, 1))
    assert words in str(caught.value) and str(caught.value).startswith("schedule.toml")


@pytest.mark.parametrize(
    "address",
    [
        "", "@", "a@", "@b", "a", "a@b@c.example", "a b@c.example", "a@c.example ", "a@c..example",
        "a@-c.example", "a@c_d.example", "a\\nBcc: x@c.example", "a@c.example\\r\\nRCPT TO:<x>",
        "a@[127.0.0.1]", "<a@c.example>", "a,b@c.example", "ä@c.example", ".a@c.example",
        "a@c.example\\u0000", "a@c.example\\u2028", '\\"a\\"@c.example', "a" * 65 + "@c.example",
        "a@" + "c" * 64 + ".example", "a@" + "c." * 130 + "example", "a@xn--\\u00fc.example",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValidationFailed, match="recipient 'auditor': address is"):
        schedule(WHOLE.replace("a@prüfer.example", address))


def test_reports_of_one_name_and_text_that_is_no_toml() -> None:
    with pytest.raises(ValidationFailed, match="report 'daily' stands there twice"):
        schedule(report() + report())
    with pytest.raises(ValidationFailed, match=r"not TOML.*line 2"):
        schedule("\ncatch_up = \n")


def test_the_service_names_the_file_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"

    def service() -> Service:
        return Service(load(schedule_file=file, calendar="XNYS", zone=NEW_YORK))

    with pytest.raises(UsageError, match=r"can't be read.*REPORTING_SCHEDULE_FILE is .*mine\.toml"):
        _ = service().schedule
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"can't be read.*REPORTING_SCHEDULE_FILE"):
        _ = service().calendar
    file.write_text("catch_up = 1")
    with pytest.raises(ValidationFailed, match=r"mine\.toml: catch_up.*REPORTING_SCHEDULE_FILE"):
        _ = service().schedule
    file.write_text(WHOLE)
    assert service().calendar == "XNYS except 2026-12-28 closed, 2026-12-30 early 13:00"
    assert service().trading_day(date(2026, 12, 30)).note == "early close at 13:00"
    with pytest.raises(UsageError, match=r"REPORTING_CALENDAR: .*REPORTING_SCHEDULE_FILE"):
        load(calendar="XNYS except 2026-12-28 closed")
