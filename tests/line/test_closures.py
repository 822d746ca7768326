"""A session that fell out, written into the schedule after its day was sealed as one."""

from __future__ import annotations

from datetime import date

import pytest

from reporting.errors import UsageError
from reporting.periods import previous_session
from reporting.pipeline.health import Check, doctor
from reporting.pipeline.issuing import period_of
from reporting.pipeline.service import Service, sealed_day

from .site import Site

FRIDAY, SUNDAY = date(2025, 12, 5), date(2025, 12, 7)
CLOSED = """
[[closure]]
date = 2025-12-05
closed = true
reason = "day of mourning"
source = "notice of 2025-12-04"

[[closure]]
calendar = "XLON"
date = 2025-12-04
closed = true
reason = "of another calendar"
source = "notice"
"""


def closures(service: Service, today: date = SUNDAY) -> Check:
    (found,) = (check for check in doctor(service, today) if check.what == "closures")
    return found


def test_a_closure_of_a_sealed_session_is_shouted_and_changes_nothing_by_itself(
    site: Site,
) -> None:
    file = site.var / "schedule.toml"
    file.write_text("")
    plain = site.service(schedule_file=file)
    assert closures(plain).detail == "0 written down, none against what is sealed"
    rows = site.rows()

    file.write_text(CLOSED)
    service = site.service(schedule_file=file)
    found = closures(service)
    assert not found.ok and found.mend == "reporting close --date DAY --reason WHY"
    assert found.detail.startswith(
        "2025-12-05 is sealed as 'regular session', and the schedule says 'XNYS closed "
        "(unscheduled)': what is sealed stays until the day is closed again"
    )
    assert site.rows() == rows
    row = service.store.day(FRIDAY)
    assert row is not None and sealed_day(row).session
    # What is made from now on goes by the schedule, and so does the book's calendar.
    assert service.calendar == "XNYS except 2025-12-05 closed"
    assert not service.trading_day(FRIDAY).is_session
    assert previous_session(SUNDAY, service.calendar) == date(2025, 12, 4)
    with pytest.raises(UsageError, match=r"2025-12-05 is no session: XNYS closed \(unscheduled\)"):
        period_of(service, "daily", FRIDAY)


def test_the_doctor_tells_the_end_of_the_calendar_ahead_of_time(site: Site) -> None:
    def calendar(today: date) -> Check:
        (found,) = (c for c in doctor(site.service(), today) if c.what == "calendar")
        return found

    assert calendar(SUNDAY).ok
    late = calendar(date(2027, 8, 1))
    assert not late.ok and "XNYS is known until 2027-12-31, which ends in 152 days" in late.detail
