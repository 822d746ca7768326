"""The generated metrics: the same for a seed, and samples that agree with their truth."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from reporting.demo import metrics
from reporting.demo.prometheus import find_binary
from reporting.errors import NotReady
from reporting.policy.objectives import parse_objectives

ROOT = Path(__file__).parents[2]
HOUR_MS = 3_600_000


def written(truth: metrics.Truth) -> str:
    file = io.StringIO()
    metrics.write_openmetrics(file, truth)
    return file.getvalue()


def first_hours(seed: int, hours: int = 30) -> metrics.Truth:
    truth = metrics.draw(seed)
    return replace(truth, end_ms=truth.start_ms + hours * HOUR_MS)


def test_a_seed_gives_the_same_bytes_and_another_one_others() -> None:
    assert written(first_hours(7)) == written(first_hours(7))
    assert written(first_hours(7)) != written(first_hours(8))
    assert metrics.draw(7) == metrics.draw(7)


def test_the_truth_survives_its_file(tmp_path: Path) -> None:
    truth = metrics.draw(7)
    truth.write(tmp_path / "truth.json")
    assert metrics.Truth.read(tmp_path / "truth.json") == truth


def test_the_story_has_what_the_reports_must_show() -> None:
    truth = metrics.draw(7)
    assert len(truth.targets["grafana"].days) == 38
    assert truth.targets["grafana"].days["2025-11-02"]["window_ms"] == 25 * HOUR_MS
    assert {n for n, t in truth.targets.items() if t.down} == {"grafana", "elasticsearch"}
    # More than 99.9 % of November allow, and more than 99.5 % of a day but not of a week.
    assert truth.targets["grafana"].days["2025-11-12"]["down_ms"] > 43 * 60_000
    lost = truth.targets["elasticsearch"].days["2025-12-05"]["down_ms"]
    assert 7.2 * 60_000 < lost < 50.4 * 60_000
    assert {n for n, t in truth.targets.items() if t.gone} == {"custom_exporters"}
    assert {n for n, t in truth.targets.items() if t.unborn} == {"alerting_api"}
    assert len(truth.collector_gaps) == 1
    assert all(len(c.resets_ms) == 3 and c.errors_ms for c in truth.counters.values())


def test_every_objective_has_its_history() -> None:
    folder = ROOT / "config" / "objectives"
    asked = {o.id for f in folder.glob("*.yaml") for o in parse_objectives(f.read_text(), f.name)}
    assert asked == set(metrics.INTERVAL_S)


def test_samples_are_the_truth_at_their_moment() -> None:
    truth = metrics.draw(7)
    start, end = truth.targets["grafana"].down[0]
    around = replace(truth, start_ms=start - HOUR_MS, end_ms=end + HOUR_MS, counters={})
    seen: Counter[bool] = Counter()
    for line in written(around).splitlines():
        if not line.startswith('up{job="grafana"'):
            continue
        _, value, stamp = line.split(" ")
        at = int(stamp.replace(".", ""))
        assert (value == "0") == (start <= at < end)
        seen[value == "0"] += 1
    # One scrape every 15 s: an hour on each side, and the outage.
    assert abs(seen[False] - 2 * 240) <= 2
    assert abs(seen[True] - (end - start) // 15_000) <= 1


def test_nothing_is_sampled_while_the_collector_is_away() -> None:
    truth = metrics.draw(7)
    lo, hi = truth.collector_gaps[0]
    around = replace(truth, start_ms=lo - HOUR_MS, end_ms=hi + HOUR_MS)
    stamps = [
        int(line.rsplit(" ", 1)[1].replace(".", ""))
        for line in written(around).splitlines()
        if not line.startswith("#")
    ]
    assert stamps and not any(lo <= at < hi for at in stamps)
    assert min(stamps) < lo and max(stamps) > hi


HOLDER = """
import sys, time
from pathlib import Path
from reporting.demo.prometheus import running_prometheus
with running_prometheus(Path(sys.argv[1]), Path(sys.argv[2])) as url:
    print(url, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_server_survives_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    try:
        find_binary("prometheus", ROOT / "var")
    except NotReady as reason:
        pytest.skip(str(reason))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "data"), str(ROOT / "var")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline().startswith("http://127.0.0.1:")
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    assert len(children) == 1
    holder.send_signal(how)
    holder.wait(30)
    holder.stdout.close()
    for _ in range(100):
        if not running(int(children[0])):
            return
        time.sleep(0.1)
    pytest.fail(f"Prometheus {children[0]} outlived its parent")


def running(pid: int) -> bool:
    """Whether ``pid`` is alive; a dead child that nobody has waited for yet is not."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
