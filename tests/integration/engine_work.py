"""Work that the tests of the engine send: what dies, what fails, what tells who did it."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def squared(number: int) -> int:
    return number * number


def whose(_: int) -> int:
    """The process that does it; slow enough for each to get some."""
    time.sleep(0.05)
    return os.getpid()


def page_faults(_: int) -> int:
    """How often the system gave a page, while 80 MB were made, filled and freed again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    made = [np.ones(1_000_000) for _ in range(10)]
    del made
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def failing(number: int) -> int:
    if number == 3:
        raise LookupError("no number 3")
    return number


def dying(_: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still here")


def waiting(number: int) -> int:
    time.sleep(3600 if number else 0)
    return number


def dying_once(flag: Path, at: int, work: Callable[[Any], Any], numbered: tuple[int, Any]) -> Any:
    """``work``; the first time, the worker of thing ``at`` is killed with its result in hand."""
    number, thing = numbered
    found = work(thing)
    if number == at:
        try:
            flag.touch(exist_ok=False)
        except FileExistsError:
            return found
        os.kill(os.getpid(), signal.SIGKILL)
    return found
