"""What every kind of indicator starts from: fetched series, a window, amounts in 10^-9."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model import EXACT
from .facts import Events, OwnedTime, Slices

#: All amounts of events and of values are whole multiples of 1 / NANO.
NANO = 1_000_000_000

Ints = npt.NDArray[Any]  # int64, or Python integers where those would overflow
Times = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """One fetched series with its samples; ``target`` is who was scraped for it."""

    role: str
    target: tuple[str, str]
    le: str
    interval: int
    clean: bool
    seen_before: bool
    up_before: bool
    at: Times
    value: Floats

    @classmethod
    def of(cls, row: Mapping[Any, Any], at: Times, value: Floats) -> Series:
        labels = json.loads(row["labels"]) if row["labels"] else {}
        return cls(
            role=str(row["role"]),
            target=(str(labels.get("job", "")), str(labels.get("instance", ""))),
            le=str(row["le"]),
            interval=int(row["interval_ms"]),
            clean=bool(row["clean"]),
            seen_before=bool(row["seen_before"]),
            up_before=bool(row["up_before"]),
            at=at,
            value=value,
        )

    @property
    def is_born(self) -> bool:
        """Whether its first sample is its first ever."""
        return not self.clean and (not self.seen_before or self.up_before)

    def counted(self, start: int, end: int) -> int:
        """Samples in the window; of a clean series not all of them were sent."""
        if self.clean and self.interval:
            return (end - start) // self.interval
        return int(np.searchsorted(self.at, end) - np.searchsorted(self.at, start))


@dataclass(frozen=True)
class Window:
    """What of an objective's row all kinds need."""

    start: int
    end: int
    slice_ms: int
    slice_target: Decimal | None

    @property
    def length(self) -> int:
        return self.end - self.start

    def edges(self, slice_ms: int) -> Times:
        """Edges of the slices, multiples from the window's start; the last may be shorter."""
        return np.append(np.arange(self.start, self.end, slice_ms), self.end)

    def slices(self) -> int:
        return -(-self.length // self.slice_ms) if self.slice_ms else 0


def from_nano(nano: int) -> Decimal:
    return EXACT.scaleb(Decimal(nano), -9)


def slices_by_outcome(
    share: Ints, empty: npt.NDArray[np.bool_], unknown: npt.NDArray[np.bool_], window: Window
) -> Slices:
    """Count the slices by outcome; ``share`` is of good in each, in nano."""
    known = ~(empty | unknown)
    wanted = 1 if window.slice_target is None else window.slice_target
    met = known & (share >= int(EXACT.multiply(Decimal(wanted), Decimal(NANO))))
    return Slices(
        good=int(met.sum()),
        bad=int(known.sum() - met.sum()),
        empty=int((empty & ~unknown).sum()),
        unknown=int(unknown.sum()),
        share_sum=from_nano(int(share[known].sum())),
    )


def owned_time(
    good_ms: int,
    share_nano: int,
    bad_ms: int,
    unknown_ms: int,
    *,
    low: int = 0,
    high: int = 0,
    empty_ms: int = 0,
) -> OwnedTime:
    return OwnedTime(
        good_ms=good_ms,
        bad_ms=bad_ms,
        unknown_ms=unknown_ms,
        doubtful_good_ms=from_nano(low),
        doubtful_bad_ms=from_nano(high),
        share_ms=from_nano(share_nano),
        empty_ms=empty_ms,
    )


def unmeasured(row: Mapping[str, Any], window: Window) -> dict[str, Any]:
    """All of the window unknown, in the fields that the kind adds up over days."""
    made: dict[str, Any] = {"unknown_ms": window.length}
    if row["kind"] == "counts" or row["rate"]:
        made["events"] = Events(good=Decimal(0), total=Decimal(0))
    if row["kind"] != "counts":
        made["time"] = owned_time(0, 0, 0, window.length)
    if window.slice_ms:
        made["slices"] = Slices(
            good=0, bad=0, empty=0, unknown=window.slices(), share_sum=Decimal(0)
        )
    return made
