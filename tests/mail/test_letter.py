"""What a recipient reads: the document's numbers in both texts, in a page that clients show."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from fractions import Fraction
from functools import cache
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.deliver import (
    Attachment,
    Content,
    Letter,
    Relay,
    attachable,
    checked_address,
    compose,
    encoded_size,
    message_id,
)
from reporting.errors import UsageError
from reporting.model import Band, Bps, Missing, Money, Ratio, Text, Why
from reporting.page import Attention, Difference, Document, Gap, SignOff, Status, Verdict
from reporting.render.mail import MailBody, render_mail, subject
from reporting.seal import canonical

from .conftest import document_of

DATE = datetime(2025, 12, 8, 11, 30, tzinfo=UTC)
RELAY = Relay("localhost", 25, "none", "Sample Trading, operations <reports@firm.example>")
KINDS = ("daily", "weekly", "monthly")
PLACE = "reports/daily/2025-12-05/r1"


@cache
def mail_of(kind: str) -> MailBody:
    return render_mail(document_of(kind), ["report.pdf"], PLACE)


def changed(document: Document, **fields: object) -> Document:
    return document.model_copy(update=fields)


def letter(body: MailBody, **fields: object) -> Letter:
    attached = Attachment("report.pdf", "application/pdf", b"%PDF-1.7 \x00\xff" * 40)
    attachments = fields.pop("attachments", (attached,))
    given: dict[str, object] = {
        "report_id": "daily/2025-12-05/r1",
        "content": Content(body.subject, body.text, body.html, body.pictures, attachments),
        "to_name": "Ann Lee",
        "to_address": "ann@there.example",
        "message_id": message_id("daily/2025-12-05/r1", "ann@there.example", "firm.example"),
    }
    return Letter(**{**given, **fields})  # type: ignore[arg-type]


def parsed(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    assert not [d for part in message.walk() for d in part.defects]
    return message


def plain(raw: bytes) -> str:
    part = parsed(raw).get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def visible(html: str) -> str:
    """The words of a page in order."""
    body = re.sub(r"<style.*?</style>|<!--.*?-->", "", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


# --- the numbers ---------------------------------------------------------------------------


def exact(value: object) -> list[Fraction]:
    """What has to be printed, straight from the facts."""
    match value:
        case Money():
            return [Fraction(value.amount)]
        case Bps():
            return [Fraction(value.cost) / Fraction(value.notional) * 10_000]
        case Ratio():
            return [Fraction(value.numerator) / Fraction(value.denominator) * 100]
        case Band():
            return exact(value.low) + exact(value.high)
    raise AssertionError(value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_plain_text_carries_the_numbers(kind: str) -> None:
    document = document_of(kind)
    raw = compose(letter(mail_of(kind)), RELAY, DATE)
    lines = plain(raw).splitlines()
    page = visible(mail_of(kind).html).replace("−", "-").replace("–", "-")
    assert len(document.headline) == 6
    for figure in document.headline:
        (line,) = [line for line in lines if line.startswith(f"  {figure.label}  ")]
        shown = line.removeprefix(f"  {figure.label}").strip()
        numbers = re.findall(r"-?[\d,]+\.\d+", shown)
        for number, value in zip(numbers, exact(figure.value), strict=True):
            half = Fraction(1, 2 * 10 ** len(number.partition(".")[2]))
            assert abs(Fraction(Decimal(number.replace(",", ""))) - value) <= half, line
        unit = figure.value.currency if isinstance(figure.value, Money) else "%"
        assert shown.endswith("bps" if isinstance(figure.value, Bps) else unit)
        # And the page says the same.
        assert shown in page
    text = " ".join(plain(raw).split())
    for words in (document.answer, *(item.text for item in document.attention[:12])):
        assert words.replace("–", "-").replace("−", "-") in text
    assert hashlib.sha256(canonical(document)).hexdigest() in text
    for said in (document.id, PLACE, "Attached report.pdf", "reporting verify", "UNSIGNED"):
        assert said in text and said.replace("Attached report", "report") in page
    assert max(map(len, lines)) <= 78


def test_the_digest_is_the_one_of_the_issued_file() -> None:
    (facts,) = Path("reports/sample/daily").resolve().glob("*/r1/facts.json")
    assert hashlib.sha256(facts.read_bytes()).hexdigest() in mail_of("daily").text


# --- the page ------------------------------------------------------------------------------

TAGS = set(
    "html head meta title style body div table tbody tr td h1 h2 p span br strong img".split()
)


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_what_mail_clients_show(kind: str) -> None:
    body = mail_of(kind)
    assert len(body.html.encode()) < 100_000
    found = Tags(body.html).found
    assert {tag for tag, _ in found} <= TAGS
    # Nothing comes from outside, and every picture is inside and says what it shows.
    assert not re.search(r"https?:|url\(|@import|<link|<script", body.html)
    images = [attributes for tag, attributes in found if tag == "img"]
    assert [i["src"] for i in images] == [f"cid:{p.cid}" for p in body.pictures]
    assert len(images) == 2 and all(len(i["alt"] or "") > 30 for i in images)
    # The style is on the tags; the sheet that is left is for the screen's kind alone.
    cells = [attributes for tag, attributes in found if tag == "td"]
    assert all("font-family" in (cell.get("style") or "") for cell in cells)
    (sheet,) = re.findall(r"<style>(.*?)</style>", body.html, flags=re.S)
    assert re.fullmatch(r"(\s*@media [^{]+\{(\s*[^{}]+\{[^}]*\})+\s*\})+\s*", sheet)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_small_and_sharp(kind: str) -> None:
    for picture in mail_of(kind).pictures:
        width, height = struct.unpack(">II", picture.body[16:24])
        assert (width, height > 300) == (1040, True)
        assert len(picture.body) < 40_000


def hostile(document: Document) -> Document:
    """Far too much of everything, and all of it means harm."""
    words = '<b onload="x">&\'"{{ 7 * 7 }}\r\nBcc: evil@x.example\r\n\r\n\u202e' * 60
    figure = changed(document.headline[0], label=words, note=words, change_label=words)
    return changed(
        document,
        issuer=words,
        answer=words,
        reason=words,
        supersedes="daily/2025-12-05/r1",
        revision=2,
        status=Status.INCOMPLETE,
        unsigned_because=words,
        headline=(figure,) * 40,
        attention=(Attention(severity="alarm", text=words),) * 300,
        gaps=(Gap(what=words, when=words, reason=Missing(why=Why.NO_DATA, detail=words)),) * 300,
        differences=(
            Difference(
                figure="x",
                label=words,
                before=Text(text=words),
                after=Text(text=words),
                reason=words,
            ),
        )
        * 300,
        sections=tuple(changed(s, title=words, summary=words) for s in document.sections) * 3,
        signoffs=(
            SignOff(report="r", role="preparer", person=words, name=words, note=words, at=DATE),
        )
        * 300,
    )


def test_hostile_words_do_nothing_but_stand_there(daily: Document) -> None:
    body = render_mail(hostile(daily), ["x\r\ny.pdf"], "p\r\nBcc: evil@x.example", ["m\r\nn<b>"])
    assert len(body.html.encode()) < 100_000
    assert {tag for tag, _ in Tags(body.html).found} <= TAGS
    assert "onload" not in {name for _, attributes in Tags(body.html).found for name in attributes}
    assert "{{ 7 * 7 }}" in unescape(body.html)
    assert "\u202e" not in body.html + body.text + body.subject
    assert body.subject.isprintable()
    message = parsed(
        compose(
            letter(
                replace(body, subject="s\r\nBcc: evil@x.example"),
                to_name='Ann"\r\nBcc: evil@x.example',
                report_id="x\r\nBcc: evil@x.example",
                message_id="<a@b>\r\nBcc: evil@x.example",
                thread=("<c@d>\r\nBcc: evil@x.example",),
                attachments=(Attachment('a"\r\nBcc: evil@x.example.pdf', "application/pdf", b"x"),),
            ),
            RELAY,
            DATE,
        )
    )
    assert {name for part in message.walk() for name in part} == {
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "In-Reply-To",
        "References",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "X-Report",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
        "Content-Disposition",
        "Content-ID",
    }
    assert [a.addr_spec for a in message["To"].addresses] == ["ann@there.example"]


@settings(max_examples=60, deadline=None)
@given(st.text(), st.text(), st.text(), st.text(), st.text())
def test_no_words_begin_a_header_or_a_part(a: str, b: str, c: str, d: str, words: str) -> None:
    file = Attachment(d, "application/pdf", b"x")
    small = MailBody(a, words, words, ())
    raw = compose(letter(small, to_name=b, report_id=c, attachments=(file,)), RELAY, DATE)
    message = parsed(raw)
    kinds = [part.get_content_type() for part in message.walk() if not part.is_multipart()]
    assert kinds == ["text/plain", "text/html", "application/pdf"]
    assert len(message.keys()) == 10 == len(set(message.keys()))
    assert [to.addr_spec for to in message["To"].addresses] == ["ann@there.example"]
    assert plain(raw).split() == words.split()


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_nothing_scrolls_sideways_at_any_width(tmp_path: Path) -> None:
    frames = [(kind, width) for kind in KINDS for width in (360, 640, 1200)]
    page = '<!doctype html><meta charset="utf-8"><pre id="found"></pre>'
    for kind, width in frames:
        html = mail_of(kind).html
        for picture in mail_of(kind).pictures:
            data = base64.b64encode(picture.body).decode()
            html = html.replace(f"cid:{picture.cid}", f"data:image/png;base64,{data}")
        source = html.replace("&", "&amp;").replace('"', "&quot;")
        page += (
            f'<iframe style="border:0;height:5000px;width:{width}px" srcdoc="{source}"></iframe>'
        )
    page += """<script>addEventListener("load", () => {
      const wide = [...document.querySelectorAll("iframe")].map((f) => {
        const d = f.contentDocument;
        const out = [...d.body.querySelectorAll("*")].filter(
          (e) => e.getBoundingClientRect().right > f.clientWidth + 0.5).map((e) => e.className);
        return [d.documentElement.scrollWidth - f.clientWidth, out.length,
          [...d.images].every((i) => i.naturalWidth > 0)];
      });
      document.getElementById("found").textContent = JSON.stringify(wide);
    })</script>"""
    file = tmp_path / "mails.html"
    file.write_text(page)
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1300,900"]
    done = subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout)
    assert json.loads(unescape(found)) == [[0, 0, True]] * len(frames)


# --- the subject ---------------------------------------------------------------------------


def test_the_subject_leads_with_how_it_went(daily: Document) -> None:
    met = changed(daily, verdict=Verdict.MET)
    assert subject(daily) == (
        "[MISSED] Daily 2025-12-05: Net P&L -52,792 USD, Elasticsearch 98.507-98.542 %"
    )
    assert subject(met).startswith("[OK] Daily 2025-12-05: Net P&L")
    assert subject(changed(daily, verdict=Verdict.UNKNOWN)).startswith("[UNKNOWN] Daily")
    # What is not whole is never OK, and a miss is said all the same.
    assert subject(changed(met, status=Status.INCOMPLETE)).startswith("[INCOMPLETE] Daily")
    assert subject(changed(daily, status=Status.INCOMPLETE)).startswith(
        "[INCOMPLETE, MISSED] Daily"
    )
    assert subject(changed(daily, status=Status.FLASH)).startswith("[FLASH, MISSED] Daily")
    again = {"revision": 3, "supersedes": "daily/2025-12-05/r2"}
    restated = changed(met, status=Status.RESTATED, **again)
    assert subject(restated).startswith("[OK] Daily 2025-12-05 r3 restated: Net P&L")
    assert subject(changed(met, **again)).startswith("[OK] Daily 2025-12-05 r3 final: ")


def test_a_subject_holds_what_fits_and_no_more(daily: Document) -> None:
    long = changed(daily.headline[0], label="L" * 70)
    assert subject(changed(daily, headline=(long,))) == "[MISSED] Daily 2025-12-05"
    assert subject(changed(daily, headline=())) == "[MISSED] Daily 2025-12-05"
    gone = changed(daily.headline[0], value=Missing(why=Why.NO_DATA))
    assert subject(changed(daily, headline=(gone,))).endswith("Net P&L not known")
    small = changed(daily.headline[0], value=Money(amount=Decimal("-0.004"), currency="USD"))
    assert subject(changed(daily, headline=(small,))).endswith("Net P&L 0.00 USD")


# --- what is said of a revision, a flash, a gap, a duplicate -------------------------------


def test_what_is_out_of_the_ordinary_comes_first(daily: Document) -> None:
    late = changed(
        daily,
        revision=2,
        status=Status.RESTATED,
        supersedes="daily/2025-12-05/r1",
        reason="late fill",
        differences=(
            Difference(
                figure="pnl.net",
                label="Net P&L",
                before=Money(amount=Decimal(1), currency="USD"),
                after=Money(amount=Decimal(2), currency="USD"),
                reason="late fill",
            ),
        ),
        gaps=(Gap(what="Uptime", when="2025-12-05", reason=Missing(why=Why.UNREACHABLE)),),
        signoffs=(
            SignOff(report="daily/2025-12-05/r1", role="reviewer", person="ann", name="", at=DATE),
        ),
    )
    body = render_mail(late, [], "https://reports.example/x", ["possible duplicate of a mail"])
    page = visible(re.sub(r'<div class="preview".*?</div>', "", body.html, flags=re.S))
    for words in (" ".join(body.text.split()), page):
        first = words.index("No: position and cash")
        for mark in ("possible duplicate of a mail", "INCOMPLETE", "Replaces daily/2025-12-05/r1"):
            assert words.index(mark) < first
        assert "late fill" in words
        assert "Uptime, 2025-12-05" in words and "source unreachable" in words
        assert "1.00 USD" in words.replace("\xa0", " ") and "2.00 USD" in words
        assert "the PDF is not attached, it lies with the report" in words
        assert "daily/2025-12-05/r1 by ann as reviewer" in words
    assert '<a href="https://reports.example/x"' in body.html
    flash = render_mail(changed(daily, status=Status.FLASH), [], PLACE)
    assert "preliminary" in flash.text and "preliminary" in visible(flash.html)


def test_nothing_to_attend_to_is_said(daily: Document) -> None:
    body = render_mail(changed(daily, attention=()), [], PLACE)
    assert "Nothing needs a person." in body.text and "Nothing needs a person." in body.html


# --- the message ---------------------------------------------------------------------------


def test_the_parts_are_nested_as_clients_expect() -> None:
    raw = compose(letter(mail_of("daily")), RELAY, DATE)
    raw.decode("ascii")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", raw) and max(map(len, raw.split(b"\r\n"))) <= 998
    message = parsed(raw)

    def shape(part: EmailMessage) -> object:
        kind = part.get_content_type()
        if not part.is_multipart():
            return kind
        return {kind: [shape(p) for p in part.iter_parts()]}  # type: ignore[arg-type]

    assert shape(message) == {
        "multipart/mixed": [
            {
                "multipart/alternative": [
                    "text/plain",
                    {"multipart/related": ["text/html", "image/png", "image/png"]},
                ]
            },
            "application/pdf",
        ]
    }
    page = message.get_body(("related", "html"))
    assert page is not None
    pictures = [p for p in message.walk() if p.get_content_type() == "image/png"]
    assert [p["Content-ID"] for p in pictures] == [f"<{p.cid}>" for p in mail_of("daily").pictures]
    assert [p.get_content() for p in pictures] == [p.body for p in mail_of("daily").pictures]
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == "report.pdf"
    assert attached.get_content() == b"%PDF-1.7 \x00\xff" * 40
    assert message["Date"].datetime == DATE
    assert message["Auto-Submitted"] == "auto-generated"
    assert str(message["From"]) == '"Sample Trading, operations" <reports@firm.example>'


def test_revisions_are_one_thread_even_under_a_long_domain() -> None:
    domain = "reports.mail.a-company-with-a-very-long-name-indeed.and-a-department.example.com"
    ids = [message_id(f"daily/2025-12-05/r{n}", "Ann@There.example", domain) for n in (1, 2, 3)]
    assert len(set(ids)) == 3
    assert ids[0] == message_id("daily/2025-12-05/r1", "ann@there.example", domain)
    assert ids[0] != message_id("daily/2025-12-05/r1", "bob@there.example", domain)
    assert all(re.fullmatch(r"<[\w.-]+@[\w.-]+>", each) for each in ids)
    raw = compose(letter(mail_of("daily"), message_id=ids[2], thread=ids[:2]), RELAY, DATE)
    head = raw.partition(b"\r\n\r\n")[0].decode().replace("\r\n ", " ")
    assert f"\nMessage-ID: {ids[2]}\r" in head
    assert f"\nIn-Reply-To: {ids[1]}\r" in head
    assert f"\nReferences: {ids[0]} {ids[1]}\r" in head
    alone = compose(letter(mail_of("daily")), RELAY, DATE)
    assert b"References" not in alone and b"In-Reply-To" not in alone


def test_what_all_are_sent_is_encoded_once_and_nobodys_name_is_in_it() -> None:
    first = letter(mail_of("daily"))
    name, address, mine = "Bob Ray", "bob@there.example", "<mine@firm.example>"
    other = replace(first, to_name=name, to_address=address, message_id=mine)
    assert first.content.encoded is other.content.encoded
    raws = [compose(each, RELAY, DATE) for each in (first, other)]
    assert all(raw.endswith(first.content.encoded) for raw in raws)
    heads = [raw.removesuffix(first.content.encoded).decode().split("\r\n") for raw in raws]
    changed = [b for a, b in zip(*heads, strict=True) if a != b]
    assert changed == [f"To: {name} <{address}>", f"Message-ID: {mine}"]


def test_a_pdf_is_attached_where_its_encoded_size_allows() -> None:
    for length in (0, 1, 2, 3, 56, 57, 58, 1_000, 123_457):
        attached = Attachment("r.pdf", "application/pdf", b"\xff" * length)
        with_it, without = (
            compose(letter(mail_of("daily"), attachments=some), RELAY, DATE)
            for some in ((attached,), ())
        )
        assert encoded_size(attached.body) == encoded_size(length)
        # Its headers and the outer boundary come on top.
        assert 0 < len(with_it) - len(without) - encoded_size(length) < 600
    small, large = (Attachment("r.pdf", "application/pdf", b"x" * n) for n in (10_000, 3_000_000))
    # 3 MB are 4 MB in a mail.
    assert attachable([large], 4_500_000) == ()
    assert attachable([large], 5_000_000) == (large,)
    assert attachable([large, small], 4_500_000) == (small,)
    whole = compose(letter(mail_of("monthly"), attachments=(large,)), RELAY, DATE)
    assert len(whole) <= 5_000_000


@pytest.mark.parametrize("good", ["ann@example.com", "a.b+c@x-y.example", "root@localhost"])
def test_an_address_that_every_relay_takes(good: str) -> None:
    assert checked_address(good) == good


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("", "no mail address"),
        ("ann", "no mail address"),
        ("ann@", "no mail address"),
        ("a@b@c", "no mail address"),
        ("a b@c.example", "no mail address"),
        ("a@b.example\r\nBcc: x@y.example", "no mail address"),
        ("a@b.example, c@d.example", "no mail address"),
        ("a..b@c.example", "no mail address"),
        ("<a@b.example>", "no mail address"),
        (f"{'a' * 65}@b.example", "no mail address"),
        ("jörg@example.com", "xn--"),
        ("ann@straße.example", "xn--"),
    ],
)
def test_an_address_that_is_none(wrong: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        checked_address(wrong)
    with pytest.raises(UsageError, match=words):
        compose(letter(mail_of("daily"), to_address=wrong), RELAY, DATE)


# --- the same bytes ------------------------------------------------------------------------

AGAIN = """
import hashlib, sys
from tests.mail.test_letter import DATE, RELAY, compose, letter, mail_of
print(hashlib.sha256(compose(letter(mail_of("daily")), RELAY, DATE)).hexdigest())
"""


def test_the_same_document_gives_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    here = hashlib.sha256(compose(letter(mail_of("daily")), RELAY, DATE)).hexdigest()
    root = Path(__file__).parents[2]
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 40\n")
    there = subprocess.run(
        [sys.executable, "-c", AGAIN],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(root),
            "PYTHONHASHSEED": "7",
            "TZ": "Asia/Tokyo",
            "LC_ALL": "C",
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert there == here
