"""`reporting serve` as it runs: a supervisor, its worker, its health checks and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ..line.site import ROOT, Site
from .relay import running_relay
from .test_serving import SCHEDULE


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except OSError:
        return 0, ""


def within(seconds: float, done: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.2)


def test_it_issues_mails_answers_and_ends(site: Site, tmp_path: Path) -> None:
    """What is asked for by hand goes out; a killed worker is replaced; SIGTERM ends all of it."""
    schedule = tmp_path / "schedule.toml"
    schedule.write_text(SCHEDULE, "utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running_relay() as relay:
        given = {
            "schedule_file": schedule,
            "smtp_host": "127.0.0.1",
            "smtp_port": relay.port,
            "smtp_security": "none",
            "smtp_sender": "reports@example.com",
            "http_port": port,
            "workers": 1,
            "tick_s": 1,
            "lease_s": 20,
        }
        log = tmp_path / "serve.log"
        with log.open("wb") as errors:
            serving = subprocess.Popen(
                [sys.executable, "-m", "reporting", "serve"],
                env={**site.environment(**given), "PYTHONPATH": str(ROOT)},
                cwd=site.var,
                stderr=errors,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            within(90, lambda: get(f"{url}/readyz")[0] == 200)
            asked = site.command(
                "backfill", "--from", "2025-12-05", "--to", "2025-12-05", "--mode", "all",
                "--kind", "daily", "--mail", "--json", **given,
            )  # fmt: skip
            assert asked.returncode == 0, asked.stderr
            within(90, lambda: len(relay.arrived) == 2)
            sent = 'reporting_outbox_mails{state="sent"} 2.0'
            within(30, lambda: sent in get(f"{url}/metrics")[1])
            assert get(f"{url}/livez")[0] == 200
            (worker,) = _children(serving.pid)
            os.kill(worker, signal.SIGKILL)
            within(30, lambda: _children(serving.pid) not in ([], [worker]))
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(40) == 0
        finally:
            serving.kill()
            serving.wait()
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert all("@timestamp" in line and line["service"]["name"] == "reporting" for line in lines)
    (issued,) = (line for line in lines if line["message"] == "run issued")
    assert issued["labels"]["run"] == "daily/XNYS/2025-12-05" and len(issued["trace"]["id"]) == 32
    mails = [line for line in lines if line["message"] == "mail sent"]
    told = {(line["trace"]["id"], line["labels"]["report"]) for line in (issued, *mails)}
    assert len(mails) == 2 and told == {(issued["trace"]["id"], "daily/2025-12-05/r1")}
    assert [line["message"] for line in lines[-1:]] == ["stopped"]


def _children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii").split()
    return [int(pid) for pid in found]
