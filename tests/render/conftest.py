"""The sample documents, rendered once for the whole package."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from types import ModuleType

import pytest

from reporting import render
from reporting.page import Document, Kind


def load_sample() -> ModuleType:
    """``sample.py`` beside this file; it is no part of an installed package."""
    path = Path(__file__).with_name("sample.py")
    spec = importlib.util.spec_from_file_location("render_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    return load_sample()


@pytest.fixture(scope="session")
def monthly(sample: ModuleType) -> Document:
    document: Document = sample.document(Kind.MONTHLY)
    return document


@pytest.fixture(scope="session")
def html(monthly: Document) -> str:
    return render.render_html(monthly).decode()


@pytest.fixture(scope="session")
def renderer_warnings() -> list[str]:
    """What WeasyPrint had to say about the page of ``pdf``."""
    return []


class _Listener(logging.Handler):
    def __init__(self, into: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        self._into.append(record.getMessage())


@pytest.fixture(scope="session")
def pdf(monthly: Document, html: str, renderer_warnings: list[str]) -> bytes:
    listener, logger = _Listener(renderer_warnings), logging.getLogger("weasyprint")
    logger.addHandler(listener)
    try:
        return render.render_pdf(html.encode(), monthly)
    finally:
        logger.removeHandler(listener)
