"""Issued documents to write mails of, and servers that take them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reporting.page import Document

from .server import Server, certificates, running

SAMPLE = Path(__file__).parents[2] / "reports" / "sample"


def document_of(kind: str) -> Document:
    (facts,) = SAMPLE.glob(f"{kind}/*/r1/facts.json")
    return Document.model_validate_json(facts.read_bytes())


@pytest.fixture(scope="session")
def daily() -> Document:
    return document_of("daily")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ca.pem`` and the server's certificate."""
    made = tmp_path_factory.mktemp("certificates")
    certificates(made)
    return made


@pytest.fixture(scope="session")
def secure(folder: Path) -> Iterator[Server]:
    """Speaks STARTTLS, with a certificate for localhost."""
    with running(folder, security="starttls") as server:
        yield server


@pytest.fixture(scope="session")
def clear() -> Iterator[Server]:
    """Offers no encryption."""
    with running() as server:
        yield server
