"""A mail to who must not read names holds none: in no part, no picture's words, no attachment."""

from __future__ import annotations

import io
import re
import subprocess
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pypdf
import pytest

from reporting.deliver import Attachment, Content, Letter, Relay, compose, message_id
from reporting.document.compliance import is_masked, masked
from reporting.model import Text
from reporting.page import Document
from reporting.policy.compliance import Compliance, parse_compliance
from reporting.render import render_html, render_pdf
from reporting.render.mail import render_mail

from .conftest import SAMPLE

KEY = b"a key of the tests"
#: The sample's own names are ordinary words, which would be found in any sentence.
NAMES = {
    "MAIN-1": "KONTO-ZED",
    "FAST-2": "KONTO-YPS",
    "tactical": "quexley",
    "strategic": "brindlow",
}


@pytest.fixture(scope="module")
def named() -> Document:
    """The sample's day under names that stand nowhere else, as a report that was signed."""
    (facts,) = SAMPLE.glob("daily/*/r1/facts.json")
    text = facts.read_text()
    for name, other in NAMES.items():
        assert name in text
        text = text.replace(name, other)
    document = Document.model_validate_json(text)
    few = ("pnl_by_account", "pnl_by_agent", "pnl_cells", "agents_compared")
    kept = tuple(  # of a whole day two pages: layout takes long
        s.model_copy(
            update={
                "charts": s.charts[:1],
                "tables": tuple(
                    t.model_copy(update={"rows": t.rows[:8]}) for t in s.tables if t.id in few
                ),
            }
        )
        for s in document.sections
        if s.id in ("pnl", "strategies")
    )
    return document.model_copy(
        update={
            "sections": kept,
            "attention": document.attention[5:6],
            "citations": (),
            "sources": (),
            "signed": True,
            "answer": "No: KONTO-ZED of quexley lost.",
            "headline": (
                document.headline[0].model_copy(update={"label": "Net P&L: quexley"}),
                *document.headline[1:],
            ),
        }
    )


@pytest.fixture(scope="module")
def copy(named: Document, register: Compliance) -> Document:
    return masked(named, "external", register.personal, KEY)


@pytest.fixture(scope="module")
def register() -> Compliance:
    """What config/compliance.toml lists."""
    path = Path(__file__).parents[2] / "config" / "compliance.toml"
    return parse_compliance(path.read_text(), None, None)


def names(document: Document) -> set[str]:
    """Accounts and agents as the report's own tables have them."""
    return {
        cell.text
        for section in document.sections
        for table in section.tables
        for row in table.rows
        for column, cell in zip(table.columns, row, strict=True)
        if column.key in ("account", "agent") and isinstance(cell, Text) and len(cell.text) > 5
    } & set(NAMES.values())


def leaves(raw: bytes) -> list[str]:
    """Every part of a mail, decoded, with its headers; of a PDF its text, metadata and all that
    is packed in it."""
    message = message_from_bytes(raw, policy=default)
    found = [str(value) for part in message.walk() for value in part.values()]
    for part in message.walk():
        if part.is_multipart():
            continue
        body = part.get_payload(decode=True)
        assert isinstance(body, bytes)
        found.append(body.decode("utf-8", "replace"))
        if part.get_content_type() == "application/pdf":
            found += inside(body)
    return found


def inside(pdf: bytes) -> list[str]:
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    found = [str(reader.metadata), str(reader.outline)]
    attached = reader.attachments
    assert "facts.json" in attached
    found += [body.decode("utf-8", "replace") for many in attached.values() for body in many]
    found += list(attached)
    for number in range(1, int(reader.trailer["/Size"])):
        read = reader.get_object(number)
        found.append(repr(read))
        if isinstance(read, pypdf.generic.StreamObject):
            found.append(read.get_data().decode("utf-8", "replace"))
    shown = subprocess.run(["pdftotext", "-", "-"], input=pdf, capture_output=True, check=True)
    found.append(shown.stdout.decode())
    return found


def mail(document: Document, pdf: bytes) -> bytes:
    body = render_mail(document, ["report.pdf"], "ask the sender")
    relay = Relay("localhost", 25, "none", "reports@firm.example")
    return compose(
        Letter(
            report_id=document.id,
            content=Content(
                body.subject,
                body.text,
                body.html,
                body.pictures,
                (Attachment("report.pdf", "application/pdf", pdf),),
            ),
            to_name="",
            to_address="auditor@there.example",
            message_id=message_id(document.id, "auditor@there.example", "firm.example"),
        ),
        relay,
        datetime(2025, 12, 8, tzinfo=UTC),
    )


def hits(name: str, found: list[str]) -> list[str]:
    """Where a name stands, also broken over lines or with a soft break in it."""
    loose = re.compile(r"\s*".join(map(re.escape, name)))
    return [text[:60] for text in found if loose.search(text)]


def test_a_masked_mail_holds_no_name_at_all(named: Document, copy: Document) -> None:
    assert names(named) == set(NAMES.values())
    pdf = render_pdf(render_html(copy), copy)
    found = leaves(mail(copy, pdf))
    assert [hit for name in NAMES.values() for hit in hits(name, found)] == []
    # What looks for them does find them where they are.
    page = f'<html lang="en"><head><title>t</title></head><body><h1>{NAMES}</h1></body></html>'
    plain = leaves(mail(named, render_pdf(page.encode(), named)))
    assert all(len(hits(name, plain)) > 3 for name in NAMES.values())


def test_a_masked_copy_is_unsigned_and_says_so(named: Document, copy: Document) -> None:
    assert named.signed and not is_masked(named)
    assert is_masked(copy) and not copy.signed
    html = render_html(copy).decode()
    assert "UNSIGNED</strong>: names are masked, and only the report itself is signed" in html
    body = render_mail(copy, ["report.pdf"], "ask the sender")
    assert "names masked" in body.subject
    for words in (" ".join(body.text.split()), body.html):
        assert "UNSIGNED: names are masked" in words
        assert "Names are masked." in words
        # Its digest proves nothing, so it is not printed as if it did.
        assert "sha256" not in words and "reporting verify" not in words
    assert "the PDF is signed" in render_mail(named, [], "x").text


def test_who_may_read_names_gets_the_report_itself(named: Document, register: Compliance) -> None:
    assert masked(named, "internal", register.personal, KEY) is named
