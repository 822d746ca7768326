"""How fast /livez, /readyz and /metrics answer while the same interpreter is busy.

Another process asks each in turn, over and over. The process that answers is idle at first, then
burns two processors in Python, then renders a monthly PDF again and again, and at last its store
hangs: the worst that can be done to it, since the service itself works in other processes. Printed
are the median, the 99th percentile and the slowest, in milliseconds, and the 99th percentile as a
ratio to the idle process. Aim: 500 ms at the 99th percentile for both health checks. A scrape waits
for a hanging store as long as it is allowed to and then answers without it.

    python benchmarks/health.py [--requests 200] [--json]
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from reporting import render  # noqa: E402
from reporting.metrics import Observed, Snapshot, serve_http  # noqa: E402
from reporting.page import Document, Kind  # noqa: E402

AIM_MS = 500
CHECKS, PATHS = ("/livez", "/readyz"), ("/livez", "/readyz", "/metrics")


def ask(port: int, requests: int) -> dict[str, list[float]]:
    """Milliseconds of each request, connection and all; done by the other process."""
    took: dict[str, list[float]] = {path: [] for path in PATHS}
    for number in range(requests):
        for path in PATHS:
            if path == "/metrics" and number % 10:  # 4 s each while the store hangs
                continue
            began = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", path)
            connection.getresponse().read()
            connection.close()
            took[path].append((time.perf_counter() - began) * 1000)
            time.sleep(0.01)
    return took


def asked(port: int, requests: int) -> dict[str, dict[str, float]]:
    """By path: median, 99th percentile and maximum."""
    command = [sys.executable, __file__, "--ask", str(port), "--requests", str(requests)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {}
    for path, took in json.loads(done.stdout).items():
        cuts = quantiles(took, n=100, method="inclusive")
        found[path] = {"median_ms": cuts[49], "p99_ms": cuts[98], "max_ms": max(took)}
    return found


@contextmanager
def busy(work: Callable[[], object], threads: int) -> Iterator[None]:
    """Does it over and over in so many threads of this process."""
    over = threading.Event()

    def loop() -> None:
        while not over.is_set():
            work()

    running = [threading.Thread(target=loop) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in running:
            thread.join()


def burn() -> int:
    """A fraction of a second of nothing but Python."""
    return sum(number * number for number in range(500_000))


def monthly() -> Document:
    """The monthly document of the tests."""
    path = ROOT / "tests" / "render" / "sample.py"
    spec = importlib.util.spec_from_file_location("render_sample", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    document: Document = module.document(Kind.MONTHLY)
    return document


def measure(requests: int) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds by load and path."""
    hangs, over = threading.Event(), threading.Event()

    def store() -> Snapshot:
        if hangs.is_set():
            over.wait()
        return Snapshot()

    observed = Observed("benchmark", "a")
    observed.collector(store)
    document = monthly()

    def pdf() -> None:
        render.render_pdf(render.render_html(document), document)

    pdf()  # fonts are read once
    found = {}
    with serve_http(
        "127.0.0.1", 0, observed.registry, lambda: observed.stuck(1e9), lambda: store() and None
    ) as port:
        found["idle"] = asked(port, requests)
        with busy(burn, 2):
            found["two threads burn"] = asked(port, requests)
        with busy(pdf, 1):
            found["a PDF is rendered"] = asked(port, requests)
        hangs.set()
        found["the store hangs"] = asked(port, max(20, requests // 10))
        over.set()
    return found


def main() -> None:
    """Print the figures for people, or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=200, help="of each check (default 200)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--ask", type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ask:
        print(json.dumps(ask(given.ask, given.requests)))
        return
    found = measure(given.requests)
    worst = max(found[load][path]["p99_ms"] for load in found for path in CHECKS)
    if given.json:
        print(json.dumps({"loads": found, "worst_p99_ms": worst, "cores": os.cpu_count()}))
        return
    print(f"{'load':20}{'path':10}{'median':>9}{'p99':>9}{'max':>9}  ms   p99/idle")
    for load, paths in found.items():
        for path, ms in paths.items():
            ratio = ms["p99_ms"] / found["idle"][path]["p99_ms"]
            row = f"{ms['median_ms']:9.1f}{ms['p99_ms']:9.1f}{ms['max_ms']:9.1f}"
            print(f"{load:20}{path:10}{row}     {ratio:8.1f}")
    print(f"Slowest 99th percentile of a health check: {worst:.0f} ms; aim {AIM_MS} ms.")


if __name__ == "__main__":
    main()
