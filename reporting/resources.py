"""Where the files that belong to the package lie, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def resource(name: str) -> Path:
    """The folder ``sql``, ``templates`` or ``config`` that came with this code."""
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.exists() else package.parent / name
