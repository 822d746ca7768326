"""VaR and ES with components of 1,000 positions over 500 days, against bare numpy.

    python benchmarks/risk.py [--positions 1000] [--days 500] [--runs 200] [--threads 1] [--json]

The floor is what nobody can do without: the product of the matrix of returns with the positions,
and one partition of its 500 outcomes. Ours ranks the same outcomes in whole cents and gives each
position its component of VaR and of ES, which sum to the totals to the cent. Both run in turn, in
one process; the median of many runs counts. The product has one thread on both sides unless
--threads says otherwise: with more, the ratio tells how idle the other core is. Aim: 2 or below.

Printed beside it, without an aim: everything that a close works out of the same sample (five
methods at three levels, components by two methods, what each position adds and is alone).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read by the library when it is loaded, so before anything else.
THREADS = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv else "1"
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = THREADS

import numpy as np  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))

from reporting.measures.var import _estimates, _level, _parted  # noqa: E402
from reporting.risk import LEVELS  # noqa: E402
from reporting.risk.historical import components  # noqa: E402

LEVEL = "0.99"


def floor(returns: Any, values: Any, rank: int) -> float:
    """The rank-th largest loss, and nothing else."""
    losses = -(returns @ values)
    at = len(losses) - rank
    return float(np.partition(losses, at)[at])


def everything(returns: Any, values: Any) -> None:
    """What a close works out of one sample of outcomes."""
    exact = returns @ values
    outcomes = np.rint(exact)
    by_part = returns * values
    for level in LEVELS:
        _level(outcomes, level)
    _estimates(outcomes)
    for level in ("0.99", "0.975"):
        _parted(by_part, exact, level)


def alternately(runs: int, *calls: Callable[[], object]) -> list[float]:
    """The median time of each, one after the other in every round, in milliseconds."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(runs + 5):
        for spent, call in zip(times, calls, strict=True):
            begun = time.perf_counter()
            call()
            spent.append((time.perf_counter() - begun) * 1000)
    return [statistics.median(spent[5:]) for spent in times]  # the first warm the caches


def main() -> None:
    """Print the timings and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--positions", type=int, default=1000)
    parser.add_argument("--days", type=int, default=500)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1, help="of the matrix product")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args()
    draw = np.random.default_rng(1)
    returns = draw.standard_t(4, size=(given.days, given.positions)) / 100
    values = np.rint(draw.normal(0, 1e8, given.positions))  # cents
    found = components(returns, values, LEVEL)
    assert found.var == sum(map(int, found.var_parts))
    assert found.es == sum(map(int, found.es_parts))
    rank = -(-given.days // 100)
    assert abs(found.var - floor(returns, values, rank)) <= 1
    bare, ours = alternately(
        given.runs,
        lambda: floor(returns, values, rank),
        lambda: components(returns, values, LEVEL),
    )
    (whole,) = alternately(5, lambda: everything(returns, values))
    result = {
        "positions": given.positions,
        "days": given.days,
        "threads": given.threads,
        "bare_ms": round(bare, 3),
        "components_ms": round(ours, 3),
        "ratio": round(ours / bare, 2),
        "everything_ms": round(whole, 1),
    }
    if given.json:
        print(json.dumps(result))
        return
    print(f"{given.positions:,} positions × {given.days} days, VaR and ES {LEVEL}")
    print(f"  threads of the product         {given.threads:8d}")
    print(f"  matrix product and partition   {bare:8.3f} ms")
    print(f"  the same with components       {ours:8.3f} ms")
    print(f"  ratio                          {ours / bare:8.2f}   (aim: 2 or below)")
    print(f"  everything a close works out   {whole:8.1f} ms")


if __name__ == "__main__":
    main()
