"""Histories with known truth, through a real Prometheus and the production path.

    python benchmarks/exactness.py [--seed 20251102] [--json]

Prints how often the truth lies within the printed bounds, how far the figures are from it beside
the usual queries (avg_over_time, increase), and how many outages shorter than a scrape interval
are seen. The same run is a test: tests/proof/test_exactness.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.proof.proof import prove, table  # noqa: E402


def main() -> None:
    """Print the table for people, or its sums as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=20251102, help="another draw of histories")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--var", type=Path, default=ROOT / "var", help="where tools are unpacked")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        proof = prove(Path(folder), given.var, seed=given.seed)
    if not given.json:
        print(table(proof), end="")
        return
    print(
        json.dumps(
            {
                "target_days": len(proof.states) + len(proof.ratios),
                "outside": [row.host.name for row in proof.outside],
                "ratio_error_pp_mean": proof.ratio_error_pp,
                "seen_by_length": {
                    str(float(d.share)): d.seen / d.outages for d in proof.detection
                },
                "samples": proof.samples,
                "seconds": {name: round(s, 1) for name, s in proof.seconds.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
