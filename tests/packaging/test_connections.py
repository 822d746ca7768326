"""No connection beyond this machine in clear or unverified, unless a setting names its host."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reporting.cli import app
from reporting.errors import UsageError
from reporting.pipeline import Service, doctor, in_clear
from reporting.postgres import Embedded, is_here, unverified_hosts
from reporting.settings import Settings, load

from ..line.site import ROOT

DB = "postgresql://app:hunter2@db.example/x"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but a test's own."""
    for name in [n for n in os.environ if n.startswith(("PG", "REPORTING_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://a@db.example/x", "db.example"),
        ("postgresql://a@db.example/x?sslmode=require", "db.example"),
        ("postgresql://a@db.example/x?sslmode=verify-ca", "db.example"),
        ("postgresql://a@db.example/x?sslmode=verify-full", ""),
        ("postgresql://a@db.example/x?sslmode=verify-full&sslmode=disable", "db.example"),
        ("postgresql://a@10.0.0.7/x", "10.0.0.7"),
        ("postgresql:///x?host=db.example", "db.example"),
        ("postgresql:///x?host=localhost:1&host=db.example:2", "db.example"),
        ("postgresql://a@localhost/x?host=db.example", "db.example"),
        ("postgresql://a@localhost/x?hostaddr=10.0.0.7", "10.0.0.7"),
        ("postgresql://a@localhost,db.example,db2/x", "db.example db2"),
        ("postgresql://a@localhost.example/x", "localhost.example"),
        ("postgresql:///x?service=trades", "service=trades"),
        ("postgresql://a@LOCALHOST/x", ""),
        ("postgresql://a@127.0.0.9/x", ""),
        ("postgresql://a@[::1]/x", ""),
        ("postgresql://a@[2001:db8::1]/x", "2001:db8::1"),
        ("postgresql:///x?host=/run/postgresql", ""),
        ("postgresql:///x", ""),
        # What the driver's door refuses in its own words.
        ("mysql://a@db.example/x", ""),
        ("postgresql://a@h:port/x", ""),
    ],
)
def test_connections_that_nobody_verifies_are_known(url: str, hosts: str) -> None:
    assert unverified_hosts(url, {}) == hosts.split()


@pytest.mark.parametrize(
    ("url", "environment", "hosts"),
    [
        (DB, {"PGSSLMODE": "verify-full"}, []),
        (f"{DB}?sslmode=require", {"PGSSLMODE": "verify-full"}, ["db.example"]),
        ("postgresql:///x", {"PGHOST": "db.example"}, ["db.example"]),
        ("postgresql://localhost/x", {"PGHOST": "db.example"}, []),
        ("postgresql://localhost/x", {"PGHOSTADDR": "10.0.0.7"}, ["10.0.0.7"]),
        ("postgresql:///x", {"PGSERVICE": "trades"}, ["service=trades"]),
    ],
)
def test_what_libpq_takes_from_its_environment_counts(
    url: str, environment: dict[str, str], hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = [c.words for c in in_clear(load(store_url=url))]
    assert found == [f"REPORTING_STORE_URL to {h} without sslmode=verify-full" for h in hosts]


def test_the_names_of_this_machine_are_known_by_what_is_written() -> None:
    assert is_here("localhost") and not is_here("") and not is_here("localhost.evil.example")


UNSAFE: dict[str, tuple[dict[str, Any], str, str]] = {
    "store": ({"store_url": DB}, "REPORTING_STORE_URL to db.example", "sslmode=verify-full"),
    "admin": ({"store_admin_url": DB}, "REPORTING_STORE_ADMIN_URL to db.example", "verify-full"),
    "ledger": ({"ledger_url": DB}, "REPORTING_LEDGER_URL to db.example", "sslmode=verify-full"),
    "purge": ({"purge_url": DB}, "REPORTING_PURGE_URL to db.example", "sslmode=verify-full"),
    "prometheus": (
        {"prometheus_url": "HTTP://Prom.example:9090"}, "REPORTING_PROMETHEUS_URL to prom.example",
        "https",
    ),
    "alertmanager": (
        {"alertmanager_url": "http://am.example"}, "REPORTING_ALERTMANAGER_URL to am.example",
        "https",
    ),
    "pagerduty": (
        {"pagerduty_url": "http://pd.example"}, "REPORTING_PAGERDUTY_URL to pd.example", "https",
    ),
    "engine": ({"engine": "dask://dask.example:8786"}, "REPORTING_ENGINE to dask.example", "tls://"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_nothing_is_opened_in_clear_unless_its_host_is_named(name: str) -> None:
    given, words, expected = UNSAFE[name]
    with pytest.raises(UsageError) as refused:
        Service(load(**given))
    for part in (words, expected, "REPORTING_HOSTS_IN_CLEAR", "docs/deploying.md"):
        assert part in str(refused.value)
    assert "hunter2" not in str(refused.value)
    # The doctor's own: it begins, and this connection is not made either.
    examined = Service(load(**given), examined=True)
    with pytest.raises(UsageError):
        examined.address(next(iter(given)))
    with pytest.raises(UsageError):  # nor by a copy of it that is to work
        replace(examined, examined=False)
    host = words.split()[-1]
    Service(load(**given, hosts_in_clear=f"other, {host.upper()}")).address(next(iter(given)))
    for other in ("other", f"x{host}", host.partition(".")[2]):
        with pytest.raises(UsageError):
            Service(load(**given, hosts_in_clear=other))


@pytest.mark.parametrize(
    "given",
    [
        {"prometheus_bearer_token_file": "token"},
        {"prometheus_username": "u", "prometheus_password_file": "password"},
        {"prometheus_url": "http://u:hunter2@host"},
        {"prometheus_url": "http://host/?token=hunter2"},
        {"alertmanager_url": "http://u:hunter2@host"},
        {"pagerduty_url": "http://host", "pagerduty_token_file": "token"},
        {"smtp_host": "host", "smtp_security": "none"},
    ],
)
def test_no_setting_allows_a_password_over_http_nor_mail_in_clear(given: dict[str, Any]) -> None:
    given = {"prometheus_url": "http://host:9090", "hosts_in_clear": "host"} | given
    with pytest.raises(UsageError, match=r"to host (would send|sends)") as refused:
        Service(load(**given))
    assert "hunter2" not in str(refused.value)
    assert "REPORTING_HOSTS_IN_CLEAR" not in str(refused.value)


def test_to_this_machine_and_by_verified_tls_anything_goes() -> None:
    safe = {
        "store_url": f"{DB}?sslmode=verify-full",
        "ledger_url": "postgresql://reader:hunter2@localhost/x",
        "prometheus_url": "http://127.0.0.1:9090",
        "prometheus_bearer_token_file": "token",
        "alertmanager_url": "https://a:b@alerts.example",
        "engine": "tls://dask.example:8786",
        "smtp_host": "::1",
        "smtp_security": "none",
    }
    assert in_clear(load(**safe)) == []
    assert in_clear(load(engine="dask://127.0.0.1:1", prometheus_url="http://[")) == []


@pytest.mark.parametrize("hosts", ["*", "http://prometheus", "a b", "prometheus/", "a;b", "[::1]"])
def test_what_may_be_in_clear_is_named_and_not_described(hosts: str) -> None:
    with pytest.raises(UsageError, match="REPORTING_HOSTS_IN_CLEAR"):
        load(hosts_in_clear=hosts)


def test_the_doctor_finds_all_of_it_and_asks_none_of_them() -> None:
    given = {key: value for one, _, _ in UNSAFE.values() for key, value in one.items()}
    service = Service(load(**given), examined=True)
    checks = {check.what: check for check in doctor(service, date(2026, 11, 26))}
    assert not checks["TLS"].ok
    for _, words, _ in UNSAFE.values():
        assert words in checks["TLS"].detail
    for what, setting in {
        "store": "STORE", "ledger contract": "LEDGER", "prometheus": "PROMETHEUS",
    }.items():  # fmt: skip
        assert not checks[what].ok
        assert f"REPORTING_{setting}_URL to" in checks[what].detail
        assert "not safe" in checks[what].detail
    assert "REPORTING_ENGINE to" in checks["engine"].detail
    assert checks["calendar"].ok


CLOSED = "postgresql://127.0.0.1:1/x"


def test_the_doctor_names_what_is_allowed() -> None:
    given = {"alertmanager_url": "http://am", "hosts_in_clear": "am", "store_url": DB}
    assert [c.allowed for c in in_clear(load(**given))] == [False, True]
    service = Service(load(**given | {"store_url": CLOSED, "ledger_url": CLOSED}))
    (tls,) = (check for check in doctor(service, date(2026, 11, 26)) if check.what == "TLS")
    assert tls.ok
    assert tls.detail.endswith("allows: REPORTING_ALERTMANAGER_URL to am by http")


def test_a_failure_without_a_word_is_told_by_its_kind() -> None:
    """As a library's failed assertion: the doctor goes on."""

    def broken(_: Path) -> Embedded:
        raise AssertionError

    checks = doctor(Service(load(), open_embedded=broken), date(2026, 11, 26))
    details = {check.what: check.detail for check in checks if not check.ok}
    assert details["store"] == details["ledger contract"] == "AssertionError"


def test_a_command_ends_and_the_doctor_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"STORE_URL": DB, "LEDGER_URL": CLOSED, "VAR_DIR": str(tmp_path)}
    for name, value in given.items():
        monkeypatch.setenv(f"REPORTING_{name}", value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ended = subprocess.run(
        [sys.executable, "-m", "reporting", "status"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "REPORTING_STORE_URL to db.example" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr and "hunter2" not in ended.stderr
    told = CliRunner().invoke(app, ["doctor", "--json"])
    assert told.exit_code == 4
    checks = {check["what"]: check for check in json.loads(told.stdout)["checks"]}
    assert "db.example" in checks["TLS"]["detail"] and checks["policy"]["ok"]
    assert "127.0.0.1" in checks["ledger contract"]["detail"]
    with pytest.raises(UsageError, match=r"to db\.example"):
        CliRunner().invoke(app, ["doctor", "--migrate"], catch_exceptions=False)


def test_every_address_among_the_settings_was_thought_of() -> None:
    """A new one has to be looked at by `in_clear`, or to be named here with its reason."""
    needs_none = {
        "signing_timestamp_url",  # what it answers is signed, and what it is sent is a digest
        "reports_url",  # for people's browsers
        "http_address",  # where we listen
    }
    looked_at = {name for given, _, _ in UNSAFE.values() for name in given} | {"smtp_host"}
    addresses = {n for n in Settings.model_fields if n.endswith(("_url", "_host", "_address"))}
    assert addresses | {"engine"} == looked_at | needs_none


def test_nobody_takes_an_address_from_the_settings_but_by_the_one_way() -> None:
    """`Service.address` refuses; what is read past it would not be."""
    read = re.compile(r"settings\.(?!reports_url|signing_)(\w+_url|engine)\b(?! is not None)")
    found = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("pipeline", "cli")
        for path in (ROOT / "reporting" / folder).rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if path.name != "connections.py" and (read.search(line) or "get_secret_value" in line)
    }
    assert [line for line in found if "service.py: return value.get_secret" not in line] == []
