"""A month of 300 objectives from sealed days: aim, under a second of compute.

    python benchmarks/levels.py [--objectives 300] [--runs 5] [--json]

31 days are sealed, each with up/down states, error counters, latency histograms, gauges with their
sketches and rates judged by slices, as many of each as a catalogue has. Measured is what a monthly
report does with the stored bytes: read the days, read their facts, merge them, and work out each
objective's value, share, verdict and error budget. The floor is ``json.loads`` of the same bytes.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from reporting.document import Cited  # noqa: E402
from reporting.document.history import Facts  # noqa: E402
from reporting.document.objectives import Standing, standings  # noqa: E402
from reporting.measures.service_levels import (  # noqa: E402
    SERVICE_LEVELS,
    Doubt,
    Events,
    Histogram,
    Level,
    OwnedTime,
    ServiceLevelsFact,
    Slices,
    Values,
    sketch_key,
)
from reporting.measures.uptime import UPTIME, Stretch, TargetUptime, UptimeFact  # noqa: E402
from reporting.model import Window  # noqa: E402
from reporting.page import Verdict  # noqa: E402
from reporting.periods import days_between, month_span  # noqa: E402
from reporting.policy import Policy  # noqa: E402
from reporting.policy.indicators import (  # noqa: E402
    Budgeting,
    CalendarWindow,
    Counts,
    Indicator,
    Objective,
    Occurrences,
    Query,
    State,
    Threshold,
    Timeslices,
)
from reporting.policy.maintenance import parse_maintenance  # noqa: E402
from reporting.policy.operations import parse_operations  # noqa: E402
from reporting.seal import SealedDay, canonical  # noqa: E402

MONTH = month_span(date(2026, 3, 2))
DAY_MS, SLICE_MS = 86_400_000, 300_000
AIM_S = 1.0
#: Of ten objectives so many are of each kind.
MIX = {"state": 2, "errors": 2, "latency": 3, "gauge": 2, "rate": 1}
BOUNDS = ("0.001", "0.002", "0.003", "0.005", "0.008", "0.01", "0.025", "0.05", "0.1", "+Inf")
#: Buckets of a gauge's sketch: one that varies threefold over a day has log 3 / log 1.01 of them.
SKETCH = 110
T = TypeVar("T")


# ---- what is measured ----------------------------------------------------------------------------


def kinds(objectives: int) -> Iterator[tuple[str, str]]:
    """(id, kind) of each objective, in the proportions of MIX."""
    cycle = [kind for kind, many in MIX.items() for _ in range(many)]
    for n in range(objectives):
        kind = cycle[n % len(cycle)]
        yield f"{kind}_{n:03d}", kind


def indicator(id: str, kind: str) -> tuple[Indicator, Budgeting]:
    def query(text: str, **given: Any) -> Query:
        return Query(text, text, **given)

    if kind == "state":
        return State(query(f'up{{job="{id}"}}')), Occurrences()
    if kind == "errors":
        return Counts(query("bad"), query("total"), good=False), Occurrences()
    if kind == "latency":
        bucket = query('x_bucket{le="0.008"}')
        return Counts(bucket, query("x_count"), histogram="x_bucket"), Occurrences()
    if kind == "gauge":
        return Threshold(query(id), "lt", Decimal(80)), Occurrences()
    rate = Threshold(query(id, rate=True), "gt", Decimal(50))
    return rate, Timeslices(SLICE_MS, Decimal(1))


def policy(objectives: int) -> Policy:
    """Objectives of a calendar month, each with a goal."""
    found = []
    for id, kind in kinds(objectives):
        of, budgeting = indicator(id, kind)
        found.append(
            Objective(
                id=id, slo=id, title=id, system=kind, component=id, indicator=of,
                budgeting=budgeting, goal=Decimal("0.99"), strict=False,
                window=CalendarWindow(1, "month", date(2026, 1, 1)), zone="UTC", no_data="flag",
            )
        )  # fmt: skip
    return Policy((), tuple(found), parse_operations(""), parse_maintenance("", set()), "")


def sealed_bytes(day: date, objectives: int) -> bytes:
    """The canonical bytes of one sealed day, as the store keeps them."""
    chance = random.Random(f"levels/{day}")
    start = (day - date(1970, 1, 1)).days * DAY_MS
    targets, levels = [], []
    for id, kind in kinds(objectives):
        if kind == "state":
            targets.append(_target(id, start, chance))
        else:
            levels.append(_level(id, kind, start, chance))
    end = start + DAY_MS
    facts = {
        UPTIME.name: UptimeFact(start_ms=start, end_ms=end, targets=tuple(targets)),
        SERVICE_LEVELS.name: ServiceLevelsFact(start_ms=start, end_ms=end, levels=tuple(levels)),
    }
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    window = Window(start=midnight, end=midnight + timedelta(1))
    return canonical(
        SealedDay(
            day=day, revision=1, reason="", previous="", calendar="24/7", zone="UTC", session=True,
            note="regular session", window=window, trading=window, known_at=window.end,
            policy_digest="", facts={k: v.model_dump(mode="json") for k, v in facts.items()},
            sources=(), findings=(), closing_book="",
        )
    )  # fmt: skip


def _target(id: str, start: int, chance: random.Random) -> TargetUptime:
    """Up, but for an outage on one day in four."""
    down = chance.randrange(60_000, 900_000) if chance.random() < 0.25 else 0
    begin = start + chance.randrange(DAY_MS - 900_000)
    stretches = (Stretch(start_ms=begin, end_ms=begin + down, state="down"),) if down else ()
    return TargetUptime(
        id=id, title=id, window_ms=DAY_MS, up_ms=DAY_MS - down, down_ms=down, collector_gap_ms=0,
        target_lost_ms=0, not_born_ms=0, several_series_ms=0, doubtful_up_ms=15_000 * bool(down),
        doubtful_down_ms=15_000 * bool(down), transitions=2 * bool(down), interval_ms=15_000,
        samples=5_760, stretches=stretches,
    )  # fmt: skip


def _level(id: str, kind: str, start: int, chance: random.Random) -> Level:
    base: dict[str, Any] = {
        "id": id, "title": id, "start_ms": start, "end_ms": start + DAY_MS, "window_ms": DAY_MS,
        "interval_ms": 15_000, "series": 1, "samples": 5_760,
    }  # fmt: skip
    if kind in ("errors", "latency"):
        good, bad = chance.randrange(4_000_000, 9_000_000), chance.randrange(30_000)
        events = Events(
            good=_split(good, chance), total=_split(good + bad, chance) + 1,
            first=Doubt(good=_split(900, chance), bad=_split(2, chance)),
            last=Doubt(good=_split(900, chance), bad=_split(2, chance)),
        )  # fmt: skip
        counts = tuple(_split(good // len(BOUNDS), chance) for _ in BOUNDS)
        histogram = Histogram(bounds=BOUNDS, counts=counts, total=_split(good // 200, chance))
        return Level(
            **base, kind="counts", events=events, cross_check_pct=Decimal("0.0167"),
            histogram=histogram if kind == "latency" else None,
        )  # fmt: skip
    lowest = chance.uniform(1, 1000)
    values = Values(
        samples=5_760, weight_ms=DAY_MS, weighted_sum=_split(int(lowest * 2 * DAY_MS), chance),
        lowest=Decimal(f"{lowest:.9f}"), highest=Decimal(f"{lowest * 3:.9f}"),
        first=Decimal(f"{lowest * 2:.9f}"), last=Decimal(f"{lowest * 2:.9f}"),
        sketch={sketch_key(lowest * 1.01**n): DAY_MS // SKETCH for n in range(SKETCH)},
    )  # fmt: skip
    bad = chance.randrange(DAY_MS // 200)
    if kind == "gauge":
        time_ = OwnedTime(
            good_ms=DAY_MS - bad, bad_ms=bad, unknown_ms=0, doubtful_good_ms=Decimal(15_000),
            doubtful_bad_ms=Decimal(15_000), share_ms=Decimal(DAY_MS - bad),
        )  # fmt: skip
        return Level(**base, kind="threshold", comparator="lt", value=Decimal(80), time=time_,
                     values=values)  # fmt: skip
    off = chance.randrange(4)
    slices = Slices(good=288 - off, bad=off, empty=0, unknown=0, share_sum=Decimal(288 - off))
    events = Events(good=Decimal(0), total=_split(86_400 * 60, chance))
    return Level(
        **base, kind="threshold", comparator="gt", value=Decimal(50), budgeting="timeslices",
        slice_ms=SLICE_MS, slices=slices, events=events, values=values,
    )  # fmt: skip


def _split(whole: int, chance: random.Random) -> Decimal:
    """A number of events with the nine decimals that the split at midnight leaves."""
    return Decimal(whole) + Decimal(chance.randrange(10**9)).scaleb(-9)


# ---- how long it takes ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Times:
    """Seconds of processor time of each step; nothing is waited for."""

    floor: float
    days: float
    facts: float
    standings: float

    @property
    def whole(self) -> float:
        """From bytes to verdicts."""
        return self.days + self.facts + self.standings


def timed(work: Callable[[], T]) -> tuple[float, T]:
    gc.collect()
    begin = time.process_time()
    found = work()
    return time.process_time() - begin, found


def run(stored: list[bytes], of: Policy) -> tuple[Times, tuple[Standing, ...]]:
    """One month's report from stored bytes, step by step."""
    floor, _ = timed(lambda: [json.loads(body) for body in stored])
    sealed_at = datetime(2026, 4, 1, tzinfo=UTC)
    days, cited = timed(
        lambda: [Cited(SealedDay.model_validate_json(b), "", sealed_at) for b in stored]
    )
    facts = Facts(cited, (), trail=1)
    reading, _ = timed(
        lambda: [facts.since(name, MONTH.first) for name in (UPTIME.name, SERVICE_LEVELS.name)]
    )
    judging, found = timed(lambda: standings(of, facts, MONTH, {}))
    return Times(floor, days, reading, judging), found


def measured(objectives: int, runs: int) -> dict[str, Any]:
    of = policy(objectives)
    stored = [sealed_bytes(day, objectives) for day in days_between(MONTH.first, MONTH.last)]
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results = [run(stored, of) for _ in range(runs)]
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = results[0][1]
    assert len(found) == objectives
    assert all(s.budget is not None and s.verdict is not None for s in found)
    times = sorted((t for t, _ in results), key=lambda t: t.whole)[len(results) // 2]
    floor = median(t.floor for t, _ in results)
    return {
        "objectives": objectives,
        "days": len(stored),
        "megabytes": round(sum(map(len, stored)) / 1e6, 2),
        "runs": runs,
        "read_days_s": round(times.days, 4),
        "read_facts_s": round(times.facts, 4),
        "merge_and_judge_s": round(times.standings, 4),
        "whole_s": round(times.whole, 4),
        "floor_json_loads_s": round(floor, 4),
        "ratio_to_floor": round(times.whole / floor, 2),
        "aim_s": AIM_S,
        "kept": sum(s.verdict is Verdict.MET for s in found),
        "peak_mib": round(peak_kb / 1024, 1),
        "peak_above_input_mib": round((peak_kb - before_kb) / 1024, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="A month of objectives from sealed days.")
    parser.add_argument("--objectives", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.inner:
        # The peak is of a process that did nothing else.
        command = [sys.executable, __file__, "--inner", f"--objectives={given.objectives}"]
        out = subprocess.run(
            [*command, f"--runs={given.runs}"], check=True, capture_output=True, text=True
        ).stdout
        found = json.loads(out)
    else:
        found = measured(given.objectives, given.runs)
        print(json.dumps(found))
        return 0
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        print(in_words(found))
    return 0 if found["whole_s"] < AIM_S or given.objectives > 300 else 1


def in_words(found: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"{found['days']} sealed days of {found['objectives']} objectives, "
            f"{found['megabytes']} MB; median of {found['runs']} runs:",
            f"  reading the days          {found['read_days_s']:.3f} s",
            f"  reading their facts       {found['read_facts_s']:.3f} s",
            f"  merging and judging       {found['merge_and_judge_s']:.3f} s",
            f"  from bytes to verdicts    {found['whole_s']:.3f} s   (aim: below {AIM_S} s)",
            f"  floor: json.loads         {found['floor_json_loads_s']:.3f} s   "
            f"ratio {found['ratio_to_floor']}",
            f"  peak memory {found['peak_mib']} MiB, {found['peak_above_input_mib']} MiB above "
            "what the days need as bytes",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
