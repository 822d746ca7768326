"""Our own figures as PNG, for readers that draw no SVG: mail clients.

What is read is the SVG that this package writes and nothing else: rectangles, paths of straight
lines and Bézier curves, text, ``<use>`` and moved groups. Anything else raises, so that no new
shape is lost on the way. Text is drawn from the outlines of the vendored fonts, since a system's
own would be another one on each machine.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

from ..resources import resource

#: The faces that a letter is looked for in, in this order.
_FACES = ("latin", "latin-ext", "greek")
#: Drawn for a letter that no face has.
_UNKNOWN = "□", "?"
#: Few colours and their shades: a palette of this size is a third of the file and looks the same.
_PALETTE = 96
_INHERITED = ("fill", "fill-opacity", "stroke", "stroke-width", "clip-path")


def png(svg: str, scale: float, paper: str) -> bytes:
    """``svg`` on ``paper`` (#rrggbb), ``scale`` pixels for each of its units; the same bytes for
    the same figure. Raises :class:`ValueError` for a shape that is none of ours.
    """
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.transforms import Affine2D
    from PIL import Image

    root = ElementTree.fromstring(svg)
    width, height = (round(float(root.attrib[side]) * scale) for side in ("width", "height"))
    renderer: Any = RendererAgg(width, height, 72)  # type: ignore[no-untyped-call]
    painter = _Painter(renderer, Affine2D().scale(scale, -scale).translate(0, height), scale)
    painter.known = {e.attrib["id"]: e for e in root.iter() if "id" in e.attrib}
    painter.rectangle({"fill": paper}, 0.0, 0.0, width / scale, height / scale)
    for child in root:
        painter.paint(child, {}, 0.0, 0.0)
    picture = Image.frombuffer("RGBA", (width, height), bytes(renderer.buffer_rgba()))
    out = io.BytesIO()
    few = picture.convert("RGB").quantize(_PALETTE, dither=Image.Dither.NONE)
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


class _Painter:
    """Draws one element after the other; ``known`` are those that others refer to."""

    known: Mapping[str, ElementTree.Element]

    def __init__(self, renderer: Any, place: Any, scale: float) -> None:
        self._renderer, self._place, self._scale = renderer, place, scale

    def paint(
        self, element: ElementTree.Element, above: Mapping[str, str], dx: float, dy: float
    ) -> None:
        """One element and what is in it, moved by ``dx`` and ``dy``."""
        name = element.tag.rpartition("}")[2]
        own = {key: element.attrib[key] for key in _INHERITED if key in element.attrib}
        style = {**above, **own, "stroke-dasharray": element.get("stroke-dasharray", "none")}
        match name:
            case "title" | "desc" | "defs" | "clipPath":
                pass
            case "g":
                moved = re.fullmatch(
                    r"translate\((\S+) (\S+)\)", element.get("transform", "translate(0 0)")
                )
                if moved is None:
                    raise ValueError(f"a group of a figure is moved by {element.get('transform')}")
                for child in element:
                    self.paint(child, style, dx + float(moved[1]), dy + float(moved[2]))
            case "use":
                used = self.known[element.attrib["href"].removeprefix("#")]
                self.paint(used, style, dx + _at(element, "x"), dy + _at(element, "y"))
            case "path":
                self._draw(style, _path(element.attrib["d"]), dx, dy)
            case "rect":
                x, y, width, height = (_at(element, k) for k in ("x", "y", "width", "height"))
                self.rectangle(style, x + dx, y + dy, width, height)
            case "text":
                self._text(element, style, dx, dy)
            case _:
                raise ValueError(f"a figure has a <{name}>, which can't be made a picture of")

    def rectangle(
        self,
        style: Mapping[str, str],
        x: float,
        y: float,
        width: float,
        height: float,
    ) -> None:
        """An upright rectangle."""
        self._draw(style, _path(f"M{x} {y}h{width}v{height}h{-width}z"), 0.0, 0.0)

    def _text(
        self, element: ElementTree.Element, style: Mapping[str, str], dx: float, dy: float
    ) -> None:
        size = float(element.attrib["font-size"])
        glyphs = [_glyph(letter) for letter in element.text or ""]
        length = sum(advance for _, advance in glyphs) * size
        share = {"start": 0.0, "middle": 0.5, "end": 1.0}[element.get("text-anchor", "start")]
        x = dx + _at(element, "x") - share * length
        for outline, advance in glyphs:
            if outline is not None:
                grown = outline.transformed(_scaled(size))
                self._draw(style, grown, x, dy + _at(element, "y"))
            x += advance * size

    def _draw(self, style: Mapping[str, str], path: Any, dx: float, dy: float) -> None:
        from matplotlib.colors import to_rgba
        from matplotlib.transforms import Affine2D

        context = self._renderer.new_gc()
        fill, stroke = style.get("fill", "#000000"), style.get("stroke", "none")
        face = None
        if fill != "none":
            face = to_rgba(fill, float(style.get("fill-opacity", "1")))
        context.set_linewidth(0)
        if stroke != "none":
            context.set_foreground(to_rgba(stroke), isRGBA=True)
            context.set_linewidth(float(style.get("stroke-width", "1")) * self._scale)
            context.set_joinstyle("round")
            context.set_capstyle("butt")
            if style["stroke-dasharray"] != "none":
                parts = [float(n) for n in re.split(r"[ ,]+", style["stroke-dasharray"])]
                context.set_dashes(0, [part * self._scale for part in parts])
        clip = style.get("clip-path", "")
        if clip:
            (box,) = self.known[clip.removeprefix("url(#").removesuffix(")")]
            left, top, width, height = (_at(box, k) for k in ("x", "y", "width", "height"))
            corners = _path(f"M{left} {top}h{width}v{height}").transformed(self._place)
            context.set_clip_rectangle(corners.get_extents())
        self._renderer.draw_path(context, path, Affine2D().translate(dx, dy) + self._place, face)
        context.restore()


def _at(element: ElementTree.Element, key: str) -> float:
    return float(element.get(key, "0"))


@lru_cache(maxsize=32)
def _scaled(size: float) -> Any:
    from matplotlib.transforms import Affine2D

    return Affine2D().scale(size, -size)


_TOKEN = re.compile(r"[A-Za-z]|-?[\d.]+(?:e-?\d+)?")


def _path(data: str) -> Any:
    """A path as this package and the outlines of fonts write it."""
    from matplotlib.path import Path

    points: list[tuple[float, float]] = []
    codes: list[Any] = []
    command, x, y, start = "", 0.0, 0.0, (0.0, 0.0)
    tokens = _TOKEN.findall(data)
    position = 0

    def number() -> float:
        nonlocal position
        position += 1
        return float(tokens[position - 1])

    while position < len(tokens):
        if tokens[position].isalpha():
            command = tokens[position]
            position += 1
        match command:
            case "M" | "L":
                x, y = number(), number()
                codes.append(Path.MOVETO if command == "M" else Path.LINETO)
                if command == "M":
                    start, command = (x, y), "L"
            case "H" | "h":
                x = number() + (x if command == "h" else 0)
                codes.append(Path.LINETO)
            case "V" | "v":
                y = number() + (y if command == "v" else 0)
                codes.append(Path.LINETO)
            case "C":
                points += [(number(), number()), (number(), number())]
                x, y = number(), number()
                codes += [Path.CURVE4] * 3
            case "Q":
                points.append((number(), number()))
                x, y = number(), number()
                codes += [Path.CURVE3] * 2
            case "z" | "Z":
                x, y = start
                codes.append(Path.CLOSEPOLY)
            case _:
                raise ValueError(f"a path of a figure has {command!r}, which can't be drawn")
        points.append((x, y))
    return Path(points, codes)


@lru_cache(maxsize=1)
def _fonts() -> tuple[tuple[Any, Mapping[int, str], Any, int], ...]:
    """Of each face: the font, its glyphs by code point, their outlines, and units per em."""
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    folder = resource("templates") / "fonts"
    opened = [TTFont(folder / f"inter-{face}-400-normal.woff2", lazy=False) for face in _FACES]
    return tuple((f, f.getBestCmap(), f.getGlyphSet(), f["head"].unitsPerEm) for f in opened)


@lru_cache(maxsize=1024)
def _glyph(letter: str) -> tuple[Any, float]:
    """Outline of a letter at size 1, None for a space, and how far the next one is."""
    from fontTools.pens.svgPathPen import SVGPathPen  # type: ignore[import-untyped]
    from matplotlib.transforms import Affine2D

    for candidate in (letter, *_UNKNOWN):
        for _, names, outlines, units in _fonts():
            if ord(candidate) in names:
                glyph = outlines[names[ord(candidate)]]
                pen = SVGPathPen(outlines)
                glyph.draw(pen)
                data = pen.getCommands()
                outline = _path(data).transformed(Affine2D().scale(1 / units)) if data else None
                return outline, glyph.width / units
    raise ValueError("no vendored font has a question mark")  # they are incomplete
