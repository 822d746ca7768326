"""Log lines: one JSON object each, of the Elastic Common Schema, whole, and without a secret."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from reporting import logs

RUN = "daily/XNYS/2026-11-20"
Lines = Callable[[], list[dict[str, Any]]]

#: Every field that we may write, by its type in the schema (ECS 9.1).
SCHEMA: dict[str, type] = {
    "@timestamp": str,
    "message": str,
    "log.level": str,
    "log.logger": str,
    "ecs.version": str,
    "service.name": str,
    "service.version": str,
    "service.node.name": str,
    "event.dataset": str,
    "event.action": str,
    "event.outcome": str,
    "event.duration": int,
    "process.pid": int,
    "process.thread.name": str,
    "trace.id": str,
    "error.type": str,
    "error.message": str,
    "error.stack_trace": str,
}


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Logging belongs to the process: leave it as it was."""
    root, ours = logging.getLogger(), logging.getLogger("reporting")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before
    logging.captureWarnings(False)


@pytest.fixture
def lines() -> Lines:
    """What was written since, parsed; fails where a line is no JSON object."""
    stream = io.StringIO()
    logs.configure(
        "json", version="0.1.0", replica="a", secrets=["correct horse", "p@ss/word"], stream=stream
    )

    def read() -> list[dict[str, Any]]:
        written = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        assert written == "" or written.endswith("\n")
        return [json.loads(line) for line in written.splitlines()]

    return read


def flat(node: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in node.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def raised(message: str) -> ValueError:
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


# ---- the schema ---------------------------------------------------------------------------------


def test_a_line_is_of_the_schema(lines: Lines) -> None:
    with logs.bound(RUN, action="issue", kind="daily"):
        logs.log("issued", outcome="success", duration_s=1.25, revision=2)
        logs.log("not issued", level="error", outcome="failure", error=raised("no disk"))
    first, second = (flat(line) for line in lines())

    assert first["message"] == "issued"
    assert first["event.action"] == "issue"
    assert first["event.outcome"] == "success"
    assert first["event.duration"] == 1_250_000_000
    assert first["log.level"] == "info"
    assert (first["service.name"], first["service.version"]) == ("reporting", "0.1.0")
    assert first["service.node.name"] == "a"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first["@timestamp"])
    labels = {name: value for name, value in first.items() if name.startswith("labels.")}
    assert labels == {"labels.kind": "daily", "labels.run": RUN, "labels.revision": "2"}

    assert second["log.level"] == "error"
    assert (second["error.type"], second["error.message"]) == ("ValueError", "no disk")
    assert "raise ValueError(message)" in second["error.stack_trace"]

    for line in (first, second):
        for name, value in line.items():
            if not name.startswith("labels."):
                assert type(value) is SCHEMA[name], name
        assert {"@timestamp", "message", "log.level", "ecs.version"} <= set(line)


def test_a_run_has_one_correlation_id_in_every_process(lines: Lines) -> None:
    with logs.bound(RUN):
        logs.log("one")
        with logs.bound(action="render", part=1):
            logs.log("two")
        logs.log("three")
    logs.log("outside")
    one, two, three, outside = lines()
    code = f"from reporting.logs import trace_id; print(trace_id({RUN!r}))"
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()

    assert re.fullmatch("[0-9a-f]{32}", there)
    assert {line["trace"]["id"] for line in (one, two, three)} == {there}
    assert two["labels"] == {"run": RUN, "part": "1"}
    assert two["event"]["action"] == "render"
    assert one["labels"] == three["labels"] == {"run": RUN}
    assert "trace" not in outside and "labels" not in outside
    assert logs.trace_id(RUN) != logs.trace_id("daily/XNYS/2026-11-23")


def test_a_binding_is_the_threads_own(lines: Lines) -> None:
    def work(run: str) -> None:
        with logs.bound(run):
            for _ in range(50):
                logs.log("working")

    threads = [threading.Thread(target=work, args=(f"run {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = lines()
    assert len(written) == 200
    assert all(line["trace"]["id"] == logs.trace_id(line["labels"]["run"]) for line in written)


def test_what_is_none_is_not_said(lines: Lines) -> None:
    logs.log("plain", revision=None)
    (line,) = lines()
    assert "labels" not in line
    assert line["event"] == {"dataset": "reporting"}


def test_the_level_is_kept(lines: Lines) -> None:
    logs.log("not heard", level="debug")
    logs.log("heard")
    assert [line["message"] for line in lines()] == ["heard"]


# ---- other libraries ----------------------------------------------------------------------------


def test_other_libraries_write_into_the_same_stream(lines: Lines) -> None:
    for name in ("apscheduler.executors.default", "weasyprint", "fontTools.subset"):
        logging.getLogger(name).info("not heard")
        logging.getLogger(name).warning("%s took %d s", "it", 3)
    warnings.warn("old", stacklevel=1)
    with logs.bound(RUN):
        try:
            raise ValueError("inside")
        except ValueError:
            logging.getLogger("apscheduler").exception("job failed")
    written = lines()
    assert [line["log"]["logger"] for line in written] == [
        *("apscheduler.executors.default", "weasyprint", "fontTools.subset", "py.warnings"),
        "apscheduler",
    ]
    assert {line["log.level"] for line in written[:4]} == {"warning"}
    assert written[0]["message"] == "it took 3 s"
    assert written[-1]["error"]["type"] == "ValueError"
    assert written[-1]["trace"]["id"] == logs.trace_id(RUN)


def test_weasyprint_itself_is_heard(lines: Lines) -> None:
    from weasyprint import HTML  # late: fonts are read on import

    HTML(string="<p style='no-such-property: 1'>x</p>").render()
    assert any(line["log"]["logger"].startswith("weasyprint") for line in lines())


def test_nothing_is_written_before_it_is_asked_for() -> None:
    code = "from reporting.logs import log; log('quiet', level='error', error=ValueError('x'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


# ---- secrets ------------------------------------------------------------------------------------

SECRET = "hunter2-Zz"


@pytest.mark.parametrize(
    "words",
    [
        f"could not connect to postgresql://app:{SECRET}@db:5432/x",
        f"postgresql+psycopg2://app:p@{SECRET}/@db/x?sslmode=require and more",
        f"(see https://{SECRET}@hooks.example/a) ",
        f"password={SECRET} host=db",
        f"PGPASSWORD: '{SECRET} with spaces'",
        f"{{'smtp_password': '{SECRET}', 'host': 'x'}}",
        f'{{"token": "{SECRET}"}}',
        f'{{\\"api_key\\": \\"a {SECRET}\\"}}',
        f"Authorization: Bearer {SECRET}",
        f"authorization=Basic {SECRET}==",
        f"routing_key={SECRET}",
        "it was correct horse",
        "GET /p%40ss%2Fword and p@ss/word",
    ],
)
def test_a_secret_is_masked_wherever_it_stands(lines: Lines, words: str) -> None:
    logs.log(words, note=words, error=raised(words))
    logging.getLogger("elsewhere").error("%s", words)
    with logs.bound(note=words):
        logs.log("bound")
    written = json.dumps(lines(), ensure_ascii=False)
    assert not re.search(rf"{SECRET}|correct horse|p%40ss|p@ss", written)
    assert logs.MASK in written


def test_a_real_drivers_error_shows_no_password(lines: Lines) -> None:
    url = f"postgresql+psycopg2://app:{SECRET}@127.0.0.1:1/x"
    try:
        with create_engine(url).connect() as connection:
            connection.execute(text("select 1"))
    except Exception as error:
        logs.log("the store is gone", level="error", error=error, url=url, dsn=SecretStr(SECRET))
    (line,) = lines()
    assert line["labels"]["url"] == f"postgresql+psycopg2://{logs.MASK}@127.0.0.1:1/x"
    assert "Connection refused" in line["error"]["message"]
    assert SECRET not in json.dumps(line)


def test_a_label_named_so_is_masked_whatever_it_holds(lines: Lines) -> None:
    logs.log("set", smtp_password=SECRET, api_key=12345)
    assert lines()[0]["labels"] == {"smtp_password": logs.MASK, "api_key": logs.MASK}


def test_half_a_url_at_the_cut_shows_nothing(lines: Lines) -> None:
    for before in range(logs.KEYWORD_CHARACTERS - 40, logs.KEYWORD_CHARACTERS):
        logs.log("long", note=f"{'x' * before} postgresql://app:{SECRET}@db/x")
    assert "hunter" not in json.dumps(lines())


def test_harmless_words_are_left_alone(lines: Lines) -> None:
    words = (
        "FATAL: password authentication failed for user a@b at https://x.example/y?z=1, 3 tokens"
    )
    logs.log(words)
    assert lines()[0]["message"] == words


# ---- hostile text -------------------------------------------------------------------------------

FORGED = 'x\n{"message":"forged"}\r\n\u2028\u0085{"message":"forged"}\x1b[2J\ud800'


def test_a_value_can_not_begin_a_line_of_its_own(lines: Lines) -> None:
    logs.log(FORGED, note=FORGED, error=raised(FORGED))
    logging.getLogger("elsewhere").error(FORGED)
    written = lines()
    assert len(written) == 2
    assert {line["message"] for line in written} == {FORGED}


def test_neither_can_it_in_text() -> None:
    stream = io.StringIO()
    logs.configure("text", version="0.1.0", stream=stream)
    logs.log(FORGED, note=FORGED, error=raised(FORGED))
    begun = [line for line in stream.getvalue().splitlines() if not line.startswith("    ")]
    assert len(begun) == 1
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z INFO     x\\n", begun[0])
    assert "\x1b" not in stream.getvalue()


def test_a_label_can_not_replace_a_field(lines: Lines) -> None:
    logs.log("real", **{"service": "forged", "trace.id": "forged", "log": "forged"})
    (line,) = lines()
    assert line["service"]["name"] == "reporting"
    assert "trace" not in line
    assert line["labels"] == {"service": "forged", "trace_id": "forged", "log": "forged"}


def test_a_line_that_can_not_be_made_says_so_and_harms_nobody(lines: Lines) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(SECRET)

    # pytest listens too, and is not as patient.
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if type(one).__module__ == logs.__name__]
    logs.log("one", what=Broken())
    logging.getLogger("elsewhere").error("%d", "no number")
    logs.log("three")
    assert [line["message"] for line in lines()] == [
        "a line could not be made: RuntimeError",
        "a line could not be made: TypeError",
        "three",
    ]


def test_a_full_disk_harms_nobody() -> None:
    full = open("/dev/full", "w")  # noqa: SIM115  (closing it fails)
    logs.configure("json", version="0.1.0", stream=full)
    logs.log("lost")
    logs.configure("json", version="0.1.0", stream=io.StringIO())
    with pytest.raises(OSError, match="No space"):
        full.close()  # what it could not write is still there, and the service went on


@pytest.mark.parametrize(
    "hostile",
    ["://" * 100_000, "password" * 40_000, 'token="' * 40_000, "a-" * 99_000, "@ ://" * 50_000],
    ids=lambda text: text[:8],
)
def test_hostile_text_takes_little_time_and_room(lines: Lines, hostile: str) -> None:
    logs.log(hostile, note=hostile)  # what grows with the square would take minutes
    (line,) = lines()
    assert len(line["message"]) <= logs.TEXT_CHARACTERS
    assert len(line["labels"]["note"]) <= logs.KEYWORD_CHARACTERS
