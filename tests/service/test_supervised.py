"""One replica over databases and files that come, go, break and are mended; what its lines say."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from reporting import logs, pipeline
from reporting.cli import serve
from reporting.cli.serve import _look, _one, _Trouble
from reporting.errors import ReportingError
from reporting.logs import trace_id
from reporting.pipeline import serving
from reporting.pipeline.delivering import Delivery

from ..line.site import Server, Site
from .test_queues import expected
from .test_serving import SCHEDULE

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Logging and signals belong to the process: leave them as they were."""
    root, ours = logging.getLogger(), logging.getLogger("reporting")
    before = root.handlers[:], root.level, ours.level
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    root.handlers[:], root.level, ours.level = before
    logging.captureWarnings(False)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def lines() -> Lines:
    """What was logged so far."""
    stream = io.StringIO()
    logs.configure("json", version="0.1.0", stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def bare(make_site: Callable[..., Site], empty_store: str, tmp_path: Path) -> Site:
    """A store without a row, and a schedule of its own."""
    file = tmp_path / "schedule.toml"
    file.write_text(SCHEDULE, "utf-8")
    return make_site(empty_store, empty_store, schedule_file=file)


def asked(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def within(seconds: float, done: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)


def workers() -> set[str]:
    """The names of this process's workers."""
    found = set()
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text("ascii").split():
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text("utf-8").split("\0")
                found |= {words[words.index("--worker") + 1]} if "--worker" in words else set()
    return found


def test_what_is_away_or_broken_is_waited_for(bare: Site, server: Server, empty_store: str) -> None:
    """A store that comes, goes and comes back; a schedule that is edited, broken and mended."""
    file = bare.given["schedule_file"]
    server.drop(bare.store_name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"

    def said(metric: str) -> bool:
        return metric in asked(f"{url}/metrics")[1].splitlines()

    def looks(outcome: str) -> float:
        text = asked(f"{url}/metrics")[1]
        name = f'reporting_ticks_total{{outcome="{outcome}"}} '
        return next((float(v.removeprefix(name)) for v in text.splitlines() if name in v), 0.0)

    def story() -> None:
        within(60, lambda: looks("failure") >= 3)
        code, body = asked(f"{url}/readyz")
        assert code == 503 and f'\\"{bare.store_name}\\" does not exist' in body
        assert asked(f"{url}/livez")[0] == 200 and not workers()
        server.clone(bare.store_name, empty_store)
        within(60, lambda: asked(f"{url}/readyz")[0] == 200 and bool(workers()))
        first = workers()

        file.write_text(SCHEDULE.replace('"weekly"\nkind', '"desk-week"\nkind'), "utf-8")
        within(60, lambda: bool(workers()) and not workers() & first)
        within(60, lambda: 'report="desk-week"' in asked(f"{url}/metrics")[1])
        second = workers()

        file.write_text(SCHEDULE.replace('"06:30"', '"6 sharp"'), "utf-8")
        within(60, lambda: said("reporting_configuration_ok 0.0"))
        assert asked(f"{url}/readyz")[0] == 200 and workers() == second
        looked = looks("success")
        within(60, lambda: looks("success") > looked + 2)
        file.write_text(SCHEDULE, "utf-8")
        within(60, lambda: said("reporting_configuration_ok 1.0"))

        server.drop(bare.store_name)
        failed = looks("failure")
        within(60, lambda: looks("failure") > failed + 2)
        assert asked(f"{url}/livez")[0] == 200
        server.clone(bare.store_name, empty_store)
        looked = looks("success")
        within(60, lambda: looks("success") > looked)

    wrong: list[BaseException] = []

    def told() -> None:
        try:
            story()
        except BaseException as error:
            wrong.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    teller = threading.Thread(target=told)
    teller.start()
    done = bare.command("serve", http_port=port, workers=1, tick_s=0.2, log_level="info")
    teller.join()
    if wrong:
        raise AssertionError(done.stderr) from wrong[0]
    assert done.returncode == 0
    messages = [line["message"] for line in map(json.loads, done.stderr.splitlines())]
    told = [m for m in messages if m.startswith(("the schedule", "the configuration"))]
    assert len(told) <= 10  # a store that goes may fail in two ways, one after the other
    assert [m for m, _ in groupby(told)] == [
        "the schedule could not be looked at",
        "the schedule is looked at again",
        "the configuration was changed",
        "the configuration makes no sense and is not used",
        "the configuration was changed",
        "the configuration is well",
        "the schedule could not be looked at",
        "the schedule is looked at again",
    ]
    assert "serving" in messages and messages[-1] == "stopped"


@pytest.mark.parametrize("words", [("serve",), ("serve", "--worker", "w")])
def test_nobody_starts_with_files_that_make_no_sense(bare: Site, words: tuple[str, ...]) -> None:
    """Only a person can mend them; a worker would make runs and mails fail that are well."""
    runs = pipeline.runs_of(bare.service(), "one")
    with runs.writing() as queue:
        queue.expect(expected())
    bare.given["schedule_file"].write_text(SCHEDULE.replace('"06:30"', '"6 sharp"'), "utf-8")
    done = bare.command(*words, http_port=0)
    assert done.returncode == 4 and "due_time is '6 sharp'" in done.stderr
    rows = bare.store_sql("select state, attempts, fence from reporting.run")
    assert rows == [("expected", 0, 0)]


def test_a_worker_stays_while_another_could_not_start(bare: Site) -> None:
    """After its number of works it would make room for one that takes up nothing."""
    done: list[bool] = []

    def one(*_: object) -> bool:
        done.append(True)
        if len(done) == 1:
            bare.given["schedule_file"].write_text("report = 1", "utf-8")
        if len(done) == 5:
            bare.given["schedule_file"].write_text(SCHEDULE, "utf-8")
        return True

    with mock.patch.object(serve, "WORKS", 2), mock.patch.object(serve, "_one", one):
        ended = bare.command("serve", "--worker", "w")
    assert ended.returncode == 0 and len(done) == 6


def test_what_fails_is_told_under_its_run(bare: Site, lines: Lines) -> None:
    """The stack trace of a bug of ours, raised while a run is worked on."""
    service = bare.service()
    runs = pipeline.runs_of(service, "one")
    with runs.writing() as queue:
        queue.expect(expected())

    store = _Trouble("the store does not answer", "the store answers again", "work")
    with mock.patch.object(serving, "_do", side_effect=RuntimeError("a bug")):
        _one(service, runs, Delivery(service, runs), store)
    (line,) = lines()
    assert (line["message"], line["log.level"]) == ("run waits", "error")
    assert "a bug" in line["error"]["stack_trace"]
    assert line["trace"]["id"] == trace_id("daily/XNYS/2025-12-05")


def test_a_worker_says_once_that_the_store_is_away(bare: Site, lines: Lines) -> None:
    service = bare.service(store_url=bare.server.database("nowhere", "reporting_app"))
    runs = pipeline.runs_of(service, "one")
    store = _Trouble("the store does not answer", "the store answers again", "work")
    for _ in range(3):
        assert not _one(service, runs, Delivery(service, runs), store)
    assert [line["message"] for line in lines()] == ["the store does not answer"]


def test_lines_about_mails_are_their_runs(bare: Site, lines: Lines) -> None:
    """What nobody knows the outcome of is found under the run that made it, or by its report."""
    service = bare.service()
    runs = pipeline.runs_of(service, "one")
    bare.store_sql(
        """set session_replication_role = replica;
        insert into reporting.outbox (kind, period, revision, recipient, address, class,
            message_id, unknown, attach, give_up_at, state, leased_until)
        select kind, '2025-W49', 1, recipient, 'x@example.com', 'internal', kind || recipient,
            policy, true, now(), state, now() - interval '1 s'
        from (values ('weekly', 'desk', 'hold', 'sending'), ('weekly', 'nobody', 'hold', 'sending'),
            ('daily', 'desk', 'resend', 'unknown')) as mail (kind, recipient, policy, state)"""
    )
    _look(service, runs, "one")
    found = {
        (line["message"], line["labels"]["mail"]): line.get("trace", {}).get("id")
        for line in lines()
    }
    assert found == {
        ("mail outcome unknown", "weekly/2025-W49 to desk"): trace_id("weekly/XNYS/2025-W49"),
        ("mail is sent again", "daily/2025-W49 to desk"): trace_id("daily/XNYS/2025-W49"),
        # The schedule has nobody of this name any more.
        ("mail outcome unknown", "weekly/2025-W49 to nobody"): None,
    }


def test_a_trouble_that_changes_is_told_again(lines: Lines) -> None:
    trouble = _Trouble("it fails", "it works", "tick")
    for error in (None, *[ReportingError("a")] * 3, ReportingError("b"), None, None):
        trouble.tell(error)
    assert [line["message"] for line in lines()] == ["it fails", "it fails", "it works"]
