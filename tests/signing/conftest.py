"""One authority for the whole package, and a small report to sign."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from reporting import render
from reporting.page import Document, Kind
from reporting.signing import Signed, sign

from ..line.site import Site
from .authority import Authority, running


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """Certificates, revocation list and time stamps on a loopback port."""
    with running(tmp_path_factory.mktemp("authority")) as made:
        yield made


@pytest.fixture(scope="session")
def now() -> datetime:
    """The machine's time, by which the services stamp."""
    return datetime.now(UTC)


@pytest.fixture(scope="session")
def documents() -> ModuleType:
    """The documents by hand of the tests of rendering."""
    path = Path(__file__).parents[1] / "render" / "sample.py"
    spec = importlib.util.spec_from_file_location("render_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def small(documents: ModuleType) -> bytes:
    """A page of one line, with the empty field of a report that is about to be signed."""
    document: Document = documents.document(Kind.DAILY, bare=True)
    page = b'<html lang="en"><head><title>t</title></head><body><h1>Report</h1></body></html>'
    return render.render_pdf(page, document.model_copy(update={"signed": True}))


@pytest.fixture(scope="session")
def signed(authority: Authority, small: bytes, now: datetime) -> Signed:
    return sign(small, authority.credentials(), now)


@pytest.fixture
def site(closed_site: Site) -> Site:
    """The demo as it stands at its end; its ledger is only read."""
    return closed_site
