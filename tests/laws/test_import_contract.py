"""The architecture holds, and every rule of it can fail.

Each rule is tried on a copy of the package with one import planted that breaks it. A rule that
can match nothing is worse than none, since everybody believes in it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
}
CORE: list[str] = CONTRACTS["core"]["source_modules"]

#: (contract, module, planted line), one at a time: they would hide each other
PLANTED = [
    ("layers", "reporting.errors", "from . import model"),
    ("layers", "reporting.model", "import reporting.periods"),
    ("layers", "reporting.page", "from .periods import Span"),  # siblings don't see each other
    ("layers", "reporting.periods", "from .page import Kind"),
    ("layers", "reporting.seal", "from .. import measures"),
    ("layers", "reporting.measures", "from .. import postgres"),
    ("layers", "reporting.postgres", "from . import cli"),
    ("layers", "reporting.store", "def _late():\n    from . import settings"),
    ("layers", "reporting.novelty", '"""A module that no layer names."""'),
    ("measures", "reporting.measures.pnl", "from . import uptime"),
    # An import inside a function is one too, and so is one of a submodule.
    ("door-database", "reporting.periods", "def _late():\n    from sqlalchemy.orm import Session"),
]


#: (contract, modules, what each of them is not to import): import-linter names every pair.
FORBIDDEN: list[tuple[str, list[str], list[str]]] = [
    ("core", CORE, ["os"]),
    *(
        (contract, ["reporting.periods"], rule["forbidden_modules"])
        for contract, rule in CONTRACTS.items()
        if rule["type"] == "forbidden"
    ),
]


def test_the_architecture_holds() -> None:
    code, output = lint(ROOT)
    assert code == 0, output


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package and of the rules."""
    folder = tmp_path_factory.mktemp("planted")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "reporting", folder / "reporting", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture
def plant(copy: Path) -> Iterator[Any]:
    """Adds a line to a module of the copy, for the time of one test."""
    undo: list[tuple[Path, str | None]] = []

    def add(module: str, line: str) -> None:
        path = copy / module.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        before = path.read_text() if path.exists() else None
        undo.append((path, before))
        path.write_text(f"{before or ''}\n{line}\n")

    yield add
    for path, before in reversed(undo):
        if before is None:
            path.unlink()
        else:
            path.write_text(before)


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    PLANTED,
    ids=[f"{contract}: {module}: {line.split()[-1]}" for contract, module, line in PLANTED],
)
def test_a_planted_violation_is_found(
    copy: Path, plant: Any, contract: str, module: str, line: str
) -> None:
    plant(module, line)

    code, output = lint(copy, contract)

    assert code == 1, output
    assert f"{CONTRACTS[contract]['name']} BROKEN" in output
    assert module in output


@pytest.mark.parametrize(
    ("contract", "modules", "imported"), FORBIDDEN, ids=[f"{c}: {m[-1]}" for c, m, _ in FORBIDDEN]
)
def test_every_forbidden_import_is_found(
    copy: Path, plant: Any, contract: str, modules: list[str], imported: list[str]
) -> None:
    for module in modules:
        plant(module, "\n".join(f"import {name}" for name in imported))

    code, output = lint(copy, contract)

    assert code == 1, output
    assert f"{CONTRACTS[contract]['name']} BROKEN" in output
    pairs = [f"{module} -> {name} (" for module in modules for name in imported]
    assert [pair for pair in pairs if pair not in output] == [], output


def test_the_copy_itself_is_clean(copy: Path) -> None:
    # Otherwise the planted violations would prove nothing.
    code, output = lint(copy)
    assert code == 0, output


def test_every_contract_has_a_planted_violation() -> None:
    assert {contract for contract, _, _ in [*PLANTED, *FORBIDDEN]} == set(CONTRACTS)


def test_the_core_is_everything_from_document_down() -> None:
    """And what it speaks through; the verifier in archives is a program of its own, at the bottom
    because nothing of ours is in it.
    """
    layers = [{name.strip() for name in row.split("|")} for row in CONTRACTS["layers"]["layers"]]
    start = next(at for at, layer in enumerate(layers) if "document" in layer)
    core = {f"reporting.{name}" for layer in layers[start:] for name in layer}
    assert set(CORE) == core - {"reporting.standalone"} | {"reporting.spoken"}


def test_an_exemption_that_nothing_uses_is_found(copy: Path) -> None:
    config = (copy / "pyproject.toml").read_text()
    hole = config.replace(
        '"reporting.cli -> typer"', '"reporting.cli -> typer", "reporting.cli -> click"'
    )
    (copy / "hole.toml").write_text(hole)
    code, output = lint(copy, "door-cli", config="hole.toml")
    assert code == 1
    assert "No matches for ignored import reporting.cli -> click" in output


def lint(
    folder: Path, contract: str | None = None, config: str = "pyproject.toml"
) -> tuple[int, str]:
    """Exit code and output of import-linter on the package in ``folder``."""
    program = Path(sys.executable).with_name("lint-imports")
    chosen = ["--contract", contract] if contract else []
    # It imports nothing: the package is found in the working folder before any installed one.
    result = subprocess.run(
        [program, "--no-logo", "--no-cache", "--config", config, *chosen],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(folder), "COLUMNS": "200", "NO_COLOR": "1"},
    )
    return result.returncode, result.stdout + result.stderr
