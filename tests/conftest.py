"""One PostgreSQL and one run of the demo for the whole session; cheap clones for each test.

`make test` runs several workers (pytest-xdist). The server and the demo are theirs together:
whoever needs one first makes it, the others wait for it.
"""

from __future__ import annotations

import atexit
import fcntl
import itertools
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reporting.demo import story
from reporting.demo.prometheus import find_binary, running_prometheus
from reporting.errors import NotReady
from reporting.postgres import database, migrate, start_embedded

from .line.site import ROOT, WORKER, Demo, Server, Site

# What `make test` sets too: the binaries that `make setup` unpacked.
os.environ["PATH"] = f"{ROOT / 'var' / 'tools' / 'usr' / 'bin'}{os.pathsep}{os.environ['PATH']}"
for name in [name for name in os.environ if name.startswith("REPORTING_")]:
    del os.environ[name]  # nobody's own settings may reach a test

SHARED = pytest.StashKey[Path]()
DEMO_LEDGER = "ledger"
#: The demo's databases. Their copies are what tests clone: nobody may be connected to those.
TEMPLATES = (DEMO_LEDGER, "reporting")
_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of the session's demo, once for all workers.

    Not below pytest's own: as root the server runs as another user, and every new session of
    pytest closes that folder to others, which makes a running server stop within a minute.
    """
    given = getattr(config, "workerinput", None)
    if given is not None:
        config.stash[SHARED] = Path(given["shared"])
        return
    folder = config.stash[SHARED] = Path(tempfile.mkdtemp(prefix="reporting-tests-"))
    # After the server has stopped: with the last worker, or in an exit handler registered later.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where the folder is."""
    node.workerinput["shared"] = str(node.config.stash[SHARED])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that need the demo come first.

    Each worker starts in its own part of the list: the first makes the demo while the others do
    what needs none.
    """
    needing = {item.path for item in items if "demo" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in needing)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One worker at a time."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # freed when the file is closed, however that comes
        yield


@pytest.fixture(scope="session")
def demo_var(pytestconfig: pytest.Config) -> Path:
    """The folder of the session's demo."""
    return pytestconfig.stash[SHARED] / "var"


@pytest.fixture(scope="session")
def server(demo_var: Path) -> Server:
    """The embedded PostgreSQL; the demo uses the same."""
    with alone(demo_var.parent / "server.lock"):
        made = Server(start_embedded(demo_var / "postgres").url)
        # Nothing here outlives the machine: a dropped database need not reach the disk first.
        made.run("alter system set fsync = off")
        made.run("select pg_reload_conf()")
    return made


@pytest.fixture(scope="session")
def demo(server: Server, demo_var: Path) -> Demo:
    """The whole line once, on sample data."""
    for binary in ("prometheus", "promtool"):
        try:
            find_binary(binary, demo_var)
        except NotReady as error:
            pytest.skip(str(error))
    reports, made = demo_var.parent / "reports", demo_var.parent / "made"
    with alone(demo_var.parent / "demo.lock"):
        if not made.exists():  # written last: a demo that failed fails for each worker
            found = story.run(demo_var, reports, lambda words: None)
            for name in TEMPLATES:
                server.clone(f"{name}_template", name)
            made.write_bytes(pickle.dumps(found))
    return Demo(server, demo_var, reports, pickle.loads(made.read_bytes()))


@pytest.fixture(scope="session")
def prometheus(demo: Demo) -> Iterator[str]:
    """The demo's metrics history, served: a copy for each worker, since servers write there."""
    data = Path(shutil.copytree(demo.var / "tsdb", demo.var.parent / f"tsdb{WORKER}"))
    with running_prometheus(data, demo.var.parent) as url:
        yield url


@pytest.fixture(scope="session")
def empty_store(server: Server, demo_var: Path) -> str:
    """The name of a migrated store without a row, to be cloned."""
    name = f"empty_store{WORKER}"
    server.run(f"create database {name}")
    with alone(demo_var.parent / "server.lock"):  # the first migration makes the server's roles
        migrate(database(server.database(name), "store"))
    return name


@pytest.fixture
def make_site(server: Server, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Sites whose ledger and store are clones of given databases, dropped at the test's end.

    The demo's own ledger is not cloned: it is only read.
    """
    made: list[str] = []

    def make(ledger: str, store: str, reports: Path | None = None, **given: Any) -> Site:
        number = next(_numbers)
        folder = tmp_path / f"site{number}"
        folder.mkdir()
        story.operations_file(folder).write_text(story.operations(), "utf-8")
        if reports is not None:
            shutil.copytree(reports, folder / "reports")
        names = {}
        for kind, template in (("ledger", ledger), ("store", store)):
            names[kind] = f"{kind}{WORKER}_{number}"
            if template == DEMO_LEDGER:
                names[kind] = template
                continue
            made.append(names[kind])
            server.clone(made[-1], template)
        return Site(server, names["ledger"], names["store"], folder / "reports", folder, given)

    yield make
    for name in made:
        server.drop(name)


@pytest.fixture
def site(demo: Demo, make_site: Callable[..., Site]) -> Site:
    """The demo as it stands at its end, free to be changed."""
    return make_site("ledger_template", "reporting_template", demo.reports)


@pytest.fixture
def closed_site(demo: Demo, make_site: Callable[..., Site]) -> Site:
    """The same for tests that leave the ledger alone: a third of a second cheaper."""
    return make_site(DEMO_LEDGER, "reporting_template", demo.reports)


@pytest.fixture
def fresh(demo: Demo, empty_store: str, make_site: Callable[..., Site]) -> Site:
    """The demo's ledger with nothing sealed yet."""
    return make_site("ledger_template", empty_store)
