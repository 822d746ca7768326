"""Booking fills, against pyfolio-reloaded's round trips on the same fills, per fill.

    python benchmarks/roundtrips.py [--fills 10000] [--booked 10000000] [--json]

pyfolio is what a trading desk would otherwise use: ``pyfolio.round_trips.extract_round_trips``
matches buys with sells first in, first out. It is no dependency of ours: it lives in an environment
of its own, made once under ``var/`` by this script, and is run in a process of its own. Its time
is that of the one call, on 10,000 fills: on more it is as slow a fill.

Ours is a day of ten million fills over 500 keys, booked as the close books it: in parts of 250,000
fills, each with its share of the keys (:mod:`reporting.book.parts`). It is given twice: of the
matching alone, which is what a round trip is, and of :func:`reporting.book.session.trade`, which
also values what is left, and sums cash, fees and positions by cell. What ten thousand fills over
500 keys take as a day of their own is given too: there the keys cost more than the fills. Seconds
are the processor's, so that a busy machine counts against neither. Both are also given the same
10,000 fills, and must find the same realised P&L. Aim: 1,000 times faster per fill.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reporting.book import EMPTY_BOOK, BookDay
from reporting.book.fifo import match_fifo
from reporting.book.parts import PART
from reporting.book.session import trade
from reporting.model import Coverage, Frame, epoch_ms

ENVIRONMENT = Path("var") / "pyfolio"
START = datetime(2025, 3, 4, tzinfo=UTC)
SYMBOLS = 500

THEIRS = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import pandas as pd
from pyfolio.round_trips import extract_round_trips
table = pd.read_csv(sys.argv[1])
table.index = pd.to_datetime(table.pop("at"), utc=True, format="ISO8601")
start = time.process_time()
trips = extract_round_trips(table)
seconds = time.process_time() - start
print(json.dumps({"seconds": seconds, "pnl": float(trips["pnl"].sum()), "trips": len(trips)}))
"""


Fills = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def drawn(fills: int, symbols: int = SYMBOLS, seed: int = 20250304) -> Fills:
    """Symbol, time in microseconds, signed quantity and price in cents of each fill.

    Every position ends flat: pyfolio takes fills of one direction that follow each other for one
    at their average price, so that only then both realise the same.
    """
    random = np.random.default_rng(seed)
    half = fills // 2
    undone = random.permutation(half)
    symbol = random.integers(0, symbols, half)
    symbol = np.r_[symbol, symbol[undone]]
    signed = random.choice([-1, 1], half) * random.integers(1, 5, half) * 100
    signed = np.r_[signed, -signed[undone]]
    at = epoch_ms(START) * 1000 + np.sort(random.choice(80_000_000_000, fills, replace=False))
    price = 10_000 + random.integers(-500, 500, fills)
    return symbol, at, signed, price


def ours(drawn_fills: Fills) -> tuple[float, Decimal]:
    """Seconds to book the fills, and what was realised; there are 500 instruments in any case."""
    symbol, at, signed, price = drawn_fills
    fills = len(symbol)
    names = [f"S{n:03}" for n in range(SYMBOLS)]
    one = pd.Categorical.from_codes(np.zeros(fills, np.int8), ["A"])
    table = pd.DataFrame(
        {
            "account_id": one, "strategy": one, "agent": one,
            "instrument_id": pd.Categorical.from_codes(symbol, names),
            "side": np.sign(signed), "quantity": np.abs(signed), "price": price,
            "fee": np.zeros(fills, np.int64),
            "fee_currency": pd.Categorical.from_codes(np.zeros(fills, np.int8), ["USD"]),
            "executed_us": at, "fill_id": pd.Series(np.arange(fills)).astype("str"),
            "price_known": np.ones(fills, bool),
        }
    )  # fmt: skip

    def frame(rows: pd.DataFrame) -> Frame:
        control = {"quantity_scale": "0", "price_scale": "2", "fee_scale": "0"}
        coverage = Coverage(
            source="bench", query="q", query_digest="", rows=len(rows), control=control
        )
        return Frame(rows, coverage)

    instruments = pd.DataFrame(
        [
            {"instrument_id": n, "symbol": n, "currency": "USD", "multiplier": Decimal(1),
             "tick": Decimal("0.01"), "lot": Decimal(1)}
            for n in names
        ]
    )  # fmt: skip
    marks = pd.DataFrame(
        [
            {"instrument_id": n, "price": Decimal(100), "source": "b", "marked_at": START}
            for n in names
        ]
    )
    start = time.process_time()
    day = trade(EMPTY_BOOK, frame(instruments), frame(table), frame(marks), epoch_ms(START))
    seconds = time.process_time() - start
    assert isinstance(day, BookDay) and day.fills == fills
    return seconds, sum((h.realised for h in day.holdings), Decimal(0))


def matching(drawn_fills: Fills) -> float:
    """Seconds to match the same fills and no more: what a round trip is."""
    symbol, at, signed, price = drawn_fills
    start = time.process_time()
    order = np.lexsort((at, symbol))
    match_fifo(symbol[order], signed[order], price[order])
    return time.process_time() - start


def whole_day(fills: int) -> tuple[float, float]:
    """Seconds to book a day's fills a part at a time, and of them to match."""
    parts = max(1, round(fills / PART))
    booked = matched = 0.0
    for part in range(parts):
        one = drawn(fills // parts, max(1, SYMBOLS // parts), seed=part)
        booked += ours(one)[0]
        matched += matching(one)
    return booked, matched


def theirs(fills: int, folder: Path) -> dict[str, float]:
    """What pyfolio needs for the fills, and what it finds."""
    symbol, at, signed, price = drawn(fills)
    path = folder / f"fills-{fills}.csv"
    pd.DataFrame(
        {
            "at": pd.to_datetime(at, unit="us", utc=True),
            "amount": signed,
            "price": price / 100,
            "symbol": [f"S{n:03}" for n in symbol],
        }
    ).to_csv(path, index=False)
    command = [str(ENVIRONMENT / "bin" / "python"), "-c", THEIRS, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def prepare() -> None:
    """An environment with pyfolio in it."""
    if not (ENVIRONMENT / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    probe = [str(ENVIRONMENT / "bin" / "python"), "-c", "import pyfolio"]
    if subprocess.run(probe, check=False, capture_output=True).returncode:
        pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "pyfolio-reloaded"], check=True)


def main() -> None:
    """Measure both and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fills", type=int, default=10_000)
    parser.add_argument("--booked", type=int, default=10_000_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    prepare()
    slow = theirs(arguments.fills, ENVIRONMENT)
    same_s, same = ours(drawn(arguments.fills))
    assert abs(float(same) - slow["pnl"]) < 0.01, (same, slow["pnl"])
    booked, matched = whole_day(arguments.booked)
    per_fill = slow["seconds"] / arguments.fills
    result = {
        "pyfolio_us_per_fill": round(per_fill * 1e6, 2),
        "ours_us_per_fill": round(booked / arguments.booked * 1e6, 3),
        "ours_us_per_fill_of_the_same": round(same_s / arguments.fills * 1e6, 3),
        "matching_us_per_fill": round(matched / arguments.booked * 1e6, 3),
        "times": round(per_fill / (booked / arguments.booked)),
        "times_matching": round(per_fill / (matched / arguments.booked)),
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        print(
            f"pyfolio: {result['pyfolio_us_per_fill']} us a fill ({arguments.fills:,} fills); "
            f"ours, of {arguments.booked:,}: matching {result['matching_us_per_fill']} us, "
            f"{result['times_matching']:,} times faster; with all that is summed and valued "
            f"{result['ours_us_per_fill']} us, {result['times']:,} times (aim: 1,000 or more)"
        )


if __name__ == "__main__":
    main()
