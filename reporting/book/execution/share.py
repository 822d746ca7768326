"""The market of some instruments only, for a part of a session that is worked out elsewhere."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from ..fifo import Ints
from .market import Mids, Tape, cumulated
from .slippage import Market


def market_share(market: Market, instruments: Collection[str]) -> Market:
    """``market`` with the quotes and trades of ``instruments`` alone: all that they look up."""
    mids, tape = market.mids, market.tape
    if isinstance(mids, Mids):
        spans = _spans(mids, instruments)
        mids = replace(mids, keys=_of(mids.keys, spans), doubled=_of(mids.doubled, spans))
    if isinstance(tape, Tape):
        spans = _spans(tape, instruments)
        tape = replace(
            tape,
            keys=_of(tape.keys, spans),
            quantity=[(shift, _summed(sums, spans)) for shift, sums in tape.quantity],
            turnover=[(shift, _summed(sums, spans)) for shift, sums in tape.turnover],
        )
    return replace(market, mids=mids, tape=tape)


def _spans(of: Mids | Tape, instruments: Collection[str]) -> list[tuple[int, int]]:
    """Where each instrument's rows stand: together, since an instrument is a stretch of keys."""
    codes = np.sort(of.line.names.get_indexer(sorted(instruments)))
    codes = codes[codes >= 0].astype(np.int64)
    width = of.line.span_us
    first = np.searchsorted(of.keys, codes * width)
    return list(
        zip(first.tolist(), np.searchsorted(of.keys, (codes + 1) * width).tolist(), strict=True)
    )


def _of(values: Ints, spans: list[tuple[int, int]]) -> Ints:
    return np.concatenate([values[:0], *(values[first:last] for first, last in spans)])


def _summed(sums: Ints, spans: list[tuple[int, int]]) -> Ints:
    """Cumulative sums of what is left: only differences within an instrument are ever taken."""
    steps = [np.diff(sums[first : last + 1]) for first, last in spans]
    return cumulated(np.concatenate([sums[:0], *steps]))
