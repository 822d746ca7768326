"""What the service says of itself, scraped over real HTTP."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from reporting import metrics
from reporting.demo.prometheus import find_binary
from reporting.metrics import Observed, Snapshot, serve_http

from .snapshots import AT, WHOLE, whole

ROOT = Path(__file__).parents[2]
VAR = ROOT / "var"
SECRET = "hunter2-Zz"


def well() -> None:
    """Nothing is wrong."""


def get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str, Any]:
    """Status, body and headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


@contextmanager
def serving(
    observed: Observed,
    live: Callable[[], str | None] = well,
    ready: Callable[[], str | None] = well,
) -> Iterator[int]:
    with serve_http("127.0.0.1", 0, observed.registry, live, ready) as port:
        yield port


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(whole()) as port:
        yield port


def samples(port: int) -> dict[str, float]:
    """Every sample but those of the process itself, as it is written: name{label="value"}."""
    status, body, _ = get(port, "/metrics")
    assert status == 200
    found = {}
    for family in parser.text_string_to_metric_families(body):
        for one in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(one.labels.items()))
            found[f"{one.name}{{{labels}}}" if labels else one.name] = one.value
    return {name: value for name, value in found.items() if name.startswith("reporting_")}


# ---- metrics ------------------------------------------------------------------------------------


def test_every_number_of_the_snapshot_is_there(port: int) -> None:
    nothing = {
        f'reporting_runs{{report="{report}",state="{state}"}}': 0.0
        for report in ("daily", "weekly")
        for state in ("expected", "working", "incomplete", "issued", "missed", "failed")
    }
    assert samples(port) == nothing | {
        'reporting_build_info{replica="replica-1",version="0.1.0"}': 1,
        'reporting_ticks_total{outcome="success"}': 1,
        'reporting_ticks_total{outcome="failure"}': 0,
        'reporting_audit_rounds_total{outcome="success"}': 1,
        'reporting_audit_rounds_total{outcome="failure"}': 0,
        "reporting_configuration_ok": 1,
        "reporting_last_tick_timestamp_seconds": 1795174200,
        "reporting_store_up": 1,
        'reporting_last_issued_timestamp_seconds{report="daily"}': 1795174200,
        'reporting_last_complete_timestamp_seconds{report="daily"}': 1795174200 - 86_400,
        'reporting_next_due_timestamp_seconds{report="daily"}': 1795174200 + 3 * 86_400,
        'reporting_overdue_seconds{report="daily"}': 61.5,
        'reporting_overdue_seconds{report="weekly"}': 0,
        'reporting_runs_past_deadline{report="daily"}': 2,
        'reporting_runs_past_deadline{report="weekly"}': 0,
        'reporting_runs{report="daily",state="issued"}': 40,
        'reporting_runs{report="daily",state="missed"}': 3,
        'reporting_runs{report="daily",state="failed"}': 1,
        'reporting_run_duration_seconds_count{report="daily",stage="close"}': 44,
        'reporting_run_duration_seconds_sum{report="daily",stage="close"}': 120.25,
        'reporting_run_duration_seconds_count{report="daily",stage="issue"}': 43,
        'reporting_run_duration_seconds_sum{report="daily",stage="issue"}': 80.5,
        'reporting_outbox_mails{state="queued"}': 5,
        'reporting_outbox_mails{state="sending"}': 0,
        'reporting_outbox_mails{state="sent"}': 800,
        'reporting_outbox_mails{state="failed"}': 0,
        'reporting_outbox_mails{state="unknown"}': 1,
        "reporting_outbox_oldest_queued_seconds": 17.5,
        "reporting_last_failed_mail_timestamp_seconds": 1794960000,
        'reporting_sends_total{outcome="sent"}': 800,
        'reporting_sends_total{outcome="temporary"}': 9,
        'reporting_sends_total{outcome="permanent"}': 0,
        'reporting_sends_total{outcome="unknown"}': 0,
        "reporting_leases": 1,
        "reporting_replicas": 3,
        "reporting_audit_entries": 1000,
        "reporting_audit_witnessed_entries": 998,
        'reporting_calendar_known_until_timestamp_seconds{calendar="XNYS"}': 1830211200,
    }


def test_promtool_finds_nothing_to_complain_about(port: int) -> None:
    command = [str(find_binary("promtool", VAR)), "check", "metrics"]
    body = get(port, "/metrics")[1]
    done = subprocess.run(command, input=body, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_metric_is_explained_and_none_is_invented(port: int) -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    explained = set(re.findall(r"^\| `(reporting_\w+)`", text, flags=re.MULTILINE))
    assert explained == {re.sub(r"\{.*|_(sum|count)(?=\{)", "", name) for name in samples(port)}


def test_openmetrics_is_spoken_where_it_is_asked_for(port: int) -> None:
    accept = "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"
    status, body, headers = get(port, "/metrics", Accept=accept)
    assert (status, headers.get_content_type()) == (200, "application/openmetrics-text")
    assert any(
        f.name == "reporting_sends" for f in openmetrics.text_string_to_metric_families(body)
    )


def test_of_an_empty_store_only_what_is_known_is_said() -> None:
    observed = Observed("0.1.0", "a")
    observed.collector(Snapshot)
    with serving(observed) as port:
        said = samples(port)
    assert said["reporting_store_up"] == 1
    assert said['reporting_outbox_mails{state="unknown"}'] == 0  # so that the first is a rise
    absent = "last_tick last_failed_mail audit_witnessed_entries last_issued".split()
    assert [name for name in said if any(word in name for word in absent)] == []


def test_without_a_store_the_process_still_speaks() -> None:
    observed = Observed("0.1.0", "a")

    def lost() -> Snapshot:
        raise ConnectionError(f"postgresql://app:{SECRET}@db")

    observed.collector(lost)
    observed.ticked(AT, ok=False)
    observed.configured(ok=False)
    with serving(observed) as port:
        said = samples(port)
    assert said == {
        'reporting_build_info{replica="a",version="0.1.0"}': 1,
        'reporting_ticks_total{outcome="success"}': 0,
        'reporting_ticks_total{outcome="failure"}': 1,
        'reporting_audit_rounds_total{outcome="success"}': 0,
        'reporting_audit_rounds_total{outcome="failure"}': 0,
        "reporting_configuration_ok": 0,
        "reporting_store_up": 0,
    }


def test_a_store_that_hangs_is_asked_once_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "SCRAPE_WAIT_S", 0.1)
    monkeypatch.setattr(metrics, "FRESH_S", 0.0)
    thawed, asked = threading.Event(), []

    def frozen() -> Snapshot:
        asked.append(1)
        assert thawed.wait(30)
        return WHOLE

    observed = Observed("0.1.0", "a")
    observed.collector(frozen)
    with serving(observed) as port:
        assert [samples(port)["reporting_store_up"] for _ in range(4)] == [0] * 4
        assert len(asked) == 1
        thawed.set()
        until = time.monotonic() + 10
        # The answer that came late may be had first; then the store is asked again.
        while samples(port)["reporting_store_up"] == 0 or len(asked) < 2:
            assert time.monotonic() < until


# ---- health -------------------------------------------------------------------------------------


def health(port: int, path: str) -> tuple[int, dict[str, Any]]:
    status, body, headers = get(port, path)
    assert headers.get_content_type() == "application/json"
    return status, json.loads(body)


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_is_ok_with_its_age(port: int, path: str) -> None:
    status, body = health(port, path)
    assert (status, body["status"], body["reason"]) == (200, "ok", None)
    assert 0 <= body["age_seconds"] <= 5
    assert health(port, f"{path}?verbose")[0] == 200


def test_each_check_says_its_own_reason() -> None:
    with serving(whole(), ready=lambda: "the store is at schema 7, expected 9") as port:
        assert health(port, "/livez")[0] == 200
        status, body = health(port, "/readyz")
    assert status == 503
    assert body["reason"] == "the store is at schema 7, expected 9"


def test_a_check_that_raises_is_no_good_news_and_tells_no_secret() -> None:
    def broken() -> None:
        raise ConnectionError(f"postgresql://app:{SECRET}@db")

    with serving(whole(), ready=broken) as port:
        status, body = health(port, "/readyz")
    assert (status, body["reason"]) == (503, "asking failed: ConnectionError")


def test_a_check_that_hangs_is_answered_from_what_was_known_while_that_is_young(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "FRESH_S", 0.0)
    monkeypatch.setattr(metrics, "HEALTH_WAIT_S", 0.05)
    monkeypatch.setattr(metrics, "STALE_S", 1.0)
    thawed, frozen = threading.Event(), threading.Event()

    def ready() -> None:
        if frozen.is_set():
            thawed.wait(30)

    with serving(whole(), ready=ready) as port:
        assert health(port, "/readyz")[0] == 200
        frozen.set()
        assert health(port, "/readyz")[0] == 200
        time.sleep(1.1)
        status, body = health(port, "/readyz")
        assert status == 503 and body["reason"].startswith("no answer for 1.")
        assert health(port, "/livez")[0] == 200
        frozen.clear()
        thawed.set()
        until = time.monotonic() + 10
        while health(port, "/readyz")[0] != 200:
            assert time.monotonic() < until


def test_one_answer_serves_everybody_who_asks_at_once() -> None:
    asked: list[int] = []

    def ready() -> None:
        asked.append(1)
        time.sleep(0.05)

    with serving(whole(), ready=ready) as port:
        threads = [threading.Thread(target=get, args=(port, "/readyz")) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) == 1


def test_a_process_without_ticks_is_stuck() -> None:
    observed = Observed("0.1.0", "a")
    assert observed.stuck(60) is None
    for ok in (True, False):  # without a store it tries, and starting it anew mends nothing
        time.sleep(0.1)
        assert observed.stuck(0.1) == "the last look at the schedule ended 0 s ago"
        observed.ticked(AT, ok)  # years off the machine's clock, which does not matter
        assert observed.stuck(0.1) is None


# ---- HTTP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/metricsx", "/metrics/", "/../livez"])
def test_there_is_nothing_else(port: int, path: str) -> None:
    status, body = health(port, path)
    assert (status, body["status"]) == (404, "not found")


@pytest.mark.parametrize(
    ("path", "expected"), [("/metrics", 200), ("/livez", 200), ("/readyz", 200), ("/x", 404)]
)
def test_head_is_get_without_its_body(port: int, path: str, expected: int) -> None:
    head, _, body = raw(port, f"HEAD {path}").partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.0 {expected} ")
    assert int(re.findall(r"Content-Length: (\d+)", head)[0]) > 10
    assert body == ""


def raw(port: int, request: str) -> str:
    """Every byte of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(f"{request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65_536), b"")).decode()


def test_nothing_of_what_runs_here_is_told(port: int) -> None:
    for request in ("GET /livez", "GET /x", "POST /livez", "BAD\x00 /", "GET /a /b"):
        said = raw(port, request)
        assert said.startswith("HTTP/1.")
        assert "Server: reporting\r\n" in said
        assert "python" not in said.lower() and "basehttp" not in said.lower()


def test_a_silent_client_holds_nobody_up(port: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
    try:
        assert health(port, "/livez")[0] == 200
    finally:
        for each in silent:
            each.close()


def test_a_port_that_is_taken_is_an_error(port: int) -> None:
    with (
        pytest.raises(OSError, match="in use"),
        serve_http("127.0.0.1", port, whole().registry, well, well),
    ):
        pass
