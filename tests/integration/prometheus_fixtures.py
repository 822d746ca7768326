"""Histories for a real Prometheus, told as what really happened and when nobody looked."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode
from urllib.request import ProxyHandler, Request, build_opener

from reporting.demo.prometheus import find_binary
from reporting.errors import NotReady

VAR = Path(__file__).parents[2] / "var"
Interval = tuple[int, int]


def lacking(*names: str) -> str:
    """Why tests that need these programs can't run here, or nothing."""
    for name in names:
        try:
            find_binary(name, VAR)
        except NotReady as error:
            return str(error)
    return ""


@dataclass(frozen=True)
class Story:
    """One target: when it was really not up, and when no sample was taken of it."""

    tau_ms: int
    phase_ms: int = 0
    down: Sequence[Interval] = ()
    unseen: Sequence[Interval] = ()
    late_ms: int = 0  # scrapes come up to this much late
    # From this moment on scrapes have another phase, as after a restart of the collector.
    shifted: Interval = (1 << 60, 0)
    labels: Sequence[str] = ("",)

    def samples(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Each scrape that happened in ``[start, end)``, with what it saw."""
        chance = random.Random(self.phase_ms)
        at = start + (self.phase_ms - start) % self.tau_ms
        while at < end:
            moved = at + (self.shifted[1] if at >= self.shifted[0] else 0)
            t = moved + (chance.randrange(self.late_ms) if self.late_ms else 0)
            if t < end and not inside(t, self.unseen):
                yield t, 0 if inside(t, self.down) else 1
            at += self.tau_ms

    def true_up_ms(self, start: int, end: int) -> int:
        """How long it was really up."""
        return end - start - sum(max(0, min(b, end) - max(a, start)) for a, b in self.down)


def inside(t: int, spans: Sequence[Interval]) -> bool:
    return any(a <= t < b for a, b in spans)


def write_openmetrics(path: Path, stories: Mapping[str, Story], start: int, end: int) -> None:
    """All samples of all stories as ``up{job="<name>"}``."""
    with path.open("w") as file:
        file.write("# TYPE up gauge\n")
        for name, story in stories.items():
            for extra in story.labels:
                for t, value in story.samples(start, end):
                    stamp = f"{t // 1000}.{t % 1000:03d}"
                    file.write(f'up{{job="{name}"{extra}}} {value} {stamp}\n')
        file.write("# EOF\n")


#: Samples of one series: milliseconds since 1970 and values, in order.
Samples = Sequence[tuple[int, float]]


def scrapes(
    start: int, end: int, tau_ms: int, phase_ms: int = 0, unseen: Sequence[Interval] = ()
) -> list[int]:
    """The moments of all scrapes in ``[start, end)`` that happened."""
    first = start + (phase_ms - start) % tau_ms
    return [t for t in range(first, end, tau_ms) if not inside(t, unseen)]


def write_series(path: Path, families: Mapping[str, tuple[str, Mapping[str, Samples]]]) -> None:
    """OpenMetrics of ``name -> (type, series text -> samples)``."""
    with path.open("w") as file:
        for name, (kind, series) in families.items():
            file.write(f"# TYPE {name} {kind}\n")
            for text, samples in series.items():
                file.writelines(
                    f"{text} {value!r} {t // 1000}.{t % 1000:03d}\n" for t, value in samples
                )
        file.write("# EOF\n")


#: What a proxy does with one query: None passes it on, a text replaces it, a status is answered
#: with it, "drop" closes the connection, "stall" says nothing for as long as the client waits.
Change = Callable[[str], str | int | None]


@contextmanager
def proxied(url: str, change: Change) -> Iterator[str]:
    """A real HTTP server before ``url`` that ill-treats chosen queries; gives its own address."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            form = dict(parse_qsl(body.decode()))
            what = change(form["query"])
            if what == "drop":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if what == "stall":
                over.wait(60)
                self.close_connection = True
                return
            if isinstance(what, int):
                words = f"{what} as the test wants it"
                answer = {"status": "error", "errorType": "execution", "error": words}
                self.send(what, json.dumps(answer).encode())
                return
            form["query"] = form["query"] if what is None else what
            data = urlencode(form).encode()
            request = Request(url + self.path, data=data, method="POST")
            try:
                with OPENER.open(request, timeout=30) as found:
                    self.send(found.status, found.read())
            except HTTPError as error:
                self.send(error.code, error.read())

        def send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


OPENER = build_opener(ProxyHandler({}))


def left_open(query: str) -> str:
    """The query by which Prometheus 2 answers as 3 does: ranges without their left end.

    Times are whole milliseconds, so that (t - d, t] is [t - d + 1 ms, t].
    """

    def shorter(found: re.Match[str]) -> str:
        unit = {"ms": 1, "s": 1_000, "y": 365 * 86_400_000}[found[2]]
        return f"[{int(found[1]) * unit - 1}ms{found[3]}"

    return re.sub(r"\[(\d+)(ms|s|y)(\]|:)", shorter, query)
