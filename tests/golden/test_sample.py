"""The committed sample reports are what this code makes, to the byte.

Wherever it is not, the failure says which figure changed. If the change is meant: `make sample`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reporting import pipeline, render
from reporting.demo.story import REPORTS
from reporting.page import Document
from reporting.seal import attested

from ..line.site import ROOT, Demo, files_of

SAMPLE = ROOT / "reports" / "sample"
FOLDERS = sorted(path.parent for path in SAMPLE.glob("*/*/r*/facts.json"))
NAMES = [folder.relative_to(SAMPLE).as_posix() for folder in FOLDERS]
MEND = "if this is meant: make sample FORCE=1, look at the difference, and commit it"
#: What differs from run to run: moments and heads of the audit log are recorded, not computed.
RECORDED = {"checkpoint", "version"}

pytestmark = pytest.mark.skipif(not FOLDERS, reason="reports/sample is empty: run `make sample`")


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """Every place where two JSON values differ, in words."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            line
            for key in sorted(before.keys() | after.keys())
            for line in differences(before.get(key), after.get(key), f"{where}.{key}")
        ]
    if isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            return [f"{where}: {len(before)} entries became {len(after)}"]
        return [
            line
            for number, (one, two) in enumerate(zip(before, after, strict=True))
            for line in differences(one, two, f"{where}[{_name(one, number)}]")
        ]
    return [] if before == after else [f"{where}: {before!r} became {after!r}"]


def _name(entry: Any, number: int) -> str:
    """An entry's own name where it has one: a figure is found by its id."""
    if isinstance(entry, dict):
        return str(entry.get("id") or entry.get("figure") or entry.get("day") or number)
    return str(number)


def document_of(folder: Path) -> Document:
    return Document.model_validate_json((folder / "facts.json").read_bytes())


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
@pytest.mark.slow
def test_the_sample_verifies(folder: Path) -> None:
    found = pipeline.verify_folder(folder)
    assert [f"{v.what}: {v.problem}" for v in found if not v.ok] == [], MEND


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_the_page_and_the_tables_are_what_this_code_makes_of_the_facts(folder: Path) -> None:
    document = document_of(folder)
    tables = render.render_tables(document)
    assert tables == files_of(folder / "tables"), f"a table changed; {MEND}"
    html, committed = render.render_html(document), (folder / "report.html").read_bytes()
    changed = [
        f"line {number}: {old.strip()!r} became {new.strip()!r}"
        for number, (old, new) in enumerate(
            zip(committed.decode().splitlines(), html.decode().splitlines(), strict=False), 1
        )
        if old != new
    ]
    assert html == committed, "\n".join(["the page changed:", *changed[:10], MEND])


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_the_pdf_is_what_this_code_makes_of_the_facts(folder: Path) -> None:
    made_with = attested((folder / "provenance.json").read_bytes()).made.native
    here = dict(render.native_versions())
    if made_with != here:
        pytest.skip(f"the PDF was made with {made_with}, here is {here}")
    document = document_of(folder)
    html = (folder / "report.html").read_bytes()
    same = render.render_pdf(html, document) == (folder / "report.pdf").read_bytes()
    assert same, f"the PDF changed; {MEND}"


def test_the_demo_makes_these_documents_today(demo: Demo) -> None:
    """One folder a report of the demo, and the same figures in it."""
    fresh = {i.document.id: i.folder for i in demo.made.issued}
    assert len(fresh) == len(REPORTS) and sorted(fresh) == sorted(NAMES), MEND
    found = []
    for name, folder in zip(NAMES, FOLDERS, strict=True):
        before = json.loads((folder / "facts.json").read_bytes())
        after = json.loads((fresh[name] / "facts.json").read_bytes())
        for key in RECORDED:
            before.pop(key), after.pop(key)
        found += differences(before, after, name)
    more = [f"… and {len(found) - 30} more"] if len(found) > 30 else []
    assert not found, "\n".join(["", *found[:30], *more, MEND])
