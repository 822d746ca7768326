"""Document to HTML, PDF, CSV and mail: the only door to jinja2 and WeasyPrint.

The same document gives the same bytes in every process, time zone, locale and folder: how numbers
are written is in the document. Nothing here reads a clock; fonts are ours and travel inside the
HTML as ``data:`` URIs, so that the PDF is made from the very HTML that is issued, without network
and without files.

Numbers are rounded here and nowhere else: half-even, and never across a line that matters. What
is below 100 % is not printed as 100 %, what missed its target is not printed as the target.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import ctypes
import gc
import hashlib
import importlib
import io
import platform
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from .. import archival, charts
from ..errors import ValidationFailed
from ..model import (
    Band,
    Bps,
    Count,
    Duration,
    Missing,
    Moment,
    Money,
    Number,
    Ratio,
    Shown,
    Text,
    exact_sum,
    plain,
)
from ..numerals import MINUS, numbers_in, numeral
from ..page import (
    Column,
    Difference,
    Document,
    Figure,
    Gap,
    Kind,
    Table,
    Target,
    Verdict,
    as_printed,
)
from ..periods import in_spans
from ..resources import resource
from ..seal import canonical

#: A table row costs about 15 ms of layout, so a page shows this many rows of all its tables
#: together; the CSV files have every one.
ROWS_ON_PAGE = 330
#: The section that comes on top of them.
APPENDIX = "compliance"

#: The table of what a restatement changed, which no section has.
DIFFERENCES = "differences"

#: The longest detail of an absence, in letters, that a table's cell has room for.
SHORT_DETAIL = 26

MEND = "apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"

NBSP, THIN = "\u00a0", "\u2009"
#: The space that parts groups of three digits, where a locale has one.
GROUPED = re.compile(r"(?<=\d)[\u00a0\u202f](?=\d{3}(?!\d))")


# --- the three results ---------------------------------------------------------------------


def render_html(document: Document) -> bytes:
    """The page: one self-contained file, UTF-8, without script or any outside reference."""
    # What is printed is what facts.json holds: 1.50 and 1.5 are one number and print alike.
    facts = document.model_dump_json()
    document = as_printed(Document.model_validate_json(facts))
    template = environment().get_template(f"{document.kind.value}.html")
    # The appendix is as long as its mapping, and takes no rows from the results.
    appendix = sum(len(t.rows) for s in document.sections if s.id == APPENDIX for t in s.tables)
    tables = [t for s in document.sections for t in s.tables]
    limits = _row_limits(tables, ROWS_ON_PAGE + appendix)
    with numbers_in(document.locale):
        html = template.render(
            d=document,
            zone=document.period.zone,
            limits=limits,
            styles={
                name: Markup((templates_folder() / f"{name}.css").read_text("utf-8"))
                for name in ("page", "screen", "print")
            },
            fonts=Markup(_font_css(facts)),
            dark_figures=Markup(charts.recolour_css(charts.LIGHT, charts.DARK)),
        )
    return drawable(html).encode()


def render_pdf(html: bytes, document: Document) -> bytes:
    """The PDF of ``html``: PDF/A-3a and PDF/UA-1, with the facts and every table in full inside.

    Language, title, bookmarks and metadata stand in the HTML. Attachments are dated by the period's
    cut-off. A document that says it is signed gets an empty signature field.

    Raises :class:`ValidationFailed` where a native library is missing, or where the HTML asks for
    anything that is not inside it.
    """
    weasyprint = _weasyprint()
    from weasyprint.urls import FatalURLFetchingError

    facts = canonical(document)
    whole = hashlib.sha256(facts + b"\0" + html).hexdigest()
    identifier = whole[:32].encode()
    attached = {"facts.json": (facts, "Source", "everything in this report, as canonical JSON")}
    titles = {f"{t.id}.csv": t.title for s in document.sections for t in s.tables}
    titles[f"{DIFFERENCES}.csv"] = "Differences to the replaced revision"
    for name, body in render_tables(document).items():
        attached[name] = (body, "Data", f"{titles[name]}: every row, exact and unrounded")
    cutoff = document.period.cutoff.astimezone(UTC)
    written: list[tuple[Any, int]] = []

    def finisher(_: Any, pdf: Any) -> None:
        archival.finish(
            pdf,
            relationships={name: how for name, (_, how, _) in attached.items()},
            targets=_link_words(document),
            signable=document.signed,
        )
        written.append((pdf, len(pdf.objects)))

    try:
        with _collector_paused():
            # Nothing but the title of a figure becomes its alternative text.
            text = _DESCRIBED.sub(r"<title>\1 \2</title>", html.decode())
            text = _FLEXIBLE.sub(r"\1minmax(0, 1fr)", text)
            page = weasyprint.HTML(string=text, url_fetcher=_only_data())
            made: bytes = page.write_pdf(
                pdf_identifier=identifier,
                pdf_variant="pdf/a-3a",
                attachments=[
                    weasyprint.Attachment(
                        file_obj=io.BytesIO(body),
                        name=name,
                        description=words,
                        created=cutoff,
                        modified=cutoff,
                        relationship=how,
                    )
                    for name, (body, how, words) in sorted(attached.items())
                ],
                finisher=finisher,
            )
            return archival.settled(*written[0], made, identifier)
    except FatalURLFetchingError as refused:
        raise ValidationFailed(
            f"{document.id}: the page asks for something outside itself ({refused}); expected "
            "data: URIs only; take the reference out of the template"
        ) from refused


_DESCRIBED = re.compile(r"<title>([^<]*)</title><desc>([^<]*)</desc>")
#: A track of 1fr is at least as wide as its longest word, and WeasyPrint lays out every word to
#: find that: a sixth of its time. No word of these grids is wider, so the file is the same.
_FLEXIBLE = re.compile(r"(grid-template-columns: (?:\d+mm |repeat\(\d, ))1fr")


def _link_words(document: Document) -> dict[str, str]:
    """What the anchors of the page are called."""
    return {
        **{f"s-{_slug(s.id)}": s.title for s in document.sections},
        "gaps": "Gaps",
        "findings": "Findings about the data",
        "differences": "Differences to the replaced revision",
        "evidence": "Evidence",
    }


def _slug(words: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-")


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Layout makes millions of boxes that all live to its end: looking for garbage costs a quarter
    of its time (5.0 s against 3.8 s for a daily report) and finds none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True)
class ArchiveReport:
    """One revision of one report, as the index of an archive lists it."""

    id: str
    kind: str
    title: str
    period: str
    last: date
    revision: int
    status: str
    verdict: str
    answer: str
    reason: str
    issued_at: datetime
    signed: bool
    digest: str


@dataclass(frozen=True)
class ArchiveDay:
    """One business day of an archive, with the newest revision of each kind of report."""

    day: date
    reports: Mapping[str, ArchiveReport]


@dataclass(frozen=True)
class ArchivePage:
    """The index of an archive."""

    issuer: str
    first: date
    last: date
    made_at: datetime
    calendar: str
    zone: str
    days: tuple[ArchiveDay, ...]
    closed: tuple[tuple[date, str], ...]  # weekdays that are no session, and why
    reports: tuple[ArchiveReport, ...]
    entries: int
    purged: tuple[tuple[str, str], ...] = ()  # reports of which digests are left, and why


def render_archive(page: ArchivePage) -> bytes:
    """The index of an archive: one self-contained file that opens from a folder."""
    months: dict[date, list[ArchiveDay]] = {}
    for day in page.days:
        months.setdefault(day.day.replace(day=1), []).append(day)
    kinds = [kind.value for kind in Kind if any(r.kind == kind.value for r in page.reports)]
    words = " ".join(f"{r.title} {r.period} {r.answer} {r.reason}" for r in page.reports)
    words += " ".join(why for _, why in page.purged)
    html = (
        environment()
        .get_template("archive.html")
        .render(
            page=page,
            months=months,
            kinds=kinds,
            styles={
                name: Markup((templates_folder() / f"{name}.css").read_text("utf-8"))
                for name in ("page", "screen", "archive")
            },
            fonts=Markup(_font_css(page.issuer + words)),
        )
    )
    return drawable(html).encode()


def render_tables(document: Document) -> dict[str, bytes]:
    """Every table in full, as UTF-8 CSV under ``<table id>.csv``, exact and unrounded.

    The first column, ``_row``, counts from 1 and is ``total`` for the total. A cell becomes as
    many columns as it has parts: money ``<key>_amount`` and ``<key>_currency``, a ratio
    ``<key>_numerator`` and ``<key>_denominator``, basis points ``<key>_cost`` and
    ``<key>_notional``, a band its low and high ratio, a duration ``<key>_ms``, a moment
    ``<key>_at`` (ISO 8601, UTC), an absence ``<key>_missing`` with its reason.
    """
    out: dict[str, bytes] = {}
    for section in document.sections:
        for table in section.tables:
            name = f"{table.id}.csv"
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", table.id) or name in out:
                raise ValueError(f"table id {table.id!r} is no file name, or is there twice")
            out[name] = _csv(table)
    if document.supersedes:
        out[f"{DIFFERENCES}.csv"] = _csv(_differences_table(document))
    return out


# --- what a restatement changed --------------------------------------------------------------


@dataclass(frozen=True)
class _Changed:
    """One difference, with its change where both are amounts of one kind, and where it stands."""

    difference: Difference
    change: Shown | None
    anchor: str


def render_differences(document: Document) -> bytes:
    """A page of its own: every figure that differs from the superseded revision, by section."""
    facts = document.model_dump_json()
    document = as_printed(Document.model_validate_json(facts))
    groups = {s.id: (s.title, list[_Changed]()) for s in document.sections}
    elsewhere = ("Not in this revision", list[_Changed]())
    tables = {t.id for s in document.sections for t in s.tables}
    for each in document.differences:
        table = each.figure.partition("/")[0]
        anchor = f"t-{_slug(table)}" if table in tables else f"s-{_slug(each.section)}"
        known = each.section in groups
        _, rows = groups[each.section] if known else elsewhere
        change = _change(each.before, each.after)
        rows.append(_Changed(each, change, anchor if known else "differences"))
    template = environment().get_template("differences.html")
    with numbers_in(document.locale):
        html = template.render(
            d=document,
            zone=document.period.zone,
            groups=[(title, rows) for title, rows in [*groups.values(), elsewhere] if rows],
            styles={
                name: Markup((templates_folder() / f"{name}.css").read_text("utf-8"))
                for name in ("page", "screen", "print")
            },
            fonts=Markup(_font_css(facts)),
        )
    return drawable(html).encode()


def _differences_table(document: Document) -> Table:
    """Every difference as a row; the page shows the same."""
    keys = ("section", "figure", "label", "before", "after", "change", "reason")
    return Table(
        id=DIFFERENCES,
        title="Differences",
        columns=tuple(Column(key=key, label=key) for key in keys),
        rows=tuple(
            (
                Text(text=x.section),
                Text(text=x.figure),
                Text(text=x.label),
                x.before,
                x.after,
                _change(x.before, x.after) or Text(text=""),
                Text(text=x.reason),
            )
            for x in document.differences
        ),
    )


def _change(before: Shown, after: Shown) -> Shown | None:
    """After less before; of shares in points, None where there is nothing to subtract."""
    match before, after:
        case (Money(), Money()) if before.currency == after.currency:
            return after - before
        case (Count(), Count()) if before.unit == after.unit:
            return Count(value=after.value - before.value, unit=after.unit)
        case (Number(), Number()) if before.unit == after.unit:
            return Number(value=exact_sum([after.value, -before.value]), unit=after.unit)
        case (Duration(), Duration()):
            return Duration(ms=after.ms - before.ms)
        case (Ratio(), Ratio()) if before.fraction is not None and after.fraction is not None:
            points = (after.fraction - before.fraction) * 100
            return Number(value=_rounded(points, 6), unit="points")
        case (Bps(), Bps()) if before.value is not None and after.value is not None:
            return Number(value=_rounded(after.value - before.value, 6), unit="bps")
        case _:
            return None


# --- words for values ----------------------------------------------------------------------


def words(
    value: Shown,
    zone: str = "UTC",
    *,
    target: Target | None = None,
    digits: int | None = None,
    unit: bool = True,
    signed: bool = False,
) -> str:
    """``value`` as a person reads it, with no-break spaces and a real minus sign.

    ``target`` keeps rounding from crossing it; ``digits`` are the least decimals of a percentage
    or number; ``unit=False`` leaves out what a table's heading says already; ``signed`` prints a
    plus.
    """
    match value:
        case Missing():
            return f"— {value}"
        case Money():
            return _unit(_number(_rounded(value.amount, 2), 2, signed), value.currency, unit)
        case Ratio():
            return _ratio_words(value, target, digits, signed)
        case Band():
            return _band_words(value, target, digits)
        case Bps():
            if value.value is None:
                return "— nothing traded"
            places = _places([value.value], [Fraction(0), *_line(target, "bps")], 2)
            return _unit(_number(_rounded(value.value, places), places, signed), "bps", unit)
        case Count():
            return _unit(_number(Decimal(value.value), 0, signed), value.unit, unit)
        case Number():
            shown = plain(value.value)
            exact = Fraction(value.value)
            # A change is read at a glance: two decimals, or as many as tell it from none.
            least = min(_decimals(shown), 2) if signed else max(_decimals(shown), digits or 0)
            places = _places([exact], [Fraction(0)], least)
            return _unit(_number(_rounded(exact, places), places, signed), value.unit, unit)
        case Duration():
            return _duration_words(value.ms, signed)
        case Moment():
            return moment_words(value.at, zone)
        case Text():
            return value.text


def moment_words(at: datetime, zone: str) -> str:
    """An instant in ``zone`` with its offset: "2025-12-05 16:00:05 UTC−05:00"."""
    local = at.astimezone(ZoneInfo(zone))
    offset = int((local.utcoffset() or local - local).total_seconds()) // 60
    sign, size = ("−" if offset < 0 else "+"), abs(offset)
    name = f"UTC{sign}{size // 60:02d}:{size % 60:02d}" if offset else "UTC"
    return f"{local:%Y-%m-%d}{NBSP}{local:%H:%M:%S}{NBSP}{name}"


def target_words(target: Target) -> str:
    """ "at least 99.9 %": the number in its one spelling, unlike ``Target.words``."""
    word = {"lt": "below", "le": "at most", "gt": "above", "ge": "at least"}[target.comparator]
    number = plain(target.value)
    shown = _number(Decimal(number), _decimals(number), False)
    return f"{word} {_unit(shown, target.unit, True)}"


def _unit(number: str, unit: str, wanted: bool) -> str:
    return f"{number}{NBSP}{unit}" if unit and wanted else number


def _number(value: Decimal, places: int, signed: bool) -> str:
    """Grouped thousands and exactly ``places`` decimals, in the locale that is printed in."""
    shown = numeral(value.copy_abs(), f",.{places}f")
    if not value:
        return shown
    return (MINUS if value < 0 else "+" if signed else "") + shown


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


def _rounded(value: Decimal | Fraction, places: int) -> Decimal:
    """Half-even to ``places`` decimals, exactly; floats are not involved."""
    scaled = round(Fraction(value) * 10**places)
    return Decimal(scaled).scaleb(-places, Context(prec=100))


def _line(target: Target | None, unit: str) -> list[Fraction]:
    return [Fraction(target.value)] if target is not None and target.unit == unit else []


def _places(values: Sequence[Fraction], lines: Iterable[Fraction], least: int) -> int:
    """The fewest decimals, at least ``least``, at which rounding changes no comparison.

    Compared are every value with every line (0, 100, the target) and the values with each other.
    """
    lines = list(lines)
    for places in range(least, 13):
        shown = [Fraction(_rounded(v, places)) for v in values]
        kept = all(
            _order(a, line) == _order(b, line)
            for a, b in zip(values, shown, strict=True)
            for line in lines
        ) and all(
            _order(values[i], values[i + 1]) == _order(shown[i], shown[i + 1])
            for i in range(len(values) - 1)
        )
        if kept:
            return places
    return 12


def _order(a: Fraction, b: Fraction) -> int:
    return (a > b) - (a < b)


_PERCENT_LINES = (Fraction(0), Fraction(100))


def _ratio_words(ratio: Ratio, target: Target | None, digits: int | None, signed: bool) -> str:
    if ratio.fraction is None:
        return f"— {_number(ratio.numerator, 0, False)} of 0"
    percent = ratio.fraction * 100
    places = _places([percent], [*_PERCENT_LINES, *_line(target, "%")], digits or 2)
    return _unit(_number(_rounded(percent, places), places, signed), "%", True)


def _band_words(band: Band, target: Target | None, digits: int | None) -> str:
    if band.low.fraction is None or band.high.fraction is None:
        return "— nothing observed"
    low, high = band.low.fraction * 100, band.high.fraction * 100
    places = _places([low, high], [*_PERCENT_LINES, *_line(target, "%")], digits or 3)
    shown = [_number(_rounded(v, places), places, False) for v in (low, high)]
    if low == high:
        return f"{shown[0]}{NBSP}%"
    return f"{shown[0]}{NBSP}– {shown[1]}{NBSP}%"


def _duration_words(ms: int, signed: bool) -> str:
    sign = MINUS if ms < 0 else "+" if signed and ms else ""
    size = abs(ms)
    if size < 60_000:
        seconds, rest = divmod(size, 1_000)
        if not seconds and rest:
            return f"{sign}{rest}{NBSP}ms"
        tail = f".{rest:03d}" if rest else ""
        return f"{sign}{numeral(f'{seconds}{tail}')}{NBSP}s"
    whole = round(Fraction(size, 1_000))
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    if not hours:
        return f"{sign}{m} min {s:02d} s".replace(" ", NBSP)
    return f"{sign}{_number(Decimal(hours), 0, False)} h {m:02d} min {s:02d} s".replace(" ", NBSP)


# --- what the templates call ---------------------------------------------------------------


def negative(value: Shown) -> bool:
    """Whether a value is below zero, where that can be said of it."""
    match value:
        case Money():
            return value.amount < 0
        case Ratio() | Bps():
            exact = value.fraction if isinstance(value, Ratio) else value.value
            return exact is not None and exact < 0
        case Count() | Number():
            return value.value < 0
        case Duration():
            return value.ms < 0
        case _:
            return False


def _absent(value: Shown) -> bool:
    return (
        isinstance(value, Missing)
        or (isinstance(value, Ratio) and value.fraction is None)
        or (isinstance(value, Bps) and value.value is None)
        or (isinstance(value, Band) and None in (value.low.fraction, value.high.fraction))
    )


def _mark(value: Shown, shown: str) -> Markup:
    """``shown`` as HTML; an absence as a chip, a negative number set apart."""
    if _absent(value):
        return Markup('<span class="missing">{}</span>').format(shown)
    if negative(value):
        return Markup('<span class="neg">{}</span>').format(shown)
    if _DATE.fullmatch(shown):
        return Markup('<span class="date">{}</span>').format(shown)
    if isinstance(value, Moment):
        return Markup('<span class="nowrap">{}</span>').format(shown)
    return _breakable(shown)


def _verdict(value: Shown, shown: str) -> Markup:
    """A verdict's word in its own weight and colour; anything else as it is."""
    if shown in {verdict.value for verdict in Verdict}:
        return Markup('<span class="verdict {}">{}</span>').format(shown, shown)
    return _mark(value, shown)


def _breakable(shown: str) -> Markup:
    """Words longer than a column is wide may break anywhere, others only between."""
    if not _LONG_WORD.search(shown):
        return Markup("{}").format(shown)
    pieces = (
        Markup("<wbr>").join(word[n : n + 8] for n in range(0, len(word), 8))
        if len(word) >= 28
        else Markup("{}").format(word)
        for word in re.split(r"(\s+)", shown)
    )
    return Markup("").join(pieces)


_LONG_WORD = re.compile(r"\S{28}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _show(value: Shown, zone: str, signed: bool = False) -> Markup:
    return _mark(value, words(value, zone, signed=signed))


def _show_figure(figure: Figure, zone: str) -> Markup:
    return _mark(figure.value, words(figure.value, zone, target=figure.target))


@dataclass(frozen=True)
class _Head:
    label: str
    unit: str
    align: str


@dataclass(frozen=True)
class _Grid:
    """A table as the page shows it: headings with units, and cells of HTML."""

    heads: tuple[_Head, ...]
    rows: tuple[tuple[Markup, ...], ...]
    total: tuple[Markup, ...] | None
    off: str  # by how much printed amounts miss their printed total, or ""


def _grid(table: Table, limit: int, zone: str) -> _Grid:
    """The first ``limit`` rows; what a whole column shares (its currency) moves into its head.

    Where rows add up to the total, those that are left out stand in one row of their own: the page
    foots by itself.
    """
    shown = table.rows[:limit]
    if _adds_up(table) and limit < len(table.rows):
        shown = (*shown, _others(table, limit))
    lines = [*shown, *([table.total] if table.total else [])]
    heads: list[_Head] = []
    columns: list[list[Markup]] = []
    for index, column in enumerate(table.columns):
        if not column.shown:
            continue
        cells = [line[index] for line in lines]
        unit = _shared_unit([line[index] for line in (*table.rows, *lines[len(shown) :])])
        digits = _shared_digits(cells) if _of_one_unit(cells) else None
        shown_as = _verdict if column.key == "verdict" else _mark
        columns.append([shown_as(c, _cell(c, zone, digits, unit=not unit)) for c in cells])
        named = unit if unit and unit not in re.split(r"\W+", column.label) else ""
        heads.append(_Head(column.label, named, column.align))
    rows = tuple(zip(*columns, strict=True)) if columns else ()
    return _Grid(
        tuple(heads),
        rows[: len(shown)],
        rows[len(shown)] if table.total and rows else None,
        _rounding_off(table, shown) if _adds_up(table) else "",
    )


def _cell(value: Shown, zone: str, digits: int | None, *, unit: bool) -> str:
    """As :func:`words`, but of an absence only what fits a column: its detail, else its kind.

    The CSV and the facts have both.
    """
    if isinstance(value, Missing):
        return f"— {value.detail if 0 < len(value.detail) <= SHORT_DETAIL else value.why}"
    shown = words(value, zone, digits=digits, unit=unit)
    # Cells of numbers never wrap, so a space between groups may be thinner than that of columns.
    return shown if isinstance(value, Text) else GROUPED.sub(THIN, shown)


def _adds_up(table: Table) -> bool:
    """Whether the total is the sum of the rows: "Total" says so, "Largest" does not."""
    return table.total is not None and table.total[0] == Text(text="Total")


def _others(table: Table, limit: int) -> tuple[Shown, ...]:
    """The rows from ``limit`` on as one: sums where the total is a sum, else nothing."""
    assert table.total is not None
    rest = table.rows[limit:]
    cells: list[Shown] = [Text(text=f"{len(rest)} more row{'' if len(rest) == 1 else 's'}")]
    for index, total in enumerate(table.total[1:], 1):
        of = [row[index] for row in rest]
        if isinstance(total, Money):
            amount = exact_sum(c.amount for c in of if isinstance(c, Money))
            cells.append(Money(amount=amount, currency=total.currency))
        elif isinstance(total, Count):
            number = sum(c.value for c in of if isinstance(c, Count))
            cells.append(Count(value=number, unit=total.unit))
        else:
            cells.append(Text(text=""))
    return tuple(cells)


def _rounding_off(table: Table, shown: Sequence[Sequence[Shown]]) -> str:
    """The most by which the printed amounts of a column miss its printed total, "" for nothing."""
    assert table.total is not None
    off = Decimal(0)
    for index, total in enumerate(table.total):
        if isinstance(total, Money) and table.columns[index].shown:
            cells = (row[index] for row in shown)
            printed = exact_sum(_rounded(c.amount, 2) for c in cells if isinstance(c, Money))
            off = max(off, abs(printed - _rounded(total.amount, 2)))
    return _number(off, 2, False) if off else ""


def _shared_unit(cells: Sequence[Shown]) -> str:
    units = set()
    for cell in cells:
        match cell:
            case Money():
                units.add(cell.currency)
            case Bps():
                units.add("bps")
            case Count() | Number():
                units.add(cell.unit)
            case Missing():
                pass
            case _:
                units.add("")
    return units.pop() if len(units) == 1 else ""


def _of_one_unit(cells: Sequence[Shown]) -> bool:
    """Whether all numbers of a column measure the same: decimals are then set alike."""
    units = {
        getattr(cell, "unit", type(cell).__name__ if isinstance(cell, Bps | Money) else "%")
        for cell in cells
        if isinstance(cell, Money | Ratio | Band | Bps | Count | Number)
    }
    prices = all(re.fullmatch(r"[A-Z]{3}", unit) for unit in units)
    return len(units) <= 1 or prices


def _shared_digits(cells: Sequence[Shown]) -> int | None:
    """The decimals that the most demanding number of a column needs, at most six."""
    least = []
    for cell in cells:
        match cell:
            case Ratio() if cell.fraction is not None:
                least.append(_places([cell.fraction * 100], _PERCENT_LINES, 2))
            case Band() if not _absent(cell):
                pair = [Fraction(r.fraction or 0) * 100 for r in (cell.low, cell.high)]
                least.append(_places(pair, _PERCENT_LINES, 3))
            case Number():
                least.append(_decimals(plain(cell.value)))
            case _:
                pass
    if not least:
        return None
    digits = min(max(least), 6)
    largest = max((abs(cell.value) for cell in cells if isinstance(cell, Number)), default=0)
    # 82,330.00000 beside 0.02421 helps nobody: numbers of such different size keep their own.
    return digits if largest < Decimal(10) ** (8 - digits) else None


def _row_limits(tables: Sequence[Table], budget: int) -> dict[str, int]:
    """Rows to show of each table: what it asks for, evenly cut where all are over ``budget``."""
    whole = {t.id: len(t.rows) for t in tables if t.whole}
    wanted = {t.id: min(t.top, len(t.rows)) for t in tables if not t.whole}
    left = budget - sum(whole.values())
    cap = max(wanted.values(), default=0)
    while cap > 3 and sum(min(cap, n) for n in wanted.values()) > left:
        cap -= 1
    # A line that says "1 more row" takes as much room as the row.
    shown = {name: n if n - cap == 1 else min(cap, n) for name, n in wanted.items()}
    return {**whole, **shown}


def _beside(tables: Sequence[Table], limits: Mapping[str, int]) -> list[list[Table]]:
    """Tables in order, two small ones that follow each other together: they share a line."""

    def small(table: Table) -> bool:
        columns = sum(column.shown for column in table.columns)
        return columns < 3 and 0 < limits[table.id] <= 12

    groups: list[list[Table]] = []
    for table in tables:
        last = groups[-1] if groups else []
        if len(last) == 1 and small(last[0]) and small(table):
            last.append(table)
        else:
            groups.append([table])
    return groups


def _halves(figures: Sequence[Figure]) -> list[Sequence[Figure]]:
    """Figures in order in two columns, cut where the columns come out most alike in height.

    A note and a target are lines of their own, and a long note more than one.
    """

    def lines(some: Sequence[Figure]) -> float:
        more = ((f.target or f.verdict) is not None for f in some)
        return len(some) + 0.8 * sum(-(-len(f.note) // 44) for f in some) + 0.8 * sum(more)

    cut = min(
        range(1, max(len(figures), 2)),
        key=lambda at: (max(lines(figures[:at]), lines(figures[at:])), -at),
    )
    return [half for half in (figures[:cut], figures[cut:]) if half]


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates, with what they call; everything but plain text is escaped."""
    environment = Environment(
        loader=FileSystemLoader(templates_folder()),
        autoescape=select_autoescape(("html",), ("txt",), default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        show=_show,
        plain=plain,
        moment=moment_words,
        target=target_words,
        iso=lambda at: at.isoformat(),
        short=lambda digest: digest[:16],
        in_spans=gaps_in_spans,
        count=lambda n: _number(Decimal(n), 0, False),
        slug=_slug,
    )
    environment.globals.update(
        show_figure=_show_figure,
        grid=_grid,
        beside=_beside,
        halves=_halves,
        chart=lambda chart: Markup(charts.chart_svg(chart)),
        sparkline=lambda points: Markup(charts.sparkline_svg(points)),
    )
    return environment


ONE_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def gaps_in_spans(gaps: Sequence[Gap]) -> list[Gap]:
    """Gaps of days that follow each other, of the same for the same reason, as one row each."""
    rows: list[tuple[Gap, list[date]]] = []
    for gap in gaps:
        if not ONE_DAY.fullmatch(gap.when):  # of a whole period
            rows.append((gap, []))
            continue
        day = date.fromisoformat(gap.when)
        before, days = rows[-1] if rows else (gap, [])
        same = (gap.what, gap.reason) == (before.what, before.reason)
        if days and same and day - days[-1] == timedelta(1):
            days.append(day)
        else:
            rows.append((gap, [day]))
    return [gap.model_copy(update={"when": in_spans(days)}) if days else gap for gap, days in rows]


# --- fonts and templates -------------------------------------------------------------------


@dataclass(frozen=True)
class _Face:
    """A vendored font file. Our own family names, so that no installed font can stand in."""

    family: str
    weight: int
    file: str
    always: bool


_FACES = (
    _Face("Reporting Sans", 400, "inter-latin-400-normal.woff2", True),
    _Face("Reporting Sans", 600, "inter-latin-600-normal.woff2", True),
    _Face("Reporting Mono", 400, "roboto-mono-latin-400-normal.woff2", True),
    _Face("Reporting Sans Ext", 400, "inter-latin-ext-400-normal.woff2", False),
    _Face("Reporting Sans Ext", 600, "inter-latin-ext-600-normal.woff2", False),
    _Face("Reporting Sans Greek", 400, "inter-greek-400-normal.woff2", False),
    _Face("Reporting Sans Greek", 600, "inter-greek-600-normal.woff2", False),
)


def templates_folder() -> Path:
    """Where the templates lie; raises :class:`ValidationFailed` where they did not come along."""
    folder = resource("templates")
    if (folder / "base.html").is_file():
        return folder
    raise ValidationFailed(f"no templates in {folder}; install the package again")


def template_digest() -> str:
    """sha256 over all templates, style sheets and fonts, with their names; hex.

    Those of mails are left out: no byte of a report depends on them.
    """
    folder = templates_folder()
    digest = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    for name in sorted(files):
        if files[name].is_file() and not name.startswith((".", "mail/")) and "/." not in name:
            body = files[name].read_bytes()
            digest.update(f"{name}\0{len(body)}\0".encode() + body)
    return digest.hexdigest()


@lru_cache(maxsize=16)
def _coverage(file: str) -> frozenset[int]:
    """The code points that a font file can draw."""
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    with TTFont(templates_folder() / "fonts" / file, lazy=True) as font:
        return frozenset(font.getBestCmap())


@lru_cache(maxsize=16)
def _face_css(face: _Face) -> str:
    body = base64.b64encode((templates_folder() / "fonts" / face.file).read_bytes()).decode()
    return (
        f"@font-face{{font-family:'{face.family}';font-weight:{face.weight};font-style:normal;"
        f"src:url(data:font/woff2;base64,{body}) format('woff2')}}"
    )


def _font_css(facts: str) -> str:
    """The faces that a document needs: the Latin ones, others if its letters ask for them."""
    letters = {ord(c) for c in facts if ord(c) > 0x7F} - _coverage(_FACES[0].file)
    return "\n".join(
        _face_css(face) for face in _FACES if face.always or letters & _coverage(face.file)
    )


#: Signs that our fonts lack and that have a plain spelling.
_SPELLED = {"→": "->", "←": "<-", "≥": ">=", "≤": "<=", "≠": "!=", "\u202f": NBSP, "\u2007": NBSP}
#: Invisible signs, which can make one name look like another.
_INVISIBLE = {0xAD, 0x200B, 0xFEFF}


def drawable(text: str) -> str:
    """``text`` with every sign that our fonts can't draw spelled out, as in [U+4E2D].

    Otherwise a system font would draw it, another one on each machine, and a sign that reverses
    or hides text could make a name look like another.
    """
    return re.sub(r"[^\t\n\x20-\x7e]", _drawn, text)


@lru_cache(maxsize=4096)
def _drawn_sign(sign: str) -> str:
    code = ord(sign)
    known = any(code in _coverage(face.file) for face in _FACES)
    if code >= 0xA0 and known and code not in _INVISIBLE:
        return sign
    return _SPELLED.get(sign, f"[U+{code:04X}]")


def _drawn(match: re.Match[str]) -> str:
    return _drawn_sign(match[0])


# --- CSV -----------------------------------------------------------------------------------

#: The parts of a cell by kind: suffix of the column's key, and the part's text.
_PARTS: dict[str, tuple[tuple[str, Callable[[Any], str]], ...]] = {
    "text": (("", lambda v: _inert(v.text)),),
    "count": (("", lambda v: str(v.value)), ("_unit", lambda v: _inert(v.unit))),
    "number": (("", lambda v: plain(v.value)), ("_unit", lambda v: _inert(v.unit))),
    "money": (("_amount", lambda v: plain(v.amount)), ("_currency", lambda v: v.currency)),
    "ratio": (
        ("_numerator", lambda v: plain(v.numerator)),
        ("_denominator", lambda v: plain(v.denominator)),
    ),
    "bps": (("_cost", lambda v: plain(v.cost)), ("_notional", lambda v: plain(v.notional))),
    "duration": (("_ms", lambda v: str(v.ms)),),
    "band": (
        ("_low_numerator", lambda v: plain(v.low.numerator)),
        ("_low_denominator", lambda v: plain(v.low.denominator)),
        ("_high_numerator", lambda v: plain(v.high.numerator)),
        ("_high_denominator", lambda v: plain(v.high.denominator)),
    ),
    "moment": (("_at", lambda v: v.at.astimezone(ZoneInfo("UTC")).isoformat()),),
    "missing": (("_missing", lambda v: _inert(str(v))),),
}


def _inert(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def _csv(table: Table) -> bytes:
    lines = [(str(n), row) for n, row in enumerate(table.rows, 1)]
    if table.total is not None:
        lines.append(("total", table.total))
    parts = [_column_parts(c, [row[i] for _, row in lines]) for i, c in enumerate(table.columns)]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    heads = zip(table.columns, parts, strict=True)
    writer.writerow(["_row", *(f"{column.key}{part}" for column, some in heads for part in some)])
    for name, row in lines:
        cells = [name]
        for cell, suffixes in zip(row, parts, strict=True):
            texts = {suffix: of(cell) for suffix, of in _PARTS[cell.kind]}
            cells.extend(texts.get(suffix, "") for suffix in suffixes)
        writer.writerow(cells)
    return out.getvalue().encode()


def _column_parts(column: Column, cells: Sequence[Shown]) -> list[str]:
    """Suffixes of the columns that ``column`` becomes, in the order of ``_PARTS``."""
    kinds = {cell.kind for cell in cells}
    suffixes = dict.fromkeys(s for kind in _PARTS if kind in kinds for s, _ in _PARTS[kind])
    if all(not getattr(cell, "unit", "") for cell in cells):
        suffixes.pop("_unit", None)
    return list(suffixes) or [""]


# --- native libraries ----------------------------------------------------------------------


def _weasyprint() -> ModuleType:
    """WeasyPrint, imported when first needed: without its libraries all else still works."""
    try:
        # It prints advice to standard output before it raises, which would break --json.
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module("weasyprint")
    except OSError as missing:
        raise ValidationFailed(
            f"a native library of the PDF renderer does not load ({missing}); on Debian or "
            f"Ubuntu: {MEND}"
        ) from missing


def _only_data() -> Any:
    """A fetcher for which anything but a ``data:`` URI ends the rendering."""
    _weasyprint()
    from weasyprint.urls import URLFetcher

    return URLFetcher(allowed_protocols=("data",), allow_redirects=False, fail_on_errors=True)


_LIBRARIES: dict[str, tuple[tuple[str, ...], str]] = {
    "pango": (("libpango-1.0.so.0", "libpango-1.0.dylib"), "pango_version_string"),
    "harfbuzz": (("libharfbuzz.so.0", "libharfbuzz.0.dylib"), "hb_version_string"),
    "harfbuzz-subset": (
        ("libharfbuzz-subset.so.0", "libharfbuzz-subset.0.dylib"),
        "",
    ),
    "pangoft2": (("libpangoft2-1.0.so.0", "libpangoft2-1.0.dylib"), ""),
    "fontconfig": (("libfontconfig.so.1", "libfontconfig.1.dylib"), "FcGetVersion"),
}


def _library_version(name: str) -> str | None:
    """The version of a native library, "present" if it does not say, None if it is missing."""
    files, function = _LIBRARIES[name]
    for file in files:
        try:
            library = ctypes.CDLL(file)
        except OSError:
            continue
        if not function:
            return "present"
        ask = getattr(library, function)
        if function == "FcGetVersion":
            number = int(ask())
            return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
        ask.restype = ctypes.c_char_p
        return str(ask().decode())
    return None


def native_versions() -> dict[str, str]:
    """What the bytes of a PDF depend on beside the document and the templates."""
    out = {"python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION}
    for name in ("weasyprint", "pydyf", "fonttools", "jinja2", "babel", "matplotlib"):
        out[name] = metadata.version(name)
    for name in ("pango", "harfbuzz", "fontconfig"):
        out[name] = _library_version(name) or "missing"
    return out


@dataclass(frozen=True)
class Check:
    """One thing that rendering needs; ``mend`` says how to get it where ``ok`` is false."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


def check() -> tuple[Check, ...]:
    """For ``doctor``: native libraries, fonts and templates, each with its remedy."""
    out: list[Check] = []
    for name in _LIBRARIES:
        version = _library_version(name)
        out.append(Check(f"library {name}", version is not None, version or "missing", MEND))
    try:
        _weasyprint()
        out.append(Check("WeasyPrint", True, metadata.version("weasyprint")))
    except ValidationFailed as failure:
        out.append(Check("WeasyPrint", False, str(failure), MEND))
    again = "install the package again: a file of it is missing"
    try:
        folder = templates_folder()
        lost = [f.file for f in _FACES if not (folder / "fonts" / f.file).is_file()]
        detail = f"missing: {', '.join(lost)}" if lost else f"{len(_FACES)} vendored faces"
        out.append(Check("fonts", not lost, detail, again))
        out.append(Check("templates", True, f"sha256 {template_digest()[:16]}"))
    except ValidationFailed as failure:
        out.append(Check("templates", False, str(failure), again))
    return tuple(out)
