"""Quotes and market trades as the book's executions read them: what is unusable is counted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from ..book.execution.market import LONGEST_MARKOUT_S
from ..book.packed import Column, Numbers, Whole, Words
from ..model import Finding, Frame

#: What a streamed column becomes.
QUOTES: Mapping[str, type[Column]] = {
    "instrument_id": Words,
    "mid_doubled": Numbers,
    "quoted_us": Whole,
    "recorded_us": Whole,
}
MARKET_TRADES: Mapping[str, type[Column]] = {
    "instrument_id": Words,
    "price": Numbers,
    "quantity": Numbers,
    "traded_us": Whole,
}
SAMPLES = 5


def quotes_window(start: datetime, end: datetime, max_age_s: int) -> Mapping[str, datetime]:
    """From when to when quotes can matter to a session: a markout looks beyond its end."""
    age = timedelta(seconds=max_age_s)
    return {"since": start - age, "until": end + timedelta(seconds=LONGEST_MARKOUT_S) + age}


def quotes_frame(read: Frame, max_age_s: int) -> Frame:
    """Usable quotes, and a finding on the others."""
    table, scales = read.table, read.coverage.control
    good = table["mid_doubled_known"].to_numpy()
    finding = _unusable(
        table[~good],
        "quote crossed or one-sided",
        "bid above ask, or one of them missing; not used for any mid. Instruments:",
    )
    control = {"mid_scale": scales["mid_doubled_scale"], "max_age_s": str(max_age_s)}
    return Frame(
        table[good].drop(columns="mid_doubled_known"),
        read.coverage.model_copy(update={"control": control}),
        (*read.findings, *finding),
    )


def trades_frame(read: Frame) -> Frame:
    """Usable market trades, and a finding on the others."""
    table = read.table
    good = (table["price_known"] & table["quantity_known"] & (table["quantity"] > 0)).to_numpy()
    finding = _unusable(
        table[~good],
        "market trade without price or quantity",
        "quantity not above 0, or no price; in no VWAP. Instruments:",
    )
    return Frame(
        table[good].drop(columns=["price_known", "quantity_known"]),
        read.coverage,
        (*read.findings, *finding),
    )


def _unusable(bad: pd.DataFrame, check: str, detail: str) -> tuple[Finding, ...]:
    if bad.empty:
        return ()
    names: list[Any] = sorted(bad["instrument_id"].dropna().astype(str).unique())
    return (
        Finding(
            check=check,
            severity="warning",
            count=len(bad),
            detail=detail.removesuffix(" Instruments:") if not names else detail,
            samples=tuple(names[:SAMPLES]),
        ),
    )
