"""Rows whose number is NaN or infinite, which NUMERIC can hold: left out, and named in a finding.

The queries of instruments, marks and rates give them beside the sound rows, told by ``is_number``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from ..model import Finding, Frame

SAMPLES = 5
Row = Mapping[Any, Any]


def sound_instruments(read: Frame) -> Frame:
    """The newest version of each instrument whose numbers are numbers."""
    good, bad = _divided(read)
    newest = {row["instrument_id"]: row["recorded_at"] for row in good}
    late = [
        row
        for row in bad
        if row["instrument_id"] not in newest or row["recorded_at"] > newest[row["instrument_id"]]
    ]
    finding = _finding(
        "instrument whose multiplier, tick or lot is no number",
        (str(row["instrument_id"]) for row in late),
        "NaN, infinite or null: the version before it counts, or the instrument is not known",
    )
    return _framed(read, good, finding)


def sound_marks(read: Frame, start: datetime) -> Frame:
    """The mark that values each instrument; ``beside`` has other sources' of the same session.

    An older row that is no number was told of in its own session.
    """
    good, bad = _divided(read)
    chosen: dict[Any, dict[Any, Any]] = {}
    for row in good:
        first = chosen.setdefault(row["instrument_id"], {**row, "beside": ()})
        if first["marked_at"] >= start and row["marked_at"] >= start:
            if row["source"] != first["source"]:
                first["beside"] += ((row["source"], row["price"], row["marked_at"]),)
    finding = _finding(
        "mark that is no number",
        (
            f"{row['instrument_id']} / {row['source']} / {row['marked_at'].isoformat()}"
            for row in bad
            if row["marked_at"] >= start
        ),
        "NaN or infinite: left out, the newest one that is a number counts",
    )
    return _framed(read, list(chosen.values()), finding)


def sound_rates(read: Frame, start: datetime) -> Frame:
    """The rate of each pair; an older row that is no number was told of in its own session."""
    good, bad = _divided(read)
    finding = _finding(
        "FX rate that is no number above 0",
        (
            f"{row['base']}/{row['quote']} / {row['source']} / {row['fixed_at'].isoformat()}"
            for row in bad
            if row["fixed_at"] >= start
        ),
        "NaN, infinite, 0 or below: left out, the newest one that is a number counts",
    )
    return _framed(read, good, finding)


def no_numbers(view: str, found: Mapping[str, list[str]]) -> tuple[Finding, ...]:
    """A finding on the streamed columns of ``view`` that have NaN or infinity, by their rows."""
    return tuple(
        finding
        for column, names in sorted(found.items())
        for finding in _finding(
            f"ledger.{view}.{column} that is no number",
            names,
            "NaN or infinite: taken as not known",
        )
    )


def _divided(read: Frame) -> tuple[list[dict[Any, Any]], list[dict[Any, Any]]]:
    rows = read.table.to_dict("records")
    return [r for r in rows if r["is_number"]], [r for r in rows if not r["is_number"]]


def _framed(read: Frame, rows: Iterable[Row], findings: tuple[Finding, ...]) -> Frame:
    table = pd.DataFrame.from_records(
        [{name: value for name, value in row.items() if name != "is_number"} for row in rows]
    )
    coverage = read.coverage.model_copy(update={"rows": len(table)})
    return Frame(table, coverage, (*read.findings, *findings))


def _finding(check: str, names: Iterable[str], detail: str) -> tuple[Finding, ...]:
    named = sorted(names)
    if not named:
        return ()
    return (
        Finding(
            check=check,
            severity="error",
            count=len(named),
            detail=detail,
            samples=tuple(named[:SAMPLES]),
        ),
    )
