"""Nothing but its one owner reads the clock or the environment; ruff finds whoever tries."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUFF = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
BANNED: list[str] = list(RUFF["flake8-tidy-imports"]["banned-api"])

CALLS = {
    # What people write: the name bound in another way, the call with a zone, the index.
    "from datetime import UTC, datetime\nat = datetime.now(UTC)": "datetime.datetime.now",
    "import datetime as dt\nday = dt.date.today()": "datetime.date.today",
    "from time import time\nat = time()": "time.time",
    "import time as t\nat = t.time_ns()": "time.time_ns",
    "import pandas as pd\nat = pd.Timestamp.now('UTC')": "pandas.Timestamp.now",
    "import os\nhome = os.environ['HOME']": "os.environ",
    "from os import environ\nhome = environ.get('HOME')": "os.environ",
    "from os import getenv as g\nhome = g('HOME')": "os.getenv",
}


def test_nothing_reads_them_now() -> None:
    assert found(("check", "--select", "TID251,DTZ", "reporting")) == ""


@pytest.mark.parametrize("source", CALLS)
@pytest.mark.parametrize("file", ["model.py", "document.py", "store.py", "measures/pnl.py"])
def test_a_planted_call_is_found(file: str, source: str) -> None:
    output = found(("check", "--stdin-filename", f"reporting/{file}", "-"), source + "\n")
    assert "TID251" in output
    assert f"`{CALLS[source]}` is banned" in output


@pytest.mark.parametrize("name", BANNED)
def test_every_banned_name_can_be_found(name: str) -> None:
    module, _, _ = name.rpartition(".") if name.count(".") == 1 else name.partition(".")
    source = f"import {module}\n\nvalue = {name}\n"
    output = found(("check", "--stdin-filename", "reporting/model.py", "-"), source)
    assert f"`{name}` is banned" in output


@pytest.mark.parametrize(
    ("owner", "source"),
    [
        ("cli/shared.py", "from datetime import UTC, datetime\n\nat = datetime.now(UTC)\n"),
        ("settings.py", "import os\n\nhome = os.environ['HOME']\n"),
    ],
)
def test_the_owner_may(owner: str, source: str) -> None:
    arguments = ("check", "--select", "TID251", "--stdin-filename", f"reporting/{owner}", "-")
    assert found(arguments, source) == ""


def test_there_are_two_owners_and_no_more() -> None:
    exempt = {
        pattern
        for pattern, rules in RUFF["per-file-ignores"].items()
        if any(rule in ("TID", "TID251", "ALL") for rule in rules)
    }
    assert exempt == {"reporting/cli/shared.py", "reporting/settings.py", "{tests,benchmarks}/**"}


@pytest.mark.parametrize("path", sorted((ROOT / "reporting").rglob("*.py")), ids=lambda p: p.name)
def test_no_file_excuses_itself(path: Path) -> None:
    excused = [
        f"{path.name}:{number}"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "noqa" in line and ("TID251" in line or line.rstrip().endswith("noqa"))
    ]
    assert excused == []


def found(arguments: tuple[str, ...], source: str | None = None) -> str:
    """What ruff says, "" where it is content."""
    result = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "--no-cache", "--output-format", "concise"],
        input=source,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode in (0, 1), result.stderr
    return "" if result.returncode == 0 else result.stdout
