"""What is planted in the services' own figures: slow hours, bad data, a disk that fills.

Each story has a name; :mod:`.levels` shapes the series by it, :mod:`.alerts` raises its alerts.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from typing import Final

from ...model import epoch_ms
from ...periods import days_between, local_midnight
from .truth import END_MS, FIRST_DAY, LAST_DAY, ZONE, Interval, Storage, Truth, outage

DAY_MS: Final = 86_400_000
GB: Final = 1_000_000_000
#: Backups end at about this local hour of every night.
BACKUP_HOUR = 2.5


def add(truth: Truth) -> Truth:
    """``truth`` with its stories, drawn from a chance of their own: the states stay as they are."""
    chance = random.Random(f"{truth.seed}/stories")
    missed = backup_end(date(2025, 11, 22))
    stories: dict[str, tuple[Interval, ...]] = {
        # 5 % of a day's orders may be slow: an hour of its busiest time is more than that.
        "order_latency_spike": (outage(chance, date(2025, 11, 14), (10, 13), (58, 68)),),
        "order_stall": (outage(chance, date(2025, 11, 19), (11, 15), (4, 6)),),
        "var_breach": (outage(chance, date(2025, 11, 20), (10, 14), (21, 34)),),
        "backup_missed": ((missed, backup_end(date(2025, 11, 23))),),
        "strategic_dip": (_exactly(outage(chance, date(2025, 11, 25), (10, 14), (1, 2)), 40),),
        "invalid_burst": tuple(
            outage(chance, day, (10, 15), (6, 12))
            for day in (date(2025, 11, 5), date(2025, 11, 17), date(2025, 12, 4))
        ),
        "invalid_flapping": _flapping(chance, date(2025, 11, 24)),
        "error_false_alarm": (outage(chance, date(2025, 11, 26), (9, 15), (3, 5)),),
        "model_drift": (outage(chance, date(2025, 12, 1), (9, 12), (180, 240)),),
        # A release in the morning, never rolled back.
        "tactical_regression": ((outage(chance, date(2025, 12, 2), (6, 8), (1, 2))[0], END_MS),),
        "cpu_high": (_exactly(outage(chance, date(2025, 12, 3), (10, 14), (1, 2)), 120),),
    }
    sundays = [day for day in days_between(FIRST_DAY, LAST_DAY) if day.weekday() == 6]
    restarts = tuple(outage(chance, day, (4, 6), (1, 2))[0] for day in sundays)
    return replace(truth, stories=stories, pipeline_restarts_ms=restarts, storage=_storage())


def backup_end(day: date) -> int:
    """When the backup of the night before ``day`` ends."""
    return epoch_ms(local_midnight(day, ZONE)) + int(BACKUP_HOUR * 3_600_000)


def _exactly(span: Interval, minutes: int) -> Interval:
    return span[0], span[0] + minutes * 60_000


def _flapping(chance: random.Random, day: date) -> tuple[Interval, ...]:
    """Six short bursts within an hour, at least four minutes apart."""
    start = outage(chance, day, (11, 14), (1, 2))[0]
    bursts = []
    for number in range(6):
        at = start + number * 9 * 60_000 + chance.randrange(60_000)
        bursts.append((at, at + chance.randrange(150_000, 240_000)))
    return tuple(bursts)


def _storage() -> Storage:
    """390 of 500 GB at the end of the last day, the rest used up in 60 days."""
    at = epoch_ms(local_midnight(LAST_DAY + timedelta(1), ZONE))
    return Storage(
        at_ms=at,
        used_bytes=390 * GB,
        bytes_per_day=(500 - 390) * GB // 60,
        allocated_bytes=500 * GB,
        full_ms=at + 60 * DAY_MS,
    )
