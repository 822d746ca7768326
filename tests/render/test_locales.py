"""A report in another locale: every number on its pages follows, and nothing else changes.

What is no number of ours stays as it was written: ids, moments, digests, versions and queries (set
in the mono face), clauses of standards, and what people called something or said of it.
"""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import ValidationError

from reporting import pipeline
from reporting.document import content
from reporting.document.compliance import masked
from reporting.document.numbers import numbers
from reporting.model import Missing, Text
from reporting.numerals import MARK
from reporting.page import Attention, Difference, Document, as_printed, with_marks_apart
from reporting.pipeline.issuing import draft, files_of
from reporting.render import render_differences, render_html, render_pdf, render_tables
from reporting.render.mail import render_mail
from reporting.seal import canonical

from ..line.site import ROOT, Demo, Site

DAY, MONTH = date(2025, 12, 5), date(2025, 11, 30)
NOW = datetime(2025, 12, 9, 12, tzinfo=UTC)
#: A number in the English way, where a locale's own numbers never look like one.
ENGLISH = {
    "de-DE": r"\d\.(?!\d{3}(?!\d))\d|\d,\d{3}[.,]\d",
    "sv-SE": r"\d\.\d|\d,\d{3}[.,]\d",
    "fr-FR": r"\d\.\d|\d,\d{3}[.,]\d",
    "en-CH": r"\d,\d",
    "en-IN": r"(?<![\d,])\d{3},\d{3}(?!\d)(?!,)",
}
#: What of a page is no number of ours, beside what stands in the mono face.
OTHERS = (
    r"\b[A-Z]\.\d+\.\d+\b",  # ISO 27001
    r"\bv?\d+\.\d+\.\d+\b",  # PCI DSS, versions
    r"\bGilbert 1987, 16\.5\b",
    r"\bAS 1105\.10\b",
    r"\b240\.15c3-5\b",
    r"\bRelease 4\.12\b",  # an incident's cause, as somebody told it
    r"\bAll prices fall by 20\.5 %",  # a scenario, as the firm's policy calls it
)


def site_of(demo: Demo) -> Site:
    """The demo itself, for reading."""
    return Site(demo.server, "ledger", "reporting", demo.reports, demo.var)


def drafted(demo: Demo, locale: str, kind: str = "daily", day: date = DAY) -> Document:
    return draft(site_of(demo).service(locale=locale), kind, day, NOW, reason="another look")


@pytest.fixture(scope="module")
def german(demo: Demo) -> Document:
    return drafted(demo, "de-DE")


def written_in(document: Document, locale: str) -> Document:
    return document.model_copy(update={"locale": locale})


class _Words(HTMLParser):
    """The words of a page that are not in the mono face, and what is read out of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.found += [given[name] for name in ("aria-label", "alt") if name in given]
        quiet = tag == "style" or "mono" in given.get("class", "").split()
        if tag not in ("meta", "link", "br", "wbr", "img", "hr", "col"):
            self.open.append((tag, quiet))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not any(quiet for _, quiet in self.open):
            self.found.append(data)


def words_of(html: bytes) -> str:
    page = _Words()
    page.feed(html.decode())
    return "\n".join(filter(str.strip, page.found))


def english(text: str, locale: str) -> list[str]:
    """Every English number in ``text``, with what stands around it."""
    for other in OTHERS:
        text = re.sub(other, "", text)
    pattern = rf".{{0,30}}(?:{ENGLISH[locale]}).{{0,20}}"
    return re.findall(pattern, text)


# --- nothing English is left ----------------------------------------------------------------


def test_the_search_finds_numbers_where_there_are_some(demo: Demo, german: Document) -> None:
    page = words_of((demo.reports / "daily/2025-12-05/r1/report.html").read_bytes())
    for locale in ENGLISH:
        assert len(english(page, locale)) > 50, locale
    for locale in ("de-DE", "sv-SE", "fr-FR"):  # a comma would be their own
        assert english("VaR 97.5 %", locale) and english("1,234,567 USD", locale)
    assert len(german.said) > 100


@pytest.mark.parametrize(
    "locale",
    [x if x in ("de-DE", "en-CH") else pytest.param(x, marks=pytest.mark.slow) for x in ENGLISH],
)
def test_no_number_of_a_page_is_english(german: Document, locale: str) -> None:
    html = render_html(written_in(german, locale))
    assert english(words_of(html), locale) == []
    assert MARK not in html.decode() and "U+2063" not in html.decode()
    assert b'<html lang="en"' in html, "the texts stay English"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "day"), [("weekly", date(2025, 12, 7)), ("monthly", MONTH)])
def test_no_number_of_a_longer_report_is_english(demo: Demo, kind: str, day: date) -> None:
    document = drafted(demo, "de-DE", kind, day)
    for locale in ENGLISH:
        assert english(words_of(render_html(written_in(document, locale))), locale) == []


def test_the_pdf_has_the_same_numbers_in_our_fonts(german: Document, tmp_path: Path) -> None:
    french = few_tables(written_in(german, "fr-FR"))
    path = tmp_path / "report.pdf"
    path.write_bytes(render_pdf(render_html(french), french))
    text = run("pdftotext", "-layout", str(path), "-")
    mono = r"UTC[+−]\d\d:\d\d|\S+\.csv|\w+/\d{4}-\S+|sha256 \S+|\b0\.1\.0\b|[0-9a-f]{16,}"
    assert english(re.sub(mono, "", text.partition("EVIDENCE")[0]), "fr-FR") == []
    assert re.search(r"−52.791,65.USD", text), "net P&L"
    fonts = run("pdffonts", str(path)).splitlines()[2:]
    assert fonts and all("+Reporting-" in line for line in fonts), fonts
    # A group's space is one that the face has: none was taken from another one.
    assert "[U+" not in text and "\ufffd" not in text


def few_tables(document: Document) -> Document:
    """Of a whole day a few pages: layout takes long."""
    kept = tuple(
        s.model_copy(
            update={
                "tables": tuple(
                    t.model_copy(update={"rows": t.rows[:4], "total": None}) for t in s.tables[:2]
                )
            }
        )
        for s in document.sections
        if s.id in ("pnl", "var", "service_levels", "slippage")
    )
    return document.model_copy(update={"sections": kept, "citations": (), "sources": ()})


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("locale", ["de-DE", "en-CH"])
def test_no_number_of_a_mail_is_english(german: Document, locale: str) -> None:
    mail = render_mail(written_in(german, locale), ["report.pdf"], "the folder")
    group = {"de-DE": ".", "en-CH": "’"}[locale]
    assert mail.subject.endswith(f"Net P&L -52{group}792 USD"), mail.subject
    plain_part = re.sub(r"\d+\.\d+\.\d+|[0-9a-f]{16,}", "", mail.text)
    assert english(plain_part, locale) == []
    assert english(words_of(mail.html.encode()), locale) == []
    assert [english(picture.alt, locale) for picture in mail.pictures] == [[]] * len(mail.pictures)
    assert f"707{group}367" in mail.text and MARK not in mail.text


# --- and nothing else changes ---------------------------------------------------------------


def test_the_content_is_that_of_the_english_report(demo: Demo, german: Document) -> None:
    """So a changed locale alone never makes a revision."""
    issued = Document.model_validate_json(
        (demo.reports / "daily/2025-12-05/r1/facts.json").read_bytes()
    )
    assert (issued.locale, issued.said) == ("en", ())
    assert content(german) == content(issued)
    assert german.differences == ()
    assert list(numbers(german)) == list(numbers(issued)), "ids are the same in any locale"
    tables = render_tables(german)
    assert tables.pop("differences.csv").count(b"\n") == 1, "its heads alone"
    assert tables == render_tables(issued), "machines read the tables"


def test_english_facts_do_not_tell_of_a_locale(demo: Demo, german: Document) -> None:
    facts = (demo.reports / "daily/2025-12-05/r1/facts.json").read_bytes()
    assert b'"locale"' not in facts and b'"said"' not in facts
    assert canonical(Document.model_validate_json(facts)) == facts
    told = german.model_dump(mode="json")
    assert told["locale"] == "de-DE"
    told.pop("said")
    assert MARK not in repr(told), "marks stand apart"


def test_a_report_keeps_the_locale_that_it_was_issued_in(demo: Demo, german: Document) -> None:
    stored = Document.model_validate_json(canonical(german))
    assert stored == german
    few = few_tables(german)
    page = render_html(few)
    assert render_html(few_tables(stored)) == page
    assert render_html(written_in(few, "sv-SE")) != page


@pytest.mark.slow
def test_a_regeneration_takes_no_notice_of_the_setting(closed_site: Site) -> None:
    day = date(2025, 12, 4)
    first = pipeline.issue(closed_site.service(locale="de-DE"), "daily", day, NOW)
    files = {p.name: p.read_bytes() for p in first.folder.rglob("*") if p.is_file()}
    assert first.document.locale == "de-DE"
    again = pipeline.issue(closed_site.service(locale="sv-SE"), "daily", day, NOW)
    assert (again.outcome, again.document) == ("regenerated", first.document)
    assert {p.name: p.read_bytes() for p in again.folder.rglob("*") if p.is_file()} == files
    assert files["report.html"] == files_of(first.document)["report.html"]
    opened = pipeline.open_report(str(first.folder), closed_site.service)
    assert re.fullmatch(r"−?[\d.]+,\d\d\u00a0USD", pipeline.explain(opened, "pnl.net").printed)
    found = pipeline.verify_folder(first.folder)
    assert [v.problem for v in found if not v.ok] == []


def test_a_masked_copy_says_its_numbers_in_the_same_locale(demo: Demo, german: Document) -> None:
    register = site_of(demo).service().policy.compliance.personal
    agents = {entry.id: ["de"] for entry in register}
    copy = masked(german, "external", register, b"a key of the tests", agents)
    assert copy.locale == "de-DE" and copy.said != german.said
    assert english(words_of(render_html(copy)), "de-DE") == []


# --- the texts and their marks --------------------------------------------------------------


def document(**changed: object) -> Document:
    path = ROOT / "reports" / "sample" / "daily" / "2025-12-05" / "r1" / "facts.json"
    whole = Document.model_validate_json(path.read_bytes())
    return whole.model_copy(update={"sections": whole.sections[:1], **changed})


def test_a_difference_is_called_as_its_table_is() -> None:
    marked = document(
        attention=(Attention(severity="note", text=f"{MARK}1,000 to {MARK}10,000"),),
        answer=f"VaR {MARK}97.5 %",
    )
    apart = with_marks_apart(marked, "de-DE")
    assert (apart.answer, apart.attention[0].text) == ("VaR 97.5 %", "1,000 to 10,000")
    gone = Missing(why="no data", detail="VaR 97.5 %")
    changed = Difference(
        figure='cuts/"1,000 to 10,000"/cost',
        label="Cuts: Size, 1,000 to 10,000, VaR 97.5 %, not 197.5 %",
        before=gone,
        after=Text(text="1,000 to 10,000"),
        reason="release 97.5",
    )
    shown = as_printed(apart.model_copy(update={"differences": (changed,), "supersedes": "r1"}))
    (told,) = shown.differences
    assert told.label == "Cuts: Size, 1.000 to 10.000, VaR 97,5 %, not 197.5 %"
    assert (told.figure, told.reason) == (changed.figure, changed.reason)
    assert told.after == Text(text="1.000 to 10.000")
    assert (
        "VaR 97,5 %"
        in render_differences(
            apart.model_copy(update={"differences": (changed,), "supersedes": "r1"})
        ).decode()
    )


def test_an_english_document_is_printed_as_it_is() -> None:
    plain = document()
    assert as_printed(plain) is plain


def test_facts_in_an_unknown_locale_are_refused() -> None:
    told = document().model_dump(mode="json") | {"locale": "xx"}
    with pytest.raises(ValidationError, match="'xx' is no locale"):
        Document.model_validate_json(canonical(told))


def test_a_name_that_looks_like_a_number_is_left_alone() -> None:
    named = document(answer="Release 4.12 cost 1,000 USD").model_copy(
        update={"locale": "de-DE", "said": (f"cost {MARK}1,000 USD",)}
    )
    assert as_printed(named).answer == "Release 4.12 cost 1,000 USD"
