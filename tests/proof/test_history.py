"""The generator of known truth: its sums are what counting one by one gives."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date
from itertools import pairwise

import numpy as np

from .history import RATE, Host, draw, write
from .proof import NEW_YORK, PLANS

DAY = date(2025, 11, 2)
BARE = Host("h", "outages", DAY, NEW_YORK, tau_ms=60_000, phase_ms=7_000)


def inside(at: int, *spans: tuple[int, int]) -> bool:
    return any(lo <= at < hi for lo, hi in spans)


def test_a_state_lasts_at_least_as_long_as_two_scrapes_are_apart() -> None:
    hosts = [host for plan in PLANS for host in draw(plan, 3)]
    changed = 0
    for host in hosts:
        apart = host.tau_ms + host.late_ms
        down = sorted(host.down)
        assert all(hi - lo >= apart for lo, hi in down)
        assert all(b[0] - a[1] >= apart for a, b in pairwise(down))
        changed += len(down)
    assert changed > 1000


def test_time_up_is_what_counting_gives() -> None:
    start, _ = BARE.window
    host = replace(
        BARE, down=((start + 100, start + 700), (start + 5_000, start + 9_000)),
        gone=((start + 600, start + 1_500), (start - 500, start + 50)),
    )  # fmt: skip
    counted = sum(not inside(at, *host.down, *host.gone) for at in range(start, start + 10_000))
    assert host.up_between(start, start + 10_000) == counted
    # A day of 25 hours without the spans: 600 + 4000 + 900 - 100 in both + 50.
    assert host.up_ms() == 25 * 3_600_000 - (600 + 4_000 + 900 - 100 + 50)


def test_requests_stop_while_it_does_not_serve() -> None:
    start, _ = BARE.window
    host = replace(BARE, down=((start + 2_000, start + 5_000),))
    at = np.arange(start, start + 10_000, 500, dtype=np.int64)
    served = host.served(at) - host.served(at[:1])
    per_half_second = RATE // 2
    expected = [per_half_second * k for k in (*range(5), *[4] * 6, *range(5, 14))]
    assert served.tolist() == expected


def test_a_counter_shows_what_was_counted_since_the_restart_and_is_born_with_its_first() -> None:
    start, _ = BARE.window
    first = start + 7_000  # the first scrape of the day
    host = replace(
        BARE, counts=True, restarts=(first + 90_000,),
        errors=(first + 1_000, first + 61_000, first + 70_000, first + 200_000),
    )  # fmt: skip
    file = io.StringIO()
    write(file, [host])
    shown = {}
    for line in file.getvalue().splitlines():
        if 'code="500"' in line:
            _, value, stamp = line.split(" ")
            shown[(int(stamp.replace(".", "")) - first) // 60_000] = int(value)
    # One error before the second scrape, three before the third; forgotten; one again from the
    # fifth scrape on, at 240 s.
    assert {k: v for k, v in shown.items() if k < 6} == {1: 1, 4: 1, 5: 1}
    assert min(shown) == 1


def test_the_same_seed_draws_the_same_histories() -> None:
    assert draw(PLANS[0], 5) == draw(PLANS[0], 5)
    assert draw(PLANS[0], 5) != draw(PLANS[0], 6)
