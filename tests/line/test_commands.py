"""The command line as a person or a scheduler meets it: real causes, and processes for some."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from reporting import __version__
from reporting.demo import metrics
from reporting.sources.ledger import ADDS, optional_views

from .site import CLOSED, CLOSED_DATABASE, ROOT, SECRET, Demo, Site, command, files_of

VERBS = ("close", "build", "issue", "verify", "status", "doctor", "demo")
NOW = ("--now", "2025-12-08T12:00:00Z")


def one_object(text: str) -> dict[str, Any]:
    """The one JSON object that a command printed, and nothing beside it."""
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


# --- what every verb has -------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(tmp_path: Path, verb: str) -> None:
    done = command(verb, "--help", cwd=tmp_path, env={**os.environ, "COLUMNS": "100"})
    assert done.returncode == 0
    assert f"reporting {verb}" in done.stdout.split("Example", 1)[1]


def test_version(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reporting", "--version"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, __version__)


def test_dry_runs_write_nothing_and_json_is_one_object(site: Site, prometheus: str) -> None:
    rows, files = site.rows(), files_of(site.var)
    close_ = ("close", "--date", "2025-12-08", "--now", "2025-12-09T12:00:00Z", "--allow-gaps")
    for words in (
        close_,
        ("issue", "--kind", "daily", "--date", "2025-12-04", *NOW),
        ("issue", "--kind", "weekly", "--date", "2025-12-04", *NOW),
        ("build", "--kind", "daily", "--date", "2025-12-04", *NOW, "--output", "made.json"),
        ("doctor", "--migrate"),
        ("demo", "--var-dir", "made", "--reports-dir", "made"),
    ):
        done = site.command(*words, "--dry-run", "--json", prometheus_url=prometheus)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        found = one_object(done.stdout)
        assert found, words
        if words == close_:
            assert [(c["day"], c["outcome"]) for c in found["closed"]] == [("2025-12-08", "sealed")]
    assert site.rows() == rows
    assert files_of(site.var) == files


def test_a_day_from_close_to_status(site: Site, prometheus: str) -> None:
    """A session whose ledger is empty: closed, issued as INCOMPLETE, verified, all by command."""
    later = ("--now", "2025-12-09T12:00:00Z")
    done = site.command(
        "close", "--date", "2025-12-08", *later, "--json", prometheus_url=prometheus
    )
    assert (done.returncode, "--allow-gaps" in done.stdout) == (3, True)
    done = site.command(
        "close", "--date", "2025-12-08", *later, "--allow-gaps", "--json",
        prometheus_url=prometheus,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [closed] = one_object(done.stdout)["closed"]
    assert (closed["day"], closed["outcome"], closed["revision"]) == ("2025-12-08", "sealed", 1)
    issue = ("issue", "--kind", "daily", "--date", "2025-12-08", *later, "--json")
    found = one_object(site.command(*issue).stdout)
    assert (found["outcome"], found["status"]) == ("issued", "INCOMPLETE")
    assert one_object(site.command(*issue).stdout)["outcome"] == "regenerated"
    checked = one_object(site.command("verify", found["folder"], "--json").stdout)
    assert (checked["ok"], checked["problems"]) == (True, [])
    state = one_object(site.process("status", "--json").stdout)
    assert (state["last_day"], state["sealed_days"]) == ("2025-12-08", 98)
    assert len(state["reports"]) == 4


# --- exit codes ----------------------------------------------------------------------------------

CAUSES = {
    "a date that is none": (
        ("close", "--date", "2025-13-01"), {}, 2, ("2025-13-01", "2025-12-05"),
    ),
    "a time without offset": (
        ("close", "--date", "2025-12-05", "--now", "2025-12-08T06:00:00"), {}, 2,
        ("2025-12-08T06:00:00", "offset", "-05:00"),
    ),
    "a holiday": (
        ("issue", "--kind", "daily", "--date", "2025-11-27", *NOW), {}, 2,
        ("2025-11-27", "holiday", "2025-11-26", "2025-11-28"),
    ),
    "a calendar that is none": (
        ("issue", "--kind", "daily", "--date", "2025-11-26", *NOW), {"calendar": "MARS"}, 2,
        ("MARS", "XNYS", "REPORTING_CALENDAR"),
    ),
    "a zone that is none": (("status",), {"zone": "Europe/Atlantis"}, 2, ("Europe/Atlantis",)),
    "another kind of database": (
        ("close", "--date", "2025-12-05", *NOW), {"store_url": f"mysql://a:{SECRET}@h/x"}, 2,
        ("REPORTING_STORE_URL", "mysql", "postgresql://"),
    ),
    "an URL that is none": (
        ("close", "--date", "2025-12-05", *NOW),
        {"store_url": f"postgresql://a:{SECRET}@h:port/x"}, 2,
        ("REPORTING_STORE_URL", "postgresql://"),
    ),
    "a day that has not ended": (
        ("close", "--date", "2025-12-08", *NOW), {}, 3,
        ("2025-12-08", "2025-12-09T05:00:00+00:00", "2025-12-08T12:00:00+00:00"),
    ),
    "a day that is not sealed": (
        ("issue", "--kind", "daily", "--date", "2025-12-08", "--now", "2025-12-09T12:00:00Z"), {},
        3, ("2025-12-08", "reporting close --date 2025-12-08"),
    ),
    "a policy that is none": (
        ("build", "--kind", "daily", "--date", "2025-12-05", *NOW), {"policy_file": "bad.toml"}, 4,
        ("bad.toml",),
    ),
    "a ledger that is away": (
        ("close", "--date", "2025-12-08", "--now", "2025-12-09T12:00:00Z"),
        {"ledger_url": CLOSED_DATABASE}, 75, ("127.0.0.1:1", "REPORTING_LEDGER_URL", "try again"),
    ),
    "a store that is away": (
        ("status",), {"store_url": CLOSED_DATABASE}, 75,
        ("127.0.0.1:1", "REPORTING_STORE_URL", "try again"),
    ),
    "a Prometheus that is away": (
        ("close", "--date", "2025-12-08", "--now", "2025-12-09T12:00:00Z"),
        {"prometheus_url": f"http://me:{SECRET}@127.0.0.1:1"}, 75,
        ("127.0.0.1:1", "reporting doctor"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES)
def test_every_failure_has_its_code_and_says_what_to_do(site: Site, cause: str) -> None:
    words, settings, code, expected = CAUSES[cause]
    (site.var / "bad.toml").write_text("this is no TOML")
    rows = site.rows()
    done = site.command(*words, "--json", **settings)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    found = one_object(done.stdout)
    assert (found["ok"], found["exit_code"]) == (False, code)
    assert [part for part in expected if part not in found["error"]] == [], found["error"]
    assert site.rows() == rows


@pytest.mark.parametrize("cause", ["a holiday", "a ledger that is away"])
def test_without_json_the_same_words_go_to_standard_error(site: Site, cause: str) -> None:
    words, settings, code, expected = CAUSES[cause]
    done = site.process(*words, **settings)
    assert (done.returncode, done.stdout) == (code, "")
    message = " ".join(done.stderr.split())
    assert message.startswith("error:") and SECRET not in message
    assert [part for part in expected if part not in message] == []


def test_a_changed_report_fails_verification_with_4(site: Site) -> None:
    path = site.reports / "daily" / "2025-12-05" / "r1" / "report.html"
    path.write_bytes(path.read_bytes() + b" ")
    done = site.command("verify", str(path.parent), "--json")
    assert done.returncode == 4
    [problem] = one_object(done.stdout)["problems"]
    assert problem["what"].endswith("report.html")


# --- URLs as people have them --------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_urls_work_as_databases_give_them(site: Site, scheme: str) -> None:
    urls = {
        name: site.settings[name].replace("postgresql:", f"{scheme}:", 1)
        for name in ("ledger_url", "store_url", "store_admin_url")
    }
    done = site.command("doctor", "--json", **urls, prometheus_url=CLOSED)
    checks = {c["what"]: c["ok"] for c in one_object(done.stdout)["checks"]}
    assert checks["store"] and checks["ledger contract"]


# --- doctor --------------------------------------------------------------------------------------


def bad(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    """What doctor finds wrong: detail and mend by name."""
    assert "Traceback" not in done.stderr
    return {
        c["what"]: (c["detail"], c["mend"])
        for c in one_object(done.stdout)["checks"]
        if not c["ok"]
    }


def test_doctor_is_content_with_a_whole_site(site: Site, prometheus: str) -> None:
    done = site.command("doctor", "--json", prometheus_url=prometheus)
    assert (bad(done), done.returncode) == ({}, 0)


def test_doctor_says_what_absent_optional_views_would_add(site: Site) -> None:
    assert set(ADDS) == optional_views()
    site.ledger_sql("drop view ledger.quotes; drop view ledger.reported_cash")
    done = site.command("doctor", "--json", prometheus_url=CLOSED)
    checks = {c["what"]: c for c in json.loads(done.stdout)["checks"]}
    assert checks["ledger contract"]["ok"]  # a note: nothing that was promised is missing
    assert checks["ledger contract"]["detail"] == (
        "all contract views have their columns and types. Optional and not there: ledger.quotes "
        "would add costs against mids, markouts and what was left unfilled; ledger.reported_cash "
        "would add reconciliation of cash"
    )


def test_doctor_names_each_broken_thing_and_its_mend(site: Site, prometheus: str) -> None:
    site.ledger_sql("drop view ledger.marks")
    site.ledger_sql(
        "drop view ledger.fx_rates; create view ledger.fx_rates as select ''::text as base, "
        "''::text as quote, 1.5::float8 as rate, ''::text as source, now() as fixed_at"
    )
    site.store_sql("drop table reporting.schema_version")
    (site.var / "policy.toml").write_text('[[threshold]]\nid = "x"\n')
    done = site.command(
        "doctor", "--json", policy_file=site.var / "policy.toml", prometheus_url=CLOSED
    )
    found = bad(done)
    assert done.returncode == 4
    assert set(found) == {"policy", "store", "ledger contract", "prometheus"}
    assert "view ledger.marks is missing" in found["ledger contract"][0]
    assert (
        "ledger.fx_rates.rate is double precision, expected numeric"
        in (found["ledger contract"][0])
    )
    assert "ledger.fx_rates has no column recorded_at" in found["ledger contract"][0]
    assert "doctor --migrate" in found["store"][1]
    assert "127.0.0.1:1" in found["prometheus"][0]
    assert all(detail and mend for detail, mend in found.values())


def test_doctor_never_prints_a_secret(site: Site) -> None:
    settings = {
        "ledger_url": CLOSED_DATABASE,
        "store_url": CLOSED_DATABASE,
        "store_admin_url": None,
        "prometheus_url": f"http://me:{SECRET}@127.0.0.1:1",
    }
    for words in (("doctor", "--json"), ("doctor", "--migrate")):
        done = site.command(*words, **settings)
        assert done.returncode in (4, 75)
        assert SECRET not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_doctor_migrates_a_new_store(site: Site) -> None:
    site.server.run(
        "drop schema dashboard cascade; drop schema reporting cascade; drop schema audit cascade",
        site.store_name,
    )
    assert "store" in bad(site.command("doctor", "--json"))
    assert "store" in bad(site.command("doctor", "--json", "--migrate", "--dry-run"))
    assert "store" not in bad(site.command("doctor", "--json", "--migrate"))
    assert site.rows() == dict.fromkeys(site.rows(), 0)


# --- an end that was not asked for ---------------------------------------------------------------


def children_of(folder: Path) -> list[psutil.Process]:
    """Every process that works on something in ``folder``."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if str(folder) in words and process.pid != os.getpid():
            found.append(process)
    return found


def wait_for(what: Callable[[], Any], seconds: float) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.1)
    return what()


def test_a_terminated_demo_leaves_no_server_behind(demo: Demo, tmp_path: Path) -> None:
    """Its metrics are there already, so that Prometheus and PostgreSQL are up within seconds."""
    var = tmp_path / "var"
    shutil.copytree(demo.var / "tsdb", var / "tsdb")
    shutil.copy(demo.var / "tsdb.stamp", var)
    (var / "metrics").mkdir()
    shutil.copy(demo.var / "metrics" / metrics.TRUTH_FILE, var / "metrics")
    started = [sys.executable, "-m", "reporting", "demo", "--var-dir", str(var),
               "--reports-dir", str(tmp_path / "reports")]  # fmt: skip
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            started,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=file,
            stderr=file,
        )
    try:

        def both_up() -> bool:
            words = [" ".join(p.cmdline()) for p in children_of(var) if p.is_running()]
            up = any("storage.tsdb.path" in w for w in words)
            return up and (var / "postgres" / "postmaster.pid").is_file()

        assert wait_for(lambda: both_up() or process.poll() is not None, 90)
        assert process.poll() is None, output.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        assert wait_for(lambda: not children_of(var), 10), children_of(var)
        assert not (var / "postgres" / "postmaster.pid").exists()
    finally:
        process.kill()
        process.wait()
