"""WeasyPrint's answer is worked out once for each report, and given again to who asks again.

A page takes a second or two, which somebody who dies every second never has. So a killed worker's
successor is handed the PDF that was made of the same report the first time: the product's own, but
for the minute of issue that is printed in it. The long form also runs rounds without this.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any


def remember(folder: Path) -> None:
    """Keep PDFs and bodies of mails in ``folder``."""
    from reporting import render  # noqa: PLC0415
    from reporting.pipeline import delivering  # noqa: PLC0415

    render.render_pdf = kept_pdf(folder)
    delivering.render_mail = _kept(  # type: ignore[assignment]
        folder,
        delivering.render_mail,
        lambda document, *rest: f"{document.id} {document.status} {rest}",
    )


def kept_pdf(folder: Path) -> Any:
    """The product's ``render_pdf``, with what it said before."""
    from reporting import render  # noqa: PLC0415

    return _kept(folder, render.render_pdf, lambda _, d: f"{d.id} {d.status} {d.signed}")


def _kept(folder: Path, real: Callable[..., Any], key: Callable[..., str]) -> Any:
    def asked(*arguments: Any) -> Any:
        name = hashlib.sha256(f"{real.__name__} {key(*arguments)}".encode()).hexdigest()
        path = folder / name
        try:
            return pickle.loads(path.read_bytes())
        except FileNotFoundError:
            answer = real(*arguments)
            partial = folder / f"{name}.{os.getpid()}"
            partial.write_bytes(pickle.dumps(answer))
            os.rename(partial, path)
            return answer

    return asked
