"""The alarm clock: calls one function again and again. The only apscheduler door.

It is no more than that: what is due, and whether it is done, the database knows. A cron trigger
would skip or double days where clocks change, and a job store shared by two replicas would run
every job twice.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from time import monotonic

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

JOB = "tick"


class Clock:
    """Calls ``tick`` every so many seconds, one call at a time, until it is stopped."""

    def __init__(self, tick: Callable[[], None], every_s: float) -> None:
        self._tick = tick
        self._every_s = every_s
        self._last = monotonic()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        """Call it once, here, then in a thread."""
        self._called()
        self._scheduler.add_job(self._called, "interval", seconds=self._every_s, id=JOB)
        self._scheduler.start()

    def _called(self) -> None:
        self._last = monotonic()
        self._tick()

    def tend(self) -> bool:
        """Set it anew where it did not ring; whether that was needed.

        Where the machine's clock is set back, its next call lies as far in the future.
        """
        if monotonic() - self._last < 2 * self._every_s:
            return False
        self._last = monotonic()
        self._scheduler.reschedule_job(JOB, trigger="interval", seconds=self._every_s)
        return True

    def stop(self) -> None:
        """Call it no more; a call that is under way ends first."""
        self._scheduler.shutdown(wait=True)
