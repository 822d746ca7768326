"""Closing 60 objectives for one day: against slo-generator, and against one raw fetch.

    python benchmarks/objectives.py [--runs 5] [--json]

A day at 15 s is generated, with the truth beside it: 20 states (outages, a vanished host), 16
error counters (restarts, rare errors on new series), 12 latency histograms and 12 gauges. From one
real Prometheus the same 60 are then computed

 - by us: both readings of the source and both measures, down to sealed facts;
 - by slo-generator (PyPI; in an environment of its own under var/, with setuptools below 81, which
   it needs), by its own methods: good_bad_ratio, distribution_cut and query_sli. It asks about
   "now" whatever time it is given, so its expressions are pinned to the day by `@`. Its start-up
   is not counted;
 - not at all: every series' raw samples are fetched, one query a metric, and thrown away.

The error is that of the share of good in percentage points, mean and worst, against the truth.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from statistics import fmean, median
from typing import Any, TextIO

import requests

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from reporting.demo.prometheus import build_blocks, running_prometheus  # noqa: E402
from reporting.measures import service_levels, uptime  # noqa: E402
from reporting.periods import trading_day  # noqa: E402
from reporting.policy.indicators import (  # noqa: E402
    CalendarWindow,
    Counts,
    Indicator,
    Objective,
    Occurrences,
    Query,
    State,
    Threshold,
)
from reporting.sources.prometheus import PrometheusSource  # noqa: E402

ZONE = "America/New_York"
DAY = trading_day(date(2025, 11, 12), "XNYS", ZONE)
A, B = DAY.window.start_ms, DAY.window.end_ms
HOUR, TAU = 3_600_000, 15_000
START, END = A - HOUR, B + HOUR
STATES, ERRORS, LATENCIES, GAUGES = 20, 16, 12, 12
BOUNDS = ("0.001", "0.002", "0.003", "0.005", "0.008", "0.01", "0.025", "0.05", "0.1", "+Inf")
#: Share of observations up to each bound.
BELOW = (0.02, 0.1, 0.3, 0.6, 0.9, 0.94, 0.98, 0.99, 0.999, 1.0)


@dataclass
class Case:
    """One objective: how we and slo-generator are asked for it, and the true share of good."""

    id: str
    indicator: Indicator
    theirs: dict[str, str]
    truth: float
    write: Callable[[TextIO], None]


def cases() -> Iterator[Case]:
    """All sixty, the same ones each time."""
    chance = random.Random(4711)
    for n in range(STATES):
        yield state(n, chance)
    for n in range(ERRORS):
        yield errors(n, chance)
    for n in range(LATENCIES):
        yield latency(n, chance)
    for n in range(GAUGES):
        yield gauge(n, chance)


def plain(selector: str, **given: Any) -> Query:
    return Query(selector, selector, **given)


def scrapes(n: int) -> range:
    return range(START + n * 211 % TAU, END, TAU)


def line(series: str, value: object, t: int) -> str:
    return f"{series} {value} {t // 1000}.{t % 1000:03d}\n"


def state(n: int, chance: random.Random) -> Case:
    """Up all day, but for an outage of some and one that is gone from the afternoon on."""
    down: list[tuple[int, int]] = []
    if n % 4 == 1:
        begin = chance.randrange(A, B - HOUR)
        down = [(begin, begin + chance.randrange(60_000, HOUR))]
    gone = (A + 15 * HOUR + 77, END) if n == 6 else (END, END)
    name = f't{n}",instance="t{n}:1'

    def write(file: TextIO) -> None:
        for t in scrapes(n):
            if not gone[0] <= t < gone[1]:
                value = 0 if any(a <= t < b for a, b in down) else 1
                file.write(line(f'up{{job="{name}"}}', value, t))

    off = sum(b - a for a, b in down) + max(0, B - gone[0])
    theirs = {"expression": f'avg_over_time(up{{job="t{n}"}}[window] @ {B // 1000})'}
    query = plain(f'up{{job="t{n}"}}')
    return Case(f"state_{n}", State(query), theirs, 1 - off / (B - A), write)


def errors(n: int, chance: random.Random) -> Case:
    """Requests at an even rate; errors are rare; every fourth service restarts twice."""
    rate = chance.randrange(3, 90) / 10_000  # a millisecond
    moments = sorted(chance.randrange(A, B) for _ in range(chance.randrange(1, 30)))
    resets = sorted(chance.randrange(A, B) for _ in range(2)) if n % 4 == 2 else []
    labels = f'job="e{n}",instance="e{n}:1"'

    def write(file: TextIO) -> None:
        bad = []
        for t in scrapes(n):
            since = max((r for r in resets if r <= t), default=START)
            good = int((t - since) * rate)
            file.write(line(f'requests_total{{{labels},code="200"}}', good, t))
            count = sum(since <= m <= t for m in moments)
            if count:
                bad.append(line(f'requests_total{{{labels},code="500"}}', count, t))
        file.writelines(bad)
        for t in scrapes(n):
            file.write(line(f"up{{{labels}}}", 1, t))  # by which we know that errors began at 0

    counted = Counts(
        plain(f'requests_total{{job="e{n}",code="500"}}', summed=True),
        plain(f'requests_total{{job="e{n}"}}', summed=True),
        good=False,
    )
    pinned = f"[window] @ {B // 1000}"
    theirs = {
        "filter_good": f'requests_total{{job="e{n}",code="200"}}{pinned}',
        "filter_bad": f'requests_total{{job="e{n}",code="500"}}{pinned}',
    }
    good = (B - A) * rate
    return Case(f"errors_{n}", counted, theirs, good / (good + len(moments)), write)


def latency(n: int, chance: random.Random) -> Case:
    """A histogram of ten buckets whose rate has a step in the day; 5 ms were promised."""
    rate, faster = chance.randrange(3, 40) / 1_000, A + chance.randrange(8, 16) * HOUR
    labels = f'job="l{n}",instance="l{n}:1"'
    share = BELOW[BOUNDS.index("0.005")]

    def seen(t: int) -> float:
        return (t - START) * rate + max(0, t - faster) * rate

    def write(file: TextIO) -> None:
        for le, below in zip(BOUNDS, BELOW, strict=True):
            name = f'took_seconds_bucket{{{labels},le="{le}"}}'
            for t in scrapes(n):
                file.write(line(name, int(seen(t) * below), t))
        for t in scrapes(n):
            file.write(line(f"took_seconds_count{{{labels}}}", int(seen(t)), t))
        for t in scrapes(n):
            file.write(line(f"took_seconds_sum{{{labels}}}", round(seen(t) * 0.0055, 3), t))

    counted = Counts(
        plain(f'took_seconds_bucket{{job="l{n}",le="0.005"}}', summed=True),
        plain(f'took_seconds_count{{job="l{n}"}}', summed=True),
        histogram=f'took_seconds_bucket{{job="l{n}"}}',
    )
    theirs = {
        "expression": f'took_seconds_bucket{{job="l{n}"}}[window] @ {B // 1000}',
        "threshold_bucket": "0.005",
    }
    return Case(f"latency_{n}", counted, theirs, share, write)


def gauge(n: int, chance: random.Random) -> Case:
    """A load that is above 80 % for some stretches of the day."""
    high = [(a, a + chance.randrange(120_000, HOUR)) for a in range(A + HOUR, B - HOUR, 6 * HOUR)]
    high = [(a + n * 1_234, b + n * 1_234) for a, b in high]
    series = f'load_pct{{job="g{n}",instance="g{n}:1"}}'

    def write(file: TextIO) -> None:
        for t in scrapes(n):
            base = 88 if any(a <= t < b for a, b in high) else 45
            file.write(line(series, base + (t // TAU * 7919 % 1000) / 137, t))

    text = f'load_pct{{job="g{n}"}}'
    theirs = {"expression": f"avg_over_time(({text} < bool 80)[window:15s] @ {B // 1000})"}
    off = sum(b - a for a, b in high)
    indicator = Threshold(plain(text), "lt", Decimal(80))
    return Case(f"gauge_{n}", indicator, theirs, 1 - off / (B - A), write)


METRICS = (
    ("up", "gauge", ("state", "errors")),
    ("requests", "counter", ("errors",)),
    ("took_seconds", "histogram", ("latency",)),
    ("load_pct", "gauge", ("gauge",)),
)


def write_history(path: Path, chosen: list[Case]) -> None:
    """OpenMetrics of all cases; who serves requests is also scraped, so it has an up."""
    with path.open("w", encoding="ascii") as file:
        for metric, kind, prefixes in METRICS:
            file.write(f"# TYPE {metric} {kind}\n")
            for case in chosen:
                if case.id.startswith(prefixes):
                    case.write(Only(file, metric))
        file.write("# EOF\n")


class Only:
    """Passes on the lines of one family: OpenMetrics wants all of them together."""

    def __init__(self, file: TextIO, family: str) -> None:
        self._file, self._family = file, family

    def write(self, text: str) -> int:
        return self._file.write(text) if text.startswith(self._family) else 0

    def writelines(self, lines: list[str]) -> None:
        for text in lines:
            self.write(text)


# -- the three contestants ---------------------------------------------------------------------


def ours(url: str, chosen: list[Case]) -> Callable[[], dict[str, float]]:
    """Shares of good by our close."""
    objectives = [
        Objective(
            id=case.id,
            slo=case.id,
            title=case.id,
            system="benchmark",
            component="benchmark",
            indicator=case.indicator,
            budgeting=Occurrences(),
            goal=Decimal("0.99"),
            strict=False,
            window=CalendarWindow(1, "month", date(2025, 1, 1)),
            zone=ZONE,
            no_data="flag",
        )
        for case in chosen
    ]

    def close() -> dict[str, float]:
        source = PrometheusSource(url)
        up = uptime.of_day(DAY, source.read_states(objectives, DAY.day))
        levels = service_levels.of_day(DAY, source.read_levels(objectives, DAY.day))
        source.close()
        assert isinstance(up, uptime.UptimeFact)
        assert isinstance(levels, service_levels.ServiceLevelsFact)
        found = {t.id: t.up_ms / t.window_ms for t in up.targets}
        for level in levels.levels:
            assert level.missing is None, level
            if level.events:
                found[level.id] = float(level.events.good / level.events.total)
            elif level.time:
                owned = level.time
                found[level.id] = owned.good_ms / (owned.good_ms + owned.bad_ms)
        return found

    return close


@dataclass
class Theirs:
    """slo-generator, in an environment of its own."""

    folder: Path
    chosen: list[Case] = field(default_factory=list)

    #: Run by its own interpreter: seconds of each run and the shares of the last one.
    PROGRAM = """
import json, logging, sys, time
logging.disable(logging.CRITICAL)
from slo_generator.compute import compute
from slo_generator import utils
folder, runs, at = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
config = utils.load_config(folder + "/config.yaml")
seconds, shares = [], {}
for run in range(runs + 1):
    began = time.perf_counter()
    for slo in utils.load_configs(folder + "/slos", kind="ServiceLevelObjective"):
        report = compute(slo, config, timestamp=at)[0]
        shares[slo["metadata"]["name"].replace("-", "_")] = report.get("sli_measurement")
    seconds.append(time.perf_counter() - began)
print(json.dumps({"seconds": seconds[1:], "shares": shares}))
"""

    def python(self) -> Path:
        """Its interpreter, made at the first run."""
        home = self.folder / "slo-generator"
        python = home / "bin" / "python"
        if not (home / ".made").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
            wanted = ["setuptools<81", "slo-generator==2.6.0", "prometheus-http-client==1.0.0"]
            command = [str(python), "-m", "pip", "install", "--quiet", *wanted]
            subprocess.run(command, check=True, stdout=sys.stderr)
            (home / ".made").touch()
        return python

    def run(self, url: str, folder: Path, runs: int) -> tuple[list[float], dict[str, float]]:
        """Seconds of each run, and the shares of good."""
        (folder / "slos").mkdir()
        steps = [
            {
                "name": "day",
                "window": (B - A) // 1000,
                "burn_rate_threshold": 1,
                "alert": False,
                "message_alert": "",
                "message_ok": "",
            }
        ]
        config = {
            "backends": {"prometheus": {"url": url}},
            "exporters": {},
            "error_budget_policies": {"default": {"steps": steps}},
        }
        (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
        for case in self.chosen:
            if "filter_bad" in case.theirs:
                method = "good_bad_ratio"
            elif "threshold_bucket" in case.theirs:
                method = "distribution_cut"
            else:
                method = "query_sli"
            name = case.id.replace("_", "-")
            slo = {
                "apiVersion": "sre.google.com/v2",
                "kind": "ServiceLevelObjective",
                "metadata": {
                    "name": name,
                    "labels": {"service_name": "b", "feature_name": "b", "slo_name": name},
                },
                "spec": {
                    "description": name,
                    "backend": "prometheus",
                    "method": method,
                    "exporters": [],
                    "service_level_indicator": case.theirs,
                    "goal": 0.99,
                },
            }
            (folder / "slos" / f"{name}.yaml").write_text(json.dumps(slo))
        program = [str(self.python()), "-c", self.PROGRAM, str(folder), str(runs), str(B // 1000)]
        done = subprocess.run(program, check=True, capture_output=True, text=True)
        answer = json.loads(done.stdout.splitlines()[-1])
        return answer["seconds"], answer["shares"]


def floor(url: str) -> Callable[[], int]:
    """Bytes of all series' raw samples of the day, fetched and thrown away."""
    session = requests.Session()
    session.trust_env = False
    session.headers["Accept-Encoding"] = "identity"  # compressed it takes five times as long
    names = (
        'up{job=~"t.*"}',
        "requests_total",
        "load_pct",
        *(f"took_seconds_{s}" for s in SUFFIXES),
    )

    def fetch() -> int:
        size = 0
        for name in names:
            form = {"query": f"{name}[{B - A}ms]", "time": str(B // 1000)}
            answer = session.post(f"{url}/api/v1/query", data=form, timeout=120)
            answer.raise_for_status()
            size += len(answer.content)
        return size

    return fetch


SUFFIXES = ("bucket", "count", "sum")


def timed(work: Callable[[], object], runs: int) -> list[float]:
    """Seconds of each run, after one that warms up."""
    work()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds


def errors_pp(chosen: list[Case], shares: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Mean and worst error in percentage points, by kind and of all."""
    off = {c.id: abs(shares[c.id] - c.truth) * 100 for c in chosen}
    kinds = ("state", "errors", "latency", "gauge")
    groups = {kind: [v for k, v in off.items() if k.startswith(kind)] for kind in kinds}
    groups["all"] = list(off.values())
    return {kind: (fmean(values), max(values)) for kind, values in groups.items()}


def measure(runs: int, var: Path, profile: bool = False) -> dict[str, Any]:
    """All three over one server."""
    chosen = list(cases())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_history(folder / "samples.om", chosen)
        build_blocks(folder / "samples.om", folder / "data", var)
        with running_prometheus(folder / "data", var) as url:
            close, fetch = ours(url, chosen), floor(url)
            if profile:
                show_profile(close)
            shares, size = close(), fetch()
            close_s, floor_s = median(timed(close, runs)), median(timed(fetch, runs))
            theirs_all, their_shares = Theirs(var, chosen).run(url, folder, runs)
    theirs_s = median(theirs_all)
    return {
        "objectives": len(chosen),
        "raw_bytes": size,
        "runs": runs,
        "close_s": round(close_s, 3),
        "slo_generator_s": round(theirs_s, 3),
        "raw_fetch_s": round(floor_s, 3),
        "times_faster_than_slo_generator": round(theirs_s / close_s, 1),
        "ratio_to_raw_fetch": round(close_s / floor_s, 2),
        "error_pp": errors_pp(chosen, shares),
        "slo_generator_error_pp": errors_pp(chosen, their_shares),
    }


def show_profile(close: Callable[[], object]) -> None:
    """Where the time goes, to standard error."""
    import cProfile
    import pstats

    close()
    with cProfile.Profile() as profile:
        close()
    pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(40)


def main() -> None:
    """Print the figures for people, or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--profile", action="store_true", help="say where our time goes")
    parser.add_argument("--var", type=Path, default=ROOT / "var", help="where tools are unpacked")
    given = parser.parse_args()
    result = measure(given.runs, given.var, given.profile)
    if given.json:
        print(json.dumps(result))
        return
    print(f"{result['objectives']} objectives, one day at 15 s, median of {result['runs']} runs")
    print(f"our close       {result['close_s']} s")
    print(
        f"slo-generator   {result['slo_generator_s']} s: "
        f"{result['times_faster_than_slo_generator']} times as long (at least 20 wanted)"
    )
    print(
        f"raw fetch       {result['raw_fetch_s']} s for {result['raw_bytes'] / 1e6:.1f} MB: "
        f"ratio {result['ratio_to_raw_fetch']} (2 or below wanted)"
    )
    print("error in percentage points, mean and worst:  ours                slo-generator")
    theirs = result["slo_generator_error_pp"]
    for kind, (mean, worst) in result["error_pp"].items():
        other = f"{theirs[kind][0]:.6f} {theirs[kind][1]:.6f}"
        print(f"  {kind:<42} {mean:.6f} {worst:.6f}   {other}")


if __name__ == "__main__":
    main()
