"""Rendering a monthly report against WeasyPrint alone on the same HTML.

The whole (figures, templates, a PDF for the archive with everything attached) is timed in turn
with the bare ``HTML(...).write_pdf(pdf_variant="pdf/a-3a")``, in one process, so that both see the
same machine; the answer is the median of the ratios of neighbouring runs, which a machine that
slows down meanwhile does not shift. Beside it the same against ``write_pdf()``, which makes a file
without the structure that PDF/A-3a and PDF/UA-1 ask for. Memory is the peak of a process of its own
for each. Aim: 1.1 for both.

    python benchmarks/render.py [--runs 7] [--charts 12] [--json]
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from reporting import render  # noqa: E402
from reporting.page import Document, Kind  # noqa: E402

AIM = 1.1


def sample(charts: int) -> Document:
    """The monthly document of the tests: 19 sessions, 30 days, seven tables; its figures are
    repeated until there are ``charts``."""
    path = ROOT / "tests" / "render" / "sample.py"
    spec = importlib.util.spec_from_file_location("render_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    document: Document = module.document(Kind.MONTHLY)
    sections = list(document.sections)
    have = [(i, chart) for i, section in enumerate(sections) for chart in section.charts]
    for number in range(len(have), charts):
        at, chart = have[number % len(have)]
        again = chart.model_copy(update={"id": f"{chart.id}.{number}"})
        more = {"charts": (*sections[at].charts, again)}
        sections[at] = sections[at].model_copy(update=more)
    return document.model_copy(update={"sections": tuple(sections)})


def seconds(work: Callable[[], object]) -> float:
    """Processor time, since other work on the machine is not what is measured."""
    gc.collect()  # or a run would pay for what the run before it left behind
    start = time.process_time()
    work()
    return time.process_time() - start


def peak_mib(what: str, charts: int) -> float:
    """The most memory that a process of its own takes for ``what``, in MiB."""
    done = subprocess.run(
        [sys.executable, __file__, "--only", what, "--charts", str(charts)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description="time rendering against WeasyPrint alone")
    parser.add_argument("--runs", type=int, default=7, help="alternating runs of each")
    parser.add_argument("--charts", type=int, default=12, help="figures in the report")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", choices=["whole", "archival", "plain"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    # First, since a process starts with the peak of the one that started it.
    kinds = () if arguments.only else ("whole", "archival", "plain")
    peaks = {name: peak_mib(name, arguments.charts) for name in kinds}

    from weasyprint import HTML

    document = sample(arguments.charts)
    html = render.render_html(document)
    text = html.decode()
    works: dict[str, Callable[[], object]] = {
        "whole": lambda: render.render_pdf(render.render_html(document), document),
        "archival": lambda: HTML(string=text).write_pdf(
            pdf_variant="pdf/a-3a", pdf_identifier=b"benchmark"
        ),
        "plain": lambda: HTML(string=text).write_pdf(),
    }
    if arguments.only:
        works[arguments.only]()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return 0

    works["plain"]()  # imports, font files and caches are warm for all
    times: dict[str, list[float]] = {name: [] for name in works}
    for run in range(arguments.runs):
        for name in works if run % 2 else reversed(works):
            times[name].append(seconds(works[name]))
    pages = statistics.median(
        seconds(lambda: render.render_html(document)) for _ in range(arguments.runs)
    )
    result: dict[str, object] = {
        "benchmark": "render",
        "runs": arguments.runs,
        "charts": arguments.charts,
        "html_bytes": len(html),
        "html_seconds": round(pages, 3),
        "aim": AIM,
    }
    for name in works:
        result[f"{name}_seconds"] = round(statistics.median(times[name]), 3)
        result[f"{name}_peak_mib"] = round(peaks[name], 1)
    for name in ("archival", "plain"):
        pairs = zip(times["whole"], times[name], strict=True)
        result[f"ratio_to_{name}"] = round(statistics.median(w / b for w, b in pairs), 3)
        result[f"memory_to_{name}"] = round(peaks["whole"] / peaks[name], 3)
    if arguments.json:
        print(json.dumps(result))
        return 0
    print(
        f"monthly report, {arguments.charts} figures, {len(html) // 1024} KiB of HTML, medians of "
        f"{arguments.runs} runs (HTML alone {pages:.3f} s), aim {AIM} or below:"
    )
    for name, words in (
        ("whole", "figures, templates, archival PDF"),
        ("archival", "WeasyPrint alone, PDF/A-3a"),
        ("plain", "WeasyPrint alone, without structure"),
    ):
        ratio = f"ratio {result[f'ratio_to_{name}']:.3f}" if name != "whole" else ""
        memory = f"ratio {result[f'memory_to_{name}']:.3f}" if name != "whole" else ""
        print(
            f"  {words:36}{result[f'{name}_seconds']:7.3f} s  {ratio:12}"
            f"{result[f'{name}_peak_mib']:7.1f} MiB  {memory}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
