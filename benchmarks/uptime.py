"""Closing 60 uptime series for one day at 15 s, against one raw fetch of the same data.

    python benchmarks/uptime.py [--runs 9] [--json]

The raw fetch is what a close can't do without: `up[1d]` by HTTP, parsed as JSON, nothing else.
The close reads through the source and measures; five of the series have an outage, a gap or end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median

import requests

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from reporting.demo.metrics import TargetTruth, Truth, write_openmetrics  # noqa: E402
from reporting.demo.prometheus import build_blocks, running_prometheus  # noqa: E402
from reporting.measures.uptime import UptimeFact, of_day  # noqa: E402
from reporting.periods import trading_day  # noqa: E402
from reporting.sources.prometheus import PrometheusSource  # noqa: E402

SERIES = 60
INTERVAL_MS = 15_000
HOUR_MS = 3_600_000
DAY = trading_day(date(2025, 11, 12), "XNYS", "America/New_York")


def history() -> Truth:
    """Sixty targets around the day; five of them are not up all the time."""
    start, end = DAY.window.start_ms, DAY.window.end_ms
    noon = start + 12 * HOUR_MS + 4_321
    odd: dict[int, dict[str, tuple[tuple[int, int], ...]]] = {
        3: {"down": ((noon, noon + 20 * 60_000),)},
        17: {"down": ((noon, noon + 40_000), (noon + HOUR_MS, noon + HOUR_MS + 90_000))},
        29: {"gone": ((noon, end + 2 * HOUR_MS),)},
        41: {"unborn": ((start - 2 * HOUR_MS, noon),)},
        53: {"gone": ((noon, noon + 5 * 60_000),)},
    }
    targets = {
        f"t{n:02d}": TargetTruth(
            interval_ms=INTERVAL_MS,
            offset_ms=n * 211,
            down=odd.get(n, {}).get("down", ()),
            gone=odd.get(n, {}).get("gone", ()),
            unborn=odd.get(n, {}).get("unborn", ()),
        )
        for n in range(SERIES)
    }
    return Truth(0, DAY.zone, start - 2 * HOUR_MS, end + 2 * HOUR_MS, (), targets, {})


def timed(work: Callable[[], object], runs: int) -> list[float]:
    """Seconds of each run, after one that warms up."""
    work()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds


def measure(runs: int, var: Path) -> dict[str, object]:
    """Both medians over one server and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = history()
        with (folder / "samples.om").open("w", encoding="ascii") as file:
            write_openmetrics(file, truth)
        build_blocks(folder / "samples.om", folder / "data", var)
        with running_prometheus(folder / "data", var) as url:
            session = requests.Session()
            session.trust_env = False
            session.headers["Accept-Encoding"] = "identity"  # as the source does; it is faster

            def raw() -> int:
                form = {"query": "up[1d]", "time": DAY.window.end_ms / 1000}
                answer = session.post(f"{url}/api/v1/query", data=form, timeout=60).json()
                return sum(len(series["values"]) for series in answer["data"]["result"])

            source = PrometheusSource(url)
            queries = {name: f'up{{job="{name}"}}' for name in truth.targets}

            def close() -> UptimeFact:
                fact = of_day(DAY, source.read_up(queries, DAY.window))
                assert isinstance(fact, UptimeFact)
                return fact

            samples, fact = raw(), close()
            right = sum(
                t.low_ms
                <= truth.targets[t.id].up_ms(DAY.window.start_ms, DAY.window.end_ms)
                <= t.high_ms
                for t in fact.targets
            )
            raw_s, close_s = median(timed(raw, runs)), median(timed(close, runs))
    return {
        "series": SERIES,
        "samples": samples,
        "truth_within_bounds": right,
        "runs": runs,
        "raw_fetch_s": round(raw_s, 4),
        "close_s": round(close_s, 4),
        "ratio": round(close_s / raw_s, 3),
    }


def main() -> None:
    """Print the figures for people, or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=9, help="timed runs of each (default 9)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--var", type=Path, default=ROOT / "var", help="where tools are unpacked")
    given = parser.parse_args()
    result = measure(given.runs, given.var)
    if given.json:
        print(json.dumps(result))
        return
    print(f"{result['series']} series, {result['samples']} samples in the day")
    print(f"the truth lies within the bounds of {result['truth_within_bounds']} of them")
    print(f"raw fetch  {result['raw_fetch_s']} s (median of {result['runs']})")
    print(f"close      {result['close_s']} s")
    print(f"ratio      {result['ratio']}")


if __name__ == "__main__":
    main()
