"""``make torture``: rounds until enough processes were killed and databases crashed.

    python -m tests.torture [--kills 10000] [--crashes 100] [--minutes 600] [--seed 1]

Ends with the first round in which something is wrong, and says how to repeat its plan. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import replace

from .rounds import BUGS, Plan, bugged, run, world


def plan_of(number: int) -> Plan:
    """Every fifth round closes days too; every tenth renders each page anew, and kills less."""
    plan = Plan(
        kills=500, periods=3, audiences=4, recipients=60, workers=4, crashes=6, full_disks=1
    )
    if number % 5 == 4:
        plan = replace(plan, closes=True)
    if number % 10 == 9:
        plan = replace(plan, remember=False, rate=0.01, recipients=20, crashes=2, fresh=0.1)
    return replace(plan, at_most_s=240.0, drain_s=300.0)


def main() -> int:
    """Exit code 1 where something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--crashes", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    began = time.monotonic()
    total: Counter[str] = Counter()
    points: Counter[str] = Counter()
    waits: list[float] = []
    wrong: list[str] = []
    with world() as made:
        for bug, (_, words) in BUGS.items():
            found = run(made, bugged(bug), 0).wrong
            if not any(words in each for each in found):
                wrong.append(f"the checker does not catch {bug!r}: {found}")
        number = 0
        while not wrong and (total["kills"] < asked.kills or total["crashes"] < asked.crashes):
            if time.monotonic() - began > asked.minutes * 60:
                break
            verdict = run(made, plan_of(number), asked.seed + number, say=_say)
            figures = verdict.figures
            points.update(figures.pop("points"))
            waits += figures.pop("waits", [])
            total.update({k: v for k, v in figures.items() if isinstance(v, int)})
            total["rounds"] += 1
            for name in ("mail_states", "relay"):
                total.update({f"{name}: {k}": v for k, v in figures[name].items()})
            _say(f"round {number}: {json.dumps(figures)}")
            wrong += [f"round {number} (seed {asked.seed + number}): {w}" for w in verdict.wrong]
            number += 1
    waits.sort()
    p99_s = waits[int(len(waits) * 0.99)] if waits else 0.0
    at_most_s = Plan().lease_s + 10
    if not waits and total["kills"]:
        wrong.append("no recovery was measured")
    if p99_s > at_most_s:
        wrong.append(f"recovery took {p99_s:.1f} s at p99; expected {at_most_s:.0f} s at most")
    summary = {
        **total,
        "seed": asked.seed,
        "points": dict(sorted(points.items())),
        "recovery_p50_s": round(waits[len(waits) // 2], 2) if waits else None,
        "recovery_p99_s": round(p99_s, 2),
        "recovery_max_s": round(waits[-1], 2) if waits else None,
        "faked_clock": made.faked is not None,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "wrong": wrong,
    }
    print(json.dumps(summary, indent=1))
    return 1 if wrong else 0


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
