"""One PostgreSQL and one run of the demo for the whole session; cheap clones for each test."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reporting.demo import story
from reporting.demo.prometheus import find_binary, running_prometheus
from reporting.errors import NotReady
from reporting.postgres import database, migrate, start_embedded

from .line.site import ROOT, Demo, Server, Site

# What `make test` sets too: the binaries that `make setup` unpacked.
os.environ["PATH"] = f"{ROOT / 'var' / 'tools' / 'usr' / 'bin'}{os.pathsep}{os.environ['PATH']}"
for name in [name for name in os.environ if name.startswith("REPORTING_")]:
    del os.environ[name]  # nobody's own settings may reach a test

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def demo_var() -> Path:
    """The folder of the session's demo.

    Not below pytest's own: as root the server runs as another user, and every new session of
    pytest closes that folder to others, which makes a running server stop within a minute.
    """
    folder = Path(tempfile.mkdtemp(prefix="reporting-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # after the server has stopped
    return folder / "var"


@pytest.fixture(scope="session")
def server(demo_var: Path) -> Server:
    """The embedded PostgreSQL; the demo uses the same."""
    return Server(start_embedded(demo_var / "postgres").url)


@pytest.fixture(scope="session")
def demo(server: Server, demo_var: Path) -> Demo:
    """The whole line once, on sample data."""
    for binary in ("prometheus", "promtool"):
        try:
            find_binary(binary, demo_var)
        except NotReady as error:
            pytest.skip(str(error))
    reports = demo_var.parent / "reports"
    return Demo(server, demo_var, reports, story.run(demo_var, reports, lambda words: None))


@pytest.fixture(scope="session")
def prometheus(demo: Demo) -> Iterator[str]:
    """The demo's metrics history, served."""
    with running_prometheus(demo.var / "tsdb", demo.var.parent) as url:
        yield url


@pytest.fixture(scope="session")
def empty_store(server: Server) -> str:
    """The name of a migrated store without a row, to be cloned."""
    server.drop("empty_store")
    server.run("create database empty_store")
    migrate(database(server.database("empty_store"), "store"))
    return "empty_store"


@pytest.fixture
def make_site(server: Server, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Sites whose ledger and store are clones of given databases, dropped at the test's end."""
    made: list[str] = []

    def make(ledger: str, store: str, reports: Path | None = None, **given: Any) -> Site:
        number = next(_numbers)
        folder = tmp_path / f"site{number}"
        folder.mkdir()
        story.operations_file(folder).write_text(story.operations(), "utf-8")
        if reports is not None:
            shutil.copytree(reports, folder / "reports")
        for kind, template in (("ledger", ledger), ("store", store)):
            made.append(f"{kind}_{number}")
            server.clone(made[-1], template)
        return Site(
            server, f"ledger_{number}", f"store_{number}", folder / "reports", folder, given
        )

    yield make
    for name in made:
        server.drop(name)


@pytest.fixture
def site(demo: Demo, make_site: Callable[..., Site]) -> Site:
    """The demo as it stands at its end, free to be changed."""
    return make_site("ledger", "reporting", demo.reports)


@pytest.fixture
def fresh(demo: Demo, empty_store: str, make_site: Callable[..., Site]) -> Site:
    """The demo's ledger with nothing sealed yet."""
    return make_site("ledger", empty_store)
