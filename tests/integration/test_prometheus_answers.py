"""Whatever a server of metrics answers: frames, an absence with its reason, or a clear error."""

from __future__ import annotations

import json
import re
import threading
import warnings
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from reporting.errors import SourceUnavailable
from reporting.model import Frame, Missing
from reporting.periods import calendar_day
from reporting.policy.openslo import parse_objectives
from reporting.policy.operations import parse_operations
from reporting.sources.prometheus import PrometheusSource
from reporting.sources.prometheus.client import Client, QueryFailed, Series
from reporting.sources.prometheus.levels import queries_of

CONFIG = Path(__file__).parents[2] / "config"
DAY = date(2026, 3, 3)
ZONE = "America/New_York"
WINDOW = calendar_day(DAY, ZONE)
START_S = WINDOW.start_ms / 1000


class Liar(ThreadingHTTPServer):
    """Answers every question with ``body``, and the one whether it is there at all with yes."""

    daemon_threads = True
    body: bytes = b""
    status: int = 200


class _Handler(BaseHTTPRequestHandler):
    server: Liar
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if asked.get("query") == ["vector(1)"]:
            alive = {"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]}
            self._say(200, json.dumps({"status": "success", "data": alive}).encode())
        else:
            self._say(self.server.status, self.server.body)

    def do_GET(self) -> None:
        self._say(self.server.status, self.server.body)

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def liar() -> Iterator[Liar]:
    server = Liar(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def url(server: Liar) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


NAMES = ("agents.yaml", "service_performance.yaml", "database.yaml")
OBJECTIVES = [
    objective
    for name in NAMES
    for objective in parse_objectives({name: (CONFIG / "objectives" / name).read_text("utf-8")})[:3]
]
ALERTS = parse_operations((CONFIG / "operations.toml").read_text("utf-8")).alerts
#: The labels that each of their queries asks for: what a server that can read would answer with.
ASKED = [
    dict(re.findall(r'(\w+)="([^"]*)"', text))
    for objective in OBJECTIVES
    for text in queries_of(objective, DAY)
] + [{"alertname": alert.alertname, "alertstate": "firing"} for alert in ALERTS]


# ---- Answers -----------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.sampled_from(
        ("0", "1", "-1", "NaN", "+Inf", "-Inf", "1e308", "1e400", "", "x", "0x1", "1_0", "9" * 400)
    ),
    st.integers(0, 10**6).map(str),
    st.floats().map(str),
)
TIMES = st.one_of(
    st.integers(-600, 87_000).map(lambda s: START_S + s),
    st.sampled_from((0, -1, 1e18, 1e300, START_S, START_S + 0.001)),
)
LABELS = st.sampled_from(ASKED) | st.dictionaries(
    st.sampled_from(
        ("__name__", "alertname", "alertstate", "severity", "job", "instance", "le", "integration")
    ),
    st.sampled_from(("", "up", "a", "firing", "pending", "+Inf", "0.5", "email", '"]]', "\u0000")),
    max_size=4,
)  # fmt: skip
SAMPLES = st.lists(st.tuples(TIMES, NUMBERS), max_size=6)
STEADY = st.builds(
    lambda value, step: [[START_S - 600 + n * step, value] for n in range(300)],
    st.sampled_from(("0", "1", "7", "NaN")),
    st.sampled_from((15, 60, 300, 0)),
)
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), NUMBERS, TIMES
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def answer(draw: st.DrawFn, odd: int = 20) -> bytes:
    """An answer as Prometheus gives it; one part in ``odd`` is something else (0: none)."""

    def part(strategy: st.SearchStrategy[Any]) -> Any:
        return draw(JSON if odd and draw(st.integers(1, odd)) == 1 else strategy)

    def series() -> dict[str, Any]:
        found: dict[str, Any] = {"metric": part(LABELS)}
        if kind == "vector" or draw(st.integers(0, 9)) == 0:
            found["value"] = part(st.tuples(TIMES, NUMBERS).map(list))
        if kind != "vector" or draw(st.integers(0, 9)) == 0:
            found["values"] = part(st.one_of(SAMPLES, SAMPLES.map(sorted), STEADY))
        return found

    kinds = ("matrix", "vector", "scalar", "string") if odd else ("matrix", "vector")
    kind = part(st.sampled_from(kinds))
    result = [part(st.builds(series)) for _ in range(draw(st.integers(0, 3)))]
    data = {"resultType": kind, "result": part(st.just(result))}
    whole = {"status": part(st.just("success")), "data": data}
    spaced = (", ", ": ") if draw(st.booleans()) else (",", ":")
    return json.dumps(part(st.just(whole)), separators=spaced).encode()


def torn(body: bytes, at: int, other: bytes) -> bytes:
    at %= len(body) + 1
    return body[:at] + other + body[at + len(other) :]


BODIES = st.one_of(
    answer(),
    st.builds(torn, answer(), st.integers(0, 10_000), st.binary(max_size=3)),
    st.binary(max_size=40),
)
HEAD = b'{"status":"success","data":{"resultType":"matrix","result":['
FOUND = (  # bodies that once were a traceback, or were taken for an answer
    HEAD + b'{"metric":{},"values":[[]]}]}}',
    HEAD + b'{"metric":{},"values":3}]}}',
    HEAD + b'{"metric":{},"values":true},{"metric":{},"values":[[1,"1"]]}]}}',
    HEAD + b'{"metric":{},"values":[[1e400,"1"]]}]}}',
    HEAD + b'{"metric":{},"values":[[NaN,"1"]]}]}}',
    HEAD + b'{"metric":{},"values":[[2,"1"],[1,"1"]]}]}}',
    HEAD + b'{"metric":{"a":1},"values":[[1,"1"]]}]}}',
    HEAD + b'{"metric":[],"values":[[1,"1"]]}]}}',
    HEAD + b"7]}}",
    b"[" * 100_000,
    b"[]",
    b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[Infinity,"1"]}]}}',
)

#: Answers are small as they are: shrinking them would ask a server for minutes.
FEW = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase is not Phase.shrink],
)
MANY = settings(FEW, max_examples=2_000)


def ask(server: Liar, client: Client, body: bytes) -> list[Series] | None:
    """The series of an answer, or None where it is refused."""
    server.body = body
    try:
        found = client.query("a", WINDOW.end_ms)
    except QueryFailed as error:
        assert "none of Prometheus" in str(error)
        return None
    for series in found:
        assert len(series.at_ms) == len(series.value)
        assert all(isinstance(text, str) for text in series.labels.values())
        assert sorted(series.at_ms.tolist()) == series.at_ms.tolist()
    return found


def lie(how: settings, server: Liar) -> None:
    client = Client(url(server), retries=0)

    @how
    @given(BODIES)
    def attack(body: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # numbers that numpy made up
            ask(server, client, body)

    attack()


def test_any_answer_is_series_or_a_failed_query(liar: Liar) -> None:
    lie(FEW, liar)


@pytest.mark.slow
def test_many_more_answers_are_series_or_failed_queries(liar: Liar) -> None:
    lie(MANY, liar)


@pytest.mark.parametrize("body", FOUND)
def test_what_is_no_answer_is_refused(liar: Liar, body: bytes) -> None:
    assert ask(liar, Client(url(liar), retries=0), body) is None


# ---- What is made of them ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nobody_is_followed_to_another_server(status: int) -> None:
    """Not even with the same question: the other may be spoken to in clear."""
    asked: list[str] = []

    class Elsewhere(_Handler):
        def do_POST(self) -> None:
            asked.append(f"{self.path} {self.headers['Authorization']}")
            super().do_POST()

        do_GET = do_POST

    class Redirecting(_Handler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Location", f"{url(elsewhere)}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

    with Liar(("127.0.0.1", 0), Elsewhere) as elsewhere, Liar(("127.0.0.1", 0), Redirecting) as one:
        for server in (elsewhere, one):
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        source = PrometheusSource(url(one), bearer_token="token", retries=0)
        with pytest.raises((SourceUnavailable, QueryFailed), match=str(status)):
            source.client.query("up", 0)
        with pytest.raises((SourceUnavailable, QueryFailed)):
            source.check()
        for server in (elsewhere, one):
            server.shutdown()
    assert asked == []


def read(server: Liar, body: bytes) -> None:
    """All that a close reads, from a server that always gives the same answer."""
    server.body = body
    source = PrometheusSource(url(server), retries=0)
    for ask in (
        lambda: source.read_states(OBJECTIVES, DAY),
        lambda: source.read_levels(OBJECTIVES, DAY),
        lambda: source.read_alerts(ALERTS, WINDOW),
    ):
        try:
            found = ask()
        except SourceUnavailable as error:
            assert "Prometheus at http://127.0.0.1" in str(error)
        else:
            assert found and all(isinstance(each, Frame | Missing) for each in found.values())


def mislead(how: settings, server: Liar) -> None:
    @how
    @given(st.one_of(answer(odd=0), answer(odd=0), BODIES))
    @example(b"")
    def attack(body: bytes) -> None:
        read(server, body)

    attack()


def test_a_close_reads_frames_or_says_why_not(liar: Liar) -> None:
    mislead(settings(FEW, max_examples=20), liar)


@pytest.mark.slow
def test_a_close_reads_frames_of_many_more_answers(liar: Liar) -> None:
    mislead(settings(FEW, max_examples=600), liar)
