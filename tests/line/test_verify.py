"""A report's folder, changed by a byte or a file: what is noticed with and without the store."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from reporting import pipeline
from reporting.page import Document
from reporting.pipeline import verifying
from reporting.seal import attest, attested, canonical, digest

from .site import Demo, Site, files_of


@pytest.fixture
def folder(demo: Demo, tmp_path: Path) -> Path:
    """A copy of the issued daily report."""
    return Path(shutil.copytree(demo.reports / "daily" / "2025-12-05" / "r1", tmp_path / "report"))


def wrong(folder: Path) -> list[str]:
    return [f"{v.what}: {v.problem}" for v in pipeline.verify_folder(folder) if not v.ok]


def test_an_untouched_folder_is_accepted_and_rendered_again(folder: Path) -> None:
    found = pipeline.verify_folder(folder)
    assert all(v.ok for v in found)
    assert any("rendered again" in v.what for v in found)


def test_a_report_is_rendered_once_a_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was found then decides: the facts of another report are rendered of their own."""
    assert wrong(folder) == []
    asked: list[str] = []

    def files_of(document: Document) -> dict[str, bytes]:
        asked.append(document.issuer)
        return {}

    monkeypatch.setattr("reporting.pipeline.verifying.files_of", files_of)
    assert wrong(folder) == [] and asked == []
    forge(folder)
    assert len(wrong(folder)) == 1 and asked == []
    document = Document.model_validate_json((folder / "facts.json").read_bytes())
    other = canonical(document.model_copy(update={"issuer": "Another"}))
    verifying._rendered(other, "other templates")
    assert asked == ["Another"]


@pytest.mark.parametrize("tables", [5, pytest.param(None, marks=pytest.mark.slow)])
def test_no_changed_byte_is_accepted(folder: Path, tables: int | None) -> None:
    """Some places of files, each with another byte there, or one less, or one more."""
    chance = random.Random(20251205)
    accepted, tried = [], 0
    files = files_of(folder)
    own = [name for name in files if not name.startswith("tables/")]
    for name in [*own, *[name for name in files if name not in own][:tables]]:
        path, body = folder / name, files[name]
        for number in range(12 if name.endswith((".json", ".pdf")) else 1):
            place = chance.randrange(len(body))
            other = bytes([chance.choice([b for b in range(256) if b != body[place]])])
            changed = (
                body[:place] + other + body[place + 1 :],
                body[:place] + body[place + 1 :],
                body[:place] + other + body[place:],
            )[number % 3]
            path.write_bytes(changed)
            tried += 1
            if not wrong(folder):
                accepted.append((name, place))
        path.write_bytes(body)
    assert tried > (70 if tables is None else 40)
    assert accepted == []
    assert wrong(folder) == []


def test_files_that_are_missing_or_too_many_are_named(folder: Path) -> None:
    (folder / "tables" / "pnl_fx.csv").unlink()
    (folder / "notes.txt").write_text("hello")
    found = wrong(folder)
    assert len(found) == 2
    assert found[0].endswith("tables/pnl_fx.csv: is missing")
    assert found[1].endswith("notes.txt: is not part of the report")


@pytest.mark.parametrize("name", ["facts.json", "provenance.json", "report.pdf"])
def test_a_folder_without_one_of_its_files_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    found = wrong(folder)
    assert found and any(name in words for words in found)


def forge(folder: Path) -> None:
    """A careful forger: another table, and unsigned provenance that agrees with it."""
    table = folder / "tables" / "pnl_fx.csv"
    table.write_bytes(table.read_bytes().replace(b"1.14", b"1.15"))
    path = folder / "provenance.json"
    made = attested(path.read_bytes()).made
    files = {**made.files, "tables/pnl_fx.csv": digest(table.read_bytes())}
    path.write_bytes(attest(replace(made, files=files), None))


def test_a_forged_table_is_found_by_rendering_again(folder: Path) -> None:
    forge(folder)
    assert [w for w in wrong(folder) if "rendered again" in w and "pnl_fx" in w]


@pytest.mark.slow
def test_what_the_folder_can_not_show_the_audit_log_does(site: Site) -> None:
    """The log alone vouches for queries and code digest: a forged file agrees with itself."""
    path = site.reports / "daily" / "2025-12-05" / "r1" / "provenance.json"
    made = attested(path.read_bytes()).made
    path.write_bytes(attest(replace(made, queries={**made.queries, "fills": "select 1"}), None))
    assert wrong(path.parent) == []
    found = [f"{v.what}: {v.problem}" for v in pipeline.verify(site.service()) if not v.ok]
    assert found == ["daily/2025-12-05/r1/provenance.json: is not what was issued"]


def test_the_full_check_names_damaged_files_and_does_not_stop(site: Site) -> None:
    (site.reports / "daily" / "2025-12-05" / "r1" / "facts.json").write_bytes(b"{")
    (site.reports / "weekly" / "2025-W49" / "r1" / "facts.json").unlink()
    shutil.rmtree(site.reports / "monthly")
    found = [f"{v.what}: {v.problem}" for v in pipeline.verify(site.service()) if not v.ok]
    assert any("daily/2025-12-05/r1/facts.json: is not what was issued" in w for w in found)
    assert any("weekly/2025-W49/r1/facts.json: is not what was issued" in w for w in found)
    assert any("monthly/2025-11/r1: has no files" in w for w in found)
    assert not any("audit log" in w for w in found)
