"""Pictures of the key pages, small enough to commit and to look at.

Each state of a report's first page, a page of risk, and the differences to a replaced revision, as
WeasyPrint and poppler draw them now:

    python -m tests.golden.pictures            # says what differs, writes nothing
    python -m tests.golden.pictures --force    # writes the pictures anew; look at them, then commit

Two pictures are compared tile by tile by their mean colours. Another rasteriser shades the edges
of letters differently, which a mean hardly notices; what moved, vanished or changed its colour
changes the mean of the tiles that it covers.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reporting import render
from reporting.page import Document, Kind, Section, Status, Verdict

from ..render.conftest import load_sample

FOLDER = Path(__file__).with_name("pages")
DPI = 40
#: Pixels of a tile's side: 5 mm on paper, about a line of text with its white.
TILE = 8
#: By how much a tile's mean colour may differ, of 255. Splash and Cairo, the two rasterisers of
#: poppler, differ by up to 19 in text and 27 in hatching, what the tests plant by 33 and up.
#: Pale small print is below that: the tests of the page's words look after it.
TOLERANCE = 28
REASON = "late correction of 4 fills by the venue on 20 November"


def documents() -> Iterator[tuple[str, Document, int]]:
    """Name, document, and the number of the page that is looked at."""
    sample = load_sample()
    daily = _short(sample.document(Kind.DAILY, hostile=False))
    quiet = {"verdict": Verdict.MET, "answer": "Yes. Every target was met.", "attention": ()}
    final = {"status": Status.FINAL, "gaps": ()}
    yield "daily-final-signed", daily.model_copy(update={**final, **quiet, "signed": True}), 1
    yield "daily-incomplete", daily, 1
    yield "daily-flash", daily.model_copy(update={**final, "status": Status.FLASH}), 1
    restated = {**final, "status": Status.RESTATED, "revision": 2, "reason": REASON}
    restated |= {"id": "daily/2025-11-28/r2", "supersedes": "daily/2025-11-28/r1"}
    yield "daily-restated", daily.model_copy(update=restated), 1
    why = "the time-stamp authority did not answer in 30 s; policy issues without"
    yield "daily-unsigned", daily.model_copy(update={**final, "unsigned_because": why}), 1
    yield "daily-empty", sample.document(Kind.DAILY, bare=True), 1
    monthly = sample.document(Kind.MONTHLY, hostile=False)
    for name, section in (
        ("monthly-result", "pnl"),
        ("monthly-risk", "var"),
        ("monthly-availability", "uptime"),
    ):
        only = tuple(s for s in monthly.sections if s.id == section)
        yield name, monthly.model_copy(update={"sections": only}), 2
    changed = monthly.model_copy(update={"sections": (), "gaps": (), "findings": ()})
    yield "monthly-differences", changed, 3  # they have a page of their own


def _short(document: Document) -> Document:
    """Its sections by title only: the first page is what is wanted."""
    sections = tuple(Section(id=s.id, title=s.title, verdict=s.verdict) for s in document.sections)
    return document.model_copy(update={"sections": sections})


def pdf_of(document: Document) -> bytes:
    return render.render_pdf(render.render_html(document), document)


def picture(pdf: bytes, page: int, tool: str = "pdftoppm") -> Image.Image:
    """A page as ``tool`` of poppler draws it, in colour."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "report.pdf"
        source.write_bytes(pdf)
        subprocess.run(
            [tool, "-png", "-r", str(DPI), "-f", str(page), "-l", str(page), "-singlefile",
             source, Path(folder) / "page"],
            check=True,
            timeout=60,
        )  # fmt: skip
        return Image.open(io.BytesIO((Path(folder) / "page.png").read_bytes())).convert("RGB")


def encoded(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def tiles(image: Image.Image) -> NDArray[np.float64]:
    """Mean colours of the tiles, rows × columns × 3; what is left over at the edges is white."""
    pixels = np.asarray(image, dtype=np.float64)
    rows, columns = pixels.shape[0] // TILE, pixels.shape[1] // TILE
    cut = pixels[: rows * TILE, : columns * TILE]
    means = cut.reshape(rows, TILE, columns, TILE, 3).mean(axis=(1, 3))
    return np.asarray(means, dtype=np.float64)


def differing(before: Image.Image, after: Image.Image) -> list[tuple[int, int, float]]:
    """Row, column and difference of every tile that differs by more than the tolerance."""
    if before.size != after.size:
        raise ValueError(f"a page of {before.size} pixels became one of {after.size}")
    off = np.abs(tiles(before) - tiles(after)).max(axis=2)
    return [(int(r), int(c), float(off[r, c])) for r, c in np.argwhere(off > TOLERANCE)]


def committed(name: str) -> Image.Image:
    return Image.open(FOLDER / f"{name}.png").convert("RGB")


def main(force: bool, say: Callable[[str], object] = print) -> int:
    for name, document, number in documents():
        now = picture(pdf_of(document), number)
        path = FOLDER / f"{name}.png"
        if force:
            path.write_bytes(encoded(now))
            say(f"{path.name}: {path.stat().st_size:,} bytes")
        elif not path.exists():
            say(f"{path.name}: not there")
        else:
            say(f"{path.name}: {len(differing(committed(name), now))} tiles differ")
    if not force:
        say("nothing was written; --force writes the pictures anew")
    return 0


if __name__ == "__main__":
    raise SystemExit(main("--force" in sys.argv[1:]))
