"""Holds, purges and sign-offs are of the store."""

from __future__ import annotations

import pytest

from ..line.site import Site


@pytest.fixture
def site(closed_site: Site) -> Site:
    """The demo as it stands at its end; its ledger is only read."""
    return closed_site
