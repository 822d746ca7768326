"""Planned maintenance: what the file may say, and which instants it means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.errors import ValidationFailed
from reporting.model import Window
from reporting.policy.maintenance import Maintenance, Occurrence, parse_maintenance

ROOT = Path(__file__).parents[2]

ONCE = """
[[once]]
targets = ["grafana", "kibana"]
start = 2025-12-06T22:00:00
end = 2025-12-07T00:30:00
zone = "America/New_York"
reason = "upgrade"
approved_by = "Ann"
approved_at = 2025-12-01T15:00:00-05:00
"""
SUNDAYS = """
[[recurring]]
targets = "*"
weekdays = ["SU"]
at = 02:30:00
duration = "2h"
from = 2025-01-01
until = 2025-12-31
zone = "America/New_York"
reason = "patching"
approved_by = "Ann"
approved_at = 2024-12-20T10:00:00-05:00
"""


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def span(start: str, end: str) -> Window:
    return Window(start=utc(start), end=utc(end))


def starts(found: tuple[Occurrence, ...]) -> list[str]:
    """When they start, in UTC."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return [(epoch + timedelta(milliseconds=o.start_ms)).isoformat()[:16] for o in found]


def lengths(found: tuple[Occurrence, ...]) -> set[int]:
    return {o.end_ms - o.start_ms for o in found}


def test_a_window_that_happens_once_has_a_row_for_each_target() -> None:
    found = parse_maintenance(ONCE).windows(span("2025-12-07T05:00", "2025-12-08T05:00"))
    # 22:00 in New York is 03:00 UTC of the next day.
    assert [(o.target, o.reason, o.approved_by, o.retroactive) for o in found] == [
        ("grafana", "upgrade", "Ann", False),
        ("kibana", "upgrade", "Ann", False),
    ]
    assert starts(found) == ["2025-12-07T03:00"] * 2
    assert lengths(found) == {150 * 60_000}
    assert found[0].approved_at_ms == int(utc("2025-12-01T20:00").timestamp()) * 1000


@pytest.mark.parametrize(
    ("start", "end", "rows"),
    [
        ("2025-12-07T05:30", "2025-12-08T00:00", 0),  # it ends at 05:30
        ("2025-12-07T05:29", "2025-12-08T00:00", 2),
        ("2025-12-06T00:00", "2025-12-07T03:00", 0),  # and starts at 03:00
        ("2025-12-06T00:00", "2025-12-07T03:01", 2),
    ],
)
def test_a_window_is_there_only_where_it_overlaps(start: str, end: str, rows: int) -> None:
    assert len(parse_maintenance(ONCE).windows(span(start, end))) == rows


def test_a_window_recurs_on_its_weekday_at_local_time() -> None:
    found = parse_maintenance(SUNDAYS).windows(span("2025-11-01T00:00", "2025-11-17T00:00"))
    # The clocks went back on 2 November: 02:30 was 07:30 UTC from then on.
    assert starts(found) == ["2025-11-02T07:30", "2025-11-09T07:30", "2025-11-16T07:30"]


def test_a_local_time_that_the_clock_change_skips_is_read_with_the_offset_before() -> None:
    found = parse_maintenance(SUNDAYS).windows(span("2025-03-08T00:00", "2025-03-17T00:00"))
    # 9 March: 02:30 does not exist; 02:30 EST is 07:30 UTC. A week later 02:30 EDT is 06:30 UTC.
    assert starts(found) == ["2025-03-09T07:30", "2025-03-16T06:30"]
    assert lengths(found) == {2 * 3_600_000}


def test_a_local_time_that_happens_twice_is_the_first_and_its_length_is_elapsed_time() -> None:
    text = SUNDAYS.replace("02:30:00", "01:30:00")
    found = parse_maintenance(text).windows(span("2025-11-02T00:00", "2025-11-03T00:00"))
    # 01:30 EDT is 05:30 UTC; two hours later it is 02:30 EST.
    assert starts(found) == ["2025-11-02T05:30"] and lengths(found) == {2 * 3_600_000}


def test_a_window_recurs_from_its_first_to_its_last_date() -> None:
    text = SUNDAYS.replace("2025-01-01", "2025-11-03").replace("2025-12-31", "2025-11-16")
    found = parse_maintenance(text).windows(span("2025-10-01T00:00", "2025-12-01T00:00"))
    assert starts(found) == ["2025-11-09T07:30", "2025-11-16T07:30"]
    endless = text.replace("until = 2025-11-16\n", "")
    found = parse_maintenance(endless).windows(span("2026-11-21T00:00", "2026-11-23T00:00"))
    assert starts(found) == ["2026-11-22T07:30"]


def test_a_window_that_began_days_ago_is_still_there() -> None:
    text = SUNDAYS.replace('"2h"', '"6d"')
    found = parse_maintenance(text).windows(span("2025-11-08T07:29", "2025-11-08T12:00"))
    assert starts(found) == ["2025-11-02T07:30"]
    assert not parse_maintenance(text).windows(span("2025-11-08T07:30", "2025-11-08T12:00"))


def test_what_was_approved_after_it_began_is_retroactive() -> None:
    late = ONCE.replace("2025-12-01T15:00:00-05:00", "2025-12-06T22:00:01-05:00")
    on = span("2025-12-07T00:00", "2025-12-08T00:00")
    assert {o.retroactive for o in parse_maintenance(late).windows(on)} == {True}
    on_time = ONCE.replace("2025-12-01T15:00:00-05:00", "2025-12-06T22:00:00-05:00")
    assert {o.retroactive for o in parse_maintenance(on_time).windows(on)} == {False}
    # Of those that recur, the ones that had already been.
    text = SUNDAYS.replace("2024-12-20T10:00:00-05:00", "2025-11-05T10:00:00-05:00")
    found = parse_maintenance(text).windows(span("2025-11-01T00:00", "2025-11-10T00:00"))
    assert [o.retroactive for o in found] == [True, False]


@given(st.datetimes(datetime(2025, 1, 1), datetime(2025, 12, 1)), st.integers(1, 40))
def test_two_days_have_the_windows_of_both(at: datetime, hours: int) -> None:
    planned = parse_maintenance(SUNDAYS.replace('["SU"]', '["MO", "TH", "SU"]') + ONCE)
    start = at.replace(tzinfo=UTC)
    middle, end = start + timedelta(hours=hours), start + timedelta(hours=2 * hours + 1)
    first = planned.windows(Window(start=start, end=middle))
    second = planned.windows(Window(start=middle, end=end))
    both = planned.windows(Window(start=start, end=end))
    assert set(first) | set(second) == set(both)
    assert list(both) == sorted(both, key=lambda o: (o.start_ms, o.end_ms, o))


def test_nothing_planned_is_no_window() -> None:
    assert parse_maintenance("") == Maintenance()
    assert Maintenance().windows(span("2025-11-08T00:00", "2025-11-09T00:00")) == ()


def test_the_file_that_ships_plans_nothing_and_its_examples_are_right() -> None:
    text = (ROOT / "config" / "maintenance.toml").read_text("utf-8")
    assert parse_maintenance(text) == Maintenance()
    wanted = False
    lines = []
    for line in text.splitlines():
        bare = line.removeprefix("#").removeprefix(" ")
        wanted = bare.startswith("[[") or (wanted and bool(bare))
        lines += [bare] if wanted else []
    found = parse_maintenance("\n".join(lines), {"grafana", "kibana"}, "example")
    assert (len(found.once), len(found.recurring)) == (1, 1)


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        (
            'zone = "Mars"',
            'zone = "America/New_York"',
            "recurring window 1: zone is 'Mars': expected an IANA time zone",
        ),
        ('weekdays = ["XX"]', 'weekdays = ["SU"]', "weekdays is ['XX']: expected a list of MO"),
        ("weekdays = []", 'weekdays = ["SU"]', "weekdays is"),
        ('duration = "8d"', 'duration = "2h"', "duration is '8d': expected a length of up to 7d"),
        ('duration = "two"', 'duration = "2h"', "duration is 'two': expected a length"),
        ('duration = ""', 'duration = "2h"', "duration is '': expected a length"),
        ("duration = 2", 'duration = "2h"', "duration is 2: expected a length"),
        ('at = "x"', "at = 02:30:00", "at is 'x'"),
        ("", "from = 2025-01-01", "from is missing"),
        ("", 'reason = "patching"', "reason is missing"),
        ('reason = ""', 'reason = "patching"', "reason is ''"),
        (
            "until = 2024-01-01",
            "until = 2025-12-31",
            "until is 2024-01-01; expected a date not before from, 2025-01-01",
        ),
        (
            "approved_at = 2024-12-20T10:00:00",
            "approved_at = 2024-12-20T10:00:00-05:00",
            "approved_at is 2024-12-20T10:00:00: Input should have timezone info",
        ),
        ('targets = ["*", "redis"]', 'targets = "*"', "targets has '*' and others"),
        ("targets = []", 'targets = "*"', "targets is"),
        (
            'targets = ["grafna"]',
            'targets = "*"',
            "targets has 'grafna', which no objective has; expected '*' or ids such as grafana",
        ),
        ('colour = "red"', "", "colour is 'red'"),
    ],
)
def test_a_mistake_is_named_with_file_field_and_what_was_expected(
    wrong: str, right: str, message: str
) -> None:
    text = SUNDAYS.replace(right, wrong) if right else SUNDAYS + wrong
    with pytest.raises(ValidationFailed) as error:
        parse_maintenance(text, {"grafana", "kibana"})
    assert str(error.value).startswith("maintenance.toml, recurring window 1: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[once]", "maintenance.toml is not TOML"),
        ("[[twice]]", "maintenance.toml has 'twice'; expected [[once]] and [[recurring]]"),
        ("[once]", "maintenance.toml: once is one table; expected [[once]] for each window"),
        ("once = [3]", "maintenance.toml, once window 1: "),
        (
            ONCE.replace("2025-12-07T00:30:00", "2025-12-06T22:00:00"),
            "end is 2025-12-06T22:00:00; expected a time after start",
        ),
        (
            ONCE.replace("T22:00:00\n", "T22:00:00Z\n"),
            "start is 2025-12-06T22:00:00+00:00: Input should not have timezone info",
        ),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValidationFailed) as error:
        parse_maintenance(text)
    assert message in str(error.value)


def test_an_end_that_a_clock_change_puts_before_its_start_is_refused() -> None:
    # 02:30 is skipped and read as 07:30 UTC; 03:15 EDT is 07:15 UTC.
    text = ONCE.replace("2025-12-06T22:00:00\n", "2025-03-09T02:30:00\n")
    text = text.replace("2025-12-07T00:30:00", "2025-03-09T03:15:00")
    with pytest.raises(ValidationFailed, match="expected a time after start"):
        parse_maintenance(text)
