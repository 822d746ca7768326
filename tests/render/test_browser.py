"""The issued page in a real browser: at every width, light and dark, nothing scrolls or fades away.

The page itself runs no script; it is looked at from the page around it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
WIDTHS = (360, 768, 1600)
#: WCAG 2.2, 1.4.3: at least this contrast for text.
CONTRAST = 4.5

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

_LOOK = """<!doctype html><meta charset="utf-8"><pre id="found"></pre>
<iframe id="page" style="border:0;height:900px"></iframe>
<script>
const frame = document.getElementById("page"), widths = WIDTHS, found = {};
const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
const light = (c) => rgb(c).slice(0, 3).map((x) => x / 255)
  .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
  .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
function behind(element, style) {
  for (let e = element; e; e = e.parentElement) {
    const c = rgb(style(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return style(e).backgroundColor;
  }
  return "rgb(255, 255, 255)";
}
function look(width) {
  const page = frame.contentDocument, view = frame.contentWindow;
  const style = (e) => view.getComputedStyle(e);
  const faint = new Set();
  for (const e of page.body.querySelectorAll("*")) {
    const words = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!words || !e.getClientRects().length) continue;
    const svg = e.namespaceURI.endsWith("svg");
    const [a, b] = [svg ? style(e).fill : style(e).color, behind(e, style)].map(light);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < CONTRAST) faint.add(`${e.tagName}.${e.getAttribute("class")} ` +
      `${ratio.toFixed(2)}`);
  }
  const out = [...page.body.querySelectorAll("*")].filter((e) =>
    e.getBoundingClientRect().right > width + 0.5 && !e.closest(".scroll")).map((e) => e.tagName);
  const cut = [...page.querySelectorAll("svg text")].filter((t) => {
    const box = t.getBoundingClientRect(), whole = t.closest("svg").getBoundingClientRect();
    return box.width && (box.right > whole.right + 1 || box.left < whole.left - 1);
  }).map((t) => t.textContent);
  found[width] = { scroll: page.documentElement.scrollWidth, out, cut, faint: [...faint],
    paper: style(page.body).backgroundColor, height: page.documentElement.scrollHeight };
}
function next() {
  const width = widths.shift();
  if (!width) {
    document.getElementById("found").textContent = JSON.stringify(found);
    return;
  }
  frame.onload = () => { look(width); next(); };
  frame.style.width = width + "px";
  frame.src = "report.html?" + width;
}
next();
</script>"""


def looked_at(html: str, folder: Path, *, dark: bool = False) -> dict[str, Any]:
    """What the browser made of the page, by width."""
    assert BROWSER is not None
    (folder / "report.html").write_text(html, "utf-8")
    script = _LOOK.replace("WIDTHS", json.dumps(WIDTHS)).replace("CONTRAST", str(CONTRAST))
    (folder / "look.html").write_text(script, "utf-8")
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--virtual-time-budget=20000", "--dump-dom", (folder / "look.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert match and match[1], done.stderr[-2000:]
    found: dict[str, Any] = json.loads(unescape(match[1]))
    return found


@pytest.fixture(scope="module")
def light(html: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return looked_at(html, tmp_path_factory.mktemp("light"))


@pytest.fixture(scope="module")
def dark(html: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return looked_at(html, tmp_path_factory.mktemp("dark"), dark=True)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_never_scrolls_sideways(width: int, light: dict[str, Any]) -> None:
    found = light[str(width)]
    assert found["scroll"] <= width
    assert found["out"] == []
    assert found["height"] > 3000  # it was there at all


@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_of_a_chart_is_cut_off(width: int, light: dict[str, Any]) -> None:
    assert light[str(width)]["cut"] == []


def test_every_word_stands_out_light_and_dark(light: dict[str, Any], dark: dict[str, Any]) -> None:
    assert light["1600"]["paper"] == "rgb(255, 255, 255)"
    assert dark["1600"]["paper"] == "rgb(22, 28, 34)"
    for found in (light, dark):
        assert found["360"]["faint"] == []
        assert found["1600"]["faint"] == []


@pytest.mark.parametrize(
    ("what", "was", "now"),
    [
        ("scroll", ".scroll { overflow-x: auto; }", ".scroll { overflow-x: visible; }"),
        ("out", "overflow-wrap: anywhere; }", "overflow-wrap: normal; white-space: nowrap; }"),
        ("faint", "--muted: #5b6976", "--muted: #a9b4be"),
        ("cut", 'font-size="10"', 'font-size="40"'),
    ],
)
def test_a_fault_shows(what: str, was: str, now: str, html: str, tmp_path: Path) -> None:
    """The look from outside is able to see what it looks for."""
    assert was in html
    found = looked_at(html.replace(was, now), tmp_path)["360"]
    assert found["scroll"] > 360 if what == "scroll" else found[what]
