"""The PDF for the archive and for everybody: judged by others' programs, not by ours."""

from __future__ import annotations

import io
import itertools
import re
import shutil
import subprocess
import zlib
from datetime import UTC
from pathlib import Path
from types import ModuleType

import page as validator
import pydyf
import pytest
from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject

from reporting import archival, render
from reporting.page import Document, Kind
from reporting.seal import canonical

needs_poppler = pytest.mark.skipif(shutil.which("pdfdetach") is None, reason="no poppler-utils")
needs_qpdf = pytest.mark.skipif(shutil.which("qpdf") is None, reason="no qpdf")


@pytest.fixture(scope="module")
def weekly(sample: ModuleType) -> tuple[Document, bytes]:
    document: Document = sample.document(Kind.WEEKLY)
    return document, render.render_pdf(render.render_html(document), document)


@pytest.fixture(scope="module")
def signable(sample: ModuleType) -> tuple[Document, bytes]:
    """A daily report that is about to be signed."""
    document = sample.document(Kind.DAILY).model_copy(update={"signed": True})
    return document, render.render_pdf(render.render_html(document), document)


@pytest.fixture(params=["signable", "weekly", "monthly"])
def made(request: pytest.FixtureRequest) -> tuple[Document, bytes]:
    """A document and its PDF, of each kind."""
    if request.param == "monthly":
        return request.getfixturevalue("monthly"), request.getfixturevalue("pdf")
    pair: tuple[Document, bytes] = request.getfixturevalue(request.param)
    return pair


def failures(pdf: bytes) -> list[str]:
    """What the two standards have against ``pdf``."""
    profiles = validator.ValidationProfile
    return [
        f"{found.rule_id}: {found.message}"
        for profile in (profiles.PDF_A_3A, profiles.PDF_UA_1)
        for found in validator.validate_pdf_bytes(pdf, profile=profile).failures
    ]


def test_it_is_archival_and_accessible_at_once(made: tuple[Document, bytes]) -> None:
    assert failures(made[1]) == []


def test_the_judge_sees_what_is_wrong(weekly: tuple[Document, bytes]) -> None:
    """Each planted in bytes that are as long as before, so that offsets stay right."""
    pdf = weekly[1]
    assert failures(pdf.replace(b'pdfuaid:part="1"', b'pdfuaid:part="3"'))
    assert failures(pdf.replace(b'pdfaid:conformance="A"', b'pdfaid:conformance="X"'))


@needs_qpdf
def test_qpdf_finds_nothing_wrong(made: tuple[Document, bytes], tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(made[1])
    done = subprocess.run(["qpdf", "--check", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@needs_poppler
def test_everything_attached_is_exact(made: tuple[Document, bytes], tmp_path: Path) -> None:
    document, pdf = made
    path = tmp_path / "report.pdf"
    path.write_bytes(pdf)
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["pdfdetach", "-saveall", "-o", str(out), str(path)], check=True)
    wanted = {"facts.json": canonical(document), **render.render_tables(document)}
    assert {p.name: p.read_bytes() for p in out.iterdir()} == wanted


def test_attachments_say_what_they_are(made: tuple[Document, bytes]) -> None:
    document, pdf = made
    root = PdfReader(io.BytesIO(pdf)).trailer["/Root"]
    assert isinstance(root, DictionaryObject)
    files = root["/AF"]
    assert isinstance(files, ArrayObject)
    numbers = [f.idnum for f in files if isinstance(f, IndirectObject)]
    assert len(numbers) == len(set(numbers)) == 1 + len(render.render_tables(document))
    cutoff = document.period.cutoff.astimezone(UTC).strftime("D:%Y%m%d%H%M%SZ")
    for file in (f.get_object() for f in files):
        assert isinstance(file, DictionaryObject)
        facts = file["/UF"] == "facts.json"
        assert file["/AFRelationship"] == ("/Source" if facts else "/Data")
        stream = file["/EF"]["/F"]
        assert stream["/Subtype"] == ("/application/json" if facts else "/text/csv")
        assert stream["/Params"]["/CreationDate"] == stream["/Params"]["/ModDate"] == cutoff
        assert file["/Desc"]


def test_equal_files_keep_their_own_relationship(signable: tuple[Document, bytes]) -> None:
    """Two tables without rows and with the same columns are the same bytes, under two names."""
    document = signable[0]
    section = next(s for s in document.sections if s.tables)
    empty = section.tables[0].model_copy(update={"rows": (), "total": None})
    twins = tuple(empty.model_copy(update={"id": f"twin.{n}"}) for n in (1, 2))
    document = document.model_copy(
        update={"sections": (section.model_copy(update={"tables": twins, "charts": ()}),)}
    )
    page = b'<html lang="en"><head><title>t</title></head><body><h1>t</h1></body></html>'
    pdf = render.render_pdf(page, document)
    assert failures(pdf) == []
    found = PdfReader(io.BytesIO(pdf)).attachments
    assert found["twin.1.csv"] == found["twin.2.csv"] != []
    assert len(found) == 3


@needs_poppler
@pytest.mark.slow
def test_a_reader_who_sees_nothing_gets_the_numbers(pdf: bytes, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(pdf)
    done = subprocess.run(
        ["pdfinfo", "-struct-text", str(path)], capture_output=True, text=True, check=True
    )
    assert "Syntax" not in done.stderr
    structure = re.sub(r"\s+", " ", done.stdout)
    reader = PdfReader(io.BytesIO(pdf))
    alternatives = [a for a in walk(reader.trailer["/Root"]["/StructTreeRoot"]) if a]
    charts = [a for a in alternatives if "2025-11-18 -29412.88" in a]
    assert charts, alternatives
    assert any("order-gateway: down" in a for a in alternatives)
    assert all(len(a) > 2 for a in alternatives)
    # Headings in order: no level is left out.
    levels = [int(n) for n in re.findall(r"\bH([1-6]) \(block\)", structure)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def walk(element: object) -> list[str | None]:
    """The alternative text of every figure below a structure element."""
    element = element.get_object() if isinstance(element, IndirectObject) else element
    if isinstance(element, ArrayObject):
        return [text for kid in element for text in walk(kid)]
    if not isinstance(element, DictionaryObject):
        return []
    own = [element.get("/Alt", "")] if element.get("/S") == "/Figure" else []
    return own + (walk(element["/K"]) if "/K" in element else [])


def test_every_figure_has_a_text_and_every_link_says_where_it_leads(
    made: tuple[Document, bytes],
) -> None:
    document, pdf = made
    reader = PdfReader(io.BytesIO(pdf))
    texts = walk(reader.trailer["/Root"]["/StructTreeRoot"])
    assert texts
    assert all(texts)
    titles = {section.title for section in document.sections}
    links = [
        str(annotation["/Contents"])
        for sheet in reader.pages
        for annotation in (a.get_object() for a in sheet.get("/Annots", ()))
        if annotation["/Subtype"] == "/Link"
    ]
    assert links
    assert all(link.startswith("Go to ") and "#" not in link for link in links)
    assert not titles or any(link.removeprefix("Go to ") in titles for link in links)


def test_pages_are_labelled_and_tables_have_headings(made: tuple[Document, bytes]) -> None:
    reader = PdfReader(io.BytesIO(made[1]))
    assert reader.page_labels == [str(n) for n in range(1, len(reader.pages) + 1)]
    assert reader.trailer["/Root"]["/Lang"] == "en"
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]


def test_the_page_gives_every_column_heading_its_scope(html: str) -> None:
    headings = re.findall(r"<th\b[^>]*>", html)
    assert headings
    assert all('scope="col"' in h or 'scope="row"' in h for h in headings)


def test_only_what_will_be_signed_has_a_field(
    signable: tuple[Document, bytes], weekly: tuple[Document, bytes]
) -> None:
    assert "/AcroForm" not in PdfReader(io.BytesIO(weekly[1])).trailer["/Root"]
    reader = PdfReader(io.BytesIO(signable[1]))
    (field,) = (f.get_object() for f in reader.trailer["/Root"]["/AcroForm"]["/Fields"])
    assert field["/FT"] == "/Sig"
    assert "/V" not in field
    assert field["/TU"] == archival.SIGNATURE_WORDS
    # Its place in the structure, both ways; the judge looks only from the field upwards.
    (whole,) = reader.trailer["/Root"]["/StructTreeRoot"]["/K"]
    forms = [k.get_object() for k in whole.get_object()["/K"]]
    (form,) = (f for f in forms if f["/S"] == "/Form")
    assert form["/K"]["/Obj"].get_object() == field


# --- compressed bytes that end with a carriage return ----------------------------------------


def ends_badly(content: bytes) -> bool:
    return zlib.compress(content, 9).endswith(b"\r")


def small(drawing: bytes, exact: bytes) -> tuple[pydyf.PDF, pydyf.Stream, pydyf.Stream]:
    """A file with a page that draws ``drawing``, and a stream that has to stay as it is."""
    pdf = pydyf.PDF()
    page = pydyf.Stream([drawing], compress=True)
    kept = pydyf.Stream([exact], {"Type": "/EmbeddedFile"}, compress=True)
    for each in (page, kept):
        pdf.add_object(each)
    pdf.add_page(pydyf.Dictionary({"Type": "/Page", "Contents": page.reference}))
    return pdf, page, kept


def test_no_stream_ends_with_a_carriage_return() -> None:
    bad = next(drawing for n in range(1, 999) if ends_badly(drawing := b"S" * n))
    assert not ends_badly(bad + b" ")
    pdf, page, kept = small(bad, bad)
    archival._compress(pdf)
    assert zlib.decompress(page.stream[0]) == bad + b" "
    assert kept.stream == [bad]
    assert "Filter" not in kept.extra


def test_neither_do_the_two_that_the_writer_adds() -> None:
    rewritten = 0
    for number in range(1500):
        pdf, *_ = small(b"S", b"")
        pdf.info["Title"] = pydyf.String("y" * number)
        archival._compress(pdf)
        objects, out = len(pdf.objects), io.BytesIO()
        pdf.write(out, b"1.7", b"id", compress=True)
        body = archival.settled(pdf, objects, out.getvalue(), b"id")
        assert b"\r\nendstream" not in body
        if body != out.getvalue():
            rewritten += 1
            assert b"\r\nendstream" in out.getvalue()
            assert PdfReader(io.BytesIO(body)).metadata["/Title"] == "y" * number
    assert rewritten > 3  # two streams, each once in 256
