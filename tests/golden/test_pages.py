"""Key pages look as their committed pictures do; see ``pictures.py`` for how to make them anew."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reporting import render
from reporting.page import Document

from . import pictures

MEND = "look at it, and if it is meant: python -m tests.golden.pictures --force"
MOST_BYTES = 60_000
SAMPLES = sorted((pictures.FOLDER.parents[2] / "reports" / "sample").glob("*/*/r*/report.pdf"))
DOCUMENTS = {name: (document, page) for name, document, page in pictures.documents()}

pytestmark = pytest.mark.skipif(not shutil.which("pdftoppm"), reason="poppler is not installed")


@pytest.fixture(scope="module")
def pdf() -> Callable[[str], bytes]:
    """The PDF that a picture is of, made once."""
    made: dict[str, bytes] = {}

    def of(name: str) -> bytes:
        if name not in made:
            made[name] = pictures.pdf_of(DOCUMENTS[name][0])
        return made[name]

    return of


def page(name: str) -> int:
    return DOCUMENTS[name][1]


def test_every_picture_is_of_a_page_and_every_page_has_one() -> None:
    there = {path.stem for path in pictures.FOLDER.glob("*.png")}
    assert there == set(DOCUMENTS), MEND
    assert all(path.stat().st_size <= MOST_BYTES for path in pictures.FOLDER.glob("*.png"))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_page_looks_as_it_did(name: str, pdf: Callable[[str], bytes]) -> None:
    now = pictures.picture(pdf(name), page(name))
    off = pictures.differing(pictures.committed(name), now)
    assert not off, (
        f"{name}: {len(off)} tiles differ, the first in row, column {off[0][:2]}; {MEND}"
    )


@pytest.mark.parametrize("name", ["daily-flash", "monthly-risk", "monthly-differences"])
def test_another_rasteriser_draws_the_same_picture(name: str, pdf: Callable[[str], bytes]) -> None:
    """Cairo shades letters differently from Splash; the tolerance has room for that."""
    other = pictures.picture(pdf(name), page(name), "pdftocairo")
    assert not pictures.differing(pictures.committed(name), other)


FIRST, RESULT, RISK = "daily-flash", "monthly-result", "monthly-risk"
FAULTS = {
    "the colour of what was missed": (FIRST, "--missed: #b03a00", "--missed: #4a7a00"),
    "cards in two columns": (FIRST, "repeat(3, 1fr); gap: 3mm", "repeat(2, 1fr); gap: 3mm"),
    "everything 2 mm lower": (FIRST, "margin-bottom: 5mm; }", "margin-bottom: 7mm; }"),
    "no border beside the answer": (FIRST, "border-left: 6px solid", "border-left: 0 solid"),
    "no list of what needs attention": (FIRST, 'class="attention"', 'class="attention" hidden'),
    "no badges": (FIRST, 'class="badges"', 'class="badges" hidden'),
    "no FLASH banner": (FIRST, 'class="flash-banner"', 'class="flash-banner" hidden'),
    "smaller figures": (FIRST, ".card-value { font-size: 1.32em", ".card-value { font-size: 1em"),
    "the colour of gains": (RESULT, 'fill="#0072b2"', 'fill="#c04a00"'),
    "no running line": (RESULT, 'stroke="#1c1c1c"', 'stroke="#ffffff"'),
    "no marks of exceptions": (RISK, 'stroke="#c04a00"', 'stroke="#ffffff"'),
    "text left in columns of numbers": (
        RISK,
        "th, td { text-align: right",
        "th, td { text-align: left",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_shows(fault: str) -> None:
    """Planted in the page that the PDF is made from: the picture must not be taken for the same."""
    name, was, now = FAULTS[fault]
    document: Document = DOCUMENTS[name][0]
    html = render.render_html(document).decode()
    assert was in html, fault
    # ``hidden`` alone would lose against a rule of the page.
    broken = html.replace(was, now).replace("</style>", "[hidden] { display: none }</style>", 1)
    drawn = pictures.picture(render.render_pdf(broken.encode(), document), page(name))
    assert pictures.differing(pictures.committed(name), drawn), fault


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.parts[-4])
def test_nothing_of_the_sample_reports_runs_over_the_edge(path: Path) -> None:
    """Real names and numbers are longer than made up ones."""
    command = ["pdftotext", "-bbox", str(path), "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    words = re.findall(r'xMin="([\d.-]+)".*xMax="([\d.-]+)".*>(.*)</word>', done.stdout)
    assert len(words) > 1_000
    # A4 is 210 mm wide with margins of 15 mm; 1 mm is 72 / 25.4 points.
    left, right = 15 * 72 / 25.4, 195 * 72 / 25.4
    over = [word for word in words if float(word[0]) < left - 1 or float(word[1]) > right + 1]
    assert over == [], "made by `make sample`; if the templates are right by now, make it anew"


def test_states_look_different() -> None:
    """No state of a report could be taken for another."""
    states = [name for name in DOCUMENTS if name.startswith("daily-")]
    for number, one in enumerate(states):
        for other in states[number + 1 :]:
            assert pictures.differing(pictures.committed(one), pictures.committed(other))
