"""Figures: gaps stay gaps, meaning does not rest on colour, nothing leaks into the page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import fields, replace
from datetime import date
from decimal import Decimal as D
from io import BytesIO
from types import ModuleType

import pytest
from PIL import Image

from reporting import charts
from reporting.charts.raster import png
from reporting.model import Missing, Why
from reporting.page import (
    BarsChart,
    CalendarCell,
    CalendarChart,
    CalendarRow,
    Chart,
    Document,
    HeatChart,
    HeatRow,
    Line,
    LinesChart,
    Point,
    Span,
    TimelineChart,
    TimelineRow,
    Verdict,
)

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def filled(svg: str, colour: str) -> list[ElementTree.Element]:
    """Shapes of ``colour`` that are drawn, without the keys of the legend."""
    root = parsed(svg)
    legend = {id(e) for g in root.iter(f"{SVG}g") if "transform" in g.attrib for e in g.iter()}
    return [e for e in root.iter() if e.get("fill") == colour and id(e) not in legend]


def bars(*values: D | None, labels: tuple[str, ...] = ()) -> BarsChart:
    return BarsChart(
        id="a.b",
        title="t",
        alt="alt",
        unit="USD",
        labels=labels or tuple(f"2025-11-{n + 3:02d}" for n in range(len(values))),
        bars=Line(label="x", values=values),
    )


def test_every_chart_of_the_sample_is_well_formed(monthly: Document) -> None:
    kinds = set()
    for section in monthly.sections:
        for chart in section.charts:
            kinds.add(chart.kind)
            svg = charts.chart_svg(chart)
            root = parsed(svg)
            title = root.find(f"{SVG}title")
            assert title is not None
            assert title.text == chart.alt
            assert "<style" not in svg  # it would apply to the whole page
            assert "style=" not in svg  # it would win over the dark colours
            assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
            assert charts.chart_svg(chart) == svg
    assert kinds == {"bars", "lines", "timeline", "calendar"}


def test_a_missing_bar_is_a_gap_and_not_zero() -> None:
    whole = charts.chart_svg(bars(D(1), D(0), D(2)))
    gap = charts.chart_svg(bars(D(1), None, D(2)))
    assert len(filled(whole, charts.LIGHT.good)) == 3
    assert len(filled(gap, charts.LIGHT.good)) == 2
    assert len(filled(whole, charts.LIGHT.wash)) == 0
    assert len(filled(gap, charts.LIGHT.wash)) == 1
    assert ">missing<" in gap
    assert ">missing<" not in whole


def test_a_line_breaks_where_a_value_is_missing() -> None:
    def moves(*values: D | None) -> int:
        chart = LinesChart(
            id="l",
            title="t",
            alt="a",
            unit="USD",
            labels=tuple(f"2025-11-{n + 3:02d}" for n in range(len(values))),
            lines=(Line(label="x", values=values),),
        )
        svg = charts.chart_svg(chart)
        paths = re.findall(rf'<path d="([^"]*)"[^>]*stroke="{charts.LIGHT.accent}"', svg)
        drawn = max(paths, key=len)
        return drawn.count("M")

    assert moves(D(1), D(2), D(3), D(4)) == 1
    assert moves(D(1), D(2), None, D(3), D(4)) == 2


def test_exceptions_are_marked_where_they_happened(monthly: Document) -> None:
    (chart,) = (c for s in monthly.sections for c in s.charts if isinstance(c, LinesChart))
    assert len(chart.marked) == 1
    svg = charts.chart_svg(chart)
    # A diamond for the exception, and one as its key in the legend.
    assert svg.count(f'stroke="{charts.LIGHT.bad}"') >= 2
    assert ">exception<" in svg


def test_ids_carry_the_charts_own_prefix(monthly: Document) -> None:
    for section in monthly.sections:
        for chart in section.charts:
            for name in re.findall(r' id="([^"]*)"', charts.chart_svg(chart)):
                assert name.startswith(chart.id.replace(".", "-") + "-")


def test_hostile_labels_are_words() -> None:
    names = ("<script>x</script>", "$\\frac{", "a & b", "{{ 1 }}")
    svg = charts.chart_svg(bars(D(1), D(-2), D(3), D(4), labels=names))
    texts = [e.text for e in parsed(svg).iter(f"{SVG}text")]
    assert set(names) <= set(texts)


@pytest.mark.parametrize("count", [0, 1, 2, 31, 366])
def test_any_number_of_days(count: int) -> None:
    days = [date.fromordinal(date(2025, 1, 1).toordinal() + n) for n in range(count)]
    chart = BarsChart(
        id="n",
        title="t",
        alt="a",
        unit="USD",
        labels=tuple(d.isoformat() for d in days),
        bars=Line(label="x", values=tuple(D(n - 3) for n in range(count))),
    )
    labels = list(parsed(charts.chart_svg(chart)).iter(f"{SVG}text"))
    assert len(labels) < 40


def test_bars_of_a_waterfall_begin_where_the_one_before_ended() -> None:
    chart = bars(D(8), D(-3), D(5), labels=("Carried", "Fees", "Net P&L"))
    svg = charts.chart_svg(chart.model_copy(update={"starts": (D(0), D(8), D(0))}))

    def edges(colour: str) -> list[tuple[float, float]]:
        """Top and bottom of each bar, in pixels from above."""
        found = []
        for shape in filled(svg, colour):
            ys = [float(y) for y in re.findall(r"[ML] \S+ (\S+)", shape.attrib["d"])]
            found.append((min(ys), max(ys)))
        return found

    (gain, net), (loss,) = edges(charts.LIGHT.good), edges(charts.LIGHT.bad)
    unit = (gain[1] - gain[0]) / 8
    assert loss[0] == pytest.approx(gain[0], abs=0.01)  # from 8 …
    assert loss[1] == pytest.approx(gain[0] + 3 * unit, abs=0.01)  # … down to 5
    assert net == pytest.approx((loss[1], gain[1]), abs=0.01)  # 5 from 0
    shown = [e.text for e in parsed(svg).iter(f"{SVG}text")]
    assert {"8", "−3", "5", "gain", "loss or cost"} <= set(shown)


def test_all_missing_is_all_hatched() -> None:
    svg = charts.chart_svg(bars(None, None, None))
    assert len(filled(svg, charts.LIGHT.wash)) == 3
    assert not filled(svg, charts.LIGHT.good)


HOUR = 3_600_000


def timeline(*spans: tuple[str, int, int]) -> str:
    return charts.chart_svg(
        TimelineChart(
            id="t",
            title="t",
            alt="a",
            start_ms=0,
            end_ms=24 * HOUR,
            zone="UTC",
            rows=(
                TimelineRow(
                    label="x",
                    spans=tuple(
                        Span.model_validate({"state": s, "start_ms": a, "end_ms": b})
                        for s, a, b in spans
                    ),
                ),
            ),
        )
    )


def test_a_short_outage_stays_visible() -> None:
    svg = timeline(("up", 0, HOUR), ("down", HOUR, HOUR + 1_000), ("up", HOUR + 1_000, 24 * HOUR))
    (down,) = filled(svg, charts.LIGHT.bad)
    # One second of a day is 0.006 px of 522 px.
    assert float(str(down.get("width"))) == 2.0


def test_unknown_is_drawn_as_neither_up_nor_down() -> None:
    svg = timeline(("unknown", 0, 24 * HOUR))
    assert not filled(svg, charts.LIGHT.good)
    assert not filled(svg, charts.LIGHT.bad)
    assert len(filled(svg, charts.LIGHT.wash)) == 1


@pytest.mark.parametrize(("day", "hours"), [("2025-11-02", 25), ("2025-03-09", 23)])
def test_ticks_of_a_day_with_a_change_of_clocks(day: str, hours: int) -> None:
    start = {"2025-11-02": 1_762_056_000_000, "2025-03-09": 1_741_496_400_000}[day]
    svg = charts.chart_svg(
        TimelineChart(
            id="t",
            title="t",
            alt="a",
            start_ms=start,
            end_ms=start + hours * HOUR,
            zone="America/New_York",
            rows=(),
        )
    )
    texts = [e.text for e in parsed(svg).iter(f"{SVG}text")]
    assert texts[0] == "00:00"
    assert "12:00" in texts


def test_a_cell_says_its_verdict_by_shape() -> None:
    def shapes(verdict: Verdict) -> int:
        cell = CalendarCell(day=date(2025, 11, 3), low_pct=None, high_pct=None, verdict=verdict)
        chart: Chart = CalendarChart(
            id="c", title="t", alt="a", rows=(CalendarRow(label="x", cells=(cell,)),)
        )
        return charts.chart_svg(chart).count("<path")

    met, missed, unknown = (shapes(v) for v in (Verdict.MET, Verdict.MISSED, Verdict.UNKNOWN))
    # Each verdict is drawn twice, as a cell and in the legend: bare, crossed, hatched.
    assert (met, missed, unknown) == (0, 2, 2)


def test_a_sparkline_breaks_at_a_missing_day() -> None:
    def points(*values: int | None) -> tuple[Point, ...]:
        return tuple(
            Point(
                day=date(2025, 11, n + 1),
                value=Missing(why=Why.NOT_SEALED) if v is None else D(v),
            )
            for n, v in enumerate(values)
        )

    whole = charts.sparkline_svg(points(1, 2, 3, 4))
    broken = charts.sparkline_svg(points(1, 2, None, 3, 4))
    blue = f'stroke="{charts.LIGHT.good}"'
    assert (whole.count(blue), broken.count(blue)) == (1, 2)
    assert "1 missing" in broken
    assert charts.sparkline_svg(points(None, None)) == ""
    assert charts.sparkline_svg(points(5)) == ""
    assert parsed(charts.sparkline_svg(points(5, 5))) is not None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (1e-17, "0"), (-300, "−300"), (20_000, "20 k"), (1.5e6, "1.5 M"), (2e9, "2 bn")],
)
def test_ticks(value: float, expected: str) -> None:
    assert charts.tick_words(value) == expected


def luminance(colour: str) -> float:
    """Relative luminance of sRGB, WCAG 2.2."""
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [charts.LIGHT, charts.DARK])
def test_figures_stand_out_from_the_paper(theme: charts.Theme) -> None:
    for name in ("ink", "muted", "good", "bad", "accent", "second", "third"):
        pair = sorted((luminance(getattr(theme, name)), luminance(theme.paper)))
        contrast = (pair[1] + 0.05) / (pair[0] + 0.05)
        assert contrast >= (4.5 if name in ("ink", "muted") else 3.0), (name, contrast)


def test_dark_colours_replace_every_light_one(sample: ModuleType) -> None:
    rules = charts.recolour_css(charts.LIGHT, charts.DARK)
    for field in fields(charts.Theme):
        if field.name != "width":
            assert f'[fill="{getattr(charts.LIGHT, field.name)}"]' in rules
    drawn = {
        colour
        for s in sample.document().sections
        for c in s.charts
        for colour in re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', charts.chart_svg(c))
    }
    assert drawn <= {getattr(charts.LIGHT, f.name) for f in fields(charts.Theme)}


def test_long_names_in_a_key_are_shortened_until_all_fit() -> None:
    names = ("Tactical agent: inference time", "Strategic agent: inference time", "Order latency")
    chart = LinesChart(
        id="x",
        title="x",
        alt="x",
        unit="% of target",
        labels=("2025-11-03", "2025-11-04"),
        lines=tuple(Line(label=n, values=(D(1), D(2))) for n in (*names, "target of all of them")),
    )
    words = [t for t in parsed(charts.chart_svg(chart)).iter(f"{SVG}text") if t.text]
    ends = [float(t.attrib["x"]) + 5.9 * len(t.text or "") for t in words if t.get("y") == "11.5"]
    assert len(ends) == 4
    assert max(ends) <= charts.WIDTH
    # Read out, they are whole.
    assert all(name in charts.chart_svg(chart).partition("</desc>")[0] for name in names)


def below(*values: D | None) -> str:
    days = tuple(f"2025-11-{n + 3:02d}" for n in range(len(values)))
    chart = LinesChart(
        id="course",
        title="x",
        alt="x",
        unit="USD",
        labels=days,
        lines=(Line(label="Course", values=values),),
        below=Line(label="Under", values=tuple(None if v is None else v - 5 for v in values)),
    )
    return charts.chart_svg(chart)


def test_a_panel_below_has_its_own_area_scale_and_words() -> None:
    svg = below(D(5), None, D(2), D(1))
    plain = below(D(5), D(4), D(2), D(1))
    assert float(parsed(svg).attrib["height"]) > charts._HEIGHT
    areas = [e for e in parsed(svg).iter() if e.get("fill-opacity") == "0.55"]
    assert len(areas) >= 2  # the key and the area
    assert "Under, USD: 2025-11-03 0; 2025-11-04 not known" in svg
    # A gap is hatched in both panels.
    hatched = len(filled(svg, charts.LIGHT.wash)) - len(filled(plain, charts.LIGHT.wash))
    assert hatched == 2


def test_what_is_deeper_than_the_floor_is_drawn_on_it() -> None:
    def ticks(floor: D | None) -> list[str]:
        chart = LinesChart(
            id="budget",
            title="x",
            alt="x",
            unit="% left",
            labels=("2025-11-03", "2025-11-04"),
            lines=(Line(label="one", values=(D(100), D(-2000))),),
            floor=floor,
        )
        svg = charts.chart_svg(chart)
        assert "2025-11-04 -2000" in svg  # told as it is
        return [t.text or "" for t in parsed(svg).iter(f"{SVG}text") if t.get("x") == "52.0"]

    assert any("2 k" in words for words in ticks(None))
    assert not any("k" in words for words in ticks(D(-100)))


# --- pictures ------------------------------------------------------------------------------


def test_every_kind_of_chart_becomes_a_picture(sample: ModuleType) -> None:
    kinds = {c.kind: c for s in sample.document().sections for c in s.charts}
    row = HeatRow(label="a", values=(D("98.5"), None))
    heat = HeatChart(id="h", title="h", alt="h", unit="%", labels=("9", "10"), rows=(row,))
    for chart in (*kinds.values(), heat):
        narrow = replace(charts.LIGHT, width=300)
        body = charts.chart_png(chart, narrow, 1.5)
        assert body.startswith(b"\x89PNG")
        assert int.from_bytes(body[16:20]) == 450
        assert body == charts.chart_png(chart, narrow, 1.5)
        assert body != charts.chart_png(chart, charts.DARK, 1.5)


def test_a_picture_shows_what_the_figure_says() -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20">'
        '<g transform="translate(10 0)"><rect width="10" height="20" fill="#ff0000"/></g>'
        '<path d="M30 0H40V20H30z" fill="#0000ff"/></svg>'
    )
    drawn = Image.open(BytesIO(png(svg, 2, "#ffffff"))).convert("RGB")
    at = [drawn.getpixel((x, 20)) for x in (10, 30, 50, 70)]
    assert at == [(255, 255, 255), (255, 0, 0), (255, 255, 255), (0, 0, 255)]


@pytest.mark.parametrize(
    "shape", ['<ellipse rx="1"/>', '<path d="M0 0A1 1 0 0 1 2 2"/>', '<g transform="scale(2)"/>']
)
def test_a_shape_that_can_not_be_drawn_is_not_lost(shape: str) -> None:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">{shape}</svg>'
    with pytest.raises(ValueError, match="figure"):
        png(svg, 1, "#ffffff")
