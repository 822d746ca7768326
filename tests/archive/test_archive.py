"""An archive: made from a real store, opened in a real browser, checked by its own verifier."""

from __future__ import annotations

import base64
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from reporting import standalone
from reporting.errors import UsageError, ValidationFailed
from reporting.pipeline.exporting import export
from reporting.seal.checkpoint import Signer, new_key

from ..line.site import WORKER, Demo, Site, files_of

FIRST, LAST = date(2025, 11, 1), date(2025, 12, 7)
NOW = datetime(2025, 12, 9, 6, tzinfo=UTC)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def archive(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The archive of everything that the demo issued; never changed by a test."""
    store = f"archive_store{WORKER}"
    demo.server.clone(store, "reporting_template")
    folder = tmp_path_factory.mktemp("archive")
    (folder / "key.pem").write_bytes(new_key())
    site = Site(demo.server, "ledger", store, demo.reports, demo.var)
    service = site.service(checkpoint_key_file=folder / "key.pem")
    export(service, FIRST, LAST, folder / "archive", NOW)
    yield folder / "archive"
    demo.server.drop(store)


def checked(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The archive's own verifier, in a Python that finds no package at all."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(folder / "verify.py"), *words],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )


def test_its_own_verifier_accepts_it(archive: Path) -> None:
    found = checked(archive)
    assert found.returncode == 0, found.stdout
    assert "consistent with itself only: no key was given" in found.stdout
    for report in ("daily/2025-12-05/r1", "weekly/2025-W49/r1", "monthly/2025-11/r1"):
        assert f"report {report}" in found.stdout
    answer = json.loads(checked(archive, "--json").stdout)
    assert answer["ok"] and not answer["authentic"]


def published(archive: Path) -> str:
    """The key as its owner would publish it."""
    return (archive / "log" / "key.vkey").read_text("utf-8").strip()


def test_with_the_published_key_it_is_authentic(archive: Path) -> None:
    found = checked(archive, "--key", published(archive))
    assert found.returncode == 0, found.stdout
    assert "none failed; signed" in found.stdout
    assert json.loads(checked(archive, "--key", published(archive), "--json").stdout)["authentic"]
    other = Signer.load(published(archive).split("+")[0], new_key(), "another").verifier
    refused = checked(archive, "--key", str(other))
    assert refused.returncode == 4 and "not signed by" in refused.stdout
    mistyped = checked(archive, "--key", published(archive)[:-2] + "AA")
    assert mistyped.returncode == 2 and "copied with a mistake" in mistyped.stderr


def rewritten(files: dict[str, bytes]) -> dict[str, bytes]:
    """The archive of somebody who owns the database: one entry changed, the log written anew."""
    lines = files["log/log.jsonl"].replace(b'"reason":""', b'"reason":"none"', 1)
    assert lines != files["log/log.jsonl"]
    log = standalone.Log()
    for line in lines.splitlines():
        log.append(line)
    origin, size, _, _, rest = files["log/checkpoint.txt"].decode().split("\n", 4)
    root = base64.b64encode(log.root()).decode()
    note = f"{origin}\n{size}\n{root}\nchain {log.chain.hex()}\n{rest}"
    forged = {**files, "log/log.jsonl": lines, "log/checkpoint.txt": note.encode()}
    forged["log/witness.jsonl"] = b""
    return resealed(forged)


def test_a_rewritten_history_is_found_by_the_key_or_by_an_outside_note(archive: Path) -> None:
    """By itself it is consistent, which is why the verifier then says no more than that."""
    files = files_of(archive)
    forged = rewritten(files)
    assert wrong(forged) == []
    assert any(
        "not signed by" in line for line in wrong(forged, standalone.Keys(published(archive)))
    )
    kept = standalone.Archive(forged, None, files["log/checkpoint.txt"].decode()).check()
    assert any("the log up to it is another one" in problem for _, problem in kept)


def test_a_cut_tail_is_found_by_an_outside_note(archive: Path) -> None:
    """The last report taken out of the archive and out of the log."""
    files = files_of(archive)
    note = files["log/checkpoint.txt"].decode()
    lines = files["log/log.jsonl"].splitlines(keepends=True)[:-1]
    assert b'"report":"monthly/2025-11/r1"' in files["log/log.jsonl"].splitlines()[-1]
    cut = {n: b for n, b in files.items() if not n.startswith("reports/monthly/")}
    listed = json.loads(files["manifest.json"])
    listed["reports"].remove("monthly/2025-11/r1")
    cut["manifest.json"] = digested(listed)
    cut |= {"log/log.jsonl": b"".join(lines), "log/witness.jsonl": b""}
    log = standalone.Log()
    for line in lines:
        log.append(line[:-1])
    root = base64.b64encode(log.root()).decode()
    cut["log/checkpoint.txt"] = f"{note.splitlines()[0]}\n{log.size}\n{root}\n\n".encode()
    assert wrong(resealed(cut)) == []
    kept = standalone.Archive(resealed(cut), None, note).check()
    assert any(problem.endswith("cut off") for _, problem in kept)


def test_every_link_of_the_index_leads_to_a_file_and_nowhere_else(archive: Path) -> None:
    page = (archive / "index.html").read_text("utf-8")
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(links) > 12
    for link in links:
        assert (archive / unquote(link)).is_file(), link
    assert "http://" not in page and "https://" not in page and "<script" not in page


def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    return found


def dom(page: Path, profile: Path, width: int = 1280) -> str:
    """The page as the browser has it after loading it from disk."""
    return subprocess.run(
        [
            browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={profile}", f"--window-size={width},900",
            "--virtual-time-budget=2000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip


def test_it_opens_from_its_folder_in_a_browser(archive: Path, tmp_path: Path) -> None:
    """The grid is there, and following a cell opens the report."""
    shown = dom(archive / "index.html", tmp_path / "profile")
    rows = dict(re.findall(r'<th scope="row">(\w+)</th>(.*?)</tr>', shown, re.DOTALL))
    assert set(rows) == {"daily", "weekly", "monthly"}
    days = re.findall(r'<th scope="col"><span class="weekday">\w+</span>(\d+)</th>', shown)
    assert len(days) == 19 + 5  # November's sessions, and those of December's first week
    assert "2025-11-27: XNYS closed (holiday)" in shown
    cell = re.search(r'<a href="(reports/daily/2025-12-05/r1/report.html)"', rows["daily"])
    assert cell is not None
    report = dom(archive / cell[1], tmp_path / "profile")
    assert "Friday 5 December 2025" in report


def test_a_session_without_a_daily_report_is_seen(archive: Path) -> None:
    page = (archive / "index.html").read_text("utf-8")
    assert page.count('title="no report of this day was issued"') == 19 + 4


def resealed(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files with a manifest that fits them, as whoever changed one would write it."""
    listed = json.loads(files["manifest.json"])
    listed["files"] = {n: standalone.sha256(b) for n, b in files.items() if n != "manifest.json"}
    return {**files, "manifest.json": digested(listed)}


def digested(listed: dict[str, Any]) -> bytes:
    """A manifest with the digest of what stands in it."""
    told = {name: value for name, value in listed.items() if name != "digest"}
    return standalone.canonical({**told, "digest": standalone.sha256(standalone.canonical(told))})


def wrong(files: dict[str, bytes], key: standalone.Keys | None = None) -> list[str]:
    """What the verifier finds wrong."""
    found = standalone.Archive(files, key).check()
    return [f"{what}: {problem}" for what, problem in found if problem]


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("reports/daily/2025-12-05/r1/report.pdf", "is not the file that was issued"),
        ("reports/monthly/2025-11/r1/facts.json", "is not the file that was issued"),
        ("reports/weekly/2025-W49/r1/provenance.json", "is not the file that was issued"),
        ("days/2025-12-05/r1.json", "is not what the log says was sealed"),
    ],
)
def test_a_change_with_a_manifest_to_fit_is_found(archive: Path, name: str, named: str) -> None:
    files = files_of(archive)
    files[name] += b" "
    assert any(line.endswith(named) for line in wrong(resealed(files)))


def test_what_is_missing_or_too_much_is_found(archive: Path) -> None:
    files = files_of(archive)
    lost = {n: b for n, b in files.items() if "/tables/" not in n}
    assert any("tables/" in line and "is missing" in line for line in wrong(resealed(lost)))
    more = {**files, "reports/daily/2025-12-05/r2/report.html": b"<p>better"}
    assert any("is not in the audit log" in line for line in wrong(resealed(more)))
    gone = {n: b for n, b in files.items() if not n.startswith("reports/weekly/")}
    assert any("is not in the archive" in line for line in wrong(resealed(gone)))


def test_no_single_byte_change_is_accepted(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five thousand places over PDF, facts, provenance, sealed days and the log."""
    export(site.service(), date(2025, 12, 5), date(2025, 12, 5), tmp_path / "a", NOW)
    files = files_of(tmp_path / "a")
    # What a file that was not changed says is remembered: what is left is the verifier's judging.
    for module, name in ((standalone, "sha256"), (standalone, "embedded"), (json, "loads")):
        monkeypatch.setattr(module, name, remembering(getattr(module, name), files.values()))
    assert wrong(files) == []
    chance = random.Random(20251205)
    names = [n for n in files if not n.startswith(("days/", "verify.py", "README", "index"))]
    names += [n for n in files if n.startswith("days/2025-12")]
    weights = [30 if n.endswith((".pdf", "facts.json", "provenance.json", ".jsonl")) else 1
               for n in names]  # fmt: skip
    accepted = []
    for name in chance.choices(names, weights, k=5_000):
        body = files[name]
        place = chance.randrange(len(body))
        other = bytes([body[place] ^ (1 << chance.randrange(8))])
        changed = {**files, name: body[:place] + other + body[place + 1 :]}
        if not wrong(changed):
            accepted.append((name, place))
    assert accepted == []


def remembering(function: Callable[[Any], Any], bodies: Iterable[bytes]) -> Callable[[Any], Any]:
    """The function, with its answers for these very objects kept."""
    kept: dict[int, Any] = {}
    own = {id(body) for body in bodies}

    def answer(body: Any) -> Any:
        if id(body) not in own:
            return function(body)
        if id(body) not in kept:
            kept[id(body)] = function(body)
        return kept[id(body)]

    return answer


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (date(2025, 12, 7), date(2025, 12, 1), "is before --from"),
        (date(2024, 1, 1), date(2024, 2, 1), "no report of 2024-01-01 to 2024-02-01 was issued"),
    ],
)
def test_a_span_without_reports_is_refused(
    site: Site, tmp_path: Path, first: date, last: date, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        export(site.service(), first, last, tmp_path / "a", NOW)
    assert not (tmp_path / "a").exists()


def test_a_folder_that_holds_something_is_left_alone(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        export(site.service(), FIRST, LAST, tmp_path, NOW)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["mine.txt"]


@pytest.mark.slow
def test_lost_files_are_made_again_and_the_archive_is_the_same(
    site: Site, archive: Path, tmp_path: Path
) -> None:
    shutil.rmtree(site.reports / "daily")
    export(site.service(), FIRST, LAST, tmp_path / "a", NOW)
    made, before = files_of(tmp_path / "a"), files_of(archive)
    changing = ("log/", "manifest.json", "index.html")  # the log has one entry more
    assert {n: b for n, b in made.items() if not n.startswith(changing)} == {
        n: b for n, b in before.items() if not n.startswith(changing)
    }


def test_what_can_not_be_made_again_stops_it_and_leaves_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(site.reports / "daily")
    from reporting.pipeline import exporting

    monkeypatch.setattr(exporting, "files_of", lambda document: {"facts.json": b"{}"})
    with pytest.raises(ValidationFailed, match="can't be made again with this version"):
        export(site.service(), FIRST, LAST, tmp_path / "a", NOW)
    assert list(tmp_path.glob("*a*")) == []


def test_the_command_says_what_it_wrote_and_logs_it(
    site: Site, tmp_path: Path, make_site: Callable[..., Site]
) -> None:
    made = site.command(
        "export", "--from", "2025-12-01", "--to", "2025-12-07", "-o", str(tmp_path / "a"), "--json"
    )
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["reports"] == 2
    last = list(site.store.log())[-1]
    body = json.loads(last.entry)
    assert body["event"] == "archive exported"
    assert body["body"]["manifest"] == standalone.sha256(
        (tmp_path / "a/manifest.json").read_bytes()
    )
    refused = site.command("export", "--from", "1 May", "--to", "2025-12-07")
    assert refused.returncode == 2 and "--from '1 May' is not a date" in refused.stderr
