"""What others say that we hold, one line an item: a statement that says it twice is a finding."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from ..model import Finding, Frame
from .ratios import is_number

SAMPLES = 5
Severity = Literal["warning", "error"]


def statements(stated: Frame) -> Frame:
    """``stated`` with one row for each source, account and item that says how much.

    The ledger hands the rows of one statement on in the order in which it recorded them. Of several
    about one item the last counts, since a source sends a line again to correct it; two that
    differ are counted in a finding, for nobody can tell from here which one is right.
    """
    table = stated.table
    if table.empty:
        return stated
    what = "positions" if "instrument_id" in table else "cash"
    item, amount = ("instrument_id", "quantity") if what == "positions" else ("currency", "balance")
    keys = ["source", "account_id", item]
    findings = list(stated.findings)
    no_number = ~table[amount].map(is_number).astype(bool)
    no_item = table[keys].isna().any(axis=1)
    if what == "cash":
        no_item |= ~table[item].astype(str).str.fullmatch("[A-Z]{3}")
    checks: tuple[tuple[str, Severity, pd.Series, str], ...] = (
        ("with an amount that is no number", "error", no_number, "null, NaN or infinite: left out"),
        (
            "that can not be read",
            "warning",
            no_item & ~no_number,
            "without its item or a currency code: left out",
        ),
    )
    for words, severity, bad, detail in checks:
        if bad.any():
            findings.append(
                Finding(
                    check=f"stated {what} {words}",
                    severity=severity,
                    count=int(bad.sum()),
                    detail=detail,
                    samples=_names(table.loc[bad, keys]),
                )
            )
    table = table[~(no_number | no_item)]
    again = table.duplicated(keys, keep="last")
    if again.any():
        said = table.groupby(keys, sort=True)[amount].nunique()
        differing = said[said > 1].reset_index()[keys]
        findings.append(
            Finding(
                check=f"{what} stated twice",
                severity="warning" if len(differing) else "note",
                count=int(again.sum()),
                detail=f"the line recorded last counts; {len(differing)} contradict an earlier one",
                samples=_names(differing if len(differing) else table.loc[again, keys]),
            )
        )
        table = table[~again]
    return Frame(table.reset_index(drop=True), stated.coverage, tuple(findings))


def _names(rows: pd.DataFrame) -> tuple[str, ...]:
    return tuple(" / ".join(map(str, row)) for row in rows.head(SAMPLES).itertuples(index=False))
