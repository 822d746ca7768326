"""The commands about objectives: what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reporting.cli.objectives import app
from reporting.errors import UsageError

LOAD = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: host-load, annotations: {reporting.internal/no-data: down}}
spec:
  service: host
  indicatorRef: load
  timeWindow: [{duration: 1w, calendar: {startTime: 2025-01-06 00:00:00, timeZone: Asia/Tokyo}}]
  budgetingMethod: Timeslices
  objectives:
    - {op: lt, value: 80, target: 0.99, timeSliceWindow: 5m, timeSliceTarget: 0.5}
    - {op: lt, value: 95, target: 0.999, timeSliceWindow: 5m, timeSliceTarget: 1}
"""
SLI = """\
apiVersion: openslo/v1
kind: SLI
metadata: {name: load}
spec: {thresholdMetric: {metricSource: {type: Prometheus, spec: {query: node_load1}}}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configured folder of objectives."""
    found = tmp_path / "objectives"
    found.mkdir()
    (found / "host.yaml").write_text(LOAD)
    (found / "slis.yaml").write_text(SLI)
    monkeypatch.setenv("REPORTING_OBJECTIVES_DIR", str(found))
    monkeypatch.chdir(tmp_path)  # away from anybody's own .env and reporting.toml
    return found


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, words)
    if isinstance(result.exception, Exception):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def as_json(*words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*words, "--json", code=code))
    return found


def test_check_counts_what_is_right(folder: Path) -> None:
    assert run("check") == "✔ 2 objectives in 2 files\n"
    assert as_json("check") == {"ok": True, "files": 2, "objectives": 2, "problems": []}


def test_check_names_every_problem_and_ends_with_4(folder: Path) -> None:
    (folder / "host.yaml").write_text(LOAD.replace("5m", "7m"))
    (folder / "slis.yaml").write_text(SLI.replace("Prometheus", "'[red]Datadog'"))
    output = run("check", code=4)
    first, second, last = output.splitlines()
    assert first.startswith(f"✘ {folder}/host.yaml, document 1 (SLO host-load): ")
    assert "Datadog" in first  # what the SLO refers to is what is wrong first
    assert second.startswith(f"✘ {folder}/slis.yaml, document 1 (SLI load): spec.thresholdMetric")
    assert "'[red]Datadog'" in second
    assert last == "2 problems in 2 files"
    assert as_json("check", code=4)["problems"] == [first[2:], second[2:]]


def test_check_reads_files_that_are_given_together(folder: Path) -> None:
    host, slis = str(folder / "host.yaml"), str(folder / "slis.yaml")
    assert run("check", host, slis) == "✔ 2 objectives in 2 files\n"
    assert run("check", slis) == "✔ 0 objectives in 1 file\n"
    assert "indicatorRef is 'load', which none of these files has" in run("check", host, code=4)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("nothing.yaml", r"nothing\.yaml can't be read: No such file"), (".", r"has no \*\.yaml")],
)
def test_check_says_what_it_can_not_read(folder: Path, name: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        run("check", name)


def test_list_has_a_line_for_each(folder: Path) -> None:
    heading, first, second, count = run("list").splitlines()
    assert heading.split() == ["Name", "Target", "Promised", "Window", "Method", "Source"]
    assert first.startswith("host_load_1")
    for words in (
        "host-load: 1",
        "below 80, 99 % of the time",
        "calendar week, Asia/Tokyo",
        "good slices of 5 min, each at least 50 % good",
        "Prometheus",
    ):
        assert words in first
    assert "each wholly good" in second and "99.9 %" in second
    assert count == "2 objectives"
    assert [o["goal"] for o in as_json("list")["objectives"]] == ["0.99", "0.999"]


def test_explain_says_the_window_the_policy_and_the_queries(folder: Path) -> None:
    output = run("explain", "host_load_1", "--date", "2025-01-15")
    # Weeks from Monday 6 January: the second one is 13 to 19 January.
    assert "calendar week, Asia/Tokyo: 2025-01-13 to 2025-01-19" in output
    assert "down: counted as bad" in output
    assert "the time that node_load1 is below 80" in output
    assert "\n    node_load1[" in output


def test_explain_takes_the_documents_name_for_all_its_objectives(folder: Path) -> None:
    found = as_json("explain", "host-load", "-d", "2025-01-15")["objectives"]
    assert [o["id"] for o in found] == ["host_load_1", "host_load_2"]
    assert {(o["window_first"], o["window_last"]) for o in found} == {("2025-01-13", "2025-01-19")}
    assert all(o["queries"] for o in found)


def test_explain_suggests_the_name_that_was_meant(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no objective is called 'host-laod'; did you mean host_"):
        run("explain", "host-laod")


def test_help_has_examples() -> None:
    for command in ("check", "list", "explain"):
        assert f"reporting objectives {command}" in run(command, "--help")
