"""What belongs to the package, in a checkout and in an installed wheel: its files, its code."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


def resource(name: str) -> Path:
    """The folder ``sql``, ``templates`` or ``config`` that came with this code."""
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.exists() else package.parent / name


@cache
def code_digest() -> str:
    """SHA-256 over the package's Python sources, by name; hex."""
    package = Path(__file__).parent
    total = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        total.update(path.relative_to(package).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
