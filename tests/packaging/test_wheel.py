"""The built wheel works away from the checkout, with its templates, SQL and configuration."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CARRIED = ("templates", "sql", "config")

Run = Callable[..., str]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout with nothing fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([*command, *options, str(ROOT)], check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs code against the unpacked wheel, out of sight of the checkout.

    The dependencies are those of this environment. ``-S`` leaves out its .pth files, and with them
    the editable install, which would otherwise stand in for whatever the wheel lacks.
    """
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    path = ":".join([str(folder / "site"), *sorted(libraries)])

    def run(*arguments: str, expect: int = 0) -> str:
        result = subprocess.run(
            [sys.executable, "-S", "-P", *arguments],
            cwd=elsewhere,
            env={"PYTHONPATH": path, "HOME": str(elsewhere), "PATH": "/usr/sbin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == expect, result.stdout + result.stderr
        return result.stdout

    return run


def test_the_wheel_is_what_runs(installed: Run) -> None:
    # The guard of every test below: neither the checkout nor the editable install is seen.
    where = installed("-c", "import reporting; print(reporting.__file__)").strip()
    assert where.endswith("/site/reporting/__init__.py")
    assert not Path(where).is_relative_to(ROOT)


@pytest.mark.parametrize("name", CARRIED)
def test_it_carries_every_file(wheel: Path, name: str) -> None:
    checkout = {path.relative_to(ROOT).as_posix() for path in files(ROOT / name)}
    with zipfile.ZipFile(wheel) as archive:
        carried = {
            member.removeprefix("reporting/")
            for member in archive.namelist()
            if member.startswith(f"reporting/{name}/")
        }
    assert checkout
    assert carried == checkout


def test_it_carries_every_module_and_nothing_else(wheel: Path) -> None:
    checkout = {path.relative_to(ROOT).as_posix() for path in files(ROOT / "reporting")}
    with zipfile.ZipFile(wheel) as archive:
        members = {name for name in archive.namelist() if ".dist-info/" not in name}
    extra = {
        name for name in members if not name.startswith(tuple(f"reporting/{c}/" for c in CARRIED))
    }
    assert extra == checkout


def test_every_module_imports(installed: Run) -> None:
    code = (
        "import importlib, pkgutil, reporting\n"
        "found = [m.name for m in pkgutil.walk_packages(reporting.__path__, 'reporting.')]\n"
        "[importlib.import_module(name) for name in found\n"
        " if not name.startswith(('reporting.sql', 'reporting.__main__'))]\n"
        "print(len(found))"
    )
    assert int(installed("-c", code)) > 10


def test_the_resources_are_found_beside_the_code(installed: Run) -> None:
    code = (
        "import json; from reporting.resources import resource\n"
        f"found = {{n: [str(resource(n)), len(list(resource(n).rglob('*')))] for n in {CARRIED}}}\n"
        "print(json.dumps(found))"
    )
    for name, (where, count) in json.loads(installed("-c", code)).items():
        assert where.endswith(f"/site/reporting/{name}")
        assert count > 0


def test_templates_load(installed: Run) -> None:
    code = "from reporting import render; print(render.template_digest())"
    here = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert installed("-c", code) == here


def test_queries_load(installed: Run) -> None:
    code = "from reporting.postgres import queries; print(sorted(queries('pnl')))"
    assert "[]" not in installed("-c", code)


def test_the_command_line_answers(installed: Run) -> None:
    assert "doctor" in installed("-m", "reporting", "--help")


def test_doctor_finds_the_wheel_whole(installed: Run) -> None:
    # It starts the embedded server, migrates it, loads fonts and templates and a calendar. What it
    # misses is what an empty folder can't have.
    report = json.loads(installed("-m", "reporting", "doctor", "--json", expect=4))
    unwell = {check["what"] for check in report["checks"] if not check["ok"]}
    assert unwell == {"ledger contract", "prometheus"}
    assert {"store", "fonts", "templates", "policy"} <= {c["what"] for c in report["checks"]}


def files(folder: Path) -> list[Path]:
    """Files under ``folder`` that belong to the project."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", str(folder)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [path for name in output.split("\0") if name and (path := ROOT / name).is_file()]
