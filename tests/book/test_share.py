"""A part's own share of the market answers as the whole market does; a part is sent narrow."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.book import EMPTY_BOOK
from reporting.book.execution import Market, market_of
from reporting.book.execution.market import Mids, Tape
from reporting.book.execution.share import market_share
from reporting.book.packed import Names, Packed
from reporting.book.parts import parts

from .drawn import MONDAY, Fill, at, microseconds, trading_day
from .executed import NO_VIEW, Quote, Trade, quotes_frame, trades_frame
from .test_parts import OWN, drawn_fills, market, two_accounts

NAMES = ["AAA", "BBB", "CCC"]
SECONDS = st.integers(0, 40)


def us(second: int) -> int:
    return microseconds(at(MONDAY, second))


def seen(quotes: Any, trades: Any) -> Market:
    """A market of these; the instrument is a number of NAMES."""
    return market_of(
        trading_day(),
        quotes_frame([Quote(us(s), str(b), str(b + 1), NAMES[n]) for n, s, b in quotes], 5),
        trades_frame([Trade(us(s), str(p), str(q), NAMES[n]) for n, s, p, q in trades]),
    )


def known(answer: tuple[Any, Any]) -> list[int | None]:
    """What was found, None where nothing was."""
    return [value if found else None for value, found in zip(*map(list, answer), strict=True)]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), SECONDS, st.integers(1, 9)), max_size=12),
    st.lists(
        st.tuples(st.integers(0, 2), SECONDS, st.integers(1, 10**9), st.integers(1, 10**12)),
        max_size=12,
    ),
    st.sets(st.sampled_from([*NAMES, "unknown"])),
    st.lists(st.tuples(SECONDS, st.integers(0, 9)), min_size=1, max_size=9),
)
def test_a_share_answers_as_the_whole(
    quotes: Any, trades: Any, names: set[str], asked: list[tuple[int, int]]
) -> None:
    whole = seen(quotes, trades)
    share = pickle.loads(pickle.dumps(market_share(whole, names)))
    when = np.array([us(s) for s, _ in asked])
    later = when + np.array([length * 1_000_000 for _, length in asked])
    for name in names:
        for of, own in ((whole.mids, share.mids), (whole.tape, share.tape)):
            assert isinstance(of, Mids | Tape) and isinstance(own, type(of))
            code = np.full(len(asked), of.line.codes(np.array([name]))[0])
            keys, ends = of.line.keys(code, when), of.line.keys(code, later)
            if isinstance(of, Mids) and isinstance(own, Mids):
                assert known(own.as_of(keys)) == known(of.as_of(keys))
                assert known(own.after(keys, 3_000_000)) == known(of.after(keys, 3_000_000))
            elif isinstance(of, Tape) and isinstance(own, Tape):
                assert known(own.vwap(keys, ends, 4)) == known(of.vwap(keys, ends, 4))
    if isinstance(share.mids, Mids):
        mine = [n for n, _, _ in quotes if NAMES[n] in names]
        assert len(share.mids.keys) == len(mine)  # and nothing else is sent


def test_what_is_not_measured_stays_so() -> None:
    none = market_of(trading_day(), NO_VIEW, NO_VIEW)
    assert market_share(none, ["AAA"]).absent == none.absent


@pytest.mark.parametrize("count", [1, 2])
def test_a_part_that_was_sent_is_the_part(count: int) -> None:
    for part in parts(EMPTY_BOOK, two_accounts(OWN), market([("AAA", 1, 2)]), 4 // count):
        sent = pickle.loads(pickle.dumps(part))
        for name in ("fills", "orders"):
            frame = getattr(sent, name)
            assert isinstance(frame, Packed)
            assert frame.table.equals(getattr(part, name).table)
        assert (sent.opening, sent.beside) == (part.opening, part.beside)


def test_more_parts_than_a_small_integer_counts() -> None:
    fills = [Fill(str(n), 1, "1", "10", account=f"acc{n}") for n in range(300)]
    sources = replace(two_accounts([]), fills=drawn_fills(fills, [None] * 300))
    divided = list(parts(EMPTY_BOOK, sources, market(None), 1))
    assert [len(part.fills.table) for part in divided] == [1] * 300


GROUPED = st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 4, 30]), st.integers(0, 2)), max_size=8)


@settings(max_examples=200, deadline=None)
@given(GROUPED, GROUPED, st.booleans(), st.integers(0, 3))
def test_identifiers_are_together(
    own: list[tuple[int, int]], others: list[tuple[int, int]], text: bool, far: int
) -> None:
    shape = "O{:04}x" if text else "O{:04}"
    names = [
        Names.of(pa.array([shape.format(n * 10**far) for n, _ in rows], pa.string()))
        for rows in (own, others)
    ]
    groups = [np.array([g for _, g in rows], np.int8) for rows in (own, others)]
    found = names[0].together(groups[0], names[1], groups[1])
    of: dict[int, set[int]] = {}
    for n, g in own:
        of.setdefault(n, set()).add(g)
    if found is not None:
        assert found == all(of.get(n, {g}) == {g} for n, g in others)
    elif own and others and not text and far == 0:
        spread = max(of) - min(of)
        assert spread >= 8 * len(own) or any(len(g) > 1 for g in of.values())
