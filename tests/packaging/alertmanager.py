"""Whether a real Alertmanager can start here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

VAR = Path(__file__).parents[2] / "var"
#: Debian's reads the texts of its messages from here and from nowhere else.
TEXTS = Path("usr/share/prometheus/alertmanager")

_unpacked = {file.name for file in (VAR / "tools" / TEXTS).glob("*.tmpl")}
_placed = {file.name for file in ("/" / TEXTS).glob("*.tmpl")}

needs_its_texts = pytest.mark.skipif(
    # An Alertmanager that is installed has brought its own.
    shutil.which("prometheus-alertmanager", path="/usr/bin:/usr/local/bin") is None
    and shutil.which("alertmanager", path="/usr/bin:/usr/local/bin") is None
    and not _unpacked <= _placed,
    reason=f"Debian's Alertmanager needs its texts in /{TEXTS}; run `make setup` as administrator",
)
