"""Figures of a report: SVG from a chart of the document, the same bytes for the same chart.

Colours are Okabe and Ito's, which colour-blind readers tell apart, and no meaning rests on colour
alone: what is bad is also hatched, marked or crossed. A missing value is a hatched gap, never
zero. Text stays text, in the fonts of the page.

Bars and lines are drawn by matplotlib on a bare ``Figure`` (pyplot keeps global state and is not
used); timelines, calendars and sparklines are strips of rectangles, written directly since that
is a hundred times faster. Numbers become floats here, for drawing only.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO
from typing import Any
from xml.sax.saxutils import escape, quoteattr
from zoneinfo import ZoneInfo

from ..model import Missing, plain
from ..numerals import numeral
from ..page import (
    BarsChart,
    CalendarCell,
    CalendarChart,
    Chart,
    HeatChart,
    Line,
    LinesChart,
    Point,
    TimelineChart,
    Verdict,
)
from ..spoken import numbers_of, numbers_of_points
from .raster import png

#: Width of every chart in CSS pixels: the text width of an A4 page, so that it prints 1 : 1.
WIDTH = 680
FONTS = "Reporting Sans, Reporting Sans Ext, Reporting Sans Greek"


@dataclass(frozen=True)
class Theme:
    """How figures look: colours, each ``#rrggbb`` and each used for one meaning only, and width."""

    ink: str = "#1b2733"
    muted: str = "#5b6976"
    rule: str = "#d9dfe5"
    paper: str = "#ffffff"
    good: str = "#0072b2"
    bad: str = "#c04a00"
    accent: str = "#1c1c1c"
    second: str = "#b0607f"
    third: str = "#00845f"
    missing: str = "#8d99a5"
    wash: str = "#eef1f4"
    width: int = WIDTH


LIGHT = Theme()
DARK = Theme(
    ink="#e8edf2",
    muted="#a3b0bd",
    rule="#36424e",
    paper="#161c22",
    good="#56b4e9",
    bad="#f0803c",
    accent="#f4f4f4",
    second="#cc79a7",
    third="#2fc598",
    missing="#7d8a97",
    wash="#242d36",
)


def recolour_css(theme: Theme, other: Theme) -> str:
    """Rules that show a figure drawn in ``theme`` in the colours of ``other``.

    Figures carry their colours as attributes, which any style sheet of the page overrides.
    """
    colours = [f.name for f in fields(Theme) if f.name != "width"]
    pairs = [(getattr(theme, name), getattr(other, name)) for name in colours]
    return "\n".join(
        f'svg.figure [{paint}="{old}"] {{ {paint}: {new} }}'
        for old, new in pairs
        for paint in ("fill", "stroke")
    )


def chart_svg(chart: Chart, theme: Theme = LIGHT) -> str:
    """One chart as an ``<svg>`` element whose ids are prefixed with the chart's own id."""
    match chart:
        case BarsChart():
            return _bars(chart, theme)
        case LinesChart():
            return _lines(chart, theme)
        case TimelineChart():
            return _timeline(chart, theme)
        case CalendarChart():
            return _calendar(chart, theme)
        case HeatChart():
            return _heat(chart, theme)


def chart_png(chart: Chart, theme: Theme, scale: float) -> bytes:
    """One chart as PNG, ``scale`` pixels for each CSS pixel, on the theme's paper."""
    return png(chart_svg(chart, theme), scale, theme.paper)


def sparkline_svg(points: Sequence[Point], theme: Theme = LIGHT) -> str:
    """The course of a headline figure, 132 × 30 px: last value dotted, missing days as ticks."""
    width, height, pad = 132.0, 30.0, 4.0
    known = [p.value for p in points if not isinstance(p.value, Missing)]
    if len(points) < 2 or not known:
        return ""
    low, high = float(min(known)), float(max(known))
    spread = high - low or 1.0
    step = (width - 2 * pad) / max(len(points) - 1, 1)

    def at(index: int, value: Decimal) -> tuple[float, float]:
        share = (float(value) - low) / spread if high != low else 0.5
        return pad + index * step, height - pad - share * (height - 2 * pad)

    parts: list[str] = []
    if low < 0 < high:
        _, zero = at(0, Decimal(0))
        parts.append(
            f'<path d="M{pad:g} {zero:.1f}H{width - pad:g}" stroke="{theme.rule}" fill="none"/>'
        )
    run: list[str] = []
    for index, point in enumerate(points):
        if isinstance(point.value, Missing):
            parts.extend(_spark_run(run, theme))
            run = []
            x = pad + index * step
            parts.append(
                f'<path d="M{x:.1f} {pad:g}V{height - pad:g}" stroke="{theme.missing}" '
                f'stroke-width="1.5" stroke-dasharray="1.5 2" fill="none"/>'
            )
        else:
            x, y = at(index, point.value)
            run.append(f"{x:.1f} {y:.1f}")
    parts.extend(_spark_run(run, theme))
    last = max(i for i, p in enumerate(points) if not isinstance(p.value, Missing))
    value = points[last].value
    assert not isinstance(value, Missing)
    x, y = at(last, value)
    parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{theme.good}"/>')
    gaps = len(points) - len(known)
    alt = f"{len(known)} days from {points[0].day} to {points[-1].day}" + (
        f", {gaps} missing" if gaps else ""
    )
    return _svg(width, height, alt, numbers_of_points(points), "".join(parts), extra="spark")


def _spark_run(run: list[str], theme: Theme) -> list[str]:
    """One unbroken stretch of a sparkline; a lone day is a dot, since a line needs two."""
    if not run:
        return []
    if len(run) == 1:
        x, y = run[0].split()
        return [f'<circle cx="{x}" cy="{y}" r="1.4" fill="{theme.good}"/>']
    path = "M" + "L".join(run)
    return [f'<path d="{path}" stroke="{theme.good}" stroke-width="1.6" fill="none"/>']


# --- bars and lines: matplotlib ------------------------------------------------------------


def _bars(chart: BarsChart, theme: Theme) -> str:
    values = chart.bars.values
    starts = [float(s) for s in chart.starts] or [0.0] * len(values)
    with _figure(chart.id, theme) as (figure, axes):
        here = [(i, float(v)) for i, v in enumerate(values) if v is not None]
        for colour, some in (
            (theme.good, [(i, v) for i, v in here if v >= 0]),
            (theme.bad, [(i, v) for i, v in here if v < 0]),
        ):
            axes.bar(
                [i for i, _ in some],
                [v for _, v in some],
                bottom=[starts[i] for i, _ in some],
                width=min(0.72, 56 * len(values) / (theme.width - 66)),
                color=colour,
                linewidth=0,
            )
        _draw_lines(axes, chart.lines, theme)
        if chart.starts:
            _draw_steps(axes, here, starts, theme)
        axes.axhline(0, color=theme.ink, linewidth=0.8)
        missing = [i for i, v in enumerate(values) if v is None]
        legend = _legend_bars(chart, theme, bool(missing))
        return _finish(figure, axes, chart, chart.labels, missing, legend, theme)


def _draw_steps(
    axes: Any, here: Sequence[tuple[int, float]], starts: Sequence[float], theme: Theme
) -> None:
    """What leads from the end of each bar of a waterfall to the next, and room for its number."""
    for (i, v), (j, _) in itertools.pairwise(here):
        axes.plot([i, j], [starts[i] + v] * 2, color=theme.muted, linewidth=0.8)
    axes.use_sticky_edges = False  # else no room is left where a bar begins or ends
    axes.margins(y=0.14)


def _amounts(axes: Any, chart: BarsChart, theme: Theme) -> str:
    """The number of each bar of a waterfall, above it or, where it leads down, below."""
    out = ""
    for index, (start, value) in enumerate(zip(chart.starts, chart.bars.values, strict=True)):
        if value is not None:
            _, y = axes.transData.transform((index, float(start) + float(value)))
            words = tick_words(float(f"{float(value):.3g}"))
            below = 12 if value < 0 else -4
            x, _ = axes.transData.transform((index, 0))
            out += _text(x, _HEIGHT - y + below, words, theme.ink, size=10, anchor="middle")
    return out


def _lines(chart: LinesChart, theme: Theme) -> str:
    below = _PANEL + _BETWEEN if chart.below else 0
    with _figure(chart.id, theme, below) as (figure, axes):
        _draw_lines(axes, [_floored(line, chart.floor) for line in chart.lines], theme)
        if any(v is not None and v < 0 for line in chart.lines for v in line.values):
            axes.axhline(0, color=theme.ink, linewidth=0.8)
        first = chart.lines[0].values if chart.lines else ()
        _mark_exceptions(axes, chart, first, theme)
        # A gap in the first line is what the reader asks about; the others break visibly.
        missing = [i for i, v in enumerate(first) if v is None]
        legend = _legend_lines(chart.lines, theme)
        panel = _panel(figure, chart.below, theme) if chart.below else None
        if chart.below:
            box = f'<path d="M0 -5H14V5H0z" fill="{theme.bad}" fill-opacity="0.55"/>'
            legend.append((box, chart.below.label))
        if chart.marked:
            symbol = '<path d="M7 -5L12 0L7 5L2 0z" fill="none" stroke="{0}" stroke-width="2"/>'
            legend.append((symbol.format(theme.bad), chart.marked_label or "exception"))
        if missing and len(missing) < len(first):
            legend.append((_missing_key(theme), "missing"))
        return _finish(figure, axes, chart, chart.labels, missing, legend, theme, panel)


def _mark_exceptions(
    axes: Any, chart: LinesChart, first: Sequence[Decimal | None], theme: Theme
) -> None:
    marked = [(i, first[i]) for i in chart.marked if i < len(first) and first[i] is not None]
    if marked:
        axes.plot(
            [i for i, _ in marked],
            [float(v) for _, v in marked if v is not None],
            linestyle="none",
            marker="D",
            markersize=9,
            markerfacecolor="none",
            markeredgecolor=theme.bad,
            markeredgewidth=2,
            zorder=5,
        )


def _floored(line: Line, floor: Decimal | None) -> Line:
    """What lies under the floor is drawn on it: a line that fell off the page would say nothing."""
    if floor is None:
        return line
    values = tuple(None if v is None else max(v, floor) for v in line.values)
    return line.model_copy(update={"values": values})


def _panel(figure: Any, line: Line, theme: Theme) -> Any:
    """A line under 0 as an area that hangs from it, in its own axes at the figure's bottom."""
    axes = _axes(figure, _BOTTOM, _PANEL, theme)
    values = [float("nan") if v is None else float(v) for v in line.values]
    axes.fill_between(
        range(len(values)), values, 0, color=theme.bad, alpha=0.55, linewidth=0, interpolate=False
    )
    axes.plot(range(len(values)), values, color=theme.bad, linewidth=1.1)
    axes.axhline(0, color=theme.ink, linewidth=0.8)
    axes.set_xlim(-0.6, max(len(values), 1) - 0.4)
    axes.set_ylim(top=0)
    return axes


#: Dash pattern and marker of the n-th line, so that greyscale keeps them apart.
_STROKES = (("-", "o"), ((0, (5, 2)), "s"), ((0, (1.5, 1.5)), "^"), ((0, (6, 2, 1, 2)), "v"))
_DASHES = ("", "5 2", "1.5 1.5", "6 2 1 2")


def _colours(theme: Theme) -> tuple[str, ...]:
    return theme.accent, theme.second, theme.third, theme.muted


def _draw_lines(axes: Any, lines: Sequence[Line], theme: Theme) -> None:
    for index, line in enumerate(lines):
        dash, marker = _STROKES[index % len(_STROKES)]
        values = [float("nan") if v is None else float(v) for v in line.values]
        axes.plot(
            range(len(values)),
            values,
            color=_colours(theme)[index % 4],
            linestyle=dash,
            linewidth=1.6,
            # Few points get markers, and so does a lone day between two gaps.
            marker=marker if len(values) <= 32 else "",
            markersize=3.2,
            markeredgewidth=0,
        )


@contextmanager
def _figure(salt: str, theme: Theme, below: int = 0) -> Iterator[tuple[Any, Any]]:
    """A matplotlib figure and its axes, under settings that depend on nothing outside this file.

    ``below`` is room under the axes for another panel, in pixels.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # The defaults, since a matplotlibrc in the home or working folder would change the drawing.
    settings: dict[Any, Any] = {
        k: v for k, v in matplotlib.rcParamsDefault.items() if k.startswith(_SETTINGS)
    }
    settings |= {"svg.hashsalt": salt, "svg.fonttype": "none", "path.simplify": False}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(theme.width / 72, (_HEIGHT + below) / 72), dpi=72)
        FigureCanvasSVG(figure)
        yield figure, _axes(figure, _BOTTOM + below, _HEIGHT - _BOTTOM - _TOP, theme)


def _axes(figure: Any, bottom: float, height: float, theme: Theme) -> Any:
    """Bare axes over the figure's width, ``bottom`` and ``height`` in pixels."""
    whole = figure.get_figheight() * 72
    axes = figure.add_axes(
        (
            _LEFT / theme.width,
            bottom / whole,
            (theme.width - _LEFT - _RIGHT) / theme.width,
            height / whole,
        )
    )
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=theme.rule, linewidth=0.8)
    for spine in axes.spines.values():
        spine.set_visible(False)
    # Its text would be laid out with whatever fonts the machine has: we write our own.
    axes.tick_params(length=0, labelbottom=False, labelleft=False)
    return axes


_SETTINGS = ("axes.", "figure.", "grid.", "lines.", "patch.", "path.", "svg.", "xtick.", "ytick.")
_HEIGHT = 208
_LEFT, _RIGHT, _BOTTOM, _TOP = 58, 8, 26, 30
#: A panel under the others' axis, and what it adds to a figure's height.
_PANEL, _BETWEEN = 60, 14


def _finish(
    figure: Any,
    axes: Any,
    chart: BarsChart | LinesChart,
    labels: Sequence[str],
    missing: Sequence[int],
    legend: Sequence[tuple[str, str]],
    theme: Theme,
    panel: Any = None,
) -> str:
    """Ticks, gaps and legend; then the SVG with our own text, ids and attributes."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    count = max(len(labels), 1)
    axes.set_xlim(-0.6, count - 0.4)
    short = _short_labels(labels)
    room = max((len(label) for label in short), default=1) * 6.2 + 8
    step = max(1, -(-count * int(room) // (theme.width - 66)))
    if step > 1 and not all(map(_is_day, labels)):
        # Names, unlike days, can't be left out: they are shortened to what fits.
        fit = max(4, int((theme.width - 66) / count / 6.2))
        short = [s if len(s) <= fit else s[: fit - 1] + "…" for s in short]
        step = 1
    height = figure.get_figheight() * 72
    ticks = ""
    for part, most in ((axes, 5), *([(panel, 3)] if panel else [])):
        part.xaxis.set_major_locator(NullLocator())
        part.yaxis.set_major_locator(MaxNLocator(most))
        ticks += _gaps(part, missing, height, theme)
    for index in range(0, count if labels else 0, step):
        x, _ = axes.transData.transform((index, 0))
        ticks += _text(x, height - 10, short[index], theme.muted, size=10, anchor="middle")
    if isinstance(chart, BarsChart):
        ticks += _amounts(axes, chart, theme) if chart.starts else ""
    for part in (axes, *([panel] if panel else [])):
        low, high = part.get_ylim()
        for value in part.yaxis.get_majorticklocs():
            if low <= value <= high:
                _, y = part.transData.transform((0, value))
                words = tick_words(float(value))
                ticks += _text(52, height - y + 3.5, words, theme.muted, size=10, anchor="end")

    out = StringIO()
    figure.canvas.print_svg(
        out, metadata={"Date": None, "Creator": None, "Type": None, "Format": None}
    )
    body = ticks + _own(out.getvalue(), chart.id) + _legend(legend, chart.unit, theme)
    return _svg(theme.width, height, chart.alt or chart.title, numbers_of(chart), body)


def _gaps(axes: Any, missing: Sequence[int], whole: float, theme: Theme) -> str:
    """Hatched columns where there is no value, in the coordinates that the axes settled on.

    Matplotlib's own hatch is a tiled pattern, whose seams show in print.
    """
    out = []
    low, high = axes.get_ylim()
    for index in missing:
        (left, bottom), (right, top) = axes.transData.transform(
            [(index - 0.36, low), (index + 0.36, high)]
        )
        x, y, width, height = left, whole - top, right - left, top - bottom
        out.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="{theme.wash}"/>'
        )
        out.append(_strokes(x, y, width, height, theme.missing, 7))
    return "".join(out)


def _own(svg: str, prefix: str) -> str:
    """Matplotlib's drawing as the inside of our ``<svg>``.

    Its style sheet would apply to the whole page that the figure stands in, and its inline styles
    would win over the page's dark colours: both become attributes. Ids get the chart's prefix.
    """
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.S)
    body = re.sub(r' style="([^"]*)"', lambda m: _attributes(m[1]), body)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    name = re.sub(r"[^A-Za-z0-9_-]", "-", prefix)
    body = re.sub(r'(<(?:path|clipPath)\b[^>]*?) id="', rf'\1 id="{name}-', body)
    body = body.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    return re.sub(r"\s*\n\s*", " ", body)


def _attributes(style: str) -> str:
    out = []
    for part in style.split(";"):
        key, _, value = part.strip().partition(": ")
        if key and value:
            out.append(f'{key}="{value}"')
    return " " + " ".join(out) if out else ""


def _legend_bars(chart: BarsChart, theme: Theme, missing: bool) -> list[tuple[str, str]]:
    box = '<path d="M0 -5H14V5H0z" fill="{0}"/>'
    values = [v for v in chart.bars.values if v is not None]
    negative, label = any(v < 0 for v in values), chart.bars.label
    positive = any(v >= 0 for v in values) or not negative
    legend = []
    if positive:
        legend.append((box.format(theme.good), "gain" if chart.starts else label))
    if negative:
        words = f"{label}, negative" if positive else label
        if chart.starts:
            words = "loss or cost"
        legend.append((box.format(theme.bad), words))
    legend += _legend_lines(chart.lines, theme)
    if missing:
        legend.append((_missing_key(theme), "missing"))
    return legend


def _legend_lines(lines: Sequence[Line], theme: Theme) -> list[tuple[str, str]]:
    out = []
    for index, line in enumerate(lines):
        colour, dash = _colours(theme)[index % 4], _DASHES[index % 4] or "none"
        key = f'<path d="M0 0H18" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dash}"/>'
        out.append((key, line.label))
    return out


def _missing_key(theme: Theme) -> str:
    box = f'<path d="M0 -6H14V6H0z" fill="{theme.wash}"/>'
    return box + _strokes(0, -6, 14, 12, theme.missing, 5)


def _legend(entries: Sequence[tuple[str, str]], unit: str, theme: Theme) -> str:
    """The unit above the axis, then a row of keys; long labels are shortened until all fit."""
    out = [_text(0, 11, unit, theme.muted, size=10)]
    x = max(58.0, 5.9 * len(unit) + 16)
    room = (theme.width - x - 39 * len(entries)) / 5.9
    most = max((len(label) for _, label in entries), default=0)
    while most > 8 and sum(min(len(label), most) for _, label in entries) > room:
        most -= 1
    for symbol, label in entries:
        out.append(f'<g transform="translate({x:g} 8)">{symbol}</g>')
        label = label if len(label) <= most else label[: most - 1] + "…"
        out.append(_text(x + 23, 11.5, label, theme.ink, size=10))
        x += 23 + 5.9 * len(label) + 16
    return "".join(out)


def tick_words(value: float) -> str:
    """A tick of an axis: 1.5 M, 20 k, −300, 0.25."""
    size = abs(value)
    for limit, name in ((1e9, " bn"), (1e6, " M"), (1e3, " k")):
        if size >= limit:
            return numeral(f"{value / limit:.6g}".replace("-", "−")) + name
    return numeral(f"{0.0 if size < 1e-12 else value:.6g}".replace("-", "−"))


def _is_day(label: str) -> bool:
    return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", label))


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _short_labels(labels: Sequence[str]) -> list[str]:
    """Days as "5 Dec"; other labels as they are."""
    if not labels or not all(map(_is_day, labels)):
        return list(labels)
    days = [date.fromisoformat(label) for label in labels]
    return [f"{d.day} {_MONTHS[d.month - 1]}" for d in days]


# --- strips: written directly --------------------------------------------------------------


def _name_width(theme: Theme) -> int:
    """Room for the names at the left of a strip."""
    return min(150, theme.width // 4)


def _timeline(chart: TimelineChart, theme: Theme) -> str:
    """A row for each target; up is a thin rail, so that down and unknown stand out."""
    row, top = 22, 30
    height = top + row * len(chart.rows) + 24
    left, right = _name_width(theme), theme.width - 8
    length = max(chart.end_ms - chart.start_ms, 1)

    def x(ms: int) -> float:
        inside = min(max(ms, chart.start_ms), chart.end_ms)
        return left + (inside - chart.start_ms) / length * (right - left)

    out: list[str] = []
    bottom = top + row * len(chart.rows)
    for ms, label in _hours(chart, right - left):
        out.append(f'<path d="M{x(ms):.1f} {top}V{bottom + 3}" stroke="{theme.rule}" fill="none"/>')
        anchor = "middle" if x(ms) < right - 14 else "end"
        out.append(_text(x(ms), bottom + 16, label, theme.muted, size=10, anchor=anchor))
    for index, target in enumerate(chart.rows):
        y = top + row * index
        out.append(_text(0, y + 14, _fit(target.label, left - 10), theme.ink, size=10.5))
        for span in target.spans:
            start, end = x(span.start_ms), x(span.end_ms)
            out.append(_state(span.state, start, y + 3, max(end - start, 0.0), 15, theme))
    states = {span.state for target in chart.rows for span in target.spans}
    keys = [
        (_state(state, 0, -6, 18, 12, theme), name)
        for state, name in zip(("up", "down", "unknown"), chart.states, strict=True)
        if state in states
    ]
    out.append(_legend(keys, f"{chart.zone} time", theme))
    return _svg(theme.width, height, chart.alt or chart.title, numbers_of(chart), "".join(out))


def _state(state: str, x: float, y: float, width: float, height: float, theme: Theme) -> str:
    """A stretch of one state, at least 2 px wide where something was wrong: never invisible."""
    if state == "up":
        rail = height * 0.36
        return (
            f'<rect x="{x:.1f}" y="{y + (height - rail) / 2:.1f}" width="{width:.1f}" '
            f'height="{rail:.1f}" fill="{theme.good}"/>'
        )
    width = max(width, 2.0)
    if state == "down":
        box = (
            f'<rect x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height:g}" '
            f'fill="{theme.bad}"/>'
        )
        return box + _strokes(x, y, width, height, theme.paper, 7)
    box = (
        f'<rect x="{x:.1f}" y="{y + 0.5:g}" width="{width:.1f}" height="{height - 1:g}" '
        f'fill="{theme.wash}" stroke="{theme.missing}" stroke-dasharray="2 2"/>'
    )
    return box + _strokes(x, y, width, height, theme.missing, 5)


def _strokes(x: float, y: float, width: float, height: float, colour: str, gap: float) -> str:
    """Diagonal hatching as one path: plain strokes print alike everywhere, patterns do not."""
    parts = []
    at = gap - height
    while at < width:
        begin, end = max(at, 0.0), min(at + height, width)
        if end - begin > 0.5:
            parts.append(
                f"M{x + begin:.1f} {y + height - (begin - at):.1f}"
                f"L{x + end:.1f} {y + height - (end - at):.1f}"
            )
        at += gap
    if not parts:
        return ""
    return f'<path d="{"".join(parts)}" stroke="{colour}" stroke-width="1" fill="none"/>'


def _hours(chart: TimelineChart, room: float) -> list[tuple[int, str]]:
    """Ticks on whole local hours or days, one for each 65 pixels of ``room`` at most."""
    zone = ZoneInfo(chart.zone)
    length = chart.end_ms - chart.start_ms
    if length <= 0:
        return []
    hour = 3_600_000
    step = next(
        (h for h in (1, 2, 3, 4, 6, 12, 24, 48, 96, 168) if length <= h * hour * (room // 65)), 720
    )
    out = []
    at = -(-chart.start_ms // hour) * hour
    while at <= chart.end_ms:
        local = datetime.fromtimestamp(at // 1000, UTC).astimezone(zone)
        if step < 24 and local.hour % step == 0 and not local.minute:
            out.append((at, f"{local:%H:%M}"))
        elif step >= 24 and local.hour == 0:
            out.append((at, f"{local.day} {_MONTHS[local.month - 1]}"))
        at += hour
    if step >= 24:
        out = out[:: step // 24]
    return out


def _calendar(chart: CalendarChart, theme: Theme) -> str:
    """A cell for each day and target: filled is met, crossed is missed, hatched is unknown."""
    days = sorted({cell.day for row in chart.rows for cell in row.cells})
    left, top, row = _name_width(theme), 46, 24
    cell = min(24.0, (theme.width - left - 4) / max(len(days), 1))
    height = top + row * len(chart.rows) + 4
    place = {day: left + index * cell for index, day in enumerate(days)}
    out: list[str] = []
    for index, day in enumerate(days):
        weekend = day.weekday() >= 5
        if cell >= 13 or index % 2 == 0:
            out.append(
                _text(
                    place[day] + cell / 2,
                    top - 6,
                    str(day.day),
                    theme.muted if weekend else theme.ink,
                    size=9,
                    anchor="middle",
                )
            )
    for index, target in enumerate(chart.rows):
        y = top + row * index
        out.append(_text(0, y + 14.5, _fit(target.label, left - 10), theme.ink, size=10.5))
        for one in target.cells:
            out.append(_day_cell(one, place[one.day], y, cell - 2, row - 4, theme))
    verdicts = {one.verdict for target in chart.rows for one in target.cells}
    keys = [
        (_cell_mark(verdict, 0, -6, 14, 12, theme), verdict.value)
        for verdict in (Verdict.MET, Verdict.MISSED, Verdict.UNKNOWN)
        if verdict in verdicts
    ]
    unit = f"{_MONTHS[days[0].month - 1]} {days[0].year}" if days else ""
    out.append(_legend(keys, unit, theme))
    return _svg(theme.width, height, chart.alt or chart.title, numbers_of(chart), "".join(out))


#: Widest and narrowest cell of a heat map; a narrower one has no room for its number.
_HEAT_CELL = (56.0, 17.0)


def _heat(chart: HeatChart, theme: Theme) -> str:
    """A cell for each pair: the deeper the colour the higher the share; the number stands in it."""
    left, top, row = _name_width(theme), 46, 24
    widest, narrowest = _HEAT_CELL
    cell = min(widest, max(narrowest, (theme.width - left - 4) / max(len(chart.labels), 1)))
    height = top + row * len(chart.rows) + 4
    out: list[str] = []
    for index, label in enumerate(chart.labels):
        x = left + index * cell + (cell - 2) / 2
        words = _fit(label, max(cell, 12.0))
        out.append(_text(x, top - 6, words, theme.muted, size=9, anchor="middle"))
    for index, line in enumerate(chart.rows):
        y = top + row * index
        out.append(_text(0, y + 14.5, _fit(line.label, left - 10), theme.ink, size=10.5))
        for at, value in enumerate(line.values):
            words = f"{line.label}, {chart.labels[at]}: "
            words += "none" if value is None else f"{numeral(plain(value))} {chart.unit}"
            mark = _heat_cell(value, left + at * cell, y, cell - 2, row - 4, theme)
            out.append(f"<g>{_title(words)}{mark}</g>")
    keys = [(_heat_cell(None, 0, -6, 14, 12, theme), "none")]
    gaps = any(value is None for line in chart.rows for value in line.values)
    out.append(_legend(keys if gaps else [], chart.unit, theme))
    return _svg(theme.width, height, chart.alt or chart.title, numbers_of(chart), "".join(out))


def _heat_cell(
    value: Decimal | None, x: float, y: float, width: float, height: float, theme: Theme
) -> str:
    box = f'x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height:g}" rx="1.5"'
    if value is None:
        return f'<rect {box} fill="{theme.wash}"/>' + _strokes(
            x, y, width, height, theme.missing, 5
        )
    share = min(max(float(value) / 100, 0.0), 1.0)
    # Never deeper than the number can be read on, in either set of colours.
    tint = f'<rect {box} fill="{theme.good}" fill-opacity="{0.06 + 0.44 * share:.2f}"/>'
    return tint + _text(
        x + width / 2, y + 13.5, f"{float(value):.0f}", theme.ink, size=8.5, anchor="middle"
    )


def _day_cell(
    cell: CalendarCell, x: float, y: float, width: float, height: float, theme: Theme
) -> str:
    mark = _cell_mark(cell.verdict, x, y, width, height, theme)
    return f"<g>{_title(f'{cell.day}: {_cell_words(cell)}')}{mark}</g>"


def _cell_words(cell: CalendarCell) -> str:
    if cell.low_pct is None or cell.high_pct is None:
        return f"{cell.verdict.value}, not measured"
    low, high = numeral(plain(cell.low_pct)), numeral(plain(cell.high_pct))
    return f"{cell.verdict.value}, {low} %" if low == high else f"{cell.verdict}, {low} – {high} %"


def _cell_mark(
    verdict: Verdict, x: float, y: float, width: float, height: float, theme: Theme
) -> str:
    fill = {
        Verdict.MET: theme.good,
        Verdict.MISSED: theme.bad,
        Verdict.UNKNOWN: theme.wash,
    }[verdict]
    box = (
        f'<rect x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height:g}" rx="1.5" '
        f'fill="{fill}"/>'
    )
    if verdict is Verdict.MISSED:
        r = min(width, height) / 2 - 3
        cx, cy = x + width / 2, y + height / 2
        return box + (
            f'<path d="M{cx - r:.1f} {cy - r:.1f}L{cx + r:.1f} {cy + r:.1f}'
            f'M{cx - r:.1f} {cy + r:.1f}L{cx + r:.1f} {cy - r:.1f}" '
            f'stroke="{theme.paper}" stroke-width="2" fill="none"/>'
        )
    if verdict is Verdict.UNKNOWN:
        return box + _strokes(x, y, width, height, theme.missing, 5)
    return box


def _fit(label: str, width: float) -> str:
    room = int(width / 5.8)
    return label if len(label) <= room else label[: room - 1] + "…"


# --- elements ------------------------------------------------------------------------------


def _svg(
    width: float, height: float, alt: str, numbers: str, body: str, extra: str = "chart"
) -> str:
    """A figure; ``alt`` shows when pointed at, ``numbers`` are for who can't see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="figure {extra}" role="img" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'aria-label={quoteattr(alt)} stroke-linejoin="round">{_title(alt)}'
        f"<desc>{escape(numbers)}</desc>{body}</svg>"
    )


def _title(words: str) -> str:
    return f"<title>{escape(words)}</title>"


def _text(
    x: float, y: float, words: str, colour: str, *, size: float, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:g}" font-size="{size:g}" font-family="{FONTS}" '
        f'fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'
    )
