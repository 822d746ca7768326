"""Rendering a monthly report against WeasyPrint alone on the same HTML.

The whole (figures, templates, PDF) is timed in turn with the bare ``HTML(...).write_pdf()``, in
one process, so that both see the same machine; the answer is the median of the ratios of
neighbouring runs, which a machine that slows down meanwhile does not shift. Aim: 1.1.

    python benchmarks/render.py [--runs 7] [--json]
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from reporting import render  # noqa: E402
from reporting.page import Document, Kind  # noqa: E402

AIM = 1.1


def sample() -> Document:
    """The monthly document of the tests: 19 sessions, 30 days, seven tables, five figures."""
    path = ROOT / "tests" / "render" / "sample.py"
    spec = importlib.util.spec_from_file_location("render_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    document: Document = module.document(Kind.MONTHLY)
    return document


def seconds(work: Callable[[], object]) -> float:
    """Processor time, since other work on the machine is not what is measured."""
    gc.collect()  # or a run would pay for what the run before it left behind
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> int:
    parser = argparse.ArgumentParser(description="time rendering against WeasyPrint alone")
    parser.add_argument("--runs", type=int, default=7, help="alternating runs of each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()

    from weasyprint import HTML

    document = sample()
    html = render.render_html(document)
    text = html.decode()
    HTML(string=text).write_pdf()  # imports, font files and caches are warm for both

    whole: list[float] = []
    pages: list[float] = []
    bare: list[float] = []
    kinds = [
        (bare, lambda: HTML(string=text).write_pdf()),
        (whole, lambda: render.render_pdf(render.render_html(document), document)),
    ]
    for run in range(arguments.runs):
        for times, work in kinds if run % 2 else reversed(kinds):
            times.append(seconds(work))
        pages.append(seconds(lambda: render.render_html(document)))
    result = {
        "benchmark": "render",
        "runs": arguments.runs,
        "html_bytes": len(html),
        "whole_seconds": round(statistics.median(whole), 3),
        "html_seconds": round(statistics.median(pages), 3),
        "weasyprint_seconds": round(statistics.median(bare), 3),
        "ratio": round(statistics.median(w / b for w, b in zip(whole, bare, strict=True)), 3),
        "aim": AIM,
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        print(
            f"monthly report, {len(html) // 1024} KiB of HTML, medians of {arguments.runs} runs:\n"
            f"  figures, templates and PDF  {result['whole_seconds']:.3f} s"
            f"  (HTML alone {result['html_seconds']:.3f} s)\n"
            f"  WeasyPrint alone            {result['weasyprint_seconds']:.3f} s\n"
            f"  ratio                       {result['ratio']:.3f}  (aim: {AIM} or below)"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
