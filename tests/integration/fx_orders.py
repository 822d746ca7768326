"""Loads the real FX orders into tables of their own shape and maps them to the ledger contract."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
FILES = {
    "tca.orders": DATA / "fx_orders.csv.gz",
    "tca.events": DATA / "fx_order_events.csv.gz",
}
MAPPING = ROOT / "sql" / "ledger" / "examples" / "tcapy.sql"

#: Where the files are not at hand, the tests that need them say so.
ABSENT = ", ".join(
    str(path.relative_to(ROOT.parent)) for path in FILES.values() if not path.exists()
)


def load(connection: Any) -> None:
    """Make the tables and views and COPY both files in, within the caller's transaction.

    ``connection`` is psycopg2's. The tables have the files' columns in the files' order, so no
    column list and no transformation is needed.
    """
    with connection.cursor() as cursor:
        cursor.execute(MAPPING.read_text(encoding="utf-8"))
        for table, path in FILES.items():
            with gzip.open(path, "rb") as file:
                cursor.copy_expert(f"copy {table} from stdin (format csv, header match)", file)
