"""What a report is made of: a Document of sections, figures, tables and charts, as pure data.

A Document is complete: rendering it needs nothing but templates and fonts, so the same Document
gives the same HTML and the same PDF anywhere. Its canonical JSON is the ``facts.json`` that is
issued beside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from .model import Exact, Finding, Missing, Shown, Text, Value, plain
from .numerals import ENGLISH, check_locale, localised, neutral, numeral

SCHEMA = "reporting/document/v1"


class Kind(StrEnum):
    """The kinds of report."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"


class Status(StrEnum):
    """How far a report can be relied on. INCOMPLETE wins over FLASH, and FLASH over RESTATED.

    FLASH is preliminary: the day had not ended. What replaces it is FINAL, not RESTATED: nobody
    was told that the flash would stay.
    """

    FLASH = "FLASH"
    FINAL = "FINAL"
    RESTATED = "RESTATED"
    INCOMPLETE = "INCOMPLETE"


class Verdict(StrEnum):
    """The answer to "was it good enough?", for one figure or for the whole period."""

    MET = "met"
    MISSED = "missed"
    UNKNOWN = "unknown"


class Target(Value):
    """A threshold that was in force in the period, as policy has it."""

    id: str
    comparator: Literal["lt", "le", "gt", "ge"]
    value: Exact
    unit: str
    source: str = ""

    def words(self) -> str:
        """For the page: "at least 99.9 %"."""
        word = {"lt": "below", "le": "at most", "gt": "above", "ge": "at least"}[self.comparator]
        return f"{word} {numeral(plain(self.value))} {self.unit}".strip()


class Point(Value):
    """One point of a series over days; a missing day stays a gap."""

    day: date
    value: Exact | Missing


class Figure(Value):
    """One number on a page. ``id`` is stable over reports: ``pnl.net``, ``uptime.grafana``."""

    id: str
    label: str
    value: Shown
    target: Target | None = None
    verdict: Verdict | None = Field(default=None, strict=False)
    change: Shown | None = None
    change_label: str = ""
    note: str = ""
    series: tuple[Point, ...] = ()


class Column(Value):
    """A table's column; numbers are set right, text left.

    One that is not ``shown`` is a detail: it stands in the CSV and in the facts only.
    """

    key: str
    label: str
    align: Literal["left", "right"] = "right"
    shown: bool = True


class Table(Value):
    """A table in full. The page shows its top rows; ``tables/<id>.csv`` has them all.

    ``rows`` and ``total`` have one cell a column.
    """

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Shown, ...], ...]
    total: tuple[Shown, ...] | None = None
    note: str = ""
    top: int = Field(default=25, description="rows shown on the page")
    whole: bool = Field(default=False, description="never cut, however long the report")


class Line(Value):
    """One named series of a chart; None is a gap, never zero."""

    label: str
    values: tuple[Exact | None, ...]


class BarsChart(Value):
    """Signed bars over categories or days (P&L per day), with an optional running line.

    With ``starts`` it is a waterfall: each bar runs from its start by its value.
    """

    kind: Literal["bars"] = "bars"
    id: str
    title: str
    alt: str
    unit: str
    labels: tuple[str, ...]
    bars: Line
    lines: tuple[Line, ...] = ()
    starts: tuple[Exact, ...] = Field(default=(), description="where bars begin; empty for 0")


class LinesChart(Value):
    """Lines over days with marked exceptions (P&L against VaR).

    ``below`` is a line that is never above 0, in a panel of its own under the others and filled up
    to 0 (drawdown). Where ``floor`` is set the axis ends there: what lies deeper is drawn on it.
    """

    kind: Literal["lines"] = "lines"
    id: str
    title: str
    alt: str
    unit: str
    labels: tuple[str, ...]
    lines: tuple[Line, ...]
    below: Line | None = None
    floor: Exact | None = None
    marked: tuple[int, ...] = Field(default=(), description="indices of exceptions")
    marked_label: str = ""


class Span(Value):
    """A stretch of one state on a timeline, in milliseconds since 1970."""

    state: Literal["up", "down", "unknown"]
    start_ms: int
    end_ms: int


class TimelineRow(Value):
    """The states of one target, in order, covering the chart's window."""

    label: str
    spans: tuple[Span, ...]


class TimelineChart(Value):
    """When each target was up, down or unknown."""

    kind: Literal["timeline"] = "timeline"
    id: str
    title: str
    alt: str
    start_ms: int
    end_ms: int
    zone: str
    rows: tuple[TimelineRow, ...]
    states: tuple[str, str, str] = Field(
        default=("up", "down", "unknown"), description="what the three states are called"
    )


class CalendarCell(Value):
    """One day of one target: its availability band, or why there is none."""

    day: date
    low_pct: Exact | None
    high_pct: Exact | None
    verdict: Verdict = Field(strict=False)


class CalendarRow(Value):
    """One target of the calendar strip."""

    label: str
    cells: tuple[CalendarCell, ...]


class CalendarChart(Value):
    """A cell a day for each target: met, missed or unknown."""

    kind: Literal["calendar"] = "calendar"
    id: str
    title: str
    alt: str
    rows: tuple[CalendarRow, ...]


class HeatRow(Value):
    """One line of a heat map; None is a gap, never zero."""

    label: str
    values: tuple[Exact | None, ...]


class HeatChart(Value):
    """Shares in per cent by two dimensions (fill rate by hour and agent), each with its number."""

    kind: Literal["heat"] = "heat"
    id: str
    title: str
    alt: str
    unit: str
    labels: tuple[str, ...]
    rows: tuple[HeatRow, ...]


Chart = Annotated[
    BarsChart | LinesChart | TimelineChart | CalendarChart | HeatChart,
    Field(discriminator="kind"),
]


class Section(Value):
    """One part of a report; ``id`` names its template, ``templates/sections/<id>.html``.

    Parts of one kind share a template: it is named by what stands before the first dot.
    """

    id: str
    title: str
    summary: str = Field(default="", description="one sentence that answers the section's question")
    verdict: Verdict | None = Field(default=None, strict=False)
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = ()


class Attention(Value):
    """Something that the first page says needs a person."""

    severity: Literal["alarm", "warning", "note"]
    text: str
    section: str = Field(default="", description="id of the section that has the details")


class Gap(Value):
    """A value that the period should have and has not."""

    what: str
    when: str
    reason: Missing


class Difference(Value):
    """One figure that differs from the revision that this one replaces."""

    figure: str
    label: str
    before: Shown
    after: Shown
    reason: str
    section: str = Field(default="", description="id of the section, where this revision has it")


class SignOff(Value):
    """Who stood for an earlier revision of the report, and when by the store's clock."""

    report: str = Field(description="daily/2025-12-05/r1")
    role: Literal["preparer", "reviewer"]
    person: str = Field(description="as the operating system knows them")
    name: str = ""
    note: str = ""
    at: AwareDatetime


class Retention(Value):
    """How long this revision is kept, and where the rule comes from."""

    class_: str
    until: date
    source: str


class Citation(Value):
    """A sealed day that the document was built from."""

    day: date
    revision: int
    digest: str
    session: bool
    known_at: AwareDatetime
    sealed_at: AwareDatetime
    reason: str = ""


class SourceTotal(Value):
    """Rows and control totals of one query over the period, for reconciliation."""

    source: str
    query: str
    query_digest: str
    rows: int
    control: tuple[tuple[str, str], ...] = ()


class Checkpoint(Value):
    """The audit log's head before this report was issued; ``note`` is its checkpoint in full."""

    size: int
    chain_hash: str
    note: str = ""


class Period(Value):
    """The report's period and the clock it is read by."""

    label: str = Field(description="2025-12-05, 2025-W49, 2025-11 or 2025-Q4")
    title: str = Field(description="for people: Friday 5 December 2025")
    first: date
    last: date
    zone: str
    calendar: str
    sessions: int
    cutoff: AwareDatetime


class Document(Value):
    """One revision of one report. Canonical JSON of this value is ``facts.json``."""

    schema_id: Literal["reporting/document/v1"] = "reporting/document/v1"
    id: str = Field(description="daily/2025-12-05/r1")
    kind: Kind = Field(strict=False)
    title: str
    issuer: str
    period: Period
    revision: int
    status: Status = Field(strict=False)
    signed: bool = False
    unsigned_because: str = Field(default="", description="why a signature that was wanted failed")
    supersedes: str = ""
    reason: str = ""
    issued_at: AwareDatetime
    version: str
    verdict: Verdict = Field(strict=False)
    answer: str = Field(description="one sentence: was it good?")
    attention: tuple[Attention, ...]
    headline: tuple[Figure, ...]
    sections: tuple[Section, ...]
    gaps: tuple[Gap, ...]
    findings: tuple[Finding, ...]
    differences: tuple[Difference, ...]
    citations: tuple[Citation, ...]
    sources: tuple[SourceTotal, ...]
    policy_digest: str
    checkpoint: Checkpoint
    signoffs: tuple[SignOff, ...] = Field(default=(), description="of the revisions before")
    retention: Retention | None = None
    locale: Annotated[str, AfterValidator(check_locale)] = Field(
        default=ENGLISH,
        description="in which its numbers are printed",
        exclude_if=lambda locale: locale == ENGLISH,
    )
    said: tuple[str, ...] = Field(
        default=(),
        description="the texts that say numbers, with a mark before each; empty in English",
        exclude_if=lambda said: not said,
    )


#: The parts of a Document that hold sentences with numbers of ours.
SENTENCES = ("answer", "attention", "headline", "sections", "gaps", "findings")


def with_marks_apart(document: Document, locale: str) -> Document:
    """A Document that was made with marks, for ``locale``: its texts in English, marks in ``said``.

    So whatever reads a Document reads the same texts, whichever locale it is printed in.
    """
    found: set[str] = set()

    def unmarked(words: str) -> str:
        if (plain := neutral(words)) != words:
            found.add(words)
        return plain

    changed = {name: _texts(getattr(document, name), unmarked) for name in SENTENCES}
    return document.model_copy(update={**changed, "locale": locale, "said": tuple(sorted(found))})


def as_printed(document: Document) -> Document:
    """``document`` with the numbers of its texts in its own locale."""
    if not document.said:
        return document
    printed = {neutral(words): localised(words, document.locale) for words in document.said}
    # The label of a difference is put together from the words of a table.
    longest_first = sorted(printed, key=lambda words: (-len(words), words))
    parts = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
    changed = {
        name: _texts(getattr(document, name), lambda words: printed.get(words, words))
        for name in SENTENCES
    }
    differences = tuple(
        _texts(
            each.model_copy(update={"label": parts.sub(lambda m: printed[m[0]], each.label)}),
            lambda words: printed.get(words, words),
        )
        for each in document.differences
    )
    return document.model_copy(update={**changed, "differences": differences})


def _texts(value: Any, replace: Callable[[str], str]) -> Any:
    """``value`` with every text in it replaced."""
    if type(value) is str:
        return replace(value)
    if isinstance(value, tuple):
        return tuple(_texts(each, replace) for each in value)
    if isinstance(value, Value):
        held = ((name, getattr(value, name)) for name in type(value).model_fields)
        return value.model_copy(update={name: _texts(each, replace) for name, each in held})
    return value


def text(words: str) -> Text:
    """Shorthand for a cell of words."""
    return Text(text=words)
