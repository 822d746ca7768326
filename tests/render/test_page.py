"""The issued page: reproducible, self-contained, harmless, and readable."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from pypdf import PdfReader

from reporting import render
from reporting.errors import ValidationFailed
from reporting.model import Count, Missing, Why
from reporting.page import Document, Figure, Gap, Kind, Status

HERE = Path(__file__).resolve().parent

_PRINT_DIGESTS = """
import hashlib, importlib.util, sys
sys.path.insert(0, sys.argv[2])
spec = importlib.util.spec_from_file_location("render_sample", sys.argv[1])
sample = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sample)
from reporting import render
from reporting.page import Kind
document = sample.document(Kind.WEEKLY).model_copy(update={"signed": True})
html = render.render_html(document)
pdf = render.render_pdf(html, document)
tables = render.render_tables(document)
for body in (html, pdf, *tables.values()):
    print(hashlib.sha256(body).hexdigest())
"""


def start(folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Render in a process of its own, in ``folder``."""
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "-c", _PRINT_DIGESTS, str(HERE / "sample.py"), str(HERE.parents[1])],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    here = start(tmp_path / "here", TZ="UTC", PYTHONHASHSEED="1", LC_ALL="C.UTF-8")
    # A settings file of matplotlib in the home folder must not reach the figures.
    home = tmp_path / "home"
    home.mkdir()
    (home / "matplotlibrc").write_text("path.sketch: 3, 100, 2\naxes.xmargin: 0.4\n")
    there = start(
        tmp_path / "there",
        TZ="Asia/Kathmandu",
        PYTHONHASHSEED="2",
        LC_ALL="de_DE.UTF-8",
        MATPLOTLIBRC=str(home),
    )
    digests = [process.communicate()[0].split() for process in (here, there)]
    assert len(digests[0]) == 2 + 7  # page, PDF and seven tables
    assert digests[0] == digests[1]


def test_the_document_from_its_json_gives_the_same_page(monthly: Document, html: str) -> None:
    again = Document.model_validate_json(monthly.model_dump_json())
    assert hashlib.sha256(render.render_html(again)).digest() == (
        hashlib.sha256(html.encode()).digest()
    )
    assert render.render_tables(again) == render.render_tables(monthly)


class _Page(HTMLParser):
    """Every start tag with its attributes, and the page's words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_nothing_is_loaded_and_nothing_runs(html: str) -> None:
    page = _Page(html)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form", "img", "b"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href", "xlink:href", "action", "poster", "style"):
            value = attributes.get(name)
            beside = ("differences.html",)  # a restated report is issued with it
            assert value is None or value.startswith("#") or value in beside, (tag, name, value)
    for url in re.findall(r"url\(([^)]*)\)", html):
        assert url.startswith(("data:font/woff2;base64,", "#")), url[:60]
    assert "@import" not in html
    policy = dict(page.tags[3][1])
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert "default-src 'none'" in str(policy["content"])


def test_hostile_names_only_stand_there(html: str, sample: ModuleType) -> None:
    page = _Page(html)
    text = " ".join(page.text)
    for name in sample.HOSTILE:
        if name.isascii():
            assert name in re.sub(r"(?<=A) (?=A)", "", text)
    # Signs that our fonts lack are spelled out, and so is the one that reverses what follows.
    assert "Łódź & Co. [U+4E2D][U+202E]gnp" in text
    assert "\u202e" not in html


def test_ids_are_unique_and_links_lead_somewhere(html: str) -> None:
    page = _Page(html)
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"] for t, a in page.tags if t in ("a", "use") and "href" in a}
    assert links <= {"differences.html", *(f"#{name}" for name in ids)}
    used = set(re.findall(r'"url\(#([^)]*)\)"', html))
    assert used <= set(ids)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x.png", "https://example.invalid/x", "file:///etc/passwd"]
)
def test_the_renderer_fetches_nothing(url: str, monthly: Document) -> None:
    page = f'<html lang="en"><body><img src="{url}"></body></html>'.encode()
    with pytest.raises(ValidationFailed, match="outside itself"):
        render.render_pdf(page, monthly)


def test_the_renderer_understands_all_of_the_page(pdf: bytes, renderer_warnings: list[str]) -> None:
    assert renderer_warnings == []


def test_the_answer_stands_on_the_first_page(pdf: bytes, monthly: Document) -> None:
    reader = PdfReader(io.BytesIO(pdf))
    first = words_of(reader.pages[0].extract_text())
    for words in (
        "Monthly trading and service report",
        "November 2025",
        "INCOMPLETE",
        "UNSIGNED",
        monthly.answer,
        "1,284,310.12 USD",
        "2.52 bps",
        "98.76 %",
        "96.991 – 97.131 %",
        "— source unreachable: Prometheus did not answer",
        "order-gateway was down for 41 min 20 s",
        "13 fills of <script>alert(1)</script> had no arrival price.",
    ):
        assert words in first, words


def words_of(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\u00a0", " "))


def test_the_pdf_says_what_it_is(pdf: bytes, monthly: Document) -> None:
    reader = PdfReader(io.BytesIO(pdf))
    assert reader.metadata is not None
    assert reader.metadata.title == "Monthly trading and service report, November 2025"
    assert reader.metadata.author == monthly.issuer
    assert reader.metadata.creation_date == monthly.issued_at
    assert reader.trailer["/Root"]["/Lang"] == "en"
    titles = [str(entry["/Title"]) for entry in flat(reader.outline)]
    assert titles[:3] == [
        reader.metadata.title.partition(",")[0],
        "Profit and loss",
        "By strategy and agent",
    ]
    assert {"Value at risk met", "Slippage missed", "Gaps", "Evidence"} <= set(titles)
    pages = len(reader.pages)
    for number, page in enumerate(reader.pages, 1):
        text = words_of(page.extract_text())
        assert f"Page {number} of {pages}" in text
        assert monthly.id in text
        assert "UNSIGNED" in text


def flat(outline: list[object]) -> list[dict[str, object]]:
    out: list[dict[str, object]] = []
    for entry in outline:
        out.extend(flat(entry) if isinstance(entry, list) else [entry])  # type: ignore[list-item]
    return out


def test_the_fonts_are_ours_only(pdf: bytes) -> None:
    fonts = set()
    for page in PdfReader(io.BytesIO(pdf)).pages:
        for font in page["/Resources"].get("/Font", {}).values():
            fonts.add(str(font.get_object()["/BaseFont"]))
    assert fonts
    for font in fonts:
        assert re.fullmatch(r"/[A-Z]{6}\+Reporting-(Sans|Mono)[A-Za-z-]*", font), font


@pytest.mark.parametrize("tool", ["pdftotext", "pdfinfo", "qpdf"])
def test_other_readers_open_it(tool: str, pdf: bytes, tmp_path: Path) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    (tmp_path / "report.pdf").write_bytes(pdf)
    command = {
        "pdftotext": ["pdftotext", "-layout", "report.pdf", "-"],
        "pdfinfo": ["pdfinfo", "report.pdf"],
        "qpdf": ["qpdf", "--check", "report.pdf"],
    }[tool]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = {
        "pdftotext": "1,284,310.12",
        "pdfinfo": "Monthly trading and service report",
        "qpdf": "No syntax or stream encoding errors",
    }[tool]
    assert expected in done.stdout.replace("\u00a0", " ")


def test_nothing_runs_over_the_edge_of_the_paper(pdf: bytes, tmp_path: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed")
    (tmp_path / "report.pdf").write_bytes(pdf)
    command = ["pdftotext", "-bbox", "report.pdf", "-"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    boxes = re.findall(r'xMin="([\d.]+)".*xMax="([\d.]+)".*>(.*)</word>', done.stdout)
    assert len(boxes) > 1_000
    # A4 is 210 mm wide with margins of 15 mm; 1 mm is 72 / 25.4 points.
    left, right = 15 * 72 / 25.4, 195 * 72 / 25.4
    over = [box for box in boxes if float(box[0]) < left - 1 or float(box[1]) > right + 1]
    assert over == []


def test_a_page_shows_the_top_and_says_where_the_rest_is(html: str) -> None:
    text = words_of(" ".join(_Page(html).text))
    assert "showing 25 of 140 rows; all of them in tables/pnl.by_instrument.csv" in text
    assert "INST017" in text
    assert "INST018" not in text


def test_many_tables_share_the_rows_of_a_page(sample: ModuleType) -> None:
    (table,) = (
        t
        for s in sample.document(Kind.MONTHLY).sections
        for t in s.tables
        if t.id == "pnl.by_instrument"
    )
    tables = [table.model_copy(update={"id": f"t{n}", "top": 100}) for n in range(4)]
    small = table.model_copy(update={"id": "small", "rows": table.rows[:5]})
    limits = render._row_limits([*tables, small], budget=220)
    # 220 rows: the small one keeps its 5, the others share 215, 53 each.
    assert limits == {"t0": 53, "t1": 53, "t2": 53, "t3": 53, "small": 5}


def test_the_first_page_leads_with_figures_and_lists_at_most_twelve(monthly: Document) -> None:
    item = monthly.attention[0]
    many = tuple(item.model_copy(update={"text": f"matter {n:02d}"}) for n in range(15))
    html = render.render_html(monthly.model_copy(update={"attention": many})).decode()
    assert html.index('id="headline"') < html.index('id="attention"')
    assert re.findall(r"matter \d\d", html) == [f"matter {n:02d}" for n in range(12)]
    assert "and 3 more" in html and "all of them in" in html


def test_an_absence_in_a_cell_is_told_by_its_detail_where_that_is_short() -> None:
    def cell(detail: str) -> str:
        absent = Missing(why=Why.TOO_SHORT, detail=detail)
        return render._cell(absent, "UTC", None, unit=True)

    assert cell("67 of 100 sessions") == "— 67 of 100 sessions"
    assert cell("") == cell("x" * 27) == "— history too short"


def test_share_of_all_is_never_claimed(html: str) -> None:
    text = words_of(" ".join(_Page(html).text))
    # risk-engine was up for 999,996 of 1,000,000: as a figure and as a row of the table.
    assert re.search(r"risk-engine\s+99\.9996 %", text)
    assert "By quantity 99.99996 %" in text


def test_absences_are_chips_and_not_numbers(html: str, monthly: Document) -> None:
    chips = [words_of(c) for c in re.findall(r'<span class="missing">([^<]*)</span>', html)]
    assert chips
    assert all(chip.startswith("— ") for chip in chips)
    row = html[html.index('<td class="l">grafana</td>') :]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row[: row.index("</tr>")])
    assert len(cells) == 11
    assert all('class="missing"' in cell for cell in cells[1:5])


def test_gaps_of_days_in_a_row_are_one_row() -> None:
    """For the same reason, that is: a quarter that has not ended lacks a month of days."""
    why = Missing(why=Why.NOT_SEALED)
    days = [Gap(what="P&L", when=f"2025-11-{n:02}", reason=why) for n in (3, 4, 5, 7)]
    other = Gap(what="P&L", when="2025-11-08", reason=Missing(why=Why.UNREACHABLE))
    whole = Gap(what="P&L", when="2025-W45", reason=why)
    rows = render.gaps_in_spans([whole, *days, other])
    assert [row.when for row in rows] == [
        "2025-W45", "2025-11-03 to 2025-11-05", "2025-11-07", "2025-11-08",
    ]  # fmt: skip


def test_gaps_findings_differences_and_evidence_are_there(html: str, monthly: Document) -> None:
    text = words_of(" ".join(_Page(html).text))
    for words in (
        "3 values that the period should have and has not.",
        "mark of <b>ACME</b>",
        "a fill without an order",
        "Against monthly/2025-11/r1",
        "1,286,310.12 USD 1,284,310.12 USD",
        monthly.policy_digest,
        monthly.checkpoint.chain_hash,
        monthly.citations[19].digest[:16],
        "UNSIGNED: no key configured",
        "reporting verify <folder>",
        "72345678.25",
        "2025-12-01 02:03:07 UTC−05:00",
    ):
        assert words in text, words


@pytest.mark.parametrize("kind", list(Kind))
def test_an_empty_document_says_so(kind: Kind, sample: ModuleType) -> None:
    document = sample.document(kind, bare=True)
    html = render.render_html(document).decode()
    text = words_of(" ".join(_Page(html).text))
    for words in (
        "Gaps: none.",
        "Findings: none.",
        "Nothing needs a person.",
        "Nothing was measured in this period.",
        "No source was read.",
    ):
        assert words in text, words
    assert document.status is Status.FINAL
    assert ">FINAL<" in html


def test_a_signed_report_is_not_called_unsigned(sample: ModuleType) -> None:
    document = sample.document(Kind.DAILY, bare=True).model_copy(update={"signed": True})
    assert "UNSIGNED" not in render.render_html(document).decode()


def test_tables_in_full_and_exact(monthly: Document, sample: ModuleType) -> None:
    tables = render.render_tables(monthly)
    assert set(tables) == {
        "differences.csv",
        "pnl.by_strategy.csv",
        "pnl.by_instrument.csv",
        "var.exceptions.csv",
        "slippage.by_venue.csv",
        "fill_rate.by_agent.csv",
        "fill_rate.reject_reasons.csv",
        "uptime.targets.csv",
    }
    rows = read(tables["pnl.by_instrument.csv"])
    assert len(rows) == 140
    assert rows[9]["_row"] == "10"
    # The tenth instrument: 9 × 13 fills, 9 × 1234 − 40000 eighths of a dollar.
    assert rows[9]["fills"] == "117"
    assert rows[9]["net_amount"] == "-3611.75"
    assert rows[9]["net_currency"] == "USD"
    assert (rows[9]["share_numerator"], rows[9]["share_denominator"]) == ("117", "126490")
    assert rows[9]["last_at"] == "2025-11-28T18:09:05+00:00"
    assert rows[0]["last_at"] == ""
    assert rows[0]["last_missing"] == "no trades"
    assert rows[3]["instrument"] == "'=HYPERLINK(A1)"
    assert rows[4]["instrument"] == sample.HOSTILE[4]


def read(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


def test_totals_bands_and_empty_tables(monthly: Document) -> None:
    tables = render.render_tables(monthly)
    total = read(tables["pnl.by_strategy.csv"])[-1]
    assert total["_row"] == "total"
    assert total["realised_amount"] == "314185.25"
    assert total["net_amount"] == ""
    assert total["net_missing"] == "no mark: 1 of 5"
    band = read(tables["uptime.targets.csv"])[0]
    assert (band["availability_low_numerator"], band["availability_high_numerator"]) == (
        "83800",
        "83921",
    )
    assert tables["fill_rate.reject_reasons.csv"] == b"_row,reason,orders\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_becomes_a_formula(start: str) -> None:
    assert render._inert(f"{start}1+1") == f"'{start}1+1"
    assert render._inert("a=1") == "a=1"


def test_a_missing_library_breaks_rendering_only_and_says_how_to_mend(tmp_path: Path) -> None:
    # A stand-in package that fails as WeasyPrint does where Pango is missing.
    (tmp_path / "weasyprint.py").write_text(
        "print('advice')\nraise OSError('cannot load library libpango-1.0.so.0')\n"
    )
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from reporting import render\n"
        "from reporting.errors import ValidationFailed\n"
        "assert [c.ok for c in render.check() if c.name == 'WeasyPrint'] == [False]\n"
        "try:\n    render.render_pdf(b'', None)\n"
        "except ValidationFailed as e:\n    print(e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(HERE.parents[1])],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert "apt-get install libpango-1.0-0" in done.stdout
    assert "advice" not in done.stdout


def test_everything_that_doctor_asks_for_is_here() -> None:
    assert [c for c in render.check() if not c.ok] == []
    versions = render.native_versions()
    assert versions["weasyprint"] == "70.0"
    assert re.fullmatch(r"\d+\.\d+\.\d+", versions["pango"])


def test_every_section_of_the_templates_is_drawable() -> None:
    """Templates use only signs that our fonts have, or the page would spell them out."""
    for path in sorted(render.templates_folder().rglob("*")):
        if path.suffix in (".html", ".css"):
            text = path.read_text("utf-8")
            assert render.drawable(text) == text, path.name


def test_two_columns_of_figures_are_cut_where_they_come_out_alike() -> None:
    def figure(note: str) -> Figure:
        return Figure(id="a.b", label="x", value=Count(value=1), note=note)

    plain, long = (
        figure(""),
        figure("a note of two lines, which is more than the column has room for"),
    )
    assert [len(half) for half in render._halves([plain] * 6)] == [3, 3]
    # Three notes of two lines weigh as much as the five figures without.
    assert [len(half) for half in render._halves([*[plain] * 6, *[long] * 3])] == [6, 3]
    assert [len(half) for half in render._halves([plain])] == [1]
