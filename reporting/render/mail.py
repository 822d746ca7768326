"""Document to mail: subject, plain text with the numbers, HTML for mail clients, pictures.

A mail client is no browser: it drops style sheets, scripts and anything from outside, and cuts a
long page. So the layout is tables, the CSS is inlined, charts are attached pictures, and the page
is under 100 kB whatever the document holds. The same document gives the same bytes.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

import css_inline

from .. import charts
from ..document.compliance import is_masked
from ..model import Count, Missing, Money, Shown
from ..numerals import MINUS, numbers_in
from ..page import Chart, Document, Figure, Kind, Status, Verdict, as_printed
from ..seal import canonical
from . import GROUPED, NBSP, drawable, environment, gaps_in_spans, negative, words

#: Mail clients cut what is longer; Gmail does at 102 kB.
HTML_MAX_BYTES = 100_000
#: A subject that a list of mails shows whole, in signs.
SUBJECT_SIGNS = 78
#: The longest text of one line's item, in signs: a ledger may hold longer ones.
LINE_SIGNS = 400
#: Items of a list, fewer if the page would be too long.
LIST_ITEMS = (12, 6, 3, 1)

SIGN_OFF = "not signed off at issue; a sign-off is in the audit log and in the next revision"

#: The charts that answer first, by kind of report: of each row the first that the report has.
CHARTS: dict[Kind, tuple[tuple[str, ...], ...]] = {
    Kind.DAILY: (("pnl_course", "pnl_explain"), ("uptime_timeline",)),
    Kind.WEEKLY: (("pnl_daily", "pnl_course"), ("uptime_calendar",)),
    Kind.MONTHLY: (("pnl_daily", "pnl_course"), ("uptime_calendar",)),
    Kind.QUARTERLY: (("pnl_daily", "pnl_course"), ("uptime_calendar",)),
}
#: Narrower than on the page, so that its text is still read on a telephone; and sharp on both.
PICTURES = replace(charts.LIGHT, width=520)
SCALE = 2.0


@dataclass(frozen=True)
class Picture:
    """A PNG that the HTML shows as ``cid:<cid>``, ``alt`` in its place where it isn't shown."""

    cid: str
    name: str
    title: str
    alt: str
    body: bytes


@dataclass(frozen=True)
class MailBody:
    """What a recipient reads. ``subject`` is one line without control signs."""

    subject: str
    text: str
    html: str
    pictures: tuple[Picture, ...]


def render_mail(
    document: Document, attached: Sequence[str], place: str, marks: Sequence[str] = ()
) -> MailBody:
    """The mail about ``document``.

    ``attached`` are the names of the files that go with it, ``place`` says where the whole report
    lies (a folder or an address), ``marks`` are warnings that come first, such as "possible
    duplicate of a mail whose delivery is not known".
    """
    document = Document.model_validate_json(document.model_dump_json())
    digest = hashlib.sha256(canonical(document)).hexdigest()
    with numbers_in(document.locale):
        return _mail(as_printed(document), digest, attached, place, marks)


def _mail(
    document: Document, digest: str, attached: Sequence[str], place: str, marks: Sequence[str]
) -> MailBody:
    pictures = tuple(_picture(chart) for chart in _chosen(document))
    given = {
        "d": document,
        "zone": document.period.zone,
        "verdict": verdict_words(document),
        "masked": is_masked(document),
        "digest": digest,
        # A page of a part says nothing that its section doesn't.
        "split": {s.id for s in document.sections if "." in s.id},
        "sign_off": SIGN_OFF,
        "attached": [one_line(name) for name in attached],
        "has_pdf": any(name.lower().endswith(".pdf") for name in attached),
        "place": one_line(place),
        "link": re.fullmatch(r"https?://[^\s<>\"']+", place) is not None,
        "marks": [one_line(mark) for mark in marks],
        "pictures": pictures,
        "line": clipped,
        "words": words,
        "negative": negative,
        "pair": _pair,
        "said": said,
        "figure": said_figure,
        "wrap": wrapped,
        "gaps": gaps_in_spans(document.gaps),
    }
    for items in LIST_ITEMS:
        html = _html({**given, "items": items})
        if len(html.encode()) < HTML_MAX_BYTES:
            break
    text = environment().get_template("mail/mail.txt").render({**given, "items": LIST_ITEMS[0]})
    return MailBody(subject(document), _typed(drawable(text)), html, pictures)


def _html(given: dict[str, object]) -> str:
    page = drawable(environment().get_template("mail/mail.html").render(given))
    inliner = css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)
    return inliner.inline(page)


# --- subject -------------------------------------------------------------------------------


def subject(document: Document) -> str:
    """One line that begins with how it went: ``[MISSED] Daily 2025-12-05: Net P&L -52,792 USD``.

    As many of the figures that people look for first as fit: net P&L, then the first that missed
    its target, or else the first that has one.
    """
    about = f"[{verdict_words(document)}] {document.kind.value.capitalize()} "
    about += one_line(document.period.label)
    if document.revision > 1:
        about += f" r{document.revision}"
        about += {Status.RESTATED: " restated", Status.FINAL: " final"}.get(document.status, "")
    if is_masked(document):
        about += ", names masked"
    line = about
    for figure in _looked_for(document):
        label = one_line(figure.label.partition(": ")[2] or figure.label)
        longer = f"{line}{', ' if line != about else ': '}{label} {_brief(figure)}"
        if len(longer) <= SUBJECT_SIGNS:
            line = longer
    return line


def verdict_words(document: Document) -> str:
    """``OK``, ``MISSED``, ``UNKNOWN``; of a report that isn't final or whole that, and MISSED."""
    unsettled = document.status in (Status.FLASH, Status.INCOMPLETE)
    missed = document.verdict is Verdict.MISSED
    if unsettled:
        return f"{document.status.value}, MISSED" if missed else document.status.value
    return "OK" if document.verdict is Verdict.MET else document.verdict.value.upper()


def _looked_for(document: Document) -> list[Figure]:
    first, *others = document.headline or [None]
    judged = [figure for figure in others if figure is not None and figure.verdict]
    missed = [figure for figure in judged if figure.verdict is Verdict.MISSED]
    return [figure for figure in (first, *(missed or judged)[:1]) if figure is not None]


def _brief(figure: Figure) -> str:
    """A figure's value in few signs, in ASCII as far as they are ours; an amount in whole units."""
    value = figure.value
    if isinstance(value, Missing):
        return "not known"
    if isinstance(value, Money) and abs(value.amount) >= 1_000:
        return _typed(words(Count(value=round(value.amount), unit=value.currency)))
    return _typed(one_line(words(value, target=figure.target))).replace(" - ", "-")


def one_line(text: str) -> str:
    """``text`` as one line that does nothing: no line end, no control or reversing sign."""
    return drawable(" ".join(text.split()))


def _typed(text: str) -> str:
    """Signs that a keyboard has, so that numbers can be searched for and copied."""
    return _in_lines(text).replace(_TOGETHER, " ")


def _in_lines(text: str) -> str:
    """The same for text that is still to be broken into lines, which no number may be."""
    text = GROUPED.sub(_TOGETHER, text)
    return text.replace(MINUS, "-").replace(NBSP, " ").replace("–", "-")


#: Keeps the groups of a number on one line.
_TOGETHER = "\u202f"


# --- what the templates call ---------------------------------------------------------------


def _chosen(document: Document) -> list[Chart]:
    have = {chart.id: chart for section in document.sections for chart in section.charts}
    found = (next((have[i] for i in ids if i in have), None) for ids in CHARTS[document.kind])
    return [chart for chart in found if chart is not None]


def _picture(chart: Chart) -> Picture:
    body = charts.chart_png(chart, PICTURES, SCALE)
    name = re.sub(r"[^A-Za-z0-9]+", "-", chart.id).strip("-")
    cid = f"{name}.{hashlib.sha256(body).hexdigest()[:24]}@report"
    return Picture(cid, f"{name}.png", clipped(chart.title), clipped(chart.alt), body)


def clipped(text: str, signs: int = LINE_SIGNS) -> str:
    """``text`` on one line, cut where it is longer than ``signs``."""
    line = re.sub(r"[^\S\u00a0\u202f]+", " ", text).strip()
    return line if len(line) <= signs else f"{line[: signs - 1]}…"


def wrapped(text: str, indent: int = 0, first: str = "") -> str:
    """``text`` in lines of 72 signs at most; ``first`` stands before the first one."""
    return textwrap.fill(
        clipped(_in_lines(text)),
        72,
        initial_indent=" " * indent + first,
        subsequent_indent=" " * (indent + len(first)),
        break_on_hyphens=False,
    )


def said(value: Shown, zone: str, signed: bool = False) -> str:
    """A value in plain text."""
    return _in_lines(words(value, zone, signed=signed))


def said_figure(figure: Figure, zone: str) -> str:
    """A figure's value in plain text, rounded as on the page."""
    return clipped(_in_lines(words(figure.value, zone, target=figure.target)))


def _pair(label: str, value: str) -> str:
    """A label and its value at the right edge, under each other where both don't fit one line."""
    label = clipped(_in_lines(label))
    room = 70 - len(label) - len(value)
    return f"  {label}{' ' * room}{value}" if room > 1 else f"{wrapped(label, 2)}\n{value:>72}"
