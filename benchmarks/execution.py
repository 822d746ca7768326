"""A day of fills against every benchmark, from arrays: seconds, fills per second, peak memory.

    python -m benchmarks.execution [fills]

Ten million fills over 500 account × instrument keys, 2,500,000 orders, 5,000,000 quotes and as many
market trades by default. Only the executions are measured; reading them is in benchmarks/book.py.
"""

from __future__ import annotations

import resource
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pandas as pd

from reporting.book.execution import executions, market_of
from reporting.model import Coverage, Frame, Window
from reporting.periods import TradingDay

DAY = date(2026, 3, 2)
START = datetime(2026, 3, 2, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000
DAY_US = 86_400_000_000
INSTRUMENTS, ACCOUNTS, AGENTS = 50, 10, 8


def frame(columns: dict[str, Any], **control: str) -> Frame:
    table = pd.DataFrame(columns)
    coverage = Coverage(
        source="ledger", query="made", query_digest="", rows=len(table), control=control
    )
    return Frame(table, coverage)


def words(prefix: str, codes: Any, count: int) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, categories=[f"{prefix}{i:03d}" for i in range(count)])


def made(fills: int) -> dict[str, Frame]:
    """Orders with four fills each, at prices near a walk of their instrument."""
    rng = np.random.default_rng(4)
    orders, quotes = fills // 4, fills // 2
    placed = np.sort(rng.integers(0, DAY_US - 3_600_000_000, orders)) + START_US
    instrument = rng.integers(0, INSTRUMENTS, orders).astype(np.int16)
    account = rng.integers(0, ACCOUNTS, orders).astype(np.int16)
    agent = (account % AGENTS).astype(np.int16)  # 500 keys, at 4 venues each
    side = rng.choice(np.array([-1, 1]), orders)
    arrival = 10_000 + instrument.astype(np.int64) * 1_000 + rng.integers(-50, 50, orders)
    ids = np.char.add("O", np.arange(orders).astype(str))
    of = np.repeat(np.arange(orders), 4)[:fills]
    when = placed[of] + rng.integers(0, 60_000_000, len(of))
    ends = placed + 60_000_000
    nothing = np.zeros(0, np.int64)
    filled = np.full(orders, True)
    return {
        "fills": frame(
            {
                "account_id": words("acc", account[of], ACCOUNTS),
                "instrument_id": words("I", instrument[of], INSTRUMENTS),
                "strategy": words("s", agent[of] // 2, AGENTS),
                "agent": words("a", agent[of], AGENTS),
                "side": side[of],
                "fee_currency": pd.Categorical.from_codes(np.zeros(len(of), np.int8), ["USD"]),
                "executed_us": when,
                "fill_id": pd.Series(np.char.add("F", np.arange(len(of)).astype(str)), dtype="str"),
                "order_id": pd.Categorical.from_codes(of.astype(np.int32), categories=ids),
                "venue": words("v", rng.integers(0, 4, len(of)).astype(np.int8), 4),
                "quantity": rng.integers(1, 500, len(of)),
                "price": arrival[of] + rng.integers(-20, 25, len(of)),
                "fee": rng.integers(0, 100, len(of)),
            },
            quantity_scale="0", price_scale="2", fee_scale="2",
        ),
        "orders": frame(
            {
                "order_id": pd.Series(ids, dtype="str"),
                "replaces": pd.Series([None] * orders, dtype="str"),
                "account_id": words("acc", account, ACCOUNTS),
                "instrument_id": words("I", instrument, INSTRUMENTS),
                "strategy": words("s", agent // 2, AGENTS),
                "agent": words("a", agent, AGENTS),
                "side": side,
                "quantity": np.full(orders, 1_000),
                "decision_price": arrival - 3, "decision_price_known": filled,
                "arrival_price": arrival, "arrival_price_known": filled,
                "status": pd.Categorical.from_codes(np.zeros(orders, np.int8), ["cancelled"]),
                "reject_reason": pd.Series([None] * orders, dtype="str"),
                "placed_us": placed, "done_us": ends, "recorded_us": ends,
            },
            quantity_scale="0", decision_price_scale="2", arrival_price_scale="2",
        ),
        "earlier": frame(
            {
                "order_id": pd.Series([], dtype="str"), "venue": pd.Categorical([]),
                "fee_currency": pd.Categorical([]),
                **dict.fromkeys(("quantity", "amount", "fee", "first_us", "last_us"), nothing),
            },
            quantity_scale="0", amount_scale="0", fee_scale="0",
        ),
        "instruments": frame(
            {
                "instrument_id": [f"I{i:03d}" for i in range(INSTRUMENTS)],
                "symbol": [f"S{i}" for i in range(INSTRUMENTS)],
                "currency": ["USD", "EUR"] * (INSTRUMENTS // 2),
                "multiplier": [Decimal(1)] * INSTRUMENTS,
                "tick": [Decimal("0.01")] * INSTRUMENTS, "lot": [Decimal(1)] * INSTRUMENTS,
            }
        ),
        "quotes": frame(
            {
                "instrument_id": words(
                    "I", rng.integers(0, INSTRUMENTS, quotes).astype(np.int8), INSTRUMENTS
                ),
                "quoted_us": np.sort(rng.integers(0, DAY_US, quotes)) + START_US,
                "recorded_us": np.full(quotes, START_US),
                "mid_doubled": rng.integers(20_000, 100_000, quotes),
            },
            mid_scale="2", max_age_s="60",
        ),
        "trades": frame(
            {
                "instrument_id": words(
                    "I", rng.integers(0, INSTRUMENTS, quotes).astype(np.int8), INSTRUMENTS
                ),
                "traded_us": np.sort(rng.integers(0, DAY_US, quotes)) + START_US,
                "price": rng.integers(10_000, 50_000, quotes),
                "quantity": rng.integers(1, 500, quotes),
            },
            price_scale="2", quantity_scale="0",
        ),
    }  # fmt: skip


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    fills = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    window = Window(start=START, end=START + timedelta(1))
    day = TradingDay(DAY, "24/7", "UTC", window, window, "regular session")
    frames = made(fills)
    held = peak_mib()
    begun, worked = perf_counter(), process_time()
    market = market_of(day, frames["quotes"], frames["trades"])
    sorted_at = perf_counter()
    found = executions(
        day, frames["fills"], frames["orders"], frames["earlier"], frames["instruments"], market
    )
    ended, worked = perf_counter(), process_time() - worked
    print(f"fills                {fills:>12,}")
    print(f"market made ready    {sorted_at - begun:>12.2f} s")
    print(f"executions           {ended - sorted_at:>12.2f} s")
    print(f"processor time       {worked:>12.2f} s")
    print(f"fills per second     {fills / worked:>12,.0f} of processor time")
    print(f"memory of the input  {held:>12,.0f} MiB")
    print(f"more at the peak     {peak_mib() - held:>12,.0f} MiB")
    print(f"cells                {len(found.slippage):>12,}")
    size = len(found.day.model_dump_json()) / 1024
    print(f"sealed beside cells  {size:>12,.0f} KiB")


if __name__ == "__main__":
    main()
